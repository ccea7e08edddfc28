//! Progress at a steady 2 Hz, and the watch for a stall.

use super::shared::{Meter, Shared, lock};
use crate::event::{Event, Progress};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often progress is told.
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);

/// Speed is measured over this many intervals.
const WINDOW: usize = 10;

/// What was done in less than this says nothing of the speed. A job that is paused goes on with what is inside while its time
/// stands still.
const LEAST: Duration = Duration::from_millis(100);

/// Makes Progress events from the meters of a job.
pub(crate) struct Ticker {
    /// Active time, frames and output time at ticks between which the job was active.
    history: VecDeque<(Duration, u64, f64)>,
    activity: u64,
    active_at: Duration,
}

impl Ticker {
    pub fn new(shared: &Shared) -> Self {
        let (now, begin) = (active_time(shared), measure(shared));
        Ticker { history: [(now, begin.frames, begin.time)].into(), activity: 0, active_at: now }
    }

    /// Measures, tells, and returns how long nothing has moved.
    pub fn tick(&mut self, shared: &Shared) -> Duration {
        let now = active_time(shared);
        let mut progress = measure(shared);
        if let Some(&(then, frames, time)) = self.history.front() {
            let elapsed = now.saturating_sub(then);
            if elapsed >= LEAST {
                progress.fps = progress.frames.saturating_sub(frames) as f64 / elapsed.as_secs_f64();
                progress.speed = (progress.time - time).max(0.0) / elapsed.as_secs_f64();
            }
        }
        if self.history.back().is_none_or(|(then, ..)| now.saturating_sub(*then) >= LEAST) {
            self.history.push_back((now, progress.frames, progress.time));
            if self.history.len() > WINDOW {
                self.history.pop_front();
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
    let screens = |m: &Meter| m.screen().map_or(0, |c| c.dropped.load(Ordering::Relaxed));
    let dropped: u64 =
        lock(&shared.meters).iter().map(|m| m.queue().map_or(0, |q| q.dropped) + screens(m)).sum();
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

#[cfg(test)]
mod tests {
    use super::super::shared::TrackMeter;
    use super::*;
    use crate::event::State;
    use crate::time::Clock;
    use std::sync::{Arc, Mutex};

    /// A clock that only sleeping moves.
    #[derive(Default)]
    struct Hands(Mutex<Duration>);

    impl Clock for Hands {
        fn now(&self) -> Duration {
            *lock(&self.0)
        }

        fn sleep(&self, duration: Duration) {
            *lock(&self.0) += duration;
        }
    }

    /// A running job of 10 s at 25 frames a second.
    fn job(clock: &Arc<Hands>) -> Arc<Shared> {
        let shared = Shared::new(1, "j".into(), false, clock.clone());
        shared.set_state(State::Running);
        *lock(&shared.duration) = Some(10.0);
        lock(&shared.tracks).push(Arc::new(TrackMeter::new(0, "v".into(), true, true, false, None)));
        shared
    }

    fn reach(shared: &Shared, frames: u64) {
        let track = lock(&shared.tracks)[0].clone();
        track.packets.store(frames, Ordering::Relaxed);
        track.reached_us.store(frames as i64 * 40_000, Ordering::Relaxed);
    }

    fn tick(ticker: &mut Ticker, shared: &Shared) -> (f64, Option<f64>) {
        ticker.tick(shared);
        let progress = lock(&shared.progress).clone();
        (progress.fps, progress.eta)
    }

    #[test]
    fn the_first_progress_knows_the_speed() {
        let clock = Arc::new(Hands::default());
        let shared = job(&clock);
        let mut ticker = Ticker::new(&shared);
        clock.sleep(INTERVAL);
        reach(&shared, 50);
        assert_eq!(tick(&mut ticker, &shared), (100.0, Some(2.0)));
    }

    #[test]
    fn a_pause_stands_out_of_the_speed() {
        let clock = Arc::new(Hands::default());
        let shared = job(&clock);
        let mut ticker = Ticker::new(&shared);
        clock.sleep(INTERVAL);
        reach(&shared, 50);
        tick(&mut ticker, &shared);
        clock.sleep(Duration::from_micros(20));
        assert!(shared.pause());
        // What is inside still comes, and the ticks are more than are remembered.
        reach(&shared, 52);
        for _ in 0..3 * WINDOW {
            clock.sleep(INTERVAL);
            let (fps, eta) = tick(&mut ticker, &shared);
            assert!(
                (103.0..105.0).contains(&fps) && eta.is_some_and(|eta| (1.8..2.0).contains(&eta)),
                "{fps} {eta:?}"
            );
        }
        shared.resume();
        clock.sleep(INTERVAL);
        reach(&shared, 100);
        let (fps, _) = tick(&mut ticker, &shared);
        assert!((99.0..101.0).contains(&fps), "{fps}");
    }

    #[test]
    fn a_job_paused_at_once_has_no_speed() {
        let clock = Arc::new(Hands::default());
        let shared = job(&clock);
        let mut ticker = Ticker::new(&shared);
        clock.sleep(Duration::from_micros(20));
        assert!(shared.pause());
        reach(&shared, 4);
        clock.sleep(INTERVAL);
        assert_eq!(tick(&mut ticker, &shared), (0.0, None));
    }
}
