//! NVIDIA's encoder, driven directly.

mod config;
mod detach;
mod gpu;
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
pub use schedule::{Load, load};
pub use stage::{Hooks, NvencEncoder};

use crate::encode::video;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::PixelFormat;
use crate::packet::Codec;
use crate::spec::VideoSpec;

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

/// Whether one of `gpus` can do what `spec` asks of `encoder` (`h264_nvenc` …) for pictures of `size` that come in `format`.
/// No GPUs: nothing is known, and nothing is refused.
///
/// # Errors
/// What the only or the last GPU lacks, by the document's field.
pub fn fits(
    codec: &Codec,
    encoder: &str,
    spec: &VideoSpec,
    format: Option<PixelFormat>,
    size: (u32, u32),
    gpus: &[Gpu],
) -> Result<()> {
    let surface = surface(video::input_format(encoder, spec, format)?)?;
    let config = Config::new(codec, &video::settings(encoder, spec, false)?, surface)?;
    let named = |gpu: &&Gpu| config.gpu.is_none_or(|index| index == gpu.index);
    let mut verdict = match config.gpu {
        Some(index) if !gpus.is_empty() => {
            Err(Error::new(ErrorKind::NotFound, format!("video.options.gpu: there is no GPU {index}")))
        }
        _ => Ok(()),
    };
    for gpu in gpus.iter().filter(named) {
        verdict = gpu.takes(&config, Some(size));
        if verdict.is_ok() {
            break;
        }
    }
    verdict
}

#[cfg(test)]
mod tests;
