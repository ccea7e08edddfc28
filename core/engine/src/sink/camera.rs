//! A virtual camera: shows raw pictures at their time.

#[cfg(target_os = "linux")]
mod loopback;

use super::{Facts, Fate, OutputSink, TrackHeader};
use crate::error::{Error, ErrorKind, Result};
use crate::packet::Packet;
use crate::spec::CameraSpec;
use crate::time::{Clock, Timestamp};
use ghoststream_sys::ffmpeg::Interrupt;
#[cfg(target_os = "linux")]
use ghoststream_sys::pipewire as pw;
use std::sync::Arc;
use std::time::Duration;

/// How long one wait lasts at most; a job that is cancelled is seen after it.
const NAP: Duration = Duration::from_millis(20);

/// The camera. Pictures that come early wait for their time; late ones are shown at once.
pub(crate) struct CameraSink {
    spec: CameraSpec,
    clock: Arc<dyn Clock>,
    interrupt: Interrupt,
    /// Whether the job is to end: nobody waits for what lies ready then.
    stopping: Box<dyn Fn() -> bool + Send>,
    /// The clock's time and the picture's of the first one.
    first: Option<(Duration, Timestamp)>,
    #[cfg(target_os = "linux")]
    camera: Option<Showing>,
}

impl CameraSink {
    pub fn new(
        spec: &CameraSpec,
        clock: Arc<dyn Clock>,
        interrupt: Interrupt,
        stopping: Box<dyn Fn() -> bool + Send>,
    ) -> Self {
        CameraSink {
            stopping,
            spec: spec.clone(),
            clock,
            interrupt,
            first: None,
            #[cfg(target_os = "linux")]
            camera: None,
        }
    }

    /// Waits until the picture of `time` is due; `false` when the job is cancelled before.
    fn wait(&mut self, time: Timestamp) -> bool {
        let (began, first) = *self.first.get_or_insert((self.clock.now(), time));
        let after = u64::try_from(time.micros() - first.micros()).unwrap_or(0);
        let due = began + Duration::from_micros(after);
        loop {
            let left = due.saturating_sub(self.clock.now());
            if left.is_zero() || (self.stopping)() {
                return true;
            }
            if self.interrupt.is_cancelled() {
                return false;
            }
            self.clock.sleep(left.min(NAP));
        }
    }

    fn label(&self) -> String {
        format!("camera:{}", self.spec.name)
    }
}

/// Where pictures are shown.
#[cfg(target_os = "linux")]
enum Showing {
    /// A node of PipeWire.
    Node(pw::Camera),
    /// A v4l2loopback device.
    Device(loopback::Shown),
}

#[cfg(target_os = "linux")]
impl OutputSink for CameraSink {
    fn prepare(&mut self, _: &Facts) -> Result<()> {
        // Said before any work is done; the camera itself needs the size of the pictures.
        if self.spec.is_device() {
            return loopback::look(&self.spec.name).map_err(|e| e.context(self.label()));
        }
        pw::nodes().map(drop).map_err(|e| crate::source::sound::error(e).context(self.label()))
    }

    fn begin(&mut self, tracks: &[TrackHeader]) -> Result<()> {
        let video = match tracks {
            [one] => one.stream.video.as_ref(),
            _ => None,
        };
        let missing = || Error::new(ErrorKind::Internal, "a camera shows one track of pictures");
        let video = video.ok_or_else(missing)?;
        let format = video.format.ok_or_else(missing)?;
        let rate = video.frame_rate.filter(|r| r.is_positive()).map_or((30, 1), |r| {
            let r = r.reduced();
            (r.num.unsigned_abs(), r.den.unsigned_abs())
        });
        let bt709 = CameraSpec::is_hd(video.height);
        if self.spec.is_device() {
            let shown =
                loopback::Shown::open(&self.spec.name, format, (video.width, video.height), rate, bt709);
            self.camera = Some(Showing::Device(shown.map_err(|e| e.context(self.label()))?));
            return Ok(());
        }
        let options = pw::CameraOptions {
            name: self.spec.name.clone(),
            node: self.spec.name.clone(),
            format,
            width: video.width,
            height: video.height,
            bt709,
            rate,
        };
        let camera = pw::Camera::open(options);
        let camera = camera.map_err(|e| crate::source::sound::error(e).context(self.label()))?;
        self.camera = Some(Showing::Node(camera));
        Ok(())
    }

    fn write(&mut self, _: usize, packet: Packet) -> Result<Fate> {
        if let Some(time) = packet.presentation()
            && !self.wait(time)
        {
            return Err(Error::new(ErrorKind::Cancelled, "the job is cancelled"));
        }
        match &self.camera {
            None => return Err(Error::new(ErrorKind::Internal, "a picture before the camera")),
            Some(Showing::Node(camera)) => {
                camera.show(packet.data).map_err(|e| crate::source::sound::error(e).context(self.label()))?;
            }
            Some(Showing::Device(shown)) => {
                shown.show(packet.data).map_err(|e| e.context(self.label()))?;
            }
        }
        Ok(Fate::Written)
    }

    fn finish(&mut self) -> Result<Vec<String>> {
        self.camera = None;
        Ok(Vec::new())
    }

    fn abort(&mut self, _: bool) {
        self.camera = None;
    }
}

#[cfg(not(target_os = "linux"))]
impl OutputSink for CameraSink {
    fn prepare(&mut self, _: &Facts) -> Result<()> {
        Err(Error::unsupported(format!("{}: virtual cameras are of Linux only", self.label())))
    }

    fn begin(&mut self, _: &[TrackHeader]) -> Result<()> {
        Err(Error::new(ErrorKind::Internal, "there is no camera"))
    }

    fn write(&mut self, _: usize, packet: Packet) -> Result<Fate> {
        let _due = packet.presentation().is_none_or(|time| self.wait(time));
        Err(Error::new(ErrorKind::Internal, "there is no camera"))
    }

    fn finish(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn abort(&mut self, _: bool) {}
}
