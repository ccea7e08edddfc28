//! How fast a run makes what it makes. Pure.

use std::time::{Duration, Instant};

/// The speed of a run, from the times at which its segments came. The first one of each rendition, and the first after a halt,
/// only begin the count: a run has to open its source and to reach its place before.
#[derive(Debug)]
pub(super) struct Pace(Vec<Track>);

#[derive(Clone, Copy, Debug, Default)]
struct Track {
    /// When the last segment came.
    last: Option<Instant>,
    /// Seconds of media in a second.
    speed: Option<f64>,
}

/// How much the newest segment counts.
const NEWEST: f64 = 0.5;

impl Pace {
    /// For a run of `renditions`.
    pub fn new(renditions: usize) -> Self {
        Pace(vec![Track::default(); renditions])
    }

    /// A segment of `length` seconds of its rendition `at` is there.
    pub fn made(&mut self, at: usize, length: f64, now: Instant) {
        let Some(track) = self.0.get_mut(at) else { return };
        if let Some(last) = track.last.replace(now) {
            let speed = length / seconds(now, last);
            track.speed = Some(track.speed.map_or(speed, |s| s + (speed - s) * NEWEST));
        }
    }

    /// The run is halted.
    pub fn halted(&mut self) {
        self.0.iter_mut().for_each(|t| t.last = None);
    }

    /// Seconds of media of rendition `at` made in a second; its segments are `length` seconds long. `None` while nothing is
    /// known. A segment that is due counts as if it came now.
    pub fn speed(&self, at: usize, length: f64, now: Instant) -> Option<f64> {
        let track = self.0.get(at)?;
        let due = track.last.map(|last| length / seconds(now, last));
        match (track.speed, due) {
            (Some(speed), Some(due)) => Some(speed.min(due)),
            (None, Some(due)) => Some(due).filter(|d| *d < 1.0),
            (speed, None) => speed,
        }
    }
}

fn seconds(now: Instant, then: Instant) -> f64 {
    now.saturating_duration_since(then).max(Duration::from_millis(1)).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_segment_only_begins_the_count() {
        let begin = Instant::now();
        let at = |s: f64| begin + Duration::from_secs_f64(s);
        let mut pace = Pace::new(2);
        assert_eq!(pace.speed(0, 4.0, at(9.0)), None, "nothing is there");
        pace.made(0, 4.0, at(10.0));
        assert_eq!(pace.speed(0, 4.0, at(10.5)), None, "how long it took to begin says nothing");
        pace.made(0, 4.0, at(11.0));
        assert_eq!(pace.speed(0, 4.0, at(11.5)), Some(4.0));
        assert_eq!(pace.speed(1, 4.0, at(11.5)), None);
        pace.made(0, 4.0, at(13.0));
        assert_eq!(pace.speed(0, 4.0, at(13.0)), Some(3.0), "the newest counts half");
    }

    #[test]
    fn a_run_that_hangs_is_slow_and_one_that_is_halted_is_not() {
        let begin = Instant::now();
        let at = |s: u64| begin + Duration::from_secs(s);
        let mut pace = Pace::new(1);
        pace.made(0, 4.0, at(0));
        assert_eq!(pace.speed(0, 4.0, at(8)), Some(0.5), "the second does not come");
        pace.made(0, 4.0, at(1));
        assert_eq!(pace.speed(0, 4.0, at(21)), Some(0.2));
        pace.halted();
        assert_eq!(pace.speed(0, 4.0, at(100)), Some(4.0));
        pace.made(0, 4.0, at(101));
        assert_eq!(pace.speed(0, 4.0, at(101)), Some(4.0));
    }
}
