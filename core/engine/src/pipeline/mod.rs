//! A checked document, inert until it is started.

mod build;
mod feed;
mod geometry;
mod input;
mod ladder;
mod lead;
mod mux;
mod output;
mod resolve;
mod tracks;
mod two_pass;
mod worker;

use crate::error::{Error, ErrorKind, Result};
use crate::job::Job;
use crate::plan::Plan;
use crate::spec::PipelineSpec;
use crate::time::{Clock, SystemClock};
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

/// A checked pipeline: start it, or ask what it would do.
#[derive(Clone)]
pub struct Pipeline {
    spec: PipelineSpec,
    clock: Arc<dyn Clock>,
}

impl Pipeline {
    /// Checks `spec`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming the field.
    pub fn from_spec(spec: PipelineSpec) -> Result<Pipeline> {
        spec.check()?;
        Ok(Pipeline { spec, clock: Arc::new(SystemClock::default()) })
    }

    /// Parses and checks a JSON document.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming the field.
    pub fn from_json(text: &str) -> Result<Pipeline> {
        Pipeline::from_spec(PipelineSpec::from_json(text)?)
    }

    /// The document.
    pub fn spec(&self) -> &PipelineSpec {
        &self.spec
    }

    /// Runs on another clock: live pacing, progress and stall detection follow it.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Pipeline {
        self.clock = clock;
        self
    }

    /// Opens the source and decides what would be done; writes nothing.
    ///
    /// # Errors
    /// Whatever opening and deciding can fail with, by name of the file or field.
    pub fn plan(&self) -> Result<Plan> {
        build::plan(&self.spec)
    }

    /// Starts the job: `pipeline.start().job()?`, or `pipeline.start().await?` in async code (it does not block
    /// either way: opening the source happens on the job's own thread and its failure arrives in the Done event).
    pub fn start(self) -> Start {
        Start { pipeline: self }
    }
}

/// A pipeline about to start.
#[must_use = "nothing runs until `.job()` or `.await`"]
pub struct Start {
    pipeline: Pipeline,
}

impl Start {
    /// Starts the threads and hands out the job.
    ///
    /// # Errors
    /// [`ErrorKind::Memory`] when the system gives no thread; [`ErrorKind::Invalid`] for an output whose place is
    /// already taken.
    pub fn job(self) -> Result<Job> {
        build::start(self.pipeline.spec, self.pipeline.clock)
    }
}

impl IntoFuture for Start {
    type Output = Result<Job>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Job>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        // Starting is immediate; the future only makes it read well in async code.
        Box::pin(async move { self.job() })
    }
}

/// A thread with a name that shows in debuggers and profilers.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new()
        .name(format!("gs-{name}"))
        .spawn(body)
        .map_err(|e| Error::with_source(ErrorKind::Memory, format!("cannot start thread {name}: {e}"), e))
}
