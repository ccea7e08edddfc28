//! What screens there are.

use crate::device::{Monitor, Screens, Window};
use ghoststream_sys::{wayland, x11};

/// The monitors and windows that the environment's display servers name.
pub fn list() -> Screens {
    let mut screens = Screens::default();
    if wayland::is_named() {
        match wayland::monitors(None) {
            Ok((monitors, protocol)) => {
                screens.wayland = Some(protocol.map_or("none", wayland::Protocol::name));
                screens.monitors.extend(monitors.into_iter().map(|m| Monitor {
                    backend: "wayland",
                    name: m.name,
                    description: m.description,
                    x: m.x,
                    y: m.y,
                    width: m.pixels.0,
                    height: m.pixels.1,
                    scale: f64::from(m.pixels.0) / f64::from(m.width.max(1)),
                    refresh: m.refresh,
                    primary: false,
                }));
            }
            Err(e) => screens.reasons.push(format!("wayland: {e}")),
        }
    }
    if std::env::var_os("DISPLAY").is_some_and(|d| !d.is_empty()) {
        match x11::monitors(None) {
            Ok(monitors) => screens.monitors.extend(monitors.into_iter().map(|m| Monitor {
                backend: "x11",
                name: m.name,
                description: String::new(),
                x: m.x.into(),
                y: m.y.into(),
                width: m.width.into(),
                height: m.height.into(),
                scale: 1.0,
                refresh: m.refresh,
                primary: m.primary,
            })),
            Err(e) => screens.reasons.push(format!("x11: {e}")),
        }
        screens.windows.extend(x11::windows(None).unwrap_or_default().into_iter().map(|w| Window {
            backend: "x11",
            id: w.id,
            title: w.title,
            class: w.class,
            width: w.width.into(),
            height: w.height.into(),
        }));
    }
    screens
}
