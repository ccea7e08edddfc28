//! What the server and a worker say to each other: JSON, one message a line, on the worker's standard input and output.

use ghoststream::event::{Done, Event, Outcome};
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

/// From the worker. The engine's events come as they are.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Message {
    /// It is there.
    Hello { version: String },
    /// It is still there; once a second.
    Alive,
    /// The answer to a command that has one.
    Answer { value: serde_json::Value },
    /// The same, when it went wrong; also the end of a run that could not begin.
    Refused { kind: ErrorKind, message: String },
    #[serde(untagged)]
    Event(Event),
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

    /// Why a run failed, or `None` when it ended well or was cancelled.
    pub fn of_done(done: &Done) -> Option<Failure> {
        (done.outcome == Outcome::Failed).then(|| Failure {
            kind: Some(done.error.unwrap_or(ErrorKind::Internal)),
            message: done.message.clone().unwrap_or_else(|| "the run failed".into()),
        })
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;
    use ghoststream::event::State;
    use ghoststream::spec::OutputSpec;

    fn read(text: &str) -> Message {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn messages_of_our_own_and_the_engines_events_are_told_apart() {
        assert!(matches!(read(r#"{"type": "alive"}"#), Message::Alive));
        let refused = read(r#"{"type": "refused", "kind": "not_found", "message": "m"}"#);
        assert!(matches!(refused, Message::Refused { kind: ErrorKind::NotFound, .. }));
        let state = serde_json::to_string(&Event::State { state: State::Running }).unwrap();
        assert!(matches!(read(&state), Message::Event(Event::State { state: State::Running })));
        let done = Done {
            outcome: Outcome::Failed,
            error: Some(ErrorKind::Device),
            message: Some("gone".into()),
            outputs: vec![],
            elapsed: 1.0,
        };
        let text = serde_json::to_string(&Event::Done(done)).unwrap();
        let Message::Event(Event::Done(done)) = read(&text) else { panic!() };
        let failure = Failure { kind: Some(ErrorKind::Device), message: "gone".into() };
        assert_eq!(Failure::of_done(&done), Some(failure));
        assert!(serde_json::from_str::<Message>(r#"{"type": "nonsense"}"#).is_err());
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
