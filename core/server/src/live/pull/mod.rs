//! Streams that this server fetches or makes itself: a URL, a file, a test picture. A source that breaks off is opened again;
//! meanwhile another one can be shown.

pub(super) mod play;
mod slate;
pub(super) mod source;

pub use slate::{Slate, SlateSpec};
pub use source::{PullEncode, PullSource};

use super::registry::{Live, Publication, Publisher, Refused, Superseded};
use super::stream::Stream;
use crate::policy::SourcePolicy;
use ghoststream::spec::{AudioChoice, PipelineSpec};
use ghoststream::{Error, ErrorKind, Result};
use play::{Clock, Play, Step};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long one look at a source may take.
const LOOK: Duration = Duration::from_millis(20);
/// How often it is looked whether somebody reads a stream that is fetched on demand.
const DEMAND: Duration = Duration::from_millis(50);

/// What is pulled, and how.
#[derive(Clone, Debug)]
pub struct PullSpec {
    /// From where.
    pub source: PullSource,
    /// What is shown while `source` is away: times go on, and its tracks are announced. `None` = nothing.
    pub slate: Option<PullSource>,
    /// Fetch it only while it is [wanted](Stream::wanted), and this much longer; `None` = always.
    pub on_demand: Option<Duration>,
    /// Seconds that connecting, or one read, may take.
    pub timeout: f64,
    /// The first and the longest pause before another try.
    pub retry: (Duration, Duration),
    /// Which sources are allowed; `None` = all.
    pub policy: Option<SourcePolicy>,
    /// How what cannot be carried gets encoded.
    pub encode: PullEncode,
    /// Whether its sound is taken.
    pub sound: bool,
}

impl PullSpec {
    /// This source, always, with everything else at its default.
    pub fn new(source: PullSource) -> PullSpec {
        PullSpec {
            source,
            slate: None,
            on_demand: None,
            timeout: 10.0,
            retry: (Duration::from_millis(500), Duration::from_secs(10)),
            policy: None,
            encode: PullEncode::default(),
            sound: true,
        }
    }

    /// The document for `source` (the slate, or what it stands in for).
    fn document(&self, source: &PullSource, copy: bool) -> std::result::Result<PipelineSpec, String> {
        let mut document = source::document(source, self.policy.as_ref(), self.timeout, &self.encode, copy)
            .map_err(|refused| refused.to_string())?;
        if !self.sound {
            document.outputs.iter_mut().for_each(|output| output.audio = AudioChoice::None);
        }
        Ok(document)
    }
}

/// What a pull does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PullState {
    /// Nobody reads it, and it is fetched on demand.
    Waiting,
    /// It is being opened.
    Starting,
    /// Packets come.
    Running,
    /// It broke off, or could not be opened, and will be tried again.
    Reconnecting,
    /// It cannot be pulled: trying again would not help.
    Error,
    /// It is over.
    Stopped,
}

/// State of a pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PullStatus {
    /// What it does.
    pub state: PullState,
    /// Why it reconnects or failed.
    pub message: Option<String>,
    /// Tries since it last ran.
    pub attempt: u32,
    /// Whether the slate is shown.
    pub slate: bool,
}

/// A stream that is fetched. Dropping it ends the stream for its readers; that waits for its thread, some 100 ms. All methods
/// may be called from any thread.
#[derive(Debug)]
pub struct Pull {
    live: Live,
    stream: Arc<Stream>,
    stop: Arc<AtomicBool>,
    status: watch::Receiver<PullStatus>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Pull {
    /// Begins to fetch `spec` as stream `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a name that cannot be one; [`ErrorKind::Busy`] when there are too many streams;
    /// [`ErrorKind::Memory`] when the system gives no thread. What is wrong with the source is told by [`Pull::status`].
    pub fn start(live: &Live, name: &str, spec: PullSpec) -> Result<Pull> {
        let stream = live.keep(name).map_err(|e| match &e {
            Refused::Name(_) => Error::invalid("name", e.to_string()),
            Refused::Taken | Refused::Full(_) => Error::new(ErrorKind::Busy, e.to_string()),
        })?;
        let first = if spec.on_demand.is_some() { PullState::Waiting } else { PullState::Starting };
        let (tell, status) =
            watch::channel(PullStatus { state: first, message: None, attempt: 0, slate: false });
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            live: live.clone(),
            stream: stream.clone(),
            spec,
            stop: stop.clone(),
            tell,
            clock: Clock::new(),
            publication: None,
            slate: None,
            copy: true,
            was_live: false,
        };
        let thread = std::thread::Builder::new()
            .name("gs-pull".into())
            .spawn(move || worker.work())
            .map_err(|e| Error::with_source(ErrorKind::Memory, "cannot start a thread", e))?;
        Ok(Pull { live: live.clone(), stream, stop, status, thread: Some(thread) })
    }

    /// The stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// What it does now.
    pub fn status(&self) -> PullStatus {
        self.status.borrow().clone()
    }

    /// What it does, as it changes.
    pub fn watch(&self) -> watch::Receiver<PullStatus> {
        self.status.clone()
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A panic in it has been told where it happened.
            let _ = thread.join();
        }
        self.live.forget(self.stream.name());
    }
}

/// The thread that fetches.
struct Worker {
    live: Live,
    stream: Arc<Stream>,
    spec: PullSpec,
    stop: Arc<AtomicBool>,
    tell: watch::Sender<PullStatus>,
    clock: Clock,
    publication: Option<Publication>,
    slate: Option<Play>,
    /// Whether pictures that can be carried are copied: some sources do not say enough for it.
    copy: bool,
    /// Whether it was live when it last ran: what it has become when it is over is not shown once more.
    was_live: bool,
}

/// How a try ended.
enum Ended {
    /// Nobody wants it any more.
    Unwanted,
    /// The source broke off or is over: why, and whether it ran.
    Lost(String, bool),
    /// A file that is not to begin again, or a film that was fetched, is over.
    Over,
    /// Trying again would not help.
    Hopeless(String),
}

impl Worker {
    fn work(mut self) {
        while !self.is_stopped() {
            if !self.is_wanted() {
                self.rest();
                self.say(PullState::Waiting, None, 0);
                std::thread::sleep(DEMAND);
                continue;
            }
            self.fetch();
        }
        self.rest();
        self.say(PullState::Stopped, None, 0);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Whether it is to be fetched now.
    fn is_wanted(&self) -> bool {
        let Some(longer) = self.spec.on_demand else { return !self.is_stopped() };
        // Who reads is told as now, so a moment is the least that counts.
        let longer = longer.max(DEMAND);
        self.stream.wanted().is_some_and(|at| at.elapsed() < longer) && !self.is_stopped()
    }

    /// Lets go of everything.
    fn rest(&mut self) {
        self.slate = None;
        self.publication = None;
    }

    fn say(&self, state: PullState, message: Option<String>, attempt: u32) {
        let status = PullStatus { state, message, attempt, slate: self.slate.is_some() };
        self.tell.send_if_modified(|now| std::mem::replace(now, status.clone()) != status);
    }

    /// Fetches until nobody wants it, or it is hopeless.
    fn fetch(&mut self) {
        let (mut attempt, mut pause) = (0u32, self.spec.retry.0);
        loop {
            let (message, ran) = match self.try_once(attempt) {
                Ended::Unwanted => return,
                Ended::Lost(message, ran) => (message, ran),
                Ended::Over => {
                    self.hold(PullState::Stopped, "it is over".into(), 0, None);
                    return;
                }
                Ended::Hopeless(message) => {
                    tracing::warn!(stream = self.stream.name(), "cannot be pulled: {message}");
                    self.hold(PullState::Error, message, 0, None);
                    return;
                }
            };
            if ran {
                (attempt, pause) = (0, self.spec.retry.0);
            }
            attempt += 1;
            tracing::info!(stream = self.stream.name(), attempt, "pulled source lost: {message}");
            if !self.hold(PullState::Reconnecting, message, attempt, Some(pause)) {
                return;
            }
            pause = (pause * 2).min(self.spec.retry.1);
        }
    }

    /// Shows the slate, if there is one, for `time` (`None` = as long as it is wanted). `false` when nobody wants it any more.
    fn hold(&mut self, state: PullState, message: String, attempt: u32, time: Option<Duration>) -> bool {
        if self.spec.slate.is_none() {
            self.publication = None;
        }
        let until = time.map(|t| Instant::now() + t);
        while until.is_none_or(|until| Instant::now() < until) {
            self.show_slate();
            self.say(state, Some(message.clone()), attempt);
            if !self.is_wanted() {
                return false;
            }
        }
        true
    }

    /// Lets the slate, if there is one, go on for a moment.
    fn show_slate(&mut self) {
        let Some(wanted) = self.spec.slate.clone() else { return std::thread::sleep(LOOK) };
        let Some(mut slate) = self.slate.take() else {
            match self.spec.document(&wanted, true).and_then(|d| Play::start(d).map_err(|e| e.to_string())) {
                Ok(play) => self.slate = Some(play),
                Err(e) => {
                    tracing::warn!(stream = self.stream.name(), "the slate cannot be shown: {e}");
                    self.spec.slate = None;
                }
            }
            return;
        };
        match self.step(&mut slate) {
            Ok(Step::Ended { why, .. }) if !slate.has_played() => {
                tracing::warn!(stream = self.stream.name(), "the slate cannot be shown: {why}");
                self.spec.slate = None;
            }
            // A file that is over begins again.
            Ok(Step::Ended { .. }) => {}
            Ok(_) => self.slate = Some(slate),
            Err(Superseded) => self.publication = None,
        }
    }

    fn try_once(&mut self, attempt: u32) -> Ended {
        let state = if attempt == 0 { PullState::Starting } else { PullState::Reconnecting };
        let message = self.tell.borrow().message.clone().filter(|_| attempt > 0);
        self.say(state, message, attempt);
        if self.publication.is_none() && self.live.publisher(self.stream.name()).is_some() {
            return Ended::Lost("somebody else publishes the stream".into(), false);
        }
        let document = match self.spec.document(&self.spec.source, self.copy) {
            Ok(document) => document,
            Err(why) => return Ended::Hopeless(why),
        };
        let mut play = match Play::start(document) {
            Ok(play) => play,
            Err(e) => return Ended::Hopeless(e.to_string()),
        };
        loop {
            if !self.is_wanted() {
                return Ended::Unwanted;
            }
            let ready =
                play.has_played() || play.is_ready(if self.slate.is_some() { Duration::ZERO } else { LOOK });
            if !ready {
                if let Some(end) = play.end() {
                    return self.judge(end.why, end.kind, None);
                }
                if self.slate.is_some() {
                    self.show_slate();
                }
                continue;
            }
            if !play.has_played() {
                let recorded = play.is_recorded();
                if recorded && self.was_live {
                    // A playlist of what was live, to its end.
                    return Ended::Lost("it is over".into(), false);
                }
                self.was_live = !recorded;
            }
            self.slate = None;
            match self.step(&mut play) {
                Ok(Step::Ended { why, kind }) => return self.judge(why, kind, Some(&play)),
                Ok(_) => self.say(PullState::Running, None, 0),
                Err(Superseded) => {
                    self.publication = None;
                    return Ended::Lost("another publisher has taken the stream over".into(), false);
                }
            }
        }
    }

    /// What the end of a job means, which `ran` if it was ready.
    fn judge(&mut self, why: String, kind: Option<ErrorKind>, ran: Option<&Play>) -> Ended {
        let film = |play: &Play| play.is_recorded() && play.has_played() && play.end().is_some();
        let recorded = ran.is_some_and(film);
        let ran = ran.is_some();
        match kind {
            // Above all RTSP, which does not say when a picture is decoded: with B-frames it can only be encoded.
            Some(ErrorKind::Unsupported) if self.copy && why.contains("not copied") => {
                self.copy = false;
                Ended::Lost(why, true)
            }
            Some(ErrorKind::Invalid | ErrorKind::Denied | ErrorKind::Unsupported) if !ran => {
                Ended::Hopeless(why)
            }
            None if ran && matches!(self.spec.source, PullSource::File { repeat: false, .. }) => Ended::Over,
            None if recorded => Ended::Over,
            _ => Ended::Lost(why, ran),
        }
    }

    /// Lets `play` go on for a moment, as the stream's publisher.
    fn step(&mut self, play: &mut Play) -> std::result::Result<Step, Superseded> {
        if self.publication.is_none() {
            if !play.is_ready(LOOK) {
                return Ok(play.end().map_or(Step::Nothing, |e| Step::Ended { why: e.why, kind: e.kind }));
            }
            match self.live.publish(self.stream.name(), Publisher::new("pull", None)) {
                Ok(publication) => self.publication = Some(publication),
                Err(e) => return Ok(Step::Ended { why: e.to_string(), kind: None }),
            }
        }
        match &self.publication {
            Some(publication) => play.step(publication, &mut self.clock, LOOK),
            None => Ok(Step::Nothing),
        }
    }
}
