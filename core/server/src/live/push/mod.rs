//! A stream sent on: pushed to an address, or recorded to files that go when they are old. What the target carries is copied.

mod held;
mod old_files;
mod target;
mod worker;

#[cfg(test)]
pub(super) use held::hold;
pub(super) use held::is_made;
pub(super) use old_files::{is_recorded, sweep_below};
pub use target::{PushTarget, Recording};

use super::registry::Live;
use super::stream::{Reader, Start, Stream};
use ghoststream::{Error, ErrorKind, Result};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;
use worker::Worker;

/// What a push does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PushState {
    /// Nobody publishes the stream.
    Waiting,
    /// The target is being opened.
    Starting,
    /// Packets go there.
    Running,
    /// The connection broke, and is made again.
    Reconnecting,
    /// It failed, and will be tried again.
    Error,
    /// It is over.
    Stopped,
}

/// State of a push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PushStatus {
    /// What it does.
    pub state: PushState,
    /// Why it reconnects or failed.
    pub message: Option<String>,
    /// Files that are complete.
    pub files: u64,
}

/// A stream that is sent on. Dropping it ends that: what was sent is finished, within seconds. All methods may be called from
/// any thread.
#[derive(Debug)]
pub struct Push {
    stop: Arc<AtomicBool>,
    status: watch::Receiver<PushStatus>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Push {
    /// Begins to send `source` to `target`, whether somebody publishes it now or later. `live` is told when packets begin to go
    /// to an address, and when they cease to.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming a field of `target`; an I/O error for a directory that cannot be made;
    /// [`ErrorKind::Memory`] when the system gives no thread. What is wrong with the target is told by [`Push::status`].
    pub fn start(live: &Live, source: &Arc<Stream>, target: PushTarget) -> Result<Push> {
        Push::begin(Some(live), source, target, source.subscribe(Start::Group))
    }

    /// As [`Push::start`] into files; that is no reason to fetch a stream that is fetched on demand.
    ///
    /// # Errors
    /// As there.
    pub fn record(source: &Arc<Stream>, recording: Recording) -> Result<Push> {
        Push::begin(None, source, PushTarget::Files(recording), source.work_on(Start::Group))
    }

    fn begin(live: Option<&Live>, source: &Arc<Stream>, target: PushTarget, reader: Reader) -> Result<Push> {
        target.check()?;
        if let PushTarget::Files(files) = &target {
            std::fs::create_dir_all(&files.directory)
                .map_err(|e| Error::from(e).context(files.directory.display()))?;
        }
        let first = PushStatus { state: PushState::Waiting, message: None, files: 0 };
        let (tell, status) = watch::channel(first);
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Worker::new(live, source, target, tell);
        let told = stop.clone();
        let thread = std::thread::Builder::new()
            .name("gs-push".into())
            .spawn(move || worker.work(reader, &told))
            .map_err(|e| Error::with_source(ErrorKind::Memory, "cannot start a thread", e))?;
        Ok(Push { stop, status, thread: Some(thread) })
    }

    /// What it does now.
    pub fn status(&self) -> PushStatus {
        self.status.borrow().clone()
    }

    /// What it does, as it changes.
    pub fn watch(&self) -> watch::Receiver<PushStatus> {
        self.status.clone()
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A panic in it has been told where it happened.
            let _ = thread.join();
        }
    }
}
