//! `libghoststream`: the engine behind a C ABI. One file per noun; `boundary` holds what every entry point does.
//! The header `include/ghoststream.h` is made from these files by cbindgen, in this order, documentation included.

mod boundary;

mod abi;

mod status;

mod version;

mod log;

mod buffer;

mod bytes;

mod probe;

mod frame;

mod packet;

mod capture;

mod encoder;

mod pipeline;

mod job;

mod event;

mod stream;

mod server;

#[cfg(test)]
mod layout;
