//! When a picture is taken: pure, so that it can be tried with any clock.

use crate::time::Rational;
use std::time::Duration;

/// Missed ticks of so long are still filled with repeated pictures; what is more is a hole (the machine slept).
const FILLED: Duration = Duration::from_secs(1);
/// How late who takes pictures may be before those of the time that passed are left out: he may have stood still for a moment.
const PATIENCE: Duration = Duration::from_millis(300);
/// Who has lost pictures is too slow until he has lost none for so long.
const RECOVERED: Duration = Duration::from_secs(5);

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
    /// When pictures were dropped last.
    lost: Option<Duration>,
    /// Whether who stands still for a moment gets the pictures of that time.
    pub patient: bool,
}

impl Pacer {
    pub fn new(rate: Rational) -> Pacer {
        Pacer { rate, start: None, next: 0, dropped: 0, given: None, lost: None, patient: true }
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

    /// The next picture is asked for. What passed since the last one was handed out is whoever took it. Where he stood still
    /// for a moment, he gets the pictures of that time all the same, so that the rate stays constant; who is too slow, or
    /// wants the newest, does not: those ticks are dropped.
    pub fn asked(&mut self, now: Duration) {
        let Some((start, given)) = self.start.zip(self.given.take()) else { return };
        let elapsed = now.saturating_sub(start);
        let current = self.tick(elapsed);
        let before = self.tick(given.saturating_sub(start));
        let late = elapsed.saturating_sub(self.due(self.next));
        let slow = self.lost.is_some_and(|lost| now.saturating_sub(lost) < RECOVERED);
        if current > before && current > self.next && (slow || !self.patient || late > PATIENCE) {
            self.dropped += current - self.next;
            self.next = current;
            self.lost = Some(now);
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
        if elapsed - due > FILLED {
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
        p.asked(MS(10));
        assert_eq!(p.step(MS(10)), Step::Take(1));
        assert_eq!(p.step(MS(41)), Step::Repeat(2));
        assert_eq!(p.step(MS(41)), Step::Repeat(3));
        assert_eq!(p.step(MS(41)), Step::Take(4));
        assert_eq!(p.dropped, 0);
    }

    /// How many pictures who needs `cost` for each gets of `ticks`, and the longest run of ticks without one after the first
    /// second.
    fn taken_by(cost: Duration, ticks: u64) -> (u64, u64) {
        let mut p = pacer();
        let (mut now, mut taken, mut last, mut longest) = (MS(0), 0, 0, 0);
        loop {
            p.asked(now);
            match p.step(now) {
                Step::Wait(time) => now += time,
                Step::Take(n) | Step::Repeat(n) if n >= ticks => {
                    assert_eq!(taken + p.dropped, n);
                    return (taken, longest);
                }
                Step::Take(n) | Step::Repeat(n) => {
                    longest = if now > MS(1000) { longest.max(n - last) } else { 0 };
                    (taken, last) = (taken + 1, n);
                    p.gave(now);
                    now += cost;
                }
            }
        }
    }

    #[test]
    fn a_slow_taker_loses_pictures_evenly() {
        let (taken, longest) = taken_by(MS(30), 1000);
        assert!((333..=365).contains(&taken) && longest == 3, "{taken} {longest}");
        let (taken, longest) = taken_by(Duration::from_micros(10_500), 3000);
        assert!((2850..=2890).contains(&taken) && longest <= 31, "{taken} {longest}");
        // One that takes less than a tick loses none.
        assert_eq!(taken_by(MS(9), 1000), (1000, 1));
    }

    #[test]
    fn who_is_late_for_a_moment_loses_none() {
        let mut p = pacer();
        p.step(MS(0));
        p.gave(MS(1));
        p.asked(MS(290));
        for n in 1..29 {
            assert_eq!(p.step(MS(290)), Step::Repeat(n));
            p.gave(MS(290));
            p.asked(MS(290));
        }
        assert_eq!((p.step(MS(290)), p.dropped), (Step::Take(29), 0));
        // Who was away for long lost what passed, and is late no more until he has lost nothing for a while.
        p.gave(MS(291));
        p.asked(MS(701));
        assert_eq!((p.step(MS(701)), p.dropped), (Step::Take(70), 40));
        p.gave(MS(702));
        p.asked(MS(731));
        assert_eq!((p.step(MS(731)), p.dropped), (Step::Take(73), 42));
        while p.next < 574 {
            p.step(MS(p.next * 10));
        }
        p.gave(MS(5731));
        p.asked(MS(5771));
        assert_eq!((p.step(MS(5771)), p.dropped), (Step::Repeat(574), 42));
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
