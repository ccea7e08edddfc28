//! Launches. Arguments are the structures of `core/engine/kernels/*.cuh`, byte for byte; the driver's module refuses a
//! structure of another size.

use super::Kernels;
use super::colour::Affine;
use super::layout::Surface;
use super::place::Placing;
use super::table::{Axis, Table, Tables};
use crate::error::Result;
use ghoststream_sys::cuda::{Arg, Grid};

/// Threads of a block: a warp along the rows.
const BLOCK: [u32; 2] = [32, 8];

/// Samples of the source that a block of `ladder` has.
const TILE: [u32; 2] = [64, 32];

/// One size of several.
pub(super) struct Rung<'a> {
    pub to: Surface,
    pub tables: &'a Tables,
    pub levels: &'a [(f64, f64); 2],
    pub dither: bool,
}

/// A structure as C lays it out.
struct Bytes {
    data: [u8; 1024],
    len: usize,
}

impl Bytes {
    fn new() -> Self {
        Bytes { data: [0; 1024], len: 0 }
    }

    fn put(mut self, bytes: &[u8]) -> Self {
        if let Some(to) = self.data.get_mut(self.len..self.len + bytes.len()) {
            to.copy_from_slice(bytes);
        }
        self.len += bytes.len();
        self
    }

    fn words<const N: usize>(self, words: [u32; N]) -> Self {
        words.iter().fold(self, |b, w| b.put(&w.to_ne_bytes()))
    }

    fn floats(self, values: &[f32]) -> Self {
        values.iter().fold(self, |b, v| b.put(&v.to_ne_bytes()))
    }

    fn picture(self, surface: &Surface) -> Self {
        let b = (0..4).fold(self, |b, i| {
            let (at, pitch, step) = surface.component(i);
            b.put(&at.to_ne_bytes()).words([pitch, step])
        });
        b.words(surface.rest())
    }

    fn pictures(self, from: &Surface, to: &Surface) -> Self {
        self.picture(from).picture(to)
    }

    /// Tables, gains and offsets.
    fn scaling(self, tables: &Tables, [luma, chroma]: &[(f64, f64); 2], dither: bool) -> Self {
        self.table(tables.get(0, 0))
            .table(tables.get(1, 0))
            .table(tables.get(0, 1))
            .table(tables.get(1, 1))
            .floats(&[luma.0 as f32, chroma.0 as f32, luma.1 as f32, chroma.1 as f32])
            .words([flag(dither), 0])
    }

    fn table(self, table: &Table) -> Self {
        let (start, weight) = table.addresses();
        self.put(&start.to_ne_bytes()).put(&weight.to_ne_bytes()).words([table.axis.taps(), table.axis.count])
    }

    fn affine(self, m: &Affine) -> Self {
        m.0.iter().fold(self, |b, row| b.floats(&row.map(|v| v as f32)))
    }

    fn all(&self) -> &[u8] {
        self.data.get(..self.len).unwrap_or_default()
    }
}

fn flag(on: bool) -> u32 {
    u32::from(on)
}

fn over(to: &Surface, deep: u32) -> Grid {
    let mut grid = Grid::cover(to.size[0], to.size[1], BLOCK);
    grid.blocks[2] = deep;
    grid
}

/// What `tone_map` needs besides pictures.
#[derive(Clone, Debug)]
pub(super) struct ToneMapping {
    /// Codes to R'G'B'.
    pub decode: Affine,
    /// Linear light to BT.709's primaries.
    pub gamut: Affine,
    /// R'G'B' to codes.
    pub encode: Affine,
    /// Luma weights for fading.
    pub luma: [f32; 3],
    /// The level at which colours begin to fade; 0 = never.
    pub fade: f32,
    /// 1 is SDR white.
    pub peak: f32,
    pub hlg: bool,
    /// 0 Hable, 1 Möbius, 2 Reinhard, 3 BT.2390.
    pub curve: u32,
}

impl Kernels {
    /// Fills a table of weights.
    pub(super) fn taps(&self, table: &Table) -> Result<()> {
        let Axis { shape, sharpness, length, count, ratio, shift } = table.axis;
        let bytes = Bytes::new().table(table).put(&ratio.to_ne_bytes()).put(&shift.to_ne_bytes());
        let bytes = bytes.words([length, shape as u32]).put(&sharpness.to_ne_bytes());
        let grid = Grid::cover(count, 1, [64, 1]);
        Ok(self.taps.launch(&self.stream, grid, &[Arg::Bytes(bytes.all())])?)
    }

    /// Size, subsampling, depth and range: for the first component and for the other two a gain and an offset.
    pub(super) fn scale(
        &self,
        from: &Surface,
        to: &Surface,
        tables: &Tables,
        levels: &[(f64, f64); 2],
        dither: bool,
    ) -> Result<()> {
        let bytes = Bytes::new().pictures(from, to).scaling(tables, levels, dither);
        Ok(self.scale.launch(&self.stream, over(to, 2), &[Arg::Bytes(bytes.all())])?)
    }

    /// As [`Kernels::scale`], one to four sizes of a picture at once.
    pub(super) fn ladder(&self, from: &Surface, rungs: &[Rung<'_>]) -> Result<()> {
        // Places without a rung are not looked at.
        let Some(last) = rungs.last() else { return Ok(()) };
        let bytes = (0..4).fold(Bytes::new().picture(from), |b, i| {
            let Rung { to, tables, levels, dither } = rungs.get(i).unwrap_or(last);
            b.picture(to).scaling(tables, levels, *dither)
        });
        let bytes = bytes.words([rungs.len().min(4) as u32, 0]);
        let mut grid = Grid::cover(from.size[0], from.size[1], TILE);
        (grid.threads, grid.blocks[2]) = ([BLOCK[0], BLOCK[1], 1], 2);
        Ok(self.ladder.launch(&self.stream, grid, &[Arg::Bytes(bytes.all())])?)
    }

    /// Matrix, range and depth, sample by sample.
    pub(super) fn convert(&self, from: &Surface, to: &Surface, colour: &Affine, dither: bool) -> Result<()> {
        let bytes = Bytes::new().pictures(from, to).affine(colour).words([flag(dither), 0]);
        Ok(self.convert.launch(&self.stream, over(to, 1), &[Arg::Bytes(bytes.all())])?)
    }

    /// Copies samples to other places.
    pub(super) fn place(&self, from: &Surface, to: &Surface, p: &Placing) -> Result<()> {
        let words = |v: [i32; 2]| v.map(|v| v as u32);
        let bytes = Bytes::new()
            .pictures(from, to)
            .words(words(p.left))
            .words(words(p.top))
            .words([p.turn])
            .floats(&p.fill)
            .words([flag(p.mirror)]);
        Ok(self.place.launch(&self.stream, over(to, 2), &[Arg::Bytes(bytes.all())])?)
    }

    /// HDR to SDR, sample by sample.
    pub(super) fn tone_map(&self, from: &Surface, to: &Surface, m: &ToneMapping, dither: bool) -> Result<()> {
        let bytes = Bytes::new()
            .pictures(from, to)
            .affine(&m.decode)
            .affine(&m.gamut)
            .affine(&m.encode)
            .floats(&m.luma)
            .floats(&[m.fade, m.peak])
            .words([flag(m.hlg), m.curve, flag(dither)]);
        Ok(self.tone_map.launch(&self.stream, over(to, 1), &[Arg::Bytes(bytes.all())])?)
    }

    /// Unsharp mask; `all`: of every component, else of the first.
    pub(super) fn sharpen(
        &self,
        from: &Surface,
        to: &Surface,
        blur: &[f32],
        amount: f32,
        all: bool,
    ) -> Result<()> {
        let mut weights = [0f32; 24];
        weights.iter_mut().zip(blur).for_each(|(to, from)| *to = *from);
        let bytes = Bytes::new()
            .pictures(from, to)
            .floats(&weights)
            .words([blur.len() as u32])
            .floats(&[amount])
            .words([flag(all), 0]);
        Ok(self.sharpen.launch(&self.stream, over(to, 2), &[Arg::Bytes(bytes.all())])?)
    }
}
