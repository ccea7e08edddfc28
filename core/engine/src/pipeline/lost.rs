//! What becomes of a track's stages when the device that they work on is lost: the decoder goes on in software, so that
//! frames come in host memory, where each stage has a twin.

use super::chain::Keep;
use crate::error::{Error, ErrorKind, Result};
use crate::filter::{Download, Upload};
use crate::frame::{Frame, Memory};
use crate::job::shared::Shared;
use crate::stage::{Control, Outlet, Stage};
use ghoststream_sys::ffmpeg as av;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Frames in a row that may be on a device that is lost: those on the way between decoder and encoder, in two links and in
/// the hands of who works on them. If more come, what decodes does so on a device that cannot be read: that is an error.
pub(super) const UNREAD: u32 = 2 * super::build::FRAMES as u32 + 2;

/// Who is told when a job that may go on without its device does.
#[derive(Clone)]
pub(super) struct Safe {
    pub shared: Arc<Shared>,
    told: Arc<AtomicBool>,
}

impl Safe {
    pub fn new(shared: Arc<Shared>) -> Self {
        Safe { shared, told: Arc::default() }
    }

    /// Says once in a job that the host does from now on what a device did.
    fn tell(&self, why: &Error) {
        if !self.told.swap(true, Ordering::Relaxed) {
            let message = format!(
                "the device no longer works ({why}); what it did is done on the host, where it can be"
            );
            self.shared.warn("fallback", message);
        }
    }
}

/// Whether a stage's failure may be that of its device (FFmpeg has several words for one that is gone).
fn is_device(e: &Error) -> bool {
    use ErrorKind::{Cancelled, Format, Invalid, Unsupported};
    !matches!(e.kind(), Cancelled | Format | Invalid | Unsupported)
}

/// A stage on a device, and its twin on the host, which goes on from the first frame that is there or that the device fails
/// with; from then on, what is on the device is downloaded. What cannot be is lost, counted and told.
pub(super) struct OrHost<T> {
    device: Box<dyn Stage<Frame, T>>,
    host: Box<dyn Stage<Frame, T>>,
    safe: Safe,
    unread: u32,
    /// Frames that the device's stage took and gave nothing for: it looks behind them.
    inside: u64,
    /// The device's stage is finished.
    left: bool,
}

impl<T> OrHost<T> {
    pub fn new(device: Box<dyn Stage<Frame, T>>, host: Box<dyn Stage<Frame, T>>, safe: Safe) -> Self {
        OrHost { device, host, safe, unread: 0, inside: 0, left: false }
    }

    /// Finishes the device's stage, so that what is inside comes before what the host makes, or is counted.
    fn leave(&mut self, out: &mut dyn Outlet<T>) -> Result<()> {
        if std::mem::replace(&mut self.left, true) {
            return Ok(());
        }
        let mut tap = Tap { out, passed: false, closed: false };
        let whole = match self.device.finish(&mut tap) {
            Err(e) if !tap.closed && is_device(&e) => {
                self.safe.tell(&e);
                false
            }
            result => {
                result?;
                tap.passed
            }
        };
        if !whole {
            self.safe.shared.lose(self.inside);
        }
        Ok(())
    }
}

impl<T> Stage<Frame, T> for OrHost<T> {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<T>) -> Result<()> {
        if !self.left && frame.memory() != Memory::Host {
            let mut tap = Tap { out: &mut *out, passed: false, closed: false };
            let failure = match self.device.push(frame.clone(), &mut tap) {
                Err(e) if !tap.closed && is_device(&e) => e,
                result => {
                    self.inside += u64::from(result.is_ok() && !tap.passed);
                    self.unread = 0;
                    return result;
                }
            };
            self.safe.tell(&failure);
            if tap.passed {
                // Part of what it yields is out; the rest is inside, or lost.
                self.inside = self.inside.max(1);
                return self.leave(out);
            }
        }
        self.leave(out)?;
        match Download::one(frame) {
            Ok(frame) => {
                self.unread = 0;
                self.host.push(frame, out)
            }
            Err(e) if self.unread >= UNREAD => Err(e),
            Err(e) => {
                self.safe.tell(&e);
                self.unread += 1;
                self.safe.shared.lose(1);
                Ok(())
            }
        }
    }

    fn finish(&mut self, out: &mut dyn Outlet<T>) -> Result<()> {
        self.leave(out)?;
        self.host.finish(out)
    }

    fn control(&mut self, control: &Control) -> Result<()> {
        if !self.left
            && let Err(e) = self.device.control(control)
        {
            // What it refuses is refused; what it fails with, the host does when it goes on.
            if !is_device(&e) {
                return Err(e);
            }
            self.safe.tell(&e);
        }
        self.host.control(control)
    }

    fn resizes(&self) -> bool {
        self.device.resizes()
    }
}

/// Notes what passes.
struct Tap<'a, T> {
    out: &'a mut dyn Outlet<T>,
    passed: bool,
    closed: bool,
}

impl<T> Outlet<T> for Tap<'_, T> {
    fn emit(&mut self, item: T) -> Result<()> {
        self.passed = true;
        self.out.emit(item).inspect_err(|_| self.closed = true)
    }
}

/// [`Upload::converting`], which hands frames on as they are once the device takes none.
pub(super) struct UploadOrKeep {
    upload: Option<Upload>,
    safe: Safe,
}

impl UploadOrKeep {
    pub fn new(device: Arc<av::HwDevice>, safe: Safe) -> Self {
        UploadOrKeep { upload: Some(Upload::converting(device)), safe }
    }
}

impl Stage<Frame, Frame> for UploadOrKeep {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        if let Some(upload) = &mut self.upload {
            let mut tap = Tap { out: &mut *out, passed: false, closed: false };
            match upload.push(frame.clone(), &mut tap) {
                Err(e) if !tap.closed && is_device(&e) => self.safe.tell(&e),
                result => return result,
            }
            self.upload = None;
        }
        out.emit(frame)
    }

    fn finish(&mut self, _: &mut dyn Outlet<Frame>) -> Result<()> {
        Ok(())
    }
}

/// `device`, with `host` behind it where the job may go on without the device.
pub(super) fn or_host<T: 'static>(
    device: Box<dyn Stage<Frame, T>>,
    host: Box<dyn Stage<Frame, T>>,
    safe: Option<&Safe>,
) -> Box<dyn Stage<Frame, T>> {
    match safe {
        Some(safe) => Box::new(OrHost::new(device, host, safe.clone())),
        None => device,
    }
}

/// [`Download`]; a frame that cannot be read is lost where the job may go on without the device.
pub(super) fn download(safe: Option<&Safe>) -> Box<dyn Stage<Frame, Frame>> {
    or_host(Box::new(Download), Box::new(Keep), safe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;
    use crate::time::{Rational, SystemClock};
    use std::sync::atomic::AtomicU32;

    fn picture(pts: i64) -> Frame {
        let mut media = av::Frame::alloc_video(PixelFormat::yuv420p(), 16, 16, 0).unwrap();
        media.set_pts(Some(pts));
        Frame::new(media, Rational::new(1, 25))
    }

    /// What is left of a stage on a device: what it held comes when it is finished, unless it fails then.
    struct Held {
        frame: Result<i64>,
        refuses: Option<ErrorKind>,
        finished: Arc<AtomicU32>,
    }

    impl Stage<Frame, Frame> for Held {
        fn push(&mut self, _: Frame, _: &mut dyn Outlet<Frame>) -> Result<()> {
            panic!("no frame is on the device")
        }

        fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
            self.finished.fetch_add(1, Ordering::Relaxed);
            out.emit(picture(self.frame.clone()?))
        }

        fn control(&mut self, _: &Control) -> Result<()> {
            self.refuses.map_or(Ok(()), |kind| Err(Error::new(kind, "lost")))
        }
    }

    /// Takes any change, and counts them.
    struct Takes(Arc<AtomicU32>);

    impl Stage<Frame, Frame> for Takes {
        fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
            out.emit(frame)
        }

        fn finish(&mut self, _: &mut dyn Outlet<Frame>) -> Result<()> {
            Ok(())
        }

        fn control(&mut self, _: &Control) -> Result<()> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    fn shared() -> Arc<Shared> {
        Shared::new(1, "j".into(), false, Arc::new(SystemClock::default()))
    }

    #[test]
    fn what_the_device_holds_comes_before_what_the_host_makes_or_is_counted() {
        let gone = Err(Error::new(ErrorKind::Device, "gone"));
        for (frame, times, lost) in [(Ok(0), vec![0, 1, 2], 0), (gone, vec![1, 2], 1)] {
            let (shared, finished) = (shared(), Arc::new(AtomicU32::new(0)));
            let device = Held { frame, refuses: None, finished: finished.clone() };
            let mut stage = OrHost::new(Box::new(device), Box::new(Keep), Safe::new(shared.clone()));
            stage.inside = 1;
            let mut out = Vec::new();
            stage.push(picture(1), &mut out).unwrap();
            stage.push(picture(2), &mut out).unwrap();
            stage.finish(&mut out).unwrap();
            assert_eq!(out.iter().map(|f| f.pts.unwrap()).collect::<Vec<_>>(), times);
            assert_eq!(shared.lost.load(Ordering::Relaxed), lost);
            assert_eq!(finished.load(Ordering::Relaxed), 1);
        }
    }

    #[test]
    fn the_host_hears_of_a_change_that_a_lost_device_fails_with() {
        for (refuses, taken) in [(None, 1), (Some(ErrorKind::Device), 1), (Some(ErrorKind::Unsupported), 0)] {
            let changes = Arc::new(AtomicU32::new(0));
            let device = Held { frame: Ok(0), refuses, finished: Arc::default() };
            let host = Takes(changes.clone());
            let mut stage = OrHost::new(Box::new(device), Box::new(host), Safe::new(shared()));
            let size = Control::Size { width: 16, height: 8 };
            assert_eq!(stage.control(&size).is_ok(), taken == 1, "{refuses:?}");
            assert_eq!(changes.load(Ordering::Relaxed), taken, "{refuses:?}");
        }
    }
}
