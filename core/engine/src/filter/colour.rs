//! What an untagged picture is taken for, and names of colour code points.

use crate::error::{Error, Result};
use crate::frame::{ChromaLocation, Colour, ColourRange, PixelFormat, VideoParams};
use crate::spec::ColourSpec;

const UNSPECIFIED: u8 = 2;

const MATRICES: &[(&str, u8)] = &[
    ("gbr", 0),
    ("rgb", 0),
    ("bt709", 1),
    ("fcc", 4),
    ("bt470bg", 5),
    ("smpte170m", 6),
    ("bt601", 6),
    ("smpte240m", 7),
    ("ycgco", 8),
    ("bt2020nc", 9),
    ("bt2020", 9),
    ("bt2020c", 10),
    ("chroma-derived-nc", 12),
    ("chroma-derived-c", 13),
    ("ictcp", 14),
];

const PRIMARIES: &[(&str, u8)] = &[
    ("bt709", 1),
    ("bt470m", 4),
    ("bt470bg", 5),
    ("smpte170m", 6),
    ("smpte240m", 7),
    ("film", 8),
    ("bt2020", 9),
    ("smpte428", 10),
    ("smpte431", 11),
    ("smpte432", 12),
    ("ebu3213", 22),
];

const TRANSFERS: &[(&str, u8)] = &[
    ("bt709", 1),
    ("bt470m", 4),
    ("gamma22", 4),
    ("bt470bg", 5),
    ("gamma28", 5),
    ("smpte170m", 6),
    ("bt601", 6),
    ("smpte240m", 7),
    ("linear", 8),
    ("log100", 9),
    ("log", 9),
    ("log316", 10),
    ("iec61966-2-4", 11),
    ("iec61966-2-1", 13),
    ("srgb", 13),
    ("bt2020-10", 14),
    ("bt2020-12", 15),
    ("smpte2084", 16),
    ("pq", 16),
    ("arib-std-b67", 18),
    ("hlg", 18),
];

fn code(field: &str, table: &[(&str, u8)], name: Option<&str>) -> Result<u8> {
    let Some(name) = name else { return Ok(UNSPECIFIED) };
    match table.iter().find(|(n, _)| *n == name) {
        Some((_, code)) => Ok(*code),
        None => {
            let names: Vec<_> = table.iter().map(|(n, _)| *n).collect();
            Err(Error::invalid(field, format!("{name:?} is not known; one of {}", names.join(", "))))
        }
    }
}

/// The colour that a document asks for; what it leaves out is unspecified, for [`complete`] to take from the source.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] naming the field (`colour.matrix: …`).
pub fn from_spec(spec: &ColourSpec) -> Result<Colour> {
    Ok(Colour {
        primaries: code("colour.primaries", PRIMARIES, spec.primaries.as_deref())?,
        transfer: code("colour.transfer", TRANSFERS, spec.transfer.as_deref())?,
        matrix: code("colour.matrix", MATRICES, spec.matrix.as_deref())?,
        range: match spec.range.as_deref() {
            None => ColourRange::Unspecified,
            Some("limited" | "tv") => ColourRange::Limited,
            Some("full" | "pc") => ColourRange::Full,
            Some(other) => {
                return Err(Error::invalid("colour.range", format!("{other:?} is not limited or full")));
            }
        },
        chroma: ChromaLocation::Unspecified,
    })
}

/// Whether pixels of the format are full range whatever the tag says.
fn is_jpeg(format: PixelFormat) -> bool {
    format.name().starts_with("yuvj")
}

/// What the picture is taken for. Where it does not say: RGB is full-range sRGB with BT.709 primaries; YUV is limited
/// range, and BT.709 from 720 lines up, BT.601 below (625-line primaries at exactly 576 lines); primaries and transfer
/// follow the matrix where only that is given. Code points that nothing here can convert count as not said.
pub fn assumed(video: &VideoParams) -> Colour {
    let mut c = video.colour;
    let known = |table: &[(&str, u8)], code: u8| {
        if table.iter().any(|(_, c)| *c == code) { code } else { UNSPECIFIED }
    };
    c.matrix = known(MATRICES, c.matrix);
    c.primaries = known(PRIMARIES, c.primaries);
    c.transfer = known(TRANSFERS, c.transfer);
    let rgb = is_rgb(video.format);
    if rgb {
        c.matrix = 0;
    } else if c.matrix == UNSPECIFIED || c.matrix == 0 {
        c.matrix = match (c.primaries, video.height) {
            (1, _) => 1,
            (9, _) => 9,
            (5, _) => 5,
            (6, _) => 6,
            (_, 720..) => 1,
            (_, 576) => 5,
            _ => 6,
        };
    }
    let (primaries, transfer) = match c.matrix {
        0 => (1, 13),
        5 => (5, 6),
        6 => (6, 6),
        7 => (7, 7),
        9 | 10 => (9, 14),
        14 => (9, 16),
        _ => (1, 1),
    };
    if c.primaries == UNSPECIFIED {
        c.primaries = primaries;
    }
    if c.transfer == UNSPECIFIED {
        c.transfer = transfer;
    }
    if is_jpeg(video.format) {
        c.range = ColourRange::Full;
    } else if c.range == ColourRange::Unspecified {
        c.range = if rgb { ColourRange::Full } else { ColourRange::Limited };
    }
    c
}

/// `wanted`, with what it leaves open taken from `source` (an [`assumed`] colour) as far as `format` allows.
pub fn complete(wanted: Option<Colour>, source: Colour, format: PixelFormat, height: u32) -> Colour {
    let mut c = wanted.unwrap_or_default();
    if c.primaries == UNSPECIFIED {
        c.primaries = source.primaries;
    }
    if c.transfer == UNSPECIFIED {
        c.transfer = source.transfer;
    }
    if is_rgb(format) {
        (c.matrix, c.range) = (0, ColourRange::Full);
    } else {
        if c.matrix == UNSPECIFIED || c.matrix == 0 {
            c.matrix = match (source.matrix, c.primaries) {
                (0, 9) => 9,
                (0, 5) => 5,
                (0, 6) => 6,
                (0, _) if height < 720 => 6,
                (0, _) => 1,
                (m, _) => m,
            };
        }
        if is_jpeg(format) {
            c.range = ColourRange::Full;
        } else if c.range == ColourRange::Unspecified {
            c.range = if source.matrix == 0 { ColourRange::Limited } else { source.range };
        }
    }
    if c.chroma == ChromaLocation::Unspecified {
        c.chroma = source.chroma;
    }
    c
}

/// Whether the format is RGB.
pub(super) fn is_rgb(format: PixelFormat) -> bool {
    format.descriptor().is_some_and(|d| d.is_rgb)
}
