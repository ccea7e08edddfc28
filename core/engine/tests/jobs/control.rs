//! Stop, cancel, pause, live changes, events.

use crate::support::*;
use ghoststream::event::{Event, Next, Outcome, State};
use ghoststream::job::Change;
use serde_json::json;
use std::time::Duration;

/// A job that never ends by itself.
fn endless(output: &str, more: serde_json::Value) -> ghoststream::Job {
    let mut out = json!({"path": output, "video": {"preset": "p1"}});
    for (key, value) in more.as_object().unwrap() {
        out[key] = value.clone();
    }
    start(
        json!({"source": {"pattern": {"width": 160, "height": 90, "tone": true}, "realtime": true}, "outputs": [out]}),
    )
}

fn until_running(job: &ghoststream::Job) {
    loop {
        match job.next_event(Some(Duration::from_secs(30))) {
            Next::Event(Event::Progress(p)) if p.frames > 0 => return,
            Next::Event(Event::Done(d)) => panic!("{d:?}"),
            Next::Event(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn stop_finishes_the_file() {
    let dir = Dir::new();
    let output = dir.path("o.mp4");
    let job = endless(&output, json!({}));
    until_running(&job);
    job.stop();
    let done = job.wait(Some(Duration::from_secs(30))).unwrap().expect("it ends");
    assert_eq!((done.outcome, done.outputs), (Outcome::Stopped, vec![output.clone()]));
    assert!(frames(video(&probe(&output))) > 5);
}

/// How a stopped job ended, and what it warned of.
fn stopped(job: &ghoststream::Job) -> (Outcome, Vec<String>, String) {
    let mut said = String::new();
    loop {
        match job.next_event(Some(Duration::from_secs(30))) {
            Next::Event(Event::Done(done)) => return (done.outcome, done.outputs, said),
            Next::Event(Event::Warning { message, .. }) => said += &message,
            Next::Event(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_stop_before_anything_came_is_no_failure_and_leaves_no_file() {
    // The source is open, but has given nothing.
    let dir = Dir::new();
    let source =
        json!({"frames": {"video": {"width": 160, "height": 90, "format": "nv12", "frame_rate": 25}}});
    for (name, more) in [("o.mp4", json!({})), ("o-{n}.mkv", json!({"split": {"duration": 5}}))] {
        let mut out = json!({"path": dir.path(name), "video": {"preset": "p1"}});
        for (key, value) in more.as_object().unwrap() {
            out[key] = value.clone();
        }
        let job = start(json!({"source": source, "outputs": [out]}));
        job.stop();
        job.finish_input();
        let (outcome, outputs, said) = stopped(&job);
        assert_eq!((outcome, outputs), (Outcome::Stopped, Vec::new()));
        assert!(
            said.contains("stopped before anything came") && said.contains("nothing is written"),
            "{said}"
        );
        assert_eq!(dir.names(), Vec::<String>::new());
    }
    // Without a stop it is the source that is at fault.
    let job = start(json!({"source": source, "outputs": [{"path": dir.path("o.mp4")}]}));
    job.finish_input();
    assert_eq!(stopped(&job).0, Outcome::Failed);
    // The source cannot even be opened: nobody answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/film.mkv", silent.local_addr().unwrap());
    let job = start(json!({"source": {"url": url}, "outputs": [{"path": dir.path("o.mp4")}]}));
    let _asked = silent.accept().unwrap();
    job.stop();
    let (outcome, outputs, said) = stopped(&job);
    assert_eq!((outcome, outputs), (Outcome::Stopped, Vec::new()), "{said}");
    assert!(said.contains("nothing is written"), "{said}");
    assert_eq!(dir.names(), Vec::<String>::new());
}

#[test]
fn cancel_leaves_nothing_unless_asked() {
    let dir = Dir::new();
    for (name, more) in
        [("o.mp4", json!({})), ("hls/", json!({"format": "hls", "segment": {"duration": 0.5}}))]
    {
        let job = endless(&dir.path(name), more);
        until_running(&job);
        job.cancel();
        let done = job.wait(Some(Duration::from_secs(30))).unwrap().expect("it ends");
        assert_eq!(done.outcome, Outcome::Cancelled);
        assert_eq!(dir.names(), Vec::<String>::new(), "{name}");
    }
    let output = dir.path("k.mkv");
    let job = start(
        json!({"keep_partial": true, "source": {"pattern": {"width": 160, "height": 90}, "realtime": true}, "outputs": [{"path": output, "video": {"preset": "p1"}}]}),
    );
    until_running(&job);
    job.cancel();
    job.wait(None).unwrap();
    assert!(frames(video(&probe(&output))) > 0, "what was kept plays");
}

#[test]
fn dropping_a_job_cancels_it() {
    let dir = Dir::new();
    let job = endless(&dir.path("o.mp4"), json!({}));
    until_running(&job);
    drop(job);
    assert_eq!(dir.names(), Vec::<String>::new());
}

#[test]
fn pause_stands_still_and_leaves_no_gap() {
    let dir = Dir::new();
    let output = dir.path("o.mkv");
    let job = endless(&output, json!({}));
    until_running(&job);
    job.pause().unwrap();
    assert_eq!(job.state(), State::Paused);
    std::thread::sleep(Duration::from_millis(300));
    let frozen = job.stats().tracks[0].packets;
    std::thread::sleep(Duration::from_millis(700));
    assert!(job.stats().tracks[0].packets <= frozen + 2, "no new frames while paused");
    job.resume().unwrap();
    std::thread::sleep(Duration::from_millis(400));
    job.stop();
    job.wait(None).unwrap();
    let mut times: Vec<f64> = packets(&output).iter().map(|(t, _)| *t).collect();
    times.sort_by(f64::total_cmp);
    assert!(times.windows(2).all(|w| w[1] - w[0] < 0.05), "timestamps are continuous: {times:?}");
    assert!(job.pause().is_err());
}

#[test]
fn bit_rate_and_key_frames_change_live() {
    let dir = Dir::new();
    let output = dir.path("o.mkv");
    let job = endless(
        &output,
        json!({"audio": false, "video": {"preset": "p1", "bitrate": "2M", "max_bitrate": "2M", "gop": 1000}}),
    );
    until_running(&job);
    job.set(&Change {
        bitrate: Some(ghoststream::spec::Bitrate(50_000)),
        key_frame: true,
        ..Change::default()
    })
    .unwrap();
    assert!(job.set(&Change { output: 7, key_frame: true, ..Change::default() }).is_err());
    assert!(job.set(&Change::default()).is_err());
    std::thread::sleep(Duration::from_millis(800));
    job.stop();
    job.wait(None).unwrap();
    let keys = packets(&output).iter().filter(|(_, k)| *k).count();
    assert_eq!(keys, 2, "the first frame and the forced one");
}

#[test]
fn events_tell_the_whole_story_in_order() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    let job = start(simple(&input, &dir.path("o.mp4")));
    let kinds: Vec<String> = events(&job)
        .iter()
        .map(|e| serde_json::to_value(e).unwrap()["type"].as_str().unwrap().to_string())
        .collect();
    assert_eq!(kinds.first().map(String::as_str), Some("state"));
    assert_eq!(kinds.last().map(String::as_str), Some("done"));
    assert!(kinds.iter().any(|k| k == "plan") && kinds.iter().any(|k| k == "progress"), "{kinds:?}");
    let stats = job.stats();
    assert!(stats.stages.iter().any(|s| s.name.starts_with("encode") && s.items_in == 100), "{stats:?}");
    assert_eq!(stats.progress.fraction, Some(1.0));
}

/// Plays until the output has come `more` seconds further.
fn go_on(job: &ghoststream::Job, more: f64) {
    let at = |job: &ghoststream::Job| job.stats().tracks.iter().map(|t| t.time).fold(f64::MAX, f64::min);
    let (begin, until) = (std::time::Instant::now(), at(job) + more);
    while at(job) < until {
        assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", job.stats());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn size_and_rate_change_while_it_runs_with_every_encoder() {
    let dir = Dir::new();
    for (encoder, codec) in [("libx264", "h264"), ("libx265", "hevc")] {
        let output = dir.path(&format!("{encoder}.ts"));
        let video = json!({"codec": codec, "encoder": encoder, "preset": "p1", "bitrate": "500k"});
        let job = endless(&output, json!({"video": video, "audio": false}));
        until_running(&job);
        job.set(&Change { frame_rate: Some("10".parse().unwrap()), ..Change::default() }).unwrap();
        go_on(&job, 1.5);
        job.set(&Change { width: Some(320), height: Some(180), ..Change::default() }).unwrap();
        go_on(&job, 1.5);
        job.stop();
        let (outcome, _, said) = stopped(&job);
        assert_eq!((outcome, said.as_str()), (Outcome::Stopped, ""), "{encoder}");
        let times = packets(&output);
        let end = times.len();
        assert!(end > 20, "{encoder}: {times:?}");
        let mut late: Vec<f64> = times[end - 12..].iter().map(|p| p.0).collect();
        late.sort_by(f64::total_cmp);
        assert!(late.windows(2).all(|t| (t[1] - t[0] - 0.1).abs() < 0.002), "{encoder}: {late:?}");
        let sizes = std::process::Command::new("ffprobe")
            .args(["-v", "error", "-show_entries", "frame=width,height", "-of", "csv=p=0"])
            .arg(&output)
            .output()
            .unwrap();
        let sizes = String::from_utf8_lossy(&sizes.stdout).into_owned();
        let mut sizes: Vec<&str> =
            sizes.lines().map(|l| l.trim_end_matches(',')).filter(|l| !l.is_empty()).collect();
        sizes.dedup();
        assert_eq!(sizes, ["160,90", "320,180"], "{encoder}");
    }
}

#[test]
fn a_container_that_says_the_size_once_refuses_another() {
    let dir = Dir::new();
    let job = endless(&dir.path("o.mp4"), json!({}));
    until_running(&job);
    let e = job.set(&Change { width: Some(320), height: Some(180), ..Change::default() }).unwrap_err();
    assert_eq!(e.kind(), ghoststream::ErrorKind::Unsupported);
    assert!(e.message().starts_with("width: mp4 says the size"), "{e}");
    let e = job
        .set(&Change { frame_rate: Some(ghoststream::Framerate::fps(0)), ..Change::default() })
        .unwrap_err();
    assert_eq!(e.kind(), ghoststream::ErrorKind::Invalid, "{e}");
    // Another rate it can have.
    job.set(&Change { frame_rate: Some("5".parse().unwrap()), ..Change::default() }).unwrap();
    go_on(&job, 1.5);
    job.stop();
    assert_eq!(stopped(&job).0, Outcome::Stopped);
    let times = packets(&dir.path("o.mp4"));
    let late: Vec<f64> = times[times.len() - 5..].iter().map(|p| p.0).collect();
    assert!(late.windows(2).all(|t| (t[1] - t[0] - 0.2).abs() < 0.002), "{late:?}");
}
