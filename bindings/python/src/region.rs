//! A block of memory as an array: what numpy, the buffer protocol and DLPack are given.

use bytes::Bytes;
use ghoststream::frame::Frame;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::ffi::CString;
use std::sync::Arc;

/// Type of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Unsigned,
    Signed,
    Float,
}

/// Who keeps the memory alive.
pub enum Owner {
    /// Shared with the Python frame, so that views of a frame do not count as somebody else who has its memory.
    Frame(Arc<Frame>),
    Bytes(Bytes),
}

/// Memory with a shape. It keeps its owner alive, and every view of it keeps the region alive.
#[pyclass(frozen, module = "ghoststream._native")]
pub struct Region {
    owner: Owner,
    address: usize,
    kind: Kind,
    item_size: usize,
    big_endian: bool,
    format: CString,
    shape: Vec<isize>,
    strides: Vec<isize>,
}

/// How the items of a region lie.
pub struct Layout {
    pub kind: Kind,
    pub item_size: usize,
    pub big_endian: bool,
    pub shape: Vec<usize>,
    /// Bytes from one item to the next along each axis.
    pub strides: Vec<usize>,
}

impl Layout {
    /// Bytes in a row.
    pub fn bytes(len: usize) -> Layout {
        Layout { kind: Kind::Unsigned, item_size: 1, big_endian: false, shape: vec![len], strides: vec![1] }
    }
}

impl Region {
    /// The memory at `address`, which `owner` keeps alive, with `layout`.
    pub fn new(owner: Owner, address: usize, layout: Layout) -> Region {
        let letter = match (layout.kind, layout.item_size) {
            (Kind::Unsigned, 1) => "B",
            (Kind::Unsigned, 2) => "H",
            (Kind::Unsigned, _) => "I",
            (Kind::Signed, 2) => "h",
            (Kind::Signed, 4) => "i",
            (Kind::Signed, _) => "q",
            (Kind::Float, 4) => "f",
            (Kind::Float, _) => "d",
        };
        let order = if layout.big_endian && layout.item_size > 1 { ">" } else { "" };
        let signed = |v: Vec<usize>| v.into_iter().map(|n| n as isize).collect();
        Region {
            owner,
            address,
            kind: layout.kind,
            item_size: layout.item_size,
            big_endian: layout.big_endian,
            format: CString::new(format!("{order}{letter}")).unwrap_or_default(),
            shape: signed(layout.shape),
            strides: signed(layout.strides),
        }
    }

    /// Shared bytes.
    pub fn of_bytes(data: Bytes) -> Region {
        let (address, len) = (data.as_ptr() as usize, data.len());
        Region::new(Owner::Bytes(data), address, Layout::bytes(len))
    }

    pub fn address(&self) -> usize {
        self.address
    }

    /// Whether somebody else may read the memory now.
    pub fn is_readonly(&self) -> bool {
        match &self.owner {
            Owner::Frame(frame) => !frame.is_writable(),
            Owner::Bytes(_) => true,
        }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn item_size(&self) -> usize {
        self.item_size
    }

    pub fn is_big_endian(&self) -> bool {
        self.big_endian && self.item_size > 1
    }

    pub fn format(&self) -> &CString {
        &self.format
    }

    pub fn shape(&self) -> &[isize] {
        &self.shape
    }

    pub fn strides(&self) -> &[isize] {
        &self.strides
    }

    /// Bytes of the items, without padding.
    pub fn byte_count(&self) -> usize {
        self.shape.iter().fold(self.item_size, |n, d| n * *d as usize)
    }

    /// Whether rows follow one another without padding.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = self.item_size as isize;
        for (n, stride) in self.shape.iter().zip(&self.strides).rev() {
            if *n != 1 && *stride != expected {
                return false;
            }
            expected *= n;
        }
        true
    }
}

#[pymethods]
impl Region {
    #[getter(shape)]
    fn py_shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.shape)
    }

    #[getter]
    fn readonly(&self) -> bool {
        self.is_readonly()
    }

    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let letter = match self.kind {
            Kind::Unsigned => 'u',
            Kind::Signed => 'i',
            Kind::Float => 'f',
        };
        let order = match (self.item_size, self.big_endian) {
            (1, _) => '|',
            (_, true) => '>',
            _ => '<',
        };
        let interface = PyDict::new(py);
        interface.set_item("version", 3)?;
        interface.set_item("typestr", format!("{order}{letter}{}", self.item_size))?;
        interface.set_item("shape", PyTuple::new(py, &self.shape)?)?;
        interface.set_item("strides", PyTuple::new(py, &self.strides)?)?;
        interface.set_item("data", (self.address, self.is_readonly()))?;
        Ok(interface)
    }
}
