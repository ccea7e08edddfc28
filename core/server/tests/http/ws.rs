use super::support::{PATIENCE, Site};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

#[test]
fn pings_and_pongs() {
    let site = Site::with(|c| c.server.websocket_ping_seconds = 0.3);
    let mut socket = site.socket();
    socket.say(json!({ "type": "ping" }));
    let pong = socket.hear();
    assert_eq!(pong["type"], "pong");
    assert!(pong["ts"].as_f64().unwrap() > 1.7e9);
    let ping = socket.hear();
    assert_eq!(ping["type"], "ping");
    assert!(ping["ts"].as_f64().unwrap() > 1.7e9);
    // Who answers stays.
    for _ in 0..5 {
        socket.say(json!({ "type": "pong", "ts": 0 }));
        assert_eq!(socket.hear()["type"], "ping");
    }
}

#[test]
fn nonsense_is_ignored() {
    let site = Site::new();
    let mut socket = site.socket();
    for text in [
        "",
        "{",
        "[]",
        "5",
        "{\"type\": 7}",
        "{\"type\": \"dance\"}",
        "{\"type\":\"subscribe\",\"job_ids\":7}",
    ] {
        socket.0.send(Message::text(text)).unwrap();
    }
    socket.0.send(Message::binary(vec![1, 2, 3])).unwrap();
    assert_eq!(socket.settle(), Vec::<Value>::new());
}

#[test]
fn who_never_answers_is_closed() {
    use std::io::{Read, Write};
    let site = Site::with(|c| c.server.websocket_ping_seconds = 0.2);
    let mut dead = std::net::TcpStream::connect(site.address()).unwrap();
    dead.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        dead,
        "GET /ws/progress HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .unwrap();
    let mut all = Vec::new();
    let begin = Instant::now();
    dead.read_to_end(&mut all).unwrap();
    let text = String::from_utf8_lossy(&all);
    assert!(text.starts_with("HTTP/1.1 101"), "{text}");
    assert!(text.contains("no answer to pings") && begin.elapsed() < Duration::from_secs(20), "{text}");
}

#[test]
fn one_client_too_many_is_told_to_come_later() {
    // Both ends are this process's.
    let files = ghoststream::process::open_files().unwrap();
    assert!(files.is_none_or(|n| n > 2500), "this system grants {files:?} open files");
    let site = Site::with(|c| c.server.max_connections = 1100);
    let mut all: Vec<_> = (0..1000).map(|_| site.socket()).collect();
    // Who is answered has his place.
    all.iter_mut().for_each(|socket| drop(socket.settle()));
    let mut late = site.socket();
    match late.0.read().unwrap() {
        Message::Close(Some(frame)) => {
            assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1013, "Server overloaded"));
        }
        other => panic!("{other:?}"),
    }
    all.truncate(900);
    let begin = Instant::now();
    loop {
        let mut next = site.socket();
        if next.0.send(Message::text("{\"type\":\"ping\"}")).is_ok()
            && matches!(next.0.read(), Ok(Message::Text(_)))
        {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "the places of those who left stay taken");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_end_of_the_server_is_told() {
    let site = Site::new();
    let mut socket = site.socket();
    socket.settle();
    site.server.stop();
    loop {
        match socket.0.read().unwrap() {
            Message::Close(Some(frame)) => {
                assert_eq!((frame.code, frame.reason.as_str()), (CloseCode::Normal, "server_shutdown"));
                break;
            }
            Message::Close(None) => panic!("no reason"),
            _ => {}
        }
    }
}

#[test]
fn a_job_is_followed() {
    let site = Site::with(|c| {
        c.transcoding.max_concurrent_jobs = 1;
        c.transcoding.playback = serde_json::from_str("\"growing\"").unwrap();
    });
    let clip = site.clip("a.mp4", 40);
    let mut all = site.socket();
    let mut one = site.socket();
    let mut none = site.socket();
    none.say(json!({ "type": "subscribe", "job_ids": ["another"] }));
    none.settle();
    let output = json!({ "format": "mp4", "video_codec": "h264" });
    let job = site.start(json!({ "source": clip, "mode": "batch", "output": output }));
    let id = job["job_id"].as_str().unwrap();
    one.say(json!({ "type": "subscribe", "job_ids": [id], "control_token": job["control_token"] }));

    let mut progress: Vec<(Instant, f64)> = Vec::new();
    let mut statuses = Vec::new();
    let begin = Instant::now();
    while statuses.last().is_none_or(|s| s != "ready") {
        assert!(begin.elapsed() < PATIENCE);
        let event = one.hear();
        match event["type"].as_str().unwrap() {
            "progress" => {
                assert_eq!(event["job_id"], id);
                for key in ["progress", "frame", "fps", "time", "speed"] {
                    assert!(event["data"][key].is_number(), "{event}");
                }
                progress.push((Instant::now(), event["data"]["progress"].as_f64().unwrap()));
            }
            "status_change" => {
                assert_eq!(event["job_id"], id);
                statuses.push(event["data"]["status"].as_str().unwrap().to_string());
            }
            "ping" | "pong" => {}
            other => panic!("{other}"),
        }
    }
    // The subscription may have come after the job began.
    assert!(statuses == ["processing", "ready"] || statuses == ["ready"], "{statuses:?}");
    assert!(progress.windows(2).all(|w| w[0].1 <= w[1].1), "{progress:?}");
    // Steady: never much more than twice a second.
    let took = progress.last().map_or(0.0, |l| (l.0 - progress[0].0).as_secs_f64());
    assert!(progress.len() as f64 <= took * 2.0 + 4.0, "{} in {took} s", progress.len());
    if took > 2.0 {
        assert!(progress.len() as f64 >= took, "{} in {took} s", progress.len());
    }
    assert!(all.settle().iter().any(|e| e["type"] == "status_change" && e["job_id"] == id));
    assert!(none.settle().is_empty());
    // Back to everything.
    none.say(json!({ "type": "subscribe_all" }));
    one.say(json!({ "type": "unsubscribe", "job_ids": [id] }));
    let before = one.settle();
    assert!(before.iter().all(|e| e["type"] == "progress"), "{before:?}");
    none.settle();
    let second = site.start(json!({ "source": clip, "mode": "batch", "start_time": 38, "output": output }));
    site.until(second["job_id"].as_str().unwrap(), "ready");
    assert!(one.settle().is_empty());
    assert!(!none.settle().is_empty());
}

/// The machine's state is told to everybody who follows everything, and to nobody who follows one job.
#[test]
fn what_the_machine_allows_is_told() {
    let site = Site::with(|c| {
        c.transcoding.max_concurrent_jobs = 3;
        // What is decided then is what the settings say, however busy this machine is.
        c.hardware.adapt = false;
    });
    let mut all = site.socket();
    let mut one = site.socket();
    one.say(json!({ "type": "subscribe", "job_ids": ["another"] }));
    one.settle();
    let begin = Instant::now();
    // The first look at the machine is told to nobody.
    while site.get("/api/status").json()["hardware"]["tier"] == "" {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(50));
    }
    all.settle();
    for jobs in [1, 2] {
        let mut config = site.config.clone();
        config.transcoding.max_concurrent_jobs = jobs;
        assert_eq!(site.server.reload(config).unwrap(), Vec::<&str>::new());
        let told = loop {
            let event = all.hear();
            if event["type"] == "adaptation" {
                break event;
            }
        };
        assert!(told.get("job_id").is_none(), "{told}");
        assert_eq!(told["data"]["max_concurrent_jobs"], jobs, "{told}");
        let status = site.get("/api/status").json();
        for key in ["max_concurrent_jobs", "quality_factor", "pressure", "reasons"] {
            assert_eq!(told["data"][key], status["jobs"][key], "{key}: {told}");
        }
    }
    assert_eq!(one.settle(), Vec::<Value>::new());
}
