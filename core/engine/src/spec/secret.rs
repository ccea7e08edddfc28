//! Addresses and documents as they may be shown: without passwords, stream keys and passphrases.

use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// What stands for a secret.
const MASK: &str = "***";

/// Query fields whose values open something.
const SECRET: &[&str] = &[
    "passphrase",
    "password",
    "key",
    "streamkey",
    "stream_key",
    "token",
    "streamid",
    "srt_streamid",
    "secret",
];

/// `url` for logs and messages: no user part, no RTMP stream key, no secret query values. A path stays as it is.
pub(crate) fn masked(url: &str) -> String {
    if let Some((service, _)) = super::Service::of_path(url) {
        return format!("{}:{MASK}", service.name);
    }
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let authority = match authority.rfind('@') {
        Some(at) => format!("{MASK}@{}", &authority[at + 1..]),
        None => authority.into(),
    };
    let rtmp = scheme.to_ascii_lowercase().starts_with("rtmp");
    let (path, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
    // An RTMP address is host/application/key, and what follows the key (`?sign=…`) is part of it.
    if rtmp
        && let Some(application) = path.get(1..).and_then(|p| p.find('/')).map(|at| at + 1)
        && path.len() > application + 1
    {
        return format!("{scheme}://{authority}{}/{MASK}", &path[..application]);
    }
    format!("{scheme}://{authority}{path}{}", query_masked(query))
}

fn query_masked(query: &str) -> String {
    let Some(fields) = query.strip_prefix('?') else { return query.into() };
    let fields: Vec<String> = fields
        .split('&')
        .map(|field| match field.split_once('=') {
            Some((name, value))
                if !value.is_empty() && SECRET.contains(&name.to_ascii_lowercase().as_str()) =>
            {
                format!("{name}={MASK}")
            }
            _ => field.into(),
        })
        .collect();
    format!("?{}", fields.join("&"))
}

/// Words in the names of FFmpeg options whose values open something.
const SECRET_OPTION: &[&str] =
    &["pass", "key", "token", "secret", "auth", "cookie", "header", "streamid", "playpath"];

/// `Debug` of a part of the document: as JSON, with its secrets masked.
pub(super) fn debug(name: &str, part: &impl Serialize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut value = serde_json::to_value(part).map_err(|_| fmt::Error)?;
    mask(&mut value);
    if f.alternate() { write!(f, "{name} {value:#}") } else { write!(f, "{name} {value}") }
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("url" | "path", Value::String(text)) => *text = masked(text),
                    ("passphrase" | "stream_id", Value::String(text)) => *text = MASK.into(),
                    ("headers", Value::Object(headers)) => {
                        headers.values_mut().for_each(|v| *v = MASK.into())
                    }
                    ("options", Value::Object(options)) => options
                        .iter_mut()
                        .filter(|(name, _)| {
                            SECRET_OPTION.iter().any(|word| name.to_lowercase().contains(word))
                        })
                        .for_each(|(_, v)| *v = MASK.into()),
                    (_, value) => mask(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_shows_no_secret() {
        let text = r#"{"source": {"url": "rtsp://me:hush@cam/1", "headers": {"Authorization": "hush"},
                "options": {"cookies": "hush", "rtsp_transport": "tcp"}},
            "outputs": [{"path": "rtmp://h/app/hush"}, {"path": "srt://h:9?passphrase=hush-hush-hush", "format": "ts",
                "options": {"passphrase": "hush"}},
                {"path": "kick:hush", "push": {"reconnects": 1}},
                {"path": "srt://h:1", "push": {"srt": {"passphrase": "hush-hush-hush", "stream_id": "hush"}}}]}"#;
        let spec = crate::spec::PipelineSpec::from_json(text).unwrap();
        for shown in [format!("{spec:?}"), format!("{spec:#?}"), format!("{:?}", spec.outputs)] {
            assert!(!shown.contains("hush") && shown.contains("***"), "{shown}");
        }
        assert!(format!("{:?}", spec.source).contains("tcp"), "the rest stays");
    }

    #[test]
    fn secrets_go_and_the_rest_stays() {
        for (url, shown) in [
            ("rtsp://me:secret@cam/1?x=@", "rtsp://***@cam/1?x=@"),
            ("/a@b.mp4", "/a@b.mp4"),
            ("rtmp://live.twitch.tv/app/live_123", "rtmp://live.twitch.tv/app/***"),
            ("rtmps://h:443/rtmp/K?s=1&t=2", "rtmps://h:443/rtmp/***"),
            ("rtmp://u:p@h/app/instance/key", "rtmp://***@h/app/***"),
            ("rtmp://h/app", "rtmp://h/app"),
            ("rtmp://h/app/", "rtmp://h/app/"),
            ("rtmp://h", "rtmp://h"),
            ("srt://h:9000?passphrase=hush&mode=caller", "srt://h:9000?passphrase=***&mode=caller"),
            ("https://h/p.m3u8?Token=a&b", "https://h/p.m3u8?Token=***&b"),
            ("https://h/p?", "https://h/p?"),
            ("out.mkv", "out.mkv"),
            ("twitch:live_1", "twitch:***"),
            ("srt://h:1?srt_streamid=a", "srt://h:1?srt_streamid=***"),
        ] {
            assert_eq!(masked(url), shown);
        }
    }
}
