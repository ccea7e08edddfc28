//! A video node of PipeWire, one's own choice or what the user picked in the desktop portal's dialog.

use super::gpu::Gpu;
use super::pointer::{self, Pointer};
use super::{Grabber, Shot, token};
use crate::error::{Error, ErrorKind, Result};
use crate::filter::Crop;
use crate::frame::{Colour, Frame, PixelFormat};
use crate::spec::{CropSpec, RegionSpec, ScreenBackend, ScreenPick, ScreenSpec};
use crate::stage::Stage;
use crate::time::MICROSECONDS;
use ghoststream_sys::{ffmpeg as av, pipewire, portal};
use std::time::Duration;

/// How long is waited at once for the first picture, and how often.
const NAP: Duration = Duration::from_millis(50);
const WAITS: u32 = 200;

pub(super) struct Node {
    // The stream ends before the session that it belongs to.
    stream: pipewire::VideoStream,
    session: Option<portal::Session>,
    /// Takes pictures to the encoder without the host.
    gpu: Option<Gpu>,
    size: (u32, u32),
    format: PixelFormat,
    on_gpu: bool,
    latest: Option<Shot>,
    /// What of the picture is wanted.
    part: Option<Crop>,
    /// The pointer, where it comes beside the pictures.
    pointer: Option<Pointer>,
    said: Vec<(&'static str, String)>,
}

/// The formats in which DMA-BUFs can be read by the CPU: nothing but rows behind one another.
fn readable() -> Vec<pipewire::DmaBufFormat> {
    let names = ["bgr0", "rgb0", "bgra", "rgba", "0rgb", "0bgr", "argb", "abgr", "nv12"];
    let formats = names.into_iter().filter_map(PixelFormat::from_name);
    formats.map(|format| pipewire::DmaBufFormat { format, modifiers: vec![LINEAR] }).collect()
}

/// The modifier of pictures whose rows lie behind one another.
const LINEAR: u64 = 0;

/// A picture in memory of a device, which its node gets back with the last reference.
fn shared(mut picture: pipewire::DmaBuf) -> Result<av::Frame> {
    let format = picture.format;
    let fourcc = av::fourcc_of(format).ok_or_else(|| {
        Error::unsupported(format!("source.screen: DMA-BUFs of {format} pictures are not known here"))
    })?;
    let (width, height, crop, modifier) = (picture.width, picture.height, picture.crop, picture.modifier);
    let planes = std::mem::take(&mut picture.planes).into_iter().enumerate().map(|(i, plane)| {
        // A node that says no distance of rows has none between them.
        let row = || format.plane_layout(width, 1, i).map_or(0, |(_, bytes)| bytes as u32);
        let pitch = if plane.stride == 0 { row() } else { plane.stride };
        av::DmaBufPlane { fd: plane.fd, offset: plane.offset, pitch }
    });
    let planes = planes.collect();
    let picture_of = av::DmaBuf { fourcc, modifier, width, height, crop, planes };
    Ok(av::Frame::wrap_dmabuf(picture_of, Box::new(move || drop(picture)))?)
}

/// The rectangle to keep; the document's check has seen that it does not begin outside.
fn part(region: &RegionSpec) -> Crop {
    let side = |n: i16| u32::from(n.unsigned_abs());
    let (x, y) = (side(region.x), side(region.y));
    Crop::new(CropSpec { x, y, width: region.width.into(), height: region.height.into() })
}

impl Node {
    /// Begins to watch, and what a user should know. With `gpu` pictures may come in CUDA memory.
    pub fn open(spec: &ScreenSpec, interrupt: &av::Interrupt, gpu: bool) -> Result<(Node, Option<String>)> {
        let (mut session, mut note) = (None, None);
        let node = match spec.node {
            Some(node) if spec.backend == ScreenBackend::PipeWire => node,
            _ => {
                let (opened, said) = pick(spec, interrupt)?;
                note = said;
                session.insert(opened).node
            }
        };
        Self::connect(node, session, spec, interrupt, gpu).map(|opened| (opened, note))
    }

    /// The camera that PipeWire calls `name`.
    pub fn of_camera(name: &str, spec: &ScreenSpec, interrupt: &av::Interrupt) -> Result<Node> {
        let found = pipewire::nodes().map_err(|e| of_pipewire(e).context("camera"))?;
        let mut cameras = found.iter().filter(|n| n.class == pipewire::NodeClass::Camera);
        match cameras.clone().find(|n| n.name == name || n.description.as_deref() == Some(name)) {
            Some(node) => Self::connect(node.id, None, spec, interrupt, false),
            None => {
                let there: Vec<&str> = cameras.by_ref().map(|n| n.name.as_str()).collect();
                let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
                Err(Error::new(
                    ErrorKind::NotFound,
                    format!(
                        "source.screen.camera.device: PipeWire has no camera {name:?}; it has {there} (a V4L2 camera is named \
                         by its path)"
                    ),
                ))
            }
        }
    }

    fn connect(
        node: u32,
        mut session: Option<portal::Session>,
        spec: &ScreenSpec,
        interrupt: &av::Interrupt,
        gpu: bool,
    ) -> Result<Node> {
        let remote = session.as_mut().map(portal::Session::remote).transpose().map_err(of_portal)?;
        let rate = spec.frame_rate.0;
        let max_rate = (rate.num.unsigned_abs(), rate.den.unsigned_abs());
        let beside = match &session {
            Some(session) => session.cursor == portal::Cursor::Beside,
            None => spec.cursor && spec.camera.is_none(),
        };
        let mut said = Vec::new();
        let gpu = if gpu { on_gpu(spec, beside, &mut said) } else { None };
        let options = pipewire::VideoOptions {
            max_rate,
            dmabuf: gpu.as_ref().map(Gpu::formats).unwrap_or_default(),
            last_resort: if spec.dmabuf { readable() } else { Vec::new() },
            cursor: beside,
            // Only the newest picture is wanted.
            queue: 1,
            ..pipewire::VideoOptions::default()
        };
        let stream = pipewire::VideoStream::connect(remote, node, options).map_err(of_pipewire)?;
        let format = PixelFormat::yuv420p();
        let part = spec.region.as_ref().map(part);
        let pointer = beside.then(Pointer::default);
        let (size, latest, on_gpu) = ((0, 0), None, false);
        let mut opened = Node { stream, session, gpu, size, format, on_gpu, latest, part, pointer, said };
        let first = opened.first(node, interrupt);
        if let Err(e) = &first
            && opened.gpu.is_some()
            && matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::Device | ErrorKind::Memory)
        {
            let message =
                format!("the GPU does not take the screen's pictures, host memory does: {}", e.message());
            let session = opened.session.take();
            drop(opened);
            let mut again = Self::connect(node, session, spec, interrupt, false)?;
            again.said.push(("fallback", message));
            return Ok(again);
        }
        // What it has may be nothing but what was refused.
        first.map_err(|e| match e.kind() {
            ErrorKind::Unsupported | ErrorKind::Io if !spec.dmabuf => e.context("without DMA-BUFs"),
            _ => e,
        })?;
        if opened.gpu.is_some() && !opened.on_gpu {
            opened.said.push(through_host("the node gives no DMA-BUFs that the GPU takes"));
        }
        Ok(opened)
    }

    /// Waits for the first picture.
    fn first(&mut self, node: u32, interrupt: &av::Interrupt) -> Result<()> {
        for _ in 0..WAITS {
            if self.latest.is_some() {
                return Ok(());
            }
            if interrupt.is_cancelled() {
                let message = "source.screen: stopped before the first picture";
                return Err(Error::new(ErrorKind::Cancelled, message));
            }
            self.hear(NAP)?;
        }
        Err(Error::new(ErrorKind::Io, format!("source.screen: node {node} gives no picture")))
    }

    /// Takes in what the node has to say, waiting for the first of it.
    fn hear(&mut self, mut time: Duration) -> Result<()> {
        if let Some(session) = &mut self.session {
            session.check().map_err(of_portal)?;
        }
        while let Some(event) = self.stream.next(time).map_err(of_pipewire)? {
            time = Duration::ZERO;
            match event {
                pipewire::VideoEvent::Format(format) => self.agreed(&format),
                pipewire::VideoEvent::Frame(frame) => self.see(frame)?,
                pipewire::VideoEvent::Paused | pipewire::VideoEvent::Running => {}
            }
        }
        Ok(())
    }

    /// Says what a user should know of what was agreed.
    fn agreed(&mut self, agreed: &pipewire::VideoFormat) {
        tracing::debug!(?agreed, "PipeWire");
        if agreed.dmabuf.is_some() && self.gpu.is_none() {
            let message = "the node gives its pictures as DMA-BUFs only: each is read into host memory";
            self.said.push(("transfer", message.into()));
        }
        if agreed.dmabuf.is_none() && self.on_gpu {
            let message = "the node gives its pictures in host memory now: each is uploaded to the GPU";
            self.said.push(("transfer", message.into()));
        }
        if self.pointer.is_some() && !pointer::can_be_in(agreed.format) {
            let message =
                format!("the pointer cannot be drawn into {} pictures: it is left out", agreed.format);
            self.said.push(("source", message));
        }
    }

    /// Takes a picture in, or what is new of the pointer.
    fn see(&mut self, frame: pipewire::VideoFrame) -> Result<()> {
        let moved = match (&mut self.pointer, frame.cursor) {
            (Some(pointer), Some(cursor)) => pointer.hear(cursor),
            _ => false,
        };
        let media = match frame.pixels {
            pipewire::Pixels::Host(media) => Some(media),
            pipewire::Pixels::DmaBuf(picture) => {
                let picture = shared(picture)?;
                Some(match &mut self.gpu {
                    Some(gpu) => gpu.take(&picture)?,
                    None => picture.read_dmabuf()?,
                })
            }
            pipewire::Pixels::None => None,
        };
        let media = match (&mut self.pointer, media) {
            (Some(pointer), Some(media)) => Some(pointer.draw(media)?),
            (Some(pointer), None) if moved => pointer.again()?,
            (_, media) => media,
        };
        let Some(media) = media else { return Ok(()) };
        let media = self.cut(media)?;
        let media = self.in_its_place(media)?;
        if self.size == (0, 0) {
            let samples = media.hw_frames().map_or(media.format(), |pool| pool.host_format());
            (self.size, self.format) = ((media.width(), media.height()), samples);
            self.on_gpu = media.is_hardware();
        }
        self.latest = Some(Shot { media, age: Some(frame.age) });
        Ok(())
    }

    /// A picture where the first one was: a node may give its pictures another way later.
    fn in_its_place(&mut self, media: av::Frame) -> Result<av::Frame> {
        let Some(gpu) = self.gpu.as_mut().filter(|_| self.size != (0, 0)) else { return Ok(media) };
        match (self.on_gpu, media.is_hardware()) {
            (true, false) => gpu.upload(media),
            (false, true) => Ok(media.transfer_to_host()?),
            _ => Ok(media),
        }
    }

    /// The part of a picture that is wanted.
    fn cut(&mut self, media: av::Frame) -> Result<av::Frame> {
        let Some(part) = &mut self.part else { return Ok(media) };
        let size = (media.width(), media.height());
        let mut cut = Vec::new();
        part.push(Frame::new(media, MICROSECONDS), &mut cut).map_err(|e| {
            let message = format!(
                "source.screen.region: does not lie within the picture of {}x{}: {}",
                size.0,
                size.1,
                e.message()
            );
            Error::new(ErrorKind::Device, message)
        })?;
        let cut = cut.pop();
        cut.ok_or_else(|| Error::new(ErrorKind::Internal, "a part of a picture is none"))?.to_media()
    }
}

/// The way to the encoder without the host, where there is one.
fn on_gpu(spec: &ScreenSpec, pointer: bool, said: &mut Vec<(&'static str, String)>) -> Option<Gpu> {
    let why = if !spec.dmabuf {
        "DMA-BUFs are not wanted".into()
    } else if spec.region.is_some() {
        "a part of the picture is cut out on the host".into()
    } else if pointer {
        "the pointer comes beside the picture and is drawn on the host".into()
    } else {
        match Gpu::open() {
            Ok(gpu) if gpu.formats().is_empty() => "the GPU's EGL names no arrangements of DMA-BUFs".into(),
            Ok(gpu) => return Some(gpu),
            Err(e) => e.to_string(),
        }
    };
    said.push(through_host(&why));
    None
}

fn through_host(why: &str) -> (&'static str, String) {
    ("transfer", format!("pictures go through host memory to the encoder: {why}"))
}

/// Has the user pick, or restores what he picked before.
fn pick(spec: &ScreenSpec, interrupt: &av::Interrupt) -> Result<(portal::Session, Option<String>)> {
    let application = spec.application.as_deref().unwrap_or("ghoststream");
    let wanted = spec.pick.unwrap_or(ScreenPick::Any);
    let sources = portal::Sources {
        monitor: matches!(wanted, ScreenPick::Any | ScreenPick::Monitor),
        window: matches!(wanted, ScreenPick::Any | ScreenPick::Window),
        virtual_monitor: wanted == ScreenPick::Virtual,
    };
    let remember = !application.is_empty();
    let restore = if remember { token::load(application) } else { None };
    let pointer = match (spec.cursor, spec.draw_cursor) {
        (false, _) => portal::Cursor::Hidden,
        (true, false) => portal::Cursor::Embedded,
        (true, true) => portal::Cursor::Beside,
    };
    let wish = portal::Wish { sources, pointer, restore, remember };
    let session = portal::Session::start(&wish, &|| interrupt.is_cancelled());
    let session = session.map_err(|e| match interrupt.is_cancelled() {
        true => Error::new(ErrorKind::Cancelled, e.to_string()).context("source.screen"),
        false => of_portal(e),
    })?;
    let mut note = (spec.cursor && session.cursor == portal::Cursor::Hidden)
        .then(|| "the desktop portal puts no pointer into the picture: it is without one".to_owned());
    if let Some(token) = session.token.as_ref().filter(|_| remember)
        && let Err(e) = token::save(application, token)
    {
        note = Some(format!("what was picked cannot be remembered: {e}"));
    }
    Ok((session, note))
}

impl Grabber for Node {
    fn backend(&self) -> &'static str {
        if self.session.is_some() { "portal" } else { "pipewire" }
    }

    fn size(&self) -> (u32, u32) {
        self.size
    }

    fn format(&self) -> PixelFormat {
        self.format
    }

    fn on_device(&self) -> Option<(&'static str, Colour)> {
        self.on_gpu.then_some(("cuda", Gpu::COLOUR))
    }

    fn is_timed(&self) -> bool {
        true
    }

    fn changed(&mut self) -> Result<bool> {
        // What came before the end is still given.
        if self.latest.is_none() {
            self.hear(Duration::ZERO)?;
        } else if let Err(e) = self.hear(Duration::ZERO) {
            tracing::debug!("{e}");
        }
        Ok(self.latest.is_some())
    }

    fn await_change(&mut self, time: Duration) -> Option<Result<()>> {
        // What came before the end is still given.
        Some(if self.latest.is_none() { self.hear(time) } else { Ok(()) })
    }

    fn grab(&mut self) -> Result<Option<Shot>> {
        Ok(self.latest.take())
    }

    fn said(&mut self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.said)
    }
}

fn of_pipewire(e: pipewire::Error) -> Error {
    let kind = match e.kind {
        pipewire::Kind::NotFound => ErrorKind::NotFound,
        pipewire::Kind::Unsupported => ErrorKind::Unsupported,
        pipewire::Kind::Gone => ErrorKind::Device,
        pipewire::Kind::Memory => ErrorKind::Memory,
        pipewire::Kind::Io => ErrorKind::Io,
    };
    Error::new(kind, e.to_string()).context("source.screen")
}

fn of_portal(e: portal::Error) -> Error {
    let kind = match e.kind {
        portal::Kind::NotFound => ErrorKind::NotFound,
        portal::Kind::Unsupported => ErrorKind::Unsupported,
        portal::Kind::Denied => ErrorKind::Denied,
        portal::Kind::Gone => ErrorKind::Device,
        portal::Kind::Io => ErrorKind::Io,
    };
    Error::new(kind, e.to_string()).context("source.screen")
}
