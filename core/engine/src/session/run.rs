//! A pipeline that keeps its job: started as a statement, stopped later.

use super::audio::{AudioConfig, AudioSource};
use super::capture::CaptureConfig;
use super::encoder::EncoderConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Done, State};
use crate::job::shared::lock;
use crate::job::{Change, Job, Stats};
use crate::pipeline::{Pipeline, spawn};
use crate::spec::{AudioChoice, PipelineSpec, SoundSpec, VideoChoice, VideoSpec};
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

    /// Changes the encoders of a running pipeline to `config`: bit rates, frame rate, size and preset. Everything else must be
    /// as it was when the pipeline was made. What an encoder cannot change in place it is opened again for, with a key frame;
    /// what even that cannot do is told in a warning event.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for any other change, and for another size where the container says it once (everything but
    /// MPEG-TS, bare streams and packets); nothing is changed then. [`ErrorKind::State`] when the pipeline does not run;
    /// [`ErrorKind::Invalid`] for a config that makes no sense.
    pub fn reconfigure_encoder(&self, config: &EncoderConfig) -> Result<()> {
        let job = self.kept()?;
        if matches!(job.state(), State::Starting | State::Finished) {
            return Err(Error::new(ErrorKind::State, "the pipeline does not run now"));
        }
        let (spec, mut made) = (self.spec(), lock(&self.made));
        let mut changes = Vec::new();
        for (output, spec) in spec.outputs.iter().enumerate().filter(|(_, o)| o.camera.is_none()) {
            let VideoChoice::Track(began) = &spec.video else { continue };
            let old = made.get(&output).unwrap_or(began);
            let new = config.video(None)?;
            let new = VideoSpec { frame_rate: new.frame_rate.or(old.frame_rate), ..new };
            changes.push((change(output, old, &new)?, new));
        }
        // All or none: what the container cannot do is known before anything is told.
        changes.iter().try_for_each(|(change, _)| job.can_set(change))?;
        changes
            .iter()
            .filter(|(change, _)| !change.is_empty())
            .try_for_each(|(change, _)| job.set(change))?;
        made.extend(changes.into_iter().map(|(change, new)| (change.output, new)));
        Ok(())
    }

    /// Captures another screen or camera from now on, which is opened beside the one so far: its first picture is the first
    /// of it in the outputs, whose size and rate stay as they are. What cannot be captured is told in a warning event and
    /// changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::State`] when the pipeline does not run; [`ErrorKind::NotFound`] when it captures neither screen nor
    /// camera; [`ErrorKind::Unsupported`] for a pattern or a URL; as [`crate::PipelineBuilder::build`] for a config that makes
    /// no sense.
    pub fn switch_capture(&self, capture: &CaptureConfig) -> Result<()> {
        let job = self.kept()?;
        let source = capture.source(&AudioConfig::default(), true)?;
        let screen = source.screen.map(Box::new);
        if screen.is_none() {
            return Err(Error::unsupported("capture: only to another screen or camera while it runs"));
        }
        job.set(&Change { screen, ..Change::default() })
    }

    /// Takes the sound from a PipeWire node, by number or name, instead of from where it came so far. While there is no such
    /// node there is silence. Before the pipeline is started it is given that sound, if it has none yet: beside a screen,
    /// for every output that can have sound, coded as its container's own.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it runs and captures no sound; [`ErrorKind::Unsupported`] when it was not started and
    /// has no screen to capture sound beside, or cameras only, which have pictures and nothing else.
    pub fn set_audio_source(&self, node: impl Into<AudioSource>) -> Result<()> {
        let sound = node.into().sound();
        match self.job() {
            Some(job) if job.state() != State::Finished => {
                job.set(&Change { sound: Some(sound), ..Change::default() })
            }
            _ => self.change_spec(hearing(&self.spec(), sound)?),
        }
    }

    fn kept(&self) -> Result<Arc<Job>> {
        self.job().ok_or_else(|| Error::new(ErrorKind::State, "the pipeline was not started"))
    }
}

/// `spec` with `sound` in place of the first that it captures, or of none.
fn hearing(spec: &PipelineSpec, sound: SoundSpec) -> Result<PipelineSpec> {
    let mut spec = spec.clone();
    match spec.source.sound.first_mut() {
        Some(first) => *first = SoundSpec { track: first.track, ..sound },
        None if spec.source.screen.is_none() => {
            return Err(Error::unsupported("audio: is captured beside a screen only"));
        }
        None => spec.source.sound.push(sound),
    }
    let (mut able, mut heard) = (false, false);
    for output in spec.outputs.iter().filter(|o| o.camera.is_none()) {
        able = true;
        heard |= !matches!(output.audio, AudioChoice::None);
    }
    if !able {
        return Err(Error::unsupported("audio: a camera has pictures only"));
    }
    if !heard {
        for output in spec.outputs.iter_mut().filter(|o| o.camera.is_none()) {
            output.audio = AudioChoice::Default;
        }
    }
    Ok(spec)
}

/// What `new` has otherwise than `old`.
fn change(output: usize, old: &VideoSpec, new: &VideoSpec) -> Result<Change> {
    if rest(old) != rest(new) || old.bitrate.is_some() != new.bitrate.is_some() {
        return Err(Error::unsupported(
            "encoder: only bit rates, frame rate, size and preset can change while it runs",
        ));
    }
    let size = (new.width, new.height);
    if size != (old.width, old.height) && (size.0.is_none() || size.1.is_none()) {
        return Err(Error::unsupported("encoder.resolution: say which size it is to have now"));
    }
    let sized = |n: Option<u32>| n.filter(|_| size != (old.width, old.height));
    let rated = new.bitrate != old.bitrate || new.max_bitrate != old.max_bitrate;
    Ok(Change {
        output,
        bitrate: new.bitrate.filter(|_| rated),
        max_bitrate: new.max_bitrate.filter(|_| rated && new.bitrate.is_some()),
        frame_rate: new.frame_rate.filter(|_| new.frame_rate != old.frame_rate),
        width: sized(size.0),
        height: sized(size.1),
        preset: new.preset.filter(|_| new.preset != old.preset),
        ..Change::default()
    })
}

/// Everything but what can change.
fn rest(video: &VideoSpec) -> Option<serde_json::Value> {
    let plain = VideoSpec {
        bitrate: None,
        max_bitrate: None,
        frame_rate: None,
        width: None,
        height: None,
        preset: None,
        ..video.clone()
    };
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
