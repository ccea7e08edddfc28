//! Arguments that say how the video track is made.

use super::values::{self, one_of};
use crate::exit::Failure;
use clap::{ArgMatches, Args};
use ghoststream::spec::{
    Bitrate, BurnInSpec, ColourSpec, CropSpec, Deinterlace, Device, FilterSpec, FrameRate, HdrSpec,
    InterpolateSpec, MasteringDisplaySpec, PadSpec, Preset, Scaler, Seconds, SharpenSpec, ToneMapSpec, Tune,
    VideoChoice, VideoSpec, WatermarkSpec,
};

/// The coded video.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Video")]
pub struct VideoArgs {
    /// h264, hevc, av1, vp9, ffv1, rawvideo …, or 'copy', or 'none' [default: by the container]
    #[arg(long, value_name = "CODEC")]
    pub video: Option<String>,
    /// Encoder implementation: auto (a real probe decides), nvenc (driven directly) or FFmpeg's name (libx264 …)
    #[arg(long, value_name = "NAME")]
    pub encoder: Option<String>,
    /// Where to encode [default: auto]
    #[arg(long, value_parser = one_of::<Device>())]
    pub device: Option<Device>,
    /// Index of the source stream [default: the best video stream]
    #[arg(long, value_name = "INDEX")]
    pub video_stream: Option<usize>,
    /// Constant quality on the encoder's own scale
    #[arg(long, alias = "cq", value_name = "VALUE")]
    pub crf: Option<f64>,
    /// Average bit rate, such as 2.5M
    #[arg(long, value_name = "RATE")]
    pub bitrate: Option<Bitrate>,
    /// Peak bit rate over --buffer
    #[arg(long, value_name = "RATE")]
    pub max_bitrate: Option<Bitrate>,
    /// Decoder buffer (VBV) in bits [default: one second of --max-bitrate]
    #[arg(long, value_name = "BITS")]
    pub buffer: Option<Bitrate>,
    /// Constant bit rate at --bitrate
    #[arg(long)]
    pub cbr: bool,
    /// Constant quantiser
    #[arg(long, value_name = "VALUE")]
    pub qp: Option<u32>,
    /// Mathematically lossless
    #[arg(long)]
    pub lossless: bool,
    /// Encode twice; the first pass gathers statistics
    #[arg(long)]
    pub two_pass: bool,
    /// Speed against quality: p1 (fastest) to p7 (best) [default: p4]
    #[arg(long, value_parser = one_of::<Preset>())]
    pub preset: Option<Preset>,
    /// What to tune for
    #[arg(long, value_parser = one_of::<Tune>())]
    pub tune: Option<Tune>,
    /// Frames from one key frame to the next at most
    #[arg(long, value_name = "FRAMES")]
    pub gop: Option<u32>,
    /// Time from one key frame to the next, exactly
    #[arg(long, value_name = "TIME")]
    pub keyframe_interval: Option<Seconds>,
    /// B-frames between references
    #[arg(long, value_name = "COUNT")]
    pub b_frames: Option<u32>,
    /// Frames of lookahead
    #[arg(long, value_name = "FRAMES")]
    pub lookahead: Option<u32>,
    /// Profile by the codec's usual name (baseline, main, high, main10 …)
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Level as written in the standard (4.1)
    #[arg(long, value_name = "LEVEL")]
    pub level: Option<String>,
    /// Bits per sample: 8, 10 or 12
    #[arg(long, value_name = "BITS")]
    pub bit_depth: Option<u8>,
    /// Exact pixel format by FFmpeg's name, instead of --bit-depth
    #[arg(long, value_name = "NAME")]
    pub pixel_format: Option<String>,
    /// Colour to convert to: bt601, bt709, bt2020, pq or hlg, full or limited, and parts by FFmpeg's names (primaries=,
    /// transfer=, matrix=, range=) [default: the source's]
    #[arg(long, value_name = "NAME|PART=NAME,…", value_parser = values::colour)]
    pub colour: Option<ColourSpec>,
    /// Mastering display to write in place of the source's: primaries by name (bt709, p3, bt2020; white is D65) and
    /// luminances in cd/m²
    #[arg(long, value_name = "PRIMARIES:MIN:MAX", value_parser = values::mastering_display)]
    pub mastering_display: Option<MasteringDisplaySpec>,
    /// Brightest pixel in cd/m² to write in place of the source's
    #[arg(long, value_name = "NITS")]
    pub max_cll: Option<u32>,
    /// Brightest frame average in cd/m² to write in place of the source's
    #[arg(long, value_name = "NITS")]
    pub max_fall: Option<u32>,
    /// An encoder option by FFmpeg's name, applied last (repeatable)
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = values::key_value)]
    pub encoder_options: Vec<(String, String)>,
}

impl VideoArgs {
    /// The static HDR metadata, if any is given.
    fn hdr(&self) -> Option<HdrSpec> {
        let hdr = HdrSpec {
            mastering_display: self.mastering_display,
            max_cll: self.max_cll,
            max_fall: self.max_fall,
        };
        (hdr != HdrSpec::default()).then_some(hdr)
    }
}

/// The picture: size, rate and filters.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Picture (filters run in the order in which they are given, before scaling)")]
pub struct PictureArgs {
    /// Size of the output
    #[arg(long, value_name = "WxH", value_parser = values::size, conflicts_with_all = ["width", "height"])]
    pub size: Option<(u32, u32)>,
    /// Width; the height follows the display aspect ratio unless it is given too
    #[arg(long, value_name = "PIXELS")]
    pub width: Option<u32>,
    /// Height; the width follows the display aspect ratio unless it is given too
    #[arg(long, value_name = "PIXELS")]
    pub height: Option<u32>,
    /// How to scale [default: bicubic]
    #[arg(long, value_parser = one_of::<Scaler>())]
    pub scaler: Option<Scaler>,
    /// Constant frame rate by dropping and repeating: a number or a fraction
    #[arg(long, value_name = "RATE")]
    pub fps: Option<FrameRate>,
    /// Keep the rotation of the metadata in the metadata
    #[arg(long)]
    pub no_auto_rotate: bool,
    /// Cut a rectangle out
    #[arg(long, value_name = "WxH+X+Y", value_parser = values::crop)]
    pub crop: Vec<CropSpec>,
    /// Put the picture on a larger canvas, centred unless a place is given
    #[arg(long, value_name = "WxH[+X+Y][:COLOUR]", value_parser = values::pad)]
    pub pad: Vec<PadSpec>,
    /// Turn clockwise by 90, 180 or 270
    #[arg(long, value_name = "DEGREES")]
    pub rotate: Vec<u16>,
    /// Make whole frames of fields
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "auto",
          value_name = "WHICH", value_parser = one_of::<Deinterlace>())]
    pub deinterlace: Vec<Deinterlace>,
    /// Sharpen, -1.5 (blur) to 1.5
    #[arg(long, value_name = "AMOUNT[:SIZE]", value_parser = values::sharpen, allow_hyphen_values = true)]
    pub sharpen: Vec<SharpenSpec>,
    /// HDR to SDR by a curve (hable, mobius, reinhard, bt2390), from a peak in cd/m² [default: hable; the metadata's peak]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "hable",
          value_name = "CURVE[:PEAK]", value_parser = values::tone_map)]
    pub tone_map: Vec<ToneMapSpec>,
    /// Make frames in between, to reach a rate
    #[arg(long, value_name = "FPS[:blend]", value_parser = values::interpolate)]
    pub interpolate: Vec<InterpolateSpec>,
    /// Draw a subtitle stream (its index) or file into the picture
    #[arg(long, value_name = "STREAM|FILE", value_parser = values::burn_in)]
    pub burn_in: Vec<BurnInSpec>,
    /// Draw an image into the picture; negative X and Y count from the right and bottom
    #[arg(long, value_name = "FILE[@X,Y[,OPACITY]]", value_parser = values::watermark)]
    pub watermark: Vec<WatermarkSpec>,
}

impl PictureArgs {
    /// The filters in the order of the command line, which `matches` knows.
    fn filters(&self, matches: &ArgMatches) -> Vec<FilterSpec> {
        let mut found: Vec<(usize, FilterSpec)> = Vec::new();
        let mut add = |id: &str, filters: Vec<FilterSpec>| {
            found.extend(matches.indices_of(id).into_iter().flatten().zip(filters));
        };
        add("crop", self.crop.iter().copied().map(FilterSpec::Crop).collect());
        add("pad", self.pad.iter().cloned().map(FilterSpec::Pad).collect());
        add("rotate", self.rotate.iter().copied().map(FilterSpec::Rotate).collect());
        add("deinterlace", self.deinterlace.iter().copied().map(FilterSpec::Deinterlace).collect());
        add("sharpen", self.sharpen.iter().copied().map(FilterSpec::Sharpen).collect());
        add("tone_map", self.tone_map.iter().copied().map(FilterSpec::ToneMap).collect());
        add("interpolate", self.interpolate.iter().copied().map(FilterSpec::Interpolate).collect());
        add("burn_in", self.burn_in.iter().cloned().map(FilterSpec::BurnIn).collect());
        add("watermark", self.watermark.iter().cloned().map(FilterSpec::Watermark).collect());
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, filter)| filter).collect()
    }
}

/// The video of an output; `matches` is where `picture` was parsed from.
///
/// # Errors
/// A usage error for `--video none` beside an option about the video.
pub fn choice(
    video: &VideoArgs,
    picture: &PictureArgs,
    matches: &ArgMatches,
) -> Result<VideoChoice, Failure> {
    let none = video.video.as_deref() == Some("none");
    let (width, height) = match picture.size {
        Some((width, height)) => (Some(width), Some(height)),
        None => (picture.width, picture.height),
    };
    let track = VideoSpec {
        codec: (!none).then_some(video.video.as_deref()).flatten().map(ghoststream::packet::Codec::from_name),
        encoder: video.encoder.clone(),
        device: video.device.unwrap_or_default(),
        stream: video.video_stream,
        crf: video.crf,
        bitrate: video.bitrate,
        max_bitrate: video.max_bitrate,
        buffer: video.buffer,
        cbr: video.cbr,
        qp: video.qp,
        lossless: video.lossless,
        two_pass: video.two_pass,
        preset: video.preset,
        tune: video.tune,
        gop: video.gop,
        keyframe_interval: video.keyframe_interval,
        b_frames: video.b_frames,
        lookahead: video.lookahead,
        profile: video.profile.clone(),
        level: video.level.clone(),
        bit_depth: video.bit_depth,
        pixel_format: video.pixel_format.clone(),
        colour: video.colour.clone(),
        hdr: video.hdr(),
        options: video.encoder_options.iter().cloned().collect(),
        width,
        height,
        scaler: picture.scaler.unwrap_or_default(),
        frame_rate: picture.fps,
        auto_rotate: !picture.no_auto_rotate,
        filters: picture.filters(matches),
        ..VideoSpec::new()
    };
    let set = super::differences(&track, &VideoSpec::new());
    match (none, set.first()) {
        (true, Some(field)) => Err(Failure::usage(format!(
            "{}: makes no sense with --video none",
            super::names::option(&format!("outputs[0].video.{field}"))
        ))),
        (true, None) => Ok(VideoChoice::None),
        (false, None) => Ok(VideoChoice::Default),
        (false, Some(_)) => Ok(VideoChoice::Track(Box::new(track))),
    }
}
