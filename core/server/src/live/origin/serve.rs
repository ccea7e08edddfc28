//! Requests: what is there is given, what comes next is waited for.

use super::Origin;
use super::answer::{self, Cache};
use super::directives::Directives;
use super::names::{self, File, Format};
use super::state::{Rendered, State, Text};
use super::viewers;
use super::window::{Have, Window};
use crate::contract::job::civil;
use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use ghoststream::packet::MediaKind;
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// What a look at the state gives.
enum Look<T> {
    /// This.
    Found(T),
    /// Nothing yet: when this tells, it is worth looking again.
    Later(watch::Receiver<()>),
}

impl Origin {
    /// Answers a GET for `file`.
    pub(super) async fn answer(
        self: &Arc<Self>,
        peer: Option<IpAddr>,
        file: &str,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Response {
        {
            let mut state = self.lock();
            state.requests += 1;
            state.viewers.saw((peer, viewers::who(headers)), Instant::now());
        }
        if let Some(stream) = self.of.upgrade() {
            stream.ask();
        }
        let (response, sent) = match file {
            names::MULTIVARIANT if self.options.hls => {
                self.whole(headers, answer::HLS, Format::Cmaf, |state| state.multivariant(Format::Cmaf)).await
            }
            names::MULTIVARIANT_TS if self.options.hls && self.options.ts => {
                self.whole(headers, answer::HLS, Format::Ts, |state| state.multivariant(Format::Ts)).await
            }
            names::MANIFEST if self.options.dash => {
                self.whole(headers, answer::DASH, Format::Cmaf, |state| state.manifest(micros())).await
            }
            names::TIME if self.options.dash => (answer::fresh(iso_time(SystemTime::now())), 0),
            _ => match File::parse(file, &self.token) {
                // Text in MP4 is told of by the manifest alone.
                Some((id, File::Playlist | File::Keys))
                    if !self.options.hls || Format::of(id) == Format::Wvtt =>
                {
                    (self.missing(Cache::Error), 0)
                }
                Some((id, File::Playlist)) => self.playlist(id, query, headers).await,
                Some((id, File::Keys)) => self.text(id, Text::Keys, Cache::Now, headers),
                Some((id, File::Segment(sequence))) => self.segment(file, id, sequence, headers).await,
                Some((id, which)) => self.piece(file, id, which, headers).await,
                None => (self.missing(Cache::Error), 0),
            },
        };
        self.lock().bytes_sent += sent;
        response
    }

    /// The target duration in seconds: before it is known, what it is going to be at least.
    fn target(&self) -> u32 {
        let least = u32::try_from(self.options.segment.as_secs()).unwrap_or(1).max(1);
        self.lock().facts.as_ref().map_or(least, |f| f.shape.target)
    }

    /// How long a request may be held: three target durations.
    fn patience(&self) -> Duration {
        Duration::from_secs(3 * u64::from(self.target()))
    }

    fn missing(&self, cache: Cache) -> Response {
        answer::failure(404, "Not Found", Some((cache, self.target())))
    }

    fn too_late(&self) -> (Response, u64) {
        (answer::failure(503, "Nothing new has come", None), 0)
    }

    /// Looks until something is found; `None` after [`Origin::patience`]. Nobody is asked again and again: whoever changes
    /// what is looked at says so.
    async fn wait<T>(&self, mut look: impl FnMut(&mut State) -> Look<T>) -> Option<T> {
        let deadline = tokio::time::Instant::now() + self.patience();
        loop {
            let mut changed = match look(&mut self.lock()) {
                Look::Found(found) => return Some(found),
                Look::Later(changed) => changed,
            };
            // An error says that the window is gone: the next look finds that.
            tokio::time::timeout_at(deadline, changed.changed()).await.ok()?.ok();
        }
    }

    /// What describes the whole stream, once that is known.
    async fn whole(
        &self,
        headers: &HeaderMap,
        kind: &'static str,
        format: Format,
        make: impl Fn(&State) -> Option<Rendered>,
    ) -> (Response, u64) {
        let found = self
            .wait(|state| match make(state).filter(|_| state.is_ready(format)) {
                Some(text) => Look::Found(Some(text)),
                None if state.ended => Look::Found(None),
                None => Look::Later(self.changed.subscribe()),
            })
            .await;
        match found {
            Some(Some(text)) => answer::text(headers, kind, &text, Cache::Now, self.target()),
            Some(None) => (self.missing(Cache::Error), 0),
            None => self.too_late(),
        }
    }

    fn text(&self, id: &str, text: Text, cache: Cache, headers: &HeaderMap) -> (Response, u64) {
        let mut state = self.lock();
        let index = state.window(id).filter(|(_, w)| text != Text::Keys || w.kind == MediaKind::Video);
        let rendered = index.map(|(i, _)| i).and_then(|i| state.text(i, text));
        drop(state);
        match rendered {
            Some(rendered) => answer::text(headers, answer::HLS, &rendered, cache, self.target()),
            None => (self.missing(Cache::Error), 0),
        }
    }

    async fn playlist(&self, id: &str, query: Option<&str>, headers: &HeaderMap) -> (Response, u64) {
        let refused = |why: &str| (answer::failure(400, why, Some((Cache::Error, self.target()))), 0);
        let low_latency = self.options.low_latency && Format::of(id).has_parts();
        let directives = match Directives::parse(query.filter(|_| low_latency)) {
            Ok(directives) => directives,
            Err(why) => return refused(&why),
        };
        let look = |state: &mut State, whole: bool| {
            let Some((index, window)) = state.window(id) else { return Look::Found(Err(None)) };
            let (Some(facts), Some(changed)) = (&state.facts, state.watch(index)) else {
                return Look::Found(Err(None));
            };
            // Directives mean nothing any more when nothing comes.
            let wanted = directives.sequence.filter(|_| !state.ended);
            let ready = match wanted {
                Some(sequence) => {
                    if let Err(why) = directives.check(window, facts.shape.part) {
                        return Look::Found(Err(Some(why)));
                    }
                    window.reached(sequence, directives.part)
                }
                None if whole => window.listed().1.next().is_some() || state.ended,
                None => window.last().is_some() || state.ended,
            };
            if !ready {
                return Look::Later(changed);
            }
            let text = if directives.skip { Text::Delta } else { Text::Full };
            let blocking = if wanted.is_some() { Cache::Blocking } else { Cache::Now };
            Look::Found(state.text(index, text).map(|text| (text, blocking)).ok_or(None))
        };
        // A player that knows no parts takes a playlist without segments for the end of it (FFmpeg does), so the first
        // one is waited for; parts alone are better than nothing when it takes too long.
        let found = match self.wait(|state| look(state, true)).await {
            None if directives.sequence.is_none() => match look(&mut self.lock(), false) {
                Look::Found(found) => Some(found),
                Look::Later(_) => None,
            },
            found => found,
        };
        match found {
            Some(Ok((text, cache))) => answer::text(headers, answer::HLS, &text, cache, self.target()),
            Some(Err(Some(why))) => refused(&why),
            Some(Err(None)) => (self.missing(Cache::Error), 0),
            None => self.too_late(),
        }
    }

    /// Parts and init segments: whole, or not at all.
    async fn piece(&self, name: &str, id: &str, which: File, headers: &HeaderMap) -> (Response, u64) {
        let mut blocked = false;
        let found = self
            .wait(|state| {
                let Some((index, window)) = state.window(id) else { return Look::Found(None) };
                let bytes = match which {
                    File::Part(number) => window.part(number).map(|p| p.bytes.clone()),
                    File::Init(run) => window.init(run).cloned(),
                    _ => None,
                };
                match (bytes, state.watch(index)) {
                    (None, Some(changed)) if state.is_hinted(window, which) => {
                        blocked = true;
                        Look::Later(changed)
                    }
                    (bytes, _) => Look::Found(bytes.map(|bytes| (bytes, mime(window)))),
                }
            })
            .await;
        match found {
            Some(Some((bytes, mime))) => {
                let cache = if matches!(which, File::Init(_)) { Cache::Forever } else { Cache::Blocking };
                answer::media(headers, name, mime, vec![bytes], cache, self.target())
            }
            Some(None) => (self.missing(if blocked { Cache::BlockingError } else { Cache::Error }), 0),
            None => self.too_late(),
        }
    }

    async fn segment(
        self: &Arc<Self>,
        name: &str,
        id: &str,
        sequence: u64,
        headers: &HeaderMap,
    ) -> (Response, u64) {
        let found = self
            .wait(|state| {
                let Some((index, window)) = state.window(id) else { return Look::Found(None) };
                match (window.segment(sequence), state.watch(index)) {
                    (Have::Soon, Some(changed)) if !state.ended => Look::Later(changed),
                    // Text's parts are files of their own, which do not make one together.
                    (Have::Some(_), Some(changed)) if window.format == Format::Text => match state.ended {
                        true => Look::Found(None),
                        false => Look::Later(changed),
                    },
                    (have, _) => Look::Found(Some((have, mime(window)))),
                }
            })
            .await;
        let (have, mime) = match found {
            Some(Some(found)) => found,
            Some(None) => return (self.missing(Cache::Error), 0),
            None => return self.too_late(),
        };
        match have {
            Have::Whole(chunks) => answer::media(headers, name, mime, chunks, Cache::Forever, self.target()),
            Have::Disk(spilled) => {
                let read = tokio::task::spawn_blocking(move || spilled.read()).await;
                match read.map_err(io::Error::other).flatten() {
                    Ok(bytes) => {
                        answer::media(headers, name, mime, vec![bytes], Cache::Forever, self.target())
                    }
                    Err(e) => {
                        tracing::warn!(stream = self.name, "a segment cannot be read: {e}");
                        (self.missing(Cache::Never), 0)
                    }
                }
            }
            Have::Some(_) => {
                let body = Body::from_stream(self.clone().chunks(id.to_string(), sequence));
                (answer::growing(name, mime, body), 0)
            }
            Have::Soon | Have::No => (self.missing(Cache::Error), 0),
        }
    }

    /// The chunks of a segment that is being made, as they come.
    fn chunks(
        self: Arc<Self>,
        id: String,
        sequence: u64,
    ) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send {
        let start = (self, id, VecDeque::new(), 0, false);
        futures_util::stream::try_unfold(
            start,
            move |(origin, id, mut ready, mut taken, mut whole)| async move {
                if ready.is_empty() && !whole {
                    let found = origin
                        .wait(|state| {
                            let Some((index, window)) = state.window(&id) else { return Look::Found(None) };
                            let (chunks, complete) = match window.segment(sequence) {
                                Have::Whole(chunks) => (chunks, true),
                                Have::Some(chunks) => (chunks, false),
                                Have::Disk(_) | Have::Soon | Have::No => return Look::Found(None),
                            };
                            match state.watch(index) {
                                Some(changed) if !complete && chunks.len() <= taken => Look::Later(changed),
                                _ => Look::Found(Some((chunks, complete))),
                            }
                        })
                        .await;
                    // Not a clean end: nobody may take it for the whole segment.
                    let (chunks, complete) =
                        found.flatten().ok_or_else(|| io::Error::other("the segment was given up"))?;
                    ready.extend(chunks.into_iter().skip(taken));
                    whole = complete;
                }
                let Some(chunk) = ready.pop_front() else { return Ok(None) };
                taken += 1;
                origin.lock().bytes_sent += chunk.len() as u64;
                Ok(Some((chunk, (origin, id, ready, taken, whole))))
            },
        )
    }
}

/// Microseconds since 1970.
fn micros() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros());
    i64::try_from(now).unwrap_or(i64::MAX)
}

/// `2026-11-20T23:38:16.123Z`.
fn iso_time(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = civil(since.as_secs() / 86_400);
    let seconds = since.as_secs() % 86_400;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

fn mime(window: &Window) -> &'static str {
    names::mime(window.format, window.kind)
}
