//! The native half of the Python package `ghoststream`: thin, because idiom lives in the Python half. Documents,
//! events and statistics cross as JSON; pixels and packets as memory that is shared, not copied.
//!
//! Unsafe code is in `buffer`, `device` and `dlpack` only, where Python's interfaces are raw memory.
#![allow(missing_docs, reason = "the public face is the Python package, which documents it")]

mod buffer;
mod content;
mod device;
mod dlpack;
mod error;
mod frame;
mod job;
mod packet;
mod reader;
mod region;
mod server;
mod wait;

use error::OrRaise;
use pyo3::prelude::*;

/// What is in a source, or in the bytes that `data` holds or reads, as JSON.
#[pyfunction]
#[pyo3(signature = (source, keyframes, data = None))]
fn probe(py: Python<'_>, source: &str, keyframes: bool, data: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    use ghoststream::probe::{ProbeOptions, probe_content, probe_with};
    let source = ghoststream::spec::parse_json(source).or_raise(py)?;
    let interrupt = ghoststream::source::Interrupt::new();
    let stop = interrupt.clone();
    let options = ProbeOptions { keyframes };
    let found = match data.map(content::Source::new).transpose()? {
        None => {
            let work = move || probe_with(&source, &options, &interrupt);
            wait::apart(py, move || stop.cancel(), work)?.or_raise(py)?
        }
        Some(held) => {
            let work = move |content: &_| probe_content(content, &source, &options, &interrupt);
            content::apart_with(py, &held, move || stop.cancel(), work)?
        }
    };
    job::json(py, &found)
}

/// What this machine can do, as JSON.
#[pyfunction]
fn devices(py: Python<'_>) -> PyResult<String> {
    let found = wait::apart(py, || {}, ghoststream::device::here)?;
    job::json(py, &found)
}

/// The settings that have names, as JSON.
#[pyfunction]
fn presets(py: Python<'_>) -> PyResult<String> {
    job::json(py, &ghoststream::Preset::table())
}

/// The JSON Schema of the job document.
#[pyfunction]
fn schema() -> String {
    ghoststream::spec::schema()
}

/// The job document, as JSON, that arguments of `ghoststream transcode` mean.
#[pyfunction]
fn document(py: Python<'_>, arguments: Vec<std::ffi::OsString>) -> PyResult<String> {
    let spec = ghoststream_cli::document(arguments).map_err(|message| error::invalid(py, message))?;
    job::json(py, &spec)
}

/// The `ghoststream` command: returns its exit code.
#[pyfunction]
fn command(py: Python<'_>, arguments: Vec<std::ffi::OsString>) -> i32 {
    py.detach(|| ghoststream_cli::run(arguments))
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    // The earlier, the more likely that there is one thread, which silencing SVT-AV1 needs.
    ghoststream::log::install();
    module.add("Buffer", buffer::exporter(py)?)?;
    module.add("version", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<region::Region>()?;
    module.add_class::<frame::Frame>()?;
    module.add_class::<frame::Pool>()?;
    module.add_class::<device::DeviceTensor>()?;
    module.add_function(wrap_pyfunction!(device::plane_layouts, module)?)?;
    module.add_function(wrap_pyfunction!(device::frame_from_device, module)?)?;
    module.add_class::<packet::Packet>()?;
    module.add_class::<job::Pipeline>()?;
    module.add_class::<job::Job>()?;
    module.add_class::<reader::Reader>()?;
    module.add_class::<server::Server>()?;
    module.add_function(wrap_pyfunction!(probe, module)?)?;
    module.add_function(wrap_pyfunction!(devices, module)?)?;
    module.add_function(wrap_pyfunction!(presets, module)?)?;
    module.add_function(wrap_pyfunction!(schema, module)?)?;
    module.add_function(wrap_pyfunction!(document, module)?)?;
    module.add_function(wrap_pyfunction!(command, module)?)?;
    Ok(())
}
