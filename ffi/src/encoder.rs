//! Frames in, packets out: a job with a `frames` source and a `packets` output underneath.

use crate::boundary::{
    Out, SizedStruct, enter, enter_or, handle, optional_text, owned, read_struct, text, timeout,
};
use crate::buffer::gs_buffer;
use crate::event::{self, gs_event};
use crate::frame::{gs_frame, gs_memory};
use crate::job;
use crate::packet::gs_packet;
use crate::status::gs_status;
use engine::job::{Change, Job};
use engine::pipeline::Pipeline;
use engine::spec::{
    AudioChoice, BitstreamFormat, FrameRate, FramesSpec, OutputSpec, PacketsSpec, PipelineSpec, RawMemory,
    RawVideoSpec, SourceSpec, SubtitleChoice, VideoChoice, VideoSpec, parse_json,
};
use engine::time::Rational;
use engine::{Error, Result};
use serde_json::{Map, Value, json};
use std::ffi::c_char;

/// An encoder: frames in, packets out, on threads of its own. For files, ladders and sound use a pipeline.
/// Thread: any, also several at once, except gs_encoder_free. Typically one thread pushes and the same or another takes.
/// Since: 0
#[allow(non_camel_case_types)]
pub struct gs_encoder {
    job: Job,
}

/// Flag of gs_encoder_options: length-prefixed packets with the parameter sets in the extradata (avcC, hvcC; for MP4)
/// instead of Annex B.
/// Since: 0
pub const GS_ENCODER_LENGTH_PREFIXED: u32 = 1;
/// Flag of gs_encoder_options: when the frame queue is full, drop the oldest waiting frame and count it, instead of
/// waiting. A WARNING event tells it once.
/// Since: 0
pub const GS_ENCODER_LIVE: u32 = 2;
/// Flag of gs_encoder_options: fail instead of falling back to another encoder.
/// Since: 0
pub const GS_ENCODER_NO_FALLBACK: u32 = 4;

/// How to encode. Everything but `size`, `width`, `height`, `format` and `rate_num` may be 0.
/// Since: 0
#[derive(Clone, Copy)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct gs_encoder_options {
    /// sizeof (gs_encoder_options).
    pub size: u32,
    /// GS_ENCODER_LENGTH_PREFIXED and so on.
    pub flags: u32,
    /// Pixels of the frames, and of what is encoded. A frame of another size is scaled to it.
    pub width: u32,
    /// Pixels of the frames, and of what is encoded.
    pub height: u32,
    /// FFmpeg's name of the frames' pixel format (`nv12`, `yuv420p`, `bgra`, `p010le`). A frame of another format is taken and
    /// converted, which costs time.
    pub format: *const c_char,
    /// Nominal frames per second, numerator. When a frame is shown is said by the frame.
    pub rate_num: u32,
    /// Nominal frames per second, denominator; 0 = 1.
    pub rate_den: u32,
    /// `h264` (default), `hevc`, `av1`, `vp9`.
    pub codec: *const c_char,
    /// `auto` (default: a real probe decides), `nvenc` or FFmpeg's name of an encoder (`libx264`).
    pub encoder: *const c_char,
    /// `p1` (fastest) to `p7` (best); default `p4`.
    pub preset: *const c_char,
    /// `hq` (default), `ll` (low latency), `ull` (a packet for every frame at once), `lossless`.
    pub tune: *const c_char,
    /// Profile by its usual name (`baseline`, `main`, `high`, `main10`).
    pub profile: *const c_char,
    /// Average bits per second; 0 = constant quality.
    pub bitrate: u64,
    /// Peak bits per second; 0 = not limited.
    pub max_bitrate: u64,
    /// Constant quality on the encoder's scale; 0 = its default. For a real 0 use `json`.
    pub crf: f64,
    /// Frames from one key frame to the next at most; 0 = the encoder's default.
    pub gop: u32,
    /// B-frames between references; 0 = the encoder's default, -1 = none.
    pub b_frames: i32,
    /// Encoder threads; 0 = chosen from the cores.
    pub threads: u32,
    /// Frames that may wait before a push waits (or drops, with GS_ENCODER_LIVE); 0 = 4.
    pub frame_queue: u32,
    /// Packets that may wait before the encoder waits; 0 = as many as there are.
    pub packet_queue: u32,
    /// 0.
    pub reserved: u32,
    /// Everything else, as a `video` object of the document (`{"lookahead": 20, "options": {"x264-params": "..."}}`), or
    /// NULL. A field that is given here as well is an error.
    pub json: *const c_char,
    /// Where the frames are: GS_MEMORY_HOST, or GS_MEMORY_CUDA for frames of gs_frame_wrap with that memory.
    pub memory: i32,
    /// 0.
    pub reserved2: u32,
}

// SAFETY: repr(C), begins with a u32, numbers and raw pointers.
unsafe impl SizedStruct for gs_encoder_options {
    const FIRST: usize = 128;
}

/// The `video` object that the options and their document make together.
fn video_spec(o: &gs_encoder_options) -> Result<VideoSpec> {
    // SAFETY: the header asks for terminated strings or NULL.
    let word = |text: *const c_char, name: &str| unsafe { optional_text(text, &format!("options.{name}")) };
    let mut all: Map<String, Value> = match word(o.json, "json")? {
        Some(text) => parse_json(text).map_err(|e| e.context("options.json"))?,
        None => Map::new(),
    };
    let mut put = |name: &str, value: Option<Value>| match value {
        Some(value) => match all.insert(name.to_owned(), value) {
            Some(_) => Err(Error::invalid(format!("options.{name}"), "given in options.json too")),
            None => Ok(()),
        },
        None => Ok(()),
    };
    for (name, text) in [
        ("codec", o.codec),
        ("encoder", o.encoder),
        ("preset", o.preset),
        ("tune", o.tune),
        ("profile", o.profile),
    ] {
        put(name, word(text, name)?.map(Value::from))?;
    }
    put("bitrate", (o.bitrate > 0).then(|| json!(o.bitrate)))?;
    put("max_bitrate", (o.max_bitrate > 0).then(|| json!(o.max_bitrate)))?;
    if !o.crf.is_finite() || o.crf < 0.0 {
        return Err(Error::invalid("options.crf", format!("{} is no quality", o.crf)));
    }
    put("crf", (o.crf > 0.0).then(|| json!(o.crf)))?;
    put("gop", (o.gop > 0).then(|| json!(o.gop)))?;
    match o.b_frames {
        0 => {}
        -1 => put("b_frames", Some(json!(0)))?,
        n if n > 0 => put("b_frames", Some(json!(n)))?,
        n => return Err(Error::invalid("options.b_frames", format!("{n}; write -1 for none"))),
    }
    put("threads", (o.threads > 0).then(|| json!(o.threads)))?;
    if !all.contains_key("codec") && !all.contains_key("encoder") {
        all.insert("codec".into(), json!("h264"));
    }
    let text = Value::Object(all).to_string();
    parse_json::<VideoSpec>(&text).map_err(|e| e.context("options"))
}

fn pipeline(o: &gs_encoder_options) -> Result<Pipeline> {
    const KNOWN: u32 = GS_ENCODER_LENGTH_PREFIXED | GS_ENCODER_LIVE | GS_ENCODER_NO_FALLBACK;
    if o.flags & !KNOWN != 0 {
        return Err(Error::invalid("options.flags", format!("unknown flags in {:#x}", o.flags)));
    }
    if o.reserved != 0 || o.reserved2 != 0 {
        return Err(Error::invalid("options.reserved", "must be 0"));
    }
    // SAFETY: the header asks for a terminated string or NULL.
    let format = unsafe { optional_text(o.format, "options.format") }?
        .ok_or_else(|| Error::invalid("options.format", "NULL; name the frames' pixel format"))?;
    let rate = i32::try_from(o.rate_num).ok().zip(i32::try_from(o.rate_den.max(1)).ok());
    let rate =
        rate.map(|(num, den)| Rational::new(num, den)).filter(|r| r.is_positive() && r.as_f64() <= 1000.0);
    let rate = rate.ok_or_else(|| {
        Error::invalid("options.rate_num", format!("{}/{} is no frame rate", o.rate_num, o.rate_den.max(1)))
    })?;
    let source = SourceSpec::frames(FramesSpec {
        video: Some(RawVideoSpec {
            width: o.width,
            height: o.height,
            format: format.to_owned(),
            frame_rate: FrameRate(rate),
            colour: None,
            hdr: None,
            memory: match o.memory {
                m if m == gs_memory::GS_MEMORY_HOST as i32 => RawMemory::Host,
                m if m == gs_memory::GS_MEMORY_CUDA as i32 => RawMemory::Cuda,
                other => {
                    let message = format!("{other}; frames are pushed in GS_MEMORY_HOST or GS_MEMORY_CUDA");
                    return Err(Error::invalid("options.memory", message));
                }
            },
        }),
        audio: None,
        queue: o.frame_queue,
        live: o.flags & GS_ENCODER_LIVE != 0,
    });
    let mut output = OutputSpec::packets(PacketsSpec {
        format: match o.flags & GS_ENCODER_LENGTH_PREFIXED {
            0 => BitstreamFormat::AnnexB,
            _ => BitstreamFormat::LengthPrefixed,
        },
        // A caller that pushes everything before it takes anything must not wait for itself.
        queue: if o.packet_queue == 0 { u32::MAX } else { o.packet_queue },
        ..PacketsSpec::default()
    });
    output.video = VideoChoice::Track(Box::new(video_spec(o)?));
    output.audio = AudioChoice::None;
    output.subtitles = SubtitleChoice::None;
    let mut spec = PipelineSpec::new(source, vec![output]);
    spec.fallback = o.flags & GS_ENCODER_NO_FALLBACK == 0;
    spec.threads = o.threads;
    // The application decides when there is a frame.
    spec.stall_timeout = 0.0;
    spec.name = Some("encoder".into());
    Pipeline::from_spec(spec)
}

/// # Safety
/// `encoder` is NULL or a live encoder.
unsafe fn job<'a>(encoder: *const gs_encoder) -> Result<&'a Job> {
    // SAFETY: the caller's promise.
    unsafe { handle(encoder, "encoder") }.map(|e| &e.job)
}

/// Makes an encoder. It opens with the first frame that is pushed: before that there are no packets, no stream and no
/// extradata, and calls that wait for them without a limit wait for ever unless another thread pushes. What only opening it can
/// tell (no such encoder here) is the failure of the first call that waits for it: gs_encoder_next_packet,
/// gs_encoder_stream_info or gs_encoder_extradata.
/// Owns: you get `*encoder`; gs_encoder_free it. Nothing in `options` is kept.
/// Thread: any.
/// Errors: GS_INVALID naming the field; GS_MEMORY.
/// Since: 0
///
/// # Safety
/// `options` is NULL or as long as its `size` says, with terminated strings; `encoder` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_encoder_open(
    options: *const gs_encoder_options,
    encoder: *mut *mut gs_encoder,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(encoder, "encoder") }?;
        // SAFETY: the caller's promise.
        let pipeline = pipeline(&unsafe { read_struct(options, "options") }?)?;
        out.set(owned::give(gs_encoder { job: pipeline.start().job()? }));
        Ok(gs_status::GS_OK)
    })
}

/// Gives a picture to the encoder, waiting while its queue is full. Pictures come in the order of their times: one that does
/// not come after the one before it is moved behind that, which a warning tells once. A picture of another size or format than
/// gs_encoder_options says is taken too, and converted to that without a warning.
/// Owns: nothing; the encoder takes a reference of its own, and the pixels are not copied. You may unref the frame at once.
/// Thread: any; order is yours to keep.
/// Errors: GS_AGAIN, GS_TIMEOUT when there was no room in time; GS_STATE after gs_encoder_finish and after a failure
/// (gs_encoder_next_packet says which); GS_INVALID, also for a `pts` of 2^62 microseconds or more.
/// Since: 0
///
/// # Safety
/// `encoder` is NULL or a live encoder; `frame` is NULL or a live frame.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_encoder_push_frame(
    encoder: *mut gs_encoder,
    frame: *const gs_frame,
    timeout_us: i64,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let (job, frame) = unsafe { (job(encoder)?, gs_frame::take(frame)?) };
        job::push(job, frame, timeout(timeout_us))
    })
}

/// Says that there will be no more frames: what is inside comes out as packets, then gs_encoder_next_packet says GS_END.
/// Owns: nothing.
/// Thread: any.
/// Errors: GS_INVALID. The second time does nothing.
/// Since: 0
///
/// # Safety
/// `encoder` is NULL or a live encoder.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_encoder_finish(encoder: *mut gs_encoder) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        unsafe { job(encoder) }?.finish_input();
        Ok(gs_status::GS_OK)
    })
}

/// The next packet, in decode order. An encoder holds frames back (lookahead, B-frames) unless it is tuned not to: poll
/// (timeout 0) between pushes, wait (timeout -1) after gs_encoder_finish. Without a frame there is none to wait for.
/// Owns: you get `*packet`; gs_packet_unref it.
/// Thread: any.
/// Errors: GS_AGAIN, GS_TIMEOUT; GS_END after the last packet; the encoder's failure; GS_INVALID.
/// Since: 0
///
/// # Safety
/// `encoder` is NULL or a live encoder; `packet` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_encoder_next_packet(
    encoder: *mut gs_encoder,
    timeout_us: i64,
    packet: *mut *mut gs_packet,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(packet, "packet") }?;
        // SAFETY: the caller's promise.
        job::next_packet(unsafe { job(encoder) }?, 0, timeout(timeout_us), out)
    })
}

/// The next event of an encoder (a WARNING for a fallback, DONE at the end); either place may be NULL. Taking them is
/// optional.
/// Owns: you get `*json`; gs_buffer_unref it.
/// Thread: any.
/// Errors: GS_AGAIN, GS_TIMEOUT; GS_END after the DONE event; GS_INVALID.
/// Since: 0
///
/// # Safety
/// `encoder` is NULL or a live encoder; `event` is NULL or as long as its `size` says; `json` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_encoder_next_event(
    encoder: *mut gs_encoder,
    timeout_us: i64,
    event: *mut gs_event,
    json: *mut *mut gs_buffer,
) -> gs_status {
    // SAFETY: the caller's promise.
    enter(|| unsafe { event::next(job(encoder), timeout_us, event, json) })
}

/// Changes the encoder: `{"bitrate": "2M", "max_bitrate": "3M", "key_frame": true}`, from its next frame on, which may be its
/// first.
/// Owns: nothing.
/// Thread: any.
/// Errors: GS_INVALID naming the field; GS_STATE while its threads start, for a moment after gs_encoder_open, and after the
/// end. An encoder that cannot do it says so in a WARNING event.
/// Since: 0
///
/// # Safety
/// `encoder` is NULL or a live encoder; `json` is NULL or a terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_encoder_set(encoder: *mut gs_encoder, json: *const c_char) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let (job, json) = unsafe { (job(encoder)?, text(json, "json")?) };
        let change: Change = parse_json(json)?;
        job.set(&change)?;
        Ok(gs_status::GS_OK)
    })
}

/// A snapshot as JSON: frames in and packets out, drops, times, queues.
/// Owns: you get `*json`; gs_buffer_unref it.
/// Thread: any.
/// Errors: GS_INVALID.
/// Since: 0
///
/// # Safety
/// `encoder` is NULL or a live encoder; `json` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_encoder_stats(
    encoder: *const gs_encoder,
    json: *mut *mut gs_buffer,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(json, "json") }?;
        // SAFETY: the caller's promise.
        out.set(gs_buffer::json(&unsafe { job(encoder) }?.stats())?);
        Ok(gs_status::GS_OK)
    })
}

/// The stream that the packets make, as a JSON array of one, once the encoder is open: codec, profile, time_base, ... It
/// opens with the first frame: push that before you wait, or give a time-out.
/// Owns: you get `*json`; gs_buffer_unref it.
/// Thread: any.
/// Errors: GS_AGAIN, GS_TIMEOUT when it is not open yet; the encoder's failure; GS_INVALID.
/// Since: 0
///
/// # Safety
/// `encoder` is NULL or a live encoder; `json` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_encoder_stream_info(
    encoder: *mut gs_encoder,
    timeout_us: i64,
    json: *mut *mut gs_buffer,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(json, "json") }?;
        // SAFETY: the caller's promise.
        job::stream_info(unsafe { job(encoder) }?, 0, timeout(timeout_us), out)
    })
}

/// The stream's extradata (avcC, hvcC, av1C, ...) once the encoder is open. It opens with the first frame: push that before
/// you wait, or give a time-out.
/// Owns: you get `*extradata`; gs_buffer_unref it.
/// Thread: any.
/// Errors: GS_AGAIN, GS_TIMEOUT when it is not open yet; the encoder's failure; GS_INVALID.
/// Since: 0
///
/// # Safety
/// `encoder` is NULL or a live encoder; `extradata` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_encoder_extradata(
    encoder: *mut gs_encoder,
    timeout_us: i64,
    extradata: *mut *mut gs_buffer,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(extradata, "extradata") }?;
        // SAFETY: the caller's promise.
        job::extradata(unsafe { job(encoder) }?, 0, 0, timeout(timeout_us), out)
    })
}

/// Ends an encoder at once, dropping what is inside, waits for its threads and nulls `*encoder`.
/// Owns: takes `*encoder`.
/// Thread: any, while no other call uses the encoder.
/// Errors: none; NULL and a nulled `*encoder` do nothing.
/// Since: 0
///
/// # Safety
/// `encoder` is NULL or points to NULL or to an encoder of the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_encoder_free(encoder: *mut *mut gs_encoder) {
    // SAFETY: the caller's promise.
    enter_or((), || unsafe { owned::release(encoder) });
}
