//! What a probe says, as far as the choice of an output depends on it.

use crate::playback::decide::turned;
use serde_json::{Value, json};

/// A probed source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Media {
    /// Seconds; `None` for live sources and those that do not say.
    pub duration: Option<f64>,
    /// Whether it can be read from any place.
    pub seekable: bool,
    /// The first video stream that is no cover art.
    pub video: Option<Video>,
    /// Audio streams.
    pub audio: Vec<Audio>,
    /// Subtitles that are text.
    pub texts: Vec<Text>,
}

/// A stream of text subtitles.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text {
    /// Its place in the container.
    pub stream: usize,
    /// ISO 639 language.
    pub language: Option<String>,
    /// Title.
    pub title: Option<String>,
    /// Whether players show it unasked.
    pub default: bool,
}

/// FFmpeg's names of subtitles that are text.
const TEXTS: [&str; 6] = ["subrip", "ass", "ssa", "webvtt", "mov_text", "text"];

/// A video stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Video {
    /// FFmpeg's codec name.
    pub codec: String,
    /// Pixels as shown.
    pub width: u32,
    /// Pixels as shown.
    pub height: u32,
    /// Frames a second.
    pub frame_rate: f64,
    /// Bits per sample.
    pub bit_depth: u32,
    /// Whether it is PQ, HLG or Dolby Vision.
    pub hdr: bool,
    /// Whether players have to turn or mirror it.
    pub rotated: bool,
    /// Bits per second, where known.
    pub bit_rate: Option<u64>,
    /// FFmpeg's names of primaries, transfer and matrix.
    pub colour: [String; 3],
}

/// An audio stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Audio {
    /// Its place in the container.
    pub stream: usize,
    /// FFmpeg's codec name.
    pub codec: String,
    /// Channels.
    pub channels: u32,
}

impl Media {
    /// From [`ghoststream::probe::Probe`] as JSON.
    pub fn of(probe: &Value) -> Media {
        let empty = Vec::new();
        let streams = probe["streams"].as_array().unwrap_or(&empty);
        let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
        let number = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        let picture = |s: &&Value| {
            s["video"].is_object() && !s["disposition"]["attached_picture"].as_bool().unwrap_or(false)
        };
        let video = streams.iter().find(picture).map(|s| {
            let v = &s["video"];
            Video {
                codec: text(&s["codec"]),
                width: number(&v["display_width"]),
                height: number(&v["display_height"]),
                frame_rate: fraction(&text(&v["frame_rate"])),
                bit_depth: number(&v["bit_depth"]).max(8),
                rotated: turned(v).is_some(),
                hdr: v["hdr"]["format"].as_str().is_some_and(|f| f != "sdr"),
                bit_rate: s["bit_rate"].as_u64().or_else(|| probe["bit_rate"].as_u64()).filter(|b| *b > 0),
                colour: ["primaries", "transfer", "matrix"].map(|name| text(&v["colour"][name])),
            }
        });
        let audio = streams.iter().filter(|s| s["audio"].is_object());
        Media {
            duration: probe["duration"].as_f64().filter(|d| d.is_finite() && *d > 0.0),
            seekable: probe["seekable"].as_bool().unwrap_or(false),
            video,
            audio: audio
                .map(|s| Audio {
                    stream: number(&s["index"]) as usize,
                    codec: text(&s["codec"]),
                    channels: number(&s["audio"]["channels"]),
                })
                .collect(),
            texts: streams.iter().filter_map(text_of).collect(),
        }
    }

    /// What clients are told of it.
    pub fn describe(&self) -> Value {
        let video = self.video.as_ref();
        let sound = self.audio.first();
        json!({
            "duration": self.duration.unwrap_or(0.0),
            "width": video.map(|v| v.width),
            "height": video.map(|v| v.height),
            "video_codec": video.map(|v| &v.codec),
            "frame_rate": video.map(|v| v.frame_rate),
            "bit_depth": video.map(|v| v.bit_depth),
            "is_hdr": video.is_some_and(|v| v.hdr),
            "bitrate": video.and_then(|v| v.bit_rate),
            "audio_codec": sound.map(|a| &a.codec),
            "audio_channels": sound.map(|a| a.channels),
            "audio_tracks": self.audio.len(),
            "subtitle_tracks": self.texts.len(),
            "is_live": !self.is_recorded(),
        })
    }

    /// Whether it ends by itself and can be read from any place.
    pub fn is_recorded(&self) -> bool {
        self.duration.is_some() && self.seekable
    }
}

fn text_of(stream: &Value) -> Option<Text> {
    let known = stream["codec"].as_str().is_some_and(|codec| TEXTS.contains(&codec));
    let string = |key: &str| stream[key].as_str().map(String::from);
    (stream["kind"] == "subtitle" && known).then_some(Text {
        stream: usize::try_from(stream["index"].as_u64()?).ok()?,
        language: string("language"),
        title: string("title"),
        default: stream["disposition"]["default"].as_bool().unwrap_or(false),
    })
}

/// `30000/1001` as a number; 0 where there is none.
fn fraction(text: &str) -> f64 {
    let (n, d) = text.split_once('/').unwrap_or((text, "1"));
    match (n.parse::<f64>(), d.parse::<f64>()) {
        (Ok(n), Ok(d)) if d > 0.0 => n / d,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_read() {
        let probe = json!({"duration": 10.5, "seekable": true, "bit_rate": 900, "streams": [
            {"codec": "mjpeg", "disposition": {"attached_picture": true}, "video": {"display_width": 9}},
            {"codec": "hevc", "disposition": {}, "video": {"display_width": 1920, "display_height": 1080,
                "frame_rate": "30000/1001", "bit_depth": 10, "hdr": {"format": "hdr10"},
                "colour": {"primaries": "bt2020", "transfer": "smpte2084", "matrix": "bt2020nc"}}},
            {"codec": "aac", "audio": {"channels": 6}},
            {"index": 3, "kind": "subtitle", "codec": "ass", "language": "ger", "disposition": {"default": true}},
            {"index": 4, "kind": "subtitle", "codec": "hdmv_pgs_subtitle", "disposition": {}}]});
        let media = Media::of(&probe);
        let video = media.video.as_ref().unwrap();
        assert_eq!((video.codec.as_str(), video.width, video.hdr), ("hevc", 1920, true));
        assert!((video.frame_rate - 29.97).abs() < 0.01);
        assert_eq!((video.bit_rate, media.audio[0].channels), (Some(900), 6));
        assert!(media.is_recorded());
        let text = Text { stream: 3, language: Some("ger".into()), title: None, default: true };
        assert_eq!(media.texts, [text], "pictures of subtitles are no text");
        let told = media.describe();
        assert_eq!(
            (&told["width"], &told["is_hdr"], &told["duration"]),
            (&json!(1920), &json!(true), &json!(10.5))
        );
        assert_eq!(Media::of(&json!({})), Media::default());
    }
}
