//! Elementary streams as JSON.

use engine::packet::StreamInfo;
use serde_json::{Map, Value, json};

/// One stream; what is not known is absent.
pub(crate) fn describe(index: usize, stream: &StreamInfo) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            out.insert(key.into(), value);
        }
    };
    put("index", json!(index));
    put("kind", json!(stream.kind.name()));
    put("codec", json!(stream.codec.name()));
    put("profile", json!(stream.profile));
    put("level", json!(stream.level));
    put("time_base", json!(stream.time_base.to_string()));
    put("bit_rate", json!(stream.bit_rate));
    put("language", json!(stream.language));
    put("title", json!(stream.title));
    put("extradata_bytes", json!(stream.extradata.len()));
    if let Some(video) = &stream.video {
        put("width", json!(video.width));
        put("height", json!(video.height));
        put("format", json!(video.format.map(|f| f.name())));
        put("frame_rate", json!(video.frame_rate.map(|r| r.to_string())));
        put("sample_aspect", json!(video.sample_aspect.to_string()));
        put("primaries", json!(video.colour.primaries));
        put("transfer", json!(video.colour.transfer));
        put("matrix", json!(video.colour.matrix));
        put("reorder", json!(video.reorder));
    }
    if let Some(audio) = &stream.audio {
        put("sample_rate", json!(audio.sample_rate));
        put("channels", json!(audio.layout.channels));
        put("layout", json!(audio.layout.name));
        put("frame_size", json!(audio.frame_size));
        put("initial_padding", json!(audio.initial_padding));
    }
    Value::Object(out)
}
