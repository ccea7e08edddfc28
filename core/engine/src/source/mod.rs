//! Where media comes from.

mod content;
pub(crate) mod continuity;
pub(crate) mod exif;
pub(crate) mod frames;
pub(crate) mod index;
mod joined;
pub(crate) mod keys;
pub(crate) mod open;
pub(crate) mod packets;
pub mod pattern;
mod reach;
pub(crate) mod scan;
pub mod screen;
pub(crate) mod seek;
pub(crate) mod sound;
mod spool;
mod target;
pub(crate) mod whole;

pub use content::{Content, ReadAt};
pub use ghoststream_sys::ffmpeg::Interrupt;
