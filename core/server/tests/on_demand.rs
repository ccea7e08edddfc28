//! Jobs whose segments are made when they are asked for, by real workers.

#[allow(dead_code)]
#[path = "jobs/support.rs"]
mod support;

use ghoststream_server::jobs::{Body, FileError, Jobs, Status};
use serde_json::json;
use std::time::{Duration, Instant};
use support::*;

async fn segment(jobs: &Jobs, id: &str, number: u32) -> usize {
    let name = format!("segment_{number:05}.ts");
    let served = jobs.file(id, &name, Duration::ZERO).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
    match served.body {
        Body::File(path) => std::fs::metadata(path).unwrap().len() as usize,
        Body::Memory(bytes) => bytes.len(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_ready_when_it_can_be_played_and_survives_a_restart() {
    let place = Place::new();
    let source = place.clip("in.mp4", 60);
    let jobs = place.open();
    let view = jobs.start(request(&source, json!({})), client("a")).await.unwrap();
    let list = text(&jobs.file(&view.id, "master.m3u8", Duration::from_secs(30)).await.unwrap());
    assert!(list.contains("#EXT-X-PLAYLIST-TYPE:VOD") && list.ends_with("#EXT-X-ENDLIST\n"), "{list}");
    // A short one first, then 2 s each.
    assert_eq!(list.matches("#EXTINF").count(), 31, "{list}");
    assert!(list.contains("#EXTINF:1.000000,\nsegment_00000.ts"), "{list}");
    let done = ready(&jobs, &view.id).await;
    assert_eq!(done.progress, 100.0);
    assert!((done.duration - 60.0).abs() < 0.2, "{done:?}");
    let decision = done.decision.unwrap();
    assert_eq!(decision.method, "transcode", "{decision:?}");
    assert_eq!(done.hw_accel_used.as_deref(), Some("software"));
    // Anywhere, at once.
    for number in [25, 6, 30, 0, 14] {
        let begin = Instant::now();
        assert!(segment(&jobs, &view.id, number).await > 1000);
        assert!(begin.elapsed() < Duration::from_secs(20), "{number}: {:?}", begin.elapsed());
    }
    let missing = jobs.file(&view.id, "segment_00031.ts", Duration::ZERO).await;
    assert!(matches!(missing, Err(FileError::NotFound)), "{missing:?}");
    jobs.close().await;
    drop(jobs);
    let jobs = place.open();
    assert_eq!(jobs.get(&view.id).unwrap().status, Status::Ready);
    assert!(segment(&jobs, &view.id, 9).await > 1000, "made by a new session");
    // It can still be cancelled, and then nothing is left.
    jobs.cancel(&view.id).await.unwrap();
    assert_eq!(jobs.get(&view.id).unwrap().status, Status::Cancelled);
    let begin = Instant::now();
    while place.job_dir(&view.id).exists() {
        assert!(begin.elapsed() < PATIENCE, "its files stay");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(jobs.file(&view.id, "segment_00001.ts", Duration::ZERO).await.is_err());
    jobs.close().await;
}

/// Two seconds of 60 pictures a second, two of 10: on their average, 35, the fast ones would lose some.
#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_come_unevenly_are_all_shown() {
    let place = Place::new();
    let source = place.path("in.mp4").to_string_lossy().into_owned();
    let pattern = "testsrc2=s=320x180:r=60:d=4,select='lt(t,2)+not(mod(n,6))'";
    ffmpeg(&format!(
        "-f lavfi -i {pattern} -f lavfi -i sine=d=4 -vsync vfr -c:v libx264 -preset ultrafast -g 60 -c:a aac {source}"
    ));
    let jobs = place.open();
    let view = jobs.start(request(&source, json!({})), client("a")).await.unwrap();
    ready(&jobs, &view.id).await;
    // The first second, and the one behind it as far as the pictures come fast.
    for (number, pictures) in [(0, 60), (1, 60)] {
        let name = format!("segment_{number:05}.ts");
        let served = jobs.file(&view.id, &name, Duration::ZERO).await.unwrap();
        let Body::File(path) = served.body else { panic!("{name} is no file") };
        let found = std::process::Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(path)
            .args(["-map", "0:v", "-t", "1", "-vsync", "passthrough", "-f", "framemd5", "-"])
            .output()
            .unwrap();
        let text = String::from_utf8(found.stdout).unwrap();
        let sums = text.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.rsplit(", ").next());
        let different: std::collections::BTreeSet<&str> = sums.collect();
        assert!(different.len() >= pictures - 1, "{name}: {} pictures", different.len());
    }
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_profile_decides() {
    let place = Place::new();
    let source = place.clip("in.mp4", 8);
    let jobs = place.open();
    let profile = json!({"containers": ["mp4"], "video_codecs": ["h264"], "audio_codecs": ["aac"]});
    let view = jobs.start(request(&source, json!({"profile": profile})), client("a")).await.unwrap();
    let done = ready(&jobs, &view.id).await;
    assert_eq!((done.decision.unwrap().method.as_str(), done.stream_path), ("direct", Some("original.mp4")));
    let served = jobs.file(&view.id, "original.mp4", Duration::ZERO).await.unwrap();
    assert_eq!(served.content_type, "video/mp4");
    assert!(matches!(served.body, Body::File(path) if path == std::path::Path::new(&source)));
    // Segments of it are copies.
    assert!(segment(&jobs, &view.id, 1).await > 1000);
    jobs.close().await;
}
