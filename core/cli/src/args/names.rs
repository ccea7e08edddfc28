//! From the path of a field of the document back to the argument that set it, so that an error names what was typed.

/// The argument behind the field at `path` (`outputs[0].video.max_bitrate` → `--max-bitrate`).
pub fn option(path: &str) -> String {
    let plain: Vec<&str> = path.split('.').map(|part| part.split('[').next().unwrap_or(part)).collect();
    let named = match plain.as_slice() {
        ["source", "url" | "bytes" | "pattern", ..] | ["source"] => "IN",
        ["source", "format"] => "--input-format",
        ["source", "options", ..] => "--input-option",
        ["source", "headers", ..] => "--header",
        ["source", "decode", "device"] => "--decoder-device",
        ["outputs"] | ["outputs", "path"] => "OUT",
        ["outputs", "options", ..] => "--format-option",
        ["outputs", "ladder", ..] => "--ladder",
        ["outputs", "segment", "container"] => "--segment",
        ["outputs", "segment", "duration"] => "--segment-duration",
        ["outputs", "video", "codec"] => "--video",
        ["outputs", "video", "stream"] => "--video-stream",
        ["outputs", "video", "frame_rate"] => "--fps",
        ["outputs", "video", "options", ..] => "--option",
        ["outputs", "video", "auto_rotate"] => "--no-auto-rotate",
        ["outputs", "video", "filters"] => "the filters",
        ["outputs", "video", "filters", filter, ..] => return dashed(filter),
        ["outputs", "audio", "codec" | "bitrate"] => "--audio",
        ["outputs", "audio", field @ ("stream" | "language" | "encoder")] => {
            return format!("--audio-{field}");
        }
        ["outputs", "audio", "options", ..] => "--audio-option",
        ["outputs", "audio", "loudness", ..] => "--loudness",
        ["outputs", "subtitles", ..] => "--subtitles",
        [.., field] => return dashed(field),
        [] => return path.into(),
    };
    named.into()
}

fn dashed(field: &str) -> String {
    format!("--{}", field.replace('_', "-"))
}

/// `message` with the path of a field at its beginning replaced by the argument.
pub fn in_message(message: &str) -> String {
    let Some((path, rest)) = message.split_once(": ") else { return message.into() };
    let is_path = ["source", "outputs"].iter().any(|root| {
        path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }) || matches!(path, "threads" | "stall_timeout");
    if is_path && !path.contains(' ') { format!("{}: {rest}", option(path)) } else { message.into() }
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
        assert_eq!(in_message("in.mkv: No such file"), "in.mkv: No such file");
        assert_eq!(in_message("sources: x"), "sources: x");
    }
}
