//! The live origin: HLS, LL-HLS, DASH and LL-DASH of any [`Stream`], from memory.
//!
//! One task per stream (`maker`) reads it, cuts its tracks into CMAF segments and parts once, and puts them into the
//! windows of its renditions (`window`); requests (`serve`) are answered from there, all viewers with the same bytes.
//! Who asks for what is not there yet is woken when it is. Playlists are RFC 8216bis (draft 22).
//!
//! What a stream's playlists promise never changes while it is open: the target durations are taken from its first group of
//! pictures (`learn`), which is waited for (10 s at most).
//! - Segments begin at key frames. Where none comes for longer than the target duration allows, the segment ends there and
//!   the next one begins without a key frame: who plays goes on, and who comes begins at the next part that says
//!   `INDEPENDENT`. For this, video playlists do not say `EXT-X-INDEPENDENT-SEGMENTS`.
//! - Another publisher, other tracks or a hole in time begin a *run*: a discontinuity in every rendition at once, with an
//!   init segment of its own. A rendition that a run does not have gets `EXT-X-GAP` in step with the others.
//! - Parts are named by a count of their own, not by their segment: a hint is right whether the part that comes ends the
//!   segment or begins the next, so that nothing needs to be guessed, and nobody asks in vain.
//! - The names have a token of the opening in them. No URI is ever used again.

pub(super) mod answer;
mod copy;
mod dash;
mod directives;
mod hls;
mod learn;
mod maker;
mod names;
mod serve;
mod shelf;
mod skew;
mod spill;
mod state;
mod texts;
mod transport;
pub(super) mod viewers;
mod window;

pub(super) use copy::{Copied, Copy, Follow, is_older};
pub(super) use shelf::Shelf;
pub(super) use spill::prepare;

use super::stream::{Start, Stream};
use crate::proxies::Peer;
use axum::Router;
use axum::extract::{Request, State as Extracted};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use state::State;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, watch};

/// How streams are packaged. What is out of range is brought into it.
#[derive(Clone, Debug, PartialEq)]
pub struct OriginOptions {
    /// Length of segments, where the key frames allow: 0.5 to 10 s.
    pub segment: Duration,
    /// Length of low-latency parts: 0.05 s to half a segment. What is promised is the nearest whole number of frames.
    pub part: Duration,
    /// Segments in a playlist, at least 4.
    pub playlist_size: usize,
    /// How far back one can seek; what `playlist_size` gives at least.
    pub dvr: Duration,
    /// Parts, blocking requests and chunked segments.
    pub low_latency: bool,
    /// HLS. Without it no playlist tells of the segments.
    pub hls: bool,
    /// HLS in MPEG-TS segments too (`ts.m3u8`), for players that know no fragmented MP4. They are kept beside the others.
    pub ts: bool,
    /// DASH too.
    pub dash: bool,
    /// How long a stream that has ended can still be fetched.
    pub keep: Duration,
    /// Bytes that one stream may take in memory. Where a longer window would need more, it is shorter.
    pub memory: u64,
    /// Where segments go that are eight target durations old; `None` keeps them in memory.
    pub spill: Option<PathBuf>,
}

impl Default for OriginOptions {
    fn default() -> Self {
        OriginOptions {
            segment: Duration::from_secs(2),
            part: Duration::from_millis(200),
            playlist_size: 10,
            dvr: Duration::ZERO,
            low_latency: true,
            hls: true,
            ts: false,
            dash: true,
            keep: Duration::from_secs(60),
            memory: 1 << 30,
            spill: None,
        }
    }
}

impl OriginOptions {
    fn checked(mut self) -> OriginOptions {
        self.segment = self.segment.clamp(Duration::from_millis(500), Duration::from_secs(10));
        self.part = self.part.clamp(Duration::from_millis(50), self.segment / 2);
        self.playlist_size = self.playlist_size.max(4);
        self.memory = self.memory.max(1 << 20);
        self
    }
}

/// All streams of a server as HLS and DASH. Cheap to clone; all methods may be called from any thread.
#[derive(Clone, Debug)]
pub struct Origins(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: OriginOptions,
    /// Where the streams of other nodes are.
    shelf: Option<Shelf>,
    open: Mutex<HashMap<String, Arc<Origin>>>,
}

impl Origins {
    /// No stream is open yet.
    pub fn new(options: OriginOptions) -> Origins {
        Origins::over(options, None)
    }

    /// As [`Origins::new`]; what is not open is looked for in `shelf`.
    pub(super) fn over(options: OriginOptions, shelf: Option<Shelf>) -> Origins {
        Origins(Arc::new(Inner { options: options.checked(), shelf, open: Mutex::default() }))
    }

    /// Packages `stream` from now on, until it ends or [`Origins::close`]. One that is open already is that one; another
    /// stream of the same name ends and is replaced. Must be called in a tokio runtime.
    pub fn open(&self, stream: Arc<Stream>) -> Arc<Origin> {
        self.open_with(stream, self.0.options.clone())
    }

    /// The options of all streams that have none of their own.
    pub fn options(&self) -> &OriginOptions {
        &self.0.options
    }

    /// As [`Origins::open`], with options of the stream's own.
    pub fn open_with(&self, stream: Arc<Stream>, options: OriginOptions) -> Arc<Origin> {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = open.get(stream.name()) {
            if there.is_of(&stream) {
                return there.clone();
            }
            there.stop.notify_one();
        }
        let origin = Origin::new(&stream, options.checked());
        open.insert(stream.name().into(), origin.clone());
        drop(open);
        // From this moment on, not from when the task runs.
        let reader = stream.work_on(Start::Group);
        let (made, registry) = (origin.clone(), Arc::downgrade(&self.0));
        tokio::spawn(async move {
            maker::run(&made, reader).await;
            // Who plays finds the end of it.
            tokio::time::sleep(made.options.keep).await;
            forget(&registry, &made);
        });
        origin
    }

    /// Ends the stream `name` for its viewers: its playlists say so, and are kept for [`OriginOptions::keep`].
    pub fn close(&self, name: &str) {
        if let Some(origin) = self.get(name) {
            origin.stop.notify_one();
        }
    }

    /// An open stream, or one that has just ended.
    pub fn get(&self, name: &str) -> Option<Arc<Origin>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Whether `name` is packaged, and has not ended.
    pub fn is_open(&self, name: &str) -> bool {
        self.get(name).is_some_and(|origin| !origin.lock().ended)
    }

    /// All of them.
    pub fn list(&self) -> Vec<Arc<Origin>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Answers a GET (or HEAD, whose body the caller leaves away) for `file` of stream `name`, when it can: a request for
    /// what comes next waits until it is there.
    pub async fn answer(&self, name: &str, file: &str, query: Option<&str>, headers: &HeaderMap) -> Response {
        self.answer_to(None, name, file, query, headers).await
    }

    /// As [`Origins::answer`], for who asks from `peer`: that tells viewers apart.
    pub async fn answer_to(
        &self,
        peer: Option<IpAddr>,
        name: &str,
        file: &str,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Response {
        match (self.get(name), &self.0.shelf) {
            (Some(origin), _) => origin.answer(peer, file, query, headers).await,
            (None, Some(shelf)) => shelf.stream(name, file, headers).await,
            (None, None) => answer::failure(404, "Stream not found", None),
        }
    }

    /// `GET /streams/{name}/playlist.m3u8`, `/streams/{name}/manifest.mpd` and the files that they name.
    pub fn router(&self) -> Router {
        async fn file(Extracted(origins): Extracted<Origins>, request: Request) -> Response {
            // What stands in names needs no escapes.
            let path = request.uri().path().strip_prefix("/streams/");
            match path.and_then(|path| path.rsplit_once('/')) {
                Some((name, file)) => {
                    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
                    let query = request.uri().query();
                    origins.answer_to(peer, name, file, query, request.headers()).await
                }
                None => answer::failure(404, "Not Found", None),
            }
        }
        let files = || get(file).options(async || answer::preflight());
        // Not one route for all: others have routes for /streams/{id}/ and a word.
        Router::new()
            .route("/streams/{id}/{file}", files())
            .route("/streams/{id}/{next}/{*rest}", files())
            .with_state(self.clone())
    }
}

fn forget(registry: &Weak<Inner>, origin: &Arc<Origin>) {
    let Some(registry) = registry.upgrade() else { return };
    let mut open = registry.open.lock().unwrap_or_else(PoisonError::into_inner);
    if open.get(&origin.name).is_some_and(|there| Arc::ptr_eq(there, origin)) {
        open.remove(&origin.name);
    }
}

/// One stream as HLS and DASH. All methods may be called from any thread.
#[derive(Debug)]
pub struct Origin {
    name: String,
    token: String,
    options: OriginOptions,
    /// Wall-clock time of the stream's time 0, in microseconds since 1970: as it was known when the first run began.
    epoch: OnceLock<i64>,
    of: Weak<Stream>,
    state: Mutex<State>,
    /// Says that the renditions are others, or are known now.
    changed: watch::Sender<()>,
    stop: Notify,
}

/// How an origin is doing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct OriginStats {
    /// Whether it can be played.
    pub ready: bool,
    /// Whether the stream is over.
    pub ended: bool,
    /// Who has asked for something within the last 15 s.
    pub viewers: usize,
    /// Requests so far.
    pub requests: u64,
    /// Bytes of media and playlists sent so far.
    pub bytes_sent: u64,
    /// Bytes of segments that are in memory.
    pub memory: u64,
    /// Runs so far: one more than there were discontinuities.
    pub runs: u64,
    /// Packets that could not be used: of tracks that cannot be packaged, or far ahead of the pictures.
    pub dropped: u64,
    /// `EXT-X-TARGETDURATION`, in seconds; 0 while it is not known.
    pub target_duration: u32,
    /// `PART-TARGET`, in seconds.
    pub part_target: f64,
    /// The segment that is being made.
    pub sequence: u64,
    /// Seconds of the stream's own time that have come so far.
    pub time: f64,
}

impl Origin {
    fn new(stream: &Arc<Stream>, options: OriginOptions) -> Arc<Origin> {
        Arc::new(Origin {
            name: stream.name().into(),
            token: names::token(),
            options,
            epoch: OnceLock::new(),
            of: Arc::downgrade(stream),
            state: Mutex::default(),
            changed: watch::Sender::new(()),
            stop: Notify::new(),
        })
    }

    fn epoch(&self) -> i64 {
        *self.epoch.get_or_init(|| {
            // A stream that is gone already is packaged for nobody.
            let epoch = self.of.upgrade().map_or_else(SystemTime::now, |stream| stream.epoch());
            epoch.duration_since(UNIX_EPOCH).ok().and_then(|d| i64::try_from(d.as_micros()).ok()).unwrap_or(0)
        })
    }

    /// The stream's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its stream is `stream`, and goes on.
    fn is_of(&self, stream: &Arc<Stream>) -> bool {
        std::ptr::eq(self.of.as_ptr(), Arc::as_ptr(stream)) && !self.lock().ended
    }

    /// How it is doing.
    pub fn stats(&self) -> OriginStats {
        self.lock().stats()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
