//! When a picture is taken: pure, so that it can be tried with any clock.

use crate::time::Rational;
use std::time::Duration;

/// Missed ticks that are still filled with repeated pictures; what is more is a hole (the machine slept).
const FILLED: u64 = 30;

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Wait this long.
    Wait(Duration),
    /// Take the picture of this tick.
    Take(u64),
    /// Give what was shown then, or the picture before once more, as that of this tick: its moment has passed.
    Repeat(u64),
}

/// The ticks of a constant rate.
pub(super) struct Pacer {
    rate: Rational,
    start: Option<Duration>,
    next: u64,
    /// Ticks that passed while nobody asked for a picture.
    pub dropped: u64,
    /// When the last picture was handed out.
    given: Option<Duration>,
}

impl Pacer {
    pub fn new(rate: Rational) -> Pacer {
        Pacer { rate, start: None, next: 0, dropped: 0, given: None }
    }

    /// Ticks come at `rate` from the next one on, which is the first of them that is not before the next one so far.
    pub fn retime(&mut self, rate: Rational) {
        let at = self.due(self.next);
        self.rate = rate;
        self.next = self.tick(at);
        if self.due(self.next) < at {
            self.next += 1;
        }
    }

    /// The first tick is at `start`.
    pub fn begin(&mut self, start: Duration) {
        self.start = Some(start);
    }

    /// When tick `n` is, counted from the first one.
    fn due(&self, n: u64) -> Duration {
        let nanos = u128::from(n) * 1_000_000_000 * self.rate.den.unsigned_abs() as u128;
        Duration::from_nanos(
            u64::try_from(nanos / self.rate.num.unsigned_abs().max(1) as u128).unwrap_or(u64::MAX),
        )
    }

    /// The tick that `at`, counted from the first one, lies in.
    fn tick(&self, at: Duration) -> u64 {
        let ticks = at.as_nanos() * self.rate.num.unsigned_abs() as u128
            / self.rate.den.unsigned_abs().max(1) as u128;
        u64::try_from(ticks / 1_000_000_000).unwrap_or(u64::MAX)
    }

    /// How long ago tick `n` was.
    pub fn since(&self, n: u64, now: Duration) -> Duration {
        now.saturating_sub(self.start.unwrap_or(now) + self.due(n))
    }

    /// The next picture is asked for. What passed since the last one was handed out is whoever took it: those ticks are
    /// dropped, not repeated, because he is too slow already. Not where the next one is at most `kept` ago, how long pictures
    /// are kept: he may have stood still for a moment, and catches up.
    pub fn asked(&mut self, now: Duration, kept: Duration) {
        let Some((start, given)) = self.start.zip(self.given.take()) else { return };
        let elapsed = now.saturating_sub(start);
        let current = self.tick(elapsed);
        let before = self.tick(given.saturating_sub(start));
        let late = elapsed.saturating_sub(self.due(self.next));
        if current > before && current > self.next && late > kept {
            self.dropped += current - self.next;
            self.next = current;
        }
    }

    /// What to do at `now`.
    pub fn step(&mut self, now: Duration) -> Step {
        let start = *self.start.get_or_insert(now);
        if now < start {
            return Step::Wait(start - now);
        }
        let elapsed = now - start;
        let due = self.due(self.next);
        if elapsed < due {
            return Step::Wait(due - elapsed);
        }
        let current = self.tick(elapsed);
        if current > self.next + FILLED {
            self.dropped += current - self.next;
            self.next = current;
        }
        let tick = self.next;
        self.next += 1;
        if current > tick { Step::Repeat(tick) } else { Step::Take(tick) }
    }

    /// A picture was handed out at `now`.
    pub fn gave(&mut self, now: Duration) {
        self.given = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn pacer() -> Pacer {
        Pacer::new(Rational::new(100, 1))
    }

    #[test]
    fn ticks_come_at_their_time() {
        let mut p = pacer();
        assert_eq!(p.step(MS(1000)), Step::Take(0));
        assert_eq!(p.step(MS(1003)), Step::Wait(MS(7)));
        assert_eq!(p.step(MS(1010)), Step::Take(1));
        assert_eq!(p.step(MS(1019)), Step::Wait(MS(1)));
        assert_eq!(p.step(MS(1021)), Step::Take(2));
    }

    #[test]
    fn the_first_tick_can_be_put_off() {
        let mut p = pacer();
        p.begin(MS(1005));
        assert_eq!(p.step(MS(1000)), Step::Wait(MS(5)));
        assert_eq!(p.step(MS(1005)), Step::Take(0));
        assert_eq!(p.step(MS(1006)), Step::Wait(MS(9)));
    }

    #[test]
    fn ntsc_does_not_drift() {
        let mut p = Pacer::new(Rational::new(60_000, 1001));
        let mut taken = 0;
        for ms in 0..1_001_000 {
            if let Step::Take(n) = p.step(MS(ms)) {
                assert_eq!(n, taken);
                taken += 1;
            }
        }
        assert_eq!(taken, 60_000);
    }

    #[test]
    fn a_slow_screen_repeats_pictures() {
        let mut p = pacer();
        p.step(MS(0));
        // Taking the picture of tick 1 lasted until tick 4.
        p.asked(MS(10), MS(0));
        assert_eq!(p.step(MS(10)), Step::Take(1));
        assert_eq!(p.step(MS(41)), Step::Repeat(2));
        assert_eq!(p.step(MS(41)), Step::Repeat(3));
        assert_eq!(p.step(MS(41)), Step::Take(4));
        assert_eq!(p.dropped, 0);
    }

    #[test]
    fn a_slow_taker_loses_pictures() {
        let mut p = pacer();
        p.step(MS(0));
        p.gave(MS(1));
        p.asked(MS(35), MS(0));
        assert_eq!(p.step(MS(35)), Step::Take(3));
        assert_eq!(p.dropped, 2);
        // One that takes less than a tick loses none.
        p.gave(MS(35));
        p.asked(MS(39), MS(0));
        assert_eq!(p.step(MS(39)), Step::Wait(MS(1)));
        assert_eq!(p.dropped, 2);
    }

    #[test]
    fn who_is_late_for_a_moment_gets_what_was_kept() {
        let mut p = pacer();
        p.step(MS(0));
        p.gave(MS(1));
        p.asked(MS(35), MS(30));
        assert_eq!(p.step(MS(35)), Step::Repeat(1));
        // Who gets later and later does not.
        p.gave(MS(36));
        p.asked(MS(71), MS(30));
        assert_eq!(p.step(MS(71)), Step::Take(7));
        assert_eq!(p.dropped, 5);
    }

    #[test]
    fn another_rate_goes_on_behind_the_ticks_so_far() {
        let mut p = pacer();
        for n in 0..=14 {
            assert_eq!(p.step(MS(n * 10)), Step::Take(n));
        }
        // The next was at 150 ms: at 25 a second that is tick 4 of 40 ms each.
        p.retime(Rational::new(25, 1));
        assert_eq!(p.step(MS(150)), Step::Wait(MS(10)));
        assert_eq!([p.step(MS(160)), p.step(MS(200))], [Step::Take(4), Step::Take(5)]);
        p.retime(Rational::new(100, 1));
        assert_eq!([p.step(MS(240)), p.step(MS(250))], [Step::Take(24), Step::Take(25)]);
        assert_eq!(p.dropped, 0);
    }

    #[test]
    fn a_long_sleep_is_a_hole() {
        let mut p = pacer();
        p.step(MS(0));
        assert_eq!(p.step(MS(60_000)), Step::Take(6000));
        assert_eq!(p.dropped, 5999);
    }
}
