//! Where a source may lead: protocols of the list, and nothing of this machine or its network behind the user's back.

use crate::files::{bytes, copied};
use crate::server::{Answer, Server};
use crate::support::*;
use serde_json::json;

const LIST: &str = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXTINF:4.0,\n";

fn list(segment: &str) -> Vec<u8> {
    format!("{LIST}{segment}\n#EXT-X-ENDLIST\n").into_bytes()
}

#[test]
fn protocols_that_were_not_allowed_are_refused_before_anything_is_sent() {
    let dir = Dir::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    port.set_nonblocking(true).unwrap();
    let at = port.local_addr().unwrap();
    for url in [
        format!("rtmp://{at}/live/secret"),
        format!("rtsp://me:secret@{at}/1"),
        format!("tcp://{at}"),
        format!("srt://{at}?passphrase=secret"),
        format!("udp://{at}"),
    ] {
        let message = failure(copied(&url, &dir.path("o.mp4")));
        let protocol = url.split(':').next().unwrap();
        assert!(message.contains("source.protocols") && message.contains(protocol), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }
    assert!(port.accept().is_err(), "nobody called");
}

#[test]
fn a_playlist_from_the_network_plays_what_lies_beside_it() {
    let dir = Dir::new();
    let segment = bytes(&dir, "a.ts", "");
    let server = Server::start(move |r| match r.path.as_str() {
        "/list.m3u8" => Answer::ok(&list("a.ts")),
        "/a.ts" => Answer::file(&segment, r, true),
        _ => Answer::status(404),
    });
    let output = dir.path("o.mkv");
    complete(copied(&server.url("list.m3u8"), &output));
    assert_eq!(frames(video(&probe(&output))), 100);
}

#[test]
fn a_playlist_from_the_network_does_not_reach_files() {
    let dir = Dir::new();
    bytes(&dir, "a.ts", "");
    let path = dir.path("a.ts");
    for name in [format!("file://{path}"), format!("file:{path}"), format!("concat:{path}|{path}")] {
        let inner = name.clone();
        let server = Server::start(move |_| Answer::ok(&list(&inner)));
        let message = failure(copied(&server.url("list.m3u8"), &dir.path("o.mp4")));
        assert!(message.contains("list.m3u8"), "{name}: {message}");
        if name.starts_with("file") {
            assert!(message.contains("not allowed") && message.contains("this machine"), "{name}: {message}");
        }
        assert!(!exists(&dir.path("o.mp4")));
    }
}

#[test]
fn a_playlist_from_the_internet_does_not_reach_the_local_network() {
    let dir = Dir::new();
    let segment = bytes(&dir, "a.ts", "");
    let own = Server::of(segment.clone(), true);
    // The proxy stands for the Internet: what it is asked for has addresses that are not local.
    let target = own.url("a.ts");
    let proxy = Server::start(move |r| match r.path.rsplit('/').next() {
        Some("list.m3u8") => Answer::ok(&list(&target)),
        Some("moved.ts") => Answer::redirect(&target),
        // A proxy is asked for everything, also for what it should not be.
        Some("a.ts") => Answer::file(&segment, r, true),
        _ => Answer::status(404),
    });
    for name in ["list.m3u8", "moved.ts"] {
        let mut spec = copied(&format!("http://203.0.113.9/{name}"), &dir.path("o.mp4"));
        spec["source"]["options"] = json!({"http_proxy": proxy.url("")});
        let message = failure(spec);
        assert!(message.contains("not allowed") && message.contains("local network"), "{name}: {message}");
    }
    assert!(!proxy.requests().is_empty());
    let asked = own.requests().len();
    assert_eq!(asked, 0, "nothing of the local network was asked for");
}

#[test]
fn a_playlist_file_plays_its_neighbours() {
    let dir = Dir::new();
    bytes(&dir, "a.ts", "");
    std::fs::write(dir.path("list.m3u8"), list("a.ts")).unwrap();
    let output = dir.path("o.mkv");
    complete(copied(&dir.path("list.m3u8"), &output));
    assert_eq!(frames(video(&probe(&output))), 100);
    let server = Server::start(|_| Answer::status(404));
    std::fs::write(dir.path("away.m3u8"), list(&server.url("a.ts"))).unwrap();
    let message = failure(copied(&dir.path("away.m3u8"), &dir.path("p.mkv")));
    assert!(message.contains("local network"), "{message}");
    assert!(server.requests().is_empty());
}
