//! Where media comes from.

pub(crate) mod index;
pub(crate) mod open;
pub mod pattern;
mod target;
