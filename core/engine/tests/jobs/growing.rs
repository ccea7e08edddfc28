//! Playlists that players follow while the output is made.

use crate::support::*;
use ghoststream::event::{Event, Next};
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
