//! From files, the environment and flags to settings.

use super::{Config, LogFormat, LogLevel, Profile, keys, profile};
use ghoststream::spec::Plain;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why there are no settings: the file (or variable) and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError(String);

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LoadError {}

/// What flags say; it wins over everything.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--host`.
    pub host: Option<String>,
    /// `--port`.
    pub port: Option<u16>,
    /// `--log-level`.
    pub log_level: Option<LogLevel>,
    /// `--log-format`.
    pub log_format: Option<LogFormat>,
    /// `--no-mdns`.
    pub no_mdns: bool,
    /// `--live`.
    pub live: bool,
    /// `--kafka-servers`.
    pub kafka: Vec<String>,
    /// `--no-kafka`.
    pub no_kafka: bool,
    /// `--profile`.
    pub profiles: Vec<Profile>,
    /// `--metrics-port`.
    pub metrics_port: Option<u16>,
    /// `--recording-path`.
    pub recordings: Option<PathBuf>,
    /// `--enable-recording`, of the GStreamer service.
    pub enable_recording: bool,
    /// `--api-port`, of the GStreamer service.
    pub api_port: Option<u16>,
    /// `--test-pipeline`, of the GStreamer service.
    pub test_pipeline: bool,
    /// `--gst-debug-level`, of the GStreamer service.
    pub media_level: Option<u8>,
}

/// Where a settings file is looked for, in this order.
pub fn search_path() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut both = |stem: PathBuf| paths.extend([stem.with_extension("yaml"), stem.with_extension("yml")]);
    both("ghoststream".into());
    both("config/ghoststream".into());
    if let Some(home) = std::env::var_os("HOME") {
        both(PathBuf::from(home).join(".config/ghoststream/ghoststream"));
    }
    both("/etc/ghoststream/ghoststream".into());
    if let Some(folder) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        both(folder.join("ghoststream"));
    }
    paths
}

/// The settings of `file`, or of the first file of [`search_path`], with this process's environment and `flags` over
/// them; also says which file that was.
///
/// # Errors
/// The file cannot be read, or a key or value in it, in the environment or in the flags is wrong.
pub fn load(file: Option<&Path>, flags: &Overrides) -> Result<(Config, Option<PathBuf>), LoadError> {
    let file = match file {
        Some(file) => Some(file.to_path_buf()),
        None => search_path().into_iter().find(|p| p.is_file()),
    };
    let text = match &file {
        Some(file) => {
            std::fs::read_to_string(file).map_err(|e| LoadError(format!("{}: {e}", file.display())))?
        }
        None => String::new(),
    };
    let name = file.as_deref().map(|f| f.display().to_string()).unwrap_or_default();
    let config = load_from(&name, &text, std::env::vars(), flags)?;
    Ok((config, file))
}

/// What a document says, or the path of what is wrong in it.
fn plainly<'de, T, D>(document: D) -> Result<T, String>
where
    T: Deserialize<'de>,
    D: Deserializer<'de, Error: fmt::Display>,
{
    let e = match serde_path_to_error::deserialize(document) {
        Ok(Plain(value)) => return Ok(value),
        Err(e) => e,
    };
    let (path, said) = (e.path().to_string(), e.inner().to_string());
    if path == "." {
        return Err(said);
    }
    // YAML's errors begin with a path of their own, which may be a shorter one.
    let rest = said.split_once(": ").filter(|(own, _)| {
        path.strip_prefix(own).is_some_and(|more| more.is_empty() || more.starts_with(['.', '[']))
    });
    Err(format!("{path}: {}", rest.map_or(said.as_str(), |(_, rest)| rest)))
}

/// As [`load`], from a text (YAML; `name` is for messages) and an environment.
///
/// # Errors
/// A key or value is wrong.
pub fn load_from(
    name: &str,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &Overrides,
) -> Result<Config, LoadError> {
    let label = |why: String| LoadError(if name.is_empty() { why } else { format!("{name}: {why}") });
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let mut given: Value = match text.trim().is_empty() {
        true => Value::Null,
        false => plainly(serde_norway::Deserializer::from_str(text)).map_err(label)?,
    };
    // A section without keys is null in YAML.
    match &mut given {
        Value::Null => given = Value::Object(Map::new()),
        Value::Object(map) => map.retain(|_, section| !section.is_null()),
        _ => return Err(label("it is not a mapping of sections".into())),
    }
    for (section, value) in given.as_object().into_iter().flatten() {
        if defaults.get(section).is_some() && !value.is_object() {
            return Err(label(format!("{section}: it is not a mapping of settings")));
        }
    }
    keys::unknown(&given, &defaults, "").map_err(label)?;
    let environment: BTreeMap<String, String> = environment.into_iter().collect();
    for (variable, value) in &environment {
        from_environment(variable, value, &defaults, &mut given)?;
    }
    let mut config: Config = plainly(given).map_err(label)?;
    if let Some(host) = &flags.host {
        config.server.host = host.clone();
    }
    if let Some(port) = flags.port {
        config.server.port = port;
    }
    for one in &flags.profiles {
        profile::apply(&mut config, *one, |name| environment.get(name).cloned()).map_err(LoadError)?;
    }
    profile::flags(&mut config, flags).map_err(LoadError)?;
    if let Some(level) = flags.log_level {
        config.logging.level = level;
    }
    if let Some(format) = flags.log_format {
        config.logging.format = format;
    }
    if !flags.kafka.is_empty() {
        config.kafka.brokers.clone_from(&flags.kafka);
    }
    if flags.no_kafka {
        config.kafka.brokers.clear();
    }
    if flags.live {
        config.live.enabled = true;
    }
    if flags.no_mdns {
        config.mdns.enabled = false;
    }
    config.check().map_err(label)?;
    Ok(config)
}

/// `GHOSTSTREAM_SECTION_KEY` sets `section.key`; `GHOSTHUB_URL` is the original's name for `ghosthub.url`. Other
/// variables are none of our business: Kubernetes sets some of its own (`GHOSTSTREAM_SERVICE_HOST`).
fn from_environment(
    variable: &str,
    text: &str,
    defaults: &Value,
    given: &mut Value,
) -> Result<(), LoadError> {
    let path = match variable {
        "GHOSTHUB_URL" => Some(vec!["ghosthub".to_string(), "url".into()]),
        _ => variable
            .strip_prefix("GHOSTSTREAM_")
            .and_then(|rest| path_of(&rest.to_ascii_lowercase(), defaults)),
    };
    let Some(path) = path else {
        return match variable.strip_prefix("GHOSTSTREAM_").map(str::to_ascii_lowercase) {
            Some(rest) => keys::unknown_variable(variable, &rest, defaults).map_err(LoadError),
            None => Ok(()),
        };
    };
    let value: Value = match text.is_empty() {
        true => Value::Null,
        false => plainly(serde_norway::Deserializer::from_str(text)).unwrap_or(Value::String(text.into())),
    };
    let default = path.iter().try_fold(defaults, |at, key| at.get(key));
    // `GHOSTSTREAM_SECURITY_API_KEY=1234` is a text, and a list may be written with commas.
    let value = match (default, value) {
        (Some(Value::String(_) | Value::Null), Value::Number(_) | Value::Bool(_)) => {
            Value::String(text.into())
        }
        (Some(Value::Array(_)), Value::String(list)) => {
            Value::Array(list.split(',').map(|s| Value::String(s.trim().into())).collect())
        }
        (_, value) => value,
    };
    let mut at = given;
    for key in &path {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Value::Object(map) = at else { return Err(LoadError(format!("{variable}: no place for it"))) };
        at = map.entry(key.clone()).or_insert(Value::Null);
    }
    *at = value;
    // Checked alone, so that the message names the variable and not the file.
    let mut alone = Value::Null;
    for key in path.iter().rev() {
        alone =
            Value::Object(Map::from_iter([(key.clone(), if alone.is_null() { at.clone() } else { alone })]));
    }
    serde_path_to_error::deserialize::<_, Plain<Config>>(alone)
        .map_err(|e| LoadError(format!("{variable}: {}", e.into_inner())))?
        .0
        .check_each()
        .map_err(|why| LoadError(format!("{variable}: {why}")))
}

/// `security_sources_local_roots` to its keys, if there is such a setting.
fn path_of(rest: &str, defaults: &Value) -> Option<Vec<String>> {
    defaults.as_object()?.iter().find_map(|(key, inner)| {
        let tail = rest.strip_prefix(key.as_str())?;
        if tail.is_empty() {
            return (!inner.is_object()).then(|| vec![key.clone()]);
        }
        let mut path = path_of(tail.strip_prefix('_')?, inner)?;
        path.insert(0, key.clone());
        Some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::values::Playback;

    fn of(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let environment = environment.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        load_from("g.yaml", text, environment, &Overrides::default()).map_err(|e| e.to_string())
    }

    #[test]
    fn what_settings_say_together_is_checked_of_all_of_them() {
        let all = [("GHOSTSTREAM_LIVE_RECORD_ALL", "mp4")];
        let both = of("live:\n  recordings: /srv/recordings\n", &all).unwrap();
        assert_eq!(both.live.record.all.as_deref(), Some("mp4"));
        let why = of("", &all).unwrap_err();
        assert!(why.contains("live.record.all: live.recordings names no directory"), "{why}");
        let why = of("live:\n  token_secret: abc\n", &[]).unwrap_err();
        assert!(why.contains("live.token_secret: nothing needs a key"), "{why}");
        of("live:\n  token_secret: abc\n  read_key: k\n", &[]).unwrap();
    }

    #[test]
    fn nothing_is_the_defaults() {
        assert_eq!(of("", &[]).unwrap(), Config::default());
        assert_eq!(of("server:\nlogging:\n", &[]).unwrap(), Config::default());
    }

    #[test]
    fn the_original_s_file_is_read() {
        let text = "server:\n  host: 127.0.0.1\n  port: 9000\nghosthub:\n  url: http://192.168.4.1:5000\n  register_interval_seconds: 60\n\
            transcoding:\n  ffmpeg_path: auto\n  temp_directory: ./t\n  stall_timeout: 60\nhardware:\n  nvenc_preset: p7\n\
            limits:\n  max_resolution: 1080p\n  max_bitrate: 20M\nsecurity:\n  api_key: null\n  allowed_origins: []\nlogging:\n  level: DEBUG\n  format: json\n";
        let config = of(text, &[]).unwrap();
        assert_eq!((config.server.port, config.logging.level), (9000, LogLevel::Debug));
        assert_eq!(config.limits.max_resolution.size(), Some((1920, 1080)));
        assert_eq!(config.limits.max_bitrate.bits(), Some(20_000_000));
        assert_eq!(config.ghosthub.register_interval_seconds, 60);
    }

    #[test]
    fn mistakes_name_the_file_and_the_key() {
        for (text, said) in [
            (
                "server:\n  prot: 1",
                "g.yaml: server.prot: there is no such setting; did you mean server.port?",
            ),
            ("server:\n  port: many", "g.yaml: server.port: "),
            ("server: 5", "g.yaml: server: it is not a mapping"),
            ("- 1", "g.yaml: it is not a mapping of sections"),
            ("a: [", "g.yaml: "),
            ("server:\n  port: 1\n  host: a\n  port: 2", "g.yaml: server.port: duplicate"),
            ("security:\n  sources: []", "g.yaml: security.sources: invalid type: sequence"),
            ("security:\n  sources: [[], []]", "g.yaml: security.sources: invalid type: sequence"),
            ("transcoding:\n  segment_duration: .nan", "g.yaml: transcoding.segment_duration: invalid value"),
            ("transcoding: {segment_duration: -.inf}", "g.yaml: transcoding.segment_duration: invalid value"),
            ("transcoding:\n  segment_duration: 0", "transcoding.segment_duration: 0 is not between"),
            ("transcoding:\n  ffmpeg_path: /usr/bin/ffmpeg", "no ffmpeg program is run"),
            ("hardware:\n  vaapi_device: renderD129", "is neither a path (/dev/dri/renderD129) nor auto"),
            ("security:\n  sources:\n    schemes: [file]", "local_roots"),
            ("security:\n  allowed_origins: [example.com]", "allowed_origins"),
            ("hardware:\n  nvenc_preset: p9", "nvenc_preset"),
            ("limits:\n  max_bitrate: lots", "limits.max_bitrate: "),
        ] {
            let why = of(text, &[]).unwrap_err();
            assert!(why.contains(said), "{text}: {why}");
        }
    }

    #[test]
    fn variables_of_ours_that_mean_nothing_are_refused() {
        let set = |name| of("", &[(name, "1")]).map(|_| ()).map_err(|e| e.to_string());
        assert_eq!(
            set("GHOSTSTREAM_SERVER_PROT").unwrap_err(),
            "GHOSTSTREAM_SERVER_PROT: there is no such setting; did you mean GHOSTSTREAM_SERVER_PORT?"
        );
        for other in ["GHOSTSTREAM_ENV", "GHOSTSTREAM_FFMPEG_VERBOSE", "GHOSTSTREAM_SERVICE_HOST", "GHOST"] {
            set(other).unwrap();
        }
    }

    #[test]
    fn the_environment_wins_over_the_file_and_flags_over_both() {
        let environment = [
            ("GHOSTSTREAM_SERVER_PORT", "9100"),
            ("GHOSTSTREAM_SECURITY_API_KEY", "1234"),
            ("GHOSTSTREAM_SECURITY_SOURCES_LOCAL_ROOTS", "/srv/a, /srv/b"),
            ("GHOSTSTREAM_TRANSCODING_PLAYBACK", "on_demand"),
            ("GHOSTHUB_URL", "http://hub:5000"),
            ("GHOSTSTREAM_ENV", "production"),
            ("PATH", "/bin"),
        ];
        let config = of("server:\n  port: 9000", &environment).unwrap();
        assert_eq!(config.server.port, 9100);
        assert_eq!(config.security.api_key.unwrap().reveal(), "1234");
        assert_eq!(config.security.sources.local_roots, [Path::new("/srv/a"), Path::new("/srv/b")]);
        assert_eq!(config.transcoding.playback, Playback::OnDemand);
        assert_eq!(config.ghosthub.url.as_deref(), Some("http://hub:5000"));
        let flags = Overrides { port: Some(1), no_mdns: true, ..Overrides::default() };
        let config = load_from(
            "",
            "server:\n  port: 9000",
            [("GHOSTSTREAM_SERVER_PORT".into(), "9100".into())],
            &flags,
        );
        assert_eq!(config.map(|c| (c.server.port, c.mdns.enabled)), Ok((1, false)));
        let why = of("", &[("GHOSTSTREAM_SERVER_PORT", "x")]).unwrap_err();
        assert!(why.starts_with("GHOSTSTREAM_SERVER_PORT: "), "{why}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let config = of("security:\n  api_key: hunter2", &[]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(!serde_json::to_string(&config).unwrap().contains("hunter2"));
    }
}
