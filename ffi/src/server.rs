//! The server inside a process.

use crate::boundary::{Out, enter, enter_or, handle, owned, text};
use crate::buffer::gs_buffer;
use crate::status::gs_status;
use ghoststream_server::Blocking;
use std::ffi::c_char;

/// The transcoding server inside your process, on threads of its own. Its jobs run in worker processes.
/// Thread: any, also several at once, except gs_server_free.
/// Since: 0
#[allow(non_camel_case_types)]
pub struct gs_server {
    server: Blocking,
}

/// Starts a server. `json` has the sections and keys of ghoststream.yaml, such as {"server": {"port": 0}}; no file and no
/// environment is read, and {} means the defaults. Worker processes are started with transcoding.worker_command, or with
/// the program `ghoststream` on the PATH. The server listens when the call returns.
/// Owns: you get `*server`; gs_server_free it. `json` is not kept.
/// Thread: any.
/// Errors: GS_INVALID naming the setting; GS_BUSY when the port is taken; GS_DENIED and GS_IO for addresses and directories
/// that cannot be used.
/// Since: 0
///
/// # Safety
/// `json` is NULL or a terminated string; `server` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_server_start(json: *const c_char, server: *mut *mut gs_server) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(server, "server") }?;
        // SAFETY: the caller's promise.
        let server = Blocking::from_document(unsafe { text(json, "json") }?, &[])?;
        out.set(owned::give(gs_server { server }));
        Ok(gs_status::GS_OK)
    })
}

/// Where a server listens and what it does, as JSON.
/// Owns: you get `*json`; gs_buffer_unref it.
/// Thread: any.
/// Errors: GS_INVALID for NULL.
/// Since: 0
///
/// # Safety
/// `server` is NULL or a live server; `json` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_server_status(server: *const gs_server, json: *mut *mut gs_buffer) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(json, "json") }?;
        // SAFETY: the caller's promise.
        let status = unsafe { handle(server, "server") }?.server.status();
        out.set(gs_buffer::json(&status)?);
        Ok(gs_status::GS_OK)
    })
}

/// Begins the end of a server and returns at once: it takes no more requests, and jobs that are not done go on when the
/// next server with the same directories starts. A second call does nothing.
/// Owns: nothing.
/// Thread: any.
/// Errors: GS_INVALID for NULL.
/// Since: 0
///
/// # Safety
/// `server` is NULL or a live server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_server_stop(server: *mut gs_server) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        unsafe { handle(server.cast_const(), "server") }?.server.stop();
        Ok(gs_status::GS_OK)
    })
}

/// Ends a server as gs_server_stop does, waits for its threads, some seconds at most, and nulls `*server`.
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
