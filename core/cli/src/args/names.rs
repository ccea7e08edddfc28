//! From the path of a field of the document back to the argument that set it, so that an error names what was typed.

use super::Cli;
use clap::CommandFactory;
use serde_json::Value;

/// The argument behind the field at `path` (`outputs[0].video.max_bitrate` → `--max-bitrate`).
pub fn option(path: &str) -> String {
    let plain: Vec<&str> = path.split('.').map(|part| part.split('[').next().unwrap_or(part)).collect();
    let named = match plain.as_slice() {
        ["source", "url" | "bytes" | "pattern", ..] | ["source"] => "IN",
        ["source", "sound", ..] => "--sound",
        ["source", "format"] => "--input-format",
        ["source", "options", ..] => "--input-option",
        ["source", "headers", ..] => "--header",
        ["source", "decode", "device"] => "--decoder-device",
        ["outputs"] | ["outputs", "path"] => "OUT",
        ["outputs", "options", ..] => "--format-option",
        ["outputs", "ladder", ..] => "--ladder",
        ["outputs", "split", "duration"] => "--split",
        ["outputs", "split", "size"] => "--split-size",
        ["outputs", "replay", "seconds"] => "--seconds",
        ["outputs", "replay", "bytes"] => "--replay-size",
        ["outputs", "push", "adapt", ..] => "--adapt",
        ["outputs", "push", "timeout"] => "--push-timeout",
        ["outputs", "push", "tls_verify"] => "--no-tls-verify",
        ["outputs", "tiles", "index"] => "--tiles-index",
        ["outputs", "tiles", ..] => "--tiles",
        ["outputs", "segment", "container"] => "--segment",
        ["outputs", "segment", "duration"] => "--segment-duration",
        ["outputs", "video", "codec"] => "--video",
        ["outputs", "video", "stream"] => "--video-stream",
        ["outputs", "video", "frame_rate"] => "--fps",
        ["outputs", "video", "options", ..] => "--option",
        ["outputs", "video", "auto_rotate"] => "--no-auto-rotate",
        ["outputs", "video", "colour", ..] => "--colour",
        ["outputs", "video", "hdr"] => "--max-cll",
        ["outputs", "video", "hdr", "mastering_display", ..] => "--mastering-display",
        ["outputs", "video", "filters", "burn_in", "charset"] => "--subtitle-charset",
        ["outputs", "video", "filters"] => "the filters",
        ["outputs", "video", "filters", filter, ..] => return dashed(filter),
        ["outputs", "audio", "codec" | "bitrate"] => "--audio",
        ["outputs", "audio", field @ ("stream" | "language" | "encoder")] => {
            return format!("--audio-{field}");
        }
        ["outputs", "audio", "options", ..] => "--audio-option",
        ["outputs", "audio", "loudness", ..] => "--loudness",
        ["outputs", "subtitles", field @ ("language" | "title" | "charset")] => {
            return format!("--subtitle-{field}");
        }
        ["outputs", "subtitles", "default"] => "--default-subtitle",
        ["outputs", "subtitles", ..] => "--subtitles",
        [.., field] => return dashed(field),
        [] => return path.into(),
    };
    named.into()
}

fn dashed(field: &str) -> String {
    format!("--{}", field.replace('_', "-"))
}

/// `message` with the path of a field at its beginning replaced by the argument. The engine writes the path in one
/// (`outputs[0].video.crf: …`) or adds to it on the way up (`outputs[0]: video.crf: …`).
pub fn in_message(message: &str) -> String {
    // Of the words for all, the one that the command has an option for.
    let message = &message.replace("; say overwrite to replace it", "; -y replaces it");
    let Some((root, mut rest)) = message.split_once(": ") else { return message.into() };
    let is_root =
        matches!(root.split(['.', '[']).next(), Some("source" | "outputs" | "threads" | "stall_timeout"));
    if !is_root || root.contains(' ') {
        return message.into();
    }
    // A file called `a.mp4` was taken for a field of what it belongs to.
    if let Some((head, name)) = root.split_once('.').filter(|_| !exists(root)) {
        return in_message(&format!("{head}: {name}: {rest}"));
    }
    let mut path = root.to_string();
    while let Some((field, after)) = rest.split_once(": ") {
        let longer = format!("{path}.{field}");
        let is_field =
            field.starts_with(|c: char| c.is_ascii_lowercase()) && !field.contains([' ', '/', ':']);
        if !is_field || !exists(&longer) || !is_argument(&option(&longer)) {
            break;
        }
        (path, rest) = (longer, after);
    }
    format!("{}: {rest}", option(&path))
}

/// Whether the document has a field at `path`; a file may be called like one.
fn exists(path: &str) -> bool {
    let Ok(schema) = serde_json::from_str::<Value>(&ghoststream::spec::schema()) else { return false };
    let mut at = vec![&schema];
    for part in path.split(['.', '[']) {
        at = at.into_iter().flat_map(|inner| alternatives(&schema, inner)).collect();
        at = match part.ends_with(']') {
            true => at.into_iter().filter_map(|inner| inner.get("items")).collect(),
            false => at
                .into_iter()
                .filter_map(|inner| {
                    let more = inner.get("additionalProperties").filter(|more| more.is_object());
                    inner["properties"].get(part).or(more)
                })
                .collect(),
        };
    }
    !at.is_empty()
}

/// `inner` and what it refers to.
fn alternatives<'a>(schema: &'a Value, inner: &'a Value) -> Vec<&'a Value> {
    let name = inner["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/"));
    let referred = name.map(|name| &schema["$defs"][name]).into_iter();
    let others = ["anyOf", "oneOf", "allOf"].iter().filter_map(|key| inner[key].as_array()).flatten();
    let deeper = referred.chain(others).flat_map(|other| alternatives(schema, other));
    std::iter::once(inner).chain(deeper).collect()
}

fn is_argument(name: &str) -> bool {
    let known = |long: &str| {
        Cli::command().get_subcommands().any(|c| c.get_arguments().any(|a| a.get_long() == Some(long)))
    };
    name.strip_prefix("--").map_or(matches!(name, "IN" | "OUT"), known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_becomes_the_argument() {
        for (path, argument) in [
            ("outputs[0].video.max_bitrate", "--max-bitrate"),
            ("outputs[1].video.codec", "--video"),
            ("outputs[0].video.filters[2].crop.width", "--crop"),
            ("outputs[0].audio[0].channels", "--channels"),
            ("outputs[0].audio[1].language", "--audio-language"),
            ("outputs[0].ladder[0].width", "--ladder"),
            ("outputs[0].format", "--format"),
            ("source.url", "IN"),
            ("source.pattern.width", "IN"),
            ("source.timeout", "--timeout"),
            ("threads", "--threads"),
        ] {
            assert_eq!(option(path), argument, "{path}");
        }
    }

    #[test]
    fn only_paths_are_replaced() {
        assert_eq!(in_message("outputs[0].video.crf: 300 is too much"), "--crf: 300 is too much");
        assert_eq!(in_message("outputs[0]: path: a/b: no such directory"), "OUT: a/b: no such directory");
        assert_eq!(in_message("outputs[0]: video: codec: x is unknown"), "--video: x is unknown");
        assert_eq!(in_message("outputs[0]: b.mp4: disk: full"), "OUT: b.mp4: disk: full");
        let exists = "outputs[0].path: a.mp4: exists; say overwrite to replace it";
        assert_eq!(in_message(exists), "OUT: a.mp4: exists; -y replaces it");
        // Some commands have options of these names.
        for name in ["b.mp4", "path.mp4", "video.fps", "mp4"] {
            let message = format!("outputs[0]: {name}: exists");
            assert_eq!(in_message(&message), format!("OUT: {name}: exists"));
            assert_eq!(
                in_message(&format!("outputs[0].{name}.mkv: exists")),
                format!("OUT: {name}.mkv: exists")
            );
        }
        assert_eq!(in_message("outputs[0].audio[0]: channels: 9 is too many"), "--channels: 9 is too many");
        assert_eq!(in_message("outputs[0]: video.filters[0].crop: too large"), "--crop: too large");
        assert_eq!(in_message("in.mkv: No such file"), "in.mkv: No such file");
        assert_eq!(in_message("sources: x"), "sources: x");
    }
}
