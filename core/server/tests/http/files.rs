use super::support::Site;
use serde_json::{Value, json};

/// A finished stream and the name of one of its segments.
fn finished(site: &Site) -> (String, String) {
    let clip = site.clip("a.mp4", 3);
    let job = site.start(json!({ "source": clip }));
    let id = job["job_id"].as_str().unwrap().to_string();
    site.until(&id, "ready");
    let playlist = site.get(&format!("/stream/{id}/master.m3u8")).text();
    let segment = playlist.lines().find(|l| l.contains(".ts")).expect(&playlist).to_string();
    (id, segment)
}

#[test]
fn ranges_validators_and_heads() {
    let site = Site::new();
    let (id, segment) = finished(&site);
    let url = format!("/stream/{id}/{segment}");
    let whole = site.get(&url);
    let size = whole.body.len();
    assert_eq!(whole.header("cache-control"), "public, max-age=31536000, immutable");
    let range = |value: &str| site.ask("GET", &url, &[("range", value)], None);
    for (value, from, to) in [
        ("bytes=0-187", 0, 188),
        ("bytes=188-", 188, size),
        ("bytes=-188", size - 188, size),
        ("bytes=5-99999999", 5, size),
    ] {
        let part = range(value);
        assert_eq!(part.status, 206, "{value}");
        assert_eq!(part.header("content-range"), format!("bytes {from}-{}/{size}", to - 1));
        assert_eq!(part.body, whole.body[from..to], "{value}");
    }
    let beyond = range(&format!("bytes={size}-"));
    assert_eq!((beyond.status, beyond.json()["detail"].as_str()), (416, Some("Range not satisfiable")));
    assert_eq!(beyond.header("content-range"), format!("bytes */{size}"));
    assert_eq!(range("bytes=9-2").status, 200);
    let head = site.ask("HEAD", &url, &[], None);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), size.to_string());
    let etag = whole.header("etag");
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    let fresh = site.ask("GET", &url, &[("if-none-match", etag)], None);
    assert_eq!((fresh.status, fresh.header("etag")), (304, etag));
    let other = site.ask("GET", &url, &[("if-none-match", "\"other\"")], None);
    assert_eq!(other.status, 200);
    let old = site.ask("GET", &url, &[("range", "bytes=0-9"), ("if-range", "\"old\"")], None);
    assert_eq!((old.status, old.body.len()), (200, size));
}

#[test]
fn a_playlist_that_stopped_growing_says_so() {
    let site = Site::with(|c| c.transcoding.playback = serde_json::from_str("\"growing\"").unwrap());
    let (id, _) = finished(&site);
    let url = format!("/stream/{id}/master.m3u8");
    let whole = site.get(&url);
    assert_eq!((whole.header("x-playlist-stale"), whole.header("x-staleness-seconds")), ("", ""));
    // As it is when whoever writes it hangs.
    let path = site.config.transcoding.temp_directory.join(&id).join("master.m3u8");
    let cut = std::fs::read_to_string(&path).unwrap().replace("#EXT-X-ENDLIST", "");
    std::fs::write(&path, cut).unwrap();
    let at = std::time::SystemTime::now() - std::time::Duration::from_secs(40);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
    let stale = site.get(&url);
    assert_eq!((stale.status, stale.header("x-playlist-stale")), (200, "true"));
    let seconds: u64 = stale.header("x-staleness-seconds").parse().unwrap();
    assert!((40..=60).contains(&seconds), "{seconds}");
    assert_eq!(stale.header("cache-control"), "no-cache");
}

#[test]
fn segments_are_checked_unless_told_otherwise() {
    for (checked, status) in [(true, 404), (false, 200)] {
        let site = Site::with(|c| {
            c.transcoding.playback = serde_json::from_str("\"growing\"").unwrap();
            c.transcoding.validate_segments = checked;
        });
        let (id, segment) = finished(&site);
        let path = site.config.transcoding.temp_directory.join(&id).join(&segment);
        let size = std::fs::metadata(&path).unwrap().len();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(size - 100).unwrap();
        let got = site.get(&format!("/stream/{id}/{segment}"));
        assert_eq!(got.status, status, "validate_segments: {checked}");
    }
}

#[test]
fn there_is_no_way_out_of_a_job() {
    let site = Site::new();
    let (id, _) = finished(&site);
    for path in [
        "..%2f..%2fetc%2fpasswd",
        "%2fetc%2fpasswd",
        "a%5c..%5cb",
        "..",
        "a%00b",
        "x/..%2fy",
        "%2e%2e/%2e%2e/state/node_identity.json",
    ] {
        let reply = site.ask("GET", &format!("/stream/{id}/{path}"), &[], None);
        assert!([400, 404].contains(&reply.status), "{path}: {}", reply.status);
        assert!(reply.json()["detail"].is_string());
    }
    let reply = site.get(&format!("/stream/{id}/..%2fx"));
    assert_eq!((reply.status, reply.json()), (400, json!({ "detail": "Invalid filename" })));
    let reply = site.get(&format!("/stream/{id}/none.ts"));
    assert_eq!((reply.status, reply.json()), (404, json!({ "detail": "Stream file not found" })));
    // Raw, as no proper client writes it.
    use std::io::{Read, Write};
    for target in
        [format!("/stream/{id}/../../state/node_identity.json"), format!("/stream/{id}//etc/passwd")]
    {
        let mut socket = std::net::TcpStream::connect(site.address()).unwrap();
        write!(socket, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 40") && !answer.contains("secret"), "{answer}");
    }
}

#[test]
fn several_qualities_and_subtitles_have_their_types() {
    let site = Site::new();
    let clip = site.clip("a.mp4", 3);
    let words = clip.replace("a.mp4", "a.srt");
    std::fs::write(&words, "1\n00:00:00,500 --> 00:00:02,000\nHello\n").unwrap();
    let job = site.start(json!({
        "source": clip, "mode": "abr", "output": { "format": "mp4" },
        "subtitles": [{ "url": words, "language": "en", "label": "English" }],
    }));
    let id = job["job_id"].as_str().unwrap();
    site.until(id, "ready");
    let mut seen: Vec<Value> = Vec::new();
    let mut look = |name: &str| {
        let reply = site.get(&format!("/stream/{id}/{name}"));
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        seen.push(json!([name.rsplit('.').next(), reply.header("content-type")]));
        reply.text()
    };
    fn uris(playlist: &str) -> Vec<String> {
        let quoted = playlist.split("URI=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let lines = playlist.lines().filter(|l| !l.starts_with('#') && !l.is_empty());
        quoted.chain(lines).map(String::from).collect()
    }
    let master = look("master.m3u8");
    assert!(master.contains("#EXT-X-STREAM-INF") && master.contains("TYPE=SUBTITLES"), "{master}");
    for child in uris(&master) {
        let base = child.rsplit_once('/').map(|(b, _)| format!("{b}/")).unwrap_or_default();
        for file in uris(&look(&child)).into_iter().take(2) {
            look(&format!("{base}{file}"));
        }
    }
    for (end, kind) in [("m3u8", "application/vnd.apple.mpegurl"), ("vtt", "text/vtt")] {
        assert!(
            seen.iter().any(|s| s[0] == end && s[1].as_str().unwrap().starts_with(kind)),
            "{end}: {seen:?}"
        );
    }
    assert!(seen.iter().any(|s| s[0] == "m4s" && s[1].as_str().unwrap().starts_with("video/")), "{seen:?}");
    assert!(!seen.iter().any(|s| s[1] == "application/octet-stream"), "{seen:?}");
}

#[test]
fn a_segment_that_cannot_be_made_says_why() {
    let site = Site::new();
    let clip = site.clip("gone.mp4", 90);
    let id = site.start(json!({ "source": clip }))["job_id"].as_str().unwrap().to_string();
    site.until(&id, "ready");
    std::fs::remove_file(&clip).unwrap();
    let answer = site.get(&format!("/stream/{id}/segment_00080.ts"));
    let told = answer.json();
    assert_eq!((answer.status, &told["detail"]), (404, &json!("Stream file not found")));
    assert!(told["reason"].as_str().is_some_and(|why| why.contains("gone.mp4")), "{told}");
    let folder = std::path::Path::new(&clip).parent().unwrap().to_string_lossy().into_owned();
    assert!(!told.to_string().contains(&folder), "{told}");
    let unknown = site.get(&format!("/stream/{id}/segment_00999.ts")).json();
    assert_eq!(unknown, json!({ "detail": "Stream file not found" }), "there is no more to say");
}

#[test]
fn what_the_source_is_and_what_is_made_of_it() {
    let site = Site::new();
    let clip = site.clip("a.mp4", 3);
    let first = site.start(json!({ "source": clip, "mode": "abr", "output": { "resolution": "original" } }));
    assert_eq!((&first["variants"], &first["media_info"]), (&Value::Null, &Value::Null), "not yet known");
    let id = first["job_id"].as_str().unwrap();
    site.until(id, "ready");
    let again = site.start(json!({ "source": clip, "mode": "abr", "output": { "resolution": "original" } }));
    assert_eq!(again["job_id"], first["job_id"]);
    assert!((again["media_info"]["duration"].as_f64().unwrap() - 3.0).abs() < 0.2, "{again}");
    assert_eq!(again["media_info"]["video_codec"], "h264");
    let rungs = again["variants"].as_array().unwrap();
    assert!(rungs[0]["bitrate"].as_u64().is_some() && rungs[0]["height"].as_u64().is_some(), "{again}");
    assert_eq!(site.status(id)["media_info"], again["media_info"]);
}
