//! FFmpeg's log lines as `tracing` events: target `ffmpeg`, with the component and the id of the job they belong to.

use ghoststream_sys::ffmpeg::{LogLevel, set_log_callback};
use std::sync::Once;

static INSTALL: Once = Once::new();

/// Sends FFmpeg's log to `tracing`. Every entry into the engine calls it; it acts once in a process.
pub(crate) fn install() {
    INSTALL.call_once(|| {
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
