//! `screen:` and `camera:` as text.

use super::{ScreenBackend, ScreenSpec};
use crate::spec::FrameRate;

/// What stands behind `?`, in pairs.
fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|item| !item.is_empty()).map(|item| item.split_once('=').unwrap_or((item, "")))
}

fn flag(what: &str, value: &str) -> Result<bool, String> {
    match value {
        "" | "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("{what}: {value:?} is not true or false")),
    }
}

pub(super) fn parse(text: &str) -> Result<ScreenSpec, String> {
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
    match kind {
        "screen" => screen(text, name, query),
        "camera" => camera(text, name, query),
        _ => Err(format!("{text}: neither screen: nor camera:")),
    }
}

fn screen(input: &str, monitor: &str, query: &str) -> Result<ScreenSpec, String> {
    let monitor = (!monitor.is_empty()).then(|| monitor.to_owned());
    let mut screen = ScreenSpec { monitor, ..ScreenSpec::default() };
    for (key, value) in pairs(query) {
        let at = || format!("{input}: {key}");
        match key {
            "region" => screen.region = Some(value.parse().map_err(|e| format!("{}: {e}", at()))?),
            "window" => {
                let hex = value.strip_prefix("0x").map(|digits| u32::from_str_radix(digits, 16));
                let id = hex.unwrap_or_else(|| value.parse());
                screen.window = Some(id.map_err(|_| format!("{}: {value:?} is no window id", at()))?);
            }
            "fps" | "frame_rate" => {
                screen.frame_rate = value.parse::<FrameRate>().map_err(|e| format!("{}: {e}", at()))?;
            }
            "cursor" => screen.cursor = flag(&at(), value)?,
            "draw_cursor" => screen.draw_cursor = flag(&at(), value)?,
            "dmabuf" => screen.dmabuf = flag(&at(), value)?,
            "variable" => screen.variable = flag(&at(), value)?,
            "display" => screen.display = Some(value.to_owned()),
            "node" => {
                let id = value.parse().map_err(|_| format!("{}: {value:?} is no number", at()))?;
                screen.node = Some(id);
            }
            "pick" => {
                let pick = serde_json::from_value(value.into());
                screen.pick = Some(pick.map_err(|e| format!("{}: {e}", at()))?);
            }
            "application" => screen.application = Some(value.to_owned()),
            "backend" => {
                let backend = serde_json::from_value::<ScreenBackend>(value.into());
                screen.backend = backend.map_err(|e| format!("{}: {e}", at()))?;
            }
            _ => {
                return Err(format!(
                    "{input}: {key:?} is not a property of a screen; they are region, window, fps, cursor, draw_cursor, \
                     variable, display, backend, pick, application, node and dmabuf"
                ));
            }
        }
    }
    Ok(screen)
}

fn camera(input: &str, device: &str, query: &str) -> Result<ScreenSpec, String> {
    let mut screen = ScreenSpec::camera(device);
    let mut camera = screen.camera.take().unwrap_or_default();
    for (key, value) in pairs(query) {
        let at = || format!("{input}: {key}");
        match key {
            "size" => {
                let size = value.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
                let (width, height) = size.ok_or_else(|| format!("{}: {value:?} is not WxH", at()))?;
                (camera.width, camera.height) = (Some(width), Some(height));
            }
            "fps" | "frame_rate" => {
                screen.frame_rate = value.parse::<FrameRate>().map_err(|e| format!("{}: {e}", at()))?;
            }
            "variable" => screen.variable = flag(&at(), value)?,
            "format" => camera.format = Some(value.to_owned()),
            _ => {
                return Err(format!(
                    "{input}: {key:?} is not a property of a camera; they are size, fps, format and variable"
                ));
            }
        }
    }
    Ok(ScreenSpec { camera: Some(camera), ..screen })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn screens() {
        let s = parse("screen:DP-1?fps=30&cursor=0&variable").unwrap();
        assert_eq!((s.monitor.as_deref(), s.cursor, s.variable), (Some("DP-1"), false, true));
        assert_eq!(s.frame_rate.0.to_string(), "30/1");
        let s = parse("screen:?region=640x480+10+20&display=:7").unwrap();
        assert_eq!(s.region.map(|r| (r.x, r.y, r.width, r.height)), Some((10, 20, 640, 480)));
        assert_eq!((s.monitor, s.display.as_deref()), (None, Some(":7")));
        assert_eq!(parse("screen:?window=0x1400003").unwrap().window, Some(0x140_0003));
        let c = parse("camera:/dev/video2?size=1280x720&fps=50&format=mjpeg").unwrap();
        assert_eq!(c.frame_rate.0.to_string(), "50/1");
        let c = c.camera.unwrap();
        assert_eq!((c.device.as_str(), c.width, c.height), ("/dev/video2", Some(1280), Some(720)));
        assert_eq!((c.format.as_deref(), c.is_v4l2()), (Some("mjpeg"), true));
        let s = parse("screen:?backend=portal&draw_cursor&dmabuf=0").unwrap();
        assert_eq!((s.draw_cursor, s.dmabuf), (true, false));
        assert!(parse("camera:").unwrap().camera.unwrap().is_v4l2());
        assert!(!parse("camera:GhostCam").unwrap().camera.unwrap().is_v4l2());
        for (bad, named) in [
            ("camera:?size=5", "size"),
            ("camera:?cursor=0", "cursor"),
            ("screen:?region=5x5", "region"),
            ("screen:?window=x", "window"),
            ("screen:?fps=0", "fps"),
            ("screen:?backend=gdi", "backend"),
            ("screen:?pick=me", "pick"),
            ("screen:?node=x", "node"),
            ("screen:?colour=red", "colour"),
        ] {
            let e = parse(bad).expect_err(bad);
            assert!(e.contains(named), "{e}");
        }
    }
}
