//! What a probe answers. Everything serialises; names are FFmpeg's, times are seconds with the exact ticks beside them.

use crate::packet::{Codec, Disposition};
use crate::spec::HdrSpec;
use crate::time::{Rational, TimeBase, Timestamp};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// A source and its streams.
#[derive(Clone, Debug, Serialize)]
pub struct Probe {
    /// The source as messages name it (credentials masked).
    pub source: String,
    /// Container, by FFmpeg's demuxer name (`mov,mp4,m4a,3gp,3g2,mj2`).
    pub format: String,
    /// The same for people.
    pub format_name: String,
    /// First timestamp of the source, in seconds.
    pub start: Option<f64>,
    /// Length in seconds; `None` for live sources and those that do not say.
    pub duration: Option<f64>,
    /// Where `duration` comes from.
    pub duration_from: DurationFrom,
    /// Bits per second over all streams.
    pub bit_rate: Option<u64>,
    /// Bytes of a local file.
    pub size: Option<u64>,
    /// Whether it can be read from any place.
    pub seekable: bool,
    /// Streams in the container's order.
    pub streams: Vec<Stream>,
    /// Chapters by time.
    pub chapters: Vec<Chapter>,
    /// Programs, where the container has any (MPEG-TS, the variants of HLS).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<Program>,
    /// Files inside the container (fonts, cover art).
    pub attachments: Vec<Attachment>,
    /// Tags of the container.
    pub metadata: BTreeMap<String, String>,
}

/// One program: streams that belong to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Program {
    /// The container's id (MPEG-TS: `program_number`).
    pub id: i64,
    /// Its name (MPEG-TS: `service_name`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Indexes of its streams.
    pub streams: Vec<usize>,
}

/// How a duration was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DurationFrom {
    /// The container's header.
    Container,
    /// The timestamps of all packets.
    Packets,
    /// FFmpeg's estimate (bit rate, or the last timestamps); not exact.
    Estimate,
    /// The source does not say.
    Unknown,
}

/// One stream.
#[derive(Clone, Debug, Serialize)]
pub struct Stream {
    /// Position in the container.
    pub index: usize,
    /// The container's own id (MPEG-TS PID, MP4 track id).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// `video`, `audio`, `subtitle`, `data` or `attachment`.
    pub kind: &'static str,
    /// FFmpeg's codec name.
    pub codec: Codec,
    /// Name of the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Level as the codec counts (H.264 4.1 is 41, HEVC 4.1 is 123).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<i32>,
    /// Seconds per tick of the stream's timestamps.
    #[serde(serialize_with = "fraction")]
    pub time_base: TimeBase,
    /// First timestamp.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "time")]
    pub start: Option<Timestamp>,
    /// Length.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "time")]
    pub duration: Option<Timestamp>,
    /// Frames, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<u64>,
    /// Bits per second, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bit_rate: Option<u64>,
    /// ISO 639 language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Human-readable title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Roles.
    pub disposition: Disposition,
    /// Set for video.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video: Option<Video>,
    /// Set for audio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<Audio>,
    /// All other tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Key frames in presentation order; only when asked for, and for video only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyframes: Option<Vec<KeyFrame>>,
}

/// The video side of a [`Stream`].
#[derive(Clone, Debug, Serialize)]
pub struct Video {
    /// Coded pixels.
    pub width: u32,
    /// Coded pixels.
    pub height: u32,
    /// Pixels as shown: square samples, upright.
    pub display_width: u32,
    /// Pixels as shown: square samples, upright.
    pub display_height: u32,
    /// FFmpeg's pixel format name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel_format: Option<String>,
    /// Bits per component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bit_depth: Option<u32>,
    /// Frames per second, averaged.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rate")]
    pub frame_rate: Option<Rational>,
    /// The lowest rate that holds all timestamps exactly, as FFmpeg guesses it (twice the frame rate for fields).
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rate")]
    pub real_frame_rate: Option<Rational>,
    /// Whether all frames are equally long; `None` when too few were seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constant_rate: Option<bool>,
    /// Shape of a sample, width to height.
    #[serde(serialize_with = "fraction")]
    pub sample_aspect: Rational,
    /// `progressive`, `top_first`, `bottom_first` or `unknown`.
    pub field_order: &'static str,
    /// Clockwise rotation to apply for display, degrees.
    pub rotation: f64,
    /// Whether the picture is mirrored left to right for display, before it is rotated.
    pub mirrored: bool,
    /// Frames of reorder delay.
    pub reorder: u32,
    /// Colour as tagged.
    pub colour: ColourNames,
    /// Dynamic range.
    pub hdr: Hdr,
}

/// Colour by FFmpeg's names; `unknown` where not tagged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColourNames {
    /// `bt709`, `bt2020` …
    pub primaries: String,
    /// `bt709`, `smpte2084`, `arib-std-b67` …
    pub transfer: String,
    /// `bt709`, `bt2020nc` …
    pub matrix: String,
    /// `limited`, `full` or `unknown`.
    pub range: &'static str,
    /// `left`, `center`, `topleft` …
    pub chroma: &'static str,
}

/// What is known of a stream's dynamic range.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hdr {
    /// `sdr`, `hdr10`, `hlg`, `hdr10+` or `dolby_vision`.
    pub format: &'static str,
    /// Mastering display and light levels, in the document's words.
    #[serde(flatten)]
    pub metadata: HdrSpec,
    /// Whether SMPTE ST 2094-40 metadata is there.
    pub hdr10_plus: bool,
    /// The Dolby Vision configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dolby_vision: Option<Dolby>,
}

/// Dolby Vision configuration record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Dolby {
    pub profile: u8,
    pub level: u8,
    pub rpu: bool,
    pub enhancement_layer: bool,
    pub base_layer: bool,
    pub compatibility: u8,
}

/// The audio side of a [`Stream`].
#[derive(Clone, Debug, Serialize)]
pub struct Audio {
    /// Samples per second.
    pub sample_rate: u32,
    /// Number of channels.
    pub channels: u32,
    /// FFmpeg's layout name.
    pub layout: String,
    /// FFmpeg's sample format name of the decoder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_format: Option<String>,
    /// Bits per sample as coded; `None` for lossy codecs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bit_depth: Option<u32>,
    /// Samples per coded frame; 0 = variable or unknown.
    pub frame_size: u32,
    /// Samples of encoder delay at the start.
    pub initial_padding: u32,
}

/// A key frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KeyFrame {
    /// Presentation time in seconds.
    pub time: f64,
    /// The same in ticks of the stream's `time_base`.
    pub pts: i64,
    /// Byte position in the source, where the container has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
}

/// A chapter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chapter {
    /// The container's id.
    pub id: i64,
    /// Seconds.
    pub start: f64,
    /// Seconds.
    pub end: f64,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// A file inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attachment {
    /// Stream index.
    pub index: usize,
    /// File name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// MIME type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime: Option<String>,
    /// Bytes, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
}

impl Probe {
    /// The first video stream that is no cover art.
    pub fn video(&self) -> Option<&Stream> {
        self.streams.iter().find(|s| s.video.is_some() && !s.disposition.attached_picture)
    }

    /// The first audio stream.
    pub fn audio(&self) -> Option<&Stream> {
        self.streams.iter().find(|s| s.audio.is_some())
    }
}

fn fraction<S: Serializer>(r: &Rational, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(r)
}

fn rate<S: Serializer>(r: &Option<Rational>, s: S) -> Result<S::Ok, S::Error> {
    match r {
        Some(r) => s.collect_str(r),
        None => s.serialize_none(),
    }
}

/// `{"seconds": 1.5, "ticks": 19200}`; the base is the stream's.
fn time<S: Serializer>(t: &Option<Timestamp>, s: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Exact {
        seconds: f64,
        ticks: i64,
    }
    t.map(|t| Exact { seconds: t.seconds(), ticks: t.ticks }).serialize(s)
}
