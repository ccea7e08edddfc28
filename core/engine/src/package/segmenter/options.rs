//! What a [`super::Segmenter`] is told, and what it makes.

use super::super::plan::Plan;
use super::super::track::Track;
use crate::packet::StreamInfo;
use crate::time::{Rational, Timestamp};
use bytes::Bytes;
use std::ops::Range;

/// The format of the segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// Fragmented MP4, one track per file.
    Cmaf,
    /// MPEG-TS, any number of tracks per file.
    Ts,
}

/// One stream to segment.
#[derive(Clone, Debug)]
pub struct TrackSpec {
    /// The stream. Audio with priming in front of time 0 needs its `initial_padding`, if runs that start later are to
    /// make the same segments as a run from the start, which can see the priming in the time stamps.
    pub info: StreamInfo,
    /// Tracks of one group share their segments (MPEG-TS); in CMAF every track needs a group of its own.
    pub group: usize,
}

/// How to segment.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where segments begin.
    pub plan: Plan,
    /// Their format.
    pub container: Container,
    /// Time 0 of the plan and of the output's timeline: the start of the source.
    pub origin: Timestamp,
    /// First cell of the plan to make. Packets before it are dropped; 0 keeps encoder priming in front of time 0.
    pub first: u64,
    /// Cell to stop before.
    pub end: Option<u64>,
    /// `None`: a segment's number is its cell in the plan, so that runs agree. `Some(n)`: count from `n`, for live
    /// streams whose groups of pictures may be longer than a cell.
    pub count_from: Option<u64>,
    /// Length of low-latency parts (CMAF only). Parts are at most this long and, but for the last of a segment, at
    /// least 85 % of it where the frame duration allows.
    pub part: Option<Timestamp>,
    /// Close a segment when its last frame's end reaches the next cell, without waiting for the key frame behind it.
    /// For live encodes with forced key frames, whose packets have durations.
    pub eager: bool,
    /// Put a `sidx` in front of each CMAF segment that is one chunk.
    pub index: bool,
    /// Give the key frame that begins a CMAF segment a chunk of its own, so that the ranges of an I-frame playlist are
    /// whole fragments (some 120 bytes per segment). Not together with [`Options::index`].
    pub key_chunk: bool,
    /// Cut by the segments' own length instead of by the plan, for live streams whose key frames are where they are.
    /// Needs [`Options::count_from`].
    pub lengths: Option<Lengths>,
    /// Wall-clock time of the output's time 0, microseconds since 1970 UTC: written (`prft`) in front of the first part of
    /// each segment.
    pub wall: Option<i64>,
    /// Sound that is missing between two packets (up to ten seconds) becomes silence, where the codec has a packet for it that stands
    /// alone (AAC-LC, Opus): players halt at holes, some for good.
    pub fill: bool,
    /// Where sound is cut that goes on behind the last picture (all tracks, in fact, that go on behind the one that decides the cuts).
    /// `None`: all of it belongs to the last segment, as where the segments are promised already.
    pub beyond: Option<Plan>,
    /// How long the track that decides the cuts may send nothing while others go on; after that they are cut by the plan's length
    /// without it, until its next key frame, which begins a segment. `None`: they wait for it. Needs [`Options::lengths`].
    pub silence: Option<Timestamp>,
}

impl Options {
    /// Segments of a VOD: whole, numbered by the plan, from the source's time 0.
    pub fn new(plan: Plan, container: Container) -> Self {
        Options {
            plan,
            container,
            origin: Timestamp::new(0, Rational::new(1, 1)),
            first: 0,
            end: None,
            count_from: None,
            part: None,
            eager: false,
            index: false,
            key_chunk: false,
            lengths: None,
            wall: None,
            fill: false,
            beyond: None,
            silence: None,
        }
    }
}

/// A low-latency part: an addressable piece of a segment.
#[derive(Clone, Debug)]
pub struct Part {
    /// The group it belongs to.
    pub group: usize,
    /// Number of its segment.
    pub sequence: u64,
    /// Position in the segment.
    pub index: u32,
    /// Start on the output's timeline.
    pub start: Timestamp,
    /// Length.
    pub duration: Timestamp,
    /// Whether it has a key frame.
    pub independent: bool,
    /// The chunk.
    pub bytes: Bytes,
}

/// A finished segment.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The group it belongs to.
    pub group: usize,
    /// Its number.
    pub sequence: u64,
    /// Start on the output's timeline: presentation time of its first frame (of the video, where there is one).
    pub start: Timestamp,
    /// Length; the next segment starts where this one ends.
    pub duration: Timestamp,
    /// Whether it begins with a key frame.
    pub independent: bool,
    /// Its bytes, one piece per chunk.
    pub chunks: Vec<Bytes>,
    /// Range of bytes that shows its first key frame, for I-frame playlists.
    pub key_range: Option<Range<u64>>,
}

impl Segment {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.chunks.iter().map(|c| c.len() as u64).sum()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All bytes in one piece; free for a segment of one chunk.
    pub fn bytes(&self) -> Bytes {
        match &self.chunks[..] {
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }
}

/// What came out.
#[derive(Clone, Debug)]
pub enum Event {
    /// A group is known: comes once, before its first part or segment, and again when its stream changes its
    /// configuration (then the next segment follows a discontinuity).
    Init {
        /// The group.
        group: usize,
        /// Its tracks, described from their own headers.
        tracks: Vec<Track>,
        /// The init segment; `None` in MPEG-TS.
        bytes: Option<Bytes>,
    },
    /// A part is complete (only with [`Options::part`]).
    Part(Part),
    /// A segment is complete.
    Segment(Segment),
}

/// How long segments are that are cut by their own length.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    /// A key frame this far behind the segment's start begins the next one. One that comes earlier does too, where the
    /// key frame behind it would come too late.
    pub least: Timestamp,
    /// No segment is longer: where no key frame has come, the next segment begins without one.
    pub most: Timestamp,
}
