//! The encoder as a stage: frames go in on the caller's thread, coded pictures come out on one of their own.

use super::config::{self, Config, reorder, vui};
use super::gpu::{Gpu, gpus};
use super::pack::{Shape, pack};
use super::retrieve::{Coded, Retrieval, Wake};
use super::schedule::{self, Claim, Need, Place, Readings};
use super::timing::{Inside, Timing};
use super::turn::{Again, Headers};
use super::upload::Upload;
use crate::encode::rate::{Request, Settings, map};
use crate::encode::video::{NOT_HDR, known_hdr, rate_of, rising};
use crate::encode::{Encoder, VideoEncode, presets, stream};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Colour, Frame, HdrMetadata, Memory, PixelFormat, VideoParams};
use crate::packet::{Codec, Coding, MediaKind, Packet, PictureType, StreamInfo, VideoInfo};
use crate::spec::{Bitrate, Preset};
use crate::stage::{Control, Outlet, Stage};
use crate::time::{Rational, TimeBase};
use ghoststream_sys::cuda::{Context, Stream};
use ghoststream_sys::ffmpeg as av;
use ghoststream_sys::nvenc as nv;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How the encoder talks to whoever runs it.
pub struct Hooks {
    /// Is told what the owner should know, with the warning's code.
    pub tell: Box<dyn Fn(&'static str, String) + Send>,
    /// Whether waiting makes no sense any more.
    pub given_up: Box<dyn Fn() -> bool + Send>,
    /// Whether a session that the driver does not allow now is waited for.
    pub waits: bool,
    /// Sessions that the owner has open; its encoders share the count. Where these are all that there are, waiting for
    /// another makes no sense: none ends before the owner does.
    pub held: Arc<AtomicU32>,
    /// The GPU that the owner's pictures are on, with what its encoders are expected to do there.
    pub claim: Option<Claim>,
    /// Where sessions were opened; encoders that follow each other share it.
    pub cards: Cards,
}

/// The GPUs on which the encoders of one track had sessions, in the order in which they tried them.
#[derive(Clone, Debug, Default)]
pub struct Cards(Arc<Mutex<Vec<u32>>>);

impl Cards {
    /// CUDA's numbers of them.
    pub fn tried(&self) -> Vec<u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, index: u32) {
        let mut tried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !tried.contains(&index) {
            tried.push(index);
        }
    }
}

/// One session in its owner's count.
struct Counted(Arc<AtomicU32>);

impl Counted {
    fn new(held: &Arc<AtomicU32>) -> Counted {
        held.fetch_add(1, Ordering::SeqCst);
        Counted(held.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Default for Hooks {
    /// Tells nobody and waits for nothing.
    fn default() -> Self {
        Hooks {
            tell: Box::new(|_, _| {}),
            given_up: Box::new(|| false),
            waits: false,
            held: Arc::default(),
            claim: None,
            cards: Cards::default(),
        }
    }
}

/// How long the driver is left alone before it is asked for a session again.
const AGAIN: Duration = Duration::from_millis(200);
/// The same for the question what there is, which takes a process.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long one look for a free output or the last packets takes.
const LOOK: Duration = Duration::from_millis(500);

/// A failure of the driver's. All that is not a lack of memory or sessions is the device's, so that another encoder may go
/// on.
pub(super) fn failed(e: nv::Error) -> Error {
    let kind = match e.kind() {
        nv::Kind::Sessions => ErrorKind::Busy,
        nv::Kind::Memory => ErrorKind::Memory,
        _ => ErrorKind::Device,
    };
    Error::with_source(kind, format!("nvenc: {e}"), e)
}

/// A failure of the driver's to take a configuration: where it does not like it, nothing is wrong with the device.
fn not_configured(e: nv::Error) -> Error {
    match e.kind() {
        nv::Kind::Unsupported | nv::Kind::Invalid => {
            Error::with_source(ErrorKind::Unsupported, format!("nvenc: {e}"), e)
        }
        _ => failed(e),
    }
}

/// H.264, HEVC or AV1 by NVENC. Opens at its first frame and takes size, format and colour from it; frames come in host
/// memory or in CUDA memory of one of the primary contexts. Packets have the times of [`crate::encode::VideoEncoder`]'s,
/// and start codes.
pub struct NvencEncoder {
    name: String,
    pub(super) codec: Codec,
    pub(super) config: VideoEncode,
    pub(super) hooks: Hooks,
    /// GPUs that it does not use: encoders before it failed there.
    avoided: Vec<u32>,
    pub(super) open: Option<Open>,
    pub(super) stream: Option<StreamInfo>,
    cell: Option<i64>,
    key_wanted: bool,
    /// Whether it was told that a session is waited for.
    waiting: Cell<bool>,
    /// What the next picture's packet gets beside it.
    messages: Vec<(u32, bytes::Bytes)>,
    last: Option<i64>,
    /// Pictures since the encoder's last key picture, with it.
    since_key: u32,
    /// The preset from the next key picture on.
    pub(super) next_preset: Option<Preset>,
    wake: Option<Wake>,
    pub(super) summary: String,
}

/// Where pictures come from.
enum Input {
    /// Host memory: copied to the device.
    Host(Box<Upload>),
    /// Host memory: copied into the encoder's own buffers, for formats that FFmpeg has no device frames of. With room to
    /// lay a picture out.
    Buffers(Shape, Vec<u8>),
    /// Device memory. What lies there in pieces is copied into one by the pool.
    Device(Option<av::HwFrames>),
}

pub(super) struct Open {
    pub(super) submitter: nv::Submitter,
    retrieval: Retrieval,
    input: Input,
    pub(super) params: VideoParams,
    pub(super) host_format: PixelFormat,
    base: TimeBase,
    pub(super) timing: Timing,
    pub(super) settings: Settings,
    hdr: HdrMetadata,
    /// The largest size that it can change to.
    pub(super) most: (u32, u32),
    /// B pictures in a row that were asked for, whatever a preset makes of it.
    pub(super) b_frames: Option<u32>,
    /// B pictures in a row that the stream was described with.
    pub(super) most_b: u32,
    taken: VecDeque<Coded>,
    pub(super) label: String,
    pub(super) capabilities: nv::Capabilities,
    broken: bool,
    /// Headers that have changed since the stream was described, for key packets from a time on.
    pub(super) headers: Headers,
    context: Arc<Context>,
    cuda: Arc<Stream>,
    _counted: Counted,
    /// Given back last.
    _place: Place,
}

impl NvencEncoder {
    /// An encoder that is not open yet. `config.spec.encoder` is `h264_nvenc`, `hevc_nvenc` or `av1_nvenc`.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] or [`ErrorKind::Invalid`] naming the field or option that no NVENC honours.
    pub fn new(config: VideoEncode, hooks: Hooks) -> Result<NvencEncoder> {
        let name = config.spec.encoder.clone().unwrap_or_default();
        let codec = presets::direct(&name)
            .ok_or_else(|| Error::new(ErrorKind::Internal, format!("{name} is not driven directly")))?;
        if config.spec.codec.as_ref().is_some_and(|c| *c != codec) {
            return Err(Error::invalid("video.encoder", format!("{name} makes {codec}")));
        }
        crate::encode::video::settings(&name, &config.spec, config.grid.is_some())?;
        Ok(NvencEncoder {
            summary: "nvenc".into(),
            name,
            codec,
            config,
            avoided: Vec::new(),
            hooks,
            open: None,
            stream: None,
            cell: None,
            key_wanted: false,
            waiting: Cell::new(false),
            messages: Vec::new(),
            last: None,
            since_key: 0,
            next_preset: None,
            wake: None,
        })
    }

    /// The same encoder, which uses none of the GPUs on which those before it had sessions ([`Hooks::cards`]).
    pub fn elsewhere(mut self) -> NvencEncoder {
        self.avoided = self.hooks.cards.tried();
        self
    }

    pub(super) fn settings(&self, format: PixelFormat, colour: Colour) -> Result<Settings> {
        map(&Request {
            encoder: &self.name,
            spec: &self.config.spec,
            grid: self.config.grid.is_some(),
            depth: config::surface(format)?.depth() as u8,
            colour,
            hdr: HdrMetadata::default(),
            threads: 0,
            pass: None,
        })
    }

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
        if let Some(claim) = &self.hooks.claim {
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
        let base = self.config.time_base.unwrap_or(frame.base);
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

    fn describe(&mut self) -> Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        let extradata = bytes::Bytes::from(open.submitter.headers().map_err(failed)?);
        let (params, reorder) = (&open.params, open.timing.depth());
        let pair = |r: Rational| (r.num, r.den);
        let mut parameters = av::CodecParameters::new(&av::ParameterValues {
            kind: av::MediaType::Video,
            codec: self.codec.name().into(),
            extradata: extradata.clone(),
            bit_rate: self.config.spec.bitrate.map_or(0, |b| b.0),
            width: params.width,
            height: params.height,
            pixel_format: Some(open.host_format),
            sample_aspect: pair(params.sample_aspect),
            frame_rate: self.config.frame_rate.map_or((0, 1), pair),
            colour: params.colour,
            field_order: av::FieldOrder::Progressive,
            reorder,
            ..av::ParameterValues::default()
        })?;
        parameters.set_hdr(&open.hdr);
        let (profile, level) = stream::profile_level(&self.codec, &parameters.values());
        if profile.is_some() || level.is_some() {
            let values = av::ParameterValues { profile, level, ..parameters.values() };
            parameters.set(&values)?;
        }
        let mut info = StreamInfo::new(MediaKind::Video, self.codec.clone(), open.base);
        (info.profile, info.level, info.extradata) = (profile, level, extradata);
        info.bit_rate = self.config.spec.bitrate.map(|b| b.0);
        info.video = Some(VideoInfo {
            width: params.width,
            height: params.height,
            format: Some(open.host_format),
            frame_rate: self.config.frame_rate,
            constant_rate: None,
            sample_aspect: params.sample_aspect,
            colour: params.colour,
            hdr: open.hdr,
            rotation: 0.0,
            field_order: crate::packet::FieldOrder::Progressive,
            reorder,
        });
        info.native = Some(parameters);
        self.summarize();
        self.stream = Some(info);
        Ok(())
    }

    pub(super) fn summarize(&mut self) {
        if let Some(open) = &self.open {
            self.summary = format!("{}, {}", open.label, open.settings.summary);
        }
    }

    /// Emits what has come out.
    fn collect(&mut self, out: &mut dyn Outlet<Packet>) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let mut taken = std::mem::take(&mut open.taken);
        let failure = open.retrieval.take(&mut taken);
        let result = taken.drain(..).try_for_each(|coded| out.emit(open.packet(coded, &self.codec)?));
        open.taken = taken;
        result?;
        match failure {
            Some(e) => {
                open.broken = true;
                Err(e)
            }
            None => Ok(()),
        }
    }

    /// Everything that is inside comes out; the session is of no more use.
    pub(super) fn drain(&mut self, out: &mut dyn Outlet<Packet>) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let broken = open.broken;
        // Also after a failure: what the encoder still has may come out.
        let ended = open.submitter.finish().map_err(failed);
        open.retrieval.end();
        let mut result = if broken { Ok(()) } else { ended };
        let mut looks = if broken { 4 } else { u32::MAX };
        loop {
            let more = self.open.as_ref().is_some_and(|o| o.retrieval.wait(LOOK));
            match self.collect(out) {
                Err(e) if e.kind() == ErrorKind::Cancelled => result = Err(e),
                Err(e) if result.is_ok() && !broken => result = Err(e),
                _ => {}
            }
            looks -= 1;
            let cancelled = result.as_ref().is_err_and(|e| e.kind() == ErrorKind::Cancelled);
            if !more || looks == 0 || cancelled || (self.hooks.given_up)() {
                break;
            }
        }
        let left = self.open.as_ref().map_or(0, |o| o.timing.len());
        if result.is_ok() && !broken && left > 0 && !(self.hooks.given_up)() {
            return Err(Error::new(ErrorKind::Device, format!("nvenc kept {left} pictures back")));
        }
        result
    }

    fn control_rates(&mut self, target: u64, max: Option<u64>) -> Result<()> {
        let spec = &self.config.spec;
        let Some(old) = spec.bitrate else {
            return Err(Error::unsupported(
                "nvenc runs at a constant quality; its bit rate cannot be changed",
            ));
        };
        let scaled =
            |rate: Bitrate| (u128::from(rate.0) * u128::from(target) / u128::from(old.0.max(1))) as u64;
        let max = max.or(spec.max_bitrate.map(scaled));
        if max.is_some_and(|m| m < target) {
            return Err(Error::invalid("max_bitrate", "is below bitrate"));
        }
        let mut changed = spec.clone();
        changed.buffer = spec.buffer.map(scaled).map(Bitrate);
        changed.bitrate = Some(Bitrate(target));
        changed.max_bitrate = if spec.cbr { None } else { max.map(Bitrate) };
        let before = std::mem::replace(&mut self.config.spec, changed);
        let result = self.apply_rates();
        if result.is_err() {
            self.config.spec = before;
        }
        result
    }

    fn apply_rates(&mut self) -> Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        if open.capabilities.dynamic_bitrate == 0 {
            return Err(Error::unsupported(format!("{} cannot change its bit rate", open.label)));
        }
        let settings = self.settings(open.host_format, open.params.colour)?;
        let narrow = |v: Option<u64>| v.map(|v| u32::try_from(v).unwrap_or(u32::MAX));
        let changes = nv::Changes {
            bitrate: narrow(settings.bit_rate),
            max_bitrate: narrow(settings.max_rate),
            vbv_size: narrow(settings.buffer),
            ..nv::Changes::default()
        };
        let Some(open) = &mut self.open else { return Ok(()) };
        open.submitter.reconfigure(&changes).map_err(failed)?;
        open.settings = settings;
        self.summarize();
        Ok(())
    }
}

impl Input {
    /// `picture` where the encoder reads it.
    fn place(
        &mut self,
        submitter: &mut nv::Submitter,
        picture: &av::Frame,
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
                Ok(()) => Ok(nv::Input::Frame(picture.try_clone()?)),
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
    fn packet(&mut self, coded: Coded, codec: &Codec) -> Result<Packet> {
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
    fn resize(&mut self, frame: &Frame, pts: i64) -> Result<()> {
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

impl Stage<Frame, Packet> for NvencEncoder {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Packet>) -> Result<()> {
        if self.open.is_none() {
            self.open = Some(self.open(&frame, None)?);
            self.describe()?;
        }
        self.collect(out)?;
        let Some(open) = self.open.as_mut() else { return Ok(()) };
        let wanted = frame.force_key || std::mem::take(&mut self.key_wanted);
        let cell = match (&self.config.grid, frame.presentation()) {
            (Some(grid), Some(time)) => Some(grid.cell(time)),
            _ => None,
        };
        let mut force = wanted || (cell.is_some() && cell != self.cell);
        if cell.is_some() {
            self.cell = cell;
        }
        let mut frame = frame.rebased(open.base);
        let pts = rising("nvenc", &mut self.last, &frame)?;
        frame.pts = Some(pts);
        let now = frame.video();
        if now.format != open.params.format {
            return Err(Error::invalid("nvenc", format!("the picture changed to {now:?} in mid-stream")));
        }
        let due = open.submitter.config().gop.is_some_and(|gop| self.since_key >= gop);
        if (force || due) && self.since_key > 0 && self.turn(&frame, pts, out)? {
            force = true;
        }
        let Some(mut open) = self.open.as_mut() else { return Ok(()) };
        if (now.width, now.height) != (open.params.width, open.params.height) {
            open.resize(&frame, pts)?;
            force = true;
        }
        // HDR metadata holds from one key picture to the next; that the encoder makes one here is made sure.
        force |= due && open.hdr != HdrMetadata::default();
        let key = force || due || self.since_key == 0;
        self.since_key = if key { 1 } else { self.since_key.saturating_add(1) };
        while !open.submitter.wait(LOOK).map_err(failed)? {
            if (self.hooks.given_up)() {
                return Err(Error::cancelled());
            }
            self.collect(out)?;
            let Some(again) = &mut self.open else { return Ok(()) };
            open = again;
        }
        open.timing.enter(Inside { pts, duration: frame.duration, forced: force });
        let messages = std::mem::take(&mut self.messages);
        let payloads: Vec<nv::Payload<'_>> =
            messages.iter().map(|(kind, bytes)| nv::Payload { kind: *kind, bytes }).collect();
        let picture = nv::Picture {
            pts,
            payloads: &payloads,
            duration: frame.duration.max(0) as u64,
            force: if force { nv::Force::Idr } else { nv::Force::None },
            mastering: open.hdr.mastering.as_ref().filter(|_| key),
            light: open.hdr.content_light.filter(|_| key),
            ..nv::Picture::default()
        };
        let given = match open.input.place(&mut open.submitter, frame.media(), &open.context, &open.cuda) {
            Ok(input) => open.submitter.submit(input, &picture).map_err(failed),
            Err(e) => Err(e),
        };
        if let Err(e) = given {
            open.broken = true;
            return Err(e);
        }
        open.retrieval.nudge();
        self.collect(out)
    }

    fn finish(&mut self, out: &mut dyn Outlet<Packet>) -> Result<()> {
        let result = self.drain(out);
        self.open = None;
        result
    }

    fn control(&mut self, control: &Control) -> Result<()> {
        match control {
            Control::ForceKeyFrame => {
                self.key_wanted = true;
                Ok(())
            }
            Control::Bitrate { target, max } => self.control_rates(*target, *max),
            Control::Preset(preset) => self.control_preset(*preset),
            Control::Message { kind, payload } => {
                self.messages.push((*kind, payload.clone()));
                Ok(())
            }
            Control::Lost(pts) => match &mut self.open {
                Some(open) if open.capabilities.invalidate == 0 => {
                    Err(Error::unsupported(format!("{} cannot do without a picture", open.label)))
                }
                Some(open) => open.submitter.invalidate(*pts).map_err(failed),
                None => Err(Error::new(ErrorKind::State, "nvenc has encoded nothing that could be lost")),
            },
            Control::FrameRate(rate) => {
                if !rate.is_positive() {
                    return Err(Error::invalid("frame_rate", format!("{rate} is not above 0")));
                }
                if let Some(open) = &mut self.open {
                    let changes = nv::Changes {
                        frame_rate: Some((rate.num as u32, rate.den as u32)),
                        ..nv::Changes::default()
                    };
                    open.submitter.reconfigure(&changes).map_err(failed)?;
                }
                self.config.frame_rate = Some(*rate);
                Ok(())
            }
            Control::Size { width, height } => match &self.open {
                // The next frame says it again.
                Some(open) if open.capabilities.dynamic_size == 0 => {
                    Err(Error::unsupported(format!("{} cannot change the size of its pictures", open.label)))
                }
                Some(open) if *width > open.most.0 || *height > open.most.1 => {
                    let (w, h) = open.most;
                    Err(Error::invalid(
                        "width",
                        format!("{width}x{height} is above {w}x{h}, which it began with"),
                    ))
                }
                _ => Ok(()),
            },
            other => Err(Error::unsupported(format!("nvenc cannot {other} while it runs"))),
        }
    }
}

impl Encoder for NvencEncoder {
    fn stream(&self) -> Option<&StreamInfo> {
        self.stream.as_ref()
    }

    fn description(&self) -> String {
        self.summary.clone()
    }

    fn poll(&mut self, out: &mut dyn Outlet<Packet>) -> Result<()> {
        self.collect(out)
    }

    fn wake(&mut self, wake: Arc<dyn Fn() + Send + Sync>) {
        if let Some(open) = &self.open {
            open.retrieval.set_wake(wake.clone());
        }
        self.wake = Some(wake);
    }
}

/// The GPU that a CUDA frame is on.
fn home_of(frame: &Frame, gpus: &[Gpu]) -> Result<u32> {
    for gpu in gpus {
        if frame.media().is_in_cuda(&*Context::primary(gpu.index)?) {
            return Ok(gpu.index);
        }
    }
    Err(Error::unsupported(
        "the frame is in a CUDA context that is no GPU's primary one; nvenc does not reach it",
    ))
}

/// Encode sessions of all programs on all GPUs; `None` where the drivers do not tell.
fn open_sessions() -> Option<u32> {
    let known = ghoststream_sys::nvml::devices();
    if known.is_empty() {
        return None;
    }
    known.iter().map(|device| ghoststream_sys::nvml::usage(device.index).encoder_sessions).sum()
}
