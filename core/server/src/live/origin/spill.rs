//! Old segments on disk: what is far behind the live edge is asked for seldom, and needs no memory. A file is there as long as
//! somebody may ask for it.

use bytes::Bytes;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What the directories of openings are called, before their token.
const NAME: &str = "live-";

/// A directory of an opening's own. It is removed with the last of its files.
#[derive(Debug)]
pub(super) struct Spill {
    directory: PathBuf,
    next: AtomicU64,
    /// Whether somebody writes: one at a time, who takes all that is old by then.
    busy: AtomicBool,
}

/// The right to write; given back when it goes.
pub(super) struct Turn(Arc<Spill>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

/// A segment on disk; the file goes with it.
#[derive(Debug)]
pub(super) struct Spilled {
    path: PathBuf,
    _in: Arc<Spill>,
}

impl Spill {
    /// Below `root`, for the opening with `token`.
    pub fn new(root: &Path, token: &str) -> Spill {
        Spill {
            directory: root.join(format!("{NAME}{token}")),
            next: AtomicU64::new(0),
            busy: AtomicBool::new(false),
        }
    }

    /// The right to write, unless somebody has it.
    pub fn turn(self: &Arc<Self>) -> Option<Turn> {
        (!self.busy.swap(true, Ordering::AcqRel)).then(|| Turn(self.clone()))
    }

    /// Writes a segment.
    pub fn write(self: &Arc<Self>, chunks: &[Bytes]) -> io::Result<Spilled> {
        std::fs::create_dir_all(&self.directory)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // From here on it is removed, whatever happens.
        let spilled = Spilled { path: self.directory.join(number.to_string()), _in: self.clone() };
        let mut file = std::fs::File::create(&spilled.path)?;
        chunks.iter().try_for_each(|chunk| file.write_all(chunk))?;
        Ok(spilled)
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        // Nothing was written, or somebody else has taken it away.
        let _gone = std::fs::remove_dir(&self.directory);
    }
}

impl Spilled {
    /// All of it.
    pub fn read(&self) -> io::Result<Bytes> {
        std::fs::read(&self.path).map(Bytes::from)
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        // It could not be written, or somebody else has taken it away.
        let _gone = std::fs::remove_file(&self.path);
    }
}

/// Makes the directory `root`, and removes what a server that was killed has left there.
///
/// # Errors
/// A directory that cannot be made or read.
pub(in crate::live) fn prepare(root: &Path) -> io::Result<()> {
    std::fs::create_dir_all(root)?;
    for entry in std::fs::read_dir(root)?.flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(NAME)) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_with_who_may_ask_for_them() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("spill");
        std::fs::create_dir_all(root.join("live-old/x")).unwrap();
        std::fs::create_dir_all(root.join("mine")).unwrap();
        prepare(&root).unwrap();
        let there = |path: &Path| std::fs::read_dir(path).unwrap().count();
        assert_eq!(there(&root), 1, "what is not ours stays");
        let spill = Arc::new(Spill::new(&root, "abc"));
        let one = spill.write(&[Bytes::from_static(b"a"), Bytes::from_static(b"bc")]).unwrap();
        let two = spill.write(&[Bytes::from_static(b"d")]).unwrap();
        assert_eq!((&one.read().unwrap()[..], &two.read().unwrap()[..]), (&b"abc"[..], &b"d"[..]));
        drop((spill, one));
        assert_eq!(there(&root.join("live-abc")), 1);
        drop(two);
        assert_eq!(there(&root), 1);
    }
}
