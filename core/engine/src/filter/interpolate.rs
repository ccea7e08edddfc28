//! Frames in between.

use super::geometry::delegate;
use super::graph::{AvFilter, Recipe};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::spec::InterpolateSpec;
use crate::stage::{Outlet, Stage};

/// Reaches a higher (or lower) constant rate with frames made from their neighbours: by motion estimation
/// (`minterpolate`, 8 bits only, slow) or by blending (`framerate`). Output base: 1/rate.
pub struct Interpolate(AvFilter);

delegate!(Interpolate);

impl Interpolate {
    /// Frames at `spec.frame_rate`.
    pub fn new(spec: InterpolateSpec) -> Self {
        let rate = spec.frame_rate.0;
        Interpolate(AvFilter::new(
            "interpolate",
            Box::new(move |params, _| {
                let v = params.video()?;
                let depth = v.format.descriptor().map_or(8, |d| d.depth);
                if !spec.blend && depth > 8 {
                    return Err(Error::unsupported(format!(
                        "motion estimation on {} (8 bits only); blend can do it",
                        v.format
                    )));
                }
                let filter = if spec.blend {
                    format!("framerate=fps={rate}")
                } else {
                    format!("minterpolate=fps={rate}:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1")
                };
                let base = rate.inverse();
                Ok(Recipe::Graph(format!("{filter},settb={base},format={}", v.format), None))
            }),
        ))
    }
}
