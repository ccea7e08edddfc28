//! The `ghoststream` command as a library: [`run`] is the whole of it. It builds job documents from arguments, hands
//! them to the engine and prints what the engine says; it knows nothing about media.
#![forbid(unsafe_code)]

mod args;
mod bench;
mod control;
mod drive;
mod exit;
mod inspect;
mod live;
mod logging;
mod pages;
mod report;
mod screen;
mod serve;
mod signals;
mod transcode;
mod words;

use args::{Cli, Command};
use clap::{CommandFactory, FromArgMatches};
use exit::Outcome;
use std::ffi::OsString;
use std::io::Write;

/// Runs the command with `args` (the program's name first) and returns its exit code; `ghoststream --help` lists them.
///
/// Writes to the process's standard output and error. While a job runs, SIGINT and SIGTERM are handled by it (first:
/// finish, second: cancel, third: exit); a handler that was installed before is called too. Blocks until the command is
/// done; may be called more than once.
pub fn run(args: Vec<OsString>) -> i32 {
    let matches = match Cli::command().try_get_matches_from(serve::as_before(args)) {
        Ok(matches) => matches,
        Err(e) => return usage(&e),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(e) => return usage(&e),
    };
    match execute(&cli, &matches) {
        Ok(()) => 0,
        Err(failure) => {
            screen::bar("");
            if !failure.message.is_empty() {
                screen::line(&format!("ghoststream: error: {}", failure.message));
            }
            failure.code
        }
    }
}

fn execute(cli: &Cli, matches: &clap::ArgMatches) -> Outcome {
    // The server's log has settings of its own.
    match cli.command {
        Command::Serve(_) => {}
        Command::Worker if ghoststream_server::worker::is_verbose() => {
            logging::start(&cli.log, "ffmpeg=debug")?
        }
        _ => logging::start(&cli.log, "off")?,
    }
    // Clap has set it, or parsing had failed; an empty one only loses the order of filters.
    let empty = clap::ArgMatches::default();
    let matches = matches.subcommand().map_or(&empty, |(_, m)| m);
    let quiet = cli.log.quiet;
    match &cli.command {
        Command::Transcode(args) => transcode::transcode(args, matches, quiet),
        Command::Encode(args) => transcode::encode(args, matches, quiet),
        Command::Capture(args) => transcode::capture(args, quiet),
        Command::Record(args) => live::record(args, quiet),
        Command::Replay(args) => live::replay(args, quiet),
        Command::Stream(args) => live::stream(args, quiet),
        Command::Camera(args) => live::camera(args, quiet),
        Command::Ctl(args) => control::run(args),
        Command::Presets { json } => live::presets(*json),
        Command::Probe(args) => inspect::probe(args),
        Command::Devices { json } => inspect::devices(*json),
        Command::Bench(args) => bench::run(args),
        Command::Worker => match ghoststream_server::worker::run_child() {
            0 => Ok(()),
            code => Err(exit::Failure::silent(code)),
        },
        Command::Serve(args) => serve::run(args, &cli.log),
        Command::Config(args) => serve::config(args),
        Command::Schema => Ok(std::io::stdout().write_all(ghoststream::spec::schema().as_bytes())?),
        Command::Completions { shell } => pages::completions(*shell),
        Command::Man { directory } => pages::man(directory.as_deref()),
    }
}

/// Prints what clap has to say: help and version on standard output, a mistake on standard error.
fn usage(e: &clap::Error) -> i32 {
    if !e.use_stderr() {
        let text = e.render();
        let mut out = std::io::stdout();
        let written = if std::io::IsTerminal::is_terminal(&out) {
            write!(out, "{}", text.ansi())
        } else {
            write!(out, "{text}")
        };
        // Help into a closed pipe is not a failure.
        let _ = written;
        return 0;
    }
    screen::line(&format!("ghoststream: {}", e.render().to_string().trim_end()));
    exit::USAGE
}

/// The job document that the arguments of `ghoststream transcode` mean (the program's name first), for bindings whose
/// options are spelled as here. Opens no media. Options about running and printing have no effect.
///
/// # Errors
/// A message that names the argument.
pub fn document(args: Vec<OsString>) -> Result<ghoststream::spec::PipelineSpec, String> {
    let matches = Cli::command().try_get_matches_from(args).map_err(|e| {
        let text = e.render().to_string();
        // Without clap's hints about the usage on a command line.
        let first = text.split("\n\n").next().unwrap_or_default();
        first.trim().trim_start_matches("error: ").to_string()
    })?;
    let cli = Cli::from_arg_matches(&matches).map_err(|e| e.to_string())?;
    match (&cli.command, matches.subcommand()) {
        (Command::Transcode(args), Some((_, matches))) => args.document(matches).map_err(|f| f.message),
        _ => Err("only transcode has a job document".into()),
    }
}
