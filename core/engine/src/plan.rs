//! What would be done and why: the answer of `--plan` and the first event of every job.

use crate::event::{Word, word};
use serde::{Deserialize, Deserializer, Serialize};

/// The plan of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The source, in one line.
    pub source: String,
    /// Its length in seconds, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
    /// Where in the source copied pictures begin, in seconds: at a key frame, `source.start` or before it. Absent without
    /// copied pictures, and without `source.start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_start: Option<f64>,
    /// How each decoded stream is decoded.
    pub decoders: Vec<DecoderPlan>,
    /// What is made of it.
    pub outputs: Vec<OutputPlan>,
}

/// How a stream is decoded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DecoderPlan {
    /// Index of the source stream.
    pub stream: usize,
    /// Codec.
    pub codec: String,
    /// `software` or the device's name.
    pub device: String,
    /// Threads.
    pub threads: u32,
    /// Why.
    pub reason: String,
}

/// One output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OutputPlan {
    /// Path or kind.
    pub label: String,
    /// Container, or `packets`.
    pub format: String,
    /// Its tracks.
    pub tracks: Vec<TrackPlan>,
    /// What of the source does not go into it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// One track of an output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrackPlan {
    /// `video`, `audio` or `subtitle`.
    #[serde(deserialize_with = "kind")]
    pub kind: Word,
    /// Name of the rendition or track.
    pub name: String,
    /// Index of the source stream it is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<usize>,
    /// `copy`, `encode`, `share` (an encoder named in `reason` makes it too) or `convert` (subtitles).
    #[serde(deserialize_with = "action")]
    pub action: Word,
    /// Codec of the result.
    pub codec: String,
    /// Encoder implementation, for `encode` and `share`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// Size, rate, bit rate … in words.
    pub detail: String,
    /// Stages between decoder and encoder, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<String>,
    /// Why it is done so.
    pub reason: String,
    /// What the encoder only approximates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Plan {
    /// The encoder of the first video track that is encoded.
    pub fn video_encoder(&self) -> Option<&str> {
        let tracks = self.outputs.iter().flat_map(|o| &o.tracks);
        tracks.filter(|t| t.kind == "video").find_map(|t| t.encoder.as_deref())
    }
}

fn kind<'de, D: Deserializer<'de>>(d: D) -> Result<Word, D::Error> {
    word(d, &["video", "audio", "subtitle", "data", "attachment"])
}

fn action<'de, D: Deserializer<'de>>(d: D) -> Result<Word, D::Error> {
    word(d, &["copy", "encode", "share", "convert"])
}
