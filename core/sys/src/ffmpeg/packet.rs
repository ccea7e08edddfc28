//! Coded data: `AVPacket`.

use super::buffer::BufferRef;
use super::error::{Error, Result, check};
use super::raw;
use bytes::Bytes;
use std::ffi::c_void;
use std::ptr::NonNull;

const FLAG_KEY: i32 = 1;
const FLAG_CORRUPT: i32 = 2;
const FLAG_DISCARD: i32 = 4;
const FLAG_DISPOSABLE: i32 = 16;

/// An owned `AVPacket`. The payload is shared by reference count and never changed.
///
/// Times count in the time base of whoever made the packet; [`Packet::rescale`] changes it.
pub struct Packet(NonNull<raw::AVPacket>);

// SAFETY: the packet is owned alone and its buffers are counted atomically; nothing in it is tied to a thread.
unsafe impl Send for Packet {}
// SAFETY: `&Packet` only reads.
unsafe impl Sync for Packet {}

/// Numbers (`AVPacketSideDataType`) of the side data that the engine looks into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideDataKind {
    /// Replaces the extradata from here on.
    NewExtradata,
    /// Samples to drop: u32 start, u32 end (little-endian), two reason bytes.
    SkipSamples,
    /// 3×3 matrix of i32.
    DisplayMatrix,
    /// SMPTE ST 2086.
    MasteringDisplay,
    /// CTA-861.3.
    ContentLight,
    /// Dolby Vision configuration.
    DolbyVision,
    /// HDR10+.
    Hdr10Plus,
    /// WebVTT cue identifier (text).
    WebVttIdentifier,
    /// WebVTT cue settings (text).
    WebVttSettings,
    /// Coded picture buffer properties.
    Cpb,
    /// Producer reference time.
    ProducerTime,
}

impl SideDataKind {
    /// FFmpeg's number.
    pub fn number(self) -> i32 {
        // SAFETY: takes any int.
        unsafe { raw::gsav_side_data_type(self as i32) }
    }
}

impl Packet {
    /// An empty packet: no payload, no times.
    ///
    /// # Errors
    /// `Memory`.
    pub fn new() -> Result<Packet> {
        // SAFETY: returns NULL or an initialised packet that we own.
        let packet = unsafe { raw::av_packet_alloc() };
        NonNull::new(packet).map(Packet).ok_or_else(|| Error::memory("allocate packet"))
    }

    /// Wraps `data` without copying. The payload has no padding behind it: right for muxers, wrong for decoders and
    /// bitstream filters (use [`Packet::from_bytes_padded`]).
    ///
    /// # Errors
    /// `Memory`; `Invalid` above 2 GiB.
    pub fn from_bytes(data: Bytes) -> Result<Packet> {
        let packet = Packet::new()?;
        let size = size_of_payload(&data)?;
        if size == 0 {
            return Ok(packet);
        }
        let start = data.as_ptr();
        let owner = Box::into_raw(Box::new(data)).cast::<c_void>();
        // SAFETY: the bytes live in `owner` until `drop_bytes` runs with the last reference; the buffer is marked
        // read-only, so FFmpeg does not write to it.
        let code = unsafe { raw::gsav_packet_wrap(packet.0.as_ptr(), start, size, drop_bytes, owner) };
        if code < 0 {
            // SAFETY: on failure the buffer was not made, so the box is still ours.
            drop(unsafe { Box::from_raw(owner.cast::<Bytes>()) });
            return Err(Error::new(code, "wrap packet"));
        }
        Ok(packet)
    }

    /// Copies `data` with the zeroed padding that decoders read beyond the end.
    ///
    /// # Errors
    /// `Memory`; `Invalid` above 2 GiB.
    pub fn from_bytes_padded(data: &[u8]) -> Result<Packet> {
        let packet = Packet::new()?;
        let size = size_of_payload(data)?;
        // SAFETY: `size` bytes are read from `data`.
        check(unsafe { raw::gsav_packet_copy(packet.0.as_ptr(), data.as_ptr(), size) }, "allocate packet")?;
        Ok(packet)
    }

    pub(crate) fn as_ptr(&self) -> *mut raw::AVPacket {
        self.0.as_ptr()
    }

    fn props(&self) -> raw::PacketProps {
        let mut p = raw::PacketProps::default();
        // SAFETY: a live packet; fills `p`.
        unsafe { raw::gsav_packet_get(self.0.as_ptr(), &mut p) };
        p
    }

    fn edit(&mut self, change: impl FnOnce(&mut raw::PacketProps)) {
        let mut p = self.props();
        change(&mut p);
        // SAFETY: a live packet that we hold exclusively; payload and side data are not touched.
        unsafe { raw::gsav_packet_set(self.0.as_ptr(), &p) };
    }

    /// The payload.
    pub fn data(&self) -> &[u8] {
        let p = self.props();
        if p.data.is_null() || p.size <= 0 {
            return &[];
        }
        // SAFETY: `size` bytes at `data` belong to the packet's buffer for as long as `self` holds it.
        unsafe { std::slice::from_raw_parts(p.data, p.size as usize) }
    }

    /// The payload as shared bytes that outlive the packet; copied only when FFmpeg did not reference-count it.
    pub fn bytes(&self) -> Bytes {
        let data = self.data();
        if data.is_empty() {
            return Bytes::new();
        }
        // SAFETY: a live packet; the call returns NULL or a new reference that is ours.
        match unsafe { BufferRef::from_raw(raw::gsav_packet_buffer(self.0.as_ptr())) } {
            Some(buffer) => {
                Bytes::from_owner(SharedPayload { start: data.as_ptr(), len: data.len(), _buffer: buffer })
            }
            None => Bytes::copy_from_slice(data),
        }
    }

    /// Presentation time.
    pub fn pts(&self) -> Option<i64> {
        time(self.props().pts)
    }

    /// Sets the presentation time.
    pub fn set_pts(&mut self, pts: Option<i64>) {
        self.edit(|p| p.pts = pts.unwrap_or(raw::NOPTS));
    }

    /// Decode time.
    pub fn dts(&self) -> Option<i64> {
        time(self.props().dts)
    }

    /// Sets the decode time.
    pub fn set_dts(&mut self, dts: Option<i64>) {
        self.edit(|p| p.dts = dts.unwrap_or(raw::NOPTS));
    }

    /// Length; 0 when unknown.
    pub fn duration(&self) -> i64 {
        self.props().duration
    }

    /// Sets the length.
    pub fn set_duration(&mut self, duration: i64) {
        self.edit(|p| p.duration = duration);
    }

    /// Byte position in the input; `None` when unknown.
    pub fn position(&self) -> Option<u64> {
        u64::try_from(self.props().position).ok()
    }

    /// Index of the stream in its container.
    pub fn stream_index(&self) -> usize {
        self.props().stream.max(0) as usize
    }

    /// Sets the stream index.
    pub fn set_stream_index(&mut self, index: usize) {
        self.edit(|p| p.stream = i32::try_from(index).unwrap_or(i32::MAX));
    }

    /// Whether decoding can start here.
    pub fn is_key(&self) -> bool {
        self.props().flags & FLAG_KEY != 0
    }

    /// Sets the key flag.
    pub fn set_key(&mut self, key: bool) {
        self.edit(|p| if key { p.flags |= FLAG_KEY } else { p.flags &= !FLAG_KEY });
    }

    /// Whether the demuxer found it damaged.
    pub fn is_corrupt(&self) -> bool {
        self.props().flags & FLAG_CORRUPT != 0
    }

    /// Whether it must be decoded but not shown (edit lists).
    pub fn is_discard(&self) -> bool {
        self.props().flags & FLAG_DISCARD != 0
    }

    /// Sets the discard flag.
    pub fn set_discard(&mut self, discard: bool) {
        self.edit(|p| if discard { p.flags |= FLAG_DISCARD } else { p.flags &= !FLAG_DISCARD });
    }

    /// Whether no other frame refers to it, so that it can be dropped.
    pub fn is_disposable(&self) -> bool {
        self.props().flags & FLAG_DISPOSABLE != 0
    }

    /// Converts the times from one base to another (numerator, denominator).
    pub fn rescale(&mut self, from: (i32, i32), to: (i32, i32)) {
        if from.0 > 0 && from.1 > 0 && to.0 > 0 && to.1 > 0 {
            // SAFETY: a live packet held exclusively; the bases are positive.
            unsafe { raw::gsav_packet_rescale(self.0.as_ptr(), from.0, from.1, to.0, to.1) }
        }
    }

    /// All side data: FFmpeg's type number and the payload.
    pub fn side_data(&self) -> Vec<(i32, Bytes)> {
        let count = self.props().side_data;
        (0..count)
            .filter_map(|i| {
                let (mut kind, mut size) = (0, 0);
                // SAFETY: a live packet; the index is in range.
                let data = unsafe { raw::gsav_packet_side_data(self.0.as_ptr(), i, &mut kind, &mut size) };
                // SAFETY: `size` bytes at `data`, owned by the packet.
                unsafe { copy(data, size) }.map(|data| (kind, data))
            })
            .collect()
    }

    /// Adds (or replaces) side data of FFmpeg's type number `kind`.
    ///
    /// # Errors
    /// `Memory`.
    pub fn add_side_data(&mut self, kind: i32, data: &[u8]) -> Result<()> {
        // SAFETY: a live packet held exclusively; `len` bytes are copied.
        let code =
            unsafe { raw::gsav_packet_add_side_data(self.0.as_ptr(), kind, data.as_ptr(), data.len()) };
        check(code, "add side data").map(drop)
    }

    /// Another reference to the same payload.
    ///
    /// # Errors
    /// `Memory`.
    pub fn try_clone(&self) -> Result<Packet> {
        let packet = Packet::new()?;
        // SAFETY: both are live; the target is blank.
        check(unsafe { raw::av_packet_ref(packet.0.as_ptr(), self.0.as_ptr()) }, "reference packet")?;
        Ok(packet)
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        let mut packet = self.0.as_ptr();
        // SAFETY: ours; freed once.
        unsafe { raw::av_packet_free(&mut packet) }
    }
}

impl std::fmt::Debug for Packet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let p = self.props();
        f.debug_struct("Packet")
            .field("stream", &p.stream)
            .field("pts", &time(p.pts))
            .field("dts", &time(p.dts))
            .field("size", &p.size)
            .field("key", &self.is_key())
            .finish()
    }
}

pub(crate) fn time(t: i64) -> Option<i64> {
    (t != raw::NOPTS).then_some(t)
}

/// # Safety
/// `data` is NULL or points at `size` readable bytes.
pub(crate) unsafe fn copy(data: *const u8, size: usize) -> Option<Bytes> {
    if data.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(Bytes::copy_from_slice(unsafe { std::slice::from_raw_parts(data, size) }))
}

fn size_of_payload(data: &[u8]) -> Result<i32> {
    const PADDING: usize = 64;
    i32::try_from(data.len() + PADDING)
        .map(|_| data.len() as i32)
        .map_err(|_| Error::invalid("a packet of 2 GiB or more"))
}

/// A payload inside a counted buffer.
struct SharedPayload {
    start: *const u8,
    len: usize,
    _buffer: BufferRef,
}

// SAFETY: read-only memory kept alive by an atomically counted reference.
unsafe impl Send for SharedPayload {}

impl AsRef<[u8]> for SharedPayload {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `start..start+len` lies in the buffer that `_buffer` keeps alive, and payloads are not written to.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

unsafe extern "C" fn drop_bytes(owner: *mut c_void, _data: *mut u8) {
    // SAFETY: `owner` is the box that `from_bytes` gave away; FFmpeg calls this once. Dropping `Bytes` may run a foreign
    // owner's drop, whose panic must not unwind into C.
    let owner = unsafe { Box::from_raw(owner.cast::<Bytes>()) };
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(owner)));
}
