//! Files of recordings that go: what is too old, too much, or empty.

use super::Recording;
use super::held::taken_now;
use crate::live::recordings::is_notes;
use ghoststream::spec::Container;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub(super) fn remove(files: Vec<PathBuf>) {
    for path in files {
        match std::fs::remove_file(&path) {
            Ok(()) => tracing::info!("removed {}", path.display()),
            Err(e) => tracing::warn!("cannot remove {}: {e}", path.display()),
        }
    }
}

/// The files of a recording that have nothing in them.
pub(super) fn empty(files: &Recording) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(&files.directory).into_iter().flatten().flatten();
    let nothing = |path: &PathBuf| {
        is_recorded(path, files.container)
            && std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() == 0)
    };
    entries.map(|e| e.path()).filter(nothing).collect()
}

/// Removes files of recordings below `root` that nobody makes any more: they grow old too. With the last one of a recording its
/// directory goes. `rules` gives how long and how much is kept.
pub(in crate::live) fn sweep_below(root: &Path, rules: impl Fn(PathBuf, Container) -> Recording) {
    let mut open = vec![root.to_path_buf()];
    let mut seen = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            // What a link leads to is not looked into.
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                open.push(entry.path());
            }
        }
        seen.push(directory);
    }
    // Those inside of others first.
    for directory in seen.into_iter().rev() {
        let Ok(whole) = directory.canonicalize() else { continue };
        let containers = [Container::Mp4, Container::Mkv, Container::Ts];
        let mut old = Vec::new();
        let taken = taken_now();
        for container in containers.iter().filter(|c| !taken.contains(&(whole.clone(), **c))) {
            old.extend(outdated(&rules(directory.clone(), *container), false, SystemTime::now()));
        }
        // To remove large files may take long.
        drop(taken);
        let gone = !old.is_empty();
        remove(old);
        // Nobody begins to record there meanwhile.
        let taken = taken_now();
        let mut left = containers.iter().any(|c| taken.contains(&(whole.clone(), *c)));
        let files = std::fs::read_dir(&directory).into_iter().flatten().flatten();
        let (noted, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|e| is_notes(&e.file_name()));
        left |= !others.is_empty();
        if !left && directory != root && (gone || !noted.is_empty()) {
            // It stays where something came into it meanwhile.
            remove(noted.iter().map(|e| e.path()).collect());
            let _kept = std::fs::remove_dir(&directory);
        }
    }
}

/// Whether a file is one of a recording's: it is called by a time.
pub(in crate::live) fn is_recorded(path: &Path, container: Container) -> bool {
    let digits =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'_');
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    // A name that was taken has a number behind it.
    let stem = stem.split([' ', '(']).next().unwrap_or_default();
    path.extension().and_then(|e| e.to_str()) == Some(container.name()) && stem.len() >= 19 && digits(stem)
}

/// The files of a recording that are to go, oldest first. While it is `made` the newest one stays, however old: it may be being
/// written. It does not count for how much there may be.
pub(super) fn outdated(files: &Recording, made: bool, now: SystemTime) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(&files.directory) else { return Vec::new() };
    let mut found: Vec<(SystemTime, u64, PathBuf)> = entries
        .flatten()
        .filter(|e| is_recorded(&e.path(), files.container))
        .filter_map(|e| {
            let meta = e.metadata().ok().filter(|m| m.is_file())?;
            Some((meta.modified().ok()?, meta.len(), e.path()))
        })
        .collect();
    found.sort();
    let old = |modified: SystemTime| {
        let age = now.duration_since(modified).unwrap_or_default();
        files.keep.is_some_and(|keep| age > keep)
    };
    let newest = found.pop().filter(|newest| !made && old(newest.0));
    let mut bytes: u64 = found.iter().map(|f| f.1).sum();
    let mut gone = Vec::new();
    for (modified, size, path) in found {
        if old(modified) || files.most.is_some_and(|most| bytes > most) {
            bytes -= size;
            gone.push(path);
        }
    }
    gone.extend(newest.map(|(.., path)| path));
    gone
}

#[cfg(test)]
mod tests {
    use super::super::held::Held;
    use super::*;
    use std::time::Duration;

    fn recording(directory: &Path) -> Recording {
        Recording {
            directory: directory.into(),
            container: Container::Mkv,
            segment: 60.0,
            keep: Some(Duration::from_secs(1000)),
            most: Some(25),
        }
    }

    #[test]
    fn old_files_go_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..5).map(|n| format!("2026-01-01_00-00-0{n}.mkv")).collect();
        let began = SystemTime::now();
        for (n, name) in names.iter().enumerate() {
            let path = dir.path().join(name);
            std::fs::write(&path, [0; 10]).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(began - Duration::from_secs(100 - n as u64)).unwrap();
        }
        std::fs::write(dir.path().join("mine.mkv"), [0; 1000]).unwrap();
        std::fs::write(dir.path().join("2026-01-01_00-00-00.txt"), [0; 1000]).unwrap();
        let gone = |files: &Recording, now| -> Vec<String> {
            let name = |p: PathBuf| p.file_name().unwrap().to_string_lossy().into_owned();
            outdated(files, true, now).into_iter().map(name).collect()
        };
        let files = recording(dir.path());
        assert_eq!(gone(&files, began), names[..2], "25 bytes stay besides the newest");
        assert_eq!(gone(&Recording { most: None, ..files.clone() }, began), [""; 0]);
        let later = began + Duration::from_secs(1000);
        let old = Recording { most: None, ..files.clone() };
        assert_eq!(gone(&old, later), names[..4], "all but the newest are old");
        assert_eq!(outdated(&old, false, later).len(), 5, "the newest too, when nobody records any more");
        assert_eq!(outdated(&files, false, began).len(), 2);
        assert!(empty(&files).is_empty());
        std::fs::write(dir.path().join(&names[3]), "").unwrap();
        std::fs::write(dir.path().join("mine.mkv"), "").unwrap();
        assert_eq!(empty(&files), [dir.path().join(&names[3])]);
    }

    #[test]
    fn recordings_that_are_over_grow_old_and_those_that_are_made_stay() {
        let root = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - Duration::from_secs(5000);
        let put = |name: &str, when: SystemTime| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, [0; 10]).unwrap();
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(when).unwrap();
            path
        };
        let [a, b, d] = ["live/a", "live/a/b", "d"].map(|dir| {
            put(&format!("{dir}/recording.mkv.jsonl"), old);
            put(&format!("{dir}/2026-01-01_00-00-00.mkv"), old)
        });
        let mine = put("d/mine.mkv", old);
        let young = put("young/2026-01-01_00-00-00.mkv", SystemTime::now());
        let rules = |directory: PathBuf, container| Recording { container, ..recording(&directory) };
        let made = Recording { directory: root.path().join("live/./a"), ..recording(root.path()) };
        let held = Held::take(&made).unwrap().unwrap();
        assert!(Held::take(&recording(a.parent().unwrap())).unwrap().is_none(), "one at a time");
        sweep_below(root.path(), rules);
        assert!(a.exists() && !b.parent().unwrap().exists() && !d.exists());
        assert!(mine.exists() && young.exists());
        drop(held);
        sweep_below(root.path(), rules);
        assert!(!a.parent().unwrap().exists() && a.parent().unwrap().parent().unwrap().exists());
        assert!(mine.exists() && young.exists() && root.path().exists());
        let never = |directory: PathBuf, container| Recording {
            keep: None,
            most: None,
            ..rules(directory, container)
        };
        put("live/a/2026-01-01_00-00-00.mkv", old);
        sweep_below(root.path(), never);
        assert!(a.exists());
    }
}
