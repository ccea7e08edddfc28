//! How pictures are coded.

use super::capture::check_rate;
use super::preset::Preset;
use super::resolution::Resolution;
use crate::error::{Error, Result};
use crate::packet::Codec;
use crate::spec::{Bitrate, ColourSpec, Device, FrameRate, Preset as EncoderPreset, Tune, VideoSpec};

/// How pictures are coded. Inert; may be shared and reused for many pipelines.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// The codec.
    pub codec: Codec,
    /// Size to scale to; `None` = as captured.
    pub resolution: Option<Resolution>,
    /// Constant rate to code, by dropping and repeating frames; `None` = as captured.
    pub framerate: Option<FrameRate>,
    /// Thousands of bits per second, for [`RateControl::Vbr`] and [`RateControl::Cbr`].
    pub bitrate_kbps: u32,
    /// Peak, thousands of bits per second; `None` = no bound.
    pub max_bitrate_kbps: Option<u32>,
    /// What is held constant.
    pub rate_control: RateControl,
    /// Speed against quality.
    pub preset: EncoderPreset,
    /// What to tune for.
    pub tuning: Tune,
    /// Frames from one key frame to the next at most.
    pub gop_size: u32,
    /// B-frames; `None` = the encoder's choice, none when tuned for latency. Not every encoder can be told.
    pub b_frames: Option<u32>,
    /// Frames of lookahead; `None` = the encoder's choice.
    pub lookahead: Option<u32>,
    /// Bits per sample: 8 or 10. `None` = as captured, 10 for HDR.
    pub bit_depth: Option<u8>,
    /// Profile by the codec's usual name (`high`, `main10`).
    pub profile: Option<String>,
    /// Level as the standard writes it (`4.1`).
    pub level: Option<String>,
    /// Colours of an HDR picture.
    pub hdr: Option<HdrConfig>,
    /// Where to encode.
    pub backend: EncoderBackend,
}

/// What the encoder holds constant.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RateControl {
    /// The average bit rate.
    #[default]
    Vbr,
    /// The bit rate at every moment.
    Cbr,
    /// The quantiser. The bit rate says nothing then.
    Cqp {
        /// On the encoder's scale.
        qp: u32,
    },
    /// The quality. The bit rate says nothing then; the peak still bounds.
    Crf {
        /// On the encoder's scale.
        crf: f64,
    },
}

/// Where pictures are encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncoderBackend {
    /// The first that works: NVENC, Quick Sync, VA-API, AMF, Vulkan, then software.
    #[default]
    Auto,
    /// NVIDIA.
    Nvenc,
    /// Intel Quick Sync.
    Qsv,
    /// VA-API (Intel, AMD).
    Vaapi,
    /// AMD's own runtime.
    Amf,
    /// The CPU.
    Software,
}

/// Colours of an HDR picture: BT.2020 with one of the two transfer curves, 10 bits. Mastering and light-level metadata
/// are the source's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HdrConfig {
    /// PQ (SMPTE ST 2084).
    Hdr10,
    /// Hybrid log-gamma.
    Hlg,
}

impl HdrConfig {
    fn colour(self) -> ColourSpec {
        let transfer = match self {
            HdrConfig::Hdr10 => "smpte2084",
            HdrConfig::Hlg => "arib-std-b67",
        };
        ColourSpec {
            primaries: Some("bt2020".into()),
            transfer: Some(transfer.into()),
            matrix: Some("bt2020nc".into()),
            range: Some("limited".into()),
        }
    }
}

impl Default for EncoderConfig {
    fn default() -> Self {
        EncoderConfig {
            codec: Codec::H264,
            resolution: None,
            framerate: None,
            bitrate_kbps: 6000,
            max_bitrate_kbps: None,
            rate_control: RateControl::Vbr,
            preset: EncoderPreset::Medium,
            tuning: Tune::Hq,
            gop_size: 120,
            b_frames: None,
            lookahead: None,
            bit_depth: None,
            profile: None,
            level: None,
            hdr: None,
            backend: EncoderBackend::Auto,
        }
    }
}

impl EncoderConfig {
    /// The settings of a preset.
    pub fn from_preset(preset: Preset) -> Self {
        preset.encoder()
    }

    /// Codes as `codec`.
    pub fn with_codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Scales to `width` × `height` pixels.
    pub fn with_resolution(mut self, width: u32, height: u32) -> Self {
        self.resolution = Some(Resolution { width, height });
        self
    }

    /// Codes at a whole number of frames per second.
    pub fn with_fps(self, fps: u32) -> Self {
        self.with_framerate(FrameRate::fps(fps))
    }

    /// Codes at a constant rate.
    pub fn with_framerate(mut self, framerate: FrameRate) -> Self {
        self.framerate = Some(framerate);
        self
    }

    /// Thousands of bits per second.
    pub fn with_bitrate_kbps(mut self, kbps: u32) -> Self {
        self.bitrate_kbps = kbps;
        self
    }

    /// Peak, thousands of bits per second.
    pub fn with_max_bitrate_kbps(mut self, kbps: u32) -> Self {
        self.max_bitrate_kbps = Some(kbps);
        self
    }

    /// What is held constant.
    pub fn with_rate_control(mut self, rate_control: RateControl) -> Self {
        self.rate_control = rate_control;
        self
    }

    /// Speed against quality.
    pub fn with_preset(mut self, preset: EncoderPreset) -> Self {
        self.preset = preset;
        self
    }

    /// What to tune for.
    pub fn with_tuning(mut self, tuning: Tune) -> Self {
        self.tuning = tuning;
        self
    }

    /// Frames from one key frame to the next at most.
    pub fn with_gop_size(mut self, frames: u32) -> Self {
        self.gop_size = frames;
        self
    }

    /// B-frames between references.
    pub fn with_b_frames(mut self, count: u32) -> Self {
        self.b_frames = Some(count);
        self
    }

    /// Frames of lookahead.
    pub fn with_lookahead(mut self, frames: u32) -> Self {
        self.lookahead = Some(frames);
        self
    }

    /// Where to encode.
    pub fn with_backend(mut self, backend: EncoderBackend) -> Self {
        self.backend = backend;
        self
    }

    /// HDR of either kind.
    pub fn with_hdr(mut self, hdr: HdrConfig) -> Self {
        self.hdr = Some(hdr);
        self
    }

    /// HDR10: PQ.
    pub fn with_hdr10(self) -> Self {
        self.with_hdr(HdrConfig::Hdr10)
    }

    /// HLG.
    pub fn with_hlg(self) -> Self {
        self.with_hdr(HdrConfig::Hlg)
    }

    /// Whether the picture is HDR.
    pub fn is_hdr(&self) -> bool {
        self.hdr.is_some()
    }

    /// The video track of the document. `captured` is the rate to keep when the encoder has none of its own.
    pub(super) fn video(&self, captured: Option<FrameRate>) -> Result<VideoSpec> {
        let rate = |kbps: u32| Bitrate(u64::from(kbps) * 1000);
        if self.bitrate_kbps == 0 {
            return Err(Error::invalid("encoder.bitrate_kbps", "must be above 0"));
        }
        check_rate("encoder.framerate", self.framerate.or(captured))?;
        if self.hdr.is_some() && self.bit_depth.is_some_and(|d| d < 10) {
            return Err(Error::invalid("encoder.bit_depth", "HDR needs 10"));
        }
        let mut video = VideoSpec {
            codec: Some(self.codec.clone()),
            width: self.resolution.map(|r| r.width),
            height: self.resolution.map(|r| r.height),
            frame_rate: self.framerate.or(captured),
            preset: Some(self.preset),
            tune: Some(self.tuning),
            gop: Some(self.gop_size),
            b_frames: self.b_frames,
            lookahead: self.lookahead,
            bit_depth: self.bit_depth.or(self.hdr.map(|_| 10)),
            profile: self.profile.clone(),
            level: self.level.clone(),
            colour: self.hdr.map(HdrConfig::colour),
            max_bitrate: self.max_bitrate_kbps.map(rate),
            ..VideoSpec::new()
        };
        match self.rate_control {
            // Without a loss there is no rate to hold.
            RateControl::Vbr if self.tuning == Tune::Lossless => video.lossless = true,
            RateControl::Vbr => video.bitrate = Some(rate(self.bitrate_kbps)),
            RateControl::Cbr => {
                video.bitrate = Some(rate(self.bitrate_kbps));
                video.cbr = true;
            }
            RateControl::Cqp { qp } => video.qp = Some(qp),
            RateControl::Crf { crf } => video.crf = Some(crf),
        }
        match self.backend {
            EncoderBackend::Auto => {}
            EncoderBackend::Nvenc => video.device = Device::Cuda,
            EncoderBackend::Qsv => video.device = Device::Qsv,
            EncoderBackend::Vaapi => video.device = Device::Vaapi,
            EncoderBackend::Software => video.device = Device::Software,
            // AMD's runtime has no device type in the document.
            EncoderBackend::Amf => video.encoder = Some(format!("{}_amf", self.codec)),
        }
        Ok(video)
    }
}
