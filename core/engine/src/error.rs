//! One error type for the whole engine: a [`ErrorKind`] to act on, a message to read, and the chain of causes.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What went wrong, in the dozen ways a caller can act on. Each is one negative `gs_status` in C and one exception
/// class in Python; the discriminants are that ABI and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[repr(i32)]
pub enum ErrorKind {
    /// An argument, a field of the document or a call sequence on a value that can never be right.
    Invalid = -1,
    /// The build, device, codec or container cannot do what was asked.
    Unsupported = -2,
    /// A file, stream, device or codec that does not exist.
    NotFound = -3,
    /// A GPU, driver, camera or other device failed.
    Device = -4,
    /// Host or device memory ran out.
    Memory = -5,
    /// Reading or writing failed: disk full, network cut, time-out.
    Io = -6,
    /// The media itself is damaged, encrypted or not media.
    Format = -7,
    /// The operation was cancelled by its owner.
    Cancelled = -8,
    /// The object is in a state in which the call makes no sense (for example a finished job).
    State = -9,
    /// A resource is in use or a limit (encoder sessions) is reached.
    Busy = -10,
    /// Permission was refused by the system, the user or a policy such as the protocol allow-list.
    Denied = -11,
    /// A defect in GhostStream. Please report it.
    Internal = -12,
}

impl ErrorKind {
    /// The kind's lower-case name as it appears in JSON events and in the C status table.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Invalid => "invalid",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Device => "device",
            ErrorKind::Memory => "memory",
            ErrorKind::Io => "io",
            ErrorKind::Format => "format",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::State => "state",
            ErrorKind::Busy => "busy",
            ErrorKind::Denied => "denied",
            ErrorKind::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An engine error. `Display` prints the message with its context, outermost first
/// (`out.mp4: cannot write header: No space left on device`). Cheap to clone so that one failure can be reported
/// to every waiter.
#[derive(Clone)]
pub struct Error {
    inner: std::sync::Arc<Inner>,
}

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync + 'static>>,
}

/// The engine's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A new error of `kind` with a message that names the field, file or device concerned.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { inner: std::sync::Arc::new(Inner { kind, message: message.into(), source: None }) }
    }

    /// As [`Error::new`], keeping the lower-level cause for [`std::error::Error::source`].
    pub fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Error {
            inner: std::sync::Arc::new(Inner {
                kind,
                message: message.into(),
                source: Some(Box::new(source)),
            }),
        }
    }

    /// Shorthand for an [`ErrorKind::Invalid`] error about the field at `path` of the document.
    pub fn invalid(path: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Invalid, format!("{path}: {message}"))
    }

    /// Shorthand for [`ErrorKind::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// Shorthand for [`ErrorKind::Cancelled`].
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "cancelled")
    }

    /// The kind to act on.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The message with its context, outermost first.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The same error about a field below `path` of the document: `outputs[0]` and `video.crf: …` become
    /// `outputs[0].video.crf: …`; a message that names no field becomes `outputs[0]: …`.
    pub fn at(self, path: impl fmt::Display) -> Self {
        let field = self.message().split_once(": ").map_or("", |(field, _)| field);
        let named = !field.is_empty()
            && field.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.[]".contains(&b))
            && field.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        let message = format!("{path}{}{}", if named { "." } else { ": " }, self.message());
        let kind = self.kind();
        Error { inner: std::sync::Arc::new(Inner { kind, message, source: Some(Box::new(self)) }) }
    }

    /// The same error seen from one level up: `context: message`.
    pub fn context(self, context: impl fmt::Display) -> Self {
        let kind = self.kind();
        let message = format!("{context}: {}", self.message());
        Error { inner: std::sync::Arc::new(Inner { kind, message, source: Some(Box::new(self)) }) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.inner.kind, self.inner.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_deref().map(|e| e as &(dyn std::error::Error + 'static))
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        let kind = match e.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                ErrorKind::Denied
            }
            std::io::ErrorKind::OutOfMemory => ErrorKind::Memory,
            std::io::ErrorKind::InvalidInput => ErrorKind::Invalid,
            _ => ErrorKind::Io,
        };
        Error::with_source(kind, e.to_string(), e)
    }
}

impl From<ghoststream_sys::ffmpeg::Error> for Error {
    fn from(e: ghoststream_sys::ffmpeg::Error) -> Self {
        use ghoststream_sys::ffmpeg::Kind;
        let kind = match e.kind() {
            Kind::Cancelled => ErrorKind::Cancelled,
            Kind::InvalidData | Kind::Eof => ErrorKind::Format,
            Kind::NotFound => ErrorKind::NotFound,
            Kind::Denied => ErrorKind::Denied,
            Kind::Memory => ErrorKind::Memory,
            Kind::Unsupported => ErrorKind::Unsupported,
            Kind::Invalid => ErrorKind::Invalid,
            Kind::Io | Kind::TimedOut => ErrorKind::Io,
            _ => ErrorKind::Internal,
        };
        Error::with_source(kind, e.to_string(), e)
    }
}

impl From<ghoststream_sys::cuda::Error> for Error {
    fn from(e: ghoststream_sys::cuda::Error) -> Self {
        use ghoststream_sys::cuda::Kind;
        let kind = match e.kind() {
            Kind::Memory => ErrorKind::Memory,
            Kind::Invalid => ErrorKind::Invalid,
            Kind::Unsupported => ErrorKind::Unsupported,
            Kind::Absent | Kind::NoDevice | Kind::Lost | Kind::Other => ErrorKind::Device,
        };
        Error::with_source(kind, e.to_string(), e)
    }
}

/// Adds what was being done to an error on its way up.
pub trait Context<T> {
    /// Prefixes an error's message with `context()`.
    fn context<C: fmt::Display>(self, context: impl FnOnce() -> C) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context<C: fmt::Display>(self, context: impl FnOnce() -> C) -> Result<T> {
        self.map_err(|e| e.into().context(context()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_join_into_a_path() {
        let at = |m: &str| Error::new(ErrorKind::Invalid, m).at("outputs[0]").message().to_string();
        assert_eq!(at("video.crf: no"), "outputs[0].video.crf: no");
        assert_eq!(at("audio[1].codec: no"), "outputs[0].audio[1].codec: no");
        assert_eq!(at("/tmp/a.mp4: exists"), "outputs[0]: /tmp/a.mp4: exists");
        assert_eq!(at("no"), "outputs[0]: no");
    }

    #[test]
    fn context_is_outermost_first_and_keeps_kind_and_source() {
        let e = Error::from(std::io::Error::from(std::io::ErrorKind::NotFound)).context("in.mkv");
        assert_eq!(e.kind(), ErrorKind::NotFound);
        assert!(e.message().starts_with("in.mkv: "));
        assert!(std::error::Error::source(&e).is_some());
    }
}
