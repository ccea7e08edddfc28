//! What the levels of the codecs allow, so that a level which pictures do not fit is refused by name: drivers only say
//! `Invalid Level`.

use super::config::{Codec, EncodeConfig, Profile, RateControl};

/// A level's limits.
pub(super) struct Level {
    /// The codec's number of it.
    number: u32,
    /// How people call it.
    name: &'static str,
    /// Luma samples of a picture; macroblocks in H.264.
    picture: u64,
    /// The same of a second.
    second: u64,
    /// Bits of a second in thousands, before the profile's factor.
    main: u64,
    /// The same in the high tier; 0 where there is none.
    high: u64,
    /// Bits of the decoder's buffer in thousands, before the profile's factor; in the high tier as many as of a second.
    buffer: u64,
}

/// A level whose buffer holds a second.
const fn level(number: u32, name: &'static str, picture: u64, second: u64, main: u64, high: u64) -> Level {
    Level { number, name, picture, second, main, high, buffer: main }
}

/// One of H.264's, which has no tiers: MaxBR and MaxCPB.
const fn avc(number: u32, name: &'static str, picture: u64, second: u64, main: u64, buffer: u64) -> Level {
    Level { number, name, picture, second, main, high: 0, buffer }
}

/// Table A-1 of H.264.
const H264: [Level; 20] = [
    avc(9, "1b", 99, 1485, 128, 350),
    avc(10, "1", 99, 1485, 64, 175),
    avc(11, "1.1", 396, 3000, 192, 500),
    avc(12, "1.2", 396, 6000, 384, 1000),
    avc(13, "1.3", 396, 11_880, 768, 2000),
    avc(20, "2", 396, 11_880, 2000, 2000),
    avc(21, "2.1", 792, 19_800, 4000, 4000),
    avc(22, "2.2", 1620, 20_250, 4000, 4000),
    avc(30, "3", 1620, 40_500, 10_000, 10_000),
    avc(31, "3.1", 3600, 108_000, 14_000, 14_000),
    avc(32, "3.2", 5120, 216_000, 20_000, 20_000),
    avc(40, "4", 8192, 245_760, 20_000, 25_000),
    avc(41, "4.1", 8192, 245_760, 50_000, 62_500),
    avc(42, "4.2", 8704, 522_240, 50_000, 62_500),
    avc(50, "5", 22_080, 589_824, 135_000, 135_000),
    avc(51, "5.1", 36_864, 983_040, 240_000, 240_000),
    avc(52, "5.2", 36_864, 2_073_600, 240_000, 240_000),
    avc(60, "6", 139_264, 4_177_920, 240_000, 240_000),
    avc(61, "6.1", 139_264, 8_355_840, 480_000, 480_000),
    avc(62, "6.2", 139_264, 16_711_680, 800_000, 800_000),
];

/// Tables A.8 and A.9 of HEVC.
const HEVC: [Level; 13] = [
    Level { buffer: 350, ..level(30, "1", 36_864, 552_960, 128, 0) },
    level(60, "2", 122_880, 3_686_400, 1500, 0),
    level(63, "2.1", 245_760, 7_372_800, 3000, 0),
    level(90, "3", 552_960, 16_588_800, 6000, 0),
    level(93, "3.1", 983_040, 33_177_600, 10_000, 0),
    level(120, "4", 2_228_224, 66_846_720, 12_000, 30_000),
    level(123, "4.1", 2_228_224, 133_693_440, 20_000, 50_000),
    level(150, "5", 8_912_896, 267_386_880, 25_000, 100_000),
    level(153, "5.1", 8_912_896, 534_773_760, 40_000, 160_000),
    level(156, "5.2", 8_912_896, 1_069_547_520, 60_000, 240_000),
    level(180, "6", 35_651_584, 1_069_547_520, 60_000, 240_000),
    level(183, "6.1", 35_651_584, 2_139_095_040, 120_000, 480_000),
    level(186, "6.2", 35_651_584, 4_278_190_080, 240_000, 800_000),
];

/// Annex A.3 of AV1; the decoder model of its annex E has a buffer of a second.
const AV1: [Level; 14] = [
    level(0, "2", 147_456, 4_423_680, 1500, 0),
    level(1, "2.1", 278_784, 8_363_520, 3000, 0),
    level(4, "3", 665_856, 19_975_680, 6000, 0),
    level(5, "3.1", 1_065_024, 31_950_720, 10_000, 0),
    level(8, "4", 2_359_296, 70_778_880, 12_000, 30_000),
    level(9, "4.1", 2_359_296, 141_557_760, 20_000, 50_000),
    level(12, "5", 8_912_896, 267_386_880, 30_000, 100_000),
    level(13, "5.1", 8_912_896, 534_773_760, 40_000, 160_000),
    level(14, "5.2", 8_912_896, 1_069_547_520, 60_000, 240_000),
    level(15, "5.3", 8_912_896, 1_069_547_520, 60_000, 240_000),
    level(16, "6", 35_651_584, 1_069_547_520, 60_000, 240_000),
    level(17, "6.1", 35_651_584, 2_139_095_040, 100_000, 480_000),
    level(18, "6.2", 35_651_584, 4_278_190_080, 160_000, 800_000),
    level(19, "6.3", 35_651_584, 4_278_190_080, 160_000, 800_000),
];

fn table(codec: Codec) -> &'static [Level] {
    match codec {
        Codec::H264 => &H264,
        Codec::Hevc => &HEVC,
        Codec::Av1 => &AV1,
    }
}

/// The level of `codec` that has this number.
pub(super) fn of(codec: Codec, number: u32) -> Option<&'static Level> {
    table(codec).iter().find(|level| level.number == number)
}

/// Why pictures of `size` at `rate` (where that is known) make no stream of the level that people call `name` (`4.1`, `4`
/// and `4.0`), whoever encodes them; `None` where they do.
pub fn not_of_level(codec: Codec, name: &str, size: (u32, u32), rate: Option<(u32, u32)>) -> Option<String> {
    let name = name.strip_suffix(".0").unwrap_or(name);
    match table(codec).iter().find(|level| level.name == name) {
        Some(level) => level.exceeded(codec, size, rate.unwrap_or((0, 1))),
        None => {
            let names: Vec<_> = table(codec).iter().map(|level| level.name).collect();
            Some(format!("there is no level {name}; there are {}", names.join(", ")))
        }
    }
}

/// How many times the table's bits a profile allows, in thousandths: cpbBrVclFactor of tables A-2 (H.264) and A.10 (HEVC).
fn factor(c: &EncodeConfig) -> u64 {
    match (c.codec, c.surface.chroma(), c.stream_depth()) {
        (Codec::H264, ..) => match (c.profile, c.surface.chroma(), c.stream_depth()) {
            (Profile::Baseline | Profile::Main, ..) => 1000,
            (Profile::High422 | Profile::High444, ..) | (_, 2 | 3, _) => 4000,
            (Profile::High10, ..) | (_, _, 10) => 3000,
            _ => 1250,
        },
        (Codec::Hevc, 2, _) => 1667,
        (Codec::Hevc, 3, 8) => 2000,
        (Codec::Hevc, 3, _) => 2500,
        _ => 1000,
    }
}

/// The most bits of a second that are asked for, where it is said.
fn asked(rate: &RateControl) -> Option<u64> {
    match *rate {
        RateControl::Cbr { bitrate, .. } => Some(bitrate.into()),
        RateControl::Vbr { bitrate, max_bitrate, .. } => Some(max_bitrate.unwrap_or(bitrate).into()),
        RateControl::Cq { max_bitrate, .. } => max_bitrate.map(u64::from),
        RateControl::ConstQp { .. } | RateControl::Lossless => None,
    }
}

/// What of `c` the level that it names does not allow: the field, and why. Nothing where none is named.
pub(super) fn refused(c: &EncodeConfig) -> Option<(&'static str, String)> {
    let known = of(c.codec, c.level?)?;
    if let Some(why) = known.exceeded(c.codec, (c.width, c.height), c.frame_rate) {
        return Some(("level", why));
    }
    let name = known.name;
    if c.high_tier && known.high == 0 && c.codec != Codec::H264 {
        return Some(("high_tier", format!("level {name} has no high tier")));
    }
    let (bits, tier) = match (c.high_tier, known.high) {
        (false, 0) => (known.main, ""),
        (false, _) => (known.main, " in the main tier"),
        (true, _) => (known.high, " in the high tier"),
    };
    let most = bits * factor(c);
    if let Some(asked) = asked(&c.rate).filter(|asked| *asked > most) {
        return Some(("level", format!("{name} allows {most} bits a second{tier}, not {asked}")));
    }
    // What the driver chooses by itself, and the second of bits that is the engine's default, is no more than any level's.
    let most = factor(c) * if c.high_tier && known.high > 0 { known.high } else { known.buffer };
    let asked = c.vbv_size.map(u64::from).filter(|asked| *asked > most)?;
    Some(("vbv_size", format!("level {name} allows a buffer of {most} bits{tier}, not {asked}")))
}

impl Level {
    /// Why pictures of this size at this rate are above it.
    pub fn exceeded(&self, codec: Codec, size: (u32, u32), rate: (u32, u32)) -> Option<String> {
        let name = self.name;
        let (samples, unit) = match codec {
            Codec::H264 => (u64::from(size.0.div_ceil(16)) * u64::from(size.1.div_ceil(16)), "macroblocks"),
            _ => (u64::from(size.0) * u64::from(size.1), "samples"),
        };
        if samples > self.picture {
            let most = self.picture;
            return Some(format!(
                "{name} allows pictures of {most} {unit}; {}x{} has {samples}",
                size.0, size.1
            ));
        }
        let (num, den) = (u128::from(rate.0), u128::from(rate.1.max(1)));
        if u128::from(samples) * num > u128::from(self.second) * den {
            let shown = f64::from(rate.0) / f64::from(rate.1.max(1));
            let (w, h) = size;
            return Some(format!("{name} allows {} {unit} a second, not {w}x{h} at {shown:.4}", self.second));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates_are_held_against_levels() {
        let over = |codec, number, size, rate| of(codec, number).unwrap().exceeded(codec, size, rate);
        assert_eq!(over(Codec::H264, 40, (1920, 1080), (30, 1)), None);
        assert!(over(Codec::H264, 40, (1920, 1080), (60, 1)).unwrap().contains("at 60"));
        assert_eq!(over(Codec::H264, 42, (1920, 1080), (60, 1)), None);
        assert!(over(Codec::H264, 31, (1920, 1080), (24, 1)).unwrap().contains("1920x1080 has 8160"));
        assert_eq!(over(Codec::Hevc, 153, (3840, 2160), (60, 1)), None);
        assert!(over(Codec::Hevc, 150, (3840, 2160), (60, 1)).is_some());
        assert_eq!(over(Codec::Av1, 9, (1920, 1080), (60, 1)), None);
        assert!(over(Codec::Av1, 8, (1920, 1080), (60, 1)).is_some());
        assert!(
            of(Codec::Av1, 2).is_none() && of(Codec::H264, 47).is_none() && of(Codec::Hevc, 31).is_none()
        );
    }

    #[test]
    fn levels_have_names() {
        let why = |codec, name, size, rate| not_of_level(codec, name, size, rate).unwrap_or_default();
        let full = (1920, 1080);
        for name in ["4", "4.0", "5.2"] {
            assert_eq!(why(Codec::H264, name, full, Some((30, 1))), "", "{name}");
        }
        assert!(why(Codec::H264, "4.0", full, Some((60, 1))).contains("a second"));
        assert_eq!(why(Codec::H264, "4.0", full, None), "", "nobody knows the rate");
        assert!(why(Codec::Av1, "2.0", full, None).contains("147456 samples"));
        assert!(
            why(Codec::Hevc, "1.2", (64, 64), None).starts_with("there is no level 1.2; there are 1, 2, 2.1")
        );
    }

    #[test]
    fn bit_rates_are_held_against_levels_tiers_and_profiles() {
        use super::super::config::Surface;
        let cbr = |bitrate| RateControl::Cbr { bitrate, filler: false };
        let with = |codec, level, rate| {
            let c = EncodeConfig::new(codec, 1280, 720, (25, 1), rate);
            EncodeConfig { level: Some(level), ..c }
        };
        // The most that is allowed, and one bit more.
        for (codec, level, high_tier, profile, surface, most) in [
            (Codec::H264, 31, false, Profile::Main, Surface::Nv12, 14_000_000),
            (Codec::H264, 31, false, Profile::Auto, Surface::Nv12, 17_500_000),
            (Codec::H264, 41, false, Profile::High, Surface::Nv12, 62_500_000),
            (Codec::H264, 31, false, Profile::Auto, Surface::P010, 42_000_000),
            (Codec::H264, 31, false, Profile::Auto, Surface::Yuv444p, 56_000_000),
            (Codec::Hevc, 93, false, Profile::Auto, Surface::P010, 10_000_000),
            (Codec::Hevc, 120, false, Profile::Auto, Surface::Nv12, 12_000_000),
            (Codec::Hevc, 120, true, Profile::Auto, Surface::Nv12, 30_000_000),
            (Codec::Hevc, 120, true, Profile::Auto, Surface::P210, 50_010_000),
            (Codec::Hevc, 120, false, Profile::Auto, Surface::Yuv444p16, 30_000_000),
            (Codec::Av1, 8, false, Profile::Auto, Surface::Nv12, 12_000_000),
            (Codec::Av1, 8, true, Profile::Auto, Surface::Nv12, 30_000_000),
            (Codec::Av1, 5, false, Profile::Auto, Surface::P010, 10_000_000),
        ] {
            let c = EncodeConfig { high_tier, profile, surface, ..with(codec, level, cbr(most)) };
            assert_eq!(refused(&c), None, "{codec:?} {level} {high_tier} {surface:?}");
            let (field, why) = refused(&EncodeConfig { rate: cbr(most + 1), ..c }).unwrap();
            assert!(field == "level" && why.contains(&format!("allows {most} bits a second")), "{why}");
        }
        // The peak counts where there is one, and nothing where the rate is not said.
        let vbr = |max_bitrate| RateControl::Vbr { bitrate: 10_000_000, max_bitrate, quality: None };
        assert_eq!(refused(&with(Codec::Hevc, 93, vbr(None))), None);
        assert!(refused(&with(Codec::Hevc, 93, vbr(Some(11_000_000)))).is_some());
        let cq = |max_bitrate| RateControl::Cq { quality: 20.0, max_bitrate };
        assert_eq!(refused(&with(Codec::H264, 31, cq(None))), None);
        assert!(refused(&with(Codec::H264, 31, cq(Some(20_000_000)))).is_some());
        assert_eq!(refused(&with(Codec::H264, 31, RateControl::ConstQp { i: 1, p: 1, b: 1 })), None);
        let low = EncodeConfig { high_tier: true, ..with(Codec::Hevc, 93, cbr(1_000_000)) };
        assert_eq!(refused(&low).unwrap(), ("high_tier", "level 3.1 has no high tier".into()));
        assert_eq!(refused(&EncodeConfig { level: None, ..low }), None);
    }

    #[test]
    fn buffers_are_held_against_levels_tiers_and_profiles() {
        use super::super::config::Surface;
        for (codec, level, high_tier, profile, surface, most) in [
            (Codec::H264, 10, false, Profile::Main, Surface::Nv12, 175_000),
            (Codec::H264, 9, false, Profile::Baseline, Surface::Nv12, 350_000),
            (Codec::H264, 40, false, Profile::Main, Surface::Nv12, 25_000_000),
            (Codec::H264, 40, false, Profile::Auto, Surface::Nv12, 31_250_000),
            (Codec::H264, 41, false, Profile::High, Surface::Nv12, 78_125_000),
            (Codec::H264, 31, false, Profile::Auto, Surface::P010, 42_000_000),
            (Codec::Hevc, 30, false, Profile::Auto, Surface::Nv12, 350_000),
            (Codec::Hevc, 120, false, Profile::Auto, Surface::Nv12, 12_000_000),
            (Codec::Hevc, 120, true, Profile::Auto, Surface::Nv12, 30_000_000),
            (Codec::Hevc, 120, true, Profile::Auto, Surface::P210, 50_010_000),
            (Codec::Av1, 8, false, Profile::Auto, Surface::Nv12, 12_000_000),
            (Codec::Av1, 8, true, Profile::Auto, Surface::P010, 30_000_000),
        ] {
            let rate = RateControl::Vbr { bitrate: 50_000, max_bitrate: Some(64_000), quality: None };
            let size = if most < 1_000_000 { (128, 96) } else { (1280, 720) };
            let c = EncodeConfig::new(codec, size.0, size.1, (15, 1), rate);
            let c =
                EncodeConfig { level: Some(level), high_tier, profile, surface, vbv_size: Some(most), ..c };
            assert_eq!(refused(&c), None, "{codec:?} {level} {high_tier} {surface:?}");
            let over = EncodeConfig { vbv_size: Some(most + 1), ..c.clone() };
            let (field, why) = refused(&over).unwrap();
            assert!(field == "vbv_size" && why.contains(&format!("a buffer of {most} bits")), "{why}");
            // Without a level that is asked for, the driver takes one that fits.
            assert_eq!(refused(&EncodeConfig { level: None, ..over }), None);
        }
        // A second of whatever rate a level allows, which is the default, is within it.
        for level in H264.iter().chain(&HEVC).chain(&AV1) {
            assert!(level.buffer >= level.main, "{}", level.name);
        }
    }
}
