//! [`Plan`]: where segments begin, on the source's own time, independent of where a run starts.

use crate::error::{Error, Result};
use crate::time::{Rational, Rounding, Timestamp};

/// The cutting rule. A key frame belongs to the *cell* of the plan that its presentation time falls in, and a segment
/// begins at each key frame that opens a new cell. As that depends on absolute time alone, every run makes the same
/// segments.
#[derive(Clone, Debug)]
pub struct Plan {
    rule: Rule,
    /// The last cell, which takes everything behind it too.
    last: Option<u64>,
    /// Where cells begin besides the grid, all within its first cell.
    early: Vec<Timestamp>,
}

#[derive(Clone, Debug)]
enum Rule {
    /// Cells of one length from 0.
    Grid(Timestamp),
    /// Cells that begin at these times.
    At(Vec<Timestamp>),
}

/// One segment of a complete playlist, known before it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedSegment {
    /// Its cell, which is its number.
    pub sequence: u64,
    /// Where it begins.
    pub start: Timestamp,
    /// How long it is.
    pub duration: Timestamp,
}

/// Key frames this close before a cell (milliseconds) open it: containers that count in milliseconds round.
const TOLERANCE: Timestamp = Timestamp::new(1, Rational::new(1, 1000));

impl Plan {
    /// Cells of `target`, from time 0.
    pub fn grid(target: Timestamp) -> Result<Plan> {
        if target.ticks <= 0 || !target.base.is_positive() {
            return Err(Error::invalid("segment", "the target duration must be positive"));
        }
        Ok(Plan { rule: Rule::Grid(target), last: None, early: Vec::new() })
    }

    /// The same grid, whose first cell is cut at each of `early` too, so that the first segments are shorter. A list of
    /// starts stays as it is.
    pub fn with_early(mut self, mut early: Vec<Timestamp>) -> Plan {
        if let Rule::Grid(target) = &self.rule {
            early.retain(|t| t.ticks > 0 && before(*t, *target));
            early.sort();
            self.early = early;
        }
        self
    }

    /// Cells that begin at `starts`, which must rise. For copies, whose key frames are where they are.
    pub fn at(starts: Vec<Timestamp>) -> Result<Plan> {
        if starts.is_empty() || starts.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(Error::invalid("segments", "start times must rise"));
        }
        Ok(Plan { rule: Rule::At(starts), last: None, early: Vec::new() })
    }

    /// Cells that a grid of `target` makes of a stream whose key frames are at `keys`, numbered without gaps.
    pub fn from_key_frames(keys: &[Timestamp], target: Timestamp) -> Result<Plan> {
        let grid = Plan::grid(target)?;
        let mut starts: Vec<Timestamp> = Vec::new();
        for key in keys {
            if starts.last().is_none_or(|last| key > last && grid.cell(*key) > grid.cell(*last)) {
                starts.push(*key);
            }
        }
        Plan::at(starts)
    }

    /// The same plan for a source of length `end`: what little comes behind the segments that [`Plan::segments`] promises
    /// (audio runs on for a part of a frame) belongs to the last of them.
    pub fn ending(mut self, end: Timestamp, frame_rate: Option<Rational>) -> Plan {
        self.last = self.segments(end, frame_rate).last().map(|s| s.sequence);
        self
    }

    /// The cell that time `t` lies in; times before the first cell count as in it.
    pub fn cell(&self, t: Timestamp) -> u64 {
        let cell = match &self.rule {
            Rule::Grid(target) => {
                // t and the tolerance in units of the target, exactly.
                let unit =
                    |t: Timestamp| (i128::from(t.ticks) * i128::from(t.base.num), i128::from(t.base.den));
                let ((a, b), (c, d), (e, f)) = (unit(t), unit(TOLERANCE), unit(*target));
                let whole = (a * d + c * b).saturating_mul(f).div_euclid((b * d).saturating_mul(e).max(1));
                whole.clamp(0, i128::from(u32::MAX)) as u64
            }
            Rule::At(starts) => starts.partition_point(|s| !before(t, *s)).saturating_sub(1) as u64,
        };
        let cell = cell + self.early.partition_point(|s| !before(t, *s)) as u64;
        self.last.map_or(cell, |last| cell.min(last))
    }

    /// Where cell `cell` begins; `None` behind the last of a list.
    pub fn start(&self, cell: u64) -> Option<Timestamp> {
        match &self.rule {
            Rule::Grid(target) => {
                let early = self.early.len() as u64;
                if (1..=early).contains(&cell) {
                    return self.early.get(usize::try_from(cell - 1).ok()?).copied();
                }
                let cell = cell.saturating_sub(early);
                let ticks = i64::try_from(cell).ok()?.checked_mul(target.ticks)?;
                Some(Timestamp::new(ticks, target.base))
            }
            Rule::At(starts) => starts.get(usize::try_from(cell).ok()?).copied(),
        }
    }

    /// The nominal length of a cell: the longest. What `EXT-X-TARGETDURATION` is made from before there are segments.
    pub fn longest(&self, end: Timestamp) -> Timestamp {
        let segments = self.segments(end, None);
        segments.iter().map(|s| s.duration).max().unwrap_or(end)
    }

    /// All segments of a source of length `end`. With a constant `frame_rate`, starts are those of the first frame in
    /// each cell, as an encoder that puts its key frames there will make them.
    pub fn segments(&self, end: Timestamp, frame_rate: Option<Rational>) -> Vec<PlannedSegment> {
        let snap = |t: Timestamp| match (&self.rule, frame_rate.filter(|r| r.is_positive())) {
            (Rule::Grid(_), Some(rate)) => t.to_rounding(rate.inverse(), Rounding::Up),
            _ => t,
        };
        let mut out: Vec<PlannedSegment> = Vec::new();
        let mut cell = 0;
        while let Some(start) = self.start(cell).map(snap).filter(|s| before(*s, end)) {
            let next = self.start(cell + 1).map(snap).filter(|n| before(*n, end)).unwrap_or(end);
            out.push(PlannedSegment { sequence: cell, start, duration: difference(next, start) });
            cell += 1;
        }
        out
    }
}

/// Whether `a` is before `b` by more than the tolerance.
fn before(a: Timestamp, b: Timestamp) -> bool {
    difference(b, a) > TOLERANCE
}

/// `a - b`, exactly where a common base exists, else in the finer of the two bases.
fn difference(a: Timestamp, b: Timestamp) -> Timestamp {
    let gcd = |mut x: i64, mut y: i64| {
        while y != 0 {
            (x, y) = (y, x % y);
        }
        x.max(1)
    };
    let (x, y) = (i64::from(a.base.den), i64::from(b.base.den));
    let base = match i32::try_from(x / gcd(x, y) * y) {
        Ok(den) => Rational::new(1, den),
        Err(_) if a.base.as_f64() <= b.base.as_f64() => a.base,
        Err(_) => b.base,
    };
    Timestamp::new(a.to(base).ticks.saturating_sub(b.to(base).ticks), base)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Rational = Rational::new(1, 1000);

    #[test]
    fn grid_is_exact_and_tolerates_rounded_times() {
        let plan = Plan::grid(Timestamp::new(2, Rational::new(1, 1))).unwrap();
        let cell = |ticks, base| plan.cell(Timestamp::new(ticks, base));
        assert_eq!([cell(0, MS), cell(1998, MS), cell(1999, MS), cell(2000, MS)], [0, 0, 1, 1]);
        assert_eq!(cell(60 * 1001, Rational::new(1, 30_000)), 1);
        assert_eq!(cell(-5, MS), 0);
        assert!(Plan::grid(Timestamp::new(0, MS)).is_err());
    }

    #[test]
    fn early_cells_come_before_the_grid() {
        let plan = Plan::grid(Timestamp::new(4000, MS)).unwrap();
        let plan = plan.with_early([1000, 2000].map(|t| Timestamp::new(t, MS)).to_vec());
        let cells = [0, 990, 1000, 1999, 3990, 4000, 8000].map(|t| plan.cell(Timestamp::new(t, MS)));
        assert_eq!(cells, [0, 0, 1, 2, 2, 3, 4]);
        let starts: Vec<_> =
            plan.segments(Timestamp::new(9000, MS), None).iter().map(|s| s.start.ticks).collect();
        assert_eq!(starts, [0, 1000, 2000, 4000, 8000]);
    }

    #[test]
    fn planned_segments_cover_the_source_on_frames() {
        let plan = Plan::grid(Timestamp::new(2, Rational::new(1, 1))).unwrap();
        let rate = Rational::new(30_000, 1001);
        let segments = plan.segments(Timestamp::new(10_010, MS), Some(rate));
        assert_eq!(segments.len(), 5);
        assert_eq!(segments[1].start, Timestamp::new(60, rate.inverse()));
        let total: f64 = segments.iter().map(|s| s.duration.seconds()).sum();
        assert!((total - 10.01).abs() < 1e-9, "{total}");
    }

    #[test]
    fn key_frames_of_a_copy() {
        let keys: Vec<_> = [0, 900, 2100, 2900, 7000].map(|t| Timestamp::new(t, MS)).to_vec();
        let plan = Plan::from_key_frames(&keys, Timestamp::new(2000, MS)).unwrap();
        let starts: Vec<_> =
            plan.segments(Timestamp::new(9000, MS), None).iter().map(|s| s.start.ticks).collect();
        assert_eq!(starts, [0, 2100, 7000]);
        assert_eq!(plan.cell(Timestamp::new(2900, MS)), 1);
    }
}
