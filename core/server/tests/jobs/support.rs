//! Clips, and jobs over a temporary directory with real workers.

#[path = "../built/mod.rs"]
mod built;

pub use built::command;
use ghoststream_server::config::Config;
use ghoststream_server::contract::request::TranscodeRequest;
use ghoststream_server::jobs::{Body, Client, JobView, Jobs, Served, Status};
use ghoststream_server::worker::Patience;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The directory of a server that may be started more than once.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub config: Config,
}

impl Place {
    pub fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.transcoding.temp_directory = dir.path().join("jobs");
        config.transcoding.worker_command = vec![command().to_string_lossy().into_owned(), "worker".into()];
        config.transcoding.retry_delay = 0.2;
        config.hardware.prefer_hw_accel = false;
        config.security.state_directory = dir.path().join("state");
        config.security.sources.local_roots = vec![dir.path().into()];
        Place { dir, config }
    }

    pub fn open(&self) -> Jobs {
        Jobs::open(&self.config).unwrap()
    }

    pub fn open_with(&self, patience: Patience) -> Jobs {
        Jobs::open_with(&self.config, patience).unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    /// A clip of `seconds`: 320x180, 25 fps, a tone.
    pub fn clip(&self, name: &str, seconds: u32) -> String {
        let path = self.path(name);
        ffmpeg(&format!(
            "-f lavfi -i testsrc2=s=320x180:r=25:d={seconds} -f lavfi -i sine=frequency=440:sample_rate=48000:d={seconds} \
             -c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p -c:a aac -b:a 96k {}",
            path.display()
        ));
        path.to_string_lossy().into_owned()
    }

    pub fn job_dir(&self, id: &str) -> PathBuf {
        self.path("jobs").join(id)
    }
}

pub fn ffmpeg(args: &str) {
    let out =
        Command::new("ffmpeg").args(["-v", "error", "-y"]).args(args.split_whitespace()).output().unwrap();
    assert!(out.status.success(), "ffmpeg {args}: {}", String::from_utf8_lossy(&out.stderr));
}

/// What ffprobe says of a file: width, height, frames of the first video stream.
pub fn probe(path: &Path) -> serde_json::Value {
    let out = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-count_frames",
            "-show_streams",
            "-show_format",
            "-of",
            "json",
            "-allowed_extensions",
            "ALL",
        ])
        .arg(path)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

pub fn video(probe: &serde_json::Value) -> &serde_json::Value {
    probe["streams"].as_array().unwrap().iter().find(|s| s["codec_type"] == "video").expect("video")
}

pub fn request(source: &str, json: serde_json::Value) -> TranscodeRequest {
    let mut body = serde_json::json!({ "source": source });
    for (key, value) in json.as_object().unwrap() {
        body[key] = value.clone();
    }
    TranscodeRequest::read(&body).unwrap().request
}

pub fn client(id: &str) -> Client {
    Client { id: id.into(), session: None }
}

/// Waits until `good` says so.
pub async fn until(jobs: &Jobs, id: &str, what: &str, good: impl Fn(&JobView) -> bool) -> JobView {
    let begin = Instant::now();
    loop {
        let view = jobs.get(id).unwrap();
        if good(&view) {
            return view;
        }
        assert!(begin.elapsed() < PATIENCE, "{what}: {view:?}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

pub async fn over(jobs: &Jobs, id: &str) -> JobView {
    until(jobs, id, "the end", |v| v.status.is_over()).await
}

pub async fn ready(jobs: &Jobs, id: &str) -> JobView {
    let view = over(jobs, id).await;
    assert_eq!(view.status, Status::Ready, "{view:?}");
    view
}

pub fn text(served: &Served) -> String {
    match &served.body {
        Body::Memory(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Body::File(path) => std::fs::read_to_string(path).unwrap(),
    }
}
