//! An output's thread: waits until every track is known, interleaves packets by decode time and feeds the sink. It
//! always takes what it is sent, so that no track can wait for another.

use super::relay::{self, Relays};
use super::worker::ToMux;
use crate::error::{Error, ErrorKind, Result};
use crate::job::shared::{Meter, Remote, Shared, TrackMeter, lock};
use crate::link::Receiver;
use crate::packet::{Coding, Disposition, MediaKind, Packet, StreamInfo, VideoInfo};
use crate::sink::{Command, Fate, OutputSink, TrackHeader};
use crate::time::Timestamp;
use crate::timecode::{Timecode, is_timecode};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Packets of one track may wait this long (output time) for another track before they are written without it.
const MAX_SKEW_SECONDS: f64 = 30.0;

/// A track of the output as the mux thread keeps it.
struct Track {
    meter: Arc<TrackMeter>,
    name: String,
    kind: MediaKind,
    stream: Option<Box<StreamInfo>>,
    /// The source's words about it, for a stream that an encoder describes.
    tags: Tags,
    waiting: VecDeque<Packet>,
    ended: bool,
    /// Runs ahead of the others: is waited for by nobody and waits for nobody.
    leads: bool,
    /// Index in the sink, once begun.
    slot: Option<usize>,
    /// Its packets are the source's own.
    copied: bool,
    /// How many of them were too damaged for the output, and what was wrong with the first.
    left_out: Option<(u64, Error)>,
}

/// What a source says about a stream that outlives its coding.
#[derive(Default)]
struct Tags {
    language: Option<String>,
    title: Option<String>,
    disposition: Disposition,
    /// Clockwise degrees, and whether it is mirrored before, where that was not done to the pictures.
    rotation: Option<(f64, bool)>,
    /// Of the first picture that is written.
    timecode: Option<Timecode>,
}

impl Tags {
    fn of(source: &StreamInfo) -> Tags {
        Tags {
            language: source.language.clone(),
            title: source.title.clone(),
            disposition: Disposition { attached_picture: false, ..source.disposition },
            rotation: None,
            timecode: None,
        }
    }

    fn dress(&self, stream: &mut StreamInfo) {
        stream.language = stream.language.take().or(self.language.clone());
        stream.title = stream.title.take().or(self.title.clone());
        stream.disposition = self.disposition;
        if let (Some(video), Some(rotation)) = (&mut stream.video, self.rotation) {
            (video.rotation, video.mirrored) = rotation;
        }
        self.stamp(stream);
    }

    /// Writes the time code in place of what the stream says, which is that of the source's beginning, at its rate.
    fn stamp(&self, stream: &mut StreamInfo) {
        stream.metadata.retain(|(key, _)| !is_timecode(key));
        let rate = stream.video.as_ref().and_then(|v| v.frame_rate);
        if let Some(code) = self.timecode.zip(rate).and_then(|(code, rate)| code.counted_at(rate)) {
            stream.metadata.push(("timecode".into(), code.to_string()));
        }
    }
}

/// One output's thread.
pub(crate) struct Mux {
    tracks: Vec<Track>,
    relays: Relays,
    sink: Box<dyn OutputSink>,
    begun: bool,
    /// Tracks do not wait for each other.
    at_once: bool,
    /// A first pass: some encoders give statistics and no packets.
    may_be_empty: bool,
    /// Commands of the job's owner.
    remote: Arc<Remote>,
    /// Packets that are written.
    spent: Vec<ToMux>,
    /// The job was stopped before there was anything to write.
    empty: bool,
    label: String,
}

/// How an output ended.
pub(crate) enum Ended {
    /// Complete; what a user would open.
    Complete(Vec<String>),
    /// Taken back because the job was cancelled or has failed elsewhere.
    Aborted,
    /// It failed by itself.
    Failed(Error),
}

impl Mux {
    pub fn new(sink: Box<dyn OutputSink>, label: String, remote: Arc<Remote>) -> Self {
        Mux {
            tracks: Vec::new(),
            relays: Relays::default(),
            sink,
            begun: false,
            at_once: false,
            remote,
            spent: Vec::new(),
            empty: false,
            may_be_empty: false,
            label,
        }
    }

    /// Adds a track; `stream` is known already when it is copied.
    pub fn add(
        &mut self,
        meter: Arc<TrackMeter>,
        kind: MediaKind,
        stream: Option<StreamInfo>,
        source: Option<&StreamInfo>,
    ) -> usize {
        self.tracks.push(Track {
            name: meter.name.clone(),
            copied: stream.is_some(),
            left_out: None,
            meter,
            kind,
            stream: stream.map(Box::new),
            tags: source.map(Tags::of).unwrap_or_default(),
            waiting: VecDeque::new(),
            ended: false,
            leads: false,
            slot: None,
        });
        self.tracks.len() - 1
    }

    /// Has the pictures of `track` turned by whoever shows them, as those of `source` are.
    pub fn turn(&mut self, track: usize, source: &VideoInfo) {
        self.tracks[track].tags.rotation = Some((source.rotation, source.mirrored));
    }

    /// Has the first picture of `track` carry a time code.
    pub fn count_from(&mut self, track: usize, code: Option<Timecode>) {
        let track = &mut self.tracks[track];
        track.tags.timecode = code;
        if let Some(stream) = &mut track.stream {
            track.tags.stamp(stream);
        }
    }

    /// Lets `track` run ahead of the others.
    pub fn lead(&mut self, track: usize) {
        self.tracks[track].leads = true;
    }

    /// Lets no track wait for another: each packet goes on as soon as it is there.
    pub fn hand_on_at_once(&mut self) {
        self.at_once = true;
    }

    /// Takes it as complete also when its tracks yield nothing.
    pub fn allow_empty(&mut self) {
        self.may_be_empty = true;
    }

    /// Gives the output's place back: the job could not be built.
    pub fn abandon(mut self) {
        self.sink.abort(false);
    }

    /// Runs until every track has ended or the link breaks.
    pub fn run(
        mut self,
        shared: &Shared,
        meter: &Meter,
        input: Receiver<ToMux>,
        keep_partial: bool,
    ) -> Ended {
        let result = self.take_all(shared, meter, &input);
        drop(input);
        let result = result.and_then(|complete| {
            let cut_short = shared.is_stopping() && self.sink.is_part() && !self.sink.is_done();
            if !complete || shared.is_cancelled() || cut_short {
                return Ok(None);
            }
            let start = shared.clock.now();
            let files = self.sink.finish();
            meter.busy(shared.clock.now().saturating_sub(start));
            files.map(Some)
        });
        match result {
            Ok(Some(files)) => Ended::Complete(files),
            Ok(None) => {
                self.sink.abort(keep_partial);
                Ended::Aborted
            }
            Err(_) if self.empty => {
                self.sink.abort(false);
                shared.warn(
                    "output",
                    format!("{}: stopped before anything came: nothing is written", self.label),
                );
                Ended::Aborted
            }
            Err(e) => {
                self.sink.abort(keep_partial);
                Ended::Failed(e.context(&self.label))
            }
        }
    }

    /// `true` when every track ended by itself.
    fn take_all(&mut self, shared: &Shared, meter: &Meter, input: &Receiver<ToMux>) -> Result<bool> {
        while let Some(messages) = input.recv_all(&mut self.spent) {
            let start = shared.clock.now();
            for message in messages {
                meter.count_in();
                match message {
                    ToMux::Stream(track, mut stream) => {
                        let track = &mut self.tracks[track];
                        track.tags.dress(&mut stream);
                        track.stream = Some(stream);
                    }
                    ToMux::Packet(track, packet) => self.take(track, packet),
                    ToMux::Leaving(track) => {
                        if let Some(successor) = self.tracks[track].meter.successor {
                            self.relays.leaving(track, successor);
                        }
                    }
                    ToMux::Left(track, at) => self.hand_over(shared, track, at),
                    ToMux::End(track) => {
                        self.relays.stays(track);
                        self.end(track);
                    }
                    ToMux::Failed(e) => return Err(e),
                }
                self.advance(shared, meter)?;
                if self.sink.is_done() {
                    // Progress does not wait for them.
                    self.tracks.iter().for_each(|t| t.meter.ended.store(true, Ordering::Relaxed));
                    return Ok(true);
                }
            }
            for command in self.remote.take() {
                let code = if matches!(command, Command::Save { .. }) { "save" } else { "control" };
                if let Err(e) = self.sink.command(command) {
                    shared.warn(code, e.context(&self.label).to_string());
                }
            }
            meter.busy(shared.clock.now().saturating_sub(start));
        }
        if shared.is_cancelled() {
            return Ok(false);
        }
        // All senders are gone: whoever did not say so has ended too.
        self.tracks.iter_mut().for_each(|t| t.ended = true);
        self.advance(shared, meter)?;
        self.report_damage(shared)?;
        Ok(true)
    }

    /// Takes a packet of `track`, also for those that go on with it.
    fn take(&mut self, track: usize, packet: Packet) {
        for to in self.relays.passed(track, &packet) {
            let copy = relay::with_sets(packet.clone(), self.tracks[track].stream.as_deref());
            self.take(to, copy);
        }
        self.tracks[track].waiting.push_back(packet);
    }

    /// `track` is encoded no more from `at` on.
    fn hand_over(&mut self, shared: &Shared, track: usize, at: Timestamp) {
        let kept = self.relays.left(track, at);
        let Some(source) = self.relays.source(track) else { return self.end(track) };
        let (this, next) = (&self.tracks[track], &self.tracks[source]);
        let message = format!(
            "{}: {} is encoded no more from {:.3} s on: it goes on with {}",
            self.label,
            this.name,
            at.seconds(),
            next.name
        );
        shared.warn("rung", message);
        for packet in kept {
            let packet = relay::with_sets(packet, self.tracks[source].stream.as_deref());
            self.take(track, packet);
        }
        if self.tracks[source].ended {
            self.end(track);
        }
    }

    /// `track` is complete, and those that go on with it.
    fn end(&mut self, track: usize) {
        self.tracks[track].ended = true;
        let others: Vec<usize> = (0..self.tracks.len())
            .filter(|t| !self.tracks[*t].ended && self.relays.source(*t) == Some(track))
            .collect();
        others.into_iter().for_each(|t| self.end(t));
    }

    /// Says what was left out; a track of which nothing is left is an error.
    fn report_damage(&self, shared: &Shared) -> Result<()> {
        for track in &self.tracks {
            let Some((count, why)) = &track.left_out else { continue };
            if track.meter.packets.load(Ordering::Relaxed) == 0 {
                return Err(why.clone().context(format!("{}: all its packets are damaged", track.name)));
            }
            let message =
                format!("{}: {}: {count} damaged packets were left out ({why})", self.label, track.name);
            shared.warn("source", message);
        }
        Ok(())
    }

    /// Hands the leading track's packets on as they come.
    fn advance_lead(&mut self, meter: &Meter) -> Result<()> {
        let Some(index) = self.tracks.iter().position(|t| t.leads) else { return Ok(()) };
        let track = &mut self.tracks[index];
        if track.slot.is_none() {
            let (Some(stream), Some(_)) = (&track.stream, track.waiting.front()) else { return Ok(()) };
            track.slot = Some(0);
            let header = TrackHeader {
                stream: (**stream).clone(),
                name: track.name.clone(),
                position: index,
                copied: track.copied,
                first: None,
            };
            self.sink.begin_lead(&header)?;
        }
        while let Some(packet) = self.tracks[index].waiting.pop_front() {
            note(&self.tracks[index].meter, packet.data.len(), end(&packet), packet.coding);
            self.sink.write_lead(packet)?;
            meter.count_out(1);
        }
        Ok(())
    }

    fn advance(&mut self, shared: &Shared, meter: &Meter) -> Result<()> {
        self.advance_lead(meter)?;
        if !self.begun {
            let at_once = self.at_once;
            let known = |t: &Track| {
                t.stream.is_some() && (at_once || !t.waiting.is_empty() || t.kind == MediaKind::Subtitle)
            };
            if !self.tracks.iter().all(|t| t.ended || t.leads || known(t)) {
                return Ok(());
            }
            self.begin(shared)?;
        }
        while let Some(index) = self.next_track() {
            let track = &mut self.tracks[index];
            let Some(mut packet) = track.waiting.pop_front() else { break };
            let Some(slot) = track.slot else { continue };
            packet.stream = slot;
            let (size, end, coding) = (packet.data.len(), end(&packet), packet.coding);
            // The payload is shared: what stays here is the last hold on it, given back to whoever allocated it.
            self.spent.push(ToMux::Packet(index, packet.clone()));
            match self.sink.write(slot, packet)? {
                Fate::Written => {
                    note(&track.meter, size, end, coding);
                    meter.count_out(1);
                }
                Fate::LeftOut(why) => {
                    meter.count_damaged(1);
                    track.left_out.get_or_insert((0, why)).0 += 1;
                }
            }
        }
        for track in &self.tracks {
            if track.ended
                && track.waiting.is_empty()
                && !track.meter.ended.swap(true, Ordering::Relaxed)
                && let Some(slot) = track.slot.filter(|_| !track.leads)
            {
                self.sink.end(slot)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, shared: &Shared) -> Result<()> {
        let mut headers = Vec::new();
        for (position, track) in self.tracks.iter_mut().enumerate().filter(|(_, t)| !t.leads) {
            let empty = track.ended && track.waiting.is_empty() && track.kind != MediaKind::Subtitle;
            match &track.stream {
                Some(stream) if !empty => {
                    track.slot = Some(headers.len());
                    headers.push(TrackHeader {
                        stream: (**stream).clone(),
                        name: track.name.clone(),
                        position,
                        copied: track.copied,
                        first: track.waiting.front().and_then(Packet::presentation),
                    });
                }
                _ if self.may_be_empty => {}
                _ => shared.warn(
                    "skipped",
                    format!("{}: {}: the source yielded nothing for it", self.label, track.name),
                ),
            }
        }
        // A file of nothing but subtitles may well be empty: nobody spoke.
        let text = self.tracks.iter().all(|t| t.kind == MediaKind::Subtitle);
        if !self.may_be_empty && !text && !headers.iter().any(|h| h.stream.kind != MediaKind::Subtitle) {
            self.empty = shared.is_stopping();
            return Err(Error::new(ErrorKind::Format, "the source yielded no frame and no packet for it"));
        }
        self.begun = true;
        self.sink.begin(&headers)
    }

    /// The track whose packet is next: the earliest, once every track that is still going has one.
    fn next_track(&self) -> Option<usize> {
        if self.at_once {
            return self.tracks.iter().position(|t| !t.leads && !t.waiting.is_empty());
        }
        let mut earliest: Option<(usize, Timestamp)> = None;
        let mut latest: Option<Timestamp> = None;
        let mut missing = false;
        for (i, track) in self.tracks.iter().enumerate().filter(|(_, t)| !t.leads) {
            let Some(packet) = track.waiting.front() else {
                // Subtitles are sparse: nobody waits for them.
                missing |= !track.ended && track.kind != MediaKind::Subtitle;
                continue;
            };
            let time = |p: &Packet| p.decode().or(p.presentation()).unwrap_or(Timestamp::new(0, p.base));
            let first = time(packet);
            if earliest.is_none_or(|(_, t)| first < t) {
                earliest = Some((i, first));
            }
            if let Some(last) = track.waiting.back().map(time) {
                latest = Some(latest.map_or(last, |l| l.max(last)));
            }
        }
        let (index, first) = earliest?;
        let skew = latest.map_or(0.0, |l| l.seconds() - first.seconds());
        (!missing || skew > MAX_SKEW_SECONDS).then_some(index)
    }
}

fn note(meter: &TrackMeter, bytes: usize, end: Option<i64>, coding: Option<Coding>) {
    if let Some(coding) = coding {
        lock(&meter.coding).get_or_insert_default().count(coding);
    }
    meter.packets.fetch_add(1, Ordering::Relaxed);
    meter.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    if let Some(end) = end {
        meter.reached_us.fetch_max(end, Ordering::Relaxed);
    }
}

/// When a packet has been shown, in microseconds.
fn end(packet: &Packet) -> Option<i64> {
    packet.presentation().map(|t| Timestamp::new(t.ticks.saturating_add(packet.duration), t.base).micros())
}
