//! Arguments of the commands that take what happens now: `record`, `replay`, `stream` and `ctl`.

use super::output::parse_camera;
use super::push::PushArgs;
use super::source::{OpenArgs, add_sounds};
use super::values::{self, Sounds, one_of};
use super::{RunArgs, named};
use crate::exit::Failure;
use clap::{Args, Subcommand};
use ghoststream::packet::Codec;
use ghoststream::session::Preset as Settings;
use ghoststream::spec::{
    AudioChoice, AudioSpec, Bitrate, ByteSize, Container, FrameRate, OutputSpec, PipelineSpec, Preset,
    RegionSpec, ReplaySpec, ReplayStore, Seconds, SourceSpec, SplitChoice, SplitSpec, Tune, VideoChoice,
    VideoSpec,
};

/// What a directory's files are called.
const RECORDED: &str = "{name}-%F_%T.mkv";
/// What a directory's replays are called.
const SAVED: &str = "{name}-replay-%F_%T.mkv";
/// The most that a replay takes of memory unless it is told otherwise.
const REPLAY_BYTES: u64 = 2_000_000_000;

/// What is taken.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Source")]
pub struct SceneArgs {
    /// A part of the screen: 'X,Y WxH' as slurp prints it, or WxH+X+Y
    #[arg(short = 'g', long, value_name = "GEOMETRY", value_parser = region)]
    pub region: Option<RegionSpec>,
    /// A monitor by its name
    #[arg(short, long, value_name = "NAME", conflicts_with = "region")]
    pub monitor: Option<String>,
    /// Frames per second [default: 60 for screens, else as the source]
    #[arg(short, long, value_name = "RATE")]
    pub fps: Option<FrameRate>,
    /// A frame only when something changes
    #[arg(long)]
    pub variable: bool,
    /// Leave the mouse pointer out
    #[arg(long)]
    pub no_cursor: bool,
    /// Take no DMA-BUFs of the desktop: pictures come through host memory
    #[arg(long)]
    pub no_dmabuf: bool,
    /// Record this sound too, as a track of its own (repeatable): desktop, microphone, app:NAME, all-but:NAME or node:NAME,
    /// each with ,gain=DB and ,offset=MS; several with + between them are mixed
    #[arg(short = 'a', long = "sound", visible_alias = "audio", value_name = "SOUND", value_parser = values::sounds)]
    pub sounds: Vec<Sounds>,
    /// End after this time
    #[arg(short, long, value_name = "TIME")]
    pub duration: Option<Seconds>,
    /// List the screens, cameras and encoders of this machine, and end
    #[arg(short, long)]
    pub list: bool,
}

/// How it is encoded, once for all outputs.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Encoding")]
pub struct CodingArgs {
    /// Settings by name; `ghoststream presets` lists them. What is said beside it counts more
    #[arg(short, long, value_name = "NAME", value_parser = settings)]
    pub preset: Option<Settings>,
    /// h264, hevc, av1, vp9 … [default: by the container]
    #[arg(short, long, value_name = "CODEC")]
    pub codec: Option<String>,
    /// Encoder implementation: auto (a real probe decides), nvenc or FFmpeg's name (libx264 …)
    #[arg(short, long, value_name = "NAME")]
    pub encoder: Option<String>,
    /// Average bit rate, such as 8M
    #[arg(short, long, value_name = "RATE", conflicts_with = "crf")]
    pub bitrate: Option<Bitrate>,
    /// Peak bit rate
    #[arg(long, value_name = "RATE", conflicts_with = "cbr")]
    pub max_bitrate: Option<Bitrate>,
    /// Constant bit rate at --bitrate
    #[arg(long, conflicts_with = "crf")]
    pub cbr: bool,
    /// Constant quality on the encoder's own scale
    #[arg(long, value_name = "VALUE")]
    pub crf: Option<f64>,
    /// Size of the video [default: as the source]
    #[arg(short, long, value_name = "WxH", value_parser = values::size)]
    pub size: Option<(u32, u32)>,
    /// Speed against quality: p1 (fastest) to p7 (best) [default: p3]
    #[arg(long, value_parser = one_of::<Preset>())]
    pub speed: Option<Preset>,
    /// What to tune for
    #[arg(long, value_parser = one_of::<Tune>())]
    pub tune: Option<Tune>,
    /// Seconds between key frames, exactly [default: 2]
    #[arg(long, value_name = "TIME")]
    pub keyframe_interval: Option<Seconds>,
    /// Sound: aac, opus, flac … with its bit rate, or 'none' [default: by the container]
    #[arg(long, value_name = "CODEC[:RATE]")]
    pub audio_codec: Option<String>,
}

/// What is made of it besides.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Outputs")]
pub struct BesideArgs {
    /// Keep a recording too, from the same encode (a file, or a directory)
    #[arg(long, value_name = "OUT")]
    pub record: Option<String>,
    /// Stream it too, from the same encode (repeatable); see `ghoststream stream`
    #[arg(long, value_name = "URL")]
    pub stream: Vec<String>,
    /// Keep the last so many seconds too, to be saved on SIGUSR1 or by `ghoststream ctl save`
    #[arg(long, value_name = "TIME")]
    pub replay: Option<Seconds>,
    /// Where replays are saved: a directory, or a template such as '{name}-%F_%T.mkv'
    #[arg(long, value_name = "OUT")]
    pub replay_path: Option<String>,
    /// The most that a replay takes [default: 2G]
    #[arg(long, value_name = "SIZE")]
    pub replay_size: Option<ByteSize>,
    /// Keep the replay in a file without a name in this directory instead of in memory
    #[arg(long, value_name = "DIRECTORY")]
    pub spool: Option<String>,
    /// Go on in a new file at every multiple of this; the name of the recording is a template then
    #[arg(long, value_name = "TIME")]
    pub split: Option<Seconds>,
    /// Go on in a new file when one has this size
    #[arg(long, value_name = "SIZE")]
    pub split_size: Option<ByteSize>,
    /// Container of recordings [default: by the name]
    #[arg(long, value_parser = one_of::<Container>())]
    pub format: Option<Container>,
    /// MP4 and MOV: leave the recording in fragments
    #[arg(long)]
    pub fragmented: bool,
    /// Replace a recording that exists
    #[arg(short = 'y', long)]
    pub overwrite: bool,
    /// Name of this run, for `ghoststream ctl` and names of files [default: ghoststream]
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<String>,
    /// Fail instead of replacing what cannot run as asked by the next best
    #[arg(long)]
    pub no_fallback: bool,
}

/// What the three have in common.
#[derive(Args, Clone, Debug, Default)]
pub struct LiveArgs {
    #[command(flatten)]
    pub scene: SceneArgs,
    #[command(flatten)]
    pub coding: CodingArgs,
    #[command(flatten)]
    pub beside: BesideArgs,
    #[command(flatten)]
    pub push: PushArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

/// `record`.
#[derive(Args, Clone, Debug, Default)]
pub struct RecordArgs {
    /// What to record (screen:, screen:NAME, pattern:…, a file or URL) [default: screen:], and where to: a file, a template
    /// such as '{name}-%F_%T.mkv', or a directory
    #[arg(value_name = "[SRC] OUT", num_args = 0..=2)]
    pub paths: Vec<String>,
    /// Where to record to; then SRC is the only argument
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<String>,
    #[command(flatten)]
    pub live: LiveArgs,
}

/// `replay`.
#[derive(Args, Clone, Debug, Default)]
pub struct ReplayArgs {
    /// What to keep (screen:, pattern:…) [default: screen:], and where to save it: a template, or a directory
    #[arg(value_name = "[SRC] OUT", num_args = 0..=2)]
    pub paths: Vec<String>,
    /// Where to save; then SRC is the only argument
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<String>,
    /// How much to keep
    #[arg(short = 't', long, value_name = "TIME", default_value = "30")]
    pub seconds: Option<Seconds>,
    #[command(flatten)]
    pub live: LiveArgs,
}

/// `stream`.
#[derive(Args, Clone, Debug, Default)]
pub struct StreamArgs {
    /// What to stream (screen:, pattern:…) [default: screen:], and where to: rtmp://…, rtmps://…, srt://…, or a service and
    /// its key (twitch:, youtube:, facebook:, kick:). {env:NAME} and {file:PATH} stand for a key that no process list shows
    #[arg(value_name = "[SRC] URL", num_args = 0..=2)]
    pub paths: Vec<String>,
    #[command(flatten)]
    pub live: LiveArgs,
}

/// `camera`.
#[derive(Args, Clone, Debug, Default)]
pub struct CameraArgs {
    /// What to show (screen:, pattern:…, a file or URL) [default: screen:], and the camera: its name, with
    /// ?format=i420|nv12|yuy2, or the path of a v4l2loopback device
    #[arg(value_name = "[SRC] NAME", num_args = 0..=2)]
    pub paths: Vec<String>,
    #[command(flatten)]
    pub scene: SceneArgs,
    /// Size of its pictures [default: as the source]
    #[arg(short, long, value_name = "WxH", value_parser = values::size)]
    pub size: Option<(u32, u32)>,
    /// Name of this run, for `ghoststream ctl` [default: ghoststream]
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub run: RunArgs,
}

/// `ctl`.
#[derive(Args, Clone, Debug)]
pub struct CtlArgs {
    #[command(subcommand)]
    pub command: CtlCommand,
    /// Which run, by the name or process id that it was started with [default: the only one]
    #[arg(long, value_name = "NAME|PID", global = true)]
    pub to: Option<String>,
    /// The answer as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// What a running recording is told.
#[derive(Subcommand, Clone, Debug)]
pub enum CtlCommand {
    /// Save the replay, and print where
    Save {
        /// Only the last so much
        #[arg(long, value_name = "TIME")]
        seconds: Option<Seconds>,
        /// Index of the output [default: every one that keeps a replay]
        #[arg(long, value_name = "INDEX")]
        output: Option<usize>,
    },
    /// Go on in a new file, and print the one that ended
    Split {
        /// Index of the output [default: every one that can be cut]
        #[arg(long, value_name = "INDEX")]
        output: Option<usize>,
    },
    /// Halt; what happens meanwhile is left out
    Pause,
    /// Go on
    Resume,
    /// Finish the files and end
    Stop,
    /// Show how it is
    Status,
}

fn region(text: &str) -> Result<RegionSpec, String> {
    text.parse()
}

fn settings(text: &str) -> Result<Settings, String> {
    text.parse::<Settings>().map_err(|e| e.message().to_string())
}

/// SRC and the other argument.
fn pair(paths: &[String], output: Option<&String>, what: &str) -> Result<(String, String), Failure> {
    let screen = || "screen:".to_string();
    match (paths, output) {
        ([], Some(out)) => Ok((screen(), out.clone())),
        ([source], Some(out)) => Ok((source.clone(), out.clone())),
        ([out], None) => Ok((screen(), out.clone())),
        ([source, out], None) => Ok((source.clone(), out.clone())),
        ([_, _, ..], Some(_)) => Err(Failure::usage(format!("--output: {what} is given twice"))),
        _ => Err(Failure::usage(format!("{what}: say where to"))),
    }
}

/// `out` as a template: names in a directory are made of the time.
fn in_directory(out: &str, names: &str) -> String {
    let escaped = |dir: &str| dir.replace('%', "%%").replace('{', "{{").replace('}', "}}");
    match out.ends_with('/') || std::path::Path::new(out).is_dir() {
        true => format!("{}/{names}", escaped(out.trim_end_matches('/'))),
        false => out.into(),
    }
}

/// Whether `out` has parts that a template fills in.
fn is_template(out: &str) -> bool {
    out.contains('%') || out.contains("{n") || out.ends_with('/') || std::path::Path::new(out).is_dir()
}

/// Whether names made of the template are different ones, so that a recording can go on in a new file.
fn changes(out: &str) -> bool {
    let time = ["%H", "%M", "%S"].iter().all(|sign| out.contains(sign));
    out.contains("{n}") || out.contains("{n:") || out.contains("%T") || time
}

impl LiveArgs {
    fn source(&self, input: &str) -> Result<SourceSpec, Failure> {
        let scene = &self.scene;
        let mut source = OpenArgs::default().source(input)?;
        source.duration = scene.duration;
        add_sounds(&mut source, scene.sounds.iter().cloned());
        let only_screens = [
            ("--region", scene.region.is_some()),
            ("--monitor", scene.monitor.is_some()),
            ("--no-cursor", scene.no_cursor),
            ("--no-dmabuf", scene.no_dmabuf),
        ];
        let is_screen = source.screen.as_ref().is_some_and(|s| s.camera.is_none());
        if let Some((option, _)) = only_screens.iter().find(|(_, given)| *given && !is_screen) {
            return Err(Failure::usage(format!("{option}: is for screens, not for {input}")));
        }
        match &mut source.screen {
            Some(screen) => {
                screen.region = scene.region.or(screen.region);
                screen.monitor = scene.monitor.clone().or(screen.monitor.take());
                screen.frame_rate = scene.fps.or(self.preset_rate()).unwrap_or(screen.frame_rate);
                screen.variable |= scene.variable;
                screen.cursor &= !scene.no_cursor;
                screen.dmabuf &= !scene.no_dmabuf;
            }
            None => {
                if scene.variable {
                    let message = format!("--variable: is for screens and cameras, not for {input}");
                    return Err(Failure::usage(message));
                }
                // What is recorded happens at its own speed, which captured sound has by itself.
                source.realtime = source.sound.is_empty();
            }
        }
        Ok(source)
    }

    fn preset_rate(&self) -> Option<FrameRate> {
        self.coding.preset.and_then(|p| p.info().framerate)
    }

    fn video(&self, source: &SourceSpec) -> VideoSpec {
        let coding = &self.coding;
        let mut video = match coding.preset {
            Some(preset) => preset.video(),
            None => VideoSpec { preset: Some(Preset::P3), ..VideoSpec::new() },
        };
        // A screen is taken at the rate; everything else is brought to it.
        video.frame_rate = if source.screen.is_some() { None } else { self.scene.fps.or(video.frame_rate) };
        if let Some(codec) = &coding.codec {
            video.codec = Some(Codec::from_name(codec));
        }
        video.encoder = coding.encoder.clone().or(video.encoder);
        if coding.bitrate.is_some() || coding.crf.is_some() {
            (video.bitrate, video.crf, video.max_bitrate) = (coding.bitrate, coding.crf, None);
            video.cbr = false;
        }
        if coding.cbr {
            (video.cbr, video.max_bitrate) = (true, None);
        }
        if coding.max_bitrate.is_some() {
            (video.cbr, video.max_bitrate) = (false, coding.max_bitrate);
        }
        if self.push.adapt && !video.cbr && video.max_bitrate.is_none() {
            video.max_bitrate = video.bitrate;
        }
        if let Some((width, height)) = coding.size {
            (video.width, video.height) = (Some(width), Some(height));
        }
        video.preset = coding.speed.or(video.preset);
        video.tune = coding.tune.or(video.tune);
        // One for all outputs: those that differ would be encoded on their own.
        video.keyframe_interval = Some(coding.keyframe_interval.unwrap_or(Seconds(2.0)));
        video.gop = None;
        video
    }

    fn audio(&self, source: &SourceSpec) -> Result<AudioChoice, Failure> {
        let Some(text) = &self.coding.audio_codec else { return Ok(AudioChoice::Default) };
        if text == "none" {
            return Ok(AudioChoice::None);
        }
        let (codec, rate) = text.split_once(':').map_or((text.as_str(), None), |(c, r)| (c, Some(r)));
        let bitrate = rate.map(str::parse).transpose();
        let bitrate = bitrate.map_err(|e| Failure::usage(format!("--audio-codec: {e}")))?;
        let track = AudioSpec { codec: Some(Codec::from_name(codec)), bitrate, ..AudioSpec::new() };
        // Each captured sound is a track; those that are mixed are one.
        let mut mixed: Vec<u32> = source.sound.iter().filter_map(|s| s.track).collect();
        mixed.sort_unstable();
        mixed.dedup();
        let captured = mixed.len() + source.sound.iter().filter(|s| s.track.is_none()).count();
        // The picture's stream comes first, if there is one.
        let first = usize::from(source.screen.is_some());
        let numbered = (0..captured).map(|n| AudioSpec { stream: Some(first + n), ..track.clone() });
        Ok(AudioChoice::Tracks(if captured > 1 { numbered.collect() } else { vec![track] }))
    }

    fn recording(&self, out: &str) -> OutputSpec {
        let beside = &self.beside;
        let split = beside.split.is_some() || beside.split_size.is_some();
        let template = split || is_template(out);
        let mut output = OutputSpec::path(if template { in_directory(out, RECORDED) } else { out.into() });
        output.template = template && !split;
        let changes = output.path.as_deref().is_some_and(changes);
        if split || template && changes {
            // Without a time and a size they are cut on command.
            output.split = SplitChoice::Split(SplitSpec { duration: beside.split, size: beside.split_size });
            output.template = false;
        }
        output.format = beside.format;
        output.fragmented = beside.fragmented;
        output.overwrite = beside.overwrite && !template;
        output
    }

    fn replayed(&self, out: &str, seconds: Seconds) -> OutputSpec {
        let beside = &self.beside;
        let mut output = OutputSpec::path(in_directory(out, SAVED));
        output.replay = Some(ReplaySpec {
            seconds,
            bytes: Some(beside.replay_size.unwrap_or(ByteSize(REPLAY_BYTES))),
            store: if beside.spool.is_some() { ReplayStore::Disk } else { ReplayStore::Memory },
            spool: beside.spool.clone(),
        });
        output
    }

    /// The document of `main` and what is made beside it.
    fn document(&self, input: &str, main: Vec<OutputSpec>) -> Result<PipelineSpec, Failure> {
        let beside = &self.beside;
        let source = self.source(input)?;
        let mut outputs = main;
        if let Some(out) = &beside.record {
            outputs.push(self.recording(out));
        }
        for url in &beside.stream {
            outputs.push(self.push.output(url)?);
        }
        match (beside.replay, &beside.replay_path) {
            (Some(seconds), path) => {
                outputs.push(self.replayed(path.as_deref().unwrap_or("./"), seconds));
            }
            (None, Some(_)) => return Err(Failure::usage("--replay-path: needs --replay")),
            (None, None) => {}
        }
        if outputs.iter().any(|o| o.container() == Some(Container::Image)) {
            return Err(Failure::usage("OUT: a recording is a film; capture and transcode make pictures"));
        }
        let files =
            |o: &&OutputSpec| o.replay.is_none() && o.path.as_deref().is_some_and(|p| !p.contains("://"));
        let keeps = outputs.iter().any(|o| o.replay.is_some());
        let pushed = outputs.iter().any(|o| o.push.is_some());
        if let Some(option) = self.push.given().filter(|_| !pushed) {
            return Err(Failure::usage(format!("{option}: nothing is streamed")));
        }
        let unused = [
            ("--split", beside.split.is_some() && !outputs.iter().any(|o| !o.split.is_never())),
            ("--split-size", beside.split_size.is_some() && !outputs.iter().any(|o| !o.split.is_never())),
            ("--format", beside.format.is_some() && outputs.iter().filter(files).count() == 0),
            ("--fragmented", beside.fragmented && outputs.iter().filter(files).count() == 0),
            ("--replay-size", beside.replay_size.is_some() && !keeps),
            ("--spool", beside.spool.is_some() && !keeps),
        ];
        if let Some((option, _)) = unused.iter().find(|(_, unused)| *unused) {
            return Err(Failure::usage(format!("{option}: none of the outputs is of a kind that it is for")));
        }
        let (video, audio) = (self.video(&source), self.audio(&source)?);
        for output in &mut outputs {
            output.video = VideoChoice::Track(Box::new(video.clone()));
            output.audio = audio.clone();
        }
        let mut spec = PipelineSpec::new(source, outputs);
        spec.name = Some(beside.name.clone().unwrap_or_else(|| "ghoststream".into()));
        spec.fallback = !beside.no_fallback;
        // Nobody can record it again.
        spec.keep_partial = true;
        spec.check().map_err(named)?;
        Ok(spec)
    }
}

impl RecordArgs {
    /// The document that the arguments mean, checked.
    ///
    /// # Errors
    /// A usage error that names the argument.
    pub fn document(&self) -> Result<PipelineSpec, Failure> {
        let (source, out) = pair(&self.paths, self.output.as_ref(), "OUT")?;
        self.live.document(&source, vec![self.live.recording(&out)])
    }
}

impl ReplayArgs {
    /// The document that the arguments mean, checked.
    ///
    /// # Errors
    /// A usage error that names the argument.
    pub fn document(&self) -> Result<PipelineSpec, Failure> {
        let (source, out) = pair(&self.paths, self.output.as_ref(), "OUT")?;
        if self.live.beside.replay.is_some() {
            return Err(Failure::usage("--replay: is what this command is about; say --seconds"));
        }
        let seconds = self.seconds.unwrap_or(Seconds(30.0));
        self.live.document(&source, vec![self.live.replayed(&out, seconds)])
    }
}

impl CameraArgs {
    /// The document that the arguments mean, checked.
    ///
    /// # Errors
    /// A usage error that names the argument.
    pub fn document(&self) -> Result<PipelineSpec, Failure> {
        let (source, name) = pair(&self.paths, None, "NAME")?;
        if !self.scene.sounds.is_empty() {
            return Err(Failure::usage("--sound: a camera has pictures only"));
        }
        let live = LiveArgs { scene: self.scene.clone(), ..LiveArgs::default() };
        let source = live.source(&source)?;
        let plain = name.strip_prefix("camera:").unwrap_or(&name);
        let camera = parse_camera(plain).map_err(|e| Failure::usage(format!("{name}: {e}")))?;
        let mut output = OutputSpec::camera(camera);
        let rate = if source.screen.is_some() { None } else { self.scene.fps };
        let (width, height) = self.size.unzip();
        output.video =
            VideoChoice::Track(Box::new(VideoSpec { width, height, frame_rate: rate, ..VideoSpec::new() }));
        let mut spec = PipelineSpec::new(source, vec![output]);
        spec.name = Some(self.name.clone().unwrap_or_else(|| "ghoststream".into()));
        spec.check().map_err(named)?;
        Ok(spec)
    }
}

impl StreamArgs {
    /// The document that the arguments mean, checked.
    ///
    /// # Errors
    /// A usage error that names the argument.
    pub fn document(&self) -> Result<PipelineSpec, Failure> {
        let (source, url) = pair(&self.paths, None, "URL")?;
        if !url.contains(':') {
            return Err(Failure::usage(format!("URL: {url:?} is no address such as rtmp://host/app/key")));
        }
        self.live.document(&source, vec![self.live.push.output(&url)?])
    }
}
