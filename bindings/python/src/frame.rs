//! Raw pictures and sound.

use crate::buffer::Held;
use crate::dlpack;
use crate::error::{OrRaise, invalid};
use crate::region::{Kind, Layout, Owner, Region};
use bytes::Bytes;
use ghoststream::frame::{
    ChannelLayout, ColourRange, Frame as EngineFrame, Memory, PixelFormat, SampleFormat,
};
use ghoststream::time::{Rational, TimeBase};
use ghoststream_sys::ffmpeg as av;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyDict};
use std::sync::{Arc, Mutex, PoisonError};

/// Memory of pictures that is used again once they are gone, so that a stream of them touches no new pages. It holds
/// pictures of one kind: those asked for last.
#[pyclass(frozen, module = "ghoststream._native")]
#[derive(Default)]
pub struct Pool {
    current: Mutex<Option<(av::FramePool, bool)>>,
}

#[pymethods]
impl Pool {
    #[new]
    fn new() -> Pool {
        Pool::default()
    }
}

impl Pool {
    /// A picture to write into; `packed`: without padding.
    fn get(
        &self,
        format: PixelFormat,
        width: u32,
        height: u32,
        packed: bool,
    ) -> ghoststream::Result<av::Frame> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((pool, _)) =
            current.as_ref().filter(|(p, k)| *k == packed && p.is_for(format, width, height))
        {
            return Ok(pool.get()?);
        }
        let new = if packed { av::FramePool::packed } else { av::FramePool::new };
        let (pool, _) = current.insert((new(format, width, height)?, packed));
        Ok(pool.get()?)
    }
}

/// Copies planes (bytes and distance of rows) into a picture.
fn copy_planes<'a>(
    planes: impl Iterator<Item = (&'a [u8], usize)>,
    to: &mut av::Frame,
) -> ghoststream::Result<()> {
    let shapes: Vec<_> = (0..to.plane_count()).map(|i| (to.row_bytes(i), to.stride(i))).collect();
    let internal =
        || ghoststream::Error::new(ghoststream::ErrorKind::Internal, "a new picture cannot be written");
    let targets = to.planes_mut().ok_or_else(internal)?;
    for (((from, stride), target), (bytes, to_stride)) in planes.zip(targets).zip(shapes) {
        if (stride, to_stride) == (bytes, bytes) {
            let len = from.len().min(target.len());
            target[..len].copy_from_slice(&from[..len]);
            continue;
        }
        for (from, to) in from.chunks(stride.max(1)).zip(target.chunks_mut(to_stride.max(1))) {
            let len = bytes.min(from.len()).min(to.len());
            to[..len].copy_from_slice(&from[..len]);
        }
    }
    Ok(())
}

/// A picture or a run of samples.
#[pyclass(frozen, module = "ghoststream._native")]
pub struct Frame {
    /// Shared with the arrays that have its memory; the engine gets frames of its own.
    frame: Arc<EngineFrame>,
    /// Where packed copies of it are made.
    pool: Option<Arc<Pool>>,
}

impl Frame {
    /// Wraps a frame that comes from the engine.
    pub fn new(frame: EngineFrame) -> Frame {
        Frame { frame: Arc::new(frame), pool: None }
    }

    /// As [`Frame::new`], with copies of it in memory of `pool`.
    pub fn pooled(frame: EngineFrame, pool: &Arc<Pool>) -> Frame {
        Frame { pool: Some(pool.clone()), ..Frame::new(frame) }
    }

    /// The frame for the engine: shares the memory.
    pub fn engine(&self) -> EngineFrame {
        (*self.frame).clone()
    }

    fn host(&self, py: Python<'_>) -> PyResult<&av::Frame> {
        match self.frame.memory() {
            Memory::Host => Ok(self.frame.media()),
            _ => Err(ghoststream::Error::unsupported(format!(
                "the frame is in the memory of a device ({}), which Python cannot reach yet",
                self.frame.media().format()
            )))
            .or_raise(py),
        }
    }
}

/// Bytes of one stored sample of a pixel format.
fn sample_size(d: &av::PixelDescriptor) -> usize {
    if d.depth > 16 {
        4
    } else if d.depth > 8 {
        2
    } else {
        1
    }
}

/// A picture's plane as an array: rows, columns and, where components are interleaved, components.
fn plane_layout(format: PixelFormat, media: &av::Frame, plane: usize) -> Option<Layout> {
    let d = format.descriptor()?;
    let (rows, bytes, stride) = (media.plane_height(plane), media.row_bytes(plane), media.stride(plane));
    if rows == 0 || bytes == 0 {
        return None;
    }
    let width = media.width() as usize;
    let mut item = sample_size(&d);
    let interleaved = match (d.planes, plane) {
        (1, _) => {
            if bytes % (item * width) != 0
                || (item > 1 && !d.is_planar && bytes / item / width < d.components)
            {
                // Components that share words (x2rgb10) or bytes (monow).
                item = if bytes == 4 * width { 4 } else { 1 };
            }
            if bytes % (item * width) == 0 { bytes / (item * width) } else { 1 }
        }
        // Semi-planar: U and V side by side.
        (2, 1) if d.components >= 3 => 2,
        _ => 1,
    };
    let mut shape = vec![rows, bytes / item / interleaved];
    let mut strides = vec![stride, item * interleaved];
    if interleaved > 1 {
        shape.push(interleaved);
        strides.push(item);
    }
    let kind = if d.is_float { Kind::Float } else { Kind::Unsigned };
    Some(Layout { kind, item_size: item, big_endian: d.big_endian, shape, strides })
}

/// A plane of samples as an array: samples and, where it holds all channels, channels.
fn sound_layout(media: &av::Frame) -> Option<Layout> {
    let format = media.sample_format();
    let kind = match format.name().trim_end_matches('p') {
        "u8" => Kind::Unsigned,
        "s16" | "s32" | "s64" => Kind::Signed,
        "flt" | "dbl" => Kind::Float,
        _ => return None,
    };
    let (item, samples) = (format.bytes(), media.samples());
    let channels = media.channel_layout().channels as usize;
    Some(if format.is_planar() && channels > 1 {
        Layout { kind, item_size: item, big_endian: false, shape: vec![samples], strides: vec![item] }
    } else {
        let (shape, strides) = (vec![samples, channels], vec![item * channels, item]);
        Layout { kind, item_size: item, big_endian: false, shape, strides }
    })
}

fn base(time_base: (i32, i32)) -> Option<TimeBase> {
    Some(Rational::new(time_base.0, time_base.1)).filter(|b| b.is_positive())
}

#[pymethods]
impl Frame {
    /// A picture over (or, with `pool`, copied into that from) the memory of an array: rows and columns of pixels, or the packed
    /// planes of a planar format one below the other.
    #[staticmethod]
    #[pyo3(signature = (array, format, width, height, pool))]
    fn from_array(
        py: Python<'_>,
        array: &Bound<'_, PyAny>,
        format: &str,
        width: u32,
        height: u32,
        pool: Option<&Bound<'_, Pool>>,
    ) -> PyResult<Frame> {
        let pixel = PixelFormat::from_name(format)
            .filter(|f| !f.is_hardware())
            .ok_or_else(|| invalid(py, format!("format: {format:?} is not a pixel format in host memory")))?;
        let held = Held::new(array)?;
        let (shape, strides, item) = (held.shape(), held.strides(), held.item_size());
        let rows_at = strides.first().copied().unwrap_or(0).max(0) as usize;
        let misfit = |why: &str| {
            let detail = format!(
                "an array of shape {shape:?} and {item}-byte items is not a {width}x{height} {format}"
            );
            invalid(py, format!("{detail} picture: {why}"))
        };
        // All axes but the first must be without gaps: only rows may be padded.
        let mut row = item;
        for (n, stride) in shape.iter().zip(&strides).skip(1).rev() {
            if *n > 1 && *stride != row as isize {
                return Err(misfit("its rows have gaps; pass a contiguous copy"));
            }
            row *= n;
        }
        let contiguous = shape.first().is_none_or(|n| *n <= 1) || rows_at == row;
        let total = row * shape.first().copied().unwrap_or(1);
        let planes = pixel.descriptor().map_or(0, |d| d.planes);
        if pixel.descriptor().is_some_and(|d| d.has_palette) {
            return Err(misfit("there is no palette"));
        }
        // Where each plane begins and ends, and the distance of its rows.
        let mut parts = Vec::with_capacity(planes);
        if planes == 1 {
            let (lines, bytes) = pixel.plane_layout(width, height, 0).unwrap_or((0, 0));
            if shape.len() < 2 {
                if total != lines * bytes || !contiguous {
                    return Err(misfit("the number of bytes is another"));
                }
                parts.push((0..held.as_ref().len(), bytes));
            } else if shape.first() != Some(&lines) || row != bytes {
                return Err(misfit(&format!("it has {lines} rows of {bytes} bytes")));
            } else {
                let stride = if lines > 1 { rows_at } else { bytes };
                parts.push((0..held.as_ref().len(), stride));
            }
        } else {
            let size = pixel.image_size(width, height).unwrap_or(0);
            if !contiguous || total != size {
                return Err(misfit(&format!("it has {size} bytes without gaps")));
            }
            let mut at = 0;
            for plane in 0..planes {
                let (lines, bytes) = pixel.plane_layout(width, height, plane).unwrap_or((0, 0));
                let end = at + lines * bytes;
                if end > held.as_ref().len() {
                    return Err(misfit("its planes do not fit"));
                }
                parts.push((at..end, bytes));
                at = end;
            }
        }
        let media = match pool {
            None => {
                let data = Bytes::from_owner(held);
                let parts = parts.into_iter().map(|(span, stride)| (data.slice(span), stride)).collect();
                av::Frame::wrap_bytes(pixel, width, height, parts).map_err(ghoststream::Error::from)
            }
            Some(pool) => {
                let pool = pool.get();
                py.detach(|| {
                    let mut media = pool.get(pixel, width, height, false)?;
                    let bytes = held.as_ref();
                    let planes = parts.into_iter().map(|(span, stride)| (&bytes[span], stride));
                    copy_planes(planes, &mut media).map(|()| media)
                })
            }
        };
        Ok(Frame::new(EngineFrame::new(media.or_raise(py)?, ghoststream::time::MICROSECONDS)))
    }

    /// Sound made from an array: samples by channels (or one axis for one channel). Copies.
    #[staticmethod]
    fn from_samples(py: Python<'_>, array: &Bound<'_, PyAny>, format: &str, rate: u32) -> PyResult<Frame> {
        let sample = SampleFormat::from_name(format)
            .filter(|f| !f.is_planar())
            .ok_or_else(|| invalid(py, format!("format: {format:?} is not an interleaved sample format")))?;
        let held = Held::new(array)?;
        let shape = held.shape();
        let (samples, channels) = match shape[..] {
            [samples] => (samples, 1),
            [samples, channels] => (samples, channels),
            _ => return Err(invalid(py, "samples are an array of one axis, or of samples by channels")),
        };
        let bytes = samples * channels * sample.bytes();
        if held.item_size() != sample.bytes() || held.as_ref().len() != bytes || samples == 0 || channels == 0
        {
            return Err(invalid(py, format!("an array of shape {shape:?} is not contiguous {format} sound")));
        }
        let layout = ChannelLayout::from_channels(u32::try_from(channels).unwrap_or(u32::MAX));
        let made = av::Frame::alloc_audio(sample, rate, &layout, samples).map_err(ghoststream::Error::from);
        let mut media = made.or_raise(py)?;
        if let Some(plane) = media.plane_mut(0) {
            plane[..bytes].copy_from_slice(held.as_ref());
        }
        Ok(Frame::new(EngineFrame::new(media, ghoststream::time::MICROSECONDS)))
    }

    /// The same picture or sound at another time.
    #[pyo3(signature = (pts, duration, time_base, key_frame))]
    fn at(
        &self,
        py: Python<'_>,
        pts: Option<i64>,
        duration: i64,
        time_base: (i32, i32),
        key_frame: bool,
    ) -> PyResult<Frame> {
        let base = base(time_base).ok_or_else(|| invalid(py, "time_base: not positive"))?;
        let mut frame = self.engine();
        (frame.pts, frame.duration, frame.base, frame.force_key) = (pts, duration, base, key_frame);
        Ok(Frame { pool: self.pool.clone(), ..Frame::new(frame) })
    }

    #[getter]
    fn is_video(&self) -> bool {
        self.frame.is_video()
    }

    #[getter]
    fn width(&self) -> u32 {
        self.frame.media().width()
    }

    #[getter]
    fn height(&self) -> u32 {
        self.frame.media().height()
    }

    #[getter]
    fn format(&self) -> &'static str {
        let media = self.frame.media();
        if media.is_video() { media.format().name() } else { media.sample_format().name() }
    }

    /// What the samples are, also where they are on a device.
    #[getter]
    fn host_format(&self) -> &'static str {
        let media = self.frame.media();
        media.hw_frames().map_or_else(|| self.format(), |pool| pool.host_format().name())
    }

    #[getter]
    fn pts(&self) -> Option<i64> {
        self.frame.pts
    }

    #[getter]
    fn duration(&self) -> i64 {
        self.frame.duration
    }

    #[getter]
    fn time_base(&self) -> (i32, i32) {
        (self.frame.base.num, self.frame.base.den)
    }

    #[getter]
    fn is_keyframe(&self) -> bool {
        self.frame.media().is_key()
    }

    #[getter]
    fn samples(&self) -> u32 {
        self.frame.samples()
    }

    #[getter]
    fn sample_rate(&self) -> u32 {
        self.frame.media().sample_rate()
    }

    #[getter]
    fn channels(&self) -> u32 {
        self.frame.media().channel_layout().channels
    }

    #[getter]
    fn layout(&self) -> String {
        self.frame.media().channel_layout().name
    }

    /// Where the memory is: `host`, `cuda`, `dmabuf` or `device`.
    #[getter]
    fn memory(&self) -> &'static str {
        match self.frame.memory() {
            Memory::Host => "host",
            Memory::Cuda => "cuda",
            Memory::DmaBuf => "dmabuf",
            Memory::Device => "device",
        }
    }

    /// Colour: the code points of ITU-T H.273, and the range.
    #[getter]
    fn colour<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let colour = self.frame.media().colour();
        let found = PyDict::new(py);
        found.set_item("primaries", colour.primaries)?;
        found.set_item("transfer", colour.transfer)?;
        found.set_item("matrix", colour.matrix)?;
        let range = match colour.range {
            ColourRange::Limited => Some("limited"),
            ColourRange::Full => Some("full"),
            _ => None,
        };
        found.set_item("range", range)?;
        Ok(found)
    }

    /// Bits of the deepest component; 0 for sound.
    #[getter]
    fn depth(&self) -> u32 {
        self.frame.media().format().descriptor().map_or(0, |d| d.depth)
    }

    #[getter]
    fn plane_count(&self) -> usize {
        self.frame.media().plane_count()
    }

    /// The memory of a plane.
    fn plane(slf: &Bound<'_, Self>, index: usize) -> PyResult<Region> {
        let (this, py) = (slf.get(), slf.py());
        let media = this.host(py)?;
        let layout = if media.is_video() {
            plane_layout(media.format(), media, index)
        } else {
            sound_layout(media).filter(|_| index < media.plane_count())
        };
        let layout =
            layout.ok_or_else(|| invalid(py, format!("there is no plane {index} that is an array")))?;
        let address = media.plane(index).as_ptr() as usize;
        Ok(Region::new(Owner::Frame(this.frame.clone()), address, layout))
    }

    /// A copy of a picture's planes, one after another without padding.
    fn packed_picture(&self, py: Python<'_>) -> PyResult<Region> {
        let media = self.host(py)?;
        let format = media.format();
        let size = media.packed_size().unwrap_or(0);
        let copied = py.detach(|| {
            let planes = (0..media.plane_count()).map(|i| (media.plane(i), media.stride(i)));
            let once = Pool::default();
            let pool = self.pool.as_deref().unwrap_or(&once);
            let mut packed = pool.get(format, media.width(), media.height(), true)?;
            copy_planes(planes, &mut packed).map(|()| EngineFrame::new(packed, self.frame.base))
        });
        let packed = Arc::new(copied.or_raise(py)?);
        let address = packed.media().plane(0).as_ptr() as usize;
        Ok(Region::new(Owner::Frame(packed), address, Layout::bytes(size)))
    }

    /// A copy of all planes of sound, one after another.
    fn packed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyByteArray>> {
        let media = self.host(py)?;
        let bytes = media.samples() * media.sample_format().bytes();
        let planes = media.plane_count();
        let row = if planes > 1 { bytes } else { bytes * media.channel_layout().channels as usize };
        PyByteArray::new_with(py, row * planes, |out| {
            for (i, part) in out.chunks_exact_mut(row.max(1)).enumerate() {
                if let Some(from) = media.plane(i).get(..row) {
                    part.copy_from_slice(from);
                }
            }
            Ok(())
        })
    }

    /// The region as a DLPack capsule.
    #[staticmethod]
    fn dlpack<'py>(region: &Bound<'py, Region>, versioned: bool) -> PyResult<Bound<'py, PyAny>> {
        dlpack::export(region, versioned)
    }
}
