//! The times of RTP packets on one clock for all tracks of a publisher. Sans-IO.
//!
//! The time stamps of two RTP streams begin anywhere. Sender reports say how they lie to each other, but only after a while:
//! until then the times of arrival must do. Sound is the clock, because it must go on without a gap; the pictures are moved
//! to it, a little with each, when the reports show that they lie elsewhere.

use std::time::{Duration, SystemTime};

/// A difference by more than this (microseconds) is a report that says nothing.
const MOST: i64 = 5_000_000;

/// What a sender report says: a moment on the sender's clock and the same one in RTP time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// On the sender's own clock.
    pub at: SystemTime,
    /// In ticks of the track.
    pub rtp: u64,
}

/// The clock of one RTP stream.
#[derive(Clone, Debug)]
pub struct Clock {
    rate: u32,
    /// A moment in ticks and in microseconds since the session began.
    origin: Option<(u64, i64)>,
    report: Option<Report>,
    /// What is added to what `origin` gives, in microseconds.
    moved: i64,
    last: Option<i64>,
}

impl Clock {
    /// With `rate` ticks a second.
    pub fn new(rate: u32) -> Clock {
        Clock { rate: rate.max(1), origin: None, report: None, moved: 0, last: None }
    }

    /// Takes note of what came: RTP time `rtp` arrived `since` the session began, and `report` is the last one.
    pub fn note(&mut self, rtp: u64, since: Duration, report: Option<Report>) {
        if self.origin.is_none() {
            self.origin = Some((rtp, i64::try_from(since.as_micros()).unwrap_or(i64::MAX)));
        }
        self.report = report.or(self.report);
    }

    /// The time of `rtp` in microseconds since the session began.
    pub fn time(&self, rtp: u64) -> Option<i64> {
        Some(self.unmoved(rtp)?.saturating_add(self.moved))
    }

    fn unmoved(&self, rtp: u64) -> Option<i64> {
        let (origin, at) = self.origin?;
        Some(at.saturating_add(self.micros(origin, rtp)))
    }

    /// From tick `from` to tick `to`, in microseconds.
    fn micros(&self, from: u64, to: u64) -> i64 {
        let ticks = i128::from(to) - i128::from(from);
        i64::try_from(ticks * 1_000_000 / i128::from(self.rate)).unwrap_or(0)
    }

    /// The time of `rtp` once this clock was moved towards `sound`'s: at once when nothing was given yet, then by no more
    /// than a twentieth of what passed.
    pub fn follow(&mut self, rtp: u64, sound: Option<&Clock>) -> Option<i64> {
        let unmoved = self.unmoved(rtp)?;
        let wanted = sound.and_then(|s| self.where_sound_says(rtp, s)).map(|t| t.saturating_sub(unmoved));
        if let Some(wanted) = wanted.filter(|w| w.abs() < MOST) {
            self.moved = match self.last {
                None => wanted,
                Some(last) => {
                    let step = unmoved.saturating_sub(last).clamp(0, 1_000_000) / 20;
                    self.moved + (wanted - self.moved).clamp(-step, step)
                }
            };
        }
        self.last = Some(unmoved);
        Some(unmoved.saturating_add(self.moved))
    }

    /// The time of `rtp` by the reports of both.
    fn where_sound_says(&self, rtp: u64, sound: &Clock) -> Option<i64> {
        let (here, there) = (self.report?, sound.report?);
        let apart = match here.at.duration_since(there.at) {
            Ok(later) => i64::try_from(later.as_micros()).ok()?,
            Err(earlier) => -i64::try_from(earlier.duration().as_micros()).ok()?,
        };
        let of_there = sound.time(there.rtp)?;
        Some(of_there.saturating_add(apart).saturating_add(self.micros(here.rtp, rtp)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn before_reports_the_arrival_decides() {
        let mut video = Clock::new(90_000);
        assert_eq!(video.time(5), None);
        video.note(4_000_000_000, ms(120), None);
        assert_eq!(video.time(4_000_000_000 + 90_000), Some(1_120_000));
        video.note(4_000_090_000, ms(5000), None);
        assert_eq!(video.time(4_000_090_000), Some(1_120_000), "only the first one counts");
        assert_eq!(video.time(4_000_000_000 - 9_000), Some(20_000));
    }

    #[test]
    fn pictures_move_to_where_the_reports_say() {
        let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let (mut video, mut audio) = (Clock::new(90_000), Clock::new(48_000));
        audio.note(1_000, ms(0), Some(Report { at: epoch, rtp: 1_000 }));
        // This picture was taken together with the first sound and came 80 ms later.
        video.note(700_000, ms(80), None);
        assert_eq!(video.follow(700_000, Some(&audio)), Some(80_000));
        video.note(703_000, ms(113), Some(Report { at: epoch, rtp: 700_000 }));
        let mut last = 80_000;
        for n in 1..100u64 {
            let now = video.follow(700_000 + n * 3_000, Some(&audio)).unwrap();
            assert!(now > last, "time goes on");
            last = now;
        }
        assert_eq!(last, 99 * 33_333 + 33, "and ends where the reports put it");
    }

    #[test]
    fn the_first_picture_goes_there_at_once_and_nonsense_nowhere() {
        let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let (mut video, mut audio) = (Clock::new(90_000), Clock::new(48_000));
        audio.note(0, ms(0), Some(Report { at: epoch, rtp: 0 }));
        video.note(0, ms(80), Some(Report { at: epoch + ms(20), rtp: 0 }));
        assert_eq!(video.follow(0, Some(&audio)), Some(20_000));
        let mut other = Clock::new(90_000);
        other.note(0, ms(80), Some(Report { at: SystemTime::UNIX_EPOCH, rtp: 0 }));
        assert_eq!(other.follow(0, Some(&audio)), Some(80_000));
    }
}
