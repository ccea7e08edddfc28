//! The shape of a film whose pictures change theirs: advertisements of 4:3 in a film of 16:9, a telephone that is turned.

use super::geometry::Pad;
use super::size::Shown;
use crate::error::Result;
use crate::frame::{Frame, VideoParams};
use crate::spec::PadSpec;
use crate::stage::{Outlet, Stage};

/// How much of an aspect ratio may be lost before bars are put beside a picture: ITU-R BT.601's 4:3, counted in its 704 of 720
/// columns, and the whole of them differ by 2.3 %.
const TOLERANCE: f64 = 0.03;

/// Puts black bars beside pictures whose display aspect ratio is not that of the first one, so that scaling them to the size of
/// the output does not distort them. All others pass untouched, and so do those that are not in host memory.
#[derive(Default)]
pub struct KeepShape {
    /// Display aspect ratio of the first picture.
    shape: Option<f64>,
    /// What puts the bars beside pictures of these parameters.
    bars: Option<(VideoParams, Pad)>,
}

impl KeepShape {
    /// The shape is that of the first picture which comes.
    pub fn new() -> Self {
        KeepShape::default()
    }
}

impl Stage<Frame, Frame> for KeepShape {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        if frame.media().is_hardware() {
            return out.emit(frame);
        }
        let v = frame.video();
        let shown = Shown::stored(&v);
        let shape = *self.shape.get_or_insert(shown.aspect());
        if (shown.aspect() / shape - 1.0).abs() <= TOLERANCE {
            return out.emit(frame);
        }
        if self.bars.as_ref().is_none_or(|(params, _)| *params != v) {
            self.bars = Some((v, Pad::new(canvas(&shown, shape))?));
        }
        match &mut self.bars {
            Some((_, pad)) => pad.push(frame, out),
            None => out.emit(frame),
        }
    }

    fn finish(&mut self, _: &mut dyn Outlet<Frame>) -> Result<()> {
        Ok(())
    }
}

/// What pictures of this size lie on, so that it has the aspect ratio `shape`. Rows and columns of the bars are multiples of
/// four, which keeps fields and chroma where they are.
fn canvas(shown: &Shown, shape: f64) -> PadSpec {
    let (width, height) = (f64::from(shown.width), f64::from(shown.height));
    let pixel = shown.sample_aspect.as_f64();
    let bar = |more: f64| ((more / 8.0).round() as u32) * 4;
    let (x, y) = match shown.aspect() > shape {
        true => (0, bar(width * pixel / shape - height)),
        false => (bar(height * shape / pixel - width), 0),
    };
    PadSpec { width: shown.width + 2 * x, height: shown.height + 2 * y, x: Some(x), y: Some(y), colour: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Rational;

    #[test]
    fn bars_make_the_shape() {
        let of = |width, height, aspect: (i32, i32)| Shown {
            width,
            height,
            sample_aspect: Rational::new(aspect.0, aspect.1),
        };
        for (shown, shape, at) in [
            (of(720, 576, (64, 45)), 4.0 / 3.0, (0, 96)),
            (of(720, 576, (16, 15)), 16.0 / 9.0, (120, 0)),
            (of(720, 1280, (1, 1)), 16.0 / 9.0, (776, 0)),
            (of(1280, 720, (1, 1)), 9.0 / 16.0, (0, 776)),
        ] {
            let spec = canvas(&shown, shape);
            assert_eq!((spec.x, spec.y), (Some(at.0), Some(at.1)), "{shown:?}");
            let made = of(spec.width, spec.height, (shown.sample_aspect.num, shown.sample_aspect.den));
            assert!((made.aspect() / shape - 1.0).abs() < 0.01, "{shown:?} {spec:?}");
        }
    }
}
