//! Streams sent on: to files, and to a real RTMP server (FFmpeg's).

mod live_feed;

use ghoststream::spec::{Container, Device, Preset};
use ghoststream_server::live::pull::PullEncode;
use ghoststream_server::live::push::PushState;
use ghoststream_server::live::{Live, Publisher, Pull, PullSource, PullSpec, Push, PushTarget, Recording};
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
        // Beside them there are notes of when they begin, and of others than MP4 of where segments do.
        let notes = directory.join(match container {
            Container::Mp4 => "recording.jsonl".to_string(),
            other => format!("recording.{}.jsonl", other.name()),
        });
        let before = files.len();
        files.retain(|f| *f != notes);
        assert_eq!(before - files.len(), 1, "{files:?}");
        files.sort();
        let text = std::fs::read_to_string(&notes).unwrap();
        let noted: Vec<&str> = text.lines().filter(|line| line.starts_with(r#"{"file""#)).collect();
        assert_eq!(noted.len(), files.len(), "{text}");
        let keyed = noted.iter().filter(|line| line.ends_with(r#","keys":[0]}}"#)).count();
        assert_eq!(keyed, if container == Container::Mp4 { 0 } else { files.len() }, "{text}");
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
fn opus_is_recorded_in_mp4_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let film = dir.path().join("film.mkv");
    live_feed::ffmpeg(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=3 -f lavfi -i sine=sample_rate=48000:d=3 -c:v libx264 -preset ultrafast \
         -pix_fmt yuv420p -g 25 -c:a libopus -ac 2",
        &film,
    );
    let (streams, packets) = live_feed::read(&film);
    let live = Live::new(true, 10);
    let publication = live.publish("cam", Publisher::new("test", None)).unwrap();
    let directory = dir.path().join("recordings");
    let container = Container::Mp4;
    let recording =
        Recording { directory: directory.clone(), container, segment: 60.0, keep: None, most: None };
    let push = Push::record(publication.stream(), recording).unwrap();
    live_feed::play(&publication, &streams, &packets);
    drop(publication);
    drop(push);
    let files = std::fs::read_dir(&directory).unwrap().map(|e| e.unwrap().path());
    let film = files.into_iter().find(|f| f.extension().is_some_and(|e| e == "mp4")).unwrap();
    let tracks = tracks(&film);
    let names: Vec<&str> = tracks.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["h264", "opus"]);
    assert!(tracks[1].1 > 140, "a packet every 20 ms: {tracks:?}");
}

#[test]
fn files_are_dated_by_their_pictures_and_not_by_how_long_those_say_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let film = dir.path().join("film.mp4");
    live_feed::clip(&film, "320x180", 7, "");
    let (streams, mut packets) = live_feed::read(&film);
    // As they come by RTSP and WHIP.
    packets.iter_mut().filter(|p| p.stream == 0).for_each(|p| p.duration = 0);
    let live = Live::new(true, 10);
    let publication = live.publish("cam", Publisher::new("test", None)).unwrap();
    let recordings = [Container::Mp4, Container::Mkv].map(|container| {
        let directory = dir.path().join(container.name());
        let recording = Recording { directory, container, segment: 2.0, keep: None, most: None };
        Push::record(publication.stream(), recording).unwrap()
    });
    live_feed::play(&publication, &streams, &packets);
    drop(publication);
    drop(recordings);
    for notes in ["mp4/recording.jsonl", "mkv/recording.mkv.jsonl"] {
        let text = std::fs::read_to_string(dir.path().join(notes)).unwrap();
        let files: Vec<(i64, i64)> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["file"].clone())
            .filter_map(|file| Some((file["start"].as_i64()?, file["duration"].as_i64()?)))
            .collect();
        assert!(files.len() >= 3, "{text}");
        for pair in files.windows(2) {
            assert_eq!(pair[1].0, pair[0].0 + pair[0].1, "{text}");
        }
        // Cut every 2 s; the first picture may be shown a little after time 0.
        assert_eq!(files[2].0 - files[1].0, 2_000_000, "{text}");
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

/// A peer that is ended with its test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // One that has ended by itself is what is wanted.
        let _ = (self.0.kill(), self.0.wait());
    }
}

#[test]
fn an_rtsp_server_gets_the_stream() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("o.mkv");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("rtsp://127.0.0.1:{port}/live/key");
    let live = Live::new(true, 10);
    let pull = pattern(&live);
    let mut visits = live.visits();
    let push = Push::start(&live, pull.stream(), PushTarget::Url(url.clone())).unwrap();
    reaches(&push, PushState::Reconnecting);
    assert!(!push.status().message.unwrap().contains("live/key"), "keys are not told");
    assert!(visits.try_recv().is_err(), "nothing has gone there yet");
    let mut peer = Ended(
        Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-y", "-rtsp_flags", "listen", "-i", &url, "-c", "copy"])
            .arg(&out)
            .stdin(Stdio::null())
            .spawn()
            .unwrap(),
    );
    reaches(&push, PushState::Running);
    std::thread::sleep(Duration::from_secs(4));
    let begun = visits.try_recv().unwrap();
    assert_eq!((begun.stream.as_str(), begun.protocol, begun.watched), ("cam", "rtsp", None));
    // It ends the recording in order.
    drop(push);
    assert!(visits.try_recv().unwrap().watched.unwrap() > Duration::from_secs(2));
    assert!(peer.0.wait().unwrap().success());
    let tracks = tracks(&out);
    assert_eq!((tracks[0].0.as_str(), tracks[1].0.as_str()), ("h264", "aac"));
    assert!(tracks[0].1 >= 50 && tracks[1].1 >= 90, "{tracks:?}");
}

#[test]
fn a_broken_rtsp_connection_is_made_again_and_none_is_waited_for() {
    use std::io::{BufRead, BufReader, Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtsp://me:s%3Acret@{}/cam", listener.local_addr().unwrap());
    let live = Live::new(true, 10);
    let pull = pattern(&live);
    let push = Push::start(&live, pull.stream(), PushTarget::Url(url)).unwrap();
    // A server that wants to know who comes, takes what comes for a moment, and breaks off.
    let serve = || {
        let (socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (mut from, mut to) = (BufReader::new(socket.try_clone().unwrap()), socket);
        let mut asked = Vec::new();
        while !asked.iter().any(|m| m == "RECORD") {
            let (mut lines, mut length) = (Vec::new(), 0);
            loop {
                let mut line = String::new();
                from.read_line(&mut line).unwrap();
                if line.trim().is_empty() {
                    break;
                }
                if let Some(value) = line.strip_prefix("Content-Length: ") {
                    length = value.trim().parse().unwrap();
                }
                lines.push(line.trim().to_string());
            }
            let mut body = vec![0; length];
            from.read_exact(&mut body).unwrap();
            assert!(!lines.concat().contains("s%3Acret") && lines[0].ends_with("RTSP/1.0"), "{lines:?}");
            let number = lines.iter().find(|l| l.starts_with("CSeq")).unwrap();
            let known = lines.iter().any(|l| l == "Authorization: Basic bWU6czpjcmV0");
            let answer = match (known, lines[0].starts_with("SETUP")) {
                (false, _) => "401 Who?\r\nWWW-Authenticate: Basic realm=\"r\"",
                (true, true) if lines[0].contains("trackID=0") => {
                    "200 OK\r\nSession: 7\r\nTransport: RTP/AVP/TCP;interleaved=4-5"
                }
                (true, true) => "200 OK\r\nSession: 7\r\nTransport: RTP/AVP/TCP;interleaved=0-1",
                (true, false) => "200 OK\r\nSession: 7;timeout=30",
            };
            write!(to, "RTSP/1.0 {answer}\r\n{number}\r\n\r\n").unwrap();
            if known {
                asked.push(lines[0].split(' ').next().unwrap().to_string());
            }
        }
        // Something of pictures on the channel that was said, and of sound on the other.
        let mut seen = [false; 6];
        while !(seen[0] && seen[4]) {
            let mut head = [0; 4];
            from.read_exact(&mut head).unwrap();
            assert_eq!(head[0], b'$');
            seen[usize::from(head[1])] = true;
            let mut data = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
            from.read_exact(&mut data).unwrap();
        }
        asked
    };
    let asked = serve();
    assert_eq!(asked, ["OPTIONS", "ANNOUNCE", "SETUP", "SETUP", "RECORD"]);
    reaches(&push, PushState::Reconnecting);
    assert_eq!(serve(), asked, "and again");
    reaches(&push, PushState::Reconnecting);
    // One that says nothing is given up, and its stream goes on meanwhile.
    let (held, _) = listener.accept().unwrap();
    let before = pull.stream().stats().time;
    std::thread::sleep(Duration::from_secs(2));
    assert!(pull.stream().stats().time > before + 1.0);
    let begun = Instant::now();
    drop(push);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    drop(held);
}
