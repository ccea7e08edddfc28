use super::*;
use crate::encode::KeyGrid;
use crate::time::Timestamp;

/// Frames whose distance varies: 20 to 90 ms, in milliseconds.
fn variable(count: usize) -> Clip {
    let mut clip = Clip::constant(1, 1000, 40);
    clip.times.clear();
    let mut at = 0;
    for n in 0..count as i64 {
        let duration = 20 + (n * 37) % 71;
        clip.times.push((at, duration));
        at += duration;
    }
    clip
}

fn expected(clip: &Clip, interval: f64) -> Vec<f64> {
    let mut next = 0.0;
    let mut keys = Vec::new();
    for (pts, _) in &clip.times {
        let time = *pts as f64 * clip.base.as_f64();
        if time >= next - 1e-9 {
            keys.push(time);
            while time >= next - 1e-9 {
                next += interval;
            }
        }
    }
    keys
}

fn assert_grid(name: &str, json: &str, clip: &Clip, interval: f64) {
    let grid = KeyGrid::every(Timestamp::from_seconds(interval));
    let frame_rate = Some(if clip.base.den == 1000 { Rational::new(25, 1) } else { rate_of(clip) });
    let encoded = run(clip, VideoEncode { grid, frame_rate, ..config(name, json) });
    assert_eq!(encoded.packets.len(), clip.times.len(), "{name} {json}");
    let (got, want) = (encoded.keys(), expected(clip, interval));
    let same = got.len() == want.len() && got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(same, "{name} {json} base {}: key frames at {got:?} instead of {want:?}", clip.base);
    let mut last = None;
    for p in &encoded.packets {
        assert!(p.dts <= p.pts && last.is_none_or(|l| p.dts > l), "{name}: dts {:?} after {last:?}", p.dts);
        last = Some(p.dts);
    }
    assert_eq!(encoded.decode().len(), clip.times.len(), "{name}");
}

#[test]
fn key_frames_fall_on_the_grid_and_nowhere_else() {
    let encoders: &[(&str, &str)] = &[
        ("libx264", r#"{"preset":"p3"}"#),
        ("libx264", r#"{"bitrate":"500k","max_bitrate":"800k","preset":"p4","b_frames":3}"#),
        ("libx265", r#"{"preset":"p2"}"#),
        ("libsvtav1", "{}"),
        ("libsvtav1", r#"{"bitrate":"500k"}"#),
        ("libvpx-vp9", "{}"),
        ("mpeg2video", "{}"),
    ];
    for (name, json) in encoders {
        if available(&[name]).next().is_none() {
            continue;
        }
        for clip in [
            Clip::constant(60, 24000, 1001),
            Clip::constant(60, 25, 1),
            Clip::constant(60, 30000, 1001),
            variable(50),
        ] {
            if *name == "mpeg2video" && clip.base.den == 1000 {
                continue;
            }
            assert_grid(name, json, &clip, 0.7);
        }
    }
    for name in available(&["libaom-av1"]) {
        assert_grid(name, "{}", &Clip::constant(40, 30000, 1001), 0.7);
    }
}

/// The frames that are key frames, and how often the encoder was opened again.
fn keys_of(clip: &Clip, name: &str, seconds: f64) -> (Vec<usize>, usize) {
    let grid = KeyGrid::every(Timestamp::from_seconds(seconds));
    let config = config(name, r#"{"bitrate":"1M","preset":"p1"}"#);
    let mut encoder =
        VideoEncoder::new(VideoEncode { grid, frame_rate: Some(rate_of(clip)), ..config }).unwrap();
    let mut packets: Vec<Packet> = Vec::new();
    for frame in clip.frames() {
        encoder.push(frame, &mut packets).unwrap();
    }
    encoder.finish(&mut packets).unwrap();
    let keys = packets.iter().enumerate().filter(|(_, p)| p.key).map(|(n, _)| n).collect();
    (keys, encoder.openings())
}

/// Opened anew at each key frame, SVT-AV1 had 3 to 8 dB less from the second on.
#[test]
fn what_cannot_be_told_makes_the_grids_key_frames_itself() {
    for (name, frames) in [("libsvtav1", 120), ("libaom-av1", 60)] {
        for name in available(&[name]) {
            let clip = Clip::constant(frames, 25, 1).noise();
            let keys: Vec<usize> = (0..frames as usize).step_by(25).collect();
            assert_eq!(keys_of(&clip, name, 1.0), (keys, 0), "{name}");
        }
    }
}

/// 9.6 frames a second: 10 from one key frame to the next, and 9 where what is over has added up.
#[test]
fn an_encoders_own_key_frames_follow_a_grid_that_is_no_whole_number_of_frames() {
    for name in available(&["libsvtav1", "libaom-av1"]) {
        let clip = Clip::constant(60, 96, 10);
        assert_eq!(keys_of(&clip, name, 1.0), (vec![0, 10, 20, 29, 39, 48, 58], 2), "{name}");
    }
}

#[test]
fn a_cut_in_the_picture_makes_no_key_frame_of_its_own() {
    for name in available(&["libx264", "libx265", "libvpx-vp9"]) {
        let clip = Clip::constant(50, 25, 1);
        let mut encoder = VideoEncoder::new(VideoEncode {
            grid: KeyGrid::every(Timestamp::from_seconds(1.0)),
            frame_rate: Some(rate_of(&clip)),
            ..config(name, r#"{"preset":"p4"}"#)
        })
        .unwrap();
        let mut packets = Vec::new();
        for n in 0..50 {
            let mut of = clip.clone();
            // Frames 13 to 36 are another scene.
            of.content = if (13..37).contains(&n) { Content::Noise } else { Content::Gradient };
            encoder.push(of.frame(n), &mut packets).unwrap();
        }
        encoder.finish(&mut packets).unwrap();
        let keys: Vec<i64> = packets.iter().filter(|p| p.key).filter_map(|p| p.pts).collect();
        assert_eq!(keys, [0, 25], "{name}");
    }
}

#[test]
fn rungs_agree_whatever_their_encoder_and_base() {
    let grid = KeyGrid::every(Timestamp::from_seconds(0.8)).unwrap();
    let clip = Clip::constant(60, 30000, 1001);
    let run = |name: &str, time_base| {
        let config = config(name, "{}");
        let frame_rate = Some(rate_of(&clip));
        run(&clip, VideoEncode { grid: Some(grid.clone()), time_base, frame_rate, ..config }).keys()
    };
    let reference = run("libx264", None);
    assert_eq!(reference.len(), 3);
    for (name, base) in [("libx264", Some(Rational::new(1, 90000))), ("libx265", None), ("libvpx-vp9", None)]
    {
        let keys = run(name, base);
        assert!(keys.iter().zip(&reference).all(|(a, b)| (a - b).abs() < 1e-4), "{name}: {keys:?}");
        assert_eq!(keys.len(), 3, "{name}");
    }
}

#[test]
fn frames_that_round_to_one_tick_stay_apart() {
    let mut clip = Clip::constant(5, 1000, 1);
    clip.times = vec![(0, 0), (0, 0), (1, 0), (1, 0), (5, 0)];
    let encoded = run(&clip, config("libx264", "{}"));
    let mut times: Vec<i64> = encoded.packets.iter().filter_map(|p| p.pts).collect();
    times.sort_unstable();
    assert_eq!(times, [0, 1, 2, 3, 5]);
}
