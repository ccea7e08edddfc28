//! The test pattern as a source.

mod clips;

use ghoststream::ErrorKind;
use ghoststream::source::pattern::{Pattern, read_burn_in};
use ghoststream::spec::{FrameRate, PatternKind, PatternSpec, Seconds};
use ghoststream::stage::Source;
use ghoststream::time::Rational;

fn all(mut p: Pattern) -> Vec<ghoststream::frame::Frame> {
    std::iter::from_fn(|| p.next().unwrap()).collect()
}

#[test]
fn frames_are_numbered_timed_and_tagged() {
    for kind in [PatternKind::Smpte, PatternKind::Gradient] {
        let spec = PatternSpec { kind, ..clips::pattern(12) };
        let frames = all(Pattern::new(&spec, None, None).unwrap());
        assert_eq!(frames.len(), 12);
        for (n, f) in frames.iter().enumerate() {
            assert_eq!((f.pts, f.duration, f.base), (Some(n as i64), 1, Rational::new(1, 25)));
            assert_eq!(read_burn_in(f), Some(n as u32));
            let video = f.video();
            assert_eq!((video.width, video.height, video.format.name()), (320, 180, "yuv420p"));
            assert_eq!(video.colour, ghoststream::frame::Colour::BT709);
        }
    }
}

#[test]
fn the_tone_is_1_khz_at_minus_20_dbfs_and_as_long_as_the_picture() {
    let rate = FrameRate(Rational::new(30000, 1001));
    let spec = PatternSpec { tone: true, frame_rate: rate, burn_in: false, ..clips::pattern(30) };
    let frames = all(Pattern::new(&spec, None, None).unwrap());
    let mut samples = Vec::new();
    let mut last = 0.0;
    for f in &frames {
        let at = f.presentation().unwrap().seconds();
        assert!(at >= last, "{at} after {last}: not interleaved by time");
        last = at;
        if f.is_video() {
            continue;
        }
        assert_eq!(f.pts, Some(samples.len() as i64));
        let (left, right) = (f.media().plane(0), f.media().plane(1));
        assert_eq!(left, right);
        samples.extend(left.chunks_exact(4).map(|b| f32::from_ne_bytes(b.try_into().unwrap())));
    }
    assert_eq!(samples.len(), 48048);
    let rms = (samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64).sqrt();
    assert!((20.0 * (rms * 2f64.sqrt()).log10() + 20.0).abs() < 0.01);
    let crossings = samples.windows(2).filter(|w| w[0] < 0.0 && w[1] >= 0.0).count();
    assert!((1000..=1001).contains(&crossings), "{crossings}");
}

#[test]
fn start_and_duration_cut_it_to_the_frame() {
    let spec = PatternSpec { tone: true, frames: None, ..clips::pattern(1) };
    let frames = all(Pattern::new(&spec, Some(Seconds(1.0)), Some(Seconds(0.2))).unwrap());
    let numbers: Vec<u32> = frames.iter().filter(|f| f.is_video()).filter_map(read_burn_in).collect();
    assert_eq!(numbers, [25, 26, 27, 28, 29]);
    let audio: i64 = frames.iter().filter(|f| !f.is_video()).map(|f| f.duration).sum();
    assert_eq!(audio, 9600);
}

#[test]
fn odd_and_tiny_sizes_work_and_an_impossible_burn_in_is_refused_by_field() {
    for (width, height) in [(1, 1), (853, 481), (2, 9), (257, 129)] {
        for kind in [PatternKind::Smpte, PatternKind::Gradient] {
            let spec = PatternSpec {
                kind,
                width,
                height,
                burn_in: width > 255 && height > 127,
                ..clips::pattern(2)
            };
            let frames = all(Pattern::new(&spec, None, None).unwrap());
            assert_eq!((frames.len(), frames[1].video().width), (2, width));
        }
    }
    let spec = PatternSpec { width: 255, ..clips::pattern(2) };
    let e = Pattern::new(&spec, None, None).err().unwrap();
    assert_eq!(e.kind(), ErrorKind::Invalid);
    assert!(e.message().starts_with("source.pattern.burn_in: "), "{e}");
}

/// A floor far below the goal of 300 fps, so that only a real fault trips it.
#[test]
fn full_hd_is_quick() {
    let spec = PatternSpec { width: 1920, height: 1080, ..clips::pattern(60) };
    let start = std::time::Instant::now();
    let frames = all(Pattern::new(&spec, None, None).unwrap()).len();
    let fps = frames as f64 / start.elapsed().as_secs_f64();
    eprintln!("1080p gradient with burn-in: {fps:.0} fps");
    assert!(fps > 60.0, "{fps}");
}
