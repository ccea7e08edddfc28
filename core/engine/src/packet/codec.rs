//! Names of codecs. A codec that has no variant keeps FFmpeg's name, so that a copy of any stream is possible.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Text or bitmap subtitles.
    Subtitle,
    /// Timed data (SCTE-35, KLV, ID3 …).
    Data,
    /// Fonts, cover art and the like.
    Attachment,
}

impl MediaKind {
    /// Lower-case name as it appears in JSON.
    pub fn name(self) -> &'static str {
        match self {
            MediaKind::Video => "video",
            MediaKind::Audio => "audio",
            MediaKind::Subtitle => "subtitle",
            MediaKind::Data => "data",
            MediaKind::Attachment => "attachment",
        }
    }
}

macro_rules! codecs {
    ($($variant:ident $name:literal $kind:ident,)*) => {
        /// A codec (a bitstream format, not an implementation of it).
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[allow(missing_docs)]
        pub enum Codec {
            $($variant,)*
            /// Any other, by FFmpeg's codec name.
            Other(Arc<str>),
        }

        impl Codec {
            /// The codec of FFmpeg's name `name` (`h264`, `hevc`, `pcm_s16le` …).
            pub fn from_name(name: &str) -> Codec {
                match name {
                    $($name => Codec::$variant,)*
                    "h265" => Codec::Hevc,
                    _ => Codec::Other(name.into()),
                }
            }

            /// FFmpeg's name of the codec, the vocabulary of the spec and of probe results.
            pub fn name(&self) -> &str {
                match self {
                    $(Codec::$variant => $name,)*
                    Codec::Other(name) => name,
                }
            }

            /// The kind of stream that carries it; `None` for [`Codec::Other`].
            pub fn kind(&self) -> Option<MediaKind> {
                match self {
                    $(Codec::$variant => Some(MediaKind::$kind),)*
                    Codec::Other(_) => None,
                }
            }
        }
    };
}

codecs! {
    H264 "h264" Video, Hevc "hevc" Video, Av1 "av1" Video, Vp8 "vp8" Video, Vp9 "vp9" Video,
    Mpeg2 "mpeg2video" Video, Mpeg4 "mpeg4" Video, Mjpeg "mjpeg" Video, ProRes "prores" Video, DnxHd "dnxhd" Video, Ffv1 "ffv1" Video,
    RawVideo "rawvideo" Video, Png "png" Video, WebP "webp" Video,
    Aac "aac" Audio, Opus "opus" Audio, Mp3 "mp3" Audio, Flac "flac" Audio, Ac3 "ac3" Audio, Eac3 "eac3" Audio,
    Vorbis "vorbis" Audio, PcmS16 "pcm_s16le" Audio, PcmF32 "pcm_f32le" Audio, Alac "alac" Audio,
    WebVtt "webvtt" Subtitle, SubRip "subrip" Subtitle, Ass "ass" Subtitle, MovText "mov_text" Subtitle,
    Pgs "hdmv_pgs_subtitle" Subtitle, DvbSub "dvb_subtitle" Subtitle, DvdSub "dvd_subtitle" Subtitle,
}

impl Codec {
    /// Whether it is a text subtitle format (can become WebVTT).
    pub fn is_text_subtitle(&self) -> bool {
        matches!(self, Codec::WebVtt | Codec::SubRip | Codec::Ass | Codec::MovText)
            || matches!(self, Codec::Other(n) if &**n == "text" || &**n == "ssa" || &**n == "eia_608")
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl serde::Serialize for Codec {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Codec {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Codec::from_name(&Cow::<'de, str>::deserialize(d)?))
    }
}
