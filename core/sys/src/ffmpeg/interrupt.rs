//! Ending blocking I/O: a flag and a timeout that FFmpeg asks for between its system calls. And saying no to addresses
//! before it opens them.

use super::error::{EXIT, Error, REFUSED, Result, TIMED_OUT, text};
use std::ffi::{c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Cancels blocking calls of the demuxers and muxers that it was given to, from any thread. Clones are one handle.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    cancelled: AtomicBool,
    /// Milliseconds one blocking call may take, 0 = any.
    timeout: AtomicU64,
}

impl Interrupt {
    /// A handle that is not cancelled, without a timeout.
    pub fn new() -> Interrupt {
        Interrupt::default()
    }

    /// Makes running and future blocking calls end with [`Kind::Cancelled`](super::Kind::Cancelled).
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Relaxed);
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Relaxed)
    }

    /// Limits every blocking call (open, one read, one write) to `timeout`; it then ends with
    /// [`Kind::TimedOut`](super::Kind::TimedOut). `None` lifts the limit. Holds from the next call on.
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        let ms = timeout.map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX).max(1));
        self.0.timeout.store(ms, Relaxed);
    }
}

/// An address that a demuxer is about to open, or has been led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening<'a> {
    /// The source's own.
    Source(&'a str),
    /// One that the source names: a playlist's segment, a key, an external reference.
    Inside(&'a str),
    /// Where a redirect has led. It was asked for already; what it answered is not read.
    Redirect(&'a str),
}

/// Says whether an address may be opened, or why not. Called by the thread that uses the demuxer.
pub type Permit = Box<dyn Fn(Opening<'_>) -> std::result::Result<(), String> + Send>;

/// One object's view of an [`Interrupt`], at an address that FFmpeg keeps.
pub(crate) struct Watch {
    interrupt: Interrupt,
    permit: Option<Permit>,
    /// The first refusal of the running call: demuxers pass over what they cannot open, the caller must not.
    refusal: Mutex<Option<String>>,
    epoch: Instant,
    /// Milliseconds after `epoch`, 0 = none.
    deadline: AtomicU64,
    /// A call was ended by its deadline. FFmpeg may hand out what it has of it, and the interruption with the next call.
    ended_late: AtomicBool,
}

impl Watch {
    pub fn new(interrupt: Interrupt) -> Box<Watch> {
        Watch::with_permit(interrupt, None)
    }

    pub fn with_permit(interrupt: Interrupt, permit: Option<Permit>) -> Box<Watch> {
        let (epoch, deadline) = (Instant::now(), AtomicU64::new(0));
        Box::new(Watch {
            interrupt,
            permit,
            refusal: Mutex::new(None),
            epoch,
            deadline,
            ended_late: AtomicBool::new(false),
        })
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    /// Runs a blocking call under the timeout and gives an interrupted one its reason.
    pub fn run<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.interrupt.0.timeout.load(Relaxed) {
            0 => self.deadline.store(0, Relaxed),
            ms => self.deadline.store(self.now().saturating_add(ms), Relaxed),
        }
        let result = call();
        let expired = self.expired();
        self.deadline.store(0, Relaxed);
        if let Some(why) = self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(Error::new(REFUSED, why));
        }
        result.map_err(|e| {
            // Protocols report an interruption as EXIT, some demuxers as an I/O error.
            if self.interrupt.is_cancelled() {
                Error::new(EXIT, e.context().to_owned())
            } else if (expired && e.code == -libc::EIO)
                || (e.code == EXIT && (expired || self.ended_late.load(Relaxed)))
            {
                Error::new(TIMED_OUT, e.context().to_owned())
            } else {
                e
            }
        })
    }

    pub fn is_cancelled(&self) -> bool {
        self.interrupt.is_cancelled()
    }

    fn expired(&self) -> bool {
        let deadline = self.deadline.load(Relaxed);
        deadline != 0 && self.now() >= deadline
    }

    pub fn as_opaque(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }
}

/// What FFmpeg asks: 1 = stop.
pub(crate) unsafe extern "C" fn interrupted(opaque: *mut c_void) -> c_int {
    // SAFETY: the `Watch` behind `as_opaque`, which outlives the context it was given to.
    let watch = unsafe { &*opaque.cast::<Watch>() };
    let late = watch.expired();
    if late {
        watch.ended_late.store(true, Relaxed);
    }
    (late || watch.interrupt.is_cancelled()) as c_int
}

/// What the shim asks before it opens an address: 0 = yes. See `ask_and_open` in `shim/format.c`.
pub(crate) unsafe extern "C" fn asked(opaque: *mut c_void, url: *const c_char, how: c_int) -> c_int {
    // SAFETY: the `Watch` behind `as_opaque`, which outlives the context it was given to.
    let watch = unsafe { &*opaque.cast::<Watch>() };
    let Some(permit) = &watch.permit else { return 0 };
    // SAFETY: a terminated string that lives through the call.
    let url = unsafe { text(url) };
    let opening = match how {
        0 => Opening::Source(&url),
        1 => Opening::Inside(&url),
        _ => Opening::Redirect(&url),
    };
    // A panic must not unwind into C.
    let answer = catch_unwind(AssertUnwindSafe(|| permit(opening)))
        .unwrap_or_else(|_| Err("what decides about addresses panicked".into()));
    match answer {
        Ok(()) => 0,
        Err(why) => {
            watch.refusal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
            -libc::EACCES
        }
    }
}
