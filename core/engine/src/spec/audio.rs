//! How an audio track is made.

use super::values::Bitrate;
use crate::packet::Codec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One audio track of an output.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AudioSpec {
    /// Name of the rendition (segmented formats): letters, digits, `-` and `_`; default by its language (`audio-eng`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `aac`, `opus`, `mp3`, `flac`, `ac3`, `eac3`, `pcm_s16le` …, or `copy`; default by the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub codec: Option<Codec>,
    /// Encoder implementation by FFmpeg's name; default the best for the codec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// Index of the source stream; default the best audio stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<usize>,
    /// Take the best stream of this language instead of an index (ISO 639, two letters or three).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// A track of every audio stream, or with `language` of every one of it, instead of the best; of several programs those of
    /// the picture's. None where the source has none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Bits per second; default by codec and channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<Bitrate>,
    /// Channels to mix to by layout (1 mono, 2 stereo, 6 = 5.1, 8 = 7.1); default as the source, where the codec can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u32>,
    /// Samples per second; default as the source, where the codec can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<u32>,
    /// Gain in dB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gain: Option<f64>,
    /// Loudness normalisation (EBU R128).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loudness: Option<LoudnessSpec>,
    /// Stretch or squeeze sound to follow its timestamps (drift), and fill gaps with silence.
    #[serde(default = "super::yes")]
    pub sync: bool,
    /// Encoder options by FFmpeg's names, applied last; one that the encoder does not take is an error.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

impl AudioSpec {
    /// Every field at its default.
    pub fn new() -> Self {
        AudioSpec { sync: true, ..AudioSpec::default() }
    }

    /// Copy the source's coded audio.
    pub fn copy() -> Self {
        AudioSpec { codec: Some(Codec::from_name("copy")), ..AudioSpec::new() }
    }

    /// Whether the track is copied.
    pub fn is_copy(&self) -> bool {
        self.codec.as_ref().is_some_and(|c| c.name() == "copy")
    }
}

/// EBU R128 targets.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoudnessSpec {
    /// Integrated loudness, LUFS; default -23.
    #[serde(default = "minus_23")]
    pub integrated: f64,
    /// Loudness range, LU; default 7.
    #[serde(default = "seven")]
    pub range: f64,
    /// True peak, dBTP; default -1.
    #[serde(default = "minus_1")]
    pub true_peak: f64,
}

fn minus_23() -> f64 {
    -23.0
}

fn seven() -> f64 {
    7.0
}

fn minus_1() -> f64 {
    -1.0
}

impl Default for LoudnessSpec {
    fn default() -> Self {
        LoudnessSpec { integrated: minus_23(), range: seven(), true_peak: minus_1() }
    }
}
