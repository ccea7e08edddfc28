//! Filters: stages that turn frames into frames.
//!
//! Every filter configures itself from its first frame and again whenever the frames' parameters change in mid-stream,
//! after it has drained what it held. Frames keep their exact times; where a filter's output counts in another base
//! than its input, its documentation says so. A frame's wish to become a key frame survives every filter.
//!
//! | filter | stage | done by |
//! |---|---|---|
//! | size, pixel format, colour | [`Scale`], [`Cascade`] for a ladder | zimg, else swscale |
//! | crop, turn | [`Crop`], [`Rotate`] | libavfilter |
//! | pad | [`Pad`] | here |
//! | constant frame rate; another rate while it runs | [`FrameRate`], [`Repace`] | here |
//! | many pictures on one | [`Sheet`] | here |
//! | cut a stretch out | [`Trim`] | here |
//! | sound that is played again, to the sample | `Rounds` | here |
//! | what a part of the whole needs before it | [`Since`], [`Exact`] | here |
//! | deinterlace | [`Deinterlace`] | bwdif; on a device bwdif_cuda, yadif_cuda, deinterlace_vaapi, bwdif_vulkan |
//! | sharpen | [`Sharpen`] | here |
//! | frames in between | [`Interpolate`] | minterpolate, framerate |
//! | text and bitmap subtitles | [`BurnIn`] | libass; bitmaps here |
//! | image over the picture | [`Watermark`] | here |
//! | HDR to SDR | [`ToneMap`] | zimg, tonemap; BT.2390 here |
//! | size, format, matrix; crop, pad, turn; sharpen; HDR to SDR of CUDA frames; [`cuda::Ladder`] for a ladder | [`cuda`] | kernels of our own |
//! | to a device, back, size there | [`Upload`], [`Download`], [`DeviceScale`] | scale_cuda, scale_vaapi, vpp_qsv, scale_vulkan, scale_vt |
//! | sound | [`AudioConform`] | swresample, loudnorm; gaps and frames here |

mod audio;
mod burn_in;
mod cascade;
pub mod colour;
pub mod cuda;
mod deinterlace;
pub mod device;
mod geometry;
mod graph;
mod interpolate;
mod paint;
mod rate;
mod rounds;
mod samples;
mod scale;
mod shape;
mod sharpen;
mod sheet;
mod since;
pub(crate) mod size;
mod sprite;
mod tonemap;
mod trim;
mod watermark;

#[cfg(test)]
mod tests;

pub use audio::{AudioConform, AudioTarget, Begin};
pub use burn_in::BurnIn;
pub use cascade::Cascade;
pub use deinterlace::Deinterlace;
pub use device::{DeviceScale, Download, Upload};
pub use geometry::{Crop, Pad, Rotate, Turn};
pub use interpolate::Interpolate;
pub use rate::{FrameRate, RateCounters, Repace};
pub(crate) use rounds::Rounds;
pub(crate) use samples::slice;
pub use scale::{Scale, ScaleTarget, has_zimg};
pub use shape::KeepShape;
pub use sharpen::Sharpen;
pub use sheet::{Preview, Sheet, Told, sheet_rate};
pub use since::{Exact, Since};
pub use tonemap::ToneMap;
pub use trim::Trim;
pub use watermark::Watermark;

use crate::error::Result;
use crate::frame::{Frame, HdrMetadata};
use crate::spec::{Deinterlace as DeinterlaceMode, FilterSpec, SourceSpec, ToneMapCurve};
use crate::stage::Stage;
use crate::time::{MICROSECONDS, Timestamp};

/// What some filters must know about the track besides its frames.
#[derive(Clone, Debug)]
pub struct FilterContext {
    /// The job's source, for the burn-in of one of its streams.
    pub source: Option<SourceSpec>,
    /// Ends the blocking reads of a filter that reads the source or a file.
    pub interrupt: ghoststream_sys::ffmpeg::Interrupt,
    /// The source's first time.
    pub origin: Timestamp,
    /// The source's time at which the frames' times are 0.
    pub zero: Timestamp,
    /// What container and codec say about the track's dynamic range.
    pub hdr: HdrMetadata,
}

impl Default for FilterContext {
    fn default() -> Self {
        FilterContext {
            source: None,
            interrupt: Default::default(),
            origin: Timestamp::new(0, MICROSECONDS),
            zero: Timestamp::new(0, MICROSECONDS),
            hdr: HdrMetadata::default(),
        }
    }
}

/// The stage that a document's filter means.
///
/// # Errors
/// What can be known before the first frame: [`crate::ErrorKind::Invalid`] naming the field within the filter
/// (`pad.colour: …`), and what opening a file can fail with. What depends on the picture is said at its first frame.
pub fn build(spec: &FilterSpec, context: &FilterContext) -> Result<Box<dyn Stage<Frame, Frame>>> {
    Ok(match spec {
        FilterSpec::Crop(s) => Box::new(Crop::new(*s)),
        FilterSpec::Pad(s) => Box::new(Pad::new(s.clone())?),
        FilterSpec::Rotate(degrees) => Box::new(Rotate::new(Turn::clockwise(*degrees)?)),
        FilterSpec::Deinterlace(mode) => Box::new(Deinterlace::new(*mode)),
        FilterSpec::Sharpen(s) => Box::new(Sharpen::new(*s)),
        FilterSpec::ToneMap(s) => Box::new(ToneMap::new(*s, context.hdr)),
        FilterSpec::Interpolate(s) => Box::new(Interpolate::new(*s)),
        FilterSpec::BurnIn(s) => {
            let times = (context.origin, context.zero);
            Box::new(BurnIn::new(s, context.source.as_ref(), times, &context.interrupt)?)
        }
        FilterSpec::Watermark(s) => Box::new(Watermark::new(s.clone())?),
    })
}

/// A filter's name, for statistics.
pub fn name(spec: &FilterSpec) -> &'static str {
    match spec {
        FilterSpec::Crop(_) => "crop",
        FilterSpec::Pad(_) => "pad",
        FilterSpec::Rotate(_) => "rotate",
        FilterSpec::Deinterlace(_) => "deinterlace",
        FilterSpec::Sharpen(_) => "sharpen",
        FilterSpec::ToneMap(_) => "tone_map",
        FilterSpec::Interpolate(_) => "interpolate",
        FilterSpec::BurnIn(_) => "burn_in",
        FilterSpec::Watermark(_) => "watermark",
    }
}

/// A filter in a few words, for plans.
pub fn describe(spec: &FilterSpec) -> String {
    match spec {
        FilterSpec::Crop(c) => format!("crop {}x{} at {},{}", c.width, c.height, c.x, c.y),
        FilterSpec::Pad(p) => format!("pad to {}x{}", p.width, p.height),
        FilterSpec::Rotate(degrees) => format!("rotate {degrees}° clockwise"),
        FilterSpec::Deinterlace(DeinterlaceMode::Auto) => "deinterlace what is flagged (bwdif)".into(),
        FilterSpec::Deinterlace(DeinterlaceMode::All) => "deinterlace all (bwdif)".into(),
        FilterSpec::Deinterlace(DeinterlaceMode::DoubleRate) => "deinterlace to double rate (bwdif)".into(),
        FilterSpec::Sharpen(s) => format!("sharpen by {}", s.amount),
        FilterSpec::ToneMap(t) => {
            let curve = match t.curve {
                ToneMapCurve::Hable => "hable",
                ToneMapCurve::Mobius => "mobius",
                ToneMapCurve::Reinhard => "reinhard",
                ToneMapCurve::Bt2390 => "bt2390",
            };
            format!("tone-map HDR to BT.709 ({curve})")
        }
        FilterSpec::Interpolate(i) => {
            let how = if i.blend { "blending" } else { "motion estimation" };
            format!("interpolate to {} fps by {how}", i.frame_rate.0)
        }
        FilterSpec::BurnIn(b) => match (&b.path, b.stream) {
            (Some(path), _) => format!("burn in {path}"),
            (None, Some(stream)) => format!("burn in stream {stream}"),
            (None, None) => "burn in nothing".into(),
        },
        FilterSpec::Watermark(w) => format!("draw {} at {},{}", w.path, w.x, w.y),
    }
}
