//! Live streams in an object store: the origin's segments under the same names, below `streams/NAME/`, with playlists and a
//! manifest of their own. One task per stream follows the origin (`queue`), another puts things there.
//!
//! - A playlist is put there after what it names, and what it does not name any more is removed after it: for as long as a
//!   playlist is, an old one can still be played.
//! - The stream never waits. While the store is away, segments wait in a queue of bounded size; what does not fit, and what the
//!   playlist would not tell of any more, is lost from the old end, counted, and marked `EXT-X-GAP`.
//! - Of one stream, its last opening is there: the next one removes what it left.

mod queue;

use super::origin::{Copied, Copy, Follow, Origin, is_older};
use crate::config::StoreConfig;
use crate::store::{A_MOMENT, FOR_EVER, Store};
use futures_util::StreamExt;
use ghoststream::Result;
use queue::{Queue, Taken};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The pause after a failure, in addition to those of the store.
const PAUSE: Duration = Duration::from_millis(500);
/// How often it is looked for old files that are due.
const LOOK: Duration = Duration::from_secs(5);
/// Requests of one stream at once.
const AT_ONCE: usize = 6;
/// How long the end of a stream waits for a store that is away.
const LAST: Duration = Duration::from_secs(60);

/// How streams are put into a store.
#[derive(Clone, Debug, PartialEq)]
pub struct UploadOptions {
    /// How far back one can seek there; `None`: as far as at the origin.
    pub window: Option<Duration>,
    /// How long the files of a stream that has ended stay; `None`: until it is there again.
    pub keep: Option<Duration>,
    /// The most bytes that wait, per stream.
    pub queue: u64,
}

impl UploadOptions {
    /// What the settings say.
    pub fn of(config: &StoreConfig) -> UploadOptions {
        UploadOptions {
            window: config.window_seconds.map(Duration::from_secs_f64),
            keep: config.keep_seconds.map(Duration::from_secs_f64),
            queue: config.queue_mb << 20,
        }
    }
}

/// How a stream's way to the store is doing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct UploadStats {
    /// Whether it can be played from the store.
    pub ready: bool,
    /// Whether the store takes nothing now.
    pub away: bool,
    /// Whether everything is there that will be.
    pub over: bool,
    /// Files that were put there.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were removed.
    pub removed: u64,
    /// Requests that failed, all tries of the store included in one.
    pub failures: u64,
    /// Segments that were lost because the store was away for too long.
    pub lost: u64,
    /// Segments that wait.
    pub waiting: usize,
    /// Their bytes.
    pub waiting_bytes: u64,
}

/// The live streams of a server in a store. Cheap to clone; all methods may be called from any thread.
#[derive(Clone, Debug)]
pub struct Uploads(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    options: UploadOptions,
    all: Mutex<HashMap<String, Arc<Upload>>>,
}

impl Uploads {
    /// No stream yet.
    pub fn new(store: Store, options: UploadOptions) -> Uploads {
        Uploads(Arc::new(Inner { store, options, all: Mutex::default() }))
    }

    /// Where they go.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Puts `origin` there from now on, until it ends. One that is on its way goes on; an earlier one of the same name is
    /// brought to its end. Must be called in a tokio runtime.
    pub fn open(&self, origin: &Arc<Origin>) {
        let mut all = self.lock();
        let before = all.get(origin.name()).cloned();
        if before.as_ref().is_some_and(|b| b.token == origin.token()) {
            return;
        }
        let turn = before.as_ref().map_or_else(Arc::default, |b| b.turn.clone());
        if let Some(before) = before {
            before.superseded.store(true, Ordering::SeqCst);
        }
        let copy = Copy::new(origin, self.0.options.window);
        let upload = Arc::new(Upload {
            name: origin.name().into(),
            token: origin.token().into(),
            store: self.0.store.clone(),
            queue: Queue::new(self.0.options.queue, copy.length()),
            superseded: AtomicBool::new(false),
            turn,
            away: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            over: watch::Sender::new(false),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            removed: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        });
        all.insert(origin.name().into(), upload.clone());
        drop(all);
        tokio::spawn(follow(upload.clone(), origin.follow()));
        let uploads = self.clone();
        tokio::spawn(async move {
            let copy = upload.work(copy).await;
            upload.over.send_replace(true);
            if let Some(keep) = uploads.0.options.keep {
                tokio::time::sleep(keep).await;
                upload.remove_all(&copy).await;
            }
            uploads.forget(&upload);
        });
    }

    fn forget(&self, upload: &Arc<Upload>) {
        let mut all = self.lock();
        if all.get(&upload.name).is_some_and(|there| Arc::ptr_eq(there, upload)) {
            all.remove(&upload.name);
        }
    }

    /// How they are doing, by name.
    pub fn stats(&self) -> Vec<(String, UploadStats)> {
        let mut all: Vec<_> = self.lock().values().map(|u| (u.name.clone(), u.stats())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Waits until what there is of ended streams is in the store, for `patience` at most.
    pub async fn finish(&self, patience: Duration) {
        let all: Vec<Arc<Upload>> = self.lock().values().cloned().collect();
        let finished = async {
            for upload in all {
                // The sender is in what is waited for.
                let _still_there = upload.over.subscribe().wait_for(|over| *over).await.is_ok();
            }
        };
        if tokio::time::timeout(patience, finished).await.is_err() {
            tracing::warn!("the last files of live streams did not reach {}", self.0.store.label());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Upload>>> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One stream's way.
#[derive(Debug)]
struct Upload {
    name: String,
    token: String,
    store: Store,
    queue: Queue,
    /// Whether another opening of the stream has what describes all of it.
    superseded: AtomicBool,
    /// Held while that is put there.
    turn: Arc<tokio::sync::Mutex<()>>,
    away: AtomicBool,
    ready: AtomicBool,
    over: watch::Sender<bool>,
    files: AtomicU64,
    bytes: AtomicU64,
    removed: AtomicU64,
    failures: AtomicU64,
}

async fn follow(upload: Arc<Upload>, mut origin: Follow) {
    while let Some(fresh) = origin.next().await {
        upload.lost(upload.queue.push(fresh));
    }
    upload.queue.end();
}

impl Upload {
    fn key(&self, file: &str) -> String {
        format!("streams/{}/{file}", self.name)
    }

    fn stats(&self) -> UploadStats {
        let (waiting, waiting_bytes, lost) = self.queue.state();
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        UploadStats {
            ready: self.ready.load(Ordering::Relaxed),
            away: self.away.load(Ordering::Relaxed),
            over: *self.over.borrow(),
            files: count(&self.files),
            bytes: count(&self.bytes),
            removed: count(&self.removed),
            failures: count(&self.failures),
            lost,
            waiting,
            waiting_bytes,
        }
    }

    fn lost(&self, count: u64) {
        if count > 0 {
            tracing::warn!(stream = self.name, "{count} segments for {} are lost", self.store.label());
        }
    }

    /// Puts things there until the stream is over; gives what is there.
    async fn work(&self, mut copy: Copy) -> Copy {
        let mut ended: Option<Instant> = None;
        let mut old = Old::Unknown;
        let mut settled = true;
        loop {
            // What failed is tried again, whether something new comes or not.
            let patience = if settled { LOOK } else { PAUSE };
            let result = match self.queue.take(patience).await {
                Taken::Segments(batch) => self.put(&mut copy, batch).await,
                Taken::Nothing => Ok(()),
                Taken::Over => {
                    if ended.is_none() {
                        copy.end();
                        ended = Some(Instant::now());
                    }
                    Ok(())
                }
            };
            let result = match result {
                Ok(()) => self.tell(&mut copy).await,
                // What is there is told of, if that can be: the failure may be one file's.
                Err(e) => self.tell(&mut copy).await.and(Err(e)),
            };
            settled = result.is_ok();
            match result {
                Ok(()) => {
                    if self.away.swap(false, Ordering::Relaxed) {
                        tracing::info!(stream = self.name, "{} is back", self.store.label());
                    }
                    self.tidy(&mut copy, &mut old).await;
                    if ended.is_some() {
                        return copy;
                    }
                }
                Err(e) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    if !self.away.swap(true, Ordering::Relaxed) {
                        tracing::warn!(stream = self.name, "{} takes nothing: {e}", self.store.label());
                    }
                    if ended.is_some_and(|at| at.elapsed() > LAST) {
                        tracing::warn!(stream = self.name, "its end did not reach {}", self.store.label());
                        return copy;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Puts segments of one number there, their init segments first. Those that fail go back into the queue.
    async fn put(&self, copy: &mut Copy, batch: Vec<Copied>) -> Result<()> {
        let known = &*copy;
        let requests = batch.into_iter().map(|copied| async move {
            let result = self.put_one(known, &copied).await;
            (copied, result)
        });
        let done: Vec<(Copied, Result<()>)> =
            futures_util::stream::iter(requests).buffered(AT_ONCE).collect().await;
        let mut failed = Vec::new();
        let mut first = Ok(());
        for (copied, result) in done {
            match result {
                Ok(()) => copy.add(copied),
                Err(e) => {
                    failed.push(copied);
                    first = first.and(Err(e));
                }
            }
        }
        self.lost(self.queue.give_back(failed));
        first
    }

    async fn put_one(&self, copy: &Copy, copied: &Copied) -> Result<()> {
        if let Some((name, data)) = copied.init().filter(|_| !copy.has_init(copied)) {
            let length = data.len() as u64;
            self.store.put(&self.key(&name), data, copied.content_type(), FOR_EVER).await?;
            self.count(length);
        }
        if let Some((name, data)) = copied.media() {
            self.store.put_chunks(&self.key(&name), data, copied.content_type(), FOR_EVER).await?;
            self.count(copied.size());
        }
        Ok(())
    }

    /// Puts playlists and manifests there that are not what they should be.
    async fn tell(&self, copy: &mut Copy) -> Result<()> {
        for text in copy.texts() {
            let of_all = !text.name.contains(&self.token);
            let turn = match of_all {
                true => Some(self.turn.lock().await),
                false => None,
            };
            if !of_all || !self.superseded.load(Ordering::SeqCst) {
                let key = self.key(&text.name);
                self.store.put(&key, text.text.clone(), text.content_type, A_MOMENT).await?;
                self.count(text.text.len() as u64);
            }
            drop(turn);
            copy.written(&text);
        }
        self.ready.store(copy.is_told(), Ordering::Relaxed);
        Ok(())
    }

    /// Removes what is over.
    async fn tidy(&self, copy: &mut Copy, old: &mut Old) {
        let left = self.remove(copy.take_gone()).await;
        copy.not_gone(left);
        match old {
            Old::Unknown if copy.is_told() => {
                let window = Duration::from_micros(u64::try_from(copy.length()).unwrap_or(0));
                *old = match self.older().await {
                    Ok(files) if files.is_empty() => Old::Gone,
                    // Who plays the opening before may come to its end.
                    Ok(files) => Old::At(Instant::now() + window, files),
                    Err(e) => {
                        tracing::warn!(stream = self.name, "old files cannot be looked for: {e}");
                        Old::Gone
                    }
                };
            }
            Old::At(at, files) if *at <= Instant::now() => {
                // The next opening finds what cannot be removed now.
                self.remove(std::mem::take(files)).await;
                *old = Old::Gone;
            }
            _ => {}
        }
    }

    /// Files of earlier openings.
    async fn older(&self) -> Result<Vec<String>> {
        let folder = format!("streams/{}", self.name);
        let all = self.store.list(&folder).await?;
        // Not those of the streams whose names begin with this one's.
        let files = all.iter().filter_map(|s| s.key.strip_prefix(&folder)?.strip_prefix('/'));
        Ok(files.filter(|f| !f.contains('/') && is_older(f, &self.token)).map(String::from).collect())
    }

    /// Gives what could not be removed.
    async fn remove(&self, files: Vec<String>) -> Vec<String> {
        let requests = files.into_iter().map(|file| async move {
            let result = self.store.delete(&self.key(&file)).await;
            (file, result)
        });
        let mut results = futures_util::stream::iter(requests).buffer_unordered(AT_ONCE);
        let mut left = Vec::new();
        while let Some((file, result)) = results.next().await {
            match result {
                Ok(()) => {
                    self.removed.fetch_add(1, Ordering::Relaxed);
                }
                Err(e) => {
                    tracing::warn!(stream = self.name, "cannot be removed: {e}");
                    left.push(file);
                }
            }
        }
        left
    }

    async fn remove_all(&self, copy: &Copy) {
        let superseded = self.superseded.load(Ordering::SeqCst);
        let files = copy.everything().into_iter().filter(|f| !superseded || f.contains(&self.token));
        self.remove(files.collect()).await;
    }

    fn count(&self, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What earlier openings left.
#[derive(Debug)]
enum Old {
    /// Not looked for yet.
    Unknown,
    /// These, until then.
    At(Instant, Vec<String>),
    /// Nothing.
    Gone,
}
