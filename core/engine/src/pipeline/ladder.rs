//! The automatic ladder: which rungs a source deserves.

use crate::filter::size::{Shown, even};
use crate::packet::Codec;
use crate::spec::{Bitrate, VideoSpec};

/// Short side in lines, and H.264 bits per second at up to 30 frames a second. The rates of the streaming service that
/// GhostStream replaces (1080p 5M, 720p 2.8M, 480p 1.4M, 360p 800k, 240p 400k), continued upwards.
const RUNGS: [(u32, u64); 7] = [
    (2160, 18_000_000),
    (1440, 10_000_000),
    (1080, 5_000_000),
    (720, 2_800_000),
    (480, 1_400_000),
    (360, 800_000),
    (240, 400_000),
];

/// More rungs cost encoding without being seen.
const MOST: usize = 4;

/// Bits that a codec needs for the picture that H.264 makes with one.
fn efficiency(codec: &Codec) -> f64 {
    match codec {
        Codec::Hevc | Codec::Vp9 => 0.65,
        Codec::Av1 => 0.5,
        _ => 1.0,
    }
}

/// The rungs for a picture of `shown` at `frame_rate`, top first: the source's own size, then the standard sizes below
/// it; never larger than the source, never above `source_rate` bits per second, at most four.
pub(crate) fn auto(shown: Shown, frame_rate: f64, codec: &Codec, source_rate: Option<u64>) -> Vec<VideoSpec> {
    // Size in square pixels: anamorphic sources are shown wider than they are stored.
    let width = f64::from(shown.width) * shown.sample_aspect.as_f64();
    let height = f64::from(shown.height);
    let short = width.min(height);
    let factor = efficiency(codec) * if frame_rate > 40.0 { 1.5 } else { 1.0 };

    let mut sides = vec![short];
    // A rung within a tenth of the one above shows nothing new.
    sides.extend(RUNGS.iter().map(|(lines, _)| f64::from(*lines)).filter(|lines| *lines < short * 0.9));
    sides.truncate(MOST);
    sides
        .into_iter()
        .enumerate()
        .map(|(i, side)| {
            let scale = side / short;
            let mut rate = interpolate(side) * factor;
            if let Some(most) = source_rate {
                // Each rung below gets the share of its pixels, so that no two rungs cost the same.
                rate = rate.min(most as f64 * if i == 0 { 1.0 } else { scale.powf(1.5) });
            }
            let (w, h) =
                if i == 0 { shown.fit_square() } else { (even(width * scale), even(height * scale)) };
            VideoSpec {
                width: Some(w),
                height: Some(h),
                bitrate: Some(Bitrate(((rate / 1000.0).round() as u64 * 1000).max(100_000))),
                ..VideoSpec::new()
            }
        })
        .collect()
}

/// Bits per second for a short side, by pixels between the neighbours of the table.
fn interpolate(side: f64) -> f64 {
    let (top, bottom) = (RUNGS[0], RUNGS[RUNGS.len() - 1]);
    let power = |lines: u32, rate: u64| rate as f64 * (side / f64::from(lines)).powf(1.5);
    if side >= f64::from(top.0) {
        return power(top.0, top.1);
    }
    for pair in RUNGS.windows(2) {
        let ((hi, hi_rate), (lo, lo_rate)) = (pair[0], pair[1]);
        if side >= f64::from(lo) {
            let t = (side - f64::from(lo)) / f64::from(hi - lo);
            return lo_rate as f64 + t * (hi_rate - lo_rate) as f64;
        }
    }
    power(bottom.0, bottom.1)
}

impl Shown {
    /// The source's own size in square pixels, even.
    fn fit_square(&self) -> (u32, u32) {
        if (self.sample_aspect.as_f64() - 1.0).abs() < 1e-6 {
            return self.fit(None, None);
        }
        (even(f64::from(self.width) * self.sample_aspect.as_f64()), even(f64::from(self.height)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Rational;

    fn rungs(width: u32, height: u32, rate: Option<u64>) -> Vec<(u32, u32, u64)> {
        let shown = Shown { width, height, sample_aspect: Rational::new(1, 1) };
        auto(shown, 30.0, &Codec::H264, rate)
            .into_iter()
            .map(|r| (r.width.unwrap(), r.height.unwrap(), r.bitrate.unwrap().0))
            .collect()
    }

    #[test]
    fn full_hd() {
        assert_eq!(
            rungs(1920, 1080, None),
            [(1920, 1080, 5_000_000), (1280, 720, 2_800_000), (854, 480, 1_400_000), (640, 360, 800_000)]
        );
    }

    #[test]
    fn nothing_is_upscaled_and_rates_fall() {
        for (w, h) in
            [(3840, 2160), (1280, 720), (853, 481), (720, 1280), (320, 180), (64, 64), (2, 2), (1, 1)]
        {
            for rate in [None, Some(900_000)] {
                let r = rungs(w, h, rate);
                assert!(!r.is_empty() && r.len() <= MOST);
                for pair in r.windows(2) {
                    assert!(pair[1].0 < pair[0].0 && pair[1].1 < pair[0].1 && pair[1].2 < pair[0].2, "{r:?}");
                }
                assert!(
                    r.iter().all(|(x, y, _)| x % 2 == 0 && y % 2 == 0 && *x <= w.max(2) && *y <= h.max(2)),
                    "{r:?}"
                );
            }
        }
    }

    #[test]
    fn portrait_keeps_its_shape() {
        assert_eq!(rungs(1080, 1920, None)[1].0, 720);
        assert_eq!(rungs(1080, 1920, None)[1].1, 1280);
    }
}
