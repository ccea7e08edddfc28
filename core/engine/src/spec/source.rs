//! Where media comes from.

use super::output::{Container, OutputSpec, VideoChoice};
use super::values::{FrameRate, Seconds};
use crate::error::Error;
use crate::time::Rational;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A source: exactly one of `url`, `screen`, `pattern`, `bytes`, `packets` and `frames`, or `sound` alone, and how it is read.
/// `Debug` shows no credentials.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceSpec {
    /// A file path or a URL that FFmpeg opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A screen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen: Option<super::ScreenSpec>,
    /// Captured sound, beside a `screen` or alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sound: Vec<super::SoundSpec>,
    /// A generated picture and tone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<PatternSpec>,
    /// A container fed by the application (`gs_job_write`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<BytesSpec>,
    /// Coded packets fed by the application, whose streams it describes when the job is made. From Rust only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<FedPacketsSpec>,
    /// Raw frames fed by the application (`gs_job_push_frame`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames: Option<FramesSpec>,

    /// Where to begin, exact to the frame for what is encoded and at the key frame before it for what is copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Seconds>,
    /// How much to take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Seconds>,
    /// How many times to play the source again after its end, with continuous timestamps; -1 = for ever.
    #[serde(default, rename = "loop")]
    pub loops: i32,
    /// Deliver at the speed of the timestamps instead of as fast as possible.
    #[serde(default)]
    pub realtime: bool,

    /// FFmpeg's demuxer name, when guessing would fail (`url` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Demuxer and protocol options by FFmpeg's names (`url` only); one that FFmpeg does not take is an error.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Protocols that may be opened, also by playlists and redirects inside the source; default local files and http(s).
    /// What a source from the network names never opens local files, and no source leads to a local network that is not
    /// there itself.
    #[serde(default = "default_protocols")]
    pub protocols: Vec<String>,
    /// Hosts that playlists and redirects inside the source may lead to; default any.
    #[serde(default, skip_serializing_if = "super::HostRules::is_empty")]
    pub hosts: super::HostRules,
    /// Extra HTTP request headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Seconds that one blocking read or connect may take; 0 = for ever.
    #[serde(default = "default_timeout")]
    pub timeout: f64,
    /// Reconnect a broken HTTP transfer where it stopped, if the server can go on there.
    #[serde(default = "super::yes")]
    pub reconnect: bool,
    /// Take a truncated source as far as it goes, with a warning, instead of failing.
    #[serde(default)]
    pub salvage: bool,
    /// How to decode.
    #[serde(default)]
    pub decode: DecodeSpec,
}

fn default_protocols() -> Vec<String> {
    ["file", "http", "https"].map(String::from).to_vec()
}

fn default_timeout() -> f64 {
    30.0
}

/// Beginnings of addresses whose media comes at its own speed.
const LIVE_SCHEMES: &[&str] = &["rtmp", "srt:", "rtsp", "udp:", "rtp:", "rist:", "tcp:"];

impl SourceSpec {
    /// Whether it goes on without us: what is not taken in time is lost, and nobody can begin it again.
    pub fn is_live(&self) -> bool {
        let waits = match &self.url {
            Some(url) => {
                let url = url.to_ascii_lowercase();
                !LIVE_SCHEMES.iter().any(|scheme| url.starts_with(scheme))
            }
            None => match (&self.frames, &self.packets) {
                (Some(frames), _) => !frames.live,
                (_, Some(packets)) => !packets.live,
                _ => self.pattern.is_some() || self.bytes.is_some(),
            },
        };
        self.realtime || !self.sound.is_empty() || !waits
    }

    /// A file or URL with everything else at its default.
    pub fn url(url: impl Into<String>) -> Self {
        SourceSpec {
            url: Some(url.into()),
            protocols: default_protocols(),
            timeout: default_timeout(),
            reconnect: true,
            ..SourceSpec::default()
        }
    }

    /// A test pattern.
    pub fn pattern(pattern: PatternSpec) -> Self {
        SourceSpec { url: None, pattern: Some(pattern), ..SourceSpec::url("") }
    }

    /// A screen.
    pub fn screen(screen: super::ScreenSpec) -> Self {
        SourceSpec { url: None, screen: Some(screen), ..SourceSpec::url("") }
    }

    /// Captured sound alone.
    pub fn sound(sound: Vec<super::SoundSpec>) -> Self {
        SourceSpec { url: None, sound, ..SourceSpec::url("") }
    }

    /// Raw frames pushed by the application.
    pub fn frames(frames: FramesSpec) -> Self {
        SourceSpec { url: None, frames: Some(frames), ..SourceSpec::url("") }
    }

    /// Coded packets pushed by the application.
    pub fn packets(packets: FedPacketsSpec) -> Self {
        SourceSpec { url: None, packets: Some(packets), ..SourceSpec::url("") }
    }

    /// A container pushed by the application.
    pub fn bytes(bytes: BytesSpec) -> Self {
        SourceSpec { url: None, bytes: Some(bytes), ..SourceSpec::url("") }
    }

    /// Refuses what makes no sense, naming the field.
    pub(crate) fn check(&self) -> crate::Result<()> {
        super::check::source(self)
    }

    /// What to call the source in messages, without credentials.
    pub fn label(&self) -> String {
        if let Some(url) = &self.url {
            return super::secret::masked(url);
        }
        if let Some(screen) = &self.screen {
            return screen.label();
        }
        match (&self.pattern, &self.bytes) {
            (Some(p), _) => format!("pattern:{}", p.kind.name()),
            (_, Some(_)) => "application bytes".into(),
            _ if self.packets.is_some() => "application packets".into(),
            _ if !self.sound.is_empty() => {
                let labels: Vec<String> = self.sound.iter().map(super::SoundSpec::label).collect();
                format!("sound:{}", labels.join("+"))
            }
            _ => "application frames".into(),
        }
    }
}

impl fmt::Debug for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::secret::debug("SourceSpec", self, f)
    }
}

/// A container fed as bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BytesSpec {
    /// Bytes that may wait unread before a write blocks.
    #[serde(default = "default_buffer")]
    pub buffer: u32,
}

fn default_buffer() -> u32 {
    4 << 20
}

/// Coded packets fed by the application. Their times are those of the outputs: time 0 of the packets is time 0 there.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FedPacketsSpec {
    /// Packets that may wait before a push blocks; 0 = 128.
    #[serde(default)]
    pub queue: u32,
    /// When there is no room, drop (and count) what comes until the next key frame instead of blocking: for live sources. A
    /// warning `dropped` tells it once of each kind of stream.
    #[serde(default)]
    pub live: bool,
}

/// Raw frames fed by the application.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FramesSpec {
    /// The pictures, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<RawVideoSpec>,
    /// The sound, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<RawAudioSpec>,
    /// Frames that may wait before a push blocks; 0 = 4. When `live`, pictures only: half a second of sound may wait beside
    /// them, in pieces of any length.
    #[serde(default)]
    pub queue: u32,
    /// When there is no room, drop the oldest waiting frame of the same kind (and count it) instead of blocking: for live
    /// sources. A warning `dropped` tells it once of pictures and once of sound.
    #[serde(default)]
    pub live: bool,
}

/// Raw pictures.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawVideoSpec {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// FFmpeg's pixel format name: `nv12`, `yuv420p`, `rgb24`, `rgba`, `bgra`, `p010le` …
    pub format: String,
    /// Nominal frame rate; timestamps come with the frames.
    pub frame_rate: FrameRate,
    /// Colour of the pictures; default BT.709 limited for YUV of 720 lines and more, BT.601 below, sRGB full for RGB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<super::ColourSpec>,
    /// Static HDR metadata of the pictures; needs `colour.transfer` to be `smpte2084` or `arib-std-b67`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hdr: Option<super::HdrSpec>,
    /// Where the pictures are. `format` says what the samples are there too.
    #[serde(default, skip_serializing_if = "RawMemory::is_host")]
    pub memory: RawMemory,
}

/// Where pushed pictures are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawMemory {
    /// The CPU's memory.
    #[default]
    Host,
    /// CUDA device memory: they stay there where the encoder takes them there.
    Cuda,
}

impl RawMemory {
    fn is_host(&self) -> bool {
        *self == RawMemory::Host
    }
}

/// Raw sound.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawAudioSpec {
    /// Samples per second.
    pub sample_rate: u32,
    /// Channel count; the default layout of that count is meant.
    pub channels: u32,
    /// FFmpeg's sample format name: `s16`, `flt`, `fltp` …
    pub format: String,
}

/// A generated source.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PatternSpec {
    /// Which picture.
    #[serde(default)]
    pub kind: PatternKind,
    /// Pixels.
    #[serde(default = "default_width")]
    pub width: u32,
    /// Pixels.
    #[serde(default = "default_height")]
    pub height: u32,
    /// Frames per second.
    #[serde(default = "default_rate")]
    pub frame_rate: FrameRate,
    /// Number of frames; absent = until `source.duration` or for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames: Option<u64>,
    /// A 1 kHz tone at -20 dBFS, 48 kHz stereo, beside the picture.
    #[serde(default)]
    pub tone: bool,
    /// Burn the frame number into the picture, as digits and as a row of black/white blocks that a test can read back.
    #[serde(default)]
    pub burn_in: bool,
}

fn default_width() -> u32 {
    1280
}

fn default_height() -> u32 {
    720
}

fn default_rate() -> FrameRate {
    FrameRate(Rational::new(30, 1))
}

impl Default for PatternSpec {
    fn default() -> Self {
        PatternSpec {
            kind: PatternKind::default(),
            width: default_width(),
            height: default_height(),
            frame_rate: default_rate(),
            frames: None,
            tone: false,
            burn_in: false,
        }
    }
}

/// The picture of a [`PatternSpec`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PatternKind {
    /// SMPTE EG 1 colour bars (75 %), BT.709 limited.
    #[default]
    Smpte,
    /// A gradient that moves one pixel a frame.
    Gradient,
}

impl PatternKind {
    /// The name used in the document and in `pattern:<name>`.
    pub fn name(self) -> &'static str {
        match self {
            PatternKind::Smpte => "smpte",
            PatternKind::Gradient => "gradient",
        }
    }
}

/// How to decode.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecodeSpec {
    /// On which device.
    #[serde(default)]
    pub device: Device,
    /// Decoder threads; 0 = chosen from the cores and the rest of the job.
    #[serde(default)]
    pub threads: u32,
    /// Make a key frame of what was one in the source, so that what is encoded can be switched to from what is copied.
    #[serde(default)]
    pub keys: bool,
    /// Decode the key frames of the pictures and nothing between them, for previews in a fraction of the time. Each is shown
    /// until the next. It is for all that is encoded; segments need every picture.
    #[serde(default)]
    pub key_frames_only: bool,
}

impl DecodeSpec {
    /// Refuses key frames alone for outputs that need more, or none that is decoded.
    pub(super) fn check(&self, outputs: &[OutputSpec]) -> crate::Result<()> {
        if !self.key_frames_only {
            return Ok(());
        }
        let refuse = |why: &str| Err(Error::invalid("source.decode.key_frames_only", why));
        let whole = |o: &OutputSpec| o.ladder.is_some() || o.container().is_some_and(Container::is_segmented);
        if outputs.iter().any(whole) {
            return refuse("ladders and segments need every picture");
        }
        let decodes = |o: &OutputSpec| match &o.video {
            VideoChoice::None => false,
            VideoChoice::Track(v) => !v.is_copy(),
            VideoChoice::Default => true,
        };
        if outputs.iter().any(decodes) { Ok(()) } else { refuse("no output has pictures that are decoded") }
    }
}

/// Where a stage runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// Encoders: the first hardware that works, else software. Decoders: on the device of all of the stream's encoders
    /// when it decodes the codec, else in software.
    #[default]
    Auto,
    /// On the CPU.
    Software,
    /// NVIDIA.
    Cuda,
    /// VA-API (Intel, AMD).
    Vaapi,
    /// Intel Quick Sync.
    Qsv,
    /// AMD's own runtime; it only encodes, from host memory (`vaapi` decodes on AMD's devices too).
    Amf,
    /// Apple.
    VideoToolbox,
    /// Vulkan Video.
    Vulkan,
}

impl Device {
    /// FFmpeg's name of the device type whose frames can stay there; `None` for auto, software and amf.
    pub fn ffmpeg_name(self) -> Option<&'static str> {
        match self {
            Device::Auto | Device::Software | Device::Amf => None,
            Device::Cuda => Some("cuda"),
            Device::Vaapi => Some("vaapi"),
            Device::Qsv => Some("qsv"),
            Device::VideoToolbox => Some("videotoolbox"),
            Device::Vulkan => Some("vulkan"),
        }
    }
}
