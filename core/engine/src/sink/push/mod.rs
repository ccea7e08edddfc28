//! Outputs that are pushed over a network: a thread of their own, a bounded queue before it, and connections that are made
//! again when they break. Nothing else of the job waits for them when the source is live.

mod adapt;
mod backoff;
mod buffer;
mod connection;
mod disposable;
mod flv;
mod queue;
mod srt;
mod status;
mod worker;

pub(crate) use status::Status;

use super::{Facts, Fate, OutputSink, TrackHeader};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::link::LinkStats;
use crate::packet::{MediaKind, Packet};
use crate::spec::{AdaptChoice, Container, OutputSpec, PushSpec, SrtAddress, VideoChoice};
use crate::stage::Control;
use crate::time::Clock;
use adapt::{Adapt, Bounds};
use buffer::{Item, Limits};
use connection::{Target, Trust};
use disposable::Disposable;
use queue::Queue;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use worker::{Stop, Worker};

/// Takes an event of the job.
pub(crate) type Say = Box<dyn Fn(Event) + Send + Sync>;
/// Takes a change for the output's video encoder.
pub(crate) type Steer = Box<dyn Fn(Control) + Send + Sync>;

/// What a pushed output has of its job.
pub(crate) struct Hooks {
    pub job: u64,
    pub output: usize,
    pub clock: Arc<dyn Clock>,
    pub event: Say,
    pub control: Steer,
    pub status: Status,
}

/// Lets the job end a push at once, and look at its queue.
#[derive(Clone, Default)]
pub(crate) struct Handle {
    stop: Stop,
    queue: Arc<OnceLock<Arc<Queue>>>,
}

impl Handle {
    /// Ends it: what waits is lost.
    pub fn cancel(&self) {
        if let Some(queue) = self.queue.get() {
            queue.close();
        }
        self.stop.now();
    }

    /// The queue as links show theirs.
    pub fn link_stats(&self) -> LinkStats {
        let Some(waiting) = self.queue.get().map(|q| q.waiting()) else { return LinkStats::default() };
        LinkStats {
            depth: waiting.packets,
            peak: waiting.peak,
            // Bounded by time and bytes.
            capacity: 0,
            passed: waiting.passed,
            dropped: waiting.dropped,
        }
    }
}

/// An output that is pushed.
pub(crate) struct PushSink {
    spec: OutputSpec,
    url: String,
    container: Container,
    live: bool,
    hooks: Arc<Hooks>,
    handle: Handle,
    facts: Facts,
    /// Whether each track is video, and what looks at its pictures.
    tracks: Vec<(bool, Disposable)>,
    thread: Option<JoinHandle<()>>,
    /// Why the thread ended, when it did by itself.
    failed: Arc<Mutex<Option<Error>>>,
}

impl PushSink {
    /// `url` is the address, with its key. `live` = the source does not wait.
    pub fn new(spec: &OutputSpec, url: String, container: Container, live: bool, hooks: Hooks) -> PushSink {
        PushSink {
            spec: spec.clone(),
            url,
            container,
            live,
            hooks: Arc::new(hooks),
            handle: Handle::default(),
            facts: Facts::default(),
            tracks: Vec::new(),
            thread: None,
            failed: Arc::default(),
        }
    }

    /// What ends it from outside.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    fn push_spec(&self) -> PushSpec {
        self.spec.push.clone().unwrap_or_default()
    }

    /// The picture's rate in the document.
    fn bitrate(&self) -> Option<u64> {
        match &self.spec.video {
            VideoChoice::Track(v) => v.bitrate.map(|b| b.0),
            _ => None,
        }
    }

    fn adapt(&self, push: &PushSpec) -> Option<Adapt> {
        let AdaptChoice::Yes(said) = &push.adapt else { return None };
        let max = self.bitrate().filter(|_| self.facts.adapts)?;
        let part = |p: f64, most: f64| Duration::from_secs_f64((push.max_delay.0 * p).min(most));
        let bounds = Bounds {
            min: said.min_bitrate.map_or(max / 4, |b| b.0).max(1),
            max,
            high: part(0.4, 0.7),
            low: part(0.15, 0.2),
        };
        self.hooks.status.update(|s| s.target_bitrate = Some(max));
        Some(Adapt::new(bounds))
    }

    fn target(&self, push: &PushSpec, tracks: &[TrackHeader]) -> Result<Target> {
        let srt = self.url.get(..6).is_some_and(|s| s.eq_ignore_ascii_case("srt://"));
        // A third of a second: less stalls on a long way, more hides what waits.
        let send_buffer = self.bitrate().map_or(512 << 10, |b| (b / 24) as usize).clamp(64 << 10, 4 << 20);
        Ok(Target {
            url: self.url.clone(),
            srt: srt.then(|| SrtAddress::parse(&self.url, push.srt.as_ref())).transpose()?,
            container: self.container,
            options: self.spec.options.clone(),
            metadata: self.facts.metadata.clone(),
            tracks: tracks.to_vec(),
            timeout: Duration::from_secs_f64(push.timeout.0),
            send_buffer,
            trust: push.tls_verify.then(|| push.ca_file.clone().map_or(Trust::System, Trust::File)),
        })
    }

    fn queue(&self) -> Result<&Arc<Queue>> {
        self.handle.queue.get().ok_or_else(|| Error::new(ErrorKind::Internal, "a packet before the header"))
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of it is an error below.
            if thread.join().is_err() {
                let error = Error::new(ErrorKind::Internal, "the sending thread panicked");
                self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    }
}

impl OutputSink for PushSink {
    fn prepare(&mut self, facts: &Facts) -> Result<()> {
        self.facts = facts.clone();
        Ok(())
    }

    fn begin(&mut self, tracks: &[TrackHeader]) -> Result<()> {
        let push = self.push_spec();
        let target = self.target(&push, tracks)?;
        target.check()?;
        let is_video =
            |t: &TrackHeader| t.stream.kind == MediaKind::Video && !t.stream.disposition.attached_picture;
        self.tracks = tracks.iter().map(|t| (is_video(t), Disposable::new(&t.stream))).collect();
        let limits = Limits {
            time: (push.max_delay.0 * 1e6) as i64,
            bytes: usize::try_from(push.max_bytes).unwrap_or(usize::MAX),
        };
        let queue = Arc::new(Queue::new(tracks.iter().any(is_video), limits, self.live));
        self.handle.queue.get_or_init(|| queue.clone());
        let worker = Worker {
            adapt: self.adapt(&push),
            queue,
            target,
            spec: push,
            live: self.live,
            hooks: self.hooks.clone(),
            stop: self.handle.stop.clone(),
        };
        let job = self.hooks.job;
        let failed = self.failed.clone();
        let thread = std::thread::Builder::new()
            .name(format!("push{}", self.hooks.output))
            .spawn(move || {
                let _log = ghoststream_sys::ffmpeg::log_scope(job);
                if let Err(e) = worker.run() {
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
                }
            })
            .map_err(|e| Error::with_source(ErrorKind::Memory, "cannot start a thread", e))?;
        self.thread = Some(thread);
        Ok(())
    }

    fn write(&mut self, track: usize, packet: Packet) -> Result<Fate> {
        let Some((video, disposable)) = self.tracks.get_mut(track) else {
            return Err(Error::new(ErrorKind::Internal, "a packet of no track"));
        };
        let spare = *video && disposable.is(&packet);
        let item = Item::new(track, packet, *video, spare);
        if self.queue()?.push(item)? {
            (self.hooks.control)(Control::ForceKeyFrame);
        }
        Ok(Fate::Written)
    }

    fn finish(&mut self) -> Result<Vec<String>> {
        self.queue()?.end();
        self.join();
        match self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(e) => Err(e),
            None => Ok(vec![self.spec.label()]),
        }
    }

    fn abort(&mut self, _keep: bool) {
        self.handle.cancel();
        self.join();
    }
}

impl Drop for PushSink {
    fn drop(&mut self) {
        self.handle.cancel();
        self.join();
    }
}
