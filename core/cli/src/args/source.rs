//! Arguments that say where media comes from.

use super::values::{self, Sounds};
use crate::exit::Failure;
use clap::Args;
use ghoststream::spec::{
    BytesSpec, Device, FrameRate, PatternSpec, ScreenSpec, Seconds, SoundSpec, SourceSpec,
};

/// How a file or URL is opened.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Opening the input")]
pub struct OpenArgs {
    /// FFmpeg's demuxer name, when guessing would fail
    #[arg(long, value_name = "NAME")]
    pub input_format: Option<String>,
    /// A demuxer or protocol option by FFmpeg's name (repeatable)
    #[arg(long = "input-option", value_name = "KEY=VALUE", value_parser = values::key_value)]
    pub input_options: Vec<(String, String)>,
    /// Protocols that may be opened, also by playlists inside the input [default: file,http,https]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub protocols: Option<Vec<String>>,
    /// An HTTP request header (repeatable)
    #[arg(long = "header", value_name = "'NAME: VALUE'", value_parser = values::header)]
    pub headers: Vec<(String, String)>,
    /// Seconds that one read or connect may take; 0 = for ever [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<f64>,
    /// Do not reconnect a broken HTTP transfer where it stopped
    #[arg(long)]
    pub no_reconnect: bool,
}

/// Which part of the input is taken, and how fast.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Input")]
pub struct TakeArgs {
    /// Where to begin: seconds or [[H:]M:]S; exact to the frame for what is encoded
    #[arg(long, value_name = "TIME")]
    pub start: Option<Seconds>,
    /// How much to take
    #[arg(long, value_name = "TIME", conflicts_with = "to")]
    pub duration: Option<Seconds>,
    /// Where to end, in the input's time
    #[arg(long, value_name = "TIME")]
    pub to: Option<Seconds>,
    /// Play the input this many times again, or 'forever'
    #[arg(long = "loop", value_name = "COUNT", value_parser = values::loops)]
    pub loops: Option<i32>,
    /// Read at the speed of the timestamps instead of as fast as possible
    #[arg(long)]
    pub realtime: bool,
    /// Take an input that was cut short as far as it goes, instead of failing
    #[arg(long)]
    pub salvage: bool,
    /// Record this sound beside a screen, as a track of its own (repeatable): desktop, microphone, app:NAME, all-but:NAME or
    /// node:NAME, each with ,gain=DB and ,offset=MS; several with + between them are mixed
    #[arg(long = "sound", value_name = "SOUND", value_parser = values::sounds)]
    pub sounds: Vec<Sounds>,
    /// Where to decode [default: auto]
    #[arg(long, value_name = "DEVICE", value_parser = values::one_of::<Device>())]
    pub decoder_device: Option<Device>,
    /// Decode key frames and nothing between them: previews in a fraction of the time
    #[arg(long)]
    pub key_frames_only: bool,
}

impl OpenArgs {
    /// The source that `input` means: `-` is standard input, `pattern:…` a generated picture, `screen:…` a screen, `camera:…` a
    /// camera, `sound:…` what is heard, all else a file or URL.
    ///
    /// # Errors
    /// A usage error for a wrong pattern or screen, or an option that this source cannot honour.
    pub fn source(&self, input: &str) -> Result<SourceSpec, Failure> {
        let kinds = ["pattern:", "screen:", "camera:", "sound:"];
        let url = input != "-" && !kinds.iter().any(|kind| input.starts_with(kind));
        let needs_url = [
            ("--input-option", !self.input_options.is_empty()),
            ("--protocols", self.protocols.is_some()),
            ("--header", !self.headers.is_empty()),
            ("--timeout", self.timeout.is_some()),
            ("--no-reconnect", self.no_reconnect),
        ];
        if let Some((option, _)) = needs_url.iter().find(|(_, given)| *given && !url) {
            return Err(Failure::usage(format!("{option}: needs a file or URL as input, not {input:?}")));
        }
        if url {
            let mut source = SourceSpec::url(input);
            source.format = self.input_format.clone();
            source.options = self.input_options.iter().cloned().collect();
            source.headers = self.headers.iter().cloned().collect();
            source.reconnect = !self.no_reconnect;
            source.protocols = self.protocols.clone().unwrap_or(source.protocols);
            source.timeout = self.timeout.unwrap_or(source.timeout);
            return Ok(source);
        }
        if input == "-" {
            let mut source = SourceSpec::bytes(BytesSpec { buffer: 4 << 20 });
            source.format = self.input_format.clone();
            return Ok(source);
        }
        if self.input_format.is_some() {
            return Err(Failure::usage(format!("--input-format: {input} has no container")));
        }
        if ScreenSpec::is_named_by(input) {
            let screen = ScreenSpec::parse(input).map_err(|e| Failure::usage(e.message()))?;
            return Ok(SourceSpec::screen(screen));
        }
        if let Some(sounds) = input.strip_prefix("sound:") {
            let sounds = values::sounds(sounds).map_err(|e| Failure::usage(format!("{input}: {e}")))?;
            let mut source = SourceSpec::sound(Vec::new());
            add_sounds(&mut source, [sounds]);
            return Ok(source);
        }
        pattern(input).map(SourceSpec::pattern).map_err(Failure::usage)
    }
}

impl TakeArgs {
    /// Puts the trimming and pace into `source`.
    ///
    /// # Errors
    /// A usage error when `--to` is not after `--start`.
    pub fn apply(&self, source: &mut SourceSpec) -> Result<(), Failure> {
        add_sounds(source, self.sounds.iter().cloned());
        source.start = self.start;
        source.duration = match (self.to, self.start) {
            (None, _) => self.duration,
            (Some(to), start) => {
                let start = start.map_or(0.0, |s| s.0);
                if to.0 <= start {
                    return Err(Failure::usage("--to: must be after --start"));
                }
                Some(Seconds(to.0 - start))
            }
        };
        source.loops = self.loops.unwrap_or(0);
        source.realtime = self.realtime;
        source.salvage = self.salvage;
        source.decode.device = self.decoder_device.unwrap_or_default();
        source.decode.key_frames_only = self.key_frames_only;
        Ok(())
    }
}

/// Adds tracks of captured sound, those of one group mixed into one.
pub fn add_sounds(source: &mut SourceSpec, groups: impl IntoIterator<Item = Sounds>) {
    for Sounds(group) in groups {
        let taken = source.sound.iter().filter_map(|s| s.track).max();
        let track = (group.len() > 1).then(|| taken.map_or(0, |t| t + 1));
        source.sound.extend(group.into_iter().map(|sound| SoundSpec { track, ..sound }));
    }
}

/// Parses `pattern:KIND[?key=value&…]`.
fn pattern(input: &str) -> Result<PatternSpec, String> {
    let rest = input.strip_prefix("pattern:").unwrap_or(input);
    let (kind, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut pattern = PatternSpec {
        kind: serde_json::from_value(kind.into()).map_err(|e| format!("{input}: {e}"))?,
        ..PatternSpec::default()
    };
    for item in query.split('&').filter(|item| !item.is_empty()) {
        let (key, value) = match item.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (item, None),
        };
        let bad = || format!("{input}: {key}: {:?} is not a number", value.unwrap_or_default());
        let number = || value.and_then(|v| v.parse::<u32>().ok()).ok_or_else(bad);
        let flag = || match value {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(v) => Err(format!("{input}: {key}: {v:?} is not true or false")),
        };
        match key {
            "width" => pattern.width = number()?,
            "height" => pattern.height = number()?,
            "size" => {
                (pattern.width, pattern.height) =
                    values::size(value.unwrap_or_default()).map_err(|e| format!("{input}: size: {e}"))?;
            }
            "fps" | "frame_rate" => {
                let rate = value.unwrap_or_default().parse::<FrameRate>();
                pattern.frame_rate = rate.map_err(|e| format!("{input}: {key}: {e}"))?;
            }
            "frames" => pattern.frames = Some(value.and_then(|v| v.parse().ok()).ok_or_else(bad)?),
            "tone" => pattern.tone = flag()?,
            "burn_in" | "burn-in" => pattern.burn_in = flag()?,
            _ => {
                return Err(format!(
                    "{input}: {key:?} is not a property of a pattern; they are width, height, size, fps, frames, tone \
                     and burn_in"
                ));
            }
        }
    }
    Ok(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let p = pattern("pattern:gradient?width=320&height=180&fps=29.97&frames=10&tone&burn_in=1").unwrap();
        assert_eq!((p.kind.name(), p.width, p.height, p.frames), ("gradient", 320, 180, Some(10)));
        assert_eq!(p.frame_rate.0.to_string(), "30000/1001");
        assert!(p.tone && p.burn_in);
        assert_eq!(pattern("pattern:smpte?size=64x48").unwrap().width, 64);
        for (bad, named) in [
            ("pattern:", "unknown variant"),
            ("pattern:bars", "smpte"),
            ("pattern:smpte?width", "width"),
            ("pattern:smpte?height=-1", "height"),
            ("pattern:smpte?fps=0", "fps"),
            ("pattern:smpte?colour=red", "colour"),
            ("pattern:smpte?tone=maybe", "tone"),
        ] {
            let e = pattern(bad).expect_err(bad);
            assert!(e.contains(named), "{e}");
        }
    }

    #[test]
    fn inputs() {
        let open = OpenArgs::default();
        assert_eq!(open.source("a:b.mkv").unwrap().url.as_deref(), Some("a:b.mkv"));
        assert!(open.source("-").unwrap().bytes.is_some());
        let timeout = OpenArgs { timeout: Some(1.0), ..OpenArgs::default() };
        assert!(timeout.source("-").unwrap_err().message.starts_with("--timeout: "));
        let tracks = |s: &SourceSpec| s.sound.iter().map(|s| (s.label(), s.track)).collect::<Vec<_>>();
        let mut source = open.source("sound:desktop+mic,gain=-6").unwrap();
        let two = TakeArgs {
            sounds: vec![values::sounds("app:a").unwrap(), values::sounds("mic+node:7").unwrap()],
            ..TakeArgs::default()
        };
        two.apply(&mut source).unwrap();
        let expected = [
            ("desktop", Some(0)),
            ("microphone", Some(0)),
            ("app:a", None),
            ("microphone", Some(1)),
            ("node:7", Some(1)),
        ];
        assert_eq!(tracks(&source), expected.map(|(label, track)| (label.to_owned(), track)));
        assert_eq!(source.sound[1].gain, -6.0);
        assert!(open.source("sound:radio").unwrap_err().message.contains("radio"));
        let mut source = open.source("in.mkv").unwrap();
        let mut take =
            TakeArgs { start: Some(Seconds(10.0)), to: Some(Seconds(15.0)), ..TakeArgs::default() };
        take.apply(&mut source).unwrap();
        assert_eq!(source.duration, Some(Seconds(5.0)));
        take.to = take.start;
        assert!(take.apply(&mut source).unwrap_err().message.starts_with("--to: "));
    }
}
