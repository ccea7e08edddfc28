//! Packets to the application.

use super::{Facts, Fate, OutputSink, TrackHeader};
use crate::error::{Error, ErrorKind, Result};
use crate::job::PacketPort;
use crate::link::Sender;
use crate::package::bitstream::nal::{self, Framing};
use crate::package::bitstream::{aac, av1, h264, hevc};
use crate::packet::{Codec, Packet, StreamInfo};
use crate::spec::BitstreamFormat;
use crate::time::{Rounding, TimeBase, rescale};
use bytes::Bytes;
use std::sync::Weak;

/// Hands packets to the application in the framing it asked for.
pub(crate) struct PacketSink {
    format: BitstreamFormat,
    link: Option<Sender<Packet>>,
    port: Weak<PacketPort>,
    /// Of each track, and whether its packets are the source's own.
    framers: Vec<(Framer, bool)>,
    /// What the times of each track were announced to count.
    bases: Vec<TimeBase>,
}

impl PacketSink {
    pub fn new(format: BitstreamFormat, link: Sender<Packet>, port: Weak<PacketPort>) -> Self {
        PacketSink { format, link: Some(link), port, framers: Vec::new(), bases: Vec::new() }
    }
}

impl OutputSink for PacketSink {
    fn prepare(&mut self, _: &Facts) -> Result<()> {
        Ok(())
    }

    fn begin(&mut self, tracks: &[TrackHeader]) -> Result<()> {
        let mut streams = Vec::new();
        for track in tracks {
            let (framer, stream) = Framer::new(self.format, track.stream.clone())?;
            self.framers.push((framer, track.copied));
            self.bases.push(track.stream.time_base);
            streams.push(stream);
        }
        for (i, stream) in streams.iter_mut().enumerate() {
            stream.index = i;
        }
        if let Some(port) = self.port.upgrade() {
            port.announce(Ok(streams));
        }
        Ok(())
    }

    fn write(&mut self, track: usize, mut packet: Packet) -> Result<Fate> {
        if let Some((framer, copied)) = self.framers.get(track) {
            packet.data = match framer.frame(&packet) {
                Ok(data) => data,
                Err(e) if *copied && e.kind() == ErrorKind::Format => return Ok(Fate::LeftOut(e)),
                Err(e) => return Err(e),
            };
        }
        if let Some(base) = self.bases.get(track).filter(|base| **base != packet.base) {
            let to = |t: i64| rescale(t, packet.base, *base, Rounding::Nearest);
            (packet.pts, packet.dts) = (packet.pts.map(to), packet.dts.map(to));
            (packet.duration, packet.base) = (to(packet.duration), *base);
        }
        packet.stream = track;
        match &self.link {
            Some(link) => link.send(packet).map(|()| Fate::Written).map_err(|_| Error::cancelled()),
            None => Err(Error::new(ErrorKind::Internal, "a packet after the end")),
        }
    }

    fn finish(&mut self) -> Result<Vec<String>> {
        self.link = None;
        Ok(Vec::new())
    }

    fn abort(&mut self, _: bool) {
        self.link = None;
        if let Some(port) = self.port.upgrade() {
            port.announce(Err(Error::new(ErrorKind::State, "the job ended before the encoders opened")));
        }
    }
}

/// Brings one stream's packets into a framing.
pub(super) enum Framer {
    /// As they are.
    Pass,
    /// Start codes, with these parameter sets in front of key frames that carry none.
    ToAnnexB { from: Framing, hevc: bool, sets: Vec<Bytes> },
    /// Four-byte lengths, without delimiters and these parameter sets, which are in the extradata. Others stay.
    ToLength { from: Framing, hevc: bool, sets: Vec<Bytes> },
    /// AV1 without temporal delimiters.
    StripAv1,
    /// AAC without ADTS headers, where packets have some.
    StripAdts,
}

/// `AV_PROFILE_AAC_HE` and `AV_PROFILE_AAC_HE_V2`: their core has half the rate, and the latter's one channel.
const HE: [i32; 2] = [4, 28];

/// The record of an ADTS stream.
fn aac_config(stream: &StreamInfo) -> Result<aac::Config> {
    let audio =
        stream.audio.as_ref().ok_or_else(|| Error::new(ErrorKind::Format, "AAC without a sample rate"))?;
    match stream.profile {
        Some(p) if p == HE[1] => aac::Config::of(2, audio.sample_rate / 2, 1),
        Some(p) if p == HE[0] => aac::Config::of(2, audio.sample_rate / 2, audio.layout.channels),
        // Main, LC, SSR and LTP are numbered from 0 there and from 1 in the record.
        Some(p @ 0..=3) => aac::Config::of(p as u8 + 1, audio.sample_rate, audio.layout.channels),
        _ => aac::Config::of(2, audio.sample_rate, audio.layout.channels),
    }
}

impl Framer {
    /// For packets of `stream`, which is given back as it is then.
    pub fn new(format: BitstreamFormat, mut stream: StreamInfo) -> Result<(Framer, StreamInfo)> {
        if stream.extradata.is_empty() {
            if stream.codec == Codec::Aac && format == BitstreamFormat::LengthPrefixed {
                stream.extradata = aac_config(&stream)?.bytes;
                return Ok((Framer::StripAdts, stream));
            }
            return Ok((Framer::Pass, stream));
        }
        let (from, hevc, sets, record) = match stream.codec {
            Codec::H264 => {
                let c = h264::Config::parse(&stream.extradata)?;
                (c.framing, false, [c.sps.clone(), c.pps.clone()].concat(), c.to_avcc())
            }
            Codec::Hevc => {
                let c = hevc::Config::parse(&stream.extradata)?;
                (c.framing, true, [c.vps.clone(), c.sps.clone(), c.pps.clone()].concat(), c.to_hvcc())
            }
            Codec::Av1 if format == BitstreamFormat::LengthPrefixed => return Ok((Framer::StripAv1, stream)),
            _ => return Ok((Framer::Pass, stream)),
        };
        Ok(match format {
            BitstreamFormat::AnnexB => {
                let mut extradata = Vec::new();
                sets.iter().for_each(|s| nal::push_annex_b(&mut extradata, s));
                stream.extradata = extradata.into();
                (Framer::ToAnnexB { from, hevc, sets }, stream)
            }
            BitstreamFormat::LengthPrefixed => {
                stream.extradata = record.into();
                (Framer::ToLength { from, hevc, sets }, stream)
            }
        })
    }

    pub fn frame(&self, packet: &Packet) -> Result<Bytes> {
        let data = &packet.data;
        match self {
            Framer::Pass => Ok(data.clone()),
            Framer::StripAv1 => av1::strip(data),
            Framer::StripAdts => Ok(match aac::Adts::parse(data) {
                Some(header) if header.frame_len == data.len() => data.slice(header.header_len..),
                _ => data.clone(),
            }),
            Framer::ToLength { from, hevc, sets } => {
                let units = from.units(data)?;
                let is_set = |u: &[u8]| match hevc {
                    true => matches!(hevc::unit_type(u), hevc::VPS | hevc::SPS | hevc::PPS),
                    false => matches!(h264::unit_type(u), h264::SPS | h264::PPS),
                };
                let is_known = |u: &[u8]| sets.iter().any(|s| s[..] == *u);
                // A new sequence parameter set takes the others with it: they are said again even where they are the same.
                let known = units.iter().all(|u| !is_set(u) || is_known(u));
                let dropped = |u: &[u8]| match hevc {
                    true if hevc::unit_type(u) == hevc::AUD => true,
                    false if h264::unit_type(u) == h264::AUD => true,
                    _ => known && is_set(u),
                };
                if *from == Framing::Length(4) && !units.iter().any(|u| dropped(u)) {
                    return Ok(data.clone());
                }
                let mut out = Vec::with_capacity(data.len() + 16);
                units.iter().filter(|u| !dropped(u)).for_each(|u| nal::push_length_prefixed(&mut out, u));
                Ok(out.into())
            }
            Framer::ToAnnexB { from, hevc, sets } => {
                let units = from.units(data)?;
                let has_sets = units
                    .iter()
                    .any(|u| if *hevc { hevc::unit_type(u) == 33 } else { h264::unit_type(u) == 7 });
                if *from == Framing::AnnexB && (has_sets || !packet.key) {
                    return Ok(data.clone());
                }
                let mut out = Vec::with_capacity(data.len() + 256);
                // An access unit delimiter must stay first.
                let is_delimiter =
                    |u: &[u8]| if *hevc { hevc::unit_type(u) == 35 } else { h264::unit_type(u) == 9 };
                let split = units.iter().take_while(|u| is_delimiter(u)).count();
                units[..split].iter().for_each(|u| nal::push_annex_b(&mut out, u));
                if packet.key && !has_sets {
                    sets.iter().for_each(|s| nal::push_annex_b(&mut out, s));
                }
                units[split..].iter().for_each(|u| nal::push_annex_b(&mut out, u));
                Ok(out.into())
            }
        }
    }
}
