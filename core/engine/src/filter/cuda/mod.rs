//! Filters on CUDA frames, by kernels of our own (`core/engine/kernels`): size, pixel format, matrix and range; crop,
//! pad, mirror, turn; HDR to SDR; sharpness. They do what the filters of the same names do on the host, by the same formulas, and frames never
//! leave the device.
//!
//! Kernels are queued in the default stream, with which everything else that touches frames is in order: NVDEC's copies,
//! FFmpeg's transfers, the encoders' own streams. So a stage emits a frame as soon as its kernels are queued, and nobody
//! waits.

mod colour;
mod ladder;
mod launch;
mod layout;
mod place;
mod scale;
mod sharpen;
mod table;
mod tone_map;
mod widen;

pub use ladder::Ladder;
pub use place::Place;
pub use scale::Scale;
pub use sharpen::Sharpen;
pub use tone_map::ToneMap;
pub use widen::{widen, widened};

use crate::error::{Error, ErrorKind, Result};
use crate::filter::Turn;
use crate::frame::{Colour, Frame, HdrMetadata, PixelFormat, VideoParams};
use crate::spec::FilterSpec;
use crate::stage::Stage;
use ghoststream_sys::cuda::{Context, Function, Module, Stream};
use ghoststream_sys::ffmpeg as av;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What NVRTC made of the kernels' source (`core/engine/kernels/generate.py`).
const PTX: &str = include_str!("../../../kernels/kernels.ptx");

/// The kernels on one device.
struct Kernels {
    context: Arc<Context>,
    /// FFmpeg's view of the context, for pools of frames.
    device: av::HwDevice,
    stream: Arc<Stream>,
    taps: Function,
    scale: Function,
    ladder: Function,
    convert: Function,
    place: Function,
    tone_map: Function,
    sharpen: Function,
}

/// Those that some stage uses, so that the PTX is compiled once.
static OPEN: Mutex<Vec<Weak<Kernels>>> = Mutex::new(Vec::new());

/// What [`available`] found, by device.
static FOUND: Mutex<BTreeMap<u32, std::result::Result<(), String>>> = Mutex::new(BTreeMap::new());

/// Whether the kernels run on device `ordinal`; the text says why not. Tried once in a process.
///
/// # Errors
/// Without a driver or a GPU, and where driver or GPU are too old.
pub fn available(ordinal: u32) -> std::result::Result<(), String> {
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let tried = || Kernels::on(ordinal).map(drop).map_err(|e| e.to_string());
    found.entry(ordinal).or_insert_with(tried).clone()
}

/// Whether the kernels can convert between the matrices of these colours; the text says why not. Transfer and primaries
/// are [`ToneMap`]'s affair, from HDR to BT.709, and else the host's.
///
/// # Errors
/// For a matrix without constant weights, and for other primaries or transfers.
pub fn converts(from: &Colour, to: &Colour) -> std::result::Result<(), String> {
    if (from.primaries, from.transfer) != (to.primaries, to.transfer) {
        return Err("primaries and transfer are converted on the host, not on cuda".into());
    }
    if from.matrix != to.matrix {
        for matrix in [from.matrix, to.matrix] {
            colour::weights(matrix).map_err(|e| e.message().to_owned())?;
        }
    }
    Ok(())
}

fn tone_maps(colour: &Colour) -> std::result::Result<(), String> {
    let check = colour::weights(colour.matrix).and_then(|_| colour::to_bt709(colour.primaries));
    check.map(drop).map_err(|e| e.message().to_owned())
}

/// The stage that a document's filter means for CUDA frames. `hdr` is what the container or codec says about the whole
/// stream.
///
/// # Errors
/// As [`crate::filter::build`]; [`ErrorKind::Internal`] where there is no kernel for it, as [`filters`] says.
pub fn build(spec: &FilterSpec, hdr: HdrMetadata) -> Result<Box<dyn Stage<Frame, Frame>>> {
    Ok(match spec {
        FilterSpec::Crop(s) => Box::new(Place::crop(*s)),
        FilterSpec::Pad(s) => Box::new(Place::pad(s.clone())?),
        FilterSpec::Rotate(degrees) => Box::new(Place::turn(Turn::clockwise(*degrees)?)),
        FilterSpec::Sharpen(s) => Box::new(Sharpen::new(*s)),
        FilterSpec::ToneMap(s) => Box::new(ToneMap::new(*s, hdr)),
        other => {
            let message = format!("no kernel for {}", crate::filter::name(other));
            return Err(Error::new(ErrorKind::Internal, message));
        }
    })
}

/// Whether there is a kernel for the filter on pictures of this colour; the text says why not.
///
/// # Errors
/// For filters that run on the host.
pub fn filters(spec: &FilterSpec, colour: &Colour) -> std::result::Result<(), String> {
    match spec {
        FilterSpec::Crop(_) | FilterSpec::Rotate(_) | FilterSpec::Sharpen(_) => Ok(()),
        FilterSpec::Pad(_) => colour::weights(colour.matrix).map(drop).map_err(|e| e.message().to_owned()),
        FilterSpec::ToneMap(_) if colour.is_hdr() => tone_maps(colour),
        FilterSpec::ToneMap(_) => Ok(()),
        other => Err(format!("{} runs on the host, not on cuda", crate::filter::name(other))),
    }
}

impl Kernels {
    /// The kernels on device `ordinal`.
    fn on(ordinal: u32) -> Result<Arc<Kernels>> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|k| k.strong_count() > 0);
        let same = |k: &Arc<Kernels>| k.context.device().ordinal == ordinal;
        if let Some(kernels) = open.iter().filter_map(Weak::upgrade).find(same) {
            return Ok(kernels);
        }
        let context = Context::primary(ordinal)?;
        let module = Module::from_ptx(&context, PTX)?;
        let kernels = Arc::new(Kernels {
            device: av::HwDevice::cuda(&context)?,
            stream: Stream::default_of(&context),
            taps: module.function("taps")?,
            scale: module.function("scale")?,
            ladder: module.function("ladder")?,
            convert: module.function("convert")?,
            place: module.function("place")?,
            tone_map: module.function("tone_map")?,
            sharpen: module.function("sharpen")?,
            context,
        });
        open.push(Arc::downgrade(&kernels));
        Ok(kernels)
    }

    /// The kernels on the device that the frame is on.
    fn of(frame: &Frame) -> Result<Arc<Kernels>> {
        let home = |k: &Arc<Kernels>| frame.media().is_in_cuda(&k.context);
        let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernels) = open.iter().filter_map(Weak::upgrade).find(home) {
            return Ok(kernels);
        }
        drop(open);
        match frame.media().cuda_home()? {
            Some(home) => Kernels::on(home.device().ordinal),
            None => Err(Error::new(ErrorKind::Device, "the frame is in no CUDA device's primary context")),
        }
    }
}

/// What a stage makes of frames as they come, until they come otherwise.
struct Following<T> {
    /// What it was made for.
    made: Option<(VideoParams, T)>,
    kernels: Option<Arc<Kernels>>,
}

impl<T> Following<T> {
    fn new() -> Self {
        Following { made: None, kernels: None }
    }

    /// What `make` makes for frames like this one.
    fn get(
        &mut self,
        frame: &Frame,
        make: impl FnOnce(&Arc<Kernels>, &VideoParams) -> Result<T>,
    ) -> Result<(&Arc<Kernels>, &VideoParams, &mut T)> {
        let source = described(frame)?;
        if self.kernels.as_ref().is_none_or(|k| !frame.media().is_in_cuda(&k.context)) {
            (self.kernels, self.made) = (Some(Kernels::of(frame)?), None);
        }
        let internal = || Error::new(ErrorKind::Internal, "a CUDA filter without its kernels");
        let kernels = self.kernels.as_ref().ok_or_else(internal)?;
        if self.made.as_ref().is_none_or(|(params, _)| *params != source) {
            self.made = Some((source.clone(), make(kernels, &source)?));
        }
        self.made.as_mut().map(|(params, made)| (kernels, &*params, made)).ok_or_else(internal)
    }
}

/// What a CUDA frame is made of, with the format of its pixels.
fn described(frame: &Frame) -> Result<VideoParams> {
    let pool = frame.media().hw_frames().filter(|p| p.format() == PixelFormat::cuda());
    let pool = pool.ok_or_else(|| Error::unsupported("frames in host memory; upload them first"))?;
    Ok(VideoParams { format: pool.host_format(), ..frame.video() })
}
