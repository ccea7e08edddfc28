//! The server inside a Python process.

use crate::error::OrRaise;
use crate::job::json;
use ghoststream_server::Blocking;
use pyo3::prelude::*;
use std::sync::{Mutex, PoisonError};

/// A running server.
#[pyclass(frozen, module = "ghoststream._native")]
pub struct Server {
    /// Taken when it ends.
    server: Mutex<Option<Blocking>>,
    addresses: Vec<(String, u16)>,
}

#[pymethods]
impl Server {
    #[new]
    fn new(py: Python<'_>, document: &str, worker: Vec<String>) -> PyResult<Server> {
        let server = py.detach(|| Blocking::from_document(document, &worker)).or_raise(py)?;
        let addresses = server.addresses().iter().map(|a| (a.ip().to_string(), a.port())).collect();
        Ok(Server { server: Mutex::new(Some(server)), addresses })
    }

    /// Host and port of every address that it listens on.
    fn addresses(&self) -> Vec<(String, u16)> {
        self.addresses.clone()
    }

    /// What it does, as JSON.
    fn status(&self, py: Python<'_>) -> PyResult<String> {
        let status = py.detach(|| {
            let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
            server.as_ref().map(Blocking::status)
        });
        json(py, &status.unwrap_or_else(|| serde_json::json!({ "state": "stopped" })))
    }

    /// Begins the end.
    fn stop(&self, py: Python<'_>) {
        py.detach(|| {
            if let Some(server) = &*self.server.lock().unwrap_or_else(PoisonError::into_inner) {
                server.stop();
            }
        });
    }

    /// Ends it and waits.
    fn end(&self, py: Python<'_>) {
        py.detach(|| {
            let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(server) = server {
                server.end();
            }
        });
    }
}
