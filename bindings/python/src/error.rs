//! Engine errors become the Python exceptions of `ghoststream._errors`, one class for each kind.

use ghoststream::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The exception for `e`.
pub fn raise(py: Python<'_>, e: &Error) -> PyErr {
    raise_as(py, e.kind().name(), e.message())
}

/// The exception for an argument that can never be right.
pub fn invalid(py: Python<'_>, message: impl Into<String>) -> PyErr {
    raise(py, &Error::new(ErrorKind::Invalid, message))
}

/// As [`raise`], with the exception that it comes from.
pub fn raise_from(py: Python<'_>, e: &Error, cause: Option<PyErr>) -> PyErr {
    let raised = raise(py, e);
    if cause.is_some() {
        raised.set_cause(py, cause);
    }
    raised
}

fn raise_as(py: Python<'_>, kind: &str, message: &str) -> PyErr {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = MAKE.get_or_try_init(py, || {
        Ok::<_, PyErr>(py.import("ghoststream._errors")?.getattr("from_kind")?.unbind())
    });
    match make.and_then(|make| make.call1(py, (kind, message))) {
        Ok(exception) => PyErr::from_value(exception.into_bound(py)),
        Err(e) => e,
    }
}

/// `Result` of the engine into one of Python.
pub trait OrRaise<T> {
    /// Raises the exception of the error.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for ghoststream::Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|e| raise(py, &e))
    }
}
