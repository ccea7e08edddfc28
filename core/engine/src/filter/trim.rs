//! Cutting a stretch of time out, exact to the frame and to the sample.

use super::samples::{sample_base, slice};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::stage::{Outlet, Stage};
use crate::time::{Rational, Rounding, TimeBase, Timestamp, rescale};

/// Lets through what is presented in `[start, end)` and moves it so that `origin` becomes time zero.
///
/// Pictures: the one shown at `start` is kept and begins there, even if it began before; the one shown at `end` ends
/// there. Their output base is the coarsest in which the source's ticks, `start`, `end` and `origin` are all whole, so
/// that nothing is rounded; the source's own base where no such base fits 32 bits.
///
/// Sound: frames that straddle a bound are split at the nearest sample. Output base: 1/sample rate.
///
/// A frame without pts is taken to begin where the one before it ended.
///
/// [`Trim::by_pictures`] cuts between pictures.
pub struct Trim {
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    origin: Timestamp,
    /// The newest picture that begins at or before `start`.
    held: Option<Frame>,
    expected: Option<Timestamp>,
    done: bool,
    by_pictures: bool,
    /// How much later than asked the first picture began; `None` before it.
    late: Option<Timestamp>,
    /// A picture was.
    given: bool,
}

/// Pictures that are shown for longer stand still, and how long is seen; half of this is how far sound and picture may be
/// apart unnoticed (ITU-R BT.1359: 45 ms).
const MOVING_SECONDS: f64 = 0.07;

/// A last picture is whole, unless less than one such part of it is before the end: times of containers are rounded.
const HARDLY: f64 = 10.0;

/// Whether `length` is that of a moving picture.
fn moves(length: f64) -> bool {
    length > 0.0 && length <= MOVING_SECONDS
}

impl Trim {
    /// Cuts `[start, end)` out; `origin` becomes zero (usually `start`, so that all tracks stay in step).
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when `end` is not after `start`.
    pub fn new(start: Option<Timestamp>, end: Option<Timestamp>, origin: Timestamp) -> Result<Self> {
        if let (Some(start), Some(end)) = (start, end)
            && end <= start
        {
            return Err(Error::invalid("end", format!("{end} is not after the start at {start}")));
        }
        let (held, expected, late) = (None, None, None);
        Ok(Trim { start, end, origin, held, expected, done: false, by_pictures: false, late, given: false })
    }

    /// Cuts moving pictures at the bound between two of them that is nearest to `start`, and moves what follows by less than
    /// half a picture, so that it begins at `start` and a constant rate stays one; the last picture is whole. Cut exactly, a
    /// film whose pictures do not lie on `start` would begin with one that is shown for a moment.
    pub fn by_pictures(self, by_pictures: bool) -> Self {
        Trim { by_pictures, ..self }
    }

    fn exact_base(&self, base: TimeBase) -> TimeBase {
        let bounds = [self.start, self.end, Some(self.origin)];
        bounds.into_iter().flatten().fold(base, |b, t| match to_whole(t, b) {
            true => b,
            false => common_base(b, reduced_base(t)).unwrap_or(b),
        })
    }

    fn video(&mut self, mut frame: Frame, pts: Timestamp, out: &mut dyn Outlet<Frame>) -> Result<()> {
        if self.start.is_some_and(|start| pts <= start) {
            frame.force_key |= self.held.as_ref().is_some_and(|h| h.force_key);
            self.held = Some(frame);
            return Ok(());
        }
        if self.late.is_none() {
            let late = self.lateness(&mut frame, pts);
            self.late = Some(late);
        }
        let pts = self.in_time(pts, frame.base);
        if let Some(end) = self.end {
            let length = Timestamp::new(frame.duration, frame.base).seconds();
            let left = end.seconds() - pts.seconds();
            let hardly = self.by_pictures && moves(length) && left * HARDLY < length && self.given;
            if pts >= end || hardly {
                self.done = true;
                return self.release(Some(if hardly { pts } else { end }), out);
            }
        }
        self.release(Some(pts), out)?;
        self.emit(frame, pts, None, out)
    }

    /// Decides between the held picture and `frame`, the first after `start`, at `pts`: how much later than `start` the one
    /// begins that is nearer to it.
    fn lateness(&mut self, frame: &mut Frame, pts: Timestamp) -> Timestamp {
        let base = self.exact_base(frame.base);
        let none = Timestamp::new(0, base);
        let (Some(start), Some(held)) = (self.start, &self.held) else { return none };
        let Some(began) = held.presentation().filter(|_| self.by_pictures) else { return none };
        let (started, left) = (start.seconds() - began.seconds(), pts.seconds() - start.seconds());
        if !moves(started + left) || started <= 0.0 {
            return none;
        }
        let from_start = |t: Timestamp| Timestamp::new(t.to(base).ticks - start.to(base).ticks, base);
        if left >= started {
            return from_start(began);
        }
        frame.force_key |= held.force_key;
        self.held = None;
        from_start(pts)
    }

    /// `pts` where the first picture began at `start`.
    fn in_time(&self, pts: Timestamp, base: TimeBase) -> Timestamp {
        let base = self.exact_base(base);
        let late = self.late.map_or(0, |late| late.to(base).ticks);
        Timestamp::new(pts.to(base).ticks - late, base)
    }

    /// Emits the held picture at `start`, lasting until `next`.
    fn release(&mut self, next: Option<Timestamp>, out: &mut dyn Outlet<Frame>) -> Result<()> {
        match (self.held.take(), self.start) {
            (Some(frame), Some(start)) => self.emit(frame, start, next, out),
            _ => Ok(()),
        }
    }

    /// Emits a picture at `pts` of the source's time, lasting until `until` or else for its own length.
    fn emit(
        &mut self,
        mut frame: Frame,
        pts: Timestamp,
        until: Option<Timestamp>,
        out: &mut dyn Outlet<Frame>,
    ) -> Result<()> {
        let base = self.exact_base(frame.base);
        let ticks = |t: Timestamp| t.to(base).ticks;
        let own =
            (frame.duration > 0).then(|| ticks(pts) + ticks(Timestamp::new(frame.duration, frame.base)));
        let end = until.map(ticks).or(own);
        let whole =
            self.by_pictures && end.is_some_and(|e| moves(Timestamp::new(e - ticks(pts), base).seconds()));
        let end = match (end, self.end.map(ticks)) {
            (Some(a), Some(b)) if !whole => Some(a.min(b)),
            (a, _) => a,
        };
        self.given = true;
        frame.pts = Some(ticks(pts) - ticks(self.origin));
        frame.duration = end.map_or(0, |e| (e - ticks(pts)).max(0));
        frame.base = base;
        out.emit(frame)
    }

    fn audio(&mut self, frame: Frame, pts: Timestamp, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let (rate, total) = (frame.media().sample_rate(), frame.media().samples());
        let base = sample_base(rate);
        let first = pts.to(base).ticks;
        let sample = |t: Timestamp| (t.to(base).ticks - first).clamp(0, total as i64) as usize;
        let from = self.start.map_or(0, sample);
        let to = self.end.map_or(total, sample);
        if self.end.is_some() && to < total {
            self.done = true;
        }
        if from >= to {
            return Ok(());
        }
        let mut part = if (from, to) == (0, total) { frame } else { slice(&frame, from, to - from)? };
        part.pts = Some(first + from as i64 - self.origin.to(base).ticks);
        (part.duration, part.base) = ((to - from) as i64, base);
        out.emit(part)
    }
}

impl Stage<Frame, Frame> for Trim {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        if self.done {
            return Ok(());
        }
        let zero = Timestamp::new(0, frame.base);
        let pts = frame.presentation().or(self.expected).unwrap_or(zero);
        if frame.is_video() {
            self.expected = Some(super::rate::sum(pts, Timestamp::new(frame.duration, frame.base)));
            self.video(frame, pts, out)
        } else {
            let base = sample_base(frame.media().sample_rate());
            let length = frame.media().samples() as i64;
            self.expected = Some(super::rate::sum(pts.to(base), Timestamp::new(length, base)));
            self.audio(frame, pts, out)
        }
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        // A picture that ended before `start` and had no successor is not shown there.
        let (Some(held), Some(start)) = (&self.held, self.start) else { return Ok(()) };
        let end = held.end().filter(|_| held.duration > 0);
        if held.presentation() == Some(start) || end.is_none_or(|e| e > start) {
            return self.release(end, out);
        }
        self.held = None;
        Ok(())
    }
}

fn to_whole(t: Timestamp, base: TimeBase) -> bool {
    rescale(t.ticks, t.base, base, Rounding::Down) == rescale(t.ticks, t.base, base, Rounding::Up)
}

/// The coarsest base 1/n of which `t` is a whole number of ticks.
fn reduced_base(t: Timestamp) -> TimeBase {
    let num = t.ticks.unsigned_abs() as u128 * t.base.num.unsigned_abs() as u128;
    let den = t.base.den.unsigned_abs() as u128;
    let g = gcd(num, den).max(1);
    Rational::new(1, i32::try_from(den / g).unwrap_or(i32::MAX))
}

/// The coarsest base of which both are whole multiples: gcd of the numerators over lcm of the denominators.
fn common_base(a: TimeBase, b: TimeBase) -> Option<TimeBase> {
    if !a.is_positive() || !b.is_positive() {
        return None;
    }
    let (a, b) = (a.reduced(), b.reduced());
    let num = gcd(a.num as u128, b.num as u128);
    let den = a.den as u128 / gcd(a.den as u128, b.den as u128) * b.den as u128;
    Some(Rational::new(i32::try_from(num).ok()?, i32::try_from(den).ok()?))
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}
