//! Memory that the compositor writes pictures into and that frames then are.

use super::client::State;
use super::{Error, Kind};
use crate::memory::Mapping;
use bytes::Bytes;
use std::os::fd::AsFd;
use std::sync::Arc;
use wayland_client::QueueHandle;
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_shm::{Format, WlShm};

/// How the pixels of a buffer lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub format: Format,
    pub width: u32,
    pub height: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
}

impl Shape {
    fn len(&self) -> usize {
        self.stride as usize * self.height as usize
    }
}

struct Slot {
    memory: Arc<Mapping>,
    buffer: WlBuffer,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.buffer.destroy();
    }
}

/// Memory that a picture keeps.
struct Kept(Arc<Mapping>);

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

/// Buffers in turn: one is written while earlier pictures are still read. Grows with the pictures that are in use.
#[derive(Default)]
pub(super) struct Pool {
    shape: Option<Shape>,
    slots: Vec<Slot>,
}

impl Pool {
    /// A buffer of `shape` that no picture uses: its place in the pool.
    pub fn free(&mut self, shape: Shape, shm: &WlShm, queue: &QueueHandle<State>) -> Result<usize, Error> {
        if self.shape != Some(shape) {
            self.slots.clear();
            self.shape = Some(shape);
        }
        if let Some(free) = self.slots.iter_mut().position(|s| Arc::get_mut(&mut s.memory).is_some()) {
            return Ok(free);
        }
        let (width, height, stride) = (shape.width as i32, shape.height as i32, shape.stride as i32);
        let len = i32::try_from(shape.len()).ok().filter(|len| *len > 0 && stride > 0);
        let Some(len) = len.filter(|_| width > 0 && height > 0) else {
            return Err(Error::new(Kind::Io, format!("the compositor offers pictures of {width}x{height}")));
        };
        let (memory, fd) = Mapping::new(c"ghoststream-wayland", shape.len()).map_err(|e| {
            Error::new(Kind::Memory, format!("{len} bytes to share with the compositor: {e}"))
        })?;
        let pool = shm.create_pool(fd.as_fd(), len, queue, ());
        let buffer = pool.create_buffer(0, width, height, stride, shape.format, queue, ());
        pool.destroy();
        self.slots.push(Slot { memory: Arc::new(memory), buffer });
        Ok(self.slots.len() - 1)
    }

    /// The buffer of a place.
    pub fn buffer(&self, place: usize) -> Option<&WlBuffer> {
        self.slots.get(place).map(|s| &s.buffer)
    }

    /// What the compositor has written there. The place is not free until these bytes are gone.
    pub fn written(&self, place: usize) -> Bytes {
        self.slots.get(place).map_or_else(Bytes::new, |s| Bytes::from_owner(Kept(s.memory.clone())))
    }
}
