//! A camera of the system (V4L2), read by FFmpeg on a thread of its own: a camera that gives nothing blocks its reader, and
//! must not block the capture.

use super::{Grabber, Shot};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::PixelFormat;
use crate::spec::{FrameRate, WebcamSpec};
use ghoststream_sys::{ffmpeg as av, v4l2};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the first picture may take: some cameras think for seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the thread is waited for at the end. One that hangs in a driver goes when the driver lets it.
const FAREWELL: Duration = Duration::from_millis(500);
const NAP: Duration = Duration::from_millis(50);
/// Pictures and bytes of them that are kept for a capture that is late: a second, as a device keeps them, of a Full HD camera.
const KEPT: usize = 32;
const KEPT_BYTES: usize = 128 << 20;

/// A picture and when it was shown by the system's monotonic clock, where that is known.
struct Picture {
    media: av::Frame,
    shown: Option<Duration>,
}

impl Picture {
    fn shot(self) -> Shot {
        Shot { media: self.media, age: self.shown.and_then(age) }
    }
}

#[derive(Default)]
struct State {
    /// Those that were not taken yet, the newest last.
    pictures: VecDeque<Picture>,
    /// When the newest one that came was shown.
    newest: Option<Duration>,
    end: Option<Error>,
    stop: bool,
    over: bool,
}

impl State {
    fn keep(&mut self, picture: Picture, bytes: usize) {
        self.newest = picture.shown;
        self.pictures.push_back(picture);
        let most = (KEPT_BYTES / bytes.max(1)).clamp(2, KEPT);
        while self.pictures.len() > most {
            self.pictures.pop_front();
        }
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Camera {
    shared: Arc<Shared>,
    size: (u32, u32),
    format: PixelFormat,
}

impl Camera {
    /// Begins to watch, and what a user should know.
    pub fn open(
        spec: &WebcamSpec,
        rate: FrameRate,
        interrupt: &av::Interrupt,
    ) -> Result<(Camera, Option<String>)> {
        let device = match spec.device.as_str() {
            "" => first()?,
            device => device.to_owned(),
        };
        let about = v4l2::about(Path::new(&device)).map_err(|e| {
            let kind = Error::from(std::io::Error::from(e.kind())).kind();
            Error::new(kind, format!("{FIELD}: {device} {e}"))
        })?;
        if !about.captures {
            return Err(Error::unsupported(format!("{FIELD}: {device} ({}) gives no pictures", about.name)));
        }
        let mut options = vec![("framerate".to_owned(), rate.0.to_string())];
        if let Some((width, height)) = spec.width.zip(spec.height) {
            options.push(("video_size".into(), format!("{width}x{height}")));
        }
        options.extend(spec.format.clone().map(|format| ("input_format".into(), format)));
        let demuxer = av::Demuxer::open(av::DemuxerOptions {
            url: device.clone(),
            format: Some("video4linux2".into()),
            options,
            interrupt: interrupt.clone(),
            // Looking for what the first packet says costs pictures; the device has said it all.
            find_stream_info: false,
            ..av::DemuxerOptions::default()
        });
        let demuxer = demuxer.map_err(|e| refused(&device, spec, e))?;
        let stream = demuxer.stream(0).map_err(Error::from)?;
        let options = av::DecoderOptions {
            threads: 1,
            low_delay: true,
            time_base: stream.time_base,
            ..av::DecoderOptions::default()
        };
        let decoder = av::Decoder::new(&stream.params, &options).map_err(Error::from)?;
        let shared = Arc::new(Shared::default());
        let reader = Reader { shared: shared.clone(), demuxer, decoder, base: stream.time_base, device };
        let label = reader.device.clone();
        std::thread::Builder::new()
            .name("camera".into())
            .spawn(move || reader.run())
            .map_err(|e| Error::new(ErrorKind::Memory, format!("cannot start a thread: {e}")))?;
        let mut camera = Camera { shared, size: (0, 0), format: PixelFormat::yuv420p() };
        camera.first(&label, interrupt)?;
        // Drivers take the nearest size that they have.
        let other = spec.width.zip(spec.height).filter(|size| *size != camera.size);
        let note = other.map(|(width, height)| {
            let (w, h) = camera.size;
            format!("{label} has no pictures of {width}x{height}: they are {w}x{h}")
        });
        Ok((camera, note))
    }

    /// Waits for the first picture, which says size and format.
    fn first(&mut self, label: &str, interrupt: &av::Interrupt) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        loop {
            if let Some(Picture { media, .. }) = state.pictures.back() {
                (self.size, self.format) = ((media.width(), media.height()), media.format());
                return Ok(());
            }
            if let Some(end) = state.end.take() {
                return Err(end);
            }
            if interrupt.is_cancelled() {
                return Err(Error::new(
                    ErrorKind::Cancelled,
                    format!("{FIELD}: stopped before the first picture"),
                ));
            }
            if Instant::now() >= until {
                return Err(Error::new(ErrorKind::Io, format!("{FIELD}: {label} gives no picture")));
            }
            state = self.shared.news.wait_timeout(state, NAP).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

const FIELD: &str = "source.screen.camera";

/// The first device that is a camera.
fn first() -> Result<String> {
    let found = v4l2::devices().into_iter().find(|d| d.captures);
    found
        .map(|d| d.path)
        .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("{FIELD}: there is no V4L2 camera here")))
}

fn refused(device: &str, spec: &WebcamSpec, e: av::Error) -> Error {
    let wanted = match (spec.width.zip(spec.height), &spec.format) {
        (None, None) => String::new(),
        (Some((w, h)), None) => format!(" with {w}x{h}"),
        (None, Some(format)) => format!(" as {format}"),
        (Some((w, h)), Some(format)) => format!(" with {w}x{h} as {format}"),
    };
    let kind = Error::from(e.clone()).kind();
    Error::new(kind, format!("{FIELD}: {device} cannot be opened{wanted}: {}", e.message()))
}

impl Drop for Camera {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stop = true;
        let until = Instant::now() + FAREWELL;
        while !state.over && Instant::now() < until {
            state = self.shared.news.wait_timeout(state, NAP).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The thread that reads.
struct Reader {
    shared: Arc<Shared>,
    demuxer: av::Demuxer,
    decoder: av::Decoder,
    base: (i32, i32),
    device: String,
}

impl Reader {
    fn run(mut self) {
        let end = self.read();
        let shared = self.shared.clone();
        // The device is free again before anybody hears of the end.
        drop(self);
        let mut state = shared.lock();
        (state.end, state.over) = (end.err(), true);
        shared.news.notify_all();
    }

    fn read(&mut self) -> Result<()> {
        while !self.shared.lock().stop {
            let packet = match self.demuxer.read() {
                Ok(Some(packet)) => packet,
                Ok(None) => return Err(self.gone("it ended")),
                Err(e) => return Err(self.gone(&e.message())),
            };
            // FFmpeg lends the device's own memory, which goes with the device; pictures may live longer.
            let mut own = av::Packet::from_bytes_padded(packet.data())?;
            own.set_pts(packet.pts());
            own.set_dts(packet.dts());
            own.set_key(packet.is_key());
            // A damaged picture (a loose cable) is none; the next one may be good.
            if self.decoder.send(Some(&own)).is_err() {
                continue;
            }
            while let Ok(Some(picture)) = self.decoder.receive() {
                let pts = picture.pts().or(packet.pts());
                let mut state = self.shared.lock();
                let bytes =
                    picture.format().image_size(picture.width(), picture.height()).unwrap_or_default();
                let shown = pts.and_then(|pts| time(pts, self.base));
                state.keep(Picture { media: picture, shown }, bytes);
                self.shared.news.notify_all();
            }
        }
        Ok(())
    }

    fn gone(&self, why: &str) -> Error {
        Error::new(ErrorKind::Device, format!("{FIELD}: {} is gone: {why}", self.device))
    }
}

fn time(pts: i64, base: (i32, i32)) -> Option<Duration> {
    let seconds = pts as f64 * f64::from(base.0) / f64::from(base.1.max(1));
    (seconds > 0.0 && seconds < 1e9).then(|| Duration::from_secs_f64(seconds))
}

/// How long ago `shown` was, where that can be a picture's age.
fn age(shown: Duration) -> Option<Duration> {
    let age = v4l2::monotonic().checked_sub(shown)?;
    (age < Duration::from_secs(1)).then_some(age)
}

impl Grabber for Camera {
    fn backend(&self) -> &'static str {
        "v4l2"
    }

    fn size(&self) -> (u32, u32) {
        self.size
    }

    fn format(&self) -> PixelFormat {
        self.format
    }

    fn is_timed(&self) -> bool {
        true
    }

    fn changed(&mut self) -> Result<bool> {
        let state = self.shared.lock();
        // What came before the end is still given.
        match (state.pictures.back(), &state.end) {
            (Some(_), _) => Ok(true),
            (None, Some(end)) => Err(end.clone()),
            (None, None) => Ok(false),
        }
    }

    fn await_change(&mut self, time: Duration) -> Option<Result<()>> {
        let state = self.shared.lock();
        let nothing = |state: &mut State| state.pictures.is_empty() && state.end.is_none();
        drop(self.shared.news.wait_timeout_while(state, time, nothing));
        Some(Ok(()))
    }

    fn grab(&mut self) -> Result<Option<Shot>> {
        let newest = self.shared.lock().pictures.drain(..).next_back();
        Ok(newest.map(Picture::shot))
    }

    fn grab_shown(&mut self, ago: Duration) -> Result<Option<Shot>> {
        let Some(moment) = v4l2::monotonic().checked_sub(ago) else { return Ok(None) };
        let mut state = self.shared.lock();
        let so_old = |picture: &Picture| picture.shown.is_some_and(|shown| shown <= moment);
        let Some(index) = state.pictures.iter().rposition(so_old) else { return Ok(None) };
        Ok(state.pictures.drain(..=index).next_back().map(Picture::shot))
    }

    fn newest(&self) -> Option<Duration> {
        let newest = self.shared.lock().newest?;
        v4l2::monotonic().checked_sub(newest)
    }
}
