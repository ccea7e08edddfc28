//! Matrices in double precision: codes to R'G'B' and back, and between primaries.

use super::layout::Layout;
use crate::error::{Error, Result};
use crate::frame::{Colour, ColourRange};

/// Three sums and a constant each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine(pub [[f64; 4]; 3]);

type Matrix = [[f64; 3]; 3];

const IDENTITY: Matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

impl Affine {
    /// Without constants.
    fn linear(m: Matrix) -> Affine {
        Affine(m.map(|[a, b, c]| [a, b, c, 0.0]))
    }

    /// What becomes of three values.
    pub fn apply(&self, v: [f64; 3]) -> [f64; 3] {
        self.0.map(|row| row[0] * v[0] + row[1] * v[1] + row[2] * v[2] + row[3])
    }

    /// This after `first`.
    pub fn after(&self, first: &Affine) -> Affine {
        Affine(self.0.map(|row| {
            let mut sums = [0, 1, 2, 3].map(|j| (0..3).map(|k| row[k] * first.0[k][j]).sum::<f64>());
            sums[3] += row[3];
            sums
        }))
    }
}

/// Luma weights of red, green and blue of a matrix (a code point of H.273).
///
/// # Errors
/// [`crate::ErrorKind::Unsupported`] for matrices without constant weights.
pub(super) fn weights(matrix: u8) -> Result<[f64; 3]> {
    let (red, blue) = match matrix {
        1 => (0.2126, 0.0722),
        4 => (0.30, 0.11),
        5 | 6 => (0.299, 0.114),
        7 => (0.212, 0.087),
        9 => (0.2627, 0.0593),
        // R'G'B'; only asked for where nothing is weighed.
        0 => (0.0, 0.0),
        _ => {
            return Err(Error::unsupported(format!("matrix {matrix} is converted on the host, not on cuda")));
        }
    };
    Ok([red, 1.0 - red - blue, blue])
}

/// R'G'B' to Y'CbCr.
fn to_yuv(matrix: u8) -> Result<Matrix> {
    if matrix == 0 {
        return Ok(IDENTITY);
    }
    let y = weights(matrix)?;
    let difference = |of: usize| {
        let half = 2.0 * (1.0 - y[of]);
        [0, 1, 2].map(|k| (f64::from(u8::from(k == of)) - y[k]) / half)
    };
    Ok([y, difference(2), difference(0)])
}

/// What values from 0 to 1 (chroma: from -0.5 to 0.5) are multiplied with, and what is added, to be codes: for the first
/// component and for the other two.
pub(super) fn levels(colour: &Colour, layout: &Layout) -> [(f64, f64); 2] {
    let top = f64::from(layout.top());
    let middle = f64::from(1u32 << (layout.bits - 1));
    let unit = middle / 128.0;
    match (colour.matrix, colour.range) {
        (0, _) => [(top, 0.0); 2],
        (_, ColourRange::Full) => [(top, 0.0), (top, middle)],
        _ => [(219.0 * unit, 16.0 * unit), (224.0 * unit, middle)],
    }
}

/// R'G'B' to codes.
pub(super) fn encode(colour: &Colour, layout: &Layout) -> Result<Affine> {
    let m = to_yuv(colour.matrix)?;
    let [luma, chroma] = levels(colour, layout);
    let mut i = 0;
    Ok(Affine(m.map(|row| {
        let (gain, offset) = if i == 0 { luma } else { chroma };
        i += 1;
        [row[0] * gain, row[1] * gain, row[2] * gain, offset]
    })))
}

/// Codes to R'G'B'.
pub(super) fn decode(colour: &Colour, layout: &Layout) -> Result<Affine> {
    let m = inverse(to_yuv(colour.matrix)?);
    let [luma, chroma] = levels(colour, layout);
    Ok(Affine(m.map(|row| {
        let scaled = [row[0] / luma.0, row[1] / chroma.0, row[2] / chroma.0];
        let constant = -(scaled[0] * luma.1 + (scaled[1] + scaled[2]) * chroma.1);
        [scaled[0], scaled[1], scaled[2], constant]
    })))
}

/// Gain and offset of codes where the matrix stays: depth and range.
pub(super) fn relevel(from: (&Colour, &Layout), to: (&Colour, &Layout)) -> [(f64, f64); 2] {
    let (a, b) = (levels(from.0, from.1), levels(to.0, to.1));
    [0, 1].map(|group| {
        let gain = b[group].0 / a[group].0;
        (gain, b[group].1 - a[group].1 * gain)
    })
}

/// Linear R, G and B of these primaries to XYZ. White is D65 for all of them.
fn to_xyz(primaries: u8) -> Result<Matrix> {
    let [r, g, b] = match primaries {
        1 => [(0.640, 0.330), (0.300, 0.600), (0.150, 0.060)],
        5 => [(0.640, 0.330), (0.290, 0.600), (0.150, 0.060)],
        6 | 7 => [(0.630, 0.340), (0.310, 0.595), (0.155, 0.070)],
        9 => [(0.708, 0.292), (0.170, 0.797), (0.131, 0.046)],
        12 => [(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)],
        22 => [(0.630, 0.340), (0.295, 0.605), (0.155, 0.077)],
        _ => {
            return Err(Error::unsupported(format!(
                "primaries {primaries} are converted on the host, not on cuda"
            )));
        }
    };
    let column = |(x, y): (f64, f64)| [x / y, 1.0, (1.0 - x - y) / y];
    let columns = [column(r), column(g), column(b)];
    let m = [0, 1, 2].map(|i| [columns[0][i], columns[1][i], columns[2][i]]);
    let white = column((0.3127, 0.3290));
    let solved = inverse(m).map(|row| (0..3).map(|k| row[k] * white[k]).sum::<f64>());
    Ok(m.map(|row| [row[0] * solved[0], row[1] * solved[1], row[2] * solved[2]]))
}

/// Linear light of these primaries to BT.709's.
///
/// # Errors
/// [`crate::ErrorKind::Unsupported`] for primaries with another white than D65.
pub(super) fn to_bt709(primaries: u8) -> Result<Affine> {
    Ok(Affine::linear(multiply(inverse(to_xyz(1)?), to_xyz(primaries)?)))
}

fn multiply(a: Matrix, b: Matrix) -> Matrix {
    a.map(|row| [0, 1, 2].map(|j| (0..3).map(|k| row[k] * b[k][j]).sum()))
}

fn inverse(m: Matrix) -> Matrix {
    let minor = |i: usize, j: usize| {
        let (a, b) = ((i + 1) % 3, (i + 2) % 3);
        let (c, d) = ((j + 1) % 3, (j + 2) % 3);
        m[a][c] * m[b][d] - m[a][d] * m[b][c]
    };
    let determinant: f64 = (0..3).map(|j| m[0][j] * minor(0, j)).sum();
    [0, 1, 2].map(|i| [0, 1, 2].map(|j| minor(j, i) / determinant))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;

    fn near(a: [f64; 3], b: [f64; 3], by: f64) {
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= by), "{a:?} {b:?}");
    }

    fn layout(name: &str) -> Layout {
        Layout::of(PixelFormat::from_name(name).unwrap()).unwrap()
    }

    #[test]
    fn known_colours_have_their_codes() {
        let colour = |matrix, range| Colour { matrix, range, ..Colour::BT709 };
        for (matrix, red) in [(1, [63.0, 102.0, 240.0]), (6, [81.0, 90.0, 240.0]), (9, [74.0, 97.0, 240.0])] {
            let limited = colour(matrix, ColourRange::Limited);
            near((encode(&limited, &layout("nv12")).unwrap()).apply([1.0, 0.0, 0.0]), red, 0.5);
            near(
                (encode(&limited, &layout("p010le")).unwrap()).apply([1.0, 1.0, 1.0]),
                [940.0, 512.0, 512.0],
                1e-9,
            );
            for range in [ColourRange::Limited, ColourRange::Full] {
                let (to, back) = (
                    encode(&colour(matrix, range), &Layout::BETWEEN).unwrap(),
                    decode(&colour(matrix, range), &Layout::BETWEEN).unwrap(),
                );
                near((back.after(&to)).apply([0.2, 0.5, 0.9]), [0.2, 0.5, 0.9], 1e-12);
            }
        }
        assert!(encode(&colour(14, ColourRange::Limited), &Layout::BETWEEN).is_err(), "ICtCp is not linear");
    }

    #[test]
    fn ranges_and_depths_change_codes_as_the_standards_say() {
        let limited = Colour { range: ColourRange::Limited, ..Colour::BT709 };
        let full = Colour { range: ColourRange::Full, ..Colour::BT709 };
        let apply = |(gain, offset): (f64, f64), code: f64| code * gain + offset;
        let [luma, chroma] = relevel((&limited, &layout("nv12")), (&limited, &layout("p010le")));
        assert_eq!((apply(luma, 235.0), apply(chroma, 128.0)), (940.0, 512.0));
        let [luma, chroma] = relevel((&limited, &layout("nv12")), (&full, &layout("nv12")));
        assert!((apply(luma, 16.0)).abs() < 1e-9 && (apply(luma, 235.0) - 255.0).abs() < 1e-9);
        assert!((apply(chroma, 128.0) - 128.0).abs() < 1e-9 && (apply(chroma, 240.0) - 255.5).abs() < 1e-9);
    }

    #[test]
    fn primaries_keep_white_and_have_the_known_weights() {
        near((to_bt709(9).unwrap()).apply([1.0; 3]), [1.0; 3], 1e-9);
        near((to_bt709(1).unwrap()).apply([0.1, 0.7, 0.3]), [0.1, 0.7, 0.3], 1e-12);
        near(to_xyz(9).unwrap()[1], [0.2627, 0.6780, 0.0593], 1e-4);
        near(to_xyz(1).unwrap()[1], [0.2126, 0.7152, 0.0722], 1e-4);
        // The matrix of BT.2087.
        near((to_bt709(9).unwrap()).apply([1.0, 0.0, 0.0]), [1.6605, -0.1246, -0.0182], 1e-4);
        assert!(to_bt709(4).is_err(), "another white");
    }
}
