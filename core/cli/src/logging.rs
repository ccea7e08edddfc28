//! The log: the engine's on standard error without tearing the progress bar, and a server's as it is configured.

use crate::args::LogArgs;
use crate::exit::Failure;
use crate::screen;
use ghoststream_server::config::{LogFormat, LogLevel, LoggingConfig};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Starts logging. A process that already has a subscriber (a Python program that calls the command) keeps it. `quiet` is the
/// filter where nothing is asked for.
///
/// # Errors
/// A usage error for a filter that cannot be read.
pub fn start(args: &LogArgs, quiet: &str) -> Result<(), Failure> {
    let level = match (&args.log_level, args.verbose) {
        (_, 1) => "info",
        (_, 2) => "debug",
        (_, 3..) => "trace",
        (Some(level), _) if !level.is_empty() => level,
        // What a user must know arrives as the job's events and error; the log would say it twice.
        _ => quiet,
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

/// Changes how much is logged while a server runs.
pub struct Level(Option<Set>);

/// Makes the log as the settings say.
type Set = Box<dyn Fn(&LoggingConfig) + Send + Sync>;

impl Level {
    /// From now on this much; nothing where a filter was given on the command line.
    pub fn set(&self, config: &LoggingConfig) {
        if let Some(set) = &self.0 {
            set(config);
        }
    }
}

/// Starts a server's log: on standard error, in the file that is configured and for the built-in page. `filter` wins over
/// the level.
///
/// # Errors
/// A filter or a file that cannot be used.
pub fn start_server(config: &LoggingConfig, filter: Option<String>) -> Result<Level, Failure> {
    let text = filter.clone().unwrap_or_else(|| of(config));
    let parsed = EnvFilter::builder().parse(&text);
    let parsed = parsed.map_err(|e| Failure::usage(format!("--log-level: {text:?}: {e}")))?;
    let file = match &config.file {
        Some(path) => {
            let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
            let named = |e| Failure::usage(format!("logging.file: {}: {e}", path.display()));
            Some(Arc::new(Mutex::new(opened.map_err(named)?)))
        }
        None => None,
    };
    let writer = move || Everywhere { line: Vec::new(), file: file.clone() };
    let builder = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(writer).with_ansi(false);
    // The file and the page take no colours, so that nobody gets any.
    let set: Set = match config.format {
        LogFormat::Text => {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            let _set_already = tracing::subscriber::set_global_default(builder.finish());
            Box::new(move |config| drop(handle.reload(EnvFilter::new(of(config)))))
        }
        LogFormat::Json => {
            let builder = builder.event_format(Json).with_filter_reloading();
            let handle = builder.reload_handle();
            let _set_already = tracing::subscriber::set_global_default(builder.finish());
            Box::new(move |config| drop(handle.reload(EnvFilter::new(of(config)))))
        }
    };
    ghoststream::log::install();
    Ok(Level(filter.is_none().then_some(set)))
}

/// The libraries of the network only when something is wrong, unless everything is asked for.
fn of(config: &LoggingConfig) -> String {
    let mut text = level(config.level);
    // FFmpeg's failures are warnings here, its warnings are of interest to who looks for something.
    let media = config.media_level.map(|level| match level {
        0 => "off",
        1 => "warn",
        2 | 3 => "info",
        _ => "debug",
    });
    if let Some(media) = media {
        // Writing to a string does not fail; the last word for a target counts.
        let _ = write!(text, ",ffmpeg={media}");
    }
    text
}

fn level(level: LogLevel) -> String {
    match level {
        LogLevel::Debug => {
            "debug,hyper=info,h2=info,mdns_sd=info,rustls=info,ureq=info,tungstenite=info".into()
        }
        LogLevel::Info => "info,mdns_sd=warn,ureq=warn,ffmpeg=warn".into(),
        other => other.filter().into(),
    }
}

/// One event, written as a whole when it is done.
struct Everywhere {
    line: Vec<u8>,
    file: Option<Arc<Mutex<File>>>,
}

impl Write for Everywhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Everywhere {
    fn drop(&mut self) {
        if self.line.is_empty() {
            return;
        }
        // A log that cannot be written is no reason to end a server.
        let _ = screen::Line.write_all(&self.line);
        if let Some(file) = &self.file {
            let _ = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&self.line);
        }
        ghoststream_server::logs::keep(&String::from_utf8_lossy(&self.line));
    }
}

/// One JSON object a line: timestamp, level, target, message and the event's fields, `job` among them.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> std::fmt::Result {
        let mut fields = Fields(serde_json::Map::new());
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        fields.0.insert("timestamp".into(), time.into());
        fields.0.insert("level".into(), event.metadata().level().as_str().into());
        fields.0.insert("target".into(), event.metadata().target().into());
        event.record(&mut fields);
        writeln!(writer, "{}", serde_json::Value::Object(fields.0))
    }
}

struct Fields(serde_json::Map<String, serde_json::Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().into(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().into(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_media_libraries_say_is_set_apart() {
        let config = |media_level| LoggingConfig { media_level, ..LoggingConfig::default() };
        let shown = |media_level: Option<u8>| {
            let filter = EnvFilter::builder()
                .parse(of(&config(media_level)))
                .map(|f| f.to_string())
                .unwrap_or_default();
            let all: Vec<String> =
                filter.split(',').filter(|d| d.starts_with("ffmpeg=")).map(String::from).collect();
            all.join(",")
        };
        assert_eq!(shown(None), "ffmpeg=warn");
        assert_eq!(
            (shown(Some(0)), shown(Some(3)), shown(Some(9))),
            ("ffmpeg=off".into(), "ffmpeg=info".into(), "ffmpeg=debug".into())
        );
    }
}
