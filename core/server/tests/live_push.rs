//! Streams sent on: to files, and to a real RTMP server (FFmpeg's).

mod live_feed;

use ghoststream::spec::{Container, Device, Preset};
use ghoststream_server::live::pull::PullEncode;
use ghoststream_server::live::push::PushState;
use ghoststream_server::live::{Live, Pull, PullSource, PullSpec, Push, PushTarget, Recording};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn pattern(live: &Live) -> Pull {
    let encode = PullEncode { device: Device::Software, preset: Preset::P1, segment: 1.0 };
    let source = PullSource::Pattern { width: 320, height: 180, frame_rate: 25 };
    Pull::start(live, "cam", PullSpec { encode, ..PullSpec::new(source) }).unwrap()
}

fn reaches(push: &Push, state: PushState) {
    let until = Instant::now() + Duration::from_secs(20);
    while push.status().state != state {
        assert!(Instant::now() < until, "{state:?}: {:?}", push.status());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Codec and number of frames or packets of each track; FFmpeg's complaints fail the test.
fn tracks(path: &Path) -> Vec<(String, u32)> {
    let out = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-count_frames",
            "-show_entries",
            "stream=codec_name,nb_read_frames",
            "-of",
            "csv=p=0",
        ])
        .arg(path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.is_empty(), "{}: {said}", path.display());
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines()
        .filter_map(|l| Some((l.split(',').next()?.into(), l.split(',').nth(1)?.parse().ok()?)))
        .collect()
}

#[test]
fn a_recording_is_cut_into_files_that_play() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::new(true, 10);
    let pull = pattern(&live);
    for container in [Container::Mkv, Container::Mp4, Container::Ts] {
        let directory = dir.path().join(container.name());
        let target = PushTarget::Files(Recording {
            directory: directory.clone(),
            container,
            segment: 1.0,
            keep: None,
            most: None,
        });
        let push = Push::start(&live, pull.stream(), target).unwrap();
        reaches(&push, PushState::Running);
        std::thread::sleep(Duration::from_millis(3500));
        drop(push);
        let mut files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|e| e.unwrap().path()).collect();
        // Beside MP4, and nothing else, there are notes of when its files begin.
        let notes = directory.join("recording.jsonl");
        let before = files.len();
        files.retain(|f| *f != notes);
        assert_eq!(before - files.len(), usize::from(container.name() == "mp4"), "{files:?}");
        files.sort();
        assert!(files.len() >= 3, "{files:?}");
        let counts: Vec<Vec<(String, u32)>> = files.iter().map(|f| tracks(f)).collect();
        for count in &counts[..files.len() - 1] {
            assert_eq!(count[0], ("h264".into(), 25), "{counts:?}");
            assert_eq!(count[1].0, "aac");
        }
        assert_eq!(
            Push::start(&live, pull.stream(), PushTarget::Url("http://host/".into())).unwrap_err().kind(),
            ghoststream::ErrorKind::Invalid
        );
    }
}

#[test]
fn an_rtmp_server_gets_the_stream() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("o.mkv");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("rtmp://127.0.0.1:{port}/live/key");
    let live = Live::new(true, 10);
    let pull = pattern(&live);
    let mut visits = live.visits();
    let push = Push::start(&live, pull.stream(), PushTarget::Url(url.clone())).unwrap();
    reaches(&push, PushState::Reconnecting);
    assert!(!push.status().message.unwrap().contains("live/key"), "keys are not told");
    let mut peer = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y", "-listen", "1", "-i", &url, "-c", "copy"])
        .arg(&out)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    assert!(visits.try_recv().is_err(), "nothing has gone there yet");
    reaches(&push, PushState::Running);
    std::thread::sleep(Duration::from_secs(3));
    drop(push);
    let begun = visits.try_recv().unwrap();
    assert_eq!((begun.stream.as_str(), begun.protocol, begun.watched), ("cam", "rtmp", None));
    let target = begun.target.unwrap();
    assert!(target.starts_with("rtmp://127.0.0.1") && !target.contains("live/key"), "{target}");
    assert!(visits.try_recv().unwrap().watched.unwrap() > Duration::from_secs(2));
    assert!(live.viewers("cam").is_empty());
    assert!(peer.wait().unwrap().success());
    let tracks = tracks(&out);
    assert_eq!(tracks[0].0, "h264");
    assert!(tracks[0].1 >= 40, "{tracks:?}");
    assert_eq!(tracks[1].0, "aac");
}
