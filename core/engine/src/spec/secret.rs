//! Addresses as they may be shown: without passwords, stream keys and passphrases.

/// What stands for a secret.
const MASK: &str = "***";

/// Query fields whose values open something.
const SECRET: &[&str] =
    &["passphrase", "password", "key", "streamkey", "stream_key", "token", "streamid", "secret"];

/// `url` for logs and messages: no user part, no RTMP stream key, no secret query values. A path stays as it is.
pub(crate) fn masked(url: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert_eq!(masked(url), shown);
        }
    }
}
