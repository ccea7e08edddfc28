//! Ears: what PipeWire gives.

use super::{Ear, Heard};
use crate::error::{Error, ErrorKind, Result};
use crate::spec::{SoundSource, SoundSpec};
#[cfg(target_os = "linux")]
use ghoststream_sys::pipewire as pw;
use std::time::Duration;

/// An ear for each sound of a track.
type Ears = Vec<(Box<dyn Ear>, SoundSpec)>;

/// Begins to listen to `sounds`.
///
/// # Errors
/// [`ErrorKind::NotFound`] when there is no PipeWire, or no such node; [`ErrorKind::Unsupported`] without PipeWire in this
/// build.
#[cfg(target_os = "linux")]
pub(crate) fn listening(sounds: &[SoundSpec]) -> Result<Ears> {
    let open = |sound: &SoundSpec| {
        let target = target(sound)?;
        check(sound, &target)?;
        let options = pw::SoundOptions {
            rate: super::RATE,
            channels: super::CHANNELS as u32,
            name: "GhostStream".into(),
        };
        let stream = pw::SoundStream::open(target, &options).map_err(error)?;
        Ok((Box::new(PipeWire { stream }) as Box<dyn Ear>, sound.clone()))
    };
    sounds
        .iter()
        .map(|s| open(s).map_err(|e: Error| e.context(format!("source.sound: {}", s.label()))))
        .collect()
}

/// Refuses.
#[cfg(not(target_os = "linux"))]
pub(crate) fn listening(_: &[SoundSpec]) -> Result<Ears> {
    Err(Error::unsupported("source.sound: sound is captured on Linux only"))
}

#[cfg(target_os = "linux")]
struct PipeWire {
    stream: pw::SoundStream,
}

#[cfg(target_os = "linux")]
impl Ear for PipeWire {
    fn hear(&mut self, wait: Duration) -> Result<Option<Heard>> {
        let chunk = self.stream.next(wait).map_err(error)?;
        Ok(chunk.map(|c| Heard { samples: c.samples, age: c.age }))
    }

    fn is_running(&self) -> bool {
        self.stream.state().running
    }

    fn linked(&self) -> Vec<String> {
        self.stream.state().linked
    }

    fn turn_to(&mut self, sound: &SoundSpec) {
        // What cannot be understood was refused before.
        if let Ok(target) = target(sound) {
            self.stream.set_target(target);
        }
    }
}

#[cfg(target_os = "linux")]
fn target(sound: &SoundSpec) -> Result<pw::SoundTarget> {
    let name = || sound.name.clone().ok_or_else(|| Error::invalid("source.sound.name", "is needed"));
    Ok(match sound.source {
        SoundSource::Desktop => pw::SoundTarget::Desktop,
        SoundSource::Microphone => pw::SoundTarget::Microphone,
        SoundSource::Application if sound.exclude => pw::SoundTarget::AllBut(name()?),
        SoundSource::Application => pw::SoundTarget::Application(name()?),
        SoundSource::Node => {
            let name = name()?;
            name.parse().map_or(pw::SoundTarget::Name(name), pw::SoundTarget::Id)
        }
    })
}

/// A node that is asked for by itself must be there; what plays may come later.
#[cfg(target_os = "linux")]
fn check(sound: &SoundSpec, target: &pw::SoundTarget) -> Result<()> {
    let there = |found: fn(&pw::Node, &pw::SoundTarget) -> bool| -> Result<()> {
        let nodes = pw::nodes().map_err(error)?;
        let sounds: Vec<&pw::Node> = nodes.iter().filter(|n| n.class != pw::NodeClass::Camera).collect();
        if sounds.iter().any(|n| found(n, target)) {
            return Ok(());
        }
        let names: Vec<&str> = sounds.iter().map(|n| n.name.as_str()).collect();
        let names = if names.is_empty() { "none".into() } else { names.join(", ") };
        Err(Error::new(ErrorKind::NotFound, format!("there is no such node; there are {names}")))
    };
    match sound.source {
        SoundSource::Node => there(|node, target| match target {
            pw::SoundTarget::Id(id) => node.id == *id,
            pw::SoundTarget::Name(name) => node.name == *name,
            _ => false,
        }),
        _ => Ok(()),
    }
}

#[cfg(target_os = "linux")]
pub(crate) fn error(e: pw::Error) -> Error {
    let kind = match e.kind {
        pw::Kind::NotFound => ErrorKind::NotFound,
        pw::Kind::Unsupported => ErrorKind::Unsupported,
        pw::Kind::Gone => ErrorKind::Device,
        pw::Kind::Memory => ErrorKind::Memory,
        pw::Kind::Io => ErrorKind::Io,
    };
    Error::with_source(kind, e.to_string(), e)
}
