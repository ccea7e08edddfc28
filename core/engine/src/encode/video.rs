//! Video encoding through FFmpeg.

use super::format::{depth_of, input_format, input_range};
use super::grid::KeyGrid;
use super::pass::Pass;
use super::presets::{Force, Input, Table, table, unknown};
use super::rate::{Request, Settings, map};
use super::x264::Quantisers;
use super::{Encoder, nvenc, presets, stream};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{ColourRange, Frame, HdrMetadata, PixelFormat, VideoParams};
use crate::packet::{Codec, MediaKind, Packet, StreamInfo, VideoInfo};
use crate::spec::{Bitrate, Preset, VideoSpec};
use crate::stage::{Control, Outlet, Stage};
use crate::time::{Rational, TimeBase, Timestamp};
use bytes::Bytes;
use ghoststream_sys::ffmpeg as av;
use std::collections::{HashMap, VecDeque};

/// What a [`VideoEncoder`] is made of.
#[derive(Clone, Debug)]
pub struct VideoEncode {
    /// Codec, encoder and rate control, with `encoder` decided.
    pub spec: VideoSpec,
    /// The rate that rate control may count on; frames keep their own times whatever it says.
    pub frame_rate: Option<Rational>,
    /// Where key frames are forced. Without it the encoder chooses within `spec.gop`.
    pub grid: Option<KeyGrid>,
    /// Base of the packets' times; default the frames' own.
    pub time_base: Option<TimeBase>,
    /// Frames may come at other rates later: where `time_base` is not given, times are counted finely from the start
    /// ([`fine_base`]).
    pub fine: bool,
    /// Threads; 0 = the encoder's choice. `spec.threads` goes before it.
    pub threads: u32,
    /// Which of two passes.
    pub pass: Option<Pass>,
    /// HDR metadata to write; default that of the first frame, and only if the frames are PQ or HLG.
    pub hdr: HdrMetadata,
}

impl VideoEncode {
    /// `spec` with everything else at its default.
    pub fn new(spec: VideoSpec) -> Self {
        VideoEncode {
            spec,
            frame_rate: None,
            grid: None,
            time_base: None,
            fine: false,
            threads: 0,
            pass: None,
            hdr: HdrMetadata::default(),
        }
    }

    /// The base of the packets' times for frames whose times are in `base`.
    pub(super) fn base_of(&self, base: TimeBase) -> TimeBase {
        self.time_base.unwrap_or_else(|| if self.fine { fine_base(base) } else { base })
    }
}

/// A base for times that are in `base` now and may come at other rates later. What counts a thousand parts of a second or
/// more stays; else each tick is a whole number of new ones, of which a second has 90000 or some more, as most rates divide
/// that.
pub fn fine_base(base: TimeBase) -> TimeBase {
    const COARSE: i64 = 1000;
    const FINE: i32 = 90_000;
    if i64::from(base.num) * COARSE <= i64::from(base.den) || base.num <= 0 || base.den <= 0 {
        return base;
    }
    let parts = (FINE + base.den.min(FINE) - 1) / base.den.min(FINE);
    base.den.checked_mul(parts).map_or(base, |den| TimeBase::new(1, den))
}

/// Frames in, packets out. It opens at its first frame and takes its size, format and colour from it; later frames must
/// be the same, unless a change of the size was announced by [`Control::Size`].
///
/// Frames must be where the encoder takes them: in host memory or, for hardware encoders, on their device
/// ([`super::presets::Input`]); getting them there is a stage of its own ([`crate::filter::Upload`],
/// [`crate::filter::Download`]). Packets come in decode order with a duration each. Headers are always global
/// ([`StreamInfo::extradata`]), whatever the container.
pub struct VideoEncoder {
    name: String,
    table: Table,
    config: VideoEncode,
    open: Option<Open>,
    stream: Option<StreamInfo>,
    /// The cell of the grid that the last frame was in.
    cell: Option<i64>,
    key_wanted: bool,
    reopen: bool,
    /// Frames since it was opened.
    sent: u64,
    /// A frame was not as long as the rate says: the encoder's own key frames would not lie on the grid.
    uneven: bool,
    /// The preset from the next key frame on.
    next_preset: Option<Preset>,
    /// The size that pictures are about to have.
    next_size: Option<(u32, u32)>,
    /// Frames come at another rate.
    rebase: bool,
    /// Parameter sets for key packets, where they are not the announced ones any more.
    sets: Bytes,
    /// How often it was opened again.
    openings: usize,
    last: Option<i64>,
    /// Durations of the frames inside, by time; encoders of older FFmpeg forget them.
    durations: HashMap<i64, i64>,
    /// Times at which a key frame was forced and has not come out yet.
    forced: VecDeque<i64>,
    summary: String,
}

/// Why HDR metadata is refused.
pub(crate) const NOT_HDR: &str =
    "the pictures are neither PQ nor HLG; colour.transfer makes them smpte2084 or arib-std-b67";

struct Open {
    encoder: av::Encoder,
    settings: Settings,
    params: VideoParams,
    host_format: PixelFormat,
    base: TimeBase,
    /// What rate control counts on.
    rate: Rational,
    /// Of x264, which tells quantisers with other pictures than their own.
    quantisers: Option<Quantisers>,
}

impl VideoEncoder {
    /// An encoder that is not open yet.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] or [`ErrorKind::Invalid`] naming the field (`video.crf: …`) that the encoder cannot
    /// honour; [`ErrorKind::Unsupported`] when FFmpeg has no such encoder.
    pub fn new(config: VideoEncode) -> Result<VideoEncoder> {
        let Some(name) = config.spec.encoder.clone() else {
            return Err(Error::new(ErrorKind::Internal, "the encoder was not decided"));
        };
        let info = av::encoder_info(&name)
            .filter(|i| i.kind == av::MediaType::Video)
            .ok_or_else(|| Error::unsupported(format!("video.encoder: this FFmpeg has no {name}")))?;
        if let Some(codec) = &config.spec.codec
            && Codec::from_name(&info.codec) != *codec
        {
            let message = format!("{name} makes {}, not {codec}", info.codec);
            return Err(Error::invalid("video.encoder", message));
        }
        let table = table(&name).unwrap_or_else(unknown);
        let encoder = VideoEncoder {
            summary: name.clone(),
            name,
            table,
            config,
            open: None,
            stream: None,
            cell: None,
            key_wanted: false,
            reopen: false,
            sent: 0,
            uneven: false,
            next_preset: None,
            next_size: None,
            rebase: false,
            sets: Bytes::new(),
            openings: 0,
            last: None,
            durations: HashMap::new(),
            forced: VecDeque::new(),
        };
        // Whatever the frames will be, fields that the encoder cannot honour are refused now.
        settings(&encoder.name, &encoder.config.spec, encoder.config.grid.is_some(), None)?;
        Ok(encoder)
    }

    fn settings(
        &self,
        format: PixelFormat,
        colour: crate::frame::Colour,
        hdr: HdrMetadata,
        interval: Option<u32>,
    ) -> Result<Settings> {
        let spec = &self.config.spec;
        let file = self.config.pass.as_ref().map(|p| p.log().file().display().to_string());
        map(&Request {
            encoder: &self.name,
            spec,
            grid: self.config.grid.is_some(),
            interval,
            depth: depth_of(format),
            colour,
            hdr,
            threads: if spec.threads > 0 { spec.threads } else { self.config.threads },
            pass: self.config.pass.as_ref().zip(file.as_deref()).map(|(p, f)| (p.number(), f)),
        })
    }

    fn open(&self, frame: &Frame) -> Result<Open> {
        let params = frame.video();
        let host_format = match frame.media().hw_frames() {
            Some(pool) => pool.host_format(),
            None => params.format,
        };
        if self.config.spec.hdr.is_some() && !params.colour.is_hdr() {
            return Err(Error::invalid("video.hdr", NOT_HDR));
        }
        let hdr =
            if params.colour.is_hdr() { known_hdr(&self.config, frame) } else { HdrMetadata::default() };
        let rate = rate_of(&self.config, frame);
        let interval = self.interval(rate);
        let mut settings = self.settings(host_format, params.colour, hdr, interval)?;
        let base = self.base(frame, rate);
        let hw_frames = self.pool(frame)?;
        if hw_frames.is_none() {
            let takes = av::supported_formats(&self.name)?;
            if !takes.is_empty() && !takes.contains(&params.format) {
                let message = format!("{} does not take {} pictures", self.name, params.format);
                return Err(Error::unsupported(message));
            }
        }
        if input_range(&self.name) == Some(ColourRange::Full) && params.colour.range != ColourRange::Full {
            // FFmpeg marks such pictures for its own decoder; others show them with too little contrast.
            settings.options.push(("strict".into(), "unofficial".into()));
        }
        let pass = match (&self.config.pass, settings.pass) {
            (Some(Pass::First(_)), Some(_)) => av::Pass::First,
            (Some(Pass::Second(log)), Some(_)) => {
                let stats = log.get(self.openings).ok_or_else(|| {
                    let message =
                        format!("{}: the second pass has other key frames than the first", self.name);
                    Error::new(ErrorKind::Internal, message)
                })?;
                av::Pass::Second(stats)
            }
            _ => av::Pass::Single,
        };
        let interlaced = matches!(self.name.as_str(), "libx264" | "mpeg2video" | "mpeg4" | "prores_ks")
            && frame.media().is_interlaced();
        let options = av::EncoderOptions {
            name: self.name.clone(),
            time_base: (base.num, base.den),
            bit_rate: settings.bit_rate,
            max_rate: settings.max_rate,
            buffer: settings.buffer.map(|b| u32::try_from(b).unwrap_or(u32::MAX)),
            quality: settings.quality,
            threads: settings.threads,
            global_header: true,
            options: std::mem::take(&mut settings.options),
            width: params.width,
            height: params.height,
            pixel_format: params.format,
            frame_rate: Some((rate.num, rate.den)),
            sample_aspect: Some((params.sample_aspect.num, params.sample_aspect.den)),
            colour: params.colour,
            field_order: match (interlaced, frame.media().top_field_first()) {
                (false, _) => av::FieldOrder::Progressive,
                (true, true) => av::FieldOrder::TopFirst,
                (true, false) => av::FieldOrder::BottomFirst,
            },
            hdr,
            gop: settings.gop,
            b_frames: settings.b_frames,
            closed_gop: settings.closed_gop,
            pass,
            hw_frames: hw_frames.as_ref(),
            ..av::EncoderOptions::default()
        };
        let encoder = av::Encoder::open(&options).map_err(|e| open_error(&self.name, e))?;
        if let Some((key, _)) = encoder.unused_options().first() {
            return Err(Error::invalid(
                format!("video.options.{key}"),
                format!("{} does not take it", self.name),
            ));
        }
        let quantisers = self.name.starts_with("libx264").then(Quantisers::default);
        Ok(Open { encoder, settings, params, host_format, base, rate, quantisers })
    }

    /// How many frames lie from one key frame of the grid to the next, as far as frames have come at `rate`.
    fn interval(&self, rate: Rational) -> Option<u32> {
        self.config.grid.as_ref().filter(|_| !self.uneven)?.frames(rate)
    }

    /// Notes a frame that is not as long as the rate says. Times of containers are rounded, to a millisecond at most.
    fn measure(&mut self, frame: &Frame) {
        const ROUNDING: f64 = 0.0015;
        if frame.duration > 0 && !self.uneven && self.config.grid.is_some() {
            let opened = self.open.as_ref().filter(|_| self.config.frame_rate.is_none()).map(|o| o.rate);
            let rate = opened.unwrap_or_else(|| rate_of(&self.config, frame));
            let tick = frame.base.as_f64();
            self.uneven = (frame.duration as f64 * tick - rate.inverse().as_f64()).abs() > ROUNDING.max(tick);
        }
    }

    fn base(&self, frame: &Frame, rate: Rational) -> TimeBase {
        // These write the frame's time into the stream in the base's ticks: 16 bits of them, or the rate itself.
        if counts_by_rate(&self.name) {
            return rate.inverse();
        }
        self.config.base_of(frame.base)
    }

    /// The pool of the frame, for an encoder that takes frames on that device; `None` for host memory.
    fn pool(&self, frame: &Frame) -> Result<Option<av::HwFrames>> {
        let (device, only) = match self.table.input {
            Input::Host => (None, false),
            Input::HostOr(device) => (Some(device), false),
            Input::Only(device) => (Some(device), true),
        };
        let name = &self.name;
        match (frame.media().hw_frames(), device) {
            (Some(pool), Some(device)) if pool.format() == av::HwDevice::format_of(device) => Ok(Some(pool)),
            (Some(pool), _) => {
                let format = pool.format();
                Err(Error::unsupported(format!("{name} does not take {format} frames; download them first")))
            }
            (None, Some(device)) if only => {
                Err(Error::unsupported(format!("{name} takes frames on {device} only; upload them first")))
            }
            (None, _) => Ok(None),
        }
    }

    /// Opens it anew, where wanted with another preset. Pictures are not reordered more than so far: they would have to be
    /// decoded before those that are out.
    fn open_again(&mut self, preset: Option<Preset>, frame: &Frame) -> Result<()> {
        let announced = self.stream.as_ref();
        let reorder = announced.and_then(|s| s.video.as_ref()).map_or(0, |v| v.reorder);
        let before = self.config.spec.clone();
        self.config.spec.preset = preset.or(before.preset);
        // These hand pictures out in their order whatever they refer to. Where the next key frames are their own it is one
        // opening of few; begun anew at each, SVT-AV1 overshoots an average rate by half, but in low delay. Where it refuses
        // to be told that, it is not.
        let in_order = matches!(self.name.as_str(), "libsvtav1" | "libaom-av1");
        let free = in_order && self.interval(rate_of(&self.config, frame)).is_some()
            || self.name == "libsvtav1" && !super::svt::averages_in_low_delay();
        if reorder == 0 && self.table.b_frames.is_some() && !free {
            self.config.spec.b_frames = Some(0);
        }
        let mut open = self.open(frame)?;
        let fits = open.encoder.reorder() as u32 <= reorder;
        if !fits {
            tracing::warn!(encoder = self.name, ?preset, "would reorder more pictures; the preset stays");
            self.config.spec = before;
            open = self.open(frame)?;
        }
        self.summary = format!("{}, {}", self.name, open.settings.summary);
        if let Some(preset) = preset.filter(|_| fits) {
            self.summary += &format!(", preset {preset:?} since a key frame");
        }
        let sets = open.encoder.parameters()?.values().extradata.clone();
        let announced = self.stream.as_ref();
        let in_band = announced
            .is_some_and(|s| matches!(s.codec, Codec::H264 | Codec::Hevc | Codec::Mpeg4 | Codec::Mpeg2));
        self.sets =
            if in_band && announced.is_some_and(|s| s.extradata != sets) { sets } else { Bytes::new() };
        self.open = Some(open);
        Ok(())
    }

    /// Whether `frame` can go to the encoder that is open: not, where it has the size that was announced.
    fn fits(&mut self, frame: &Frame) -> Result<bool> {
        let Some(open) = &self.open else { return Ok(true) };
        let (now, params) = (frame.video(), &open.params);
        if (now.width, now.height, now.format) == (params.width, params.height, params.format) {
            return Ok(true);
        }
        let size = (now.width, now.height);
        if self.next_size.take_if(|next| *next == size).is_some() && now.format == params.format {
            return Ok(false);
        }
        Err(Error::invalid(&self.name, format!("the picture changed to {:?} in mid-stream", frame.video())))
    }

    fn describe(&mut self) -> Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        let parameters = open.encoder.parameters()?;
        let values = parameters.values();
        let codec = Codec::from_name(&values.codec);
        let (profile, level) = stream::profile_level(&codec, &values);
        let mut info = StreamInfo::new(MediaKind::Video, codec, open.base);
        info.profile = profile;
        info.level = level;
        info.extradata = values.extradata.clone();
        info.bit_rate = self.config.spec.bitrate.map(|b| b.0);
        info.video = Some(VideoInfo {
            width: open.params.width,
            height: open.params.height,
            format: Some(open.host_format),
            frame_rate: self.config.frame_rate,
            constant_rate: None,
            sample_aspect: open.params.sample_aspect,
            colour: open.params.colour,
            hdr: parameters.hdr(),
            rotation: 0.0,
            mirrored: false,
            field_order: stream::field_order(values.field_order),
            reorder: open.encoder.reorder() as u32,
        });
        info.native = Some(parameters);
        self.summary = format!("{}, {}", self.name, open.settings.summary);
        self.stream = Some(info);
        Ok(())
    }

    fn receive(&mut self, out: &mut dyn Outlet<Packet>) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        while let Some(packet) = open.encoder.receive()? {
            let mut packet = Packet::from_av(&packet, open.base);
            packet.stream = 0;
            if let Some(quantisers) = &mut open.quantisers {
                let headers = self.stream.as_ref().map(|s| s.extradata.clone()).unwrap_or_default();
                quantisers.sort(&mut packet, &headers);
            }
            if let Some(pts) = packet.pts {
                if let Some(duration) = self.durations.remove(&pts)
                    && packet.duration <= 0
                {
                    packet.duration = duration;
                }
                if let Some(at) = self.forced.iter().position(|t| *t == pts) {
                    self.forced.remove(at);
                    if !packet.key {
                        let time = Timestamp::new(pts, open.base);
                        return Err(Error::unsupported(format!(
                            "{} made no key frame at {time}, where one was forced",
                            self.name
                        )));
                    }
                }
            }
            packet.dts = packet.dts.or(packet.pts);
            if packet.key && !self.sets.is_empty() {
                packet.data = [&self.sets[..], &packet.data[..]].concat().into();
            }
            if self.table.force == Force::Always {
                packet.key = true;
            }
            out.emit(packet)?;
        }
        Ok(())
    }

    fn drain(&mut self, out: &mut dyn Outlet<Packet>) -> Result<()> {
        if let Some(open) = &mut self.open {
            open.encoder.send(None, false)?;
        }
        self.receive(out)
    }

    /// How often it was opened again.
    #[cfg(test)]
    pub(super) fn openings(&self) -> usize {
        self.openings
    }

    fn keep_statistics(&self) {
        if let (Some(Pass::First(log)), Some(open)) = (&self.config.pass, &self.open) {
            log.put(open.encoder.stats());
        }
    }

    /// Refuses what would make the second pass another one than the first.
    fn one_pass(&self, control: &Control) -> Result<()> {
        match self.config.pass {
            Some(_) => Err(Error::unsupported(format!("{} cannot {control} between two passes", self.name))),
            None => Ok(()),
        }
    }

    /// The base of the times after a reopening at `frame`: that so far, unless another rate has a grid that it does not have.
    fn next_base(&mut self, frame: &Frame, base: TimeBase) -> TimeBase {
        let ratio = frame.base.as_f64() / base.as_f64();
        let exact = ratio.round() >= 1.0 && (ratio - ratio.round()).abs() < 1e-9;
        if std::mem::take(&mut self.rebase) && !exact { frame.base } else { base }
    }

    fn set_preset(&mut self, preset: Preset) -> Result<()> {
        if self.table.presets.is_none() || self.config.pass.is_some() {
            let why = if self.config.pass.is_some() {
                "keeps to its preset over both passes"
            } else {
                "has no presets"
            };
            return Err(Error::unsupported(format!("{} {why}", self.name)));
        }
        // Before the first frame it is simply what it opens with.
        if self.open.is_none() {
            self.config.spec.preset = Some(preset);
        } else if self.config.spec.preset != Some(preset) {
            self.next_preset = Some(preset);
        }
        Ok(())
    }

    fn set_rates(&mut self, target: u64, max: Option<u64>) -> Result<()> {
        let spec = &mut self.config.spec;
        let Some(old) = spec.bitrate else {
            return Err(Error::unsupported(format!(
                "{} runs at a constant quality; its bit rate cannot be changed",
                self.name
            )));
        };
        let scaled = |rate: Bitrate| (rate.0 as u128 * u128::from(target) / u128::from(old.0.max(1))) as u64;
        let max = max.or(spec.max_bitrate.map(scaled));
        if max.is_some_and(|m| m < target) {
            return Err(Error::invalid("max_bitrate", "is below bitrate"));
        }
        let buffer = spec.buffer.map(scaled);
        let mut changed = spec.clone();
        changed.bitrate = Some(Bitrate(target));
        changed.max_bitrate = if spec.cbr { None } else { max.map(Bitrate) };
        changed.buffer = buffer.map(Bitrate);
        let Some(open) = &mut self.open else {
            self.config.spec = changed;
            return Ok(());
        };
        let before = std::mem::replace(&mut self.config.spec, changed);
        let (format, colour) = (open.host_format, open.params.colour);
        let own_keys = open.settings.own_keys;
        let settings = match self.settings(format, colour, self.config.hdr, own_keys) {
            Ok(settings) => settings,
            Err(e) => {
                self.config.spec = before;
                return Err(e);
            }
        };
        let Some(open) = &mut self.open else { return Ok(()) };
        let native = |settings: &Settings| settings.live && !settings.live_by_restart;
        if !native(&open.settings) || !native(&settings) {
            if self.config.pass.is_some() {
                self.config.spec = before;
                let message = format!("{} cannot change its bit rate between two passes", self.name);
                return Err(Error::unsupported(message));
            }
            self.reopen = true;
        } else {
            let buffer = settings.buffer.map(|b| u32::try_from(b).unwrap_or(u32::MAX));
            open.encoder.set_rates(settings.bit_rate, settings.max_rate, buffer);
        }
        open.settings.summary = settings.summary;
        Ok(())
    }
}

impl Stage<Frame, Packet> for VideoEncoder {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Packet>) -> Result<()> {
        self.measure(&frame);
        if self.open.is_none() {
            self.open = Some(self.open(&frame)?);
            self.describe()?;
        }
        let Some(base) = self.open.as_ref().map(|o| o.base) else { return Ok(()) };
        let wanted = frame.force_key || std::mem::take(&mut self.key_wanted);
        let cell = match (&self.config.grid, frame.presentation()) {
            (Some(grid), Some(time)) => Some(grid.cell(time)),
            _ => None,
        };
        let first = self.last.is_none();
        let mut force = wanted || (cell.is_some() && cell != self.cell);
        if cell.is_some() {
            self.cell = cell;
        }
        let fits = self.fits(&frame)?;
        let can_force = self.open.as_ref().is_some_and(|o| o.settings.can_force);
        // Where the rate is even, it is the encoder that makes the grid's key frames.
        let own =
            |open: &Open| open.settings.own_keys.is_some_and(|n| self.sent.is_multiple_of(u64::from(n)));
        let made = can_force || self.open.as_ref().is_some_and(own);
        let preset = self.next_preset.take_if(|_| (force || !fits) && !first);
        let again = (self.reopen || preset.is_some() || (force && !made)) && !first || !fits;
        // Its own base may be finer than that so far.
        let new_base = if again { self.next_base(&frame, base) } else { base };
        let mut frame = frame.rebased(new_base);
        if new_base != base {
            self.last = self.last.map(|last| Timestamp::new(last, base).to(new_base).ticks);
        }
        let pts = rising(&self.name, &mut self.last, &frame)?;
        frame.pts = Some(pts);
        if again {
            self.drain(out)?;
            self.keep_statistics();
            self.open = None;
            self.openings += 1;
            self.sent = 0;
            self.config.time_base = Some(new_base);
            self.open_again(preset, &frame)?;
            self.reopen = false;
            // The first frame of an encoder is a key frame by itself; asking libaom for it makes it two.
            force = true;
        }
        if frame.duration > 0 {
            self.durations.insert(pts, frame.duration);
        }
        let can_force = self.open.as_ref().is_some_and(|o| o.settings.can_force);
        if force && (made || again || first) {
            self.forced.push_back(pts);
        }
        self.sent += 1;
        let media = frame.to_media()?;
        loop {
            let Some(open) = &mut self.open else { return Ok(()) };
            match open.encoder.send(Some(&media), force && can_force) {
                Ok(()) => break,
                Err(e) if e.kind() == av::Kind::Again => self.receive(out)?,
                Err(e) => return Err(e.into()),
            }
        }
        self.receive(out)
    }

    fn finish(&mut self, out: &mut dyn Outlet<Packet>) -> Result<()> {
        self.drain(out)?;
        self.keep_statistics();
        // The statistics file is complete only once the encoder is closed.
        self.open = None;
        Ok(())
    }

    fn control(&mut self, control: &Control) -> Result<()> {
        match control {
            Control::ForceKeyFrame => {
                if self.config.pass.is_some() && self.open.as_ref().is_some_and(|o| !o.settings.can_force) {
                    let message = format!("{} keeps to the first pass's key frames", self.name);
                    return Err(Error::unsupported(message));
                }
                self.key_wanted = true;
                Ok(())
            }
            Control::Bitrate { target, max } => self.set_rates(*target, *max),
            Control::Preset(preset) => self.set_preset(*preset),
            Control::Size { width, height } => {
                self.one_pass(control)?;
                self.next_size = Some((*width, *height));
                Ok(())
            }
            Control::FrameRate(rate) => {
                self.one_pass(control)?;
                // They count pictures, not time.
                if counts_by_rate(&self.name) {
                    return Err(Error::unsupported(format!("{} cannot {control} while it runs", self.name)));
                }
                self.config.frame_rate = Some(*rate);
                self.reopen = self.open.is_some();
                self.rebase = self.reopen;
                Ok(())
            }
            other => Err(Error::unsupported(format!("{} cannot {other} while it runs", self.name))),
        }
    }
}

impl Encoder for VideoEncoder {
    fn stream(&self) -> Option<&StreamInfo> {
        self.stream.as_ref()
    }

    fn description(&self) -> String {
        self.summary.clone()
    }

    fn changes_base(&self) -> bool {
        !counts_by_rate(&self.name) && self.config.pass.is_none()
    }
}

/// The configured HDR metadata; what it lacks is the frame's own, and what the document says goes before both. Dynamic
/// metadata does not survive a new encode.
pub(super) fn known_hdr(config: &VideoEncode, frame: &Frame) -> HdrMetadata {
    let (own, frames) = (config.hdr, frame.media().hdr());
    let known = HdrMetadata {
        mastering: own.mastering.or(frames.mastering),
        content_light: own.content_light.or(frames.content_light),
        ..HdrMetadata::default()
    };
    config.spec.hdr.map_or(known, |said| said.over(known))
}

/// Rate control needs a rate; without one, that of the first frame's length.
pub(super) fn rate_of(config: &VideoEncode, frame: &Frame) -> Rational {
    let of_frame = || {
        let num = i64::from(frame.base.den);
        let den = frame.duration.checked_mul(i64::from(frame.base.num))?;
        let rate = num as f64 / den as f64;
        (den > 0 && (1.0..=240.0).contains(&rate)).then(|| Rational::approximate(rate, 1001)).flatten()
    };
    config.frame_rate.filter(|r| r.is_positive()).or_else(of_frame).unwrap_or(Rational::new(25, 1))
}

/// The frame's time in its base, rising strictly behind `last`.
pub(super) fn rising(encoder: &str, last: &mut Option<i64>, frame: &Frame) -> Result<i64> {
    let expected = last.map(|last| last + frame.duration.max(1));
    let Some(pts) = frame.pts.or(expected).or(Some(0).filter(|_| frame.duration > 0)) else {
        return Err(Error::new(ErrorKind::Format, format!("{encoder}: a frame without a time")));
    };
    // Two frames that round to the same tick of a coarse base must still be two.
    let pts = last.map_or(pts, |last| pts.max(last + 1));
    *last = Some(pts);
    Ok(pts)
}

/// What `encoder` is set to for `spec`, as far as that does not depend on the frames: for the plan. `grid`: key frames
/// come on a grid, of so many frames each where `interval` is known.
///
/// # Errors
/// As [`VideoEncoder::new`].
pub fn settings(encoder: &str, spec: &VideoSpec, grid: bool, interval: Option<u32>) -> Result<Settings> {
    let format = input_format(encoder, spec, None)?;
    let settings = map(&Request {
        encoder,
        spec,
        grid,
        interval,
        depth: depth_of(format),
        colour: crate::frame::Colour::default(),
        hdr: HdrMetadata::default(),
        threads: spec.threads,
        pass: None,
    })?;
    if let Some(codec) = presets::direct(encoder) {
        // Options that it does not take are refused before anything is opened.
        nvenc::Config::new(&codec, &settings, nvenc::surface(format)?)?;
    }
    Ok(settings)
}

/// FFmpeg says little about why an encoder does not open; hardware that is not there is a device's failure.
fn open_error(name: &str, e: av::Error) -> Error {
    let hardware = av::encoder_info(name).is_some_and(|i| i.hardware)
        || ["_nvenc", "_vaapi", "_qsv", "_amf", "_vulkan", "_videotoolbox", "_v4l2m2m"]
            .iter()
            .any(|s| name.ends_with(s));
    let kind = match e.kind() {
        av::Kind::Memory => ErrorKind::Memory,
        _ if hardware => ErrorKind::Device,
        av::Kind::Other => ErrorKind::Unsupported,
        _ => Error::from(e.clone()).kind(),
    };
    Error::with_source(kind, format!("{name} does not open: {e}"), e)
}

/// Whether the encoder writes times into the stream in ticks of the frame rate, which are those of its base.
fn counts_by_rate(encoder: &str) -> bool {
    matches!(encoder, "mpeg4" | "mpeg2video" | "mpeg1video" | "libtheora")
}
