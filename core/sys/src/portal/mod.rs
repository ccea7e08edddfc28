//! The desktop portal's ScreenCast: the user picks what is captured, and its pictures come from PipeWire.
//!
//! Spoken directly over the session's message bus, on the caller's thread: there is no runtime and no library of D-Bus.

mod bus;
mod wire;

use bus::Bus;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use wire::{Arg, Call, Message, Value};

const DESKTOP: &str = "org.freedesktop.portal.Desktop";
const PATH: &str = "/org/freedesktop/portal/desktop";
const SCREEN_CAST: &str = "org.freedesktop.portal.ScreenCast";

/// What a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is no session message bus.
    NotFound,
    /// There is no portal, or it has no such thing.
    Unsupported,
    /// The user refused.
    Denied,
    /// The session or the bus has ended.
    Gone,
    /// The portal failed.
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

/// What the user may pick; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    /// A monitor.
    pub monitor: bool,
    /// A window.
    pub window: bool,
    /// A monitor that is made for this session.
    pub virtual_monitor: bool,
}

/// How the pointer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// Not at all.
    Hidden,
    /// In the picture.
    Embedded,
    /// Beside the picture, for whoever shows it to draw it.
    Beside,
}

/// What a session is asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What the user may pick.
    pub sources: Sources,
    /// How the pointer is wanted. Where the portal does not have it that way but the other, it comes the other way.
    pub pointer: Cursor,
    /// A token of an earlier session, for what was picked then, without a dialog.
    pub restore: Option<String>,
    /// Ask for a token, which stays valid until the user takes it back.
    pub remember: bool,
}

/// A session whose pictures can be had. Dropping it ends it. One thread at a time; may move between threads.
pub struct Session {
    bus: Bus,
    path: String,
    /// The number of the PipeWire node.
    pub node: u32,
    /// How the pointer comes.
    pub cursor: Cursor,
    /// The token that a later session can be restored with, when the portal gave one.
    pub token: Option<String>,
    ended: bool,
}

/// Whether the session's bus has a portal that captures screens. Starts it where it can be started.
///
/// # Errors
/// [`Kind::NotFound`] without a bus; [`Kind::Io`].
pub fn is_offered() -> Result<bool, Error> {
    match property(&mut Bus::connect()?, "AvailableSourceTypes") {
        Ok(types) => Ok(types != 0),
        Err(e) if e.kind == Kind::Unsupported => Ok(false),
        Err(e) => Err(e),
    }
}

impl Session {
    /// Has the user pick, who may take as long as he likes: `is_cancelled` is asked all the time, and gives up.
    ///
    /// # Errors
    /// [`Kind::NotFound`] without a bus; [`Kind::Unsupported`] without a portal that can do it; [`Kind::Denied`] when the user
    /// refuses, or it was given up.
    pub fn start(wish: &Wish, is_cancelled: &dyn Fn() -> bool) -> Result<Session, Error> {
        let mut bus = Bus::connect()?;
        let types = property(&mut bus, "AvailableSourceTypes")
            .map_err(|e| Error::new(e.kind, format!("the desktop portal captures no screens: {e}")))?;
        let Sources { monitor, window, virtual_monitor } = wish.sources;
        let wanted = u32::from(monitor) | u32::from(window) << 1 | u32::from(virtual_monitor) << 2;
        if types & wanted == 0 {
            let message = format!(
                "the desktop portal offers none of the kinds of sources {wanted:#b}, only {types:#b}"
            );
            return Err(Error::new(Kind::Unsupported, message));
        }
        // Portals before version 2 put the pointer where they like, and those before 4 remember nothing.
        let cursors = property(&mut bus, "AvailableCursorModes").unwrap_or(0);
        let version = property(&mut bus, "version").unwrap_or(1);
        let cursor = way(wish.pointer, cursors);
        let mode = bit(cursor);
        for rule in [
            format!("type='signal',sender='{DESKTOP}',interface='org.freedesktop.portal.Request'"),
            format!("type='signal',sender='{DESKTOP}',interface='org.freedesktop.portal.Session'"),
            "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',\
             arg0='org.freedesktop.portal.Desktop'"
                .into(),
        ] {
            bus.ask("AddMatch", &[Arg::Text(&rule)])?;
        }
        let (node, cancel) = (0, is_cancelled);
        let mut session = Session { bus, path: String::new(), node, cursor, token: None, ended: false };

        let token = token();
        let made =
            session.request("CreateSession", &[], &[("session_handle_token", Arg::Text(&token))], cancel)?;
        let path = made.get("session_handle").and_then(Value::text);
        let missing = || Error::new(Kind::Io, "the desktop portal made a session without a name");
        session.path = path.ok_or_else(missing)?.to_owned();

        let path = session.path.clone();
        let mut options = vec![("types", Arg::Number(types & wanted)), ("multiple", Arg::Flag(false))];
        if cursors & mode != 0 {
            options.push(("cursor_mode", Arg::Number(mode)));
        }
        if version >= 4 && wish.remember {
            options.push(("persist_mode", Arg::Number(2)));
        }
        if let Some(token) = wish.restore.as_deref().filter(|_| version >= 4) {
            options.push(("restore_token", Arg::Text(token)));
        }
        session.request("SelectSources", &[Arg::Path(&path)], &options, cancel)?;
        let started = session.request("Start", &[Arg::Path(&path), Arg::Text("")], &[], cancel)?;
        let node = started.get("streams").and_then(|s| s.list().first()?.list().first()?.number());
        session.node = node.ok_or_else(|| Error::new(Kind::Io, "the desktop portal gave no stream"))?;
        session.token = started.get("restore_token").and_then(Value::text).map(str::to_owned);
        Ok(session)
    }

    /// The connection to the PipeWire on which the node is seen.
    ///
    /// # Errors
    /// [`Kind::Io`] when the portal gives none.
    pub fn remote(&mut self) -> Result<OwnedFd, Error> {
        let path = self.path.clone();
        let reply = self.bus.call(&method("OpenPipeWireRemote"), &[Arg::Path(&path), Arg::Options(&[])])?;
        let index = reply.body.first().and_then(Value::number);
        let fd = index.and_then(|index| self.bus.fd(index));
        fd.ok_or_else(|| Error::new(Kind::Io, "the desktop portal opened no connection to PipeWire"))
    }

    /// Whether the session still is; does not wait.
    ///
    /// # Errors
    /// [`Kind::Gone`] when the user or the desktop ended it, or the portal or the bus died.
    pub fn check(&mut self) -> Result<(), Error> {
        while let Some(signal) = self.bus.signal(Duration::ZERO)? {
            if signal.member == "Closed" && signal.path == self.path {
                self.ended = true;
                return Err(Error::new(Kind::Gone, "the desktop ended the session"));
            }
            // The name, who had it, who has it now.
            if signal.member == "NameOwnerChanged" && signal.body.get(2).and_then(Value::text) == Some("") {
                self.ended = true;
                return Err(Error::new(Kind::Gone, "the desktop portal is gone"));
            }
        }
        Ok(())
    }

    /// Calls a method that answers by a signal later, and waits for that.
    fn request(
        &mut self,
        name: &str,
        args: &[Arg<'_>],
        options: &[(&str, Arg<'_>)],
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<Value, Error> {
        let token = token();
        let mut all: Vec<(&str, Arg<'_>)> = vec![("handle_token", Arg::Text(&token))];
        all.extend_from_slice(options);
        let mut sent: Vec<Arg<'_>> = args.to_vec();
        sent.push(Arg::Options(&all));
        let reply = self.bus.call(&method(name), &sent)?;
        let path = reply.body.first().and_then(Value::text).unwrap_or_default().to_owned();
        loop {
            if is_cancelled() {
                let close = Call {
                    to: DESKTOP,
                    path: &path,
                    interface: "org.freedesktop.portal.Request",
                    method: "Close",
                };
                // The dialog goes away with the connection in any case.
                let _ = self.bus.call(&close, &[]);
                return Err(Error::new(Kind::Denied, "given up before the user had picked"));
            }
            let Some(signal) = self.bus.signal(Duration::from_millis(100))? else { continue };
            if signal.member == "Response" && signal.path == path {
                return answer(name, signal);
            }
            if signal.member == "NameOwnerChanged" && signal.body.get(2).and_then(Value::text) == Some("") {
                return Err(Error::new(Kind::Gone, "the desktop portal is gone"));
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.path.is_empty() || self.ended {
            return;
        }
        let interface = "org.freedesktop.portal.Session";
        let close = Call { to: DESKTOP, path: &self.path, interface, method: "Close" };
        // The session ends with the connection in any case.
        let _ = self.bus.call(&close, &[]);
    }
}

/// What a request's answer says.
fn answer(name: &str, signal: Message) -> Result<Value, Error> {
    let mut body = signal.body.into_iter();
    match body.next().as_ref().and_then(Value::number) {
        Some(0) => Ok(body.next().unwrap_or(Value::List(Vec::new()))),
        Some(1) => Err(Error::new(Kind::Denied, "the user picked nothing")),
        code => {
            let code = code.map_or_else(|| "nothing".into(), |c| c.to_string());
            Err(Error::new(Kind::Io, format!("the desktop portal ended {name} with the answer {code}")))
        }
    }
}

fn method(method: &str) -> Call<'_> {
    Call { to: DESKTOP, path: PATH, interface: SCREEN_CAST, method }
}

/// A number that the portal's ScreenCast says of itself.
fn property(bus: &mut Bus, name: &str) -> Result<u32, Error> {
    let interface = "org.freedesktop.DBus.Properties";
    let call = Call { to: DESKTOP, path: PATH, interface, method: "Get" };
    let reply = bus.call(&call, &[Arg::Text(SCREEN_CAST), Arg::Text(name)])?;
    let missing = || Error::new(Kind::Unsupported, format!("{name} is no number"));
    reply.body.first().and_then(Value::number).ok_or_else(missing)
}

/// The portal's bit for a way of the pointer.
fn bit(cursor: Cursor) -> u32 {
    match cursor {
        Cursor::Hidden => 1,
        Cursor::Embedded => 2,
        Cursor::Beside => 4,
    }
}

/// How the pointer comes from a portal that has these modes, if it is wanted that way.
fn way(wanted: Cursor, modes: u32) -> Cursor {
    let other = match wanted {
        Cursor::Hidden => return Cursor::Hidden,
        Cursor::Embedded => Cursor::Beside,
        Cursor::Beside => Cursor::Embedded,
    };
    [wanted, other].into_iter().find(|way| modes & bit(*way) != 0).unwrap_or(Cursor::Hidden)
}

/// A word that no other request of this process has.
fn token() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("ghoststream{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pointer_comes_as_it_is_wanted_or_the_other_way() {
        use Cursor::{Beside, Embedded, Hidden};
        for (wanted, modes, comes) in [
            (Hidden, 7, Hidden),
            (Embedded, 7, Embedded),
            (Beside, 7, Beside),
            (Embedded, 5, Beside),
            (Beside, 3, Embedded),
            (Embedded, 1, Hidden),
            (Beside, 0, Hidden),
        ] {
            assert_eq!(way(wanted, modes), comes, "{wanted:?} of {modes}");
        }
    }
}
