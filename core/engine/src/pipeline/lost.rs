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

/// A stage on a device, and its twin on the host for frames that are there. A frame that the device fails with is
/// downloaded; one that cannot be is lost, counted and told.
pub(super) struct OrHost<T> {
    device: Box<dyn Stage<Frame, T>>,
    host: Box<dyn Stage<Frame, T>>,
    safe: Safe,
    unread: u32,
}

impl<T> OrHost<T> {
    pub fn new(device: Box<dyn Stage<Frame, T>>, host: Box<dyn Stage<Frame, T>>, safe: Safe) -> Self {
        OrHost { device, host, safe, unread: 0 }
    }
}

impl<T> Stage<Frame, T> for OrHost<T> {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<T>) -> Result<()> {
        if frame.memory() == Memory::Host {
            self.unread = 0;
            return self.host.push(frame, out);
        }
        let mut tap = Tap { out: &mut *out, passed: false, closed: false };
        let failure = match self.device.push(frame.clone(), &mut tap) {
            Err(e) if !tap.closed && is_device(&e) => e,
            result => {
                self.unread = 0;
                return result;
            }
        };
        self.safe.tell(&failure);
        match Download::one(frame) {
            // Part of what it yields is out.
            _ if tap.passed => Ok(()),
            Ok(frame) => self.host.push(frame, out),
            Err(e) if self.unread >= UNREAD => Err(e),
            Err(_) => {
                self.unread += 1;
                self.safe.shared.lose(1);
                Ok(())
            }
        }
    }

    fn finish(&mut self, out: &mut dyn Outlet<T>) -> Result<()> {
        let mut tap = Tap { out: &mut *out, passed: false, closed: false };
        match self.device.finish(&mut tap) {
            Err(e) if !tap.closed && is_device(&e) => self.safe.tell(&e),
            result => result?,
        }
        self.host.finish(out)
    }

    fn control(&mut self, control: &Control) -> Result<()> {
        self.device.control(control)?;
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
