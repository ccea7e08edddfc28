use super::support::{Site, has};
use serde_json::{Value, json};

/// The kinds and paths of a 422.
fn mistakes(site: &Site, body: &[u8]) -> Vec<(String, Value)> {
    let reply = site.ask("POST", "/api/transcode/start", &[("content-type", "application/json")], Some(body));
    assert_eq!(reply.status, 422, "{}", reply.text());
    let reply = reply.json();
    let list = reply["detail"].as_array().unwrap().iter();
    list.map(|e| {
        has(e, "type loc msg input");
        (e["type"].as_str().unwrap().to_string(), e["loc"].clone())
    })
    .collect()
}

#[test]
fn mistakes_are_pydantic_s() {
    let site = Site::new();
    let of = |body: Value| mistakes(&site, &serde_json::to_vec(&body).unwrap());
    assert_eq!(of(json!({})), [("missing".into(), json!(["body", "source"]))]);
    assert_eq!(
        of(json!({ "source": "x", "mode": "live", "output": { "resolution": "8k" }, "start_time": "soon" })),
        [
            ("enum".into(), json!(["body", "mode"])),
            ("enum".into(), json!(["body", "output", "resolution"])),
            ("float_parsing".into(), json!(["body", "start_time"])),
        ]
    );
    assert_eq!(
        of(json!({ "source": "x", "subtitles": [{ "label": "no url" }] })),
        [("missing".into(), json!(["body", "subtitles", 0, "url"]))]
    );
    assert_eq!(
        of(json!({ "source": "x", "output": { "max_audio_channels": 99 } })),
        [("less_than_equal".into(), json!(["body", "output", "max_audio_channels"]))]
    );
    assert_eq!(mistakes(&site, b""), [("missing".into(), json!(["body"]))]);
    assert_eq!(mistakes(&site, b"{\"source\": }"), [("json_invalid".into(), json!(["body", 11]))]);
    assert_eq!(mistakes(&site, b"[]"), [("model_attributes_type".into(), json!(["body"]))]);
    assert_eq!(mistakes(&site, b"\xff\xfe")[0].0, "json_invalid");
    assert_eq!(mistakes(&site, b"{\"source\": \"x\"} 1")[0].0, "json_invalid");
    // Which of the two is meant nobody can say.
    let twice = br#"{"source": "x", "subtitles": [{"url": "a", "url": "b"}]}"#;
    assert_eq!(mistakes(&site, twice), [("value_error".into(), json!(["body", "subtitles", 0, "url"]))]);
}

#[test]
fn an_empty_source_is_a_400_by_both_names() {
    let site = Site::new();
    for path in ["/api/transcode/start", "/transcode"] {
        for source in ["", "  "] {
            let reply = site.post(path, &json!({ "source": source }));
            assert_eq!((reply.status, reply.json()), (400, json!({ "detail": "Source URL is required" })));
        }
    }
}

#[test]
fn sources_that_the_policy_refuses() {
    let site = Site::new();
    let outside = site.post("/api/transcode/start", &json!({ "source": "/etc/hostname" }));
    let missing = site.post("/api/transcode/start", &json!({ "source": "/etc/no-such-file" }));
    // Nobody learns which files exist.
    assert_eq!((outside.status, outside.json()), (403, missing.json()));
    for (source, why) in [
        ("http://169.254.169.254/latest/meta-data", "link-local"),
        ("file:///etc/passwd", "local_roots"),
        ("concat:/etc/passwd|/etc/group", "schemes"),
        ("gopher://192.168.1.1/x", "schemes"),
    ] {
        let reply = site.post("/api/transcode/start", &json!({ "source": source }));
        assert_eq!(reply.status, 403, "{source}");
        assert!(reply.json()["detail"].as_str().unwrap().contains(why), "{}", reply.text());
    }
    let clip = site.clip("a.mp4", 1);
    for extra in [
        json!({ "subtitles": [{ "url": "/etc/passwd" }] }),
        json!({ "callback_url": "http://169.254.169.254/x" }),
    ] {
        let mut body = json!({ "source": clip });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        assert_eq!(site.post("/api/transcode/start", &body).status, 403, "{body}");
    }
}

#[test]
fn a_body_has_a_limit() {
    let site = Site::with(|c| c.server.max_body_kb = 4);
    let body = json!({ "source": "x".repeat(5000) });
    let reply = site.post("/api/transcode/start", &body);
    assert_eq!((reply.status, reply.json()["detail"].as_str()), (413, Some("Request body is too large")));
    assert_eq!(site.get("/api/health").status, 200);
    // What says so itself is refused before it is sent.
    use std::io::{Read, Write};
    let mut large = std::net::TcpStream::connect(site.address()).unwrap();
    large.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    let head = "POST /api/transcode/start HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n{";
    large.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    large.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[test]
fn a_slow_body_is_not_waited_for() {
    use std::io::{Read, Write};
    let site = Site::with(|c| c.server.request_timeout_seconds = 1);
    let mut slow = std::net::TcpStream::connect(site.address()).unwrap();
    slow.write_all(b"POST /api/transcode/start HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{").unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let mut slower = std::net::TcpStream::connect(site.address()).unwrap();
    slower.write_all(b"GET /api/health HTTP/1.1\r\nHost: ").unwrap();
    let begin = std::time::Instant::now();
    // The connection ends without (or with) an answer; that it ends is what counts.
    let _ended = slower.read_to_string(&mut answer);
    assert!(begin.elapsed().as_secs() < 20);
}

#[test]
fn a_full_queue_refuses_and_says_when_to_come_back() {
    let site = Site::with(|c| c.transcoding.max_queue_size = 0);
    let clip = site.clip("a.mp4", 1);
    let reply = site.post("/api/transcode/start", &json!({ "source": clip }));
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1);
}

#[test]
fn unknown_fields_are_ignored_and_named() {
    let site = Site::new();
    let clip = site.clip("a.mp4", 1);
    let job = site.start(json!({ "source": clip, "colour": 1, "output": { "crf": 3 } }));
    let warnings = job["warnings"].to_string();
    assert!(warnings.contains("colour") && warnings.contains("output.crf"), "{warnings}");
    let id = job["job_id"].as_str().unwrap();
    let status = site.get(&format!("/api/transcode/{id}/status")).json();
    assert!(status["warnings"].to_string().contains("output.crf: no such field"), "{status}");
}

#[test]
fn the_answer_has_every_field() {
    let site = Site::new();
    let clip = site.clip("a.mp4", 1);
    for (path, mode) in [("/api/transcode/start", "stream"), ("/transcode", "abr"), ("/transcode", "batch")] {
        let reply = site.post(path, &json!({ "source": clip, "mode": mode, "output": { "format": if mode == "batch" { "mp4" } else { "hls" } } }));
        assert_eq!(reply.status, 200, "{}", reply.text());
        let job = reply.json();
        has(
            &job,
            "job_id status progress stream_url download_url duration eta_seconds hw_accel_used error_message \
             variants media_info start_time is_shared viewer_count control_token",
        );
        let id = job["job_id"].as_str().unwrap();
        assert_eq!((id.len(), id.matches('-').count()), (36, 4));
        assert!(["queued", "processing"].iter().any(|s| job["status"] == *s), "{job}");
        assert_eq!((&job["start_time"], &job["is_shared"]), (&json!(0.0), &json!(false)));
        let viewers = if mode == "batch" { 0 } else { 1 };
        assert_eq!(job["viewer_count"], viewers, "{mode}");
        assert!(job["download_url"].is_null());
        match mode {
            "batch" => assert!(job["stream_url"].is_null()),
            _ => {
                let url = job["stream_url"].as_str().unwrap();
                assert!(url.starts_with(&site.url(&format!("/stream/{id}/master.m3u8?gst="))), "{url}");
            }
        }
    }
}

#[test]
fn urls_are_those_that_the_client_can_reach() {
    let site = Site::new();
    let clip = site.clip("a.mp4", 1);
    let body = serde_json::to_vec(&json!({ "source": clip })).unwrap();
    let reply = site.ask("POST", "/transcode", &[("host", "media.lan:9000")], Some(&body));
    assert!(reply.json()["stream_url"].as_str().unwrap().starts_with("http://media.lan:9000/stream/"));
    let reply = site.ask("POST", "/transcode", &[("host", "<script>")], Some(&body));
    assert!(!reply.text().contains("script"), "{}", reply.text());
    let fixed = Site::with(|c| c.server.advertised_url = Some("https://tv.example/ghost/".into()));
    let job = fixed.start(json!({ "source": fixed.clip("a.mp4", 1) }));
    assert!(job["stream_url"].as_str().unwrap().starts_with("https://tv.example/ghost/stream/"));
}
