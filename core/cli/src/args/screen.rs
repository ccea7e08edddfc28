//! `screen:` as an input.

use ghoststream::spec::{FrameRate, ScreenBackend, ScreenSpec};

/// Parses `screen:[MONITOR][?key=value&…]`.
pub fn parse(input: &str) -> Result<ScreenSpec, String> {
    let rest = input.strip_prefix("screen:").unwrap_or(input);
    let (monitor, query) = rest.split_once('?').unwrap_or((rest, ""));
    let monitor = (!monitor.is_empty()).then(|| monitor.to_owned());
    let mut screen = ScreenSpec { monitor, ..ScreenSpec::default() };
    for item in query.split('&').filter(|item| !item.is_empty()) {
        let (key, value) = item.split_once('=').unwrap_or((item, ""));
        let flag = || match value {
            "" | "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(format!("{input}: {key}: {value:?} is not true or false")),
        };
        match key {
            "region" => screen.region = Some(value.parse().map_err(|e| format!("{input}: region: {e}"))?),
            "window" => {
                let hex = value.strip_prefix("0x").map(|digits| u32::from_str_radix(digits, 16));
                let id = hex.unwrap_or_else(|| value.parse());
                screen.window = Some(id.map_err(|_| format!("{input}: window: {value:?} is no window id"))?);
            }
            "fps" | "frame_rate" => {
                let rate = value.parse::<FrameRate>();
                screen.frame_rate = rate.map_err(|e| format!("{input}: {key}: {e}"))?;
            }
            "cursor" => screen.cursor = flag()?,
            "variable" => screen.variable = flag()?,
            "display" => screen.display = Some(value.to_owned()),
            "node" => {
                let id = value.parse().map_err(|_| format!("{input}: node: {value:?} is no number"))?;
                screen.node = Some(id);
            }
            "pick" => {
                let pick = serde_json::from_value(value.into());
                screen.pick = Some(pick.map_err(|e| format!("{input}: pick: {e}"))?);
            }
            "application" => screen.application = Some(value.to_owned()),
            "backend" => {
                let backend = serde_json::from_value::<ScreenBackend>(value.into());
                screen.backend = backend.map_err(|e| format!("{input}: backend: {e}"))?;
            }
            _ => {
                return Err(format!(
                    "{input}: {key:?} is not a property of a screen; they are region, window, fps, cursor, variable, \
                     display, \
                     backend, pick, application and node"
                ));
            }
        }
    }
    Ok(screen)
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
        for (bad, named) in [
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
