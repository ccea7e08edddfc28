//! What can be typed, and the document that it means. Nothing here touches media.

pub mod audio;
pub mod live;
pub mod names;
pub mod output;
mod push;
pub mod serve;
pub mod source;
pub mod values;
pub mod video;

use crate::exit::{self, Failure};
use audio::{AudioArgs, SubtitleArgs};
use clap::{ArgMatches, Args, Parser, Subcommand};
use ghoststream::packet::Codec;
use ghoststream::spec::{
    AudioChoice, Bitrate, Container, FrameRate, OutputSpec, PacketsSpec, PatternKind, PatternSpec,
    PipelineSpec, Preset, Seconds, SourceSpec, SubtitleChoice, VideoChoice, VideoSpec,
};
use output::{JobArgs, OutputArgs};
use serve::{ConfigArgs, ServeArgs};
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
    /// off, error, warn, info, debug, trace, or a filter such as 'ffmpeg=debug' [default: off]
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
    /// Encode raw frames (a Y4M file, or bare pixels with --input-size) with one encoder
    #[command(after_long_help = exit::help())]
    Encode(Box<EncodeArgs>),
    /// Write the decoded frames of any source to a Y4M or raw file
    #[command(after_long_help = exit::help())]
    Capture(Box<CaptureArgs>),
    /// Record a screen, or anything that happens now, to files that survive a crash
    #[command(after_long_help = SIGNALS)]
    Record(Box<live::RecordArgs>),
    /// Keep the last seconds of a screen, and save them when asked to
    #[command(after_long_help = SIGNALS)]
    Replay(Box<live::ReplayArgs>),
    /// Stream a screen, or anything that happens now, to a server
    #[command(after_long_help = SIGNALS)]
    Stream(Box<live::StreamArgs>),
    /// Show a screen, or anything that happens now, on a camera that other programs can open
    #[command(after_long_help = SIGNALS)]
    Camera(Box<live::CameraArgs>),
    /// Tell a running record, replay, stream or camera what to do
    Ctl(live::CtlArgs),
    /// Show the settings that --preset names
    Presets {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a file or URL contains
    Probe(ProbeArgs),
    /// Show the devices, encoders and formats that work on this machine
    Devices {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure how fast each encoder is on this machine
    Bench(BenchArgs),
    /// Run documents for a server, which talks to it on standard input and output
    #[command(hide = true)]
    Worker,
    /// Run the transcoding server
    Serve(ServeArgs),
    /// Check the server's settings, or print the defaults
    Config(ConfigArgs),
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

/// What a running recording understands.
const SIGNALS: &str = "\
Signals:
  SIGINT, SIGTERM, SIGHUP  finish the files and end (again: end now)
  SIGUSR1                  save the replay
  SIGUSR2                  pause, or go on

The paths of files are printed on standard output when they are complete. `ghoststream ctl` does the same and more, by a
socket in $XDG_RUNTIME_DIR/ghoststream.";

/// `transcode`.
#[derive(Args, Clone, Debug, Default)]
pub struct TranscodeArgs {
    /// A file or URL, '-' for standard input, or pattern:smpte or pattern:gradient
    /// (?width=…&height=…&fps=…&frames=…&tone&burn_in)
    #[arg(value_name = "IN", required_unless_present = "spec")]
    pub input: Option<String>,
    /// Files, directories (hls, dash) or URLs to write, '-' for standard output; all are made from one decode
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

/// What is done with the document, and how it is told.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Running")]
pub struct RunArgs {
    /// Print what would be done and why, and end
    #[arg(long, visible_alias = "dry-run")]
    pub plan: bool,
    /// The plan as JSON
    #[arg(long, requires = "plan")]
    pub json: bool,
    /// Print the job document and end
    #[arg(long, conflicts_with = "plan")]
    pub print_spec: bool,
    /// Print every event as one line of JSON on standard output, and nothing else there
    #[arg(long, value_name = "FORMAT", conflicts_with_all = ["plan", "print_spec"])]
    pub events: Option<EventFormat>,
}

/// How events are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EventFormat {
    /// One object a line
    Json,
}

/// `encode`.
#[derive(Args, Clone, Debug, Default)]
pub struct EncodeArgs {
    /// A Y4M file, or bare pixels with --input-size
    #[arg(value_name = "IN")]
    pub input: String,
    /// The file to write
    #[arg(value_name = "OUT")]
    pub output: String,
    /// Size of bare pixels
    #[arg(long, value_name = "WxH", value_parser = values::size)]
    pub input_size: Option<(u32, u32)>,
    /// Pixel format of bare pixels [default: yuv420p]
    #[arg(long, value_name = "NAME", requires = "input_size")]
    pub input_pixel_format: Option<String>,
    /// Frame rate of bare pixels [default: 30]
    #[arg(long, value_name = "RATE", requires = "input_size")]
    pub input_fps: Option<FrameRate>,
    /// Replace what already exists
    #[arg(short = 'y', long)]
    pub overwrite: bool,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub video: VideoArgs,
    #[command(flatten)]
    pub picture: PictureArgs,
    #[command(flatten)]
    pub job: JobArgs,
}

/// `capture`.
#[derive(Args, Clone, Debug, Default)]
pub struct CaptureArgs {
    /// A file or URL, or pattern:smpte or pattern:gradient (?width=…&height=…&fps=…&frames=…&burn_in)
    #[arg(value_name = "SRC")]
    pub input: String,
    /// The file to write: .y4m, .yuv or .rgb for bare pixels, or .png, .jpg or .webp for a picture (%05d in its name: for each)
    #[arg(value_name = "OUT")]
    pub output: String,
    /// How many frames [default: all]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub frames: Option<u64>,
    /// Where to begin
    #[arg(long, value_name = "TIME")]
    pub start: Option<Seconds>,
    /// Size of the frames [default: as the source]
    #[arg(long, value_name = "WxH", value_parser = values::size)]
    pub size: Option<(u32, u32)>,
    /// Constant frame rate [default: as the source]
    #[arg(long, value_name = "RATE")]
    pub fps: Option<FrameRate>,
    /// Pixel format by FFmpeg's name [default: as the source]
    #[arg(long, value_name = "NAME")]
    pub pixel_format: Option<String>,
    /// Replace what already exists
    #[arg(short = 'y', long)]
    pub overwrite: bool,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub open: OpenArgs,
}

/// `probe`.
#[derive(Args, Clone, Debug, Default)]
pub struct ProbeArgs {
    /// A file or URL
    #[arg(value_name = "IN")]
    pub input: String,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// List the key frames too, which reads the whole input
    #[arg(long)]
    pub keyframes: bool,
    #[command(flatten)]
    pub open: OpenArgs,
}

/// `bench`.
#[derive(Args, Clone, Debug, Default)]
pub struct BenchArgs {
    /// An encoder by FFmpeg's name (repeatable) [default: every video encoder that works]
    #[arg(long = "encoder", value_name = "NAME")]
    pub encoders: Vec<String>,
    /// How many frames each encodes
    #[arg(long, value_name = "COUNT", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    pub frames: u64,
    /// Size of the frames
    #[arg(long, value_name = "WxH", default_value = "1280x720", value_parser = values::size)]
    pub size: (u32, u32),
    /// Speed against quality: p1 (fastest) to p7 (best)
    #[arg(long, default_value = "p4", value_parser = values::one_of::<Preset>())]
    pub preset: Option<Preset>,
    /// Average bit rate
    #[arg(long, value_name = "RATE", default_value = "4M")]
    pub bitrate: Option<Bitrate>,
    /// As JSON, one object a line
    #[arg(long)]
    pub json: bool,
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
        let outputs = self.outputs.iter().map(|path| self.output.output(path, several));
        let mut outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        let is_picture = |output: &OutputSpec| output.container() == Some(Container::Image);
        let films = !outputs.iter().all(is_picture);
        for output in &mut outputs {
            // A poster beside a film: what is said of codecs, sound and texts is for the film.
            let beside = films && is_picture(output);
            let own = VideoArgs { video_stream: self.video.video_stream, ..VideoArgs::default() };
            output.video = video::choice(if beside { &own } else { &self.video }, &self.picture, matches)?;
            output.audio = if beside { AudioChoice::None } else { self.audio.choice()? };
            output.subtitles = if beside { SubtitleChoice::None } else { self.subtitles.choice()? };
            self.subtitles.burned(&mut output.video);
        }
        self.subtitles.check_used(&outputs)?;
        self.output.check_used(&outputs)?;
        let mut spec = PipelineSpec::new(source, outputs);
        self.job.apply(&mut spec);
        spec.check().map_err(named)?;
        Ok(spec)
    }
}

impl EncodeArgs {
    /// The document that the arguments mean, checked. `matches` is where they were parsed from.
    ///
    /// # Errors
    /// A usage error that names the argument.
    pub fn document(&self, matches: &ArgMatches) -> Result<PipelineSpec, Failure> {
        if self.video.encoder.is_none() {
            return Err(Failure::usage("--encoder: say which encoder (auto lets a probe decide)"));
        }
        let mut source = OpenArgs::default().source(&self.input)?;
        if let Some((width, height)) = self.input_size {
            if source.url.is_none() {
                return Err(Failure::usage("--input-size: needs a file as input"));
            }
            let rate = self.input_fps.map_or("30".into(), |r| r.0.to_string());
            source.format = Some("rawvideo".into());
            source.options = [
                ("video_size", format!("{width}x{height}")),
                ("pixel_format", self.input_pixel_format.clone().unwrap_or_else(|| "yuv420p".into())),
                ("framerate", rate),
            ]
            .map(|(key, value)| (key.into(), value))
            .into();
        }
        let mut output = one_file(&self.output, self.overwrite)?;
        output.video = video::choice(&self.video, &self.picture, matches)?;
        let mut spec = PipelineSpec::new(source, vec![output]);
        self.job.apply(&mut spec);
        spec.check().map_err(named)?;
        Ok(spec)
    }
}

impl CaptureArgs {
    /// The document that the arguments mean, checked. `rate` answers the frame rate of a source; it is asked only
    /// when frames must be counted in a source that is not generated.
    ///
    /// # Errors
    /// A usage error that names the argument, or the failure of `rate`.
    pub fn document(
        &self,
        rate: impl FnOnce(&SourceSpec) -> Result<FrameRate, Failure>,
    ) -> Result<PipelineSpec, Failure> {
        let mut source = self.open.source(&self.input)?;
        let picture = Container::from_path(&self.output) == Some(Container::Image);
        let mut track = VideoSpec {
            codec: (!picture).then_some(Codec::RawVideo),
            width: self.size.map(|s| s.0),
            height: self.size.map(|s| s.1),
            frame_rate: self.fps,
            pixel_format: self.pixel_format.clone(),
            ..VideoSpec::new()
        };
        source.start = self.start;
        if let Some(frames) = self.frames {
            match &mut source.pattern {
                Some(pattern) if self.fps.is_none() && self.start.is_none() => pattern.frames = Some(frames),
                _ => {
                    let rate = match (self.fps, &source.pattern) {
                        (Some(fps), _) => fps,
                        (None, Some(pattern)) => pattern.frame_rate,
                        (None, None) => rate(&source)?,
                    };
                    // Frames stand at multiples of the rate; half a frame of slack keeps rounding out of the count.
                    source.duration = Some(Seconds((frames as f64 - 0.5) / rate.0.as_f64()));
                    track.frame_rate = Some(rate);
                }
            }
        }
        let mut output = one_file(&self.output, self.overwrite)?;
        if self.output.ends_with(".yuv") || self.output.ends_with(".rgb") {
            output.format = Some(Container::Raw);
            if self.pixel_format.is_none() {
                let format = if self.output.ends_with(".yuv") { "yuv420p" } else { "rgb24" };
                track.pixel_format = Some(format.into());
            }
        }
        output.video = VideoChoice::Track(Box::new(track));
        let spec = PipelineSpec::new(source, vec![output]);
        spec.check().map_err(named)?;
        Ok(spec)
    }
}

/// An output without sound and subtitles.
fn one_file(path: &str, overwrite: bool) -> Result<OutputSpec, Failure> {
    let mut output = OutputArgs { overwrite, ..OutputArgs::default() }.output(path, false)?;
    output.audio = AudioChoice::None;
    output.subtitles = SubtitleChoice::None;
    Ok(output)
}

impl BenchArgs {
    /// The document that measures `encoder` of `codec`; its packets come to the caller.
    pub fn document(&self, encoder: &str, codec: &str) -> PipelineSpec {
        let pattern = PatternSpec {
            kind: PatternKind::Gradient,
            width: self.size.0,
            height: self.size.1,
            frames: Some(self.frames),
            ..PatternSpec::default()
        };
        let mut output = OutputSpec::packets(PacketsSpec::default());
        output.video = VideoChoice::Track(Box::new(VideoSpec {
            codec: Some(Codec::from_name(codec)),
            encoder: Some(encoder.into()),
            preset: self.preset,
            bitrate: self.bitrate,
            ..VideoSpec::new()
        }));
        output.audio = AudioChoice::None;
        output.subtitles = SubtitleChoice::None;
        // Another encoder in its place would be another measurement.
        PipelineSpec { fallback: false, ..PipelineSpec::new(SourceSpec::pattern(pattern), vec![output]) }
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
