//! Counted references: `AVBufferRef`.

use super::raw;
use std::ptr::NonNull;

/// One reference to a counted buffer (packet payloads, device and frame-pool contexts).
pub(crate) struct BufferRef(NonNull<raw::AVBufferRef>);

// SAFETY: counts are atomic; what is behind the reference is only passed back to FFmpeg, which locks it where needed.
unsafe impl Send for BufferRef {}
// SAFETY: as above.
unsafe impl Sync for BufferRef {}

impl BufferRef {
    /// Takes over a reference; `None` for NULL.
    ///
    /// # Safety
    /// `buffer` is NULL or a reference that the caller gives away.
    pub unsafe fn from_raw(buffer: *mut raw::AVBufferRef) -> Option<BufferRef> {
        NonNull::new(buffer).map(BufferRef)
    }

    pub fn as_ptr(&self) -> *mut raw::AVBufferRef {
        self.0.as_ptr()
    }

    pub fn try_clone(&self) -> Option<BufferRef> {
        // SAFETY: a live reference; returns NULL or a new one that is ours.
        unsafe { BufferRef::from_raw(raw::av_buffer_ref(self.0.as_ptr())) }
    }
}

impl Drop for BufferRef {
    fn drop(&mut self) {
        let mut buffer = self.0.as_ptr();
        // SAFETY: ours; given up once.
        unsafe { raw::av_buffer_unref(&mut buffer) }
    }
}
