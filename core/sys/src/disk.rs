//! How full a disk is.

use std::io;
use std::path::Path;

/// Bytes of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Altogether.
    pub total: u64,
    /// That this user may still write.
    pub free: u64,
}

/// The file system that `path` is on; any thread.
///
/// # Errors
/// The system's, for a path that does not exist; unsupported on other systems than Unix.
#[cfg(unix)]
pub fn space(path: &Path) -> io::Result<Space> {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path is a terminated string, and the structure is ours to be written.
    if unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed before, and filled by the call that succeeded.
    let found = unsafe { found.assume_init() };
    let unit = found.f_frsize;
    Ok(Space { total: found.f_blocks * unit, free: found.f_bavail * unit })
}

/// The file system that `path` is on.
///
/// # Errors
/// Always: this system does not tell.
#[cfg(not(unix))]
pub fn space(_: &Path) -> io::Result<Space> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, unix))]
mod tests {
    #[test]
    fn a_disk_has_a_size_and_a_missing_one_has_none() {
        let space = super::space(&std::env::temp_dir()).unwrap();
        assert!(space.total > 0 && space.free <= space.total);
        assert!(super::space(std::path::Path::new("/nowhere/at/all")).is_err());
    }
}
