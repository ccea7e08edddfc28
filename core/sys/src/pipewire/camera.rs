//! A camera of our own: a node that other programs open as they open a webcam.

use super::buffer::View;
use super::params::{self, Params};
use super::thread::{self, Resident, Thread, refused};
use super::video::monotonic;
use super::{CameraOptions, Error, Kind};
use bytes::Bytes;
use pipewire::core::CoreRc;
use pipewire::properties::PropertiesBox;
use pipewire::spa;
use pipewire::stream::{StreamFlags, StreamListener, StreamRc, StreamState};
use spa::param::ParamType;
use std::cell::Cell;
use std::mem::size_of;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A camera that shows the newest picture that it was given, again and again, at its own rate. May be used from any thread.
pub struct Camera {
    // First, so that the loop has ended before what it shares.
    _ticker: Ticker,
    thread: Arc<Thread<Tick>>,
    shared: Arc<Shared>,
    size: usize,
}

/// It is time for a picture.
struct Tick;

#[derive(Default)]
struct Shared {
    picture: Mutex<Option<Bytes>>,
    end: Mutex<Option<Error>>,
    watched: AtomicBool,
    shown: AtomicU64,
}

impl Shared {
    fn picture(&self) -> MutexGuard<'_, Option<Bytes>> {
        self.picture.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) -> MutexGuard<'_, Option<Error>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the loop when a picture is due, on a thread of its own.
struct Ticker {
    stop: Arc<AtomicBool>,
    handle: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(handle) = self.handle.take() {
            handle.thread().unpark();
            let _ = handle.join();
        }
    }
}

impl Camera {
    /// Puts the camera up. Programs see it at once; before the first picture it is black.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no PipeWire to connect to; [`Kind::Unsupported`] for a format that no camera has;
    /// [`Kind::Io`] when PipeWire refuses.
    pub fn open(options: CameraOptions) -> Result<Camera, Error> {
        let format = Format::of(&options)?;
        let shared = Arc::new(Shared::default());
        let period = Duration::from_secs_f64(f64::from(options.rate.1) / f64::from(options.rate.0));
        let thread = {
            let shared = shared.clone();
            Thread::start("pw-camera", None, move |_, core, _| Showing::new(core, &options, format, shared))?
        };
        let thread = Arc::new(thread);
        let stop = Arc::new(AtomicBool::new(false));
        let ticking = {
            let (thread, stop) = (Arc::downgrade(&thread), stop.clone());
            move || {
                let mut due = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    let Some(thread) = thread.upgrade() else { return };
                    thread.send(Tick);
                    drop(thread);
                    // Ticks that a sleeping machine missed are not made up for.
                    due = (due + period).max(Instant::now());
                    std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
                }
            }
        };
        let handle = std::thread::Builder::new().name("pw-camera-tick".into()).spawn(ticking);
        let handle = handle.map_err(|e| Error::new(Kind::Memory, format!("no thread for a camera: {e}")))?;
        let ticker = Ticker { stop, handle: Some(handle) };
        Ok(Camera { _ticker: ticker, thread, shared, size: format.size })
    }

    /// Shows `picture` from now on: the planes of the camera's format one after the other, rows without padding.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] when it has not the length of a picture; [`Kind::Gone`] when PipeWire went away.
    pub fn show(&self, picture: Bytes) -> Result<(), Error> {
        if let Some(end) = &*self.shared.end() {
            return Err(end.clone());
        }
        if picture.len() != self.size {
            let message = format!("a picture of {} bytes for a camera of {}", picture.len(), self.size);
            return Err(Error::new(Kind::Unsupported, message));
        }
        *self.shared.picture() = Some(picture);
        Ok(())
    }

    /// Whether somebody watches.
    pub fn is_watched(&self) -> bool {
        self.shared.watched.load(Ordering::Relaxed)
    }

    /// Pictures that were given to those who watch.
    pub fn shown(&self) -> u64 {
        self.shared.shown.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Camera {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Camera({} shown, {} owners of its thread)", self.shown(), Arc::strong_count(&self.thread))
    }
}

/// The layout of a camera's pictures.
#[derive(Clone, Copy)]
struct Format {
    raw: spa::param::video::VideoFormat,
    /// Bytes of a picture.
    size: usize,
    /// Bytes of a row of its first plane.
    stride: usize,
    /// Where luma ends, and the bytes of black: before that, from there on.
    luma: usize,
}

impl Format {
    fn of(options: &CameraOptions) -> Result<Format, Error> {
        let (width, height) = (options.width as usize, options.height as usize);
        let refuse = |what: &str| Err(Error::new(Kind::Unsupported, format!("a camera {what}")));
        let known = matches!(options.format.name(), "yuv420p" | "nv12" | "yuyv422");
        let Some(raw) = params::raw_format(options.format).filter(|_| known) else {
            return refuse(&format!("of {} pictures: there are yuv420p, nv12 and yuyv422", options.format));
        };
        if width == 0 || height == 0 || width % 2 == 1 || height % 2 == 1 || width > 16384 || height > 16384 {
            return refuse(&format!("of {width}x{height}: sides are even, 2 to 16384"));
        }
        if options.rate.0 == 0 || options.rate.1 == 0 || options.rate.0 / options.rate.1 > 1000 {
            return refuse(&format!("of {}/{} pictures a second", options.rate.0, options.rate.1));
        }
        if options.name.is_empty() || options.name.contains('\0') {
            return refuse("without a name");
        }
        let packed = options.format.name() == "yuyv422";
        let luma = width * height;
        Ok(Format {
            raw,
            size: if packed { luma * 2 } else { luma * 3 / 2 },
            stride: if packed { width * 2 } else { width },
            luma: if packed { 0 } else { luma },
        })
    }

    /// Fills `picture` with black.
    fn black(&self, picture: &mut [u8]) {
        let (luma, rest) = picture.split_at_mut(self.luma.min(picture.len()));
        luma.fill(16);
        if self.luma == 0 {
            rest.chunks_exact_mut(2).for_each(|pair| pair.copy_from_slice(&[16, 128]));
        } else {
            rest.fill(128);
        }
    }
}

/// What the stream's callbacks work on.
struct Giving {
    shared: Arc<Shared>,
    format: Format,
    streaming: Rc<Cell<bool>>,
    sequence: u64,
}

/// The stream on its loop.
struct Showing {
    // Listeners unregister themselves, which must be before the objects that they listen to go: fields are dropped in order.
    _listener: StreamListener<Giving>,
    _core: pipewire::core::Listener,
    stream: StreamRc,
    streaming: Rc<Cell<bool>>,
}

impl Resident for Showing {
    type Message = Tick;

    fn tell(&mut self, Tick: Tick) {
        // Where somebody else sets the pace, a consumer with a clock of its own, pictures are asked for.
        if self.streaming.get() && self.stream.is_driving() {
            // It fails when the consumer went away a moment ago.
            let _ = self.stream.trigger_process();
        }
    }
}

impl Drop for Showing {
    fn drop(&mut self) {
        // It fails when it is not connected any more.
        let _ = self.stream.disconnect();
    }
}

impl Showing {
    fn new(
        core: &CoreRc,
        options: &CameraOptions,
        format: Format,
        shared: Arc<Shared>,
    ) -> Result<Showing, Error> {
        let mut properties = PropertiesBox::new();
        for (key, value) in [
            ("media.type", "Video"),
            ("media.class", "Video/Source"),
            ("media.role", "Camera"),
            ("node.name", options.node.as_str()),
            ("node.description", options.name.as_str()),
            ("node.nick", options.name.as_str()),
            ("node.virtual", "true"),
            ("node.autoconnect", "false"),
            ("application.name", "GhostStream"),
        ] {
            properties.insert(key, value);
        }
        let stream = StreamRc::new(core.clone(), &options.name, properties).map_err(refused("a camera"))?;
        let failures = core
            .add_listener_local()
            .error({
                let shared = shared.clone();
                move |id, _, code, message| {
                    if thread::is_end(id, code) {
                        let gone = Error::new(Kind::Gone, format!("PipeWire is gone: {message} ({code})"));
                        shared.end().get_or_insert(gone);
                    }
                }
            })
            .register();
        let streaming = Rc::new(Cell::new(false));
        let giving = Giving { shared, format, streaming: streaming.clone(), sequence: 0 };
        let listener = stream
            .add_local_listener_with_user_data(giving)
            .state_changed(|_, giving, _, new| {
                let streams = new == StreamState::Streaming;
                giving.streaming.set(streams);
                giving.shared.watched.store(streams, Ordering::Relaxed);
                if let StreamState::Error(message) = new {
                    let failed = Error::new(Kind::Gone, format!("PipeWire: the camera failed: {message}"));
                    giving.shared.end().get_or_insert(failed);
                }
            })
            .param_changed(|stream, giving, id, param| {
                if param.is_some()
                    && id == ParamType::Format.as_raw()
                    && let Err(e) = giving.agree(stream)
                {
                    giving.shared.end().get_or_insert(e);
                }
            })
            .process(|stream, giving| {
                // SAFETY: NULL is looked for, and the buffer is given back at once.
                let buffer = unsafe { stream.dequeue_raw_buffer() };
                if buffer.is_null() {
                    return;
                }
                // SAFETY: just dequeued.
                if let Some(mut view) = unsafe { View::new(buffer) } {
                    giving.give(&mut view);
                }
                // SAFETY: dequeued from this stream, once.
                unsafe { stream.queue_raw_buffer(buffer) };
            })
            .register()
            .map_err(refused("a camera's listener"))?;
        let params = Params::new([params::camera_format(format.raw, options)])?;
        // The pace is ours, and the memory is what PipeWire shares.
        let flags = StreamFlags::DRIVER | StreamFlags::MAP_BUFFERS;
        stream
            .connect(spa::utils::Direction::Output, None, flags, &mut params.pods())
            .map_err(refused("putting a camera up"))?;
        Ok(Showing { _listener: listener, _core: failures, stream, streaming })
    }
}

impl Giving {
    /// Somebody takes the format: says how buffers are.
    fn agree(&self, stream: &pipewire::stream::Stream) -> Result<(), Error> {
        let header = size_of::<spa::sys::spa_meta_header>();
        let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let size = (number(self.format.size), number(self.format.stride));
        let params = Params::new([
            // A range: programs differ in how many they need.
            params::buffers(&[spa::sys::SPA_DATA_MemPtr, spa::sys::SPA_DATA_MemFd], (8, 2, 64), Some(size)),
            params::meta(spa::sys::SPA_META_Header, (header, header, header)),
        ])?;
        stream.update_params(&mut params.pods()).map_err(refused("agreeing on a camera's buffers"))
    }

    /// Puts the newest picture into a buffer.
    fn give(&mut self, view: &mut View) {
        self.sequence += 1;
        let picture = self.shared.picture().clone();
        let format = self.format;
        let written = view.fill(self.format.size, self.format.stride, |memory| match &picture {
            Some(picture) => memory.copy_from_slice(picture),
            None => format.black(memory),
        });
        view.set_header(i64::try_from(monotonic().as_nanos()).unwrap_or(0), self.sequence);
        if written {
            self.shared.shown.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffmpeg::PixelFormat;

    fn options(format: &str, width: u32, height: u32) -> CameraOptions {
        CameraOptions {
            name: "c".into(),
            node: "c".into(),
            format: PixelFormat::from_name(format).unwrap(),
            bt709: false,
            width,
            height,
            rate: (30, 1),
        }
    }

    #[test]
    fn formats_have_sizes_and_black() {
        for (name, size, black) in [
            ("yuv420p", 12, [vec![16; 8], vec![128; 4]].concat()),
            ("nv12", 12, [vec![16; 8], vec![128; 4]].concat()),
            ("yuyv422", 16, [16, 128].repeat(8)),
        ] {
            let format = Format::of(&options(name, 4, 2)).unwrap();
            let mut picture = vec![0; size];
            format.black(&mut picture);
            assert_eq!((format.size, picture), (size, black), "{name}");
        }
        for bad in [options("bgr0", 4, 2), options("nv12", 3, 2), options("nv12", 0, 2)] {
            assert_eq!(Format::of(&bad).err().unwrap().kind, Kind::Unsupported);
        }
    }
}
