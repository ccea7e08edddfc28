//! What is asked of an encoder, in this crate's words.

use super::layout::Guid;
use super::values::*;
use crate::ffmpeg::PixelFormat;

/// A codec of the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Codec {
    H264,
    Hevc,
    Av1,
}

impl Codec {
    /// All of them.
    pub const ALL: [Codec; 3] = [Codec::H264, Codec::Hevc, Codec::Av1];

    /// FFmpeg's name: `h264`, `hevc`, `av1`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::H264 => "h264",
            Codec::Hevc => "hevc",
            Codec::Av1 => "av1",
        }
    }

    pub(super) fn guid(self) -> Guid {
        match self {
            Codec::H264 => CODEC_H264_GUID,
            Codec::Hevc => CODEC_HEVC_GUID,
            Codec::Av1 => CODEC_AV1_GUID,
        }
    }

    /// Side of the blocks that a QP map has one value for.
    pub fn qp_block(self) -> u32 {
        match self {
            Codec::H264 => 16,
            Codec::Hevc => 32,
            Codec::Av1 => 64,
        }
    }
}

/// How pixels lie in a surface. All are limited-range or full-range YUV: RGB is converted before it comes here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Surface {
    Nv12,
    /// Three planes, 4:2:0.
    Yuv420p,
    /// 4:2:0, ten bits in the upper ones of 16.
    P010,
    /// Three planes, 4:4:4.
    Yuv444p,
    /// Three planes, 4:4:4, ten bits in the upper ones of 16.
    Yuv444p16,
    /// 4:2:2, API 13.
    Nv16,
    /// 4:2:2, ten bits in the upper ones of 16, API 13.
    P210,
}

impl Surface {
    /// All of them.
    pub const ALL: [Surface; 7] = [
        Surface::Nv12,
        Surface::Yuv420p,
        Surface::P010,
        Surface::Yuv444p,
        Surface::Yuv444p16,
        Surface::Nv16,
        Surface::P210,
    ];

    /// FFmpeg's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Surface::Nv12 => "nv12",
            Surface::Yuv420p => "yuv420p",
            Surface::P010 => "p010le",
            Surface::Yuv444p => "yuv444p",
            Surface::Yuv444p16 => "yuv444p16le",
            Surface::Nv16 => "nv16",
            Surface::P210 => "p210le",
        }
    }

    /// FFmpeg's format for it; `NONE` where this FFmpeg does not have it.
    pub fn pixel_format(self) -> PixelFormat {
        PixelFormat::from_name(self.name()).unwrap_or(PixelFormat::NONE)
    }

    /// The one of FFmpeg's format `format`.
    pub fn of(format: PixelFormat) -> Option<Surface> {
        Surface::ALL.into_iter().find(|s| s.name() == format.name())
    }

    /// Bits per sample that count.
    pub fn depth(self) -> u32 {
        match self {
            Surface::P010 | Surface::Yuv444p16 | Surface::P210 => 10,
            _ => 8,
        }
    }

    /// `chroma_format_idc`: 1 for 4:2:0, 2 for 4:2:2, 3 for 4:4:4.
    pub fn chroma(self) -> u32 {
        match self {
            Surface::Nv12 | Surface::Yuv420p | Surface::P010 => 1,
            Surface::Nv16 | Surface::P210 => 2,
            Surface::Yuv444p | Surface::Yuv444p16 => 3,
        }
    }

    /// In FFmpeg's CUDA frames the second chroma plane of `yuv420p` lies before the first.
    pub(super) fn number(self, on_device: bool) -> u32 {
        match self {
            Surface::Nv12 => BUFFER_FORMAT_NV12,
            Surface::Yuv420p if on_device => BUFFER_FORMAT_YV12,
            Surface::Yuv420p => BUFFER_FORMAT_IYUV,
            Surface::P010 => BUFFER_FORMAT_YUV420_10BIT,
            Surface::Yuv444p => BUFFER_FORMAT_YUV444,
            Surface::Yuv444p16 => BUFFER_FORMAT_YUV444_10BIT,
            Surface::Nv16 => BUFFER_FORMAT_NV16,
            Surface::P210 => BUFFER_FORMAT_P210,
        }
    }

    /// Number of planes.
    pub(super) fn plane_count(self) -> usize {
        match self {
            Surface::Nv12 | Surface::P010 | Surface::Nv16 | Surface::P210 => 2,
            Surface::Yuv420p | Surface::Yuv444p | Surface::Yuv444p16 => 3,
        }
    }

    /// Where the planes of a surface of `height` rows with `pitch` bytes lie, from its start: offset, pitch. In the order
    /// of the format's planes, of which the first [`Surface::plane_count`] are there.
    pub(super) fn planes(self, pitch: usize, height: usize, on_device: bool) -> [(usize, usize); 3] {
        let luma = pitch * height;
        match self {
            Surface::Nv12 | Surface::P010 | Surface::Nv16 | Surface::P210 => {
                [(0, pitch), (luma, pitch), (0, 0)]
            }
            Surface::Yuv444p | Surface::Yuv444p16 => [(0, pitch), (luma, pitch), (2 * luma, pitch)],
            Surface::Yuv420p => {
                let (first, second) = (luma, luma + pitch / 2 * height.div_ceil(2));
                let (u, v) = if on_device { (second, first) } else { (first, second) };
                [(0, pitch), (u, pitch / 2), (v, pitch / 2)]
            }
        }
    }
}

/// What the encoder trades for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Tuning {
    HighQuality,
    LowLatency,
    UltraLowLatency,
    Lossless,
    /// HEVC; AV1 from API 13 on.
    UltraHighQuality,
}

impl Tuning {
    pub(super) fn number(self) -> u32 {
        match self {
            Tuning::HighQuality => TUNING_INFO_HIGH_QUALITY,
            Tuning::LowLatency => TUNING_INFO_LOW_LATENCY,
            Tuning::UltraLowLatency => TUNING_INFO_ULTRA_LOW_LATENCY,
            Tuning::Lossless => TUNING_INFO_LOSSLESS,
            Tuning::UltraHighQuality => TUNING_INFO_ULTRA_HIGH_QUALITY,
        }
    }
}

/// A codec's profile. What depth and chroma need is chosen by [`Profile::Auto`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs)]
pub enum Profile {
    #[default]
    Auto,
    /// H.264.
    Baseline,
    /// H.264, HEVC, AV1.
    Main,
    /// H.264.
    High,
    /// H.264, API 13.
    High10,
    /// H.264, API 13.
    High422,
    /// H.264.
    High444,
    /// H.264.
    ConstrainedHigh,
    /// HEVC.
    Main10,
    /// HEVC: 4:2:2 and 4:4:4.
    RangeExtensions,
}

/// Bits and quality.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RateControl {
    /// A constant rate, bits per second.
    Cbr {
        /// Bits per second.
        bitrate: u32,
        /// Padding where the pictures need less.
        filler: bool,
    },
    /// A rate on average.
    Vbr {
        /// Bits per second on average.
        bitrate: u32,
        /// Bits per second at most; `None` for the driver's choice.
        max_bitrate: Option<u32>,
        /// Better than this need no picture be, in the codec's scale as in `Cq`.
        quality: Option<f32>,
    },
    /// A quality, with as many bits as it takes.
    Cq {
        /// Lower is better: up to 51, 63 for AV1; fractions count. Above 0, which would be the driver's choice.
        quality: f32,
        /// Bits per second at most.
        max_bitrate: Option<u32>,
    },
    /// Fixed quantisers: 0 to 51, 0 to 255 for AV1.
    ConstQp {
        /// Of intra pictures.
        i: u32,
        /// Of P pictures.
        p: u32,
        /// Of B pictures.
        b: u32,
    },
    /// Without loss; goes with [`Tuning::Lossless`].
    Lossless,
}

/// Passes over each picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum MultiPass {
    Single,
    /// The first at a quarter of the resolution.
    Quarter,
    /// Both at full resolution.
    Full,
}

/// Which B pictures others may refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum BRef {
    None,
    Each,
    Middle,
}

/// Looking at later pictures before a picture is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookahead {
    /// Pictures.
    pub depth: u16,
    /// 0 to 3, more effort with each; `None` for the driver's choice.
    pub level: Option<u32>,
    /// Insert intra pictures at scene changes.
    pub scene_cut: bool,
    /// Choose the number of B pictures picture by picture.
    pub adaptive_b: bool,
}

/// Intra blocks that wander over the pictures instead of whole key pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntraRefresh {
    /// Pictures from one wave to the next.
    pub period: u32,
    /// Pictures that a wave takes; fewer than `period`.
    pub count: u32,
    /// In one slice, where the device can.
    pub single_slice: bool,
}

/// Where a picture is cut into slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Slices {
    /// Macroblocks (coding tree units) in each.
    Blocks(u32),
    /// Bytes in each at most.
    Bytes(u32),
    /// Rows of blocks in each.
    Rows(u32),
    /// This many.
    Count(u32),
}

/// One picture on several engines at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs)]
pub enum Split {
    /// The driver's choice.
    #[default]
    Auto,
    /// Wherever it is possible.
    Forced,
    /// On so many engines: 2 to 4.
    Engines(u32),
    Off,
}

/// How H.264 packs its symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Entropy {
    Cabac,
    Cavlc,
}

/// Colour in the stream's headers, in the numbers of ITU-T H.273. 2 is "not said".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vui {
    /// Colour primaries.
    pub primaries: u32,
    /// Transfer characteristics.
    pub transfer: u32,
    /// Matrix coefficients.
    pub matrix: u32,
    /// Whether samples use the full range.
    pub full_range: bool,
    /// Where chroma samples lie: 0 left, 1 centre, 2 top left … (H.264's numbers); `None` to say nothing.
    pub chroma_location: Option<u32>,
}

/// What is asked of an encoder. Fields that are `None` keep what preset and tuning make of them.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodeConfig {
    /// The codec.
    pub codec: Codec,
    /// Width of the pictures.
    pub width: u32,
    /// Height of the pictures.
    pub height: u32,
    /// The largest size that [`Submitter::reconfigure`](super::Submitter::reconfigure) may ask for; `None` for this one.
    pub max_size: Option<(u32, u32)>,
    /// Display aspect ratio; `None` for square pixels.
    pub display_aspect: Option<(u32, u32)>,
    /// Pictures per second, as a fraction.
    pub frame_rate: (u32, u32),
    /// How the pictures come.
    pub surface: Surface,
    /// 8 or 10: bits of the stream's samples; `None` for those of the surface. 8-bit surfaces may become 10-bit streams.
    pub output_depth: Option<u32>,
    /// 1 (fast) to 7 (good).
    pub preset: u8,
    /// What for.
    pub tuning: Tuning,
    /// The profile.
    pub profile: Profile,
    /// The level in the codec's own numbers (H.264 41 for 4.1, HEVC 123 for 4.1, AV1 `seq_level_idx`); `None` for the
    /// lowest that does.
    pub level: Option<u32>,
    /// HEVC's high tier, AV1's tier 1.
    pub high_tier: bool,
    /// Bits and quality.
    pub rate: RateControl,
    /// Bits of the rate control's buffer.
    pub vbv_size: Option<u32>,
    /// Bits in it at the start.
    pub vbv_initial: Option<u32>,
    /// Lowest quantisers of I, P and B pictures.
    pub min_qp: Option<[u32; 3]>,
    /// Highest quantisers of I, P and B pictures.
    pub max_qp: Option<[u32; 3]>,
    /// Passes over each picture.
    pub multipass: Option<MultiPass>,
    /// Looking ahead; `None` for what the preset does.
    pub lookahead: Option<Lookahead>,
    /// Bits by how busy a place is: 1 to 15, 0 for the driver's strength; `None` for what the preset does.
    pub spatial_aq: Option<u32>,
    /// Bits by how long a place stays.
    pub temporal_aq: Option<bool>,
    /// B pictures between others, 0 for none.
    pub b_frames: Option<u32>,
    /// Which of them others may refer to.
    pub b_ref: Option<BRef>,
    /// Weighted prediction, for fades.
    pub weighted_prediction: bool,
    /// Temporal filter: takes noise out before coding.
    pub temporal_filter: Option<bool>,
    /// Pictures from one key picture to the next; `None` for no end.
    pub gop: Option<u32>,
    /// Pictures from one IDR picture to the next; `None` for each key picture.
    pub idr_period: Option<u32>,
    /// Intra blocks instead of key pictures.
    pub intra_refresh: Option<IntraRefresh>,
    /// Write stream headers before every IDR picture.
    pub repeat_headers: bool,
    /// Write access unit delimiters (H.264, HEVC).
    pub delimiters: bool,
    /// Slices; AV1 has none.
    pub slices: Option<Slices>,
    /// Reference pictures at most.
    pub max_references: Option<u32>,
    /// Reference pictures in list 0 and 1.
    pub list_references: Option<[u32; 2]>,
    /// H.264's symbols.
    pub entropy: Option<Entropy>,
    /// Keep each picture near its share of the buffer, for low latency.
    pub strict_gop: bool,
    /// Do not reorder for latency's sake even where the preset would.
    pub zero_reorder: bool,
    /// P pictures to which none refers, which a sender may drop.
    pub non_reference_p: bool,
    /// One picture on several engines.
    pub split: Split,
    /// Colour for the headers.
    pub vui: Option<Vui>,
    /// Pictures will carry HDR metadata ([`Picture::mastering`](super::Picture::mastering) and
    /// [`Picture::light`](super::Picture::light)).
    pub hdr_metadata: bool,
    /// Pictures will carry QP maps ([`Picture::qp_map`](super::Picture::qp_map)).
    pub qp_map: bool,
    /// Pictures that may be in work at once: outputs that are made. `None` for what B pictures and lookahead need, and
    /// four more.
    pub depth: Option<u32>,
}

impl EncodeConfig {
    /// Preset 4, high quality, 4:2:0 in 8 bits, `rate`; all else as preset and tuning have it.
    pub fn new(codec: Codec, width: u32, height: u32, frame_rate: (u32, u32), rate: RateControl) -> Self {
        EncodeConfig {
            codec,
            width,
            height,
            max_size: None,
            display_aspect: None,
            frame_rate,
            surface: Surface::Nv12,
            output_depth: None,
            preset: 4,
            tuning: Tuning::HighQuality,
            profile: Profile::Auto,
            level: None,
            high_tier: false,
            rate,
            vbv_size: None,
            vbv_initial: None,
            min_qp: None,
            max_qp: None,
            multipass: None,
            lookahead: None,
            spatial_aq: None,
            temporal_aq: None,
            b_frames: None,
            b_ref: None,
            weighted_prediction: false,
            temporal_filter: None,
            gop: Some(250),
            idr_period: None,
            intra_refresh: None,
            repeat_headers: false,
            delimiters: false,
            slices: None,
            max_references: None,
            list_references: None,
            entropy: None,
            strict_gop: false,
            zero_reorder: false,
            non_reference_p: false,
            split: Split::Auto,
            vui: None,
            hdr_metadata: false,
            qp_map: false,
            depth: None,
        }
    }

    /// Bits of the stream's samples.
    pub fn stream_depth(&self) -> u32 {
        self.output_depth.unwrap_or(self.surface.depth())
    }
}

/// What [`Submitter::reconfigure`](super::Submitter::reconfigure) changes while coding goes on; `None` leaves it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Changes {
    /// Bits per second (on average).
    pub bitrate: Option<u32>,
    /// Bits per second at most.
    pub max_bitrate: Option<u32>,
    /// Bits of the rate control's buffer.
    pub vbv_size: Option<u32>,
    /// Bits in it at the start.
    pub vbv_initial: Option<u32>,
    /// The quality of [`RateControl::Cq`].
    pub quality: Option<f32>,
    /// Pictures per second.
    pub frame_rate: Option<(u32, u32)>,
    /// Size of the pictures, within the configuration's largest. Makes the next picture an IDR.
    pub size: Option<(u32, u32)>,
    /// Make the next picture an IDR and forget what rate control learnt.
    pub reset: bool,
    /// Make the next picture an IDR.
    pub force_idr: bool,
}
