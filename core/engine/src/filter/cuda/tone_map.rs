//! HDR to SDR.

use super::colour::{decode, encode, relevel, to_bt709, weights};
use super::launch::ToneMapping;
use super::layout::{Layout, Surface};
use super::table::{Shape, Side, Tables, axes};
use super::{Following, Kernels};
use crate::error::{Error, Result};
use crate::filter::colour::assumed;
use crate::filter::tonemap::{WHITE, fade, name_sdr, peak};
use crate::frame::{ChromaLocation, Colour, Frame, HdrMetadata, PixelFormat, VideoParams};
use crate::spec::{ToneMapCurve, ToneMapSpec};
use crate::stage::{Outlet, Stage};
use ghoststream_sys::cuda::DeviceBuffer;
use ghoststream_sys::ffmpeg as av;

/// As [`crate::filter::ToneMap`], for CUDA frames: the same curves, peak and fading. 4:2:0 leaves as NV12, 4:4:4 as 4:4:4
/// of 8 bits. Output base: the input's.
pub struct ToneMap {
    spec: ToneMapSpec,
    stream: HdrMetadata,
    /// What `following` was made for besides the pictures' parameters.
    peak: f64,
    following: Following<Made>,
}

struct Made {
    layout: Layout,
    target: Layout,
    /// Chroma up to 4:4:4 and back down, where it is subsampled; the pictures between.
    chroma: Option<Chroma>,
    mapping: ToneMapping,
    pool: av::HwFrames,
}

struct Chroma {
    up: Tables,
    down: Tables,
    between: [DeviceBuffer; 2],
    /// Codes to those between, and back.
    widen: [(f64, f64); 2],
    narrow: [(f64, f64); 2],
}

impl ToneMap {
    /// A mapper; `stream` is what the container or codec says about the whole stream.
    pub fn new(spec: ToneMapSpec, stream: HdrMetadata) -> Self {
        ToneMap { spec, stream, peak: 0.0, following: Following::new() }
    }
}

fn make(kernels: &Kernels, source: &VideoParams, spec: &ToneMapSpec, peak: f64) -> Result<Made> {
    let from = assumed(source);
    let layout = Layout::known(source.format)?;
    let name = if layout.rgb {
        source.format.name()
    } else if layout.chroma == [0, 0] {
        "yuv444p"
    } else {
        "nv12"
    };
    let format = PixelFormat::from_name(name)
        .ok_or_else(|| Error::unsupported(format!("tone-map {} pictures on cuda", source.format)))?;
    let target = Layout::known(format)?;
    let to = if layout.rgb {
        Colour { matrix: 0, range: crate::frame::ColourRange::Full, ..Colour::BT709 }
    } else {
        Colour { chroma: source.colour.chroma, ..Colour::BT709 }
    };
    let size = [source.width, source.height];
    let chroma = if layout.chroma == [0, 0] {
        None
    } else {
        let side = |layout, chroma| Side { layout, size, chroma };
        let wide = side(Layout::BETWEEN, ChromaLocation::Unspecified);
        // Bilinear, as on the host.
        let tables = |from, to| Tables::new(kernels, axes(from, [0, 0], size, to, Shape::Bilinear, 0.0));
        let buffer = || DeviceBuffer::pitched(&kernels.context, size[0] as usize * 4, size[1] as usize * 3);
        Some(Chroma {
            up: tables(side(layout, source.colour.chroma), wide)?,
            down: tables(wide, side(target, to.chroma))?,
            between: [buffer()?, buffer()?],
            widen: relevel((&from, &layout), (&from, &Layout::BETWEEN)),
            narrow: relevel((&to, &Layout::BETWEEN), (&to, &target)),
        })
    };
    let (read, written) =
        if chroma.is_some() { (Layout::BETWEEN, Layout::BETWEEN) } else { (layout, target) };
    let float = |v: [f64; 3]| v.map(|v| v as f32);
    let (curve, luma) = match spec.curve {
        ToneMapCurve::Hable => (0, weights(from.matrix)?),
        ToneMapCurve::Mobius => (1, weights(from.matrix)?),
        ToneMapCurve::Reinhard => (2, weights(from.matrix)?),
        ToneMapCurve::Bt2390 => (3, weights(1)?),
    };
    Ok(Made {
        layout,
        target,
        chroma,
        mapping: ToneMapping {
            decode: decode(&from, &read)?,
            gamut: to_bt709(from.primaries)?,
            encode: encode(&to, &written)?,
            luma: float(luma),
            fade: fade(spec) as f32,
            peak: (peak / WHITE) as f32,
            hlg: source.colour.is_hlg(),
            curve,
        },
        pool: kernels.device.frames(format, size[0], size[1], 0)?,
    })
}

impl Made {
    fn run(&mut self, kernels: &Kernels, frame: &Frame) -> Result<Frame> {
        let mut made = self.pool.frame()?;
        let input = Surface::read(frame.media(), self.layout)?;
        let output = Surface::write(&mut made, self.target)?;
        match &mut self.chroma {
            None => kernels.tone_map(&input, &output, &self.mapping, true)?,
            Some(Chroma { up, down, between: [first, second], widen, narrow }) => {
                let (hdr, sdr) = (Surface::between(first, input.size), Surface::between(second, input.size));
                kernels.scale(&input, &hdr, up, widen, false)?;
                kernels.tone_map(&hdr, &sdr, &self.mapping, false)?;
                kernels.scale(&sdr, &output, down, narrow, true)?;
            }
        }
        made.copy_props(frame.media())?;
        name_sdr(&mut made, self.target.rgb);
        Ok(frame.with_media(made))
    }
}

impl Stage<Frame, Frame> for ToneMap {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let colour = frame.media().colour();
        if !colour.is_hdr() {
            return out.emit(frame);
        }
        let peak = peak(&self.spec, &self.stream, &frame, colour.is_hlg());
        if peak != self.peak {
            (self.peak, self.following) = (peak, Following::new());
        }
        let ToneMap { spec, following, .. } = self;
        let mut one = |frame: &Frame| {
            let (kernels, _, made) = following.get(frame, |k, source| make(k, source, spec, peak))?;
            made.run(kernels, frame)
        };
        out.emit(one(&frame).map_err(|e: Error| e.context("tone_map"))?)
    }

    fn finish(&mut self, _: &mut dyn Outlet<Frame>) -> Result<()> {
        Ok(())
    }
}
