//! HEVC: parameter sets and the `hvcC` record.

use super::nal::{self, Framing};
use super::{BitReader, damaged, slice};
use crate::Result;
use crate::frame::Colour;
use crate::time::Rational;
use bytes::Bytes;

/// `nal_unit_type` of a video parameter set.
pub const VPS: u8 = 32;
/// `nal_unit_type` of a sequence parameter set.
pub const SPS: u8 = 33;
/// `nal_unit_type` of a picture parameter set.
pub const PPS: u8 = 34;
/// `nal_unit_type` of an access unit delimiter.
pub const AUD: u8 = 35;

/// The `nal_unit_type` of a NAL unit.
pub fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |b| b >> 1 & 0x3f)
}

/// The general part of `profile_tier_level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileTierLevel {
    /// `general_profile_space`.
    pub space: u8,
    /// Whether the high tier is used.
    pub high_tier: bool,
    /// `general_profile_idc`: 1 Main, 2 Main 10 …
    pub profile: u8,
    /// Compatibility flags, flag 0 in the top bit.
    pub compatibility: u32,
    /// The six bytes of constraint flags.
    pub constraints: [u8; 6],
    /// `general_level_idc`: 30 × the level.
    pub level: u8,
}

/// What a sequence parameter set says.
#[derive(Clone, Debug, PartialEq)]
pub struct Sps {
    /// Profile, tier and level.
    pub ptl: ProfileTierLevel,
    /// Temporal sub-layers (1 to 7).
    pub temporal_layers: u8,
    /// `sps_temporal_id_nesting_flag`.
    pub temporal_nesting: bool,
    /// `chroma_format_idc`.
    pub chroma_format: u8,
    /// Bits per luma sample.
    pub bit_depth: u8,
    /// Bits per chroma sample.
    pub chroma_bit_depth: u8,
    /// Width in pixels after cropping.
    pub width: u32,
    /// Height in pixels after cropping.
    pub height: u32,
    /// Sample aspect ratio, if given.
    pub sample_aspect: Option<Rational>,
    /// Colour description.
    pub colour: Colour,
    /// Frames per second from the timing info, if given.
    pub frame_rate: Option<Rational>,
    /// `sps_max_num_reorder_pics` of the highest temporal layer.
    pub reorder: u32,
}

fn profile_tier_level(r: &mut BitReader<'_>, layers: u32) -> Result<ProfileTierLevel> {
    let space = r.bits(2)? as u8;
    let high_tier = r.flag()?;
    let profile = r.bits(5)? as u8;
    let compatibility = r.bits(32)?;
    let mut constraints = [0; 6];
    for byte in &mut constraints {
        *byte = r.bits(8)? as u8;
    }
    let level = r.bits(8)? as u8;
    let mut present = Vec::new();
    for _ in 1..layers {
        present.push((r.flag()?, r.flag()?));
    }
    if layers > 1 {
        r.skip(2 * (9 - layers as usize))?;
    }
    for (has_profile, has_level) in present {
        r.skip(if has_profile { 88 } else { 0 } + if has_level { 8 } else { 0 })?;
    }
    Ok(ProfileTierLevel { space, high_tier, profile, compatibility, constraints, level })
}

impl Sps {
    /// Parses an SPS NAL unit (with its two header bytes, with emulation prevention).
    pub fn parse(unit: &[u8]) -> Result<Sps> {
        if unit_type(unit) != SPS || unit.len() < 3 {
            return Err(damaged("HEVC: not a sequence parameter set"));
        }
        let data = nal::unescape(&unit[2..]);
        let mut r = BitReader::new(&data);
        r.skip(4)?;
        let layers = r.bits(3)? + 1;
        if layers > 7 {
            return Err(damaged("HEVC: more than 7 temporal layers"));
        }
        let temporal_nesting = r.flag()?;
        let ptl = profile_tier_level(&mut r, layers)?;
        r.ue_max(15, "HEVC: sps_seq_parameter_set_id")?;
        let chroma_format = r.ue_max(3, "HEVC: chroma_format_idc")? as u8;
        let separate = chroma_format == 3 && r.flag()?;
        let (mut width, mut height) = (
            r.ue_max(65535, "HEVC: pic_width_in_luma_samples")?,
            r.ue_max(65535, "HEVC: pic_height_in_luma_samples")?,
        );
        if r.flag()? {
            let array = if separate { 0 } else { chroma_format };
            let (left, right, top, bottom) = (r.ue()?, r.ue()?, r.ue()?, r.ue()?);
            width = super::h264::cropped(width, left, right, if array == 1 || array == 2 { 2 } else { 1 })?;
            height = super::h264::cropped(height, top, bottom, if array == 1 { 2 } else { 1 })?;
        }
        if width == 0 || height == 0 {
            return Err(damaged("HEVC: picture of no size"));
        }
        let bit_depth = 8 + r.ue_max(8, "HEVC: bit_depth_luma_minus8")? as u8;
        let chroma_bit_depth = 8 + r.ue_max(8, "HEVC: bit_depth_chroma_minus8")? as u8;
        let mut sps = Sps {
            ptl,
            temporal_layers: layers as u8,
            temporal_nesting,
            chroma_format,
            bit_depth,
            chroma_bit_depth,
            width,
            height,
            sample_aspect: None,
            colour: Colour::default(),
            frame_rate: None,
            reorder: 0,
        };
        sps.tail(&mut r, layers)?;
        Ok(sps)
    }

    /// From `log2_max_pic_order_cnt_lsb_minus4` to the VUI's timing.
    fn tail(&mut self, r: &mut BitReader<'_>, layers: u32) -> Result<()> {
        let poc_bits = r.ue_max(12, "HEVC: log2_max_pic_order_cnt_lsb_minus4")? + 4;
        let sub_layer_ordering = r.flag()?;
        for _ in if sub_layer_ordering { 0 } else { layers - 1 }..layers {
            r.ue()?;
            self.reorder = r.ue_max(16, "HEVC: sps_max_num_reorder_pics")?;
            r.ue()?;
        }
        for _ in 0..6 {
            r.ue()?;
        }
        if r.flag()? && r.flag()? {
            skip_scaling_lists(r)?;
        }
        r.skip(2)?;
        if r.flag()? {
            r.skip(8)?;
            r.ue()?;
            r.ue()?;
            r.skip(1)?;
        }
        let sets = r.ue_max(64, "HEVC: num_short_term_ref_pic_sets")?;
        let mut deltas: Vec<u32> = Vec::new();
        for index in 0..sets {
            let count = skip_ref_pic_set(r, index, &deltas)?;
            deltas.push(count);
        }
        if r.flag()? {
            for _ in 0..r.ue_max(32, "HEVC: num_long_term_ref_pics_sps")? {
                r.skip(poc_bits as usize + 1)?;
            }
        }
        r.skip(2)?;
        if r.flag()? {
            (self.sample_aspect, self.colour) = super::h264::vui_colour(r)?;
            if r.flag()? {
                r.ue()?;
                r.ue()?;
            }
            r.skip(3)?;
            if r.flag()? {
                for _ in 0..4 {
                    r.ue()?;
                }
            }
            if r.flag()? {
                let (units, scale) = (r.bits(32)?, r.bits(32)?);
                if let (Ok(num), Ok(den)) = (i32::try_from(scale), i32::try_from(units)) {
                    let rate = Rational::new(num, den);
                    self.frame_rate = rate.is_positive().then(|| rate.reduced());
                }
            }
        }
        Ok(())
    }
}

fn skip_scaling_lists(r: &mut BitReader<'_>) -> Result<()> {
    for size in 0..4u32 {
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if !r.flag()? {
                r.ue()?;
                continue;
            }
            if size > 1 {
                r.se()?;
            }
            for _ in 0..64.min(1 << (4 + (size << 1))) {
                r.se()?;
            }
        }
    }
    Ok(())
}

/// Skips `st_ref_pic_set(index)`; returns its `NumDeltaPocs`.
fn skip_ref_pic_set(r: &mut BitReader<'_>, index: u32, previous: &[u32]) -> Result<u32> {
    if index > 0 && r.flag()? {
        r.skip(1)?;
        r.ue()?;
        let reference = previous.last().copied().unwrap_or(0);
        let mut count = 0;
        for _ in 0..=reference {
            let used = r.flag()?;
            if used || r.flag()? {
                count += 1;
            }
        }
        return Ok(count);
    }
    let negative = r.ue_max(16, "HEVC: num_negative_pics")?;
    let positive = r.ue_max(16, "HEVC: num_positive_pics")?;
    for _ in 0..negative + positive {
        r.ue()?;
        r.skip(1)?;
    }
    Ok(negative + positive)
}

/// An `HEVCDecoderConfigurationRecord`: the parameter sets of a stream and how its packets are framed.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Framing of the packets that came with it.
    pub framing: Framing,
    /// Video parameter sets, as NAL units.
    pub vps: Vec<Bytes>,
    /// Sequence parameter sets, as NAL units.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, as NAL units.
    pub pps: Vec<Bytes>,
    /// The first SPS, parsed.
    pub info: Sps,
}

impl Config {
    /// Parses extradata: an `hvcC` record or Annex B parameter sets.
    pub fn parse(extradata: &[u8]) -> Result<Config> {
        if nal::is_annex_b(extradata) { Self::from_annex_b(extradata) } else { Self::from_hvcc(extradata) }
    }

    /// Finds the parameter sets in an Annex B stream, such as the first packet of one.
    pub fn from_annex_b(data: &[u8]) -> Result<Config> {
        Self::new(Framing::AnnexB, nal::annex_b_units(data))
    }

    fn from_hvcc(data: &[u8]) -> Result<Config> {
        let head = slice(data, 0, 23, "hvcC")?;
        if head[0] > 1 {
            return Err(damaged(format!("hvcC: version {}", head[0])));
        }
        let mut at = 23;
        let mut units = Vec::new();
        for _ in 0..head[22] {
            let array = slice(data, at, 3, "hvcC")?;
            at += 3;
            for _ in 0..u16::from_be_bytes([array[1], array[2]]) {
                let length = slice(data, at, 2, "hvcC")?;
                let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                units.push(slice(data, at + 2, length, "hvcC")?);
                at += 2 + length;
            }
        }
        Self::new(Framing::Length((head[21] & 3) + 1), units.into_iter())
    }

    fn new<'a>(framing: Framing, units: impl Iterator<Item = &'a [u8]>) -> Result<Config> {
        let (mut vps, mut sps, mut pps) = (Vec::new(), Vec::new(), Vec::new());
        for unit in units {
            let list: &mut Vec<Bytes> = match unit_type(unit) {
                VPS => &mut vps,
                SPS => &mut sps,
                PPS => &mut pps,
                _ => continue,
            };
            if unit.len() > usize::from(u16::MAX) || list.len() >= 255 {
                return Err(damaged("HEVC: parameter sets too large"));
            }
            if !list.iter().any(|known| known == unit) {
                list.push(Bytes::copy_from_slice(unit));
            }
        }
        let first = sps.first().ok_or_else(|| damaged("HEVC: no sequence parameter set"))?;
        if vps.is_empty() || pps.is_empty() {
            return Err(damaged("HEVC: no video or picture parameter set"));
        }
        let info = Sps::parse(first)?;
        Ok(Config { framing, vps, sps, pps, info })
    }

    /// The `hvcC` payload for four-byte lengths, with complete arrays as `hvc1` wants them.
    pub fn to_hvcc(&self) -> Vec<u8> {
        let (info, ptl) = (&self.info, &self.info.ptl);
        let mut out = vec![1, ptl.space << 6 | u8::from(ptl.high_tier) << 5 | ptl.profile];
        out.extend_from_slice(&ptl.compatibility.to_be_bytes());
        out.extend_from_slice(&ptl.constraints);
        out.push(ptl.level);
        // No minimum spatial segmentation, unknown parallelism, unknown average frame rate.
        out.extend_from_slice(&[0xf0, 0, 0xfc, 0xfc | info.chroma_format]);
        out.extend_from_slice(&[0xf8 | (info.bit_depth - 8), 0xf8 | (info.chroma_bit_depth - 8), 0, 0]);
        out.push(info.temporal_layers << 3 | u8::from(info.temporal_nesting) << 2 | 3);
        out.push(3);
        for (kind, units) in [(VPS, &self.vps), (SPS, &self.sps), (PPS, &self.pps)] {
            out.push(0x80 | kind);
            out.extend_from_slice(&(units.len() as u16).to_be_bytes());
            for unit in units {
                out.extend_from_slice(&(unit.len() as u16).to_be_bytes());
                out.extend_from_slice(unit);
            }
        }
        out
    }
}
