//! Kafka in a build without it: there is never one, and settings that ask for it were refused.

use crate::config::Config;
use crate::jobs::Jobs;
use crate::live::LiveService;
use ghoststream::Result;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What there is none of.
#[derive(Clone, Debug)]
pub enum Kafka {}

impl Kafka {
    /// Starts nothing.
    ///
    /// # Errors
    /// None.
    pub fn start(
        _config: &Config,
        _live: Option<&LiveService>,
        _jobs: &Jobs,
        _ending: &watch::Receiver<bool>,
    ) -> Result<Option<(Kafka, Vec<JoinHandle<()>>)>> {
        Ok(None)
    }

    /// A page of figures.
    pub fn metrics(&self) -> String {
        match *self {}
    }
}
