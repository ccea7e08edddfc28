//! Host pictures as NVENC wants them in memory: luma rows, then chroma rows behind them at one pitch; 4:2:0 and 4:2:2 with
//! U and V side by side; ten bits in the upper part of sixteen.
//!
//! The copy into page-locked memory is needed anyway; laying planes out anew in it costs no second one.

use super::config;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::PixelFormat;
use ghoststream_sys::ffmpeg as av;
use ghoststream_sys::nvenc::Surface;

/// The place of one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Pixels in a row.
    pub width: u32,
    /// Rows of luma.
    pub height: u32,
    /// How the pixels lie.
    pub surface: Surface,
}

impl Shape {
    /// Bytes that count in a row of luma, which rows of chroma share.
    pub fn row_bytes(&self) -> usize {
        let width = if self.surface.chroma() == 3 { self.width } else { self.width.next_multiple_of(2) };
        width as usize * if self.surface.depth() > 8 { 2 } else { 1 }
    }

    /// Rows of all planes together.
    pub fn rows(&self) -> usize {
        let height = self.height as usize;
        match self.surface.chroma() {
            3 => height * 3,
            2 => height * 2,
            _ => height + height.div_ceil(2),
        }
    }

    /// Bytes without padding.
    pub fn bytes(&self) -> usize {
        self.row_bytes() * self.rows()
    }
}

/// How one plane of a format becomes rows.
#[derive(Clone, Copy)]
enum Plane {
    /// As it is.
    Copy(usize),
    /// Ten bits moved up.
    Shift(usize),
    /// Two planes side by side.
    Pair(usize, usize),
    /// Two planes of ten bits side by side, moved up.
    ShiftPair(usize, usize),
}

fn plan(format: PixelFormat) -> Option<&'static [Plane]> {
    use Plane::{Copy, Pair, Shift, ShiftPair};
    Some(match format.name() {
        "nv12" | "p010le" | "nv16" | "p210le" => &[Copy(0), Copy(1)],
        "yuv420p" | "yuvj420p" | "yuv422p" | "yuvj422p" => &[Copy(0), Pair(1, 2)],
        "yuv420p10le" | "yuv422p10le" => &[Shift(0), ShiftPair(1, 2)],
        "yuv444p" | "yuvj444p" | "yuv444p16le" => &[Copy(0), Copy(1), Copy(2)],
        "yuv444p10le" => &[Shift(0), Shift(1), Shift(2)],
        _ => return None,
    })
}

/// Lays `picture` out in `to`, rows of [`Shape::row_bytes`] without padding.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a format that is none of [`super::formats`]; [`ErrorKind::Internal`] when the picture
/// does not have the shape.
pub(super) fn pack(picture: &av::Frame, shape: &Shape, to: &mut [u8]) -> Result<()> {
    let format = picture.format();
    let plan = plan(format).ok_or_else(|| {
        Error::unsupported(format!("nvenc does not take {format} pictures; convert them first"))
    })?;
    let wrong =
        || Error::new(ErrorKind::Internal, format!("a {format} picture of another shape than {shape:?}"));
    if config::surface(format)? != shape.surface
        || (picture.width(), picture.height()) != (shape.width, shape.height)
        || to.len() < shape.bytes()
    {
        return Err(wrong());
    }
    let row_bytes = shape.row_bytes();
    let mut rest = to;
    for plane in plan {
        let first = match *plane {
            Plane::Copy(p) | Plane::Shift(p) | Plane::Pair(p, _) | Plane::ShiftPair(p, _) => p,
        };
        let rows = picture.plane_height(first);
        let (part, behind) = rest.split_at_mut_checked(rows * row_bytes).ok_or_else(wrong)?;
        rest = behind;
        let source = Rows::of(picture, first).ok_or_else(wrong)?;
        match *plane {
            Plane::Copy(_) => source.each(part, row_bytes, |from, to| {
                let n = from.len().min(to.len());
                to[..n].copy_from_slice(&from[..n]);
            }),
            Plane::Shift(_) => source.each(part, row_bytes, |from, to| {
                for (to, from) in to.as_chunks_mut::<2>().0.iter_mut().zip(from.as_chunks::<2>().0) {
                    *to = raised(*from);
                }
            }),
            Plane::Pair(_, second) => {
                let second = Rows::of(picture, second).ok_or_else(wrong)?;
                source.each_with(&second, part, row_bytes, |u, v, to| {
                    for ((to, u), v) in to.as_chunks_mut::<2>().0.iter_mut().zip(u).zip(v) {
                        *to = [*u, *v];
                    }
                });
            }
            Plane::ShiftPair(_, second) => {
                let second = Rows::of(picture, second).ok_or_else(wrong)?;
                source.each_with(&second, part, row_bytes, |u, v, to| {
                    let pairs = u.as_chunks::<2>().0.iter().zip(v.as_chunks::<2>().0);
                    for (to, (u, v)) in to.as_chunks_mut::<4>().0.iter_mut().zip(pairs) {
                        let ([a, b], [c, d]) = (raised(*u), raised(*v));
                        *to = [a, b, c, d];
                    }
                });
            }
        }
    }
    Ok(())
}

/// Ten bits in the upper part of sixteen.
fn raised(sample: [u8; 2]) -> [u8; 2] {
    (u16::from_le_bytes(sample) << 6).to_le_bytes()
}

/// A plane's rows.
struct Rows<'a> {
    bytes: &'a [u8],
    stride: usize,
    width: usize,
}

impl<'a> Rows<'a> {
    fn of(picture: &'a av::Frame, plane: usize) -> Option<Rows<'a>> {
        Some(Rows {
            bytes: Some(picture.plane(plane)).filter(|b| !b.is_empty())?,
            stride: picture.stride(plane).max(1),
            width: picture.row_bytes(plane),
        })
    }

    fn row(&self, n: usize) -> &'a [u8] {
        let from = (n * self.stride).min(self.bytes.len());
        let to = (from + self.width).min(self.bytes.len());
        &self.bytes[from..to]
    }

    fn each(&self, to: &mut [u8], row_bytes: usize, run: impl Fn(&[u8], &mut [u8])) {
        to.chunks_exact_mut(row_bytes).enumerate().for_each(|(n, to)| run(self.row(n), to));
    }

    fn each_with(
        &self,
        second: &Rows<'_>,
        to: &mut [u8],
        row_bytes: usize,
        run: impl Fn(&[u8], &[u8], &mut [u8]),
    ) {
        to.chunks_exact_mut(row_bytes).enumerate().for_each(|(n, to)| run(self.row(n), second.row(n), to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(name: &str, width: u32, height: u32) -> av::Frame {
        let format = PixelFormat::from_name(name).unwrap();
        let mut media = av::Frame::alloc_video(format, width, height, 0).unwrap();
        let wide = format.descriptor().unwrap().depth > 8;
        for plane in 0..media.plane_count() {
            let stride = media.stride(plane);
            let (rows, bytes) = (media.plane_height(plane), media.row_bytes(plane));
            let pixels = media.plane_mut(plane).unwrap();
            for y in 0..rows {
                for x in 0..bytes / if wide { 2 } else { 1 } {
                    let value = (x * 7 + y * 13 + plane * 29) as u16;
                    if wide {
                        pixels[y * stride + x * 2..][..2].copy_from_slice(&(value & 1023).to_le_bytes());
                    } else {
                        pixels[y * stride + x] = value as u8;
                    }
                }
            }
        }
        media
    }

    /// Against FFmpeg's own conversion into the semi-planar twin.
    #[test]
    fn planar_pictures_become_what_ffmpeg_makes_of_them() {
        for (from, twin) in
            [("yuv420p", "nv12"), ("yuv420p10le", "p010le"), ("yuv444p", "yuv444p"), ("nv12", "nv12")]
        {
            let media = picture(from, 38, 22);
            let shape = Shape { width: 38, height: 22, surface: config::surface(media.format()).unwrap() };
            let mut packed = vec![0xaa; shape.bytes()];
            pack(&media, &shape, &mut packed).unwrap();
            let twin = PixelFormat::from_name(twin).unwrap();
            let frame = crate::frame::Frame::new(media, crate::time::Rational::new(1, 25));
            let target =
                crate::filter::ScaleTarget { format: Some(twin), ..crate::filter::ScaleTarget::size(38, 22) };
            let mut out: Vec<crate::frame::Frame> = Vec::new();
            use crate::stage::Stage;
            crate::filter::Scale::new(target).push(frame, &mut out).unwrap();
            let mut wanted = vec![0; out[0].media().packed_size().unwrap()];
            out[0].media().copy_to_packed(&mut wanted).unwrap();
            assert_eq!(packed, wanted, "{from}");
        }
    }

    /// FFmpeg 5.1 makes no NV16 to compare with.
    #[test]
    fn chroma_of_every_line_lies_side_by_side() {
        let media = picture("yuv422p", 6, 3);
        let shape = Shape { width: 6, height: 3, surface: config::surface(media.format()).unwrap() };
        let mut packed = vec![0; shape.bytes()];
        pack(&media, &shape, &mut packed).unwrap();
        let (u, v) = (media.plane(1), media.plane(2));
        let (u, v) = (&u[2 * media.stride(1)..], &v[2 * media.stride(2)..]);
        assert_eq!(packed[(3 + 2) * 6..], [u[0], v[0], u[1], v[1], u[2], v[2]]);
    }

    #[test]
    fn ten_bits_lie_in_the_upper_part_and_odd_sizes_fit() {
        let media = picture("yuv444p10le", 7, 5);
        let shape = Shape { width: 7, height: 5, surface: Surface::Yuv444p16 };
        let mut packed = vec![0; shape.bytes()];
        pack(&media, &shape, &mut packed).unwrap();
        // Third plane, second row, third sample.
        let at = (2 * 5 + 1) * 14 + 4;
        let value = u16::from_le_bytes([packed[at], packed[at + 1]]);
        assert_eq!(value, (2 * 7 + 13 + 2 * 29) << 6);
        let other = Shape { width: 8, ..shape };
        assert_eq!(pack(&media, &other, &mut packed).unwrap_err().kind(), ErrorKind::Internal);
        let rgb = picture("rgb24", 8, 8);
        let eight = Shape { width: 8, height: 8, surface: Surface::Yuv444p };
        assert_eq!(pack(&rgb, &eight, &mut packed).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
