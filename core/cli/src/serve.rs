//! `serve` and `config`: settings, log and signals around the server.

use crate::args::LogArgs;
use crate::args::serve::{ConfigArgs, ServeArgs};
use crate::exit::{Failure, Outcome};
use crate::logging;
use ghoststream_server::Blocking;
use ghoststream_server::config::{Config, LogLevel, Overrides, default_yaml, load, unused_variables};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Flags of the original server, which had no subcommands.
const ITS_FLAGS: [&str; 8] =
    ["-c", "--config", "--host", "--port", "--no-mdns", "--detect-hw", "--server-only", "--log-format"];

/// The original was started as `ghoststream --port 9000`: its flags first mean `serve`.
pub fn as_before(mut args: Vec<OsString>) -> Vec<OsString> {
    let flag = |arg: &OsString| {
        let text = arg.to_str().unwrap_or_default();
        ITS_FLAGS.contains(&text.split('=').next().unwrap_or_default())
    };
    let at = match args.get(1).map(OsString::as_os_str) {
        Some(first) if first == OsStr::new("--log-level") => 3,
        _ => 1,
    };
    // `-v` alone asked for the version; it talks more where something is to be done.
    if let [_, only] = args.as_mut_slice()
        && only == "-v"
    {
        *only = "--version".into();
    }
    if args.get(at).is_some_and(flag) || (at == 3 && args.len() == 3) {
        args.insert(1, "serve".into());
    }
    args
}

/// `serve`: until SIGINT or SIGTERM; SIGHUP reads the settings again.
pub fn run(args: &ServeArgs, log: &LogArgs) -> Outcome {
    if args.detect_hw {
        return crate::inspect::devices(false);
    }
    let (config, file) = settings(args, log)?;
    let reload_level = logging::start_server(&config.logging, filter(log))?;
    // Handlers first: a signal during the start counts.
    let flag = |signals: &[i32]| -> Result<Arc<AtomicBool>, Failure> {
        let raised = Arc::new(AtomicBool::new(false));
        for signal in signals {
            signal_hook::flag::register(*signal, Arc::clone(&raised))?;
        }
        Ok(raised)
    };
    let (end, again) = (flag(&[SIGINT, SIGTERM])?, flag(&RELOAD)?);
    match &file {
        Some(file) => tracing::info!("settings of {}", file.display()),
        None => tracing::info!("no settings file: the defaults"),
    }
    for (name, why) in unused_variables(&args.profile) {
        tracing::warn!("the variable {name} is not used: {why}");
    }
    connections(config.server.max_connections);
    let server = Blocking::start(config)?;
    while !end.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(50));
        if again.swap(false, Ordering::SeqCst) {
            match settings(args, log) {
                Ok((config, _)) => reload(&server, config, &reload_level),
                Err(failure) => tracing::error!("the old settings stay: {}", failure.message),
            }
        }
    }
    tracing::info!("shutting down");
    server.end();
    Ok(())
}

/// Makes room for as many connections as the settings allow, or says that there is none.
fn connections(most: usize) {
    match ghoststream::process::open_files() {
        Ok(Some(files)) if files < most as u64 => {
            tracing::warn!("the system grants {files} open files; server.max_connections is {most}");
        }
        Ok(_) => {}
        Err(e) => tracing::warn!("how many files may be open is unknown: {e}"),
    }
}

#[cfg(unix)]
const RELOAD: [i32; 1] = [signal_hook::consts::SIGHUP];
#[cfg(not(unix))]
const RELOAD: [i32; 0] = [];

fn reload(server: &Blocking, config: Config, level: &logging::Level) {
    let logging = config.logging.clone();
    match server.reload(config) {
        Ok(stuck) => {
            level.set(&logging);
            match stuck.is_empty() {
                true => tracing::info!("settings read again"),
                false => tracing::warn!("settings read again; a restart is needed for {}", stuck.join(", ")),
            }
        }
        Err(e) => tracing::error!("the old settings stay: {}", e.message()),
    }
}

/// A filter of the log that is more than a level.
fn filter(log: &LogArgs) -> Option<String> {
    let text = log.log_level.as_deref().filter(|t| !t.is_empty())?;
    text.parse::<LogLevel>().is_err().then(|| text.to_string())
}

fn settings(args: &ServeArgs, log: &LogArgs) -> Result<(Config, Option<PathBuf>), Failure> {
    let format = args.log_format.as_deref().map(str::parse).transpose();
    let level = match (log.verbose, log.quiet) {
        (1.., _) => Some(LogLevel::Debug),
        (0, true) => Some(LogLevel::Warning),
        (0, false) => log.log_level.as_deref().and_then(|text| text.parse().ok()),
    };
    let flags = Overrides {
        host: args.host.clone(),
        port: args.port,
        log_level: level,
        log_format: format.map_err(|e| Failure::usage(format!("--log-format: {e}")))?,
        no_mdns: args.no_mdns,
        live: args.live,
        kafka: args.kafka_servers.clone(),
        no_kafka: args.no_kafka,
        profiles: args.profile.clone(),
        metrics_port: args.metrics_port,
        recordings: args.recording_path.clone(),
        enable_recording: args.enable_recording,
        api_port: args.api_port,
        test_pipeline: args.test_pipeline,
        media_level: args.gst_debug_level,
    };
    load(args.config.as_deref(), &flags).map_err(|e| Failure::usage(e.to_string()))
}

/// `config`.
pub fn config(args: &ConfigArgs) -> Outcome {
    let mut out = std::io::stdout();
    if args.print_default {
        return Ok(out.write_all(default_yaml().as_bytes())?);
    }
    if args.print_openapi {
        return Ok(out.write_all(ghoststream_server::openapi().as_bytes())?);
    }
    if args.print_kafka_schema {
        return Ok(out.write_all(ghoststream_server::kafka::message::schema().as_bytes())?);
    }
    let (_, file) =
        load(args.config.as_deref(), &Overrides::default()).map_err(|e| Failure::usage(e.to_string()))?;
    let said = match file {
        Some(file) => format!("{}: good", file.display()),
        None => "there is no settings file; the defaults are good".into(),
    };
    Ok(writeln!(out, "{said}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_s_flags_mean_serve() {
        let serves = |text: &str| {
            let args = text.split(' ').map(OsString::from).collect();
            as_before(args).get(1).is_some_and(|a| a == "serve")
        };
        for text in [
            "ghoststream --port 9000",
            "ghoststream -c x.yaml",
            "ghoststream --host=::",
            "g --log-level DEBUG --no-mdns",
            "g --log-level DEBUG",
        ] {
            assert!(serves(text), "{text}");
        }
        for text in
            ["ghoststream", "ghoststream --version", "ghoststream probe -c x", "g --log-level debug probe x"]
        {
            assert!(!serves(text), "{text}");
        }
    }
}
