//! The bodies of RTMP's audio and video messages (FLV tags, with Enhanced RTMP's), to coded media and back. Sans-IO.

use crate::live::describe;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use ghoststream::packet::{Packet, StreamInfo};
use ghoststream::time::{Rounding, TimeBase, rescale};
use ghoststream::{Codec, Error, ErrorKind, Result};

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
    if first & 0x80 != 0 {
        return enhanced_video(first, body);
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
        1 => Ok(Tag::Frame { data, key: first >> 4 == 1, composition: si24([c0, c1, c2]) }),
        _ => Ok(Tag::Nothing),
    }
}

/// 24 bits with a sign.
fn si24([a, b, c]: [u8; 3]) -> i32 {
    i32::from_be_bytes([a, b, c, 0]) >> 8
}

/// Takes a four-character code.
fn four(rest: &mut Bytes) -> Result<[u8; 4]> {
    let code = *rest.first_chunk().ok_or_else(|| damaged("a message without its codec"))?;
    rest.advance(4);
    Ok(code)
}

/// Skips what Enhanced RTMP puts before a message (ModEx: times below a millisecond) and gives the packet type behind it.
fn behind_extensions(mut kind: u8, rest: &mut Bytes) -> Result<u8> {
    const EXTENSION: u8 = 7;
    let short = || damaged("an extension is cut off");
    while kind == EXTENSION {
        let mut length = usize::from(*rest.first().ok_or_else(short)?) + 1;
        rest.advance(1);
        if length == 256 {
            let [a, b] = *rest.first_chunk().ok_or_else(short)?;
            rest.advance(2);
            length = usize::from(u16::from_be_bytes([a, b])) + 1;
        }
        kind = *rest.get(length).ok_or_else(short)? & 15;
        rest.advance(length + 1);
    }
    Ok(kind)
}

/// Takes the beginning of a message with several tracks; `None` for another track than the first, which is all that a
/// stream takes of them.
fn first_track(rest: &mut Bytes) -> Result<Option<(u8, [u8; 4])>> {
    let short = || damaged("a multitrack message is cut off");
    let head = *rest.first().ok_or_else(short)?;
    rest.advance(1);
    if head >> 4 != 0 {
        return Err(Error::unsupported("RTMP: several tracks in one message"));
    }
    let codec = four(rest)?;
    let track = *rest.first().ok_or_else(short)?;
    rest.advance(1);
    Ok((track == 0).then_some((head & 15, codec)))
}

/// A video message of Enhanced RTMP 2 (veovera.org), `ExVideoTagHeader`.
fn enhanced_video(first: u8, body: &Bytes) -> Result<Tag> {
    let mut rest = body.slice(1..);
    let frame = first >> 4 & 7;
    let mut kind = behind_extensions(first & 15, &mut rest)?;
    // HDR values, which the pictures carry too; or a command to a player.
    if kind == 4 || frame == 5 {
        return Ok(Tag::Nothing);
    }
    let code = match kind {
        6 => match first_track(&mut rest)? {
            Some((inner, code)) => {
                kind = inner;
                code
            }
            None => return Ok(Tag::Nothing),
        },
        _ => four(&mut rest)?,
    };
    let codec = match &code {
        b"avc1" => Codec::H264,
        b"hvc1" => Codec::Hevc,
        b"av01" => Codec::Av1,
        b"vp09" => Codec::Vp9,
        other => return Err(Error::unsupported(format!("RTMP: video codec {}", other.escape_ascii()))),
    };
    match kind {
        // Its configuration says less than its key frames.
        0 if codec == Codec::Vp9 => Ok(Tag::Nothing),
        0 => Ok(Tag::Config(Box::new(describe::video(codec, rest, MS)?))),
        1 | 3 => {
            let mut composition = 0;
            if kind == 1 && matches!(codec, Codec::H264 | Codec::Hevc) {
                composition = si24(*rest.first_chunk().ok_or_else(|| damaged("a frame without its time"))?);
                rest.advance(3);
            }
            Ok(match rest.is_empty() {
                true => Tag::Nothing,
                false => Tag::Frame { data: rest, key: frame == 1 || frame == 4, composition },
            })
        }
        2 => Ok(Tag::Nothing),
        other => Err(damaged(&format!("a video message of type {other}"))),
    }
}

/// The description that a VP9 key frame holds, which Enhanced RTMP has nowhere else.
pub fn in_band(body: &Bytes) -> Option<StreamInfo> {
    let [first, b'v', b'p', b'0', b'9', ..] = body[..] else { return None };
    let key = first & 0x80 != 0 && first >> 4 & 7 == 1 && matches!(first & 15, 1 | 3);
    if key { describe::vp9_from_key(&body[5..], MS).ok() } else { None }
}

/// Reads an audio message.
///
/// # Errors
/// As [`video`].
pub fn audio(body: &Bytes) -> Result<Tag> {
    let Some(first) = body.first().copied() else { return Ok(Tag::Nothing) };
    match first >> 4 {
        9 => return enhanced_audio(first, body),
        10 => {}
        other => return Err(Error::unsupported(format!("RTMP: audio codec {other}; AAC is 10"))),
    }
    match body.get(1) {
        Some(0) => Ok(Tag::Config(Box::new(describe::audio(Codec::Aac, body.slice(2..), MS)?))),
        Some(1) if body.len() > 2 => Ok(Tag::Frame { data: body.slice(2..), key: true, composition: 0 }),
        _ => Ok(Tag::Nothing),
    }
}

/// An audio message of Enhanced RTMP 2, `ExAudioTagHeader`.
fn enhanced_audio(first: u8, body: &Bytes) -> Result<Tag> {
    let mut rest = body.slice(1..);
    let mut kind = behind_extensions(first & 15, &mut rest)?;
    let code = match kind {
        5 => match first_track(&mut rest)? {
            Some((inner, code)) => {
                kind = inner;
                code
            }
            None => return Ok(Tag::Nothing),
        },
        _ => four(&mut rest)?,
    };
    let codec = match &code {
        b"mp4a" => Codec::Aac,
        b"Opus" => Codec::Opus,
        other => return Err(Error::unsupported(format!("RTMP: audio codec {}", other.escape_ascii()))),
    };
    match kind {
        0 => Ok(Tag::Config(Box::new(describe::audio(codec, rest, MS)?))),
        1 if !rest.is_empty() => Ok(Tag::Frame { data: rest, key: true, composition: 0 }),
        // The end, or where the channels are, which the configuration says.
        1 | 2 | 4 => Ok(Tag::Nothing),
        other => Err(damaged(&format!("an audio message of type {other}"))),
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
    fn extensions_and_tracks_are_seen_through() {
        let inner = frame_of(&Codec::Av1, &Packet::new(Bytes::from_static(b"obu"), 0, 0, MS));
        let mut body = BytesMut::new();
        // A time below the millisecond: 3 bytes, then type 0 and the packet type.
        body.put_slice(&[inner[0] & 0xf0 | 7, 2, 0, 0, 9, inner[0] & 15]);
        body.put_slice(&inner[1..]);
        assert_eq!(&frame(video(&body.freeze()).unwrap()).0[..], b"obu");
        for (track, has) in [(0_u8, true), (1, false)] {
            let mut body = BytesMut::new();
            body.put_slice(&[0x96, 3]);
            body.put_slice(b"hvc1");
            body.put_slice(&[track, 1, 2]);
            assert_eq!(matches!(video(&body.freeze()).unwrap(), Tag::Frame { .. }), has);
        }
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
