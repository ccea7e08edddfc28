//! Pixel formats, sample formats and channel layouts, by FFmpeg's names.

use super::error::{Error, Result, c_string, text};
use super::raw;
use std::ffi::c_char;
use std::fmt;

/// A pixel format of the FFmpeg in use (`AVPixelFormat`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PixelFormat(pub(crate) i32);

/// How a pixel format lays out its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelDescriptor {
    /// Planes in memory (0 for formats without host memory).
    pub planes: usize,
    /// Components per pixel (1 grey, 3 colour, 4 with alpha).
    pub components: usize,
    /// log2 of the horizontal chroma subsampling.
    pub log2_chroma_w: u32,
    /// log2 of the vertical chroma subsampling.
    pub log2_chroma_h: u32,
    /// Bits of the deepest component.
    pub depth: u32,
    /// Bits per pixel, averaged over subsampled chroma, without padding.
    pub bits_per_pixel: u32,
    /// RGB rather than YUV or grey.
    pub is_rgb: bool,
    /// Carries alpha.
    pub has_alpha: bool,
    /// At least two components lie in planes of their own.
    pub is_planar: bool,
    /// Pixels live on a device, not in host memory.
    pub is_hardware: bool,
    /// Samples are IEEE floats.
    pub is_float: bool,
    /// Samples are big-endian.
    pub big_endian: bool,
    /// Pixels are indices into a palette in plane 1.
    pub has_palette: bool,
}

macro_rules! known_pixel_formats {
    ($($(#[$meta:meta])* $fn:ident $name:literal,)*) => {
        /// The formats that code names, looked up in the FFmpeg in use. [`PixelFormat::NONE`] if it lacks one.
        impl PixelFormat {
            $($(#[$meta])* pub fn $fn() -> PixelFormat {
                static FORMAT: std::sync::OnceLock<PixelFormat> = std::sync::OnceLock::new();
                *FORMAT.get_or_init(|| PixelFormat::from_name($name).unwrap_or(PixelFormat::NONE))
            })*
        }
    };
}

known_pixel_formats! {
    /// Planar 4:2:0, 8 bits.
    yuv420p "yuv420p",
    /// Planar 4:2:2, 8 bits.
    yuv422p "yuv422p",
    /// Planar 4:4:4, 8 bits.
    yuv444p "yuv444p",
    /// Planar 4:2:0, 8 bits, full range by definition (deprecated by FFmpeg, still decoded from JPEG).
    yuvj420p "yuvj420p",
    /// Planar 4:2:0 with alpha, 8 bits.
    yuva420p "yuva420p",
    /// Planar 4:2:0, 10 bits in 16, little-endian.
    yuv420p10 "yuv420p10le",
    /// Planar 4:2:2, 10 bits in 16, little-endian.
    yuv422p10 "yuv422p10le",
    /// Planar 4:4:4, 10 bits in 16, little-endian.
    yuv444p10 "yuv444p10le",
    /// Luma plane and interleaved chroma, 4:2:0, 8 bits.
    nv12 "nv12",
    /// As nv12, 10 bits in the high bits of 16.
    p010 "p010le",
    /// As nv12, 16 bits.
    p016 "p016le",
    /// Packed 4:2:2, Y first.
    yuyv422 "yuyv422",
    /// Packed 4:2:2, U first.
    uyvy422 "uyvy422",
    /// Packed, 8 bits per component.
    rgb24 "rgb24",
    /// Packed, 8 bits per component.
    bgr24 "bgr24",
    /// Packed, 8 bits per component.
    rgba "rgba",
    /// Packed, 8 bits per component.
    bgra "bgra",
    /// Packed with a byte of padding.
    rgb0 "rgb0",
    /// Packed with a byte of padding.
    bgr0 "bgr0",
    /// Packed, alpha first.
    argb "argb",
    /// Packed, alpha first.
    abgr "abgr",
    /// Packed, 16 bits per component, little-endian.
    rgb48 "rgb48le",
    /// Packed, 16 bits per component, little-endian.
    rgba64 "rgba64le",
    /// Packed 10-bit RGB with two bits of padding, little-endian.
    x2rgb10 "x2rgb10le",
    /// Planar RGB, 8 bits.
    gbrp "gbrp",
    /// Planar RGB, 10 bits.
    gbrp10 "gbrp10le",
    /// Planar RGB, 32-bit float.
    gbrpf32 "gbrpf32le",
    /// Grey, 8 bits.
    gray8 "gray",
    /// Grey, 16 bits, little-endian.
    gray16 "gray16le",
    /// Indices into a palette.
    pal8 "pal8",
    /// CUDA device memory.
    cuda "cuda",
    /// A VA-API surface.
    vaapi "vaapi",
    /// A Quick Sync surface.
    qsv "qsv",
    /// A DMA-BUF.
    drm_prime "drm_prime",
    /// A Vulkan image.
    vulkan "vulkan",
}

impl PixelFormat {
    /// No format: unknown, or not there.
    pub const NONE: PixelFormat = PixelFormat(-1);

    /// The format called `name` (`yuv420p`, `p010le` …; `p010` finds the native endianness), if this FFmpeg has it.
    pub fn from_name(name: &str) -> Option<PixelFormat> {
        let name = std::ffi::CString::new(name).ok()?;
        // SAFETY: a terminated string.
        let format = unsafe { raw::gsav_pix_from_name(name.as_ptr()) };
        (format >= 0).then_some(PixelFormat(format))
    }

    /// FFmpeg's name; `none` for [`PixelFormat::NONE`] and anything this FFmpeg does not know.
    pub fn name(self) -> &'static str {
        // SAFETY: any int is accepted; names are static strings.
        unsafe { static_text(raw::gsav_pix_name(self.0)) }
    }

    /// Whether this is [`PixelFormat::NONE`].
    pub fn is_none(self) -> bool {
        self.0 < 0
    }

    /// Whether pixels live on a device.
    pub fn is_hardware(self) -> bool {
        self.descriptor().is_some_and(|d| d.is_hardware)
    }

    /// How samples lie in memory; `None` for [`PixelFormat::NONE`].
    pub fn descriptor(self) -> Option<PixelDescriptor> {
        let mut d = raw::PixDesc::default();
        // SAFETY: any int is accepted; `d` is written on success.
        if unsafe { raw::gsav_pix_desc(self.0, &mut d) } < 0 {
            return None;
        }
        Some(PixelDescriptor {
            planes: d.planes as usize,
            components: d.components as usize,
            log2_chroma_w: d.log2_chroma_w as u32,
            log2_chroma_h: d.log2_chroma_h as u32,
            depth: d.depth as u32,
            bits_per_pixel: d.bits_per_pixel as u32,
            is_rgb: d.rgb != 0,
            has_alpha: d.alpha != 0,
            is_planar: d.planar != 0,
            is_hardware: d.hardware != 0,
            is_float: d.floating != 0,
            big_endian: d.big_endian != 0,
            has_palette: d.palette != 0,
        })
    }

    /// Bytes of a picture packed without padding (rows one after another, planes one after another); `None` when the
    /// format has no host layout or the size is out of range.
    pub fn image_size(self, width: u32, height: u32) -> Option<usize> {
        let (w, h) = (i32::try_from(width).ok()?, i32::try_from(height).ok()?);
        // SAFETY: plain numbers; the call checks them.
        usize::try_from(unsafe { raw::gsav_image_size(self.0, w, h, 1) }).ok()
    }

    /// Rows of a plane and the bytes that count in each; `None` when there is no such plane.
    pub fn plane_layout(self, width: u32, height: u32, plane: usize) -> Option<(usize, usize)> {
        let (w, h) = (i32::try_from(width).ok()?, i32::try_from(height).ok()?);
        let (mut rows, mut bytes) = (0, 0);
        let plane = i32::try_from(plane).ok()?;
        // SAFETY: plain numbers; the call checks them.
        if unsafe { raw::gsav_plane_layout(self.0, w, h, plane, &mut rows, &mut bytes) } < 0 {
            return None;
        }
        Some((rows as usize, bytes as usize))
    }

    /// Which of `choices` loses least when pictures of this format are converted to it.
    pub fn best_of(self, choices: &[PixelFormat]) -> Option<PixelFormat> {
        let list: Vec<i32> = choices.iter().map(|f| f.0).collect();
        let alpha = self.descriptor().is_some_and(|d| d.has_alpha) as i32;
        // SAFETY: the list's length is passed.
        let best = unsafe { raw::gsav_best_pix(list.as_ptr(), list.len() as i32, self.0, alpha) };
        (best >= 0).then_some(PixelFormat(best))
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An audio sample format of the FFmpeg in use (`AVSampleFormat`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SampleFormat(pub(crate) i32);

impl SampleFormat {
    /// No format.
    pub const NONE: SampleFormat = SampleFormat(-1);
    /// Unsigned 8 bits, interleaved.
    pub const U8: SampleFormat = SampleFormat(0);
    /// Signed 16 bits, interleaved.
    pub const S16: SampleFormat = SampleFormat(1);
    /// Signed 32 bits, interleaved.
    pub const S32: SampleFormat = SampleFormat(2);
    /// 32-bit float, interleaved.
    pub const F32: SampleFormat = SampleFormat(3);
    /// 64-bit float, interleaved.
    pub const F64: SampleFormat = SampleFormat(4);
    /// Signed 16 bits, a plane per channel.
    pub const S16P: SampleFormat = SampleFormat(6);
    /// Signed 32 bits, a plane per channel.
    pub const S32P: SampleFormat = SampleFormat(7);
    /// 32-bit float, a plane per channel.
    pub const F32P: SampleFormat = SampleFormat(8);

    /// The format called `name` (`s16`, `fltp` …).
    pub fn from_name(name: &str) -> Option<SampleFormat> {
        let name = std::ffi::CString::new(name).ok()?;
        // SAFETY: a terminated string.
        let format = unsafe { raw::gsav_sample_from_name(name.as_ptr()) };
        (format >= 0).then_some(SampleFormat(format))
    }

    /// FFmpeg's name, `none` when there is none.
    pub fn name(self) -> &'static str {
        // SAFETY: any int is accepted; names are static strings.
        unsafe { static_text(raw::gsav_sample_name(self.0)) }
    }

    /// Whether each channel has a plane of its own.
    pub fn is_planar(self) -> bool {
        // SAFETY: any int is accepted.
        unsafe { raw::gsav_sample_planar(self.0) != 0 }
    }

    /// Bytes per sample of one channel; 0 for [`SampleFormat::NONE`].
    pub fn bytes(self) -> usize {
        // SAFETY: any int is accepted.
        unsafe { raw::gsav_sample_bytes(self.0) }.max(0) as usize
    }
}

impl fmt::Display for SampleFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for SampleFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Channels of an audio stream and their places, in FFmpeg's notation (`mono`, `stereo`, `5.1(side)`).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ChannelLayout {
    /// Number of channels.
    pub channels: u32,
    /// `av_channel_layout_describe` of the layout (for an unordered one: `N channels`).
    pub name: String,
}

impl ChannelLayout {
    /// FFmpeg's default layout for a number of channels (1 mono, 2 stereo, 6 `5.1` …).
    pub fn from_channels(channels: u32) -> ChannelLayout {
        let count = i32::try_from(channels).unwrap_or(i32::MAX);
        let mut name = [0 as c_char; 256];
        // SAFETY: the buffer's length is passed; the text is terminated.
        let name = unsafe {
            raw::gsav_layout_name(std::ptr::null(), count, name.as_mut_ptr(), name.len());
            text(name.as_ptr())
        };
        ChannelLayout { channels, name }
    }

    /// The layout FFmpeg calls `name` (`stereo`, `5.1`, `FL+FR+LFE`, `3 channels`).
    ///
    /// # Errors
    /// `Invalid` when FFmpeg does not know it.
    pub fn from_name(name: &str) -> Result<ChannelLayout> {
        let asked = c_string(name, "a channel layout")?;
        let mut out = [0 as c_char; 256];
        // SAFETY: a terminated string in; the buffer's length is passed.
        let channels = unsafe { raw::gsav_layout_name(asked.as_ptr(), 0, out.as_mut_ptr(), out.len()) };
        if channels <= 0 {
            return Err(Error::invalid(format!("channel layout {name:?}")));
        }
        // SAFETY: written and terminated by the call.
        Ok(ChannelLayout { channels: channels as u32, name: unsafe { text(out.as_ptr()) } })
    }
}

impl fmt::Display for ChannelLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// # Safety
/// `name` is NULL or a static, terminated string.
unsafe fn static_text(name: *const c_char) -> &'static str {
    if name.is_null() {
        return "none";
    }
    // SAFETY: the caller's promise.
    unsafe { std::ffi::CStr::from_ptr(name) }.to_str().unwrap_or("none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_formats_exist_and_describe_themselves() {
        assert_eq!(PixelFormat::yuv420p().name(), "yuv420p");
        let d = PixelFormat::p010().descriptor().unwrap();
        assert_eq!((d.planes, d.depth, d.log2_chroma_w, d.is_rgb), (2, 10, 1, false));
        assert!(PixelFormat::cuda().is_hardware());
        assert_eq!(PixelFormat::NONE.name(), "none");
        assert!(PixelFormat::NONE.descriptor().is_none());
        assert_eq!(PixelFormat::yuv420p().image_size(321, 181), Some(321 * 181 + 2 * 161 * 91));
        assert_eq!(PixelFormat::yuv420p().plane_layout(321, 181, 1), Some((91, 161)));
        assert_eq!(PixelFormat::yuv420p().plane_layout(321, 181, 3), None);
        let best = PixelFormat::yuv420p10().best_of(&[PixelFormat::nv12(), PixelFormat::p010()]);
        assert_eq!(best, Some(PixelFormat::p010()));
    }

    #[test]
    fn sample_format_numbers_match_their_names() {
        for (format, name, planar, bytes) in [
            (SampleFormat::U8, "u8", false, 1),
            (SampleFormat::S16, "s16", false, 2),
            (SampleFormat::S32, "s32", false, 4),
            (SampleFormat::F32, "flt", false, 4),
            (SampleFormat::F64, "dbl", false, 8),
            (SampleFormat::S16P, "s16p", true, 2),
            (SampleFormat::S32P, "s32p", true, 4),
            (SampleFormat::F32P, "fltp", true, 4),
        ] {
            assert_eq!((format.name(), format.is_planar(), format.bytes()), (name, planar, bytes));
            assert_eq!(SampleFormat::from_name(name), Some(format));
        }
    }

    #[test]
    fn layouts_have_ffmpegs_names() {
        assert_eq!(ChannelLayout::from_channels(2).name, "stereo");
        assert_eq!(ChannelLayout::from_name("5.1").unwrap().channels, 6);
        assert!(ChannelLayout::from_name("quite many").is_err());
    }
}
