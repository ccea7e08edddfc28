//! Whole transfers: where the index of an MP4 lies, with ranges and without, slow and from a real server.

use crate::server::{Answer, Server};
use crate::support::*;
use ghoststream::event::{Event, Outcome};
use ghoststream::spec::SourceSpec;
use serde_json::{Value, json};
use std::time::Duration;

/// A copy of `url` at `output`.
pub fn copied(url: &str, output: &str) -> Value {
    json!({"source": {"url": url, "timeout": 3},
        "outputs": [{"path": output, "video": {"codec": "copy"}, "audio": {"codec": "copy"}}]})
}

/// The clip of 100 frames as bytes in another container, or with MP4's index in front.
pub fn bytes(dir: &Dir, name: &str, options: &str) -> Vec<u8> {
    let from = dir.path("clip.mp4");
    if !exists(&from) {
        clip(dir, "clip.mp4");
    }
    let to = dir.path(name);
    ffmpeg(&format!("-i {from} -c copy {options} {to}"));
    std::fs::read(to).unwrap()
}

fn index_is_last(mp4: &[u8]) -> bool {
    let at = |name: &[u8]| mp4.windows(4).position(|w| w == name).unwrap();
    at(b"mdat") < at(b"moov")
}

#[test]
fn an_index_at_the_end_is_sought_where_there_are_ranges() {
    let dir = Dir::new();
    let data = bytes(&dir, "last.mp4", "");
    assert!(index_is_last(&data));
    let server = Server::of(data, true);
    let output = dir.path("o.mkv");
    complete(copied(&server.url("a.mp4"), &output));
    assert_eq!(frames(video(&probe(&output))), 100);
    assert!(server.requests().iter().any(|r| r.from.is_some_and(|f| f > 0)), "it was sought by range");
    let agent = server.requests()[0].headers.iter().find(|h| h.starts_with("User-Agent")).cloned();
    assert!(agent.is_some_and(|a| a.contains("GhostStream/")));
}

#[test]
fn an_index_at_the_end_is_fetched_for_where_there_are_none() {
    let dir = Dir::new();
    let data = bytes(&dir, "last.mp4", "");
    let size = data.len();
    for ladder in [false, true] {
        let server = Server::of(data.clone(), false);
        let output = dir.path(if ladder { "hls/" } else { "o.mkv" });
        let mut spec = copied(&server.url("a.mp4"), &output);
        if ladder {
            spec["outputs"][0] = json!({"path": output, "format": "hls", "segment": {"duration": 1},
                "video": {"preset": "p1"}, "ladder": [{"height": 180}, {"height": 90}]});
        }
        let job = start(spec);
        let events = events(&job);
        let warned = events.iter().any(|e| match e {
            Event::Warning { message, .. } => {
                message.contains("index lies behind its media") && message.contains(&size.to_string())
            }
            _ => false,
        });
        assert!(warned, "what was done is said: {events:?}");
        let Some(Event::Done(done)) = events.last() else { panic!("no end") };
        assert_eq!(done.outcome, Outcome::Completed, "{:?}", done.message);
        let result = if ladder { dir.path("hls/180p.m3u8") } else { output };
        assert_eq!(frames(video(&probe(&result))), 100);
        assert_eq!(server.requests().len(), 2, "asked once to see, and fetched once");
    }
    // The same where the end is nothing but the end of the connection, and for a probe.
    let all = data.clone();
    let server = Server::start(move |r| Answer { length: Some(None), ..Answer::file(&all, r, false) });
    let output = dir.path("p.mkv");
    complete(copied(&server.url("a.mp4"), &output));
    assert_eq!(frames(video(&probe(&output))), 100);
    let server = Server::of(data, false);
    let info = ghoststream::probe::probe(
        &SourceSpec::url(server.url("a.mp4")),
        &ghoststream::probe::ProbeOptions::default(),
    );
    assert_eq!(info.unwrap().streams.len(), 2);
}

#[test]
fn an_index_in_front_streams_without_ranges() {
    let dir = Dir::new();
    let server = Server::of(bytes(&dir, "first.mp4", "-movflags +faststart"), false);
    let output = dir.path("o.mkv");
    complete(copied(&server.url("a.mp4"), &output));
    assert_eq!(frames(video(&probe(&output))), 100);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_slow_server_is_waited_for() {
    let dir = Dir::new();
    let data = bytes(&dir, "first.mp4", "-movflags +faststart");
    // About two seconds for all of it: no single read comes near the limit.
    let step = data.len() / 20;
    let server = Server::start(move |r| Answer {
        pace: Some((step, Duration::from_millis(100))),
        ..Answer::file(&data, r, true)
    });
    let output = dir.path("o.mkv");
    let mut spec = copied(&server.url("a.mp4"), &output);
    spec["source"]["timeout"] = json!(1.5);
    complete(spec);
    assert_eq!(frames(video(&probe(&output))), 100);
}

#[test]
fn pythons_server_without_ranges_is_enough() {
    let dir = Dir::new();
    bytes(&dir, "last.mp4", "");
    let root = std::path::Path::new(&dir.path("x")).parent().unwrap().to_owned();
    let port = free_port();
    let mut python = std::process::Command::new("python3")
        .args(["-m", "http.server", "--bind", "127.0.0.1", &port.to_string(), "--directory"])
        .arg(&root)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until_listening(port);
    let output = dir.path("o.mkv");
    let done = run(copied(&format!("http://127.0.0.1:{port}/last.mp4"), &output));
    python.kill().unwrap();
    python.wait().unwrap();
    assert_eq!(done.outcome, Outcome::Completed, "{:?}", done.message);
    assert_eq!(frames(video(&probe(&output))), 100);
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn until_listening(port: u16) {
    for _ in 0..500 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("nobody listens at {port}");
}

#[test]
fn of_a_ladder_only_what_is_wanted_is_fetched_and_all_of_that() {
    let dir = Dir::new();
    let (input, words, set) = (clip(&dir, "in.mp4"), dir.path("w.srt"), dir.path("set"));
    // The words end long before the film.
    std::fs::write(&words, "1\n00:00:00,100 --> 00:00:00,900\nHello\n").unwrap();
    for container in ["fmp4", "ts"] {
        let format = if container == "ts" { "hls" } else { "hls+dash" };
        complete(
            json!({"source": {"url": input}, "outputs": [{"path": set, "format": format, "overwrite": true,
            "segment": {"duration": 0.5, "container": container}, "video": {"codec": "h264", "preset": "p1"},
            "ladder": [{"height": 180}, {"height": 90}], "subtitles": [{"path": words}]}]}),
        );
        for list in
            ["master.m3u8", "manifest.mpd"].into_iter().filter(|l| container == "fmp4" || l.ends_with("m3u8"))
        {
            let root = set.clone();
            let server = Server::start(move |r| match std::fs::read(format!("{root}{}", r.path)) {
                Ok(data) => Answer::file(&data, r, true),
                Err(_) => Answer::status(404),
            });
            let output = dir.path("o.mkv");
            for (start, expected) in [(0.0, 100), (1.4, 65), (3.0, 25)] {
                complete(
                    json!({"source": {"url": server.url(list), "start": start}, "outputs": [{"path": output,
                    "overwrite": true, "video": {"preset": "p1"}, "audio": {"codec": "flac"}, "subtitles": false}]}),
                );
                let count = frames(video(&probe(&output)));
                assert!(count.abs_diff(expected) <= 1, "{container} {list} from {start}: {count}");
                if start == 0.0 {
                    let asked = server.requests();
                    let small = asked.iter().filter(|r| r.path.starts_with("/90p/")).count();
                    let large = asked.iter().filter(|r| r.path.starts_with("/180p/")).count();
                    assert!(large >= 8 && small <= 4, "{container} {list}: {large} {small}");
                }
            }
            complete(json!({"source": {"url": server.url(list)}, "outputs": [{"path": output,
                "overwrite": true, "video": {"preset": "p1"}}]}));
            assert_eq!(frames(video(&probe(&output))), 100, "{container} {list} with words");
            if list == "manifest.mpd" {
                let alone = dir.path("alone.vtt");
                complete(
                    json!({"source": {"url": server.url(list)}, "outputs": [{"path": alone, "overwrite": true}]}),
                );
                assert!(std::fs::read_to_string(&alone).unwrap().contains("Hello"), "words alone");
            }
            // A playlist without ranges is gone about in all the same.
            let copied = |ranges: bool| {
                let root = set.clone();
                let server = Server::start(move |r| match std::fs::read(format!("{root}{}", r.path)) {
                    Ok(data) => Answer::file(&data, r, ranges),
                    Err(_) => Answer::status(404),
                });
                complete(
                    json!({"source": {"url": server.url(list), "start": 1.7}, "outputs": [{"path": output,
                    "overwrite": true, "video": {"codec": "copy"}, "audio": false, "subtitles": false}]}),
                );
                frames(video(&probe(&output)))
            };
            if container == "ts" || list == "manifest.mpd" {
                assert_eq!(copied(false), copied(true), "{container} {list}");
            }
        }
    }
}
