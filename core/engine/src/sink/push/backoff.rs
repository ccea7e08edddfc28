//! How long to wait before the next try.

/// Waits that double from the first to the most, each a random part between half and all of that, so that those whom
/// one outage threw out do not come back together.
pub(super) struct Backoff {
    first: f64,
    most: f64,
    random: u64,
}

impl Backoff {
    /// Seconds; `seed` decides the random part.
    pub fn new(first: f64, most: f64, seed: u64) -> Backoff {
        Backoff { first, most: most.max(first), random: seed | 1 }
    }

    /// Seconds to wait before try `attempt`, from 1.
    pub fn delay(&mut self, attempt: u32) -> f64 {
        let doubled = self.first * 2f64.powi(attempt.saturating_sub(1).min(64) as i32);
        // Xorshift64: any bit pattern but zero.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let part = 0.5 + (self.random >> 11) as f64 / (1u64 << 53) as f64 / 2.0;
        doubled.min(self.most) * part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most_and_differ() {
        let mut backoff = Backoff::new(1.0, 30.0, 42);
        let mut seen = Vec::new();
        for attempt in 1..100 {
            let whole = (2f64.powi((attempt - 1).min(20) as i32)).min(30.0);
            let delay = backoff.delay(attempt);
            assert!((whole / 2.0..=whole).contains(&delay), "{attempt}: {delay}");
            seen.push(delay.to_bits());
        }
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 90);
        assert!((0..50).all(|i| Backoff::new(0.0, 0.0, i).delay(3) == 0.0));
        assert!(Backoff::new(5.0, 1.0, 0).delay(1) <= 5.0);
    }
}
