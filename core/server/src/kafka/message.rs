//! The bodies of the topics, as JSON. Their schema is committed (`core/server/schema/kafka.schema.json`).

use crate::contract::job::iso_time;
use crate::live::pull::PullSource;
use crate::live::push::PushTarget;
use crate::live::recordings::RecordingRules;
use crate::live::rest::gstreamer::files;
use crate::live::streams::StreamRequest;
use ghoststream::spec::parse_json;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// The version of all bodies.
pub const VERSION: u32 = 1;

/// What the control topic carries. Fields may be null. The message's key is the stream's name, so that commands for one
/// stream keep their order.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// What to do.
    pub command: Verb,
    /// The stream.
    pub stream_id: String,
    /// A name of this command, by which a second copy of it is known.
    #[serde(default)]
    pub command_id: Option<String>,
    /// From where; `rtmp` when nothing is said.
    #[serde(default)]
    pub source_type: Option<SourceType>,
    /// The source: an address, a path for `file`, or a key below `rtmp://localhost:1935/live/`.
    #[serde(default)]
    pub stream_key: Option<String>,
    /// What is done with it besides playing it from here; `rtmp` when `rtmp_url` is there.
    #[serde(default)]
    pub output_type: Option<OutputType>,
    /// Where it is sent: an address, or a path below the recordings for `file`.
    #[serde(default)]
    pub rtmp_url: Option<String>,
    /// Whether it is recorded, into a directory with its name.
    #[serde(default)]
    pub is_recorded: Option<bool>,
    /// Renditions (`720p`) for HLS and DASH; without them the source as it is.
    #[serde(default)]
    pub qualities: Option<Vec<String>>,
    /// Pixels of the test picture; 640.
    #[serde(default)]
    pub width: Option<u32>,
    /// Pixels of the test picture; 480.
    #[serde(default)]
    pub height: Option<u32>,
    /// Frames per second of the test picture; 30.
    #[serde(default)]
    pub framerate: Option<u32>,
    /// For `TRANSCODE`: what is made of which film, the body of `POST /api/transcode/start` without what is one viewer's.
    #[serde(default)]
    pub request: Option<serde_json::Value>,
    /// Of films: where in the object store (`store.url`) the files go; `films/` and the name when nothing is said.
    #[serde(default)]
    pub output: Option<String>,
    /// Told again in the answer.
    #[serde(default)]
    pub user_id: Option<String>,
    /// Told again in the answer.
    #[serde(default)]
    pub room_id: Option<String>,
    /// When it was sent; told again in the answer.
    #[serde(default)]
    pub timestamp: Option<String>,
    /// 1.
    #[serde(default)]
    pub version: Option<u32>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verb {
    /// Start a stream. One that runs goes on, and its state is the answer.
    Start,
    /// Stop a stream, or a film.
    Stop,
    /// Tell the state of a stream, or of a film.
    QueryStatus,
    /// Make HLS and DASH of a film in the object store, by all nodes of the group together.
    Transcode,
}

impl Verb {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Start => "START",
            Verb::Stop => "STOP",
            Verb::QueryStatus => "QUERY_STATUS",
            Verb::Transcode => "TRANSCODE",
        }
    }
}

/// From where a stream comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceType {
    /// A test picture with a tone.
    Test,
    /// RTMP.
    Rtmp,
    /// RTSP.
    Rtsp,
    /// Any other address that may be pulled: HTTP, SRT, UDP.
    Url,
    /// A file of the node.
    File,
}

/// Where a stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputType {
    /// To `rtmp_url`.
    Rtmp,
    /// To `rtmp_url`, an `rtsp://` address.
    Rtsp,
    /// Into files.
    File,
    /// It is played from here.
    Webrtc,
    /// It is played from here.
    Hls,
}

impl Command {
    /// A command of a message's bytes.
    ///
    /// # Errors
    /// What is wrong with it, with the field's name.
    pub fn parse(bytes: &[u8]) -> Result<Command, String> {
        let command: Command = parse_json(bytes).map_err(|e| e.message().to_string())?;
        match command.version {
            None | Some(VERSION) => {}
            Some(other) => return Err(format!("version: {other} is not {VERSION}")),
        }
        let film = command.command == Verb::Transcode;
        // A film may be asked for, and stopped, by where it is.
        let output = command.command != Verb::Start;
        let fields = [
            ("request", command.request.is_some(), film),
            ("output", command.output.is_some(), output),
            ("source_type", command.source_type.is_some(), !film),
            ("stream_key", command.stream_key.is_some(), !film),
            ("output_type", command.output_type.is_some(), !film),
            ("rtmp_url", command.rtmp_url.is_some(), !film),
            ("is_recorded", command.is_recorded == Some(true), !film),
            ("qualities", command.qualities.is_some(), !film),
            ("width", command.width.is_some(), !film),
            ("height", command.height.is_some(), !film),
            ("framerate", command.framerate.is_some(), !film),
        ];
        match fields.iter().find(|(_, given, fits)| *given && !fits) {
            Some((key, ..)) => Err(format!("{key}: {} has no such field", command.command.name())),
            None => Ok(command),
        }
    }

    /// The stream that it asks for.
    ///
    /// # Errors
    /// The field that makes no sense, and why.
    pub fn request(&self, recordings: Option<&RecordingRules>) -> Result<StreamRequest, String> {
        let given = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
        let kind = self.source_type.unwrap_or(SourceType::Rtmp);
        let source = match (kind, given(&self.stream_key)) {
            (SourceType::Test, None) => PullSource::Pattern {
                width: self.width.unwrap_or(640),
                height: self.height.unwrap_or(480),
                frame_rate: self.framerate.unwrap_or(30),
            },
            (SourceType::Test, Some(_)) => return Err("stream_key: a test picture has none".into()),
            (_, None) => return Err("stream_key: this source_type needs it".into()),
            (SourceType::Rtmp, Some(key)) if !key.contains("://") => {
                PullSource::url(format!("rtmp://localhost:1935/live/{key}"))
            }
            (SourceType::File, Some(path)) => PullSource::File { path, repeat: false },
            (SourceType::Rtmp | SourceType::Rtsp | SourceType::Url, Some(url)) => PullSource::url(url),
        };
        let sizes = [("width", self.width), ("height", self.height), ("framerate", self.framerate)];
        if let Some((key, _)) = sizes.iter().find(|(_, v)| v.is_some() && kind != SourceType::Test) {
            return Err(format!("{key}: it is the test picture's; other sources have their own"));
        }
        let mut targets = Vec::new();
        match (self.output_type, given(&self.rtmp_url)) {
            (None, None) | (Some(OutputType::Webrtc | OutputType::Hls), None) => {}
            (None | Some(OutputType::Rtmp), Some(url)) => {
                targets.push(PushTarget::Url(match url.contains("://") {
                    true => url,
                    false => format!("rtmp://localhost:1935/live/{url}"),
                }))
            }
            (Some(OutputType::Rtsp), Some(url)) if url.to_ascii_lowercase().starts_with("rtsp://") => {
                targets.push(PushTarget::Url(url));
            }
            (Some(OutputType::Rtsp), _) => return Err("rtmp_url: with rtsp it is an rtsp:// address".into()),
            (Some(OutputType::File), Some(path)) => {
                targets.push(files(&path, recordings).map_err(|(_, why)| format!("rtmp_url: {why}"))?);
            }
            (Some(OutputType::Rtmp | OutputType::File), None) => {
                return Err("rtmp_url: this output_type needs it".into());
            }
            (Some(OutputType::Webrtc | OutputType::Hls), Some(_)) => {
                return Err("rtmp_url: with this output_type nothing is sent".into());
            }
        }
        if self.is_recorded == Some(true) {
            targets
                .push(files(&self.stream_id, recordings).map_err(|(_, why)| format!("is_recorded: {why}"))?);
        }
        Ok(StreamRequest {
            qualities: self.qualities.clone().unwrap_or_default(),
            targets,
            ..StreamRequest::new(self.stream_id.clone(), source)
        })
    }

    /// What an answer to it tells again.
    pub fn told_again(&self) -> BTreeMap<String, String> {
        let fields = [
            ("command_id", &self.command_id),
            ("user_id", &self.user_id),
            ("room_id", &self.room_id),
            ("command_timestamp", &self.timestamp),
        ];
        let mut all: BTreeMap<String, String> =
            fields.into_iter().filter_map(|(k, v)| Some((k.to_string(), v.clone()?))).collect();
        all.insert("command".into(), self.command.name().into());
        all
    }
}

/// What the topic of tasks carries: a part of a film. Nodes write it for each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The film: the `stream_id` of the command.
    pub film: String,
    /// Where in the object store its files go, and `plan.json` is.
    pub output: String,
    /// Which part it is.
    pub part: u64,
    /// How many there are.
    pub parts: u64,
    /// The first segment.
    pub first: u64,
    /// The segment after the last one.
    pub end: u64,
    /// 1.
    pub version: u32,
}

impl Task {
    /// A task of a message's bytes.
    ///
    /// # Errors
    /// What is wrong with it, with the field's name.
    pub fn parse(bytes: &[u8]) -> Result<Task, String> {
        let task: Task = parse_json(bytes).map_err(|e| e.message().to_string())?;
        if task.version != VERSION {
            return Err(format!("version: {} is not {VERSION}", task.version));
        }
        crate::store::check_key(&task.output).map_err(|e| format!("output: {}", e.message()))?;
        Ok(task)
    }
}

/// What the status topic carries; the message's key is the stream's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The stream.
    pub stream_id: String,
    /// `starting`, `running`, `reconnecting`, `error`, `stopped`, or `not_found`. Of films:
    /// `starting`, `running`, `completed`, `stopped`, `error`.
    pub status: String,
    /// The node that tells it.
    pub service_id: String,
    /// When, in UTC: `2026-11-20T23:38:16Z`.
    pub timestamp: String,
    /// More: `event` (`state`: it changed; `metrics`: figures; `progress`: of a film; `answer`: to a command, whose fields follow; `snapshot`: a broker
    /// is there again), `error` (why), and figures by their names.
    pub metadata: BTreeMap<String, String>,
    /// 1.
    pub version: u32,
}

impl Status {
    /// A state of this moment.
    pub fn new(node: &str, stream: &str, status: &str, event: &str) -> Status {
        let mut timestamp = iso_time(SystemTime::now());
        // Whole seconds, as the service wrote them.
        timestamp.truncate(19);
        timestamp.push('Z');
        Status {
            stream_id: stream.into(),
            status: status.into(),
            service_id: node.into(),
            timestamp,
            metadata: BTreeMap::from([("event".into(), event.into())]),
            version: VERSION,
        }
    }

    /// With more to tell; what is `None` is not told.
    #[must_use]
    pub fn with(mut self, key: &str, value: Option<impl ToString>) -> Status {
        if let Some(value) = value {
            self.metadata.insert(key.into(), value.to_string());
        }
        self
    }
}

/// What the dead letters' topic carries; the message's key is that of the refused one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// Where it came by.
    pub original_topic: String,
    /// Of the topic.
    pub partition: i32,
    /// In the partition.
    pub offset: i64,
    /// Why it was not carried out.
    pub error: String,
    /// Who refused it.
    pub service_id: String,
    /// The consumer group.
    pub consumer_group: String,
    /// When, in UTC.
    pub timestamp: String,
    /// The refused message's body, as text; what is no UTF-8 is replaced.
    pub value: String,
    /// 1.
    pub version: u32,
}

/// The JSON Schema of the bodies, pretty-printed; the committed `core/server/schema/kafka.schema.json` is this text.
pub fn schema() -> String {
    let mut generator = schemars::SchemaGenerator::default();
    let topics: BTreeMap<&str, schemars::Schema> = BTreeMap::from([
        ("control_topic", generator.subschema_for::<Command>()),
        ("status_topic", generator.subschema_for::<Status>()),
        ("dead_letter_topic", generator.subschema_for::<DeadLetter>()),
        ("tasks_topic", generator.subschema_for::<Task>()),
    ]);
    let document = serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Bodies of GhostStream's Kafka topics, by the setting that names the topic",
        "properties": topics,
        "$defs": generator.definitions(),
    });
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_s_own_command_is_understood() {
        let text =
            br#"{"command":"START","stream_id":"7f","stream_key":"cam","rtmp_url":null,"is_recorded":false,
            "user_id":"u","room_id":null,"timestamp":"2026-01-01T00:00:00","version":1}"#;
        let command = Command::parse(text).unwrap();
        let request = command.request(None).unwrap();
        assert_eq!(request.source, PullSource::url("rtmp://localhost:1935/live/cam"));
        assert!(request.targets.is_empty());
        assert_eq!(command.told_again().get("user_id").map(String::as_str), Some("u"));
        let query = Command::parse(br#"{"command":"QUERY_STATUS","stream_id":"7f"}"#).unwrap();
        assert_eq!(query.command, Verb::QueryStatus);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (text, said) in [
            ("", "EOF"),
            ("7", "invalid type"),
            (r#"{"command":"START"}"#, "stream_id"),
            (r#"{"command":"JUMP","stream_id":"a"}"#, "command: unknown variant `JUMP`"),
            (r#"{"command":"STOP","stream_id":"a","colour":1}"#, "colour"),
            (r#"{"command":"STOP","stream_id":"a","version":2}"#, "version: 2 is not 1"),
            (r#"{"command":"STOP","stream_id":"a"} x"#, "trailing"),
            (r#"["STOP","a"]"#, "invalid type: sequence"),
            (r#"{"command":{"STOP":null},"stream_id":"a"}"#, "command: invalid type: map"),
            (r#"{"command":"STOP","stream_id":"a","stream_id":"b"}"#, "stream_id: duplicate field"),
            (r#"{"command":"START","stream_id":"a","output":"x"}"#, "output: START has no such field"),
            (
                r#"{"command":"TRANSCODE","stream_id":"a","stream_key":"x"}"#,
                "stream_key: TRANSCODE has no such",
            ),
        ] {
            let why = Command::parse(text.as_bytes()).unwrap_err();
            assert!(why.contains(said), "{text}: {why}");
        }
        for (fields, said) in [
            ("", "stream_key: this source_type needs it"),
            (r#","source_type":"test","stream_key":"x""#, "stream_key: a test picture"),
            (r#","source_type":"test","output_type":"rtmp""#, "rtmp_url: this output_type needs it"),
            (
                r#","source_type":"test","output_type":"rtsp","rtmp_url":"rtmp://host/x""#,
                "rtmp_url: with rtsp it is",
            ),
            (r#","source_type":"test","is_recorded":true"#, "is_recorded: "),
            (r#","stream_key":"x","width":5"#, "width: "),
        ] {
            let text = format!(r#"{{"command":"START","stream_id":"a"{fields}}}"#);
            let why = Command::parse(text.as_bytes()).unwrap().request(None).unwrap_err();
            assert!(why.contains(said), "{text}: {why}");
        }
    }

    #[test]
    fn the_committed_schema_is_that_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/kafka.schema.json");
        let committed = std::fs::read_to_string(path).unwrap();
        assert!(committed == schema(), "run `make generate`");
    }
}
