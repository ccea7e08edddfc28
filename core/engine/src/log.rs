//! FFmpeg's log lines as `tracing` events: target `ffmpeg`, with the component and the id of the job they belong to.

use ghoststream_sys::ffmpeg::{LogLevel, quiet_encoders, set_log_callback};
use std::sync::Once;

static INSTALL: Once = Once::new();

/// Sends FFmpeg's log to `tracing`. Every entrance of the engine calls it; it acts once in a process. Any thread.
///
/// SVT-AV1 writes to standard error by itself. It is asked for warnings and errors only, which works while the process
/// has one thread: a program that cares calls this first, or sets the environment variable `SVT_LOG` (2 = warnings,
/// 1 = errors) before it starts.
pub fn install() {
    INSTALL.call_once(|| {
        if !quiet_encoders() {
            tracing::debug!(
                "SVT-AV1 will write to standard error: SVT_LOG is not set and there are other threads"
            );
        }
        set_log_callback(LogLevel::Info, |line| {
            let (component, message) = (line.component.as_str(), line.message.trim_end());
            let job = line.scope.unwrap_or(0);
            if message.is_empty() {
                return;
            }
            // FFmpeg's words to a person at a terminal are detail here: what matters becomes an event of the job.
            match line.level {
                LogLevel::Panic | LogLevel::Fatal | LogLevel::Error => {
                    tracing::warn!(target: "ffmpeg", job, component, "{message}");
                }
                LogLevel::Warning => tracing::info!(target: "ffmpeg", job, component, "{message}"),
                _ => tracing::debug!(target: "ffmpeg", job, component, "{message}"),
            }
        });
    });
}
