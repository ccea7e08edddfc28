//! Capture, encoder, output: the short way to a pipeline.
//!
//! Everything here is words for one [`PipelineSpec`](crate::PipelineSpec), which
//! [`Pipeline::spec`](crate::Pipeline::spec) shows; there is no second way for media. What the document can say and
//! these types cannot (ladders, filters, several tracks) is said with [`Pipeline::from_spec`](crate::Pipeline::from_spec).
//!
//! Screens are those of X11, of Wayland compositors and of the desktop portal, with what the desktop, an application or a
//! PipeWire node plays, or a microphone hears. A webcam, a test pattern, a file or a URL can stand in for the screen.
//!
//! ```
//! # fn main() -> ghoststream::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("bars.mkv");
//! use ghoststream::spec::{PatternKind, PatternSpec};
//! use ghoststream::{CaptureConfig, Output, PipelineBuilder, Preset};
//!
//! let bars = PatternSpec { kind: PatternKind::Smpte, frames: Some(30), tone: true, ..PatternSpec::default() };
//! let pipeline = PipelineBuilder::new()
//!     .capture(CaptureConfig::pattern(bars))
//!     .preset(Preset::Discord720p)
//!     .resolution(320, 180)
//!     .with_audio()
//!     .output(Output::file(&path))
//!     .build()?;
//! let done = pipeline.start().job()?.wait(None)?.unwrap().into_result()?;
//! assert_eq!(done.outputs, [path.to_str().unwrap()]);
//! # Ok(())
//! # }
//! ```
//!
//! # The first crate's programs
//!
//! Programs written for GhostStream's first crate are right as they stand:
//!
//! ```
//! # use ghoststream::EncoderPreset;
//! # async fn example() -> ghoststream::Result<()> {
//! use ghoststream::{Pipeline, CaptureConfig, EncoderConfig, Codec, Output};
//!
//! // Configure capture
//! let capture = CaptureConfig::default()
//!     .with_fps(60)
//!     .with_show_cursor(true);
//!
//! // Configure encoder
//! let encoder = EncoderConfig::default()
//!     .with_codec(Codec::AV1)
//!     .with_resolution(1920, 1080)
//!     .with_bitrate_kbps(8000)
//!     .with_preset(EncoderPreset::Quality);
//!
//! // Configure output
//! let output = Output::VirtualCamera {
//!     name: "GhostStream Camera".into()
//! };
//!
//! // Create and run pipeline
//! let pipeline = Pipeline::new(capture, encoder, output)?;
//! pipeline.start().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A file:
//!
//! ```
//! # use ghoststream::{Container, Output};
//! let output = Output::File {
//!     path: "/home/user/recording.mkv".into(),
//!     container: Container::Matroska,
//! };
//! # assert_eq!(output.to_string(), "/home/user/recording.mkv");
//! ```
//!
//! A stream:
//!
//! ```
//! # use ghoststream::Output;
//! let output = Output::Rtmp {
//!     url: "rtmp://live.twitch.tv/app/your_stream_key".into(),
//! };
//! # assert_eq!(output.to_string(), "rtmp://live.twitch.tv/app/***");
//! ```
//!
//! Sound from another program's PipeWire node, before the pipeline is started or while it runs:
//!
//! ```
//! # mod ghostwave_core {
//! #     pub struct GhostWaveProcessor;
//! #     impl GhostWaveProcessor {
//! #         pub fn new(_: ()) -> ghoststream::Result<Self> { Ok(Self) }
//! #         pub fn output_node(&self) -> u32 { 42 }
//! #     }
//! # }
//! # fn example() -> ghoststream::Result<()> {
//! # use ghoststream::{CaptureConfig, EncoderConfig, Output};
//! # let (capture, encoder, output) = (CaptureConfig::default(), EncoderConfig::default(), Output::Null);
//! # let audio_config = ();
//! use ghoststream::Pipeline;
//! use ghostwave_core::GhostWaveProcessor;
//!
//! // Video pipeline
//! let video = Pipeline::new(capture, encoder, output)?;
//!
//! // Audio processor (RTX denoising)
//! let audio = GhostWaveProcessor::new(audio_config)?;
//!
//! // Sync A/V
//! video.set_audio_source(audio.output_node())?;
//! # assert_eq!(video.spec().source.sound[0].name.as_deref(), Some("42"));
//! # Ok(())
//! # }
//! # fn main() {
//! #     example().unwrap();
//! # }
//! ```
//!
//! The presets:
//!
//! ```
//! use ghoststream::Preset;
//!
//! let rates = [
//!     (Preset::Discord720p, 3),
//!     (Preset::Stream1080p60, 6),
//!     (Preset::Quality1440p60, 12),
//!     (Preset::Gaming1440p120, 15),
//!     (Preset::Ultra4K60, 25),
//!     (Preset::Maximum4K120, 35),
//! ];
//! for (preset, mbps) in rates {
//!     assert_eq!(preset.encoder().bitrate_kbps, mbps * 1000);
//! }
//! ```
//!
//! Errors here name the builder's part and field (`output.url: …`, `encoder.hdr: …`); those of the document follow
//! when the pipeline is made.

mod audio;
mod builder;
mod capture;
mod encoder;
mod info;
mod output;
mod preset;
mod resolution;
mod run;
mod spelling;

pub use audio::{AudioConfig, AudioSource};
pub use builder::PipelineBuilder;
pub use capture::{CaptureBackend, CaptureConfig, CaptureSource};
pub use encoder::{EncoderBackend, EncoderConfig, HdrConfig, RateControl};
pub use info::{EncoderInfo, get_encoder_info, is_nvenc_available};
pub use output::{Output, RtmpOutput, RtmpService, SrtOutput};
pub use preset::{Preset, PresetInfo};
pub use resolution::Resolution;
pub use run::{Stop, Stopping};

#[cfg(doc)]
use crate::ErrorKind;
