//! Secure Reliable Transport: connections with statistics, and a listener that many peers call and that decides about each
//! by its stream id. libsrt is loaded when it is first needed; where it is missing everything answers
//! [`Kind::Unsupported`].
//!
//! FFmpeg speaks SRT too, but tells neither round-trip time nor losses, and its listener takes one peer.
//!
//! Messages keep their bounds: what one `send` takes, one `recv` gives. In live mode a message is at most
//! [`PAYLOAD`] bytes, seven packets of an MPEG transport stream.

#[cfg(target_os = "linux")]
mod address;
#[cfg(target_os = "linux")]
mod api;
#[cfg(target_os = "linux")]
mod listener;
#[cfg(not(target_os = "linux"))]
mod nowhere;
mod options;
#[cfg(target_os = "linux")]
mod socket;
mod stats;
#[cfg(all(test, target_os = "linux"))]
mod tests;

#[cfg(target_os = "linux")]
pub use listener::Listener;
#[cfg(not(target_os = "linux"))]
pub use nowhere::{Listener, Socket};
pub use options::{Caller, Decision, Options, Refusal};
#[cfg(target_os = "linux")]
pub use socket::Socket;
pub use stats::Stats;

use std::fmt;

/// The longest message of live mode, in bytes.
pub const PAYLOAD: usize = 1316;

/// What a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is no libsrt here, or it is too old.
    Unsupported,
    /// A setting that libsrt does not take.
    Invalid,
    /// Nobody answers at the address.
    NotFound,
    /// The peer refuses: its stream id, its passphrase, its own reasons.
    Denied,
    /// It took longer than was allowed.
    TimedOut,
    /// The connection is over.
    Closed,
    /// The caller asked for an end.
    Cancelled,
    /// The system has no socket, thread or memory.
    System,
    /// Anything else.
    Io,
}

/// A failure with its reason, which holds neither stream id nor passphrase.
#[derive(Clone, Debug)]
pub struct Error {
    /// What it is about.
    pub kind: Kind,
    message: String,
}

/// What everything here returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into() }
    }

    /// The kind of one of libsrt's error codes: thousands say where, the rest what.
    fn kind_of(code: i32) -> Kind {
        match (code / 1000, code % 1000) {
            (1, 1) => Kind::NotFound,
            (1, 2 | 4) => Kind::Denied,
            (1, _) | (3, _) => Kind::System,
            // A socket that libsrt no longer knows: newer ones forget at once what the peer has closed.
            (2, _) | (5, 4) => Kind::Closed,
            (5, _) => Kind::Invalid,
            (6, _) => Kind::TimedOut,
            _ => Kind::Io,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Whether libsrt can be used here.
///
/// # Errors
/// [`Kind::Unsupported`] with the reason.
pub fn available() -> Result<()> {
    #[cfg(target_os = "linux")]
    return api::api().map(drop);
    #[cfg(not(target_os = "linux"))]
    return Err(nowhere::nowhere());
}
