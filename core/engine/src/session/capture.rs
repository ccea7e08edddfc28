//! What is captured.

use super::audio::{AudioConfig, AudioSource};
use crate::error::{Error, Result};
use crate::spec::{
    FrameRate, PatternSpec, RegionSpec, ScreenBackend, ScreenSpec, SourceSpec, WebcamSpec, masked,
};
use std::fmt;

/// What to capture and how. Inert; may be shared and reused.
///
/// The default is the screen that the user picks, or else the first monitor. [`CaptureConfig::camera`],
/// [`CaptureConfig::pattern`] and [`CaptureConfig::url`] need no desktop.
#[derive(Clone, Debug)]
pub struct CaptureConfig {
    /// Where pictures come from.
    pub source: CaptureSource,
    /// Frames per second. `None`: a screen's default of 60, a pattern's or file's own rate.
    pub framerate: Option<FrameRate>,
    /// Whether the mouse pointer is in the picture (screens).
    pub show_cursor: bool,
    /// How screens are captured.
    pub backend: CaptureBackend,
    /// The number of PipeWire's node ([`CaptureBackend::PipeWire`] only).
    pub node: Option<u32>,
    /// The monitor of that name, as `ghoststream devices` lists it (X11, Wayland).
    pub monitor: Option<String>,
    /// Only this part of the screen, see [`RegionSpec`].
    pub region: Option<RegionSpec>,
    /// The window with that id (X11).
    pub window: Option<u32>,
    /// Take DMA-BUFs where the compositor gives nothing else (screens); they are read into host memory.
    pub prefer_dmabuf: bool,
    /// Deliver at the speed of the timestamps. `None`: when an output is a live one (RTMP, SRT) or the source never
    /// ends by itself; a file or a counted pattern that goes to files is read as fast as they can be written.
    pub realtime: Option<bool>,
}

/// Where pictures come from. `Debug` shows no credentials.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum CaptureSource {
    /// The monitor or window that the user picks.
    #[default]
    Screen,
    /// A camera of V4L2 or PipeWire, see [`WebcamSpec::device`].
    Camera(WebcamSpec),
    /// A test pattern.
    Pattern(PatternSpec),
    /// A file path or a URL that FFmpeg opens.
    Url(String),
}

impl fmt::Debug for CaptureSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaptureSource::Screen => f.write_str("Screen"),
            CaptureSource::Camera(camera) => f.debug_tuple("Camera").field(camera).finish(),
            CaptureSource::Pattern(pattern) => f.debug_tuple("Pattern").field(pattern).finish(),
            CaptureSource::Url(url) => f.debug_tuple("Url").field(&masked(url)).finish(),
        }
    }
}

/// How a screen is captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CaptureBackend {
    /// The best there is.
    #[default]
    Auto,
    /// The desktop portal.
    Portal,
    /// A PipeWire node, without the portal; [`CaptureConfig::node`] says which.
    PipeWire,
    /// A Wayland compositor's own export (ext-image-copy-capture, wlr-screencopy).
    WlrExport,
    /// An X11 server.
    X11,
}

impl Default for CaptureConfig {
    fn default() -> Self {
        CaptureConfig {
            source: CaptureSource::Screen,
            framerate: None,
            show_cursor: true,
            backend: CaptureBackend::Auto,
            node: None,
            monitor: None,
            region: None,
            window: None,
            prefer_dmabuf: true,
            realtime: None,
        }
    }
}

impl CaptureConfig {
    /// The screen that the user picks.
    pub fn screen() -> Self {
        CaptureConfig::default()
    }

    /// The monitor of that name.
    pub fn monitor(name: impl Into<String>) -> Self {
        CaptureConfig { monitor: Some(name.into()), ..CaptureConfig::default() }
    }

    /// A part of the screen.
    pub fn region(region: RegionSpec) -> Self {
        CaptureConfig { region: Some(region), ..CaptureConfig::default() }
    }

    /// The window with that id (X11).
    pub fn window(id: u32) -> Self {
        CaptureConfig { window: Some(id), ..CaptureConfig::default() }
    }

    /// A camera: its path (`/dev/video0`), its name in PipeWire, or the first one (empty).
    pub fn camera(device: impl Into<String>) -> Self {
        let camera = WebcamSpec { device: device.into(), ..WebcamSpec::default() };
        CaptureConfig { source: CaptureSource::Camera(camera), ..CaptureConfig::default() }
    }

    /// A test pattern.
    pub fn pattern(pattern: PatternSpec) -> Self {
        CaptureConfig { source: CaptureSource::Pattern(pattern), ..CaptureConfig::default() }
    }

    /// A file path or a URL that FFmpeg opens.
    pub fn url(url: impl Into<String>) -> Self {
        CaptureConfig { source: CaptureSource::Url(url.into()), ..CaptureConfig::default() }
    }

    /// Whole frames per second.
    pub fn with_fps(self, fps: u32) -> Self {
        self.with_framerate(FrameRate::fps(fps))
    }

    /// Frames per second.
    pub fn with_framerate(mut self, framerate: FrameRate) -> Self {
        self.framerate = Some(framerate);
        self
    }

    /// Whether the mouse pointer is in the picture.
    pub fn with_show_cursor(mut self, show: bool) -> Self {
        self.show_cursor = show;
        self
    }

    /// How screens are captured.
    pub fn with_backend(mut self, backend: CaptureBackend) -> Self {
        self.backend = backend;
        self
    }

    /// The monitor of that name.
    pub fn with_monitor(mut self, name: impl Into<String>) -> Self {
        self.monitor = Some(name.into());
        self
    }

    /// Only this part of the screen.
    pub fn with_region(mut self, region: RegionSpec) -> Self {
        self.region = Some(region);
        self
    }

    /// A video node of PipeWire by its number, without the portal.
    pub fn with_node(mut self, node: u32) -> Self {
        self.backend = CaptureBackend::PipeWire;
        self.node = Some(node);
        self
    }

    /// Deliver at the speed of the timestamps, or as fast as possible.
    pub fn with_realtime(mut self, realtime: bool) -> Self {
        self.realtime = Some(realtime);
        self
    }

    /// The source of the document; `live` says that an output wants the clock's speed.
    pub(super) fn source(&self, audio: &AudioConfig, live: bool) -> Result<SourceSpec> {
        let is_screen = matches!(self.source, CaptureSource::Screen);
        for (field, given) in [
            ("capture.backend", self.backend != CaptureBackend::Auto),
            ("capture.node", self.node.is_some()),
            ("capture.monitor", self.monitor.is_some()),
            ("capture.region", self.region.is_some()),
            ("capture.window", self.window.is_some()),
        ] {
            if given && !is_screen {
                return Err(Error::invalid(field, "is for screens only"));
            }
        }
        let mut source = match &self.source {
            CaptureSource::Screen => {
                let screen = self.screen_spec()?;
                SourceSpec { sound: audio.sounds(), ..SourceSpec::screen(screen) }
            }
            CaptureSource::Camera(camera) => {
                let usual = ScreenSpec::camera(camera.device.clone());
                let frame_rate = self.framerate.unwrap_or(usual.frame_rate);
                let screen = ScreenSpec { camera: Some(camera.clone()), frame_rate, ..usual };
                SourceSpec { sound: audio.sounds(), ..SourceSpec::screen(screen) }
            }
            CaptureSource::Pattern(pattern) => {
                let mut pattern = pattern.clone();
                pattern.frame_rate = self.framerate.unwrap_or(pattern.frame_rate);
                check_rate("capture.framerate", Some(pattern.frame_rate))?;
                pattern.tone |= audio.enabled;
                SourceSpec::pattern(pattern)
            }
            CaptureSource::Url(url) => SourceSpec::url(url.clone()),
        };
        if audio.enabled && audio.source != AudioSource::Capture && source.screen.is_none() {
            return Err(Error::unsupported(
                "audio.source: the desktop's or a device's sound is recorded beside a screen only",
            ));
        }
        let endless = source.pattern.as_ref().is_some_and(|p| p.frames.is_none());
        // A screen has the clock's speed by itself.
        source.realtime = self.realtime.unwrap_or(live || endless) && source.screen.is_none();
        Ok(source)
    }

    fn screen_spec(&self) -> Result<ScreenSpec> {
        let backend = match self.backend {
            CaptureBackend::Auto => ScreenBackend::Auto,
            CaptureBackend::Portal => ScreenBackend::Portal,
            CaptureBackend::PipeWire => ScreenBackend::PipeWire,
            CaptureBackend::WlrExport => ScreenBackend::Wayland,
            CaptureBackend::X11 => ScreenBackend::X11,
        };
        let node = self.node;
        if node.is_some() != (backend == ScreenBackend::PipeWire) {
            return Err(Error::invalid("capture.node", "is needed for the backend PipeWire, and only there"));
        }
        let usual = ScreenSpec::default();
        Ok(ScreenSpec {
            backend,
            node,
            monitor: self.monitor.clone(),
            region: self.region,
            window: self.window,
            cursor: self.show_cursor,
            // A compositor's own export comes through shared memory.
            dmabuf: self.prefer_dmabuf || matches!(backend, ScreenBackend::Wayland | ScreenBackend::X11),
            frame_rate: self.framerate.unwrap_or(usual.frame_rate),
            ..usual
        })
    }

    /// The rate that outputs are brought to: a file has its own.
    pub(super) fn output_rate(&self) -> Option<FrameRate> {
        self.framerate.filter(|_| matches!(self.source, CaptureSource::Url(_)))
    }
}

/// Refuses a rate that no source and no encoder has.
pub(super) fn check_rate(field: &str, rate: Option<FrameRate>) -> Result<()> {
    match rate {
        Some(rate) if !rate.0.is_positive() || rate.0.as_f64() > 1000.0 => {
            Err(Error::invalid(field, format!("{} is not above 0 and at most 1000", rate.0)))
        }
        _ => Ok(()),
    }
}
