//! The server's settings: `ghoststream.yaml` with the original's keys, then the environment, then flags.
//!
//! Unknown keys are refused with a suggestion, as are values that make no sense; nothing is read and ignored.

mod kafka;
mod keys;
mod live;
mod load;
mod print;
mod profile;
mod store;
mod values;

pub use kafka::{KafkaConfig, KafkaProtocol, KafkaSecurity};
pub use live::{HooksConfig, LiveConfig, LiveSlate, LiveSource, Profile, RecordConfig, StreamKey};
pub use load::{LoadError, Overrides, load, load_from, search_path};
pub use print::default_yaml;
pub use profile::unused_variables;
pub use store::StoreConfig;
pub use values::{LogFormat, LogLevel, Schemes, Secret, SizeLimit, TierChoice};

use crate::contract::values::{AudioCodec, Playback, Rate, VideoCodec};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// All settings. [`Config::default`] is what a server without a file runs with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where it listens.
    pub server: ServerConfig,
    /// Announcement on the local network.
    pub mdns: MdnsConfig,
    /// Registration at a GhostHub.
    pub ghosthub: GhosthubConfig,
    /// Jobs.
    pub transcoding: TranscodingConfig,
    /// Encoders.
    pub hardware: HardwareConfig,
    /// What a request may ask for.
    pub limits: LimitsConfig,
    /// The live origin.
    pub live: LiveConfig,
    /// An object store or a directory that files are put into.
    pub store: StoreConfig,
    /// Who may do what.
    pub security: SecurityConfig,
    /// Commands and states over Kafka.
    pub kafka: KafkaConfig,
    /// Messages.
    pub logging: LoggingConfig,
}

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerConfig {
    /// Address to bind; `::` takes IPv4 and IPv6.
    pub host: String,
    /// TCP port; 0 takes a free one.
    pub port: u16,
    /// TCP port for HTTPS, beside the other; null for none, 0 takes a free one.
    pub tls_port: Option<u16>,
    /// TCP port with nothing but `/metrics` and `/health`, which needs no key; null for none, 0 takes a free one.
    pub metrics_port: Option<u16>,
    /// The certificate and those that lead to its issuer, in PEM form. Read again on SIGHUP.
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's key, in PEM form.
    pub tls_key: Option<PathBuf>,
    /// The base of the URLs that clients get; without it, the host that the client asked.
    pub advertised_url: Option<String>,
    /// Proxies and hubs (addresses and networks) whose `X-Forwarded-For` says who asks; without that header each
    /// `session_id` of theirs counts as a client. Of others the address counts.
    pub trusted_proxies: Vec<String>,
    /// The largest request body, in KiB.
    pub max_body_kb: u64,
    /// How long a client may take to send its request's head and body, in seconds.
    pub request_timeout_seconds: u64,
    /// How many connections may be open at once.
    pub max_connections: usize,
    /// How often WebSocket clients are pinged, in seconds; three pings without any answer end a connection.
    pub websocket_ping_seconds: f64,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            host: "0.0.0.0".into(),
            port: 8765,
            tls_port: None,
            metrics_port: None,
            tls_certificate: None,
            tls_key: None,
            advertised_url: None,
            trusted_proxies: Vec::new(),
            max_body_kb: 1024,
            request_timeout_seconds: 30,
            max_connections: 4096,
            websocket_ping_seconds: 30.0,
        }
    }
}

/// How the server is found on the local network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MdnsConfig {
    /// Announce `_ghoststream._tcp`.
    pub enabled: bool,
    /// The instance's name.
    pub service_name: String,
    /// Answer `GHOSTSTREAM_DISCOVER` datagrams, also when mDNS is off.
    pub udp_enabled: bool,
    /// The port of those datagrams.
    pub udp_port: u16,
}

impl Default for MdnsConfig {
    fn default() -> Self {
        MdnsConfig {
            enabled: true,
            service_name: "GhostStream Transcoder".into(),
            udp_enabled: true,
            udp_port: 8766,
        }
    }
}

/// The GhostHub that this server registers at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GhosthubConfig {
    /// Its base URL.
    pub url: Option<String>,
    /// Register there.
    pub auto_register: bool,
    /// How often, in seconds.
    pub register_interval_seconds: u64,
}

impl Default for GhosthubConfig {
    fn default() -> Self {
        GhosthubConfig { url: None, auto_register: true, register_interval_seconds: 300 }
    }
}

/// Jobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TranscodingConfig {
    /// Only `auto`: FFmpeg's libraries are called directly. The key is there for files of the original.
    pub ffmpeg_path: String,
    /// Where segments and files are made; relative to the working directory.
    pub temp_directory: PathBuf,
    /// How many jobs encode at once.
    pub max_concurrent_jobs: usize,
    /// Of one segment, in seconds.
    pub segment_duration: f64,
    /// The same where segments are made when somebody asks for them, at most `segment_duration`: who seeks waits for one.
    pub on_demand_segment_duration: f64,
    /// How long a finished file is kept, in hours.
    pub cleanup_after_hours: f64,
    /// For requests that name none.
    pub default_video_codec: VideoCodec,
    /// For requests that name none.
    pub default_audio_codec: AudioCodec,
    /// Whether `abr` makes several qualities; without it, the best one only.
    pub enable_abr: bool,
    /// The most qualities of a ladder.
    pub abr_max_variants: usize,
    /// Seconds without progress after which a job counts as hung.
    pub stall_timeout: f64,
    /// Added to that per second of segment.
    pub stall_timeout_per_segment: f64,
    /// How often a transient failure is tried again.
    pub retry_count: u32,
    /// Seconds before the first new try; doubled for each further one.
    pub retry_delay: f64,
    /// Whether HDR becomes SDR when a request does not say.
    pub tone_map_hdr: bool,
    /// Whether a finished segment is checked before it is served.
    pub validate_segments: bool,
    /// Whether a job of high priority (what is streamed, if nothing else is said) halts a running one of low priority, or one
    /// that makes a file, until it is done.
    pub enable_preemption: bool,
    /// How many jobs may wait; further ones are refused with 503.
    pub max_queue_size: usize,
    /// How segments come into being when a request does not say.
    pub playback: Playback,
    /// The program and first arguments that run one job; empty finds it.
    pub worker_command: Vec<String>,
    /// Workers that are kept started for the next job.
    pub idle_workers: usize,
}

impl Default for TranscodingConfig {
    fn default() -> Self {
        TranscodingConfig {
            ffmpeg_path: "auto".into(),
            temp_directory: "./transcode_temp".into(),
            max_concurrent_jobs: 2,
            segment_duration: 4.0,
            on_demand_segment_duration: 2.0,
            cleanup_after_hours: 24.0,
            default_video_codec: VideoCodec::H264,
            default_audio_codec: AudioCodec::Aac,
            enable_abr: true,
            abr_max_variants: 4,
            stall_timeout: 120.0,
            stall_timeout_per_segment: 10.0,
            retry_count: 3,
            retry_delay: 2.0,
            tone_map_hdr: true,
            validate_segments: true,
            enable_preemption: false,
            max_queue_size: 1000,
            playback: Playback::Auto,
            worker_command: Vec::new(),
            idle_workers: 1,
        }
    }
}

/// Encoders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HardwareConfig {
    /// Whether `hw_accel: auto` takes a GPU where there is one.
    pub prefer_hw_accel: bool,
    /// Whether a job goes on in software when a GPU fails.
    pub fallback_to_software: bool,
    /// What the machine counts as: which sizes and rates ladders offer, and how many jobs run when
    /// `transcoding.max_concurrent_jobs` is 0.
    pub tier: TierChoice,
    /// Whether a machine that is hot, on battery or cannot keep up makes less than was asked for: lower rates, faster
    /// presets, fewer rungs and jobs. Without it every job gets what it asked for, however long that takes.
    pub adapt: bool,
    /// `p1` (fast) to `p7` (best).
    pub nvenc_preset: String,
    /// `veryfast` to `veryslow`.
    pub qsv_preset: String,
    /// `fast`, `medium` or `slow`.
    pub videotoolbox_preset: String,
    /// The render node, or `auto`.
    pub vaapi_device: String,
}

impl Default for HardwareConfig {
    fn default() -> Self {
        HardwareConfig {
            prefer_hw_accel: true,
            fallback_to_software: true,
            tier: TierChoice::Auto,
            adapt: true,
            nvenc_preset: "p4".into(),
            qsv_preset: "medium".into(),
            videotoolbox_preset: "medium".into(),
            vaapi_device: "auto".into(),
        }
    }
}

/// What a request may ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitsConfig {
    /// The largest picture that is made (`4k`, `1440p`, `1080p`, `720p`, `480p` or `none`).
    pub max_resolution: SizeLimit,
    /// The highest video bit rate that is made; `auto` for no limit.
    pub max_bitrate: Rate,
    /// The largest file that is made, in GB; 0 for no limit.
    pub max_file_size_gb: f64,
    /// What all files of all jobs may take, in GB; 0 for no limit.
    pub max_disk_gb: f64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        LimitsConfig {
            max_resolution: SizeLimit::Size(3840, 2160),
            max_bitrate: Rate::Bits(50_000_000),
            max_file_size_gb: 50.0,
            max_disk_gb: 0.0,
        }
    }
}

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecurityConfig {
    /// Needed in `X-API-Key` or `?api_key=` when set.
    pub api_key: Option<Secret>,
    /// Web origins that may read answers; empty allows all.
    pub allowed_origins: Vec<String>,
    /// How many jobs one client address may start, cancel or delete in a minute; 0 for no limit.
    pub rate_limit_per_minute: u32,
    /// Where the node's identity and the job database live.
    pub state_directory: PathBuf,
    /// Signs registrations at a GhostHub.
    pub registration_secret: Option<Secret>,
    /// How long a job's tokens are valid.
    pub job_token_ttl_seconds: u64,
    /// Whether a job's token is needed to see, cancel or play it. Tokens are always given.
    pub require_job_tokens: bool,
    /// Which sources may be read.
    pub sources: SourcesConfig,
}

impl Default for SecurityConfig {
    fn default() -> Self {
        SecurityConfig {
            api_key: None,
            allowed_origins: Vec::new(),
            rate_limit_per_minute: 60,
            state_directory: "~/.ghoststream".into(),
            registration_secret: None,
            job_token_ttl_seconds: 21_600,
            require_job_tokens: false,
            sources: SourcesConfig::default(),
        }
    }
}

/// Which sources (and subtitles, and callbacks) may be reached. The defaults let a media server on the LAN work: HTTP to
/// any host, private addresses too, but not link-local ones (cloud metadata) and no local files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourcesConfig {
    /// URL schemes.
    pub schemes: Schemes,
    /// Hosts (`media.example`, `*.example`, `192.168.1.0/24`); empty allows all.
    pub allowed_hosts: Vec<String>,
    /// Hosts that are refused, in the same spelling.
    pub denied_hosts: Vec<String>,
    /// Whether addresses of private networks (10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7) may be reached.
    pub private_networks: bool,
    /// Whether this machine's own addresses may be reached.
    pub loopback: bool,
    /// Whether link-local addresses (169.254/16, fe80::/10), where clouds keep their metadata, may be reached.
    pub link_local: bool,
    /// Directories below which local files may be read; none by default.
    pub local_roots: Vec<PathBuf>,
}

impl Default for SourcesConfig {
    fn default() -> Self {
        SourcesConfig {
            schemes: Schemes::default(),
            allowed_hosts: Vec::new(),
            denied_hosts: Vec::new(),
            private_networks: true,
            loopback: true,
            link_local: false,
            local_roots: Vec::new(),
        }
    }
}

/// Messages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoggingConfig {
    /// `DEBUG`, `INFO`, `WARNING` or `ERROR`.
    pub level: LogLevel,
    /// How much the media libraries say beside that, from 0 (nothing) over 1 (failures) and 2 (what should not happen) to
    /// 4 and more (everything); null: as `level` says.
    pub media_level: Option<u8>,
    /// `text` or `json`.
    pub format: LogFormat,
    /// A file to append to, besides standard error.
    pub file: Option<PathBuf>,
}

impl Config {
    /// The directory of the node's identity and the job database, with `~` resolved.
    pub fn state_directory(&self) -> PathBuf {
        values::at_home(&self.security.state_directory)
    }

    /// The directory of the jobs' files, with `~` resolved.
    pub fn temp_directory(&self) -> PathBuf {
        values::at_home(&self.transcoding.temp_directory)
    }

    /// Checks what types alone cannot say.
    ///
    /// # Errors
    /// The first key whose value makes no sense, and why.
    pub fn check(&self) -> Result<(), String> {
        self.check_each()?;
        keys::check_together(self)
    }

    /// [`Config::check`] without what several settings say together: for one that is looked at alone.
    fn check_each(&self) -> Result<(), String> {
        keys::check(self)
    }
}
