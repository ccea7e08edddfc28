//! The command at work on real media, its results read by ffprobe.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ghoststream"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ghoststream(args: &[&str]) -> Output {
    command(args).output().expect("the binary runs")
}

fn ok(args: &[&str]) -> Output {
    let output = ghoststream(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", err(&output));
    output
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What ffprobe says; `None` (aloud) when it is not installed.
fn ffprobe(path: &Path) -> Option<serde_json::Value> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_packets", "-show_streams", "-show_format", "-of", "json"])
        .arg(path)
        .output();
    let Ok(output) = output else {
        assert!(std::env::var_os("GS_REQUIRE_PEERS").is_none(), "ffprobe is required");
        eprintln!("SKIPPED: ffprobe is not installed");
        return None;
    };
    assert!(output.status.success(), "{}: {}", path.display(), err(&output));
    Some(serde_json::from_slice(&output.stdout).expect("ffprobe writes JSON"))
}

fn packets(probe: &serde_json::Value, stream: usize) -> u64 {
    probe["streams"][stream]["nb_read_packets"].as_str().and_then(|n| n.parse().ok()).unwrap_or(0)
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_string()
    }

    /// Every file below it.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).expect("readable");
        entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }
}

const CLIP: &str = "pattern:smpte?size=320x180&fps=25&frames=50&tone";

#[test]
fn encoders_do_not_talk_past_the_log() {
    let place = Place::new();
    let args = ["transcode", "pattern:smpte?size=320x180&fps=25&frames=5"];
    let o = ok(&[args[0], args[1], &place.text("a.mkv"), "--encoder", "libsvtav1", "--video", "av1"]);
    assert!(!err(&o).contains("Svt["), "{}", err(&o));
    // Who asks for its words gets them.
    let out = place.text("b.mkv");
    let loud = command(&[args[0], args[1], &out, "--encoder", "libsvtav1", "--video", "av1"])
        .env("SVT_LOG", "3")
        .output()
        .expect("the binary runs");
    assert!(err(&loud).contains("Svt["), "{}", err(&loud));
}

#[test]
fn a_pattern_becomes_a_file() {
    let place = Place::new();
    let out = place.text("out.mp4");
    let o = ok(&[
        "transcode",
        CLIP,
        &out,
        "--video",
        "h264",
        "--crf",
        "30",
        "--audio",
        "aac:64k",
        "--height",
        "90",
    ]);
    assert!(o.stdout.is_empty(), "nothing but data on standard output");
    assert!(err(&o).contains("by libx264") && err(&o).contains(&format!("wrote {out}")), "{}", err(&o));
    let Some(probe) = ffprobe(&place.path("out.mp4")) else { return };
    assert_eq!(probe["streams"][0]["codec_name"], "h264");
    assert_eq!((&probe["streams"][0]["width"], packets(&probe, 0)), (&160.into(), 50));
    assert_eq!(probe["streams"][1]["codec_name"], "aac");

    let o = ghoststream(&["transcode", CLIP, &out]);
    assert_ne!(o.status.code(), Some(0), "an existing file is not replaced unasked");
    assert!(err(&o).contains("out.mp4"), "{}", err(&o));
    let quiet = ok(&["transcode", CLIP, &out, "-y", "-q", "--video", "h264"]);
    assert_eq!(err(&quiet), "");
}

#[test]
fn the_first_of_two_passes_is_told_and_no_warning() {
    let place = Place::new();
    let out = place.text("out.mp4");
    let said = err(&ok(&["transcode", CLIP, &out, "--video", "h264", "--two-pass", "--bitrate", "300k"]));
    assert!(said.contains("ghoststream: pass 1 of 2") && !said.contains("warning"), "{said}");
}

#[test]
fn a_plan_writes_nothing() {
    let place = Place::new();
    let out = place.text("out.mkv");
    let o = ok(&["transcode", CLIP, &out, "--video", "h264", "--plan"]);
    let text = String::from_utf8_lossy(&o.stdout).into_owned();
    assert!(
        text.contains("source  ") && text.contains("video: h264 by libx264") && text.contains("why: "),
        "{text}"
    );
    let o = ok(&["transcode", CLIP, &out, "--video", "h264", "--dry-run", "--json"]);
    let plan: serde_json::Value = serde_json::from_slice(&o.stdout).expect("JSON");
    assert_eq!(plan["outputs"][0]["tracks"][0]["encoder"], "libx264");
    assert!(place.files().is_empty(), "{:?}", place.files());
}

#[test]
fn events_are_lines_of_json_and_nothing_else() {
    let place = Place::new();
    let o = ok(&["transcode", CLIP, &place.text("out.mp4"), "--video", "h264", "--events", "json"]);
    let events: Vec<serde_json::Value> = String::from_utf8_lossy(&o.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect();
    let types: Vec<&str> = events.iter().filter_map(|e| e["type"].as_str()).collect();
    assert_eq!(types.len(), events.len());
    assert!(types.contains(&"plan") && types.contains(&"state") && types.contains(&"progress"), "{types:?}");
    let done = events.last().expect("events");
    assert_eq!((&done["type"], &done["outcome"]), (&"done".into(), &"completed".into()));

    let o = ghoststream(&["transcode", "/nowhere/in.mkv", &place.text("o.mp4"), "--events", "json"]);
    assert_eq!(o.status.code(), Some(3));
    let last = String::from_utf8_lossy(&o.stdout).lines().last().map(str::to_string).unwrap_or_default();
    let done: serde_json::Value = serde_json::from_str(&last).expect("JSON");
    assert_eq!((&done["outcome"], &done["error"]), (&"failed".into(), &"not_found".into()));
}

#[test]
fn failures_have_their_codes_and_leave_nothing() {
    let place = Place::new();
    std::fs::write(place.path("text.mp4"), "this is no film\n".repeat(100)).expect("written");
    std::fs::write(place.path("empty.mp4"), "").expect("written");
    let before = place.files().len();
    let out = place.text("out.mp4");
    let inside_a_file = place.text("text.mp4/out.mp4");
    for (args, code, named) in [
        (&["transcode", "/nowhere/in.mkv", &out][..], 3, "/nowhere/in.mkv"),
        (&["transcode", &place.text("text.mp4"), &out], 7, "text.mp4"),
        (&["transcode", &place.text("empty.mp4"), &out], 7, "empty.mp4"),
        (&["probe", &place.text("text.mp4")], 7, "text.mp4"),
        (&["probe", "/nowhere/in.mkv"], 3, "/nowhere/in.mkv"),
        (&["transcode", "rtsp://127.0.0.1:1/x", &out], 8, "rtsp"),
        (&["transcode", CLIP, &inside_a_file], 3, "text.mp4/out.mp4"),
        (&["transcode", CLIP, &out, "--encoder", "libnothing", "--no-fallback"], 2, "--encoder: "),
        (&["transcode", CLIP, &out, "--video", "h264", "--option", "nothing=1"], 2, "options.nothing"),
    ] {
        let o = ghoststream(args);
        assert_eq!(o.status.code(), Some(code), "{args:?}: {}", err(&o));
        assert!(!err(&o).contains("warning"), "what fails is said once: {}", err(&o));
        assert!(err(&o).contains("ghoststream: error: ") && err(&o).contains(named), "{args:?}: {}", err(&o));
        assert_eq!(place.files().len(), before, "{args:?} left {:?}", place.files());
    }
}

/// A job that tells its events, and a way to send it signals.
struct Running {
    child: Child,
    events: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut child = command(args).args(["--events", "json"]).spawn().expect("the binary runs");
        let events = BufReader::new(child.stdout.take().expect("a pipe"));
        Running { child, events }
    }

    /// Reads events until `wanted` is true of one.
    fn until(&mut self, wanted: impl Fn(&serde_json::Value) -> bool) {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.events.read_line(&mut line).expect("readable"), 0, "the job ended too early");
            if wanted(&serde_json::from_str(&line).expect("JSON")) {
                return;
            }
        }
    }

    fn interrupt(&self) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// The exit code; fails when the job does not end in time.
    fn end(mut self) -> i32 {
        let begun = Instant::now();
        let mut rest = String::new();
        while self.events.read_line(&mut rest).unwrap_or(0) > 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "it does not end");
        }
        self.child.wait().expect("it ends").code().expect("a code")
    }
}

#[test]
fn the_first_interrupt_finishes_the_file() {
    let place = Place::new();
    let out = place.text("out.mp4");
    let mut job = Running::start(&[
        "transcode",
        "pattern:smpte?size=320x180&fps=25&tone",
        &out,
        "--video",
        "h264",
        "--realtime",
    ]);
    job.until(|e| e["type"] == "progress" && e["time"].as_f64().is_some_and(|t| t >= 1.0));
    job.interrupt();
    assert_eq!(job.end(), 0);
    assert_eq!(place.files(), ["out.mp4"]);
    let Some(probe) = ffprobe(&place.path("out.mp4")) else { return };
    assert!(packets(&probe, 0) >= 25, "{probe}");
}

#[test]
fn the_second_interrupt_cancels_and_leaves_nothing() {
    let place = Place::new();
    let out = place.text("out.mp4");
    // Draining this takes many seconds: the encoder holds 250 frames at its slowest preset.
    let source = "pattern:gradient?size=1920x1080&fps=25";
    let mut job = Running::start(&[
        "transcode",
        source,
        &out,
        "--encoder",
        "libx264",
        "--preset",
        "p7",
        "--lookahead",
        "250",
        "--threads",
        "2",
    ]);
    job.until(|e| e["type"] == "state" && e["state"] == "running");
    std::thread::sleep(Duration::from_secs(2));
    job.interrupt();
    job.until(|e| e["type"] == "state" && e["state"] == "draining");
    job.interrupt();
    assert_eq!(job.end(), 130);
    assert!(place.files().is_empty(), "{:?}", place.files());
}

#[test]
fn probe_and_devices_answer_people_and_programs() {
    let place = Place::new();
    let clip = place.text("clip.mkv");
    ok(&["transcode", CLIP, &clip, "--video", "h264", "--gop", "10", "--metadata", "title=Bars"]);
    let o = ok(&["probe", &clip, "--json", "--keyframes"]);
    let probe: serde_json::Value = serde_json::from_slice(&o.stdout).expect("JSON");
    assert_eq!(probe["streams"][0]["video"]["width"], 320);
    assert!(probe["streams"][0]["keyframes"].as_array().is_some_and(|k| k.len() >= 5), "{probe}");
    let text = String::from_utf8_lossy(&ok(&["probe", &clip]).stdout).into_owned();
    assert!(text.contains("#0 video: h264") && text.contains("320x180, 25.000 fps"), "{text}");
    assert!(text.to_lowercase().contains("title: bars"), "{text}");

    let devices: serde_json::Value =
        serde_json::from_slice(&ok(&["devices", "--json"]).stdout).expect("JSON");
    let encoders = devices["encoders"].as_array().expect("encoders");
    assert!(encoders.iter().any(|e| e["name"] == "libx264" && e["usable"] == true), "{devices}");
    assert!(String::from_utf8_lossy(&ok(&["devices"]).stdout).contains("libx264"));
}

#[test]
fn standard_input_is_a_source() {
    let place = Place::new();
    let (clip, out) = (place.text("clip.mkv"), place.text("out.mp4"));
    ok(&["transcode", CLIP, &clip, "--video", "h264"]);
    let mut child = command(&["transcode", "-", &out, "--video", "copy", "--audio", "copy"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let data = std::fs::read(place.path("clip.mkv")).expect("the clip");
    child.stdin.take().expect("a pipe").write_all(&data).expect("all is read");
    let o = child.wait_with_output().expect("it ends");
    assert_eq!(o.status.code(), Some(0), "{}", err(&o));
    let Some(probe) = ffprobe(&place.path("out.mp4")) else { return };
    assert_eq!(packets(&probe, 0), 50);
}

#[test]
fn standard_output_is_an_output() {
    let place = Place::new();
    let check = |name: &str, bytes: &[u8]| {
        std::fs::write(place.path(name), bytes).expect("written");
        let Some(probe) = ffprobe(&place.path(name)) else { return };
        assert_eq!(packets(&probe, 0), 50, "{name}");
    };
    for format in ["mp4", "ts", "mkv"] {
        let args = ["transcode", CLIP, "-", "--video", "h264", "--format", format];
        let o = ok(&args);
        assert!(err(&o).contains("done in"), "{}", err(&o));
        check(&format!("pipe.{format}"), &o.stdout);
        // Some programs give their children sockets.
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let mut child = command(&args).stdout(std::os::fd::OwnedFd::from(theirs)).spawn().expect("it runs");
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut ours, &mut bytes).expect("all is read");
        assert!(child.wait().expect("it ends").success());
        check(&format!("socket.{format}"), &bytes);
    }
    // Raw pictures take another way.
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let mut child = command(&["transcode", CLIP, "-", "--format", "y4m"])
        .stdout(std::os::fd::OwnedFd::from(theirs))
        .spawn()
        .expect("it runs");
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut ours, &mut bytes).expect("all is read");
    assert!(child.wait().expect("it ends").success());
    check("socket.y4m", &bytes);
    // What a shell appends to stays; the other output has what is meant for its kind.
    let both = place.path("both.ts");
    for times in [1, 2] {
        let file = std::fs::File::options().append(true).create(true).open(&both).expect("opened");
        let other = place.text(&format!("{times}.mpd"));
        let args =
            ["transcode", CLIP, &other, "-", "--video", "h264", "--format", "ts", "--ladder", "72p@200k"];
        let o = command(&args).stdout(file).output().expect("it runs");
        assert_eq!(o.status.code(), Some(0), "{}", err(&o));
        let Some(probe) = ffprobe(&both) else { return };
        assert_eq!(packets(&probe, 0), 50 * times);
    }
    let o = ghoststream(&["transcode", CLIP, "-", "--format", "ts", "--events", "json"]);
    assert_eq!((o.status.code(), o.stdout.len()), (Some(2), 0));
    assert!(err(&o).contains("--events: "), "{}", err(&o));
}

#[test]
fn a_recording_that_breaks_off_on_standard_input_is_kept() {
    let place = Place::new();
    let (clip, out) = (place.text("clip.mp4"), place.text("out.mp4"));
    ok(&["transcode", CLIP, &clip, "--video", "h264", "--gop", "10", "--fragmented"]);
    let data = std::fs::read(place.path("clip.mp4")).expect("the clip");
    let cut = &data[..data.len() * 2 / 3];
    // A file can be read again, with --salvage; what was piped cannot.
    std::fs::write(place.path("cut.mp4"), cut).expect("written");
    let o = ghoststream(&["transcode", &place.text("cut.mp4"), &out, "--video", "copy", "--audio", "copy"]);
    assert!(err(&o).contains("is truncated") && !place.path("out.mp4").exists(), "{}", err(&o));
    let mut child = command(&["transcode", "-", &out, "--video", "copy", "--audio", "copy"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    child.stdin.take().expect("a pipe").write_all(cut).expect("all is read");
    let o = child.wait_with_output().expect("it ends");
    assert_eq!(o.status.code(), Some(0), "{}", err(&o));
    assert!(err(&o).contains("is truncated"), "{}", err(&o));
    let Some(probe) = ffprobe(&place.path("out.mp4")) else { return };
    assert!((10..50).contains(&packets(&probe, 0)), "{}", packets(&probe, 0));
}

#[test]
fn frames_are_captured_and_encoded() {
    let place = Place::new();
    let (mkv, yuv) = (place.text("a.mkv"), place.text("a.yuv"));
    ok(&["transcode", "pattern:smpte?size=64x48&frames=10", &mkv, "--video", "ffv1"]);
    ok(&["capture", &mkv, &yuv, "--frames", "4"]);
    assert_eq!(std::fs::metadata(&yuv).expect("written").len(), 4 * 64 * 48 * 3 / 2);
    ok(&[
        "encode",
        &yuv,
        &place.text("b.mp4"),
        "--encoder",
        "libx264",
        "--input-size",
        "64x48",
        "--input-fps",
        "25",
    ]);
    for (name, frames) in [("a.mkv", 10), ("b.mp4", 4)] {
        let Some(probe) = ffprobe(&place.path(name)) else { return };
        assert_eq!((packets(&probe, 0), &probe["streams"][0]["width"]), (frames, &64.into()), "{name}");
    }
}

#[test]
fn a_ladder_lands_in_a_directory() {
    let place = Place::new();
    let out = place.text("ladder/");
    let o = ok(&["transcode", CLIP, &out, "--format", "hls+dash", "--ladder", "180p@300k,90p@100k"]);
    assert!(err(&o).contains(".m3u8") && err(&o).contains(".mpd"), "{}", err(&o));
    let top = err(&o)
        .lines()
        .find_map(|l| l.strip_prefix("wrote ").filter(|l| l.contains(".m3u8")).map(String::from));
    let path = top.expect("a playlist").split(" (").next().expect("a path").to_string();
    let Some(probe) = ffprobe(Path::new(&path)) else { return };
    assert!(probe["streams"].as_array().is_some_and(|s| s.len() >= 2), "{probe}");
}

#[test]
fn bench_measures_what_is_named() {
    let o = ok(&["bench", "--encoder", "libx264", "--frames", "10", "--size", "64x48", "--json"]);
    let m: serde_json::Value = serde_json::from_slice(&o.stdout).expect("one object");
    assert_eq!((&m["encoder"], &m["frames"]), (&"libx264".into(), &10.into()));
    assert!(m["fps"].as_f64().is_some_and(|f| f > 0.0) && m["bytes"].as_u64().is_some_and(|b| b > 0), "{m}");
    assert_eq!(ghoststream(&["bench", "--encoder", "libnothing"]).status.code(), Some(3));
}
