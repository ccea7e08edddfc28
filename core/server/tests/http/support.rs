//! A server on a free port, clips, and clients.

#[path = "../built/mod.rs"]
mod built;

pub use built::command;
use ghoststream_server::Blocking;
use ghoststream_server::config::Config;
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::stream::MaybeTlsStream;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running server and its directory.
pub struct Site {
    pub server: Blocking,
    pub config: Config,
    dir: tempfile::TempDir,
    agent: ureq::Agent,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        assert!(self.headers.get_all(name).iter().count() <= 1, "{name} is there twice");
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

impl Site {
    pub fn new() -> Site {
        Site::with(|_| ())
    }

    /// With other settings.
    pub fn with(change: impl FnOnce(&mut Config)) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.host = "127.0.0.1".into();
        config.server.port = 0;
        config.mdns.enabled = false;
        config.mdns.udp_enabled = false;
        config.transcoding.temp_directory = dir.path().join("jobs");
        config.transcoding.worker_command = vec![command().to_string_lossy().into_owned(), "worker".into()];
        config.transcoding.retry_count = 0;
        config.transcoding.segment_duration = 1.0;
        config.hardware.prefer_hw_accel = false;
        config.security.state_directory = dir.path().join("state");
        config.security.rate_limit_per_minute = 0;
        config.security.sources.local_roots = vec![dir.path().into()];
        change(&mut config);
        let server = Blocking::start(config.clone()).unwrap();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Site { server, config, dir, agent: agent.into() }
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.server.addresses()[0]
    }

    pub fn url(&self, path: &str) -> String {
        if path.starts_with("http") { path.into() } else { format!("http://{}{path}", self.address()) }
    }

    /// Any request. `path` may be a whole URL.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Reply {
        let mut request = ureq::http::Request::builder().method(method).uri(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = match body {
            Some(body) => self.agent.run(request.body(body).unwrap()),
            None => {
                let request = request.body(()).unwrap();
                self.agent.run(request)
            }
        };
        let mut answer = answer.unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        Reply {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap(),
        }
    }

    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        let headers = [("content-type", "application/json")];
        self.ask("POST", path, &headers, Some(&serde_json::to_vec(body).unwrap()))
    }

    /// Starts a job that is expected to be taken.
    pub fn start(&self, body: Value) -> Value {
        let reply = self.post("/api/transcode/start", &body);
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    pub fn status(&self, id: &str) -> Value {
        self.get(&format!("/api/transcode/{id}/status")).json()
    }

    /// Waits until the job's status is `wanted`.
    pub fn until(&self, id: &str, wanted: &str) -> Value {
        let begin = Instant::now();
        loop {
            let status = self.status(id);
            if status["status"] == wanted {
                return status;
            }
            let over = ["ready", "error", "cancelled"].iter().any(|s| status["status"] == *s);
            assert!(!over && begin.elapsed() < PATIENCE, "wanted {wanted}: {status}");
            std::thread::sleep(Duration::from_millis(40));
        }
    }

    /// A clip of `seconds`: 320x180, 25 fps, a tone.
    pub fn clip(&self, name: &str, seconds: u32) -> String {
        let path = self.dir.path().canonicalize().unwrap().join(name);
        let lavfi = format!("testsrc2=s=320x180:r=25:d={seconds}");
        let tone = format!("sine=frequency=440:sample_rate=48000:d={seconds}");
        let out = Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-f", "lavfi", "-i", &lavfi, "-f", "lavfi", "-i", &tone])
            .args("-c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p -c:a aac -b:a 96k".split(' '))
            .arg(&path)
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        path.to_string_lossy().into_owned()
    }

    pub fn socket(&self) -> Socket {
        let url = format!("ws://{}/ws/progress", self.address());
        let (socket, _) = tokio_tungstenite::tungstenite::connect(url).unwrap();
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        Socket(socket)
    }
}

/// A WebSocket client.
pub struct Socket(pub WebSocket<MaybeTlsStream<std::net::TcpStream>>);

impl Socket {
    pub fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).unwrap();
    }

    /// The next text, as JSON; panics after 20 s.
    pub fn hear(&mut self) -> Value {
        loop {
            match self.0.read().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// Waits for everything said before to be handled: messages are answered in order.
    pub fn settle(&mut self) -> Vec<Value> {
        self.say(json!({ "type": "ping" }));
        let mut before = Vec::new();
        loop {
            let message = self.hear();
            if message["type"] == "pong" {
                return before;
            }
            before.push(message);
        }
    }
}

/// The keys of an object, sorted.
pub fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Asserts that an object has these keys and maybe others.
pub fn has(value: &Value, wanted: &str) {
    for key in wanted.split_whitespace() {
        assert!(value.get(key).is_some(), "no {key} in {value}");
    }
}
