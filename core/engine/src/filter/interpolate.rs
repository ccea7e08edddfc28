//! Frames in between.

use super::graph::{AvFilter, Recipe};
use super::rate::sum;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::spec::InterpolateSpec;
use crate::stage::{Outlet, Stage};
use crate::time::Timestamp;

/// How many pictures motion estimation keeps back: it gives none that it does not know the next ones of.
const KEPT_BACK: i64 = 2;

/// Reaches a higher (or lower) constant rate with frames made from their neighbours: by motion estimation
/// (`minterpolate`, 8 bits only, slow) or by blending (`framerate`). Output base: 1/rate. It ends when its input does: the
/// last picture stays as it is.
pub struct Interpolate {
    filter: AvFilter,
    estimates: bool,
    /// From one output picture to the next.
    step: Timestamp,
    /// The last picture and how long it lasts, in its base.
    last: Option<(Frame, i64)>,
}

impl Interpolate {
    /// Frames at `spec.frame_rate`.
    pub fn new(spec: InterpolateSpec) -> Self {
        let rate = spec.frame_rate.0;
        let filter = AvFilter::new(
            "interpolate",
            Box::new(move |params, _| {
                let v = params.video()?;
                let depth = v.format.descriptor().map_or(8, |d| d.depth);
                if !spec.blend && depth > 8 {
                    return Err(Error::unsupported(format!(
                        "motion estimation on {} (8 bits only); blend can do it",
                        v.format
                    )));
                }
                let filter = if spec.blend {
                    format!("framerate=fps={rate}")
                } else {
                    format!("minterpolate=fps={rate}:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1")
                };
                let base = rate.inverse();
                Ok(Recipe::Graph(format!("{filter},settb={base},format={}", v.format), None))
            }),
        );
        Interpolate { filter, estimates: !spec.blend, step: Timestamp::new(1, rate.inverse()), last: None }
    }
}

impl Stage<Frame, Frame> for Interpolate {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        if self.estimates {
            let before = self.last.take().filter(|(last, _)| last.base == frame.base);
            let length = match (frame.duration, before, frame.pts) {
                (length @ 1.., ..) => length,
                (_, Some((last, _)), Some(pts)) => last.pts.map_or(0, |last| pts - last),
                _ => 0,
            };
            self.last = Some((frame.clone(), length));
        }
        self.filter.push(frame, out)
    }

    fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let Some((last, length)) = self.last.take().filter(|(_, length)| *length > 0) else {
            return self.filter.finish(out);
        };
        let Some(time) = last.presentation() else { return self.filter.finish(out) };
        // What it keeps back comes when it has seen the last picture a few times more; that is no part of the film.
        let mut out = Until { out, end: sum(time, Timestamp::new(length, last.base)) };
        // The first stands where the last one's time ends; the others are only to be seen, however long that was.
        let step = self.step.to(last.base).ticks.clamp(1, length);
        for again in 0..KEPT_BACK {
            let mut frame = last.clone();
            frame.pts = frame.pts.map(|pts| pts + length + step * again);
            self.filter.push(frame, &mut out)?;
        }
        self.filter.finish(&mut out)
    }
}

/// Hands on what begins before `end`.
struct Until<'a> {
    out: &'a mut dyn Outlet<Frame>,
    end: Timestamp,
}

impl Outlet<Frame> for Until<'_> {
    fn emit(&mut self, frame: Frame) -> Result<()> {
        if frame.presentation().is_some_and(|time| time >= self.end) {
            return Ok(());
        }
        self.out.emit(frame)
    }
}
