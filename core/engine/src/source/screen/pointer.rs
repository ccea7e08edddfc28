//! The pointer, drawn by us into pictures whose node tells of it beside them.

use crate::error::Result;
use ghoststream_sys::{ffmpeg as av, pipewire};
use pipewire::{Bitmap, Cursor};

/// Where red, green and blue are within a pixel, and how many bytes that has.
fn order(format: av::PixelFormat) -> Option<([usize; 3], usize)> {
    Some(match format.name() {
        "bgr0" | "bgra" => ([2, 1, 0], 4),
        "rgb0" | "rgba" => ([0, 1, 2], 4),
        "0rgb" | "argb" => ([1, 2, 3], 4),
        "0bgr" | "abgr" => ([3, 2, 1], 4),
        "rgb24" => ([0, 1, 2], 3),
        "bgr24" => ([2, 1, 0], 3),
        _ => return None,
    })
}

/// Whether a pointer can be drawn into such pictures.
pub(super) fn can_be_in(format: av::PixelFormat) -> bool {
    order(format).is_some()
}

/// A rectangle within a picture: left, top, width, height.
type Place = [usize; 4];

/// The pointer, and the picture that it was last drawn into.
#[derive(Default)]
pub(super) struct Pointer {
    position: (i32, i32),
    hotspot: (i32, i32),
    bitmap: Option<Bitmap>,
    /// The last picture, with the pointer in it, and the pixels that it covers.
    shown: Option<av::Frame>,
    under: Option<(Place, Vec<u8>)>,
}

impl Pointer {
    /// Takes in what the node says; whether that shows.
    pub fn hear(&mut self, cursor: Cursor) -> bool {
        let changed = cursor.bitmap.is_some() || self.bitmap.is_some() && cursor.position != self.position;
        self.position = cursor.position;
        if cursor.bitmap.is_some() {
            (self.bitmap, self.hotspot) = (cursor.bitmap, cursor.hotspot);
        }
        changed
    }

    /// Draws the pointer into a new picture, which has no other reference.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Memory`].
    pub fn draw(&mut self, mut media: av::Frame) -> Result<av::Frame> {
        self.blend(&mut media);
        self.shown = Some(media.try_clone()?);
        Ok(media)
    }

    /// The last picture with the pointer where it is now; `None` before the first picture.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Memory`].
    pub fn again(&mut self) -> Result<Option<av::Frame>> {
        let Some(mut media) = self.shown.take() else { return Ok(None) };
        // Whoever has the picture keeps it as it is.
        media.make_writable()?;
        if let (Some((place, pixels)), Some((_, bytes))) = (self.under.take(), order(media.format())) {
            let row = place[2] * bytes;
            each_row(&mut media, place, bytes, |n, line| line.copy_from_slice(&pixels[n * row..][..row]));
        }
        self.draw(media).map(Some)
    }

    /// What of the bitmap lies within a picture of that size: there, and where that begins in the bitmap.
    fn place(&self, bitmap: &Bitmap, width: u32, height: u32) -> Option<(Place, [usize; 2])> {
        let along = |at: i32, spot: i32, length: u32, all: u32| {
            let begin = i64::from(at) - i64::from(spot);
            let (first, end) = (begin.max(0), (begin + i64::from(length)).min(i64::from(all)));
            let length = usize::try_from(end - first).ok().filter(|n| *n > 0)?;
            Some((usize::try_from(first).ok()?, length, usize::try_from(first - begin).ok()?))
        };
        let (x, w, from_x) = along(self.position.0, self.hotspot.0, bitmap.width, width)?;
        let (y, h, from_y) = along(self.position.1, self.hotspot.1, bitmap.height, height)?;
        Some(([x, y, w, h], [from_x, from_y]))
    }

    /// Draws the pointer, keeping what it covers.
    fn blend(&mut self, media: &mut av::Frame) {
        self.under = None;
        let (Some(bitmap), Some((order, bytes))) = (&self.bitmap, order(media.format())) else { return };
        let Some((place, [from_x, from_y])) = self.place(bitmap, media.width(), media.height()) else {
            return;
        };
        let (row, mut under) = (bitmap.width as usize * 4, Vec::with_capacity(place[2] * place[3] * bytes));
        each_row(media, place, bytes, |n, line| {
            under.extend_from_slice(line);
            let drawn = bitmap.rgba.get((from_y + n) * row + from_x * 4..).unwrap_or_default();
            for (pixel, drawn) in line.chunks_exact_mut(bytes).zip(drawn.chunks_exact(4)) {
                let alpha = u32::from(drawn[3]);
                for (at, colour) in order.iter().zip(drawn) {
                    let mixed = u32::from(*colour) * alpha + u32::from(pixel[*at]) * (255 - alpha) + 127;
                    pixel[*at] = u8::try_from(mixed / 255).unwrap_or(255);
                }
            }
        });
        self.under = Some((place, under));
    }
}

/// Calls with the bytes of each row of a place, and its number. Of a picture that others have too nothing is touched.
fn each_row(
    media: &mut av::Frame,
    [x, y, w, h]: Place,
    bytes: usize,
    mut change: impl FnMut(usize, &mut [u8]),
) {
    let stride = media.stride(0);
    let Some(plane) = media.plane_mut(0) else { return };
    for n in 0..h {
        let begin = (y + n) * stride + x * bytes;
        if let Some(line) = plane.get_mut(begin..begin + w * bytes) {
            change(n, line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;

    /// 8x6 pixels of 10, 20, 30.
    fn picture(format: &str) -> av::Frame {
        let format = PixelFormat::from_name(format).expect("known");
        let mut media = av::Frame::alloc_video(format, 8, 6, 0).expect("memory");
        let (order, bytes) = order(format).expect("drawn into");
        each_row(&mut media, [0, 0, 8, 6], bytes, |_, line| {
            for pixel in line.chunks_exact_mut(bytes) {
                order.iter().zip([10, 20, 30]).for_each(|(at, colour)| pixel[*at] = colour);
            }
        });
        media
    }

    fn pixel(media: &av::Frame, x: usize, y: usize) -> [u8; 3] {
        let (order, bytes) = order(media.format()).expect("drawn into");
        let pixel = &media.plane(0)[y * media.stride(0) + x * bytes..];
        order.map(|at| pixel[at])
    }

    /// 3x2: red, half green, nothing; below blue.
    fn cursor(position: (i32, i32)) -> Cursor {
        let mut rgba = vec![255, 0, 0, 255, 0, 255, 0, 128, 9, 9, 9, 0];
        rgba.extend([0, 0, 255, 255].repeat(3));
        Cursor { position, hotspot: (1, 0), bitmap: Some(Bitmap { width: 3, height: 2, rgba }) }
    }

    const PLAIN: [u8; 3] = [10, 20, 30];

    #[test]
    fn it_is_mixed_into_every_order_of_colours() {
        for format in ["bgr0", "rgba", "0rgb", "abgr", "rgb24", "bgr24"] {
            let mut pointer = Pointer::default();
            assert!(pointer.hear(cursor((3, 2))));
            let media = pointer.draw(picture(format)).expect("drawn");
            assert_eq!(pixel(&media, 2, 2), [255, 0, 0], "{format}");
            assert_eq!(pixel(&media, 3, 2), [5, 138, 15], "{format}");
            assert_eq!((pixel(&media, 4, 2), pixel(&media, 5, 2)), (PLAIN, PLAIN), "{format}");
            assert_eq!((pixel(&media, 2, 3), pixel(&media, 4, 3)), ([0, 0, 255], [0, 0, 255]), "{format}");
            assert_eq!(
                (pixel(&media, 1, 2), pixel(&media, 2, 1), pixel(&media, 2, 4)),
                (PLAIN, PLAIN, PLAIN)
            );
        }
    }

    #[test]
    fn moving_it_restores_what_it_covered_and_leaves_earlier_pictures_alone() {
        let mut pointer = Pointer::default();
        assert!(pointer.again().expect("no error").is_none());
        pointer.hear(cursor((3, 2)));
        let first = pointer.draw(picture("bgr0")).expect("drawn");
        assert!(!pointer.hear(Cursor { bitmap: None, ..cursor((3, 2)) }), "it is where it was");
        assert!(pointer.hear(Cursor { bitmap: None, ..cursor((6, 4)) }));
        let second = pointer.again().expect("drawn").expect("a picture");
        assert_eq!((pixel(&second, 2, 2), pixel(&second, 3, 3)), (PLAIN, PLAIN));
        assert_eq!(pixel(&second, 5, 4), [255, 0, 0]);
        assert_eq!((pixel(&first, 2, 2), pixel(&first, 5, 4)), ([255, 0, 0], PLAIN));
        // Gone, and back without being told its picture again.
        pointer.hear(Cursor { position: Cursor::NOWHERE, hotspot: (0, 0), bitmap: None });
        let third = pointer.again().expect("drawn").expect("a picture");
        assert!((0..48).all(|n| pixel(&third, n % 8, n / 8) == PLAIN));
        pointer.hear(Cursor { bitmap: None, ..cursor((1, 0)) });
        assert_eq!(pixel(&pointer.again().expect("drawn").expect("a picture"), 0, 0), [255, 0, 0]);
    }

    #[test]
    fn what_lies_outside_is_cut_off() {
        for (at, there, seen) in [((0, -1), (0, 0), [0, 0, 255]), ((8, 5), (7, 5), [255, 0, 0])] {
            let mut pointer = Pointer::default();
            pointer.hear(cursor(at));
            assert_eq!(pixel(&pointer.draw(picture("bgr0")).expect("drawn"), there.0, there.1), seen);
        }
        let mut pointer = Pointer::default();
        pointer.hear(cursor((i32::MAX, i32::MIN)));
        let media = pointer.draw(picture("bgr0")).expect("drawn");
        assert!((0..48).all(|n| pixel(&media, n % 8, n / 8) == PLAIN));
    }
}
