//! Sound that is played again, to the sample.

use super::samples::{sample_base, silence, slice};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::stage::{Outlet, Stage};
use crate::time::{Rational, Rounding, Timestamp, rescale};
use std::collections::VecDeque;

/// How far sound may go on behind the seam that follows, which is known only when everything of a round has been read.
const HELD: Timestamp = Timestamp::new(250, Rational::new(1, 1000));

/// A step beyond this between frames is one; below it is what the container rounded.
const STEP: Timestamp = Timestamp::new(2, Rational::new(1, 1000));

/// Joins the rounds of decoded sound that is played again: each begins exactly at its seam ([`Frame::seam`]). What the
/// round before has behind that is left out, and what the new one has before it; a hole is filled with silence.
///
/// Frames of a round follow one another by the number of their samples, as far as their times allow, so that no round is
/// moved by what a container rounded. Holds back [`HELD`]. Output base: 1/sample rate.
#[derive(Default)]
pub(crate) struct Rounds {
    held: VecDeque<Frame>,
    /// Where the next sample is expected: at this sample, of this many in a second.
    head: Option<(i64, u32)>,
    /// The seam that the next frame lies behind, until there is one that does.
    from: Option<Timestamp>,
    /// Of the first frames of the first round, at which sample their times and their samples' number put them: a later round may
    /// begin with another of them, as FFmpeg does not say every time what of the sound is priming.
    begun: Vec<(i64, i64)>,
    again: bool,
}

/// Frames among which a later round begins.
const BEGUN: usize = 16;

impl Rounds {
    /// Ends the round before at `seam`.
    fn cut(&mut self, seam: Timestamp) -> Result<()> {
        while let Some(frame) = self.held.pop_back() {
            let (start, rate, count) = place(&frame);
            let keep = (seam.to(sample_base(rate)).ticks - start).clamp(0, count);
            self.head = Some((start + keep, rate));
            if keep > 0 {
                let kept = if keep == count { frame } else { slice(&frame, 0, keep as usize)? };
                self.held.push_back(kept);
                return Ok(());
            }
        }
        Ok(())
    }

    fn add(&mut self, mut frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let (time, rate, count) = place(&frame);
        let base = sample_base(rate);
        // What was counted at another rate goes on at the time that this is.
        let head = self.head.map(|(head, of)| rescale(head, sample_base(of), base, Rounding::Nearest));
        let step = STEP.to(base).ticks;
        let mut start = time;
        match (self.from.map(|seam| seam.to(base).ticks), head) {
            (Some(seam), head) => {
                let known = self.begun.iter().find(|(time, _)| (start - seam - time).abs() <= 1);
                start += known.map_or(0, |(time, counted)| counted - time);
                let from = head.map_or(seam, |head| head.max(seam));
                let skip = from - start;
                if skip >= count {
                    // Its own time counts again for the next one.
                    return Ok(());
                }
                if skip > 0 {
                    frame = slice(&frame, skip as usize, (count - skip) as usize)?;
                    start = from;
                }
                self.from = None;
                let hole = head.map_or(0, |head| start - head);
                let mut left = hole;
                if left > 0 {
                    // No later seam is before this sound, and a hole may be of hours.
                    self.held.drain(..).try_for_each(|held| out.emit(held))?;
                }
                while left > 0 {
                    let n = left.min(i64::from(rate));
                    out.emit(silence(&frame.audio(), n as usize, start - left)?)?;
                    left -= n;
                }
            }
            (None, Some(head)) if (time - head).abs() <= step => start = head,
            (None, _) => {}
        }
        if !self.again && self.begun.len() < BEGUN {
            self.begun.push((time, start));
        }
        let count = frame.media().samples() as i64;
        (frame.pts, frame.duration, frame.base) = (Some(start), count, base);
        self.head = Some((start + count, rate));
        self.held.push_back(frame);
        Ok(())
    }

    /// Emits what no seam can come before any more.
    fn release(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let Some((head, rate)) = self.head else { return Ok(()) };
        let safe = head - HELD.to(sample_base(rate)).ticks;
        while let Some(front) = self.held.front() {
            let (start, of, count) = place(front);
            if rescale(start + count, sample_base(of), sample_base(rate), Rounding::Nearest) > safe {
                break;
            }
            if let Some(frame) = self.held.pop_front() {
                out.emit(frame)?;
            }
        }
        Ok(())
    }
}

/// At which sample a frame begins, of how many in a second, and how many it has.
fn place(frame: &Frame) -> (i64, u32, i64) {
    let rate = frame.media().sample_rate();
    let start = frame.presentation().map_or(0, |t| t.to(sample_base(rate)).ticks);
    (start, rate, frame.media().samples() as i64)
}

impl Stage<Frame, Frame> for Rounds {
    fn push(&mut self, mut frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        if frame.is_video() {
            return Err(Error::invalid("audio", "a picture was given to an audio filter"));
        }
        if let Some(seam) = frame.seam.take() {
            let seam = Timestamp::new(seam, frame.base);
            self.cut(seam)?;
            (self.from, self.again) = (Some(seam), true);
        }
        self.add(frame, out)?;
        self.release(out)
    }

    fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        self.held.drain(..).try_for_each(|frame| out.emit(frame))
    }
}
