//! Raw pictures and sound.

use crate::boundary::{
    Out, OutStruct, SizedStruct, counted, enter, enter_or, handle, optional_text, read_struct,
};
use crate::buffer::gs_buffer;
use crate::status::gs_status;
use engine::filter::cuda;
use engine::frame::{ChannelLayout, Colour, ColourRange, CudaPool, Frame, Memory, PixelFormat, SampleFormat};
use engine::time::MICROSECONDS;
use engine::{Error, ErrorKind, Result};
use ghoststream_sys::cuda::Plane;
use ghoststream_sys::ffmpeg as av;
use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A time that is not known.
/// Since: 0
pub const GS_NO_TIME: i64 = i64::MIN;

/// Planes that a gs_frame_info has room for. Sound with more channels in planes of their own is read by gs_frame_data.
/// Since: 0
pub const GS_MAX_PLANES: usize = 8;

/// A raw picture or a run of sound, wherever its memory is. Counted; immutable once it was pushed or referenced, for as
/// long as somebody else may read it (GS_FRAME_WRITABLE).
/// Thread: any, also several at once.
/// Since: 0
#[allow(non_camel_case_types)]
pub struct gs_frame {
    frame: Frame,
}

/// Where a frame's samples are.
/// Since: 0
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[allow(non_camel_case_types)]
pub enum gs_memory {
    /// The CPU's memory.
    GS_MEMORY_HOST = 0,
    /// CUDA device memory: the data pointers are device pointers.
    GS_MEMORY_CUDA = 1,
    /// A DMA-BUF.
    GS_MEMORY_DMABUF = 2,
    /// Another device's surface; gs_frame_download copies it to the host.
    GS_MEMORY_OTHER = 3,
}

/// Flag of gs_frame_options: ask the encoder for a key frame here.
/// Since: 0
pub const GS_FRAME_FORCE_KEY: u32 = 1;

/// Flag of gs_frame_info: it is a picture, else sound.
/// Since: 0
pub const GS_FRAME_VIDEO: u32 = 1;
/// Flag of gs_frame_info: it was coded as a key frame.
/// Since: 0
pub const GS_FRAME_KEY: u32 = 2;
/// Flag of gs_frame_info: it holds two fields.
/// Since: 0
pub const GS_FRAME_INTERLACED: u32 = 4;
/// Flag of gs_frame_info: the top field comes first.
/// Since: 0
pub const GS_FRAME_TOP_FIRST: u32 = 8;
/// Flag of gs_frame_info: decoding found damage.
/// Since: 0
pub const GS_FRAME_CORRUPT: u32 = 16;
/// Flag of gs_frame_info: yours alone now, so that you may write through the data pointers: no other reference to the frame
/// is left, and the engine is done with what was pushed.
/// Since: 0
pub const GS_FRAME_WRITABLE: u32 = 32;

/// What a new frame is. Give `width` and `height` for a picture, `sample_rate`, `channels` and `samples` for sound.
/// Since: 0
#[derive(Clone, Copy)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct gs_frame_options {
    /// sizeof (gs_frame_options).
    pub size: u32,
    /// GS_FRAME_FORCE_KEY or 0.
    pub flags: u32,
    /// FFmpeg's name of the pixel format (`nv12`, `yuv420p`, `bgra`, `p010le`) or sample format (`s16`, `fltp`).
    pub format: *const c_char,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels, in FFmpeg's default layout of that number.
    pub channels: u32,
    /// Samples per channel.
    pub samples: u32,
    /// H.273 code point of the colour primaries (1 = BT.709, 9 = BT.2020); 0 = not said.
    pub primaries: u32,
    /// H.273 code point of the transfer (1 = BT.709, 16 = PQ, 18 = HLG); 0 = not said.
    pub transfer: u32,
    /// H.273 code point of the matrix (1 = BT.709, 6 = BT.601, 9 = BT.2020); 0 = not said.
    pub matrix: u32,
    /// 1 = limited range (16-235), 2 = full range; 0 = not said.
    pub range: u32,
    /// 0.
    pub reserved: u32,
    /// When it is shown, in microseconds, less than 2^62 from 0. GS_NO_TIME places a pushed picture behind the one before it,
    /// by its own `duration` or, where that is 0, by the least time there is; the first needs a time or a duration.
    pub pts: i64,
    /// For how long, in microseconds; 0 = until the next one.
    pub duration: i64,
    /// Where the planes of gs_frame_wrap are: GS_MEMORY_HOST or GS_MEMORY_CUDA. `format` names what the samples are there
    /// too. gs_frame_alloc makes host memory only.
    pub memory: i32,
    /// CUDA's number of the GPU of GS_MEMORY_CUDA planes, which lie in its primary context (that of the CUDA runtime).
    pub device: u32,
}

// SAFETY: repr(C), begins with a u32, integers and a raw pointer.
unsafe impl SizedStruct for gs_frame_options {
    const FIRST: usize = 72;
}

/// One plane of your own memory.
/// Since: 0
#[derive(Clone, Copy)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct gs_plane {
    /// The first byte of the first row.
    pub data: *const u8,
    /// Bytes from one row to the next; 0 = rows follow one another without a gap.
    pub stride: usize,
    /// Bytes from `data` on that may be read; 0 = up to the end of the last row.
    pub bytes: usize,
}

/// Says that the library will not read wrapped memory any more.
/// Owns: gives the memory back.
/// Thread: any, also the engine's; exactly once for each frame that was made.
/// Errors: none; a C++ exception must not leave it.
/// Since: 0
#[allow(non_camel_case_types)]
pub type gs_frame_release = Option<unsafe extern "C" fn(user: *mut c_void)>;

/// What a frame is.
/// Since: 0
#[derive(Clone, Copy)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct gs_frame_info {
    /// sizeof (gs_frame_info); you set it.
    pub size: u32,
    /// GS_FRAME_VIDEO, GS_FRAME_KEY and so on.
    pub flags: u32,
    /// FFmpeg's name of the pixel or sample format; static text.
    pub format: *const c_char,
    /// Where the samples are: a gs_memory.
    pub memory: i32,
    /// Planes; those above GS_MAX_PLANES are not listed here.
    pub plane_count: u32,
    /// Pixels; 0 for sound.
    pub width: u32,
    /// Pixels; 0 for sound.
    pub height: u32,
    /// Samples per second; 0 for pictures.
    pub sample_rate: u32,
    /// Channels; 0 for pictures.
    pub channels: u32,
    /// Samples per channel; 0 for pictures.
    pub samples: u32,
    /// H.273 code point; 2 = unknown.
    pub primaries: u32,
    /// H.273 code point; 2 = unknown.
    pub transfer: u32,
    /// H.273 code point; 2 = unknown.
    pub matrix: u32,
    /// 1 = limited, 2 = full, 0 = unknown.
    pub range: u32,
    /// Width of a pixel in units of `aspect_den`; 1 when unknown.
    pub aspect_num: u32,
    /// Height of a pixel; 1 when unknown.
    pub aspect_den: u32,
    /// 0.
    pub reserved: u32,
    /// When it is shown, in microseconds; GS_NO_TIME when unknown.
    pub pts: i64,
    /// For how long, in microseconds; 0 when unknown.
    pub duration: i64,
    /// The same in ticks of `base_num`/`base_den` seconds, exactly.
    pub pts_ticks: i64,
    /// The same in ticks, exactly.
    pub duration_ticks: i64,
    /// Seconds per tick, numerator.
    pub base_num: i32,
    /// Seconds per tick, denominator.
    pub base_den: i32,
    /// Where each plane begins, in host memory or for GS_MEMORY_CUDA in device memory; NULL when there is no such plane.
    /// For other memory these are FFmpeg's own handles: use gs_frame_download.
    pub data: [*mut u8; GS_MAX_PLANES],
    /// Bytes from one row to the next.
    pub stride: [usize; GS_MAX_PLANES],
    /// Bytes that count in a row (host memory).
    pub row_bytes: [usize; GS_MAX_PLANES],
    /// Rows (host memory); 1 for sound.
    pub rows: [u32; GS_MAX_PLANES],
}

// SAFETY: repr(C), begins with a u32, integers and raw pointers.
unsafe impl SizedStruct for gs_frame_info {
    const FIRST: usize = 336;
}

impl gs_frame {
    pub(crate) fn give(frame: Frame) -> *mut gs_frame {
        counted::give(gs_frame { frame })
    }

    /// # Safety
    /// `frame` is NULL or a live frame.
    pub(crate) unsafe fn take(frame: *const gs_frame) -> Result<Frame> {
        // SAFETY: the caller's promise.
        unsafe { handle(frame, "frame") }.map(|f| f.frame.clone())
    }
}

/// A format's name for C, which needs it terminated. FFmpeg has a few hundred formats; each is kept once.
pub(crate) fn static_name(name: &'static str) -> *const c_char {
    use std::collections::HashMap;
    use std::ffi::CString;
    use std::sync::{Mutex, PoisonError};
    static NAMES: Mutex<Option<HashMap<&'static str, CString>>> = Mutex::new(None);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_with(HashMap::new);
    // The text stays where it is when the map moves its entry.
    names.entry(name).or_insert_with(|| CString::new(name).unwrap_or_default()).as_ptr()
}

/// The parts of the options that every new frame takes over.
fn finish(mut media: av::Frame, options: &gs_frame_options) -> Result<*mut gs_frame> {
    if options.flags & !GS_FRAME_FORCE_KEY != 0 {
        return Err(Error::invalid("options.flags", format!("unknown flags in {:#x}", options.flags)));
    }
    if options.reserved != 0 {
        return Err(Error::invalid("options.reserved", "must be 0"));
    }
    if options.duration < 0 {
        return Err(Error::invalid("options.duration", "must not be negative"));
    }
    let code = |value: u32, name: &str| match value {
        0 => Ok(2),
        1..=255 => Ok(value as u8),
        _ => Err(Error::invalid(format!("options.{name}"), format!("{value} is no H.273 code point"))),
    };
    let colour = Colour {
        primaries: code(options.primaries, "primaries")?,
        transfer: code(options.transfer, "transfer")?,
        matrix: code(options.matrix, "matrix")?,
        range: match options.range {
            0 => ColourRange::Unspecified,
            1 => ColourRange::Limited,
            2 => ColourRange::Full,
            other => return Err(Error::invalid("options.range", format!("{other}; write 0, 1 or 2"))),
        },
        ..Colour::default()
    };
    if options.width > 0 {
        media.set_colour(colour);
    }
    media.set_pts(Some(options.pts));
    media.set_duration(options.duration);
    let mut frame = Frame::new(media, MICROSECONDS);
    frame.force_key = options.flags & GS_FRAME_FORCE_KEY != 0;
    Ok(gs_frame::give(frame))
}

fn pixel_format(options: &gs_frame_options) -> Result<PixelFormat> {
    // SAFETY: the header asks for a terminated string or NULL.
    let name = unsafe { optional_text(options.format, "options.format") }?
        .ok_or_else(|| Error::invalid("options.format", "NULL; name a pixel format such as nv12"))?;
    PixelFormat::from_name(name).filter(|f| !f.is_hardware()).ok_or_else(|| {
        Error::invalid("options.format", format!("{name:?} is no pixel format in host memory"))
    })
}

/// A new frame with host memory of its own: black or silence as bytes of zero. Write to it through the pointers of
/// gs_frame_info before you push it.
/// Owns: you get `*frame`; gs_frame_unref it.
/// Thread: any.
/// Errors: GS_INVALID naming the field; GS_MEMORY.
/// Since: 0
///
/// # Safety
/// `options` is NULL or as long as its `size` says; `frame` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_frame_alloc(
    options: *const gs_frame_options,
    frame: *mut *mut gs_frame,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(frame, "frame") }?;
        // SAFETY: the caller's promise.
        let o = unsafe { read_struct(options, "options") }?;
        if on_cuda(&o)? {
            return Err(Error::unsupported("options.memory: gs_frame_alloc makes host memory only"));
        }
        let media = if o.sample_rate > 0 {
            if o.width > 0 || o.height > 0 {
                return Err(Error::invalid("options", "both a picture and sound"));
            }
            // SAFETY: the header asks for a terminated string or NULL.
            let name = unsafe { optional_text(o.format, "options.format") }?
                .ok_or_else(|| Error::invalid("options.format", "NULL; name a sample format such as fltp"))?;
            let format = SampleFormat::from_name(name)
                .ok_or_else(|| Error::invalid("options.format", format!("{name:?} is no sample format")))?;
            if !(1..=64).contains(&o.channels) {
                return Err(Error::invalid("options.channels", format!("{}; write 1 to 64", o.channels)));
            }
            let layout = ChannelLayout::from_channels(o.channels);
            av::Frame::alloc_audio(format, o.sample_rate, &layout, o.samples as usize)?
        } else {
            av::Frame::alloc_video(pixel_format(&o)?, o.width, o.height, 0)?
        };
        out.set(finish(media, &o)?);
        Ok(gs_status::GS_OK)
    })
}

/// A frame over your own picture, without a copy. The library only reads it, from any thread, until `release` runs; do
/// not change it until then. `planes` has one entry per plane of the format and is not kept.
/// With GS_MEMORY_CUDA the planes' `data` are device pointers; what was queued to write them must be done, or be in the
/// default stream, when this is called. Pictures of three bytes a pixel (rgb24, bgr24) are copied there to ones of four
/// (rgb0, bgr0), and `release` runs before this returns.
/// Owns: you get `*frame`; gs_frame_unref it. Keeps the planes' memory until `release(user)`, which runs once the frame
/// and everything that was made to refer to it (an encoder that it was pushed to) is done with it. When the call fails,
/// nothing is kept and `release` never runs. `release` may be NULL for memory that lives for ever.
/// Thread: any.
/// Errors: GS_INVALID naming the field or plane (too short, stride too small); GS_UNSUPPORTED for sound; GS_MEMORY.
/// Since: 0
///
/// # Safety
/// As the text above says; `options` is as long as its `size` says, `planes` has `plane_count` entries.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_frame_wrap(
    options: *const gs_frame_options,
    planes: *const gs_plane,
    plane_count: usize,
    release: gs_frame_release,
    user: *mut c_void,
    frame: *mut *mut gs_frame,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(frame, "frame") }?;
        // SAFETY: the caller's promise.
        let o = unsafe { read_struct(options, "options") }?;
        if o.sample_rate > 0 {
            return Err(Error::unsupported("sound cannot be wrapped; use gs_frame_alloc"));
        }
        let format = pixel_format(&o)?;
        // SAFETY: the caller's promise.
        unsafe { handle(planes, "planes") }?;
        if plane_count > GS_MAX_PLANES {
            return Err(Error::invalid("plane_count", format!("{plane_count} is more than any format has")));
        }
        // SAFETY: not NULL, and as long as the caller says.
        let planes = unsafe { std::slice::from_raw_parts(planes, plane_count) };
        let planes = planes.iter().enumerate().map(|(i, plane)| resolved(format, &o, i, plane));
        let planes = planes.collect::<Result<Vec<_>>>()?;

        // Only a frame that was made may tell the caller that it is gone.
        let made = Arc::new(AtomicBool::new(false));
        let user = Anywhere(user);
        let armed = made.clone();
        let hand_back: Box<dyn FnOnce() + Send> = Box::new(move || {
            let user = user;
            if let Some(release) = release.filter(|_| armed.load(Ordering::Acquire)) {
                // SAFETY: the caller asked for it, once.
                unsafe { release({ user }.0) }
            }
        });
        let wide = if on_cuda(&o)? { cuda::widened(format) } else { None };
        let media = if let (Some(_), [(start, pitch, _)]) = (wide, &planes[..]) {
            let (rows, bytes) = (o.height as usize, o.width as usize * 3);
            // SAFETY: the caller leaves the memory alone until `release` ran, and that is after the copy.
            let plane = unsafe { Plane::foreign(*start as u64, *pitch, bytes, rows) };
            let media = cuda::widen(o.device, &plane, format, o.width, o.height)?;
            let frame = finish(media, &o)?;
            made.store(true, Ordering::Release);
            out.set(frame);
            hand_back();
            return Ok(gs_status::GS_OK);
        } else if on_cuda(&o)? {
            let pool = CudaPool::of(o.device, format, o.width, o.height)?;
            let foreign: Vec<_> = planes
                .iter()
                .map(|(start, pitch, _)| av::ForeignPlane { address: *start as u64, pitch: *pitch })
                .collect();
            // The next picture of its kind finds the pool while this one lives.
            let keep = pool.clone();
            let hand_back = Box::new(move || {
                hand_back();
                drop(keep);
            });
            // SAFETY: the caller leaves the memory alone until `release` ran.
            unsafe { pool.frames().wrap_cuda(pool.context(), &foreign, false, hand_back) }?
        } else {
            // SAFETY: the caller leaves the memory alone until `release` ran.
            unsafe { av::Frame::wrap_raw(format, o.width, o.height, &planes, false, hand_back) }?
        };
        let frame = finish(media, &o)?;
        made.store(true, Ordering::Release);
        out.set(frame);
        Ok(gs_status::GS_OK)
    })
}

fn on_cuda(options: &gs_frame_options) -> Result<bool> {
    match options.memory {
        m if m == gs_memory::GS_MEMORY_CUDA as i32 => Ok(true),
        m if m == gs_memory::GS_MEMORY_HOST as i32 && options.device == 0 => Ok(false),
        m if m == gs_memory::GS_MEMORY_HOST as i32 => {
            Err(Error::invalid("options.device", "is for GS_MEMORY_CUDA"))
        }
        other => {
            Err(Error::invalid("options.memory", format!("{other}; write GS_MEMORY_HOST or GS_MEMORY_CUDA")))
        }
    }
}

/// A pointer of the host's that the header allows on any thread.
struct Anywhere(*mut c_void);

// SAFETY: the header says that `user` is used on any thread.
unsafe impl Send for Anywhere {}

fn resolved(
    format: PixelFormat,
    options: &gs_frame_options,
    index: usize,
    plane: &gs_plane,
) -> Result<(*mut u8, usize, usize)> {
    let name = format!("planes[{index}]");
    if plane.data.is_null() {
        return Err(Error::invalid(format!("{name}.data"), "NULL"));
    }
    let (rows, row_bytes) = format.plane_layout(options.width, options.height, index).ok_or_else(|| {
        Error::invalid(&name, format!("{}x{} {format} has no such plane", options.width, options.height))
    })?;
    let stride = if plane.stride == 0 { row_bytes } else { plane.stride };
    let needed = stride.checked_mul(rows - 1).and_then(|n| n.checked_add(row_bytes));
    let needed = needed.ok_or_else(|| Error::invalid(format!("{name}.stride"), "too large"))?;
    Ok((plane.data.cast_mut(), stride, if plane.bytes == 0 { needed } else { plane.bytes }))
}

/// What a frame is and where its samples lie.
/// Owns: nothing; the pointers in `info` are valid while the frame is.
/// Thread: any. Whoever writes through the pointers must be alone with the frame.
/// Errors: GS_INVALID.
/// Since: 0
///
/// # Safety
/// `frame` is NULL or a live frame; `info` is NULL or as long as its `size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_frame_get_info(frame: *const gs_frame, info: *mut gs_frame_info) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { OutStruct::new(info, "info") }?;
        // SAFETY: the caller's promise.
        let owner = unsafe { handle(frame, "frame") }?;
        // SAFETY: live.
        let alone = unsafe { counted::is_alone(frame) } && owner.frame.is_writable();
        out.set(&describe(&owner.frame, alone));
        Ok(gs_status::GS_OK)
    })
}

fn describe(frame: &Frame, alone: bool) -> gs_frame_info {
    let media = frame.media();
    let is_video = frame.is_video();
    let flag = |set: bool, flag: u32| if set { flag } else { 0 };
    let colour = media.colour();
    let aspect = frame.video().sample_aspect;
    let pts = frame.presentation();
    let host = frame.memory() == Memory::Host;
    // Device memory has as many planes as it has addresses.
    let device_planes = || (0..GS_MAX_PLANES).take_while(|p| media.data_ptr(*p) != 0).count();
    let count = if host { media.plane_count() } else { device_planes() };
    let mut info = gs_frame_info {
        size: size_of::<gs_frame_info>() as u32,
        flags: flag(is_video, GS_FRAME_VIDEO)
            | flag(media.is_key(), GS_FRAME_KEY)
            | flag(media.is_interlaced(), GS_FRAME_INTERLACED)
            | flag(media.top_field_first(), GS_FRAME_TOP_FIRST)
            | flag(media.is_corrupt(), GS_FRAME_CORRUPT)
            | flag(host && alone, GS_FRAME_WRITABLE),
        format: static_name(if is_video { media.format().name() } else { media.sample_format().name() }),
        memory: match frame.memory() {
            Memory::Host => gs_memory::GS_MEMORY_HOST,
            Memory::Cuda => gs_memory::GS_MEMORY_CUDA,
            Memory::DmaBuf => gs_memory::GS_MEMORY_DMABUF,
            Memory::Device => gs_memory::GS_MEMORY_OTHER,
        } as i32,
        plane_count: count as u32,
        width: media.width(),
        height: media.height(),
        sample_rate: media.sample_rate(),
        channels: media.channel_layout().channels,
        samples: frame.samples(),
        primaries: colour.primaries.into(),
        transfer: colour.transfer.into(),
        matrix: colour.matrix.into(),
        range: match colour.range {
            ColourRange::Unspecified => 0,
            ColourRange::Limited => 1,
            ColourRange::Full => 2,
        },
        aspect_num: aspect.num as u32,
        aspect_den: aspect.den as u32,
        reserved: 0,
        pts: pts.map_or(GS_NO_TIME, |t| t.micros()),
        duration: engine::time::Timestamp::new(frame.duration, frame.base).micros(),
        pts_ticks: frame.pts.unwrap_or(GS_NO_TIME),
        duration_ticks: frame.duration,
        base_num: frame.base.num,
        base_den: frame.base.den,
        data: [std::ptr::null_mut(); GS_MAX_PLANES],
        stride: [0; GS_MAX_PLANES],
        row_bytes: [0; GS_MAX_PLANES],
        rows: [0; GS_MAX_PLANES],
    };
    for plane in 0..count.min(GS_MAX_PLANES) {
        // FFmpeg gave the address out as a number; its memory is not Rust's.
        info.data[plane] = std::ptr::with_exposed_provenance_mut(media.data_ptr(plane));
        info.stride[plane] = if host { media.stride(plane) } else { media.device_stride(plane) };
        info.row_bytes[plane] = media.row_bytes(plane);
        info.rows[plane] = media.plane_height(plane) as u32;
    }
    info
}

/// The bytes of one plane in host memory, from its first row to the last byte that counts of its last.
/// Owns: nothing; `*data` is valid while the frame is.
/// Thread: any.
/// Errors: GS_INVALID for NULL; GS_NOT_FOUND when there is no such plane in host memory.
/// Since: 0
///
/// # Safety
/// `frame` is NULL or a live frame; the others are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_frame_data(
    frame: *const gs_frame,
    plane: u32,
    data: *mut *const u8,
    bytes: *mut usize,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let (data, bytes) = unsafe { (Out::new(data, "data"), Out::new(bytes, "bytes")) };
        let (data, bytes) = (data?, bytes?);
        // SAFETY: the caller's promise.
        let frame = &unsafe { handle(frame, "frame") }?.frame;
        let content = frame.media().plane(plane as usize);
        if content.is_empty() {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("the frame has no plane {plane} in host memory"),
            ));
        }
        data.set(content.as_ptr());
        bytes.set(content.len());
        Ok(gs_status::GS_OK)
    })
}

/// A copy of a picture without padding: rows one after another, planes one after another.
/// Owns: you get `*packed`; gs_buffer_unref it.
/// Thread: any.
/// Errors: GS_INVALID for NULL; GS_UNSUPPORTED for sound and for device memory.
/// Since: 0
///
/// # Safety
/// `frame` is NULL or a live frame; `packed` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_frame_pack(frame: *const gs_frame, packed: *mut *mut gs_buffer) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(packed, "packed") }?;
        // SAFETY: the caller's promise.
        let media = unsafe { handle(frame, "frame") }?.frame.media();
        let size = media.packed_size().filter(|_| !media.is_hardware());
        let size = size.ok_or_else(|| Error::unsupported("only pictures in host memory can be packed"))?;
        let mut content = vec![0; size];
        let written = media.copy_to_packed(&mut content)?;
        content.truncate(written);
        out.set(gs_buffer::bytes(content.into()));
        Ok(gs_status::GS_OK)
    })
}

/// A copy in host memory of a frame on a device; another reference to a frame that is in host memory already.
/// Owns: you get `*host`; gs_frame_unref it.
/// Thread: any.
/// Errors: GS_INVALID for NULL; GS_DEVICE, GS_UNSUPPORTED or GS_MEMORY when the device cannot.
/// Since: 0
///
/// # Safety
/// `frame` is NULL or a live frame; `host` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_frame_download(frame: *mut gs_frame, host: *mut *mut gs_frame) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(host, "host") }?;
        // SAFETY: the caller's promise.
        let from = &unsafe { handle(frame, "frame") }?.frame;
        if from.memory() == Memory::Host {
            // SAFETY: live.
            out.set(unsafe { counted::more(frame) });
        } else {
            let mut copy = Frame::new(from.media().transfer_to_host()?, from.base);
            (copy.pts, copy.duration, copy.force_key) = (from.pts, from.duration, from.force_key);
            out.set(gs_frame::give(copy));
        }
        Ok(gs_status::GS_OK)
    })
}

/// One more owner of a frame.
/// Owns: you get `*same`, which is `frame`; gs_frame_unref each.
/// Thread: any.
/// Errors: GS_INVALID for NULL.
/// Since: 0
///
/// # Safety
/// `frame` is NULL or a live frame; `same` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_frame_ref(frame: *mut gs_frame, same: *mut *mut gs_frame) -> gs_status {
    // SAFETY: the caller's promise.
    enter(|| unsafe { crate::boundary::reference(frame, same, "frame") })
}

/// Gives up a frame and nulls `*frame`. Its memory goes with the last reference, yours or the engine's.
/// Owns: takes `*frame`.
/// Thread: any.
/// Errors: none; NULL and a nulled `*frame` do nothing.
/// Since: 0
///
/// # Safety
/// `frame` is NULL or points to NULL or to a frame of the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_frame_unref(frame: *mut *mut gs_frame) {
    // SAFETY: the caller's promise.
    enter_or((), || unsafe { counted::release(frame) });
}
