//! The frame number in the picture: digits for people, blocks for tests.
//!
//! Two rows of 32 blocks at the bottom, each row a sixteenth of the height and each block a 32nd of the width: the lower
//! row is the number, most significant bit first, white = 1; the upper row is its complement, so that no ordinary
//! picture reads as a number. Everything is a proportion of the picture, so that it is still there after scaling.

use super::picture::PlaneMut;

const BITS: u32 = 32;
const WHITE: u8 = 235;
const BLACK: u8 = 16;
const NEUTRAL: u8 = 128;

/// The smallest picture that takes a burn-in: blocks of 8 by 8 pixels.
pub const MIN_WIDTH: u32 = 8 * BITS;
/// See [`MIN_WIDTH`].
pub const MIN_HEIGHT: u32 = 8 * ROWS;
/// The height in rows of blocks.
const ROWS: u32 = 16;

/// Digits 0 to 9, five columns by seven rows, the leftmost column in bit 4.
const FONT: [[u8; 7]; 10] = [
    [0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e],
    [0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e],
    [0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f],
    [0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e],
    [0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02],
    [0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e],
    [0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e],
    [0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08],
    [0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e],
    [0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c],
];

/// `k` of `of` parts of `side`, down to an even number.
fn edge(side: u32, k: u32, of: u32) -> usize {
    (u64::from(side) * u64::from(k) / u64::from(of)) as usize & !1
}

/// Draws plane `index` of `n` into a yuv420p picture of at least [`MIN_WIDTH`] by [`MIN_HEIGHT`].
pub(super) fn draw(n: u32, width: u32, height: u32, index: usize, plane: &mut PlaneMut<'_>) {
    let mut fill = |x: (usize, usize), y: (usize, usize), luma: u8| {
        let (x, y, value) = match index {
            0 => (x, y, luma),
            _ => ((x.0 / 2, x.1.div_ceil(2)), (y.0 / 2, y.1.div_ceil(2)), NEUTRAL),
        };
        for row in y.0..y.1 {
            if let Some(part) = plane.row(row, x.1).get_mut(x.0..) {
                part.fill(value);
            }
        }
    };
    blocks(n, width, height, &mut fill);
    digits(n, width, height, &mut fill);
}

/// Fills columns `.0` of rows `.1` with luma `.2`.
type Fill<'a> = &'a mut dyn FnMut((usize, usize), (usize, usize), u8);

fn blocks(n: u32, width: u32, height: u32, fill: Fill<'_>) {
    for (row, value) in [(ROWS - 2, !n), (ROWS - 1, n)] {
        let bottom = if row + 1 == ROWS { height as usize } else { edge(height, row + 1, ROWS) };
        for k in 0..BITS {
            let right = if k + 1 == BITS { width as usize } else { edge(width, k + 1, BITS) };
            let luma = if value >> (BITS - 1 - k) & 1 == 1 { WHITE } else { BLACK };
            fill((edge(width, k, BITS), right), (edge(height, row, ROWS), bottom), luma);
        }
    }
}

fn digits(n: u32, width: u32, height: u32, fill: Fill<'_>) {
    let text = format!("{n:06}");
    // Ten digits of six columns and a margin must fit the width, seven rows a quarter of the height.
    let dot = ((height / 60).min(width / 72) as usize).max(2) & !1;
    let (left, top) = (edge(width, 1, 32), edge(height, 1, 16));
    fill((left, left + (text.len() * 6 + 1) * dot), (top, top + 9 * dot), BLACK);
    for (i, digit) in text.bytes().enumerate() {
        for (row, bits) in FONT[usize::from(digit - b'0')].iter().enumerate() {
            let (x, y) = (left + (i * 6 + 1) * dot, top + (row + 1) * dot);
            for column in (0..5).filter(|c| bits >> (4 - c) & 1 == 1) {
                fill((x + column * dot, x + (column + 1) * dot), (y, y + dot), WHITE);
            }
        }
    }
}

/// Reads the number back, given the brightness (0 to 1, black to white) of any pixel.
pub(super) fn read(width: u32, height: u32, luma: impl Fn(u32, u32) -> f32) -> Option<u32> {
    // Below four pixels a block, what is left after coding cannot be told apart.
    if width < MIN_WIDTH / 2 || height < MIN_HEIGHT / 2 {
        return None;
    }
    let bit = |row: u32, k: u32| -> Option<bool> {
        // The middle half of the block, away from what coding and scaling smear.
        let (bw, bh) = (width as f32 / BITS as f32, height as f32 / ROWS as f32);
        let span = |at: u32, size: f32| {
            let start = ((at as f32 + 0.3) * size) as u32;
            start..(((at as f32 + 0.7) * size) as u32).max(start + 1)
        };
        let (mut sum, mut count) = (0.0, 0);
        for y in span(row, bh) {
            for x in span(k, bw) {
                sum += luma(x, y);
                count += 1;
            }
        }
        let mean = sum / count as f32;
        (!(0.35..=0.65).contains(&mean)).then_some(mean > 0.5)
    };
    let mut n = 0;
    for k in 0..BITS {
        let value = bit(ROWS - 1, k)?;
        if bit(ROWS - 2, k)? == value {
            return None;
        }
        n = n << 1 | u32::from(value);
    }
    Some(n)
}

#[cfg(test)]
mod tests {
    use super::super::picture::Picture;
    use super::*;
    use crate::spec::PatternKind;

    #[test]
    fn numbers_read_back_at_every_size() {
        for (w, h) in [(256, 128), (320, 180), (853, 481), (1280, 720), (1921, 1081)] {
            let mut data = vec![0u8; (w * h) as usize];
            let picture = Picture::new(PatternKind::Smpte, w, h);
            let at = |data: &[u8], x: u32, y: u32| (f32::from(data[(y * w + x) as usize]) - 16.0) / 219.0;
            for n in [0, 1, 2, 99, 123_456, 0x8000_0001, u32::MAX] {
                let mut plane = PlaneMut { data: &mut data, stride: w as usize };
                picture.draw(u64::from(n), 0, &mut plane);
                assert_eq!(read(w, h, |x, y| at(plane.data, x, y)), None, "bars alone, {w}x{h}");
                draw(n, w, h, 0, &mut plane);
                assert_eq!(read(w, h, |x, y| at(plane.data, x, y)), Some(n), "{n} in {w}x{h}");
            }
        }
        assert_eq!(read(64, 64, |_, _| 1.0), None);
        assert_eq!(read(1920, 1080, |_, _| 0.0), None);
    }
}
