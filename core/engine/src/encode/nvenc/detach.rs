//! Frames out of the decoder's hands.

use crate::error::Result;
use crate::frame::{Frame, Memory};
use crate::spec::{Tune, VideoSpec};
use crate::stage::{Outlet, Stage};
use ghoststream_sys::cuda::{Context, Stream};
use ghoststream_sys::ffmpeg as av;
use std::sync::Arc;

/// Frames that may be inside an encoder without a decoder running out of surfaces.
const FEW: u32 = 4;

/// Whether an encoder of `spec` holds so many frames that they must not be the decoder's own.
pub fn holds_many(spec: &VideoSpec) -> bool {
    let quick = matches!(spec.tune, Some(Tune::Ll | Tune::Ull));
    let b_frames = spec.b_frames.unwrap_or(if quick { 0 } else { 3 });
    let filters = ["tune", "tf_level", "rc-lookahead"].iter().any(|name| spec.options.contains_key(*name));
    filters || spec.lookahead.unwrap_or(0) + b_frames > FEW
}

/// Copies CUDA frames on the device, so that a decoder, which has a fixed number of surfaces, gets its own back at once.
/// Output base: the input's.
#[derive(Default)]
pub struct Detach {
    on: Option<(Arc<Context>, Arc<Stream>)>,
    pool: Option<(usize, av::HwFrames)>,
    passes: bool,
}

impl Detach {
    /// The same; frames that cannot be copied are handed on as they are. What the encoder cannot read either, it tells.
    pub fn or_pass(self) -> Self {
        Detach { passes: true, ..self }
    }

    /// A copy of `frame`; `None` where it is in no decoder's pool.
    fn copy(&mut self, frame: &Frame) -> Result<Option<Frame>> {
        let media = frame.media();
        let Some(from) = media.hw_frames().filter(|_| frame.memory() == Memory::Cuda) else {
            return Ok(None);
        };
        if self.on.as_ref().is_none_or(|(context, _)| !media.is_in_cuda(context)) {
            self.on = match media.cuda_home()? {
                Some(context) => Some((context.clone(), Stream::new(&context)?)),
                // Of an application's own context: it is in nobody's pool.
                None => return Ok(None),
            };
        }
        let Some((context, stream)) = &self.on else { return Ok(None) };
        let id = media.pool_id();
        let pool = match self.pool.take().filter(|(known, _)| *known == id) {
            Some((_, pool)) => pool,
            None => {
                let device = av::HwDevice::cuda(context)?;
                device.frames(from.host_format(), media.width(), media.height(), 0)?
            }
        };
        let mut copy = pool.frame()?;
        for (from, mut to) in media.device_planes()?.iter().zip(copy.device_planes_mut()?) {
            stream.copy(from, &mut to)?;
        }
        copy.copy_props(media)?;
        // The decoder writes to its surface in order with the default stream, and so behind this copy.
        self.pool = Some((id, pool));
        Ok(Some(frame.clone().with_media(copy)))
    }
}

impl Stage<Frame, Frame> for Detach {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        match self.copy(&frame) {
            Ok(Some(copy)) => out.emit(copy),
            Ok(None) => out.emit(frame),
            Err(_) if self.passes => out.emit(frame),
            Err(e) => Err(e),
        }
    }

    fn finish(&mut self, _: &mut dyn Outlet<Frame>) -> Result<()> {
        Ok(())
    }
}
