//! Reading at the speed of the timestamps.

use crate::job::shared::Shared;
use crate::time::Timestamp;
use std::time::Duration;

/// Delivers at the speed of the timestamps.
pub(super) struct Pacer {
    enabled: bool,
    start: Option<(Duration, Timestamp)>,
}

impl Pacer {
    pub fn new(enabled: bool) -> Self {
        Pacer { enabled, start: None }
    }

    /// Returns when what is due at `time` is.
    pub fn wait(&mut self, shared: &Shared, time: Timestamp) {
        if !self.enabled {
            return;
        }
        // Paused time does not count: the source stands still with the job.
        let now = shared.clock.now().saturating_sub(shared.paused_for());
        let (began, first) = *self.start.get_or_insert((now, time));
        let due = Duration::from_micros((time.micros() - first.micros()).max(0) as u64);
        let mut left = due.saturating_sub(now.saturating_sub(began));
        while !left.is_zero() && !shared.is_stopping() && !shared.is_cancelled() {
            let step = left.min(Duration::from_millis(50));
            shared.clock.sleep(step);
            left = left.saturating_sub(step);
        }
    }
}
