//! FLV as Enhanced RTMP has it (veovera.org), for what FFmpeg's muxer cannot carry, or only in new versions: HEVC, AV1, VP9
//! and Opus, beside H.264, AAC and MP3 as ever. Sans-IO: packets in, tags out.

use crate::error::{Error, Result};
use crate::package::bitstream::{av1, vp9};
use crate::packet::{Codec, MediaKind, Packet, StreamInfo};
use crate::sink::TrackHeader;
use crate::sink::packets::Framer;
use crate::spec::BitstreamFormat;
use crate::time::{Rounding, TimeBase, rescale};

/// What its tags count.
pub(super) const MS: TimeBase = TimeBase::new(1, 1000);

const AUDIO: u8 = 8;
const VIDEO: u8 = 9;
const SCRIPT: u8 = 18;

/// Whether tags of ours are needed for `tracks`, which FFmpeg's muxer may not have.
pub(super) fn is_needed(tracks: &[TrackHeader]) -> bool {
    tracks.iter().any(|t| matches!(t.stream.codec, Codec::Hevc | Codec::Av1 | Codec::Vp9 | Codec::Opus))
}

/// Makes tags of packets.
pub(super) struct Flv {
    tracks: Vec<Track>,
    /// Milliseconds that bring the first time to 0 where it is before it.
    shift: Option<i64>,
}

struct Track {
    stream: StreamInfo,
    framer: Framer,
    /// Whether its configuration was sent. Receivers take it once.
    told: bool,
    /// Its last decoding time.
    last: i64,
}

impl Flv {
    /// For `tracks`, and what comes before their first packets.
    ///
    /// # Errors
    /// `Unsupported` for codecs that Enhanced RTMP does not have, and for two tracks of a kind; `Format` for damaged headers.
    pub fn new(tracks: &[TrackHeader]) -> Result<(Flv, Vec<u8>)> {
        let of = |kind| tracks.iter().filter(move |t| t.stream.kind == kind).count();
        let (video, audio) = (of(MediaKind::Video), of(MediaKind::Audio));
        if video > 1 || audio > 1 || video + audio < tracks.len() {
            return Err(Error::unsupported("flv (RTMP) carries one video and one audio track"));
        }
        let flags = u8::from(audio > 0) << 2 | u8::from(video > 0);
        let mut out = vec![b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0];
        tag(&mut out, SCRIPT, 0, |body| body.extend_from_slice(&metadata(tracks)));
        let mut made = Vec::new();
        for track in tracks {
            let (framer, stream) = Framer::new(BitstreamFormat::LengthPrefixed, track.stream.clone())
                .map_err(|e| e.context(&track.name))?;
            let known = config(&stream).map_err(|e| e.context(&track.name))?;
            let mut track = Track { stream, framer, told: false, last: i64::MIN };
            if let Some(config) = known {
                track.configure(&config, 0, &mut out);
            }
            made.push(track);
        }
        Ok((Flv { tracks: made, shift: None }, out))
    }

    /// Appends the tags of a packet of `track`.
    ///
    /// # Errors
    /// `Format` for a damaged packet.
    pub fn write(&mut self, track: usize, packet: &Packet, out: &mut Vec<u8>) -> Result<()> {
        let Some(track) = self.tracks.get_mut(track) else { return Ok(()) };
        let ms = |t: i64| rescale(t, packet.base, MS, Rounding::Nearest);
        let dts = packet.dts.or(packet.pts).map_or(0, ms);
        let shift = *self.shift.get_or_insert((-dts).max(0));
        let pts = packet.pts.map_or(dts, ms);
        let at = (dts + shift).max(0).max(track.last);
        track.last = at;
        let composition = (pts + shift - at).clamp(-(1 << 23), (1 << 23) - 1);
        if packet.key
            && !track.told
            && let Some(config) = track.in_band(packet)
        {
            track.configure(&config, at, out);
        }
        let data = track.framer.frame(packet)?;
        // With what a tag has around them: the bytes are copied once.
        out.reserve(data.len() + 32);
        tag(out, track.kind(), at, |body| {
            track.head(1, packet.key, body);
            if matches!(track.stream.codec, Codec::H264 | Codec::Hevc) {
                body.extend_from_slice(&(composition as i32).to_be_bytes()[1..]);
            }
            body.extend_from_slice(&data);
        });
        Ok(())
    }

    /// Appends what ends the pictures.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        for track in self.tracks.iter().filter(|t| t.stream.kind == MediaKind::Video) {
            tag(out, VIDEO, track.last.max(0), |body| {
                track.head(2, true, body);
                if track.stream.codec == Codec::H264 {
                    body.extend_from_slice(&[0; 3]);
                }
            });
        }
    }
}

impl Track {
    fn kind(&self) -> u8 {
        if self.stream.kind == MediaKind::Video { VIDEO } else { AUDIO }
    }

    /// What a message begins with: 0 the configuration, 1 a frame, 2 the end.
    fn head(&self, packet_type: u8, key: bool, body: &mut Vec<u8>) {
        let frame = if key { 1 } else { 2 };
        match self.stream.codec {
            Codec::H264 => body.extend_from_slice(&[frame << 4 | 7, packet_type]),
            Codec::Aac => body.extend_from_slice(&[0xaf, packet_type]),
            Codec::Mp3 => body.push(0x2f),
            Codec::Opus => {
                body.push(9 << 4 | packet_type);
                body.extend_from_slice(b"Opus");
            }
            _ => {
                body.push(0x80 | frame << 4 | packet_type);
                body.extend_from_slice(&code(&self.stream.codec).to_be_bytes());
            }
        }
    }

    fn configure(&mut self, config: &[u8], at: i64, out: &mut Vec<u8>) {
        tag(out, self.kind(), at, |body| {
            self.head(0, true, body);
            if self.stream.codec == Codec::H264 {
                body.extend_from_slice(&[0; 3]);
            }
            body.extend_from_slice(config);
        });
        self.told = true;
    }

    /// The configuration that a key packet has in itself.
    fn in_band(&self, packet: &Packet) -> Option<Vec<u8>> {
        Some(match self.stream.codec {
            Codec::Av1 => av1::Config::from_obus(&packet.data).ok()?.to_av1c(),
            Codec::Vp9 => {
                let colour = self.stream.video.as_ref().map(|v| v.colour).unwrap_or_default();
                vp9::Config::parse(&packet.data).ok()?.to_vpcc(colour)
            }
            _ => return None,
        })
    }
}

/// The configuration as far as it is known before the first packet.
fn config(stream: &StreamInfo) -> Result<Option<Vec<u8>>> {
    let extra = &stream.extradata;
    Ok(match &stream.codec {
        // The framer has made the record.
        Codec::H264 | Codec::Hevc | Codec::Aac | Codec::Opus if !extra.is_empty() => Some(extra.to_vec()),
        Codec::Av1 if !extra.is_empty() => Some(av1::Config::parse(extra)?.to_av1c()),
        // It is in the first key packet; MP3 has none.
        Codec::Av1 | Codec::Vp9 | Codec::Mp3 => None,
        Codec::H264 | Codec::Hevc | Codec::Aac | Codec::Opus => {
            return Err(Error::unsupported(format!("{} without its configuration", stream.codec)));
        }
        other => return Err(Error::unsupported(format!("flv (RTMP) cannot carry {other}"))),
    })
}

/// The four-character code of a codec, as a number.
fn code(codec: &Codec) -> u32 {
    u32::from_be_bytes(match codec {
        Codec::Hevc => *b"hvc1",
        Codec::Av1 => *b"av01",
        Codec::Vp9 => *b"vp09",
        Codec::Opus => *b"Opus",
        _ => *b"avc1",
    })
}

/// Appends a tag, whose body `write` appends, and its length.
fn tag(out: &mut Vec<u8>, kind: u8, at: i64, write: impl FnOnce(&mut Vec<u8>)) {
    // Times wrap after 49 days, as RTMP's do.
    let [high, time @ ..] = (at as u32).to_be_bytes();
    // The size is known when the body is there.
    let size = out.len() + 1;
    out.extend_from_slice(&[kind, 0, 0, 0]);
    out.extend_from_slice(&time);
    out.extend_from_slice(&[high, 0, 0, 0]);
    let body = out.len();
    write(out);
    let len = (out.len() - body) as u32;
    out[size..size + 3].copy_from_slice(&len.to_be_bytes()[1..]);
    out.extend_from_slice(&(len + 11).to_be_bytes());
}

/// `onMetaData` in AMF0.
fn metadata(tracks: &[TrackHeader]) -> Vec<u8> {
    let mut fields: Vec<(&str, f64)> = Vec::new();
    for TrackHeader { stream, .. } in tracks {
        if let Some(video) = &stream.video {
            let known = if stream.codec == Codec::H264 { 7.0 } else { f64::from(code(&stream.codec)) };
            fields.extend([("width", f64::from(video.width)), ("height", f64::from(video.height))]);
            fields.push(("videocodecid", known));
            fields.extend(video.frame_rate.map(|rate| ("framerate", rate.as_f64())));
            fields.extend(stream.bit_rate.map(|rate| ("videodatarate", rate as f64 / 1000.0)));
        }
        if let Some(audio) = &stream.audio {
            let known = match stream.codec {
                Codec::Aac => 10.0,
                Codec::Mp3 => 2.0,
                _ => f64::from(code(&stream.codec)),
            };
            fields.extend([("audiocodecid", known), ("audiosamplerate", f64::from(audio.sample_rate))]);
            fields.push(("audiochannels", f64::from(audio.layout.channels)));
        }
    }
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend_from_slice(&(text.len() as u16).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    };
    let mut out = vec![2];
    text(&mut out, "onMetaData");
    out.push(8);
    out.extend_from_slice(&(fields.len() as u32).to_be_bytes());
    for (name, value) in fields {
        text(&mut out, name);
        out.push(0);
        out.extend_from_slice(&value.to_be_bytes());
    }
    out.extend_from_slice(&[0, 0, 9]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::bitstream::BitWriter;
    use crate::packet::{FieldOrder, VideoInfo};
    use crate::time::Rational;
    use bytes::Bytes;

    /// Kind, time and body of each tag.
    fn tags(mut data: &[u8]) -> Vec<(u8, u32, Vec<u8>)> {
        let mut found = Vec::new();
        while let [kind, s0, s1, s2, t0, t1, t2, high, _, _, _, rest @ ..] = data {
            let size = u32::from_be_bytes([0, *s0, *s1, *s2]) as usize;
            let (body, rest) = rest.split_at(size);
            found.push((*kind, u32::from_be_bytes([*high, *t0, *t1, *t2]), body.to_vec()));
            let (length, rest) = rest.split_at(4);
            assert_eq!(length, (size as u32 + 11).to_be_bytes());
            data = rest;
        }
        assert!(data.is_empty());
        found
    }

    fn header(codec: Codec, kind: MediaKind, extradata: Vec<u8>) -> TrackHeader {
        let mut stream = StreamInfo::new(kind, codec, Rational::new(1, 25));
        stream.extradata = extradata.into();
        if kind == MediaKind::Video {
            stream.video = Some(VideoInfo {
                width: 64,
                height: 32,
                format: None,
                frame_rate: Some(Rational::new(25, 1)),
                constant_rate: None,
                sample_aspect: Rational::new(1, 1),
                colour: Default::default(),
                hdr: Default::default(),
                rotation: 0.0,
                mirrored: false,
                field_order: FieldOrder::Progressive,
                reorder: 0,
            });
        }
        TrackHeader { stream, name: "t".into(), position: 0, copied: false, first: None }
    }

    fn packet(pts: i64, dts: i64, key: bool, data: &[u8]) -> Packet {
        let data = Bytes::copy_from_slice(data);
        Packet { dts: Some(dts), key, ..Packet::new(data, pts, 1, Rational::new(1, 25)) }
    }

    #[test]
    fn av1_and_aac_become_enhanced_tags() {
        // The sequence header of a still of 640x360, profile 0, without anything that can be left out.
        let mut bits = BitWriter::default();
        bits.put(0, 3).put(3, 2).put(0, 5).put(9, 4).put(9, 4).put(639, 10).put(359, 10);
        bits.put(0, 14).put(1, 1);
        let payload = bits.into_bytes();
        let sequence = [&[0x0a, payload.len() as u8][..], &payload].concat();
        let tracks = [
            header(Codec::Av1, MediaKind::Video, sequence),
            header(Codec::Aac, MediaKind::Audio, vec![0x11, 0x90]),
        ];
        assert!(is_needed(&tracks) && !is_needed(&tracks[1..]));
        let (mut flv, begin) = Flv::new(&tracks).unwrap();
        assert_eq!(&begin[..5], b"FLV\x01\x05");
        let first = tags(&begin[13..]);
        assert!(first[0].0 == 18 && first[0].2.windows(10).any(|w| w == b"onMetaData"));
        assert!(first[1].2.starts_with(b"\x90av01\x81"), "{first:?}");
        assert_eq!(first[2].2, [0xaf, 0, 0x11, 0x90]);
        let mut out = Vec::new();
        // Decoding begins before 0: all of it is later.
        flv.write(0, &packet(0, -2, true, &[0x12, 0, 0x32, 1, 7]), &mut out).unwrap();
        flv.write(1, &packet(0, 0, true, &[1, 2]), &mut out).unwrap();
        flv.write(0, &packet(1, -1, false, &[0x32, 1, 8]), &mut out).unwrap();
        flv.finish(&mut out);
        let sent = tags(&out);
        assert_eq!(sent.iter().map(|t| (t.0, t.1)).collect::<Vec<_>>(), [(9, 0), (8, 80), (9, 40), (9, 40)]);
        // Without its temporal delimiter, and without a composition time.
        assert_eq!(sent[0].2, b"\x91av01\x32\x01\x07");
        assert_eq!(sent[2].2, b"\xa1av01\x32\x01\x08");
        assert_eq!((&sent[1].2[..], &sent[3].2[..]), (&[0xaf, 1, 1, 2][..], &b"\x92av01"[..]));
    }

    #[test]
    fn what_enhanced_rtmp_has_no_word_for_is_refused() {
        let dts = header(Codec::from_name("dts"), MediaKind::Audio, vec![]);
        assert_eq!(Flv::new(&[dts]).err().unwrap().kind(), crate::ErrorKind::Unsupported);
        let two =
            [header(Codec::Vp9, MediaKind::Video, vec![]), header(Codec::Vp9, MediaKind::Video, vec![])];
        assert!(Flv::new(&two).is_err());
    }
}
