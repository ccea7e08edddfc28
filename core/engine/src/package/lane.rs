//! One track on its way through the [`super::Segmenter`]: its media clock and the segment it has open.

use super::bitstream::damaged;
use super::cmaf::{self, ChunkOptions, ProducerReference, Sample};
use super::segmenter::{Container, Lengths, Options, Part, TrackSpec};
use super::track::Track;
use crate::error::Result;
use crate::packet::{MediaKind, Packet, SideData};
use crate::time::{Rational, Rounding, Timestamp, rescale};
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;

/// Times this close count as equal.
const TOLERANCE: Timestamp = Timestamp::new(1, Rational::new(1, 1000));

/// A longer hole in sound, in milliseconds, stays one.
const FILLED: i64 = 10_000;

/// A cut to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    /// Where.
    pub at: Timestamp,
    /// The number of the segment that begins there; `None`: the end.
    pub next: Option<u64>,
    /// That segment takes what lies before it too.
    pub everything: bool,
    /// Pictures are cut by their decode times, as there is no key frame.
    pub forced: bool,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub spec: TrackSpec,
    pub track: Option<Track>,
    /// Whether the init segment of the present configuration is out.
    pub announced: bool,
    /// Packets whose segment is not known yet.
    pub waiting: VecDeque<Packet>,
    /// Packets that have no decode time yet.
    undated: Vec<Packet>,
    /// Cuts to come.
    pub bounds: VecDeque<Bound>,
    /// No more packets come in.
    pub ended: bool,
    /// The last segment is closed.
    pub done: bool,
    /// Number of the open segment.
    pub sequence: Option<u64>,
    /// Behind the end of the track that decides the cuts: the last cell that has begun.
    pub beyond: Option<u64>,
    /// When the packet is decoded that begins the next segment, where that is known.
    pub next_decode: Option<i64>,
    /// Pictures that are not there while other tracks go on: they are again with a key frame.
    pub resting: bool,
    cmaf: bool,
    /// Other runs make segments of the same set: nothing may depend on where this one began.
    agrees: bool,
    origin: Timestamp,
    /// Longest part, in ticks.
    part: Option<Timestamp>,
    open: Open,
    /// Added to decode times so that a segment's first one is its presentation time (CMAF video).
    shift: i64,
    last_decode: Option<i64>,
    /// Audio: where the next packet should start.
    expected: Option<i64>,
    /// Holes in sound become silence; where the next packet that comes in should start.
    fills: bool,
    reached: Option<i64>,
    /// `mfhd` sequence number of parts.
    fragment: u32,
    /// Cuts may lie between key frames.
    bounded: bool,
    /// The key frame at the start of a segment's first part has a chunk of its own.
    key_chunk: bool,
    /// Wall-clock time of time 0, for `prft`.
    wall: Option<i64>,
    /// When the last key frame is shown, and how long after the one before it.
    key: Option<(i64, Option<i64>)>,
}

/// The open segment.
#[derive(Debug, Default)]
struct Open {
    samples: Vec<Sample>,
    start: Option<i64>,
    independent: bool,
    parts: Vec<Bytes>,
    key_range: Option<Range<u64>>,
    end: i64,
}

/// A finished stretch of a lane.
#[derive(Debug)]
pub(super) struct Closed {
    pub start: Timestamp,
    pub duration: Timestamp,
    pub independent: bool,
    /// Samples that are not written yet.
    pub samples: Vec<Sample>,
    /// Parts that are.
    pub parts: Vec<Bytes>,
    pub key_range: Option<Range<u64>>,
}

/// When a packet is, on the output's timeline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub present: Timestamp,
    /// What is compared with the plan: the presentation time, of audio the middle. Of audio that is not cut by a plan it is where the
    /// frame is put, behind what was added last.
    pub cut: Timestamp,
    pub key: bool,
    audio: bool,
    pub decode: i64,
    duration: i64,
}

impl Lane {
    pub fn new(spec: TrackSpec, options: &Options) -> Lane {
        Lane {
            spec,
            track: None,
            announced: false,
            waiting: VecDeque::new(),
            undated: Vec::new(),
            bounds: VecDeque::new(),
            ended: false,
            done: false,
            sequence: None,
            beyond: None,
            next_decode: None,
            resting: false,
            cmaf: options.container == Container::Cmaf,
            agrees: options.count_from.is_none(),
            origin: options.origin,
            part: options.part,
            open: Open::default(),
            shift: 0,
            last_decode: None,
            expected: None,
            fills: options.fill,
            reached: None,
            fragment: 0,
            bounded: options.lengths.is_some(),
            key_chunk: options.key_chunk && !options.index,
            wall: options.wall,
            key: None,
        }
    }

    /// Describes the track from its first key packet; `false` while it is not there yet.
    pub fn configure(&mut self, packet: &Packet) -> Result<bool> {
        if !packet.key {
            return Ok(false);
        }
        let mut info = self.spec.info.clone();
        if let Some(extradata) = new_extradata(packet) {
            info.extradata = extradata;
        }
        if let Some(audio) = &mut info.audio {
            for side in &packet.side_data {
                if let SideData::SkipSamples { start, .. } = side {
                    audio.initial_padding = audio.initial_padding.max(*start);
                }
            }
        }
        self.track = Some(Track::new(&info, Some(packet))?);
        if let (true, false, Some(track)) = (self.agrees, self.is_audio(), &mut self.track) {
            // The reorder delay of the first frames, where frames are not equally long, is not that of others.
            let reorder = track.video().map_or(0, |v| i64::from(v.reorder));
            if let Some(rate) = track.frame_rate().filter(|_| reorder > 0) {
                let delay = rescale(reorder, rate.inverse(), track.base(), Rounding::Nearest);
                track.priming = u32::try_from(delay).unwrap_or(0).min(track.timescale * 10);
            }
        }
        // Priming that only the time stamps tell of.
        let start = packet.pts.map_or(0, |pts| self.ticks(pts, packet.base));
        if let (true, Some(track)) = (self.is_audio(), &mut self.track) {
            let before = u32::try_from(start.saturating_neg()).unwrap_or(0);
            if before <= track.timescale {
                track.priming = track.priming.max(before);
            }
        }
        Ok(true)
    }

    /// The track under a new configuration, when `packet` brings one.
    pub fn reconfigure(&self, packet: &Packet) -> Result<Option<Track>> {
        let (Some(extradata), Some(track)) = (new_extradata(packet), &self.track) else { return Ok(None) };
        if extradata == track.info.extradata {
            return Ok(None);
        }
        let mut info = track.info.clone();
        info.extradata = extradata;
        Track::new(&info, Some(packet)).map(Some)
    }

    pub fn has_samples(&self) -> bool {
        !self.open.samples.is_empty() || !self.open.parts.is_empty()
    }

    fn is_audio(&self) -> bool {
        self.spec.info.kind == MediaKind::Audio
    }

    fn base(&self) -> Rational {
        self.track.as_ref().map_or(self.spec.info.time_base, Track::base)
    }

    /// Media time of presentation time 0.
    fn priming(&self) -> i64 {
        self.track.as_ref().map_or(0, |t| i64::from(t.priming))
    }

    /// Decode time of what is presented at 0: audio is decoded when it is presented, video is decoded earlier by its
    /// reorder delay.
    fn decode_origin(&self) -> i64 {
        if self.is_audio() { self.priming() } else { 0 }
    }

    /// Gives packets of reordered video that come without decode times (the first ones of Matroska) theirs, from the
    /// first that has one. Returns the packets that are ready.
    pub fn date(&mut self, packet: &Packet) -> Vec<Packet> {
        if self.is_audio() || (packet.dts.is_some() && self.undated.is_empty()) {
            return vec![packet.clone()];
        }
        self.undated.push(packet.clone());
        match packet.dts {
            Some(_) => self.date_held(),
            None if self.undated.len() >= 64 => self.date_held(),
            None => Vec::new(),
        }
    }

    /// Dates what [`Lane::date`] holds: backwards from a known decode time, else from the order of presentation.
    pub fn date_held(&mut self) -> Vec<Packet> {
        let mut held = std::mem::take(&mut self.undated);
        if let Some(mut next) = held.last().and_then(|p| p.dts) {
            for packet in held.iter_mut().rev().skip(1) {
                let before = next.saturating_sub(packet.duration.max(1));
                next = packet.pts.map_or(before, |pts| pts.min(before));
                packet.dts = Some(next);
            }
        } else {
            let mut order: Vec<i64> = held.iter().filter_map(|p| p.pts).collect();
            order.sort_unstable();
            let ahead = held.iter().zip(&order).filter_map(|(p, o)| Some(o.saturating_sub(p.pts?))).max();
            for (packet, time) in held.iter_mut().zip(&order) {
                packet.dts = Some(time.saturating_sub(ahead.unwrap_or(0)));
            }
        }
        held
    }

    /// `ticks` of the packet's base on the output's timeline, in the track's ticks.
    fn ticks(&self, ticks: i64, base: Rational) -> i64 {
        let to = self.base();
        let zero = rescale(self.origin.ticks, self.origin.base, to, Rounding::Nearest);
        rescale(ticks, base, to, Rounding::Nearest).saturating_sub(zero)
    }

    /// Silence for the hole in the sound in front of `packet`, the next that comes in, where there is one.
    pub fn fill(&mut self, packet: &Packet) -> Result<Vec<Packet>> {
        if !self.fills || !self.is_audio() {
            return Ok(Vec::new());
        }
        let timing = self.timing(packet)?;
        let present = timing.present.ticks;
        let reached = self.reached.unwrap_or(present);
        let silence = || {
            let data = self.track.as_ref()?.silence()?;
            let length = i64::from(self.track.as_ref()?.packet_samples(&data)?);
            // As many as bring the end nearest to the packet.
            let count = (present - reached + length / 2) / length;
            (count > 0 && (present - reached) <= rescale(FILLED, TOLERANCE.base, self.base(), Rounding::Down))
                .then_some((data, length, count))
        };
        let (mut made, mut at) = (Vec::new(), reached);
        if let Some((data, length, count)) = silence() {
            let base = self.base();
            let zero = rescale(self.origin.ticks, self.origin.base, base, Rounding::Nearest);
            for _ in 0..count {
                let mut quiet = Packet::new(data.clone(), at + zero, length, base);
                (quiet.stream, quiet.key) = (packet.stream, true);
                made.push(quiet);
                at += length;
            }
        }
        if !self.is_doubled(&timing, self.reached) {
            self.reached = Some(self.placed(present, Some(at)) + timing.duration);
        }
        Ok(made)
    }

    /// Whether a whole frame of sound, or more, lies in front of the end of what came before, as where recordings were joined that
    /// each have a frame of priming. All that follows would be as much later, and more with every joint. What lies further back
    /// is no overlap but another time.
    fn is_doubled(&self, timing: &Timing, expected: Option<i64>) -> bool {
        let over = expected.map_or(0, |expected| expected - timing.present.ticks);
        let most = rescale(1, Rational::new(1, 1), self.base(), Rounding::Down);
        timing.audio && timing.duration > 0 && (timing.duration..=most).contains(&over)
    }

    /// Where sound of the time `present` goes when what is before it ends at `expected`.
    fn placed(&self, present: i64, expected: Option<i64>) -> i64 {
        // Containers round times; the sound does not have gaps of a sample.
        let slack = rescale(2, TOLERANCE.base, self.base(), Rounding::Up);
        match expected {
            Some(expected) if (present - expected).abs() <= slack => expected,
            Some(expected) => present.max(expected),
            None => present,
        }
    }

    pub fn timing(&self, packet: &Packet) -> Result<Timing> {
        let (Some(pts), Some(dts)) = (packet.pts.or(packet.dts), packet.dts.or(packet.pts)) else {
            return Err(damaged("a packet without any time stamp"));
        };
        if !packet.base.is_positive() {
            return Err(damaged("a packet without a time base"));
        }
        // Far from overflow in everything that follows: a day of 10 MHz ticks is 2^40.
        let sane = |t: i64| t.unsigned_abs() < 1 << 52;
        let (present, decode) = (self.ticks(pts, packet.base), self.ticks(dts, packet.base));
        if !sane(present) || !sane(decode) {
            return Err(damaged("time stamp out of range"));
        }
        let samples = self.track.as_ref().and_then(|t| t.packet_samples(&packet.data));
        let duration = samples.map_or_else(
            || {
                let end = self.ticks(dts.saturating_add(packet.duration.max(0)), packet.base);
                end.saturating_sub(decode).clamp(0, 1 << 31)
            },
            i64::from,
        );
        let base = self.base();
        let audio = self.is_audio();
        let present_time = Timestamp::new(present, base);
        let cut = match (audio, self.bounded) {
            (false, _) => present_time,
            (true, false) => middle(present, duration, base),
            (true, true) => Timestamp::new(self.placed(present, self.expected), base),
        };
        Ok(Timing { present: present_time, cut, key: packet.key, audio, decode, duration })
    }

    /// Where the open segment must end before this packet, if it must, and whether that is no key frame.
    pub fn cut(&self, timing: &Timing, lengths: Lengths) -> Option<(Timestamp, bool)> {
        let start = self.open.start?;
        let after = |at: i64| Timestamp::new(at - start, self.base());
        let present = timing.present.ticks;
        if timing.key {
            // A key frame that comes before it is time, but after which the next one would be too late.
            let step = self.key.and_then(|(_, step)| step).unwrap_or(0);
            let now = after(present).micros() + TOLERANCE.micros() >= lengths.least.micros()
                || !self.open.independent
                || after(present + step) > lengths.most;
            return now.then_some((timing.present, false));
        }
        let usual = self.open.samples.last().map_or(0, |s| i64::from(s.duration));
        let decode = timing.decode + self.shift;
        let late = after(decode + timing.duration.max(usual)) > lengths.most;
        late.then(|| (Timestamp::new(decode, self.base()), true))
    }

    /// Whether a packet belongs behind a cut.
    pub fn is_behind(&self, timing: &Timing, cut: Bound) -> bool {
        if cut.forced && !timing.audio {
            return !is_before(Timestamp::new(timing.decode + self.shift, self.base()), cut.at, false);
        }
        timing.key && !is_before(timing.cut, cut.at, timing.audio)
    }

    /// Whether a packet belongs before every cut that is not earlier than `frontier`.
    pub fn is_before(&self, timing: &Timing, frontier: Option<Timestamp>) -> bool {
        if self.bounded && !timing.key {
            // Where the leading track is that far, the cut before it is known.
            let decode = Timestamp::new(timing.decode, self.base());
            return frontier.is_some_and(|f| !is_before(f, decode, false));
        }
        !timing.key || frontier.is_some_and(|f| is_before(timing.cut, f, timing.audio))
    }

    /// No later key frame is presented before this.
    pub fn frontier(&self) -> Option<Timestamp> {
        self.last_decode.map(|t| Timestamp::new(t, self.base()))
    }

    /// The track sends nothing while others go on.
    pub fn rest(&mut self) {
        self.resting = true;
        // How far apart its key frames are is not known then.
        self.key = None;
    }

    /// When a packet is decoded, on the output's timeline.
    pub fn decode_time(&self, packet: &Packet) -> Result<Timestamp> {
        self.timing(packet).map(|timing| Timestamp::new(timing.decode, self.base()))
    }

    /// Where the last packet ends, when its length is known.
    pub fn expected_end(&self) -> Option<Timestamp> {
        let last = self.open.samples.last()?;
        let shift = if self.cmaf { 0 } else { self.shift };
        let end = last.decode + i64::from(last.duration) + shift - self.decode_origin();
        (last.duration > 0).then(|| Timestamp::new(end, self.base()))
    }

    /// Whether the next packet is going to lie behind a cut at `at`.
    pub fn reaches(&self, at: Timestamp) -> bool {
        let (Some(end), Some(last)) = (self.expected_end(), self.open.samples.last()) else { return false };
        let middle = || middle(end.ticks, i64::from(last.duration), end.base);
        let next = if self.is_audio() && !self.bounded { middle() } else { end };
        !is_before(next, at, self.is_audio())
    }

    /// Where the open segment begins and ends so far.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let at = |ticks| Timestamp::new(ticks, self.base());
        self.open.start.map(|start| (at(start), at(self.open.end)))
    }

    /// Where the last of the waiting packets ends.
    pub fn waits_until(&self) -> Result<Option<Timestamp>> {
        let Some(last) = self.waiting.back() else { return Ok(None) };
        let timing = self.timing(last)?;
        Ok(Some(Timestamp::new(timing.present.ticks + timing.duration, timing.present.base)))
    }

    /// Whether segment `sequence` gets nothing more from this lane.
    pub fn is_past(&self, sequence: u64) -> bool {
        self.done || self.sequence.is_some_and(|s| s > sequence)
    }

    /// Adds a packet to the open segment.
    pub fn add(&mut self, packet: &Packet) -> Result<()> {
        let timing = self.timing(packet)?;
        self.last_decode = Some(timing.decode.max(self.last_decode.unwrap_or(i64::MIN)));
        let Some(track) = &self.track else { return Ok(()) };
        let data = if self.cmaf { cmaf::payload(track, &packet.data)? } else { packet.data.clone() };
        let priming = self.priming();
        let present = timing.present.ticks;
        let (mut decode, mut offset, mut duration) = (timing.decode, 0, timing.duration);
        if timing.audio {
            if self.is_doubled(&timing, self.expected) {
                return Ok(());
            }
            decode = self.placed(present, self.expected);
            self.expected = Some(decode + duration);
            decode += priming;
            for side in &packet.side_data {
                if let SideData::SkipSamples { end, .. } = side {
                    duration = (duration - i64::from(*end)).max(1);
                }
            }
            if self.cmaf && decode < 0 {
                return Ok(());
            }
        } else {
            if timing.key {
                self.key = Some((present, self.key.map(|(before, _)| present - before)));
            }
            if self.open.start.is_none() && timing.key {
                self.shift = present - decode;
                if self.cmaf && (self.agrees || priming > 0) {
                    // No frame may be shown before the offset that the init segment allows for: those that are decoded behind the
                    // key frame and shown before it.
                    self.shift = self.shift.min(priming);
                }
            }
            if self.cmaf {
                decode += self.shift;
                // Behind a gap, decode times made from presentation times lag by it at first; a segment that begins
                // there must not carry the lag on, or its pictures would be decoded after they are shown.
                let late = decode - (present + priming);
                if late > 0 {
                    self.shift -= late;
                    decode -= late;
                }
            }
            if let Some(last) = self.open.samples.last() {
                decode = decode.max(last.decode + 1);
            }
            // MPEG-TS has no edit list; its time stamps are the real ones.
            offset = present - decode + if self.cmaf { priming } else { 0 };
        }
        self.settle(decode);
        let open = &mut self.open;
        if open.start.is_none() {
            open.start = Some(match () {
                () if timing.audio => decode - priming,
                // What is not cut at a key frame is cut in decode order.
                () if self.cmaf && !timing.key => decode,
                () => present,
            });
            open.independent = timing.key;
        }
        open.end = open.end.max(if timing.audio { decode - priming } else { present } + duration);
        open.samples.push(Sample {
            data,
            decode,
            offset: i32::try_from(offset)
                .map_err(|_| damaged("presentation and decode time too far apart"))?,
            duration: u32::try_from(duration).unwrap_or(u32::MAX),
            key: timing.key,
        });
        Ok(())
    }

    /// Corrects the last sample's duration now that the next one's time is known.
    fn settle(&mut self, next: i64) {
        let audio = self.is_audio();
        let usual = match &self.open.samples[..] {
            [.., before, _] => before.duration,
            _ => 1,
        };
        if let Some(last) = self.open.samples.last_mut() {
            let distance = next - last.decode;
            if distance > 0 && (!audio || distance > i64::from(last.duration)) {
                last.duration = u32::try_from(distance).unwrap_or(u32::MAX);
            } else if last.duration == 0 {
                last.duration = usual;
            }
        }
    }

    /// Gives the last sample of the segment its duration. `next` is where the next segment begins.
    pub fn settle_end(&mut self, next: Option<Timestamp>) {
        if self.is_audio() {
            return;
        }
        let shift = if self.cmaf { 0 } else { self.shift };
        let decode = self.next_decode.take().filter(|_| self.cmaf && !self.agrees).map(|d| d + self.shift);
        match next {
            Some(at) => {
                let at = at.to(self.base()).ticks;
                // A key frame that others are shown before is decoded earlier than it is shown.
                self.settle(decode.map_or(at - shift, |decode| decode.min(at)));
                self.open.end = at;
            }
            None => {
                let usual = match &self.open.samples[..] {
                    [.., before, last] if last.duration == 0 => before.duration,
                    _ => 0,
                };
                if let Some(last) = self.open.samples.last_mut().filter(|_| usual > 0) {
                    last.duration = usual;
                    self.open.end = self.open.end.max(last.decode + shift + i64::from(usual));
                }
            }
        }
    }

    /// Ends the open segment; `None` when it is empty. [`Lane::settle_end`] comes first.
    pub fn close(&mut self) -> Option<(u64, Closed)> {
        let base = self.base();
        let open = std::mem::take(&mut self.open);
        let (sequence, start) = (self.sequence?, open.start?);
        let closed = Closed {
            start: Timestamp::new(start, base),
            duration: Timestamp::new(open.end - start, base),
            independent: open.independent,
            samples: open.samples,
            parts: open.parts,
            key_range: open.key_range,
        };
        Some((sequence, closed))
    }

    /// Begins segment `next`, or ends the lane.
    pub fn begin(&mut self, next: Option<u64>) {
        self.open = Open::default();
        self.sequence = next;
        if next.is_none() {
            (self.ended, self.done) = (true, true);
            self.waiting.clear();
            self.bounds.clear();
        }
    }

    /// Longest part in ticks.
    fn part_ticks(&self) -> Option<i64> {
        self.part.map(|p| p.to_rounding(self.base(), Rounding::Down).ticks)
    }

    /// Whether the open part must be written before `packet`, as it would become too long with it.
    pub fn part_is_full(&mut self, packet: &Packet) -> Result<bool> {
        let (Some(limit), Some(first)) = (self.part_ticks(), self.open.samples.first()) else {
            return Ok(false);
        };
        let first = first.decode;
        let timing = self.timing(packet)?;
        let decode = if timing.audio {
            self.expected.unwrap_or(timing.present.ticks) + self.decode_origin()
        } else {
            timing.decode + self.shift
        };
        self.settle(decode);
        let usual = self.open.samples.last().map_or(0, |s| i64::from(s.duration));
        let duration = if timing.duration > 0 { timing.duration } else { usual };
        Ok(decode + duration - first > limit)
    }

    /// Whether another packet like the last would make the open part too long, so that it can go out now.
    pub fn part_cannot_take_another(&self) -> bool {
        let (Some(limit), [first, ..], [.., last]) =
            (self.part_ticks(), &self.open.samples[..], &self.open.samples[..])
        else {
            return false;
        };
        let duration = i64::from(last.duration);
        // One tick less than twice: durations of an inexact rate differ by one.
        duration > 0 && last.decode + 2 * duration - 1 - first.decode > limit
    }

    /// Writes the open part, if there is one.
    pub fn take_part(&mut self) -> Result<Option<Part>> {
        let (Some(track), Some(sequence)) = (&self.track, self.sequence) else { return Ok(None) };
        let samples = std::mem::take(&mut self.open.samples);
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return Ok(None) };
        self.fragment = self.fragment.wrapping_add(1);
        let index = self.open.parts.len() as u32;
        let decoded = Timestamp::new(first.decode - self.decode_origin(), track.base());
        let wall = self.wall.filter(|_| index == 0).map(|wall| wall.saturating_add(decoded.micros()));
        // The first one begins where its segment does.
        let start = self.open.start.filter(|_| index == 0);
        let start = start.map_or(decoded, |start| Timestamp::new(start, track.base()));
        let options = ChunkOptions {
            sequence: self.fragment,
            segment_start: index == 0,
            reference: wall.map(|wall| ProducerReference::new(wall, first.decode)),
            ..ChunkOptions::default()
        };
        let alone = self.key_chunk && index == 0 && first.key && samples.len() > 1 && !self.is_audio();
        let mut chunk = cmaf::write_chunk(track, if alone { &samples[..1] } else { &samples }, &options)?;
        if alone {
            self.fragment = self.fragment.wrapping_add(1);
            let options = ChunkOptions { sequence: self.fragment, ..ChunkOptions::default() };
            let rest = cmaf::write_chunk(track, &samples[1..], &options)?;
            chunk.bytes = [chunk.bytes, rest.bytes].concat().into();
        }
        if index == 0 {
            self.open.key_range = chunk.key_range;
        }
        self.open.parts.push(chunk.bytes.clone());
        let base = track.base();
        Ok(Some(Part {
            group: self.spec.group,
            sequence,
            index,
            start,
            duration: Timestamp::new(last.decode + i64::from(last.duration) - first.decode, base),
            independent: samples.iter().any(|s| s.key),
            bytes: chunk.bytes,
        }))
    }
}

fn new_extradata(packet: &Packet) -> Option<Bytes> {
    packet.side_data.iter().find_map(|side| match side {
        SideData::NewExtradata(data) if !data.is_empty() => Some(data.clone()),
        _ => None,
    })
}

/// The middle of a frame, exactly.
fn middle(start: i64, duration: i64, base: Rational) -> Timestamp {
    match base.den.checked_mul(2) {
        Some(den) => Timestamp::new(2 * start + duration, Rational::new(base.num, den)),
        None => Timestamp::new(start + duration / 2, base),
    }
}

/// Whether `a` is before `b`; pictures by more than the tolerance.
fn is_before(a: Timestamp, b: Timestamp, exact: bool) -> bool {
    if exact {
        return a < b;
    }
    let base = a.base;
    let slack = rescale(TOLERANCE.ticks, TOLERANCE.base, base, Rounding::Up);
    Timestamp::new(a.ticks.saturating_add(slack), base) < b
}
