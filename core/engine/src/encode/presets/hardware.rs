//! Encoders in hardware. All but NVENC, which is driven directly ([`crate::encode::nvenc`]), go through FFmpeg. The option
//! names are FFmpeg's for all of them; nothing here was run on a device yet.

use super::{
    AV1_MAIN, H264_PROFILES, Input, Knob, LevelForm, Live, Lossless, NOTHING, Peak, Profile, Set, Table, p,
    plain, scale,
};

const H264_HW_PROFILES: &[Profile] = &[
    Profile { b_frames: false, ..p("baseline", "baseline", 8, 420) },
    p("main", "main", 8, 420),
    p("high", "high", 8, 420),
];

const H264_VAAPI_PROFILES: &[Profile] = &[
    Profile { b_frames: false, ..p("baseline", "constrained_baseline", 8, 420) },
    p("main", "main", 8, 420),
    p("high", "high", 8, 420),
];

const HEVC_HW_PROFILES: &[Profile] = &[p("main", "main", 8, 420), p("main10", "main10", 10, 420)];

const HEVC_NVENC_PROFILES: &[Profile] = &[
    p("main", "main", 8, 420),
    p("main10", "main10", 10, 420),
    p("main422-10", "main422-10", 10, 422),
    p("main444", "main444", 8, 444),
    p("main444-10", "main444-10", 10, 444),
];

const NVENC_PRESETS: [&str; 7] = ["p1", "p2", "p3", "p4", "p5", "p6", "p7"];

const HEVC_MAIN: &[Profile] = &[p("main", "main", 8, 420)];

pub(super) fn table(encoder: &str) -> Option<Table> {
    Some(match encoder {
        "h264_nvenc" => nvenc("h264_nvenc", "h264", &[8, 10], 51.0, 23.0, H264_PROFILES),
        "hevc_nvenc" => nvenc("hevc_nvenc", "hevc", &[8, 10], 51.0, 26.0, HEVC_NVENC_PROFILES),
        "av1_nvenc" => nvenc("av1_nvenc", "av1", &[8, 10], 63.0, 32.0, AV1_MAIN),
        "h264_vaapi" => vaapi("h264_vaapi", "h264", &[8], 52.0, 23.0, H264_VAAPI_PROFILES),
        "hevc_vaapi" => vaapi("hevc_vaapi", "hevc", &[8, 10], 52.0, 26.0, HEVC_HW_PROFILES),
        "av1_vaapi" => vaapi("av1_vaapi", "av1", &[8, 10], 255.0, 100.0, AV1_MAIN),
        "h264_qsv" => qsv("h264_qsv", "h264", &[8], 23.0, H264_HW_PROFILES),
        "hevc_qsv" => qsv("hevc_qsv", "hevc", &[8, 10], 26.0, HEVC_HW_PROFILES),
        "av1_qsv" => qsv("av1_qsv", "av1", &[8, 10], 28.0, AV1_MAIN),
        "h264_amf" => amf("h264_amf", "h264", &[8], H264_HW_PROFILES),
        "hevc_amf" => amf("hevc_amf", "hevc", &[8], HEVC_MAIN),
        "av1_amf" => amf("av1_amf", "av1", &[8], AV1_MAIN),
        "h264_videotoolbox" => videotoolbox("h264_videotoolbox", "h264", &[8], H264_HW_PROFILES),
        "hevc_videotoolbox" => videotoolbox("hevc_videotoolbox", "hevc", &[8, 10], HEVC_HW_PROFILES),
        "h264_vulkan" => vulkan("h264_vulkan", "h264", &[8], H264_HW_PROFILES),
        "hevc_vulkan" => vulkan("hevc_vulkan", "hevc", &[8, 10], HEVC_HW_PROFILES),
        "av1_vulkan" => vulkan("av1_vulkan", "av1", &[8, 10], AV1_MAIN),
        _ => return None,
    })
}

fn nvenc(
    name: &'static str,
    codec: &'static str,
    depths: &'static [u8],
    top: f64,
    crf: f64,
    profiles: &'static [Profile],
) -> Table {
    Table {
        input: Input::HostOr("cuda"),
        presets: Some((Knob::Option("preset"), NVENC_PRESETS)),
        crf: scale(Knob::Option("cq"), 0.0, top, crf, true),
        qp: scale(Knob::Option("qp"), 0.0, if codec == "av1" { 255.0 } else { 51.0 }, crf, false),
        vbr: &[Set::Option("rc", "vbr")],
        quality_mode: &[Set::Option("rc", "vbr")],
        qp_mode: &[Set::Option("rc", "constqp")],
        peak: Peak::Vbv,
        crf_peak: Peak::Vbv,
        cbr: Some(&[Set::Option("rc", "cbr")]),
        lossless: if codec == "av1" {
            Lossless::No
        } else {
            Lossless::By(&[
                Set::Option("tune", "lossless"),
                Set::Option("rc", "constqp"),
                Set::Option("qp", "0"),
            ])
        },
        low_latency: Some(&[Set::Option("tune", "ll"), Set::BFrames(0)]),
        ultra_low_latency: Some(&[
            Set::Option("tune", "ull"),
            Set::BFrames(0),
            Set::Option("zerolatency", "1"),
            Set::Option("delay", "0"),
        ]),
        high_quality: &[Set::Option("tune", "hq")],
        // The most of any device; each says what it makes.
        b_frames: Some(7),
        lookahead: Knob::Option("rc-lookahead"),
        profiles: (Knob::Option("profile"), profiles),
        level: (Knob::Option("level"), LevelForm::Dotted),
        grid: &[Set::Option("no-scenecut", "1")],
        always: &[Set::Option("forced-idr", "1")],
        live: Live::Native,
        depths,
        ..plain(name, codec)
    }
}

fn vaapi(
    name: &'static str,
    codec: &'static str,
    depths: &'static [u8],
    top: f64,
    crf: f64,
    profiles: &'static [Profile],
) -> Table {
    Table {
        input: Input::Only("vaapi"),
        presets: Some((Knob::Option("compression_level"), ["7", "6", "5", "4", "3", "2", "1"])),
        crf: scale(Knob::Option("global_quality"), 1.0, top, crf, false),
        qp: scale(Knob::Option("global_quality"), 1.0, top, crf, false),
        vbr: &[Set::Option("rc_mode", "VBR")],
        qp_mode: &[Set::Option("rc_mode", "CQP")],
        peak: Peak::Vbv,
        cbr: Some(&[Set::Option("rc_mode", "CBR")]),
        low_latency: Some(&[Set::BFrames(0), Set::Option("async_depth", "1")]),
        ultra_low_latency: Some(&[Set::BFrames(0), Set::Option("async_depth", "1")]),
        b_frames: Some(7),
        profiles: (Knob::Option("profile"), profiles),
        level: (Knob::Option("level"), LevelForm::Dotted),
        depths,
        ..plain(name, codec)
    }
}

fn qsv(
    name: &'static str,
    codec: &'static str,
    depths: &'static [u8],
    crf: f64,
    profiles: &'static [Profile],
) -> Table {
    Table {
        input: Input::HostOr("qsv"),
        presets: Some((
            Knob::Option("preset"),
            ["veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"],
        )),
        crf: scale(Knob::Option("global_quality"), 1.0, 51.0, crf, false),
        qp: scale(Knob::Quality, 0.0, 51.0, crf, false),
        peak: Peak::Vbv,
        cbr: Some(NOTHING),
        low_latency: Some(&[Set::BFrames(0), Set::Option("async_depth", "1")]),
        ultra_low_latency: Some(&[
            Set::BFrames(0),
            Set::Option("async_depth", "1"),
            Set::Option("look_ahead_depth", "0"),
        ]),
        b_frames: Some(7),
        lookahead: Knob::Option("look_ahead_depth"),
        profiles: (Knob::Option("profile"), profiles),
        level: if codec == "h264" {
            (Knob::Option("level"), LevelForm::Tens)
        } else {
            (Knob::None, LevelForm::Tens)
        },
        grid: if codec == "av1" { NOTHING } else { &[Set::Option("adaptive_i", "0")] },
        always: if codec == "av1" { NOTHING } else { &[Set::Option("forced_idr", "1")] },
        depths,
        ..plain(name, codec)
    }
}

fn amf(
    name: &'static str,
    codec: &'static str,
    depths: &'static [u8],
    profiles: &'static [Profile],
) -> Table {
    let per_type = if codec == "h264" { ["qp_i", "qp_p", "qp_b"] } else { ["qp_i", "qp_p", "qp_p"] };
    Table {
        input: Input::Host,
        presets: Some((
            Knob::Option("quality"),
            ["speed", "speed", "balanced", "balanced", "balanced", "quality", "quality"],
        )),
        // It has no constant quality of its own on older drivers: a constant quantiser stands in.
        crf: scale(Knob::PerType(per_type), 0.0, 51.0, 23.0, false),
        qp: scale(Knob::PerType(per_type), 0.0, 51.0, 23.0, false),
        vbr: &[Set::Option("rc", "vbr_peak")],
        quality_mode: &[Set::Option("rc", "cqp")],
        qp_mode: &[Set::Option("rc", "cqp")],
        peak: Peak::Vbv,
        cbr: Some(&[Set::Option("rc", "cbr")]),
        low_latency: Some(&[Set::Option("usage", "lowlatency"), Set::BFrames(0)]),
        ultra_low_latency: Some(&[Set::Option("usage", "ultralowlatency"), Set::BFrames(0)]),
        high_quality: &[Set::Option("usage", "transcoding")],
        b_frames: if codec == "h264" { Some(3) } else { None },
        profiles: (Knob::Option("profile"), profiles),
        level: (Knob::Option("level"), LevelForm::Dotted),
        depths,
        ..plain(name, codec)
    }
}

fn videotoolbox(
    name: &'static str,
    codec: &'static str,
    depths: &'static [u8],
    profiles: &'static [Profile],
) -> Table {
    Table {
        input: Input::HostOr("videotoolbox"),
        presets: None,
        // Its own scale: 1 to 100, higher is better.
        crf: scale(Knob::Quality, 1.0, 100.0, 55.0, false),
        peak: Peak::Rough,
        cbr: Some(&[Set::Option("constant_bit_rate", "1")]),
        low_latency: Some(&[Set::Option("realtime", "1"), Set::BFrames(0)]),
        ultra_low_latency: Some(&[Set::Option("realtime", "1"), Set::BFrames(0)]),
        b_frames: Some(7),
        profiles: (Knob::Option("profile"), profiles),
        level: if codec == "h264" {
            (Knob::Option("level"), LevelForm::Dotted)
        } else {
            (Knob::None, LevelForm::Dotted)
        },
        depths,
        ..plain(name, codec)
    }
}

fn vulkan(
    name: &'static str,
    codec: &'static str,
    depths: &'static [u8],
    profiles: &'static [Profile],
) -> Table {
    Table {
        input: Input::Only("vulkan"),
        presets: Some((Knob::Option("quality"), ["0", "0", "1", "1", "2", "2", "3"])),
        qp: scale(Knob::Option("qp"), 0.0, if codec == "av1" { 255.0 } else { 51.0 }, 26.0, false),
        crf: None,
        vbr: &[Set::Option("rc_mode", "vbr")],
        qp_mode: &[Set::Option("rc_mode", "cqp")],
        peak: Peak::Vbv,
        cbr: Some(&[Set::Option("rc_mode", "cbr")]),
        low_latency: Some(&[Set::Option("tune", "ll"), Set::BFrames(0)]),
        ultra_low_latency: Some(&[Set::Option("tune", "ull"), Set::BFrames(0)]),
        high_quality: &[Set::Option("tune", "hq")],
        b_frames: Some(3),
        profiles: (Knob::Option("profile"), profiles),
        level: (Knob::Option("level"), LevelForm::Full),
        depths,
        ..plain(name, codec)
    }
}
