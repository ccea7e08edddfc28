//! H.264: sequence parameter sets and the `avcC` record.

use super::nal::{self, Framing};
use super::{BitReader, damaged, slice};
use crate::Result;
use crate::frame::{Colour, ColourRange};
use crate::time::Rational;
use bytes::Bytes;

/// `nal_unit_type` of a coded slice of an IDR picture.
pub const IDR: u8 = 5;
/// `nal_unit_type` of a sequence parameter set.
pub const SPS: u8 = 7;
/// `nal_unit_type` of a picture parameter set.
pub const PPS: u8 = 8;
/// `nal_unit_type` of an access unit delimiter.
pub const AUD: u8 = 9;

/// The `nal_unit_type` of a NAL unit.
pub fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |b| b & 0x1f)
}

/// What a sequence parameter set says.
#[derive(Clone, Debug, PartialEq)]
pub struct Sps {
    /// `profile_idc`.
    pub profile: u8,
    /// The constraint flags byte.
    pub compatibility: u8,
    /// `level_idc`.
    pub level: u8,
    /// `chroma_format_idc`: 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    /// Bits per luma sample.
    pub bit_depth: u8,
    /// Bits per chroma sample.
    pub chroma_bit_depth: u8,
    /// Width in pixels after cropping.
    pub width: u32,
    /// Height in pixels after cropping.
    pub height: u32,
    /// Whether all pictures are frames.
    pub progressive: bool,
    /// Sample aspect ratio, if given.
    pub sample_aspect: Option<Rational>,
    /// Colour description; unspecified fields are 2.
    pub colour: Colour,
    /// Frames per second from the timing info, if given.
    pub frame_rate: Option<Rational>,
    /// `max_num_reorder_frames`, if given; 0 where the order counts (`pic_order_cnt_type` 2) leave no other.
    pub reorder: Option<u32>,
}

/// Sample aspect ratios of `aspect_ratio_idc` 1 to 16 (shared with HEVC).
pub(super) const ASPECTS: [(i32, i32); 16] = [
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

/// Reads `aspect_ratio_info` through `colour_description` of a VUI, which H.264 and HEVC share.
pub(super) fn vui_colour(r: &mut BitReader<'_>) -> Result<(Option<Rational>, Colour)> {
    let mut aspect = None;
    if r.flag()? {
        aspect = match r.bits(8)? {
            255 => {
                let ratio = Rational::new(r.bits(16)? as i32, r.bits(16)? as i32);
                ratio.is_positive().then_some(ratio)
            }
            idc => (idc as usize)
                .checked_sub(1)
                .and_then(|i| ASPECTS.get(i))
                .map(|&(num, den)| Rational::new(num, den)),
        };
    }
    if r.flag()? {
        r.skip(1)?;
    }
    let mut colour = Colour::default();
    if r.flag()? {
        r.skip(3)?;
        colour.range = if r.flag()? { ColourRange::Full } else { ColourRange::Limited };
        if r.flag()? {
            colour.primaries = r.bits(8)? as u8;
            colour.transfer = r.bits(8)? as u8;
            colour.matrix = r.bits(8)? as u8;
        }
    }
    Ok((aspect, colour))
}

impl Sps {
    /// Parses an SPS NAL unit (with its header byte, with emulation prevention).
    pub fn parse(unit: &[u8]) -> Result<Sps> {
        if unit_type(unit) != SPS {
            return Err(damaged("H.264: not a sequence parameter set"));
        }
        let data = nal::unescape(&unit[1..]);
        let mut r = BitReader::new(&data);
        let (profile, compatibility, level) = (r.bits(8)? as u8, r.bits(8)? as u8, r.bits(8)? as u8);
        r.ue_max(31, "H.264: seq_parameter_set_id")?;
        let (mut chroma_format, mut bit_depth, mut chroma_bit_depth, mut separate) = (1, 8, 8, false);
        if [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135].contains(&profile) {
            chroma_format = r.ue_max(3, "H.264: chroma_format_idc")? as u8;
            if chroma_format == 3 {
                separate = r.flag()?;
            }
            bit_depth = 8 + r.ue_max(6, "H.264: bit_depth_luma_minus8")? as u8;
            chroma_bit_depth = 8 + r.ue_max(6, "H.264: bit_depth_chroma_minus8")? as u8;
            r.skip(1)?;
            if r.flag()? {
                for i in 0..if chroma_format == 3 { 12 } else { 8 } {
                    if r.flag()? {
                        skip_scaling_list(&mut r, if i < 6 { 16 } else { 64 })?;
                    }
                }
            }
        }
        r.ue_max(12, "H.264: log2_max_frame_num_minus4")?;
        let order = r.ue_max(2, "H.264: pic_order_cnt_type")?;
        match order {
            0 => {
                r.ue()?;
            }
            1 => {
                r.skip(1)?;
                r.se()?;
                r.se()?;
                for _ in 0..r.ue_max(255, "H.264: num_ref_frames_in_pic_order_cnt_cycle")? {
                    r.se()?;
                }
            }
            _ => {}
        }
        r.ue()?;
        r.skip(1)?;
        let mbs_wide = r.ue_max(8191, "H.264: pic_width_in_mbs_minus1")? + 1;
        let map_units = r.ue_max(8191, "H.264: pic_height_in_map_units_minus1")? + 1;
        let progressive = r.flag()?;
        if !progressive {
            r.skip(1)?;
        }
        r.skip(1)?;
        let (mut width, mut height) = (mbs_wide * 16, map_units * 16 * if progressive { 1 } else { 2 });
        if r.flag()? {
            let array = if separate { 0 } else { chroma_format };
            let unit_x = if array == 1 || array == 2 { 2 } else { 1 };
            let unit_y = if array == 1 { 2 } else { 1 } * if progressive { 1 } else { 2 };
            let (left, right, top, bottom) = (r.ue()?, r.ue()?, r.ue()?, r.ue()?);
            width = cropped(width, left, right, unit_x)?;
            height = cropped(height, top, bottom, unit_y)?;
        }
        let mut sps = Sps {
            profile,
            compatibility,
            level,
            chroma_format,
            bit_depth,
            chroma_bit_depth,
            width,
            height,
            progressive,
            sample_aspect: None,
            colour: Colour::default(),
            frame_rate: None,
            reorder: (order == 2).then_some(0),
        };
        if r.flag()? {
            sps.vui(&mut r)?;
        }
        Ok(sps)
    }

    fn vui(&mut self, r: &mut BitReader<'_>) -> Result<()> {
        (self.sample_aspect, self.colour) = vui_colour(r)?;
        if r.flag()? {
            r.ue()?;
            r.ue()?;
        }
        if r.flag()? {
            let (units, scale) = (r.bits(32)?, r.bits(32)?);
            r.skip(1)?;
            if let (Ok(num), Ok(den)) = (i32::try_from(scale), i32::try_from(u64::from(units) * 2)) {
                let rate = Rational::new(num, den);
                self.frame_rate = rate.is_positive().then(|| rate.reduced());
            }
        }
        let nal_hrd = r.flag()?;
        if nal_hrd {
            skip_hrd(r)?;
        }
        let vcl_hrd = r.flag()?;
        if vcl_hrd {
            skip_hrd(r)?;
        }
        if nal_hrd || vcl_hrd {
            r.skip(1)?;
        }
        r.skip(1)?;
        if r.flag()? {
            r.skip(1)?;
            for _ in 0..4 {
                r.ue()?;
            }
            self.reorder = Some(r.ue()?);
        }
        Ok(())
    }
}

/// `size` less `before + after` units of cropping.
pub(super) fn cropped(size: u32, before: u32, after: u32, unit: u32) -> Result<u32> {
    let crop = (u64::from(before) + u64::from(after)) * u64::from(unit);
    u32::try_from(crop)
        .ok()
        .and_then(|crop| size.checked_sub(crop))
        .filter(|size| *size > 0)
        .ok_or_else(|| damaged("cropping leaves no picture"))
}

fn skip_scaling_list(r: &mut BitReader<'_>, size: u32) -> Result<()> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..size {
        if next != 0 {
            next = (last + i64::from(r.se()?) + 256).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Ok(())
}

fn skip_hrd(r: &mut BitReader<'_>) -> Result<()> {
    let count = r.ue_max(31, "H.264: cpb_cnt_minus1")? + 1;
    r.skip(8)?;
    for _ in 0..count {
        r.ue()?;
        r.ue()?;
        r.skip(1)?;
    }
    r.skip(20)
}

/// An `AVCDecoderConfigurationRecord`: the parameter sets of a stream and how its packets are framed.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Framing of the packets that came with it.
    pub framing: Framing,
    /// Sequence parameter sets, as NAL units.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, as NAL units.
    pub pps: Vec<Bytes>,
    /// The first SPS, parsed.
    pub info: Sps,
}

impl Config {
    /// Parses extradata: an `avcC` record or Annex B parameter sets.
    pub fn parse(extradata: &[u8]) -> Result<Config> {
        if nal::is_annex_b(extradata) { Self::from_annex_b(extradata) } else { Self::from_avcc(extradata) }
    }

    /// Finds the parameter sets in an Annex B stream, such as the first packet of one.
    pub fn from_annex_b(data: &[u8]) -> Result<Config> {
        let of = |kind| {
            let mut found: Vec<Bytes> = Vec::new();
            for unit in nal::annex_b_units(data).filter(|u| unit_type(u) == kind) {
                if !found.iter().any(|f| f == unit) {
                    found.push(Bytes::copy_from_slice(unit));
                }
            }
            found
        };
        Self::new(Framing::AnnexB, of(SPS), of(PPS))
    }

    fn from_avcc(data: &[u8]) -> Result<Config> {
        let head = slice(data, 0, 6, "avcC")?;
        if head[0] != 1 {
            return Err(damaged(format!("avcC: version {}", head[0])));
        }
        let mut at = 5;
        let mut sets = |mask: u8| -> Result<Vec<Bytes>> {
            let count = slice(data, at, 1, "avcC")?[0] & mask;
            at += 1;
            let mut units = Vec::new();
            for _ in 0..count {
                let length = slice(data, at, 2, "avcC")?;
                let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                units.push(Bytes::copy_from_slice(slice(data, at + 2, length, "avcC")?));
                at += 2 + length;
            }
            Ok(units)
        };
        let (sps, pps) = (sets(0x1f)?, sets(0xff)?);
        Self::new(Framing::Length((head[4] & 3) + 1), sps, pps)
    }

    fn new(framing: Framing, sps: Vec<Bytes>, pps: Vec<Bytes>) -> Result<Config> {
        let first = sps.first().ok_or_else(|| damaged("H.264: no sequence parameter set"))?;
        if pps.is_empty() {
            return Err(damaged("H.264: no picture parameter set"));
        }
        if sps.iter().chain(&pps).any(|unit| unit.len() > usize::from(u16::MAX)) {
            return Err(damaged("H.264: parameter set too long"));
        }
        if sps.len() > 31 || pps.len() > 255 {
            return Err(damaged("H.264: too many parameter sets"));
        }
        let info = Sps::parse(first)?;
        Ok(Config { framing, sps, pps, info })
    }

    /// The `avcC` payload for four-byte lengths, which is what our writers use.
    pub fn to_avcc(&self) -> Vec<u8> {
        let info = &self.info;
        let mut out =
            vec![1, info.profile, info.compatibility, info.level, 0xff, 0xe0 | self.sps.len() as u8];
        let push = |out: &mut Vec<u8>, units: &[Bytes]| {
            for unit in units {
                out.extend_from_slice(&(unit.len() as u16).to_be_bytes());
                out.extend_from_slice(unit);
            }
        };
        push(&mut out, &self.sps);
        out.push(self.pps.len() as u8);
        push(&mut out, &self.pps);
        if ![66, 77, 88].contains(&info.profile) {
            out.extend_from_slice(&[
                0xfc | info.chroma_format,
                0xf8 | (info.bit_depth - 8),
                0xf8 | (info.chroma_bit_depth - 8),
                0,
            ]);
        }
        out
    }
}
