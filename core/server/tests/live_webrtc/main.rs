//! WHIP and WHEP against a client of str0m's over loopback. The pictures are made up: what is carried is what has to come
//! out, byte for byte; players and encoders are met in `tests/live`.

mod client;
mod network;
mod refused;

use axum::Router;
use axum::http::{Method, StatusCode};
use bytes::Bytes;
use client::{Client, Got, Send, Setup, ask};
use ghoststream::package::bitstream::nal::{push_annex_b, push_length_prefixed};
use ghoststream::package::bitstream::{h264, nal};
use ghoststream::packet::{Codec, MediaKind, Packet, StreamInfo};
use ghoststream::time::Rational;
use ghoststream_server::live::webrtc::{WebRtc, WebRtcOptions};
use ghoststream_server::live::{Item, Live, Publication, Publisher, Start};
use std::sync::Arc;
use std::time::{Duration, Instant};
use str0m::media::Direction;

/// 320x180, constrained baseline, by x264.
const SPS: &[u8] = &[
    0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00,
    0x00, 0x03, 0x03, 0xc0, 0xf1, 0x42, 0xa4, 0x80,
];
const PPS: &[u8] = &[0x68, 0xcb, 0x8c, 0xb2];
const MS: Rational = Rational::new(1, 1000);

fn start(options: WebRtcOptions) -> (Live, WebRtc, Router) {
    let live = Live::new(false, 100);
    let options = WebRtcOptions { bind: "127.0.0.1:0".parse().unwrap(), ..options };
    let webrtc = WebRtc::start(live.clone(), options).unwrap();
    let router = webrtc.router();
    (live, webrtc, router)
}

/// A slice that says which one it is, of `size` bytes, and has nothing that looks like a start code.
fn slice(key: bool, number: u32, size: usize) -> Vec<u8> {
    let mut unit = vec![if key { 0x65 } else { 0x41 }];
    unit.extend(format!("{number:08}").bytes());
    unit.resize(size.max(10), 0xaa);
    unit
}

fn number(unit: &[u8]) -> u32 {
    std::str::from_utf8(&unit[1..9]).unwrap().parse().unwrap()
}

/// The stream's H.264, as an ingest would announce it.
fn h264_info() -> StreamInfo {
    let mut parameters = Vec::new();
    push_annex_b(&mut parameters, SPS);
    push_annex_b(&mut parameters, PPS);
    let mut info = StreamInfo::new(MediaKind::Video, Codec::H264, MS);
    info.extradata = h264::Config::from_annex_b(&parameters).unwrap().to_avcc().into();
    info
}

fn opus_info() -> StreamInfo {
    StreamInfo::new(MediaKind::Audio, Codec::Opus, Rational::new(1, 48_000))
}

/// A publisher at 50 pictures and 50 sounds a second.
struct Feed {
    publication: Arc<Publication>,
    began: Instant,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Key frames come every `group`; picture `n` is pushed 20 ms × n after `began`.
fn feed(live: &Live, name: &str, group: u32, size: usize) -> Feed {
    let publication = Arc::new(live.publish(name, Publisher::new("test", None)).unwrap());
    publication.announce(vec![h264_info(), opus_info()]).unwrap();
    let began = Instant::now();
    let to = publication.clone();
    let task = tokio::spawn(async move {
        for n in 0u32.. {
            tokio::time::sleep_until((began + Duration::from_millis(20) * n).into()).await;
            let key = n % group == 0;
            let mut data = Vec::new();
            push_length_prefixed(&mut data, &slice(key, n, if key { size * 4 } else { size }));
            let mut packet = Packet::new(data.into(), i64::from(n) * 20, 20, MS);
            packet.key = key;
            let mut sound = Packet::new(
                Bytes::from(vec![0x78, n as u8, 3]),
                i64::from(n) * 960,
                960,
                opus_info().time_base,
            );
            sound.stream = 1;
            if to.push(packet).and_then(|()| to.push(sound)).is_err() {
                return;
            }
        }
    });
    Feed { publication, began, task }
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values[values.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_gets_the_stream_from_its_last_key_frame_without_delay() {
    let (live, webrtc, router) = start(WebRtcOptions::default());
    let feed = feed(&live, "studio/a", 100, 5000);
    tokio::time::sleep(Duration::from_millis(700)).await;
    let asked = Instant::now();
    let mut client = Client::start(&router, "/whep/studio/a", Setup::new(Direction::RecvOnly)).await;
    assert!(client.location.starts_with("/whep/studio/a/"), "{}", client.location);
    assert!(client.headers.contains_key("etag"));
    client.connected().await;
    let first = client.frame(true).await;
    eprintln!("WHEP: first picture {:?} after the request", first.at - asked);
    assert!(first.key);
    let units: Vec<&[u8]> = nal::annex_b_units(&first.data).collect();
    assert_eq!(units[..2], [SPS, PPS]);
    assert_eq!(number(units[2]), 0, "the newest key frame that has been");
    let (mut last, mut time, mut late) = (0, first.micros, Vec::new());
    while last < 120 {
        let frame = client.frame(true).await;
        let unit = nal::annex_b_units(&frame.data).last().unwrap().to_vec();
        assert_eq!(number(&unit), last + 1, "none is missing, none comes twice");
        assert_eq!(unit, slice(frame.key, last + 1, unit.len()), "as it was published");
        assert!(frame.micros > time);
        (last, time) = (last + 1, frame.micros);
        if last > 60 {
            late.push(frame.at - (feed.began + Duration::from_millis(20) * last));
        }
    }
    let sound = client.frame(false).await;
    assert_eq!(sound.data.len(), 3);
    let (middle, most) = (median(late.clone()), late.iter().max().copied().unwrap());
    eprintln!("WHEP: pictures {middle:?} after they were published (median), {most:?} at most");
    assert!(middle < Duration::from_millis(50), "{middle:?}");
    let stats = webrtc.sessions().remove(0);
    assert!(stats.connected && stats.bytes_out > 100_000 && stats.packets_out > 100, "{stats:?}");
    assert_eq!((stats.protocol, stats.stream.as_str(), stats.dropped), ("whep", "studio/a", 0));

    // DELETE ends it, once.
    let (status, ..) = ask(&router, Method::DELETE, &client.location, &[], "").await;
    assert_eq!(status, StatusCode::OK);
    while !matches!(client.next().await, Got::Closed) {}
    wait_for(|| webrtc.sessions().is_empty()).await;
    let (status, _, body) = ask(&router, Method::DELETE, &client.location, &[], "").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    assert!(feed.publication.check().is_ok(), "the publisher goes on");
}

async fn wait_for(mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !done() {
        assert!(Instant::now() < end, "not within five seconds");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends pictures and sounds as an encoder would: a key frame first and whenever one is wanted.
async fn publish(client: &mut Client, frames: u32) -> usize {
    let (mut wanted, mut asked) = (true, 0);
    for n in 0..frames {
        while let Ok(got) = client.got.try_recv() {
            if matches!(got, Got::KeyWanted(_)) {
                (wanted, asked) = (true, asked + 1);
            }
        }
        let mut data = Vec::new();
        if wanted {
            push_annex_b(&mut data, SPS);
            push_annex_b(&mut data, PPS);
        }
        push_annex_b(&mut data, &slice(wanted, n, 3000));
        let n = u64::from(n);
        client.send.send(Send { video: true, layer: None, ticks: 70_000 + n * 1800, data }).unwrap();
        let data = vec![0x78, n as u8, 9];
        client.send.send(Send { video: false, layer: None, ticks: 9_000_000 + n * 960, data }).unwrap();
        wanted = false;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_becomes_a_stream() {
    let options = WebRtcOptions { key_frames: Duration::from_secs(1), ..WebRtcOptions::default() };
    let (live, webrtc, router) = start(options);
    let mut client = Client::start(&router, "/whip/cam", Setup::new(Direction::SendOnly)).await;
    client.connected().await;
    let stream = live.get("cam").unwrap();
    let mut reader = stream.subscribe(Start::Next);
    let asked = publish(&mut client, 130).await;
    assert!(asked >= 2, "a key frame was asked for every second: {asked}");
    let (mut pictures, mut sounds, mut keys, mut tracks) = (Vec::new(), 0, 0, None);
    while let Some(item) = reader.try_next() {
        match item {
            Item::Tracks(t) => tracks = Some(t),
            Item::Packet(p) if p.stream == 0 => {
                let units = nal::Framing::Length(4).units(&p.data).unwrap();
                assert_eq!(units.len(), 1, "the parameter sets are in the extradata");
                pictures.push((number(units[0]), p.pts.unwrap(), p.dts.unwrap()));
                keys += u32::from(p.key);
            }
            Item::Packet(_) => sounds += 1,
            other => panic!("{other:?}"),
        }
    }
    let tracks = tracks.expect("tracks");
    let names: Vec<&str> = tracks.streams.iter().map(|s| s.codec.name()).collect();
    assert_eq!(names, ["h264", "opus"]);
    assert_eq!(tracks.streams[0].video.as_ref().unwrap().width, 320);
    assert_eq!(tracks.streams[0].extradata, h264_info().extradata);
    assert!(pictures.len() > 110 && sounds > 110 && keys >= 3, "{} {sounds} {keys}", pictures.len());
    for pair in pictures.windows(2) {
        assert_eq!(pair[1].0, pair[0].0 + 1);
        let step = pair[1].1 - pair[0].1;
        assert!((1700..1900).contains(&step), "a picture every 20 ms: {step}");
        assert_eq!(pair[1].1, pair[1].2);
    }
    let stats = webrtc.sessions().remove(0);
    assert!(stats.packets_in > 200 && stats.key_frame_requests > 0 && stats.peer.is_some(), "{stats:?}");

    // Nobody else may publish it; when the client ends it, it is over.
    let refused = Client::try_start(&router, "/whip/cam", Setup::new(Direction::SendOnly)).await;
    assert_eq!(refused.err().unwrap().0, StatusCode::CONFLICT);
    ask(&router, Method::DELETE, &client.location, &[], "").await;
    wait_for(|| live.get("cam").is_none()).await;
}
