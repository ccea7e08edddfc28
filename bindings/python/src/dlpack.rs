//! DLPack: arrays handed to numpy, PyTorch, JAX … without a copy. Host memory.

use crate::region::{Kind, Region};
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::{CStr, c_void};

const PLAIN: &CStr = c"dltensor";
const VERSIONED: &CStr = c"dltensor_versioned";
/// `kDLCPU`.
pub const CPU: i32 = 1;
/// `DLPACK_FLAG_BITMASK_READ_ONLY`.
const READ_ONLY: u64 = 1;

/// `DLTensor`.
#[repr(C)]
pub struct Tensor {
    pub data: *mut c_void,
    pub device_type: i32,
    pub device_id: i32,
    pub ndim: i32,
    pub code: u8,
    pub bits: u8,
    pub lanes: u16,
    pub shape: *mut i64,
    pub strides: *mut i64,
    pub byte_offset: u64,
}

/// `DLManagedTensor`.
#[repr(C)]
pub struct Managed {
    pub tensor: Tensor,
    context: *mut c_void,
    pub deleter: Option<unsafe extern "C" fn(*mut Managed)>,
}

/// `DLManagedTensorVersioned`.
#[repr(C)]
pub struct ManagedVersioned {
    major: u32,
    minor: u32,
    context: *mut c_void,
    pub deleter: Option<unsafe extern "C" fn(*mut ManagedVersioned)>,
    flags: u64,
    pub tensor: Tensor,
}

/// What a tensor refers to.
struct Context {
    region: Option<Py<Region>>,
    shape: Vec<i64>,
    strides: Vec<i64>,
}

impl Drop for Context {
    fn drop(&mut self) {
        let region = self.region.take();
        // While the interpreter shuts down the memory is left to the process's end.
        if let Some(region) = region
            && let Err(region) = drop_attached(region)
        {
            std::mem::forget(region);
        }
    }
}

fn drop_attached(region: Py<Region>) -> Result<(), Py<Region>> {
    let mut slot = Some(region);
    Python::try_attach(|_| slot.take());
    slot.map_or(Ok(()), Err)
}

/// The tensor of `region` in a capsule; `versioned` as of DLPack 1.0, which alone can say that memory is read-only.
pub fn export<'py>(region: &Bound<'py, Region>, versioned: bool) -> PyResult<Bound<'py, PyAny>> {
    let r = region.get();
    if r.is_readonly() && !versioned {
        return Err(PyBufferError::new_err(
            "the memory is read-only, which DLPack before 1.0 cannot say; copy it",
        ));
    }
    if r.is_big_endian() {
        return Err(PyBufferError::new_err("DLPack has no big-endian types"));
    }
    let item = r.item_size() as isize;
    if r.strides().iter().any(|s| s % item != 0) {
        return Err(PyBufferError::new_err("rows do not start at whole items"));
    }
    let mut context = Box::new(Context {
        region: Some(region.clone().unbind()),
        shape: r.shape().iter().map(|n| *n as i64).collect(),
        strides: r.strides().iter().map(|s| (s / item) as i64).collect(),
    });
    let tensor = Tensor {
        data: r.address() as *mut c_void,
        device_type: CPU,
        device_id: 0,
        ndim: r.shape().len() as i32,
        code: match r.kind() {
            Kind::Signed => 0,
            Kind::Unsigned => 1,
            Kind::Float => 2,
        },
        bits: (r.item_size() * 8) as u8,
        lanes: 1,
        shape: context.shape.as_mut_ptr(),
        strides: context.strides.as_mut_ptr(),
        byte_offset: 0,
    };
    let flags = if r.is_readonly() { READ_ONLY } else { 0 };
    let context = Box::into_raw(context).cast::<c_void>();
    let (pointer, name): (*mut c_void, _) = if versioned {
        let managed =
            ManagedVersioned { major: 1, minor: 0, context, deleter: Some(delete_versioned), flags, tensor };
        (Box::into_raw(Box::new(managed)).cast(), VERSIONED)
    } else {
        (Box::into_raw(Box::new(Managed { tensor, context, deleter: Some(delete) })).cast(), PLAIN)
    };
    // SAFETY: attached; the pointer is not null, the name static, and the destructor frees a tensor nobody took.
    let capsule = unsafe { ffi::PyCapsule_New(pointer, name.as_ptr(), Some(destroy)) };
    // SAFETY: a new reference, or NULL with an exception set.
    match unsafe { Bound::from_owned_ptr_or_err(region.py(), capsule) } {
        Ok(capsule) => Ok(capsule),
        Err(e) => {
            // SAFETY: no capsule took the tensor over.
            unsafe { free(pointer, versioned) };
            Err(e)
        }
    }
}

/// # Safety
/// `pointer` is a tensor made by [`export`], freed once.
unsafe fn free(pointer: *mut c_void, versioned: bool) {
    // SAFETY: the caller's promise.
    unsafe { if versioned { delete_versioned(pointer.cast()) } else { delete(pointer.cast()) } }
}

unsafe extern "C" fn delete(managed: *mut Managed) {
    // SAFETY: both boxes were given away by `export`; consumers call this once.
    unsafe {
        let managed = Box::from_raw(managed);
        drop(Box::from_raw(managed.context.cast::<Context>()));
    }
}

unsafe extern "C" fn delete_versioned(managed: *mut ManagedVersioned) {
    // SAFETY: as in `delete`.
    unsafe {
        let managed = Box::from_raw(managed);
        drop(Box::from_raw(managed.context.cast::<Context>()));
    }
}

/// A consumer renames the capsule when it takes the tensor; one with its first name still owns it.
unsafe extern "C" fn destroy(capsule: *mut ffi::PyObject) {
    for (name, versioned) in [(PLAIN, false), (VERSIONED, true)] {
        // SAFETY: Python calls this attached, with the capsule that `export` made.
        unsafe {
            if ffi::PyCapsule_IsValid(capsule, name.as_ptr()) != 0 {
                let pointer = ffi::PyCapsule_GetPointer(capsule, name.as_ptr());
                free(pointer, versioned);
            }
        }
    }
}
