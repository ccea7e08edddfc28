//! What is left without PipeWire: the same names, and one answer.

use super::{Error, Kind, VideoEvent, VideoOptions};
use std::os::fd::OwnedFd;
use std::time::Duration;

fn refused<T>() -> Result<T, Error> {
    Err(Error::new(Kind::Unsupported, "this build has no PipeWire (feature \"pipewire\")"))
}

/// The pictures of a video node; cannot be made in this build.
#[derive(Debug)]
pub enum VideoStream {}

impl VideoStream {
    /// Refuses.
    ///
    /// # Errors
    /// [`Kind::Unsupported`].
    pub fn connect(_: Option<OwnedFd>, _: u32, _: VideoOptions) -> Result<VideoStream, Error> {
        refused()
    }

    /// The next event; there is no stream that could have one.
    ///
    /// # Errors
    /// None.
    pub fn next(&mut self, _: Duration) -> Result<Option<VideoEvent>, Error> {
        match *self {}
    }

    /// Pictures dropped because nobody took them in time.
    pub fn dropped(&self) -> u64 {
        match *self {}
    }
}
