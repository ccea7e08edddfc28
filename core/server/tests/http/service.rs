use super::support::{Site, has, keys};
use serde_json::json;

#[test]
fn health_by_both_names() {
    let site = Site::new();
    for path in ["/api/health", "/health"] {
        let reply = site.get(path);
        assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"));
        let health = reply.json();
        has(&health, "status version uptime_seconds current_jobs queued_jobs hw_accels");
        assert_eq!((&health["status"], &health["current_jobs"]), (&json!("healthy"), &json!(0)));
        assert!(health["uptime_seconds"].as_f64().unwrap() >= 0.0);
    }
    let head = site.ask("HEAD", "/api/health", &[], None);
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn detailed_health_has_its_checks() {
    let site = Site::new();
    let reply = site.get("/api/health/detailed");
    let health = reply.json();
    // The machine may be busy with other tests.
    assert_eq!(reply.status == 503, health["status"] == "unhealthy");
    has(&health, "status version environment uptime_seconds checks timestamp");
    assert_eq!(keys(&health["checks"]), ["active_jobs", "cpu", "disk", "job_queue", "memory"]);
    has(&health["checks"]["cpu"], "status usage_percent");
    has(&health["checks"]["memory"], "status usage_percent available_mb");
    has(&health["checks"]["disk"], "status usage_percent free_gb");
    has(&health["checks"]["job_queue"], "status current max usage_percent");
    has(&health["checks"]["active_jobs"], "status count max_concurrent");
    assert!(health["checks"]["disk"]["free_gb"].as_f64().unwrap() > 0.0);
    assert_eq!(health["checks"]["job_queue"]["max"], 1000);
}

#[test]
fn ready_and_live() {
    let site = Site::new();
    let ready = site.get("/api/ready");
    assert_eq!((ready.status, ready.json()), (200, json!({ "ready": true })));
    let live = site.get("/api/live").json();
    assert_eq!(live["alive"], true);
    assert!(live["timestamp"].as_f64().unwrap() > 1.7e9);
}

#[test]
fn a_full_queue_is_not_ready() {
    let site = Site::with(|c| c.transcoding.max_queue_size = 0);
    let ready = site.get("/api/ready");
    assert_eq!((ready.status, ready.json()), (503, json!({ "ready": false, "reason": "Queue full" })));
}

#[test]
fn capabilities_by_both_names() {
    let site = Site::new();
    for path in ["/api/capabilities", "/capabilities"] {
        let all = site.get(path).json();
        let kinds: Vec<_> = all["hw_accels"].as_array().unwrap().iter().map(|a| a["type"].clone()).collect();
        assert_eq!(kinds, ["nvenc", "qsv", "vaapi", "amf", "videotoolbox", "software"]);
        for accel in all["hw_accels"].as_array().unwrap() {
            has(accel, "type available encoders decoders");
            assert_eq!(accel["available"], !accel["encoders"].as_array().unwrap().is_empty());
        }
        let software = &all["hw_accels"][5];
        assert!(software["encoders"].as_array().unwrap().contains(&json!("libx264")));
        assert!(all["video_codecs"].as_array().unwrap().contains(&json!("h264")));
        for codec in ["aac", "opus", "mp3", "flac", "ac3", "eac3", "copy"] {
            assert!(all["audio_codecs"].as_array().unwrap().contains(&json!(codec)), "{codec}");
        }
        assert_eq!(all["formats"], json!(["hls", "dash", "mp4", "webm", "mkv"]));
        assert_eq!(all["max_concurrent_jobs"], 2);
        assert!(all["platform"].as_str().unwrap().starts_with("Linux "));
        assert!(!all["ffmpeg_version"].as_str().unwrap().is_empty());
    }
}

#[test]
fn counters_of_an_idle_server() {
    let site = Site::new();
    let stats = site.get("/api/stats").json();
    assert_eq!(
        keys(&stats),
        [
            "active_jobs",
            "average_transcode_speed",
            "cancelled_jobs",
            "current_queue_length",
            "failed_jobs",
            "hw_accel_usage",
            "successful_jobs",
            "total_bytes_processed",
            "total_jobs_processed",
            "uptime_seconds"
        ]
    );
    let cleanup = site.get("/api/cleanup/stats").json();
    assert_eq!(
        keys(&cleanup),
        ["active_jobs", "cleaned_jobs", "nearly_stale", "ready_jobs", "temp_dir", "total_jobs"]
    );
    let run = site.ask("POST", "/api/cleanup/run", &[], Some(b""));
    assert_eq!(run.json(), json!({ "stale_jobs_cleaned": 0, "orphaned_dirs_cleaned": 0 }));
    let shared = site.get("/api/streams/shared").json();
    assert_eq!(
        shared,
        json!({ "active_shared_streams": 0, "total_viewers": 0, "viewer_sessions": 0, "streams": {} })
    );
    assert_eq!(site.get("/api/transcode/jobs").json(), json!({ "jobs": [] }));
}

#[test]
fn the_status_that_was_promised() {
    let site = Site::new();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let status = site.get("/api/status").json();
    has(
        &status["hardware"],
        "tier gpu_name gpu_vram_mb is_laptop power_source max_resolution recommended_encoder",
    );
    has(
        &status["realtime"],
        "cpu_percent gpu_percent gpu_temperature_c load_factor is_overloaded load_trend",
    );
    has(
        &status["jobs"],
        "active_jobs queued_jobs max_concurrent_jobs quality_factor recent_success_rate pressure reasons",
    );
    let tier = status["hardware"]["tier"].as_str().unwrap();
    assert!(["ultra", "high", "medium", "low", "minimal"].contains(&tier));
    assert_eq!(status["hardware"]["max_resolution"].as_array().unwrap().len(), 2);
    assert_eq!(status["jobs"]["recent_success_rate"], 1.0);
}

#[test]
fn clients_are_listed() {
    let site = Site::new();
    assert_eq!(site.get("/api/clients").json(), json!([]));
    let _named = site.ask("GET", "/api/health", &[("X-GhostStream-Client", "ghosthub")], None);
    let internal = [("X-GhostStream-Client", "dashboard"), ("X-GhostStream-Internal", "tui-dashboard")];
    let _hidden = site.ask("GET", "/api/health", &internal, None);
    let mut socket = site.socket();
    socket.say(json!({ "type": "identify", "client": "watcher" }));
    socket.settle();
    let clients = site.get("/api/clients").json();
    assert_eq!(
        clients,
        json!([
            { "id": "ws-0", "client": "watcher", "transport": "ws" },
            { "id": "127.0.0.1", "client": "ghosthub", "transport": "http" },
        ])
    );
}

#[test]
fn what_is_not_there_says_so_in_json() {
    let site = Site::new();
    for (method, path, status, detail) in [
        ("GET", "/nope", 404, "Not Found"),
        ("GET", "/api", 404, "Not Found"),
        ("GET", "/page/nope.js", 404, "Not Found"),
        ("GET", "/api/transcode/start", 405, "Method Not Allowed"),
        ("DELETE", "/api/health", 405, "Method Not Allowed"),
        ("GET", "/api/transcode/x/status", 404, "Job not found"),
        ("GET", "/transcode/x", 404, "Job not found"),
        ("GET", "/api/transcode/x/stream", 404, "Job not found"),
        ("DELETE", "/api/transcode/x", 404, "Job not found"),
        ("POST", "/api/transcode/x/leave", 404, "Job not found"),
        ("POST", "/api/transcode/x/cancel", 400, "Job cannot be cancelled"),
        ("DELETE", "/transcode/x", 400, "Job cannot be cancelled"),
        ("GET", "/stream/x/master.m3u8", 404, "Stream file not found"),
        ("GET", "/download/x", 404, "Job not found"),
        ("GET", "/ws/progress", 426, "This is a WebSocket"),
    ] {
        let body = (method == "POST").then_some(b"".as_slice());
        let reply = site.ask(method, path, &[], body);
        assert_eq!((reply.status, reply.json()), (status, json!({ "detail": detail })), "{method} {path}");
        assert_eq!(reply.header("allow").is_empty(), status != 405, "{path}");
    }
}

#[test]
fn the_api_describes_itself() {
    let site = Site::new();
    let document = site.get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    for path in ["/api/transcode/start", "/stream/{job_id}/{path}", "/api/status"] {
        assert!(document["paths"].get(path).is_some(), "{path}");
    }
    for path in ["/docs", "/redoc", "/"] {
        let reply = site.get(path);
        assert_eq!((reply.status, reply.header("content-type")), (200, "text/html; charset=utf-8"));
        // Nothing from elsewhere: it has to work without the Internet.
        assert!(!reply.text().contains("http://") && !reply.text().contains("https://"), "{path}");
    }
    let hls = site.get("/page/hls.min.js");
    assert!(hls.header("content-type").starts_with("text/javascript") && hls.body.len() > 100_000);
    assert!(site.get("/page/hls.LICENSE").text().contains("Apache License"));
}

#[test]
fn prometheus_reads_the_metrics() {
    let site = Site::new();
    let _counted = site.get("/api/transcode/secret-job/status");
    let reply = site.get("/metrics");
    assert!(reply.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = reply.text();
    let mut kinds = std::collections::HashMap::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(kinds.insert(name, kind).is_none(), "{name} twice");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let name = name.split('{').next().unwrap();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s));
            let known = kinds.contains_key(name) || base.is_some_and(|b| kinds.get(b) == Some(&"histogram"));
            assert!(known && value.parse::<f64>().is_ok(), "{line}");
        }
    }
    // Routes, not paths: a client cannot make time series, and ids stay out.
    assert!(text.contains("route=\"/api/transcode/{id}/status\",status=\"404\"} 1"), "{text}");
    assert!(!text.contains("secret-job"));
    for name in ["jobs", "queue_length", "encoder_sessions", "encode_fps", "http_media_bytes_total"] {
        assert!(kinds.contains_key(format!("ghoststream_{name}").as_str()), "{name}");
    }
}

/// Who encoded is counted for good, as all counters are: also when the job is gone.
#[test]
fn who_encoded_is_remembered() {
    let site = Site::new();
    let clip = site.clip("a.mp4", 1);
    let job = site.start(json!({ "source": clip, "mode": "batch", "output": { "format": "mp4" } }));
    let id = job["job_id"].as_str().unwrap();
    site.until(id, "ready");
    assert_eq!(site.ask("DELETE", &format!("/api/transcode/{id}"), &[], None).status, 200);
    assert_eq!(site.get("/api/stats").json()["hw_accel_usage"], json!({ "software": 1 }));
    // A file's format says nothing to a stream, which is told.
    let stream = site.start(json!({ "source": clip, "output": { "format": "mp4" } }));
    let status = site.until(stream["job_id"].as_str().unwrap(), "ready");
    let told = "output.format: mp4 is a file, for mode batch; what is streamed is HLS";
    assert!(status["warnings"].as_array().unwrap().iter().any(|w| w == told), "{status}");
}
