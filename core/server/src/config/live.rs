//! Settings of the live origin.

use super::Secret;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;

/// The live origin: what is published to this server, and what it makes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LiveConfig {
    /// Whether anything of it runs.
    pub enabled: bool,
    /// TCP port for RTMP publishers and readers; null for none, 0 takes a free one.
    pub rtmp_port: Option<u16>,
    /// TCP port for RTSP publishers and readers (8554 is usual); null for none, 0 takes a free one.
    pub rtsp_port: Option<u16>,
    /// UDP port for SRT publishers and readers (8890 is usual); null for none, 0 takes a free one.
    pub srt_port: Option<u16>,
    /// Time for repairing losses of SRT, in milliseconds; a peer that asks for more gets more.
    pub srt_latency_ms: u32,
    /// Encrypts SRT: who has not this passphrase (10 to 79 bytes) is refused.
    pub srt_passphrase: Option<Secret>,
    /// UDP port for WebRTC (WHIP and WHEP are asked for over HTTP); null for none, 0 takes a free one.
    pub webrtc_port: Option<u16>,
    /// Addresses that WebRTC clients are told, those of a router for instance; empty: those of the interfaces.
    pub webrtc_addresses: Vec<IpAddr>,
    /// Whether WHEP viewers get smaller renditions while the way to them is too narrow; such are transcoded for as long as
    /// one needs them.
    pub webrtc_adapt: bool,
    /// Length of HLS and DASH segments, in seconds.
    pub segment_duration: f64,
    /// Length of low-latency parts, in seconds.
    pub part_duration: f64,
    /// Segments in a playlist.
    pub playlist_size: usize,
    /// How many seconds back one can seek; what the playlist has at least.
    pub dvr_seconds: f64,
    /// A directory of the server's own that segments go to when they are old, so that a long `dvr_seconds` needs no memory;
    /// null keeps them in memory.
    pub spill: Option<PathBuf>,
    /// Whether there are parts, blocking requests and chunked segments.
    pub low_latency: bool,
    /// Whether DASH is made too.
    pub dash: bool,
    /// Whether there is HLS in MPEG-TS segments too, at `ts.m3u8`, for players that know no fragmented MP4.
    pub hls_ts: bool,
    /// Renditions (`720p`, `480p`) that are made of what is published; empty passes it through.
    pub ladder: Vec<String>,
    /// Where streams may be recorded; none are without it.
    pub recordings: Option<PathBuf>,
    /// How streams are recorded.
    pub record: RecordConfig,
    /// A port with the HLS and DASH service's interface (its own was 8083); null for none, 0 takes a free one.
    pub hls_dash_port: Option<u16>,
    /// A port for caches and players alone (the service's was 8084): files that may be kept for ever, and playlists.
    pub cdn_port: Option<u16>,
    /// A port with the GStreamer service's interface (its own was 5002).
    pub gstreamer_port: Option<u16>,
    /// Needed as `Authorization: Bearer` at the GStreamer service's interface when set.
    pub service_token: Option<Secret>,
    /// Streams that the server fetches by itself.
    pub sources: Vec<LiveSource>,
    /// What is shown of streams while those who publish them are away.
    pub slates: Vec<LiveSlate>,
    /// Streams that were asked for over HTTP end when no heartbeat came for this many seconds; 0 keeps them.
    pub stale_threshold: f64,
    /// How often that is looked for, in seconds.
    pub cleanup_interval: f64,
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
    /// Keys of single streams; the first that is for a stream counts, beside the two above.
    pub keys: Vec<StreamKey>,
    /// Signs tokens, which are as good as a key for one stream and some time.
    pub token_secret: Option<Secret>,
    /// Who is told when streams begin and end.
    pub hooks: HooksConfig,
}

/// How streams are recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordConfig {
    /// `mp4` (which is played while it is written too), `mkv` or `ts`: everything that is published is recorded in this
    /// form, below `recordings` in a directory of the stream's name. Null records what is asked for.
    pub all: Option<String>,
    /// Seconds after which a file ends at the next key frame.
    pub segment_seconds: f64,
    /// Seconds after which files are removed; 0 keeps them.
    pub keep_seconds: f64,
    /// The oldest files of a recording are removed when it has more bytes than this; 0 for no limit.
    pub max_bytes: u64,
}

impl Default for RecordConfig {
    fn default() -> Self {
        RecordConfig { all: None, segment_seconds: 3600.0, keep_seconds: 0.0, max_bytes: 0 }
    }
}

/// Services that are told when somebody publishes or watches a stream, and ceases to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HooksConfig {
    /// Where events are posted; none without any.
    pub urls: Vec<String>,
    /// Signs the calls; null takes what job callbacks are signed with.
    pub secret: Option<Secret>,
    /// Whether an answer other than success refuses who wants to publish or watch.
    pub authorize: bool,
}

/// What is needed for one stream, or for those whose names begin alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamKey {
    /// The stream's name, or the beginning of names and `*`: `team/*`.
    pub stream: String,
    /// Needed as `?key=` of its publisher's address when set.
    #[serde(default)]
    pub publish: Option<Secret>,
    /// Needed as `?key=` of its readers' addresses when set.
    #[serde(default)]
    pub read: Option<Secret>,
}

impl StreamKey {
    /// Whether it is for a stream of that name.
    pub fn is_for(&self, name: &str) -> bool {
        match self.stream.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == self.stream,
        }
    }
}

/// A stream that the server fetches by itself: a camera, another server, a film in a loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveSource {
    /// The stream's name.
    pub name: String,
    /// A URL that FFmpeg opens, the path of a file, or `pattern` for a test picture.
    pub url: String,
    /// Whether a file begins again when it is over.
    #[serde(default = "yes")]
    pub repeat: bool,
    /// Shown while the source is away: as `url`.
    #[serde(default)]
    pub slate: Option<String>,
    /// Whether it is fetched only while somebody reads or watches it.
    #[serde(default)]
    pub on_demand: bool,
    /// How many seconds after the last of them it is let go; three segments at least, for who plays asks once a segment.
    #[serde(default = "idle")]
    pub idle_timeout: f64,
    /// Renditions (`720p`, `480p`); empty passes it through.
    #[serde(default)]
    pub qualities: Vec<String>,
}

/// What is shown of a stream while who publishes it is away. Readers stay, and time goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveSlate {
    /// The stream's name.
    pub stream: String,
    /// A URL that FFmpeg opens, the path of a file, which is repeated, or `pattern` for a test picture.
    pub url: String,
    /// How many seconds the publisher may be away before it is shown.
    #[serde(default = "soon")]
    pub after: f64,
    /// Whether it is shown before the first publisher has come, too.
    #[serde(default)]
    pub at_once: bool,
}

fn soon() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

fn idle() -> f64 {
    10.0
}

/// What one of the replaced services was: its ports, and its variables in the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The GStreamer service: port 5002.
    Gstreamer,
    /// The HLS and DASH service: ports 8083 and 8084.
    HlsDash,
}

impl std::str::FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Profile, String> {
        match text {
            "gstreamer" => Ok(Profile::Gstreamer),
            "hls-dash" => Ok(Profile::HlsDash),
            other => Err(format!("{other:?} is none of gstreamer, hls-dash")),
        }
    }
}

impl Default for LiveConfig {
    fn default() -> Self {
        LiveConfig {
            enabled: false,
            rtmp_port: Some(1935),
            rtsp_port: None,
            srt_port: None,
            srt_latency_ms: 120,
            srt_passphrase: None,
            webrtc_port: Some(8189),
            webrtc_addresses: Vec::new(),
            webrtc_adapt: true,
            segment_duration: 2.0,
            part_duration: 0.2,
            playlist_size: 10,
            dvr_seconds: 0.0,
            spill: None,
            low_latency: true,
            dash: true,
            hls_ts: false,
            ladder: Vec::new(),
            recordings: None,
            record: RecordConfig::default(),
            hls_dash_port: None,
            cdn_port: None,
            gstreamer_port: None,
            service_token: None,
            sources: Vec::new(),
            slates: Vec::new(),
            stale_threshold: 600.0,
            cleanup_interval: 300.0,
            takeover: true,
            max_streams: 1000,
            max_connections: 1000,
            publish_key: None,
            read_key: None,
            keys: Vec::new(),
            token_secret: None,
            hooks: HooksConfig::default(),
        }
    }
}
