//! Encoding: `AVCodecContext` of an encoder.

use super::buffer::BufferRef;
use super::decoder::ThreadType;
use super::dict::{Dict, Pairs};
use super::error::{AGAIN, EOF, Error, Result, as_ptr, c_option, c_string, check, text};
use super::log::Scoped;
use super::parameters::FieldOrder;
use super::{
    ChannelLayout, CodecParameters, Colour, Frame, HdrMetadata, HwDevice, HwFrames, Packet, PixelFormat,
    SampleFormat,
};
use super::{hdr, raw, svt};
use bytes::Bytes;

/// How to encode. `EncoderOptions { name, time_base, …, ..Default::default() }`; video and audio read their own fields.
#[derive(Clone, Debug)]
pub struct EncoderOptions<'a> {
    /// The encoder's name (`libx264`, `aac`, `h264_nvenc`).
    pub name: String,
    /// Base of the frames' times.
    pub time_base: (i32, i32),
    /// Bits per second; `None`: the encoder's default.
    pub bit_rate: Option<u64>,
    /// Peak bits per second (VBV), `None` = no limit.
    pub max_rate: Option<u64>,
    /// VBV buffer in bits.
    pub buffer: Option<u32>,
    /// Fixed quality in the encoder's lambda units (`global_quality`); most encoders take `crf`/`cq` in `options` instead.
    pub quality: Option<i32>,
    /// Threads; 0 = the encoder's choice.
    pub threads: u32,
    /// How threads share the work.
    pub thread_type: ThreadType,
    /// Put codec set-up data into [`Encoder::extradata`] rather than into the stream.
    pub global_header: bool,
    /// Options of the encoder (`preset`, `crf`, `x264-params` …).
    pub options: Pairs,

    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Pixel format of the frames.
    pub pixel_format: PixelFormat,
    /// Frames per second, `None` when variable.
    pub frame_rate: Option<(i32, i32)>,
    /// Sample (pixel) aspect ratio, `None` when unknown.
    pub sample_aspect: Option<(i32, i32)>,
    /// Colour description, written into the stream.
    pub colour: Colour,
    /// Interlacing; anything but progressive switches interlaced coding on where the encoder has it.
    pub field_order: FieldOrder,
    /// HDR metadata, written into the stream where the encoder can and given to the container.
    pub hdr: HdrMetadata,
    /// Frames between key frames, `None`: the encoder's default.
    pub gop: Option<u32>,
    /// Most B-frames in a row.
    pub b_frames: Option<u32>,
    /// GOPs refer to nothing outside themselves.
    pub closed_gop: bool,
    /// No look-ahead, no reordering, where the encoder knows the flag.
    pub low_delay: bool,
    /// `AV_PROFILE_*`; names go through `options`.
    pub profile: Option<i32>,
    /// Level in the codec's notation.
    pub level: Option<i32>,
    /// Two-pass encoding.
    pub pass: Pass,
    /// Encode frames of this pool.
    pub hw_frames: Option<&'a HwFrames>,
    /// Encode on this device.
    pub hw_device: Option<&'a HwDevice>,

    /// Samples per second.
    pub sample_rate: u32,
    /// Channels.
    pub layout: Option<ChannelLayout>,
    /// Sample format of the frames.
    pub sample_format: SampleFormat,
}

/// Two-pass encoding.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Pass {
    /// One pass.
    #[default]
    Single,
    /// The first of two: see [`Encoder::stats`].
    First,
    /// The second, with the statistics of the first.
    Second(String),
}

impl Default for EncoderOptions<'_> {
    fn default() -> Self {
        EncoderOptions {
            name: String::new(),
            time_base: (0, 1),
            bit_rate: None,
            max_rate: None,
            buffer: None,
            quality: None,
            threads: 0,
            thread_type: ThreadType::Auto,
            global_header: false,
            options: Vec::new(),
            width: 0,
            height: 0,
            pixel_format: PixelFormat::NONE,
            frame_rate: None,
            sample_aspect: None,
            colour: Colour::default(),
            field_order: FieldOrder::Unknown,
            hdr: HdrMetadata::default(),
            gop: None,
            b_frames: None,
            closed_gop: false,
            low_delay: false,
            profile: None,
            level: None,
            pass: Pass::Single,
            hw_frames: None,
            hw_device: None,
            sample_rate: 0,
            layout: None,
            sample_format: SampleFormat::NONE,
        }
    }
}

/// An encoder of sound or pictures. One thread at a time; it may use threads of its own.
pub struct Encoder {
    raw: *mut raw::AVCodecContext,
    scratch: Frame,
    name: String,
    unused: Pairs,
    stats: String,
    hdr: HdrMetadata,
    rates: (i64, i64, i32),
    /// Of SVT-AV1, whose encoders know of each other.
    svt: Option<svt::Workers>,
    _scope: Scoped,
}

// SAFETY: owned alone; codec contexts are not tied to a thread.
unsafe impl Send for Encoder {}

impl Encoder {
    /// Opens an encoder.
    ///
    /// # Errors
    /// `Unsupported` when there is no such encoder; `Invalid` for settings that it refuses; what hardware says. Options
    /// that it did not know are no error: see [`Encoder::unused_options`].
    pub fn open(options: &EncoderOptions<'_>) -> Result<Encoder> {
        let name = c_string(&options.name, "an encoder name")?;
        let layout = c_option(options.layout.as_ref().map(|l| l.name.as_str()), "a channel layout")?;
        let (pass, stats_in) = match &options.pass {
            Pass::Single => (0, None),
            Pass::First => (1, None),
            Pass::Second(stats) => (2, Some(stats.as_str())),
        };
        let stats_in = c_option(stats_in, "first-pass statistics")?;
        let int = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        let long = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let rate = options.frame_rate.unwrap_or((0, 1));
        let aspect = options.sample_aspect.unwrap_or((0, 1));
        let raw_hdr = hdr::to_raw(&options.hdr);
        let interlaced = matches!(options.field_order, FieldOrder::TopFirst | FieldOrder::BottomFirst);
        let audio = options.layout.is_some();
        let cfg = raw::EncoderConfig {
            name: name.as_ptr(),
            layout: as_ptr(&layout),
            stats_in: as_ptr(&stats_in),
            hw_device: options.hw_device.map_or(std::ptr::null_mut(), HwDevice::as_ptr),
            hw_frames: options.hw_frames.map_or(std::ptr::null_mut(), HwFrames::as_ptr),
            hdr: &raw_hdr,
            bit_rate: options.bit_rate.map_or(-1, long),
            max_rate: options.max_rate.map_or(0, long),
            buffer: options.buffer.map_or(0, int),
            quality: options.quality.unwrap_or(-1),
            gop: options.gop.map_or(-1, int),
            b_frames: options.b_frames.map_or(-1, int),
            profile: options.profile.unwrap_or(-99),
            level: options.level.unwrap_or(-99),
            threads: int(options.threads),
            thread_type: options.thread_type.to_raw(),
            global_header: options.global_header.into(),
            pass,
            closed_gop: options.closed_gop.into(),
            low_delay: options.low_delay.into(),
            interlaced: interlaced.into(),
            width: int(options.width),
            height: int(options.height),
            format: if audio { options.sample_format.0 } else { options.pixel_format.0 },
            tb_num: options.time_base.0,
            tb_den: options.time_base.1,
            fr_num: rate.0,
            fr_den: rate.1,
            sar_num: aspect.0,
            sar_den: aspect.1,
            primaries: options.colour.primaries.into(),
            transfer: options.colour.transfer.into(),
            matrix: options.colour.matrix.into(),
            range: hdr::range(options.colour.range),
            chroma: hdr::chroma(options.colour.chroma),
            field_order: options.field_order.to_raw(),
            sample_rate: int(options.sample_rate),
            channels: options.layout.as_ref().map_or(0, |l| int(l.channels)),
        };
        let mut pairs = options.options.clone();
        add_codec_hdr(&options.name, &options.hdr, &mut pairs);
        let mut dict = Dict::from_pairs(&pairs)?;
        let mut encoder = Encoder {
            raw: std::ptr::null_mut(),
            scratch: Frame::empty()?,
            name: options.name.clone(),
            unused: Vec::new(),
            stats: String::new(),
            hdr: options.hdr,
            rates: (cfg.bit_rate.max(0), cfg.max_rate, cfg.buffer),
            svt: None,
            _scope: Scoped::default(),
        };
        // SAFETY: the config's pointers live through the call.
        let code = unsafe { raw::gsav_encoder_alloc(&mut encoder.raw, &cfg) };
        check(code, format!("encoder {}", options.name))?;
        encoder._scope = Scoped::new(encoder.raw.cast());
        let raw = encoder.raw;
        // SAFETY: a context of ours, not opened yet.
        let mut open = || unsafe { raw::gsav_codec_open(raw, dict.as_mut()) };
        let code = if options.name == "libsvtav1" {
            let (code, workers) = svt::open(open);
            encoder.svt = Some(workers);
            code
        } else {
            open()
        };
        check(code, format!("open encoder {}", options.name))?;
        encoder.unused = dict.pairs();
        Ok(encoder)
    }

    /// The encoder's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Options that the encoder did not know.
    pub fn unused_options(&self) -> &[(String, String)] {
        &self.unused
    }

    /// Feeds a frame, or with `None` ends the stream. `force_key` asks for a key frame here; H.264 and H.265 encoders
    /// make it an IDR only with their option `forced-idr=1`. The frame's own picture type does not count.
    ///
    /// # Errors
    /// `Again` when packets must be received first; `Eof` after the end; `Invalid` for a frame that does not fit.
    pub fn send(&mut self, frame: Option<&Frame>, force_key: bool) -> Result<()> {
        let frame = frame.map_or(std::ptr::null_mut(), Frame::as_ptr);
        let _busy = self.svt.as_ref().map(|_| svt::busy());
        // SAFETY: an opened context; a blank scratch frame; NULL or a live frame.
        let code =
            unsafe { raw::gsav_encoder_send(self.raw, self.scratch.as_ptr(), frame, force_key.into()) };
        check(code, format!("encode with {}", self.name)).map(drop)
    }

    /// The next packet; `None` when it needs more input, or after the end. Its times count in
    /// [`Encoder::time_base`].
    ///
    /// # Errors
    /// What the encoder or its hardware says.
    pub fn receive(&mut self) -> Result<Option<Packet>> {
        let packet = Packet::new()?;
        let busy = self.svt.as_ref().map(|_| svt::busy());
        // SAFETY: an opened context and a blank packet.
        let code = unsafe { raw::avcodec_receive_packet(self.raw, packet.as_ptr()) };
        drop(busy);
        match code {
            AGAIN | EOF => {
                self.collect_stats();
                Ok(None)
            }
            code if code < 0 => Err(Error::new(code, format!("encode with {}", self.name))),
            _ => {
                self.collect_stats();
                Ok(Some(packet))
            }
        }
    }

    fn collect_stats(&mut self) {
        // SAFETY: an opened context; NULL or a terminated string.
        let stats = unsafe { raw::gsav_encoder_stats(self.raw) };
        if !stats.is_null() {
            // SAFETY: as above.
            let stats = unsafe { text(stats) };
            // libx264 gives all at the end, others a line per packet; the same line twice is one.
            if !stats.is_empty() && !self.stats.ends_with(&stats) {
                self.stats.push_str(&stats);
            }
        }
    }

    /// First-pass statistics collected so far, complete after the end. Encoders with a statistics file of their own
    /// (`libx264` with `stats`, `libx265`) leave it empty.
    pub fn stats(&self) -> &str {
        &self.stats
    }

    /// Base of the packets' times.
    pub fn time_base(&self) -> (i32, i32) {
        let mut base = (0, 1);
        // SAFETY: an opened context.
        unsafe { raw::gsav_context_time_base(self.raw, &mut base.0, &mut base.1) };
        base
    }

    /// The stream that it makes, for a muxer, with HDR metadata.
    ///
    /// # Errors
    /// `Memory`.
    pub fn parameters(&self) -> Result<CodecParameters> {
        // SAFETY: an opened context.
        let mut params = unsafe { CodecParameters::of_context(self.raw) }?;
        if self.hdr != HdrMetadata::default() {
            params.set_hdr(&self.hdr);
        }
        Ok(params)
    }

    /// Codec set-up data; empty without `global_header`.
    ///
    /// # Errors
    /// `Memory`.
    pub fn extradata(&self) -> Result<Bytes> {
        self.parameters().map(|p| p.extradata())
    }

    fn int(&self, which: i32) -> i32 {
        // SAFETY: an opened context.
        unsafe { raw::gsav_encoder_int(self.raw, which) }
    }

    /// Samples that every audio frame but the last must have; 0 = any.
    pub fn frame_size(&self) -> usize {
        self.int(0).max(0) as usize
    }

    /// Frames (video) or samples (audio) between input and output.
    pub fn delay(&self) -> usize {
        self.int(1).max(0) as usize
    }

    /// Frames of reordering.
    pub fn reorder(&self) -> usize {
        self.int(4).max(0) as usize
    }

    /// Samples of priming at the start.
    pub fn initial_padding(&self) -> usize {
        self.int(5).max(0) as usize
    }

    /// Whether the last audio frame may be shorter, or any size is taken.
    pub fn takes_short_last_frame(&self) -> bool {
        const SMALL_LAST_FRAME: i32 = 1 << 6;
        const VARIABLE_FRAME_SIZE: i32 = 1 << 16;
        self.int(3) & (SMALL_LAST_FRAME | VARIABLE_FRAME_SIZE) != 0
    }

    /// Whether it holds frames back and must be drained with `send(None)`.
    pub fn has_delay(&self) -> bool {
        self.int(3) & (1 << 5) != 0
    }

    /// Changes the bit rate while encoding; `None` leaves a value. `libx264` and the NVENC encoders follow from the next
    /// frame on, others ignore it: [`supports_live_rate`] tells.
    pub fn set_rates(&mut self, bit_rate: Option<u64>, max_rate: Option<u64>, buffer: Option<u32>) {
        let long = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let (rate, max, size) = &mut self.rates;
        *rate = bit_rate.map_or(*rate, long);
        *max = max_rate.map_or(*max, long);
        *size = buffer.map_or(*size, |b| i32::try_from(b).unwrap_or(i32::MAX));
        // SAFETY: an opened context held exclusively.
        unsafe { raw::gsav_encoder_rates(self.raw, *rate, *max, *size) }
    }

    /// Sets an option of the encoder while it runs (`crf` of `libx264`).
    ///
    /// # Errors
    /// `Invalid` for an unknown option or value. Whether the encoder looks at it again is its own matter.
    pub fn set_option(&mut self, key: &str, value: &str) -> Result<()> {
        let (k, v) = (c_string(key, "an option's name")?, c_string(value, "an option's value")?);
        // SAFETY: an opened context held exclusively; terminated strings.
        check(unsafe { raw::gsav_encoder_option(self.raw, k.as_ptr(), v.as_ptr()) }, format!("option {key}"))
            .map(drop)
    }

    /// The pool that it encodes from.
    pub fn hw_frames(&self) -> Option<HwFrames> {
        // SAFETY: an opened context; NULL or a new reference that is ours.
        unsafe { BufferRef::from_raw(raw::gsav_context_hw_frames(self.raw)) }.map(HwFrames::from_buffer)
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: NULL or ours; freed once.
        unsafe { raw::gsav_encoder_free(&mut self.raw) }
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Encoder").field(&self.name).finish()
    }
}

/// Whether [`Encoder::set_rates`] takes effect on a running encoder of this name.
pub fn supports_live_rate(name: &str) -> bool {
    matches!(name, "libx264" | "libx264rgb" | "h264_nvenc" | "hevc_nvenc" | "av1_nvenc")
}

/// FFmpeg before 7.1 hands no HDR metadata to encoders; the two that have a textual option for it get it that way.
fn add_codec_hdr(name: &str, metadata: &HdrMetadata, pairs: &mut Pairs) {
    // SAFETY: no arguments.
    if unsafe { raw::gsav_encoder_takes_hdr() } != 0 {
        return;
    }
    let (key, entries) = match name {
        "libx265" => {
            let mut e = Vec::new();
            if let Some(m) = metadata.mastering {
                let p = |v: f64| (v * 50_000.0).round() as i64;
                let l = |v: f64| (v * 10_000.0).round() as i64;
                let [r, g, b] = m.primaries.map(|[x, y]| format!("({},{})", p(x), p(y)));
                e.push(format!(
                    "master-display=G{g}B{b}R{r}WP({},{})L({},{})",
                    p(m.white[0]),
                    p(m.white[1]),
                    l(m.max_luminance),
                    l(m.min_luminance)
                ));
            }
            if let Some(l) = metadata.content_light {
                e.push(format!("max-cll={},{}", l.max_content, l.max_average));
            }
            if !e.is_empty() {
                e.push("hdr10=1".into());
            }
            ("x265-params", e)
        }
        "libsvtav1" => {
            let mut e = Vec::new();
            if let Some(m) = metadata.mastering {
                let [r, g, b] = m.primaries.map(|[x, y]| format!("({x:.5},{y:.5})"));
                e.push(format!(
                    "mastering-display=G{g}B{b}R{r}WP({:.5},{:.5})L({:.4},{:.4})",
                    m.white[0], m.white[1], m.max_luminance, m.min_luminance
                ));
            }
            if let Some(l) = metadata.content_light {
                e.push(format!("content-light={},{}", l.max_content, l.max_average));
            }
            ("svtav1-params", e)
        }
        _ => return,
    };
    if entries.is_empty() {
        return;
    }
    let text = entries.join(":");
    match pairs.iter_mut().find(|(k, _)| k == key) {
        // What the caller wrote comes last and wins.
        Some((_, value)) => *value = format!("{text}:{value}"),
        None => pairs.push((key.into(), text)),
    }
}
