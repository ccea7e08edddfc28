//! A connection to the session's message bus, just as far as the portal needs it: calls, their replies with descriptors,
//! and signals.

use super::wire::{self, Arg, Call, Message};
use super::{Error, Kind};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the bus or a service may take for what asks nobody.
const ANSWER: Duration = Duration::from_secs(25);
/// How often is looked whether the wait shall end.
const NAP: Duration = Duration::from_millis(100);
/// A longer message is none.
const LONGEST: usize = 1 << 24;

pub(super) struct Bus {
    socket: UnixStream,
    serial: u32,
    /// Its unique name (`:1.42`).
    pub name: String,
    read: Vec<u8>,
    fds: VecDeque<OwnedFd>,
    signals: VecDeque<Message>,
}

fn io(what: &str, e: std::io::Error) -> Error {
    Error::new(Kind::Gone, format!("the message bus: {what}: {e}"))
}

impl Bus {
    /// Connects to the session's bus.
    pub fn connect() -> Result<Bus, Error> {
        let mut socket = open()?;
        socket.set_read_timeout(Some(ANSWER)).map_err(|e| io("setting up", e))?;
        // SAFETY: Asks for a number and cannot fail.
        let user = unsafe { libc::getuid() }.to_string();
        let hex: String = user.bytes().map(|b| format!("{b:02x}")).collect();
        socket.write_all(format!("\0AUTH EXTERNAL {hex}\r\n").as_bytes()).map_err(|e| io("greeting", e))?;
        expect(&mut socket, "OK")?;
        socket.write_all(b"NEGOTIATE_UNIX_FD\r\n").map_err(|e| io("greeting", e))?;
        expect(&mut socket, "AGREE_UNIX_FD")?;
        socket.write_all(b"BEGIN\r\n").map_err(|e| io("greeting", e))?;
        let (signals, fds) = (VecDeque::new(), VecDeque::new());
        let mut bus = Bus { socket, serial: 0, name: String::new(), read: Vec::new(), fds, signals };
        let hello = bus.ask("Hello", &[])?;
        bus.name = hello.body.first().and_then(|n| n.text()).unwrap_or_default().to_owned();
        Ok(bus)
    }

    /// Asks the bus itself.
    pub fn ask(&mut self, method: &str, args: &[Arg<'_>]) -> Result<Message, Error> {
        let name = "org.freedesktop.DBus";
        self.call(&Call { to: name, path: "/org/freedesktop/DBus", interface: name, method }, args)
    }

    /// Calls a method and waits for its reply. Its descriptors are taken with [`Bus::fd`].
    pub fn call(&mut self, call: &Call<'_>, args: &[Arg<'_>]) -> Result<Message, Error> {
        self.serial += 1;
        let serial = self.serial;
        self.fds.clear();
        self.socket.write_all(&wire::call(serial, call, args)).map_err(|e| io("writing", e))?;
        let end = Instant::now() + ANSWER;
        while Instant::now() < end {
            let Some(message) = self.message(NAP)? else { continue };
            match message.kind {
                2 if message.reply_to == serial => return Ok(message),
                3 if message.reply_to == serial => {
                    let said = message.body.first().and_then(|t| t.text()).unwrap_or_default();
                    let absent = message.error.ends_with(".ServiceUnknown")
                        || message.error.ends_with(".NameHasNoOwner")
                        || message.error.ends_with(".UnknownMethod")
                        || message.error.ends_with(".UnknownInterface")
                        || message.error.ends_with(".InvalidArgs");
                    let kind = if absent { Kind::Unsupported } else { Kind::Io };
                    return Err(Error::new(kind, format!("{}: {said} ({})", call.method, message.error)));
                }
                4 => self.signals.push_back(message),
                _ => {}
            }
        }
        Err(Error::new(Kind::Io, format!("{} says nothing for {} s", call.method, ANSWER.as_secs())))
    }

    /// A descriptor that came with the last reply.
    pub fn fd(&mut self, index: u32) -> Option<OwnedFd> {
        self.fds.drain(..).nth(index as usize)
    }

    /// The next signal that came; waits for `time` at most.
    pub fn signal(&mut self, time: Duration) -> Result<Option<Message>, Error> {
        if let Some(signal) = self.signals.pop_front() {
            return Ok(Some(signal));
        }
        Ok(self.message(time)?.filter(|m| m.kind == 4))
    }

    fn message(&mut self, time: Duration) -> Result<Option<Message>, Error> {
        loop {
            if let Some(length) = wire::length(&self.read) {
                if length > LONGEST {
                    return Err(Error::new(Kind::Io, "the message bus sends what is no message"));
                }
                if self.read.len() >= length {
                    let bytes: Vec<u8> = self.read.drain(..length).collect();
                    let message = wire::parse(&bytes);
                    return Ok(Some(
                        message.ok_or_else(|| {
                            Error::new(Kind::Io, "the message bus sends what is no message")
                        })?,
                    ));
                }
            }
            if !self.receive(time)? {
                return Ok(None);
            }
        }
    }

    /// Reads what there is, waiting for `time` at most; `false`: nothing.
    fn receive(&mut self, time: Duration) -> Result<bool, Error> {
        let fd = self.socket.as_raw_fd();
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: One entry that lives until the call returns.
        let found =
            unsafe { libc::poll(&raw mut poll, 1, i32::try_from(time.as_millis()).unwrap_or(i32::MAX)) };
        if found == 0 {
            return Ok(false);
        }
        let mut bytes = [0u8; 16384];
        let mut space = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // Room for more descriptors than any reply here has.
        let mut control = [0u64; 32];
        // SAFETY: All zeros are a valid header of nothing.
        let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        header.msg_iov = &raw mut space;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of::<[u64; 32]>();
        // SAFETY: The header points to memory of this function with the sizes it says.
        let got = unsafe { libc::recvmsg(fd, &raw mut header, libc::MSG_CMSG_CLOEXEC) };
        let Ok(got) = usize::try_from(got) else {
            let e = std::io::Error::last_os_error();
            return match e.kind() {
                std::io::ErrorKind::Interrupted | std::io::ErrorKind::WouldBlock => Ok(false),
                _ => Err(io("reading", e)),
            };
        };
        // SAFETY: The header is as the kernel left it, and `control` still lives.
        let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
        while !next.is_null() {
            // SAFETY: Not null, and within `control` (CMSG_FIRSTHDR and CMSG_NXTHDR see to that).
            let part = unsafe { &*next };
            if (part.cmsg_level, part.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                // SAFETY: A size without side effects.
                let head = unsafe { libc::CMSG_LEN(0) } as usize;
                let count = part.cmsg_len.saturating_sub(head) / size_of::<RawFd>();
                for i in 0..count {
                    // SAFETY: The kernel wrote `count` descriptors there, which are now this process's own.
                    let fd = unsafe {
                        OwnedFd::from_raw_fd(libc::CMSG_DATA(next).cast::<RawFd>().add(i).read_unaligned())
                    };
                    self.fds.push_back(fd);
                }
            }
            // SAFETY: As above.
            next = unsafe { libc::CMSG_NXTHDR(&raw const header, next) };
        }
        if got == 0 {
            return Err(Error::new(Kind::Gone, "the message bus is gone"));
        }
        self.read.extend_from_slice(&bytes[..got]);
        Ok(true)
    }
}

/// Connects to the first address of the environment that answers.
fn open() -> Result<UnixStream, Error> {
    let missing = |why: String| Error::new(Kind::NotFound, why);
    let addresses = match std::env::var("DBUS_SESSION_BUS_ADDRESS") {
        Ok(addresses) if !addresses.is_empty() => addresses,
        _ => {
            let runtime = std::env::var("XDG_RUNTIME_DIR");
            let runtime = runtime.map_err(|_| missing("there is no session message bus".into()))?;
            format!("unix:path={runtime}/bus")
        }
    };
    let mut why = format!("{addresses}: no address of a kind that is known here");
    for address in addresses.split(';') {
        let Some(keys) = address.strip_prefix("unix:") else { continue };
        let tried = keys.split(',').find_map(|key| match key.split_once('=') {
            Some(("path", path)) => Some(UnixStream::connect(Path::new(&unescaped(path)))),
            Some(("abstract", name)) => {
                let address = SocketAddr::from_abstract_name(unescaped(name));
                Some(address.and_then(|address| UnixStream::connect_addr(&address)))
            }
            _ => None,
        });
        match tried {
            Some(Ok(socket)) => return Ok(socket),
            Some(Err(e)) => why = format!("{address}: {e}"),
            None => {}
        }
    }
    Err(missing(format!("there is no session message bus: {why}")))
}

/// `%20` and the like as what they stand for.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let byte = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match byte.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads a line of the greeting, which begins with `word`.
fn expect(socket: &mut UnixStream, word: &str) -> Result<(), Error> {
    let mut line = Vec::new();
    let mut byte = [0u8];
    // Byte by byte, because what comes after the line is no text.
    while !line.ends_with(b"\r\n") && line.len() < 512 {
        socket.read_exact(&mut byte).map_err(|e| io("greeting", e))?;
        line.push(byte[0]);
    }
    if line.starts_with(word.as_bytes()) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&line).trim_end().to_owned();
    Err(Error::new(Kind::Io, format!("the message bus wants no connection: {said}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_unescaped() {
        assert_eq!(unescaped("/run/a%20b%2fc"), "/run/a b/c");
        assert_eq!(unescaped("100%"), "100%");
        assert_eq!(unescaped("%zz"), "%zz");
    }
}
