//! What is in the object store, for who asks here: the films that nodes made together, and the streams of other nodes. Any node serves
//! them. A file is fetched once for all who ask for it at the same time, and kept for a moment.

use super::answer::{self, Cache, DASH, HLS};
use super::names;
use super::state::Rendered;
use crate::store::Store;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use ghoststream::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{OnceCell, Semaphore};

/// Bytes that are kept at most, and how long: media, which is the same for ever, and what changes or was not there.
const BUDGET: u64 = 64 << 20;
const MEDIA: Duration = Duration::from_secs(30);
const MOMENT: Duration = Duration::from_secs(1);
/// The largest file that goes by here.
const LARGEST: u64 = 64 << 20;
/// A stream whose playlist is older than this is over, or its node is: nobody is told that it goes on.
const FRESH: Duration = Duration::from_secs(60);
/// Files that are fetched at once, each of them held whole, and how long one of them may take.
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
    kept: Mutex<HashMap<String, Entry>>,
    fetches: Semaphore,
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
    Media(&'static str, Bytes),
}

impl Entry {
    fn size(&self) -> u64 {
        match self.file.get() {
            Some(Ok(Some(File { content: Content::Media(_, bytes), .. }))) => bytes.len() as u64,
            Some(Ok(Some(File { content: Content::Text(_, text), .. }))) => text.plain.len() as u64,
            _ => 0,
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        let life = match self.file.get() {
            Some(Ok(Some(File { content: Content::Media(..), .. }))) => MEDIA,
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
        Shelf(Arc::new(Inner { store, streams, kept: Mutex::default(), fetches: Semaphore::new(FETCHES) }))
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
        let cell = self.entry(key);
        // A failure is kept for a moment, too: who waits for the same file does not ask again, one behind the other.
        let found = match cell.get_or_init(|| self.in_turn(key, kind)).await {
            Ok(found) => found.as_ref(),
            // What no key can be.
            Err(e) if e.kind() == ErrorKind::Invalid => None,
            Err(e) => {
                tracing::warn!("what is asked for cannot be fetched: {e}");
                return answer::failure(503, "The object store does not answer", None);
            }
        };
        let old = |file: &&File| {
            let age = SystemTime::now().duration_since(file.modified).unwrap_or_default();
            matches!(file.content, Content::Text(..)) && fresh.is_some_and(|fresh| age > fresh)
        };
        let Some(file) = found.filter(|file| !old(file)) else { return missing() };
        match &file.content {
            Content::Text(kind, text) => answer::text(headers, kind, text, Cache::Now, TARGET).0,
            Content::Media(kind, bytes) => {
                let mut hasher = DefaultHasher::new();
                (key, file.modified).hash(&mut hasher);
                let tag = format!("{:x}", hasher.finish());
                answer::media(headers, &tag, kind, vec![bytes.clone()], Cache::Forever, TARGET).0
            }
        }
    }

    fn entry(&self, key: &str) -> Arc<OnceCell<Result<Option<File>>>> {
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
        kept.entry(key.into()).or_insert_with(entry).file.clone()
    }

    /// A few files at a time, none of them for long.
    async fn in_turn(&self, key: &str, kind: &'static str) -> Result<Option<File>> {
        let fetched = async {
            let _turn = self.0.fetches.acquire().await;
            self.fetch(key, kind).await
        };
        tokio::time::timeout(PATIENCE, fetched)
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, format!("{key}: it takes too long"))))
    }

    async fn fetch(&self, key: &str, kind: &'static str) -> Result<Option<File>> {
        let (bytes, modified) = match self.0.store.fetch(key, LARGEST).await {
            Ok(found) => found,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let content = match kind {
            HLS | DASH => Content::Text(kind, Rendered::new(String::from_utf8_lossy(&bytes).into_owned())),
            _ => Content::Media(kind, bytes),
        };
        Ok(Some(File { content, modified }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreConfig;
    use crate::live::{OriginOptions, Origins};
    use http_body_util::BodyExt;
    use std::path::Path;

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
}
