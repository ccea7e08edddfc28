//! A job as it is kept, in memory and in the database.

use super::queue::Waiting;
use super::view::{Decision, JobView, Status, Stored};
use crate::contract::request::TranscodeRequest;
use crate::contract::values::{Format, Mode, Priority, Word};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

fn time(seconds: f64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs_f64(seconds.clamp(0.0, 1e11))
}

/// A job. All of it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub id: String,
    pub request: TranscodeRequest,
    /// What is opened: the URL, or the real path.
    pub source: String,
    pub client: String,
    pub status: Status,
    pub created: f64,
    pub started: Option<f64>,
    pub completed: Option<f64>,
    /// When it, or a file of it, was last asked for.
    pub accessed: f64,
    /// Length of the output, seconds.
    pub duration: Option<f64>,
    /// Position reached.
    pub reached: f64,
    pub frames: u64,
    pub bytes: u64,
    pub attempts: u32,
    /// It goes on without hardware.
    pub software: bool,
    /// The encoder of its video.
    pub encoder: Option<String>,
    pub error: Option<String>,
    pub warnings: Vec<String>,
    pub viewers: u32,
    pub sessions: BTreeSet<String>,
    /// Who wants to be called when it is over.
    pub callbacks: BTreeSet<String>,
    /// What others must ask for to join it; empty: it is not shared.
    pub share: String,
    /// Segments are made when asked for.
    #[serde(default)]
    pub on_demand: bool,
    #[serde(default)]
    pub decision: Option<Decision>,
    /// What the source is, once it is known.
    #[serde(default)]
    pub media_info: Option<serde_json::Value>,
    /// Where in the source copied pictures really begin: at a key frame before what was asked for.
    #[serde(default)]
    pub copy_start: Option<f64>,
    /// The qualities that are made, once they are known.
    #[serde(default)]
    pub variants: Option<Vec<serde_json::Value>>,
    /// How its way to the object store is doing.
    #[serde(default)]
    pub stored: Option<Stored>,
    /// Its files are removed.
    pub cleaned: bool,
}

/// The most warnings that are kept.
const WARNINGS: usize = 50;

impl Record {
    /// How urgent it is: where nothing is said, what somebody waits to see comes before files.
    pub fn priority(&self) -> Priority {
        let usual = if self.is_stream() { Priority::High } else { Priority::Normal };
        self.request.priority.unwrap_or(usual)
    }

    /// Its place in the queue.
    pub fn waiting(&self, not_before: f64) -> Waiting {
        Waiting {
            id: self.id.clone(),
            client: self.client.clone(),
            priority: self.priority(),
            file: !self.is_stream(),
            not_before,
        }
    }

    /// Whether viewers watch it while it is made.
    pub fn is_stream(&self) -> bool {
        self.request.mode != Mode::Batch
    }

    pub fn warn(&mut self, text: String) {
        if self.warnings.last() != Some(&text) {
            if self.warnings.len() == WARNINGS {
                self.warnings.remove(0);
            }
            self.warnings.push(text);
        }
    }

    /// As [`Record::warn`], for what is said again at every attempt.
    pub fn warn_once(&mut self, text: String) {
        if !self.warnings.contains(&text) {
            self.warn(text);
        }
    }

    /// What a player opens.
    pub fn stream_path(&self) -> Option<&'static str> {
        if self.decision.as_ref().is_some_and(|d| d.method == "direct") {
            return Some(crate::playback::original_name(Path::new(&self.source)));
        }
        match (self.request.mode, self.request.output.format) {
            (_, Format::Dash) => Some("manifest.mpd"),
            (Mode::Batch, Format::Mp4 | Format::Webm | Format::Mkv) => None,
            _ => Some("master.m3u8"),
        }
    }

    /// The name of the one file (or archive) that a batch job makes.
    pub fn file_name(&self) -> Option<&'static str> {
        if self.request.mode != Mode::Batch {
            return None;
        }
        Some(match self.request.output.format {
            Format::Mp4 => "output.mp4",
            Format::Webm => "output.webm",
            Format::Mkv => "output.mkv",
            Format::Hls | Format::Dash => super::files::ARCHIVE,
        })
    }

    /// The word for who encodes.
    pub fn accel(&self) -> Option<&'static str> {
        self.encoder.as_deref().map(accel_of)
    }

    /// Takes over where in the source copied pictures really begin. An MP4 file hides what lies before the wanted time.
    pub fn begin_at(&mut self, copy_start: Option<f64>) {
        self.copy_start = copy_start.filter(|_| self.file_name() != Some("output.mp4"));
        let lead = self.lead();
        if lead > 0.0005 {
            let (asked, key) = (self.request.start_time, self.begins());
            self.duration = self.duration.map(|d| d + lead);
            self.warn_once(format!(
                "start_time: {asked} s was asked for; the copy begins with its key frame at {key:.3} s"
            ));
        }
    }

    /// Seconds before the time that was asked for with which copied pictures begin.
    pub fn lead(&self) -> f64 {
        (self.request.start_time - self.begins()).max(0.0)
    }

    /// Where in the source it begins, seconds.
    pub fn begins(&self) -> f64 {
        self.copy_start.unwrap_or(self.request.start_time)
    }

    /// Percent.
    pub fn progress(&self) -> f64 {
        if self.status == Status::Ready {
            return 100.0;
        }
        match self.duration {
            Some(d) if d > 0.0 => (self.reached / d * 100.0).clamp(0.0, 99.9),
            _ => 0.0,
        }
    }

    pub fn view(&self, live: &Live) -> JobView {
        let mut accel = self.accel().map(String::from);
        if self.status == Status::Error {
            // The contract's oddity: clients show it beside the message.
            accel = self.encoder.clone();
        }
        let running = self.status == Status::Processing;
        JobView {
            id: self.id.clone(),
            status: self.status,
            mode: self.request.mode.name(),
            progress: self.progress(),
            current_time: self.reached.max(0.0),
            duration: self.duration.unwrap_or(0.0),
            eta_seconds: live.eta.filter(|_| running).map(|e| e.round() as u64),
            speed: if running { live.speed } else { 0.0 },
            fps: if running { live.fps } else { 0.0 },
            frame: self.frames,
            stream_path: self.stream_path(),
            download_name: self
                .file_name()
                .filter(|_| self.status == Status::Ready && !self.cleaned)
                .map(String::from),
            hw_accel_used: accel,
            error: self.error.clone(),
            created_at: time(self.created),
            started_at: self.started.map(time),
            completed_at: self.completed.map(time),
            start_time: self.begins(),
            viewers: self.viewers,
            shared: self.viewers > 1,
            source: crate::policy::masked(&self.request.source),
            attempts: self.attempts,
            warnings: self.warnings.clone(),
            decision: self.decision.clone(),
            media_info: self.media_info.clone(),
            variants: self.variants.clone(),
            stored: self.stored.clone(),
            waiting_for: None,
            encoding: self.status == Status::Processing,
        }
    }
}

/// What of a running job is not worth keeping.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Live {
    pub eta: Option<f64>,
    pub speed: f64,
    pub fps: f64,
}

/// The contract's word for the device of an encoder.
pub(crate) fn accel_of(encoder: &str) -> &'static str {
    let ends = ["nvenc", "qsv", "vaapi", "videotoolbox", "amf"];
    ends.into_iter().find(|word| encoder.rsplit('_').next() == Some(word)).unwrap_or("software")
}
