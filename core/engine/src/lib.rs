//! The GhostStream engine moves media one way: **source → filter → encode → sink**.
//!
//! Floors, lowest first; a lower floor never imports a higher one:
//! `error time charset` → `frame packet` → `stage link` → `source filter encode sink package` → `spec device` → `pipeline` → `job` →
//! `session`.
#![forbid(unsafe_code)]

pub(crate) mod charset;
pub mod decode;
pub mod device;
pub mod encode;
pub mod error;
pub mod event;
pub mod filter;
pub mod frame;
pub mod job;
pub mod link;
pub mod log;
pub mod package;
pub mod packet;
pub mod pipeline;
pub mod plan;
pub mod probe;
pub mod reader;
pub mod session;
pub(crate) mod sink;
pub mod source;
pub mod spec;
pub mod stage;
pub mod subtitle;
pub mod time;
mod timecode;

pub use error::{Error, ErrorKind, Result};
pub use job::Job;
pub use packet::Codec;
pub use pipeline::Pipeline;
pub use session::{
    AudioConfig, AudioSource, CaptureBackend, CaptureConfig, CaptureSource, EncoderBackend, EncoderConfig,
    EncoderInfo, HdrConfig, Output, PipelineBuilder, Preset, PresetInfo, RateControl, Resolution, RtmpOutput,
    RtmpService, SrtOutput, get_encoder_info, is_nvenc_available,
};
pub use spec::{Container, FrameRate as Framerate, PipelineSpec, Preset as EncoderPreset, Tune as Tuning};

pub use ghoststream_sys::{disk, process, srt};

/// The version of this crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
