//! CUDA, NVENC and NVML on the stand-in driver of `tests/standin`: every test runs itself again in a process that has it
//! in `LD_LIBRARY_PATH`, and reads the call log afterwards: no violation, no leak.
//!
//! `real` puts some of the same to the driver that is installed, where one is; `GS_REQUIRE_GPU=1` wants one.

mod cuda;
#[cfg(target_os = "linux")]
mod dmabuf;
mod encode;
mod faults;
mod list;
mod real;
mod standin;
