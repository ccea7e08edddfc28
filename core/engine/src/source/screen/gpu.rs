//! Pictures of a screen that never leave the GPU: DMA-BUFs of PipeWire's become frames in the memory of NVIDIA's encoder.

use crate::error::{Error, ErrorKind, Result};
use crate::filter::{Scale, ScaleTarget};
use crate::frame::{ChromaLocation, Colour, Frame, PixelFormat, fourcc_of};
use crate::stage::Stage;
use crate::time::MICROSECONDS;
use ghoststream_sys::cuda::{Context, Stream};
use ghoststream_sys::egl::{self, Conversion, Importer};
use ghoststream_sys::{ffmpeg as av, pipewire};
use std::sync::Arc;

/// The GPU that pictures are taken to, which is the one that frames on CUDA are on elsewhere too.
const DEVICE: u32 = 0;

/// Makes pictures in DMA-BUFs `nv12` frames in CUDA memory, in BT.709 and limited range.
pub(super) struct Gpu {
    importer: Importer,
    context: Arc<Context>,
    stream: Arc<Stream>,
    frames: Option<av::HwFrames>,
    /// Makes pictures of host memory of that size what the others are.
    scale: Option<((u32, u32), Scale)>,
}

impl Gpu {
    /// What pictures are made.
    pub const COLOUR: Colour = Colour { chroma: ChromaLocation::Left, ..Colour::BT709 };

    /// On the first GPU.
    ///
    /// # Errors
    /// [`ErrorKind::Device`] or [`ErrorKind::Unsupported`]: what is missing here, CUDA, EGL or what EGL must be able to do.
    pub fn open() -> Result<Gpu> {
        let context = Context::primary(DEVICE)?;
        let stream = Stream::new(&context)?;
        let importer = Importer::on_cuda(&context).map_err(of_egl)?;
        tracing::debug!(gpu = importer.name(), "EGL");
        Ok(Gpu { importer, context, stream, frames: None, scale: None })
    }

    /// What can be taken of a node, the best first.
    pub fn formats(&self) -> Vec<pipewire::DmaBufFormat> {
        let known = self.importer.formats();
        let usual = ["bgr0", "bgra", "rgb0", "rgba"].into_iter().filter_map(PixelFormat::from_name);
        let taken = usual.filter_map(|format| {
            let code = fourcc_of(format)?;
            let (_, modifiers) = known.iter().find(|(other, _)| *other == code)?;
            Some(pipewire::DmaBufFormat { format, modifiers: modifiers.clone() })
        });
        taken.collect()
    }

    /// `picture` on the GPU. Its memory may be given back as soon as this returns.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a picture that the GPU does not import; [`ErrorKind::Device`], [`ErrorKind::Memory`].
    pub fn take(&mut self, picture: &av::Frame) -> Result<av::Frame> {
        let mut made = self.pool((picture.width(), picture.height()))?.frame()?;
        self.importer.to_cuda(picture, &mut made, &self.stream, &BT709).map_err(of_egl)?;
        made.set_colour(Self::COLOUR);
        Ok(made)
    }

    /// `picture`, which is in host memory, as the others are.
    ///
    /// # Errors
    /// [`ErrorKind::Device`], [`ErrorKind::Memory`].
    pub fn upload(&mut self, picture: av::Frame) -> Result<av::Frame> {
        let size = (picture.width(), picture.height());
        let mut scale = match self.scale.take().filter(|(of, _)| *of == size) {
            Some((_, scale)) => scale,
            None => Scale::new(ScaleTarget {
                format: Some(PixelFormat::nv12()),
                colour: Some(Self::COLOUR),
                ..ScaleTarget::size(size.0, size.1)
            }),
        };
        let mut made = Vec::new();
        scale.push(Frame::new(picture, MICROSECONDS), &mut made)?;
        self.scale = Some((size, scale));
        let made =
            made.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "a conversion kept a picture"))?;
        let mut made = made.media().transfer_to_device(self.pool(size)?)?;
        made.set_colour(Self::COLOUR);
        Ok(made)
    }

    /// Where frames of that size come from.
    fn pool(&mut self, size: (u32, u32)) -> Result<&av::HwFrames> {
        let frames = match self.frames.take().filter(|frames| frames.size() == size) {
            Some(frames) => frames,
            None => av::HwDevice::cuda(&self.context)?.frames(PixelFormat::nv12(), size.0, size.1, 0)?,
        };
        let frames: &av::HwFrames = self.frames.insert(frames);
        Ok(frames)
    }
}

/// RGB of full range to BT.709 of limited range.
const BT709: Conversion = {
    const KR: f32 = 0.2126;
    const KB: f32 = 0.0722;
    const KG: f32 = 1.0 - KR - KB;
    const B: f32 = 224.0 / (2.0 * (1.0 - KB));
    const R: f32 = 224.0 / (2.0 * (1.0 - KR));
    Conversion {
        luma: [219.0 * KR, 219.0 * KG, 219.0 * KB, 16.0],
        chroma: [[-KR * B, -KG * B, 112.0, 128.0], [112.0, -KG * R, -KB * R, 128.0]],
    }
};

fn of_egl(e: egl::Error) -> Error {
    let kind = match e.kind() {
        egl::Kind::Absent | egl::Kind::Unsupported => ErrorKind::Unsupported,
        egl::Kind::Invalid | egl::Kind::Failed => ErrorKind::Device,
    };
    Error::with_source(kind, e.to_string(), e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_and_white_and_the_primaries_have_their_codes() {
        let code =
            |row: [f32; 4], [r, g, b]: [f32; 3]| (row[0] * r + row[1] * g + row[2] * b + row[3]).round();
        let [cb, cr] = BT709.chroma;
        for (rgb, wanted) in [
            ([0.0; 3], [16.0, 128.0, 128.0]),
            ([1.0; 3], [235.0, 128.0, 128.0]),
            ([1.0, 0.0, 0.0], [63.0, 102.0, 240.0]),
            ([0.0, 0.0, 1.0], [32.0, 240.0, 118.0]),
        ] {
            assert_eq!([code(BT709.luma, rgb), code(cb, rgb), code(cr, rgb)], wanted, "{rgb:?}");
        }
    }
}
