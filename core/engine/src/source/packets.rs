//! Where coded packets come from: a container that is read, or the application, which pushes them.

use crate::error::{Error, ErrorKind, Result};
use crate::link::{LinkStats, Monitor, Overflow, Receiver, Sender, link};
use crate::packet::{MediaKind, Packet, StreamInfo};
use crate::time::{Rounding, TimeBase, check_time, rescale};
use ghoststream_sys::ffmpeg as av;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Where coded packets come from.
pub(crate) enum PacketSource {
    /// A container that FFmpeg reads.
    Container(av::Demuxer),
    /// The application.
    Application(FedPackets),
}

/// What reading gave.
pub(crate) enum Next {
    /// A packet, in its stream's base, and whether the container says that it is incomplete.
    Packet(Packet, bool),
    /// A packet of a stream that nobody wants.
    Unwanted,
    /// There are no more.
    End,
}

impl PacketSource {
    /// The next packet. `base` is the base of a stream that somebody wants.
    ///
    /// # Errors
    /// Those of the demuxer.
    pub fn next(&mut self, base: impl Fn(usize) -> Option<TimeBase>) -> std::result::Result<Next, av::Error> {
        Ok(match self {
            PacketSource::Container(demuxer) => match demuxer.read()? {
                None => Next::End,
                Some(packet) => match base(packet.stream_index()) {
                    Some(base) => Next::Packet(Packet::from_av(&packet, base), packet.is_corrupt()),
                    None => Next::Unwanted,
                },
            },
            PacketSource::Application(fed) => match fed.receiver.recv() {
                None => Next::End,
                Some(packet) => match base(packet.stream) {
                    Some(base) => Next::Packet(in_base(packet, base), false),
                    None => Next::Unwanted,
                },
            },
        })
    }

    /// Whether what is there is still to be used when the job is told to stop.
    pub fn is_fed(&self) -> bool {
        matches!(self, PacketSource::Application(_))
    }

    /// The container, if there is one.
    pub fn container(&mut self) -> Option<&mut av::Demuxer> {
        match self {
            PacketSource::Container(demuxer) => Some(demuxer),
            PacketSource::Application(_) => None,
        }
    }
}

fn in_base(mut packet: Packet, base: TimeBase) -> Packet {
    if packet.base != base {
        let to = |t: i64| rescale(t, packet.base, base, Rounding::Nearest);
        (packet.pts, packet.dts) = (packet.pts.map(to), packet.dts.map(to));
        packet.duration = to(packet.duration);
        packet.base = base;
    }
    packet
}

/// Packets that wait unless the document says otherwise: a second or two of pictures and sound.
const QUEUE: usize = 128;

/// The engine's end of packets that the application pushes.
pub(crate) struct FedPackets {
    receiver: Receiver<Packet>,
}

/// The application's end.
pub(crate) struct PacketFeed {
    sender: Sender<Packet>,
    /// Of each stream: its kind, and whether it waits for a key frame, because something before was lost.
    streams: Vec<(MediaKind, AtomicBool)>,
    live: bool,
    dropped: Arc<AtomicU64>,
    /// One packet at a time decides whether there is room.
    turn: Mutex<()>,
}

/// A feed for packets of `streams`, and the end that is read.
pub(crate) fn feed(streams: &[StreamInfo], queue: u32, live: bool) -> (PacketFeed, FedPackets) {
    let capacity = if queue == 0 { QUEUE } else { queue as usize };
    let (sender, receiver) = link(capacity, Overflow::Wait);
    let streams = streams.iter().map(|s| (s.kind, AtomicBool::new(false))).collect();
    (
        PacketFeed { sender, streams, live, dropped: Arc::default(), turn: Mutex::new(()) },
        FedPackets { receiver },
    )
}

impl PacketFeed {
    /// Hands `packet` over, waiting for room at most `timeout` (`None` = without limit, or not at all for a live source).
    /// Returns the kind of its stream if it was dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a packet of no stream, without a base or with a time that cannot be reckoned with;
    /// [`ErrorKind::Busy`] when there was no room in time and the source is not live; [`ErrorKind::State`] when the job
    /// reads no more.
    pub fn push(&self, packet: Packet, timeout: Option<Duration>) -> Result<Option<MediaKind>> {
        let (kind, waits) = self.streams.get(packet.stream).ok_or_else(|| {
            let message = format!("{}: the source has {} streams", packet.stream, self.streams.len());
            Error::invalid("packet.stream", message)
        })?;
        if !packet.base.is_positive() {
            return Err(Error::invalid("packet.base", "must be above 0"));
        }
        check_time("packet.pts", packet.pts.unwrap_or(0), packet.duration, packet.base)?;
        check_time("packet.dts", packet.dts.unwrap_or(0), packet.duration, packet.base)?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if waits.load(Ordering::Relaxed) && !packet.key {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return Ok(Some(*kind));
        }
        let timeout = if self.live { timeout.or(Some(Duration::ZERO)) } else { timeout };
        let full = self.sender.send_deadline(packet, timeout).is_err();
        if full && self.sender.is_closed() {
            return Err(Error::new(ErrorKind::State, "the job reads no more"));
        }
        if full && !self.live {
            return Err(Error::new(ErrorKind::Busy, "the packet queue is full"));
        }
        // Sound can go on anywhere; pictures need those that they refer to.
        waits.store(full && *kind == MediaKind::Video, Ordering::Relaxed);
        self.dropped.fetch_add(u64::from(full), Ordering::Relaxed);
        Ok(full.then_some(*kind))
    }

    /// Watches and closes it.
    pub fn monitor(&self) -> Monitor<Packet> {
        self.sender.monitor()
    }

    /// What it has seen, with the packets that were dropped for want of room.
    pub fn stats(&self) -> impl Fn() -> LinkStats + Send + 'static {
        let (monitor, dropped) = (self.monitor(), self.dropped.clone());
        move || LinkStats { dropped: dropped.load(Ordering::Relaxed), ..monitor.stats() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Codec;
    use crate::time::Rational;
    use bytes::Bytes;

    const MS: TimeBase = Rational::new(1, 1000);

    fn streams() -> Vec<StreamInfo> {
        vec![
            StreamInfo::new(MediaKind::Video, Codec::H264, MS),
            StreamInfo::new(MediaKind::Audio, Codec::Aac, MS),
        ]
    }

    fn packet(stream: usize, pts: i64, key: bool) -> Packet {
        Packet { stream, key, ..Packet::new(Bytes::from_static(b"x"), pts, 1, MS) }
    }

    fn waiting(fed: FedPackets) -> Vec<(usize, i64)> {
        let mut source = PacketSource::Application(fed);
        std::iter::from_fn(|| match source.next(|_| Some(MS)).unwrap() {
            Next::Packet(p, _) => Some((p.stream, p.pts.unwrap())),
            _ => None,
        })
        .collect()
    }

    #[test]
    fn a_live_feed_drops_up_to_the_next_key_frame() {
        let (feed, fed) = feed(&streams(), 3, true);
        feed.push(packet(0, 0, true), None).unwrap();
        feed.push(packet(0, 1, false), None).unwrap();
        feed.push(packet(1, 1, true), None).unwrap();
        feed.push(packet(0, 2, false), None).unwrap();
        assert!(matches!(fed.receiver.recv_deadline(None), crate::link::Received::Item(_)));
        assert_eq!(feed.push(packet(0, 3, false), None).unwrap(), Some(MediaKind::Video));
        assert_eq!(feed.push(packet(1, 3, true), None).unwrap(), None);
        assert!(matches!(fed.receiver.recv_deadline(None), crate::link::Received::Item(_)));
        feed.push(packet(0, 4, true), None).unwrap();
        assert_eq!(feed.stats()().dropped, 2, "the one without room, and the one that refers to it");
        drop(feed);
        assert_eq!(waiting(fed), [(1, 1), (1, 3), (0, 4)]);
    }

    #[test]
    fn another_feed_says_that_it_is_full() {
        let (feed, fed) = feed(&streams(), 1, false);
        feed.push(packet(0, 0, true), None).unwrap();
        let full = feed.push(packet(0, 1, false), Some(Duration::ZERO)).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::Busy);
        let none = feed.push(packet(2, 1, false), None).unwrap_err();
        assert!(none.message().starts_with("packet.stream: "), "{none}");
        let far = feed.push(packet(0, i64::MAX, true), None).unwrap_err();
        assert!(far.kind() == ErrorKind::Invalid && far.message().starts_with("packet.pts: "), "{far}");
        drop(fed);
        assert_eq!(feed.push(packet(0, 2, true), None).unwrap_err().kind(), ErrorKind::State);
    }

    #[test]
    fn times_come_in_the_streams_base() {
        let (feed, fed) = feed(&streams(), 0, false);
        let micros = Packet::new(Bytes::new(), 40_000, 20_000, crate::time::MICROSECONDS);
        feed.push(micros, None).unwrap();
        drop(feed);
        assert_eq!(waiting(fed), [(0, 40)]);
    }
}
