//! A TCP connection that a library has made: how long it may be without an answer, and how long answers take.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Finds a connection again that a library makes: by a size of the receive buffer that no other connection of this process has.
/// Have the connection made with [`Mark::receive_buffer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u32);

/// The smallest such buffer: plenty for who sends, and below what every Linux allows.
const LEAST: u32 = 96 << 10;
/// So many connections have marks of their own at once.
const MARKS: u32 = 8192;

impl Mark {
    /// One that no connection has, as long as there are fewer than 8192.
    pub fn next() -> Mark {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // The system's own sizes are round.
        Mark(LEAST + 1 + 2 * (NEXT.fetch_add(1, Ordering::Relaxed) % MARKS))
    }

    /// Bytes to ask for as receive buffer.
    pub fn receive_buffer(self) -> u32 {
        self.0
    }

    /// The connection, which is open; `None`: there is none, or the system cannot be asked for it. Any thread.
    pub fn find(self) -> Option<Connection> {
        imp::find(self.0).map(|fd| Connection { fd, mark: self.0 })
    }
}

/// A connection that a [`Mark`] found, as long as it is open.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    fd: i32,
    mark: u32,
}

impl Connection {
    /// Has the connection, which stays open meanwhile, break when what is sent gets no answer for `time`, however little that is.
    ///
    /// # Errors
    /// The system's; `NotConnected` when it is gone.
    pub fn limit_silence(self, time: Duration) -> io::Result<()> {
        imp::limit_silence(self.fd, self.mark, time)
    }

    /// How long answers take now, as the system smooths it; `None` when the connection is gone.
    pub fn round_trip(self) -> Option<Duration> {
        imp::round_trip(self.fd, self.mark)
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use std::ffi::c_int;
    use std::io;
    use std::mem::size_of;
    use std::time::Duration;

    /// Descriptors are looked at up to this one: a process may not be allowed to list its own.
    const DESCRIPTORS: c_int = 1 << 16;

    fn option(fd: c_int, level: c_int, name: c_int) -> Option<c_int> {
        let (mut value, mut len) = (0 as c_int, size_of::<c_int>() as libc::socklen_t);
        // SAFETY: room for one number; whatever the descriptor is, nothing is done to it.
        let code = unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut len) };
        (code == 0).then_some(value)
    }

    fn is_marked(fd: c_int, size: c_int) -> bool {
        option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF) == Some(size)
            && option(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL) == Some(libc::IPPROTO_TCP)
    }

    /// Linux takes twice as much as it is told.
    fn size_of_mark(mark: u32) -> c_int {
        c_int::try_from(mark * 2).unwrap_or(c_int::MAX)
    }

    pub fn find(mark: u32) -> Option<c_int> {
        (0..DESCRIPTORS).find(|fd| is_marked(*fd, size_of_mark(mark)))
    }

    pub fn limit_silence(fd: c_int, mark: u32, time: Duration) -> io::Result<()> {
        if !is_marked(fd, size_of_mark(mark)) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let time = u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1);
        let len = size_of::<u32>() as libc::socklen_t;
        // SAFETY: one number that lives until the call returns. The connection is the caller's, so that nobody else closes it.
        let code = unsafe {
            libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, (&raw const time).cast(), len)
        };
        if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    pub fn round_trip(fd: c_int, mark: u32) -> Option<Duration> {
        /// Where the smoothed round trip is in `struct tcp_info`, in microseconds: behind 8 bytes and 15 numbers.
        const RTT: usize = 8 + 15 * 4;
        if !is_marked(fd, size_of_mark(mark)) {
            return None;
        }
        let mut info = [0u8; 256];
        let mut len = info.len() as libc::socklen_t;
        // SAFETY: at most `len` bytes are written. Nothing is done to the descriptor, whatever it has become meanwhile.
        let code = unsafe {
            libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut len)
        };
        let known = info.get(..len as usize).filter(|_| code == 0)?;
        let micros = known.get(RTT..)?.first_chunk::<4>()?;
        Some(Duration::from_micros(u32::from_ne_bytes(*micros).into()))
    }

    #[cfg(test)]
    mod tests {
        use super::super::Mark;
        use super::*;
        use std::net::{TcpListener, TcpStream};
        use std::os::fd::AsRawFd;

        #[test]
        fn the_connection_that_is_marked_is_limited_and_no_other() {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let streams = [(); 2].map(|()| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            let [one, other] = &streams;
            let mark = Mark::next();
            assert_ne!(mark, Mark::next());
            assert!(mark.find().is_none());
            let value = mark.receive_buffer();
            // SAFETY: one number that lives until the call returns.
            let code = unsafe {
                let len = size_of::<u32>() as libc::socklen_t;
                libc::setsockopt(
                    one.as_raw_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_RCVBUF,
                    (&raw const value).cast(),
                    len,
                )
            };
            assert_eq!(code, 0);
            let found = mark.find().unwrap();
            found.limit_silence(Duration::from_millis(4500)).unwrap();
            let limit = |s: &TcpStream| option(s.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT);
            assert_eq!((limit(one), limit(other)), (Some(4500), Some(0)));
            // Against what the C library's headers say of the answer's layout.
            assert_eq!(std::mem::offset_of!(libc::tcp_info, tcpi_rtt), 68);
            let rtt = found.round_trip().unwrap();
            assert!(rtt > Duration::ZERO && rtt < Duration::from_secs(1), "{rtt:?}");
            let [one, _] = streams;
            drop(one);
            assert!(found.round_trip().is_none() && found.limit_silence(Duration::from_secs(1)).is_err());
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;
    use std::time::Duration;

    pub fn find(_: u32) -> Option<i32> {
        None
    }

    pub fn limit_silence(_: i32, _: u32, _: Duration) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn round_trip(_: i32, _: u32) -> Option<Duration> {
        None
    }
}
