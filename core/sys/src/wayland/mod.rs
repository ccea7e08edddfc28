//! Monitors of a Wayland compositor that hands out its pictures itself, without a portal's dialog: by
//! `ext-image-copy-capture-v1`, or by wlroots' `zwlr_screencopy_manager_v1`. Spoken in Rust; no libwayland is needed.

mod capture;
mod client;
mod frame;
mod layout;
mod pool;
mod turn;

pub use capture::{Capture, Picture, Target};
pub use client::Protocol;
pub use layout::Monitor;

use std::fmt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use wayland_client::Connection;

/// What a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is no such display or monitor.
    NotFound,
    /// The compositor lacks a protocol, or has pixels of a kind that nothing here knows.
    Unsupported,
    /// What was captured is gone.
    Gone,
    /// The system has no memory to share.
    Memory,
    /// The compositor refused, or gave nothing in time.
    Io,
}

/// A failure with its reason.
#[derive(Clone, Debug)]
pub struct Error {
    /// What it is about.
    pub kind: Kind,
    message: String,
}

impl Error {
    fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Whether the environment names a compositor.
pub fn is_named() -> bool {
    std::env::var_os("WAYLAND_DISPLAY").is_some_and(|name| !name.is_empty())
}

/// The monitors of a compositor (default: that of the environment), and how their pictures can be had; `None`: not at all.
///
/// # Errors
/// [`Kind::NotFound`] without a compositor.
pub fn monitors(display: Option<&str>) -> Result<(Vec<Monitor>, Option<Protocol>), Error> {
    let client = client::Client::connect(display)?;
    Ok((client.state.monitors(), client.protocol()))
}

/// Connects to `display` (`wayland-1`, or a path), or to that of the environment.
fn connect(display: Option<&str>) -> Result<Connection, Error> {
    let missing = |why: String| Error::new(Kind::NotFound, why);
    let given = display.map(PathBuf::from);
    let name =
        given.or_else(|| std::env::var_os("WAYLAND_DISPLAY").filter(|n| !n.is_empty()).map(PathBuf::from));
    let name = name.ok_or_else(|| missing("no WAYLAND_DISPLAY is set".into()))?;
    let path = if name.is_absolute() {
        name
    } else {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|p| p.is_absolute());
        runtime.ok_or_else(|| missing("no XDG_RUNTIME_DIR is set".into()))?.join(name)
    };
    let stream = UnixStream::connect(&path)
        .map_err(|e| missing(format!("no compositor answers at {}: {e}", path.display())))?;
    Connection::from_socket(stream).map_err(|e| Error::new(Kind::Io, format!("{}: {e}", path.display())))
}
