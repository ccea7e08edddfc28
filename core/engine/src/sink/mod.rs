//! Where coded media goes: files, the application, segments. A sink is told its tracks once, then takes packets in
//! decode order.

mod camera;
mod file;
mod hybrid;
mod muxed;
mod names;
mod ogg;
mod packets;
mod place;
mod png;
pub(crate) mod push;
mod record;
mod replay;
mod ring;
mod rotation;
mod segment_index;
mod segments;
mod stills;
mod tiles;
pub(crate) mod y4m;

pub(crate) use camera::CameraSink;
pub(crate) use file::FileSink;
pub(crate) use muxed::{carries, is_ivf};
pub(crate) use packets::PacketSink;
pub(crate) use place::{Place, Written};
pub(crate) use record::RecordSink;
pub(crate) use replay::ReplaySink;
pub(crate) use segments::{SegmentSink, is_muxed, manifests, segment_directory};
pub(crate) use stills::StillSink;
pub(crate) use tiles::Previews;
pub(crate) use y4m::Y4mSink;

use crate::error::{Error, Result};
use crate::event::Span;
use crate::packet::{Packet, StreamInfo};
use crate::spec::{Container, OutputSpec, SegmentSpec};
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

impl TrackHeader {
    /// Takes away what is true at the beginning of a track only, for a file that goes on in its middle.
    fn goes_on(&mut self) {
        self.first = None;
        if let Some(audio) = &mut self.stream.audio {
            audio.initial_padding = 0;
        }
        if let Some(native) = &mut self.stream.native {
            let mut values = native.values();
            if std::mem::take(&mut values.initial_padding) > 0 {
                // What cannot be said is heard for a few milliseconds more.
                let _ = native.set(&values);
            }
        }
    }
}

/// A command to a running output.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    /// Go on in a new file.
    Split,
    /// Write the last `seconds` (all that is kept, when absent) to a file.
    Save { seconds: Option<f64> },
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Command::Split => "split",
            Command::Save { .. } => "save a replay",
        })
    }
}

/// A file that is complete while the job goes on.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    pub path: String,
    /// Seconds.
    pub duration: f64,
    pub bytes: u64,
    pub span: Span,
}

/// What a sink says to the job while it runs.
#[derive(Clone)]
pub(crate) struct Talk {
    /// A file is complete.
    pub saved: Arc<dyn Fn(Saved) + Send + Sync>,
    /// A key frame is wanted.
    pub ask_key: Arc<dyn Fn() + Send + Sync>,
    /// Something went wrong that does not end the output.
    pub warn: Arc<dyn Fn(&'static str, String) + Send + Sync>,
}

impl std::fmt::Debug for Talk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Talk")
    }
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
    /// The folders that renditions are written into, in the output's own.
    pub folders: Vec<String>,
    /// Where segments begin, when the source's key frames decide it.
    pub boundaries: Option<Vec<Timestamp>>,
    /// The segments to make, if not all: the first, and the one to stop before.
    pub window: Option<(u64, Option<u64>)>,
    /// Raised when the leading track's first segment is there.
    pub first_segment: Option<Arc<AtomicBool>>,
    /// Whether the bit rate of the video may follow this output's network.
    pub adapts: bool,
    /// Told of every segment and playlist that is in its place.
    pub made: Option<Made>,
    /// The job's name, for names of files.
    pub job: String,
    /// The source goes on without us.
    pub live: bool,
    /// Length of the output, where known.
    pub length: Option<Timestamp>,
    /// What is on the sheets that it is given.
    pub previews: Previews,
    /// What is said while the job runs.
    pub talk: Option<Talk>,
}

impl Facts {
    /// Whether the files of an output are kept playable while they are made.
    fn is_safe(&self, spec: &OutputSpec, container: Container) -> bool {
        let can = matches!(container, Container::Mp4 | Container::Mov | Container::Mkv | Container::WebM);
        spec.crash_safe.unwrap_or(self.live && (can || container == Container::Ts))
    }

    fn tell_saved(&self, saved: Saved) {
        if let Some(talk) = &self.talk {
            (talk.saved)(saved);
        }
    }

    fn ask_key(&self) {
        if let Some(talk) = &self.talk {
            (talk.ask_key)();
        }
    }

    fn warn(&self, code: &'static str, message: String) {
        if let Some(talk) = &self.talk {
            (talk.warn)(code, message);
        }
    }
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
    /// Width and height of what is shown as the cover; files otherwise.
    pub picture: Option<(u32, u32)>,
    /// What the source says of it: a cover's title, and which it is (`comment`).
    pub tags: Vec<(String, String)>,
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

    /// Says that nothing more of `track` comes. `finish` says it of all.
    ///
    /// # Errors
    /// I/O errors by name of the file.
    fn end(&mut self, _track: usize) -> Result<()> {
        Ok(())
    }

    /// Obeys a command.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unsupported`] for one that means nothing to it. The output goes on.
    fn command(&mut self, command: Command) -> Result<()> {
        Err(Error::unsupported(format!("this output cannot {command}")))
    }

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
