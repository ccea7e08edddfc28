//! Watches over the threads of a running graph.

use super::mux::Ended;
use crate::error::{Error, ErrorKind, Result};
use crate::event::State;
use crate::job::Ticker;
use crate::job::shared::{Shared, lock};
use crate::spec::PipelineSpec;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The threads of a running graph and what they report.
pub(super) struct Crew {
    pub(super) threads: Vec<(String, std::thread::JoinHandle<()>)>,
    pub(super) exits: std::sync::mpsc::Receiver<()>,
    pub(super) ended: Arc<Mutex<Vec<(usize, Ended)>>>,
    /// Whether the application feeds it.
    pub(super) fed: bool,
}

impl Crew {
    /// Tells progress until every thread has ended.
    pub(super) fn watch(self, shared: &Shared, spec: &PipelineSpec) -> Result<Vec<String>> {
        let mut ticker = Ticker::new(shared);
        let mut left = self.threads.len();
        let mut next_tick = shared.clock.now() + crate::job::INTERVAL;
        let stall = Duration::from_secs_f64(spec.stall_timeout.clamp(0.0, 1e9));
        while left > 0 {
            let wait = next_tick.saturating_sub(shared.clock.now());
            match self.exits.recv_timeout(wait) {
                Ok(()) => left -= 1,
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    next_tick = shared.clock.now() + crate::job::INTERVAL;
                    let still = ticker.tick(shared);
                    // A fed source may be slow for reasons of its own.
                    if !stall.is_zero() && still > stall && !self.fed && shared.state() != State::Paused {
                        shared.fail(Error::new(
                            ErrorKind::Io,
                            format!(
                                "{}: stalled: nothing moved for {:.0} s",
                                shared.name,
                                still.as_secs_f64()
                            ),
                        ));
                    }
                }
            }
        }
        for (name, thread) in self.threads {
            if let Err(panic) = thread.join() {
                shared
                    .fail(Error::new(ErrorKind::Internal, format!("{name}: panic: {}", panic_text(&*panic))));
            }
        }
        ticker.tick(shared);
        let mut ended = std::mem::take(&mut *lock(&self.ended));
        ended.sort_by_key(|(output, _)| *output);
        let mut files = Vec::new();
        for (_, end) in ended {
            match end {
                Ended::Complete(f) => files.extend(f),
                Ended::Aborted => {}
                Ended::Failed(e) => {
                    if !shared.is_cancelled() || e.kind() != ErrorKind::Cancelled {
                        shared.fail_output(e);
                    }
                }
            }
        }
        Ok(files)
    }
}

/// What a thread said as it panicked.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| s.to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
