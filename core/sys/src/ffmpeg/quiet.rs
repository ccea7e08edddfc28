//! Encoders that talk to the terminal past FFmpeg's log.

/// Asks SVT-AV1, which prints its version and settings to standard error whatever FFmpeg's log level is, for warnings
/// and errors only: it reads the environment variable `SVT_LOG` at every opening. One that is set already stays.
///
/// Changing the environment is sound only while no other thread can read it, so nothing is done unless this is the
/// process's one thread (and Linux, where that can be told). Returns whether `SVT_LOG` is set now.
pub fn quiet_encoders() -> bool {
    if std::env::var_os("SVT_LOG").is_some() {
        return true;
    }
    let alone = std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1);
    if alone {
        // SAFETY: the process has no thread but this one, so nothing reads the environment meanwhile.
        unsafe { std::env::set_var("SVT_LOG", "2") }
    }
    alone
}
