//! The GhostStream server. Its HTTP surface arrives with the transcoding-server work; the engine already runs the jobs.
#![forbid(unsafe_code)]

pub mod adapt;
pub mod discovery;
pub mod jobs;
