use super::*;
use crate::ErrorKind;
use crate::spec::Bitrate;

fn spec(json: &str) -> VideoSpec {
    serde_json::from_str(json).unwrap()
}

fn request<'a>(encoder: &'a str, spec: &'a VideoSpec) -> Request<'a> {
    Request {
        encoder,
        spec,
        grid: false,
        interval: None,
        depth: spec.bit_depth.unwrap_or(if encoder == "prores_ks" { 10 } else { 8 }),
        colour: Colour::default(),
        hdr: HdrMetadata::default(),
        threads: 0,
        pass: None,
    }
}

fn settings(encoder: &str, json: &str) -> Settings {
    let spec = spec(json);
    map(&request(encoder, &spec)).unwrap_or_else(|e| panic!("{encoder} {json}: {e}"))
}

fn refused(encoder: &str, json: &str, field: &str) -> Error {
    let spec = spec(json);
    let e = map(&request(encoder, &spec)).expect_err(&format!("{encoder} {json}"));
    assert!(e.message().starts_with(&format!("video.{field}: ")), "{encoder} {json}: {e}");
    e
}

fn option<'a>(s: &'a Settings, key: &str) -> Option<&'a str> {
    s.options.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
}

#[test]
fn nothing_said_means_the_default_quality_and_the_middle_preset() {
    for (encoder, crf, preset) in [
        ("libx264", "23", ("preset", "medium")),
        ("libx265", "26", ("preset", "medium")),
        ("libsvtav1", "32", ("preset", "8")),
        ("libaom-av1", "30", ("cpu-used", "5")),
        ("libvpx-vp9", "32", ("cpu-used", "4")),
    ] {
        let s = settings(encoder, "{}");
        assert_eq!((option(&s, "crf"), option(&s, preset.0)), (Some(crf), Some(preset.1)), "{encoder}");
        assert_eq!(s.bit_rate, Some(0), "{encoder}");
    }
    assert_eq!(option(&settings("h264_nvenc", "{}"), "cq"), Some("23"));
    assert_eq!(option(&settings("h264_vulkan", "{}"), "qp"), Some("26"));
    assert_eq!(settings("mpeg4", "{}").quality, Some(472));
    assert_eq!(settings("ffv1", "{}").summary, "lossless");
}

#[test]
fn presets_rise_from_fast_to_slow() {
    assert_eq!(option(&settings("libx264", r#"{"preset":"p1"}"#), "preset"), Some("ultrafast"));
    assert_eq!(option(&settings("libx264", r#"{"preset":"p7"}"#), "preset"), Some("veryslow"));
    assert_eq!(option(&settings("hevc_nvenc", r#"{"preset":"p6"}"#), "preset"), Some("p6"));
    refused("ffv1", r#"{"preset":"p1"}"#, "preset");
}

#[test]
fn rates_peaks_and_buffers() {
    let s = settings("libx264", r#"{"bitrate":"2M","max_bitrate":"3M"}"#);
    assert_eq!((s.bit_rate, s.max_rate, s.buffer), (Some(2_000_000), Some(3_000_000), Some(3_000_000)));
    assert!(s.live && s.live_by_restart, "x264 keeps an average rate");
    let s = settings("libx264", r#"{"bitrate":"2M","cbr":true}"#);
    assert!(s.live && !s.live_by_restart);
    let s = settings("libx265", r#"{"crf":22.5,"max_bitrate":"3M","buffer":"6M"}"#);
    assert_eq!((option(&s, "crf"), s.bit_rate, s.buffer), (Some("22.5"), Some(0), Some(6_000_000)));
    let s = settings("libsvtav1", r#"{"bitrate":"2M","max_bitrate":"3M"}"#);
    assert_eq!(s.max_rate, None);
    assert_eq!(option(&s, "svtav1-params"), Some("rc=1:maxsection-pct=150"));
    assert_eq!(s.notes.len(), 1);
    let s = settings("libvpx-vp9", r#"{"bitrate":"2M","cbr":true}"#);
    assert_eq!((option(&s, "minrate"), s.max_rate), (Some("2000000"), Some(2_000_000)));
    let s = settings("libsvtav1", r#"{"bitrate":"2M","cbr":true}"#);
    assert_eq!((s.max_rate, option(&s, "svtav1-params")), (None, Some("rc=2:pred-struct=1")));
    assert!(!s.can_force);
    // In low delay the average is SVT-AV1's to refuse; then it is constant, and the plan says so.
    let s = settings("libsvtav1", r#"{"bitrate":"2M","max_bitrate":"3M","tune":"ll"}"#);
    if super::super::svt::averages_in_low_delay() {
        assert_eq!(option(&s, "svtav1-params"), Some("pred-struct=1:rc=1:maxsection-pct=150"));
    } else {
        assert_eq!(option(&s, "svtav1-params"), Some("pred-struct=1:rc=2"));
        assert_eq!((s.buffer, s.summary.as_str()), (Some(2_000_000), "constant 2M bit/s"));
        assert!(s.notes.len() == 1 && s.notes[0].contains("constant"), "{:?}", s.notes);
    }
    let s = settings("h264_nvenc", r#"{"bitrate":"2M","cbr":true}"#);
    assert_eq!((option(&s, "rc"), s.buffer), (Some("cbr"), Some(2_000_000)));
    refused("mjpeg", r#"{"bitrate":"2M","cbr":true}"#, "cbr");
    refused("mjpeg", r#"{"bitrate":"2M","max_bitrate":"3M"}"#, "max_bitrate");
    refused("h264_amf", r#"{"crf":20,"max_bitrate":"3M"}"#, "max_bitrate");
    assert_eq!(refused("libx264", r#"{"crf":20,"bitrate":"3M"}"#, "bitrate").kind(), ErrorKind::Invalid);
    refused("prores_ks", r#"{"bitrate":"3M"}"#, "bitrate");
    refused("libx264", r#"{"qp":20,"max_bitrate":"3M"}"#, "max_bitrate");
}

#[test]
fn quality_scales_are_the_encoders_own() {
    refused("libx264", r#"{"crf":52}"#, "crf");
    refused("libsvtav1", r#"{"crf":30.5}"#, "crf");
    refused("prores_ks", r#"{"crf":3}"#, "crf");
    assert_eq!(settings("mpeg4", r#"{"crf":2.5}"#).quality, Some(295));
    let s = settings("libaom-av1", r#"{"qp":20}"#);
    assert_eq!(
        (option(&s, "qmin"), option(&s, "qmax"), option(&s, "crf")),
        (Some("20"), Some("20"), Some("20"))
    );
    let s = settings("h264_amf", r#"{"qp":20}"#);
    assert_eq!((option(&s, "qp_b"), option(&s, "rc")), (Some("20"), Some("cqp")));
}

#[test]
fn lossless_is_exact_or_refused() {
    assert_eq!(option(&settings("libx264", r#"{"lossless":true}"#), "qp"), Some("0"));
    assert!(
        option(&settings("libx265", r#"{"tune":"lossless"}"#), "x265-params").unwrap().contains("lossless=1")
    );
    assert_eq!(option(&settings("libvpx-vp9", r#"{"lossless":true}"#), "lossless"), Some("1"));
    for encoder in ["libsvtav1", "libvpx", "mjpeg", "h264_vaapi", "h264_qsv", "av1_nvenc", "prores_ks"] {
        assert_eq!(refused(encoder, r#"{"lossless":true}"#, "lossless").kind(), ErrorKind::Unsupported);
    }
    refused("libx264", r#"{"lossless":true,"profile":"high"}"#, "profile");
    refused("libx264", r#"{"tune":"lossless","crf":3}"#, "crf");
}

#[test]
fn two_passes_know_where_their_statistics_are() {
    let spec = spec(r#"{"bitrate":"1M","two_pass":true}"#);
    let pass = |encoder| map(&Request { pass: Some((2, "/tmp/a:b/stats")), ..request(encoder, &spec) });
    let s = pass("libx264").unwrap();
    assert_eq!((option(&s, "stats"), s.pass), (Some("/tmp/a:b/stats"), Some(2)));
    let s = pass("libx265").unwrap();
    assert!(option(&s, "x265-params").unwrap().contains("stats=/tmp/a\\:b/stats:pass=2"));
    assert_eq!(pass("libvpx-vp9").unwrap().pass, Some(2));
    for encoder in ["libsvtav1", "h264_nvenc", "h264_vaapi", "mpeg4"] {
        assert!(pass(encoder).unwrap_err().message().starts_with("video.two_pass: "));
        refused(encoder, r#"{"bitrate":"1M","two_pass":true}"#, "two_pass");
    }
}

#[test]
fn structure_profile_and_level() {
    let json = r#"{"gop":50,"b_frames":2,"lookahead":20,"profile":"main","level":"4.0"}"#;
    let s = settings("libx264", json);
    assert_eq!((s.gop, s.b_frames, option(&s, "level")), (Some(50), Some(2), Some("4")));
    assert_eq!((option(&s, "profile"), option(&s, "rc-lookahead")), (Some("main"), Some("20")));
    assert!(
        option(&settings("libsvtav1", r#"{"level":"4.1"}"#), "svtav1-params").unwrap().contains("level=41")
    );
    let fastest = |profile: &str| {
        let json = format!(r#"{{"preset":"p1","profile":"{profile}"}}"#);
        option(&settings("libx264", &json), "x264-params").map(String::from)
    };
    assert!(fastest("high").unwrap().contains("cabac=1:8x8dct=1"), "ultrafast has neither");
    assert!(!fastest("baseline").unwrap().contains("cabac"));
    refused("libx264", r#"{"profile":"main10"}"#, "profile");
    refused("libx264", r#"{"profile":"high","bit_depth":10}"#, "profile");
    refused("libx264", r#"{"bit_depth":12}"#, "bit_depth");
    refused("libx264", r#"{"profile":"baseline","b_frames":2}"#, "b_frames");
    refused("libx264", r#"{"tune":"ll","b_frames":2}"#, "b_frames");
    refused("libx264", r#"{"level":"high"}"#, "level");
    refused("libsvtav1", r#"{"b_frames":3}"#, "b_frames");
    refused("h264_vaapi", r#"{"lookahead":3}"#, "lookahead");
    refused("ffv1", r#"{"gop":10}"#, "gop");
    refused("libaom-av1", r#"{"level":"4.1"}"#, "level");
    assert_eq!(settings("libx264", r#"{"tune":"ull"}"#).b_frames, Some(0));
    let s = settings("libx264", r#"{"tune":"ll","lookahead":20}"#);
    assert_eq!(option(&s, "rc-lookahead"), Some("20"), "what was said goes before what the tuning brings");
}

#[test]
fn a_grid_leaves_key_frames_to_the_grid() {
    let spec = spec("{}");
    let grid = |encoder| map(&Request { grid: true, ..request(encoder, &spec) }).unwrap();
    let s = grid("libx264");
    assert_eq!((s.gop, s.closed_gop, option(&s, "sc_threshold")), (Some(NO_LIMIT), true, Some("0")));
    assert!(option(&grid("libx265"), "x265-params").unwrap().contains("scenecut=0"));
    assert_eq!(option(&grid("libvpx-vp9"), "keyint_min"), Some("60000"));
    assert!(option(&grid("libsvtav1"), "svtav1-params").unwrap().contains("enable-force-key-frames=1"));
    assert!(!grid("libaom-av1").can_force);
    let twice = self::spec(r#"{"bitrate":"1M","two_pass":true}"#);
    let s = map(&Request { grid: true, ..request("libaom-av1", &twice) }).unwrap();
    assert!(s.notes.iter().any(|n| n.contains("each stretch")), "{:?}", s.notes);
    assert_eq!(option(&grid("h264_nvenc"), "no-scenecut"), Some("1"));
    // FFmpeg's own do not open with the flag where scene cuts are not switched off.
    assert!(grid("mpeg2video").closed_gop && !grid("mjpeg").closed_gop && !grid("mpeg1video").closed_gop);
}

#[test]
fn x265_looks_further_than_it_has_b_frames() {
    refused("libx265", r#"{"lookahead":4}"#, "lookahead");
    refused("libx265", r#"{"preset":"p6","lookahead":8}"#, "lookahead");
    let params =
        |json: &str| option(&settings("libx265", json), "x265-params").unwrap_or_default().to_string();
    assert!(params(r#"{"lookahead":5}"#).contains("rc-lookahead=5"));
    // Without B-frames it need not look ahead at all.
    for json in [r#"{"b_frames":0,"lookahead":0}"#, r#"{"tune":"ull","lookahead":0}"#] {
        assert!(params(json).contains("rc-lookahead=0"), "{json}");
    }
    assert!(params(r#"{"b_frames":0,"lookahead":1}"#).contains("rc-lookahead=1"));
    // In the encoder's own words it is x265 who judges.
    for json in [
        r#"{"lookahead":2,"options":{"x265-params":"bframes=0"}}"#,
        r#"{"lookahead":2,"options":{"bf":"0"}}"#,
    ] {
        assert!(params(json).contains("rc-lookahead=2"), "{json}");
    }
    refused(
        "libx265",
        r#"{"lookahead":4,"options":{"x265-params":"lookahead-slices=2:ref=2"}}"#,
        "lookahead",
    );
    // A preset that looks no further than the B-frames that are asked for.
    assert!(params(r#"{"preset":"p1","b_frames":8}"#).contains("rc-lookahead=9"));
    assert!(!params(r#"{"preset":"p4","b_frames":8}"#).contains("rc-lookahead"));
}

#[test]
fn options_come_last_and_join_the_librarys_own() {
    let json = r#"{"preset":"p1","options":{"preset":"fast","x264opts":"open-gop=1:aq-mode=3"}}"#;
    let s = settings("libx264", json);
    assert_eq!(option(&s, "preset"), Some("fast"));
    assert_eq!(option(&s, "x264-params"), Some("open-gop=1:aq-mode=3"));
    assert_eq!(split_params(r"a=1:b=x\:y"), ["a=1", r"b=x\:y"]);
}

#[test]
fn hdr_metadata_in_each_encoders_units() {
    let spec = spec(r#"{"bit_depth":10}"#);
    let hdr = HdrMetadata {
        mastering: Some(MasteringDisplay {
            primaries: [[0.68, 0.32], [0.265, 0.69], [0.15, 0.06]],
            white: [0.3127, 0.329],
            min_luminance: 0.0001,
            max_luminance: 1000.0,
        }),
        content_light: Some(crate::frame::ContentLight { max_content: 1000, max_average: 400 }),
        ..HdrMetadata::default()
    };
    let pq = Colour { primaries: 9, transfer: 16, matrix: 9, ..Colour::default() };
    let params = |encoder, key: &str| {
        let s = map(&Request { hdr, colour: pq, ..request(encoder, &spec) }).unwrap();
        option(&s, key).unwrap().to_string()
    };
    let x265 = params("libx265", "x265-params");
    for part in [
        "hdr10=1",
        "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)",
        "max-cll=1000,400",
    ] {
        assert!(x265.contains(part), "{x265}");
    }
    assert!(params("libsvtav1", "svtav1-params").contains("content-light=1000,400"));
    let sdr = map(&Request { hdr, ..request("libx265", &spec) }).unwrap();
    assert!(!option(&sdr, "x265-params").unwrap().contains("max-cll"), "SDR carries no HDR metadata");
}

#[test]
fn an_encoder_without_a_table_takes_rate_and_options_only() {
    let s = settings("librav1e", r#"{"bitrate":"1M","options":{"speed":"10"}}"#);
    assert_eq!((s.bit_rate, option(&s, "speed")), (Some(Bitrate(1_000_000).0), Some("10")));
    refused("librav1e", r#"{"preset":"p1"}"#, "preset");
    refused("librav1e", r#"{"crf":10}"#, "crf");
}
