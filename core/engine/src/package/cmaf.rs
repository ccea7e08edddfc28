//! CMAF (fragmented MP4) track files: the init segment, and media segments made of one or more chunks.
//!
//! One track per file, as CMAF wants it. Times are the track's absolute media time, so segments made by different
//! runs fit together. A chunk is one `moof` and one `mdat`; a segment is the concatenation of its chunks, of which the
//! first begins with `styp`.

use super::bitstream::{av1, h264, hevc, nal};
use super::boxes::Boxes;
use super::track::{Config, Track};
use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::ops::Range;

/// One access unit (or audio frame) in the track's media time.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Payload in the framing of fMP4, from [`payload`].
    pub data: Bytes,
    /// Decode time in [`Track::timescale`]; never negative in a file.
    pub decode: i64,
    /// Presentation time less decode time; may be negative.
    pub offset: i32,
    /// Length, which is the distance to the next sample's decode time.
    pub duration: u32,
    /// Whether decoding can start here.
    pub key: bool,
}

/// A wall-clock anchor for low latency (`prft`): media time `media` was captured or encoded at `ntp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerReference {
    /// NTP time: seconds since 1900 in the upper, fractions in the lower 32 bits.
    pub ntp: u64,
    /// Media time in the track's timescale.
    pub media: u64,
}

impl ProducerReference {
    /// Media time `media` is wall-clock time `wall`, in microseconds since 1970 UTC.
    pub fn new(wall: i64, media: i64) -> Self {
        /// Seconds from 1900 to 1970.
        const NTP: i64 = 2_208_988_800;
        let (seconds, micros) = (wall.div_euclid(1_000_000), wall.rem_euclid(1_000_000) as u64);
        // NTP's seconds wrap in 2036, as they should.
        let seconds = seconds.wrapping_add(NTP) as u64 & 0xffff_ffff;
        ProducerReference { ntp: (seconds << 32) | ((micros << 32) / 1_000_000), media: media.max(0) as u64 }
    }
}

/// An event message (`emsg` version 1): ID3, SCTE-35 …
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventMessage {
    /// What kind of message it is (`https://aomedia.org/emsg/ID3`, `urn:scte:scte35:2013:bin`).
    pub scheme: String,
    /// Subdivision of the scheme, often empty.
    pub value: String,
    /// Start, in the track's timescale.
    pub time: u64,
    /// Length, in the track's timescale; `0xffff_ffff` = unknown.
    pub duration: u32,
    /// Equal ids are equal messages.
    pub id: u32,
    /// The message.
    pub data: Bytes,
}

/// What surrounds a chunk's `moof` and `mdat`.
#[derive(Clone, Debug, Default)]
pub struct ChunkOptions {
    /// `mfhd` sequence number: grows with every chunk of a track.
    pub sequence: u32,
    /// Begin with `styp`: the chunk begins a segment.
    pub segment_start: bool,
    /// Write a `sidx` that describes this chunk (for a segment of one chunk).
    pub index: bool,
    /// Write a `prft`.
    pub reference: Option<ProducerReference>,
    /// Write `emsg` boxes.
    pub events: Vec<EventMessage>,
}

/// A written chunk.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The boxes.
    pub bytes: Bytes,
    /// From the `moof` to the end of the first sample when that is a key frame: what an I-frame playlist points to.
    pub key_range: Option<Range<u64>>,
}

/// The init segment (`ftyp`, `moov`) of a track.
pub fn init_segment(track: &Track) -> Result<Bytes> {
    super::init::write(track).map(Bytes::from)
}

/// A packet's payload as fMP4 carries it: NAL units with four-byte lengths, no access unit delimiters, none of the
/// parameter sets that the init segment has, AV1 without temporal delimiters, AAC without ADTS. Uncopied where it
/// already is so.
pub fn payload(track: &Track, data: &Bytes) -> Result<Bytes> {
    match &track.config {
        Config::H264(_) | Config::Hevc(_) => {
            let framing = track.framing().unwrap_or(nal::Framing::AnnexB);
            let units = framing.units(data)?;
            // A new sequence parameter set takes the picture parameter sets with it that belong to the one before: they
            // are said again even where they are the same.
            let known = !units.iter().any(|u| is_set(&track.config, u) && !is_described(&track.config, u));
            let dropped = |u: &&[u8]| is_described(&track.config, u) && (known || !is_set(&track.config, u));
            if framing == nal::Framing::Length(4) && !units.iter().any(&dropped) {
                return Ok(data.clone());
            }
            let mut out = Vec::with_capacity(data.len() + 8);
            for unit in units.iter().filter(|u| !dropped(u)) {
                nal::push_length_prefixed(&mut out, unit);
            }
            Ok(out.into())
        }
        Config::Av1(_) => av1::strip(data),
        Config::Aac(_) if track.info.extradata.is_empty() => {
            use super::bitstream::aac::Adts;
            match &Adts::frames(data)?[..] {
                [(_, frame)] => Ok(data.slice_ref(frame)),
                frames => Err(Error::unsupported(format!("{} ADTS frames in one packet", frames.len()))),
            }
        }
        _ => Ok(data.clone()),
    }
}

/// Whether a NAL unit is a parameter set.
fn is_set(config: &Config, unit: &[u8]) -> bool {
    match config {
        Config::H264(_) => matches!(h264::unit_type(unit), h264::SPS | h264::PPS),
        Config::Hevc(_) => matches!(hevc::unit_type(unit), hevc::VPS | hevc::SPS | hevc::PPS),
        _ => false,
    }
}

/// Whether a NAL unit says nothing that the sample entry and the sample's boundaries do not say already. A parameter
/// set that the record lacks stays: without it the pictures could not be decoded.
fn is_described(config: &Config, unit: &[u8]) -> bool {
    match config {
        Config::H264(c) => match h264::unit_type(unit) {
            h264::AUD => true,
            h264::SPS => c.sps.iter().any(|s| s == unit),
            h264::PPS => c.pps.iter().any(|s| s == unit),
            _ => false,
        },
        Config::Hevc(c) => match hevc::unit_type(unit) {
            hevc::AUD => true,
            hevc::VPS => c.vps.iter().any(|s| s == unit),
            hevc::SPS => c.sps.iter().any(|s| s == unit),
            hevc::PPS => c.pps.iter().any(|s| s == unit),
            _ => false,
        },
        _ => false,
    }
}

/// Writes one chunk. Errors: no samples, or times that the format cannot hold.
pub fn write_chunk(track: &Track, samples: &[Sample], options: &ChunkOptions) -> Result<Chunk> {
    let first = samples.first().ok_or_else(|| Error::new(ErrorKind::Internal, "fMP4: empty chunk"))?;
    let start = u64::try_from(first.decode)
        .map_err(|_| Error::new(ErrorKind::Format, format!("fMP4: decode time {} before 0", first.decode)))?;
    let payload: u64 = samples.iter().map(|s| s.data.len() as u64).sum();
    if payload > u64::from(u32::MAX) - 0x100_0000 {
        return Err(Error::unsupported("fMP4: chunk of 4 GiB"));
    }
    let mut head = Boxes::default();
    if options.segment_start {
        head.container(b"styp", |b| {
            b.bytes(b"msdh").u32(0).bytes(b"msdhmsixcmfs");
        });
    }
    if let Some(reference) = options.reference {
        head.full(b"prft", 1, 24, |b| {
            b.u32(1).u64(reference.ntp).u64(reference.media);
        });
    }
    for event in &options.events {
        head.full(b"emsg", 1, 0, |b| {
            b.u32(track.timescale).u64(event.time).u32(event.duration).u32(event.id);
            b.bytes(event.scheme.as_bytes()).u8(0).bytes(event.value.as_bytes()).u8(0).bytes(&event.data);
        });
    }
    let moof = moof(samples, start, options.sequence);
    let size = moof.len() as u64 + 8 + payload;
    if options.index {
        index(&mut head, track, samples, start, size as u32);
    }
    let lead = head.len() as u64;
    let mut out = head.into_bytes();
    out.reserve_exact(size as usize);
    out.extend_from_slice(&moof);
    out.extend_from_slice(&(payload as u32 + 8).to_be_bytes());
    out.extend_from_slice(b"mdat");
    for sample in samples {
        out.extend_from_slice(&sample.data);
    }
    let key_end = lead + moof.len() as u64 + 8 + first.data.len() as u64;
    Ok(Chunk { bytes: out.into(), key_range: first.key.then_some(lead..key_end) })
}

fn index(b: &mut Boxes, track: &Track, samples: &[Sample], start: u64, size: u32) {
    let presented = |s: &Sample| s.decode + i64::from(s.offset);
    let earliest = samples.iter().map(presented).min().unwrap_or(0).max(0) as u64;
    let last = samples.last().map_or(0, |s| s.decode + i64::from(s.duration));
    b.full(b"sidx", 1, 0, |b| {
        b.u32(1).u32(track.timescale).u64(earliest).u64(0).u16(0).u16(1);
        b.u32(size & 0x7fff_ffff).u32((last - start as i64).clamp(0, i64::from(u32::MAX)) as u32);
        // Starts with a stream access point of type 1 when its first sample is a key frame.
        b.u32(if samples.first().is_some_and(|s| s.key) { 0x9000_0000 } else { 0 });
    });
}

/// Flags of `sample_flags`: depends on nothing; depends on others and is no sync sample.
const SYNC: u32 = 0x0200_0000;
const NON_SYNC: u32 = 0x0101_0000;

fn moof(samples: &[Sample], start: u64, sequence: u32) -> Vec<u8> {
    let flags = |s: &Sample| if s.key { SYNC } else { NON_SYNC };
    let same = |f: &dyn Fn(&Sample) -> u32| samples.windows(2).all(|pair| f(&pair[0]) == f(&pair[1]));
    let same_duration = same(&|s| s.duration);
    let same_size = same(&|s| s.data.len() as u32);
    // The usual pattern, a key frame and then none, needs one word; anything else one per sample.
    let tail_flags = samples.get(1).or(samples.first()).map_or(SYNC, flags);
    let each_flags = samples.iter().skip(1).any(|s| flags(s) != tail_flags);
    let first_flags = !each_flags && samples.first().is_some_and(|s| flags(s) != tail_flags);
    let offsets = samples.iter().any(|s| s.offset != 0);
    let mut b = Boxes::default();
    let mut data_offset = 0;
    b.container(b"moof", |b| {
        b.full(b"mfhd", 0, 0, |b| {
            b.u32(sequence);
        });
        b.container(b"traf", |b| {
            let present = (u32::from(same_duration) * 8) | (u32::from(same_size) * 0x10) | 0x20;
            b.full(b"tfhd", 0, 0x2_0000 | present, |b| {
                b.u32(1);
                if same_duration {
                    b.u32(samples[0].duration);
                }
                if same_size {
                    b.u32(samples[0].data.len() as u32);
                }
                b.u32(tail_flags);
            });
            b.full(b"tfdt", 1, 0, |b| {
                b.u64(start);
            });
            let present = 1
                | (u32::from(first_flags) * 4)
                | (u32::from(!same_duration) * 0x100)
                | (u32::from(!same_size) * 0x200)
                | (u32::from(each_flags) * 0x400)
                | (u32::from(offsets) * 0x800);
            b.full(b"trun", 1, present, |b| {
                b.u32(samples.len() as u32);
                data_offset = b.len();
                b.u32(0);
                if first_flags {
                    b.u32(flags(&samples[0]));
                }
                for sample in samples {
                    if !same_duration {
                        b.u32(sample.duration);
                    }
                    if !same_size {
                        b.u32(sample.data.len() as u32);
                    }
                    if each_flags {
                        b.u32(flags(sample));
                    }
                    if offsets {
                        b.i32(sample.offset);
                    }
                }
            });
        });
    });
    b.patch_u32(data_offset, b.len() as u32 + 8);
    b.into_bytes()
}
