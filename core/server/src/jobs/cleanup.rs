//! What is removed, and when. Only directories that carry our marker are ever touched.

use super::record::now;
use super::table::{Table, Why};
use super::view::{Cleaned, CleanupStats, Status};
use super::{Inner, files, upload};
use crate::playback::Session;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(300);
/// How often it looks at the quota.
const QUOTA_EVERY: Duration = Duration::from_secs(15);
/// A stream that nobody has asked for in this time, and that was begun this long ago, is given up.
const UNWATCHED: (f64, f64) = (300.0, 120.0);
/// A finished stream stays this long after it was last asked for.
const STREAM_STAYS: f64 = 3600.0;
/// A job without files is known this long.
const KNOWN: f64 = 24.0 * 3600.0;
/// A job this close to its end counts as nearly stale.
const NEARLY: f64 = 0.8;

/// What a pass should do to one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Leave,
    GiveUp,
    RemoveFiles,
    /// What is in the object store.
    RemoveStored,
    Forget,
}

/// What is known of a job's age, in seconds.
#[derive(Clone, Copy, Debug)]
struct Age {
    status: Status,
    stream: bool,
    cleaned: bool,
    /// Since it was begun.
    running: f64,
    /// Since it was last asked for.
    idle: f64,
    /// Since it was over.
    over: f64,
    /// How long a finished file stays.
    file_stays: f64,
    there: There,
}

/// A job in the object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    /// It is not, or as long as it is known here.
    No,
    Uploading,
    /// For longer.
    Kept,
    /// For long enough.
    Due,
}

impl Age {
    fn stays(&self) -> f64 {
        if self.stream { STREAM_STAYS } else { self.file_stays }
    }

    fn act(&self) -> Act {
        match self.status {
            Status::Queued => Act::Leave,
            Status::Processing if self.stream && self.idle > UNWATCHED.0 && self.running > UNWATCHED.1 => {
                Act::GiveUp
            }
            Status::Processing => Act::Leave,
            _ if self.there == There::Due => Act::RemoveStored,
            // The quota may still need its place.
            _ if matches!(self.there, There::Uploading) => Act::Leave,
            _ if self.cleaned && self.there == There::Kept => Act::Leave,
            _ if self.cleaned && self.over > KNOWN => Act::Forget,
            _ if !self.cleaned && self.idle > self.stays() && self.over > self.stays() => Act::RemoveFiles,
            // Files of what failed or was cancelled are gone already.
            Status::Error | Status::Cancelled if self.over > KNOWN => Act::Forget,
            _ => Act::Leave,
        }
    }
}

fn age(record: &super::record::Record, now: f64, file_stays: f64, keep: Option<f64>) -> Age {
    let over = record.completed.map_or(0.0, |t| now - t);
    let there = match (&record.stored, keep) {
        (Some(stored), _) if stored.state.is_open() => There::Uploading,
        (Some(_), Some(keep)) if over > keep => There::Due,
        (Some(_), Some(_)) => There::Kept,
        _ => There::No,
    };
    Age {
        status: record.status,
        stream: record.is_stream(),
        cleaned: record.cleaned,
        running: record.started.map_or(0.0, |t| now - t),
        idle: now - record.accessed,
        over,
        file_stays,
        there,
    }
}

/// Passes, for ever.
pub(super) async fn forever(inner: Arc<Inner>) {
    let mut closing = inner.closing.subscribe();
    let mut since = Duration::ZERO;
    loop {
        let closed = tokio::time::timeout(QUOTA_EVERY, closing.wait_for(|c| *c)).await.is_ok();
        if closed {
            return;
        }
        quota(&inner).await;
        since += QUOTA_EVERY;
        if since >= EVERY {
            since = Duration::ZERO;
            pass(&inner, true).await;
        }
    }
}

/// One pass.
pub(super) async fn pass(inner: &Arc<Inner>, orphans: bool) -> Cleaned {
    quota(inner).await;
    let file_stays = inner.settings().config.transcoding.cleanup_after_hours * 3600.0;
    let now = now();
    let keep = inner.uploads.as_ref().and_then(|u| u.keep);
    let acts: Vec<(String, Act)> = {
        let table = inner.table();
        let acts =
            table.jobs.values().map(|e| (e.record.id.clone(), age(&e.record, now, file_stays, keep).act()));
        acts.filter(|(_, act)| *act != Act::Leave).collect()
    };
    let mut cleaned = Cleaned::default();
    for (id, act) in acts {
        match act {
            Act::Leave => {}
            Act::GiveUp => {
                if inner.cancel(&id, "nobody has asked for it in a while") {
                    cleaned.stale_jobs += 1;
                }
            }
            Act::RemoveFiles => {
                evict(inner, &id).await;
                cleaned.stale_jobs += 1;
            }
            Act::RemoveStored => {
                if let Some(entry) = inner.table().jobs.get_mut(&id) {
                    entry.record.stored = None;
                    inner.store.put(&entry.record);
                }
                upload::remove(inner, &id);
            }
            Act::Forget => inner.forget(&id),
        }
    }
    if orphans {
        let this = inner.clone();
        let swept = tokio::task::spawn_blocking(move || sweep(&this)).await;
        cleaned.orphaned_directories = swept.unwrap_or(0);
    }
    cleaned
}

/// Removes the files of a finished job; what is known of it stays.
async fn evict(inner: &Arc<Inner>, id: &str) {
    let session = {
        let mut table = inner.table();
        let Some(entry) = table.jobs.get_mut(id) else { return };
        entry.record.cleaned = true;
        let (share, record) = (entry.record.share.clone(), entry.record.clone());
        let session = entry.session.take();
        table.unshare(&share, id);
        inner.store.put(&record);
        session
    };
    tracing::info!(job = id, "its files are removed");
    if let Some(session) = session {
        session.close().await;
    }
    let (this, id) = (inner.clone(), id.to_string());
    if let Err(e) = tokio::task::spawn_blocking(move || this.remove_files(&id)).await {
        tracing::error!(error = %e, "removing files");
    }
}

/// Removes directories of ours that belong to no job; gives how many.
pub(super) fn sweep(inner: &Inner) -> usize {
    let Ok(entries) = std::fs::read_dir(&inner.root) else { return 0 };
    let mut swept = 0;
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let known = inner.table().jobs.get(&name).is_some_and(|e| !e.record.cleaned || e.run.is_some());
        if known || !files::is_ours(&entry.path()) {
            continue;
        }
        match files::remove(&entry.path()) {
            Ok(true) => swept += 1,
            Ok(false) => {}
            Err(e) => tracing::warn!(directory = name, error = %e, "a directory stays"),
        }
    }
    swept
}

/// Whoever asked for something so many seconds ago watches still.
const WATCHED: f64 = 60.0;

/// Keeps all files below the disk quota: finished jobs go, the one that was asked for longest ago first; then what viewers have
/// played of films that are made on demand; if that is not enough, the job that began last is ended.
pub(super) async fn quota(inner: &Arc<Inner>) {
    let most = inner.settings().config.limits.max_disk_gb * 1e9;
    if most <= 0.0 {
        return;
    }
    let ids: Vec<String> = inner.table().jobs.keys().cloned().collect();
    let this = inner.clone();
    let sizes = tokio::task::spawn_blocking(move || {
        ids.into_iter().map(|id| (files::size(&this.directory(&id)), id)).collect::<Vec<_>>()
    });
    let Ok(sizes) = sizes.await else { return };
    let mut total: u64 = sizes.iter().map(|(size, _)| size).sum();
    while total as f64 > most {
        let (finished, running, watched) = {
            let table = inner.table();
            let known = sizes.iter().filter_map(|(size, id)| Some((*size, table.jobs.get(id)?)));
            let mut finished: Vec<(f64, u64, String)> = Vec::new();
            let mut running: Vec<(f64, super::table::RunHandle)> = Vec::new();
            let mut watched = Vec::new();
            for (size, entry) in known {
                let record = &entry.record;
                if let Some(run) = &entry.run {
                    running.push((record.started.unwrap_or(0.0), run.clone()));
                } else if let Some(session) = &entry.session
                    && now() - record.accessed < WATCHED
                {
                    watched.push(session.clone());
                } else if record.status.is_over() && !record.cleaned && size > 0 {
                    finished.push((record.accessed, size, record.id.clone()));
                }
            }
            let oldest = finished.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
            (oldest, running.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)), watched)
        };
        match (finished, running) {
            (Some((_, size, id)), _) => {
                evict(inner, &id).await;
                total = total.saturating_sub(size);
            }
            (None, running) => {
                let freed = tokio::task::spawn_blocking(move || watched.iter().map(Session::make_room).sum());
                let freed: u64 = freed.await.unwrap_or(0);
                if total.saturating_sub(freed) as f64 > most
                    && let Some((_, run)) = running
                {
                    run.end(Why::Quota);
                }
                return;
            }
        }
    }
}

pub(super) fn stats(table: &Table, root: &Path) -> CleanupStats {
    let now = now();
    let all = || table.jobs.values().map(|e| &e.record);
    let nearly = |r: &&super::record::Record| {
        let age = age(r, now, STREAM_STAYS, None);
        r.status.is_over() && !r.cleaned && age.idle > age.stays() * NEARLY
    };
    CleanupStats {
        total_jobs: all().count(),
        active_jobs: all().filter(|r| !r.status.is_over()).count(),
        ready_jobs: all().filter(|r| r.status == Status::Ready && !r.cleaned).count(),
        cleaned_jobs: all().filter(|r| r.cleaned).count(),
        nearly_stale: all().filter(nearly).count(),
        temp_dir: root.into(),
        bytes: all().filter(|r| !r.cleaned).map(|r| r.bytes).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn age() -> Age {
        Age {
            status: Status::Ready,
            stream: true,
            cleaned: false,
            running: 10_000.0,
            idle: 0.0,
            over: 10_000.0,
            file_stays: 86_400.0,
            there: There::No,
        }
    }

    #[test]
    fn what_is_watched_stays() {
        assert_eq!(age().act(), Act::Leave);
        assert_eq!(Age { idle: 3601.0, ..age() }.act(), Act::RemoveFiles);
        assert_eq!(Age { idle: 3601.0, stream: false, ..age() }.act(), Act::Leave, "files stay for a day");
        assert_eq!(Age { idle: 90_000.0, over: 90_000.0, stream: false, ..age() }.act(), Act::RemoveFiles);
        assert_eq!(Age { cleaned: true, over: 90_000.0, ..age() }.act(), Act::Forget);
        assert_eq!(Age { cleaned: true, over: 80_000.0, ..age() }.act(), Act::Leave);
    }

    #[test]
    fn what_is_in_the_store_stays_as_long_as_it_should() {
        let cleaned = Age { cleaned: true, over: 90_000.0, ..age() };
        assert_eq!(Age { there: There::Kept, ..cleaned }.act(), Act::Leave, "it must be known to be deleted");
        assert_eq!(Age { there: There::Due, ..cleaned }.act(), Act::RemoveStored);
        let idle = Age { idle: 3601.0, ..age() };
        assert_eq!(Age { there: There::Uploading, ..idle }.act(), Act::Leave, "it is read");
        assert_eq!(Age { there: There::Kept, ..idle }.act(), Act::RemoveFiles);
    }

    #[test]
    fn a_stream_that_nobody_watches_is_given_up_and_a_file_is_not() {
        let running = Age { status: Status::Processing, idle: 301.0, running: 301.0, ..age() };
        assert_eq!(running.act(), Act::GiveUp);
        assert_eq!(Age { running: 100.0, ..running }.act(), Act::Leave, "it has just begun");
        assert_eq!(Age { stream: false, ..running }.act(), Act::Leave);
        assert_eq!(Age { status: Status::Queued, ..running }.act(), Act::Leave);
        assert_eq!(Age { status: Status::Error, over: 90_000.0, idle: 0.0, ..running }.act(), Act::Forget);
    }
}
