//! The buffer protocol, both ways. It became part of Python's stable interface with 3.11 only; the layout and the
//! functions declared here have been the same in every CPython since 3.3 and are frozen since 3.11, which is what
//! lets one binary serve 3.10 too.

use crate::region::Region;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;
use std::ffi::{c_char, c_int, c_void};

/// `Py_buffer`.
#[repr(C)]
struct RawBuffer {
    buf: *mut c_void,
    obj: *mut ffi::PyObject,
    len: isize,
    itemsize: isize,
    readonly: c_int,
    ndim: c_int,
    format: *const c_char,
    shape: *const isize,
    strides: *const isize,
    suboffsets: *const isize,
    internal: *mut c_void,
}

unsafe extern "C" {
    fn PyObject_GetBuffer(object: *mut ffi::PyObject, view: *mut RawBuffer, flags: c_int) -> c_int;
    fn PyBuffer_Release(view: *mut RawBuffer);
}

const WRITABLE: c_int = 0x1;
const FORMAT: c_int = 0x4;
const ND: c_int = 0x8;
const STRIDES: c_int = 0x10 | ND;
const C_CONTIGUOUS: c_int = 0x20;
const F_CONTIGUOUS: c_int = 0x40;
const ANY_CONTIGUOUS: c_int = 0x80;

/// Slots of a type, `Py_bf_getbuffer` and `Py_bf_releasebuffer`.
const SLOT_GET: c_int = 1;
const SLOT_RELEASE: c_int = 2;

/// The memory of a Python object, held until dropped (from any thread). While it is held, the object can neither be
/// resized nor freed; that nobody writes to it is the promise of whoever hands the object in.
pub struct Held {
    view: Box<RawBuffer>,
    extent: usize,
}

// SAFETY: the view is only read, and released with the interpreter attached.
unsafe impl Send for Held {}
// SAFETY: as above.
unsafe impl Sync for Held {}

impl Held {
    /// Asks `object` for its memory.
    ///
    /// # Errors
    /// Python's own, when the object has no buffer; `BufferError` for negative strides and indirect memory.
    pub fn new(object: &Bound<'_, PyAny>) -> PyResult<Held> {
        let mut view = Box::new(RawBuffer {
            buf: std::ptr::null_mut(),
            obj: std::ptr::null_mut(),
            len: 0,
            itemsize: 0,
            readonly: 1,
            ndim: 0,
            format: std::ptr::null(),
            shape: std::ptr::null(),
            strides: std::ptr::null(),
            suboffsets: std::ptr::null(),
            internal: std::ptr::null_mut(),
        });
        // SAFETY: attached; a live object and a view with the layout of `Py_buffer`, which is filled on success.
        if unsafe { PyObject_GetBuffer(object.as_ptr(), &mut *view, STRIDES) } < 0 {
            return Err(PyErr::fetch(object.py()));
        }
        let mut held = Held { view, extent: 0 };
        let mut extent = held.item_size();
        for (n, stride) in held.shape().into_iter().zip(held.strides()) {
            if n == 0 {
                extent = 0;
                break;
            }
            let span = usize::try_from(stride).ok().and_then(|s| s.checked_mul(n - 1));
            extent = span
                .and_then(|s| s.checked_add(extent))
                .ok_or_else(|| PyBufferError::new_err("an array with negative strides; pass a copy of it"))?;
        }
        held.extent = extent;
        Ok(held)
    }

    fn dimensions(&self, from: *const isize) -> Vec<isize> {
        let n = usize::try_from(self.view.ndim).unwrap_or(0);
        if from.is_null() || n == 0 {
            return Vec::new();
        }
        // SAFETY: a filled view has `ndim` entries there.
        unsafe { std::slice::from_raw_parts(from, n) }.to_vec()
    }

    /// Items along each axis.
    pub fn shape(&self) -> Vec<usize> {
        self.dimensions(self.view.shape).into_iter().map(|n| n.max(0) as usize).collect()
    }

    /// Bytes from one item to the next along each axis.
    pub fn strides(&self) -> Vec<isize> {
        self.dimensions(self.view.strides)
    }

    /// Bytes of an item.
    pub fn item_size(&self) -> usize {
        self.view.itemsize.max(0) as usize
    }
}

impl AsRef<[u8]> for Held {
    /// From the first item to the end of the last, with whatever lies between rows.
    fn as_ref(&self) -> &[u8] {
        if self.extent == 0 || self.view.buf.is_null() {
            return &[];
        }
        // SAFETY: the exporter keeps the items of the view in place until it is released, and `extent` ends with the
        // last of them. Nobody writes to them: see the type.
        unsafe { std::slice::from_raw_parts(self.view.buf.cast(), self.extent) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // While the interpreter shuts down there is nothing to give the memory back to.
        Python::try_attach(|_| {
            // SAFETY: attached; filled by `PyObject_GetBuffer` and released once.
            unsafe { PyBuffer_Release(&mut *self.view) }
        });
    }
}

/// Makes the type `ghoststream._native.Buffer`: the base of Python classes that have the memory of the [`Region`]
/// which their method `_region` returns.
pub fn exporter(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    let mut slots = [
        ffi::PyType_Slot { slot: SLOT_GET, pfunc: get_buffer as *mut c_void },
        ffi::PyType_Slot { slot: SLOT_RELEASE, pfunc: release_buffer as *mut c_void },
        ffi::PyType_Slot { slot: 0, pfunc: std::ptr::null_mut() },
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"ghoststream._native.Buffer".as_ptr(),
        // As large as its base, `object`.
        basicsize: 0,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE) as _,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: attached; the specification is complete and terminated, and copied by the call.
    let made = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&mut spec))? };
    Ok(made.cast_into()?)
}

unsafe extern "C" fn get_buffer(object: *mut ffi::PyObject, view: *mut RawBuffer, flags: c_int) -> c_int {
    // SAFETY: Python calls this with the interpreter attached, a live object and a view to fill.
    unsafe {
        Python::attach(|py| {
            let object = Bound::from_borrowed_ptr(py, object);
            match fill(&object, flags) {
                Ok(filled) => {
                    view.write(filled);
                    0
                }
                Err(e) => {
                    (*view).obj = std::ptr::null_mut();
                    e.restore(py);
                    -1
                }
            }
        })
    }
}

fn fill(object: &Bound<'_, PyAny>, flags: c_int) -> PyResult<RawBuffer> {
    let region = object.call_method0("_region")?.cast_into::<Region>()?;
    let r = region.get();
    if flags & WRITABLE != 0 && r.is_readonly() {
        return Err(PyBufferError::new_err("the memory is read-only"));
    }
    let contiguous = r.is_contiguous();
    let strided = flags & STRIDES == STRIDES;
    let rows = flags & (C_CONTIGUOUS | ANY_CONTIGUOUS) & !STRIDES != 0;
    let columns = flags & F_CONTIGUOUS != 0 && r.shape().len() > 1;
    if columns || (!contiguous && (!strided || rows)) {
        return Err(PyBufferError::new_err("the rows are padded: ask for strides, or copy"));
    }
    let filled = RawBuffer {
        buf: r.address() as *mut c_void,
        obj: object.clone().into_ptr(),
        len: r.byte_count() as isize,
        itemsize: r.item_size() as isize,
        readonly: r.is_readonly().into(),
        ndim: r.shape().len() as c_int,
        format: if flags & FORMAT != 0 { r.format().as_ptr() } else { std::ptr::null() },
        shape: if flags & ND != 0 { r.shape().as_ptr() } else { std::ptr::null() },
        strides: if strided { r.strides().as_ptr() } else { std::ptr::null() },
        suboffsets: std::ptr::null(),
        internal: region.into_ptr().cast(),
    };
    Ok(filled)
}

unsafe extern "C" fn release_buffer(_: *mut ffi::PyObject, view: *mut RawBuffer) {
    // SAFETY: `internal` is the reference that `fill` put there; Python calls this once, attached.
    unsafe { ffi::Py_DecRef((*view).internal.cast()) }
}
