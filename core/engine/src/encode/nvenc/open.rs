//! From a picture to a session that codes pictures like it: what is asked for, where, and how its pixels get there.

use super::config::{self, Config, reorder, vui};
use super::gpu::{Gpu, gpus};
use super::hooks::Counted;
use super::pack::{Shape, pack};
use super::retrieve::{Coded, Retrieval};
use super::schedule::{self, Need, Place, Readings};
use super::stage::NvencEncoder;
use super::timing::Timing;
use super::turn::{Again, Headers};
use super::upload::Upload;
use super::{failed, not_configured};
use crate::encode::rate::Settings;
use crate::encode::video::{NOT_HDR, known_hdr, rate_of};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Frame, HdrMetadata, Memory, PixelFormat, VideoParams};
use crate::packet::{Codec, Coding, Packet, PictureType};
use crate::time::{Rational, TimeBase};
use ghoststream_sys::cuda::{Context, Stream};
use ghoststream_sys::ffmpeg as av;
use ghoststream_sys::nvenc as nv;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long the driver is left alone before it is asked for a session again.
const AGAIN: Duration = Duration::from_millis(200);
/// The same for the question what there is, which takes a process.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Where pictures come from.
pub(super) enum Input {
    /// Host memory: copied to the device.
    Host(Box<Upload>),
    /// Host memory: copied into the encoder's own buffers, for formats that FFmpeg has no device frames of. With room to
    /// lay a picture out.
    Buffers(Shape, Vec<u8>),
    /// Device memory. What lies there in pieces is copied into one by the pool.
    Device(Option<av::HwFrames>),
}

/// A session, and what it codes.
pub(super) struct Open {
    pub(super) submitter: nv::Submitter,
    pub(super) retrieval: Retrieval,
    pub(super) input: Input,
    pub(super) params: VideoParams,
    pub(super) host_format: PixelFormat,
    pub(super) base: TimeBase,
    pub(super) timing: Timing,
    pub(super) settings: Settings,
    pub(super) hdr: HdrMetadata,
    /// The largest size that it can change to.
    pub(super) most: (u32, u32),
    /// B pictures in a row that were asked for, whatever a preset makes of it.
    pub(super) b_frames: Option<u32>,
    /// B pictures in a row that the stream was described with.
    pub(super) most_b: u32,
    pub(super) taken: VecDeque<Coded>,
    pub(super) label: String,
    pub(super) capabilities: nv::Capabilities,
    pub(super) broken: bool,
    /// Headers that have changed since the stream was described, for key packets from a time on.
    pub(super) headers: Headers,
    pub(super) context: Arc<Context>,
    pub(super) cuda: Arc<Stream>,
    _counted: Counted,
    /// Given back last.
    _place: Place,
}

impl NvencEncoder {
    /// The configuration for pictures like `frame`, which are `host_format` wherever they are.
    fn configure(&self, frame: &Frame, host_format: PixelFormat) -> Result<(Config, Settings, HdrMetadata)> {
        let params = frame.video();
        if self.config.spec.hdr.is_some() && !params.colour.is_hdr() {
            return Err(Error::invalid("video.hdr", NOT_HDR));
        }
        let hdr =
            if params.colour.is_hdr() { known_hdr(&self.config, frame) } else { HdrMetadata::default() };
        let settings = self.settings(host_format, params.colour)?;
        let mut config = Config::new(&self.codec, &settings, config::surface(host_format)?)?;
        let rate = rate_of(&self.config, frame);
        let c = &mut config.encode;
        (c.width, c.height) = (params.width, params.height);
        c.frame_rate = (rate.num.max(1) as u32, rate.den.max(1) as u32);
        let aspect = params.sample_aspect;
        if aspect != Rational::new(1, 1) {
            let shown = Rational::approximate(
                f64::from(params.width) * aspect.as_f64() / f64::from(params.height),
                65535,
            );
            c.display_aspect = shown.map(|r| (r.num.max(1) as u32, r.den.max(1) as u32));
        }
        c.vui = Some(vui(params.colour));
        c.hdr_metadata = hdr.mastering.is_some() || hdr.content_light.is_some();
        Ok((config, settings, hdr))
    }

    /// Opens a session for pictures like `frame`; `again` has what goes on from the session before.
    pub(super) fn open(&self, frame: &Frame, again: Option<&Again>) -> Result<Open> {
        let params = frame.video();
        let host_format = match frame.media().hw_frames() {
            Some(pool) => pool.host_format(),
            None => params.format,
        };
        let (mut config, settings, hdr) = self.configure(frame, host_format)?;
        let size = (params.width, params.height);
        let asked_b = config.encode.b_frames;
        let mut most = size;
        if let Some(again) = again {
            most = (size.0.max(again.most.0), size.1.max(again.most.1));
            config.encode.b_frames = again.b_frames.or(asked_b);
            // Whoever begins to watch here has only what the stream was described with.
            config.encode.repeat_headers |= config.encode.codec == nv::Codec::Av1;
        }
        let mut gpus = self.patiently("nvenc", ASK_AGAIN, gpus)?;
        gpus.retain(|gpu| !self.avoided.contains(&gpu.index));
        let home = match frame.memory() {
            Memory::Host => None,
            Memory::Cuda => Some(home_of(frame, &gpus)?),
            _ => {
                let message = format!("nvenc does not take {} frames; download them first", params.format);
                return Err(Error::unsupported(message));
            }
        };
        let rate = f64::from(config.encode.frame_rate.0) / f64::from(config.encode.frame_rate.1);
        let need = Need {
            gpu: config.gpu,
            home,
            work: f64::from(size.0) * f64::from(size.1) * rate,
            memory: Need::memory_of(size),
        };
        let place = schedule::place(&gpus, need, |gpu| gpu.takes(&config, Some(size)), Readings::of(&gpus))?;
        // What goes on in a new session has drawn its part before.
        if again.is_none()
            && let Some(claim) = &self.hooks.claim
        {
            claim.draw(place.index, need.work);
        }
        self.hooks.cards.note(place.index);
        let gpu = gpus
            .iter()
            .find(|g| g.index == place.index)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a place on no GPU"))?;
        let context = Context::primary(place.index)?;
        let cuda = Stream::new(&context)?;
        let library = nv::Library::load().map_err(failed)?;
        let session =
            self.patiently(&gpu.label(), AGAIN, || nv::Session::open(library, &context).map_err(failed))?;
        let counted = Counted::new(&self.hooks.held);
        let capabilities = *gpu.capabilities(&self.codec)?;
        // Sizes up to the first can be changed to.
        if capabilities.dynamic_size != 0 {
            config.encode.max_size = Some(most);
        }
        let (submitter, retriever) = session.initialize(&config.encode).map_err(not_configured)?;
        // The encoder reads in order with the default stream, and so behind every stream of the engine's.
        let shape = Shape { width: size.0, height: size.1, surface: config.encode.surface };
        let input = match frame.memory() {
            Memory::Host => match Upload::new(&context, &cuda, shape) {
                Ok(upload) => Input::Host(Box::new(upload)),
                Err(e) if e.kind() == ErrorKind::Unsupported => Input::Buffers(shape, Vec::new()),
                Err(e) => return Err(e),
            },
            _ => Input::Device(None),
        };
        let base = self.config.base_of(frame.base);
        let b_frames = submitter.b_frames();
        let reorder = reorder(&config, b_frames);
        let step = 1.0 / (rate.max(1e-3) * base.as_f64());
        Ok(Open {
            timing: Timing::new(reorder, step.round() as i64),
            retrieval: Retrieval::start(retriever, self.wake.clone())?,
            submitter,
            input,
            params,
            host_format,
            base,
            settings,
            hdr,
            most,
            b_frames: asked_b,
            most_b: again.map_or(b_frames, |again| again.most_b),
            taken: VecDeque::new(),
            label: gpu.label(),
            capabilities,
            broken: false,
            headers: Headers::default(),
            context,
            cuda,
            _counted: counted,
            _place: place,
        })
    }

    /// Does what needs a session of the driver's, waiting for one where that is wished. `who` is waited for.
    fn patiently<T>(&self, who: &str, pause: Duration, attempt: impl Fn() -> Result<T>) -> Result<T> {
        loop {
            let e = match attempt() {
                Err(e) if e.kind() == ErrorKind::Busy && self.hooks.waits => e,
                result => return result,
            };
            if (self.hooks.given_up)() {
                return Err(Error::cancelled());
            }
            let held = self.hooks.held.load(Ordering::SeqCst);
            if held > 0 && open_sessions().is_some_and(|all| all <= held) {
                return Err(e.context(format!(
                    "{who}: no more than {held} encode sessions are allowed here, all of which this job has"
                )));
            }
            if !self.waiting.replace(true) {
                (self.hooks.tell)("waiting", format!("{who}: waiting for an encode session: {e}"));
            }
            std::thread::sleep(pause);
        }
    }
}

impl Input {
    /// `picture` where the encoder reads it.
    pub fn place(
        &mut self,
        submitter: &mut nv::Submitter,
        picture: &Arc<av::Frame>,
        context: &Arc<Context>,
        cuda: &Stream,
    ) -> Result<nv::Input> {
        match self {
            Input::Host(upload) => Ok(nv::Input::Frame(upload.send(picture)?)),
            Input::Buffers(shape, room) => {
                room.resize(shape.bytes(), 0);
                pack(picture, shape, room)?;
                let mut buffer = submitter.buffer().map_err(failed)?;
                buffer.fill_packed(room, shape.row_bytes()).map_err(failed)?;
                Ok(nv::Input::Buffer(buffer))
            }
            Input::Device(pool) => match submitter.check_frame(picture) {
                Ok(()) => Ok(nv::Input::Shared(picture.clone())),
                Err(e) if e.kind() == nv::Kind::Unsupported => {
                    let pool = match pool {
                        Some(pool) => pool,
                        None => {
                            let format = picture.hw_frames().map_or(PixelFormat::NONE, |f| f.host_format());
                            let device = av::HwDevice::cuda(context)?;
                            pool.insert(device.frames(format, picture.width(), picture.height(), 0)?)
                        }
                    };
                    let mut whole = pool.frame()?;
                    let from = picture.each_device_plane()?;
                    for (from, mut to) in from.zip(whole.each_device_plane_mut()?) {
                        cuda.copy(&from, &mut to)?;
                    }
                    Ok(nv::Input::Frame(whole))
                }
                Err(e) => Err(failed(e)),
            },
        }
    }
}

impl Open {
    /// The packet of a coded picture.
    pub fn packet(&mut self, coded: Coded, codec: &Codec) -> Result<Packet> {
        let known = if coded.stray { None } else { self.timing.leave(coded.pts) };
        let Some((picture, dts)) = known else {
            return Err(Error::new(ErrorKind::Device, "nvenc gave a picture back that it was never given"));
        };
        let key = coded.kind.is_key();
        if picture.forced && !key {
            let time = crate::time::Timestamp::new(picture.pts, self.base);
            return Err(Error::new(
                ErrorKind::Device,
                format!("{} made no key frame at {time}, where one was forced", self.label),
            ));
        }
        let mut packet = Packet::new(coded.data, picture.pts, picture.duration, self.base);
        packet.dts = Some(dts);
        packet.key = key;
        if key
            && *codec != Codec::Av1
            && let Some(headers) = self.headers.at(picture.pts)
        {
            packet.data = [&headers[..], &packet.data[..]].concat().into();
        }
        packet.coding = Some(Coding {
            kind: match coded.kind {
                nv::PictureKind::Idr | nv::PictureKind::I => PictureType::I,
                nv::PictureKind::P
                | nv::PictureKind::NonReferenceP
                | nv::PictureKind::IntraRefresh
                | nv::PictureKind::Skipped => PictureType::P,
                nv::PictureKind::B => PictureType::B,
                nv::PictureKind::Unknown => PictureType::Unknown,
            },
            qp: Some(coded.qp as f32),
            gpu_time: coded.gpu_time,
        });
        Ok(packet)
    }

    /// Follows pictures to another size.
    pub fn resize(&mut self, frame: &Frame, pts: i64) -> Result<()> {
        let size = (frame.media().width(), frame.media().height());
        if size.0 > self.most.0 || size.1 > self.most.1 {
            return Err(Error::invalid(
                "nvenc",
                format!(
                    "the picture grew to {}x{}; {}x{} is the most",
                    size.0, size.1, self.most.0, self.most.1
                ),
            ));
        }
        if self.capabilities.dynamic_size == 0 {
            return Err(Error::unsupported(format!("{} cannot change the size of its pictures", self.label)));
        }
        let changes = nv::Changes { size: Some(size), ..nv::Changes::default() };
        self.submitter.reconfigure(&changes).map_err(failed)?;
        self.headers.set(pts, self.submitter.headers().map_err(failed)?.into());
        (self.params.width, self.params.height) = size;
        match &mut self.input {
            Input::Device(pool) => *pool = None,
            Input::Buffers(shape, _) => (shape.width, shape.height) = size,
            Input::Host(upload) => {
                let shape = Shape { width: size.0, height: size.1, ..upload.shape() };
                **upload = Upload::new(&self.context, &self.cuda, shape)?;
            }
        }
        Ok(())
    }
}

/// The GPU that a CUDA frame is on, which must be one of `gpus`.
fn home_of(frame: &Frame, gpus: &[Gpu]) -> Result<u32> {
    let home = frame.media().cuda_home()?.map(|context| context.device().ordinal);
    let home = home.ok_or_else(|| {
        Error::unsupported(
            "the frame is in a CUDA context that is no GPU's primary one; nvenc does not reach it",
        )
    })?;
    match gpus.iter().any(|gpu| gpu.index == home) {
        true => Ok(home),
        false => {
            Err(Error::unsupported(format!("the frame is on GPU {home}, which nvenc does not use here")))
        }
    }
}

/// Encode sessions of all programs on all GPUs; `None` where the drivers do not tell.
fn open_sessions() -> Option<u32> {
    let known = ghoststream_sys::nvml::devices();
    if known.is_empty() {
        return None;
    }
    known.iter().map(|device| ghoststream_sys::nvml::usage(device.index).encoder_sessions).sum()
}
