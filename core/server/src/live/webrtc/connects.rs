//! How long clients took to connect.

use std::time::Duration;

/// Upper bounds of the counters of [`Connects`], in seconds.
pub const BOUNDS: [f64; 8] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// A histogram of the time from a client's offer until media can flow.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Connects {
    /// How many took no longer than each of [`BOUNDS`].
    pub within: [u64; BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// Seconds of all of them.
    pub sum: f64,
}

impl Connects {
    pub(super) fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        for (within, bound) in self.within.iter_mut().zip(BOUNDS) {
            *within += u64::from(seconds <= bound);
        }
        self.count += 1;
        self.sum += seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_counts_what_is_below_it() {
        let mut connects = Connects::default();
        connects.add(Duration::from_millis(80));
        connects.add(Duration::from_secs(20));
        assert_eq!(connects.within, [0, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!((connects.count, connects.sum), (2, 20.08));
    }
}
