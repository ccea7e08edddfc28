//! Colours as code values: what a filter that writes pixels itself needs to know.

use super::colour::is_rgb;
use crate::error::{Error, Result};
use crate::frame::{Colour, ColourRange, PixelFormat};

/// An opaque colour, gamma-coded, 0 to 1 each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rgb(pub f64, pub f64, pub f64);

/// A colour by name or `#rrggbb`.
pub(super) fn parse(field: &str, text: &str) -> Result<Rgb> {
    let named = [
        ("black", 0x000000),
        ("white", 0xffffff),
        ("gray", 0x808080),
        ("grey", 0x808080),
        ("red", 0xff0000),
        ("green", 0x008000),
        ("lime", 0x00ff00),
        ("blue", 0x0000ff),
        ("yellow", 0xffff00),
        ("cyan", 0x00ffff),
        ("magenta", 0xff00ff),
        ("orange", 0xffa500),
        ("navy", 0x000080),
    ];
    let value = match text.strip_prefix('#') {
        Some(hex) if hex.len() == 6 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
            u32::from_str_radix(hex, 16).ok()
        }
        Some(_) => None,
        None => named.iter().find(|(n, _)| n.eq_ignore_ascii_case(text)).map(|(_, v)| *v),
    };
    let Some(v) = value else {
        let names: Vec<_> = named.iter().map(|(n, _)| *n).collect();
        return Err(Error::invalid(field, format!("{text:?} is not #rrggbb or one of {}", names.join(", "))));
    };
    let part = |shift: u32| f64::from((v >> shift) & 0xff) / 255.0;
    Ok(Rgb(part(16), part(8), part(0)))
}

/// Luma weights of red and blue.
pub(super) fn weights(matrix: u8) -> (f64, f64) {
    match matrix {
        4 => (0.30, 0.11),
        5 | 6 => (0.299, 0.114),
        7 => (0.212, 0.087),
        9 | 10 => (0.2627, 0.0593),
        _ => (0.2126, 0.0722),
    }
}

/// How a planar format of integers with a plane for each component keeps its samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub depth: u32,
    pub log2_chroma: (u32, u32),
    pub components: usize,
    pub rgb: bool,
}

impl Layout {
    /// `None` for formats laid out otherwise.
    pub(super) fn of(format: PixelFormat) -> Option<Layout> {
        let d = format.descriptor()?;
        let plain = d.planes == d.components
            && !d.is_hardware
            && !d.big_endian
            && !d.is_float
            && (8..=16).contains(&d.depth);
        plain.then_some(Layout {
            depth: d.depth,
            log2_chroma: (d.log2_chroma_w, d.log2_chroma_h),
            components: d.components,
            rgb: is_rgb(format),
        })
    }

    /// Bytes of a sample.
    pub(super) fn bytes(&self) -> usize {
        if self.depth > 8 { 2 } else { 1 }
    }

    /// Whether the plane is subsampled.
    pub(super) fn shift(&self, plane: usize) -> (u32, u32) {
        if matches!(plane, 1 | 2) && !self.rgb { self.log2_chroma } else { (0, 0) }
    }

    /// Code value of each plane for an opaque colour, not rounded.
    pub(super) fn code(&self, colour: &Colour, Rgb(r, g, b): Rgb) -> [f64; 4] {
        let full = f64::from((1u32 << self.depth) - 1);
        let step = f64::from(1u32 << (self.depth - 8).min(8));
        let limited = colour.range != ColourRange::Full;
        if self.rgb {
            return [g, b, r]
                .map(|v| if limited { (16.0 + 219.0 * v) * step } else { v * full })
                .into_4(full);
        }
        let (kr, kb) = weights(colour.matrix);
        let y = kr * r + (1.0 - kr - kb) * g + kb * b;
        let (u, v) = ((b - y) / (2.0 * (1.0 - kb)), (r - y) / (2.0 * (1.0 - kr)));
        let middle = 128.0 * step;
        let planes = if limited {
            [(16.0 + 219.0 * y) * step, middle + 224.0 * step * u, middle + 224.0 * step * v]
        } else {
            [y * full, middle + full * u, middle + full * v]
        };
        if self.components == 2 { [planes[0], full, full, full] } else { planes.into_4(full) }
    }
}

trait IntoFour {
    fn into_4(self, last: f64) -> [f64; 4];
}

impl IntoFour for [f64; 3] {
    fn into_4(self, last: f64) -> [f64; 4] {
        [self[0], self[1], self[2], last]
    }
}
