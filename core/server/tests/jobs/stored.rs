//! What finished jobs made is in the object store, and goes with them.

use crate::support::*;
use ghoststream_server::jobs::{JobView, Jobs, StoredState};
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

fn place() -> (Place, PathBuf) {
    let mut place = Place::new();
    let store = place.path("store");
    place.config.store.url = Some(format!("file://{}", store.display()));
    (place, store)
}

fn state(view: &JobView) -> Option<StoredState> {
    view.stored.as_ref().map(|s| s.state)
}

async fn stored(jobs: &Jobs, id: &str) -> JobView {
    until(jobs, id, "it is in the store", |v| state(v) == Some(StoredState::Ready)).await
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

async fn gone(path: &Path) {
    let begin = Instant::now();
    while path.is_dir() && !names(path).is_empty() {
        assert!(begin.elapsed() < PATIENCE, "{:?}", names(path));
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_files_are_there_until_they_are_deleted() {
    let (place, store) = place();
    let source = place.clip("in.mp4", 3);
    let jobs = place.open();
    let stream = jobs.start(request(&source, json!({"playback": "growing"})), client("a")).await.unwrap();
    let file = json!({"mode": "batch", "output": {"format": "mp4", "video_codec": "copy"}});
    let file = jobs.start(request(&source, file), client("a")).await.unwrap();
    let demand = jobs.start(request(&source, json!({"playback": "on_demand"})), client("b")).await.unwrap();
    assert_eq!(state(&stream), None);
    let view = stored(&jobs, &stream.id).await;
    let there = view.stored.unwrap();
    assert_eq!(there.url, format!("file://{}/jobs/{}/master.m3u8", store.display(), stream.id));
    let directory = store.join("jobs").join(&stream.id);
    assert_eq!(video(&probe(&directory.join("master.m3u8")))["nb_read_frames"], "75");
    let found = names(&directory);
    assert_eq!(found.len() as u64, there.files, "{found:?}");
    assert!(found.iter().all(|n| !n.starts_with('.')), "{found:?}");
    let view = stored(&jobs, &file.id).await;
    assert!(view.stored.unwrap().url.ends_with("/output.mp4"));
    let whole = store.join("jobs").join(&file.id).join("output.mp4");
    assert_eq!(
        std::fs::read(&whole).unwrap(),
        std::fs::read(place.job_dir(&file.id).join("output.mp4")).unwrap()
    );
    assert_eq!(ready(&jobs, &demand.id).await.stored, None, "it is never made as a whole");
    assert!(jobs.delete(&stream.id).await);
    gone(&directory).await;
    assert!(whole.exists(), "it is another job's");
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_gets_the_rest_when_it_is_back_and_after_a_restart() {
    let (place, store) = place();
    let source = place.clip("in.mp4", 2);
    let body = json!({"mode": "batch", "output": {"format": "hls", "video_codec": "copy"}});
    let jobs = place.open();
    // Nothing can be put below a file.
    std::fs::write(store.join("jobs"), "in the way").unwrap();
    let view = jobs.start(request(&source, body), client("a")).await.unwrap();
    ready(&jobs, &view.id).await;
    let view =
        until(&jobs, &view.id, "a failure is told", |v| v.stored.as_ref().is_some_and(|s| s.error.is_some()))
            .await;
    assert_eq!(state(&view), Some(StoredState::Uploading), "it goes on");
    jobs.close().await;
    std::fs::remove_file(store.join("jobs")).unwrap();
    let jobs = place.open();
    let there = stored(&jobs, &view.id).await.stored.unwrap();
    assert_eq!(there.error, None);
    let directory = store.join("jobs").join(&view.id);
    assert_eq!(video(&probe(&directory.join("master.m3u8")))["nb_read_frames"], "50");
    assert!(!directory.join("output.tar").exists(), "its files are there one by one");
    // What was to go goes, even if the server ends at once.
    assert!(jobs.delete(&view.id).await);
    jobs.close().await;
    let jobs = place.open();
    gone(&directory).await;
    assert!(jobs.get(&view.id).is_none());
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_the_store_does_not_take_holds_up_no_other() {
    let (place, store) = place();
    let source = place.clip("in.mp4", 2);
    let body = || json!({"mode": "batch", "output": {"format": "mp4", "video_codec": "copy"}});
    let jobs = place.open();
    std::fs::write(store.join("jobs"), "in the way").unwrap();
    let first = jobs.start(request(&source, body()), client("a")).await.unwrap();
    let failed = |v: &JobView| v.stored.as_ref().is_some_and(|s| s.error.is_some());
    until(&jobs, &first.id, "a failure is told", failed).await;
    // From now on there is no way for this one only.
    let way = store.join("jobs").join(&first.id);
    std::fs::remove_file(store.join("jobs")).unwrap();
    std::fs::create_dir(store.join("jobs")).unwrap();
    std::fs::write(&way, "in the way").unwrap();
    let second = json!({"mode": "batch", "output": {"format": "mkv", "video_codec": "copy"}});
    let second = jobs.start(request(&source, second), client("b")).await.unwrap();
    stored(&jobs, &second.id).await;
    assert!(failed(&jobs.get(&first.id).unwrap()), "it still waits");
    // What goes in the meantime is not held up either.
    assert!(jobs.delete(&second.id).await);
    gone(&store.join("jobs").join(&second.id)).await;
    std::fs::remove_file(&way).unwrap();
    stored(&jobs, &first.id).await;
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_not_put_there_again_after_a_failure() {
    let (place, store) = place();
    let source = place.clip("in.mp4", 4);
    let body = json!({"mode": "batch", "output": {"format": "hls", "video_codec": "copy"}});
    let jobs = place.open();
    std::fs::write(store.join("jobs"), "in the way").unwrap();
    let view = jobs.start(request(&source, body), client("a")).await.unwrap();
    let failed = |v: &JobView| v.stored.as_ref().is_some_and(|s| s.error.is_some());
    until(&jobs, &view.id, "a failure is told", failed).await;
    // Only the playlist that players open cannot be put there now: it comes last.
    let there = store.join("jobs").join(&view.id);
    std::fs::remove_file(store.join("jobs")).unwrap();
    std::fs::create_dir_all(there.join("master.m3u8/in the way")).unwrap();
    let media = || names(&there).into_iter().find(|n| n.ends_with(".ts") || n.ends_with(".m4s"));
    let begin = Instant::now();
    while media().is_none() {
        assert!(begin.elapsed() < PATIENCE, "{:?}", names(&there));
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    let file = there.join(media().unwrap());
    let before = file.metadata().unwrap().ino();
    // At least one more try.
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    std::fs::remove_dir_all(there.join("master.m3u8")).unwrap();
    let stored = stored(&jobs, &view.id).await.stored.unwrap();
    assert_eq!(stored.files, names(&there).len() as u64);
    assert_eq!(file.metadata().unwrap().ino(), before, "it was put there again");
    assert_eq!(video(&probe(&there.join("master.m3u8")))["nb_read_frames"], "100");
    jobs.close().await;
}
