//! What there is to capture.

use super::{Error, connect};
use x11rb::connection::Connection;
use x11rb::protocol::randr::ConnectionExt as _;
use x11rb::protocol::xproto::{AtomEnum, ConnectionExt as _, MapState};

/// A monitor, in pixels of the root window.
#[derive(Clone, Debug, PartialEq)]
pub struct Monitor {
    /// The output's name (`DP-1`).
    pub name: String,
    /// Left edge.
    pub x: i16,
    /// Upper edge.
    pub y: i16,
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// Pictures per second, where the server knows it.
    pub refresh: Option<f64>,
    /// Whether it is the primary one.
    pub primary: bool,
}

/// A window of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its id.
    pub id: u32,
    /// Its title.
    pub title: String,
    /// The application's class.
    pub class: String,
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
}

/// The monitors of a display; the primary one first.
///
/// # Errors
/// [`super::Kind::NotFound`] without a display, [`super::Kind::Unsupported`] without RandR.
pub fn monitors(display: Option<&str>) -> Result<Vec<Monitor>, Error> {
    let (connection, screen) = connect(display)?;
    monitors_of(&connection, connection.setup().roots[screen].root)
}

pub(super) fn monitors_of(connection: &impl Connection, root: u32) -> Result<Vec<Monitor>, Error> {
    connection.randr_query_version(1, 5)?.reply()?;
    let resources = connection.randr_get_screen_resources_current(root)?.reply()?;
    let reply = connection.randr_get_monitors(root, true)?.reply()?;
    let mut monitors = Vec::new();
    for monitor in reply.monitors {
        let name = connection.get_atom_name(monitor.name)?.reply()?.name;
        let refresh = monitor.outputs.first().and_then(|output| {
            let info = connection.randr_get_output_info(*output, 0).ok()?.reply().ok()?;
            let crtc = connection.randr_get_crtc_info(info.crtc, 0).ok()?.reply().ok()?;
            let mode = resources.modes.iter().find(|m| m.id == crtc.mode)?;
            let total = f64::from(mode.htotal) * f64::from(mode.vtotal);
            (total > 0.0 && mode.dot_clock > 0).then(|| f64::from(mode.dot_clock) / total)
        });
        monitors.push(Monitor {
            name: String::from_utf8_lossy(&name).into_owned(),
            x: monitor.x,
            y: monitor.y,
            width: monitor.width,
            height: monitor.height,
            refresh,
            primary: monitor.primary,
        });
    }
    monitors.sort_by_key(|m| !m.primary);
    Ok(monitors)
}

/// The windows of applications on a display: those that the window manager lists, or every visible child of the root
/// window where there is none.
///
/// # Errors
/// [`super::Kind::NotFound`] without a display.
pub fn windows(display: Option<&str>) -> Result<Vec<Window>, Error> {
    let (connection, screen) = connect(display)?;
    let root = connection.setup().roots[screen].root;
    let atom = |name: &str| -> Result<u32, Error> {
        Ok(connection.intern_atom(false, name.as_bytes())?.reply()?.atom)
    };
    let (list, title, utf8) = (atom("_NET_CLIENT_LIST")?, atom("_NET_WM_NAME")?, atom("UTF8_STRING")?);
    let managed = connection.get_property(false, root, list, AtomEnum::WINDOW, 0, 4096)?.reply()?;
    let ids = match managed.value32() {
        Some(ids) => ids.collect(),
        None => connection.query_tree(root)?.reply()?.children,
    };
    let mut windows = Vec::new();
    for id in ids {
        // A window may go away while it is looked at; it is left out then.
        let Ok(attributes) = connection.get_window_attributes(id)?.reply() else { continue };
        let Ok(geometry) = connection.get_geometry(id)?.reply() else { continue };
        if attributes.map_state != MapState::VIEWABLE {
            continue;
        }
        let text = |property: u32, kind: u32| -> Result<Option<String>, Error> {
            let reply = connection.get_property(false, id, property, kind, 0, 256)?.reply().ok();
            let value = reply.filter(|r| !r.value.is_empty()).map(|r| r.value);
            Ok(value.map(|v| String::from_utf8_lossy(&v).into_owned()))
        };
        let name = match text(title, utf8)? {
            Some(name) => name,
            None => text(AtomEnum::WM_NAME.into(), AtomEnum::STRING.into())?.unwrap_or_default(),
        };
        let class = text(AtomEnum::WM_CLASS.into(), AtomEnum::STRING.into())?.unwrap_or_default();
        windows.push(Window {
            id,
            title: name,
            class: class.trim_end_matches('\0').rsplit('\0').next().unwrap_or_default().to_owned(),
            width: geometry.width,
            height: geometry.height,
        });
    }
    Ok(windows)
}
