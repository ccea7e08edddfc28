//! Sources over the network, against real servers: a small one of ours for faults, FFmpeg's own for its protocols.

mod broken;
mod files;
mod live;
mod reach;
mod server;
#[path = "../jobs/support.rs"]
#[allow(dead_code)]
mod support;
