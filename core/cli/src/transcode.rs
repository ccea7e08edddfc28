//! The commands that run a job document: `transcode`, `encode` and `capture`.

use crate::args::{CaptureArgs, EncodeArgs, RunArgs, TranscodeArgs};
use crate::exit::{Failure, Outcome};
use crate::report::{self, Reporter};
use crate::{args, drive};
use clap::ArgMatches;
use ghoststream::Pipeline;
use ghoststream::probe::{ProbeOptions, probe};
use ghoststream::spec::{FrameRate, PipelineSpec, STANDARD_OUTPUT, SourceSpec};
use std::io::{IsTerminal, Write};

/// `transcode`.
pub fn transcode(args: &TranscodeArgs, matches: &ArgMatches, quiet: bool) -> Outcome {
    let spec = args.document(matches)?;
    let from_args = args.spec.is_none();
    if !from_args && args.spec.as_deref() == Some("-") && spec.source.bytes.is_some() {
        return Err(Failure::usage(
            "source.bytes: is read from standard input, where the document came from",
        ));
    }
    go(spec, from_args, &args.run, quiet)
}

/// `encode`.
pub fn encode(args: &EncodeArgs, matches: &ArgMatches, quiet: bool) -> Outcome {
    go(args.document(matches)?, true, &args.run, quiet)
}

/// `capture`.
pub fn capture(args: &CaptureArgs, quiet: bool) -> Outcome {
    go(args.document(frame_rate)?, true, &args.run, quiet)
}

/// The frame rate of a source's video.
fn frame_rate(source: &SourceSpec) -> Result<FrameRate, Failure> {
    let found = probe(source, &ProbeOptions::default())?;
    let rate = found.video().and_then(|s| s.video.as_ref()).and_then(|v| v.frame_rate);
    rate.filter(|r| r.is_positive()).map(FrameRate).ok_or_else(|| {
        Failure::usage(format!(
            "--frames: {} does not tell its frame rate; say it with --fps",
            source.label()
        ))
    })
}

fn go(spec: PipelineSpec, from_args: bool, run: &RunArgs, quiet: bool) -> Outcome {
    if run.print_spec || run.plan {
        return show(spec, from_args, run);
    }
    if spec.source.bytes.is_some() && std::io::stdin().is_terminal() {
        return Err(Failure::usage("IN: standard input is a terminal; pipe a file into it"));
    }
    if spec.outputs.iter().any(|o| o.path.as_deref() == Some(STANDARD_OUTPUT)) {
        if run.events.is_some() {
            return Err(Failure::usage("--events: are printed on standard output, which is OUT"));
        }
        if std::io::stdout().is_terminal() {
            return Err(Failure::usage("OUT: standard output is a terminal; pipe it into a program"));
        }
    }
    let mut reporter = Reporter::new(run, quiet);
    drive::run(spec, from_args, &mut reporter).map(drop)
}

/// Prints the document, or what would be done.
pub fn show(spec: PipelineSpec, from_args: bool, run: &RunArgs) -> Outcome {
    let text = if run.print_spec {
        json(&spec)?
    } else {
        let fail = |e| if from_args { args::named(e) } else { e.into() };
        let plan = Pipeline::from_spec(spec).and_then(|p| p.plan()).map_err(fail)?;
        if run.json { json(&plan)? } else { report::plan(&plan) }
    };
    Ok(writeln!(std::io::stdout(), "{}", text.trim_end())?)
}

/// Pretty JSON.
pub fn json<T: serde::Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|e| Failure { code: 1, message: e.to_string() })
}
