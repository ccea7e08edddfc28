//! Jobs whose segments are made when somebody asks for them: their playback sessions.

use super::media::Media;
use super::record::{Record, now};
use super::run::{self, Prepared};
use super::view::{FileError, Served, Status};
use super::{Inner, Settings, files};
use crate::contract::values::{Mode, Playback};
use crate::playback::{Limits, Session, Setup, Workers};
use crate::worker::Failure;
use ghoststream::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a segment that is being made is waited for at least, whoever asks.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the job is made on demand.
///
/// # Errors
/// That was asked for, but the source is live or cannot be read from any place.
pub(super) fn wanted(record: &Record, settings: &Settings, media: &Media) -> Result<bool, Failure> {
    if record.request.mode == Mode::Batch {
        return Ok(false);
    }
    // Statistics of the whole come before the first segment.
    let possible = media.is_recorded() && !record.request.output.two_pass;
    match record.request.playback.unwrap_or(settings.config.transcoding.playback) {
        Playback::Growing => Ok(false),
        Playback::OnDemand if record.request.playback.is_some() && !possible => Err(Failure {
            kind: Some(ErrorKind::Invalid),
            message: "playback: on_demand needs one pass over a source with a length, which can be read from any place"
                .into(),
        }),
        _ => Ok(possible),
    }
}

/// Opens the session of a job.
///
/// # Errors
/// In words.
pub(super) async fn open(inner: &Arc<Inner>, record: &Record, prepared: Prepared) -> Result<Session, String> {
    let Prepared { worker, sandbox, probe, mut spec, directory, bounds, .. } = prepared;
    let shorter = inner.settings().config.transcoding.on_demand_segment_duration;
    for segment in spec.outputs.iter_mut().filter_map(|o| o.segment.as_mut()) {
        segment.duration.0 = segment.duration.0.min(shorter);
    }
    let (pool, places, cooldowns) = (inner.pool.clone(), inner.places.clone(), inner.cooldowns.clone());
    let runner = Arc::new(Workers::new(pool, sandbox, places, cooldowns));
    // It may do what every worker of this session may.
    runner.keep(worker);
    let quota = inner.settings().config.limits.max_disk_gb * 1e9;
    let usual = Limits::default();
    // Others need their share of it.
    let bytes = if quota > 0.0 { usual.bytes.min((quota / 2.0) as u64) } else { usual.bytes };
    let limits = Limits { bytes, ..usual };
    let setup = Setup { spec, probe, profile: record.request.profile.clone(), directory, limits };
    let session = Session::open(setup, runner).await?;
    if let Some(entry) = inner.table().jobs.get_mut(&record.id) {
        entry.record.on_demand = true;
        entry.record.decision = Some(session.view().decision);
        entry.record.duration = Some(session.view().duration);
        let told = |(size, bits): (_, u64)| run::variant(Some(size), Some(bits));
        entry.record.variants = Some(session.pictures().into_iter().map(told).collect());
        entry.quality = bounds.quality;
        entry.session = Some(session.clone());
        entry.changed.notify_waiters();
    }
    Ok(session)
}

/// Waits until the job can be played: its first segment is there.
///
/// # Errors
/// Why it cannot.
pub(super) async fn first(inner: &Arc<Inner>, id: &str, session: &Session) -> Result<(), Failure> {
    // The session has tried what there is to try.
    session.first().await.map_err(|message| Failure { kind: Some(ErrorKind::Format), message })?;
    let view = session.view();
    if let Some(entry) = inner.table().jobs.get_mut(id) {
        entry.record.encoder = view.encoder.or(entry.record.encoder.take());
        view.warnings.into_iter().for_each(|w| entry.record.warn(w));
    }
    Ok(())
}

/// The session of a job; that of a job of before a restart is opened again. `None`: it has none.
async fn session(inner: &Arc<Inner>, id: &str) -> Result<Option<Session>, FileError> {
    let (record, turn) = {
        let mut table = inner.table();
        let entry = table.jobs.get_mut(id).ok_or(FileError::NotFound)?;
        if entry.session.is_some() {
            return Ok(entry.session.clone());
        }
        let record = &entry.record;
        if !record.on_demand || record.status != Status::Ready || record.cleaned {
            return Ok(None);
        }
        (record.clone(), entry.opening.clone())
    };
    let _turn = turn.lock().await;
    if let Some(session) = inner.table().jobs.get(id).and_then(|e| e.session.clone()) {
        return Ok(Some(session));
    }
    tracing::info!(job = id, "its session is opened again");
    let prepared =
        run::prepare(inner, &record, &Mutex::default()).await.map_err(|e| FileError::Failed(e.message))?;
    open(inner, &record, prepared).await.map(Some).map_err(FileError::Failed)
}

/// A file of a job that is made on demand; `None`: it is not.
pub(super) async fn file(
    inner: &Arc<Inner>,
    id: &str,
    path: &str,
    hold: Duration,
) -> Option<Result<Served, FileError>> {
    match session(inner, id).await {
        Ok(None) => None,
        Ok(Some(session)) => {
            let hold = if files::is_playlist(path) { hold } else { hold.max(PATIENCE) };
            let served = session.file(path, hold).await.map_err(|e| inner.discreet(id, e));
            if let Some(entry) = inner.table().jobs.get_mut(id) {
                entry.record.accessed = now();
            }
            Some(served)
        }
        Err(e) => Some(Err(e)),
    }
}

/// Ends a session, and removes what it leaves behind.
pub(super) fn end(inner: &Arc<Inner>, id: &str, session: Session) {
    let (inner, id) = (inner.clone(), id.to_string());
    tokio::spawn(async move {
        session.close().await;
        let removed = tokio::task::spawn_blocking(move || {
            // A run may have written after the directory was removed; without its marker it would stay for ever.
            let directory = inner.directory(&id);
            if directory.is_dir()
                && let Err(e) = files::create(&directory)
            {
                tracing::debug!(job = id, error = %e, "the directory of a session that has ended");
            }
            inner.remove_files(&id);
        });
        if let Err(e) = removed.await {
            tracing::error!(error = %e, "removing files");
        }
    });
}
