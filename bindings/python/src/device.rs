//! CUDA memory of other libraries: pictures over it, without a copy.

use crate::error::{OrRaise, invalid};
use crate::frame::Frame;
use ghoststream::filter::cuda;
use ghoststream::frame::{CudaPool, Frame as EngineFrame, PixelFormat};
use ghoststream_sys::cuda::Plane;
use ghoststream_sys::ffmpeg as av;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::{CStr, c_void};

/// `kDLCUDA`.
const CUDA: i32 = 2;

/// A tensor that another library handed over by DLPack. Given back when it is collected.
#[pyclass(frozen, module = "ghoststream._native")]
pub struct DeviceTensor {
    managed: Managed,
    address: usize,
    shape: Vec<i64>,
    /// In bytes.
    strides: Vec<i64>,
    item_size: usize,
    device: i32,
}

enum Managed {
    Plain(*mut crate::dlpack::Managed),
    Versioned(*mut crate::dlpack::ManagedVersioned),
}

// SAFETY: the tensor is only given back, which DLPack allows on any thread.
unsafe impl Send for Managed {}
// SAFETY: as above.
unsafe impl Sync for Managed {}

impl Drop for Managed {
    fn drop(&mut self) {
        // SAFETY: taken over from the capsule, given back once.
        unsafe {
            match *self {
                Managed::Plain(m) => {
                    if let Some(delete) = (*m).deleter {
                        delete(m);
                    }
                }
                Managed::Versioned(m) => {
                    if let Some(delete) = (*m).deleter {
                        delete(m);
                    }
                }
            }
        }
    }
}

#[pymethods]
impl DeviceTensor {
    /// Takes the tensor out of a capsule, which is then spent.
    #[new]
    fn new(capsule: &Bound<'_, PyAny>) -> PyResult<DeviceTensor> {
        const PLAIN: (&CStr, &CStr) = (c"dltensor", c"used_dltensor");
        const VERSIONED: (&CStr, &CStr) = (c"dltensor_versioned", c"used_dltensor_versioned");
        let take = |(name, used): (&'static CStr, &'static CStr)| {
            // SAFETY: attached; names are static; a capsule of this name holds such a tensor, and its new name says that
            // it is taken.
            unsafe {
                if ffi::PyCapsule_IsValid(capsule.as_ptr(), name.as_ptr()) == 0 {
                    return std::ptr::null_mut::<c_void>();
                }
                let pointer = ffi::PyCapsule_GetPointer(capsule.as_ptr(), name.as_ptr());
                ffi::PyCapsule_SetName(capsule.as_ptr(), used.as_ptr());
                pointer
            }
        };
        let plain = take(PLAIN);
        let (managed, tensor) = if plain.is_null() {
            let versioned = take(VERSIONED).cast::<crate::dlpack::ManagedVersioned>();
            if versioned.is_null() {
                return Err(PyBufferError::new_err("not a DLPack capsule, or one that was taken"));
            }
            // SAFETY: the capsule's tensor, which is ours now.
            (Managed::Versioned(versioned), unsafe { &(*versioned).tensor })
        } else {
            let plain = plain.cast::<crate::dlpack::Managed>();
            // SAFETY: as above.
            (Managed::Plain(plain), unsafe { &(*plain).tensor })
        };
        let axes = usize::try_from(tensor.ndim).unwrap_or(0);
        let item_size = usize::from(tensor.bits) * usize::from(tensor.lanes) / 8;
        if tensor.device_type != CUDA || axes == 0 || tensor.shape.is_null() {
            return Err(PyBufferError::new_err("the tensor is not in CUDA memory"));
        }
        // SAFETY: DLPack: as many numbers as there are axes.
        let shape = unsafe { std::slice::from_raw_parts(tensor.shape, axes) }.to_vec();
        let strides = if tensor.strides.is_null() {
            let mut strides = vec![1; axes];
            for i in (1..axes).rev() {
                strides[i - 1] = strides[i] * shape[i];
            }
            strides
        } else {
            // SAFETY: as above.
            unsafe { std::slice::from_raw_parts(tensor.strides, axes) }.to_vec()
        };
        Ok(DeviceTensor {
            address: (tensor.data as usize).wrapping_add(tensor.byte_offset as usize),
            strides: strides.iter().map(|s| s * item_size as i64).collect(),
            device: tensor.device_id,
            shape,
            item_size,
            managed,
        })
    }

    /// Address, shape, strides in bytes, bytes of an item, number of the device.
    #[getter]
    fn parts(&self) -> (usize, Vec<i64>, Vec<i64>, usize, i32) {
        let _held = &self.managed;
        (self.address, self.shape.clone(), self.strides.clone(), self.item_size, self.device)
    }
}

fn pixel(py: Python<'_>, format: &str) -> PyResult<PixelFormat> {
    PixelFormat::from_name(format)
        .filter(|f| !f.is_hardware())
        .ok_or_else(|| invalid(py, format!("format: {format:?} is not a pixel format")))
}

/// Rows and bytes in a row of each plane of a picture, and the bytes of a sample.
#[pyfunction]
pub fn plane_layouts(
    py: Python<'_>,
    format: &str,
    width: u32,
    height: u32,
) -> PyResult<(Vec<(usize, usize)>, usize)> {
    let pixel = pixel(py, format)?;
    let (planes, depth) = pixel.descriptor().map_or((0, 8), |d| (d.planes, d.depth));
    let layouts = (0..planes).filter_map(|i| pixel.plane_layout(width, height, i)).collect();
    Ok((layouts, depth.div_ceil(8).next_power_of_two() as usize))
}

/// Keeps Python's object until the engine is done with its memory.
struct Owner(Option<Py<PyAny>>);

impl Drop for Owner {
    fn drop(&mut self) {
        // While the interpreter shuts down the memory is left to the process's end.
        if Python::try_attach(|_| drop(self.0.take())).is_none() {
            std::mem::forget(self.0.take());
        }
    }
}

/// A picture over `planes` (address and distance of rows) in memory of the GPU of CUDA's number `device`, which `owner` keeps.
#[pyfunction]
pub fn frame_from_device(
    py: Python<'_>,
    planes: Vec<(u64, usize)>,
    format: &str,
    width: u32,
    height: u32,
    device: u32,
    owner: Py<PyAny>,
) -> PyResult<Frame> {
    let pixel = pixel(py, format)?;
    let owner = Owner(Some(owner));
    let made = py.detach(|| {
        if let (Some(_), [(address, pitch)]) = (cuda::widened(pixel), &planes[..]) {
            let bytes = width as usize * 3;
            // SAFETY: `owner` keeps the memory until the copy is made; Python is told not to write to it meanwhile.
            let plane = unsafe { Plane::foreign(*address, *pitch, bytes, height as usize) };
            let media = cuda::widen(device, &plane, pixel, width, height)?;
            drop(owner);
            return Ok(EngineFrame::new(media, ghoststream::time::MICROSECONDS));
        }
        let pool = CudaPool::of(device, pixel, width, height)?;
        let planes: Vec<_> = planes
            .iter()
            .map(|(address, pitch)| av::ForeignPlane { address: *address, pitch: *pitch })
            .collect();
        let keep = pool.clone();
        let release = Box::new(move || drop((owner, keep)));
        // SAFETY: `owner` keeps the memory until `release` ran; Python is told not to write to it meanwhile.
        let media = unsafe { pool.frames().wrap_cuda(pool.context(), &planes, false, release) }?;
        Ok::<_, ghoststream::Error>(EngineFrame::new(media, ghoststream::time::MICROSECONDS))
    });
    Ok(Frame::new(made.or_raise(py)?))
}
