//! Turns a decided job into threads and watches over them.

use super::chain::Devices;
use super::crew::{Crew, panic_text};
use super::feed::{Branches, CopyRoute, Feed, FeedStream, Route, run_frames};
use super::input::{self, Input, Inputs, Length};
use super::lead::Gate;
use super::lost::Safe;
use super::mux::{Ended, Mux};
use super::resolve::{self, Make, Offer, Output, Resolved, Track};
use super::spawn;
use super::words::Words;
use super::worker::{Branch, Tee, ToMux, ToTrack};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Done, Event, Outcome, State};
use crate::job::shared::{Remote, Shared, TrackMeter, lock};
use crate::job::{Job, Ports};
use crate::link::{Overflow, Sender, link};
use crate::packet::{Codec, MediaKind, StreamInfo};
use crate::plan::Plan;
use crate::sink::{Facts, Made, OutputSink, Previews, Saved, Talk};
use crate::source::continuity::Continuity;
use crate::source::seek::Seeker;
use crate::source::sound::{Origin, Sound};
use crate::spec::{
    AudioChoice, AudioSpec, BitstreamFormat, Container, PipelineSpec, SegmentContainer, Window,
};
use crate::subtitle::{SubtitleConverter, read_subtitle_file};
use crate::time::{Clock, Rational, SystemClock, Timestamp};
use crate::timecode::Timecode;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Raw frames in front of each thread. Two are enough to keep both sides busy; a 1080p frame is 3 MB.
pub(super) const FRAMES: usize = 3;
/// Coded packets in front of each thread.
pub(super) const PACKETS: usize = 64;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Opens the source and decides; writes nothing.
pub(super) fn plan(spec: &PipelineSpec, streams: &[StreamInfo]) -> Result<Plan> {
    crate::log::install();
    let mut inputs = Inputs::detached(streams);
    let interrupt = ghoststream_sys::ffmpeg::Interrupt::new();
    let clock = Arc::new(SystemClock::default());
    let input = Input::open(spec, &mut inputs, clock, &interrupt)?;
    let resolved = resolve::resolve(spec, &input.offer)?;
    super::output::apart(spec, &resolved)?;
    Ok(resolved.plan(spec, &input.offer))
}

/// Starts the job's supervisor. `streams` are what fed packets are.
pub(super) fn start(spec: PipelineSpec, streams: &[StreamInfo], clock: Arc<dyn Clock>) -> Result<Job> {
    crate::log::install();
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let name = spec.name.clone().unwrap_or_else(|| format!("job-{id}"));
    let shared = Shared::new(id, name, spec.source.is_live(), clock);
    let (inputs, fed) = Inputs::new(&spec, streams, &shared);
    let mut ports = Ports {
        bytes: Mutex::new(fed.bytes),
        frames: Mutex::new(fed.frames),
        takes: spec.source.frames.as_ref().map_or((false, false), |f| (f.video.is_some(), f.audio.is_some())),
        fed_packets: Mutex::new(fed.packets),
        ..Ports::default()
    };
    let mut sinks: Vec<Box<dyn OutputSink>> = Vec::new();
    for (index, output) in spec.outputs.iter().enumerate() {
        let (sink, packets, segments) = super::output::sink(&spec, index, &shared)?;
        sinks.push(sink);
        ports.packets.push(packets);
        ports.segments.push(segments);
        let remote = Remote::new(!output.split.is_never(), output.replay.is_some());
        lock(&shared.remotes).push(Arc::new(remote));
    }
    let supervisor = {
        let shared = shared.clone();
        spawn(&format!("job{id}"), move || supervise(&shared, spec, inputs, sinks))?
    };
    Ok(Job { shared, ports, supervisor: Mutex::new(Some(supervisor)) })
}

/// The supervisor's thread: everything of the job happens below it, and it always ends with a Done event.
fn supervise(shared: &Arc<Shared>, spec: PipelineSpec, inputs: Inputs, sinks: Vec<Box<dyn OutputSink>>) {
    let began = shared.clock.now();
    let run = std::panic::AssertUnwindSafe(|| run(shared, &spec, inputs, sinks));
    let result = std::panic::catch_unwind(run).unwrap_or_else(|panic| {
        Err(Error::new(ErrorKind::Internal, format!("panic: {}", panic_text(&*panic))))
    });
    let (outputs, error) = match result {
        Ok(outputs) => (outputs, shared.failure()),
        Err(e) => (Vec::new(), Some(shared.failure().unwrap_or(e))),
    };
    let outcome = match &error {
        Some(e) if e.kind() != ErrorKind::Cancelled => Outcome::Failed,
        _ if shared.is_cancelled() => Outcome::Cancelled,
        Some(_) if shared.is_stopping() => {
            shared.warn("output", "stopped before the source gave anything: nothing is written");
            Outcome::Stopped
        }
        Some(_) => Outcome::Cancelled,
        None if shared.is_stopping() => Outcome::Stopped,
        None => Outcome::Completed,
    };
    let error = error.filter(|_| outcome == Outcome::Failed);
    shared.finish(Done {
        outcome,
        message: error.as_ref().map(|e| e.message().to_string()),
        error: error.map(|e| e.kind()),
        outputs,
        elapsed: shared.clock.now().saturating_sub(began).as_secs_f64(),
    });
}

fn run(
    shared: &Arc<Shared>,
    spec: &PipelineSpec,
    mut inputs: Inputs,
    sinks: Vec<Box<dyn OutputSink>>,
) -> Result<Vec<String>> {
    shared.events.push(Event::State { state: State::Starting });
    let input = Input::open(spec, &mut inputs, shared.running_clock(), &shared.interrupt)?;
    if let Some(note) = &input.note {
        shared.warn("source", note.clone());
    }
    let resolved = resolve::resolve(spec, &input.offer)?;
    super::output::apart(spec, &resolved)?;
    for fallback in &resolved.fallbacks {
        shared.warn("fallback", fallback.clone());
    }
    for transfer in &resolved.transfers {
        shared.warn("transfer", transfer.clone());
    }
    *lock(&shared.duration) = resolved.duration;
    shared.events.push(Event::Plan { plan: Box::new(resolved.plan(spec, &input.offer)) });
    if resolved.outputs.iter().flat_map(|o| &o.tracks).any(is_two_pass) {
        return super::two_pass::run(shared, spec, input, &resolved, sinks);
    }
    run_once(shared, spec, input, &resolved, sinks, None)
}

fn is_two_pass(track: &Track) -> bool {
    matches!(&track.make, Make::Video(v) if v.spec.two_pass)
}

/// Runs the graph once, to its end.
pub(super) fn run_once(
    shared: &Arc<Shared>,
    spec: &PipelineSpec,
    input: Input,
    resolved: &Resolved,
    sinks: Vec<Box<dyn OutputSink>>,
    pass: Option<&super::two_pass::Passes>,
) -> Result<Vec<String>> {
    let graph = Graph::new(shared, spec, resolved, pass);
    let crew = graph.build(input, sinks)?;
    shared.hear_early();
    shared.set_state(State::Running);
    crew.watch(shared, spec)
}

/// Builds the threads of one run.
pub(super) struct Graph<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) spec: &'a PipelineSpec,
    pub(super) resolved: &'a Resolved,
    pub(super) pass: Option<&'a super::two_pass::Passes>,
    threads: Vec<(String, std::thread::JoinHandle<()>)>,
    exit: std::sync::mpsc::Sender<()>,
    exits: Option<std::sync::mpsc::Receiver<()>>,
    ended: Arc<Mutex<Vec<(usize, Ended)>>>,
    /// Frame branches by source stream.
    pub(super) branches: BTreeMap<usize, Vec<Branch>>,
    pub(super) devices: Devices,
    /// Encode sessions of the job's on NVIDIA's GPUs.
    pub(super) sessions: Arc<AtomicU32>,
    pub(super) routes: BTreeMap<usize, Vec<Route>>,
    /// Words of files that are repeated with the source.
    words: Vec<Words>,
    /// Source time that is the output's 0.
    pub(super) zero: Timestamp,
    /// The source's first time.
    pub(super) begin: Timestamp,
    /// The part of the whole that is made, if not all.
    pub(super) window: Option<Window>,
    /// Length of the output, where known.
    pub(super) length: Option<Timestamp>,
    /// Opens when the head start is over, if there is one.
    pub(super) gate: Arc<Gate>,
    pub(super) leads: bool,
    /// What is on the sheets of each output that makes some.
    pub(super) previews: BTreeMap<usize, Previews>,
}

/// Where the packets of each made track go, by output and position of the track that makes them.
type Ends = BTreeMap<(usize, usize), Vec<ToTrack>>;

/// An output whose place is claimed and whose thread does not run yet.
struct Opened {
    index: usize,
    mux: Mux,
    input: crate::link::Receiver<ToMux>,
}

/// Tells the supervisor that a thread is over, however it ends.
struct OnExit(std::sync::mpsc::Sender<()>);

impl Drop for OnExit {
    fn drop(&mut self) {
        // The supervisor outlives its threads unless it panicked, and then nobody counts.
        let _ = self.0.send(());
    }
}

impl<'a> Graph<'a> {
    fn new(
        shared: &'a Arc<Shared>,
        spec: &'a PipelineSpec,
        resolved: &'a Resolved,
        pass: Option<&'a super::two_pass::Passes>,
    ) -> Self {
        let (exit, exits) = std::sync::mpsc::channel();
        Graph {
            shared,
            spec,
            resolved,
            pass,
            threads: Vec::new(),
            exit,
            exits: Some(exits),
            ended: Arc::default(),
            branches: BTreeMap::new(),
            devices: match spec.fallback {
                true => Devices::safe(Safe::new(shared.clone())),
                false => Devices::default(),
            },
            sessions: Arc::default(),
            routes: BTreeMap::new(),
            words: Vec::new(),
            zero: Timestamp::new(0, Rational::new(1, 1)),
            begin: Timestamp::new(0, Rational::new(1, 1)),
            window: spec.window(),
            length: resolved.duration.map(Timestamp::from_seconds),
            gate: Arc::default(),
            leads: false,
            previews: BTreeMap::new(),
        }
    }

    pub(super) fn thread(&mut self, name: String, body: impl FnOnce(&Shared) + Send + 'static) -> Result<()> {
        let on_exit = OnExit(self.exit.clone());
        let shared = self.shared.clone();
        let handle = spawn(&name, move || {
            let _log = ghoststream_sys::ffmpeg::log_scope(shared.id);
            body(&shared);
            drop(on_exit);
        })?;
        self.threads.push((name, handle));
        Ok(())
    }

    /// A link that the job's cancellation closes.
    pub(super) fn link<T: Send + 'static>(&self, capacity: usize) -> (Sender<T>, crate::link::Receiver<T>) {
        let (tx, rx) = link(capacity, Overflow::Wait);
        self.shared.close_on_cancel(tx.monitor());
        (tx, rx)
    }

    fn build(mut self, input: Input, sinks: Vec<Box<dyn OutputSink>>) -> Result<Crew> {
        let fed = input.is_fed();
        self.zero = input.origin;
        self.begin = input.offer.start.unwrap_or(input.origin);
        let result = self
            .choose_gpu(&input.offer)
            .and_then(|()| self.build_outputs(&input.offer, sinks))
            .and_then(|()| self.build_source(input));
        if let Err(e) = result {
            // Threads that already run must end before the error is told.
            self.shared.cancel();
            self.routes.clear();
            self.words.clear();
            self.branches.clear();
            for (_, thread) in self.threads.drain(..) {
                let _ended_with_the_job = thread.join();
            }
            return Err(e);
        }
        let exits =
            self.exits.take().ok_or_else(|| Error::new(ErrorKind::Internal, "the graph was built twice"))?;
        Ok(Crew { threads: self.threads, exits, ended: self.ended, fed })
    }

    /// Where decoder, filters and encoders of a job on NVIDIA's GPUs are.
    fn choose_gpu(&mut self, offer: &Offer) -> Result<()> {
        if !self.resolved.decoders.iter().any(|d| d.device == Some("cuda")) {
            return Ok(());
        }
        let format = |stream: Option<usize>| {
            let stream = offer.streams.iter().find(|s| Some(s.index) == stream)?;
            stream.video.as_ref()?.format
        };
        let tracks: Vec<_> = (self.resolved.outputs.iter())
            .flat_map(|output| &output.tracks)
            .filter_map(|track| Some((track.make.video()?, format(track.stream))))
            .collect();
        self.devices.choose(&tracks)
    }

    fn build_outputs(&mut self, offer: &Offer, sinks: Vec<Box<dyn OutputSink>>) -> Result<()> {
        let mut opened = Vec::new();
        let mut ends = Ends::new();
        let mut result = Ok(());
        for (index, sink) in sinks.into_iter().enumerate() {
            // The first of two passes has outputs that wait for the second.
            if self.resolved.outputs.get(index).is_some_and(|o| o.tracks.is_empty()) {
                continue;
            }
            let at = |e: Error| e.at(format!("outputs[{index}]"));
            result = self.open_output(index, sink, offer, &mut ends).map(|o| opened.push(o)).map_err(at);
            if result.is_err() {
                break;
            }
        }
        for (index, output) in self.resolved.outputs.iter().enumerate() {
            let at = |e: Error| e.at(format!("outputs[{index}]"));
            result = result.and_then(|()| self.make_tracks(index, output, offer, &mut ends).map_err(at));
        }
        if let Err(e) = result {
            opened.into_iter().for_each(|o| o.mux.abandon());
            return Err(e);
        }
        opened.into_iter().try_for_each(|o| self.mux_thread(o))
    }

    /// Claims the output's place and makes the ends that its tracks are sent to.
    fn open_output(
        &mut self,
        index: usize,
        mut sink: Box<dyn OutputSink>,
        offer: &Offer,
        ends: &mut Ends,
    ) -> Result<Opened> {
        let output = &self.resolved.outputs[index];
        let lead = output.lead.as_ref().filter(|_| self.pass.is_none());
        sink.prepare(&Facts {
            first_segment: lead.map(|_| self.gate.first_segment()),
            made: Some(self.made(index)),
            job: self.shared.name.clone(),
            talk: Some(self.talk(index)),
            length: self.length,
            previews: self.previews.entry(index).or_default().clone(),
            adapts: super::steer::may(self.shared, self.spec, self.resolved, index)?,
            ..super::output::facts(self.spec, index, output, offer)
        })?;
        let (tx, input) = self.link::<ToMux>(PACKETS * 4);
        let remote = lock(&self.shared.remotes).get(index).cloned().unwrap_or_default();
        let monitor = input.monitor();
        remote.wake(Box::new(move || monitor.poke()));
        let mut mux = Mux::new(sink, self.spec.outputs[index].label(), remote);
        if self.spec.outputs[index].packets.as_ref().is_some_and(|p| !p.interleave) {
            mux.hand_on_at_once();
        }
        if self.pass.is_some_and(|p| !p.second) {
            mux.allow_empty();
        }
        for (position, track) in output.tracks.iter().enumerate() {
            let kind = track.kind();
            let counts = kind != MediaKind::Subtitle;
            let is_video = kind == MediaKind::Video;
            let encoded = is_video && !matches!(track.make, Make::Copy(_));
            let successor = super::relay::successor(self.resolved, index, position);
            let meter = TrackMeter::new(index, track.name.clone(), is_video, counts, encoded, successor);
            let packets = self.spec.outputs[index].packets.is_some();
            let fixed_size = super::output::fixed_size(output, packets);
            let sheets = track.make.video().is_some_and(|v| v.tiles.is_some());
            let meter = Arc::new(meter.keeping(fixed_size, packets).of_sheets(sheets));
            lock(&self.shared.tracks).push(meter.clone());
            let known = match &track.make {
                Make::Copy(s) => Some(at_origin((**s).clone())),
                Make::Subtitle(s) => Some(SubtitleConverter::stream(&s.info, &s.codec)),
                _ => None,
            };
            let source = track.stream.and_then(|i| offer.streams.iter().find(|s| s.index == i));
            let slot = mux.add(meter.clone(), kind, known, source);
            if let (Make::Video(v), Some(pictures)) = (track.made(), source.and_then(|s| s.video.as_ref()))
                && !v.spec.auto_rotate
            {
                mux.turn(slot, pictures);
            }
            if is_video {
                let start = self.spec.source.start.map_or(0.0, |start| start.0);
                mux.count_from(slot, source.and_then(|s| Timecode::of(s, &offer.metadata, start)));
            }
            if lead.is_some_and(|name| *name == track.name) {
                mux.lead(slot);
            }
            let maker = match &track.make {
                Make::Shared(shared) => shared.with,
                _ => (index, position),
            };
            ends.entry(maker).or_default().push(ToTrack { mux: tx.clone(), track: slot, meter });
        }
        Ok(Opened { index, mux, input })
    }

    /// What an output says while it runs.
    fn talk(&self, output: usize) -> Talk {
        let (saved, asks, warns) = (self.shared.clone(), self.shared.clone(), self.shared.clone());
        let label = self.spec.outputs[output].label();
        Talk {
            saved: Arc::new(move |Saved { path, duration, bytes, span }| {
                saved.events.push(Event::Saved { output, path, duration, bytes, span });
            }),
            ask_key: Arc::new(move || asks.ask_key(Some(output))),
            warn: Arc::new(move |code, message| warns.warn(code, format!("{label}: {message}"))),
        }
    }

    /// What tells the job's owner of the segments of an output.
    fn made(&self, output: usize) -> Made {
        let shared = self.shared.clone();
        Made(Arc::new(move |name, start, duration| {
            shared.events.push(Event::Segment { output, name: name.into(), start, duration });
        }))
    }

    /// Whether AAC keeps its own headers in `output`, which then may say something else at any time.
    fn keeps_headers(&self, index: usize, output: &Output) -> bool {
        match output.container {
            Some(Container::Ts | Container::Raw) => true,
            Some(c) => c.is_segmented() && output.segment.container == SegmentContainer::Ts,
            None => {
                let packets = self.spec.outputs.get(index).and_then(|o| o.packets.as_ref());
                packets.is_none_or(|p| p.format != BitstreamFormat::LengthPrefixed)
            }
        }
    }

    /// Where copied tracks of `output` begin, if the source is cut: with its pictures.
    fn copied_from(&self, output: &Output, offer: &Offer) -> Option<Timestamp> {
        let start = self.spec.source.start.filter(|s| s.0 > 0.0 && self.spec.window().is_none())?;
        let key =
            offer.first_key.filter(|_| copies_pictures(output)).map_or(0.0, |key| (key - start.0).min(0.0));
        Some(Timestamp::from_seconds(key))
    }

    /// Where sound that is encoded from `stream` begins, if not with the source's cut: with the copied pictures that it is beside in
    /// every output.
    pub(super) fn heard_from(&self, stream: &StreamInfo, offer: &Offer) -> Option<Timestamp> {
        let sounds = |output: &&Output| {
            let is_its = |t: &Track| t.stream == Some(stream.index) && !matches!(t.make, Make::Copy(_));
            stream.kind == MediaKind::Audio && output.tracks.iter().any(is_its)
        };
        let outputs: Vec<&Output> = self.resolved.outputs.iter().filter(sounds).collect();
        let beside = outputs.first().filter(|_| outputs.iter().all(|output| copies_pictures(output)))?;
        self.copied_from(beside, offer)
    }

    /// Starts what makes the output's tracks, for itself and for those that share them.
    fn make_tracks(&mut self, index: usize, output: &Output, offer: &Offer, ends: &mut Ends) -> Result<()> {
        let mut video = Vec::new();
        let (from, copies_pictures) = (self.copied_from(output, offer), copies_pictures(output));
        // What was asked for is not made otherwise.
        let own_choice = match &self.spec.outputs[index].audio {
            AudioChoice::Tracks(tracks) => !tracks.iter().any(AudioSpec::is_copy),
            _ => true,
        };
        for (position, track) in output.tracks.iter().enumerate() {
            // What is shared was made by an earlier track, which took its end along.
            let Some(outs) = ends.remove(&(index, position)) else { continue };
            match (&track.make, track.stream) {
                (Make::Shared(_), _) => {}
                (Make::Copy(info), Some(stream)) => {
                    for to in outs {
                        // Copied pictures begin at the key frame that was gone to, if that was possible.
                        let sought = info.kind == MediaKind::Video && offer.first_key.is_some();
                        let mut route = CopyRoute::new(info, to.mux, to.track).from(from.filter(|_| !sought));
                        // Beside copied pictures it begins with their key frame.
                        if from.is_none() && self.spec.window().is_none() && !copies_pictures {
                            route = route.uncut();
                        }
                        if info.codec == Codec::Aac
                            && info.extradata.is_empty()
                            && !self.keeps_headers(index, output)
                        {
                            let ours = self.shared.clone();
                            route.told_once(own_choice.then(|| (ours, (**info).clone())));
                        }
                        self.routes.entry(stream).or_default().push(Route::Copy(Box::new(route)));
                    }
                }
                (Make::Video(v), Some(stream)) => video.push((stream, &**v, outs)),
                (Make::Audio(a), Some(stream)) => {
                    let source = offer.streams.iter().find(|s| s.index == stream);
                    let source = source.and_then(|s| s.audio.as_ref()).ok_or_else(|| {
                        Error::new(ErrorKind::Format, format!("stream {stream} has no sample rate"))
                    })?;
                    self.audio_thread(index, a, stream, source, outs)?;
                }
                (Make::Subtitle(s), stream) => {
                    for to in outs {
                        self.subtitle(s, stream, offer, to)?;
                    }
                }
                (_, None) => return Err(Error::new(ErrorKind::Internal, "a track without a stream")),
            }
        }
        self.video_threads(index, output, video, offer)
    }

    fn mux_thread(&mut self, Opened { index, mux, input }: Opened) -> Result<()> {
        let keep = self.spec.keep_partial;
        let meter = self.shared.meter(format!("mux {index}"));
        meter.watch(input.monitor());
        let ended = self.ended.clone();
        self.thread(format!("mux{index}"), move |shared| {
            let end = mux.run(shared, &meter, input, keep);
            if let Ended::Failed(e) = &end {
                shared.warn("output", e.to_string());
            }
            lock(&ended).push((index, end));
        })
    }

    fn subtitle(
        &mut self,
        track: &super::tracks::SubtitleTrack,
        stream: Option<usize>,
        offer: &Offer,
        to: ToTrack,
    ) -> Result<()> {
        if let Some(path) = &track.path {
            // A subtitle file is small: it is read whole, here, so that a bad one fails before anything is written.
            let start = self.spec.source.start.map_or(0.0, |s| s.0);
            let end = self.spec.source.duration.map(|d| Timestamp::from_seconds(d.0));
            // Of a source that is repeated, each round has its words, until the output's end.
            let start = Timestamp::from_seconds(start);
            let (packets, note) =
                read_subtitle_file(path, track.charset.as_deref(), &track.codec, start, end)?;
            if let Some(note) = note {
                self.shared.warn("source", note);
            }
            let (mux, slot) = (to.mux, to.track);
            if self.spec.source.loops != 0 && self.spec.source.url.is_some() {
                self.words.push(Words::new(packets, mux, slot));
                return Ok(());
            }
            return self.thread("subtitles".into(), move |_| {
                for packet in packets {
                    if mux.send(ToMux::Packet(slot, packet)).is_err() {
                        return;
                    }
                }
                let _closed_when_the_output_is_gone = mux.send(ToMux::End(slot));
            });
        }
        let stream = stream.ok_or_else(|| Error::new(ErrorKind::Internal, "subtitles without a stream"))?;
        let info = offer.streams.iter().find(|s| s.index == stream);
        let info = info.ok_or_else(|| Error::new(ErrorKind::Internal, "subtitles of no stream"))?;
        let end = self.spec.source.duration.map(|d| Timestamp::from_seconds(d.0));
        let converter = Box::new(SubtitleConverter::new(info, &track.codec)?.until(end));
        let route = Route::Convert { converter, mux: to.mux, track: to.track };
        self.routes.entry(stream).or_default().push(route);
        Ok(())
    }

    /// The source's thread and its decoders.
    fn build_source(&mut self, input: Input) -> Result<()> {
        let end = self.spec.source.duration.map(|d| Timestamp::from_seconds(d.0));
        match input {
            Input { packets: Some(mut packets), offer, origin, key, .. } => {
                for decoder in &self.resolved.decoders {
                    self.decoder(decoder, &offer, end)?;
                }
                let mut streams: Vec<FeedStream> = offer.streams.iter().map(FeedStream::new).collect();
                for (index, routes) in std::mem::take(&mut self.routes) {
                    if let Some(stream) = streams.get_mut(index) {
                        stream.routes = routes;
                    }
                }
                // What nobody wants is not fetched, where it can be left: the other renditions of a playlist. Parts of a
                // whole begin where its pictures do, also those of sound alone.
                if let Some(container) = packets.container().filter(|_| self.spec.window().is_none()) {
                    for (index, stream) in streams.iter().enumerate() {
                        container.set_discard(index, stream.routes.is_empty())?;
                    }
                }
                // Decoders find them by themselves.
                if let Some(container) = packets.container().filter(|_| self.resolved.copies_pictures()) {
                    crate::source::open::complete_times(container);
                }
                let begin = offer.start.unwrap_or(Timestamp::new(0, Rational::new(1, 1)));
                let seeker = Seeker::of(&offer.streams, begin);
                if let (Some(key), Some(index)) = (key, seeker.stream())
                    && let Some(stream) = streams.get_mut(index)
                {
                    stream.decode_from(key);
                }
                let is_wanted = |s: &&StreamInfo| streams.get(s.index).is_some_and(|w| !w.routes.is_empty());
                let wanted: Vec<StreamInfo> = offer.streams.iter().filter(is_wanted).cloned().collect();
                let playlist =
                    packets.container().is_some_and(|c| matches!(c.format_name().as_str(), "hls" | "dash"));
                let continuity = packets.container().filter(|c| c.times_may_jump());
                let continuity = continuity.map(|_| Continuity::of(&offer.streams));
                let all = input::has_all(&offer, &wanted);
                let expected = input::expected(&offer, begin, &wanted, playlist)
                    .filter(|_| self.spec.source.url.is_some());
                let start = self.spec.source.start.map_or(0.0, |s| s.0);
                let feed = Feed {
                    packets,
                    words: std::mem::take(&mut self.words),
                    seeker: Seeker::of(&wanted, begin),
                    streams,
                    continuity,
                    playlist,
                    origin,
                    end,
                    loops: self.spec.source.loops,
                    realtime: self.spec.source.realtime,
                    expected: expected.map(|length| Length {
                        time: Timestamp::from_seconds((length.time.seconds() - start).max(0.0)),
                        ..length
                    }),
                    all,
                    label: offer.label,
                    timeout: self.spec.source.timeout,
                    start,
                    file: crate::source::open::local_path(&self.spec.source)
                        .filter(|path| std::path::Path::new(path).is_file()),
                    salvage: self.spec.source.salvage,
                    part: self.spec.window().is_some(),
                    corrupt: 0,
                };
                let meter = self.shared.meter("source");
                let gate = self.leads.then(|| self.gate.clone());
                self.thread("source".into(), move |shared| {
                    if let Some(gate) = gate {
                        gate.wait(shared);
                    }
                    feed.run(shared, &meter);
                })
            }
            Input { frames: None, sounds, .. } if !sounds.is_empty() => self.sound_threads(sounds),
            Input { frames: Some(frames), offer, fed, counts, mut sounds, .. } => {
                let seen = offer
                    .streams
                    .iter()
                    .any(|s| s.kind == MediaKind::Video && self.branches.contains_key(&s.index));
                if !seen && !sounds.is_empty() {
                    // The screen is there, but nobody wants its pictures.
                    let origin = Arc::new(Origin::default());
                    sounds.iter_mut().for_each(|(_, sound)| sound.lead(origin.clone()));
                    return self.sound_threads(sounds);
                }
                self.sound_threads(sounds)?;
                let mut of = |kind| -> Branches {
                    let outs: Vec<_> = offer
                        .streams
                        .iter()
                        .filter(|s| s.kind == kind)
                        .flat_map(|s| self.branches.remove(&s.index).unwrap_or_default())
                        .collect();
                    let tee = (!outs.is_empty()).then(|| Tee::new(outs));
                    Branches { chain: Vec::new(), tee, fed }
                };
                let (mut video, mut audio) = (of(MediaKind::Video), of(MediaKind::Audio));
                let realtime = self.spec.source.realtime;
                let meter = self.shared.meter("source");
                if let Some(counts) = counts {
                    meter.watch_screen(counts);
                }
                self.thread("source".into(), move |shared| {
                    if let Err(e) = run_frames(shared, &meter, frames, &mut video, &mut audio, realtime) {
                        shared.fail(e);
                    }
                })
            }
            _ => Err(Error::new(ErrorKind::Internal, "a source of nothing")),
        }
    }

    /// A thread for each captured track that somebody wants: each has its own pace.
    fn sound_threads(&mut self, sounds: Vec<(usize, Sound)>) -> Result<()> {
        for (number, (index, mut sound)) in sounds.into_iter().enumerate() {
            lock(&self.shared.turns).push(sound.turn());
            let Some(outs) = self.branches.remove(&index) else { continue };
            let branches = |tee| Branches { chain: Vec::new(), tee, fed: false };
            let (mut video, mut audio) = (branches(None), branches(Some(Tee::new(outs))));
            let shared = self.shared.clone();
            sound.tell(Box::new(move |message| shared.warn("source", message)));
            let meter = self.shared.meter(format!("sound {number}"));
            self.thread(format!("sound{number}"), move |shared| {
                if let Err(e) = run_frames(shared, &meter, Box::new(sound), &mut video, &mut audio, false) {
                    shared.fail(e.context("source.sound"));
                }
            })?;
        }
        Ok(())
    }
}

/// A copied stream as it will be after the feed has moved it to the job's timeline.
fn at_origin(mut stream: StreamInfo) -> StreamInfo {
    stream.start = None;
    stream
}

fn copies_pictures(output: &Output) -> bool {
    output.tracks.iter().any(|t| t.kind() == MediaKind::Video && matches!(t.make, Make::Copy(_)))
}
