//! Recordings from the command: signals, the control socket, a kill at any moment, a full disk. Every file is read back by
//! ffprobe.

use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SOURCE: &str = "pattern:smpte?width=320&height=180&fps=25&tone&burn_in";

/// A directory of its own, with a runtime directory in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn ghoststream(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ghoststream"));
        command.args(args).current_dir(self.0.path()).env("XDG_RUNTIME_DIR", self.0.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts a command that records.
    fn start(&self, args: &[&str]) -> Recording<'_> {
        Recording { place: self, child: Some(self.ghoststream(args).spawn().expect("the binary runs")) }
    }

    fn ctl(&self, args: &[&str]) -> (i32, String, String) {
        let mut all = vec!["ctl"];
        all.extend(args);
        let output = self.ghoststream(&all).output().expect("the binary runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_string();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    fn names(&self, ending: &str) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.0.path())
            .expect("a directory")
            .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|n| n.ends_with(ending))
            .collect();
        names.sort();
        names
    }
}

struct Recording<'a> {
    place: &'a Place,
    child: Option<Child>,
}

impl Recording<'_> {
    fn status(&self) -> Option<Value> {
        let (code, out, _) = self.place.ctl(&["status", "--json"]);
        (code == 0).then(|| serde_json::from_str(&out).expect("JSON"))
    }

    /// Waits until the state is `state` and the recording has come to `seconds`.
    fn reach(&self, state: &str, seconds: f64) -> Value {
        let begin = Instant::now();
        loop {
            let status = self.status();
            if let Some(status) = &status
                && status["state"] == state
                && status["progress"]["time"].as_f64().is_some_and(|t| t >= seconds)
            {
                return status.clone();
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "{state} {seconds}: {status:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Its exit code, and the lines on standard output and standard error.
    fn end(mut self) -> (i32, Vec<String>, String) {
        let output = self.child.take().expect("it runs").wait_with_output().expect("it ends");
        let out = String::from_utf8_lossy(&output.stdout);
        let code = output.status.code().unwrap_or(-1);
        (
            code,
            out.lines().map(str::to_string).collect(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Already over is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Streams with counted frames and the format; `clean`: nothing to complain of.
fn ffprobe(path: &Path, clean: bool) -> Value {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-show_streams", "-show_format", "-of", "json"])
        .arg(path)
        .output()
        .expect("ffprobe is a peer of every suite");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && (!clean || complaints.is_empty()), "{}: {complaints}", path.display());
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn frames(found: &Value) -> u32 {
    let video = found["streams"].as_array().expect("streams").iter().find(|s| s["codec_type"] == "video");
    video.and_then(|s| s["nb_read_frames"].as_str()).and_then(|n| n.parse().ok()).expect("counted frames")
}

#[test]
fn signals_save_pause_and_finish() {
    let place = Place::new();
    let job = place.start(&[
        "record",
        SOURCE,
        "-o",
        "a.mp4",
        "--encoder",
        "libx264",
        "--tune",
        "ull",
        "--replay",
        "2",
        "--replay-path",
        "replay-{n}.mkv",
        "--replay-size",
        "50M",
    ]);
    job.reach("running", 1.0);
    job.signal("USR1");
    while place.names(".mkv").is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
    job.signal("USR2");
    let at = job.reach("paused", 0.0)["progress"]["time"].as_f64().expect("a time");
    std::thread::sleep(Duration::from_millis(1200));
    job.signal("USR2");
    job.reach("running", at + 0.4);
    job.signal("INT");
    let (code, printed, said) = job.end();
    assert_eq!((code, printed.clone()), (0, vec!["replay-1.mkv".to_string(), "a.mp4".into()]), "{said}");
    let found = ffprobe(&place.path("a.mp4"), true);
    let length: f64 = found["format"]["duration"].as_str().and_then(|d| d.parse().ok()).expect("a length");
    assert!((f64::from(frames(&found)) / 25.0 - length).abs() < 0.15, "{length}");
    assert!(frames(&ffprobe(&place.path("replay-1.mkv"), true)) > 10);
    assert!(place.names(".part").is_empty());
}

#[test]
fn a_socket_does_what_signals_do_and_answers() {
    let place = Place::new();
    assert_eq!(place.ctl(&["status"]).0, 3);
    let job = place.start(&[
        "record",
        SOURCE,
        "film-{n}.mkv",
        "--encoder",
        "libx264",
        "--tune",
        "ull",
        "--name",
        "one",
        "--keyframe-interval",
        "0.4",
    ]);
    let status = job.reach("running", 0.6);
    assert_eq!((status["name"].as_str(), status["split"][0].as_u64()), (Some("one"), Some(0)));
    assert_eq!(place.ctl(&["split"]), (0, "film-1.mkv".into(), String::new()));
    let (code, _, said) = place.ctl(&["save"]);
    assert_eq!((code, said.contains("no output keeps a replay")), (4, true), "{said}");
    let (code, _, said) = place.ctl(&["--to", "two", "status"]);
    assert_eq!((code, said.contains("two")), (3, true), "{said}");
    assert_eq!(place.ctl(&["pause", "--to", "one"]).0, 0);
    job.reach("paused", 0.0);
    let (_, line, _) = place.ctl(&["status"]);
    assert!(line.starts_with("one (") && line.contains("paused"), "{line}");
    assert_eq!(place.ctl(&["resume"]).0, 0);
    let second =
        place.start(&["replay", SOURCE, "r-{n}.mkv", "--encoder", "libx264", "--tune", "ull", "-n", "two"]);
    let begin = Instant::now();
    while place.ctl(&["--to", "two", "status"]).0 != 0 {
        assert!(begin.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(50));
    }
    let (code, _, said) = place.ctl(&["status"]);
    assert_eq!((code, said.contains("one (") && said.contains("two (")), (2, true), "{said}");
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(place.ctl(&["--to", "two", "save", "--seconds", "5"]).1, "r-1.mkv");
    assert_eq!(place.ctl(&["--to", "two", "stop"]).0, 0);
    assert_eq!(second.end().0, 0);
    assert_eq!(place.ctl(&["stop"]).0, 0);
    let (code, printed, _) = job.end();
    assert_eq!((code, printed), (0, vec!["film-1.mkv".to_string(), "film-2.mkv".into()]));
    for file in ["film-1.mkv", "film-2.mkv", "r-1.mkv"] {
        assert!(frames(&ffprobe(&place.path(file), true)) > 5, "{file}");
    }
    assert!(std::fs::read_dir(place.path("ghoststream")).expect("the sockets").next().is_none());
}

/// Killed without warning, the file plays up to the last second.
#[test]
fn killed_at_any_moment_the_file_plays() {
    // Moments that nobody chose; what fails says which.
    let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    for (at, file) in ["a.mp4", "a.mkv", "a.mov", "a.ts", "a.webm"].into_iter().enumerate() {
        let wait = 2000 + (seed >> (at * 11)) % 1500;
        let encoder = if file == "a.webm" { "libvpx-vp9" } else { "libx264" };
        let place = Place::new();
        let job =
            place.start(&["record", SOURCE, file, "--encoder", encoder, "--tune", "ull", "--speed", "p1"]);
        job.reach("running", 0.1);
        std::thread::sleep(Duration::from_millis(wait));
        let file = &format!("{file} after {wait} ms");
        let last = job.status().expect("it runs")["tracks"][0]["time"].as_f64().expect("a time");
        job.signal("KILL");
        job.end();
        let found = ffprobe(&place.path(file.split(' ').next().unwrap_or_default()), false);
        let length = f64::from(frames(&found)) / 25.0;
        assert!(length >= last - 1.2, "{file}: {length} s of {last}");
        assert_eq!(found["streams"].as_array().map(Vec::len), Some(2), "{file}: {found}");
    }
}

/// A limit on the size of files stands for a disk that is full.
#[test]
fn a_full_disk_is_said_and_what_fits_can_be_played() {
    for file in ["a.mp4", "a.mkv"] {
        let place = Place::new();
        let shell = format!(
            "trap '' XFSZ; ulimit -f 600; exec {} record '{SOURCE}' {file} -e libx264 --tune ull -b 3M",
            env!("CARGO_BIN_EXE_ghoststream")
        );
        let mut child = Command::new("bash")
            .args(["-c", &shell])
            .current_dir(place.path(""))
            .env("XDG_RUNTIME_DIR", place.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("bash runs");
        let mut said = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
        let status = child.wait().expect("it ends");
        assert_eq!(status.code(), Some(6), "{said}");
        assert!(said.contains(file) && said.to_lowercase().contains("file too large"), "{said}");
        let found = ffprobe(&place.path(file), false);
        let size = std::fs::metadata(place.path(file)).expect("the file").len();
        assert!(frames(&found) > 10 && size <= 600 * 1024, "{file}: {} frames, {size} bytes", frames(&found));
    }
}

#[test]
fn presets_are_data() {
    let place = Place::new();
    let output = place.ghoststream(&["presets", "--json"]).output().expect("the binary runs");
    let table: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(table.as_array().map(Vec::len), Some(10));
    assert_eq!(table[6]["video"]["tune"], "ull");
}

/// Five seconds and more of a known rate: what the process has grown by is that.
#[test]
fn a_replay_takes_the_memory_that_its_rate_says() {
    let resident = |pid: u32| -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
        let line = status.lines().find(|l| l.starts_with("RssAnon:")).expect("its memory");
        line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).expect("kB") * 1024.0
    };
    let place = Place::new();
    let spec = serde_json::json!({
        "source": {"pattern": {"kind": "gradient", "width": 640, "height": 360, "frame_rate": 30}, "realtime": true},
        "outputs": [{"path": "r-{n}.mkv", "replay": {"seconds": 60}, "audio": false, "video": {"encoder": "libx264",
            "preset": "p1", "tune": "ull", "bitrate": "40M", "cbr": true, "options": {"nal-hrd": "cbr"}}}]});
    std::fs::write(place.path("job.json"), spec.to_string()).expect("a file");
    let mut child =
        place.ghoststream(&["transcode", "--spec", "job.json", "--events", "json"]).spawn().expect("it runs");
    let pid = child.id();
    let mut events = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("piped")));
    let mut written = move || loop {
        let line = events.next().expect("an event").expect("text");
        let event: Value = serde_json::from_str(&line).expect("JSON");
        if event["type"] == "progress" {
            return (
                resident(pid),
                event["bytes"].as_f64().expect("bytes"),
                event["time"].as_f64().expect("a time"),
            );
        }
    };
    let mut first = written();
    // What encoders and queues take is there by then.
    while first.2 < 2.0 {
        first = written();
    }
    let mut last = first;
    while last.2 < 8.0 {
        last = written();
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let (grown, kept) = (last.0 - first.0, last.1 - first.1);
    assert!(kept > 15e6, "{kept}");
    assert!((0.95..=1.05).contains(&(grown / kept)), "{grown} bytes for {kept}");
}

#[test]
fn a_replay_takes_no_more_memory_than_it_was_given() {
    let place = Place::new();
    let source = "pattern:gradient?width=640&height=360&fps=50&burn_in";
    let job = place.start(&[
        "replay",
        source,
        "r-{n}.mkv",
        "--seconds",
        "3600",
        "--replay-size",
        "4M",
        "--encoder",
        "libx264",
        "--crf",
        "1",
        "--speed",
        "p1",
        "--keyframe-interval",
        "0.5",
    ]);
    let memory = || {
        let pid = job.child.as_ref().expect("it runs").id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    };
    let made = |status: &Value| status["progress"]["bytes"].as_u64().expect("bytes");
    // It is full by then.
    let full = job.reach("running", 7.0);
    let before = memory();
    let later = job.reach("running", 19.0);
    let (flowed, grown) = (made(&later) - made(&full), memory().saturating_sub(before));
    assert!(made(&full) > 4 << 20 && flowed > 7 << 20, "{} {flowed}: nothing to bound", made(&full));
    assert!(grown < 4 << 20, "{grown} more after {flowed}");
    assert_eq!(place.ctl(&["save"]).0, 0);
    let saved = std::fs::metadata(place.path("r-1.mkv")).expect("a replay").len();
    assert!((2 << 20..5 << 20).contains(&saved), "{saved}");
}
