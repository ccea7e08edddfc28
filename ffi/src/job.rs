//! A running job.

use crate::boundary::{Nothing, Out, enter, enter_or, handle, not_now, owned, text, timeout};
use crate::buffer::gs_buffer;
use crate::event::{self, gs_event, gs_state};
use crate::frame::gs_frame;
use crate::packet::gs_packet;
use crate::status::gs_status;
use engine::event::Wakeup;
use engine::job::{Change, Job, Taken};
use engine::packet::StreamInfo;
use engine::{Error, ErrorKind, Result};
use serde_json::json;
use std::ffi::{c_char, c_void};
use std::time::Duration;

/// A running job, made by gs_pipeline_start.
/// Thread: any, also several at once, except gs_job_free.
/// Since: 0
#[allow(non_camel_case_types)]
pub struct gs_job {
    pub(crate) job: Job,
}

/// Says that a job's events went from none to some. It must return quickly (set a flag, write to a pipe, post to a
/// loop) and call nothing of this library.
/// Owns: nothing.
/// Thread: once the thread that registers it, then the engine's; never two at once.
/// Errors: none; a C++ exception must not leave it.
/// Since: 0
#[allow(non_camel_case_types)]
pub type gs_wakeup = Option<unsafe extern "C" fn(user: *mut c_void)>;

impl Nothing for i32 {
    const NOTHING: i32 = 0;
}

/// # Safety
/// `job` is NULL or a live job.
unsafe fn job<'a>(job: *const gs_job) -> Result<&'a Job> {
    // SAFETY: the caller's promise.
    unsafe { handle(job, "job") }.map(|j| &j.job)
}

/// The number that identifies a job in the log.
/// Owns: nothing.
/// Thread: any.
/// Errors: 0 for NULL.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_id(job: *const gs_job) -> u64 {
    // SAFETY: the caller's promise.
    enter_or(0, || unsafe { job.as_ref() }.map_or(0, |j| j.job.id()))
}

/// The next event, as numbers and as JSON; either place may be NULL.
/// Owns: you get `*json`; gs_buffer_unref it.
/// Thread: any.
/// Errors: GS_AGAIN, GS_TIMEOUT; GS_END after the DONE event; GS_INVALID. A job's failure is no error of this call: it
/// is in the DONE event.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job; `event` is NULL or as long as its `size` says; `json` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_next_event(
    job: *mut gs_job,
    timeout_us: i64,
    event: *mut gs_event,
    json: *mut *mut gs_buffer,
) -> gs_status {
    // SAFETY: the caller's promise.
    enter(|| unsafe { event::next(self::job(job), timeout_us, event, json) })
}

/// Sets the callback that runs once now and whenever the events go from none to some; NULL removes it. When it returns,
/// the one before is idle for good.
/// Owns: keeps `wakeup` and `user` until the next call or gs_job_free.
/// Thread: any, but not from inside the callback, which would wait for itself.
/// Errors: GS_INVALID.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job; `wakeup` is NULL or may be called on any thread with `user` until it is replaced.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_set_wakeup(
    job: *mut gs_job,
    wakeup: gs_wakeup,
    user: *mut c_void,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let job = unsafe { self::job(job) }?;
        job.set_wakeup(wakeup.map(|wakeup| {
            let user = Anywhere(user);
            Box::new(move || {
                let user = &user;
                // SAFETY: the caller allows it on any thread until it is replaced.
                unsafe { wakeup(user.0) }
            }) as Wakeup
        }));
        Ok(gs_status::GS_OK)
    })
}

/// A pointer of the host's that the header allows on any thread.
struct Anywhere(*mut c_void);

// SAFETY: the header says that `user` is used on any thread.
unsafe impl Send for Anywhere {}

/// The state now, as a gs_state.
/// Owns: nothing.
/// Thread: any.
/// Errors: GS_INVALID.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job; `state` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_get_state(job: *const gs_job, state: *mut i32) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(state, "state") }?;
        // SAFETY: the caller's promise.
        out.set(gs_state::from(unsafe { self::job(job) }?.state()) as i32);
        Ok(gs_status::GS_OK)
    })
}

/// A snapshot as JSON: state, progress, every stage with its queue and drops, every track.
/// Owns: you get `*json`; gs_buffer_unref it.
/// Thread: any.
/// Errors: GS_INVALID.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job; `json` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_stats(job: *const gs_job, json: *mut *mut gs_buffer) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(json, "json") }?;
        // SAFETY: the caller's promise.
        out.set(gs_buffer::json(&unsafe { self::job(job) }?.stats())?);
        Ok(gs_status::GS_OK)
    })
}

/// Changes a running encoder: `{"output": 0, "rung": 1, "bitrate": "2M", "max_bitrate": "3M", "key_frame": true}`. The
/// change reaches it with its next frame. An encoder that several outputs share changes for all of them.
/// Owns: nothing.
/// Thread: any.
/// Errors: GS_INVALID naming the field; GS_STATE before the plan is known and after the end; GS_NOT_FOUND for an output
/// or rung that does not exist; GS_UNSUPPORTED for a copied track, and for another size where the container says it once. An
/// encoder that cannot do it says so in a WARNING event.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job; `json` is NULL or a terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_set(job: *mut gs_job, json: *const c_char) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let (job, json) = unsafe { (self::job(job)?, text(json, "json")?) };
        let change: Change = engine::spec::parse_json(json)?;
        job.set(&change)?;
        Ok(gs_status::GS_OK)
    })
}

/// Halts reading; what is inside goes on to the outputs. What a screen or a camera shows meanwhile is left out of them.
/// Owns: nothing.
/// Thread: any.
/// Errors: GS_STATE unless the job is running; GS_INVALID.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_pause(job: *mut gs_job) -> gs_status {
    // SAFETY: the caller's promise.
    enter(|| unsafe { self::job(job) }?.pause().map(|()| gs_status::GS_OK))
}

/// Continues after gs_job_pause, with a key frame where video of a live source is encoded; nothing happens to a job that is not
/// paused.
/// Owns: nothing.
/// Thread: any.
/// Errors: GS_STATE unless the job is running or paused; GS_INVALID.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_resume(job: *mut gs_job) -> gs_status {
    // SAFETY: the caller's promise.
    enter(|| unsafe { self::job(job) }?.resume().map(|()| gs_status::GS_OK))
}

/// Lets output `output` (with `split` in the document) go on in a new file, which begins with the next key frame; one is
/// asked for. Returns at once; the file that ends is told by a SAVED event.
/// Owns: nothing.
/// Thread: any.
/// Errors: GS_STATE unless the job is running or paused; GS_NOT_FOUND for an output that does not exist; GS_UNSUPPORTED
/// for one without `split`; GS_INVALID.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_split(job: *mut gs_job, output: u32) -> gs_status {
    // SAFETY: the caller's promise.
    enter(|| unsafe { self::job(job) }?.split(output as usize).map(|()| gs_status::GS_OK))
}

/// Saves the last `seconds` of output `output` (with `replay` in the document), from the key frame before; 0 = all that it
/// keeps. Returns at once: the file is written while the job goes on, and told by a SAVED event; a save that fails is
/// told by a WARNING event with the code `save`.
/// Owns: nothing.
/// Thread: any.
/// Errors: GS_STATE unless the job is running or paused; GS_NOT_FOUND for an output that does not exist; GS_UNSUPPORTED
/// for one without `replay`; GS_INVALID, also for `seconds` below 0.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_save(job: *mut gs_job, output: u32, seconds: f64) -> gs_status {
    let wanted = (seconds != 0.0).then_some(seconds);
    // SAFETY: the caller's promise.
    enter(|| unsafe { self::job(job) }?.save(output as usize, wanted).map(|()| gs_status::GS_OK))
}

/// Reads no more, finishes every output with what was read, and ends. Returns at once; wait with gs_job_wait.
/// Owns: nothing.
/// Thread: any.
/// Errors: GS_INVALID. Nothing happens to a job that is over.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_stop(job: *mut gs_job) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        unsafe { self::job(job) }?.stop();
        Ok(gs_status::GS_OK)
    })
}

/// Ends at once; half-written outputs are removed unless the document keeps them. Returns at once. Calls that wait in
/// other threads return.
/// Owns: nothing.
/// Thread: any.
/// Errors: GS_INVALID. Nothing happens to a job that is over.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_cancel(job: *mut gs_job) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        unsafe { self::job(job) }?.cancel();
        Ok(gs_status::GS_OK)
    })
}

/// Waits for the end. GS_OK when the job completed or was stopped; the failure's status, with its message in
/// gs_last_error, when it failed; GS_CANCELLED when it was cancelled. May be called again. Events can be taken during and
/// after it.
/// Owns: nothing.
/// Thread: any.
/// Errors: GS_AGAIN, GS_TIMEOUT; GS_INVALID; the job's failure.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_wait(job: *mut gs_job, timeout_us: i64) -> gs_status {
    enter(|| {
        let wait = timeout(timeout_us);
        // SAFETY: the caller's promise.
        match unsafe { self::job(job) }?.wait(wait)? {
            Some(done) => done.into_result().map(|_| gs_status::GS_OK),
            None => Ok(not_now(wait)),
        }
    })
}

/// Cancels the job if it still runs, waits for its threads and nulls `*job`.
/// Owns: takes `*job`.
/// Thread: any, while no other call uses the job.
/// Errors: none; NULL and a nulled `*job` do nothing.
/// Since: 0
///
/// # Safety
/// `job` is NULL or points to NULL or to a job of the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_free(job: *mut *mut gs_job) {
    // SAFETY: the caller's promise.
    enter_or((), || unsafe { owned::release(job) });
}

/// Feeds a `bytes` source, waiting while its buffer is full. `*written` (which may be NULL) is how many bytes were taken:
/// all with GS_OK, fewer with GS_AGAIN and GS_TIMEOUT; go on with the rest.
/// Owns: nothing; the bytes are copied.
/// Thread: any; order is yours to keep.
/// Errors: GS_AGAIN, GS_TIMEOUT when not all were taken in time; GS_STATE for another kind of source, after
/// gs_job_finish_input and after the end; GS_INVALID.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job; `data` is NULL or has `bytes` bytes; `written` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_write(
    job: *mut gs_job,
    data: *const u8,
    bytes: usize,
    timeout_us: i64,
    written: *mut usize,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::optional(written) };
        // SAFETY: the caller's promise.
        let job = unsafe { self::job(job) }?;
        if data.is_null() && bytes > 0 {
            return Err(Error::invalid("data", "NULL"));
        }
        if bytes > isize::MAX as usize {
            return Err(Error::invalid("bytes", format!("{bytes} is more than memory holds")));
        }
        let data = if bytes == 0 {
            &[]
        } else {
            // SAFETY: not NULL; as long as the caller says.
            unsafe { std::slice::from_raw_parts(data, bytes) }
        };
        let wait = timeout(timeout_us);
        let taken = job.write_within(data, wait)?;
        if let Some(out) = out {
            out.set(taken);
        }
        Ok(if taken == bytes { gs_status::GS_OK } else { not_now(wait) })
    })
}

/// Feeds a `frames` source, waiting while its queue is full (a live one drops the oldest of its kind instead, which a WARNING
/// tells once of pictures and once of sound).
/// Pictures come in the order of their times: one that does not come after the one before it is moved behind that, which a
/// warning tells once, or fails the job where its document has `fallback: false`.
/// Owns: nothing; the engine takes a reference of its own, and the pixels are not copied. You may unref the frame at once.
/// Thread: any; order is yours to keep.
/// Errors: GS_AGAIN, GS_TIMEOUT when there was no room in time; GS_STATE for another kind of source, after
/// gs_job_finish_input and after the end; GS_INVALID, also for a `pts` of 2^62 microseconds or more.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job; `frame` is NULL or a live frame.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_push_frame(
    job: *mut gs_job,
    frame: *const gs_frame,
    timeout_us: i64,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let (job, frame) = unsafe { (self::job(job)?, gs_frame::take(frame)?) };
        push(job, frame, timeout(timeout_us))
    })
}

pub(crate) fn push(job: &Job, frame: engine::frame::Frame, wait: Option<Duration>) -> Result<gs_status> {
    match job.push_frame_within(frame, wait) {
        Ok(()) => Ok(gs_status::GS_OK),
        Err(e) if e.kind() == ErrorKind::Busy => Ok(not_now(wait)),
        Err(e) => Err(e),
    }
}

/// Says that a `bytes` or `frames` source has ended; the job finishes what it has. Nothing happens for other sources and
/// the second time.
/// Owns: nothing.
/// Thread: any.
/// Errors: GS_INVALID.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_finish_input(job: *mut gs_job) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        unsafe { self::job(job) }?.finish_input();
        Ok(gs_status::GS_OK)
    })
}

/// The next packet of a packet output.
/// Owns: you get `*packet`; gs_packet_unref it.
/// Thread: any.
/// Errors: GS_AGAIN, GS_TIMEOUT; GS_END when there will be no more, and the job's failure instead when that is why;
/// GS_NOT_FOUND for an output that gives no packets; GS_INVALID.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job; `packet` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_next_packet(
    job: *mut gs_job,
    output: u32,
    timeout_us: i64,
    packet: *mut *mut gs_packet,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(packet, "packet") }?;
        // SAFETY: the caller's promise.
        next_packet(unsafe { self::job(job) }?, output as usize, timeout(timeout_us), out)
    })
}

pub(crate) fn next_packet(
    job: &Job,
    output: usize,
    wait: Option<Duration>,
    out: Out<*mut gs_packet>,
) -> Result<gs_status> {
    match job.next_packet(output, wait)? {
        Taken::Item(packet) => {
            out.set(gs_packet::give(packet));
            Ok(gs_status::GS_OK)
        }
        Taken::Timeout => Ok(not_now(wait)),
        Taken::End => end(job, wait),
    }
}

/// How long an end waits for the job's own, which tells whether it was a failure. It comes a moment later, unless other
/// outputs go on, perhaps until this caller takes from them.
const GRACE: Duration = Duration::from_secs(1);

/// Why there is no more: the job's failure if it failed.
fn end(job: &Job, wait: Option<Duration>) -> Result<gs_status> {
    match job.wait(Some(wait.map_or(GRACE, |w| w.min(GRACE))))? {
        Some(done) => done.into_result().map(|_| gs_status::GS_END),
        None if wait.is_some_and(|w| w < GRACE) => Ok(not_now(wait)),
        None => Ok(gs_status::GS_END),
    }
}

/// The streams of a packet output as a JSON array, once its encoders are open: index, kind, codec, time_base, width, ...
/// They open with their first frames: where you feed the source, push those before you wait, or give a time-out.
/// Owns: you get `*json`; gs_buffer_unref it.
/// Thread: any.
/// Errors: GS_AGAIN, GS_TIMEOUT when they are not known yet; the job's failure; GS_NOT_FOUND for an output that gives no
/// packets; GS_INVALID.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job; `json` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_stream_info(
    job: *mut gs_job,
    output: u32,
    timeout_us: i64,
    json: *mut *mut gs_buffer,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(json, "json") }?;
        // SAFETY: the caller's promise.
        stream_info(unsafe { self::job(job) }?, output as usize, timeout(timeout_us), out)
    })
}

pub(crate) fn stream_info(
    job: &Job,
    output: usize,
    wait: Option<Duration>,
    out: Out<*mut gs_buffer>,
) -> Result<gs_status> {
    let Some(streams) = job.streams(output, wait)? else { return Ok(not_now(wait)) };
    let streams: Vec<_> = streams.iter().enumerate().map(|(i, s)| crate::stream::describe(i, s)).collect();
    out.set(gs_buffer::json(&streams)?);
    Ok(gs_status::GS_OK)
}

/// The extradata (avcC, hvcC, av1C, AudioSpecificConfig, ...) of one stream of a packet output; empty when its packets
/// carry everything themselves. It waits as gs_job_stream_info does.
/// Owns: you get `*extradata`; gs_buffer_unref it.
/// Thread: any.
/// Errors: as gs_job_stream_info, and GS_NOT_FOUND for a stream that does not exist.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job; `extradata` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_extradata(
    job: *mut gs_job,
    output: u32,
    stream: u32,
    timeout_us: i64,
    extradata: *mut *mut gs_buffer,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(extradata, "extradata") }?;
        // SAFETY: the caller's promise.
        let job = unsafe { self::job(job) }?;
        self::extradata(job, output as usize, stream as usize, timeout(timeout_us), out)
    })
}

pub(crate) fn extradata(
    job: &Job,
    output: usize,
    stream: usize,
    wait: Option<Duration>,
    out: Out<*mut gs_buffer>,
) -> Result<gs_status> {
    let Some(streams) = job.streams(output, wait)? else { return Ok(not_now(wait)) };
    let found: Option<&StreamInfo> = streams.get(stream);
    let found = found
        .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("output {output} has no stream {stream}")))?;
    out.set(gs_buffer::bytes(found.extradata.clone()));
    Ok(gs_status::GS_OK)
}

/// The next finished segment, initialisation section or playlist of an output with `"segments": true`. `*json` is
/// `{"name": "v0/seg-1.m4s", "start": 0.0, "duration": 4.0}` and may be NULL; `*data` is the whole object.
/// Owns: you get `*json` and `*data`; gs_buffer_unref them.
/// Thread: any.
/// Errors: GS_AGAIN, GS_TIMEOUT; GS_END when there will be no more, and the job's failure instead when that is why;
/// GS_NOT_FOUND for an output that gives no segments; GS_INVALID.
/// Since: 0
///
/// # Safety
/// `job` is NULL or a live job; `json` and `data` are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_job_next_segment(
    job: *mut gs_job,
    output: u32,
    timeout_us: i64,
    json: *mut *mut gs_buffer,
    data: *mut *mut gs_buffer,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let (json, data) = unsafe { (Out::optional(json), Out::new(data, "data")) };
        let data = data?;
        // SAFETY: the caller's promise.
        let job = unsafe { self::job(job) }?;
        let wait = timeout(timeout_us);
        match job.next_segment(output as usize, wait)? {
            Taken::Item(segment) => {
                if let Some(json) = json {
                    json.set(gs_buffer::json(&json!({
                        "name": segment.name,
                        "start": segment.start,
                        "duration": segment.duration,
                    }))?);
                }
                data.set(gs_buffer::bytes(segment.data));
                Ok(gs_status::GS_OK)
            }
            Taken::Timeout => Ok(not_now(wait)),
            Taken::End => end(job, wait),
        }
    })
}
