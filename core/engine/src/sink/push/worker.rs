//! The thread that sends: connects, sends, measures, and connects again.

use super::Hooks;
use super::adapt::{Adapt, Measured};
use super::backoff::Backoff;
use super::buffer::Item;
use super::connection::{Connection, Link, Target};
use super::queue::{Next, Queue};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, PushState};
use crate::spec::PushSpec;
use crate::stage::Control;
use ghoststream_sys::ffmpeg::Interrupt;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Between two looks at the link.
const TICK: Duration = Duration::from_millis(250);
/// Rates are measured over so many looks.
const WINDOW: usize = 8;
/// A connection that held for so long was a good one.
const STEADY: Duration = Duration::from_secs(10);
/// A live source that has ended waits no longer than this for its last packets to go.
const LAST: Duration = Duration::from_secs(5);
/// How long to wait for room in the network's own buffer before looking again.
const ROOM: Duration = Duration::from_millis(5);

/// What ends the blocking call that the thread is in now.
#[derive(Clone, Default)]
pub(super) struct Stop(Arc<Mutex<Interrupt>>);

impl Stop {
    fn renew(&self) -> Interrupt {
        let interrupt = Interrupt::new();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = interrupt.clone();
        interrupt
    }

    pub fn now(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).cancel();
    }
}

/// Everything that the thread has.
pub(super) struct Worker {
    pub queue: Arc<Queue>,
    pub target: Target,
    pub spec: PushSpec,
    pub live: bool,
    pub hooks: Arc<Hooks>,
    pub stop: Stop,
    /// What adapts the encoder's rate, and the lead-in of its first value.
    pub adapt: Option<Adapt>,
}

/// Bytes of pictures and of everything, and when.
struct Sent {
    total: u64,
    video: u64,
    marks: VecDeque<Mark>,
    tick: Duration,
    dropped: u64,
    /// Bits per second of everything, lately, while packets waited; 0 = nothing waits.
    rate: u64,
    /// The shortest round trip so far: what it takes longer is a queue on the way.
    shortest: Option<Duration>,
}

/// What was sent by then.
#[derive(Clone, Copy)]
struct Mark {
    at: Duration,
    total: u64,
    video: u64,
    packets: u64,
    lost: u64,
}

impl Sent {
    /// Adds a mark, and says what happened over the window: bits per second of everything and of pictures, and which part
    /// of the packets was lost.
    fn mark(&mut self, at: Duration, link: &Link) -> (u64, u64, f64) {
        let (packets, lost) = link.srt.map_or((0, 0), |s| (s.packets_sent, s.send_lost));
        let now = Mark { at, total: self.total, video: self.video, packets, lost };
        let then = *self.marks.front().unwrap_or(&now);
        self.marks.push_back(now);
        if self.marks.len() > WINDOW {
            self.marks.pop_front();
        }
        let seconds = at.saturating_sub(then.at).as_secs_f64().max(0.001);
        let rate = |bytes: u64| (bytes as f64 * 8.0 / seconds) as u64;
        let loss = lost.saturating_sub(then.lost) as f64 / packets.saturating_sub(then.packets).max(1) as f64;
        (rate(now.total - then.total), rate(now.video - then.video), loss.min(1.0))
    }

    /// How much longer than the shortest a round trip takes.
    fn queued(&mut self, link: &Link) -> Duration {
        // It begins with a guess.
        let Some(rtt) = link.srt.filter(|s| s.packets_sent > 50).map(|s| s.rtt) else {
            return Duration::ZERO;
        };
        let shortest = self.shortest.unwrap_or(rtt).min(rtt);
        self.shortest = Some(shortest);
        rtt - shortest
    }
}

/// How sending ended.
enum End {
    Complete,
    Broken(Error),
}

impl Worker {
    /// Runs until everything is sent or it is given up. What was last said of the connection is `Ended` or `Failed`.
    ///
    /// # Errors
    /// Why it was given up.
    pub fn run(mut self) -> Result<()> {
        let result = self.push();
        match &result {
            Ok(()) => self.tell(PushState::Ended, 0, None, None),
            Err(e) => {
                if e.kind() != ErrorKind::Cancelled {
                    self.tell(PushState::Failed, 0, None, Some(e));
                }
                self.queue.fail(e.clone());
            }
        }
        result
    }

    fn tell(&self, state: PushState, attempt: u32, retry_in: Option<f64>, why: Option<&Error>) {
        self.hooks.status.update(|s| s.state = state);
        let message = why.map(|e| e.message().to_string());
        tracing::info!(job = self.hooks.job, output = self.hooks.output, ?state, attempt, message, "push");
        (self.hooks.event)(Event::Push { output: self.hooks.output, state, attempt, retry_in, message });
    }

    fn now(&self) -> Duration {
        self.hooks.clock.now()
    }

    fn push(&mut self) -> Result<()> {
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), self.hooks.job);
        let mut backoff = Backoff::new(self.spec.first_delay.0, self.spec.most_delay.0, seed);
        let (mut attempt, mut again) = (0u32, false);
        let mut ended_at = None;
        let state = |again| if again { PushState::Reconnecting } else { PushState::Connecting };
        self.tell(PushState::Connecting, 0, None, None);
        loop {
            let why = match self.connect(&mut ended_at) {
                Ok(connection) => {
                    let began = self.now();
                    self.tell(PushState::Live, attempt, None, None);
                    self.hooks.status.update(|s| s.connections += 1);
                    if self.queue.begin(again) || (again && self.live) {
                        (self.hooks.control)(Control::ForceKeyFrame);
                    }
                    again = true;
                    match self.send(connection) {
                        End::Complete => return Ok(()),
                        End::Broken(e) => {
                            if self.now().saturating_sub(began) >= STEADY {
                                attempt = 0;
                            }
                            e
                        }
                    }
                }
                Err(e) => e,
            };
            if self.queue.is_closed() || why.kind() == ErrorKind::Cancelled {
                return Err(Error::cancelled());
            }
            self.quiet();
            let hopeless = matches!(why.kind(), ErrorKind::Unsupported | ErrorKind::Invalid);
            if hopeless || (!again && !self.spec.retry_start) {
                return Err(why);
            }
            if self.spec.reconnects >= 0 && attempt >= self.spec.reconnects as u32 {
                return Err(why.context(format!("given up after {attempt} reconnects")));
            }
            if self.is_late(&mut ended_at) {
                return Err(why.context("not connected when the stream ended"));
            }
            attempt += 1;
            let delay = backoff.delay(attempt);
            self.tell(state(again), attempt, Some(delay), Some(&why));
            if self.queue.pause(Duration::from_secs_f64(delay)) {
                return Err(Error::cancelled());
            }
        }
    }

    /// Nothing is sent now.
    fn quiet(&mut self) {
        if let Some(adapt) = &mut self.adapt {
            adapt.reset();
        }
        self.hooks.status.update(|s| (s.bitrate, s.rtt) = (0, None));
    }

    /// Whether a live stream ended so long ago that there is no use in going on.
    fn is_late(&self, ended_at: &mut Option<Duration>) -> bool {
        if !self.live || !self.queue.has_ended() {
            return false;
        }
        let at = *ended_at.get_or_insert_with(|| self.now());
        self.now().saturating_sub(at) >= LAST
    }

    fn connect(&self, ended_at: &mut Option<Duration>) -> Result<Connection> {
        let interrupt = self.stop.renew();
        if self.queue.is_closed() {
            return Err(Error::cancelled());
        }
        let ended = std::cell::Cell::new(*ended_at);
        let late = std::cell::Cell::new(false);
        let stop = || {
            let mut at = ended.get();
            late.set(self.is_late(&mut at));
            ended.set(at);
            late.get() || self.queue.is_closed()
        };
        let result = self.target.connect(interrupt, &stop);
        *ended_at = ended.get();
        result.map_err(|e| match late.get() {
            true => Error::new(ErrorKind::Io, "nobody was connected when the stream ended"),
            false => e,
        })
    }

    fn send(&mut self, mut connection: Connection) -> End {
        let mut sent = Sent {
            total: 0,
            video: 0,
            marks: VecDeque::new(),
            tick: self.now(),
            dropped: self.queue.waiting().dropped,
            rate: 0,
            shortest: None,
        };
        let mut stuck = self.now();
        loop {
            self.tick(&mut sent, &connection);
            if !connection.is_alive() {
                return End::Broken(Error::new(ErrorKind::Io, "the connection was lost"));
            }
            if !connection.has_room() {
                if self.now().saturating_sub(stuck) > Duration::from_secs_f64(self.spec.timeout.0) {
                    return End::Broken(Error::new(ErrorKind::Io, "nothing gets through"));
                }
                if self.queue.pause(ROOM) {
                    return End::Broken(Error::cancelled());
                }
                continue;
            }
            stuck = self.now();
            match self.queue.next(TICK) {
                Next::Packet(item) => {
                    let Item { track, packet, video, .. } = *item;
                    let bytes = packet.data.len() as u64;
                    if let Err(e) = connection.write(track, packet) {
                        return End::Broken(e);
                    }
                    sent.total += bytes;
                    sent.video += if video { bytes } else { 0 };
                    self.hooks.status.update(|s| s.bytes += bytes);
                }
                Next::Nothing => {}
                Next::Closed => return End::Broken(Error::cancelled()),
                Next::End => {
                    // What is still in the system's own buffer dies with a connection on which the peer's words are unread.
                    if self.queue.pause(connection.linger(sent.rate)) {
                        return End::Broken(Error::cancelled());
                    }
                    return match connection.finish() {
                        Ok(()) => End::Complete,
                        Err(e) => End::Broken(e),
                    };
                }
            }
        }
    }

    /// Looks at the link when it is time to.
    fn tick(&mut self, sent: &mut Sent, connection: &Connection) {
        let now = self.now();
        if now < sent.tick {
            return;
        }
        sent.tick = now + TICK;
        let (link, waiting) = (connection.link(), self.queue.waiting());
        let (bitrate, throughput, loss) = sent.mark(now, &link);
        let delay = waiting.time + link.delay + sent.queued(&link);
        // A file is always faster than its network.
        sent.rate = if self.live && delay < TICK { 0 } else { bitrate };
        let dropped = waiting.dropped - std::mem::replace(&mut sent.dropped, waiting.dropped);
        let late = link.srt.map(|s| s.send_dropped);
        self.hooks.status.update(|s| {
            s.bitrate = bitrate;
            s.delay = delay.as_secs_f64();
            s.queued = waiting.bytes;
            s.dropped_frames = waiting.dropped;
            s.rtt = link.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0);
            (s.lost, s.repeated) = (link.srt.map(|s| s.send_lost), link.srt.map(|s| s.repeated));
            s.late = late;
        });
        // The first moments say nothing of what gets through.
        if sent.marks.len() < WINDOW / 2 {
            return;
        }
        let Some(adapt) = &mut self.adapt else { return };
        let before = adapt.rate();
        let measured = Measured { now, delay, throughput, loss, dropped };
        let Some(bitrate) = adapt.decide(&measured) else { return };
        self.hooks.status.update(|s| s.target_bitrate = Some(bitrate));
        let message = if bitrate < before {
            format!(
                "{:.1} s wait on the way, {dropped} pictures were dropped, {:.0} % of packets were lost, {:.0} kbit/s of \
                 video are sent",
                delay.as_secs_f64(),
                loss * 100.0,
                throughput as f64 / 1e3
            )
        } else {
            "the network is clear".into()
        };
        (self.hooks.event)(Event::Bitrate { output: self.hooks.output, bitrate, before, message });
        (self.hooks.control)(Control::Bitrate { target: bitrate, max: None });
    }
}
