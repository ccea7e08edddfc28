//! Which directories are recorded into now.

use super::Recording;
use ghoststream::spec::Container;
use ghoststream::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Directories that are recorded into now, and in which form.
pub(super) type Taken = Vec<(PathBuf, Container)>;

static TAKEN_NOW: Mutex<Taken> = Mutex::new(Vec::new());

pub(super) fn taken_now() -> MutexGuard<'static, Taken> {
    TAKEN_NOW.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory while it is recorded into: two recordings in one would take each other's files and times.
#[derive(Debug)]
pub(super) struct Held(PathBuf, Container);

impl Held {
    /// The directory is made where it is missing. `None` while another recording has it.
    pub fn take(files: &Recording) -> Result<Option<Held>> {
        let mut all = taken_now();
        std::fs::create_dir_all(&files.directory)
            .map_err(|e| Error::from(e).context(files.directory.display()))?;
        // However it was written.
        let directory = files.directory.canonicalize()?;
        let held = (directory.clone(), files.container);
        if all.contains(&held) {
            return Ok(None);
        }
        all.push(held);
        Ok(Some(Held(directory, files.container)))
    }
}

/// Whether files are made in a directory now.
pub(in crate::live) fn is_made(directory: &Path, container: Container) -> bool {
    let Ok(directory) = directory.canonicalize() else { return false };
    taken_now().contains(&(directory, container))
}

/// Makes a directory one that is recorded into, for as long as what it gives is there.
#[cfg(test)]
pub(in crate::live) fn hold(directory: &Path, container: Container) -> impl Drop + use<> {
    let directory = directory.to_path_buf();
    let files = Recording { directory, container, segment: 0.0, keep: None, most: None };
    Held::take(&files).unwrap().unwrap()
}

impl Drop for Held {
    fn drop(&mut self) {
        taken_now().retain(|(directory, container)| (directory, container) != (&self.0, &self.1));
    }
}
