//! An X11 server.

use super::{Grabber, Shot};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::PixelFormat;
use crate::spec::ScreenSpec;
use ghoststream_sys::{ffmpeg as av, x11};

pub(super) struct X11 {
    capture: x11::Capture,
}

impl X11 {
    pub fn open(spec: &ScreenSpec) -> Result<X11> {
        let target = match (&spec.monitor, &spec.region, spec.window) {
            (Some(name), _, _) => x11::Target::Monitor((name != "primary").then(|| name.clone())),
            (_, Some(r), _) => x11::Target::Region { x: r.x, y: r.y, width: r.width, height: r.height },
            (_, _, Some(id)) => x11::Target::Window(id),
            _ => x11::Target::Screen,
        };
        let capture = x11::Capture::open(spec.display.as_deref(), target, spec.cursor).map_err(error)?;
        Ok(X11 { capture })
    }
}

impl Grabber for X11 {
    fn backend(&self) -> &'static str {
        "x11"
    }

    fn size(&self) -> (u32, u32) {
        self.capture.size()
    }

    fn format(&self) -> PixelFormat {
        self.capture.format()
    }

    fn changed(&mut self) -> Result<bool> {
        self.capture.changed().map_err(error)
    }

    fn grab(&mut self) -> Result<Option<Shot>> {
        let p = self.capture.grab().map_err(error)?;
        let media = av::Frame::wrap_bytes(p.format, p.width, p.height, vec![(p.data, p.stride)])?;
        Ok(Some(Shot { media, age: None }))
    }
}

fn error(e: x11::Error) -> Error {
    let kind = match e.kind {
        x11::Kind::NotFound => ErrorKind::NotFound,
        x11::Kind::Unsupported => ErrorKind::Unsupported,
        x11::Kind::Gone => ErrorKind::Device,
        x11::Kind::Memory => ErrorKind::Memory,
        x11::Kind::Io => ErrorKind::Io,
    };
    Error::new(kind, e.to_string()).context("source.screen")
}
