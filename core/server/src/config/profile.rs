//! What the services that this server replaces were: their ports, their variables in the environment, their flags.

use super::{Config, LiveSource, Overrides, Profile, Secret};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where the GStreamer service recorded when nobody said where.
const RECORDINGS: &str = "/app/recordings";
/// Where the GStreamer service gave its figures.
const METRICS: u16 = 8001;
/// The test picture that `--test-pipeline` asks for, as the service's runner did.
const TEST: (&str, &str) = ("test", "pattern:640x480@30");

/// Variables of those services that say nothing to this server, and why.
const UNUSED: [(Profile, &str, &str); 6] = [
    (Profile::Gstreamer, "SCHEMA_REGISTRY_URL", "bodies are JSON, as they were; nothing is looked up"),
    (
        Profile::Gstreamer,
        "BACKEND_API_URL",
        "the service never called it; live.hooks tells others of streams",
    ),
    (Profile::Gstreamer, "KAFKA_TOPIC_WEBRTC_SIGNALING_IN", "WebRTC is asked for by WHIP and WHEP"),
    (Profile::Gstreamer, "KAFKA_TOPIC_WEBRTC_SIGNALING_OUT", "WebRTC is asked for by WHIP and WHEP"),
    (Profile::HlsDash, "REDIS_URL", "streams are remembered by the server itself"),
    (Profile::HlsDash, "MEDIA_SERVER_URL", "every request names its source"),
];

/// Variables that are set and that a replaced service had, but that mean nothing here, each with the reason.
pub fn unused_variables(profiles: &[Profile]) -> Vec<(&'static str, &'static str)> {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    let mine = UNUSED.iter().filter(|(profile, name, _)| profiles.contains(profile) && set(name));
    mine.map(|(_, name, why)| (*name, *why)).collect()
}

fn number<T: FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{name}: {text:?} is not a number"))
}

fn truth(name: &str, text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("{name}: {text:?} is neither true nor false")),
    }
}

/// Behaves as the service that `profile` names; `variable` gives its environment. An empty variable is none.
///
/// # Errors
/// A variable whose value makes no sense, by its name.
pub(super) fn apply(
    config: &mut Config,
    profile: Profile,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), String> {
    let given = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
    let port = |name: &str| given(name).map(|text| number::<u16>(name, &text)).transpose();
    let seconds = |name: &str| given(name).map(|text| number::<f64>(name, &text)).transpose();
    let whether = |name: &str| given(name).map(|text| truth(name, &text)).transpose();
    config.live.enabled = true;
    if let Some(text) = given("LOG_LEVEL") {
        config.logging.level = text.trim().parse().map_err(|e| format!("LOG_LEVEL: {e}"))?;
    }
    if let Some(text) = given("CORS_ORIGINS") {
        let all = text.split(',').map(str::trim).filter(|one| !one.is_empty());
        config.security.allowed_origins = all.map(String::from).collect();
        config.check_each().map_err(|why| format!("CORS_ORIGINS: {why}"))?;
    }
    match profile {
        Profile::Gstreamer => {
            config.kafka.apply(&variable);
            let live = &mut config.live;
            live.gstreamer_port = Some(5002);
            for name in ["API_PORT", "GSTREAMER_API_PORT"] {
                live.gstreamer_port = port(name)?.or(live.gstreamer_port);
            }
            let figures = port("METRICS_PORT")?.or(config.server.metrics_port);
            config.server.metrics_port = figures.or(Some(METRICS));
            if let Some(token) = given("SERVICE_API_TOKEN") {
                live.service_token = Some(Secret::new(token));
            }
            let path = given("RECORDING_PATH").map(PathBuf::from);
            live.recordings = match whether("ENABLE_RECORDING")? {
                Some(false) => None,
                // Where nothing was said, there were files all the same: those of `output_type` file.
                Some(true) | None => path.or(live.recordings.take()).or_else(|| Some(RECORDINGS.into())),
            };
            if let Some(text) = given("GST_DEBUG") {
                config.logging.media_level = Some(media_level("GST_DEBUG", &text)?);
            }
            // Its streams ran until they were stopped.
            live.stale_threshold = 0.0;
        }
        Profile::HlsDash => {
            let live = &mut config.live;
            (live.hls_dash_port, live.cdn_port) = (Some(8083), Some(8084));
            live.segment_duration = seconds("SEGMENT_DURATION")?.unwrap_or(live.segment_duration);
            if let Some(text) = given("PLAYLIST_SIZE") {
                live.playlist_size = number("PLAYLIST_SIZE", &text)?;
            }
            live.low_latency = whether("LOW_LATENCY_HLS")?.unwrap_or(live.low_latency);
            live.cleanup_interval = seconds("CLEANUP_INTERVAL")?.unwrap_or(live.cleanup_interval);
            live.stale_threshold = seconds("STALE_THRESHOLD")?.unwrap_or(live.stale_threshold);
            if let Some(text) = given("OUTPUT_DIR") {
                config.store.url = Some(directory(&text)?);
                config.store.live = true;
                // The directory of streams, and of nothing else.
                config.store.jobs = false;
            }
        }
    }
    Ok(())
}

/// GStreamer's levels as ours: 0 is nothing, 1 errors, 2 warnings, 9 all that there is.
fn media_level(name: &str, text: &str) -> Result<u8, String> {
    let level = text.trim().parse::<u8>().ok().filter(|level| *level <= 9);
    level.ok_or_else(|| format!("{name}: {text:?} is not a level from 0 to 9"))
}

/// The store that has a stream's files in `text`/NAME: it puts them below `streams/NAME`.
fn directory(text: &str) -> Result<String, String> {
    let path = Path::new(text.trim());
    match (path.is_absolute(), path.file_name(), path.parent()) {
        (true, Some(last), Some(parent)) if last == "streams" => Ok(format!("file://{}", parent.display())),
        (true, ..) => Ok(format!("file://{}", path.display())),
        (false, ..) => Err(format!("OUTPUT_DIR: {text:?} is not an absolute path")),
    }
}

/// What flags of those services say.
///
/// # Errors
/// A flag of a service that is not asked for.
pub(super) fn flags(config: &mut Config, flags: &Overrides) -> Result<(), String> {
    let its = [
        ("--api-port", flags.api_port.is_some()),
        ("--enable-recording", flags.enable_recording),
        ("--test-pipeline", flags.test_pipeline),
        ("--gst-debug-level", flags.media_level.is_some()),
    ];
    if let Some((name, _)) =
        its.iter().find(|(_, given)| *given && !flags.profiles.contains(&Profile::Gstreamer))
    {
        return Err(format!("{name}: it is the GStreamer service's: --profile gstreamer"));
    }
    let live = &mut config.live;
    live.gstreamer_port = flags.api_port.or(live.gstreamer_port);
    config.server.metrics_port = flags.metrics_port.or(config.server.metrics_port);
    config.logging.media_level = flags.media_level.or(config.logging.media_level);
    if flags.enable_recording && live.recordings.is_none() {
        live.recordings = Some(RECORDINGS.into());
    }
    if let Some(path) = &flags.recordings {
        live.recordings = Some(path.clone());
    }
    if flags.test_pipeline && live.sources.iter().all(|source| source.name != TEST.0) {
        let (name, url) = (TEST.0.into(), TEST.1.into());
        live.sources.push(LiveSource {
            name,
            url,
            repeat: true,
            slate: None,
            on_demand: false,
            idle_timeout: 10.0,
            qualities: Vec::new(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogLevel;

    fn with(profile: Profile, variables: &[(&str, &str)]) -> Result<Config, String> {
        let mut config = Config::default();
        let given = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        apply(&mut config, profile, given).map(|()| config)
    }

    #[test]
    fn the_hls_and_dash_service_s_variables() {
        let config = with(
            Profile::HlsDash,
            &[
                ("SEGMENT_DURATION", "4"),
                ("PLAYLIST_SIZE", "6"),
                ("LOW_LATENCY_HLS", "False"),
                ("CLEANUP_INTERVAL", "7"),
                ("STALE_THRESHOLD", "9"),
                ("LOG_LEVEL", "debug"),
                ("OUTPUT_DIR", "/var/www/streams"),
            ],
        )
        .unwrap();
        let live = &config.live;
        assert_eq!((live.hls_dash_port, live.cdn_port), (Some(8083), Some(8084)));
        assert_eq!((live.segment_duration, live.playlist_size, live.low_latency), (4.0, 6, false));
        assert_eq!((live.cleanup_interval, live.stale_threshold), (7.0, 9.0));
        assert!(live.enabled && live.gstreamer_port.is_none() && config.server.metrics_port.is_none());
        assert_eq!(config.store.url.as_deref(), Some("file:///var/www"));
        assert_eq!(config.logging.level, LogLevel::Debug);
        let plain = with(Profile::HlsDash, &[]).unwrap();
        assert_eq!((plain.live.segment_duration, plain.live.stale_threshold), (2.0, 600.0));
        assert_eq!((plain.live.playlist_size, plain.live.cleanup_interval), (10, 300.0));
    }

    #[test]
    fn the_gstreamer_service_s_variables() {
        let config = with(
            Profile::Gstreamer,
            &[
                ("GSTREAMER_API_PORT", "6000"),
                ("METRICS_PORT", "6001"),
                ("SERVICE_API_TOKEN", "s3cret"),
                ("CORS_ORIGINS", "http://a.example, https://b.example"),
                ("LOG_LEVEL", "CRITICAL"),
                ("GST_DEBUG", "3"),
                ("ENABLE_RECORDING", "True"),
                ("KAFKA_BOOTSTRAP_SERVERS", "k:9092"),
            ],
        )
        .unwrap();
        assert_eq!((config.live.gstreamer_port, config.server.metrics_port), (Some(6000), Some(6001)));
        assert_eq!(config.live.service_token.as_ref().map(Secret::reveal), Some("s3cret"));
        assert_eq!(config.security.allowed_origins, ["http://a.example", "https://b.example"]);
        assert_eq!((config.logging.level, config.logging.media_level), (LogLevel::Error, Some(3)));
        assert_eq!(config.live.recordings.as_deref(), Some(Path::new("/app/recordings")));
        assert_eq!((config.live.stale_threshold, config.kafka.brokers.len()), (0.0, 1));
        let plain =
            with(Profile::Gstreamer, &[("RECORDING_PATH", "/r"), ("ENABLE_RECORDING", "false")]).unwrap();
        assert_eq!((plain.live.gstreamer_port, plain.server.metrics_port), (Some(5002), Some(8001)));
        assert_eq!((plain.live.recordings, plain.kafka.brokers.len()), (None, 0));
        // Files were written whether recording was enabled or not.
        let nothing_said = with(Profile::Gstreamer, &[]).unwrap();
        assert_eq!(nothing_said.live.recordings.as_deref(), Some(Path::new("/app/recordings")));
        assert_eq!(
            with(Profile::Gstreamer, &[("API_PORT", "5003")]).unwrap().live.gstreamer_port,
            Some(5003)
        );
    }

    #[test]
    fn mistakes_name_the_variable() {
        for (profile, name, value, said) in [
            (Profile::HlsDash, "PLAYLIST_SIZE", "ten", "\"ten\" is not a number"),
            (Profile::HlsDash, "LOW_LATENCY_HLS", "perhaps", "neither true nor false"),
            (Profile::HlsDash, "LOG_LEVEL", "loud", "is not a level"),
            (Profile::HlsDash, "OUTPUT_DIR", "www", "absolute"),
            (Profile::HlsDash, "CORS_ORIGINS", "a.example", "scheme://host"),
            (Profile::Gstreamer, "METRICS_PORT", "70000", "is not a number"),
            (Profile::Gstreamer, "GST_DEBUG", "12", "from 0 to 9"),
            (Profile::Gstreamer, "ENABLE_RECORDING", "maybe", "neither true nor false"),
        ] {
            let why = with(profile, &[(name, value)]).unwrap_err();
            assert!(why.starts_with(&format!("{name}: ")) && why.contains(said), "{why}");
        }
        assert!("nginx".parse::<Profile>().is_err());
    }

    #[test]
    fn its_flags_win_and_need_its_profile() {
        let mut given = Overrides {
            profiles: vec![Profile::Gstreamer],
            api_port: Some(1),
            metrics_port: Some(2),
            test_pipeline: true,
            recordings: Some("/r".into()),
            enable_recording: true,
            media_level: Some(5),
            ..Overrides::default()
        };
        let mut config = with(Profile::Gstreamer, &[("API_PORT", "9"), ("GST_DEBUG", "1")]).unwrap();
        flags(&mut config, &given).unwrap();
        assert_eq!((config.live.gstreamer_port, config.server.metrics_port), (Some(1), Some(2)));
        assert_eq!(config.live.recordings.as_deref(), Some(Path::new("/r")));
        assert_eq!((config.logging.media_level, config.live.sources[0].name.as_str()), (Some(5), "test"));
        given.profiles.clear();
        assert!(flags(&mut Config::default(), &given).unwrap_err().starts_with("--api-port: "));
    }
}
