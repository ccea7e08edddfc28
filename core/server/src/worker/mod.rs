//! Jobs run in worker processes of the same program, so that a crash or a hang of a codec ends one job and nothing else.
//!
//! [`Pool`] starts them ahead, [`Worker`] is one of them, [`Run`] a document that it runs; [`run_child`] is the other side.

mod child;
mod pool;
mod process;
mod protocol;

pub(crate) use child::VAAPI;
pub use child::run as run_child;
pub use pool::{Pool, Setup};
pub use process::{Control, Gone, Patience, Report, Run, Worker, is_verbose};
pub use protocol::{Command, Failure, Sandbox};
