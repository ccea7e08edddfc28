//! The rungs of an adaptive ladder.

use super::video::VideoSpec;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// A ladder: `"auto"` (from the source: no upscale, even sizes, aspect ratio kept), or a list of rungs.
#[derive(Clone, Debug)]
pub enum LadderSpec {
    /// Chosen from the source.
    Auto,
    /// As given, top rung first.
    Rungs(Vec<RungSpec>),
}

/// One rung: a video track with a name. Fields left out come from the output's `video`.
pub type RungSpec = VideoSpec;

impl<'de> Deserialize<'de> for LadderSpec {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = LadderSpec;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\" or a list of rungs")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<LadderSpec, E> {
                if v == "auto" {
                    Ok(LadderSpec::Auto)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(v), &self))
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<LadderSpec, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(LadderSpec::Rungs)
            }
            fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<LadderSpec, A::Error> {
                Err(de::Error::invalid_type(de::Unexpected::Map, &self))
            }
        }
        d.deserialize_any(V)
    }
}

impl Serialize for LadderSpec {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            LadderSpec::Auto => s.serialize_str("auto"),
            LadderSpec::Rungs(rungs) => rungs.serialize(s),
        }
    }
}

impl JsonSchema for LadderSpec {
    fn schema_name() -> Cow<'static, str> {
        "LadderSpec".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let rung = generator.subschema_for::<VideoSpec>();
        json_schema!({
            "description": "\"auto\", or the rungs, top first; what a rung leaves out comes from the output's `video`",
            "anyOf": [{"const": "auto"}, {"type": "array", "minItems": 1, "items": rung}]
        })
    }
}
