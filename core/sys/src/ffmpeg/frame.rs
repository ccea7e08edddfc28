//! Raw pictures and sound: `AVFrame`.

use super::buffer::BufferRef;
use super::error::{Error, Result, check, text};
use super::hwdevice::HwFrames;
use super::packet::{copy, time};
use super::{ChannelLayout, Colour, HdrMetadata, PixelFormat, SampleFormat};
use super::{hdr, raw};
use bytes::Bytes;
use std::ffi::{c_char, c_void};
use std::ptr::NonNull;

/// An owned `AVFrame`: a reference to pixels or samples, with properties of its own.
///
/// Cloning shares the pixels. They can be written only while this is their one reference ([`Frame::plane_mut`]);
/// [`Frame::make_writable`] copies them when it is not.
pub struct Frame(NonNull<raw::AVFrame>);

// SAFETY: owned alone; buffers are counted atomically; nothing in it is tied to a thread.
unsafe impl Send for Frame {}
// SAFETY: `&Frame` only reads, and pixels are written only through `&mut` with a single reference.
unsafe impl Sync for Frame {}

/// How the encoder that made a picture coded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum PictureType {
    #[default]
    Unknown,
    I,
    P,
    B,
    Other,
}

impl Frame {
    /// A frame without memory.
    ///
    /// # Errors
    /// `Memory`.
    pub fn empty() -> Result<Frame> {
        // SAFETY: returns NULL or an initialised frame that we own.
        NonNull::new(unsafe { raw::av_frame_alloc() })
            .map(Frame)
            .ok_or_else(|| Error::memory("allocate frame"))
    }

    /// A picture with new host memory; pixels are not initialised to anything useful. `align` is the stride's alignment
    /// in bytes, 0 for what suits the CPU.
    ///
    /// # Errors
    /// `Invalid` for a format without host memory or a size out of range; `Memory`.
    pub fn alloc_video(format: PixelFormat, width: u32, height: u32, align: u32) -> Result<Frame> {
        let frame = Frame::empty()?;
        let (w, h) = size(width, height)?;
        if format.descriptor().is_none_or(|d| d.is_hardware) {
            return Err(Error::invalid(format!("host memory for pixel format {format}")));
        }
        let align = i32::try_from(align).map_err(|_| Error::invalid("alignment"))?;
        // SAFETY: a blank frame of ours; the numbers are checked by the call.
        let code = unsafe { raw::gsav_frame_alloc_video(frame.as_ptr(), format.0, w, h, align) };
        check(code, format!("allocate a {width}x{height} {format} frame"))?;
        // Uninitialised memory must not become visible through `plane`.
        let mut frame = frame;
        for i in 0..frame.plane_count() {
            if let Some(plane) = frame.plane_mut(i) {
                plane.fill(0);
            }
        }
        Ok(frame)
    }

    /// Silence: `samples` samples per channel of new memory, zeroed.
    ///
    /// # Errors
    /// `Invalid` for a bad format, layout or count; `Memory`.
    pub fn alloc_audio(
        format: SampleFormat,
        rate: u32,
        layout: &ChannelLayout,
        samples: usize,
    ) -> Result<Frame> {
        let frame = Frame::empty()?;
        let name = super::error::c_string(&layout.name, "a channel layout")?;
        let count = |n: usize| i32::try_from(n).map_err(|_| Error::invalid("audio frame size"));
        let (rate, channels, samples) =
            (count(rate as usize)?, count(layout.channels as usize)?, count(samples)?);
        if samples == 0 || format.bytes() == 0 {
            return Err(Error::invalid("an audio frame needs a format and samples"));
        }
        // SAFETY: a blank frame of ours; the name is terminated.
        let code = unsafe {
            raw::gsav_frame_alloc_audio(frame.as_ptr(), format.0, rate, name.as_ptr(), channels, samples)
        };
        check(code, "allocate audio frame")?;
        let mut frame = frame;
        for i in 0..frame.plane_count() {
            if let Some(plane) = frame.plane_mut(i) {
                plane.fill(if format == SampleFormat::U8 { 0x80 } else { 0 });
            }
        }
        Ok(frame)
    }

    /// A picture over shared bytes, without copying: one `(bytes, stride)` per plane. Not writable.
    ///
    /// # Errors
    /// `Invalid` when the number of planes, a stride or a length does not fit the format and size.
    pub fn wrap_bytes(
        format: PixelFormat,
        width: u32,
        height: u32,
        planes: Vec<(Bytes, usize)>,
    ) -> Result<Frame> {
        let frame = Frame::described(format, width, height, planes.len())?;
        for (i, (data, stride)) in planes.into_iter().enumerate() {
            let stride = plane_fits(format, width, height, i, stride, data.len())?;
            let (start, len) = (data.as_ptr().cast_mut(), data.len());
            let owner: Box<Release> = Box::new(Box::new(move || drop(data)));
            // SAFETY: `owner` keeps the bytes alive; the plane is attached read-only.
            unsafe { frame.attach(i, start, len, stride, false, owner)? };
        }
        Ok(frame)
    }

    /// A picture over the caller's memory, without copying. `release` runs once, on any thread, when the last reference
    /// is gone — also when this call fails. Each plane is `(start, stride, length)` in bytes.
    ///
    /// # Safety
    /// Every plane must be readable (and writable, if `writable`) for its length until `release` runs, and nobody else
    /// may write to it while a [`Frame`] refers to it.
    ///
    /// # Errors
    /// As [`Frame::wrap_bytes`].
    pub unsafe fn wrap_raw(
        format: PixelFormat,
        width: u32,
        height: u32,
        planes: &[(*mut u8, usize, usize)],
        writable: bool,
        release: Box<dyn FnOnce() + Send>,
    ) -> Result<Frame> {
        // Shared by the planes: the caller hears once, after the last of them.
        let guard = std::sync::Arc::new(RunOnDrop(Some(release)));
        let frame = Frame::described(format, width, height, planes.len())?;
        for (i, &(start, stride, len)) in planes.iter().enumerate() {
            let stride = plane_fits(format, width, height, i, stride, len)?;
            if start.is_null() {
                return Err(Error::invalid(format!("plane {i} is null")));
            }
            let guard = guard.clone();
            let owner: Box<Release> = Box::new(Box::new(move || drop(guard)));
            // SAFETY: the caller's promise covers the memory until the guard has gone.
            unsafe { frame.attach(i, start, len, stride, writable, owner)? };
        }
        Ok(frame)
    }

    fn described(format: PixelFormat, width: u32, height: u32, planes: usize) -> Result<Frame> {
        let frame = Frame::empty()?;
        let (w, h) = size(width, height)?;
        let needed =
            format.descriptor().filter(|d| !d.is_hardware).map(|d| d.planes + d.has_palette as usize);
        if needed != Some(planes) {
            let needed = needed.unwrap_or(0);
            return Err(Error::invalid(format!(
                "{format} has {needed} planes in host memory, {planes} given"
            )));
        }
        // SAFETY: a blank frame of ours.
        unsafe { raw::gsav_frame_describe(frame.as_ptr(), format.0, w, h) };
        Ok(frame)
    }

    /// # Safety
    /// `start..start+len` stays valid (and unshared, if writable) until `owner` is called.
    unsafe fn attach(
        &self,
        plane: usize,
        start: *mut u8,
        len: usize,
        stride: i32,
        writable: bool,
        owner: Box<Release>,
    ) -> Result<()> {
        let opaque = Box::into_raw(owner).cast::<c_void>();
        // SAFETY: the memory outlives the buffer by the caller's promise; `run_release` takes `opaque` over.
        let code = unsafe {
            raw::gsav_frame_attach(
                self.as_ptr(),
                plane as i32,
                start,
                len,
                stride,
                writable as i32,
                run_release,
                opaque,
            )
        };
        if code < 0 {
            // SAFETY: on failure the box is still ours.
            unsafe { run_release(opaque, std::ptr::null_mut()) };
        }
        check(code, "wrap frame").map(drop)
    }

    pub(crate) fn as_ptr(&self) -> *mut raw::AVFrame {
        self.0.as_ptr()
    }

    /// For filters that hand out pictures upside down: copies those.
    pub(crate) fn straighten(&mut self) -> Result<()> {
        let mut frame = self.0.as_ptr();
        // SAFETY: a live frame of ours; the call may replace it by another that is ours.
        let code = unsafe { raw::gsav_frame_straighten(&mut frame) };
        if let Some(frame) = NonNull::new(frame) {
            self.0 = frame;
        }
        check(code, "copy frame").map(drop)
    }

    pub(crate) fn props(&self) -> raw::FrameProps {
        let mut p = raw::FrameProps::default();
        // SAFETY: a live frame; fills `p`.
        unsafe { raw::gsav_frame_get(self.0.as_ptr(), &mut p) };
        p
    }

    fn edit(&mut self, change: impl FnOnce(&mut raw::FrameProps)) {
        let mut p = self.props();
        change(&mut p);
        // SAFETY: a live frame held exclusively; the call leaves memory and geometry alone.
        unsafe { raw::gsav_frame_set(self.0.as_ptr(), &p) };
    }

    /// Another reference to the same memory, with its own properties.
    ///
    /// # Errors
    /// `Memory`.
    pub fn try_clone(&self) -> Result<Frame> {
        let frame = Frame::empty()?;
        // SAFETY: both live; the target is blank.
        check(unsafe { raw::av_frame_ref(frame.as_ptr(), self.as_ptr()) }, "reference frame")?;
        Ok(frame)
    }

    /// Whether it holds a picture (else sound, or nothing).
    pub fn is_video(&self) -> bool {
        self.props().width > 0
    }

    /// Pixel format of a picture.
    pub fn format(&self) -> PixelFormat {
        let p = self.props();
        if p.width > 0 { PixelFormat(p.format) } else { PixelFormat::NONE }
    }

    /// Width in pixels, 0 for sound.
    pub fn width(&self) -> u32 {
        self.props().width.max(0) as u32
    }

    /// Height in pixels, 0 for sound.
    pub fn height(&self) -> u32 {
        self.props().height.max(0) as u32
    }

    /// Presentation time; from a [`Decoder`](super::Decoder), its best guess where the packets did not say.
    pub fn pts(&self) -> Option<i64> {
        time(self.props().pts)
    }

    /// Takes over the decoder's best guess of the presentation time.
    pub(crate) fn settle_pts(&mut self) {
        self.edit(|p| {
            if p.best_effort != raw::NOPTS {
                p.pts = p.best_effort;
            }
        });
    }

    /// Sets the presentation time.
    pub fn set_pts(&mut self, pts: Option<i64>) {
        self.edit(|p| p.pts = pts.unwrap_or(raw::NOPTS));
    }

    /// Decode time of the packet that it came from.
    pub fn packet_dts(&self) -> Option<i64> {
        time(self.props().dts)
    }

    /// Length in the time base, 0 when unknown.
    pub fn duration(&self) -> i64 {
        self.props().duration
    }

    /// Sets the length.
    pub fn set_duration(&mut self, duration: i64) {
        self.edit(|p| p.duration = duration);
    }

    /// Base of the times, where whoever made the frame noted it.
    pub fn time_base(&self) -> Option<(i32, i32)> {
        let p = self.props();
        (p.tb_num > 0 && p.tb_den > 0).then_some((p.tb_num, p.tb_den))
    }

    /// Notes the base of the times; does not convert them.
    pub fn set_time_base(&mut self, base: (i32, i32)) {
        self.edit(|p| (p.tb_num, p.tb_den) = base);
    }

    /// Whether it was coded as a key frame.
    pub fn is_key(&self) -> bool {
        self.props().key != 0
    }

    /// Whether decoding found damage.
    pub fn is_corrupt(&self) -> bool {
        self.props().corrupt != 0
    }

    /// How it was coded.
    pub fn picture_type(&self) -> PictureType {
        match self.props().pict_type {
            0 => PictureType::Unknown,
            1 => PictureType::I,
            2 => PictureType::P,
            3 => PictureType::B,
            _ => PictureType::Other,
        }
    }

    /// Whether it holds two fields.
    pub fn is_interlaced(&self) -> bool {
        self.props().interlaced != 0
    }

    /// Whether the top field comes first; meaningful for interlaced pictures.
    pub fn top_field_first(&self) -> bool {
        self.props().top_field_first != 0
    }

    /// Extra half-frames to show it for (3:2 pulldown).
    pub fn repeat(&self) -> u32 {
        self.props().repeat.max(0) as u32
    }

    /// Sets interlacing.
    pub fn set_interlaced(&mut self, interlaced: bool, top_field_first: bool) {
        self.edit(|p| {
            p.interlaced = interlaced.into();
            p.top_field_first = top_field_first.into();
        });
    }

    /// Sample (pixel) aspect ratio, 0/1 when unknown.
    pub fn sample_aspect(&self) -> (i32, i32) {
        let p = self.props();
        (p.sar_num, p.sar_den)
    }

    /// Sets the sample aspect ratio.
    pub fn set_sample_aspect(&mut self, aspect: (i32, i32)) {
        self.edit(|p| (p.sar_num, p.sar_den) = aspect);
    }

    /// Colour description.
    pub fn colour(&self) -> Colour {
        let p = self.props();
        hdr::colour(p.primaries, p.transfer, p.matrix, p.range, p.chroma)
    }

    /// Sets the colour description; pixels stay.
    pub fn set_colour(&mut self, colour: Colour) {
        self.edit(|p| {
            p.primaries = colour.primaries.into();
            p.transfer = colour.transfer.into();
            p.matrix = colour.matrix.into();
            p.range = hdr::range(colour.range);
            p.chroma = hdr::chroma(colour.chroma);
        });
    }

    /// HDR metadata. Of Dolby Vision a frame tells only that an RPU is there and, roughly, the profile.
    pub fn hdr(&self) -> HdrMetadata {
        let mut h = raw::Hdr::default();
        // SAFETY: a live frame; fills `h`.
        unsafe { raw::gsav_frame_hdr_get(self.as_ptr(), &mut h) };
        hdr::from_raw(&h)
    }

    /// Replaces mastering display and content light; dynamic metadata stays.
    ///
    /// # Errors
    /// `Memory`.
    pub fn set_hdr(&mut self, metadata: &HdrMetadata) -> Result<()> {
        // SAFETY: a live frame held exclusively.
        check(unsafe { raw::gsav_frame_hdr_set(self.as_ptr(), &hdr::to_raw(metadata)) }, "set HDR metadata")
            .map(drop)
    }

    /// Removes all HDR metadata, static and dynamic (after tone mapping).
    pub fn clear_hdr(&mut self) {
        // SAFETY: a live frame held exclusively.
        unsafe { raw::gsav_frame_drop_hdr(self.as_ptr()) }
    }

    /// Clockwise rotation to apply for display, after mirroring, degrees in `0.0..360.0`; 0 when the frame says nothing.
    pub fn rotation(&self) -> f64 {
        self.display_matrix().map_or(0.0, |m| super::parameters::clockwise(&m))
    }

    /// Whether the picture is mirrored left to right for display, before it is rotated.
    pub fn mirrored(&self) -> bool {
        self.display_matrix().is_some_and(|m| super::parameters::mirrors(&m))
    }

    /// The display matrix (row by row, 16.16 and 2.30 fixed point), if the frame carries one.
    pub fn display_matrix(&self) -> Option<[i32; 9]> {
        let mut m = [0; 9];
        // SAFETY: a live frame; writes nine numbers.
        (unsafe { raw::gsav_frame_matrix(self.as_ptr(), m.as_mut_ptr()) } != 0).then_some(m)
    }

    /// Forgets the display matrix (after rotating the pixels).
    pub fn clear_display_matrix(&mut self) {
        // SAFETY: a live frame held exclusively.
        unsafe { raw::gsav_frame_drop_matrix(self.as_ptr()) }
    }

    /// Closed captions (`cc_data` triplets), if any.
    pub fn captions(&self) -> Option<Bytes> {
        let mut size = 0;
        // SAFETY: a live frame; the bytes returned belong to it and are copied here.
        unsafe { copy(raw::gsav_frame_captions(self.as_ptr(), &mut size), size) }
    }

    /// Replaces the closed captions; empty removes them.
    ///
    /// # Errors
    /// `Memory`.
    pub fn set_captions(&mut self, data: &[u8]) -> Result<()> {
        // SAFETY: a live frame held exclusively; `len` bytes are copied.
        check(
            unsafe { raw::gsav_frame_set_captions(self.as_ptr(), data.as_ptr(), data.len()) },
            "set captions",
        )
        .map(drop)
    }

    /// Pixels to leave out at left, top, right and bottom; decoders apply it already.
    pub fn crop(&self) -> [u32; 4] {
        let p = self.props();
        [p.crop_left, p.crop_top, p.crop_right, p.crop_bottom].map(|v| v.max(0) as u32)
    }

    /// Sample format of sound.
    pub fn sample_format(&self) -> SampleFormat {
        let p = self.props();
        if p.width > 0 { SampleFormat::NONE } else { SampleFormat(p.format) }
    }

    /// Samples per second, 0 for pictures.
    pub fn sample_rate(&self) -> u32 {
        self.props().sample_rate.max(0) as u32
    }

    /// Channels and their places.
    pub fn channel_layout(&self) -> ChannelLayout {
        let mut name = [0 as c_char; 256];
        // SAFETY: a live frame; the buffer's length is passed and the text terminated.
        let name = unsafe {
            raw::gsav_frame_layout(self.as_ptr(), name.as_mut_ptr(), name.len());
            text(name.as_ptr())
        };
        ChannelLayout { channels: self.props().channels.max(0) as u32, name }
    }

    /// Samples per channel.
    pub fn samples(&self) -> usize {
        self.props().samples.max(0) as usize
    }

    /// Keeps only the first `samples` samples.
    ///
    /// # Errors
    /// `Invalid` when there are fewer.
    pub fn truncate_samples(&mut self, samples: usize) -> Result<()> {
        let samples = i32::try_from(samples).unwrap_or(-1);
        // SAFETY: a live frame held exclusively; the call checks the count.
        check(unsafe { raw::gsav_frame_truncate(self.as_ptr(), samples) }, "shorten frame").map(drop)
    }

    /// Planes that [`Frame::plane`] answers for: of the pixel format, or one per channel of planar sound.
    pub fn plane_count(&self) -> usize {
        let p = self.props();
        if p.hardware != 0 {
            0
        } else if p.width > 0 {
            PixelFormat(p.format).descriptor().map_or(0, |d| d.planes + d.has_palette as usize)
        } else if SampleFormat(p.format).is_planar() {
            p.channels.max(0) as usize
        } else {
            (p.channels > 0) as usize
        }
    }

    fn view(&self, plane: usize) -> Option<Plane> {
        let mut v = Plane { data: std::ptr::null_mut(), stride: 0, rows: 0, row_bytes: 0 };
        let plane = i32::try_from(plane).ok()?;
        // SAFETY: a live frame; fills the view on success, after checking that it lies in a buffer of the frame.
        let code = unsafe {
            raw::gsav_frame_plane(
                self.as_ptr(),
                plane,
                &mut v.data,
                &mut v.stride,
                &mut v.rows,
                &mut v.row_bytes,
            )
        };
        (code >= 0).then_some(v)
    }

    /// The bytes of a plane, from its first row to the last byte that counts of its last; rows start every
    /// [`Frame::stride`] bytes. Empty when there is no such plane in host memory.
    pub fn plane(&self, plane: usize) -> &[u8] {
        match self.view(plane) {
            // SAFETY: `len` bytes from `data` were checked to lie in a buffer that `self` keeps alive; nobody writes to
            // it while it is shared.
            Some(v) => unsafe { std::slice::from_raw_parts(v.data, v.len()) },
            None => &[],
        }
    }

    /// The bytes of a plane for writing; `None` when the memory is shared, read-only, on a device or not there.
    pub fn plane_mut(&mut self, plane: usize) -> Option<&mut [u8]> {
        if !self.is_writable() {
            return None;
        }
        let v = self.view(plane)?;
        // SAFETY: as in `plane`; the frame is writable, so this is the only reference to its buffers, and it is held
        // exclusively.
        Some(unsafe { std::slice::from_raw_parts_mut(v.data, v.len()) })
    }

    /// The bytes of all planes for writing, as [`Frame::plane_mut`]; also `None` when planes overlap.
    pub fn planes_mut(&mut self) -> Option<Vec<&mut [u8]>> {
        if !self.is_writable() {
            return None;
        }
        let views = (0..self.plane_count()).map(|i| self.view(i)).collect::<Option<Vec<Plane>>>()?;
        let mut spans: Vec<_> = views.iter().map(|v| (v.data as usize, v.len())).collect();
        spans.sort_unstable();
        if spans.windows(2).any(|pair| pair[0].0 + pair[0].1 > pair[1].0) {
            return None;
        }
        // SAFETY: as in `plane_mut`, for ranges that were just seen not to overlap; all borrow from `self`.
        let slice = |v: &Plane| unsafe { std::slice::from_raw_parts_mut(v.data, v.len()) };
        Some(views.iter().map(slice).collect())
    }

    /// Bytes from one row to the next.
    pub fn stride(&self, plane: usize) -> usize {
        self.view(plane).map_or(0, |v| v.stride as usize)
    }

    /// Rows of a plane (1 for sound).
    pub fn plane_height(&self, plane: usize) -> usize {
        self.view(plane).map_or(0, |v| v.rows as usize)
    }

    /// Bytes that count in a row of a plane.
    pub fn row_bytes(&self, plane: usize) -> usize {
        self.view(plane).map_or(0, |v| v.row_bytes as usize)
    }

    /// Whether this is the only reference to its memory and that may be written.
    pub fn is_writable(&self) -> bool {
        // SAFETY: a live frame; only reads.
        unsafe { raw::av_frame_is_writable(self.as_ptr()) > 0 }
    }

    /// Makes this the only reference to its memory, copying when it is not.
    ///
    /// # Errors
    /// `Memory`; `Unsupported` or `Invalid` for device memory.
    pub fn make_writable(&mut self) -> Result<()> {
        if self.is_hardware() && !self.is_writable() {
            return Err(Error::invalid("make a device frame writable"));
        }
        // SAFETY: a live frame held exclusively.
        check(unsafe { raw::av_frame_make_writable(self.as_ptr()) }, "make frame writable").map(drop)
    }

    /// Paints the picture black, and opaque; `full`: in full range, whatever the frame says of its own.
    ///
    /// # Errors
    /// `Invalid` for memory that is shared, on a device or no picture's; `Unsupported` for a pixel format without black.
    pub fn fill_black(&mut self, full: bool) -> Result<()> {
        if !self.is_writable() {
            return Err(Error::invalid("paint a shared frame"));
        }
        // SAFETY: a live frame held exclusively, whose memory nobody else has; the call checks that it is a picture here.
        check(unsafe { raw::gsav_frame_fill_black(self.as_ptr(), full.into()) }, "paint frame black")
            .map(drop)
    }

    /// Copies times, colour and side data from `other`, not pixels.
    ///
    /// # Errors
    /// `Memory`.
    pub fn copy_props(&mut self, other: &Frame) -> Result<()> {
        // SAFETY: both live; this one held exclusively.
        check(unsafe { raw::av_frame_copy_props(self.as_ptr(), other.as_ptr()) }, "copy frame properties")
            .map(drop)
    }

    /// Bytes of the picture without padding; `None` for sound and device memory.
    pub fn packed_size(&self) -> Option<usize> {
        self.format().image_size(self.width(), self.height())
    }

    /// Writes the picture without padding: rows one after another, planes one after another.
    ///
    /// # Errors
    /// `Invalid` when `out` is shorter than [`Frame::packed_size`], or the frame is not a picture in host memory.
    pub fn copy_to_packed(&self, out: &mut [u8]) -> Result<usize> {
        let len = i32::try_from(out.len()).unwrap_or(i32::MAX);
        // SAFETY: a live frame; at most `len` bytes are written.
        let code = unsafe { raw::gsav_frame_copy_packed(self.as_ptr(), out.as_mut_ptr(), len) };
        check(code, "copy picture").map(|n| n as usize)
    }

    /// Whether the pixels live on a device.
    pub fn is_hardware(&self) -> bool {
        self.props().hardware != 0
    }

    /// The pool that a device frame came from.
    pub fn hw_frames(&self) -> Option<HwFrames> {
        // SAFETY: a live frame; the call returns NULL or a new reference that is ours.
        unsafe { BufferRef::from_raw(raw::gsav_frame_hw_frames(self.as_ptr())) }.map(HwFrames::from_buffer)
    }

    /// What tells the pool that a device frame came from apart from other pools that live; 0 for a host frame.
    pub fn pool_id(&self) -> usize {
        // SAFETY: a live frame; only an address is read.
        unsafe { raw::gsav_frame_pool(self.as_ptr()) as usize }
    }

    /// A copy in host memory, in the pool's host format, with the same properties.
    ///
    /// # Errors
    /// `Unsupported` where the device cannot, `Invalid` for a host frame, or what the driver says.
    pub fn transfer_to_host(&self) -> Result<Frame> {
        if !self.is_hardware() {
            return Err(Error::invalid("transfer a host frame to the host"));
        }
        if let Some(context) = self.cuda_home()? {
            return self.downloaded(&context).map_err(|e| e.with("download frame"));
        }
        let frame = Frame::empty()?;
        // SAFETY: both live; the target is blank and gets memory of its own.
        check(unsafe { raw::gsav_frame_transfer(frame.as_ptr(), self.as_ptr()) }, "download frame")?;
        Ok(frame)
    }

    /// A copy on the device, from `pool`, with the same properties.
    ///
    /// # Errors
    /// `Unsupported` or `Invalid` when format or size do not fit the pool, or what the driver says.
    pub fn transfer_to_device(&self, pool: &HwFrames) -> Result<Frame> {
        let frame = pool.frame()?;
        if self.format() == pool.host_format()
            && (self.width(), self.height()) == (frame.width(), frame.height())
            && let Some(context) = frame.cuda_home()?
        {
            return self.uploaded(&context, frame).map_err(|e| e.with("upload frame"));
        }
        // SAFETY: both live; the target has memory from the pool.
        check(unsafe { raw::gsav_frame_transfer(frame.as_ptr(), self.as_ptr()) }, "upload frame")?;
        Ok(frame)
    }

    /// Address of plane `plane` as FFmpeg keeps it: a device pointer for CUDA, a handle for others. For interop with
    /// other libraries; valid while the frame lives.
    pub fn data_ptr(&self, plane: usize) -> usize {
        // SAFETY: a live frame; the call checks the index.
        i32::try_from(plane).map_or(0, |i| unsafe { raw::gsav_frame_data(self.as_ptr(), i) })
    }

    /// Stride as FFmpeg keeps it, also for device memory.
    pub fn device_stride(&self, plane: usize) -> usize {
        // SAFETY: a live frame; the call checks the index.
        i32::try_from(plane)
            .map_or(0, |i| unsafe { raw::gsav_frame_linesize(self.as_ptr(), i) }.max(0) as usize)
    }
}

impl Clone for Frame {
    /// Shares the memory.
    ///
    /// # Panics
    /// When a few hundred bytes cannot be allocated; [`Frame::try_clone`] reports that instead.
    fn clone(&self) -> Self {
        match self.try_clone() {
            Ok(frame) => frame,
            Err(_) => std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u8; 512]>()),
        }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let mut frame = self.0.as_ptr();
        // SAFETY: ours; freed once.
        unsafe { raw::av_frame_free(&mut frame) }
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let p = self.props();
        let mut d = f.debug_struct("Frame");
        if p.width > 0 {
            d.field("format", &self.format()).field("width", &p.width).field("height", &p.height);
        } else {
            d.field("format", &self.sample_format())
                .field("rate", &p.sample_rate)
                .field("samples", &p.samples);
        }
        d.field("pts", &self.pts()).finish()
    }
}

struct Plane {
    data: *mut u8,
    stride: i32,
    rows: i32,
    row_bytes: i32,
}

impl Plane {
    fn len(&self) -> usize {
        self.stride as usize * (self.rows as usize - 1) + self.row_bytes as usize
    }
}

type Release = Box<dyn FnOnce() + Send>;

struct RunOnDrop(Option<Release>);

// SAFETY: the closure is taken out with `&mut` only, in drop.
unsafe impl Sync for RunOnDrop {}

impl Drop for RunOnDrop {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}

pub(super) unsafe extern "C" fn run_release(opaque: *mut c_void, _data: *mut u8) {
    // SAFETY: the box that `attach` gave away; called once. A panic must not unwind into C.
    let release = unsafe { Box::from_raw(opaque.cast::<Release>()) };
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(release));
}

fn size(width: u32, height: u32) -> Result<(i32, i32)> {
    match (i32::try_from(width), i32::try_from(height)) {
        (Ok(w), Ok(h)) if w > 0 && h > 0 => Ok((w, h)),
        _ => Err(Error::invalid(format!("picture size {width}x{height}"))),
    }
}

/// The stride as FFmpeg wants it, when the plane is long enough for it.
fn plane_fits(
    f: PixelFormat,
    width: u32,
    height: u32,
    plane: usize,
    stride: usize,
    len: usize,
) -> Result<i32> {
    let (rows, bytes) = f
        .plane_layout(width, height, plane)
        .ok_or_else(|| Error::invalid(format!("{width}x{height} {f} has no plane {plane}")))?;
    let needed = stride.checked_mul(rows - 1).and_then(|n| n.checked_add(bytes));
    if stride < bytes || needed.is_none_or(|n| n > len) {
        return Err(Error::invalid(format!(
            "plane {plane} of a {width}x{height} {f} picture: {rows} rows of {bytes} bytes do not fit in {len} bytes \
             with a stride of {stride}"
        )));
    }
    i32::try_from(stride).map_err(|_| Error::invalid("stride"))
}
