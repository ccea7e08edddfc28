//! The engine's log on standard error, without tearing the progress bar.

use crate::args::LogArgs;
use crate::exit::Failure;
use crate::screen;
use tracing_subscriber::EnvFilter;

/// Starts logging. A process that already has a subscriber (a Python program that calls the command) keeps it.
///
/// # Errors
/// A usage error for a filter that cannot be read.
pub fn start(args: &LogArgs) -> Result<(), Failure> {
    let level = match (&args.log_level, args.verbose) {
        (_, 1) => "info",
        (_, 2) => "debug",
        (_, 3..) => "trace",
        (Some(level), _) if !level.is_empty() => level,
        // What a user must know arrives as the job's events and error; the log would say it twice.
        _ => "off",
    };
    let filter = EnvFilter::builder()
        .parse(level)
        .map_err(|e| Failure::usage(format!("--log-level: {level:?}: {e}")))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| screen::Line)
        .with_ansi(screen::is_terminal())
        .finish();
    // Failing means that one is set already, which is what was wanted.
    let _ = tracing::subscriber::set_global_default(subscriber);
    // Before there are threads: it silences an encoder by the environment.
    ghoststream::log::install();
    Ok(())
}
