//! What this FFmpeg has: versions, encoders, decoders, formats, filters, protocols.

use super::error::{Result, c_string, check, text};
use super::parameters::MediaType;
use super::{ChannelLayout, PixelFormat, SampleFormat, raw};
use std::ffi::{CString, c_char, c_void};

/// Versions of the libraries that are loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// FFmpeg's own version text (`5.1.9-0+deb12u1`).
    pub ffmpeg: String,
    /// libavutil: major, minor, micro.
    pub avutil: (u32, u32, u32),
    /// libavcodec.
    pub avcodec: (u32, u32, u32),
    /// libavformat.
    pub avformat: (u32, u32, u32),
    /// libavfilter.
    pub avfilter: (u32, u32, u32),
    /// libavdevice.
    pub avdevice: (u32, u32, u32),
}

/// Versions of the libraries that are loaded.
pub fn versions() -> Versions {
    let get = |library| {
        // SAFETY: takes any int.
        let v = unsafe { raw::gsav_version(library) };
        (v >> 16, v >> 8 & 0xff, v & 0xff)
    };
    Versions {
        // SAFETY: a static string.
        ffmpeg: unsafe { text(raw::av_version_info()) },
        avutil: get(0),
        avcodec: get(1),
        avformat: get(2),
        avfilter: get(3),
        avdevice: get(4),
    }
}

/// The configure line that FFmpeg was built with.
pub fn configuration() -> String {
    // SAFETY: a static string.
    unsafe { text(raw::avutil_configuration()) }
}

/// The licence of the FFmpeg in use (`GPL version 2 or later` …).
pub fn license() -> String {
    // SAFETY: a static string.
    unsafe { text(raw::avutil_license()) }
}

unsafe extern "C" fn push(list: *mut c_void, name: *const c_char) {
    // SAFETY: `names` passes its list, and the shim a terminated string.
    unsafe { (*list.cast::<Vec<String>>()).push(text(name)) }
}

fn names(what: i32) -> Vec<String> {
    raw::init();
    let mut list: Vec<String> = Vec::new();
    // SAFETY: `push` is called with this list, during the call only.
    unsafe { raw::gsav_names(what, push, (&raw mut list).cast()) };
    list
}

fn has(what: i32, name: &str) -> bool {
    raw::init();
    // SAFETY: a terminated string.
    CString::new(name).is_ok_and(|name| unsafe { raw::gsav_has(what, name.as_ptr()) != 0 })
}

macro_rules! lists {
    ($($(#[$meta:meta])* $fn:ident $what:literal,)*) => {
        $($(#[$meta])* pub fn $fn() -> Vec<String> { names($what) })*
    };
}

lists! {
    /// Names of all encoders.
    encoders 0,
    /// Names of all decoders.
    decoders 1,
    /// Names of all output formats.
    muxers 2,
    /// Names of all input formats (several, separated by commas, for one demuxer of many).
    demuxers 3,
    /// Names of all filters.
    filters 4,
    /// Names of all protocols that can be read.
    input_protocols 5,
    /// Names of all protocols that can be written.
    output_protocols 6,
    /// Names of all hardware device types built in; that one is listed does not mean that there is such a device.
    hw_device_types 7,
    /// Names of all bitstream filters.
    bitstream_filters 8,
}

macro_rules! checks {
    ($($(#[$meta:meta])* $fn:ident $what:literal,)*) => {
        $($(#[$meta])* pub fn $fn(name: &str) -> bool { has($what, name) })*
    };
}

checks! {
    /// Whether there is an encoder of this name.
    has_encoder 0,
    /// Whether there is a decoder of this name.
    has_decoder 1,
    /// Whether there is an output format of this name.
    has_muxer 2,
    /// Whether there is an input format of this name.
    has_demuxer 3,
    /// Whether there is a filter of this name.
    has_filter 4,
    /// Whether there is a bitstream filter of this name.
    has_bitstream_filter 8,
}

/// # Safety
/// `name` is NULL or a terminated string.
unsafe fn optional(name: *const c_char) -> Option<String> {
    // SAFETY: the caller's promise.
    (!name.is_null()).then(|| unsafe { text(name) })
}

/// The output format for a file name, by its extension.
pub fn guess_format(filename: &str) -> Option<String> {
    let name = CString::new(filename).ok()?;
    // SAFETY: a terminated string; a static one comes back.
    unsafe { optional(raw::gsav_guess_format(name.as_ptr())) }
}

/// The usual file extensions of an output format, the first being the most usual.
pub fn format_extensions(format: &str) -> Vec<String> {
    let Ok(name) = CString::new(format) else { return Vec::new() };
    // SAFETY: a terminated string; a static one comes back.
    let list = unsafe { optional(raw::gsav_muxer_extensions(name.as_ptr())) }.unwrap_or_default();
    list.split(',').filter(|e| !e.is_empty()).map(str::to_owned).collect()
}

/// What an encoder is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoderInfo {
    /// FFmpeg's codec name (`h264` for `libx264`).
    pub codec: String,
    /// Pictures, sound or subtitles.
    pub kind: MediaType,
    /// Runs on hardware.
    pub hardware: bool,
    /// Not meant for use without `strict=experimental`.
    pub experimental: bool,
}

fn coder(name: &str, encoder: bool) -> Option<CoderInfo> {
    let name = CString::new(name).ok()?;
    // SAFETY: terminated strings; any number is accepted.
    let info = |what| unsafe { raw::gsav_codec_info(name.as_ptr(), encoder.into(), what) };
    let (id, kind, caps) = (info(0), info(1), info(2));
    if id < 0 {
        return None;
    }
    Some(CoderInfo {
        // SAFETY: any number is accepted; a static string.
        codec: unsafe { text(raw::gsav_codec_name(id)) },
        kind: MediaType::from_raw(kind),
        hardware: caps & (1 << 18) != 0,
        experimental: caps & (1 << 9) != 0,
    })
}

/// What the encoder of this name is for; `None` when there is none.
pub fn encoder_info(name: &str) -> Option<CoderInfo> {
    coder(name, true)
}

/// What the decoder of this name is for; `None` when there is none.
pub fn decoder_info(name: &str) -> Option<CoderInfo> {
    coder(name, false)
}

/// FFmpeg's first encoder for a codec; `None` when there is none.
pub fn default_encoder(codec: &str) -> Option<String> {
    let codec = CString::new(codec).ok()?;
    // SAFETY: a terminated string; a static one comes back.
    unsafe { optional(raw::gsav_default_coder(raw::gsav_codec_id(codec.as_ptr()), 1)) }
}

/// FFmpeg's first decoder for a codec; `None` when there is none.
pub fn default_decoder(codec: &str) -> Option<String> {
    let codec = CString::new(codec).ok()?;
    // SAFETY: a terminated string; a static one comes back.
    unsafe { optional(raw::gsav_default_coder(raw::gsav_codec_id(codec.as_ptr()), 0)) }
}

/// The decoder of `codec` that can be given a device of type `kind` (`cuda`, `vaapi` …), FFmpeg's own before those of
/// vendors' libraries; `None` when there is none. Whether the device takes the stream shows only when it decodes.
pub fn device_decoder(codec: &str, kind: &str) -> Option<String> {
    let kind = CString::new(kind).ok()?;
    let takes = |name: &str| {
        let Ok(name) = CString::new(name) else { return false };
        // SAFETY: terminated strings.
        unsafe { raw::gsav_decoder_on(name.as_ptr(), kind.as_ptr()) != 0 }
    };
    let fits = |name: &String| decoder_info(name).is_some_and(|i| i.codec == codec) && takes(name);
    decoders().into_iter().find(fits)
}

/// The media type of a codec by FFmpeg's name; `None` when FFmpeg does not know it.
pub fn codec_kind(codec: &str) -> Option<MediaType> {
    let codec = CString::new(codec).ok()?;
    // SAFETY: a terminated string; any number is accepted.
    let id = unsafe { raw::gsav_codec_id(codec.as_ptr()) };
    // SAFETY: as above.
    (id != 0).then(|| MediaType::from_raw(unsafe { raw::gsav_codec_kind(id) }))
}

/// Whether a subtitle codec is text (else pictures).
pub fn is_text_subtitle(codec: &str) -> bool {
    const TEXT_SUB: i32 = 1 << 17;
    // SAFETY: a terminated string; any number is accepted.
    CString::new(codec)
        .is_ok_and(|c| unsafe { raw::gsav_codec_props(raw::gsav_codec_id(c.as_ptr())) & TEXT_SUB != 0 })
}

fn supported(encoder: &str, what: i32) -> Result<Vec<i32>> {
    let name = c_string(encoder, "an encoder name")?;
    let mut list = [0; 512];
    // SAFETY: a terminated string; at most the array's length is written.
    let count = unsafe { raw::gsav_supported(name.as_ptr(), what, list.as_mut_ptr(), list.len() as i32) };
    let count = check(count, format!("encoder {encoder}"))? as usize;
    Ok(list[..count.min(list.len())].to_vec())
}

/// Pixel formats that an encoder takes, best first; empty = any.
///
/// # Errors
/// `Unsupported` when there is no such encoder.
pub fn supported_formats(encoder: &str) -> Result<Vec<PixelFormat>> {
    Ok(supported(encoder, 0)?.into_iter().map(PixelFormat).collect())
}

/// Sample formats that an encoder takes, best first; empty = any.
///
/// # Errors
/// `Unsupported` when there is no such encoder.
pub fn supported_sample_formats(encoder: &str) -> Result<Vec<SampleFormat>> {
    Ok(supported(encoder, 1)?.into_iter().map(SampleFormat).collect())
}

/// Sample rates that an encoder takes; empty = any.
///
/// # Errors
/// `Unsupported` when there is no such encoder.
pub fn supported_sample_rates(encoder: &str) -> Result<Vec<u32>> {
    Ok(supported(encoder, 2)?.into_iter().filter_map(|r| u32::try_from(r).ok()).collect())
}

/// Channel layouts that an encoder takes; empty = any.
///
/// # Errors
/// `Unsupported` when there is no such encoder.
pub fn supported_layouts(encoder: &str) -> Result<Vec<ChannelLayout>> {
    let name = c_string(encoder, "an encoder name")?;
    let mut out = Vec::new();
    for i in 0.. {
        let mut layout = [0 as c_char; 256];
        // SAFETY: a terminated string; the buffer's length is passed.
        let code = unsafe { raw::gsav_supported_layout(name.as_ptr(), i, layout.as_mut_ptr(), layout.len()) };
        if check(code, format!("encoder {encoder}"))? == 0 {
            break;
        }
        // SAFETY: terminated by the call.
        if let Ok(layout) = ChannelLayout::from_name(&unsafe { text(layout.as_ptr()) }) {
            out.push(layout);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_knows_what_every_build_has() {
        assert!(versions().avcodec.0 >= 59, "{:?}", versions());
        assert!(configuration().contains("--"));
        for (list, name) in [
            (encoders(), "aac"),
            (decoders(), "h264"),
            (muxers(), "mp4"),
            (demuxers(), "mov,mp4,m4a,3gp,3g2,mj2"),
            (filters(), "scale"),
            (input_protocols(), "file"),
            (output_protocols(), "file"),
            (bitstream_filters(), "h264_mp4toannexb"),
        ] {
            assert!(list.iter().any(|n| n == name), "{name} in {list:?}");
        }
        assert!(has_encoder("aac") && !has_encoder("nope") && has_filter("scale") && has_demuxer("lavfi"));
        assert_eq!(guess_format("a.mkv").as_deref(), Some("matroska"));
        assert_eq!(format_extensions("mpegts").first().map(String::as_str), Some("ts"));
        assert_eq!(codec_kind("hevc"), Some(MediaType::Video));
        assert!(is_text_subtitle("webvtt") && !is_text_subtitle("dvb_subtitle"));
        let info = encoder_info("libx264").unwrap();
        assert_eq!((info.codec.as_str(), info.kind, info.hardware), ("h264", MediaType::Video, false));
        assert!(supported_formats("libx264").unwrap().contains(&PixelFormat::yuv420p()));
        assert_eq!(supported_sample_formats("aac").unwrap(), [SampleFormat::F32P]);
        assert!(supported_sample_rates("libopus").unwrap().contains(&48000));
        assert!(supported_layouts("libmp3lame").unwrap().iter().any(|l| l.name == "stereo"));
        assert!(supported_formats("nope").is_err());
    }
}
