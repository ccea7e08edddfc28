//! Work in a forked child, whose crash or hang is only an answer that does not come.
//!
//! Why a fork: a library inside somebody else's program has no executable of its own to start. What the child does after
//! it (loading the driver's libraries, allocating, writing to a pipe) is more than the C standard promises in a program
//! with threads; glibc keeps its allocator and its loader usable there, and what goes wrong all the same ends with the
//! time limit. The child touches none of the program's own state: no standard streams, no locks of Rust's, no logging.

use std::io::Read as _;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The system gives no process or pipe.
    System(String),
    /// The child was killed by this signal.
    Crashed(i32),
    /// The time was up.
    TimedOut,
    /// It ended without an answer.
    Silent,
}

/// Runs `work` in a child and gives what it returned.
pub fn run(limit: Duration, work: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, Failure> {
    let mut ends = [0; 2];
    // SAFETY: fills two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(Failure::System(std::io::Error::last_os_error().to_string()));
    }
    // SAFETY: fresh descriptors that nobody else owns.
    let (from, to) = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    // SAFETY: the child does what the module's text says and leaves through `_exit`.
    match unsafe { libc::fork() } {
        -1 => Err(Failure::System(std::io::Error::last_os_error().to_string())),
        0 => child(limit, to.as_raw_fd(), work),
        pid => {
            drop(to);
            let answer = read(&from, limit);
            if answer.is_none() {
                // SAFETY: a child of ours that is not waited for yet.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            let mut status = 0;
            // SAFETY: as above. Where the host ignores its children there is none to wait for.
            while unsafe { libc::waitpid(pid, &mut status, 0) } == -1
                && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
            {}
            match answer {
                None => Err(Failure::TimedOut),
                Some(_) if libc::WIFSIGNALED(status) => Err(Failure::Crashed(libc::WTERMSIG(status))),
                Some(bytes) if bytes.is_empty() => Err(Failure::Silent),
                Some(bytes) => Ok(bytes),
            }
        }
    }
}

fn child(limit: Duration, to: i32, work: impl FnOnce() -> Vec<u8>) -> ! {
    // SAFETY: system calls on this process alone. A crash is to be quiet: no handler of the host's, no core file, nothing
    // on its standard streams; the alarm ends a child whose parent is gone.
    unsafe {
        for signal in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGABRT,
            libc::SIGILL,
            libc::SIGFPE,
            libc::SIGPIPE,
            libc::SIGALRM,
            libc::SIGTERM,
            libc::SIGINT,
        ] {
            libc::signal(signal, libc::SIG_DFL);
        }
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &none);
        libc::alarm(limit.as_secs().clamp(1, 600) as u32 + 1);
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        if null >= 0 {
            for stream in 0..3 {
                libc::dup2(null, stream);
            }
        }
    }
    let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_default();
    let mut rest = answer.as_slice();
    while !rest.is_empty() {
        // SAFETY: an open descriptor and a live slice.
        let n = unsafe { libc::write(to, rest.as_ptr().cast(), rest.len()) };
        if n <= 0 {
            break;
        }
        rest = rest.get(n as usize..).unwrap_or_default();
    }
    // SAFETY: ends the child without running what the host registered for its own end.
    unsafe { libc::_exit(0) }
}

/// Everything that the child writes; `None` when the time was up before it closed the pipe.
fn read(from: &OwnedFd, limit: Duration) -> Option<Vec<u8>> {
    let deadline = Instant::now() + limit;
    let mut file = std::fs::File::from(from.try_clone().ok()?);
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        let mut wait = libc::pollfd { fd: from.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor that is open.
        match unsafe { libc::poll(&mut wait, 1, left.min(i32::MAX as u128) as i32) } {
            0 => return None,
            -1 if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted => return None,
            -1 => continue,
            _ => {}
        }
        match file.read(&mut part) {
            Ok(0) => return Some(bytes),
            Ok(n) => bytes.extend(part.iter().take(n)),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_crashes_and_hangs_are_told_apart() {
        let long = Duration::from_secs(20);
        assert_eq!(run(long, || vec![7; 200_000]).unwrap().len(), 200_000);
        assert_eq!(run(long, || std::process::abort()), Err(Failure::Crashed(libc::SIGABRT)));
        assert_eq!(run(long, Vec::new), Err(Failure::Silent));
        let begin = Instant::now();
        let hung = run(Duration::from_millis(100), || {
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        assert_eq!(hung, Err(Failure::TimedOut));
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
}
