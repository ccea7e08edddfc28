//! The mouse pointer, drawn into pictures that the server gives without it.

use x11rb::protocol::xfixes::GetCursorImageReply;

/// What the pointer looks like and where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pointer {
    /// Upper left corner of its image, in pixels of the root window.
    x: i32,
    y: i32,
    width: usize,
    /// Rows of ARGB, premultiplied.
    image: Vec<u32>,
    /// Changes with the image.
    serial: u32,
}

impl Pointer {
    pub fn new(reply: GetCursorImageReply) -> Pointer {
        Pointer {
            x: i32::from(reply.x) - i32::from(reply.xhot),
            y: i32::from(reply.y) - i32::from(reply.yhot),
            width: usize::from(reply.width),
            image: reply.cursor_image,
            serial: reply.cursor_serial,
        }
    }

    /// Whether it looks the same at the same place.
    pub fn is_same(&self, other: &Pointer) -> bool {
        (self.x, self.y, self.serial) == (other.x, other.y, other.serial)
    }

    /// Draws it over a picture of 32 bits a pixel in the order B, G, R, any, whose upper left corner is at (`x`, `y`).
    pub fn draw(&self, picture: &mut [u8], stride: usize, x: i32, y: i32) {
        let columns = stride / 4;
        let rows = picture.len().checked_div(stride).unwrap_or(0);
        for (i, argb) in self.image.iter().enumerate() {
            if self.width == 0 {
                return;
            }
            let (column, row) = (self.x - x + (i % self.width) as i32, self.y - y + (i / self.width) as i32);
            let (Ok(column), Ok(row)) = (usize::try_from(column), usize::try_from(row)) else { continue };
            if column >= columns || row >= rows {
                continue;
            }
            let [b, g, r, a] = argb.to_le_bytes();
            let pixel = &mut picture[row * stride + column * 4..][..3];
            for (under, over) in pixel.iter_mut().zip([b, g, r]) {
                let rest = (u32::from(*under) * (255 - u32::from(a)) + 127) / 255;
                *under = (u32::from(over) + rest).min(255) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(x: i32, y: i32, image: Vec<u32>, width: usize) -> Pointer {
        Pointer { x, y, width, image, serial: 1 }
    }

    #[test]
    fn covers_and_mixes() {
        // Opaque red, half transparent black, nothing.
        let mut picture = [100u8; 4 * 4];
        pointer(10, 5, vec![0xffff_0000, 0x8000_0000, 0], 3).draw(&mut picture, 16, 9, 5);
        assert_eq!(picture[..4], [100; 4]);
        assert_eq!(picture[4..7], [0, 0, 255]);
        assert_eq!(picture[8..11], [50; 3]);
        assert_eq!(picture[12..15], [100; 3]);
    }

    #[test]
    fn what_lies_outside_is_cut() {
        let mut picture = [9u8; 2 * 2 * 4];
        pointer(-1, -1, vec![0xffff_ffff; 16], 4).draw(&mut picture, 8, 0, 0);
        assert!(picture.chunks(4).all(|p| p[..3] == [255; 3]));
        let mut picture = [9u8; 2 * 2 * 4];
        pointer(50, 50, vec![0xffff_ffff; 16], 4).draw(&mut picture, 8, 0, 0);
        assert_eq!(picture, [9; 16]);
    }
}
