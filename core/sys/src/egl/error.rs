//! What EGL and OpenGL say when they fail.

use std::fmt;

/// Classes of [`Error`] that callers act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// There is no EGL here, or none for the device.
    Absent,
    /// The driver does not do it: an extension, a format or an arrangement of pixels that it lacks.
    Unsupported,
    /// An argument is wrong.
    Invalid,
    /// Anything else.
    Failed,
}

/// A failed call with what it was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    message: String,
}

/// Result of a call into EGL.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into() }
    }

    pub(super) fn absent(message: impl Into<String>) -> Error {
        Error::new(Kind::Absent, message)
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Error {
        Error::new(Kind::Unsupported, message)
    }

    pub(super) fn invalid(message: impl Into<String>) -> Error {
        Error::new(Kind::Invalid, message)
    }

    pub(super) fn failed(message: impl Into<String>) -> Error {
        Error::new(Kind::Failed, message)
    }

    /// The class of the failure.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<crate::cuda::Error> for Error {
    fn from(e: crate::cuda::Error) -> Error {
        let kind = match e.kind() {
            crate::cuda::Kind::Absent | crate::cuda::Kind::NoDevice => Kind::Absent,
            crate::cuda::Kind::Unsupported => Kind::Unsupported,
            crate::cuda::Kind::Invalid => Kind::Invalid,
            _ => Kind::Failed,
        };
        Error::new(kind, e.to_string())
    }
}

impl From<crate::ffmpeg::Error> for Error {
    fn from(e: crate::ffmpeg::Error) -> Error {
        Error::failed(e.to_string())
    }
}
