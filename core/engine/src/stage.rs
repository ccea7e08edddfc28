//! What a pipeline is made of: a [`Source`] pulls items out of the world, a [`Stage`] turns items into other items, a
//! [`Sink`] puts them back into the world.
//!
//! A stage is pushed one item and emits any number into an outlet; `finish` drains it. There is no "try again" inside
//! the engine. Implementations run on one thread at a time and need not be `Sync`.

use crate::error::Result;
use crate::spec::Preset;
use crate::time::Rational;

/// Where a stage emits to.
pub trait Outlet<T> {
    /// Takes one item.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Cancelled`] when nobody downstream wants more; a stage passes it up and stops.
    fn emit(&mut self, item: T) -> Result<()>;
}

impl<T> Outlet<T> for Vec<T> {
    fn emit(&mut self, item: T) -> Result<()> {
        self.push(item);
        Ok(())
    }
}

/// An outlet made of a closure.
pub struct OutletFn<F>(pub F);

impl<T, F: FnMut(T) -> Result<()>> Outlet<T> for OutletFn<F> {
    fn emit(&mut self, item: T) -> Result<()> {
        (self.0)(item)
    }
}

/// Something that delivers items until it ends.
pub trait Source<T>: Send {
    /// The next item; `None` at the end. May block; cancellation comes through the source's own interrupt.
    ///
    /// # Errors
    /// Whatever reading can fail with; after an error the source is finished.
    fn next(&mut self) -> Result<Option<T>>;

    /// What a user should know that has happened since this was called last. Does not wait.
    fn notes(&mut self) -> Vec<Note> {
        Vec::new()
    }
}

/// Something that a user should know although the source goes on or ends as it should; becomes a warning event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The event's code: `source`, `fallback`, ….
    pub code: &'static str,
    /// What happened.
    pub message: String,
}

/// Something that turns items into other items.
pub trait Stage<In, Out>: Send {
    /// Takes `item` and emits what it yields.
    ///
    /// # Errors
    /// The stage's own failure, or the outlet's.
    fn push(&mut self, item: In, out: &mut dyn Outlet<Out>) -> Result<()>;

    /// Emits what is still inside. The stage takes nothing after it.
    ///
    /// # Errors
    /// As for [`Stage::push`].
    fn finish(&mut self, out: &mut dyn Outlet<Out>) -> Result<()>;

    /// Changes the stage while it runs.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unsupported`] when the stage cannot do it; it then goes on unchanged.
    fn control(&mut self, control: &Control) -> Result<()> {
        Err(crate::Error::unsupported(format!("this stage cannot {control}")))
    }

    /// Whether everything that it lets through has passed, so that its source need not be read further.
    fn is_done(&self) -> bool {
        false
    }

    /// Whether it takes [`Control::FrameRate`], and gives so many frames a second then.
    fn paces(&self) -> bool {
        false
    }

    /// Whether it takes [`Control::Size`], and gives pictures of that size then.
    fn resizes(&self) -> bool {
        false
    }
}

/// Something that puts items into the world.
pub trait Sink<T>: Send {
    /// Takes one item.
    ///
    /// # Errors
    /// Whatever writing can fail with.
    fn write(&mut self, item: T) -> Result<()>;

    /// Completes the output (index, trailer, playlist, rename) and says where it is.
    ///
    /// # Errors
    /// Whatever writing can fail with; nothing half-written stays behind unless the job keeps partial output.
    fn finish(&mut self) -> Result<()>;

    /// Gives the output up: removes what was written, or (`keep`) leaves it as playable as the format allows.
    fn abort(&mut self, keep: bool);
}

/// A change to a running stage.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Control {
    /// New average bit rate and, if given, peak bit rate, in bits per second.
    Bitrate {
        /// Average.
        target: u64,
        /// Peak; `None` keeps the ratio to the average.
        max: Option<u64>,
    },
    /// The next frame becomes a key frame.
    ForceKeyFrame,
    /// Bytes that go with the next picture: an SEI message of H.264 or HEVC, or a metadata OBU of AV1.
    Message {
        /// SEI `payloadType`, or AV1's `metadata_type`.
        kind: u32,
        /// The payload, without header or escapes.
        payload: bytes::Bytes,
    },
    /// A receiver did not get the packet with this presentation time, in ticks of the encoder's packets: pictures from now on
    /// are not predicted from it.
    Lost(i64),
    /// Frames a second from now on: what paces them, if anything does, leaves some out or repeats some, and rate control
    /// counts on it.
    FrameRate(Rational),
    /// Pictures have this size from now on. Scalers make it so; an encoder says whether it can follow.
    Size {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// The encoder has this preset from its next key frame on.
    Preset(Preset),
    /// The track is no longer encoded from a later key frame on; its output goes on with the packets of the next smaller
    /// video. The thread of the encoder obeys, not the encoder.
    Leave,
}

impl std::fmt::Display for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Control::Bitrate { target, .. } => write!(f, "change its bit rate to {target}"),
            Control::ForceKeyFrame => f.write_str("force a key frame"),
            Control::Message { kind, .. } => write!(f, "write a message of type {kind} into the stream"),
            Control::Lost(_) => f.write_str("do without a picture that was lost"),
            Control::FrameRate(rate) => write!(f, "change its frame rate to {rate}"),
            Control::Size { width, height } => write!(f, "change its size to {width}x{height}"),
            Control::Preset(preset) => write!(f, "change its preset to {preset:?}"),
            Control::Leave => f.write_str("leave its place to another"),
        }
    }
}
