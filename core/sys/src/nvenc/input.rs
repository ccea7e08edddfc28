//! The encoder's own buffers for pictures in host memory.

use super::config::{EncodeConfig, Surface};
use super::error::{Error, Result};
use super::layout::{CreateInput, LockInput, Plain};
use super::library::Structure;
use super::session::call;
use super::shared::{Handle, Shared, lock};
use crate::ffmpeg::Frame;
use std::sync::Arc;

/// A buffer of the encoder's, to fill from host memory and submit. Dropped without being submitted, it is free for the
/// next. `Send`.
pub struct InputBuffer {
    shared: Arc<Shared>,
    handle: Option<Handle>,
    surface: Surface,
    /// Of the pictures; buffers are as large as the encoder's largest picture.
    width: u32,
    height: u32,
    /// Rows that the buffer has.
    rows: u32,
    pitch: u32,
}

/// A plane in host memory.
struct Rows<'a> {
    from: &'a [u8],
    stride: usize,
    rows: usize,
    bytes: usize,
}

/// Drivers of all ages have taken buffers of such sizes.
const ALIGN: u32 = 32;

impl InputBuffer {
    pub(super) fn take(shared: &Arc<Shared>, config: &EncodeConfig) -> Result<InputBuffer> {
        let (max_w, max_h) = config.max_size.unwrap_or((config.width, config.height));
        let (w, rows) = (max_w.next_multiple_of(ALIGN), max_h.next_multiple_of(ALIGN));
        let free = { shared.state().free_buffers.pop() };
        let handle = match free {
            Some(handle) => handle,
            None => {
                let _current = shared.encoder.context().enter()?;
                let mut create = CreateInput::zeroed();
                create.version = shared.encoder.api().of(Structure::CreateInput);
                (create.width, create.height) = (w, rows);
                create.bufferFmt = config.surface.number(false);
                call!(shared.encoder, nvEncCreateInputBuffer(&mut create), "make an input buffer")?;
                let handle = Handle(create.inputBuffer);
                lock(&shared.buffers).push(handle);
                handle
            }
        };
        Ok(InputBuffer {
            shared: shared.clone(),
            handle: Some(handle),
            surface: config.surface,
            width: config.width,
            height: config.height,
            rows,
            pitch: 0,
        })
    }

    pub(super) fn belongs_to(&self, shared: &Arc<Shared>, config: &EncodeConfig) -> bool {
        Arc::ptr_eq(&self.shared, shared) && (self.width, self.height) == (config.width, config.height)
    }

    /// The handle and pitch, for submission.
    pub(super) fn into_handle(mut self) -> (Handle, u32) {
        (self.handle.take().unwrap_or(Handle(std::ptr::null_mut())), self.pitch)
    }

    /// Copies a picture of the configuration's format and size in.
    ///
    /// # Errors
    /// `Invalid` for another picture, or one that is not in host memory; what the driver says.
    pub fn fill(&mut self, frame: &Frame) -> Result<()> {
        let format = frame.format();
        let fits = (frame.width(), frame.height()) == (self.width, self.height);
        if Surface::of(format) != Some(self.surface) || !fits || frame.is_hardware() {
            return Err(Error::invalid(format!(
                "a {}x{} {format} picture for an input buffer of {}x{} {}",
                frame.width(),
                frame.height(),
                self.width,
                self.height,
                self.surface.name()
            )));
        }
        self.write(|i| Rows {
            from: frame.plane(i),
            stride: frame.stride(i),
            rows: frame.plane_height(i),
            bytes: frame.row_bytes(i),
        })
    }

    /// As [`InputBuffer::fill`], from `bytes` that have the surface's planes one after another, all with rows of
    /// `row_bytes` and nothing between them; not for surfaces with narrower planes.
    ///
    /// # Errors
    /// As there.
    pub fn fill_packed(&mut self, bytes: &[u8], row_bytes: usize) -> Result<()> {
        let luma = self.height as usize;
        let rows = match self.surface {
            Surface::Nv12 | Surface::P010 => [luma, luma.div_ceil(2), 0],
            Surface::Nv16 | Surface::P210 => [luma, luma, 0],
            Surface::Yuv444p | Surface::Yuv444p16 => [luma; 3],
            Surface::Yuv420p => return Err(Error::invalid("a planar 4:2:0 picture has rows of two lengths")),
        };
        let all = rows.iter().sum::<usize>() * row_bytes;
        if row_bytes == 0 || bytes.len() < all {
            return Err(Error::invalid(format!("a picture of {} bytes, {all} are due", bytes.len())));
        }
        self.write(|i| {
            let start = rows[..i].iter().sum::<usize>() * row_bytes;
            Rows { from: &bytes[start..], stride: row_bytes, rows: rows[i], bytes: row_bytes }
        })
    }

    fn write<'a>(&mut self, plane: impl Fn(usize) -> Rows<'a>) -> Result<()> {
        let Some(handle) = self.handle else { return Err(Error::invalid("an input buffer that is gone")) };
        let _current = self.shared.encoder.context().enter()?;
        let mut locked = LockInput::zeroed();
        locked.version = self.shared.encoder.api().of(Structure::LockInput);
        locked.inputBuffer = handle.0;
        call!(self.shared.encoder, nvEncLockInputBuffer(&mut locked), "write an input buffer")?;
        self.pitch = locked.pitch;
        let start = locked.bufferDataPtr.cast::<u8>();
        let copied = self.copy(plane, start, locked.pitch as usize);
        let unlocked =
            call!(self.shared.encoder, nvEncUnlockInputBuffer(handle.0), "give an input buffer back");
        copied.and(unlocked)
    }

    fn copy<'a>(&self, plane: impl Fn(usize) -> Rows<'a>, start: *mut u8, pitch: usize) -> Result<()> {
        if start.is_null() {
            return Err(Error::invalid("the driver gave no memory to write a picture to"));
        }
        let planes = self.surface.planes(pitch, self.rows as usize, false);
        for (i, (offset, pitch)) in planes.into_iter().take(self.surface.plane_count()).enumerate() {
            let Rows { from, stride, rows, bytes } = plane(i);
            if bytes > pitch || from.is_empty() {
                return Err(Error::invalid(format!(
                    "rows of {bytes} bytes do not fit in the encoder's of {pitch}"
                )));
            }
            for (row, from) in from.chunks(stride).take(rows).enumerate() {
                let Some(from) = from.get(..bytes) else {
                    return Err(Error::invalid("a picture without all of its rows"));
                };
                // SAFETY: the locked buffer has the planes of `rows` rows with this pitch; the row lies in its plane.
                unsafe {
                    start.add(offset + row * pitch).copy_from_nonoverlapping(from.as_ptr(), bytes);
                }
            }
        }
        Ok(())
    }
}

impl Drop for InputBuffer {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.shared.state().free_buffers.push(handle);
        }
    }
}

impl std::fmt::Debug for InputBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InputBuffer({}x{} {})", self.width, self.height, self.surface.name())
    }
}
