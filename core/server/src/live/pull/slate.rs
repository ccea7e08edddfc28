//! What is shown of a stream while its publisher is away.

use super::play::{Clock, Play, Step};
use super::source::{self, PullEncode, PullSource};
use crate::live::registry::{Live, Publication, Publisher, Refused, SLATE};
use crate::policy::SourcePolicy;
use ghoststream::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often it is looked who publishes.
const LOOK: Duration = Duration::from_millis(50);
/// How long is waited after the source of the slate has failed.
const RETRY: Duration = Duration::from_secs(5);
/// Seconds that one read of its source may take.
const TIMEOUT: f64 = 10.0;

/// What is shown, and when.
#[derive(Clone, Debug)]
pub struct SlateSpec {
    /// What: a file or a test picture, or another address.
    pub source: PullSource,
    /// How long the publisher may be away before it is shown.
    pub after: Duration,
    /// Show it also before the first publisher has come.
    pub at_once: bool,
    /// Which sources are allowed; `None` = all.
    pub policy: Option<SourcePolicy>,
    /// How what cannot be carried gets encoded.
    pub encode: PullEncode,
}

/// Shows something on a stream while nobody else publishes it; whoever comes replaces it, also where publishers may not
/// replace each other. Times go on. The stream stays while nobody publishes it. Dropping it ends the showing, within some
/// 100 ms. All methods may be called from any thread.
#[derive(Debug)]
pub struct Slate {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Slate {
    /// Watches stream `name` from now on.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a name that cannot be one; [`ErrorKind::Busy`] when there are too many streams;
    /// [`ErrorKind::Memory`] when the system gives no thread.
    pub fn start(live: &Live, name: &str, spec: SlateSpec) -> Result<Slate> {
        live.keep(name).map_err(|e| match &e {
            Refused::Name(_) => Error::invalid("name", e.to_string()),
            Refused::Taken | Refused::Full(_) => Error::new(ErrorKind::Busy, e.to_string()),
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let watcher = Watcher { live: live.clone(), name: name.into(), spec, stop: stop.clone() };
        let thread = std::thread::Builder::new()
            .name("gs-slate".into())
            .spawn(move || watcher.work())
            .map_err(|e| Error::with_source(ErrorKind::Memory, "cannot start a thread", e))?;
        Ok(Slate { stop, thread: Some(thread) })
    }
}

impl Drop for Slate {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A panic in it has been told where it happened.
            let _ = thread.join();
        }
    }
}

struct Watcher {
    live: Live,
    name: String,
    spec: SlateSpec,
    stop: Arc<AtomicBool>,
}

impl Watcher {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn work(&self) {
        let mut clock = Clock::new();
        let mut waits = !self.spec.at_once;
        let mut away: Option<Instant> = None;
        while !self.is_stopped() {
            if self.live.publisher(&self.name).is_some() {
                (waits, away) = (false, None);
            } else if !waits && away.get_or_insert_with(Instant::now).elapsed() >= self.spec.after {
                if let Err(why) = self.show(&mut clock) {
                    tracing::warn!(stream = self.name, "the slate cannot be shown: {why}");
                    self.pause(RETRY);
                }
                continue;
            }
            std::thread::sleep(LOOK);
        }
    }

    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.is_stopped() {
            std::thread::sleep(LOOK);
        }
    }

    /// Shows it until somebody else publishes, or it is over.
    fn show(&self, clock: &mut Clock) -> std::result::Result<(), String> {
        let spec = &self.spec;
        let document = source::document(&spec.source, spec.policy.as_ref(), TIMEOUT, &spec.encode, true)
            .map_err(|e| e.to_string())?;
        let mut play = Play::start(document).map_err(|e| e.to_string())?;
        while !play.is_ready(LOOK) {
            if let Some(end) = play.end() {
                return Err(end.why);
            }
            if self.is_stopped() || self.live.publisher(&self.name).is_some() {
                return Ok(());
            }
        }
        // Refused: somebody has come meanwhile.
        let Ok(publication) = self.live.publish(&self.name, Publisher::new(SLATE, None)) else {
            return Ok(());
        };
        self.play(&mut play, &publication, clock)
    }

    fn play(
        &self,
        play: &mut Play,
        publication: &Publication,
        clock: &mut Clock,
    ) -> std::result::Result<(), String> {
        while !self.is_stopped() {
            match play.step(publication, clock, LOOK) {
                // Somebody else publishes.
                Err(_) => return Ok(()),
                Ok(Step::Ended { kind: None, .. }) => return Ok(()),
                Ok(Step::Ended { why, .. }) => return Err(why),
                Ok(Step::Packet | Step::Nothing) => {}
            }
        }
        Ok(())
    }
}
