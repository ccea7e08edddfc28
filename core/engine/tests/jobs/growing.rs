//! Playlists that players follow while the output is made.

use crate::support::*;
use ghoststream::event::{Event, Next, Outcome};
use ghoststream::job::Change;
use serde_json::{Value, json};
use std::time::Duration;

fn growing(dir: &Dir, input: &str, more: Value) -> Value {
    let mut output = json!({"path": dir.path("out/master.m3u8"), "format": "hls", "video": {"preset": "p1"},
        "segment": {"duration": 2, "container": "ts", "names": "flat", "playlist": "event", "first": 0.5}});
    for (key, value) in more.as_object().unwrap() {
        output[key] = value.clone();
    }
    // Read at the speed of the clock, so that a reader sees the playlist grow.
    json!({"source": {"url": input, "realtime": true}, "outputs": [output]})
}

fn durations(list: &str) -> Vec<f64> {
    let lines = list.lines().filter_map(|l| l.strip_prefix("#EXTINF:"));
    lines.map(|l| l.trim_end_matches(',').parse().unwrap()).collect()
}

#[test]
fn one_rendition_is_an_event_playlist_that_grows_and_ends() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    let job = start(growing(&dir, &input, json!({})));
    let mut lists: Vec<String> = Vec::new();
    let mut named = Vec::new();
    loop {
        match job.next_event(Some(Duration::from_secs(60))) {
            Next::Event(Event::Segment { name, duration, .. }) if name.ends_with(".ts") => {
                assert!(duration > 0.0);
                named.push(name);
            }
            Next::Event(Event::Segment { name, .. }) => {
                assert_eq!(name, "master.m3u8");
                lists.push(std::fs::read_to_string(dir.path("out/master.m3u8")).unwrap());
            }
            Next::Event(Event::Done(done)) => {
                assert_eq!(done.outputs, [dir.path("out/master.m3u8")]);
                break;
            }
            Next::Event(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(named[..3], ["segment_00000.ts", "segment_00001.ts", "segment_00002.ts"]);
    let (last, before) = lists.split_last().unwrap();
    assert!(before.len() >= 3, "{lists:?}");
    for pair in lists.windows(2) {
        let head = pair[0].trim_end_matches("#EXT-X-ENDLIST\n");
        assert!(pair[1].starts_with(head), "only added to:\n{}\n{}", pair[0], pair[1]);
    }
    for list in before.iter().take(before.len() - 1) {
        assert!(!list.contains("ENDLIST") && list.contains("PLAYLIST-TYPE:EVENT"), "{list}");
        assert!(list.contains("TARGETDURATION:2\n"), "{list}");
    }
    assert!(last.ends_with("#EXT-X-ENDLIST\n"));
    assert_eq!(
        durations(last),
        [0.48, 0.52, 1.0, 2.0],
        "short first, then the grid (the clip begins at 21 ms)"
    );
    let streams = probe(&dir.path("out/master.m3u8"));
    assert_eq!((frames(video(&streams)), streams.len()), (100, 2), "picture and sound in one playlist");
}

#[test]
fn several_renditions_and_subtitles_grow_below_a_multivariant_playlist() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    let cues = dir.path("s.srt");
    std::fs::write(&cues, "1\n00:00:00,200 --> 00:00:01,000\none\n\n2\n00:00:02,500 --> 00:00:03,000\ntwo\n")
        .unwrap();
    let spec = growing(
        &dir,
        &input,
        json!({"ladder": [{"height": 180, "bitrate": "400k"}, {"height": 90, "bitrate": "100k"}],
            "subtitles": [{"path": cues, "language": "de"}]}),
    );
    let job = start(spec);
    let mut early = None;
    loop {
        match job.next_event(Some(Duration::from_secs(60))) {
            Next::Event(Event::Segment { name, .. }) if name == "master.m3u8" && early.is_none() => {
                early = Some(job.stats().progress.time);
                let master = std::fs::read_to_string(dir.path("out/master.m3u8")).unwrap();
                for line in master.lines().filter(|l| l.ends_with(".m3u8")) {
                    assert!(exists(&dir.path(&format!("out/{line}"))), "{line} is there when the master is");
                }
                assert!(
                    master.contains("TYPE=SUBTITLES") && master.contains("RESOLUTION=160x90"),
                    "{master}"
                );
                let rate = master.lines().find_map(|l| l.strip_prefix("#EXT-X-STREAM-INF:BANDWIDTH="));
                let rate: u64 = rate.unwrap().split(',').next().unwrap().parse().unwrap();
                assert!(rate >= 400_000, "{master}");
            }
            Next::Event(Event::Done(done)) => {
                assert_eq!(done.message, None);
                break;
            }
            Next::Event(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(early.unwrap() < 3.9, "the master is there before the end: {early:?}");
    for (list, count) in [("stream_0", 4), ("stream_1", 4), ("stream_2", 4), ("stream_3", 4)] {
        let text = std::fs::read_to_string(dir.path(&format!("out/{list}.m3u8"))).unwrap();
        assert_eq!(durations(&text).len(), count, "{list}: {text}");
        assert!(text.contains("PLAYLIST-TYPE:EVENT") && text.ends_with("#EXT-X-ENDLIST\n"), "{text}");
    }
    let cue = std::fs::read_to_string(dir.path("out/stream_3_00003.vtt")).unwrap();
    assert!(cue.contains("two") && !cue.contains("one"), "{cue}");
    assert_eq!(frames(video(&probe(&dir.path("out/stream_1.m3u8")))), 100);
}

/// Width and time (ms) of every picture that an independent decoder shows of a playlist.
fn shown(list: &str) -> Vec<(u32, i64)> {
    let out = std::process::Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            "v:0",
            "-show_entries",
            "frame=width,pts_time",
            "-of",
            "csv=p=0",
        ])
        .arg(list)
        .output()
        .unwrap();
    assert!(out.stderr.is_empty(), "{list}: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let row = |line: &str| {
        let mut numbers = line.split(',').filter_map(|n| n.parse::<f64>().ok());
        let (a, b) = (numbers.next()?, numbers.next()?);
        // Which comes first is up to ffprobe; no picture here is as early as its width.
        let (width, time) = if a == 320.0 || a == 160.0 { (a, b) } else { (b, a) };
        Some((width as u32, (time * 1000.0).round() as i64))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn a_dropped_rung_goes_on_with_the_next_ones_pictures() {
    for container in ["ts", "fmp4"] {
        let dir = Dir::new();
        let job = start(json!({
            "source": {"pattern": {"width": 320, "height": 180}, "duration": 9, "realtime": true},
            "outputs": [{"path": dir.path("out/master.m3u8"), "format": "hls", "audio": false,
                "ladder": [{"height": 180, "bitrate": "400k", "preset": "p3"}, {"height": 90, "bitrate": "100k", "preset": "p3"}],
                "segment": {"duration": 1, "container": container, "playlist": "event"}}],
        }));
        let mut told = Vec::new();
        let mut asked = false;
        loop {
            match job.next_event(Some(Duration::from_secs(60))) {
                Next::Event(Event::Progress(p)) if p.time > 1.0 && !asked => {
                    asked = true;
                    let drop = |rung| Change { rung, drop: true, ..Change::default() };
                    assert!(job.set(&drop(None)).is_err());
                    let last = job.set(&drop(Some(1))).unwrap_err();
                    assert!(last.to_string().contains("drop"), "{last}");
                    job.set(&drop(Some(0))).unwrap();
                }
                Next::Event(Event::Warning { code, message, .. }) => told.push(format!("{code}: {message}")),
                Next::Event(Event::Done(done)) => {
                    assert_eq!(done.outcome, Outcome::Completed, "{done:?}");
                    break;
                }
                Next::Event(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(told.iter().any(|t| t.starts_with("rung: ") && t.contains("goes on with")), "{told:?}");
        let (top, low) = (shown(&dir.path("out/180p.m3u8")), shown(&dir.path("out/90p.m3u8")));
        let (times, lows): (Vec<i64>, Vec<i64>) =
            (top.iter().map(|f| f.1).collect(), low.iter().map(|f| f.1).collect());
        assert_eq!(times, lows, "{container}: the same pictures at the same times");
        let turn = top.iter().position(|f| f.0 == 160).expect("it went on with the small pictures");
        assert!(
            top[..turn].iter().all(|f| f.0 == 320) && top[turn..].iter().all(|f| f.0 == 160),
            "{container}"
        );
        assert!(
            (times[turn] - times[0]) % 1000 == 0 && times[turn] - times[0] >= 3000,
            "{container}: {}",
            times[turn]
        );
    }
}
