//! Tables of weights for `scale`, one for each axis of each group of components.

use super::Kernels;
use super::layout::Layout;
use crate::error::Result;
use crate::frame::ChromaLocation;
use crate::spec::Scaler;
use ghoststream_sys::cuda::DeviceBuffer;

/// The kernels' names of filters; the values are theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Nearest = 0,
    Bilinear = 1,
    Bicubic = 2,
    Lanczos = 3,
}

impl Shape {
    pub fn of(scaler: Scaler) -> Shape {
        match scaler {
            Scaler::Nearest => Shape::Nearest,
            Scaler::Bilinear => Shape::Bilinear,
            Scaler::Bicubic => Shape::Bicubic,
            Scaler::Lanczos => Shape::Lanczos,
        }
    }
}

/// How the samples along one axis are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    pub shape: Shape,
    /// C of the bicubic filter.
    pub sharpness: f64,
    /// Input samples.
    pub length: u32,
    /// Output samples.
    pub count: u32,
    /// Output sample i lies at (i + 0.5) * ratio + shift of the input, whose sample k covers k to k + 1.
    pub ratio: f64,
    pub shift: f64,
}

impl Axis {
    /// Weights for each output sample.
    pub fn taps(&self) -> u32 {
        let radius = match self.shape {
            Shape::Nearest => return 1,
            Shape::Bilinear => 1.0,
            Shape::Bicubic => 2.0,
            Shape::Lanczos => 3.0,
        };
        // In the kernel's words, so that both round alike.
        let step = if self.ratio > 1.0 { 1.0 / self.ratio } else { 1.0 };
        ((radius / step).ceil() as u32 * 2).min(self.length)
    }
}

/// A table in device memory.
pub(super) struct Table {
    pub axis: Axis,
    memory: DeviceBuffer,
}

impl Table {
    fn new(kernels: &Kernels, axis: Axis) -> Result<Table> {
        let words = axis.count as usize * (1 + axis.taps() as usize);
        let table = Table { axis, memory: DeviceBuffer::linear(&kernels.context, words * 4)? };
        kernels.taps(&table)?;
        Ok(table)
    }

    /// Where the first samples and the weights begin.
    pub fn addresses(&self) -> (u64, u64) {
        let start = self.memory.plane().address();
        (start, start + u64::from(self.axis.count) * 4)
    }
}

/// The four tables of one scaling; equal axes share one.
pub(super) struct Tables {
    tables: Vec<Table>,
    /// By group and axis.
    which: [[usize; 2]; 2],
}

impl Tables {
    pub fn new(kernels: &Kernels, axes: [[Axis; 2]; 2]) -> Result<Tables> {
        let mut tables: Vec<Table> = Vec::new();
        let mut which = [[0; 2]; 2];
        for (group, row) in axes.into_iter().enumerate() {
            for (d, axis) in row.into_iter().enumerate() {
                which[group][d] = match tables.iter().position(|t| t.axis == axis) {
                    Some(at) => at,
                    None => {
                        tables.push(Table::new(kernels, axis)?);
                        tables.len() - 1
                    }
                };
            }
        }
        Ok(Tables { tables, which })
    }

    /// The table of a group (0: the first component, 1: the others) along an axis (0: across, 1: down).
    pub fn get(&self, group: usize, d: usize) -> &Table {
        &self.tables[self.which[group][d]]
    }
}

/// One side of a scaling.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub layout: Layout,
    pub size: [u32; 2],
    pub chroma: ChromaLocation,
}

/// The axes that make `to` of the rectangle at `at` of `from` that is `part` large.
pub(super) fn axes(
    from: Side,
    at: [u32; 2],
    part: [u32; 2],
    to: Side,
    shape: Shape,
    sharpness: f64,
) -> [[Axis; 2]; 2] {
    let (sited, siting) = (from.layout.siting(from.chroma), to.layout.siting(to.chroma));
    [0, 1].map(|group| {
        let (lengths, counts) = (from.layout.samples(group, from.size), to.layout.samples(group, to.size));
        [0, 1].map(|d| {
            let luma = f64::from(part[d]) / f64::from(to.size[d]);
            let block = |l: &Layout| if group == 0 { 1.0 } else { f64::from(1u32 << l.chroma[d]) };
            let (s, t) = (block(&from.layout), block(&to.layout));
            let (ds, dt) = if group == 0 { (0.0, 0.0) } else { (sited[d], siting[d]) };
            let ratio = luma * t / s;
            let shift = (dt * luma - ds + f64::from(at[d])) / s;
            // Samples that lie where the input's do are those.
            let copied = ratio == 1.0 && shift.fract() == 0.0;
            let shape = if copied { Shape::Nearest } else { shape };
            Axis { shape, sharpness, length: lengths[d], count: counts[d], ratio, shift }
        })
    })
}
