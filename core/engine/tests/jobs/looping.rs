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

/// Frames of 40 ms and packets of sound of 21.3 ms, without a gap as long as a frame and none twice.
fn continuous(name: &str, output: &str, wanted: std::ops::RangeInclusive<usize>) {
    let video = shown(output, "v:0");
    assert!(wanted.contains(&video.len()), "{name}: {} frames", video.len());
    for w in video.windows(2) {
        let step = w[1] - w[0];
        assert!(step > 0.001 && step < 0.0795, "{name}: from {} to {}", w[0], w[1]);
    }
    let audio = shown(output, "a:0");
    for w in audio.windows(2) {
        let step = w[1] - w[0];
        assert!(step > 0.0 && step < 0.043 + 0.04, "{name}: sound from {} to {}", w[0], w[1]);
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
