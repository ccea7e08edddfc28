//! Adaptation: what this machine is ([`Hardware`], [`Tier`]), how it is doing ([`Snapshot`]), and what follows for the
//! jobs ([`decide`]). Reading and deciding are apart, so that every decision can be made again from a recorded trace.

mod decide;
mod hardware;
mod monitor;
mod snapshot;
mod tier;

pub use decide::{Decision, Settings, State, decide};
pub use hardware::Hardware;
pub use monitor::{GpuSource, Monitor};
pub use snapshot::{GpuLoad, JobsLoad, Power, Snapshot, Trend};
pub use tier::{Tier, TierLimits};
