//! The connection: what the compositor offers, and waiting for what it says.

use super::frame::{Progress, Session};
use super::layout::{Monitor, Output};
use super::{Error, Kind, connect};
use std::io::Read;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wayland_client::backend::WaylandError;
use wayland_client::delegate_noop;
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_callback::{self, WlCallback};
use wayland_client::protocol::wl_output::{self, WlOutput};
use wayland_client::protocol::wl_registry::{self, WlRegistry};
use wayland_client::protocol::wl_shm::WlShm;
use wayland_client::protocol::wl_shm_pool::WlShmPool;
use wayland_client::{Connection, Dispatch, DispatchError, EventQueue, Proxy, QueueHandle, WEnum};
use wayland_protocols::ext::image_capture_source::v1::client::ext_image_capture_source_v1::ExtImageCaptureSourceV1;
use wayland_protocols::ext::image_capture_source::v1::client::ext_output_image_capture_source_manager_v1::ExtOutputImageCaptureSourceManagerV1;
use wayland_protocols::ext::image_copy_capture::v1::client::ext_image_copy_capture_manager_v1::ExtImageCopyCaptureManagerV1;
use wayland_protocols::xdg::xdg_output::zv1::client::zxdg_output_manager_v1::ZxdgOutputManagerV1;
use wayland_protocols::xdg::xdg_output::zv1::client::zxdg_output_v1::{self, ZxdgOutputV1};
use wayland_protocols_wlr::screencopy::v1::client::zwlr_screencopy_manager_v1::ZwlrScreencopyManagerV1;

/// How a compositor hands out its pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `ext-image-copy-capture-v1`.
    ImageCopy,
    /// wlroots' `zwlr_screencopy_manager_v1`.
    Screencopy,
}

impl Protocol {
    /// What to call it in messages.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::ImageCopy => "ext-image-copy-capture",
            Protocol::Screencopy => "wlr-screencopy",
        }
    }
}

/// What the compositor has said so far.
#[derive(Default)]
pub(super) struct State {
    pub shm: Option<WlShm>,
    pub screencopy: Option<ZwlrScreencopyManagerV1>,
    pub copy: Option<ExtImageCopyCaptureManagerV1>,
    pub sources: Option<ExtOutputImageCaptureSourceManagerV1>,
    layout: Option<ZxdgOutputManagerV1>,
    pub outputs: Vec<Output>,
    pub progress: Progress,
    pub session: Session,
}

impl State {
    /// All monitors, from left to right.
    pub fn monitors(&self) -> Vec<Monitor> {
        let mut monitors: Vec<Monitor> = self.outputs.iter().map(Output::monitor).collect();
        monitors.sort_by_key(|m| (m.x, m.y));
        monitors
    }

    pub fn output(&self, global: u32) -> Option<&Output> {
        self.outputs.iter().find(|o| o.global == global)
    }

    fn output_mut(&mut self, global: u32) -> Option<&mut Output> {
        self.outputs.iter_mut().find(|o| o.global == global)
    }
}

/// Why waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// What was waited for has come.
    Come,
    /// The time is over.
    Late,
    /// Nobody wants it any more.
    Stopped,
}

/// A connection and its events. One thread at a time; may move between threads.
pub(super) struct Client {
    pub connection: Connection,
    queue: EventQueue<State>,
    pub state: State,
    /// Becomes readable, or closed, when waiting shall end.
    wake: Option<UnixStream>,
}

/// How long a compositor may take to describe itself.
const ANSWER: Duration = Duration::from_secs(10);

impl Client {
    /// Connects and asks for everything that there is.
    pub fn connect(display: Option<&str>) -> Result<Client, Error> {
        let connection = connect(display)?;
        let queue = connection.new_event_queue();
        let mut client = Client { connection, queue, state: State::default(), wake: None };
        client.connection.display().get_registry(&client.handle(), ());
        // The globals, then what they say of themselves, then what the layout says of them.
        client.round()?;
        if let Some(layout) = client.state.layout.clone() {
            let handle = client.handle();
            for output in &client.state.outputs {
                layout.get_xdg_output(&output.proxy, &handle, output.global);
            }
        }
        client.round()?;
        Ok(client)
    }

    pub fn handle(&self) -> QueueHandle<State> {
        self.queue.handle()
    }

    /// How pictures of monitors can be had; the one that is preferred.
    pub fn protocol(&self) -> Option<Protocol> {
        let s = &self.state;
        if s.copy.is_some() && s.sources.is_some() {
            Some(Protocol::ImageCopy)
        } else {
            s.screencopy.is_some().then_some(Protocol::Screencopy)
        }
    }

    /// Has waiting end when `wake` becomes readable or is closed.
    pub fn wake_by(&mut self, wake: UnixStream) -> Result<(), Error> {
        wake.set_nonblocking(true).map_err(|e| Error::new(Kind::Io, format!("a socket: {e}")))?;
        self.wake = Some(wake);
        Ok(())
    }

    /// Waits until the compositor has answered everything so far.
    fn round(&mut self) -> Result<(), Error> {
        let answered = Arc::new(AtomicBool::new(false));
        self.connection.display().sync(&self.handle(), answered.clone());
        let end = Instant::now() + ANSWER;
        match self.wait(Some(end), |_| answered.load(Ordering::Relaxed))? {
            Waited::Come => Ok(()),
            _ => Err(Error::new(Kind::Io, format!("the compositor says nothing for {} s", ANSWER.as_secs()))),
        }
    }

    /// Handles what the compositor says until `done`, or until `end`.
    pub fn wait(&mut self, end: Option<Instant>, done: impl Fn(&State) -> bool) -> Result<Waited, Error> {
        loop {
            self.queue.dispatch_pending(&mut self.state).map_err(broken)?;
            if done(&self.state) {
                return Ok(Waited::Come);
            }
            match self.connection.flush() {
                // What does not fit goes out with a later round.
                Err(WaylandError::Io(e)) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(broken(DispatchError::Backend(e))),
                Ok(()) => {}
            }
            let Some(guard) = self.queue.prepare_read() else { continue };
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let wake = self.wake.as_ref().map(AsRawFd::as_raw_fd);
            let (heard, woken) = poll(guard.connection_fd().as_raw_fd(), wake, left)?;
            if heard {
                match guard.read() {
                    Err(WaylandError::Io(e)) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(e) => return Err(broken(DispatchError::Backend(e))),
                    Ok(_) => {}
                }
            } else {
                drop(guard);
            }
            if woken && self.is_woken() {
                return Ok(Waited::Stopped);
            }
            if !heard && left.is_some_and(|left| left.is_zero()) {
                return Ok(Waited::Late);
            }
        }
    }

    /// Empties what woke; `true` when its other end was closed.
    fn is_woken(&mut self) -> bool {
        let Some(wake) = &mut self.wake else { return false };
        let mut bytes = [0u8; 64];
        matches!(wake.read(&mut bytes), Ok(0))
    }
}

/// Waits until one of two descriptors can be read, for `time` at most; which ones can.
fn poll(first: RawFd, second: Option<RawFd>, time: Option<Duration>) -> Result<(bool, bool), Error> {
    let of = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // A negative descriptor is left out.
    let mut fds = [of(first), of(second.unwrap_or(-1))];
    let time = time.map(|t| libc::timespec {
        tv_sec: libc::time_t::try_from(t.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: t.subsec_nanos().into(),
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: Two entries that live until the call returns; the time is null or points to a value that does too.
    let found = unsafe { libc::ppoll(fds.as_mut_ptr(), 2, time, std::ptr::null()) };
    if found < 0 {
        let e = std::io::Error::last_os_error();
        if e.kind() == std::io::ErrorKind::Interrupted {
            return Ok((false, false));
        }
        return Err(Error::new(Kind::Io, format!("poll: {e}")));
    }
    Ok((fds[0].revents != 0, fds[1].revents != 0))
}

fn broken(e: DispatchError) -> Error {
    match e {
        DispatchError::Backend(WaylandError::Protocol(e)) => {
            Error::new(Kind::Io, format!("the compositor refuses: {e}"))
        }
        e => Error::new(Kind::Gone, format!("the compositor is gone: {e}")),
    }
}

impl Dispatch<WlRegistry, ()> for State {
    fn event(
        state: &mut Self,
        registry: &WlRegistry,
        event: wl_registry::Event,
        _: &(),
        _: &Connection,
        queue: &QueueHandle<Self>,
    ) {
        match event {
            wl_registry::Event::Global { name, interface, version } => {
                let is = |known: &str| interface == known;
                if is(WlShm::interface().name) {
                    state.shm = Some(registry.bind(name, 1, queue, ()));
                } else if is(WlOutput::interface().name) {
                    let proxy = registry.bind(name, version.min(4), queue, name);
                    if let Some(layout) = &state.layout {
                        // One that is plugged in later is described like the first ones.
                        layout.get_xdg_output(&proxy, queue, name);
                    }
                    state.outputs.push(Output::new(name, proxy));
                } else if is(ZxdgOutputManagerV1::interface().name) {
                    state.layout = Some(registry.bind(name, version.min(3), queue, ()));
                } else if is(ZwlrScreencopyManagerV1::interface().name) {
                    state.screencopy = Some(registry.bind(name, version.min(3), queue, ()));
                } else if is(ExtImageCopyCaptureManagerV1::interface().name) {
                    state.copy = Some(registry.bind(name, 1, queue, ()));
                } else if is(ExtOutputImageCaptureSourceManagerV1::interface().name) {
                    state.sources = Some(registry.bind(name, 1, queue, ()));
                }
            }
            wl_registry::Event::GlobalRemove { name } => state.outputs.retain(|o| o.global != name),
            _ => {}
        }
    }
}

impl Dispatch<WlOutput, u32> for State {
    fn event(
        state: &mut Self,
        _: &WlOutput,
        event: wl_output::Event,
        global: &u32,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let Some(output) = state.output_mut(*global) else { return };
        match event {
            wl_output::Event::Geometry { x, y, make, model, transform, .. } => {
                if output.description.is_empty() {
                    output.description = format!("{make} {model}").trim().to_owned();
                }
                let transform = match transform {
                    WEnum::Value(transform) => transform,
                    WEnum::Unknown(_) => wl_output::Transform::Normal,
                };
                output.geometry(x, y, transform);
            }
            wl_output::Event::Mode { flags: WEnum::Value(flags), width, height, refresh }
                if flags.contains(wl_output::Mode::Current) =>
            {
                output.mode(width, height, refresh);
            }
            wl_output::Event::Scale { factor } => output.scale(factor),
            wl_output::Event::Name { name } => output.name = Some(name),
            wl_output::Event::Description { description } => output.description = description,
            _ => {}
        }
    }
}

impl Dispatch<ZxdgOutputV1, u32> for State {
    fn event(
        state: &mut Self,
        _: &ZxdgOutputV1,
        event: zxdg_output_v1::Event,
        global: &u32,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let Some(output) = state.output_mut(*global) else { return };
        match event {
            zxdg_output_v1::Event::LogicalPosition { x, y } => output.logical_position(x, y),
            zxdg_output_v1::Event::LogicalSize { width, height } => output.logical_size(width, height),
            zxdg_output_v1::Event::Name { name } => output.name = Some(name),
            zxdg_output_v1::Event::Description { description } => output.description = description,
            _ => {}
        }
    }
}

impl Dispatch<WlCallback, Arc<AtomicBool>> for State {
    fn event(
        _: &mut Self,
        _: &WlCallback,
        _: wl_callback::Event,
        answered: &Arc<AtomicBool>,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        answered.store(true, Ordering::Relaxed);
    }
}

// What these say is not needed: formats come with each picture, and a buffer is free when its picture is ready.
delegate_noop!(State: ignore WlShm);
delegate_noop!(State: ignore WlBuffer);
delegate_noop!(State: ignore WlShmPool);
delegate_noop!(State: ignore ZxdgOutputManagerV1);
delegate_noop!(State: ignore ZwlrScreencopyManagerV1);
delegate_noop!(State: ignore ExtImageCopyCaptureManagerV1);
delegate_noop!(State: ignore ExtOutputImageCaptureSourceManagerV1);
delegate_noop!(State: ignore ExtImageCaptureSourceV1);
