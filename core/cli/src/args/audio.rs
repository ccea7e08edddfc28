//! Arguments that say how audio and subtitle tracks are made.

use super::values;
use crate::exit::Failure;
use clap::Args;
use ghoststream::packet::Codec;
use ghoststream::spec::{
    AudioChoice, AudioSpec, Bitrate, FilterSpec, LoudnessSpec, OutputSpec, SubtitleChoice, SubtitleSpec,
    VideoChoice,
};

/// The audio tracks. An option given once counts for every track; given as often as there are tracks, in their order.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Audio (an option given once is for every track, else one for each in order)")]
pub struct AudioArgs {
    /// A track: aac, opus, mp3, flac, ac3 …, with its bit rate, or 'copy'; 'none' for no audio (repeatable)
    /// [default: the best stream, by the container]
    #[arg(long = "audio", value_name = "CODEC[:RATE]")]
    pub tracks: Vec<String>,
    /// Index of the source stream [default: the best audio stream]
    #[arg(long = "audio-stream", value_name = "INDEX")]
    pub streams: Vec<usize>,
    /// A track of every audio stream, or with --audio-language of every one of it
    #[arg(long, conflicts_with = "streams")]
    pub all_audio: bool,
    /// Take the best stream of this language
    #[arg(long = "audio-language", value_name = "CODE")]
    pub languages: Vec<String>,
    /// Encoder by FFmpeg's name [default: the best for the codec]
    #[arg(long = "audio-encoder", value_name = "NAME")]
    pub encoders: Vec<String>,
    /// Channels to mix to: 1 mono, 2 stereo, 6 = 5.1, 8 = 7.1
    #[arg(long, value_name = "COUNT")]
    pub channels: Vec<u32>,
    /// Samples a second
    #[arg(long = "sample-rate", value_name = "HZ")]
    pub sample_rates: Vec<u32>,
    /// Gain in dB
    #[arg(long = "gain", value_name = "DB", allow_negative_numbers = true)]
    pub gains: Vec<f64>,
    /// Normalise the loudness (EBU R128) to a target in LUFS
    #[arg(long, value_name = "LUFS", num_args = 0..=1, require_equals = true, default_missing_value = "-23")]
    pub loudness: Vec<f64>,
    /// Do not stretch sound to follow its timestamps
    #[arg(long)]
    pub no_audio_sync: bool,
    /// An audio encoder option by FFmpeg's name, applied last, for every track (repeatable)
    #[arg(long = "audio-option", value_name = "KEY=VALUE", value_parser = values::key_value)]
    pub audio_options: Vec<(String, String)>,
}

/// The subtitle tracks.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Subtitles")]
pub struct SubtitleArgs {
    /// A track from a source stream (its index) or a file, or 'none' (repeatable) [default: all that fit]
    #[arg(long, value_name = "STREAM|FILE|none")]
    pub subtitles: Vec<String>,
    /// Language to write of the track that --subtitles names, in their order (repeatable) [default: the source's]
    #[arg(long = "subtitle-language", value_name = "CODE", requires = "subtitles")]
    pub subtitle_languages: Vec<String>,
    /// Title to write of the track that --subtitles names, in their order (repeatable) [default: the source's]
    #[arg(long = "subtitle-title", value_name = "TEXT", requires = "subtitles")]
    pub subtitle_titles: Vec<String>,
    /// Character set of subtitle files that are not UTF-8, as the web names it (windows-1250, shift_jis) [default: the likeliest]
    #[arg(long = "subtitle-charset", value_name = "NAME")]
    pub subtitle_charset: Option<String>,
    /// Which of the tracks that --subtitles names players show unasked, from 1
    #[arg(long, value_name = "NUMBER", requires = "subtitles")]
    pub default_subtitle: Option<usize>,
}

impl AudioArgs {
    /// The audio of an output.
    ///
    /// # Errors
    /// A usage error for a codec that cannot be read, `none` beside a track, or an option given too often.
    pub fn choice(&self) -> Result<AudioChoice, Failure> {
        let none = self.tracks.iter().any(|t| t == "none");
        if none && self.tracks.len() > 1 {
            return Err(Failure::usage("--audio: 'none' excludes other tracks"));
        }
        let given = [
            ("--audio", self.tracks.len()),
            ("--audio-stream", self.streams.len()),
            ("--all-audio", usize::from(self.all_audio)),
            ("--audio-language", self.languages.len()),
            ("--audio-encoder", self.encoders.len()),
            ("--channels", self.channels.len()),
            ("--sample-rate", self.sample_rates.len()),
            ("--gain", self.gains.len()),
            ("--loudness", self.loudness.len()),
            ("--no-audio-sync", usize::from(self.no_audio_sync)),
            ("--audio-option", usize::from(!self.audio_options.is_empty())),
        ];
        if none {
            return match given[1..].iter().find(|(_, count)| *count > 0) {
                Some((option, _)) => {
                    Err(Failure::usage(format!("{option}: makes no sense with --audio none")))
                }
                None => Ok(AudioChoice::None),
            };
        }
        let count = given.iter().map(|(_, count)| *count).max().unwrap_or(0);
        if count == 0 {
            return Ok(AudioChoice::Default);
        }
        if let Some((option, n)) = given.iter().find(|(_, n)| *n > 1 && *n < count) {
            return Err(Failure::usage(format!(
                "{option}: given {n} times, but there are {count} audio tracks; give it once for all or once for each"
            )));
        }
        (0..count).map(|i| self.track(i)).collect::<Result<_, _>>().map(AudioChoice::Tracks)
    }

    fn track(&self, i: usize) -> Result<AudioSpec, Failure> {
        let mut track = AudioSpec {
            stream: nth(&self.streams, i),
            all: self.all_audio,
            language: nth(&self.languages, i),
            encoder: nth(&self.encoders, i),
            channels: nth(&self.channels, i),
            sample_rate: nth(&self.sample_rates, i),
            gain: nth(&self.gains, i),
            loudness: nth(&self.loudness, i)
                .map(|integrated| LoudnessSpec { integrated, ..LoudnessSpec::default() }),
            sync: !self.no_audio_sync,
            options: self.audio_options.iter().cloned().collect(),
            ..AudioSpec::new()
        };
        if let Some(text) = nth(&self.tracks, i) {
            let (codec, rate) = match text.split_once(':') {
                Some((codec, rate)) => {
                    let rate = rate.parse::<Bitrate>();
                    (codec, Some(rate.map_err(|e| Failure::usage(format!("--audio: {text}: {e}")))?))
                }
                None => (text.as_str(), None),
            };
            if codec.is_empty() {
                return Err(Failure::usage(format!("--audio: {text:?}: write CODEC[:RATE], copy or none")));
            }
            track.codec = Some(Codec::from_name(codec));
            track.bitrate = rate;
        }
        Ok(track)
    }
}

fn nth<T: Clone>(values: &[T], i: usize) -> Option<T> {
    if values.len() == 1 { values.first().cloned() } else { values.get(i).cloned() }
}

impl SubtitleArgs {
    /// The subtitles of an output.
    ///
    /// # Errors
    /// A usage error for `none` beside a track, or for what names more tracks than there are.
    pub fn choice(&self) -> Result<SubtitleChoice, Failure> {
        if self.subtitles.is_empty() {
            return Ok(SubtitleChoice::Default);
        }
        let none = self.subtitles.iter().any(|s| s == "none");
        if none && self.subtitles.len() > 1 {
            return Err(Failure::usage("--subtitles: 'none' excludes other tracks"));
        }
        let tracks = if none { 0 } else { self.subtitles.len() };
        for (option, most) in [
            ("--subtitle-language", self.subtitle_languages.len()),
            ("--subtitle-title", self.subtitle_titles.len()),
            ("--default-subtitle", self.default_subtitle.unwrap_or(0)),
        ] {
            if most > tracks {
                return Err(Failure::usage(format!(
                    "{option}: there are {tracks} subtitle tracks, not {most}"
                )));
            }
        }
        if self.default_subtitle == Some(0) {
            return Err(Failure::usage("--default-subtitle: tracks are counted from 1"));
        }
        if none {
            return Ok(SubtitleChoice::None);
        }
        let track = |(i, text): (usize, &String)| {
            let (stream, path) = match text.parse() {
                Ok(stream) => (Some(stream), None),
                Err(_) => (None, Some(text.clone())),
            };
            SubtitleSpec {
                stream,
                charset: self.subtitle_charset.clone().filter(|_| path.is_some()),
                path,
                language: self.subtitle_languages.get(i).cloned(),
                title: self.subtitle_titles.get(i).cloned(),
                default: self.default_subtitle == Some(i + 1),
            }
        };
        Ok(SubtitleChoice::Tracks(self.subtitles.iter().enumerate().map(track).collect()))
    }

    /// Says the character set of the files that are drawn into the pictures.
    pub fn burned(&self, video: &mut VideoChoice) {
        let VideoChoice::Track(track) = video else { return };
        for filter in &mut track.filters {
            if let FilterSpec::BurnIn(burned) = filter
                && burned.path.is_some()
            {
                burned.charset.clone_from(&self.subtitle_charset);
            }
        }
    }

    /// Whether there is a file that the character set can be of.
    ///
    /// # Errors
    /// A usage error where there is none.
    pub fn check_used(&self, outputs: &[OutputSpec]) -> Result<(), Failure> {
        let drawn = |video: &VideoChoice| match video {
            VideoChoice::Track(track) => track
                .filters
                .iter()
                .any(|filter| matches!(filter, FilterSpec::BurnIn(burned) if burned.path.is_some())),
            VideoChoice::None | VideoChoice::Default => false,
        };
        let carried = |texts: &SubtitleChoice| matches!(texts, SubtitleChoice::Tracks(all) if all.iter().any(|t| t.path.is_some()));
        if self.subtitle_charset.is_none() || outputs.iter().any(|o| drawn(&o.video) || carried(&o.subtitles))
        {
            return Ok(());
        }
        Err(Failure::usage("--subtitle-charset: neither --subtitles nor --burn-in names a file"))
    }
}
