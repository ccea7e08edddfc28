//! Cropping, padding and turning.

use super::colour::assumed;
use super::graph::{AvFilter, Recipe};
use super::paint::{self, Layout, Rgb};
use super::scale::{Scale, ScaleTarget, planar};
use crate::error::{Error, Result};
use crate::frame::{Frame, VideoParams};
use crate::spec::{CropSpec, PadSpec};
use crate::stage::{Outlet, OutletFn, Stage};
use ghoststream_sys::ffmpeg as av;

macro_rules! delegate {
    ($type:ident) => {
        impl Stage<Frame, Frame> for $type {
            fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
                self.0.push(frame, out)
            }

            fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
                self.0.finish(out)
            }
        }
    };
}
/// Cuts a rectangle out, without copying pixels. Fails when it does not lie within the picture, or begins between two
/// chroma samples.
pub struct Crop(AvFilter);

delegate!(Crop);

impl Crop {
    /// The rectangle to keep.
    pub fn new(spec: CropSpec) -> Self {
        Crop(AvFilter::new(
            "crop",
            Box::new(move |params, _| {
                let v = params.video()?;
                let CropSpec { x, y, width, height } = spec;
                check_crop(spec, v)?;
                if (width, height) == (v.width, v.height) {
                    return Ok(Recipe::Pass);
                }
                Ok(Recipe::Graph(format!("crop=w={width}:h={height}:x={x}:y={y}"), None))
            }),
        ))
    }
}

/// Whether the rectangle can be cut out of such pictures.
pub(super) fn check_crop(spec: CropSpec, v: &VideoParams) -> Result<()> {
    within("width", spec.x, spec.width, v.width)?;
    within("height", spec.y, spec.height, v.height)?;
    on_grid("x", spec.x, v, |d| d.0)?;
    on_grid("y", spec.y, v, |d| d.1)
}

fn within(field: &str, start: u32, length: u32, side: u32) -> Result<()> {
    if length == 0 || start.checked_add(length).is_none_or(|end| end > side) {
        return Err(Error::invalid(
            field,
            format!("{start} + {length} is beyond the picture's {side} pixels"),
        ));
    }
    Ok(())
}

fn on_grid(field: &str, at: u32, v: &VideoParams, side: impl Fn((u32, u32)) -> u32) -> Result<()> {
    let step = v.format.descriptor().map_or(1, |d| 1 << side((d.log2_chroma_w, d.log2_chroma_h)));
    if !at.is_multiple_of(step) {
        return Err(Error::invalid(
            field,
            format!("{at} is not a multiple of {step}, as {} needs", v.format),
        ));
    }
    Ok(())
}

/// Puts the picture on a larger canvas of one colour, exact in the picture's own matrix and range. A picture of packed
/// pixels leaves in the planar format that holds it.
pub struct Pad {
    spec: PadSpec,
    colour: Rgb,
    convert: Option<(VideoParams, Scale)>,
}

impl Pad {
    /// The canvas.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a colour that cannot be read.
    pub fn new(spec: PadSpec) -> Result<Self> {
        let colour = paint::parse("pad.colour", spec.colour.as_deref().unwrap_or("black"))?;
        Ok(Pad { spec, colour, convert: None })
    }
}

impl Stage<Frame, Frame> for Pad {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let Pad { spec, colour, convert } = self;
        to_planar(frame, convert, &mut |f| out.emit(pad(&f, spec, *colour).map_err(|e| e.context("pad"))?))
    }

    fn finish(&mut self, _: &mut dyn Outlet<Frame>) -> Result<()> {
        Ok(())
    }
}

/// Hands `frame` to `use_it` with a plane for each component, converted by `convert` if it is laid out otherwise.
pub(super) fn to_planar(
    frame: Frame,
    convert: &mut Option<(VideoParams, Scale)>,
    use_it: &mut dyn FnMut(Frame) -> Result<()>,
) -> Result<()> {
    let v = frame.video();
    if Layout::of(v.format).is_some() {
        return use_it(frame);
    }
    if convert.as_ref().is_none_or(|(params, _)| *params != v) {
        let format = planar(v.format, v.width, v.height)?;
        let target = ScaleTarget { format: Some(format), ..ScaleTarget::size(v.width, v.height) };
        *convert = Some((v, Scale::new(target)));
    }
    match convert {
        Some((_, scale)) => scale.push(frame, &mut OutletFn(use_it)),
        None => Ok(()),
    }
}

fn place(
    field: &str,
    at: Option<u32>,
    size: u32,
    canvas: u32,
    v: &VideoParams,
    side: impl Fn((u32, u32)) -> u32,
) -> Result<u32> {
    let room = canvas.checked_sub(size).ok_or_else(|| {
        let name = if field == "x" { "width" } else { "height" };
        Error::invalid(name, format!("{canvas} is smaller than the picture's {size}"))
    })?;
    let shift = v.format.descriptor().map_or(0, |d| side((d.log2_chroma_w, d.log2_chroma_h)));
    let at = at.unwrap_or((room / 2) >> shift << shift);
    if at > room {
        return Err(Error::invalid(field, format!("{at} + {size} is beyond the canvas of {canvas}")));
    }
    on_grid(field, at, v, side)?;
    Ok(at)
}

/// Where such a picture lies on the canvas.
pub(super) fn pad_at(spec: &PadSpec, v: &VideoParams) -> Result<[u32; 2]> {
    let x = place("x", spec.x, v.width, spec.width, v, |d| d.0)?;
    Ok([x, place("y", spec.y, v.height, spec.height, v, |d| d.1)?])
}

fn pad(frame: &Frame, spec: &PadSpec, colour: Rgb) -> Result<Frame> {
    let v = frame.video();
    let [x, y] = pad_at(spec, &v)?;
    if (spec.width, spec.height) == (v.width, v.height) {
        return Ok(frame.clone());
    }
    let layout =
        Layout::of(v.format).ok_or_else(|| Error::unsupported(format!("pixel format {}", v.format)))?;
    let code = layout.code(&assumed(&v), colour);
    let from = frame.media();
    let mut to = av::Frame::alloc_video(v.format, spec.width, spec.height, 0)?;
    to.copy_props(from)?;
    for p in 0..to.plane_count() {
        let (sx, sy) = layout.shift(p);
        let (left, top) = ((x >> sx) as usize * layout.bytes(), (y >> sy) as usize);
        let (stride, row, rows) = (to.stride(p), to.row_bytes(p), to.plane_height(p));
        let (from_stride, from_row, from_rows) = (from.stride(p), from.row_bytes(p), from.plane_height(p));
        let source = from.plane(p);
        let sample = (code[p.min(3)].round() as u16).to_le_bytes();
        let line: Vec<u8> = sample.iter().take(layout.bytes()).copied().cycle().take(row).collect();
        let Some(plane) = to.plane_mut(p) else { continue };
        for r in 0..rows {
            let start = r * stride;
            let Some(target) = plane.get_mut(start..start + row) else { continue };
            target.copy_from_slice(&line);
            if (top..top + from_rows).contains(&r) {
                let at = (r - top) * from_stride;
                target[left..left + from_row].copy_from_slice(&source[at..at + from_row]);
            }
        }
    }
    let mut padded = Frame::new(to, frame.base);
    (padded.pts, padded.duration, padded.force_key) = (frame.pts, frame.duration, frame.force_key);
    Ok(padded)
}

/// How a stored picture is made upright: mirrored left to right, if so, then turned clockwise by quarters. The default
/// leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    mirrored: bool,
    quarters: u8,
}

impl Turn {
    /// By `degrees` clockwise.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] unless it is 0, 90, 180 or 270.
    pub fn clockwise(degrees: u16) -> Result<Turn> {
        if !degrees.is_multiple_of(90) || degrees >= 360 {
            return Err(Error::invalid("rotate", format!("{degrees} is not 0, 90, 180 or 270")));
        }
        Ok(Turn { mirrored: false, quarters: (degrees / 90) as u8 })
    }

    /// As metadata says it: degrees clockwise, rounded to the nearest multiple of 90, and whether it is mirrored before.
    pub fn shown(rotation: f64, mirrored: bool) -> Turn {
        Turn { mirrored, quarters: (rotation / 90.0).round().rem_euclid(4.0) as u8 }
    }

    /// Whether it is mirrored left to right, before it is turned.
    pub fn mirrored(self) -> bool {
        self.mirrored
    }

    /// Quarters of a turn, clockwise: less than 4.
    pub fn quarters(self) -> u8 {
        self.quarters
    }
}

/// In a few words, for plans.
impl std::fmt::Display for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let degrees = u16::from(self.quarters) * 90;
        match (self.mirrored, degrees) {
            (true, 0) => f.write_str("mirror"),
            (true, degrees) => write!(f, "mirror and rotate {degrees}"),
            (false, degrees) => write!(f, "rotate {degrees}"),
        }
    }
}

/// Mirrors and turns the picture and drops the display matrix, which is then done.
pub struct Rotate(AvFilter);

delegate!(Rotate);

impl Rotate {
    /// Always the same.
    pub fn new(turn: Turn) -> Self {
        Rotate(AvFilter::new("rotate", Box::new(move |_, _| Ok(recipe(turn)))))
    }

    /// As the frames' own display matrix says, else by `stream`, which is the container's.
    pub fn by_metadata(stream: Turn) -> Self {
        Rotate(AvFilter::new(
            "rotate",
            Box::new(move |_, frame| {
                let media = frame.media();
                let own = media.display_matrix().map(|_| Turn::shown(media.rotation(), media.mirrored()));
                Ok(recipe(own.unwrap_or(stream)))
            }),
        ))
    }
}

fn recipe(turn: Turn) -> Recipe {
    // To turn a mirrored picture is to flip it along another axis; libavfilter's flips by diagonals name what comes after.
    let text = match (turn.mirrored, turn.quarters) {
        (false, 1) => "transpose=clock",
        (false, 2) => "hflip,vflip",
        (false, 3) => "transpose=cclock",
        (true, 0) => "hflip",
        (true, 1) => "transpose=clock_flip",
        (true, 2) => "vflip",
        (true, 3) => "transpose=cclock_flip",
        _ => {
            return Recipe::Retag(Box::new(|media| {
                media.clear_display_matrix();
                Ok(())
            }));
        }
    };
    Recipe::Graph(
        text.to_string(),
        Some(Box::new(|media| {
            media.clear_display_matrix();
            Ok(())
        })),
    )
}
