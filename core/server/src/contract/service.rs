//! Responses about the service.

use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// `GET /api/health`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Health {
    /// `healthy`.
    pub status: String,
    /// GhostStream's.
    pub version: String,
    /// Since the server started.
    pub uptime_seconds: f64,
    /// Being made.
    pub current_jobs: u64,
    /// Waiting.
    pub queued_jobs: u64,
    /// Kinds of encoders that work here.
    pub hw_accels: Vec<String>,
}

/// `GET /api/health/detailed`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DetailedHealth {
    /// `healthy`, `degraded` or `unhealthy`.
    pub status: String,
    /// GhostStream's.
    pub version: String,
    /// GHOSTSTREAM_ENV, or `development`.
    pub environment: String,
    /// Since the server started.
    pub uptime_seconds: f64,
    /// What was looked at.
    pub checks: Checks,
    /// Unix seconds.
    pub timestamp: f64,
}

/// What the detailed health looks at.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Checks {
    /// Processors.
    pub cpu: CpuCheck,
    /// Main memory.
    pub memory: MemoryCheck,
    /// The disk of the jobs' files.
    pub disk: DiskCheck,
    /// Jobs that wait.
    pub job_queue: QueueCheck,
    /// Jobs that run.
    pub active_jobs: ActiveCheck,
}

/// Processors.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CpuCheck {
    /// `healthy`, `degraded` or `unhealthy`.
    pub status: String,
    /// Of all of them.
    pub usage_percent: f64,
}

/// Main memory.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MemoryCheck {
    /// `healthy`, `degraded` or `unhealthy`.
    pub status: String,
    /// In use.
    pub usage_percent: f64,
    /// Free for programs.
    pub available_mb: u64,
}

/// The disk of the jobs' files.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DiskCheck {
    /// `healthy`, `degraded` or `unhealthy`.
    pub status: String,
    /// In use.
    pub usage_percent: f64,
    /// Free.
    pub free_gb: f64,
}

/// Jobs that wait.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct QueueCheck {
    /// `healthy`, `degraded` or `unhealthy`.
    pub status: String,
    /// How many.
    pub current: u64,
    /// How many may.
    pub max: u64,
    /// Of the queue.
    pub usage_percent: f64,
}

/// Jobs that run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ActiveCheck {
    /// `healthy`.
    pub status: String,
    /// How many.
    pub count: u64,
    /// How many may.
    pub max_concurrent: u64,
}

/// `GET /api/ready`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Ready {
    /// Whether a job would be taken.
    pub ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `GET /api/live`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Live {
    /// Always.
    pub alive: bool,
    /// Unix seconds.
    pub timestamp: f64,
}

/// `GET /api/capabilities`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Capabilities {
    /// nvenc, qsv, vaapi, amf, videotoolbox, software, in this order.
    pub hw_accels: Vec<Accel>,
    /// Of h264, h265, vp9, av1.
    pub video_codecs: Vec<String>,
    /// Of aac, opus, mp3, flac, ac3, eac3, copy.
    pub audio_codecs: Vec<String>,
    /// hls, dash, mp4, webm, mkv.
    pub formats: Vec<String>,
    /// How many jobs encode at once.
    pub max_concurrent_jobs: u64,
    /// FFmpeg's own version text.
    pub ffmpeg_version: String,
    /// System and its version.
    pub platform: String,
}

/// A kind of encoder.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Accel {
    /// Its name.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it encoded a few frames here.
    pub available: bool,
    /// Those that work.
    pub encoders: Vec<String>,
    /// Those that work.
    pub decoders: Vec<String>,
    /// The GPU behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_info: Option<GpuInfo>,
    /// Its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_path: Option<String>,
}

/// A GPU.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct GpuInfo {
    /// Model.
    pub name: String,
    /// Video memory, if it is known.
    pub memory_mb: Option<u64>,
    /// The driver's version, if it is known.
    pub driver_version: Option<String>,
    /// The newest CUDA version that the driver knows.
    pub cuda_version: Option<String>,
}

/// `GET /api/stats`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Stats {
    /// Finished, in whatever way.
    pub total_jobs_processed: u64,
    /// Ready.
    pub successful_jobs: u64,
    /// Failed.
    pub failed_jobs: u64,
    /// Cancelled.
    pub cancelled_jobs: u64,
    /// Waiting.
    pub current_queue_length: u64,
    /// Being made.
    pub active_jobs: u64,
    /// Mean seconds of work per successful job.
    pub average_transcode_speed: f64,
    /// Written by all jobs.
    pub total_bytes_processed: u64,
    /// Since the server started.
    pub uptime_seconds: f64,
    /// Successful jobs by kind of encoder.
    pub hw_accel_usage: BTreeMap<String, u64>,
}

/// `GET /api/cleanup/stats`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CleanupStats {
    /// That are remembered.
    pub total_jobs: u64,
    /// Being made or waiting.
    pub active_jobs: u64,
    /// Ready.
    pub ready_jobs: u64,
    /// Whose files are gone.
    pub cleaned_jobs: u64,
    /// Whose files will soon be gone.
    pub nearly_stale: u64,
    /// Where files are made.
    pub temp_dir: String,
}

/// `POST /api/cleanup/run`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CleanupResult {
    /// Jobs whose files were removed.
    pub stale_jobs_cleaned: u64,
    /// Our own folders without a job that were removed.
    pub orphaned_dirs_cleaned: u64,
}

/// `GET /api/streams/shared`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SharedStreams {
    /// How many.
    pub active_shared_streams: u64,
    /// Of all of them.
    pub total_viewers: u64,
    /// Viewers that named a session.
    pub viewer_sessions: u64,
    /// By the first 50 characters of the source.
    pub streams: BTreeMap<String, SharedStream>,
}

/// A stream that viewers can join.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SharedStream {
    /// UUID.
    pub job_id: String,
    /// How many.
    pub viewers: u64,
    /// Where the job is in its life.
    pub status: crate::jobs::Status,
    /// Percent.
    pub progress: f64,
}

/// One line of `GET /api/clients`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ClientLine {
    /// Which connection, address or job.
    pub id: String,
    /// The name that it gave.
    pub client: String,
    /// `ws`, `http` or `job`.
    pub transport: String,
}

/// `GET /api/status`.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Status {
    /// The machine.
    pub hardware: HardwareStatus,
    /// Its load.
    pub realtime: RealtimeStatus,
    /// Jobs.
    pub jobs: JobsStatus,
}

/// The machine.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct HardwareStatus {
    /// `ultra`, `high`, `medium`, `low` or `minimal`.
    pub tier: String,
    /// The best GPU.
    pub gpu_name: Option<String>,
    /// Its memory.
    pub gpu_vram_mb: Option<u64>,
    /// Whether it has a battery.
    pub is_laptop: bool,
    /// `ac`, `battery` or `unknown`.
    pub power_source: String,
    /// Width and height that the tier allows.
    pub max_resolution: [u32; 2],
    /// FFmpeg's name.
    pub recommended_encoder: String,
    /// Kinds of encoders that kept failing and are not used for so many seconds.
    pub cooling_down: BTreeMap<String, u64>,
    /// Devices whose decoders kept failing: what is encoded there is decoded in software for so many seconds.
    pub decoders_cooling_down: BTreeMap<String, u64>,
}

/// The machine's load.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct RealtimeStatus {
    /// Of all processors.
    pub cpu_percent: f64,
    /// Main memory in use.
    pub memory_percent: f64,
    /// Of the best GPU, if it says.
    pub gpu_percent: Option<f64>,
    /// Of the best GPU, if it says.
    pub gpu_temperature_c: Option<f64>,
    /// 0 (idle) to 1.
    pub load_factor: f64,
    /// Whether new work would hurt.
    pub is_overloaded: bool,
    /// `stable`, `increasing` or `decreasing`.
    pub load_trend: String,
}

/// Jobs.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct JobsStatus {
    /// Being made.
    pub active_jobs: u64,
    /// Waiting.
    pub queued_jobs: u64,
    /// How many encode at once now.
    pub max_concurrent_jobs: u64,
    /// 1 as asked, less when quality is given up for speed.
    pub quality_factor: f64,
    /// Of the last jobs, 0 to 1.
    pub recent_success_rate: f64,
    /// How hard it is to keep up, 0 to 3; from 1 on, quality is given up.
    pub pressure: u8,
    /// Why limits are not those of the hardware alone, one sentence each.
    pub reasons: Vec<String>,
}
