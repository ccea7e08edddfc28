//! Recordings: files that are cut, paused and saved while the job runs. Every file is decoded again and the numbers that
//! the pattern draws into its frames are read.

mod files;
mod pausing;
mod replay;
mod support;
