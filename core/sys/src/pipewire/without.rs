//! What is left without PipeWire: the same names, and one answer.

use super::{
    CameraOptions, Error, Kind, Node, SoundChunk, SoundOptions, SoundState, SoundTarget, VideoEvent,
    VideoOptions,
};
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

/// A camera of our own; cannot be made in this build.
#[derive(Debug)]
pub enum Camera {}

impl Camera {
    /// Refuses.
    ///
    /// # Errors
    /// [`Kind::Unsupported`].
    pub fn open(_: CameraOptions) -> Result<Camera, Error> {
        refused()
    }

    /// Shows a picture; there is no camera that could.
    ///
    /// # Errors
    /// None.
    pub fn show(&self, _: bytes::Bytes) -> Result<(), Error> {
        match *self {}
    }

    /// Whether somebody watches.
    pub fn is_watched(&self) -> bool {
        match *self {}
    }

    /// Pictures that were given to those who watch.
    pub fn shown(&self) -> u64 {
        match *self {}
    }
}

/// Refuses.
///
/// # Errors
/// [`Kind::Unsupported`].
pub fn nodes() -> Result<Vec<Node>, Error> {
    refused()
}

/// The sound of nodes; cannot be made in this build.
#[derive(Debug)]
pub enum SoundStream {}

impl SoundStream {
    /// Refuses.
    ///
    /// # Errors
    /// [`Kind::Unsupported`].
    pub fn open(_: SoundTarget, _: &SoundOptions) -> Result<SoundStream, Error> {
        refused()
    }

    /// The next samples; there is no stream that could have some.
    ///
    /// # Errors
    /// None.
    pub fn next(&mut self, _: Duration) -> Result<Option<SoundChunk>, Error> {
        match *self {}
    }

    /// What it is doing.
    pub fn state(&self) -> SoundState {
        match *self {}
    }

    /// Listens to something else from now on.
    pub fn set_target(&self, _: SoundTarget) {
        match *self {}
    }
}
