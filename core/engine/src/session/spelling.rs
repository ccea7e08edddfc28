//! Other spellings of the document's own values, as programs written for GhostStream's first crate have them. They are
//! constants of the same types, so that both spellings compare equal and match in patterns.
#![allow(non_upper_case_globals)]

use crate::packet::Codec;
use crate::spec::{Container, FrameRate, Preset, Tune};
use crate::time::Rational;

impl Codec {
    /// [`Codec::Av1`].
    pub const AV1: Codec = Codec::Av1;
    /// [`Codec::Hevc`].
    pub const HEVC: Codec = Codec::Hevc;
    /// [`Codec::Hevc`] by its other name.
    pub const H265: Codec = Codec::Hevc;
    /// [`Codec::Vp9`].
    pub const VP9: Codec = Codec::Vp9;
}

impl Container {
    /// [`Container::Mkv`].
    pub const Matroska: Container = Container::Mkv;
}

impl Preset {
    /// The fastest: [`Preset::P1`].
    pub const Fastest: Preset = Preset::P1;
    /// [`Preset::P3`].
    pub const Fast: Preset = Preset::P3;
    /// The default: [`Preset::P4`].
    pub const Medium: Preset = Preset::P4;
    /// [`Preset::P5`].
    pub const Slow: Preset = Preset::P5;
    /// Good pictures while it can still keep up: [`Preset::P6`].
    pub const Quality: Preset = Preset::P6;
    /// The best: [`Preset::P7`].
    pub const Slowest: Preset = Preset::P7;
}

impl Tune {
    /// [`Tune::Hq`].
    pub const HighQuality: Tune = Tune::Hq;
    /// [`Tune::Ll`].
    pub const LowLatency: Tune = Tune::Ll;
    /// [`Tune::Ull`].
    pub const UltraLowLatency: Tune = Tune::Ull;
}

impl FrameRate {
    /// 24 frames per second.
    pub const FPS_24: FrameRate = FrameRate::fps(24);
    /// 25 frames per second.
    pub const FPS_25: FrameRate = FrameRate::fps(25);
    /// 30 frames per second.
    pub const FPS_30: FrameRate = FrameRate::fps(30);
    /// 50 frames per second.
    pub const FPS_50: FrameRate = FrameRate::fps(50);
    /// 60 frames per second.
    pub const FPS_60: FrameRate = FrameRate::fps(60);
    /// 120 frames per second.
    pub const FPS_120: FrameRate = FrameRate::fps(120);
    /// 144 frames per second.
    pub const FPS_144: FrameRate = FrameRate::fps(144);
    /// 240 frames per second.
    pub const FPS_240: FrameRate = FrameRate::fps(240);

    /// A whole number of frames per second. Rates of 0 or above 1000 are refused when a pipeline is made of them.
    pub const fn fps(rate: u32) -> FrameRate {
        FrameRate(Rational::new(rate as i32, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_the_same_values() {
        assert_eq!(Codec::AV1, Codec::from_name("av1"));
        assert_eq!(Codec::HEVC, Codec::from_name("h265"));
        assert_eq!(Container::Matroska.name(), "mkv");
        assert!(matches!(Preset::P6, Preset::Quality));
        assert_eq!("59.94".parse(), Ok(FrameRate(Rational::new(60000, 1001))));
        assert_eq!("60".parse(), Ok(FrameRate::FPS_60));
    }
}
