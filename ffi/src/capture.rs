//! Frames from any source, read ahead on a thread of its own.

use crate::boundary::{
    Out, SizedStruct, enter, enter_or, handle, not_now, optional_text, owned, read_struct, text, timeout,
};
use crate::buffer::gs_buffer;
use crate::bytes::{self, gs_bytes};
use crate::frame::gs_frame;
use crate::status::gs_status;
use engine::frame::Frame;
use engine::link::{Overflow, Received, Receiver, Sender, link};
use engine::reader::{Reader, ReaderOptions};
use engine::source::Interrupt;
use engine::spec::Seconds;
use engine::{Error, ErrorKind, Result};
use std::collections::VecDeque;
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// Frames from a file, URL or pattern, decoded when you ask for them and a few ahead; or from a screen or camera, the newest
/// ones.
/// Thread: any; calls wait for one another, except gs_capture_interrupt, which ends them. Not during gs_capture_free.
/// Since: 0
#[allow(non_camel_case_types)]
pub struct gs_capture {
    info: String,
    interrupt: Interrupt,
    inner: Mutex<Inner>,
}

/// Flag of gs_capture_options: sound too. Pictures and sound come interleaved by time.
/// Since: 0
pub const GS_CAPTURE_AUDIO: u32 = 1;
/// Flag of gs_capture_options: no pictures.
/// Since: 0
pub const GS_CAPTURE_NO_VIDEO: u32 = 2;

/// What to take from a source and in what form. All may be 0: pictures of the best stream as they are decoded.
/// Since: 0
#[derive(Clone, Copy)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct gs_capture_options {
    /// sizeof (gs_capture_options).
    pub size: u32,
    /// GS_CAPTURE_AUDIO and GS_CAPTURE_NO_VIDEO.
    pub flags: u32,
    /// Convert pictures to this pixel format (FFmpeg's name: `rgb24`, `nv12`); NULL = as decoded.
    pub format: *const c_char,
    /// Scale pictures to this width; with one side given the other follows the display aspect ratio.
    pub width: u32,
    /// Scale pictures to this height.
    pub height: u32,
    /// 1 + the index of the stream of pictures; 0 = the best one.
    pub video_stream: u32,
    /// 1 + the index of the stream of sound; 0 = the best one.
    pub audio_stream: u32,
    /// Threads of the decoder; 0 = chosen from the cores.
    pub threads: u32,
    /// Frames that are read ahead; 0 = 4.
    pub queue: u32,
}

// SAFETY: repr(C), begins with a u32, integers and a raw pointer.
unsafe impl SizedStruct for gs_capture_options {
    const FIRST: usize = 40;
}

type Item = Result<Frame>;

/// What the reading thread is asked to do.
enum Command {
    Seek(Place, Sender<Item>, mpsc::Sender<Result<Sought>>),
    Count(mpsc::Sender<Result<u64>>),
}

#[derive(Clone, Copy)]
enum Place {
    Time(Seconds),
    Frame(u64),
}

/// What became of the place of a capture.
enum Sought {
    /// It is another one, or none, for this reason.
    Moved(Result<()>),
    /// It stays as it was.
    Refused(Error),
}

struct Inner {
    frames: Receiver<Item>,
    /// Taken off the link while the thread was needed for something else.
    waiting: VecDeque<Item>,
    /// Why there are no more frames, until another place is sought.
    failure: Option<Error>,
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    queue: usize,
    /// Its frames come in their own time.
    live: bool,
}

/// The reading thread: frames out until the end, an error or nobody listens; commands between them.
fn run(mut reader: Reader, out: Sender<Item>, commands: &mpsc::Receiver<Command>) {
    let mut out = Some(out);
    loop {
        let command = match &out {
            None => match commands.recv() {
                Ok(command) => Some(command),
                Err(_) => return,
            },
            Some(_) => match commands.try_recv() {
                Ok(command) => Some(command),
                Err(mpsc::TryRecvError::Empty) => None,
                Err(mpsc::TryRecvError::Disconnected) => return,
            },
        };
        // Whoever asked may be gone, which is fine.
        match command {
            Some(Command::Seek(place, frames, reply)) => {
                let frame = match place {
                    Place::Time(_) => None,
                    Place::Frame(index) => Some(index),
                };
                if let Err(why) = survive(|| reader.check_seek(frame)) {
                    let _ = reply.send(Ok(Sought::Refused(why)));
                    continue;
                }
                let done = survive(|| match place {
                    Place::Time(time) => reader.seek(time),
                    Place::Frame(index) => reader.seek_frame(index),
                });
                out = done.is_ok().then_some(frames);
                let _ = reply.send(Ok(Sought::Moved(done)));
            }
            Some(Command::Count(reply)) => drop(reply.send(survive(|| reader.len()))),
            None => {
                let item = survive(|| reader.next());
                let last = !matches!(item, Ok(Some(_)));
                let gone = match (item.transpose(), &out) {
                    (Some(item), Some(out)) => out.send(item).is_err(),
                    _ => true,
                };
                if last || gone {
                    out = None;
                }
            }
        }
    }
}

/// A panic on the reading thread is an error of the call that it worked for.
fn survive<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "the reading thread panicked")))
}

impl gs_capture {
    fn open(
        options: Option<&gs_capture_options>,
        open: impl FnOnce(ReaderOptions) -> Result<Reader>,
    ) -> Result<gs_capture> {
        let mut reading = ReaderOptions { audio: false, ..ReaderOptions::default() };
        let mut queue = 4;
        if let Some(o) = options {
            if o.flags & !(GS_CAPTURE_AUDIO | GS_CAPTURE_NO_VIDEO) != 0 {
                return Err(Error::invalid("options.flags", format!("unknown flags in {:#x}", o.flags)));
            }
            let stream = |n: u32| (n > 0).then(|| n as usize - 1);
            // SAFETY: the header asks for a terminated string or NULL.
            let format = unsafe { optional_text(o.format, "options.format") }?;
            reading = ReaderOptions {
                video: o.flags & GS_CAPTURE_NO_VIDEO == 0,
                audio: o.flags & GS_CAPTURE_AUDIO != 0,
                video_stream: stream(o.video_stream),
                audio_stream: stream(o.audio_stream),
                pixel_format: format.map(str::to_owned),
                width: (o.width > 0).then_some(o.width),
                height: (o.height > 0).then_some(o.height),
                threads: o.threads,
            };
            if o.queue > 0 {
                queue = o.queue as usize;
            }
        }
        if !reading.video && !reading.audio {
            return Err(Error::invalid("options.flags", "neither pictures nor sound"));
        }
        let reader = open(reading)?;
        let info = serde_json::to_string(reader.info())
            .map_err(|e| Error::with_source(ErrorKind::Internal, format!("cannot write JSON: {e}"), e))?;
        let interrupt = reader.interrupt();
        // What happens now is not waited for by whoever shows it.
        let live = reader.is_live();
        let overflow = if live { Overflow::DropOldest } else { Overflow::Wait };
        let (out, frames) = link(queue, overflow);
        let (commands, asked) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("gs-capture".into())
            .spawn(move || run(reader, out, &asked))
            .map_err(|e| Error::with_source(ErrorKind::Memory, format!("cannot start a thread: {e}"), e))?;
        let inner = Inner {
            frames,
            waiting: VecDeque::new(),
            failure: None,
            commands: Some(commands),
            thread: Some(thread),
            queue,
            live,
        };
        Ok(gs_capture { info, interrupt, inner: Mutex::new(inner) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn next(&mut self, wait: Option<Duration>) -> Result<Received<Frame>> {
        let item = match self.waiting.pop_front() {
            Some(item) => Received::Item(item),
            None => self.frames.recv_deadline(wait),
        };
        match item {
            Received::Item(Ok(frame)) => Ok(Received::Item(frame)),
            Received::Item(Err(error)) => {
                self.failure = Some(error.clone());
                Err(error)
            }
            Received::Timeout => Ok(Received::Timeout),
            Received::End | Received::Closed => match &self.failure {
                Some(error) => Err(error.clone()),
                None => Ok(Received::End),
            },
        }
    }

    fn seek(&mut self, place: Place) -> Result<()> {
        let (out, frames) = link(self.queue, Overflow::Wait);
        let (reply, answer) = mpsc::channel();
        self.ask(Command::Seek(place, out, reply))?;
        match self.answer(&answer)? {
            // What was read ahead is what comes next, as if nothing had been asked.
            Sought::Refused(why) => Err(why),
            Sought::Moved(done) => {
                self.frames = frames;
                self.waiting.clear();
                self.failure = done.as_ref().err().cloned();
                done
            }
        }
    }

    fn count(&mut self) -> Result<u64> {
        let (reply, answer) = mpsc::channel();
        self.ask(Command::Count(reply))?;
        self.answer(&answer)
    }

    /// What the thread says, which may be waiting for room first; its frames must not get lost.
    fn answer<T>(&mut self, answer: &mpsc::Receiver<Result<T>>) -> Result<T> {
        let mut most = self.queue;
        loop {
            // The thread of a live source waits for none, and drops what is too old.
            while !self.live
                && self.waiting.len() < most
                && let Received::Item(item) = self.frames.recv_deadline(Some(Duration::ZERO))
            {
                self.waiting.push_back(item);
            }
            match answer.recv_timeout(Duration::from_millis(1)) {
                Ok(answer) => return answer,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(gone()),
                Err(mpsc::RecvTimeoutError::Timeout) => most = most.max(self.waiting.len() + 1),
            }
        }
    }

    fn ask(&self, command: Command) -> Result<()> {
        let sent = self.commands.as_ref().is_some_and(|c| c.send(command).is_ok());
        if sent { Ok(()) } else { Err(gone()) }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Internal, "the reading thread is gone")
}

impl Drop for gs_capture {
    fn drop(&mut self) {
        self.interrupt.cancel();
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        inner.commands = None;
        // Closes the link that the thread may be waiting on.
        inner.frames = link(1, Overflow::Wait).1;
        if let Some(thread) = inner.thread.take() {
            // It catches its panics.
            let _ = thread.join();
        }
    }
}

/// Opens a source for taking frames. `source` is a path or URL, `pattern:smpte`, `pattern:gradient`, `screen:`,
/// `screen:DP-1?fps=30&region=10,10 640x360` or `camera:/dev/video0?size=1280x720` as the command takes them, or a `source`
/// object of the document; `options` may be NULL. Blocks while the source opens. Of a screen or camera, which go on whether
/// frames are taken or not, only the newest `queue` frames are kept; they cannot be sought.
/// Owns: you get `*capture`; gs_capture_free it. Nothing passed in is kept.
/// Thread: any.
/// Errors: GS_NOT_FOUND, GS_FORMAT, GS_IO, GS_DENIED naming the source; GS_UNSUPPORTED without a decoder; GS_INVALID
/// naming the field.
/// Since: 0
///
/// # Safety
/// `source` is NULL or a terminated string; `options` is NULL or as long as its `size` says; `capture` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_capture_open(
    source: *const c_char,
    options: *const gs_capture_options,
    capture: *mut *mut gs_capture,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(capture, "capture") }?;
        // SAFETY: the caller's promise.
        let source = unsafe { text(source, "source") }?;
        // SAFETY: the caller's promise.
        let options = unsafe { self::options(options) }?;
        let open = |reading| Reader::open(&crate::probe::source(source)?, reading);
        out.set(owned::give(gs_capture::open(options.as_ref(), open)?));
        Ok(gs_status::GS_OK)
    })
}

/// As gs_capture_open, of a file that you have: in memory, which is not copied, or behind a function that reads it at any
/// place. `source` is NULL or a `source` object that names no source (`{"start": 10, "format": "mpegts"}`); `options` may be
/// NULL. Seeking is as exact as in a file. Nothing outside the bytes is opened (playlists, external references).
/// Owns: you get `*capture`; gs_capture_free it. Keeps what is behind `bytes`, not the struct, until `release(user)`, which
/// runs in gs_capture_free. When the call fails, nothing is kept and `release` never runs.
/// Thread: any.
/// Errors: GS_FORMAT; GS_IO when `read` failed, then or later; GS_UNSUPPORTED without a decoder; GS_INVALID naming the field.
/// Since: 0
///
/// # Safety
/// `bytes` is NULL or as long as its `size` says, with fields as its text says; `source` is NULL or a terminated string;
/// `options` is NULL or as long as its `size` says; `capture` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_capture_open_bytes(
    bytes: *const gs_bytes,
    source: *const c_char,
    options: *const gs_capture_options,
    capture: *mut *mut gs_capture,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(capture, "capture") }?;
        // SAFETY: the caller's promise.
        let taken = unsafe { bytes::Taken::new(bytes) }?;
        // SAFETY: the caller's promise.
        let source = unsafe { bytes::source(source) }?;
        // SAFETY: the caller's promise.
        let options = unsafe { self::options(options) }?;
        let content = taken.content();
        let open = |reading| Reader::open_content(content, &source, reading, Interrupt::new());
        let opened = gs_capture::open(options.as_ref(), open)?;
        taken.keep();
        out.set(owned::give(opened));
        Ok(gs_status::GS_OK)
    })
}

/// # Safety
/// `options` is NULL or as long as its `size` says.
unsafe fn options(options: *const gs_capture_options) -> Result<Option<gs_capture_options>> {
    if options.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    unsafe { read_struct(options, "options") }.map(Some)
}

/// The next frame, in the order of time.
/// Owns: you get `*frame`; gs_frame_unref it.
/// Thread: any; waits for other calls on the capture.
/// Errors: GS_AGAIN, GS_TIMEOUT; GS_END after the last one; GS_IO, GS_FORMAT, GS_CANCELLED, again and again until you
/// seek; GS_INVALID.
/// Since: 0
///
/// # Safety
/// `capture` is NULL or a live capture; `frame` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_capture_next_frame(
    capture: *mut gs_capture,
    timeout_us: i64,
    frame: *mut *mut gs_frame,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(frame, "frame") }?;
        // SAFETY: the caller's promise.
        let capture = unsafe { handle(capture, "capture") }?;
        let wait = timeout(timeout_us);
        Ok(match capture.lock().next(wait)? {
            Received::Item(frame) => {
                out.set(gs_frame::give(frame));
                gs_status::GS_OK
            }
            Received::Timeout => not_now(wait),
            Received::End | Received::Closed => gs_status::GS_END,
        })
    })
}

/// Goes to a time in microseconds, on the clock of the frames (which may begin before 0): the next picture is the one that
/// is shown then, the first for times before all.
/// Owns: nothing.
/// Thread: any; waits for other calls on the capture.
/// Errors: GS_UNSUPPORTED when the source cannot be sought, and its place stays as it was; GS_IO, GS_FORMAT, GS_CANCELLED;
/// GS_INVALID for NULL.
/// Since: 0
///
/// # Safety
/// `capture` is NULL or a live capture.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_capture_seek(capture: *mut gs_capture, time_us: i64) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let capture = unsafe { handle(capture, "capture") }?;
        capture.lock().seek(Place::Time(Seconds(time_us as f64 / 1e6)))?;
        Ok(gs_status::GS_OK)
    })
}

/// Goes to a picture by its number, counted from 0 in the order of showing, where the source has a `start` from there.
/// The first time all packets are read (not decoded).
/// Owns: nothing.
/// Thread: any; waits for other calls on the capture.
/// Errors: GS_INVALID beyond the last picture, and GS_UNSUPPORTED when the source cannot be sought: the place stays as it
/// was; GS_IO, GS_FORMAT, GS_CANCELLED.
/// Since: 0
///
/// # Safety
/// `capture` is NULL or a live capture.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_capture_seek_frame(capture: *mut gs_capture, index: u64) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        unsafe { handle(capture, "capture") }?.lock().seek(Place::Frame(index))?;
        Ok(gs_status::GS_OK)
    })
}

/// How many pictures the source has, exactly; with a `start` or `duration`, how many that part has. The first time all
/// packets are read (not decoded). Frames that are due stay due.
/// Owns: nothing.
/// Thread: any; waits for other calls on the capture.
/// Errors: GS_UNSUPPORTED for a source without an end or that cannot be sought; GS_IO, GS_CANCELLED; GS_INVALID.
/// Since: 0
///
/// # Safety
/// `capture` is NULL or a live capture; `count` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_capture_frame_count(capture: *mut gs_capture, count: *mut u64) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(count, "count") }?;
        // SAFETY: the caller's promise.
        out.set(unsafe { handle(capture, "capture") }?.lock().count()?);
        Ok(gs_status::GS_OK)
    })
}

/// What the headers of the source say, as JSON in the form of gs_probe.
/// Owns: you get `*json`; gs_buffer_unref it.
/// Thread: any.
/// Errors: GS_INVALID.
/// Since: 0
///
/// # Safety
/// `capture` is NULL or a live capture; `json` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_capture_info(capture: *const gs_capture, json: *mut *mut gs_buffer) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(json, "json") }?;
        // SAFETY: the caller's promise.
        out.set(gs_buffer::text(unsafe { handle(capture, "capture") }?.info.clone()));
        Ok(gs_status::GS_OK)
    })
}

/// Ends what the capture waits for in other threads, for good: their calls answer GS_CANCELLED or GS_END.
/// Owns: nothing.
/// Thread: any, also while other calls use the capture.
/// Errors: GS_INVALID.
/// Since: 0
///
/// # Safety
/// `capture` is NULL or a live capture.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_capture_interrupt(capture: *const gs_capture) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        unsafe { handle(capture, "capture") }?.interrupt.cancel();
        Ok(gs_status::GS_OK)
    })
}

/// Closes a capture and nulls `*capture`. Frames that you took stay valid.
/// Owns: takes `*capture`.
/// Thread: any, while no other call uses the capture.
/// Errors: none; NULL and a nulled `*capture` do nothing.
/// Since: 0
///
/// # Safety
/// `capture` is NULL or points to NULL or to a capture of the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_capture_free(capture: *mut *mut gs_capture) {
    // SAFETY: the caller's promise.
    enter_or((), || unsafe { owned::release(capture) });
}
