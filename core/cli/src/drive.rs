//! Runs a job to its end: events out, signals in, standard input to a source that is fed.

use crate::args;
use crate::control::Control;
use crate::exit::Failure;
use crate::report::Reporter;
use crate::signals::{Signals, Wish};
use ghoststream::event::{Done, Event, Next};
use ghoststream::{Error, Job, Pipeline, PipelineSpec};
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// How long a signal may wait to be seen.
const TICK: Duration = Duration::from_millis(100);

/// Runs `spec`. Errors about fields name arguments when `from_args`.
///
/// # Errors
/// The job's failure, or its cancellation.
pub fn run(spec: PipelineSpec, from_args: bool, reporter: &mut Reporter) -> Result<Done, Failure> {
    possible(&spec)?;
    let fail = |e: Error| if from_args { args::named(e) } else { e.into() };
    let fed = spec.source.bytes.is_some();
    let mut signals = Signals::install()?;
    let job = Arc::new(Pipeline::from_spec(spec).map_err(fail)?.start().job().map_err(fail)?);
    let broken = Arc::new(Mutex::new(None));
    if fed {
        feed(&job, &broken);
    }
    let done = follow(&job, &mut signals, reporter, None)?;
    if let Some(e) = broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(Failure::from(Error::from(e).context("standard input")));
    }
    done.into_result().map_err(fail)
}

/// Runs a recording: it obeys more signals and a socket, and the paths of its files are printed.
///
/// # Errors
/// The job's failure, or its cancellation.
pub fn run_live(spec: PipelineSpec, reporter: &mut Reporter) -> Result<Done, Failure> {
    possible(&spec)?;
    let mut signals = Signals::install_live()?;
    let mut control = Control::open(&spec);
    let job = Pipeline::from_spec(spec).map_err(args::named)?.start().job().map_err(args::named)?;
    let done = follow(&job, &mut signals, reporter, Some(&mut control))?;
    reporter.files(&done)?;
    done.into_result().map_err(args::named)
}

/// Tells events and obeys signals until the job is over.
fn follow(
    job: &Job,
    signals: &mut Signals,
    reporter: &mut Reporter,
    mut control: Option<&mut Control>,
) -> Result<Done, Failure> {
    let mut listening = true;
    loop {
        match job.next_event(Some(TICK)) {
            Next::Event(event) => {
                if listening && reporter.event(&event).is_err() {
                    // Whoever read the events has gone; what was read so far is still worth a finished file.
                    listening = false;
                    job.stop();
                }
                if let Some(control) = &mut control {
                    control.event(&event);
                }
                if let Event::Done(done) = event {
                    return Ok(done);
                }
            }
            Next::Timeout => {}
            Next::End => return Err(Failure::from(Error::cancelled())),
        }
        match signals.wish() {
            Some(Wish::Stop) => {
                reporter.note("finishing what was read; Ctrl-C again cancels");
                job.stop();
            }
            Some(Wish::Cancel) => job.cancel(),
            None => {}
        }
        if let Some(control) = &mut control {
            while let Some(asked) = signals.asked() {
                control.signal(asked, job);
            }
            control.poll(job);
        }
    }
}

/// Refuses what only a program that uses the library can do.
fn possible(spec: &PipelineSpec) -> Result<(), Failure> {
    if spec.source.frames.is_some() {
        return Err(Failure::usage(
            "source.frames: the command has no frames to push; use url, pattern or bytes",
        ));
    }
    for (i, output) in spec.outputs.iter().enumerate() {
        let kind = match (&output.packets, output.segments) {
            (Some(_), _) => "packets",
            (None, true) => "segments",
            (None, false) => continue,
        };
        return Err(Failure::usage(format!(
            "outputs[{i}].{kind}: go to a program, not to the command; use path"
        )));
    }
    Ok(())
}

/// Feeds standard input to the job on a thread of its own, which nobody waits for: it may block in a read when the job
/// is long over.
fn feed(job: &Arc<Job>, broken: &Arc<Mutex<Option<std::io::Error>>>) {
    let (job, broken): (Weak<Job>, _) = (Arc::downgrade(job), broken.clone());
    std::thread::spawn(move || {
        let mut buffer = vec![0; 256 << 10];
        let mut stdin = std::io::stdin().lock();
        loop {
            let read = stdin.read(&mut buffer);
            let Some(job) = job.upgrade() else { return };
            match read {
                Ok(0) => return job.finish_input(),
                // An error means that the job is over or reads no more; it tells why itself.
                Ok(n) if job.write(&buffer[..n]).is_err() => return,
                Ok(_) => {}
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => {
                    *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
                    return job.cancel();
                }
            }
        }
    });
}
