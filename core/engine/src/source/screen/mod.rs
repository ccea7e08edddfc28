//! Screens: pictures taken at a rate, or when something changed, with times of the job's clock.

mod pace;
#[cfg(target_os = "linux")]
mod x11;

use crate::error::Result;
use crate::frame::{Colour, Frame, PixelFormat};
use crate::packet::{Codec, FieldOrder, MediaKind, StreamInfo, VideoInfo};
use crate::spec::{ScreenBackend, ScreenSpec, Seconds};
use crate::stage::Source;
use crate::time::{Clock, MICROSECONDS, Rational, TimeBase};
use ghoststream_sys::ffmpeg as av;
use pace::{Pacer, Step};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often a screen where nothing changes is shown all the same, so that what comes behind knows that it lives.
const STILL: Duration = Duration::from_secs(1);
/// How long one wait lasts at most; a job that stops is seen after it.
const NAP: Duration = Duration::from_millis(20);

/// A way to take pictures.
trait Grabber: Send {
    /// Pixels of the next picture.
    fn size(&self) -> (u32, u32);
    /// Format of the pictures.
    fn format(&self) -> PixelFormat;
    /// Whether the next picture can differ from the one before; does not wait.
    fn changed(&mut self) -> Result<bool>;
    /// The picture now.
    fn grab(&mut self) -> Result<av::Frame>;
}

/// What became of a screen's pictures.
#[derive(Debug, Default)]
pub struct Counts {
    /// Taken from the screen.
    pub taken: AtomicU64,
    /// Given once more because nothing had changed, or because the screen was late.
    pub repeated: AtomicU64,
    /// Not taken because the job was not ready for them.
    pub dropped: AtomicU64,
}

/// A screen as a source. Lives on one thread.
pub struct Screen {
    grabber: Box<dyn Grabber>,
    clock: Arc<dyn Clock>,
    interrupt: av::Interrupt,
    rate: Rational,
    variable: bool,
    duration: Option<Duration>,
    pacer: Pacer,
    began: Option<Duration>,
    last: Option<av::Frame>,
    /// When the last picture of a variable rate was given.
    given: Option<Duration>,
    counts: Arc<Counts>,
}

impl Screen {
    /// Begins to watch. Taking pictures ends after `duration`, or when `interrupt` is cancelled.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when there is no such display, monitor or window;
    /// [`crate::ErrorKind::Unsupported`] when it cannot be captured here.
    pub fn open(
        spec: &ScreenSpec,
        duration: Option<Seconds>,
        clock: Arc<dyn Clock>,
        interrupt: av::Interrupt,
    ) -> Result<Screen> {
        let grabber = match spec.backend {
            ScreenBackend::Auto | ScreenBackend::X11 => open_x11(spec)?,
        };
        let rate = spec.frame_rate.0;
        Ok(Screen {
            grabber,
            clock,
            interrupt,
            rate,
            variable: spec.variable,
            duration: duration.map(|d| Duration::from_secs_f64(d.0)),
            pacer: Pacer::new(rate),
            began: None,
            last: None,
            given: None,
            counts: Arc::default(),
        })
    }

    /// What became of the pictures so far; goes on counting.
    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    /// The one stream of it.
    pub fn stream(&self) -> StreamInfo {
        let (width, height) = self.grabber.size();
        let mut stream = StreamInfo::new(MediaKind::Video, Codec::RawVideo, self.base());
        stream.video = Some(VideoInfo {
            width,
            height,
            format: Some(self.grabber.format()),
            frame_rate: Some(self.rate),
            constant_rate: Some(!self.variable),
            sample_aspect: Rational::new(1, 1),
            colour: Colour::default(),
            hdr: Default::default(),
            rotation: 0.0,
            field_order: FieldOrder::Progressive,
            reorder: 0,
        });
        stream.disposition.default = true;
        stream
    }

    /// A constant rate counts pictures, a variable one microseconds.
    fn base(&self) -> TimeBase {
        if self.variable { MICROSECONDS } else { self.rate.inverse() }
    }

    /// Waits, but not past the end of the job; `false` when that has come.
    fn wait(&self, time: Duration) -> bool {
        self.clock.sleep(time.min(NAP));
        !self.interrupt.is_cancelled()
    }

    fn constant(&mut self) -> Result<Option<Frame>> {
        self.pacer.asked(self.clock.now());
        loop {
            match self.pacer.step(self.clock.now()) {
                Step::Wait(time) => {
                    if !self.wait(time) {
                        return Ok(None);
                    }
                }
                Step::Repeat(tick) if self.last.is_some() => return self.give(tick, false),
                Step::Repeat(tick) => return self.give(tick, true),
                Step::Take(tick) => {
                    let fresh = self.grabber.changed()?;
                    return self.give(tick, fresh);
                }
            }
        }
    }

    fn give(&mut self, tick: u64, fresh: bool) -> Result<Option<Frame>> {
        let media = self.picture(fresh)?;
        let now = self.clock.now();
        self.pacer.gave(now);
        self.counts.dropped.store(self.pacer.dropped, Ordering::Relaxed);
        Ok(Some(self.frame(media, i64::try_from(tick).unwrap_or(i64::MAX), 1)))
    }

    fn variable(&mut self) -> Result<Option<Frame>> {
        let least = Duration::from_secs_f64(self.rate.inverse().as_f64());
        loop {
            let now = self.clock.now();
            let began = *self.began.get_or_insert(now);
            let quiet = self.given.map(|given| now.saturating_sub(given));
            if let Some(quiet) = quiet.filter(|q| *q < least) {
                if !self.wait(least - quiet) {
                    return Ok(None);
                }
                continue;
            }
            let fresh = self.grabber.changed()?;
            if fresh || quiet.is_none_or(|q| q >= STILL) {
                let media = self.picture(fresh)?;
                self.given = Some(now);
                let at = i64::try_from(now.saturating_sub(began).as_micros()).unwrap_or(i64::MAX);
                return Ok(Some(self.frame(media, at, 0)));
            }
            if !self.wait(Duration::from_millis(2)) {
                return Ok(None);
            }
        }
    }

    /// A new picture, or the last one again.
    fn picture(&mut self, fresh: bool) -> Result<av::Frame> {
        if let Some(last) = self.last.as_ref().filter(|_| !fresh) {
            self.counts.repeated.fetch_add(1, Ordering::Relaxed);
            return Ok(last.try_clone()?);
        }
        let media = self.grabber.grab()?;
        self.counts.taken.fetch_add(1, Ordering::Relaxed);
        self.last = Some(media.try_clone()?);
        Ok(media)
    }

    fn frame(&self, mut media: av::Frame, pts: i64, duration: i64) -> Frame {
        let base = self.base();
        media.set_sample_aspect((1, 1));
        media.set_pts(Some(pts));
        media.set_duration(duration);
        media.set_time_base((base.num, base.den));
        Frame::new(media, base)
    }
}

impl Source<Frame> for Screen {
    fn next(&mut self) -> Result<Option<Frame>> {
        if self.interrupt.is_cancelled() {
            return Ok(None);
        }
        let frame = if self.variable { self.variable()? } else { self.constant()? };
        let end = self.duration.map(|d| d.as_secs_f64());
        Ok(frame.filter(|f| end.is_none_or(|end| f.presentation().is_none_or(|t| t.seconds() < end))))
    }
}

#[cfg(target_os = "linux")]
fn open_x11(spec: &ScreenSpec) -> Result<Box<dyn Grabber>> {
    Ok(Box::new(x11::X11::open(spec)?))
}

#[cfg(not(target_os = "linux"))]
fn open_x11(_: &ScreenSpec) -> Result<Box<dyn Grabber>> {
    Err(crate::Error::unsupported("source.screen: screens are captured on Linux only"))
}

#[cfg(test)]
mod tests;
