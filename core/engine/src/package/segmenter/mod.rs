//! [`Segmenter`]: packets of aligned tracks in; init segments, parts and segments out.

mod options;
mod silence;

pub use options::{Container, Event, Lengths, Options, Part, Segment, TrackSpec};

use super::cmaf::{self, ChunkOptions, Sample};
use super::lane::{Bound, Closed, Lane, Timing};
use super::track::Track;
use super::ts;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::packet::{MediaKind, Packet};
use crate::time::{MICROSECONDS, Rational, Timestamp};
use silence::Silence;
use std::collections::BTreeMap;

/// Cuts packets into segments. Sans-IO: give it packets with [`Segmenter::push`], per track in decode order, tracks in
/// any interleaving; take what each call returns. The first video track decides the cuts (the first track, where there
/// is no video); other video tracks are cut at the key frame there, audio at the frame boundary nearest to it. With
/// [`Options::lengths`], live, audio is cut at the first that is not earlier: shaka-player 5.2 begins its first segment anew where
/// playlists date pictures later than sound.
/// Audio waits in memory until the video has got as far.
#[derive(Debug)]
pub struct Segmenter {
    options: Options,
    lanes: Vec<Lane>,
    reference: usize,
    /// The cell and number of the segment being made.
    current: Option<(u64, u64)>,
    /// Where the segment being made begins.
    began: Option<Timestamp>,
    stopped: bool,
    silence: Option<Silence>,
    groups: BTreeMap<usize, Group>,
}

/// What runs on behind a cut by no more than this belongs to the segment before it.
const RUN_ON: Timestamp = Timestamp::new(250, Rational::new(1, 1000));

/// What [`Segmenter::beyond`] says of a packet.
enum Beyond {
    /// It belongs to the open segment.
    Add,
    /// It must be seen first how much comes behind it.
    Wait,
    /// It begins the segment of this cell and number.
    Cut(u64, u64),
}

#[derive(Debug, Default)]
struct Group {
    lanes: Vec<usize>,
    muxer: Option<ts::Muxer>,
    members: Vec<usize>,
    /// Finished stretches of the lanes, by segment number.
    pending: BTreeMap<u64, Vec<(usize, Closed)>>,
}

impl Segmenter {
    /// A segmenter for `tracks`. Errors name the field: no tracks, two CMAF tracks in one group, parts in MPEG-TS.
    pub fn new(tracks: Vec<TrackSpec>, options: Options) -> Result<Segmenter> {
        if tracks.is_empty() {
            return Err(Error::invalid("tracks", "nothing to segment"));
        }
        if options.part.is_some() && options.container == Container::Ts {
            return Err(Error::invalid("part", "low-latency parts need CMAF"));
        }
        if options.index && options.key_chunk {
            return Err(Error::invalid("index", "describes segments of one chunk, key_chunk makes two"));
        }
        if options.lengths.is_some() && options.count_from.is_none() {
            return Err(Error::invalid("lengths", "segments cut by their length are counted (count_from)"));
        }
        if options.silence.is_some() && options.lengths.is_none() {
            return Err(Error::invalid("silence", "only of live streams, which are cut by lengths"));
        }
        if options.part.is_some_and(|p| p.ticks <= 0 || !p.base.is_positive()) {
            return Err(Error::invalid("part", "must be positive"));
        }
        if !options.origin.base.is_positive() {
            return Err(Error::invalid("origin", "needs a time base"));
        }
        let reference = tracks.iter().position(|t| t.info.kind == MediaKind::Video).unwrap_or(0);
        let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
        let mut lanes = Vec::new();
        for (i, spec) in tracks.into_iter().enumerate() {
            let path = format!("tracks[{i}]");
            if !matches!(spec.info.kind, MediaKind::Video | MediaKind::Audio) {
                return Err(Error::invalid(path, format!("cannot segment {}", spec.info.kind.name())));
            }
            if !spec.info.time_base.is_positive() {
                return Err(Error::invalid(path, "needs a time base"));
            }
            let group = groups.entry(spec.group).or_default();
            if options.container == Container::Cmaf && !group.lanes.is_empty() {
                return Err(Error::invalid(path, "a CMAF file holds one track; use a group of its own"));
            }
            group.lanes.push(i);
            lanes.push(Lane::new(spec, &options));
        }
        let silence = options.silence.map(|limit| Silence::new(limit.micros()));
        let (current, began, stopped) = (None, None, false);
        Ok(Segmenter { options, lanes, reference, current, began, stopped, silence, groups })
    }

    /// Takes the next packet of track `track`. After an error the segmenter is of no more use.
    pub fn push(&mut self, track: usize, packet: &Packet) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        if track >= self.lanes.len() {
            return Err(Error::invalid("track", format!("no track {track}")));
        }
        if self.lanes[track].ended {
            return Ok(events);
        }
        for packet in self.lanes[track].date(packet) {
            self.take(track, packet, &mut events).context(|| format!("track {track}"))?;
        }
        Ok(events)
    }

    /// A packet with its times.
    fn take(&mut self, track: usize, packet: Packet, events: &mut Vec<Event>) -> Result<()> {
        if self.lanes[track].track.is_none() && !self.lanes[track].configure(&packet)? {
            return Ok(());
        }
        for quiet in self.lanes[track].fill(&packet)? {
            self.give(track, quiet, events)?;
        }
        self.give(track, packet, events)
    }

    /// A packet of a track that is described, with nothing missing in front of it.
    fn give(&mut self, track: usize, packet: Packet, events: &mut Vec<Event>) -> Result<()> {
        if track == self.reference {
            self.push_reference(&packet, events)?;
            for lane in 0..self.lanes.len() {
                self.drain(lane, events)?;
            }
        } else {
            if let Some(silence) = &mut self.silence {
                silence.hear(self.lanes[track].decode_time(&packet)?.micros());
            }
            self.lanes[track].waiting.push_back(packet);
            self.go_on(None, events)?;
            self.drain(track, events)?;
        }
        Ok(())
    }

    /// Says that track `track` has no more packets (it is shorter than the others), so that nobody waits for it.
    pub fn end_track(&mut self, track: usize) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        if let Some(lane) = self.lanes.get_mut(track).filter(|lane| !lane.ended) {
            let held = lane.date_held();
            for packet in held {
                self.take(track, packet, &mut events)?;
            }
            self.lanes[track].ended = true;
            if track == self.reference {
                // What the others have behind its end is not one long segment.
                let heard = self.silence.as_ref().and_then(Silence::heard);
                self.go_on(heard.map(|at| Timestamp::new(at, MICROSECONDS)), &mut events)?;
                self.lanes[track].settle_end(None);
                self.go_beyond();
                self.stopped = true;
                self.close(track, None, &mut events)?;
                for lane in 0..self.lanes.len() {
                    self.drain(lane, &mut events)?;
                }
            } else {
                self.drain(track, &mut events)?;
            }
        }
        Ok(events)
    }

    /// Whether nothing is going to come out any more: [`Options::end`] is reached on every track, or
    /// [`Segmenter::finish`] was called. A run can stop here.
    pub fn is_done(&self) -> bool {
        self.lanes.iter().all(|lane| lane.done)
    }

    /// Ends all tracks and returns what is left.
    pub fn finish(&mut self) -> Result<Vec<Event>> {
        let mut events = self.end_track(self.reference)?;
        for lane in 0..self.lanes.len() {
            events.extend(self.end_track(lane)?);
            self.lanes[lane].settle_end(None);
            self.close(lane, None, &mut events)?;
        }
        Ok(events)
    }

    /// Adds a packet of the track that decides the cuts.
    fn push_reference(&mut self, packet: &Packet, events: &mut Vec<Event>) -> Result<()> {
        let lane = &mut self.lanes[self.reference];
        if self.stopped {
            return Ok(());
        }
        let timing = lane.timing(packet)?;
        if lane.resting && !self.come_back(&timing, events)? {
            return Ok(());
        }
        let lane = &self.lanes[self.reference];
        if let Some(silence) = &mut self.silence {
            silence.lead(lane.decode_time(packet)?.micros());
        }
        let cell = self.options.plan.cell(timing.cut);
        let cut = match (self.current, self.options.lengths) {
            (Some(_), Some(lengths)) => lane.cut(&timing, lengths),
            (Some((current, _)), None) if timing.key && cell > current => Some((timing.present, false)),
            (None, _) if timing.key && cell >= self.options.first && !self.is_left_out(&timing) => {
                Some((timing.present, false))
            }
            _ => None,
        };
        if let Some((at, forced)) = cut {
            self.lanes[self.reference].next_decode = Some(timing.decode);
            self.open(cell, at, forced, events)?;
        }
        if self.current.is_none() || self.stopped {
            return Ok(());
        }
        let reference = self.reference;
        self.add(reference, packet, events)?;
        let lane = &self.lanes[reference];
        if self.options.eager
            && let Some(end) = lane.expected_end()
        {
            let cell = self.options.plan.cell(end);
            if self.current.is_some_and(|(current, _)| cell > current) {
                self.open(cell, end, false, events)?;
            }
        }
        Ok(())
    }

    /// Whether the plan begins behind the source's beginning: where that is inside a group of pictures, and they are copied.
    fn begins_later(&self) -> bool {
        self.options.count_from.is_none() && self.options.plan.start(0).is_some_and(|start| start.ticks > 0)
    }

    fn is_left_out(&self, timing: &Timing) -> bool {
        self.begins_later() && self.options.plan.start(0).is_some_and(|start| timing.cut < start)
    }

    /// Begins the segment of `cell` at time `at` on every track; `forced`: where there is no key frame.
    fn open(&mut self, cell: u64, at: Timestamp, forced: bool, events: &mut Vec<Event>) -> Result<()> {
        let sequence = match (self.current, self.options.count_from) {
            (_, None) => cell,
            (None, Some(n)) => n,
            (Some((_, last)), Some(_)) => last + 1,
        };
        let last = self.options.end.is_some_and(|end| cell >= end);
        // The first segment of the source takes everything from its beginning, priming included.
        let everything =
            self.current.is_none() && cell == 0 && self.options.lengths.is_none() && !self.begins_later();
        self.stopped |= last;
        let next = (!last).then_some(sequence);
        // Another run may have another video track to go by: its sound must be cut at the same time.
        let planned = self.options.plan.start(cell).filter(|_| self.options.count_from.is_none());
        for (i, lane) in self.lanes.iter_mut().enumerate() {
            if i != self.reference {
                let sound = lane.spec.info.kind == MediaKind::Audio;
                let at = planned.filter(|planned| sound && *planned < at).unwrap_or(at);
                lane.bounds.push_back(Bound { at, next, everything, forced });
            }
        }
        self.lanes[self.reference].settle_end(Some(at));
        self.close(self.reference, next, events)?;
        (self.current, self.began) = (Some((cell, sequence)), Some(at));
        Ok(())
    }

    /// The track that decides the cuts ends: from here on the others are cut by [`Options::beyond`].
    fn go_beyond(&mut self) {
        let Some(plan) = self.options.beyond.as_ref().filter(|_| self.current.is_some() && !self.stopped)
        else {
            return;
        };
        let Some((start, end)) = self.lanes[self.reference].span() else { return };
        // A picture that ends a little behind a cut does not make the cell that begins there one of its own.
        let cell = plan.cell(start).max(plan.cell(earlier(end, RUN_ON)));
        self.lanes.iter_mut().for_each(|lane| lane.beyond = Some(cell));
    }

    /// What is to be done with a lane's next packet behind the end of the track that decides the cuts.
    fn beyond(&self, index: usize, timing: &Timing) -> Result<Beyond> {
        let lane = &self.lanes[index];
        let (Some(plan), Some(last), Some(sequence)) = (&self.options.beyond, lane.beyond, lane.sequence)
        else {
            return Ok(Beyond::Add);
        };
        let cell = plan.cell(timing.cut);
        if !timing.key || cell <= last {
            return Ok(Beyond::Add);
        }
        let least = plan.start(cell).unwrap_or(timing.present);
        if lane.waits_until()?.is_some_and(|end| earlier(end, RUN_ON) >= least) {
            let counted = self.options.count_from.is_some();
            let number = if counted { 0 } else { self.options.plan.cell(timing.cut) };
            return Ok(Beyond::Cut(cell, number.max(sequence + 1)));
        }
        Ok(if lane.ended { Beyond::Add } else { Beyond::Wait })
    }

    /// Moves a lane's waiting packets into segments, as far as the cuts are known.
    fn drain(&mut self, index: usize, events: &mut Vec<Event>) -> Result<()> {
        if index == self.reference {
            return Ok(());
        }
        let settled = self.stopped;
        // Before the first cut is known, only what cannot be wanted is let go.
        let known = self.current.is_some() || self.options.first > 0;
        let silent =
            self.silence.as_ref().and_then(Silence::now).map(|now| Timestamp::new(now, MICROSECONDS));
        let frontier = self.lanes[self.reference].frontier().max(silent).filter(|_| known);
        loop {
            let lane = &mut self.lanes[index];
            let bound = lane.bounds.front().copied();
            let Some(packet) = lane.waiting.front() else {
                // Nobody will come any more, or the next packet is known to lie behind the cut.
                let done = |at| lane.ended || lane.resting || (self.options.eager && lane.reaches(at));
                let Some(Bound { at, next, .. }) = bound.filter(|b| done(b.at)) else { return Ok(()) };
                lane.bounds.pop_front();
                let reached = (lane.reaches(at) || lane.resting).then_some(at);
                lane.settle_end(reached);
                self.close(index, next, events)?;
                continue;
            };
            let timing = lane.timing(packet)?;
            match bound {
                Some(bound)
                    if (bound.everything && lane.sequence.is_none()) || lane.is_behind(&timing, bound) =>
                {
                    lane.bounds.pop_front();
                    lane.next_decode = Some(timing.decode);
                    lane.settle_end(Some(if bound.forced { bound.at } else { timing.present }));
                    self.close(index, bound.next, events)?;
                }
                None if !settled && !lane.is_before(&timing, frontier) => return Ok(()),
                _ => {
                    match if bound.is_none() { self.beyond(index, &timing)? } else { Beyond::Add } {
                        Beyond::Add => {}
                        Beyond::Wait => return Ok(()),
                        Beyond::Cut(cell, next) => {
                            let lane = &mut self.lanes[index];
                            lane.beyond = Some(cell);
                            lane.settle_end(Some(timing.present));
                            self.close(index, Some(next), events)?;
                            continue;
                        }
                    }
                    let lane = &mut self.lanes[index];
                    let Some(packet) = lane.waiting.pop_front() else { return Ok(()) };
                    lane.resting &= !packet.key;
                    if lane.sequence.is_some() && !lane.resting {
                        self.add(index, &packet, events)?;
                    }
                }
            }
        }
    }

    /// Adds a packet to the open segment of a lane, and cuts a part when it is long enough.
    fn add(&mut self, index: usize, packet: &Packet, events: &mut Vec<Event>) -> Result<()> {
        let lane = &mut self.lanes[index];
        let group = lane.spec.group;
        if let Some(track) = lane.reconfigure(packet)? {
            // A change of configuration in the middle of a segment would need an init segment in its middle.
            if lane.has_samples() {
                return Err(Error::unsupported("the stream changed its configuration between key frames"));
            }
            lane.track = Some(track);
            if let Some(group) = self.groups.get_mut(&group) {
                group.muxer = None;
            }
            lane.announced = false;
        }
        let cut = lane.part_is_full(packet)?;
        if cut {
            self.flush_part(index, events)?;
        }
        self.lanes[index].add(packet)?;
        if self.lanes[index].part_cannot_take_another() {
            self.flush_part(index, events)?;
        }
        Ok(())
    }

    /// Ends the open segment of a lane, if there is one, and begins segment `next`.
    fn close(&mut self, index: usize, next: Option<u64>, events: &mut Vec<Event>) -> Result<()> {
        if self.lanes[index].sequence.is_some() {
            if self.options.part.is_some() {
                self.flush_part(index, events)?;
            }
            let lane = &mut self.lanes[index];
            let group = lane.spec.group;
            if let Some((sequence, closed)) = lane.close() {
                match self.options.container {
                    Container::Cmaf => self.emit_cmaf(index, sequence, closed, events)?,
                    Container::Ts => {
                        if let Some(group) = self.groups.get_mut(&group) {
                            group.pending.entry(sequence).or_default().push((index, closed));
                        }
                    }
                }
            }
        }
        let lane = &mut self.lanes[index];
        lane.begin(next);
        let group = lane.spec.group;
        if self.options.container == Container::Ts { self.emit_ts(group, events) } else { Ok(()) }
    }

    /// Announces a lane's init segment before its first bytes.
    fn announce(&mut self, index: usize, events: &mut Vec<Event>) -> Result<()> {
        let lane = &mut self.lanes[index];
        if let (false, Some(track)) = (lane.announced, &lane.track) {
            lane.announced = true;
            let bytes = Some(cmaf::init_segment(track)?);
            events.push(Event::Init { group: lane.spec.group, tracks: vec![track.clone()], bytes });
        }
        Ok(())
    }

    /// Writes the open part of a lane.
    fn flush_part(&mut self, index: usize, events: &mut Vec<Event>) -> Result<()> {
        self.announce(index, events)?;
        if let Some(part) = self.lanes[index].take_part()? {
            events.push(Event::Part(part));
        }
        Ok(())
    }

    fn emit_cmaf(
        &mut self,
        index: usize,
        sequence: u64,
        closed: Closed,
        events: &mut Vec<Event>,
    ) -> Result<()> {
        self.announce(index, events)?;
        let lane = &mut self.lanes[index];
        let Some(track) = &lane.track else {
            return Err(Error::new(ErrorKind::Internal, "a segment without a track"));
        };
        let (mut chunks, mut key_range) = (closed.parts, closed.key_range);
        // Numbered by the segment, so that every run writes the same; two per segment, as there may be two chunks.
        let number = (sequence as u32).wrapping_mul(2).wrapping_add(1);
        let alone = self.options.key_chunk
            && !self.options.index
            && lane.spec.info.kind == MediaKind::Video
            && closed.samples.len() > 1
            && closed.samples[0].key;
        let (head, tail) = closed.samples.split_at(usize::from(alone));
        for (i, samples) in [head, tail].into_iter().enumerate().filter(|(_, s)| !s.is_empty()) {
            let options = ChunkOptions {
                sequence: number.wrapping_add(i as u32),
                segment_start: chunks.is_empty(),
                index: self.options.index,
                ..ChunkOptions::default()
            };
            let chunk = cmaf::write_chunk(track, samples, &options)?;
            if chunks.is_empty() {
                key_range = chunk.key_range;
            }
            chunks.push(chunk.bytes);
        }
        if !chunks.is_empty() {
            events.push(Event::Segment(Segment {
                group: lane.spec.group,
                sequence,
                start: closed.start,
                duration: closed.duration,
                independent: closed.independent,
                chunks,
                key_range,
            }));
        }
        Ok(())
    }

    /// Writes the segments of a group for which every lane has given its stretch.
    fn emit_ts(&mut self, id: usize, events: &mut Vec<Event>) -> Result<()> {
        let Some(group) = self.groups.get_mut(&id) else { return Ok(()) };
        while let Some((&sequence, closed)) = group.pending.first_key_value() {
            // A lane still owes its stretch while it has not gone beyond this number.
            let owed = group.lanes.iter().any(|&i| {
                let lane = &self.lanes[i];
                let given = closed.iter().any(|(index, _)| *index == i);
                !given && !lane.is_past(sequence)
            });
            if owed {
                return Ok(());
            }
            let Some(mut closed) = group.pending.remove(&sequence) else { return Ok(()) };
            if group.muxer.is_none() {
                group.members =
                    group.lanes.iter().copied().filter(|&i| self.lanes[i].track.is_some()).collect();
                let tracks: Vec<Track> =
                    group.members.iter().filter_map(|&i| self.lanes[i].track.clone()).collect();
                let muxer = ts::Muxer::new(tracks.clone())?;
                let alone = self.options.count_from.is_some();
                group.muxer = Some(if alone { muxer } else { muxer.joining() });
                events.push(Event::Init { group: id, tracks, bytes: None });
            }
            let Some(muxer) = &mut group.muxer else { return Ok(()) };
            let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); group.members.len()];
            closed.sort_by_key(|(index, _)| *index);
            // The video's times are the segment's.
            let lead = closed.iter().position(|(i, _)| self.lanes[*i].spec.info.kind == MediaKind::Video);
            let (first, lead) = &closed[lead.unwrap_or(0)];
            let (start, mut duration, independent) = (lead.start, lead.duration, lead.independent);
            // But where the pictures end and the sound goes on.
            if self.options.beyond.is_some() && self.lanes[*first].done {
                let base = start.base;
                let length = |c: &Closed| c.start.to(base).ticks + c.duration.to(base).ticks - start.ticks;
                let of = |goes_on: bool| {
                    let lanes = closed.iter().filter(|(i, _)| !goes_on || !self.lanes[*i].done);
                    lanes.map(|(_, c)| Timestamp::new(length(c), base)).max()
                };
                if let Some(until_next) = of(true) {
                    duration = until_next;
                } else if let Some(whole) = of(false).filter(|l| earlier(*l, RUN_ON) > duration) {
                    duration = whole;
                }
            }
            for (index, closed) in &mut closed {
                if let Some(at) = group.members.iter().position(|i| i == index) {
                    samples[at] = std::mem::take(&mut closed.samples);
                }
            }
            if samples.iter().all(Vec::is_empty) {
                continue;
            }
            let chunk = muxer.segment(&samples)?;
            events.push(Event::Segment(Segment {
                group: id,
                sequence,
                start,
                duration,
                independent,
                chunks: vec![chunk.bytes],
                key_range: chunk.key_range,
            }));
        }
        Ok(())
    }
}

/// `length` before `time`, in the clock of `time`.
fn earlier(time: Timestamp, length: Timestamp) -> Timestamp {
    Timestamp::new(time.ticks.saturating_sub(length.to(time.base).ticks), time.base)
}
