//! Host pictures on their way to the device: laid out in page-locked memory, copied while the next one is laid out.

use super::pack::{Shape, pack};
use crate::error::{Error, ErrorKind, Result};
use ghoststream_sys::cuda::{Context, InFlight, Layout, PinnedBuffer, Stream};
use ghoststream_sys::ffmpeg as av;
use std::collections::VecDeque;
use std::sync::Arc;

/// Copies that may be under way at once: one that runs, one that waits, one that is laid out.
const RING: usize = 3;

/// Copies pictures of one shape to one device.
pub(super) struct Upload {
    context: Arc<Context>,
    stream: Arc<Stream>,
    shape: Shape,
    frames: av::HwFrames,
    made: usize,
    idle: Vec<PinnedBuffer>,
    flying: VecDeque<InFlight>,
}

impl Upload {
    /// For pictures of `shape`, in order on `stream`.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when FFmpeg has no device frames of the format.
    pub fn new(context: &Arc<Context>, stream: &Arc<Stream>, shape: Shape) -> Result<Upload> {
        let frames = av::HwDevice::cuda(context)?.frames(
            shape.surface.pixel_format(),
            shape.width,
            shape.height,
            0,
        )?;
        Ok(Upload {
            context: context.clone(),
            stream: stream.clone(),
            shape,
            frames,
            made: 0,
            idle: Vec::new(),
            flying: VecDeque::new(),
        })
    }

    /// What it takes.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The picture on the device; the copy is queued on the stream.
    ///
    /// # Errors
    /// [`ErrorKind::Memory`], [`ErrorKind::Device`]; [`ErrorKind::Unsupported`] for another format.
    pub fn send(&mut self, picture: &av::Frame) -> Result<av::Frame> {
        let mut pinned = self.buffer()?;
        pack(picture, &self.shape, pinned.bytes_mut())?;
        let mut frame = self.frames.frame()?;
        let row = self.shape.row_bytes();
        let mut at = 0;
        let parts = frame.each_device_plane_mut()?.map(|plane| {
            let offset = at;
            at += plane.rows() * row;
            (Layout { offset, pitch: row }, plane)
        });
        let flight = self.stream.upload(pinned, parts)?;
        self.flying.push_back(flight);
        Ok(frame)
    }

    fn buffer(&mut self) -> Result<PinnedBuffer> {
        while self.flying.front().is_some_and(|f| f.is_done().unwrap_or(true)) {
            self.land()?;
        }
        if self.idle.is_empty() && self.made >= RING {
            self.land()?;
        }
        if let Some(buffer) = self.idle.pop() {
            return Ok(buffer);
        }
        let buffer = PinnedBuffer::new(&self.context, self.shape.bytes())?;
        self.made += 1;
        Ok(buffer)
    }

    fn land(&mut self) -> Result<()> {
        let flight = self
            .flying
            .pop_front()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "no upload to wait for"))?;
        self.idle.push(flight.wait()?);
        Ok(())
    }
}
