//! SRT. The callers are libsrt's sockets, which say why they are refused, and Debian's FFmpeg.

use crate::live_feed::*;
use bytes::Bytes;
use ghoststream::packet::{Packet, StreamInfo};
use ghoststream::srt::{self, Kind, PAYLOAD, Socket};
use ghoststream_server::config::Secret;
use ghoststream_server::live::keys::Keys;
use ghoststream_server::live::{Live, Publisher, Reader, Srt, SrtOptions, Start, Stream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(20);
const QUIET: Duration = Duration::from_secs(3);

struct Stage {
    live: Live,
    srt: Srt,
    dir: tempfile::TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.srt.close();
    }
}

/// A listener; `None`, said aloud, where there is no libsrt.
fn stage(live: Live, change: impl FnOnce(&mut SrtOptions)) -> Option<Stage> {
    crate::log();
    if let Err(e) = srt::available() {
        assert!(std::env::var_os("GS_REQUIRE_PEERS").is_none(), "{e}");
        eprintln!("skipped: {e}");
        return None;
    }
    let mut options = SrtOptions::new(([127, 0, 0, 1], 0).into());
    change(&mut options);
    let srt = Srt::start(live.clone(), options).unwrap();
    Some(Stage { live, srt, dir: tempfile::tempdir().unwrap() })
}

fn plain() -> Option<Stage> {
    stage(Live::new(true, 20), |_| {})
}

impl Stage {
    fn call(&self, id: &str, passphrase: Option<&str>) -> srt::Result<Socket> {
        let options = srt::Options {
            stream_id: Some(id.into()),
            passphrase: passphrase.map(String::from),
            ..srt::Options::default()
        };
        Socket::connect(self.srt.address(), &options, &|| false)
    }

    /// A clip as a transport stream; `more` are FFmpeg's options.
    fn clip(&self, name: &str, size: &str, seconds: u32, more: &str) -> Vec<u8> {
        let path = self.dir.path().join(format!("{name}.ts"));
        clip(&path, size, seconds, more);
        std::fs::read(path).unwrap()
    }

    fn stream(&self, name: &str) -> Arc<Stream> {
        until(&format!("{name} is published"), || self.live.get(name).filter(|s| s.tracks().is_some()))
    }
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

/// Sends `seconds` of media in their time.
fn send(socket: &Socket, data: &[u8], seconds: f64) {
    let begin = Instant::now();
    for (n, message) in data.chunks(PAYLOAD).enumerate() {
        let due = Duration::from_secs_f64(seconds * (n * PAYLOAD) as f64 / data.len() as f64);
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
        if socket.send(message, WAIT).is_err() {
            return;
        }
    }
    socket.drain(WAIT);
}

/// Whether the other side ends the connection.
fn is_ended(socket: &Socket) -> bool {
    let end = Instant::now() + WAIT;
    while Instant::now() < end {
        if !socket.is_connected() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

fn seen(reader: Reader) -> Seen {
    Seen::until_quiet(reader, QUIET)
}

/// A transport stream looked at by ffprobe: codec and frames of each track. Its complaints fail the test.
fn probed(data: &[u8], path: &Path) -> Vec<(String, u32)> {
    std::fs::write(path, data).unwrap();
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
    assert!(out.status.success() && said.is_empty(), "{said}");
    let text = String::from_utf8(out.stdout).unwrap();
    let mut all: Vec<(String, u32)> = text
        .lines()
        .filter_map(|l| Some((l.split(',').next()?.into(), l.split(',').nth(1)?.parse().ok()?)))
        .collect();
    // Those of a program are listed twice.
    if all.len() > 2 {
        all.truncate(2);
    }
    all
}

fn rises(packets: &[Packet], stream: usize) {
    let times: Vec<i64> =
        packets.iter().filter(|p| p.stream == stream).map(|p| p.decode().unwrap().micros()).collect();
    assert!(times.windows(2).all(|w| w[0] < w[1]), "{times:?}");
}

/// What a reader by SRT gets until the end of the stream.
fn collect(socket: &Socket) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; PAYLOAD]);
    while let Ok(n) = socket.recv(&mut buffer, WAIT) {
        assert!(n > 0 && n % 188 == 0, "{n} bytes");
        all.extend_from_slice(&buffer[..n]);
    }
    all
}

#[test]
fn what_is_published_is_a_stream_and_is_read_again() {
    let Some(stage) = plain() else { return };
    let clip = stage.clip("a", "320x180", 4, "-bf 2");
    let kept = stage.live.keep("live/cam").unwrap();
    let reader = kept.subscribe(Start::Group);
    let publisher = stage.call("#!::r=live/cam,m=publish", None).unwrap();
    let (out, link) = std::thread::scope(|scope| {
        scope.spawn(|| send(&publisher, &clip, 4.0));
        stage.stream("live/cam");
        let mine = stage.call("read:live/cam", None).unwrap();
        let out = scope.spawn(move || collect(&mine));
        let link = until("the connection's figures", || kept.stats().link.filter(|l| l.packets > 0));
        until("the readers' figures", || {
            let all = stage.srt.connections();
            (all.len() == 2 && all.iter().any(|c| !c.publishes && c.stats.packets_sent > 0)).then_some(())
        });
        until("the end", || (kept.stats().tracks.first()?.packets >= 98).then_some(()));
        publisher.close();
        until("away", || kept.tracks().is_none().then_some(()));
        stage.live.forget("live/cam");
        (out.join().unwrap(), link)
    });
    assert!(link.bitrate > 100_000.0 && link.dropped == 0, "{link:?}");
    let seen = seen(reader);
    assert_eq!((seen.rounds.len(), seen.away, seen.ended), (1, 1, true));
    let (tracks, packets) = &seen.rounds[0];
    let what: Vec<&str> = tracks.streams.iter().map(|s| s.codec.name()).collect();
    assert_eq!(what, ["h264", "aac"]);
    assert_eq!(tracks.streams[0].extradata.first(), Some(&1), "avcC");
    assert_eq!(tracks.streams[0].video.as_ref().map(|v| (v.width, v.height)), Some((320, 180)));
    assert!(tracks.streams[1].extradata.len() >= 2, "an AudioSpecificConfig");
    let pictures: Vec<&Packet> = packets.iter().filter(|p| p.stream == 0).collect();
    assert!((98..=100).contains(&pictures.len()), "{}", pictures.len());
    for picture in pictures {
        let length = u32::from_be_bytes(picture.data[..4].try_into().unwrap());
        assert!((length as usize) < picture.data.len(), "length-prefixed");
    }
    assert!(packets.iter().all(|p| p.stream == 0 || p.data.first() != Some(&0xff)), "no ADTS headers");
    rises(packets, 0);
    rises(packets, 1);
    let read = probed(&out, &stage.dir.path().join("read.ts"));
    assert_eq!(read.iter().map(|(codec, _)| codec.as_str()).collect::<Vec<_>>(), ["h264", "aac"]);
    assert!(read[0].1 >= 70 && read[1].1 >= 130, "{read:?}");
}

#[test]
fn ffmpeg_publishes_hevc_and_reads_it() {
    let Some(stage) = plain() else { return };
    let clip = stage.dir.path().join("a.mp4");
    ffmpeg(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=6 -f lavfi -i sine=sample_rate=48000:d=6 -c:v libx265 -preset ultrafast \
         -x265-params log-level=error:keyint=25 -pix_fmt yuv420p -c:a aac",
        &clip,
    );
    let at = stage.srt.address();
    let mut publisher = Command::new("ffmpeg")
        .args(["-v", "error", "-re", "-i"])
        .arg(&clip)
        .args(["-c", "copy", "-f", "mpegts", &format!("srt://{at}?streamid=publish:cam")])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    stage.stream("cam");
    let out = stage.dir.path().join("o.mkv");
    let reader = Command::new("ffmpeg")
        .args(["-v", "error", "-i", &format!("srt://{at}?streamid=read:cam"), "-c", "copy", "-t", "2"])
        .arg(&out)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(reader.status.success(), "{}", String::from_utf8_lossy(&reader.stderr));
    assert!(publisher.wait().unwrap().success());
    let read = probed(&std::fs::read(&out).unwrap(), &stage.dir.path().join("read.mkv"));
    assert_eq!(read[0].0, "hevc");
    assert!((48..=56).contains(&read[0].1) && read[1].0 == "aac", "{read:?}");
}

#[test]
fn who_may_not_is_told_why() {
    let keys =
        Keys { publish: Some(Secret::new("in-key")), read: Some(Secret::new("out-key")), ..Keys::default() };
    let Some(stage) = stage(Live::new(false, 2), |o| o.keys = keys) else { return };
    let _kept = stage.live.keep("cam").unwrap();
    let _taken = stage.live.publish("taken", Publisher::new("test", None)).unwrap();
    let long = format!("publish:{}:in-key", "x".repeat(200));
    for (id, said) in [
        ("", "does not understand"),
        ("publish:cam", "not authorised"),
        ("publish:cam:out-key", "not authorised"),
        ("read:cam", "not authorised"),
        ("cam", "not authorised"),
        ("#!::r=cam,m=publish,key=no", "not authorised"),
        ("#!::r=cam,m=bidirectional,key=in-key", "not in this mode"),
        ("#!::r=cam,m=publish,x=in-key", "does not understand"),
        ("publish:../../etc/passwd:in-key", "does not understand"),
        ("publish:a/../b:in-key", "does not understand"),
        ("publish:a b:in-key", "does not understand"),
        (&long, "does not understand"),
        ("read:none:out-key", "no such stream"),
        ("publish:taken:in-key", "published already"),
        ("publish:third:in-key", "overloaded"),
    ] {
        let e = stage.call(id, None).unwrap_err();
        assert!(e.kind == Kind::Denied && e.to_string().contains(said), "{id}: {e}");
    }
    for id in ["publish:cam:in-key", "#!::r=cam?key=out-key", "#!::r=cam,m=request,s=out-key"] {
        stage.call(id, None).unwrap();
    }
}

#[test]
fn without_the_passphrase_nobody_comes_in() {
    let Some(stage) = stage(Live::new(true, 9), |o| o.passphrase = Some(Secret::new("0123456789"))) else {
        return;
    };
    for passphrase in [None, Some("9876543210")] {
        let e = stage.call("publish:cam", passphrase).unwrap_err();
        assert!(e.kind == Kind::Denied && e.to_string().contains("passphrase"), "{e}");
    }
    let socket = stage.call("publish:cam", Some("0123456789")).unwrap();
    until("it publishes", || stage.live.publisher("cam"));
    drop(socket);
    until("it is gone", || stage.live.get("cam").is_none().then_some(()));
}

#[test]
fn a_second_publisher_takes_over_and_readers_go_on() {
    let Some(stage) = plain() else { return };
    let clip = stage.clip("a", "320x180", 3, "");
    let reader = stage.live.keep("cam").unwrap().subscribe(Start::Next);
    let first = stage.call("publish:cam", None).unwrap();
    send(&first, &clip, 2.0);
    stage.stream("cam");
    let second = stage.call("publish:cam", None).unwrap();
    assert!(is_ended(&first));
    send(&second, &clip, 2.0);
    drop(second);
    let seen = seen(reader);
    assert_eq!((seen.rounds.len(), seen.away), (2, 2));
    let both: Vec<Packet> = seen.rounds.iter().flat_map(|(_, packets)| packets.clone()).collect();
    rises(&both, 0);
    rises(&both, 1);
}

#[test]
fn what_is_no_transport_stream_is_ended_and_disturbs_nobody() {
    let Some(stage) = plain() else { return };
    let clip = stage.clip("a", "320x180", 3, "");
    let good = stage.call("publish:good", None).unwrap();
    let reader = stage.live.keep("good").unwrap().subscribe(Start::Next);
    std::thread::scope(|scope| {
        scope.spawn(|| send(&good, &clip, 3.0));
        let bad = stage.call("publish:bad", None).unwrap();
        let mut seed = 1_u32;
        let mut message = [0; PAYLOAD];
        let end = Instant::now() + WAIT;
        while bad.is_connected() {
            message.fill_with(|| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as u8
            });
            // It ends in the middle of it.
            let _ended = bad.send(&message, WAIT);
            assert!(Instant::now() < end, "random bytes are taken");
            std::thread::sleep(Duration::from_millis(2));
        }
        until("it is gone", || stage.live.get("bad").is_none().then_some(()));
        // Packets with nothing in them: there is never anything to publish.
        let empty = stage.call("publish:empty", None).unwrap();
        let mut packet = [0xff; 188];
        packet[..4].copy_from_slice(&[0x47, 0x1f, 0xff, 0x10]);
        for _ in 0..100 {
            empty.send(&packet.repeat(7), WAIT).unwrap();
        }
        until("it waits", || stage.live.get("empty").filter(|s| s.tracks().is_none()));
    });
    let pictures = &seen(reader).rounds[0].1;
    assert!(pictures.iter().filter(|p| p.stream == 0).count() >= 73);
}

#[test]
fn other_codecs_and_sizes_in_the_middle_are_announced() {
    let Some(stage) = plain() else { return };
    let h264 = stage.clip("a", "320x180", 2, "");
    let larger = stage.clip("b", "640x360", 2, "");
    let hevc = stage.dir.path().join("c.ts");
    ffmpeg(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=2 -f lavfi -i sine=sample_rate=48000:d=2 -c:v libx265 -preset ultrafast \
         -x265-params log-level=error:keyint=25 -pix_fmt yuv420p -c:a aac -shortest",
        &hevc,
    );
    let hevc = std::fs::read(hevc).unwrap();
    let reader = stage.live.keep("cam").unwrap().subscribe(Start::Next);
    let publisher = stage.call("publish:cam", None).unwrap();
    for clip in [&h264, &larger, &hevc] {
        send(&publisher, clip, 2.0);
    }
    drop(publisher);
    let seen = seen(reader);
    let what: Vec<(String, u32)> = seen
        .rounds
        .iter()
        .map(|(tracks, _)| {
            let info: &StreamInfo = &tracks.streams[0];
            (info.codec.name().into(), info.video.as_ref().unwrap().width)
        })
        .collect();
    assert_eq!(what, [("h264".into(), 320), ("h264".into(), 640), ("hevc".into(), 320)]);
    for (_, packets) in &seen.rounds {
        assert!(packets.iter().filter(|p| p.stream == 0).count() >= 45, "{}", packets.len());
    }
    let all: Vec<Packet> = seen.rounds.iter().flat_map(|(_, packets)| packets.clone()).collect();
    rises(&all, 0);
    rises(&all, 1);
}

#[test]
fn clocks_that_jump_and_wrap_go_on() {
    let Some(stage) = plain() else { return };
    // 33 bits of 90 kHz: it wraps after a second. Then back by a day, and ahead by one.
    let clips = ["95442.7", "1000", "70000"].map(|offset| {
        let path = stage.dir.path().join(format!("{offset}.ts"));
        clip(&path, "320x180", 2, &format!("-output_ts_offset {offset}"));
        std::fs::read(path).unwrap()
    });
    let reader = stage.live.keep("cam").unwrap().subscribe(Start::Next);
    let publisher = stage.call("publish:cam", None).unwrap();
    for clip in &clips {
        send(&publisher, clip, 2.0);
    }
    drop(publisher);
    let seen = seen(reader);
    let packets: Vec<Packet> = seen.rounds.iter().flat_map(|(_, packets)| packets.clone()).collect();
    rises(&packets, 0);
    rises(&packets, 1);
    let times = shown(&packets, 0);
    assert!(times.len() >= 145, "{}", times.len());
    let length = (times[times.len() - 1] - times[0]) as f64 / 1e6;
    assert!((5.0..9.0).contains(&length), "{length} s");
}

#[test]
fn a_publisher_that_says_nothing_is_let_go() {
    let Some(stage) = stage(Live::new(true, 9), |o| o.silence = Duration::from_secs(1)) else { return };
    let clip = stage.clip("a", "320x180", 2, "");
    let silent = stage.call("publish:silent", None).unwrap();
    let stalls = stage.call("publish:stalls", None).unwrap();
    send(&stalls, &clip, 1.0);
    stage.stream("stalls");
    assert!(is_ended(&silent) && is_ended(&stalls));
    until("both are gone", || stage.live.list().is_empty().then_some(()));
}

#[test]
fn sound_alone_is_a_stream() {
    let Some(stage) = plain() else { return };
    let path = stage.dir.path().join("a.ts");
    ffmpeg("-f lavfi -i sine=sample_rate=48000:d=3 -c:a aac", &path);
    let reader = stage.live.keep("radio").unwrap().subscribe(Start::Next);
    let publisher = stage.call("publish/radio", None).unwrap();
    send(&publisher, &std::fs::read(path).unwrap(), 3.0);
    drop(publisher);
    let seen = seen(reader);
    assert_eq!(seen.rounds[0].0.streams.len(), 1);
    assert!(seen.rounds[0].1.len() >= 130, "{}", seen.rounds[0].1.len());
}

#[test]
fn many_who_do_nothing_are_counted_and_the_rest_goes_on() {
    let Some(stage) = stage(Live::new(true, 100), |o| o.connections = 61) else { return };
    let _kept = stage.live.keep("later").unwrap();
    let idle: Vec<Socket> = (0..60)
        .map(|n| {
            stage.call(&if n % 2 == 0 { format!("publish:idle/{n}") } else { "later".into() }, None).unwrap()
        })
        .collect();
    let clip = stage.clip("a", "320x180", 2, "");
    let publisher = stage.call("publish:cam", None).unwrap();
    let e = stage.call("later", None).unwrap_err();
    assert!(e.to_string().contains("overloaded"), "{e}");
    send(&publisher, &clip, 1.0);
    stage.stream("cam");
    assert_eq!(stage.srt.connections().len(), 61);
    drop(idle);
    until("there is room again", || (stage.srt.connections().len() == 1).then_some(()));
}

#[test]
fn a_reader_that_takes_nothing_holds_up_nobody() {
    let Some(stage) = plain() else { return };
    let (streams, packets) = read(&{
        let path = stage.dir.path().join("a.mp4");
        clip(&path, "320x180", 1, "");
        path
    });
    let publication = stage.live.publish("cam", Publisher::new("test", None)).unwrap();
    publication.announce(streams).unwrap();
    let lazy = stage.call("cam", None).unwrap();
    until("it reads", || (publication.stream().readers() == 1).then_some(()));
    // Pictures so large that every buffer is full soon: the first one with filler behind it.
    let picture = packets.iter().find(|p| p.key && p.stream == 0).unwrap();
    let filler = [&(1_u32 << 20).to_be_bytes()[..], &[12], &vec![0xff; (1 << 20) - 1]].concat();
    let data = Bytes::from([&picture.data[..], &filler].concat());
    let mut slowest = Duration::ZERO;
    until("packets are dropped, and counted", || {
        for n in 0..4_i64 {
            let mut packet = Packet::new(data.clone(), 0, 0, picture.base);
            (packet.pts, packet.dts, packet.key) = (None, None, true);
            packet.duration = n;
            let begin = Instant::now();
            publication.push(packet).unwrap();
            slowest = slowest.max(begin.elapsed());
        }
        let all = stage.srt.connections();
        all.first().filter(|c| c.dropped + c.stats.send_dropped > 0).map(|_| ())
    });
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    drop(lazy);
}
