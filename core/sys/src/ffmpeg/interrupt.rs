//! Ending blocking I/O: a flag and a timeout that FFmpeg asks for between its system calls.

use super::error::{EXIT, Error, Result, TIMED_OUT};
use std::ffi::{c_int, c_void};
use std::sync::Arc;
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

/// One object's view of an [`Interrupt`], at an address that FFmpeg keeps.
pub(crate) struct Watch {
    interrupt: Interrupt,
    epoch: Instant,
    /// Milliseconds after `epoch`, 0 = none.
    deadline: AtomicU64,
}

impl Watch {
    pub fn new(interrupt: Interrupt) -> Box<Watch> {
        Box::new(Watch { interrupt, epoch: Instant::now(), deadline: AtomicU64::new(0) })
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
        result.map_err(|e| {
            // Protocols report an interruption as EXIT, some demuxers as an I/O error.
            if self.interrupt.is_cancelled() {
                Error::new(EXIT, e.context().to_owned())
            } else if expired && (e.code == EXIT || e.code == -libc::EIO) {
                Error::new(TIMED_OUT, e.context().to_owned())
            } else {
                e
            }
        })
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
    (watch.interrupt.is_cancelled() || watch.expired()) as c_int
}
