//! Sound as the encoder wants it.

use super::graph::{AvFilter, Params, Recipe};
use super::rate::{MAX_GAP, difference, sum};
use super::samples::{Line, sample_base};
use crate::error::{Error, Result};
use crate::frame::{AudioParams, ChannelLayout, Frame};
use crate::spec::LoudnessSpec;
use crate::stage::{Outlet, OutletFn, Stage};
use crate::time::{Rational, Timestamp};

/// A step between the end of one frame and the start of the next beyond this is a gap or an overlap, mended at once;
/// below it is jitter or drift, mended by stretching.
const STEP: Timestamp = Timestamp::new(40, Rational::new(1, 1000));

/// A backward step beyond this is a clock that was set anew.
const RESET: Timestamp = Timestamp::new(1, Rational::new(1, 1));

/// Where sound begins, in samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At this one exactly: with silence, or without what comes before.
    At(i64),
    /// At this one, with silence, where there is no sound up to `limit`; else with the first that comes.
    NotLater {
        /// Where silence begins.
        at: i64,
        /// The last sample at which sound may begin by itself.
        limit: i64,
    },
}

/// What sound is to become.
#[derive(Clone, Debug)]
pub struct AudioTarget {
    /// Rate, layout and sample format.
    pub params: AudioParams,
    /// Samples in a frame, exactly (only the last is shorter); `None` = as they come.
    pub frame_size: Option<u32>,
    /// Gain in dB.
    pub gain_db: Option<f64>,
    /// Loudness normalisation.
    pub loudness: Option<LoudnessSpec>,
    /// Follow the timestamps: fill gaps with silence, drop what overlaps, stretch or squeeze (up to 1000 samples a
    /// second) what drifts. Without it samples follow each other as they come.
    pub sync: bool,
    /// Where it begins, if not with the first that comes.
    pub begin: Option<Begin>,
    /// Go on with silence until this sample if the sound ends before.
    pub until: Option<i64>,
}

/// Resamples, mixes to a layout (the usual coefficients; scaled down so that a full-scale source cannot clip), applies
/// gain and loudness (FFmpeg's `loudnorm` in one dynamic pass; delays sound by 3 s inside, not in its timestamps),
/// keeps the sound on its timestamps and cuts it into the encoder's frames.
///
/// The first sample keeps its true time. Output base: 1/sample rate. Changes of the input's rate, layout or format are
/// taken in stride. A layout that names no places is taken for FFmpeg's default of as many channels. A backward step of
/// more than a second, or a forward one of more than twelve hours, counts as a clock set anew: the sound goes on.
pub struct AudioConform {
    resample: AvFilter,
    line: Line,
    loudness: Option<AvFilter>,
    chunks: Option<Line>,
    sync: bool,
    until: Option<(i64, AudioParams)>,
    /// Where the input should go on, in its own time, and what is added to that.
    expected: Option<Timestamp>,
    shift: Timestamp,
}

impl AudioConform {
    /// A stage for `target`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when rate, layout or format are empty.
    pub fn new(target: AudioTarget) -> Result<Self> {
        let AudioParams { sample_rate, layout, format } = target.params.clone();
        if sample_rate == 0 || layout.channels == 0 || format.bytes() == 0 {
            return Err(Error::invalid("audio", "sample rate, channels and sample format are needed"));
        }
        let form = format!(
            "aformat=sample_fmts={}:sample_rates={sample_rate}:channel_layouts={}",
            format.name(),
            ordered(&layout).name
        );
        let loudness = target.loudness.map(|l| {
            let text = format!(
                "loudnorm=I={}:LRA={}:TP={},aresample={sample_rate},{form}",
                l.integrated, l.range, l.true_peak
            );
            AvFilter::new("loudness", Box::new(move |_, _| Ok(Recipe::Graph(text.clone(), None))))
        });
        let size = target.frame_size;
        let (line, chunks) = match &loudness {
            Some(_) => (Line::new(None, target.sync), Some(Line::new(size, false))),
            None => (Line::new(size, target.sync), None),
        };
        let line = match target.begin {
            Some(Begin::At(sample)) => line.begin(sample),
            Some(Begin::NotLater { at, limit }) => line.begin_not_later(at, limit),
            None => line,
        };
        let until = target.until.map(|end| (end, target.params.clone()));
        let sync = target.sync;
        let resample =
            AvFilter::new("audio", Box::new(move |params, _| Ok(resample(&target, &form, params))));
        Ok(AudioConform {
            resample,
            line,
            loudness,
            chunks,
            sync,
            until,
            expected: None,
            shift: Timestamp::new(0, Rational::new(1, 1)),
        })
    }

    /// Gives the frame the time it shall have; says whether it does not follow on the one before.
    fn place(&mut self, frame: &mut Frame) -> bool {
        let media = frame.media();
        let length = Timestamp::new(media.samples() as i64, sample_base(media.sample_rate()));
        let mut broken = false;
        let start = match (frame.presentation(), self.expected) {
            (Some(pts), Some(expected)) => {
                let step = difference(pts.to(expected.base), expected);
                let back = Timestamp::new(-step.ticks, step.base);
                if back > RESET || step > MAX_GAP {
                    // In ticks of the frame, so that the shift is exact in what the frame is stamped with.
                    self.shift = sum(self.shift.to(frame.base), Timestamp::new(-step.ticks, step.base));
                    broken = true;
                } else {
                    broken = step > STEP || back > STEP;
                }
                pts
            }
            (Some(pts), None) => pts,
            (None, expected) => expected.unwrap_or(Timestamp::new(0, frame.base)),
        };
        // Counted in samples of fine resolution, so that rounding of one base does not pass for drift.
        self.expected = Some(sum(start.to(sample_base(media_rate(frame))), length));
        frame.pts = Some(sum(start.to(frame.base), self.shift).ticks);
        broken
    }
}

fn media_rate(frame: &Frame) -> u32 {
    frame.media().sample_rate()
}

impl Stage<Frame, Frame> for AudioConform {
    fn push(&mut self, mut frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        if frame.is_video() {
            return Err(Error::invalid("audio", "a picture was given to an audio filter"));
        }
        let broken = self.place(&mut frame) && self.sync;
        let AudioConform { resample, line, loudness, chunks, .. } = self;
        let mut last = Tail { loudness, chunks, out };
        let mut to_line = OutletFn(|f| line.push(f, &mut last));
        if broken {
            resample.restart(&mut to_line)?;
            // The new one takes the first time that it gets for right.
            line.mend();
        }
        let mut to_line = OutletFn(|f| line.push(f, &mut last));
        resample.push(frame, &mut to_line)
    }

    fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let AudioConform { resample, line, loudness, chunks, until, .. } = self;
        let mut last = Tail { loudness, chunks, out };
        resample.finish(&mut OutletFn(|f| line.push(f, &mut last)))?;
        if let Some((end, params)) = until {
            line.fill_to(*end, params, &mut last)?;
        }
        line.finish(&mut last)?;
        last.finish()
    }
}

/// What comes after the line: loudness, which must never see a break, and the cutting after it.
struct Tail<'a> {
    loudness: &'a mut Option<AvFilter>,
    chunks: &'a mut Option<Line>,
    out: &'a mut dyn Outlet<Frame>,
}

impl Outlet<Frame> for Tail<'_> {
    fn emit(&mut self, frame: Frame) -> Result<()> {
        match (&mut *self.loudness, &mut *self.chunks) {
            (Some(filter), Some(chunks)) => filter.push(frame, &mut OutletFn(|f| chunks.push(f, self.out))),
            _ => self.out.emit(frame),
        }
    }
}

impl Tail<'_> {
    fn finish(self) -> Result<()> {
        if let (Some(filter), Some(chunks)) = (self.loudness, self.chunks) {
            filter.finish(&mut OutletFn(|f| chunks.push(f, self.out)))?;
            chunks.finish(self.out)?;
        }
        Ok(())
    }
}

pub(super) fn ordered(layout: &ChannelLayout) -> ChannelLayout {
    if layout.name.ends_with(" channels") {
        ChannelLayout::from_channels(layout.channels)
    } else {
        layout.clone()
    }
}

fn resample(target: &AudioTarget, form: &str, params: &Params) -> Recipe {
    let Params::Audio(from) = params else { return Recipe::Pass };
    let gain = target.gain_db.filter(|g| *g != 0.0);
    if *from == target.params && gain.is_none() && !target.sync {
        return Recipe::Pass;
    }
    let mut text = String::from("aresample=rematrix_maxval=1.0");
    if target.sync {
        // Larger steps never reach it: `place` starts a new chain there.
        text += ":async=1000";
    }
    if let Some(gain) = gain {
        // In float, so that a gain above 0 clips once, at the end, and only if the format must.
        let AudioParams { sample_rate, layout, .. } = &target.params;
        let layout = &ordered(layout).name;
        text += &format!(
            ",aformat=sample_fmts=fltp:sample_rates={sample_rate}:channel_layouts={layout},volume=volume={gain}dB:precision=float,aresample"
        );
    }
    Recipe::Graph(format!("{text},{form}"), None)
}
