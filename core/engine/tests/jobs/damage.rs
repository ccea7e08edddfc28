//! Media whose insides are damaged or strange: what is whole comes out, the rest is said.

use crate::support::*;
use ghoststream::event::{Event, Outcome};
use serde_json::json;

/// The position of the `n`th box called `name`: that of its size.
fn boxed(file: &[u8], name: &[u8; 4], n: usize) -> usize {
    file.windows(4).enumerate().filter(|(_, w)| w == name).nth(n).unwrap().0 - 4
}

/// A fragment that claims 70 million samples in no bytes at all made 2.3 GB of FFmpeg's tables.
#[test]
fn a_count_of_samples_that_is_damaged_takes_no_memory() {
    let dir = Dir::new();
    let (whole, damaged) = (dir.path("whole.mp4"), dir.path("damaged.mp4"));
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=64x48:r=10:d=1 -c:v libx264 -g 5 -movflags frag_keyframe+empty_moov {whole}"
    ));
    let bytes = std::fs::read(&whole).unwrap();
    for fragment in 0..2 {
        let mut bytes = bytes.clone();
        let run = boxed(&bytes, b"trun", fragment) + 8;
        // Only the offset of the data; everything about the samples is as the header of the track says.
        bytes[run..run + 4].copy_from_slice(&1u32.to_be_bytes());
        bytes[run + 4..run + 8].copy_from_slice(&70_000_000u32.to_be_bytes());
        std::fs::write(&damaged, bytes).unwrap();
        let message = failure(
            json!({"source": {"url": damaged}, "outputs": [{"path": dir.path("o.mp4"), "video": {"codec": "copy"}}]}),
        );
        assert!(message.contains("damaged.mp4") && message.contains("512 MiB"), "{fragment}: {message}");
        assert!(!exists(&dir.path("o.mp4")));
    }
}

/// Pictures and sound of four seconds; the middle tenth of the file is zeros.
fn with_a_hole(dir: &Dir, name: &str) -> String {
    let path = clip(dir, name);
    let mut bytes = std::fs::read(&path).unwrap();
    let length = bytes.len();
    bytes[length * 45 / 100..length * 55 / 100].fill(0);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Runs a job that must complete, and gives its warnings and what its stages counted as damaged.
fn warned(spec: serde_json::Value) -> (Vec<String>, u64) {
    let job = start(spec);
    let (mut warnings, mut outcome) = (Vec::new(), None);
    for event in events(&job) {
        match event {
            Event::Warning { code: "source", message } => warnings.push(message),
            Event::Done(done) => outcome = Some(done),
            _ => {}
        }
    }
    let done = outcome.unwrap();
    assert_eq!(done.outcome, Outcome::Completed, "{:?}", done.message);
    (warnings, job.stats().stages.iter().map(|s| s.damaged).sum())
}

/// The first and the last presentation time of a stream.
fn span(path: &str, stream: &str) -> (f64, f64) {
    let times = times(path, stream);
    let by = |a: &&f64, b: &&f64| a.total_cmp(b);
    (*times.iter().min_by(by).unwrap(), *times.iter().max_by(by).unwrap())
}

#[test]
fn damage_in_the_middle_is_told_and_what_follows_is_in_time() {
    let dir = Dir::new();
    for name in ["hole.mp4", "hole.mkv", "hole.ts"] {
        let input = with_a_hole(&dir, name);
        let encoded = dir.path(&format!("{name}.encoded.mp4"));
        let (warnings, damaged) = warned(json!({"source": {"url": input}, "outputs": [
            {"path": encoded, "video": {"codec": "h264", "preset": "p1"}, "audio": {"codec": "aac"}}]}));
        assert!(damaged > 0 && warnings.iter().all(|w| w.contains(name)), "{name}: {damaged}: {warnings:?}");
        assert!(!warnings.is_empty(), "{name}");
        // Decodes without a complaint, with most of the pictures, and both end where they should.
        let streams = probe(&encoded);
        assert!((60..100).contains(&frames(video(&streams))), "{name}: {}", frames(video(&streams)));
        for stream in ["v:0", "a:0"] {
            let (first, last) = span(&encoded, stream);
            assert!(first < 0.05 && (3.9..4.05).contains(&last), "{name}: {stream}: {first} to {last}");
        }
    }
}

#[test]
fn damaged_packets_are_left_out_of_copies() {
    let dir = Dir::new();
    for (name, output, container) in [
        ("hole.ts", "o.mkv", "mkv"),
        ("hole.ts", "o.mp4", "mp4"),
        ("hole.ts", "ts/", "hls"),
        ("hole.mp4", "mp4/", "hls"),
        ("hole.mkv", "mkv/", "hls"),
    ] {
        let input = with_a_hole(&dir, name);
        let path = dir.path(output);
        let mut wanted = json!({"path": path, "format": container, "video": {"codec": "copy"}, "audio": {"codec": "copy"}});
        if container == "hls" {
            wanted["segment"] = json!({"duration": 1});
        }
        let (warnings, damaged) = warned(json!({"source": {"url": input}, "outputs": [wanted]}));
        assert!(damaged > 0 && !warnings.is_empty(), "{name} to {output}");
        let file = if container == "hls" { format!("{path}master.m3u8") } else { path };
        for stream in ["v:0", "a:0"] {
            let (first, last) = span(&file, stream);
            assert!(
                first < 0.05 && (3.9..4.05).contains(&last),
                "{name} to {output}: {stream}: {first} to {last}"
            );
        }
    }
}

#[test]
fn copies_that_begin_before_zero_can_be_segmented() {
    let dir = Dir::new();
    let whole = clip(&dir, "whole.mp4");
    // As editors cut: from the key frame before, and an edit list that hides what was not wanted.
    let edited = dir.path("edited.mp4");
    ffmpeg(&format!("-ss 1.6 -i {whole} -c copy {edited}"));
    for (input, start, container) in [(&edited, 0.0, "fmp4"), (&whole, 1.6, "fmp4"), (&whole, 1.6, "ts")] {
        let path = dir.path(&format!("{start}{container}/"));
        complete(
            json!({"source": {"url": input, "start": start}, "outputs": [{"path": path, "format": "hls",
            "segment": {"duration": 1, "container": container}, "video": {"codec": "copy"}, "audio": {"codec": "copy"}}]}),
        );
        let ((picture, last), (sound, end)) =
            (span(&format!("{path}master.m3u8"), "v:0"), span(&format!("{path}master.m3u8"), "a:0"));
        // Three seconds from the key frame at 1 s; both begin and end together.
        assert!((last - picture - 2.96).abs() < 0.01, "{path}: {picture} to {last}");
        assert!((picture - sound).abs() < 0.1 && (last - end).abs() < 0.06, "{path}: {sound} to {end}");
    }
}

#[test]
fn times_beyond_two_days_before_zero_and_across_the_wrap_are_kept_in_order() {
    let dir = Dir::new();
    let source = clip(&dir, "source.mkv");
    for (name, shift) in [
        ("far.mp4", "180000"),
        ("far.mkv", "180000"),
        ("far.ts", "180000"),
        ("far.nut", "180000"),
        // 33 bits of 90 kHz are over after 95443.7 s.
        ("wrapped.ts", "95441.7"),
        ("early.mp4", "-1.5"),
    ] {
        let input = dir.path(name);
        ffmpeg(&format!("-i {source} -c copy -avoid_negative_ts disabled -output_ts_offset {shift} {input}"));
        let encoded = dir.path(&format!("{name}.mp4"));
        let copied = dir.path(&format!("{name}-hls/"));
        complete(json!({"source": {"url": input}, "outputs": [
            {"path": encoded, "video": {"codec": "h264", "preset": "p1"}, "audio": {"codec": "aac"}},
            {"path": copied, "format": "hls", "segment": {"duration": 1}, "video": {"codec": "copy"}, "audio": {"codec": "copy"}}]}));
        // What is before 0 is hidden by an edit list, and a copy begins with the key frame before that.
        let early = name == "early.mp4";
        let (shown, length) = if early { (63, 2.5) } else { (100, 4.0) };
        assert_eq!(frames(video(&probe(&encoded))), shown, "{name}");
        for (file, length) in
            [(encoded, length), (format!("{copied}master.m3u8"), if early { 3.0 } else { 4.0 })]
        {
            for stream in ["v:0", "a:0"] {
                let (first, last) = span(&file, stream);
                assert!(first < 0.05 && (last - length).abs() < 0.1, "{file}: {stream}: {first} to {last}");
            }
        }
    }
}

#[test]
fn fifty_hours_stay_fifty_hours() {
    let dir = Dir::new();
    let input = dir.path("long.mp4");
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=64x48:r=1/600:d=180000 -c:v libx264 -preset ultrafast -g 10 {input}"
    ));
    let (file, folder) = (dir.path("o.mkv"), dir.path("h/"));
    complete(
        json!({"source": {"url": input, "start": 600}, "outputs": [{"path": file, "video": {"codec": "h264"}}]}),
    );
    assert_eq!(span(&file, "v:0"), (0.0, 178_800.0));
    complete(
        json!({"source": {"url": input}, "outputs": [{"path": folder, "format": "hls", "video": {"codec": "copy"}}]}),
    );
    assert_eq!(span(&format!("{folder}master.m3u8"), "v:0"), (0.0, 179_400.0));
}

#[test]
fn a_source_without_any_length_is_refused_and_one_picture_is_a_film() {
    let dir = Dir::new();
    let (none, silent, one) = (dir.path("none.mp4"), dir.path("none.wav"), dir.path("one.mkv"));
    ffmpeg(&format!("-f lavfi -i testsrc2=s=64x48 -t 0 -c:v libx264 -movflags empty_moov {none}"));
    ffmpeg(&format!("-f lavfi -i sine -t 0 {silent}"));
    ffmpeg(&format!("-f lavfi -i testsrc2=s=64x48 -frames:v 1 -c:v libx264 {one}"));
    let before = dir.names();
    for (input, codec) in [(&none, "h264"), (&none, "copy")] {
        let message = failure(
            json!({"source": {"url": input}, "outputs": [{"path": dir.path("o.mp4"), "video": {"codec": codec}}]}),
        );
        assert!(message.contains("o.mp4") && message.contains("no frame and no packet"), "{message}");
        assert_eq!(dir.names(), before);
    }
    let message = failure(
        json!({"source": {"url": silent}, "outputs": [{"path": dir.path("o.m4a"), "audio": {"codec": "aac"}}]}),
    );
    assert!(message.contains("no frame and no packet"), "{message}");
    complete(simple(&one, &dir.path("o.mp4")));
    assert_eq!(frames(video(&probe(&dir.path("o.mp4")))), 1);
}

#[test]
fn pictures_of_one_pixel_and_of_8k() {
    let dir = Dir::new();
    let (dot, wall) = (dir.path("dot.mkv"), dir.path("wall.mp4"));
    ffmpeg(&format!(
        "-f lavfi -i color=red:s=2x2:r=25:d=0.2 -vf crop=1:1:exact=1 -c:v ffv1 -pix_fmt yuv444p {dot}"
    ));
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=7680x4320:r=25 -frames:v 2 -c:v libx264 -preset ultrafast -pix_fmt yuv420p {wall}"
    ));
    let size = |path: &str| {
        let streams = probe(path);
        let v = video(&streams);
        (v["width"].as_u64().unwrap(), v["height"].as_u64().unwrap(), frames(v))
    };
    let (kept, grown) = (dir.path("kept.mkv"), dir.path("grown.mp4"));
    complete(json!({"source": {"url": dot}, "outputs": [{"path": kept, "video": {"codec": "copy"}},
        {"path": grown, "video": {"codec": "h264"}}]}));
    // What is encoded has even sides.
    assert_eq!((size(&kept), size(&grown)), ((1, 1, 5), (2, 2, 5)));
    let (copied, small) = (dir.path("copied.mkv"), dir.path("small.mp4"));
    complete(json!({"source": {"url": wall}, "outputs": [{"path": copied, "video": {"codec": "copy"}},
        {"path": small, "video": {"codec": "h264", "width": 640, "height": 360}}]}));
    assert_eq!((size(&copied), size(&small)), ((7680, 4320, 2), (640, 360, 2)));
}

#[test]
fn encrypted_files_and_texts_are_refused_and_the_key_opens() {
    let dir = Dir::new();
    let plain = clip(&dir, "plain.mp4");
    let (secret, text) = (dir.path("secret.mp4"), dir.path("text.mp4"));
    let key = "76a6c65c5ea762046bd749a2e632ccbb";
    ffmpeg(&format!(
        "-i {plain} -c copy -encryption_scheme cenc-aes-ctr -encryption_key {key} -encryption_kid a7e61c373e219033c21091fa607bf3b8 {secret}"
    ));
    std::fs::write(&text, "this is not a film\n".repeat(100)).unwrap();
    let before = dir.names();
    for (input, word) in [(&secret, "is encrypted"), (&text, "it is text")] {
        for codec in ["h264", "copy"] {
            let message = failure(
                json!({"source": {"url": input}, "outputs": [{"path": dir.path("o.mp4"), "video": {"codec": codec}}]}),
            );
            assert!(message.contains(input) && message.contains(word), "{message}");
            assert_eq!(dir.names(), before);
        }
    }
    complete(
        json!({"source": {"url": secret, "options": {"decryption_key": key}}, "outputs": [{"path": dir.path("o.mp4")}]}),
    );
    assert_eq!(frames(video(&probe(&dir.path("o.mp4")))), 100);
}
