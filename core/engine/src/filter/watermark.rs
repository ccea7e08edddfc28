//! An image over the picture.

use super::geometry::to_planar;
use super::scale::{Scale, ScaleTarget};
use super::sprite::{Image, Sprite, draw_all};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::frame::{Frame, PixelFormat, VideoParams};
use crate::spec::WatermarkSpec;
use crate::stage::{Outlet, Stage};
use crate::time::MICROSECONDS;
use ghoststream_sys::ffmpeg as av;
use std::fs::File;

/// Blends an image, decoded once, into every frame, in the frame's own matrix, range and depth; in HDR pictures its
/// white is 203 cd/m². What lies outside the picture is cut off. A negative `x` or `y` is the distance of the image's
/// right or bottom edge from that of the picture. Packed pixels leave in planes; base stays.
pub struct Watermark {
    spec: WatermarkSpec,
    image: Image,
    sprite: Option<(VideoParams, Sprite)>,
    convert: Option<(VideoParams, Scale)>,
}

impl Watermark {
    /// Reads the image.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Format`] naming the file.
    pub fn new(spec: WatermarkSpec) -> Result<Self> {
        let image = load(&spec.path).context(|| format!("watermark.path: {}", spec.path))?;
        Ok(Watermark { spec, image, sprite: None, convert: None })
    }
}

impl Stage<Frame, Frame> for Watermark {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let Watermark { spec, image, sprite, convert } = self;
        to_planar(frame, convert, &mut |f| {
            let v = f.video();
            if sprite.as_ref().is_none_or(|(params, _)| *params != v) {
                let made = place(spec, image, &v).map_err(|e| e.context("watermark"))?;
                *sprite = Some((v, made));
            }
            out.emit(draw_all(f, sprite.iter().map(|(_, s)| s))?)
        })
    }

    fn finish(&mut self, _: &mut dyn Outlet<Frame>) -> Result<()> {
        Ok(())
    }
}

fn place(spec: &WatermarkSpec, image: &Image, v: &VideoParams) -> Result<Sprite> {
    let at = |field: &str, at: i32, size: u32, side: u32| {
        let (at, size, side) = (i64::from(at), i64::from(size), i64::from(side));
        let start = if at < 0 { side - size + at } else { at };
        if start >= side || start + size <= 0 {
            return Err(Error::invalid(
                field,
                format!("{at} puts the image outside the picture's {side} pixels"),
            ));
        }
        Ok(start)
    };
    let x = at("x", spec.x, image.width, v.width)?;
    let y = at("y", spec.y, image.height, v.height)?;
    Sprite::new(image, x, y, spec.opacity.unwrap_or(1.0).clamp(0.0, 1.0), v)
}

/// The first picture in a local file.
fn load(path: &str) -> Result<Image> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(Error::new(ErrorKind::Format, "is a directory"));
    }
    // The bytes, not the name: FFmpeg would take a % in it for a pattern of files.
    let mut demuxer = av::Demuxer::open(av::DemuxerOptions {
        io: Some(av::Input::Seekable(Box::new(file))),
        protocol_whitelist: Some(vec!["data".into()]),
        ..av::DemuxerOptions::default()
    })?;
    let no_picture = || Error::new(ErrorKind::Format, "holds no picture");
    let streams = demuxer.streams()?;
    let stream = streams.iter().find(|s| s.params.kind() == av::MediaType::Video).ok_or_else(no_picture)?;
    let options = av::DecoderOptions { threads: 1, time_base: stream.time_base, ..Default::default() };
    let mut decoder = av::Decoder::new(&stream.params, &options)?;
    loop {
        if let Some(media) = decoder.receive()? {
            return to_image(Frame::new(media, MICROSECONDS));
        }
        match demuxer.read()? {
            Some(packet) if packet.stream_index() == stream.index => decoder.send(Some(&packet))?,
            Some(_) => {}
            None => {
                decoder.send(None)?;
                let media = decoder.receive()?.ok_or_else(no_picture)?;
                return to_image(Frame::new(media, MICROSECONDS));
            }
        }
    }
}

pub(super) fn to_image(frame: Frame) -> Result<Image> {
    let (width, height) = (frame.media().width(), frame.media().height());
    to_image_of(frame, width, height)
}

/// The frame as R, G, B, A bytes of this size.
pub(super) fn to_image_of(frame: Frame, width: u32, height: u32) -> Result<Image> {
    let target = ScaleTarget { format: Some(PixelFormat::rgba()), ..ScaleTarget::size(width, height) };
    let mut out = Vec::new();
    let mut scale = Scale::new(target);
    scale.push(frame, &mut out)?;
    scale.finish(&mut out)?;
    let frame = out.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "no picture came out"))?;
    let mut rgba = vec![0; frame.media().packed_size().unwrap_or(0)];
    frame.media().copy_to_packed(&mut rgba)?;
    Ok(Image { width, height, rgba })
}
