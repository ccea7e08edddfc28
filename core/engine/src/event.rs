//! What a job tells its owner. Events are pulled; a wakeup says that there is something to pull.

use crate::error::{Error, ErrorKind};
use crate::time::{MICROSECONDS, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The life of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(i32)]
pub enum State {
    /// Opening the source and planning.
    Starting = 0,
    /// Media flows.
    Running = 1,
    /// Halted by `pause`.
    Paused = 2,
    /// No more input is read; what is inside is being finished.
    Draining = 3,
    /// Over; see the Done event.
    Finished = 4,
}

/// A word that stays the same from version to version, of a list that is known beforehand.
pub type Word = &'static str;

/// The words that warnings have; see [`Event::Warning`].
pub(crate) const CODES: &[Word] = &[
    "fallback", "dropped", "rung", "transfer", "source", "output", "skipped", "control", "save", "network",
    "two_pass", "waiting",
];

/// Reads a word as the one of `known` that it is.
pub(crate) fn word<'de, D: Deserializer<'de>>(d: D, known: &[Word]) -> Result<Word, D::Error> {
    let text = String::deserialize(d)?;
    let found = known.iter().find(|word| **word == text);
    found.copied().ok_or_else(|| serde::de::Error::custom(format!("{text:?} is none of {known:?}")))
}

fn code<'de, D: Deserializer<'de>>(d: D) -> Result<Word, D::Error> {
    word(d, CODES)
}

/// What a pushed output's connection does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PushState {
    /// The first connection is being made, or waited for.
    #[default]
    Connecting,
    /// Media is sent.
    Live,
    /// The connection broke; another is tried.
    Reconnecting,
    /// All is sent, and the connection is closed.
    Ended,
    /// It is given up.
    Failed,
}

/// Where a file of [`Event::Saved`] is on its job's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The time that is 0 in the file.
    pub begin: Timestamp,
    /// Where it was cut and the next one begins; `None` for the last one, and for replays. What is in the file may end before:
    /// the last picture does not always say how long it is, and the source may have stood still.
    pub until: Option<Timestamp>,
}

impl Default for Span {
    fn default() -> Self {
        Span { begin: Timestamp::new(0, MICROSECONDS), until: None }
    }
}

/// One thing a job has to say. Serializes as `{"type": "progress", …}`: the line of `--events json`, the payload of
/// `gs_job_next_event`, and what a worker tells its server, which reads it back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The job's state changed. Never lost.
    State {
        /// The new state.
        state: State,
    },
    /// What will be done and why, once the source is known.
    Plan {
        /// The plan.
        plan: Box<crate::plan::Plan>,
    },
    /// How far it is; twice a second, and once at the end. Coalesced: only the newest waits.
    Progress(Progress),
    /// Something the owner should know although the job goes on: a fallback, a drop, an inserted transfer.
    Warning {
        /// A stable word: `fallback`, `dropped`, `rung` (one that is encoded no more), `transfer`, `source`, `output`, `skipped`, `control` (a change or command
        /// that could not be obeyed), `save` (a replay that could not be saved), `network`,
        /// `two_pass`, `waiting` (for an encode session that others hold).
        #[serde(deserialize_with = "code")]
        code: Word,
        /// What happened.
        message: String,
    },
    /// The connection of a pushed output changed. Never lost.
    Push {
        /// Index of the output.
        output: usize,
        /// What it does now.
        state: PushState,
        /// Tries to reconnect since it was last live.
        attempt: u32,
        /// Seconds until the next try.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_in: Option<f64>,
        /// Why.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// The bit rate of an output's video was changed to what its network can carry.
    Bitrate {
        /// Index of the output.
        output: usize,
        /// Bits per second.
        bitrate: u64,
        /// Bits per second before.
        before: u64,
        /// Why.
        message: String,
    },
    /// A segment or playlist was completed (segmented outputs).
    Segment {
        /// Index of the output.
        output: usize,
        /// Path below the output's directory.
        name: String,
        /// Start, seconds.
        start: f64,
        /// Length, seconds.
        duration: f64,
    },
    /// A file is complete while the job goes on: a part of a recording that is split, or a saved replay. Never lost.
    Saved {
        /// Index of the output.
        output: usize,
        /// The file.
        path: String,
        /// Its length, seconds.
        duration: f64,
        /// Its size.
        bytes: u64,
        /// Where it is on the job's clock. For who has the job itself: no JSON tells it.
        #[serde(skip)]
        span: Span,
    },
    /// The job is over. The last event, never lost.
    Done(Done),
}

/// How far a job is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Output time reached by the slowest output, seconds.
    pub time: f64,
    /// Length of the whole, seconds; `None` when not known.
    pub duration: Option<f64>,
    /// 0 to 1; `None` when the length is not known.
    pub fraction: Option<f64>,
    /// Video frames encoded or copied by the slowest track.
    pub frames: u64,
    /// Frames a second over the last seconds.
    pub fps: f64,
    /// Output time a second of wall time over the last seconds.
    pub speed: f64,
    /// Seconds to go; `None` when not known.
    pub eta: Option<f64>,
    /// Bytes written by all outputs.
    pub bytes: u64,
    /// Frames or packets dropped by live links, pictures of a screen left out because the job is too slow, and frames lost with
    /// an encoder that failed.
    pub dropped: u64,
    /// Every output that is pushed over a network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pushes: Vec<PushStats>,
}

/// Statistics of a pushed output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PushStats {
    /// Index of the output.
    pub output: usize,
    /// The address, without keys and passphrases.
    pub target: String,
    /// What the connection does.
    pub state: PushState,
    /// Connections that were made.
    pub connections: u64,
    /// Bytes of media handed to the network.
    pub bytes: u64,
    /// Bits per second over the last two seconds.
    pub bitrate: u64,
    /// Seconds of media that wait to be sent.
    pub delay: f64,
    /// Bytes that wait to be sent.
    pub queued: usize,
    /// Pictures that were not sent because too much waited or there was no connection.
    pub dropped_frames: u64,
    /// The bit rate that the encoder is asked for, bits per second, when it adapts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_bitrate: Option<u64>,
    /// Round-trip time in milliseconds (SRT, and TCP on Linux).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt: Option<f64>,
    /// Packets of the connection that the peer missed (SRT).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Packets of the connection that were sent again (SRT).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeated: Option<u64>,
    /// Packets of the connection that were too late to send (SRT).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<u64>,
}

/// How a job ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    /// `completed`, `stopped`, `cancelled` or `failed`.
    pub outcome: Outcome,
    /// The kind of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorKind>,
    /// The failure's whole message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What was written: files and top-level playlists.
    pub outputs: Vec<String>,
    /// Wall time, seconds.
    pub elapsed: f64,
}

/// How a job ended, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The source ended and every output is complete.
    Completed,
    /// `stop` ended it early; every output is complete up to there, or not written if nothing had come for it.
    Stopped,
    /// `cancel` ended it.
    Cancelled,
    /// It failed.
    Failed,
}

impl Done {
    /// The error of a job that did not end well.
    ///
    /// # Errors
    /// The failure, or [`ErrorKind::Cancelled`].
    pub fn into_result(self) -> crate::Result<Done> {
        match (self.outcome, self.error) {
            (Outcome::Failed, kind) => Err(Error::new(
                kind.unwrap_or(ErrorKind::Internal),
                self.message.unwrap_or_else(|| "the job failed".into()),
            )),
            (Outcome::Cancelled, _) => Err(Error::cancelled()),
            _ => Ok(self),
        }
    }
}

/// Outcome of asking for an event.
#[derive(Debug)]
pub enum Next {
    /// An event.
    Event(Event),
    /// None came in time.
    Timeout,
    /// The Done event was already taken: there will be no more.
    End,
}

/// Called when the queue becomes non-empty, and once on registration.
pub type Wakeup = Box<dyn FnMut() + Send>;

/// How many warnings and segment notices wait for a slow owner before the oldest goes.
const MAX_WAITING: usize = 4096;

/// The queue between a job and its owner.
#[derive(Default)]
pub struct EventQueue {
    state: Mutex<Queue>,
    readable: Condvar,
    wakeup: Mutex<Option<Wakeup>>,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Event>,
    ended: bool,
}

impl EventQueue {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event; a Progress replaces a waiting Progress.
    pub fn push(&self, event: Event) {
        let was_empty = {
            let mut queue = self.lock();
            if queue.ended {
                return;
            }
            let was_empty = queue.events.is_empty();
            if matches!(event, Event::Progress(_)) {
                queue.events.retain(|e| !matches!(e, Event::Progress(_)));
            }
            if queue.events.len() >= MAX_WAITING
                && let Some(at) = queue
                    .events
                    .iter()
                    .position(|e| matches!(e, Event::Warning { .. } | Event::Segment { .. }))
            {
                queue.events.remove(at);
            }
            queue.ended = matches!(event, Event::Done(_));
            queue.events.push_back(event);
            was_empty
        };
        self.readable.notify_all();
        if was_empty {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(wakeup) = self.wakeup.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            wakeup();
        }
    }

    /// Sets or removes the wakeup. It runs once now if set; after this returns a removed one is idle for good.
    pub fn set_wakeup(&self, wakeup: Option<Wakeup>) {
        let mut slot = self.wakeup.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = wakeup;
        if let Some(wakeup) = slot.as_mut() {
            wakeup();
        }
    }

    /// The next event, waiting at most `timeout` (`None` = without limit).
    pub fn next(&self, timeout: Option<Duration>) -> Next {
        let deadline = timeout.and_then(|t| Instant::now().checked_add(t));
        let mut queue = self.lock();
        loop {
            if let Some(event) = queue.events.pop_front() {
                return Next::Event(event);
            }
            if queue.ended {
                return Next::End;
            }
            queue = match deadline {
                None => self.readable.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Next::Timeout;
                    }
                    self.readable.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn done() -> Event {
        Event::Done(Done {
            outcome: Outcome::Completed,
            error: None,
            message: None,
            outputs: vec![],
            elapsed: 0.0,
        })
    }

    #[test]
    fn progress_is_coalesced_and_states_are_not() {
        let q = EventQueue::default();
        q.push(Event::State { state: State::Running });
        for frames in 0..10 {
            q.push(Event::Progress(Progress { frames, ..Progress::default() }));
        }
        q.push(Event::State { state: State::Draining });
        q.push(done());
        q.push(Event::State { state: State::Running });
        let mut seen = Vec::new();
        while let Next::Event(e) = q.next(None) {
            seen.push(serde_json::to_value(&e).unwrap()["type"].as_str().unwrap().to_string());
        }
        assert_eq!(seen, ["state", "progress", "state", "done"]);
        assert!(matches!(q.next(None), Next::End));
    }

    #[test]
    fn events_are_read_as_they_were_written() {
        let failed = Done {
            outcome: Outcome::Failed,
            error: Some(ErrorKind::NotFound),
            message: Some("gone".into()),
            outputs: vec!["a".into()],
            elapsed: 1.5,
        };
        let events = CODES
            .iter()
            .map(|code| Event::Warning { code, message: "m".into() })
            .chain([Event::State { state: State::Draining }, Event::Done(failed), done()])
            .chain([Event::Progress(Progress { frames: 7, eta: Some(2.0), ..Progress::default() })])
            .chain([Event::Bitrate { output: 1, bitrate: 2, before: 3, message: "m".into() }]);
        for event in events {
            let text = serde_json::to_string(&event).unwrap();
            let read: Event = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
        let unknown = r#"{"type": "warning", "code": "other", "message": "m"}"#;
        assert!(serde_json::from_str::<Event>(unknown).is_err());
        for kind in [ErrorKind::Invalid, ErrorKind::NotFound, ErrorKind::Internal] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    #[test]
    fn wakeup_fires_on_registration_and_on_empty_to_non_empty_only() {
        let q = EventQueue::default();
        let count = Arc::new(AtomicU32::new(0));
        let seen = count.clone();
        q.set_wakeup(Some(Box::new(move || {
            seen.fetch_add(1, Ordering::SeqCst);
        })));
        q.push(Event::State { state: State::Running });
        q.push(Event::State { state: State::Draining });
        assert_eq!(count.load(Ordering::SeqCst), 2);
        q.set_wakeup(None);
        q.push(done());
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}
