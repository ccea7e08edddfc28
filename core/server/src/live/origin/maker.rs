//! Reads a stream and makes its segments.

use super::Origin;
use super::hls::Facts;
use super::learn::{Learning, Shape};
use super::names::Format;
use super::spill::Spill;
use super::state::State;
use super::texts::{self, Boxed, Text};
use super::transport::{self, Transport};
use super::window::Limits;
use crate::live::stream::{Item, Reader, Tracks};
use bytes::Bytes;
use ghoststream::package::bitstream::captions::{Captions, Scanner};
use ghoststream::package::bitstream::nal::Framing;
use ghoststream::package::{self, Container, Event, Lengths, Plan, Segmenter, TrackSpec};
use ghoststream::packet::{MediaKind, Packet, SideData, StreamInfo};
use ghoststream::time::{MICROSECONDS, Rounding, Timestamp, rescale};
use ghoststream::{Codec, Result};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How far (microseconds) sound may run ahead of the pictures, or twice the longest segment; what is further is dropped, as it would
/// wait in memory.
const AHEAD: i64 = 10_000_000;
/// A step of the leading track's time by more than this (microseconds) is a hole.
const HOLE: i64 = 400_000;
/// How long it is not said again that what comes cannot be packaged.
const SAID: Duration = Duration::from_secs(60);

/// Makes `origin` from what `reader` reads, until that ends or the origin is to stop.
pub(super) async fn run(origin: &Arc<Origin>, mut reader: Reader) {
    let spill = origin.options.spill.as_ref().map(|root| Arc::new(Spill::new(root, &origin.token)));
    let mut maker =
        Maker { spill, origin, tracks: None, phase: Phase::Idle, runs: 0, failures: Failures::default() };
    loop {
        let item = tokio::select! {
            item = reader.next() => item,
            () = origin.stop.notified() => Item::End,
        };
        match item {
            Item::Tracks(tracks) => maker.announced(tracks),
            Item::Packet(packet) => {
                maker.take(&packet);
                let mut state = origin.lock();
                state.time = state.time.max(micros(&packet));
            }
            Item::Away => maker.away(),
            Item::End => return maker.end(),
        }
    }
}

struct Maker<'a> {
    origin: &'a Arc<Origin>,
    /// Where old segments go.
    spill: Option<Arc<Spill>>,
    tracks: Option<Arc<Tracks>>,
    phase: Phase,
    /// Runs that made something.
    runs: u64,
    failures: Failures,
}

/// What could not be packaged, for who is told of it.
#[derive(Default)]
struct Failures {
    said: Option<Instant>,
    /// Since then.
    since: u64,
}

impl Failures {
    /// One more, at `now`. Whether to say it, and how many were not said before it: a source may damage every group of pictures
    /// for hours.
    fn one(&mut self, now: Instant) -> Option<u64> {
        if self.said.is_some_and(|said| now.saturating_duration_since(said) < SAID) {
            self.since += 1;
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

enum Phase {
    /// Nobody publishes, or nothing that can be packaged.
    Idle,
    Learning(Learning),
    Running(Box<Run>),
}

/// One configuration at work.
struct Run {
    segmenter: Segmenter,
    /// The same in MPEG-TS, where that is wanted and can be.
    transport: Option<Transport>,
    texts: Vec<Text>,
    /// Who looks for captions in each track of pictures.
    captions: Vec<(usize, Scanner)>,
    /// The segmenter's track of each of the stream's tracks.
    places: Vec<Option<usize>>,
    /// The stream's track that decides the cuts, and its window.
    lead: usize,
    group: usize,
    /// Its last decode time, in microseconds.
    last: Option<i64>,
    /// Where its open segment began, in microseconds.
    opened: Option<i64>,
    /// Whether something has come out.
    begun: bool,
    /// Whether a track sends that had not when the run began.
    late: bool,
}

impl Run {
    /// Looks for captions in a packet; what every track of pictures has, where that is news.
    fn captions_in(&mut self, packet: &Packet, tracks: Option<&Tracks>) -> Option<Captions> {
        let codec = &tracks?.streams.get(packet.stream)?.codec;
        let all = |captions: &[(usize, Scanner)]| {
            captions.iter().map(|(_, scanner)| scanner.seen()).reduce(Captions::and).unwrap_or_default()
        };
        let before = all(&self.captions);
        let (_, scanner) = self.captions.iter_mut().find(|(track, _)| *track == packet.stream)?;
        scanner.look(codec, Framing::Length(4), &packet.data);
        Some(all(&self.captions)).filter(|now| *now != before)
    }

    /// What the texts have beside `events`. One that cannot be made is left out for the rest of the run: nobody waits for it.
    fn texts_beside(&mut self, origin: &Origin, events: &[Event]) -> Vec<Event> {
        let (made, failed) = texts::beside(&mut self.texts, self.group, events);
        for (text, error) in failed {
            tracing::warn!(stream = origin.name(), "its text is left out: {error}");
            origin.lock().leave_out(&text.windows());
        }
        made
    }
}

fn packageable(info: &StreamInfo) -> bool {
    matches!(
        info.codec,
        Codec::H264
            | Codec::Hevc
            | Codec::Av1
            | Codec::Vp9
            | Codec::Aac
            | Codec::Opus
            | Codec::Flac
            | Codec::Ac3
            | Codec::Eac3
            | Codec::Mp3
    )
}

fn is_same(a: &[StreamInfo], b: &[StreamInfo]) -> bool {
    let same = |(a, b): (&StreamInfo, &StreamInfo)| {
        (&a.codec, &a.extradata, a.time_base, &a.video, &a.audio)
            == (&b.codec, &b.extradata, b.time_base, &b.video, &b.audio)
    };
    a.len() == b.len() && a.iter().zip(b).all(same)
}

fn micros(packet: &Packet) -> i64 {
    rescale(packet.dts.or(packet.pts).unwrap_or(0), packet.base, MICROSECONDS, Rounding::Nearest)
}

impl Maker<'_> {
    /// Other tracks from now on; the same ones, said again, change nothing.
    fn announced(&mut self, tracks: Arc<Tracks>) {
        let known = self.tracks.as_ref().map_or(&[][..], |t| &t.streams);
        if !matches!(self.phase, Phase::Idle) && is_same(known, &tracks.streams) {
            return;
        }
        self.finish();
        for info in tracks.streams.iter().filter(|s| !packageable(s) && !texts::is_text(s)) {
            tracing::warn!(stream = self.origin.name(), codec = %info.codec, "a track that HLS and DASH cannot carry is left out");
        }
        self.tracks = Some(tracks);
        self.learn();
    }

    /// Waits for the next key frame, to begin a run there.
    fn learn(&mut self) {
        let Some(tracks) = &self.tracks else { return };
        let streams = &tracks.streams;
        let usable: Vec<usize> = (0..streams.len()).filter(|i| packageable(&streams[*i])).collect();
        let ids = ids(streams, &usable);
        let mut guard = self.origin.lock();
        let state = &mut *guard;
        let known = state.facts.is_some();
        let learning = Learning::new(streams, usable, !known);
        for window in state.windows.iter_mut().filter(|w| w.format.has_parts()) {
            if window.format == Format::Cmaf {
                window.live = ids.contains(&window.id);
            }
            // What was hinted would have been of the old run.
            if window.live && window.newest_run().is_some() {
                window.abandon_hint();
            }
        }
        if let Some(facts) = &mut state.facts {
            facts.coming = learning.is_some().then_some(self.runs);
        }
        state.tell_all();
        drop(guard);
        self.phase = learning.map_or(Phase::Idle, Phase::Learning);
    }

    fn take(&mut self, packet: &Packet) {
        if let Some(info) = self.reconfigured(packet) {
            self.finish();
            self.tracks = Some(info);
            self.learn();
        }
        match &mut self.phase {
            Phase::Idle => {}
            Phase::Learning(learning) => {
                if learning.add(packet) {
                    self.begin();
                }
            }
            Phase::Running(run) => {
                if let Some(text) = run.texts.iter_mut().find(|t| t.track == packet.stream) {
                    if !text.add(packet) {
                        self.origin.lock().dropped += 1;
                    }
                    return;
                }
                let Some(place) = run.places.get(packet.stream).copied().flatten() else {
                    let tracks = self.tracks.as_ref();
                    let usable = tracks.and_then(|t| t.streams.get(packet.stream)).is_some_and(packageable);
                    run.late |= usable;
                    self.origin.lock().dropped += 1;
                    return;
                };
                let at = micros(packet);
                let leads = packet.stream == run.lead;
                let shape = self.origin.lock().facts.as_ref().map(|f| f.shape);
                let most = shape.map_or(i64::MAX, Shape::most);
                let hole = leads
                    && run.last.is_some_and(|last| at - last > HOLE.max(most / 3))
                    && run.opened.is_some_and(|opened| at - opened > most);
                if hole || (run.late && leads && packet.key) {
                    self.finish();
                    self.learn();
                    return self.take(packet);
                }
                if leads {
                    run.last = Some(at);
                } else if run.segmenter.goes_on_alone() {
                    // The pictures' absence is no hole while there is sound.
                    (run.last, run.opened) = (run.last.max(Some(at)), Some(at));
                } else if run.last.is_some_and(|last| at - last > AHEAD.max(most.saturating_mul(2))) {
                    self.origin.lock().dropped += 1;
                    return;
                }
                if let Some(seen) = run.captions_in(packet, self.tracks.as_deref()) {
                    self.captioned(seen);
                }
                self.push(place, packet);
            }
        }
    }

    /// Tells of captions that are in all pictures.
    fn captioned(&self, seen: Captions) {
        let mut state = self.origin.lock();
        let Some(facts) = &mut state.facts else { return };
        let all = facts.captions.or(seen);
        if all != facts.captions {
            facts.captions = all;
            drop(state);
            tracing::info!(stream = self.origin.name(), "its pictures have captions");
        }
    }

    /// The tracks with the configuration that `packet` brings, if it is another one.
    fn reconfigured(&self, packet: &Packet) -> Option<Arc<Tracks>> {
        let extradata = packet.side_data.iter().find_map(|side| match side {
            SideData::NewExtradata(data) if !data.is_empty() => Some(data),
            _ => None,
        })?;
        let mut tracks = Tracks::clone(self.tracks.as_ref()?);
        let info = tracks.streams.get_mut(packet.stream).filter(|i| i.extradata != *extradata)?;
        info.extradata = extradata.clone();
        Some(Arc::new(tracks))
    }

    /// Begins a run with what was learned.
    fn begin(&mut self) {
        let (Phase::Learning(learning), Some(tracks)) =
            (std::mem::replace(&mut self.phase, Phase::Idle), self.tracks.clone())
        else {
            return;
        };
        let options = &self.origin.options;
        let present = learning.present();
        let all = ids(&tracks.streams, &(0..tracks.streams.len()).collect::<Vec<_>>());
        let length = |d: Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
        let mut guard = self.origin.lock();
        let state = &mut *guard;
        let facts = state.facts.get_or_insert_with(|| Facts {
            token: self.origin.token.clone(),
            shape: learning.shape(length(options.segment), length(options.part)),
            epoch: self.origin.epoch(),
            low_latency: options.low_latency,
            ended: false,
            coming: None,
            captions: Captions::default(),
        });
        let shape = facts.shape;
        let limits = Limits {
            segments: options.playlist_size,
            dvr: length(options.dvr),
            bytes: options.memory / (present.len().max(1) * if options.ts { 2 } else { 1 }) as u64,
        };
        let next = state.next();
        let mut places = vec![None; tracks.streams.len()];
        let mut specs = Vec::new();
        state.windows.iter_mut().for_each(|w| w.live = false);
        for &index in &present {
            let (Some(info), Some(id)) = (tracks.streams.get(index), all.get(index)) else { continue };
            let group = state.ensure(id.clone(), info.kind, next, limits);
            if let Some(window) = state.windows.get_mut(group) {
                window.live = true;
            }
            places[index] = Some(specs.len());
            specs.push(TrackSpec { info: info.clone(), group });
            if index == learning.lead() {
                state.lead = group;
            }
        }
        let (group, lead) = (state.lead, learning.lead());
        let mut beside = Vec::new();
        if options.ts && options.hls {
            beside = transport::plan(&tracks.streams, &all, &present, lead);
            if beside.is_empty() {
                tracing::warn!(stream = self.origin.name(), "MPEG-TS cannot carry it: there is no ts.m3u8");
            }
        }
        let mut ensure = |id: &str, kind: MediaKind| {
            let group = state.ensure(id.into(), kind, next, limits);
            if let Some(window) = state.windows.get_mut(group) {
                window.live = true;
            }
            group
        };
        let groups: Vec<usize> = beside.iter().map(|t| ensure(&t.id, t.kind)).collect();
        let written = tracks.streams.iter().enumerate().filter(|(_, info)| texts::is_text(info));
        let mut texts = Vec::new();
        let mut listings = Vec::new();
        for (n, (track, info)) in written.enumerate() {
            let Some(described) = texts::described(info) else { continue };
            let mut window = |letter: char| ensure(&format!("{letter}{n}"), MediaKind::Subtitle);
            let listed = options.hls.then(|| window('s'));
            let boxed = options.dash.then(|| Boxed::new(window('w'), described.clone(), self.origin.epoch()));
            listings.extend(listed.map(|group| (group, described)));
            texts.push(Text::new(track, info, listed, boxed));
        }
        // Who comes before the first cue is told of it too.
        for (group, described) in listings {
            if let Some(window) = state.windows.get_mut(group) {
                window.begin(self.runs, vec![described], Bytes::new());
            }
        }
        drop(guard);
        let pictures = present.iter().filter(|i| tracks.streams[**i].kind == MediaKind::Video);
        let captions = pictures.map(|i| (*i, Scanner::default())).collect();
        let place = Place { origin: self.origin, next };
        let transport = (!beside.is_empty())
            .then(|| Transport::new(&tracks.streams, &beside, &groups, &place, shape))
            .transpose();
        let made = packaging(&place, shape, Container::Cmaf)
            .and_then(|how| Segmenter::new(specs, how))
            .and_then(|segmenter| Ok((segmenter, transport?)));
        match made {
            Ok((segmenter, transport)) => {
                let run = Run {
                    segmenter,
                    transport,
                    texts,
                    captions,
                    places,
                    lead,
                    group,
                    last: None,
                    opened: None,
                    begun: false,
                    late: false,
                };
                self.phase = Phase::Running(Box::new(run));
                for packet in learning.into_packets() {
                    self.take(&packet);
                }
            }
            Err(e) => {
                self.failed(&e);
                self.learn();
            }
        }
        self.origin.changed.send_replace(());
    }

    fn push(&mut self, place: usize, packet: &Packet) {
        let Phase::Running(run) = &mut self.phase else { return };
        let made = run.segmenter.push(place, packet);
        let beside = run.transport.as_mut().map(|t| t.push(packet));
        let both = made.and_then(|made| Ok((made, beside.transpose()?)));
        match both {
            Ok((events, beside)) => {
                self.made(events);
                self.apply(beside.unwrap_or_default());
            }
            Err(e) => {
                self.failed(&e);
                self.finish();
                self.learn();
            }
        }
    }

    /// Says, not too often, that it begins again.
    fn failed(&mut self, e: &ghoststream::Error) {
        match self.failures.one(Instant::now()) {
            None => {
                tracing::debug!(stream = self.origin.name(), "begins again at the next key frame: {e}");
            }
            Some(0) => tracing::warn!(stream = self.origin.name(), "begins again at the next key frame: {e}"),
            Some(before) => {
                tracing::warn!(
                    stream = self.origin.name(),
                    before,
                    "begins again at the next key frame, as before: {e}"
                );
            }
        }
    }

    fn made(&mut self, events: Vec<Event>) {
        let Phase::Running(run) = &mut self.phase else { return };
        if events.is_empty() {
            return;
        }
        for event in &events {
            match event {
                Event::Part(part) if part.group == run.group => {
                    run.opened.get_or_insert(part.start.micros());
                }
                Event::Segment(segment) if segment.group == run.group => {
                    run.opened = Some(segment.start.micros() + segment.duration.micros());
                }
                _ => {}
            }
        }
        let first = !run.begun;
        run.begun = true;
        // All at once: who is told of pictures is told of their text.
        let texts = run.texts_beside(self.origin, &events);
        if first {
            self.origin.lock().runs = self.runs + 1;
        }
        self.apply(events.into_iter().chain(texts).collect());
        if first {
            self.origin.changed.send_replace(());
        }
    }

    /// Shows what was made.
    fn apply(&mut self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let mut state = self.origin.lock();
        let ready = |state: &State| (state.is_ready(Format::Cmaf), state.is_ready(Format::Ts));
        let before = ready(&state);
        let whole = events.iter().any(|e| matches!(e, Event::Segment(_)));
        state.apply(self.runs, events);
        let changed = before != ready(&state);
        drop(state);
        if changed {
            self.origin.changed.send_replace(());
        }
        if whole {
            self.spill();
        }
    }

    /// Brings old segments to disk.
    fn spill(&self) {
        let Some(spill) = &self.spill else { return };
        // Whoever is at it on a slow disk is not helped by others.
        let Some(turn) = spill.turn() else { return };
        let (spill, origin) = (spill.clone(), self.origin.clone());
        tokio::task::spawn_blocking(move || {
            let old = || -> Vec<_> {
                let state = origin.lock();
                let target = state.facts.as_ref().map_or(0, |f| i64::from(f.shape.target) * 1_000_000);
                let each = state.windows.iter().map(|w| w.old(8 * target)).enumerate();
                each.flat_map(|(window, of)| of.into_iter().map(move |one| (window, one))).collect()
            };
            let mut turn = turn;
            loop {
                for (window, (sequence, chunks)) in old() {
                    match spill.write(&chunks) {
                        // Twice is no harm: the second copy is dropped.
                        Ok(spilled) => {
                            if let Some(window) = origin.lock().windows.get_mut(window) {
                                window.spill(sequence, spilled);
                            }
                        }
                        Err(e) => {
                            tracing::warn!(stream = origin.name, "a segment stays in memory: {e}");
                            return;
                        }
                    }
                }
                // What became old meanwhile found somebody at it, and may be the last for long.
                drop(turn);
                let Some(again) = (!old().is_empty()).then(|| spill.turn()).flatten() else { return };
                turn = again;
            }
        });
    }

    /// Ends the run, if there is one.
    fn finish(&mut self) {
        let Phase::Running(mut run) = std::mem::replace(&mut self.phase, Phase::Idle) else { return };
        let lost = |e| {
            tracing::debug!(stream = self.origin.name(), "the last segment of a run is lost: {e}");
            Vec::new()
        };
        let mut events = run.segmenter.finish().unwrap_or_else(lost);
        let texts = run.texts_beside(self.origin, &events);
        let transport = run.transport.map_or_else(Vec::new, |mut t| t.finish().unwrap_or_else(lost));
        events.extend(transport.into_iter().chain(texts));
        let begun = run.begun || !events.is_empty();
        let mut state = self.origin.lock();
        state.apply(self.runs, events);
        if begun {
            state.align(self.runs);
            self.runs += 1;
            state.runs = self.runs;
        }
        drop(state);
        self.origin.changed.send_replace(());
    }

    fn away(&mut self) {
        self.finish();
        self.tracks = None;
        self.phase = Phase::Idle;
    }

    fn end(&mut self) {
        self.finish();
        let mut state = self.origin.lock();
        state.ended = true;
        if let Some(facts) = &mut state.facts {
            facts.ended = true;
        }
        state.tell_all();
        drop(state);
        self.origin.changed.send_replace(());
    }
}

/// `v0`, `v1` …, `a0` …: the renditions of the tracks at `indices`.
fn ids(streams: &[StreamInfo], indices: &[usize]) -> Vec<String> {
    let (mut videos, mut sounds, mut others) = (0, 0, 0);
    let mut id = |info: &StreamInfo| {
        let (letter, count) = match info.kind {
            MediaKind::Video => ('v', &mut videos),
            MediaKind::Audio => ('a', &mut sounds),
            _ => ('x', &mut others),
        };
        *count += 1;
        format!("{letter}{}", *count - 1)
    };
    indices.iter().filter_map(|i| streams.get(*i)).map(&mut id).collect()
}

/// Where a run's segments go.
pub(super) struct Place<'a> {
    origin: &'a Origin,
    /// The number of the first one.
    next: u64,
}

/// How a run is cut.
pub(super) fn packaging(place: &Place<'_>, shape: Shape, container: Container) -> Result<package::Options> {
    let time = |micros: i64| Timestamp::new(micros, MICROSECONDS);
    let options = &place.origin.options;
    let segment = i64::try_from(options.segment.as_micros()).unwrap_or(i64::MAX);
    Ok(package::Options {
        count_from: Some(place.next),
        part: options.low_latency.then(|| time(shape.part)),
        key_chunk: true,
        lengths: Some(Lengths { least: time(segment - segment / 20), most: time(shape.most()) }),
        wall: Some(place.origin.epoch()),
        fill: true,
        // Sound does not wait for pictures that have stopped.
        silence: Some(time(i64::from(shape.target) * 1_500_000)),
        ..package::Options::new(Plan::grid(time(segment))?, container)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_said_once_and_then_rarely() {
        let (mut failures, begin) = (Failures::default(), Instant::now());
        let said: Vec<Option<u64>> =
            (0..130).map(|second| failures.one(begin + Duration::from_secs(second))).collect();
        let told: Vec<(usize, u64)> = said.iter().enumerate().filter_map(|(i, n)| Some((i, (*n)?))).collect();
        assert_eq!(told, [(0, 0), (60, 59), (120, 59)]);
    }
}
