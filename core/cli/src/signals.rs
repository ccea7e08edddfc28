//! Ctrl-C: the first asks to finish, the second to cancel, the third ends the process. What is recorded live obeys more.

use crate::control::Asked;
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
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
    save: Arc<AtomicBool>,
    toggle: Arc<AtomicBool>,
}

impl Signals {
    /// Begins to receive.
    ///
    /// # Errors
    /// Whatever the system has against a signal handler.
    pub fn install() -> io::Result<Self> {
        let mut signals = Signals {
            received: Arc::default(),
            give_up: Arc::default(),
            stopping: false,
            ids: Vec::new(),
            save: Arc::default(),
            toggle: Arc::default(),
        };
        for signal in [SIGINT, SIGTERM] {
            signals.end_on(signal)?;
        }
        Ok(signals)
    }

    /// Begins to receive what a recording obeys too: SIGHUP ends it, SIGUSR1 saves, SIGUSR2 pauses.
    ///
    /// # Errors
    /// Whatever the system has against a signal handler.
    pub fn install_live() -> io::Result<Self> {
        let mut signals = Signals::install()?;
        signals.end_on(SIGHUP)?;
        for (signal, flag) in [(SIGUSR1, &signals.save), (SIGUSR2, &signals.toggle)] {
            signals.ids.push(signal_hook::flag::register(signal, flag.clone())?);
        }
        Ok(signals)
    }

    fn end_on(&mut self, signal: i32) -> io::Result<()> {
        let give_up = self.give_up.clone();
        let code = crate::exit::CANCELLED;
        self.ids.push(signal_hook::flag::register_conditional_shutdown(signal, code, give_up)?);
        self.ids.push(signal_hook::flag::register(signal, self.received.clone())?);
        Ok(())
    }

    /// What a recording was asked for since the last call.
    pub fn asked(&mut self) -> Option<Asked> {
        if self.save.swap(false, Ordering::SeqCst) {
            return Some(Asked::Save);
        }
        self.toggle.swap(false, Ordering::SeqCst).then_some(Asked::Toggle)
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
