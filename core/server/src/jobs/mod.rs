//! Jobs: what clients ask for, queued, run in worker processes, kept over restarts, shared between viewers, and cleaned
//! up. No media logic: a job is a pipeline document.

pub(crate) mod callback;
mod cleanup;
mod conform;
mod cooldown;
mod document;
mod fetch;
mod files;
mod film;
mod ladder;
mod media;
mod on_demand;
mod queue;
mod record;
mod retry;
mod run;
mod share;
mod steering;
mod store;
mod table;
mod tracks;
mod upload;
mod view;

pub use callback::signature;
pub use cooldown::Cooldowns;
pub(crate) use cooldown::{decodes_on, failed_over, stopped_decoding};
pub use document::{Context, Unfit, document, placed, source as source_spec};
pub use film::FilmPlan;
pub use ladder::{Bounds, Offer, Relief, Rung, Size};
pub use media::{Audio, Media, Text, Video};
pub(crate) use record::accel_of;
pub(crate) use retry::{Class, class, no_room};
pub use view::{
    Body, Cache, CannotCancel, Cleaned, CleanupStats, Client, Decision, DownloadError, FileError, JobEvent,
    JobView, Left, Served, SharedStream, SharedStreams, StartError, Stats, Status, Stored, StoredState,
};

use crate::config::Config;
use crate::contract::request::TranscodeRequest;
use crate::contract::values::Mode;
use crate::policy::SourcePolicy;
use crate::worker::{Patience, Pool, Setup};
use callback::Pending;
use record::{Record, now};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};
use store::Store;
use table::{Entry, Table};
use tokio::sync::{Notify, Semaphore, broadcast, oneshot};

/// How many events a slow listener may lag behind.
const EVENTS: usize = 4096;

/// All jobs of a server. Clones share them. Must be opened, and used, inside a tokio runtime.
#[derive(Clone)]
pub struct Jobs(Arc<Inner>);

/// Makes the body of a callback: the answer that a start would have.
type Describe = dyn Fn(&JobView) -> serde_json::Value + Send + Sync;

pub(crate) struct Inner {
    settings: RwLock<Arc<Settings>>,
    /// Where the jobs' directories are.
    root: PathBuf,
    pool: Pool,
    /// Room for the runs of playback sessions.
    places: crate::playback::Places,
    /// Hardware that keeps failing.
    cooldowns: Cooldowns,
    store: Store,
    /// Where finished jobs go.
    uploads: Option<upload::Uploads>,
    events: broadcast::Sender<JobEvent>,
    /// For calls to whoever wants to know how a job has ended.
    calls: Arc<Semaphore>,
    table: Mutex<Table>,
    /// Something waits, or there is room.
    wake: Notify,
    closing: tokio::sync::watch::Sender<bool>,
    describe: OnceLock<Box<Describe>>,
}

/// What can change while the server runs.
struct Settings {
    config: Config,
    policy: Arc<SourcePolicy>,
}

impl Settings {
    fn new(config: &Config) -> Arc<Settings> {
        Arc::new(Settings {
            config: config.clone(),
            policy: Arc::new(SourcePolicy::new(&config.security.sources)),
        })
    }
}

impl Jobs {
    /// Opens the jobs of a server: finished ones are served again, those that were waiting or interrupted run, and
    /// directories of ours that belong to none are removed.
    ///
    /// # Errors
    /// In words: a directory or the database cannot be used, or no worker program is found.
    pub fn open(config: &Config) -> Result<Jobs, String> {
        Jobs::open_with(config, Patience::default())
    }

    /// As [`Jobs::open`], with another patience for workers.
    ///
    /// # Errors
    /// As for [`Jobs::open`].
    pub fn open_with(config: &Config, patience: Patience) -> Result<Jobs, String> {
        let root = config.temp_directory();
        let at = |path: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        std::fs::create_dir_all(&root).map_err(|e| at(&root, &e))?;
        let root = root.canonicalize().map_err(|e| at(&root, &e))?;
        let uploads = upload::Uploads::of(&config.store)?;
        let (store, kept) = Store::open(&database(config, &root))?;
        // What workers of before left behind; nobody else uses this directory while the database is ours.
        let temporary = root.join(files::WORK);
        match std::fs::remove_dir_all(&temporary) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(at(&temporary, &e)),
            _ => std::fs::create_dir_all(&temporary).map_err(|e| at(&temporary, &e))?,
        }
        let pool = Pool::open(Setup {
            command: worker_command(config)?,
            environment: vec![(crate::worker::VAAPI, config.hardware.vaapi_device.clone().into())],
            idle: config.transcoding.idle_workers,
            temporary,
            patience,
        })
        .map_err(|e| format!("workers: {e}"))?;
        let settings = &config.transcoding;
        let mut table = Table::new(settings.max_concurrent_jobs, settings.max_queue_size, kept.counters);
        for record in kept.records {
            table.restore(record);
        }
        let inner = Arc::new(Inner {
            settings: RwLock::new(Settings::new(config)),
            root,
            pool,
            places: crate::playback::Places::new(runs(settings.max_concurrent_jobs)),
            cooldowns: Cooldowns::default(),
            store,
            uploads,
            events: broadcast::channel(EVENTS).0,
            calls: Arc::new(Semaphore::new(callback::AT_ONCE)),
            table: Mutex::new(table),
            wake: Notify::new(),
            closing: tokio::sync::watch::channel(false).0,
            describe: OnceLock::new(),
        });
        inner.adopt();
        upload::resume(&inner, kept.doomed);
        inner.deliver(kept.callbacks, None);
        tokio::spawn(run::dispatch(inner.clone()));
        tokio::spawn(cleanup::forever(inner.clone()));
        Ok(Jobs(inner))
    }

    /// Says how a job is described to a callback. The first one that is set stays.
    pub fn describe_with(&self, describe: impl Fn(&JobView) -> serde_json::Value + Send + Sync + 'static) {
        // A second one comes from a second server over the same jobs, which there is not.
        let _first = self.0.describe.set(Box::new(describe));
    }

    /// Takes new settings over: limits and rules hold for jobs that begin from now on.
    pub fn reload(&self, config: &Config) {
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) = Settings::new(config);
        self.0.table().queue.set_capacity(config.transcoding.max_queue_size);
        self.set_limit(config.transcoding.max_concurrent_jobs);
    }

    /// How many jobs may run at once from now on, and with them how many runs of playback sessions. Running ones go on.
    pub fn set_limit(&self, limit: usize) {
        self.0.table().queue.set_limit(limit);
        self.0.places.resize(runs(limit));
        self.0.wake.notify_one();
    }

    /// What a job that begins from now on may make at most, for this machine in its present state. Encoders that run follow
    /// a change of the quality at once, where they can.
    pub fn set_bounds(&self, bounds: Bounds) {
        let events = self.0.table().set_bounds(bounds);
        // Nobody may listen.
        events.into_iter().for_each(|event| drop(self.0.events.send(event)));
    }

    /// The workers, for runs that belong to no queue.
    pub fn pool(&self) -> Pool {
        self.0.pool.clone()
    }

    /// Starts a job, or joins one that makes the same. The request's sources were held against the policy before. When it
    /// returns, the job outlives a crash of the server.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(&self, request: TranscodeRequest, client: Client) -> Result<JobView, StartError> {
        let inner = &self.0;
        if request.source.trim().is_empty() {
            return Err(StartError::Invalid { field: "source".into(), message: "is empty".into() });
        }
        if *inner.closing.borrow() {
            return Err(StartError::Internal("the server is shutting down".into()));
        }
        let share = share::key(&request).unwrap_or_default();
        let session = client.session.clone().or(request.session_id.clone());
        let callback = request.callback_url.clone();
        let record = {
            let mut table = inner.table();
            if let Some(joined) = table.join(&share, session.as_deref(), callback.as_deref()) {
                inner.store.put(&joined);
                let view = table.view(&joined.id);
                drop(table);
                // What he wants to hear of has happened.
                if let (Some(url), Some(view)) = (&callback, &view)
                    && joined.status.is_over()
                {
                    let calls = inner.calls(&joined, view, std::iter::once(url));
                    let written = inner.store.keep_calls(calls.clone());
                    inner.deliver(calls, Some(written));
                }
                return view.ok_or_else(|| StartError::Internal("the job has gone".into()));
            }
            let record = new_record(request, client.id, session, share);
            if table.queue.push(record.waiting(0.0)).is_err() {
                return Err(StartError::QueueFull { retry_after: table.patience() });
            }
            table.insert(Entry::new(record.clone()));
            record
        };
        if let Err(e) = inner.store.keep(&record).await {
            inner.table().forget(&record.id);
            return Err(StartError::Internal(format!("the job cannot be kept: {e}")));
        }
        tracing::info!(job = record.id, source = crate::policy::masked(&record.source), "queued");
        inner.wake.notify_one();
        // As it was asked for: by now it may be under way.
        Ok(record.view(&record::Live::default()))
    }

    /// Adds to what is worth knowing of a job.
    pub fn warn(&self, id: &str, warnings: impl IntoIterator<Item = String>) {
        if let Some(entry) = self.0.table().jobs.get_mut(id) {
            warnings.into_iter().for_each(|w| entry.record.warn_once(w));
            self.0.store.put(&entry.record);
        }
    }

    /// A job as it is now.
    pub fn get(&self, id: &str) -> Option<JobView> {
        self.0.table().view(id)
    }

    /// All jobs, the oldest first.
    pub fn list(&self) -> Vec<JobView> {
        let table = self.0.table();
        let mut views: Vec<JobView> = table.jobs.keys().filter_map(|id| table.view(id)).collect();
        views.sort_by_key(|v| v.created_at);
        views
    }

    /// Cancels a job that waits or runs, or one that makes its segments when they are asked for; its files are removed.
    ///
    /// # Errors
    /// [`CannotCancel`].
    pub async fn cancel(&self, id: &str) -> Result<(), CannotCancel> {
        if self.0.cancel(id, "cancelled by a client") { Ok(()) } else { Err(CannotCancel) }
    }

    /// Cancels and forgets a job, with its files. `false`: there is none.
    pub async fn delete(&self, id: &str) -> bool {
        let inner = &self.0;
        let known = inner.table().jobs.contains_key(id);
        if !known {
            return false;
        }
        inner.cancel(id, "deleted by a client");
        inner.forget(id);
        let (this, id) = (inner.clone(), id.to_string());
        // The files of a running job go when its worker has ended.
        tokio::task::spawn_blocking(move || this.remove_files(&id));
        true
    }

    /// A viewer leaves. `None`: there is no such job.
    pub fn leave(&self, id: &str, session: Option<&str>) -> Option<Left> {
        let mut table = self.0.table();
        let entry = table.jobs.get_mut(id)?;
        let record = &mut entry.record;
        record.viewers = record.viewers.saturating_sub(1);
        if let Some(session) = session {
            record.sessions.remove(session);
        }
        let left = Left { viewers_remaining: record.viewers, is_shared: record.viewers > 1 };
        self.0.store.put(record);
        Some(left)
    }

    /// A file below `/stream/{id}/`. A playlist that is not there yet is waited for, at most for `hold`, as long as the job
    /// may still make it.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn file(&self, id: &str, path: &str, hold: Duration) -> Result<Served, FileError> {
        let deadline = Instant::now().checked_add(hold);
        loop {
            let (status, error, changed) = {
                let mut table = self.0.table();
                let entry = table.jobs.get_mut(id).ok_or(FileError::NotFound)?;
                entry.record.accessed = now();
                (entry.record.status, entry.record.error.clone(), entry.changed.clone())
            };
            let mut news = std::pin::pin!(changed.notified());
            // From here on no change is missed.
            news.as_mut().enable();
            let file = files::locate(&self.0.directory(id), path)?;
            let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            if let Some(served) = on_demand::file(&self.0, id, path, left.unwrap_or(hold)).await {
                return served;
            }
            let checked = self.0.settings().config.transcoding.validate_segments;
            match files::serve(&file, path) {
                Ok(_) if checked && !files::is_sound(&file) => {
                    return Err(FileError::Failed(format!("{path} is damaged")));
                }
                Ok(served) => return Ok(served),
                Err(_) => {}
            }
            if status == Status::Error {
                let why = FileError::Failed(error.unwrap_or_else(|| "the job failed".into()));
                return Err(self.0.discreet(id, why));
            }
            let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            let out_of_time = left.is_some_and(|l| l.is_zero());
            if status.is_over() || !files::is_playlist(path) || out_of_time {
                return Err(FileError::NotFound);
            }
            // When the time is over, the next turn says so.
            let _in_time = tokio::time::timeout(left.unwrap_or(hold), news).await;
        }
    }

    /// The file, or the archive, of a batch job.
    ///
    /// # Errors
    /// [`DownloadError`].
    pub fn download(&self, id: &str) -> Result<Served, DownloadError> {
        let name = {
            let mut table = self.0.table();
            let entry = table.jobs.get_mut(id).ok_or(DownloadError::NotFound)?;
            if entry.record.status != Status::Ready {
                return Err(DownloadError::NotReady(entry.record.status));
            }
            entry.record.accessed = now();
            entry.record.file_name().ok_or(DownloadError::Gone)?
        };
        files::attach(&self.0.directory(id).join(name), name).map_err(|_| DownloadError::Gone)
    }

    /// Everything that happens from now on.
    pub fn events(&self) -> broadcast::Receiver<JobEvent> {
        self.0.events.subscribe()
    }

    /// Kinds of hardware encoders that keep failing and are off, with the seconds that are left.
    pub fn off(&self) -> std::collections::BTreeMap<String, u64> {
        self.0.cooldowns.off()
    }

    /// Devices that keep failing to decode and decode nothing now, with the seconds that are left.
    pub fn decoders_off(&self) -> std::collections::BTreeMap<String, u64> {
        self.0.cooldowns.decoders_off()
    }

    /// How many successful jobs were encoded by whom (`nvenc` … `software`); survives restarts, as the counters do.
    pub fn usage(&self) -> std::collections::BTreeMap<String, u64> {
        self.0.table().usage()
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.0.table().stats()
    }

    /// Streams with viewers.
    pub fn shared(&self) -> SharedStreams {
        self.0.table().shared()
    }

    /// What the clean-up sees.
    pub fn cleanup_stats(&self) -> CleanupStats {
        let table = self.0.table();
        cleanup::stats(&table, &self.0.root)
    }

    /// A pass of the clean-up, now.
    pub async fn run_cleanup(&self) -> Cleaned {
        cleanup::pass(&self.0, true).await
    }

    /// Ends all work in order: waiting jobs stay queued and running ones are queued again, for the next start.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

/// The runs of playback sessions that go with `jobs` jobs at once: a viewer far from the others needs a second run, and halted
/// ones cost only memory.
fn runs(jobs: usize) -> usize {
    jobs.saturating_mul(2)
}

fn new_record(request: TranscodeRequest, client: String, session: Option<String>, share: String) -> Record {
    let stream = request.mode != Mode::Batch;
    Record {
        id: uuid::Uuid::new_v4().to_string(),
        source: request.source.clone(),
        client,
        status: Status::Queued,
        created: now(),
        started: None,
        completed: None,
        accessed: now(),
        duration: None,
        reached: 0.0,
        frames: 0,
        bytes: 0,
        attempts: 0,
        software: false,
        encoder: None,
        error: None,
        warnings: Vec::new(),
        viewers: u32::from(stream),
        sessions: session.filter(|_| stream).into_iter().collect(),
        callbacks: request.callback_url.iter().cloned().collect(),
        share,
        on_demand: false,
        decision: None,
        media_info: None,
        copy_start: None,
        variants: None,
        stored: None,
        cleaned: false,
        request,
    }
}

/// The database of the jobs whose files are in `root`. Servers with other directories have others.
fn database(config: &Config, root: &Path) -> PathBuf {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(root.to_string_lossy().as_bytes());
    let name: String = hash.iter().take(6).map(|b| format!("{b:02x}")).collect();
    config.state_directory().join(format!("jobs-{name}.sqlite3"))
}

/// What runs a worker: the settings' command, this program if it is `ghoststream`, or the one on the path.
fn worker_command(config: &Config) -> Result<Vec<OsString>, String> {
    let configured = &config.transcoding.worker_command;
    if !configured.is_empty() {
        return Ok(configured.iter().map(OsString::from).collect());
    }
    let this = std::env::current_exe().map_err(|e| format!("this program's path: {e}"))?;
    let is_command = |p: &Path| p.file_stem().is_some_and(|name| name == "ghoststream");
    if is_command(&this) {
        return Ok(vec![this.into(), "worker".into()]);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|d| d.join("ghoststream")).find(|p| p.is_file());
    match found {
        Some(program) => Ok(vec![program.into(), "worker".into()]),
        None => {
            Err("transcoding.worker_command: no ghoststream program on the PATH; say how to start one".into())
        }
    }
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `error` without the folders of this machine: who has a stream's address need not know where its files are.
    fn discreet(&self, id: &str, error: FileError) -> FileError {
        let FileError::Failed(why) = error else { return error };
        let mut why = why.replace(&format!("{}/", self.directory(id).display()), "");
        if let Some(entry) = self.table().jobs.get(id)
            && !entry.record.source.contains("://")
        {
            let source = &entry.record.source;
            let name = Path::new(source).file_name().unwrap_or_default().to_string_lossy();
            why = why.replace(source, &name);
        }
        FileError::Failed(why)
    }

    /// The directory of a job. Its id is one of ours, never a client's word.
    fn directory(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }

    /// What a restart finds: jobs to run again are queued, the rest is as it was.
    fn adopt(&self) {
        let mut table = self.table();
        let requeued = table.requeue();
        for record in &requeued {
            self.store.put(record);
        }
        drop(table);
        if !requeued.is_empty() {
            tracing::info!(jobs = requeued.len(), "jobs of before the restart are queued again");
        }
        cleanup::sweep(self);
    }

    /// Forgets a job, with what is in the object store of it.
    fn forget(self: &Arc<Self>, id: &str) {
        let stored = {
            let mut table = self.table();
            let stored = table.jobs.get(id).is_some_and(|e| e.record.stored.is_some());
            table.forget(id);
            stored
        };
        // Written down before the job is gone, so that nothing stays there after a crash in between.
        if stored {
            upload::remove(self, id);
        }
        self.store.remove(id);
    }

    fn remove_files(&self, id: &str) {
        if let Err(e) = files::remove(&self.directory(id))
            && e.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(job = id, error = %e, "files stay");
        }
    }

    /// Sets a status: kept, told, and those who wait for it are woken.
    fn set_status(&self, id: &str, status: Status, change: impl FnOnce(&mut Record)) {
        let (record, view) = {
            let mut table = self.table();
            let Some(entry) = table.jobs.get_mut(id) else { return };
            // A stream on demand is ready before it is cancelled, and was counted then.
            let was_over = entry.record.status.is_over();
            // What is over stays so, whatever a run says that did not know.
            if was_over && status != Status::Cancelled {
                return;
            }
            entry.record.status = status;
            change(&mut entry.record);
            if status.is_over() {
                entry.record.completed = Some(now());
            }
            let record = entry.record.clone();
            let view = record.view(&entry.live);
            entry.changed.notify_waiters();
            if status.is_over() && !was_over {
                table.finished(&record);
                self.store.count(table.counters);
            }
            (record, view)
        };
        let calls = match status.is_over() {
            true => self.calls(&record, &view, record.callbacks.iter()),
            false => Vec::new(),
        };
        let written = self.store.end(&record, calls.clone());
        if status != Status::Queued {
            // Nobody may listen.
            let _heard = self.events.send(JobEvent::Status { job: id.into(), status });
        }
        tracing::info!(job = id, status = status.name(), error = record.error, "status");
        self.deliver(calls, Some(written));
    }

    /// What tells `urls` how a job has ended.
    fn calls<'a>(
        &self,
        record: &Record,
        view: &JobView,
        urls: impl Iterator<Item = &'a String>,
    ) -> Vec<Pending> {
        let body = || match self.describe.get() {
            Some(describe) => describe(view),
            None => serde_json::json!({ "job_id": view.id, "status": view.status, "progress": view.progress,
                "error_message": view.error }),
        };
        let call = |url: &String| Pending {
            id: uuid::Uuid::new_v4().to_string(),
            job: record.id.clone(),
            url: url.clone(),
            event: record.status.name().into(),
            body: body().to_string(),
            tried: 0,
        };
        urls.map(call).collect()
    }

    /// Makes calls, once they are in the database.
    fn deliver(&self, calls: Vec<Pending>, written: Option<oneshot::Receiver<()>>) {
        if calls.is_empty() {
            return;
        }
        let settings = self.settings();
        let security = &settings.config.security;
        let secret = security.registration_secret.as_ref().or(security.api_key.as_ref());
        let by = callback::Caller {
            store: self.store.clone(),
            policy: settings.policy.clone(),
            secret: secret.map(|s| s.reveal().to_string()),
            places: self.calls.clone(),
        };
        tokio::spawn(async move {
            if let Some(written) = written {
                // A store that is closed writes nothing; whoever wants to hear of it should all the same.
                let _kept_or_not = written.await;
            }
            for call in calls {
                tokio::spawn(callback::deliver(call, by.clone()));
            }
        });
    }

    /// Cancels a job that is not over. `false`: it is, or there is none.
    fn cancel(self: &Arc<Self>, id: &str, why: &str) -> bool {
        let (run, session) = {
            let mut table = self.table();
            let Some(entry) = table.jobs.get_mut(id) else { return false };
            let open = !entry.record.status.is_over()
                || (entry.record.status == Status::Ready && entry.record.on_demand && !entry.record.cleaned);
            if !open {
                return false;
            }
            entry.record.cleaned = true;
            let (share, run) = (entry.record.share.clone(), entry.run.clone());
            let session = entry.session.take();
            table.unshare(&share, id);
            table.queue.remove(id);
            (run, session)
        };
        tracing::info!(job = id, "{why}");
        self.set_status(id, Status::Cancelled, |_| {});
        if let Some(run) = &run {
            // It removes the files when its worker has ended.
            run.end(table::Why::Cancelled);
        }
        match session {
            Some(session) => on_demand::end(self, id, session),
            None if run.is_none() => {
                let (this, id) = (self.clone(), id.to_string());
                tokio::task::spawn_blocking(move || this.remove_files(&id));
            }
            None => {}
        }
        true
    }

    async fn close(&self) {
        self.closing.send_replace(true);
        self.wake.notify_one();
        self.pool.close();
        let sessions: Vec<_> = self.table().jobs.values_mut().filter_map(|e| e.session.take()).collect();
        for session in &sessions {
            session.close().await;
        }
        let runs: Vec<table::RunHandle> = self.table().jobs.values().filter_map(|e| e.run.clone()).collect();
        for run in &runs {
            run.end(table::Why::Closing);
        }
        for run in runs {
            run.ended().await;
        }
        self.store.close().await;
    }
}
