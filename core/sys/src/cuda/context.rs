//! A device's primary context.

use super::api::{Api, api};
use super::device::{self, Device};
use super::error::{Error, Result, check};
use super::plane::{Host, HostMut, Plane, PlaneMut, copy};
use cudarc::driver::sys::{CUcontext, CUdevice};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The primary context of a device: the one that the CUDA runtime, PyTorch and FFmpeg's device of
/// [`HwDevice::cuda`](crate::ffmpeg::HwDevice::cuda) use too, so that memory can be handed between them. Retained while
/// this lives. `Send` and `Sync`; whatever is made in it keeps it.
pub struct Context {
    pub(crate) api: &'static Api,
    raw: CUcontext,
    handle: CUdevice,
    device: Device,
}

// SAFETY: a context may be made current and used by any number of threads; the driver locks.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

/// Contexts that are held, so that a handle is recognised without asking the driver.
fn known() -> MutexGuard<'static, Vec<Weak<Context>>> {
    static KNOWN: Mutex<Vec<Weak<Context>>> = Mutex::new(Vec::new());
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While it lives, the context is the calling thread's current one; then the former one is again.
pub struct Current<'a> {
    context: &'a Context,
    /// Which context is current is a matter of one thread.
    not_send: PhantomData<*const ()>,
}

impl Context {
    /// Retains the primary context of device `ordinal`, made when it is the first. Threads that wait for its work sleep
    /// unless somebody else made it otherwise.
    ///
    /// # Errors
    /// `Absent`, `NoDevice`; `Memory` when the device has no room for a context.
    pub fn primary(ordinal: u32) -> Result<Arc<Context>> {
        const BLOCKING_SYNC: u32 = 4;
        let api = api()?;
        let handle = device::handle(api, ordinal)?;
        let device = device::device(ordinal)?;
        let (mut flags, mut active) = (0, 0);
        // SAFETY: fills two numbers. Flags of a context that is in use are left alone; a refusal to set them is no harm.
        unsafe {
            if (api.primary_state)(handle, &mut flags, &mut active) == 0 && active == 0 {
                (api.primary_flags)(handle, BLOCKING_SYNC);
            }
        }
        let mut raw = std::ptr::null_mut();
        // SAFETY: gives a context that is released once, in drop.
        let code = unsafe { (api.primary_retain)(&mut raw, handle) };
        check(code, format!("open CUDA device {ordinal} ({})", device.name))?;
        Ok(Context { api, raw, handle, device }.noted(&mut known()))
    }

    fn noted(self, known: &mut Vec<Weak<Context>>) -> Arc<Context> {
        let context = Arc::new(self);
        known.retain(|c| c.strong_count() > 0);
        known.push(Arc::downgrade(&context));
        context
    }

    /// The primary context whose handle is `raw`; `None` for one that an application made itself. No device's context is opened
    /// for the question, and an answer is remembered as long as somebody keeps it.
    pub(crate) fn of_handle(raw: CUcontext) -> Result<Option<Arc<Context>>> {
        let mut known = known();
        if let Some(context) = known.iter().filter_map(Weak::upgrade).find(|c| c.raw == raw) {
            return Ok(Some(context));
        }
        let api = api()?;
        for ordinal in 0..device::count(api)? {
            let handle = device::handle(api, ordinal)?;
            let (mut flags, mut active) = (0, 0);
            // SAFETY: fills two numbers.
            let code = unsafe { (api.primary_state)(handle, &mut flags, &mut active) };
            if code != 0 || active == 0 {
                continue;
            }
            let mut found = std::ptr::null_mut();
            // SAFETY: gives a context that is released once: here, or in drop.
            let code = unsafe { (api.primary_retain)(&mut found, handle) };
            check(code, format!("ask for the context of CUDA device {ordinal}"))?;
            // SAFETY: retained above.
            let release = || unsafe { (api.primary_release)(handle) };
            if found != raw {
                release();
                continue;
            }
            let device = device::device(ordinal).inspect_err(|_| {
                release();
            })?;
            return Ok(Some(Context { api, raw, handle, device }.noted(&mut known)));
        }
        Ok(None)
    }

    /// The device that it is of.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Makes it current for this thread. Everything in this crate does that itself; libraries that expect a current
    /// context need it.
    ///
    /// # Errors
    /// `Lost` when the context is broken.
    pub fn enter(&self) -> Result<Current<'_>> {
        // SAFETY: a live context; popped when the guard goes.
        check(unsafe { (self.api.context_push)(self.raw) }, "enter the CUDA context")?;
        Ok(Current { context: self, not_send: PhantomData })
    }

    /// Free and total bytes of the device's memory.
    ///
    /// # Errors
    /// `Lost`.
    pub fn memory(&self) -> Result<(u64, u64)> {
        let _current = self.enter()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: fills two numbers.
        check(unsafe { (self.api.memory_info)(&mut free, &mut total) }, "ask for device memory")?;
        Ok((free as u64, total as u64))
    }

    /// Waits until all that was queued in it, on any stream, is done.
    ///
    /// # Errors
    /// `Lost`, also for a fault in what was queued.
    pub fn synchronize(&self) -> Result<()> {
        let _current = self.enter()?;
        // SAFETY: no arguments.
        check(unsafe { (self.api.context_synchronize)() }, "wait for the CUDA device")
    }

    /// Copies rows from host memory to the device; returns when `from` may be used again. In order with what streams
    /// made by [`Stream::new`](super::Stream::new) have queued.
    ///
    /// # Errors
    /// `Invalid` when `from` is too short for the plane; `Lost`.
    pub fn upload(&self, from: Host<'_>, to: &mut PlaneMut<'_>) -> Result<()> {
        let job = copy::upload(from, to)?;
        let _current = self.enter()?;
        // SAFETY: the ranges were checked against what owns them.
        check(unsafe { (self.api.copy)(&job) }, "copy to the device")
    }

    /// Copies rows from the device to host memory; returns when they are there.
    ///
    /// # Errors
    /// As [`Context::upload`].
    pub fn download(&self, from: &Plane<'_>, to: HostMut<'_>) -> Result<()> {
        let job = copy::download(from, to)?;
        let _current = self.enter()?;
        // SAFETY: the ranges were checked; the call returns when host memory is written.
        check(unsafe { (self.api.copy)(&job) }, "copy from the device")
    }

    /// Whether `len` bytes at `address` are device memory that this context reaches, as far as the driver tells.
    pub(crate) fn check_foreign(&self, address: u64, len: usize) -> Result<()> {
        const MEMORY_TYPE: i32 = 2;
        const DEVICE: u32 = 2;
        let _current = self.enter()?;
        let mut kind = 0u32;
        // SAFETY: fills one number, which is what this attribute is.
        let code = unsafe { (self.api.pointer_attribute)((&raw mut kind).cast(), MEMORY_TYPE, address) };
        check(code, format!("look up device memory at {address:#x}"))?;
        if kind != DEVICE {
            return Err(Error::invalid(format!("memory at {address:#x} is not device memory")));
        }
        let (mut base, mut size) = (0, 0);
        // SAFETY: fills two numbers.
        let known = unsafe { (self.api.memory_range)(&mut base, &mut size, address) } == 0;
        let end = address.checked_add(len as u64);
        if known && end.is_none_or(|end| address < base || end > base.saturating_add(size as u64)) {
            return Err(Error::invalid(format!("{len} bytes at {address:#x} run past their device memory")));
        }
        Ok(())
    }

    /// The handle, for the libraries below this crate.
    pub(crate) fn raw(&self) -> CUcontext {
        self.raw
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once in `primary`.
        unsafe { (self.api.primary_release)(self.handle) };
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context({}: {})", self.device.ordinal, self.device.name)
    }
}

impl Drop for Current<'_> {
    fn drop(&mut self) {
        let mut popped = std::ptr::null_mut();
        // SAFETY: pushed by this thread, as the guard cannot leave it; guards are dropped in the reverse order.
        unsafe { (self.context.api.context_pop)(&mut popped) };
    }
}
