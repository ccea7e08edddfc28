//! Pictures with transparency, drawn into frames.

use super::colour::assumed;
use super::paint::{Layout, Rgb};
use crate::error::{Error, Result};
use crate::frame::{Colour, Frame, VideoParams};
use ghoststream_sys::ffmpeg as av;

/// An image of R, G, B, A bytes (sRGB, not premultiplied), rows without padding.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Image {
    pub width: u32,
    pub height: u32,
    pub rgba: Vec<u8>,
}

/// An image at a place, as code values and coverage of each plane of frames of one kind.
pub(super) struct Sprite {
    planes: Vec<Patch>,
    bytes: usize,
}

struct Patch {
    x: usize,
    y: usize,
    width: usize,
    value: Vec<u16>,
    /// 0 to 65535.
    cover: Vec<u16>,
}

/// SDR white in HDR pictures, cd/m² (BT.2408).
const HDR_WHITE: f64 = 203.0;

impl Sprite {
    /// `image` with its left top corner at `(x, y)`, which may lie outside, for frames of `video`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unsupported`] when the frames have no plane for each component.
    pub(super) fn new(image: &Image, x: i64, y: i64, opacity: f64, video: &VideoParams) -> Result<Sprite> {
        let unsupported = || Error::unsupported(format!("drawing into pixel format {}", video.format));
        let layout = Layout::of(video.format).ok_or_else(unsupported)?;
        let colour = assumed(video);
        let (left, top) = (x.max(0), y.max(0));
        let right = (x + i64::from(image.width)).min(i64::from(video.width)).max(left);
        let bottom = (y + i64::from(image.height)).min(i64::from(video.height)).max(top);
        let pixel = |px: i64, py: i64| {
            if !(left..right).contains(&px) || !(top..bottom).contains(&py) {
                return None;
            }
            let at = ((py - y) * i64::from(image.width) + (px - x)) as usize * 4;
            image.rgba.get(at..at + 4)
        };
        let mut palette = Palette { colour, last: None };
        let mut planes = Vec::new();
        for p in 0..layout.components.min(4) {
            let (sx, sy) = layout.shift(p);
            let (x0, y0) = (left >> sx, top >> sy);
            let up = |v: i64, s: u32| (v + (1 << s) - 1) >> s;
            let (x1, y1) = (up(right, sx), up(bottom, sy));
            let mut patch = Patch {
                x: x0 as usize,
                y: y0 as usize,
                width: (x1 - x0).max(0) as usize,
                value: Vec::new(),
                cover: Vec::new(),
            };
            let block = f64::from(1u32 << (sx + sy));
            for by in y0..y1 {
                for bx in x0..x1 {
                    // Coverage is averaged over the luma samples of a chroma sample, colour weighted by it.
                    let (mut alpha, mut sum) = (0.0, 0.0);
                    for py in (by << sy)..((by + 1) << sy) {
                        for px in (bx << sx)..((bx + 1) << sx) {
                            let Some(s) = pixel(px, py).filter(|s| s[3] > 0) else { continue };
                            let a = f64::from(s[3]) / 255.0;
                            alpha += a;
                            sum += a * palette.code(&layout, [s[0], s[1], s[2]])[p];
                        }
                    }
                    patch.value.push(if alpha > 0.0 { (sum / alpha).round() as u16 } else { 0 });
                    patch.cover.push((alpha / block * opacity * 65535.0).round() as u16);
                }
            }
            planes.push(patch);
        }
        Ok(Sprite { planes, bytes: layout.bytes() })
    }

    /// Draws it into a frame that may be written.
    pub(super) fn draw(&self, media: &mut av::Frame) {
        for (p, patch) in self.planes.iter().enumerate().filter(|(_, p)| p.width > 0) {
            let stride = media.stride(p);
            let Some(plane) = media.plane_mut(p) else { continue };
            let rows = patch.value.chunks_exact(patch.width).zip(patch.cover.chunks_exact(patch.width));
            for (i, (values, covers)) in rows.enumerate() {
                let start = (patch.y + i) * stride + patch.x * self.bytes;
                let Some(row) = plane.get_mut(start..start + patch.width * self.bytes) else { continue };
                let mix = |old: u16, value: u16, cover: u16| {
                    let (old, value, cover) = (u64::from(old), u64::from(value), u64::from(cover));
                    ((old * (65535 - cover) + value * cover + 32767) / 65535) as u16
                };
                let ink = values.iter().zip(covers);
                if self.bytes == 1 {
                    row.iter_mut().zip(ink).for_each(|(s, (v, c))| *s = mix((*s).into(), *v, *c) as u8);
                } else {
                    for (s, (v, c)) in row.chunks_exact_mut(2).zip(ink) {
                        let old = u16::from_le_bytes([s[0], s[1]]);
                        s.copy_from_slice(&mix(old, *v, *c).to_le_bytes());
                    }
                }
            }
        }
    }
}

/// Draws all of `sprites` into a copy of the frame (or the frame itself, if nobody else has it).
pub(super) fn draw_all<'a>(frame: Frame, sprites: impl Iterator<Item = &'a Sprite>) -> Result<Frame> {
    let (pts, duration, force_key, base) = (frame.pts, frame.duration, frame.force_key, frame.base);
    let mut media = frame.to_media()?;
    drop(frame);
    media.make_writable()?;
    sprites.for_each(|s| s.draw(&mut media));
    let mut drawn = Frame::new(media, base);
    (drawn.pts, drawn.duration, drawn.force_key) = (pts, duration, force_key);
    Ok(drawn)
}

/// Code values of sRGB colours in the picture's own colour; images have long runs of one colour.
struct Palette {
    colour: Colour,
    last: Option<([u8; 3], [f64; 4])>,
}

impl Palette {
    fn code(&mut self, layout: &Layout, rgb: [u8; 3]) -> [f64; 4] {
        if let Some((_, code)) = self.last.filter(|(key, _)| *key == rgb) {
            return code;
        }
        let [r, g, b] = rgb.map(|v| f64::from(v) / 255.0);
        let code = layout.code(&self.colour, signal(&self.colour, Rgb(r, g, b)));
        self.last = Some((rgb, code));
        code
    }
}

/// An sRGB colour in the transfer and primaries of the picture. SDR pictures take it as it is, as every player does;
/// in HDR ones its white is [`HDR_WHITE`].
fn signal(colour: &Colour, rgb: Rgb) -> Rgb {
    if !colour.is_hdr() {
        return rgb;
    }
    let linear = |v: f64| if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) };
    let (r, g, b) = (linear(rgb.0), linear(rgb.1), linear(rgb.2));
    // BT.2087.
    let (r, g, b) = (
        0.6274 * r + 0.3293 * g + 0.0433 * b,
        0.0691 * r + 0.9195 * g + 0.0114 * b,
        0.0164 * r + 0.0880 * g + 0.8956 * b,
    );
    let code = |v: f64| {
        if colour.is_pq() {
            return super::tonemap::pq(v * HDR_WHITE);
        }
        // 75 % signal at SDR white.
        let e = v * 0.264_96;
        let (a, b, c) = (0.178_832_77, 0.284_668_92, 0.559_910_73);
        if e <= 1.0 / 12.0 { (3.0 * e).sqrt() } else { a * (12.0 * e - b).ln() + c }
    };
    Rgb(code(r), code(g), code(b))
}
