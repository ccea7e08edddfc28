//! Places on disk that never show a half-written result: files are made under another name and renamed when complete,
//! and everything made is remembered so that it can be taken back.

use crate::error::{Context, Error, ErrorKind, Result};
use crate::spec::STANDARD_OUTPUT;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes names of parts differ: two jobs may write the same file.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A file being made.
#[derive(Debug)]
pub(crate) struct Place {
    target: PathBuf,
    /// Where that is, of a link.
    place: PathBuf,
    working: PathBuf,
    overwrite: bool,
    /// It was open before, as a shell's standard output: nothing of ours to take away.
    lent: bool,
    /// Who may do what with the file that it replaces.
    rights: Option<std::fs::Permissions>,
}

impl Place {
    /// Claims `target`. With `direct` it grows under its own name (crash-safe formats, devices); otherwise under
    /// `<target>.part` until [`Place::commit`], or under a name of its own where that one is taken: it may be somebody's
    /// download, another job's file, or the very input.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the file exists and `overwrite` is false; I/O errors when the directory is missing
    /// or cannot be written.
    pub fn claim(target: &Path, overwrite: bool, direct: bool) -> Result<Place> {
        let shown = target.display();
        let lent = |place: &Path| {
            let (target, place, working) = (place.to_owned(), place.to_owned(), place.to_owned());
            Ok(Place { target, place, working, overwrite, lent: true, rights: None })
        };
        if is_standard_output(target) {
            return lent(target);
        }
        match std::fs::metadata(target) {
            Ok(m) if m.is_dir() => {
                return Err(Error::new(ErrorKind::Invalid, format!("{shown}: is a directory")));
            }
            // Devices and pipes are written to, never replaced.
            Ok(m) if !m.is_file() => return lent(target),
            Ok(_) if !overwrite => {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!("{shown}: exists; say overwrite to replace it"),
                ));
            }
            // A link that leads nowhere yet is something that is there.
            Err(_) if !overwrite && target.is_symlink() => {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!("{shown}: exists, as a link to what does not; say overwrite to replace it"),
                ));
            }
            _ => {}
        }
        // A link that leads nowhere is replaced itself.
        let place = if target.exists() { led_to(target) } else { target.to_owned() };
        let parent = place.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !parent.is_dir() {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("{shown}: no such directory: {}", parent.display()),
            ));
        }
        let lent = is_lent(&place);
        let mut rights = None;
        let working = if direct || lent {
            std::fs::File::create(&place).map(|_| place.clone())
        } else {
            rights = std::fs::metadata(&place).ok().map(|old| old.permissions());
            make_part(&place).and_then(|part| {
                if let Some(rights) = &rights {
                    std::fs::set_permissions(&part, while_made(rights))?;
                }
                Ok(part)
            })
        };
        let working = working.map_err(Error::from).context(|| format!("{shown}: cannot be written"))?;
        Ok(Place { target: target.to_owned(), place, working, overwrite, lent, rights })
    }

    /// Claims `target` if nothing is there: two that ask at once do not both get it. `None` when it is taken.
    ///
    /// # Errors
    /// I/O errors by name of the file.
    pub fn claim_new(target: &Path, direct: bool) -> Result<Option<Place>> {
        let working = if direct { target.to_owned() } else { part_of(target) };
        match std::fs::File::options().write(true).create_new(true).open(&working) {
            Ok(_) => Ok(Some(Place {
                target: target.to_owned(),
                place: target.to_owned(),
                working,
                overwrite: false,
                lent: false,
                rights: None,
            })),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(None),
            Err(e) => Err(Error::from(e).context(format!("{}: cannot be written", target.display()))),
        }
    }

    /// The empty file to write to, or the standard output as it is: a socket cannot be opened by its name, and what a shell
    /// appends to is not to be emptied.
    ///
    /// # Errors
    /// I/O errors.
    pub fn create(&self) -> std::io::Result<std::fs::File> {
        #[cfg(unix)]
        if is_standard_output(&self.working) {
            return std::os::fd::AsFd::as_fd(&std::io::stdout()).try_clone_to_owned().map(Into::into);
        }
        std::fs::File::create(&self.working)
    }

    /// Where to write.
    pub fn working(&self) -> &Path {
        &self.working
    }

    /// What it will be called.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Gives the finished file its name.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where a file has come to be there meanwhile that was not to be replaced; I/O errors by name of the
    /// file.
    pub fn commit(&self) -> Result<String> {
        if self.working != self.place {
            self.name().map_err(|e| match e.kind() {
                std::io::ErrorKind::AlreadyExists => {
                    let message = format!("{}: exists; say overwrite to replace it", self.target.display());
                    Error::new(ErrorKind::Invalid, message)
                }
                _ => Error::from(e).context(self.target.display().to_string()),
            })?;
        }
        Ok(self.target.display().to_string())
    }

    fn name(&self) -> std::io::Result<()> {
        if let Some(rights) = &self.rights {
            std::fs::set_permissions(&self.working, rights.clone())?;
        }
        if !self.overwrite {
            // A second name is refused where there is a file already; not every file system has second names.
            match std::fs::hard_link(&self.working, &self.place) {
                Ok(()) => return std::fs::remove_file(&self.working),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Err(e),
                Err(_) if self.place.try_exists()? => {
                    return Err(std::io::ErrorKind::AlreadyExists.into());
                }
                Err(_) => {}
            }
        }
        std::fs::rename(&self.working, &self.place)
    }

    /// Removes what was made.
    pub fn discard(&self) {
        if !self.lent && std::fs::metadata(&self.working).is_ok_and(|m| m.is_file()) {
            // Already gone is as good.
            let _ = std::fs::remove_file(&self.working);
        }
    }
}

/// Where writing to `target` leads: the file behind links, which stay.
fn led_to(target: &Path) -> PathBuf {
    let mut place = target.to_owned();
    // As many as Linux follows.
    for _ in 0..40 {
        // What the kernel shows for open files need not be a path.
        let Ok(next) = std::fs::read_link(&place) else { break };
        if is_lent(&place) {
            break;
        }
        place = place.parent().map_or(next.clone(), |parent| parent.join(&next));
    }
    place
}

fn is_standard_output(target: &Path) -> bool {
    target == Path::new(STANDARD_OUTPUT)
}

/// Whether it is one of the files that a process has open (`/proc/self/fd/1`, `/dev/fd/1`).
fn is_lent(place: &Path) -> bool {
    place.parent().and_then(|folder| folder.canonicalize().ok()).is_some_and(|f| f.starts_with("/proc"))
}

/// What replaces a file is read while it is made by nobody else than that was; we write it.
fn while_made(rights: &std::fs::Permissions) -> std::fs::Permissions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        PermissionsExt::from_mode(rights.mode() | 0o600)
    }
    #[cfg(not(unix))]
    rights.clone()
}

/// The name of a file while it is made.
fn part_of(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    target.with_file_name(name)
}

/// Makes an empty file beside `target` under a name that nothing has.
fn make_part(target: &Path) -> std::io::Result<PathBuf> {
    let usual = part_of(target);
    let mut part = usual.clone();
    loop {
        match std::fs::File::options().write(true).create_new(true).open(&part) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => return made.map(|_| part),
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        part = usual.with_extension(format!("{}-{number}.part", std::process::id()));
    }
}

/// A directory being filled: remembers what it made.
#[derive(Debug)]
pub(crate) struct Written {
    root: PathBuf,
    directories: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Written {
    /// Uses `root`, making it if needed.
    ///
    /// # Errors
    /// I/O errors by name of the directory.
    pub fn open(root: &Path) -> Result<Written> {
        let mut written = Written { root: root.to_owned(), directories: Vec::new(), files: Vec::new() };
        written.make_directory(root)?;
        Ok(written)
    }

    fn make_directory(&mut self, directory: &Path) -> Result<()> {
        if directory.as_os_str().is_empty() || directory.is_dir() {
            return Ok(());
        }
        if let Some(parent) = directory.parent() {
            self.make_directory(parent)?;
        }
        match std::fs::create_dir(directory) {
            Ok(()) => self.directories.push(directory.to_owned()),
            // Jobs that make parts of one set share its directories.
            Err(_) if directory.is_dir() => {}
            Err(e) => return Err(Error::from(e).context(directory.display())),
        }
        Ok(())
    }

    /// Writes `data` to `name` below the root, appearing complete or not at all.
    ///
    /// # Errors
    /// I/O errors by name of the file.
    pub fn put(&mut self, name: &str, data: &[u8]) -> Result<PathBuf> {
        let path = self.root.join(name);
        if let Some(parent) = path.parent() {
            self.make_directory(parent)?;
        }
        let mut part = path.clone().into_os_string();
        part.push(format!(".{}-{}.part", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        let part = PathBuf::from(part);
        let result = std::fs::write(&part, data).and_then(|()| std::fs::rename(&part, &path));
        if let Err(e) = result {
            // The part is worth nothing; the first error is the one to tell.
            let _ = std::fs::remove_file(&part);
            return Err(Error::from(e).context(path.display()));
        }
        if !self.files.contains(&path) {
            self.files.push(path.clone());
        }
        Ok(path)
    }

    /// Removes what was made, and only that.
    pub fn discard(&mut self) {
        for file in self.files.drain(..) {
            // Already gone is as good.
            let _ = std::fs::remove_file(file);
        }
        for directory in self.directories.drain(..).rev() {
            // A directory that someone else has filled stays.
            let _ = std::fs::remove_dir(directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_and_so_does_who_may_read() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("real")).unwrap();
        std::fs::write(at("real/x.mp4"), "old").unwrap();
        std::fs::set_permissions(at("real/x.mp4"), PermissionsExt::from_mode(0o600)).unwrap();
        symlink("real/x.mp4", at("link.mp4")).unwrap();
        symlink("link.mp4", at("twice.mp4")).unwrap();
        for (name, real) in [("link.mp4", "real/x.mp4"), ("twice.mp4", "real/x.mp4")] {
            let place = Place::claim(&at(name), true, false).unwrap();
            assert_eq!(place.working().parent().unwrap(), at("real"));
            std::fs::write(place.working(), "new").unwrap();
            assert_eq!(place.commit().unwrap(), at(name).display().to_string());
            assert!(at(name).is_symlink());
            assert_eq!(std::fs::read_to_string(at(real)).unwrap(), "new");
        }
        let mode = std::fs::metadata(at("real/x.mp4")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // As a shell's standard output: a link to what is open.
        std::fs::write(at("out"), "").unwrap();
        let open = std::fs::File::options().write(true).open(at("out")).unwrap();
        let shown = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open));
        let place = Place::claim(Path::new(&shown), true, false).unwrap();
        std::fs::write(place.working(), "through").unwrap();
        place.commit().unwrap();
        assert_eq!(std::fs::read_to_string(at("out")).unwrap(), "through");
        // As /dev/stdout: a link to that. What fails takes neither away.
        symlink(&shown, at("stdout")).unwrap();
        let place = Place::claim(&at("stdout"), true, false).unwrap();
        assert_eq!(place.working(), Path::new(&shown));
        place.discard();
        assert!(at("stdout").is_symlink() && at("out").exists());
        // A file that may not be written can be replaced by whom the directory belongs to, and stays one.
        std::fs::write(at("fixed"), "old").unwrap();
        std::fs::set_permissions(at("fixed"), PermissionsExt::from_mode(0o440)).unwrap();
        let place = Place::claim(&at("fixed"), true, false).unwrap();
        assert_eq!(std::fs::metadata(place.working()).unwrap().permissions().mode() & 0o777, 0o640);
        place.commit().unwrap();
        assert_eq!(std::fs::metadata(at("fixed")).unwrap().permissions().mode() & 0o777, 0o440);
    }

    #[test]
    fn a_file_appears_only_when_committed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.mp4");
        let place = Place::claim(&target, false, false).unwrap();
        assert!(!target.exists() && place.working().exists());
        place.discard();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let place = Place::claim(&target, false, false).unwrap();
        place.commit().unwrap();
        assert!(target.exists());
        assert_eq!(Place::claim(&target, false, false).unwrap_err().kind(), ErrorKind::Invalid);
        assert!(Place::claim(&dir.path().join("no/a.mp4"), false, false).is_err());
    }

    #[test]
    fn what_has_the_name_of_a_part_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (target, theirs) = (dir.path().join("a.mp4"), dir.path().join("a.mp4.part"));
        std::fs::write(&theirs, b"a download").unwrap();
        let (one, two) =
            (Place::claim(&target, false, false).unwrap(), Place::claim(&target, false, false).unwrap());
        std::fs::write(one.working(), b"one").unwrap();
        std::fs::write(two.working(), b"two").unwrap();
        one.commit().unwrap();
        assert_eq!(two.commit().unwrap_err().kind(), ErrorKind::Invalid, "it was there first");
        two.discard();
        assert_eq!(std::fs::read(&target).unwrap(), b"one");
        assert_eq!(std::fs::read(&theirs).unwrap(), b"a download");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_nowhere_is_refused_before_the_work_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.mp4");
        std::os::unix::fs::symlink(dir.path().join("nowhere"), &target).unwrap();
        assert_eq!(Place::claim(&target, false, false).unwrap_err().kind(), ErrorKind::Invalid);
        Place::claim(&target, true, false).unwrap().commit().unwrap();
        assert!(target.is_file() && !target.is_symlink());
    }

    #[test]
    fn discard_takes_back_only_what_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("x/y");
        let mut w = Written::open(&root).unwrap();
        w.put("v/1.m4s", b"a").unwrap();
        w.put("v/1.m4s", b"b").unwrap();
        std::fs::write(dir.path().join("x/other"), b"c").unwrap();
        w.discard();
        assert!(!root.exists() && dir.path().join("x/other").exists());
    }
}
