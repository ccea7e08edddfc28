//! One timeline for sources whose times begin anew or leap: recordings in pieces, broadcasts, playlists with discontinuities.
//!
//! One offset holds for all streams from a jump on, so that sound and pictures stay in step. The first packet that jumps decides
//! it; every stream goes over to it with its own first packet that fits better there, because what was read of the other streams
//! may still belong to the time before.

use crate::packet::{MediaKind, Packet, StreamInfo};
use crate::time::{Rounding, TimeBase, Timestamp, rescale};

/// Times are counted in this: microseconds, 90 kHz and 48 kHz are whole numbers of it.
const FINE: TimeBase = TimeBase::new(1, 18_000_000);
const SECOND: i64 = 18_000_000;
/// A gap longer than this is no lost packets but another clock (as FFmpeg's command takes it).
const GAP: i64 = 10 * SECOND;
/// How far times may go back: some multiplexers are not exact.
const BACK: i64 = SECOND / 10;
/// The same where only times of presentation are known, which B-frames bring out of order.
const BACK_SHOWN: i64 = SECOND;
/// What fits this well is the same clock, however long ago it was.
const NEAR: i64 = SECOND;
/// How long packets of the time before are expected behind a jump, unless they fit that well.
const LATE: i64 = 5 * SECOND;
/// Clocks that are looked at.
const CLOCKS: usize = 8;

/// Where the times of a source jump.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Jump {
    /// The time that was expected, by the source's own clock.
    pub from: Timestamp,
    /// The time that came.
    pub to: Timestamp,
    /// What it is now.
    pub at: Timestamp,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Joined {
    /// The jump that begins with it.
    pub jump: Option<Jump>,
    /// Its stream goes on by another clock than before.
    pub anew: bool,
}

/// The source's clock between two jumps.
#[derive(Clone, Copy)]
struct Clock {
    /// What is added to its times.
    offset: i64,
    /// How far the source had come when it began.
    begin: i64,
}

/// Where one stream is. All times have their offset.
struct Stream {
    index: usize,
    kind: MediaKind,
    /// Length of a frame whose packet does not say.
    frame: i64,
    clock: usize,
    /// Decode time of the last packet, and when the next one is due.
    last: Option<(i64, i64)>,
    /// Where what is shown ends.
    shown: Option<i64>,
}

/// The times of one packet without an offset.
#[derive(Clone, Copy)]
struct Times {
    time: i64,
    pts: Option<i64>,
    /// Whether `time` is a decode time, or as good as one.
    ordered: bool,
    length: i64,
    key: bool,
}

/// Joins the times of a source.
pub(crate) struct Continuity {
    streams: Vec<Stream>,
    clocks: Vec<Clock>,
}

impl Continuity {
    /// For a source with `streams`, from its beginning.
    pub fn of(streams: &[StreamInfo]) -> Self {
        let stream = |info: &StreamInfo| {
            let rate = info.video.as_ref().and_then(|v| v.frame_rate).filter(|rate| rate.is_positive());
            Stream {
                index: info.index,
                kind: info.kind,
                frame: rate.map_or(0, |rate| rescale(1, rate.inverse(), FINE, Rounding::Nearest)),
                clock: 0,
                last: None,
                shown: None,
            }
        };
        Continuity { streams: streams.iter().map(stream).collect(), clocks: vec![START] }
    }

    /// The source was moved to another place: what comes next follows nothing.
    pub fn restart(&mut self) {
        self.clocks = vec![START];
        for stream in &mut self.streams {
            (stream.clock, stream.last, stream.shown) = (0, None, None);
        }
    }

    /// Moves `packet`, in source time, to where it belongs.
    pub fn join(&mut self, packet: &mut Packet) -> Joined {
        self.placed(packet).unwrap_or_default()
    }

    /// The same; `None` where nothing is known of it.
    fn placed(&mut self, packet: &mut Packet) -> Option<Joined> {
        let fine = |ticks: i64| rescale(ticks, packet.base, FINE, Rounding::Nearest);
        let position = self.streams.iter().filter_map(|s| Some(s.last?.1)).max();
        let stream = self.streams.iter_mut().find(|s| s.index == packet.stream)?;
        let time = fine(packet.dts.or(packet.pts)?);
        let times = Times {
            time,
            pts: packet.pts.map(fine),
            ordered: packet.dts.is_some() || stream.kind != MediaKind::Video,
            length: if packet.duration > 0 { fine(packet.duration) } else { stream.frame },
            key: packet.key,
        };
        let clock = stream.clock;
        let (offset, jump) = match stream.kind {
            MediaKind::Video | MediaKind::Audio => stream.follow(&mut self.clocks, &times, position),
            // Words come when there are some; they belong where the rest is.
            _ => (beside(&self.clocks, time, position), None),
        };
        if offset != 0 {
            let shift = rescale(offset, FINE, packet.base, Rounding::Nearest);
            packet.pts = packet.pts.map(|t| t.saturating_add(shift));
            packet.dts = packet.dts.map(|t| t.saturating_add(shift));
        }
        Some(Joined { jump, anew: stream.clock != clock })
    }
}

const START: Clock = Clock { offset: 0, begin: i64::MIN };

/// The offset that brings `time` nearest to where the source is.
fn beside(clocks: &[Clock], time: i64, position: Option<i64>) -> i64 {
    let far = |offset: i64| position.map_or(0, |now| time.saturating_add(offset).abs_diff(now));
    let recent = clocks.iter().rev().take(CLOCKS).map(|clock| clock.offset);
    recent.min_by_key(|offset| far(*offset)).unwrap_or(0)
}

impl Stream {
    /// The offset of a packet, and the jump that begins with it.
    fn follow(
        &mut self,
        clocks: &mut Vec<Clock>,
        times: &Times,
        position: Option<i64>,
    ) -> (i64, Option<Jump>) {
        let newest = clocks.len().saturating_sub(1);
        let mut jump = None;
        let clock = match self.last {
            None => self.first(clocks, times.time, position),
            Some((last, due)) => {
                let found = self.continues(clocks, times, position).or_else(|| {
                    // Its packets may have stayed away while the others went on.
                    let away = |clock: &usize| times.time.saturating_add(clocks[*clock].offset) > due;
                    let far = |clock: &usize| {
                        let time = times.time.saturating_add(clocks[*clock].offset);
                        time.abs_diff(position.unwrap_or(last))
                    };
                    let ahead = (self.clock..=newest).rev().take(CLOCKS).filter(away);
                    ahead.min_by_key(far).filter(|clock| far(clock) <= GAP.unsigned_abs())
                });
                match found {
                    Some(clock) => {
                        self.enter(clocks, clock, times);
                        clock
                    }
                    None => {
                        let before = clocks[self.clock].offset;
                        // After a single wrong time the clock of before goes on.
                        let again = clocks.iter().rev().take(CLOCKS).map(|clock| clock.offset);
                        let again = again
                            .into_iter()
                            .find(|offset| self.fits(times, *offset, self.back(times), NEAR));
                        let offset = again.unwrap_or_else(|| self.lack(times, 0));
                        clocks.push(Clock { offset, begin: position.unwrap_or(due) });
                        jump = Some(Jump {
                            from: Timestamp::new(due.saturating_sub(before), FINE),
                            to: Timestamp::new(times.time, FINE),
                            at: Timestamp::new(times.time.saturating_add(offset), FINE),
                        });
                        newest + 1
                    }
                }
            }
        };
        self.clock = clock;
        let offset = clocks[clock].offset;
        self.note(times, offset);
        (offset, jump)
    }

    /// The clock of a stream's first packet.
    fn first(&self, clocks: &[Clock], time: i64, position: Option<i64>) -> usize {
        let newest = clocks.len().saturating_sub(1);
        let offset = beside(clocks, time, position);
        clocks.iter().rposition(|clock| clock.offset == offset).unwrap_or(newest)
    }

    /// The clock by which a packet follows the one before: the present one or a newer one.
    fn continues(&self, clocks: &[Clock], times: &Times, position: Option<i64>) -> Option<usize> {
        let (_, due) = self.last?;
        let newest = clocks.len().saturating_sub(1);
        let over = position.unwrap_or(due).saturating_sub(LATE) > clocks[newest].begin;
        let far = |clock: &usize| times.time.saturating_add(clocks[*clock].offset).abs_diff(due);
        let fits = |clock: &usize| {
            let most = if over && *clock < newest { NEAR } else { GAP };
            // What another stream has begun may put this one on top of what it had before.
            let back = if over || *clock == self.clock { self.back(times) } else { LATE };
            self.fits(times, clocks[*clock].offset, back, most)
        };
        let own = self.clock..self.clock + 1;
        let newer = (self.clock + 1).max(clocks.len().saturating_sub(CLOCKS))..clocks.len();
        newer.rev().chain(own).filter(fits).min_by_key(far)
    }

    /// How far the times of its packets may go back.
    fn back(&self, times: &Times) -> i64 {
        if times.ordered { BACK } else { BACK_SHOWN }
    }

    /// Whether `offset` puts a packet behind the one before: at most `most` behind its end, and not before it by more than `back`.
    fn fits(&self, times: &Times, offset: i64, back: i64, most: i64) -> bool {
        let time = times.time.saturating_add(offset);
        self.last
            .is_none_or(|(last, due)| time >= last.saturating_sub(back) && time <= due.saturating_add(most))
    }

    /// What must be added to a packet's times, beside `offset`, for it to follow at once what came before.
    fn lack(&self, times: &Times, offset: i64) -> i64 {
        let Some((_, due)) = self.last else { return 0 };
        let lack = due.saturating_sub(times.time.saturating_add(offset));
        // Pictures behind it are shown later than it, which is not so for those before.
        match (self.shown, times.pts) {
            (Some(shown), Some(pts)) if self.kind == MediaKind::Video && times.key => {
                lack.max(shown.saturating_sub(pts.saturating_add(offset)))
            }
            _ => lack,
        }
    }

    /// Goes over to a clock that another stream has begun. Where that would put this one on top of what it had before, the clock
    /// goes on later for all. Pictures follow at once: a step in their pace is seen.
    fn enter(&self, clocks: &mut [Clock], clock: usize, times: &Times) {
        let offset = clocks[clock].offset;
        if clock == self.clock || offset == clocks[self.clock].offset {
            return;
        }
        let lack = self.lack(times, offset);
        if lack > BACK || (self.kind == MediaKind::Video && lack.abs() <= BACK) {
            clocks[clock].offset = offset.saturating_add(lack);
        }
    }

    fn note(&mut self, times: &Times, offset: i64) {
        let time = times.time.saturating_add(offset);
        let due = time.saturating_add(times.length);
        self.last = Some(match self.last {
            Some((last, before)) if !times.ordered => (time.max(last), due.max(before)),
            _ => (time, due),
        });
        let end = times.pts.map(|pts| pts.saturating_add(offset).saturating_add(times.length));
        self.shown = self.shown.max(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Codec;
    use bytes::Bytes;

    const MS: TimeBase = TimeBase::new(1, 1000);

    fn continuity() -> Continuity {
        let mut streams = vec![
            StreamInfo::new(MediaKind::Video, Codec::H264, MS),
            StreamInfo::new(MediaKind::Audio, Codec::Aac, MS),
            StreamInfo::new(MediaKind::Subtitle, Codec::H264, MS),
        ];
        streams.iter_mut().enumerate().for_each(|(index, stream)| stream.index = index);
        Continuity::of(&streams)
    }

    /// Where packets of (stream, time) of 40 ms come to lie, and how many jumps that were.
    fn put(continuity: &mut Continuity, packets: &[(usize, i64)]) -> (Vec<i64>, usize) {
        let mut jumps = 0;
        let times = packets.iter().map(|(stream, time)| {
            let mut packet = Packet { stream: *stream, ..Packet::new(Bytes::new(), *time, 40, MS) };
            jumps += usize::from(continuity.join(&mut packet).jump.is_some());
            packet.dts.unwrap()
        });
        let times = times.collect();
        (times, jumps)
    }

    #[test]
    fn streams_go_over_one_by_one() {
        let packets = [(0, 9000), (1, 8980), (0, 100), (1, 9020), (2, 120), (1, 120), (0, 140), (2, 9000)];
        let (times, jumps) = put(&mut continuity(), &packets);
        assert_eq!(times, [9000, 8980, 9040, 9020, 9060, 9060, 9080, 9000]);
        assert_eq!(jumps, 1);
    }

    #[test]
    fn one_wrong_time_leaves_the_rest_where_it_was() {
        let packets =
            [(0, 0), (1, 0), (0, 70_000), (1, 40), (0, 80), (1, 80), (0, 120), (1, 9000), (0, 9000)];
        let (times, jumps) = put(&mut continuity(), &packets);
        assert_eq!(times, [0, 0, 40, 40, 80, 80, 120, 9000, 9000]);
        assert_eq!(jumps, 2);
    }

    #[test]
    fn sound_that_stays_away_is_no_jump() {
        let mut packets = vec![(1, 0)];
        packets.extend((0..1000).map(|n| (0, n * 40)));
        packets.push((1, 39_960));
        let (times, jumps) = put(&mut continuity(), &packets);
        assert_eq!((times.last(), jumps), (Some(&39_960), 0));
    }

    #[test]
    fn what_would_lie_on_top_goes_on_behind() {
        // The sound of the first piece is 480 ms longer than its pictures.
        let packets = [(0, 5000), (1, 5480), (0, 0), (1, 0), (0, 40), (1, 40)];
        let (times, jumps) = put(&mut continuity(), &packets);
        assert_eq!(times, [5000, 5480, 5040, 5520, 5560, 5560]);
        assert_eq!(jumps, 1);
    }
}
