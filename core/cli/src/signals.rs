//! Ctrl-C: the first asks to finish, the second to cancel, the third ends the process.

use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the user wants after a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Read no more, finish the files.
    Stop,
    /// End now.
    Cancel,
}

/// Receives SIGINT and SIGTERM while it lives.
pub struct Signals {
    received: Arc<AtomicBool>,
    give_up: Arc<AtomicBool>,
    stopping: bool,
    ids: Vec<SigId>,
}

impl Signals {
    /// Begins to receive.
    ///
    /// # Errors
    /// Whatever the system has against a signal handler.
    pub fn install() -> io::Result<Self> {
        let (received, give_up) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut signals = Signals {
            received: received.clone(),
            give_up: give_up.clone(),
            stopping: false,
            ids: Vec::new(),
        };
        for signal in [SIGINT, SIGTERM] {
            let code = crate::exit::CANCELLED;
            signals.ids.push(signal_hook::flag::register_conditional_shutdown(
                signal,
                code,
                give_up.clone(),
            )?);
            signals.ids.push(signal_hook::flag::register(signal, received.clone())?);
        }
        Ok(signals)
    }

    /// What was asked for since the last call.
    pub fn wish(&mut self) -> Option<Wish> {
        if !self.received.swap(false, Ordering::SeqCst) {
            return None;
        }
        if !self.stopping {
            self.stopping = true;
            return Some(Wish::Stop);
        }
        self.give_up.store(true, Ordering::SeqCst);
        Some(Wish::Cancel)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}
