//! When a track of pictures may be copied.

use super::resolve::Offer;
use super::tracks::video_codec;
use crate::error::Result;
use crate::package::Plan as SegmentPlan;
use crate::packet::{Codec, FieldOrder, StreamInfo};
use crate::spec::{Container, OutputSpec, PipelineSpec, VideoSpec};
use crate::time::Timestamp;

/// Key frames of `stream` that make good segment boundaries of about `target` seconds, so that it can be copied next to
/// encoded rungs; `None` when it cannot.
///
/// # Errors
/// Those of reading the source.
pub(crate) fn copy_grid(
    spec: &PipelineSpec,
    output: &OutputSpec,
    stream: &StreamInfo,
    offer: &Offer,
    target: f64,
) -> Result<Option<Vec<Timestamp>>> {
    let exact_start = spec.source.start.is_none_or(|s| s.0 == 0.0) && spec.source.loops == 0;
    if !output.copy_conforming || offer.raw || !exact_start {
        return Ok(None);
    }
    let Some(keys) = &offer.keys else { return Ok(None) };
    keys.judged(stream, |keys| {
        let plan = SegmentPlan::from_key_frames(keys, Timestamp::from_seconds(target)).ok()?;
        let end =
            offer.duration.unwrap_or_else(|| keys.last().copied().unwrap_or(Timestamp::from_seconds(0.0)));
        // A segment half as long again as asked is the most that players' buffers are planned for.
        if plan.longest(end).seconds() > target * 1.5 {
            return None;
        }
        let starts = (0..).map_while(|cell| plan.start(cell)).take_while(|t| *t < end).collect::<Vec<_>>();
        (!starts.is_empty()).then_some(starts)
    })
}

/// Whether nothing but its key frames can keep `stream` from being copied as `rung`.
pub(crate) fn may_copy(rung: &VideoSpec, stream: &StreamInfo, container: Option<Container>) -> bool {
    rung.is_copy() || (stream.video.is_some() && copy_obstacle(rung, stream, container).is_none())
}

/// Whether `wanted` says something of the pictures of `stream` that a copy does not give. What an encoder would only be told
/// (rate, preset …) does not count.
pub(super) fn asks_to_encode(wanted: &VideoSpec, stream: &StreamInfo) -> bool {
    let pictures = wanted.width.is_some()
        || wanted.height.is_some()
        || wanted.frame_rate.is_some()
        || wanted.colour.is_some()
        || wanted.hdr.is_some()
        || wanted.bit_depth.is_some()
        || wanted.pixel_format.is_some()
        || !wanted.filters.is_empty();
    let quality = wanted.crf.is_some() || wanted.qp.is_some() || wanted.lossless || wanted.two_pass;
    let coding = wanted.encoder.is_some()
        || wanted.profile.is_some()
        || wanted.level.is_some()
        || wanted.codec.as_ref().is_some_and(|c| *c != stream.codec);
    pictures || quality || coding
}

/// Why `stream` cannot be copied as `rung`, or `None` when it can.
pub(super) fn copy_obstacle(
    rung: &VideoSpec,
    stream: &StreamInfo,
    container: Option<Container>,
) -> Option<String> {
    let video = stream.video.as_ref()?;
    let codec = video_codec(rung, container);
    if stream.codec != codec {
        return Some(format!("the source is {}", stream.codec));
    }
    if rung.width.is_some_and(|w| w != video.width) || rung.height.is_some_and(|h| h != video.height) {
        return Some("another size".into());
    }
    if let Some(turned) = video.turned() {
        return Some(format!("it is {turned}"));
    }
    if !rung.filters.is_empty() || rung.frame_rate.is_some() || rung.colour.is_some() {
        return Some("it is filtered".into());
    }
    if rung.hdr.is_some() {
        return Some("its HDR metadata is replaced".into());
    }
    if codec == Codec::H264 {
        let depth = video.format.and_then(|f| f.descriptor());
        if depth.is_some_and(|d| d.depth != 8 || d.log2_chroma_w != 1 || d.log2_chroma_h != 1) {
            return Some("the source is not 8-bit 4:2:0".into());
        }
    }
    if matches!(video.field_order, FieldOrder::TopFirst | FieldOrder::BottomFirst) {
        return Some("the source is interlaced".into());
    }
    let asked = rung.encoder.is_some() || rung.crf.is_some() || rung.qp.is_some() || rung.lossless;
    if asked || rung.profile.is_some() || rung.level.is_some() || !rung.options.is_empty() {
        return Some("its quality is asked for".into());
    }
    match (rung.bitrate, stream.bit_rate) {
        // A tenth above is within what a one-pass encode at that rate would also take.
        (Some(want), Some(have)) if have as f64 > want.0 as f64 * 1.1 => {
            Some(format!("the source's {} kbit/s are above the rung's", have / 1000))
        }
        (Some(_), None) => Some("the source's bit rate is not known".into()),
        _ => None,
    }
}
