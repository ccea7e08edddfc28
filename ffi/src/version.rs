//! What library this is.

use crate::abi::GS_ABI_VERSION;
use crate::boundary::{Out, enter};
use crate::buffer::gs_buffer;
use crate::status::gs_status;
use std::ffi::{CStr, c_char};

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"",
};

/// The library's version (`0.1.0`).
/// Owns: nothing; the text is static.
/// Thread: any.
/// Errors: none; never NULL.
/// Since: 0
#[unsafe(no_mangle)]
pub extern "C" fn gs_version() -> *const c_char {
    VERSION.as_ptr()
}

/// The ABI of the library that is loaded; compare it with GS_ABI_VERSION of the header that you compiled against.
/// Owns: nothing.
/// Thread: any.
/// Errors: none.
/// Since: 0
#[unsafe(no_mangle)]
pub extern "C" fn gs_abi_version() -> u32 {
    GS_ABI_VERSION
}

/// The JSON Schema (draft 2020-12) of the document that gs_pipeline_new takes.
/// Owns: you get `*schema`; gs_buffer_unref it.
/// Thread: any.
/// Errors: GS_INVALID for NULL.
/// Since: 0
///
/// # Safety
/// `schema` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_spec_schema(schema: *mut *mut gs_buffer) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(schema, "schema") }?;
        out.set(gs_buffer::text(engine::spec::schema()));
        Ok(gs_status::GS_OK)
    })
}
