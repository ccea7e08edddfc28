//! The CUDA driver, looked up at run time: devices, primary contexts, streams, memory, kernels.
//!
//! Nothing is needed at build time and nothing is loaded until the first call, which says `Absent` where there is no
//! driver. All owners are `Send` and `Sync` and may be dropped on any thread; each keeps its [`Context`].

mod api;
mod context;
mod device;
mod error;
#[cfg(target_os = "linux")]
mod graphics;
mod memory;
mod module;
mod plane;
mod stream;

pub(crate) use api::is_started;
pub use context::{Context, Current};
pub use device::{Device, device, devices, driver_version, is_present};
pub use error::{Error, Kind, Result, Status};
#[cfg(target_os = "linux")]
pub(crate) use graphics::GlTextures;
pub use memory::{DeviceBuffer, InFlight, PinnedBuffer};
pub use module::{Arg, Function, Grid, Module};
pub use plane::{Host, HostMut, Layout, Plane, PlaneMut};
pub use stream::{Event, Stream};
