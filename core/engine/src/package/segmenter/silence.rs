//! What becomes of the other tracks while the one that decides the cuts sends nothing: pictures that stopped, of a camera that froze.

use super::super::lane::{Lane, Timing};
use super::{Event, RUN_ON, Segmenter, earlier};
use crate::error::Result;
use crate::packet::MediaKind;
use crate::time::{MICROSECONDS, Timestamp};

/// A step of the others' time by more than this, in microseconds, is a hole and not time that the leading track is silent for.
const HOLE: i64 = 1_000_000;

/// Follows the tracks of a live stream. Its clock stands at the leading track's last packet; when the others have gone on for longer
/// than the limit it goes on with them, the limit behind. So what little the leading track is late by, when it is back, still finds its
/// place beside the others. Times are in microseconds.
#[derive(Debug)]
pub(super) struct Silence {
    limit: i64,
    /// How far the others have come.
    heard: Option<i64>,
    /// How far they had when the clock was set.
    since: Option<i64>,
    clock: Option<i64>,
}

impl Silence {
    /// For a leading track that may be silent for `limit`.
    pub fn new(limit: i64) -> Silence {
        Silence { limit, heard: None, since: None, clock: None }
    }

    /// The leading track has come to `at`.
    pub fn lead(&mut self, at: i64) {
        self.clock = Some(self.clock.map_or(at, |clock| clock.max(at)));
        self.since = self.heard;
    }

    /// Another track has come to `at`.
    pub fn hear(&mut self, at: i64) {
        let step = self.heard.map_or(0, |heard| at - heard);
        if step > HOLE && self.now().is_none() {
            // All of them may have been away.
            self.since = self.since.map(|since| since + step);
        }
        self.heard = Some(self.heard.map_or(at, |heard| heard.max(at)));
        self.since = self.since.or(self.heard);
    }

    /// The leading track sends again, but what is over by this clock: the clock stands still, for as long as it may be silent.
    pub fn wait(&mut self) {
        (self.clock, self.since) = (self.now().or(self.clock), self.heard);
    }

    /// How far the others have come.
    pub fn heard(&self) -> Option<i64> {
        self.heard
    }

    /// What time it is, while the leading track is silent.
    pub fn now(&self) -> Option<i64> {
        let gone = self.heard? - self.since? - self.limit;
        (gone > 0).then_some(self.clock? + gone)
    }
}

impl Segmenter {
    /// Whether the track that decides the cuts is silent, and the others are cut without it.
    pub fn goes_on_alone(&self) -> bool {
        self.lanes[self.reference].resting
    }

    /// Cuts the other tracks while the one that decides the cuts is silent: as far as its clock has come, or up to its next packet,
    /// at `until`.
    pub(super) fn go_on(&mut self, until: Option<Timestamp>, events: &mut Vec<Event>) -> Result<()> {
        let now = || {
            let now = self.silence.as_ref()?.now()?;
            Some(Timestamp::new(now, MICROSECONDS))
        };
        // The last segment before that packet may be a little longer, as may be all.
        let limit = until.map_or_else(now, |until| Some(earlier(until, RUN_ON)));
        while let (Some(limit), Some(began)) = (limit, self.began)
            && !self.stopped
            && let Some(at) = self.next_cut(began)
            && at <= limit
        {
            let there = |lane: &Lane| lane.span().is_some() || !lane.waiting.is_empty();
            if !self.lanes.iter().any(there) {
                // Nothing at all: there is no such segment.
                self.began = Some(at);
                continue;
            }
            self.open(self.options.plan.cell(at), at, false, events)?;
            for (index, lane) in self.lanes.iter_mut().enumerate() {
                if lane.spec.info.kind == MediaKind::Video && lane.waiting.is_empty()
                    || index == self.reference
                {
                    lane.rest();
                }
            }
            for index in 0..self.lanes.len() {
                self.drain(index, events)?;
            }
        }
        Ok(())
    }

    /// Where a segment that begins at `began` ends when no key frame says so.
    fn next_cut(&self, began: Timestamp) -> Option<Timestamp> {
        let plan = &self.options.plan;
        let length = plan.start(1)?.to(began.base).ticks - plan.start(0)?.to(began.base).ticks;
        let at = Timestamp::new(began.ticks.saturating_add(length.max(1)), began.base);
        // Not before the end of the last picture.
        Some(self.lanes[self.reference].span().map_or(at, |(_, end)| at.max(end)))
    }

    /// Whether a packet of the track that decides the cuts is of use behind its silence, and the cut in front of it.
    pub(super) fn come_back(&mut self, timing: &Timing, events: &mut Vec<Event>) -> Result<bool> {
        let Some(began) = self.began.filter(|_| timing.key) else { return Ok(false) };
        if timing.present < began {
            // The others are further already: they wait for it.
            if let Some(silence) = &mut self.silence {
                silence.wait();
            }
            return Ok(false);
        }
        self.go_on(Some(timing.present), events)?;
        self.lanes[self.reference].resting = false;
        if self.began.is_some_and(|began| earlier(timing.present, RUN_ON) > began) {
            self.open(self.options.plan.cell(timing.cut), timing.present, false, events)?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on_with_the_others() {
        let mut silence = Silence::new(3_000_000);
        let second = |n: i64| n * 1_000_000;
        silence.lead(0);
        // Sound that is always four seconds ahead is no silence of the pictures.
        for n in 0..10 {
            silence.hear(second(n + 4));
            assert_eq!(silence.now(), None);
            silence.lead(second(n));
        }
        for n in 14..=16 {
            silence.hear(second(n));
            assert_eq!(silence.now(), None);
        }
        silence.hear(second(17));
        assert_eq!(silence.now(), Some(second(10)));
        // What comes too late is waited for, but not for ever.
        silence.wait();
        assert_eq!(silence.now(), None);
        for n in 18..=21 {
            silence.hear(second(n));
        }
        assert_eq!(silence.now(), Some(second(11)));
        silence.lead(second(12));
        // All were away.
        silence.hear(second(60));
        assert_eq!(silence.now(), None);
    }
}
