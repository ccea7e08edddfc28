//! Workers that are killed, halted or crash; servers that are killed; sources that go away; disks that are full. What is
//! promised holds, and other jobs go on.

use crate::support::*;
use ghoststream_server::jobs::{Jobs, Status};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A job that takes a while: the source is read at the speed of the clock.
pub fn slow(place: &Place, name: &str) -> String {
    // The pattern is cheap to decode and dear to encode at this preset.
    let path = place.path(name);
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=640x360:r=50:d=20 -c:v libx264 -preset ultrafast -pix_fmt yuv420p {}",
        path.display()
    ));
    path.to_string_lossy().into_owned()
}

fn batch() -> serde_json::Value {
    json!({"mode": "batch", "output": {"format": "mp4"}})
}

/// The worker that has a file of the job open, or its directory among its open files.
pub fn worker_of(dir: &Path) -> Option<u32> {
    let dir = dir.to_string_lossy().into_owned();
    for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let files = std::fs::read_dir(entry.path().join("fd")).into_iter().flatten().filter_map(Result::ok);
        let mut open = files.filter_map(|f| std::fs::read_link(f.path()).ok());
        if pid != std::process::id() && open.any(|p| p.to_string_lossy().starts_with(&dir)) {
            return Some(pid);
        }
    }
    None
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap().success());
}

/// Starts a job and waits until its worker writes.
async fn running(place: &Place, jobs: &Jobs, source: &str, body: serde_json::Value) -> (String, u32) {
    let view = jobs.start(request(source, body), client("a")).await.unwrap();
    let dir = place.job_dir(&view.id);
    until(jobs, &view.id, "frames", |v| v.frame > 0 || v.status.is_over()).await;
    let pid = worker_of(&dir).expect("a worker that writes");
    (view.id, pid)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_costs_one_try_of_one_job() {
    let place = Place::new();
    let source = slow(&place, "in.mp4");
    let jobs = place.open();
    let (first, pid) = running(&place, &jobs, &source, batch()).await;
    let (second, other) = running(&place, &jobs, &source, batch()).await;
    assert_ne!(pid, other);
    // Rust's handler takes the first one for an overflow of the stack that it finds none of.
    signal(pid, "SEGV");
    tokio::time::sleep(Duration::from_millis(100)).await;
    signal(pid, "SEGV");
    let view = ready(&jobs, &first).await;
    assert_eq!(view.attempts, 2);
    assert!(view.warnings.iter().any(|w| w.contains("crashed")), "{:?}", view.warnings);
    assert_eq!(video(&probe(&place.job_dir(&first).join("output.mp4")))["nb_read_frames"], "1000");
    assert_eq!(ready(&jobs, &second).await.attempts, 1, "the other job is untouched");
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_keeps_crashing_ends_its_job_with_a_clear_error() {
    let mut place = Place::new();
    place.config.transcoding.retry_count = 1;
    let source = slow(&place, "in.mp4");
    let jobs = place.open();
    let (id, pid) = running(&place, &jobs, &source, batch()).await;
    signal(pid, "KILL");
    until(&jobs, &id, "the second try", |v| v.attempts == 2 && v.frame > 0).await;
    signal(worker_of(&place.job_dir(&id)).unwrap(), "ABRT");
    let view = over(&jobs, &id).await;
    assert_eq!(view.status, Status::Error);
    assert!(view.error.as_deref().unwrap().contains("the worker crashed (signal: 6"), "{view:?}");
    assert_eq!(jobs.stats().failed, 1);
    // The server still works.
    let small = place.clip("small.mp4", 1);
    let next = jobs.start(request(&small, batch()), client("a")).await.unwrap();
    ready(&jobs, &next.id).await;
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halted_worker_is_noticed_and_killed() {
    let place = Place::new();
    let source = slow(&place, "in.mp4");
    let jobs = place.open_with(ghoststream_server::worker::Patience {
        silence: Duration::from_secs(4),
        end: Duration::from_secs(1),
        ..Default::default()
    });
    let (id, pid) = running(&place, &jobs, &source, batch()).await;
    signal(pid, "STOP");
    let view = ready(&jobs, &id).await;
    assert_eq!(view.attempts, 2);
    assert!(view.warnings.iter().any(|w| w.contains("hangs")), "{:?}", view.warnings);
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "the old worker is gone");
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_ends_the_worker_even_if_it_does_not_listen() {
    let place = Place::new();
    let source = slow(&place, "in.mp4");
    let jobs = place.open_with(ghoststream_server::worker::Patience {
        end: Duration::from_secs(1),
        ..Default::default()
    });
    let (id, pid) = running(&place, &jobs, &source, batch()).await;
    signal(pid, "STOP");
    jobs.cancel(&id).await.unwrap();
    assert_eq!(jobs.get(&id).unwrap().status, Status::Cancelled);
    assert!(jobs.cancel(&id).await.is_err(), "it is over");
    let gone = || !Path::new(&format!("/proc/{pid}")).exists() && !place.job_dir(&id).exists();
    for _ in 0..200 {
        if gone() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(gone(), "worker {pid} or its files are still there");
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_promised_survives_the_server() {
    let mut place = Place::new();
    place.config.transcoding.max_concurrent_jobs = 1;
    let (small, source) = (place.clip("small.mp4", 1), slow(&place, "in.mp4"));
    let (done, interrupted, waiting, theirs);
    {
        // A server that is killed: its tasks stop in the middle, its workers lose their parent's pipe.
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let place = &place;
        (done, interrupted, waiting) = std::thread::scope(|s| {
            let handle = runtime.handle().clone();
            s.spawn(move || {
                handle.block_on(async {
                    let jobs = place.open();
                    let done = jobs.start(request(&small, batch()), client("a")).await.unwrap().id;
                    ready(&jobs, &done).await;
                    let (interrupted, _) = running(place, &jobs, &source, batch()).await;
                    let waiting =
                        jobs.start(request(&small, json!({"playback": "growing"})), client("a")).await;
                    (done, interrupted, waiting.unwrap().id)
                })
            })
            .join()
            .unwrap()
        });
        runtime.shutdown_timeout(Duration::ZERO);
    }
    theirs = place.path("jobs/somebody-elses");
    std::fs::create_dir(&theirs).unwrap();
    std::fs::write(theirs.join("film.mkv"), b"x").unwrap();
    let jobs = place.open();
    assert_eq!(jobs.get(&done).unwrap().status, Status::Ready);
    assert!(jobs.download(&done).is_ok(), "what was finished is served");
    let view = ready(&jobs, &interrupted).await;
    assert!(view.warnings.iter().any(|w| w.contains("interrupted")), "{view:?}");
    assert_eq!(video(&probe(&place.job_dir(&interrupted).join("output.mp4")))["nb_read_frames"], "1000");
    ready(&jobs, &waiting).await;
    assert_eq!(jobs.stats().successful, 3, "counters go on");
    jobs.run_cleanup().await;
    assert!(theirs.join("film.mkv").exists(), "only our own directories are swept");
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_end_queues_what_was_running() {
    let place = Place::new();
    let source = slow(&place, "in.mp4");
    let jobs = place.open();
    let (id, pid) = running(&place, &jobs, &source, batch()).await;
    jobs.close().await;
    assert!(jobs.start(request(&source, batch()), client("a")).await.is_err());
    drop(jobs);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if !Path::new(&format!("/proc/{pid}")).exists() {
            break;
        }
    }
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "no worker is left");
    let jobs = place.open();
    assert_eq!(ready(&jobs, &id).await.attempts, 2);
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_goes_away_is_an_error_and_a_file_that_grows_too_large_too() {
    let mut place = Place::new();
    place.config.transcoding.retry_count = 0;
    let jobs = place.open();
    // Half of a file, behind a server that stops in the middle.
    let source = place.path("whole.ts");
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=10 -c:v libx264 -preset ultrafast {}",
        source.display()
    ));
    let data = std::fs::read(&source).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        use std::io::{Read, Write};
        // The probe and the run each open it, and again after each break.
        listener.set_nonblocking(true).unwrap();
        let begin = std::time::Instant::now();
        let mut count = 0;
        while begin.elapsed() < Duration::from_secs(40) && count < 40 {
            let Ok((mut stream, _)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            count += 1;
            stream.set_nonblocking(false).unwrap();
            let mut head = [0; 4096];
            let _read = stream.read(&mut head);
            let half = &data[..data.len() / 2];
            let _sent = stream
                .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", data.len()).as_bytes())
                .and_then(|()| stream.write_all(half));
        }
    });
    let view = jobs.start(request(&format!("http://{address}/a.ts"), batch()), client("a")).await.unwrap();
    let view = over(&jobs, &view.id).await;
    assert_eq!(view.status, Status::Error, "{view:?}");
    assert!(view.error.is_some());
    drop(served);
    jobs.close().await;
    drop(jobs);

    place.config.limits.max_file_size_gb = 0.0001;
    let source = slow(&place, "in.mp4");
    let jobs = place.open();
    let view = jobs.start(request(&source, batch()), client("a")).await.unwrap();
    let view = over(&jobs, &view.id).await;
    assert_eq!(view.status, Status::Error);
    assert!(view.error.as_deref().unwrap().contains("File too large"), "{view:?}");
    assert!(!place.job_dir(&view.id).join("output.mp4").exists(), "nothing half-written is left");
    jobs.close().await;
}
