//! Memory: on the device, and page-locked in the host.

use super::context::Context;
use super::error::{Error, Result, check};
use super::plane::{Plane, PlaneMut};
use super::stream::{Event, Stream};
use cudarc::driver::sys::CUdeviceptr;
use std::ptr::NonNull;
use std::sync::Arc;

/// Device memory. Freed when dropped; the driver then waits for work that uses it. `Send` and `Sync`.
pub struct DeviceBuffer {
    address: CUdeviceptr,
    pitch: usize,
    row_bytes: usize,
    rows: usize,
    context: Arc<Context>,
}

impl DeviceBuffer {
    /// `len` bytes in a row.
    ///
    /// # Errors
    /// `Memory`; `Invalid` for no bytes.
    pub fn linear(context: &Arc<Context>, len: usize) -> Result<DeviceBuffer> {
        let _current = context.enter()?;
        let mut address = 0;
        // SAFETY: gives memory that is freed once, in drop.
        let code = unsafe { (context.api.memory_alloc)(&mut address, len) };
        check(code, format!("allocate {len} bytes on the device"))?;
        Ok(DeviceBuffer { address, pitch: len, row_bytes: len, rows: 1, context: context.clone() })
    }

    /// `rows` rows of `row_bytes` bytes, with a pitch that the device likes.
    ///
    /// # Errors
    /// As [`DeviceBuffer::linear`].
    pub fn pitched(context: &Arc<Context>, row_bytes: usize, rows: usize) -> Result<DeviceBuffer> {
        let _current = context.enter()?;
        let (mut address, mut pitch) = (0, 0);
        // SAFETY: as in `linear`.
        let code = unsafe { (context.api.memory_alloc_pitch)(&mut address, &mut pitch, row_bytes, rows, 16) };
        check(code, format!("allocate {rows} rows of {row_bytes} bytes on the device"))?;
        Ok(DeviceBuffer { address, pitch, row_bytes, rows, context: context.clone() })
    }

    /// The context that it lies in.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Bytes from one row to the next.
    pub fn pitch(&self) -> usize {
        self.pitch
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.pitch * self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All rows, for reading.
    pub fn plane(&self) -> Plane<'_> {
        Plane::new(self.address, self.pitch, self.row_bytes, self.rows)
    }

    /// All rows, for writing.
    pub fn plane_mut(&mut self) -> PlaneMut<'_> {
        PlaneMut::new(self.address, self.pitch, self.row_bytes, self.rows)
    }

    /// `rows` rows of `row_bytes` bytes from byte `offset` on, for reading.
    ///
    /// # Errors
    /// `Invalid` when they do not lie in the buffer.
    pub fn view(&self, offset: usize, pitch: usize, row_bytes: usize, rows: usize) -> Result<Plane<'_>> {
        self.check(offset, pitch, row_bytes, rows)?;
        Ok(Plane::new(self.address + offset as u64, pitch, row_bytes, rows))
    }

    /// As [`DeviceBuffer::view`], for writing.
    ///
    /// # Errors
    /// As [`DeviceBuffer::view`].
    pub fn view_mut(
        &mut self,
        offset: usize,
        pitch: usize,
        row_bytes: usize,
        rows: usize,
    ) -> Result<PlaneMut<'_>> {
        self.check(offset, pitch, row_bytes, rows)?;
        Ok(PlaneMut::new(self.address + offset as u64, pitch, row_bytes, rows))
    }

    fn check(&self, offset: usize, pitch: usize, row_bytes: usize, rows: usize) -> Result<()> {
        let end = rows
            .saturating_sub(1)
            .checked_mul(pitch)
            .and_then(|n| n.checked_add(row_bytes))
            .and_then(|n| n.checked_add(offset));
        if rows > 0 && pitch >= row_bytes && end.is_some_and(|end| end <= self.len()) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "{rows} rows of {row_bytes} bytes at {offset} with a pitch of {pitch} do not lie in {} bytes on the device",
            self.len()
        )))
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        if let Ok(_current) = self.context.enter() {
            // SAFETY: ours, once; nothing borrows it.
            unsafe { (self.context.api.memory_free)(self.address) };
        }
    }
}

impl std::fmt::Debug for DeviceBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceBuffer({} x {})", self.rows, self.row_bytes)
    }
}

/// Page-locked host memory, which the device copies from and to while the host goes on. Zeroed. `Send` and `Sync`.
/// Making one is slow: use them again.
pub struct PinnedBuffer {
    start: NonNull<u8>,
    len: usize,
    /// Behind the last copy.
    event: Event,
    context: Arc<Context>,
}

// SAFETY: plain memory owned by this.
unsafe impl Send for PinnedBuffer {}
// SAFETY: `&PinnedBuffer` only reads; while the device writes, the buffer is inside `InFlight`.
unsafe impl Sync for PinnedBuffer {}

impl PinnedBuffer {
    /// `len` bytes.
    ///
    /// # Errors
    /// `Memory` when the system gives no more locked pages; `Invalid` for no bytes.
    pub fn new(context: &Arc<Context>, len: usize) -> Result<PinnedBuffer> {
        const PORTABLE: u32 = 1;
        let event = Event::new(context)?;
        let _current = context.enter()?;
        let mut start = std::ptr::null_mut();
        // SAFETY: gives memory that is freed once, in drop.
        let code = unsafe { (context.api.host_alloc)(&mut start, len, PORTABLE) };
        check(code, format!("lock {len} bytes of host memory"))?;
        let start = NonNull::new(start.cast::<u8>()).ok_or_else(|| Error::invalid("lock no host memory"))?;
        // SAFETY: `len` fresh bytes.
        unsafe { start.as_ptr().write_bytes(0, len) };
        Ok(PinnedBuffer { start, len, event, context: context.clone() })
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: ours, initialised, and nothing writes while it is borrowed.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The bytes, for writing.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: ours, initialised, borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for PinnedBuffer {
    fn drop(&mut self) {
        if let Ok(_current) = self.context.enter() {
            // SAFETY: ours, once; nothing copies, as `InFlight` waits before it lets go.
            unsafe { (self.context.api.host_free)(self.start.as_ptr().cast()) };
        }
    }
}

impl std::fmt::Debug for PinnedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PinnedBuffer({})", self.len)
    }
}

/// A [`PinnedBuffer`] that the device copies from or to. Dropping it waits for that.
#[derive(Debug)]
pub struct InFlight {
    buffer: Option<PinnedBuffer>,
    marked: bool,
}

impl InFlight {
    pub(super) fn begin(buffer: PinnedBuffer) -> Result<InFlight> {
        Ok(InFlight { buffer: Some(buffer), marked: false })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], PinnedBuffer::bytes)
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.as_mut().map_or(&mut [], PinnedBuffer::bytes_mut)
    }

    pub(super) fn mark(mut self, stream: &Stream) -> Result<InFlight> {
        if let Some(buffer) = &self.buffer {
            buffer.event.record(stream)?;
        }
        self.marked = true;
        Ok(self)
    }

    /// Whether the copies are done, so that [`InFlight::wait`] returns at once.
    ///
    /// # Errors
    /// `Lost`, also for a fault in the work before them.
    pub fn is_done(&self) -> Result<bool> {
        self.buffer.as_ref().map_or(Ok(true), |b| b.event.is_done())
    }

    /// Waits for the copies and gives the buffer back.
    ///
    /// # Errors
    /// As [`InFlight::is_done`]; the buffer is dropped then.
    pub fn wait(mut self) -> Result<PinnedBuffer> {
        self.settle()?;
        self.buffer.take().ok_or_else(|| Error::invalid("a buffer that is gone"))
    }

    fn settle(&self) -> Result<()> {
        match &self.buffer {
            Some(buffer) if self.marked => buffer.event.synchronize(),
            // Copies were queued, but not the mark behind them.
            Some(buffer) => buffer.context.synchronize(),
            None => Ok(()),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.settle().is_err() {
            // The context is broken. Whether the device still writes is not known, so the pages are never given back.
            std::mem::forget(self.buffer.take());
        }
    }
}
