//! PipeWire: the nodes there are, their sound and their pictures, and a camera of one's own. Built without the feature
//! `pipewire`, the same functions are there and answer [`Kind::Unsupported`].
//!
//! Every object here has a thread of its own on which PipeWire's loop runs; what it captured is waited for on the caller's
//! thread. Dropping an object ends its streams *inside* that loop, which is the only place where PipeWire does not call back
//! any more afterwards, and joins the thread.
//!
//! Nothing here ever lets the session manager choose or change what is captured: a stream goes to the node that it was told,
//! and when that is gone it stays without one.

#[cfg(feature = "pipewire")]
mod buffer;
#[cfg(feature = "pipewire")]
mod camera;
#[cfg(feature = "pipewire")]
mod graph;
mod nodes;
#[cfg(feature = "pipewire")]
mod params;
#[cfg(feature = "pipewire")]
mod sound;
#[cfg(feature = "pipewire")]
mod thread;
#[cfg(feature = "pipewire")]
mod video;
#[cfg(not(feature = "pipewire"))]
mod without;

mod pictures;

#[cfg(feature = "pipewire")]
pub use camera::Camera;
#[cfg(feature = "pipewire")]
pub use graph::nodes;
pub use nodes::{Node, NodeClass, SoundChunk, SoundOptions, SoundState, SoundTarget};
pub use pictures::{
    Bitmap, CameraOptions, Cursor, DmaBuf, DmaBufFormat, DmaBufPlane, Pixels, VideoEvent, VideoFormat,
    VideoFrame, VideoOptions,
};
#[cfg(feature = "pipewire")]
pub use sound::SoundStream;
#[cfg(feature = "pipewire")]
pub use video::VideoStream;
#[cfg(not(feature = "pipewire"))]
pub use without::{Camera, SoundStream, VideoStream, nodes};

use std::fmt;

/// What a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is no PipeWire here, or no such node.
    NotFound,
    /// Built without PipeWire, or the other side offers nothing that is understood here.
    Unsupported,
    /// The node, or PipeWire itself, went away.
    Gone,
    /// The system has no memory.
    Memory,
    /// PipeWire refused.
    Io,
}

/// A failure with its reason.
#[derive(Clone, Debug)]
pub struct Error {
    /// What it is about.
    pub kind: Kind,
    message: String,
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
