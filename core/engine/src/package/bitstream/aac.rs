//! AAC: AudioSpecificConfig and ADTS headers.

use super::{BitReader, BitWriter, damaged};
use crate::Result;
use bytes::Bytes;

const RATES: [u32; 13] =
    [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];

/// An `AudioSpecificConfig`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The record itself.
    pub bytes: Bytes,
    /// Audio object type to announce: 2 AAC-LC, 5 HE-AAC, 29 HE-AAC v2, 42 xHE-AAC …
    pub object_type: u8,
    /// Object type of the core coder (what ADTS carries): 2 under HE-AAC.
    pub core_type: u8,
    /// Sampling rate of the core coder.
    pub core_rate: u32,
    /// Sampling rate of what is heard (twice the core's under SBR).
    pub rate: u32,
    /// `channelConfiguration`; 0 = in the bitstream, 7 = eight channels.
    pub channel_config: u8,
    /// Samples per frame at [`Config::core_rate`]: 1024 or 960.
    pub frame_samples: u32,
}

impl Config {
    /// Parses an AudioSpecificConfig.
    pub fn parse(data: &[u8]) -> Result<Config> {
        let mut r = BitReader::new(data);
        let mut object_type = audio_object_type(&mut r)?;
        let core_rate = sampling_rate(&mut r)?;
        let channel_config = r.bits(4)? as u8;
        let (mut rate, mut announced, mut core_type) = (core_rate, object_type, object_type);
        if object_type == 5 || object_type == 29 {
            rate = sampling_rate(&mut r)?;
            object_type = audio_object_type(&mut r)?;
            core_type = object_type;
            if object_type == 22 {
                r.skip(4)?;
            }
        }
        let mut frame_samples = 1024;
        if matches!(object_type, 1..=4 | 6 | 7 | 17 | 19..=23) {
            if r.flag()? {
                frame_samples = 960;
            }
            if r.flag()? {
                r.skip(14)?;
            }
            r.skip(1)?;
        }
        // Backward-compatible signalling of SBR and PS; a program config element in front of it ends the search.
        if announced == object_type && channel_config != 0 && r.remaining() >= 16 && r.bits(11)? == 0x2b7 {
            let extension = audio_object_type(&mut r)?;
            if extension == 5 && r.flag()? {
                announced = 5;
                rate = sampling_rate(&mut r)?;
                if r.remaining() >= 12 && r.bits(11)? == 0x548 && r.flag()? {
                    announced = 29;
                }
            }
        }
        if core_rate == 0 || rate == 0 {
            return Err(damaged("AAC: sampling rate 0"));
        }
        Ok(Config {
            bytes: Bytes::copy_from_slice(data),
            object_type: announced,
            core_type,
            core_rate,
            rate,
            channel_config,
            frame_samples,
        })
    }

    /// Makes the record of an ADTS stream from one of its headers.
    pub fn from_adts(header: &Adts) -> Result<Config> {
        let mut w = BitWriter::default();
        w.put(u32::from(header.object_type), 5)
            .put(u32::from(header.rate_index), 4)
            .put(u32::from(header.channel_config), 4)
            .put(0, 3);
        Self::parse(&w.into_bytes())
    }

    /// Makes the record of plain sound: object type, rate and channels of the core coder.
    pub fn of(object_type: u8, rate: u32, channels: u32) -> Result<Config> {
        let index = RATES.iter().position(|r| *r == rate);
        let (Some(index), 1..=8) = (index, channels) else {
            return Err(crate::Error::unsupported(format!("AAC with {channels} channels at {rate} Hz")));
        };
        let channel_config = if channels == 8 { 7 } else { channels as u8 };
        let header =
            Adts { object_type, rate_index: index as u8, channel_config, header_len: 7, frame_len: 7 };
        Self::from_adts(&header)
    }

    /// Channels, where [`Config::channel_config`] says.
    pub fn channels(&self) -> Option<u32> {
        match self.channel_config {
            n @ 1..=6 => Some(u32::from(n)),
            7 | 12 | 14 => Some(8),
            11 => Some(7),
            _ => None,
        }
    }

    /// Samples of one frame at the rate that is heard.
    pub fn output_samples(&self) -> u32 {
        if self.rate == self.core_rate { self.frame_samples } else { self.frame_samples * 2 }
    }

    /// A frame in which nothing is heard, without a header; `None` where it would be more than an AAC-LC frame.
    pub fn silence(&self) -> Option<Vec<u8>> {
        /// `id_syn_ele` (ISO/IEC 14496-3, table 4.85).
        const SINGLE: u32 = 0;
        const PAIR: u32 = 1;
        const LFE: u32 = 3;
        const END: u32 = 7;
        if self.object_type != 2 {
            return None;
        }
        let elements: &[u32] = match self.channel_config {
            1 => &[SINGLE],
            2 => &[PAIR],
            3 => &[SINGLE, PAIR],
            4 => &[SINGLE, PAIR, SINGLE],
            5 => &[SINGLE, PAIR, PAIR],
            6 => &[SINGLE, PAIR, PAIR, LFE],
            7 => &[SINGLE, PAIR, PAIR, PAIR, LFE],
            _ => return None,
        };
        let mut w = BitWriter::default();
        for (i, element) in elements.iter().enumerate() {
            let tag = elements.iter().take(i).filter(|before| *before == element).count();
            w.put(*element, 3).put(u32::try_from(tag).ok()?, 4);
            if *element == PAIR {
                // One window for both, no bands; no mid and side. Each: gain; no pulses, noise shaping, gain control.
                w.put(1, 1).put(0, 11).put(0, 2).put(0, 11).put(0, 11);
            } else {
                w.put(0, 8).put(0, 11).put(0, 3);
            }
        }
        w.put(END, 3);
        Some(w.into_bytes())
    }

    /// The ADTS header of a frame of `payload` bytes; an error for what ADTS cannot carry.
    pub fn adts_header(&self, payload: usize) -> Result<[u8; 7]> {
        let rate = RATES
            .iter()
            .position(|r| *r == self.core_rate)
            .ok_or_else(|| crate::Error::unsupported(format!("ADTS: sampling rate {}", self.core_rate)))?;
        let length = payload + 7;
        if length > 0x1fff {
            return Err(crate::Error::unsupported(format!("ADTS: AAC frame of {payload} bytes")));
        }
        if !(1..=4).contains(&self.core_type) || !(1..=7).contains(&self.channel_config) {
            return Err(crate::Error::unsupported(format!(
                "ADTS: object type {} with channel configuration {}",
                self.core_type, self.channel_config
            )));
        }
        let channels = self.channel_config;
        Ok([
            0xff,
            0xf1,
            (self.core_type - 1) << 6 | (rate as u8) << 2 | channels >> 2,
            channels << 6 | (length >> 11) as u8,
            (length >> 3) as u8,
            (length << 5) as u8 | 0x1f,
            0xfc,
        ])
    }
}

fn audio_object_type(r: &mut BitReader<'_>) -> Result<u8> {
    Ok(match r.bits(5)? {
        31 => 32 + r.bits(6)? as u8,
        n => n as u8,
    })
}

fn sampling_rate(r: &mut BitReader<'_>) -> Result<u32> {
    match r.bits(4)? {
        15 => r.bits(24),
        n => RATES.get(n as usize).copied().ok_or_else(|| damaged("AAC: reserved sampling rate")),
    }
}

/// An ADTS header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adts {
    /// Audio object type (1 to 4).
    pub object_type: u8,
    /// `sampling_frequency_index`.
    pub rate_index: u8,
    /// `channel_configuration`.
    pub channel_config: u8,
    /// Length of the header: 7, or 9 with a CRC.
    pub header_len: usize,
    /// Length of the whole frame.
    pub frame_len: usize,
}

impl Adts {
    /// Parses the header at the start of `data`; `None` when there is none.
    pub fn parse(data: &[u8]) -> Option<Adts> {
        let h: &[u8; 7] = data.first_chunk()?;
        if h[0] != 0xff || h[1] & 0xf6 != 0xf0 {
            return None;
        }
        let header = Adts {
            object_type: (h[2] >> 6) + 1,
            rate_index: h[2] >> 2 & 15,
            channel_config: (h[2] & 1) << 2 | h[3] >> 6,
            header_len: if h[1] & 1 == 1 { 7 } else { 9 },
            frame_len: usize::from(h[3] & 3) << 11 | usize::from(h[4]) << 3 | usize::from(h[5] >> 5),
        };
        (usize::from(header.rate_index) < RATES.len() && header.frame_len >= header.header_len)
            .then_some(header)
    }

    /// Splits an ADTS stream into its frames' payloads; an error where the next frame is not where it should be.
    pub fn frames(data: &[u8]) -> Result<Vec<(Adts, &[u8])>> {
        let mut frames = Vec::new();
        let mut rest = data;
        while !rest.is_empty() {
            let header = Adts::parse(rest).ok_or_else(|| damaged("ADTS: sync lost"))?;
            let frame = super::slice(rest, 0, header.frame_len, "ADTS frame")?;
            frames.push((header, &frame[header.header_len..]));
            rest = &rest[header.frame_len..];
        }
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_and_adts_agree() {
        let lc = Config::parse(&[0x11, 0x90]).unwrap();
        assert_eq!((lc.object_type, lc.rate, lc.channels()), (2, 48000, Some(2)));
        let header = lc.adts_header(100).unwrap();
        let parsed = Adts::parse(&header).unwrap();
        assert_eq!((parsed.frame_len, parsed.header_len), (107, 7));
        assert_eq!(Config::from_adts(&parsed).unwrap().bytes, lc.bytes);
        assert!(lc.adts_header(9000).is_err());
    }

    #[test]
    fn he_aac_is_seen_in_both_signallings() {
        // Explicit: type 5, 24 kHz core, stereo, 48 kHz extension, core type 2.
        let explicit = Config::parse(&[0x2b, 0x11, 0x88, 0x00]).unwrap();
        assert_eq!((explicit.object_type, explicit.core_rate, explicit.rate), (5, 24000, 48000));
        // Backward compatible: type 2, 24 kHz, stereo, sync extension 0x2b7, type 5, 48 kHz.
        let compatible = Config::parse(&[0x13, 0x10, 0x56, 0xe5, 0x98]).unwrap();
        assert_eq!((compatible.object_type, compatible.rate, compatible.output_samples()), (5, 48000, 2048));
    }
}
