//! Streams that the server fetches or makes itself.

mod live_feed;

use ghoststream::packet::Packet;
use ghoststream::spec::{Device, Preset};
use ghoststream_server::config::SourcesConfig;
use ghoststream_server::live::pull::{PullEncode, PullState, Slate, SlateSpec};
use ghoststream_server::live::{Item, Live, Publisher, Pull, PullSource, PullSpec, Reader, Start};
use ghoststream_server::policy::SourcePolicy;
use live_feed::*;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

fn spec(source: PullSource) -> PullSpec {
    let encode = PullEncode { device: Device::Software, preset: Preset::P1, segment: 1.0 };
    PullSpec {
        encode,
        retry: (Duration::from_millis(100), Duration::from_millis(400)),
        ..PullSpec::new(source)
    }
}

fn pattern() -> PullSource {
    PullSource::Pattern { width: 320, height: 180, frame_rate: 25 }
}

/// Waits until `pull` does `state`.
fn reaches(pull: &Pull, state: PullState) {
    let until = Instant::now() + Duration::from_secs(20);
    while pull.status().state != state {
        assert!(Instant::now() < until, "{state:?}: {:?}", pull.status());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a reader gets within `time`.
fn during(reader: &mut Reader, time: Duration) -> Seen {
    let (mut seen, until) = (Seen::default(), Instant::now() + time);
    while Instant::now() < until {
        reader.next_blocking(Duration::from_millis(20)).into_iter().for_each(|item| seen.take(item));
    }
    seen
}

/// The longest step between the times of a track, and whether they rise.
fn steps(packets: &[Packet], stream: usize) -> (i64, bool) {
    let times: Vec<i64> =
        packets.iter().filter(|p| p.stream == stream).map(|p| p.decode().unwrap().micros()).collect();
    let steps: Vec<i64> = times.windows(2).map(|t| t[1] - t[0]).collect();
    (steps.iter().copied().max().unwrap_or(0), steps.iter().all(|s| *s > 0))
}

/// FFmpeg's command in the background; it ends with the value.
struct Peer(Child);

impl Peer {
    fn start(args: &str) -> Peer {
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-y"])
            .args(args.split_whitespace())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Peer(child)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_pattern_runs_at_its_own_speed() {
    let live = Live::new(true, 10);
    let pull = Pull::start(&live, "test/bars", spec(pattern())).unwrap();
    let mut reader = pull.stream().subscribe(Start::Group);
    reaches(&pull, PullState::Running);
    let seen = during(&mut reader, Duration::from_secs(3));
    let behind = SystemTime::now().duration_since(pull.stream().epoch()).unwrap().as_secs_f64();
    let (tracks, packets) = &seen.rounds[0];
    let codecs: Vec<&str> = tracks.streams.iter().map(|s| s.codec.name()).collect();
    assert_eq!(codecs, ["h264", "aac"]);
    let pictures = shown(packets, 0);
    assert!((55..=90).contains(&pictures.len()), "{}", pictures.len());
    assert_eq!(steps(packets, 0), (40_000, true));
    assert!(keys(packets, 0).len() >= 2);
    let late = behind - *pictures.last().unwrap() as f64 / 1e6;
    assert!((-0.1..0.5).contains(&late), "{late} s");
    assert_eq!(live.publisher("test/bars").unwrap().protocol, "pull");
    drop(pull);
    assert!(live.get("test/bars").is_none());
    let left: Vec<Item> = std::iter::from_fn(|| reader.try_next()).collect();
    assert!(matches!(left.last(), Some(Item::End)), "{left:?}");
}

#[test]
fn a_file_is_copied_again_and_again_without_a_seam() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    clip(&path, "320x180", 2, "-bf 0");
    let (streams, _) = read(&path);
    let live = Live::new(true, 10);
    let source = PullSource::File { path: path.to_string_lossy().into(), repeat: true };
    let pull = Pull::start(&live, "film", spec(source)).unwrap();
    let mut reader = pull.stream().subscribe(Start::Group);
    let seen = during(&mut reader, Duration::from_secs(5));
    assert_eq!(seen.rounds.len(), 1);
    let (tracks, packets) = &seen.rounds[0];
    assert_eq!(tracks.streams[0].extradata, streams[0].extradata, "it is copied");
    assert!(shown(packets, 0).len() > 100, "{}", shown(packets, 0).len());
    let (longest, rise) = steps(packets, 0);
    assert!(rise && longest < 100_000, "{longest}");
    // Once.
    let source = PullSource::File { path: path.to_string_lossy().into(), repeat: false };
    let pull = Pull::start(&live, "once", spec(source)).unwrap();
    reaches(&pull, PullState::Running);
    reaches(&pull, PullState::Stopped);
    assert!(live.publisher("once").is_none());
}

#[test]
fn a_lost_source_is_fetched_again_and_a_slate_shown_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    clip(&path, "160x90", 4, "-bf 0");
    let port = free_port();
    let send = format!("-re -i {} -c copy -f mpegts tcp://127.0.0.1:{port}?listen=1", path.display());
    let live = Live::new(true, 10);
    let url = PullSource::url(format!("tcp://127.0.0.1:{port}"));
    let pull = Pull::start(&live, "cam", PullSpec { slate: Some(pattern()), ..spec(url) }).unwrap();
    let reader = pull.stream().subscribe(Start::Group);
    let watched = std::thread::spawn(move || Seen::until_quiet(reader, Duration::from_secs(4)));
    reaches(&pull, PullState::Reconnecting);
    assert!(pull.status().message.unwrap().contains("tcp://127.0.0.1"), "{:?}", pull.status());
    std::thread::sleep(Duration::from_millis(1500));
    for _ in 0..2 {
        assert!(pull.status().slate, "{:?}", pull.status());
        let peer = Peer::start(&send);
        reaches(&pull, PullState::Running);
        reaches(&pull, PullState::Reconnecting);
        drop(peer);
        std::thread::sleep(Duration::from_millis(1200));
    }
    drop(pull);
    let seen = watched.join().unwrap();
    let heights: Vec<u32> =
        seen.rounds.iter().map(|(t, _)| t.streams[0].video.as_ref().unwrap().height).collect();
    assert_eq!(heights, [180, 90, 180, 90, 180]);
    assert_eq!(seen.away, 1, "at the end only");
    let all: Vec<i64> = seen
        .rounds
        .iter()
        .flat_map(|(_, packets)| {
            packets.iter().filter(|p| p.stream == 0).map(|p| p.decode().unwrap().micros())
        })
        .collect();
    assert!(all.windows(2).all(|t| t[1] > t[0]), "time goes on");
    let longest = all.windows(2).map(|t| t[1] - t[0]).max().unwrap();
    assert!(longest < 2_500_000, "{longest}");
}

#[test]
fn what_is_on_demand_runs_while_somebody_reads_it() {
    let live = Live::new(true, 10);
    let wanted = PullSpec { on_demand: Some(Duration::from_millis(400)), ..spec(pattern()) };
    let pull = Pull::start(&live, "cam", wanted).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(pull.status().state, PullState::Waiting);
    assert!(live.publisher("cam").is_none());
    for _ in 0..2 {
        let mut reader = live.get("cam").unwrap().subscribe(Start::Group);
        let came = during(&mut reader, Duration::from_secs(2));
        assert!(came.rounds[0].1.len() > 20);
        assert_eq!(pull.status().state, PullState::Running);
        drop(reader);
        std::thread::sleep(Duration::from_millis(150));
        assert_eq!(pull.status().state, PullState::Running, "a little longer");
        reaches(&pull, PullState::Waiting);
        assert!(live.publisher("cam").is_none());
    }
}

#[test]
fn what_cannot_be_pulled_says_why() {
    let live = Live::new(true, 2);
    assert!(Pull::start(&live, "../a", spec(pattern())).is_err());
    let missing = PullSource::File { path: "/nowhere/a.mp4".into(), repeat: true };
    let pull = Pull::start(&live, "a", spec(missing.clone())).unwrap();
    reaches(&pull, PullState::Reconnecting);
    assert!(pull.status().message.unwrap().contains("/nowhere/a.mp4"));
    let policy = SourcePolicy::new(&SourcesConfig { loopback: false, ..SourcesConfig::default() });
    let local = PullSource::url("rtmp://user:secret@127.0.0.1/live/a");
    let refused = Pull::start(&live, "b", PullSpec { policy: Some(policy), ..spec(local) }).unwrap();
    reaches(&refused, PullState::Error);
    let message = refused.status().message.unwrap();
    assert!(message.contains("this machine") && !message.contains("secret"), "{message}");
    assert!(Pull::start(&live, "c", spec(pattern())).is_err(), "two streams are enough");
    drop(pull);
    // Somebody else's stream is left alone.
    let publication = live.publish("c", Publisher::new("test", None)).unwrap();
    let pull = Pull::start(&live, "c", spec(pattern())).unwrap();
    reaches(&pull, PullState::Reconnecting);
    assert!(publication.check().is_ok());
    drop(publication);
    reaches(&pull, PullState::Running);
}

#[test]
fn a_slate_stands_in_for_a_publisher() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    clip(&path, "160x90", 1, "-bf 0");
    let (streams, packets) = read(&path);
    // Publishers may not replace each other here.
    let live = Live::new(false, 10);
    let slate = SlateSpec {
        source: pattern(),
        after: Duration::from_millis(200),
        at_once: false,
        policy: None,
        encode: spec(pattern()).encode,
    };
    let slate = Slate::start(&live, "cam", slate).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(live.publisher("cam").is_none(), "nobody was there yet");
    let mut reader = live.get("cam").unwrap().subscribe(Start::Group);
    let mut seen = Seen::default();
    for _ in 0..2 {
        let publication = live.publish("cam", Publisher::new("test", None)).unwrap();
        assert!(live.publish("cam", Publisher::new("test", None)).is_err());
        play(&publication, &streams, &packets);
        drop(publication);
        let came = during(&mut reader, Duration::from_millis(1500));
        assert_eq!(live.publisher("cam").unwrap().protocol, "slate");
        seen.rounds.extend(came.rounds);
    }
    drop(slate);
    assert!(live.publisher("cam").is_none());
    let heights: Vec<u32> =
        seen.rounds.iter().map(|(t, _)| t.streams[0].video.as_ref().unwrap().height).collect();
    assert_eq!(heights, [90, 180, 90, 180]);
    let all = seen.rounds.iter().flat_map(|(_, packets)| packets).filter(|p| p.stream == 0);
    let times: Vec<i64> = all.map(|p| p.decode().unwrap().micros()).collect();
    assert!(times.windows(2).all(|t| t[1] > t[0]), "time goes on");
}

/// A server of one file: as a film (its length, and ranges of it), or as live (what comes until it hangs up). Its address, and
/// how often it was asked for the beginning.
fn http(path: &std::path::Path, live: bool) -> (String, Arc<AtomicUsize>) {
    let data: Arc<Vec<u8>> = Arc::new(std::fs::read(path).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let extension = path.extension().unwrap().to_string_lossy();
    let url = format!("http://{}/film.{extension}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let (data, counted) = (data.clone(), counted.clone());
            std::thread::spawn(move || {
                let mut reader = BufReader::new(&socket);
                let (mut from, mut line) = (0, String::new());
                while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                    if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                        from = range.split('-').next().unwrap().parse::<usize>().unwrap().min(data.len());
                    }
                    line.clear();
                }
                counted.fetch_add(usize::from(from == 0), Ordering::SeqCst);
                let head = match live {
                    true => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_string(),
                    false => format!(
                        "HTTP/1.1 206 Partial Content\r\nAccept-Ranges: bytes\r\nContent-Length: {}\r\n\
                         Content-Range: bytes {from}-{}/{}\r\nConnection: close\r\n\r\n",
                        data.len() - from,
                        data.len() - 1,
                        data.len()
                    ),
                };
                let data = if live { &data[..] } else { &data[from..] };
                // Who asks may have enough before the end.
                let _ = (&socket).write_all(head.as_bytes()).and_then(|()| (&socket).write_all(data));
            });
        }
    });
    (url, asked)
}

#[test]
fn a_film_from_a_web_server_is_played_once_and_at_its_own_speed() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["film.mp4", "film.mkv"] {
        let path = dir.path().join(name);
        clip(&path, "160x90", 3, "-bf 0");
        let (url, asked) = http(&path, false);
        let live = Live::new(true, 10);
        let pull = Pull::start(&live, "film", spec(PullSource::url(url))).unwrap();
        let reader = pull.stream().subscribe(Start::Group);
        let watched = std::thread::spawn(move || Seen::until_quiet(reader, Duration::from_secs(4)));
        reaches(&pull, PullState::Running);
        let (begun, opened) = (Instant::now(), asked.load(Ordering::SeqCst));
        reaches(&pull, PullState::Stopped);
        let took = begun.elapsed().as_secs_f64();
        assert!((2.3..4.5).contains(&took), "{name}: 3 s in {took}");
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(asked.load(Ordering::SeqCst), opened, "{name}: it is not fetched again");
        assert_eq!(pull.status().state, PullState::Stopped);
        assert!(live.publisher("film").is_none());
        drop(pull);
        let seen = watched.join().unwrap();
        assert_eq!(seen.rounds.len(), 1, "{name}");
        assert_eq!(shown(&seen.rounds[0].1, 0).len(), 75, "{name}: all of it");
    }
}

#[test]
fn what_has_no_length_is_taken_as_it_comes_and_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("live.ts");
    clip(&path, "160x90", 6, "-bf 0");
    let (url, asked) = http(&path, true);
    let live = Live::new(true, 10);
    let pull = Pull::start(&live, "cam", spec(PullSource::url(url))).unwrap();
    let mut reader = pull.stream().subscribe(Start::Group);
    let seen = during(&mut reader, Duration::from_secs(4));
    // 6 s of it were taken, and more.
    assert!(asked.load(Ordering::SeqCst) > 1 && seen.rounds.len() > 1, "{}", seen.rounds.len());
    assert_ne!(pull.status().state, PullState::Stopped);
}
