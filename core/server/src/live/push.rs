//! A stream sent on: pushed to an address, or recorded to files that go when they are old. What the target carries is copied.

use super::recordings::{Keys, Notes, is_notes};
use super::registry::{Live, Watching};
use super::rtsp;
use super::stream::{Item, Reader, Start, Stream, Tracks};
use ghoststream::encode::select::can_carry;
use ghoststream::event::{Event, Next, PushState as Connection, State};
use ghoststream::packet::{Codec, MediaKind, Packet};
use ghoststream::spec::{
    AudioChoice, AudioSpec, Container, FedPacketsSpec, OutputSpec, PipelineSpec, PushSpec as Reconnects,
    Seconds, SourceSpec, SplitChoice, SplitSpec, SubtitleChoice, VideoChoice, VideoSpec,
};
use ghoststream::time::{MICROSECONDS, Rounding, rescale};
use ghoststream::{Error, ErrorKind, Job, Pipeline, Result};
use serde::Serialize;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
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

/// The protocol that the server speaks itself: the engine sends the others.
const RTSP: &str = "rtsp";

/// Where a stream is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum PushTarget {
    /// An `rtmp(s)://`, `srt://` or `rtsp://` address. A connection that breaks is made again for ever.
    Url(String),
    /// Files.
    Files(Recording),
}

/// A recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Where the files are: a directory of this recording's own, made when it is missing.
    pub directory: PathBuf,
    /// `mp4` (playable while it grows), `mkv` or `ts`. The files are called by the local time at which they begin.
    pub container: Container,
    /// Seconds after which a file ends at the next key frame.
    pub segment: f64,
    /// Files that ended longer ago than this are removed; `None` = never.
    pub keep: Option<Duration>,
    /// The oldest files are removed when there are more bytes than this; `None` = never.
    pub most: Option<u64>,
}

/// Directories that are recorded into now, and in which form.
type Taken = Vec<(PathBuf, Container)>;

static TAKEN_NOW: Mutex<Taken> = Mutex::new(Vec::new());

fn taken_now() -> MutexGuard<'static, Taken> {
    TAKEN_NOW.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory while it is recorded into: two recordings in one would take each other's files and times.
#[derive(Debug)]
struct Held(PathBuf, Container);

impl Held {
    /// The directory is made where it is missing. `None` while another recording has it.
    fn take(files: &Recording) -> Result<Option<Held>> {
        let mut all = taken_now();
        std::fs::create_dir_all(&files.directory)
            .map_err(|e| Error::from(e).context(files.directory.display()))?;
        // However it was written.
        let directory = files.directory.canonicalize()?;
        let held = (directory.clone(), files.container);
        if all.contains(&held) {
            return Ok(None);
        }
        all.push(held);
        Ok(Some(Held(directory, files.container)))
    }
}

/// Whether files are made in a directory now.
pub(super) fn is_made(directory: &Path, container: Container) -> bool {
    let Ok(directory) = directory.canonicalize() else { return false };
    taken_now().contains(&(directory, container))
}

/// Makes a directory one that is recorded into, for as long as what it gives is there.
#[cfg(test)]
pub(super) fn hold(directory: &Path, container: Container) -> impl Drop + use<> {
    let directory = directory.to_path_buf();
    let files = Recording { directory, container, segment: 0.0, keep: None, most: None };
    Held::take(&files).unwrap().unwrap()
}

impl Drop for Held {
    fn drop(&mut self) {
        taken_now().retain(|(directory, container)| (directory, container) != (&self.0, &self.1));
    }
}

impl PushTarget {
    /// Whether both would write the same files.
    pub fn collides(&self, other: &PushTarget) -> bool {
        let (PushTarget::Files(one), PushTarget::Files(other)) = (self, other) else { return false };
        (&one.directory, one.container) == (&other.directory, other.container)
    }

    /// What to call it, without keys and passwords.
    pub fn label(&self) -> String {
        match self {
            PushTarget::Url(url) => OutputSpec::path(url.clone()).label(),
            PushTarget::Files(files) => files.directory.display().to_string(),
        }
    }

    /// How packets go there; `None` for files.
    fn protocol(&self) -> Option<&'static str> {
        let PushTarget::Url(url) = self else { return None };
        let (scheme, _) = url.split_once("://")?;
        ["rtmp", "rtmps", "srt", RTSP].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))
    }

    /// Whether anything can go there.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            PushTarget::Url(_) if self.protocol().is_none() => {
                Err(Error::invalid("url", format!("{}: rtmp, rtmps, srt or rtsp is needed", self.label())))
            }
            PushTarget::Url(url) if self.protocol() == Some(RTSP) && !rtsp::Sending::understands(url) => {
                Err(Error::invalid("url", format!("{}: this is no address", self.label())))
            }
            PushTarget::Url(_) => Ok(()),
            PushTarget::Files(files) => {
                if !matches!(files.container, Container::Mp4 | Container::Mkv | Container::Ts) {
                    return Err(Error::invalid("container", "mp4, mkv or ts"));
                }
                if !(1.0..=86_400.0).contains(&files.segment) {
                    return Err(Error::invalid("segment", "must be within 1 to 86400 seconds"));
                }
                Ok(())
            }
        }
    }

    /// Whether sound goes there as it is: whatever a file can hold, and what all receivers of FLV and MPEG-TS know.
    fn copies(&self, container: Container, sound: &Codec) -> bool {
        let holds = match (self, container) {
            (PushTarget::Files(_), Container::Mp4 | Container::Mkv) => {
                can_carry(container, MediaKind::Audio, sound)
            }
            _ => false,
        };
        holds || *sound == Codec::Aac
    }

    /// The document that sends `tracks` there.
    fn document(&self, name: &str, tracks: &Tracks) -> PipelineSpec {
        let (mut output, container) = match self {
            PushTarget::Url(url) => {
                let reconnects = Reconnects { reconnects: -1, retry_start: true, ..Reconnects::default() };
                let container = Container::from_path(url).unwrap_or(Container::Ts);
                (OutputSpec { push: Some(reconnects), ..OutputSpec::path(url.clone()) }, container)
            }
            PushTarget::Files(files) => {
                let name = format!("%Y-%m-%d_%H-%M-%S.{}", files.container.name());
                let split = SplitSpec { duration: Some(Seconds(files.segment)), size: None };
                let path = files.directory.join(name).to_string_lossy().into_owned();
                let mut output = OutputSpec { split: SplitChoice::Split(split), ..OutputSpec::path(path) };
                output.crash_safe = Some(true);
                (output, files.container)
            }
        };
        let has = |kind| tracks.streams.iter().any(|s| s.kind == kind);
        output.subtitles = SubtitleChoice::None;
        output.video = match has(MediaKind::Video) {
            true => VideoChoice::Track(Box::new(VideoSpec::copy())),
            false => VideoChoice::None,
        };
        output.audio = match tracks.streams.iter().find(|s| s.kind == MediaKind::Audio) {
            None => AudioChoice::None,
            Some(sound) if !self.copies(container, &sound.codec) => {
                let aac =
                    AudioSpec { codec: Some(Codec::Aac), stream: Some(sound.index), ..AudioSpec::new() };
                AudioChoice::Tracks(vec![aac])
            }
            Some(sound) => {
                AudioChoice::Tracks(vec![AudioSpec { stream: Some(sound.index), ..AudioSpec::copy() }])
            }
        };
        let source = SourceSpec::packets(FedPacketsSpec { queue: 256, live: true });
        let mut document = PipelineSpec::new(source, vec![output]);
        document.name = Some(format!("push {name}"));
        document
    }
}

/// What a push does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PushState {
    /// Nobody publishes the stream.
    Waiting,
    /// The target is being opened.
    Starting,
    /// Packets go there.
    Running,
    /// The connection broke, and is made again.
    Reconnecting,
    /// It failed, and will be tried again.
    Error,
    /// It is over.
    Stopped,
}

/// State of a push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PushStatus {
    /// What it does.
    pub state: PushState,
    /// Why it reconnects or failed.
    pub message: Option<String>,
    /// Files that are complete.
    pub files: u64,
}

/// A stream that is sent on. Dropping it ends that: what was sent is finished, within seconds. All methods may be called from
/// any thread.
#[derive(Debug)]
pub struct Push {
    stop: Arc<AtomicBool>,
    status: watch::Receiver<PushStatus>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Push {
    /// Begins to send `source` to `target`, whether somebody publishes it now or later. `live` is told when packets begin to go
    /// to an address, and when they cease to.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming a field of `target`; an I/O error for a directory that cannot be made;
    /// [`ErrorKind::Memory`] when the system gives no thread. What is wrong with the target is told by [`Push::status`].
    pub fn start(live: &Live, source: &Arc<Stream>, target: PushTarget) -> Result<Push> {
        Push::begin(Some(live), source, target, source.subscribe(Start::Group))
    }

    /// As [`Push::start`] into files; that is no reason to fetch a stream that is fetched on demand.
    ///
    /// # Errors
    /// As there.
    pub fn record(source: &Arc<Stream>, recording: Recording) -> Result<Push> {
        Push::begin(None, source, PushTarget::Files(recording), source.work_on(Start::Group))
    }

    fn begin(live: Option<&Live>, source: &Arc<Stream>, target: PushTarget, reader: Reader) -> Result<Push> {
        target.check()?;
        if let PushTarget::Files(files) = &target {
            std::fs::create_dir_all(&files.directory)
                .map_err(|e| Error::from(e).context(files.directory.display()))?;
        }
        let first = PushStatus { state: PushState::Waiting, message: None, files: 0 };
        let (tell, status) = watch::channel(first);
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Worker {
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
        };
        let told = stop.clone();
        let thread = std::thread::Builder::new()
            .name("gs-push".into())
            .spawn(move || worker.work(reader, &told))
            .map_err(|e| Error::with_source(ErrorKind::Memory, "cannot start a thread", e))?;
        Ok(Push { stop, status, thread: Some(thread) })
    }

    /// What it does now.
    pub fn status(&self) -> PushStatus {
        self.status.borrow().clone()
    }

    /// What it does, as it changes.
    pub fn watch(&self) -> watch::Receiver<PushStatus> {
        self.status.clone()
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A panic in it has been told where it happened.
            let _ = thread.join();
        }
    }
}

struct Worker {
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
    fn work(mut self, mut reader: Reader, stop: &AtomicBool) {
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

fn remove(files: Vec<PathBuf>) {
    for path in files {
        match std::fs::remove_file(&path) {
            Ok(()) => tracing::info!("removed {}", path.display()),
            Err(e) => tracing::warn!("cannot remove {}: {e}", path.display()),
        }
    }
}

/// The files of a recording that have nothing in them.
fn empty(files: &Recording) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(&files.directory).into_iter().flatten().flatten();
    let nothing = |path: &PathBuf| {
        is_recorded(path, files.container)
            && std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() == 0)
    };
    entries.map(|e| e.path()).filter(nothing).collect()
}

/// Removes files of recordings below `root` that nobody makes any more: they grow old too. With the last one of a recording its
/// directory goes. `rules` gives how long and how much is kept.
pub(super) fn sweep_below(root: &Path, rules: impl Fn(PathBuf, Container) -> Recording) {
    let mut open = vec![root.to_path_buf()];
    let mut seen = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            // What a link leads to is not looked into.
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                open.push(entry.path());
            }
        }
        seen.push(directory);
    }
    // Those inside of others first.
    for directory in seen.into_iter().rev() {
        let Ok(whole) = directory.canonicalize() else { continue };
        let containers = [Container::Mp4, Container::Mkv, Container::Ts];
        let mut old = Vec::new();
        let taken = taken_now();
        for container in containers.iter().filter(|c| !taken.contains(&(whole.clone(), **c))) {
            old.extend(outdated(&rules(directory.clone(), *container), false, SystemTime::now()));
        }
        // To remove large files may take long.
        drop(taken);
        let gone = !old.is_empty();
        remove(old);
        // Nobody begins to record there meanwhile.
        let taken = taken_now();
        let mut left = containers.iter().any(|c| taken.contains(&(whole.clone(), *c)));
        let files = std::fs::read_dir(&directory).into_iter().flatten().flatten();
        let (noted, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|e| is_notes(&e.file_name()));
        left |= !others.is_empty();
        if !left && directory != root && (gone || !noted.is_empty()) {
            // It stays where something came into it meanwhile.
            remove(noted.iter().map(|e| e.path()).collect());
            let _kept = std::fs::remove_dir(&directory);
        }
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

/// Whether a file is one of a recording's: it is called by a time.
pub(super) fn is_recorded(path: &Path, container: Container) -> bool {
    let digits =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'_');
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    // A name that was taken has a number behind it.
    let stem = stem.split([' ', '(']).next().unwrap_or_default();
    path.extension().and_then(|e| e.to_str()) == Some(container.name()) && stem.len() >= 19 && digits(stem)
}

/// The files of a recording that are to go, oldest first. While it is `made` the newest one stays, however old: it may be being
/// written. It does not count for how much there may be.
fn outdated(files: &Recording, made: bool, now: SystemTime) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(&files.directory) else { return Vec::new() };
    let mut found: Vec<(SystemTime, u64, PathBuf)> = entries
        .flatten()
        .filter(|e| is_recorded(&e.path(), files.container))
        .filter_map(|e| {
            let meta = e.metadata().ok().filter(|m| m.is_file())?;
            Some((meta.modified().ok()?, meta.len(), e.path()))
        })
        .collect();
    found.sort();
    let old = |modified: SystemTime| {
        let age = now.duration_since(modified).unwrap_or_default();
        files.keep.is_some_and(|keep| age > keep)
    };
    let newest = found.pop().filter(|newest| !made && old(newest.0));
    let mut bytes: u64 = found.iter().map(|f| f.1).sum();
    let mut gone = Vec::new();
    for (modified, size, path) in found {
        if old(modified) || files.most.is_some_and(|most| bytes > most) {
            bytes -= size;
            gone.push(path);
        }
    }
    gone.extend(newest.map(|(.., path)| path));
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use ghoststream::packet::StreamInfo;
    use ghoststream::time::Rational;

    fn recording(directory: &Path) -> Recording {
        Recording {
            directory: directory.into(),
            container: Container::Mkv,
            segment: 60.0,
            keep: Some(Duration::from_secs(1000)),
            most: Some(25),
        }
    }

    #[test]
    fn old_files_go_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..5).map(|n| format!("2026-01-01_00-00-0{n}.mkv")).collect();
        let began = SystemTime::now();
        for (n, name) in names.iter().enumerate() {
            let path = dir.path().join(name);
            std::fs::write(&path, [0; 10]).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(began - Duration::from_secs(100 - n as u64)).unwrap();
        }
        std::fs::write(dir.path().join("mine.mkv"), [0; 1000]).unwrap();
        std::fs::write(dir.path().join("2026-01-01_00-00-00.txt"), [0; 1000]).unwrap();
        let gone = |files: &Recording, now| -> Vec<String> {
            let name = |p: PathBuf| p.file_name().unwrap().to_string_lossy().into_owned();
            outdated(files, true, now).into_iter().map(name).collect()
        };
        let files = recording(dir.path());
        assert_eq!(gone(&files, began), names[..2], "25 bytes stay besides the newest");
        assert_eq!(gone(&Recording { most: None, ..files.clone() }, began), [""; 0]);
        let later = began + Duration::from_secs(1000);
        let old = Recording { most: None, ..files.clone() };
        assert_eq!(gone(&old, later), names[..4], "all but the newest are old");
        assert_eq!(outdated(&old, false, later).len(), 5, "the newest too, when nobody records any more");
        assert_eq!(outdated(&files, false, began).len(), 2);
        assert!(empty(&files).is_empty());
        std::fs::write(dir.path().join(&names[3]), "").unwrap();
        std::fs::write(dir.path().join("mine.mkv"), "").unwrap();
        assert_eq!(empty(&files), [dir.path().join(&names[3])]);
    }

    #[test]
    fn recordings_that_are_over_grow_old_and_those_that_are_made_stay() {
        let root = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - Duration::from_secs(5000);
        let put = |name: &str, when: SystemTime| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, [0; 10]).unwrap();
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(when).unwrap();
            path
        };
        let [a, b, d] = ["live/a", "live/a/b", "d"].map(|dir| {
            put(&format!("{dir}/recording.mkv.jsonl"), old);
            put(&format!("{dir}/2026-01-01_00-00-00.mkv"), old)
        });
        let mine = put("d/mine.mkv", old);
        let young = put("young/2026-01-01_00-00-00.mkv", SystemTime::now());
        let rules = |directory: PathBuf, container| Recording { container, ..recording(&directory) };
        let made = Recording { directory: root.path().join("live/./a"), ..recording(root.path()) };
        let held = Held::take(&made).unwrap().unwrap();
        assert!(Held::take(&recording(a.parent().unwrap())).unwrap().is_none(), "one at a time");
        sweep_below(root.path(), rules);
        assert!(a.exists() && !b.parent().unwrap().exists() && !d.exists());
        assert!(mine.exists() && young.exists());
        drop(held);
        sweep_below(root.path(), rules);
        assert!(!a.parent().unwrap().exists() && a.parent().unwrap().parent().unwrap().exists());
        assert!(mine.exists() && young.exists() && root.path().exists());
        let never = |directory: PathBuf, container| Recording {
            keep: None,
            most: None,
            ..rules(directory, container)
        };
        put("live/a/2026-01-01_00-00-00.mkv", old);
        sweep_below(root.path(), never);
        assert!(a.exists());
    }

    #[test]
    fn sound_that_a_file_can_hold_is_copied() {
        let dir = Path::new("/tmp/x");
        let files = |container| PushTarget::Files(Recording { container, ..recording(dir) });
        let copied = |target: &PushTarget, codec: Codec| {
            let sound = StreamInfo::new(MediaKind::Audio, codec, Rational::new(1, 48_000));
            let tracks = Tracks { version: 1, streams: vec![sound] };
            match &target.document("cam", &tracks).outputs[0].audio {
                AudioChoice::Tracks(tracks) => tracks[0].is_copy(),
                other => panic!("{other:?}"),
            }
        };
        let (mp4, mkv, ts) = (files(Container::Mp4), files(Container::Mkv), files(Container::Ts));
        for codec in [Codec::Aac, Codec::Opus, Codec::Flac, Codec::Ac3, Codec::Eac3, Codec::Mp3] {
            assert!(copied(&mp4, codec.clone()) && copied(&mkv, codec.clone()), "{codec}");
        }
        let alaw = Codec::from_name("pcm_alaw");
        assert!(copied(&mkv, alaw.clone()) && !copied(&mp4, alaw.clone()) && !copied(&ts, alaw));
        for target in [ts, PushTarget::Url("rtmp://host/live/key".into())] {
            assert!(copied(&target, Codec::Aac) && !copied(&target, Codec::Opus), "{target:?}");
        }
    }

    #[test]
    fn targets_are_checked() {
        let dir = Path::new("/tmp/x");
        assert!(PushTarget::Files(recording(dir)).check().is_ok());
        assert!(
            PushTarget::Files(Recording { container: Container::Hls, ..recording(dir) }).check().is_err()
        );
        assert!(PushTarget::Files(Recording { segment: 0.0, ..recording(dir) }).check().is_err());
        assert!(PushTarget::Url("rtmp://host/live/key".into()).check().is_ok());
        assert!(PushTarget::Url("RTSP://user:pass@host/cam".into()).check().is_ok());
        assert!(PushTarget::Url("rtsp://host:port/cam".into()).check().is_err());
        assert!(PushTarget::Url("rtsps://host/cam".into()).check().is_err());
        let refused = PushTarget::Url("http://user:secret@host/live".into()).check().unwrap_err();
        assert!(!refused.message().contains("secret"), "{refused}");
    }
}
