//! Safe owners over the C libraries GhostStream drives. One folder per library; nothing raw in a public signature.

pub mod calendar;
pub mod cuda;
pub mod disk;
#[cfg(target_os = "linux")]
pub mod egl;
pub mod ffmpeg;
#[cfg(target_os = "linux")]
mod memory;
pub mod nvenc;
pub mod nvidia;
pub mod nvml;
#[cfg(target_os = "linux")]
pub mod pipewire;
pub mod pixels;
#[cfg(target_os = "linux")]
pub mod portal;
pub mod process;
pub mod srt;
pub mod tcp;
#[cfg(target_os = "linux")]
pub mod v4l2;
#[cfg(target_os = "linux")]
pub mod wayland;
#[cfg(target_os = "linux")]
pub mod x11;
