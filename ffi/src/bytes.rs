//! A file that the application has: in memory, or behind a function that reads it at any place.

use crate::boundary::{SizedStruct, optional_text, read_struct};
use engine::source::{Content, ReadAt};
use engine::spec::{SourceSpec, parse_json};
use engine::{Error, Result};
use std::ffi::{c_char, c_void};
use std::io;

/// `EIO`.
const EIO: i32 = 5;

/// Reads bytes of a gs_bytes for the library: puts up to `bytes` that begin at `offset` into `buffer`. Fewer than were
/// asked for are no end; 0 is.
/// Owns: nothing; `buffer` is the library's, for this call.
/// Thread: the library's, one call at a time for each gs_bytes that was passed in; never after `release` ran. It may block,
/// which gs_capture_interrupt does not end, and must not call a function on the capture that it reads for.
/// Errors: a negative errno (-EIO) says that the bytes cannot be had; the call that needed them answers GS_IO.
/// Since: 0
#[allow(non_camel_case_types)]
pub type gs_bytes_read =
    Option<unsafe extern "C" fn(user: *mut c_void, offset: u64, buffer: *mut u8, bytes: usize) -> i64>;

/// Says that the library is done with the bytes.
/// Owns: gives them back.
/// Thread: any, also the library's; exactly once for each call that gave GS_OK.
/// Errors: none; a C++ exception must not leave it.
/// Since: 0
#[allow(non_camel_case_types)]
pub type gs_bytes_release = Option<unsafe extern "C" fn(user: *mut c_void)>;

/// A whole file that you have, for gs_capture_open_bytes and gs_probe_bytes: either `data` or `read`.
/// Since: 0
#[derive(Clone, Copy)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct gs_bytes {
    /// sizeof (gs_bytes).
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// How many bytes the file has.
    pub length: u64,
    /// All of them, in memory that stays as it is until `release` ran; it is not copied. NULL with `read`.
    pub data: *const u8,
    /// Gives them piece by piece; NULL with `data`.
    pub read: gs_bytes_read,
    /// For `read` and `release`.
    pub user: *mut c_void,
    /// Runs when the library is done with them; may be NULL.
    pub release: gs_bytes_release,
}

// SAFETY: repr(C), begins with a u32, integers, raw pointers and functions that may be NULL.
unsafe impl SizedStruct for gs_bytes {
    const FIRST: usize = 48;
}

/// The bytes of a caller until the last that reads them is gone.
struct Lent {
    bytes: gs_bytes,
    /// The call that they came with succeeded, so that the caller waits to hear of their end.
    kept: bool,
}

// SAFETY: the header says on which threads `data` is read and `read`, `release` and `user` are used.
unsafe impl Send for Lent {}
// SAFETY: as above; `read` is called from one thread at a time.
unsafe impl Sync for Lent {}

/// Shared by the content and by the call, which may still fail.
struct Shared(std::sync::Arc<std::sync::Mutex<Lent>>);

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(release) = self.bytes.release.filter(|_| self.kept) {
            // SAFETY: the caller asked for it, once.
            unsafe { release(self.bytes.user) }
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Lent> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl ReadAt for Shared {
    fn size(&self) -> u64 {
        self.lock().bytes.length
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let lent = self.lock();
        let b = &lent.bytes;
        let left = b.length.saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if len == 0 {
            return Ok(0);
        }
        let Some(read) = b.read else {
            // SAFETY: `length` bytes are at `data` until `release` ran, and these are within them.
            let from = unsafe { std::slice::from_raw_parts(b.data.add(offset as usize), len) };
            buffer[..len].copy_from_slice(from);
            return Ok(len);
        };
        // SAFETY: `len` bytes are writable there; the rest is the caller's promise.
        let got = unsafe { read(b.user, offset, buffer.as_mut_ptr(), len) };
        if got < 0 {
            let errno = i32::try_from(-got).unwrap_or(EIO);
            return Err(io::Error::other(format!("bytes.read: {}", io::Error::from_raw_os_error(errno))));
        }
        usize::try_from(got).ok().filter(|got| *got <= len).ok_or_else(|| {
            io::Error::other(format!("bytes.read: gave {got} bytes where {len} were asked for"))
        })
    }
}

/// Bytes as functions take them, and what reading them says afterwards.
pub(crate) struct Taken(Shared);

impl Taken {
    /// # Safety
    /// `bytes` is NULL or as long as its `size` says; its fields are as the header says.
    pub unsafe fn new(bytes: *const gs_bytes) -> Result<Taken> {
        // SAFETY: the caller's promise.
        let bytes = unsafe { read_struct(bytes, "bytes") }?;
        if bytes.reserved != 0 {
            return Err(Error::invalid("bytes.reserved", "must be 0"));
        }
        match (bytes.data.is_null(), bytes.read.is_none()) {
            (true, true) => return Err(Error::invalid("bytes", "neither data nor read")),
            (false, false) => return Err(Error::invalid("bytes", "both data and read")),
            _ => {}
        }
        if !bytes.data.is_null() && isize::try_from(bytes.length).is_err() {
            return Err(Error::invalid("bytes.length", format!("{} bytes are in no memory", bytes.length)));
        }
        Ok(Taken(Shared(std::sync::Arc::new(std::sync::Mutex::new(Lent { bytes, kept: false })))))
    }

    pub fn content(&self) -> Content {
        Content::new(Shared(self.0.0.clone()))
    }

    /// The call succeeded: `release` runs when nobody reads any more.
    pub fn keep(self) {
        self.0.lock().kept = true;
    }
}

/// The `source` object beside bytes: NULL, or how they are read.
///
/// # Safety
/// `text` is NULL or a terminated string.
pub(crate) unsafe fn source(text: *const c_char) -> Result<SourceSpec> {
    // SAFETY: the caller's promise.
    match unsafe { optional_text(text, "source") }? {
        None => parse_json("{}"),
        Some(text) => parse_json(text).map_err(|e| e.context("source")),
    }
}
