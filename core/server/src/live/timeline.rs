//! A publisher's clock brought onto the stream's: time 0 is the stream's first packet, and time goes on, without a gap or
//! a step back, when the publisher's clock jumps, wraps or is another publisher's.

use ghoststream::packet::Packet;
use ghoststream::time::{MICROSECONDS, Rounding, TimeBase, rescale};

/// A step of a track's own clock by more than this (microseconds) is a jump, not a late packet.
const BACK: i64 = 1_000_000;
/// As [`BACK`], forwards.
const AHEAD: i64 = 10_000_000;
/// A longer step (microseconds) is no picture's or frame's length but a hole.
const LONGEST: i64 = 500_000;

/// Dates packets. Sans-IO: what time it is, is a parameter.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// What is added to the publisher's times, in microseconds; `None` before its first packet.
    offset: Option<i64>,
    tracks: Vec<Track>,
    /// The latest decode time given, in microseconds.
    latest: Option<i64>,
}

#[derive(Clone, Debug, Default)]
struct Track {
    /// The offset that the track's packets have now: a jump reaches one track after the other.
    offset: i64,
    /// The last decode time as published, in microseconds.
    source: Option<i64>,
    /// The last decode time given: ticks and base.
    given: Option<(i64, TimeBase)>,
    /// When what was given so far has been shown or heard, in microseconds. The last to be decoded are not the last to be shown,
    /// and a publisher that is cut off leaves out some of those between.
    shown: Option<i64>,
}

impl Timeline {
    /// Forgets the publisher, not the time: the next one's first packet comes behind everything given so far.
    pub fn next_publisher(&mut self) {
        self.offset = None;
        for track in &mut self.tracks {
            track.source = None;
        }
    }

    /// The latest decode time given, in microseconds of the stream.
    pub fn latest(&self) -> Option<i64> {
        self.latest
    }

    /// Dates `packet`, which came `now` microseconds after the stream's time 0. Gives whether its track's clock jumped.
    /// A packet without any time gets the one behind its predecessor. A `sparse` track, text, may say nothing for long: it
    /// goes by the others' clock.
    pub fn date(&mut self, packet: &mut Packet, now: i64, sparse: bool) -> bool {
        let (index, base) = (packet.stream, packet.base);
        if self.tracks.len() <= index {
            self.tracks.resize_with(index + 1, Track::default);
        }
        let micros = |ticks: i64| rescale(ticks, base, MICROSECONDS, Rounding::Nearest);
        let dts = packet.dts.or(packet.pts);
        let source = dts.map(micros);
        // When it is shown: what follows the first one of a new offset is shown behind it only where that is a key frame.
        let begins = packet.pts.filter(|_| packet.key).map(micros).or(source);
        let earliest = self.latest.map_or(0, |latest| latest + 1);
        let shown = self.tracks.iter().filter_map(|track| track.shown).max().unwrap_or(i64::MIN);
        let newest =
            |source: i64| (now.max(earliest) - source).max(shown.saturating_sub(begins.unwrap_or(source)));
        if let Some(begins) = begins.filter(|_| !sparse) {
            self.make_room(index, begins);
        }
        let Some(track) = self.tracks.get_mut(index) else { return false };
        let mut jumped = false;
        if let Some(source) = source {
            let shared = *self.offset.get_or_insert_with(|| newest(source));
            match track.source {
                None => track.offset = shared,
                Some(_) if sparse => track.offset = shared,
                Some(last) if source < last - BACK || source > last + AHEAD => {
                    jumped = true;
                    let goes_on = |offset: i64| {
                        let step = source + offset - (last + track.offset);
                        (-BACK..=AHEAD).contains(&step)
                    };
                    // The other track may have jumped before: then both have the new offset.
                    if shared == track.offset || !goes_on(shared) {
                        self.offset = Some(newest(source));
                    }
                    track.offset = self.offset.unwrap_or(shared);
                }
                Some(_) => {}
            }
            track.source = Some(source);
        }
        let offset = rescale(track.offset, MICROSECONDS, base, Rounding::Nearest);
        let reorder = match (packet.pts, packet.dts) {
            (Some(pts), Some(dts)) => (pts - dts).max(0),
            _ => 0,
        };
        let least = track.given.map(|(ticks, was)| rescale(ticks, was, base, Rounding::Up) + 1);
        let wanted = match dts {
            Some(dts) => dts.saturating_add(offset),
            None => least.map_or(rescale(now, MICROSECONDS, base, Rounding::Nearest), |l| {
                l - 1 + packet.duration.max(1)
            }),
        };
        let given = wanted.max(least.unwrap_or(i64::MIN));
        let before = track.given.replace((given, base));
        packet.dts = Some(given);
        // What was moved to keep the decode times rising keeps its presentation time, if that is still possible.
        let pts = (wanted + reorder).max(given);
        packet.pts = Some(pts);
        if !sparse {
            self.latest = self.latest.max(Some(micros(given)));
            let step = before.map_or(0, |(ticks, was)| {
                micros(given) - rescale(ticks, was, MICROSECONDS, Rounding::Nearest)
            });
            let length = if packet.duration > 0 { micros(packet.duration) } else { step };
            let length = if length <= LONGEST { length } else { 0 };
            let end = micros(pts).min(micros(given) + AHEAD) + length;
            track.shown = track.shown.max(Some(end));
        }
        jumped
    }

    /// Moves a new publisher's times on where the first of track `index`, shown at `begins`, would come before the end of what was
    /// shown: the track that came before it may have needed less.
    fn make_room(&mut self, index: usize, begins: i64) {
        let (Some(shared), Some(track)) = (self.offset, self.tracks.get(index)) else { return };
        let (None, Some(shown)) = (track.source, track.shown) else { return };
        let lack = shown - (begins + shared);
        // More is another clock than the other tracks'.
        if (1..=BACK).contains(&lack) {
            self.offset = Some(shared + lack);
            self.tracks.iter_mut().for_each(|track| track.offset += lack);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ghoststream::time::Rational;

    const MS: TimeBase = Rational::new(1, 1000);
    const TEXT: usize = 2;

    fn at(timeline: &mut Timeline, stream: usize, ms: i64, now_ms: i64) -> (i64, bool) {
        let mut packet = Packet::new(Bytes::new(), ms, 0, MS);
        packet.stream = stream;
        let jumped = timeline.date(&mut packet, now_ms * 1000, stream == TEXT);
        (packet.dts.unwrap(), jumped)
    }

    #[test]
    fn the_first_packet_is_at_the_time_it_came() {
        let mut timeline = Timeline::default();
        assert_eq!(at(&mut timeline, 0, 70_000, 5), (5, false));
        assert_eq!(at(&mut timeline, 0, 70_040, 90), (45, false));
        assert_eq!(at(&mut timeline, 1, 70_020, 91), (25, false));
    }

    #[test]
    fn a_wrapped_clock_goes_on_and_both_tracks_stay_together() {
        let mut timeline = Timeline::default();
        let wrap = 1 << 32;
        assert_eq!(at(&mut timeline, 0, wrap - 40, 0).0, 0);
        assert_eq!(at(&mut timeline, 1, wrap - 30, 10).0, 10);
        assert_eq!(at(&mut timeline, 0, 0, 40), (40, true));
        assert_eq!(at(&mut timeline, 1, wrap - 5, 41), (35, false), "the other one has not wrapped yet");
        assert_eq!(at(&mut timeline, 1, 16, 60), (56, true), "16 ms behind the picture at 40");
    }

    #[test]
    fn a_step_back_does_not_go_back() {
        let mut timeline = Timeline::default();
        at(&mut timeline, 0, 100_000, 0);
        at(&mut timeline, 0, 101_000, 1000);
        let (after, jumped) = at(&mut timeline, 0, 3_000, 1040);
        assert_eq!((after, jumped), (1040, true));
        // A small one is disorder: it is put behind its predecessor.
        let (after, jumped) = at(&mut timeline, 0, 2_900, 1050);
        assert_eq!((after, jumped), (1041, false));
    }

    #[test]
    fn text_that_says_nothing_for_long_is_no_jump() {
        let mut timeline = Timeline::default();
        at(&mut timeline, 0, 100_000, 0);
        assert_eq!(at(&mut timeline, TEXT, 101_000, 1_000), (1_000, false));
        at(&mut timeline, 0, 108_000, 8_000);
        at(&mut timeline, 0, 117_000, 17_000);
        assert_eq!(at(&mut timeline, TEXT, 117_500, 17_100), (17_500, false));
        assert_eq!(timeline.latest(), Some(17_000_000), "it does not say how far the stream is");
        // The others' clock begins anew.
        assert_eq!(at(&mut timeline, 0, 0, 17_040), (17_040, true));
        assert_eq!(at(&mut timeline, TEXT, 500, 17_050), (17_540, false));
    }

    #[test]
    fn another_publisher_comes_behind() {
        let mut timeline = Timeline::default();
        at(&mut timeline, 0, 0, 0);
        at(&mut timeline, 0, 4_000, 100);
        timeline.next_publisher();
        let (after, _) = at(&mut timeline, 0, 777_000, 2_000);
        assert!(after > 4_000, "{after}");
    }

    /// When packets of (stream, decode time, presentation time) are shown, all of them at time 0.
    fn shown(timeline: &mut Timeline, packets: &[(usize, i64, i64)]) -> Vec<i64> {
        let dated = packets.iter().map(|(stream, dts, pts)| {
            let mut packet = Packet::new(Bytes::new(), *dts, if *stream == 1 { 20 } else { 0 }, MS);
            (packet.stream, packet.pts) = (*stream, Some(*pts));
            timeline.date(&mut packet, 0, false);
            packet.pts.unwrap()
        });
        dated.collect()
    }

    #[test]
    fn another_publisher_is_shown_when_all_was_shown() {
        let mut first = Timeline::default();
        // The picture before the one at 200, at 160, never comes: the publisher is cut off. What is shown ends at 240.
        shown(&mut first, &[(0, 1_000, 1_080), (1, 1_000, 1_000), (0, 1_040, 1_200), (0, 1_080, 1_120)]);
        first.next_publisher();
        assert_eq!(shown(&mut first.clone(), &[(0, 0, 80), (1, 80, 80)]), [240, 240]);
        // Sound comes first, and the picture belongs before it: both move on, together.
        assert_eq!(shown(&mut first.clone(), &[(1, 100, 100), (0, 0, 80), (1, 120, 120)]), [240, 240, 280]);
        // What has no time of its own moves nobody.
        let mut untimed = Packet::new(Bytes::new(), 0, 0, MS);
        (untimed.pts, untimed.dts) = (None, None);
        assert_eq!(shown(&mut first, &[(1, 0, 0)]), [240]);
        first.date(&mut untimed, 0, false);
        assert_eq!(shown(&mut first, &[(1, 20, 20)]), [260]);
    }

    #[test]
    fn a_picture_shown_in_a_far_future_moves_nobody_there() {
        let mut timeline = Timeline::default();
        shown(&mut timeline, &[(0, 0, 3_600_000)]);
        timeline.next_publisher();
        let (after, _) = at(&mut timeline, 0, 0, 100);
        assert!(after <= 10_040, "{after}");
    }

    #[test]
    fn reordered_pictures_keep_their_distance() {
        let mut timeline = Timeline::default();
        let mut packet = Packet::new(Bytes::new(), 1_000, 40, MS);
        packet.pts = Some(1_080);
        timeline.date(&mut packet, 0, false);
        assert_eq!((packet.dts, packet.pts), (Some(0), Some(80)));
    }
}
