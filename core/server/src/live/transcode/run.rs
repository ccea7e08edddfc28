//! One run of a transcode: an engine's job that is fed, and the thread that takes what it makes.

use super::MadeTrack;
use super::plan::Plan;
use crate::live::stream::Stream;
use crate::locks::lock;
use ghoststream::event::{Event, Next, Outcome, State};
use ghoststream::job::Taken;
use ghoststream::packet::{MediaKind, Packet, StreamInfo};
use ghoststream::plan::TrackPlan;
use ghoststream::{Error, ErrorKind, Job, Pipeline, Result};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long the engine may take for a packet before it drops some.
const ROOM: Duration = Duration::from_millis(250);
/// How long what is inside may take to come out.
const DRAIN: Duration = Duration::from_secs(3);
/// How long the taking thread waits before it looks at other things.
const LOOK: Duration = Duration::from_millis(50);
/// No time yet.
const NEVER: i64 = i64::MIN;

/// Cues that wait until the tracks are announced.
const CUES: usize = 100;

/// Text goes by the engine: it is handed on as it is, behind the tracks that the engine makes.
struct Texts {
    to: Arc<Stream>,
    /// The source's tracks.
    of: Vec<(usize, StreamInfo)>,
    state: Mutex<Handing>,
}

#[derive(Default)]
struct Handing {
    /// The first of them in what is made.
    first: Option<usize>,
    waiting: Vec<Packet>,
}

impl Texts {
    fn new(streams: &[StreamInfo], to: &Arc<Stream>) -> Texts {
        let of = streams.iter().enumerate().filter(|(_, s)| s.kind == MediaKind::Subtitle);
        let of = of.map(|(i, s)| (i, s.clone())).collect();
        Texts { to: to.clone(), of, state: Mutex::default() }
    }

    /// Takes a packet if it is theirs.
    fn take(&self, packet: &Packet) -> bool {
        let Some(place) = self.of.iter().position(|(i, _)| *i == packet.stream) else { return false };
        let mut state = lock(&self.state);
        let mut packet = packet.clone();
        packet.stream = place;
        match state.first {
            Some(first) => {
                packet.stream += first;
                self.to.push_dated(packet);
            }
            None if state.waiting.len() < CUES => state.waiting.push(packet),
            None => {}
        }
        true
    }

    /// The tracks are announced, theirs from `first` on.
    fn begin(&self, first: usize) {
        let mut state = lock(&self.state);
        state.first = Some(first);
        for mut packet in std::mem::take(&mut state.waiting) {
            packet.stream += first;
            self.to.push_dated(packet);
        }
    }
}

/// A run.
pub(super) struct Run {
    shared: Arc<Shared>,
    texts: Arc<Texts>,
    copies: bool,
    taker: std::thread::JoinHandle<()>,
}

/// What is known of a run while it lasts.
pub(super) struct Shared {
    job: Job,
    names: Vec<String>,
    encoders: Mutex<Vec<String>>,
    /// Decode time of the newest packet that went in, and presentation time of the newest picture that came out, in
    /// microseconds of the stream.
    fed: AtomicI64,
    made: AtomicI64,
    over: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("job", &self.job.id()).finish()
    }
}

impl Shared {
    /// The tracks, as far as the engine says.
    pub fn tracks(&self) -> Vec<MadeTrack> {
        let encoders = lock(&self.encoders);
        let encoder = |i: usize| encoders.get(i).cloned().unwrap_or_default();
        let track = |(i, name): (usize, &String)| MadeTrack {
            name: name.clone(),
            encoder: encoder(i),
            ..MadeTrack::default()
        };
        self.names.iter().enumerate().map(track).collect()
    }

    /// Seconds between what goes in and what comes out.
    pub fn delay(&self) -> Option<f64> {
        let (fed, made) = (self.fed.load(Ordering::Relaxed), self.made.load(Ordering::Relaxed));
        (fed != NEVER && made != NEVER).then(|| (fed - made).max(0) as f64 / 1e6)
    }

    /// Packets that the engine had no room for.
    pub fn dropped(&self) -> u64 {
        let stages = self.job.stats().stages;
        let fed = stages.iter().find(|s| s.name == "application packets");
        fed.and_then(|s| s.queue).map_or(0, |q| q.dropped)
    }

    /// Ends it at once.
    pub fn cancel(&self) {
        self.job.cancel();
    }
}

impl Run {
    /// Begins; `running` is called when the first tracks are announced.
    pub fn start(
        plan: Plan,
        streams: Vec<StreamInfo>,
        to: &Arc<Stream>,
        floor: &Arc<Floor>,
        running: impl FnOnce() + Send + 'static,
    ) -> Result<Run> {
        let texts = Arc::new(Texts::new(&streams, to));
        let job = Pipeline::from_spec(plan.document)?.with_streams(streams).start().job()?;
        let shared = Arc::new(Shared {
            job,
            names: plan.names,
            encoders: Mutex::default(),
            fed: AtomicI64::new(NEVER),
            made: AtomicI64::new(NEVER),
            over: AtomicBool::new(false),
            failure: Mutex::default(),
        });
        let (mine, to, floor, text) = (shared.clone(), to.clone(), floor.clone(), texts.clone());
        let taker = std::thread::Builder::new()
            .name("gs-transcoded".into())
            .spawn(move || {
                mine.take_all(&to, &floor, &text, running);
                mine.over.store(true, Ordering::SeqCst);
            })
            .map_err(|e| Error::with_source(ErrorKind::Memory, "cannot start a thread", e))?;
        Ok(Run { shared, texts, copies: plan.copies, taker })
    }

    /// What can be asked while it lasts.
    pub fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Whether a rung is the source's own.
    pub fn copies(&self) -> bool {
        self.copies
    }

    /// Whether the job has ended.
    pub fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::SeqCst)
    }

    /// Hands a packet over. One that comes after the end is nobody's.
    pub fn push(&self, packet: Packet) {
        if self.texts.take(&packet) {
            return;
        }
        if let Some(time) = packet.decode().or(packet.presentation()) {
            self.shared.fed.fetch_max(time.micros(), Ordering::Relaxed);
        }
        if let Err(e) = self.shared.job.push_packet_within(packet, Some(ROOM))
            && e.kind() != ErrorKind::State
        {
            tracing::warn!(job = self.shared.job.id(), "a packet cannot be transcoded: {e}");
        }
    }

    /// Ends it, at once or after what is inside has come out. Gives why it failed, if it did.
    pub fn end(self, drain: bool) -> Option<String> {
        if drain {
            self.shared.job.finish_input();
            let until = Instant::now() + DRAIN;
            while !self.is_over() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        self.shared.job.cancel();
        // A panic in it has been told where it happened.
        let _ = self.taker.join();
        lock(&self.shared.failure).take()
    }
}

impl Shared {
    fn take_all(&self, to: &Stream, floor: &Floor, texts: &Texts, running: impl FnOnce()) {
        if let Some(streams) = self.streams() {
            let kinds: Vec<MediaKind> = streams.iter().map(|s| s.kind).collect();
            let first = streams.len();
            to.announce(streams.into_iter().chain(texts.of.iter().map(|(_, s)| s.clone())).collect());
            texts.begin(first);
            running();
            self.hand_on(to, floor, &kinds);
        }
        // The job's last words.
        while self.note_event(Some(DRAIN)) {}
    }

    /// What the job makes, once it is known.
    fn streams(&self) -> Option<Vec<StreamInfo>> {
        loop {
            match self.job.streams(0, Some(LOOK)) {
                Ok(Some(mut streams)) => {
                    for (stream, name) in streams.iter_mut().zip(&self.names) {
                        if stream.kind == MediaKind::Video {
                            stream.title = Some(name.clone());
                        }
                    }
                    return Some(streams);
                }
                Ok(None) if self.job.state() == State::Finished => return None,
                Ok(None) => {}
                Err(_) => return None,
            }
        }
    }

    fn hand_on(&self, to: &Stream, floor: &Floor, kinds: &[MediaKind]) {
        let mut newest: Vec<i64> = kinds.iter().map(|kind| floor.of(*kind).load(Ordering::Relaxed)).collect();
        let mut order = Order::new(kinds);
        loop {
            while self.note_event(Some(Duration::ZERO)) {}
            let packet = match self.job.next_packet(0, Some(LOOK)) {
                Ok(Taken::Item(packet)) => packet,
                Ok(Taken::Timeout) => continue,
                Ok(Taken::End) | Err(_) => break,
            };
            let Some(time) = packet.decode().map(|t| t.micros()) else { continue };
            let (Some(last), Some(kind)) = (newest.get_mut(packet.stream), kinds.get(packet.stream)) else {
                continue;
            };
            // A run that begins again where another one has been does not go back.
            if time <= *last {
                continue;
            }
            *last = time;
            floor.of(*kind).fetch_max(time, Ordering::Relaxed);
            if *kind == MediaKind::Video {
                let shown = packet.presentation().map_or(NEVER, |t| t.micros());
                self.made.fetch_max(shown, Ordering::Relaxed);
            }
            order.put(packet, time, &mut |packet| to.push_dated(packet));
        }
        order.end(&mut |packet| to.push_dated(packet));
    }

    /// Takes an event within `timeout`; `false` when there is none and `true` also when there will be none any more.
    fn note_event(&self, timeout: Option<Duration>) -> bool {
        match self.job.next_event(timeout) {
            Next::Event(Event::Plan { plan }) => {
                let tracks = plan.outputs.into_iter().next().map(|o| o.tracks).unwrap_or_default();
                let encoder = |t: TrackPlan| t.encoder.unwrap_or_else(|| t.action.into());
                *lock(&self.encoders) = tracks.into_iter().map(encoder).collect();
                true
            }
            Next::Event(Event::Done(done)) => {
                if done.outcome == Outcome::Failed {
                    *lock(&self.failure) = done.message;
                }
                true
            }
            Next::Event(_) => true,
            Next::Timeout | Next::End => false,
        }
    }
}

/// Packets that wait for the first rung, at most: some seconds of a ladder.
const WAITING: usize = 1000;

/// The order in which tracks are handed on. Readers begin at a key frame of the first rung: the other rungs' pictures of the
/// same time come behind it, and so does the sound that was ready before the first picture.
struct Order {
    kinds: Vec<MediaKind>,
    /// The first rung, if there are pictures, and the latest time that it has reached.
    lead: Option<usize>,
    reached: i64,
    waiting: VecDeque<(i64, Packet)>,
}

impl Order {
    fn new(kinds: &[MediaKind]) -> Order {
        let lead = kinds.iter().position(|kind| *kind == MediaKind::Video);
        Order { kinds: kinds.to_vec(), lead, reached: NEVER, waiting: VecDeque::new() }
    }

    /// Whether a packet of `stream` at `time` need not wait.
    fn may_go(&self, stream: usize, time: i64) -> bool {
        let picture = self.kinds.get(stream) == Some(&MediaKind::Video);
        self.lead.is_none() || (self.reached != NEVER && (!picture || time <= self.reached))
    }

    fn put(&mut self, packet: Packet, time: i64, out: &mut dyn FnMut(Packet)) {
        if self.lead == Some(packet.stream) {
            self.reached = time;
            out(packet);
            for (time, packet) in std::mem::take(&mut self.waiting) {
                match self.may_go(packet.stream, time) {
                    true => out(packet),
                    false => self.waiting.push_back((time, packet)),
                }
            }
            return;
        }
        if self.may_go(packet.stream, time) {
            return out(packet);
        }
        self.waiting.push_back((time, packet));
        if self.waiting.len() > WAITING {
            self.waiting.pop_front().into_iter().for_each(|(_, packet)| out(packet));
        }
    }

    fn end(self, out: &mut dyn FnMut(Packet)) {
        self.waiting.into_iter().for_each(|(_, packet)| out(packet));
    }
}

/// The latest decode times that a derived stream has, in microseconds, over all runs.
#[derive(Debug)]
pub(super) struct Floor {
    pictures: AtomicI64,
    sound: AtomicI64,
}

impl Default for Floor {
    fn default() -> Floor {
        Floor { pictures: AtomicI64::new(NEVER), sound: AtomicI64::new(NEVER) }
    }
}

impl Floor {
    fn of(&self, kind: MediaKind) -> &AtomicI64 {
        if kind == MediaKind::Video { &self.pictures } else { &self.sound }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn the_first_rung_goes_first() {
        let kinds = [MediaKind::Video, MediaKind::Video, MediaKind::Audio];
        let mut order = Order::new(&kinds);
        let mut out = Vec::new();
        for (stream, time) in
            [(2, -20), (1, 0), (2, 0), (0, 0), (1, 40), (2, 20), (0, 40), (0, 80), (1, 80), (1, 120)]
        {
            let packet =
                Packet { stream, ..Packet::new(Bytes::new(), time, 1, ghoststream::time::MICROSECONDS) };
            order.put(packet, time, &mut |p| out.push((p.stream, p.pts.unwrap())));
        }
        order.end(&mut |p| out.push((p.stream, p.pts.unwrap())));
        let expected =
            [(0, 0), (2, -20), (1, 0), (2, 0), (2, 20), (0, 40), (1, 40), (0, 80), (1, 80), (1, 120)];
        assert_eq!(out, expected);
        let mut sound = Vec::new();
        let packet = Packet::new(Bytes::new(), 5, 1, ghoststream::time::MICROSECONDS);
        Order::new(&kinds[2..]).put(packet, 5, &mut |p| sound.push(p.pts));
        assert_eq!(sound, [Some(5)], "without pictures nothing waits");
    }
}
