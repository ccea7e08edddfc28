//! Pictures of a monitor or a part of one. A thread of its own waits for what changes, so that whoever takes the pictures
//! never waits for the compositor.

use super::client::{Client, Protocol, State, Waited};
use super::frame::Progress;
use super::layout::{Monitor, Part};
use super::pool::{Pool, Shape};
use super::turn::upright;
use super::{Error, Kind};
use crate::ffmpeg::PixelFormat;
use bytes::Bytes;
use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wayland_client::Proxy;
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_output::{Transform, WlOutput};
use wayland_client::protocol::wl_shm::Format;
use wayland_protocols::ext::image_capture_source::v1::client::ext_image_capture_source_v1::ExtImageCaptureSourceV1;
use wayland_protocols::ext::image_copy_capture::v1::client::ext_image_copy_capture_manager_v1::Options;
use wayland_protocols::ext::image_copy_capture::v1::client::ext_image_copy_capture_session_v1::ExtImageCopyCaptureSessionV1;
use wayland_protocols_wlr::screencopy::v1::client::zwlr_screencopy_manager_v1::ZwlrScreencopyManagerV1;

/// How long the first picture may take; a monitor that is off gives none.
const FIRST: Duration = Duration::from_secs(5);
/// Pause after a picture that failed: the monitor is just being changed.
const AGAIN: Duration = Duration::from_millis(10);
/// Failures in a row after which the monitor counts as gone.
const FAILURES: u32 = 300;
/// Pictures that wait to be taken: whoever is late finds those of the moments that he missed.
const WAITING: usize = 4;
/// How long pictures are taken that nobody asks for.
const IDLE: Duration = Duration::from_millis(500);

/// What is captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The monitor of that name; `None`: the one at the layout's beginning, see [`Capture::others`].
    Monitor(Option<String>),
    /// A part of the layout, in logical pixels as `slurp` gives them. It lies on one monitor.
    Region {
        /// Left edge.
        x: i32,
        /// Upper edge.
        y: i32,
        /// Logical pixels.
        width: u32,
        /// Logical pixels.
        height: u32,
    },
}

/// A picture.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Pixel format.
    pub format: PixelFormat,
    /// The rows; shared memory that the compositor wrote, without a copy unless the monitor is turned.
    pub data: Bytes,
    /// When the compositor showed it.
    pub shown: Instant,
}

impl Picture {
    /// How long ago the compositor showed it.
    pub fn age(&self) -> Duration {
        self.shown.elapsed()
    }
}

/// A capture that runs. One thread at a time; may move between threads. Pictures may outlive it.
pub struct Capture {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Closing it ends the thread's wait.
    wake: Option<UnixStream>,
    protocol: Protocol,
    monitor: Monitor,
    others: Vec<String>,
    first: (u32, u32, PixelFormat),
}

impl Capture {
    /// Begins to watch `target` of a compositor (default: that of the environment). `pointer`: with the mouse pointer.
    /// `pause`: how long after a picture the next one is asked for at the earliest, which spares the compositor pictures
    /// that are not used.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such compositor or monitor; [`Kind::Unsupported`] when the compositor hands
    /// out no pictures, or the region lies on several monitors; [`Kind::Io`] when no picture comes within 5 seconds.
    pub fn open(
        display: Option<&str>,
        target: &Target,
        pointer: bool,
        pause: Duration,
    ) -> Result<Capture, Error> {
        let mut client = Client::connect(display)?;
        let protocol = client.protocol().filter(|_| client.state.shm.is_some()).ok_or_else(|| {
            Error::new(
                Kind::Unsupported,
                "the compositor offers neither ext-image-copy-capture nor wlr-screencopy with shared memory",
            )
        })?;
        let monitors = client.state.monitors();
        let (monitor, part) = choose(&monitors, target)?;
        let named = !matches!(target, Target::Monitor(None));
        let others = monitors.into_iter().map(|m| m.name).filter(|name| !named && *name != monitor.name);
        let others = others.collect();
        let found = client.state.outputs.iter().find(|o| o.label() == monitor.name);
        let output = found.map(|o| (o.global, o.proxy.clone()));
        let (global, output) = output.ok_or_else(|| gone(&monitor.name))?;
        let way = Way::new(&client, protocol, &output, pointer)?;
        let (theirs, ours) =
            UnixStream::pair().map_err(|e| Error::new(Kind::Io, format!("a pair of sockets: {e}")))?;
        client.wake_by(theirs)?;
        let mut taker =
            Taker { client, way, global, name: monitor.name.clone(), part, pool: Pool::default() };
        let first = taker.first()?;
        let size = (first.width, first.height, first.format);
        let shared = Arc::new(Shared {
            state: Mutex::new(Latest {
                pictures: VecDeque::from([first]),
                error: None,
                asked: Instant::now(),
                closed: false,
            }),
            changed: Condvar::new(),
            fresh: Condvar::new(),
        });
        let thread = {
            let shared = shared.clone();
            let thread = std::thread::Builder::new().name("gs-wayland".into());
            thread.spawn(move || taker.watch(&shared, pause))
        };
        let thread = thread.map_err(|e| Error::new(Kind::Memory, format!("a thread: {e}")))?;
        Ok(Capture { shared, thread: Some(thread), wake: Some(ours), protocol, monitor, others, first: size })
    }

    /// How the compositor hands out the pictures.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The monitor, as it was at the beginning.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// The monitors that there were besides, where none was named.
    pub fn others(&self) -> &[String] {
        &self.others
    }

    /// Pixels of the first picture.
    pub fn size(&self) -> (u32, u32) {
        (self.first.0, self.first.1)
    }

    /// Format of the first picture.
    pub fn format(&self) -> PixelFormat {
        self.first.2
    }

    /// Whether there is a picture that was not taken yet. Does not wait.
    ///
    /// # Errors
    /// [`Kind::Gone`] when the compositor or the monitor is, after the last picture was taken.
    pub fn changed(&self) -> Result<bool, Error> {
        let state = self.looked();
        match &state.error {
            _ if !state.pictures.is_empty() => Ok(true),
            Some(e) => Err(e.clone()),
            None => Ok(false),
        }
    }

    /// Waits until [`Capture::changed`] has an answer other than no, at most so long.
    pub fn wait(&self, time: Duration) {
        let mut state = self.shared.lock();
        state.asked = Instant::now();
        self.shared.changed.notify_all();
        let nothing = |state: &mut Latest| state.pictures.is_empty() && state.error.is_none();
        // Whatever ended the wait is looked at anew.
        drop(self.shared.fresh.wait_timeout_while(state, time, nothing));
    }

    /// The newest picture, unless it was taken before; older ones go. Does not wait.
    ///
    /// # Errors
    /// As for [`Capture::changed`].
    pub fn take(&self) -> Result<Option<Picture>, Error> {
        let mut state = self.shared.lock();
        state.asked = Instant::now();
        let newest = state.pictures.pop_back();
        state.pictures.clear();
        match (newest, &state.error) {
            (Some(picture), _) => Ok(Some(picture)),
            (None, Some(e)) => Err(e.clone()),
            (None, None) => Ok(None),
        }
    }

    /// Notes that somebody looks, and wakes a capture that went idle meanwhile.
    fn looked(&self) -> MutexGuard<'_, Latest> {
        let mut state = self.shared.lock();
        let idle = state.asked.elapsed() > IDLE;
        state.asked = Instant::now();
        if idle {
            self.shared.changed.notify_all();
        }
        state
    }

    /// The newest picture that was shown `ago` or longer ago, unless it was taken before; older ones go, later ones stay. A few
    /// are kept. Does not wait.
    pub fn take_shown(&self, ago: Duration) -> Option<Picture> {
        take_shown(&mut self.looked().pictures, ago)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so; there is nothing else to end.
            let _ = thread.join();
        }
    }
}

struct Latest {
    /// The newest ones that were not taken, the oldest first.
    pictures: VecDeque<Picture>,
    error: Option<Error>,
    /// When somebody last looked for a picture.
    asked: Instant,
    closed: bool,
}

struct Shared {
    state: Mutex<Latest>,
    /// For the thread: somebody looks for pictures, or it ends.
    changed: Condvar,
    /// For whoever takes them: there is one, or there will be none.
    fresh: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Latest> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while nobody looks for pictures; `false` at the end.
    fn is_wanted(&self) -> bool {
        let mut state = self.lock();
        while !state.closed && !state.pictures.is_empty() && state.asked.elapsed() > IDLE {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.closed
    }
}

/// The objects that pictures are asked for with.
enum Way {
    Screencopy { manager: ZwlrScreencopyManagerV1, pointer: bool },
    ImageCopy { session: ExtImageCopyCaptureSessionV1, source: ExtImageCaptureSourceV1 },
}

impl Way {
    fn new(client: &Client, protocol: Protocol, output: &WlOutput, pointer: bool) -> Result<Way, Error> {
        let state = &client.state;
        let missing = || Error::new(Kind::Unsupported, format!("the compositor has no {}", protocol.name()));
        let queue = client.handle();
        match protocol {
            Protocol::Screencopy => {
                Ok(Way::Screencopy { manager: state.screencopy.clone().ok_or_else(missing)?, pointer })
            }
            Protocol::ImageCopy => {
                let (sources, copy) = state.sources.as_ref().zip(state.copy.as_ref()).ok_or_else(missing)?;
                let options = if pointer { Options::PaintCursors } else { Options::empty() };
                let source = sources.create_source(output, &queue, ());
                let session = copy.create_session(&source, options, &queue, ());
                Ok(Way::ImageCopy { session, source })
            }
        }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        if let Way::ImageCopy { session, source } = self {
            session.destroy();
            source.destroy();
        }
    }
}

/// What became of asking for a picture.
enum Taken {
    Picture(Picture),
    /// It failed; the next one may not.
    Failed,
    Late,
    Stopped,
}

/// Takes the pictures.
struct Taker {
    client: Client,
    way: Way,
    global: u32,
    name: String,
    part: Option<Part>,
    pool: Pool,
}

impl Taker {
    fn first(&mut self) -> Result<Picture, Error> {
        let end = Instant::now() + FIRST;
        loop {
            match self.take(false, Some(end))? {
                Taken::Picture(picture) => return Ok(picture),
                Taken::Failed if Instant::now() < end => std::thread::sleep(AGAIN),
                _ => {
                    let name = &self.name;
                    let message =
                        format!("monitor {name} gives no picture in {} s; is it off?", FIRST.as_secs());
                    return Err(Error::new(Kind::Io, message));
                }
            }
        }
    }

    /// Takes what changes until the end.
    fn watch(mut self, shared: &Shared, pause: Duration) {
        let mut failures = 0;
        let ended = loop {
            if !shared.is_wanted() {
                break None;
            }
            let rest = match self.take(true, None) {
                Ok(Taken::Picture(picture)) => {
                    failures = 0;
                    let next = picture.shown + pause;
                    let mut state = shared.lock();
                    state.pictures.push_back(picture);
                    if state.pictures.len() > WAITING {
                        state.pictures.pop_front();
                    }
                    drop(state);
                    shared.fresh.notify_all();
                    next
                }
                Ok(Taken::Failed | Taken::Late) => {
                    failures += 1;
                    if failures > FAILURES {
                        let message = format!("monitor {} gives no pictures any more", self.name);
                        break Some(Error::new(Kind::Gone, message));
                    }
                    Instant::now() + AGAIN
                }
                Ok(Taken::Stopped) => break None,
                Err(e) => break Some(e),
            };
            if rest > Instant::now() {
                match self.client.wait(Some(rest), |_| false) {
                    Ok(Waited::Stopped) => break None,
                    Ok(_) => {}
                    Err(e) => break Some(e),
                }
            }
        };
        shared.lock().error = ended;
        shared.fresh.notify_all();
    }

    /// The next picture: at once, or (`damage`) when something has changed.
    fn take(&mut self, damage: bool, end: Option<Instant>) -> Result<Taken, Error> {
        let Some(output) = self.client.state.output(self.global) else { return Err(gone(&self.name)) };
        let (proxy, queue) = (output.proxy.clone(), self.client.handle());
        let cut = self.is_cut_there(output.transform);
        self.client.state.progress = Progress::default();
        let (taken, place) = match &self.way {
            Way::Screencopy { manager, pointer } => {
                let pointer = i32::from(*pointer);
                let part = self.part.filter(|_| cut);
                let frame = match part {
                    None => manager.capture_output(pointer, &proxy, &queue, ()),
                    Some(p) => {
                        let [x, y, width, height] = [p.x, p.y, p.width, p.height].map(|n| n as i32);
                        manager.capture_output_region(pointer, &proxy, x, y, width, height, &queue, ())
                    }
                };
                let damage = damage && frame.version() >= 2;
                let taken = self.fill(end, None, |buffer, _| {
                    if damage {
                        frame.copy_with_damage(buffer);
                    } else {
                        frame.copy(buffer);
                    }
                });
                frame.destroy();
                taken?
            }
            Way::ImageCopy { session, .. } => {
                let session = session.clone();
                let global = self.global;
                let told = self.client.wait(end, |s| s.session.done || is_over(s, global))?;
                if let Some(early) = self.ended(told)? {
                    return Ok(early);
                }
                let shape = self.session_shape()?;
                let frame = session.create_frame(&queue, ());
                // Without what changed since, the compositor writes the whole picture.
                let taken = self.fill(end, Some(shape), |buffer, shape| {
                    frame.attach_buffer(buffer);
                    frame.damage_buffer(0, 0, shape.width as i32, shape.height as i32);
                    frame.capture();
                });
                frame.destroy();
                taken?
            }
        };
        match place {
            Some((place, shape)) => self.picture(place, shape, cut).map(Taken::Picture),
            None => Ok(taken),
        }
    }

    /// Whether the compositor cuts the part out. Of turned monitors some give a wrong part.
    fn is_cut_there(&self, transform: Transform) -> bool {
        matches!(self.way, Way::Screencopy { .. }) && transform == Transform::Normal
    }

    /// Waits for what buffer is wanted unless it is known (`shape`), has `copy` ask for it to be filled, and waits until
    /// it is.
    fn fill(
        &mut self,
        end: Option<Instant>,
        shape: Option<Shape>,
        copy: impl FnOnce(&WlBuffer, Shape),
    ) -> Result<(Taken, Option<(usize, Shape)>), Error> {
        let global = self.global;
        let shape = match shape {
            Some(shape) => shape,
            None => {
                let offered = |s: &State| s.progress.offered || s.progress.failed || is_over(s, global);
                let told = self.client.wait(end, offered)?;
                if let Some(early) = self.ended(told)? {
                    return Ok((early, None));
                }
                self.client.state.progress.shape.ok_or_else(|| {
                    Error::new(Kind::Unsupported, "the compositor offers no pixel format that is known here")
                })?
            }
        };
        pixels(shape.format)?;
        let shm = self.client.state.shm.clone();
        let shm = shm.ok_or_else(|| Error::new(Kind::Unsupported, "the compositor has no shared memory"))?;
        let place = self.pool.free(shape, &shm, &self.client.handle())?;
        if let Some(buffer) = self.pool.buffer(place) {
            copy(buffer, shape);
        }
        let done = |s: &State| s.progress.ready || s.progress.failed || is_over(s, global);
        let told = self.client.wait(end, done)?;
        match self.ended(told)? {
            Some(early) => Ok((early, None)),
            None => Ok((Taken::Failed, Some((place, shape)))),
        }
    }

    /// What a wait means that did not bring a picture.
    fn ended(&self, told: Waited) -> Result<Option<Taken>, Error> {
        if is_over(&self.client.state, self.global) {
            return Err(gone(&self.name));
        }
        Ok(match told {
            Waited::Late => Some(Taken::Late),
            Waited::Stopped => Some(Taken::Stopped),
            Waited::Come => self.client.state.progress.failed.then_some(Taken::Failed),
        })
    }

    /// The buffer that a session wants.
    fn session_shape(&self) -> Result<Shape, Error> {
        let session = &self.client.state.session;
        let format = session.formats.iter().find(|f| pixels(**f).is_ok());
        let format = *format.ok_or_else(|| {
            Error::new(
                Kind::Unsupported,
                format!("the compositor offers no pixels that are known here, only {:?}", session.formats),
            )
        })?;
        let (width, height) = session.size;
        let bytes = pixels(format)?.1 as u32;
        Ok(Shape { format, width, height, stride: width.saturating_mul(bytes) })
    }

    /// What the compositor has written into a buffer, upright. `cut`: it is only the part.
    fn picture(&self, place: usize, shape: Shape, cut: bool) -> Result<Picture, Error> {
        let progress = &self.client.state.progress;
        let output = self.client.state.output(self.global).ok_or_else(|| gone(&self.name))?;
        let (format, bytes) = pixels(shape.format)?;
        let transform = progress.transform.unwrap_or(output.transform);
        let stride = shape.stride as usize;
        let mut data = self.pool.written(place);
        let mut shown = (shape.width, shape.height, stride);
        if stride < shape.width as usize * bytes || data.len() < stride * shape.height as usize {
            let message = format!("rows of {stride} bytes are too short for {} pixels", shape.width);
            return Err(Error::new(Kind::Io, message));
        }
        if transform != Transform::Normal || progress.inverted {
            let (turned, width, height) = upright(&data, shown, bytes, transform, progress.inverted);
            data = Bytes::from(turned);
            shown = (width, height, width as usize * bytes);
        }
        if let Some(part) = self.part.filter(|_| !cut) {
            let (x, y, width, height) = part.in_pixels(&output.monitor(), (shown.0, shown.1));
            let begin = y as usize * shown.2 + x as usize * bytes;
            let end = begin + (height as usize - 1) * shown.2 + width as usize * bytes;
            data = data.slice(begin.min(data.len())..end.min(data.len()));
            shown = (width, height, shown.2);
        }
        let (width, height, stride) = shown;
        Ok(Picture { width, height, stride, format, data, shown: instant(progress.presented) })
    }
}

fn take_shown(pictures: &mut VecDeque<Picture>, ago: Duration) -> Option<Picture> {
    let old = pictures.iter().take_while(|p| p.age() >= ago).count();
    pictures.drain(..old).next_back()
}

/// Whether what is captured has gone.
fn is_over(state: &State, global: u32) -> bool {
    state.session.stopped || state.output(global).is_none()
}

fn gone(name: &str) -> Error {
    Error::new(Kind::Gone, format!("monitor {name} was removed"))
}

/// The monitor that `target` means, and the part of it.
fn choose(monitors: &[Monitor], target: &Target) -> Result<(Monitor, Option<Part>), Error> {
    let names = || monitors.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join(", ");
    match target {
        Target::Monitor(Some(name)) => {
            let found = monitors.iter().find(|m| m.name == *name).cloned();
            let missing = || Error::new(Kind::NotFound, format!("no monitor {name}; there is {}", names()));
            Ok((found.ok_or_else(missing)?, None))
        }
        // No protocol says which one has the keyboard.
        Target::Monitor(None) => match monitors.iter().min_by_key(|m| (m.x, m.y)) {
            None => Err(Error::new(Kind::NotFound, "the compositor has no monitor")),
            Some(first) => Ok((first.clone(), None)),
        },
        Target::Region { x, y, width, height } => {
            let hit = |m: &Monitor| Part::on(m, *x, *y, *width, *height).map(|part| (m.clone(), part));
            let mut hits = monitors.iter().filter_map(hit);
            let place = || format!("{width}x{height}+{x}+{y}");
            let Some((monitor, part)) = hits.next() else {
                let message = format!("{} lies outside the monitors {}", place(), names());
                return Err(Error::new(Kind::NotFound, message));
            };
            if let Some((other, _)) = hits.next() {
                let (a, b) = (&monitor.name, &other.name);
                let message =
                    format!("{} lies on several monitors, {a} and {b}: capture a part of one", place());
                return Err(Error::new(Kind::Unsupported, message));
            }
            Ok((monitor, Some(part)))
        }
    }
}

/// The name of the pixels, and the bytes of one. What covers nothing has no alpha.
fn pixels(format: Format) -> Result<(PixelFormat, usize), Error> {
    let (name, bytes) = match format {
        Format::Xrgb8888 | Format::Argb8888 => ("bgr0", 4),
        Format::Xbgr8888 | Format::Abgr8888 => ("rgb0", 4),
        Format::Xrgb2101010 | Format::Argb2101010 => ("x2rgb10le", 4),
        Format::Xbgr2101010 | Format::Abgr2101010 => ("x2bgr10le", 4),
        Format::Bgr888 => ("rgb24", 3),
        Format::Rgb888 => ("bgr24", 3),
        Format::Rgb565 => ("rgb565le", 2),
        other => {
            return Err(Error::new(
                Kind::Unsupported,
                format!("pixels of the format {other:?} are not captured"),
            ));
        }
    };
    let found = PixelFormat::from_name(name).ok_or_else(|| {
        Error::new(Kind::Unsupported, format!("this FFmpeg does not know the pixel format {name}"))
    })?;
    Ok((found, bytes))
}

/// A time of the compositor's clock, which is the system's monotonic one; one that it cannot be is now.
fn instant(presented: Option<Duration>) -> Instant {
    let now = Instant::now();
    let mut clock = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: The structure lives until the call returns.
    if unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut clock) } != 0 {
        return now;
    }
    let seconds = u64::try_from(clock.tv_sec).unwrap_or(0);
    let clock = Duration::new(seconds, u32::try_from(clock.tv_nsec).unwrap_or(0));
    let age = presented.and_then(|at| clock.checked_sub(at)).filter(|age| *age < Duration::from_secs(1));
    age.and_then(|age| now.checked_sub(age)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(name: &str, x: i32) -> Monitor {
        Monitor {
            name: name.into(),
            description: String::new(),
            x,
            y: 0,
            width: 100,
            height: 100,
            pixels: (100, 100),
            refresh: None,
        }
    }

    #[test]
    fn a_target_is_one_monitor() {
        let (one, two) = ([monitor("A", 0)], [monitor("A", 0), monitor("B", 100)]);
        let name = |n: &str| Target::Monitor(Some(n.into()));
        let region = |x, width| Target::Region { x, y: 0, width, height: 50 };
        assert_eq!(choose(&one, &Target::Monitor(None)).expect("one").0.name, "A");
        let turned = [monitor("C", 100), monitor("D", -50), monitor("E", 0)];
        assert_eq!(choose(&turned, &Target::Monitor(None)).expect("the leftmost").0.name, "D");
        assert_eq!(choose(&two, &name("B")).expect("B").0.name, "B");
        let (found, part) = choose(&two, &region(120, 30)).expect("on B");
        assert_eq!((found.name.as_str(), part), ("B", Some(Part { x: 20, y: 0, width: 30, height: 50 })));
        for (target, kind, said) in [
            (name("C"), Kind::NotFound, "A, B"),
            (region(300, 5), Kind::NotFound, "5x50+300+0"),
            (region(90, 20), Kind::Unsupported, "A and B"),
        ] {
            let e = choose(&two, &target).expect_err("refused");
            assert!(e.kind == kind && e.to_string().contains(said), "{e}");
        }
        assert_eq!(choose(&[], &Target::Monitor(None)).expect_err("none").kind, Kind::NotFound);
    }

    #[test]
    fn who_is_late_finds_the_pictures_of_the_moments_that_he_missed() {
        let now = Instant::now();
        let shown = |ago: u64| Picture {
            width: 1,
            height: 1,
            stride: 4,
            format: PixelFormat::from_name("bgr0").expect("known"),
            data: Bytes::from_static(&[0; 4]),
            shown: now - Duration::from_secs(ago),
        };
        let mut waiting = VecDeque::from([shown(40), shown(30), shown(20), shown(10)]);
        let mut take = |ago| {
            let taken = take_shown(&mut waiting, Duration::from_secs(ago));
            (taken.map(|p| (now - p.shown).as_secs()), waiting.len())
        };
        assert_eq!(
            [take(50), take(25), take(25), take(5)],
            [(None, 4), (Some(30), 2), (None, 2), (Some(10), 0)]
        );
    }

    #[test]
    fn a_time_that_cannot_be_is_now() {
        for wrong in [None, Some(Duration::ZERO), Some(Duration::MAX)] {
            assert!(instant(wrong).elapsed() < Duration::from_millis(500));
        }
    }
}
