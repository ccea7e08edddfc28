//! Pictures in the size and pixel format that the caller wants, each in the cheapest way that keeps its colours.

use crate::error::{Error, ErrorKind, Result};
use crate::filter::colour::{assumed, complete};
use crate::filter::size::Shown;
use crate::filter::{Scale, ScaleTarget};
use crate::frame::{Colour, ColourRange, Frame, PixelFormat, VideoParams};
use crate::stage::Stage;
use ghoststream_sys::ffmpeg as av;

/// Threads of one conversion: its slices are short, and the decoder wants the cores too.
const MAX_THREADS: u32 = 4;

/// Converts every frame to one format and size, following changes of the input.
pub(super) struct Converter {
    format: Option<PixelFormat>,
    width: Option<u32>,
    height: Option<u32>,
    threads: u32,
    /// The size of all output, decided by the first frame.
    size: Option<(u32, u32)>,
    active: Option<Active>,
}

struct Active {
    from: VideoParams,
    way: Way,
}

/// How a picture becomes what is wanted.
enum Way {
    /// It is that already.
    Pass,
    /// By swscale, into this colour.
    Swscale(av::FilterGraph, Colour),
    /// Its luma is all there is to it.
    Luma(av::FramePool, Colour, ColourRange),
    /// As filters do it: by zimg where there is one.
    Scale(Scale),
}

impl Converter {
    pub(super) fn new(
        format: Option<&str>,
        width: Option<u32>,
        height: Option<u32>,
        threads: u32,
    ) -> Result<Self> {
        let format = match format {
            None => None,
            Some(name) => {
                let known =
                    PixelFormat::from_name(name).filter(|f| f.descriptor().is_some_and(|d| !d.is_hardware));
                Some(known.ok_or_else(|| {
                    Error::invalid("pixel_format", format!("{name:?} is no pixel format of host memory"))
                })?)
            }
        };
        for (name, side) in [("width", width), ("height", height)] {
            if side == Some(0) {
                return Err(Error::invalid(name, "must be above 0"));
            }
        }
        Ok(Converter { format, width, height, threads, size: None, active: None })
    }

    /// The frame as wanted; itself when it already is.
    pub(super) fn convert(&mut self, frame: Frame) -> Result<Frame> {
        if self.format.is_none() && self.width.is_none() && self.height.is_none() {
            return Ok(frame);
        }
        let from = frame.video();
        if self.active.as_ref().is_none_or(|a| a.from != from) {
            let way = self.configure(&frame, &from)?;
            self.active = Some(Active { from, way });
        }
        let none = || Error::new(ErrorKind::Internal, "the conversion gave no picture for a picture");
        let (mut media, colour) = match self.active.as_mut().map(|a| &mut a.way) {
            None | Some(Way::Pass) => return Ok(frame),
            Some(Way::Scale(scale)) => {
                let mut made = Vec::new();
                scale.push(frame, &mut made)?;
                return made.pop().ok_or_else(none);
            }
            Some(Way::Luma(pool, colour, range)) => (luma(frame.media(), pool, *range)?, *colour),
            Some(Way::Swscale(graph, colour)) => {
                graph.push(0, Some(&frame.to_media()?))?;
                (graph.pull(0)?.ok_or_else(none)?, *colour)
            }
        };
        media.set_colour(colour);
        media.set_pts(frame.pts);
        media.set_duration(frame.duration);
        let mut out = Frame::new(media, frame.base);
        (out.pts, out.duration) = (frame.pts, frame.duration);
        Ok(out)
    }

    fn configure(&mut self, frame: &Frame, from: &VideoParams) -> Result<Way> {
        let wanted = match (self.width, self.height) {
            (None, None) => (from.width, from.height),
            (w, h) => Shown::stored(from).fit(w, h),
        };
        let (width, height) = *self.size.get_or_insert(wanted);
        let format = self.format.unwrap_or(from.format);
        if format == from.format && (width, height) == (from.width, from.height) {
            return Ok(Way::Pass);
        }
        let source = assumed(from);
        let mut colour = complete(None, source, format, height);
        let grey = format.descriptor().is_some_and(|d| d.components <= 2 && !d.is_rgb);
        if grey {
            // swscale's grey is always full range.
            colour.range = ColourRange::Full;
        }
        let same_size = (width, height) == (from.width, from.height);
        if same_size && format.name() == "gray" && has_plain_luma(from.format) {
            return Ok(Way::Luma(av::FramePool::new(format, width, height)?, colour, source.range));
        }
        // swscale's direct converters from 8-bit 4:2:0 and 4:2:2 are the fastest there are, and within two code values.
        let direct =
            same_size && matches!(from.format.name(), "yuv420p" | "yuv422p" | "yuvj420p" | "yuvj422p");
        if !direct && !grey {
            let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
            let threads = if self.threads > 0 { self.threads } else { cores.min(MAX_THREADS) };
            let target = ScaleTarget { format: Some(format), ..ScaleTarget::size(width, height) };
            return Ok(Way::Scale(Scale::new(target).threads(threads)));
        }
        let flags = if direct { "bilinear" } else { "bicubic+accurate_rnd+full_chroma_int" };
        let text = recipe(&source, format, &colour, width, height, flags)?;
        let input = av::FilterInput::Video {
            name: "in".into(),
            format: from.format,
            width: from.width,
            height: from.height,
            time_base: (frame.base.num, frame.base.den),
            frame_rate: None,
            sample_aspect: (from.sample_aspect.num, from.sample_aspect.den),
            colour: from.colour,
            hw_frames: None,
        };
        let output = av::FilterOutput { name: "out".into(), audio: false };
        let graph = av::FilterGraph::new(&text, &[input], &[output], self.threads, None)?;
        Ok(Way::Swscale(graph, colour))
    }
}

/// Whether plane 0 holds the luma of 8-bit pictures and nothing else.
fn has_plain_luma(format: PixelFormat) -> bool {
    format
        .descriptor()
        .is_some_and(|d| d.planes >= 2 && d.components >= 3 && d.depth == 8 && !d.is_rgb && !d.is_hardware)
}

/// The luma of a picture as full-range grey.
fn luma(media: &av::Frame, pool: &av::FramePool, range: ColourRange) -> Result<av::Frame> {
    let mut grey = pool.get()?;
    let (width, stride, to_stride) = (media.row_bytes(0), media.stride(0), grey.stride(0));
    let from = media.plane(0);
    let to = grey
        .plane_mut(0)
        .ok_or_else(|| Error::new(ErrorKind::Internal, "a picture of the pool cannot be written"))?;
    for (from, to) in from.chunks(stride.max(1)).zip(to.chunks_mut(to_stride.max(1))) {
        let (from, to) = (from.iter().take(width), to.iter_mut().take(width));
        if range == ColourRange::Full {
            from.zip(to).for_each(|(from, to)| *to = *from);
        } else {
            from.zip(to).for_each(|(from, to)| *to = widen(*from));
        }
    }
    grey.copy_props(media)?;
    Ok(grey)
}

/// A limited-range code as the full-range one, rounded.
fn widen(code: u8) -> u8 {
    // 255 / 219 in 1/16384.
    let above = i32::from(code.clamp(16, 235) - 16);
    ((above * 19077 + 8192) >> 14) as u8
}

/// swscale's filter with matrices and ranges said outright: left to itself it takes everything for BT.601.
fn recipe(
    source: &Colour,
    format: PixelFormat,
    colour: &Colour,
    width: u32,
    height: u32,
    flags: &str,
) -> Result<String> {
    let mut text = format!("scale=w={width}:h={height}:flags={flags}");
    for (side, colour) in [("in", source), ("out", colour)] {
        if colour.matrix != 0 {
            text += &format!(":{side}_color_matrix={}", matrix(colour.matrix)?);
        }
        let range = if colour.range == ColourRange::Full { "full" } else { "limited" };
        text += &format!(":{side}_range={range}");
    }
    Ok(text + &format!(",format={format}"))
}

fn matrix(code: u8) -> Result<&'static str> {
    Ok(match code {
        1 => "bt709",
        4 => "fcc",
        5 | 6 => "bt601",
        7 => "smpte240m",
        9 | 10 => "bt2020",
        other => {
            return Err(Error::unsupported(format!(
                "pictures with the colour matrix {other} (H.273) cannot be converted here"
            )));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::widen;

    #[test]
    fn every_code_of_limited_range_is_rounded_to_the_nearest() {
        for code in 0..=255u8 {
            let exact = (f64::from(code) - 16.0) * 255.0 / 219.0;
            assert_eq!(f64::from(widen(code)), exact.clamp(0.0, 255.0).round(), "code {code}");
        }
    }
}
