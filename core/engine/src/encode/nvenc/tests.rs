//! What documents mean on devices that are described here. The figures of the devices are NVIDIA's support matrix; what
//! drivers really say is asked when there is one.

use super::*;
use crate::encode::rate::{Request, map};
use crate::error::{ErrorKind, Result};
use crate::frame::{Colour, HdrMetadata};
use crate::packet::Codec;
use crate::spec::VideoSpec;
use ghoststream_sys::nvenc::{self as nv, ApiVersion, BRef, Capabilities, MultiPass, RateControl, Tuning};

/// H.264 on Turing's small chip: no B-frames in HEVC, no AV1.
fn gtx_1650() -> Gpu {
    let h264 = Capabilities {
        width_min: 145,
        height_min: 49,
        width_max: 4096,
        height_max: 4096,
        blocks_max: 65536,
        max_b_frames: 4,
        rate_controls: 63,
        cabac: 1,
        custom_vbv: 1,
        yuv444: 1,
        lossless: 1,
        lookahead: 1,
        temporal_aq: 1,
        weighted_prediction: 1,
        intra_refresh: 1,
        dynamic_bitrate: 1,
        dynamic_size: 1,
        engines: 1,
        level_max: 62,
        ..Capabilities::default()
    };
    let hevc = Capabilities {
        width_max: 8192,
        height_max: 8192,
        blocks_max: 262_144,
        max_b_frames: 0,
        ten_bit: 1,
        level_max: 186,
        ..h264
    };
    gpu("GTX 1650", 1, vec![(nv::Codec::H264, h264), (nv::Codec::Hevc, hevc)])
}

fn with(from: &Gpu, name: &str, engines: u32, change: impl Fn(nv::Codec, &mut Capabilities)) -> Gpu {
    let mut codecs = from.codecs.clone();
    codecs.iter_mut().for_each(|(codec, caps)| change(*codec, caps));
    gpu(name, engines, codecs)
}

fn rtx_4090() -> Gpu {
    let mut small = gtx_1650();
    let hevc = small.codecs[1].1;
    small.codecs.push((
        nv::Codec::Av1,
        Capabilities { max_b_frames: 7, yuv444: 0, lossless: 0, level_max: 23, ..hevc },
    ));
    with(&small, "RTX 4090", 2, |codec, caps| {
        (caps.b_ref, caps.multiple_references, caps.single_slice_refresh, caps.engines) = (3, 1, 1, 2);
        if codec != nv::Codec::H264 {
            (caps.max_b_frames, caps.lookahead_level, caps.temporal_filter) =
                (caps.max_b_frames.max(5), 1, 1);
        }
    })
}

fn rtx_5090() -> Gpu {
    with(&rtx_4090(), "RTX 5090", 3, |codec, caps| {
        (caps.ten_bit, caps.temporal_filter, caps.engines) = (1, 1, 3);
        caps.yuv422 = i32::from(codec != nv::Codec::Av1);
    })
}

fn h200() -> Gpu {
    Gpu { obstacle: Some("it has no encoder".into()), ..gpu("H200", 0, Vec::new()) }
}

fn gpu(name: &str, engines: u32, codecs: Vec<(nv::Codec, Capabilities)>) -> Gpu {
    Gpu { name: name.into(), engines, api: Some(ApiVersion::V13), codecs, ..Gpu::default() }
}

fn configure(codec: &str, pixels: &str, json: &str) -> Result<Config> {
    let spec: VideoSpec = serde_json::from_str(json).unwrap();
    let surface = surface(PixelFormat::from_name(pixels).unwrap())?;
    let encoder = format!("{codec}_nvenc");
    let settings = map(&Request {
        encoder: &encoder,
        spec: &spec,
        grid: false,
        interval: None,
        depth: surface.depth() as u8,
        colour: Colour::BT709,
        hdr: HdrMetadata::default(),
        threads: 0,
        pass: None,
    })?;
    Config::new(&Codec::from_name(codec), &settings, surface)
}

fn check(config: &Config, gpu: &Gpu, size: Option<(u32, u32)>) -> Result<()> {
    gpu.takes(config, size)
}

fn refused(gpu: &Gpu, codec: &str, pixels: &str, json: &str, begins: &str) {
    let config = configure(codec, pixels, json).unwrap_or_else(|e| panic!("{json}: {e}"));
    let e = check(&config, gpu, Some((1920, 1080))).expect_err(json);
    assert_eq!(e.kind(), ErrorKind::Unsupported);
    assert!(e.message().starts_with(begins), "{json}: {e}");
    assert!(e.message().contains(&gpu.name), "{e}");
}

#[test]
fn every_rate_control_is_understood() {
    let rate = |codec: &str, json: &str| {
        let c = configure(codec, "nv12", json).unwrap().encode;
        (c.rate, c.vbv_size)
    };
    let cq = |quality, max_bitrate| RateControl::Cq { quality, max_bitrate };
    let vbr = |bitrate, max_bitrate| RateControl::Vbr { bitrate, max_bitrate, quality: None };
    assert_eq!(rate("h264", "{}"), (cq(23.0, None), None));
    assert_eq!(rate("av1", r#"{"crf":40.5}"#), (cq(40.5, None), None));
    assert_eq!(
        rate("hevc", r#"{"crf":20,"max_bitrate":"8M","buffer":"4M"}"#),
        (cq(20.0, Some(8_000_000)), Some(4_000_000))
    );
    assert_eq!(rate("h264", r#"{"bitrate":"5M"}"#), (vbr(5_000_000, None), None));
    assert_eq!(
        rate("h264", r#"{"bitrate":"5M","max_bitrate":"7M"}"#),
        (vbr(5_000_000, Some(7_000_000)), Some(7_000_000))
    );
    assert_eq!(
        rate("h264", r#"{"bitrate":"5M","cbr":true}"#),
        (RateControl::Cbr { bitrate: 5_000_000, filler: false }, Some(5_000_000))
    );
    assert_eq!(
        rate("h264", r#"{"bitrate":"5M","options":{"cq":"20"}}"#).0,
        RateControl::Vbr { bitrate: 5_000_000, max_bitrate: None, quality: Some(20.0) }
    );
    let e = configure("h264", "nv12", r#"{"bitrate":"5M","cbr":true,"options":{"cq":"20"}}"#).unwrap_err();
    assert!(e.message().starts_with("video.options.cq: "), "{e}");
    assert_eq!(rate("h264", r#"{"qp":30}"#).0, RateControl::ConstQp { i: 30, p: 30, b: 30 });
    assert_eq!(rate("av1", r#"{"qp":200}"#).0, RateControl::ConstQp { i: 200, p: 200, b: 200 });
    assert_eq!(rate("hevc", r#"{"lossless":true}"#).0, RateControl::Lossless);
    assert_eq!(rate("hevc", r#"{"tune":"lossless"}"#).0, RateControl::Lossless);
    assert!(configure("av1", "nv12", r#"{"lossless":true}"#).unwrap_err().message().contains("lossless"));
    assert!(
        configure("h264", "nv12", r#"{"bitrate":"5G"}"#)
            .unwrap_err()
            .message()
            .starts_with("video.bitrate: ")
    );
}

#[test]
fn presets_tunings_and_structure() {
    let config = configure(
        "hevc",
        "p010le",
        r#"{"preset":"p6","gop":60,"b_frames":3,"lookahead":20,"profile":"main10","level":"5.1","options":{
            "multipass":"fullres","b_ref_mode":"middle","spatial-aq":"1","aq-strength":"9","temporal-aq":"1",
            "lookahead_level":"2","tier":"high","qmin":"10","qmax":"40","gpu":"1","split_encode_mode":"2"}}"#,
    )
    .unwrap();
    let c = &config.encode;
    assert_eq!((c.preset, c.tuning, c.gop, c.b_frames), (6, Tuning::HighQuality, Some(60), Some(3)));
    let look = c.lookahead.unwrap();
    assert_eq!((look.depth, look.level, look.scene_cut, look.adaptive_b), (20, Some(2), true, true));
    assert_eq!((c.profile, c.level, c.high_tier), (nv::Profile::Main10, Some(153), true));
    assert_eq!((c.multipass, c.b_ref), (Some(MultiPass::Full), Some(BRef::Middle)));
    assert_eq!((c.spatial_aq, c.temporal_aq), (Some(9), Some(true)));
    assert_eq!((c.min_qp, c.max_qp, config.gpu), (Some([10; 3]), Some([40; 3]), Some(1)));
    assert_eq!((c.split, c.stream_depth()), (nv::Split::Engines(2), 10));
    let low = configure("h264", "nv12", r#"{"tune":"ull","bitrate":"5M"}"#).unwrap().encode;
    assert_eq!((low.tuning, low.b_frames, low.zero_reorder), (Tuning::UltraLowLatency, Some(0), true));
    assert_eq!(configure("h264", "nv12", "{}").unwrap().encode.gop, Some(250));
    let uhq = configure("hevc", "p010le", r#"{"options":{"tune":"uhq"}}"#).unwrap().encode;
    assert_eq!(uhq.tuning, Tuning::UltraHighQuality);
    let repeated = configure("h264", "nv12", r#"{"options":{"repeat-headers":"1"}}"#).unwrap().encode;
    assert!(repeated.repeat_headers);
    let refresh = configure("h264", "nv12", r#"{"gop":60,"options":{"intra-refresh":"1"}}"#).unwrap().encode;
    assert_eq!((refresh.gop, refresh.intra_refresh.unwrap().count), (None, 59));
}

#[test]
fn what_excludes_itself_or_is_not_known_is_refused_by_name() {
    for (codec, json, begins) in [
        ("h264", r#"{"options":{"no-such":"1"}}"#, "video.options.no-such: nvenc does not take it"),
        ("h264", r#"{"options":{"preset":"slow"}}"#, "video.options.preset: "),
        ("h264", r#"{"options":{"tune":"film"}}"#, "video.options.tune: "),
        ("h264", r#"{"options":{"multipass":"3"}}"#, "video.options.multipass: "),
        ("h264", r#"{"options":{"aq-strength":"16","spatial-aq":"1"}}"#, "video.options.aq-strength: "),
        ("h264", r#"{"options":{"aq-strength":"8"}}"#, "video.options.aq-strength: needs"),
        ("h264", r#"{"options":{"rc":"vbr_hq"}}"#, "video.options.rc: "),
        ("h264", r#"{"tune":"ull","options":{"rc-lookahead":"8"}}"#, "video.lookahead: "),
        ("h264", r#"{"b_frames":0,"options":{"b_ref_mode":"middle"}}"#, "video.options.b_ref_mode: "),
        ("hevc", r#"{"options":{"lookahead_level":"2"}}"#, "video.options.lookahead_level: needs"),
        ("h264", r#"{"options":{"qmin":"30","qmax":"20"}}"#, "video.options.qmin: "),
        ("h264", r#"{"options":{"cbr_padding":"1"}}"#, "video.options.cbr_padding: "),
        (
            "h264",
            r#"{"options":{"single-slice-intra-refresh":"1"}}"#,
            "video.options.single-slice-intra-refresh: ",
        ),
        ("h264", r#"{"crf":52}"#, "video.crf: "),
        ("h264", r#"{"two_pass":true,"bitrate":"1M"}"#, "video.two_pass: "),
    ] {
        let e = configure(codec, "nv12", json).expect_err(json);
        assert!(e.message().starts_with(begins), "{json}: {e}");
    }
}

#[test]
fn what_a_device_lacks_is_refused_by_name() {
    let small = gtx_1650();
    for (codec, pixels, json, begins) in [
        ("hevc", "nv12", r#"{"b_frames":2}"#, "video.b_frames: "),
        ("h264", "nv12", r#"{"b_frames":3,"options":{"b_ref_mode":"middle"}}"#, "video.options.b_ref_mode: "),
        ("h264", "p010le", r#"{"profile":"high10"}"#, "video.bit_depth: "),
        ("h264", "nv16", r#"{"profile":"high422"}"#, "video.pixel_format: "),
        ("hevc", "nv12", r#"{"options":{"tune":"uhq"}}"#, "video.tune: "),
        ("hevc", "nv12", r#"{"lookahead":8,"options":{"lookahead_level":"1"}}"#, "video.lookahead: "),
        (
            "h264",
            "nv12",
            r#"{"b_frames":2,"options":{"weighted_pred":"1"}}"#,
            "video.options.weighted_pred: ",
        ),
        ("hevc", "nv12", r#"{"options":{"coder":"cabac"}}"#, "video.options.coder: "),
        ("h264", "nv12", r#"{"options":{"tier":"high"}}"#, "video.options.tier: "),
        ("hevc", "yuv444p", r#"{"profile":"main"}"#, "video.profile: "),
        ("h264", "nv12", r#"{"options":{"split_encode_mode":"2"}}"#, "video.options.split_encode_mode: "),
        ("hevc", "nv12", r#"{"options":{"tf_level":"4"}}"#, "video.options.tf_level: "),
        // What a driver would only call an invalid parameter.
        ("h264", "nv12", r#"{"lookahead":32}"#, "video.lookahead: 31 pictures are the most, not 32"),
        (
            "h264",
            "nv12",
            r#"{"lookahead":29,"b_frames":3}"#,
            "video.lookahead: 28 pictures are the most with 3 B pictures",
        ),
        (
            "h264",
            "nv12",
            r#"{"level":"3.1"}"#,
            "video.level: 3.1 allows pictures of 3600 macroblocks; 1920x1080 has 8160",
        ),
        ("h264", "nv12", r#"{"level":"4.3"}"#, "video.level: h264 on this device has no such level"),
        ("hevc", "nv12", r#"{"level":"3.1"}"#, "video.level: 3.1 allows pictures of 983040 samples"),
        (
            "h264",
            "nv12",
            r#"{"level":"4.1","bitrate":"50M","max_bitrate":"63M"}"#,
            "video.level: 4.1 allows 62500000 bits a second, not 63000000",
        ),
        (
            "hevc",
            "nv12",
            r#"{"level":"4.1","bitrate":"21M","cbr":true}"#,
            "video.level: 4.1 allows 20000000 bits a second in the main tier, not 21000000",
        ),
        ("h264", "nv12", r#"{"profile":"baseline","options":{"coder":"cabac"}}"#, "video.options.coder: "),
    ] {
        refused(&small, codec, pixels, json, begins);
    }
    let config = configure("av1", "nv12", "{}").unwrap();
    assert_eq!(check(&config, &small, None).unwrap_err().message(), "GTX 1650 does not encode av1");
    assert_eq!(
        check(&config, &h200(), None).unwrap_err().message(),
        "H200 does not encode: it has no encoder"
    );

    let ada = rtx_4090();
    refused(&ada, "av1", "yuv444p", "{}", "video.pixel_format: ");
    refused(
        &ada,
        "av1",
        "nv12",
        r#"{"options":{"split_encode_mode":"3"}}"#,
        "video.options.split_encode_mode: ",
    );
    refused(&ada, "h264", "nv16", r#"{"profile":"high422"}"#, "video.pixel_format: ");
    for (json, begins) in [
        (
            r#"{"b_frames":3,"options":{"tf_level":"4"}}"#,
            "video.options.tf_level: it needs 4 B pictures or more",
        ),
        (
            r#"{"gop":4,"options":{"tf_level":"4"}}"#,
            "video.options.tf_level: it needs 4 B pictures, for which",
        ),
        (
            r#"{"lookahead":28,"options":{"tf_level":"4"}}"#,
            "video.lookahead: 27 pictures are the most with 4 B pictures",
        ),
        (r#"{"options":{"weighted_pred":"1","tf_level":"4"}}"#, "video.options.weighted_pred: "),
        (r#"{"options":{"weighted_pred":"1","split_encode_mode":"2"}}"#, "video.options.weighted_pred: "),
    ] {
        let able = with(&ada, "RTX 4090", 2, |_, caps| caps.weighted_prediction = 1);
        refused(&able, "hevc", "nv12", json, begins);
    }
    // The rate of the pictures counts, where it is known.
    let wanted = |rate| {
        let spec: VideoSpec = serde_json::from_str(r#"{"level":"4.0"}"#).unwrap();
        let codec = Codec::H264;
        let (encoder, size, format) = ("h264_nvenc", (1920, 1080), None);
        let wanted = Wanted { codec: &codec, encoder, spec: &spec, format, size, rate: Some(rate) };
        fits(&wanted, &[rtx_4090()])
    };
    wanted(Rational::new(30, 1)).unwrap();
    let e = wanted(Rational::new(60, 1)).unwrap_err();
    assert!(e.message().starts_with("video.level: 4 allows 245760 macroblocks a second"), "{e}");
    refused(
        &ada,
        "av1",
        "nv12",
        r#"{"level":"4.0","crf":30,"max_bitrate":"31M","options":{"tier":"high"}}"#,
        "video.level: 4 allows 30000000 bits a second in the high tier, not 31000000",
    );
    refused(&ada, "av1", "nv12", r#"{"options":{"aud":"1"}}"#, "video.options.aud: ");
    let eight_k = configure("hevc", "p010le", r#"{"b_frames":5,"lookahead":16}"#).unwrap();
    check(&eight_k, &ada, Some((7680, 4320))).unwrap();

    let blackwell = rtx_5090();
    for (codec, pixels, json) in [
        ("h264", "p010le", r#"{"profile":"high10"}"#),
        ("h264", "nv16", r#"{"profile":"high422"}"#),
        ("hevc", "p210le", r#"{"profile":"main422-10"}"#),
        ("hevc", "yuv444p10le", r#"{"profile":"main444-10"}"#),
        ("av1", "p010le", r#"{"b_frames":7,"options":{"split_encode_mode":"3"}}"#),
    ] {
        check(&configure(codec, pixels, json).unwrap(), &blackwell, Some((3840, 2160))).unwrap();
    }
    // The same device behind an older driver.
    let old = Gpu { api: Some(ApiVersion::OLDEST), ..rtx_5090() };
    let e = check(&configure("h264", "p010le", "{}").unwrap(), &old, None).unwrap_err();
    assert!(e.message().starts_with("video.bit_depth: ") && e.message().contains("13.0"), "{e}");
    let wide = configure("h264", "nv12", "{}").unwrap();
    let e = check(&wide, &blackwell, Some((7680, 4320))).unwrap_err();
    assert!(e.message().starts_with("video.height: ") || e.message().starts_with("video.width: "), "{e}");
    let e = check(&wide, &blackwell, Some((160, 32))).unwrap_err();
    assert!(e.message().starts_with("video.height: "), "{e}");
}
