//! What each encoder can do and what it calls things: the tables that [`super::rate::map`] reads.

mod hardware;

use std::ops::RangeInclusive;

/// One setting of an encoder, as a table writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// An FFmpeg option.
    Option(&'static str, &'static str),
    /// A parameter of the encoder's own library (`x264-params` and the like).
    Param(&'static str, &'static str),
    /// B-frames.
    BFrames(u32),
    /// The bit rate is also the least (`minrate`).
    MinRate,
    /// The least distance of key frames is also the greatest, which ends the encoder's own choice of key frames.
    FixedGop,
    /// The bit rate must not be repeated as the peak.
    NoPeak,
}

/// How an encoder is told a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knob {
    /// It cannot be told.
    None,
    /// By an FFmpeg option.
    Option(&'static str),
    /// By a parameter of the encoder's own library.
    Param(&'static str),
    /// By `AVCodecContext.global_quality` with the fixed-quantiser flag.
    Quality,
    /// Quantiser floor and ceiling both at the value, in the encoder's constant-quality mode (libvpx, libaom).
    PinnedCrf,
    /// Three options, one per picture type.
    PerType([&'static str; 3]),
}

/// Range and default of a quality scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// How it is set.
    pub knob: Knob,
    /// Allowed values.
    pub range: RangeInclusive<f64>,
    /// What is taken when nothing is said.
    pub default: f64,
    /// Whether fractions mean anything.
    pub fractions: bool,
}

/// How an encoder keeps a peak below `max_bitrate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peak {
    /// It cannot.
    None,
    /// By a decoder buffer model.
    Vbv,
    /// Only roughly: per group of pictures, not per buffer.
    Rough,
    /// Only roughly, as a percentage of the average.
    Percent(Knob),
}

/// How lossless coding is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lossless {
    /// It cannot.
    No,
    /// These settings.
    By(&'static [Set]),
    /// It never codes otherwise.
    Always,
}

/// How the encoder takes part in a two-pass encode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TwoPass {
    /// It cannot.
    No,
    /// Statistics pass through FFmpeg.
    Memory,
    /// Statistics lie in a file named by an FFmpeg option.
    File(&'static str),
    /// Statistics lie in a file named by the library's parameter, with the pass's number in another.
    FileParam(&'static str, &'static str),
}

/// What can be changed while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Live {
    /// Nothing.
    No,
    /// The encoder follows a new bit rate from the next frame on.
    Native,
    /// As `Native` where it was opened at a constant rate and keeps one; else as `Restart`.
    NativeIfConstant,
    /// The encoder is drained and opened again at a key frame; the headers stay the same.
    Restart,
}

/// How a key frame is forced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// By the picture type.
    PictureType,
    /// By the picture type in constant-quality modes; else as [`Force::Restart`].
    QualityModesOnly,
    /// The encoder is drained and opened again, unless its own interval makes a key frame there.
    Restart,
    /// Every picture is a key frame.
    Always,
}

/// How a profile is named, and what it can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The vocabulary's name.
    pub name: &'static str,
    /// The encoder's.
    pub value: &'static str,
    /// Most bits per sample.
    pub depth: u8,
    /// Chroma: 420, 422 or 444 at most.
    pub chroma: u16,
    /// Whether it has B-frames.
    pub b_frames: bool,
}

const fn p(name: &'static str, value: &'static str, depth: u8, chroma: u16) -> Profile {
    Profile { name, value, depth, chroma, b_frames: true }
}

/// Where an encoder's frames must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Host memory.
    Host,
    /// Host memory, or frames of this device type.
    HostOr(&'static str),
    /// Frames of this device type only: host frames are uploaded.
    Only(&'static str),
}

/// Everything known of one encoder.
#[derive(Clone, Debug)]
pub struct Table {
    /// FFmpeg's name.
    pub name: &'static str,
    /// The codec's name.
    pub codec: &'static str,
    /// Where frames must be.
    pub input: Input,
    /// The option that takes the library's own parameters, and other spellings of it.
    pub params: &'static [&'static str],
    /// The option for the preset and its values for p1 to p7.
    pub presets: Option<(Knob, [&'static str; 7])>,
    /// Constant quality.
    pub crf: Option<Scale>,
    /// Constant quantiser.
    pub qp: Option<Scale>,
    /// Whether it can aim at an average bit rate.
    pub bitrate: bool,
    /// What more an average bit rate needs.
    pub vbr: &'static [Set],
    /// What constant quality needs.
    pub quality_mode: &'static [Set],
    /// What a constant quantiser needs.
    pub qp_mode: &'static [Set],
    /// Peak in bit-rate mode.
    pub peak: Peak,
    /// Peak in constant-quality mode.
    pub crf_peak: Peak,
    /// Constant bit rate: `None` when it cannot.
    pub cbr: Option<&'static [Set]>,
    /// Lossless.
    pub lossless: Lossless,
    /// Two passes.
    pub two_pass: TwoPass,
    /// Settings for [`crate::spec::Tune::Ll`]; `None` when it has no such mode.
    pub low_latency: Option<&'static [Set]>,
    /// Settings for [`crate::spec::Tune::Ull`].
    pub ultra_low_latency: Option<&'static [Set]>,
    /// Settings for [`crate::spec::Tune::Hq`].
    pub high_quality: &'static [Set],
    /// Most B-frames that can be asked for; `None` when they cannot be chosen.
    pub b_frames: Option<u32>,
    /// What `b_frames: 0` needs beyond the number itself.
    pub no_b_frames: &'static [Set],
    /// Lookahead.
    pub lookahead: Knob,
    /// Profiles and how they are set.
    pub profiles: (Knob, &'static [Profile]),
    /// What a stream must use to be of a profile, where presets leave that out.
    pub profile_tools: &'static [(&'static str, &'static [Set])],
    /// Level.
    pub level: (Knob, LevelForm),
    /// What makes key frames come on a grid and nowhere else.
    pub grid: &'static [Set],
    /// What is always set.
    pub always: &'static [Set],
    /// Whether `gop` can be chosen.
    pub gop: bool,
    /// How a key frame is forced.
    pub force: Force,
    /// What can change while it runs.
    pub live: Live,
    /// Bits per sample it takes.
    pub depths: &'static [u8],
    /// Thread count beyond FFmpeg's own `threads`.
    pub threads: Knob,
}

/// How a level is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelForm {
    /// `4.1`, and `4` for 4.0.
    Dotted,
    /// `4.1`, and `4.0` for 4.0.
    Full,
    /// `41`.
    Tens,
}

const NOTHING: &[Set] = &[];
const H264_PROFILES: &[Profile] = &[
    Profile { b_frames: false, ..p("baseline", "baseline", 8, 420) },
    p("main", "main", 8, 420),
    p("high", "high", 8, 420),
    p("high10", "high10", 10, 420),
    p("high422", "high422", 10, 422),
    p("high444", "high444", 10, 444),
];
const HEVC_PROFILES: &[Profile] = &[
    p("main", "main", 8, 420),
    p("main10", "main10", 10, 420),
    p("main12", "main12", 12, 420),
    p("main422-10", "main422-10", 10, 422),
    p("main444", "main444-8", 8, 444),
    p("main444-10", "main444-10", 10, 444),
];
const AV1_MAIN: &[Profile] = &[p("main", "main", 10, 420)];
const VP9_PROFILES: &[Profile] = &[
    p("profile0", "0", 8, 420),
    p("profile1", "1", 8, 444),
    p("profile2", "2", 12, 420),
    p("profile3", "3", 12, 444),
];
const PRORES_PROFILES: &[Profile] = &[
    p("proxy", "proxy", 10, 422),
    p("lt", "lt", 10, 422),
    p("standard", "standard", 10, 422),
    p("hq", "hq", 10, 422),
    p("4444", "4444", 10, 444),
    p("4444xq", "4444xq", 10, 444),
];

/// DNxHR, which has any size and rate; `dnxhd` itself is for a few sizes, with a bit rate each.
const DNXHR_PROFILES: &[Profile] = &[
    p("dnxhr_lb", "dnxhr_lb", 8, 422),
    p("dnxhr_sq", "dnxhr_sq", 8, 422),
    p("dnxhr_hq", "dnxhr_hq", 8, 422),
    p("dnxhr_hqx", "dnxhr_hqx", 10, 422),
    p("dnxhr_444", "dnxhr_444", 10, 444),
];

/// What FFmpeg's pixel formats have.
const ALL_DEPTHS: &[u8] = &[8, 9, 10, 12, 14, 16];

fn scale(knob: Knob, low: f64, high: f64, default: f64, fractions: bool) -> Option<Scale> {
    Some(Scale { knob, range: low..=high, default, fractions })
}

const X26X_PRESETS: [&str; 7] =
    ["ultrafast", "superfast", "veryfast", "medium", "slow", "slower", "veryslow"];

/// The bare table of an encoder that has no line of its own: average bit rate, GOP, B-frames and options only.
fn plain(name: &'static str, codec: &'static str) -> Table {
    Table {
        name,
        codec,
        input: Input::Host,
        params: &[],
        presets: None,
        crf: None,
        qp: None,
        bitrate: true,
        vbr: NOTHING,
        quality_mode: NOTHING,
        qp_mode: NOTHING,
        peak: Peak::None,
        crf_peak: Peak::None,
        cbr: None,
        lossless: Lossless::No,
        two_pass: TwoPass::No,
        low_latency: None,
        ultra_low_latency: None,
        high_quality: NOTHING,
        b_frames: None,
        no_b_frames: NOTHING,
        lookahead: Knob::None,
        profiles: (Knob::None, &[]),
        profile_tools: &[],
        level: (Knob::None, LevelForm::Dotted),
        grid: NOTHING,
        always: NOTHING,
        gop: true,
        force: Force::PictureType,
        live: Live::No,
        depths: &[8],
        threads: Knob::None,
    }
}

fn x264() -> Table {
    Table {
        params: &["x264-params", "x264opts"],
        presets: Some((Knob::Option("preset"), X26X_PRESETS)),
        crf: scale(Knob::Option("crf"), 0.0, 51.0, 23.0, true),
        qp: scale(Knob::Option("qp"), 0.0, 51.0, 23.0, false),
        peak: Peak::Vbv,
        crf_peak: Peak::Vbv,
        cbr: Some(NOTHING),
        lossless: Lossless::By(&[Set::Option("qp", "0")]),
        two_pass: TwoPass::File("stats"),
        low_latency: Some(&[
            Set::BFrames(0),
            Set::Option("rc-lookahead", "8"),
            Set::Param("sync-lookahead", "0"),
        ]),
        ultra_low_latency: Some(&[Set::BFrames(0), Set::Option("tune", "zerolatency")]),
        b_frames: Some(16),
        lookahead: Knob::Option("rc-lookahead"),
        profiles: (Knob::Option("profile"), H264_PROFILES),
        // Without them, as ultrafast has it, x264 writes Constrained Baseline whatever was asked for (x264_sps_init).
        profile_tools: &[
            ("main", &[Set::Param("cabac", "1")]),
            ("high", &[Set::Param("cabac", "1"), Set::Param("8x8dct", "1")]),
        ],
        level: (Knob::Option("level"), LevelForm::Dotted),
        grid: &[Set::Option("sc_threshold", "0")],
        always: &[Set::Option("forced-idr", "1"), Set::Param("open-gop", "0")],
        // `x264_ratecontrol_init_reconfigurable` changes the buffer alone where the rate was not the peak at first.
        live: Live::NativeIfConstant,
        depths: &[8, 10],
        ..plain("libx264", "h264")
    }
}

fn x265() -> Table {
    Table {
        params: &["x265-params"],
        presets: Some((Knob::Option("preset"), X26X_PRESETS)),
        crf: scale(Knob::Option("crf"), 0.0, 51.0, 26.0, true),
        qp: scale(Knob::Option("qp"), 0.0, 51.0, 26.0, false),
        peak: Peak::Vbv,
        crf_peak: Peak::Vbv,
        cbr: Some(NOTHING),
        lossless: Lossless::By(&[Set::Param("lossless", "1")]),
        two_pass: TwoPass::FileParam("stats", "pass"),
        low_latency: Some(&[Set::BFrames(0), Set::Param("rc-lookahead", "8")]),
        ultra_low_latency: Some(&[Set::BFrames(0), Set::Option("tune", "zerolatency")]),
        b_frames: Some(16),
        lookahead: Knob::Param("rc-lookahead"),
        profiles: (Knob::Option("profile"), HEVC_PROFILES),
        level: (Knob::Param("level-idc"), LevelForm::Dotted),
        grid: &[Set::Param("scenecut", "0")],
        // The library prints to stderr by itself below this level.
        always: &[
            Set::Option("forced-idr", "1"),
            Set::Param("open-gop", "0"),
            Set::Param("log-level", "error"),
        ],
        depths: &[8, 10, 12],
        threads: Knob::Param("pools"),
        ..plain("libx265", "hevc")
    }
}

fn svt_av1() -> Table {
    const LOW_DELAY: &[Set] = &[Set::Param("pred-struct", "1")];
    Table {
        params: &["svtav1-params"],
        // From 11 on, SVT-AV1 2.3 to 4.2 makes streams that decoders refuse, or wrong colours.
        presets: Some((Knob::Option("preset"), ["10", "10", "9", "8", "6", "4", "2"])),
        crf: scale(Knob::Option("crf"), 1.0, 63.0, 32.0, false),
        qp: scale(Knob::Option("qp"), 1.0, 63.0, 32.0, false),
        vbr: &[Set::Param("rc", "1")],
        peak: Peak::Percent(Knob::Param("maxsection-pct")),
        crf_peak: Peak::Vbv,
        cbr: Some(&[Set::Param("rc", "2"), Set::Param("pred-struct", "1"), Set::NoPeak]),
        low_latency: Some(LOW_DELAY),
        ultra_low_latency: Some(LOW_DELAY),
        b_frames: Some(0),
        no_b_frames: LOW_DELAY,
        lookahead: Knob::Param("lookahead"),
        profiles: (Knob::None, AV1_MAIN),
        level: (Knob::Param("level"), LevelForm::Tens),
        force: Force::QualityModesOnly,
        live: Live::Restart,
        depths: &[8, 10],
        threads: Knob::Param("lp"),
        ..plain("libsvtav1", "av1")
    }
}

fn aom() -> Table {
    Table {
        params: &["aom-params"],
        presets: Some((Knob::Option("cpu-used"), ["8", "7", "6", "5", "4", "3", "2"])),
        crf: scale(Knob::Option("crf"), 0.0, 63.0, 30.0, false),
        qp: scale(Knob::PinnedCrf, 0.0, 63.0, 30.0, false),
        peak: Peak::Rough,
        crf_peak: Peak::Rough,
        // Only its real-time mode holds a constant rate.
        cbr: Some(&[Set::MinRate, Set::Option("usage", "realtime"), Set::Option("lag-in-frames", "0")]),
        lossless: Lossless::By(&[Set::Param("lossless", "1"), Set::Option("crf", "0")]),
        two_pass: TwoPass::Memory,
        low_latency: Some(&[Set::Option("lag-in-frames", "0")]),
        ultra_low_latency: Some(&[Set::Option("usage", "realtime"), Set::Option("lag-in-frames", "0")]),
        b_frames: Some(0),
        no_b_frames: &[Set::Option("lag-in-frames", "0")],
        lookahead: Knob::Option("lag-in-frames"),
        profiles: (Knob::None, AV1_MAIN),
        grid: &[Set::FixedGop],
        always: &[Set::Option("row-mt", "1")],
        force: Force::Restart,
        live: Live::Restart,
        depths: &[8, 10],
        ..plain("libaom-av1", "av1")
    }
}

fn vpx(name: &'static str, codec: &'static str) -> Table {
    let nine = codec == "vp9";
    Table {
        presets: Some((Knob::Option("cpu-used"), ["8", "6", "5", "4", "3", "2", "1"])),
        crf: if nine {
            scale(Knob::Option("crf"), 0.0, 63.0, 32.0, false)
        } else {
            scale(Knob::Option("crf"), 4.0, 63.0, 12.0, false)
        },
        qp: scale(Knob::PinnedCrf, 0.0, 63.0, 32.0, false),
        peak: Peak::Rough,
        crf_peak: Peak::Rough,
        cbr: Some(&[Set::MinRate]),
        lossless: if nine { Lossless::By(&[Set::Option("lossless", "1")]) } else { Lossless::No },
        two_pass: TwoPass::Memory,
        low_latency: Some(&[Set::Option("deadline", "realtime"), Set::Option("lag-in-frames", "0")]),
        ultra_low_latency: Some(&[Set::Option("deadline", "realtime"), Set::Option("lag-in-frames", "0")]),
        high_quality: &[Set::Option("deadline", "good")],
        b_frames: Some(0),
        no_b_frames: &[Set::Option("auto-alt-ref", "0")],
        lookahead: Knob::Option("lag-in-frames"),
        profiles: (Knob::None, if nine { VP9_PROFILES } else { &[] }),
        level: if nine {
            (Knob::Option("level"), LevelForm::Dotted)
        } else {
            (Knob::None, LevelForm::Dotted)
        },
        grid: &[Set::FixedGop],
        always: if nine { &[Set::Option("row-mt", "1")] } else { NOTHING },
        live: Live::Restart,
        depths: if nine { &[8, 10, 12] } else { &[8] },
        ..plain(name, codec)
    }
}

fn intra_or_mpeg(name: &'static str) -> Option<Table> {
    Some(match name {
        "ffv1" => Table {
            bitrate: false,
            lossless: Lossless::Always,
            always: &[Set::Option("level", "3"), Set::Option("slicecrc", "1"), Set::Option("g", "1")],
            gop: false,
            force: Force::Always,
            depths: ALL_DEPTHS,
            ..plain("ffv1", "ffv1")
        },
        "rawvideo" => Table {
            bitrate: false,
            lossless: Lossless::Always,
            gop: false,
            force: Force::Always,
            depths: ALL_DEPTHS,
            ..plain("rawvideo", "rawvideo")
        },
        "mjpeg" => Table {
            crf: scale(Knob::Quality, 1.0, 31.0, 3.0, true),
            qp: scale(Knob::Quality, 1.0, 31.0, 3.0, false),
            gop: false,
            force: Force::Always,
            ..plain("mjpeg", "mjpeg")
        },
        "png" => Table {
            bitrate: false,
            lossless: Lossless::Always,
            gop: false,
            force: Force::Always,
            depths: &[8, 16],
            ..plain("png", "png")
        },
        "libwebp" => Table {
            crf: scale(Knob::Option("quality"), 0.0, 100.0, 75.0, true),
            bitrate: false,
            lossless: Lossless::By(&[Set::Option("lossless", "1")]),
            gop: false,
            force: Force::Always,
            ..plain("libwebp", "webp")
        },
        // No two passes for FFmpeg's own MPEG encoders: when the second finds the rate too low, FFmpeg 5.1 corrupts its heap.
        "mpeg4" => Table {
            crf: scale(Knob::Quality, 1.0, 31.0, 4.0, true),
            qp: scale(Knob::Quality, 1.0, 31.0, 4.0, false),
            peak: Peak::Vbv,
            b_frames: Some(16),
            grid: &[Set::Option("sc_threshold", "1000000000")],
            ..plain("mpeg4", "mpeg4")
        },
        "mpeg2video" => Table {
            crf: scale(Knob::Quality, 1.0, 31.0, 4.0, true),
            qp: scale(Knob::Quality, 1.0, 31.0, 4.0, false),
            peak: Peak::Vbv,
            cbr: Some(&[Set::MinRate]),
            b_frames: Some(16),
            grid: &[Set::Option("sc_threshold", "1000000000")],
            ..plain("mpeg2video", "mpeg2video")
        },
        "prores_ks" => Table {
            bitrate: false,
            profiles: (Knob::Option("profile"), PRORES_PROFILES),
            gop: false,
            force: Force::Always,
            depths: &[10],
            ..plain("prores_ks", "prores")
        },
        "dnxhd" => Table {
            profiles: (Knob::Option("profile"), DNXHR_PROFILES),
            gop: false,
            force: Force::Always,
            depths: &[8, 10],
            ..plain("dnxhd", "dnxhd")
        },
        _ => return None,
    })
}

/// The profile that pictures of `format`, in `depth` bits where that is asked for, need of an encoder whose own default is for
/// others.
pub fn usual_profile(
    encoder: &str,
    format: Option<crate::frame::PixelFormat>,
    depth: Option<u8>,
) -> Option<&'static str> {
    let format = format.and_then(|f| f.descriptor());
    match encoder {
        "prores_ks" => format.filter(|d| d.has_alpha).map(|_| "4444"),
        "dnxhd" if depth.map_or(format.is_some_and(|d| d.depth > 8), |depth| depth > 8) => Some("dnxhr_hqx"),
        "dnxhd" => Some("dnxhr_hq"),
        _ => None,
    }
}

/// The codec of an encoder that is driven without FFmpeg (`h264_nvenc`, `hevc_nvenc`, `av1_nvenc`).
pub fn direct(encoder: &str) -> Option<crate::packet::Codec> {
    let codec = crate::packet::Codec::from_name(encoder.strip_suffix("_nvenc")?);
    table(encoder).map(|_| codec)
}

/// What plans call an encoder: those that are driven without FFmpeg have one name for all codecs.
pub fn shown(encoder: &str) -> &str {
    if direct(encoder).is_some() { "nvenc" } else { encoder }
}

/// The codec that the video encoder of this name makes; `None` when this FFmpeg has no such encoder.
pub fn codec_of(encoder: &str) -> Option<crate::packet::Codec> {
    use ghoststream_sys::ffmpeg as av;
    direct(encoder).or_else(|| {
        let info = av::encoder_info(encoder).filter(|i| i.kind == av::MediaType::Video)?;
        Some(crate::packet::Codec::from_name(&info.codec))
    })
}

/// The pixel formats that an encoder takes; empty when it does not say.
///
/// # Errors
/// [`crate::ErrorKind::Unsupported`] when this FFmpeg has no such encoder.
pub fn formats(encoder: &str) -> crate::Result<Vec<crate::frame::PixelFormat>> {
    if direct(encoder).is_some() {
        return Ok(super::nvenc::formats());
    }
    ghoststream_sys::ffmpeg::supported_formats(encoder)
        .map_err(|_| crate::Error::unsupported(format!("video.encoder: this FFmpeg has no {encoder}")))
}

/// The table of an encoder by FFmpeg's name.
pub fn table(encoder: &str) -> Option<Table> {
    Some(match encoder {
        "libx264" => x264(),
        "libx265" => x265(),
        "libsvtav1" => svt_av1(),
        "libaom-av1" => aom(),
        "libvpx-vp9" => vpx("libvpx-vp9", "vp9"),
        "libvpx" => vpx("libvpx", "vp8"),
        "ffv1" => intra_or_mpeg("ffv1")?,
        "rawvideo" => intra_or_mpeg("rawvideo")?,
        "mjpeg" => intra_or_mpeg("mjpeg")?,
        "png" => intra_or_mpeg("png")?,
        "libwebp" => intra_or_mpeg("libwebp")?,
        "mpeg4" => intra_or_mpeg("mpeg4")?,
        "mpeg2video" => intra_or_mpeg("mpeg2video")?,
        "prores_ks" => intra_or_mpeg("prores_ks")?,
        "dnxhd" => intra_or_mpeg("dnxhd")?,
        _ => return hardware::table(encoder),
    })
}

/// Every encoder that has a table, in no particular order.
pub const KNOWN: &[&str] = &[
    "libx264",
    "libx265",
    "libsvtav1",
    "libaom-av1",
    "libvpx-vp9",
    "libvpx",
    "ffv1",
    "rawvideo",
    "mjpeg",
    "png",
    "libwebp",
    "mpeg4",
    "mpeg2video",
    "prores_ks",
    "dnxhd",
    "h264_nvenc",
    "hevc_nvenc",
    "av1_nvenc",
    "h264_vaapi",
    "hevc_vaapi",
    "av1_vaapi",
    "h264_qsv",
    "hevc_qsv",
    "av1_qsv",
    "h264_amf",
    "hevc_amf",
    "av1_amf",
    "h264_videotoolbox",
    "hevc_videotoolbox",
    "h264_vulkan",
    "hevc_vulkan",
    "av1_vulkan",
];

/// The table of an encoder without a line of its own: bit rate, GOP and options, and nothing else.
pub fn unknown() -> Table {
    Table { depths: ALL_DEPTHS, ..plain("", "") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_encoder_has_a_table_that_agrees_with_itself() {
        for name in KNOWN {
            let t = table(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(t.name, *name);
            assert!(crate::packet::Codec::from_name(t.codec).kind().is_some(), "{name}");
            for scale in [&t.crf, &t.qp].into_iter().flatten() {
                assert!(scale.range.contains(&scale.default), "{name}");
                assert_ne!(scale.knob, Knob::None, "{name}");
            }
            for profile in t.profiles.1 {
                assert!(t.depths.iter().any(|d| *d <= profile.depth), "{name} {}", profile.name);
            }
            let params = [t.vbr, t.quality_mode, t.always, t.grid, t.no_b_frames, t.cbr.unwrap_or_default()];
            let uses_params = params.concat().iter().any(|s| matches!(s, Set::Param(..)));
            assert!(!uses_params || !t.params.is_empty(), "{name}");
        }
        assert!(table("no_such_encoder").is_none());
    }
}
