//! What the owner is told of a pushed output.

use crate::event::PushStats;
use std::sync::{Arc, Mutex, PoisonError};

/// The statistics between who makes them and who reads them.
#[derive(Clone, Default)]
pub(crate) struct Status(Arc<Mutex<PushStats>>);

impl Status {
    pub fn new(output: usize, target: String) -> Status {
        Status(Arc::new(Mutex::new(PushStats { output, target, ..PushStats::default() })))
    }

    pub fn read(&self) -> PushStats {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn update(&self, with: impl FnOnce(&mut PushStats)) {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
