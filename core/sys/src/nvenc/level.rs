//! What the levels of the codecs allow, so that a level which pictures do not fit is refused by name: drivers only say
//! `Invalid Level`.

use super::config::Codec;

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
}

const fn level(number: u32, name: &'static str, picture: u64, second: u64) -> Level {
    Level { number, name, picture, second }
}

/// Table A-1 of H.264.
const H264: [Level; 20] = [
    level(9, "1b", 99, 1485),
    level(10, "1", 99, 1485),
    level(11, "1.1", 396, 3000),
    level(12, "1.2", 396, 6000),
    level(13, "1.3", 396, 11_880),
    level(20, "2", 396, 11_880),
    level(21, "2.1", 792, 19_800),
    level(22, "2.2", 1620, 20_250),
    level(30, "3", 1620, 40_500),
    level(31, "3.1", 3600, 108_000),
    level(32, "3.2", 5120, 216_000),
    level(40, "4", 8192, 245_760),
    level(41, "4.1", 8192, 245_760),
    level(42, "4.2", 8704, 522_240),
    level(50, "5", 22_080, 589_824),
    level(51, "5.1", 36_864, 983_040),
    level(52, "5.2", 36_864, 2_073_600),
    level(60, "6", 139_264, 4_177_920),
    level(61, "6.1", 139_264, 8_355_840),
    level(62, "6.2", 139_264, 16_711_680),
];

/// Tables A.8 and A.9 of HEVC.
const HEVC: [Level; 13] = [
    level(30, "1", 36_864, 552_960),
    level(60, "2", 122_880, 3_686_400),
    level(63, "2.1", 245_760, 7_372_800),
    level(90, "3", 552_960, 16_588_800),
    level(93, "3.1", 983_040, 33_177_600),
    level(120, "4", 2_228_224, 66_846_720),
    level(123, "4.1", 2_228_224, 133_693_440),
    level(150, "5", 8_912_896, 267_386_880),
    level(153, "5.1", 8_912_896, 534_773_760),
    level(156, "5.2", 8_912_896, 1_069_547_520),
    level(180, "6", 35_651_584, 1_069_547_520),
    level(183, "6.1", 35_651_584, 2_139_095_040),
    level(186, "6.2", 35_651_584, 4_278_190_080),
];

/// Annex A.3 of AV1.
const AV1: [Level; 14] = [
    level(0, "2", 147_456, 4_423_680),
    level(1, "2.1", 278_784, 8_363_520),
    level(4, "3", 665_856, 19_975_680),
    level(5, "3.1", 1_065_024, 31_950_720),
    level(8, "4", 2_359_296, 70_778_880),
    level(9, "4.1", 2_359_296, 141_557_760),
    level(12, "5", 8_912_896, 267_386_880),
    level(13, "5.1", 8_912_896, 534_773_760),
    level(14, "5.2", 8_912_896, 1_069_547_520),
    level(15, "5.3", 8_912_896, 1_069_547_520),
    level(16, "6", 35_651_584, 1_069_547_520),
    level(17, "6.1", 35_651_584, 2_139_095_040),
    level(18, "6.2", 35_651_584, 4_278_190_080),
    level(19, "6.3", 35_651_584, 4_278_190_080),
];

/// The level of `codec` that has this number.
pub(super) fn of(codec: Codec, number: u32) -> Option<&'static Level> {
    let table: &[Level] = match codec {
        Codec::H264 => &H264,
        Codec::Hevc => &HEVC,
        Codec::Av1 => &AV1,
    };
    table.iter().find(|level| level.number == number)
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
}
