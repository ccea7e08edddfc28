//! Filters of a video track. Each is one stage of the pipeline.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One filter.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FilterSpec {
    /// Cut a rectangle out.
    Crop(CropSpec),
    /// Put the picture on a larger canvas.
    Pad(PadSpec),
    /// Turn by a multiple of 90 degrees clockwise.
    Rotate(u16),
    /// Make whole frames of fields (bwdif).
    Deinterlace(Deinterlace),
    /// Sharpen.
    Sharpen(SharpenSpec),
    /// HDR to SDR.
    ToneMap(ToneMapSpec),
    /// Make frames in between.
    Interpolate(InterpolateSpec),
    /// Draw subtitles into the picture.
    BurnIn(BurnInSpec),
    /// Draw an image into the picture.
    Watermark(WatermarkSpec),
}

/// A rectangle, in pixels of the source.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct CropSpec {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

/// A canvas; the picture is centred unless `x` or `y` say otherwise.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PadSpec {
    /// Canvas width in pixels.
    pub width: u32,
    /// Canvas height in pixels.
    pub height: u32,
    /// Left edge of the picture on the canvas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<u32>,
    /// Top edge of the picture on the canvas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<u32>,
    /// Canvas colour: a name or `#rrggbb`; default black.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<String>,
}

/// Which frames a deinterlacer touches and what it emits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Deinterlace {
    /// Frames flagged interlaced; one frame out for each in.
    #[default]
    Auto,
    /// All frames; one out for each in.
    All,
    /// Frames flagged interlaced; one frame out for each field (double rate).
    DoubleRate,
}

/// Unsharp mask.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SharpenSpec {
    /// Strength on luma, -1.5 (blur) to 1.5.
    pub amount: f64,
    /// Kernel size, odd, 3–23; default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
}

/// HDR (PQ or HLG, BT.2020) to SDR (BT.709).
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToneMapSpec {
    /// The curve.
    #[serde(default)]
    pub curve: ToneMapCurve,
    /// Peak of the source in cd/m²; default from its metadata (MaxCLL, then mastering display), else 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak: Option<f64>,
    /// Desaturation of bright colours, 0 (none) to 10; default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desaturate: Option<f64>,
}

/// Tone-mapping curve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ToneMapCurve {
    /// Hable's filmic curve.
    #[default]
    Hable,
    /// Möbius: keeps mid-tones, rolls off.
    Mobius,
    /// Reinhard.
    Reinhard,
    /// ITU-R BT.2390 EETF, where libplacebo is available.
    Bt2390,
}

/// Motion-compensated frame interpolation.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InterpolateSpec {
    /// Rate to reach.
    pub frame_rate: super::FrameRate,
    /// Blend neighbours instead of estimating motion: much faster.
    #[serde(default)]
    pub blend: bool,
}

/// Subtitles drawn into the picture: a source stream or a file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BurnInSpec {
    /// Index of the source's subtitle stream (text or bitmap).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<usize>,
    /// A subtitle file (SRT, ASS, WebVTT).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The character set of the file's text by its name on the web (`windows-1250`, `shift_jis`, `latin1`); default UTF-8, and
    /// where it is not that, the likeliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
}

/// An image drawn over the picture.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WatermarkSpec {
    /// The image file (PNG with alpha and anything else FFmpeg reads).
    pub path: String,
    /// Distance of the image's left edge in pixels; negative from the right.
    #[serde(default)]
    pub x: i32,
    /// Distance of the image's top edge in pixels; negative from the bottom.
    #[serde(default)]
    pub y: i32,
    /// 0 (invisible) to 1; default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opacity: Option<f64>,
}

/// Colour by FFmpeg's names; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColourSpec {
    /// `bt709`, `bt2020`, `smpte170m`, `bt470bg` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primaries: Option<String>,
    /// `bt709`, `smpte2084`, `arib-std-b67`, `iec61966-2-1` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<String>,
    /// `bt709`, `bt2020nc`, `smpte170m`, `gbr` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<String>,
    /// `limited` or `full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
}
