//! Our own SRT connection under a muxer.

use crate::error::{Error, ErrorKind, Result};
use crate::spec::{SrtAddress, SrtMode};
use ghoststream_sys::srt::{self, Decision, Listener, Options, Socket};
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

/// An SRT failure in the engine's words.
fn told(e: srt::Error) -> Error {
    let kind = match e.kind {
        srt::Kind::Unsupported => ErrorKind::Unsupported,
        srt::Kind::Invalid => ErrorKind::Invalid,
        srt::Kind::NotFound => ErrorKind::NotFound,
        srt::Kind::Denied => ErrorKind::Denied,
        srt::Kind::Cancelled => ErrorKind::Cancelled,
        _ => ErrorKind::Io,
    };
    Error::with_source(kind, e.to_string(), e)
}

/// Connects as the address says. A listener waits for its caller for as long as it takes.
///
/// # Errors
/// `Unsupported` without libsrt; `NotFound`, `Denied`, `Io`; `Cancelled` by `stop`.
pub(super) fn open_socket(
    address: &SrtAddress,
    timeout: Duration,
    stop: &dyn Fn() -> bool,
) -> Result<Socket> {
    srt::available().map_err(told)?;
    let options = Options {
        latency: address.latency,
        passphrase: address.passphrase.clone(),
        key_length: address.key_length,
        stream_id: address.stream_id.clone(),
        max_bandwidth: address.max_bandwidth,
        connect_timeout: timeout,
        idle_timeout: timeout.clamp(Duration::from_secs(1), Duration::from_secs(5)),
        exclusive: false,
    };
    match address.mode {
        SrtMode::Caller => Socket::connect(remote(address)?, &options, stop).map_err(told),
        SrtMode::Rendezvous => {
            let remote = remote(address)?;
            let any: std::net::IpAddr = match remote {
                SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
            };
            let local = SocketAddr::from((any, address.local_port.unwrap_or(address.port)));
            Socket::rendezvous(local, remote, &options, stop).map_err(told)
        }
        SrtMode::Listener => listen(address, options, stop),
    }
}

/// Waits for one caller; one whose stream id is another one's is refused. Whoever comes second finds nobody.
fn listen(address: &SrtAddress, mut options: Options, stop: &dyn Fn() -> bool) -> Result<Socket> {
    let local = match address.host.as_str() {
        "" => SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, address.port)),
        _ => remote(address)?,
    };
    let wanted = options.stream_id.take();
    let listener = Listener::bind(local, &options, move |caller| match &wanted {
        Some(id) if *id != caller.stream_id => Decision::Refuse(srt::Refusal::NotFound),
        _ => Decision::Accept,
    })
    .map_err(told)?;
    loop {
        if let Some(socket) = listener.accept(Duration::from_millis(50)).map_err(told)? {
            return Ok(socket);
        }
        if stop() {
            return Err(Error::cancelled());
        }
    }
}

fn remote(address: &SrtAddress) -> Result<SocketAddr> {
    let name = |e: &dyn std::fmt::Display| {
        Error::new(ErrorKind::NotFound, format!("{}: cannot be resolved: {e}", address.host))
    };
    let mut all = (address.host.as_str(), address.port).to_socket_addrs().map_err(|e| name(&e))?;
    all.next().ok_or_else(|| name(&"no address"))
}

/// Cuts a transport stream into messages. What a flush leaves is sent as it is, so that a picture's end does not wait for
/// the next picture.
pub(super) struct SrtWriter {
    socket: Arc<Socket>,
    waiting: Vec<u8>,
    timeout: Duration,
}

impl SrtWriter {
    pub fn new(socket: Arc<Socket>, timeout: Duration) -> SrtWriter {
        SrtWriter { socket, waiting: Vec::with_capacity(srt::PAYLOAD), timeout }
    }

    fn send(&mut self, whole_only: bool) -> io::Result<()> {
        let mut sent = 0;
        for message in self.waiting.chunks(srt::PAYLOAD) {
            if whole_only && message.len() < srt::PAYLOAD {
                break;
            }
            self.socket.send(message, self.timeout).map_err(|e| {
                let kind = match e.kind {
                    srt::Kind::TimedOut => io::ErrorKind::TimedOut,
                    _ => io::ErrorKind::ConnectionReset,
                };
                io::Error::new(kind, e.to_string())
            })?;
            sent += message.len();
        }
        self.waiting.drain(..sent);
        Ok(())
    }
}

impl Write for SrtWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(data);
        // FFmpeg writes what one flush collected, or a full buffer, which more belongs to.
        const FULL: usize = 64 * 1024;
        self.send(data.len() >= FULL)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send(false)
    }
}
