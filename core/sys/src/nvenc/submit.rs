//! The half of an encoder that pictures go into.

use super::config::{Changes, Codec, EncodeConfig, RateControl};
use super::error::{Error, Kind, Result};
use super::input::InputBuffer;
use super::layout::{
    Config, ContentLightLevel, Initialize, MapInput, MasteringDisplayInfo, PicParams, Plain, Reconfigure,
    Register, SeiPayload, SequenceParams, reconfigure, set,
};
use super::level;
use super::library::{ApiVersion, Structure};
use super::picture::{self, Force, Picture};
use super::session::{call, status};
use super::shared::{Handle, Held, Holding, Job, Meta, Pixels, Registration, Share, Shared, Streams, lock};
use super::translate;
use super::values::*;
use crate::cuda::{Context, Stream};
use crate::ffmpeg::{Frame, PixelFormat};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a busy encoder is asked again.
const BUSY: Duration = Duration::from_secs(2);
/// Surfaces that stay registered; a decoder's pool has a few dozen.
const REGISTRATIONS: usize = 128;
/// Pictures that [`Submitter::invalidate`] still finds.
const HISTORY: usize = 256;

/// Puts pictures in. `Send`; used by one thread at a time, which may be another than the retriever's.
///
/// Dropping it without [`Submitter::finish`] ends the stream for the retriever without what waits in the encoder.
pub struct Submitter {
    pub(super) shared: Arc<Shared>,
    pub(super) config: EncodeConfig,
    pub(super) raw: Box<Config>,
    pub(super) params: Initialize,
    /// FFmpeg's name for the surface.
    format: PixelFormat,
    b_frames: u32,
    lookahead: u32,
    next: u64,
    history: VecDeque<(i64, u64)>,
    payloads: Vec<SeiPayload>,
    picture: Box<PicParams>,
}

// SAFETY: pointers in the structs lead to the submitter's own boxes, or are rewritten before each use.
unsafe impl Send for Submitter {}

/// What the encoder did with a picture.
enum Given {
    /// It wants more input before it codes.
    Waits,
    /// It codes; the marks around that, where there are any.
    Coded(Option<usize>),
}

/// Where a picture's pixels are.
#[derive(Debug)]
pub enum Input {
    /// A CUDA frame of the session's context, in the configuration's surface format and size, which the encoder reads
    /// where it is. It is held until the encoder is done with it. Frames of a pool are registered once and for all; the
    /// encoder reads in order with the default stream, or with what [`Submitter::set_streams`] gave it.
    Frame(Frame),
    /// The same; its owner keeps it too.
    Shared(Arc<Frame>),
    /// A buffer of the encoder's, filled from host memory.
    Buffer(InputBuffer),
}

impl Submitter {
    pub(super) fn new(
        shared: Arc<Shared>,
        config: EncodeConfig,
        raw: Box<Config>,
        params: Initialize,
        b_frames: u32,
        lookahead: u32,
    ) -> Submitter {
        Submitter {
            shared,
            format: config.surface.pixel_format(),
            config,
            raw,
            params,
            b_frames,
            lookahead,
            next: 0,
            history: VecDeque::with_capacity(HISTORY),
            payloads: Vec::new(),
            picture: Box::new(PicParams::zeroed()),
        }
    }

    /// The context that frames must lie in.
    pub fn context(&self) -> &Arc<Context> {
        self.shared.encoder.context()
    }

    /// The version of the interface that is spoken.
    pub fn version(&self) -> ApiVersion {
        self.shared.encoder.api()
    }

    /// What was asked for, with the changes since.
    pub fn config(&self) -> &EncodeConfig {
        &self.config
    }

    /// B pictures in a row, also where the preset chose them.
    pub fn b_frames(&self) -> u32 {
        self.b_frames
    }

    /// Pictures of lookahead, also where the preset chose them.
    pub fn lookahead(&self) -> u32 {
        self.lookahead
    }

    /// Pictures that may be in work at once.
    pub fn depth(&self) -> usize {
        self.shared.outputs.len()
    }

    /// The encoder reads inputs behind what `input` has queued, and writes outputs in order with `output`. Both are kept.
    ///
    /// # Errors
    /// `Invalid` for streams of another context; what the driver says.
    pub fn set_streams(&mut self, input: &Arc<Stream>, output: &Arc<Stream>) -> Result<()> {
        if [input, output].iter().any(|s| s.context().raw() != self.context().raw()) {
            return Err(Error::invalid("an encoder's streams belong to its context"));
        }
        let _current = self.shared.encoder.context().enter()?;
        let streams = Streams {
            handles: Box::new([input.raw(), output.raw()]),
            owners: [input.clone(), output.clone()],
        };
        let (i, o) = (&raw const streams.handles[0], &raw const streams.handles[1]);
        call!(
            self.shared.encoder,
            nvEncSetIOCudaStreams(i.cast_mut().cast(), o.cast_mut().cast()),
            "set the encoder's streams"
        )?;
        *lock(&self.shared.streams) = Some(streams);
        Ok(())
    }

    /// The stream's headers: SPS and PPS (and VPS) with start codes, or AV1's sequence header OBU.
    ///
    /// # Errors
    /// What the driver says.
    pub fn headers(&self) -> Result<Vec<u8>> {
        let _current = self.shared.encoder.context().enter()?;
        let mut bytes = vec![0u8; 1024];
        let mut size = 0;
        let mut params = SequenceParams::zeroed();
        params.version = self.version().of(Structure::SequenceParams);
        params.inBufferSize = bytes.len() as u32;
        params.spsppsBuffer = bytes.as_mut_ptr().cast();
        params.outSPSPPSPayloadSize = &mut size;
        call!(self.shared.encoder, nvEncGetSequenceParams(&mut params), "get the stream's headers")?;
        bytes.truncate(size as usize);
        Ok(bytes)
    }

    /// A buffer of the encoder's for a picture in host memory: a free one, or a new one.
    ///
    /// # Errors
    /// `Memory`; what the driver says.
    pub fn buffer(&mut self) -> Result<InputBuffer> {
        self.recycle();
        InputBuffer::take(&self.shared, &self.config)
    }

    /// Whether an output is free, so that [`Submitter::submit`] does not say `Busy`; waits for one for `timeout` at most.
    ///
    /// # Errors
    /// The retriever's failure.
    pub fn wait(&self, timeout: Duration) -> Result<bool> {
        let mut deadline = None;
        let mut state = self.shared.state();
        loop {
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            if !state.free_outputs.is_empty() {
                return Ok(true);
            }
            let now = Instant::now();
            let left = deadline.get_or_insert(now + timeout).saturating_duration_since(now);
            if left.is_zero() {
                return Ok(false);
            }
            state.submitter_waits = true;
            let woken = self.shared.wake_submitter.wait_timeout(state, left);
            state = woken.unwrap_or_else(|e| e.into_inner()).0;
            state.submitter_waits = false;
        }
    }

    /// Lets go of inputs that the encoder is done with. Each submission does it too.
    pub fn recycle(&mut self) {
        if self.shared.state().finished.is_empty() {
            return;
        }
        let Ok(_current) = self.shared.encoder.context().enter() else { return };
        self.recycle_here();
    }

    /// The same, in the context.
    fn recycle_here(&self) {
        while let Some(holding) = { self.shared.state().finished.pop() } {
            self.shared.release(holding);
        }
    }

    /// Pictures that are submitted and not retrieved.
    pub fn pending(&self) -> usize {
        let state = self.shared.state();
        state.ready.len() + state.waiting.len()
    }

    /// Gives a picture to the encoder. Returns when it is taken, not when it is coded.
    ///
    /// # Errors
    /// `Busy` when all outputs are in use, before anything is done: retrieve first. `Invalid` for a frame that does not
    /// fit, before anything is done. `Lost`, `Memory` and what else the driver says: the picture was not taken.
    pub fn submit(&mut self, input: Input, picture: &Picture<'_>) -> Result<()> {
        let context = self.shared.encoder.context().clone();
        // Once a picture: it is a call of the driver's each time.
        let entered = context.enter().map_err(Error::from);
        if entered.is_ok() {
            self.recycle_here();
        }
        if let Some(error) = &self.shared.state().failed {
            return Err(error.clone());
        }
        self.check(&input, picture)?;
        let Some(output) = ({ self.shared.state().free_outputs.pop() }) else {
            return Err(Error::new(Kind::Busy, "all outputs of the encoder are in use"));
        };
        let result = entered.and_then(|_current| {
            let (buffer, format, pitch, holding) = self.place(input)?;
            match self.encode(output, buffer, format, pitch, picture) {
                Ok(given) => {
                    self.note(output, holding, picture, given);
                    Ok(())
                }
                Err(e) => {
                    self.shared.release(holding);
                    Err(e)
                }
            }
        });
        if let Err(e) = &result {
            self.shared.state().free_outputs.push(output);
            if e.kind() == Kind::Lost {
                self.shared.fail(e);
            }
        }
        result
    }

    fn check(&self, input: &Input, picture: &Picture<'_>) -> Result<()> {
        let c = &self.config;
        if (picture.mastering.is_some() || picture.light.is_some()) && !c.hdr_metadata {
            return Err(Error::invalid("a picture with HDR metadata in a stream configured without"));
        }
        if let Some(map) = picture.qp_map {
            if !c.qp_map {
                return Err(Error::invalid("a picture with a QP map in a stream configured without"));
            }
            picture::check_map(map, c.width, c.height, c.codec.qp_block())?;
        }
        match input {
            Input::Buffer(buffer) if buffer.belongs_to(&self.shared, c) => Ok(()),
            Input::Buffer(_) => Err(Error::invalid("an input buffer of another encoder, or of another size")),
            Input::Frame(frame) => self.check_frame(frame),
            Input::Shared(frame) => self.check_frame(frame),
        }
    }

    /// Whether the encoder can read `frame` where it is; if not, why.
    ///
    /// # Errors
    /// `Invalid` for a frame of another kind, size, format or context; `Unsupported` for one whose planes do not lie one
    /// after another, and for one that the encoder still reads (a picture that is given again), which must be copied.
    pub fn check_frame(&self, frame: &Frame) -> Result<()> {
        let c = &self.config;
        if !frame.is_in_cuda(self.context()) {
            return Err(Error::invalid("a frame that is not in the encoder's CUDA context"));
        }
        let format = frame.cuda_format();
        if format != Some(self.format) || (frame.width(), frame.height()) != (c.width, c.height) {
            return Err(Error::invalid(format!(
                "a {}x{} {} frame for an encoder of {}x{} {}",
                frame.width(),
                frame.height(),
                format.map_or("", |f| f.name()),
                c.width,
                c.height,
                c.surface.name()
            )));
        }
        let pitch = frame.device_stride(0);
        let start = frame.data_ptr(0);
        let rows = surface_rows(frame).filter(|rows| *rows >= c.height as usize);
        let planes = c.surface.planes(pitch, rows.unwrap_or_default(), true);
        let together = rows.is_some()
            && planes.iter().take(c.surface.plane_count()).enumerate().all(|(i, (offset, pitch))| {
                frame.data_ptr(i) == start + offset && frame.device_stride(i) == *pitch
            });
        if !together {
            return Err(Error::unsupported("a frame whose planes do not lie one after another"));
        }
        let key = self.key(frame);
        if lock(&self.shared.registrations).iter().any(|r| r.key == key && r.uses > 0) {
            return Err(Error::unsupported("a frame that the encoder reads already"));
        }
        Ok(())
    }

    /// Makes the input known to the encoder: what to give, its format and pitch, and what to hold.
    fn place(&self, input: Input) -> Result<(Handle, u32, u32, Holding)> {
        let frame = match input {
            Input::Buffer(buffer) => {
                let (handle, pitch) = buffer.into_handle();
                return Ok((handle, self.config.surface.number(false), pitch, Holding::Buffer(handle)));
            }
            Input::Frame(frame) => Pixels::Own(frame),
            Input::Shared(frame) => Pixels::Shared(frame),
        };
        let (registered, pitch) = self.register(&frame)?;
        let mut map = MapInput::zeroed();
        map.version = self.version().of(Structure::MapInput);
        map.registeredResource = registered.0;
        let mapped = call!(self.shared.encoder, nvEncMapInputResource(&mut map), "map a surface");
        if let Err(e) = mapped {
            self.unused(registered);
            return Err(e);
        }
        let mapped = Handle(map.mappedResource);
        Ok((mapped, map.mappedBufferFmt, pitch, Holding::Frame { mapped, registered, frame }))
    }

    /// What tells a frame's memory from all other.
    fn key(&self, frame: &Frame) -> super::shared::Key {
        let rows = surface_rows(frame).and_then(|rows| u32::try_from(rows).ok()).unwrap_or(frame.height());
        let format = self.config.surface.number(true);
        (frame.data_ptr(0) as u64, frame.device_stride(0), frame.width(), rows, format)
    }

    fn register(&self, frame: &Frame) -> Result<(Handle, u32)> {
        let key = self.key(frame);
        let (address, pitch, _, rows, format) = key;
        let mut registrations = lock(&self.shared.registrations);
        if let Some(known) = registrations.iter_mut().find(|r| r.key == key) {
            known.uses += 1;
            known.last = self.next;
            return Ok((known.registered, pitch as u32));
        }
        if registrations.len() >= REGISTRATIONS {
            let idle = registrations.iter().enumerate().filter(|(_, r)| r.uses == 0);
            if let Some(at) = idle.min_by_key(|(_, r)| r.last).map(|(at, _)| at) {
                let old = registrations.swap_remove(at);
                self.shared.unregister(old.registered);
            }
        }
        let mut register = Register::zeroed();
        register.version = self.version().of(Structure::Register);
        register.resourceType = INPUT_RESOURCE_TYPE_CUDADEVICEPTR;
        (register.width, register.height) = (frame.width(), rows);
        register.pitch = pitch as u32;
        register.resourceToRegister = address as *mut _;
        register.bufferFormat = format;
        register.bufferUsage = INPUT_IMAGE;
        call!(self.shared.encoder, nvEncRegisterResource(&mut register), "register a surface")?;
        let registered = Handle(register.registeredResource);
        let pool = if frame.is_foreign_cuda() { None } else { frame.hw_frames() };
        registrations.push(Registration { key, registered, uses: 1, last: self.next, pool });
        Ok((registered, pitch as u32))
    }

    fn unused(&self, registered: Handle) {
        let mut registrations = lock(&self.shared.registrations);
        if let Some(at) = registrations.iter().position(|r| r.registered == registered) {
            registrations[at].uses -= 1;
            if registrations[at].pool.is_none() && registrations[at].uses == 0 {
                registrations.swap_remove(at);
                self.shared.unregister(registered);
            }
        }
    }

    fn encode(
        &mut self,
        output: Handle,
        buffer: Handle,
        format: u32,
        pitch: u32,
        picture: &Picture<'_>,
    ) -> Result<Given> {
        let (api, codec) = (self.version(), self.config.codec);
        let av1 = codec == Codec::Av1;
        // Parameters for HDR metadata are newer than messages for it, and H.264 has none.
        let native = codec != Codec::H264 && api >= ApiVersion::V13;
        let messages: [Option<(u32, Vec<u8>)>; 2] = if native {
            [None, None]
        } else {
            [
                picture.mastering.map(|m| picture::mastering_payload(m, av1)),
                picture.light.map(|l| picture::light_payload(l, av1)),
            ]
        };
        self.payloads.clear();
        let own = messages.iter().flatten().map(|(kind, bytes)| (*kind, bytes.as_slice()));
        for (kind, bytes) in picture.payloads.iter().map(|p| (p.kind, p.bytes)).chain(own) {
            self.payloads.push(SeiPayload {
                payloadSize: bytes.len() as u32,
                payloadType: kind,
                payload: bytes.as_ptr().cast_mut(),
            });
        }
        let mut display: Option<MasteringDisplayInfo> =
            picture.mastering.filter(|_| native).map(|m| picture::mastering(m, av1));
        let mut light: Option<ContentLightLevel> = picture.light.filter(|_| native).map(picture::light);
        let display = display.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
        let light = light.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
        let (list, count) = (self.payloads.as_mut_ptr(), self.payloads.len() as u32);

        let p = &mut *self.picture;
        *p = PicParams::zeroed();
        p.version = api.of(Structure::PicParams);
        (p.inputWidth, p.inputHeight, p.inputPitch) = (self.config.width, self.config.height, pitch);
        p.encodePicFlags = match picture.force {
            Force::None => 0,
            Force::Intra => PIC_FLAG_FORCEINTRA,
            Force::Idr => PIC_FLAG_FORCEIDR,
        } | if picture.headers { PIC_FLAG_OUTPUT_SPSPPS } else { 0 };
        p.frameIdx = self.next as u32;
        p.inputTimeStamp = self.next;
        p.inputDuration = picture.duration;
        p.inputBuffer = buffer.0;
        p.outputBitstream = output.0;
        p.bufferFmt = format;
        p.pictureStruct = PIC_STRUCT_FRAME;
        if let Some(map) = picture.qp_map {
            p.qpDeltaMap = map.as_ptr().cast_mut();
            p.qpDeltaMapSize = map.len() as u32;
        }
        // Slices and tiles in a picture's parameters replace those of the configuration.
        // SAFETY: zeroed above, and each is the codec's own view of the union.
        unsafe {
            match codec {
                Codec::H264 => {
                    let own = &mut p.codecPicParams.h264;
                    let base = &self.raw.encodeCodecConfig.h264;
                    (own.sliceMode, own.sliceModeData) = (base.sliceMode, base.sliceModeData);
                    (own.seiPayloadArray, own.seiPayloadArrayCnt) = (list, count);
                    own.forceIntraRefreshWithFrameCnt = picture.intra_refresh;
                }
                Codec::Hevc => {
                    let own = &mut p.codecPicParams.hevc;
                    let base = &self.raw.encodeCodecConfig.hevc;
                    (own.sliceMode, own.sliceModeData) = (base.sliceMode, base.sliceModeData);
                    (own.seiPayloadArray, own.seiPayloadArrayCnt) = (list, count);
                    own.forceIntraRefreshWithFrameCnt = picture.intra_refresh;
                    (own.pMasteringDisplay, own.pMaxCll) = (display, light);
                }
                Codec::Av1 => {
                    let own = &mut p.codecPicParams.av1;
                    let base = &self.raw.encodeCodecConfig.av1;
                    (own.numTileColumns, own.numTileRows) = (base.numTileColumns, base.numTileRows);
                    (own.tileWidths, own.tileHeights) = (base.tileWidths, base.tileHeights);
                    (own.obuPayloadArray, own.obuPayloadArrayCnt) = (list, count);
                    own.forceIntraRefreshWithFrameCnt = picture.intra_refresh;
                    (own.pMasteringDisplay, own.pMaxCll) = (display, light);
                }
            }
        }
        let slot = self.shared.slot(output);
        let timed = self.shared.begin(slot);
        let mut deadline = None;
        loop {
            match status!(self.shared.encoder, nvEncEncodePicture(&mut *self.picture))? {
                ERR_NEED_MORE_INPUT => return Ok(Given::Waits),
                0 => return Ok(Given::Coded(slot.filter(|_| timed && self.shared.end(slot)))),
                ERR_ENCODER_BUSY
                    if Instant::now() < *deadline.get_or_insert_with(|| Instant::now() + BUSY) =>
                {
                    std::thread::sleep(Duration::from_millis(1));
                }
                code => return Err(self.shared.encoder.error(code, "encode a picture")),
            }
        }
    }

    fn note(&mut self, output: Handle, holding: Holding, picture: &Picture<'_>, given: Given) {
        let number = self.next;
        self.next += 1;
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back((picture.pts, number));
        let mut guard = self.shared.state();
        let state = &mut *guard;
        (state.open, state.ended) = (true, false);
        state.pictures.push_back(Meta {
            number,
            pts: picture.pts,
            duration: picture.duration,
            tag: picture.tag,
        });
        state.held.push(Held { number, holding, output_read: false, coded: false });
        state.waiting.push_back(Job { output, number, share: None });
        if let Given::Coded(slot) = given {
            // Success means that pictures are coded, all but those that the encoder still looks ahead over.
            let coded = state.waiting.len().saturating_sub(self.lookahead as usize);
            let share = Share::of(slot, coded);
            state.ready.extend(state.waiting.drain(..coded).map(|job| Job { share, ..job }));
            let wake = std::mem::take(&mut state.retriever_waits);
            drop(guard);
            // Whoever wakes wants the state.
            if wake {
                self.shared.wake_retriever.notify_all();
            }
        }
    }

    /// Ends the stream: what waits is coded, and the retriever comes to the end. A picture may follow; it begins anew.
    ///
    /// # Errors
    /// `Lost` and what else the driver says.
    pub fn finish(&mut self) -> Result<()> {
        self.recycle();
        let (open, failed) = {
            let state = self.shared.state();
            (state.open, state.failed.clone())
        };
        let result = match failed.filter(|e| e.kind() == Kind::Lost) {
            // Nothing comes out of a lost device, and a call may never return.
            Some(e) => Err(e),
            None if open => self.shared.end_of_stream(),
            None => Ok(()),
        };
        if let Err(e) = &result {
            self.shared.fail(e);
        }
        let mut state = self.shared.state();
        state.ended = true;
        self.shared.wake_retriever(&mut state);
        drop(state);
        result
    }

    /// Changes what can be changed while coding goes on; no picture is lost. A change of size makes the encoder finish
    /// what waits first.
    ///
    /// # Errors
    /// `Invalid` for a change that the configuration does not go with, named; `Unsupported` and what else the driver
    /// says. Nothing is changed then.
    pub fn reconfigure(&mut self, changes: &Changes) -> Result<()> {
        let mut config = self.config.clone();
        apply(&mut config, changes)?;
        let resized = (config.width, config.height) != (self.config.width, self.config.height);
        let context = self.shared.encoder.context().clone();
        let _current = context.enter()?;
        if resized && self.shared.state().open {
            self.shared.end_of_stream()?;
        }
        let api = self.version();
        let mut raw = Box::new(*self.raw);
        let fresh = translate::config(&config, &raw, api);
        raw.rcParams = fresh.rcParams;
        let mut params = self.params;
        let new = translate::initialize(&config, &mut *raw, api)?;
        (params.encodeWidth, params.encodeHeight) = (new.encodeWidth, new.encodeHeight);
        (params.darWidth, params.darHeight) = (new.darWidth, new.darHeight);
        (params.frameRateNum, params.frameRateDen) = (new.frameRateNum, new.frameRateDen);
        params.encodeConfig = &mut *raw;
        let mut all = Reconfigure::zeroed();
        all.version = api.of(Structure::Reconfigure);
        all.reInitEncodeParams = params;
        set(&mut all.flags, reconfigure::resetEncoder, (changes.reset || resized).into());
        set(&mut all.flags, reconfigure::forceIDR, (changes.force_idr || changes.reset || resized).into());
        call!(self.shared.encoder, nvEncReconfigureEncoder(&mut all), "reconfigure the encoder")?;
        (self.config, self.raw, self.params) = (config, raw, params);
        Ok(())
    }

    /// Forbids references to the picture with time `pts` (which a receiver lost). Call once per lost picture.
    ///
    /// # Errors
    /// `Invalid` when none of the last 256 pictures has that time; `Unsupported` and what else the driver says.
    pub fn invalidate(&mut self, pts: i64) -> Result<()> {
        let found = self.history.iter().rev().find(|(p, _)| *p == pts).map(|(_, number)| *number);
        let number = found
            .ok_or_else(|| Error::invalid(format!("no recent picture has the time {pts} to invalidate")))?;
        let _current = self.shared.encoder.context().enter()?;
        call!(self.shared.encoder, nvEncInvalidateRefFrames(number), "invalidate a reference picture")
    }
}

/// Rows from the first plane to the next: surfaces may be higher than their pictures, as a decoder's are. `None` where the
/// next plane does not lie behind the first, on a row.
fn surface_rows(frame: &Frame) -> Option<usize> {
    let (start, pitch) = (frame.data_ptr(0), frame.device_stride(0));
    let next = [frame.data_ptr(1), frame.data_ptr(2)].into_iter().filter(|p| *p != 0).min()?;
    let luma = next.checked_sub(start)?;
    (pitch > 0 && luma.is_multiple_of(pitch)).then(|| luma / pitch)
}

fn apply(config: &mut EncodeConfig, changes: &Changes) -> Result<()> {
    let wrong = |field: &str, why: &str| Err(Error::invalid(format!("{field}: {why}")));
    if let Some(new) = changes.bitrate.filter(|b| *b > 0) {
        match &mut config.rate {
            RateControl::Cbr { bitrate, .. } | RateControl::Vbr { bitrate, .. } => *bitrate = new,
            _ => return wrong("bitrate", "this rate control has none"),
        }
    } else if changes.bitrate.is_some() {
        return wrong("bitrate", "it is 0");
    }
    if let Some(new) = changes.max_bitrate {
        match &mut config.rate {
            RateControl::Vbr { max_bitrate, .. } | RateControl::Cq { max_bitrate, .. } => {
                *max_bitrate = Some(new)
            }
            _ => return wrong("max_bitrate", "this rate control has none"),
        }
    }
    if let RateControl::Vbr { bitrate, max_bitrate: Some(max), .. } = config.rate
        && max < bitrate
    {
        return wrong("max_bitrate", "it is below the average");
    }
    if let Some(new) = changes.quality {
        let best = if config.codec == Codec::Av1 { 63.0 } else { 51.0 };
        match &mut config.rate {
            RateControl::Cq { quality, .. } if new > 0.0 && new <= best => *quality = new,
            RateControl::Cq { .. } => return wrong("quality", "it is out of range"),
            _ => return wrong("quality", "this rate control has none"),
        }
    }
    config.vbv_size = changes.vbv_size.or(config.vbv_size);
    config.vbv_initial = changes.vbv_initial.or(config.vbv_initial);
    if let Some((n, d)) = changes.frame_rate {
        if n == 0 || d == 0 {
            return wrong("frame_rate", "it is 0");
        }
        config.frame_rate = (n, d);
    }
    if let Some((w, h)) = changes.size {
        let (max_w, max_h) = config.max_size.unwrap_or((config.width, config.height));
        if w == 0 || h == 0 || w > max_w || h > max_h {
            return wrong(
                "size",
                &format!("{w}x{h} is not within the {max_w}x{max_h} that the encoder was opened for"),
            );
        }
        (config.width, config.height) = (w, h);
    }
    match level::refused(config) {
        Some((field, why)) => wrong(field, &why),
        None => Ok(()),
    }
}

impl Drop for Submitter {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closed = true;
        self.shared.wake_retriever(&mut state);
    }
}

impl std::fmt::Debug for Submitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let c = &self.config;
        write!(f, "Submitter({} {}x{}, {} submitted)", c.codec.name(), c.width, c.height, self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_checked_against_the_configuration() {
        let rate = RateControl::Vbr { bitrate: 1000, max_bitrate: Some(2000), quality: None };
        let mut c = EncodeConfig::new(Codec::H264, 640, 360, (30, 1), rate);
        c.max_size = Some((1280, 720));
        let mut changed = c.clone();
        let all = Changes {
            bitrate: Some(500),
            max_bitrate: Some(700),
            frame_rate: Some((60, 1)),
            size: Some((1280, 720)),
            ..Changes::default()
        };
        apply(&mut changed, &all).unwrap();
        assert_eq!(changed.rate, RateControl::Vbr { bitrate: 500, max_bitrate: Some(700), quality: None });
        assert_eq!((changed.width, changed.frame_rate), (1280, (60, 1)));
        for (changes, field) in [
            (Changes { size: Some((1282, 720)), ..Changes::default() }, "size"),
            (Changes { bitrate: Some(3000), ..Changes::default() }, "max_bitrate"),
            (Changes { bitrate: Some(0), ..Changes::default() }, "bitrate"),
            (Changes { quality: Some(20.0), ..Changes::default() }, "quality"),
            (Changes { frame_rate: Some((0, 1)), ..Changes::default() }, "frame_rate"),
        ] {
            let e = apply(&mut c.clone(), &changes).unwrap_err();
            assert!(e.to_string().starts_with(field), "{e}");
        }
        // What a level allows holds for changes too.
        c.level = Some(30);
        let faster =
            Changes { bitrate: Some(13_000_000), max_bitrate: Some(13_000_000), ..Changes::default() };
        let e = apply(&mut c.clone(), &faster).unwrap_err();
        assert!(e.to_string().starts_with("level: 3 allows 12500000 bits a second"), "{e}");
        apply(&mut c, &Changes { max_bitrate: Some(12_500_000), ..Changes::default() }).unwrap();
        let e =
            apply(&mut c.clone(), &Changes { vbv_size: Some(12_500_001), ..Changes::default() }).unwrap_err();
        assert!(e.to_string().starts_with("vbv_size: level 3 allows a buffer of 12500000 bits"), "{e}");
    }
}
