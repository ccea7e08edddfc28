//! CUDA devices and frames of FFmpeg's over a [`Context`] of ours: the same memory for NVDEC, kernels and NVENC.

use super::buffer::BufferRef;
use super::error::{self, Error, Result, check};
use super::frame::run_release;
use super::{Frame, HwDevice, HwFrames, PixelFormat, raw};
use crate::cuda::{self, Context, Host, HostMut, Plane, PlaneMut};
use std::ffi::c_void;
use std::sync::Arc;

type Release = Box<dyn FnOnce() + Send>;

/// Rows of one plane in device memory that another library owns, for [`HwFrames::wrap_cuda`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignPlane {
    /// Where the first row begins.
    pub address: u64,
    /// Bytes from one row to the next.
    pub pitch: usize,
}

impl HwDevice {
    /// FFmpeg's CUDA device over `context`, which it keeps: decoders and filters on it share memory with everything else
    /// in that context, whatever flags the context was made with. Its transfers and NVDEC's copies use the default
    /// stream.
    ///
    /// # Errors
    /// `Unsupported` when this FFmpeg was built without CUDA; otherwise what the driver says.
    pub fn cuda(context: &Arc<Context>) -> Result<HwDevice> {
        let handle = context.raw().cast::<c_void>();
        let keep = context.clone();
        let owner: Release = Box::new(move || drop(keep));
        let opaque = Box::into_raw(Box::new(owner)).cast::<c_void>();
        let mut out = std::ptr::null_mut();
        // SAFETY: the context lives until `run_release` drops the reference in `opaque`.
        let code = unsafe { raw::gsav_cuda_device(&mut out, handle, run_release, opaque) };
        if code < 0 {
            // SAFETY: on failure the box is still ours.
            unsafe { run_release(opaque, std::ptr::null_mut()) };
        }
        check(code, format!("open cuda device {}", context.device().ordinal))?;
        // SAFETY: given to us by the call.
        unsafe { BufferRef::from_raw(out) }
            .map(HwDevice::from_buffer)
            .ok_or_else(|| Error::memory("open device"))
    }

    /// As [`HwDevice::create`] for `cuda`: the primary context of the device whose number `device` is.
    pub(super) fn primary_cuda(device: Option<&str>) -> Result<HwDevice> {
        let ordinal = device.unwrap_or("0");
        let ordinal = ordinal
            .parse()
            .map_err(|_| Error::invalid(format!("open cuda device {ordinal}: the device is a number")))?;
        HwDevice::cuda(&Context::primary(ordinal)?)
    }

    /// Whether it is over `context`.
    pub fn is_on_cuda(&self, context: &Context) -> bool {
        // SAFETY: a live device; only an address is read.
        unsafe { raw::gsav_cuda_device_context(self.as_ptr()) == context.raw().cast() }
    }
}

impl HwFrames {
    /// A frame of this pool's format and size over device memory of another library's, without copying. `release` runs
    /// once, on any thread, when the last reference is gone, also when this call fails. `writable` frames may be
    /// written by whoever holds the only reference.
    ///
    /// Order with the other library's queued work is the caller's affair.
    ///
    /// # Safety
    /// The memory stays allocated until `release` runs, and nobody else writes to it while a [`Frame`] refers to it.
    ///
    /// # Errors
    /// `Invalid` when planes or pitches do not fit the format, or a plane is not device memory of `context` or runs past
    /// its allocation.
    pub unsafe fn wrap_cuda(
        &self,
        context: &Context,
        planes: &[ForeignPlane],
        writable: bool,
        release: Release,
    ) -> Result<Frame> {
        let opaque = Box::into_raw(Box::new(release)).cast::<c_void>();
        let wrapped = self.checked(context, planes).and_then(|(addresses, pitches)| {
            let frame = Frame::empty()?;
            // SAFETY: a blank frame, a live pool, one address and pitch per plane; the caller vouches for the memory.
            let code = unsafe {
                raw::gsav_cuda_frame_wrap(
                    frame.as_ptr(),
                    self.as_ptr(),
                    addresses.as_ptr(),
                    pitches.as_ptr(),
                    planes.len() as i32,
                    writable.into(),
                    run_release,
                    opaque,
                )
            };
            check(code, "wrap device memory")?;
            Ok(frame)
        });
        if wrapped.is_err() {
            // SAFETY: only a successful call takes the box over.
            unsafe { run_release(opaque, std::ptr::null_mut()) };
        }
        wrapped
    }

    fn checked(&self, context: &Context, planes: &[ForeignPlane]) -> Result<(Vec<u64>, Vec<i32>)> {
        let (format, (width, height)) = (self.host_format(), self.size());
        let count = format.descriptor().map_or(0, |d| d.planes);
        if count != planes.len() {
            return Err(Error::invalid(format!("{format} has {count} planes, {} given", planes.len())));
        }
        for (i, plane) in planes.iter().enumerate() {
            let (rows, bytes) = format
                .plane_layout(width, height, i)
                .ok_or_else(|| Error::invalid(format!("{width}x{height} {format} has no plane {i}")))?;
            let len = plane.pitch.checked_mul(rows - 1).and_then(|n| n.checked_add(bytes));
            let Some(len) = len.filter(|_| plane.pitch >= bytes && i32::try_from(plane.pitch).is_ok()) else {
                return Err(Error::invalid(format!(
                    "plane {i} of a {width}x{height} {format} picture: rows of {bytes} bytes with a pitch of {}",
                    plane.pitch
                )));
            };
            context
                .check_foreign(plane.address, len)
                .map_err(|e| Error::from(e).with(&format!("plane {i}")))?;
        }
        Ok((planes.iter().map(|p| p.address).collect(), planes.iter().map(|p| p.pitch as i32).collect()))
    }
}

impl Frame {
    /// The planes of a CUDA frame, for reading.
    ///
    /// # Errors
    /// `Invalid` for any other frame.
    pub fn device_planes(&self) -> Result<Vec<Plane<'_>>> {
        self.spans()?.map(|(a, p, b, r)| Ok(Plane::new(a, p, b, r))).collect()
    }

    /// The planes of a CUDA frame, for writing.
    ///
    /// # Errors
    /// `Invalid` for any other frame, and for one whose memory is shared.
    pub fn device_planes_mut(&mut self) -> Result<Vec<PlaneMut<'_>>> {
        if !self.is_writable() {
            return Err(Error::invalid("write to a CUDA frame that others hold too"));
        }
        self.spans()?.map(|(a, p, b, r)| Ok(PlaneMut::new(a, p, b, r))).collect()
    }

    /// As [`Frame::device_planes`], one after another and without a list.
    ///
    /// # Errors
    /// As there.
    pub fn each_device_plane(&self) -> Result<impl Iterator<Item = Plane<'_>>> {
        Ok(self.spans()?.map(|(a, p, b, r)| Plane::new(a, p, b, r)))
    }

    /// As [`Frame::device_planes_mut`], one after another and without a list.
    ///
    /// # Errors
    /// As there.
    pub fn each_device_plane_mut(&mut self) -> Result<impl Iterator<Item = PlaneMut<'_>>> {
        if !self.is_writable() {
            return Err(Error::invalid("write to a CUDA frame that others hold too"));
        }
        Ok(self.spans()?.map(|(a, p, b, r)| PlaneMut::new(a, p, b, r)))
    }

    /// Whether it is a CUDA frame in `context`.
    pub fn is_in_cuda(&self, context: &Context) -> bool {
        // SAFETY: a live frame; only an address is read.
        unsafe { raw::gsav_cuda_frame_context(self.as_ptr()) == context.raw().cast() }
    }

    /// The primary context that it is in; `None` for a frame that is not in CUDA memory, and for one in a context that an
    /// application made itself. Opens no context.
    ///
    /// # Errors
    /// What the driver says.
    pub fn cuda_home(&self) -> std::result::Result<Option<Arc<Context>>, cuda::Error> {
        // SAFETY: a live frame; only an address is read.
        let context = unsafe { raw::gsav_cuda_frame_context(self.as_ptr()) };
        if context.is_null() { Ok(None) } else { Context::of_handle(context.cast()) }
    }

    /// A copy in host memory. FFmpeg's own does not tell of a copy that fails: the picture is whatever was there before.
    pub(super) fn downloaded(&self, context: &Context) -> Result<Frame> {
        let format = self.cuda_format();
        let format = format.ok_or_else(|| Error::invalid("take a frame for a CUDA frame that is none"))?;
        let mut to = Frame::alloc_video(format, self.width(), self.height(), 0)?;
        for (i, from) in self.each_device_plane()?.enumerate() {
            let pitch = to.stride(i);
            let bytes = to.plane_mut(i).ok_or_else(|| Error::memory("download frame"))?;
            context.download(&from, HostMut { bytes, pitch })?;
        }
        to.copy_props(self)?;
        Ok(to)
    }

    /// A copy of a host frame in `to`, which has its size and format. See [`Frame::downloaded`].
    pub(super) fn uploaded(&self, context: &Context, mut to: Frame) -> Result<Frame> {
        for (i, mut plane) in to.each_device_plane_mut()?.enumerate() {
            context.upload(Host { bytes: self.plane(i), pitch: self.stride(i) }, &mut plane)?;
        }
        to.copy_props(self)?;
        Ok(to)
    }

    /// Whether its memory is another library's ([`HwFrames::wrap_cuda`]), so that it is gone when the frame is.
    pub(crate) fn is_foreign_cuda(&self) -> bool {
        // SAFETY: a live frame; only a size is read.
        unsafe { raw::gsav_cuda_frame_foreign(self.as_ptr()) != 0 }
    }

    /// What the pixels of a CUDA frame are.
    pub(crate) fn cuda_format(&self) -> Option<PixelFormat> {
        // SAFETY: a live frame; only a number is read.
        let format = PixelFormat(unsafe { raw::gsav_cuda_frame_format(self.as_ptr()) });
        (!format.is_none()).then_some(format)
    }

    fn spans(&self) -> Result<impl Iterator<Item = (u64, usize, usize, usize)> + use<>> {
        let format = self.cuda_format();
        let format = format.ok_or_else(|| Error::invalid("take a frame for a CUDA frame that is none"))?;
        let (width, height) = (self.width(), self.height());
        let planes = format.descriptor().map_or(0, |d| d.planes);
        // No format has more, and pictures come often: nothing is allocated.
        let mut spans = [(0, 0, 0, 0); 4];
        let mut found = 0;
        for (i, span) in spans.iter_mut().enumerate().take(planes) {
            let Some((rows, bytes)) = format.plane_layout(width, height, i) else { break };
            let (address, pitch) = (self.data_ptr(i) as u64, self.device_stride(i));
            if address == 0 || pitch < bytes {
                break;
            }
            *span = (address, pitch, bytes, rows);
            found += 1;
        }
        if planes == 0 || found != planes {
            return Err(Error::invalid(format!("a CUDA frame of {format} without its planes")));
        }
        Ok(spans.into_iter().take(found))
    }
}

impl From<cuda::Error> for Error {
    fn from(e: cuda::Error) -> Error {
        let code = match e.kind() {
            cuda::Kind::Absent | cuda::Kind::NoDevice => -libc::ENODEV,
            cuda::Kind::Memory => error::MEMORY,
            cuda::Kind::Invalid => error::INVALID,
            cuda::Kind::Unsupported => -libc::ENOSYS,
            cuda::Kind::Lost | cuda::Kind::Other => -libc::EIO,
        };
        Error::new(code, e.to_string())
    }
}
