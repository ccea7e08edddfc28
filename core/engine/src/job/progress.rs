//! Progress at a steady 2 Hz, and the watch for a stall.

use super::shared::{Shared, lock};
use crate::event::{Event, Progress};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often progress is told.
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);

/// Speed is measured over this many intervals.
const WINDOW: usize = 10;

/// Makes Progress events from the meters of a job.
pub(crate) struct Ticker {
    history: VecDeque<(Duration, u64, f64)>,
    activity: u64,
    active_at: Duration,
}

impl Ticker {
    pub fn new(shared: &Shared) -> Self {
        Ticker { history: VecDeque::new(), activity: 0, active_at: active_time(shared) }
    }

    /// Measures, tells, and returns how long nothing has moved.
    pub fn tick(&mut self, shared: &Shared) -> Duration {
        let now = active_time(shared);
        let mut progress = measure(shared);
        self.history.push_back((now, progress.frames, progress.time));
        if self.history.len() > WINDOW {
            self.history.pop_front();
        }
        if let Some(&(then, frames, time)) = self.history.front() {
            let elapsed = now.saturating_sub(then).as_secs_f64();
            if elapsed > 0.0 {
                progress.fps = progress.frames.saturating_sub(frames) as f64 / elapsed;
                progress.speed = (progress.time - time).max(0.0) / elapsed;
            }
        }
        if let Some(duration) = progress.duration
            && progress.fraction.is_some()
            && progress.speed > 0.0
        {
            progress.eta = Some(((duration - progress.time) / progress.speed).max(0.0));
        }
        *lock(&shared.progress) = progress.clone();
        shared.events.push(Event::Progress(progress));

        let activity = lock(&shared.meters).iter().map(|m| m.items_in.load(Ordering::Relaxed)).sum();
        if activity != self.activity {
            self.activity = activity;
            self.active_at = now;
        }
        now.saturating_sub(self.active_at)
    }
}

/// The job's clock without the time it was paused.
fn active_time(shared: &Shared) -> Duration {
    shared.clock.now().saturating_sub(shared.paused_for())
}

fn measure(shared: &Shared) -> Progress {
    let tracks = lock(&shared.tracks);
    let counted = || tracks.iter().filter(|t| t.counts);
    // A track that has ended (a short audio stream, say) no longer holds the time back.
    let time = counted()
        .filter(|t| !t.ended.load(Ordering::Relaxed))
        .map(|t| t.reached_us.load(Ordering::Relaxed))
        .min()
        .or_else(|| counted().map(|t| t.reached_us.load(Ordering::Relaxed)).max())
        .unwrap_or(0) as f64
        / 1e6;
    // A job that has gone to its end is done, however exact the source's length was.
    let complete = !shared.is_stopping()
        && counted().next().is_some()
        && counted().all(|t| t.ended.load(Ordering::Relaxed));
    // The slowest of those that still come; a poster beside a film has its one from the beginning, and sheets are few.
    let only_sheets = counted().filter(|t| t.video).all(|t| t.sheets);
    let pictures = || counted().filter(|t| t.video && (only_sheets || !t.sheets));
    let frames = pictures()
        .filter(|t| !t.ended.load(Ordering::Relaxed))
        .map(|t| t.packets.load(Ordering::Relaxed))
        .min()
        .or_else(|| pictures().map(|t| t.packets.load(Ordering::Relaxed)).max());
    let duration = *lock(&shared.duration);
    let dropped: u64 = lock(&shared.meters).iter().filter_map(|m| m.queue()).map(|q| q.dropped).sum();
    let dropped = dropped + shared.lost.load(Ordering::Relaxed);
    Progress {
        time,
        duration,
        // A length that was an estimate, and too short, says nothing once it is over.
        fraction: duration
            .filter(|d| *d > 0.0 && (complete || time <= d * 1.02 + 1.0))
            .map(|d| if complete { 1.0 } else { (time / d).clamp(0.0, 1.0) }),
        frames: frames.unwrap_or(0),
        fps: 0.0,
        speed: 0.0,
        eta: None,
        bytes: tracks.iter().map(|t| t.bytes.load(Ordering::Relaxed)).sum(),
        dropped,
        pushes: lock(&shared.pushes).iter().map(|p| p.read()).collect(),
    }
}
