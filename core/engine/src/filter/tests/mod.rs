//! Tests that push real frames through the filters.

mod audio;
mod cuda;
mod cuda_float;
mod device;
mod overlay;
mod scale;
mod video;

use crate::error::Result;
use crate::frame::{AudioParams, ChannelLayout, Colour, Frame, PixelFormat, SampleFormat};
use crate::stage::Stage;
use crate::time::{Rational, TimeBase};
use ghoststream_sys::ffmpeg as av;

pub(super) const FPS: TimeBase = Rational::new(1, 25);

/// A picture whose samples are `value(plane, x, y)`, in code values.
pub(super) fn picture(
    format: &str,
    width: u32,
    height: u32,
    colour: Colour,
    value: impl Fn(usize, usize, usize) -> u16,
) -> Frame {
    let format = PixelFormat::from_name(format).unwrap();
    let wide = format.descriptor().unwrap().depth > 8;
    let mut media = av::Frame::alloc_video(format, width, height, 0).unwrap();
    for p in 0..media.plane_count() {
        let (stride, row, rows) = (media.stride(p), media.row_bytes(p), media.plane_height(p));
        let plane = media.plane_mut(p).unwrap();
        for y in 0..rows {
            let line = &mut plane[y * stride..y * stride + row];
            if wide {
                for (x, s) in line.chunks_exact_mut(2).enumerate() {
                    s.copy_from_slice(&value(p, x, y).to_le_bytes());
                }
            } else {
                for (x, s) in line.iter_mut().enumerate() {
                    *s = value(p, x, y) as u8;
                }
            }
        }
    }
    media.set_colour(colour);
    media.set_sample_aspect((1, 1));
    media.set_pts(Some(0));
    media.set_duration(1);
    Frame::new(media, FPS)
}

pub(super) fn at(mut frame: Frame, pts: i64) -> Frame {
    frame.pts = Some(pts);
    frame
}

/// A sample's code value.
pub(super) fn sample(frame: &Frame, plane: usize, x: usize, y: usize) -> u16 {
    let media = frame.media();
    let at = y * media.stride(plane);
    if media.format().descriptor().unwrap().depth > 8 {
        let b = &media.plane(plane)[at + 2 * x..];
        u16::from_le_bytes([b[0], b[1]])
    } else {
        media.plane(plane)[at + x].into()
    }
}

pub(super) fn run<T>(
    stage: &mut dyn Stage<Frame, T>,
    frames: impl IntoIterator<Item = Frame>,
) -> Result<Vec<T>> {
    let mut out = Vec::new();
    for frame in frames {
        stage.push(frame, &mut out)?;
    }
    stage.finish(&mut out)?;
    Ok(out)
}

pub(super) fn one(stage: &mut dyn Stage<Frame, Frame>, frame: Frame) -> Frame {
    let mut out = run(stage, [frame]).unwrap();
    assert_eq!(out.len(), 1);
    out.remove(0)
}

pub(super) fn params(rate: u32, layout: &str, format: SampleFormat) -> AudioParams {
    AudioParams { sample_rate: rate, layout: ChannelLayout::from_name(layout).unwrap(), format }
}

/// Interleaved float sound: `value(channel, n)` for sample n counted from `first`.
pub(super) fn sound(
    params: &AudioParams,
    first: i64,
    count: usize,
    pts: i64,
    base: TimeBase,
    value: impl Fn(usize, i64) -> f32,
) -> Frame {
    assert_eq!(params.format, SampleFormat::F32);
    let mut media = av::Frame::alloc_audio(params.format, params.sample_rate, &params.layout, count).unwrap();
    let channels = params.layout.channels as usize;
    for (i, b) in media.plane_mut(0).unwrap().chunks_exact_mut(4).enumerate() {
        b.copy_from_slice(&value(i % channels, first + (i / channels) as i64).to_le_bytes());
    }
    let mut frame = Frame::new(media, base);
    frame.pts = Some(pts);
    frame
}

/// The samples of one channel of interleaved or planar float frames.
pub(super) fn channel(frames: &[Frame], channel: usize) -> Vec<f32> {
    let mut out = Vec::new();
    for f in frames {
        let media = f.media();
        let floats = |p: usize| -> Vec<f32> {
            media.plane(p).chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        };
        if media.sample_format().is_planar() {
            out.extend(floats(channel));
        } else {
            let channels = media.channel_layout().channels as usize;
            out.extend(floats(0).into_iter().skip(channel).step_by(channels));
        }
    }
    out
}
