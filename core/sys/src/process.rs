//! What a worker process gives up, and how it is ended. Linux has all of it; elsewhere each call says that it did nothing.

use std::io;
use std::path::PathBuf;

/// How a process is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It may tidy up.
    Terminate,
    /// It cannot say no.
    Kill,
}

/// What a process may not use more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of one file that it writes; beyond it, writing fails (`SIGXFSZ` is ignored from then on).
    FileSize,
    /// Bytes of a memory dump after a crash.
    CoreSize,
    /// Open files.
    OpenFiles,
}

/// Which parts of the file system a process may still reach.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Files, and directories with everything below them, to read. What does not exist is left out.
    pub read: Vec<PathBuf>,
    /// Directories to make, change and remove files in (and to read).
    pub write: Vec<PathBuf>,
    /// Devices to read, write and control.
    pub devices: Vec<PathBuf>,
}

/// Sends `signal` to the process `pid`. The caller makes sure that it still means the same process: that is so for a child
/// that was not waited for.
///
/// # Errors
/// The system's, for a process that does not exist or is not ours; unsupported on other systems than Unix.
pub fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    imp::signal(pid, signal)
}

/// Has this process killed when the thread that started it ends. `false`: the system cannot.
///
/// # Errors
/// The system's.
pub fn die_with_parent() -> io::Result<bool> {
    imp::die_with_parent()
}

/// Keeps this process, and what it starts, from ever getting more privileges (`setuid` programs). `false`: the system
/// cannot.
///
/// # Errors
/// The system's.
pub fn no_new_privileges() -> io::Result<bool> {
    imp::no_new_privileges()
}

/// Gives up what the system's administrator may beyond others, for this thread and those that it starts from now on, but for
/// reading files of any owner: media belong to whom they belong. `false`: the system has no such rights to give up.
///
/// # Errors
/// The system's.
pub fn drop_capabilities() -> io::Result<bool> {
    imp::drop_capabilities()
}

/// Lowers a limit of this process for good. A limit that is lower already stays. `false`: the system cannot.
///
/// # Errors
/// The system's.
pub fn limit(limit: Limit, most: u64) -> io::Result<bool> {
    imp::limit(limit, most)
}

/// Raises the number of files (and connections) that this process may have open to what the system grants it, and gives that:
/// a shell's default of 1024 is made for programs of another age. `None`: the system cannot say.
///
/// # Errors
/// The system's.
pub fn open_files() -> io::Result<Option<u64>> {
    imp::open_files()
}

/// Takes the rest of the file system away from the calling thread and the threads that it starts from now on, for good
/// (Landlock; it needs [`no_new_privileges`] first). The network stays. `false`: the kernel cannot.
///
/// # Errors
/// The system's. A part of the rules may be in force then.
pub fn confine(reach: &Reach) -> io::Result<bool> {
    imp::confine(reach)
}

/// Takes calls of the kernel that no transcoder needs away from the calling thread and the threads that it starts from now
/// on, for good: starting programs, tracing other processes, mounts, namespaces, kernel modules, `bpf`, `io_uring`, keys and
/// clocks. They fail with a refusal (seccomp; it needs [`no_new_privileges`] first). `false`: the kernel cannot.
///
/// # Errors
/// The system's.
pub fn filter_calls() -> io::Result<bool> {
    imp::filter_calls()
}

#[cfg(target_os = "linux")]
mod imp {
    use super::{Limit, Reach, Signal};
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
    use std::fs::File;
    use std::io;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }

    pub fn signal(pid: u32, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(pid).ok().filter(|p| *p > 0);
        let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let number = match signal {
            Signal::Terminate => libc::SIGTERM,
            Signal::Kill => libc::SIGKILL,
        };
        // SAFETY: kill reads its two numbers only; a positive pid is one process, never a group.
        checked(unsafe { libc::kill(pid, number) }.into()).map(drop)
    }

    pub fn die_with_parent() -> io::Result<bool> {
        // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory of ours.
        checked(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) }.into())?;
        Ok(true)
    }

    pub fn no_new_privileges() -> io::Result<bool> {
        // SAFETY: PR_SET_NO_NEW_PRIVS takes 1 and three zeros and touches no memory of ours.
        checked(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into())?;
        Ok(true)
    }

    pub fn drop_capabilities() -> io::Result<bool> {
        /// As capset(2) has them; libc has no names for these.
        #[repr(C)]
        struct Header {
            version: u32,
            pid: i32,
        }
        #[repr(C)]
        #[derive(Clone, Copy, Default)]
        struct Data {
            effective: u32,
            permitted: u32,
            inheritable: u32,
        }
        const VERSION_3: u32 = 0x2008_0522;
        const DAC_READ_SEARCH: u32 = 1 << 2;
        let mut header = Header { version: VERSION_3, pid: 0 };
        let mut data = [Data::default(); 2];
        // SAFETY: both point to structures of version 3, which has two words of data; the kernel writes no more.
        checked(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
        for (word, kept) in data.iter_mut().zip([DAC_READ_SEARCH, 0]) {
            let left = word.permitted & kept;
            *word = Data { effective: left, permitted: left, inheritable: 0 };
        }
        // SAFETY: PR_CAP_AMBIENT_CLEAR_ALL takes zeros and touches no memory of ours.
        let cleared = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
        checked(cleared.into())?;
        // SAFETY: as above; the kernel only reads.
        checked(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })?;
        Ok(true)
    }

    pub fn limit(limit: Limit, most: u64) -> io::Result<bool> {
        let resource = match limit {
            Limit::FileSize => libc::RLIMIT_FSIZE,
            Limit::CoreSize => libc::RLIMIT_CORE,
            Limit::OpenFiles => libc::RLIMIT_NOFILE,
        };
        if limit == Limit::FileSize {
            // SAFETY: SIG_IGN installs no code of ours; a write beyond the limit then fails with EFBIG.
            unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        }
        let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `now` is a valid rlimit to write to.
        checked(unsafe { libc::getrlimit(resource, &mut now) }.into())?;
        let lower = libc::rlimit { rlim_cur: most.min(now.rlim_cur), rlim_max: most.min(now.rlim_max) };
        // SAFETY: `lower` is a valid rlimit that is only read.
        checked(unsafe { libc::setrlimit(resource, &lower) }.into())?;
        Ok(true)
    }

    pub fn open_files() -> io::Result<Option<u64>> {
        let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `now` is a valid rlimit to write to.
        checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut now) }.into())?;
        let all = libc::rlimit { rlim_cur: now.rlim_max, ..now };
        // SAFETY: `all` is a valid rlimit that is only read.
        checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &all) }.into())?;
        Ok(Some(now.rlim_max))
    }

    /// What a worker has no business with.
    const REFUSED: &[libc::c_long] = &[
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        libc::SYS_kcmp,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_fsopen,
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
        libc::SYS_fspick,
        libc::SYS_mount_setattr,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_open_by_handle_at,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_acct,
        libc::SYS_quotactl,
        libc::SYS_syslog,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_keyctl,
        libc::SYS_clock_settime,
        libc::SYS_settimeofday,
        libc::SYS_adjtimex,
        libc::SYS_clock_adjtime,
        libc::SYS_sethostname,
        libc::SYS_setdomainname,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_iopl,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_ioperm,
    ];

    pub fn filter_calls() -> io::Result<bool> {
        // SAFETY: PR_GET_SECCOMP takes no arguments; it fails on a kernel that was built without seccomp.
        if unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) } < 0 {
            return Ok(false);
        }
        let Ok(machine) = std::env::consts::ARCH.try_into() else { return Ok(false) };
        let refused = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
        let refusal = SeccompAction::Errno(libc::EPERM as u32);
        let program: BpfProgram = SeccompFilter::new(refused, SeccompAction::Allow, refusal, machine)
            .and_then(TryInto::try_into)
            .map_err(io::Error::other)?;
        match apply_filter(&program) {
            Ok(()) => Ok(true),
            // Seccomp without filters.
            Err(seccompiler::Error::Prctl(e) | seccompiler::Error::Seccomp(e))
                if e.raw_os_error() == Some(libc::EINVAL) =>
            {
                Ok(false)
            }
            Err(e) => Err(io::Error::other(e)),
        }
    }

    // Landlock's userspace interface (linux/landlock.h); libc has only the numbers of its calls.
    #[repr(C)]
    struct RulesetAttr {
        handled_access_fs: u64,
    }

    #[repr(C, packed)]
    struct PathBeneathAttr {
        allowed_access: u64,
        parent_fd: i32,
    }

    const CREATE_RULESET_VERSION: u32 = 1;
    const RULE_PATH_BENEATH: libc::c_int = 1;
    const EXECUTE: u64 = 1;
    const WRITE_FILE: u64 = 1 << 1;
    const READ_FILE: u64 = 1 << 2;
    const READ_DIR: u64 = 1 << 3;
    /// Removing and making of every kind of entry.
    const CHANGE_DIR: u64 = ((1 << 13) - 1) & !(EXECUTE | WRITE_FILE | READ_FILE | READ_DIR);
    const REFER: u64 = 1 << 13;
    const TRUNCATE: u64 = 1 << 14;
    const IOCTL_DEV: u64 = 1 << 15;
    /// What makes sense for a file.
    const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

    /// What a kernel of Landlock version `version` can take away.
    fn handled(version: libc::c_long) -> u64 {
        let mut all = EXECUTE | WRITE_FILE | READ_FILE | READ_DIR | CHANGE_DIR;
        for (since, access) in [(2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)] {
            if version >= since {
                all |= access;
            }
        }
        all
    }

    pub fn confine(reach: &Reach) -> io::Result<bool> {
        let null = std::ptr::null::<RulesetAttr>();
        // SAFETY: with this flag the call reads no memory and answers the version, or an error without Landlock.
        let version = unsafe {
            libc::syscall(libc::SYS_landlock_create_ruleset, null, 0_usize, CREATE_RULESET_VERSION)
        };
        if version < 1 {
            return Ok(false);
        }
        let all = handled(version);
        let attr = RulesetAttr { handled_access_fs: all };
        let size = size_of::<RulesetAttr>();
        // SAFETY: `attr` is a valid landlock_ruleset_attr of `size` bytes (its first version) that is only read.
        let fd = checked(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &attr, size, 0_u32) })?;
        // SAFETY: the call gave a new descriptor that nobody else has.
        let ruleset = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let read = EXECUTE | READ_FILE | READ_DIR;
        for path in &reach.read {
            allow(&ruleset, path, read & all)?;
        }
        for path in &reach.write {
            allow(&ruleset, path, (read | WRITE_FILE | CHANGE_DIR | REFER | TRUNCATE) & all)?;
        }
        for path in &reach.devices {
            allow(&ruleset, path, (READ_FILE | READ_DIR | WRITE_FILE | IOCTL_DEV) & all)?;
        }
        // SAFETY: the call takes a descriptor and a number.
        checked(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) })?;
        Ok(true)
    }

    fn allow(ruleset: &OwnedFd, path: &Path, access: u64) -> io::Result<()> {
        let file: File = match std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
            .open(path)
        {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        let access = if file.metadata()?.is_dir() { access } else { access & OF_FILES };
        let attr = PathBeneathAttr { allowed_access: access, parent_fd: file.as_raw_fd() };
        // SAFETY: `attr` is a valid landlock_path_beneath_attr that is only read; its descriptor lives in `file`.
        checked(unsafe {
            libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), RULE_PATH_BENEATH, &attr, 0_u32)
        })
        .map(drop)
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use super::{Limit, Reach, Signal};
    use std::io;

    pub fn signal(_: u32, _: Signal) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    pub fn die_with_parent() -> io::Result<bool> {
        Ok(false)
    }

    pub fn no_new_privileges() -> io::Result<bool> {
        Ok(false)
    }

    pub fn drop_capabilities() -> io::Result<bool> {
        Ok(false)
    }

    pub fn limit(_: Limit, _: u64) -> io::Result<bool> {
        Ok(false)
    }

    pub fn open_files() -> io::Result<Option<u64>> {
        Ok(None)
    }

    pub fn confine(_: &Reach) -> io::Result<bool> {
        Ok(false)
    }

    pub fn filter_calls() -> io::Result<bool> {
        Ok(false)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_confined_thread_reaches_only_what_it_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let (mine, other) = (dir.path().join("mine"), dir.path().join("other"));
        std::fs::create_dir(&mine).unwrap();
        std::fs::write(&other, b"x").unwrap();
        // A thread of its own: the confinement is for good.
        let confined = std::thread::spawn({
            let (mine, other) = (mine.clone(), other.clone());
            move || {
                no_new_privileges().unwrap();
                let reach = Reach { write: vec![mine.clone()], ..Reach::default() };
                let confined = confine(&reach).unwrap();
                std::fs::write(mine.join("a"), b"a").unwrap();
                std::fs::rename(mine.join("a"), mine.join("b")).unwrap();
                confined.then(|| std::fs::read(&other).map_err(|e| e.kind()))
            }
        });
        match confined.join().unwrap() {
            Some(read) => assert_eq!(read, Err(io::ErrorKind::PermissionDenied)),
            None => eprintln!("skipped: this kernel has no Landlock"),
        }
        assert!(std::fs::read(&other).is_ok() && mine.join("b").exists());
    }

    #[test]
    fn a_filtered_thread_starts_no_programs_and_works_on() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let path = file.clone();
        // A thread of its own: the filter is for good.
        let filtered = std::thread::spawn(move || {
            no_new_privileges().unwrap();
            let filtered = filter_calls().unwrap();
            // What transcoders do: files, threads, names.
            std::thread::spawn(move || std::fs::write(path, b"x").unwrap()).join().unwrap();
            let listener = std::net::TcpListener::bind("localhost:0").unwrap();
            std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            filtered.then(|| std::process::Command::new("true").spawn().map(drop).map_err(|e| e.kind()))
        });
        match filtered.join().unwrap() {
            Some(started) => assert_eq!(started, Err(io::ErrorKind::PermissionDenied)),
            None => eprintln!("skipped: this kernel has no seccomp"),
        }
        assert_eq!(std::fs::read(file).unwrap(), b"x");
        assert!(std::process::Command::new("true").status().unwrap().success(), "this thread may");
    }

    #[test]
    fn an_administrators_thread_keeps_nothing_but_reading() {
        let sets = || -> Vec<u64> {
            let text = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let value = |name: &str| {
                let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap();
                u64::from_str_radix(line.trim(), 16).unwrap()
            };
            vec![value("CapPrm:"), value("CapEff:"), value("CapInh:"), value("CapAmb:")]
        };
        let before = sets();
        let after = std::thread::spawn(move || {
            drop_capabilities().unwrap();
            std::thread::spawn(sets).join().unwrap()
        });
        assert_eq!(after.join().unwrap(), [before[0] & 4, before[0] & 4, 0, 0]);
        assert_eq!(sets(), before, "this thread keeps its own");
    }

    #[test]
    fn a_child_can_be_ended() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        signal(child.id(), Signal::Terminate).unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(signal(0, Signal::Kill).is_err());
    }
}
