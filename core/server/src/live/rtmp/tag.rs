//! The bodies of RTMP's audio and video messages (FLV tags, with Enhanced RTMP's), to coded media and back. Sans-IO.

use crate::live::describe;
use bytes::{BufMut, Bytes, BytesMut};
use ghoststream::packet::{Packet, StreamInfo};
use ghoststream::time::{Rounding, TimeBase, rescale};
use ghoststream::{Codec, Error, ErrorKind, Result};
use rtmp_rs::media::enhanced_audio::EnhancedAudioData;
use rtmp_rs::media::enhanced_video::EnhancedVideoData;
use rtmp_rs::media::fourcc::{AudioFourCc, VideoFourCc};

/// RTMP counts milliseconds.
pub const MS: TimeBase = TimeBase::new(1, 1000);

/// What one message holds.
#[derive(Debug)]
pub enum Tag {
    /// How the frames behind it are coded.
    Config(Box<StreamInfo>),
    /// A frame.
    Frame {
        /// Its bytes, in a stream's format.
        data: Bytes,
        /// Whether decoding can start here.
        key: bool,
        /// Milliseconds from its decoding to its presentation.
        composition: i32,
    },
    /// Nothing of use: the end of a sequence, an empty message.
    Nothing,
}

fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::Format, format!("RTMP: {what}"))
}

/// Reads a video message.
///
/// # Errors
/// `Format` for what is damaged, `Unsupported` for codecs that no output could carry.
pub fn video(body: &Bytes) -> Result<Tag> {
    let Some(first) = body.first().copied() else { return Ok(Tag::Nothing) };
    if EnhancedVideoData::is_enhanced(first) {
        let data = EnhancedVideoData::parse(body.clone()).map_err(|e| damaged(&e.to_string()))?;
        return match data {
            EnhancedVideoData::SequenceHeader { codec, config, .. } => match video_codec(codec)? {
                // Its configuration says less than its key frames.
                Codec::Vp9 => Ok(Tag::Nothing),
                codec => Ok(Tag::Config(Box::new(describe::video(codec, config, MS)?))),
            },
            EnhancedVideoData::Frame { codec, frame_type, composition_time, data } => {
                video_codec(codec)?;
                Ok(Tag::Frame { data, key: frame_type.is_keyframe(), composition: composition_time })
            }
            EnhancedVideoData::Multitrack { .. } => {
                Err(Error::unsupported("RTMP: several video tracks in one message"))
            }
            EnhancedVideoData::SequenceEnd { .. } | EnhancedVideoData::Metadata { .. } => Ok(Tag::Nothing),
        };
    }
    let codec = match first & 15 {
        7 => Codec::H264,
        12 => Codec::Hevc,
        // Frames of type 5 are commands to a player.
        _ if first >> 4 == 5 => return Ok(Tag::Nothing),
        other => return Err(Error::unsupported(format!("RTMP: video codec {other}; H.264 is 7"))),
    };
    let [_, kind, c0, c1, c2, ..] = body[..] else {
        return Err(damaged("a video message of less than 5 bytes"));
    };
    let data = body.slice(5..);
    match kind {
        0 => Ok(Tag::Config(Box::new(describe::video(codec, data, MS)?))),
        1 if data.is_empty() => Ok(Tag::Nothing),
        // 24 bits with a sign.
        1 => Ok(Tag::Frame {
            data,
            key: first >> 4 == 1,
            composition: i32::from_be_bytes([c0, c1, c2, 0]) >> 8,
        }),
        _ => Ok(Tag::Nothing),
    }
}

fn video_codec(codec: VideoFourCc) -> Result<Codec> {
    match codec {
        VideoFourCc::Avc => Ok(Codec::H264),
        VideoFourCc::Hevc => Ok(Codec::Hevc),
        VideoFourCc::Av1 => Ok(Codec::Av1),
        VideoFourCc::Vp9 => Ok(Codec::Vp9),
        other => Err(Error::unsupported(format!("RTMP: video codec {}", other.name()))),
    }
}

/// The description that a VP9 key frame holds, which Enhanced RTMP has nowhere else.
pub fn in_band(body: &Bytes) -> Option<StreamInfo> {
    match EnhancedVideoData::parse(body.clone()).ok()? {
        EnhancedVideoData::Frame { codec: VideoFourCc::Vp9, frame_type, data, .. }
            if frame_type.is_keyframe() =>
        {
            describe::vp9_from_key(&data, MS).ok()
        }
        _ => None,
    }
}

/// Reads an audio message.
///
/// # Errors
/// As [`video`].
pub fn audio(body: &Bytes) -> Result<Tag> {
    let Some(first) = body.first().copied() else { return Ok(Tag::Nothing) };
    if EnhancedAudioData::is_enhanced(first) {
        let data = EnhancedAudioData::parse(body.clone()).map_err(|e| damaged(&e.to_string()))?;
        return match data {
            EnhancedAudioData::SequenceHeader { codec, config } => {
                Ok(Tag::Config(Box::new(describe::audio(audio_codec(codec)?, config, MS)?)))
            }
            EnhancedAudioData::Frame { codec, data } => {
                audio_codec(codec)?;
                Ok(Tag::Frame { data, key: true, composition: 0 })
            }
            EnhancedAudioData::Multitrack { .. } => {
                Err(Error::unsupported("RTMP: several audio tracks in one message"))
            }
            EnhancedAudioData::SequenceEnd { .. } | EnhancedAudioData::MultichannelConfig { .. } => {
                Ok(Tag::Nothing)
            }
        };
    }
    if first >> 4 != 10 {
        return Err(Error::unsupported(format!("RTMP: audio codec {}; AAC is 10", first >> 4)));
    }
    match body.get(1) {
        Some(0) => Ok(Tag::Config(Box::new(describe::audio(Codec::Aac, body.slice(2..), MS)?))),
        Some(1) if body.len() > 2 => Ok(Tag::Frame { data: body.slice(2..), key: true, composition: 0 }),
        _ => Ok(Tag::Nothing),
    }
}

fn audio_codec(codec: AudioFourCc) -> Result<Codec> {
    match codec {
        AudioFourCc::Aac => Ok(Codec::Aac),
        AudioFourCc::Opus => Ok(Codec::Opus),
        other => Err(Error::unsupported(format!("RTMP: audio codec {}", other.name()))),
    }
}

/// Whether `codec` can be written to a reader.
pub fn carries(codec: &Codec) -> bool {
    matches!(codec, Codec::H264 | Codec::Hevc | Codec::Av1 | Codec::Vp9 | Codec::Aac | Codec::Opus)
}

fn fourcc(codec: &Codec) -> &'static [u8; 4] {
    match codec {
        Codec::Hevc => b"hvc1",
        Codec::Av1 => b"av01",
        Codec::Vp9 => b"vp09",
        Codec::Opus => b"Opus",
        Codec::Aac => b"mp4a",
        _ => b"avc1",
    }
}

/// The message that says how the frames of `info` are coded; `None` where there is nothing to say.
pub fn config_of(info: &StreamInfo) -> Option<Bytes> {
    let mut body = BytesMut::with_capacity(info.extradata.len() + 5);
    match info.codec {
        Codec::H264 => body.put_slice(&[0x17, 0, 0, 0, 0]),
        Codec::Aac => body.put_slice(&[0xaf, 0]),
        Codec::Hevc | Codec::Av1 => {
            body.put_u8(0x90);
            body.put_slice(fourcc(&info.codec));
        }
        Codec::Opus => {
            body.put_u8(0x90);
            body.put_slice(fourcc(&info.codec));
        }
        _ => return None,
    }
    body.put_slice(&info.extradata);
    Some(body.freeze())
}

/// The message of a frame.
pub fn frame_of(codec: &Codec, packet: &Packet) -> Bytes {
    let kind = if packet.key { 1_u8 } else { 2 };
    let later =
        packet.pts.zip(packet.dts).map_or(0, |(p, d)| rescale(p - d, packet.base, MS, Rounding::Nearest));
    let mut body = BytesMut::with_capacity(packet.data.len() + 8);
    match codec {
        Codec::H264 => {
            body.put_slice(&[kind << 4 | 7, 1]);
            body.put_int(later, 3);
        }
        Codec::Hevc => {
            body.put_u8(0x80 | kind << 4 | 1);
            body.put_slice(fourcc(codec));
            body.put_int(later, 3);
        }
        Codec::Aac => body.put_slice(&[0xaf, 1]),
        Codec::Opus => {
            body.put_u8(0x91);
            body.put_slice(fourcc(codec));
        }
        _ => {
            body.put_u8(0x80 | kind << 4 | 1);
            body.put_slice(fourcc(codec));
        }
    }
    body.put_slice(&packet.data);
    body.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(tag: Tag) -> (Bytes, bool, i32) {
        match tag {
            Tag::Frame { data, key, composition } => (data, key, composition),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn frames_come_back_as_they_were() {
        let mut packet = Packet::new(Bytes::from_static(b"\0\0\0\x02ab"), 120, 40, MS);
        packet.dts = Some(40);
        for key in [true, false] {
            packet.key = key;
            for (codec, later) in [(Codec::H264, 80), (Codec::Hevc, 80), (Codec::Av1, 0), (Codec::Vp9, 0)] {
                let got = frame(video(&frame_of(&codec, &packet)).unwrap());
                assert_eq!(got, (packet.data.clone(), key, later), "{codec}");
            }
        }
        for codec in [Codec::Aac, Codec::Opus] {
            assert_eq!(frame(audio(&frame_of(&codec, &packet)).unwrap()).0, packet.data, "{codec}");
        }
        // A presentation before the decoding is told as it is.
        packet.pts = Some(30);
        assert_eq!(frame(video(&frame_of(&Codec::H264, &packet)).unwrap()).2, -10);
    }

    #[test]
    fn configurations_come_back_as_they_were() {
        let asc = Bytes::from_static(&[0x11, 0x90]);
        let info = describe::audio(Codec::Aac, asc.clone(), MS).unwrap();
        let Tag::Config(got) = audio(&config_of(&info).unwrap()).unwrap() else { panic!() };
        assert_eq!((got.extradata, got.audio.unwrap().sample_rate), (asc, 48_000));
    }

    #[test]
    fn damaged_messages_are_refused() {
        for body in [
            &[0x17_u8][..],
            &[0x17, 0, 0, 0, 0, 1, 2],
            &[0x12, 0, 0],
            &[0x97, 1, 2],
            &[0x90, b'x', b'y', b'z', b'w', 1],
        ] {
            assert!(video(&Bytes::copy_from_slice(body)).is_err(), "{body:?}");
        }
        for body in [&[0x2f_u8, 1, 2][..], &[0xaf, 0], &[0x91, 1, 2]] {
            assert!(audio(&Bytes::copy_from_slice(body)).is_err(), "{body:?}");
        }
        assert!(matches!(video(&Bytes::new()).unwrap(), Tag::Nothing));
    }

    #[test]
    fn any_bytes_are_refused_or_understood() {
        let mut seed = 1_u32;
        for _ in 0..20_000 {
            let mut next = || {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as u8
            };
            let length = usize::from(next()) % 40;
            let body: Bytes = (0..length).map(|_| next()).collect::<Vec<u8>>().into();
            let _either = (video(&body), audio(&body));
        }
    }
}
