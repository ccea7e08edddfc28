//! Where every frame of a stream is: made from its packets without decoding, so that the n-th frame in presentation
//! order can be found, and the key frame from which it can be decoded.

/// What one packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Presentation time.
    pub pts: Option<i64>,
    /// Decode time.
    pub dts: Option<i64>,
    /// Length, 0 when unknown.
    pub duration: i64,
    /// Whether decoding can start here.
    pub key: bool,
    /// Whether a picture comes out of it that is shown (not cut away by an edit list, not hidden).
    pub shown: bool,
    /// Byte position.
    pub position: Option<u64>,
}

/// The packets of one stream.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Shown frames in presentation order: time and position in decoding order.
    frames: Vec<(i64, u32)>,
    /// Key packets in decoding order: presentation time, decode time and position in decoding order.
    keys: Vec<Key>,
    /// Whether every shown packet has a time of its own, so that times name frames.
    exact: bool,
    /// End of the last frame shown.
    end: i64,
}

/// A packet at which decoding can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub pts: i64,
    pub dts: Option<i64>,
    /// Position in decoding order.
    pub order: u32,
}

impl Index {
    /// Sorts out `packets`, which come in decoding order.
    pub(crate) fn new(packets: &[Seen]) -> Self {
        let mut frames = Vec::with_capacity(packets.len());
        let mut keys = Vec::new();
        let mut exact = !packets.is_empty();
        let mut end = i64::MIN;
        for (order, p) in packets.iter().enumerate() {
            let order = order as u32;
            // A stream with decode times alone has no reordering, or none that can be known.
            let Some(pts) = p.pts else {
                exact &= !p.shown;
                if let Some(dts) = p.dts.filter(|_| p.shown) {
                    frames.push((dts, order));
                    end = end.max(dts.saturating_add(p.duration));
                } else if p.shown {
                    frames.push((i64::MAX, order));
                }
                continue;
            };
            if p.key {
                keys.push(Key { pts, dts: p.dts, order });
            }
            if p.shown {
                frames.push((pts, order));
                end = end.max(pts.saturating_add(p.duration));
            }
        }
        frames.sort_unstable();
        exact &= frames.windows(2).all(|w| w[0].0 != w[1].0) && !keys.is_empty();
        Index { frames, keys, exact, end }
    }

    /// Number of frames shown.
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether frames can be told apart by their times. If not, they can only be counted from the beginning.
    pub(crate) fn is_exact(&self) -> bool {
        self.exact
    }

    /// Presentation time of frame `n`.
    pub(crate) fn pts(&self, n: usize) -> Option<i64> {
        self.frames.get(n).map(|f| f.0)
    }

    /// The frame shown at `pts`: the last one that begins at or before it, the first one for times before all;
    /// `None` after the end of the last.
    pub(crate) fn at(&self, pts: i64) -> Option<usize> {
        let after = self.frames.partition_point(|f| f.0 <= pts);
        let last = self.frames.len().checked_sub(1)?;
        let n = after.saturating_sub(1);
        (n < last || pts < self.end.max(self.frames[last].0 + 1)).then_some(n)
    }

    /// How many frames, from the first on, have times for which `early` holds.
    pub(crate) fn before(&self, early: impl Fn(i64) -> bool) -> usize {
        self.frames.partition_point(|f| early(f.0))
    }

    /// The key packets to try, best first, from which frame `n` can be decoded. A key packet that comes later in
    /// presentation than the frame is of no use even when it was decoded earlier: the frame leads it and may refer to
    /// what came before (open GOP).
    pub(crate) fn starts(&self, n: usize) -> impl Iterator<Item = Key> + '_ {
        let (pts, order) = self.frames.get(n).copied().unwrap_or((i64::MIN, 0));
        let usable = self.keys.partition_point(|k| k.order <= order);
        self.keys[..usable].iter().rev().filter(move |k| k.pts <= pts).copied()
    }

    /// Position in decoding order of the shown packet with time `pts`.
    pub(crate) fn order_of(&self, pts: i64) -> Option<u32> {
        self.frames.binary_search_by_key(&pts, |f| f.0).ok().map(|i| self.frames[i].1)
    }
}

/// How many packets, from the beginning on, must be decoded to know which of them make pictures: those before the first key
/// packet refer to what is not there, and so may those that lead it (an open group of pictures that was cut off from what
/// came before). 0 where all do.
pub(crate) fn doubtful(packets: &[Seen]) -> usize {
    let Some(key) = packets.iter().position(|p| p.key) else { return packets.len() };
    // Without any times nothing leads, as far as can be known.
    let first = packets[key].pts;
    let leads = |p: &Seen| p.shown && !p.key && first.is_some_and(|first| p.pts.is_none_or(|t| t < first));
    let group = packets[key + 1..].iter().take_while(|p| !p.key);
    let last = group.enumerate().filter(|(_, p)| leads(p)).last().map(|(n, _)| key + 2 + n);
    last.unwrap_or(key)
}

/// Whether all frames are equally long, from the packets of a stream (all of them, or the first ones). `None` when
/// there are too few to say.
pub(crate) fn constant_rate(packets: &[Seen], all: bool) -> Option<bool> {
    // Of the beginning of a stream, only what lies before the last decode time is complete: later B-frames may lack.
    let complete = if all { i64::MAX } else { packets.iter().filter_map(|p| p.dts).max()? };
    let mut times: Vec<i64> = packets
        .iter()
        .filter(|p| p.shown)
        .filter_map(|p| p.pts.or(p.dts))
        .filter(|t| *t <= complete)
        .collect();
    times.sort_unstable();
    let (first, last) = (*times.first()?, *times.last()?);
    if times.len() < 4 || last <= first {
        return None;
    }
    let step = (last - first) as f64 / (times.len() - 1) as f64;
    // Each time may be rounded to its tick, the two ends too.
    Some(times.iter().enumerate().all(|(i, t)| ((t - first) as f64 - i as f64 * step).abs() <= 1.0 + 1e-6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pts: i64, dts: i64, key: bool) -> Seen {
        Seen { pts: Some(pts), dts: Some(dts), duration: 1, key, shown: true, position: None }
    }

    #[test]
    fn frames_count_in_presentation_order_and_open_gops_start_one_earlier() {
        // I0 P3 B1 B2 | I6 B4 B5 P9 B7 B8: 4 and 5 lead the second key frame.
        let order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8];
        let packets: Vec<Seen> = order
            .iter()
            .enumerate()
            .map(|(dts, pts)| seen(*pts, dts as i64 - 2, *pts == 0 || *pts == 6))
            .collect();
        let index = Index::new(&packets);
        assert!(index.is_exact());
        assert_eq!((index.len(), index.pts(4), index.pts(10)), (10, Some(4), None));
        let start = |n| index.starts(n).next().map(|k| k.pts);
        assert_eq!(
            (start(3), start(4), start(5), start(6), start(9)),
            (Some(0), Some(0), Some(0), Some(6), Some(6))
        );
        assert_eq!(index.order_of(6), Some(4));
        assert_eq!((index.at(-5), index.at(0), index.at(9), index.at(10)), (Some(0), Some(0), Some(9), None));
    }

    #[test]
    fn what_was_cut_off_from_what_it_refers_to_is_doubtful() {
        let from = |times: &[(i64, bool)]| -> Vec<Seen> {
            times.iter().enumerate().map(|(dts, (pts, key))| seen(*pts, dts as i64, *key)).collect()
        };
        assert_eq!(doubtful(&from(&[(0, true), (3, false), (1, false), (6, true), (4, false)])), 0);
        // 4 and 5 lead the first key packet.
        assert_eq!(
            doubtful(&from(&[(6, true), (4, false), (5, false), (9, false), (12, true), (10, false)])),
            3
        );
        assert_eq!(doubtful(&from(&[(1, false), (2, false), (3, true), (4, false)])), 2);
        assert_eq!(doubtful(&from(&[(1, false), (2, false)])), 2);
        let untimed = Seen { pts: None, dts: None, ..seen(0, 0, false) };
        assert_eq!(doubtful(&[seen(0, 0, true), untimed, seen(1, 1, false)]), 2);
        assert_eq!(doubtful(&[]), 0);
    }

    #[test]
    fn the_frame_shown_at_a_time_lasts_until_the_next() {
        let index = Index::new(&[seen(0, 0, true), seen(100, 1, false), seen(250, 2, false)]);
        assert_eq!(
            (index.at(99), index.at(100), index.at(249), index.at(250)),
            (Some(0), Some(1), Some(1), Some(2))
        );
        assert_eq!(index.at(251), None);
    }

    #[test]
    fn what_cannot_be_told_apart_is_not_exact() {
        assert!(!Index::new(&[]).is_exact());
        assert!(!Index::new(&[seen(0, 0, true), seen(0, 1, false)]).is_exact());
        assert!(!Index::new(&[Seen { pts: None, ..seen(0, 0, true) }]).is_exact());
        let hidden = Index::new(&[Seen { shown: false, ..seen(-1, 0, true) }, seen(0, 1, false)]);
        assert_eq!(
            (hidden.is_exact(), hidden.len(), hidden.starts(0).next().map(|k| k.pts)),
            (true, 1, Some(-1))
        );
    }

    #[test]
    fn constant_and_variable_rates_are_told_apart() {
        let at = |times: &[i64]| -> Vec<Seen> { times.iter().map(|t| seen(*t, *t, false)).collect() };
        // 29.97 fps in milliseconds.
        let rounded: Vec<i64> = (0..50).map(|n| (n as f64 * 1001.0 / 30.0).round() as i64).collect();
        assert_eq!(constant_rate(&at(&rounded), true), Some(true));
        assert_eq!(constant_rate(&at(&[0, 40, 80, 160, 200]), true), Some(false));
        assert_eq!(constant_rate(&at(&[0, 40]), true), None);
        // The beginning of I0 P4 B2 B1 B3 P8 …: 8 was read, 5 to 7 not yet.
        let order = [(0, -2), (4, -1), (2, 0), (1, 1), (3, 2), (8, 3)];
        let begin: Vec<Seen> = order.iter().map(|(p, d)| seen(*p, *d, false)).collect();
        assert_eq!(constant_rate(&begin, false), Some(true));
        assert_eq!(constant_rate(&begin, true), Some(false));
    }
}
