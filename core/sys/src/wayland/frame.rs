//! One picture while the compositor makes it, by either protocol.

use super::client::State;
use super::pool::Shape;
use std::time::Duration;
use wayland_client::protocol::wl_output::Transform;
use wayland_client::protocol::wl_shm::Format;
use wayland_client::{Connection, Dispatch, QueueHandle, WEnum};
use wayland_protocols::ext::image_copy_capture::v1::client::ext_image_copy_capture_frame_v1 as copied;
use wayland_protocols::ext::image_copy_capture::v1::client::ext_image_copy_capture_session_v1 as session;
use wayland_protocols_wlr::screencopy::v1::client::zwlr_screencopy_frame_v1 as screencopy;

/// What the compositor has said of the picture that was asked for last.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// How a buffer for it has to be; screencopy says it for each picture.
    pub shape: Option<Shape>,
    /// Whether all kinds of buffers were named.
    pub offered: bool,
    pub inverted: bool,
    /// `None`: that of the monitor.
    pub transform: Option<Transform>,
    /// When it was shown, in the compositor's clock.
    pub presented: Option<Duration>,
    pub ready: bool,
    pub failed: bool,
}

/// What an image copy session wants of buffers.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub size: (u32, u32),
    pub formats: Vec<Format>,
    /// The list is complete.
    pub done: bool,
    /// What it shows is gone.
    pub stopped: bool,
}

fn time(high: u32, low: u32, nanos: u32) -> Duration {
    Duration::new((u64::from(high) << 32) | u64::from(low), nanos)
}

impl Dispatch<screencopy::ZwlrScreencopyFrameV1, ()> for State {
    fn event(
        state: &mut Self,
        proxy: &screencopy::ZwlrScreencopyFrameV1,
        event: screencopy::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        use wayland_client::Proxy;
        let progress = &mut state.progress;
        match event {
            screencopy::Event::Buffer { format, width, height, stride } => {
                if let WEnum::Value(format) = format {
                    progress.shape = Some(Shape { format, width, height, stride });
                }
                // Later versions say when the list is complete.
                progress.offered |= proxy.version() < 3;
            }
            screencopy::Event::BufferDone => progress.offered = true,
            screencopy::Event::Flags { flags: WEnum::Value(flags) } => {
                progress.inverted = flags.contains(screencopy::Flags::YInvert);
            }
            screencopy::Event::Ready { tv_sec_hi, tv_sec_lo, tv_nsec } => {
                progress.presented = Some(time(tv_sec_hi, tv_sec_lo, tv_nsec));
                progress.ready = true;
            }
            screencopy::Event::Failed => progress.failed = true,
            _ => {}
        }
    }
}

impl Dispatch<copied::ExtImageCopyCaptureFrameV1, ()> for State {
    fn event(
        state: &mut Self,
        _: &copied::ExtImageCopyCaptureFrameV1,
        event: copied::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let progress = &mut state.progress;
        match event {
            copied::Event::Transform { transform: WEnum::Value(transform) } => {
                progress.transform = Some(transform);
            }
            copied::Event::PresentationTime { tv_sec_hi, tv_sec_lo, tv_nsec } => {
                progress.presented = Some(time(tv_sec_hi, tv_sec_lo, tv_nsec));
            }
            copied::Event::Ready => progress.ready = true,
            copied::Event::Failed { reason } => {
                progress.failed = true;
                // What buffers have to be like is said before the next try, when it was that.
                if reason == WEnum::Value(copied::FailureReason::Stopped) {
                    state.session.stopped = true;
                }
            }
            _ => {}
        }
    }
}

impl Dispatch<session::ExtImageCopyCaptureSessionV1, ()> for State {
    fn event(
        state: &mut Self,
        _: &session::ExtImageCopyCaptureSessionV1,
        event: session::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let session = &mut state.session;
        // A list after a complete one replaces it.
        if session.done
            && matches!(event, session::Event::BufferSize { .. } | session::Event::ShmFormat { .. })
        {
            *session = Session { stopped: session.stopped, ..Session::default() };
        }
        match event {
            session::Event::BufferSize { width, height } => session.size = (width, height),
            session::Event::ShmFormat { format: WEnum::Value(format) } => session.formats.push(format),
            session::Event::Done => session.done = true,
            session::Event::Stopped => session.stopped = true,
            _ => {}
        }
    }
}
