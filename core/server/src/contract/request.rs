//! The request that starts a job.

use super::fields::{Errors, FieldError, Fields};
use super::values::{AudioCodec, Format, HwAccel, Mode, Playback, Priority, Rate, Resolution, VideoCodec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What is to be made of which source. [`TranscodeRequest::read`] makes one from what a client sent; the derived
/// deserializer reads back what we stored ourselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TranscodeRequest {
    /// URL, or a path below one of the configured roots.
    #[schemars(length(min = 1, max = 8192))]
    pub source: String,
    /// What is made.
    #[serde(default = "stream")]
    pub mode: Mode,
    /// How it is encoded.
    #[serde(default)]
    pub output: OutputConfig,
    /// Where in the source to begin, in seconds.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1e9))]
    pub start_time: f64,
    /// POSTed the job when it is ready and when it has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
    /// The viewer, so that several share one job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub session_id: Option<String>,
    /// Subtitles to offer beside the video.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub subtitles: Option<Vec<SubtitleTrack>>,
    /// How segments come into being; the server's setting when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playback: Option<Playback>,
    /// How urgent the job is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// What the player can play; what conforms is copied instead of encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ClientProfile>,
}

fn stream() -> Mode {
    Mode::Stream
}

/// How the output is encoded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OutputConfig {
    /// The shape of the output.
    pub format: Format,
    /// `None`: the server's default, or what the container takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video_codec: Option<VideoCodec>,
    /// `None`: the server's default, or what the container takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_codec: Option<AudioCodec>,
    /// The largest picture.
    pub resolution: Resolution,
    /// Video bit rate.
    pub bitrate: Rate,
    /// Who encodes.
    pub hw_accel: HwAccel,
    /// Two passes over the source (`batch` only).
    pub two_pass: bool,
    /// Whether HDR becomes SDR; `None`: the server's setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tone_map: Option<bool>,
    /// More channels are mixed down.
    #[schemars(range(min = 1, max = 8))]
    pub max_audio_channels: u32,
}

impl Default for OutputConfig {
    fn default() -> Self {
        OutputConfig {
            format: Format::Hls,
            video_codec: None,
            audio_codec: None,
            resolution: Resolution::Original,
            bitrate: Rate::Auto,
            hw_accel: HwAccel::Auto,
            two_pass: false,
            tone_map: None,
            max_audio_channels: 2,
        }
    }
}

/// A subtitle file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SubtitleTrack {
    /// Where it is; the source policy holds for it too.
    #[schemars(length(min = 1, max = 8192))]
    pub url: String,
    /// What a menu shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// ISO 639 or BCP 47.
    #[serde(default = "undetermined")]
    pub language: String,
    /// Shown unless the viewer says otherwise.
    #[serde(default)]
    pub default: bool,
    /// Drawn into the picture instead of offered beside it.
    #[serde(default)]
    pub burn_in: bool,
}

fn undetermined() -> String {
    "und".into()
}

/// What a player can play. An absent list means: whatever the request's output says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClientProfile {
    /// Containers (`mp4`, `mkv`, `hls` …).
    pub containers: Vec<String>,
    /// Video codecs (`h264`, `hevc` …).
    pub video_codecs: Vec<String>,
    /// Audio codecs.
    pub audio_codecs: Vec<String>,
    /// Pixels.
    #[schemars(range(min = 16, max = 32768))]
    pub max_width: Option<u32>,
    /// Pixels.
    #[schemars(range(min = 16, max = 32768))]
    pub max_height: Option<u32>,
    /// Of everything together.
    pub max_bitrate: Option<Rate>,
    /// Whether it shows HDR.
    pub hdr: bool,
}

/// A request that was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Understood {
    /// What it asks for.
    pub request: TranscodeRequest,
    /// Fields that nobody knows. They are ignored, as ever, and named in the job's warnings.
    pub ignored: Vec<String>,
}

impl TranscodeRequest {
    /// A request for `source` with every other field at its default.
    pub fn new(source: impl Into<String>) -> Self {
        TranscodeRequest {
            source: source.into(),
            mode: Mode::Stream,
            output: OutputConfig::default(),
            start_time: 0.0,
            callback_url: None,
            session_id: None,
            subtitles: None,
            playback: None,
            priority: None,
            profile: None,
        }
    }

    /// Reads what a client sent.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn read(body: &Value) -> Result<Understood, Vec<FieldError>> {
        let mut errors = Errors::default();
        let mut request = TranscodeRequest::new("");
        if let Some(mut fields) = Fields::of(body, vec![json!("body")], &mut errors) {
            request.fill(&mut fields, &mut errors);
            fields.end(false, &mut errors);
        }
        if errors.list.is_empty() {
            Ok(Understood { request, ignored: errors.unknown })
        } else {
            Err(errors.list)
        }
    }

    fn fill(&mut self, f: &mut Fields<'_>, errors: &mut Errors) {
        if let Some(source) = f.required_text("source", errors) {
            if source.len() > 8192 {
                f.refuse(errors, "source", "longer than 8192 bytes");
            } else if source.chars().any(char::is_control) {
                f.refuse(errors, "source", "control characters in it");
            }
            self.source = source;
        }
        if let Some(mode) = f.word("mode", errors) {
            self.mode = mode;
        }
        if let Some(mut output) = f.object("output", false, errors) {
            self.output.fill(&mut output, self.mode, errors);
            output.end(false, errors);
        }
        if let Some(start) = f.number("start_time", 0.0, errors) {
            if start > 1e9 {
                f.refuse(errors, "start_time", "longer than any source");
            }
            self.start_time = start;
        }
        self.callback_url = f.optional_text("callback_url", errors);
        if let Some(url) = &self.callback_url
            && !["http://", "https://"].iter().any(|s| url.to_ascii_lowercase().starts_with(s))
        {
            f.refuse(errors, "callback_url", "it must begin with http:// or https://");
        }
        self.session_id = f.optional_text("session_id", errors);
        if self.session_id.as_ref().is_some_and(|s| s.len() > 256) {
            f.refuse(errors, "session_id", "longer than 256 bytes");
        }
        if let Some(tracks) = f.objects("subtitles", errors) {
            if tracks.len() > 64 {
                f.refuse(errors, "subtitles", "more than 64 of them");
            }
            self.subtitles =
                Some(tracks.into_iter().filter_map(|t| SubtitleTrack::read(t, errors)).collect());
        }
        self.playback = f.optional_word("playback", errors);
        self.priority = f.optional_word("priority", errors);
        if let Some(mut profile) = f.object("profile", true, errors) {
            self.profile = Some(ClientProfile::read(&mut profile, errors));
            profile.end(true, errors);
        }
    }
}

impl OutputConfig {
    fn fill(&mut self, f: &mut Fields<'_>, mode: Mode, errors: &mut Errors) {
        if let Some(format) = f.word("format", errors) {
            self.format = format;
            if mode != Mode::Batch && matches!(format, Format::Webm | Format::Mkv) {
                f.refuse(errors, "format", "webm and mkv are files: they need mode batch");
            }
        }
        self.video_codec = f.word("video_codec", errors);
        self.audio_codec = f.word("audio_codec", errors);
        if let Some(resolution) = f.word("resolution", errors) {
            self.resolution = resolution;
        }
        if let Some(text) = f.text("bitrate", errors) {
            match text.parse() {
                Ok(rate) => self.bitrate = rate,
                Err(why) => f.refuse(errors, "bitrate", &why),
            }
        }
        if let Some(accel) = f.word("hw_accel", errors) {
            self.hw_accel = accel;
        }
        if let Some(two_pass) = f.boolean("two_pass", errors) {
            self.two_pass = two_pass;
        }
        self.tone_map = f.boolean("tone_map", errors);
        if let Some(channels) = f.integer("max_audio_channels", 1, 8, errors) {
            self.max_audio_channels = channels as u32;
        }
    }
}

impl SubtitleTrack {
    fn read(mut f: Fields<'_>, errors: &mut Errors) -> Option<SubtitleTrack> {
        let url = f.required_text("url", errors);
        if url.as_ref().is_some_and(|u| u.is_empty() || u.len() > 8192 || u.chars().any(char::is_control)) {
            f.refuse(errors, "url", "not a URL or path");
        }
        let label = f.optional_text("label", errors);
        let language = f.text("language", errors).unwrap_or_else(undetermined);
        let default = f.boolean("default", errors).unwrap_or(false);
        let burn_in = f.boolean("burn_in", errors).unwrap_or(false);
        f.end(false, errors);
        Some(SubtitleTrack { url: url?, label, language, default, burn_in })
    }
}

impl ClientProfile {
    fn read(f: &mut Fields<'_>, errors: &mut Errors) -> ClientProfile {
        let side = |f: &mut Fields<'_>, key| f.raw(key).filter(|v| !v.is_null()).map(|_| key);
        let width = side(f, "max_width").and_then(|k| f.integer(k, 16, 32768, errors));
        let height = side(f, "max_height").and_then(|k| f.integer(k, 16, 32768, errors));
        let max_bitrate =
            f.optional_text("max_bitrate", errors).and_then(|text| match text.parse::<Rate>() {
                Ok(rate) => Some(rate),
                Err(why) => {
                    f.refuse(errors, "max_bitrate", &why);
                    None
                }
            });
        let lower = |list: Option<Vec<String>>| -> Vec<String> {
            list.unwrap_or_default().iter().map(|s| s.to_ascii_lowercase()).collect()
        };
        ClientProfile {
            containers: lower(f.texts("containers", errors)),
            video_codecs: lower(f.texts("video_codecs", errors)),
            audio_codecs: lower(f.texts("audio_codecs", errors)),
            max_width: width.map(|n| n as u32),
            max_height: height.map(|n| n as u32),
            max_bitrate,
            hdr: f.boolean("hdr", errors).unwrap_or(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(body: Value) -> Vec<Value> {
        let errors = TranscodeRequest::read(&body).unwrap_err();
        errors.iter().map(FieldError::to_json).collect()
    }

    #[test]
    fn defaults_are_the_contract() {
        let r = TranscodeRequest::read(&json!({ "source": "http://x/a.mkv" })).unwrap().request;
        assert_eq!((r.mode, r.start_time), (Mode::Stream, 0.0));
        assert_eq!(r.output.format, Format::Hls);
        assert_eq!(r.output.max_audio_channels, 2);
        assert_eq!(r.output.bitrate, Rate::Auto);
        assert_eq!(r.output.hw_accel, HwAccel::Auto);
    }

    #[test]
    fn every_mistake_is_named_with_its_path() {
        let found = mistakes(json!({
            "mode": "live",
            "output": { "resolution": "8k", "two_pass": "perhaps", "bitrate": "fast" },
            "start_time": "soon",
            "subtitles": [{ "label": "x" }],
        }));
        let kinds: Vec<_> =
            found.iter().map(|e| (e["type"].as_str().unwrap(), e["loc"].to_string())).collect();
        assert_eq!(
            kinds,
            [
                ("missing", r#"["body","source"]"#.to_string()),
                ("enum", r#"["body","mode"]"#.into()),
                ("enum", r#"["body","output","resolution"]"#.into()),
                ("value_error", r#"["body","output","bitrate"]"#.into()),
                ("bool_parsing", r#"["body","output","two_pass"]"#.into()),
                ("float_parsing", r#"["body","start_time"]"#.into()),
                ("missing", r#"["body","subtitles",0,"url"]"#.into()),
            ]
        );
        assert_eq!(found[1]["msg"], "Input should be 'stream', 'batch' or 'abr'");
        assert_eq!(found[1]["ctx"]["expected"], "'stream', 'batch' or 'abr'");
        assert_eq!(found[1]["input"], "live");
    }

    #[test]
    fn what_nobody_knows_is_ignored_and_named() {
        let got =
            TranscodeRequest::read(&json!({ "source": "x", "colour": 1, "output": { "crf": 3 } })).unwrap();
        assert_eq!(got.ignored, ["output.crf", "colour"]);
        // The profile is ours; no old client sends one.
        assert_eq!(
            mistakes(json!({ "source": "x", "profile": { "hdr10": true } }))[0]["type"],
            "extra_forbidden"
        );
    }

    #[test]
    fn lax_as_pydantic() {
        let body = json!({ "source": "x", "start_time": "5.5", "output": { "two_pass": "yes", "max_audio_channels": "6" },
            "session_id": null, "subtitles": null });
        let r = TranscodeRequest::read(&body).unwrap().request;
        assert_eq!((r.start_time, r.output.two_pass, r.output.max_audio_channels), (5.5, true, 6));
        for bad in [json!([]), json!("x"), json!(null)] {
            assert_eq!(mistakes(bad)[0]["type"], "model_attributes_type");
        }
        assert_eq!(mistakes(json!({ "source": null }))[0]["type"], "string_type");
        assert_eq!(mistakes(json!({ "source": "x", "output": null }))[0]["type"], "model_attributes_type");
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let body = json!({ "source": "x", "mode": "abr", "start_time": 3, "output": { "bitrate": "2500k" },
            "subtitles": [{ "url": "s.srt", "burn_in": true }], "profile": { "max_bitrate": "8" }, "priority": "high" });
        let r = TranscodeRequest::read(&body).unwrap().request;
        let text = serde_json::to_string(&r).unwrap();
        assert_eq!(serde_json::from_str::<TranscodeRequest>(&text).unwrap(), r);
    }
}
