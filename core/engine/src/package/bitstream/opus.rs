//! Opus: the identification header and packet durations.

use super::{damaged, slice};
use crate::Result;
use bytes::Bytes;

/// An `OpusHead` (RFC 7845).
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Output channels.
    pub channels: u8,
    /// Samples at 48 kHz to drop at the start.
    pub pre_skip: u16,
    /// Rate of the original input, Hz; informative.
    pub input_rate: u32,
    /// Output gain, Q7.8 dB.
    pub gain: i16,
    /// Channel mapping family.
    pub family: u8,
    /// Stream count, coupled count and the mapping; empty in family 0.
    pub mapping: Bytes,
}

impl Config {
    /// Parses extradata that starts with `OpusHead`.
    pub fn parse(data: &[u8]) -> Result<Config> {
        let head = slice(data, 0, 19, "OpusHead")?;
        if !head.starts_with(b"OpusHead") || head[8] & 0xf0 != 0 {
            return Err(damaged("Opus: no OpusHead of version 0 or 1"));
        }
        let (channels, family) = (head[9], head[18]);
        if channels == 0 || (family == 0 && channels > 2) {
            return Err(damaged(format!("Opus: {channels} channels in family {family}")));
        }
        let mapping = match family {
            0 => Bytes::new(),
            _ => Bytes::copy_from_slice(slice(data, 19, 2 + usize::from(channels), "OpusHead")?),
        };
        Ok(Config {
            channels,
            pre_skip: u16::from_le_bytes([head[10], head[11]]),
            input_rate: u32::from_le_bytes([head[12], head[13], head[14], head[15]]),
            gain: i16::from_le_bytes([head[16], head[17]]),
            family,
            mapping,
        })
    }

    /// A mono or stereo header, for streams that came without one.
    pub fn simple(channels: u8, pre_skip: u16) -> Result<Config> {
        if !(1..=2).contains(&channels) {
            return Err(crate::Error::unsupported(format!("Opus: {channels} channels without an OpusHead")));
        }
        Ok(Config { channels, pre_skip, input_rate: 48000, gain: 0, family: 0, mapping: Bytes::new() })
    }

    /// A packet of 20 ms in which nothing is heard; `None` for more than two channels.
    pub fn silence(&self) -> Option<Vec<u8>> {
        // One frame of CELT, full band, whose silence flag is set.
        let toc = |stereo: u8| vec![0xf8 | stereo << 2, 0xff, 0xfe];
        match (self.family, self.channels) {
            (0, channels @ 1..=2) => Some(toc(channels - 1)),
            _ => None,
        }
    }

    /// The `dOps` payload: the same fields, big-endian, without the magic.
    pub fn to_dops(&self) -> Vec<u8> {
        let mut out = vec![0, self.channels];
        out.extend_from_slice(&self.pre_skip.to_be_bytes());
        out.extend_from_slice(&self.input_rate.to_be_bytes());
        out.extend_from_slice(&self.gain.to_be_bytes());
        out.push(self.family);
        out.extend_from_slice(&self.mapping);
        out
    }
}

/// Samples at 48 kHz in a packet, from its TOC byte; `None` when it is empty or damaged.
pub fn packet_samples(data: &[u8]) -> Option<u32> {
    let toc = *data.first()?;
    let frame = match toc >> 3 {
        n @ 0..=11 => [480, 960, 1920, 2880][usize::from(n & 3)],
        n @ 12..=15 => [480, 960][usize::from(n & 1)],
        n => [120, 240, 480, 960][usize::from(n & 3)],
    };
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(data.get(1)? & 0x3f),
    };
    let samples = frame * count;
    (1..=5760).contains(&samples).then_some(samples)
}
