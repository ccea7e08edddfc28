//! `libghoststream`: the engine behind a C ABI. One file per noun; `boundary` holds what every entry point does.
//! The header `include/ghoststream.h` is made from these files by cbindgen, documentation included.

mod abi;
mod boundary;
mod buffer;
mod event;
mod frame;
mod job;
mod log;
mod packet;
mod server;
mod status;
mod stream;
mod version;
