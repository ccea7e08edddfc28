//! Memory that the X server writes pictures into and that frames then are.

use super::{Error, Kind};
use bytes::Bytes;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use x11rb::connection::Connection as _;
use x11rb::protocol::shm::{ConnectionExt as _, Seg};
use x11rb::rust_connection::RustConnection;

/// A mapping that the server has too.
struct Segment {
    start: *mut u8,
    len: usize,
    id: Seg,
    connection: Arc<RustConnection>,
}

// SAFETY: The mapping belongs to this value alone; all access goes through `&self` (reads) and `&mut self` (writes).
unsafe impl Send for Segment {}
// SAFETY: As above; shared access only reads.
unsafe impl Sync for Segment {}

impl Segment {
    fn new(connection: &Arc<RustConnection>, len: usize) -> Result<Segment, Error> {
        let failed = |what: &str| {
            let why = std::io::Error::last_os_error();
            Error::new(Kind::Memory, format!("{len} bytes to share with the X server: {what}: {why}"))
        };
        // SAFETY: The name is a C string; the result is checked.
        let fd = unsafe { libc::memfd_create(c"ghoststream-x11".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(failed("memfd_create"));
        }
        // SAFETY: The descriptor was just made and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let size =
            libc::off_t::try_from(len).map_err(|_| Error::new(Kind::Memory, "a picture is too large"))?;
        // SAFETY: A valid descriptor.
        if unsafe { libc::ftruncate(fd.as_raw_fd(), size) } != 0 {
            return Err(failed("ftruncate"));
        }
        // SAFETY: A new mapping of the whole file; the result is checked.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(failed("mmap"));
        }
        let id = match connection.generate_id() {
            Ok(id) => id,
            Err(e) => {
                // SAFETY: The mapping made above, which nothing refers to.
                unsafe { libc::munmap(start, len) };
                return Err(e.into());
            }
        };
        let segment = Segment { start: start.cast(), len, id, connection: connection.clone() };
        connection.shm_attach_fd(id, fd, false)?.check()?;
        Ok(segment)
    }
}

impl AsRef<[u8]> for Segment {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: The mapping is `len` bytes long and lives as long as `self`. The server writes it only when asked to,
        // which needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl AsMut<[u8]> for Segment {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: As above, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // A connection that is gone has forgotten the segment anyway.
        if let Ok(sent) = self.connection.shm_detach(self.id) {
            sent.ignore_error();
        }
        // SAFETY: The mapping of `new`; nothing refers to it any more.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

/// A segment that a picture keeps.
struct Kept(Arc<Segment>, usize);

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &(*self.0).as_ref()[..self.1]
    }
}

/// Segments in turn: one is written while earlier pictures are still read. Grows with the pictures that are in use.
pub(super) struct Ring {
    connection: Arc<RustConnection>,
    segments: Vec<Arc<Segment>>,
    len: usize,
}

impl Ring {
    pub fn new(connection: Arc<RustConnection>) -> Ring {
        Ring { connection, segments: Vec::new(), len: 0 }
    }

    /// Has `write` fill the first `len` bytes of a segment that no picture uses (it gets the segment's id) and `finish`
    /// change them, with what `write` gave; they are the picture then.
    pub fn fill<T>(
        &mut self,
        len: usize,
        write: impl FnOnce(Seg) -> Result<T, Error>,
        finish: impl FnOnce(&mut [u8], &T),
    ) -> Result<(Bytes, T), Error> {
        if len > self.len {
            self.segments.clear();
            self.len = len;
        }
        // A segment that was just made is the last, and free.
        if !self.segments.iter_mut().any(|s| Arc::get_mut(s).is_some()) {
            self.segments.push(Arc::new(Segment::new(&self.connection, self.len)?));
        }
        for slot in &mut self.segments {
            let Some(segment) = Arc::get_mut(slot) else { continue };
            let given = write(segment.id)?;
            finish(&mut segment.as_mut()[..len], &given);
            return Ok((Bytes::from_owner(Kept(slot.clone(), len)), given));
        }
        Err(Error::new(Kind::Memory, "no segment is free"))
    }
}
