//! FLAC: the STREAMINFO block.

use super::{damaged, slice};
use crate::Result;
use bytes::Bytes;

/// What STREAMINFO says.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The 34 bytes of the block.
    pub stream_info: Bytes,
    /// Samples per second.
    pub rate: u32,
    /// Channels.
    pub channels: u8,
    /// Bits per sample.
    pub bits: u8,
    /// Samples per frame when fixed, else 0.
    pub block_size: u16,
}

impl Config {
    /// Parses extradata: the bare 34 bytes, or `fLaC` and metadata blocks.
    pub fn parse(data: &[u8]) -> Result<Config> {
        let block = match data {
            [b'f', b'L', b'a', b'C', kind, _, _, _, rest @ ..] if kind & 0x7f == 0 => rest,
            _ => data,
        };
        let info = slice(block, 0, 34, "FLAC STREAMINFO")?;
        let rate = u32::from(info[10]) << 12 | u32::from(info[11]) << 4 | u32::from(info[12] >> 4);
        if rate == 0 {
            return Err(damaged("FLAC: sampling rate 0"));
        }
        let (min, max) = (u16::from_be_bytes([info[0], info[1]]), u16::from_be_bytes([info[2], info[3]]));
        Ok(Config {
            stream_info: Bytes::copy_from_slice(info),
            rate,
            channels: (info[12] >> 1 & 7) + 1,
            bits: ((info[12] & 1) << 4 | info[13] >> 4) + 1,
            block_size: if min == max { max } else { 0 },
        })
    }

    /// The `dfLa` payload (version and flags included).
    pub fn to_dfla(&self) -> Vec<u8> {
        let mut out = vec![0, 0, 0, 0, 0x80, 0, 0, 34];
        out.extend_from_slice(&self.stream_info);
        out
    }
}
