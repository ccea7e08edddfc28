//! Files that are cut while they are made.

use super::support::*;
use ghoststream::event::{Event, Span};
use serde_json::json;

fn saved(events: &[Event]) -> Vec<(usize, String, f64)> {
    events
        .iter()
        .filter_map(|e| match e {
            Event::Saved { output, path, duration, bytes, .. } => {
                assert!(*bytes > 0);
                Some((*output, path.clone(), *duration))
            }
            _ => None,
        })
        .collect()
}

/// Every frame of `count` is in one of `files`, in order; each file begins with a key frame at time 0.
fn whole(files: &[String], count: u32) {
    let mut next = 0;
    for path in files {
        probe(path);
        let frames = numbers(path);
        assert!(packets(path, "v:0").first().is_some_and(|p| p.2), "{path} begins with a key frame");
        for (i, (number, time)) in frames.iter().enumerate() {
            assert_eq!(*number, next, "{path}: frame {i}");
            let expected = i as f64 / 25.0;
            assert!((time - frames[0].1 - expected).abs() < 0.002, "{path}: frame {i} at {time}");
            next += 1;
        }
        assert!(frames[0].1 < 0.1, "{path} begins at {}", frames[0].1);
    }
    assert_eq!(next, count);
}

#[test]
fn cut_by_time_every_frame_is_in_one_file() {
    for (extension, video) in [
        ("mkv", quick()),
        ("mp4", json!({"encoder": "libx264", "preset": "p1", "b_frames": 2})),
        ("ts", quick()),
    ] {
        let dir = Dir::new();
        let spec = json!({"name": "film", "source": pattern(175), "outputs": [{
            "path": dir.path(&format!("{{name}}-{{n:2}}.{extension}")), "video": video,
            "split": {"duration": 2}}]});
        let (done, events) = complete(&spec);
        let files: Vec<String> = (1..=4).map(|n| dir.path(&format!("film-0{n}.{extension}"))).collect();
        assert_eq!(done.outputs, files, "{extension}");
        let told = saved(&events);
        assert_eq!(told.iter().map(|t| t.1.clone()).collect::<Vec<_>>(), files);
        for (_, path, duration) in &told[..3] {
            assert!((duration - 2.0).abs() < 0.05, "{path}: {duration}");
        }
        // Where they are on the job's clock is told exactly, whatever the packets say of how long they are.
        let spans: Vec<Span> = events
            .iter()
            .filter_map(|e| match e {
                Event::Saved { span, .. } => Some(*span),
                _ => None,
            })
            .collect();
        for (n, span) in spans.iter().enumerate() {
            let next = spans.get(n + 1).map(|s| s.begin);
            assert_eq!(span.until, next, "{extension}: file {n}");
            let length = next.map_or(2_000_000, |next| next.micros() - span.begin.micros());
            // The first picture of those that are reordered may be shown a little after time 0.
            assert!(length == 2_000_000 || n == 0 && (2_000_000..2_100_000).contains(&length), "{length}");
        }
        assert_eq!(spans[0].begin.ticks, 0);
        if extension != "ts" {
            whole(&files, 175);
        } else {
            let count: usize = files.iter().map(|f| numbers(f).len()).sum();
            assert_eq!(count, 175);
        }
        assert_eq!(dir.names().len(), 4);
    }
}

#[test]
fn sound_goes_on_where_the_picture_was_cut() {
    let dir = Dir::new();
    let spec = json!({"source": pattern(150), "outputs": [{
        "path": dir.path("{n}.mkv"), "video": quick(), "audio": {"codec": "flac"}, "split": {"duration": 2}}]});
    let (done, _) = complete(&spec);
    let mut total = 0.0;
    for path in &done.outputs {
        let sound = packets(path, "a:0");
        for pair in sound.windows(2) {
            assert!((pair[1].0 - pair[0].0 - pair[0].1).abs() < 0.002, "{path}: {pair:?}");
        }
        assert!(sound[0].0 < 0.1 && sound[0].0 >= 0.0, "{path}: {:?}", sound[0]);
        total += sound.iter().map(|p| p.1).sum::<f64>();
        // What is shown and what is heard end together, but for a packet of sound.
        let end = sound.last().map(|p| p.0 + p.1).unwrap();
        assert!((end - 2.0).abs() < 0.15, "{path}: {end}");
    }
    assert!((total - 6.0).abs() < 0.1, "{total}");
}

#[test]
fn cut_by_size() {
    let dir = Dir::new();
    let video = json!({"encoder": "libx264", "preset": "p1", "tune": "ull", "bitrate": "2M", "cbr": true,
        "options": {"nal-hrd": "cbr"}});
    let spec = json!({"source": pattern(150), "outputs": [{
        "path": dir.path("{n}.mkv"), "video": video, "audio": false, "split": {"size": "300k"}}]});
    let (done, _) = complete(&spec);
    assert!((4..=6).contains(&done.outputs.len()), "{:?}", done.outputs);
    for path in &done.outputs[..done.outputs.len() - 1] {
        let size = std::fs::metadata(path).unwrap().len();
        assert!((290_000..450_000).contains(&size), "{path}: {size}");
    }
    whole(&done.outputs, 150);
}

#[test]
fn cut_on_command_while_another_file_goes_on_from_the_same_encoder() {
    let dir = Dir::new();
    let spec = json!({"source": pattern(0), "outputs": [
        {"path": dir.path("cut-{n}.mp4"), "video": quick(), "split": true},
        {"path": dir.path("all.mkv"), "video": quick()}]});
    let job = start(&spec);
    reach(&job, 0.6);
    assert_eq!(job.split(1).unwrap_err().kind(), ghoststream::ErrorKind::Unsupported);
    assert_eq!(job.split(7).unwrap_err().kind(), ghoststream::ErrorKind::NotFound);
    job.split(0).unwrap();
    let first = until(&job, |e| match e {
        Event::Saved { path, .. } => Some(path.clone()),
        _ => None,
    });
    assert_eq!(first, dir.path("cut-1.mp4"));
    let length = numbers(&first).len();
    reach(&job, length as f64 / 25.0 + 0.5);
    job.split(0).unwrap();
    reach(&job, length as f64 / 25.0 + 1.0);
    assert_eq!(video_encoders(&job), 1, "{:?}", job.stats().stages);
    job.stop();
    let (done, _) = end(&job);
    assert_eq!(done.outputs.len(), 4, "{:?}", done.outputs);
    let all = numbers(&dir.path("all.mkv")).len() as u32;
    whole(&done.outputs[..3], all);
    whole(&done.outputs[3..], all);
    assert_eq!(job.split(0).unwrap_err().kind(), ghoststream::ErrorKind::State);
}

#[test]
fn an_ordinary_index_replaces_fragments() {
    for extension in ["mp4", "mov"] {
        let dir = Dir::new();
        let path = dir.path(&format!("a.{extension}"));
        let video = json!({"encoder": "libx264", "preset": "p3", "b_frames": 2});
        let spec = json!({"source": pattern(100), "outputs": [{
            "path": path, "video": video, "audio": [{"codec": "aac"}, {"codec": "aac"}], "crash_safe": true}]});
        let (_, events) = complete(&spec);
        assert!(!events.iter().any(|e| matches!(e, Event::Warning { .. })), "{events:?}");
        let found = probe(&path);
        assert_eq!(found["streams"].as_array().unwrap().len(), 3);
        let duration: f64 = found["format"]["duration"].as_str().unwrap().parse().unwrap();
        assert!((duration - 4.0).abs() < 0.05, "{duration}");
        for stream in found["streams"].as_array().unwrap() {
            // Only an ordinary index says how many frames there are.
            let said: u32 = stream["nb_frames"].as_str().unwrap().parse().unwrap();
            let read: u32 = stream["nb_read_frames"].as_str().unwrap().parse().unwrap();
            assert!(said == read || stream["codec_type"] == "audio" && said.abs_diff(read) <= 2, "{stream}");
        }
        whole(std::slice::from_ref(&path), 100);
        let data = std::fs::read(&path).unwrap();
        let mut kinds = Vec::new();
        let mut at = 0usize;
        while at + 16 <= data.len() {
            let size = match u32::from_be_bytes(data[at..at + 4].try_into().unwrap()) {
                1 => u64::from_be_bytes(data[at + 8..at + 16].try_into().unwrap()),
                n => u64::from(n),
            };
            kinds.push(String::from_utf8_lossy(&data[at + 4..at + 8]).into_owned());
            at += size as usize;
        }
        assert_eq!(
            (kinds.iter().map(String::as_str).collect::<Vec<_>>(), at),
            (vec!["ftyp", "mdat", "moov"], data.len())
        );
    }
}

#[test]
fn names_that_are_taken_are_left_alone() {
    let dir = Dir::new();
    std::fs::write(dir.path("a.mkv"), "mine").unwrap();
    let spec = json!({"source": pattern(10), "outputs": [
        {"path": dir.path("a.mkv"), "template": true, "video": quick()}]});
    let (done, events) = complete(&spec);
    assert_eq!(done.outputs, [dir.path("a-2.mkv")]);
    assert_eq!(saved(&events).len(), 1);
    assert_eq!(std::fs::read(dir.path("a.mkv")).unwrap(), b"mine");
}

#[test]
fn a_cancelled_recording_keeps_what_is_complete() {
    let dir = Dir::new();
    let spec = json!({"source": pattern(0), "outputs": [
        {"path": dir.path("{n}.mkv"), "video": quick(), "split": {"duration": 1}}]});
    let job = start(&spec);
    until(&job, |e| matches!(e, Event::Saved { .. }).then_some(()));
    job.cancel();
    job.wait(LONG).unwrap().unwrap();
    assert_eq!(dir.names(), ["1.mkv"]);
    probe(&dir.path("1.mkv"));
}

#[test]
fn sound_of_a_transport_stream_is_copied_into_fragments() {
    let dir = Dir::new();
    let first = json!({"source": pattern(50), "outputs": [
        {"path": dir.path("in.ts"), "video": quick(), "audio": {"codec": "aac"}}]});
    complete(&first);
    for extra in [json!({"crash_safe": true}), json!({"fragmented": true}), json!({})] {
        let mut output = json!({"path": dir.path("out.mp4"), "overwrite": true, "video": {"codec": "copy"},
            "audio": {"codec": "copy"}});
        output.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        complete(&json!({"source": {"url": dir.path("in.ts")}, "outputs": [output]}));
        let found = probe(&dir.path("out.mp4"));
        let counts: Vec<u32> = found["streams"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["nb_read_frames"].as_str().unwrap().parse().unwrap())
            .collect();
        assert!(counts[0] == 50 && counts[1].abs_diff(95) <= 2, "{extra}: {counts:?}");
        assert_eq!(numbers(&dir.path("out.mp4")).len(), 50);
    }
}
