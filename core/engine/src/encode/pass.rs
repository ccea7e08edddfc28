//! What the two passes of a two-pass encode share.

use crate::error::{Context, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The statistics that the first pass gathers and the second one uses. One per track; clones share it. What lies in
/// files is removed with the last clone.
#[derive(Clone, Debug)]
pub struct PassLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    /// By opening of the encoder: one that is opened again at key frames has statistics of each stretch.
    stats: Mutex<Vec<String>>,
}

/// Which pass an encoder makes.
#[derive(Clone, Debug)]
pub enum Pass {
    /// The first: only the statistics matter. Most encoders give packets all the same; libvpx and libaom give none.
    First(PassLog),
    /// The second.
    Second(PassLog),
}

impl PassLog {
    /// An empty log, with a directory of its own below the system's for temporary files.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`] and the like when the directory cannot be made.
    pub fn new() -> Result<PassLog> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("ghoststream-{}-pass-{number}", std::process::id()));
        // Not create_dir_all: a directory that someone else prepared must not be used.
        std::fs::create_dir(&directory).context(|| directory.display().to_string())?;
        Ok(PassLog(Arc::new(Inner { directory, stats: Mutex::default() })))
    }

    /// Where encoders that keep a file put it.
    pub(crate) fn file(&self) -> PathBuf {
        self.0.directory.join("stats")
    }

    /// Keeps the statistics of the encoder's next opening.
    pub(crate) fn put(&self, stats: &str) {
        self.0.stats.lock().unwrap_or_else(PoisonError::into_inner).push(stats.to_owned());
    }

    /// The statistics of the encoder's opening number `opening`; `None` when the first pass had fewer.
    pub(crate) fn get(&self, opening: usize) -> Option<String> {
        self.0.stats.lock().unwrap_or_else(PoisonError::into_inner).get(opening).cloned()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        remove(&self.directory);
    }
}

fn remove(directory: &Path) {
    if let Err(e) = std::fs::remove_dir_all(directory) {
        tracing::debug!(directory = %directory.display(), error = %e, "cannot remove statistics");
    }
}

impl Pass {
    /// 1 or 2.
    pub fn number(&self) -> u8 {
        match self {
            Pass::First(_) => 1,
            Pass::Second(_) => 2,
        }
    }

    /// What the passes share.
    pub fn log(&self) -> &PassLog {
        match self {
            Pass::First(log) | Pass::Second(log) => log,
        }
    }
}
