//! Every mode, format and field does what it says.

use crate::support::*;
use ghoststream_server::jobs::{Cache, Status};
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_playable_while_it_is_made() {
    let place = Place::new();
    let source = place.clip("in.mp4", 20);
    let jobs = place.open();
    let mut events = jobs.events();
    let begin = Instant::now();
    let view = jobs.start(request(&source, json!({"playback": "growing"})), client("a")).await.unwrap();
    assert_eq!((view.status, view.viewers, view.stream_path), (Status::Queued, 1, Some("master.m3u8")));
    // The request is held until the playlist is there.
    let list = text(&jobs.file(&view.id, "master.m3u8", Duration::from_secs(30)).await.unwrap());
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert!(list.contains("EXT-X-PLAYLIST-TYPE:EVENT") && list.contains("segment_00000.ts"), "{list}");
    let segment = jobs.file(&view.id, "segment_00000.ts", Duration::ZERO).await.unwrap();
    assert_eq!((segment.content_type, segment.cache), ("video/mp2t", Cache::Immutable));
    let done = ready(&jobs, &view.id).await;
    assert_eq!(done.hw_accel_used.as_deref(), Some("software"));
    assert!((done.duration - 20.0).abs() < 0.2 && done.progress == 100.0, "{done:?}");
    let list = text(&jobs.file(&view.id, "master.m3u8", Duration::ZERO).await.unwrap());
    assert!(list.ends_with("#EXT-X-ENDLIST\n"), "{list}");
    let found = probe(&place.job_dir(&view.id).join("master.m3u8"));
    assert_eq!(video(&found)["nb_read_frames"], "500");
    let mut words = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let ghoststream_server::jobs::JobEvent::Status { status, .. } = event {
            words.push(status.name());
        }
    }
    assert_eq!(words, ["processing", "ready"]);
    jobs.close().await;
}
