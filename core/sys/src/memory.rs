//! Memory that is shared with another process through a file descriptor.

use std::ffi::CStr;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A mapping of a file that has no name. It is as long as it was made and cannot be cut by who else has the descriptor.
pub(crate) struct Mapping {
    start: *mut u8,
    len: usize,
}

// SAFETY: The mapping belongs to this value alone; all access goes through `&self` (reads) and `&mut self` (writes).
unsafe impl Send for Mapping {}
// SAFETY: As above; shared access only reads.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `len` bytes of zeros, and the descriptor to hand over. `name` is what the system's lists call it.
    pub fn new(name: &CStr, len: usize) -> Result<(Mapping, OwnedFd)> {
        let size = libc::off_t::try_from(len).map_err(|_| Error::from_raw_os_error(libc::EFBIG))?;
        // SAFETY: The name is a C string; the result is checked.
        let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
        if fd < 0 {
            return Err(Error::last_os_error());
        }
        // SAFETY: The descriptor was just made and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: A valid descriptor.
        if unsafe { libc::ftruncate(fd.as_raw_fd(), size) } != 0 {
            return Err(Error::last_os_error());
        }
        // SAFETY: A valid descriptor; the argument is a plain number.
        if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SHRINK) } != 0 {
            return Err(Error::last_os_error());
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: A new mapping of the whole file; the result is checked.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), len, access, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        Ok((Mapping { start: start.cast(), len }, fd))
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: The mapping is `len` bytes long and lives as long as `self`. The other process writes it only when
        // asked to, which its owner does with exclusive access only.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl AsMut<[u8]> for Mapping {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: As above, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: The mapping of `new`; nothing refers to it any more.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}
