//! Jobs with real workers on real media; results are read back by FFmpeg's own tools.

mod failures;
mod films;
mod killed;
mod kinds;
mod sharing;
mod stored;
mod support;
