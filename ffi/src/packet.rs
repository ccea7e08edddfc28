//! Coded media.

use crate::boundary::{OutStruct, SizedStruct, counted, enter, enter_or, handle};
use crate::frame::GS_NO_TIME;
use crate::status::gs_status;
use engine::packet::{Packet, PictureType};
use engine::time::Timestamp;

/// A coded picture, or a piece of coded sound or text. Counted; immutable.
/// Thread: any, also several at once.
/// Since: 0
#[allow(non_camel_case_types)]
pub struct gs_packet {
    packet: Packet,
}

/// Flag of gs_packet_info: decoding can start here.
/// Since: 0
pub const GS_PACKET_KEY: u32 = 1;

/// A picture that is predicted from nothing.
/// Since: 0
pub const GS_PICTURE_I: u32 = 1;
/// A picture that is predicted from pictures before it.
/// Since: 0
pub const GS_PICTURE_P: u32 = 2;
/// A picture that is predicted from pictures before and behind it.
/// Since: 0
pub const GS_PICTURE_B: u32 = 3;

/// What a packet is.
/// Since: 0
#[derive(Clone, Copy)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct gs_packet_info {
    /// sizeof (gs_packet_info); you set it.
    pub size: u32,
    /// GS_PACKET_KEY or 0.
    pub flags: u32,
    /// The payload.
    pub data: *const u8,
    /// Bytes of payload.
    pub bytes: usize,
    /// When it is shown, in microseconds; GS_NO_TIME when unknown.
    pub pts: i64,
    /// When it is decoded, in microseconds; GS_NO_TIME when unknown.
    pub dts: i64,
    /// How long it lasts, in microseconds; 0 when unknown.
    pub duration: i64,
    /// `pts` in ticks of `base_num`/`base_den` seconds, exactly.
    pub pts_ticks: i64,
    /// `dts` in ticks, exactly.
    pub dts_ticks: i64,
    /// `duration` in ticks, exactly.
    pub duration_ticks: i64,
    /// Seconds per tick, numerator.
    pub base_num: i32,
    /// Seconds per tick, denominator.
    pub base_den: i32,
    /// Index of its stream.
    pub stream: u32,
    /// 0.
    pub reserved: u32,
    /// From what the job's encoder predicted the picture: GS_PICTURE_…; 0 where it does not say.
    pub picture: u32,
    /// The picture's quantiser on average, in the codec's own scale; below 0 where the encoder does not say.
    pub qp: f32,
    /// How long the GPU had the picture, in nanoseconds; 0 where the encoder does not say.
    pub gpu_time: u64,
}

// SAFETY: repr(C), begins with a u32, numbers and a raw pointer.
unsafe impl SizedStruct for gs_packet_info {
    const FIRST: usize = 88;
}

impl gs_packet {
    pub(crate) fn give(packet: Packet) -> *mut gs_packet {
        counted::give(gs_packet { packet })
    }
}

/// What a packet is and where its bytes lie.
/// Owns: nothing; `info->data` is valid while the packet is.
/// Thread: any.
/// Errors: GS_INVALID.
/// Since: 0
///
/// # Safety
/// `packet` is NULL or a live packet; `info` is NULL or as long as its `size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_packet_get_info(
    packet: *const gs_packet,
    info: *mut gs_packet_info,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { OutStruct::new(info, "info") }?;
        // SAFETY: the caller's promise.
        let p = &unsafe { handle(packet, "packet") }?.packet;
        out.set(&gs_packet_info {
            size: size_of::<gs_packet_info>() as u32,
            flags: if p.key { GS_PACKET_KEY } else { 0 },
            data: p.data.as_ptr(),
            bytes: p.data.len(),
            pts: p.presentation().map_or(GS_NO_TIME, Timestamp::micros),
            dts: p.decode().map_or(GS_NO_TIME, Timestamp::micros),
            duration: Timestamp::new(p.duration, p.base).micros(),
            pts_ticks: p.pts.unwrap_or(GS_NO_TIME),
            dts_ticks: p.dts.unwrap_or(GS_NO_TIME),
            duration_ticks: p.duration,
            base_num: p.base.num,
            base_den: p.base.den,
            stream: p.stream as u32,
            reserved: 0,
            picture: p.coding.map_or(0, |c| match c.kind {
                PictureType::Unknown => 0,
                PictureType::I => GS_PICTURE_I,
                PictureType::P => GS_PICTURE_P,
                PictureType::B => GS_PICTURE_B,
            }),
            qp: p.coding.and_then(|c| c.qp).unwrap_or(-1.0),
            gpu_time: p.coding.and_then(|c| c.gpu_time).map_or(0, |t| t.as_nanos() as u64),
        });
        Ok(gs_status::GS_OK)
    })
}

/// One more owner of a packet.
/// Owns: you get `*same`, which is `packet`; gs_packet_unref each.
/// Thread: any.
/// Errors: GS_INVALID for NULL.
/// Since: 0
///
/// # Safety
/// `packet` is NULL or a live packet; `same` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_packet_ref(packet: *mut gs_packet, same: *mut *mut gs_packet) -> gs_status {
    // SAFETY: the caller's promise.
    enter(|| unsafe { crate::boundary::reference(packet, same, "packet") })
}

/// Gives up a packet and nulls `*packet`.
/// Owns: takes `*packet`.
/// Thread: any.
/// Errors: none; NULL and a nulled `*packet` do nothing.
/// Since: 0
///
/// # Safety
/// `packet` is NULL or points to NULL or to a packet of the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_packet_unref(packet: *mut *mut gs_packet) {
    // SAFETY: the caller's promise.
    enter_or((), || unsafe { counted::release(packet) });
}
