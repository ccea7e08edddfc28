//! What can be typed, and the document that it means. Nothing here touches media.

pub mod audio;
pub mod names;
pub mod output;
pub mod source;
pub mod values;
pub mod video;

use crate::exit::{self, Failure};
use audio::{AudioArgs, SubtitleArgs};
use clap::{ArgMatches, Args, Parser, Subcommand};
use ghoststream::spec::PipelineSpec;
use output::{JobArgs, OutputArgs};
use source::{OpenArgs, TakeArgs};
use std::path::PathBuf;
use video::{PictureArgs, VideoArgs};

/// Decode, filter, encode and package video, on the GPU where there is one.
#[derive(Parser, Debug)]
#[command(name = "ghoststream", version, propagate_version = true, after_long_help = exit::help(), max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub log: LogArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// What is said on standard error.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Messages")]
pub struct LogArgs {
    /// No progress and no summary; warnings and errors stay
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log what the engine does (-vv and -vvv for more)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// error, warn, info, debug, trace, or a filter such as 'ghoststream=debug' [default: error]
    #[arg(long, global = true, env = "GS_LOG", value_name = "LEVEL", hide_env_values = true)]
    pub log_level: Option<String>,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Turn any source into files, streams or an adaptive ladder
    #[command(
        after_long_help = exit::help(),
        override_usage = "ghoststream transcode [OPTIONS] <IN> <OUT>...\n       ghoststream transcode [OPTIONS] --spec <FILE>"
    )]
    Transcode(Box<TranscodeArgs>),
    /// Print the JSON Schema of the job document (`transcode --spec`)
    Schema,
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for every command into a directory
    Man {
        /// Where to write the pages
        directory: Option<PathBuf>,
    },
}

/// `transcode`.
#[derive(Args, Clone, Debug, Default)]
pub struct TranscodeArgs {
    /// A file or URL, '-' for standard input, or pattern:smpte or pattern:gradient
    /// (?width=…&height=…&fps=…&frames=…&tone&burn_in)
    #[arg(value_name = "IN", required_unless_present = "spec")]
    pub input: Option<String>,
    /// Files, directories (hls, dash) or URLs to write; all are made from one decode
    #[arg(value_name = "OUT", required_unless_present = "spec")]
    pub outputs: Vec<String>,
    /// Run this job document instead of IN, OUT and the options about them; '-' for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "input", "outputs", "OpenArgs", "TakeArgs", "VideoArgs", "PictureArgs", "AudioArgs", "SubtitleArgs",
        "OutputArgs", "JobArgs",
    ])]
    pub spec: Option<String>,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub take: TakeArgs,
    #[command(flatten)]
    pub open: OpenArgs,
    #[command(flatten)]
    pub video: VideoArgs,
    #[command(flatten)]
    pub picture: PictureArgs,
    #[command(flatten)]
    pub audio: AudioArgs,
    #[command(flatten)]
    pub subtitles: SubtitleArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub job: JobArgs,
}

/// What is done with the document.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Running")]
pub struct RunArgs {
    /// Print the job document and end
    #[arg(long)]
    pub print_spec: bool,
}

impl TranscodeArgs {
    /// The document that the arguments mean, checked. `matches` is where they were parsed from.
    ///
    /// # Errors
    /// A usage error that names the argument, or the file and field of `--spec`.
    pub fn document(&self, matches: &ArgMatches) -> Result<PipelineSpec, Failure> {
        if let Some(file) = &self.spec {
            let text = read_document(file)?;
            return PipelineSpec::from_json(&text).map_err(|e| e.context(shown(file)).into());
        }
        let mut source = self.open.source(self.input.as_deref().unwrap_or_default())?;
        self.take.apply(&mut source)?;
        let several = self.outputs.len() > 1;
        let mut outputs = Vec::new();
        for path in &self.outputs {
            let mut output = self.output.output(path, several)?;
            output.video = video::choice(&self.video, &self.picture, matches)?;
            output.audio = self.audio.choice()?;
            output.subtitles = self.subtitles.choice()?;
            outputs.push(output);
        }
        self.output.check_used(&outputs)?;
        let mut spec = PipelineSpec::new(source, outputs);
        self.job.apply(&mut spec);
        spec.check().map_err(named)?;
        Ok(spec)
    }
}

/// An engine error about a document that was made from arguments: it names the argument instead of the field.
pub fn named(e: ghoststream::Error) -> Failure {
    let failure = Failure::from(e);
    Failure { message: names::in_message(&failure.message), ..failure }
}

fn read_document(file: &str) -> Result<String, Failure> {
    let text =
        if file == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    text.map_err(|e| {
        // Not text: the document is at fault, not the disk.
        let invalid = e.kind() == std::io::ErrorKind::InvalidData;
        let failure = Failure::from(ghoststream::Error::from(e).context(shown(file)).context("--spec"));
        if invalid { Failure::usage(failure.message) } else { failure }
    })
}

fn shown(file: &str) -> &str {
    if file == "-" { "standard input" } else { file }
}

/// The fields of `a` that differ from those of `b`, by their names in the document.
fn differences<T: serde::Serialize>(a: &T, b: &T) -> Vec<String> {
    let fields = |t: &T| match serde_json::to_value(t) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (a, b) = (fields(a), fields(b));
    a.iter().filter(|(name, value)| b.get(*name) != Some(value)).map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests;
