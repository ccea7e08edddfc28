//! Captured sound as a source.

use crate::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Something to listen to. The sound is silent for as long as it is not there, and never that of something else instead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SoundSpec {
    /// What is listened to.
    pub source: SoundSource,
    /// `application`: its name; `node`: its name or number (`ghoststream devices` lists them).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `application`: everything that is played, except that application.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclude: bool,
    /// Amplification in decibels, -60 to 30.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gain: f64,
    /// Milliseconds by which the sound is later (or, below 0, earlier) than it was heard, -2000 to 2000.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: f64,
    /// Those of the same number are mixed into one track. Default: a track of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<u32>,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// Where captured sound comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SoundSource {
    /// What the default output plays, whichever that is.
    Desktop,
    /// The default input, whichever that is.
    Microphone,
    /// What one application plays, or all but one.
    Application,
    /// A PipeWire node.
    Node,
}

impl SoundSpec {
    /// `source` as a track of its own, as it is heard.
    pub fn new(source: SoundSource) -> Self {
        SoundSpec { source, name: None, exclude: false, gain: 0.0, offset: 0.0, track: None }
    }

    /// What one application plays.
    pub fn application(name: impl Into<String>) -> Self {
        SoundSpec { name: Some(name.into()), ..SoundSpec::new(SoundSource::Application) }
    }

    /// A PipeWire node by name or number.
    pub fn node(name: impl Into<String>) -> Self {
        SoundSpec { name: Some(name.into()), ..SoundSpec::new(SoundSource::Node) }
    }

    /// Refuses what makes no sense, naming the field below `path`.
    pub(crate) fn check(&self, path: &str) -> Result<()> {
        let named = matches!(self.source, SoundSource::Application | SoundSource::Node);
        let refuse = |field: &str, message: &str| Err(Error::invalid(format!("{path}.{field}"), message));
        match self.name.as_deref() {
            None if named => return refuse("name", "is needed for an application or a node"),
            Some(_) if !named => return refuse("name", "is for an application or a node"),
            Some(name) if name.is_empty() || name.contains('\0') => {
                return refuse("name", "is empty or contains a NUL");
            }
            _ => {}
        }
        if self.exclude && self.source != SoundSource::Application {
            return refuse("exclude", "is for an application");
        }
        if !(-60.0..=30.0).contains(&self.gain) {
            return refuse("gain", "decibels, -60 to 30");
        }
        if !(-2000.0..=2000.0).contains(&self.offset) {
            return refuse("offset", "milliseconds, -2000 to 2000");
        }
        Ok(())
    }

    /// What to call it in messages; also how the command names it.
    pub fn label(&self) -> String {
        let name = self.name.as_deref().unwrap_or_default();
        match self.source {
            SoundSource::Desktop => "desktop".into(),
            SoundSource::Microphone => "microphone".into(),
            SoundSource::Application if self.exclude => format!("all-but:{name}"),
            SoundSource::Application => format!("app:{name}"),
            SoundSource::Node => format!("node:{name}"),
        }
    }
}

/// `desktop`, `microphone` (`mic`), `app:NAME`, `all-but:NAME`, `node:NAME`, each with `,gain=DB` and `,offset=MS` behind.
impl FromStr for SoundSpec {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let mut rest = text;
        let (mut gain, mut offset) = (None, None);
        // From behind: names may have commas in them.
        while let Some((before, last)) = rest.rsplit_once(',') {
            let (slot, value) = match last.split_once('=') {
                Some(("gain", value)) => (&mut gain, value),
                Some(("offset", value)) => (&mut offset, value),
                _ => break,
            };
            let number = value.parse::<f64>().map_err(|_| format!("{text}: {last}: not a number"))?;
            *slot = Some(number);
            rest = before;
        }
        let named = |name: &str| match name {
            "" => Err(format!("{text}: a name is missing")),
            name => Ok(Some(name.to_owned())),
        };
        let (source, name, exclude) = match rest.split_once(':') {
            Some(("app", name)) => (SoundSource::Application, named(name)?, false),
            Some(("all-but", name)) => (SoundSource::Application, named(name)?, true),
            Some(("node", name)) => (SoundSource::Node, named(name)?, false),
            None if rest == "desktop" => (SoundSource::Desktop, None, false),
            None if matches!(rest, "microphone" | "mic") => (SoundSource::Microphone, None, false),
            _ => {
                return Err(format!(
                    "{rest:?} is no sound; there are desktop, microphone, app:NAME, all-but:NAME and node:NAME, with \
                     ,gain=DB and ,offset=MS"
                ));
            }
        };
        let (gain, offset) = (gain.unwrap_or(0.0), offset.unwrap_or(0.0));
        Ok(SoundSpec { source, name, exclude, gain, offset, track: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_sound() {
        for label in ["desktop", "microphone", "app:Fire, fox", "all-but:mpv", "node:alsa_input.usb:1"] {
            assert_eq!(label.parse::<SoundSpec>().unwrap().label(), label);
        }
        let s: SoundSpec = "app:a,b,gain=-6.5,offset=120".parse().unwrap();
        assert_eq!((s.name.as_deref(), s.gain, s.offset), (Some("a,b"), -6.5, 120.0));
        for (bad, named) in
            [("", "desktop"), ("app:", "name"), ("speakers", "desktop"), ("mic,gain=x", "gain=x")]
        {
            let e = bad.parse::<SoundSpec>().expect_err(bad);
            assert!(e.contains(named), "{e}");
        }
    }
}
