//! Where coded media goes: files, the application, segments. A sink is told its tracks once, then takes packets in
//! decode order.

mod file;
mod packets;
mod place;
mod segment_index;
mod segments;
pub(crate) mod y4m;

pub(crate) use file::FileSink;
pub(crate) use packets::PacketSink;
pub(crate) use place::{Place, Written};
pub(crate) use segments::SegmentSink;
pub(crate) use y4m::Y4mSink;

use crate::error::{Error, Result};
use crate::packet::{Packet, StreamInfo};
use crate::spec::SegmentSpec;
use crate::time::Timestamp;
use ghoststream_sys::ffmpeg::Chapter;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// One track as a sink is told of it.
#[derive(Clone, Debug)]
pub(crate) struct TrackHeader {
    /// What the packets are.
    pub stream: StreamInfo,
    /// Name of the rendition (`720p`, `audio-en`).
    pub name: String,
    /// Where the document has it among the output's tracks.
    pub position: usize,
    /// Whether its packets are the source's own.
    pub copied: bool,
    /// When its first packet is shown.
    pub first: Option<Timestamp>,
}

/// What an output's sink must know beyond its part of the document.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// The files that the job reads: an output never replaces one.
    pub inputs: Vec<String>,
    /// Tags to write.
    pub metadata: Vec<(String, String)>,
    /// Chapters on the output's timeline.
    pub chapters: Vec<Chapter>,
    /// Attachments to carry.
    pub attachments: Vec<Attachment>,
    /// How to cut segments.
    pub segment: SegmentSpec,
    /// Where segments begin, when the source's key frames decide it.
    pub boundaries: Option<Vec<Timestamp>>,
    /// The segments to make, if not all: the first, and the one to stop before.
    pub window: Option<(u64, Option<u64>)>,
    /// Raised when the leading track's first segment is there.
    pub first_segment: Option<Arc<AtomicBool>>,
    /// Told of every segment and playlist that is in its place.
    pub made: Option<Made>,
}

/// Takes the name, start and length (seconds) of an object of a segmented output.
#[derive(Clone)]
pub(crate) struct Made(pub Arc<Tell>);

/// What is called with the name, the start and the length.
pub(crate) type Tell = dyn Fn(&str, f64, f64) + Send + Sync;

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Made")
    }
}

/// A font, a cover …
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    pub codec: String,
    pub name: String,
    pub mime: String,
    pub data: bytes::Bytes,
}

/// What became of a packet.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It is in the output.
    Written,
    /// It is a copied one too damaged for the output's format, and was left out. Why.
    LeftOut(Error),
}

/// What an output's packets end in.
pub(crate) trait OutputSink: Send {
    /// Claims the output's place, before any work is done.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when the place is taken or is the input; I/O errors by name of the file.
    fn prepare(&mut self, facts: &Facts) -> Result<()>;

    /// Opens the output. Tracks that yielded nothing are not among `tracks`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unsupported`] for a codec that the container cannot carry; I/O errors by name of the file.
    fn begin(&mut self, tracks: &[TrackHeader]) -> Result<()>;

    /// Opens the output for its leading track alone, which runs ahead of the others and is not among what `begin` is
    /// told.
    ///
    /// # Errors
    /// As for `begin`; [`crate::ErrorKind::Internal`] for a sink whose tracks cannot be apart.
    fn begin_lead(&mut self, _track: &TrackHeader) -> Result<()> {
        Err(Error::new(crate::ErrorKind::Internal, "this output's tracks cannot be apart"))
    }

    /// Takes a packet of the leading track.
    ///
    /// # Errors
    /// As for `write`.
    fn write_lead(&mut self, _packet: Packet) -> Result<()> {
        Err(Error::new(crate::ErrorKind::Internal, "this output's tracks cannot be apart"))
    }

    /// Takes a packet; `track` indexes what `begin` was told.
    ///
    /// # Errors
    /// I/O errors by name of the file.
    fn write(&mut self, track: usize, packet: Packet) -> Result<Fate>;

    /// Whether it wants no more packets, although there may be some: what was asked of it is complete.
    fn is_done(&self) -> bool {
        false
    }

    /// Whether it makes parts of a whole, each of which is worth keeping, but only if it is complete.
    fn is_part(&self) -> bool {
        false
    }

    /// Completes the output and names what a user would open.
    ///
    /// # Errors
    /// I/O errors by name of the file.
    fn finish(&mut self) -> Result<Vec<String>>;

    /// Gives the output up; with `keep` what is there stays, as playable as the format allows.
    fn abort(&mut self, keep: bool);
}
