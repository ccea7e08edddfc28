//! Subtitles drawn into the picture.

use super::geometry::to_planar;
use super::graph::{AvFilter, Params, Recipe};
use super::rate::sum;
use super::scale::Scale;
use super::sprite::{Image, Sprite, draw_all};
use super::watermark::to_image_of;
use crate::charset;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::frame::{Frame, PixelFormat, VideoParams};
use crate::spec::{BurnInSpec, SourceSpec};
use crate::stage::{Outlet, Stage};
use crate::time::{MICROSECONDS, Timestamp};
use ghoststream_sys::ffmpeg as av;
use std::collections::VecDeque;

/// How far before the first frame bitmap subtitles are read, so that one that is already on the screen is there.
const LEAD: i64 = 60_000_000;

/// Draws the subtitles of a file or of a stream of the source.
///
/// Text (SRT, ASS, WebVTT …) is drawn by libass through FFmpeg's `subtitles`, which reads the whole file first; the file
/// must be a local one. Bitmaps (PGS, DVB, DVD) are decoded beside the job by a demuxer of their own and blended here,
/// in the picture's own matrix, range and depth; a canvas of another size is scaled by its width and centred in height.
/// In HDR pictures white is 203 cd/m²: text is drawn on a transparent canvas first, because libass would write white as
/// the brightest code.
///
/// `zero` is the source's time at which the frames' times are 0, so that subtitles stay in step after a trim; a file's own
/// times count from `origin`, the source's beginning. Output
/// base: the input's. Packed pixels leave in planes when bitmaps are drawn, or text into HDR.
pub struct BurnIn(Kind);

enum Kind {
    Text(Box<Text>),
    Bitmaps(Box<Bitmaps>),
}

impl BurnIn {
    /// Subtitles as `spec` says; `source` is the job's, for `spec.stream`. `interrupt` ends its reading.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Format`] for the file; [`ErrorKind::Invalid`] for a stream that is no
    /// subtitle; [`ErrorKind::Unsupported`] for text in a source that is no local file, or without libass.
    pub fn new(
        spec: &BurnInSpec,
        source: Option<&SourceSpec>,
        (origin, zero): (Timestamp, Timestamp),
        interrupt: &av::Interrupt,
    ) -> Result<Self> {
        if let Some(path) = &spec.path {
            let check = || -> Result<()> {
                let mut demuxer = av::Demuxer::open(av::DemuxerOptions {
                    io: Some(av::Input::Seekable(Box::new(std::fs::File::open(path)?))),
                    protocol_whitelist: Some(vec!["data".into()]),
                    ..av::DemuxerOptions::default()
                })?;
                let text = |s: &av::StreamDesc| av::is_text_subtitle(&s.params.codec_name());
                if !demuxer.streams()?.iter().any(text) {
                    return Err(Error::new(ErrorKind::Format, "holds no text subtitles"));
                }
                demuxer.read()?.map(drop).ok_or_else(|| Error::new(ErrorKind::Format, "is empty"))
            };
            check().context(|| format!("burn_in.path: {path}"))?;
            let read = charset::read(path, spec.charset.as_deref()).context(|| "burn_in")?;
            let charset = read.and_then(|(_, name)| name);
            if let Some(name) = charset.filter(|_| spec.charset.is_none()) {
                tracing::warn!("{path}: is not UTF-8, read as {name} (a guess: charset says what it is)");
            }
            // Its times begin with the source's first picture, whatever that is called.
            let shown = Timestamp::new(zero.micros() - origin.micros(), MICROSECONDS);
            return Ok(BurnIn(Kind::Text(Box::new(Text::new(path, None, charset, shown)?))));
        }
        let field = "burn_in.stream";
        let (Some(index), Some(source)) = (spec.stream, source) else {
            return Err(Error::invalid(field, "needs a source that is read from a file or URL"));
        };
        let demuxer = crate::source::open::open(source, interrupt).context(|| field)?;
        let streams = demuxer.streams()?;
        let subtitle = |s: &&av::StreamDesc| s.params.kind() == av::MediaType::Subtitle;
        let Some(stream) = streams.iter().find(|s| s.index == index).filter(subtitle) else {
            return Err(Error::invalid(field, format!("stream {index} of the source is no subtitle")));
        };
        if av::is_text_subtitle(&stream.params.codec_name()) {
            let url = source.url.as_deref().unwrap_or_default();
            let path = url.strip_prefix("file:").map_or(url, |p| p.strip_prefix("//").unwrap_or(p));
            if !std::path::Path::new(path).is_file() {
                return Err(Error::unsupported(format!(
                    "{field}: text subtitles of a source that is no local file"
                )));
            }
            let position = streams.iter().filter(subtitle).position(|s| s.index == index);
            return Ok(BurnIn(Kind::Text(Box::new(Text::new(path, position, None, zero)?))));
        }
        Ok(BurnIn(Kind::Bitmaps(Box::new(Bitmaps::new(demuxer, index, zero)?))))
    }
}

impl Stage<Frame, Frame> for BurnIn {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        match &mut self.0 {
            Kind::Text(text) => text.push(frame, out),
            Kind::Bitmaps(bitmaps) => bitmaps.push(frame, out),
        }
    }

    fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        match &mut self.0 {
            Kind::Text(text) => text.direct.finish(out),
            Kind::Bitmaps(_) => Ok(()),
        }
    }
}

/// Text drawn by libass.
struct Text {
    /// Straight into SDR pictures.
    direct: AvFilter,
    /// Onto a canvas for HDR ones.
    canvas: AvFilter,
    /// The canvas drawn last, and what it means for such pictures.
    drawn: Option<(VideoParams, Vec<u8>, Option<Sprite>)>,
    convert: Option<(VideoParams, Scale)>,
}

impl Text {
    fn new(
        path: &str,
        position: Option<usize>,
        charset: Option<&'static str>,
        zero: Timestamp,
    ) -> Result<Self> {
        if !av::has_filter("subtitles") {
            return Err(Error::unsupported("burn_in: this FFmpeg was built without libass"));
        }
        let stream = position.map_or(String::new(), |p| format!(":si={p}"));
        let charset = charset.map_or(String::new(), |name| format!(":charenc={name}"));
        let draw = format!("subtitles=filename={}{stream}{charset}", escape(path));
        let shift = zero.micros();
        let filter = |draw: String| {
            let plan = move |params: &Params, frame: &Frame| {
                // Exact ticks there and back, since the shift is taken off again.
                let ticks = Timestamp::new(shift, MICROSECONDS).to(frame.base).ticks;
                let format = params.video()?.format;
                let text = match ticks {
                    0 => format!("{draw},format={format}"),
                    _ => format!("setpts=PTS+({ticks}),{draw},setpts=PTS-({ticks}),format={format}"),
                };
                Ok(Recipe::Graph(text, None))
            };
            AvFilter::new("burn_in", Box::new(plan))
        };
        let canvas = filter(format!("{draw}:alpha=1"));
        Ok(Text { direct: filter(draw), canvas, drawn: None, convert: None })
    }

    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        if !frame.video().colour.is_hdr() {
            return self.direct.push(frame, out);
        }
        self.direct.restart(out)?;
        let Text { canvas, drawn, convert, .. } = self;
        to_planar(frame, convert, &mut |f| {
            let v = f.video();
            let mut blank = av::Frame::alloc_video(PixelFormat::rgba(), v.width, v.height, 1)?;
            blank.set_sample_aspect((v.sample_aspect.num, v.sample_aspect.den));
            let mut blank = Frame::new(blank, f.base);
            (blank.pts, blank.duration) = (f.pts, f.duration);
            let mut text: Vec<Frame> = Vec::new();
            canvas.push(blank, &mut text)?;
            let Some(text) = text.pop() else { return out.emit(f) };
            let pixels = text.media().plane(0);
            if drawn.as_ref().is_none_or(|(params, old, _)| *params != v || old != pixels) {
                let stride = text.media().stride(0);
                let sprite = match cut_out(pixels, stride, v.width as usize) {
                    Some((image, x, y)) => Some(Sprite::new(&image, x as i64, y as i64, 1.0, &v)?),
                    None => None,
                };
                *drawn = Some((v, pixels.to_vec(), sprite));
            }
            match drawn {
                Some((_, _, Some(sprite))) => out.emit(draw_all(f, std::iter::once(&*sprite))?),
                _ => out.emit(f),
            }
        })
    }
}

/// The smallest rectangle of an R, G, B, A canvas that holds all that is visible, with colours that were blended over
/// black brought back to what they were; `None` when nothing is visible.
fn cut_out(pixels: &[u8], stride: usize, width: usize) -> Option<(Image, usize, usize)> {
    let rows = || pixels.chunks(stride).map(|row| &row[..row.len().min(width * 4)]);
    let visible = |row: &[u8]| row.chunks_exact(4).any(|p| p[3] > 0);
    let top = rows().position(visible)?;
    let bottom = rows().rposition(visible)?;
    let (mut left, mut right) = (width, 0);
    for row in rows().skip(top).take(bottom - top + 1) {
        let shown = |p: &[u8]| p[3] > 0;
        left = row.chunks_exact(4).position(shown).map_or(left, |x| x.min(left));
        right = row.chunks_exact(4).rposition(shown).map_or(right, |x| x.max(right));
    }
    let mut rgba = Vec::with_capacity((right - left + 1) * (bottom - top + 1) * 4);
    for row in rows().skip(top).take(bottom - top + 1) {
        for p in row[left * 4..(right + 1) * 4].chunks_exact(4) {
            let whole = |v: u8| (u32::from(v) * 255 / u32::from(p[3].max(1))).min(255) as u8;
            rgba.extend([whole(p[0]), whole(p[1]), whole(p[2]), p[3]]);
        }
    }
    let (width, height) = ((right - left + 1) as u32, (bottom - top + 1) as u32);
    Some((Image { width, height, rgba }, left, top))
}

/// A value in a filter graph's text: escaped once for the option and once for the graph.
fn escape(value: &str) -> String {
    let once = |text: &str, special: &[char]| {
        text.chars().fold(String::new(), |mut out, c| {
            if special.contains(&c) {
                out.push('\\');
            }
            out.push(c);
            out
        })
    };
    once(&once(value, &['\\', '\'', ':']), &['\\', '\'', '[', ']', ',', ';'])
}

/// Pictures with the time at which they are shown, read ahead of the frames as far as they need.
struct Bitmaps {
    demuxer: av::Demuxer,
    stream: usize,
    decoder: av::SubtitleDecoder,
    /// Size of the canvas that places count in, where the stream says.
    canvas: Option<(u32, u32)>,
    zero: Timestamp,
    /// What is shown now or later, by time (µs of the source).
    events: VecDeque<Event>,
    ended: bool,
    convert: Option<(VideoParams, Scale)>,
}

struct Event {
    start: i64,
    end: Option<i64>,
    images: Vec<(Image, u32, u32)>,
    sprites: Option<(VideoParams, Vec<Sprite>)>,
}

impl Bitmaps {
    fn new(mut demuxer: av::Demuxer, stream: usize, zero: Timestamp) -> Result<Self> {
        let desc = demuxer.stream(stream)?;
        let decoder = av::SubtitleDecoder::new(&desc.params, desc.time_base)?;
        for other in 0..demuxer.stream_count() {
            demuxer.set_discard(other, other != stream)?;
        }
        if zero.micros() > LEAD {
            demuxer.seek(None, zero.micros() - LEAD, true)?;
        }
        let v = desc.params.values();
        let canvas = (v.width > 0 && v.height > 0).then_some((v.width, v.height));
        let (events, ended, convert) = (VecDeque::new(), false, None);
        Ok(Bitmaps { demuxer, stream, decoder, canvas, zero, events, ended, convert })
    }

    /// Reads until an event begins after `time`.
    fn read(&mut self, time: i64) -> Result<()> {
        while !self.ended && self.events.back().is_none_or(|e| e.start <= time) {
            let Some(packet) = self.demuxer.read()? else {
                self.ended = true;
                break;
            };
            if packet.stream_index() != self.stream {
                continue;
            }
            let event = match self.decoder.decode(&packet) {
                Ok(Some(event)) => event,
                Ok(None) => continue,
                Err(e) => {
                    tracing::warn!("burn_in: a subtitle that cannot be decoded is left out: {e}");
                    continue;
                }
            };
            let images = event.rects.into_iter().filter_map(|r| match r {
                av::SubtitleRect::Bitmap { x, y, width, height, rgba, .. } => {
                    Some((Image { width, height, rgba: rgba.to_vec() }, x, y))
                }
                _ => None,
            });
            let images = images.collect();
            if let Some(last) = self.events.back_mut() {
                // The next event takes the screen.
                last.end = Some(last.end.map_or(event.start, |end| end.min(event.start)));
            }
            self.events.push_back(Event { start: event.start, end: event.end, images, sprites: None });
        }
        Ok(())
    }

    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let Some(pts) = frame.presentation() else { return out.emit(frame) };
        let time = sum(pts, self.zero).micros();
        self.read(time).context(|| "burn_in.stream")?;
        while self.events.front().is_some_and(|e| e.end.is_some_and(|end| end <= time)) {
            self.events.pop_front();
        }
        let canvas = self.canvas;
        let shown = |e: &&mut Event| e.start <= time && !e.images.is_empty();
        let Some(event) = self.events.front_mut().filter(shown) else { return out.emit(frame) };
        to_planar(frame, &mut self.convert, &mut |f| {
            let v = f.video();
            if event.sprites.as_ref().is_none_or(|(params, _)| *params != v) {
                let made = event.images.iter().map(|(image, x, y)| place(image, *x, *y, canvas, &v));
                let made = made.collect::<Result<_>>().context(|| "burn_in")?;
                event.sprites = Some((v, made));
            }
            out.emit(draw_all(f, event.sprites.iter().flat_map(|(_, s)| s))?)
        })
    }
}

fn place(image: &Image, x: u32, y: u32, canvas: Option<(u32, u32)>, v: &VideoParams) -> Result<Sprite> {
    let (cw, ch) = canvas.unwrap_or((v.width, v.height));
    let scale = f64::from(v.width) / f64::from(cw.max(1));
    let scaled = |n: u32| (f64::from(n) * scale).round();
    let top = scaled(y) - (f64::from(ch) * scale - f64::from(v.height)) / 2.0;
    // What a crop took away would hang over the edge.
    let room = (f64::from(v.height) - scaled(image.height)).max(0.0);
    let (left, top) = (scaled(x) as i64, top.clamp(0.0, room).round() as i64);
    if cw == v.width {
        return Sprite::new(image, left, top, 1.0, v);
    }
    let mut media = av::Frame::alloc_video(PixelFormat::rgba(), image.width, image.height, 0)?;
    let (stride, row) = (media.stride(0), image.width as usize * 4);
    if let Some(plane) = media.plane_mut(0) {
        for (to, from) in plane.chunks_mut(stride).zip(image.rgba.chunks_exact(row)) {
            to[..row].copy_from_slice(from);
        }
    }
    let size = |n: u32| (scaled(n) as u32).max(1);
    let image = to_image_of(Frame::new(media, MICROSECONDS), size(image.width), size(image.height))?;
    Sprite::new(&image, left, top, 1.0, v)
}
