//! Playing a source again: nothing is lost or doubled at the seam, whatever the container knows of its own times.

use crate::support::*;
use serde_json::json;

/// The clip of 100 frames, with B-frames, in three containers.
fn sources(dir: &Dir) -> Vec<String> {
    let mp4 = clip(dir, "in.mp4");
    let others = ["in.mkv", "in.ts"].map(|name| {
        let path = dir.path(name);
        ffmpeg(&format!("-i {mp4} -c copy {path}"));
        path
    });
    [vec![mp4], others.to_vec()].concat()
}

/// Presentation times of a stream's packets, in the order of presentation.
fn shown(path: &str, stream: &str) -> Vec<f64> {
    let mut all = times(path, stream);
    all.sort_by(f64::total_cmp);
    all
}

/// Frames of 40 ms and packets of sound of 21.3 ms, without a gap and none twice.
fn continuous(name: &str, output: &str, wanted: std::ops::RangeInclusive<usize>) {
    let video = shown(output, "v:0");
    assert!(wanted.contains(&video.len()), "{name}: {} frames", video.len());
    // A frame that has begun before the start is shown in the first round, for what is left of it.
    for w in video.windows(2).skip(usize::from(wanted.start() < wanted.end())) {
        let step = w[1] - w[0];
        assert!((step - 0.04).abs() < 0.003, "{name}: from {} to {}", w[0], w[1]);
    }
    let audio = shown(output, "a:0");
    for w in audio.windows(2) {
        let step = w[1] - w[0];
        assert!((step - 1024.0 / 48000.0).abs() < 0.003, "{name}: sound from {} to {}", w[0], w[1]);
    }
    let (picture, sound) = (video[video.len() - 1] + 0.04, audio[audio.len() - 1] + 0.0213);
    assert!((picture - sound).abs() < 0.06, "{name}: pictures end at {picture}, sound at {sound}");
}

#[test]
fn a_looped_source_has_no_seam() {
    let dir = Dir::new();
    for input in sources(&dir) {
        for (kind, video, audio) in [
            ("encoded", json!({"preset": "p1"}), json!({"codec": "aac"})),
            ("copied", json!({"codec": "copy"}), json!({"codec": "copy"})),
        ] {
            let output = dir.path("o.mkv");
            complete(json!({"source": {"url": input, "loop": 2},
                "outputs": [{"path": output, "overwrite": true, "video": video, "audio": audio}]}));
            continuous(&format!("{kind} {input}"), &output, 300..=300);
        }
    }
}

#[test]
fn a_loop_begins_again_at_the_start_that_was_asked_for() {
    let dir = Dir::new();
    for input in sources(&dir) {
        let output = dir.path("o.mkv");
        // 1.52 s lies between two key frames: 62 frames are left.
        complete(json!({"source": {"url": input, "start": 1.52, "loop": 2},
            "outputs": [{"path": output, "overwrite": true, "video": {"preset": "p1"}, "audio": {"codec": "aac"}}]}));
        // Where a frame has begun before the start, the first round shows it.
        continuous(&input, &output, 3 * 62..=3 * 62 + 1);
    }
}

#[test]
fn a_repetition_is_as_long_as_the_pictures_and_its_sound_goes_on() {
    let dir = Dir::new();
    // In Matroska the encoder's priming moves everything by its length, and its padding is behind the pictures: the container is longer
    // than what is to be seen. What repeats must not be.
    let (whole, short) = (dir.path("whole.mkv"), dir.path("short.mkv"));
    let video = "-f lavfi -i testsrc2=s=320x180:r=25:d=2 -c:v libx264 -preset ultrafast -g 25 -c:a aac";
    ffmpeg(&format!("-f lavfi -i sine=440:sample_rate=48000:d=2 {video} {whole}"));
    ffmpeg(&format!("-f lavfi -i sine=440:sample_rate=48000:d=1.7 {video} {short}"));
    for (input, hole) in [(whole, 0.0), (short, 0.3)] {
        let output = dir.path("o.mkv");
        complete(json!({"source": {"url": input, "loop": 5},
            "outputs": [{"path": output, "overwrite": true, "video": {"codec": "copy"}, "audio": {"codec": "copy"}}]}));
        let video = shown(&output, "v:0");
        assert_eq!(video.len(), 300, "{input}");
        assert!((video[299] - video[0] - 299.0 * 0.04).abs() < 0.002, "{input}: {}", video[299] - video[0]);
        let audio = shown(&output, "a:0");
        let frame = 1024.0 / 48000.0;
        let steps = audio.windows(2).map(|w| w[1] - w[0]);
        let holes: Vec<f64> = steps.clone().filter(|step| (step - frame).abs() > 0.003).collect();
        assert_eq!(holes.len(), if hole > 0.0 { 5 } else { 0 }, "{input}: {holes:?}");
        assert!(holes.iter().all(|h| (h - hole - frame).abs() < 1.5 * frame), "{input}: {holes:?}");
        // Wherever the round, the sound is where its pictures are.
        let rounds = audio.iter().filter(|t| **t > 10.0).count() as f64 * frame;
        assert!((rounds - (2.0 - hole)).abs() < 2.5 * frame, "{input}: {rounds}");
    }
}
