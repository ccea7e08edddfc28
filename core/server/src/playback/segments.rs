//! Which segments there are, how long ago they were wanted, and which go when there are too many.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Rendition and number.
pub(super) type Key = (usize, u64);

#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    pub bytes: u64,
    /// Tells one making of a segment from the next.
    pub serial: u64,
    used: Instant,
}

/// The segments on disk.
#[derive(Debug, Default)]
pub(super) struct Segments {
    made: HashMap<Key, Made>,
    bytes: u64,
    serial: u64,
    /// Made so far, those that are gone too.
    pub total: u64,
}

impl Segments {
    pub fn insert(&mut self, key: Key, bytes: u64, now: Instant) {
        self.serial += 1;
        self.total += 1;
        let before = self.made.insert(key, Made { bytes, serial: self.serial, used: now });
        self.bytes = self.bytes + bytes - before.map_or(0, |m| m.bytes);
    }

    pub fn has(&self, key: Key) -> bool {
        self.made.contains_key(&key)
    }

    /// The segment, which is wanted now.
    pub fn touch(&mut self, key: Key, now: Instant) -> Option<Made> {
        let made = self.made.get_mut(&key)?;
        made.used = now;
        Some(*made)
    }

    /// Forgets a segment that is not there any more.
    pub fn remove(&mut self, key: Key) {
        if let Some(made) = self.made.remove(&key) {
            self.bytes -= made.bytes;
        }
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes out what nobody has wanted for `age`, and the longest unwanted beyond `most` bytes; what `keep` says stays.
    pub fn evict(&mut self, most: u64, age: Duration, now: Instant, keep: impl Fn(Key) -> bool) -> Vec<Key> {
        let mut candidates: Vec<(Instant, Key)> =
            self.made.iter().filter(|(key, _)| !keep(**key)).map(|(key, made)| (made.used, *key)).collect();
        candidates.sort_unstable();
        let mut gone = Vec::new();
        for (used, key) in candidates {
            if self.bytes > most || now.saturating_duration_since(used) > age {
                self.remove(key);
                gone.push(key);
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unwanted_go_first() {
        let begin = Instant::now();
        let at = |s: u64| begin + Duration::from_secs(s);
        let mut s = Segments::default();
        for n in 0..5 {
            s.insert((0, n), 10, at(n));
        }
        s.touch((0, 0), at(9));
        let hour = Duration::from_secs(3600);
        assert_eq!(s.evict(30, hour, at(10), |key| key == (0, 1)), [(0, 2), (0, 3)]);
        assert_eq!((s.made.len(), s.bytes()), (3, 30));
        assert_eq!(s.evict(1000, Duration::from_secs(5), at(11), |_| false), [(0, 1), (0, 4)]);
        s.insert((0, 0), 4, at(12));
        assert_eq!((s.made.len(), s.bytes()), (1, 4), "made again");
    }
}
