//! The server inside a process. The symbols exist in every build; this one answers that it cannot.

use crate::boundary::{Out, enter, enter_or, handle, owned, text};
use crate::buffer::gs_buffer;
use crate::status::gs_status;
use engine::{Error, Result};
use std::ffi::c_char;

/// The HTTP server inside your process. No build has it yet: gs_server_start answers GS_UNSUPPORTED.
/// Thread: any, also several at once, except gs_server_free.
/// Since: 0
#[allow(non_camel_case_types)]
pub struct gs_server {
    /// No value of this type exists until a build has a server.
    never: std::convert::Infallible,
}

fn absent() -> Result<gs_status> {
    Err(Error::unsupported("this build has no server"))
}

/// Starts a server from its JSON document.
/// Owns: you get `*server`; gs_server_free it.
/// Thread: any.
/// Errors: GS_UNSUPPORTED in this version; GS_INVALID for NULL.
/// Since: 0
///
/// # Safety
/// `json` is NULL or a terminated string; `server` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_server_start(json: *const c_char, server: *mut *mut gs_server) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let _out = unsafe { Out::new(server, "server") }?;
        // SAFETY: the caller's promise.
        unsafe { text(json, "json") }?;
        absent()
    })
}

/// Where a server listens and what it does, as JSON.
/// Owns: you get `*json`; gs_buffer_unref it.
/// Thread: any.
/// Errors: GS_INVALID for NULL; GS_UNSUPPORTED in this version.
/// Since: 0
///
/// # Safety
/// `server` is NULL or a live server; `json` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_server_status(server: *const gs_server, json: *mut *mut gs_buffer) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let _out = unsafe { Out::new(json, "json") }?;
        // SAFETY: the caller's promise.
        match unsafe { handle(server, "server") }?.never {}
    })
}

/// Ends a server once its jobs are done; returns at once.
/// Owns: nothing.
/// Thread: any.
/// Errors: GS_INVALID for NULL; GS_UNSUPPORTED in this version.
/// Since: 0
///
/// # Safety
/// `server` is NULL or a live server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_server_stop(server: *mut gs_server) -> gs_status {
    // SAFETY: the caller's promise.
    enter(|| match unsafe { handle(server, "server") }?.never {})
}

/// Ends a server at once, waits for its threads and nulls `*server`.
/// Owns: takes `*server`.
/// Thread: any, while no other call uses the server.
/// Errors: none; NULL and a nulled `*server` do nothing.
/// Since: 0
///
/// # Safety
/// `server` is NULL or points to NULL or to a server of the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_server_free(server: *mut *mut gs_server) {
    // SAFETY: the caller's promise.
    enter_or((), || unsafe { owned::release(server) });
}
