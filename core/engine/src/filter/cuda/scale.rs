//! Size, pixel format, matrix and range.

use super::colour::{self, Affine};
use super::launch::Rung;
use super::layout::{Layout, Surface};
use super::table::{Shape, Side, Tables, axes};
use super::{Following, Kernels};
use crate::error::{Error, ErrorKind, Result};
use crate::filter::colour::{assumed, complete};
use crate::filter::scale::{ScaleTarget, aspect};
use crate::frame::{ChromaLocation, Colour, Frame, PixelFormat, VideoParams};
use crate::spec::Scaler;
use crate::stage::{Control, Outlet, Stage};
use crate::time::Rational;
use ghoststream_sys::cuda::DeviceBuffer;
use ghoststream_sys::ffmpeg as av;

/// As [`crate::filter::Scale`], for CUDA frames: size, pixel format, matrix and range by our own kernels, with the same
/// filters, siting and tags. Primaries and transfer stay; asking for others is an Unsupported error. Frames in host
/// memory are refused.
///
/// Between planar YUV of one matrix it is one launch. Otherwise a picture of floats without subsampling lies between the
/// steps, so that nothing is rounded twice, and what a filter brings above white or below black is clipped at the end only.
///
/// Output base: the input's.
pub struct Scale {
    target: ScaleTarget,
    following: Following<Made>,
}

impl Scale {
    /// A stage that makes every frame `target`.
    pub fn new(target: ScaleTarget) -> Self {
        Scale { target, following: Following::new() }
    }
}

impl Stage<Frame, Frame> for Scale {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let Scale { target, following } = self;
        let mut one = |frame: &Frame| {
            let (kernels, _, made) = following.get(frame, |k, source| Made::new(k, source, target))?;
            made.run(kernels, frame)
        };
        out.emit(one(&frame).map_err(|e: Error| e.context("scale"))?)
    }

    fn finish(&mut self, _: &mut dyn Outlet<Frame>) -> Result<()> {
        Ok(())
    }

    fn resizes(&self) -> bool {
        true
    }

    fn control(&mut self, control: &Control) -> Result<()> {
        match control {
            Control::Size { width, height } => {
                (self.target.width, self.target.height) = (*width, *height);
                self.following.made = None;
                Ok(())
            }
            other => Err(Error::unsupported(format!("scaling cannot {other}"))),
        }
    }
}

pub(super) enum Made {
    /// The frames are right already.
    Pass,
    /// Only their colour has to be named.
    Retag(Colour),
    Run(Box<Run>),
}

pub(super) struct Run {
    steps: Vec<Step>,
    pub source: Layout,
    pub target: Layout,
    between: Vec<(DeviceBuffer, [u32; 2])>,
    pub pool: av::HwFrames,
    colour: Colour,
    aspect: Rational,
}

/// Where a step reads or writes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Input,
    Between(usize),
    Output,
}

struct Step {
    from: Place,
    to: Place,
    work: Work,
    dither: bool,
}

enum Work {
    Scale(Box<Tables>, [(f64, f64); 2]),
    Convert(Affine),
}

impl Made {
    pub fn new(kernels: &Kernels, source: &VideoParams, target: &ScaleTarget) -> Result<Made> {
        if target.width == 0 || target.height == 0 {
            return Err(Error::invalid("width", "a picture needs at least one pixel"));
        }
        let format = target.format.unwrap_or(source.format);
        let from = assumed(source);
        let mut to = complete(target.colour, from, format, target.height);
        if target.colour.is_none_or(|c| c.chroma == ChromaLocation::Unspecified) {
            to.chroma = source.colour.chroma;
        }
        let plain = format == source.format && (target.width, target.height) == (source.width, source.height);
        if plain && (Colour { chroma: from.chroma, ..to }) == from {
            return Ok(if target.colour.is_none() || to == source.colour {
                Made::Pass
            } else {
                Made::Retag(to)
            });
        }
        super::converts(&from, &to).map_err(Error::unsupported)?;
        Ok(Made::Run(Box::new(Planner::new(kernels, source, target, format, from, to)?.plan()?)))
    }

    /// The work, where it is one step: sizes, subsampling, depth and range.
    pub fn single(&self) -> Option<&Run> {
        match self {
            Made::Run(run) if matches!(&run.steps[..], [Step { work: Work::Scale(..), .. }]) => Some(run),
            _ => None,
        }
    }

    pub fn run(&mut self, kernels: &Kernels, frame: &Frame) -> Result<Frame> {
        let run = match self {
            Made::Pass => return Ok(frame.clone()),
            Made::Retag(colour) => {
                let mut media = frame.media().try_clone()?;
                media.set_colour(*colour);
                return Ok(frame.with_media(media));
            }
            Made::Run(run) => run,
        };
        let mut made = run.pool.frame()?;
        let input = Surface::read(frame.media(), run.source)?;
        let output = Surface::write(&mut made, run.target)?;
        let between: Vec<Surface> =
            run.between.iter_mut().map(|(buffer, size)| Surface::between(buffer, *size)).collect();
        let at = |place: Place| match place {
            Place::Input => &input,
            Place::Between(i) => &between[i],
            Place::Output => &output,
        };
        for Step { from, to, work, dither } in &run.steps {
            match work {
                Work::Scale(tables, levels) => kernels.scale(at(*from), at(*to), tables, levels, *dither)?,
                Work::Convert(colour) => kernels.convert(at(*from), at(*to), colour, *dither)?,
            }
        }
        run.named(made, frame)
    }
}

impl Run {
    /// Its only step, into `to`.
    pub fn rung(&self, to: Surface) -> Result<Rung<'_>> {
        match &self.steps[..] {
            [Step { work: Work::Scale(tables, levels), dither, .. }] => {
                Ok(Rung { to, tables, levels, dither: *dither })
            }
            _ => Err(Error::new(ErrorKind::Internal, "a scaling of several steps as one")),
        }
    }

    /// `made` with what `frame` says of itself.
    pub fn named(&self, mut made: av::Frame, frame: &Frame) -> Result<Frame> {
        made.copy_props(frame.media())?;
        made.set_colour(self.colour);
        made.set_sample_aspect((self.aspect.num, self.aspect.den));
        Ok(frame.with_media(made))
    }
}

/// Where the planning of the steps is.
struct Planner<'a> {
    kernels: &'a Kernels,
    shape: Shape,
    sharpness: f64,
    to: Colour,
    target: Layout,
    size: [u32; 2],
    dither: bool,
    /// What there is so far.
    place: Place,
    layout: Layout,
    now: [u32; 2],
    colour: Colour,
    run: Run,
}

impl<'a> Planner<'a> {
    fn new(
        kernels: &'a Kernels,
        source: &VideoParams,
        target: &ScaleTarget,
        format: PixelFormat,
        from: Colour,
        to: Colour,
    ) -> Result<Self> {
        let (layout, wanted) = (Layout::known(source.format)?, Layout::known(format)?);
        let run = Run {
            steps: Vec::new(),
            source: layout,
            target: wanted,
            between: Vec::new(),
            pool: kernels.device.frames(format, target.width, target.height, 0)?,
            colour: to,
            aspect: aspect(source, target.width, target.height),
        };
        Ok(Planner {
            kernels,
            shape: Shape::of(target.scaler),
            sharpness: if target.again && target.scaler == Scaler::Bicubic { 0.75 } else { 0.6 },
            to,
            target: wanted,
            size: [target.width, target.height],
            dither: wanted.bits < layout.bits,
            place: Place::Input,
            layout,
            now: [source.width, source.height],
            colour: from,
            run,
        })
    }

    fn plan(mut self) -> Result<Run> {
        let (rgb_in, rgb_out) = (self.layout.rgb, self.target.rgb);
        let whole = |l: &Layout| l.chroma == [0, 0];
        if !rgb_in && !rgb_out && self.colour.matrix == self.to.matrix {
            self.scale(self.target, self.size, self.to, true)?;
            return Ok(self.run);
        }
        // Every component must have the size that the matrix is applied at.
        let full = Colour { matrix: 0, range: crate::frame::ColourRange::Full, ..self.to };
        if !rgb_in && (self.now != self.size || !whole(&self.layout)) {
            self.scale(Layout::BETWEEN, self.size, self.colour, false)?;
        }
        let last = self.now == self.size && whole(&self.target);
        if rgb_in && rgb_out && !last {
            self.convert(Layout::BETWEEN, full, false)?;
        } else if !rgb_out || rgb_in {
            self.convert(if last { self.target } else { Layout::BETWEEN }, self.to, last)?;
        }
        if rgb_out && self.place != Place::Output {
            if self.now != self.size {
                self.scale(Layout::BETWEEN, self.size, self.colour, false)?;
            }
            self.convert(self.target, self.to, true)?;
        }
        if self.place != Place::Output {
            self.scale(self.target, self.size, self.to, true)?;
        }
        Ok(self.run)
    }

    /// Where the next step writes.
    fn next(&mut self, size: [u32; 2], last: bool) -> Result<Place> {
        if last {
            return Ok(Place::Output);
        }
        let [width, height] = size.map(|n| n as usize);
        let buffer = DeviceBuffer::pitched(&self.kernels.context, width * 4, height * 3)?;
        self.run.between.push((buffer, size));
        Ok(Place::Between(self.run.between.len() - 1))
    }

    fn scale(&mut self, layout: Layout, size: [u32; 2], colour: Colour, last: bool) -> Result<()> {
        let side = |layout, size, colour: &Colour| Side { layout, size, chroma: colour.chroma };
        let from = side(self.layout, self.now, &self.colour);
        let axes = axes(from, [0, 0], self.now, side(layout, size, &colour), self.shape, self.sharpness);
        let levels = colour::relevel((&self.colour, &self.layout), (&colour, &layout));
        let work = Work::Scale(Box::new(Tables::new(self.kernels, axes)?), levels);
        self.step(work, layout, size, colour, last)
    }

    fn convert(&mut self, layout: Layout, colour: Colour, last: bool) -> Result<()> {
        let decode = colour::decode(&self.colour, &self.layout)?;
        let work = Work::Convert(colour::encode(&colour, &layout)?.after(&decode));
        self.step(work, layout, self.now, colour, last)
    }

    fn step(&mut self, work: Work, layout: Layout, size: [u32; 2], colour: Colour, last: bool) -> Result<()> {
        let to = self.next(size, last)?;
        let dither = last && self.dither;
        self.run.steps.push(Step { from: self.place, to, work, dither });
        (self.place, self.layout, self.now, self.colour) = (to, layout, size, colour);
        Ok(())
    }
}
