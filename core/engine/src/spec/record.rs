//! Recording: files that are cut while they are made, and the last seconds kept for later.

use super::template::Template;
use super::values::{ByteSize, Seconds};
use super::{Container, OutputSpec};
use crate::error::{Error, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// When a recording goes on in a new file. Every file begins with a key frame and at time 0, and no frame is in two of
/// them or in none. `{}` (or `true`) cuts on command only (`gs_job_split`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitSpec {
    /// At every multiple of this, counted from the beginning. Key frames are forced there; copied video is cut at its
    /// next own one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Seconds>,
    /// When a file has so many bytes; it grows until the key frame that is asked for then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<ByteSize>,
}

/// The last seconds of an output, kept as they were encoded until a command saves them (`gs_job_save`), as often as
/// wanted; encoding goes on meanwhile. `path` is the template of the files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaySpec {
    /// How much is kept: at least so much, and up to one group of pictures more.
    pub seconds: Seconds,
    /// The most that is kept; whole groups of pictures go from the front, also when `seconds` are not reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<ByteSize>,
    /// Where it is kept.
    #[serde(default)]
    pub store: ReplayStore,
    /// Directory of the spool for `store: disk`; default: that of the saved files. What is in it has no name and is gone
    /// with the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<String>,
}

/// Where a replay is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReplayStore {
    /// In memory.
    #[default]
    Memory,
    /// In a file without a name; memory holds only the times.
    Disk,
}

/// Whether an output is cut.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum SplitChoice {
    /// One file.
    #[default]
    Never,
    /// As said.
    Split(SplitSpec),
}

impl SplitChoice {
    /// How it is cut, if it is.
    pub fn spec(&self) -> Option<&SplitSpec> {
        match self {
            SplitChoice::Never => None,
            SplitChoice::Split(split) => Some(split),
        }
    }

    /// Whether it is one file.
    pub fn is_never(&self) -> bool {
        *self == SplitChoice::Never
    }
}

const EXPECTING: &str = "how files are cut, true to cut on command only, or false for one file";

impl<'de> Deserialize<'de> for SplitChoice {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = SplitChoice;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTING)
            }
            fn visit_unit<E: de::Error>(self) -> std::result::Result<SplitChoice, E> {
                Ok(SplitChoice::Never)
            }
            fn visit_bool<E: de::Error>(self, v: bool) -> std::result::Result<SplitChoice, E> {
                Ok(if v { SplitChoice::Split(SplitSpec::default()) } else { SplitChoice::Never })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<SplitChoice, A::Error> {
                SplitSpec::deserialize(de::value::MapAccessDeserializer::new(map)).map(SplitChoice::Split)
            }
        }
        d.deserialize_any(V)
    }
}

impl Serialize for SplitChoice {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            SplitChoice::Never => s.serialize_bool(false),
            SplitChoice::Split(split) => split.serialize(s),
        }
    }
}

impl JsonSchema for SplitChoice {
    fn schema_name() -> Cow<'static, str> {
        "SplitChoice".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let split = generator.subschema_for::<SplitSpec>();
        json_schema!({"description": EXPECTING, "anyOf": [{"type": ["boolean", "null"]}, split]})
    }
}

/// Containers whose files can be begun anew in the middle.
fn can_be_cut(container: Option<Container>) -> bool {
    !container
        .is_some_and(|c| c.is_segmented() || matches!(c, Container::Y4m | Container::Raw | Container::Image))
}

/// Checks what `output` says of recording.
pub(super) fn check(path: &str, o: &OutputSpec, container: Option<Container>) -> Result<()> {
    let refuse = |field: &str, message: &str| Err(Error::invalid(format!("{path}.{field}"), message));
    let file = o.path.as_deref().filter(|p| !p.contains("://"));
    let recorded = [
        ("split", !o.split.is_never()),
        ("replay", o.replay.is_some()),
        ("template", o.template),
        ("crash_safe", o.crash_safe.is_some()),
    ];
    if let Some((field, _)) = recorded.iter().find(|(_, set)| *set) {
        if file.is_none() {
            return refuse(field, "needs a path that is a file");
        }
        if !can_be_cut(container) {
            return refuse(field, "needs a container such as mkv, mp4 or ts");
        }
    }
    if o.replay.is_some() && !o.split.is_never() {
        return refuse("split", "a replay is not cut; save what is wanted of it");
    }
    if o.crash_safe.is_some() && o.replay.is_some() {
        return refuse("crash_safe", "a replay is written when it is saved, at once");
    }
    if o.crash_safe == Some(false) && o.fragmented {
        return refuse("crash_safe", "fragmented files always are");
    }
    if let Some(split) = o.split.spec() {
        if split.duration.is_some_and(|d| !(1.0..=1e6).contains(&d.0)) {
            return refuse("split.duration", "1 to 1000000 seconds");
        }
        if split.size.is_some_and(|s| s.0 < 100_000) {
            return refuse("split.size", "at least 100k");
        }
    }
    if let Some(replay) = &o.replay {
        if !(1.0..=86_400.0).contains(&replay.seconds.0) {
            return refuse("replay.seconds", "1 to 86400");
        }
        if replay.bytes.is_some_and(|s| s.0 < 100_000) {
            return refuse("replay.bytes", "at least 100k");
        }
        if replay.spool.is_some() && replay.store != ReplayStore::Disk {
            return refuse("replay.spool", "needs store disk");
        }
    }
    let several = o.replay.is_some() || !o.split.is_never();
    if let Some(file) = file.filter(|_| several || o.template) {
        let template = Template::parse(file).map_err(|e| Error::invalid(format!("{path}.path"), e))?;
        if several && !template.changes() {
            return refuse(
                "path",
                "every file would have the same name; put {n}, or a time down to seconds such as %F_%T, into it",
            );
        }
        if o.overwrite {
            return refuse("overwrite", "a template never replaces a file");
        }
    }
    Ok(())
}

impl OutputSpec {
    /// Whether `path` is a template of names.
    pub(crate) fn is_template(&self) -> bool {
        self.template || self.replay.is_some() || !self.split.is_never()
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::PipelineSpec;

    fn check(output: &str) -> Result<(), String> {
        let json = format!(r#"{{"source": {{"pattern": {{}}}}, "outputs": [{output}]}}"#);
        PipelineSpec::from_json(&json).map(drop).map_err(|e| e.message().to_string())
    }

    #[test]
    fn recordings() {
        for good in [
            r#"{"path": "a-{n}.mkv", "split": true}"#,
            r#"{"path": "a-%F_%T.mp4", "split": {"duration": "1:00", "size": "2G"}}"#,
            r#"{"path": "{name}-%Y.mkv", "template": true}"#,
            r#"{"path": "50%.mkv", "split": false}"#,
            r#"{"path": "r-%F_%T.mkv", "replay": {"seconds": 30, "bytes": "500M", "store": "disk", "spool": "/tmp"}}"#,
        ] {
            check(good).unwrap_or_else(|e| panic!("{good}: {e}"));
        }
        for (bad, named) in [
            (r#"{"path": "a.mkv", "split": true}"#, "outputs[0].path"),
            (r#"{"path": "50%.mkv", "template": true}"#, "outputs[0].path"),
            (r#"{"path": "a-{n}.mkv", "split": {"duration": 0.1}}"#, "outputs[0].split.duration"),
            (r#"{"path": "a-{n}.mkv", "split": {"size": 10}}"#, "outputs[0].split.size"),
            (r#"{"path": "a-{n}.mkv", "split": true, "replay": {"seconds": 9}}"#, "outputs[0].split"),
            (r#"{"path": "a-{n}.y4m", "split": true}"#, "outputs[0].split"),
            (r#"{"path": "rtmp://h/a/k", "replay": {"seconds": 9}}"#, "outputs[0].replay"),
            (r#"{"path": "a-{n}.mkv", "replay": {"seconds": 0}}"#, "outputs[0].replay.seconds"),
            (
                r#"{"path": "a-{n}.mkv", "replay": {"seconds": 9, "spool": "/tmp"}}"#,
                "outputs[0].replay.spool",
            ),
            (r#"{"path": "a-{n}.mkv", "split": true, "overwrite": true}"#, "outputs[0].overwrite"),
            (r#"{"packets": {}, "replay": {"seconds": 9}}"#, "outputs[0].replay"),
        ] {
            let said = check(bad).expect_err(bad);
            assert!(said.starts_with(named), "{bad}: {said}");
        }
    }

    #[test]
    fn a_recording_survives_a_round_trip() {
        let json = r#"{"source": {"pattern": {}}, "outputs": [
            {"path": "a-{n}.mkv", "split": {"duration": 60, "size": "1G"}, "crash_safe": true},
            {"path": "r-{n}.mkv", "replay": {"seconds": 30, "store": "disk"}}]}"#;
        let spec = PipelineSpec::from_json(json).unwrap();
        let again = PipelineSpec::from_json(&serde_json::to_string(&spec).unwrap()).unwrap();
        assert_eq!(format!("{spec:?}"), format!("{again:?}"));
        assert_eq!(again.outputs[0].split.spec().unwrap().size.unwrap().0, 1_000_000_000);
    }
}
