//! Devices and their pools of frames: `AVHWDeviceContext`, `AVHWFramesContext`.

use super::buffer::BufferRef;
use super::dict::Dict;
use super::error::{Error, Result, as_ptr, c_option, c_string, check, text};
use super::{Frame, PixelFormat, raw};
use std::ptr;
use std::sync::{PoisonError, RwLock};

/// The render node of VA-API where none is named, if it is not the first one that works.
static VAAPI: RwLock<Option<String>> = RwLock::new(None);

/// A hardware device, shared by reference: cloning it is cheap. Any thread may use it.
pub struct HwDevice(BufferRef);

impl HwDevice {
    /// Makes `node` (`/dev/dri/renderD129`) the device of VA-API that this process opens where none is named; `None`: the first
    /// one that works.
    pub fn prefer_vaapi(node: Option<&str>) {
        *VAAPI.write().unwrap_or_else(PoisonError::into_inner) = node.map(String::from);
    }

    /// Opens a device of FFmpeg's type `kind` (`cuda`, `vaapi`, `qsv`, `vulkan` …). `device` chooses one (`0`,
    /// `/dev/dri/renderD128`), `None` the default. `cuda` without options is the device's primary context, which
    /// [`HwDevice::cuda`] shares.
    ///
    /// # Errors
    /// `Unsupported` when this FFmpeg does not know the type; otherwise what the driver says.
    pub fn create(kind: &str, device: Option<&str>, options: &[(String, String)]) -> Result<HwDevice> {
        if kind == "cuda" && options.is_empty() {
            return HwDevice::primary_cuda(device);
        }
        let preferred = match (kind, device) {
            ("vaapi", None) => VAAPI.read().unwrap_or_else(PoisonError::into_inner).clone(),
            _ => None,
        };
        let chosen = device.or(preferred.as_deref());
        let what = format!("open {kind} device{}", chosen.map(|d| format!(" {d}")).unwrap_or_default());
        let name = c_string(kind, "a device type")?;
        let device = c_option(chosen, "a device")?;
        let options = Dict::from_pairs(options)?;
        let mut out = ptr::null_mut();
        // SAFETY: terminated strings; `out` gets a reference that is ours on success.
        let code =
            unsafe { raw::gsav_device_create(&mut out, name.as_ptr(), as_ptr(&device), options.as_ptr()) };
        check(code, what)?;
        // SAFETY: given to us by the call.
        unsafe { BufferRef::from_raw(out) }.map(HwDevice).ok_or_else(|| Error::memory("open device"))
    }

    /// The device of type `kind` that is the same hardware as this one (VA-API → Vulkan …).
    ///
    /// # Errors
    /// `Unsupported` when there is none.
    pub fn derive(&self, kind: &str) -> Result<HwDevice> {
        let name = c_string(kind, "a device type")?;
        let mut out = ptr::null_mut();
        // SAFETY: as in `create`; self is a live device.
        let code = unsafe { raw::gsav_device_derive(&mut out, name.as_ptr(), self.0.as_ptr()) };
        check(code, format!("derive {kind} device"))?;
        // SAFETY: given to us by the call.
        unsafe { BufferRef::from_raw(out) }.map(HwDevice).ok_or_else(|| Error::memory("derive device"))
    }

    /// FFmpeg's name of its type.
    pub fn kind(&self) -> String {
        // SAFETY: a live device; the name is static.
        unsafe { text(raw::gsav_device_type(self.0.as_ptr())) }
    }

    /// The pixel format of frames on it; [`PixelFormat::NONE`] when not known.
    pub fn format(&self) -> PixelFormat {
        HwDevice::format_of(&self.kind())
    }

    /// The pixel format of frames on devices of type `kind`, of which none needs to be there;
    /// [`PixelFormat::NONE`] when not known.
    pub fn format_of(kind: &str) -> PixelFormat {
        c_string(kind, "a device type").map_or(PixelFormat::NONE, |kind| {
            // SAFETY: a terminated string.
            PixelFormat(unsafe { raw::gsav_device_format(kind.as_ptr()) })
        })
    }

    /// Host formats that its frames can be made of and transferred from; empty when the driver does not say.
    pub fn host_formats(&self) -> Vec<PixelFormat> {
        let mut list = [0; 256];
        // SAFETY: a live device; at most the given number of entries is written.
        let count =
            unsafe { raw::gsav_device_formats(self.0.as_ptr(), list.as_mut_ptr(), list.len() as i32) };
        list.iter().take(count.max(0) as usize).map(|f| PixelFormat(*f)).collect()
    }

    /// Makes a pool of frames on it. `host_format` is what the pixels are; `pool` frames are allocated up front (0: as
    /// needed, where the device can).
    ///
    /// # Errors
    /// `Unsupported`/`Invalid` for a format or size that the device refuses; `Memory`.
    pub fn frames(&self, host_format: PixelFormat, width: u32, height: u32, pool: u32) -> Result<HwFrames> {
        let number = |n: u32| i32::try_from(n).map_err(|_| Error::invalid("device frame size"));
        let mut out = ptr::null_mut();
        // SAFETY: a live device; `out` gets a reference that is ours on success.
        let code = unsafe {
            raw::gsav_frames_create(
                &mut out,
                self.0.as_ptr(),
                self.format().0,
                host_format.0,
                number(width)?,
                number(height)?,
                number(pool)?,
            )
        };
        check(code, format!("allocate {width}x{height} {host_format} frames on {}", self.kind()))?;
        // SAFETY: given to us by the call.
        unsafe { BufferRef::from_raw(out) }
            .map(HwFrames)
            .ok_or_else(|| Error::memory("allocate device frames"))
    }

    pub(super) fn from_buffer(buffer: BufferRef) -> HwDevice {
        HwDevice(buffer)
    }

    pub(crate) fn as_ptr(&self) -> *mut raw::AVBufferRef {
        self.0.as_ptr()
    }

    /// Another reference to the same device.
    ///
    /// # Errors
    /// `Memory`.
    pub fn try_clone(&self) -> Result<HwDevice> {
        self.0.try_clone().map(HwDevice).ok_or_else(|| Error::memory("reference device"))
    }
}

impl std::fmt::Debug for HwDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HwDevice").field(&self.kind()).finish()
    }
}

/// A pool of frames on a device.
pub struct HwFrames(BufferRef);

impl HwFrames {
    pub(crate) fn from_buffer(buffer: BufferRef) -> HwFrames {
        HwFrames(buffer)
    }

    fn get(&self) -> (i32, i32, i32, i32) {
        let (mut format, mut host, mut w, mut h) = (0, 0, 0, 0);
        // SAFETY: a live pool; fills the four numbers.
        unsafe { raw::gsav_frames_get(self.0.as_ptr(), &mut format, &mut host, &mut w, &mut h) };
        (format, host, w, h)
    }

    /// The device pixel format (`cuda`, `vaapi` …).
    pub fn format(&self) -> PixelFormat {
        PixelFormat(self.get().0)
    }

    /// What the pixels are (`nv12`, `p010le` …).
    pub fn host_format(&self) -> PixelFormat {
        PixelFormat(self.get().1)
    }

    /// Width and height of its frames.
    pub fn size(&self) -> (u32, u32) {
        let (_, _, w, h) = self.get();
        (w.max(0) as u32, h.max(0) as u32)
    }

    /// A free frame.
    ///
    /// # Errors
    /// `Memory` when the pool or the device is exhausted.
    pub fn frame(&self) -> Result<Frame> {
        let frame = Frame::empty()?;
        // SAFETY: a live pool and a blank frame.
        check(unsafe { raw::gsav_frame_from_pool(self.0.as_ptr(), frame.as_ptr()) }, "take a device frame")?;
        Ok(frame)
    }

    pub(crate) fn as_ptr(&self) -> *mut raw::AVBufferRef {
        self.0.as_ptr()
    }

    /// Another reference to the same pool.
    ///
    /// # Errors
    /// `Memory`.
    pub fn try_clone(&self) -> Result<HwFrames> {
        self.0.try_clone().map(HwFrames).ok_or_else(|| Error::memory("reference device frames"))
    }
}

impl std::fmt::Debug for HwFrames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (w, h) = self.size();
        write!(f, "HwFrames({} of {} {w}x{h})", self.format(), self.host_format())
    }
}
