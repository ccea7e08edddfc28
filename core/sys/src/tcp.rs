//! How long a TCP connection may be without an answer, where the library that made it has no option for that.

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

    /// Has the connection, which is open and stays so meanwhile, break when what is sent gets no answer for `time`, however little
    /// that is. `false`: there is no such connection, or the system cannot. Any thread.
    ///
    /// # Errors
    /// The system's.
    pub fn limit_silence(self, time: Duration) -> io::Result<bool> {
        imp::limit_silence(self.0, time)
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

    pub fn limit_silence(mark: u32, time: Duration) -> io::Result<bool> {
        // Linux takes twice as much as it is told.
        let size = c_int::try_from(mark * 2).unwrap_or(c_int::MAX);
        let Some(fd) = (0..DESCRIPTORS).find(|fd| is_marked(*fd, size)) else { return Ok(false) };
        let time = u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1);
        let len = size_of::<u32>() as libc::socklen_t;
        // SAFETY: one number that lives until the call returns. The connection is the caller's, so that nobody else closes it.
        let code = unsafe {
            libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, (&raw const time).cast(), len)
        };
        if code == 0 { Ok(true) } else { Err(io::Error::last_os_error()) }
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
            assert!(!mark.limit_silence(Duration::from_secs(1)).unwrap());
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
            assert!(mark.limit_silence(Duration::from_millis(4500)).unwrap());
            let limit = |s: &TcpStream| option(s.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT);
            assert_eq!((limit(one), limit(other)), (Some(4500), Some(0)));
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;
    use std::time::Duration;

    pub fn limit_silence(_: u32, _: Duration) -> io::Result<bool> {
        Ok(false)
    }
}
