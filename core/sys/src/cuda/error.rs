//! What the CUDA driver says when it fails.

use super::api;
use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_int};
use std::fmt;

/// A `CUresult`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(pub i32);

/// Classes of [`Error`] that callers act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// There is no driver, or it lacks a function.
    Absent,
    /// There is no such device, or it is taken.
    NoDevice,
    /// Device or host memory is exhausted.
    Memory,
    /// An argument is wrong: a size, a range, a kernel's argument.
    Invalid,
    /// The device cannot do it.
    Unsupported,
    /// The context is broken (illegal address, hardware error, device lost): nothing works in it any more.
    Lost,
    /// Anything else.
    Other,
}

/// A failed call with what it was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    status: Option<Status>,
    context: Cow<'static, str>,
}

/// Result of a call into CUDA.
pub type Result<T> = std::result::Result<T, Error>;

impl Status {
    /// The driver is not initialised in this process; also after a fork.
    pub const NOT_INITIALIZED: Status = Status(3);
    /// Work is still queued.
    pub(crate) const NOT_READY: Status = Status(600);

    /// The class of the status.
    pub fn kind(self) -> Kind {
        match self.0 {
            2 => Kind::Memory,
            3 | 34 | 802 | 803 | 804 | 999 => Kind::Absent,
            100 | 101 | 46 => Kind::NoDevice,
            1 | 201 | 300 | 400 | 500 | 708 | 709 => Kind::Invalid,
            209 | 216 | 218 | 220 | 222 | 801 => Kind::Unsupported,
            4 | 213 | 214 | 700..=707 | 710 | 714..=719 => Kind::Lost,
            _ => Kind::Other,
        }
    }

    /// The driver's name of it (`CUDA_ERROR_OUT_OF_MEMORY`), or the number.
    pub fn name(self) -> String {
        let ask = |f: unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int| {
            let mut text = std::ptr::null();
            // SAFETY: gives a static string or NULL.
            (unsafe { f(self.0, &mut text) } == 0 && !text.is_null())
                // SAFETY: terminated, and lives as long as the library.
                .then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
        };
        match api::loaded() {
            Ok(api) => match (ask(api.error_name), ask(api.error_text)) {
                (Some(name), Some(text)) => format!("{text} ({name})"),
                (Some(name), None) => name,
                _ => format!("CUDA error {}", self.0),
            },
            Err(_) => format!("CUDA error {}", self.0),
        }
    }
}

impl Error {
    pub(crate) fn new(status: Status, context: impl Into<Cow<'static, str>>) -> Error {
        Error { kind: status.kind(), status: Some(status), context: context.into() }
    }

    pub(crate) fn absent(context: impl Into<Cow<'static, str>>) -> Error {
        Error { kind: Kind::Absent, status: None, context: context.into() }
    }

    pub(crate) fn invalid(context: impl Into<Cow<'static, str>>) -> Error {
        Error { kind: Kind::Invalid, status: None, context: context.into() }
    }

    /// The class of the failure.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What the driver returned, where it was the driver that refused.
    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// What was being done.
    pub fn context(&self) -> &str {
        &self.context
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{}: {}", self.context, status.name()),
            None => f.write_str(&self.context),
        }
    }
}

impl std::error::Error for Error {}

/// Turns a status into a result.
pub(crate) fn check(code: c_int, context: impl Into<Cow<'static, str>>) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(Error::new(Status(code), context)) }
}
