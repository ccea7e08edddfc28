//! What the rest of the server sees of jobs: their state, what is served of them, events and errors.

use crate::playback::Load;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Who asks for a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Whom the queue is fair to: the client's address, and its session where a trusted proxy speaks for many.
    pub id: String,
    /// The viewer's session, for shared streams.
    pub session: Option<String>,
}

/// The life of a job: `queued`, `processing`, then one of `ready`, `error` and `cancelled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits for its turn (also between two attempts).
    Queued,
    /// A worker is at it.
    Processing,
    /// Complete; or, on demand, playable everywhere.
    Ready,
    /// Failed for good.
    Error,
    /// Cancelled by a client or by the clean-up.
    Cancelled,
}

impl Status {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Processing => "processing",
            Status::Ready => "ready",
            Status::Error => "error",
            Status::Cancelled => "cancelled",
        }
    }

    /// Whether nothing is going to change any more.
    pub fn is_over(self) -> bool {
        matches!(self, Status::Ready | Status::Error | Status::Cancelled)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a source is brought to the player, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Decision {
    /// `direct`, `remux` or `transcode`.
    pub method: String,
    /// Why not one of the cheaper methods, in a sentence.
    pub reason: String,
}

/// How far a finished job's way to the object store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoredState {
    /// Others come first.
    Waiting,
    /// On its way.
    Uploading,
    /// Everything is there.
    Ready,
    /// It will not be there, and why.
    Failed,
}

impl StoredState {
    /// Whether something is still to be put there.
    pub fn is_open(self) -> bool {
        matches!(self, StoredState::Waiting | StoredState::Uploading)
    }
}

/// A finished job in the object store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Stored {
    /// How far it is.
    pub state: StoredState,
    /// Where what a player opens is, or will be.
    pub url: String,
    /// How many files it has there.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What went wrong last.
    pub error: Option<String>,
}

impl Stored {
    pub(super) fn fail(&mut self, why: String) {
        (self.state, self.error) = (StoredState::Failed, Some(why));
    }
}

/// A job as it is now.
#[derive(Clone, Debug)]
pub struct JobView {
    /// UUID.
    pub id: String,
    /// Where it is in its life.
    pub status: Status,
    /// `stream`, `abr` or `batch`.
    pub mode: &'static str,
    /// Percent, 0 to 100; at most 99.9 until the job is ready.
    pub progress: f64,
    /// Position reached in the output, seconds; 0 is `start_time` of the source.
    pub current_time: f64,
    /// Length of the output in seconds; 0 while it is not known, and for live sources.
    pub duration: f64,
    /// Seconds to go, where known.
    pub eta_seconds: Option<u64>,
    /// Output seconds made in a second.
    pub speed: f64,
    /// Video frames a second.
    pub fps: f64,
    /// Video frames made.
    pub frame: u64,
    /// What a player opens, below `/stream/{id}/`; `None` for batch jobs that make one file.
    pub stream_path: Option<&'static str>,
    /// Name of the file (or archive) at `/download/{id}`, once the job is ready; `None` for jobs without one.
    pub download_name: Option<String>,
    /// The device that encodes (`nvenc`, `qsv`, `vaapi`, `videotoolbox`, `amf`, `software`), once known; after a failure
    /// the encoder's name.
    pub hw_accel_used: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was asked for.
    pub created_at: SystemTime,
    /// When its first attempt began.
    pub started_at: Option<SystemTime>,
    /// When it was over.
    pub completed_at: Option<SystemTime>,
    /// Where in the source the output begins, seconds: what was asked for, or for copied pictures the key frame before that.
    pub start_time: f64,
    /// Viewers that have joined and not left.
    pub viewers: u32,
    /// Whether more than one viewer has joined.
    pub shared: bool,
    /// The source, without credentials.
    pub source: String,
    /// Attempts begun.
    pub attempts: u32,
    /// Fallbacks, drops and other things worth knowing; the newest last.
    pub warnings: Vec<String>,
    /// How the source is brought to the player, or into the file; once it is decided.
    pub decision: Option<Decision>,
    /// What the source is, once it is known.
    pub media_info: Option<serde_json::Value>,
    /// The qualities that are made, once they are known.
    pub variants: Option<Vec<serde_json::Value>>,
    /// Where it is in the object store, once it is ready; `None` without a store, and for jobs on demand.
    pub stored: Option<Stored>,
    /// What has to happen before it goes on, in words: a free place, its next try, the end of a more urgent job.
    pub waiting_for: Option<String>,
    /// Whether a worker encodes for it just now: it is being made, or segments that somebody asked for are.
    pub encoding: bool,
}

/// What happened to a job.
#[derive(Clone, Debug)]
pub enum JobEvent {
    /// Twice a second while it runs.
    Progress {
        /// The job.
        job: String,
        /// Percent.
        progress: f64,
        /// Video frames made.
        frame: u64,
        /// Video frames a second.
        fps: f64,
        /// Position in the output, seconds.
        time: f64,
        /// Output seconds made in a second.
        speed: f64,
    },
    /// Its status changed. None is sent for `queued`.
    Status {
        /// The job.
        job: String,
        /// The new one.
        status: Status,
    },
    /// Its encoders follow the state of the machine.
    Adapted {
        /// The job.
        job: String,
        /// What it saves now.
        load: Load,
    },
}

/// Where the bytes of an answer are.
#[derive(Clone, Debug)]
pub enum Body {
    /// In memory.
    Memory(Bytes),
    /// In a file, which may be removed while it is being sent (an open file stays readable).
    File(PathBuf),
}

/// How long an answer may be kept by others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Playlists: ask again each time.
    NoCache,
    /// The same; nothing was added to this one for so many seconds, though more is to come.
    Stale(u64),
    /// Segments never change under their name.
    Immutable,
    /// A download by this file name.
    Attachment(String),
}

/// A file of a job, ready to be sent.
#[derive(Clone, Debug)]
pub struct Served {
    /// The bytes.
    pub body: Body,
    /// MIME type.
    pub content_type: &'static str,
    /// Caching.
    pub cache: Cache,
    /// A strong validator, with its quotes; `None` for what still changes.
    pub etag: Option<String>,
}

/// Why a job was not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// A field makes no sense.
    Invalid {
        /// Its path in the request (`output.bitrate`).
        field: String,
        /// What is wrong.
        message: String,
    },
    /// The queue is at its limit.
    QueueFull {
        /// When to ask again.
        retry_after: Duration,
    },
    /// The source (or the callback) is not allowed.
    Denied(String),
    /// The server cannot keep the job: its disk or its database failed.
    Internal(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Invalid { field, message } => write!(f, "{field}: {message}"),
            StartError::QueueFull { retry_after } => {
                write!(f, "the queue is full; try again in {} s", retry_after.as_secs())
            }
            StartError::Denied(message) | StartError::Internal(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for StartError {}

/// The job is unknown or over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CannotCancel;

/// What a viewer leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Viewers that are still there.
    pub viewers_remaining: u32,
    /// Whether there is still more than one.
    pub is_shared: bool,
}

/// Why there is no such file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileError {
    /// No such job, or it has no such file (also: not within the time that was given).
    NotFound,
    /// The name is none that a job can have (`..`, a leading `/`, a backslash, a NUL).
    BadName,
    /// The job made it no longer: it failed, and why.
    Failed(String),
}

/// Why there is no download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownloadError {
    /// No such job.
    NotFound,
    /// Not ready yet, failed or cancelled.
    NotReady(Status),
    /// The job makes no file, or it was cleaned up.
    Gone,
}

/// Counters since the server began (they survive restarts through the database).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Stats {
    pub processed: u64,
    pub successful: u64,
    pub failed: u64,
    pub cancelled: u64,
    /// Jobs that wait.
    pub queued: usize,
    /// Jobs that a worker is at.
    pub active: usize,
    /// Mean seconds of wall time of a successful job.
    pub average_seconds: f64,
    /// Bytes of media written.
    pub bytes: u64,
    /// How many jobs may run at once now.
    pub limit: usize,
    /// How many may wait.
    pub queue_limit: usize,
}

/// One shared stream.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct SharedStream {
    pub job: String,
    pub source: String,
    pub viewers: u32,
    pub status: Status,
    pub progress: f64,
}

/// Streams that viewers can join.
#[derive(Clone, Debug, Default)]
pub struct SharedStreams {
    /// Every stream with viewers.
    pub streams: Vec<SharedStream>,
    /// Sessions known by name.
    pub sessions: usize,
}

/// What the clean-up sees.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct CleanupStats {
    pub total_jobs: usize,
    pub active_jobs: usize,
    pub ready_jobs: usize,
    /// Jobs whose files are removed but which are still known.
    pub cleaned_jobs: usize,
    /// Jobs whose files go at one of the next passes.
    pub nearly_stale: usize,
    pub temp_dir: PathBuf,
    /// Bytes of all jobs' files.
    pub bytes: u64,
}

/// What a pass of the clean-up did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Cleaned {
    pub stale_jobs: usize,
    pub orphaned_directories: usize,
}
