//! Between the shim's flat structs and [`Colour`], [`HdrMetadata`].

use super::raw;
use super::{ChromaLocation, Colour, ColourRange, ContentLight, DolbyVision, HdrMetadata, MasteringDisplay};

pub(crate) fn colour(primaries: i32, transfer: i32, matrix: i32, range: i32, chroma: i32) -> Colour {
    let point = |v: i32| u8::try_from(v).unwrap_or(2);
    Colour {
        primaries: point(primaries),
        transfer: point(transfer),
        matrix: point(matrix),
        range: match range {
            1 => ColourRange::Limited,
            2 => ColourRange::Full,
            _ => ColourRange::Unspecified,
        },
        chroma: match chroma {
            1 => ChromaLocation::Left,
            2 => ChromaLocation::Center,
            3 => ChromaLocation::TopLeft,
            4 => ChromaLocation::Top,
            5 => ChromaLocation::BottomLeft,
            6 => ChromaLocation::Bottom,
            _ => ChromaLocation::Unspecified,
        },
    }
}

pub(crate) fn range(range: ColourRange) -> i32 {
    match range {
        ColourRange::Unspecified => 0,
        ColourRange::Limited => 1,
        ColourRange::Full => 2,
    }
}

pub(crate) fn chroma(chroma: ChromaLocation) -> i32 {
    match chroma {
        ChromaLocation::Unspecified => 0,
        ChromaLocation::Left => 1,
        ChromaLocation::Center => 2,
        ChromaLocation::TopLeft => 3,
        ChromaLocation::Top => 4,
        ChromaLocation::BottomLeft => 5,
        ChromaLocation::Bottom => 6,
    }
}

pub(crate) fn from_raw(h: &raw::Hdr) -> HdrMetadata {
    HdrMetadata {
        mastering: (h.has_mastering != 0).then_some(MasteringDisplay {
            primaries: h.primaries,
            white: h.white,
            min_luminance: h.min_luminance,
            max_luminance: h.max_luminance,
        }),
        content_light: (h.has_light != 0)
            .then_some(ContentLight { max_content: h.max_content, max_average: h.max_average }),
        dolby_vision: (h.has_dovi != 0).then_some(DolbyVision {
            profile: h.dv_profile as u8,
            level: h.dv_level as u8,
            rpu: h.dv_rpu != 0,
            enhancement_layer: h.dv_el != 0,
            base_layer: h.dv_bl != 0,
            compatibility: h.dv_compat as u8,
        }),
        hdr10_plus: h.hdr10_plus != 0,
    }
}

pub(crate) fn to_raw(h: &HdrMetadata) -> raw::Hdr {
    let mut out = raw::Hdr { hdr10_plus: h.hdr10_plus as i32, ..Default::default() };
    if let Some(m) = h.mastering {
        out.has_mastering = 1;
        out.primaries = m.primaries;
        out.white = m.white;
        out.min_luminance = m.min_luminance;
        out.max_luminance = m.max_luminance;
    }
    if let Some(l) = h.content_light {
        out.has_light = 1;
        out.max_content = l.max_content;
        out.max_average = l.max_average;
    }
    if let Some(d) = h.dolby_vision {
        out.has_dovi = 1;
        out.dv_profile = d.profile.into();
        out.dv_level = d.level.into();
        out.dv_rpu = d.rpu.into();
        out.dv_el = d.enhancement_layer.into();
        out.dv_bl = d.base_layer.into();
        out.dv_compat = d.compatibility.into();
    }
    out
}
