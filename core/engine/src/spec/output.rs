//! What is made of the source.

use super::audio::AudioSpec;
use super::camera::CameraSpec;
use super::ladder::LadderSpec;
use super::record::{ReplaySpec, SplitChoice};
use super::tiles::TilesSpec;
use super::values::Seconds;
use super::video::VideoSpec;
use crate::packet::Codec;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The path of what the process was given for its standard output, which is written to and neither opened nor replaced.
pub const STANDARD_OUTPUT: &str = "/dev/stdout";

/// One output: exactly one of `path`, `packets`, `segments` and `camera`. `Debug` shows no credentials and no stream key.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// A file, or a directory for segmented formats, or a URL (with `://`) that FFmpeg writes to; `file:` is a file. `rtmp(s)://` and `srt://` are pushed, see
    /// `push`; `twitch:KEY`, `youtube:KEY`, `facebook:KEY` and `kick:KEY` stand for the services' RTMP addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Coded packets to the application (`gs_job_next_packet`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<PacketsSpec>,
    /// Finished segments and playlists to the application instead of a directory (`gs_job_next_segment`).
    #[serde(default)]
    pub segments: bool,
    /// A camera that other programs can open. `video` may say size, frame rate and filters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraSpec>,

    /// The container; default by the file's extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Container>,
    /// Put many pictures on each file: sheets of previews, as players show them above their time line. For pictures only.
    /// Where `video` says neither, there is a preview every ten seconds, 320 pixels wide. A name with a number has as many
    /// sheets as there are previews for, and one without has the first sheet alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiles: Option<TilesSpec>,
    /// The video track; `false` for none; default: the best one, encoded for the container (or copied where `ladder` allows).
    #[serde(default)]
    pub video: VideoChoice,
    /// Several renditions of the video (segmented formats and packets).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ladder: Option<LadderSpec>,
    /// Whether a rung or an audio track whose source already conforms is copied instead of encoded.
    #[serde(default = "super::yes")]
    pub copy_conforming: bool,
    /// The audio tracks: one, a list, or `false` for none; default: the best one.
    #[serde(default)]
    pub audio: AudioChoice,
    /// The subtitle tracks: a list or `false` for none; default: all that the container can carry.
    #[serde(default)]
    pub subtitles: SubtitleChoice,

    /// Segmented formats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<SegmentSpec>,
    /// MP4 and MOV: put the index at the front when finishing.
    #[serde(default = "super::yes")]
    pub faststart: bool,
    /// MP4 and MOV: write fragments, so that the file is playable whatever happens while it is made.
    #[serde(default)]
    pub fragmented: bool,
    /// Keep the file playable whatever happens while it is made: it grows under its own name and is written out every
    /// second. MP4 and MOV are written in fragments, which get an ordinary index when the file is finished (with
    /// `fragmented` they stay fragments). Default: for sources that go on without us (screens, cameras, `realtime`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_safe: Option<bool>,
    /// `path` is a template of names: `{name}` is the job's name, `{n}` a number from 1 (`{n:3}`: with three digits),
    /// `%Y %m %d %H %M %S %j` the local time, `%F` the date, `%T` the time; `%%`, `{{` and `}}` are the signs. Missing
    /// directories are made. A name that is taken gets a number behind it. `split` and `replay` imply it.
    #[serde(default)]
    pub template: bool,
    /// Go on in a new file, by time, size or command.
    #[serde(default, skip_serializing_if = "SplitChoice::is_never")]
    pub split: SplitChoice,
    /// Keep the last seconds instead of writing, and save them on command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplaySpec>,
    /// Muxer options by FFmpeg's names, applied last; one that the muxer does not take is an error.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Tags to write; an empty value removes one that the source has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Carry the source's tags.
    #[serde(default = "super::yes")]
    pub copy_metadata: bool,
    /// Carry the source's chapters, where the container can.
    #[serde(default = "super::yes")]
    pub chapters: bool,
    /// Carry the source's attachments (fonts, cover art), where the container can.
    #[serde(default = "super::yes")]
    pub attachments: bool,
    /// How it is pushed, when `path` is a URL; `rtmp(s)://` and `srt://` are pushed with the defaults when this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<super::PushSpec>,
    /// Replace what already exists at `path`.
    #[serde(default)]
    pub overwrite: bool,
}

impl OutputSpec {
    /// A file or directory with everything else at its default.
    pub fn path(path: impl Into<String>) -> Self {
        OutputSpec {
            path: Some(path.into()),
            copy_conforming: true,
            faststart: true,
            copy_metadata: true,
            chapters: true,
            attachments: true,
            ..OutputSpec::default()
        }
    }

    /// Packets to the application.
    pub fn packets(packets: PacketsSpec) -> Self {
        OutputSpec { path: None, packets: Some(packets), ..OutputSpec::path("") }
    }

    /// What it is written as: `format`, or what the path's ending means; `None` where neither says it.
    pub fn container(&self) -> Option<Container> {
        self.format.or_else(|| self.path.as_deref().and_then(Container::from_path))
    }

    /// A camera.
    pub fn camera(camera: CameraSpec) -> Self {
        OutputSpec { path: None, camera: Some(camera), ..OutputSpec::path("") }
    }

    /// The address that it is pushed to, if it is pushed: `path` with a service's name resolved.
    pub(crate) fn pushed_to(&self) -> Option<String> {
        let path = self.path.as_deref()?;
        if let Some((service, key)) = super::Service::of_path(path) {
            return Some(service.url(key));
        }
        let scheme = path.split_once("://")?.0.to_ascii_lowercase();
        (self.push.is_some() || scheme == "srt" || scheme.starts_with("rtmp")).then(|| path.into())
    }

    /// Whether it is pushed over TLS, to a URL or to a service whose servers want that.
    pub fn is_pushed_encrypted(&self) -> bool {
        self.pushed_to().is_some_and(|url| super::is_encrypted(&url))
    }

    /// What to call the output in messages, without credentials and stream keys.
    pub fn label(&self) -> String {
        match (&self.path, &self.packets) {
            (Some(path), _) => super::masked(path),
            (None, Some(_)) => "packets".into(),
            (None, None) => match &self.camera {
                Some(camera) => format!("camera:{}", camera.name),
                None => "segments".into(),
            },
        }
    }
}

impl fmt::Debug for OutputSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::secret::debug("OutputSpec", self, f)
    }
}

/// Containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Container {
    /// MPEG-4 part 14.
    #[serde(rename = "mp4")]
    Mp4,
    /// QuickTime.
    #[serde(rename = "mov")]
    Mov,
    /// Matroska.
    #[serde(rename = "mkv")]
    Mkv,
    /// WebM.
    #[serde(rename = "webm")]
    WebM,
    /// MPEG transport stream.
    #[serde(rename = "ts")]
    Ts,
    /// Flash video (RTMP).
    #[serde(rename = "flv")]
    Flv,
    /// A bare elementary stream (Annex B, OBU, ADTS …) of the one track.
    #[serde(rename = "raw")]
    Raw,
    /// Ogg.
    #[serde(rename = "ogg")]
    Ogg,
    /// Uncompressed sound.
    #[serde(rename = "wav")]
    Wav,
    /// MP3 with ID3.
    #[serde(rename = "mp3")]
    Mp3,
    /// FLAC.
    #[serde(rename = "flac")]
    Flac,
    /// Uncompressed pictures with a header.
    #[serde(rename = "y4m")]
    Y4m,
    /// One track of WebVTT subtitles, without pictures and sound.
    #[serde(rename = "vtt")]
    WebVtt,
    /// One track of text subtitles as SubRip, without pictures and sound: italics, bold, underline and what is at the top
    /// stay.
    #[serde(rename = "srt")]
    SubRip,
    /// One track of text subtitles as Advanced SubStation Alpha, without pictures and sound: ASS stays as it is, with its
    /// styles.
    #[serde(rename = "ass")]
    Ass,
    /// A picture, as JPEG, PNG or WebP by the path's ending: the first one that there is, or with a number in the path's name
    /// (`%d`, `%05d`: from 1) each in a file of its own. They are made to be shown right by themselves: turned, with square
    /// pixels, progressive and SDR.
    #[serde(rename = "image")]
    Image,
    /// HLS.
    #[serde(rename = "hls")]
    Hls,
    /// DASH.
    #[serde(rename = "dash")]
    Dash,
    /// HLS and DASH over one set of CMAF segments.
    #[serde(rename = "hls+dash")]
    HlsDash,
}

impl Container {
    /// The container's name in the document.
    pub fn name(self) -> &'static str {
        match self {
            Container::Mp4 => "mp4",
            Container::Mov => "mov",
            Container::Mkv => "mkv",
            Container::WebM => "webm",
            Container::Ts => "ts",
            Container::Flv => "flv",
            Container::Raw => "raw",
            Container::Ogg => "ogg",
            Container::Wav => "wav",
            Container::Mp3 => "mp3",
            Container::Flac => "flac",
            Container::Y4m => "y4m",
            Container::WebVtt => "vtt",
            Container::SubRip => "srt",
            Container::Ass => "ass",
            Container::Image => "image",
            Container::Hls => "hls",
            Container::Dash => "dash",
            Container::HlsDash => "hls+dash",
        }
    }

    /// Whether it is a set of segments and playlists in a directory.
    pub fn is_segmented(self) -> bool {
        matches!(self, Container::Hls | Container::Dash | Container::HlsDash)
    }

    /// Whether it is a text file of one track of subtitles.
    pub fn is_words(self) -> bool {
        matches!(self, Container::WebVtt | Container::SubRip | Container::Ass)
    }

    /// The container that a path's extension (or URL scheme) means.
    pub fn from_path(path: &str) -> Option<Container> {
        if super::Service::of_path(path).is_some() {
            return Some(Container::Flv);
        }
        let scheme = path.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let scheme = scheme.as_deref().unwrap_or("");
        if scheme.starts_with("rtmp") {
            return Some(Container::Flv);
        }
        if matches!(scheme, "srt" | "udp") {
            return Some(Container::Ts);
        }
        let name = path.rsplit('/').next()?;
        let extension = name.rsplit_once('.')?.1.to_ascii_lowercase();
        Some(match extension.as_str() {
            "mp4" | "m4v" | "m4a" | "m4b" => Container::Mp4,
            "mov" => Container::Mov,
            "mkv" | "mka" | "mks" | "mk3d" => Container::Mkv,
            "webm" => Container::WebM,
            "ts" | "m2ts" | "mts" => Container::Ts,
            "flv" => Container::Flv,
            "h264" | "264" | "hevc" | "h265" | "265" | "obu" | "ivf" | "aac" | "ac3" | "eac3" => {
                Container::Raw
            }
            "ogg" | "oga" | "ogv" | "opus" => Container::Ogg,
            "wav" => Container::Wav,
            "mp3" => Container::Mp3,
            "flac" => Container::Flac,
            "y4m" => Container::Y4m,
            "vtt" => Container::WebVtt,
            "srt" => Container::SubRip,
            "ass" => Container::Ass,
            "jpg" | "jpeg" | "png" | "webp" => Container::Image,
            "m3u8" => Container::Hls,
            "mpd" => Container::Dash,
            _ => return None,
        })
    }
}

/// Packets handed to the application.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PacketsSpec {
    /// How H.264, HEVC and AV1 packets are framed.
    #[serde(default)]
    pub format: BitstreamFormat,
    /// Packets that may wait for the application before the pipeline waits; 0 = 64.
    #[serde(default)]
    pub queue: u32,
    /// Drop the oldest waiting packets (and count them) instead of waiting.
    #[serde(default)]
    pub live: bool,
    /// Hand out the packets of all tracks by rising decode times, each only when no earlier one can come. Without it each
    /// comes as soon as it is made, and a track that is silent holds up nobody.
    #[serde(default = "super::yes")]
    pub interleave: bool,
    /// Codecs that the application takes as they are: a track of the source that has one of them is copied, where nothing is
    /// asked of it that only encoding gives, and a kind of track that the source does not have is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub copy: Vec<Codec>,
    /// Hand out every track of sound, and text subtitles as WebVTT, where the output does not say which.
    #[serde(default)]
    pub all_tracks: bool,
}

impl Default for PacketsSpec {
    fn default() -> Self {
        PacketsSpec {
            format: BitstreamFormat::default(),
            queue: 0,
            live: false,
            interleave: true,
            copy: Vec::new(),
            all_tracks: false,
        }
    }
}

/// Framing of H.264, HEVC and AV1 packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BitstreamFormat {
    /// Annex B start codes with parameter sets in band before key frames; AV1: OBUs with temporal delimiters (low overhead).
    #[default]
    AnnexB,
    /// Length-prefixed with parameter sets in the extradata (avcC, hvcC); AV1: OBUs as in MP4; AAC without ADTS headers.
    LengthPrefixed,
}

/// How segmented outputs are cut.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentSpec {
    /// Target duration; key frames are forced on this grid.
    #[serde(default = "four")]
    pub duration: Seconds,
    /// What a segment is.
    #[serde(default)]
    pub container: SegmentContainer,
    /// Write an I-frame playlist for each rung.
    #[serde(default = "super::yes")]
    pub iframes: bool,
    /// When playlists are written.
    #[serde(default)]
    pub playlist: PlaylistMode,
    /// How segments and playlists are named.
    #[serde(default)]
    pub names: SegmentNames,
    /// Length of the first segment, for a player that waits for it: the next ones are longer until the grid of `duration`
    /// is reached. Key frames of a copied rendition are where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Seconds>,
    /// Make only some of the segments, so that they fit to those which other jobs make of the same source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowSpec>,
}

impl SegmentSpec {
    /// Where segments begin besides the grid of `duration`: `first`, and twice that, and so on.
    pub(crate) fn early(&self) -> Vec<crate::time::Timestamp> {
        let first = self.first.map_or(0.0, |f| f.0);
        let mut starts = Vec::new();
        let mut at = first;
        // What is left of the first cell must be worth a segment.
        while first > 0.0 && at < self.duration.0 - first * 0.25 {
            starts.push(crate::time::Timestamp::from_seconds(at));
            at *= 2.0;
        }
        starts
    }
}

/// When the playlists of a segmented output are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PlaylistMode {
    /// Once, at the end.
    #[default]
    Vod,
    /// HLS `EVENT`: again after each segment, so that a player can follow while the output is made. A DASH manifest comes
    /// at the end.
    Event,
}

/// How the objects of a segmented output are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SegmentNames {
    /// A folder for each rendition, with a multivariant playlist above: `720p/00007.m4s`, `720p.m3u8`, `master.m3u8`.
    #[default]
    Folders,
    /// No folders, and renditions by number: `stream_0_00007.ts`, `stream_0.m3u8`. A single rendition without subtitles is
    /// `segment_00007.ts`, and `master.m3u8` is its media playlist.
    Flat,
}

/// A part of the complete set of segments. Whichever job makes a segment, it has the same number, the same times and the
/// same frames, and sound goes on from one to the next: samples lie on one grid, and an encoder is warm before the first
/// frame that is kept. Init segments are the same too. No playlists are written: what is complete knows who asks for parts.
///
/// Key frames are forced where segments begin; copied video needs `starts`. All outputs of the job have the same window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowSpec {
    /// Number of the first segment to make, from 0.
    #[serde(default)]
    pub first: u64,
    /// How many to make; absent = until the source ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Where every segment of the complete set begins, rising from 0, or from the first key frame of copied video: what is before
    /// that is left out. The last takes everything behind it. A segment's first frame is the first one at or after its start.
    /// Absent = every `duration`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starts: Vec<Seconds>,
    /// Keep picture and sound in segments of their own, even where MPEG-TS has one of each.
    #[serde(default)]
    pub apart: bool,
}

fn four() -> Seconds {
    Seconds(4.0)
}

impl Default for SegmentSpec {
    fn default() -> Self {
        SegmentSpec {
            duration: four(),
            container: SegmentContainer::default(),
            iframes: true,
            playlist: PlaylistMode::default(),
            names: SegmentNames::default(),
            first: None,
            window: None,
        }
    }
}

/// What a segment is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SegmentContainer {
    /// CMAF: fragmented MP4, one track a file; HLS and DASH share it.
    #[default]
    Fmp4,
    /// MPEG-TS: HLS only.
    Ts,
}

/// One subtitle track of an output.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubtitleSpec {
    /// Index of the source stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<usize>,
    /// A subtitle file (SRT, ASS, WebVTT) instead of a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The character set of the file's text by its name on the web (`windows-1250`, `shift_jis`, `latin1`); default UTF-8, and
    /// where it is not that, the likeliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// Language to write; default the source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Title to write; default the source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Whether players show it unasked. What the source says of its tracks counts where no track of the output has this.
    #[serde(default)]
    pub default: bool,
}

/// The video of an output.
#[derive(Clone, Debug, Default)]
pub enum VideoChoice {
    /// The best video stream, encoded for the container.
    #[default]
    Default,
    /// No video.
    None,
    /// As said.
    Track(Box<VideoSpec>),
}

/// The audio of an output.
#[derive(Clone, Debug, Default)]
pub enum AudioChoice {
    /// The best audio stream, encoded for the container (copied where it conforms).
    #[default]
    Default,
    /// No audio.
    None,
    /// As said, in this order.
    Tracks(Vec<AudioSpec>),
}

/// The subtitles of an output.
#[derive(Clone, Debug, Default)]
pub enum SubtitleChoice {
    /// All that the container can carry.
    #[default]
    Default,
    /// No subtitles.
    None,
    /// As said, in this order.
    Tracks(Vec<SubtitleSpec>),
}

macro_rules! choice {
    ($type:ident, $expecting:literal, $item:ty, one = $one:expr, many = $many:expr, write = |$v:ident, $s:ident| $write:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct V;
                impl<'de> Visitor<'de> for V {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_unit<E: de::Error>(self) -> Result<$type, E> {
                        Ok($type::Default)
                    }
                    fn visit_bool<E: de::Error>(self, v: bool) -> Result<$type, E> {
                        Ok(if v { $type::Default } else { $type::None })
                    }
                    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<$type, A::Error> {
                        <$item>::deserialize(de::value::MapAccessDeserializer::new(map)).map($one)
                    }
                    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<$type, A::Error> {
                        let items = Vec::<$item>::deserialize(de::value::SeqAccessDeserializer::new(seq))?;
                        $many(items).ok_or_else(|| de::Error::invalid_length(0, &self))
                    }
                }
                d.deserialize_any(V)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, $s: S) -> Result<S::Ok, S::Error> {
                match self {
                    $type::Default => $s.serialize_bool(true),
                    $type::None => $s.serialize_bool(false),
                    $v => $write,
                }
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let item = generator.subschema_for::<$item>();
                json_schema!({
                    "description": $expecting,
                    "anyOf": [{"type": ["boolean", "null"]}, item, {"type": "array", "items": item}]
                })
            }
        }
    };
}

choice!(
    VideoChoice,
    "a video track, or false for none",
    VideoSpec,
    one = |t| VideoChoice::Track(Box::new(t)),
    many = |mut items: Vec<VideoSpec>| match items.len() {
        0 => Some(VideoChoice::None),
        1 => items.pop().map(|t| VideoChoice::Track(Box::new(t))),
        _ => None,
    },
    write = |v, s| match v {
        VideoChoice::Track(t) => t.serialize(s),
        _ => s.serialize_none(),
    }
);
choice!(
    AudioChoice,
    "an audio track, a list of them, or false for none",
    AudioSpec,
    one = |t| AudioChoice::Tracks(vec![t]),
    many = |items: Vec<AudioSpec>| Some(if items.is_empty() {
        AudioChoice::None
    } else {
        AudioChoice::Tracks(items)
    }),
    write = |v, s| match v {
        AudioChoice::Tracks(t) => t.serialize(s),
        _ => s.serialize_none(),
    }
);
choice!(
    SubtitleChoice,
    "a subtitle track, a list of them, or false for none",
    SubtitleSpec,
    one = |t| SubtitleChoice::Tracks(vec![t]),
    many = |items: Vec<SubtitleSpec>| Some(if items.is_empty() {
        SubtitleChoice::None
    } else {
        SubtitleChoice::Tracks(items)
    }),
    write = |v, s| match v {
        SubtitleChoice::Tracks(t) => t.serialize(s),
        _ => s.serialize_none(),
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_written() {
        for (container, names) in [
            (Container::Mp4, "a.mp4 a.M4V a.m4a a.m4b"),
            (Container::Mkv, "a.mkv a.mka a.mks a.mk3d"),
            (Container::WebVtt, "a.vtt"),
            (Container::SubRip, "dir.ass/a.SRT"),
            (Container::Ass, "a.srt.ass"),
            (Container::Ts, "srt://host:1 a.ts"),
        ] {
            for name in names.split(' ') {
                assert_eq!(Container::from_path(name), Some(container), "{name}");
            }
            assert_eq!(serde_json::to_value(container).unwrap(), container.name());
        }
        // What is written is ASS, which those that read only SSA do not know.
        for name in ["a.ssa", "a.sup", "srt", "a"] {
            assert_eq!(Container::from_path(name), None, "{name}");
        }
    }
}
