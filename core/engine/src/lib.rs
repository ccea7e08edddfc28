//! The GhostStream engine moves media one way: **source → filter → encode → sink**.
//!
//! Floors, lowest first; a lower floor never imports a higher one:
//! `error time` → `frame packet` → `stage link` → `source filter encode sink package` → `spec device` → `pipeline` → `job`.
#![forbid(unsafe_code)]

pub mod decode;
pub mod encode;
pub mod error;
pub mod event;
pub mod filter;
pub mod frame;
pub mod job;
pub mod link;
pub mod package;
pub mod packet;
pub mod plan;
pub mod source;
pub mod spec;
pub mod stage;
pub mod time;

pub use error::{Error, ErrorKind, Result};
