//! Whole frames out of fields.

use super::device::DeviceFilter;
use super::graph::{AvFilter, Recipe};
use crate::error::Result;
use crate::frame::Frame;
use crate::spec::Deinterlace as Mode;
use crate::stage::{Outlet, Stage};

/// bwdif, of one frame per frame or one per field. Progressive frames pass unchanged unless the mode is `all`.
///
/// Output base: the input's, halved for one frame per field. At double rate a frame lasts until its successor, so each
/// is emitted when that one is there.
pub struct Deinterlace {
    filter: AvFilter,
    lengths: Option<Lengths>,
}

impl Deinterlace {
    /// A deinterlacer of this mode.
    pub fn new(mode: Mode) -> Self {
        let (rate, which) = match mode {
            Mode::Auto => ("send_frame", "interlaced"),
            Mode::All => ("send_frame", "all"),
            Mode::DoubleRate => ("send_field", "interlaced"),
        };
        Deinterlace::with(mode, format!("bwdif=mode={rate}:parity=auto:deint={which}"), false)
    }

    /// As [`Deinterlace::new`], for frames on a device, by `filter` (of the same mode).
    pub fn on_device(mode: Mode, filter: &DeviceFilter) -> Self {
        Deinterlace::with(mode, filter.text(""), true)
    }

    fn with(mode: Mode, text: String, device: bool) -> Self {
        let plan = move |_: &_, frame: &Frame| {
            // bwdif and yadif halve the base in every mode.
            let base = match mode {
                Mode::DoubleRate => String::new(),
                _ => format!(",settb={}", frame.base),
            };
            Ok(Recipe::Graph(
                text.clone() + &base,
                Some(Box::new(|media| {
                    media.set_interlaced(false, false);
                    Ok(())
                })),
            ))
        };
        let filter = AvFilter::new("deinterlace", Box::new(plan));
        Deinterlace {
            filter: if device { filter.on_device() } else { filter },
            lengths: (mode == Mode::DoubleRate).then(Lengths::default),
        }
    }
}

impl Stage<Frame, Frame> for Deinterlace {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        match &mut self.lengths {
            Some(lengths) => self.filter.push(frame, &mut Measured { lengths, out }),
            None => self.filter.push(frame, out),
        }
    }

    fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let Some(lengths) = &mut self.lengths else { return self.filter.finish(out) };
        let done = self.filter.finish(&mut Measured { lengths, out });
        // It was made before the filter failed, if that is what it did.
        lengths.held.take().map_or(Ok(()), |f| out.emit(f))?;
        done
    }
}

/// Gives each frame the length until the next; the last keeps that of the one before.
#[derive(Default)]
struct Lengths {
    held: Option<Frame>,
}

struct Measured<'a> {
    lengths: &'a mut Lengths,
    out: &'a mut dyn Outlet<Frame>,
}

impl Outlet<Frame> for Measured<'_> {
    fn emit(&mut self, mut frame: Frame) -> Result<()> {
        let Some(mut last) = self.lengths.held.take() else {
            self.lengths.held = Some(frame);
            return Ok(());
        };
        if let (Some(a), Some(b), true) = (last.pts, frame.pts, last.base == frame.base)
            && b > a
        {
            last.duration = b - a;
            frame.duration = b - a;
        }
        self.lengths.held = Some(frame);
        self.out.emit(last)
    }
}
