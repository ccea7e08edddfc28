//! Sizes and rates: which picture a request gets, and which rungs an adaptive one has. Pure.

use ghoststream::spec::Preset;

/// The largest rung that a ladder has when nobody asks for a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Pixels, lying.
    pub size: Size,
    /// Bits per second.
    pub bitrate: u64,
}

/// What a machine under load saves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relief {
    /// Steps towards faster presets.
    pub faster: u8,
    /// Whether ladders go without their top rung.
    pub drop_top: bool,
}

impl Relief {
    /// The preset to use for `preset`.
    pub fn preset(self, preset: Preset) -> Preset {
        const ALL: [Preset; 7] =
            [Preset::P1, Preset::P2, Preset::P3, Preset::P4, Preset::P5, Preset::P6, Preset::P7];
        let at = ALL.iter().position(|p| *p == preset).unwrap_or(0);
        ALL.get(at.saturating_sub(usize::from(self.faster))).copied().unwrap_or(preset)
    }
}

/// What this machine, and the settings, let a job make at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Pixels of the largest picture, lying.
    pub size: Option<(u32, u32)>,
    /// Bits per second of one video.
    pub bitrate: Option<u64>,
    /// Rungs of a ladder.
    pub rungs: usize,
    /// Share of the usual rate, 0 to 1, for a machine under load.
    pub quality: f64,
    /// What the machine's tier offers by itself.
    pub offer: Option<Offer>,
    /// What it saves besides bits.
    pub load: Relief,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { size: None, bitrate: None, rungs: 4, quality: 1.0, offer: None, load: Relief::default() }
    }
}

impl Bounds {
    /// What a session should make of it whose document was written for `quality`.
    pub fn of_session(&self, quality: f64) -> crate::playback::Load {
        crate::playback::Load {
            quality: self.quality.clamp(0.1, 1.0) / quality.clamp(0.1, 1.0),
            faster: self.load.faster,
            drop_top: self.load.drop_top,
        }
    }
}

/// A picture size.
pub type Size = (u32, u32);

/// One rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Pixels.
    pub size: Size,
    /// Bits per second of the video.
    pub bitrate: u64,
}

/// The contract's ladder: the box that a 16:9 picture fills, and H.264 bits per second.
const LADDER: [(Size, u64); 9] = [
    ((3840, 2160), 18_000_000),
    ((3840, 2160), 12_000_000),
    ((1920, 1080), 6_000_000),
    ((1920, 1080), 4_000_000),
    ((1280, 720), 2_500_000),
    ((1280, 720), 1_500_000),
    ((854, 480), 1_000_000),
    ((640, 360), 600_000),
    ((426, 240), 300_000),
];

/// The contract's rates of a single video by its lines, and what lies beyond them.
const RATES: [(f64, f64); 6] =
    [(2160.0, 20e6), (1080.0, 8e6), (720.0, 4e6), (480.0, 1.5e6), (360.0, 0.8e6), (240.0, 0.4e6)];

/// Bits that a codec needs for the picture that H.264 makes with one.
pub fn efficiency(codec: &str) -> f64 {
    match codec {
        "hevc" | "vp9" => 0.65,
        "av1" => 0.5,
        _ => 1.0,
    }
}

fn even(side: f64) -> u32 {
    ((side / 2.0).round() as u32 * 2).max(2)
}

/// `source` scaled to fit into `area` (which stands up for a picture that does), even, never larger.
pub fn fit(source: Size, area: Option<Size>) -> Size {
    let (width, height) = (f64::from(source.0.max(2)), f64::from(source.1.max(2)));
    let scale = match area {
        None => 1.0,
        Some(area) => {
            let (long, short) = (f64::from(area.0.max(area.1)), f64::from(area.0.min(area.1)));
            (long / width.max(height)).min(short / width.min(height)).min(1.0)
        }
    };
    // A side that is a pixel short of the box only by rounding of the shape fills it: 1280x720 in 854x480.
    (even(width * scale).min(source.0.max(2) / 2 * 2), even(height * scale).min(source.1.max(2) / 2 * 2))
}

/// The smaller of two boxes.
pub fn smaller(a: Option<Size>, b: Option<Size>) -> Option<Size> {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.min(b.1))),
        (a, b) => a.or(b),
    }
}

/// The usual rate of a video of this size.
pub fn auto_rate(size: Size, frame_rate: f64, codec: &str, source_rate: Option<u64>) -> u64 {
    let lines = f64::from(size.0.min(size.1)).max(1.0);
    let pair = RATES.windows(2).find(|pair| lines >= pair[1].0);
    let rate = match pair {
        _ if lines >= RATES[0].0 => RATES[0].1,
        Some(pair) => {
            let ((high, high_rate), (low, low_rate)) = (pair[0], pair[1]);
            low_rate + (high_rate - low_rate) * ((lines - low) / (high - low)).clamp(0.0, 1.0)
        }
        None => (RATES[5].1 * (lines / RATES[5].0).powf(1.5)).max(100e3),
    };
    let rate = rate * efficiency(codec) * if frame_rate > 40.0 { 1.4 } else { 1.0 };
    // More bits than the source has cannot show more than it shows.
    let most = source_rate.map_or(f64::INFINITY, |r| (r as f64 * 1.5).max(200e3));
    rounded(rate.min(most))
}

fn rounded(rate: f64) -> u64 {
    (rate / 1000.0).round() as u64 * 1000
}

/// `rate` as far as `bounds` allow.
pub fn bounded(rate: u64, bounds: &Bounds) -> u64 {
    let most = bounds.bitrate.unwrap_or(u64::MAX);
    rounded((rate.min(most) as f64 * bounds.quality.clamp(0.1, 1.0)).max(50e3))
}

/// The rungs for a source: the contract's, in `area`, not above `bounds`; the top one, the bottom one and thirds in
/// between, at most `bounds.rungs`.
pub fn rungs(source: Size, frame_rate: f64, codec: &str, area: Option<Size>, bounds: &Bounds) -> Vec<Rung> {
    let area = smaller(area, bounds.size);
    let top = fit(source, area);
    let factor = efficiency(codec) * if frame_rate > 40.0 { 1.4 } else { 1.0 };
    let mut all: Vec<Rung> = Vec::new();
    for (size, rate) in LADDER {
        let fitted = fit(top, Some(size));
        let rung = Rung { size: fitted, bitrate: bounded(rounded(rate as f64 * factor), bounds) };
        let fills = size.0.max(size.1) <= top.0.max(top.1) || size.0.min(size.1) <= top.0.min(top.1);
        // A box larger than the picture gives nothing but more bits.
        if fills && all.last().is_none_or(|last| rung.bitrate < last.bitrate) {
            all.push(rung);
        }
    }
    if all.is_empty() {
        all.push(Rung { size: top, bitrate: bounded(auto_rate(top, frame_rate, codec, None), bounds) });
    } else if all[0].size != top {
        // The source's own size stands above the first standard size.
        let rate = bounded(auto_rate(top, frame_rate, codec, None), bounds).max(all[0].bitrate + 100_000);
        all.insert(0, Rung { size: top, bitrate: rate });
    }
    let mut picked = pick(&all, bounds.rungs);
    if bounds.load.drop_top && picked.len() > 1 {
        picked.remove(0);
    }
    picked
}

/// The top, the bottom, and evenly what lies between.
fn pick(all: &[Rung], count: usize) -> Vec<Rung> {
    let count = count.max(1);
    if all.len() <= count {
        return all.to_vec();
    }
    if count == 1 {
        return all[..1].to_vec();
    }
    let last = all.len() - 1;
    let mut at: Vec<usize> = (0..count).map(|n| (n * last + (count - 1) / 2) / (count - 1)).collect();
    at.dedup();
    at.into_iter().map(|n| all[n.min(last)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HD: Size = (1920, 1080);

    #[test]
    fn pictures_fit_with_even_sides_and_are_never_enlarged() {
        assert_eq!(fit((1280, 720), Some((854, 480))), (854, 480), "480p of 16:9");
        assert_eq!(fit((1920, 804), Some((1280, 720))), (1280, 536));
        assert_eq!(fit((1080, 1920), Some((1280, 720))), (720, 1280), "standing");
        assert_eq!(fit((320, 180), Some(HD)), (320, 180));
        assert_eq!(fit((853, 481), None), (852, 480));
        assert_eq!(fit((1, 1), Some(HD)), (2, 2));
    }

    #[test]
    fn single_rates_are_the_contracts() {
        for (size, rate) in [((3840, 2160), 20e6), (HD, 8e6), ((1280, 720), 4e6), ((854, 480), 1.5e6)] {
            assert_eq!(auto_rate(size, 30.0, "h264", None), rate as u64);
        }
        assert_eq!(auto_rate(HD, 30.0, "h264", Some(1_000_000)), 1_500_000);
        assert!(auto_rate((320, 180), 25.0, "h264", None) < 400_000);
        assert!(auto_rate(HD, 60.0, "av1", None) < 8_000_000);
    }

    #[test]
    fn ladders_begin_at_the_source_and_fall() {
        for source in
            [(3840, 2160), HD, (1280, 720), (1280, 536), (720, 1280), (640, 360), (320, 180), (100, 76)]
        {
            for count in 1..=5 {
                let bounds = Bounds { rungs: count, ..Bounds::default() };
                let rungs = rungs(source, 30.0, "h264", None, &bounds);
                assert!(!rungs.is_empty() && rungs.len() <= count, "{source:?} {rungs:?}");
                assert_eq!(rungs[0].size, fit(source, None), "{rungs:?}");
                for pair in rungs.windows(2) {
                    assert!(
                        pair[1].bitrate < pair[0].bitrate && pair[1].size.0 <= pair[0].size.0,
                        "{rungs:?}"
                    );
                }
            }
        }
        let bounds = Bounds { rungs: 2, ..Bounds::default() };
        let two = rungs(HD, 30.0, "h264", None, &bounds);
        assert_eq!(two[0], Rung { size: HD, bitrate: 6_000_000 });
        assert_eq!(two[1], Rung { size: (426, 240), bitrate: 300_000 });
    }

    #[test]
    fn bounds_hold() {
        let bounds = Bounds {
            size: Some((1280, 720)),
            bitrate: Some(2_000_000),
            rungs: 3,
            quality: 0.5,
            ..Bounds::default()
        };
        let list = rungs((3840, 2160), 30.0, "h264", Some(HD), &bounds);
        assert_eq!(list[0].size, (1280, 720));
        assert!(list.iter().all(|r| r.bitrate <= 1_000_000), "{list:?}");
        let relieved = Bounds { load: Relief { faster: 2, drop_top: true }, ..bounds };
        let fewer = rungs((3840, 2160), 30.0, "h264", Some(HD), &relieved);
        assert_eq!(fewer, list[1..], "without the top one");
        assert_eq!(rungs((320, 180), 30.0, "h264", None, &relieved).len(), 1, "the last one stays");
        let p = |preset| relieved.load.preset(preset);
        assert_eq!((p(Preset::P4), p(Preset::P1)), (Preset::P2, Preset::P1));
    }
}
