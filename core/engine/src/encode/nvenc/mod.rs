//! NVIDIA's encoder, driven directly.

mod config;
mod detach;
mod gpu;
mod hooks;
mod open;
mod pack;
mod retrieve;
mod schedule;
mod stage;
mod timing;
mod turn;
mod upload;

pub use config::{Config, surface};
pub use detach::{Detach, holds_many};
pub use gpu::{Gpu, gpus, works};
pub use hooks::{Cards, Hooks};
pub use schedule::{Claim, Load, load};
pub use stage::NvencEncoder;

use crate::encode::{format, video};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::PixelFormat;
use crate::packet::Codec;
use crate::spec::VideoSpec;
use crate::time::Rational;
use ghoststream_sys::nvenc as nv;
use schedule::{Need, Part, Readings};

/// A distance of key frames that means "none but forced ones".
const NO_KEYS: u32 = 60_000;

/// The host pixel formats that it takes; which of them a device takes is checked with the device.
pub fn formats() -> Vec<PixelFormat> {
    const NAMES: [&str; 11] = [
        "yuv420p",
        "nv12",
        "yuv420p10le",
        "p010le",
        "yuv422p",
        "nv16",
        "yuv422p10le",
        "p210le",
        "yuv444p",
        "yuv444p10le",
        "yuv444p16le",
    ];
    NAMES.iter().filter_map(|name| PixelFormat::from_name(name)).collect()
}

/// The format that pictures are made in where `format` is wished: the same samples in another order, or those of them that
/// count, in what every FFmpeg converts to (5.1 makes no `nv16`). Pictures that come in `format` stay so.
pub fn made(format: PixelFormat) -> PixelFormat {
    let twin = match format.name() {
        "nv16" => "yuv422p",
        "p210le" => "yuv422p10le",
        "yuv444p16le" => "yuv444p10le",
        _ => return format,
    };
    PixelFormat::from_name(twin).unwrap_or(format)
}

/// What an encoder is to make, as far as it is known before its first frame.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The codec.
    pub codec: &'a Codec,
    /// The encoder: `h264_nvenc` …
    pub encoder: &'a str,
    /// What the document says of the track.
    pub spec: &'a VideoSpec,
    /// The format that pictures come in.
    pub format: Option<PixelFormat>,
    /// Their size when they are encoded.
    pub size: (u32, u32),
    /// Their rate.
    pub rate: Option<Rational>,
}

impl Wanted<'_> {
    fn config(&self) -> Result<Config> {
        let surface = surface(format::input_format(self.encoder, self.spec, self.format)?)?;
        let settings = video::settings(self.encoder, self.spec, false, None)?;
        let mut config = Config::new(self.codec, &settings, surface)?;
        if let Some(rate) = self.rate.filter(|r| r.is_positive()) {
            config.encode.frame_rate = (rate.num as u32, rate.den as u32);
        }
        Ok(config)
    }

    /// Samples of luma a second, and bytes of device memory.
    fn part(&self) -> Part {
        let rate = self.rate.map_or(25.0, |r| r.as_f64());
        let work = f64::from(self.size.0) * f64::from(self.size.1) * rate;
        Part { work, memory: Need::memory_of(self.size) }
    }
}

/// The GPU by CUDA's number that the document names for a track, if it names one.
pub fn named_gpu(spec: &VideoSpec) -> Option<u32> {
    spec.options.get("gpu")?.parse().ok()
}

/// Claims a GPU for a job whose pictures are decoded on one: the least busy of those that can do most of what is `wanted`
/// there, or the one that its document names. `kernels`: filters or scaling are done there.
///
/// # Errors
/// [`ErrorKind::Device`] without a GPU, [`ErrorKind::NotFound`] for a named one that is not there, [`ErrorKind::Memory`]
/// when none has the memory.
pub fn claim(wanted: &[Wanted<'_>], kernels: bool) -> Result<Claim> {
    let gpus = gpus()?;
    let named = wanted.iter().find_map(|w| named_gpu(w.spec));
    let here = |w: &&Wanted<'_>| named_gpu(w.spec).is_none_or(|index| Some(index) == named);
    let wanted: Vec<&Wanted<'_>> = wanted.iter().filter(here).collect();
    let runs = |gpu: &&Gpu| !kernels || gpus.len() == 1 || crate::filter::cuda::available(gpu.index).is_ok();
    let able: Vec<&Gpu> =
        gpus.iter().filter(|gpu| named.is_none_or(|index| gpu.index == index)).filter(runs).collect();
    if let (Some(index), true) = (named, able.is_empty()) {
        return Err(Error::new(ErrorKind::NotFound, format!("video.options.gpu: there is no GPU {index}")));
    }
    let configs: Vec<Option<Config>> = wanted.iter().map(|w| w.config().ok()).collect();
    let fits = |gpu: &Gpu, n: usize| {
        configs[n].as_ref().is_some_and(|config| gpu.takes(config, Some(wanted[n].size)).is_ok())
    };
    let parts: Vec<Part> = wanted.iter().map(|w| w.part()).collect();
    schedule::claim(&able, &parts, fits, Readings::of(&gpus))
}

/// The GPU by CUDA's number whose decoders have least to do.
///
/// # Errors
/// [`ErrorKind::Device`] without a GPU.
pub fn least_decoding() -> Result<u32> {
    claim(&[], false).map(|claim| claim.index())
}

/// Whether one of `gpus` can do what is `wanted`. No GPUs: nothing is known, and nothing is refused.
///
/// # Errors
/// What the only or the last GPU lacks, by the document's field.
pub fn fits(wanted: &Wanted<'_>, gpus: &[Gpu]) -> Result<()> {
    let config = wanted.config()?;
    let named = |gpu: &&Gpu| config.gpu.is_none_or(|index| index == gpu.index);
    let mut verdict = match config.gpu {
        Some(index) if !gpus.is_empty() => {
            Err(Error::new(ErrorKind::NotFound, format!("video.options.gpu: there is no GPU {index}")))
        }
        _ => Ok(()),
    };
    for gpu in gpus.iter().filter(named) {
        verdict = gpu.takes(&config, Some(wanted.size));
        if verdict.is_ok() {
            break;
        }
    }
    verdict
}

/// A failure of the driver's. All that is not a lack of memory or sessions is the device's, so that another encoder may go
/// on.
fn failed(e: nv::Error) -> Error {
    let kind = match e.kind() {
        nv::Kind::Sessions => ErrorKind::Busy,
        nv::Kind::Memory => ErrorKind::Memory,
        _ => ErrorKind::Device,
    };
    Error::with_source(kind, format!("nvenc: {e}"), e)
}

/// A failure of the driver's to take a configuration: where it does not like it, nothing is wrong with the device.
fn not_configured(e: nv::Error) -> Error {
    match e.kind() {
        nv::Kind::Unsupported | nv::Kind::Invalid => {
            Error::with_source(ErrorKind::Unsupported, format!("nvenc: {e}"), e)
        }
        _ => failed(e),
    }
}

#[cfg(test)]
mod tests;
