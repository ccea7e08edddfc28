//! What bit rate a link can carry: decided from what is measured, without clock or thread.
//!
//! Down at once, to what got through, when packets wait or are dropped; up by a step when nothing has waited for a
//! while. A step up that was too much makes the next wait longer, so that the rate does not swing around what the link
//! can carry.

use std::time::Duration;

/// What is measured at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// Any clock that does not go back.
    pub now: Duration,
    /// Media that waits to be sent, here and in the network's own buffer.
    pub delay: Duration,
    /// Bits a second of the picture that got through lately.
    pub throughput: u64,
    /// Part of the packets that the network lost lately, 0 to 1, where it tells.
    pub loss: f64,
    /// Pictures dropped since the last time.
    pub dropped: u64,
}

/// Bounds of the rate and of patience.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bits per second.
    pub min: u64,
    /// Bits per second; where it begins.
    pub max: u64,
    /// Waiting that is congestion.
    pub high: Duration,
    /// Waiting that is none.
    pub low: Duration,
}

/// Rates go down no oftener than this, unless something was dropped.
const HOLD: Duration = Duration::from_millis(1500);
/// Nothing has waited for this long: up.
const CLEAR: Duration = Duration::from_secs(4);
/// Between two steps up.
const STEP: Duration = Duration::from_secs(2);
/// The most that failed steps make it wait.
const MOST_PATIENCE: Duration = Duration::from_secs(60);
/// A step that is followed by congestion within this was too much.
const TRIAL: Duration = Duration::from_secs(10);
/// Of what got through: the rest empties the queue.
const SHARE: f64 = 0.85;
/// Of the largest rate: a step up.
const UP: f64 = 0.08;

/// More than this is lost to a link that is too narrow; less is the air's.
const MOST_LOSS: f64 = 0.08;

/// The decision's memory.
pub(super) struct Adapt {
    bounds: Bounds,
    rate: u64,
    down: Option<Duration>,
    up: Option<Duration>,
    /// Since when nothing waits.
    clear: Option<Duration>,
    patience: Duration,
}

impl Adapt {
    pub fn new(bounds: Bounds) -> Adapt {
        Adapt { bounds, rate: bounds.max, down: None, up: None, clear: None, patience: CLEAR }
    }

    /// The rate now.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// The link is another one: what waits says nothing yet. The rate stays.
    pub fn reset(&mut self) {
        self.clear = None;
    }

    /// A new rate, if there is one.
    pub fn decide(&mut self, m: &Measured) -> Option<u64> {
        let since = |then: Option<Duration>| then.map(|t| m.now.saturating_sub(t));
        let congested = m.dropped > 0 || m.delay >= self.bounds.high || m.loss >= MOST_LOSS;
        if congested {
            self.clear = None;
            let held = since(self.down).is_some_and(|t| t < if m.dropped > 0 { HOLD / 2 } else { HOLD });
            if held || self.rate <= self.bounds.min {
                return None;
            }
            if since(self.up).is_some_and(|t| t < TRIAL) {
                self.patience = (self.patience * 2).min(MOST_PATIENCE);
            }
            let through = (m.throughput as f64 * (1.0 - m.loss.clamp(0.0, 1.0)) * SHARE) as u64;
            // What got through is known badly when little was sent: never below half, never by less than a tenth.
            let wanted = through.clamp(self.rate / 2, self.rate - self.rate / 10);
            return self.set(wanted, m.now, false);
        }
        if m.delay > self.bounds.low || m.loss >= MOST_LOSS / 2.0 {
            self.clear = None;
            return None;
        }
        let clear = *self.clear.get_or_insert(m.now);
        if self.rate >= self.bounds.max || m.now.saturating_sub(clear) < self.patience {
            return None;
        }
        if since(self.up).is_some_and(|t| t < STEP) {
            return None;
        }
        let step = ((self.bounds.max as f64 * UP) as u64).max(1);
        self.set(self.rate.saturating_add(step), m.now, true)
    }

    fn set(&mut self, wanted: u64, now: Duration, up: bool) -> Option<u64> {
        let rate = wanted.clamp(self.bounds.min, self.bounds.max);
        if rate == self.rate {
            return None;
        }
        if up {
            self.up = Some(now);
            if rate == self.bounds.max {
                self.patience = CLEAR;
            }
        } else {
            (self.down, self.up) = (Some(now), None);
        }
        self.rate = rate;
        Some(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        min: 200_000,
        max: 4_000_000,
        high: Duration::from_millis(700),
        low: Duration::from_millis(200),
    };
    const TICK: Duration = Duration::from_millis(250);

    fn random(seed: &mut u64, n: u64) -> u64 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) % n
    }

    #[test]
    fn whatever_is_measured_the_rate_stays_within_its_bounds_and_waits_before_it_turns() {
        for seed in 0..300u64 {
            let (mut seed, mut adapt) = (seed * 7919 + 1, Adapt::new(BOUNDS));
            let (mut now, mut turned, mut congested): (Duration, Option<Duration>, Option<Duration>) =
                (Duration::ZERO, None, None);
            for _ in 0..500 {
                now += Duration::from_millis(100 + random(&mut seed, 400));
                let measured = Measured {
                    now,
                    delay: Duration::from_millis(random(&mut seed, 1500))
                        / (1 + random(&mut seed, 4) as u32 * 3),
                    throughput: random(&mut seed, 8_000_000),
                    loss: random(&mut seed, 100) as f64 / 1000.0,
                    dropped: u64::from(random(&mut seed, 10) == 0),
                };
                if measured.delay >= BOUNDS.high || measured.dropped > 0 || measured.loss >= MOST_LOSS {
                    congested = Some(now);
                }
                let before = adapt.rate();
                let Some(rate) = adapt.decide(&measured) else { continue };
                assert!((BOUNDS.min..=BOUNDS.max).contains(&rate) && rate != before);
                if rate > before {
                    assert!(congested.is_none_or(|c| now - c >= CLEAR), "up too soon");
                    assert!(rate - before <= BOUNDS.max / 10, "up by a step");
                } else {
                    assert!(turned.is_none_or(|t| now - t >= HOLD / 2), "down too often");
                    assert!(rate >= before / 2 || rate == BOUNDS.min, "down too far");
                    turned = Some(now);
                }
            }
        }
    }

    /// A link of `capacity(t)` with a queue; what is sent is the rate.
    fn simulate(seconds: u32, capacity: impl Fn(f64) -> f64) -> Vec<(f64, u64)> {
        let (mut adapt, mut queue, mut rates) = (Adapt::new(BOUNDS), 0f64, vec![(0.0, BOUNDS.max)]);
        let mut passed = std::collections::VecDeque::from([0f64; 4]);
        for tick in 0..seconds * 4 {
            let t = f64::from(tick) / 4.0;
            queue += adapt.rate() as f64 / 4.0;
            let sent = queue.min(capacity(t) / 4.0);
            queue -= sent;
            passed.push_back(sent);
            passed.pop_front();
            let delay = queue / adapt.rate() as f64;
            // A queue that is too long is cut.
            let dropped = u64::from(delay > 2.0);
            if delay > 2.0 {
                queue = adapt.rate() as f64 * 0.5;
            }
            let measured = Measured {
                now: TICK * (tick + 1),
                delay: Duration::from_secs_f64(delay),
                throughput: passed.iter().sum::<f64>() as u64,
                loss: 0.02,
                dropped,
            };
            rates.extend(adapt.decide(&measured).map(|rate| (t, rate)));
        }
        rates
    }

    #[test]
    fn a_steady_link_is_followed_and_not_swung_around() {
        for capacity in [300_000.0, 900_000.0, 2_000_000.0, 3_500_000.0] {
            let rates = simulate(300, |_| capacity);
            let at = |t: f64| rates.iter().rev().find(|(when, _)| *when <= t).unwrap().1 as f64;
            assert!(at(10.0) <= capacity * 1.05, "{capacity}: {rates:?}");
            assert!(at(120.0) >= capacity * 0.5, "{capacity}: {rates:?}");
            let turns = rates.windows(3).filter(|w| (w[1].1 > w[0].1) != (w[2].1 > w[1].1)).count();
            assert!(turns <= 24, "{capacity}: {turns} turns in 300 s: {rates:?}");
        }
        assert_eq!(simulate(60, |_| 5_000_000.0).len(), 1, "a link that is wide enough changes nothing");
    }

    #[test]
    fn a_link_that_recovers_gets_its_rate_back() {
        let rates = simulate(120, |t| if (10.0..30.0).contains(&t) { 600_000.0 } else { 9e6 });
        let lowest = rates.iter().map(|r| r.1).min().unwrap();
        assert!((300_000..=700_000).contains(&lowest), "{rates:?}");
        assert_eq!(rates.last().unwrap().1, BOUNDS.max, "{rates:?}");
        assert!(rates.last().unwrap().0 < 80.0, "{rates:?}");
    }

    #[test]
    fn what_a_narrow_link_loses_lowers_the_rate_too() {
        let mut adapt = Adapt::new(BOUNDS);
        let mut lose = |second, loss| {
            let (now, delay) = (Duration::from_secs(second), Duration::ZERO);
            adapt.decide(&Measured { now, delay, throughput: 4_000_000, loss, dropped: 0 })
        };
        assert_eq!((lose(1, 0.02), lose(2, 0.07)), (None, None));
        assert_eq!(lose(3, 0.3), Some((4e6 * 0.7 * SHARE) as u64));
        assert!((4..20).filter_map(|t| lose(t, 0.01)).all(|rate| rate > 2_380_000));
    }

    #[test]
    fn a_dead_link_ends_at_the_least() {
        let rates = simulate(30, |_| 0.0);
        assert_eq!(rates.last().unwrap().1, BOUNDS.min);
    }
}
