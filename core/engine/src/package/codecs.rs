//! RFC 6381 codec strings: what `CODECS` of HLS and `codecs` of DASH say.

use super::bitstream::{aac, av1, h264, hevc, vp9};
use crate::frame::{Colour, ColourRange, DolbyVision};

/// `avc1.PPCCLL`.
pub fn h264(sps: &h264::Sps) -> String {
    format!("avc1.{:02x}{:02x}{:02x}", sps.profile, sps.compatibility, sps.level)
}

/// `hvc1.…` (ISO/IEC 14496-15 annex E.3).
pub fn hevc(ptl: &hevc::ProfileTierLevel) -> String {
    let space = ["", "A", "B", "C"][usize::from(ptl.space & 3)];
    let tier = if ptl.high_tier { 'H' } else { 'L' };
    let mut out =
        format!("hvc1.{space}{}.{:X}.{tier}{}", ptl.profile, ptl.compatibility.reverse_bits(), ptl.level);
    let used = ptl.constraints.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
    for byte in &ptl.constraints[..used] {
        out.push_str(&format!(".{byte:X}"));
    }
    out
}

/// `av01.P.LLT.DD`, with the colour fields where `colour` or the stream differs from their defaults.
pub fn av1(info: &av1::SequenceHeader, colour: Colour) -> String {
    let tier = if info.high_tier { 'H' } else { 'M' };
    let mut out = format!("av01.{}.{:02}{tier}.{:02}", info.profile, info.level, info.bit_depth);
    let position = if info.subsampling_x && info.subsampling_y { info.chroma_position } else { 0 };
    let chroma = [u8::from(info.subsampling_x), u8::from(info.subsampling_y), position];
    let plain = !info.monochrome && chroma[..2] == [1, 1] && chroma[2] == 0;
    if !plain || !is_bt709(colour) {
        let full = u8::from(colour.range == ColourRange::Full);
        out.push_str(&format!(
            ".{}.{}{}{}.{:02}.{:02}.{:02}.{full}",
            u8::from(info.monochrome),
            chroma[0],
            chroma[1],
            chroma[2],
            colour.primaries,
            colour.transfer,
            colour.matrix
        ));
    }
    out
}

/// `vp09.PP.LL.DD`, with the optional fields where they differ from their defaults.
pub fn vp9(config: &vp9::Config, colour: Colour) -> String {
    let mut out = format!("vp09.{:02}.{:02}.{:02}", config.profile, config.level, config.bit_depth);
    if config.chroma() != 1 || !is_bt709(colour) {
        let full = u8::from(colour.range == ColourRange::Full);
        out.push_str(&format!(
            ".{:02}.{:02}.{:02}.{:02}.{full:02}",
            config.chroma(),
            colour.primaries,
            colour.transfer,
            colour.matrix
        ));
    }
    out
}

/// Whether the optional colour fields of AV1 and VP9 strings may be left out: BT.709 limited, or nothing known.
fn is_bt709(colour: Colour) -> bool {
    let default = |v| v == 1 || v == 2;
    default(colour.primaries)
        && default(colour.transfer)
        && default(colour.matrix)
        && colour.range != ColourRange::Full
}

/// `mp4a.40.N`.
pub fn aac(config: &aac::Config) -> String {
    format!("mp4a.40.{}", config.object_type)
}

/// The Dolby Vision string of a stream whose base layer is HEVC (`dvh1.PP.LL`) or AV1 (`dav1.PP.LL`).
pub fn dolby_vision(dv: &DolbyVision, av1: bool) -> String {
    format!("{}.{:02}.{:02}", if av1 { "dav1" } else { "dvh1" }, dv.profile, dv.level)
}

/// The brand that says what plays the base layer of a Dolby Vision stream without Dolby Vision: behind the slash in
/// `SUPPLEMENTAL-CODECS`. `None` where nothing does (profile 5).
pub fn dolby_vision_brand(dv: &DolbyVision) -> Option<&'static str> {
    match dv.compatibility {
        1 | 6 => Some("db1p"),
        2 => Some("db2g"),
        4 => Some("db4h"),
        _ => None,
    }
}

/// Opus, in HLS and DASH.
pub const OPUS: &str = "opus";
/// FLAC.
pub const FLAC: &str = "fLaC";
/// AC-3.
pub const AC3: &str = "ac-3";
/// E-AC-3.
pub const EAC3: &str = "ec-3";
/// MP3 in fMP4, by its object type indication.
pub const MP3_MP4: &str = "mp4a.6B";
/// MP3 in MPEG-TS and elementary segments, as Apple's HLS specification writes it.
pub const MP3_TS: &str = "mp4a.40.34";
/// WebVTT in fMP4.
pub const WVTT: &str = "wvtt";
/// TTML in fMP4 (IMSC1 text profile).
pub const STPP: &str = "stpp.ttml.im1t";

#[cfg(test)]
mod tests {
    use super::*;

    fn ptl(profile: u8, compatibility: u32, level: u8, first: u8) -> hevc::ProfileTierLevel {
        let constraints = [first, 0, 0, 0, 0, 0];
        hevc::ProfileTierLevel { space: 0, high_tier: false, profile, compatibility, constraints, level }
    }

    #[test]
    fn known_good_values() {
        assert_eq!(hevc(&ptl(2, 0x2000_0000, 153, 0xb0)), "hvc1.2.4.L153.B0");
        assert_eq!(hevc(&ptl(1, 0x6000_0000, 93, 0x90)), "hvc1.1.6.L93.90");
        let mut info = av1::SequenceHeader {
            profile: 0,
            level: 4,
            high_tier: false,
            bit_depth: 8,
            monochrome: false,
            subsampling_x: true,
            subsampling_y: true,
            chroma_position: 0,
            colour: Colour::BT709,
            width: 1280,
            height: 720,
        };
        assert_eq!(av1(&info, Colour::BT709), "av01.0.04M.08");
        (info.level, info.bit_depth) = (13, 10);
        let pq = Colour { primaries: 9, transfer: 16, matrix: 9, ..Colour::BT709 };
        assert_eq!(av1(&info, pq), "av01.0.13M.10.0.110.09.16.09.0");
        let lc = aac::Config::parse(&[0x11, 0x90]).unwrap();
        assert_eq!(aac(&lc), "mp4a.40.2");
    }
}
