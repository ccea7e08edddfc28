//! A transcode of a stream: a derived stream with the rungs of a ladder and the sound once, on the same time. The source is
//! decoded once; what conforms is copied.

mod plan;
mod run;

pub use plan::{Rung, TranscodeSpec};

use super::stream::{Item, Reader, Start, Stream, Tracks};
use ghoststream::packet::Packet;
use ghoststream::{Error, ErrorKind, Result};
use plan::{Plan, Seen};
use run::{Floor, Run};
use serde::Serialize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the source is listened to without a packet before other things are looked after.
const LOOK: Duration = Duration::from_millis(50);
/// Pictures that are looked at before it is decided what is made of them.
const PICTURES: usize = 8;
/// The longest that this may take.
const DECIDE: Duration = Duration::from_millis(400);
/// Seconds that a transcode may be behind its source before it leaves pictures out.
const BEHIND: f64 = 2.0;
/// What it must be back to before it goes on.
const CAUGHT_UP: f64 = 0.5;
/// How long it may take for what was there before it began.
const BACKLOG: Duration = Duration::from_secs(10);
/// Pauses before another try, after failures.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A running transcode. Dropping it stops it at once (it waits for its threads, some 100 ms) and ends the derived stream. All
/// methods may be called from any thread.
#[derive(Debug)]
pub struct Transcode {
    inner: Arc<Inner>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What the threads of a transcode share.
#[derive(Debug)]
struct Inner {
    source: Arc<Stream>,
    stream: Arc<Stream>,
    stop: AtomicBool,
    floor: Arc<Floor>,
    /// Packets of the source that were left out.
    skipped: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    error: Option<String>,
    runs: u64,
    run: Option<Arc<run::Shared>>,
}

/// What a transcode does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Nobody publishes the source, or no key frame has come.
    #[default]
    Waiting,
    /// Encoders are being opened.
    Starting,
    /// Packets come.
    Running,
    /// It failed, and will be tried again.
    Failed,
}

/// What a transcode has seen.
#[derive(Clone, Debug, Serialize)]
pub struct TranscodeStats {
    /// What it does.
    pub state: Phase,
    /// Why it failed last.
    pub error: Option<String>,
    /// Every track that it makes.
    pub tracks: Vec<MadeTrack>,
    /// Packets of the source that were left out because there was no time for them.
    pub dropped: u64,
    /// Seconds from the newest packet of the source to the newest picture that came out.
    pub delay: Option<f64>,
    /// How often it began anew.
    pub runs: u64,
}

/// One track that a transcode makes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MadeTrack {
    /// What it is called: `720p`.
    pub name: String,
    /// FFmpeg's name of what makes it; `copy` for what is the source's own.
    pub encoder: String,
    /// Packets in the last second.
    pub rate: f64,
    /// Bits in the last second.
    pub bitrate: f64,
}

impl Transcode {
    /// Begins to transcode `source`, whether somebody publishes it now or later.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming a field of `spec`; [`ErrorKind::Memory`] when the system gives no thread. A source that
    /// cannot be transcoded is told by [`Transcode::stats`], and tried again when it changes.
    pub fn start(source: &Arc<Stream>, spec: &TranscodeSpec) -> Result<Transcode> {
        spec.check()?;
        let inner = Arc::new(Inner {
            source: source.clone(),
            stream: source.derived(source.name()),
            stop: AtomicBool::new(false),
            floor: Arc::default(),
            skipped: AtomicU64::new(0),
            state: Mutex::default(),
        });
        let worker = Worker {
            inner: inner.clone(),
            spec: spec.clone(),
            tracks: None,
            gathered: Vec::new(),
            since: Instant::now(),
            seen: Seen::default(),
            last_key: None,
            run: None,
            retry: None,
            skipping: false,
            backlog: None,
        };
        let reader = source.work_on(Start::Group);
        let thread = std::thread::Builder::new()
            .name("gs-transcode".into())
            .spawn(move || worker.work(reader))
            .map_err(|e| Error::with_source(ErrorKind::Memory, "cannot start a thread", e))?;
        Ok(Transcode { inner, thread: Some(thread) })
    }

    /// What it makes: a stream of the source's name and time.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.inner.stream
    }

    /// What it has seen.
    pub fn stats(&self) -> TranscodeStats {
        let state = self.inner.lock();
        let (mut tracks, mut delay, mut dropped) =
            (Vec::new(), None, self.inner.skipped.load(Ordering::Relaxed));
        if let Some(run) = &state.run {
            let came = self.inner.stream.stats().tracks;
            tracks = run.tracks();
            for (track, came) in tracks.iter_mut().zip(came) {
                (track.rate, track.bitrate) = (came.rate, came.bitrate);
            }
            delay = run.delay();
            dropped += run.dropped();
        }
        TranscodeStats {
            state: state.phase,
            error: state.error.clone(),
            tracks,
            dropped,
            delay,
            runs: state.runs,
        }
    }
}

impl Drop for Transcode {
    fn drop(&mut self) {
        self.inner.stop.store(true, Ordering::SeqCst);
        if let Some(run) = &self.inner.lock().run {
            run.cancel();
        }
        if let Some(thread) = self.thread.take() {
            // A panic in it has been told where it happened.
            let _ = thread.join();
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

/// The thread that reads the source and feeds the engine.
struct Worker {
    inner: Arc<Inner>,
    spec: TranscodeSpec,
    tracks: Option<Arc<Tracks>>,
    /// The first packets, until it is decided what is made of them.
    gathered: Vec<Packet>,
    since: Instant,
    seen: Seen,
    /// Decode time of the source's last key frame, in microseconds.
    last_key: Option<i64>,
    run: Option<Run>,
    /// Until when nothing is tried, and the pause before the try after that.
    retry: Option<(Instant, Duration)>,
    skipping: bool,
    /// Until when being behind is nobody's fault.
    backlog: Option<Instant>,
}

impl Worker {
    fn work(mut self, mut reader: Reader) {
        self.backlog = Some(Instant::now() + BACKLOG);
        while !self.inner.is_stopped() {
            let item = reader.next_blocking(LOOK);
            if self.run.as_ref().is_some_and(Run::is_over) {
                self.failed();
            }
            match item {
                None => {}
                Some(Item::Tracks(tracks)) => self.begin(tracks),
                Some(Item::Packet(packet)) => {
                    let behind = self.take(packet, reader.behind());
                    if behind {
                        // What is there since the last key frame is made again, without a copy.
                        reader = self.inner.source.work_on(Start::Group);
                        self.backlog = Some(Instant::now() + BACKLOG);
                    }
                }
                Some(Item::Away) => self.leave(),
                Some(Item::End) => break,
            }
        }
        let ended = !self.inner.is_stopped();
        self.end_run(ended);
        self.inner.stream.leave();
        self.inner.stream.end();
    }

    /// New tracks: what was made of the old ones ends.
    fn begin(&mut self, tracks: Arc<Tracks>) {
        let known = self.tracks.replace(tracks);
        self.end_run(false);
        self.gathered.clear();
        self.since = Instant::now();
        self.retry = None;
        self.last_key = None;
        if known.is_none_or(|k| self.tracks.as_ref().is_none_or(|t| t.version != k.version)) {
            self.seen = Seen::default();
        }
        self.phase(Phase::Waiting);
    }

    /// The publisher is gone: what it has sent is finished.
    fn leave(&mut self) {
        self.tracks = None;
        self.gathered.clear();
        self.end_run(true);
        self.inner.stream.leave();
        self.phase(Phase::Waiting);
    }

    /// Takes a packet; `true` when the transcode is to begin again at the last key frame.
    fn take(&mut self, packet: Packet, behind: f64) -> bool {
        let Some(tracks) = self.tracks.clone() else { return false };
        let video = tracks.video();
        let opens = packet.key && video.is_none_or(|v| v == packet.stream);
        if self.is_late(opens, behind) {
            self.inner.skipped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let time = packet.decode().or(packet.presentation()).map(|t| t.micros());
        if opens {
            self.last_key = time;
        }
        if let Some(run) = &self.run {
            let since = self.last_key.zip(time).map_or(0, |(key, now)| now - key);
            if run.copies() && video.is_some() && since as f64 / 1e6 > 2.0 * self.spec.segment {
                tracing::info!(stream = self.inner.stream.name(), "key frames are too rare for a copy");
                self.seen.rare_keys = true;
                self.end_run(false);
                return true;
            }
            run.push(packet);
            return false;
        }
        if self.retry.is_some_and(|(until, _)| Instant::now() < until) || (self.gathered.is_empty() && !opens)
        {
            return false;
        }
        if self.gathered.is_empty() {
            self.since = Instant::now();
        }
        self.gathered.push(packet);
        let pictures = self.gathered.iter().filter(|p| Some(p.stream) == video).count();
        if video.is_none() || pictures >= PICTURES || self.since.elapsed() > DECIDE {
            self.launch(&tracks);
        }
        false
    }

    /// Whether packets are left out now, because there is no time for them.
    fn is_late(&mut self, opens: bool, behind: f64) -> bool {
        if let Some(until) = self.backlog {
            if behind > CAUGHT_UP && Instant::now() < until {
                return false;
            }
            self.backlog = None;
        }
        if self.skipping {
            self.skipping = !(opens && behind < CAUGHT_UP);
        } else if behind > BEHIND {
            tracing::warn!(
                stream = self.inner.stream.name(),
                behind,
                "the transcode is too slow: pictures are left out"
            );
            self.skipping = true;
        }
        self.skipping
    }

    /// Decides what is made of the tracks and begins.
    fn launch(&mut self, tracks: &Arc<Tracks>) {
        let gathered = std::mem::take(&mut self.gathered);
        let video = tracks.video();
        let pictures: Vec<&Packet> = gathered.iter().filter(|p| Some(p.stream) == video).collect();
        let ahead = |p: &Packet| p.pts.zip(p.dts).map(|(pts, dts)| pts - dts);
        self.seen.reorders |= pictures.windows(2).any(|two| ahead(two[0]) != ahead(two[1]));
        let measured = video.and_then(|v| self.inner.source.stats().tracks.get(v).map(|t| t.bitrate));
        self.seen.bitrate = measured.filter(|rate| *rate > 0.0).map(|rate| rate as u64);
        let plan = plan::plan(&self.spec, self.inner.stream.name(), tracks, self.seen);
        self.phase(Phase::Starting);
        match self.start(plan, tracks) {
            Ok(run) => {
                gathered.into_iter().for_each(|p| run.push(p));
                self.run = Some(run);
            }
            Err(e) => self.fail(e.to_string()),
        }
    }

    fn start(&mut self, plan: Plan, tracks: &Arc<Tracks>) -> Result<Run> {
        let streams = tracks.streams.clone();
        let inner = self.inner.clone();
        let run = Run::start(plan, streams, &self.inner.stream, &self.inner.floor, move || {
            let mut state = inner.lock();
            (state.phase, state.error) = (Phase::Running, None);
        })?;
        let mut state = self.inner.lock();
        state.runs += 1;
        state.run = Some(run.shared());
        Ok(run)
    }

    /// The run has ended by itself.
    fn failed(&mut self) {
        let why = self.end_run(false).unwrap_or_else(|| "it ended".into());
        self.fail(why);
    }

    /// Ends the run, at once or after what is inside has come out. Gives why it failed, if it did.
    fn end_run(&mut self, drain: bool) -> Option<String> {
        self.run.take().and_then(|run| run.end(drain))
    }

    fn fail(&mut self, why: String) {
        tracing::warn!(stream = self.inner.stream.name(), "the transcode failed: {why}");
        let pause = self.retry.map_or(RETRY.0, |(_, pause)| pause);
        self.retry = Some((Instant::now() + pause, (pause * 2).min(RETRY.1)));
        self.inner.stream.leave();
        let mut state = self.inner.lock();
        (state.phase, state.error, state.run) = (Phase::Failed, Some(why), None);
    }

    fn phase(&self, phase: Phase) {
        let mut state = self.inner.lock();
        state.phase = phase;
        if phase == Phase::Waiting {
            state.run = None;
        }
    }
}
