//! Unsharp mask.

use super::colour::{assumed, is_rgb};
use super::geometry::delegate;
use super::graph::{AvFilter, Recipe};
use super::scale::relabel;
use crate::error::{Error, Result};
use crate::frame::{Frame, PixelFormat};
use crate::spec::SharpenSpec;
use crate::stage::{Outlet, Stage};

/// Sharpens (or, with a negative amount, blurs) luma; chroma stays. Format and base stay.
pub struct Sharpen(AvFilter);

delegate!(Sharpen);

impl Sharpen {
    /// The mask.
    pub fn new(spec: SharpenSpec) -> Self {
        let size = spec.size.unwrap_or(5);
        Sharpen(AvFilter::new(
            "sharpen",
            Box::new(move |params, _| {
                let v = params.video()?;
                if spec.amount == 0.0 {
                    return Ok(Recipe::Pass);
                }
                let mask = format!("unsharp=lx={size}:ly={size}:la={}:ca=0", spec.amount);
                if is_rgb(v.format) {
                    return Err(Error::unsupported(format!(
                        "luma of {} (RGB); scale to YUV first",
                        v.format
                    )));
                }
                // FFmpeg would pick some format that the filter takes; this picks the one that loses nothing.
                let d = v.format.descriptor();
                let alike = d.filter(|d| d.planes != d.components).map(|d| {
                    let depth = if d.depth > 8 { "10" } else { "" };
                    let chroma = if d.log2_chroma_h > 0 {
                        "420"
                    } else if d.log2_chroma_w > 0 {
                        "422"
                    } else {
                        "444"
                    };
                    format!("yuv{chroma}p{depth}")
                });
                let text = match alike.as_deref().and_then(PixelFormat::from_name) {
                    Some(format) => {
                        let colour = assumed(v);
                        let (there, back) =
                            (relabel(v.format, format, &colour), relabel(format, v.format, &colour));
                        format!("{there},{mask},{back}")
                    }
                    None => format!("{mask},format={}", v.format),
                };
                Ok(Recipe::Graph(text, None))
            }),
        ))
    }
}
