//! What the user picked in the portal's dialog, kept for the next time: a word that only the portal understands, one file
//! for each application.

use std::fs;
use std::io::{Error, ErrorKind, Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The longest token that is read.
const LONGEST: u64 = 4096;

/// `$XDG_STATE_HOME/ghoststream`.
fn folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("ghoststream"))
}

fn file(folder: &Path, application: &str) -> PathBuf {
    folder.join(format!("portal-{application}.token"))
}

/// The token of `application`, if there is one.
pub(super) fn load(application: &str) -> Option<String> {
    read(&file(&folder()?, application))
}

fn read(path: &Path) -> Option<String> {
    let fits = fs::metadata(path).is_ok_and(|m| m.len() <= LONGEST);
    let text = fs::read_to_string(path).ok().filter(|_| fits)?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Keeps the token of `application` for its user alone.
pub(super) fn save(application: &str, token: &str) -> Result<()> {
    let folder =
        folder().ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no XDG_STATE_HOME and no HOME"))?;
    write(&folder, application, token)
}

fn write(folder: &Path, application: &str, token: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    let path = file(folder, application);
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    out.write_all(token.as_bytes())?;
    fs::rename(&part, &path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_kept_for_its_application_and_user() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("state");
        write(&folder, "a", "one").expect("written");
        write(&folder, "a", "two").expect("written");
        assert_eq!(read(&file(&folder, "a")).as_deref(), Some("two"));
        assert_eq!(read(&file(&folder, "b")), None);
        let mode = fs::metadata(file(&folder, "a")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(file(&folder, "b"), "x".repeat(5000)).expect("written");
        assert_eq!(read(&file(&folder, "b")), None);
        assert_eq!(fs::read_dir(&folder).expect("listed").count(), 2);
    }
}
