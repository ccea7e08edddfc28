//! Colour description and HDR metadata, in the code points of ITU-T H.273 and the units of CTA-861.3 / SMPTE ST 2086.

/// How sample values relate to light: H.273 code points (2 = unspecified), range and chroma siting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Colour {
    /// `ColourPrimaries`: 1 = BT.709, 5/6 = BT.601 (PAL/NTSC), 9 = BT.2020, 12 = Display P3.
    pub primaries: u8,
    /// `TransferCharacteristics`: 1 = BT.709, 6 = BT.601, 13 = sRGB, 14/15 = BT.2020, 16 = PQ, 18 = HLG.
    pub transfer: u8,
    /// `MatrixCoefficients`: 0 = RGB, 1 = BT.709, 5/6 = BT.601, 9 = BT.2020 non-constant.
    pub matrix: u8,
    /// Black and white levels.
    pub range: ColourRange,
    /// Where chroma samples sit.
    pub chroma: ChromaLocation,
}

impl Default for Colour {
    fn default() -> Self {
        Colour {
            primaries: 2,
            transfer: 2,
            matrix: 2,
            range: ColourRange::Unspecified,
            chroma: ChromaLocation::Unspecified,
        }
    }
}

impl Colour {
    /// BT.709, limited range: HD video.
    pub const BT709: Colour = Colour {
        primaries: 1,
        transfer: 1,
        matrix: 1,
        range: ColourRange::Limited,
        chroma: ChromaLocation::Left,
    };

    /// BT.601 (525 lines), limited range: SD video.
    pub const BT601: Colour = Colour {
        primaries: 6,
        transfer: 6,
        matrix: 6,
        range: ColourRange::Limited,
        chroma: ChromaLocation::Left,
    };

    /// Whether the transfer is PQ (SMPTE ST 2084).
    pub fn is_pq(&self) -> bool {
        self.transfer == 16
    }

    /// Whether the transfer is HLG (ARIB STD-B67).
    pub fn is_hlg(&self) -> bool {
        self.transfer == 18
    }

    /// Whether the transfer is one of the two HDR ones.
    pub fn is_hdr(&self) -> bool {
        self.is_pq() || self.is_hlg()
    }
}

/// Quantisation range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ColourRange {
    /// Not said; treat YUV as limited and RGB as full.
    #[default]
    Unspecified,
    /// 16–235 (8-bit luma): "tv", "mpeg".
    Limited,
    /// 0–255: "pc", "jpeg".
    Full,
}

/// Chroma siting of 4:2:0 pictures, in FFmpeg's order (H.273 `ChromaLocType` + 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs)]
pub enum ChromaLocation {
    #[default]
    Unspecified,
    Left,
    Center,
    TopLeft,
    Top,
    BottomLeft,
    Bottom,
}

/// SMPTE ST 2086 mastering display colour volume.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MasteringDisplay {
    /// CIE 1931 xy of red, green, blue.
    pub primaries: [[f64; 2]; 3],
    /// CIE 1931 xy of white.
    pub white: [f64; 2],
    /// Minimum luminance, cd/m².
    pub min_luminance: f64,
    /// Maximum luminance, cd/m².
    pub max_luminance: f64,
}

/// CTA-861.3 content light level, cd/m².
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentLight {
    /// MaxCLL.
    pub max_content: u32,
    /// MaxFALL.
    pub max_average: u32,
}

/// The Dolby Vision configuration record of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DolbyVision {
    /// Profile (5, 7, 8 …).
    pub profile: u8,
    /// Level.
    pub level: u8,
    /// Whether RPUs are present.
    pub rpu: bool,
    /// Whether an enhancement layer is present.
    pub enhancement_layer: bool,
    /// Whether a base layer is present.
    pub base_layer: bool,
    /// `dv_bl_signal_compatibility_id`: 0 none, 1 HDR10, 2 SDR, 4 HLG.
    pub compatibility: u8,
}

/// Everything a stream or a frame says about its dynamic range beyond [`Colour`].
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct HdrMetadata {
    /// Mastering display.
    pub mastering: Option<MasteringDisplay>,
    /// Content light level.
    pub content_light: Option<ContentLight>,
    /// Dolby Vision.
    pub dolby_vision: Option<DolbyVision>,
    /// Whether HDR10+ (SMPTE ST 2094-40) dynamic metadata was seen.
    pub hdr10_plus: bool,
}
