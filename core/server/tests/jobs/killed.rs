//! The real command, killed in the middle of a job: what it promised holds after the next start.

use crate::support::*;
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(place: &Place) -> Server {
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
        let child = Command::new(command())
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
