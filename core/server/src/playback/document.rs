//! What a session makes: its renditions, and the engine document of a run that makes some of their segments. Pure.

use super::decide::{Method, Verdict, picture};
use super::session::Load;
use super::timeline::Timeline;
use crate::jobs::Relief;
use ghoststream::Codec;
use ghoststream::filter::colour::from_spec;
use ghoststream::frame::Colour;
use ghoststream::spec::{
    AudioChoice, AudioSpec, ColourSpec, Container, Device, FrameRate, LadderSpec, OutputSpec, PipelineSpec,
    Seconds, SegmentContainer, SegmentSpec, SubtitleChoice, SubtitleSpec, VideoChoice, VideoSpec, WindowSpec,
};
use ghoststream::time::Rational;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Everything that does not change while a session lives.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// The document of the whole.
    base: PipelineSpec,
    pub renditions: Vec<Rendition>,
    pub timeline: Timeline,
    /// Picture and sound are in the same segments.
    pub muxed: bool,
    /// Several qualities were asked for, even if there is but one.
    pub ladder: bool,
    /// The sound in the segments of the picture.
    sound: Option<AudioSpec>,
    pub ts: bool,
    pub dash: bool,
    pub directory: PathBuf,
    target: f64,
}

/// One set of segments.
#[derive(Clone, Debug)]
pub(super) struct Rendition {
    pub name: String,
    pub kind: Kind,
    /// As far as it is known before anything is made.
    pub codecs: String,
    /// Bits per second.
    pub average: u64,
    pub peak: u64,
    pub width: u32,
    pub height: u32,
    pub channels: u32,
    pub sample_rate: u32,
    pub language: Option<String>,
    pub title: Option<String>,
    /// Of HDR, what the source's is; otherwise it is the usual one.
    pub colour: Colour,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Video(Box<VideoSpec>),
    Audio(Box<AudioSpec>),
}

impl Rendition {
    pub fn is_video(&self) -> bool {
        matches!(self.kind, Kind::Video(_))
    }
}

impl Shape {
    /// The shape of what `spec` asks for, decided as `verdict` says. The error is in words.
    pub fn new(
        spec: &PipelineSpec,
        probe: &Value,
        verdict: &Verdict,
        timeline: Timeline,
        directory: &Path,
    ) -> Result<Shape, String> {
        let output = spec.outputs.first().ok_or("nothing is asked for")?;
        let segment = output.segment.clone().unwrap_or_default();
        let copies = verdict.method != Method::Transcode;
        let mut renditions = Vec::new();
        if let Some(stream) = picture(probe).filter(|_| !matches!(output.video, VideoChoice::None)) {
            let mut base = match &output.video {
                VideoChoice::Track(v) => (**v).clone(),
                _ => VideoSpec::new(),
            };
            base.two_pass = false;
            if timeline.even_out
                && let Some((n, d)) = timeline.frame_rate.filter(|_| base.frame_rate.is_none())
                && let (Ok(n), Ok(d)) = (i32::try_from(n), i32::try_from(d))
            {
                base.frame_rate = Some(FrameRate(Rational::new(n, d)));
            }
            match &output.ladder {
                _ if copies => {
                    let copy = VideoSpec { stream: base.stream, ..VideoSpec::copy() };
                    renditions.push(video(&copy, &base, stream, probe, &timeline, "source".into()));
                }
                Some(LadderSpec::Rungs(rungs)) => {
                    for rung in rungs {
                        let merged = merged(rung, &base)?;
                        let name = rung_name(&merged, stream, &renditions);
                        renditions.push(video(&merged, &base, stream, probe, &timeline, name));
                    }
                }
                Some(LadderSpec::Auto) => return Err("an automatic ladder is not known beforehand".into()),
                None => renditions.push(video(&base, &base, stream, probe, &timeline, "video".into())),
            }
        }
        let pictures = renditions.len();
        for (n, (track, stream)) in tracks(output, probe).into_iter().enumerate() {
            let mut track = track;
            if copies && verdict.keep_audio {
                track = AudioSpec { stream: track.stream, ..AudioSpec::copy() };
            }
            track.loudness = None;
            let name = if n == 0 { "audio".to_string() } else { format!("audio-{}", n + 1) };
            renditions.push(audio(&track, stream, name));
        }
        if renditions.is_empty() {
            return Err("the source has neither pictures nor sound".into());
        }
        let ts = segment.container == SegmentContainer::Ts && renditions.iter().all(fits_ts);
        let muxed = ts && pictures == 1 && renditions.len() == 2;
        let mut within = None;
        if muxed && let Some(sound) = renditions.pop() {
            if let Kind::Audio(spec) = &sound.kind {
                within = Some((**spec).clone());
            }
            let whole = &mut renditions[0];
            whole.codecs = format!("{},{}", whole.codecs, sound.codecs);
            (whole.average, whole.peak) = (whole.average + sound.average, whole.peak + sound.peak);
        }
        let mut base = spec.clone();
        base.outputs.truncate(1);
        Ok(Shape {
            base,
            renditions,
            timeline,
            muxed,
            ladder: output.ladder.is_some(),
            sound: within,
            ts,
            dash: !ts && output.format.is_some_and(|f| f != Container::Hls),
            directory: directory.to_owned(),
            target: segment.duration.0,
        })
    }

    /// Number of segments of the whole.
    pub fn count(&self) -> u64 {
        self.timeline.segments.len() as u64
    }

    /// The rendition whose key frames are offered for scrubbing: the one that costs least to make.
    pub fn scrubbed(&self) -> Option<usize> {
        let videos = self.renditions.iter().enumerate().filter(|(_, r)| r.is_video());
        videos.min_by_key(|(_, r)| r.average).map(|(n, _)| n)
    }

    /// Bits per second of each video encoder of a run of `set`, on a machine that is well.
    pub fn rates(&self, set: &[usize]) -> Vec<u64> {
        let tracks = set.iter().filter_map(|n| match &self.renditions.get(*n)?.kind {
            Kind::Video(v) => v.bitrate.map(|b| b.0),
            Kind::Audio(_) => None,
        });
        tracks.collect()
    }

    /// The document of a run that reads the text subtitles of `streams`, each into its [`Shape::text`].
    pub fn texts(&self, streams: &[usize]) -> PipelineSpec {
        let mut spec = self.base.clone();
        let output = |stream: &usize| {
            let mut output = OutputSpec::path(self.text(*stream).to_string_lossy());
            output.format = Some(Container::WebVtt);
            output.overwrite = true;
            (output.video, output.audio) = (VideoChoice::None, AudioChoice::None);
            let track = SubtitleSpec { stream: Some(*stream), ..SubtitleSpec::default() };
            output.subtitles = SubtitleChoice::Tracks(vec![track]);
            output
        };
        spec.outputs = streams.iter().map(output).collect();
        spec
    }

    /// Where the text of subtitle stream `stream` of the source is kept.
    pub fn text(&self, stream: usize) -> PathBuf {
        self.directory.join(format!("text-{stream}.vtt"))
    }

    /// The document of a run that makes segments `first` to `end` of the renditions `set`.
    pub fn document(&self, set: &[usize], first: u64, end: u64, software: bool, load: &Load) -> PipelineSpec {
        let mut spec = self.base.clone();
        let mut output = OutputSpec::path(self.directory.join("master.m3u8").to_string_lossy());
        output.format = Some(if self.ts { Container::Hls } else { Container::HlsDash });
        output.overwrite = true;
        output.copy_conforming = false;
        output.subtitles = SubtitleChoice::None;
        let chosen = set.iter().filter_map(|n| self.renditions.get(*n));
        let mut rungs = Vec::new();
        let mut sounds = Vec::new();
        for rendition in chosen {
            match &rendition.kind {
                Kind::Video(v) => {
                    let mut v = (**v).clone();
                    v.name = Some(rendition.name.clone());
                    if software && !v.is_copy() {
                        (v.device, v.encoder) = (Device::Software, None);
                    }
                    if !v.is_copy() {
                        adapt(&mut v, load, self.ts);
                    }
                    rungs.push(v);
                }
                Kind::Audio(a) => {
                    sounds.push(AudioSpec { name: Some(rendition.name.clone()), ..(**a).clone() });
                }
            }
        }
        output.video = match rungs.len() {
            0 => VideoChoice::None,
            1 => VideoChoice::Track(Box::new(rungs.remove(0))),
            _ => VideoChoice::Default,
        };
        output.ladder = (!rungs.is_empty()).then_some(LadderSpec::Rungs(rungs));
        sounds.extend(self.sound.clone());
        output.audio = match sounds.is_empty() {
            true => AudioChoice::None,
            false => AudioChoice::Tracks(sounds),
        };
        let whole = first == 0 && end >= self.count();
        output.segment = Some(SegmentSpec {
            duration: Seconds(self.target),
            container: if self.ts { SegmentContainer::Ts } else { SegmentContainer::Fmp4 },
            // The key frame is a box of its own, which can be served alone.
            iframes: !self.ts,
            window: Some(WindowSpec {
                first,
                count: (!whole && end < self.count()).then(|| end.saturating_sub(first).max(1)),
                starts: self.timeline.starts.iter().copied().map(Seconds).collect(),
                apart: !self.muxed,
            }),
            ..SegmentSpec::default()
        });
        if software {
            spec.source.decode.device = Device::Software;
        }
        spec.outputs = vec![output];
        spec
    }

    /// Whether another encoder may go on where one fails.
    pub fn falls_back(&self) -> bool {
        self.base.fallback
    }

    /// What hardware the pictures are encoded with, in the contract's word (`auto`, `nvenc` …); `None` where they are copied,
    /// or encoded in software.
    pub fn hardware(&self) -> Option<&'static str> {
        match self.encoded_on()? {
            Device::Software => None,
            Device::Auto => Some("auto"),
            Device::Cuda => Some("nvenc"),
            Device::Qsv => Some("qsv"),
            Device::Vaapi => Some("vaapi"),
            Device::VideoToolbox => Some("videotoolbox"),
            Device::Amf => Some("amf"),
            Device::Vulkan => Some("vulkan"),
        }
    }

    /// The device that the pictures are encoded on; `None` where they are copied.
    pub fn encoded_on(&self) -> Option<Device> {
        self.renditions.iter().find_map(|r| match &r.kind {
            Kind::Video(v) if !v.is_copy() => Some(v.device),
            _ => None,
        })
    }

    /// Where a segment is on disk, below the directory.
    pub fn path(&self, rendition: usize, number: u64) -> String {
        let name = self.renditions.get(rendition).map_or("", |r| &r.name);
        format!("{name}/{number:05}.{}", self.extension())
    }

    pub fn extension(&self) -> &'static str {
        if self.ts { "ts" } else { "m4s" }
    }
}

/// What a machine under load makes of a track. Presets change what players are told before the first picture, so only streams
/// that carry it themselves may change theirs in the middle.
fn adapt(video: &mut VideoSpec, load: &Load, in_band: bool) {
    let share = load.quality.clamp(0.1, 1.0);
    for rate in [&mut video.bitrate, &mut video.max_bitrate, &mut video.buffer].into_iter().flatten() {
        rate.0 = (rate.0 as f64 * share) as u64;
    }
    if in_band && let Some(preset) = video.preset {
        let relief = Relief { faster: load.faster, drop_top: load.drop_top };
        video.preset = Some(relief.preset(preset));
    }
}

/// A rung with what it leaves out taken from the base, as the engine does it.
fn merged(rung: &VideoSpec, base: &VideoSpec) -> Result<VideoSpec, String> {
    let value = |v: &VideoSpec| match serde_json::to_value(v) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err("a rung that is no object".to_string()),
    };
    let (mut all, plain) = (value(base)?, value(&VideoSpec::new())?);
    if rung.crf.is_some() || rung.qp.is_some() || rung.lossless || rung.bitrate.is_some() {
        for key in ["crf", "qp", "lossless", "bitrate", "max_bitrate", "buffer"] {
            all.remove(key);
        }
    }
    all.extend(value(rung)?.into_iter().filter(|(key, v)| plain.get(key) != Some(v)));
    all.remove("two_pass");
    serde_json::from_value(Value::Object(all)).map_err(|e| e.to_string())
}

fn number(v: &Value) -> u32 {
    v.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}

fn rung_name(rung: &VideoSpec, stream: &Value, taken: &[Rendition]) -> String {
    let size = size_of(rung, stream);
    let plain = format!("{}p", size.0.min(size.1));
    let rate = rung.bitrate.map_or(0, |b| b.0 / 1000);
    [plain.clone(), format!("{plain}-{rate}k"), format!("{plain}-{}", taken.len())]
        .into_iter()
        .find(|name| taken.iter().all(|r| r.name != *name))
        .unwrap_or(plain)
}

fn size_of(spec: &VideoSpec, stream: &Value) -> (u32, u32) {
    let shown = (number(&stream["video"]["display_width"]), number(&stream["video"]["display_height"]));
    let other = |side: u32, of: u32, to: u32| {
        let scaled = f64::from(side) * f64::from(to) / f64::from(of.max(1));
        ((scaled / 2.0).round() as u32 * 2).max(2)
    };
    match (spec.width, spec.height) {
        (Some(w), Some(h)) => (w, h),
        (Some(w), None) => (w, other(w, shown.0, shown.1)),
        (None, Some(h)) => (other(h, shown.1, shown.0), h),
        (None, None) => shown,
    }
}

fn video(
    spec: &VideoSpec,
    base: &VideoSpec,
    stream: &Value,
    probe: &Value,
    timeline: &Timeline,
    name: String,
) -> Rendition {
    let (width, height) = size_of(spec, stream);
    let rate = timeline.frame_rate.map_or(30.0, |(n, d)| n as f64 / d as f64);
    let source_rate = stream["bit_rate"].as_u64().or_else(|| probe["bit_rate"].as_u64()).unwrap_or(0);
    let average = match spec.bitrate.or(spec.max_bitrate) {
        _ if spec.is_copy() => source_rate.max(100_000),
        Some(rate) => rate.0,
        None => ((f64::from(width) * f64::from(height) * rate * 0.08) as u64).max(100_000),
    };
    let peak = spec.max_bitrate.map_or(average + average / 2, |m| m.0.max(average)) + 20_000;
    let kept = spec.is_copy() || spec.bit_depth.is_some_and(|d| d > 8);
    let colour = Some(colour(&stream["video"]["colour"])).filter(|colour| kept && colour.is_hdr());
    let codec = match spec.is_copy() {
        true => stream["codec"].as_str().unwrap_or("h264").to_string(),
        false => spec.codec.as_ref().or(base.codec.as_ref()).map_or("h264", Codec::name).to_string(),
    };
    let said = spec.is_copy().then(|| super::playlists::codecs_of_copy(stream)).flatten();
    let guess = || {
        super::playlists::video_codecs(&codec, (width, height), rate, average, spec.bit_depth.unwrap_or(8))
    };
    Rendition {
        name,
        kind: Kind::Video(Box::new(spec.clone())),
        codecs: said.unwrap_or_else(guess),
        average,
        peak,
        width,
        height,
        channels: 0,
        sample_rate: 0,
        language: None,
        title: None,
        colour: colour.unwrap_or_default(),
    }
}

/// The sounds that are asked for, and their streams.
fn tracks<'a>(output: &OutputSpec, probe: &'a Value) -> Vec<(AudioSpec, &'a Value)> {
    let streams = probe["streams"].as_array().map(Vec::as_slice).unwrap_or_default();
    let sounds: Vec<&Value> = streams.iter().filter(|s| s["audio"].is_object()).collect();
    let index = |s: &Value| s["index"].as_u64().and_then(|n| usize::try_from(n).ok());
    match &output.audio {
        AudioChoice::None => Vec::new(),
        AudioChoice::Default => sounds
            .iter()
            .map(|s| {
                let codec = Some(Codec::from_name("aac"));
                (AudioSpec { stream: index(s), codec, ..AudioSpec::new() }, *s)
            })
            .collect(),
        AudioChoice::Tracks(wanted) => wanted
            .iter()
            .filter_map(|track| {
                let stream = match (track.stream, &track.language) {
                    (Some(n), _) => sounds.iter().find(|s| index(s) == Some(n)),
                    (None, Some(l)) => sounds.iter().find(|s| s["language"].as_str() == Some(l)),
                    (None, None) => sounds.first(),
                };
                stream.map(|s| (track.clone(), *s))
            })
            .collect(),
    }
}

fn audio(spec: &AudioSpec, stream: &Value, name: String) -> Rendition {
    let codec = match spec.is_copy() {
        true => stream["codec"].as_str().unwrap_or("aac").to_string(),
        false => spec.codec.as_ref().map_or("aac", Codec::name).to_string(),
    };
    let channels = spec.channels.unwrap_or_else(|| number(&stream["audio"]["channels"])).max(1);
    let average = match spec.bitrate {
        Some(rate) => rate.0,
        None if spec.is_copy() => stream["bit_rate"].as_u64().unwrap_or(192_000),
        None => 64_000 * u64::from(channels),
    };
    let text = |key: &str| stream[key].as_str().map(String::from);
    Rendition {
        name,
        kind: Kind::Audio(Box::new(spec.clone())),
        codecs: super::playlists::audio_codecs(&codec).into(),
        average,
        peak: average + average / 10,
        width: 0,
        height: 0,
        channels,
        sample_rate: spec.sample_rate.unwrap_or_else(|| number(&stream["audio"]["sample_rate"])),
        language: text("language"),
        title: text("title"),
        colour: Colour::default(),
    }
}

/// The colour whose parts a probe names.
fn colour(names: &Value) -> Colour {
    let part = |name: &str, spec: fn(String) -> ColourSpec| {
        let said = names[name].as_str().map(|word| from_spec(&spec(word.into())));
        said.and_then(Result::ok).unwrap_or_default()
    };
    Colour {
        primaries: part("primaries", |p| ColourSpec { primaries: Some(p), ..ColourSpec::default() })
            .primaries,
        transfer: part("transfer", |t| ColourSpec { transfer: Some(t), ..ColourSpec::default() }).transfer,
        matrix: part("matrix", |m| ColourSpec { matrix: Some(m), ..ColourSpec::default() }).matrix,
        range: part("range", |r| ColourSpec { range: Some(r), ..ColourSpec::default() }).range,
        ..Colour::default()
    }
}

/// Whether MPEG-TS can carry it.
fn fits_ts(rendition: &Rendition) -> bool {
    ["avc1", "hvc1", "hev1", "mp4a", "ac-3", "ec-3"].iter().any(|c| rendition.codecs.starts_with(c))
}
