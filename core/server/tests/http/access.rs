use super::support::{PATIENCE, Site};
use ghoststream_server::config::Secret;
use serde_json::{Value, json};

#[test]
fn the_api_key() {
    let site = Site::with(|c| c.security.api_key = Some(Secret::new("k&y")));
    let denied = json!({ "detail": "Invalid or missing API key" });
    for path in [
        "/api/stats",
        "/api/transcode/jobs",
        "/stream/x/master.m3u8",
        "/download/x",
        "/metrics",
        "/docs",
        "/nope",
    ] {
        let reply = site.get(path);
        assert_eq!((reply.status, reply.json()), (401, denied.clone()), "{path}");
    }
    for (headers, path) in [(vec![("X-API-Key", "k&y")], "/api/stats"), (vec![], "/api/stats?api_key=k%26y")]
    {
        assert_eq!(site.ask("GET", path, &headers, None).status, 200);
    }
    for (headers, path) in [
        (vec![("X-API-Key", "k")], "/api/stats"),
        (vec![("X-API-Key", "")], "/api/stats"),
        (vec![], "/api/stats?api_key="),
        (vec![], "/api/stats?api_key=k&y"),
    ] {
        assert_eq!(site.ask("GET", path, &headers, None).status, 401, "{path}");
    }
    // Monitors and the page need none, and the WebSocket never did.
    for path in ["/api/health", "/health", "/"] {
        assert_eq!(site.get(path).status, 200, "{path}");
    }
    site.socket().settle();
}

#[test]
fn the_key_of_a_playlist_reaches_its_segments() {
    let site = Site::with(|c| c.security.api_key = Some(Secret::new("k&y")));
    let clip = site.clip("a.mp4", 2);
    let body = serde_json::to_vec(&json!({ "source": clip })).unwrap();
    let reply = site.ask("POST", "/transcode", &[("X-API-Key", "k&y")], Some(&body));
    let id = reply.json()["job_id"].as_str().unwrap().to_string();
    let playlist = site.get(&format!("/stream/{id}/master.m3u8?api_key=k%26y"));
    assert_eq!(playlist.status, 200);
    let playlist = playlist.text();
    let segment = playlist.lines().find(|l| l.contains(".ts")).expect(&playlist);
    assert!(segment.ends_with("?api_key=k%26y"), "{segment}");
    assert_eq!(site.get(&format!("/stream/{id}/{segment}")).status, 200);
    // Who sends a header sends it for the segments too.
    let playlist = site.ask("GET", &format!("/stream/{id}/master.m3u8"), &[("X-API-Key", "k&y")], None);
    assert!(!playlist.text().contains("api_key"));
}

#[test]
fn tokens_where_they_are_required() {
    let site = Site::with(|c| c.security.require_job_tokens = true);
    let clip = site.clip("a.mp4", 2);
    let job = site.start(json!({ "source": clip }));
    let id = job["job_id"].as_str().unwrap();
    let control = job["control_token"].as_str().unwrap();
    let url = job["stream_url"].as_str().unwrap();
    let gst = url.split("gst=").nth(1).unwrap();
    let other = site.start(json!({ "source": clip, "output": { "resolution": "480p" } }));
    let foreign = other["control_token"].as_str().unwrap();
    let header = "X-GhostStream-Control-Token";
    let status = format!("/api/transcode/{id}/status");
    for (headers, detail) in [
        (vec![], "Missing capability token"),
        (vec![(header, "nonsense")], "Malformed capability token"),
        (vec![(header, "bm8.bm8")], "Invalid capability signature"),
        (vec![(header, gst)], "Capability scope does not match the requested action"),
        (vec![(header, foreign)], "Capability does not match the requested job"),
    ] {
        let reply = site.ask("GET", &status, &headers, None);
        assert_eq!((reply.status, reply.json()), (403, json!({ "detail": detail })));
    }
    let reply = site.ask("GET", &status, &[(header, control)], None);
    assert_eq!(reply.status, 200);
    // Every answer brings fresh ones.
    assert_ne!(reply.json()["control_token"], control);
    assert_eq!(site.get("/api/transcode/unknown/status").status, 403);
    for (method, path) in [
        ("POST", format!("/api/transcode/{id}/cancel")),
        ("DELETE", format!("/transcode/{id}")),
        ("DELETE", format!("/api/transcode/{id}")),
        ("GET", format!("/api/transcode/{id}/stream")),
        ("POST", format!("/api/transcode/{id}/leave")),
        ("GET", format!("/stream/{id}/master.m3u8")),
        ("GET", format!("/download/{id}")),
    ] {
        let body = (method == "POST").then_some(b"".as_slice());
        assert_eq!(site.ask(method, &path, &[], body).status, 403, "{method} {path}");
    }
    // The list tells nobody how to play what is not his.
    assert!(site.get("/api/transcode/jobs").json()["jobs"][0]["stream_url"].is_null());

    // The stream's token reaches the segments; a proxy that only knows the control token gets there too.
    let playlist = site.get(url).text();
    let segment = playlist.lines().find(|l| l.contains(".ts")).expect(&playlist);
    assert!(segment.contains(&format!("?gst={gst}")), "{segment}");
    assert_eq!(site.get(&format!("/stream/{id}/{segment}")).status, 200);
    let bare = segment.split('?').next().unwrap();
    assert_eq!(site.get(&format!("/stream/{id}/{bare}")).status, 403);
    let proxied = site.ask("GET", &format!("/stream/{id}/master.m3u8"), &[(header, control)], None);
    assert_eq!(proxied.status, 200);
    assert_eq!(
        site.ask("GET", &format!("/stream/{id}/{bare}"), &[("X-GhostStream-Stream-Token", gst)], None).status,
        200
    );

    // The WebSocket hears of nothing without one.
    let mut socket = site.socket();
    socket.say(json!({ "type": "subscribe", "job_ids": [id] }));
    let answer = socket.hear();
    assert_eq!(answer, json!({ "type": "error", "data": { "error": "No valid job capabilities provided" } }));
    let tokens = json!({ id: control });
    socket.say(json!({ "type": "subscribe", "job_ids": [id], "job_tokens": tokens }));
    assert!(socket.settle().iter().all(|m| m["type"] != "error"));

    let gone = site.ask("DELETE", &format!("/api/transcode/{id}"), &[(header, control)], None);
    assert_eq!(gone.status, 200);
    let reply = site.ask("GET", &status, &[(header, control)], None);
    assert_eq!(
        (reply.status, reply.json()["detail"].as_str()),
        (403, Some("Job capability has been revoked"))
    );
}

#[test]
fn without_the_requirement_nobody_needs_a_token() {
    let site = Site::new();
    let job = site.start(json!({ "source": site.clip("a.mp4", 2) }));
    let id = job["job_id"].as_str().unwrap();
    assert_eq!(site.get(&format!("/api/transcode/{id}/status")).status, 200);
    let playlist = site.get(&format!("/stream/{id}/master.m3u8"));
    assert_eq!(playlist.status, 200);
    assert!(!playlist.text().contains("gst="));
    // A stale one does no harm.
    assert_eq!(site.get(&format!("/stream/{id}/master.m3u8?gst=stale")).status, 200);
}

#[test]
fn pages_of_other_origins() {
    let site = Site::new();
    let reply = site.ask("GET", "/api/health", &[("Origin", "http://hub.lan")], None);
    assert_eq!(reply.header("access-control-allow-origin"), "http://hub.lan");
    assert_eq!(reply.header("access-control-allow-credentials"), "true");
    let preflight = [
        ("Origin", "http://hub.lan"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type, x-api-key"),
    ];
    let reply = site.ask("OPTIONS", "/api/transcode/start", &preflight, None);
    assert_eq!((reply.status, reply.text().as_str()), (200, "OK"));
    assert_eq!(reply.header("access-control-allow-headers"), "content-type, x-api-key");
    assert!(reply.header("access-control-allow-methods").contains("DELETE"));
    // Errors are for pages too.
    let reply = site.ask("GET", "/nope", &[("Origin", "http://hub.lan")], None);
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (404, "http://hub.lan"));
    assert_eq!(site.get("/api/health").header("access-control-allow-origin"), "*");
}

#[test]
fn only_the_origins_that_are_configured() {
    let site = Site::with(|c| c.security.allowed_origins = vec!["https://hub.example".into()]);
    let origin = |method: &str, path: &str, origin: &str| {
        let body = (method == "POST").then_some(b"{}".as_slice());
        site.ask(method, path, &[("Origin", origin), ("Access-Control-Request-Method", "POST")], body)
    };
    let good = origin("GET", "/api/health", "https://hub.example");
    assert_eq!(good.header("access-control-allow-origin"), "https://hub.example");
    let bad = origin("GET", "/api/health", "https://evil.example");
    assert_eq!((bad.status, bad.header("access-control-allow-origin")), (200, ""));
    assert_eq!(origin("OPTIONS", "/api/transcode/start", "https://evil.example").status, 400);
    // Not even blindly, as a form could.
    let blind = origin("POST", "/api/transcode/start", "https://evil.example");
    assert_eq!((blind.status, blind.json()), (403, json!({ "detail": "Origin is not allowed" })));
    // Our own page is always one of us, and programs have no origin.
    let own = format!("http://{}", site.address());
    assert_eq!(origin("POST", "/api/transcode/start", &own).status, 422);
    assert_eq!(site.post("/api/transcode/start", &json!({})).status, 422);
}

#[test]
fn one_client_may_not_change_things_all_the_time() {
    let site = Site::with(|c| c.security.rate_limit_per_minute = 3);
    for _ in 0..3 {
        assert_eq!(site.post("/api/transcode/start", &json!({})).status, 422);
    }
    let reply = site.post("/api/transcode/start", &json!({}));
    assert_eq!((reply.status, reply.json()), (429, json!({ "detail": "Rate limit exceeded" })));
    assert!((1..=20).contains(&reply.header("retry-after").parse::<u64>().unwrap()));
    // Looking is free: players and polls ask often.
    for _ in 0..20 {
        assert_eq!(site.get("/api/stats").status, 200);
    }
}

#[test]
fn settings_change_while_it_runs() {
    let site = Site::new();
    assert_eq!(site.get("/api/stats").status, 200);
    let mut next = site.config.clone();
    next.security.api_key = Some(Secret::new("new"));
    next.server.port = 1;
    next.transcoding.idle_workers += 1;
    next.transcoding.max_queue_size = 7;
    assert_eq!(site.server.reload(next).unwrap(), ["server.port", "transcoding.idle_workers"]);
    let health = site.ask("GET", "/api/health/detailed", &[("X-API-Key", "new")], None).text();
    assert!(health.contains("\"max\":7"), "{health}");
    assert_eq!(site.get("/api/stats").status, 401);
    assert_eq!(site.ask("GET", "/api/stats", &[("X-API-Key", "new")], None).status, 200);
    let mut wrong = site.config.clone();
    wrong.transcoding.segment_duration = -1.0;
    assert!(site.server.reload(wrong).is_err());
    assert_eq!(site.get("/api/stats").status, 401);
}

#[test]
fn a_port_that_is_taken_is_said_so() {
    let site = Site::new();
    let mut config = site.config.clone();
    config.server.port = site.address().port();
    let error = ghoststream_server::Blocking::start(config).unwrap_err();
    assert_eq!(error.kind(), ghoststream::ErrorKind::Busy);
    assert!(error.message().contains(&site.address().port().to_string()), "{error}");
}

/// Starts that are counted: the status of each. `who` is what X-Forwarded-For says, and the session.
fn started(site: &Site, who: &[(Option<&str>, Option<&str>)]) -> Vec<bool> {
    let one = |(forwarded, session): &(Option<&str>, Option<&str>)| {
        let body = json!({ "source": "http://127.0.0.1:9/none.mkv", "session_id": session });
        let headers: Vec<(&str, &str)> = forwarded.iter().map(|f| ("X-Forwarded-For", *f)).collect();
        let reply = site.ask("POST", "/transcode", &headers, Some(&serde_json::to_vec(&body).unwrap()));
        assert!([200, 429].contains(&reply.status), "{}", reply.text());
        reply.status == 200
    };
    who.iter().map(one).collect()
}

#[test]
fn clients_behind_a_trusted_proxy_are_counted_one_by_one() {
    let many = [(Some("192.0.2.1"), None), (Some("192.0.2.2"), None), (Some("192.0.2.1"), None)];
    let site = Site::with(|c| c.security.rate_limit_per_minute = 1);
    assert_eq!(started(&site, &many), [true, false, false], "anybody can write a header");
    let mut config = site.config.clone();
    config.server.trusted_proxies = vec!["10.0.0.0/8".into()];
    assert!(site.server.reload(config.clone()).unwrap().is_empty());
    assert_eq!(started(&site, &many), [false, false, false], "it is another one that is trusted");
    config.server.trusted_proxies = vec!["127.0.0.0/8".into()];
    site.server.reload(config).unwrap();
    assert_eq!(started(&site, &many), [true, true, false]);
    let forged = [(Some("198.51.100.9, 192.0.2.1"), None), (Some("198.51.100.9, 192.0.2.9"), None)];
    assert_eq!(started(&site, &forged), [false, true], "only what the proxy wrote counts");
    let mut config = site.config.clone();
    config.server.trusted_proxies = vec!["proxy.example".into()];
    let why = site.server.reload(config).unwrap_err();
    assert!(why.message().contains("server.trusted_proxies: \"proxy.example\""), "{why}");
}

#[test]
fn a_trusted_hub_s_viewers_are_counted_by_their_sessions() {
    let site = Site::with(|c| {
        c.security.rate_limit_per_minute = 1;
        c.transcoding.max_concurrent_jobs = 1;
        c.server.trusted_proxies = vec!["127.0.0.1".into()];
    });
    let who = [(None, Some("a")), (None, Some("b")), (None, Some("a")), (None, None), (None, None)];
    assert_eq!(started(&site, &who), [true, true, false, true, false]);
    // It may end as many as it likes.
    for _ in 0..3 {
        assert_eq!(site.ask("POST", "/api/transcode/none/cancel", &[], None).status, 400);
    }
    // The queue is fair to each of them.
    let mut config = site.config.clone();
    config.security.rate_limit_per_minute = 0;
    site.server.reload(config).unwrap();
    let clip = site.clip("a.mp4", 60);
    let file = |session: &str, start: f64| {
        let job = site.start(json!({ "source": clip, "mode": "batch", "start_time": start,
            "session_id": session, "output": {"format": "mp4"} }));
        job["job_id"].as_str().unwrap().to_string()
    };
    let first = file("eager", 0.0);
    site.until(&first, "processing");
    let (second, third) = (file("eager", 1.0), file("eager", 2.0));
    let other = file("patient", 3.0);
    let waits = |id: &str| site.status(id)["waiting_for"].as_str().unwrap_or_default().to_string();
    assert!(
        waits(&other).starts_with("a place") && !waits(&other).contains("go before it"),
        "{}",
        waits(&other)
    );
    assert!(waits(&third).contains("2 of those that wait go before it"), "{}", waits(&third));
    for id in [second, third, other, first] {
        site.ask("DELETE", &format!("/api/transcode/{id}"), &[], None);
    }
}

#[test]
fn paths_that_are_no_text_are_refused_in_the_shape_of_all_errors() {
    let site = Site::with(|c| c.security.allowed_origins = vec!["http://page.example".into()]);
    for (method, path) in [
        ("GET", "/stream/%FF/master.m3u8"),
        ("GET", "/stream/x/%C3.ts"),
        ("GET", "/api/transcode/%FF/status"),
        ("POST", "/api/transcode/%FF%FE/cancel"),
        ("DELETE", "/api/transcode/%80"),
        ("GET", "/download/%FF"),
        ("GET", "/page/%FF"),
    ] {
        let reply = site.ask(method, path, &[("Origin", "http://page.example")], None);
        assert_eq!((reply.status, reply.json()), (400, json!({ "detail": "Invalid path" })), "{path}");
        assert_eq!(reply.header("content-type"), "application/json", "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), "http://page.example", "{path}");
    }
    assert_eq!(site.get("/%FF").status, 404, "nothing is there");
    assert_eq!(site.get("/%FF").json(), json!({ "detail": "Not Found" }));
    assert_eq!(site.get("/stream/x/%C3%A9.ts").status, 404, "that is a letter");
}

#[test]
fn a_new_secret_ends_no_token() {
    let site = Site::with(|c| c.security.require_job_tokens = true);
    let clip = site.clip("a.mp4", 2);
    let job = site.start(json!({ "source": clip }));
    let (id, token) = (job["job_id"].as_str().unwrap(), job["control_token"].as_str().unwrap());
    let asked = |token: &str| {
        site.ask(
            "GET",
            &format!("/api/transcode/{id}/status"),
            &[("X-GhostStream-Control-Token", token)],
            None,
        )
    };
    let before = node_secret(&site);
    site.server.reload(site.config.clone()).unwrap();
    assert_ne!(node_secret(&site), before, "it is another one now");
    let reply = asked(token);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let next = reply.json()["control_token"].as_str().unwrap().to_string();
    assert_eq!(asked(&next).status, 200);
    let stream = job["stream_url"].as_str().unwrap();
    assert_eq!(site.get(stream).status, 200, "who watches goes on");
}

/// The secret that signs, as it is kept.
fn node_secret(site: &Site) -> String {
    let text = std::fs::read(site.config.security.state_directory.join("node_identity.json")).unwrap();
    let kept: Value = serde_json::from_slice(&text).unwrap();
    kept["node_secret"].as_str().unwrap().into()
}

/// A GhostHub that takes every registration: its address, and what was sent.
fn hub() -> (String, std::sync::mpsc::Receiver<Value>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
            while !text.ends_with(b"}") {
                match stream.read(&mut buffer) {
                    Ok(n @ 1..) => text.extend_from_slice(&buffer[..n]),
                    _ => break,
                }
            }
            let text = String::from_utf8(text).unwrap();
            let (_, body) = text.split_once("\r\n\r\n").unwrap();
            let said = "{\"registered\": true}";
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", said.len());
            stream.write_all(format!("{head}{said}").as_bytes()).unwrap();
            if sender.send(serde_json::from_str(body).unwrap()).is_err() {
                return;
            }
        }
    });
    (url, heard)
}

#[test]
fn registrations_are_signed_with_the_secret_of_the_moment() {
    use base64::Engine as _;
    use hmac::{Hmac, KeyInit, Mac};
    let (url, heard) = hub();
    let site = Site::with(|c| {
        c.ghosthub.url = Some(url);
        c.ghosthub.register_interval_seconds = 1;
    });
    let signed_with = |secret: &str| {
        let mut message = heard.recv_timeout(PATIENCE).unwrap();
        let signature = message.as_object_mut().unwrap().remove("signature").unwrap();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(message.to_string().as_bytes());
        let expected = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        signature == json!(expected)
    };
    let before = node_secret(&site);
    assert!(signed_with(&before));
    site.server.reload(site.config.clone()).unwrap();
    let after = node_secret(&site);
    assert_ne!(before, after);
    // One may have been on its way.
    assert!((0..3).any(|_| signed_with(&after)), "still signed with the old secret");
    assert!(signed_with(&after));
}

/// A self-signed certificate and its key.
fn certificate(dir: &std::path::Path, name: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    let (certificate, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    let out = std::process::Command::new("openssl")
        .args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x"
                .split(' '),
        )
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    (certificate, key)
}

#[test]
fn what_a_reload_refuses_changes_nothing_and_https_is_in_the_status() {
    let dir = tempfile::tempdir().unwrap();
    let (first, other) = (certificate(dir.path(), "first"), certificate(dir.path(), "other"));
    let site = Site::with(|c| {
        c.server.tls_port = Some(0);
        (c.server.tls_certificate, c.server.tls_key) = (Some(first.0.clone()), Some(first.1));
    });
    let status = site.server.status();
    let secure = status["tls"][0].as_str().unwrap();
    let urls = json!([format!("http://{}", site.address()), format!("https://{secure}")]);
    assert_eq!(status["urls"], urls);
    std::net::TcpStream::connect(secure).unwrap();

    let secret = node_secret(&site);
    let mut wrong = site.config.clone();
    wrong.security.api_key = Some(Secret::new("new"));
    wrong.server.tls_key = Some(other.1);
    let why = site.server.reload(wrong).unwrap_err();
    assert!(why.message().contains("server.tls_key"), "{why}");
    assert_eq!(site.get("/api/stats").status, 200, "no key is asked for");
    assert_eq!(node_secret(&site), secret);

    // Without a port in the settings the one that is open stays until the restart, certificate and all.
    let mut without = site.config.clone();
    (without.server.tls_port, without.server.tls_certificate, without.server.tls_key) = (None, None, None);
    assert_eq!(site.server.reload(without).unwrap(), ["server.tls_port"]);
    std::net::TcpStream::connect(secure).unwrap();
}

#[test]
fn a_state_directory_that_cannot_be_written_does_not_stop_a_reload() {
    let site = Site::with(|c| c.security.require_job_tokens = true);
    let clip = site.clip("a.mp4", 1);
    let job = site.start(json!({ "source": clip }));
    let secret = node_secret(&site);
    // The next identity is written there first.
    let part = site.config.security.state_directory.join("node_identity.part");
    std::fs::create_dir(&part).unwrap();
    let mut next = site.config.clone();
    next.security.api_key = Some(Secret::new("new"));
    assert!(site.server.reload(next).unwrap().is_empty());
    assert_eq!(site.get("/api/stats").status, 401, "the new settings hold");
    assert_eq!(node_secret(&site), secret, "and the old secret signs");
    let (id, token) = (job["job_id"].as_str().unwrap(), job["control_token"].as_str().unwrap());
    let headers = [("X-API-Key", "new"), ("X-GhostStream-Control-Token", token)];
    assert_eq!(site.ask("GET", &format!("/api/transcode/{id}/status"), &headers, None).status, 200);
}

#[test]
fn the_status_says_by_what_the_server_is_found() {
    let found = |site: &Site| {
        let begin = std::time::Instant::now();
        loop {
            let said = site.server.status()["discovery"].clone();
            if !said.is_null() {
                return said;
            }
            assert!(begin.elapsed() < PATIENCE);
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let asked = |port: u16| {
        Site::with(|c| {
            c.mdns.udp_enabled = true;
            c.mdns.udp_port = port;
        })
    };
    let said = found(&asked(port));
    assert_eq!((&said["mdns"], &said["udp"]), (&json!(false), &json!([])));
    let problem = said["problems"][0].as_str().unwrap();
    assert!(problem.starts_with(&format!("UDP discovery on 127.0.0.1:{port}: ")), "{problem}");
    drop(taken);
    let said = found(&asked(port));
    assert_eq!((&said["udp"], &said["problems"]), (&json!([format!("127.0.0.1:{port}")]), &json!([])));
}
