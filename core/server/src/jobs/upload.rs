//! What finished jobs made, in the object store: below `jobs/ID/`, media before the playlists that name it. Jobs share the way there
//! file by file, and one whose files the store refuses for now holds up no other.
//!
//! - A store that is away is asked again, with pauses that grow; the next start of the server goes on where this one ended.
//! - The files go with their job: when a client deletes it, after `store.keep_jobs_seconds`, or when the clean-up forgets it.
//!   What is to be removed is written down first, so that it goes even if the server ends before.

use super::record::Record;
use super::view::{Status, Stored, StoredState};
use super::{Inner, files};
use crate::config::StoreConfig;
use crate::store::{A_MOMENT, FOR_EVER, Store};
use futures_util::{StreamExt, TryStreamExt};
use ghoststream::{Error, ErrorKind};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Requests of one job at once, and of all together.
const AT_ONCE: usize = 2;
const ROOM: usize = 4;
/// The pause after a failure, in addition to those of the store, and the longest one.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Where finished jobs go.
pub(super) struct Uploads {
    store: Store,
    /// Who waits longest for a request is next, whosoever job it is.
    room: tokio::sync::Semaphore,
    /// Held by who puts a job's files there or removes them.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// How long a job's files stay there, seconds.
    pub keep: Option<f64>,
}

impl Uploads {
    /// What the settings say; `None`: jobs stay here.
    ///
    /// # Errors
    /// The store cannot be opened.
    pub fn of(config: &StoreConfig) -> Result<Option<Uploads>, String> {
        if config.url.is_none() || !config.jobs {
            return Ok(None);
        }
        let store = Store::open(config).map_err(|e| e.message().to_string())?;
        let room = tokio::sync::Semaphore::new(ROOM);
        Ok(Some(Uploads { store, room, turns: Mutex::default(), keep: config.keep_jobs_seconds }))
    }

    /// A job's turn.
    fn turn(&self, id: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(id.into()).or_default().clone()
    }

    /// What is said of a job that has just become ready; `None` for one that makes its segments when they are asked for.
    pub fn promise(&self, record: &Record) -> Option<Stored> {
        let entry = record.file_name().filter(|n| *n != files::ARCHIVE).or(record.stream_path())?;
        (!record.on_demand).then(|| Stored {
            state: StoredState::Waiting,
            url: format!("{}/{}", self.store.label().trim_end_matches('/'), key(&record.id, entry)),
            files: 0,
            bytes: 0,
            error: None,
        })
    }
}

fn key(id: &str, name: &str) -> String {
    format!("jobs/{id}/{name}")
}

/// Why a job did not reach the store.
enum Halt {
    /// It was deleted; whoever did that removes what is there.
    Gone,
    /// Its files are not here, or cannot be read.
    Lost(String),
    /// The store does not take it now.
    Away(Error),
}

/// Puts a job there that has become ready, in the background.
pub(super) fn begin(inner: &Arc<Inner>, id: &str) {
    behind(inner, id, false);
}

/// Puts a job there, or removes it, until the server ends; its next start goes on.
fn behind(inner: &Arc<Inner>, id: &str, removes: bool) {
    let (inner, id) = (inner.clone(), id.to_string());
    tokio::spawn(async move {
        let mut closing = inner.closing.subscribe();
        let Some(uploads) = &inner.uploads else { return };
        tokio::select! {
            _ = closing.wait_for(|c| *c) => {}
            () = forget(&inner, uploads, &id), if removes => {}
            () = put(&inner, uploads, &id), if !removes => {}
        }
    });
}

/// Removes what is there of a job that nobody knows any more, in the background.
pub(super) fn remove(inner: &Arc<Inner>, id: &str) {
    inner.store.doom(id);
    behind(inner, id, true);
}

/// Goes on with what the server's last run left.
pub(super) fn resume(inner: &Arc<Inner>, doomed: Vec<String>) {
    doomed.iter().for_each(|id| remove(inner, id));
    let open = |stored: &Option<Stored>| stored.as_ref().is_some_and(|s| s.state.is_open());
    let ids: Vec<String> = {
        let table = inner.table();
        let waiting = table.jobs.values().filter(|e| open(&e.record.stored));
        waiting.map(|e| e.record.id.clone()).collect()
    };
    for id in ids {
        match inner.uploads {
            Some(_) => begin(inner, &id),
            None => set(inner, &id, |s| s.fail("the server was started without store.jobs".into())),
        }
    }
}

/// Changes what is said of a job, and keeps it.
fn set(inner: &Inner, id: &str, change: impl FnOnce(&mut Stored)) {
    let mut table = inner.table();
    if let Some(entry) = table.jobs.get_mut(id)
        && let Some(stored) = &mut entry.record.stored
    {
        change(stored);
        inner.store.put(&entry.record);
    }
}

/// Whether the job is still one that goes there.
fn check(inner: &Inner, id: &str) -> Result<Record, Halt> {
    let record = inner.table().jobs.get(id).map(|e| e.record.clone()).ok_or(Halt::Gone)?;
    if record.stored.is_none() {
        return Err(Halt::Gone);
    }
    if record.cleaned || record.status != Status::Ready {
        return Err(Halt::Lost("its files were removed here before the store had all of them".into()));
    }
    Ok(record)
}

async fn put(inner: &Arc<Inner>, uploads: &Uploads, id: &str) {
    let turn = uploads.turn(id);
    let _turn = turn.lock().await;
    let label = uploads.store.label();
    let mut pause = PAUSE.0;
    // What is there is not put there again after a failure.
    let there = Mutex::default();
    loop {
        match once(inner, uploads, id, &there).await {
            Ok((files, bytes)) => {
                tracing::info!(job = id, files, bytes, "in {label}");
                set(inner, id, |s| {
                    (s.state, s.files, s.bytes, s.error) = (StoredState::Ready, files, bytes, None)
                });
                return;
            }
            Err(Halt::Gone) => return,
            Err(Halt::Lost(why)) => {
                tracing::warn!(job = id, "not in {label}: {why}");
                set(inner, id, |s| s.fail(why));
                // No playlist names what is there.
                if let Err(e) = clear(uploads, id).await {
                    tracing::warn!(job = id, "what is there of it stays: {e}");
                }
                return;
            }
            Err(Halt::Away(e)) => {
                if pause == PAUSE.0 {
                    tracing::warn!(job = id, "{label} does not take it, and is asked again: {e}");
                }
                set(inner, id, |s| s.error = Some(e.message().to_string()));
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
}

/// Files that are there, and their lengths.
type There = Mutex<HashMap<String, u64>>;

/// One try, from where the last one came to; gives how many files and bytes are there.
async fn once(inner: &Arc<Inner>, uploads: &Uploads, id: &str, there: &There) -> Result<(u64, u64), Halt> {
    let record = check(inner, id)?;
    set(inner, id, |s| s.state = StoredState::Uploading);
    let directory = inner.directory(id);
    let (below, entry) = (directory.clone(), record.stream_path());
    let steps = tokio::task::spawn_blocking(move || steps(&below, entry)).await;
    let steps = steps.map_err(|e| Halt::Lost(e.to_string()))?.map_err(|e| Halt::Lost(e.to_string()))?;
    let known = || there.lock().unwrap_or_else(PoisonError::into_inner);
    for step in steps {
        let directory = &directory;
        let left: Vec<String> = step.into_iter().filter(|name| !known().contains_key(name)).collect();
        let requests = left.into_iter().map(|name| async move {
            // Nobody closes it.
            let _room = uploads.room.acquire().await;
            check(inner, id)?;
            let length = put_one(uploads, id, directory, &name).await?;
            there.lock().unwrap_or_else(PoisonError::into_inner).insert(name, length);
            Ok(())
        });
        futures_util::stream::iter(requests).buffered(AT_ONCE).try_collect::<()>().await?;
    }
    let all = known();
    Ok((all.len() as u64, all.values().sum()))
}

async fn put_one(uploads: &Uploads, id: &str, directory: &Path, name: &str) -> Result<u64, Halt> {
    let cache = if files::is_playlist(name) { A_MOMENT } else { FOR_EVER };
    let path = directory.join(name);
    let put = uploads.store.put_file(&key(id, name), &path, files::content_type(name), cache).await;
    put.map_err(|e| match std::fs::File::open(&path) {
        // A store that refuses would refuse again.
        Ok(_) if matches!(e.kind(), ErrorKind::Denied | ErrorKind::Invalid | ErrorKind::Unsupported) => {
            Halt::Lost(e.to_string())
        }
        Ok(_) => Halt::Away(e),
        Err(why) => Halt::Lost(format!("{name}: {why}")),
    })
}

/// A job's files in the order in which they are put there: media, playlists, and last what a player opens.
fn steps(directory: &Path, entry: Option<&str>) -> std::io::Result<[Vec<String>; 3]> {
    let mut names = Vec::new();
    files::list(directory, "", &mut names)?;
    names.sort();
    let mut steps = [const { Vec::new() }; 3];
    for name in names.into_iter().filter(|n| !n.starts_with(files::ARCHIVE)) {
        let step = match &name {
            n if Some(n.as_str()) == entry => 2,
            n if files::is_playlist(n) => 1,
            _ => 0,
        };
        steps[step].push(name);
    }
    Ok(steps)
}

async fn forget(inner: &Arc<Inner>, uploads: &Uploads, id: &str) {
    let turn = uploads.turn(id);
    let _turn = turn.lock().await;
    let mut pause = PAUSE.0;
    while let Err(e) = clear(uploads, id).await {
        if pause == PAUSE.0 {
            tracing::warn!(job = id, "its files in {} are still there: {e}", uploads.store.label());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
    inner.store.undoom(id);
    tracing::info!(job = id, "its files in {} are removed", uploads.store.label());
}

/// Removes all that is there of a job: first what names others.
async fn clear(uploads: &Uploads, id: &str) -> ghoststream::Result<()> {
    let all = uploads.store.list(&format!("jobs/{id}")).await?;
    let (lists, media): (Vec<_>, Vec<_>) = all.into_iter().partition(|s| files::is_playlist(&s.key));
    for step in [lists, media] {
        let requests = step.into_iter().map(|stored| async move {
            let _room = uploads.room.acquire().await;
            uploads.store.delete(&stored.key).await
        });
        futures_util::stream::iter(requests).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_player_opens_comes_last_and_what_is_ours_never() {
        let dir = tempfile::tempdir().unwrap();
        files::create(dir.path()).unwrap();
        for name in ["master.m3u8", "stream_0.m3u8", "stream_0_0.ts", "a.vtt", "output.tar"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let [media, lists, last] = steps(dir.path(), Some("master.m3u8")).unwrap();
        assert_eq!(media, ["a.vtt", "stream_0_0.ts"]);
        assert_eq!((lists, last), (vec!["stream_0.m3u8".to_string()], vec!["master.m3u8".to_string()]));
    }
}
