//! A playback session: viewers ask for files, runs make them.

use super::decide::{self, LONGEST_COPY, Method, Verdict};
use super::document::Shape;
use super::playlists;
use super::runs::{Runner, Wheel};
use super::segments::{Key, Segments};
use super::subtitles::Subtitle;
use super::timeline::Timeline;
use crate::contract::request::ClientProfile;
use crate::jobs::{Body, Cache, Decision, FileError, Served};
use crate::worker::{Failure, Report};
use ghoststream::PipelineSpec;
use ghoststream::package::ts::TIME_OFFSET;
use ghoststream::spec::SubtitleChoice;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// What a session is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The document that would make the whole: its one output is HLS, DASH or both, and decides codecs, sizes and rates.
    pub spec: PipelineSpec,
    /// What is in its source.
    pub probe: Value,
    /// What the player can play, if it said.
    pub profile: Option<ClientProfile>,
    /// Where segments are kept; exists already.
    pub directory: PathBuf,
    /// How much it may do.
    pub limits: Limits,
}

/// How much a session may do and keep.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Runs at once.
    pub runs: usize,
    /// Seconds that a run may be ahead of the viewer.
    pub ahead: f64,
    /// A run that nobody follows for so long is ended.
    pub idle: Duration,
    /// Bytes of segments kept; what viewers are near to stays in any case.
    pub bytes: u64,
    /// Segments that nobody wanted for so long are removed.
    pub age: Duration,
    /// How long an answer is waited for at most.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            runs: 2,
            ahead: 24.0,
            idle: Duration::from_secs(45),
            bytes: 1 << 30,
            age: Duration::from_secs(1800),
            patience: Duration::from_secs(60),
        }
    }
}

/// A session as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Length of the whole, seconds.
    pub duration: f64,
    /// The furthest place that somebody has asked for, seconds.
    pub position: f64,
    /// Segments of the whole, and how many of them are there in the most complete rendition.
    pub segments: (u64, u64),
    /// Segments made so far, those that are gone and made again counted each time.
    pub made: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Runs that go on, and how many of them are halted.
    pub runs: (usize, usize),
    /// Runs begun so far.
    pub started: u64,
    /// How the source is brought to the player, and why.
    pub decision: Decision,
    /// The encoder of the pictures, once known.
    pub encoder: Option<String>,
    /// Fallbacks and other things worth knowing.
    pub warnings: Vec<String>,
}

/// A playback session; clones share it. Ends when the last clone is gone: its runs are cancelled, its files stay.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    shape: Shape,
    subtitles: Vec<Subtitle>,
    verdict: Verdict,
    /// The source's own file, if the player can have it.
    original: Option<PathBuf>,
    runner: Arc<dyn Runner>,
    limits: Limits,
    state: Mutex<State>,
    /// Counts changes that somebody may wait for.
    changes: watch::Sender<u64>,
    /// For the tasks that it starts.
    me: Weak<Inner>,
}

#[derive(Default)]
struct State {
    segments: Segments,
    inits: Vec<bool>,
    codecs: Vec<Option<String>>,
    /// What was last asked of each rendition, and when.
    wanted: Vec<Option<(u64, Instant)>>,
    waiting: HashMap<u64, Key>,
    runs: Vec<Run>,
    /// Runs that may still say something, also those that were ended.
    heard: usize,
    next_id: u64,
    /// Segments that the source turned out not to have.
    absent: Vec<Key>,
    /// Why the last run failed, and how often runs failed since one succeeded.
    failure: Option<(u64, String)>,
    failures: u32,
    software: bool,
    encoder: Option<String>,
    warnings: Vec<String>,
    started: u64,
}

struct Run {
    id: u64,
    renditions: Vec<usize>,
    /// What comes next of each of them.
    next: Vec<u64>,
    first: u64,
    end: u64,
    wheel: Arc<dyn Wheel>,
    paused: bool,
    /// Ticks since it was told to halt.
    told: u32,
    /// When somebody last wanted something of it.
    touched: Instant,
}

impl Run {
    /// What comes next of `rendition`, if it is one of them.
    fn next_of(&self, rendition: usize) -> Option<u64> {
        let at = self.renditions.iter().position(|r| *r == rendition)?;
        self.next.get(at).copied()
    }

    /// Whether it is going to make a segment, at most `reach` segments from now.
    fn makes(&self, (rendition, number): Key, reach: u64) -> bool {
        number < self.end
            && self
                .next_of(rendition)
                .is_some_and(|next| (next..=next.saturating_add(reach)).contains(&number))
    }
}

/// Segments that are waited for behind the one that is being made, before another run would be sooner.
const REACH: u64 = 2;
/// How often runs are looked after.
const TICK: Duration = Duration::from_millis(200);
/// A rendition that was asked for so recently is being watched.
const RECENT: Duration = Duration::from_secs(20);

/// How long runs may take to end.
const CLOSING: Duration = Duration::from_secs(8);

/// The name under which a player gets the source's own file.
pub fn original_name(path: &Path) -> &'static str {
    match path.extension().and_then(|e| e.to_str()) {
        Some("mp4" | "m4v") => "original.mp4",
        Some("webm") => "original.webm",
        Some("mkv") => "original.mkv",
        _ => "original.bin",
    }
}

/// What a name means.
enum Wanted {
    Master,
    Manifest,
    Media(usize),
    Init(usize),
    Segment(Key),
    Subtitles(usize),
    SubtitleSegment(usize, usize),
    SubtitleFile(usize),
    Original,
}

impl Session {
    /// Opens a session. Nothing is made yet. The error is in words: above all that the source's length is not known.
    ///
    /// # Errors
    /// What keeps the source from being played on demand.
    pub async fn open(mut setup: Setup, runner: Arc<dyn Runner>) -> Result<Session, String> {
        let mut verdict = decide::decide(&setup.probe, &setup.spec, setup.profile.as_ref());
        let output = setup.spec.outputs.first().ok_or("nothing is asked for")?;
        let target = output.segment.clone().unwrap_or_default().duration.0;
        let start = setup.spec.source.start.map_or(0.0, |s| s.0);
        if setup.probe["seekable"].as_bool() != Some(true) {
            return Err("the source cannot be read from another place than its beginning".into());
        }
        let mut timeline = None;
        if verdict.method != Method::Transcode {
            let known = decide::picture(&setup.probe).is_some_and(|s| s["keyframes"].is_array());
            if !known {
                match runner.probe(setup.spec.source.clone()).await {
                    Ok(probe) => setup.probe = probe,
                    Err(Failure { message, .. }) => return Err(message),
                }
            }
            timeline = Timeline::copied(&setup.probe, target, LONGEST_COPY.max(target * 1.5));
            if timeline.is_none() && verdict.method == Method::Remux {
                if setup.copies() {
                    return Err(format!(
                        "its key frames are more than {LONGEST_COPY:.0} s apart, so it cannot be copied"
                    ));
                }
                verdict = Verdict {
                    method: Method::Transcode,
                    keep_audio: false,
                    reason: format!("its key frames are more than {LONGEST_COPY:.0} s apart"),
                };
            }
        }
        // The file itself is offered; who wants segments of it all the same gets them encoded.
        let segments = match (&timeline, verdict.method) {
            (None, _) => Verdict { method: Method::Transcode, ..verdict.clone() },
            _ => verdict.clone(),
        };
        let timeline = timeline
            .or_else(|| Timeline::encoded(&setup.probe, target, start))
            .ok_or("the length of the source is not known")?;
        let shape = Shape::new(&setup.spec, &setup.probe, &segments, timeline, &setup.directory)?;
        let mut subtitles = Vec::new();
        let mut warnings = Vec::new();
        if let Some(SubtitleChoice::Tracks(tracks)) = setup.spec.outputs.first().map(|o| o.subtitles.clone())
        {
            let read = tokio::task::spawn_blocking(move || -> Vec<Result<Subtitle, String>> {
                tracks.iter().map(|t| Subtitle::read(t, start)).collect()
            });
            for track in read.await.map_err(|e| e.to_string())? {
                match track {
                    Ok(subtitle) => subtitles.push(subtitle),
                    Err(why) => warnings.push(why),
                }
            }
        }
        let count = shape.renditions.len();
        let original = (verdict.method == Method::Direct)
            .then(|| {
                setup.spec.source.url.as_deref().map(|u| PathBuf::from(u.strip_prefix("file:").unwrap_or(u)))
            })
            .flatten();
        let state = State {
            inits: vec![false; count],
            codecs: vec![None; count],
            wanted: vec![None; count],
            warnings,
            ..State::default()
        };
        let inner = Arc::new_cyclic(|me| Inner {
            me: me.clone(),
            shape,
            subtitles,
            verdict,
            original,
            runner,
            limits: setup.limits,
            state: Mutex::new(state),
            changes: watch::Sender::new(0),
        });
        tokio::spawn(look_after(Arc::downgrade(&inner)));
        Ok(Session(inner))
    }

    /// Begins to make the first segment, of the rendition that players begin with, and waits until it is there.
    ///
    /// # Errors
    /// Why it could not be made.
    pub async fn first(&self) -> Result<(), String> {
        if self.0.original.is_some() {
            return Ok(());
        }
        let inner = &self.0;
        // Players that know nothing of the network begin with the smallest.
        let videos = inner.shape.renditions.iter().enumerate().filter(|(_, r)| r.is_video());
        let rendition = videos.min_by_key(|(_, r)| r.peak).map_or(0, |(n, _)| n);
        match inner.segment((rendition, 0), inner.limits.patience).await {
            Ok(_) => Ok(()),
            Err(FileError::Failed(why)) => Err(why),
            Err(_) => Err("the first segment did not come in time".into()),
        }
    }

    /// The file `path` below the session; segments are made, and waited for at most `hold` (and never beyond the session's
    /// patience).
    ///
    /// # Errors
    /// No such file, or why it could not be made.
    pub async fn file(&self, path: &str, hold: Duration) -> Result<Served, FileError> {
        let inner = &self.0;
        let wanted = inner.meaning(path).ok_or(FileError::NotFound)?;
        let text = |text: String, content_type: &'static str| {
            Ok(Served { body: Body::Memory(text.into()), content_type, cache: Cache::NoCache, etag: None })
        };
        const HLS: &str = "application/vnd.apple.mpegurl";
        let known = || inner.lock().codecs.clone();
        match wanted {
            Wanted::Master if inner.plain() => text(playlists::media(&inner.shape, 0), HLS),
            Wanted::Master => text(playlists::multivariant(&inner.shape, &inner.subtitles, &known()), HLS),
            Wanted::Manifest => {
                text(playlists::manifest(&inner.shape, &inner.subtitles, &known()), "application/dash+xml")
            }
            Wanted::Media(rendition) => text(playlists::media(&inner.shape, rendition), HLS),
            Wanted::Subtitles(index) => text(playlists::subtitle(&inner.shape, index), HLS),
            Wanted::SubtitleFile(index) => {
                let subtitle = inner.subtitles.get(index).ok_or(FileError::NotFound)?;
                text(subtitle.file(), "text/vtt")
            }
            Wanted::SubtitleSegment(index, number) => {
                let subtitle = inner.subtitles.get(index).ok_or(FileError::NotFound)?;
                let (start, length) =
                    *inner.shape.timeline.segments.get(number).ok_or(FileError::NotFound)?;
                let last = number + 1 == inner.shape.timeline.segments.len();
                let end = if last { f64::INFINITY } else { start + length };
                let clock = if inner.shape.ts { TIME_OFFSET } else { 0 };
                text(subtitle.segment(start, end, clock), "text/vtt")
            }
            Wanted::Original => {
                let path = inner.original.clone().ok_or(FileError::NotFound)?;
                let content_type = content_type(&path.to_string_lossy());
                Ok(Served { body: Body::File(path), content_type, cache: Cache::NoCache, etag: None })
            }
            Wanted::Init(rendition) => inner.init(rendition, hold).await,
            Wanted::Segment(key) => inner.segment(key, hold).await,
        }
    }

    /// What a player opens first, below the session.
    pub fn entry(&self) -> &'static str {
        self.0.original.as_deref().map_or("master.m3u8", original_name)
    }

    /// How it stands.
    pub fn view(&self) -> View {
        let inner = &self.0;
        let state = inner.lock();
        let there = (0..inner.shape.renditions.len())
            .map(|r| (0..inner.shape.count()).filter(|n| state.segments.has((r, *n))).count() as u64)
            .max();
        let position = state.wanted.iter().flatten().map(|(n, _)| *n).max().unwrap_or(0);
        let at = |n: u64| inner.shape.timeline.segments.get(n as usize).map_or(0.0, |s| s.0);
        View {
            duration: inner.shape.timeline.duration(),
            position: at(position),
            segments: (inner.shape.count(), there.unwrap_or(0)),
            made: state.segments.total,
            bytes: state.segments.bytes(),
            runs: (state.runs.len(), state.runs.iter().filter(|r| r.paused).count()),
            started: state.started,
            decision: Decision {
                method: inner.verdict.method.name().into(),
                reason: inner.verdict.reason.clone(),
            },
            encoder: state.encoder.clone(),
            warnings: state.warnings.clone(),
        }
    }

    /// Ends all runs and waits until nothing writes any more (some seconds at most). What is asked for later starts new
    /// ones.
    pub async fn close(&self) {
        let inner = &self.0;
        let mut changes = inner.changes.subscribe();
        inner.lock().runs.drain(..).for_each(|run| run.wheel.cancel());
        inner.changed();
        let quiet = async {
            while inner.lock().heard > 0 {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(CLOSING, quiet).await.is_err() {
            tracing::warn!("a run of a playback session does not end");
        }
    }
}

impl Setup {
    fn copies(&self) -> bool {
        self.spec.outputs.first().is_some_and(|o| match &o.video {
            ghoststream::spec::VideoChoice::Track(v) => v.is_copy(),
            _ => false,
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.runs.drain(..).for_each(|run| run.wheel.cancel());
    }
}

/// Somebody waits for a segment; when nobody does any more, nothing needs to be made for them.
struct Waiting<'a> {
    inner: &'a Inner,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.inner.lock().waiting.remove(&self.id);
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("ts") => "video/mp2t",
        Some("m4s") => "video/iso.segment",
        Some("mp4" | "m4v") => "video/mp4",
        Some("webm") => "video/webm",
        Some("mkv") => "video/x-matroska",
        _ => "application/octet-stream",
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// Whether `master.m3u8` is the media playlist itself, as clients of the original expect of one quality.
    fn plain(&self) -> bool {
        self.shape.renditions.len() == 1 && self.subtitles.is_empty()
    }

    /// What the name `path` means; names that nobody was told mean nothing.
    fn meaning(&self, path: &str) -> Option<Wanted> {
        let number = |text: &str| -> Option<u64> {
            let plain = text.len() == 5 || (text.len() > 5 && !text.starts_with('0'));
            let n = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())??;
            (plain && n < self.shape.count()).then_some(n)
        };
        let rendition = |name: &str| self.shape.renditions.iter().position(|r| r.name == name);
        let subtitle = |name: &str| -> Option<usize> {
            let n: usize = name.strip_prefix("subtitles-")?.parse().ok()?;
            (n < self.subtitles.len()).then_some(n)
        };
        match path {
            "master.m3u8" => return Some(Wanted::Master),
            "manifest.mpd" => return self.shape.dash.then_some(Wanted::Manifest),
            _ if path.starts_with("original.") => return self.original.as_ref().map(|_| Wanted::Original),
            _ => {}
        }
        if let Some(n) = path.strip_prefix("segment_").and_then(|p| p.strip_suffix(".ts")) {
            return Some(Wanted::Segment((0, number(n)?))).filter(|_| self.shape.muxed);
        }
        let Some((folder, file)) = path.split_once('/') else {
            let (stem, extension) = path.rsplit_once('.')?;
            return match (extension, subtitle(stem)) {
                ("m3u8", Some(n)) => Some(Wanted::Subtitles(n)),
                ("vtt", Some(n)) => Some(Wanted::SubtitleFile(n)),
                ("m3u8", None) => rendition(stem).map(Wanted::Media),
                _ => None,
            };
        };
        let (stem, extension) = file.rsplit_once('.')?;
        match (rendition(folder), subtitle(folder)) {
            (Some(r), _) if file == "init.mp4" && !self.shape.ts => Some(Wanted::Init(r)),
            (Some(r), _) if extension == self.shape.extension() => Some(Wanted::Segment((r, number(stem)?))),
            (None, Some(s)) if extension == "vtt" => {
                Some(Wanted::SubtitleSegment(s, usize::try_from(number(stem)?).ok()?))
            }
            _ => None,
        }
    }

    fn served(&self, name: &str, serial: u64) -> Served {
        Served {
            body: Body::File(self.shape.directory.join(name)),
            content_type: content_type(name),
            cache: Cache::Immutable,
            etag: Some(format!("\"{serial}-{}\"", name.replace('/', "-"))),
        }
    }

    async fn init(&self, rendition: usize, hold: Duration) -> Result<Served, FileError> {
        let name = format!("{}/init.mp4", self.shape.renditions.get(rendition).map_or("", |r| &r.name));
        let key = {
            let state = self.lock();
            if state.inits.get(rendition) == Some(&true) {
                return Ok(self.served(&name, 0));
            }
            // It comes with any segment: best with one that is going to be asked for.
            let latest = state.wanted.iter().flatten().max_by_key(|(_, when)| *when);
            (rendition, latest.map_or(0, |(n, _)| (*n).min(self.shape.count().saturating_sub(1))))
        };
        self.made(key, hold, |state| state.inits.get(rendition) == Some(&true)).await?;
        Ok(self.served(&name, 0))
    }

    async fn segment(&self, key: Key, hold: Duration) -> Result<Served, FileError> {
        {
            let mut state = self.lock();
            if let Some(wanted) = state.wanted.get_mut(key.0) {
                *wanted = Some((key.1, Instant::now()));
            }
        }
        self.made(key, hold, |state| state.segments.has(key)).await?;
        let now = Instant::now();
        let mut state = self.lock();
        let made = state.segments.touch(key, now).ok_or(FileError::NotFound)?;
        for run in state
            .runs
            .iter_mut()
            .filter(|r| r.renditions.contains(&key.0) && (r.first..r.end).contains(&key.1))
        {
            run.touched = now;
        }
        self.provide(&mut state, key);
        Ok(self.served(&self.shape.path(key.0, key.1), made.serial))
    }

    /// Waits until `there`, which the making of `key` brings about.
    async fn made(&self, key: Key, hold: Duration, there: impl Fn(&State) -> bool) -> Result<(), FileError> {
        let until = tokio::time::Instant::now() + hold.min(self.limits.patience);
        let mut changes = self.changes.subscribe();
        let mut waiting: Option<Waiting<'_>> = None;
        let began = self.lock().failure.as_ref().map_or(0, |(id, _)| *id);
        loop {
            changes.borrow_and_update();
            {
                let mut state = self.lock();
                if there(&state) {
                    return Ok(());
                }
                if state.absent.contains(&key) {
                    return Err(FileError::NotFound);
                }
                if let Some((id, why)) = state.failure.as_ref().filter(|(id, _)| *id > began) {
                    tracing::debug!(run = id, "{why}");
                    return Err(FileError::Failed(why.clone()));
                }
                if waiting.is_none() {
                    state.next_id += 1;
                    let id = state.next_id;
                    state.waiting.insert(id, key);
                    waiting = Some(Waiting { inner: self, id });
                }
                self.ensure(&mut state, key, false);
            }
            if !matches!(tokio::time::timeout_at(until, changes.changed()).await, Ok(Ok(()))) {
                return Err(FileError::NotFound);
            }
        }
    }

    /// Sees to it that some run makes `key`. With `gently` only if that costs nobody anything.
    fn ensure(&self, state: &mut State, key: Key, gently: bool) {
        let now = Instant::now();
        let reach = if gently { u64::MAX } else { REACH };
        if let Some(run) = state.runs.iter_mut().find(|r| r.makes(key, reach)) {
            if !gently {
                run.touched = now;
                if std::mem::take(&mut run.paused) {
                    run.wheel.resume();
                }
            }
            return;
        }
        if state.runs.len() >= self.limits.runs.max(1) {
            // The one that nobody has wanted for the longest, if nobody waits for it; else this has to wait.
            let waiting: Vec<Key> = state.waiting.values().copied().collect();
            let idle = state
                .runs
                .iter()
                .enumerate()
                .filter(|(_, r)| !waiting.iter().any(|k| *k != key && r.makes(*k, REACH)))
                .filter(|(_, r)| !gently || now.saturating_duration_since(r.touched) > RECENT)
                .min_by_key(|(_, r)| r.touched)
                .map(|(n, _)| n);
            let Some(idle) = idle else { return };
            state.runs.remove(idle).wheel.cancel();
        }
        self.begin(state, key, now);
    }

    /// Starts a run at `key`.
    fn begin(&self, state: &mut State, (rendition, number): Key, now: Instant) {
        let mut set = vec![rendition];
        set.extend(self.partners(state, rendition, number, now));
        set.sort_unstable();
        // It stops where the segments of an earlier run begin.
        let made = |n: u64| set.iter().all(|r| state.segments.has((*r, n)));
        let end = (number + 1..self.shape.count()).find(|n| made(*n)).unwrap_or(self.shape.count());
        // Who is waited for has the machine for itself.
        let waiting: Vec<Key> = state.waiting.values().copied().collect();
        for run in state.runs.iter_mut().filter(|r| !waiting.iter().any(|k| r.makes(*k, u64::MAX))) {
            run.paused = true;
            run.wheel.pause();
        }
        let spec = self.shape.document(&set, number, end, state.software);
        let started = self.runner.start(spec);
        state.heard += 1;
        state.next_id += 1;
        state.started += 1;
        let id = state.next_id;
        state.runs.push(Run {
            id,
            next: vec![number; set.len()],
            renditions: set,
            first: number,
            end,
            wheel: started.wheel,
            paused: false,
            told: 0,
            touched: now,
        });
        tokio::spawn(listen(self.me.clone(), id, started.reports));
    }

    /// The renditions that are going to be asked for together with `rendition`.
    fn partners(&self, state: &State, rendition: usize, number: u64, now: Instant) -> Vec<usize> {
        let all = &self.shape.renditions;
        let video = all.get(rendition).is_some_and(|r| r.is_video());
        let recent = |n: &usize| {
            state
                .wanted
                .get(*n)
                .copied()
                .flatten()
                .filter(|(_, when)| now.saturating_duration_since(*when) < RECENT)
        };
        let others = || (0..all.len()).filter(|n| *n != rendition);
        let lacks =
            |n: &usize| !(number..number + 2).all(|m| m >= self.shape.count() || state.segments.has((*n, m)));
        // Of the other kind, the one that was asked for last, or the first sound.
        let other = others()
            .filter(|n| all[*n].is_video() != video)
            .filter_map(|n| recent(&n).map(|(_, when)| (when, n)))
            .max()
            .map(|(_, n)| n)
            .or_else(|| others().find(|n| video && !all[*n].is_video()));
        // Of the same kind, what somebody watches at this very place.
        let near = others().filter(|n| {
            all[*n].is_video() == video && recent(n).is_some_and(|(at, _)| at.abs_diff(number) <= 1)
        });
        let mut set: Vec<usize> = other.into_iter().chain(near).filter(lacks).collect();
        set.sort_unstable();
        set.dedup();
        set
    }

    /// Makes what comes behind `key` before it is asked for.
    fn provide(&self, state: &mut State, (rendition, number): Key) {
        let ahead = (self.limits.ahead / self.shape.timeline.longest().max(0.5) / 2.0).ceil() as u64;
        let last = self.shape.count().min(number.saturating_add(1 + ahead.max(1)));
        if let Some(n) = (number + 1..last).find(|n| !state.segments.has((rendition, *n)))
            && !state.absent.contains(&(rendition, n))
        {
            self.ensure(state, (rendition, n), true);
        }
    }

    /// Halts and continues runs, ends those that nobody follows, and removes old segments.
    fn tend(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        let state = &mut *state;
        let waiting: Vec<Key> = state.waiting.values().copied().collect();
        let awaited = |run: &Run| waiting.iter().any(|k| run.makes(*k, u64::MAX));
        let anybody = state.runs.iter().any(awaited);
        let begin = |n: u64| {
            self.shape.timeline.segments.get(n as usize).map_or(self.shape.timeline.duration(), |s| s.0)
        };
        for run in &mut state.runs {
            let follower = run
                .renditions
                .iter()
                .filter_map(|r| state.wanted.get(*r).copied().flatten())
                .filter(|(n, _)| (run.first..run.end).contains(n))
                .map(|(n, _)| n)
                .max()
                .unwrap_or(run.first);
            let made = run.next.iter().copied().min().unwrap_or(run.first);
            let ahead = begin(made) - begin(follower);
            let far = if run.paused { self.limits.ahead / 2.0 } else { self.limits.ahead };
            // Who is waited for has the machine for itself.
            let pause = !awaited(run) && (anybody || ahead > far);
            // Said again now and then: a run that has not begun does not hear it.
            run.told = if pause { run.told + 1 } else { 0 };
            match (pause, run.paused) {
                (true, _) if run.told % 5 == 1 => run.wheel.pause(),
                (false, true) => run.wheel.resume(),
                _ => {}
            }
            run.paused = pause;
        }
        let idle = self.limits.idle;
        state.runs.retain(|run| {
            let crowded = run.paused && self.runner.is_crowded();
            let keep = awaited(run) || (!crowded && now.saturating_duration_since(run.touched) < idle);
            if !keep {
                run.wheel.cancel();
            }
            keep
        });
        let near: Vec<Key> = state
            .wanted
            .iter()
            .enumerate()
            .filter_map(|(r, w)| {
                w.filter(|(_, when)| now.saturating_duration_since(*when) < RECENT).map(|(n, _)| (r, n))
            })
            .collect();
        let span = (self.limits.ahead / self.shape.timeline.longest().max(0.5)).ceil() as u64 + REACH;
        let keep = |(_, n): Key| near.iter().any(|(_, at)| (at.saturating_sub(1)..=at + span).contains(&n));
        for (rendition, number) in state.segments.evict(self.limits.bytes, self.limits.age, now, keep) {
            let path = self.shape.directory.join(self.shape.path(rendition, number));
            if let Err(e) = std::fs::remove_file(&path) {
                tracing::debug!(error = %e, "a segment was gone already");
            }
        }
    }

    /// What a run has to say; `false` when it is over.
    fn hear(&self, id: u64, report: Report) -> bool {
        let now = Instant::now();
        match report {
            Report::Segment { name, .. } => self.take(id, &name, now),
            Report::Plan(plan) => {
                if let Some(encoder) = plan.video_encoder() {
                    self.lock().encoder = Some(encoder.to_string());
                }
            }
            Report::Warning { code, message } if code == "fallback" || code == "source" => {
                let mut state = self.lock();
                if !state.warnings.contains(&message) && state.warnings.len() < 50 {
                    state.warnings.push(message);
                }
            }
            Report::Done(done) => {
                let failure = Failure::of_done(&done).map(|f| f.message);
                self.over(id, failure, done.outcome == "completed");
                return false;
            }
            Report::Lost(why) => {
                self.over(id, Some(why), false);
                return false;
            }
            _ => {}
        }
        true
    }

    /// A file of a run is in its place.
    fn take(&self, id: u64, name: &str, now: Instant) {
        let Some((folder, file)) = name.split_once('/') else { return };
        let Some(rendition) = self.shape.renditions.iter().position(|r| r.name == folder) else { return };
        let path = self.shape.directory.join(name);
        if file == "init.mp4" {
            let codecs = std::fs::read(&path).ok().and_then(|b| playlists::read_codecs(&b, false));
            let mut state = self.lock();
            if let Some(said) = state.codecs.get_mut(rendition).filter(|_| codecs.is_some()) {
                *said = codecs;
            }
            if let Some(there) = state.inits.get_mut(rendition) {
                *there = true;
            }
            drop(state);
            self.changed();
            return;
        }
        let Some(number) = file.split('.').next().and_then(|n| n.parse::<u64>().ok()) else { return };
        let bytes = std::fs::metadata(&path).map_or(0, |m| m.len());
        let mut state = self.lock();
        state.failures = 0;
        state.segments.insert((rendition, number), bytes, now);
        if let Some(run) = state.runs.iter_mut().find(|r| r.id == id)
            && let Some(at) = run.renditions.iter().position(|r| *r == rendition)
            && let Some(next) = run.next.get_mut(at)
        {
            *next = number + 1;
        }
        drop(state);
        self.changed();
    }

    /// A run has ended.
    fn over(&self, id: u64, failure: Option<String>, completed: bool) {
        let mut state = self.lock();
        let Some(at) = state.runs.iter().position(|r| r.id == id) else { return };
        let run = state.runs.remove(at);
        if let Some(why) = failure {
            state.failures += 1;
            if !state.software && state.failures == 1 {
                // Whatever it was, the next try asks less of the machine. Who waits starts it.
                state.software = true;
                state.warnings.push(format!("{why}; going on in software"));
            } else {
                state.failure = Some((id, why));
            }
        } else if completed {
            // What it was to make and has not made is not in the source. Reports may get lost, files do not.
            let missing: Vec<Key> = run
                .renditions
                .iter()
                .zip(&run.next)
                .flat_map(|(r, next)| (*next..run.end).map(move |n| (*r, n)))
                .collect();
            for key in missing {
                let path = self.shape.directory.join(self.shape.path(key.0, key.1));
                match std::fs::metadata(path) {
                    Ok(file) => state.segments.insert(key, file.len(), Instant::now()),
                    Err(_) => state.absent.push(key),
                }
            }
        }
        drop(state);
        self.changed();
    }
}

/// Looks after the runs of a session for as long as it lives.
async fn look_after(inner: Weak<Inner>) {
    let mut tick = tokio::time::interval(TICK);
    loop {
        tick.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        // Removing files blocks, for a moment.
        let tended = tokio::task::spawn_blocking(move || inner.tend()).await;
        if tended.is_err() {
            tracing::error!("a playback session could not be looked after");
        }
    }
}

/// Hears what a run has to say.
async fn listen(inner: Weak<Inner>, id: u64, mut reports: mpsc::UnboundedReceiver<Report>) {
    while let Some(report) = reports.recv().await {
        let Some(inner) = inner.upgrade() else { return };
        if !inner.hear(id, report) {
            break;
        }
    }
    if let Some(inner) = inner.upgrade() {
        // Nothing happens if it has said how it ended.
        inner.over(id, Some("the run ended without a word".into()), false);
        inner.lock().heard -= 1;
        inner.changed();
    }
}
