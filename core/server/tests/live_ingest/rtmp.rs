//! RTMP: what publishers and strangers do wrong. The client writes its own chunks, so that it can.

use crate::live_feed::*;
use bytes::{BufMut, BytesMut};
use ghoststream::Codec;
use ghoststream::packet::{MediaKind, Packet, StreamInfo};
use ghoststream::time::{MICROSECONDS, Rounding, TimeBase, rescale};
use ghoststream_server::config::Secret;
use ghoststream_server::live::keys::Keys;
use ghoststream_server::live::rtmp::{RtmpOptions, serve};
use ghoststream_server::live::{Live, Start};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::watch;

const WAIT: Duration = Duration::from_secs(20);
const QUIET: Duration = Duration::from_secs(2);
const MS: TimeBase = TimeBase::new(1, 1000);
const AUDIO: u8 = 8;
const VIDEO: u8 = 9;

/// A listener on a runtime of its own.
struct Stage {
    live: Live,
    at: SocketAddr,
    end: watch::Sender<bool>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Stage {
    fn new(change: impl FnOnce(&mut RtmpOptions)) -> Stage {
        crate::log();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let live = Live::new(true, 20);
        let (end, ending) = watch::channel(false);
        let mut options = RtmpOptions::default();
        change(&mut options);
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let at = listener.local_addr().unwrap();
        runtime.spawn(serve(listener, live.clone(), options, ending));
        Stage { live, at, end, runtime: Some(runtime) }
    }

    fn publish(&self, name: &str) -> Client {
        let mut client = Client::connect(self.at);
        client.begin("publish", name);
        client.await_text("NetStream.Publish.Start");
        client
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.end.send_replace(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

/// A client that understands of what it is told only the words.
struct Client {
    socket: TcpStream,
    heard: Vec<u8>,
}

impl Client {
    fn connect(at: SocketAddr) -> Client {
        let mut socket = TcpStream::connect(at).unwrap();
        socket.set_read_timeout(Some(WAIT)).unwrap();
        socket.write_all(&[&[3_u8][..], &[0; 1536]].concat()).unwrap();
        let mut answer = vec![0; 1 + 1536 + 1536];
        socket.read_exact(&mut answer).unwrap();
        socket.write_all(&answer[1..1537]).unwrap();
        Client { socket, heard: Vec::new() }
    }

    /// A message in chunks of 128 bytes; whether it could be written.
    fn send(&mut self, kind: u8, timestamp: u32, body: &[u8]) -> bool {
        let mut out = BytesMut::new();
        let lane = if kind == VIDEO { 6 } else { 4 };
        out.put_u8(lane);
        out.put_uint(u64::from(timestamp.min(0xff_ffff)), 3);
        out.put_uint(body.len() as u64, 3);
        out.put_u8(kind);
        out.put_u32_le(1);
        for (n, part) in body.chunks(128).enumerate() {
            if n > 0 {
                out.put_u8(0xc0 | lane);
            }
            if timestamp >= 0xff_ffff {
                out.put_u32(timestamp);
            }
            out.put_slice(part);
        }
        self.socket.write_all(&out).is_ok()
    }

    fn command(&mut self, name: &str, rest: &[u8]) {
        let mut body = BytesMut::new();
        text(&mut body, name);
        body.put_u8(0);
        body.put_f64(1.0);
        body.put_slice(rest);
        assert!(self.send(20, 0, &body));
    }

    /// `connect` to the part before the last slash, and `publish` or `play` of the rest.
    fn begin(&mut self, what: &str, name: &str) {
        let (app, name) = name.rsplit_once('/').unwrap_or(("", name));
        let mut object = BytesMut::new();
        object.put_u8(3);
        object.put_u16(3);
        object.put_slice(b"app");
        text(&mut object, app);
        object.put_slice(&[0, 0, 9]);
        self.command("connect", &object);
        self.command("createStream", &[5]);
        let mut rest = BytesMut::from(&[5_u8][..]);
        text(&mut rest, name);
        text(&mut rest, "live");
        self.command(what, &rest);
    }

    /// Reads until `text` was said.
    fn await_text(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&self.heard).contains(text) {
            let n = self.socket.read(&mut buffer).unwrap();
            assert!(n > 0, "closed before {text}: {}", String::from_utf8_lossy(&self.heard));
            self.heard.extend_from_slice(&buffer[..n]);
        }
    }

    /// Reads until the connection is closed.
    fn await_end(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => return,
                Err(e) => panic!("not closed: {e}"),
            }
        }
    }

    /// Says that nothing more comes, and waits until all of it was read: closing at once would take back what is on its way,
    /// for what the server said is unread.
    fn finish(mut self) {
        self.socket.shutdown(std::net::Shutdown::Write).unwrap();
        self.await_end();
    }

    /// Sends a clip at once, with `shift` added to its times; gives the time behind it.
    fn play(&mut self, (streams, packets): &(Vec<StreamInfo>, Vec<Packet>), shift: u32) -> u32 {
        let mut last = 0;
        for info in streams {
            let kind = if info.kind == MediaKind::Video { VIDEO } else { AUDIO };
            assert!(self.send(kind, shift, &config(info)));
        }
        let mut all: Vec<&Packet> = packets.iter().collect();
        all.sort_by_key(|p| p.decode().unwrap().micros());
        for packet in all {
            let info = &streams[packet.stream];
            let time = |t: i64| rescale(t, packet.base, MS, Rounding::Nearest);
            let (pts, dts) = (time(packet.pts.unwrap()), time(packet.dts.unwrap()));
            let at = shift.wrapping_add((dts.max(0)) as u32);
            let kind = if info.kind == MediaKind::Video { VIDEO } else { AUDIO };
            assert!(self.send(kind, at, &frame(info, packet, (pts - dts).max(0) as u32)));
            last = last.max(dts.max(0) as u32 + 40);
        }
        shift.wrapping_add(last)
    }
}

fn text(out: &mut BytesMut, text: &str) {
    out.put_u8(2);
    out.put_u16(text.len() as u16);
    out.put_slice(text.as_bytes());
}

fn config(info: &StreamInfo) -> Vec<u8> {
    let head: &[u8] = match info.codec {
        Codec::H264 => &[0x17, 0, 0, 0, 0],
        Codec::Hevc => b"\x90hvc1",
        _ => &[0xaf, 0],
    };
    [head, &info.extradata].concat()
}

fn frame(info: &StreamInfo, packet: &Packet, later: u32) -> Vec<u8> {
    let kind: u8 = if packet.key { 1 } else { 2 };
    let later = &later.to_be_bytes()[1..];
    let head = match info.codec {
        Codec::H264 => [&[kind << 4 | 7, 1][..], later].concat(),
        Codec::Hevc => [&[0x80 | kind << 4 | 1][..], b"hvc1", later].concat(),
        _ => vec![0xaf, 1],
    };
    [&head[..], &packet.data].concat()
}

fn media(dir: &Path, name: &str, args: &str) -> (Vec<StreamInfo>, Vec<Packet>) {
    let path = dir.join(name);
    ffmpeg(args, &path);
    read(&path)
}

const PICTURES: &str = "-f lavfi -i testsrc2=s=160x90:r=25:d=2";
const TONE: &str = "-f lavfi -i sine=sample_rate=48000:d=2";
const X264: &str = "-c:v libx264 -preset ultrafast -bf 2 -g 25 -pix_fmt yuv420p -c:a aac";

fn h264(dir: &Path) -> (Vec<StreamInfo>, Vec<Packet>) {
    media(dir, "h264.mp4", &format!("{PICTURES} {TONE} {X264}"))
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + WAIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn decode_times(seen: &Seen, stream: usize) -> Vec<i64> {
    let all = seen.rounds.iter().flat_map(|(_, packets)| packets);
    all.filter(|p| p.stream == stream).map(|p| p.decode().unwrap().micros()).collect()
}

#[test]
fn clocks_that_jump_back_or_by_all_their_bits_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let clip = h264(dir.path());
    let stage = Stage::new(|_| {});
    let reader = stage.live.keep("live/cam").unwrap().subscribe(Start::Next);
    let mut client = stage.publish("live/cam");
    // It wraps in the middle of it, goes back to the begin, and far ahead.
    for shift in [u32::MAX - 1000, 500, 1 << 31, 0] {
        client.play(&clip, shift);
    }
    client.finish();
    let seen = Seen::until_quiet(reader, QUIET);
    assert!(seen.rounds.len() == 1, "{}", seen.rounds.len());
    for (stream, count) in [(0, 190), (1, 340)] {
        let times = decode_times(&seen, stream);
        assert!(times.len() >= count, "{}", times.len());
        assert!(times.windows(2).all(|w| w[0] < w[1]), "{times:?}");
        // Four clips of 2 s, however they jump; a jump is set to the time of day.
        let length = times[times.len() - 1] - times[0];
        assert!(length < rescale(20, TimeBase::new(1, 1), MICROSECONDS, Rounding::Up), "{length} us");
    }
}

#[test]
fn another_codec_in_the_middle_is_announced() {
    let dir = tempfile::tempdir().unwrap();
    let first = h264(dir.path());
    let second = media(
        dir.path(),
        "hevc.mp4",
        &format!(
            "{PICTURES} {TONE} -c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=25:bframes=0 -pix_fmt yuv420p -c:a aac"
        ),
    );
    let stage = Stage::new(|_| {});
    let reader = stage.live.keep("live/cam").unwrap().subscribe(Start::Next);
    let mut client = stage.publish("live/cam");
    let next = client.play(&first, 0);
    client.play(&second, next);
    client.finish();
    let seen = Seen::until_quiet(reader, QUIET);
    let what: Vec<&str> = seen.rounds.iter().map(|(t, _)| t.streams[0].codec.name()).collect();
    assert_eq!(what, ["h264", "hevc"]);
    for (_, packets) in &seen.rounds {
        assert!(packets.iter().filter(|p| p.stream == 0).count() >= 45);
    }
}

#[test]
fn sound_alone_and_pictures_without_a_key_frame_for_long() {
    let dir = tempfile::tempdir().unwrap();
    let sound = media(dir.path(), "a.m4a", &format!("{TONE} -c:a aac"));
    let clip = h264(dir.path());
    let stage = Stage::new(|_| {});
    let radio = stage.live.keep("live/radio").unwrap().subscribe(Start::Next);
    let cam = stage.live.keep("live/cam").unwrap().subscribe(Start::Next);
    let mut on_air = stage.publish("live/radio");
    on_air.play(&sound, 0);
    let mut client = stage.publish("live/cam");
    // 40 s of pictures of which none can be begun with, then a key frame.
    let mut late = clip.clone();
    late.1.iter_mut().for_each(|p| p.key &= p.stream == 1);
    let mut at = 0;
    for _ in 0..20 {
        at = client.play(&late, at);
    }
    client.play(&clip, at);
    client.finish();
    on_air.finish();
    let heard = Seen::until_quiet(radio, QUIET);
    assert!(heard.rounds[0].0.streams.len() == 1 && heard.rounds[0].1.len() >= 90);
    let seen = Seen::until_quiet(cam, QUIET);
    let first = seen.rounds[0].1.iter().find(|p| p.stream == 0).unwrap();
    assert!(first.key, "pictures begin with a key frame");
    assert!(seen.rounds[0].1.iter().filter(|p| p.stream == 0).count() >= 49);
}

#[test]
fn who_stalls_is_let_go_and_who_comes_second_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let clip = h264(dir.path());
    let stage = Stage::new(|o| o.silence = Duration::from_secs(1));
    let mut stalls = stage.publish("live/stalls");
    stalls.play(&clip, 0);
    stalls.await_end();
    // Before anything was said.
    let mut silent = Client::connect(stage.at);
    silent.await_end();
    until("both are gone", || stage.live.list().is_empty().then_some(()));
    let mut first = stage.publish("live/cam");
    first.play(&clip, 0);
    let mut second = stage.publish("live/cam");
    second.play(&clip, 0);
    // The first one hears of it with its next picture.
    while first.send(AUDIO, 0, &[0xaf, 1, 0]) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(stage.live.publisher("live/cam").is_some());
}

#[test]
fn names_and_keys_that_cannot_be_are_refused() {
    let keys = Keys { publish: Some(Secret::new("in-key")), read: None, ..Keys::default() };
    let stage = Stage::new(|o| o.keys = keys);
    let long = format!("live/{}?key=in-key", "x".repeat(200));
    for (what, name, code) in [
        ("publish", "live/cam", "NetStream.Publish.BadName"),
        ("publish", "live/cam?key=other", "NetStream.Publish.BadName"),
        ("publish", "../../etc/passwd?key=in-key", "NetStream.Publish.BadName"),
        ("publish", "live/..?key=in-key", "NetStream.Publish.BadName"),
        ("publish", "live/a b\n?key=in-key", "NetStream.Publish.BadName"),
        ("publish", "/?key=in-key", "NetStream.Publish.BadName"),
        ("publish", &long, "NetStream.Publish.BadName"),
        ("play", "live/none", "NetStream.Play.StreamNotFound"),
        ("play", "../../etc/passwd", "NetStream.Play.StreamNotFound"),
    ] {
        let mut client = Client::connect(stage.at);
        client.begin(what, name);
        client.await_text(code);
        client.await_end();
    }
    assert!(stage.live.list().is_empty());
    drop(stage.publish("live/cam?key=in-key"));
}

#[test]
fn anything_but_rtmp_is_closed_and_disturbs_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let clip = h264(dir.path());
    let stage = Stage::new(|_| {});
    let reader = stage.live.keep("live/cam").unwrap().subscribe(Start::Next);
    let mut good = stage.publish("live/cam");
    let mut seed = 3_u32;
    let mut random = |n: usize| -> Vec<u8> {
        let mut byte = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        };
        (0..n).map(|_| byte()).collect()
    };
    // Another protocol.
    let mut http = TcpStream::connect(stage.at).unwrap();
    http.set_read_timeout(Some(WAIT)).unwrap();
    http.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut client = Client { socket: http, heard: Vec::new() };
    client.await_end();
    // A handshake, and then noise.
    for _ in 0..20 {
        let mut noise = Client::connect(stage.at);
        let _closed = noise.socket.write_all(&random(200_000));
        drop(noise);
    }
    // A message that never ends: of 16 MB, of which nothing more comes; and commands nested without end.
    let mut large = Client::connect(stage.at);
    large.socket.write_all(&[4, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0, 1]).unwrap();
    let mut nested = Client::connect(stage.at);
    let deep: Vec<u8> = b"\x03\0\x01a".repeat(50_000);
    nested.command("connect", &deep);
    nested.await_end();
    // Media nobody asked for, damaged media, and a codec that is none.
    let mut early = Client::connect(stage.at);
    early.send(VIDEO, 0, &[0x17, 0, 0, 0, 0]);
    early.await_end();
    let mut damaged = stage.publish("live/damaged");
    for n in 0..200 {
        damaged.send(VIDEO, n, &[0x17, 0, 0, 0, 0, 1, 2, 3]);
    }
    damaged.send(AUDIO, 0, &[0x2f, 1, 2, 3]);
    damaged.await_end();
    good.play(&clip, 0);
    drop((good, large));
    let seen = Seen::until_quiet(reader, QUIET);
    assert!(seen.rounds[0].1.iter().filter(|p| p.stream == 0).count() >= 49);
}

#[test]
fn many_who_do_nothing_are_bounded_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let clip = h264(dir.path());
    let stage = Stage::new(|o| o.connections = 401);
    let reader = stage.live.keep("live/cam").unwrap().subscribe(Start::Next);
    let idle: Vec<TcpStream> = (0..400).map(|_| TcpStream::connect(stage.at).unwrap()).collect();
    let mut good = stage.publish("live/cam");
    // One too many is closed at once.
    let mut late = TcpStream::connect(stage.at).unwrap();
    late.set_read_timeout(Some(WAIT)).unwrap();
    assert!(matches!(late.read(&mut [0]), Ok(0) | Err(_)));
    good.play(&clip, 0);
    drop(good);
    let seen = Seen::until_quiet(reader, QUIET);
    assert!(seen.rounds[0].1.len() > 100);
    drop(idle);
    until("there is room again", || {
        let mut socket = TcpStream::connect(stage.at).ok()?;
        socket.set_read_timeout(Some(WAIT)).ok()?;
        socket.write_all(&[&[3_u8][..], &[0; 1536]].concat()).ok()?;
        socket.read_exact(&mut [0; 1537]).ok()
    });
}
