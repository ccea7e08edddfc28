//! A checked document, inert until it is started.

use crate::boundary::{Out, enter, enter_or, handle, owned, text};
use crate::buffer::gs_buffer;
use crate::job::gs_job;
use crate::status::gs_status;
use engine::Error;
use engine::pipeline::Pipeline;
use std::ffi::c_char;

/// A checked document: one source and what is made of it. It does nothing until it is started, and can be started more
/// than once.
/// Thread: any, also several at once, except gs_pipeline_free.
/// Since: 0
#[allow(non_camel_case_types)]
pub struct gs_pipeline {
    pipeline: Pipeline,
}

/// Checks a document (gs_spec_schema has its form). Opens nothing.
/// Owns: you get `*pipeline`; gs_pipeline_free it. `json` is not kept.
/// Thread: any.
/// Errors: GS_INVALID naming the field (`outputs[0].video.bitrate: ...`), also for unknown keys, and for a `packets` source:
/// its streams can be described from Rust only.
/// Since: 0
///
/// # Safety
/// `json` is NULL or a terminated string; `pipeline` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_pipeline_new(json: *const c_char, pipeline: *mut *mut gs_pipeline) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(pipeline, "pipeline") }?;
        // SAFETY: the caller's promise.
        let pipeline = Pipeline::from_json(unsafe { text(json, "json") }?)?;
        // A job of it could only fail.
        if pipeline.spec().source.packets.is_some() {
            return Err(Error::invalid("source.packets", "its streams can be described from Rust only"));
        }
        out.set(owned::give(gs_pipeline { pipeline }));
        Ok(gs_status::GS_OK)
    })
}

/// What would be done and why, as JSON: opens and reads the start of the source, writes nothing. Blocks meanwhile.
/// Owns: you get `*json`; gs_buffer_unref it.
/// Thread: any.
/// Errors: GS_INVALID; whatever opening the source and deciding can fail with, naming the file or field.
/// Since: 0
///
/// # Safety
/// `pipeline` is NULL or a live pipeline; `json` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_pipeline_plan(
    pipeline: *const gs_pipeline,
    json: *mut *mut gs_buffer,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(json, "json") }?;
        // SAFETY: the caller's promise.
        let pipeline = &unsafe { handle(pipeline, "pipeline") }?.pipeline;
        out.set(gs_buffer::json(&pipeline.plan()?)?);
        Ok(gs_status::GS_OK)
    })
}

/// Starts a job on threads of its own and returns at once. A source that cannot be opened is the job's failure, in its
/// DONE event.
/// Owns: you get `*job`; gs_job_free it. The pipeline stays yours and may be freed at once.
/// Thread: any.
/// Errors: GS_INVALID; GS_MEMORY when the system gives no thread.
/// Since: 0
///
/// # Safety
/// `pipeline` is NULL or a live pipeline; `job` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_pipeline_start(pipeline: *const gs_pipeline, job: *mut *mut gs_job) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(job, "job") }?;
        // SAFETY: the caller's promise.
        let pipeline = &unsafe { handle(pipeline, "pipeline") }?.pipeline;
        let job = pipeline.clone().start().job()?;
        out.set(owned::give(gs_job { job }));
        Ok(gs_status::GS_OK)
    })
}

/// Gives up a pipeline and nulls `*pipeline`. Jobs that it started go on.
/// Owns: takes `*pipeline`.
/// Thread: any, while no other call uses the pipeline.
/// Errors: none; NULL and a nulled `*pipeline` do nothing.
/// Since: 0
///
/// # Safety
/// `pipeline` is NULL or points to NULL or to a pipeline of the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_pipeline_free(pipeline: *mut *mut gs_pipeline) {
    // SAFETY: the caller's promise.
    enter_or((), || unsafe { owned::release(pipeline) });
}
