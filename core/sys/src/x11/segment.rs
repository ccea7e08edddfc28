//! Memory that the X server writes pictures into and that frames then are.

use super::{Error, Kind};
use crate::memory::Mapping;
use bytes::Bytes;
use std::sync::Arc;
use x11rb::connection::Connection as _;
use x11rb::protocol::shm::{ConnectionExt as _, Seg};
use x11rb::rust_connection::RustConnection;

/// A mapping that the server has too.
struct Segment {
    memory: Mapping,
    id: Seg,
    connection: Arc<RustConnection>,
}

impl Segment {
    fn new(connection: &Arc<RustConnection>, len: usize) -> Result<Segment, Error> {
        let (memory, fd) = Mapping::new(c"ghoststream-x11", len)
            .map_err(|e| Error::new(Kind::Memory, format!("{len} bytes to share with the X server: {e}")))?;
        let id = connection.generate_id()?;
        let segment = Segment { memory, id, connection: connection.clone() };
        connection.shm_attach_fd(id, fd, false)?.check()?;
        Ok(segment)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // A connection that is gone has forgotten the segment anyway.
        if let Ok(sent) = self.connection.shm_detach(self.id) {
            sent.ignore_error();
        }
    }
}

/// A segment that a picture keeps.
struct Kept(Arc<Segment>, usize);

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.0.memory.as_ref()[..self.1]
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
            finish(&mut segment.memory.as_mut()[..len], &given);
            return Ok((Bytes::from_owner(Kept(slot.clone(), len)), given));
        }
        Err(Error::new(Kind::Memory, "no segment is free"))
    }
}
