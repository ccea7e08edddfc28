//! What a network does to a transfer: it is cut, it stalls, it is refused, it lies about its length.

use crate::files::{bytes, copied};
use crate::server::{Answer, Server};
use crate::support::*;
use ghoststream::event::{Event, Next, Outcome};
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn a_cut_connection_is_made_again_where_it_stopped() {
    let dir = Dir::new();
    for (name, options) in [("a.mp4", "-movflags +faststart"), ("a.mkv", ""), ("a.ts", "")] {
        let data = bytes(&dir, name, options);
        let cut = data.len() / 3;
        // The first two connections break after a third each.
        let server = Server::start(move |r| Answer {
            stop_after: (r.number < 2).then_some(cut),
            ..Answer::file(&data, r, true)
        });
        let output = dir.path(&format!("{name}.out.mkv"));
        complete(copied(&server.url(name), &output));
        assert_eq!(frames(video(&probe(&output))), 100, "{name}");
        let mut times: Vec<f64> = packets(&output).iter().map(|(t, _)| *t).collect();
        times.sort_by(f64::total_cmp);
        assert!(times.windows(2).all(|w| (w[1] - w[0] - 0.04).abs() < 0.002), "{name}: {times:?}");
        assert!(server.requests().len() >= 3, "{name}");
    }
}

#[test]
fn a_cut_for_good_is_an_error_and_leaves_nothing() {
    let dir = Dir::new();
    for (name, options) in [("a.mp4", "-movflags +faststart"), ("a.mkv", ""), ("a.ts", "")] {
        for reconnect in [true, false] {
            let data = bytes(&dir, name, options);
            let cut = data.len() / 2;
            let server = Server::start(move |r| {
                if r.number == 0 {
                    Answer { stop_after: Some(cut), ..Answer::file(&data, r, true) }
                } else {
                    Answer::status(503)
                }
            });
            let output = dir.path("o.mp4");
            let mut spec = copied(&server.url(name), &output);
            spec["source"]["reconnect"] = json!(reconnect);
            let began = Instant::now();
            let message = failure(spec);
            assert!(message.contains(&server.url(name)), "{name}: {message}");
            assert!(
                ["broke off", "503", "5XX", "truncated", "no answer"].iter().any(|w| message.contains(w)),
                "{name}: {message}"
            );
            assert!(began.elapsed() < Duration::from_secs(15), "{name}: {:?}", began.elapsed());
            assert!(!exists(&output), "{name}");
        }
    }
}

#[test]
fn a_cut_is_not_patched_with_the_beginning() {
    let dir = Dir::new();
    for (name, options) in [("a.mp4", "-movflags +faststart"), ("a.mkv", ""), ("a.ts", "")] {
        let data = bytes(&dir, name, options);
        let cut = data.len() / 3;
        // Without ranges a new connection begins at the beginning, whatever was asked for.
        let server = Server::start(move |r| Answer {
            stop_after: (r.number == 0).then_some(cut),
            ..Answer::file(&data, r, false)
        });
        let output = dir.path("o.mp4");
        let message = failure(copied(&server.url(name), &output));
        assert!(message.contains("broke off"), "{name}: {message}");
        assert!(!exists(&output), "{name}");
    }
}

#[test]
fn a_server_that_begins_again_and_again_is_given_up() {
    let dir = Dir::new();
    for (name, options) in [("a.mp4", "-movflags +faststart"), ("a.mkv", ""), ("a.ts", "")] {
        let data = bytes(&dir, name, options);
        let cut = data.len() / 2;
        let server =
            Server::start(move |r| Answer { stop_after: Some(cut), ..Answer::file(&data, r, false) });
        let output = dir.path("o.mp4");
        let began = Instant::now();
        let message = failure(copied(&server.url(name), &output));
        assert!(
            ["broke off", "no answer within 3 s"].iter().any(|w| message.contains(w)),
            "{name}: {message}"
        );
        assert!(message.contains(&server.url(name)), "{name}: {message}");
        assert!(began.elapsed() < Duration::from_secs(10), "{name}: {:?}", began.elapsed());
        assert!(!exists(&output), "{name}");
    }
}

#[test]
fn silence_ends_after_the_timeout() {
    let dir = Dir::new();
    let data = bytes(&dir, "a.mkv", "");
    // Silence in the middle, silence instead of an answer's body, silence for ever.
    for (name, sent) in [("middle", data.len() / 2), ("begin", 0), ("head", 64)] {
        let data = data.clone();
        let server = Server::start(move |r| Answer {
            stop_after: Some(if r.number == 0 { sent } else { 0 }),
            stall: true,
            ..Answer::file(&data, r, true)
        });
        let output = dir.path("o.mp4");
        let began = Instant::now();
        let message = failure(copied(&server.url("a.mkv"), &output));
        assert!(message.contains("no answer within 3 s") && message.contains("a.mkv"), "{name}: {message}");
        let took = began.elapsed();
        assert!(took < Duration::from_secs(9), "{name}: {took:?}");
        assert!(!exists(&output));
    }
}

#[test]
fn a_stall_that_ends_is_survived_by_a_new_connection() {
    let dir = Dir::new();
    let data = bytes(&dir, "a.mkv", "");
    let half = data.len() / 2;
    let server = Server::start(move |r| Answer {
        stop_after: (r.number == 0).then_some(half),
        stall: r.number == 0,
        ..Answer::file(&data, r, true)
    });
    let output = dir.path("o.mkv");
    complete(copied(&server.url("a.mkv"), &output));
    assert_eq!(frames(video(&probe(&output))), 100);
}

#[test]
fn refusals_are_named() {
    let dir = Dir::new();
    for (status, words) in [(404, "404"), (401, "401"), (403, "403"), (400, "400"), (500, "5XX")] {
        let server = Server::start(move |_| Answer::status(status));
        let output = dir.path("o.mp4");
        let began = Instant::now();
        let done = run(copied(&server.url("a.mp4"), &output));
        let message = done.message.unwrap();
        assert_eq!(done.outcome, Outcome::Failed);
        assert!(message.contains(words) && message.contains(&server.url("a.mp4")), "{status}: {message}");
        assert!(began.elapsed() < Duration::from_secs(5), "{status}");
        assert!(!exists(&output));
    }
    // Nobody there, and nobody of that name.
    let port = crate::files::free_port();
    let message = failure(copied(&format!("http://127.0.0.1:{port}/a.mp4"), &dir.path("o.mp4")));
    assert!(message.contains("refused") || message.contains("no answer"), "{message}");
    let message = failure(copied("http://no-such-host.invalid/a.mp4", &dir.path("o.mp4")));
    assert!(message.contains("no-such-host.invalid"), "{message}");
}

#[test]
fn redirects_are_followed_and_loops_end() {
    let dir = Dir::new();
    let data = bytes(&dir, "a.mkv", "");
    let server = Server::start(move |r| match r.path.as_str() {
        "/start" => Answer::redirect("/next"),
        "/next" => Answer { status: 307, ..Answer::redirect("/a.mkv") },
        "/a.mkv" => Answer::file(&data, r, true),
        _ => Answer::redirect(&r.path),
    });
    let output = dir.path("o.mkv");
    complete(copied(&server.url("start"), &output));
    assert_eq!(frames(video(&probe(&output))), 100);
    let message = failure(copied(&server.url("round"), &dir.path("p.mkv")));
    assert!(message.contains("redirects did not end"), "{message}");
    assert!(!exists(&dir.path("p.mkv")));
}

#[test]
fn a_wrong_length_is_noticed() {
    let dir = Dir::new();
    for (name, options) in [("a.mkv", ""), ("a.ts", "")] {
        let data = bytes(&dir, name, options);
        let size = data.len();
        // More announced than there is: the transfer is not complete.
        let more = data.clone();
        let server = Server::start(move |r| match r.from {
            Some(from) if from >= size => Answer::status(416),
            _ => Answer { length: Some(Some(size + 5000)), ..Answer::ok(&more) },
        });
        let output = dir.path(&format!("{name}.more.mp4"));
        let message = failure(copied(&server.url(name), &output));
        assert!(message.contains("broke off"), "{name}: {message}");
        assert!(!exists(&output));
        // None announced: what comes is what there is.
        let all = data.clone();
        let server = Server::start(move |_| Answer { length: Some(None), ..Answer::ok(&all) });
        let output = dir.path(&format!("{name}.out.mkv"));
        complete(copied(&server.url(name), &output));
        assert_eq!(frames(video(&probe(&output))), 100, "{name}");
    }
    // Less announced than an index says: what is missing is missed.
    let data = bytes(&dir, "a.mp4", "-movflags +faststart");
    let part = data.len() / 4;
    let server = Server::start(move |r| Answer { length: Some(Some(part)), ..Answer::file(&data, r, false) });
    let message = failure(copied(&server.url("a.mp4"), &dir.path("o.mp4")));
    assert!(message.contains("a.mp4") && message.contains("truncated"), "{message}");
}

#[test]
fn cancel_ends_a_blocked_read_at_once() {
    let dir = Dir::new();
    let data = bytes(&dir, "a.mkv", "");
    let half = data.len() / 2;
    // Blocked while opening, and in the middle.
    for sent in [0, half] {
        let data = data.clone();
        let server = Server::start(move |r| Answer {
            stop_after: Some(if r.number == 0 { sent } else { 0 }),
            stall: true,
            ..Answer::file(&data, r, true)
        });
        let mut spec = copied(&server.url("a.mkv"), &dir.path("o.mp4"));
        spec["source"]["timeout"] = json!(60);
        let job = start(spec);
        std::thread::sleep(Duration::from_millis(700));
        assert!(matches!(job.next_event(Some(Duration::ZERO)), Next::Event(Event::State { .. })));
        let began = Instant::now();
        job.cancel();
        let done = job.wait(Some(Duration::from_secs(10))).unwrap().expect("it ends");
        assert!(began.elapsed() < Duration::from_millis(800), "{:?}", began.elapsed());
        assert_eq!(done.outcome, Outcome::Cancelled);
        assert!(!exists(&dir.path("o.mp4")));
    }
}

#[test]
fn stop_in_a_blocked_read_finishes_the_file() {
    let dir = Dir::new();
    let data = bytes(&dir, "a.mkv", "");
    let most = data.len() * 3 / 4;
    let server = Server::start(move |r| Answer {
        stop_after: Some(if r.number == 0 { most } else { 0 }),
        stall: true,
        ..Answer::file(&data, r, true)
    });
    let output = dir.path("o.mp4");
    let mut spec = copied(&server.url("a.mkv"), &output);
    spec["source"]["timeout"] = json!(60);
    let job = start(spec);
    std::thread::sleep(Duration::from_millis(1500));
    let began = Instant::now();
    job.stop();
    let done = job.wait(Some(Duration::from_secs(10))).unwrap().expect("it ends");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(done.outcome, Outcome::Stopped, "{:?}", done.message);
    assert!(frames(video(&probe(&output))) > 50, "what had come is a whole file");
}
