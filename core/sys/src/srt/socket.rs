//! One connection.

use super::address::Raw;
use super::api::{Api, api, text};
use super::{Error, Kind, Options, PAYLOAD, Result, Stats, stats};
use std::ffi::c_int;
use std::net::SocketAddr;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

pub(super) mod flag {
    pub const SNDSYN: i32 = 1;
    pub const RCVSYN: i32 = 2;
    pub const SNDTIMEO: i32 = 13;
    pub const RCVTIMEO: i32 = 14;
    pub const REUSEADDR: i32 = 15;
    pub const MAXBW: i32 = 16;
    pub const LATENCY: i32 = 23;
    pub const PASSPHRASE: i32 = 26;
    pub const PBKEYLEN: i32 = 27;
    pub const CONNTIMEO: i32 = 36;
    pub const STREAMID: i32 = 46;
    pub const TRANSTYPE: i32 = 50;
    pub const IPV6ONLY: i32 = 54;
    pub const PEERIDLETIMEO: i32 = 55;
}

/// A socket's number, closed when it goes.
pub(super) struct Handle {
    pub api: &'static Api,
    pub id: c_int,
    closed: AtomicBool,
}

impl Handle {
    pub fn create() -> Result<Handle> {
        let api = api()?;
        // SAFETY: takes nothing.
        let id = api.check(unsafe { (api.create)() }, "create an SRT socket")?;
        Ok(Handle::of(api, id))
    }

    pub fn of(api: &'static Api, id: c_int) -> Handle {
        Handle { api, id, closed: AtomicBool::new(false) }
    }

    pub fn set_number<T>(&self, option: i32, value: T, name: &str) -> Result<()> {
        let len = size_of::<T>() as c_int;
        // SAFETY: `len` bytes of a plain number, which are copied.
        let code = unsafe { (self.api.set)(self.id, option, ptr::from_ref(&value).cast(), len) };
        self.api.check(code, name).map(drop)
    }

    pub fn set_text(&self, option: i32, value: &str, name: &str) -> Result<()> {
        let len = c_int::try_from(value.len()).map_err(|_| Error::new(Kind::Invalid, name))?;
        // SAFETY: `len` bytes, which are copied.
        let code = unsafe { (self.api.set)(self.id, option, value.as_ptr().cast(), len) };
        self.api.check(code, name).map(drop)
    }

    /// Sets what must be known before binding.
    pub fn configure(&self, options: &Options) -> Result<()> {
        const LIVE: c_int = 0;
        let ms = |t: Duration| c_int::try_from(t.as_millis()).unwrap_or(c_int::MAX);
        self.set_number(flag::TRANSTYPE, LIVE, "live mode")?;
        self.set_number(flag::LATENCY, ms(options.latency), "latency")?;
        self.set_number(flag::CONNTIMEO, ms(options.connect_timeout), "connect timeout")?;
        self.set_number(flag::PEERIDLETIMEO, ms(options.idle_timeout), "idle timeout")?;
        self.set_number(flag::REUSEADDR, c_int::from(!options.exclusive), "sharing of the address")?;
        if options.key_length != 0 {
            self.set_number(flag::PBKEYLEN, c_int::from(options.key_length), "key length")?;
        }
        if let Some(passphrase) = &options.passphrase {
            self.set_text(flag::PASSPHRASE, passphrase, "passphrase")?;
        }
        if let Some(id) = &options.stream_id {
            self.set_text(flag::STREAMID, id, "stream id")?;
        }
        if let Some(most) = options.max_bandwidth {
            self.set_number(flag::MAXBW, i64::try_from(most).unwrap_or(i64::MAX), "max bandwidth")?;
        }
        // Only calls with a time wait; libsrt's own waiting cannot be called off.
        self.set_blocking(false)
    }

    fn set_blocking(&self, blocking: bool) -> Result<()> {
        self.set_number(flag::SNDSYN, c_int::from(blocking), "blocking sends")?;
        self.set_number(flag::RCVSYN, c_int::from(blocking), "blocking receives")
    }

    pub fn bind(&self, local: SocketAddr) -> Result<()> {
        if local.is_ipv6() {
            self.set_number(flag::IPV6ONLY, c_int::from(!local.ip().is_unspecified()), "IPv6 only")?;
        }
        let raw = Raw::of(local);
        // SAFETY: an address and its length.
        let code = unsafe { (self.api.bind)(self.id, raw.as_ptr(), raw.len()) };
        self.api.check(code, &format!("bind {local}")).map(drop)
    }

    pub fn local(&self) -> Option<SocketAddr> {
        let (mut raw, mut len) = (Raw::room(), Raw::room().len());
        // SAFETY: room for any address, and its length.
        let code = unsafe { (self.api.own_name)(self.id, raw.as_mut_ptr(), &mut len) };
        (code >= 0).then(|| raw.address()).flatten()
    }

    pub fn close(&self) {
        if !self.closed.swap(true, Ordering::SeqCst) {
            // SAFETY: ours, and closed once. Other threads' calls on it end with an error.
            unsafe { (self.api.close)(self.id) };
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

/// A connection in live mode. Any thread may call any method at any time; [`Socket::close`] ends what waits.
///
/// Dropping it closes at once: what is not sent yet is lost, unless [`Socket::drain`] waited for it.
pub struct Socket {
    handle: Handle,
    /// The times that are set, in milliseconds, to save setting them again.
    send_timeout: AtomicI32,
    receive_timeout: AtomicI32,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("id", &self.handle.id).field("peer", &self.peer()).finish()
    }
}

impl Socket {
    /// Calls the listener at `remote`. `stop` is asked every few milliseconds whether to give up.
    ///
    /// # Errors
    /// `Unsupported` without libsrt; `Invalid` settings; `NotFound` when nobody answers in time; `Denied` with the peer's
    /// reason; `Cancelled` by `stop`; `System`.
    pub fn connect(remote: SocketAddr, options: &Options, stop: &dyn Fn() -> bool) -> Result<Socket> {
        let handle = Handle::create()?;
        handle.configure(options)?;
        let raw = Raw::of(remote);
        // SAFETY: an address and its length.
        let code = unsafe { (handle.api.connect)(handle.id, raw.as_ptr(), raw.len()) };
        handle.api.check(code, "connect")?;
        Socket::await_connected(handle, options.connect_timeout, stop)
    }

    /// Meets a peer that calls at the same time: both bind, and both know the other's address.
    ///
    /// # Errors
    /// As [`Socket::connect`].
    pub fn rendezvous(
        local: SocketAddr,
        remote: SocketAddr,
        options: &Options,
        stop: &dyn Fn() -> bool,
    ) -> Result<Socket> {
        let handle = Handle::create()?;
        handle.configure(options)?;
        let (own, peer) = (Raw::of(local), Raw::of(remote));
        // SAFETY: addresses and their lengths.
        let code =
            unsafe { (handle.api.rendezvous)(handle.id, own.as_ptr(), own.len(), peer.as_ptr(), peer.len()) };
        handle.api.check(code, "rendezvous")?;
        Socket::await_connected(handle, options.connect_timeout, stop)
    }

    fn await_connected(handle: Handle, timeout: Duration, stop: &dyn Fn() -> bool) -> Result<Socket> {
        const CONNECTED: c_int = 5;
        let (api, began) = (handle.api, Instant::now());
        loop {
            // SAFETY: takes a number.
            match unsafe { (api.state)(handle.id) } {
                CONNECTED => return Socket::of(handle),
                state if state > CONNECTED => {
                    // SAFETY: takes a number; the text is static.
                    let reason = unsafe { (api.reject_reason)(handle.id) };
                    return Err(rejected(api, reason));
                }
                _ => {}
            }
            if stop() {
                return Err(Error::new(Kind::Cancelled, "cancelled"));
            }
            // libsrt's own time is up first, unless it is stuck.
            if began.elapsed() > timeout + Duration::from_secs(1) {
                return Err(Error::new(Kind::NotFound, "nobody answers"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Takes a connected socket.
    pub(super) fn of(handle: Handle) -> Result<Socket> {
        handle.set_blocking(true)?;
        Ok(Socket { handle, send_timeout: AtomicI32::new(-1), receive_timeout: AtomicI32::new(-1) })
    }

    fn set_timeout(&self, set: &AtomicI32, option: i32, timeout: Duration) -> Result<()> {
        let ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        if set.swap(ms, Ordering::Relaxed) != ms {
            self.handle.set_number(option, ms, "timeout")?;
        }
        Ok(())
    }

    /// Sends a message, waiting at most `timeout` for room in the buffer.
    ///
    /// # Errors
    /// `Invalid` for one longer than [`PAYLOAD`]; `TimedOut`; `Closed`.
    pub fn send(&self, message: &[u8], timeout: Duration) -> Result<()> {
        if message.len() > PAYLOAD || message.is_empty() {
            return Err(Error::new(Kind::Invalid, format!("a message of {} bytes", message.len())));
        }
        self.set_timeout(&self.send_timeout, flag::SNDTIMEO, timeout)?;
        let len = message.len() as c_int;
        // SAFETY: `len` readable bytes, which are copied; no message control.
        let code =
            unsafe { (self.handle.api.send)(self.handle.id, message.as_ptr().cast(), len, ptr::null_mut()) };
        self.handle.api.check(code, "send").map(drop)
    }

    /// Takes the next message and returns its length; 0 when none came within `timeout`. A message that is longer than
    /// `buffer` loses its end: give it [`PAYLOAD`] bytes.
    ///
    /// # Errors
    /// `Closed` when the peer is gone and everything that came is taken.
    pub fn recv(&self, buffer: &mut [u8], timeout: Duration) -> Result<usize> {
        self.set_timeout(&self.receive_timeout, flag::RCVTIMEO, timeout)?;
        let len = c_int::try_from(buffer.len()).unwrap_or(c_int::MAX);
        // SAFETY: `len` writable bytes; no message control.
        let code = unsafe {
            (self.handle.api.receive)(self.handle.id, buffer.as_mut_ptr().cast(), len, ptr::null_mut())
        };
        match self.handle.api.check(code, "receive") {
            Ok(0) => Err(Error::new(Kind::Closed, "the peer has ended the stream")),
            Ok(n) => Ok(n as usize),
            Err(e) if e.kind == Kind::TimedOut => Ok(0),
            Err(e) => Err(e),
        }
    }

    /// What was counted since the connection began.
    ///
    /// # Errors
    /// `Closed`.
    pub fn stats(&self) -> Result<Stats> {
        let mut raw = stats::Raw::default();
        const KEEP: c_int = 0;
        const NOW: c_int = 1;
        // SAFETY: at least as large as any version's structure.
        let code = unsafe {
            (self.handle.api.statistics)(self.handle.id, ptr::from_mut(&mut raw).cast(), KEEP, NOW)
        };
        self.handle.api.check(code, "statistics")?;
        Ok(raw.stats())
    }

    /// Bytes that are not sent, or not acknowledged.
    ///
    /// # Errors
    /// `Closed`.
    pub fn waiting(&self) -> Result<usize> {
        let (mut blocks, mut bytes) = (0, 0);
        // SAFETY: fills two numbers.
        let code = unsafe { (self.handle.api.send_buffer)(self.handle.id, &mut blocks, &mut bytes) };
        self.handle.api.check(code, "send buffer")?;
        Ok(bytes)
    }

    /// Waits until everything is sent and acknowledged. `false` when `timeout` or the connection's end came first.
    pub fn drain(&self, timeout: Duration) -> bool {
        let began = Instant::now();
        loop {
            match self.waiting() {
                Ok(0) => return true,
                Ok(_) if self.is_connected() && began.elapsed() < timeout => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                _ => return false,
            }
        }
    }

    /// Whether the connection stands.
    pub fn is_connected(&self) -> bool {
        const CONNECTED: c_int = 5;
        // SAFETY: takes a number.
        unsafe { (self.handle.api.state)(self.handle.id) == CONNECTED }
    }

    /// The stream id that the caller gave; empty when it gave none.
    pub fn stream_id(&self) -> String {
        let (mut text, mut len) = ([0u8; 513], 512);
        // SAFETY: `len` writable bytes, and how many were written.
        let code = unsafe {
            (self.handle.api.get)(self.handle.id, flag::STREAMID, text.as_mut_ptr().cast(), &mut len)
        };
        let len = usize::try_from(len).unwrap_or(0).min(512);
        if code < 0 { String::new() } else { String::from_utf8_lossy(&text[..len]).into_owned() }
    }

    /// The peer's address, while the connection stands.
    pub fn peer(&self) -> Option<SocketAddr> {
        let (mut raw, mut len) = (Raw::room(), Raw::room().len());
        // SAFETY: room for any address, and its length.
        let code = unsafe { (self.handle.api.peer_name)(self.handle.id, raw.as_mut_ptr(), &mut len) };
        (code >= 0).then(|| raw.address()).flatten()
    }

    /// The address on this side.
    pub fn local(&self) -> Option<SocketAddr> {
        self.handle.local()
    }

    /// Ends the connection now. Calls that wait, on any thread, end with `Closed`.
    pub fn close(&self) {
        self.handle.close();
    }
}

/// Why a peer did not take the connection.
fn rejected(api: &Api, reason: c_int) -> Error {
    const UNKNOWN: c_int = 0;
    const TIMEOUT: c_int = 16;
    let told = match reason {
        UNKNOWN | TIMEOUT => return Error::new(Kind::NotFound, "nobody answers"),
        10 => "the passphrase is wrong".to_string(),
        11 => "one side has a passphrase and the other has none".to_string(),
        1400 => "the peer does not understand the stream id".to_string(),
        1401 => "the peer refuses: not authorised".to_string(),
        1402 => "the peer is overloaded".to_string(),
        1403 => "the peer refuses: forbidden".to_string(),
        1404 => "the peer has no such stream".to_string(),
        1405 => "the peer refuses: not in this mode".to_string(),
        1409 => "the peer refuses: the stream is published already".to_string(),
        code if code >= 1000 => format!("the peer refuses (code {code})"),
        // SAFETY: takes a number; the text is static.
        code => format!("refused: {}", unsafe { text((api.reject_text)(code)) }),
    };
    Error::new(Kind::Denied, told)
}
