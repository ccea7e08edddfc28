//! What a part of the whole needs before it is cut exactly: nothing long gone, and sound on the samples where it lies in
//! every part.

use super::rate::sum;
use super::samples::sample_base;
use crate::error::Result;
use crate::frame::Frame;
use crate::stage::{Outlet, Stage};
use crate::time::Timestamp;

/// Drops what is over at a time.
pub struct Since {
    from: Timestamp,
}

impl Since {
    /// Lets through what is still there at `from` or comes later, uncut.
    pub fn new(from: Timestamp) -> Self {
        Since { from }
    }
}

impl Stage<Frame, Frame> for Since {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let over = frame.presentation().is_some_and(|pts| {
            let end = if frame.is_video() {
                sum(pts, Timestamp::new(frame.duration.max(1), frame.base))
            } else {
                let base = sample_base(frame.media().sample_rate());
                sum(pts.to(base), Timestamp::new(frame.media().samples() as i64, base))
            };
            end <= self.from
        });
        if over { Ok(()) } else { out.emit(frame) }
    }

    fn finish(&mut self, _: &mut dyn Outlet<Frame>) -> Result<()> {
        Ok(())
    }
}

/// Containers that count in milliseconds round the times of sound. From the beginning that does no harm: samples are
/// counted on from the first. Whoever begins in the middle has nothing but a rounded time, and would put the sound up to
/// half a millisecond beside where it was before. As coded frames are equally long, the sample that is meant is known.
pub struct Exact {
    /// Where the stream begins.
    start: Timestamp,
    next: Option<i64>,
}

impl Exact {
    /// Puts frames of a stream that begins at `start` on whole frames from there, where their times say nearly that.
    pub fn new(start: Timestamp) -> Self {
        Exact { start, next: None }
    }
}

impl Stage<Frame, Frame> for Exact {
    fn push(&mut self, mut frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let samples = frame.media().samples() as i64;
        if let (false, Some(pts), true) = (frame.is_video(), frame.presentation(), samples > 0) {
            let rate = frame.media().sample_rate();
            let base = sample_base(rate);
            let (at, start) = (pts.to(base).ticks, self.start.to(base).ticks);
            let whole = start + (at - start + samples / 2).div_euclid(samples) * samples;
            let slack = i64::from(rate) / 1000 + 1;
            let meant = self.next.unwrap_or(whole);
            let at = if (at - meant).abs() <= slack { meant } else { at };
            (frame.pts, frame.duration, frame.base) = (Some(at), samples, base);
            self.next = Some(at + samples);
        }
        out.emit(frame)
    }

    fn finish(&mut self, _: &mut dyn Outlet<Frame>) -> Result<()> {
        Ok(())
    }
}
