//! Decoding by hand: [`Reader`] gives frames when it is asked, in the caller's thread, and seeks exactly.

mod convert;
mod media;
mod track;

use crate::error::{Error, ErrorKind, Result};
use crate::filter::slice;
use crate::frame::Frame;
use crate::probe::{self, Probe};
use crate::source::pattern::Pattern;
use crate::source::screen::Screen;
use crate::source::{Content, Interrupt};
use crate::spec::{BytesSpec, Seconds, SourceSpec};
use crate::stage::Source;
use crate::time::SystemClock;
use convert::Converter;
use media::Media;
use std::sync::Arc;

/// What to read and how to hand it out.
#[derive(Clone, Debug)]
pub struct ReaderOptions {
    /// Pictures.
    pub video: bool,
    /// Sound, as decoded.
    pub audio: bool,
    /// Which stream of pictures; `None` = the default one.
    pub video_stream: Option<usize>,
    /// Which stream of sound; `None` = the default one.
    pub audio_stream: Option<usize>,
    /// Convert pictures to this pixel format (FFmpeg's name: `rgb24`, `gray`, `yuv420p` …); `None` = as decoded.
    ///
    /// Matrix and range follow the source's tags (untagged: BT.709 from 720 lines up, BT.601 below, limited range).
    /// Transfer and primaries stay: HDR comes out as HDR.
    pub pixel_format: Option<String>,
    /// Scale pictures to this width; with one side given the other follows the display aspect ratio.
    pub width: Option<u32>,
    /// Scale pictures to this height.
    pub height: Option<u32>,
    /// Threads of the decoder, and of the conversion; 0 = as many as cores.
    pub threads: u32,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        ReaderOptions {
            video: true,
            audio: true,
            video_stream: None,
            audio_stream: None,
            pixel_format: None,
            width: None,
            height: None,
            threads: 0,
        }
    }
}

/// An opened file, URL, pattern, screen or camera that is taken frame by frame.
///
/// Pictures and sound come interleaved by time. Times are the source's own: the first frame is not always at zero
/// ([`Probe::start`] says where it is), and [`Reader::seek`] takes what frames say. When a format or size was asked
/// for, all pictures have the size of the first, also when the source changes midway.
///
/// `Send`, one thread at a time; [`Reader::interrupt`] ends its blocking calls from any other thread.
pub struct Reader {
    info: Probe,
    interrupt: Interrupt,
    inner: Inner,
    converter: Converter,
    /// Where `source.start` begins and `source.duration` ends, in seconds of the source's own clock.
    start: Option<f64>,
    stop: Option<f64>,
    /// Sound before this is left out: the start, unless a place before it was sought.
    heard: Option<f64>,
}

/// Times that differ by less are the same (seconds): ticks are seldom whole microseconds.
const ROUNDING: f64 = 1e-6;

/// Earlier than any clock begins (seconds): what is before it fits no time base.
const EARLIEST: f64 = -1e9;

enum Inner {
    Media(Box<Media>),
    Pattern { pattern: Box<Pattern>, video: bool, audio: bool, first: u64, frames: Option<u64>, rate: f64 },
    Screen(Box<Screen>),
}

/// `spec` for bytes that the application has, which names nothing else.
pub(crate) fn of_content(spec: &SourceSpec) -> Result<SourceSpec> {
    let named = [
        ("url", spec.url.is_some()),
        ("screen", spec.screen.is_some()),
        ("sound", !spec.sound.is_empty()),
        ("pattern", spec.pattern.is_some()),
        ("bytes", spec.bytes.is_some()),
        ("packets", spec.packets.is_some()),
        ("frames", spec.frames.is_some()),
    ];
    if let Some((name, _)) = named.iter().find(|(_, named)| *named) {
        return Err(Error::invalid(
            format!("source.{name}"),
            "the bytes are given; there is no other source",
        ));
    }
    let spec = SourceSpec { bytes: Some(BytesSpec::default()), ..spec.clone() };
    spec.check()?;
    Ok(spec)
}

/// What a screen cannot do.
fn is_live() -> Error {
    Error::unsupported("what happens now can be neither sought nor counted")
}

impl Reader {
    /// Opens `spec` for reading. `source.start` is where it begins (the picture shown then, and to the sample) and
    /// `source.duration` where `next` ends. The pictures of that part are what is counted; seeking by time may go before it.
    ///
    /// # Errors
    /// Those of opening (`NotFound`, `Format`, `Denied`, `Io`) naming the source; [`ErrorKind::NotFound`] when it has no
    /// stream of the kind asked for; [`ErrorKind::Unsupported`] without a decoder; [`ErrorKind::Invalid`] naming the
    /// field for what a reader cannot do: sources fed by the application, captured sound, `loop`, `realtime`, an unknown
    /// pixel format.
    pub fn open(spec: &SourceSpec, options: ReaderOptions) -> Result<Self> {
        Self::open_with(spec, options, Interrupt::new())
    }

    /// As [`Reader::open`], which `interrupt` can end while it blocks.
    ///
    /// # Errors
    /// As [`Reader::open`]; [`ErrorKind::Cancelled`].
    pub fn open_with(spec: &SourceSpec, options: ReaderOptions, interrupt: Interrupt) -> Result<Self> {
        if spec.url.is_none() && spec.pattern.is_none() && spec.screen.is_none() {
            let message = "a reader opens files, URLs, patterns, screens and cameras";
            return Err(Error::invalid("source", message));
        }
        Self::open_any(spec, None, options, interrupt)
    }

    /// Opens bytes that the application has: a whole file in memory, or behind an object that seeks. `spec` names no source;
    /// it has `start`, `duration`, `format`, `options` and `decode` as those of a file, and everything that
    /// [`Reader::open`] says of files holds.
    ///
    /// # Errors
    /// As [`Reader::open`]; [`ErrorKind::Io`] with the text of the object's own failure, here and from whatever reads.
    pub fn open_content(
        content: Content,
        spec: &SourceSpec,
        options: ReaderOptions,
        interrupt: Interrupt,
    ) -> Result<Self> {
        Self::open_any(&of_content(spec)?, Some(content), options, interrupt)
    }

    fn open_any(
        spec: &SourceSpec,
        content: Option<Content>,
        options: ReaderOptions,
        interrupt: Interrupt,
    ) -> Result<Self> {
        if !spec.sound.is_empty() {
            return Err(Error::invalid(
                "source.sound",
                "a reader takes pictures of a screen; a job hears too",
            ));
        }
        if spec.loops != 0 {
            return Err(Error::invalid("source.loop", "a reader does not repeat; seek back instead"));
        }
        if spec.realtime {
            return Err(Error::invalid("source.realtime", "a reader delivers when it is asked"));
        }
        let format = options.pixel_format.as_deref();
        let converter = Converter::new(format, options.width, options.height, options.threads)?;
        let (info, inner) = match (&spec.pattern, &spec.screen) {
            (_, Some(screen)) => {
                spec.check()?;
                if !options.video {
                    let message = format!("{}: has no such stream", spec.label());
                    return Err(Error::new(ErrorKind::NotFound, message));
                }
                let clock = Arc::new(SystemClock::default());
                let screen = Screen::open(screen, spec.duration, clock, interrupt.clone(), false)?.newest();
                (probe::of_screen(spec, &screen), Inner::Screen(Box::new(screen)))
            }
            (Some(p), None) => {
                let pattern = Pattern::new(p, spec.start, spec.duration)?;
                let info = probe::of_pattern(spec, &pattern);
                let first = pattern.position();
                let end = pattern.streams().first().and_then(|s| s.duration);
                let frames = end.map(|end| (end.ticks.max(0) as u64).saturating_sub(first));
                let (video, audio) = (options.video, options.audio && p.tone);
                if !video && !audio {
                    return Err(Error::new(
                        ErrorKind::NotFound,
                        format!("{}: has no such stream", spec.label()),
                    ));
                }
                (
                    info,
                    Inner::Pattern {
                        pattern: Box::new(pattern),
                        video,
                        audio,
                        first,
                        frames,
                        rate: p.frame_rate.0.as_f64(),
                    },
                )
            }
            (None, None) => {
                let (media, info) = Media::open(spec, content, &options, &interrupt)?;
                (info, Inner::Media(Box::new(media)))
            }
        };
        let mut reader = Reader { info, interrupt, inner, converter, start: None, stop: None, heard: None };
        if let Inner::Media(media) = &mut reader.inner {
            let begin = reader.info.start.unwrap_or(0.0) + spec.start.map_or(0.0, |s| s.0);
            if spec.start.is_some() {
                media.seek(begin)?;
                (reader.start, reader.heard) = (Some(begin), Some(begin));
            }
            reader.stop = spec.duration.map(|d| begin + d.0);
        }
        Ok(reader)
    }

    /// The next frame by time; `None` at the end. After an error the same call may be tried again, or another place
    /// sought.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] (network, time-out), [`ErrorKind::Cancelled`], [`ErrorKind::Format`] when nothing could be
    /// decoded, and what conversion says. Damaged packets in between are skipped.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            let frame = match &mut self.inner {
                Inner::Media(media) => media.next()?,
                Inner::Pattern { pattern, video, audio, .. } => {
                    let Some(frame) = pattern.next()? else { return Ok(None) };
                    if !(if frame.is_video() { *video } else { *audio }) {
                        continue;
                    }
                    Some(frame)
                }
                Inner::Screen(screen) => {
                    let frame = screen.next()?;
                    // There is nobody who takes warnings.
                    screen.notes().iter().for_each(|note| tracing::warn!("{}", note.message));
                    frame
                }
            };
            let Some(frame) = frame else { return Ok(None) };
            let beyond = |stop| frame.presentation().is_some_and(|t| t.seconds() >= stop - ROUNDING);
            if self.stop.is_some_and(beyond) {
                return Ok(None);
            }
            if frame.is_video() {
                return self.converter.convert(frame).map(Some);
            }
            if let Some(part) = self.part_of_sound(frame)? {
                return Ok(Some(part));
            }
        }
    }

    /// What of a frame of sound lies in the part that is read, to the nearest sample.
    fn part_of_sound(&self, frame: Frame) -> Result<Option<Frame>> {
        let Some(time) = frame.presentation().map(|t| t.seconds()) else { return Ok(Some(frame)) };
        let samples = frame.samples() as usize;
        let until = |bound: f64| {
            let count = ((bound - time) * f64::from(frame.media().sample_rate())).round();
            (count.max(0.0) as usize).min(samples)
        };
        let (first, end) = (self.heard.map_or(0, until), self.stop.map_or(samples, until));
        match end.saturating_sub(first) {
            0 => Ok(None),
            count if count == samples => Ok(Some(frame)),
            count => slice(&frame, first, count).map(Some),
        }
    }

    /// Goes to a time: the next picture is the one shown then (the last that begins at or before it, the first for times
    /// before all; none after the end), and the next sound holds that time (begins there, where it is `source.start`).
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub fn seek(&mut self, time: Seconds) -> Result<()> {
        self.heard = self.start.filter(|start| time.0 >= start - ROUNDING);
        match &mut self.inner {
            Inner::Media(media) => media.seek(time.0.max(EARLIEST)),
            Inner::Pattern { pattern, rate, .. } => {
                pattern.seek(((time.0 + 1e-6) * *rate).floor().max(0.0) as u64);
                Ok(())
            }
            Inner::Screen(_) => Err(is_live()),
        }
    }

    /// Goes to frame `index` in presentation order, counted from 0 where reading began (`source.start`). The first call
    /// reads all packets of the source (without decoding) to know where frames are.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] beyond the last frame; [`ErrorKind::Unsupported`] for sources that cannot be sought or have
    /// no pictures, and for a part of one whose pictures have no times; as [`Reader::next`]. What
    /// [`Reader::check_seek`] refuses leaves the position as it was.
    pub fn seek_frame(&mut self, index: u64) -> Result<()> {
        self.check_seek(Some(index))?;
        self.heard = self.start;
        match &mut self.inner {
            Inner::Media(media) => {
                let part = media.part(self.start, self.stop)?;
                media.seek_frame(part.start + usize::try_from(index).unwrap_or(usize::MAX))
            }
            Inner::Pattern { pattern, first, .. } => {
                pattern.seek(first.saturating_add(index));
                Ok(())
            }
            Inner::Screen(_) => Err(is_live()),
        }
    }

    /// Refuses what cannot be sought, without moving: frame `frame` for [`Reader::seek_frame`], whose first call it may do
    /// the reading for, or any time (`None`) for [`Reader::seek`].
    ///
    /// # Errors
    /// As [`Reader::seek_frame`].
    pub fn check_seek(&mut self, frame: Option<u64>) -> Result<()> {
        let len = match (&mut self.inner, frame) {
            (Inner::Screen(_), _) => return Err(is_live()),
            (_, None) => None,
            (Inner::Media(media), _) => Some(media.part(self.start, self.stop)?.len() as u64),
            (Inner::Pattern { frames, .. }, _) => *frames,
        };
        match frame.zip(len).filter(|(frame, len)| frame >= len) {
            Some((frame, len)) => {
                Err(Error::invalid("frame", format!("{frame} is not within the {len} frames of the source")))
            }
            None => Ok(()),
        }
    }

    /// Number of pictures in the source, or in the part of it that is read, exact. The first call reads all packets, as for
    /// [`Reader::seek_frame`].
    ///
    /// # Errors
    /// As [`Reader::seek_frame`]; [`ErrorKind::Unsupported`] for a source without an end.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&mut self) -> Result<u64> {
        match &mut self.inner {
            Inner::Media(media) => Ok(media.part(self.start, self.stop)?.len() as u64),
            Inner::Pattern { frames, .. } => {
                frames.ok_or_else(|| Error::unsupported(format!("{}: has no end", self.info.source)))
            }
            Inner::Screen(_) => Err(is_live()),
        }
    }

    /// Whether its frames come in their own time, so that the newest is wanted rather than all of them.
    pub fn is_live(&self) -> bool {
        matches!(self.inner, Inner::Screen(_))
    }

    /// What the headers of the source say (a [`probe`](crate::probe::probe()) reads on and may know more).
    pub fn info(&self) -> &Probe {
        &self.info
    }

    /// The handle that ends blocking calls of this reader from another thread.
    pub fn interrupt(&self) -> Interrupt {
        self.interrupt.clone()
    }
}
