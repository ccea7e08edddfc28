//! Time never travels without its clock: a [`Timestamp`] is ticks *and* the base they count in.

use crate::error::{Error, Result};
use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

/// An exact fraction: a frame rate (frames per second), a sample aspect ratio or a time base (seconds per tick).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rational {
    /// Numerator.
    pub num: i32,
    /// Denominator; zero only in "unknown" values such as FFmpeg's 0/0.
    pub den: i32,
}

impl Rational {
    /// `num/den`, as given, not reduced.
    pub const fn new(num: i32, den: i32) -> Self {
        Rational { num, den }
    }

    /// Whether both parts are positive, so that the value can be divided by.
    pub const fn is_positive(self) -> bool {
        self.num > 0 && self.den > 0
    }

    /// The value as a float; 0 when the denominator is 0.
    pub fn as_f64(self) -> f64 {
        if self.den == 0 { 0.0 } else { f64::from(self.num) / f64::from(self.den) }
    }

    /// `den/num`.
    pub const fn inverse(self) -> Self {
        Rational { num: self.den, den: self.num }
    }

    /// The same value in lowest terms.
    pub fn reduced(self) -> Self {
        let g = gcd(self.num.unsigned_abs(), self.den.unsigned_abs()).max(1) as i32;
        Rational { num: self.num / g, den: self.den / g }
    }

    /// The closest fraction with a denominator of at most `max_den` (continued fractions); for rates given as floats.
    pub fn approximate(value: f64, max_den: i32) -> Option<Self> {
        if !value.is_finite() || value.abs() > f64::from(i32::MAX) {
            return None;
        }
        let (mut h0, mut h1, mut k0, mut k1) = (0i64, 1i64, 1i64, 0i64);
        let mut x = value;
        for _ in 0..64 {
            let a = x.floor();
            let (h2, k2) = (a as i64 * h1 + h0, a as i64 * k1 + k0);
            if k2 > i64::from(max_den) || h2.abs() > i64::from(i32::MAX) {
                break;
            }
            (h0, h1, k0, k1) = (h1, h2, k1, k2);
            if (x - a).abs() < 1e-9 {
                break;
            }
            x = 1.0 / (x - a);
        }
        (k1 > 0).then(|| Rational::new(h1 as i32, k1 as i32))
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl fmt::Display for Rational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.num, self.den)
    }
}

/// A time base: seconds per tick.
pub type TimeBase = Rational;

/// Microseconds: the base of the ABI and of everything that has no better one.
pub const MICROSECONDS: TimeBase = Rational::new(1, 1_000_000);

/// How a conversion between bases rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest tick, halves away from zero.
    Nearest,
    /// Towards minus infinity.
    Down,
    /// Towards plus infinity.
    Up,
}

/// `ticks` of base `from`, in base `to`. Saturates rather than wraps; exact in 128 bits.
pub fn rescale(ticks: i64, from: TimeBase, to: TimeBase, rounding: Rounding) -> i64 {
    let num = i128::from(from.num) * i128::from(to.den);
    let den = i128::from(from.den) * i128::from(to.num);
    if den == 0 {
        return 0;
    }
    let (num, den) = if den < 0 { (-num, -den) } else { (num, den) };
    let value = i128::from(ticks) * num;
    let quotient = match rounding {
        Rounding::Down => value.div_euclid(den),
        Rounding::Up => -((-value).div_euclid(den)),
        Rounding::Nearest => {
            let half = den / 2;
            if value >= 0 { (value + half) / den } else { -((-value + half) / den) }
        }
    };
    quotient.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// A point in (or a length of) time: ticks of a base. Compares by value across bases.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp {
    /// The count of ticks.
    pub ticks: i64,
    /// Seconds per tick.
    pub base: TimeBase,
}

impl Timestamp {
    /// `ticks` of `base`.
    pub const fn new(ticks: i64, base: TimeBase) -> Self {
        Timestamp { ticks, base }
    }

    /// From seconds, in microseconds, rounded to the nearest.
    pub fn from_seconds(seconds: f64) -> Self {
        Timestamp::new((seconds * 1e6).round() as i64, MICROSECONDS)
    }

    /// The value in seconds.
    pub fn seconds(self) -> f64 {
        self.ticks as f64 * self.base.as_f64()
    }

    /// The value in whole microseconds, rounded to the nearest.
    pub fn micros(self) -> i64 {
        rescale(self.ticks, self.base, MICROSECONDS, Rounding::Nearest)
    }

    /// The same instant in another base, rounded to the nearest tick.
    pub fn to(self, base: TimeBase) -> Self {
        self.to_rounding(base, Rounding::Nearest)
    }

    /// The same instant in another base.
    pub fn to_rounding(self, base: TimeBase, rounding: Rounding) -> Self {
        Timestamp::new(rescale(self.ticks, self.base, base, rounding), base)
    }
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Timestamp {}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> Ordering {
        let a = i128::from(self.ticks) * i128::from(self.base.num) * i128::from(other.base.den);
        let b = i128::from(other.ticks) * i128::from(other.base.num) * i128::from(self.base.den);
        a.cmp(&b)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}s", self.seconds())
    }
}

/// Ticks and microseconds that a time from outside stays below: the distance of two is a number, and they can be added to.
const FURTHEST: u64 = 1 << 62;

/// Refuses a time and length from outside that cannot be reckoned with.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] naming `field`.
pub(crate) fn check_time(field: &str, ticks: i64, duration: i64, base: TimeBase) -> Result<()> {
    let near =
        |t: i64| t.unsigned_abs() < FURTHEST && Timestamp::new(t, base).micros().unsigned_abs() < FURTHEST;
    if near(ticks) && ticks.checked_add(duration).is_some_and(near) {
        return Ok(());
    }
    let message =
        format!("{ticks} ticks, {duration} long, are not within 2^62 microseconds (and ticks) around 0");
    Err(Error::invalid(field, message))
}

/// A monotonic clock. Everything below the pipeline takes it as a parameter, so that tests run faster than real time.
pub trait Clock: Send + Sync {
    /// Time since an arbitrary fixed start; never goes back.
    fn now(&self) -> Duration;
    /// Waits for `duration` of this clock.
    fn sleep(&self, duration: Duration);
}

/// The system's monotonic clock.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { start: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rescale_rounds_as_asked_and_saturates() {
        let ntsc = Rational::new(1001, 30000);
        let ms = Rational::new(1, 1000);
        assert_eq!(rescale(1, ntsc, ms, Rounding::Nearest), 33);
        assert_eq!(rescale(1, ntsc, ms, Rounding::Up), 34);
        assert_eq!(rescale(-1, ntsc, ms, Rounding::Down), -34);
        assert_eq!(rescale(i64::MAX, Rational::new(1, 1), ms, Rounding::Down), i64::MAX);
        assert_eq!(rescale(5, Rational::new(1, 0), ms, Rounding::Down), 0);
    }

    #[test]
    fn timestamps_compare_across_bases() {
        assert_eq!(Timestamp::new(1, Rational::new(1, 1)), Timestamp::new(90000, Rational::new(1, 90000)));
        assert!(Timestamp::new(3003, Rational::new(1, 90000)) > Timestamp::new(33, Rational::new(1, 1000)));
    }

    #[test]
    fn approximates_common_rates() {
        assert_eq!(Rational::approximate(29.97002997, 1001), Some(Rational::new(30000, 1001)));
        assert_eq!(Rational::approximate(25.0, 1001), Some(Rational::new(25, 1)));
        assert_eq!(Rational::approximate(f64::NAN, 10), None);
    }
}
