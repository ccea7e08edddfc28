//! Bytes and texts that the library gives away.

use crate::boundary::{Out, counted, enter, enter_or, text};
use crate::status::gs_status;
use bytes::Bytes;
use engine::{Error, ErrorKind, Result};
use serde::Serialize;
use std::ffi::c_char;

/// Bytes that you own: a JSON document, extradata, a segment. Counted; immutable.
/// Thread: any, also several at once.
/// Since: 0
#[allow(non_camel_case_types)]
pub struct gs_buffer {
    /// For a text, with the zero byte that ends it.
    data: Bytes,
    is_text: bool,
}

impl gs_buffer {
    pub(crate) fn text(text: String) -> *mut gs_buffer {
        let mut data = text.into_bytes();
        data.push(0);
        counted::give(gs_buffer { data: data.into(), is_text: true })
    }

    pub(crate) fn json(value: &impl Serialize) -> Result<*mut gs_buffer> {
        let text = serde_json::to_string(value)
            .map_err(|e| Error::with_source(ErrorKind::Internal, format!("cannot write JSON: {e}"), e))?;
        Ok(gs_buffer::text(text))
    }

    pub(crate) fn bytes(data: Bytes) -> *mut gs_buffer {
        counted::give(gs_buffer { data, is_text: false })
    }
}

/// The bytes of a buffer.
/// Owns: nothing; valid while the buffer is.
/// Thread: any.
/// Errors: NULL for NULL.
/// Since: 0
///
/// # Safety
/// `buffer` is NULL or a live buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_buffer_data(buffer: *const gs_buffer) -> *const u8 {
    // SAFETY: the caller's promise.
    enter_or(std::ptr::null(), || unsafe { buffer.as_ref() }.map_or(std::ptr::null(), |b| b.data.as_ptr()))
}

/// The number of bytes in a buffer, without the zero byte that ends a text.
/// Owns: nothing.
/// Thread: any.
/// Errors: 0 for NULL.
/// Since: 0
///
/// # Safety
/// `buffer` is NULL or a live buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_buffer_size(buffer: *const gs_buffer) -> usize {
    // SAFETY: the caller's promise.
    enter_or(0, || unsafe { buffer.as_ref() }.map_or(0, |b| b.data.len() - usize::from(b.is_text)))
}

/// The terminated UTF-8 text of a buffer that holds one (every JSON document does).
/// Owns: nothing; valid while the buffer is.
/// Thread: any.
/// Errors: NULL for NULL and for a buffer of bytes.
/// Since: 0
///
/// # Safety
/// `buffer` is NULL or a live buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_buffer_text(buffer: *const gs_buffer) -> *const c_char {
    enter_or(std::ptr::null(), || {
        // SAFETY: the caller's promise.
        let text = unsafe { buffer.as_ref() }.filter(|b| b.is_text);
        text.map_or(std::ptr::null(), |b| b.data.as_ptr().cast())
    })
}

/// One more owner of a buffer.
/// Owns: you get `*same`, which is `buffer`; gs_buffer_unref each.
/// Thread: any.
/// Errors: GS_INVALID for NULL.
/// Since: 0
///
/// # Safety
/// `buffer` is NULL or a live buffer; `same` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_buffer_ref(buffer: *mut gs_buffer, same: *mut *mut gs_buffer) -> gs_status {
    // SAFETY: the caller's promise.
    enter(|| unsafe { crate::boundary::reference(buffer, same, "buffer") })
}

/// Gives up a buffer and nulls `*buffer`.
/// Owns: takes `*buffer`.
/// Thread: any.
/// Errors: none; NULL and a nulled `*buffer` do nothing.
/// Since: 0
///
/// # Safety
/// `buffer` is NULL or points to NULL or to a buffer of the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_buffer_unref(buffer: *mut *mut gs_buffer) {
    // SAFETY: the caller's promise.
    enter_or((), || unsafe { counted::release(buffer) });
}

/// A text as a JSON string, with its quotes: for putting file names into documents.
/// Owns: you get `*quoted`; gs_buffer_unref it.
/// Thread: any.
/// Errors: GS_INVALID for NULL and for text that is not UTF-8.
/// Since: 0
///
/// # Safety
/// `plain` is NULL or a terminated string; `quoted` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_json_quote(plain: *const c_char, quoted: *mut *mut gs_buffer) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(quoted, "quoted") }?;
        // SAFETY: the caller's promise.
        out.set(gs_buffer::json(&unsafe { text(plain, "plain") }?)?);
        Ok(gs_status::GS_OK)
    })
}
