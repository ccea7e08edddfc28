//! What the owner is told of a pushed output.

use crate::event::PushState;
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};

/// Statistics of a pushed output.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PushStats {
    /// Index of the output.
    pub output: usize,
    /// The address, without keys and passphrases.
    pub target: String,
    /// What the connection does.
    pub state: PushState,
    /// Connections that were made.
    pub connections: u64,
    /// Bytes of media handed to the network.
    pub bytes: u64,
    /// Bits per second over the last two seconds.
    pub bitrate: u64,
    /// Seconds of media that wait to be sent.
    pub delay: f64,
    /// Bytes that wait to be sent.
    pub queued: usize,
    /// Pictures that were not sent because too much waited or there was no connection.
    pub dropped_frames: u64,
    /// The bit rate that the encoder is asked for, bits per second, when it adapts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_bitrate: Option<u64>,
    /// Round-trip time in milliseconds (SRT).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt: Option<f64>,
    /// Packets of the connection that the peer missed (SRT).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Packets of the connection that were sent again (SRT).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeated: Option<u64>,
    /// Packets of the connection that were too late to send (SRT).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<u64>,
}

/// The statistics between who makes them and who reads them.
#[derive(Clone, Default)]
pub(crate) struct Status(Arc<Mutex<PushStats>>);

impl Status {
    pub fn new(output: usize, target: String) -> Status {
        Status(Arc::new(Mutex::new(PushStats { output, target, ..PushStats::default() })))
    }

    pub fn read(&self) -> PushStats {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn update(&self, with: impl FnOnce(&mut PushStats)) {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
