//! CUDA, NVENC and NVML on the stand-in driver of `tests/standin`: every test runs itself again in a process that has it
//! in `LD_LIBRARY_PATH`, and reads the call log afterwards: no violation, no leak.

mod cuda;
mod encode;
mod faults;
mod list;
mod standin;
