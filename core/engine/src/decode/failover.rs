//! Goes on in software when a device stops decoding in mid-stream.

use super::Damage;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Frame, Memory};
use crate::packet::Packet;
use crate::stage::{Outlet, Stage};
use crate::time::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The most that is kept to be decoded again: a group of pictures of what is sent over networks has a few megabytes.
pub const KEPT: usize = 64 << 20;

/// A decoder of pictures.
pub type PictureDecoder = Box<dyn Stage<Packet, Frame>>;

/// Called once, with why the decoder failed; says so and makes the one that goes on.
pub type Successor = Box<dyn FnOnce(&Error) -> Result<PictureDecoder> + Send>;

/// Called once it is known how many pictures are gone between the two decoders, if any are.
pub type Loss = Box<dyn FnMut(u64) + Send>;

/// Whether nobody wants the pictures any more.
pub type GivenUp = Box<dyn Fn() -> bool + Send>;

/// A decoder on a device, with another behind it. What it was given since the last key picture is kept, so that the other
/// can decode it again when it fails; pictures that are out already are left out then.
///
/// A picture that downstream cannot get off the device counts as one that was not decoded. Nothing is lost, but where a
/// group of pictures has more bytes than are kept: decoding then goes on at the next key picture, and what is missing is
/// counted. Damage is the decoders' own affair: both skip it, and what the first was given is not counted again.
pub struct Failover {
    now: PictureDecoder,
    successor: Option<Successor>,
    loss: Loss,
    given_up: GivenUp,
    damage: Arc<Damage>,
    kept: Kept,
    out: Given,
    /// The next packet that is decoded is a key picture's; those before it are lost.
    waits: bool,
    lost: u64,
}

impl Failover {
    /// `first`, and what goes on after it; at most `limit` bytes are kept for it.
    pub fn new(first: PictureDecoder, limit: usize, successor: Successor, loss: Loss) -> Self {
        Failover {
            now: first,
            successor: Some(successor),
            loss,
            given_up: Box::new(|| false),
            damage: Arc::default(),
            kept: Kept::new(limit),
            out: Given::default(),
            waits: false,
            lost: 0,
        }
    }

    /// Ends with [`ErrorKind::Cancelled`] where `given_up` says so while what is kept is decoded again.
    pub fn until(self, given_up: GivenUp) -> Self {
        Failover { given_up, ..self }
    }

    /// Both decoders count damage in `damage`.
    pub fn counting(self, damage: Arc<Damage>) -> Self {
        Failover { damage, ..self }
    }

    /// Runs `work` of the decoder, noting what comes out.
    fn run(
        &mut self,
        out: &mut dyn Outlet<Frame>,
        work: impl FnOnce(&mut dyn Stage<Packet, Frame>, &mut dyn Outlet<Frame>) -> Result<()>,
    ) -> std::result::Result<(), Failed> {
        let mut tap = Tap { given: &mut self.out, out, downstream: None };
        let result = work(&mut *self.now, &mut tap);
        match tap.downstream.take() {
            Some(failed) => Err(failed),
            None => result.map_err(Failed::Decoder),
        }
    }

    /// `unseen`: packets at the end of what is kept that the failed decoder did not take.
    fn recover(&mut self, failed: Failed, unseen: usize, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let failure = match failed {
            Failed::Downstream(e) => return Err(e),
            Failed::Decoder(e) | Failed::Unread(e) => e,
        };
        // What is no media for one decoder is none for another.
        if matches!(failure.kind(), ErrorKind::Cancelled | ErrorKind::Format) {
            return Err(failure);
        }
        let Some(successor) = self.successor.take() else { return Err(failure) };
        self.now = successor(&failure)?;
        let kept = std::mem::replace(&mut self.kept, Kept::new(0));
        self.lost = kept.lost(&self.out);
        self.waits = kept.groups.is_empty();
        self.out.catch_up(&kept);
        let seen = kept.groups.iter().map(|group| group.packets.len()).sum::<usize>().saturating_sub(unseen);
        for (at, packet) in kept.groups.into_iter().flat_map(|group| group.packets).enumerate() {
            if (self.given_up)() {
                return Err(Error::cancelled());
            }
            self.damage.counted.store(at < seen, Ordering::Relaxed);
            self.go_on(packet, out)?;
        }
        self.damage.counted.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Decodes with the one that goes on.
    fn go_on(&mut self, packet: Packet, out: &mut dyn Outlet<Frame>) -> Result<()> {
        if self.waits && !packet.key {
            self.lost += u64::from(self.out.misses(packet.presentation()));
            return Ok(());
        }
        self.waits = false;
        self.tell();
        self.run(out, |now, out| now.push(packet, out)).map_err(Failed::error)
    }

    /// Says what is lost, once that is known.
    fn tell(&mut self) {
        if let lost @ 1.. = std::mem::take(&mut self.lost) {
            (self.loss)(lost);
        }
    }
}

impl Stage<Packet, Frame> for Failover {
    fn push(&mut self, packet: Packet, out: &mut dyn Outlet<Frame>) -> Result<()> {
        if self.successor.is_none() {
            return self.go_on(packet, out);
        }
        self.kept.keep(&packet);
        match self.run(out, |now, out| now.push(packet, out)) {
            Ok(()) => {
                self.kept.forget(&self.out);
                Ok(())
            }
            Err(failed) => self.recover(failed, 1, out),
        }
    }

    fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        if let Err(failed) = self.run(out, |now, out| now.finish(out)) {
            if self.successor.is_some() {
                self.recover(failed, 0, out)?;
                return self.finish(out);
            }
            let e = failed.error();
            // The last packets alone may be damaged, which both decoders count: there are pictures.
            if e.kind() != ErrorKind::Format || self.out.count == 0 {
                return Err(e);
            }
        }
        self.tell();
        Ok(())
    }
}

/// Who failed.
enum Failed {
    Decoder(Error),
    /// Whoever wanted to read a picture that is on the device.
    Unread(Error),
    Downstream(Error),
}

impl Failed {
    fn error(self) -> Error {
        match self {
            Failed::Decoder(e) | Failed::Unread(e) | Failed::Downstream(e) => e,
        }
    }
}

/// What has come out.
#[derive(Default)]
struct Given {
    /// Of how many pictures, and the end of the newest.
    count: u64,
    last: Option<Timestamp>,
    end: Option<i64>,
    again: Option<Again>,
    /// Ticks by which the times of a stream without any are behind those that its first decoder gave it.
    shift: i64,
}

/// Pictures that come a second time.
enum Again {
    /// Until one is shown later than the newest that is out.
    Timed,
    /// So many: their packets have no times.
    Counted(u64),
}

impl Given {
    /// From now on pictures come that another decoder makes of what is kept.
    fn catch_up(&mut self, kept: &Kept) {
        self.again = Some(match kept.untimed {
            true => Again::Counted(self.count.saturating_sub(kept.before())),
            false => Again::Timed,
        });
    }

    /// Whether a picture that is shown then is not out.
    fn misses(&self, at: Option<Timestamp>) -> bool {
        at.zip(self.last).is_none_or(|(at, last)| at > last)
    }

    /// `frame`, unless it is out already.
    fn fresh(&mut self, mut frame: Frame) -> Option<Frame> {
        match self.again {
            Some(Again::Timed) if !self.misses(frame.presentation()) => return None,
            Some(Again::Counted(left @ 1..)) => {
                self.again = Some(Again::Counted(left - 1));
                return None;
            }
            Some(Again::Counted(_)) => {
                // Its decoder counts from the key picture on.
                let behind = frame.pts.zip(self.end).map(|(pts, end)| end - pts);
                self.shift = behind.filter(|behind| *behind > 0).unwrap_or(0);
                self.again = None;
            }
            Some(Again::Timed) => self.again = None,
            None => {}
        }
        frame.pts = frame.pts.map(|pts| pts + self.shift);
        Some(frame)
    }
}

/// Notes what passes.
struct Tap<'a> {
    given: &'a mut Given,
    out: &'a mut dyn Outlet<Frame>,
    downstream: Option<Failed>,
}

impl Outlet<Frame> for Tap<'_> {
    fn emit(&mut self, frame: Frame) -> Result<()> {
        let Some(frame) = self.given.fresh(frame) else { return Ok(()) };
        let (at, end) = (frame.presentation(), frame.end().map(|end| end.ticks));
        let there = frame.memory() != Memory::Host;
        if let Err(e) = self.out.emit(frame) {
            self.downstream = Some(match there && e.kind() != ErrorKind::Cancelled {
                true => Failed::Unread(e.clone()),
                false => Failed::Downstream(e.clone()),
            });
            return Err(e);
        }
        self.given.count += 1;
        self.given.last = self.given.last.max(at);
        self.given.end = end.or(self.given.end);
        Ok(())
    }
}

/// Packets from a key picture to the next.
struct Group {
    packets: Vec<Packet>,
    bytes: usize,
    /// Packets that came before.
    before: u64,
}

/// What was given to the decoder and may have to be decoded again.
struct Kept {
    limit: usize,
    groups: VecDeque<Group>,
    bytes: usize,
    /// When pictures are shown whose packets were too many to keep.
    gone: Vec<Timestamp>,
    /// Packets so far.
    count: u64,
    /// Whether one did not say when it is shown.
    untimed: bool,
}

impl Kept {
    fn new(limit: usize) -> Self {
        Kept { limit, groups: VecDeque::new(), bytes: 0, gone: Vec::new(), count: 0, untimed: false }
    }

    fn keep(&mut self, packet: &Packet) {
        // No picture, and the decoder is not shown it.
        if packet.data.is_empty() {
            return;
        }
        self.untimed |= packet.pts.is_none();
        if packet.key || self.count == 0 {
            self.groups.push_back(Group { packets: Vec::new(), bytes: 0, before: self.count });
        }
        self.count += 1;
        match self.groups.back_mut() {
            Some(group) => {
                group.packets.push(packet.clone());
                group.bytes += packet.data.len();
                self.bytes += packet.data.len();
            }
            None => self.gone.extend(packet.presentation()),
        }
        while self.bytes > self.limit
            && let Some(group) = self.groups.pop_front()
        {
            self.bytes -= group.bytes;
            self.gone.extend(group.packets.iter().filter_map(Packet::presentation));
        }
    }

    /// Drops groups all of whose pictures are out: a picture of a later one is. Pictures come out as they are shown.
    fn forget(&mut self, out: &Given) {
        while let Some(next) = self.groups.get(1) {
            let begun = match (self.untimed, next.packets.first().and_then(Packet::presentation)) {
                (false, Some(key)) => out.last.is_some_and(|last| last >= key),
                _ => out.count > next.before,
            };
            if !begun {
                break;
            }
            if let Some(group) = self.groups.pop_front() {
                self.bytes -= group.bytes;
            }
            self.gone.clear();
        }
        // One group may be endless.
        if self.gone.len() > 1024 {
            self.gone.retain(|at| out.misses(Some(*at)));
        }
    }

    /// Packets before those that are decoded again.
    fn before(&self) -> u64 {
        self.groups.front().map_or(self.count, |group| group.before)
    }

    /// Pictures that are not out and whose packets are not here.
    fn lost(&self, out: &Given) -> u64 {
        if self.untimed {
            return self.before().saturating_sub(out.count);
        }
        self.gone.iter().filter(|at| out.misses(Some(**at))).count() as u64
    }
}
