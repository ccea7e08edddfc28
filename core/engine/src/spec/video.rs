//! How a video track is made. The vocabulary is one for all encoders; `encode/` maps it to each and documents the table.

use super::filter::{ColourSpec, FilterSpec};
use super::hdr::HdrSpec;
use super::source::Device;
use super::values::{Bitrate, FrameRate, Seconds};
use crate::packet::Codec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One video track of an output.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VideoSpec {
    /// Name of the rendition (segmented formats): letters, digits, `-` and `_`; default its height (`720p`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `h264`, `hevc`, `av1`, `vp9`, `ffv1`, `rawvideo` …, or `copy`; default by the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub codec: Option<Codec>,
    /// Encoder implementation: `auto` (a real probe decides), `nvenc` (driven directly) or FFmpeg's name (`libx264` …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// Where to encode when `encoder` is `auto`.
    #[serde(default)]
    pub device: Device,
    /// Index of the source stream; default the best video stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<usize>,

    /// Constant quality on the encoder's own scale (x264 0–51, SVT-AV1 0–63 …); NVENC's `cq`.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "cq")]
    pub crf: Option<f64>,
    /// Average bits per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<Bitrate>,
    /// Peak bits per second over `buffer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bitrate: Option<Bitrate>,
    /// Decoder buffer (VBV) in bits; default one second of `max_bitrate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer: Option<Bitrate>,
    /// Constant bit rate at `bitrate`.
    #[serde(default)]
    pub cbr: bool,
    /// Constant quantiser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qp: Option<u32>,
    /// Mathematically lossless.
    #[serde(default)]
    pub lossless: bool,
    /// Encode twice; the first pass only gathers statistics. Needs `bitrate` and a source that can be read twice.
    #[serde(default)]
    pub two_pass: bool,

    /// Speed against quality, `p1` (fastest) to `p7` (best); default `p4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// What to tune for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tune: Option<Tune>,
    /// Frames from one key frame to the next at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gop: Option<u32>,
    /// Seconds from one key frame to the next, exactly; excludes `gop`. Segmented outputs set it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyframe_interval: Option<Seconds>,
    /// B-frames between references.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b_frames: Option<u32>,
    /// Frames of lookahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookahead: Option<u32>,
    /// Profile by the codec's usual name (`baseline`, `main`, `high`, `main10`, `high10`, `high444` …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Level as written in the standard (`4.1`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// Bits per sample: 8, 10 or 12; default as the source, 8 where the codec or container wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bit_depth: Option<u8>,
    /// Exact pixel format by FFmpeg's name, instead of `bit_depth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_format: Option<String>,
    /// Encoder threads; 0 = chosen from the cores and the rest of the job.
    #[serde(default)]
    pub threads: u32,
    /// Encoder options by FFmpeg's names, applied last; one that the encoder does not take is an error.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,

    /// Width in pixels; with `height` absent it follows the display aspect ratio (even).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Height in pixels; with `width` absent it follows the display aspect ratio (even).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// How to scale.
    #[serde(default)]
    pub scaler: Scaler,
    /// Constant output rate by dropping and repeating; absent = every source frame with its own time (VFR kept).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_rate: Option<FrameRate>,
    /// Rotate by the source's metadata, so that the output needs none.
    #[serde(default = "super::yes")]
    pub auto_rotate: bool,
    /// Colour of the output; default as the source (tone-mapped to BT.709 if a `tone_map` filter is there).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<ColourSpec>,
    /// Static HDR metadata to write in place of the source's; what is absent stays the source's. The output must be PQ or
    /// HLG.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hdr: Option<HdrSpec>,
    /// Filters in order, before scaling.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<FilterSpec>,
}

impl VideoSpec {
    /// Every field at its default.
    pub fn new() -> Self {
        VideoSpec { auto_rotate: true, ..VideoSpec::default() }
    }

    /// Copy the source's coded video.
    pub fn copy() -> Self {
        VideoSpec { codec: Some(Codec::from_name("copy")), ..VideoSpec::new() }
    }

    /// Whether the track is copied.
    pub fn is_copy(&self) -> bool {
        self.codec.as_ref().is_some_and(|c| c.name() == "copy")
    }
}

/// Speed against quality; each encoder's own presets stand in the table in `encode/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Preset {
    P1,
    P2,
    P3,
    P4,
    P5,
    P6,
    P7,
}

/// What an encoder is tuned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tune {
    /// High quality (the default of every encoder).
    Hq,
    /// Low latency: no reordering, no long lookahead.
    Ll,
    /// Ultra low latency: a packet for every frame at once.
    Ull,
    /// Lossless.
    Lossless,
}

/// Scaling kernel. Where frames stay on a device, `bicubic` also stands for the best that the device has; another kernel
/// that it does not have is a reason to scale on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scaler {
    /// Nearest neighbour.
    Nearest,
    /// Two taps.
    Bilinear,
    /// Four taps, B = 0, C = 0.6: sharp, and the measured best for a ladder.
    #[default]
    Bicubic,
    /// Six taps.
    Lanczos,
}
