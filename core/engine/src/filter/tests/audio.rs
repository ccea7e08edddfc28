use super::super::{AudioConform, AudioTarget, Rounds, Trim};
use super::*;
use crate::spec::LoudnessSpec;
use crate::time::Timestamp;
use std::f64::consts::TAU;

const MS: TimeBase = Rational::new(1, 1000);

fn target(layout: &str, rate: u32) -> AudioTarget {
    AudioTarget {
        params: params(rate, layout, SampleFormat::F32P),
        frame_size: Some(1024),
        gain_db: None,
        loudness: None,
        sync: true,
        begin: None,
        until: None,
    }
}

fn tone(n: i64, rate: u32) -> f32 {
    (0.5 * (TAU * 440.0 * n as f64 / f64::from(rate)).sin()) as f32
}

/// A 440 Hz tone in frames of 1024; `pts` gives each frame's time in samples.
fn tones(rate: u32, frames: usize, pts: impl Fn(i64) -> i64) -> Vec<Frame> {
    let p = params(rate, "stereo", SampleFormat::F32);
    let base = Rational::new(1, rate as i32);
    (0..frames as i64).map(|i| sound(&p, i * 1024, 1024, pts(i * 1024), base, |_, n| tone(n, rate))).collect()
}

/// Frames of exactly 1024 but the last, without a hole; the number of samples and the first pts.
fn steady(frames: &[Frame], rate: u32) -> (usize, i64) {
    let first = frames[0].pts.unwrap();
    let mut next = first;
    for (i, f) in frames.iter().enumerate() {
        assert_eq!((f.base, f.pts), (Rational::new(1, rate as i32), Some(next)));
        assert_eq!(f.duration, f.media().samples() as i64);
        assert!(f.media().samples() == 1024 || i + 1 == frames.len());
        next += f.duration;
    }
    ((next - first) as usize, first)
}

#[test]
fn sound_that_is_right_keeps_its_samples_and_its_first_time() {
    let out = run(&mut AudioConform::new(target("stereo", 48000)).unwrap(), tones(48000, 20, |t| t + 7777))
        .unwrap();
    assert_eq!(steady(&out, 48000), (20 * 1024, 7777));
    let got = channel(&out, 1);
    assert!(got.iter().enumerate().all(|(n, v)| (v - tone(n as i64, 48000)).abs() < 1e-6));
}

#[test]
fn resampling_keeps_length_and_time() {
    let out = run(&mut AudioConform::new(target("stereo", 48000)).unwrap(), tones(44100, 43, |t| t + 44100))
        .unwrap();
    let (count, first) = steady(&out, 48000);
    assert_eq!(first, 48000);
    assert!(count.abs_diff(43 * 1024 * 48000 / 44100) <= 2, "{count}");
}

#[test]
fn gaps_become_silence_and_overlaps_are_dropped() {
    // Half a second missing after frame 10.
    let gap = |t: i64| if t >= 10 * 1024 { t + 24000 } else { t };
    let out = run(&mut AudioConform::new(target("stereo", 48000)).unwrap(), tones(48000, 20, gap)).unwrap();
    assert_eq!(steady(&out, 48000), (20 * 1024 + 24000, 0));
    let got = channel(&out, 0);
    assert!(got[10 * 1024..10 * 1024 + 24000].iter().all(|v| *v == 0.0));
    assert!((got[10 * 1024 + 24000 + 100] - tone(10 * 1024 + 100, 48000)).abs() < 1e-6);
    // A quarter of a second is there twice.
    let overlap = |t: i64| if t >= 15 * 1024 { t - 12000 } else { t };
    let out =
        run(&mut AudioConform::new(target("stereo", 48000)).unwrap(), tones(48000, 40, overlap)).unwrap();
    assert_eq!(steady(&out, 48000), (40 * 1024 - 12000, 0));
    // Without sync the samples just follow each other.
    let loose = AudioTarget { sync: false, ..target("stereo", 48000) };
    let out = run(&mut AudioConform::new(loose).unwrap(), tones(48000, 20, gap)).unwrap();
    assert_eq!(steady(&out, 48000), (20 * 1024, 0));
    // A clock that starts again (a long way back) is not a reason to fall silent.
    let again = |t: i64| if t >= 100 * 1024 { t - 100 * 1024 } else { t };
    let out =
        run(&mut AudioConform::new(target("stereo", 48000)).unwrap(), tones(48000, 120, again)).unwrap();
    assert_eq!(steady(&out, 48000), (120 * 1024, 0));
}

#[test]
fn drift_is_followed_without_a_break() {
    // The source's clock runs 0.1 % fast against its timestamps, for 20 s.
    let frames = tones(48000, 940, |t| t + t / 1000);
    let end = 940 * 1024 + 940 * 1024 / 1000;
    let out = run(&mut AudioConform::new(target("stereo", 48000)).unwrap(), frames).unwrap();
    let (count, _) = steady(&out, 48000);
    assert!(count.abs_diff(end) < 480, "{count} samples for {end}: more than 10 ms off");
    let got = channel(&out, 0);
    let click = got.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
    assert!(click < 0.04, "a step of {click} in a tone whose steepest is 0.029");
    // Millisecond timestamps are not drift.
    let p = params(44100, "stereo", SampleFormat::F32);
    let frames = (0..400).map(|i| {
        let ms = (i as f64 * 1_024_000.0 / 44100.0).round() as i64;
        sound(&p, i * 1024, 1024, ms, MS, |_, n| tone(n, 44100))
    });
    let out = run(&mut AudioConform::new(target("stereo", 44100)).unwrap(), frames).unwrap();
    assert!(steady(&out, 44100).0.abs_diff(400 * 1024) <= 44);
}

#[test]
fn downmixing_uses_the_layout_and_cannot_clip() {
    let p = params(48000, "5.1", SampleFormat::F32);
    // Front left only, then everything at full scale.
    let left = sound(&p, 0, 4800, 0, Rational::new(1, 48000), |c, _| if c == 0 { 1.0 } else { 0.0 });
    let out = run(&mut AudioConform::new(target("stereo", 48000)).unwrap(), [left]).unwrap();
    assert!(channel(&out, 0)[2000] > 0.3 && channel(&out, 1)[2000].abs() < 1e-6);
    let all = sound(&p, 0, 4800, 0, Rational::new(1, 48000), |_, _| 1.0);
    let out = run(&mut AudioConform::new(target("stereo", 48000)).unwrap(), [all]).unwrap();
    let peak = channel(&out, 0).into_iter().fold(0.0, f32::max);
    assert!((0.9..=1.001).contains(&peak), "{peak}");
    // The centre goes to both sides, 3 dB below the front.
    let ratio = |c: usize| {
        let f = sound(&p, 0, 4800, 0, Rational::new(1, 48000), |n, _| if n == c { 0.5 } else { 0.0 });
        channel(&run(&mut AudioConform::new(target("stereo", 48000)).unwrap(), [f]).unwrap(), 0)[2000]
    };
    assert!((ratio(2) / ratio(0) - std::f32::consts::FRAC_1_SQRT_2).abs() < 0.01);
}

#[test]
fn it_follows_changes_in_mid_stream() {
    let stereo = tones(48000, 10, |t| t);
    let mono = params(44100, "mono", SampleFormat::F32);
    let more = (0..10).map(|i| {
        let pts = 10 * 1024 * 44100 / 48000 + i * 1024;
        sound(&mono, i * 1024, 1024, pts, Rational::new(1, 44100), |_, n| tone(n, 44100))
    });
    let out = run(&mut AudioConform::new(target("stereo", 48000)).unwrap(), stereo.into_iter().chain(more))
        .unwrap();
    let (count, _) = steady(&out, 48000);
    assert!(count.abs_diff(10 * 1024 + 10 * 1024 * 48000 / 44100) <= 50, "{count}");
}

#[test]
fn gain_is_in_decibels() {
    let louder = AudioTarget { gain_db: Some(-6.0206), ..target("stereo", 48000) };
    let out = run(&mut AudioConform::new(louder).unwrap(), tones(48000, 10, |t| t)).unwrap();
    assert_eq!(steady(&out, 48000).0, 10 * 1024);
    let got = channel(&out, 0);
    assert!(got.iter().enumerate().all(|(n, v)| (v - 0.5 * tone(n as i64, 48000)).abs() < 1e-3));
}

#[test]
fn loudness_reaches_its_target_by_an_independent_meter() {
    let mut seed = 1u32;
    let noise: Vec<f32> = (0..48000 * 12)
        .map(|_| {
            seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
            (f64::from(seed >> 8) / f64::from(1 << 24) - 0.5) as f32 * 0.1
        })
        .collect();
    let p = params(48000, "stereo", SampleFormat::F32);
    let frames = (0..12 * 46).map(|i| {
        sound(&p, i * 1024, 1024, i * 1024, Rational::new(1, 48000), |_, n| noise[n as usize % noise.len()])
    });
    let spec = LoudnessSpec { integrated: -16.0, range: 7.0, true_peak: -1.0 };
    let wanted = AudioTarget { loudness: Some(spec), ..target("stereo", 48000) };
    let out = run(&mut AudioConform::new(wanted).unwrap(), frames).unwrap();
    let (count, first) = steady(&out, 48000);
    assert_eq!(first, 0);
    assert!(count.abs_diff(12 * 46 * 1024) <= 1024, "{count}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out.f32");
    let (l, r) = (channel(&out, 0), channel(&out, 1));
    let bytes: Vec<u8> =
        l.iter().zip(&r).flat_map(|(l, r)| [l.to_le_bytes(), r.to_le_bytes()].concat()).collect();
    std::fs::write(&file, bytes).unwrap();
    let meter = std::process::Command::new("ffmpeg")
        .args(["-hide_banner", "-nostats", "-f", "f32le", "-ar", "48000", "-ac", "2", "-i"])
        .arg(&file)
        .args(["-af", "ebur128", "-f", "null", "-"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&meter.stderr);
    let summary = text.rsplit("Integrated loudness:").next().unwrap();
    let value: f64 = summary.split("I:").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert!((value + 16.0).abs() <= 1.0, "{value} LUFS");
}

#[test]
fn trimming_is_exact_to_the_sample() {
    let seconds = |n: i64, d: i32| Timestamp::new(n, Rational::new(1, d));
    let start = seconds(100_000, 1_000_000);
    let mut trim = Trim::new(Some(start), Some(seconds(250_000, 1_000_000)), start).unwrap();
    let out = run(&mut trim, tones(48000, 40, |t| t)).unwrap();
    let got = channel(&out, 0);
    assert_eq!((got.len(), out[0].pts), (7200, Some(0)));
    assert_eq!(got[0], tone(4800, 48000));
    assert_eq!(got[7199], tone(4800 + 7199, 48000));
    assert!(trim.is_done());
}

#[test]
fn a_hole_before_a_round_is_not_kept() {
    let mut rounds = Rounds::default();
    let mut out = Vec::new();
    let rate = 48_000;
    // Sound of a tenth of a second, and again an hour later.
    let hour = 3600 * i64::from(rate);
    for (seam, at) in [(None, 0), (Some(hour), hour)] {
        for (i, mut frame) in tones(rate, 5, |t| at + t).into_iter().enumerate() {
            frame.seam = seam.filter(|_| i == 0);
            let before = out.len();
            rounds.push(frame, &mut out).unwrap();
            assert_eq!(out.len() > before, seam.is_some() && i == 0, "frame {i} at {at}");
        }
    }
    assert_eq!(out.iter().map(|f| f.media().samples() as i64).sum::<i64>(), hour);
    rounds.finish(&mut out).unwrap();
    let mut next = 0;
    for frame in &out {
        assert_eq!(frame.pts, Some(next));
        next += frame.media().samples() as i64;
    }
    assert_eq!(next, hour + 5 * 1024);
}
