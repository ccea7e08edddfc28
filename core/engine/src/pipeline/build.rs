//! Turns a decided job into threads and watches over them.

use super::chain::{self, Devices, Expect};
use super::feed::{Branches, CopyRoute, Feed, FeedStream, Route, run_frames};
use super::input::{Input, Inputs};
use super::lead::{Gate, Lead};
use super::mux::{Ended, Mux};
use super::resolve::{self, Make, Offer, Output, Resolved, Track};
use super::spawn;
use super::tracks::VideoTrack;
use super::worker::{self, Branch, Chain, Tee, ToMux, ToTrack};
use crate::decode::{AvDecoder, DecodeOptions};
use crate::encode::{self, AudioEncoder, Encoder, KeyGrid, VideoEncode, VideoEncoder};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Done, Event, Outcome, State};
use crate::filter::{AudioConform, AudioTarget, Cascade, FilterContext, Trim};
use crate::frame::Frame;
use crate::job::shared::{Shared, TrackMeter, lock};
use crate::job::{Job, Ports, Ticker};
use crate::link::{Overflow, Sender, link};
use crate::packet::{MediaKind, StreamInfo};
use crate::plan::Plan;
use crate::sink::{Facts, OutputSink};
use crate::source::seek::Seeker;
use crate::spec::{Device, FilterSpec, PipelineSpec};
use crate::subtitle::{SubtitleConverter, read_subtitle_file};
use crate::time::{Clock, Rational, Timestamp};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Raw frames in front of each thread. Two are enough to keep both sides busy; a 1080p frame is 3 MB.
const FRAMES: usize = 3;
/// Coded packets in front of each thread.
const PACKETS: usize = 64;

/// How far beyond its first segment a head start may go for an encoder that looks ahead.
const HEAD_START_SECONDS: f64 = 3.0;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Opens the source and decides; writes nothing.
pub(super) fn plan(spec: &PipelineSpec) -> Result<Plan> {
    crate::log::install();
    let mut inputs = Inputs::detached();
    let interrupt = ghoststream_sys::ffmpeg::Interrupt::new();
    let input = Input::open(spec, &mut inputs, &interrupt)?;
    let resolved = resolve::resolve(spec, &input.offer)?;
    Ok(resolved.plan(spec, &input.offer))
}

/// Starts the job's supervisor.
pub(super) fn start(spec: PipelineSpec, clock: Arc<dyn Clock>) -> Result<Job> {
    crate::log::install();
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let name = spec.name.clone().unwrap_or_else(|| format!("job-{id}"));
    let shared = Shared::new(id, name, clock);
    let (inputs, bytes, frames) = Inputs::new(&spec, &shared);
    let mut ports = Ports { bytes: Mutex::new(bytes), frames: Mutex::new(frames), ..Ports::default() };
    let mut sinks: Vec<Box<dyn OutputSink>> = Vec::new();
    for output in &spec.outputs {
        let (sink, packets, segments) = super::output::sink(output, &shared)?;
        sinks.push(sink);
        ports.packets.push(packets);
        ports.segments.push(segments);
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
        Some(_) if error.as_ref().is_some_and(|e| e.kind() != ErrorKind::Cancelled) => Outcome::Failed,
        _ if shared.is_cancelled() => Outcome::Cancelled,
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

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| s.to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

fn run(
    shared: &Arc<Shared>,
    spec: &PipelineSpec,
    mut inputs: Inputs,
    sinks: Vec<Box<dyn OutputSink>>,
) -> Result<Vec<String>> {
    shared.events.push(Event::State { state: State::Starting });
    let input = Input::open(spec, &mut inputs, &shared.interrupt)?;
    if let Some(note) = &input.note {
        shared.warn("source", note.clone());
    }
    let resolved = resolve::resolve(spec, &input.offer)?;
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
    shared.set_state(State::Running);
    crew.watch(shared, spec)
}

/// The threads of a running graph and what they report.
struct Crew {
    threads: Vec<(String, std::thread::JoinHandle<()>)>,
    exits: std::sync::mpsc::Receiver<()>,
    ended: Arc<Mutex<Vec<(usize, Ended)>>>,
    fed: bool,
}

impl Crew {
    /// Tells progress until every thread has ended.
    fn watch(self, shared: &Shared, spec: &PipelineSpec) -> Result<Vec<String>> {
        let mut ticker = Ticker::new(shared);
        let mut left = self.threads.len();
        let mut next_tick = shared.clock.now() + crate::job::INTERVAL;
        let stall = Duration::from_secs_f64(spec.stall_timeout.clamp(0.0, 1e9));
        while left > 0 {
            let wait = next_tick.saturating_sub(shared.clock.now());
            match self.exits.recv_timeout(wait) {
                Ok(()) => left -= 1,
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    next_tick = shared.clock.now() + crate::job::INTERVAL;
                    let still = ticker.tick(shared);
                    // A fed source may be slow for reasons of its own.
                    if !stall.is_zero() && still > stall && !self.fed && shared.state() != State::Paused {
                        shared.fail(Error::new(
                            ErrorKind::Io,
                            format!(
                                "{}: stalled: nothing moved for {:.0} s",
                                shared.name,
                                still.as_secs_f64()
                            ),
                        ));
                    }
                }
            }
        }
        for (name, thread) in self.threads {
            if let Err(panic) = thread.join() {
                shared
                    .fail(Error::new(ErrorKind::Internal, format!("{name}: panic: {}", panic_text(&*panic))));
            }
        }
        ticker.tick(shared);
        let mut ended = std::mem::take(&mut *lock(&self.ended));
        ended.sort_by_key(|(output, _)| *output);
        let mut files = Vec::new();
        for (_, end) in ended {
            match end {
                Ended::Complete(f) => files.extend(f),
                Ended::Aborted => {}
                Ended::Failed(e) => {
                    if !shared.is_cancelled() || e.kind() != ErrorKind::Cancelled {
                        shared.fail_output(e);
                    }
                }
            }
        }
        Ok(files)
    }
}

/// Builds the threads of one run.
struct Graph<'a> {
    shared: &'a Arc<Shared>,
    spec: &'a PipelineSpec,
    resolved: &'a Resolved,
    pass: Option<&'a super::two_pass::Passes>,
    threads: Vec<(String, std::thread::JoinHandle<()>)>,
    exit: std::sync::mpsc::Sender<()>,
    exits: Option<std::sync::mpsc::Receiver<()>>,
    ended: Arc<Mutex<Vec<(usize, Ended)>>>,
    /// Frame branches by source stream.
    branches: BTreeMap<usize, Vec<Branch>>,
    devices: Devices,
    routes: BTreeMap<usize, Vec<Route>>,
    /// Source time that is the output's 0.
    zero: Timestamp,
    /// Opens when the head start is over, if there is one.
    gate: Arc<Gate>,
    leads: bool,
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
            devices: Devices::default(),
            routes: BTreeMap::new(),
            zero: Timestamp::new(0, Rational::new(1, 1)),
            gate: Arc::default(),
            leads: false,
        }
    }

    fn thread(&mut self, name: String, body: impl FnOnce(&Shared) + Send + 'static) -> Result<()> {
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
    fn link<T: Send + 'static>(&self, capacity: usize) -> (Sender<T>, crate::link::Receiver<T>) {
        let (tx, rx) = link(capacity, Overflow::Wait);
        self.shared.close_on_cancel(tx.monitor());
        (tx, rx)
    }

    fn build(mut self, input: Input, sinks: Vec<Box<dyn OutputSink>>) -> Result<Crew> {
        let fed = input.is_fed();
        self.zero = input.origin;
        let result = self.build_outputs(&input.offer, sinks).and_then(|()| self.build_source(input));
        if let Err(e) = result {
            // Threads that already run must end before the error is told.
            self.shared.cancel();
            self.routes.clear();
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

    fn build_outputs(&mut self, offer: &Offer, sinks: Vec<Box<dyn OutputSink>>) -> Result<()> {
        let resolved = self.resolved;
        for (index, (output, sink)) in resolved.outputs.iter().zip(sinks).enumerate() {
            self.build_output(index, output, sink, offer).map_err(|e| e.at(format!("outputs[{index}]")))?;
        }
        Ok(())
    }

    fn build_output(
        &mut self,
        index: usize,
        output: &Output,
        mut sink: Box<dyn OutputSink>,
        offer: &Offer,
    ) -> Result<()> {
        let label = self.spec.outputs[index].label();
        let lead = output.lead.as_ref().filter(|_| self.pass.is_none());
        sink.prepare(&Facts {
            first_segment: lead.map(|_| self.gate.first_segment()),
            ..super::output::facts(self.spec, index, output, offer)
        })?;
        let (tx, rx) = self.link::<ToMux>(PACKETS * 4);
        let mut mux = Mux::new(sink, label.clone());
        let mut video: Vec<(usize, &VideoTrack, ToTrack)> = Vec::new();
        for track in &output.tracks {
            let counts = track.kind() != MediaKind::Subtitle;
            let is_video = track.kind() == MediaKind::Video;
            let encoded = matches!(track.make, Make::Video(_));
            let meter = TrackMeter::new(index, track.name.clone(), is_video, counts, encoded);
            lock(&self.shared.tracks).push(meter.clone());
            let known = match &track.make {
                Make::Copy(s) => Some(at_origin((**s).clone())),
                Make::Subtitle(s) => Some(SubtitleConverter::stream(&s.info, &s.codec)),
                _ => None,
            };
            let source = track.stream.and_then(|i| offer.streams.iter().find(|s| s.index == i));
            let slot = mux.add(meter.clone(), track.kind(), known, source);
            if lead.is_some_and(|name| *name == track.name) {
                mux.lead(slot);
            }
            let to = ToTrack { mux: tx.clone(), track: slot, meter };
            match (&track.make, track.stream) {
                (Make::Copy(info), Some(stream)) => {
                    let route = CopyRoute::new(info, to.mux, slot);
                    self.routes.entry(stream).or_default().push(Route::Copy(route));
                }
                (Make::Video(v), Some(stream)) => video.push((stream, v, to)),
                (Make::Audio(a), Some(stream)) => {
                    let source = source.and_then(|s| s.audio.as_ref()).ok_or_else(|| {
                        Error::new(ErrorKind::Format, format!("stream {stream} has no sample rate"))
                    })?;
                    self.audio_thread(index, a, stream, source, to)?;
                }
                (Make::Subtitle(s), stream) => self.subtitle(s, stream, offer, to)?,
                (_, None) => return Err(Error::new(ErrorKind::Internal, "a track without a stream")),
            }
        }
        self.video_threads(index, output, video, offer)?;
        drop(tx);
        let keep = self.spec.keep_partial;
        let meter = self.shared.meter(format!("mux {index}"));
        meter.watch(rx.monitor());
        let ended = self.ended.clone();
        self.thread(format!("mux{index}"), move |shared| {
            let end = mux.run(shared, &meter, rx, keep);
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
            let packets = read_subtitle_file(path, &track.codec, Timestamp::from_seconds(start))?;
            let (mux, slot) = (to.mux, to.track);
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
        let converter = Box::new(SubtitleConverter::new(info, &track.codec)?);
        let route = Route::Convert { converter, mux: to.mux, track: to.track };
        self.routes.entry(stream).or_default().push(route);
        Ok(())
    }

    fn audio_thread(
        &mut self,
        output: usize,
        track: &super::tracks::AudioTrack,
        stream: usize,
        source: &crate::packet::AudioInfo,
        to: ToTrack,
    ) -> Result<()> {
        let wanted = encode::audio::wanted(&track.encoder, &track.spec, source)?;
        let conform = AudioConform::new(AudioTarget {
            params: wanted.params.clone(),
            frame_size: Some(wanted.frame_size).filter(|n| *n > 0),
            gain_db: track.spec.gain,
            loudness: track.spec.loudness,
            sync: track.spec.sync,
        })?;
        let encoder = AudioEncoder::new(&track.encoder, &track.spec, wanted)?;
        let (tx, rx) = self.link::<Frame>(FRAMES * 8);
        self.branches.entry(stream).or_default().push(Branch { to: tx, host: false });
        self.encode_thread(output, rx, None, vec![Box::new(conform)], Box::new(encoder), to)
    }

    fn encode_thread(
        &mut self,
        output: usize,
        rx: crate::link::Receiver<Frame>,
        lead: Option<crate::link::Receiver<Frame>>,
        chain: Chain,
        encoder: Box<dyn Encoder>,
        to: ToTrack,
    ) -> Result<()> {
        let name = format!("{output}:{}", to.meter.name);
        let meter = self.shared.meter(format!("encode {name}"));
        meter.watch(rx.monitor());
        self.thread(format!("enc {name}"), move |shared| {
            worker::encode(shared, &meter, worker::TrackFrames::new(lead, rx), chain, encoder, to)
        })
    }

    /// Encoders of one output: those that differ in size only share their filters and scale in a cascade.
    fn video_threads(
        &mut self,
        index: usize,
        output: &Output,
        mut tracks: Vec<(usize, &VideoTrack, ToTrack)>,
        offer: &Offer,
    ) -> Result<()> {
        while !tracks.is_empty() {
            let (stream, first, _) = &tracks[0];
            let (stream, first) = (*stream, *first);
            let (mut group, rest): (Vec<_>, Vec<_>) =
                tracks.into_iter().partition(|(s, t, _)| *s == stream && shares_filters(first, t));
            tracks = rest;
            let source = offer.streams.iter().find(|s| s.index == stream);
            let source = source.ok_or_else(|| Error::new(ErrorKind::Internal, "video of no stream"))?;
            let (tx, rx) = self.link::<Frame>(FRAMES);
            let branch = Branch { to: tx, host: first.placement.begins_on_host() };
            self.branches.entry(stream).or_default().push(branch);
            let mut chain = self.filters(first, source)?;
            if group.len() == 1
                && let Some((_, track, to)) = group.pop()
            {
                chain.push(chain::scaler(track, chain::scale_target(track, source)?));
                chain.extend(chain::after_scale(track, &mut self.devices)?);
                let encoder = self.video_encoder(index, track, source, output)?;
                self.encode_thread(index, rx, None, chain, encoder, to)?;
                continue;
            }
            let mut targets = Vec::new();
            let mut outs = Vec::new();
            let rungs: Vec<&VideoTrack> = group.iter().map(|(_, track, _)| *track).collect();
            for (_, track, to) in group {
                targets.push(chain::scale_target(track, source)?);
                let (tx, rx) = self.link::<Frame>(FRAMES);
                outs.push(tx);
                let encoder = self.video_encoder(index, track, source, output)?;
                let lead = match &output.lead {
                    Some(name) if *name == to.meter.name && self.pass.is_none() => {
                        Some(self.head_start(track, source, output)?)
                    }
                    _ => None,
                };
                let upload = chain::after_scale(track, &mut self.devices)?;
                self.encode_thread(index, rx, lead, upload, encoder, to)?;
            }
            let scales = targets.clone();
            let cascade = Cascade::with(targets, |i| chain::scaler(rungs[i], scales[i].clone()))?;
            let meter = self.shared.meter(format!("scale {index}"));
            meter.watch(rx.monitor());
            self.thread(format!("scale{index}"), move |shared| {
                if let Err(e) = worker::fan_out(shared, &meter, rx, chain, cascade, outs) {
                    shared.fail(e.context("scale"));
                }
            })?;
        }
        Ok(())
    }

    /// The thread that gives a rung its first frames before the job's own source begins.
    fn head_start(
        &mut self,
        track: &VideoTrack,
        source: &StreamInfo,
        output: &Output,
    ) -> Result<crate::link::Receiver<Frame>> {
        let zero = Timestamp::new(0, Rational::new(1, 1));
        let end = self.spec.source.duration.map(|d| Timestamp::from_seconds(d.0));
        let mut chain: Chain = vec![Box::new(Trim::new(Some(zero), end, zero)?)];
        chain.extend(self.filters(track, source)?);
        chain.push(chain::scaler(track, chain::scale_target(track, source)?));
        let (tx, rx) = self.link::<Frame>(FRAMES);
        let lead = Lead {
            source: self.spec.source.clone(),
            stream: source.clone(),
            origin: self.zero,
            chain,
            out: tx,
            gate: self.gate.clone(),
            limit: Timestamp::from_seconds(output.segment.duration.0 + HEAD_START_SECONDS),
            threads: super::tracks::cores(self.spec).min(4),
        };
        let meter = self.shared.meter("head start");
        self.leads = true;
        self.thread("lead".into(), move |shared| lead.run(shared, &meter))?;
        Ok(rx)
    }

    /// The stages before scaling.
    fn filters(&mut self, track: &VideoTrack, source: &StreamInfo) -> Result<Chain> {
        let context = FilterContext {
            source: self.spec.source.url.is_some().then(|| self.spec.source.clone()),
            interrupt: self.shared.output_interrupt.clone(),
            zero: self.zero,
            hdr: source.video.as_ref().map(|v| v.hdr).unwrap_or_default(),
        };
        chain::before_scale(track, &context, &mut self.devices)
    }

    fn video_encoder(
        &self,
        output_index: usize,
        track: &VideoTrack,
        source: &StreamInfo,
        output: &Output,
    ) -> Result<Box<dyn Encoder>> {
        let grid = match (&output.boundaries, track.grid) {
            (Some(starts), _) => Some(KeyGrid::at(starts.clone())),
            (None, Some(interval)) => KeyGrid::every(Timestamp::from_seconds(interval.0)),
            (None, None) => None,
        };
        let hdr = source.video.as_ref().map(|v| v.hdr).unwrap_or_default();
        let tone_mapped = track.spec.filters.iter().any(|f| matches!(f, FilterSpec::ToneMap(_)));
        let hdr = if tone_mapped { Default::default() } else { hdr };
        let encoder = VideoEncoder::new(VideoEncode {
            frame_rate: track.frame_rate,
            grid,
            threads: track.threads,
            shared_cores: track.shared_cores,
            hdr,
            pass: self.pass.and_then(|p| p.of(output_index, track)),
            ..VideoEncode::new(track.spec.clone())
        })?;
        Ok(Box::new(encoder))
    }

    /// The source's thread and its decoders.
    fn build_source(&mut self, input: Input) -> Result<()> {
        let end = self.spec.source.duration.map(|d| Timestamp::from_seconds(d.0));
        match input {
            Input { demuxer: Some(demuxer), offer, origin, .. } => {
                for decoder in &self.resolved.decoders {
                    self.decoder(decoder, &offer, end)?;
                }
                let mut streams: Vec<FeedStream> = offer.streams.iter().map(FeedStream::new).collect();
                for (index, routes) in std::mem::take(&mut self.routes) {
                    if let Some(stream) = streams.get_mut(index) {
                        stream.routes = routes;
                    }
                }
                let begin = offer.start.unwrap_or(Timestamp::new(0, Rational::new(1, 1)));
                let seeker = Seeker::of(&offer.streams, begin);
                let expected = offer.duration.filter(|_| self.spec.source.url.is_some());
                let start = self.spec.source.start.map_or(0.0, |s| s.0);
                let feed = Feed {
                    demuxer,
                    streams,
                    origin,
                    seeker,
                    end,
                    loops: self.spec.source.loops,
                    realtime: self.spec.source.realtime,
                    expected: expected.map(|d| Timestamp::from_seconds((d.seconds() - start).max(0.0))),
                    label: offer.label,
                    timeout: self.spec.source.timeout,
                    salvage: self.spec.source.salvage,
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
            Input { frames: Some(frames), offer, fed, .. } => {
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
                let (video, audio) = (of(MediaKind::Video), of(MediaKind::Audio));
                let realtime = self.spec.source.realtime;
                let meter = self.shared.meter("source");
                self.thread("source".into(), move |shared| {
                    if let Err(e) = run_frames(shared, &meter, frames, video, audio, realtime) {
                        shared.fail(e);
                    }
                })
            }
            _ => Err(Error::new(ErrorKind::Internal, "a source of nothing")),
        }
    }

    fn decoder(&mut self, decoder: &resolve::Decoder, offer: &Offer, end: Option<Timestamp>) -> Result<()> {
        let index = decoder.stream;
        let stream = offer.streams.iter().find(|s| s.index == index);
        let stream = stream.ok_or_else(|| Error::new(ErrorKind::Internal, "a decoder of no stream"))?;
        let device = decoder.device.map(|kind| self.devices.get(kind)).transpose()?;
        let options = DecodeOptions { threads: decoder.threads, device };
        let stage = AvDecoder::new(stream, &options)?;
        let damage = stage.damage();
        let zero = Timestamp::new(0, Rational::new(1, 1));
        let mut chain: Chain = vec![Box::new(Trim::new(Some(zero), end, zero)?)];
        if let Some(kind) = decoder.device {
            let label = format!("stream {index}");
            // A device that was not asked for is no promise.
            let auto = self.spec.source.decode.device == Device::Auto;
            let (fallback, shared) = (self.spec.fallback || auto, self.shared.clone());
            chain.insert(0, Box::new(Expect { kind, fallback, label, shared, told: false }));
        }
        let (tx, rx) = self.link(PACKETS);
        self.routes.entry(index).or_default().push(Route::Decode(tx));
        let tee = Tee::new(self.branches.remove(&index).unwrap_or_default());
        let meter = self.shared.meter(format!("decode {index}"));
        meter.watch(rx.monitor());
        let label = offer.label.clone();
        self.thread(format!("dec{index}"), move |shared| {
            if let Err(e) = worker::decode(shared, &meter, rx, Box::new(stage), chain, tee) {
                shared.fail(e.context(&label));
            }
            if let Some(said) = damage.said() {
                shared.warn("source", format!("{label}: stream {index}: {said}"));
            }
            meter.count_damaged(damage.count());
        })
    }
}

/// A copied stream as it will be after the feed has moved it to the job's timeline.
fn at_origin(mut stream: StreamInfo) -> StreamInfo {
    stream.start = None;
    stream
}

fn shares_filters(a: &VideoTrack, b: &VideoTrack) -> bool {
    let filters = |t: &VideoTrack| serde_json::to_string(&t.spec.filters).unwrap_or_default();
    a.rotation == b.rotation
        && a.spec.frame_rate == b.spec.frame_rate
        && filters(a) == filters(b)
        && a.placement.shares(&b.placement)
}
