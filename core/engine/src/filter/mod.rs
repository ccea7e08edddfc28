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
//! | constant frame rate | [`FrameRate`] | here |
//! | cut a stretch out | [`Trim`] | here |
//! | deinterlace | [`Deinterlace`] | bwdif |
//! | sharpen | [`Sharpen`] | unsharp |
//! | frames in between | [`Interpolate`] | minterpolate, framerate |
//! | HDR to SDR | [`ToneMap`] | zimg, tonemap; BT.2390 here |
//! | sound | [`AudioConform`] | swresample, loudnorm; gaps and frames here |

mod audio;
mod cascade;
pub mod colour;
mod deinterlace;
mod geometry;
mod graph;
mod interpolate;
mod paint;
mod rate;
mod samples;
mod scale;
mod sharpen;
mod tonemap;
mod trim;

#[cfg(test)]
mod tests;

pub use audio::{AudioConform, AudioTarget};
pub use cascade::Cascade;
pub use deinterlace::Deinterlace;
pub use geometry::{Crop, Pad, Rotate};
pub use interpolate::Interpolate;
pub use rate::{FrameRate, RateCounters};
pub use scale::{Scale, ScaleTarget, display_aspect, fit, has_zimg};
pub use sharpen::Sharpen;
pub use tonemap::ToneMap;
pub use trim::Trim;
