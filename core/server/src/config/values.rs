//! Values of settings that have a spelling of their own.

use crate::adapt::Tier;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::{Path, PathBuf};

/// A text that must not be seen: it is never printed, not by `Debug` and not when it is serialized.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for comparing and signing.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str("(hidden)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        if text.is_empty() {
            return Err(D::Error::custom("it is empty; write null for none"));
        }
        Ok(Secret(text))
    }
}

/// A largest picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeLimit {
    /// Any.
    None,
    /// Pixels across and down.
    Size(u32, u32),
}

const SIZES: &[(&str, SizeLimit)] = &[
    ("8k", SizeLimit::Size(7680, 4320)),
    ("4k", SizeLimit::Size(3840, 2160)),
    ("1440p", SizeLimit::Size(2560, 1440)),
    ("1080p", SizeLimit::Size(1920, 1080)),
    ("720p", SizeLimit::Size(1280, 720)),
    ("480p", SizeLimit::Size(854, 480)),
    ("none", SizeLimit::None),
];

impl SizeLimit {
    /// Width and height, unless there is no limit.
    pub fn size(self) -> Option<(u32, u32)> {
        match self {
            SizeLimit::None => None,
            SizeLimit::Size(width, height) => Some((width, height)),
        }
    }
}

impl Serialize for SizeLimit {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match SIZES.iter().find(|(_, size)| size == self) {
            Some((name, _)) => s.serialize_str(name),
            None => s.collect_str(&format_args!("{self:?}")),
        }
    }
}

impl<'de> Deserialize<'de> for SizeLimit {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text)).map(|(_, size)| *size).ok_or_else(
            || {
                let names: Vec<&str> = SIZES.iter().map(|(name, _)| *name).collect();
                D::Error::custom(format!("{text:?} is not a size; write one of {}", names.join(", ")))
            },
        )
    }
}

/// What a machine counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TierChoice {
    /// What its hardware makes it.
    #[default]
    Auto,
    /// 480p.
    Minimal,
    /// 720p.
    Low,
    /// 1080p.
    Medium,
    /// 1440p.
    High,
    /// 4K.
    Ultra,
}

impl TierChoice {
    /// The tier that was said, if one was.
    pub fn fixed(self) -> Option<Tier> {
        match self {
            TierChoice::Auto => None,
            TierChoice::Minimal => Some(Tier::Minimal),
            TierChoice::Low => Some(Tier::Low),
            TierChoice::Medium => Some(Tier::Medium),
            TierChoice::High => Some(Tier::High),
            TierChoice::Ultra => Some(Tier::Ultra),
        }
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// Everything that helps to find a mistake.
    Debug,
    /// What happens.
    #[default]
    Info,
    /// What should not happen.
    Warning,
    /// What failed.
    Error,
}

impl LogLevel {
    /// The level's name in `tracing`'s filters.
    pub fn filter(self) -> &'static str {
        match self {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warning => "warn",
            LogLevel::Error => "error",
        }
    }
}

impl std::str::FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_uppercase().as_str() {
            "DEBUG" => Ok(LogLevel::Debug),
            "INFO" => Ok(LogLevel::Info),
            "WARNING" | "WARN" => Ok(LogLevel::Warning),
            // What Python calls critical ends a server here, and is told as an error.
            "ERROR" | "CRITICAL" => Ok(LogLevel::Error),
            _ => Err(format!("{text:?} is not a level; write DEBUG, INFO, WARNING or ERROR")),
        }
    }
}

impl<'de> Deserialize<'de> for LogLevel {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("{text:?} is not a format; write text or json")),
        }
    }
}

impl<'de> Deserialize<'de> for LogFormat {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

/// URL schemes that sources may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Schemes(Vec<String>);

/// What the engine can read from the network.
const SCHEMES: &[&str] = &["http", "https", "rtmp", "rtmps", "rtsp", "rtsps", "srt", "rtp", "udp", "tcp"];

impl Default for Schemes {
    fn default() -> Self {
        Schemes(["http", "https", "rtmp", "rtmps", "rtsp", "srt"].map(String::from).to_vec())
    }
}

impl Schemes {
    /// Whether `scheme` (lower case) is among them.
    pub fn allows(&self, scheme: &str) -> bool {
        self.0.iter().any(|s| s == scheme)
    }

    /// As they were written.
    pub fn list(&self) -> &[String] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Schemes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let list: Vec<String> = Vec::deserialize(d)?;
        let list: Vec<String> = list.iter().map(|s| s.trim_end_matches("://").to_ascii_lowercase()).collect();
        match list.iter().find(|s| !SCHEMES.contains(&s.as_str())) {
            Some(bad) if bad == "file" => {
                Err(D::Error::custom("local files are allowed by naming their directory in local_roots"))
            }
            Some(bad) => Err(D::Error::custom(format!("{bad:?} is not one of {}", SCHEMES.join(", ")))),
            None => Ok(Schemes(list)),
        }
    }
}

/// `path` with a leading `~` replaced by the home directory.
pub(super) fn at_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => path.to_path_buf(),
    }
}
