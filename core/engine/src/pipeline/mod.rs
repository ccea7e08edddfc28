//! A checked document, inert until it is started.

mod build;
mod chain;
mod copy;
mod crew;
mod decoders;
mod encoders;
mod feed;
mod input;
mod ladder;
mod lead;
mod lost;
mod mux;
mod named;
mod output;
mod placement;
mod relay;
mod resolve;
mod share;
mod steer;
mod tracks;
mod two_pass;
mod words;
mod worker;

use crate::error::{Error, ErrorKind, Result};
use crate::event::State;
use crate::job::Job;
use crate::job::shared::lock;
use crate::packet::StreamInfo;
use crate::plan::Plan;
use crate::spec::{PipelineSpec, VideoSpec};
use crate::time::{Clock, SystemClock};
use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

/// A checked pipeline: start it, or ask what it would do. Any thread; clones are the same pipeline.
///
/// `start().job()` hands the job out and forgets it. `start().await` keeps it too: it then lives until the last clone
/// of the pipeline and of the returned handle is gone, and clones of a pipeline share the kept job.
#[derive(Clone)]
pub struct Pipeline {
    spec: Arc<Mutex<Arc<PipelineSpec>>>,
    clock: Arc<dyn Clock>,
    streams: Vec<StreamInfo>,
    kept: Arc<Mutex<Option<Arc<Job>>>>,
    /// What the kept job's encoders were changed to, by output.
    pub(crate) made: Arc<Mutex<BTreeMap<usize, VideoSpec>>>,
}

impl Pipeline {
    /// Checks `spec`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming the field.
    pub fn from_spec(spec: PipelineSpec) -> Result<Pipeline> {
        let spec = spec.with_plain_paths();
        spec.check()?;
        Ok(Pipeline {
            spec: Arc::new(Mutex::new(Arc::new(spec))),
            clock: Arc::new(SystemClock::default()),
            streams: Vec::new(),
            kept: Arc::default(),
            made: Arc::default(),
        })
    }

    /// Parses and checks a JSON document.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming the field.
    pub fn from_json(text: &str) -> Result<Pipeline> {
        Pipeline::from_spec(PipelineSpec::from_json(text)?)
    }

    /// The document as it is now: what was set since it was given is in it.
    pub fn spec(&self) -> Arc<PipelineSpec> {
        lock(&self.spec).clone()
    }

    /// Has the next job made of another document, in all clones too.
    ///
    /// # Errors
    /// As [`Pipeline::from_spec`]; the document stays as it was.
    pub(crate) fn change_spec(&self, spec: PipelineSpec) -> Result<()> {
        let spec = spec.with_plain_paths();
        spec.check()?;
        *lock(&self.spec) = Arc::new(spec);
        Ok(())
    }

    /// Describes the streams of a `packets` source: [`crate::packet::Packet::stream`] counts in them, and packets are framed as
    /// each one's extradata says. What is not known may be left out, except codec and time base; encoders need the size of
    /// pictures and the rate and channels of sound.
    pub fn with_streams(mut self, streams: Vec<StreamInfo>) -> Pipeline {
        self.streams = streams;
        self
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
        build::plan(&self.spec(), &self.streams)
    }

    /// Starts the job: `pipeline.start().job()?`, or `pipeline.start().await?` in async code (it does not block
    /// either way: opening the source happens on the job's own thread and its failure arrives in the Done event).
    pub fn start(&self) -> Start {
        Start { pipeline: self.clone() }
    }

    /// The job that `start().await` kept, running or over.
    pub fn job(&self) -> Option<Arc<Job>> {
        lock(&self.kept).clone()
    }
}

/// A pipeline about to start.
#[must_use = "nothing runs until `.job()` or `.await`"]
pub struct Start {
    pipeline: Pipeline,
}

impl Start {
    /// Starts the threads and hands out the job: dropping it cancels it.
    ///
    /// # Errors
    /// [`ErrorKind::Memory`] when the system gives no thread; [`ErrorKind::Invalid`] for an output whose place is
    /// already taken.
    pub fn job(self) -> Result<Job> {
        let pipeline = self.pipeline;
        build::start((*pipeline.spec()).clone(), &pipeline.streams, pipeline.clock)
    }

    /// As [`Start::job`], with the job kept by the pipeline too. This is what `.await` does.
    ///
    /// # Errors
    /// As [`Start::job`], and [`ErrorKind::State`] while the pipeline's kept job still runs.
    pub fn keep(self) -> Result<Arc<Job>> {
        let mut kept = lock(&self.pipeline.kept);
        if kept.as_ref().is_some_and(|job| job.state() != State::Finished) {
            return Err(Error::new(ErrorKind::State, "the pipeline runs already"));
        }
        let pipeline = &self.pipeline;
        let job = build::start((*pipeline.spec()).clone(), &pipeline.streams, pipeline.clock.clone())?;
        let job = Arc::new(job);
        *kept = Some(job.clone());
        lock(&pipeline.made).clear();
        Ok(job)
    }
}

impl IntoFuture for Start {
    type Output = Result<Arc<Job>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Arc<Job>>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        // Starting is immediate; the future only makes it read well in async code.
        Box::pin(async move { self.keep() })
    }
}

/// A thread with a name that shows in debuggers and profilers.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new()
        .name(format!("gs-{name}"))
        .spawn(body)
        .map_err(|e| Error::with_source(ErrorKind::Memory, format!("cannot start thread {name}: {e}"), e))
}
