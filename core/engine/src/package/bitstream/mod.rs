//! Readers (and, where a container needs them, writers) of the headers inside coded streams.
//!
//! They exist so that what a playlist, a manifest or an init segment says about a stream is what the stream itself
//! says. They read headers only and decode nothing. All of them are fed from the network: damaged or truncated input
//! is an [`ErrorKind::Format`] error, never a panic.

pub mod aac;
pub mod ac3;
pub mod av1;
mod bits;
pub mod captions;
pub mod flac;
pub mod h264;
pub mod hevc;
pub mod mp3;
pub mod nal;
pub mod opus;
pub mod vp9;

pub(crate) use bits::{BitReader, BitWriter};

use crate::error::{Error, ErrorKind};

/// The error of a header that cannot be what it claims to be.
pub(crate) fn damaged(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Format, what)
}

/// `data[at..at + len]`, or an error that names `what`.
pub(crate) fn slice<'a>(data: &'a [u8], at: usize, len: usize, what: &str) -> crate::Result<&'a [u8]> {
    at.checked_add(len).and_then(|end| data.get(at..end)).ok_or_else(|| damaged(format!("{what}: truncated")))
}
