//! The test pattern: a source of frames that needs no file and no decoder, and whose every sample is known.

mod burn_in;
mod picture;

pub use burn_in::{MIN_HEIGHT as BURN_IN_MIN_HEIGHT, MIN_WIDTH as BURN_IN_MIN_WIDTH};

use crate::error::{Error, Result};
use crate::frame::{ChannelLayout, Colour, ColourRange, Frame, PixelFormat, SampleFormat};
use crate::packet::{AudioInfo, Codec, FieldOrder, MediaKind, StreamInfo, VideoInfo};
use crate::spec::{PatternSpec, Seconds};
use crate::stage::Source;
use crate::time::{Rational, Rounding, TimeBase, Timestamp, rescale};
use ghoststream_sys::ffmpeg as av;
use picture::{Picture, PlaneMut};

/// Samples per second of the tone.
pub const TONE_RATE: u32 = 48_000;
/// Samples per frame of the tone.
const BLOCK: i64 = 1024;
/// Samples per period of 1 kHz.
const PERIOD: usize = 48;
/// -20 dBFS, a full-scale sine being 0 dBFS.
const AMPLITUDE: f64 = 0.1;
const TONE_BASE: TimeBase = Rational::new(1, TONE_RATE as i32);

/// Generates yuv420p pictures (BT.709, limited range) and, if asked, a stereo tone (fltp), interleaved by time.
///
/// Video timestamps count frames: the base is one frame, pts is the frame number that `burn_in` shows. Audio
/// timestamps count samples. Sound and picture end together. Lives on one thread.
pub struct Pattern {
    spec: PatternSpec,
    picture: Picture,
    /// The one picture of a pattern that does not move.
    still: Option<av::Frame>,
    base: TimeBase,
    next_frame: i64,
    last_frame: Option<i64>,
    tone: Option<Tone>,
}

struct Tone {
    table: [f32; PERIOD],
    layout: ChannelLayout,
    next: i64,
    end: Option<i64>,
}

impl Pattern {
    /// A pattern from its first frame at or after `start`, for `duration` (or until `spec.frames`, whichever is
    /// earlier; for ever when neither is given). Timestamps count from the pattern's beginning, not from `start`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] naming the field: no picture, or one too small for a burn-in
    /// ([`BURN_IN_MIN_WIDTH`] by [`BURN_IN_MIN_HEIGHT`]).
    pub fn new(spec: &PatternSpec, start: Option<Seconds>, duration: Option<Seconds>) -> Result<Self> {
        if spec.width == 0 || spec.height == 0 {
            return Err(Error::invalid("source.pattern", "width and height must be above 0"));
        }
        if spec.burn_in && (spec.width < BURN_IN_MIN_WIDTH || spec.height < BURN_IN_MIN_HEIGHT) {
            return Err(Error::invalid(
                "source.pattern.burn_in",
                format!(
                    "a picture of {}x{} is too small for the frame number; {BURN_IN_MIN_WIDTH}x{BURN_IN_MIN_HEIGHT} \
                     is needed",
                    spec.width, spec.height
                ),
            ));
        }
        let rate = spec.frame_rate.0;
        if !rate.is_positive() {
            return Err(Error::invalid("source.pattern.frame_rate", "must be above 0"));
        }
        let base = rate.inverse();
        let begin = Timestamp::from_seconds(start.map_or(0.0, |s| s.0));
        let stop = duration.map(|d| Timestamp::from_seconds(start.map_or(0.0, |s| s.0) + d.0));
        let first = begin.to_rounding(base, Rounding::Up).ticks;
        let frames = spec.frames.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        let last_frame = match (frames, stop.map(|t| t.to_rounding(base, Rounding::Up).ticks)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let tone = spec.tone.then(|| Tone {
            table: std::array::from_fn(|i| {
                (AMPLITUDE * (std::f64::consts::TAU * i as f64 / PERIOD as f64).sin()) as f32
            }),
            layout: ChannelLayout::from_channels(2),
            next: begin.to_rounding(TONE_BASE, Rounding::Up).ticks,
            end: {
                let frames = frames.map(|n| rescale(n, base, TONE_BASE, Rounding::Nearest));
                let stop = stop.map(|t| t.to_rounding(TONE_BASE, Rounding::Up).ticks);
                match (frames, stop) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                }
            },
        });
        Ok(Pattern {
            picture: Picture::new(spec.kind, spec.width, spec.height),
            still: None,
            spec: spec.clone(),
            base,
            next_frame: first,
            last_frame,
            tone,
        })
    }

    /// What the pattern delivers: one raw video stream and, with a tone, one raw audio stream.
    pub fn streams(&self) -> Vec<StreamInfo> {
        let mut video = StreamInfo::new(MediaKind::Video, Codec::RawVideo, self.base);
        video.start = Some(Timestamp::new(0, self.base));
        video.frames = self.spec.frames;
        video.duration = self.last_frame.map(|n| Timestamp::new(n, self.base));
        video.video = Some(VideoInfo {
            width: self.spec.width,
            height: self.spec.height,
            format: Some(PixelFormat::yuv420p()),
            frame_rate: Some(self.spec.frame_rate.0),
            constant_rate: Some(true),
            sample_aspect: Rational::new(1, 1),
            colour: Colour::BT709,
            hdr: Default::default(),
            rotation: 0.0,
            mirrored: false,
            field_order: FieldOrder::Progressive,
            reorder: 0,
        });
        video.disposition.default = true;
        let Some(tone) = &self.tone else { return vec![video] };
        let mut audio = StreamInfo::new(MediaKind::Audio, Codec::Other("pcm_f32le".into()), TONE_BASE);
        audio.index = 1;
        audio.start = Some(Timestamp::new(0, TONE_BASE));
        audio.duration = tone.end.map(|n| Timestamp::new(n, TONE_BASE));
        audio.audio = Some(AudioInfo {
            sample_rate: TONE_RATE,
            layout: tone.layout.clone(),
            format: Some(SampleFormat::F32P),
            frame_size: BLOCK as u32,
            initial_padding: 0,
        });
        audio.disposition.default = true;
        vec![video, audio]
    }

    /// The number of the next picture.
    pub(crate) fn position(&self) -> u64 {
        self.next_frame.max(0) as u64
    }

    /// Goes to frame `n` (and the first sample at or after its time); the next picture is that one.
    pub fn seek(&mut self, n: u64) {
        self.next_frame = i64::try_from(n).unwrap_or(i64::MAX);
        if let Some(tone) = &mut self.tone {
            tone.next = rescale(self.next_frame, self.base, TONE_BASE, Rounding::Up);
        }
    }

    fn draw(&self, n: i64) -> Result<av::Frame> {
        let (width, height) = (self.spec.width, self.spec.height);
        let mut frame = av::Frame::alloc_video(PixelFormat::yuv420p(), width, height, 0)?;
        for i in 0..3 {
            let stride = frame.stride(i);
            let Some(data) = frame.plane_mut(i) else {
                return Err(Error::new(crate::ErrorKind::Internal, "a new picture cannot be written"));
            };
            let mut plane = PlaneMut { data, stride };
            self.picture.draw(n as u64, i, &mut plane);
            if self.spec.burn_in {
                burn_in::draw(n as u32, width, height, i, &mut plane);
            }
        }
        frame.set_colour(Colour::BT709);
        frame.set_sample_aspect((1, 1));
        Ok(frame)
    }

    fn picture(&mut self) -> Result<Frame> {
        let n = self.next_frame;
        let mut media = match &self.still {
            Some(still) => still.try_clone()?,
            None => self.draw(n)?,
        };
        if self.still.is_none() && self.picture.is_still() && !self.spec.burn_in {
            self.still = Some(media.try_clone()?);
        }
        media.set_pts(Some(n));
        media.set_duration(1);
        media.set_time_base((self.base.num, self.base.den));
        self.next_frame += 1;
        Ok(Frame::new(media, self.base))
    }

    fn has_picture(&self) -> bool {
        self.last_frame.is_none_or(|last| self.next_frame < last)
    }
}

impl Tone {
    fn block(&mut self) -> Result<Frame> {
        let count = self.end.map_or(BLOCK, |end| (end - self.next).min(BLOCK));
        let mut media = av::Frame::alloc_audio(SampleFormat::F32P, TONE_RATE, &self.layout, count as usize)?;
        for channel in 0..2 {
            let Some(data) = media.plane_mut(channel) else {
                return Err(Error::new(crate::ErrorKind::Internal, "a new audio block cannot be written"));
            };
            let mut at = (self.next % PERIOD as i64) as usize;
            for sample in data.chunks_exact_mut(4) {
                sample.copy_from_slice(&self.table[at].to_ne_bytes());
                at = (at + 1) % PERIOD;
            }
        }
        media.set_pts(Some(self.next));
        media.set_duration(count);
        media.set_time_base((TONE_BASE.num, TONE_BASE.den));
        self.next += count;
        Ok(Frame::new(media, TONE_BASE))
    }

    fn has_more(&self) -> bool {
        self.end.is_none_or(|end| self.next < end)
    }
}

impl Source<Frame> for Pattern {
    fn next(&mut self) -> Result<Option<Frame>> {
        let due = Timestamp::new(self.next_frame, self.base);
        let pictures = self.has_picture();
        match &mut self.tone {
            Some(tone) if tone.has_more() && (!pictures || Timestamp::new(tone.next, TONE_BASE) < due) => {
                tone.block().map(Some)
            }
            _ if pictures => self.picture().map(Some),
            _ => Ok(None),
        }
    }
}

/// Reads the frame number that a pattern's `burn_in` put into a picture, also after coding and scaling. `None` when
/// there is none, the picture is below half the burn-in's minimum size, or its format is not 8- to 16-bit integer
/// YUV, grey or RGB in host memory.
pub fn read_burn_in(frame: &Frame) -> Option<u32> {
    let media = frame.media();
    let format = media.format();
    let d = format.descriptor()?;
    if d.is_hardware || d.is_float || d.has_palette || d.depth < 8 || d.big_endian && d.depth > 8 {
        return None;
    }
    let bytes = if d.depth > 8 { 2 } else { 1 };
    // Distance between the first components of neighbours, and where the first one lies.
    let (step, offset) = match (format.name(), d.planes) {
        ("uyvy422", _) => (2, 1),
        ("yuyv422" | "yvyu422", _) => (2, 0),
        ("argb" | "abgr" | "0rgb" | "0bgr", _) => (4, 1),
        (_, 1) if d.components > 1 => ((d.bits_per_pixel as usize).div_ceil(8 * bytes) * bytes, 0),
        (_, 1) | (_, 2..) => (bytes, 0),
        _ => return None,
    };
    let data = media.plane(0);
    let stride = media.stride(0);
    // p010 and its kin keep their bits at the top.
    let depth = if format.name().starts_with("p0")
        || format.name().starts_with("p2")
        || format.name().starts_with("p4")
    {
        16
    } else {
        d.depth
    };
    let peak = ((1u32 << depth) - 1) as f32;
    let full = d.is_rgb || media.colour().range == ColourRange::Full || format.name().starts_with("yuvj");
    burn_in::read(media.width(), media.height(), |x, y| {
        let at = y as usize * stride + x as usize * step + offset;
        let value = match (bytes, data.get(at..at + bytes)) {
            (1, Some([v])) => f32::from(*v),
            (_, Some([a, b])) => f32::from(u16::from_le_bytes([*a, *b])),
            _ => 0.0,
        } / peak;
        if full { value } else { (value * 255.0 - 16.0) / 219.0 }
    })
}
