//! What is in the object store, for who asks here: the films that nodes made together, and the streams of other nodes. Any node serves
//! them. A playlist is fetched whole and media piece by piece, each once for all who ask for it at the same time, and kept for a moment.
//! A reader holds one piece, however slow it is and however long the file.

use super::answer::{self, Cache, DASH, HLS};
use super::names;
use super::skew::Skew;
use super::state::Rendered;
use crate::store::Store;
use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use ghoststream::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{OnceCell, Semaphore};

/// Bytes that are kept at most, and how long: media, which is the same for ever, and what changes or was not there.
const BUDGET: u64 = 64 << 20;
const MEDIA: Duration = Duration::from_secs(30);
const MOMENT: Duration = Duration::from_secs(1);
/// The largest playlist.
const LARGEST: u64 = 16 << 20;
/// What is fetched of media at once.
const PIECE: u64 = 1 << 20;
/// A stream whose playlist is older than this is over, or its node is: nobody is told that it goes on.
const FRESH: Duration = Duration::from_secs(60);
/// Pieces that are fetched at once, and how long one of them may take.
const FETCHES: usize = 8;
const PATIENCE: Duration = Duration::from_secs(20);
/// The target duration that errors are kept by.
const TARGET: u32 = 2;

/// The object store as players see it. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::live) struct Shelf(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    /// Whether streams are in it.
    streams: bool,
    /// By key and number of the piece.
    kept: Mutex<HashMap<(String, u64), Entry>>,
    fetches: Semaphore,
    patience: Duration,
    skew: Skew,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    file: Arc<OnceCell<Result<Option<File>>>>,
}

#[derive(Debug)]
struct File {
    content: Content,
    modified: SystemTime,
}

#[derive(Debug)]
enum Content {
    Text(&'static str, Rendered),
    Media(Media),
}

/// A piece of media.
#[derive(Debug)]
struct Media {
    bytes: Bytes,
    /// Length of the whole file.
    size: u64,
    /// What names this very file in the store.
    tag: Option<String>,
}

impl Entry {
    fn size(&self) -> u64 {
        match self.file.get() {
            Some(Ok(Some(File { content: Content::Media(media), .. }))) => media.bytes.len() as u64,
            Some(Ok(Some(File { content: Content::Text(_, text), .. }))) => text.plain.len() as u64,
            _ => 0,
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        let life = match self.file.get() {
            Some(Ok(Some(File { content: Content::Media(_), .. }))) => MEDIA,
            _ => MOMENT,
        };
        // One that somebody waits for is not.
        Arc::strong_count(&self.file) == 1 && now.duration_since(self.at) >= life
    }
}

/// What a file is, by its name. What players do not ask for, the notes of those who make a film among it, is none of theirs.
fn kind(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "m3u8" => HLS,
        "mpd" => DASH,
        "m4s" | "mp4" => "video/mp4",
        "ts" => "video/mp2t",
        "vtt" => "text/vtt",
        _ => return None,
    })
}

impl Shelf {
    /// What is in `store`; `streams`: streams too.
    pub fn new(store: Store, streams: bool) -> Shelf {
        Shelf::patient(store, streams, PATIENCE)
    }

    fn patient(store: Store, streams: bool, patience: Duration) -> Shelf {
        let fetches = Semaphore::new(FETCHES);
        let kept = Mutex::default();
        Shelf(Arc::new(Inner { store, streams, kept, fetches, patience, skew: Skew::default() }))
    }

    /// Answers a GET for a file of a film: its name, a slash, and the file's.
    pub async fn film(&self, path: &str, headers: &HeaderMap) -> Response {
        self.answer(&format!("films/{path}"), None, headers).await
    }

    /// Answers a GET for a file of a stream that is not here.
    pub async fn stream(&self, name: &str, file: &str, headers: &HeaderMap) -> Response {
        if !self.0.streams {
            return answer::failure(404, "Stream not found", None);
        }
        // Those that name the others are written once: the others' age tells.
        let fresh = ![names::MULTIVARIANT, names::MULTIVARIANT_TS].contains(&file);
        let fresh = fresh.then_some(FRESH);
        self.answer(&format!("streams/{name}/{file}"), fresh, headers).await
    }

    /// Playlists that are older than `fresh` are not there.
    async fn answer(&self, key: &str, fresh: Option<Duration>, headers: &HeaderMap) -> Response {
        let missing = || answer::failure(404, "Not Found", Some((Cache::Error, TARGET)));
        let Some(kind) = kind(key) else { return missing() };
        let cell = self.entry(key, 0);
        // A failure is kept for a moment, too: who waits for the same file does not ask again, one behind the other.
        let found = match cell.get_or_init(|| self.in_turn(key, self.first(key, kind))).await {
            Ok(found) => found.as_ref(),
            // What no key can be.
            Err(e) if e.kind() == ErrorKind::Invalid => None,
            Err(e) => {
                tracing::warn!("what is asked for cannot be fetched: {e}");
                return answer::failure(503, "The object store does not answer", None);
            }
        };
        let Some(file) = found else { return missing() };
        if let (Some(fresh), Content::Text(..)) = (fresh, &file.content)
            && self.0.skew.age(&self.0.store, file.modified).await > fresh
        {
            return missing();
        }
        match &file.content {
            Content::Text(kind, text) => answer::text(headers, kind, text, Cache::Now, TARGET).0,
            Content::Media(media) => {
                let mut hasher = DefaultHasher::new();
                (key, file.modified).hash(&mut hasher);
                let tag = format!("{:x}", hasher.finish());
                answer::ranged(headers, &tag, kind, media.size, (Cache::Forever, TARGET), |wanted| {
                    let same = media.tag.clone();
                    Body::from_stream(self.clone().pieces(key.to_string(), same, wanted))
                })
                .0
            }
        }
    }

    fn entry(&self, key: &str, piece: u64) -> Arc<OnceCell<Result<Option<File>>>> {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        kept.retain(|_, entry| !entry.is_over(now));
        let mut bytes: u64 = kept.values().map(Entry::size).sum();
        while bytes > BUDGET
            && let Some(oldest) = kept.iter().min_by_key(|(_, e)| e.at).map(|(key, _)| key.clone())
            && let Some(gone) = kept.remove(&oldest)
        {
            bytes -= gone.size();
        }
        let entry = || Entry { at: now, file: Arc::default() };
        kept.entry((key.into(), piece)).or_insert_with(entry).file.clone()
    }

    /// A few at a time, none of them for long.
    async fn in_turn(&self, key: &str, fetch: impl Future<Output = Result<File>>) -> Result<Option<File>> {
        let fetched = async {
            let _turn = self.0.fetches.acquire().await;
            fetch.await
        };
        let fetched = tokio::time::timeout(self.0.patience, fetched)
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, format!("{key}: it takes too long"))));
        match fetched {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// What tells of a file: all of a playlist, the first piece of media.
    async fn first(&self, key: &str, kind: &'static str) -> Result<File> {
        if kind != HLS && kind != DASH {
            return self.piece(key, 0, None).await;
        }
        let (bytes, modified) = self.0.store.fetch(key, LARGEST).await?;
        let text = Rendered::new(String::from_utf8_lossy(&bytes).into_owned());
        Ok(File { content: Content::Text(kind, text), modified })
    }

    /// A piece of media; `same`: of the file that the first one was of.
    async fn piece(&self, key: &str, n: u64, same: Option<String>) -> Result<File> {
        let piece = self.0.store.piece(key, n * PIECE..(n + 1) * PIECE, same).await?;
        let media = Media { bytes: piece.bytes, size: piece.size, tag: piece.tag };
        Ok(File { content: Content::Media(media), modified: piece.modified })
    }

    /// The bytes of a file that are `wanted`, fetched when the reader takes them. What goes wrong cuts them off.
    fn pieces(
        self,
        key: String,
        same: Option<String>,
        wanted: Range<u64>,
    ) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send {
        futures_util::stream::try_unfold((self, key, wanted), move |(shelf, key, wanted)| {
            let same = same.clone();
            async move {
                if wanted.is_empty() {
                    return Ok(None);
                }
                let n = wanted.start / PIECE;
                let cell = shelf.entry(&key, n);
                let fetch = || shelf.in_turn(&key, shelf.piece(&key, n, same.clone()));
                let bytes = match cell.get_or_init(fetch).await {
                    // A piece that was kept of the file before is none of this one.
                    Ok(Some(File { content: Content::Media(media), .. })) if media.tag == same => {
                        let at = |byte: u64| {
                            usize::try_from((byte - n * PIECE).min(media.bytes.len() as u64))
                                .unwrap_or_default()
                        };
                        media.bytes.slice(at(wanted.start)..at(wanted.end))
                    }
                    Ok(_) => Bytes::new(),
                    Err(e) => {
                        tracing::warn!("what is being read cannot be fetched: {e}");
                        return Err(io::Error::other(e.to_string()));
                    }
                };
                if bytes.is_empty() {
                    return Err(io::Error::other(format!("{key}: it is not what it was")));
                }
                drop(cell);
                let rest = wanted.start + bytes.len() as u64..wanted.end;
                Ok(Some((bytes, (shelf, key, rest))))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreConfig;
    use crate::live::{OriginOptions, Origins};
    use futures_util::stream::BoxStream;
    use http_body_util::BodyExt;
    use object_store::memory::InMemory;
    use object_store::path::Path as Key;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
        ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    };
    use std::fmt;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn shelf(root: &Path) -> Shelf {
        let url = Some(format!("file://{}", root.display()));
        Shelf::new(Store::open(&StoreConfig { url, ..StoreConfig::default() }).unwrap(), true)
    }

    fn put(root: &Path, key: &str, text: &str) {
        let path = root.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    async fn body(response: Response) -> (u16, String, String) {
        let (parts, body) = response.into_parts();
        let said = |name: &str| parts.headers.get(name).map_or("", |v| v.to_str().unwrap()).to_string();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        (parts.status.as_u16(), format!("{}; {}", said("content-type"), said("cache-control")), text)
    }

    #[tokio::test]
    async fn films_are_served_and_nothing_else_is() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "films/one/master.m3u8", "#EXTM3U\n");
        put(root.path(), "films/one/v0/0.m4s", "0123456789");
        put(root.path(), "films/one/plan.json", "its source");
        put(root.path(), "jobs/1/master.m3u8", "#EXTM3U\n");
        let (shelf, none) = (shelf(root.path()), HeaderMap::new());
        let film = async |path: &str| body(shelf.film(path, &none).await).await;
        let playlist = ("application/vnd.apple.mpegurl; public, max-age=1".into(), "#EXTM3U\n".into());
        assert_eq!(film("one/master.m3u8").await, (200, playlist.0, playlist.1));
        let (status, said, text) = film("one/v0/0.m4s").await;
        assert_eq!((status, text.as_str()), (200, "0123456789"));
        assert_eq!(said, "video/mp4; public, max-age=31536000, immutable");
        let mut range = HeaderMap::new();
        range.insert("range", "bytes=2-4".parse().unwrap());
        assert_eq!(body(shelf.film("one/v0/0.m4s", &range).await).await.2, "234");
        for path in
            ["one/plan.json", "one/none.m4s", "../jobs/1/master.m3u8", "one//master.m3u8", "one", "x?.m3u8"]
        {
            let (status, said, text) = film(path).await;
            assert_eq!((status, said.starts_with("application/json")), (404, true), "{path}: {text}");
        }
    }

    #[tokio::test]
    async fn streams_of_other_nodes_are_served_while_they_go_on() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "streams/far/cam/playlist.m3u8", "#EXTM3U\n");
        put(root.path(), "streams/far/cam/v0_1_s1.m4s", "media");
        put(root.path(), "streams/over/playlist.m3u8", "#EXTM3U\n");
        put(root.path(), "streams/over/v0_1_s1.m4s", "media");
        let old = SystemTime::now() - FRESH - Duration::from_secs(5);
        for cam in ["far/cam", "over"] {
            put(root.path(), &format!("streams/{cam}/v0.m3u8"), "#EXTM3U\n");
        }
        // Those that name the others are written once, whatever happens then.
        for file in ["over/playlist.m3u8", "over/v0.m3u8", "far/cam/playlist.m3u8"] {
            let file = std::fs::File::options().write(true).open(root.path().join("streams").join(file));
            file.unwrap().set_modified(old).unwrap();
        }
        let origins = Origins::over(OriginOptions::default(), Some(shelf(root.path())));
        let ask = async |name: &str, file: &str| {
            body(origins.answer(name, file, None, &HeaderMap::new()).await).await.0
        };
        assert_eq!((ask("far/cam", "playlist.m3u8").await, ask("far/cam", "v0_1_s1.m4s").await), (200, 200));
        // Nobody may take it for one that goes on; who plays its end may have that.
        assert_eq!((ask("over", "v0.m3u8").await, ask("over", "v0_1_s1.m4s").await), (404, 200));
        assert_eq!(ask("far/cam", "v0.m3u8").await, 200);
        assert_eq!((ask("none", "playlist.m3u8").await, ask("far", "cam.m3u8").await), (404, 404));
    }

    #[tokio::test]
    async fn a_file_is_fetched_once_for_a_moment() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "films/one/a.m3u8", "before");
        put(root.path(), "films/one/a.m4s", "before");
        let shelf = shelf(root.path());
        let film = async |path: &str| body(shelf.film(path, &HeaderMap::new()).await).await.2;
        assert_eq!((film("one/a.m3u8").await, film("one/a.m4s").await), ("before".into(), "before".into()));
        put(root.path(), "films/one/a.m3u8", "behind");
        put(root.path(), "films/one/a.m4s", "behind");
        assert_eq!(film("one/a.m3u8").await, "before");
        tokio::time::sleep(MOMENT + Duration::from_millis(50)).await;
        // Media never changes under its name.
        assert_eq!((film("one/a.m3u8").await, film("one/a.m4s").await), ("behind".into(), "before".into()));
    }

    /// A store that counts what is fetched from it, and holds it up.
    #[derive(Debug)]
    struct Slow {
        inner: InMemory,
        /// Fetches so far, those under way, and the most there were at once.
        counts: [AtomicUsize; 3],
        /// How many may come to their end.
        open: Semaphore,
        /// By how many seconds its clock is ahead, and whether nothing can be put there.
        ahead: i64,
        closed: bool,
    }

    impl fmt::Display for Slow {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("slow")
        }
    }

    impl Slow {
        async fn new(open: usize, files: &[(&str, usize)]) -> Arc<Slow> {
            let inner = InMemory::new();
            for (key, size) in files {
                let data: Vec<u8> = (0..*size).map(|i| (i / 1000) as u8).collect();
                inner.put(&Key::from(*key), data.into()).await.unwrap();
            }
            let open = Semaphore::new(open);
            Arc::new(Slow { inner, counts: Default::default(), open, ahead: 0, closed: false })
        }

        fn counted(&self) -> [usize; 3] {
            [0, 1, 2].map(|i| self.counts[i].load(Ordering::SeqCst))
        }

        fn shelf(self: &Arc<Slow>, patience: Duration) -> Shelf {
            Shelf::patient(Store::over(self.clone()), true, patience)
        }
    }

    #[async_trait::async_trait]
    impl ObjectStore for Slow {
        async fn get_opts(&self, location: &Key, options: GetOptions) -> object_store::Result<GetResult> {
            let [all, now, most] = &self.counts;
            all.fetch_add(1, Ordering::SeqCst);
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // One that is given up is not under way any more.
            struct Under<'a>(&'a AtomicUsize);
            impl Drop for Under<'_> {
                fn drop(&mut self) {
                    self.0.fetch_sub(1, Ordering::SeqCst);
                }
            }
            let _under = Under(now);
            self.open.acquire().await.unwrap().forget();
            let mut found = self.inner.get_opts(location, options).await?;
            // What is over has been so for longer than a minute.
            let over = if location.as_ref().contains("/over/") {
                FRESH + Duration::from_secs(5)
            } else {
                Duration::ZERO
            };
            let at = SystemTime::from(found.meta.last_modified) - over;
            let shift = Duration::from_secs(self.ahead.unsigned_abs());
            found.meta.last_modified = if self.ahead < 0 { at - shift } else { at + shift }.into();
            Ok(found)
        }
        async fn put_opts(
            &self,
            location: &Key,
            payload: PutPayload,
            options: PutOptions,
        ) -> object_store::Result<PutResult> {
            if self.closed {
                let (path, source) = (location.to_string(), "read only".into());
                return Err(object_store::Error::PermissionDenied { path, source });
            }
            self.inner.put_opts(location, payload, options).await
        }
        async fn put_multipart_opts(
            &self,
            location: &Key,
            options: PutMultipartOptions,
        ) -> object_store::Result<Box<dyn MultipartUpload>> {
            self.inner.put_multipart_opts(location, options).await
        }
        fn delete_stream(
            &self,
            locations: BoxStream<'static, object_store::Result<Key>>,
        ) -> BoxStream<'static, object_store::Result<Key>> {
            self.inner.delete_stream(locations)
        }
        fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
            self.inner.list(prefix)
        }
        async fn list_with_delimiter(&self, prefix: Option<&Key>) -> object_store::Result<ListResult> {
            self.inner.list_with_delimiter(prefix).await
        }
        async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> object_store::Result<()> {
            self.inner.copy_opts(from, to, options).await
        }
    }

    #[tokio::test]
    async fn what_is_over_is_told_by_the_clock_of_the_store() {
        let files = [("streams/cam/v0.m3u8", 10), ("streams/over/v0.m3u8", 10)];
        let asked = async |ahead: i64, closed: bool| {
            let store = Slow::new(100, &files).await;
            let store = Slow { ahead, closed, ..Arc::into_inner(store).unwrap() };
            let shelf = Arc::new(store).shelf(PATIENCE);
            let status =
                async |name: &str| shelf.stream(name, "v0.m3u8", &HeaderMap::new()).await.status().as_u16();
            (status("cam").await, status("over").await)
        };
        // Ten minutes ahead of this node, ten behind, and almost right.
        for ahead in [0, 600, -600, 30, -30] {
            assert_eq!(asked(ahead, false).await, (200, 404), "{ahead}");
        }
        // Where nothing can be put, this node's clock counts.
        assert_eq!(asked(0, true).await, (200, 404));
        assert_eq!(asked(-600, true).await, (404, 404));
    }

    #[tokio::test]
    async fn a_few_are_fetched_at_once_and_the_same_one_once() {
        let names: Vec<String> = (0..2 * FETCHES).map(|n| format!("films/one/{n}.m4s")).collect();
        let files: Vec<(&str, usize)> = names.iter().map(|n| (n.as_str(), 10)).collect();
        let store = Slow::new(0, &files).await;
        let shelf = store.shelf(PATIENCE);
        // Each is asked for by two.
        let asked = names.iter().chain(&names).map(|name| {
            let (shelf, path) = (shelf.clone(), name.trim_start_matches("films/").to_string());
            tokio::spawn(async move { shelf.film(&path, &HeaderMap::new()).await.status().as_u16() })
        });
        let asked: Vec<_> = asked.collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(store.counted(), [FETCHES, FETCHES, FETCHES]);
        store.open.add_permits(100);
        for one in asked {
            assert_eq!(one.await.unwrap(), 200);
        }
        assert_eq!(store.counted(), [2 * FETCHES, 0, FETCHES]);
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_is_waited_for_once_and_not_for_long() {
        assert!(PATIENCE <= Duration::from_secs(30), "players do not wait longer");
        let patience = Duration::from_millis(300);
        for path in ["one/a.m4s", "one/a.m3u8"] {
            let store = Slow::new(0, &[(&format!("films/{path}"), 10)]).await;
            let shelf = store.shelf(patience);
            let film = async || shelf.film(path, &HeaderMap::new()).await;
            let begun = Instant::now();
            let (one, other) = tokio::join!(film(), film());
            assert_eq!((one.status().as_u16(), other.status().as_u16()), (503, 503));
            assert_eq!(one.headers()["retry-after"], "1");
            assert!(begun.elapsed() >= patience && begun.elapsed() < 2 * patience, "{:?}", begun.elapsed());
            // Who comes behind is told at once; it is tried again after a moment.
            let begun = Instant::now();
            assert_eq!(film().await.status().as_u16(), 503);
            assert!(begun.elapsed() < patience / 2, "{:?}", begun.elapsed());
            assert_eq!(store.counted(), [1, 0, 1]);
            store.open.add_permits(1);
            tokio::time::sleep(MOMENT).await;
            assert_eq!(film().await.status().as_u16(), 200);
            assert_eq!(store.counted(), [2, 0, 1]);
        }
    }

    #[tokio::test]
    async fn a_long_file_comes_in_pieces_as_they_are_taken() {
        // Longer than what is kept of all together.
        let size = (BUDGET + 5 * PIECE / 2) as usize;
        let store = Slow::new(1000, &[("films/one/long.mp4", size), ("films/one/none.mp4", 0)]).await;
        let shelf = store.shelf(PATIENCE);
        let none = HeaderMap::new();
        let response = shelf.film("one/long.mp4", &none).await;
        assert_eq!(response.headers()["content-length"], size.to_string().as_str());
        let mut body = response.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(
            (first.len() as u64, store.counted()[0]),
            (PIECE, 1),
            "nothing is fetched that nobody took"
        );
        let mut at = first.len();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() as u64 <= PIECE);
            assert_eq!(
                (data[0], data[data.len() - 1]),
                ((at / 1000) as u8, ((at + data.len() - 1) / 1000) as u8)
            );
            at += data.len();
            let kept: u64 = shelf.0.kept.lock().unwrap().values().map(Entry::size).sum();
            assert!(kept <= BUDGET + PIECE, "{kept}");
        }
        assert_eq!(at, size);
        // A range across pieces.
        let mut range = HeaderMap::new();
        range.insert("range", format!("bytes={}-{}", PIECE - 10, 2 * PIECE + 9).parse().unwrap());
        let response = shelf.film("one/long.mp4", &range).await;
        assert_eq!(response.status().as_u16(), 206);
        let got = response.into_body().collect().await.unwrap().to_bytes();
        let wanted: Vec<u8> = (PIECE - 10..2 * PIECE + 10).map(|i| (i / 1000) as u8).collect();
        assert!(got == wanted);
        let empty = shelf.film("one/none.mp4", &none).await;
        assert_eq!(
            (empty.status().as_u16(), empty.headers()["content-length"].to_str().unwrap()),
            (200, "0")
        );
        // Another file under the name: nobody gets the halves of two.
        let mut body = shelf.film("one/long.mp4", &none).await.into_body();
        body.frame().await.unwrap().unwrap();
        shelf.0.kept.lock().unwrap().clear();
        store.inner.put(&Key::from("films/one/long.mp4"), vec![7; size].into()).await.unwrap();
        assert!(body.frame().await.unwrap().is_err());
    }
}
