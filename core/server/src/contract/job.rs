//! Responses about jobs.

use crate::jobs::{Decision, Status, Stored};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

/// The answer to a start, and the body of a callback. All keys are always there.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TranscodeResponse {
    /// UUID.
    pub job_id: String,
    /// Where the job is in its life.
    pub status: Status,
    /// Percent.
    pub progress: f64,
    /// The playlist, for `stream` and `abr`.
    pub stream_url: Option<String>,
    /// The file, once there is one.
    pub download_url: Option<String>,
    /// Of the source, in seconds; 0 until it is known.
    pub duration: f64,
    /// Until it is complete.
    pub eta_seconds: Option<i64>,
    /// Who encodes; after a failure the encoder's name.
    pub hw_accel_used: Option<String>,
    /// Why it failed.
    pub error_message: Option<String>,
    /// The qualities of a ladder, once they are known.
    pub variants: Option<Vec<Value>>,
    /// What the source contains, once it is known.
    pub media_info: Option<Value>,
    /// Where in the source it begins, in seconds; a copy begins at a key frame.
    pub start_time: f64,
    /// Whether several viewers share it.
    pub is_shared: bool,
    /// Who watches.
    pub viewer_count: u32,
    /// For the header X-GhostStream-Control-Token.
    pub control_token: String,
    /// Fallbacks and ignored fields.
    pub warnings: Vec<String>,
    /// What has to happen before it goes on: a free place, its next try, the end of a more urgent job.
    pub waiting_for: Option<String>,
    /// How the source reaches the player, once it is decided.
    pub playback: Option<Decision>,
    /// Where what it made is in the object store, once it is complete.
    pub store: Option<Stored>,
}

/// The answer to a status. All keys are always there.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct JobStatusResponse {
    /// UUID.
    pub job_id: String,
    /// Where the job is in its life.
    pub status: Status,
    /// Percent.
    pub progress: f64,
    /// Position in what is made, in seconds.
    pub current_time: f64,
    /// Of the source, in seconds; 0 until it is known.
    pub duration: f64,
    /// The playlist, for `stream` and `abr`.
    pub stream_url: Option<String>,
    /// The file, once there is one.
    pub download_url: Option<String>,
    /// Until it is complete.
    pub eta_seconds: Option<i64>,
    /// Who encodes; after a failure the encoder's name.
    pub hw_accel_used: Option<String>,
    /// Why it failed.
    pub error_message: Option<String>,
    /// UTC, ISO 8601 with microseconds and without a zone.
    pub created_at: Option<String>,
    /// UTC, ISO 8601 with microseconds and without a zone.
    pub started_at: Option<String>,
    /// UTC, ISO 8601 with microseconds and without a zone.
    pub completed_at: Option<String>,
    /// Where in the source it begins, in seconds; a copy begins at a key frame.
    pub start_time: f64,
    /// Whether several viewers share it.
    pub is_shared: bool,
    /// Who watches.
    pub viewer_count: u32,
    /// For the header X-GhostStream-Control-Token.
    pub control_token: String,
    /// What the job makes.
    pub mode: String,
    /// Fallbacks and ignored fields.
    pub warnings: Vec<String>,
    /// What has to happen before it goes on: a free place, its next try, the end of a more urgent job.
    pub waiting_for: Option<String>,
    /// How the source reaches the player, once it is decided.
    pub playback: Option<Decision>,
    /// Where what it made is in the object store, once it is complete.
    pub store: Option<Stored>,
    /// The qualities of a ladder, once they are known.
    pub variants: Option<Vec<Value>>,
    /// What the source contains, once it is known.
    pub media_info: Option<Value>,
}

/// One line of `GET /api/transcode/jobs`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct JobLine {
    /// UUID.
    pub job_id: String,
    /// Where the job is in its life.
    pub status: Status,
    /// Percent.
    pub progress: f64,
    /// What the job makes.
    pub mode: String,
    /// The source without user and password.
    pub source: String,
    /// The playlist, for `stream` and `abr`.
    pub stream_url: Option<String>,
    /// The file, once there is one.
    pub download_url: Option<String>,
    /// UTC, ISO 8601 with microseconds and without a zone.
    pub created_at: Option<String>,
    /// Who encodes.
    pub hw_accel_used: Option<String>,
    /// Who watches.
    pub viewer_count: u32,
    /// Why it failed.
    pub error_message: Option<String>,
    /// What has to happen before it goes on.
    pub waiting_for: Option<String>,
}

/// The answer of `GET /api/transcode/jobs`, the newest first.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct JobList {
    /// The jobs.
    pub jobs: Vec<JobLine>,
}

/// The answer of `GET /api/transcode/{id}/stream`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StreamInfo {
    /// UUID.
    pub job_id: String,
    /// The playlist.
    pub stream_url: Option<String>,
    /// Where the job is in its life.
    pub status: Status,
}

/// The answer to a cancel or a delete.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Ended {
    /// `cancelled` or `deleted`.
    pub status: String,
    /// UUID.
    pub job_id: String,
}

/// The answer to a leave.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Leave {
    /// UUID.
    pub job_id: String,
    /// Who still watches.
    pub viewers_remaining: u32,
    /// Whether several viewers share it.
    pub is_shared: bool,
}

/// A moment as the contract writes it: `2026-11-20T23:38:16.123456`, UTC, no zone.
pub fn iso_time(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, micros) = (since.as_secs(), since.subsec_micros());
    let (year, month, day) = civil(seconds / 86_400);
    let rest = seconds % 86_400;
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}")
}

/// Year, month and day of the proleptic Gregorian calendar, from days since 1970-01-01.
pub(crate) fn civil(days: u64) -> (u64, u64, u64) {
    // Years counted from March have their leap day at the end.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_naive_utc_with_microseconds() {
        let at = |s: u64, us: u32| iso_time(UNIX_EPOCH + Duration::new(s, us * 1000));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000");
        assert_eq!(at(951_782_400, 5), "2000-02-29T00:00:00.000005");
        assert_eq!(at(1_793_231_896, 123_456), "2026-10-28T23:58:16.123456");
        assert_eq!(at(4_107_542_399, 0), "2100-02-28T23:59:59.000000");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000000");
    }
}
