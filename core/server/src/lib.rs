//! The GhostStream server: the transcoding server's HTTP and WebSocket contract over the engine's jobs. It contains no
//! media logic: a request becomes an engine document, and the engine does the work.
#![forbid(unsafe_code)]

pub mod adapt;
pub mod config;
pub mod contract;
pub mod discovery;
pub mod jobs;
pub mod policy;
pub mod worker;
