//! Pictures over CUDA memory that the application owns.

use super::PixelFormat;
use crate::error::{Error, ErrorKind, Result};
use ghoststream_sys::cuda::Context;
use ghoststream_sys::ffmpeg as av;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What pictures of one kind on one device are described by. Keep it as long as a picture that was wrapped with it lives:
/// later ones then share it.
#[derive(Debug)]
pub struct CudaPool {
    key: Key,
    context: Arc<Context>,
    frames: av::HwFrames,
}

type Key = (u32, PixelFormat, u32, u32);

static POOLS: Mutex<Vec<Weak<CudaPool>>> = Mutex::new(Vec::new());

impl CudaPool {
    /// For pictures of `format` (a host format: what the samples are) on the GPU of CUDA's number `device`, in its primary
    /// context, which the CUDA runtime and PyTorch use too. Any thread.
    ///
    /// # Errors
    /// [`ErrorKind::Device`] without a driver or such a device; [`ErrorKind::Unsupported`] for a format that FFmpeg knows no
    /// CUDA frames of.
    pub fn of(device: u32, format: PixelFormat, width: u32, height: u32) -> Result<Arc<CudaPool>> {
        let key = (device, format, width, height);
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|p| p.strong_count() > 0);
        if let Some(pool) = pools.iter().filter_map(Weak::upgrade).find(|p| p.key == key) {
            return Ok(pool);
        }
        let context = Context::primary(device)?;
        let frames = av::HwDevice::cuda(&context)?.frames(format, width, height, 0).map_err(|e| {
            let message = format!("{width}x{height} {format} pictures in CUDA memory: {e}");
            Error::with_source(ErrorKind::Unsupported, message, e)
        })?;
        let pool = Arc::new(CudaPool { key, context, frames });
        pools.push(Arc::downgrade(&pool));
        Ok(pool)
    }

    /// The context that the memory is in.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// FFmpeg's description, for [`av::HwFrames::wrap_cuda`].
    pub fn frames(&self) -> &av::HwFrames {
        &self.frames
    }
}
