//! Screens and cameras: pictures taken at a rate, or when something changed, with times of the job's clock.

#[cfg(target_os = "linux")]
mod camera;
#[cfg(target_os = "linux")]
mod gpu;
#[cfg(target_os = "linux")]
mod list;
#[cfg(target_os = "linux")]
mod node;
mod pace;
#[cfg(target_os = "linux")]
mod pointer;
#[cfg(target_os = "linux")]
mod token;
#[cfg(target_os = "linux")]
mod wayland;
#[cfg(target_os = "linux")]
mod x11;

#[cfg(target_os = "linux")]
pub(crate) use list::list;

use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Colour, Frame, PixelFormat};
use crate::packet::{Codec, FieldOrder, MediaKind, StreamInfo, VideoInfo};
use crate::spec::{ScreenBackend, ScreenSpec, Seconds};
use crate::stage::{Note, Source};
use crate::time::{Clock, MICROSECONDS, Rational, TimeBase};
use ghoststream_sys::ffmpeg as av;
use pace::{Pacer, Step};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a screen where nothing changes is shown all the same, so that what comes behind knows that it lives.
const STILL: Duration = Duration::from_secs(1);
/// How long one wait lasts at most; a job that stops is seen after it.
const NAP: Duration = Duration::from_millis(20);

/// Naps that the first picture of what is captured from then on may take.
const FIRST: u32 = 500;
/// How long who fetches the pictures is waited for where he is later than we are.
const LAGGARD: Duration = Duration::from_millis(100);

/// A picture as it was taken.
struct Shot {
    media: av::Frame,
    /// How long ago it was shown, where the screen says it.
    age: Option<Duration>,
}

/// A way to take pictures. That what it shows has gone is an error of the kind [`ErrorKind::Device`].
trait Grabber: Send {
    /// The way's name, for people.
    fn backend(&self) -> &'static str;
    /// Pixels of the first picture.
    fn size(&self) -> (u32, u32);
    /// Format of the pictures; of those on a device, what their samples are.
    fn format(&self) -> PixelFormat;
    /// The device that pictures are on, by FFmpeg's name, and their colour; `None`: they are in host memory.
    fn on_device(&self) -> Option<(&'static str, Colour)> {
        None
    }
    /// Whether pictures come in the screen's own time and are only fetched, so that waiting a little for a late one helps.
    fn is_timed(&self) -> bool {
        false
    }
    /// Whether the next picture can differ from the one before; does not wait.
    fn changed(&mut self) -> Result<bool>;
    /// Waits for the next picture, at most so long; `None`: it cannot, and has to be asked again and again.
    fn await_change(&mut self, _time: Duration) -> Option<Result<()>> {
        None
    }
    /// The picture now; `None`: still the one before.
    fn grab(&mut self) -> Result<Option<Shot>>;
    /// The newest picture that was shown so long ago or longer and was not given yet, where some are kept; later ones stay.
    fn grab_shown(&mut self, _ago: Duration) -> Result<Option<Shot>> {
        Ok(None)
    }
    /// How long ago the newest picture that came was shown, given or not, where a thread of their own fetches them, which can
    /// be behind.
    fn newest(&self) -> Option<Duration> {
        None
    }
    /// What a user should know that happened meanwhile: codes and texts of warnings.
    fn said(&mut self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// What became of a screen's pictures, and what is to be captured instead from now on. Any thread.
#[derive(Debug, Default)]
pub struct Counts {
    backend: Mutex<&'static str>,
    turn: Mutex<Option<ScreenSpec>>,
    pace: Mutex<Option<Rational>>,
    /// Taken from the screen.
    pub taken: AtomicU64,
    /// Given once more because nothing had changed, or because their moment had passed.
    pub repeated: AtomicU64,
    /// Of the repeated ones, those whose moment had passed: the screen was late, or the job stood still for a moment.
    pub late: AtomicU64,
    /// Not taken because the job was not ready for them.
    pub dropped: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Counts {
    /// How pictures are taken now: `x11`, `wlr-screencopy`, …
    pub fn backend(&self) -> &'static str {
        *lock(&self.backend)
    }

    /// Captures `spec` instead, as soon as it gives a picture. Rate and variability stay.
    pub(crate) fn turn_to(&self, spec: ScreenSpec) {
        *lock(&self.turn) = Some(spec);
    }

    /// The rate that it was told and has not taken yet.
    #[cfg(test)]
    pub(crate) fn paced(&self) -> Option<Rational> {
        *lock(&self.pace)
    }

    /// Gives `rate` pictures a second from now on (a variable rate: at most).
    pub(crate) fn pace_to(&self, rate: Rational) {
        *lock(&self.pace) = Some(rate);
    }
}

/// Begins to watch something.
type Open = dyn Fn(&ScreenSpec, &av::Interrupt, bool) -> Result<(Box<dyn Grabber>, Said)> + Send + Sync;

/// What was opened, what is said of it, and its first picture.
type Opened = (Box<dyn Grabber>, Said, Shot);

/// What is opened beside what is captured now: a dialog or a slow device must not stop the picture.
struct Turning {
    label: String,
    interrupt: av::Interrupt,
    opened: Receiver<Result<Opened>>,
}

impl Turning {
    fn begin(open: Arc<Open>, spec: ScreenSpec, gpu: bool) -> Result<Turning> {
        let (label, interrupt) = (spec.label(), av::Interrupt::new());
        let (to, opened) = channel();
        let ours = interrupt.clone();
        let thread = std::thread::Builder::new().name("gs-turn".into());
        let body = move || {
            let result = open(&spec, &ours, gpu).and_then(|(mut grabber, note)| {
                if grabber.on_device().is_some() != gpu {
                    let message =
                        "its pictures come in host memory, and those before on the encoder's GPU, or the reverse";
                    return Err(Error::unsupported(message));
                }
                let shot = first(&mut *grabber, &ours)?;
                Ok((grabber, note, shot))
            });
            // Nobody may want it any more.
            drop(to.send(result));
        };
        let started = thread.spawn(body);
        started.map_err(|e| Error::with_source(ErrorKind::Memory, "cannot start a thread", e))?;
        Ok(Turning { label, interrupt, opened })
    }
}

/// The first picture of what was just opened.
fn first(grabber: &mut dyn Grabber, interrupt: &av::Interrupt) -> Result<Shot> {
    for _ in 0..FIRST {
        if let Some(shot) = grabber.grab()? {
            return Ok(shot);
        }
        if interrupt.is_cancelled() {
            return Err(Error::cancelled());
        }
        match grabber.await_change(NAP) {
            Some(waited) => waited?,
            None => std::thread::sleep(NAP),
        }
    }
    Err(Error::new(ErrorKind::Io, "it gives no picture"))
}

/// Stands for what is gone, until what is captured instead has its first picture.
struct Gone {
    size: (u32, u32),
    format: PixelFormat,
    device: Option<(&'static str, Colour)>,
}

impl Grabber for Gone {
    fn backend(&self) -> &'static str {
        "none"
    }

    fn size(&self) -> (u32, u32) {
        self.size
    }

    fn format(&self) -> PixelFormat {
        self.format
    }

    fn on_device(&self) -> Option<(&'static str, Colour)> {
        self.device
    }

    fn changed(&mut self) -> Result<bool> {
        Ok(false)
    }

    fn grab(&mut self) -> Result<Option<Shot>> {
        Ok(None)
    }
}

/// A screen as a source. Lives on one thread.
pub struct Screen {
    grabber: Box<dyn Grabber>,
    clock: Arc<dyn Clock>,
    interrupt: av::Interrupt,
    rate: Rational,
    variable: bool,
    duration: Option<Duration>,
    pacer: Pacer,
    began: Option<Duration>,
    last: Option<av::Frame>,
    /// When the last picture of a variable rate was given.
    given: Option<Duration>,
    /// Time of the last picture of a variable rate, so that times grow.
    at: i64,
    /// Whether the last tick had a new picture: the screen moves.
    moving: bool,
    /// Whether the last picture was not given yet, and how old it was when it was taken.
    unused: bool,
    age: Option<Duration>,
    /// Pixels of the pictures so far.
    size: (u32, u32),
    notes: Vec<Note>,
    /// What was captured is gone.
    over: bool,
    counts: Arc<Counts>,
    open: Arc<Open>,
    /// What will be captured instead.
    turning: Option<Turning>,
    /// Ends what what is captured now waits for, where that is not what it began with.
    own: Option<av::Interrupt>,
    /// Why there are no more pictures of it, while something else is awaited.
    gone: Option<Error>,
}

impl Screen {
    /// Begins to watch. Taking pictures ends after `duration`, or when `interrupt` is cancelled. With `gpu` pictures that are in
    /// memory of a GPU already may come in CUDA memory.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when there is no such display, monitor or window;
    /// [`crate::ErrorKind::Unsupported`] when it cannot be captured here.
    pub fn open(
        spec: &ScreenSpec,
        duration: Option<Seconds>,
        clock: Arc<dyn Clock>,
        interrupt: av::Interrupt,
        gpu: bool,
    ) -> Result<Screen> {
        let (grabber, note) = open(spec, &interrupt, gpu)?;
        tracing::info!(backend = grabber.backend(), source = spec.label(), "capturing");
        let mut screen = Screen::of(grabber, spec, clock, interrupt);
        screen.duration = duration.map(|d| Duration::from_secs_f64(d.0));
        screen.notes.extend(note.map(|(code, message)| Note { code, message }));
        Ok(screen)
    }

    fn of(
        grabber: Box<dyn Grabber>,
        spec: &ScreenSpec,
        clock: Arc<dyn Clock>,
        interrupt: av::Interrupt,
    ) -> Screen {
        let rate = spec.frame_rate.0;
        let counts = Counts { backend: Mutex::new(grabber.backend()), ..Counts::default() };
        Screen {
            clock,
            interrupt,
            rate,
            variable: spec.variable,
            duration: None,
            pacer: Pacer::new(rate),
            began: None,
            last: None,
            given: None,
            at: -1,
            moving: false,
            unused: false,
            age: None,
            size: grabber.size(),
            notes: Vec::new(),
            over: false,
            counts: Arc::new(counts),
            open: Arc::new(open),
            turning: None,
            own: None,
            gone: None,
            grabber,
        }
    }

    /// Gives who comes late the newest picture, and none of the time that passed where they are not kept: for those that ask
    /// when they like.
    pub fn newest(mut self) -> Screen {
        self.pacer.patient = self.grabber.newest().is_some();
        self
    }

    /// What became of the pictures so far; goes on counting.
    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    /// The device that pictures are on; `None`: in host memory.
    pub fn device(&self) -> Option<&'static str> {
        self.grabber.on_device().map(|(device, _)| device)
    }

    /// The one stream of it.
    pub fn stream(&self) -> StreamInfo {
        let (width, height) = self.grabber.size();
        let mut stream = StreamInfo::new(MediaKind::Video, Codec::RawVideo, self.base());
        stream.video = Some(VideoInfo {
            width,
            height,
            format: Some(self.grabber.format()),
            frame_rate: Some(self.rate),
            constant_rate: Some(!self.variable),
            sample_aspect: Rational::new(1, 1),
            colour: self.grabber.on_device().map(|(_, colour)| colour).unwrap_or_default(),
            hdr: Default::default(),
            rotation: 0.0,
            mirrored: false,
            field_order: FieldOrder::Progressive,
            reorder: 0,
        });
        stream.disposition.default = true;
        stream
    }

    /// A constant rate counts pictures, a variable one microseconds.
    fn base(&self) -> TimeBase {
        if self.variable { MICROSECONDS } else { self.rate.inverse() }
    }

    /// Waits, but not past the end of the job; `false` when that has come.
    fn wait(&self, time: Duration) -> bool {
        self.clock.sleep(time.min(NAP));
        !self.interrupt.is_cancelled()
    }

    /// Waits for the next picture, at most so long and not past the end of the job, when `false` is given. Who cannot wait
    /// comes back after `step`.
    fn watch(&mut self, time: Duration, step: Duration) -> Result<bool> {
        match self.grabber.await_change(time.min(NAP)) {
            Some(done) => done.map(|()| !self.interrupt.is_cancelled()),
            None => Ok(self.wait(step)),
        }
    }

    fn interval(&self) -> Duration {
        Duration::from_secs_f64(self.rate.inverse().as_f64())
    }

    fn constant(&mut self) -> Result<Option<Frame>> {
        if self.last.is_none() {
            self.begin()?;
        }
        self.pacer.asked(self.clock.now());
        loop {
            let (tick, passed) = match self.pacer.step(self.clock.now()) {
                Step::Wait(time) => {
                    if !self.wait(time) {
                        return Ok(None);
                    }
                    continue;
                }
                Step::Repeat(tick) => (tick, true),
                Step::Take(tick) => (tick, false),
            };
            let ago = self.pacer.since(tick, self.clock.now());
            // Its moment is over, but what was shown then may be kept.
            if passed || ago > self.interval() / 4 {
                let ago = self.catch_up(tick, ago)?;
                if let Some(shot) = self.grabber.grab_shown(ago)? {
                    self.keep(shot);
                    self.moving = true;
                    return self.give(tick, false);
                }
            }
            if passed {
                self.counts.late.fetch_add(1, Ordering::Relaxed);
                return self.give(tick, false);
            }
            let fresh = !self.unused && (self.grabber.changed()? || self.comes_late()?);
            self.moving = fresh;
            return self.give(tick, fresh);
        }
    }

    /// Takes the first picture. Where the screen says when it shows its pictures, ticks lie half-way between them: neither
    /// side's jitter then moves a picture to the next tick.
    fn begin(&mut self) -> Result<()> {
        self.shoot()?;
        if let Some(age) = self.age.filter(|_| self.grabber.is_timed()) {
            let (interval, half) = (self.interval().as_secs_f64(), self.interval().as_secs_f64() / 2.0);
            let wait = (half - age.as_secs_f64()).rem_euclid(interval);
            self.pacer.begin(self.clock.now() + Duration::from_secs_f64(wait));
        }
        Ok(())
    }

    /// Waits a little for the picture of a screen that moves.
    fn comes_late(&mut self) -> Result<bool> {
        if !self.moving || !self.grabber.is_timed() {
            return Ok(false);
        }
        let (step, end) = (Duration::from_millis(1), self.clock.now() + self.interval() / 4);
        loop {
            let left = end.saturating_sub(self.clock.now());
            if left < step || !self.watch(left, step)? {
                return Ok(false);
            }
            if self.grabber.changed()? {
                return Ok(true);
            }
        }
    }

    /// Waits a little for who fetches the pictures of a screen that moves and is later than we are (the whole machine stood
    /// still for a moment). `tick` was `ago` before; returns how long ago it is then. Who does not come is not waited for
    /// again.
    fn catch_up(&mut self, tick: u64, ago: Duration) -> Result<Duration> {
        let (step, interval) = (Duration::from_millis(1), self.interval());
        let end = self.clock.now() + LAGGARD;
        let mut ago = ago;
        // The picture of a tick was shown less than an interval before it.
        while self.moving && self.grabber.newest().is_some_and(|newest| newest > ago + interval) {
            let left = end.saturating_sub(self.clock.now());
            if left < step || !self.wait(step) {
                self.moving = false;
                break;
            }
            ago = self.pacer.since(tick, self.clock.now());
        }
        Ok(ago)
    }

    fn give(&mut self, tick: u64, fresh: bool) -> Result<Option<Frame>> {
        let (media, _) = self.picture(fresh)?;
        let now = self.clock.now();
        self.pacer.gave(now);
        let before = self.counts.dropped.swap(self.pacer.dropped, Ordering::Relaxed);
        if before == 0 && self.pacer.dropped > 0 && self.pacer.patient {
            let message = "source.screen: some of its pictures are left out, because what comes behind (encoder, output) is too \
                           slow for its rate; progress counts them";
            self.notes.push(Note { code: "dropped", message: message.into() });
        }
        Ok(Some(self.frame(media, i64::try_from(tick).unwrap_or(i64::MAX), 1)))
    }

    fn variable(&mut self) -> Result<Option<Frame>> {
        loop {
            self.turn();
            let least = self.interval();
            let now = self.clock.now();
            let began = *self.began.get_or_insert(now);
            let quiet = self.given.map(|given| now.saturating_sub(given));
            if let Some(quiet) = quiet.filter(|q| *q < least) {
                if !self.wait(least - quiet) {
                    return Ok(None);
                }
                continue;
            }
            let fresh = self.grabber.changed()?;
            if fresh || self.unused || quiet.is_none_or(|q| q >= STILL) {
                let (media, age) = self.picture(fresh)?;
                // A picture that waited to be fetched has the time at which it was shown.
                let shown = now.saturating_sub(age.unwrap_or_default());
                self.given = Some(shown.max(self.given.unwrap_or_default()));
                let at = i64::try_from(shown.saturating_sub(began).as_micros()).unwrap_or(i64::MAX);
                self.at = at.max(self.at.saturating_add(1));
                return Ok(Some(self.frame(media, self.at, 0)));
            }
            let left = quiet.map_or(STILL, |quiet| STILL.saturating_sub(quiet));
            if !self.watch(left, Duration::from_millis(2))? {
                return Ok(None);
            }
        }
    }

    /// Takes a picture, unless the screen still shows the one before.
    fn shoot(&mut self) -> Result<()> {
        if let Some(shot) = self.grabber.grab()? {
            self.keep(shot);
        }
        let said = self.grabber.said().into_iter();
        self.notes.extend(said.map(|(code, message)| Note { code, message }));
        Ok(())
    }

    /// A new picture is there.
    fn keep(&mut self, shot: Shot) {
        let size = (shot.media.width(), shot.media.height());
        if size != self.size {
            let ((width, height), before) = (size, self.size);
            let message = format!(
                "the screen is now {width}x{height}, it was {}x{}; its pictures are brought to the size of the output",
                before.0, before.1
            );
            self.notes.push(Note { code: "source", message });
            self.size = size;
        }
        self.counts.taken.fetch_add(1, Ordering::Relaxed);
        (self.last, self.age, self.unused) = (Some(shot.media), shot.age, true);
    }

    /// A new picture with its age, or the last one again.
    fn picture(&mut self, fresh: bool) -> Result<(av::Frame, Option<Duration>)> {
        if fresh || self.last.is_none() {
            self.shoot()?;
        }
        let last = self.last.as_ref();
        let last =
            last.ok_or_else(|| Error::new(ErrorKind::Device, "source.screen: there is no picture yet"))?;
        let media = last.try_clone()?;
        let age = self.age.take();
        if !std::mem::take(&mut self.unused) {
            self.counts.repeated.fetch_add(1, Ordering::Relaxed);
        }
        Ok((media, age))
    }

    /// Opens what was asked for meanwhile, and captures it once it has a picture. What cannot be captured is told, and changes
    /// nothing.
    fn turn(&mut self) {
        let asked = lock(&self.counts.turn).take();
        if let Some(spec) = asked {
            if let Some(before) = self.turning.take() {
                before.interrupt.cancel();
                let message = format!("{} is not captured: something else was asked for", before.label);
                self.notes.push(Note { code: "source", message });
            }
            let label = spec.label();
            // What is behind takes pictures on a device only where they were there from the beginning.
            match Turning::begin(self.open.clone(), spec, self.device().is_some()) {
                Ok(turning) => self.turning = Some(turning),
                Err(e) => self.stay(&label, &e),
            }
        }
        let Some(turning) = &self.turning else { return };
        let opened = match turning.opened.try_recv() {
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => Err(Error::new(ErrorKind::Internal, "opening it panicked")),
            Ok(opened) => opened,
        };
        let Some(Turning { label, interrupt, .. }) = self.turning.take() else { return };
        match opened {
            Ok((grabber, note, shot)) => {
                *lock(&self.counts.backend) = grabber.backend();
                (self.grabber, self.own, self.gone) = (grabber, Some(interrupt), None);
                self.notes
                    .push(Note { code: "source", message: format!("{label} is captured from here on") });
                self.notes.extend(note.map(|(code, message)| Note { code, message }));
                self.moving = false;
                self.keep(shot);
            }
            Err(e) => self.stay(&label, &e),
        }
    }

    fn stay(&mut self, label: &str, e: &Error) {
        let goes_on = if self.gone.is_some() { "" } else { ": the capture goes on as it was" };
        let message = format!("{label} cannot be captured ({e}){goes_on}");
        self.notes.push(Note { code: "source", message });
        if let Some(gone) = self.gone.take() {
            self.end(&gone);
        }
    }

    /// What was recorded until now is complete, so that this is an end and no failure.
    fn end(&mut self, why: &Error) {
        self.over = true;
        self.notes.push(Note { code: "source", message: format!("{why}; the capture ends here") });
    }

    /// There are no more pictures of what is captured, but something else is about to give some.
    fn outlive(&mut self, why: Error) {
        let (size, format, device) = (self.size, self.grabber.format(), self.grabber.on_device());
        self.grabber = Box::new(Gone { size, format, device });
        self.notes.push(Note { code: "source", message: format!("{why}; its last picture stays meanwhile") });
        self.gone = Some(why);
    }

    fn pace(&mut self) {
        let asked = lock(&self.counts.pace).take();
        let Some(rate) = asked else { return };
        self.rate = rate;
        if !self.variable {
            self.pacer.retime(rate);
        }
    }

    fn frame(&self, mut media: av::Frame, pts: i64, duration: i64) -> Frame {
        let base = self.base();
        media.set_sample_aspect((1, 1));
        media.set_pts(Some(pts));
        media.set_duration(duration);
        media.set_time_base((base.num, base.den));
        // A screen that stands still is converted once.
        Frame::new(media, base).numbered(self.counts.taken.load(Ordering::Relaxed))
    }
}

impl Source<Frame> for Screen {
    fn next(&mut self) -> Result<Option<Frame>> {
        if self.interrupt.is_cancelled() || self.over {
            return Ok(None);
        }
        self.pace();
        let frame = loop {
            self.turn();
            if self.over {
                return Ok(None);
            }
            match if self.variable { self.variable() } else { self.constant() } {
                Err(e) if self.last.is_some() && is_gone(e.kind()) => match self.turning {
                    Some(_) => self.outlive(e),
                    None => {
                        self.end(&e);
                        break None;
                    }
                },
                frame => break frame?,
            }
        };
        let end = self.duration.map(|d| d.as_secs_f64());
        Ok(frame.filter(|f| end.is_none_or(|end| f.presentation().is_none_or(|t| t.seconds() < end))))
    }

    fn notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        for interrupt in self.own.iter().chain(self.turning.as_ref().map(|t| &t.interrupt)) {
            interrupt.cancel();
        }
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { taken, repeated, late, dropped, .. } = &*self.counts;
        tracing::debug!(
            taken = of(taken),
            repeated = of(repeated),
            late = of(late),
            dropped = of(dropped),
            "captured"
        );
    }
}

/// Whether a failure after the first picture says that there will be no more.
fn is_gone(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Device | ErrorKind::NotFound | ErrorKind::Io)
}

/// What a user should know of the way that was taken: the code and the text of a warning.
type Said = Option<(&'static str, String)>;

/// Begins to watch.
#[cfg(target_os = "linux")]
fn open(spec: &ScreenSpec, interrupt: &av::Interrupt, gpu: bool) -> Result<(Box<dyn Grabber>, Said)> {
    let x11 = || x11::X11::open(spec).map(|x| (Box::new(x) as Box<dyn Grabber>, None));
    let wayland = || {
        let (wayland, note) = wayland::Wayland::open(spec)?;
        Ok((Box::new(wayland) as Box<dyn Grabber>, note.map(|note| ("source", note))))
    };
    let node = || {
        let (node, note) = node::Node::open(spec, interrupt, gpu)?;
        Ok((Box::new(node) as Box<dyn Grabber>, note.map(|note| ("source", note))))
    };
    if let Some(camera) = &spec.camera {
        return match camera.is_v4l2() {
            true => {
                let (camera, note) = camera::Camera::open(camera, spec.frame_rate, interrupt)?;
                Ok((Box::new(camera) as Box<dyn Grabber>, note.map(|note| ("fallback", note))))
            }
            false => {
                let node = node::Node::of_camera(&camera.device, spec, interrupt)?;
                Ok((Box::new(node) as Box<dyn Grabber>, None))
            }
        };
    }
    match (spec.backend, spec.display.as_deref()) {
        (ScreenBackend::X11, _) => x11(),
        (ScreenBackend::Wayland, _) => wayland(),
        (ScreenBackend::Portal | ScreenBackend::PipeWire, _) => node(),
        // Only X has window ids, and only its displays have colons.
        (ScreenBackend::Auto, _) if spec.window.is_some() => x11(),
        (ScreenBackend::Auto, Some(display)) if display.contains(':') => x11(),
        (ScreenBackend::Auto, Some(_)) => wayland(),
        (ScreenBackend::Auto, None) if !ghoststream_sys::wayland::is_named() => x11(),
        (ScreenBackend::Auto, None) => match wayland::is_offered() {
            Ok(true) => wayland(),
            // The portal has its own dialog in which a monitor is picked.
            Ok(false) if spec.monitor.is_none() && spec.region.is_none() => {
                node().map_err(|e: Error| e.context(NOT_OFFERED))
            }
            Ok(false) => Err(Error::unsupported(format!(
                "source.screen: {NOT_OFFERED}; the portal (backend portal) lets the user pick, without monitor and region"
            ))),
            Err(e) => {
                let note = format!("the environment's compositor cannot be asked ({e}): X11 is captured");
                x11().map(|(grabber, _)| (grabber, Some(("fallback", note))))
            }
        },
    }
}

#[cfg(target_os = "linux")]
const NOT_OFFERED: &str = "this Wayland compositor offers neither ext-image-copy-capture nor wlr-screencopy";

#[cfg(not(target_os = "linux"))]
fn open(_: &ScreenSpec, _: &av::Interrupt, _: bool) -> Result<(Box<dyn Grabber>, Said)> {
    Err(Error::unsupported("source.screen: screens are captured on Linux only"))
}

#[cfg(test)]
mod tests;
