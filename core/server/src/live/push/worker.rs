//! The thread that takes a stream's packets to its target, and looks after what it started for them.

use super::held::Held;
use super::old_files::{empty, outdated, remove};
use super::target::RTSP;
use super::{PushState, PushStatus, PushTarget};
use crate::live::recordings::{Keys, Notes};
use crate::live::registry::{Live, Watching};
use crate::live::rtsp;
use crate::live::stream::{Item, Reader, Stream, Tracks};
use ghoststream::event::{Event, Next, PushState as Connection, State};
use ghoststream::packet::{MediaKind, Packet};
use ghoststream::spec::Container;
use ghoststream::time::{MICROSECONDS, Rounding, rescale};
use ghoststream::{ErrorKind, Job, Pipeline};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// How long the stream is listened to before other things are looked after.
const LOOK: Duration = Duration::from_millis(50);
/// How long the engine may take for a packet before it drops some.
const ROOM: Duration = Duration::from_millis(250);
/// How long what is inside may take to be written.
const DRAIN: Duration = Duration::from_secs(5);
/// How often old files are looked for.
const SWEEP: Duration = Duration::from_secs(30);
/// The pause before another try after a failure.
const RETRY: Duration = Duration::from_secs(5);
/// The pause before it is looked again whether a directory is free.
const TAKEN: Duration = Duration::from_millis(300);
/// The shortest pause before a connection of RTSP is made again; each is twice the one before.
const AGAIN: Duration = Duration::from_millis(500);

/// The thread of a push.
pub(super) struct Worker {
    name: String,
    live: Option<Live>,
    /// Told of while packets go to an address.
    sending: RefCell<Option<Watching>>,
    /// For the wall-clock time of its time 0, which is known better after some seconds.
    source: Weak<Stream>,
    target: PushTarget,
    tell: watch::Sender<PushStatus>,
    tracks: Option<Arc<Tracks>>,
    job: Option<Job>,
    /// The connection, in the job's place, of a target by RTSP, and the pause after it breaks.
    link: Option<rtsp::Sending>,
    pause: Duration,
    /// Microseconds that are taken off the stream's times: what is sent begins at 0.
    offset: Option<i64>,
    /// The directory of the job's files.
    held: Option<Held>,
    /// When the files of the job begin, and where pictures can begin in them.
    notes: Option<Notes>,
    keys: Keys,
    retry: Option<Instant>,
    swept: Option<Instant>,
}

impl Worker {
    /// What sends `source` to `target`, and tells of it by `tell`.
    pub fn new(
        live: Option<&Live>,
        source: &Arc<Stream>,
        target: PushTarget,
        tell: watch::Sender<PushStatus>,
    ) -> Worker {
        Worker {
            name: source.name().into(),
            live: live.cloned(),
            sending: RefCell::new(None),
            source: Arc::downgrade(source),
            target,
            tell,
            tracks: None,
            job: None,
            link: None,
            pause: AGAIN,
            offset: None,
            held: None,
            notes: None,
            keys: Keys::default(),
            retry: None,
            swept: None,
        }
    }

    /// For as long as the stream goes on, until it is to `stop`.
    pub fn work(mut self, mut reader: Reader, stop: &AtomicBool) {
        while !stop.load(Ordering::SeqCst) {
            self.sweep(false);
            let item = reader.next_blocking(LOOK);
            self.look();
            match item {
                None => {}
                Some(Item::Tracks(tracks)) => {
                    self.finish();
                    (self.tracks, self.retry) = (Some(tracks), None);
                }
                Some(Item::Packet(packet)) => self.take(packet),
                Some(Item::Away) => {
                    self.finish();
                    self.tracks = None;
                    self.say(PushState::Waiting, None);
                }
                Some(Item::End) => break,
            }
        }
        self.finish();
        self.sweep(true);
        self.say(PushState::Stopped, None);
    }

    fn say(&self, state: PushState, message: Option<String>) {
        let mut sending = self.sending.borrow_mut();
        if state != PushState::Running {
            *sending = None;
        } else if let (None, Some(live), Some(protocol)) = (&*sending, &self.live, self.target.protocol()) {
            *sending = Some(live.sending(&self.name, protocol, self.target.label()));
        }
        drop(sending);
        self.tell.send_if_modified(|now| {
            let changed = (now.state, &now.message) != (state, &message);
            (now.state, now.message) = (state, message.clone());
            changed
        });
    }

    fn take(&mut self, packet: Packet) {
        let Some(tracks) = self.tracks.clone() else { return };
        if tracks.streams.get(packet.stream).is_none_or(|s| s.kind == MediaKind::Subtitle) {
            return;
        }
        if self.job.is_none() && self.link.is_none() {
            let opens = packet.key && tracks.video().is_none_or(|v| v == packet.stream);
            if !opens || self.retry.is_some_and(|at| Instant::now() < at) {
                return;
            }
            self.begin(&tracks);
        }
        if let Some(link) = &mut self.link {
            if let Err(why) = link.push(&packet) {
                self.broken(why);
            }
            return;
        }
        let Some(job) = &self.job else { return };
        let Some(packet) = moved(packet, &mut self.offset) else { return };
        if packet.key
            && matches!(&self.target, PushTarget::Files(files) if files.container != Container::Mp4)
            && tracks.video().is_none_or(|video| video == packet.stream)
            && let Some(at) = packet.pts.or(packet.dts)
        {
            self.keys.note(rescale(at, packet.base, MICROSECONDS, Rounding::Nearest));
        }
        if let Err(e) = job.push_packet_within(packet, Some(ROOM))
            && e.kind() != ErrorKind::State
        {
            tracing::warn!(stream = self.name, "a packet cannot be sent on: {e}");
        }
    }

    fn begin(&mut self, tracks: &Tracks) {
        if let (PushTarget::Url(url), Some(RTSP)) = (&self.target, self.target.protocol()) {
            return self.connect(&url.clone(), tracks);
        }
        if let PushTarget::Files(files) = &self.target
            && self.held.is_none()
        {
            match Held::take(files) {
                Ok(Some(held)) => self.held = Some(held),
                Ok(None) => {
                    let why = format!("another stream is recorded into {}", files.directory.display());
                    self.failed(why);
                    self.retry = Some(Instant::now() + TAKEN);
                    return;
                }
                Err(e) => return self.failed(e.to_string()),
            }
        }
        self.say(PushState::Starting, None);
        (self.offset, self.notes, self.keys) = (None, None, Keys::default());
        let job = Pipeline::from_spec(self.target.document(&self.name, tracks))
            .and_then(|pipeline| pipeline.with_streams(tracks.streams.clone()).start().job());
        match job {
            Ok(job) => self.job = Some(job),
            Err(e) => self.failed(e.to_string()),
        }
    }

    /// Makes a connection of RTSP.
    fn connect(&mut self, url: &str, tracks: &Tracks) {
        if self.retry.is_none() {
            self.say(PushState::Starting, None);
        }
        let epoch = self.source.upgrade().map_or_else(SystemTime::now, |stream| stream.epoch());
        match rtsp::Sending::open(&self.name, url, tracks, epoch) {
            Ok(link) => {
                (self.link, self.pause) = (Some(link), AGAIN);
                self.say(PushState::Running, None);
            }
            Err(rtsp::Failed::Now(why)) => self.broken(why),
            Err(rtsp::Failed::Never(why)) => self.failed(why),
        }
    }

    /// A connection of RTSP is no more, or was not made.
    fn broken(&mut self, why: String) {
        tracing::warn!(stream = self.name, target = self.target.label(), "the connection broke: {why}");
        (self.link, self.retry) = (None, Some(Instant::now() + self.pause));
        self.pause = (self.pause * 2).min(RETRY);
        self.say(PushState::Reconnecting, Some(why));
    }

    fn failed(&mut self, why: String) {
        if self.tell.borrow().message.as_ref() != Some(&why) {
            tracing::warn!(stream = self.name, target = self.target.label(), "cannot be sent on: {why}");
        }
        self.job = None;
        if let (Some(_), PushTarget::Files(files)) = (self.held.take(), &self.target) {
            // A disk that is full leaves one with each try.
            remove(empty(files));
        }
        self.retry = Some(Instant::now() + RETRY);
        self.say(PushState::Error, Some(why));
    }

    /// Lets what is inside be written, and ends the job.
    fn finish(&mut self) {
        if let Some(link) = self.link.take() {
            link.finish();
        }
        let Some(job) = &self.job else { return };
        job.finish_input();
        let until = Instant::now() + DRAIN;
        while self.job.is_some() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
            self.look();
        }
        (self.job, self.held) = (None, None);
    }

    /// Notes when the files of the job begin: as soon as the stream knows its own time for good, and at the latest when one of
    /// them is complete (`now`).
    fn note(&mut self, now: bool) {
        let (PushTarget::Files(files), Some(first), None) = (&self.target, self.offset, &self.notes) else {
            return;
        };
        let source = self.source.upgrade();
        let settled = source.as_ref().is_none_or(|stream| stream.is_settled());
        if !(settled || now) {
            return;
        }
        let epoch = source.map_or_else(SystemTime::now, |stream| stream.epoch());
        let epoch = epoch.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros());
        let at = i64::try_from(epoch).unwrap_or(0).saturating_add(first);
        self.notes = Notes::begin(&files.directory, files.container, at);
    }

    /// Takes what the job says.
    fn look(&mut self) {
        if let Some(link) = &mut self.link
            && let Err(why) = link.look()
        {
            self.broken(why);
        }
        self.note(false);
        let Some(job) = &self.job else { return };
        let is_url = matches!(self.target, PushTarget::Url(_));
        let (mut over, mut saved) = (None, Vec::new());
        while let Next::Event(event) = job.next_event(Some(Duration::ZERO)) {
            match event {
                Event::State { state: State::Running } if !is_url => self.say(PushState::Running, None),
                Event::Push { state: Connection::Live, .. } => self.say(PushState::Running, None),
                // The first try comes without a reason.
                Event::Push { state: Connection::Connecting, message, .. } => {
                    let state = if message.is_some() { PushState::Reconnecting } else { PushState::Starting };
                    self.say(state, message);
                }
                Event::Push { state: Connection::Reconnecting, message, .. } => {
                    self.say(PushState::Reconnecting, message);
                }
                Event::Saved { path, duration, span, .. } => {
                    saved.push((path, duration, span));
                    self.tell.send_modify(|now| now.files += 1);
                }
                Event::Done(done) => over = Some(done.message),
                _ => {}
            }
        }
        for (path, duration, span) in saved {
            self.note(true);
            if let Some(notes) = &mut self.notes {
                notes.saved(&path, duration, &span, &mut self.keys);
            }
        }
        match over {
            Some(Some(why)) => self.failed(why),
            Some(None) => (self.job, self.held) = (None, None),
            None => {}
        }
    }

    /// Removes files that are too old or too many, now and then, or `now`.
    fn sweep(&mut self, now: bool) {
        let PushTarget::Files(files) = &self.target else { return };
        if !now && self.swept.is_some_and(|at| at.elapsed() < SWEEP) {
            return;
        }
        self.swept = Some(Instant::now());
        remove(outdated(files, true, SystemTime::now()));
    }
}

/// `packet` with the first one's decode time at 0; `None` for sound from before it.
fn moved(mut packet: Packet, offset: &mut Option<i64>) -> Option<Packet> {
    let base = packet.base;
    let dts = packet.dts.or(packet.pts)?;
    let first = *offset.get_or_insert_with(|| rescale(dts, base, MICROSECONDS, Rounding::Down));
    let ticks = rescale(first, MICROSECONDS, base, Rounding::Down);
    (packet.pts, packet.dts) = (packet.pts.map(|t| t - ticks), packet.dts.map(|t| t - ticks));
    (dts >= ticks).then_some(packet)
}
