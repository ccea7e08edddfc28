//! Unsharp mask.

use super::Following;
use super::layout::{Layout, Surface};
use crate::error::{Error, Result};
use crate::filter::sharpen::binomial;
use crate::frame::Frame;
use crate::spec::SharpenSpec;
use crate::stage::{Outlet, Stage};
use ghoststream_sys::ffmpeg as av;

/// As [`crate::filter::Sharpen`], for CUDA frames. Output base: the input's.
pub struct Sharpen {
    amount: f32,
    blur: Vec<f32>,
    following: Following<(Layout, av::HwFrames)>,
}

impl Sharpen {
    /// The mask.
    pub fn new(spec: SharpenSpec) -> Self {
        Sharpen { amount: spec.amount as f32, blur: binomial(spec.size), following: Following::new() }
    }
}

impl Stage<Frame, Frame> for Sharpen {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        if self.amount == 0.0 {
            return out.emit(frame);
        }
        let Sharpen { amount, blur, following } = self;
        let mut one = |frame: &Frame| {
            let (kernels, _, (layout, pool)) = following.get(frame, |kernels, source| {
                let pool = kernels.device.frames(source.format, source.width, source.height, 0)?;
                Ok((Layout::known(source.format)?, pool))
            })?;
            let mut sharp = pool.frame()?;
            let (from, to) = (Surface::read(frame.media(), *layout)?, Surface::write(&mut sharp, *layout)?);
            kernels.sharpen(&from, &to, blur, *amount, layout.rgb)?;
            sharp.copy_props(frame.media())?;
            Ok(frame.with_media(sharp))
        };
        out.emit(one(&frame).map_err(|e: Error| e.context("sharpen"))?)
    }

    fn finish(&mut self, _: &mut dyn Outlet<Frame>) -> Result<()> {
        Ok(())
    }
}
