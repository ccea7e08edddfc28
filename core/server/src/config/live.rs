//! Settings of the live origin.

use super::Secret;
use serde::{Deserialize, Serialize};

/// The live origin: what is published to this server, and what it makes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LiveConfig {
    /// Whether anything of it runs.
    pub enabled: bool,
    /// TCP port for RTMP publishers and readers; null for none, 0 takes a free one.
    pub rtmp_port: Option<u16>,
    /// Whether a new publisher replaces the one that is there; else it is refused.
    pub takeover: bool,
    /// Streams at once.
    pub max_streams: usize,
    /// Connections of publishers and readers at once, per protocol.
    pub max_connections: usize,
    /// Needed as `?key=` of a publisher's address when set.
    pub publish_key: Option<Secret>,
    /// Needed as `?key=` of a reader's address when set.
    pub read_key: Option<Secret>,
}

impl Default for LiveConfig {
    fn default() -> Self {
        LiveConfig {
            enabled: false,
            rtmp_port: Some(1935),
            takeover: true,
            max_streams: 1000,
            max_connections: 1000,
            publish_key: None,
            read_key: None,
        }
    }
}
