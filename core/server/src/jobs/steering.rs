//! How the encoders of a running job follow the machine's state.

use super::ladder::{Bounds, bounded};
use crate::worker::Control;
use ghoststream::job::Change;
use ghoststream::spec::{Bitrate, Preset};

/// A running job and what it was told.
pub(super) struct Steering {
    control: Control,
    course: Course,
}

/// What a job was told. Pure.
struct Course {
    /// Bits per second of each video track on a machine at its best.
    rates: Vec<u64>,
    /// The preset on a machine at its best.
    preset: Preset,
    /// Rungs that are encoded no more, from the largest on.
    dropped: usize,
}

impl Steering {
    /// For a run with these encoders.
    pub fn new(control: Control, rates: Vec<u64>, preset: Preset) -> Self {
        Steering { control, course: Course { rates, preset, dropped: 0 } }
    }

    /// Halts the run.
    pub fn halt(&self) {
        self.control.pause();
    }

    /// Goes on after [`Steering::halt`].
    pub fn resume(&self) {
        self.control.resume();
    }

    /// Makes the encoders of job `id` follow from `before` to `now`; true if that changes anything.
    pub fn adapt(&mut self, id: &str, before: &Bounds, now: &Bounds) -> bool {
        let changes = self.course.changes(before, now);
        let any = !changes.is_empty();
        for change in changes {
            tracing::info!(job = id, change = %said(&change), "its encoders are adapted to the machine's state");
            self.control.set(change);
        }
        any
    }
}

impl Course {
    fn changes(&mut self, before: &Bounds, now: &Bounds) -> Vec<Change> {
        let of = |rung: usize| Change { output: 0, rung: Some(rung), ..Change::default() };
        let mut changes = Vec::new();
        let (was, is) = (before.load.preset(self.preset), now.load.preset(self.preset));
        if !before.load.drop_top && now.load.drop_top && self.dropped + 1 < self.rates.len() {
            changes.push(Change { drop: true, ..of(self.dropped) });
            self.dropped += 1;
        }
        let rates = (before.quality - now.quality).abs() >= 0.01;
        for (rung, rate) in self.rates.iter().enumerate().skip(self.dropped) {
            if rates || was != is {
                let bitrate = rates.then(|| Bitrate(bounded(*rate, now)));
                changes.push(Change { bitrate, preset: (was != is).then_some(is), ..of(rung) });
            }
        }
        changes
    }
}

/// A change in the document's words.
fn said(change: &Change) -> String {
    serde_json::to_string(change).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::ladder::Relief;
    use super::*;

    fn at(quality: f64, faster: u8, drop_top: bool) -> Bounds {
        Bounds { quality, load: Relief { faster, drop_top }, ..Bounds::default() }
    }

    fn course(rates: &[u64], preset: Preset) -> Course {
        Course { rates: rates.to_vec(), preset, dropped: 0 }
    }

    #[test]
    fn rates_presets_and_the_top_rung_follow_the_pressure() {
        let mut s = course(&[4_000_000, 2_000_000, 1_000_000], Preset::P3);
        assert!(s.changes(&at(1.0, 0, false), &at(1.0, 0, false)).is_empty());

        let first = s.changes(&at(1.0, 0, false), &at(0.8, 1, false));
        let rates: Vec<_> = first.iter().map(|c| (c.rung, c.bitrate, c.preset, c.drop)).collect();
        let one = |rung, bits| (Some(rung), Some(Bitrate(bits)), Some(Preset::P2), false);
        assert_eq!(rates, [one(0, 3_200_000), one(1, 1_600_000), one(2, 800_000)]);

        let second = s.changes(&at(0.8, 1, false), &at(0.6, 2, true));
        assert!(second[0].drop && second[0].rung == Some(0), "{second:?}");
        assert_eq!(second[1..].iter().map(|c| c.rung).collect::<Vec<_>>(), [Some(1), Some(2)]);
        assert!(second[1..].iter().all(|c| c.preset == Some(Preset::P1)));

        // What is gone is gone; what runs comes back to what it was.
        let back = s.changes(&at(0.6, 2, true), &at(1.0, 0, false));
        let rates: Vec<_> = back.iter().map(|c| (c.rung, c.bitrate, c.preset)).collect();
        let one = |rung, bits| (Some(rung), Some(Bitrate(bits)), Some(Preset::P3));
        assert_eq!(rates, [one(1, 2_000_000), one(2, 1_000_000)]);
    }

    #[test]
    fn the_last_rung_and_a_single_quality_stay() {
        let mut one = course(&[4_000_000], Preset::P1);
        let changes = one.changes(&at(1.0, 0, false), &at(1.0, 2, true));
        assert!(changes.is_empty(), "{changes:?}");
        let mut two = course(&[4_000_000, 1_000_000], Preset::P1);
        for _ in 0..3 {
            two.changes(&at(1.0, 0, false), &at(1.0, 0, true));
        }
        assert_eq!(two.dropped, 1);
    }
}
