//! Streams that clients of the REST interfaces ask for: each is pulled, packaged, sent on, and stopped when nobody cares
//! for it any more.

use super::pull::{Pull, PullSource, PullSpec, PullState};
use super::push::{Push, PushState, PushTarget};
use super::registry::{Live, check_name};
use super::transcode::TranscodeSpec;
use crate::policy::SourcePolicy;
use ghoststream::{Error, ErrorKind, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Counts of events that are kept.
const EVENTS: usize = 4000;

/// What a client asked for.
#[derive(Clone, Debug)]
pub struct StreamRequest {
    /// The stream's name.
    pub id: String,
    /// From where.
    pub source: PullSource,
    /// Renditions by name (`720p`); empty for the source as it is.
    pub qualities: Vec<String>,
    /// Another picture than the source's: what a single encoder makes.
    pub picture: Option<TranscodeSpec>,
    /// Whether there is HLS.
    pub hls: bool,
    /// Whether there is HLS in MPEG-TS segments too; `None` as for all streams.
    pub hls_ts: Option<bool>,
    /// Whether there is DASH.
    pub dash: bool,
    /// Whether HLS and DASH have low latency.
    pub low_latency: bool,
    /// Where it is sent.
    pub targets: Vec<PushTarget>,
    /// Whether the source's sound is taken.
    pub sound: bool,
    /// Shown while the source is away.
    pub slate: Option<PullSource>,
    /// Fetch it only while somebody wants it, and this much longer.
    pub on_demand: Option<Duration>,
    /// Whether it is the operator's: it needs no heartbeats, and the policy of sources does not bind it.
    pub trusted: bool,
}

impl StreamRequest {
    /// The source as it is, as HLS and DASH of low latency.
    pub fn new(id: impl Into<String>, source: PullSource) -> StreamRequest {
        StreamRequest {
            id: id.into(),
            source,
            qualities: Vec::new(),
            picture: None,
            hls: true,
            hls_ts: None,
            dash: true,
            low_latency: true,
            targets: Vec::new(),
            sound: true,
            slate: None,
            on_demand: None,
            trusted: false,
        }
    }

    /// What is made of the source, if anything.
    ///
    /// # Errors
    /// The quality that there is not.
    pub fn transcode(&self) -> Result<Option<TranscodeSpec>> {
        match (&self.picture, self.qualities.is_empty()) {
            (Some(picture), _) => Ok(Some(picture.clone())),
            (None, true) => Ok(None),
            (None, false) => TranscodeSpec::ladder(&self.qualities).map(Some),
        }
    }
}

/// How a stream is doing, in the words of the GStreamer service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamState {
    /// Asked for and not started, or stopped.
    Stopped,
    /// No packet has come yet.
    Starting,
    /// It runs.
    Running,
    /// It broke off and is tried again.
    Reconnecting,
    /// It cannot run: the message says why.
    Error,
}

/// What is told of a stream.
#[derive(Clone, Debug)]
pub struct StreamView {
    /// What was asked for.
    pub request: StreamRequest,
    /// How it is doing.
    pub state: StreamState,
    /// Why it reconnects or failed.
    pub error: Option<String>,
    /// When it was asked for: seconds since 1970.
    pub created: f64,
    /// When a client last said that it cares: seconds since 1970.
    pub updated: f64,
    /// How long it has run.
    pub uptime: Option<Duration>,
}

#[derive(Debug)]
struct Managed {
    request: StreamRequest,
    created: f64,
    heartbeat: (Instant, f64),
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    since: Instant,
    pull: Pull,
    pushes: Vec<Push>,
}

/// All streams that were asked for. Cheap to clone; all methods may be called from any thread. What ends a stream waits for
/// its threads, some 100 ms.
#[derive(Clone, Debug)]
pub struct Streams {
    live: Live,
    policy: SourcePolicy,
    all: Arc<Mutex<BTreeMap<String, Managed>>>,
    events: Arc<Mutex<Events>>,
}

/// What has happened to streams.
#[derive(Debug, Default)]
struct Events {
    counts: BTreeMap<(String, &'static str), u64>,
    states: BTreeMap<String, StreamState>,
}

impl Streams {
    /// None yet; they are published in `live`, from sources that `policy` allows.
    pub fn new(live: Live, policy: SourcePolicy) -> Streams {
        Streams { live, policy, all: Arc::default(), events: Arc::default() }
    }

    /// Remembers a stream without starting it.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] when there is one of that name; [`ErrorKind::Invalid`] naming what is wrong with the request.
    pub fn create(&self, request: StreamRequest) -> Result<()> {
        check_name(&request.id).map_err(|why| Error::invalid("stream_id", why))?;
        self.check(&request)?;
        let mut all = self.lock();
        if all.contains_key(&request.id) {
            return Err(Error::new(ErrorKind::Busy, "Stream already active"));
        }
        apart(&request, &all)?;
        let now = unix();
        let managed = Managed {
            created: now,
            heartbeat: (Instant::now(), now),
            running: None,
            request: request.clone(),
        };
        all.insert(request.id, managed);
        Ok(())
    }

    /// Whether it can be asked for at all.
    fn check(&self, request: &StreamRequest) -> Result<()> {
        request.transcode()?;
        let bad = |why: String| Error::invalid("source_url", why);
        match &request.source {
            PullSource::Url { url, .. } if !url.contains("://") => {
                return Err(bad("this is no URL: it begins with a scheme, such as rtsp://".into()));
            }
            PullSource::Url { url: source, .. } | PullSource::File { path: source, .. }
                if !request.trusted =>
            {
                self.policy.check(source).map_err(|refused| bad(refused.to_string()))?;
            }
            _ => {}
        }
        request.targets.iter().try_for_each(PushTarget::check)
    }

    /// Starts a stream; one that runs goes on.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; what [`Pull::start`] and [`Push::start`] say.
    pub fn start(&self, id: &str) -> Result<()> {
        let mut all = self.lock();
        let managed = all.get_mut(id).ok_or_else(missing)?;
        if managed.running.is_some() {
            return Ok(());
        }
        let request = &managed.request;
        let spec = PullSpec {
            policy: (!request.trusted).then(|| self.policy.clone()),
            slate: request.slate.clone(),
            on_demand: request.on_demand,
            sound: request.sound,
            ..PullSpec::new(request.source.clone())
        };
        let pull = Pull::start(&self.live, id, spec)?;
        let pushes = request
            .targets
            .iter()
            .map(|t| Push::start(&self.live, pull.stream(), t.clone()))
            .collect::<Result<Vec<_>>>()?;
        managed.running = Some(Running { since: Instant::now(), pull, pushes });
        self.note(id, "start");
        Ok(())
    }

    /// Stops a stream; `false` when there is none.
    pub fn stop(&self, id: &str) -> bool {
        let mut all = self.lock();
        let Some(managed) = all.get_mut(id) else { return false };
        let running = managed.running.take();
        // Not under the lock: it waits.
        drop(all);
        if running.is_some() {
            self.note(id, "stop");
        }
        drop(running);
        true
    }

    /// Stops a stream and forgets it; `false` when there is none.
    pub fn remove(&self, id: &str) -> bool {
        let removed = self.lock().remove(id);
        if removed.as_ref().is_some_and(|managed| managed.running.is_some()) {
            self.note(id, "stop");
        }
        removed.is_some()
    }

    /// Gives a stream other settings; one that runs begins anew with them.
    ///
    /// # Errors
    /// As [`Streams::create`] and [`Streams::start`].
    pub fn configure(&self, request: StreamRequest) -> Result<()> {
        let id = request.id.clone();
        // One that cannot be leaves the stream as it is.
        self.check(&request)?;
        let ran = {
            let all = self.lock();
            let managed = all.get(&id).ok_or_else(missing)?;
            apart(&request, &all)?;
            managed.running.is_some()
        };
        self.remove(&id);
        self.create(request)?;
        if ran { self.start(&id) } else { Ok(()) }
    }

    /// A client cares for the stream; `false` when there is none.
    pub fn heartbeat(&self, id: &str) -> bool {
        match self.lock().get_mut(id) {
            Some(managed) => {
                managed.heartbeat = (Instant::now(), unix());
                true
            }
            None => false,
        }
    }

    /// How often what has happened to which stream: `start`, `stop`, `error`, `reconnect`.
    pub fn events(&self) -> Vec<((String, &'static str), u64)> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.counts.iter().map(|(what, n)| (what.clone(), *n)).collect()
    }

    /// Looks for streams that failed since it last looked.
    pub fn observe(&self) {
        let now: BTreeMap<String, StreamState> =
            self.list().into_iter().map(|view| (view.request.id, view.state)).collect();
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut events.states, now.clone());
        for (id, state) in now {
            let event = match state {
                StreamState::Error => "error",
                StreamState::Reconnecting => "reconnect",
                _ => continue,
            };
            if before.get(&id) != Some(&state) {
                events.count(&id, event);
            }
        }
    }

    fn note(&self, id: &str, event: &'static str) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).count(id, event);
    }

    /// One stream.
    pub fn get(&self, id: &str) -> Option<StreamView> {
        self.lock().get(id).map(view)
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<StreamView> {
        self.lock().values().map(view).collect()
    }

    /// Stops and forgets those that nobody has cared for in `age`, and gives their names.
    pub fn sweep(&self, age: Duration) -> Vec<String> {
        let stale: Vec<String> = {
            let all = self.lock();
            let stale = |m: &Managed| !m.request.trusted && m.heartbeat.0.elapsed() > age;
            all.iter().filter(|(_, m)| stale(m)).map(|(id, _)| id.clone()).collect()
        };
        for id in &stale {
            self.remove(id);
        }
        stale
    }

    /// Those that are fetched on demand and that nobody wants now.
    pub fn waiting(&self) -> Vec<String> {
        let waits =
            |m: &Managed| m.running.as_ref().is_some_and(|r| r.pull.status().state == PullState::Waiting);
        self.lock().iter().filter(|(_, m)| waits(m)).map(|(id, _)| id.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Managed>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events {
    /// Of very many streams only those that there are now are counted on.
    fn count(&mut self, id: &str, event: &'static str) {
        if self.counts.len() >= EVENTS {
            let states = &self.states;
            self.counts.retain(|(id, _), _| states.contains_key(id));
        }
        *self.counts.entry((id.into(), event)).or_default() += 1;
    }
}

/// Whether no other stream is recorded to where this one is to be.
fn apart(request: &StreamRequest, all: &BTreeMap<String, Managed>) -> Result<()> {
    for (id, other) in all.iter().filter(|(id, _)| **id != request.id) {
        let theirs = &other.request.targets;
        if let Some(target) = request.targets.iter().find(|t| theirs.iter().any(|o| t.collides(o))) {
            let why = format!("stream {id} is recorded into {}", target.label());
            return Err(Error::invalid("recording_path", why));
        }
    }
    Ok(())
}

fn missing() -> Error {
    Error::new(ErrorKind::NotFound, "Stream not found")
}

fn unix() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

fn view(managed: &Managed) -> StreamView {
    let (mut state, mut error) = (StreamState::Stopped, None);
    if let Some(running) = &managed.running {
        let status = running.pull.status();
        state = match status.state {
            PullState::Waiting | PullState::Running => StreamState::Running,
            PullState::Starting => StreamState::Starting,
            PullState::Reconnecting => StreamState::Reconnecting,
            PullState::Error => StreamState::Error,
            PullState::Stopped => StreamState::Stopped,
        };
        error = status.message;
        // A source that runs and cannot be delivered does not run.
        if state == StreamState::Running {
            for status in running.pushes.iter().map(Push::status) {
                match status.state {
                    PushState::Reconnecting => state = StreamState::Reconnecting,
                    PushState::Error => state = StreamState::Error,
                    _ => continue,
                }
                error = status.message;
            }
        }
    }
    StreamView {
        request: managed.request.clone(),
        state,
        error,
        created: managed.created,
        updated: managed.heartbeat.1,
        uptime: managed.running.as_ref().map(|r| r.since.elapsed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SourcesConfig;

    #[test]
    fn sources_that_can_never_play_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let film = root.path().join("film.mp4").to_string_lossy().into_owned();
        let rules = SourcesConfig { local_roots: vec![root.path().into()], ..SourcesConfig::default() };
        let streams = Streams::new(Live::new(true, 10), SourcePolicy::new(&rules));
        let file = |path: &str| PullSource::File { path: path.into(), repeat: false };
        let create = |source: PullSource| {
            let made = streams.create(StreamRequest::new("cam", source));
            streams.remove("cam");
            made.map_err(|e| e.message().to_string())
        };
        for wrong in [
            PullSource::url("cam.mp4"),
            PullSource::url(film.clone()),
            PullSource::url("user:secret@host/live"),
            file("/etc/passwd"),
            file("film.mp4"),
        ] {
            let why = create(wrong.clone()).unwrap_err();
            assert!(why.starts_with("source_url: ") && !why.contains("secret"), "{wrong:?}: {why}");
        }
        assert_eq!(create(file(&film)), Ok(()));
        assert_eq!(create(PullSource::url("rtsp://192.0.2.1/cam")), Ok(()));
    }
}
