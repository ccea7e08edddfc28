//! The pictures of a video node: a screen of the portal, a camera.

use super::buffer::{self, Block, View};
use super::params::{self, Modifier, Params, Wanted};
use super::pictures::Lease;
use super::thread::{self, Address, Resident, Thread, refused};
use super::{
    DmaBuf, DmaBufFormat, DmaBufPlane, Error, Kind, Pixels, VideoEvent, VideoFormat, VideoFrame, VideoOptions,
};
use crate::ffmpeg::{FramePool, PixelFormat};
use pipewire::core::CoreRc;
use pipewire::properties::PropertiesBox;
use pipewire::spa;
use pipewire::stream::{StreamFlags, StreamListener, StreamRc, StreamState};
use spa::param::ParamType;
use spa::param::video::VideoInfoRaw;
use spa::pod::Pod;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::mem::size_of;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The largest pointer that is asked for, in pixels each way.
const POINTER: usize = 256;

/// The pictures of a video node. One thread at a time; may move between threads.
pub struct VideoStream {
    // First, so that its thread has ended before what waits for the taker goes.
    _thread: Thread<Message>,
    shared: Arc<Shared>,
}

/// What the loop's thread and the taker share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// Events with the time, by the monotonic clock, at which a picture was shown.
    queue: VecDeque<(VideoEvent, Duration)>,
    dropped: u64,
    /// Why there will be nothing more.
    end: Option<Error>,
}

/// What the taker tells the loop.
enum Message {
    /// A DMA-BUF of that number is not needed any more.
    Return(u64),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: VideoEvent, shown: Duration, most: usize) {
        let mut oldest = None;
        {
            let mut state = self.lock();
            let event = match event {
                // The pointer alone is no reason to drop a picture that waits.
                VideoEvent::Frame(VideoFrame {
                    pixels: Pixels::None,
                    cursor: Some(newer),
                    age,
                    sequence,
                }) => match state.queue.back_mut() {
                    Some((VideoEvent::Frame(last), _)) => {
                        match &mut last.cursor {
                            Some(cursor) => cursor.follow(newer),
                            none => *none = Some(newer),
                        }
                        drop(state);
                        self.news.notify_one();
                        return;
                    }
                    _ => VideoEvent::Frame(VideoFrame {
                        pixels: Pixels::None,
                        cursor: Some(newer),
                        age,
                        sequence,
                    }),
                },
                event => event,
            };
            let frames = state.queue.iter().filter(|(e, _)| matches!(e, VideoEvent::Frame(_))).count();
            if matches!(event, VideoEvent::Frame(_)) && frames >= most.max(1) {
                let at = state.queue.iter().position(|(e, _)| matches!(e, VideoEvent::Frame(_)));
                oldest = at.and_then(|at| state.queue.remove(at));
                let had_pixels = |f: &VideoFrame| !matches!(f.pixels, Pixels::None);
                state.dropped +=
                    u64::from(matches!(&oldest, Some((VideoEvent::Frame(frame), _)) if had_pixels(frame)));
            }
            state.queue.push_back((event, shown));
        }
        // A new pointer that was on a dropped picture is shown with the next one.
        if let Some((VideoEvent::Frame(VideoFrame { cursor: Some(mut old), .. }), _)) = oldest {
            let mut state = self.lock();
            if let Some(VideoEvent::Frame(next)) =
                state.queue.iter_mut().map(|(e, _)| e).find(|e| matches!(e, VideoEvent::Frame(_)))
            {
                if let Some(newer) = next.cursor.take() {
                    old.follow(newer);
                }
                next.cursor = Some(old);
            }
        }
        self.news.notify_one();
    }

    fn end(&self, error: Error) {
        self.lock().end.get_or_insert(error);
        self.news.notify_one();
    }
}

/// The monotonic clock, which PipeWire's times are of.
pub(super) fn monotonic() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec of ours; the clock always exists on Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

impl VideoStream {
    /// Asks the node of number `node` for its pictures, at `remote` (the connection that the portal opened) or at the
    /// session's own PipeWire. Returns before anything is agreed; [`VideoStream::next`] tells of that.
    ///
    /// The stream is of this node only: when it goes, the stream ends, and is never linked to another one.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no PipeWire to connect to; [`Kind::Io`] when it refuses.
    pub fn connect(remote: Option<OwnedFd>, node: u32, options: VideoOptions) -> Result<VideoStream, Error> {
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = shared.clone();
            Thread::start("pw-video", remote, move |_, core, address| {
                Capture::new(core, node, options, shared, address)
            })?
        };
        Ok(VideoStream { _thread: thread, shared })
    }

    /// The next event; `None` when there is none within `timeout`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such node; [`Kind::Gone`] when it or PipeWire went away; [`Kind::Unsupported`] when
    /// it has nothing that is understood here. The same again from then on.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<VideoEvent>, Error> {
        let begin = Instant::now();
        let mut state = self.shared.lock();
        loop {
            if let Some((mut event, shown)) = state.queue.pop_front() {
                if let VideoEvent::Frame(frame) = &mut event {
                    frame.age = monotonic().saturating_sub(shown);
                }
                return Ok(Some(event));
            }
            if let Some(end) = &state.end {
                return Err(end.clone());
            }
            let left = timeout.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            state = self.shared.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Pictures dropped because nobody took them in time.
    pub fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }
}

impl std::fmt::Debug for VideoStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VideoStream")
    }
}

/// Buffers whose memory the taker has.
#[derive(Default)]
struct Out {
    next: u64,
    buffers: HashMap<u64, *mut pipewire::sys::pw_buffer>,
}

/// What the stream's callbacks work on.
struct Receiving {
    shared: Arc<Shared>,
    address: Address<Message>,
    options: VideoOptions,
    format: Option<VideoFormat>,
    pool: Option<FramePool>,
    out: Rc<RefCell<Out>>,
    was_running: bool,
}

/// The stream on its loop.
struct Capture {
    // Listeners unregister themselves, which must be before the objects that they listen to go: fields are dropped in order.
    _listener: StreamListener<Receiving>,
    stream: StreamRc,
    out: Rc<RefCell<Out>>,
    _core: pipewire::core::Listener,
    _registry: (pipewire::registry::Listener, pipewire::registry::RegistryRc),
}

impl Resident for Capture {
    type Message = Message;

    fn tell(&mut self, Message::Return(number): Message) {
        if let Some(buffer) = self.out.borrow_mut().buffers.remove(&number) {
            // SAFETY: it was dequeued from this stream, is returned once, and PipeWire has not taken it back: `remove_buffer`
            // would have removed it from the map.
            unsafe { self.stream.queue_raw_buffer(buffer) };
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // It fails when it is not connected any more.
        let _ = self.stream.disconnect();
    }
}

impl Capture {
    fn new(
        core: &CoreRc,
        node: u32,
        options: VideoOptions,
        shared: Arc<Shared>,
        address: Address<Message>,
    ) -> Result<Capture, Error> {
        let mut properties = PropertiesBox::new();
        for (key, value) in [
            ("media.type", "Video"),
            ("media.category", "Capture"),
            ("media.role", "Screen"),
            ("node.dont-reconnect", "true"),
            ("application.name", options.name.as_str()),
        ] {
            properties.insert(key, value);
        }
        let registry = watch(core, node, &shared)?;
        let failures = watch_core(core, &shared, registry.2);
        let stream = StreamRc::new(core.clone(), &options.name, properties).map_err(refused("a stream"))?;
        let out = Rc::new(RefCell::new(Out::default()));
        let receiving = Receiving {
            shared,
            address,
            options: options.clone(),
            format: None,
            pool: None,
            out: out.clone(),
            was_running: false,
        };
        let listener = stream
            .add_local_listener_with_user_data(receiving)
            .state_changed(|_, receiving, _, new| receiving.state(new))
            .param_changed(|stream, receiving, id, param| {
                if let (Some(param), true) = (param, id == ParamType::Format.as_raw())
                    && let Err(e) = receiving.agree(stream, param)
                {
                    receiving.shared.end(e);
                }
            })
            .remove_buffer(|_, receiving, buffer| {
                receiving.out.borrow_mut().buffers.retain(|_, out| *out != buffer);
            })
            .process(|stream, receiving| {
                loop {
                    // SAFETY: NULL is looked for; the buffer is given back, or kept among those that are out.
                    let buffer = unsafe { stream.dequeue_raw_buffer() };
                    if buffer.is_null() {
                        return;
                    }
                    if !receiving.take(buffer) {
                        // SAFETY: dequeued above, from this stream.
                        unsafe { stream.queue_raw_buffer(buffer) };
                    }
                }
            })
            .register()
            .map_err(refused("a stream's listener"))?;
        let params = offers(&options, None)?;
        let flags = StreamFlags::AUTOCONNECT | StreamFlags::MAP_BUFFERS | StreamFlags::DONT_RECONNECT;
        stream
            .connect(spa::utils::Direction::Input, Some(node), flags, &mut params.pods())
            .map_err(refused("connecting a stream"))?;
        Ok(Capture { stream, out, _listener: listener, _core: failures, _registry: (registry.0, registry.1) })
    }
}

/// The formats to offer: DMA-BUFs first, or the one that was picked.
fn offers(options: &VideoOptions, picked: Option<(PixelFormat, u64)>) -> Result<Params, Error> {
    let rate = options.max_rate;
    let picked = picked
        .and_then(|(format, modifier)| params::capture_format(&Wanted::Modifier(format, modifier), rate));
    let offered = |d: &DmaBufFormat| params::capture_format(&Wanted::Modifiers(d), rate);
    let dmabufs = options.dmabuf.iter().filter_map(offered);
    let last = options.last_resort.iter().filter_map(offered);
    let host = params::capture_format(&Wanted::Host, rate);
    Params::new(picked.into_iter().chain(dmabufs).chain(host).chain(last))
}

type Watched = (pipewire::registry::Listener, pipewire::registry::RegistryRc, Rc<RefCell<bool>>);

/// Ends the stream when its node goes, whatever the session manager makes of that.
fn watch(core: &CoreRc, node: u32, shared: &Arc<Shared>) -> Result<Watched, Error> {
    let registry = core.get_registry_rc().map_err(refused("the registry"))?;
    let seen = Rc::new(RefCell::new(false));
    let listener = registry
        .add_listener_local()
        .global({
            let seen = seen.clone();
            move |global| {
                if global.id == node {
                    *seen.borrow_mut() = true;
                }
            }
        })
        .global_remove({
            let shared = shared.clone();
            move |id| {
                if id == node {
                    shared.end(Error::new(Kind::Gone, format!("node {node} is gone: its pictures end")));
                }
            }
        })
        .register();
    Ok((listener, registry, seen))
}

/// Tells of a node that is not there, and of PipeWire's own end.
fn watch_core(core: &CoreRc, shared: &Arc<Shared>, seen: Rc<RefCell<bool>>) -> pipewire::core::Listener {
    let listener = core
        .add_listener_local()
        .done({
            let shared = shared.clone();
            move |id, _| {
                if id == 0 && !*seen.borrow() {
                    shared.end(Error::new(Kind::NotFound, "PipeWire has no such node"));
                }
            }
        })
        .error({
            let shared = shared.clone();
            move |id, _, code, message| {
                if thread::is_end(id, code) {
                    shared.end(Error::new(Kind::Gone, format!("PipeWire is gone: {message} ({code})")));
                }
            }
        })
        .register();
    // It fails when the connection broke, which the listener tells.
    let _ = core.sync(0);
    listener
}

impl Receiving {
    fn state(&mut self, state: StreamState) {
        match state {
            StreamState::Streaming => {
                self.was_running = true;
                self.tell(VideoEvent::Running);
            }
            StreamState::Paused if self.was_running => self.tell(VideoEvent::Paused),
            StreamState::Error(message) => {
                let kind = if self.was_running { Kind::Gone } else { Kind::Unsupported };
                self.shared
                    .end(Error::new(kind, format!("PipeWire: the stream of pictures failed: {message}")));
            }
            StreamState::Unconnected if self.was_running => {
                self.shared.end(Error::new(Kind::Gone, "PipeWire ended the stream of pictures"));
            }
            StreamState::Unconnected => {
                let message = "PipeWire ended the stream before its first picture: the node gives nothing that is taken here";
                self.shared.end(Error::new(Kind::Unsupported, message));
            }
            StreamState::Connecting | StreamState::Paused => {}
        }
    }

    fn tell(&self, event: VideoEvent) {
        self.shared.push(event, monotonic(), self.options.queue);
    }

    /// The node says what it will give.
    fn agree(&mut self, stream: &pipewire::stream::Stream, param: &Pod) -> Result<(), Error> {
        let agreed = match told(&self.options, param)? {
            Told::Agreed(format) => format,
            Told::Picked(format, modifier) => {
                let params = offers(&self.options, Some((format, modifier)))?;
                // The node answers with the format again, this time with one modifier: this one, or one of its own choice.
                return stream.update_params(&mut params.pods()).map_err(refused("picking a modifier"));
            }
        };
        let types: &[u32] = match agreed.dmabuf {
            Some(_) => &[spa::sys::SPA_DATA_DmaBuf],
            None => &[spa::sys::SPA_DATA_MemPtr, spa::sys::SPA_DATA_MemFd],
        };
        let header = size_of::<spa::sys::spa_meta_header>();
        let region = size_of::<spa::sys::spa_meta_region>();
        let mut wanted = vec![
            params::buffers(types, (4, 2, 16), None),
            params::meta(spa::sys::SPA_META_Header, (header, header, header)),
            params::meta(spa::sys::SPA_META_VideoCrop, (region, region, region)),
        ];
        if self.options.cursor {
            let room = |side: usize| {
                size_of::<spa::sys::spa_meta_cursor>()
                    + size_of::<spa::sys::spa_meta_bitmap>()
                    + side * side * 4
            };
            wanted.push(params::meta(spa::sys::SPA_META_Cursor, (room(64), room(1), room(POINTER))));
        }
        let params = Params::new(wanted)?;
        stream.update_params(&mut params.pods()).map_err(refused("agreeing on buffers"))?;
        if self.format != Some(agreed) {
            self.format = Some(agreed);
            self.tell(VideoEvent::Format(agreed));
        }
        Ok(())
    }

    /// Takes what is in a buffer; whether the buffer itself is kept.
    fn take(&mut self, buffer: *mut pipewire::sys::pw_buffer) -> bool {
        let Some(format) = self.format else { return false };
        // SAFETY: just dequeued, and given back by the caller only after this.
        let Some(view) = (unsafe { View::new(buffer) }) else { return false };
        let header = view.header();
        if header.is_some_and(|(_, _, corrupted)| corrupted) {
            return false;
        }
        let blocks = view.blocks();
        let crop = view.crop(format.width, format.height);
        let Some(first) = blocks.first() else { return false };
        let cursor = if self.options.cursor { view.cursor() } else { None };
        let mut kept = false;
        let pixels = if first.corrupted {
            Pixels::None
        } else if first.kind == spa::sys::SPA_DATA_DmaBuf {
            // Its chunk need not say a size.
            match self.lend(buffer, &blocks, format, crop) {
                Some(dmabuf) => {
                    kept = true;
                    Pixels::DmaBuf(dmabuf)
                }
                None => Pixels::None,
            }
        } else if first.size == 0 {
            Pixels::None
        } else {
            match buffer::copy(&blocks, format.format, (format.width, format.height), crop, &mut self.pool) {
                Ok(frame) => Pixels::Host(frame),
                Err(e) => {
                    self.shared.end(e);
                    return false;
                }
            }
        };
        if matches!(pixels, Pixels::None) && cursor.is_none() {
            return kept;
        }
        let now = monotonic();
        // A time that is not of the monotonic clock, or of the future, says nothing.
        let shown =
            header.and_then(|(pts, ..)| pts).and_then(|t| u64::try_from(t).ok()).map(Duration::from_nanos);
        let shown = shown.filter(|t| *t <= now && now - *t < Duration::from_secs(2)).unwrap_or(now);
        let sequence = header.map(|(_, sequence, _)| sequence);
        let frame = VideoFrame { pixels, age: Duration::ZERO, sequence, cursor };
        self.shared.push(VideoEvent::Frame(frame), shown, self.options.queue);
        kept
    }

    /// A buffer of a device's memory, lent to the taker.
    fn lend(
        &self,
        buffer: *mut pipewire::sys::pw_buffer,
        blocks: &[Block],
        format: VideoFormat,
        crop: [u32; 4],
    ) -> Option<DmaBuf> {
        let plane = |block: &Block| {
            let fd = i32::try_from(block.fd).ok().filter(|fd| *fd >= 0)?;
            // SAFETY: the fd is PipeWire's and open for as long as the buffer exists, which is longer than this.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned().ok()?;
            let stride = u32::try_from(block.stride).ok()?;
            Some(DmaBufPlane { fd, offset: block.map_offset.checked_add(block.offset)?, stride })
        };
        let planes = blocks.iter().map(plane).collect::<Option<Vec<_>>>()?;
        let number = {
            let mut out = self.out.borrow_mut();
            out.next += 1;
            let number = out.next;
            out.buffers.insert(number, buffer);
            number
        };
        let address = self.address.clone();
        Some(DmaBuf {
            width: format.width,
            height: format.height,
            format: format.format,
            modifier: format.dmabuf.unwrap_or(0),
            planes,
            crop,
            lease: Lease(Some(Box::new(move || address.send(Message::Return(number))))),
        })
    }
}

/// What a format that a node proposes comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    /// It has several modifiers, of which this is the best.
    Picked(PixelFormat, u64),
    /// That is what its pictures will be.
    Agreed(VideoFormat),
}

/// Reads a format that a node proposes.
fn told(options: &VideoOptions, param: &Pod) -> Result<Told, Error> {
    let mut info = VideoInfoRaw::new();
    info.parse(param)
        .map_err(|e| Error::new(Kind::Unsupported, format!("a format that cannot be read: {e:?}")))?;
    let format = params::pixel_format(info.format()).ok_or_else(|| {
        Error::new(Kind::Unsupported, format!("pictures of a format that is not known: {:?}", info.format()))
    })?;
    let dmabuf = match params::modifier(param) {
        Modifier::None => None,
        Modifier::Agreed(modifier) => Some(modifier),
        Modifier::Pick(offered) => {
            let ours = options.dmabuf.iter().chain(&options.last_resort);
            return Ok(Told::Picked(format, pick(ours, format, &offered)?));
        }
    };
    let size = info.size();
    if size.width == 0 || size.height == 0 {
        return Err(Error::new(Kind::Unsupported, "pictures without a size"));
    }
    let rate = info.framerate();
    Ok(Told::Agreed(VideoFormat {
        width: size.width,
        height: size.height,
        format,
        rate: (rate.num > 0 && rate.denom > 0).then_some((rate.num, rate.denom)),
        dmabuf,
        full_range: match info.color_range() {
            spa::sys::SPA_VIDEO_COLOR_RANGE_0_255 => Some(true),
            spa::sys::SPA_VIDEO_COLOR_RANGE_16_235 => Some(false),
            _ => None,
        },
    }))
}

/// The best of ours that the node has too.
fn pick<'a>(
    ours: impl IntoIterator<Item = &'a DmaBufFormat>,
    format: PixelFormat,
    offered: &[u64],
) -> Result<u64, Error> {
    let mut ours = ours.into_iter().filter(|d| d.format == format).flat_map(|d| &d.modifiers).copied();
    ours.find(|m| offered.contains(m)).ok_or_else(|| {
        Error::new(Kind::Unsupported, format!("no memory layout of {format} pictures is known to both sides"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_modifier_that_both_know_is_picked() {
        let format = PixelFormat::from_name("bgr0").unwrap();
        let other = PixelFormat::from_name("rgb0").unwrap();
        let ours = [
            DmaBufFormat { format: other, modifiers: vec![7] },
            DmaBufFormat { format, modifiers: vec![3, 2, 1] },
        ];
        assert_eq!(pick(&ours, format, &[1, 2, 7]).unwrap(), 2);
        assert_eq!(pick(&ours, format, &[7]).unwrap_err().kind, Kind::Unsupported);
    }

    /// What PipeWire 0.3.65 handed to a capture stream: tests/capture/screen_standin.c (`tiled pods`) was the node, which has
    /// modifiers of an NVIDIA GPU and rows, and the stream had those and one more. First with all that both have, then with
    /// the one that the node chose.
    const ASKED: &[u8] = include_bytes!("recorded/asked.pod");
    const AGREED: &[u8] = include_bytes!("recorded/agreed.pod");
    const TILED: [u64; 2] = [0x0300_0000_00e0_8014, 0x0300_0000_0060_6014];

    /// PipeWire wants them at places that only allocations of their own have.
    fn pod(bytes: &'static [u8]) -> &'static Pod {
        Pod::from_bytes(bytes.to_vec().leak()).expect("a whole one")
    }

    fn wanting(modifiers: &[u64]) -> VideoOptions {
        let format = PixelFormat::from_name("bgr0").unwrap();
        VideoOptions {
            dmabuf: vec![DmaBufFormat { format, modifiers: modifiers.to_vec() }],
            ..VideoOptions::default()
        }
    }

    #[test]
    fn recorded_offers_are_answered_with_our_best_and_then_agreed_on() {
        assert_eq!(params::modifier(pod(ASKED)), Modifier::Pick(vec![TILED[0], TILED[1], 0]));
        let bgr0 = PixelFormat::from_name("bgr0").unwrap();
        for (ours, picked) in [(vec![TILED[1], TILED[0]], TILED[1]), (vec![7, 0], 0)] {
            let options = wanting(&ours);
            let told = told(&options, pod(ASKED)).unwrap();
            assert_eq!(told, Told::Picked(bgr0, picked));
            // What is answered: that one alone, then everything as before.
            let params = offers(&options, Some((bgr0, picked))).unwrap();
            let answered: Vec<Modifier> = params.pods().into_iter().map(params::modifier).collect();
            assert_eq!(answered, [Modifier::Agreed(picked), Modifier::Pick(ours), Modifier::None]);
        }
        let told = told(&wanting(&TILED), pod(AGREED)).unwrap();
        let Told::Agreed(agreed) = told else { panic!("{told:?}") };
        assert_eq!((agreed.width, agreed.height, agreed.format, agreed.dmabuf), (320, 180, bgr0, Some(0)));
    }

    #[test]
    fn recorded_offers_of_which_nothing_is_known_are_refused() {
        let e = told(&wanting(&[9]), pod(ASKED)).unwrap_err();
        assert!(e.kind == Kind::Unsupported && e.to_string().contains("no memory layout"), "{e}");
        let only_rows =
            VideoOptions { dmabuf: Vec::new(), last_resort: wanting(&[0]).dmabuf, ..wanting(&[]) };
        assert!(matches!(told(&only_rows, pod(ASKED)).unwrap(), Told::Picked(_, 0)));
        // Rows that are only a last resort are offered behind host memory.
        let offered: Vec<Modifier> =
            offers(&only_rows, None).unwrap().pods().into_iter().map(params::modifier).collect();
        assert_eq!(offered, [Modifier::None, Modifier::Pick(vec![0])]);
    }
}
