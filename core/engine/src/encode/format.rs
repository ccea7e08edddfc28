//! The pixel formats that encoders take: which one a spec, a profile and a source come to.

use super::presets::{Input, Lossless, Table, formats, table, unknown};
use super::{nvenc, presets};
use crate::error::{Error, Result};
use crate::frame::{ColourRange, PixelFormat};
use crate::spec::{Tune, VideoSpec};

/// The quantisation range that the codec's pictures have by definition, where it has one: convert to it before encoding.
pub fn input_range(encoder: &str) -> Option<ColourRange> {
    match encoder {
        "mjpeg" => Some(ColourRange::Full),
        // Their streams cannot say that it is another, or players do not ask.
        "mpeg1video" | "mpeg2video" | "libtheora" | "prores_ks" | "dvvideo" | "dnxhd" => {
            Some(ColourRange::Limited)
        }
        _ => None,
    }
}

pub(super) fn depth_of(format: PixelFormat) -> u8 {
    format.descriptor().map_or(8, |d| d.depth.min(255) as u8)
}

/// `source` instead of `chosen` when they differ only in how the chroma planes are stored (nv12 and yuv420p) and
/// `encoder` takes both: pictures that need nothing else then reach it untouched.
pub fn untouched(encoder: &str, chosen: PixelFormat, source: PixelFormat) -> PixelFormat {
    let samples = |f: PixelFormat| {
        f.descriptor()
            .map(|d| (d.components, d.log2_chroma_w, d.log2_chroma_h, d.depth, d.is_rgb, d.has_alpha))
    };
    let semi_planar = source.descriptor().is_some_and(|d| d.planes == 2 && !d.has_palette);
    let taken = || formats(encoder).is_ok_and(|takes| takes.contains(&source));
    if semi_planar && samples(source) == samples(chosen) && taken() { source } else { chosen }
}

/// The host pixel format that `encoder` wants its pictures in for `spec`, given the source's format (`None`: unknown).
///
/// `spec.pixel_format` decides; else `bit_depth`, else the profile, else the source, with 8 bits for H.264 and 4:2:0
/// unless the profile or losslessness asks for more.
///
/// # Errors
/// [`ErrorKind::Unsupported`] (`video.pixel_format: …`, `video.bit_depth: …`) when the encoder cannot take it;
/// [`ErrorKind::Invalid`] for a format that FFmpeg does not know.
///
/// [`ErrorKind::Unsupported`]: crate::error::ErrorKind::Unsupported
/// [`ErrorKind::Invalid`]: crate::error::ErrorKind::Invalid
pub fn input_format(encoder: &str, spec: &VideoSpec, source: Option<PixelFormat>) -> Result<PixelFormat> {
    let table = table(encoder).unwrap_or_else(unknown);
    let format = format_for(encoder, &table, spec, source)?;
    let profile = spec.profile.as_deref().and_then(|name| table.profiles.1.iter().find(|p| p.name == name));
    // NVENC's own check knows its devices.
    if let Some(profile) = profile.filter(|_| presets::direct(encoder).is_none()) {
        fits_profile(encoder, profile, format)?;
    }
    Ok(format)
}

/// Refuses pictures that a profile does not hold, where encoders only say that they do not open, or take another profile.
fn fits_profile(encoder: &str, profile: &presets::Profile, format: PixelFormat) -> Result<()> {
    let Some(d) = format.descriptor() else { return Ok(()) };
    let chroma = match (d.components, d.is_rgb, d.log2_chroma_w, d.log2_chroma_h) {
        (1 | 2, ..) => 400,
        (_, true, ..) | (_, _, 0, 0) => 444,
        // Between 4:4:4 and 4:2:0; VP9 has 4:4:0 where it has 4:2:2.
        (.., 0, 1) | (.., 1, 0) => 422,
        _ => 420,
    };
    let depth = depth_of(format);
    // VP9's profiles exclude each other: each is for what the one before is not.
    let fits = match profile.name.strip_prefix("profile") {
        Some(_) => (depth > 8, chroma > 420) == (profile.depth > 8, profile.chroma > 420),
        None => chroma <= profile.chroma && depth <= profile.depth,
    };
    if fits {
        return Ok(());
    }
    let message =
        format!("video.profile: {} of {encoder} does not hold {} pictures", profile.name, format.name());
    Err(Error::unsupported(message))
}

fn format_for(
    encoder: &str,
    table: &Table,
    spec: &VideoSpec,
    source: Option<PixelFormat>,
) -> Result<PixelFormat> {
    let mut takes = formats(encoder)?;
    takes.retain(|f| !f.is_hardware());
    if takes.is_empty() && table.input != Input::Host {
        takes = vec![PixelFormat::nv12(), PixelFormat::p010()];
    }
    let takes_it = |f: PixelFormat| !f.is_none() && (takes.is_empty() || takes.contains(&f));
    let direct = presets::direct(encoder).is_some();
    let made = |f: PixelFormat| if direct { nvenc::made(f) } else { f };
    if let Some(name) = &spec.pixel_format {
        let format = PixelFormat::from_name(name)
            .ok_or_else(|| Error::invalid("video.pixel_format", format!("{name:?} is not known")))?;
        return if takes_it(format) {
            Ok(made(format))
        } else {
            let names: Vec<&str> = takes.iter().map(|f| f.name()).collect();
            let message = format!("video.pixel_format: {encoder} takes {}, not {name}", names.join(", "));
            Err(Error::unsupported(message))
        };
    }
    let source = source.filter(|f| !f.is_none() && !f.is_hardware());
    let lossless = spec.lossless || spec.tune == Some(Tune::Lossless) || table.lossless == Lossless::Always;
    if lossless
        && spec.bit_depth.is_none()
        && let Some(source) = source
    {
        return Ok(made(if takes_it(source) { source } else { source.best_of(&takes).unwrap_or(source) }));
    }
    // What an encoder without a line of its own is for, nobody knows: it gets what loses least. Players want 4:2:0 of Theora.
    // WebP keeps transparency.
    if (table.name.is_empty() || encoder == "libwebp")
        && encoder != "libtheora"
        && spec.bit_depth.is_none()
        && let Some(best) = source.and_then(|source| source.best_of(&takes))
    {
        return Ok(best);
    }
    let profile = spec.profile.as_deref().and_then(|name| table.profiles.1.iter().find(|p| p.name == name));
    let source_depth = source.map_or(8, depth_of);
    let deepest = table.depths.iter().copied().max().unwrap_or(8);
    let depth = spec.bit_depth.unwrap_or_else(|| match profile {
        // Each of DNxHR's profiles has one depth.
        Some(p) if table.codec == "dnxhd" => p.depth,
        Some(p) if p.name.ends_with("12") => 12.min(deepest),
        Some(p) if p.name.ends_with("10") || matches!(p.name, "profile2" | "profile3") => {
            source_depth.clamp(10, p.depth).min(deepest)
        }
        Some(p) if source_depth > 8 => p.depth.min(10),
        None if source_depth > 8 && table.codec != "h264" => deepest.min(10),
        _ => table.depths.first().copied().unwrap_or(8),
    });
    let chroma = match (profile, table.codec) {
        (Some(p), _) => p.chroma,
        (None, "prores" | "dnxhd") => 422,
        _ => 420,
    };
    let alpha = table.codec == "prores" && source.and_then(|f| f.descriptor()).is_some_and(|d| d.has_alpha);
    let of_source = source.and_then(|f| f.descriptor()).map(|d| (d.components > 2, d.has_alpha));
    let names: &[&str] = match (chroma, depth) {
        (_, 8) if encoder == "png" => match of_source.unwrap_or((true, false)) {
            (true, false) => &["rgb24"],
            (true, true) => &["rgba"],
            (false, false) => &["gray"],
            (false, true) => &["ya8"],
        },
        (444, 10) if alpha => &["yuva444p10le"],
        (420, 8) => &["yuv420p", "nv12"],
        (420, 10) => &["yuv420p10le", "p010le"],
        (420, 12) => &["yuv420p12le"],
        (422, 8) => &["yuv422p", "nv16"],
        (422, 10) => &["yuv422p10le", "p210le"],
        (422, 12) => &["yuv422p12le"],
        (444, 8) => &["yuv444p"],
        (444, 10) => &["yuv444p10le"],
        (444, 12) => &["yuv444p12le"],
        _ => &[],
    };
    names
        .iter()
        .filter_map(|name| PixelFormat::from_name(name))
        .find(|f| takes_it(*f))
        .or_else(|| takes.first().copied().filter(|_| spec.bit_depth.is_none() && profile.is_none()))
        .ok_or_else(|| Error::unsupported(format!("video.bit_depth: {encoder} does not take {depth} bits")))
}
