//! A v4l2loopback device as a camera: programs that watch it want pictures at its rate, also while none come.

use crate::error::{Error, ErrorKind, Result};
use crate::frame::PixelFormat;
use bytes::Bytes;
use ghoststream_sys::v4l2;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[derive(Default)]
struct State {
    picture: Option<Bytes>,
    end: Option<Error>,
    stop: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The device, which shows the newest picture again and again. Dropping it ends that.
pub(super) struct Shown {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

fn error(e: &v4l2::Error) -> Error {
    let kind = Error::from(std::io::Error::from(e.kind())).kind();
    Error::new(kind, e.to_string())
}

/// Refuses what is not there, or is no such device.
pub(super) fn look(path: &str) -> Result<()> {
    let found = v4l2::about(Path::new(path)).map_err(|e| error(&e))?;
    match found.shows {
        true => Ok(()),
        false => Err(Error::unsupported(format!("{} is a camera, not a v4l2loopback device", found.name))),
    }
}

impl Shown {
    pub fn open(
        path: &str,
        format: PixelFormat,
        (width, height): (u32, u32),
        rate: (u32, u32),
        bt709: bool,
    ) -> Result<Shown> {
        let picture = v4l2::Picture::new(format.name(), width, height, bt709)
            .ok_or_else(|| Error::unsupported(format!("no camera has {format} pictures")))?;
        let mut device = v4l2::Loopback::open(Path::new(path), &picture).map_err(|e| error(&e))?;
        let shared = Arc::new(Shared::default());
        let period = Duration::from_secs_f64(f64::from(rate.1) / f64::from(rate.0.max(1)));
        let thread = {
            let shared = shared.clone();
            move || {
                if let Err(e) = run(&shared, &mut device, period) {
                    shared.lock().end = Some(error(&e));
                }
            }
        };
        let thread = std::thread::Builder::new().name("v4l2-camera".into()).spawn(thread);
        let thread =
            thread.map_err(|e| Error::new(ErrorKind::Memory, format!("cannot start a thread: {e}")))?;
        Ok(Shown { shared, thread: Some(thread) })
    }

    /// Shows `picture` from now on.
    pub fn show(&self, picture: Bytes) -> Result<()> {
        let mut state = self.shared.lock();
        if let Some(end) = &state.end {
            return Err(end.clone());
        }
        state.picture = Some(picture);
        self.shared.news.notify_one();
        Ok(())
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.news.notify_one();
        if let Some(thread) = self.thread.take() {
            // It does not panic, and a failure is of no interest any more.
            let _ = thread.join();
        }
    }
}

fn run(
    shared: &Shared,
    device: &mut v4l2::Loopback,
    period: Duration,
) -> std::result::Result<(), v4l2::Error> {
    let mut due = Instant::now();
    loop {
        let picture = {
            let mut state = shared.lock();
            loop {
                if state.stop {
                    return Ok(());
                }
                let left = due.saturating_duration_since(Instant::now());
                if left.is_zero() && state.picture.is_some() {
                    break;
                }
                let wait = if left.is_zero() { period } else { left };
                state = shared.news.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            }
            state.picture.clone()
        };
        if let Some(picture) = picture {
            device.show(&picture)?;
        }
        // Ticks that a sleeping machine missed are not made up for.
        due = (due + period).max(Instant::now());
    }
}
