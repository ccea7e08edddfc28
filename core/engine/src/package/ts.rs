//! MPEG-TS segments for HLS: each begins with PAT and PMT and, with video, a key frame. Continuity counters run on
//! from one segment to the next.
//!
//! One program; H.264 or HEVC in Annex B with an access unit delimiter in front of every picture and the parameter
//! sets in front of every key frame; AAC as ADTS; MP3, AC-3, E-AC-3 and Opus. Whole segments only: low-latency parts
//! are a thing of CMAF.

use super::bitstream::{aac, h264, hevc, nal};
use super::cmaf::{Chunk, Sample};
use super::track::{Config, Track};
use crate::error::{Error, ErrorKind, Result};
use crate::packet::MediaKind;
use crate::time::{Rational, Rounding, TimeBase, rescale};
use bytes::Bytes;

/// Ticks of 90 kHz that are added to every time stamp, so that times a little before 0 can be written. WebVTT's
/// `X-TIMESTAMP-MAP` needs it.
pub const TIME_OFFSET: i64 = 126_000;
/// The program clock runs this far behind the decode times: the decoder's buffer.
const CLOCK_DELAY: i64 = 63_000;
const BASE: TimeBase = Rational::new(1, 90_000);
const PACKET: usize = 188;
const PMT_PID: u16 = 0x1000;
const FIRST_PID: u16 = 0x100;
/// Audio frames share a PES packet up to this many bytes and 90 kHz ticks.
const AUDIO_BYTES: usize = 2800;
const AUDIO_TICKS: i64 = 9000;

/// Writes the segments of one program.
#[derive(Debug)]
pub struct Muxer {
    tracks: Vec<Stream>,
    tables: [u8; 2],
    joins: bool,
    version: u8,
}

/// Continuity counters have four bits.
const ROUND: usize = 16;

#[derive(Debug)]
struct Stream {
    track: Track,
    pid: u16,
    stream_id: u8,
    continuity: u8,
}

struct Pes {
    stream: usize,
    decode: i64,
    present: i64,
    key: bool,
    payload: Vec<u8>,
}

impl Muxer {
    /// A muxer for `tracks`, video first by convention. Fails with [`ErrorKind::Unsupported`] for codecs that have no
    /// place in MPEG-TS.
    pub fn new(tracks: Vec<Track>) -> Result<Muxer> {
        if tracks.is_empty() || tracks.len() > 64 {
            return Err(Error::new(ErrorKind::Invalid, format!("MPEG-TS: {} tracks", tracks.len())));
        }
        let mut streams = Vec::new();
        for (i, track) in tracks.into_iter().enumerate() {
            stream_type(&track)?;
            let stream_id = match &track.config {
                Config::H264(_) | Config::Hevc(_) => 0xe0,
                Config::Ac3(_) | Config::Opus(_) => 0xbd,
                _ => 0xc0,
            };
            streams.push(Stream { track, pid: FIRST_PID + i as u16, stream_id, continuity: 0 });
        }
        Ok(Muxer { tracks: streams, tables: [0, 0], joins: false, version: 0 })
    }

    /// Makes segments that can follow on any other segment of the same tracks: every one takes whole rounds of the
    /// continuity counters, for some 5 kB more (the tables come sixteen times, as receivers that tune in like it).
    pub fn joining(mut self) -> Muxer {
        self.joins = true;
        self
    }

    /// Tells receivers that the tables are others than those of a program before it (0 to 31, from 31 on to 0).
    pub fn version(mut self, version: u8) -> Muxer {
        self.version = version & 31;
        self
    }

    /// Writes one sample of track `stream`, for a receiver of a stream that has no segments; `tables` puts PAT and PMT in
    /// front, as is needed a few times a second. Times of different tracks need not rise together.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] for a track that there is none of; damaged samples.
    pub fn sample(&mut self, stream: usize, sample: &Sample, tables: bool) -> Result<Bytes> {
        if stream >= self.tracks.len() {
            return Err(Error::new(ErrorKind::Internal, "MPEG-TS: a sample of no track"));
        }
        let mut packets = Vec::with_capacity(1);
        self.packetize(stream, std::slice::from_ref(sample), &mut packets)?;
        let mut out = Vec::with_capacity(sample.data.len() + sample.data.len() / 40 + 4 * PACKET);
        if tables {
            self.write_tables(&mut out);
        }
        let clock = self.clock_stream() == stream;
        for pes in &packets {
            self.write_pes(pes, clock, false, &mut out);
        }
        Ok(out.into())
    }

    /// The tracks, in the order in which [`Muxer::segment`] wants their samples.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.tracks.iter().map(|s| &s.track)
    }

    /// Writes one segment from each track's samples: `samples[i]` belongs to track `i`, in decode order, payloads as
    /// in the source's packets, times in the track's timescale. `key_range` of the result is the tables and the first
    /// key frame.
    pub fn segment(&mut self, samples: &[Vec<Sample>]) -> Result<Chunk> {
        if samples.len() != self.tracks.len() {
            return Err(Error::new(ErrorKind::Internal, "MPEG-TS: one list of samples per track"));
        }
        let mut packets = Vec::new();
        for (stream, samples) in samples.iter().enumerate() {
            self.packetize(stream, samples, &mut packets)?;
        }
        packets.sort_by_key(|p| p.decode);
        let clock = self.clock_stream();
        let size = packets.iter().map(|p| p.payload.len() + p.payload.len() / 40 + 2 * PACKET).sum();
        let mut out = Vec::with_capacity(size);
        if self.joins {
            self.tables = [0, 0];
            self.tracks.iter_mut().for_each(|s| s.continuity = 0);
        }
        self.write_tables(&mut out);
        let mut tables = 1;
        // A segment starts with its key frame, even where audio is a little earlier.
        let lead = packets.iter().position(|p| p.stream == clock);
        if let Some(lead) = lead {
            packets[..=lead].rotate_right(1);
        }
        let mut key_range = None;
        let last = |stream| packets.iter().rposition(|p| p.stream == stream);
        let lasts: Vec<Option<usize>> = (0..self.tracks.len()).map(last).collect();
        let often = packets.len().div_ceil(ROUND).max(1);
        for (i, pes) in packets.iter().enumerate() {
            if self.joins && i > 0 && i % often == 0 && tables < ROUND {
                self.write_tables(&mut out);
                tables += 1;
            }
            // Where there are no pictures any more, their clock goes on.
            if lead.is_none() {
                self.write_clock(clock, pes.decode, &mut out);
            }
            self.write_pes(pes, pes.stream == clock, self.joins && lasts[pes.stream] == Some(i), &mut out);
            let video = self.tracks[pes.stream].track.info.kind == MediaKind::Video;
            if i == 0 && video && pes.key {
                key_range = Some(0..out.len() as u64);
            }
        }
        while self.joins && tables < ROUND {
            self.write_tables(&mut out);
            tables += 1;
        }
        Ok(Chunk { bytes: out.into(), key_range })
    }

    /// The stream that carries the clock: the first video, or else the first.
    fn clock_stream(&self) -> usize {
        self.tracks.iter().position(|s| s.track.info.kind == MediaKind::Video).unwrap_or(0)
    }

    fn packetize(&self, stream: usize, samples: &[Sample], out: &mut Vec<Pes>) -> Result<()> {
        let track = &self.tracks[stream].track;
        let from = track.base();
        let ticks = |t: i64| rescale(t, from, BASE, Rounding::Nearest) + TIME_OFFSET;
        // Audio samples carry their priming in the decode time, as fMP4 wants it.
        let origin = if track.info.kind == MediaKind::Audio { i64::from(track.priming) } else { 0 };
        let mut group_end = 0;
        for (i, sample) in samples.iter().enumerate() {
            let time = sample.decode - origin;
            let (decode, present) = (ticks(time), ticks(time + i64::from(sample.offset)));
            let payload = access_unit(track, sample)?;
            if track.info.kind == MediaKind::Audio
                && i > 0
                && let Some(last) = out.last_mut()
                && last.payload.len() + payload.len() <= AUDIO_BYTES
                && present - last.present < AUDIO_TICKS
                && (present - group_end).abs() <= 2
            {
                last.payload.extend_from_slice(&payload);
            } else {
                out.push(Pes { stream, decode, present, key: sample.key, payload });
            }
            group_end = ticks(time + i64::from(sample.duration));
        }
        Ok(())
    }

    fn write_tables(&mut self, out: &mut Vec<u8>) {
        let pat = [0, 1, 0xe0 | (PMT_PID >> 8) as u8, PMT_PID as u8];
        write_section(out, 0, &mut self.tables[0], 0, 0, &pat);
        let clock = self.tracks[self.clock_stream()].pid;
        let mut pmt = vec![0xe0 | (clock >> 8) as u8, clock as u8, 0xf0, 0];
        for stream in &self.tracks {
            let info = descriptors(&stream.track);
            // `new` has refused what has no stream type.
            pmt.push(stream_type(&stream.track).unwrap_or(0x06));
            pmt.extend_from_slice(&(0xe000 | stream.pid).to_be_bytes());
            pmt.extend_from_slice(&(0xf000 | info.len() as u16).to_be_bytes());
            pmt.extend_from_slice(&info);
        }
        write_section(out, PMT_PID, &mut self.tables[1], 2, self.version, &pmt);
    }

    /// The time alone, without anything of the stream: such a packet does not count (ISO/IEC 13818-1, 2.4.3.3).
    fn write_clock(&self, stream: usize, decode: i64, out: &mut Vec<u8>) {
        let stream = &self.tracks[stream];
        out.push(0x47);
        out.extend_from_slice(&stream.pid.to_be_bytes());
        out.extend_from_slice(&[0x20 | stream.continuity.wrapping_sub(1) & 15, (PACKET - 5) as u8, 0x10]);
        push_clock(out, decode - CLOCK_DELAY);
        out.resize(out.len() + PACKET - 12, 0xff);
    }

    /// With `round`, in so many packets that the continuity counter begins anew behind them.
    fn write_pes(&mut self, pes: &Pes, clock: bool, round: bool, out: &mut Vec<u8>) {
        let stream = &mut self.tracks[pes.stream];
        let both = pes.decode != pes.present;
        let mut header = vec![0, 0, 1, stream.stream_id];
        let optional = if both { 10 } else { 5 };
        let length = pes.payload.len() + 3 + optional;
        // 0 = unbounded, which only video may be.
        header.extend_from_slice(&u16::try_from(length).unwrap_or(0).to_be_bytes());
        header.extend_from_slice(&[0x84, if both { 0xc0 } else { 0x80 }, optional as u8]);
        push_time(&mut header, if both { 3 } else { 2 }, pes.present);
        if both {
            push_time(&mut header, 1, pes.decode);
        }
        let total = header.len() + pes.payload.len();
        let byte =
            |at: usize| if at < header.len() { &header[at..] } else { &pes.payload[at - header.len()..] };
        let field_length = if clock { 8 } else { 2 };
        let room_first = PACKET - 4 - if pes.key || clock { field_length } else { 0 };
        let least = 1 + total.saturating_sub(room_first).div_ceil(PACKET - 4);
        let count = match least + usize::from(stream.continuity) {
            end if round => (least + (ROUND - end % ROUND) % ROUND).min(total),
            _ => least,
        };
        let (mut at, mut left_over) = (0, count);
        while at < total {
            let first = at == 0;
            left_over = left_over.saturating_sub(1);
            let mut field = Vec::new();
            if first && (pes.key || clock) {
                field.push(u8::from(pes.key) << 6 | u8::from(clock) << 4);
                if clock {
                    push_clock(&mut field, pes.decode - CLOCK_DELAY);
                }
            }
            let room = PACKET - 4 - if field.is_empty() { 0 } else { field.len() + 1 };
            // Every packet to come needs a byte.
            let take = room.min((total - at).saturating_sub(left_over)).max(1);
            let stuffing = room - take;
            let has_field = !field.is_empty() || stuffing > 0;
            out.push(0x47);
            out.extend_from_slice(&(u16::from(first) << 14 | stream.pid).to_be_bytes());
            out.push(if has_field { 0x30 } else { 0x10 } | stream.continuity);
            stream.continuity = (stream.continuity + 1) & 15;
            if has_field {
                if field.is_empty() && stuffing > 1 {
                    field.push(0);
                }
                let length = PACKET - 5 - take;
                out.push(length as u8);
                out.extend_from_slice(&field);
                out.resize(out.len() + length - field.len(), 0xff);
            }
            let mut left = take;
            while left > 0 {
                let source = byte(at);
                let n = left.min(source.len());
                out.extend_from_slice(&source[..n]);
                at += n;
                left -= n;
            }
        }
    }
}

/// A 33-bit time stamp behind its four marker bits.
fn push_time(out: &mut Vec<u8>, marker: u8, time: i64) {
    let t = time as u64 & 0x1_ffff_ffff;
    out.push(marker << 4 | (t >> 29) as u8 & 0xe | 1);
    out.push((t >> 22) as u8);
    out.push((t >> 14) as u8 | 1);
    out.push((t >> 7) as u8);
    out.push((t << 1) as u8 | 1);
}

fn push_clock(out: &mut Vec<u8>, time: i64) {
    let t = time as u64 & 0x1_ffff_ffff;
    out.extend_from_slice(&((t >> 1) as u32).to_be_bytes());
    out.push((t as u8 & 1) << 7 | 0x7e);
    out.push(0);
}

/// A table in one packet (a PMT of 64 streams could need more; it is split over as many as it takes).
fn write_section(out: &mut Vec<u8>, pid: u16, continuity: &mut u8, table: u8, version: u8, body: &[u8]) {
    let mut section = vec![table];
    section.extend_from_slice(&(0xb000 | (body.len() + 9) as u16).to_be_bytes());
    section.extend_from_slice(&[0, 1, 0xc1 | version << 1, 0, 0]);
    section.extend_from_slice(body);
    section.extend_from_slice(&crc32(&section).to_be_bytes());
    section.insert(0, 0);
    for (i, part) in section.chunks(PACKET - 4).enumerate() {
        out.push(0x47);
        out.extend_from_slice(&(u16::from(i == 0) << 14 | pid).to_be_bytes());
        out.push(0x10 | *continuity);
        *continuity = (*continuity + 1) & 15;
        out.extend_from_slice(part);
        out.resize(out.len() + PACKET - 4 - part.len(), 0xff);
    }
}

/// The CRC of MPEG-2 sections.
fn crc32(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte) << 24;
        for _ in 0..8 {
            crc = crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 };
        }
    }
    crc
}

fn stream_type(track: &Track) -> Result<u8> {
    Ok(match &track.config {
        Config::H264(_) => 0x1b,
        Config::Hevc(_) => 0x24,
        Config::Aac(_) => 0x0f,
        Config::Mp3(c) => {
            if c.mpeg1 {
                0x03
            } else {
                0x04
            }
        }
        Config::Ac3(c) => {
            if c.enhanced {
                0x87
            } else {
                0x81
            }
        }
        Config::Opus(_) => 0x06,
        _ => return Err(Error::unsupported(format!("{} in MPEG-TS", track.info.codec))),
    })
}

fn descriptors(track: &Track) -> Vec<u8> {
    let mut out = Vec::new();
    let mut registration = |name: &[u8; 4]| {
        out.extend_from_slice(&[5, 4]);
        out.extend_from_slice(name);
    };
    match &track.config {
        Config::Hevc(_) => registration(b"HEVC"),
        Config::Ac3(c) => registration(if c.enhanced { b"EAC3" } else { b"AC-3" }),
        Config::Opus(c) => {
            registration(b"Opus");
            out.extend_from_slice(&[0x7f, 2, 0x80, c.channels]);
        }
        _ => {}
    }
    let language = track.info.language.as_deref().map(str::as_bytes);
    if let (MediaKind::Audio, Some([a, b, c])) = (track.info.kind, language) {
        out.extend_from_slice(&[0x0a, 4, *a, *b, *c, 0]);
    }
    out
}

/// A sample's payload as MPEG-TS carries it.
fn access_unit(track: &Track, sample: &Sample) -> Result<Vec<u8>> {
    match &track.config {
        Config::H264(c) => {
            let units = c.framing.units(&sample.data)?;
            let is_set = |u: &[u8]| matches!(h264::unit_type(u), h264::SPS | h264::PPS);
            let sets = c.sps.iter().chain(&c.pps).map(|s| &s[..]);
            let body = units.iter().copied().filter(|u| h264::unit_type(u) != h264::AUD);
            Ok(annex_b(&[h264::AUD, 0xf0], sets, body, is_set, sample))
        }
        Config::Hevc(c) => {
            let units = c.framing.units(&sample.data)?;
            let is_set = |u: &[u8]| matches!(hevc::unit_type(u), hevc::VPS | hevc::SPS | hevc::PPS);
            let sets = c.vps.iter().chain(&c.sps).chain(&c.pps).map(|s| &s[..]);
            let body = units.iter().copied().filter(|u| hevc::unit_type(u) != hevc::AUD);
            Ok(annex_b(&[hevc::AUD << 1, 1, 0x50], sets, body, is_set, sample))
        }
        Config::Aac(_)
            if aac::Adts::parse(&sample.data).is_some_and(|h| h.frame_len == sample.data.len()) =>
        {
            Ok(sample.data.to_vec())
        }
        Config::Aac(c) => {
            let mut out = c.adts_header(sample.data.len())?.to_vec();
            out.extend_from_slice(&sample.data);
            Ok(out)
        }
        Config::Opus(_) => {
            // opus_control_header: prefix 0x3ff, no trimming, the size in bytes of 255.
            let mut out = vec![0x7f, 0xe0];
            let mut left = sample.data.len();
            while left >= 255 {
                out.push(255);
                left -= 255;
            }
            out.push(left as u8);
            out.extend_from_slice(&sample.data);
            Ok(out)
        }
        _ => Ok(sample.data.to_vec()),
    }
}

/// Delimiter, parameter sets (in front of a key frame that brings none itself), the rest.
fn annex_b<'a>(
    delimiter: &[u8],
    sets: impl Iterator<Item = &'a [u8]>,
    body: impl Iterator<Item = &'a [u8]> + Clone,
    is_set: impl Fn(&[u8]) -> bool,
    sample: &Sample,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(sample.data.len() + 128);
    nal::push_annex_b(&mut out, delimiter);
    if sample.key && !body.clone().any(&is_set) {
        sets.for_each(|s| nal::push_annex_b(&mut out, s));
    }
    body.for_each(|u| nal::push_annex_b(&mut out, u));
    out
}
