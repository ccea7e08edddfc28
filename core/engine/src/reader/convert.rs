//! Pictures in the size and pixel format that the caller wants, in one pass of swscale.

use crate::error::{Error, ErrorKind, Result};
use crate::filter::colour::{assumed, complete};
use crate::filter::fit;
use crate::frame::{Colour, ColourRange, Frame, PixelFormat, VideoParams};
use ghoststream_sys::ffmpeg as av;

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
    /// `None` when frames pass as they are.
    graph: Option<(av::FilterGraph, Colour)>,
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
            let graph = self.configure(&frame, &from)?;
            self.active = Some(Active { from, graph });
        }
        let Some((graph, colour)) = self.active.as_mut().and_then(|a| a.graph.as_mut()) else {
            return Ok(frame);
        };
        graph.push(0, Some(&frame.to_media()?))?;
        let mut media = graph
            .pull(0)?
            .ok_or_else(|| Error::new(ErrorKind::Internal, "the conversion gave no picture for a picture"))?;
        media.set_colour(*colour);
        media.set_pts(frame.pts);
        media.set_duration(frame.duration);
        let mut out = Frame::new(media, frame.base);
        (out.pts, out.duration) = (frame.pts, frame.duration);
        Ok(out)
    }

    fn configure(&mut self, frame: &Frame, from: &VideoParams) -> Result<Option<(av::FilterGraph, Colour)>> {
        let wanted = match (self.width, self.height) {
            (None, None) => (from.width, from.height),
            (w, h) => fit(from, w, h),
        };
        let (width, height) = *self.size.get_or_insert(wanted);
        let format = self.format.unwrap_or(from.format);
        if format == from.format && (width, height) == (from.width, from.height) {
            return Ok(None);
        }
        let source = assumed(from);
        let mut colour = complete(None, source, format, height);
        let grey = format.descriptor().is_some_and(|d| d.components <= 2 && !d.is_rgb);
        if grey {
            // swscale's grey is always full range.
            colour.range = ColourRange::Full;
        }
        let text = recipe(from, &source, format, &colour, width, height)?;
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
        Ok(Some((graph, colour)))
    }
}

/// swscale's filter with matrices and ranges said outright: left to itself it takes everything for BT.601.
fn recipe(
    from: &VideoParams,
    source: &Colour,
    format: PixelFormat,
    colour: &Colour,
    width: u32,
    height: u32,
) -> Result<String> {
    let same_size = (width, height) == (from.width, from.height);
    // Its direct converters from 8-bit 4:2:0 and 4:2:2 are several times faster, and within two code values.
    let direct = same_size && matches!(from.format.name(), "yuv420p" | "yuv422p" | "yuvj420p" | "yuvj422p");
    let flags = if direct { "bilinear" } else { "bicubic+accurate_rnd+full_chroma_int" };
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
