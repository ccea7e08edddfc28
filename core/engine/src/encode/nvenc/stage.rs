//! The encoder as a stage: frames go in on the caller's thread, coded pictures come out on one of their own.

use super::config;
use super::failed;
use super::hooks::Hooks;
use super::open::Open;
use super::retrieve::Wake;
use super::timing::Inside;
use crate::encode::rate::{Request, Settings, map};
use crate::encode::video::rising;
use crate::encode::{Encoder, VideoEncode, presets, stream};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Colour, Frame, HdrMetadata, Memory, PixelFormat};
use crate::packet::{Codec, MediaKind, Packet, StreamInfo, VideoInfo};
use crate::spec::{Bitrate, Preset};
use crate::stage::{Control, Outlet, Stage};
use crate::time::Rational;
use ghoststream_sys::ffmpeg as av;
use ghoststream_sys::nvenc as nv;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// How long one look for a free output or the last packets takes.
const LOOK: Duration = Duration::from_millis(500);

/// H.264, HEVC or AV1 by NVENC. Opens at its first frame and takes size, format and colour from it; frames come in host
/// memory or in CUDA memory of one of the primary contexts. Packets have the times of [`crate::encode::VideoEncoder`]'s,
/// and start codes.
pub struct NvencEncoder {
    name: String,
    pub(super) codec: Codec,
    pub(super) config: VideoEncode,
    pub(super) hooks: Hooks,
    /// GPUs that it does not use: encoders before it failed there.
    pub(super) avoided: Vec<u32>,
    pub(super) open: Option<Open>,
    pub(super) stream: Option<StreamInfo>,
    cell: Option<i64>,
    key_wanted: bool,
    /// Whether it was told that a session is waited for.
    pub(super) waiting: Cell<bool>,
    /// What the next picture's packet gets beside it.
    messages: Vec<(u32, bytes::Bytes)>,
    last: Option<i64>,
    /// Pictures since the encoder's last key picture, with it.
    since_key: u32,
    /// The preset from the next key picture on.
    pub(super) next_preset: Option<Preset>,
    pub(super) wake: Option<Wake>,
    pub(super) summary: String,
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
        crate::encode::video::settings(&name, &config.spec, config.grid.is_some(), None)?;
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
            interval: None,
            depth: config::surface(format)?.depth() as u8,
            colour,
            hdr: HdrMetadata::default(),
            threads: 0,
            pass: None,
        })
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
            mirrored: false,
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
        if frame.memory() == Memory::Host && open.params.format == PixelFormat::cuda() {
            return Err(Error::new(ErrorKind::Device, "nvenc: frames no longer come on the device"));
        }
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
        let given =
            match open.input.place(&mut open.submitter, frame.shared_media(), &open.context, &open.cuda) {
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
