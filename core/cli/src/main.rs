//! The `ghoststream` command: a client of the engine with no media logic of its own.
fn main() {}
