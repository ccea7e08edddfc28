//! A Wayland compositor that hands out its pictures.

use super::{Grabber, Shot};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::PixelFormat;
use crate::spec::ScreenSpec;
use ghoststream_sys::{ffmpeg as av, wayland};
use std::time::Duration;

pub(super) struct Wayland {
    capture: wayland::Capture,
}

/// What is said of a monitor that nobody named.
fn chosen(monitor: &str, others: &[String]) -> String {
    format!(
        "no monitor is named: {monitor}, the first one of the layout, is captured; monitor names another ({})",
        others.join(", ")
    )
}

impl Wayland {
    /// Begins to watch, and what a user should know.
    pub fn open(spec: &ScreenSpec) -> Result<(Wayland, Option<String>)> {
        if spec.window.is_some() {
            let message =
                "source.screen.window: windows are captured by backend x11 only, not from a compositor";
            return Err(Error::unsupported(message));
        }
        let target = match (&spec.monitor, &spec.region) {
            (_, Some(r)) => wayland::Target::Region {
                x: r.x.into(),
                y: r.y.into(),
                width: r.width.into(),
                height: r.height.into(),
            },
            (name, None) => wayland::Target::Monitor(name.clone()),
        };
        // A screen that is faster than what is wanted is not copied more than twice for each picture.
        let pause = Duration::from_secs_f64(spec.frame_rate.0.inverse().as_f64() / 2.0);
        let display = spec.display.as_deref();
        let capture = wayland::Capture::open(display, &target, spec.cursor, pause).map_err(error)?;
        let note = Some(capture.others()).filter(|others| !others.is_empty());
        let note = note.map(|others| chosen(&capture.monitor().name, others));
        Ok((Wayland { capture }, note))
    }
}

impl Grabber for Wayland {
    fn backend(&self) -> &'static str {
        self.capture.protocol().name()
    }

    fn size(&self) -> (u32, u32) {
        self.capture.size()
    }

    fn format(&self) -> PixelFormat {
        self.capture.format()
    }

    fn is_timed(&self) -> bool {
        true
    }

    fn changed(&mut self) -> Result<bool> {
        self.capture.changed().map_err(error)
    }

    fn await_change(&mut self, time: Duration) -> Option<Result<()>> {
        self.capture.wait(time);
        Some(Ok(()))
    }

    fn grab(&mut self) -> Result<Option<Shot>> {
        self.capture.take().map_err(error)?.map(shot).transpose()
    }

    fn grab_shown(&mut self, ago: Duration) -> Result<Option<Shot>> {
        self.capture.take_shown(ago).map(shot).transpose()
    }
}

fn shot(p: wayland::Picture) -> Result<Shot> {
    let age = p.age();
    let media = av::Frame::wrap_bytes(p.format, p.width, p.height, vec![(p.data, p.stride)])?;
    Ok(Shot { media, age: Some(age) })
}

/// Whether the environment's compositor hands out its pictures, or why not.
pub(super) fn is_offered() -> Result<bool> {
    wayland::monitors(None).map(|(_, protocol)| protocol.is_some()).map_err(error)
}

fn error(e: wayland::Error) -> Error {
    let kind = match e.kind {
        wayland::Kind::NotFound => ErrorKind::NotFound,
        wayland::Kind::Unsupported => ErrorKind::Unsupported,
        wayland::Kind::Gone => ErrorKind::Device,
        wayland::Kind::Memory => ErrorKind::Memory,
        wayland::Kind::Io => ErrorKind::Io,
    };
    Error::new(kind, e.to_string()).context("source.screen")
}
