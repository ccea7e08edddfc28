//! What FFmpeg says when it fails.

use super::raw;
use std::borrow::Cow;
use std::ffi::{CStr, CString, c_int};
use std::fmt;
use std::io;

/// A negative `AVERROR` with the call it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The `AVERROR` value: a negated errno or one of FFmpeg's four-character tags.
    pub code: i32,
    context: Cow<'static, str>,
}

/// Classes of [`Error`] that callers act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// End of the stream or file.
    Eof,
    /// Not now: feed or drain the other side first, or (live devices) ask again.
    Again,
    /// An [`Interrupt`](super::Interrupt) was cancelled.
    Cancelled,
    /// The bytes are not what they claim to be.
    InvalidData,
    /// No such file, stream, host or page.
    NotFound,
    /// Permission or authorisation refused.
    Denied,
    /// Out of memory.
    Memory,
    /// A transport or disk failed.
    Io,
    /// This FFmpeg, format, codec or device cannot do it.
    Unsupported,
    /// An argument or option is wrong.
    Invalid,
    /// A deadline passed.
    TimedOut,
    /// An MP4 whose index lies behind its media, on a transport that cannot go back: it must be fetched whole.
    Backwards,
    /// Anything else.
    Other,
}

/// Result of a call into FFmpeg.
pub type Result<T> = std::result::Result<T, Error>;

const fn tag(s: &[u8; 4]) -> i32 {
    -i32::from_le_bytes(*s)
}

pub(crate) const EOF: i32 = tag(b"EOF ");
pub(crate) const EXIT: i32 = tag(b"EXIT");
pub(crate) const AGAIN: i32 = -libc::EAGAIN;
pub(crate) const INVALID_DATA: i32 = tag(b"INDA");
pub(crate) const INVALID: i32 = -libc::EINVAL;
pub(crate) const MEMORY: i32 = -libc::ENOMEM;
/// A [`Permit`](super::Permit) said no; the context is its reason.
pub(crate) const REFUSED: i32 = tag(b"GSRF");
/// The object that the bytes come from failed; the context is its reason.
pub(crate) const OBJECT: i32 = tag(b"GSOB");
pub(crate) const BACKWARDS: i32 = tag(b"GSBW");
pub(crate) const TIMED_OUT: i32 = -libc::ETIMEDOUT;

impl Error {
    pub(crate) fn new(code: i32, context: impl Into<Cow<'static, str>>) -> Self {
        Error { code, context: context.into() }
    }

    pub(crate) fn memory(context: &'static str) -> Self {
        Error::new(MEMORY, context)
    }

    pub(crate) fn invalid(context: impl Into<Cow<'static, str>>) -> Self {
        Error::new(INVALID, context)
    }

    /// What was being done: the FFmpeg operation and its object (`open http://…`).
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The class of the failure.
    pub fn kind(&self) -> Kind {
        const HTTP_401: i32 = tag(&[0xF8, b'4', b'0', b'1']);
        const HTTP_403: i32 = tag(&[0xF8, b'4', b'0', b'3']);
        const HTTP_404: i32 = tag(&[0xF8, b'4', b'0', b'4']);
        const HTTP_400: i32 = tag(&[0xF8, b'4', b'0', b'0']);
        const HTTP_4XX: i32 = tag(&[0xF8, b'4', b'X', b'X']);
        const HTTP_5XX: i32 = tag(&[0xF8, b'5', b'X', b'X']);
        const HTTP_429: i32 = tag(&[0xF8, b'4', b'2', b'9']);
        const BSF: i32 = tag(&[0xF8, b'B', b'S', b'F']);
        const DEC: i32 = tag(&[0xF8, b'D', b'E', b'C']);
        const DEM: i32 = tag(&[0xF8, b'D', b'E', b'M']);
        const ENC: i32 = tag(&[0xF8, b'E', b'N', b'C']);
        const FIL: i32 = tag(&[0xF8, b'F', b'I', b'L']);
        const MUX: i32 = tag(&[0xF8, b'M', b'U', b'X']);
        const OPT: i32 = tag(&[0xF8, b'O', b'P', b'T']);
        const PRO: i32 = tag(&[0xF8, b'P', b'R', b'O']);
        const STR: i32 = tag(&[0xF8, b'S', b'T', b'R']);
        const PATCHWELCOME: i32 = tag(b"PAWE");
        const EXPERIMENTAL: i32 = -0x2bb2_afa8;
        match self.code {
            EOF => return Kind::Eof,
            EXIT => return Kind::Cancelled,
            REFUSED => return Kind::Denied,
            OBJECT => return Kind::Io,
            BACKWARDS => return Kind::Backwards,
            INVALID_DATA => return Kind::InvalidData,
            HTTP_404 | STR => return Kind::NotFound,
            HTTP_401 | HTTP_403 => return Kind::Denied,
            HTTP_400 | HTTP_4XX | HTTP_429 | HTTP_5XX => return Kind::Io,
            BSF | DEC | DEM | ENC | FIL | MUX | PRO | PATCHWELCOME | EXPERIMENTAL => {
                return Kind::Unsupported;
            }
            OPT => return Kind::Invalid,
            // The numbers of their own (1 to 7, before these bytes) that FFmpeg's AC-3 and AAC header parsers have.
            code if code < 0 && (code.wrapping_neg() & 0xff_ffff) == 0x03_0c0a => return Kind::InvalidData,
            _ => {}
        }
        match self.code.wrapping_neg() {
            libc::EAGAIN => Kind::Again,
            libc::ENOENT | libc::ENODEV | libc::ENXIO => Kind::NotFound,
            libc::EACCES | libc::EPERM | libc::EROFS => Kind::Denied,
            libc::ENOMEM => Kind::Memory,
            libc::ENOSYS | libc::ENOTSUP => Kind::Unsupported,
            libc::EINVAL | libc::ERANGE | libc::EDOM => Kind::Invalid,
            libc::ETIMEDOUT => Kind::TimedOut,
            libc::EIO
            | libc::EPIPE
            | libc::ECONNREFUSED
            | libc::ECONNRESET
            | libc::ECONNABORTED
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::ENETDOWN
            | libc::ENOTCONN
            | libc::EADDRINUSE
            | libc::EADDRNOTAVAIL
            | libc::ENOSPC
            | libc::EFBIG
            | libc::EISDIR
            | libc::ENOTDIR
            | libc::EEXIST
            | libc::EBUSY
            | libc::EMFILE
            | libc::ENFILE
            | libc::ESPIPE => Kind::Io,
            _ => Kind::Other,
        }
    }

    /// Whether the object that the application gave to be read failed, which no damage explains.
    pub fn is_of_the_object(&self) -> bool {
        self.code == OBJECT
    }

    /// FFmpeg's text for the code alone; of a refusal or a failure of the application's object, its reason.
    pub fn message(&self) -> String {
        match self.code {
            REFUSED | OBJECT => return self.context.to_string(),
            BACKWARDS => return "its index lies behind its media, and one cannot go back there".into(),
            _ => {}
        }
        let mut text = [0 as std::ffi::c_char; 256];
        // SAFETY: the buffer's length is passed and av_strerror always terminates it.
        let mut text = unsafe {
            raw::av_strerror(self.code, text.as_mut_ptr(), text.len());
            CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned()
        };
        if self.kind() == Kind::Memory {
            // Damage is the likelier reason.
            text.push_str(&format!(" (one piece may have {} MiB at most)", super::memory::LARGEST >> 20));
        }
        text
    }

    pub(crate) fn with(mut self, detail: &str) -> Self {
        self.context = format!("{}: {detail}", self.context).into();
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.context.is_empty() || matches!(self.code, REFUSED | OBJECT) {
            f.write_str(&self.message())
        } else {
            write!(f, "{}: {}", self.context, self.message())
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(e: Error) -> io::Error {
        let kind = match e.kind() {
            Kind::Eof => io::ErrorKind::UnexpectedEof,
            Kind::Again => io::ErrorKind::WouldBlock,
            Kind::Cancelled => io::ErrorKind::Interrupted,
            Kind::InvalidData => io::ErrorKind::InvalidData,
            Kind::NotFound => io::ErrorKind::NotFound,
            Kind::Denied => io::ErrorKind::PermissionDenied,
            Kind::Memory => io::ErrorKind::OutOfMemory,
            Kind::Unsupported => io::ErrorKind::Unsupported,
            Kind::Invalid => io::ErrorKind::InvalidInput,
            Kind::TimedOut => io::ErrorKind::TimedOut,
            Kind::Backwards => io::ErrorKind::NotSeekable,
            Kind::Io | Kind::Other => io::ErrorKind::Other,
        };
        io::Error::new(kind, e)
    }
}

/// The AVERROR of an I/O error of ours.
pub(crate) fn code_of(e: &io::Error) -> i32 {
    if let Some(errno) = e.raw_os_error().filter(|n| *n > 0) {
        return -errno;
    }
    -match e.kind() {
        io::ErrorKind::NotFound => libc::ENOENT,
        io::ErrorKind::PermissionDenied => libc::EACCES,
        io::ErrorKind::TimedOut => libc::ETIMEDOUT,
        io::ErrorKind::OutOfMemory => libc::ENOMEM,
        io::ErrorKind::Unsupported => libc::ENOSYS,
        io::ErrorKind::InvalidInput => libc::EINVAL,
        io::ErrorKind::BrokenPipe => libc::EPIPE,
        io::ErrorKind::ConnectionReset => libc::ECONNRESET,
        io::ErrorKind::ConnectionRefused => libc::ECONNREFUSED,
        io::ErrorKind::StorageFull => libc::ENOSPC,
        _ => libc::EIO,
    }
}

/// Turns a return value into a result.
pub(crate) fn check(code: c_int, context: impl Into<Cow<'static, str>>) -> Result<c_int> {
    if code < 0 { Err(Error::new(code, context)) } else { Ok(code) }
}

/// A C string, or an error naming `what` when the text holds a NUL.
pub(crate) fn c_string(text: &str, what: &'static str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::invalid(format!("{what} holds a NUL byte")))
}

/// As [`c_string`], for what may be absent.
pub(crate) fn c_option(text: Option<&str>, what: &'static str) -> Result<Option<CString>> {
    text.map(|t| c_string(t, what)).transpose()
}

pub(crate) fn as_ptr(text: &Option<CString>) -> *const std::ffi::c_char {
    text.as_ref().map_or(std::ptr::null(), |t| t.as_ptr())
}

/// Copies a C string; NULL is the empty one.
///
/// # Safety
/// `text` is NULL or a terminated string that lives through the call.
pub(crate) unsafe fn text(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_classified_and_named() {
        for (code, kind, text) in [
            (EOF, Kind::Eof, "End of file"),
            (EXIT, Kind::Cancelled, "Immediate exit requested"),
            (INVALID_DATA, Kind::InvalidData, "Invalid data found when processing input"),
            (AGAIN, Kind::Again, "Resource temporarily unavailable"),
            (tag(&[0xF8, b'E', b'N', b'C']), Kind::Unsupported, "Encoder not found"),
            (tag(&[0xF8, b'O', b'P', b'T']), Kind::Invalid, "Option not found"),
            (tag(&[0xF8, b'4', b'0', b'4']), Kind::NotFound, "Server returned 404 Not Found"),
            (-0x2bb2_afa8, Kind::Unsupported, "Experimental feature"),
            (-0x103_0c0a, Kind::InvalidData, "Error number -16976906 occurred"),
            (-libc::ENOENT, Kind::NotFound, "No such file or directory"),
            (-libc::ENOSPC, Kind::Io, "No space left on device"),
        ] {
            let e = Error::new(code, "open x");
            assert_eq!(e.kind(), kind, "{text}");
            assert_eq!(e.to_string(), format!("open x: {}", e.message()));
            assert!(e.message().starts_with(text), "{} for {text}", e.message());
        }
    }
}
