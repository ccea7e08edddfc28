//! Pictures in DMA-BUFs, read by the GPU that they belong to: EGL imports them, a shader of OpenGL ES makes them luma and
//! chroma, and those go to CUDA on the GPU itself, or to host memory.
//!
//! CUDA cannot import a desktop's DMA-BUF directly; this is the way round that exists on every NVIDIA driver. Nothing is
//! needed at build time: `libEGL.so.1` is looked up at run time, and its absence is an error like any other.
//! The library stays initialised once it was used, because a display is shared with whoever else uses it in the process.

mod api;
mod display;
mod draw;
mod error;
mod importer;

pub use error::{Error, Kind, Result};
pub use importer::{Conversion, Importer};
