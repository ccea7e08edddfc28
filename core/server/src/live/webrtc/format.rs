//! Coded frames between their forms: as RTP carries them, and as the packets of a stream do.

use crate::live::describe;
use bytes::Bytes;
use ghoststream::package::bitstream::nal::{self, Framing};
use ghoststream::package::bitstream::{av1, h264, opus};
use ghoststream::packet::{Codec, StreamInfo};
use ghoststream::time::{Rational, TimeBase};
use ghoststream::{Error, ErrorKind, Result};

/// The clock of pictures in RTP.
pub const VIDEO: TimeBase = Rational::new(1, 90_000);
/// The clock of Opus in RTP.
pub const SOUND: TimeBase = Rational::new(1, 48_000);

/// `obu_type` of a sequence header.
const SEQUENCE_HEADER: u8 = 1;
/// Samples in an Opus packet when it does not say: 20 ms, as everybody sends them.
const OPUS_FRAME: u32 = 960;

/// What a key frame says about its stream.
///
/// # Errors
/// [`ErrorKind::Format`] when it is none, or has no headers.
pub fn of_key_frame(codec: &Codec, frame: &[u8]) -> Result<StreamInfo> {
    let mut info = match codec {
        Codec::H264 => {
            let config = h264::Config::from_annex_b(frame)?;
            describe::video(Codec::H264, config.to_avcc().into(), VIDEO)?
        }
        Codec::Av1 => {
            let config = av1::Config::from_obus(frame)?;
            describe::video(Codec::Av1, config.to_av1c().into(), VIDEO)?
        }
        Codec::Vp8 => describe::vp8_from_key(frame, VIDEO)?,
        Codec::Vp9 => describe::vp9_from_key(frame, VIDEO)?,
        other => return Err(Error::new(ErrorKind::Unsupported, format!("{other} over WebRTC"))),
    };
    let video = info.video.as_mut().filter(|v| v.width > 0 && v.height > 0);
    let video = video.ok_or_else(|| Error::new(ErrorKind::Format, "a picture without a size"))?;
    // What comes by WebRTC comes when it is taken, in the order in which it is shown.
    (video.constant_rate, video.reorder) = (Some(false), 0);
    Ok(info)
}

/// Opus as WebRTC has it: always two channels, always 48 kHz.
///
/// # Errors
/// None that happen: the header is ours.
pub fn of_opus() -> Result<StreamInfo> {
    let mut head = Vec::from(*b"OpusHead");
    head.extend_from_slice(&[1, 2, 0, 0]);
    head.extend_from_slice(&48_000u32.to_le_bytes());
    head.extend_from_slice(&[0, 0, 0]);
    describe::audio(Codec::Opus, head.into(), SOUND)
}

/// Samples of an Opus packet.
pub fn opus_samples(packet: &[u8]) -> i64 {
    i64::from(opus::packet_samples(packet).unwrap_or(OPUS_FRAME))
}

/// A frame as it came by RTP, as the stream's packets have it; `None` when nothing is left of it.
///
/// # Errors
/// [`ErrorKind::Format`].
pub fn to_packet(codec: &Codec, frame: &[u8]) -> Result<Option<Bytes>> {
    let data = match codec {
        Codec::H264 => {
            let mut out = Vec::with_capacity(frame.len() + 16);
            for unit in nal::annex_b_units(frame) {
                // The parameter sets are in the extradata.
                if !matches!(h264::unit_type(unit), h264::SPS | h264::PPS | h264::AUD) {
                    nal::push_length_prefixed(&mut out, unit);
                }
            }
            Bytes::from(out)
        }
        Codec::Av1 => av1::strip(&Bytes::copy_from_slice(frame))?,
        _ => Bytes::copy_from_slice(frame),
    };
    Ok(Some(data).filter(|d| !d.is_empty()))
}

/// Makes of a stream's packets what RTP is made of.
#[derive(Clone, Debug)]
pub enum ToRtp {
    /// H.264: start codes, and the parameter sets before each key frame.
    H264 {
        /// Of the packets.
        framing: Framing,
        /// With start codes.
        parameters: Vec<u8>,
        /// `profile_idc`.
        profile: u8,
    },
    /// AV1: the sequence header before each key frame.
    Av1 {
        /// The header.
        header: Bytes,
    },
    /// As it is.
    Same,
}

impl ToRtp {
    /// For packets of `info`.
    ///
    /// # Errors
    /// [`ErrorKind::Format`] for extradata that cannot be read, [`ErrorKind::Unsupported`] for a codec that no WebRTC client
    /// plays.
    pub fn new(info: &StreamInfo) -> Result<ToRtp> {
        match info.codec {
            Codec::H264 => {
                let config = h264::Config::parse(&info.extradata)?;
                let mut parameters = Vec::new();
                config
                    .sps
                    .iter()
                    .chain(&config.pps)
                    .for_each(|unit| nal::push_annex_b(&mut parameters, unit));
                // A stream's packets have lengths, also when its extradata came with start codes.
                let framing = match config.framing {
                    Framing::AnnexB => Framing::Length(4),
                    length => length,
                };
                Ok(ToRtp::H264 { framing, parameters, profile: config.info.profile })
            }
            // Without extradata the header is in the key frames.
            Codec::Av1 if info.extradata.is_empty() => Ok(ToRtp::Same),
            Codec::Av1 => Ok(ToRtp::Av1 { header: av1::Config::parse(&info.extradata)?.config_obus }),
            Codec::Opus if !info.extradata.is_empty() => match opus::Config::parse(&info.extradata)? {
                opus::Config { family: 0, .. } => Ok(ToRtp::Same),
                other => {
                    let what = format!("opus with {} channels over WebRTC", other.channels);
                    Err(Error::new(ErrorKind::Unsupported, what))
                }
            },
            Codec::Vp8 | Codec::Vp9 | Codec::Opus => Ok(ToRtp::Same),
            ref other => Err(Error::new(ErrorKind::Unsupported, format!("{other} over WebRTC"))),
        }
    }

    /// The frame of a packet.
    ///
    /// # Errors
    /// [`ErrorKind::Format`].
    pub fn frame(&self, packet: &[u8], key: bool) -> Result<Vec<u8>> {
        let (framing, parameters) = match self {
            ToRtp::Same => return Ok(packet.to_vec()),
            ToRtp::Av1 { header } => {
                let own = key && !av1::obus(packet)?.iter().any(|o| o.kind == SEQUENCE_HEADER);
                let header: &[u8] = if own { header } else { &[] };
                return Ok([header, packet].concat());
            }
            ToRtp::H264 { framing, parameters, .. } => (framing, parameters),
        };
        let mut out = Vec::with_capacity(packet.len() + parameters.len() + 16);
        let units = framing.units(packet)?;
        let own = key && !units.iter().any(|u| h264::unit_type(u) == h264::SPS);
        if own {
            out.extend_from_slice(parameters);
        }
        for unit in units {
            if h264::unit_type(unit) != h264::AUD {
                nal::push_annex_b(&mut out, unit);
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 320x180, constrained baseline, by x264.
    const SPS: &[u8] = &[
        0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00,
        0x00, 0x03, 0x03, 0xc0, 0xf1, 0x42, 0xa4, 0x80,
    ];
    const PPS: &[u8] = &[0x68, 0xcb, 0x8c, 0xb2];

    fn key_frame() -> Vec<u8> {
        let mut frame = Vec::new();
        for unit in [&[9, 0xf0][..], SPS, PPS, &[0x65, 1, 2, 3]] {
            nal::push_annex_b(&mut frame, unit);
        }
        frame
    }

    #[test]
    fn h264_goes_there_and_back() {
        let frame = key_frame();
        let info = of_key_frame(&Codec::H264, &frame).unwrap();
        let video = info.video.as_ref().unwrap();
        assert_eq!(video.width, 320);
        assert_eq!(info.extradata[0], 1, "an avcC record");
        let packet = to_packet(&Codec::H264, &frame).unwrap().unwrap();
        assert_eq!(&packet[..], [0, 0, 0, 4, 0x65, 1, 2, 3], "without what the record has");
        let back = ToRtp::new(&info).unwrap().frame(&packet, true).unwrap();
        let units: Vec<&[u8]> = nal::annex_b_units(&back).collect();
        assert_eq!(units, [SPS, PPS, &[0x65, 1, 2, 3]]);
        let other = ToRtp::new(&info).unwrap().frame(&[0, 0, 0, 2, 0x41, 1], false).unwrap();
        assert_eq!(other, [0, 0, 0, 1, 0x41, 1]);
        assert!(ToRtp::new(&info).unwrap().frame(&[0, 0, 0, 9, 0x41], false).is_err());
    }

    #[test]
    fn only_parameter_sets_leave_nothing() {
        let mut frame = Vec::new();
        nal::push_annex_b(&mut frame, SPS);
        assert_eq!(to_packet(&Codec::H264, &frame).unwrap(), None);
    }

    #[test]
    fn vp8_says_its_size_in_a_key_frame_only() {
        let key = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00, 7];
        let video = of_key_frame(&Codec::Vp8, &key).unwrap().video.unwrap();
        assert_eq!((video.width, video.height), (320, 180));
        for bad in [&key[..8], &[0x11, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00], &[]] {
            assert!(of_key_frame(&Codec::Vp8, bad).is_err());
        }
    }

    #[test]
    fn av1_has_its_header_before_each_key_frame() {
        let header = Bytes::from_static(&[0x0a, 1, 7]);
        let to = ToRtp::Av1 { header };
        let frame = [0x32, 2, 5, 5];
        assert_eq!(to.frame(&frame, true).unwrap(), [0x0a, 1, 7, 0x32, 2, 5, 5]);
        assert_eq!(to.frame(&frame, false).unwrap(), frame);
        let whole = [0x0a, 1, 9, 0x32, 2, 5, 5];
        assert_eq!(to.frame(&whole, true).unwrap(), whole);
        assert!(to.frame(&[0x32, 9, 5], true).is_err());
    }

    #[test]
    fn sound_for_more_than_two_ears_is_refused() {
        let mut info = of_opus().unwrap();
        assert!(ToRtp::new(&info).is_ok());
        let mut head = info.extradata.to_vec();
        (head[9], head[18]) = (6, 1);
        head.extend([4, 2, 0, 4, 1, 2, 3, 5]);
        info.extradata = head.into();
        assert!(ToRtp::new(&info).is_err());
    }

    #[test]
    fn opus_has_its_head() {
        let info = of_opus().unwrap();
        assert_eq!(opus::Config::parse(&info.extradata).unwrap().channels, 2);
        assert_eq!(opus_samples(&[0x78]), 960);
    }
}
