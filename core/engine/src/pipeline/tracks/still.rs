//! What pictures are that are a file each: viewers of such files show progressive SDR with square pixels, whatever the source is.

use super::video::filtered_size;
use crate::filter::size::Shown;
use crate::frame::PixelFormat;
use crate::packet::{Codec, FieldOrder, StreamInfo};
use crate::spec::{
    AudioChoice, ColourSpec, Deinterlace, Device, FilterSpec, FrameRate, OutputSpec, SubtitleChoice,
    ToneMapSpec, VideoChoice, VideoSpec,
};
use crate::time::Rational;

/// How wide a preview is, and how many there are a second, as players of films have them.
const PREVIEW_WIDTH: u32 = 320;
const PREVIEW_RATE: Rational = Rational::new(1, 10);

/// The codec of a picture whose path ends so.
fn codec(path: Option<&str>) -> Codec {
    let ending = path.and_then(|path| path.rsplit_once('.')).map(|(_, ending)| ending.to_ascii_lowercase());
    match ending.as_deref() {
        Some("png") => Codec::Png,
        Some("webp") => Codec::WebP,
        _ => Codec::Mjpeg,
    }
}

/// `output` with what a file of one picture needs: no sound, and pictures that need nothing beside them to be shown right.
/// `source` is what they are of, which may be a cover.
pub(crate) fn still_output(output: &OutputSpec, source: Option<&StreamInfo>) -> OutputSpec {
    let wanted = match &output.video {
        VideoChoice::None => None,
        VideoChoice::Track(video) => Some((**video).clone()),
        VideoChoice::Default => Some(VideoSpec::new()),
    };
    let video = wanted.map(|mut video| {
        if output.tiles.is_some() {
            preview(&mut video);
        }
        video.stream = video.stream.or(source.map(|s| s.index));
        if video.is_copy() { video } else { conform(output, video, source) }
    });
    let video = video.map_or(VideoChoice::None, |video| VideoChoice::Track(Box::new(video)));
    let (audio, subtitles) = (AudioChoice::None, SubtitleChoice::None);
    OutputSpec { video, audio, subtitles, ..output.clone() }
}

/// Gives the pictures of sheets their usual size and rate, where nobody said others. They are put together in host memory, and
/// are larger than what many devices encode.
fn preview(video: &mut VideoSpec) {
    if video.device == Device::Auto && video.encoder.is_none() {
        video.device = Device::Software;
    }
    if video.width.is_none() && video.height.is_none() {
        video.width = Some(PREVIEW_WIDTH);
    }
    video.frame_rate.get_or_insert(FrameRate(PREVIEW_RATE));
}

fn conform(output: &OutputSpec, mut video: VideoSpec, source: Option<&StreamInfo>) -> VideoSpec {
    if video.encoder.is_none() {
        let codec = video.codec.get_or_insert_with(|| codec(output.path.as_deref()));
        // FFmpeg's other encoder of this name keeps all pictures to the end, for one file that moves.
        video.encoder = (*codec == Codec::WebP).then(|| "libwebp".into());
    }
    let Some(info) = source.and_then(|s| s.video.as_ref()) else { return video };
    let has = |what: fn(&FilterSpec) -> bool| video.filters.iter().any(what);
    let maps = has(|f| matches!(f, FilterSpec::ToneMap(_)));
    let interlaced = matches!(info.field_order, FieldOrder::TopFirst | FieldOrder::BottomFirst)
        && !has(|f| matches!(f, FilterSpec::Deinterlace(_)));
    let hdr = info.colour.is_hdr() && !maps;
    let png = video.codec == Some(Codec::Png) || video.encoder.as_deref() == Some("png");
    let webp = video.codec == Some(Codec::WebP) || video.encoder.as_deref() == Some("libwebp");
    // JFIF has one matrix and one range (ITU-T T.871, 7), and lossy WebP others (RFC 9649, 2.6); none says its primaries, and
    // viewers take those of sRGB, from which BT.601's are no visible way.
    let colour = video.colour.get_or_insert_default();
    if !matches!(info.colour.primaries, 1 | 2 | 5 | 6 | 7) {
        colour.primaries.get_or_insert_with(|| "bt709".into());
    }
    if !png {
        colour.matrix.get_or_insert_with(|| "smpte170m".into());
    }
    if webp {
        colour.range.get_or_insert_with(|| "limited".into());
    }
    if *colour == ColourSpec::default() {
        video.colour = None;
    }
    // A PNG of deeper pictures would be of 16 bits: twice the bytes, for nothing that viewers show.
    if png
        && video.pixel_format.is_none()
        && info.format.and_then(PixelFormat::descriptor).is_some_and(|d| d.depth > 8)
    {
        video.bit_depth.get_or_insert(8);
    }
    if hdr {
        video.filters.insert(0, FilterSpec::ToneMap(ToneMapSpec::default()));
    }
    if interlaced {
        video.filters.insert(0, FilterSpec::Deinterlace(Deinterlace::Auto));
    }
    if video.width.is_none() && video.height.is_none() {
        let shown = filtered_size(&video, Shown::of(info, video.auto_rotate));
        // The other side follows, and no row or column is lost.
        match shown.sample_aspect.as_f64() {
            1.0 => {}
            wide if wide > 1.0 => video.height = Some(shown.height),
            _ => video.width = Some(shown.width),
        }
    }
    video
}
