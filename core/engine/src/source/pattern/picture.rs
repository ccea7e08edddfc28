//! The pictures, as yuv420p code values. What does not move is drawn once and copied.

use crate::spec::PatternKind;

/// One plane of a picture being drawn.
pub(crate) struct PlaneMut<'a> {
    /// Rows of `stride` bytes; the last may be shorter.
    pub data: &'a mut [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
}

impl PlaneMut<'_> {
    /// `width` samples of row `y`; empty when the plane has no such row.
    pub(super) fn row(&mut self, y: usize, width: usize) -> &mut [u8] {
        let start = (y * self.stride).min(self.data.len());
        let end = (start + width).min(self.data.len());
        &mut self.data[start..end]
    }
}

/// Width and height of a chroma plane of a yuv420p picture.
pub(crate) fn chroma_size(width: u32, height: u32) -> (usize, usize) {
    (width.div_ceil(2) as usize, height.div_ceil(2) as usize)
}

type Yuv = [u8; 3];

/// 75 % white, yellow, cyan, green, magenta, red, blue. From `Y' = 16 + 219 (0.2126 R' + 0.7152 G' + 0.0722 B')`,
/// `Cb = 128 + 224 (B' - Y') / 1.8556`, `Cr = 128 + 224 (R' - Y') / 1.5748` (ITU-R BT.709-6) with components 0 or 0.75,
/// rounded to 8 bits; the same as in SMPTE RP 219.
pub(crate) const BARS: [Yuv; 7] = [
    [180, 128, 128],
    [168, 44, 136],
    [145, 147, 44],
    [133, 63, 52],
    [63, 193, 204],
    [51, 109, 212],
    [28, 212, 120],
];
const BLACK: Yuv = [16, 128, 128];
const WHITE: Yuv = [235, 128, 128];
/// -I and +Q as in SMPTE RP 219 for BT.709 (10 bits: 244 612 395 and 141 697 606).
const MINUS_I: Yuv = [61, 153, 99];
const PLUS_Q: Yuv = [35, 174, 152];
/// The PLUGE: 4 % of the 219 steps below and above black.
const BELOW_BLACK: Yuv = [7, 128, 128];
const ABOVE_BLACK: Yuv = [25, 128, 128];

/// `side * num / den` down to an even number, so that edges fall between chroma samples.
fn edge(side: u32, num: u32, den: u32) -> u32 {
    (u64::from(side) * u64::from(num) / u64::from(den)) as u32 & !1
}

/// The colour at column `x` of the bands of SMPTE EG 1: 0 = bars, 1 = castellations, 2 = PLUGE.
fn smpte_at(band: u8, x: u32, width: u32) -> Yuv {
    let bar = (1..7).take_while(|k| x >= edge(width, *k, 7)).count();
    match band {
        0 => BARS[bar],
        1 => [BARS[6], BLACK, BARS[4], BLACK, BARS[2], BLACK, BARS[0]][bar],
        _ => {
            // -I, white, +Q and black are each 5/4 of a bar wide; the PLUGE's three strips share the sixth bar.
            let edges = [(5, 28), (10, 28), (15, 28), (15, 21), (16, 21), (17, 21), (18, 21)];
            let part = edges.iter().take_while(|(n, d)| x >= edge(width, *n, *d)).count();
            [MINUS_I, WHITE, PLUS_Q, BLACK, BELOW_BLACK, BLACK, ABOVE_BLACK, BLACK][part]
        }
    }
}

/// Draws the picture of any frame number.
pub(crate) struct Picture {
    width: u32,
    height: u32,
    drawing: Drawing,
}

enum Drawing {
    /// A row per plane for each of the three bands.
    Bars([[Vec<u8>; 3]; 3]),
    Gradient(Gradient),
}

/// Every sample is a function of `p = x + y + n` alone, so that each row is a window of one long ramp.
struct Gradient {
    luma: Vec<u8>,
    /// Chroma samples at even and at odd `p`.
    chroma: [[Vec<u8>; 2]; 2],
}

/// Luma goes from black to white and back in this many steps of one code value.
const LUMA_PERIOD: usize = 438;
const CHROMA_PERIODS: [usize; 2] = [512, 768];
const CHROMA_SWING: usize = 48;

/// 0 up to `peak` and back over `period`.
fn triangle(p: usize, period: usize, peak: usize) -> usize {
    let at = p % period;
    let half = period / 2;
    (if at < half { at } else { period - at }) * peak / half
}

impl Picture {
    pub(crate) fn new(kind: PatternKind, width: u32, height: u32) -> Self {
        let (cw, ch) = chroma_size(width, height);
        let drawing = match kind {
            PatternKind::Smpte => Drawing::Bars([0, 1, 2].map(|band| {
                [0, 1, 2].map(|plane| {
                    let (count, step) = if plane == 0 { (width as usize, 1) } else { (cw, 2) };
                    (0..count).map(|x| smpte_at(band, x as u32 * step, width)[plane]).collect()
                })
            })),
            PatternKind::Gradient => {
                let reach = LUMA_PERIOD + width as usize + height as usize;
                Drawing::Gradient(Gradient {
                    luma: (0..reach).map(|p| 16 + triangle(p, LUMA_PERIOD, 219) as u8).collect(),
                    chroma: [0, 1].map(|c| {
                        let period = CHROMA_PERIODS[c];
                        [0, 1].map(|odd| {
                            (0..period / 2 + cw + ch)
                                .map(|i| {
                                    (128 - CHROMA_SWING + triangle(2 * i + odd, period, 2 * CHROMA_SWING))
                                        as u8
                                })
                                .collect()
                        })
                    }),
                })
            }
        };
        Picture { width, height, drawing }
    }

    /// Fills plane `index` with its part of frame `n`.
    pub(crate) fn draw(&self, n: u64, index: usize, plane: &mut PlaneMut<'_>) {
        let (cw, ch) = chroma_size(self.width, self.height);
        let (w, h, step) =
            if index == 0 { (self.width as usize, self.height as usize, 1) } else { (cw, ch, 2) };
        for y in 0..h {
            let from = match &self.drawing {
                Drawing::Bars(bands) => {
                    let top = y as u32 * step;
                    let band = usize::from(top >= edge(self.height, 2, 3))
                        + usize::from(top >= edge(self.height, 3, 4));
                    &bands[band][index][..]
                }
                Drawing::Gradient(g) if index == 0 => &g.luma[(n % LUMA_PERIOD as u64) as usize + y..],
                Drawing::Gradient(g) => {
                    let at = (n % CHROMA_PERIODS[index - 1] as u64) as usize;
                    &g.chroma[index - 1][at & 1][(at >> 1) + y..]
                }
            };
            let row = plane.row(y, w);
            let count = row.len().min(from.len());
            row[..count].copy_from_slice(&from[..count]);
        }
    }

    /// Whether all frames are the same.
    pub(crate) fn is_still(&self) -> bool {
        matches!(self.drawing, Drawing::Bars(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(kind: PatternKind, width: u32, height: u32, n: u64) -> [Vec<u8>; 3] {
        let (cw, ch) = chroma_size(width, height);
        let mut planes = [vec![0u8; (width * height) as usize], vec![0u8; cw * ch], vec![0u8; cw * ch]];
        let picture = Picture::new(kind, width, height);
        for (i, data) in planes.iter_mut().enumerate() {
            let stride = if i == 0 { width as usize } else { cw };
            picture.draw(n, i, &mut PlaneMut { data, stride });
        }
        planes
    }

    #[test]
    fn bars_are_bt709_limited_at_75_percent() {
        for (i, bar) in BARS.iter().enumerate() {
            // White, yellow … in the order of the bits G R B, inverted.
            let on = |bit: usize| if i & bit == 0 { 0.75 } else { 0.0 };
            let (g, r, b) = (on(4), on(2), on(1));
            let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
            let expect =
                [16.0 + 219.0 * y, 128.0 + 224.0 * (b - y) / 1.8556, 128.0 + 224.0 * (r - y) / 1.5748];
            assert_eq!(*bar, expect.map(|v: f64| v.round() as u8), "bar {i}");
        }
    }

    #[test]
    fn bars_are_where_eg1_puts_them() {
        let [y, u, v] = draw(PatternKind::Smpte, 1920, 1080, 7);
        let at =
            |px: usize, py: usize| [y[py * 1920 + px], u[py / 2 * 960 + px / 2], v[py / 2 * 960 + px / 2]];
        for (i, bar) in BARS.iter().enumerate() {
            assert_eq!(at(i * 1920 / 7 + 137, 300), *bar);
        }
        assert_eq!((at(100, 760), at(400, 760)), (BARS[6], BLACK));
        assert_eq!((at(100, 1000), at(500, 1000), at(900, 1000)), (MINUS_I, WHITE, PLUS_Q));
        assert_eq!((at(1420, 1000), at(1590, 1000)), (BELOW_BLACK, ABOVE_BLACK));
        assert_eq!((at(1900, 1000), at(0, 719), at(0, 720)), (BLACK, BARS[0], BARS[6]));
    }

    #[test]
    fn the_gradient_moves_one_pixel_a_frame() {
        for n in [0, 437, 511, u64::MAX - 1] {
            let (a, b) = (draw(PatternKind::Gradient, 64, 48, n), draw(PatternKind::Gradient, 64, 48, n + 1));
            for y in 0..48 {
                assert_eq!(a[0][y * 64 + 1..(y + 1) * 64], b[0][y * 64..y * 64 + 63], "frame {n} row {y}");
            }
            assert!(a[0].iter().all(|v| (16..=235).contains(v)));
        }
        let (a, b) = (draw(PatternKind::Gradient, 64, 48, 10), draw(PatternKind::Gradient, 64, 48, 12));
        assert_eq!((a[1][1], a[2][1]), (b[1][0], b[2][0]));
    }

    #[test]
    fn every_size_draws_every_sample() {
        for kind in [PatternKind::Smpte, PatternKind::Gradient] {
            for (w, h) in [(1, 1), (1, 7), (3, 2), (853, 481), (17, 1)] {
                let planes = draw(kind, w, h, 3);
                assert!(planes.iter().flatten().all(|v| *v != 0), "{kind:?} {w}x{h}");
            }
        }
    }
}
