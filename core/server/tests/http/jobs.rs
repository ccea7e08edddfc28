use super::support::{PATIENCE, Site, has};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key} in {value}"))
}

/// The requests of a whole life, as both generations of clients make them.
#[test]
fn a_stream_from_its_start_to_its_end() {
    let site = Site::with(|c| c.transcoding.playback = serde_json::from_str("\"growing\"").unwrap());
    let clip = site.clip("a.mp4", 4);
    let job = site.start(json!({ "source": clip, "session_id": "me" }));
    let id = text(&job, "job_id");

    // At once: the playlist is held until it exists.
    let begin = Instant::now();
    let playlist = site.get(text(&job, "stream_url"));
    assert_eq!(playlist.status, 200, "{}", playlist.text());
    assert!(begin.elapsed() < PATIENCE);
    assert_eq!(playlist.header("content-type"), "application/vnd.apple.mpegurl");
    assert_eq!((playlist.header("cache-control"), playlist.header("accept-ranges")), ("no-cache", "bytes"));
    assert!(playlist.text().starts_with("#EXTM3U"), "{}", playlist.text());

    let done = site.until(id, "ready");
    has(
        &done,
        "job_id status progress current_time duration stream_url download_url eta_seconds hw_accel_used error_message \
         created_at started_at completed_at start_time is_shared viewer_count control_token",
    );
    assert_eq!(done["progress"], 100.0);
    assert_eq!(done["hw_accel_used"], "software");
    assert!((done["duration"].as_f64().unwrap() - 4.0).abs() < 0.2, "{done}");
    for key in ["created_at", "started_at", "completed_at"] {
        let time = text(&done, key);
        // 2026-11-20T23:38:16.123456, as Python's naive isoformat.
        assert!(time.len() == 26 && time.as_bytes()[10] == b'T' && time.as_bytes()[19] == b'.', "{time}");
    }
    assert_eq!(site.get(&format!("/transcode/{id}")).json()["status"], "ready");

    let playlist = site.get(&format!("/stream/{id}/master.m3u8")).text();
    assert!(playlist.contains("#EXT-X-ENDLIST"), "{playlist}");
    let segments: Vec<&str> = playlist.lines().filter(|l| l.ends_with(".ts")).collect();
    assert!(segments.len() >= 3 && segments[0] == "segment_00000.ts", "{playlist}");
    let segment = site.get(&format!("/stream/{id}/{}", segments[0]));
    assert_eq!((segment.status, segment.header("content-type"), segment.body[0]), (200, "video/mp2t", 0x47));

    let info = site.get(&format!("/api/transcode/{id}/stream")).json();
    assert_eq!((text(&info, "job_id"), text(&info, "status")), (id, "ready"));
    assert!(text(&info, "stream_url").contains("/master.m3u8"));

    let list = site.get("/api/transcode/jobs").json();
    assert_eq!(list["jobs"][0]["job_id"], id);
    assert_eq!(list["jobs"][0]["status"], "ready");

    let cancel = site.ask("POST", &format!("/api/transcode/{id}/cancel"), &[], Some(b""));
    assert_eq!((cancel.status, cancel.json()["detail"].as_str()), (400, Some("Job cannot be cancelled")));

    let left = site.ask("POST", &format!("/api/transcode/{id}/leave?session_id=me"), &[], Some(b""));
    assert_eq!(left.json(), json!({ "job_id": id, "viewers_remaining": 0, "is_shared": false }));

    let stats = site.get("/api/stats").json();
    assert_eq!((&stats["total_jobs_processed"], &stats["successful_jobs"]), (&json!(1), &json!(1)));
    assert_eq!(stats["hw_accel_usage"], json!({ "software": 1 }));

    let gone = site.ask("DELETE", &format!("/api/transcode/{id}"), &[], None);
    assert_eq!((gone.status, gone.json()), (200, json!({ "status": "deleted", "job_id": id })));
    assert_eq!(site.get(&format!("/api/transcode/{id}/status")).status, 404);
    assert_eq!(site.get(&format!("/stream/{id}/{}", segments[0])).status, 404);
}

#[test]
fn viewers_share_a_stream() {
    let site = Site::new();
    let clip = site.clip("a.mp4", 2);
    let first = site.start(json!({ "source": clip, "session_id": "a" }));
    let again = site.start(json!({ "source": clip, "session_id": "a" }));
    let second = site.start(json!({ "source": clip, "session_id": "b" }));
    assert_eq!(first["job_id"], again["job_id"]);
    assert_eq!(first["job_id"], second["job_id"]);
    assert_eq!((&again["viewer_count"], &again["is_shared"]), (&json!(1), &json!(false)));
    assert_eq!((&second["viewer_count"], &second["is_shared"]), (&json!(2), &json!(true)));
    let shared = site.get("/api/streams/shared").json();
    assert_eq!((&shared["active_shared_streams"], &shared["total_viewers"]), (&json!(1), &json!(2)));
    assert_eq!(shared["viewer_sessions"], 2);
    let key: String = clip.chars().take(50).collect();
    assert_eq!(shared["streams"][&key]["job_id"], first["job_id"], "{shared}");
    has(&shared["streams"][&key], "job_id viewers status progress");
    // The second generation names the session in the body.
    let id = text(&first, "job_id");
    let left = site.post(&format!("/api/transcode/{id}/leave"), &json!({ "session_id": "b" }));
    assert_eq!(left.json(), json!({ "job_id": id, "viewers_remaining": 1, "is_shared": false }));
    for wrong in [json!([]), json!(null), json!({ "session_id": 5 })] {
        assert_eq!(site.post(&format!("/api/transcode/{id}/leave"), &wrong).status, 422, "{wrong}");
    }
    // What is made otherwise is another job.
    let other = site.start(json!({ "source": clip, "output": { "video_codec": "h265" } }));
    assert_ne!(first["job_id"], other["job_id"]);
}

#[test]
fn a_file_is_made_and_downloaded() {
    let site = Site::new();
    let clip = site.clip("a.mp4", 3);
    let job = site
        .start(json!({ "source": clip, "mode": "batch", "start_time": 1, "output": { "format": "mp4" } }));
    let id = text(&job, "job_id");
    let early = site.get(&format!("/download/{id}"));
    if early.status != 200 {
        assert_eq!(
            (early.status, early.json()["detail"].as_str()),
            (400, Some("Job is not ready for download"))
        );
    }
    let done = site.until(id, "ready");
    assert!(done["stream_url"].is_null());
    assert_eq!(done["start_time"], 1.0);
    let file = site.get(text(&done, "download_url"));
    assert_eq!((file.status, file.header("content-type")), (200, "application/octet-stream"));
    assert_eq!(file.header("content-disposition"), "attachment; filename=\"output.mp4\"");
    assert!(!file.header("etag").is_empty() && file.header("last-modified").ends_with("GMT"));
    assert_eq!(&file.body[4..8], b"ftyp");
    let url = format!("/download/{id}");
    let part = site.ask("GET", &url, &[("range", "bytes=4-7")], None);
    assert_eq!((part.status, part.body.as_slice()), (206, b"ftyp".as_slice()));
    let fresh = site.ask("GET", &url, &[("if-none-match", file.header("etag"))], None);
    assert_eq!((fresh.status, fresh.body.len()), (304, 0));
}

#[test]
fn every_codec_makes_a_file_in_software() {
    let site = Site::new();
    let clip = site.clip("a.mp4", 1);
    for codec in ["h265", "vp9", "av1"] {
        let output = json!({ "format": "mkv", "video_codec": codec, "hw_accel": "software" });
        let job = site.start(json!({ "source": clip, "mode": "batch", "output": output }));
        let done = site.until(text(&job, "job_id"), "ready");
        assert_eq!(done["hw_accel_used"], "software", "{codec}: {done}");
    }
}

#[test]
fn a_source_that_is_not_there() {
    let site = Site::new();
    let missing = site.clip("a.mp4", 1).replace("a.mp4", "b.mp4");
    let job = site.start(json!({ "source": missing }));
    let id = text(&job, "job_id");
    let begin = Instant::now();
    let held = site.get(&format!("/stream/{id}/master.m3u8"));
    // Not the whole 30 s: the failure ends the waiting.
    assert_eq!((held.status, held.json()["detail"].as_str()), (404, Some("Stream file not found")));
    assert!(begin.elapsed() < Duration::from_secs(28));
    let failed = site.until(id, "error");
    assert!(!text(&failed, "error_message").is_empty());
    let info = site.get(&format!("/api/transcode/{id}/stream"));
    assert_eq!(
        (info.status, info.json()["detail"].as_str()),
        (400, Some("Job is not ready for streaming: error"))
    );
    assert_eq!(site.get("/api/stats").json()["failed_jobs"], 1);
}

#[test]
fn a_job_is_cancelled_by_both_names() {
    let site = Site::with(|c| c.transcoding.playback = serde_json::from_str("\"growing\"").unwrap());
    let clip = site.clip("a.mp4", 30);
    for (method, path) in [("POST", "/api/transcode/{id}/cancel"), ("DELETE", "/transcode/{id}")] {
        let output = json!({ "video_codec": "h265", "bitrate": "300k" });
        let job = site.start(
            json!({ "source": clip, "mode": "batch", "output": output, "start_time": path.len() / 10 }),
        );
        let id = text(&job, "job_id");
        let body = (method == "POST").then_some(b"".as_slice());
        let reply = site.ask(method, &path.replace("{id}", id), &[], body);
        assert_eq!((reply.status, reply.json()), (200, json!({ "status": "cancelled", "job_id": id })));
        assert_eq!(site.status(id)["status"], "cancelled");
        let again = site.ask(method, &path.replace("{id}", id), &[], body);
        assert_eq!(again.status, 400);
    }
    assert_eq!(site.get("/api/stats").json()["cancelled_jobs"], 2);
}
