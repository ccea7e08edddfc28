//! Jobs with a numbered pattern, and the numbers that are in their files.

use ghoststream::event::{Done, Event, Next, Outcome};
use ghoststream::source::pattern::read_burn_in;
use ghoststream::{Job, Pipeline};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

pub const LONG: Option<Duration> = Some(Duration::from_secs(60));

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

/// A numbered pattern of 25 frames a second with a tone, `frames` long (0 = for ever, at its own speed).
pub fn pattern(frames: u32) -> Value {
    let mut pattern = json!({"width": 320, "height": 180, "frame_rate": 25, "burn_in": true, "tone": true});
    if frames > 0 {
        pattern["frames"] = frames.into();
    }
    json!({"pattern": pattern, "realtime": frames == 0})
}

/// Video that is quick to encode and comes out at once.
pub fn quick() -> Value {
    json!({"codec": "h264", "encoder": "libx264", "preset": "p1", "tune": "ull"})
}

pub fn start(spec: &Value) -> Job {
    Pipeline::from_json(&spec.to_string()).unwrap().start().job().unwrap()
}

/// The events until one that `wanted` likes.
pub fn until<T>(job: &Job, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
    loop {
        match job.next_event(LONG) {
            Next::Event(event) => {
                if let Some(found) = wanted(&event) {
                    return found;
                }
                assert!(!matches!(event, Event::Done(_)), "{event:?}");
            }
            other => panic!("{other:?}: {:?}", job.stats()),
        }
    }
}

/// Waits until the output has come to `seconds`.
pub fn reach(job: &Job, seconds: f64) {
    for _ in 0..6000 {
        let stats = job.stats();
        let reached = stats.tracks.iter().map(|t| t.time).fold(f64::INFINITY, f64::min);
        if !stats.tracks.is_empty() && reached >= seconds {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{:?}", job.stats());
}

/// The end of a job, with all events on the way.
pub fn end(job: &Job) -> (Done, Vec<Event>) {
    let mut events = Vec::new();
    loop {
        match job.next_event(LONG) {
            Next::Event(Event::Done(done)) => {
                assert!(matches!(done.outcome, Outcome::Completed | Outcome::Stopped), "{done:?}");
                return (done, events);
            }
            Next::Event(event) => events.push(event),
            other => panic!("{other:?}: {:?}", job.stats()),
        }
    }
}

pub fn complete(spec: &Value) -> (Done, Vec<Event>) {
    end(&start(spec))
}

/// The numbers that are drawn into the frames of a file, in the order in which they are shown, with their times.
pub fn numbers(path: &str) -> Vec<(u32, f64)> {
    let source = serde_json::from_value(json!({ "url": path })).unwrap();
    let mut reader = ghoststream::reader::Reader::open(&source, Default::default()).unwrap();
    let mut found = Vec::new();
    while let Some(frame) = reader.next().unwrap() {
        if frame.is_video() {
            let number =
                read_burn_in(&frame).unwrap_or_else(|| panic!("{path}: frame {} has no number", found.len()));
            found.push((number, frame.presentation().unwrap().seconds()));
        }
    }
    found
}

/// ffprobe's streams; anything that it complains of fails the test.
pub fn probe(path: &str) -> Value {
    let out = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-show_streams", "-show_format", "-of", "json"])
        .arg(path)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && errors.is_empty(), "{path}: {errors}");
    serde_json::from_slice(&out.stdout).unwrap()
}

/// (presentation time, length) in seconds of the packets of a stream (`v:0`, `a:0`), as shown; and whether the first is a
/// key packet.
pub fn packets(path: &str, stream: &str) -> Vec<(f64, f64, bool)> {
    let out = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", stream])
        .args(["-show_entries", "packet=pts_time,duration_time,flags", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .unwrap();
    let mut found: Vec<(f64, f64, bool)> = String::from_utf8_lossy(&out.stdout)
        .lines()
        .filter_map(|l| {
            let mut parts = l.split(',');
            let (time, length) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            Some((time, length, parts.next()?.starts_with('K')))
        })
        .collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found
}

/// How many encoders of pictures the job has run.
pub fn video_encoders(job: &Job) -> usize {
    job.stats().stages.iter().filter(|s| s.name.starts_with("encode ") && !s.name.contains("audio")).count()
}
