//! Settings of the live origin.

use super::Secret;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The live origin: what is published to this server, and what it makes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LiveConfig {
    /// Whether anything of it runs.
    pub enabled: bool,
    /// TCP port for RTMP publishers and readers; null for none, 0 takes a free one.
    pub rtmp_port: Option<u16>,
    /// UDP port for WebRTC (WHIP and WHEP are asked for over HTTP); null for none, 0 takes a free one.
    pub webrtc_port: Option<u16>,
    /// Addresses that WebRTC clients are told, those of a router for instance; empty: those of the interfaces.
    pub webrtc_addresses: Vec<IpAddr>,
    /// Length of HLS and DASH segments, in seconds.
    pub segment_duration: f64,
    /// Length of low-latency parts, in seconds.
    pub part_duration: f64,
    /// Segments in a playlist.
    pub playlist_size: usize,
    /// How many seconds back one can seek; what the playlist has at least.
    pub dvr_seconds: f64,
    /// Whether there are parts, blocking requests and chunked segments.
    pub low_latency: bool,
    /// Whether DASH is made too.
    pub dash: bool,
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
            webrtc_port: Some(8189),
            webrtc_addresses: Vec::new(),
            segment_duration: 2.0,
            part_duration: 0.2,
            playlist_size: 10,
            dvr_seconds: 0.0,
            low_latency: true,
            dash: true,
            takeover: true,
            max_streams: 1000,
            max_connections: 1000,
            publish_key: None,
            read_key: None,
        }
    }
}
