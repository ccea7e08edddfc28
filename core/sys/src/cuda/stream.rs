//! Queues of work, and marks in them.

use super::context::Context;
use super::error::{Result, Status, check};
use super::memory::{InFlight, PinnedBuffer};
use super::plane::{Host, HostMut, Layout, Plane, PlaneMut, copy};
use cudarc::driver::sys::{CUevent, CUstream};
use std::sync::Arc;

/// A queue of work on a device; what is put in runs in order. `Send` and `Sync`.
///
/// A frame that queued work still reads or writes must not go back to its pool: wait for an [`Event`] behind that work,
/// or keep the frame until then. Between streams nothing is in order unless [`Stream::wait`] makes it so.
pub struct Stream {
    raw: CUstream,
    context: Arc<Context>,
}

// SAFETY: a stream may be used by any thread; the driver locks.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Stream {
    /// A stream in order with the default stream, which FFmpeg's CUDA devices (NVDEC's copies, its CUDA filters and
    /// transfers) and synchronous copies use: nothing needs to wait for those by hand.
    ///
    /// # Errors
    /// `Memory`, `Lost`.
    pub fn new(context: &Arc<Context>) -> Result<Arc<Stream>> {
        Stream::create(context, 0)
    }

    /// The default stream itself: in order with every stream of [`Stream::new`], so that what is queued here is done
    /// before what any of those gets later begins, and the other way round.
    pub fn default_of(context: &Arc<Context>) -> Arc<Stream> {
        Arc::new(Stream { raw: std::ptr::null_mut(), context: context.clone() })
    }

    /// A stream that the default stream does not hold up; order with it is the caller's affair.
    ///
    /// # Errors
    /// As [`Stream::new`].
    pub fn independent(context: &Arc<Context>) -> Result<Arc<Stream>> {
        const NON_BLOCKING: u32 = 1;
        Stream::create(context, NON_BLOCKING)
    }

    fn create(context: &Arc<Context>, flags: u32) -> Result<Arc<Stream>> {
        let _current = context.enter()?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: gives a stream that is destroyed once, in drop.
        check(unsafe { (context.api.stream_create)(&mut raw, flags) }, "make a CUDA stream")?;
        Ok(Arc::new(Stream { raw, context: context.clone() }))
    }

    /// The context that it belongs to.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Waits until all that was queued is done.
    ///
    /// # Errors
    /// `Lost`, also for a fault in what was queued.
    pub fn synchronize(&self) -> Result<()> {
        let _current = self.context.enter()?;
        // SAFETY: a live stream.
        check(unsafe { (self.context.api.stream_synchronize)(self.raw) }, "wait for a CUDA stream")
    }

    /// Whether all that was queued is done.
    ///
    /// # Errors
    /// `Lost`.
    pub fn is_idle(&self) -> Result<bool> {
        let _current = self.context.enter()?;
        // SAFETY: a live stream.
        ready(unsafe { (self.context.api.stream_query)(self.raw) }, "ask a CUDA stream")
    }

    /// What is queued from now on runs after what `event` marks.
    ///
    /// # Errors
    /// `Lost`.
    pub fn wait(&self, event: &Event) -> Result<()> {
        let _current = self.context.enter()?;
        // SAFETY: both live.
        check(unsafe { (self.context.api.stream_wait)(self.raw, event.raw, 0) }, "order CUDA streams")
    }

    /// Queues a copy on the device.
    ///
    /// # Errors
    /// `Invalid` when the planes differ in rows or bytes per row; `Lost`.
    pub fn copy(&self, from: &Plane<'_>, to: &mut PlaneMut<'_>) -> Result<()> {
        let job = copy::between(from, to)?;
        let _current = self.context.enter()?;
        // SAFETY: the ranges were checked against what owns them.
        check(unsafe { (self.context.api.copy_async)(&job, self.raw) }, "copy on the device")
    }

    /// Queues filling a plane with one byte value; bytes between the rows stay.
    ///
    /// # Errors
    /// `Lost`.
    pub fn fill(&self, value: u8, plane: &mut PlaneMut<'_>) -> Result<()> {
        let _current = self.context.enter()?;
        let (address, pitch, width, rows) = (plane.address(), plane.pitch(), plane.row_bytes(), plane.rows());
        // SAFETY: the range was checked against what owns it.
        let code = unsafe { (self.context.api.set_bytes)(address, pitch, value, width, rows, self.raw) };
        check(code, "fill device memory")
    }

    /// Queues copies from page-locked memory to the device, each part of `from` to its plane. The buffer comes back from
    /// [`InFlight::wait`]; on failure it is dropped, after waiting for what was queued.
    ///
    /// # Errors
    /// `Invalid` when a part does not lie in the buffer; `Lost`.
    pub fn upload<'a>(
        &self,
        from: PinnedBuffer,
        parts: impl IntoIterator<Item = (Layout, PlaneMut<'a>)>,
    ) -> Result<InFlight> {
        let flight = InFlight::begin(from)?;
        let _current = self.context.enter()?;
        for (layout, mut plane) in parts {
            let bytes = flight.bytes();
            let host = Host { bytes: layout.of(bytes)?, pitch: layout.pitch };
            let job = copy::upload(host, &mut plane)?;
            // SAFETY: the ranges were checked; `flight` keeps the host's, untouched, until the copy is done.
            check(unsafe { (self.context.api.copy_async)(&job, self.raw) }, "copy to the device")?;
        }
        flight.mark(self)
    }

    /// Queues copies from the device to page-locked memory, each plane to its part of `into`, as [`Stream::upload`].
    ///
    /// # Errors
    /// As [`Stream::upload`].
    pub fn download(&self, parts: &[(Layout, Plane<'_>)], into: PinnedBuffer) -> Result<InFlight> {
        let mut flight = InFlight::begin(into)?;
        let _current = self.context.enter()?;
        for (layout, plane) in parts {
            let bytes = flight.bytes_mut();
            let host = HostMut { bytes: layout.of_mut(bytes)?, pitch: layout.pitch };
            let job = copy::download(plane, host)?;
            // SAFETY: as in `upload`.
            check(unsafe { (self.context.api.copy_async)(&job, self.raw) }, "copy from the device")?;
        }
        flight.mark(self)
    }

    pub(crate) fn raw(&self) -> CUstream {
        self.raw
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.raw.is_null() {
            return;
        }
        if let Ok(_current) = self.context.enter() {
            // SAFETY: ours, once; what is queued still runs.
            unsafe { (self.context.api.stream_destroy)(self.raw) };
        }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream(device {})", self.context.device().ordinal)
    }
}

/// A mark in a stream. `Send` and `Sync`.
pub struct Event {
    raw: CUevent,
    context: Arc<Context>,
}

// SAFETY: an event may be used by any thread; the driver locks.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    /// A mark to wait for; threads that wait sleep.
    ///
    /// # Errors
    /// `Memory`, `Lost`.
    pub fn new(context: &Arc<Context>) -> Result<Event> {
        const BLOCKING_SYNC: u32 = 1;
        const DISABLE_TIMING: u32 = 2;
        Event::create(context, BLOCKING_SYNC | DISABLE_TIMING)
    }

    /// A mark that also notes the device's time, for [`Event::elapsed`].
    ///
    /// # Errors
    /// As [`Event::new`].
    pub fn timed(context: &Arc<Context>) -> Result<Event> {
        const BLOCKING_SYNC: u32 = 1;
        Event::create(context, BLOCKING_SYNC)
    }

    fn create(context: &Arc<Context>, flags: u32) -> Result<Event> {
        let _current = context.enter()?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: gives an event that is destroyed once, in drop.
        check(unsafe { (context.api.event_create)(&mut raw, flags) }, "make a CUDA event")?;
        Ok(Event { raw, context: context.clone() })
    }

    /// Puts the mark behind what is queued in `stream`; a former place is forgotten.
    ///
    /// # Errors
    /// `Lost`.
    pub fn record(&self, stream: &Stream) -> Result<()> {
        let _current = self.context.enter()?;
        self.record_here(stream)
    }

    /// As [`Event::record`], where the context is current.
    pub(crate) fn record_here(&self, stream: &Stream) -> Result<()> {
        // SAFETY: both live.
        check(unsafe { (self.context.api.event_record)(self.raw, stream.raw) }, "mark a CUDA stream")
    }

    /// Whether the device has passed the mark; also when it was never recorded.
    ///
    /// # Errors
    /// `Lost`, also for a fault in the work before it.
    pub fn is_done(&self) -> Result<bool> {
        let _current = self.context.enter()?;
        // SAFETY: a live event.
        ready(unsafe { (self.context.api.event_query)(self.raw) }, "ask a CUDA event")
    }

    /// Waits until the device has passed the mark.
    ///
    /// # Errors
    /// As [`Event::is_done`].
    pub fn synchronize(&self) -> Result<()> {
        let _current = self.context.enter()?;
        // SAFETY: a live event.
        check(unsafe { (self.context.api.event_synchronize)(self.raw) }, "wait for the CUDA device")
    }

    /// Milliseconds of the device from `start` to this mark. Both must be [`Event::timed`] and passed.
    ///
    /// # Errors
    /// `Invalid` when one is not timed or not recorded.
    pub fn elapsed(&self, start: &Event) -> Result<f32> {
        let _current = self.context.enter()?;
        let mut milliseconds = 0.0;
        // SAFETY: both live; fills one number.
        let code = unsafe { (self.context.api.event_elapsed)(&mut milliseconds, start.raw, self.raw) };
        check(code, "measure device time")?;
        Ok(milliseconds)
    }

    /// As [`Event::elapsed`], where the context is current; `None` where the driver does not say.
    pub(crate) fn elapsed_here(&self, start: &Event) -> Option<f32> {
        let mut milliseconds = 0.0;
        // SAFETY: both live; fills one number.
        let code = unsafe { (self.context.api.event_elapsed)(&mut milliseconds, start.raw, self.raw) };
        (code == 0).then_some(milliseconds)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if let Ok(_current) = self.context.enter() {
            // SAFETY: ours, once.
            unsafe { (self.context.api.event_destroy)(self.raw) };
        }
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Event(device {})", self.context.device().ordinal)
    }
}

fn ready(code: i32, what: &'static str) -> Result<bool> {
    if Status(code) == Status::NOT_READY { Ok(false) } else { check(code, what).map(|()| true) }
}
