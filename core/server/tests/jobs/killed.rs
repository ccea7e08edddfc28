//! The real command, killed in the middle of a job: what it promised holds after the next start.

use crate::support::*;
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(place: &Place) -> Server {
        Server::start_by(place, Command::new(command()))
    }

    /// A server whose jobs have a disk of their own of `size` (mount(8)) that no other program sees; `None` where that takes
    /// rights that we do not have.
    fn start_with_disk(place: &Place, size: &str) -> Option<Server> {
        let jobs = place.path("jobs");
        std::fs::create_dir_all(&jobs).unwrap();
        let mount = format!("mount -t tmpfs -o size={size} none '{}'", jobs.display());
        let unshare = |script: &str| {
            let mut command = Command::new("unshare");
            command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]);
            command
        };
        if !unshare(&mount).status().is_ok_and(|s| s.success()) {
            assert!(std::env::var_os("GS_REQUIRE_PEERS").is_none(), "no file system can be mounted here");
            eprintln!("SKIPPED: no file system can be mounted here");
            return None;
        }
        let mut by = unshare(&format!("{mount} && exec \"$@\""));
        by.arg(command());
        Some(Server::start_by(place, by))
    }

    fn start_by(place: &Place, mut by: Command) -> Server {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = place.path("ghoststream.yaml");
        let text = json!({
            "server": {"host": "127.0.0.1", "port": port},
            "mdns": {"enabled": false, "udp_enabled": false},
            "transcoding": {"temp_directory": place.path("jobs"), "max_concurrent_jobs": 1, "retry_delay": 0.2},
            "hardware": {"prefer_hw_accel": false},
            "security": {"state_directory": place.path("state"), "rate_limit_per_minute": 0,
                "sources": {"local_roots": [place.path("")]}},
        });
        // JSON is YAML.
        std::fs::write(&settings, text.to_string()).unwrap();
        let child = by
            .args(["serve", "--config"])
            .arg(&settings)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server { child, port };
        let begin = Instant::now();
        while server.get("/api/live").is_none() {
            assert!(begin.elapsed() < PATIENCE, "the server does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn get(&self, path: &str) -> Option<Value> {
        let mut answer = ureq::get(format!("http://127.0.0.1:{}{path}", self.port)).call().ok()?;
        answer.body_mut().read_json().ok()
    }

    fn begin(&self, body: &Value) -> String {
        let mut answer = ureq::post(format!("http://127.0.0.1:{}/api/transcode/start", self.port))
            .send_json(body)
            .unwrap();
        let answer: Value = answer.body_mut().read_json().unwrap();
        answer["job_id"].as_str().unwrap().into()
    }

    fn wait(&self, id: &str, good: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let status = self.get(&format!("/api/transcode/{id}/status")).unwrap_or_default();
            if good(&status) {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "{status}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ready(&self, id: &str) -> Value {
        self.wait(id, |s| {
            assert!(s["status"] != "error", "{s}");
            s["status"] == "ready"
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_killed_server_keeps_its_promises() {
    let place = Place::new();
    let (small, long) = (place.clip("small.mp4", 1), crate::failures::slow(&place, "long.mp4"));
    let batch = |source: &str| json!({"source": source, "mode": "batch", "output": {"format": "mp4"}});
    let mut server = Server::start(&place);
    let done = server.begin(&batch(&small));
    server.ready(&done);
    let running = server.begin(&batch(&long));
    server.wait(&running, |s| s["progress"].as_f64().is_some_and(|p| p > 0.0));
    let waiting = server.begin(&batch(&small));
    let worker = crate::failures::worker_of(&place.job_dir(&running)).expect("a worker");
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let begin = Instant::now();
    while std::path::Path::new(&format!("/proc/{worker}")).exists() {
        assert!(begin.elapsed() < Duration::from_secs(10), "a worker outlives its server");
        std::thread::sleep(Duration::from_millis(20));
    }
    let server = Server::start(&place);
    assert_eq!(server.get(&format!("/api/transcode/{done}/status")).unwrap()["status"], "ready");
    let download = ureq::get(format!("http://127.0.0.1:{}/download/{done}", server.port)).call().unwrap();
    assert_eq!(download.status(), 200);
    server.ready(&running);
    server.ready(&waiting);
    let found = probe(&place.job_dir(&running).join("output.mp4"));
    assert_eq!(video(&found)["nb_read_frames"], "1000");
}

/// Somebody who is told that a film is ready hears of it, whatever happens to the server in between.
#[test]
fn a_call_that_was_to_be_made_again_is_made_after_a_kill() {
    use std::io::{Read, Write};
    let place = Place::new();
    let small = place.clip("small.mp4", 1);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/done", listener.local_addr().unwrap());
    let (sender, calls) = std::sync::mpsc::channel();
    let open = Arc::new(AtomicBool::new(true));
    let busy = open.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                text.extend_from_slice(&buffer[..n]);
                if text.ends_with(b"}") {
                    break;
                }
            }
            let text = String::from_utf8(text).unwrap();
            let id = text.lines().find_map(|l| l.strip_prefix("x-ghoststream-delivery: ").map(String::from));
            // The first server hears that nobody has time.
            let answer = if busy.load(Ordering::SeqCst) { "503 Busy" } else { "204 Thanks" };
            sender.send((id.expect("an id"), text)).unwrap();
            stream.write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").as_bytes()).unwrap();
        }
    });
    let mut server = Server::start(&place);
    let body = json!({"source": small, "mode": "batch", "output": {"format": "mp4"}, "callback_url": url});
    let job = server.begin(&body);
    let (first, text) = calls.recv_timeout(PATIENCE).unwrap();
    assert!(text.contains(&job) && text.contains("\"status\":\"ready\""), "{text}");
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    // A try that was under way is the first server's, too.
    std::thread::sleep(Duration::from_secs(1));
    while calls.try_recv().is_ok() {}
    open.store(false, Ordering::SeqCst);
    let mut server = Server::start(&place);
    let (second, again) = calls.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&second, again.rsplit("\r\n").next()), (&first, text.rsplit("\r\n").next()), "the same call");
    // What was heard is not said again, once the server has written that down.
    std::thread::sleep(Duration::from_secs(3));
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let _server = Server::start(&place);
    assert!(calls.recv_timeout(Duration::from_secs(4)).is_err());
}

/// The original's variable: what FFmpeg says is in the server's log.
#[test]
fn the_words_of_ffmpeg_are_logged_where_they_are_asked_for() {
    let place = Place::new();
    let small = place.clip("small.mp4", 1);
    for asked in [false, true] {
        let mut by = Command::new(command());
        by.env("GHOSTSTREAM_FFMPEG_VERBOSE", if asked { "yes" } else { "no" }).env("GHOSTSTREAM_ENV", "test");
        let server = Server::start_by(&place, by);
        let job = server.begin(&json!({"source": small, "mode": "batch", "output": {"format": "mp4"}}));
        server.ready(&job);
        let log = server.get("/api/logs").unwrap();
        let said = log.as_array().unwrap().iter().any(|l| l["text"].as_str().unwrap().contains("libx264"));
        let theirs = log.as_array().unwrap().iter().any(|l| {
            let text = l["text"].as_str().unwrap();
            text.contains(" ffmpeg: ") && text.contains(" worker=")
        });
        assert!(said && theirs == asked, "{asked}: {log}");
        // 503 on a machine that is busy.
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let health = agent.get(format!("http://127.0.0.1:{}/api/health/detailed", server.port)).call();
        assert_eq!(health.unwrap().body_mut().read_json::<Value>().unwrap()["environment"], "test");
    }
}

/// A disk that is full fails the job that fills it, with nothing left of it, and whoever comes then has room.
#[test]
fn a_full_disk_fails_a_job_and_is_empty_again() {
    let place = Place::new();
    let small = place.clip("small.mp4", 2);
    let large = place.path("noise.mp4").to_string_lossy().into_owned();
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=640x360:r=25:d=30,noise=alls=60:allf=t -c:v libx264 -preset ultrafast -crf 30 -pix_fmt yuv420p {large}"
    ));
    let Some(server) = Server::start_with_disk(&place, "4m") else { return };
    // As the server sees it.
    let seen = std::path::PathBuf::from(format!("/proc/{}/root", server.child.id()));
    for (body, kind) in [
        (json!({"source": large, "playback": "growing", "output": {"bitrate": "4M"}}), "growing"),
        (json!({"source": large, "mode": "batch", "output": {"format": "mp4", "bitrate": "4M"}}), "batch"),
    ] {
        let failing = server.begin(&body);
        let told = server.wait(&failing, |s| {
            assert!(s["status"] != "ready", "{kind}: {s}");
            s["status"] == "error"
        });
        let why = told["error_message"].as_str().unwrap_or_default();
        assert!(why.contains("No space left on device"), "{kind}: {told}");
        let dir = place.job_dir(&failing);
        let dir = seen.join(dir.strip_prefix("/").unwrap());
        let left: Vec<_> = std::fs::read_dir(&dir).into_iter().flatten().filter_map(Result::ok).collect();
        let bytes: u64 = left.iter().map(|f| f.metadata().map_or(0, |m| m.len())).sum();
        assert!(bytes < 4096, "{kind}: {left:?}");
        let next = server.begin(&json!({"source": small, "mode": "batch", "output": {"format": "mp4"}}));
        server.ready(&next);
        assert_eq!(
            ureq::delete(format!("http://127.0.0.1:{}/api/transcode/{next}", server.port))
                .call()
                .unwrap()
                .status(),
            200
        );
    }
    // On demand, what was played makes room for what is wanted: a film that is larger than the disk is seen to its end.
    let stream = server.begin(&json!({"source": large, "output": {"bitrate": "4M"}}));
    server.ready(&stream);
    let get = |name: &str| {
        let url = format!("http://127.0.0.1:{}/stream/{stream}/{name}", server.port);
        ureq::get(url).config().http_status_as_error(false).build().call().unwrap()
    };
    let list = get("master.m3u8").body_mut().read_to_string().unwrap();
    let mut bytes = 0;
    for segment in list.lines().filter(|l| !l.starts_with('#')) {
        let mut answer = get(segment);
        assert_eq!(answer.status(), 200, "{segment}: {}", answer.body_mut().read_to_string().unwrap());
        bytes += answer.body_mut().read_to_vec().unwrap().len();
    }
    assert!(bytes > 8 << 20, "{bytes} bytes do not fill the disk");
    let status = server.get(&format!("/api/transcode/{stream}/status")).unwrap();
    assert!(status["warnings"].to_string().contains("the disk is full"), "{status}");
}
