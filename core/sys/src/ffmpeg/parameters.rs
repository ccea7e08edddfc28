//! The description of an elementary stream: `AVCodecParameters` and its side data.

use super::error::{Error, Result, c_string, check, text};
use super::packet::copy;
use super::{ChannelLayout, Colour, HdrMetadata, PixelFormat, SampleFormat, SideDataKind};
use super::{hdr, raw};
use bytes::Bytes;
use std::ffi::c_char;
use std::ptr::NonNull;

/// What a stream carries (`AVMediaType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs)]
pub enum MediaType {
    #[default]
    Unknown,
    Video,
    Audio,
    Data,
    Subtitle,
    Attachment,
}

impl MediaType {
    pub(crate) fn from_raw(kind: i32) -> MediaType {
        match kind {
            0 => MediaType::Video,
            1 => MediaType::Audio,
            2 => MediaType::Data,
            3 => MediaType::Subtitle,
            4 => MediaType::Attachment,
            _ => MediaType::Unknown,
        }
    }

    pub(crate) fn to_raw(self) -> i32 {
        match self {
            MediaType::Unknown => -1,
            MediaType::Video => 0,
            MediaType::Audio => 1,
            MediaType::Data => 2,
            MediaType::Subtitle => 3,
            MediaType::Attachment => 4,
        }
    }
}

/// Interlacing of a stream (`AVFieldOrder`), by which field is shown first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum FieldOrder {
    #[default]
    Unknown,
    Progressive,
    TopFirst,
    BottomFirst,
}

impl FieldOrder {
    fn from_raw(order: i32) -> FieldOrder {
        match order {
            1 => FieldOrder::Progressive,
            2 | 5 => FieldOrder::TopFirst,
            3 | 4 => FieldOrder::BottomFirst,
            _ => FieldOrder::Unknown,
        }
    }

    pub(crate) fn to_raw(self) -> i32 {
        match self {
            FieldOrder::Unknown => 0,
            FieldOrder::Progressive => 1,
            FieldOrder::TopFirst => 2,
            FieldOrder::BottomFirst => 3,
        }
    }
}

/// The plain values of [`CodecParameters`]. Zero or `None` is unknown.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterValues {
    /// What the stream carries.
    pub kind: MediaType,
    /// FFmpeg's codec name (`h264`, `aac`, `pcm_s16le`).
    pub codec: String,
    /// The container's four-character code, first byte lowest.
    pub codec_tag: u32,
    /// `AV_PROFILE_*`.
    pub profile: Option<i32>,
    /// Level, in the codec's notation.
    pub level: Option<i32>,
    /// Codec set-up data.
    pub extradata: Bytes,
    /// Bits per second.
    pub bit_rate: u64,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Pixel format.
    pub pixel_format: Option<PixelFormat>,
    /// Sample (pixel) aspect ratio, 0/1 when unknown.
    pub sample_aspect: (i32, i32),
    /// Frames per second as the codec says (FFmpeg 6.1 and newer), 0/1 when unknown.
    pub frame_rate: (i32, i32),
    /// Colour description.
    pub colour: Colour,
    /// Interlacing.
    pub field_order: FieldOrder,
    /// Frames of reorder delay.
    pub reorder: u32,
    /// Bits per sample as coded (PCM, and depth codes of some video).
    pub bits_per_coded_sample: u32,
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels.
    pub layout: Option<ChannelLayout>,
    /// Sample format.
    pub sample_format: Option<SampleFormat>,
    /// Bytes per block of fixed-size audio codecs.
    pub block_align: u32,
    /// Samples per coded frame; 0 = variable.
    pub frame_size: u32,
    /// Samples of encoder delay.
    pub initial_padding: u32,
    /// Samples of padding at the end.
    pub trailing_padding: u32,
    /// Samples to decode before the target of a seek.
    pub seek_preroll: u32,
}

impl Default for ParameterValues {
    fn default() -> Self {
        ParameterValues {
            kind: MediaType::Unknown,
            codec: String::new(),
            codec_tag: 0,
            profile: None,
            level: None,
            extradata: Bytes::new(),
            bit_rate: 0,
            width: 0,
            height: 0,
            pixel_format: None,
            sample_aspect: (0, 1),
            frame_rate: (0, 1),
            colour: Colour::default(),
            field_order: FieldOrder::Unknown,
            reorder: 0,
            bits_per_coded_sample: 0,
            sample_rate: 0,
            layout: None,
            sample_format: None,
            block_align: 0,
            frame_size: 0,
            initial_padding: 0,
            trailing_padding: 0,
            seek_preroll: 0,
        }
    }
}

/// An owned copy of FFmpeg's description of an elementary stream, with the stream's side data (rotation, HDR …).
pub struct CodecParameters {
    raw: NonNull<raw::AVCodecParameters>,
    side_data: Vec<(i32, Bytes)>,
}

// SAFETY: owned alone; plain data.
unsafe impl Send for CodecParameters {}
// SAFETY: `&CodecParameters` only reads.
unsafe impl Sync for CodecParameters {}

const UNKNOWN: i32 = -99;

impl CodecParameters {
    fn empty() -> Result<CodecParameters> {
        // SAFETY: returns NULL or an initialised struct that we own.
        NonNull::new(unsafe { raw::avcodec_parameters_alloc() })
            .map(|raw| CodecParameters { raw, side_data: Vec::new() })
            .ok_or_else(|| Error::memory("allocate codec parameters"))
    }

    /// Parameters with these values and no side data.
    ///
    /// # Errors
    /// `Invalid` when FFmpeg does not know the codec or the layout; `Memory`.
    pub fn new(values: &ParameterValues) -> Result<CodecParameters> {
        let mut out = CodecParameters::empty()?;
        out.set(values)?;
        Ok(out)
    }

    /// Replaces all values; side data stays.
    ///
    /// # Errors
    /// As [`CodecParameters::new`].
    pub fn set(&mut self, v: &ParameterValues) -> Result<()> {
        let name = c_string(&v.codec, "a codec name")?;
        // SAFETY: a terminated string.
        let codec_id = unsafe { raw::gsav_codec_id(name.as_ptr()) };
        if codec_id == 0 && v.codec != "none" {
            return Err(Error::invalid(format!("codec {:?}", v.codec)));
        }
        let layout = c_string(v.layout.as_ref().map_or("", |l| &l.name), "a channel layout")?;
        let int = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        let format = match v.kind {
            MediaType::Audio => v.sample_format.map_or(-1, |f| f.0),
            _ => v.pixel_format.map_or(-1, |f| f.0),
        };
        let p = raw::Params {
            bit_rate: i64::try_from(v.bit_rate).unwrap_or(0),
            kind: v.kind.to_raw(),
            codec_id,
            format,
            profile: v.profile.unwrap_or(UNKNOWN),
            level: v.level.unwrap_or(UNKNOWN),
            tag: v.codec_tag,
            width: int(v.width),
            height: int(v.height),
            sar_num: v.sample_aspect.0,
            sar_den: v.sample_aspect.1,
            fr_num: v.frame_rate.0,
            fr_den: v.frame_rate.1,
            primaries: v.colour.primaries.into(),
            transfer: v.colour.transfer.into(),
            matrix: v.colour.matrix.into(),
            range: hdr::range(v.colour.range),
            chroma: hdr::chroma(v.colour.chroma),
            field_order: v.field_order.to_raw(),
            reorder: int(v.reorder),
            bits_per_coded_sample: int(v.bits_per_coded_sample),
            bits_per_raw_sample: self.get().bits_per_raw_sample,
            sample_rate: int(v.sample_rate),
            channels: v.layout.as_ref().map_or(0, |l| int(l.channels)),
            block_align: int(v.block_align),
            frame_size: int(v.frame_size),
            initial_padding: int(v.initial_padding),
            trailing_padding: int(v.trailing_padding),
            seek_preroll: int(v.seek_preroll),
        };
        // SAFETY: a live struct held exclusively; the layout is terminated.
        check(unsafe { raw::gsav_params_set(self.as_ptr(), &p, layout.as_ptr()) }, "set codec parameters")?;
        self.set_extradata(&v.extradata)
    }

    /// All values at once.
    pub fn values(&self) -> ParameterValues {
        let p = self.get();
        let kind = MediaType::from_raw(p.kind);
        let count = |n: i32| n.max(0) as u32;
        let known = |n: i32| (n != UNKNOWN).then_some(n);
        ParameterValues {
            kind,
            codec: self.codec_name(),
            codec_tag: p.tag,
            profile: known(p.profile),
            level: known(p.level),
            extradata: self.extradata(),
            bit_rate: p.bit_rate.max(0) as u64,
            width: count(p.width),
            height: count(p.height),
            pixel_format: (kind == MediaType::Video && p.format >= 0).then_some(PixelFormat(p.format)),
            sample_aspect: (p.sar_num, p.sar_den),
            frame_rate: (p.fr_num, p.fr_den.max(1)),
            colour: hdr::colour(p.primaries, p.transfer, p.matrix, p.range, p.chroma),
            field_order: FieldOrder::from_raw(p.field_order),
            reorder: count(p.reorder),
            bits_per_coded_sample: count(p.bits_per_coded_sample),
            sample_rate: count(p.sample_rate),
            layout: (p.channels > 0).then(|| self.layout(p.channels as u32)),
            sample_format: (kind == MediaType::Audio && p.format >= 0).then_some(SampleFormat(p.format)),
            block_align: count(p.block_align),
            frame_size: count(p.frame_size),
            initial_padding: count(p.initial_padding),
            trailing_padding: count(p.trailing_padding),
            seek_preroll: count(p.seek_preroll),
        }
    }

    /// What the stream carries.
    pub fn kind(&self) -> MediaType {
        MediaType::from_raw(self.get().kind)
    }

    /// FFmpeg's codec name; `none` when unknown.
    pub fn codec_name(&self) -> String {
        // SAFETY: any number is accepted; the name is static.
        unsafe { text(raw::gsav_codec_name(self.get().codec_id)) }
    }

    /// Codec set-up data.
    pub fn extradata(&self) -> Bytes {
        let mut size = 0;
        // SAFETY: a live struct; the bytes belong to it and are copied.
        unsafe { copy(raw::gsav_params_extradata(self.as_ptr(), &mut size), size.max(0) as usize) }
            .unwrap_or_default()
    }

    /// Replaces the codec set-up data.
    ///
    /// # Errors
    /// `Memory`.
    pub fn set_extradata(&mut self, data: &[u8]) -> Result<()> {
        // SAFETY: a live struct held exclusively; `len` bytes are copied.
        check(
            unsafe { raw::gsav_params_set_extradata(self.as_ptr(), data.as_ptr(), data.len()) },
            "set extradata",
        )
        .map(drop)
    }

    /// Static HDR metadata, Dolby Vision configuration, and whether HDR10+ is announced.
    pub fn hdr(&self) -> HdrMetadata {
        let mut h = raw::Hdr::default();
        for (kind, data) in &self.side_data {
            // `Bytes` promise no alignment, C structs want theirs.
            let data = Aligned::new(data);
            // SAFETY: `len` bytes; the call checks that they are enough for the kind.
            unsafe { raw::gsav_hdr_add(*kind, data.as_ptr(), data.len, &mut h) };
        }
        hdr::from_raw(&h)
    }

    /// Replaces mastering display, content light and Dolby Vision configuration in the side data.
    pub fn set_hdr(&mut self, metadata: &HdrMetadata) {
        let hdr = hdr::to_raw(metadata);
        let kinds = [SideDataKind::MasteringDisplay, SideDataKind::ContentLight, SideDataKind::DolbyVision];
        for (which, kind) in kinds.into_iter().enumerate() {
            self.side_data.retain(|(k, _)| *k != kind.number());
            let mut out = [0u8; 1024];
            let mut number = 0;
            // SAFETY: at most the buffer's length is written.
            let size = unsafe {
                raw::gsav_hdr_payload(&hdr, which as i32, out.as_mut_ptr(), out.len(), &mut number)
            };
            if let Some(payload) = out.get(..size).filter(|p| !p.is_empty()) {
                self.side_data.push((number, Bytes::copy_from_slice(payload)));
            }
        }
    }

    /// The display matrix, if there is one.
    pub fn display_matrix(&self) -> Option<[i32; 9]> {
        let data = self.side_data(SideDataKind::DisplayMatrix)?;
        let mut matrix = [0; 9];
        for (to, from) in matrix.iter_mut().zip(data.get(..36)?.as_chunks::<4>().0) {
            *to = i32::from_ne_bytes(*from);
        }
        Some(matrix)
    }

    /// Clockwise rotation to apply for display, after mirroring, degrees in `0.0..360.0`.
    pub fn rotation(&self) -> f64 {
        self.display_matrix().map_or(0.0, |m| clockwise(&m))
    }

    /// Whether the picture is mirrored left to right for display, before it is rotated.
    pub fn mirrored(&self) -> bool {
        self.display_matrix().is_some_and(|m| mirrors(&m))
    }

    /// Sets the rotation to apply for display, and whether to mirror left to right before; neither removes the matrix.
    pub fn set_rotation(&mut self, degrees: f64, mirrored: bool) {
        let kind = SideDataKind::DisplayMatrix.number();
        self.side_data.retain(|(k, _)| *k != kind);
        if degrees % 360.0 != 0.0 || mirrored {
            let mut matrix = [0i32; 9];
            // SAFETY: writes nine numbers.
            unsafe { raw::gsav_rotation_matrix(matrix.as_mut_ptr(), degrees) };
            if mirrored {
                mirror(&mut matrix);
            }
            let data: Vec<u8> = matrix.iter().flat_map(|v| v.to_ne_bytes()).collect();
            self.side_data.push((kind, data.into()));
        }
    }

    /// One piece of side data.
    pub fn side_data(&self, kind: SideDataKind) -> Option<&Bytes> {
        let number = kind.number();
        self.side_data.iter().find(|(k, _)| *k == number).map(|(_, data)| data)
    }

    /// All side data: FFmpeg's type number and the payload.
    pub fn all_side_data(&self) -> &[(i32, Bytes)] {
        &self.side_data
    }

    /// Adds or replaces side data of FFmpeg's type number `kind`; empty data removes it.
    pub fn set_side_data(&mut self, kind: i32, data: Bytes) {
        self.side_data.retain(|(k, _)| *k != kind);
        if !data.is_empty() {
            self.side_data.push((kind, data));
        }
    }

    /// Another copy.
    ///
    /// # Errors
    /// `Memory`.
    pub fn try_clone(&self) -> Result<CodecParameters> {
        // SAFETY: a live struct.
        let mut out = unsafe { CodecParameters::copied(self.as_ptr()) }?;
        out.side_data = self.side_data.clone();
        Ok(out)
    }

    fn layout(&self, channels: u32) -> ChannelLayout {
        let mut name = [0 as c_char; 256];
        // SAFETY: a live struct; the buffer's length is passed and the text terminated.
        let name = unsafe {
            raw::gsav_params_layout(self.as_ptr(), name.as_mut_ptr(), name.len());
            text(name.as_ptr())
        };
        ChannelLayout { channels, name }
    }

    pub(crate) fn get(&self) -> raw::Params {
        let mut p = raw::Params::default();
        // SAFETY: a live struct; fills `p`.
        unsafe { raw::gsav_params_get(self.as_ptr(), &mut p) };
        p
    }

    pub(crate) fn as_ptr(&self) -> *mut raw::AVCodecParameters {
        self.raw.as_ptr()
    }

    /// # Safety
    /// `from` is live.
    pub(crate) unsafe fn copied(from: *const raw::AVCodecParameters) -> Result<CodecParameters> {
        let out = CodecParameters::empty()?;
        // SAFETY: both live.
        check(unsafe { raw::gsav_params_copy(out.as_ptr(), from) }, "copy codec parameters")?;
        Ok(out)
    }

    /// # Safety
    /// `context` is an opened codec.
    pub(crate) unsafe fn of_context(context: *const raw::AVCodecContext) -> Result<CodecParameters> {
        let mut out = CodecParameters::empty()?;
        // SAFETY: both live.
        check(unsafe { raw::gsav_params_from_context(out.as_ptr(), context) }, "read codec parameters")?;
        // SAFETY: a live context; the call checks the index.
        out.collect(|i, kind, size| unsafe { raw::gsav_context_side_data(context, i, kind, size) });
        Ok(out)
    }

    /// Copies side data until `get(index)` has no more.
    pub(crate) fn collect(&mut self, get: impl Fn(i32, &mut i32, &mut usize) -> *const u8) {
        for i in 0.. {
            let (mut kind, mut size) = (0, 0);
            let data = get(i, &mut kind, &mut size);
            // SAFETY: getters return NULL or `size` bytes that live through this loop.
            match unsafe { copy(data, size) } {
                Some(data) => self.side_data.push((kind, data)),
                None => return,
            }
        }
    }
}

impl Clone for CodecParameters {
    /// # Panics
    /// When memory for the copy cannot be allocated; [`CodecParameters::try_clone`] reports that instead.
    fn clone(&self) -> Self {
        match self.try_clone() {
            Ok(copy) => copy,
            Err(_) => std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u8; 256]>()),
        }
    }
}

impl Drop for CodecParameters {
    fn drop(&mut self) {
        let mut raw = self.raw.as_ptr();
        // SAFETY: ours; freed once.
        unsafe { raw::avcodec_parameters_free(&mut raw) }
    }
}

impl std::fmt::Debug for CodecParameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.values().fmt(f)
    }
}

/// By how many degrees a display matrix turns a picture clockwise, once it is mirrored if [`mirrors`] says so.
pub(crate) fn clockwise(matrix: &[i32; 9]) -> f64 {
    let mut matrix = *matrix;
    if mirrors(&matrix) {
        mirror(&mut matrix);
    }
    // SAFETY: reads nine numbers.
    let counter = unsafe { raw::gsav_matrix_rotation(matrix.as_ptr()) };
    if counter.is_nan() { 0.0 } else { (-counter.round()).rem_euclid(360.0) }
}

/// Whether a display matrix mirrors: its determinant is negative.
pub(crate) fn mirrors(matrix: &[i32; 9]) -> bool {
    let product = |a: i32, b: i32| f64::from(a) * f64::from(b);
    product(matrix[0], matrix[4]) < product(matrix[1], matrix[3])
}

/// Has a display matrix mirror left to right before anything else.
fn mirror(matrix: &mut [i32; 9]) {
    for v in &mut matrix[..2] {
        *v = v.saturating_neg();
    }
}

/// Bytes at an address fit for any C struct.
struct Aligned {
    words: Vec<u64>,
    len: usize,
}

impl Aligned {
    fn new(data: &[u8]) -> Aligned {
        let words = data
            .chunks(8)
            .map(|c| {
                let mut word = [0; 8];
                word[..c.len()].copy_from_slice(c);
                u64::from_ne_bytes(word)
            })
            .collect();
        Aligned { words, len: data.len() }
    }

    fn as_ptr(&self) -> *const u8 {
        self.words.as_ptr().cast()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ContentLight, DolbyVision, MasteringDisplay};
    use super::*;

    #[test]
    fn values_hdr_and_rotation_survive_the_trip() {
        let values = ParameterValues {
            kind: MediaType::Video,
            codec: "hevc".into(),
            profile: Some(2),
            level: Some(120),
            extradata: Bytes::from_static(b"\x01hvcC"),
            width: 1920,
            height: 1080,
            pixel_format: Some(PixelFormat::yuv420p10()),
            sample_aspect: (4, 3),
            colour: Colour { transfer: 16, primaries: 9, matrix: 9, ..Colour::BT709 },
            field_order: FieldOrder::TopFirst,
            reorder: 2,
            ..Default::default()
        };
        let mut p = CodecParameters::new(&values).unwrap();
        assert_eq!(p.values(), values);
        let metadata = HdrMetadata {
            mastering: Some(MasteringDisplay {
                primaries: [[0.68, 0.32], [0.265, 0.69], [0.15, 0.06]],
                white: [0.3127, 0.329],
                min_luminance: 0.005,
                max_luminance: 1000.0,
            }),
            content_light: Some(ContentLight { max_content: 1000, max_average: 400 }),
            dolby_vision: Some(DolbyVision {
                profile: 8,
                level: 6,
                rpu: true,
                enhancement_layer: false,
                base_layer: true,
                compatibility: 1,
            }),
            hdr10_plus: false,
        };
        p.set_hdr(&metadata);
        p.set_rotation(90.0, false);
        let copy = p.clone();
        assert_eq!(copy.hdr(), metadata);
        assert_eq!((copy.rotation(), copy.mirrored()), (90.0, false));
        assert_eq!(copy.values(), values);
        p.set_hdr(&HdrMetadata::default());
        p.set_rotation(0.0, false);
        assert!(p.all_side_data().is_empty());
    }

    #[test]
    fn a_mirror_is_no_rotation() {
        let values = ParameterValues { kind: MediaType::Video, codec: "h264".into(), ..Default::default() };
        let mut p = CodecParameters::new(&values).unwrap();
        for (degrees, mirrored, upper_left) in [
            (90.0, false, [0, 1, -1, 0]),
            (0.0, true, [-1, 0, 0, 1]),
            (90.0, true, [0, -1, -1, 0]),
            (180.0, true, [1, 0, 0, -1]),
            (270.0, true, [0, 1, 1, 0]),
        ] {
            p.set_rotation(degrees, mirrored);
            let matrix = p.display_matrix().unwrap();
            assert_eq!([0, 1, 3, 4].map(|i| matrix[i] >> 16), upper_left, "{degrees} {mirrored}");
            assert_eq!((p.rotation(), p.mirrored()), (degrees, mirrored));
        }
        p.set_rotation(30.0, true);
        assert_eq!((p.rotation(), p.mirrored()), (30.0, true));
        // What says nothing.
        assert!(!mirrors(&[0; 9]) && clockwise(&[0; 9]) == 0.0);
    }

    #[test]
    fn audio_values_survive_and_an_unknown_codec_is_refused() {
        let values = ParameterValues {
            kind: MediaType::Audio,
            codec: "aac".into(),
            sample_rate: 48000,
            layout: Some(ChannelLayout::from_name("5.1").unwrap()),
            sample_format: Some(SampleFormat::F32P),
            frame_size: 1024,
            initial_padding: 1024,
            ..Default::default()
        };
        assert_eq!(CodecParameters::new(&values).unwrap().values(), values);
        assert!(CodecParameters::new(&ParameterValues { codec: "nope".into(), ..values }).is_err());
    }
}
