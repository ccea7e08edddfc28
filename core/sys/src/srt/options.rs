//! What a connection is made with, and what a listener decides.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Settings of a connection. `Debug` shows neither passphrase nor stream id.
#[derive(Clone)]
pub struct Options {
    /// Time for repairing losses; the larger of both peers' counts.
    pub latency: Duration,
    /// Encrypts; 10 to 79 bytes, and the peer must have the same.
    pub passphrase: Option<String>,
    /// Bytes of the key made from the passphrase: 16, 24 or 32; 0 = as the peer says, or 16.
    pub key_length: u8,
    /// Tells the listener which stream is meant; at most 512 bytes.
    pub stream_id: Option<String>,
    /// The most that is sent, repairs included, in bytes per second; `None` = no limit.
    pub max_bandwidth: Option<u64>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// A peer that is silent for so long is gone.
    pub idle_timeout: Duration,
    /// Fails where another program listens at the address, instead of sharing it.
    pub exclusive: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            latency: Duration::from_millis(120),
            passphrase: None,
            key_length: 0,
            stream_id: None,
            max_bandwidth: None,
            connect_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(5),
            exclusive: false,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("latency", &self.latency)
            .field("passphrase", &self.passphrase.as_ref().map(|_| "***"))
            .field("key_length", &self.key_length)
            .field("stream_id", &self.stream_id.as_ref().map(|_| "***"))
            .field("max_bandwidth", &self.max_bandwidth)
            .finish_non_exhaustive()
    }
}

/// Who calls a listener. `Debug` does not show the stream id, which may be a secret.
pub struct Caller {
    /// Where it calls from.
    pub peer: SocketAddr,
    /// What it wants, in its words; empty when it says nothing.
    pub stream_id: String,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// What becomes of a caller. It is asked on libsrt's receiving thread, which all connections of the listener share: decide
/// from what is in memory.
#[derive(Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may connect, with the listener's own passphrase, if it has one.
    Accept,
    /// It may connect if it has this passphrase.
    AcceptWith(String),
    /// It may not; it is told why.
    Refuse(Refusal),
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::Accept => f.write_str("Accept"),
            Decision::AcceptWith(_) => f.write_str("AcceptWith(***)"),
            Decision::Refuse(why) => f.debug_tuple("Refuse").field(why).finish(),
        }
    }
}

/// Why a caller is refused, in the numbers of SRT's access control (HTTP's with 1000 added).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Refusal {
    /// Its stream id is not understood.
    BadRequest = 1400,
    /// It has not shown that it may.
    Unauthorized = 1401,
    /// There are too many.
    Overload = 1402,
    /// It may not.
    Forbidden = 1403,
    /// There is no such stream.
    NotFound = 1404,
    /// It wants to do with it what cannot be done.
    BadMode = 1405,
    /// Somebody publishes the stream already.
    Conflict = 1409,
    /// The listener has failed.
    Internal = 1500,
}
