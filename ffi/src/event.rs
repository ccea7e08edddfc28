//! Events as C sees them.

use crate::boundary::{Out, OutStruct, SizedStruct, not_now, timeout};
use crate::buffer::gs_buffer;
use crate::status::gs_status;
use engine::Result;
use engine::event::{Event, Next, Outcome, State};
use engine::job::Job;

/// The life of a job.
/// Since: 0
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[allow(non_camel_case_types)]
pub enum gs_state {
    /// Opening the source and planning.
    GS_STATE_STARTING = 0,
    /// Media flows.
    GS_STATE_RUNNING = 1,
    /// Halted by gs_job_pause.
    GS_STATE_PAUSED = 2,
    /// No more input is read; what is inside is being finished.
    GS_STATE_DRAINING = 3,
    /// Over.
    GS_STATE_FINISHED = 4,
}

impl From<State> for gs_state {
    fn from(state: State) -> gs_state {
        match state {
            State::Starting => gs_state::GS_STATE_STARTING,
            State::Running => gs_state::GS_STATE_RUNNING,
            State::Paused => gs_state::GS_STATE_PAUSED,
            State::Draining => gs_state::GS_STATE_DRAINING,
            State::Finished => gs_state::GS_STATE_FINISHED,
        }
    }
}

/// What an event is about. A value that this header does not name comes from a newer library: skip it.
/// Since: 0
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[allow(non_camel_case_types)]
pub enum gs_event_type {
    /// No event.
    GS_EVENT_NONE = 0,
    /// The state changed: `state`. Never lost.
    GS_EVENT_STATE = 1,
    /// What will be done and why, in the JSON.
    GS_EVENT_PLAN = 2,
    /// How far it is, twice a second: `time` to `dropped`. Only the newest waits.
    GS_EVENT_PROGRESS = 3,
    /// A fallback, a drop, an inserted transfer: in the JSON.
    GS_EVENT_WARNING = 4,
    /// A segment or playlist was completed, in the JSON.
    GS_EVENT_SEGMENT = 5,
    /// Over: `outcome` and `error`; the message is in the JSON. The last one, never lost.
    GS_EVENT_DONE = 6,
    /// A file is complete while the job goes on (gs_job_split, gs_job_save): `duration` and `bytes`; `path` and `output` are
    /// in the JSON. Never lost.
    GS_EVENT_SAVED = 7,
    /// The connection of a pushed output changed, in the JSON. Never lost.
    GS_EVENT_PUSH = 8,
    /// The bit rate of an output's video was changed to what its network can carry, in the JSON.
    GS_EVENT_BITRATE = 9,
}

/// How a job ended.
/// Since: 0
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[allow(non_camel_case_types)]
pub enum gs_outcome {
    /// It has not.
    GS_OUTCOME_NONE = 0,
    /// The source ended and every output is complete.
    GS_OUTCOME_COMPLETED = 1,
    /// gs_job_stop ended it early; every output is complete up to there.
    GS_OUTCOME_STOPPED = 2,
    /// gs_job_cancel ended it.
    GS_OUTCOME_CANCELLED = 3,
    /// It failed.
    GS_OUTCOME_FAILED = 4,
}

/// An event without its texts, which are in the JSON beside it.
/// Since: 0
#[derive(Clone, Copy)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct gs_event {
    /// sizeof (gs_event); you set it.
    pub size: u32,
    /// A gs_event_type.
    pub kind: i32,
    /// STATE: a gs_state.
    pub state: i32,
    /// DONE: a gs_outcome.
    pub outcome: i32,
    /// DONE: the failure as a gs_status, 0 when there is none.
    pub error: i32,
    /// 0.
    pub reserved: i32,
    /// PROGRESS: output time reached, in microseconds.
    pub time: i64,
    /// PROGRESS: the whole length, in microseconds; GS_NO_TIME when unknown. SAVED: that of the file.
    pub duration: i64,
    /// PROGRESS: 0 to 1; below 0 when unknown.
    pub fraction: f64,
    /// PROGRESS: frames a second.
    pub fps: f64,
    /// PROGRESS: output time per wall time.
    pub speed: f64,
    /// PROGRESS: microseconds to go; GS_NO_TIME when unknown.
    pub eta: i64,
    /// PROGRESS: video frames written.
    pub frames: u64,
    /// PROGRESS: bytes written. SAVED: those of the file.
    pub bytes: u64,
    /// PROGRESS: frames or packets dropped by live links, pictures left out of a screen, and frames lost with an encoder.
    pub dropped: u64,
}

// SAFETY: repr(C), begins with a u32, numbers only.
unsafe impl SizedStruct for gs_event {
    const FIRST: usize = 96;
}

/// The body of every `gs_*_next_event`.
///
/// # Safety
/// `event` is NULL or as long as its `size` says; `json` is NULL or writable.
pub(crate) unsafe fn next(
    job: Result<&Job>,
    timeout_us: i64,
    event: *mut gs_event,
    json: *mut *mut gs_buffer,
) -> Result<gs_status> {
    // SAFETY: the caller's promise.
    let (json, event) = unsafe { (Out::optional(json), OutStruct::optional(event, "event")) };
    let event = event?;
    let wait = timeout(timeout_us);
    let got = match job?.next_event(wait) {
        Next::Event(got) => got,
        Next::Timeout => return Ok(not_now(wait)),
        Next::End => return Ok(gs_status::GS_END),
    };
    if let Some(json) = json {
        json.set(gs_buffer::json(&got)?);
    }
    if let Some(event) = event {
        event.set(&brief(&got));
    }
    Ok(gs_status::GS_OK)
}

fn brief(event: &Event) -> gs_event {
    use gs_event_type::*;
    // SAFETY: numbers only; all zero is "nothing".
    let mut e: gs_event = unsafe { std::mem::zeroed() };
    (e.kind, e.outcome) = (GS_EVENT_NONE as i32, gs_outcome::GS_OUTCOME_NONE as i32);
    let micros = |seconds: f64| (seconds * 1e6) as i64;
    e.kind = match event {
        Event::State { state } => {
            e.state = gs_state::from(*state) as i32;
            GS_EVENT_STATE
        }
        Event::Plan { .. } => GS_EVENT_PLAN,
        Event::Progress(p) => {
            e.time = micros(p.time);
            e.duration = p.duration.map_or(crate::frame::GS_NO_TIME, micros);
            e.fraction = p.fraction.unwrap_or(-1.0);
            (e.fps, e.speed) = (p.fps, p.speed);
            e.eta = p.eta.map_or(crate::frame::GS_NO_TIME, micros);
            (e.frames, e.bytes, e.dropped) = (p.frames, p.bytes, p.dropped);
            GS_EVENT_PROGRESS
        }
        Event::Warning { .. } => GS_EVENT_WARNING,
        Event::Segment { .. } => GS_EVENT_SEGMENT,
        Event::Push { .. } => GS_EVENT_PUSH,
        Event::Bitrate { .. } => GS_EVENT_BITRATE,
        Event::Saved { duration, bytes, .. } => {
            (e.duration, e.bytes) = (micros(*duration), *bytes);
            GS_EVENT_SAVED
        }
        Event::Done(done) => {
            e.outcome = match done.outcome {
                Outcome::Completed => gs_outcome::GS_OUTCOME_COMPLETED,
                Outcome::Stopped => gs_outcome::GS_OUTCOME_STOPPED,
                Outcome::Cancelled => gs_outcome::GS_OUTCOME_CANCELLED,
                Outcome::Failed => gs_outcome::GS_OUTCOME_FAILED,
            } as i32;
            e.error = done.error.map_or(0, |kind| gs_status::from(kind) as i32);
            GS_EVENT_DONE
        }
    } as i32;
    e
}
