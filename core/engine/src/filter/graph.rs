//! The stage that carries libavfilter's filters.

use crate::error::{Error, Result};
use crate::frame::{AudioParams, Frame, Memory, VideoParams};
use crate::stage::{Outlet, Stage};
use crate::time::{Rational, Rounding, TimeBase, Timestamp, rescale};
use ghoststream_sys::ffmpeg as av;
use std::collections::VecDeque;

/// What comes in.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Params {
    Video(VideoParams),
    Audio(AudioParams),
}

impl Params {
    pub(super) fn of(frame: &Frame) -> Params {
        if frame.is_video() { Params::Video(frame.video()) } else { Params::Audio(frame.audio()) }
    }

    /// The picture's parameters.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for sound.
    pub(super) fn video(&self) -> Result<&VideoParams> {
        match self {
            Params::Video(v) => Ok(v),
            Params::Audio(_) => Err(Error::invalid("filter", "a video filter was given sound")),
        }
    }
}

/// Finishing touch on each frame that leaves a graph.
pub(super) type Touch = Box<dyn Fn(&mut av::Frame) -> Result<()> + Send>;

/// Makes a new picture of each, at the same time, by code of our own.
pub(super) type Make = Box<dyn FnMut(&av::Frame) -> Result<av::Frame> + Send>;

/// What to do with frames of certain parameters.
pub(super) enum Recipe {
    /// Hand them on untouched.
    Pass,
    /// Hand them on with changed properties, sharing the pixels.
    Retag(Touch),
    /// Send them through the filters of this string, then give each a finishing touch.
    Graph(String, Option<Touch>),
    /// Hand on what this makes of each.
    Make(Make),
}

/// Decides on a [`Recipe`] from the parameters and the first frame that has them.
pub(super) type Plan = Box<dyn FnMut(&Params, &Frame) -> Result<Recipe> + Send>;

/// One libavfilter chain as a stage. It configures itself from its first frame; when the parameters or the base
/// change, it drains what is inside and starts anew. Output base: the chain's own, which is the input's for every
/// filter that keeps one frame for one.
pub(super) struct AvFilter {
    name: &'static str,
    plan: Plan,
    threads: u32,
    /// Whether the chain works on frames in device memory instead of host memory.
    device: bool,
    active: Option<Active>,
    /// Times at which a key frame was asked for and that have not come out yet.
    keys: VecDeque<Timestamp>,
}

struct Active {
    params: Params,
    base: TimeBase,
    /// The pool of device frames, which filters are bound to.
    pool: usize,
    kind: Kind,
}

enum Kind {
    Pass,
    Retag(Touch),
    Graph(Box<Chain>),
    Make(Maker),
}

/// Makes pictures, each that its source gives several times in a row only once.
struct Maker {
    make: Make,
    last: Option<(u64, av::Frame)>,
}

impl Maker {
    fn make(&mut self, frame: &Frame) -> Result<av::Frame> {
        if let (Some(number), Some((last, made))) = (frame.number(), &self.last)
            && number == *last
        {
            return Ok(made.try_clone()?);
        }
        let made = (self.make)(frame.media())?;
        self.last = match frame.number() {
            Some(number) => Some((number, made.try_clone()?)),
            None => None,
        };
        Ok(made)
    }
}

struct Chain {
    graph: av::FilterGraph,
    touch: Option<Touch>,
    out_base: TimeBase,
    audio: bool,
    /// Length of an output frame, where the chain makes frames of its own.
    length: Option<i64>,
}

impl AvFilter {
    /// A chain that `plan` describes; `name` stands in error messages.
    pub(super) fn new(name: &'static str, plan: Plan) -> Self {
        AvFilter { name, plan, threads: 1, device: false, active: None, keys: VecDeque::new() }
    }

    /// Lets the chain use `threads` threads; one without this.
    pub(super) fn threads(mut self, threads: u32) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Makes it a chain for frames in device memory.
    pub(super) fn on_device(mut self) -> Self {
        self.device = true;
        self
    }

    /// Drains the chain and forgets its configuration, so that the next frame configures it anew.
    pub(super) fn restart(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        if let Some(Active { kind: Kind::Graph(mut chain), .. }) = self.active.take() {
            let drained = chain.finish(&mut self.keys, out);
            return drained.map_err(|e| e.context(self.name));
        }
        Ok(())
    }

    fn configure(&mut self, frame: &Frame) -> Result<()> {
        let params = Params::of(frame);
        let on_device = frame.memory() != Memory::Host;
        if on_device != self.device {
            return Err(Error::unsupported(match on_device {
                true => "frames in device memory; download them first",
                false => "frames in host memory; upload them first",
            }));
        }
        let kind = match (self.plan)(&params, frame)? {
            Recipe::Pass => Kind::Pass,
            Recipe::Retag(touch) => Kind::Retag(touch),
            Recipe::Make(make) => Kind::Make(Maker { make, last: None }),
            Recipe::Graph(text, touch) => {
                Kind::Graph(Box::new(Chain::new(&text, touch, &params, frame, self.threads)?))
            }
        };
        self.active = Some(Active { params, base: frame.base, pool: frame.media().pool_id(), kind });
        Ok(())
    }

    fn run(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let pool = frame.media().pool_id();
        let same = |a: &Active| a.base == frame.base && a.pool == pool && a.params == Params::of(&frame);
        if !self.active.as_ref().is_some_and(same) {
            self.restart(out)?;
            self.configure(&frame)?;
        }
        match self.active.as_mut().map(|a| &mut a.kind) {
            Some(Kind::Graph(chain)) => {
                if frame.force_key {
                    self.keys.extend(frame.presentation());
                }
                chain.push(frame.to_media()?, &mut self.keys, out)
            }
            Some(Kind::Retag(touch)) => {
                let mut media = frame.to_media()?;
                touch(&mut media)?;
                out.emit(frame.with_media(media))
            }
            Some(Kind::Make(maker)) => {
                let media = maker.make(&frame)?;
                out.emit(frame.with_media(media))
            }
            _ => out.emit(frame),
        }
    }
}

impl Stage<Frame, Frame> for AvFilter {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let mut down = Downstream { out, failed: false };
        let result = self.run(frame, &mut down);
        // What the outlet said is not this filter's failure.
        if down.failed { result } else { result.map_err(|e| e.context(self.name)) }
    }

    fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        self.restart(out)
    }
}

struct Downstream<'a> {
    out: &'a mut dyn Outlet<Frame>,
    failed: bool,
}

impl Outlet<Frame> for Downstream<'_> {
    fn emit(&mut self, frame: Frame) -> Result<()> {
        let result = self.out.emit(frame);
        self.failed |= result.is_err();
        result
    }
}

impl Chain {
    fn new(text: &str, touch: Option<Touch>, params: &Params, frame: &Frame, threads: u32) -> Result<Self> {
        let time_base = (frame.base.num, frame.base.den);
        let pool = frame.media().hw_frames();
        let name = "in".to_string();
        let (input, audio) = match params {
            Params::Video(v) => {
                let rate = frame_rate(frame);
                let input = av::FilterInput::Video {
                    name,
                    format: v.format,
                    width: v.width,
                    height: v.height,
                    time_base,
                    frame_rate: rate.map(|r| (r.num, r.den)),
                    sample_aspect: (v.sample_aspect.num, v.sample_aspect.den),
                    colour: v.colour,
                    hw_frames: pool.as_ref(),
                };
                (input, false)
            }
            Params::Audio(a) => {
                let layout = super::audio::ordered(&a.layout);
                let (format, sample_rate) = (a.format, a.sample_rate);
                (av::FilterInput::Audio { name, format, sample_rate, layout, time_base }, true)
            }
        };
        let output = av::FilterOutput { name: "out".to_string(), audio };
        let graph = av::FilterGraph::new(text, &[input], &[output], threads, None)?;
        let (out, rate) = match graph.output(0)? {
            av::OutputParams::Video { time_base, frame_rate, .. } => (time_base, frame_rate),
            av::OutputParams::Audio { time_base, .. } => (time_base, None),
        };
        let out_base = Rational::new(out.0, out.1);
        let length = match rate {
            Some((num, den)) if out_base != frame.base => {
                Some(rescale(1, Rational::new(den, num), out_base, Rounding::Nearest))
            }
            None if !audio && out_base != frame.base => Some(0),
            _ => None,
        };
        Ok(Chain { graph, touch, out_base, length, audio })
    }

    fn push(
        &mut self,
        media: av::Frame,
        keys: &mut VecDeque<Timestamp>,
        out: &mut dyn Outlet<Frame>,
    ) -> Result<()> {
        self.graph.push(0, Some(&media))?;
        // Given up before pulling, so that filters that write in place need not copy.
        drop(media);
        self.drain(keys, out)
    }

    fn finish(&mut self, keys: &mut VecDeque<Timestamp>, out: &mut dyn Outlet<Frame>) -> Result<()> {
        self.graph.push(0, None)?;
        self.drain(keys, out)
    }

    fn drain(&mut self, keys: &mut VecDeque<Timestamp>, out: &mut dyn Outlet<Frame>) -> Result<()> {
        while let Some(mut media) = self.graph.pull(0)? {
            if let Some(touch) = &self.touch {
                touch(&mut media)?;
            }
            let mut frame = Frame::new(media, self.out_base);
            if self.audio {
                let rate = super::samples::sample_base(frame.media().sample_rate());
                let samples = frame.media().samples() as i64;
                frame.duration = rescale(samples, rate, self.out_base, Rounding::Nearest);
            } else if let Some(length) = self.length {
                frame.duration = length;
            }
            while let (Some(key), Some(pts)) = (keys.front(), frame.presentation())
                && *key <= pts
            {
                keys.pop_front();
                frame.force_key = true;
            }
            out.emit(frame)?;
        }
        Ok(())
    }
}

/// The rate that a frame's length speaks of.
fn frame_rate(frame: &Frame) -> Option<Rational> {
    let num = i64::from(frame.base.den);
    let den = i64::from(frame.base.num).checked_mul(frame.duration).filter(|d| *d > 0)?;
    let (num, den) = (i32::try_from(num).ok()?, i32::try_from(den).ok()?);
    Some(Rational::new(num, den).reduced())
}
