//! Names of H.273 code points and of codec profiles, as FFmpeg spells them.

use super::model::ColourNames;
use crate::frame::{ChromaLocation, Colour, ColourRange};
use crate::packet::{Codec, FieldOrder};

/// `unknown` for the unspecified and for what has no name.
fn name(code: u8, names: &[(u8, &str)]) -> String {
    match names.iter().find(|(c, _)| *c == code) {
        Some((_, name)) => (*name).into(),
        None if matches!(code, 0 | 2 | 3) => "unknown".into(),
        None => code.to_string(),
    }
}

pub(super) fn colour(c: &Colour) -> ColourNames {
    ColourNames {
        primaries: name(
            c.primaries,
            &[
                (1, "bt709"),
                (4, "bt470m"),
                (5, "bt470bg"),
                (6, "smpte170m"),
                (7, "smpte240m"),
                (8, "film"),
                (9, "bt2020"),
                (10, "smpte428"),
                (11, "smpte431"),
                (12, "smpte432"),
                (22, "ebu3213"),
            ],
        ),
        transfer: name(
            c.transfer,
            &[
                (1, "bt709"),
                (4, "bt470m"),
                (5, "bt470bg"),
                (6, "smpte170m"),
                (7, "smpte240m"),
                (8, "linear"),
                (9, "log100"),
                (10, "log316"),
                (11, "iec61966-2-4"),
                (12, "bt1361e"),
                (13, "iec61966-2-1"),
                (14, "bt2020-10"),
                (15, "bt2020-12"),
                (16, "smpte2084"),
                (17, "smpte428"),
                (18, "arib-std-b67"),
            ],
        ),
        matrix: name(
            c.matrix,
            &[
                (0, "gbr"),
                (1, "bt709"),
                (4, "fcc"),
                (5, "bt470bg"),
                (6, "smpte170m"),
                (7, "smpte240m"),
                (8, "ycgco"),
                (9, "bt2020nc"),
                (10, "bt2020c"),
                (11, "smpte2085"),
                (12, "chroma-derived-nc"),
                (13, "chroma-derived-c"),
                (14, "ictcp"),
            ],
        ),
        range: match c.range {
            ColourRange::Unspecified => "unknown",
            ColourRange::Limited => "limited",
            ColourRange::Full => "full",
        },
        chroma: match c.chroma {
            ChromaLocation::Unspecified => "unknown",
            ChromaLocation::Left => "left",
            ChromaLocation::Center => "center",
            ChromaLocation::TopLeft => "topleft",
            ChromaLocation::Top => "top",
            ChromaLocation::BottomLeft => "bottomleft",
            ChromaLocation::Bottom => "bottom",
        },
    }
}

pub(super) fn field_order(f: FieldOrder) -> &'static str {
    match f {
        FieldOrder::Unknown => "unknown",
        FieldOrder::Progressive => "progressive",
        FieldOrder::TopFirst => "top_first",
        FieldOrder::BottomFirst => "bottom_first",
    }
}

/// The name of a profile number of FFmpeg's; the number itself when it has none here.
pub(super) fn profile(codec: &Codec, number: i32) -> String {
    let names: &[(i32, &str)] = match codec {
        Codec::H264 => &[
            (66, "Baseline"),
            (578, "Constrained Baseline"),
            (77, "Main"),
            (88, "Extended"),
            (100, "High"),
            (110, "High 10"),
            (2158, "High 10 Intra"),
            (118, "Multiview High"),
            (122, "High 4:2:2"),
            (2170, "High 4:2:2 Intra"),
            (128, "Stereo High"),
            (144, "High 4:4:4"),
            (244, "High 4:4:4 Predictive"),
            (2292, "High 4:4:4 Intra"),
            (44, "CAVLC 4:4:4"),
        ],
        Codec::Hevc => &[(1, "Main"), (2, "Main 10"), (3, "Main Still Picture"), (4, "Rext"), (9, "Scc")],
        Codec::Av1 => &[(0, "Main"), (1, "High"), (2, "Professional")],
        Codec::Vp9 => &[(0, "Profile 0"), (1, "Profile 1"), (2, "Profile 2"), (3, "Profile 3")],
        Codec::Mpeg2 => &[
            (0, "4:2:2"),
            (1, "High"),
            (2, "Spatially Scalable"),
            (3, "SNR Scalable"),
            (4, "Main"),
            (5, "Simple"),
        ],
        Codec::Mpeg4 => &[(0, "Simple Profile"), (15, "Advanced Simple Profile")],
        Codec::ProRes => &[(0, "Proxy"), (1, "LT"), (2, "Standard"), (3, "HQ"), (4, "4444"), (5, "XQ")],
        Codec::Mjpeg => {
            &[(0xc0, "Baseline"), (0xc1, "Sequential"), (0xc2, "Progressive"), (0xc3, "Lossless")]
        }
        Codec::Aac => &[
            (0, "Main"),
            (1, "LC"),
            (2, "SSR"),
            (3, "LTP"),
            (4, "HE-AAC"),
            (22, "LD"),
            (28, "HE-AACv2"),
            (38, "ELD"),
        ],
        Codec::Other(name) if &**name == "dts" => {
            &[(20, "DTS"), (30, "DTS-ES"), (40, "DTS 96/24"), (50, "DTS-HD HRA"), (60, "DTS-HD MA")]
        }
        _ => &[],
    };
    names.iter().find(|(n, _)| *n == number).map_or_else(|| number.to_string(), |(_, name)| (*name).into())
}
