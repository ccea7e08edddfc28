//! AC-3 and E-AC-3: sync frames and the `dac3` and `dec3` records.

use super::{BitReader, BitWriter, damaged};
use crate::Result;

const RATES: [u32; 3] = [48000, 44100, 32000];
const BIT_RATES: [u16; 19] =
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];
const CHANNELS: [u8; 8] = [2, 1, 2, 3, 3, 4, 4, 5];

/// What a sync frame's header says; one type for both formats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether it is E-AC-3.
    pub enhanced: bool,
    /// Samples per second.
    pub rate: u32,
    /// Channels, LFE included.
    pub channels: u8,
    /// Samples per frame: 1536, in E-AC-3 also 256, 512 or 768.
    pub samples: u32,
    /// Kilobits per second.
    pub bit_rate: u16,
    rate_code: u8,
    stream_id: u8,
    mode: u8,
    channel_mode: u8,
    lfe: bool,
    rate_index: u8,
    /// E-AC-3: dependent substreams of substream 0 and their channel locations.
    dependents: u8,
    locations: u16,
}

impl Config {
    /// Parses a packet: the sync frame of an independent substream, and the dependent ones behind it.
    pub fn parse(data: &[u8]) -> Result<Config> {
        let (mut config, mut at) = Self::frame(data)?;
        while config.enhanced
            && let Some(rest) = data.get(at..).filter(|rest| rest.len() >= 8)
            && rest[..2] == [0x0b, 0x77]
            && rest[2] >> 6 == 1
        {
            let (size, map) = dependent(rest)?;
            config.dependents = (config.dependents + 1).min(15);
            config.add_locations(map);
            at += size;
        }
        Ok(config)
    }

    /// Adds the channels of a dependent substream's `chanmap` (bit 0 of the standard is the top bit).
    fn add_locations(&mut self, map: u16) {
        // chanmap bit -> (chan_loc bit, channels): Lc/Rc, Lrs/Rrs, Cs, Ts, Lsd/Rsd, Lw/Rw, Lvh/Rvh, Cvh, LFE2.
        const PLACES: [(u16, u16, u8); 9] = [
            (5, 0, 2),
            (6, 1, 2),
            (7, 2, 1),
            (8, 3, 1),
            (9, 4, 2),
            (10, 5, 2),
            (11, 6, 2),
            (12, 7, 1),
            (14, 8, 1),
        ];
        for (from, to, channels) in PLACES {
            if map & 0x8000 >> from != 0 && self.locations & 1 << to == 0 {
                self.locations |= 1 << to;
                self.channels += channels;
            }
        }
    }

    fn frame(data: &[u8]) -> Result<(Config, usize)> {
        let mut r = BitReader::new(data);
        if r.bits(16)? != 0x0b77 {
            return Err(damaged("AC-3: sync word missing"));
        }
        // bsid stands at the same place in both formats.
        let stream_id = data.get(5).ok_or_else(|| damaged("AC-3: frame truncated"))? >> 3;
        match stream_id {
            0..=10 => Self::plain(&mut r),
            11..=16 => Self::enhanced(&mut r),
            n => Err(damaged(format!("AC-3: bitstream id {n}"))),
        }
    }

    fn plain(r: &mut BitReader<'_>) -> Result<(Config, usize)> {
        r.skip(16)?;
        let rate_code = r.bits(2)? as u8;
        let size_code = r.bits(6)? as u8;
        let stream_id = r.bits(5)? as u8;
        let mode = r.bits(3)? as u8;
        let channel_mode = r.bits(3)? as u8;
        if channel_mode & 1 == 1 && channel_mode != 1 {
            r.skip(2)?;
        }
        if channel_mode & 4 != 0 {
            r.skip(2)?;
        }
        if channel_mode == 2 {
            r.skip(2)?;
        }
        let lfe = r.flag()?;
        let rate =
            *RATES.get(usize::from(rate_code)).ok_or_else(|| damaged("AC-3: reserved sampling rate"))?;
        let bit_rate =
            *BIT_RATES.get(usize::from(size_code / 2)).ok_or_else(|| damaged("AC-3: reserved frame size"))?;
        let config = Config {
            enhanced: false,
            rate,
            channels: CHANNELS[usize::from(channel_mode)] + u8::from(lfe),
            samples: 1536,
            bit_rate,
            rate_code,
            stream_id,
            mode,
            channel_mode,
            lfe,
            rate_index: size_code / 2,
            dependents: 0,
            locations: 0,
        };
        Ok((config, 0))
    }

    fn enhanced(r: &mut BitReader<'_>) -> Result<(Config, usize)> {
        if r.bits(2)? == 1 {
            return Err(damaged("E-AC-3: packet starts with a dependent substream"));
        }
        r.skip(3)?;
        let size = (r.bits(11)? as usize + 1) * 2;
        let rate_code = r.bits(2)? as u8;
        let (rate, blocks) = if rate_code == 3 {
            let half = r.bits(2)? as usize;
            (RATES.get(half).copied().unwrap_or(0) / 2, 6)
        } else {
            (RATES[usize::from(rate_code)], [1, 2, 3, 6][r.bits(2)? as usize])
        };
        if rate == 0 {
            return Err(damaged("E-AC-3: reserved sampling rate"));
        }
        let channel_mode = r.bits(3)? as u8;
        let lfe = r.flag()?;
        let stream_id = r.bits(5)? as u8;
        let samples = blocks * 256;
        let bit_rate = (size as u64 * 8 * u64::from(rate) / u64::from(samples) / 1000).min(8191) as u16;
        let config = Config {
            enhanced: true,
            rate,
            channels: CHANNELS[usize::from(channel_mode)] + u8::from(lfe),
            samples,
            bit_rate,
            rate_code,
            stream_id,
            mode: 0,
            channel_mode,
            lfe,
            rate_index: 0,
            dependents: 0,
            locations: 0,
        };
        Ok((config, size))
    }

    /// The `dac3` payload, or the `dec3` payload of E-AC-3.
    pub fn to_record(&self) -> Vec<u8> {
        let mut w = BitWriter::default();
        let (mode, channels, lfe) = (u32::from(self.mode), u32::from(self.channel_mode), u32::from(self.lfe));
        if self.enhanced {
            w.put(u32::from(self.bit_rate), 13).put(0, 3);
            w.put(u32::from(self.rate_code), 2).put(u32::from(self.stream_id), 5).put(0, 2).put(mode, 3);
            w.put(channels, 3).put(lfe, 1).put(0, 3).put(u32::from(self.dependents), 4);
            match self.dependents {
                0 => w.put(0, 1),
                _ => w.put(u32::from(self.locations), 9),
            };
        } else {
            w.put(u32::from(self.rate_code), 2).put(u32::from(self.stream_id), 5).put(mode, 3);
            w.put(channels, 3).put(lfe, 1).put(u32::from(self.rate_index), 5).put(0, 5);
        }
        w.into_bytes()
    }
}

/// Size and `chanmap` (0 when absent) of a dependent substream's frame.
fn dependent(data: &[u8]) -> Result<(usize, u16)> {
    let mut r = BitReader::new(data);
    r.skip(16 + 2 + 3)?;
    let size = (r.bits(11)? as usize + 1) * 2;
    r.skip(4)?;
    let channel_mode = r.bits(3)?;
    r.skip(1 + 5)?;
    for _ in 0..if channel_mode == 0 { 2 } else { 1 } {
        r.skip(5)?;
        if r.flag()? {
            r.skip(8)?;
        }
    }
    let map = if r.flag()? { r.bits(16)? as u16 } else { 0 };
    Ok((size, map))
}
