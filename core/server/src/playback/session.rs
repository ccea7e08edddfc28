//! A playback session: viewers ask for files, runs make them. What is made when, and for whom, is `making`'s part; what runs
//! say is `heard`'s; what names mean is `names`'.

use super::decide::{self, LONGEST_COPY, Method, Verdict};
use super::document::Shape;
use super::making::{State, look_after};
use super::names::Wanted;
use super::runs::Runner;
use super::segments::Key;
use super::subtitles::Subtitle;
use super::timeline::Timeline;
use super::{key_frame, playlists};
use crate::contract::request::ClientProfile;
use crate::jobs::{Body, Cache, Decision, FileError, Served};
use crate::worker::Failure;
use ghoststream::PipelineSpec;
use ghoststream::package::ts::TIME_OFFSET;
use ghoststream::spec::SubtitleChoice;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::watch;

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

/// What the state of the machine asks of a session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// What rates are multiplied with, against what the document says; 1 when the machine is well.
    pub quality: f64,
    /// Steps towards faster presets.
    pub faster: u8,
    /// Whether the top rung of a ladder is not offered.
    pub drop_top: bool,
}

impl Default for Load {
    fn default() -> Self {
        Load { quality: 1.0, faster: 0, drop_top: false }
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

pub(super) struct Inner {
    /// Its address.
    pub source: String,
    pub shape: Shape,
    pub subtitles: Vec<Subtitle>,
    pub verdict: Verdict,
    /// The source's own file, if the player can have it.
    pub original: Option<PathBuf>,
    pub runner: Arc<dyn Runner>,
    pub limits: Limits,
    pub state: Mutex<State>,
    /// Counts changes that somebody may wait for.
    pub changes: watch::Sender<u64>,
    /// For the tasks that it starts.
    pub me: Weak<Inner>,
}

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

impl Session {
    /// Opens a session. Nothing is made yet. The error is in words: above all that the source's length is not known.
    ///
    /// # Errors
    /// What keeps the source from being played on demand.
    pub async fn open(mut setup: Setup, runner: Arc<dyn Runner>) -> Result<Session, String> {
        let mut verdict = decide::decide(&setup.probe, &setup.spec, setup.profile.as_ref());
        let output = setup.spec.outputs.first().ok_or("nothing is asked for")?;
        let segment = output.segment.clone().unwrap_or_default();
        let (target, early) = (segment.duration.0, segment.first.map(|f| f.0));
        let start = setup.spec.source.start.map_or(0.0, |s| s.0);
        if setup.probe["seekable"].as_bool() != Some(true) {
            return Err("the source cannot be read from another place than its beginning".into());
        }
        if decide::copies(&setup.spec) && verdict.method == Method::Transcode {
            return Err(verdict.reason);
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
            let hidden = decide::hidden(&setup.probe);
            timeline = match hidden {
                Some(_) => None,
                None => Timeline::copied(&setup.probe, target, LONGEST_COPY.max(target * 1.5)),
            };
            if timeline.is_none() && verdict.method == Method::Remux {
                let reason = hidden.unwrap_or_else(|| {
                    format!("its key frames are more than {LONGEST_COPY:.0} s apart, so it cannot be copied")
                });
                if decide::copies(&setup.spec) {
                    return Err(reason);
                }
                verdict = Verdict { method: Method::Transcode, keep_audio: false, reason };
            }
        }
        // The file itself is offered; who wants segments of it all the same gets them encoded.
        let segments = match (&timeline, verdict.method) {
            (None, _) => Verdict { method: Method::Transcode, ..verdict.clone() },
            _ => verdict.clone(),
        };
        let timeline = timeline
            .or_else(|| Timeline::encoded(&setup.probe, target, early, start))
            .ok_or("the length of the source is not known")?;
        let shape = Shape::new(&setup.spec, &setup.probe, &segments, timeline, &setup.directory)?;
        let mut subtitles = Vec::new();
        let mut warnings = Vec::new();
        if let Some(SubtitleChoice::Tracks(tracks)) = setup.spec.outputs.first().map(|o| o.subtitles.clone())
        {
            let read = tokio::task::spawn_blocking(move || -> Vec<Result<Subtitle, String>> {
                tracks.iter().map(|t| Subtitle::open(t, start)).collect()
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
            source: setup.spec.source.url.clone().unwrap_or_default(),
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
            Wanted::Master => {
                let drop_top = inner.lock().load.drop_top;
                let list = playlists::multivariant(&inner.shape, &inner.subtitles, &known(), drop_top);
                text(list, HLS)
            }
            Wanted::Manifest => {
                text(playlists::manifest(&inner.shape, &inner.subtitles, &known()), "application/dash+xml")
            }
            Wanted::Media(rendition) => text(playlists::media(&inner.shape, rendition), HLS),
            Wanted::Subtitles(index) => text(playlists::subtitle(&inner.shape, index), HLS),
            Wanted::KeyFrames(rendition) => text(playlists::key_frames(&inner.shape, rendition), HLS),
            Wanted::KeyFrame(key) => inner.key_frame(key, hold).await,
            Wanted::SubtitleFile(index) => text(inner.cued(index, hold).await?.file(), "text/vtt"),
            Wanted::SubtitleSegment(index, number) => {
                let subtitle = inner.cued(index, hold).await?;
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

    /// Size and bits per second of each quality of the pictures.
    pub fn pictures(&self) -> Vec<((u32, u32), u64)> {
        let videos = self.0.shape.renditions.iter().filter(|r| r.is_video());
        videos.map(|r| ((r.width, r.height), r.average)).collect()
    }

    /// Whether segments are being made just now.
    pub fn is_making(&self) -> bool {
        self.0.lock().runs.iter().any(|r| !r.paused)
    }

    /// Seconds of media that the slowest of its runs makes in a second, halted ones aside; `None` while that is not known.
    pub fn speed(&self) -> Option<f64> {
        let inner = &self.0;
        let (now, length) = (Instant::now(), inner.shape.timeline.longest());
        let state = inner.lock();
        let running = state.runs.iter().filter(|r| !r.paused);
        running.filter_map(|r| r.speed(length, now)).reduce(f64::min)
    }

    /// Takes over what the machine can do now: runs that begin from here on have rates multiplied with `quality` and presets
    /// `faster` steps further, players that open it are not offered the top rung with `drop_top`. Running encoders get the new
    /// rate at once; where streams carry their parameters themselves (MPEG-TS) runs that nobody waits for begin anew, so that
    /// the preset changes with their next segment. False if that is what held before.
    pub fn adapt(&self, load: Load) -> bool {
        self.0.adapt(load)
    }

    /// Removes all segments but those that viewers are at; gives the bytes that were freed. Blocks while files go.
    pub fn make_room(&self) -> u64 {
        self.0.make_room(&mut self.0.lock())
    }

    /// Ends all runs, for good, and waits until nothing writes any more (some seconds at most). Who waits for a segment is told
    /// that there is none.
    pub async fn close(&self) {
        let inner = &self.0;
        let mut changes = inner.changes.subscribe();
        inner.lock().end();
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

impl Drop for Inner {
    fn drop(&mut self) {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner).end();
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
    /// The first key frame of a segment, which is the beginning of that segment.
    async fn key_frame(&self, key: Key, hold: Duration) -> Result<Served, FileError> {
        self.made(key, hold, true, |state| state.segments.has(key)).await?;
        let path = self.shape.directory.join(self.shape.path(key.0, key.1));
        let ts = self.shape.ts;
        let name = path.to_string_lossy().into_owned();
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = std::fs::read(&path)?;
            bytes.truncate(key_frame::end(&bytes, ts).unwrap_or(bytes.len()));
            Ok::<_, std::io::Error>(bytes)
        });
        let bytes = read.await.ok().and_then(Result::ok).ok_or(FileError::NotFound)?;
        let content_type = content_type(&name);
        Ok(Served { body: Body::Memory(bytes.into()), content_type, cache: Cache::Immutable, etag: None })
    }

    /// Whether `master.m3u8` is the media playlist itself, as clients of the original expect of one quality.
    fn plain(&self) -> bool {
        self.shape.renditions.len() == 1 && self.subtitles.is_empty() && !self.shape.ladder
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
        self.made(key, hold, false, |state| state.inits.get(rendition) == Some(&true)).await?;
        Ok(self.served(&name, 0))
    }

    async fn segment(&self, key: Key, hold: Duration) -> Result<Served, FileError> {
        {
            let mut state = self.lock();
            if let Some(wanted) = state.wanted.get_mut(key.0) {
                *wanted = Some((key.1, Instant::now()));
            }
        }
        self.made(key, hold, false, |state| state.segments.has(key)).await?;
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
}
