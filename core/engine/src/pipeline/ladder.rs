//! The automatic ladder: which rungs a source deserves.

use crate::filter::size::{Shown, even};
use crate::packet::Codec;
use crate::spec::{Bitrate, Tune, VideoSpec};
use crate::time::Rational;

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

/// What the top rung shows: `source`, or the size that is asked for. A larger one would cost bits and show nothing more: it
/// is taken as far as the source goes, in its own shape where both sides are said, and that is told.
pub(crate) fn top(source: Shown, width: Option<u32>, height: Option<u32>) -> (Shown, Option<String>) {
    if width.is_none() && height.is_none() {
        return (source, None);
    }
    let square = |(width, height)| Shown { width, height, sample_aspect: Rational::new(1, 1) };
    let (w, h) = source.fit(width, height);
    let (most_w, most_h) = source.fit_square();
    if w <= most_w.max(source.width) && h <= most_h.max(source.height) {
        return (square((w, h)), None);
    }
    let most = match (width, height) {
        (Some(_), Some(_)) => {
            let scale = (f64::from(most_w) / f64::from(w)).min(f64::from(most_h) / f64::from(h));
            (even(f64::from(w) * scale), even(f64::from(h) * scale))
        }
        _ => (most_w, most_h),
    };
    let note = format!(
        "the ladder begins with {}x{}, not {w}x{h}: the source has {most_w}x{most_h} after its filters",
        most.0, most.1
    );
    (square(most), Some(note))
}

/// Gives `rungs`, of which each has the rate that suits it, what `base` says of rates: that is the top rung's, and the others
/// have as much less as theirs is.
pub(crate) fn rates(rungs: &mut [VideoSpec], base: &VideoSpec) {
    let Some(top) = rungs.first().and_then(|r| r.bitrate) else { return };
    let constant = base.qp.is_some() || base.lossless || base.tune == Some(Tune::Lossless);
    for rung in rungs {
        let Some(own) = rung.bitrate.take() else { continue };
        let share = |of: Option<Bitrate>| {
            let part =
                |rate: Bitrate| (u128::from(rate.0) * u128::from(own.0) / u128::from(top.0.max(1))) as u64;
            of.map(|rate| Bitrate(part(rate).max(1)))
        };
        if constant {
            continue;
        }
        (rung.max_bitrate, rung.buffer) = (share(base.max_bitrate), share(base.buffer));
        if base.crf.is_some() {
            // A quality that was asked for replaces the ladder's rates, which then only cap it.
            rung.max_bitrate = rung.max_bitrate.or(Some(own));
        } else {
            let most = rung.max_bitrate.unwrap_or(own);
            rung.bitrate = share(base.bitrate).or(Some(own.min(most)));
        }
    }
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
    fn what_is_said_of_rates_is_the_top_rungs() {
        let shown = Shown { width: 1920, height: 1080, sample_aspect: Rational::new(1, 1) };
        let made = |json: &str| {
            let mut rungs = auto(shown, 30.0, &Codec::H264, None);
            rates(&mut rungs, &serde_json::from_str(json).unwrap());
            let of =
                |r: &VideoSpec| [r.bitrate, r.max_bitrate, r.buffer].map(|b| b.map_or(0, |b| b.0 / 1000));
            rungs.iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(made("{}")[..2], [[5000, 0, 0], [2800, 0, 0]]);
        assert_eq!(made(r#"{"bitrate":"1M"}"#), [[1000, 0, 0], [560, 0, 0], [280, 0, 0], [160, 0, 0]]);
        assert_eq!(
            made(r#"{"bitrate":"1M","max_bitrate":"2M","buffer":"4M"}"#)[..2],
            [[1000, 2000, 4000], [560, 1120, 2240]]
        );
        assert_eq!(made(r#"{"max_bitrate":"2M"}"#)[..2], [[2000, 2000, 0], [1120, 1120, 0]]);
        assert_eq!(made(r#"{"crf":20}"#)[..2], [[0, 5000, 0], [0, 2800, 0]]);
        assert_eq!(made(r#"{"crf":20,"max_bitrate":"1M"}"#)[..2], [[0, 1000, 0], [0, 560, 0]]);
        for json in [r#"{"qp":30}"#, r#"{"lossless":true}"#, r#"{"tune":"lossless"}"#] {
            assert_eq!(made(json)[..2], [[0, 0, 0], [0, 0, 0]], "{json}");
        }
    }

    #[test]
    fn the_size_that_is_said_is_the_top_rungs() {
        let source = Shown { width: 1920, height: 1080, sample_aspect: Rational::new(1, 1) };
        let size = |shown: Shown, w, h| {
            let (top, note) = top(shown, w, h);
            (top.width, top.height, note.is_some())
        };
        assert_eq!(size(source, None, Some(720)), (1280, 720, false));
        assert_eq!(size(source, Some(640), Some(640)), (640, 640, false));
        assert_eq!(size(source, None, None), (1920, 1080, false));
        assert_eq!(size(source, Some(2560), None), (1920, 1080, true));
        assert_eq!(size(source, None, Some(1440)), (1920, 1080, true));
        assert_eq!(size(source, Some(3840), Some(1080)), (1920, 540, true));
        let dvd = Shown { width: 720, height: 576, sample_aspect: Rational::new(64, 45) };
        assert_eq!(size(dvd, None, Some(576)), (1024, 576, false));
        let note = top(source, None, Some(1440)).1.unwrap();
        assert!(note.contains("1920x1080, not 2560x1440"), "{note}");
    }

    #[test]
    fn portrait_keeps_its_shape() {
        assert_eq!(rungs(1080, 1920, None)[1].0, 720);
        assert_eq!(rungs(1080, 1920, None)[1].1, 1280);
    }
}
