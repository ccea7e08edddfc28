//! FFmpeg through its safe owners, on real media made in memory.

mod frame;
mod io;
mod media;
mod transcode;
