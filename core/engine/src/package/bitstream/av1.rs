//! AV1: open bitstream units, the sequence header and the `av1C` record.

use super::{BitReader, damaged, slice};
use crate::Result;
use crate::frame::{Colour, ColourRange};
use bytes::Bytes;

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;

/// One open bitstream unit.
#[derive(Clone, Copy, Debug)]
pub struct Obu<'a> {
    /// `obu_type`.
    pub kind: u8,
    /// The unit with its header and size.
    pub whole: &'a [u8],
    /// The payload alone.
    pub payload: &'a [u8],
}

/// Splits a temporal unit in the low-overhead format. A unit without a size extends to the end.
pub fn obus(data: &[u8]) -> Result<Vec<Obu<'_>>> {
    let mut found = Vec::new();
    let mut rest = data;
    while let Some(&header) = rest.first() {
        if header & 0x80 != 0 {
            return Err(damaged("AV1: forbidden bit of an OBU is set"));
        }
        let mut at = if header & 4 != 0 { 2 } else { 1 };
        let length = if header & 2 != 0 {
            let (length, size) = leb128(rest.get(at..).unwrap_or(&[]))?;
            at += size;
            length
        } else {
            rest.len().checked_sub(at).ok_or_else(|| damaged("AV1: OBU truncated"))?
        };
        let payload = slice(rest, at, length, "AV1 OBU")?;
        found.push(Obu { kind: header >> 3 & 15, whole: &rest[..at + length], payload });
        rest = &rest[at + length..];
    }
    Ok(found)
}

fn leb128(data: &[u8]) -> Result<(usize, usize)> {
    let mut value = 0u64;
    for (i, byte) in data.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let value = usize::try_from(value).map_err(|_| damaged("AV1: OBU size too large"))?;
            return Ok((value, i + 1));
        }
    }
    Err(damaged("AV1: OBU size truncated"))
}

/// A temporal unit as ISO files carry it: without temporal delimiters, padding and tile lists. Returns the input
/// uncopied when there is nothing to remove.
pub fn strip(data: &Bytes) -> Result<Bytes> {
    let units = obus(data)?;
    let dropped = |o: &Obu<'_>| matches!(o.kind, TEMPORAL_DELIMITER | PADDING | TILE_LIST);
    if !units.iter().any(dropped) {
        return Ok(data.clone());
    }
    if let [first, rest @ ..] = &units[..]
        && dropped(first)
        && !rest.iter().any(dropped)
    {
        return Ok(data.slice(first.whole.len()..));
    }
    Ok(units.iter().filter(|o| !dropped(o)).flat_map(|o| o.whole).copied().collect::<Vec<u8>>().into())
}

/// What a sequence header says.
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceHeader {
    /// `seq_profile`: 0 Main, 1 High, 2 Professional.
    pub profile: u8,
    /// `seq_level_idx[0]`.
    pub level: u8,
    /// Whether operating point 0 uses the high tier.
    pub high_tier: bool,
    /// Bits per sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// Whether there is no chroma.
    pub monochrome: bool,
    /// Whether chroma is halved horizontally.
    pub subsampling_x: bool,
    /// Whether chroma is halved vertically.
    pub subsampling_y: bool,
    /// `chroma_sample_position`: 0 unknown, 1 vertical, 2 colocated.
    pub chroma_position: u8,
    /// Colour description.
    pub colour: Colour,
    /// Largest frame width.
    pub width: u32,
    /// Largest frame height.
    pub height: u32,
}

impl SequenceHeader {
    /// Parses the payload of a sequence header OBU.
    pub fn parse(payload: &[u8]) -> Result<SequenceHeader> {
        let mut r = BitReader::new(payload);
        let profile = r.bits(3)? as u8;
        if profile > 2 {
            return Err(damaged(format!("AV1: profile {profile}")));
        }
        r.skip(1)?;
        let reduced = r.flag()?;
        let (mut level, mut high_tier) = (0, false);
        if reduced {
            level = r.bits(5)? as u8;
        } else {
            let mut decoder_model = None;
            if r.flag()? {
                r.skip(64)?;
                if r.flag()? {
                    r.ue()?;
                }
                if r.flag()? {
                    decoder_model = Some(r.bits(5)? as usize + 1);
                    r.skip(32 + 10)?;
                }
            }
            let initial_delay = r.flag()?;
            for point in 0..=r.bits(5)? {
                r.skip(12)?;
                let idx = r.bits(5)? as u8;
                let tier = idx > 7 && r.flag()?;
                if point == 0 {
                    (level, high_tier) = (idx, tier);
                }
                if let Some(delay_bits) = decoder_model
                    && r.flag()?
                {
                    r.skip(2 * delay_bits + 1)?;
                }
                if initial_delay && r.flag()? {
                    r.skip(4)?;
                }
            }
        }
        let (width_bits, height_bits) = (r.bits(4)? + 1, r.bits(4)? + 1);
        let (width, height) = (r.bits(width_bits)? + 1, r.bits(height_bits)? + 1);
        if !reduced && r.flag()? {
            r.skip(7)?;
        }
        r.skip(3)?;
        if !reduced {
            r.skip(4)?;
            let order_hint = r.flag()?;
            if order_hint {
                r.skip(2)?;
            }
            let screen_content = r.flag()? || r.flag()?;
            if screen_content && !r.flag()? {
                r.skip(1)?;
            }
            if order_hint {
                r.skip(3)?;
            }
        }
        r.skip(3)?;
        let mut header = SequenceHeader {
            profile,
            level,
            high_tier,
            bit_depth: 8,
            monochrome: false,
            subsampling_x: true,
            subsampling_y: true,
            chroma_position: 0,
            colour: Colour::default(),
            width,
            height,
        };
        header.colour_config(&mut r)?;
        Ok(header)
    }

    fn colour_config(&mut self, r: &mut BitReader<'_>) -> Result<()> {
        let high = r.flag()?;
        self.bit_depth = match (high, self.profile) {
            (false, _) => 8,
            (true, 2) if r.flag()? => 12,
            (true, _) => 10,
        };
        self.monochrome = self.profile != 1 && r.flag()?;
        if r.flag()? {
            self.colour.primaries = r.bits(8)? as u8;
            self.colour.transfer = r.bits(8)? as u8;
            self.colour.matrix = r.bits(8)? as u8;
        }
        let range = |full| if full { ColourRange::Full } else { ColourRange::Limited };
        if self.monochrome {
            self.colour.range = range(r.flag()?);
            return Ok(());
        }
        if (self.colour.primaries, self.colour.transfer, self.colour.matrix) == (1, 13, 0) {
            self.colour.range = ColourRange::Full;
            (self.subsampling_x, self.subsampling_y) = (false, false);
            return Ok(());
        }
        self.colour.range = range(r.flag()?);
        (self.subsampling_x, self.subsampling_y) = match self.profile {
            0 => (true, true),
            1 => (false, false),
            _ if self.bit_depth == 12 => {
                let x = r.flag()?;
                (x, x && r.flag()?)
            }
            _ => (true, false),
        };
        if self.subsampling_x && self.subsampling_y {
            self.chroma_position = r.bits(2)? as u8;
        }
        Ok(())
    }
}

/// The `av1C` record of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The sequence header, parsed.
    pub info: SequenceHeader,
    /// `configOBUs`: the sequence header OBU and any metadata.
    pub config_obus: Bytes,
}

impl Config {
    /// Parses extradata: an `av1C` record, or OBUs as encoders give them.
    pub fn parse(extradata: &[u8]) -> Result<Config> {
        match extradata {
            // Marker bit and version 1; as an OBU header the same byte would have the forbidden bit set.
            [0x81, _, _, _, obus @ ..] => Self::from_obus(obus),
            obus => Self::from_obus(obus),
        }
    }

    /// Finds the sequence header in a temporal unit, such as the first key packet.
    pub fn from_obus(data: &[u8]) -> Result<Config> {
        let header = obus(data)?
            .into_iter()
            .find(|o| o.kind == SEQUENCE_HEADER)
            .ok_or_else(|| damaged("AV1: no sequence header"))?;
        let info = SequenceHeader::parse(header.payload)?;
        // configOBUs must carry a size, which a lone unit may have left out.
        let mut whole = Vec::with_capacity(header.payload.len() + 4);
        whole.push(SEQUENCE_HEADER << 3 | 2);
        let mut length = header.payload.len();
        while length > 0x7f {
            whole.push(length as u8 | 0x80);
            length >>= 7;
        }
        whole.push(length as u8);
        whole.extend_from_slice(header.payload);
        Ok(Config { info, config_obus: whole.into() })
    }

    /// The `av1C` payload.
    pub fn to_av1c(&self) -> Vec<u8> {
        let i = &self.info;
        let mut out = vec![0x81, i.profile << 5 | i.level & 31];
        out.push(
            u8::from(i.high_tier) << 7
                | u8::from(i.bit_depth > 8) << 6
                | u8::from(i.bit_depth == 12) << 5
                | u8::from(i.monochrome) << 4
                | u8::from(i.subsampling_x) << 3
                | u8::from(i.subsampling_y) << 2
                | i.chroma_position & 3,
        );
        out.push(0);
        out.extend_from_slice(&self.config_obus);
        out
    }
}
