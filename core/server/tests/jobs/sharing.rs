//! Viewers that share, queues that are full, files that are kept as long as there is room.

use crate::support::*;
use ghoststream_server::jobs::{Client, FileError, StartError, Status};
use serde_json::json;
use std::time::Duration;

fn viewer(session: &str) -> Client {
    Client { id: "hub".into(), session: Some(session.into()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_streams_are_shared_and_others_are_not() {
    let place = Place::new();
    let source = place.clip("in.mp4", 3);
    let jobs = place.open();
    let body = json!({"playback": "growing"});
    let a = jobs.start(request(&source, body.clone()), viewer("a")).await.unwrap();
    let b = jobs.start(request(&source, body.clone()), viewer("b")).await.unwrap();
    assert_eq!((b.id.as_str(), b.viewers, b.shared), (a.id.as_str(), 2, true));
    assert_eq!(
        jobs.start(request(&source, body.clone()), viewer("b")).await.unwrap().viewers,
        2,
        "known already"
    );
    let later = json!({"playback": "growing", "start_time": 1});
    let c = jobs.start(request(&source, later), viewer("c")).await.unwrap();
    assert_ne!(c.id, a.id, "another start is another stream");
    let shared = jobs.shared();
    assert_eq!((shared.streams.len(), shared.sessions), (2, 3));
    let left = jobs.leave(&a.id, Some("b")).unwrap();
    assert_eq!((left.viewers_remaining, left.is_shared), (1, false));
    assert!(jobs.leave("nobody", None).is_none());
    ready(&jobs, &a.id).await;
    let again = jobs.start(request(&source, body), viewer("d")).await.unwrap();
    assert_eq!(
        (again.id.as_str(), again.status),
        (a.id.as_str(), Status::Ready),
        "finished ones are joined too"
    );
    assert!(jobs.delete(&a.id).await && jobs.get(&a.id).is_none() && !jobs.delete(&a.id).await);
    assert_eq!(jobs.file(&a.id, "master.m3u8", Duration::ZERO).await.unwrap_err(), FileError::NotFound);
    assert!(
        !place.job_dir(&a.id).exists() || {
            tokio::time::sleep(Duration::from_millis(500)).await;
            !place.job_dir(&a.id).exists()
        }
    );
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_when_to_come_again() {
    let mut place = Place::new();
    place.config.transcoding.max_concurrent_jobs = 0;
    place.config.transcoding.max_queue_size = 1;
    let source = place.clip("in.mp4", 1);
    let jobs = place.open();
    let batch = || request(&source, json!({"mode": "batch", "output": {"format": "mp4"}}));
    let first = jobs.start(batch(), client("a")).await.unwrap();
    match jobs.start(batch(), client("a")).await {
        Err(StartError::QueueFull { retry_after }) => assert!(retry_after >= Duration::from_secs(1)),
        other => panic!("{other:?}"),
    }
    assert_eq!((jobs.stats().queued, jobs.stats().active), (1, 0));
    // Room that is made while it runs is used at once.
    jobs.set_limit(1);
    ready(&jobs, &first.id).await;
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_files_make_room_when_the_quota_is_reached() {
    let mut place = Place::new();
    place.config.limits.max_disk_gb = 0.0003;
    let source = place.clip("in.mp4", 4);
    let jobs = place.open();
    let body = json!({"mode": "batch", "output": {"format": "mp4", "bitrate": "400k"}});
    let mut ids = Vec::new();
    for _ in 0..3 {
        let view = jobs.start(request(&source, body.clone()), client("a")).await.unwrap();
        ids.push(ready(&jobs, &view.id).await.id);
    }
    jobs.run_cleanup().await;
    assert!(!place.job_dir(&ids[0]).exists(), "the oldest is gone");
    assert!(place.job_dir(&ids[2]).exists(), "the newest stays");
    assert_eq!(jobs.get(&ids[0]).unwrap().status, Status::Ready, "what is known of it stays");
    assert!(jobs.download(&ids[0]).is_err() && jobs.download(&ids[2]).is_ok());
    jobs.close().await;
}

/// A film that is larger than the quota is seen to its end: what was played goes.
#[tokio::test(flavor = "multi_thread")]
async fn the_quota_takes_what_was_played_and_not_the_film_that_is_watched() {
    let mut place = Place::new();
    place.config.limits.max_disk_gb = 0.002;
    let source = place.path("noise.mp4").to_string_lossy().into_owned();
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=40,noise=alls=60:allf=t -c:v libx264 -preset ultrafast -crf 30 -pix_fmt yuv420p {source}"
    ));
    let jobs = place.open();
    let body = json!({"output": {"bitrate": "2M"}});
    let film = jobs.start(request(&source, body), client("a")).await.unwrap();
    ready(&jobs, &film.id).await;
    let list = text(&jobs.file(&film.id, "master.m3u8", Duration::ZERO).await.unwrap());
    let mut bytes = 0;
    for name in list.lines().filter(|l| !l.starts_with('#')) {
        let served = jobs.file(&film.id, name, PATIENCE).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let ghoststream_server::jobs::Body::File(path) = served.body else { panic!("{name}") };
        bytes += std::fs::metadata(path).unwrap().len();
        jobs.run_cleanup().await;
    }
    assert!(bytes > 6_000_000, "{bytes} bytes are not more than the quota");
    let left: u64 = std::fs::read_dir(place.job_dir(&film.id).join("video"))
        .unwrap()
        .map(|f| f.unwrap().metadata().unwrap().len())
        .sum();
    assert!(left < bytes / 2, "{left} of {bytes} bytes are still there");
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_outside_the_job_are_refused() {
    let place = Place::new();
    let source = place.clip("in.mp4", 1);
    let jobs = place.open();
    let view = jobs.start(request(&source, json!({"playback": "growing"})), client("a")).await.unwrap();
    for name in ["../x", "/etc/passwd", "a\\b", ".ghoststream-job", ""] {
        assert_eq!(
            jobs.file(&view.id, name, Duration::ZERO).await.unwrap_err(),
            FileError::BadName,
            "{name:?}"
        );
    }
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_wants_to_be_called_is_called() {
    use std::io::{Read, Write};
    let mut place = Place::new();
    place.config.security.api_key = Some(ghoststream_server::config::Secret::new("k3y"));
    let source = place.clip("in.mp4", 1);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/done", listener.local_addr().unwrap());
    let calls = std::thread::spawn(move || {
        let mut calls = Vec::new();
        // The first call is refused for the moment, and comes again.
        for answer in ["503 Busy", "200 OK", "200 OK", "200 OK"] {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                text.extend_from_slice(&buffer[..n]);
                if text.ends_with(b"}") {
                    break;
                }
            }
            stream.write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").as_bytes()).unwrap();
            calls.push(String::from_utf8_lossy(&text).into_owned());
        }
        calls
    });
    let jobs = place.open();
    let body = |source: &str| {
        request(source, json!({"mode": "batch", "output": {"format": "mp4"}, "callback_url": url}))
    };
    let good = jobs.start(body(&source), client("a")).await.unwrap();
    ready(&jobs, &good.id).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let missing = place.path("missing.mp4").to_string_lossy().into_owned();
    let bad = jobs.start(body(&missing), client("a")).await.unwrap();
    over(&jobs, &bad.id).await;
    // Who joins what is ready hears of it too.
    let stream = jobs.start(request(&source, json!({})), client("a")).await.unwrap();
    ready(&jobs, &stream.id).await;
    let joined = jobs.start(request(&source, json!({"callback_url": url})), client("b")).await.unwrap();
    assert_eq!(joined.id, stream.id);
    let calls = tokio::task::spawn_blocking(move || calls.join().unwrap()).await.unwrap();
    assert!(calls[0].contains(&good.id) && calls[1].contains(&good.id) && calls[3].contains(&stream.id));
    assert!(
        calls[1].contains("\"status\":\"ready\"") && calls[2].contains("\"status\":\"error\""),
        "{calls:?}"
    );
    let (head, text) = calls[1].split_once("\r\n\r\n").unwrap();
    let header = |name: &str| {
        let line = head
            .lines()
            .find(|l| l.to_ascii_lowercase().starts_with(name))
            .unwrap_or_else(|| panic!("{head}"));
        line.split_once(": ").unwrap().1.to_string()
    };
    let time = header("x-ghoststream-timestamp").parse().unwrap();
    let expected = ghoststream_server::jobs::signature("k3y", time, text).unwrap();
    assert_eq!(header("x-ghoststream-signature"), expected);
    jobs.close().await;
}
