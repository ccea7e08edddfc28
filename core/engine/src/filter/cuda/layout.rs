//! How formats lie in device memory, in the kernels' terms.

use crate::error::{Error, Result};
use crate::frame::{ChromaLocation, PixelFormat};
use ghoststream_sys::cuda::{DeviceBuffer, Plane};
use ghoststream_sys::ffmpeg as av;

/// A component: its plane, the byte of its first sample there, and the bytes from one sample to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Component {
    plane: usize,
    offset: u32,
    step: u32,
}

/// How the samples of a format lie. Components are Y, U, V or R, G, B, then alpha.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    components: [Option<Component>; 4],
    pub bits: u32,
    /// Bits of the words below the code.
    shift: u32,
    /// Log2 of the chroma subsampling, across and down.
    pub chroma: [u32; 2],
    pub rgb: bool,
}

impl Layout {
    /// Three planes of floats, which is what kernels hand each other: codes of 16 bits that are neither rounded nor clipped.
    pub const BETWEEN: Layout = planes(16, 4, [0, 0]);

    /// The layout of a format that CUDA frames can have.
    pub fn of(format: PixelFormat) -> Option<Layout> {
        Some(match format.name() {
            "nv12" => interleaved(8, 0),
            "p010le" => interleaved(10, 6),
            "p012le" => interleaved(12, 4),
            "p016le" => interleaved(16, 0),
            "yuv420p" => planes(8, 1, [1, 1]),
            "yuv422p" => planes(8, 1, [1, 0]),
            "yuv444p" => planes(8, 1, [0, 0]),
            "yuv444p16le" => planes(16, 2, [0, 0]),
            "rgb0" => packed([0, 1, 2], None),
            "bgr0" => packed([2, 1, 0], None),
            "0rgb" => packed([1, 2, 3], None),
            "0bgr" => packed([3, 2, 1], None),
            "rgba" => packed([0, 1, 2], Some(3)),
            "bgra" => packed([2, 1, 0], Some(3)),
            "argb" => packed([1, 2, 3], Some(0)),
            "abgr" => packed([3, 2, 1], Some(0)),
            _ => return None,
        })
    }

    /// [`Layout::of`], or why there is none.
    pub fn known(format: PixelFormat) -> Result<Layout> {
        Layout::of(format).ok_or_else(|| Error::unsupported(format!("{format} pictures on cuda")))
    }

    /// In the kernels' terms: 0 for bytes, 1 for words, 2 for floats.
    fn wide(&self) -> u32 {
        match self {
            l if *l == Layout::BETWEEN => 2,
            l => u32::from(l.bits > 8),
        }
    }

    /// The largest code.
    pub fn top(&self) -> u32 {
        (1 << self.bits) - 1
    }

    /// Samples of the first component, or of the second and third (`group` 1), of a picture of this size.
    pub fn samples(&self, group: usize, size: [u32; 2]) -> [u32; 2] {
        let shift = |d: usize| if group == 0 { 0 } else { self.chroma[d] };
        [0, 1].map(|d| (size[d] + (1 << shift(d)) - 1) >> shift(d))
    }

    /// How far chroma samples lie from the middle of the luma samples that they stand for, in luma samples.
    pub fn siting(&self, location: ChromaLocation) -> [f64; 2] {
        let [x, y] = match location {
            // What 4:2:0 is when nothing else is said.
            ChromaLocation::Unspecified | ChromaLocation::Left => [-0.5, 0.0],
            ChromaLocation::Center => [0.0, 0.0],
            ChromaLocation::TopLeft => [-0.5, -0.5],
            ChromaLocation::Top => [0.0, -0.5],
            ChromaLocation::BottomLeft => [-0.5, 0.5],
            ChromaLocation::Bottom => [0.0, 0.5],
        };
        [if self.chroma[0] > 0 { x } else { 0.0 }, if self.chroma[1] > 0 { y } else { 0.0 }]
    }
}

const fn planes(bits: u32, bytes: u32, chroma: [u32; 2]) -> Layout {
    let y = Component { plane: 0, offset: 0, step: bytes };
    let components = [Some(y), Some(Component { plane: 1, ..y }), Some(Component { plane: 2, ..y }), None];
    Layout { components, bits, shift: 0, chroma, rgb: false }
}

fn interleaved(bits: u32, shift: u32) -> Layout {
    let bytes = if bits > 8 { 2 } else { 1 };
    let c = |plane, offset, step| Some(Component { plane, offset, step });
    let components = [c(0, 0, bytes), c(1, 0, 2 * bytes), c(1, bytes, 2 * bytes), None];
    Layout { components, bits, shift, chroma: [1, 1], rgb: false }
}

fn packed(order: [u32; 3], alpha: Option<u32>) -> Layout {
    let c = |offset| Component { plane: 0, offset, step: 4 };
    let [r, g, b] = order.map(|offset| Some(c(offset)));
    Layout { components: [r, g, b, alpha.map(c)], bits: 8, shift: 0, chroma: [0, 0], rgb: true }
}

/// Three bytes a pixel, which no CUDA frame has.
const fn packed24(order: [u32; 3]) -> Layout {
    let [r, g, b] = order;
    let components = [
        Some(Component { plane: 0, offset: r, step: 3 }),
        Some(Component { plane: 0, offset: g, step: 3 }),
        Some(Component { plane: 0, offset: b, step: 3 }),
        None,
    ];
    Layout { components, bits: 8, shift: 0, chroma: [0, 0], rgb: true }
}

/// A picture in device memory, as the kernels take it. The memory's owner outlives the launch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surface {
    pub layout: Layout,
    pub size: [u32; 2],
    /// Address and pitch.
    planes: [(u64, u32); 3],
}

impl Surface {
    /// A frame's pixels, to read.
    pub fn read(frame: &av::Frame, layout: Layout) -> Result<Surface> {
        let planes = frame.device_planes()?;
        let planes = planes.iter().map(|p| (p.address(), p.pitch() as u32));
        Ok(Surface::new(layout, [frame.width(), frame.height()], planes))
    }

    /// A frame's pixels, to write.
    pub fn write(frame: &mut av::Frame, layout: Layout) -> Result<Surface> {
        let size = [frame.width(), frame.height()];
        let planes = frame.device_planes_mut()?;
        let planes = planes.iter().map(|p| (p.address(), p.pitch() as u32));
        Ok(Surface::new(layout, size, planes))
    }

    /// A picture of [`Layout::BETWEEN`] in a buffer of three planes on top of each other.
    pub fn between(buffer: &mut DeviceBuffer, size: [u32; 2]) -> Surface {
        let pitch = buffer.pitch();
        let start = buffer.plane_mut().address();
        let planes = [0, 1, 2].map(|p| (start + (p * size[1] as usize * pitch) as u64, pitch as u32));
        Surface { layout: Layout::BETWEEN, size, planes }
    }

    /// Somebody's picture of three bytes a pixel, to read: red, green and blue, or the other way round.
    pub fn packed24(plane: &Plane<'_>, reversed: bool, size: [u32; 2]) -> Surface {
        let layout = packed24(if reversed { [2, 1, 0] } else { [0, 1, 2] });
        Surface::new(layout, size, std::iter::once((plane.address(), plane.pitch() as u32)))
    }

    fn new(layout: Layout, size: [u32; 2], planes: impl Iterator<Item = (u64, u32)>) -> Surface {
        let mut all = [(0, 0); 3];
        all.iter_mut().zip(planes).for_each(|(to, from)| *to = from);
        Surface { layout, size, planes: all }
    }

    /// Address, pitch and step of a component; zeros where there is none.
    pub fn component(&self, i: usize) -> (u64, u32, u32) {
        self.layout.components[i].map_or((0, 0, 0), |c| {
            let (address, pitch) = self.planes[c.plane];
            (address + u64::from(c.offset), pitch, c.step)
        })
    }

    /// The rest of the kernels' `Picture`: sizes, whether samples are words, the words' shift, the largest code.
    pub fn rest(&self) -> [u32; 8] {
        let l = &self.layout;
        let ([w, h], [cw, ch]) = (self.size, l.samples(1, self.size));
        [w, cw, h, ch, l.wide(), l.shift, l.top(), 0]
    }
}
