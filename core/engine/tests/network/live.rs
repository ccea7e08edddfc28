//! Protocols that FFmpeg's own command can speak on loopback: RTMP, SRT, RTSP, MPEG-TS over UDP.

use crate::files::free_port;
use crate::support::*;
use ghoststream::event::Outcome;
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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

fn source(url: &str, protocol: &str, options: Value) -> Value {
    json!({"url": url, "protocols": [protocol], "timeout": 8, "options": options})
}

fn job(source: Value, output: &str) -> Value {
    json!({"source": source, "outputs": [{"path": output, "video": {"codec": "copy"}, "audio": {"codec": "copy"}}]})
}

/// All of the clip but what a receiver that joins late may miss.
fn nearly_all(output: &str) {
    let streams = probe(output);
    let n = frames(video(&streams));
    assert!((75..=100).contains(&n), "{n} frames");
    assert_eq!(audio(&streams)["codec_name"], "aac");
}

#[test]
fn rtmp_from_a_listening_peer() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4");
    let port = free_port();
    let url = format!("rtmp://127.0.0.1:{port}/live/key");
    let _peer = Peer::start(&format!("-re -i {input} -c copy -f flv -listen 1 {url}"));
    std::thread::sleep(Duration::from_millis(700));
    let output = dir.path("o.mp4");
    complete(job(source(&url, "rtmp", json!({})), &output));
    assert_eq!(frames(video(&probe(&output))), 100, "the peer begins when it is called");
}

#[test]
fn rtmp_as_a_listener() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4");
    let port = free_port();
    let url = format!("rtmp://127.0.0.1:{port}/live/key");
    let output = dir.path("o.mp4");
    let running = start(job(source(&url, "rtmp", json!({"listen": "1"})), &output));
    std::thread::sleep(Duration::from_millis(700));
    let _peer = Peer::start(&format!("-re -i {input} -c copy -f flv {url}"));
    let done = running.wait(Some(Duration::from_secs(40))).unwrap().expect("it ends");
    assert_eq!(done.outcome, Outcome::Completed, "{:?}", done.message);
    assert_eq!(frames(video(&probe(&output))), 100);
}

#[test]
fn srt_from_a_listening_peer() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4");
    let port = free_port();
    let _peer =
        Peer::start(&format!("-re -i {input} -c copy -f mpegts srt://127.0.0.1:{port}?mode=listener"));
    std::thread::sleep(Duration::from_millis(700));
    let output = dir.path("o.mp4");
    complete(job(source(&format!("srt://127.0.0.1:{port}"), "srt", json!({})), &output));
    nearly_all(&output);
}

#[test]
fn rtsp_as_a_listener() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4");
    let port = free_port();
    let url = format!("rtsp://127.0.0.1:{port}/live");
    let output = dir.path("o.mp4");
    // RTP says when a frame is shown and not when it is decoded: with B-frames it can be encoded only.
    let mut spec = job(source(&url, "rtsp", json!({"rtsp_flags": "listen"})), &output);
    spec["outputs"][0]["video"] = json!({"preset": "p1"});
    let running = start(spec);
    std::thread::sleep(Duration::from_millis(700));
    let _peer = Peer::start(&format!("-re -i {input} -c copy -f rtsp -rtsp_transport tcp {url}"));
    let done = running.wait(Some(Duration::from_secs(40))).unwrap().expect("it ends");
    assert_eq!(done.outcome, Outcome::Completed, "{:?}", done.message);
    nearly_all(&output);
}

#[test]
fn transport_stream_over_udp() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4");
    let port = free_port();
    let url = format!("udp://127.0.0.1:{port}");
    let output = dir.path("o.mp4");
    let mut spec = job(source(&url, "udp", json!({})), &output);
    spec["source"]["duration"] = json!(2);
    let _peer = Peer::start(&format!("-re -stream_loop 5 -i {input} -c copy -f mpegts {url}?pkt_size=1316"));
    complete(spec);
    let n = frames(video(&probe(&output)));
    assert!((48..=54).contains(&n), "{n} frames in 2 s");
    // A sender that falls silent is not the end of a stream that has none.
    let message = failure(job(
        json!({"url": format!("udp://127.0.0.1:{}", free_port()), "protocols": ["udp"], "timeout": 1}),
        &dir.path("p.mp4"),
    ));
    assert!(message.contains("no answer within 1 s"), "{message}");
    assert!(!exists(&dir.path("p.mp4")));
}

#[test]
fn http_from_a_listening_peer() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4");
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/live.ts");
    let _peer = Peer::start(&format!("-i {input} -c copy -f mpegts -listen 1 {url}"));
    std::thread::sleep(Duration::from_millis(700));
    let output = dir.path("o.mp4");
    complete(job(source(&url, "http", json!({})), &output));
    assert_eq!(frames(video(&probe(&output))), 100);
}
