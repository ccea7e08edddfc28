//! Where media comes from.

pub(crate) mod index;
pub(crate) mod open;
pub mod pattern;
pub(crate) mod scan;
mod target;

pub use ghoststream_sys::ffmpeg::Interrupt;
