//! Times of packets: the driver hands back when a picture is shown, and in which order pictures are decoded; decode times
//! are made here, as those of the pictures in the order in which they came, moved ahead by the depth of the reordering.

use std::collections::VecDeque;

/// A picture that is inside the encoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Inside {
    /// When it is shown, in ticks.
    pub pts: i64,
    /// How long, in ticks.
    pub duration: i64,
    /// It was to be a key frame.
    pub forced: bool,
}

/// Decode times for packets.
#[derive(Debug, Default)]
pub(super) struct Timing {
    inside: VecDeque<Inside>,
    /// Times that no packet has as its decode time yet.
    unused: VecDeque<i64>,
    depth: u32,
    /// How many packets are decoded before their turn, which lies before the first picture.
    early: i64,
    first: Option<i64>,
    step: i64,
}

impl Timing {
    /// `depth` pictures are reordered at most; `step` ticks lie between two of them.
    pub fn new(depth: u32, step: i64) -> Timing {
        Timing { depth, early: i64::from(depth), step: step.max(1), ..Timing::default() }
    }

    /// A picture goes in. Times rise.
    pub fn enter(&mut self, picture: Inside) {
        self.first.get_or_insert(picture.pts);
        self.unused.push_back(picture.pts);
        self.inside.push_back(picture);
    }

    /// The picture of time `pts` comes out: what it was, and its decode time. `None` when there is no such picture inside.
    pub fn leave(&mut self, pts: i64) -> Option<(Inside, i64)> {
        let at = self.inside.iter().position(|p| p.pts == pts)?;
        let picture = self.inside.remove(at)?;
        let first = self.first?;
        let dts = if self.early > 0 {
            let dts = first - self.early * self.step;
            self.early -= 1;
            dts
        } else {
            self.unused.pop_front()?
        };
        Some((picture, dts))
    }

    /// Pictures that are reordered at most.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Pictures inside.
    pub fn len(&self) -> usize {
        self.inside.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(depth: u32, order: &[i64]) -> Vec<(i64, i64)> {
        let mut timing = Timing::new(depth, 10);
        let mut shown: Vec<i64> = order.to_vec();
        shown.sort_unstable();
        shown.iter().for_each(|pts| timing.enter(Inside { pts: *pts, duration: 10, forced: false }));
        let out = order.iter().map(|pts| (*pts, timing.leave(*pts).unwrap().1)).collect();
        assert_eq!(timing.len(), 0);
        out
    }

    #[test]
    fn decode_times_rise_and_lie_before_the_picture_is_shown() {
        for (depth, order) in [
            (0, vec![0, 10, 20, 30]),
            (1, vec![0, 30, 10, 20, 60, 40, 50]),
            (2, vec![0, 40, 20, 10, 30, 80, 60, 50, 70, 90]),
            (3, vec![0, 80, 40, 20, 10, 30, 60, 50, 70]),
            // Variable rates.
            (1, vec![5, 9, 6, 7, 100, 20]),
        ] {
            let times = run(depth, &order);
            assert!(times.iter().all(|(pts, dts)| dts <= pts), "{times:?}");
            assert!(times.windows(2).all(|w| w[0].1 < w[1].1), "{times:?}");
        }
        assert_eq!(run(2, &[0, 40, 20])[0].1, -20);
    }

    #[test]
    fn an_unknown_picture_is_told() {
        assert_eq!(Timing::new(0, 1).leave(3), None);
    }
}
