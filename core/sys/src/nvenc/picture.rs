//! Pictures in, coded pictures out.

use super::error::{Error, Result};
use super::layout::{ChromaPoint, ContentLightLevel, MasteringDisplayInfo};
use super::values::*;
use crate::ffmpeg::{ContentLight, MasteringDisplay};

/// What kind a picture must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Force {
    /// The encoder's choice.
    #[default]
    None,
    /// An intra picture.
    Intra,
    /// An IDR picture (AV1: a key frame), where decoding can begin.
    Idr,
}

/// Bytes to write beside a picture: an SEI message (H.264, HEVC) or a metadata OBU (AV1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    /// SEI `payloadType`, or AV1's `metadata_type`.
    pub kind: u32,
    /// The payload without header or escapes.
    pub bytes: &'a [u8],
}

/// What goes with one picture.
#[derive(Clone, Copy, Debug, Default)]
pub struct Picture<'a> {
    /// Presentation time, given back with the coded picture; any clock. Must be different for each picture if
    /// [`Submitter::invalidate`](super::Submitter::invalidate) is to find it.
    pub pts: i64,
    /// Length in the same clock, given back too.
    pub duration: u64,
    /// Anything, given back too.
    pub tag: u64,
    /// What kind it must be.
    pub force: Force,
    /// Write stream headers before it.
    pub headers: bool,
    /// Start a wave of intra blocks that takes this many pictures; 0 for none.
    pub intra_refresh: u32,
    /// Messages beside it.
    pub payloads: &'a [Payload<'a>],
    /// Mastering display, for key pictures; needs [`EncodeConfig::hdr_metadata`](super::EncodeConfig::hdr_metadata).
    pub mastering: Option<&'a MasteringDisplay>,
    /// Content light level, likewise.
    pub light: Option<ContentLight>,
    /// A quantiser's difference per block of [`Codec::qp_block`](super::Codec::qp_block), row by row; needs
    /// [`EncodeConfig::qp_map`](super::EncodeConfig::qp_map).
    pub qp_map: Option<&'a [i8]>,
}

/// How a picture was coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum PictureKind {
    Idr,
    I,
    P,
    B,
    /// A P picture to which none refers.
    NonReferenceP,
    IntraRefresh,
    Skipped,
    Unknown,
}

impl PictureKind {
    pub(super) fn of(number: u32) -> PictureKind {
        match number {
            PIC_TYPE_IDR => PictureKind::Idr,
            PIC_TYPE_I => PictureKind::I,
            PIC_TYPE_P => PictureKind::P,
            PIC_TYPE_B | PIC_TYPE_BI => PictureKind::B,
            PIC_TYPE_NONREF_P => PictureKind::NonReferenceP,
            PIC_TYPE_INTRA_REFRESH => PictureKind::IntraRefresh,
            PIC_TYPE_SKIPPED => PictureKind::Skipped,
            _ => PictureKind::Unknown,
        }
    }

    /// Whether decoding can begin with it.
    pub fn is_key(self) -> bool {
        self == PictureKind::Idr
    }
}

/// Mastering display as the API takes it: in the units of each codec's own syntax.
pub(super) fn mastering(display: &MasteringDisplay, av1: bool) -> MasteringDisplayInfo {
    // HEVC: 0.00002 and 0.0001 cd/m². AV1: 0.16, 24.8 and 18.14 fixed point.
    let (unit, high, low) = if av1 { (65536.0, 256.0, 16384.0) } else { (50000.0, 10000.0, 10000.0) };
    let point = |p: [f64; 2]| {
        let part = |v: f64| (v * unit).round().clamp(0.0, 65535.0) as u16;
        ChromaPoint { x: part(p[0]), y: part(p[1]) }
    };
    let luma = |v: f64, unit: f64| (v * unit).round().clamp(0.0, f64::from(u32::MAX)) as u32;
    let [r, g, b] = display.primaries.map(point);
    MasteringDisplayInfo {
        g,
        b,
        r,
        whitePoint: point(display.white),
        maxLuma: luma(display.max_luminance, high),
        minLuma: luma(display.min_luminance, low),
    }
}

pub(super) fn light(light: ContentLight) -> ContentLightLevel {
    let part = |v: u32| v.min(u32::from(u16::MAX)) as u16;
    ContentLightLevel {
        maxContentLightLevel: part(light.max_content),
        maxPicAverageLightLevel: part(light.max_average),
    }
}

/// The same as messages, for codecs and versions that have no parameter for it. SEI 137 and 144 order the primaries
/// green, blue, red; AV1's metadata red, green, blue.
pub(super) fn mastering_payload(display: &MasteringDisplay, av1: bool) -> (u32, Vec<u8>) {
    const SEI_MASTERING: u32 = 137;
    const OBU_MASTERING: u32 = 2;
    let info = mastering(display, av1);
    let points = if av1 {
        [info.r, info.g, info.b, info.whitePoint]
    } else {
        [info.g, info.b, info.r, info.whitePoint]
    };
    let mut bytes = Vec::with_capacity(24);
    for p in points {
        bytes.extend(p.x.to_be_bytes());
        bytes.extend(p.y.to_be_bytes());
    }
    bytes.extend(info.maxLuma.to_be_bytes());
    bytes.extend(info.minLuma.to_be_bytes());
    (if av1 { OBU_MASTERING } else { SEI_MASTERING }, bytes)
}

pub(super) fn light_payload(level: ContentLight, av1: bool) -> (u32, Vec<u8>) {
    const SEI_LIGHT: u32 = 144;
    const OBU_LIGHT: u32 = 1;
    let info = light(level);
    let bytes =
        [info.maxContentLightLevel.to_be_bytes(), info.maxPicAverageLightLevel.to_be_bytes()].concat();
    (if av1 { OBU_LIGHT } else { SEI_LIGHT }, bytes)
}

/// Whether a QP map has a value for each block.
pub(super) fn check_map(map: &[i8], width: u32, height: u32, block: u32) -> Result<()> {
    let needed = width.div_ceil(block) as usize * height.div_ceil(block) as usize;
    if map.len() == needed {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "a QP map of a {width}x{height} picture has {needed} values, one per {block}x{block}; {} given",
        map.len()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hdr_metadata_is_in_the_units_of_the_codec() {
        let display = MasteringDisplay {
            primaries: [[0.708, 0.292], [0.170, 0.797], [0.131, 0.046]],
            white: [0.3127, 0.3290],
            max_luminance: 1000.0,
            min_luminance: 0.005,
        };
        let hevc = mastering(&display, false);
        assert_eq!((hevc.g.x, hevc.g.y, hevc.b.x, hevc.r.x), (8500, 39850, 6550, 35400));
        assert_eq!((hevc.whitePoint.x, hevc.maxLuma, hevc.minLuma), (15635, 10_000_000, 50));
        let av1 = mastering(&display, true);
        assert_eq!((av1.r.x, av1.maxLuma, av1.minLuma), (46399, 256_000, 82));
        let (kind, bytes) = mastering_payload(&display, false);
        assert_eq!((kind, bytes.len(), &bytes[..2]), (137, 24, &8500u16.to_be_bytes()[..]));
        let (kind, bytes) = mastering_payload(&display, true);
        assert_eq!((kind, bytes.len(), &bytes[..2]), (2, 24, &46399u16.to_be_bytes()[..]));
        let (kind, bytes) = light_payload(ContentLight { max_content: 1000, max_average: 70_000 }, false);
        assert_eq!((kind, bytes), (144, vec![3, 232, 255, 255]));
        assert!(check_map(&[0; 12], 64, 48, 16).is_ok() && check_map(&[0; 12], 65, 48, 16).is_err());
    }
}
