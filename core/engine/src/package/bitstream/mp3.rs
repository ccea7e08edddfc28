//! MPEG audio (layers I to III): the frame header.

use super::damaged;
use crate::Result;

/// What a frame header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Samples per second.
    pub rate: u32,
    /// Channels.
    pub channels: u8,
    /// Samples per frame.
    pub samples: u32,
    /// Layer: 1, 2 or 3.
    pub layer: u8,
    /// Whether it is MPEG-1 (otherwise MPEG-2 or 2.5, at the lower rates).
    pub mpeg1: bool,
}

impl Config {
    /// Parses the header at the start of a frame.
    pub fn parse(data: &[u8]) -> Result<Config> {
        let h: &[u8; 4] = data.first_chunk().ok_or_else(|| damaged("MPEG audio: truncated"))?;
        let (version, layer, rate) = (h[1] >> 3 & 3, h[1] >> 1 & 3, h[2] >> 2 & 3);
        if h[0] != 0xff || h[1] & 0xe0 != 0xe0 || version == 1 || layer == 0 || rate == 3 || h[2] >> 4 == 15 {
            return Err(damaged("MPEG audio: no frame header"));
        }
        let layer = 4 - layer;
        let mpeg1 = version == 3;
        let rate = [44100, 48000, 32000][usize::from(rate)] >> [2, 0, 1, 0][usize::from(version)];
        let samples = match (layer, mpeg1) {
            (1, _) => 384,
            (3, false) => 576,
            _ => 1152,
        };
        Ok(Config { rate, channels: if h[3] >> 6 == 3 { 1 } else { 2 }, samples, layer, mpeg1 })
    }
}
