//! Names for the files of one output, none of which is ever taken.

use super::{Facts, Place};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::spec::template::{self, Template};
use ghoststream_sys::calendar;
use std::path::Path;

/// Numbers tried before the name is given up: a directory with more files of one name is a mistake.
const TRIES: u64 = 100_000;

/// Makes names from a template.
pub(super) struct Names {
    template: Template,
    name: String,
    next: u64,
}

impl Names {
    /// Names from `path`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a template that means nothing.
    pub fn new(path: &str, facts: &Facts) -> Result<Names> {
        let template = Template::parse(path).map_err(|e| Error::invalid("path", e))?;
        Ok(Names { template, name: facts.job.clone(), next: 1 })
    }

    /// Claims the next name that is free; see [`Place::claim`]. Missing directories are made.
    ///
    /// # Errors
    /// I/O errors by name of the file.
    pub fn claim(&mut self, direct: bool) -> Result<Place> {
        let now = calendar::now();
        for _ in 0..TRIES {
            let path = self.template.path(&template::Facts { name: &self.name, number: self.next, now });
            self.next += 1;
            if let Some(place) = claim(&path, direct)? {
                return Ok(place);
            }
            if !self.template.counts() {
                return beside(&path, direct);
            }
        }
        Err(Error::new(ErrorKind::Invalid, "every number of its name is taken").at("path"))
    }
}

/// Claims `path` unless it is taken.
fn claim(path: &str, direct: bool) -> Result<Option<Place>> {
    let target = Path::new(path);
    if let Some(parent) = target.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(Error::from).context(|| parent.display().to_string())?;
    }
    if target.symlink_metadata().is_ok() {
        return Ok(None);
    }
    Place::claim_new(target, direct).context(|| "path")
}

/// Claims `path` with the first free number behind its name.
fn beside(path: &str, direct: bool) -> Result<Place> {
    let (stem, extension) = match path.rsplit_once('.') {
        Some((stem, extension)) if !extension.contains('/') => (stem, format!(".{extension}")),
        _ => (path, String::new()),
    };
    for n in 2..TRIES {
        if let Some(place) = claim(&format!("{stem}-{n}{extension}"), direct)? {
            return Ok(place);
        }
    }
    Err(Error::new(ErrorKind::Invalid, format!("{path}: is taken, and every number behind it")).at("path"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_is_never_used() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        std::fs::write(at("1.mkv"), "old").unwrap();
        let facts = Facts { job: "x".into(), ..Facts::default() };
        let mut names = Names::new(&at("{n}.mkv"), &facts).unwrap();
        let made: Vec<_> = (0..2).map(|_| names.claim(true).unwrap().commit().unwrap()).collect();
        assert_eq!(made, [at("2.mkv"), at("3.mkv")]);
        let mut fixed = Names::new(&at("new/{name}.mkv"), &facts).unwrap();
        let made: Vec<_> = (0..3).map(|_| fixed.claim(false).unwrap().commit().unwrap()).collect();
        assert_eq!(made, [at("new/x.mkv"), at("new/x-2.mkv"), at("new/x-3.mkv")]);
        assert_eq!(std::fs::read(at("1.mkv")).unwrap(), b"old");
    }
}
