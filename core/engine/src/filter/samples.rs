//! Runs of audio samples: cutting, joining and filling them without any library.

use crate::error::{Error, ErrorKind, Result};
use crate::frame::{AudioParams, Frame};
use crate::stage::Outlet;
use crate::time::{Rational, Rounding, TimeBase, rescale};
use ghoststream_sys::ffmpeg as av;
use std::collections::VecDeque;

/// Samples of silence emitted as one frame at most.
const SILENCE_STEP: usize = 48_000;

/// 1/rate.
pub(super) fn sample_base(rate: u32) -> TimeBase {
    Rational::new(1, i32::try_from(rate).unwrap_or(i32::MAX).max(1))
}

/// A frame of `count` silent samples at `pts` in [`sample_base`].
pub(super) fn silence(params: &AudioParams, count: usize, pts: i64) -> Result<Frame> {
    let media = av::Frame::alloc_audio(params.format, params.sample_rate, &params.layout, count)?;
    Ok(timed(media, params.sample_rate, pts))
}

/// `count` samples of `frame` from sample `from` on, copied, with the time of the first of them.
pub(crate) fn slice(frame: &Frame, from: usize, count: usize) -> Result<Frame> {
    let media = join(&mut [(frame.clone(), from)].into(), count)?;
    let base = sample_base(frame.media().sample_rate());
    let offset = rescale(from as i64, base, frame.base, Rounding::Nearest);
    let mut part = Frame::new(media, frame.base);
    part.pts = frame.pts.map(|t| t + offset);
    part.duration = rescale((from + count) as i64, base, frame.base, Rounding::Nearest) - offset;
    Ok(part)
}

fn timed(media: av::Frame, rate: u32, pts: i64) -> Frame {
    let duration = media.samples() as i64;
    let mut frame = Frame::new(media, sample_base(rate));
    frame.pts = Some(pts);
    frame.duration = duration;
    frame
}

/// Takes `count` samples off the front of the queue of (frame, samples used up) into one new frame.
fn join(queue: &mut VecDeque<(Frame, usize)>, count: usize) -> Result<av::Frame> {
    let short = || Error::new(ErrorKind::Internal, "fewer samples queued than counted");
    let params = queue.front().ok_or_else(short)?.0.audio();
    let mut out = av::Frame::alloc_audio(params.format, params.sample_rate, &params.layout, count)?;
    let channels = if params.format.is_planar() { 1 } else { params.layout.channels as usize };
    let unit = params.format.bytes() * channels;
    let mut done = 0;
    while done < count {
        let (frame, used) = queue.front_mut().ok_or_else(short)?;
        let media = frame.media();
        let n = (media.samples() - *used).min(count - done);
        for p in 0..out.plane_count() {
            let from = media.plane(p).get(*used * unit..(*used + n) * unit);
            let to = out.plane_mut(p).and_then(|b| b.get_mut(done * unit..(done + n) * unit));
            let (Some(from), Some(to)) = (from, to) else { return Err(short()) };
            to.copy_from_slice(from);
        }
        (done, *used) = (done + n, *used + n);
        if *used >= frame.media().samples() {
            queue.pop_front();
        }
    }
    Ok(out)
}

/// Makes one unbroken run of samples out of frames of one kind, in frames of exactly `size` samples (the last one may
/// be shorter), in base 1/rate.
///
/// With `follow`, a frame that begins more than a hundredth of a second after the end of the run is preceded by silence, and
/// one that begins that much before it loses what is there already; smaller steps, and all without `follow`, are ignored.
/// Of what swresample shall stretch, the first step comes here whole: it begins anew there, with the time that it is given.
pub(super) struct Line {
    size: Option<usize>,
    follow: bool,
    queue: VecDeque<(Frame, usize)>,
    queued: usize,
    /// Time of the first sample in the queue.
    head: Option<i64>,
    /// The run begins at this sample, whenever its first frame does.
    begin: Option<i64>,
    /// The run begins at this sample where its first frame is later than the second of these.
    not_later: Option<(i64, i64)>,
    /// A frame was dropped whole for its overlap, so that the next one's has to be mended to the sample.
    mending: bool,
}

impl Line {
    pub(super) fn new(size: Option<u32>, follow: bool) -> Self {
        let size = size.filter(|s| *s > 0).map(|s| s as usize);
        Line {
            size,
            follow,
            queue: VecDeque::new(),
            queued: 0,
            head: None,
            begin: None,
            not_later: None,
            mending: false,
        }
    }

    /// Begins the run at sample `begin`: with silence if there is no sound yet, without the sound before it.
    pub(super) fn begin(mut self, begin: i64) -> Self {
        self.begin = Some(begin);
        self
    }

    /// Begins the run at sample `begin`, with silence, where there is no sound up to sample `limit`.
    pub(super) fn begin_not_later(mut self, begin: i64, limit: i64) -> Self {
        self.not_later = Some((begin, limit));
        self
    }

    /// What comes next does not go on where the run ends: it is put to its place to the sample.
    pub(super) fn mend(&mut self) {
        self.mending = true;
    }

    /// Goes on with silence until sample `end`.
    pub(super) fn fill_to(
        &mut self,
        end: i64,
        params: &AudioParams,
        out: &mut dyn Outlet<Frame>,
    ) -> Result<()> {
        let Some(head) = self.head.or(self.begin) else { return Ok(()) };
        self.head = Some(head);
        let missing = end - (head + self.queued as i64);
        if missing > 0 { self.fill(params, missing as u64, out) } else { Ok(()) }
    }

    /// Adds a frame whose samples are all of the same kind as those before.
    pub(super) fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let (rate, total) = (frame.media().sample_rate(), frame.media().samples());
        if total == 0 {
            return Ok(());
        }
        let pts = frame.pts.map(|t| rescale(t, frame.base, sample_base(rate), Rounding::Nearest));
        if let (None, Some((begin, limit)), Some(pts)) = (self.head, self.not_later.take(), pts)
            && pts > limit
        {
            self.begin = Some(begin);
        }
        let begins = self.head.is_none() && self.begin.is_some();
        let head = *self.head.get_or_insert(self.begin.or(pts).unwrap_or(0));
        let mut skip = 0;
        if let (Some(pts), true) = (pts, self.follow || begins) {
            let step = pts - (head + self.queued as i64);
            let tolerance = if self.mending || begins { 0 } else { i64::from(rate) / 100 };
            if step > tolerance {
                self.fill(&frame.audio(), step as u64, out)?;
            } else if step < -tolerance {
                skip = usize::try_from(-step).unwrap_or(usize::MAX).min(total);
            }
        }
        // Sound before the beginning of the run is dropped frame by frame, until there is some that is in it.
        self.mending = skip == total && !begins;
        if skip == total && begins {
            self.head = None;
            return Ok(());
        }
        if skip < total {
            self.queue.push_back((frame, skip));
            self.queued += total - skip;
        }
        self.drain(false, out)
    }

    fn fill(&mut self, params: &AudioParams, mut count: u64, out: &mut dyn Outlet<Frame>) -> Result<()> {
        while count > 0 {
            let n = count.min(SILENCE_STEP as u64) as usize;
            self.queue.push_back((silence(params, n, 0)?, 0));
            self.queued += n;
            count -= n as u64;
            self.drain(false, out)?;
        }
        Ok(())
    }

    /// Emits what is left, as a last, shorter frame.
    pub(super) fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        self.drain(true, out)
    }

    fn drain(&mut self, all: bool, out: &mut dyn Outlet<Frame>) -> Result<()> {
        loop {
            let Some((front, used)) = self.queue.front() else { return Ok(()) };
            let whole = front.media().samples() - used;
            let count = match self.size {
                None => whole,
                Some(size) if self.queued >= size => size,
                Some(_) if all => self.queued,
                Some(_) => return Ok(()),
            };
            let head = self.head.unwrap_or(0);
            let rate = front.media().sample_rate();
            let key = front.force_key;
            let frame = if *used == 0 && whole == count {
                let mut frame = front.clone();
                (frame.pts, frame.duration, frame.base) = (Some(head), count as i64, sample_base(rate));
                self.queue.pop_front();
                frame
            } else {
                let mut frame = timed(join(&mut self.queue, count)?, rate, head);
                frame.force_key = key;
                frame
            };
            self.head = Some(head + count as i64);
            self.queued -= count;
            out.emit(frame)?;
        }
    }
}
