//! Cutting a rectangle out, putting a picture on a canvas, mirroring and turning it: samples are copied on the device.

use super::layout::{Layout, Surface};
use super::{Following, Kernels, colour};
use crate::error::{Error, Result};
use crate::filter::colour::assumed;
use crate::filter::geometry::{Turn, check_crop, pad_at};
use crate::filter::paint::{self, Rgb};
use crate::frame::{Frame, VideoParams};
use crate::spec::{CropSpec, PadSpec};
use crate::stage::{Outlet, Stage};
use ghoststream_sys::ffmpeg as av;

/// As [`crate::filter::Crop`], [`crate::filter::Pad`] and [`crate::filter::Rotate`], for CUDA frames.
/// Output base: the input's.
pub struct Place {
    what: What,
    following: Following<Option<Made>>,
}

enum What {
    Crop(CropSpec),
    Pad(PadSpec, Rgb),
    Turn(Turn),
}

/// What the kernel `place` needs besides pictures: where the picture begins in the output, for the first component and
/// for the other two; quarters of a turn; whether it is mirrored before; the codes around it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Placing {
    pub left: [i32; 2],
    pub top: [i32; 2],
    pub turn: u32,
    pub mirror: bool,
    pub fill: [f32; 4],
}

struct Made {
    layout: Layout,
    placing: Placing,
    pool: av::HwFrames,
}

impl Place {
    /// Keeps a rectangle.
    pub fn crop(spec: CropSpec) -> Self {
        Place { what: What::Crop(spec), following: Following::new() }
    }

    /// Puts the picture on a larger canvas.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a colour that cannot be read.
    pub fn pad(spec: PadSpec) -> Result<Self> {
        let colour = paint::parse("pad.colour", spec.colour.as_deref().unwrap_or("black"))?;
        Ok(Place { what: What::Pad(spec, colour), following: Following::new() })
    }

    /// Mirrors and turns.
    pub fn turn(turn: Turn) -> Self {
        Place { what: What::Turn(turn), following: Following::new() }
    }
}

impl What {
    fn name(&self) -> &'static str {
        match self {
            What::Crop(_) => "crop",
            What::Pad(..) => "pad",
            What::Turn(_) => "rotate",
        }
    }

    /// `None` where nothing has to be done.
    fn make(&self, kernels: &Kernels, source: &VideoParams) -> Result<Option<Made>> {
        let layout = Layout::known(source.format)?;
        let chroma = |at: i64, d: usize| [at as i32, (at >> layout.chroma[d]) as i32];
        let (size, placing) = match self {
            What::Crop(spec) => {
                check_crop(*spec, source)?;
                let (left, top) = (chroma(-i64::from(spec.x), 0), chroma(-i64::from(spec.y), 1));
                ([spec.width, spec.height], Placing { left, top, ..Placing::default() })
            }
            What::Pad(spec, rgb) => {
                let [x, y] = pad_at(spec, source)?;
                let (left, top) = (chroma(x.into(), 0), chroma(y.into(), 1));
                let [a, b, c] = colour::encode(&assumed(source), &layout)?.apply([rgb.0, rgb.1, rgb.2]);
                let fill = [a, b, c, f64::from(layout.top())].map(|v| v as f32);
                ([spec.width, spec.height], Placing { left, top, fill, ..Placing::default() })
            }
            What::Turn(turned) => {
                let turn = u32::from(turned.quarters());
                let (w, h) = (source.width, source.height);
                let size = if turn % 2 == 1 { [h, w] } else { [w, h] };
                let odd = layout.chroma[0] != layout.chroma[1] && turn % 2 == 1;
                if odd {
                    return Err(Error::unsupported(format!("turn {} pictures on cuda", source.format)));
                }
                (size, Placing { turn, mirror: turned.mirrored(), ..Placing::default() })
            }
        };
        if size == [source.width, source.height] && placing.turn == 0 && !placing.mirror {
            return Ok(None);
        }
        let pool = kernels.device.frames(source.format, size[0], size[1], 0)?;
        Ok(Some(Made { layout, placing, pool }))
    }
}

impl Made {
    fn run(&self, kernels: &Kernels, frame: &Frame) -> Result<av::Frame> {
        let mut made = self.pool.frame()?;
        let (from, to) =
            (Surface::read(frame.media(), self.layout)?, Surface::write(&mut made, self.layout)?);
        kernels.place(&from, &to, &self.placing)?;
        made.copy_props(frame.media())?;
        if self.placing.turn % 2 == 1 {
            let (num, den) = made.sample_aspect();
            made.set_sample_aspect((den, num));
        }
        Ok(made)
    }
}

impl Stage<Frame, Frame> for Place {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let Place { what, following } = self;
        let mut one = |frame: &Frame| {
            let (kernels, _, made) = following.get(frame, |k, source| what.make(k, source))?;
            let mut media = match made {
                Some(made) => made.run(kernels, frame)?,
                None if matches!(what, What::Turn(_)) => frame.media().try_clone()?,
                None => return Ok(frame.clone()),
            };
            if matches!(what, What::Turn(_)) {
                media.clear_display_matrix();
            }
            Ok(frame.with_media(media))
        };
        out.emit(one(&frame).map_err(|e: Error| e.context(what.name()))?)
    }

    fn finish(&mut self, _: &mut dyn Outlet<Frame>) -> Result<()> {
        Ok(())
    }
}
