//! Unsharp mask.

use super::geometry::to_planar;
use super::paint::Layout;
use super::scale::Scale;
use crate::error::{Error, Result};
use crate::frame::{Frame, VideoParams};
use crate::spec::SharpenSpec;
use crate::stage::{Outlet, Stage};
use ghoststream_sys::ffmpeg as av;

/// Adds to each luma sample `amount` times its difference from a binomial blur of `size` by `size` (a negative amount
/// blurs); chroma stays. RGB is sharpened in all three. Computed here, because FFmpeg's `unsharp` goes wrong above
/// 8 bits. Format, colour and base stay, except that packed pixels leave in planes.
pub struct Sharpen {
    amount: f32,
    kernel: Vec<f32>,
    convert: Option<(VideoParams, Scale)>,
}

impl Sharpen {
    /// The mask.
    pub fn new(spec: SharpenSpec) -> Self {
        Sharpen { amount: spec.amount as f32, kernel: binomial(spec.size), convert: None }
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let format = frame.media().format();
        let (depth, planes) = match (Layout::of(format), semi_planar(frame.media())) {
            (Some(l), _) => (l.depth, if l.rgb { 3 } else { 1 }),
            (None, Some(depth)) => (depth, 1),
            (None, None) => return Err(Error::unsupported(format!("pixel format {format}"))),
        };
        let mut media = frame.to_media()?;
        media.make_writable()?;
        for p in 0..planes {
            self.plane(&mut media, p, depth);
        }
        let mut done = Frame::new(media, frame.base);
        (done.pts, done.duration, done.force_key) = (frame.pts, frame.duration, frame.force_key);
        Ok(done)
    }

    fn plane(&self, media: &mut av::Frame, p: usize, depth: u32) {
        let bytes = if depth > 8 { 2 } else { 1 };
        let (stride, rows, width) = (media.stride(p), media.plane_height(p), media.row_bytes(p) / bytes);
        let Some(plane) = media.plane_mut(p).filter(|_| width > 0) else { return };
        let mut source = vec![0f32; width * rows];
        for (y, line) in source.chunks_exact_mut(width).enumerate() {
            let row = &plane[y * stride..y * stride + width * bytes];
            if bytes == 1 {
                line.iter_mut().zip(row).for_each(|(v, s)| *v = f32::from(*s));
            } else {
                let words = row.chunks_exact(2);
                line.iter_mut()
                    .zip(words)
                    .for_each(|(v, s)| *v = f32::from(u16::from_le_bytes([s[0], s[1]])));
            }
        }
        let half = self.kernel.len() / 2;
        let top = ((1u32 << depth) - 1) as f32;
        let mut column = vec![0f32; width + 2 * half];
        let mut blurred = vec![0f32; width];
        for y in 0..rows {
            column.fill(0.0);
            for (k, weight) in self.kernel.iter().enumerate() {
                let from = (y + k).saturating_sub(half).min(rows - 1) * width;
                let line = &source[from..from + width];
                column[half..half + width].iter_mut().zip(line).for_each(|(c, v)| *c += weight * v);
            }
            let (first, last) = (column[half], column[half + width - 1]);
            column[..half].fill(first);
            column[half + width..].fill(last);
            blurred.fill(0.0);
            for (k, weight) in self.kernel.iter().enumerate() {
                blurred.iter_mut().zip(&column[k..]).for_each(|(b, v)| *b += weight * v);
            }
            let line = &source[y * width..(y + 1) * width];
            let sharp =
                line.iter().zip(&blurred).map(|(v, b)| (v + self.amount * (v - b)).clamp(0.0, top) + 0.5);
            let row = &mut plane[y * stride..y * stride + width * bytes];
            if bytes == 1 {
                row.iter_mut().zip(sharp).for_each(|(s, v)| *s = v as u8);
            } else {
                let words = row.chunks_exact_mut(2);
                words.zip(sharp).for_each(|(s, v)| s.copy_from_slice(&(v as u16).to_le_bytes()));
            }
        }
    }
}

/// The blur along one axis: binomial weights, as many as asked for.
pub(super) fn binomial(size: Option<u32>) -> Vec<f32> {
    let size = size.unwrap_or(5).clamp(3, 23) as usize | 1;
    let mut kernel = vec![1f32];
    while kernel.len() < size {
        let mut next = vec![0.0; kernel.len() + 1];
        for (i, v) in kernel.iter().enumerate() {
            next[i] += v / 2.0;
            next[i + 1] += v / 2.0;
        }
        kernel = next;
    }
    kernel
}

/// Depth of the luma plane of a format with interleaved chroma; samples of more than 8 bits fill the high ones of 16.
fn semi_planar(media: &av::Frame) -> Option<u32> {
    let d = media.format().descriptor()?;
    let fits = d.planes == 2 && d.components == 3 && !d.is_rgb && !d.big_endian && !d.has_palette;
    fits.then_some(if d.depth > 8 { 16 } else { 8 })
}

impl Stage<Frame, Frame> for Sharpen {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        if self.amount == 0.0 {
            return out.emit(frame);
        }
        let mut convert = self.convert.take();
        let sharpen = |f: Frame| self.apply(&f).map_err(|e| e.context("sharpen"));
        let result = if semi_planar(frame.media()).is_some() {
            sharpen(frame).and_then(|f| out.emit(f))
        } else {
            to_planar(frame, &mut convert, &mut |f| out.emit(sharpen(f)?))
        };
        self.convert = convert;
        result
    }

    fn finish(&mut self, _: &mut dyn Outlet<Frame>) -> Result<()> {
        Ok(())
    }
}
