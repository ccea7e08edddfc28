//! Pictures over memory that is used again: `AVBufferPool`.

use super::error::{Error, Result, check};
use super::{Frame, PixelFormat, raw};
use std::ptr::NonNull;

/// Rows and planes begin at multiples of this, which is what the widest instructions want.
const ALIGN: i32 = 64;
/// Instructions may read past the last row.
const BEYOND: usize = 128;

/// Host memory for pictures of one format and size. A picture's memory comes back when its last reference is gone, on
/// whatever thread, so that a stream of pictures touches no new pages; the pool holds as much as was ever out at once.
/// Dropping the pool leaves the pictures that are out as they are. `Send` and `Sync`.
pub struct FramePool {
    raw: NonNull<raw::AVBufferPool>,
    format: PixelFormat,
    width: u32,
    height: u32,
    align: i32,
}

// SAFETY: the pool locks itself, and buffers may come back from any thread.
unsafe impl Send for FramePool {}
// SAFETY: as above.
unsafe impl Sync for FramePool {}

impl FramePool {
    /// A pool for pictures of this format and size; memory is taken when it is needed.
    ///
    /// # Errors
    /// `Invalid` for a format without host memory or a size out of range; `Memory`.
    pub fn new(format: PixelFormat, width: u32, height: u32) -> Result<FramePool> {
        Self::aligned(format, width, height, ALIGN)
    }

    /// As [`FramePool::new`], with pictures without padding: rows follow one another, and planes too.
    ///
    /// # Errors
    /// As [`FramePool::new`].
    pub fn packed(format: PixelFormat, width: u32, height: u32) -> Result<FramePool> {
        Self::aligned(format, width, height, 1)
    }

    fn aligned(format: PixelFormat, width: u32, height: u32, align: i32) -> Result<FramePool> {
        let invalid = || Error::invalid(format!("a pool of {width}x{height} {format} pictures"));
        if format.descriptor().is_none_or(|d| d.is_hardware) {
            return Err(invalid());
        }
        let side = |n: u32| i32::try_from(n).ok().filter(|n| *n > 0).ok_or_else(invalid);
        let (w, h) = (side(width)?, side(height)?);
        // SAFETY: numbers only; the call checks them.
        let size = unsafe { raw::gsav_image_size(format.0, w, h, align) };
        let size = usize::try_from(size).ok().filter(|n| *n > 0).ok_or_else(invalid)?;
        // SAFETY: returns NULL or a pool that we own.
        let pool = unsafe { raw::gsav_pool_new(size + BEYOND) };
        let raw = NonNull::new(pool).ok_or_else(|| Error::memory("allocate a pool of pictures"))?;
        Ok(FramePool { raw, format, width, height, align })
    }

    /// Whether the pool's pictures are such ones.
    pub fn is_for(&self, format: PixelFormat, width: u32, height: u32) -> bool {
        (self.format, self.width, self.height) == (format, width, height)
    }

    /// A writable picture; its pixels are zero or those of an earlier picture of this pool.
    ///
    /// # Errors
    /// `Memory`.
    pub fn get(&self) -> Result<Frame> {
        let frame = Frame::empty()?;
        // SAFETY: a blank frame of ours, a live pool whose buffers are large enough for what they were made for.
        let code = unsafe {
            raw::gsav_pool_get(
                frame.as_ptr(),
                self.raw.as_ptr(),
                self.format.0,
                self.width as i32,
                self.height as i32,
                self.align,
            )
        };
        check(code, "take a picture from the pool")?;
        Ok(frame)
    }
}

impl Drop for FramePool {
    fn drop(&mut self) {
        let mut pool = self.raw.as_ptr();
        // SAFETY: ours, given up once; buffers that are out keep it alive.
        unsafe { raw::av_buffer_pool_uninit(&mut pool) }
    }
}

impl std::fmt::Debug for FramePool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FramePool({}x{} {})", self.width, self.height, self.format)
    }
}
