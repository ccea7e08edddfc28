//! Where key frames are forced: on a grid of absolute times, so that every rung and every run agrees.

use crate::time::{Rational, Rounding, TimeBase, Timestamp, rescale};

/// A set of times at (or right after) which a frame becomes a key frame.
#[derive(Clone, Debug)]
pub struct KeyGrid {
    cells: Cells,
    /// Times besides those of the cells.
    early: Vec<Timestamp>,
    /// Intervals besides that of the cells, from 0.
    more: Vec<Timestamp>,
}

#[derive(Clone, Debug)]
enum Cells {
    Every { interval: Timestamp, origin: Timestamp },
    At(Vec<Timestamp>),
}

impl KeyGrid {
    /// A key frame on the first frame at or after each multiple of `interval`; `None` when that is not positive.
    pub fn every(interval: Timestamp) -> Option<KeyGrid> {
        let positive = interval.ticks > 0 && interval.base.is_positive();
        let origin = Timestamp::new(0, interval.base);
        let cells = Cells::Every { interval, origin };
        positive.then_some(KeyGrid { cells, early: Vec::new(), more: Vec::new() })
    }

    /// The same grid counted from `origin` instead of zero. Explicit times stay as they are.
    pub fn from_origin(mut self, at: Timestamp) -> KeyGrid {
        if let Cells::Every { origin, .. } = &mut self.cells {
            *origin = at;
        }
        self
    }

    /// A key frame on the first frame at or after each of `starts` (the key frames of a copied rendition).
    pub fn at(mut starts: Vec<Timestamp>) -> KeyGrid {
        starts.sort();
        KeyGrid { cells: Cells::At(starts), early: Vec::new(), more: Vec::new() }
    }

    /// The same grid and a key frame on the first frame at or after each of `early`.
    pub fn with_early(mut self, early: Vec<Timestamp>) -> KeyGrid {
        self.early = early;
        self
    }

    /// The same grid and a key frame on the first frame at or after each multiple of `interval` too.
    pub fn with_every(mut self, interval: Timestamp) -> KeyGrid {
        if interval.ticks > 0 && interval.base.is_positive() {
            self.more.push(interval);
        }
        self
    }

    /// How many frames at `rate` lie from one key frame to the next, rounded up, where nothing but one interval makes them
    /// for ever. Times of [`KeyGrid::with_early`] come only at the beginning.
    pub fn frames(&self, rate: Rational) -> Option<u32> {
        let Cells::Every { interval, .. } = &self.cells else { return None };
        if !self.more.is_empty() || !rate.is_positive() {
            return None;
        }
        // A multiple that a decimal fraction of a second has missed by a hair is still one.
        let frames = (interval.seconds() * rate.as_f64() - 1e-6).ceil();
        (1.0..=f64::from(u32::MAX)).contains(&frames).then_some(frames as u32)
    }

    /// The number, from 0, of the segment that a frame at `time` belongs to, where segments begin with the cells.
    pub(crate) fn segment(&self, time: Timestamp) -> i64 {
        match &self.cells {
            Cells::At(_) => self.cell(time) - 1,
            Cells::Every { .. } => self.cell(time),
        }
        .max(0)
    }

    /// The number of the cell that `time` lies in. A frame is forced when its cell is not that of the frame before.
    ///
    /// Grid times are rounded to the ticks of `time`, as the frame's own time was: a frame that truly lies on the grid
    /// is never a tick too early for it.
    pub fn cell(&self, time: Timestamp) -> i64 {
        let passed =
            |starts: &[Timestamp]| starts.partition_point(|s| s.to(time.base).ticks <= time.ticks) as i64;
        let more: i64 = self.more.iter().map(|i| multiple(*i, Timestamp::new(0, i.base), time)).sum();
        more + passed(&self.early)
            + match &self.cells {
                Cells::At(starts) => passed(starts),
                Cells::Every { interval, origin } => multiple(*interval, *origin, time),
            }
    }
}

/// How many whole intervals after `origin` the time lies.
fn multiple(interval: Timestamp, origin: Timestamp, time: Timestamp) -> i64 {
    let estimate = ((time.seconds() - origin.seconds()) / interval.seconds()).floor() as i64;
    // The float is a guess that is off by one at most near a border; the border itself is exact.
    let begin = |k: i64| border(interval, origin, k, time.base);
    let mut k = estimate;
    while begin(k.saturating_add(1)) <= time.ticks && k < i64::MAX {
        k += 1;
    }
    while begin(k) > time.ticks && k > i64::MIN {
        k -= 1;
    }
    k
}

/// The tick of `base` nearest to `origin + k * interval`.
fn border(interval: Timestamp, origin: Timestamp, k: i64, base: TimeBase) -> i64 {
    if origin.ticks == 0 {
        return rescale(interval.ticks.saturating_mul(k), interval.base, base, Rounding::Nearest);
    }
    // Summed in nanoseconds, finer than any base here.
    const NANOSECONDS: TimeBase = TimeBase::new(1, 1_000_000_000);
    let sum = rescale(interval.ticks.saturating_mul(k), interval.base, NANOSECONDS, Rounding::Nearest)
        .saturating_add(rescale(origin.ticks, origin.base, NANOSECONDS, Rounding::Nearest));
    rescale(sum, NANOSECONDS, base, Rounding::Nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(grid: &KeyGrid, base: TimeBase, times: impl Iterator<Item = i64>) -> Vec<usize> {
        let mut last = None;
        let mut out = Vec::new();
        for (i, t) in times.enumerate() {
            let cell = grid.cell(Timestamp::new(t, base));
            if last != Some(cell) {
                out.push(i);
            }
            last = Some(cell);
        }
        out
    }

    #[test]
    fn the_first_frame_at_or_after_each_multiple() {
        let two = KeyGrid::every(Timestamp::from_seconds(2.0)).unwrap();
        // 29.97: frame 60 lies at 2.002, frame 120 at 4.004, frame 180 at 6.006.
        assert_eq!(keys(&two, Rational::new(1, 30000), (0..200).map(|n| n * 1001)), [0, 60, 120, 180]);
        // 23.976: 47.95 frames in two seconds.
        assert_eq!(keys(&two, Rational::new(1, 24000), (0..200).map(|n| n * 1001)), [0, 48, 96, 144, 192]);
        assert_eq!(keys(&two, Rational::new(1, 25), 0..110), [0, 50, 100]);
        // In milliseconds, as Matroska rounds, and with an exact multiple in another base.
        let ms = |n: i64| (n as f64 * 1001.0 / 30.0).round() as i64;
        let sixty_frames = KeyGrid::every(Timestamp::new(60 * 1001, Rational::new(1, 30000))).unwrap();
        assert_eq!(keys(&sixty_frames, Rational::new(1, 1000), (0..200).map(ms)), [0, 60, 120, 180]);
    }

    #[test]
    fn early_times_come_besides_the_grid() {
        let four = KeyGrid::every(Timestamp::from_seconds(4.0)).unwrap();
        let grid = four.with_early(vec![Timestamp::from_seconds(1.0), Timestamp::from_seconds(2.0)]);
        assert_eq!(keys(&grid, Rational::new(1, 25), 0..210), [0, 25, 50, 100, 200]);
    }

    #[test]
    fn several_intervals_go_together() {
        let two =
            KeyGrid::every(Timestamp::from_seconds(2.0)).unwrap().with_every(Timestamp::from_seconds(3.0));
        assert_eq!(keys(&two, Rational::new(1, 10), 0..70), [0, 20, 30, 40, 60]);
    }

    #[test]
    fn an_interval_is_a_number_of_frames() {
        let every = |seconds| KeyGrid::every(Timestamp::from_seconds(seconds)).unwrap();
        assert_eq!(every(4.0).frames(Rational::new(25, 1)), Some(100));
        assert_eq!(every(0.1).frames(Rational::new(30, 1)), Some(3));
        assert_eq!(every(4.0).frames(Rational::new(30000, 1001)), Some(120));
        assert_eq!(every(0.01).frames(Rational::new(25, 1)), Some(1));
        assert_eq!(every(4.0).with_every(Timestamp::from_seconds(3.0)).frames(Rational::new(25, 1)), None);
        assert_eq!(every(4.0).frames(Rational::new(0, 1)), None);
        assert_eq!(KeyGrid::at(vec![Timestamp::from_seconds(1.0)]).frames(Rational::new(25, 1)), None);
    }

    #[test]
    fn variable_rates_negative_times_and_origins() {
        let one = KeyGrid::every(Timestamp::from_seconds(1.0)).unwrap();
        let ms = Rational::new(1, 1000);
        assert_eq!(keys(&one, ms, [0, 400, 999, 1000, 1500, 3200, 3300].into_iter()), [0, 3, 5]);
        assert_eq!(keys(&one, ms, [-1500, -1000, -1, 0].into_iter()), [0, 1, 3]);
        let late = one.from_origin(Timestamp::new(500, ms));
        assert_eq!(keys(&late, ms, [0, 499, 500, 1499, 1500].into_iter()), [0, 2, 4]);
        assert!(KeyGrid::every(Timestamp::from_seconds(0.0)).is_none());
    }

    #[test]
    fn explicit_times_survive_rounding() {
        let base = Rational::new(1, 90000);
        let grid = KeyGrid::at(vec![Timestamp::new(180_180, base), Timestamp::new(0, base)]);
        let micros = Rational::new(1, 1_000_000);
        assert_eq!(keys(&grid, micros, [0, 1_968_633, 2_002_000, 2_035_367].into_iter()), [0, 2]);
    }
}
