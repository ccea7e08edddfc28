//! [`Stream`]: what ingests publish and readers subscribe to.

use super::timeline::Timeline;
use ghoststream::packet::{MediaKind, Packet, StreamInfo};
use ghoststream::time::{MICROSECONDS, Rounding, rescale};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;

/// The most bytes that wait for one reader.
const QUEUE_BYTES: usize = 32 << 20;
/// The most packets that wait for one reader: half a minute of 60 pictures and two tracks of sound a second.
const QUEUE_PACKETS: usize = 5000;
/// The most bytes since the last key frame that are kept for readers who come.
const GROUP_BYTES: usize = 64 << 20;
/// The most packets since the last key frame that are kept.
const GROUP_PACKETS: usize = 10_000;
/// Packets that are kept of a stream without pictures: what a reader can begin with.
const SOUND_PACKETS: usize = 50;

/// What a stream carries. [`Packet::stream`] counts in `streams`.
#[derive(Clone, Debug)]
pub struct Tracks {
    /// Goes up with each change.
    pub version: u64,
    /// The elementary streams.
    pub streams: Vec<StreamInfo>,
}

impl Tracks {
    /// The track that decides where a reader can begin: the first with pictures.
    pub fn video(&self) -> Option<usize> {
        self.streams.iter().position(|s| s.kind == MediaKind::Video)
    }
}

/// One thing that a reader gets. Packets follow the description of their tracks.
#[derive(Clone, Debug)]
pub enum Item {
    /// What the packets behind it are.
    Tracks(Arc<Tracks>),
    /// A packet, on the stream's own time: 0 at [`Stream::epoch`], rising decode times on every track.
    Packet(Packet),
    /// The publisher is gone. Another one may come: then `Tracks` comes again. The reader decides how long it waits.
    Away,
    /// There is no such stream any more.
    End,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the newest key frame that has been: at once, a little behind.
    Group,
    /// At the next key frame.
    Next,
}

/// A stream. All methods may be called from any thread; a publisher never waits for a reader.
#[derive(Debug)]
pub struct Stream {
    name: String,
    clock: Arc<Clock>,
    state: Mutex<State>,
}

/// How long a publisher's first packets say how far ahead of themselves they come.
const SETTLING: i64 = 3_000_000;
/// The most, in microseconds, that one can be ahead of its clock: more is no live stream, but a file.
const MOST_AHEAD: i64 = 5_000_000;

/// A stream's time, which what is made of it shares.
#[derive(Debug)]
struct Clock {
    epoch: SystemTime,
    began: Instant,
    /// When the first packet came, in microseconds.
    first: OnceLock<i64>,
    /// How far ahead of their time packets have come, in microseconds: encoders hold pictures while they connect, and send
    /// them at once then. The first of them was taken that much before it came.
    ahead: AtomicI64,
}

impl Clock {
    fn new() -> Clock {
        let (epoch, began) = (SystemTime::now(), Instant::now());
        Clock { epoch, began, first: OnceLock::new(), ahead: AtomicI64::new(0) }
    }

    fn now(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    /// A packet of time `at` came `now`.
    fn came(&self, at: i64, now: i64) {
        let first = *self.first.get_or_init(|| now);
        if now - first < SETTLING && (0..=MOST_AHEAD).contains(&(at - now)) {
            self.ahead.fetch_max(at - now, Ordering::Relaxed);
        }
    }
}

#[derive(Debug, Default)]
struct State {
    tracks: Option<Arc<Tracks>>,
    version: u64,
    /// Packets since the last key frame.
    group: VecDeque<Packet>,
    group_bytes: usize,
    readers: Vec<Weak<Queue>>,
    timeline: Timeline,
    counts: Vec<Count>,
    jumps: u64,
    dropped: u64,
    last_packet: Option<Instant>,
    last_key: Option<Instant>,
    link: Option<LinkStats>,
    /// When somebody last asked for what is made of it.
    asked: Option<Instant>,
    derived: Vec<Weak<Stream>>,
    over: bool,
}

#[derive(Clone, Debug)]
struct Count {
    packets: u64,
    bytes: u64,
    keys: u64,
    /// Of the second before the running one.
    rate: (f64, f64),
    since: Instant,
    packets_then: u64,
    bytes_then: u64,
}

impl Count {
    fn new() -> Count {
        Count {
            packets: 0,
            bytes: 0,
            keys: 0,
            rate: (0.0, 0.0),
            since: Instant::now(),
            packets_then: 0,
            bytes_then: 0,
        }
    }

    fn add(&mut self, packet: &Packet) {
        self.packets += 1;
        self.bytes += packet.data.len() as u64;
        self.keys += u64::from(packet.key);
        let seconds = self.since.elapsed().as_secs_f64();
        if seconds >= 1.0 {
            let packets = (self.packets - self.packets_then) as f64 / seconds;
            let bits = (self.bytes - self.bytes_then) as f64 * 8.0 / seconds;
            self.rate = (packets, bits);
            (self.since, self.packets_then, self.bytes_then) = (Instant::now(), self.packets, self.bytes);
        }
    }
}

/// What a stream has seen.
#[derive(Clone, Debug, Serialize)]
pub struct StreamStats {
    /// Every track.
    pub tracks: Vec<TrackStats>,
    /// Who reads now.
    pub readers: usize,
    /// Packets that slow readers lost, all together.
    pub dropped: u64,
    /// How often a publisher's clock jumped.
    pub jumps: u64,
    /// Seconds since the last packet.
    pub idle: Option<f64>,
    /// Seconds since the last key frame of the pictures.
    pub since_key: Option<f64>,
    /// Seconds of the stream's own time reached.
    pub time: f64,
    /// The publisher's connection; `None` where its protocol says nothing of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkStats>,
}

/// The publisher's connection, where its protocol tells. Counts are since it began.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LinkStats {
    /// Round trip, in milliseconds.
    pub rtt_ms: f64,
    /// Bits that came in the last second, repeated ones and headers included.
    pub bitrate: f64,
    /// Packets that came.
    pub packets: u64,
    /// Packets that were missed on the way; most of them come again.
    pub lost: u64,
    /// Packets that came too late, or never.
    pub dropped: u64,
}

/// What one track has seen.
#[derive(Clone, Debug, Serialize)]
pub struct TrackStats {
    /// `video` or `audio`.
    pub kind: &'static str,
    /// FFmpeg's name of the codec.
    pub codec: String,
    /// Packets so far.
    pub packets: u64,
    /// Bytes so far.
    pub bytes: u64,
    /// Key frames so far.
    pub keys: u64,
    /// Packets (frames, of video) in the last second.
    pub rate: f64,
    /// Bits in the last second.
    pub bitrate: f64,
}

impl Stream {
    /// A stream that nobody publishes yet. Its time 0 is now.
    pub fn new(name: impl Into<String>) -> Arc<Stream> {
        Arc::new(Stream { name: name.into(), clock: Arc::new(Clock::new()), state: Mutex::default() })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The wall-clock time of its time 0: with it, `EXT-X-PROGRAM-DATE-TIME` and `availabilityStartTime` are known. It is found
    /// out during the first seconds of its first publisher, and does not change afterwards.
    pub fn epoch(&self) -> SystemTime {
        let ahead = u64::try_from(self.clock.ahead.load(Ordering::Relaxed)).unwrap_or(0);
        self.clock.epoch - Duration::from_micros(ahead)
    }

    /// Whether [`Stream::epoch`] will not change any more.
    pub fn is_settled(&self) -> bool {
        self.clock.first.get().is_some_and(|first| self.clock.now() - first >= SETTLING)
    }

    /// What it carries now; `None` while nobody publishes.
    pub fn tracks(&self) -> Option<Arc<Tracks>> {
        self.lock().tracks.clone()
    }

    /// How many read it.
    pub fn readers(&self) -> usize {
        self.lock().readers.iter().filter(|r| r.strong_count() > 0).count()
    }

    /// What it has seen.
    pub fn stats(&self) -> StreamStats {
        let state = self.lock();
        let streams = state.tracks.as_ref().map(|t| t.streams.as_slice()).unwrap_or_default();
        let tracks = streams.iter().zip(&state.counts).map(|(info, count)| TrackStats {
            kind: info.kind.name(),
            codec: info.codec.name().into(),
            packets: count.packets,
            bytes: count.bytes,
            keys: count.keys,
            rate: count.rate.0,
            bitrate: count.rate.1,
        });
        StreamStats {
            tracks: tracks.collect(),
            readers: state.readers.iter().filter(|r| r.strong_count() > 0).count(),
            dropped: state.dropped,
            jumps: state.jumps,
            idle: state.last_packet.map(|t| t.elapsed().as_secs_f64()),
            since_key: state.last_key.map(|t| t.elapsed().as_secs_f64()),
            time: state.timeline.latest().unwrap_or(0) as f64 / 1e6,
            link: state.link.clone(),
        }
    }

    /// When it was last wanted: now, while it or a stream derived from it has readers that are not [`Stream::work_on`]'s; else
    /// when [`Stream::ask`] was last called. `None` when it never was.
    pub fn wanted(&self) -> Option<Instant> {
        let (mut asked, derived) = {
            let mut state = self.lock();
            if state.readers.iter().filter_map(Weak::upgrade).any(|queue| !queue.works) {
                // Also what is said once they are gone.
                state.asked = Some(Instant::now());
                return state.asked;
            }
            (state.asked, state.derived.clone())
        };
        for stream in derived.iter().filter_map(Weak::upgrade) {
            asked = asked.max(stream.wanted());
        }
        asked
    }

    /// Says that somebody asks for what is made of it, over HTTP for instance: that fetches a stream that is fetched on demand.
    pub fn ask(&self) {
        self.lock().asked = Some(Instant::now());
    }

    /// Reads it from now on. A stream that nobody publishes can be read: it begins when somebody does.
    pub fn subscribe(&self, start: Start) -> Reader {
        self.read(start, false)
    }

    /// As [`Stream::subscribe`], to make something of it for others: that alone is no reason to fetch it.
    pub fn work_on(&self, start: Start) -> Reader {
        self.read(start, true)
    }

    fn read(&self, start: Start, works: bool) -> Reader {
        let queue = Arc::new(Queue { works, ..Queue::default() });
        let mut state = self.lock();
        {
            let mut inner = queue.lock();
            inner.waits_for_key = true;
            if let Some(tracks) = &state.tracks {
                inner.tell(Item::Tracks(tracks.clone()));
                if start == Start::Group && !state.group.is_empty() {
                    inner.waits_for_key = false;
                    for packet in &state.group {
                        inner.bytes += packet.data.len();
                        inner.items.push_back(Item::Packet(packet.clone()));
                    }
                }
                // Sound alone can begin anywhere.
                inner.waits_for_key &= tracks.video().is_some();
            }
            if state.over {
                inner.tell(Item::End);
            }
        }
        state.readers.retain(|r| r.strong_count() > 0);
        state.readers.push(Arc::downgrade(&queue));
        Reader { queue }
    }

    /// Says what the packets from now on are. For publishers and transcodes.
    pub(super) fn announce(&self, mut streams: Vec<StreamInfo>) {
        let mut guard = self.lock();
        let state = &mut *guard;
        for (index, stream) in streams.iter_mut().enumerate() {
            stream.index = index;
            // That describes the encoder's or demuxer's packets, not those that were made of them for a stream.
            stream.native = None;
        }
        state.version += 1;
        let tracks = Arc::new(Tracks { version: state.version, streams });
        state.counts = vec![Count::new(); tracks.streams.len()];
        state.group.clear();
        state.group_bytes = 0;
        let needs_key = tracks.video().is_some();
        state.each(|queue| {
            queue.waits_for_key = needs_key;
            queue.tell(Item::Tracks(tracks.clone()));
        });
        state.tracks = Some(tracks);
    }

    /// Takes a packet whose times are a publisher's, and which came `age` ago.
    pub(super) fn push(&self, mut packet: Packet, age: Duration) {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let now = self.clock.now().saturating_sub(age).max(0);
        let mut guard = self.lock();
        let kind = guard.tracks.as_ref().and_then(|t| t.streams.get(packet.stream)).map(|s| s.kind);
        let jumped = guard.timeline.date(&mut packet, now, kind == Some(MediaKind::Subtitle));
        guard.jumps += u64::from(jumped);
        let leads = guard.tracks.as_ref().is_some_and(|t| t.video().is_none_or(|v| v == packet.stream));
        if let Some(time) = packet.decode().filter(|_| leads) {
            self.clock.came(time.micros(), now);
        }
        self.take(&mut guard, packet);
    }

    /// Takes a packet whose times are the stream's already (a transcode of another stream with the same epoch).
    pub fn push_dated(&self, packet: Packet) {
        self.take(&mut self.lock(), packet);
    }

    fn take(&self, state: &mut State, packet: Packet) {
        let Some(tracks) = state.tracks.clone() else { return };
        let Some(count) = state.counts.get_mut(packet.stream) else { return };
        count.add(&packet);
        state.last_packet = Some(Instant::now());
        let video = tracks.video();
        let opens = video == Some(packet.stream) && packet.key;
        if opens {
            state.last_key = state.last_packet;
            state.group.clear();
            state.group_bytes = 0;
        }
        if opens || video.is_none() || !state.group.is_empty() {
            state.group_bytes += packet.data.len();
            state.group.push_back(packet.clone());
        }
        if video.is_none() {
            // Text among it is little.
            while state.group.len() > SOUND_PACKETS {
                state.group_bytes -= state.group.pop_front().map_or(0, |p| p.data.len());
            }
        } else if state.group_bytes > GROUP_BYTES || state.group.len() > GROUP_PACKETS {
            // Who comes now waits for the next key frame.
            state.group.clear();
            state.group_bytes = 0;
        }
        let mut dropped = 0;
        state.each(|queue| dropped += queue.push(&packet, opens, video.is_some()));
        state.dropped += dropped;
    }

    /// Notes how the publisher's connection is.
    pub(super) fn note_link(&self, link: LinkStats) {
        self.lock().link = Some(link);
    }

    /// Says that the publisher is gone.
    pub(super) fn leave(&self) {
        let mut state = self.lock();
        state.link = None;
        if state.tracks.take().is_some() {
            state.timeline.next_publisher();
            state.group.clear();
            state.group_bytes = 0;
            state.each(|queue| queue.tell(Item::Away));
        }
    }

    /// Ends it for good.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.over = true;
        state.tracks = None;
        state.each(|queue| queue.tell(Item::End));
    }

    /// A stream with the same time as this one, for a transcode of it.
    pub fn derived(&self, name: impl Into<String>) -> Arc<Stream> {
        let name = name.into();
        let made = Arc::new(Stream { name, clock: self.clock.clone(), state: Mutex::default() });
        let mut state = self.lock();
        state.derived.retain(|s| s.strong_count() > 0);
        state.derived.push(Arc::downgrade(&made));
        made
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Does something with every reader's queue and wakes the reader.
    fn each(&mut self, mut action: impl FnMut(&mut Waiting)) {
        self.readers.retain(|reader| {
            let Some(queue) = reader.upgrade() else { return false };
            action(&mut queue.lock());
            queue.wake();
            true
        });
    }
}

/// What waits for one reader.
#[derive(Debug, Default)]
struct Queue {
    /// Whether what reads makes something of the stream for others.
    works: bool,
    waiting: Mutex<Waiting>,
    some: Condvar,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    waits_for_key: bool,
    dropped: u64,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.some.notify_one();
        self.notify.notify_one();
    }
}

impl Waiting {
    fn tell(&mut self, item: Item) {
        self.items.push_back(item);
    }

    /// Gives how many packets were lost.
    fn push(&mut self, packet: &Packet, opens: bool, has_video: bool) -> u64 {
        let mut lost = 0;
        if self.bytes + packet.data.len() > QUEUE_BYTES || self.items.len() >= QUEUE_PACKETS {
            // All packets go, and the next key frame comes first: nothing is shown whose references are missing.
            let before = self.items.len();
            self.items.retain(|item| !matches!(item, Item::Packet(_)));
            lost += (before - self.items.len()) as u64;
            self.bytes = 0;
            self.waits_for_key = has_video;
        }
        if self.waits_for_key && !opens {
            // Before the first key frame nothing is lost that a reader could have used.
            lost += u64::from(self.dropped + lost > 0);
            self.dropped += lost;
            return lost;
        }
        self.waits_for_key = false;
        self.bytes += packet.data.len();
        self.items.push_back(Item::Packet(packet.clone()));
        self.dropped += lost;
        lost
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        if let Item::Packet(packet) = &item {
            self.bytes = self.bytes.saturating_sub(packet.data.len());
        }
        Some(item)
    }
}

/// One reader of a stream. A reader that is too slow loses whole groups of pictures, and they are counted; nobody waits
/// for it. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Reader {
    queue: Arc<Queue>,
}

impl Reader {
    /// The next item, when there is one. Cancel safe.
    pub async fn next(&mut self) -> Item {
        loop {
            let ready = self.queue.notify.notified();
            if let Some(item) = self.queue.lock().pop() {
                return item;
            }
            ready.await;
        }
    }

    /// The next item, for a reader with a thread of its own; waits at most `timeout`.
    pub fn next_blocking(&mut self, timeout: Duration) -> Option<Item> {
        let waiting = self.queue.lock();
        let (mut waiting, _) = self
            .queue
            .some
            .wait_timeout_while(waiting, timeout, |w| w.items.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        waiting.pop()
    }

    /// The next item, if it is there.
    pub fn try_next(&mut self) -> Option<Item> {
        self.queue.lock().pop()
    }

    /// Packets that it was too slow for.
    pub fn dropped(&self) -> u64 {
        self.queue.lock().dropped
    }

    /// How far the newest packet that waits is ahead of the oldest, in seconds.
    pub fn behind(&self) -> f64 {
        let waiting = self.queue.lock();
        let time = |item: &Item| match item {
            Item::Packet(p) => p.dts.map(|t| rescale(t, p.base, MICROSECONDS, Rounding::Nearest)),
            _ => None,
        };
        let oldest = waiting.items.iter().find_map(time);
        let newest = waiting.items.iter().rev().find_map(time);
        oldest.zip(newest).map_or(0.0, |(a, b)| (b - a) as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_held_while_connecting_came_late() {
        let ahead = |packets: &[(i64, i64)]| {
            let clock = Clock::new();
            packets.iter().for_each(|(at, now)| clock.came(*at, *now));
            clock.ahead.load(Ordering::Relaxed)
        };
        // Twenty pictures at once, then one by one.
        assert_eq!(
            ahead(&[(100_000, 100_000), (900_000, 110_000), (940_000, 150_000), (980_000, 240_000)]),
            790_000
        );
        assert_eq!(ahead(&[(0, 0), (40_000, 45_000), (80_000, 130_000)]), 0, "late");
        assert_eq!(ahead(&[(0, 0), (9_000_000, 100_000)]), 0, "a file");
        assert_eq!(ahead(&[(0, 0), (4_000_000, 3_100_000)]), 0, "it is settled");
        // What is made of it has the same clock.
        let stream = Stream::new("a");
        let made = stream.derived("b");
        stream.clock.came(500_000, 0);
        assert_eq!(made.epoch(), stream.epoch());
        assert!(stream.epoch() < stream.clock.epoch);
    }
}
