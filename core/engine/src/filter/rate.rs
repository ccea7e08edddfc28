//! Constant frame rate by dropping and repeating frames.

use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::stage::{Control, Outlet, Stage};
use crate::time::{MICROSECONDS, Rational, Rounding, TimeBase, Timestamp, rescale};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A backward step beyond this is a clock that was set anew, not a frame out of order.
const RESET: Timestamp = Timestamp::new(1, Rational::new(1, 1));

/// A forward step beyond this is taken for a damaged timestamp. It is far above any still picture worth holding and
/// below the 26.5 hours by which an MPEG-TS clock wraps.
pub(super) const MAX_GAP: Timestamp = Timestamp::new(12 * 3600, Rational::new(1, 1));

/// How many frames a [`FrameRate`] stage left out and repeated; readable from any thread while it runs.
#[derive(Debug, Default)]
pub struct RateCounters {
    dropped: AtomicU64,
    repeated: AtomicU64,
}

impl RateCounters {
    /// Source frames that no output frame shows.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Output frames that show the same source frame as the one before.
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }
}

/// Puts frames on the grid n/rate (n counts from time zero): output frame n shows the newest source frame whose time,
/// rounded to the nearest grid point, is n or earlier; the rule of FFmpeg's `fps=round=near`. The last frame lasts
/// until its end, rounded likewise.
///
/// Output base: 1/rate, so that pts is n and every duration is 1. A frame is emitted when its successor is there. A
/// missing pts is taken as the end of the frame before; a frame out of order by up to a second is dropped; after a
/// greater step back, or one of more than twelve hours forward, the grid goes on without a gap.
pub struct FrameRate {
    grid: Grid<Frame>,
}

impl FrameRate {
    /// Frames at `rate` per second.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when the rate is not positive.
    pub fn new(rate: Rational) -> Result<Self> {
        if !rate.is_positive() {
            return Err(Error::invalid("frame_rate", format!("{rate} is not above 0")));
        }
        Ok(FrameRate { grid: Grid::new(rate.reduced()) })
    }

    /// The counters; they stay readable after the stage is gone.
    pub fn counters(&self) -> Arc<RateCounters> {
        self.grid.counters.clone()
    }
}

impl Stage<Frame, Frame> for FrameRate {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let (pts, length) = (frame.presentation(), Timestamp::new(frame.duration.max(0), frame.base));
        let key = frame.force_key;
        self.grid.push(frame, pts, length, key, &mut |f, slot| emit(f, slot, out))
    }

    fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        self.grid.finish(&mut |f, slot| emit(f, slot, out))
    }

    fn paces(&self) -> bool {
        true
    }

    fn control(&mut self, control: &Control) -> Result<()> {
        match control {
            Control::FrameRate(rate) if rate.is_positive() => {
                self.grid.retime(rate.reduced());
                Ok(())
            }
            other => Err(Error::unsupported(format!("a constant frame rate cannot {other}"))),
        }
    }
}

/// Hands frames on until it is told a rate: from then on there are at most so many a second, on the grid n/rate, and where
/// a frame lasts longer than a slot it is repeated. Nothing waits here: of the frames in a slot the first is shown. After
/// frames without a length (a variable rate) none is repeated.
///
/// Output base: 1/rate, once there is a rate.
#[derive(Default)]
pub struct Repace {
    rate: Option<Rational>,
    /// What was given last, its slot and where it ends.
    held: Option<(Frame, i64, Option<Timestamp>)>,
    /// When the last frame was shown.
    newest: Option<Timestamp>,
    key: bool,
}

impl Repace {
    /// One that hands everything on.
    pub fn new() -> Self {
        Repace::default()
    }
}

impl Stage<Frame, Frame> for Repace {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let time = frame.presentation();
        let (Some(rate), Some(time)) = (self.rate, time) else {
            self.newest = time.or(self.newest);
            return out.emit(frame);
        };
        let base = rate.inverse();
        // From a quarter before to three quarters behind, so that neither jitter nor a frame half-way changes slots.
        let quarter = Timestamp::new(1, Rational::new(rate.den, rate.num.saturating_mul(4)));
        let slot_of =
            |t: Timestamp| difference(in_micros(t), quarter).to_rounding(base, Rounding::Nearest).ticks;
        let slot = slot_of(time);
        let last = match &self.held {
            Some((_, last, _)) => *last,
            // Behind what was given before there was a rate.
            None => self.newest.map_or(slot - 1, |t| t.to_rounding(base, Rounding::Down).ticks),
        };
        self.key |= frame.force_key;
        if slot <= last && last - slot <= RESET.to(base).ticks {
            return Ok(());
        }
        if let Some((held, _, Some(end))) = &self.held {
            for again in last + 1..slot.min(slot_of(*end)) {
                let slot = Slot { index: again, base, key: std::mem::take(&mut self.key) };
                emit(held.clone(), slot, out)?;
            }
        }
        let end = (frame.duration > 0).then(|| sum(time, Timestamp::new(frame.duration, frame.base)));
        self.newest = Some(Timestamp::new(slot, base));
        self.held = Some((frame.clone(), slot, end));
        emit(frame, Slot { index: slot, base, key: std::mem::take(&mut self.key) }, out)
    }

    fn finish(&mut self, _: &mut dyn Outlet<Frame>) -> Result<()> {
        Ok(())
    }

    fn paces(&self) -> bool {
        true
    }

    fn control(&mut self, control: &Control) -> Result<()> {
        match control {
            Control::FrameRate(rate) if rate.is_positive() => {
                self.rate = Some(rate.reduced());
                self.held = None;
                Ok(())
            }
            other => Err(Error::unsupported(format!("pacing cannot {other}"))),
        }
    }
}

fn in_micros(t: Timestamp) -> Timestamp {
    t.to(MICROSECONDS)
}

fn emit(mut frame: Frame, slot: Slot, out: &mut dyn Outlet<Frame>) -> Result<()> {
    frame.pts = Some(slot.index);
    frame.duration = 1;
    frame.base = slot.base;
    frame.force_key = slot.key;
    out.emit(frame)
}

/// A place on the grid.
#[derive(Clone, Copy, Debug)]
struct Slot {
    index: i64,
    base: TimeBase,
    /// Whether a key frame was asked for at or since the last slot.
    key: bool,
}

/// The rule itself, over anything that can be repeated.
struct Grid<T> {
    base: TimeBase,
    held: Option<T>,
    shown: bool,
    /// Next slot to fill; meaningful once something is held.
    next: i64,
    /// Slots to add to a source time, after the source's clock was set anew.
    shift: i64,
    newest: Option<Timestamp>,
    length: Timestamp,
    key: bool,
    started: bool,
    counters: Arc<RateCounters>,
}

impl<T: Clone> Grid<T> {
    fn new(rate: Rational) -> Self {
        let base = rate.inverse();
        Grid {
            base,
            held: None,
            shown: false,
            next: 0,
            shift: 0,
            newest: None,
            length: Timestamp::new(1, base),
            key: false,
            started: false,
            counters: Arc::default(),
        }
    }

    /// Goes on at another rate, behind what is out.
    fn retime(&mut self, rate: Rational) {
        let (old, base) = (self.base, rate.inverse());
        let to = |slots: i64, rounding| Timestamp::new(slots, old).to_rounding(base, rounding).ticks;
        self.next = to(self.next, Rounding::Up);
        self.shift = to(self.shift, Rounding::Nearest);
        self.base = base;
    }

    fn slot(&self, time: Timestamp) -> i64 {
        time.to_rounding(self.base, Rounding::Nearest).ticks.saturating_add(self.shift)
    }

    fn end(&self) -> Option<Timestamp> {
        self.newest.map(|t| sum(t, self.length))
    }

    fn push(
        &mut self,
        item: T,
        pts: Option<Timestamp>,
        length: Timestamp,
        key: bool,
        emit: &mut dyn FnMut(T, Slot) -> Result<()>,
    ) -> Result<()> {
        let expected = self.end();
        let time = pts.or(expected).unwrap_or(Timestamp::new(0, self.base));
        if let Some(newest) = self.newest {
            if time < newest && difference(newest, time) <= RESET {
                self.counters.dropped.fetch_add(1, Ordering::Relaxed);
                self.key |= key;
                return Ok(());
            }
            if time < newest || difference(time, expected.unwrap_or(newest)) > MAX_GAP {
                let end = self.slot(expected.unwrap_or(newest));
                self.shift = 0;
                self.shift = end.saturating_sub(self.slot(time));
            } else if length.ticks <= 0 && time > newest {
                self.length = difference(time, newest);
            }
        }
        if length.ticks > 0 {
            self.length = length;
        }
        self.newest = Some(time);
        let slot = self.slot(time);
        if self.held.is_none() {
            self.next = slot;
        }
        self.fill(slot, emit)?;
        self.key |= key;
        if self.held.is_some() && !self.shown {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
        (self.held, self.shown) = (Some(item), false);
        Ok(())
    }

    fn fill(&mut self, until: i64, emit: &mut dyn FnMut(T, Slot) -> Result<()>) -> Result<()> {
        let Some(held) = &self.held else { return Ok(()) };
        while self.next < until {
            if self.shown {
                self.counters.repeated.fetch_add(1, Ordering::Relaxed);
            }
            let slot = Slot { index: self.next, base: self.base, key: std::mem::take(&mut self.key) };
            (self.next, self.shown, self.started) = (self.next + 1, true, true);
            emit(held.clone(), slot)?;
        }
        Ok(())
    }

    fn finish(&mut self, emit: &mut dyn FnMut(T, Slot) -> Result<()>) -> Result<()> {
        let Some(end) = self.end() else { return Ok(()) };
        let mut until = self.slot(end);
        if !self.started {
            until = until.max(self.next + 1);
        }
        self.fill(until, emit)?;
        if self.held.take().is_some() && !self.shown {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// `a + b` in the base of `a`.
pub(super) fn sum(a: Timestamp, b: Timestamp) -> Timestamp {
    let b = rescale(b.ticks, b.base, a.base, Rounding::Nearest);
    Timestamp::new(a.ticks.saturating_add(b), a.base)
}

/// `a - b` in the base of `a`.
pub(super) fn difference(a: Timestamp, b: Timestamp) -> Timestamp {
    let b = rescale(b.ticks, b.base, a.base, Rounding::Nearest);
    Timestamp::new(a.ticks.saturating_sub(b), a.base)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: TimeBase = Rational::new(1, 1000);

    fn run(rate: (i32, i32), base: TimeBase, frames: &[(Option<i64>, i64)]) -> (Vec<(usize, i64)>, u64, u64) {
        let mut grid = Grid::new(Rational::new(rate.0, rate.1));
        let mut out = Vec::new();
        let mut emit = |item, slot: Slot| {
            out.push((item, slot.index));
            Ok(())
        };
        for (i, (pts, length)) in frames.iter().enumerate() {
            let pts = pts.map(|t| Timestamp::new(t, base));
            grid.push(i, pts, Timestamp::new(*length, base), false, &mut emit).unwrap();
        }
        grid.finish(&mut emit).unwrap();
        (out, grid.counters.dropped(), grid.counters.repeated())
    }

    #[test]
    fn a_steady_source_at_its_own_rate_passes_unchanged() {
        let ntsc = Rational::new(1001, 30000);
        let frames: Vec<_> = (0..300).map(|i| (Some(i), 1)).collect();
        let (out, dropped, repeated) = run((30000, 1001), ntsc, &frames);
        assert_eq!(out, (0..300).map(|i| (i as usize, i)).collect::<Vec<_>>());
        assert_eq!((dropped, repeated), (0, 0));
        // The same film with its times rounded to milliseconds, as Matroska has them, and no durations.
        let rounded: Vec<_> = (0..300).map(|i| (Some(rescale(i, ntsc, MS, Rounding::Nearest)), 0)).collect();
        let (out, dropped, repeated) = run((30000, 1001), MS, &rounded);
        assert_eq!(out.len(), 300);
        assert_eq!((dropped, repeated), (0, 0));
    }

    #[test]
    fn halving_drops_and_doubling_repeats() {
        let frames: Vec<_> = (0..50).map(|i| (Some(i * 20), 20)).collect();
        let (out, dropped, _) = run((25, 1), MS, &frames);
        assert_eq!((out.len(), dropped), (25, 25));
        let (out, _, repeated) = run((100, 1), MS, &frames);
        assert_eq!((out.len(), repeated), (100, 50));
        assert_eq!(out[3], (1, 3));
    }

    #[test]
    fn gaps_are_filled_and_disorder_and_missing_times_survive() {
        let (out, _, repeated) = run((10, 1), MS, &[(Some(0), 100), (Some(500), 100)]);
        assert_eq!(out, [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 5)]);
        assert_eq!(repeated, 4);
        let (out, dropped, _) =
            run((10, 1), MS, &[(Some(0), 100), (Some(200), 100), (Some(100), 100), (None, 100)]);
        assert_eq!(out, [(0, 0), (0, 1), (1, 2), (3, 3)]);
        assert_eq!(dropped, 1);
        let (out, ..) = run((10, 1), MS, &[(None, 0), (None, 0), (None, 0)]);
        assert_eq!(out, [(0, 0), (1, 1), (2, 2)]);
    }

    #[test]
    fn another_rate_goes_on_behind_what_is_out() {
        let mut grid = Grid::new(Rational::new(10, 1));
        let mut out = Vec::new();
        let mut emit = |item, slot: Slot| {
            out.push((item, Timestamp::new(slot.index, slot.base).seconds()));
            Ok(())
        };
        for n in 0..20 {
            if n == 10 {
                grid.retime(Rational::new(5, 1));
            }
            let time = Timestamp::new(n * 100, MS);
            grid.push(n, Some(time), Timestamp::new(100, MS), false, &mut emit).unwrap();
        }
        grid.finish(&mut emit).unwrap();
        let times: Vec<f64> = out.iter().map(|o| o.1).collect();
        let wanted: Vec<f64> =
            (0..9).map(|n| n as f64 / 10.0).chain((5..10).map(|n| n as f64 / 5.0)).collect();
        assert_eq!(times.len(), wanted.len(), "{out:?}");
        assert!(times.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-9), "{out:?}");
    }

    /// Times in milliseconds, and keys, of what [`Repace`] makes of frames of 20 ms.
    fn repaced(frames: std::ops::Range<i64>, rates: &[(i64, i32)], length: i64) -> Vec<(i64, bool)> {
        let media = ghoststream_sys::ffmpeg::Frame::alloc_video(
            crate::frame::PixelFormat::from_name("gray").unwrap(),
            2,
            2,
            0,
        );
        let picture = Frame::new(media.unwrap(), MS);
        let (mut stage, mut out) = (Repace::new(), Vec::new());
        for n in frames {
            if let Some((_, rate)) = rates.iter().find(|(at, _)| *at == n) {
                stage.control(&Control::FrameRate(Rational::new(*rate, 1))).unwrap();
            }
            let mut frame = picture.clone();
            (frame.pts, frame.duration, frame.force_key) = (Some(n * 20), length, n == 11);
            stage.push(frame, &mut out).unwrap();
        }
        out.iter().map(|f| (f.presentation().unwrap().to(MS).ticks, f.force_key)).collect()
    }

    #[test]
    fn pacing_drops_and_repeats_and_keeps_the_wish_for_a_key_frame() {
        let plain = repaced(0..5, &[], 20);
        assert_eq!(plain, [(0, false), (20, false), (40, false), (60, false), (80, false)]);
        let half = repaced(0..20, &[(10, 25)], 20);
        assert_eq!(
            half[..10].iter().map(|f| f.0).collect::<Vec<_>>(),
            (0..10).map(|n| n * 20).collect::<Vec<_>>()
        );
        assert_eq!(half[10..], [(200, false), (240, true), (280, false), (320, false), (360, false)]);
        let twice = repaced(0..6, &[(3, 100)], 20);
        assert_eq!(
            twice.iter().map(|f| f.0).collect::<Vec<_>>(),
            [0, 20, 40, 60, 70, 80, 90, 100],
            "the last is given once, when it comes"
        );
        // Of a variable rate nothing is repeated, and there and back is as it was.
        let variable = repaced(0..4, &[(0, 100)], 0);
        assert_eq!(variable.iter().map(|f| f.0).collect::<Vec<_>>(), [0, 20, 40, 60]);
        let back = repaced(0..20, &[(4, 25), (12, 50)], 20);
        let times: Vec<i64> = back.iter().map(|f| f.0).collect();
        assert_eq!(times, [0, 20, 40, 60, 80, 120, 160, 200, 240, 260, 280, 300, 320, 340, 360, 380]);
    }

    #[test]
    fn a_reset_clock_goes_on_without_a_gap() {
        let (out, dropped, _) =
            run((10, 1), MS, &[(Some(50_000), 100), (Some(50_100), 100), (Some(0), 100), (Some(100), 100)]);
        assert_eq!(out, [(0, 500), (1, 501), (2, 502), (3, 503)]);
        assert_eq!(dropped, 0);
        let (out, ..) =
            run((10, 1), MS, &[(Some(0), 100), (Some(1 << 50), 100), (Some((1 << 50) + 100), 100)]);
        assert_eq!(out, [(0, 0), (1, 1), (2, 2)]);
    }

    #[test]
    fn even_one_tiny_frame_is_shown() {
        let (out, ..) = run((10, 1), MS, &[(Some(0), 1)]);
        assert_eq!(out, [(0, 0)]);
    }

    /// For random variable-rate input: slots are consecutive, each shows the newest frame due, and frames are
    /// conserved (in = shown + dropped, out = shown + repeated).
    #[test]
    fn properties_of_random_input() {
        let mut seed = 7u64;
        let mut random = |n: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % n
        };
        for _ in 0..500 {
            let rate = [(24, 1), (30000, 1001), (10, 1), (120, 1)][random(4) as usize];
            let base = [MS, Rational::new(1, 90000), Rational::new(1, 24)][random(3) as usize];
            let step = rescale(1, Rational::new(1, 8), base, Rounding::Up) as u64;
            let mut t = random(1000) as i64 - 500;
            let mut frames = Vec::new();
            for _ in 0..1 + random(60) {
                frames.push((Some(t), 0));
                t += random(step + 1) as i64;
            }
            let (out, dropped, repeated) = run(rate, base, &frames);
            let grid = Rational::new(rate.1, rate.0);
            for pair in out.windows(2) {
                assert_eq!(pair[1].1, pair[0].1 + 1);
            }
            for (item, slot) in &out {
                let due = |f: &(Option<i64>, i64)| {
                    rescale(f.0.unwrap_or(0), base, grid, Rounding::Nearest) <= *slot
                };
                assert_eq!(*item, frames.iter().rposition(due).unwrap());
            }
            let mut shown: Vec<_> = out.iter().map(|o| o.0).collect();
            shown.dedup();
            assert_eq!(frames.len() as u64, shown.len() as u64 + dropped);
            assert_eq!(out.len() as u64, shown.len() as u64 + repeated);
        }
    }
}
