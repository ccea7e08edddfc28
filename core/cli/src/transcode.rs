//! `ghoststream transcode`.

use crate::args::TranscodeArgs;
use crate::exit::{Failure, Outcome};
use clap::ArgMatches;
use ghoststream::spec::PipelineSpec;
use std::io::Write;

/// Does what the arguments say.
pub fn run(args: &TranscodeArgs, matches: &ArgMatches) -> Outcome {
    let spec = args.document(matches)?;
    if args.run.print_spec {
        return print(&spec);
    }
    Err(Failure::from(ghoststream::Error::unsupported(
        "this build has no pipeline yet; --print-spec shows the job",
    )))
}

fn print(spec: &PipelineSpec) -> Outcome {
    let text = serde_json::to_string_pretty(spec).map_err(|e| Failure::usage(e.to_string()))?;
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
