//! Goes on with another encoder when one fails in mid-stream.

use super::Encoder;
use super::video::fine_base;
use crate::error::{Error, ErrorKind, Result};
use crate::filter::{Download, Scale, ScaleTarget};
use crate::frame::{Frame, Memory, PixelFormat};
use crate::packet::{Codec, Packet, StreamInfo};
use crate::stage::{Control, Outlet, Stage};
use crate::time::TimeBase;
use bytes::{Bytes, BytesMut};
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

/// An encoder to go on with.
pub struct Substitute {
    /// It, not open yet. It must make no B-frames, so that its decode times fit behind those that are out.
    pub encoder: Box<dyn Encoder>,
    /// The host pixel format that it takes.
    pub format: PixelFormat,
}

/// Called with why the encoder failed and how many frames were lost with it; says so and makes the next one, which gets frames
/// in host memory.
pub type Successor = Box<dyn FnMut(&Error, usize) -> Result<Substitute> + Send>;

/// An encoder with successors. When it fails because of its device, what can be drained is drained, and the frames whose
/// packets have not come out are encoded again by the next one, beginning with a key frame. Frames that are on a device are
/// downloaded for that, which works as long as only the encoder failed.
///
/// Two kinds of frames are lost; they are counted and told: one that is shown before one whose packet is already out cannot be
/// put back, and one in the memory of a device that is gone altogether cannot be read. What decodes on that device goes on by
/// itself ([`crate::decode::failover`]); of what it made before, see [`Failover::losing`].
pub struct Failover {
    now: Box<dyn Encoder>,
    successor: Successor,
    /// Whether times are counted finely ([`VideoEncode::fine`](super::VideoEncode::fine)).
    fine: bool,
    /// The base of all times, of frames as of packets: that of the first frame.
    base: Option<TimeBase>,
    /// Frames whose packets have not come out.
    inside: VecDeque<Frame>,
    taken: Taken,
    /// What the track was announced as, once somebody may have been told.
    announced: Option<StreamInfo>,
    /// Whether somebody asked what it is, and was told.
    told: Cell<bool>,
    convert: Option<Convert>,
    /// The newest frame's time.
    last: Option<i64>,
    /// Changes that hold from now on, for whoever comes next; the last of each kind.
    changes: Vec<Control>,
    wake: Option<Arc<dyn Fn() + Send + Sync>>,
    /// Frames that may come from a device that is gone, and those that did, in a row; called for each.
    unread: Option<(u32, u32, Loss)>,
}

/// Called for a frame that is lost.
pub type Loss = Box<dyn FnMut() + Send>;

/// Makes frames what a substitute takes.
struct Convert {
    to: PixelFormat,
    /// For frames of this format and size.
    by: Option<(PixelFormat, u32, u32, Scale)>,
}

/// What has come out.
#[derive(Default)]
struct Taken {
    last_dts: Option<i64>,
    latest: Option<i64>,
    /// Packets go behind another encoder's.
    follows: bool,
    /// Parameter sets for key packets: the announced ones are another encoder's.
    sets: Bytes,
}

impl Failover {
    /// `first`, and what goes on after it. `fine`: times are counted finely ([`VideoEncode::fine`](super::VideoEncode::fine)).
    pub fn new(first: Box<dyn Encoder>, successor: Successor, fine: bool) -> Self {
        Failover {
            now: first,
            successor,
            fine,
            base: None,
            inside: VecDeque::new(),
            taken: Taken::default(),
            announced: None,
            told: Cell::new(false),
            convert: None,
            last: None,
            changes: Vec::new(),
            wake: None,
            unread: None,
        }
    }

    /// Frames that a substitute cannot read off their device, up to `most` in a row, are lost and told to `loss`: they were
    /// on their way when it was lost, and what decodes goes on elsewhere. Without this they are an error.
    pub fn losing(mut self, most: u32, loss: Loss) -> Self {
        self.unread = Some((most, 0, loss));
        self
    }

    /// Runs `work` of the encoder, noting what comes out.
    fn run(
        &mut self,
        out: &mut dyn Outlet<Packet>,
        work: impl FnOnce(&mut dyn Encoder, &mut dyn Outlet<Packet>) -> Result<()>,
    ) -> Result<()> {
        let mut tap = Tap { inside: &mut self.inside, taken: &mut self.taken, out, closed: None };
        let result = work(&mut *self.now, &mut tap);
        match tap.closed.take() {
            // What downstream says is no failure of the encoder.
            Some(closed) => Err(closed),
            None => result,
        }
    }

    fn recover(&mut self, failure: Error, out: &mut dyn Outlet<Packet>) -> Result<()> {
        // What is asked for and the device does not do can only be found out before anything is coded.
        let unable = failure.kind() == ErrorKind::Unsupported && self.now.stream().is_none();
        if !unable && !matches!(failure.kind(), ErrorKind::Device | ErrorKind::Memory | ErrorKind::Busy) {
            return Err(failure);
        }
        if let Err(e) = self.run(out, |now, out| now.finish(out))
            && e.kind() == ErrorKind::Cancelled
        {
            return Err(e);
        }
        let latest = self.taken.latest;
        let before = self.inside.len();
        self.inside.retain(|f| f.pts.zip(latest).is_none_or(|(pts, latest)| pts > latest));
        let mut unread = None;
        self.inside = std::mem::take(&mut self.inside)
            .into_iter()
            .filter_map(|frame| Download::one(frame).map_err(|e| unread = Some(e)).ok())
            .collect();
        if let Some(e) = unread {
            tracing::warn!(error = %e, "frames inside an encoder that failed cannot be read");
        }
        let lost = before - self.inside.len();
        if self.taken.last_dts.is_some() || self.told.get() {
            self.announced = self.announced.take().or_else(|| self.now.stream().cloned());
            self.taken.follows = true;
            self.taken.sets = Bytes::new();
        }
        let Substitute { mut encoder, format } = (self.successor)(&failure, lost)?;
        if let Some(wake) = &self.wake {
            encoder.wake(wake.clone());
        }
        for change in &self.changes {
            if let Err(e) = encoder.control(change) {
                tracing::warn!(error = %e, "what goes on does not take an earlier change");
            }
        }
        self.now = encoder;
        self.convert = Some(Convert { to: format, by: None });
        let mut again = std::mem::take(&mut self.inside);
        if let Some(first) = again.front_mut() {
            first.force_key = true;
        }
        again.into_iter().try_for_each(|frame| self.encode(frame, out))
    }

    fn encode(&mut self, frame: Frame, out: &mut dyn Outlet<Packet>) -> Result<()> {
        // What is kept is what the encoder gets: a substitute may keep many, and a decoder has few surfaces of its own.
        let there = frame.memory() != Memory::Host;
        let frame = match (self.fitting(frame), &mut self.unread) {
            (Err(_), Some((most, count, loss))) if there && *count < *most => {
                *count += 1;
                loss();
                return Ok(());
            }
            (frame, unread) => {
                if let Some((_, count, _)) = unread {
                    *count = 0;
                }
                frame?
            }
        };
        self.inside.push_back(frame.clone());
        let mut made = Vec::new();
        // Its headers are known only after its first frame.
        let pushed = self.now.push(frame, &mut made);
        self.learn_sets();
        match self.run(out, |_, out| made.into_iter().try_for_each(|p| out.emit(p))).and(pushed) {
            Ok(()) => Ok(()),
            Err(e) => self.recover(e, out),
        }
    }

    /// `frame` as the substitute takes it.
    fn fitting(&mut self, frame: Frame) -> Result<Frame> {
        let Some(Convert { to: format, by: scale }) = &mut self.convert else { return Ok(frame) };
        let frame = Download::one(frame)?;
        let (from, w, h) = (frame.media().format(), frame.media().width(), frame.media().height());
        if from == *format {
            return Ok(frame);
        }
        if !scale.as_ref().is_some_and(|(f, sw, sh, _)| (*f, *sw, *sh) == (from, w, h)) {
            let target = ScaleTarget { format: Some(*format), ..ScaleTarget::size(w, h) };
            *scale = Some((from, w, h, Scale::new(target)));
        }
        let mut out = Vec::new();
        if let Some((.., scale)) = scale {
            scale.push(frame, &mut out)?;
        }
        out.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "a conversion kept a frame back"))
    }

    /// The parameter sets that go into key packets, once the substitute knows them.
    fn learn_sets(&mut self) {
        if self.announced.is_none() || self.convert.is_none() || !self.taken.sets.is_empty() {
            return;
        }
        if let Some(stream) = self.now.stream().filter(|s| s.codec != Codec::Av1) {
            self.taken.sets = stream.extradata.clone();
        }
    }
}

impl Stage<Frame, Packet> for Failover {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Packet>) -> Result<()> {
        // Frames that come at another rate count otherwise; packets do not.
        let base = *self.base.get_or_insert(if self.fine { fine_base(frame.base) } else { frame.base });
        let mut frame = frame.rebased(base);
        // As encoders do it, so that packets can be told by their frames' times.
        let expected = self.last.map(|last| last + frame.duration.max(1));
        frame.pts = frame.pts.or(expected).map(|pts| self.last.map_or(pts, |last| pts.max(last + 1)));
        self.last = frame.pts.or(self.last);
        self.encode(frame, out)
    }

    fn finish(&mut self, out: &mut dyn Outlet<Packet>) -> Result<()> {
        match self.run(out, |now, out| now.finish(out)) {
            Ok(()) => Ok(()),
            Err(e) => {
                self.recover(e, out)?;
                self.finish(out)
            }
        }
    }

    fn control(&mut self, control: &Control) -> Result<()> {
        self.now.control(control)?;
        if matches!(control, Control::Bitrate { .. } | Control::FrameRate(_) | Control::Preset(_)) {
            let kind = std::mem::discriminant(control);
            self.changes.retain(|c| std::mem::discriminant(c) != kind);
            self.changes.push(control.clone());
        }
        Ok(())
    }
}

impl Encoder for Failover {
    fn stream(&self) -> Option<&StreamInfo> {
        let stream = self.announced.as_ref().or_else(|| self.now.stream());
        self.told.set(self.told.get() || stream.is_some());
        stream
    }

    fn description(&self) -> String {
        self.now.description()
    }

    fn poll(&mut self, out: &mut dyn Outlet<Packet>) -> Result<()> {
        match self.run(out, |now, out| now.poll(out)) {
            Ok(()) => Ok(()),
            Err(e) => self.recover(e, out),
        }
    }

    fn wake(&mut self, wake: Arc<dyn Fn() + Send + Sync>) {
        self.now.wake(wake.clone());
        self.wake = Some(wake);
    }
}

/// Notes what passes.
struct Tap<'a> {
    inside: &'a mut VecDeque<Frame>,
    taken: &'a mut Taken,
    out: &'a mut dyn Outlet<Packet>,
    closed: Option<Error>,
}

impl Outlet<Packet> for Tap<'_> {
    fn emit(&mut self, mut packet: Packet) -> Result<()> {
        if let Some(at) = self.inside.iter().position(|f| f.pts == packet.pts) {
            self.inside.remove(at);
        }
        self.taken.latest = self.taken.latest.max(packet.pts);
        if self.taken.follows {
            packet.dts = packet.dts.max(self.taken.last_dts.map(|d| d + 1));
            if packet.key && !self.taken.sets.is_empty() {
                let mut data = BytesMut::with_capacity(self.taken.sets.len() + packet.data.len());
                data.extend_from_slice(&self.taken.sets);
                data.extend_from_slice(&packet.data);
                packet.data = data.freeze();
            }
        }
        self.taken.last_dts = self.taken.last_dts.max(packet.dts);
        self.out.emit(packet).inspect_err(|e| self.closed = Some(e.clone()))
    }
}
