//! Filters on CUDA frames against the same in double precision, from code to code: within one code value, whatever steps
//! the device takes. The host's own filters are compared in `cuda.rs`; where they are further apart, they are further from this.

use super::cuda::{SDR, device, scene, stays};
use super::*;
use crate::filter::{ScaleTarget, ToneMap, Upload, cuda};
use crate::frame::{ChromaLocation, ColourRange, ContentLight, HdrMetadata};
use crate::spec::{Scaler, ToneMapCurve, ToneMapSpec};
use std::f64::consts::PI;

/// Samples of one component.
struct Plane {
    size: [usize; 2],
    values: Vec<f64>,
}

/// Y, Cb and Cr or R, G and B; 0 to 1, chroma from -0.5 to 0.5.
struct Values {
    planes: [Plane; 3],
    shape: Shape,
}

/// How the samples lie.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shape {
    size: [usize; 2],
    /// Log2 of the subsampling.
    chroma: [u32; 2],
    /// Chroma samples from the middle of those that they stand for.
    sited: [f64; 2],
}

impl Shape {
    fn of(frame: &Frame) -> Shape {
        let d = frame.media().format().descriptor().unwrap();
        let chroma = [d.log2_chroma_w, d.log2_chroma_h];
        let sited = match frame.video().colour.chroma {
            ChromaLocation::Center => [0.0, 0.0],
            ChromaLocation::TopLeft => [-0.5, -0.5],
            _ => [-0.5, 0.0],
        };
        let size = [frame.video().width as usize, frame.video().height as usize];
        Shape { size, chroma, sited: [0, 1].map(|d| if chroma[d] > 0 { sited[d] } else { 0.0 }) }
    }

    fn whole(self) -> Shape {
        Shape { chroma: [0, 0], sited: [0.0, 0.0], ..self }
    }

    fn samples(&self, component: usize, d: usize) -> usize {
        if component == 0 { self.size[d] } else { self.size[d].div_ceil(1 << self.chroma[d]) }
    }
}

/// Depth, and the order of packed components.
fn depth(frame: &Frame) -> u32 {
    frame.media().format().descriptor().unwrap().depth
}

/// The code of a component's sample.
fn code(frame: &Frame, component: usize, x: usize, y: usize) -> f64 {
    let format = frame.media().format();
    let code = match (format.name(), component) {
        ("rgb0", c) => sample(frame, 0, 4 * x + c, y),
        ("bgr0", c) => sample(frame, 0, 4 * x + 2 - c, y),
        ("nv12" | "p010le", c @ 1..) => sample(frame, 1, 2 * x + c - 1, y),
        (_, c) => sample(frame, c, x, y),
    };
    f64::from(if format.name() == "p010le" { code >> 6 } else { code })
}

/// What a component's values are multiplied with, and what is added, to be codes.
fn levels(colour: Colour, bits: u32, component: usize) -> (f64, f64) {
    let (unit, top) = (f64::from(1 << (bits - 8)), f64::from((1u32 << bits) - 1));
    match (colour.matrix, colour.range, component) {
        (0, ..) | (_, ColourRange::Full, 0) => (top, 0.0),
        (_, ColourRange::Full, _) => (top, 128.0 * unit),
        (_, _, 0) => (219.0 * unit, 16.0 * unit),
        _ => (224.0 * unit, 128.0 * unit),
    }
}

fn read(frame: &Frame) -> Values {
    let shape = Shape::of(frame);
    let planes = [0, 1, 2].map(|c| {
        let size = [0, 1].map(|d| shape.samples(c, d));
        let (gain, offset) = levels(frame.video().colour, depth(frame), c);
        let at = |i: usize| (code(frame, c, i % size[0], i / size[0]) - offset) / gain;
        Plane { size, values: (0..size[0] * size[1]).map(at).collect() }
    });
    Values { planes, shape }
}

/// The filters, with their widths.
fn weight(scaler: Scaler, c: f64, x: f64) -> f64 {
    let x = x.abs();
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
    match scaler {
        Scaler::Nearest => unreachable!("it is a place, not a filter"),
        Scaler::Bilinear => (1.0 - x).max(0.0),
        // Mitchell and Netravali's, B = 0.
        Scaler::Bicubic if x < 1.0 => ((12.0 - 6.0 * c) * x.powi(3) + (6.0 * c - 18.0) * x * x + 6.0) / 6.0,
        Scaler::Bicubic if x < 2.0 => c * (-x.powi(3) + 5.0 * x * x - 8.0 * x + 4.0),
        Scaler::Lanczos if x < 3.0 => sinc(x) * sinc(x / 3.0),
        _ => 0.0,
    }
}

/// Which samples of `length` make the one at `at`, in samples; the picture is mirrored at its edges.
fn taps(scaler: Scaler, c: f64, length: usize, at: f64, ratio: f64) -> Vec<(usize, f64)> {
    let (wide, length) = (ratio.max(1.0), length as i64);
    let inside = |k: i64| if k < 0 { -1 - k } else { k };
    let inside = |k: i64| if inside(k) >= length { 2 * length - 1 - inside(k) } else { inside(k) };
    let first = (at - 4.0 * wide).floor() as i64;
    let all: Vec<(usize, f64)> = (first..(at + 4.0 * wide).ceil() as i64 + 1)
        .map(|k| (inside(k).clamp(0, length - 1) as usize, weight(scaler, c, (k as f64 + 0.5 - at) / wide)))
        .filter(|(_, w)| *w != 0.0)
        .collect();
    let sum: f64 = all.iter().map(|(_, w)| w).sum();
    all.into_iter().map(|(k, w)| (k, w / sum)).collect()
}

impl Plane {
    /// Each axis with the ratio of samples and the shift, in samples of this.
    fn resampled(&self, size: [usize; 2], axes: [(f64, f64); 2], scaler: Scaler, c: f64) -> Plane {
        let rows = |d: usize| -> Vec<Vec<(usize, f64)>> {
            let (ratio, shift) = axes[d];
            let place = |i: usize| (i as f64 + 0.5) * ratio + shift;
            (0..size[d])
                .map(|i| match ratio == 1.0 && shift.fract() == 0.0 {
                    true => vec![(place(i) as usize, 1.0)],
                    false => taps(scaler, c, self.size[d], place(i), ratio),
                })
                .collect()
        };
        let (across, down) = (rows(0), rows(1));
        let at = |x: usize, y: usize| self.values[y * self.size[0] + x];
        let lines: Vec<f64> = (0..self.size[1])
            .flat_map(|y| across.iter().map(move |row| row.iter().map(|(k, w)| w * at(*k, y)).sum::<f64>()))
            .collect();
        let line = |x: usize, y: usize| lines[y * size[0] + x];
        let values = down
            .iter()
            .flat_map(|row| (0..size[0]).map(move |x| row.iter().map(|(k, w)| w * line(x, *k)).sum::<f64>()))
            .collect();
        Plane { size, values }
    }
}

impl Values {
    /// Another size or subsampling.
    fn shaped(self, to: Shape, scaler: Scaler, c: f64) -> Values {
        let from = self.shape;
        let mut component = 0;
        let planes = self.planes.map(|plane| {
            let axes = [0, 1].map(|d| {
                let luma = from.size[d] as f64 / to.size[d] as f64;
                let block = |shape: Shape| if component == 0 { 1.0 } else { f64::from(1 << shape.chroma[d]) };
                let sited = |shape: Shape| if component == 0 { 0.0 } else { shape.sited[d] };
                (luma * block(to) / block(from), (sited(to) * luma - sited(from)) / block(from))
            });
            let size = [0, 1].map(|d| to.samples(component, d));
            component += 1;
            plane.resampled(size, axes, scaler, c)
        });
        Values { planes, shape: to }
    }

    /// `change` of each pixel.
    fn each(mut self, change: impl Fn([f64; 3]) -> [f64; 3]) -> Values {
        let [a, b, c] = &mut self.planes;
        for ((a, b), c) in a.values.iter_mut().zip(&mut b.values).zip(&mut c.values) {
            [*a, *b, *c] = change([*a, *b, *c]);
        }
        self
    }

    /// The largest distance of a frame's codes from these.
    fn from(&self, frame: &Frame) -> f64 {
        assert_eq!(self.shape, Shape::of(frame));
        let top = f64::from((1u32 << depth(frame)) - 1);
        let mut most = 0.0f64;
        for (c, plane) in self.planes.iter().enumerate() {
            let (gain, offset) = levels(frame.video().colour, depth(frame), c);
            for (i, value) in plane.values.iter().enumerate() {
                let wanted = (value * gain + offset).clamp(0.0, top);
                most = most.max((code(frame, c, i % plane.size[0], i / plane.size[0]) - wanted).abs());
            }
        }
        most
    }
}

/// Weights of R, G and B.
fn luma(matrix: u8) -> [f64; 3] {
    let (r, b) = match matrix {
        1 => (0.2126, 0.0722),
        6 => (0.299, 0.114),
        9 => (0.2627, 0.0593),
        other => panic!("matrix {other}"),
    };
    [r, 1.0 - r - b, b]
}

fn to_rgb(matrix: u8, [y, u, v]: [f64; 3]) -> [f64; 3] {
    let [kr, kg, kb] = luma(matrix);
    let (r, b) = (y + 2.0 * (1.0 - kr) * v, y + 2.0 * (1.0 - kb) * u);
    [r, (y - kr * r - kb * b) / kg, b]
}

fn to_yuv(matrix: u8, [r, g, b]: [f64; 3]) -> [f64; 3] {
    let [kr, kg, kb] = luma(matrix);
    let y = kr * r + kg * g + kb * b;
    [y, (b - y) / (2.0 * (1.0 - kb)), (r - y) / (2.0 * (1.0 - kr))]
}

/// What `frame` is to be, in the size, format and colour of `made`.
fn scaled(frame: &Frame, made: &Frame, scaler: Scaler, c: f64) -> Values {
    let (from, to) = (frame.video().colour.matrix, made.video().colour.matrix);
    let (values, shape) = (read(frame), Shape::of(made));
    if from == to {
        return values.shaped(shape, scaler, c);
    }
    let values = if from == 0 { values } else { values.shaped(shape.whole(), scaler, c) };
    let values = values.each(|p| if from == 0 { p } else { to_rgb(from, p) });
    values.each(|p| if to == 0 { p } else { to_yuv(to, p) }).shaped(shape, scaler, c)
}

/// How far codes may be from what is not rounded: to the nearest, or to where the dither's threshold says, and a little for
/// what is rounded between steps.
fn allowed(frame: &Frame, made: &Frame) -> f64 {
    if depth(made) < depth(frame) { 1.0 } else { 0.52 }
}

#[test]
fn every_scaling_is_within_a_code_of_a_float_reference() {
    let Some(device) = device() else { return };
    let rgb = Colour { matrix: 0, range: ColourRange::Full, ..Colour::BT709 };
    let bt601 = Colour { matrix: 6, ..SDR };
    let full = Colour { range: ColourRange::Full, ..SDR };
    let centre = Colour { chroma: ChromaLocation::Center, ..SDR };
    let mut compared = 0;
    for (format, from, to, wanted) in [
        ("nv12", SDR, "nv12", SDR),
        ("nv12", centre, "nv12", centre),
        ("nv12", SDR, "p010le", full),
        ("p010le", SDR, "nv12", SDR),
        ("p010le", bt601, "p010le", SDR),
        ("nv12", full, "nv12", bt601),
        ("yuv444p", SDR, "nv12", bt601),
        ("yuv444p", SDR, "p010le", SDR),
        ("rgb0", rgb, "nv12", SDR),
        ("bgr0", rgb, "p010le", SDR),
        ("bgr0", rgb, "p010le", bt601),
        ("rgb0", rgb, "yuv444p", full),
        ("nv12", SDR, "rgb0", rgb),
        ("p010le", SDR, "bgr0", rgb),
    ] {
        for size in [(320, 180), (160, 90), (214, 120), (480, 272)] {
            for scaler in [Scaler::Bilinear, Scaler::Bicubic, Scaler::Lanczos] {
                let target = ScaleTarget {
                    scaler,
                    format: PixelFormat::from_name(to),
                    colour: Some(wanted),
                    ..ScaleTarget::size(size.0, size.1)
                };
                let frame = scene(format, 320, 180, from);
                let made = stays(&mut cuda::Scale::new(target), &device, frame.clone());
                let off = scaled(&frame, &made, scaler, 0.6).from(&made);
                assert!(
                    off <= allowed(&frame, &made),
                    "{format} {from:?} to {to} {wanted:?} {size:?} {scaler:?}: {off}"
                );
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 14 * 4 * 3);
}

#[test]
fn every_rung_of_a_ladder_is_within_a_code_of_a_float_reference() {
    let Some(device) = device() else { return };
    let sizes = [(240, 136), (160, 90), (106, 60), (80, 46), (64, 36)];
    for format in ["nv12", "p010le"] {
        let targets = sizes.map(|(w, h)| ScaleTarget::size(w, h));
        let frame = scene(format, 320, 180, SDR);
        let mut out = Vec::new();
        let up = one(&mut Upload::new(device.clone()), frame.clone());
        cuda::Ladder::new(targets.to_vec()).push(up, &mut out).unwrap();
        assert_eq!(out.len(), sizes.len());
        for (i, made) in out {
            let made = one(&mut crate::filter::Download, made);
            let off = scaled(&frame, &made, targets[i].scaler, 0.6).from(&made);
            assert!(off <= 0.52, "{format} {:?}: {off}", sizes[i]);
        }
    }
}

/// SMPTE ST 2084 in cd/m² over 10 000, and its inverse.
fn unpq(code: f64) -> f64 {
    let p = code.max(0.0).powf(32.0 / 2523.0);
    ((p - 3424.0 / 4096.0).max(0.0) / (2413.0 / 128.0 - 2392.0 / 128.0 * p)).powf(16384.0 / 2610.0)
}

fn pq(light: f64) -> f64 {
    let y = light.clamp(0.0, 1.0).powf(2610.0 / 16384.0);
    ((3424.0 / 4096.0 + 2413.0 / 128.0 * y) / (1.0 + 2392.0 / 128.0 * y)).powf(2523.0 / 32.0)
}

/// The scene's light of ARIB STD-B67.
fn unhlg(code: f64) -> f64 {
    match code.max(0.0) {
        code if code <= 0.5 => code * code / 3.0,
        code => (((code - 0.559_910_73) / 0.178_832_77).exp() + 0.284_668_92) / 12.0,
    }
}

fn mapped(curve: ToneMapCurve, x: f64, peak: f64) -> f64 {
    match curve {
        ToneMapCurve::Hable => {
            let h = |v: f64| (v * (0.15 * v + 0.05) + 0.004) / (v * (0.15 * v + 0.5) + 0.06) - 0.02 / 0.3;
            h(x) / h(peak)
        }
        ToneMapCurve::Mobius if x <= 0.3 => x,
        ToneMapCurve::Mobius => {
            let j = 0.3;
            let a = -j * j * (peak - 1.0) / (j * j - 2.0 * j + peak);
            let b = (j * j - 2.0 * j * peak + peak) / (peak - 1.0);
            (b * b + 2.0 * b * j + j * j) / (b - a) * (x + a) / (x + b)
        }
        ToneMapCurve::Reinhard => x / (x + 1.0) * (peak + 1.0) / peak,
        ToneMapCurve::Bt2390 if x >= peak => 1.0,
        ToneMapCurve::Bt2390 => {
            let top = pq(peak / 100.0);
            let most = pq(0.01) / top;
            let (knee, e) = (1.5 * most - 0.5, pq(x / 100.0) / top);
            if e < knee {
                return x;
            }
            let t = (e - knee) / (1.0 - knee);
            let bent = (2.0 * t.powi(3) - 3.0 * t * t + 1.0) * knee
                + (t.powi(3) - 2.0 * t * t + t) * (1.0 - knee)
                + (3.0 * t * t - 2.0 * t.powi(3)) * most;
            unpq(bent * top) * 100.0
        }
    }
}

/// Linear BT.2020 to linear BT.709, of ITU-R BT.2087 with more digits.
const GAMUT: [[f64; 3]; 3] = [
    [1.660_491_002_1, -0.587_641_138_8, -0.072_849_863_3],
    [-0.124_550_474_5, 1.132_899_897_1, -0.008_349_422_6],
    [-0.018_150_763_4, -0.100_578_898_0, 1.118_729_661_4],
];

/// A pixel of an HDR picture's Y'CbCr in SDR's.
fn tone_mapped(pixel: [f64; 3], hlg: bool, curve: ToneMapCurve, peak: f64, fade: f64) -> [f64; 3] {
    let light = to_rgb(9, pixel).map(|v| if hlg { 10.0 * unhlg(v).powf(1.2) } else { 100.0 * unpq(v) });
    let mut light = GAMUT.map(|row| row[0] * light[0] + row[1] * light[1] + row[2] * light[2]);
    if fade > 0.0 {
        let [r, g, b] = luma(if curve == ToneMapCurve::Bt2390 { 1 } else { 9 });
        let y = r * light[0] + g * light[1] + b * light[2];
        let mix = (y - fade).max(1e-6) / y.max(1e-6);
        light = light.map(|v| v + (y - v) * mix);
    }
    let signal = light.into_iter().fold(1e-6, f64::max);
    let ratio = mapped(curve, signal, peak) / signal;
    to_yuv(1, light.map(|v| (v * ratio).signum() * (v * ratio).abs().powf(1.0 / 2.4)))
}

#[test]
fn tone_mapping_is_within_a_code_of_a_float_reference() {
    let Some(device) = device() else { return };
    let stream = HdrMetadata {
        content_light: Some(ContentLight { max_content: 1400, max_average: 300 }),
        ..HdrMetadata::default()
    };
    for transfer in [16, 18] {
        let colour = Colour { primaries: 9, transfer, matrix: 9, ..SDR };
        for curve in [ToneMapCurve::Hable, ToneMapCurve::Mobius, ToneMapCurve::Reinhard, ToneMapCurve::Bt2390]
        {
            for desaturate in [None, Some(1.0)] {
                let spec = ToneMapSpec { curve, peak: None, desaturate };
                let frame = scene("p010le", 320, 180, colour);
                let made = stays(&mut cuda::ToneMap::new(spec, stream), &device, frame.clone());
                let (peak, fade) =
                    (if transfer == 18 { 10.0 } else { 14.0 }, desaturate.map_or(0.0, |d| 2.0 / d));
                let shape = Shape::of(&made);
                let wanted = read(&frame)
                    .shaped(shape.whole(), Scaler::Bilinear, 0.0)
                    .each(|p| tone_mapped(p, transfer == 18, curve, peak, fade))
                    .shaped(shape, Scaler::Bilinear, 0.0);
                let (off, host) = (wanted.from(&made), {
                    let planar =
                        ScaleTarget { format: PixelFormat::from_name("nv12"), ..ScaleTarget::size(320, 180) };
                    let here = one(&mut ToneMap::new(spec, stream), frame.clone());
                    wanted.from(&one(&mut crate::filter::Scale::new(planar), here))
                });
                eprintln!("{transfer} {curve:?} {desaturate:?}: device {off:.3}, host {host:.3}");
                assert!(off <= 1.0, "{transfer} {curve:?} {desaturate:?}: {off}");
            }
        }
    }
}
