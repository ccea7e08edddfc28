//! Cutting a rectangle out.

use super::layout::{Layout, Surface};
use super::table::{Shape, Side, Tables, axes};
use super::{Following, Kernels};
use crate::error::{Error, Result};
use crate::filter::geometry::check_crop;
use crate::frame::{Frame, VideoParams};
use crate::spec::CropSpec;
use crate::stage::{Outlet, Stage};
use ghoststream_sys::ffmpeg as av;

/// As [`crate::filter::Crop`], for CUDA frames; the rectangle is copied on the device. Output base: the input's.
pub struct Crop {
    spec: CropSpec,
    following: Following<Option<Made>>,
}

struct Made {
    layout: Layout,
    tables: Tables,
    pool: av::HwFrames,
}

impl Crop {
    /// The rectangle to keep.
    pub fn new(spec: CropSpec) -> Self {
        Crop { spec, following: Following::new() }
    }
}

fn make(kernels: &Kernels, source: &VideoParams, spec: CropSpec) -> Result<Option<Made>> {
    check_crop(spec, source)?;
    let (part, size) = ([spec.width, spec.height], [source.width, source.height]);
    if part == size {
        return Ok(None);
    }
    let layout = Layout::known(source.format)?;
    if layout.rgb {
        return Err(Error::unsupported(format!("crop {} pictures on cuda", source.format)));
    }
    let side = |size| Side { layout, size, chroma: source.colour.chroma };
    let axes = axes(side(size), [spec.x, spec.y], part, side(part), Shape::Nearest, 0.0);
    let pool = kernels.device.frames(source.format, part[0], part[1], 0)?;
    Ok(Some(Made { layout, tables: Tables::new(kernels, axes)?, pool }))
}

impl Stage<Frame, Frame> for Crop {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let Crop { spec, following } = self;
        let mut one = |frame: &Frame| {
            let (kernels, _, made) = following.get(frame, |k, source| make(k, source, *spec))?;
            let Some(made) = made else { return Ok(frame.clone()) };
            let mut cut = made.pool.frame()?;
            let (from, to) =
                (Surface::read(frame.media(), made.layout)?, Surface::write(&mut cut, made.layout)?);
            kernels.scale(&from, &to, &made.tables, &[(1.0, 0.0); 2], false)?;
            cut.copy_props(frame.media())?;
            Ok(frame.with_media(cut))
        };
        out.emit(one(&frame).map_err(|e: Error| e.context("crop"))?)
    }

    fn finish(&mut self, _: &mut dyn Outlet<Frame>) -> Result<()> {
        Ok(())
    }
}
