//! Pictures of three bytes a pixel, which tensors have and CUDA frames have not: they get a fourth, on the device.

use super::Kernels;
use super::layout::{Layout, Surface};
use super::place::Placing;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{CudaPool, PixelFormat};
use ghoststream_sys::cuda::Plane;
use ghoststream_sys::ffmpeg as av;

/// What a packed format of three bytes a pixel becomes in CUDA memory; `None` for one that CUDA frames hold as it is, or
/// not at all.
pub fn widened(format: PixelFormat) -> Option<PixelFormat> {
    match format.name() {
        "rgb24" => PixelFormat::from_name("rgb0"),
        "bgr24" => PixelFormat::from_name("bgr0"),
        _ => None,
    }
}

/// A copy of `from`, a picture of `format` in memory of the GPU of CUDA's number `device`, in the format that [`widened`]
/// says. The copy is complete when this returns: the memory is the caller's again.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for another format, and where our kernels do not run; [`ErrorKind::Memory`];
/// [`ErrorKind::Device`].
pub fn widen(
    device: u32,
    from: &Plane<'_>,
    format: PixelFormat,
    width: u32,
    height: u32,
) -> Result<av::Frame> {
    let wide = widened(format)
        .ok_or_else(|| Error::unsupported(format!("{format} pictures do not become wider ones")))?;
    let kernels = Kernels::on(device).map_err(|e| match e.kind() {
        ErrorKind::Device | ErrorKind::Memory => e,
        _ => Error::unsupported(format!("{format} pictures in CUDA memory: {e}")),
    })?;
    let mut frame = CudaPool::of(device, wide, width, height)?.frames().frame()?;
    let source = Surface::packed24(from, wide.name() == "bgr0", [width, height]);
    let target = Surface::write(&mut frame, Layout::known(wide)?)?;
    kernels.place(&source, &target, &Placing::default())?;
    kernels.stream.synchronize()?;
    Ok(frame)
}
