//! What the server and a worker say to each other: JSON, one message a line, on the worker's standard input and output.

use ghoststream::job::Change;
use ghoststream::spec::SourceSpec;
use ghoststream::{ErrorKind, PipelineSpec};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// To the worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Command {
    /// Give the rest of the machine up; answered. Once, before anything else.
    Confine(Sandbox),
    /// What is in this source? Answered with the probe.
    Probe {
        /// The source.
        source: Box<SourceSpec>,
        /// Read the whole of it for its key frames.
        keyframes: bool,
    },
    /// Run a document; events follow, the last one is `done`. One at a time.
    Run {
        /// The document.
        spec: Box<PipelineSpec>,
    },
    /// Change the running document's encoders.
    Set {
        /// What to change.
        change: Change,
    },
    /// Halt.
    Pause,
    /// Go on.
    Resume,
    /// Finish what was read, and end.
    Stop,
    /// End now.
    Cancel,
}

/// What a worker may reach and use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Files and directories to read (local sources and subtitles); what programs and drivers need comes by itself.
    pub read: Vec<PathBuf>,
    /// Directories to write.
    pub write: Vec<PathBuf>,
    /// The largest file it may write, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_file: Option<u64>,
}

/// From the worker. The engine's events come as they are; the ones that nobody needs are [`Message::Other`].
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Message {
    /// It is there.
    Hello {
        version: String,
    },
    /// It is still there; once a second.
    Alive,
    /// The answer to a command that has one.
    Answer {
        value: serde_json::Value,
    },
    /// The same, when it went wrong; also the end of a run that could not begin.
    Refused {
        kind: String,
        message: String,
    },
    Plan {
        plan: Plan,
    },
    Progress(Progress),
    Warning {
        code: String,
        message: String,
    },
    Segment {
        output: usize,
        name: String,
        start: f64,
        duration: f64,
    },
    Done(Done),
    #[serde(other)]
    Other,
}

/// How far a run is; see [`ghoststream::event::Progress`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Progress {
    pub time: f64,
    pub duration: Option<f64>,
    pub fraction: Option<f64>,
    pub frames: u64,
    pub fps: f64,
    pub speed: f64,
    pub eta: Option<f64>,
    pub bytes: u64,
    pub dropped: u64,
}

/// The parts of [`ghoststream::plan::Plan`] that a server cares for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[allow(missing_docs)]
pub struct Plan {
    #[serde(default)]
    pub duration: Option<f64>,
    #[serde(default)]
    pub outputs: Vec<OutputPlan>,
}

/// One output of a [`Plan`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[allow(missing_docs)]
pub struct OutputPlan {
    pub tracks: Vec<TrackPlan>,
}

/// One track of an [`OutputPlan`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[allow(missing_docs)]
pub struct TrackPlan {
    pub kind: String,
    pub name: String,
    pub action: String,
    pub codec: String,
    #[serde(default)]
    pub encoder: Option<String>,
}

impl Plan {
    /// The encoder of the first video track that is encoded.
    pub fn video_encoder(&self) -> Option<&str> {
        let tracks = self.outputs.iter().flat_map(|o| &o.tracks);
        tracks.filter(|t| t.kind == "video").find_map(|t| t.encoder.as_deref())
    }
}

/// How a run ended.
#[derive(Clone, Debug, Deserialize)]
pub struct Done {
    /// `completed`, `stopped`, `cancelled` or `failed`.
    pub outcome: String,
    /// The engine's kind of error.
    #[serde(default)]
    pub error: Option<String>,
    /// The failure in words.
    #[serde(default)]
    pub message: Option<String>,
    /// What was written: files and top-level playlists.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// Wall time, seconds.
    #[serde(default)]
    pub elapsed: f64,
}

/// Why something that a worker was asked for failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The engine's kind; `None` when the worker itself was lost (it crashed, hung or could not be started).
    pub kind: Option<ErrorKind>,
    /// In words.
    pub message: String,
}

impl Failure {
    /// The worker was lost.
    pub fn lost(message: impl Into<String>) -> Self {
        Failure { kind: None, message: message.into() }
    }

    pub(super) fn of(kind: &str, message: String) -> Self {
        Failure { kind: Some(kind_of(kind)), message }
    }

    /// Why a run failed, or `None` when it ended well or was cancelled.
    pub fn of_done(done: &Done) -> Option<Failure> {
        (done.outcome == "failed").then(|| {
            let kind = done.error.as_deref().unwrap_or("internal");
            Failure::of(kind, done.message.clone().unwrap_or_else(|| "the run failed".into()))
        })
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The kind with the name `name`.
fn kind_of(name: &str) -> ErrorKind {
    [
        ErrorKind::Invalid,
        ErrorKind::Unsupported,
        ErrorKind::NotFound,
        ErrorKind::Device,
        ErrorKind::Memory,
        ErrorKind::Io,
        ErrorKind::Format,
        ErrorKind::Cancelled,
        ErrorKind::State,
        ErrorKind::Busy,
        ErrorKind::Denied,
    ]
    .into_iter()
    .find(|k| k.name() == name)
    .unwrap_or(ErrorKind::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ghoststream::event::{Done as EngineDone, Event, Outcome, Progress as EngineProgress, State};
    use ghoststream::spec::OutputSpec;

    fn read(event: &Event) -> Message {
        serde_json::from_str(&serde_json::to_string(event).unwrap()).unwrap()
    }

    #[test]
    fn the_engines_events_are_understood() {
        assert!(matches!(read(&Event::State { state: State::Running }), Message::Other));
        let progress = EngineProgress { frames: 7, eta: Some(2.0), ..EngineProgress::default() };
        assert!(matches!(read(&Event::Progress(progress)), Message::Progress(p) if p.frames == 7));
        let done = EngineDone {
            outcome: Outcome::Failed,
            error: Some(ErrorKind::Device),
            message: Some("gone".into()),
            outputs: vec![],
            elapsed: 1.0,
        };
        let Message::Done(done) = read(&Event::Done(done)) else { panic!() };
        assert_eq!(
            Failure::of_done(&done),
            Some(Failure { kind: Some(ErrorKind::Device), message: "gone".into() })
        );
    }

    #[test]
    fn a_command_survives_the_way() {
        let spec = PipelineSpec::new(SourceSpec::url("in.mkv"), vec![OutputSpec::path("o.mp4")]);
        let text = serde_json::to_string(&Command::Run { spec: Box::new(spec) }).unwrap();
        let Command::Run { spec } = serde_json::from_str(&text).unwrap() else { panic!() };
        assert_eq!(spec.source.url.as_deref(), Some("in.mkv"));
        assert!(spec.check().is_ok());
        assert!(!text.contains('\n'));
    }
}
