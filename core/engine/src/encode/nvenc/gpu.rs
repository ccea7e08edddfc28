//! The GPUs of this machine and what their encoders can do, as the drivers answer. Asked for once, in a process of its own.

use super::config::{Config, codec_of};
use crate::error::{Error, ErrorKind, Result};
use crate::packet::Codec;
use ghoststream_sys::nvenc::{self as nv, ApiVersion, Capabilities};
use ghoststream_sys::{cuda, nvidia};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One GPU with what its driver says about encoding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gpu {
    /// CUDA's number of it.
    pub index: u32,
    /// The product's name, without the maker's.
    pub name: String,
    /// What tells it from others of its kind.
    pub uuid: String,
    /// Bytes of its memory.
    pub memory: u64,
    /// The version of the encode interface that is spoken with the driver.
    pub api: Option<ApiVersion>,
    /// Encoding engines.
    pub engines: u32,
    /// Why it does not encode, when it does not.
    pub obstacle: Option<String>,
    /// What it can do, by codec.
    pub codecs: Vec<(nv::Codec, Capabilities)>,
}

impl Gpu {
    /// What it can do for `codec`.
    ///
    /// # Errors
    /// [`ErrorKind::Device`] when it does not encode anything; [`ErrorKind::Unsupported`] when not this codec.
    pub fn capabilities(&self, codec: &Codec) -> Result<&Capabilities> {
        if let Some(why) = &self.obstacle {
            return Err(Error::new(ErrorKind::Device, format!("{} does not encode: {why}", self.name)));
        }
        let wanted = codec_of(codec);
        let found = self.codecs.iter().find(|(c, _)| Some(*c) == wanted);
        found
            .map(|(_, caps)| caps)
            .ok_or_else(|| Error::unsupported(format!("{} does not encode {codec}", self.name)))
    }

    /// Whether it can do what `config` asks for pictures of `size`.
    ///
    /// # Errors
    /// As [`Config::check`].
    pub fn takes(&self, config: &Config, size: Option<(u32, u32)>) -> Result<()> {
        let codec = Codec::from_name(config.encode.codec.name());
        let capabilities = self.capabilities(&codec)?;
        config.check(size, capabilities, self.api.unwrap_or(ApiVersion::OLDEST), &self.label())
    }

    /// Samples of luma that one of its engines codes in a second, as its driver says.
    pub(super) fn engine_rate(&self) -> Option<f64> {
        let blocks = self.codecs.iter().map(|(_, c)| c.blocks_per_second).filter(|n| *n > 0).min()?;
        Some(f64::from(blocks) * 256.0)
    }

    /// Encoder and device in a few words: `nvenc (RTX 4090, API 13.0)`.
    pub fn label(&self) -> String {
        match self.api {
            Some(api) => format!("nvenc ({}, API {api})", self.name),
            None => format!("nvenc ({})", self.name),
        }
    }
}

/// A product's name as people say it.
pub(super) fn short(name: &str) -> String {
    let name = name.trim();
    let name = name.strip_prefix("NVIDIA ").unwrap_or(name);
    name.strip_prefix("GeForce ").unwrap_or(name).to_string()
}

/// How long an answer that may be another one soon is taken for good.
const SOON: Duration = Duration::from_secs(30);

/// What was found out, and whether it stays so.
struct Found {
    answer: Result<Vec<Gpu>>,
    until: Option<Instant>,
}

impl Found {
    /// `answer` as of `now`; `lasting` when asking again would not give another.
    fn new(answer: Result<Vec<Gpu>>, lasting: bool, now: Instant) -> Found {
        Found { answer, until: (!lasting).then(|| now + SOON) }
    }

    fn at(&self, now: Instant) -> Option<Result<Vec<Gpu>>> {
        self.until.is_none_or(|until| now < until).then(|| self.answer.clone())
    }
}

static FOUND: Mutex<Option<Found>> = Mutex::new(None);

/// The GPUs of this machine. The first call starts a process that asks the drivers, so that one that crashes takes nothing
/// with it; the answer is kept. A failure is kept for half a minute: a driver that was being updated, or did not answer in
/// time, may answer then.
///
/// # Errors
/// [`ErrorKind::Device`] without a driver, or with why it does not answer.
pub fn gpus() -> Result<Vec<Gpu>> {
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = found.as_ref().and_then(|f| f.at(Instant::now())) {
        return known;
    }
    let (answer, lasting) = ask();
    // A driver that allows no session just now may allow one the next moment.
    if !answer.as_ref().is_err_and(|e| e.kind() == ErrorKind::Busy) {
        *found = Some(Found::new(answer.clone(), lasting, Instant::now()));
    }
    answer
}

/// Whether some GPU here encodes `codec`.
///
/// # Errors
/// [`ErrorKind::Device`] or [`ErrorKind::Unsupported`]: why none does.
pub fn works(codec: &Codec) -> Result<()> {
    let gpus = gpus()?;
    let mut why = Error::new(ErrorKind::Device, "there is no NVIDIA GPU");
    for gpu in &gpus {
        match gpu.capabilities(codec) {
            Ok(_) => return Ok(()),
            Err(e) => why = e,
        }
    }
    Err(why)
}

/// How long the drivers may take to answer.
const LIMIT: Duration = Duration::from_secs(20);

/// The answer, and whether it is one for good.
fn ask() -> (Result<Vec<Gpu>>, bool) {
    let found = match nvidia::gpus(LIMIT) {
        Ok(found) => found,
        Err(e) => {
            let lasting = matches!(e, nvidia::Error::Absent(_));
            return (Err(Error::with_source(ErrorKind::Device, e.to_string(), e)), lasting);
        }
    };
    let lasting = |gpu: &nvidia::Gpu| match &gpu.encoder {
        Ok(_) => true,
        Err(no) => {
            matches!(no.kind, nv::Kind::Absent | nv::Kind::TooOld | nv::Kind::NoEncoder | nv::Kind::Sessions)
        }
    };
    (found.iter().map(describe).collect(), found.iter().all(lasting))
}

fn describe(found: &nvidia::Gpu) -> Result<Gpu> {
    let mut gpu = Gpu {
        index: found.device.ordinal,
        name: short(&found.device.name),
        uuid: found.device.uuid_text(),
        memory: found.device.memory,
        ..Gpu::default()
    };
    match &found.encoder {
        Ok(encoder) => {
            gpu.api = Some(encoder.api);
            gpu.codecs = encoder.codecs.iter().map(|c| (c.codec, c.capabilities)).collect();
        }
        // All sessions were taken when it was asked; by now one may be free.
        Err(no) if no.kind == nv::Kind::Sessions => {
            let library = nv::Library::load().map_err(super::failed)?;
            let context = cuda::Context::primary(gpu.index)?;
            let session = nv::Session::open(library, &context).map_err(super::failed)?;
            gpu.api = Some(session.version());
            for codec in session.codecs().map_err(super::failed)? {
                gpu.codecs.push((codec, session.capabilities(codec).map_err(super::failed)?));
            }
        }
        Err(no) => gpu.obstacle = Some(no.reason.clone()),
    }
    gpu.engines = gpu.codecs.iter().map(|(_, c)| c.engines.max(1) as u32).max().unwrap_or(0);
    Ok(gpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_not_remembered_for_ever() {
        let begin = Instant::now();
        let failed = Error::new(ErrorKind::Device, "the NVIDIA driver does not answer within 20 s");
        let found = Found::new(Err(failed), false, begin);
        assert!(found.at(begin + SOON / 2).unwrap().is_err());
        assert!(found.at(begin + SOON).is_none(), "asked again");
        let found = Found::new(Ok(Vec::new()), true, begin);
        assert!(found.at(begin + 1000 * SOON).unwrap().is_ok());
    }
}
