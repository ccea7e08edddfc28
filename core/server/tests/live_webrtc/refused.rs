//! What is refused, and that nobody else is disturbed by it.

use super::client::{Client, Setup, ask, offer};
use super::{feed, h264_info, start, wait_for};
use axum::http::{Method, StatusCode};
use bytes::Bytes;
use ghoststream::packet::{Codec, MediaKind, Packet, StreamInfo};
use ghoststream::time::Rational;
use ghoststream_server::config::Secret;
use ghoststream_server::live::keys::Keys;
use ghoststream_server::live::webrtc::WebRtcOptions;
use ghoststream_server::live::{Publisher, Stream};
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;
use str0m::format::Codec as RtpCodec;
use str0m::media::Direction;

const SDP: (&str, &str) = ("content-type", "application/sdp");
const FRAGMENT: (&str, &str) = ("content-type", "application/trickle-ice-sdpfrag");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_request_has_an_answer_that_says_why() {
    let options = WebRtcOptions { wait: Duration::from_millis(200), ..WebRtcOptions::default() };
    let (live, webrtc, router) = start(options);
    let feed = feed(&live, "cam", 50, 500);
    let good = offer(&Setup::new(Direction::SendOnly)).await.offer;
    let watch = offer(&Setup::new(Direction::RecvOnly)).await.offer;
    let hevc = offer(&Setup { codec: RtpCodec::H265, ..Setup::new(Direction::SendOnly) }).await.offer;
    let vp8 = offer(&Setup { codec: RtpCodec::Vp8, ..Setup::new(Direction::RecvOnly) }).await.offer;
    let without = |what: &str| -> String {
        good.lines().filter(|l| !l.starts_with(what)).flat_map(|l| [l, "\r\n"]).collect()
    };
    let kept = live.keep("later").unwrap();
    let long = "x".repeat(70_000);
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], String, u16, &'a str);
    let cases: Vec<Case<'_>> = vec![
        ("/whip/a", &[], good.clone(), 415, "application/sdp"),
        ("/whip/a", &[("content-type", "application/json")], good.clone(), 415, "application/json"),
        ("/whip/a", &[SDP], String::new(), 400, "v=0"),
        ("/whip/a", &[SDP], "v=0\r\nnonsense".into(), 400, "nonsense"),
        ("/whip/a", &[SDP], long, 413, "65536"),
        ("/whip/a", &[SDP], watch.clone(), 400, "sent"),
        ("/whip/a", &[SDP], without("a=fingerprint"), 400, "fingerprint"),
        ("/whip/a", &[SDP], without("a=ice-ufrag"), 400, "ice-ufrag"),
        ("/whip/a", &[SDP], hevc, 406, "H264"),
        ("/whip/cam", &[SDP], good.clone(), 409, "already"),
        ("/whip/.hidden", &[SDP], good.clone(), 400, "name"),
        ("/whip/a%20b", &[SDP], good.clone(), 400, "name"),
        ("/whip/a%2F..%2Fb", &[SDP], good.clone(), 400, "name"),
        ("/whep/nobody", &[SDP], watch.clone(), 404, "nobody"),
        ("/whep/later", &[SDP], watch.clone(), 503, "nobody publishes"),
        ("/whep/cam", &[SDP], good.clone(), 400, "received"),
        ("/whep/cam", &[SDP], vp8, 406, "no H264"),
    ];
    for (path, headers, body, status, why) in cases {
        let (got, headers, text) = ask(&router, Method::POST, path, headers, body).await;
        assert_eq!(got.as_u16(), status, "{path}: {text}");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let detail = json["detail"].as_str().unwrap();
        assert!(detail.contains(why), "{path}: {detail:?} says nothing of {why:?}");
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert_eq!(headers.contains_key("retry-after"), status == 503);
    }
    drop(kept);
    for (method, path, status) in [
        (Method::GET, "/whip/a", 405),
        (Method::DELETE, "/whip/a", 404),
        (Method::DELETE, "/whep/cam/7b6e1c4e-0000-4000-8000-000000000000", 404),
        (Method::PATCH, "/whep/cam/7b6e1c4e-0000-4000-8000-000000000000", 404),
        (Method::OPTIONS, "/whip/a", 204),
    ] {
        let (got, headers, text) = ask(&router, method.clone(), path, &[FRAGMENT], "").await;
        assert_eq!(got.as_u16(), status, "{method} {path}: {text}");
        if status == 204 {
            assert_eq!(headers["accept-post"], "application/sdp");
        }
    }
    assert!(webrtc.sessions().is_empty(), "nothing was begun");
    assert!(live.get("a").is_none());
    assert!(feed.publication.check().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_say_that_it_is_ice_lite_and_which_feedback_there_is() {
    let (_live, _webrtc, router) = start(WebRtcOptions::default());
    let good = offer(&Setup::new(Direction::SendOnly)).await.offer;
    let (status, _, answer) = ask(&router, Method::POST, "/whip/cam", &[SDP], good).await;
    assert_eq!(status.as_u16(), 201, "{answer}");
    let lines: Vec<&str> = answer.lines().collect();
    assert!(lines.contains(&"a=ice-lite"), "{answer}");
    for feedback in [" nack", " nack pli", " transport-cc"] {
        let has = |l: &str| l.starts_with("a=rtcp-fb:") && l.ends_with(feedback);
        assert!(lines.iter().any(|l| has(l)), "{feedback}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn candidates_that_come_later_are_taken() {
    let (live, _webrtc, router) = start(WebRtcOptions::default());
    let _feed = feed(&live, "cam", 50, 500);
    let mut client = Client::start(&router, "/whep/cam", Setup::new(Direction::RecvOnly)).await;
    let tag = client.headers["etag"].to_str().unwrap().to_string();
    let fragment = "a=ice-ufrag:x\r\na=candidate:1 1 udp 2113929471 192.0.2.7 5000 typ host\r\n\
        a=candidate:2 1 udp 2113929471 0b7a.local 5000 typ host\r\na=end-of-candidates\r\n";
    let path = client.location.clone();
    for (headers, body, status) in [
        (vec![FRAGMENT, ("if-match", tag.as_str())], fragment, 204),
        (vec![FRAGMENT], fragment, 204),
        (vec![FRAGMENT, ("if-match", "\"other\"")], fragment, 412),
        (vec![FRAGMENT, ("if-match", "*")], fragment, 422),
        (vec![SDP], fragment, 415),
        (vec![FRAGMENT], "{}", 400),
    ] {
        let (got, _, text) = ask(&router, Method::PATCH, &path, &headers, body).await;
        assert_eq!(got.as_u16(), status, "{headers:?}: {text}");
    }
    client.connected().await;
    client.frame(true).await;
}

/// Packets whose pictures are shown in another order.
fn reordered(stream: &Stream, base: Rational) -> Vec<Packet> {
    let _same_clock = stream.epoch();
    [0, 120, 40, 80]
        .into_iter()
        .enumerate()
        .map(|(n, pts)| {
            let mut packet = Packet::new(Bytes::from_static(&[0, 0, 0, 2, 0x41, 1]), pts, 40, base);
            (packet.key, packet.dts) = (n == 0, Some(n as i64 * 40 - 80));
            packet
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_webrtc_cannot_carry_is_refused_unless_there_is_something_that_fits() {
    let ms = Rational::new(1, 1000);
    let (live, _webrtc, router) = start(WebRtcOptions::default());
    let publication = live.publish("film", Publisher::new("test", None)).unwrap();
    let aac = StreamInfo::new(MediaKind::Audio, Codec::Aac, ms);
    publication.announce(vec![h264_info(), aac.clone()]).unwrap();
    for packet in reordered(publication.stream(), ms) {
        publication.push(packet).unwrap();
    }
    let refused = Client::try_start(&router, "/whep/film", Setup::new(Direction::RecvOnly)).await;
    let (status, why) = refused.err().unwrap();
    assert_eq!(status, StatusCode::NOT_ACCEPTABLE);
    assert!(why.contains("B-frames") && why.contains("rung"), "{why}");

    // Sound that cannot be carried is left out, and that is said.
    let feed = feed(&live, "live", 25, 500);
    feed.publication.announce(vec![h264_info(), aac]).unwrap();
    let mut client = Client::start(&router, "/whep/live", Setup::new(Direction::RecvOnly)).await;
    assert!(client.headers["ghoststream-note"].to_str().unwrap().contains("aac"));
    client.connected().await;
    assert!(client.frame(true).await.key);

    // With a stream that fits, that one is given.
    let fitting = live.get("live").unwrap();
    let options = WebRtcOptions {
        bind: "127.0.0.1:0".parse().unwrap(),
        fit: Some(Arc::new(move |name: &str| (name == "film").then(|| fitting.clone()))),
        ..WebRtcOptions::default()
    };
    let other = ghoststream_server::live::webrtc::WebRtc::start(live.clone(), options).unwrap();
    let mut client = Client::start(&other.router(), "/whep/film", Setup::new(Direction::RecvOnly)).await;
    client.connected().await;
    assert!(client.frame(true).await.key);
    other.shutdown().await;
    assert!(other.sessions().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_socket_disturbs_nobody() {
    let (live, webrtc, router) = start(WebRtcOptions::default());
    let _feed = feed(&live, "cam", 50, 2000);
    let mut client = Client::start(&router, "/whep/cam", Setup::new(Direction::RecvOnly)).await;
    client.connected().await;
    let target = webrtc.addresses()[0];
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut seed = 7u32;
    for n in 0..3000usize {
        let data: Vec<u8> = (0..n % 300)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as u8
            })
            .collect();
        let mut data = data;
        // Some look like STUN, DTLS and RTP.
        if let Some(first) = data.first_mut() {
            *first = [0, 22, 0x80, 255][n % 4];
        }
        if data.len() > 24 && n % 4 == 0 {
            data[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
        }
        noise.send_to(&data, target).unwrap();
    }
    wait_for(|| webrtc.stats().strays > 1000).await;
    let mut last = client.frame(true).await.micros;
    for _ in 0..50 {
        let time = client.frame(true).await.micros;
        assert!(time > last && time - last < 60_000, "no picture is missing");
        last = time;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_no_more_sessions_than_there_may_be() {
    let options = WebRtcOptions { sessions: 3, ..WebRtcOptions::default() };
    let (live, webrtc, router) = start(options);
    let _feed = feed(&live, "cam", 50, 500);
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client::start(&router, "/whep/cam", Setup::new(Direction::RecvOnly)).await);
    }
    let refused = Client::try_start(&router, "/whep/cam", Setup::new(Direction::RecvOnly)).await;
    assert_eq!(refused.err().unwrap().0, StatusCode::SERVICE_UNAVAILABLE);
    let gone = clients.remove(0);
    assert!(webrtc.end(gone.location.rsplit('/').next().unwrap()));
    wait_for(|| webrtc.sessions().len() == 2).await;
    let mut again = Client::start(&router, "/whep/cam", Setup::new(Direction::RecvOnly)).await;
    again.connected().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_key_nobody_publishes_or_watches() {
    let secret = |s: &str| Some(Secret::new(s));
    let keys = Keys { publish: secret("in"), read: secret("out"), ..Keys::default() };
    let (live, _webrtc, router) = start(WebRtcOptions { keys, ..WebRtcOptions::default() });
    let _feed = feed(&live, "cam", 50, 500);
    let publish = offer(&Setup::new(Direction::SendOnly)).await.offer;
    let watch = offer(&Setup::new(Direction::RecvOnly)).await.offer;
    for (path, key, offer, status) in [
        ("/whip/a", None, &publish, 401),
        ("/whip/a", Some("Bearer out"), &publish, 401),
        ("/whip/a?key=out", None, &publish, 401),
        ("/whip/a", Some("Bearer in"), &publish, 201),
        ("/whip/b?key=in", None, &publish, 201),
        ("/whep/cam", Some("Bearer in"), &watch, 401),
        ("/whep/cam", Some("bearer out"), &watch, 201),
    ] {
        let mut headers = vec![SDP];
        headers.extend(key.map(|k| ("authorization", k)));
        let (got, headers, text) = ask(&router, Method::POST, path, &headers, offer.clone()).await;
        assert_eq!(got.as_u16(), status, "{path} {key:?}: {text}");
        assert_eq!(headers.contains_key("www-authenticate"), status == 401);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mangled_offers_break_nothing() {
    let (live, webrtc, router) = start(WebRtcOptions::default());
    let _feed = feed(&live, "cam", 50, 500);
    let mut seed = 1u32;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below.max(1)
    };
    let mut answers = std::collections::BTreeMap::<u16, u32>::new();
    for round in 0..300 {
        let publish = round % 2 == 0;
        let direction = if publish { Direction::SendOnly } else { Direction::RecvOnly };
        let layers: &[&str] = if round % 4 == 0 { &["a", "b"] } else { &[] };
        let good = offer(&Setup { layers, ..Setup::new(direction) }).await.offer;
        let mut lines: Vec<String> = good.lines().map(String::from).collect();
        for _ in 0..=random(4) {
            let at = random(lines.len());
            match random(6) {
                0 => drop(lines.remove(at)),
                1 => lines.insert(at, lines[at].clone()),
                2 => {
                    let other = random(lines.len());
                    lines.swap(at, other);
                }
                3 => lines[at].truncate(random(30)),
                4 => {
                    let digits = |c: char| if c.is_ascii_digit() { '9' } else { c };
                    lines[at] = lines[at].chars().map(digits).collect();
                }
                _ => lines[at].push_str("\u{1F600};=/:x"),
            }
        }
        let (path, name) = (if publish { "/whip/" } else { "/whep/" }, if publish { "mine" } else { "cam" });
        let path = format!("{path}{name}");
        let (status, headers, text) =
            ask(&router, Method::POST, &path, &[SDP], lines.join("\r\n") + "\r\n").await;
        *answers.entry(status.as_u16()).or_default() += 1;
        match status.as_u16() {
            201 => {
                let location = headers["location"].to_str().unwrap();
                assert_eq!(ask(&router, Method::DELETE, location, &[], "").await.0, StatusCode::OK);
                wait_for(|| webrtc.sessions().is_empty()).await;
            }
            400 | 406 => assert!(text.contains("detail"), "{text}"),
            other => panic!("{other}: {text}"),
        }
    }
    eprintln!("mangled offers: {answers:?}");
    assert!(answers.contains_key(&201) && answers.contains_key(&400));
    let mut client = Client::start(&router, "/whep/cam", Setup::new(Direction::RecvOnly)).await;
    client.connected().await;
    client.frame(true).await;
}
