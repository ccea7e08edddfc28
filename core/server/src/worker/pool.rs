//! Workers, some of them started before they are needed: a process takes a while to load FFmpeg.

use super::process::{Patience, Worker, adopt};
use super::protocol::Failure;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

/// How workers are started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// What is in their environment beside the server's.
    pub environment: Vec<(&'static str, OsString)>,
    /// How many are kept ready.
    pub idle: usize,
    /// Where they keep what is temporary (`TMPDIR`).
    pub temporary: PathBuf,
    /// How long they may take for what.
    pub patience: Patience,
}

/// The workers of a server. Clones share them. Must be made, and used, inside a tokio runtime.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    setup: Setup,
    idle: Mutex<Idle>,
    /// The thread that starts processes: they are killed when the thread that started them ends, so it lives as long as
    /// the pool.
    starter: std::sync::mpsc::Sender<oneshot::Sender<std::io::Result<Child>>>,
}

#[derive(Debug, Default)]
struct Idle {
    ready: Vec<Worker>,
    coming: usize,
    closed: bool,
}

impl Pool {
    /// A pool that begins to start its idle workers.
    ///
    /// # Errors
    /// No thread, or an empty command.
    pub fn open(setup: Setup) -> std::io::Result<Pool> {
        if setup.command.is_empty() {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "no command for workers"));
        }
        let (starter, requests) = std::sync::mpsc::channel::<oneshot::Sender<std::io::Result<Child>>>();
        let runtime = tokio::runtime::Handle::current();
        let how = setup.clone();
        std::thread::Builder::new().name("start workers".into()).spawn(move || {
            let _runtime = runtime.enter();
            for reply in requests {
                // Whoever asked may have gone; the child then ends with the handle.
                let _heard = reply.send(start(&how));
            }
        })?;
        let pool = Pool(Arc::new(Inner { setup, idle: Mutex::default(), starter }));
        pool.refill();
        Ok(pool)
    }

    /// A worker: a ready one, or one that is started now.
    ///
    /// # Errors
    /// [`Failure::is_lost`]: it cannot be started.
    pub async fn take(&self) -> Result<Worker, Failure> {
        let ready = {
            let mut idle = self.lock();
            idle.ready.retain(Worker::is_alive);
            idle.ready.pop()
        };
        self.refill();
        match ready {
            Some(worker) => Ok(worker),
            None => self.start().await,
        }
    }

    /// Starts no more idle workers and ends those that there are. Workers that were taken go on.
    pub fn close(&self) {
        let mut idle = self.lock();
        idle.closed = true;
        idle.ready.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn start(&self) -> Result<Worker, Failure> {
        let (reply, started) = oneshot::channel();
        let gone = || Failure::lost("workers are not started any more");
        self.0.starter.send(reply).map_err(|_| gone())?;
        let child = started.await.map_err(|_| gone())?.map_err(|e| {
            let program = self.0.setup.command.first().map(|c| c.to_string_lossy().into_owned());
            Failure::lost(format!("{}: a worker cannot be started: {e}", program.unwrap_or_default()))
        })?;
        adopt(child, self.0.setup.patience).await
    }

    /// Starts what is missing, one after the other, in the background.
    fn refill(&self) {
        let missing = {
            let mut idle = self.lock();
            let missing = self.0.setup.idle.saturating_sub(idle.ready.len() + idle.coming);
            if idle.closed || missing == 0 {
                return;
            }
            idle.coming += missing;
            missing
        };
        let pool = self.clone();
        tokio::spawn(async move {
            for _ in 0..missing {
                let started = pool.start().await;
                let mut idle = pool.lock();
                idle.coming -= 1;
                match started {
                    Ok(worker) if !idle.closed => idle.ready.push(worker),
                    Ok(_) => {}
                    // The next one who needs a worker is told why there is none.
                    Err(e) => tracing::warn!(error = %e, "no idle worker"),
                }
            }
        });
    }
}

fn start(setup: &Setup) -> std::io::Result<Child> {
    let mut words = setup.command.iter();
    let mut command = Command::new(words.next().map(OsString::as_os_str).unwrap_or_default());
    command
        .args(words)
        .env("TMPDIR", &setup.temporary)
        .envs(setup.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // Ctrl-C in a terminal is for the server, which lets its workers finish.
    #[cfg(unix)]
    command.process_group(0);
    command.spawn()
}
