//! Pixel loops of our own, for the conversions that every frame of an application goes through. They are plain loops
//! that the compiler vectorises, compiled once for every CPU and once for AVX2 with FMA; which one runs is decided when
//! the program runs. That call is the only unsafe thing here, and why it lives below the engine.

use crate::ffmpeg::{Error, Frame, PixelFormat, Result};

/// Columns beside each row that mirror its ends, for the filter's taps.
const SIDE: usize = 4;
/// Rows of chroma at hand: one more than the filter reaches in either direction, as a power of two.
const RING: usize = 8;
/// Pictures smaller than this in either direction are not taken.
const LEAST: u32 = 16;

/// Bicubic (B = 0, C = 0.6) at half the size. Across, chroma lies on the left luma sample of two: taps at 0, ±1 and ±3
/// (those at ±2 are zero); down, between the two rows: taps at ±½, ±1½, ±2½ and ±3½.
const ACROSS: [f32; 3] = [0.5, 0.2875, -0.0375];
const DOWN: [f32; 4] = [0.435_937_5, 0.120_312_5, -0.042_187_5, -0.014_062_5];

/// Packed 8-bit RGB to 8-bit 4:2:0 (planar, or NV12) of the same size in one pass: the exact matrix, chroma by the
/// bicubic filter (C = 0.6) with the siting that 4:2:0 has when nothing else is said (left). Within one code of what
/// zimg makes of it in two passes, at a fraction of the time. Alpha is dropped.
pub struct RgbTo420 {
    weights: Weights,
    source: Packed,
    width: usize,
    height: usize,
    semi_planar: bool,
    /// One row of R, G and B with mirrored ends, and the even and the odd samples of one of them.
    row: [Vec<u8>; 3],
    alternate: [Vec<u8>; 2],
    /// A row of U and of V as they are written.
    done: [Vec<u8>; 2],
    /// The latest rows of U and V at half width.
    ring: Vec<[Vec<f32>; 2]>,
}

/// Where the components of a packed pixel lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packed {
    step: usize,
    order: [usize; 3],
}

/// The matrix, for components from 0 to 255. Luma counts in 1/16384 and holds its offset and rounding.
#[derive(Clone, Copy, Debug)]
struct Weights {
    y: [i16; 3],
    y_base: i32,
    u: [f32; 3],
    v: [f32; 3],
}

const Y_BITS: u32 = 14;

impl RgbTo420 {
    /// A converter, or `None` where this is not the way: other formats, odd or very small sizes, other matrices than
    /// those with constant weights of red and blue. `matrix` is a code point of H.273.
    pub fn new(
        from: PixelFormat,
        to: PixelFormat,
        width: u32,
        height: u32,
        matrix: u8,
        full_range: bool,
    ) -> Option<RgbTo420> {
        let (step, order) = match from.name() {
            "rgb24" => (3, [0, 1, 2]),
            "bgr24" => (3, [2, 1, 0]),
            "rgba" | "rgb0" => (4, [0, 1, 2]),
            "bgra" | "bgr0" => (4, [2, 1, 0]),
            "argb" | "0rgb" => (4, [1, 2, 3]),
            "abgr" | "0bgr" => (4, [3, 2, 1]),
            _ => return None,
        };
        let semi_planar = match to.name() {
            "yuv420p" => false,
            "yuvj420p" if full_range => false,
            "nv12" => true,
            _ => return None,
        };
        if width % 2 == 1 || height % 2 == 1 || width < LEAST || height < LEAST {
            return None;
        }
        let (red, blue) = match matrix {
            1 => (0.2126, 0.0722),
            4 => (0.30, 0.11),
            5 | 6 => (0.299, 0.114),
            7 => (0.212, 0.087),
            9 => (0.2627, 0.0593),
            _ => return None,
        };
        let (width, height) = (width as usize, height as usize);
        let half = width / 2;
        Some(RgbTo420 {
            weights: Weights::new(red, blue, full_range),
            source: Packed { step, order },
            width,
            height,
            semi_planar,
            row: std::array::from_fn(|_| vec![0; width + 2 * SIDE]),
            alternate: std::array::from_fn(|_| vec![0; half + SIDE]),
            done: std::array::from_fn(|_| vec![0; half]),
            ring: (0..RING).map(|_| std::array::from_fn(|_| vec![0.0; half])).collect(),
        })
    }

    /// Writes the picture `from` into `to`; both as the converter was made for.
    ///
    /// # Errors
    /// `Invalid` when a picture is of another size, too short, or `to` is shared.
    pub fn convert(&mut self, from: &Frame, to: &mut Frame) -> Result<()> {
        let size = (self.width as u32, self.height as u32);
        if (from.width(), from.height()) != size || (to.width(), to.height()) != size {
            return Err(Error::invalid("the size of a picture to convert"));
        }
        let source = (from.plane(0), from.stride(0));
        let strides = [to.stride(0), to.stride(1), to.stride(2)];
        let mut planes =
            to.planes_mut().ok_or_else(|| Error::invalid("convert into a shared picture"))?.into_iter();
        let mut next = |i: usize| (planes.next().unwrap_or_default(), strides[i]);
        let target =
            Target { y: next(0), u: next(1), v: if self.semi_planar { (&mut [], 0) } else { next(2) } };
        let (half, rows) = (self.width / 2, self.height / 2);
        let chroma = |stride: usize| stride * (rows - 1) + if self.semi_planar { self.width } else { half };
        let long_enough = source.0.len() >= source.1 * (self.height - 1) + self.width * self.source.step
            && target.y.0.len() >= target.y.1 * (self.height - 1) + self.width
            && target.u.0.len() >= chroma(target.u.1)
            && (self.semi_planar || target.v.0.len() >= chroma(target.v.1));
        if !long_enough {
            return Err(Error::invalid("a picture to convert is too short"));
        }
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the CPU has both.
            unsafe { self.run_avx2(source, target) };
            return Ok(());
        }
        self.run::<false>(source, target);
        Ok(())
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn run_avx2(&mut self, source: (&[u8], usize), target: Target<'_>) {
        self.run::<true>(source, target);
    }

    /// `FMA`: the CPU multiplies and adds in one instruction; without it, asking for that would be a call.
    #[inline(always)]
    fn run<const FMA: bool>(&mut self, source: (&[u8], usize), mut target: Target<'_>) {
        let (width, height, w) = (self.width, self.height, self.weights);
        // The chroma row that is made next.
        let mut made = 0;
        for line in 0..height {
            let from = &source.0[line * source.1..][..width * self.source.step];
            split(self.source, from, &mut self.row);
            let [r, g, b] = [&self.row[0][..], &self.row[1][..], &self.row[2][..]];
            let y = &mut target.y.0[line * target.y.1..][..width];
            luma(&w, [&r[SIDE..][..width], &g[SIDE..][..width], &b[SIDE..][..width]], y);
            let [u, v] = &mut self.ring[line % RING];
            narrow::<FMA>(&w, [r, g, b], &mut self.alternate, u, v);
            // A row of chroma reaches four rows beyond its upper row of luma.
            while made < height / 2 && (line >= 2 * made + 4 || line == height - 1) {
                self.lower::<FMA>(made, &mut target);
                made += 1;
            }
        }
    }

    /// Makes row `n` of the chroma planes.
    #[inline(always)]
    fn lower<const FMA: bool>(&mut self, n: usize, target: &mut Target<'_>) {
        let half = self.width / 2;
        let last = self.height as isize - 1;
        let at = |offset: isize| {
            let row = 2 * n as isize + offset;
            // Mirrored at the edges.
            let row = if row < 0 {
                -1 - row
            } else if row > last {
                2 * last + 1 - row
            } else {
                row
            };
            row as usize % RING
        };
        let taps: [usize; RING] = std::array::from_fn(|k| at(k as isize - 3));
        for (c, out) in self.done.iter_mut().enumerate() {
            let rows: [&[f32]; RING] = std::array::from_fn(|k| &self.ring[taps[k]][c][..half]);
            for (x, out) in out[..half].iter_mut().enumerate() {
                let mut sum = DOWN[0] * (rows[3][x] + rows[4][x]);
                sum = mul_add::<FMA>(DOWN[1], rows[2][x] + rows[5][x], sum);
                sum = mul_add::<FMA>(DOWN[2], rows[1][x] + rows[6][x], sum);
                sum = mul_add::<FMA>(DOWN[3], rows[0][x] + rows[7][x], sum);
                *out = code(sum + 128.5);
            }
        }
        let [u, v] = &self.done;
        if self.semi_planar {
            let to = &mut target.u.0[n * target.u.1..][..2 * half];
            for ((pair, u), v) in to.chunks_exact_mut(2).zip(u).zip(v) {
                (pair[0], pair[1]) = (*u, *v);
            }
        } else {
            target.u.0[n * target.u.1..][..half].copy_from_slice(u);
            target.v.0[n * target.v.1..][..half].copy_from_slice(v);
        }
    }
}

/// The planes that are written, with their strides; `v` is empty when U and V lie side by side.
struct Target<'a> {
    y: (&'a mut [u8], usize),
    u: (&'a mut [u8], usize),
    v: (&'a mut [u8], usize),
}

impl Weights {
    fn new(red: f64, blue: f64, full: bool) -> Weights {
        let green = 1.0 - red - blue;
        let (luma, chroma, base) = if full { (1.0, 1.0, 0.0) } else { (219.0 / 255.0, 224.0 / 255.0, 16.0) };
        let one = f64::from(1 << Y_BITS);
        let fixed = |v: f64| (v * luma * one).round() as i16;
        // Green takes the rounding, so that white is white.
        let (r, b) = (fixed(red), fixed(blue));
        let g = fixed(1.0) - r - b;
        let half = |v: f64, k: f64| (v * chroma / (2.0 * (1.0 - k))) as f32;
        Weights {
            y: [r, g, b],
            y_base: ((base + 0.5) * one) as i32,
            u: [half(-red, blue), half(-green, blue), half(1.0 - blue, blue)],
            v: [half(1.0 - red, red), half(-green, red), half(-blue, red)],
        }
    }
}

#[inline(always)]
fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Down to a code of eight bits.
#[inline(always)]
fn code(v: f32) -> u8 {
    let v = v.clamp(0.0, 255.0);
    // SAFETY: clamped; sums of finite numbers are finite, so it is not NaN either.
    (unsafe { v.to_int_unchecked::<i32>() }) as u8
}

/// Takes a row apart and mirrors its ends.
#[inline(always)]
fn split(packed: Packed, from: &[u8], row: &mut [Vec<u8>; 3]) {
    let [r, g, b] = row;
    let width = from.len() / packed.step;
    let (to_r, to_g, to_b) = (&mut r[SIDE..][..width], &mut g[SIDE..][..width], &mut b[SIDE..][..width]);
    // Constants, so that each becomes shuffles.
    match (packed.step, packed.order) {
        (3, [0, 1, 2]) => apart::<3, 0, 1, 2>(from, to_r, to_g, to_b),
        (3, _) => apart::<3, 2, 1, 0>(from, to_r, to_g, to_b),
        (_, [0, 1, 2]) => apart::<4, 0, 1, 2>(from, to_r, to_g, to_b),
        (_, [2, 1, 0]) => apart::<4, 2, 1, 0>(from, to_r, to_g, to_b),
        (_, [1, 2, 3]) => apart::<4, 1, 2, 3>(from, to_r, to_g, to_b),
        _ => apart::<4, 3, 2, 1>(from, to_r, to_g, to_b),
    }
    for plane in [r, g, b] {
        for k in 0..SIDE {
            plane[SIDE - 1 - k] = plane[SIDE + k];
            plane[SIDE + width + k] = plane[SIDE + width - 1 - k];
        }
    }
}

#[inline(always)]
fn apart<const STEP: usize, const R: usize, const G: usize, const B: usize>(
    from: &[u8],
    r: &mut [u8],
    g: &mut [u8],
    b: &mut [u8],
) {
    for (((pixel, r), g), b) in from.chunks_exact(STEP).zip(r).zip(g).zip(b) {
        (*r, *g, *b) = (pixel[R], pixel[G], pixel[B]);
    }
}

#[inline(always)]
fn luma(w: &Weights, [r, g, b]: [&[u8]; 3], y: &mut [u8]) {
    for (((y, r), g), b) in y.iter_mut().zip(r).zip(g).zip(b) {
        let part = |k: usize, code: u8| i32::from(w.y[k]) * i32::from(code);
        let sum = part(0, *r) + part(1, *g) + part(2, *b) + w.y_base;
        *y = (sum >> Y_BITS) as u8;
    }
}

/// U and V of a row at half its width, without their offset of 128.
#[inline(always)]
fn narrow<const FMA: bool>(
    w: &Weights,
    rgb: [&[u8]; 3],
    [even, odd]: &mut [Vec<u8>; 2],
    u: &mut [f32],
    v: &mut [f32],
) {
    let half = u.len();
    let v = &mut v[..half];
    for (c, row) in rgb.into_iter().enumerate() {
        for ((pair, even), odd) in row.chunks_exact(2).zip(even.iter_mut()).zip(odd.iter_mut()) {
            (*even, *odd) = (pair[0], pair[1]);
        }
        // Samples at 0, ±1 and ±3 from the one that chroma lies on.
        let mid = &even[SIDE / 2..][..half];
        let near = (&odd[1..][..half], &odd[2..][..half]);
        let far = (&odd[..half], &odd[3..][..half]);
        for x in 0..half {
            let near = f32::from(u16::from(near.0[x]) + u16::from(near.1[x]));
            let far = f32::from(u16::from(far.0[x]) + u16::from(far.1[x]));
            let sum = mul_add::<FMA>(ACROSS[2], far, ACROSS[0] * f32::from(mid[x]));
            let sum = mul_add::<FMA>(ACROSS[1], near, sum);
            let before = if c == 0 { (0.0, 0.0) } else { (u[x], v[x]) };
            u[x] = mul_add::<FMA>(w.u[c], sum, before.0);
            v[x] = mul_add::<FMA>(w.v[c], sum, before.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffmpeg::FramePool;

    fn format(name: &str) -> PixelFormat {
        PixelFormat::from_name(name).unwrap()
    }

    fn noise(name: &str, width: u32, height: u32) -> Frame {
        let mut frame = FramePool::new(format(name), width, height).unwrap().get().unwrap();
        let mut seed = 1u32;
        for byte in frame.plane_mut(0).unwrap() {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (seed >> 24) as u8;
        }
        frame
    }

    fn packed(frame: &Frame) -> Vec<u8> {
        let mut bytes = vec![0; frame.packed_size().unwrap()];
        frame.copy_to_packed(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn every_cpu_makes_the_same_picture() {
        let (w, h) = (162, 50);
        for to in ["yuv420p", "nv12"] {
            let from = noise("rgb24", w, h);
            let pool = FramePool::new(format(to), w, h).unwrap();
            let mut convert = RgbTo420::new(format("rgb24"), format(to), w, h, 1, false).unwrap();
            let (mut fast, mut plain) = (pool.get().unwrap(), pool.get().unwrap());
            convert.convert(&from, &mut fast).unwrap();
            let strides = [0, 1, 2].map(|i| plain.stride(i));
            let mut planes = plain.planes_mut().unwrap().into_iter();
            let mut next = |i: usize| (planes.next().unwrap_or_default(), strides[i]);
            let target = Target { y: next(0), u: next(1), v: next(2) };
            convert.run::<false>((from.plane(0), from.stride(0)), target);
            let apart = packed(&fast).iter().zip(&packed(&plain)).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(apart <= Some(1), "{to}: {apart:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let new = |from, to, w, h, m| RgbTo420::new(format(from), format(to), w, h, m, false).is_some();
        assert!(new("rgb24", "yuv420p", 64, 64, 1));
        for (from, to, w, h, m) in [
            ("rgb24", "yuv420p", 63, 64, 1),
            ("rgb24", "yuv420p", 64, 8, 1),
            ("rgb24", "yuv444p", 64, 64, 1),
            ("rgb48le", "yuv420p", 64, 64, 1),
            ("rgb24", "yuv420p", 64, 64, 14),
        ] {
            assert!(!new(from, to, w, h, m), "{from} to {to}, {w}x{h}, matrix {m}");
        }
        let mut convert = RgbTo420::new(format("rgb24"), format("yuv420p"), 64, 64, 1, false).unwrap();
        let mut to = FramePool::new(format("yuv420p"), 64, 64).unwrap().get().unwrap();
        assert!(convert.convert(&noise("rgb24", 64, 62), &mut to).is_err(), "another size");
        let _other = to.try_clone().unwrap();
        assert!(convert.convert(&noise("rgb24", 64, 64), &mut to).is_err(), "shared");
    }
}
