//! Waiting that other Python threads run during and that Ctrl-C ends.

use crate::error::{invalid, raise};
use ghoststream::{Error, ErrorKind};
use pyo3::prelude::*;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// How long a signal may wait to be seen.
pub const SLICE: Duration = Duration::from_millis(50);

/// A time limit from Python: `None` waits without limit.
pub fn limit(py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Duration>> {
    match timeout {
        None => Ok(None),
        Some(seconds) if seconds.is_nan() => Err(invalid(py, "timeout: not a number")),
        // Beyond what a clock can add: for ever.
        Some(seconds) => {
            Ok(Duration::try_from_secs_f64(seconds.max(0.0)).ok().filter(|d| d.as_secs() < 1 << 31))
        }
    }
}

/// Calls `step` with short time limits, without the interpreter lock, until it gives something or `timeout` is over.
/// Signal handlers run in between; an exception of theirs ends the wait.
pub fn in_slices<T: Send>(
    py: Python<'_>,
    timeout: Option<Duration>,
    mut step: impl FnMut(Duration) -> Option<T> + Send,
) -> PyResult<Option<T>> {
    let deadline = timeout.map(|t| Instant::now() + t);
    loop {
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        let slice = left.map_or(SLICE, |l| l.min(SLICE));
        if let Some(found) = py.detach(|| step(slice)) {
            return Ok(Some(found));
        }
        py.check_signals()?;
        if left.is_some_and(|l| l <= slice) {
            return Ok(None);
        }
    }
}

/// Runs `work` on a thread of its own and waits for it as [`in_slices`] does. When a signal ends the wait, `stop` is
/// called and the thread left to end by itself.
pub fn apart<T: Send + 'static>(
    py: Python<'_>,
    stop: impl FnOnce(),
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    let (sender, receiver) = sync_channel(1);
    let spawned = std::thread::Builder::new().name("gs-python".into()).spawn(move || {
        // Nobody listens any more after a signal.
        let _ = sender.send(work());
    });
    spawned.map_err(|e| raise(py, &Error::new(ErrorKind::Memory, format!("cannot start a thread: {e}"))))?;
    let receiver = std::sync::Mutex::new(receiver);
    let outcome = in_slices(py, None, |slice| {
        let receiver = receiver.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match receiver.recv_timeout(slice) {
            Ok(found) => Some(Some(found)),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(None),
        }
    });
    match outcome {
        Ok(Some(Some(found))) => Ok(found),
        Ok(_) => Err(raise(py, &Error::new(ErrorKind::Internal, "a thread ended without an answer"))),
        Err(e) => {
            stop();
            Err(e)
        }
    }
}
