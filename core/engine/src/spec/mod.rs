//! The one document: a source and its outputs. The same JSON serves Rust, C, Python, HTTP and the CLI; its JSON
//! Schema is generated from these types ([`schema`]) and committed.
//!
//! Every field is honoured or refused: unknown keys are refused by name, and [`PipelineSpec::check`] refuses
//! combinations that make no sense with the path of the field (`outputs[0].video.crf: …`).

mod audio;
pub(crate) mod camera;
mod check;
mod filter;
mod hdr;
mod hosts;
mod ladder;
pub(crate) mod numbered;
mod output;
mod plain;
mod push;
mod record;
mod screen;
mod secret;
mod service;
mod sound;
mod source;
mod srt;
pub(crate) mod template;
mod tiles;
mod values;
mod video;

pub use audio::{AudioSpec, LoudnessSpec};
pub use camera::{CameraFormat, CameraSpec};
pub use filter::{
    BurnInSpec, ColourSpec, CropSpec, Deinterlace, FilterSpec, InterpolateSpec, PadSpec, SharpenSpec,
    ToneMapCurve, ToneMapSpec, WatermarkSpec,
};
pub use hdr::{HdrSpec, MasteringDisplaySpec};
pub use hosts::{HostPattern, HostRules, plain as plain_address};
pub use ladder::{LadderSpec, RungSpec};
pub use output::{
    AudioChoice, BitstreamFormat, Container, OutputSpec, PacketsSpec, PlaylistMode, STANDARD_OUTPUT,
    SegmentContainer, SegmentNames, SegmentSpec, SubtitleChoice, SubtitleSpec, VideoChoice, WindowSpec,
};
pub use plain::Plain;
pub(crate) use push::is_encrypted;
pub use push::{AdaptChoice, AdaptSpec, PushSpec, SrtMode, SrtSpec};
pub use record::{ReplaySpec, ReplayStore, SplitChoice, SplitSpec};
pub use screen::{RegionSpec, ScreenBackend, ScreenPick, ScreenSpec, WebcamSpec};
pub(crate) use secret::masked;
pub use service::{SERVICES, Service};
pub use sound::{SoundSource, SoundSpec};
pub use source::{
    BytesSpec, DecodeSpec, Device, FedPacketsSpec, FramesSpec, PatternKind, PatternSpec, RawAudioSpec,
    RawMemory, RawVideoSpec, SourceSpec,
};
pub(crate) use srt::SrtAddress;
pub use tiles::TilesSpec;
pub use values::{Bitrate, ByteSize, FrameRate, Seconds};
pub use video::{Preset, Scaler, Tune, VideoSpec};

use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A whole job: one source, one or more outputs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineSpec {
    /// Where media comes from.
    pub source: SourceSpec,
    /// What is made of it. The source is decoded once for all of them.
    pub outputs: Vec<OutputSpec>,
    /// Whether a stage that cannot run as asked (device gone, encoder missing) may be replaced by the next best one,
    /// with a warning event: an encoder that is driven directly (NVENC) also in mid-stream, everything else before it begins.
    /// A job that decodes on a card that is gone altogether ends. `false` turns every fallback into an error.
    #[serde(default = "yes")]
    pub fallback: bool,
    /// Keep what is half-written when the job is cancelled or fails, instead of removing it.
    #[serde(default)]
    pub keep_partial: bool,
    /// Seconds without any progress after which the job fails; 0 = never. Paused time does not count.
    #[serde(default = "default_stall")]
    pub stall_timeout: f64,
    /// Threads for the whole job; 0 = as many as the machine has cores.
    #[serde(default)]
    pub threads: u32,
    /// A label for logs and events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A [`WindowSpec`] and the grid it counts on.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub spec: WindowSpec,
    pub duration: Seconds,
}

impl Window {
    /// Where segment `number` begins, if there is one.
    pub fn start(&self, number: u64) -> Option<Timestamp> {
        if self.spec.starts.is_empty() {
            return Some(Timestamp::from_seconds(self.duration.0 * number as f64));
        }
        let start = self.spec.starts.get(usize::try_from(number).ok()?)?;
        Some(Timestamp::from_seconds(start.0))
    }

    /// The segment to stop before, if it is not the end of the source that stops it.
    pub fn end(&self) -> Option<u64> {
        let end = self.spec.first.saturating_add(self.spec.count?);
        self.start(end).map(|_| end)
    }

    /// Explicit starts.
    pub fn starts(&self) -> Option<Vec<Timestamp>> {
        let starts = self.spec.starts.iter().map(|s| Timestamp::from_seconds(s.0));
        (!self.spec.starts.is_empty()).then(|| starts.collect())
    }
}

fn yes() -> bool {
    true
}

fn default_stall() -> f64 {
    120.0
}

impl PipelineSpec {
    /// A job from `source` to `outputs` with every other field at its default.
    pub fn new(source: SourceSpec, outputs: Vec<OutputSpec>) -> Self {
        PipelineSpec {
            source,
            outputs,
            fallback: true,
            keep_partial: false,
            stall_timeout: default_stall(),
            threads: 0,
            name: None,
        }
    }

    /// Parses and checks a document.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] with the path of the offending field, for a syntax error, a wrong type, an unknown key
    /// or a combination that [`PipelineSpec::check`] refuses.
    pub fn from_json(text: &str) -> Result<Self> {
        let spec: PipelineSpec = parse_json(text)?;
        spec.check()?;
        Ok(spec)
    }

    /// The part of their segments that the outputs make, if that is not all.
    pub(crate) fn window(&self) -> Option<Window> {
        let segment = self.outputs.iter().find_map(|o| o.segment.as_ref())?;
        segment.window.clone().map(|spec| Window { spec, duration: segment.duration })
    }

    /// The same, with the outputs' paths that say `file:` as plain paths.
    pub(crate) fn with_plain_paths(mut self) -> Self {
        let outputs = self.outputs.iter_mut();
        let paths = outputs.flat_map(|o| [o.path.as_mut(), o.tiles.as_mut().and_then(|t| t.index.as_mut())]);
        for path in paths.flatten() {
            if let Some(rest) = path.strip_prefix("file:") {
                *path = rest.strip_prefix("//").filter(|p| p.starts_with('/')).unwrap_or(rest).into();
            }
        }
        self
    }

    /// Checks what types alone cannot say. Needs no I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming the first offending field.
    pub fn check(&self) -> Result<()> {
        check::pipeline(self)
    }
}

/// Parses any document type of this module ([`Plain`]), with the path of the offending field in the error.
///
/// # Errors
/// [`ErrorKind::Invalid`]; the message begins with the field's path (`outputs[0].video.bitrate: …`).
pub fn parse_json<T: serde::de::DeserializeOwned>(text: &(impl AsRef<[u8]> + ?Sized)) -> Result<T> {
    let mut de = serde_json::Deserializer::from_slice(text.as_ref());
    let Plain(value) = serde_path_to_error::deserialize(&mut de).map_err(|e| {
        let path = e.path().to_string();
        // A "?" stands for what the text ended or broke in before it had a name.
        let path = path.strip_suffix(".?").unwrap_or(&path);
        let inner = e.into_inner();
        let mut message =
            if matches!(path, "." | "?") { inner.to_string() } else { format!("{path}: {inner}") };
        // A program's document is one line that nobody has seen: its fields have names, its columns mean nothing.
        if inner.is_data() && inner.line() == 1 && !text.as_ref().contains(&b'\n') {
            let at = format!(" at line {} column {}", inner.line(), inner.column());
            message.truncate(message.strip_suffix(&at).unwrap_or(&message).len());
        }
        Error::with_source(ErrorKind::Invalid, message, inner)
    })?;
    de.end().map_err(|e| Error::with_source(ErrorKind::Invalid, format!("after the document: {e}"), e))?;
    Ok(value)
}

/// The JSON Schema (draft 2020-12) of [`PipelineSpec`], pretty-printed.
pub fn schema() -> String {
    let schema = schemars::schema_for!(PipelineSpec);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
