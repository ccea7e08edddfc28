//! A screen or a camera as a source.

mod address;

use super::values::FrameRate;
use crate::error::{Error, Result};
use crate::time::Rational;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What of a screen is captured, and how, or which camera. Without `monitor`, `region` and `window` it is everything that
/// an X11 display shows, or the first monitor of a Wayland compositor's layout.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScreenSpec {
    /// How it is captured.
    #[serde(default)]
    pub backend: ScreenBackend,
    /// The display: an X11 one (`:0`) or a Wayland compositor's socket (`wayland-1`, or a path); default: that of the
    /// environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
    /// A monitor by its name (`ghoststream devices` lists them), or `primary` (X11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
    /// A part of the screen. On Wayland in the layout's logical pixels, as `slurp` gives them, and of one monitor. Of what the
    /// portal or a node of PipeWire gives: in its pixels, from its corner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionSpec>,
    /// A window by its id (X11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
    /// A video node of PipeWire by its number (backend `pipewire`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u32>,
    /// A camera instead of a screen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<WebcamSpec>,
    /// What the user may pick in the desktop portal's dialog (backend `portal`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pick: Option<ScreenPick>,
    /// In whose name the portal is asked: what was picked once is captured again without a dialog for the same name, which
    /// is `ghoststream` by default; empty: the user is asked every time (backend `portal`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// Whether the mouse pointer is in the picture.
    #[serde(default = "super::yes")]
    pub cursor: bool,
    /// Have the pointer come beside the picture and draw it here, where the portal offers that; otherwise that is done only
    /// where it offers nothing else (backend `portal`). Nodes of PipeWire that tell of a pointer always have it drawn.
    #[serde(default)]
    pub draw_cursor: bool,
    /// Whether pictures may come as DMA-BUFs from a node that has nothing else; they are read into host memory. Without,
    /// such a node cannot be captured (backends `portal` and `pipewire`).
    #[serde(default = "super::yes")]
    pub dmabuf: bool,
    /// Pictures per second, up to 240.
    #[serde(default = "default_rate")]
    pub frame_rate: FrameRate,
    /// A picture only when something changed, and one a second when nothing does, at most `frame_rate`. Otherwise the rate
    /// is constant: pictures are repeated.
    #[serde(default)]
    pub variable: bool,
}

fn default_rate() -> FrameRate {
    FrameRate(Rational::new(60, 1))
}

impl Default for ScreenSpec {
    fn default() -> Self {
        ScreenSpec {
            backend: ScreenBackend::Auto,
            display: None,
            monitor: None,
            region: None,
            window: None,
            node: None,
            camera: None,
            pick: None,
            application: None,
            cursor: true,
            draw_cursor: false,
            dmabuf: true,
            frame_rate: default_rate(),
            variable: false,
        }
    }
}

impl ScreenSpec {
    /// What to call it in messages.
    pub fn label(&self) -> String {
        match (&self.monitor, &self.region, &self.window) {
            (Some(name), _, _) => format!("screen:{name}"),
            (_, Some(r), _) => format!("screen:{}x{}+{}+{}", r.width, r.height, r.x, r.y),
            (_, _, Some(id)) => format!("window:{id}"),
            _ => match (&self.camera, self.node) {
                (Some(camera), _) => format!("camera:{}", camera.device),
                (None, Some(node)) => format!("node:{node}"),
                (None, None) => "screen".into(),
            },
        }
    }

    /// A camera; see [`WebcamSpec::device`].
    pub fn camera(device: impl Into<String>) -> Self {
        let camera = WebcamSpec { device: device.into(), ..WebcamSpec::default() };
        ScreenSpec {
            camera: Some(camera),
            frame_rate: FrameRate(Rational::new(30, 1)),
            ..ScreenSpec::default()
        }
    }

    /// Reads `screen:[MONITOR][?key=value&…]` or `camera:[DEVICE][?key=value&…]`, as the command and the functions take them.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] naming what is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        address::parse(text).map_err(|e| Error::invalid("source", e))
    }

    /// Whether `text` is meant for [`ScreenSpec::parse`].
    pub fn is_named_by(text: &str) -> bool {
        text.starts_with("screen:") || text.starts_with("camera:")
    }
}

/// A camera. Its pictures are brought to the capture's `frame_rate` as those of a screen are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebcamSpec {
    /// Its device (`/dev/video0`: V4L2), or the name of one that PipeWire has; `ghoststream devices` lists both. Empty: the
    /// first V4L2 camera.
    #[serde(default)]
    pub device: String,
    /// Pixels of its pictures, of the sizes that it offers (V4L2); default: what it is set to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// How it codes its pictures, by FFmpeg's name (`mjpeg`, `yuyv422`, `h264`; V4L2): many give their highest rates as
    /// `mjpeg` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

impl WebcamSpec {
    /// Whether it is a V4L2 device, by its path or as the first one; else it is PipeWire's.
    pub fn is_v4l2(&self) -> bool {
        self.device.is_empty() || self.device.starts_with('/')
    }
}

/// How a screen is captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScreenBackend {
    /// What the session has: a Wayland compositor that hands out its pictures, else the desktop portal, else X11.
    #[default]
    Auto,
    /// An X11 server, through shared memory.
    X11,
    /// A Wayland compositor that hands out its pictures (ext-image-copy-capture, wlr-screencopy), through shared memory.
    Wayland,
    /// The desktop portal: the user picks in a dialog.
    Portal,
    /// A video node of PipeWire.
    PipeWire,
}

/// What the user may pick in the desktop portal's dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScreenPick {
    /// A monitor or a window.
    Any,
    /// A monitor.
    Monitor,
    /// A window.
    Window,
    /// A monitor that is made for the capture.
    Virtual,
}

/// A rectangle of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegionSpec {
    /// Left edge, pixels.
    pub x: i16,
    /// Upper edge, pixels.
    pub y: i16,
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
}

impl std::str::FromStr for RegionSpec {
    type Err = String;

    /// From `X,Y WxH` (slurp's form) or `WxH+X+Y` (X11's).
    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is neither \"X,Y WxH\" nor \"WxH+X+Y\"");
        let (place, size) = match text.trim().split_once(' ') {
            Some((place, size)) => (place.split_once(','), size),
            None => {
                let (size, place) = text.trim().split_once('+').ok_or_else(wrong)?;
                (place.split_once('+'), size)
            }
        };
        let ((x, y), (width, height)) = place.zip(size.trim().split_once('x')).ok_or_else(wrong)?;
        let region = RegionSpec {
            x: x.parse().map_err(|_| wrong())?,
            y: y.parse().map_err(|_| wrong())?,
            width: width.parse().map_err(|_| wrong())?,
            height: height.parse().map_err(|_| wrong())?,
        };
        if region.width == 0 || region.height == 0 { Err(wrong()) } else { Ok(region) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_read_in_both_forms() {
        let region = RegionSpec { x: 10, y: -20, width: 640, height: 480 };
        assert_eq!("10,-20 640x480".parse(), Ok(region));
        assert_eq!("640x480+10+-20".parse(), Ok(region));
        for wrong in ["", "640x480", "1,2", "1,2 0x5", "a,b cxd", "70000x1+0+0", "1,2 3x4 5"] {
            assert!(wrong.parse::<RegionSpec>().is_err(), "{wrong}");
        }
    }
}
