//! The engine's log, which has FFmpeg's in it, to one callback.

use crate::boundary::{enter, enter_or};
use crate::status::gs_status;
use engine::{Error, Result};
use std::cell::Cell;
use std::ffi::{CString, c_char, c_void};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Once, PoisonError, RwLock};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// How grave a line of the log is. A level includes those below it.
/// Since: 0
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
#[allow(non_camel_case_types)]
pub enum gs_log_level {
    /// Nothing.
    GS_LOG_OFF = 0,
    /// Something failed.
    GS_LOG_ERROR = 1,
    /// Something is not as asked.
    GS_LOG_WARNING = 2,
    /// What happens, in a few lines.
    GS_LOG_INFO = 3,
    /// What happens, in detail.
    GS_LOG_DEBUG = 4,
    /// Everything.
    GS_LOG_TRACE = 5,
}

use gs_log_level::*;

/// Receives a line of the log. It runs on the thread that logs, also on several at once; it must return quickly and call
/// nothing of this library.
/// Owns: nothing; the texts are valid during the call.
/// Thread: any, also the engine's.
/// Errors: none; a C++ exception must not leave it.
/// Since: 0
///
/// `level` is a gs_log_level; `job` the id of the job concerned (gs_job_id) or 0; `component` who speaks (`libx264`,
/// `ghoststream::pipeline`); `message` the line, without a line end; `user` what was given to gs_log_set.
#[allow(non_camel_case_types)]
pub type gs_log_callback = Option<
    unsafe extern "C" fn(
        level: i32,
        job: u64,
        component: *const c_char,
        message: *const c_char,
        user: *mut c_void,
    ),
>;

type Callback = unsafe extern "C" fn(
    level: i32,
    job: u64,
    component: *const c_char,
    message: *const c_char,
    user: *mut c_void,
);

#[derive(Clone, Copy)]
struct Sink {
    callback: Callback,
    user: *mut c_void,
}

// SAFETY: the header asks for a callback that may run on any thread, with its `user`.
unsafe impl Send for Sink {}
// SAFETY: as above.
unsafe impl Sync for Sink {}

static SINK: RwLock<Option<Sink>> = RwLock::new(None);
static LEVEL: AtomicI32 = AtomicI32::new(GS_LOG_OFF as i32);

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Sends every line of `level` (a gs_log_level) and graver to `callback`; a NULL callback or GS_LOG_OFF ends it. Before
/// the first call nothing is written anywhere. There is one log for the process. When it returns, the callback that was
/// set before is idle for good.
/// Owns: keeps `callback` and `user` until the next call.
/// Thread: any, but not from inside the callback (GS_STATE).
/// Errors: GS_INVALID for a level that is none; GS_STATE.
/// Since: 0
///
/// # Safety
/// `callback` is NULL or may be called on any thread with `user` until it is replaced.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_log_set(level: i32, callback: gs_log_callback, user: *mut c_void) -> gs_status {
    enter(|| set(level, callback.map(|callback| Sink { callback, user })))
}

fn set(level: i32, sink: Option<Sink>) -> Result<gs_status> {
    if !(GS_LOG_OFF as i32..=GS_LOG_TRACE as i32).contains(&level) {
        return Err(Error::invalid("level", format!("{level} is not a gs_log_level")));
    }
    if INSIDE.get() {
        return Err(Error::new(engine::ErrorKind::State, "gs_log_set was called from a log callback"));
    }
    let sink = sink.filter(|_| level > GS_LOG_OFF as i32);
    {
        let mut slot = SINK.write().unwrap_or_else(PoisonError::into_inner);
        *slot = sink;
        LEVEL.store(if sink.is_some() { level } else { GS_LOG_OFF as i32 }, Ordering::Relaxed);
    }
    static ONCE: Once = Once::new();
    // A host in Rust that has a subscriber keeps it.
    ONCE.call_once(|| drop(tracing::subscriber::set_global_default(Bridge)));
    tracing::callsite::rebuild_interest_cache();
    Ok(gs_status::GS_OK)
}

fn wanted(level: gs_log_level) -> bool {
    level as i32 <= LEVEL.load(Ordering::Relaxed)
}

fn deliver(level: gs_log_level, job: u64, component: &str, message: &str) {
    if !wanted(level) || INSIDE.replace(true) {
        return;
    }
    let plain = |text: &str| CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default();
    let (component, message) = (plain(component), plain(message));
    let sink = SINK.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(sink) = *sink {
        // SAFETY: set by gs_log_set under its contract; held by the lock until it returns.
        unsafe { (sink.callback)(level as i32, job, component.as_ptr(), message.as_ptr(), sink.user) }
    }
    drop(sink);
    INSIDE.set(false);
}

/// `tracing` events to the callback.
struct Bridge;

fn level_of(metadata: &Metadata<'_>) -> gs_log_level {
    match *metadata.level() {
        Level::ERROR => GS_LOG_ERROR,
        Level::WARN => GS_LOG_WARNING,
        Level::INFO => GS_LOG_INFO,
        Level::DEBUG => GS_LOG_DEBUG,
        Level::TRACE => GS_LOG_TRACE,
    }
}

impl Subscriber for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && wanted(level_of(metadata))
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        enter_or((), || {
            let text = format!("{}{}", line.message, line.fields);
            let component =
                if line.component.is_empty() { event.metadata().target() } else { &line.component };
            deliver(level_of(event.metadata()), line.job, component, &text);
        });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// An event's fields: the message, the job, FFmpeg's component, and the rest as ` name=value`.
#[derive(Default)]
struct Line {
    job: u64,
    component: String,
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "job" {
            self.job = value;
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "component" {
            self.component = value.to_owned();
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}
