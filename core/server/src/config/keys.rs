//! Which keys there are, and which values make sense together.

use super::Config;
use serde_json::Value;

/// Refuses keys of `given` that `known` (the default settings) does not have, with the nearest one.
pub(super) fn unknown(given: &Value, known: &Value, path: &str) -> Result<(), String> {
    let (Value::Object(given), Value::Object(known)) = (given, known) else { return Ok(()) };
    for (key, value) in given {
        let here = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match known.get(key) {
            Some(inner) => unknown(value, inner, &here)?,
            None => {
                let near = nearest(key, known.keys().map(String::as_str));
                let hint = match near {
                    Some(near) if path.is_empty() => format!("; did you mean {near}?"),
                    Some(near) => format!("; did you mean {path}.{near}?"),
                    None => {
                        let all: Vec<&str> = known.keys().map(String::as_str).collect();
                        format!("; there are {}", all.join(", "))
                    }
                };
                return Err(format!("{here}: there is no such setting{hint}"));
            }
        }
    }
    Ok(())
}

/// Refuses an environment variable (`rest` is its name without the prefix, in small letters) that names a section of `known`
/// and none of its settings, with the nearest one.
pub(super) fn unknown_variable(variable: &str, rest: &str, known: &Value) -> Result<(), String> {
    let inner = |section: &str| known.get(section).and_then(Value::as_object);
    let section = known.as_object().into_iter().flat_map(|k| k.keys()).find_map(|section| {
        let key = rest.strip_prefix(section.as_str())?.strip_prefix('_')?;
        Some((section, key, inner(section)?))
    });
    let Some((section, key, settings)) = section else { return Ok(()) };
    let named = |key: &str| format!("GHOSTSTREAM_{}_{}", section.to_uppercase(), key.to_uppercase());
    let hint = match nearest(key, settings.keys().map(String::as_str)) {
        Some(near) => format!("; did you mean {}?", named(near)),
        None => String::new(),
    };
    Err(format!("{variable}: there is no such setting{hint}"))
}

/// The word of `all` that is close enough to `word` to have been meant.
pub(super) fn nearest<'a>(word: &str, all: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, near) = all.map(|w| (distance(word, w), w)).min()?;
    (distance <= 1 + word.len() / 4).then_some(near)
}

/// Insertions, deletions and replacements between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(!x.eq_ignore_ascii_case(y));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Checks what settings say together.
///
/// # Errors
/// The first key whose value makes no sense, and why.
pub(super) fn check_together(config: &Config) -> Result<(), String> {
    let live = &config.live;
    if live.record.all.is_some() && live.recordings.is_none() {
        return Err("live.record.all: live.recordings names no directory".into());
    }
    if live.hooks.authorize && live.hooks.urls.is_empty() {
        return Err("live.hooks.authorize: nobody decides, live.hooks.urls is empty".into());
    }
    let keys = live.publish_key.is_some() || live.read_key.is_some() || !live.keys.is_empty();
    if live.token_secret.is_some() && !keys {
        let why = "nothing needs a key: there is no live.publish_key, live.read_key or live.keys";
        return Err(format!("live.token_secret: {why}"));
    }
    Ok(())
}

/// Checks each setting by itself.
///
/// # Errors
/// As [`check_together`].
pub(super) fn check(config: &Config) -> Result<(), String> {
    let within = |key: &str, value: f64, low: f64, high: f64| {
        if (low..=high).contains(&value) {
            Ok(())
        } else {
            Err(format!("{key}: {value} is not between {low} and {high}"))
        }
    };
    let one_of = |key: &str, value: &str, all: &[&str]| match all.contains(&value) {
        true => Ok(()),
        false => Err(format!("{key}: {value:?} is not one of {}", all.join(", "))),
    };
    let url = |key: &str, value: &Option<String>| match value {
        Some(u) if !(u.starts_with("http://") || u.starts_with("https://")) => {
            Err(format!("{key}: {u:?} does not begin with http:// or https://"))
        }
        _ => Ok(()),
    };
    let s = &config.server;
    url("server.advertised_url", &s.advertised_url)?;
    for proxy in &s.trusted_proxies {
        crate::proxies::network(proxy).map_err(|e| format!("server.trusted_proxies: {e}"))?;
    }
    within("server.max_body_kb", s.max_body_kb as f64, 1.0, 65_536.0)?;
    within("server.request_timeout_seconds", s.request_timeout_seconds as f64, 1.0, 3600.0)?;
    within("server.max_connections", s.max_connections as f64, 1.0, 1e6)?;
    within("server.websocket_ping_seconds", s.websocket_ping_seconds, 0.1, 3600.0)?;
    if s.host.is_empty() {
        return Err("server.host: it is empty; 0.0.0.0 listens everywhere".into());
    }
    if config.mdns.service_name.is_empty() || config.mdns.service_name.len() > 63 {
        return Err("mdns.service_name: it takes 1 to 63 bytes".into());
    }
    url("ghosthub.url", &config.ghosthub.url)?;
    within(
        "ghosthub.register_interval_seconds",
        config.ghosthub.register_interval_seconds as f64,
        1.0,
        86_400.0,
    )?;
    let t = &config.transcoding;
    let node = &config.hardware.vaapi_device;
    if node != "auto" && !node.starts_with('/') {
        return Err(format!(
            "hardware.vaapi_device: {node:?} is neither a path (/dev/dri/renderD129) nor auto"
        ));
    }
    if t.ffmpeg_path != "auto" {
        return Err(
            "transcoding.ffmpeg_path: no ffmpeg program is run; FFmpeg's libraries are loaded by the system's loader. \
             Write auto or leave it out"
                .into(),
        );
    }
    within("transcoding.max_concurrent_jobs", t.max_concurrent_jobs as f64, 1.0, 1024.0)?;
    within("transcoding.segment_duration", t.segment_duration, 0.5, 60.0)?;
    let on_demand = t.on_demand_segment_duration;
    within("transcoding.on_demand_segment_duration", on_demand, 0.5, 60.0)?;
    within("transcoding.cleanup_after_hours", t.cleanup_after_hours, 0.0, 1e6)?;
    within("transcoding.abr_max_variants", t.abr_max_variants as f64, 1.0, 16.0)?;
    within("transcoding.stall_timeout", t.stall_timeout, 1.0, 1e6)?;
    within("transcoding.stall_timeout_per_segment", t.stall_timeout_per_segment, 0.0, 1e6)?;
    within("transcoding.retry_count", f64::from(t.retry_count), 0.0, 100.0)?;
    within("transcoding.retry_delay", t.retry_delay, 0.0, 3600.0)?;
    within("transcoding.idle_workers", t.idle_workers as f64, 0.0, 64.0)?;
    within("limits.max_file_size_gb", config.limits.max_file_size_gb, 0.0, 1e9)?;
    within("limits.max_disk_gb", config.limits.max_disk_gb, 0.0, 1e9)?;
    let h = &config.hardware;
    one_of("hardware.nvenc_preset", &h.nvenc_preset, &["p1", "p2", "p3", "p4", "p5", "p6", "p7"])?;
    let presets = ["veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"];
    one_of("hardware.qsv_preset", &h.qsv_preset, &presets)?;
    one_of("hardware.videotoolbox_preset", &h.videotoolbox_preset, &["fast", "medium", "slow"])?;
    within("live.segment_duration", config.live.segment_duration, 0.5, 10.0)?;
    within("live.part_duration", config.live.part_duration, 0.05, config.live.segment_duration / 2.0)?;
    within("live.playlist_size", config.live.playlist_size as f64, 4.0, 10_000.0)?;
    within("live.dvr_seconds", config.live.dvr_seconds, 0.0, 86_400.0)?;
    for (i, source) in config.live.sources.iter().enumerate() {
        within(&format!("live.sources.{i}.idle_timeout"), source.idle_timeout, 0.0, 86_400.0)?;
    }
    for (i, slate) in config.live.slates.iter().enumerate() {
        within(&format!("live.slates.{i}.after"), slate.after, 0.0, 3600.0)?;
    }
    within("live.record.segment_seconds", config.live.record.segment_seconds, 1.0, 86_400.0)?;
    within("live.record.keep_seconds", config.live.record.keep_seconds, 0.0, 1e10)?;
    if let Some(form) = &config.live.record.all
        && !matches!(form.as_str(), "mp4" | "mkv" | "ts")
    {
        return Err(format!("live.record.all: {form:?} is none of mp4, mkv, ts"));
    }
    within("live.stale_threshold", config.live.stale_threshold, 0.0, 1e9)?;
    within("live.cleanup_interval", config.live.cleanup_interval, 0.1, 1e9)?;
    if !config.live.ladder.is_empty() {
        crate::live::TranscodeSpec::ladder(&config.live.ladder)
            .map_err(|e| format!("live.ladder: {}", e.message()))?;
    }
    within("logging.media_level", f64::from(config.logging.media_level.unwrap_or(0)), 0.0, 9.0)?;
    within("kafka.metrics_interval", config.kafka.metrics_interval, 0.0, 86_400.0)?;
    within("kafka.task_seconds", config.kafka.task_seconds, 0.5, 3600.0)?;
    within("kafka.partitions", f64::from(config.kafka.partitions), 1.0, 1000.0)?;
    config.kafka.check()?;
    within("live.srt_latency_ms", f64::from(config.live.srt_latency_ms), 20.0, 8000.0)?;
    if config.live.srt_passphrase.as_ref().is_some_and(|p| !(10..=79).contains(&p.reveal().len())) {
        return Err("live.srt_passphrase: it takes 10 to 79 bytes".into());
    }
    for (i, key) in config.live.keys.iter().enumerate() {
        if key.stream.is_empty() || (key.publish.is_none() && key.read.is_none()) {
            return Err(format!("live.keys.{i}: it takes stream, and publish or read or both"));
        }
    }
    for hook in &config.live.hooks.urls {
        url("live.hooks.urls", &Some(hook.clone()))?;
    }
    within("live.max_streams", config.live.max_streams as f64, 1.0, 1e6)?;
    within("live.max_connections", config.live.max_connections as f64, 1.0, 1e6)?;
    config.store.check()?;
    within("security.job_token_ttl_seconds", config.security.job_token_ttl_seconds as f64, 1.0, 1e9)?;
    for origin in &config.security.allowed_origins {
        let bare = origin.strip_prefix("http://").or(origin.strip_prefix("https://"));
        if origin != "*" && bare.is_none_or(|b| b.is_empty() || b.contains('/')) {
            return Err(format!("security.allowed_origins: {origin:?} is not scheme://host[:port] or *"));
        }
    }
    let sources = &config.security.sources;
    for (key, list) in [("allowed_hosts", &sources.allowed_hosts), ("denied_hosts", &sources.denied_hosts)] {
        for host in list {
            ghoststream::spec::HostPattern::parse(host)
                .map_err(|e| format!("security.sources.{key}: {e}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_mistyped_key_is_refused_with_the_right_one() {
        let known = serde_json::to_value(Config::default()).unwrap();
        for (given, said) in [
            (json!({ "sever": {} }), "sever: there is no such setting; did you mean server?"),
            (json!({ "server": { "prot": 1 } }), "did you mean server.port?"),
            (
                json!({ "transcoding": { "max_concurent_jobs": 1 } }),
                "did you mean transcoding.max_concurrent_jobs?",
            ),
            (
                json!({ "security": { "sources": { "local_root": [] } } }),
                "did you mean security.sources.local_roots?",
            ),
            (json!({ "mdns": { "zzzzzz": 1 } }), "there are enabled, service_name"),
        ] {
            let why = unknown(&given, &known, "").unwrap_err();
            assert!(why.contains(said), "{why}");
        }
    }

    #[test]
    fn the_defaults_make_sense() {
        check(&Config::default()).unwrap();
    }
}
