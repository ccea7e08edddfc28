//! The vocabulary of requests: closed sets of words, bit rates and sizes.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A closed set of words, spelled on the wire as [`Word::name`] says.
pub trait Word: Copy + 'static {
    /// Every word, in the order in which messages list them.
    const ALL: &'static [Self];
    /// The word on the wire.
    fn name(self) -> &'static str;

    /// The word spelled `name`.
    fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|w| w.name() == name)
    }

    /// `'a', 'b' or 'c'`, as messages list them.
    fn listed() -> String {
        let names: Vec<String> = Self::ALL.iter().map(|w| format!("'{}'", w.name())).collect();
        match names.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, head)) => format!("{} or {last}", head.join(", ")),
            None => String::new(),
        }
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)+
        }

        impl Word for $name {
            const ALL: &'static [Self] = &[$($name::$variant,)+];
            fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

words! {
    /// What a job makes.
    Mode {
        /// One HLS (or DASH) stream.
        Stream = "stream",
        /// A file to download.
        Batch = "batch",
        /// A ladder of qualities.
        Abr = "abr",
    }
}

words! {
    /// The shape of the output.
    Format {
        /// HLS; for `batch`, an archive of it.
        Hls = "hls",
        /// DASH; for `batch`, an archive of it.
        Dash = "dash",
        /// MP4; for `stream` and `abr`, HLS with fMP4 segments.
        Mp4 = "mp4",
        /// WebM, `batch` only.
        Webm = "webm",
        /// Matroska, `batch` only.
        Mkv = "mkv",
    }
}

words! {
    /// A video codec, or the source's own.
    VideoCodec {
        /// H.264.
        H264 = "h264",
        /// H.265 / HEVC.
        H265 = "h265",
        /// VP9.
        Vp9 = "vp9",
        /// AV1.
        Av1 = "av1",
        /// The source's packets as they are.
        Copy = "copy",
    }
}

words! {
    /// An audio codec, or the source's own.
    AudioCodec {
        /// AAC.
        Aac = "aac",
        /// Opus.
        Opus = "opus",
        /// MP3.
        Mp3 = "mp3",
        /// FLAC.
        Flac = "flac",
        /// AC-3.
        Ac3 = "ac3",
        /// The source's packets as they are.
        Copy = "copy",
    }
}

words! {
    /// The largest picture; a source is never enlarged.
    Resolution {
        /// 3840x2160.
        Uhd = "4k",
        /// 1920x1080.
        Fhd = "1080p",
        /// 1280x720.
        Hd = "720p",
        /// 854x480.
        Sd = "480p",
        /// As the source.
        Original = "original",
    }
}

impl Resolution {
    /// Width and height in pixels of a 16:9 picture; `None` for the source's own.
    pub fn size(self) -> Option<(u32, u32)> {
        match self {
            Resolution::Uhd => Some((3840, 2160)),
            Resolution::Fhd => Some((1920, 1080)),
            Resolution::Hd => Some((1280, 720)),
            Resolution::Sd => Some((854, 480)),
            Resolution::Original => None,
        }
    }
}

words! {
    /// Who encodes.
    HwAccel {
        /// The best that works here.
        Auto = "auto",
        /// NVIDIA.
        Nvenc = "nvenc",
        /// Intel Quick Sync.
        Qsv = "qsv",
        /// VA-API.
        Vaapi = "vaapi",
        /// Apple.
        Videotoolbox = "videotoolbox",
        /// AMD.
        Amf = "amf",
        /// The CPU.
        Software = "software",
    }
}

words! {
    /// How segments come into being.
    Playback {
        /// On demand for seekable sources of known length, else growing.
        Auto = "auto",
        /// Encoded from the beginning, in an EVENT playlist that grows.
        Growing = "growing",
        /// A complete playlist at once, segments made when asked for.
        OnDemand = "on_demand",
    }
}

words! {
    /// How urgent a job is among those that wait.
    Priority {
        /// After all others.
        Low = "low",
        /// As usual.
        Normal = "normal",
        /// Before all others.
        High = "high",
    }
}

/// A bit rate as the API spells it: `auto`, `8M`, `3000k`; a bare number is in Mbit/s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Chosen by size and codec.
    Auto,
    /// Bits per second.
    Bits(u64),
}

impl Rate {
    /// Bits per second, unless automatic.
    pub fn bits(self) -> Option<u64> {
        match self {
            Rate::Auto => None,
            Rate::Bits(bits) => Some(bits),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "{text:?} is not a bit rate; write auto, or a number with k or M (a bare number is in Mbit/s)"
            )
        };
        let trimmed = text.trim();
        if trimmed.eq_ignore_ascii_case("auto") {
            return Ok(Rate::Auto);
        }
        let lower = trimmed.to_ascii_lowercase();
        let lower = lower.strip_suffix("bps").or(lower.strip_suffix("bit/s")).unwrap_or(&lower);
        let (digits, scale) = match lower.chars().last() {
            Some('k') => (&lower[..lower.len() - 1], 1e3),
            Some('m') => (&lower[..lower.len() - 1], 1e6),
            Some('g') => (&lower[..lower.len() - 1], 1e9),
            _ => (lower, 1e6),
        };
        let bits = digits.trim().parse::<f64>().map_err(|_| bad())? * scale;
        // Below a thousand bits and above 10 Gbit/s it is a mistake in the unit.
        if (1e3..=1e10).contains(&bits) { Ok(Rate::Bits(bits.round() as u64)) } else { Err(bad()) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::Auto => f.write_str("auto"),
            Rate::Bits(bits) if bits % 1_000_000 == 0 => write!(f, "{}M", bits / 1_000_000),
            Rate::Bits(bits) => write!(f, "{}k", *bits as f64 / 1e3),
        }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Bitrate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "`auto`, or a number with `k` or `M`; a bare number is in Mbit/s",
            "pattern": "^(auto|[1-9][0-9]{0,2}M?|[1-9][0-9]{0,6}k)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_as_clients_write_them() {
        for (text, bits) in [
            ("8M", 8_000_000),
            ("3000k", 3_000_000),
            ("8", 8_000_000),
            ("2.5M", 2_500_000),
            ("1500K", 1_500_000),
        ] {
            assert_eq!(text.parse(), Ok(Rate::Bits(bits)), "{text}");
        }
        assert_eq!("auto".parse(), Ok(Rate::Auto));
        for text in ["", "M", "fast", "-1M", "0", "1e30", "NaN", "inf"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_survives_being_written() {
        for bits in [1_000, 8_000_000, 1_234_567, 999_999_999] {
            let rate = Rate::Bits(bits);
            assert_eq!(rate.to_string().parse(), Ok(rate));
        }
    }

    #[test]
    fn words_are_listed_as_messages_say_them() {
        assert_eq!(HwAccel::listed().split(" or ").last(), Some("'software'"));
        assert_eq!(Mode::listed(), "'stream', 'batch' or 'abr'");
    }
}
