//! Screens and windows of an X11 server, through shared memory (MIT-SHM), with what changed (DAMAGE) and the pointer
//! (XFIXES).

mod capture;
mod layout;
mod pointer;
mod segment;

pub use capture::{Capture, Picture, Target};
pub use layout::{Monitor, Window, monitors, windows};

use std::fmt;

/// What a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is no such display, monitor or window.
    NotFound,
    /// The server lacks an extension, or has pixels of a kind that nothing here knows.
    Unsupported,
    /// What was captured is gone.
    Gone,
    /// The system has no memory to share.
    Memory,
    /// The connection broke, or the server refused.
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

impl From<x11rb::errors::ConnectionError> for Error {
    fn from(e: x11rb::errors::ConnectionError) -> Error {
        match e {
            x11rb::errors::ConnectionError::UnsupportedExtension => {
                Error::new(Kind::Unsupported, "the X server lacks an extension that capturing needs")
            }
            e => Error::new(Kind::Gone, format!("the X server is gone: {e}")),
        }
    }
}

impl From<x11rb::errors::ReplyError> for Error {
    fn from(e: x11rb::errors::ReplyError) -> Error {
        match e {
            x11rb::errors::ReplyError::ConnectionError(e) => e.into(),
            x11rb::errors::ReplyError::X11Error(e) => Error::from_x11(&e),
        }
    }
}

impl From<x11rb::errors::ReplyOrIdError> for Error {
    fn from(e: x11rb::errors::ReplyOrIdError) -> Error {
        match e {
            x11rb::errors::ReplyOrIdError::ConnectionError(e) => e.into(),
            x11rb::errors::ReplyOrIdError::X11Error(e) => Error::from_x11(&e),
            x11rb::errors::ReplyOrIdError::IdsExhausted => {
                Error::new(Kind::Io, "the X server has no ids left")
            }
        }
    }
}

impl Error {
    fn from_x11(e: &x11rb::x11_utils::X11Error) -> Error {
        use x11rb::protocol::ErrorKind as X;
        let kind = match e.error_kind {
            X::Window | X::Drawable | X::Pixmap => Kind::Gone,
            X::Alloc => Kind::Memory,
            _ => Kind::Io,
        };
        let request = e.request_name.unwrap_or("a request");
        Error::new(kind, format!("the X server refuses {request}: {:?}", e.error_kind))
    }
}

/// Connects to `display` (`:0`), or to that of the environment.
fn connect(display: Option<&str>) -> Result<(x11rb::rust_connection::RustConnection, usize), Error> {
    x11rb::connect(display).map_err(|e| {
        let shown = display.map(str::to_owned).or_else(|| std::env::var("DISPLAY").ok());
        let shown = shown.map_or_else(|| "no DISPLAY is set".into(), |d| format!("display {d}"));
        Error::new(Kind::NotFound, format!("{shown}: {e}"))
    })
}
