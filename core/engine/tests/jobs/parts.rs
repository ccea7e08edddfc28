//! Parts of a set of segments: whichever job makes a segment, it is the same one.

use crate::support::*;
use ghoststream::job::Taken;
use serde_json::{Value, json};
use std::collections::BTreeMap;

type Objects = BTreeMap<String, Vec<u8>>;

/// Twelve seconds of 25 fps with a key frame at the beginning and wherever x264 wants one, and a tone that sweeps.
fn film(dir: &Dir, name: &str, more: &str) -> String {
    let path = dir.path(name);
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=12 -f lavfi -i aevalsrc=0.4*sin(2*PI*(200+40*t)*t):s=48000:d=12 \
         -c:v libx264 -preset veryfast -g 130 -bf 2 -pix_fmt yuv420p {more} {path}"
    ));
    path
}

/// Everything that a job for a part gives.
fn part(input: &str, first: u64, count: Option<u64>, more: &Value) -> Objects {
    let (objects, _) = part_with_packets(input, first, count, more);
    objects
}

/// The same, and how many packets each of the job's tracks had.
fn part_with_packets(input: &str, first: u64, count: Option<u64>, more: &Value) -> (Objects, Vec<u64>) {
    part_of(json!({"url": input}), first, count, more)
}

/// The same of any source.
fn part_of(source: Value, first: u64, count: Option<u64>, more: &Value) -> (Objects, Vec<u64>) {
    let mut window = json!({"first": first});
    if let Some(count) = count {
        window["count"] = json!(count);
    }
    let mut output = json!({"segments": true, "format": "hls+dash", "video": {"preset": "p1", "bitrate": "300k"}, "audio": {"codec": "aac"},
        "segment": {"duration": 2, "window": window}});
    for (key, value) in more.as_object().unwrap() {
        match (key.as_str(), value.as_object()) {
            ("segment", Some(fields)) => fields.iter().for_each(|(k, v)| output["segment"][k] = v.clone()),
            ("window", Some(fields)) => {
                fields.iter().for_each(|(k, v)| output["segment"]["window"][k] = v.clone())
            }
            _ => output[key] = value.clone(),
        }
    }
    let job = start(json!({"source": source, "outputs": [output]}));
    let mut objects = Objects::new();
    while let Taken::Item(s) = job.next_segment(0, None).unwrap() {
        assert!(objects.insert(s.name.clone(), s.data.to_vec()).is_none(), "{} twice", s.name);
    }
    job.wait(None).unwrap().unwrap().into_result().unwrap();
    (objects, job.stats().tracks.iter().map(|track| track.packets).collect())
}

/// Time stamps and flags of the packets of each stream of `bytes`.
fn timing(dir: &Dir, bytes: &[u8]) -> Vec<String> {
    let path = dir.path("one");
    std::fs::write(&path, bytes).unwrap();
    let out = std::process::Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-show_entries",
            "packet=stream_index,pts,dts,duration,flags",
            "-of",
            "csv=p=0",
        ])
        .arg(&path)
        .output()
        .unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut lines: Vec<String> = String::from_utf8(out.stdout).unwrap().lines().map(String::from).collect();
    lines.sort();
    lines
}

/// The object with what it needs to be read.
fn readable(objects: &Objects, name: &str) -> Vec<u8> {
    let init = name.rsplit_once('/').map(|(dir, _)| format!("{dir}/init.mp4")).unwrap_or_default();
    let mut bytes = objects.get(&init).cloned().unwrap_or_default();
    bytes.extend_from_slice(&objects[name]);
    bytes
}

fn is_media(name: &str) -> bool {
    !name.ends_with("init.mp4")
}

/// `parts` have what `whole` has, packet by packet.
fn agree(dir: &Dir, whole: &Objects, parts: &[&Objects]) {
    for part in parts {
        assert!(part.keys().any(|n| is_media(n)));
        for (name, bytes) in part.iter() {
            if is_media(name) {
                let (a, b) = (timing(dir, &readable(whole, name)), timing(dir, &readable(part, name)));
                assert_eq!(a, b, "{name}");
            } else {
                assert!(whole[name] == *bytes, "{name} is the same whoever makes it");
            }
        }
    }
}

/// The segments of one rendition in one piece, each from the last of `sources` that has it.
fn joined(rendition: &str, sources: &[&Objects]) -> Vec<u8> {
    let mut names: Vec<&String> =
        sources.iter().flat_map(|s| s.keys()).filter(|n| n.starts_with(rendition) && is_media(n)).collect();
    names.sort();
    names.dedup();
    let init = format!("{rendition}/init.mp4");
    let mut bytes = sources[0].get(&init).cloned().unwrap_or_default();
    for name in names {
        bytes.extend(sources.iter().rev().find_map(|s| s.get(name)).unwrap());
    }
    bytes
}

/// Decoded sound, one channel; fails where FFmpeg complains.
fn sound(dir: &Dir, bytes: &[u8]) -> Vec<f32> {
    let path = dir.path("sound");
    std::fs::write(&path, bytes).unwrap();
    let out = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-i", &path, "-vn", "-ac", "1", "-f", "f32le", "-"])
        .output()
        .unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// The joined sound is that of one job: nothing is missing, and nothing is heard where parts meet.
fn sounds_alike(dir: &Dir, rendition: &str, whole: &Objects, parts: &[&Objects], joints: &[f64], rate: f64) {
    let mut sources = vec![whole];
    sources.extend(parts);
    let (one, many) = (sound(dir, &joined(rendition, &[whole])), sound(dir, &joined(rendition, &sources)));
    assert_eq!(one.len(), many.len());
    let error = |a: usize, b: usize| {
        let sum: f32 = (a..b).map(|i| (one[i] - many[i]).powi(2)).sum();
        (sum / (b - a) as f32).sqrt()
    };
    for joint in joints {
        let at = (joint * rate) as usize;
        // A gap, a lost or doubled frame or a shift by a few samples would be some tenths here.
        for piece in (at - 4800..at + 4800).step_by(480) {
            let error = error(piece, piece + 480);
            assert!(error < 0.02, "{rendition}: {error} near {joint} s");
        }
    }
}

#[test]
fn a_late_part_encodes_nothing_of_what_is_before_it() {
    let dir = Dir::new();
    let film = film(&dir, "film.mp4", "-c:a aac");
    let (_, packets) = part_with_packets(&film, 5, Some(1), &json!({}));
    // Two seconds of 25 pictures and 47 packets of sound each, and what their encoders need before them.
    assert!(packets.len() == 2 && packets.iter().all(|n| (50..150).contains(n)), "{packets:?}");
}

#[test]
fn segments_are_the_same_whichever_job_makes_them() {
    let dir = Dir::new();
    let input = film(&dir, "in.mp4", "-c:a aac");
    let more = json!({});
    let whole = part(&input, 0, None, &more);
    assert!(whole.keys().all(|n| !n.ends_with(".m3u8") && !n.ends_with(".mpd")), "{:?}", whole.keys());
    assert_eq!(whole.keys().filter(|n| n.starts_with("180p/0")).count(), 6, "{:?}", whole.keys());
    let (middle, end) = (part(&input, 2, Some(2), &more), part(&input, 4, None, &more));
    let names = |o: &Objects| -> Vec<String> { o.keys().filter(|n| is_media(n)).cloned().collect() };
    assert_eq!(names(&middle), ["180p/00002.m4s", "180p/00003.m4s", "audio/00002.m4s", "audio/00003.m4s"]);
    assert_eq!(names(&end), ["180p/00004.m4s", "180p/00005.m4s", "audio/00004.m4s", "audio/00005.m4s"]);
    agree(&dir, &whole, &[&middle, &end]);
    let path = dir.path("joined.mp4");
    std::fs::write(&path, joined("180p", &[&whole, &middle, &end])).unwrap();
    assert_eq!(frames(video(&probe(&path))), 300);
    sounds_alike(&dir, "audio", &whole, &[&middle, &end], &[4.0, 8.0], 48000.0);
}

/// A digest of every picture.
fn pictures(dir: &Dir, bytes: &[u8]) -> Vec<String> {
    let path = dir.path("pictures");
    std::fs::write(&path, bytes).unwrap();
    let out = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-i", &path, "-map", "0:v", "-vsync", "passthrough", "-f", "framemd5", "-"])
        .output()
        .unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    let lines = String::from_utf8(out.stdout).unwrap();
    let digest = |l: &str| l.rsplit(',').next().unwrap_or_default().trim().to_string();
    lines.lines().filter(|l| !l.starts_with('#')).map(digest).collect()
}

/// What lies before a part is not decoded in full; what is in it must not show that.
#[test]
fn pictures_are_the_same_whichever_job_makes_them() {
    let dir = Dir::new();
    // Some pictures that others refer to, and some that no other needs.
    let input = film(&dir, "in.mkv", "-x264-params b-pyramid=normal:bframes=3:b-adapt=0 -an");
    let more = json!({"video": {"preset": "p1", "lossless": true}, "audio": false});
    let whole = part(&input, 0, None, &more);
    for first in 1..6 {
        let one = part(&input, first, Some(1), &more);
        let name = one.keys().find(|n| is_media(n)).unwrap();
        let (a, b) = (pictures(&dir, &readable(&whole, name)), pictures(&dir, &readable(&one, name)));
        assert_eq!(b.len(), 50, "{name}");
        assert_eq!(a, b, "{name}");
    }
}

/// The continuity counter of every PID counts without a gap.
fn counters_go_on(bytes: &[u8]) {
    let mut last: BTreeMap<u16, u8> = BTreeMap::new();
    for (n, packet) in bytes.chunks_exact(188).enumerate() {
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let counter = packet[3] & 15;
        if let Some(before) = last.insert(pid, counter) {
            assert_eq!(counter, (before + 1) & 15, "packet {n} of PID {pid:#x}");
        }
    }
    assert!(last.len() >= 4, "{last:?}");
}

#[test]
fn transport_streams_join_without_a_complaint() {
    let dir = Dir::new();
    let input = film(&dir, "in.mkv", "-c:a libmp3lame -ar 44100");
    let more = json!({"format": "hls", "segment": {"container": "ts"}});
    let whole = part(&input, 0, None, &more);
    let (middle, end) = (part(&input, 1, Some(3), &more), part(&input, 4, None, &more));
    agree(&dir, &whole, &[&middle, &end]);
    let path = dir.path("joined.ts");
    let bytes = joined("180p", &[&whole, &middle, &end]);
    counters_go_on(&bytes);
    std::fs::write(&path, bytes).unwrap();
    let streams = probe(&path);
    assert_eq!(frames(video(&streams)), 300);
    let times: Vec<f64> = packets(&path).iter().map(|(t, _)| *t).collect();
    assert_eq!(times.len(), 300);
    sounds_alike(&dir, "180p", &whole, &[&middle, &end], &[2.0, 8.0], 44100.0);
    // Apart, if asked for.
    let apart = part(
        &input,
        3,
        Some(1),
        &json!({"format": "hls", "segment": {"container": "ts"}, "window": {"apart": true}}),
    );
    assert_eq!(apart.keys().collect::<Vec<_>>(), ["180p/00003.ts", "audio/00003.ts"]);
}

#[test]
fn resampled_and_opus_sound_goes_on() {
    let dir = Dir::new();
    let input = film(&dir, "in.mkv", "-c:a aac -ar 44100");
    let more = json!({"video": false, "audio": [
        {"name": "a48", "codec": "aac", "sample_rate": 48000}, {"name": "opus", "codec": "opus"}]});
    let whole = part(&input, 0, None, &more);
    let (middle, end) = (part(&input, 2, Some(1), &more), part(&input, 3, None, &more));
    agree(&dir, &whole, &[&middle, &end]);
    for rendition in ["a48", "opus"] {
        sounds_alike(&dir, rendition, &whole, &[&middle, &end], &[4.0, 6.0], 48000.0);
    }
}

#[test]
fn a_ladder_with_other_starts_and_another_rate() {
    let dir = Dir::new();
    let input = film(&dir, "in.mp4", "-c:a aac");
    let more = json!({"window": {"starts": [0, 1.49, 3.97, 7.01, 9]}, "ladder": [
        {"name": "top", "height": 180, "bitrate": "300k"},
        {"name": "slow", "height": 90, "bitrate": "100k", "frame_rate": "25/2"}]});
    let whole = part(&input, 0, None, &more);
    assert_eq!(whole.keys().filter(|n| n.starts_with("slow/0")).count(), 5, "{:?}", whole.keys());
    let (second, last) = (part(&input, 1, Some(1), &more), part(&input, 4, None, &more));
    agree(&dir, &whole, &[&second, &last]);
    // Fewer rungs make the same segments.
    let mut one = more.clone();
    one["ladder"] = json!([more["ladder"][1]]);
    agree(&dir, &whole, &[&part(&input, 2, Some(1), &one)]);
}

#[test]
fn copies_are_cut_at_their_key_frames() {
    let dir = Dir::new();
    let input = film(&dir, "in.mp4", "-c:a aac");
    let probe = ghoststream::probe::probe(
        &ghoststream::spec::SourceSpec::url(&input),
        &ghoststream::probe::ProbeOptions { keyframes: true },
    )
    .unwrap();
    let keys: Vec<f64> = probe.video().unwrap().keyframes.iter().flatten().map(|k| k.time).collect();
    assert!(keys.len() >= 3, "{keys:?}");
    let more = json!({"video": {"codec": "copy", "name": "source"}, "window": {"starts": keys}, "audio": {"codec": "copy"}});
    let whole = part(&input, 0, None, &more);
    let parts: Vec<Objects> = (1..keys.len() as u64).map(|n| part(&input, n, Some(1), &more)).collect();
    let parts: Vec<&Objects> = parts.iter().collect();
    agree(&dir, &whole, &parts);
    for part in parts {
        for (name, bytes) in part {
            assert!(whole[name] == *bytes, "{name}: copies are the same to the byte");
        }
    }
}

#[test]
fn a_recording_cut_off_within_its_first_group_is_played_to_its_end() {
    let dir = Dir::new();
    let (whole, input) = (dir.path("whole.mkv"), dir.path("in.mkv"));
    // Sound that begins before the pictures: the file's beginning is before its only key frame.
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=10 -f lavfi -i sine=d=10 -c:v libx264 -preset veryfast -g 250 \
         -c:a libopus {whole}"
    ));
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::write(&input, &bytes[..bytes.len() / 2]).unwrap();
    let rung = "180p";
    let source = json!({"url": input, "salvage": true});
    let (objects, _) = part_of(source.clone(), 0, None, &json!({}));
    let pictures: usize = objects
        .keys()
        .filter(|n| n.starts_with(rung) && is_media(n))
        .map(|n| timing(&dir, &readable(&objects, n)).len())
        .sum();
    assert!((75..250).contains(&pictures), "{pictures} of about 125 pictures: {:?}", objects.keys());
    let (copied, _) = part_of(
        source,
        0,
        None,
        &json!({"video": {"codec": "copy", "name": rung}, "window": {"starts": [0]}}),
    );
    assert_eq!(
        copied.keys().filter(|n| n.starts_with(rung) && is_media(n)).count(),
        1,
        "{:?}",
        copied.keys()
    );
}

#[test]
fn sound_that_ends_early_goes_on_in_silence() {
    let dir = Dir::new();
    let input = dir.path("in.mp4");
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=10 -f lavfi -i sine=d=5 -c:v libx264 -preset veryfast -c:a aac {input}"
    ));
    let more = json!({});
    let (whole, last) = (part(&input, 0, None, &more), part(&input, 4, None, &more));
    assert_eq!(whole.keys().filter(|n| n.starts_with("audio/0")).count(), 5, "{:?}", whole.keys());
    agree(&dir, &whole, &[&last]);
}

#[test]
fn what_cannot_be_made_in_parts_is_refused() {
    for (more, path) in [
        (json!({"segment": {"window": {"starts": [1, 2]}}}), "outputs[0].segment.window.starts: "),
        (json!({"segment": {"window": {"starts": [0, 2, 2]}}}), "outputs[0].segment.window.starts: "),
        (json!({"segment": {"window": {"starts": [0, 2], "first": 2}}}), "outputs[0].segment.window.first: "),
        (json!({"segment": {"window": {"count": 0}}}), "outputs[0].segment.window.count: "),
        (
            json!({"segment": {"window": {}}, "video": {"codec": "copy"}}),
            "outputs[0].segment.window.starts: ",
        ),
        (
            json!({"segment": {"window": {}}, "video": {"bitrate": "1M", "two_pass": true}}),
            "outputs[0].segment.window: ",
        ),
        (json!({"segment": {"window": {}}, "audio": {"loudness": {}}}), "outputs[0].segment.window: "),
        (json!({"segment": {"window": {}}, "subtitles": [{"stream": 2}]}), "outputs[0].segment.window: "),
        (json!({"video": {"name": "../x"}}), "outputs[0].video.name: "),
        (json!({"ladder": [{"name": "a"}, {"name": "a"}]}), "outputs[0].ladder[1].name: "),
    ] {
        let mut output = json!({"segments": true, "format": "hls"});
        more.as_object().unwrap().iter().for_each(|(k, v)| output[k] = v.clone());
        let spec = json!({"source": {"url": "a.mp4"}, "outputs": [output]}).to_string();
        let e = ghoststream::PipelineSpec::from_json(&spec).expect_err(&spec);
        assert!(e.message().starts_with(path), "{}", e.message());
    }
}
