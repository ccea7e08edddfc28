//! Clips made by the FFmpeg command, jobs run to their end, results read back by ffprobe.

use ghoststream::event::{Done, Event, Next, Outcome};
use ghoststream::{Job, Pipeline};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

pub struct Dir(tempfile::TempDir);

impl Dir {
    pub fn new() -> Dir {
        Dir(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.0.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// Runs the FFmpeg command (a real peer; the engine's own build links the same libraries, so it is always there).
pub fn ffmpeg(args: &str) {
    let out =
        Command::new("ffmpeg").args(["-v", "error", "-y"]).args(args.split_whitespace()).output().unwrap();
    assert!(out.status.success(), "ffmpeg {args}: {}", String::from_utf8_lossy(&out.stderr));
}

/// Four seconds of 320x180 at 25 fps with B-frames, a key frame every second, and a 440 Hz tone.
pub fn clip(dir: &Dir, name: &str) -> String {
    let path = dir.path(name);
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=4 -f lavfi -i sine=frequency=440:sample_rate=48000:d=4 -c:v libx264 \
         -preset veryfast -g 25 -bf 2 -pix_fmt yuv420p -c:a aac -b:a 96k {path}"
    ));
    path
}

pub fn start(spec: Value) -> Job {
    Pipeline::from_json(&spec.to_string()).unwrap().start().job().unwrap()
}

/// All events of a job, to the end.
pub fn events(job: &Job) -> Vec<Event> {
    std::iter::from_fn(|| match job.next_event(Some(std::time::Duration::from_secs(120))) {
        Next::Event(e) => Some(e),
        Next::End => None,
        Next::Timeout => panic!("the job hangs: {:?}", job.stats()),
    })
    .collect()
}

pub fn run(spec: Value) -> Done {
    let job = start(spec);
    match events(&job).pop() {
        Some(Event::Done(done)) => done,
        other => panic!("{other:?}"),
    }
}

/// Runs a job that must complete.
pub fn complete(spec: Value) -> Vec<String> {
    let done = run(spec);
    assert_eq!(done.outcome, Outcome::Completed, "{:?}", done.message);
    done.outputs
}

/// Runs a job that must fail; gives its message.
pub fn failure(spec: Value) -> String {
    let done = run(spec);
    assert_eq!(done.outcome, Outcome::Failed, "{done:?}");
    done.message.unwrap()
}

pub fn simple(input: &str, output: &str) -> Value {
    json!({"source": {"url": input}, "outputs": [{"path": output}]})
}

/// ffprobe's streams with counted frames; decoding errors fail the test.
pub fn probe(path: &str) -> Vec<Value> {
    let out = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-show_streams", "-of", "json"])
        .arg(path)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && errors.is_empty(), "{path}: {errors}");
    let value: Value = serde_json::from_slice(&out.stdout).unwrap();
    value["streams"].as_array().unwrap().clone()
}

pub fn video(streams: &[Value]) -> &Value {
    streams.iter().find(|s| s["codec_type"] == "video").expect("a video stream")
}

pub fn audio(streams: &[Value]) -> &Value {
    streams.iter().find(|s| s["codec_type"] == "audio").expect("an audio stream")
}

pub fn frames(stream: &Value) -> u32 {
    stream["nb_read_frames"].as_str().unwrap().parse().unwrap()
}

pub fn number(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

/// (pts seconds, key) of every video packet.
pub fn packets(path: &str) -> Vec<(f64, bool)> {
    let out = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            "v:0",
            "-show_entries",
            "packet=pts_time,flags",
            "-of",
            "csv=p=0",
        ])
        .arg(path)
        .output()
        .unwrap();
    String::from_utf8_lossy(&out.stdout)
        .lines()
        .filter_map(|l| {
            let (t, flags) = l.split_once(',')?;
            Some((t.parse().ok()?, flags.starts_with('K')))
        })
        .collect()
}

/// Presentation times (seconds) of a stream's packets, in the order of the file.
pub fn times(path: &str, stream: &str) -> Vec<f64> {
    let out = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            stream,
            "-show_entries",
            "packet=pts_time",
            "-of",
            "csv=p=0",
        ])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    text.lines().filter_map(|l| l.trim_end_matches(',').parse().ok()).collect()
}

/// PSNR (dB, average) of `path` against `reference`, both decoded by the FFmpeg command.
pub fn psnr(path: &str, reference: &str) -> f64 {
    let graph = "[0:v]setpts=N/TB[a];[1:v]setpts=N/TB[b];[a][b]psnr=shortest=1";
    psnr_by(&["-i", path, "-i", reference], graph)
}

/// What FFmpeg's filter `psnr` says at the end of `graph` with these inputs.
pub fn psnr_by(inputs: &[&str], graph: &str) -> f64 {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "info"]).args(inputs).args(["-lavfi", graph, "-f", "null", "-"]);
    let out = command.output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let value = text.rsplit("average:").next().and_then(|t| t.split_whitespace().next()).unwrap_or_default();
    if value == "inf" { f64::INFINITY } else { value.parse().unwrap_or_else(|_| panic!("no PSNR in {text}")) }
}

pub fn exists(path: &str) -> bool {
    Path::new(path).exists()
}
