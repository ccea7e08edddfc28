//! Jobs: what clients ask for, queued, run in worker processes, kept over restarts, shared between viewers, and cleaned
//! up. No media logic: a job is a pipeline document.

mod view;

pub use view::{
    Body, Cache, CannotCancel, Cleaned, CleanupStats, Client, Decision, DownloadError, FileError, JobEvent,
    JobView, Left, Served, SharedStream, SharedStreams, StartError, Stats, Status,
};
