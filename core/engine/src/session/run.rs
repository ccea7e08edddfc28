//! A pipeline that keeps its job: started as a statement, stopped later.

use super::audio::AudioSource;
use super::encoder::EncoderConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Done, State};
use crate::job::{Change, Job, Stats};
use crate::pipeline::{Pipeline, spawn};
use crate::spec::{VideoChoice, VideoSpec};
use std::future::{Future, IntoFuture, Ready, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

impl Pipeline {
    /// Whether the job that this pipeline keeps is not over yet.
    pub fn is_running(&self) -> bool {
        self.job().is_some_and(|job| job.state() != State::Finished)
    }

    /// Statistics of the job that this pipeline keeps. Ready at once; `.await` it or not.
    ///
    /// # Errors
    /// [`ErrorKind::State`] when it was never started.
    pub fn stats(&self) -> Ready<Result<Stats>> {
        ready(self.kept().map(|job| job.stats()))
    }

    /// Reads no more and finishes the outputs: `pipeline.stop().await?`, or `pipeline.stop().done()?` without a
    /// runtime. Stopping begins with the call; either way of waiting tells how the job ended.
    pub fn stop(&self) -> Stop {
        let job = self.kept();
        if let Ok(job) = &job {
            job.stop();
        }
        Stop { job }
    }

    /// Changes the encoders of a running pipeline to `config`. Bit rates can change; everything else must be as it was
    /// when the pipeline was made.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for any other change; [`ErrorKind::State`] when the pipeline does not run;
    /// [`ErrorKind::Invalid`] for a config that makes no sense.
    pub fn reconfigure_encoder(&self, config: &EncoderConfig) -> Result<()> {
        let job = self.kept()?;
        let mut changes = Vec::new();
        for (output, spec) in self.spec().outputs.iter().enumerate() {
            let VideoChoice::Track(old) = &spec.video else { continue };
            let new = config.video(None)?;
            let new = VideoSpec { frame_rate: new.frame_rate.or(old.frame_rate), ..new };
            if rest(old) != rest(&new) || new.bitrate.is_none() {
                return Err(Error::unsupported("encoder: only bit rates can change while it runs"));
            }
            changes.push(Change {
                output,
                bitrate: new.bitrate,
                max_bitrate: new.max_bitrate,
                ..Change::default()
            });
        }
        changes.iter().try_for_each(|change| job.set(change))
    }

    /// Takes the sound of a running pipeline from a PipeWire node, by number or name, instead of from where it came so far.
    /// While there is no such node there is silence.
    ///
    /// # Errors
    /// [`ErrorKind::State`] when the pipeline does not run; [`ErrorKind::NotFound`] when it captures no sound.
    pub fn set_audio_source(&self, node: impl Into<AudioSource>) -> Result<()> {
        let sound = node.into().sound();
        self.kept()?.set(&Change { sound: Some(sound), ..Change::default() })
    }

    fn kept(&self) -> Result<Arc<Job>> {
        self.job().ok_or_else(|| Error::new(ErrorKind::State, "the pipeline was not started"))
    }
}

/// Everything but the bit rates.
fn rest(video: &VideoSpec) -> Option<serde_json::Value> {
    let plain = VideoSpec { bitrate: None, max_bitrate: None, ..video.clone() };
    serde_json::to_value(plain).ok()
}

/// A job being stopped: see [`Pipeline::stop`].
pub struct Stop {
    job: Result<Arc<Job>>,
}

impl Stop {
    /// Waits until every output is finished.
    ///
    /// # Errors
    /// The job's failure; [`ErrorKind::State`] when the pipeline was never started.
    pub fn done(self) -> Result<Done> {
        over(self.job?.wait(None)?)
    }
}

fn over(done: Option<Done>) -> Result<Done> {
    done.ok_or_else(|| Error::new(ErrorKind::Internal, "the job did not end"))?.into_result()
}

impl IntoFuture for Stop {
    type Output = Result<Done>;
    type IntoFuture = Stopping;

    fn into_future(self) -> Stopping {
        Stopping { job: self.job, waiter: None }
    }
}

/// The future of a [`Stop`]; works under any executor. Dropping it does not hold the stopping up.
pub struct Stopping {
    job: Result<Arc<Job>>,
    /// Whom to wake, once a thread waits for the job.
    waiter: Option<Arc<Mutex<Waker>>>,
}

impl Future for Stopping {
    type Output = Result<Done>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Done>> {
        let job = match &self.job {
            Ok(job) => job.clone(),
            Err(e) => return Poll::Ready(Err(e.clone())),
        };
        // The waker first: the job may end between the two.
        if let Some(waiter) = &self.waiter {
            waiter.lock().unwrap_or_else(PoisonError::into_inner).clone_from(context.waker());
        }
        match job.wait(Some(Duration::ZERO)) {
            Ok(None) => {}
            Ok(done) => return Poll::Ready(over(done)),
            Err(e) => return Poll::Ready(Err(e)),
        }
        if self.waiter.is_none() {
            let waker = Arc::new(Mutex::new(context.waker().clone()));
            self.waiter = Some(waker.clone());
            let waiting = spawn("stop", move || {
                let ended = job.wait(None);
                // A failed wait is told by the poll that this causes.
                drop((job, ended));
                waker.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
            });
            if let Err(e) = waiting {
                return Poll::Ready(Err(e));
            }
        }
        Poll::Pending
    }
}
