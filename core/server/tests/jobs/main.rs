//! Jobs with real workers on real media; results are read back by FFmpeg's own tools.

mod kinds;
mod support;
