//! What the encoder's driver says when it fails.

use super::values::*;
use std::borrow::Cow;
use std::fmt;

/// Classes of [`Error`] that callers act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// There is no NVENC library.
    Absent,
    /// The driver's interface is older than 12.2.
    TooOld,
    /// The device has no encoder.
    NoEncoder,
    /// The driver allows no further session (or has no memory for one, which it says with the same number).
    Sessions,
    /// Device memory is exhausted.
    Memory,
    /// The driver or the device cannot do it.
    Unsupported,
    /// An argument is wrong.
    Invalid,
    /// Not now: all outputs are in use, or the encoder is busy; retrieve and try again.
    Busy,
    /// The device or its context is lost; the session is of no more use.
    Lost,
    /// Anything else.
    Other,
}

/// A failed call: what was being done, the driver's status and its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    status: Option<u32>,
    context: Cow<'static, str>,
    detail: String,
}

/// Result of a call into NVENC.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(super) fn new(kind: Kind, context: impl Into<Cow<'static, str>>) -> Error {
        Error { kind, status: None, context: context.into(), detail: String::new() }
    }

    pub(super) fn invalid(context: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Kind::Invalid, context)
    }

    pub(super) fn unsupported(context: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Kind::Unsupported, context)
    }

    pub(super) fn status(status: u32, context: impl Into<Cow<'static, str>>, detail: String) -> Error {
        Error { kind: kind_of(status), status: Some(status), context: context.into(), detail }
    }

    /// The same failure, as one of opening a session: a limit is reported as memory by some drivers, as a wrong client
    /// key by others.
    pub(super) fn at_open(mut self) -> Error {
        if matches!(self.status, Some(ERR_OUT_OF_MEMORY | ERR_INCOMPATIBLE_CLIENT_KEY)) {
            self.kind = Kind::Sessions;
        }
        self
    }

    /// The class of the failure.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The driver's status, where it was the driver that refused.
    pub fn code(&self) -> Option<u32> {
        self.status
    }

    /// What was being done.
    pub fn context(&self) -> &str {
        &self.context
    }
}

fn kind_of(status: u32) -> Kind {
    match status {
        ERR_NO_ENCODE_DEVICE | ERR_UNSUPPORTED_DEVICE => Kind::NoEncoder,
        ERR_INVALID_ENCODERDEVICE | ERR_INVALID_DEVICE | ERR_DEVICE_NOT_EXIST => Kind::Lost,
        ERR_OUT_OF_MEMORY => Kind::Memory,
        ERR_UNSUPPORTED_PARAM | ERR_UNIMPLEMENTED => Kind::Unsupported,
        ERR_INVALID_PTR | ERR_INVALID_EVENT | ERR_INVALID_PARAM | ERR_INVALID_CALL => Kind::Invalid,
        ERR_LOCK_BUSY | ERR_ENCODER_BUSY => Kind::Busy,
        ERR_INVALID_VERSION => Kind::TooOld,
        _ => Kind::Other,
    }
}

fn name(status: u32) -> &'static str {
    match status {
        ERR_NO_ENCODE_DEVICE => "no encoder on this device",
        ERR_UNSUPPORTED_DEVICE => "device not supported",
        ERR_INVALID_ENCODERDEVICE => "invalid encoder device",
        ERR_INVALID_DEVICE => "invalid device",
        ERR_DEVICE_NOT_EXIST => "the device does not exist any more",
        ERR_INVALID_PTR => "invalid pointer",
        ERR_INVALID_EVENT => "invalid event",
        ERR_INVALID_PARAM => "invalid parameter",
        ERR_INVALID_CALL => "invalid call",
        ERR_OUT_OF_MEMORY => "out of memory",
        ERR_ENCODER_NOT_INITIALIZED => "encoder not initialised",
        ERR_UNSUPPORTED_PARAM => "unsupported parameter",
        ERR_LOCK_BUSY => "lock busy",
        ERR_NOT_ENOUGH_BUFFER => "buffer too small",
        ERR_INVALID_VERSION => "invalid struct version",
        ERR_MAP_FAILED => "mapping failed",
        ERR_NEED_MORE_INPUT => "needs more input",
        ERR_ENCODER_BUSY => "encoder busy",
        ERR_GENERIC => "generic error",
        ERR_INCOMPATIBLE_CLIENT_KEY => "incompatible client key",
        ERR_UNIMPLEMENTED => "not implemented",
        ERR_RESOURCE_REGISTER_FAILED => "registering failed",
        ERR_RESOURCE_NOT_REGISTERED => "resource not registered",
        ERR_RESOURCE_NOT_MAPPED => "resource not mapped",
        _ => "unknown status",
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        if let Some(status) = self.status {
            write!(f, ": {} ({status})", name(status))?;
        }
        match (self.kind, self.status) {
            (Kind::Sessions, Some(_)) => f.write_str(": no further encode session is allowed")?,
            _ if !self.detail.is_empty() => write!(f, ": {}", self.detail)?,
            _ => {}
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<crate::cuda::Error> for Error {
    fn from(e: crate::cuda::Error) -> Error {
        use crate::cuda::Kind as Cuda;
        let kind = match e.kind() {
            Cuda::Absent => Kind::Absent,
            Cuda::NoDevice | Cuda::Lost => Kind::Lost,
            Cuda::Memory => Kind::Memory,
            Cuda::Invalid => Kind::Invalid,
            Cuda::Unsupported => Kind::Unsupported,
            Cuda::Other => Kind::Other,
        };
        Error::new(kind, e.to_string())
    }
}
