//! The description of an elementary stream: what a container says, or what an encoder will make.

use super::{Codec, MediaKind};
use crate::frame::{ChannelLayout, Colour, HdrMetadata, PixelFormat, SampleFormat};
use crate::time::{Rational, TimeBase, Timestamp};
use bytes::Bytes;

/// One elementary stream.
#[derive(Clone, Debug)]
pub struct StreamInfo {
    /// Position in the container.
    pub index: usize,
    /// The container's own id (MPEG-TS PID, MP4 track id), if it has one.
    pub id: Option<i64>,
    /// What it carries.
    pub kind: MediaKind,
    /// How it is coded.
    pub codec: Codec,
    /// Codec profile number as in FFmpeg's `AV_PROFILE_*` (H.264: `profile_idc` with constraint bits); `None` = unknown.
    pub profile: Option<i32>,
    /// Codec level (H.264: `level_idc`; HEVC: `general_level_idc`; AV1: `seq_level_idx`); `None` = unknown.
    pub level: Option<i32>,
    /// avcC, hvcC, av1C's configOBUs, AudioSpecificConfig, OpusHead …: FFmpeg's extradata for the codec.
    pub extradata: Bytes,
    /// Base of the stream's timestamps.
    pub time_base: TimeBase,
    /// First timestamp.
    pub start: Option<Timestamp>,
    /// Length.
    pub duration: Option<Timestamp>,
    /// Number of frames, where the container knows.
    pub frames: Option<u64>,
    /// Bits per second, where known.
    pub bit_rate: Option<u64>,
    /// ISO 639 language as written, `None` where absent or `und`.
    pub language: Option<String>,
    /// Human-readable title.
    pub title: Option<String>,
    /// Roles.
    pub disposition: Disposition,
    /// All other tags.
    pub metadata: Vec<(String, String)>,
    /// Ids of the programs that it belongs to, where the container has any (MPEG-TS: `program_number`).
    pub programs: Vec<i64>,
    /// Set for video.
    pub video: Option<VideoInfo>,
    /// Set for audio.
    pub audio: Option<AudioInfo>,
    /// FFmpeg's own description, for decoders and for a faithful copy. `None` for streams our own encoders make.
    pub native: Option<ghoststream_sys::ffmpeg::CodecParameters>,
}

impl StreamInfo {
    /// Whether it is of a program of `picture`, or the container does not say to which programs they belong.
    pub(crate) fn belongs_to(&self, picture: Option<&StreamInfo>) -> bool {
        let Some(picture) = picture else { return true };
        let (own, its) = (&self.programs, &picture.programs);
        own.is_empty() || its.is_empty() || own.iter().any(|id| its.contains(id))
    }

    /// A stream of `kind` and `codec` with everything else unknown.
    pub fn new(kind: MediaKind, codec: Codec, time_base: TimeBase) -> Self {
        StreamInfo {
            index: 0,
            id: None,
            kind,
            codec,
            profile: None,
            level: None,
            extradata: Bytes::new(),
            time_base,
            start: None,
            duration: None,
            frames: None,
            bit_rate: None,
            language: None,
            title: None,
            disposition: Disposition::default(),
            metadata: Vec::new(),
            video: None,
            audio: None,
            programs: Vec::new(),
            native: None,
        }
    }
}

/// The video side of a [`StreamInfo`].
#[derive(Clone, Debug, PartialEq)]
pub struct VideoInfo {
    /// Coded width in pixels.
    pub width: u32,
    /// Coded height in pixels.
    pub height: u32,
    /// Pixel format, when known before decoding.
    pub format: Option<PixelFormat>,
    /// Average frame rate (frames per second).
    pub frame_rate: Option<Rational>,
    /// Whether the container promises a constant frame rate (`None`: unknown before a scan).
    pub constant_rate: Option<bool>,
    /// Sample (pixel) aspect ratio; 1/1 when unknown.
    pub sample_aspect: Rational,
    /// Colour description.
    pub colour: Colour,
    /// HDR metadata and Dolby Vision presence.
    pub hdr: HdrMetadata,
    /// Clockwise rotation to apply for display, degrees (0, 90, 180, 270 and, rarely, others).
    pub rotation: f64,
    /// Whether the picture is mirrored left to right for display, before it is rotated.
    pub mirrored: bool,
    /// Interlacing.
    pub field_order: FieldOrder,
    /// Frames of reorder delay (B-frames), as the container or encoder says.
    pub reorder: u32,
}

impl VideoInfo {
    /// What is done to the picture to show it, in words, if anything is.
    pub fn turned(&self) -> Option<String> {
        turned(self.rotation, self.mirrored)
    }
}

/// As [`VideoInfo::turned`]: rotated by so many degrees clockwise, once it is mirrored.
pub fn turned(rotation: f64, mirrored: bool) -> Option<String> {
    let rotated = (rotation != 0.0).then(|| format!("rotated by {rotation:.0} degrees"));
    match (mirrored, rotated) {
        (true, Some(rotated)) => Some(format!("mirrored and {rotated}")),
        (true, None) => Some("mirrored".into()),
        (false, rotated) => rotated,
    }
}

/// The audio side of a [`StreamInfo`].
#[derive(Clone, Debug, PartialEq)]
pub struct AudioInfo {
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels and their places.
    pub layout: ChannelLayout,
    /// Sample format, when known before decoding.
    pub format: Option<SampleFormat>,
    /// Samples per coded frame; 0 = variable or unknown.
    pub frame_size: u32,
    /// Samples of encoder delay at the start (priming).
    pub initial_padding: u32,
}

/// Interlacing of a video stream or frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FieldOrder {
    /// Not known.
    #[default]
    Unknown,
    /// Whole frames.
    Progressive,
    /// Interlaced, top field first.
    TopFirst,
    /// Interlaced, bottom field first.
    BottomFirst,
}

/// Roles of a stream, as containers flag them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[allow(missing_docs)]
pub struct Disposition {
    pub default: bool,
    pub forced: bool,
    pub original: bool,
    pub comment: bool,
    pub hearing_impaired: bool,
    pub visual_impaired: bool,
    pub attached_picture: bool,
}
