use super::*;
use crate::encode::{Pass, PassLog};
use crate::spec::Preset;
use crate::stage::Control;
use crate::{Error, ErrorKind};

const ALL: &[&str] = &[
    "libx264",
    "libx265",
    "libsvtav1",
    "libaom-av1",
    "libvpx-vp9",
    "libvpx",
    "ffv1",
    "rawvideo",
    "mjpeg",
    "mpeg4",
    "mpeg2video",
    "prores_ks",
];

#[test]
fn every_software_encoder_gives_every_frame_back_in_time() {
    for name in available(ALL) {
        let clip = Clip::constant(30, 30000, 1001);
        let clip = if name == "prores_ks" { clip.format("yuv422p10le") } else { clip };
        let mut clip = clip;
        if name == "mjpeg" {
            clip.colour.range = crate::frame::ColourRange::Full;
        }
        let encoded = encode(&clip, name, "{}");
        assert_eq!(encoded.packets.len(), 30, "{name}");
        assert!(encoded.packets[0].key, "{name}");
        let mut last = None;
        for p in &encoded.packets {
            let (pts, dts) = (p.pts.unwrap(), p.dts.unwrap());
            assert!(dts <= pts && last.is_none_or(|l| dts > l), "{name}: dts {dts} pts {pts} after {last:?}");
            let duration = crate::time::Timestamp::new(p.duration, p.base);
            assert_eq!(duration, crate::time::Timestamp::new(1001, Rational::new(1, 30000)), "{name}");
            last = Some(dts);
        }
        let video = encoded.stream.video.as_ref().unwrap();
        assert_eq!((video.width, video.height, video.format), (320, 180, Some(clip.format)), "{name}");
        let decoded = encoded.decode();
        assert_eq!(decoded.len(), 30, "{name}");
        for (n, frame) in decoded.iter().enumerate() {
            let time = crate::time::Timestamp::new(frame.pts().unwrap(), encoded.stream.time_base);
            assert_eq!(time, clip.frame(n).presentation().unwrap(), "{name}");
        }
        if clip.format == decoded[0].format() {
            let quality = psnr(&clip, &decoded);
            assert!(quality > 28.0, "{name}: {quality} dB");
        }
    }
}

#[test]
fn a_lower_crf_is_better_and_larger() {
    for name in available(&["libx264", "libx265", "libsvtav1", "libaom-av1", "libvpx-vp9", "mpeg4", "mjpeg"])
    {
        let mut clip = Clip::constant(20, 25, 1);
        clip.content = Content::Gradient;
        let scale = crate::encode::presets::table(name).unwrap().crf.unwrap();
        let (low, high) = (*scale.range.start() + 1.0, *scale.range.end() - 4.0);
        let fine = encode(&clip, name, &format!(r#"{{"crf":{}}}"#, low.round().max(2.0)));
        let coarse = encode(&clip, name, &format!(r#"{{"crf":{}}}"#, high.round()));
        assert!(fine.bytes() > coarse.bytes() * 5 / 4, "{name}: {} {}", fine.bytes(), coarse.bytes());
        if name != "mjpeg" {
            assert!(psnr(&clip, &fine.decode()) > psnr(&clip, &coarse.decode()), "{name}");
        }
    }
}

#[test]
fn constant_bit_rate_holds_on_noise() {
    for name in available(&["libx264", "libx265", "libvpx-vp9", "libaom-av1", "libsvtav1", "mpeg2video"]) {
        let clip = Clip::constant(if name == "libaom-av1" { 50 } else { 100 }, 25, 1).noise();
        // Noise at its coarsest quantiser needs a floor that differs per codec.
        let target = if name == "libaom-av1" { 8_000_000 } else { 3_000_000 };
        let encoded = encode(&clip, name, &format!(r#"{{"bitrate":{target},"cbr":true,"buffer":1000000}}"#));
        let off = encoded.rate(&clip) / f64::from(target);
        assert!((0.8..1.2).contains(&off), "{name}: {off} of the target");
    }
}

#[test]
fn average_bit_rate_is_honoured_in_one_pass_and_two() {
    let clip = Clip::constant(100, 25, 1).noise();
    for name in available(&["libx264", "libx265", "libvpx-vp9"]) {
        let log = PassLog::new().unwrap();
        let json = r#"{"bitrate":2500000,"two_pass":true}"#;
        let pass = |pass| {
            let config = config(name, json);
            run(&clip, VideoEncode { frame_rate: Some(Rational::new(25, 1)), pass: Some(pass), ..config })
        };
        pass(Pass::First(log.clone()));
        let directory = log.file().parent().unwrap().to_path_buf();
        let written = std::fs::read_dir(&directory).unwrap().count();
        assert!(written > 0 || log.get(0).is_some_and(|s| !s.is_empty()), "{name} left statistics");
        let second = pass(Pass::Second(log));
        let off = second.rate(&clip) / 2_500_000.0;
        assert!((0.8..1.2).contains(&off), "{name}: {off} of the target in two passes");
        assert!(!directory.exists(), "{name}: statistics are removed");
    }
}

#[test]
fn a_constant_quantiser_is_what_the_encoder_says() {
    let clip = Clip::constant(10, 25, 1);
    let text = |e: &Encoded| {
        let mut all = e.stream.extradata.to_vec();
        all.extend_from_slice(&e.packets[0].data);
        String::from_utf8_lossy(&all).into_owned()
    };
    let x264 = encode(&clip, "libx264", r#"{"qp":31}"#);
    assert!(text(&x264).contains("rc=cqp") && text(&x264).contains("qp=31"), "the settings stand in its SEI");
    for name in available(&["libx265", "libsvtav1", "libaom-av1", "libvpx-vp9"]) {
        let low = encode(&clip, name, r#"{"qp":15}"#);
        let high = encode(&clip, name, r#"{"qp":45}"#);
        assert!(low.bytes() > high.bytes(), "{name}");
        assert!(psnr(&clip, &low.decode()) > psnr(&clip, &high.decode()), "{name}");
    }
}

#[test]
fn x264s_quantisers_come_with_their_pictures() {
    let clip = Clip::constant(30, 25, 1);
    for threads in [1, 2, 3] {
        // Pictures 6 to 11 have another one, whoever codes them.
        let spec = r#"{"qp":30,"b_frames":0,"options":{"x264-params":"zones=6,11,q=33"}}"#;
        let mut config = config("libx264", spec);
        (config.spec.threads, config.frame_rate) = (threads, Some(rate_of(&clip)));
        let coded = run(&clip, config);
        let told: Vec<Option<f32>> = coded.packets.iter().map(|p| p.coding.and_then(|c| c.qp)).collect();
        for (n, qp) in told.iter().enumerate() {
            let wanted = match n {
                // x264 tells those of its first pictures with none.
                n if n < threads as usize - 1 => None,
                6..=11 => Some(33.0),
                0 => Some(27.0),
                _ => Some(30.0),
            };
            assert_eq!(*qp, wanted, "picture {n} of {told:?} by {threads} threads");
        }
    }
}

#[test]
fn lossless_means_every_bit() {
    let cases: &[(&str, &str)] = &[
        ("libx264", "yuv420p"),
        ("libx264", "yuv420p10le"),
        ("libx264", "yuv444p"),
        ("libx265", "yuv420p"),
        ("libx265", "yuv420p10le"),
        ("libvpx-vp9", "yuv420p"),
        ("libaom-av1", "yuv420p"),
        ("ffv1", "yuv420p"),
        ("ffv1", "yuv422p10le"),
        ("ffv1", "gbrp10le"),
        ("rawvideo", "nv12"),
    ];
    for (name, format) in cases {
        if available(&[name]).next().is_none() {
            continue;
        }
        let clip = Clip::constant(6, 25, 1).format(format).noise();
        let encoded = encode(&clip, name, r#"{"lossless":true}"#);
        let decoded = encoded.decode();
        assert_eq!(decoded.len(), 6, "{name} {format}");
        for (n, frame) in decoded.iter().enumerate() {
            assert_eq!(frame.format(), clip.format, "{name}");
            assert!(packed(clip.frame(n).media()) == packed(frame), "{name} {format}: frame {n} differs");
        }
    }
}

#[test]
fn ten_bits_stay_ten_bits() {
    for (name, json) in [
        ("libx264", r#"{"profile":"high10","bit_depth":10}"#),
        ("libx265", r#"{"profile":"main10"}"#),
        ("libsvtav1", r#"{"bit_depth":10}"#),
        ("libaom-av1", r#"{"bit_depth":10}"#),
        ("libvpx-vp9", r#"{"profile":"profile2"}"#),
    ] {
        if available(&[name]).next().is_none() {
            continue;
        }
        let spec: VideoSpec = serde_json::from_str(json).unwrap();
        let format =
            crate::encode::format::input_format(name, &spec, Some(PixelFormat::yuv420p10())).unwrap();
        assert_eq!(format, PixelFormat::yuv420p10(), "{name}");
        let clip = Clip::constant(8, 25, 1).format("yuv420p10le");
        let decoded = encode(&clip, name, json).decode();
        assert_eq!((decoded.len(), decoded[0].format()), (8, PixelFormat::yuv420p10()), "{name}");
        assert!(psnr(&clip, &decoded) > 10.0);
    }
}

#[test]
fn the_format_follows_source_profile_and_codec() {
    let format = |encoder: &str, json: &str, source: &str| {
        let spec: VideoSpec = serde_json::from_str(json).unwrap();
        crate::encode::format::input_format(encoder, &spec, PixelFormat::from_name(source))
            .map(PixelFormat::name)
    };
    assert_eq!(format("libx264", "{}", "yuv420p10le").unwrap(), "yuv420p", "H.264 in 10 bits plays nowhere");
    assert_eq!(format("libx265", "{}", "yuv420p10le").unwrap(), "yuv420p10le");
    assert_eq!(format("libx265", "{}", "yuv444p").unwrap(), "yuv420p");
    assert_eq!(format("libx265", r#"{"bit_depth":8}"#, "yuv420p10le").unwrap(), "yuv420p");
    assert_eq!(format("libx264", r#"{"profile":"high422"}"#, "yuv422p10le").unwrap(), "yuv422p10le");
    assert_eq!(format("libx264", r#"{"lossless":true}"#, "yuv444p").unwrap(), "yuv444p");
    assert_eq!(format("prores_ks", "{}", "yuv420p").unwrap(), "yuv422p10le");
    assert_eq!(format("prores_ks", r#"{"profile":"4444"}"#, "yuv420p").unwrap(), "yuv444p10le");
    assert_eq!(format("ffv1", "{}", "gbrp10le").unwrap(), "gbrp10le");
    assert_eq!(format("libx264", r#"{"pixel_format":"nv12"}"#, "yuv420p").unwrap(), "nv12");
    for json in [r#"{"pixel_format":"yuv411p"}"#, r#"{"pixel_format":"nope"}"#] {
        assert!(
            format("libx264", json, "yuv420p").unwrap_err().message().starts_with("video.pixel_format: ")
        );
    }
    // A profile that does not hold what is asked for besides.
    for (encoder, json) in [
        ("libx264", r#"{"profile":"high","pixel_format":"yuv444p"}"#),
        ("libx264", r#"{"profile":"high","bit_depth":10}"#),
        ("libx265", r#"{"profile":"main","pixel_format":"yuv422p"}"#),
        ("libvpx-vp9", r#"{"profile":"profile0","pixel_format":"yuv444p"}"#),
        ("libvpx-vp9", r#"{"profile":"profile1","pixel_format":"yuv420p"}"#),
        ("libvpx-vp9", r#"{"profile":"profile2","bit_depth":8}"#),
        ("libvpx-vp9", r#"{"profile":"profile0","bit_depth":10}"#),
    ] {
        let e = format(encoder, json, "yuv420p").expect_err(json);
        assert_eq!(e.kind(), ErrorKind::Unsupported);
        assert!(e.message().starts_with("video.profile: "), "{json}: {e}");
    }
    for (json, made) in [
        (r#"{"profile":"profile1"}"#, "yuv444p"),
        (r#"{"profile":"profile2"}"#, "yuv420p10le"),
        (r#"{"profile":"profile3","bit_depth":12}"#, "yuv444p12le"),
        (r#"{"profile":"profile1","pixel_format":"yuv440p"}"#, "yuv440p"),
    ] {
        assert_eq!(format("libvpx-vp9", json, "yuv420p").unwrap(), made);
    }
    // NVENC's semi-planar formats, and 16 bits of which it takes 10, are made as what every FFmpeg makes.
    for (named, made) in
        [("nv16", "yuv422p"), ("p210le", "yuv422p10le"), ("yuv444p16le", "yuv444p10le"), ("nv12", "nv12")]
    {
        let json = format!(r#"{{"pixel_format":"{named}"}}"#);
        assert_eq!(format("hevc_nvenc", &json, "yuv420p").unwrap(), made);
        let lossless = format("hevc_nvenc", r#"{"lossless":true}"#, named).unwrap();
        assert_eq!(lossless, made, "{named}");
    }
    let untouched = |source: &str| {
        let named = |name: &str| PixelFormat::from_name(name).unwrap();
        crate::encode::format::untouched("libx264", named("yuv420p"), named(source)).name()
    };
    assert_eq!(untouched("nv12"), "nv12");
    for other in ["yuv420p", "nv16", "p010le", "rgb24", "yuvj420p"] {
        assert_eq!(untouched(other), "yuv420p", "{other}");
    }
    if av::has_encoder("hevc_vaapi") {
        assert_eq!(format("hevc_vaapi", "{}", "yuv420p10le").unwrap(), "p010le");
        assert_eq!(format("h264_vaapi", "{}", "yuv420p10le").unwrap(), "nv12");
    }
}

#[test]
fn fine_bases_have_the_times_of_coarse_ones() {
    for (num, den, fine) in [
        (1, 25, (1, 90_000)),
        (1, 24, (1, 90_000)),
        (1001, 30_000, (1, 90_000)),
        (1001, 24_000, (1, 96_000)),
        (1, 1, (1, 90_000)),
        (1, 1000, (1, 1000)),
        (1, 12_800, (1, 12_800)),
        (1, 1_000_000, (1, 1_000_000)),
    ] {
        let base = crate::encode::video::fine_base(Rational::new(num, den));
        assert_eq!((base.num, base.den), fine, "{num}/{den}");
        let again = crate::encode::video::fine_base(base);
        assert_eq!(again, base, "it stays");
        let ticks = f64::from(num) / f64::from(den) / base.as_f64();
        assert!((ticks - ticks.round()).abs() < 1e-9, "{num}/{den}: {ticks}");
    }
}

#[test]
fn profile_and_level_are_in_the_stream() {
    let clip = Clip::constant(6, 25, 1);
    let e = encode(&clip, "libx264", r#"{"profile":"main","level":"3.1","preset":"p4"}"#);
    assert_eq!((e.stream.profile, e.stream.level), (Some(77), Some(31)));
    let probed = e.probe(&["-show_streams"]);
    assert_eq!(
        (&probed["streams"][0]["profile"], &probed["streams"][0]["level"]),
        (&"Main".into(), &31.into())
    );
    let e = encode(&clip, "libx264", r#"{"profile":"baseline"}"#);
    assert_eq!(e.stream.profile.map(|p| p & 0xff), Some(66));
    let e = encode(&clip.clone().format("yuv420p10le"), "libx265", r#"{"profile":"main10","level":"4.0"}"#);
    assert_eq!((e.stream.profile, e.stream.level), (Some(2), Some(120)));
}

#[test]
fn a_forced_key_frame_lands_on_the_next_frame() {
    for name in available(ALL) {
        let clip = Clip::constant(24, 25, 1);
        let clip = if name == "prores_ks" { clip.format("yuv422p10le") } else { clip };
        let mut encoder =
            VideoEncoder::new(VideoEncode { frame_rate: Some(rate_of(&clip)), ..config(name, "{}") })
                .unwrap();
        let mut packets = Vec::new();
        for (n, mut frame) in clip.frames().enumerate() {
            if n == 7 {
                encoder.control(&Control::ForceKeyFrame).unwrap();
            }
            frame.force_key = n == 17;
            encoder.push(frame, &mut packets).unwrap();
        }
        encoder.finish(&mut packets).unwrap();
        assert_eq!(packets.len(), 24, "{name}");
        for n in [0, 7, 17] {
            assert!(packets.iter().any(|p| p.pts == Some(n) && p.key), "{name}: frame {n}");
        }
        let encoded = Encoded { packets, stream: encoder.stream().unwrap().clone() };
        assert_eq!(encoded.decode().len(), 24, "{name}");
    }
}

fn with_change(name: &str, json: &str, to: Control) -> Result<Vec<usize>, Error> {
    let clip = Clip::constant(100, 25, 1).noise();
    let mut encoder =
        VideoEncoder::new(VideoEncode { frame_rate: Some(rate_of(&clip)), ..config(name, json) }).unwrap();
    let mut packets = Vec::new();
    for (n, frame) in clip.frames().enumerate() {
        if n == 50 {
            encoder.control(&to)?;
        }
        encoder.push(frame, &mut packets).unwrap();
    }
    encoder.finish(&mut packets).unwrap();
    assert_eq!(packets.len(), 100, "{name}");
    packets.sort_by_key(|p| p.pts);
    // Not the frames around the change: what was inside the encoder is still coded as before.
    Ok(vec![
        packets[10..50].iter().map(|p| p.data.len()).sum(),
        packets[60..].iter().map(|p| p.data.len()).sum(),
    ])
}

#[test]
fn a_running_encoder_follows_a_new_bit_rate() {
    let up = Control::Bitrate { target: 6_000_000, max: None };
    for name in available(&["libx264", "libvpx-vp9", "libsvtav1"]) {
        let sizes = with_change(name, r#"{"bitrate":"2M","cbr":true,"tune":"ull"}"#, up.clone()).unwrap();
        let ratio = sizes[1] as f64 / sizes[0] as f64;
        assert!((1.8..5.0).contains(&ratio), "{name}: {ratio}");
    }
    // Those that cannot follow are opened again.
    for (name, json) in [
        ("libx265", r#"{"bitrate":"2M","max_bitrate":"3M"}"#),
        ("libx264", r#"{"bitrate":"2M"}"#),
        ("libx264", r#"{"bitrate":"2M","max_bitrate":"3M"}"#),
        ("mpeg4", r#"{"bitrate":"2M"}"#),
    ] {
        for name in available(&[name]) {
            let sizes = with_change(name, json, up.clone()).unwrap();
            let ratio = sizes[1] as f64 / sizes[0] as f64;
            assert!((1.6..5.0).contains(&ratio), "{name}: {ratio}");
        }
    }
    for (name, json) in [("libx264", r#"{"crf":23}"#), ("ffv1", "{}")] {
        let e = with_change(name, json, up.clone()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported, "{name}: {e}");
    }
    let below = Control::Bitrate { target: 6_000_000, max: Some(1) };
    let e = with_change("libx264", r#"{"bitrate":"2M","max_bitrate":"3M"}"#, below).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Invalid);
}

#[test]
fn a_preset_changes_at_the_next_key_frame_and_no_picture_is_lost() {
    for name in available(&["libx264", "libx265", "libsvtav1", "libvpx-vp9"]) {
        for (first, then) in [(Preset::P4, Preset::P1), (Preset::P1, Preset::P4)] {
            let clip = Clip::constant(60, 25, 1);
            let json = format!(r#"{{"bitrate":"1M","preset":{}}}"#, serde_json::to_string(&first).unwrap());
            let grid = crate::encode::KeyGrid::every(crate::time::Timestamp::new(20, Rational::new(1, 25)));
            let mut encoder = VideoEncoder::new(VideoEncode {
                frame_rate: Some(rate_of(&clip)),
                grid,
                ..config(name, &json)
            })
            .unwrap();
            let mut packets = Vec::new();
            for (n, frame) in clip.frames().enumerate() {
                if n == 25 {
                    encoder.control(&Control::Preset(then)).unwrap();
                }
                encoder.push(frame, &mut packets).unwrap();
                let says = encoder.description();
                assert_eq!(
                    says.contains(&format!("preset {then:?} since")),
                    n >= 40,
                    "{name} at {n}: {says}"
                );
            }
            encoder.finish(&mut packets).unwrap();
            let mut last = None;
            for p in &packets {
                assert!(p.dts <= p.pts && last < p.dts, "{name}: {last:?}, {:?}", p.dts);
                last = p.dts;
            }
            let keys: Vec<_> = packets.iter().filter(|p| p.key).filter_map(|p| p.pts).collect();
            assert_eq!(keys, [0, 20, 40], "{name}");
            let encoded = Encoded { packets, stream: encoder.stream().unwrap().clone() };
            let decoded = encoded.decode();
            assert_eq!(decoded.len(), 60, "{name}");
            let quality = psnr(&clip, &decoded);
            assert!(quality > 28.0, "{name} {first:?} to {then:?}: {quality} dB");
        }
    }
    for (name, json) in [("mpeg4", r#"{"bitrate":"1M"}"#), ("ffv1", "{}")] {
        let e = with_change(name, json, Control::Preset(Preset::P1)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported, "{name}: {e}");
    }
}

/// Times rise, and there are key packets at `keys`, in milliseconds.
fn assert_rising(name: &str, packets: &[Packet], keys: &[i64]) {
    let ms = Rational::new(1, 1000);
    let mut last = None;
    for p in packets {
        let (decode, show) = (p.decode().unwrap(), p.presentation().unwrap());
        assert!(decode <= show && last.is_none_or(|last| last < decode), "{name}: {last:?}, {decode:?}");
        last = Some(decode);
    }
    let found: Vec<_> =
        packets.iter().filter(|p| p.key).map(|p| p.presentation().unwrap().to(ms).ticks).collect();
    assert!(keys.iter().all(|k| found.contains(k)), "{name}: {found:?}");
}

#[test]
fn every_encoder_goes_on_in_another_size() {
    for name in available(&["libx264", "libx265", "libsvtav1", "libvpx-vp9", "mpeg4", "mpeg2video"]) {
        let big = Clip::constant(60, 25, 1);
        let small = Clip { width: 160, height: 90, ..big.clone() };
        let config = VideoEncode { frame_rate: Some(rate_of(&big)), ..config(name, r#"{"bitrate":"1M"}"#) };
        let mut encoder = VideoEncoder::new(config).unwrap();
        let mut packets = Vec::new();
        for n in 0..60 {
            if n == 30 {
                let e = encoder.push(small.frame(n), &mut packets).unwrap_err();
                assert_eq!(e.kind(), ErrorKind::Invalid, "{name}: it was not announced: {e}");
                encoder.control(&Control::Size { width: 160, height: 90 }).unwrap();
            }
            encoder.push(if n < 30 { &big } else { &small }.frame(n), &mut packets).unwrap();
        }
        encoder.finish(&mut packets).unwrap();
        assert_eq!(packets.len(), 60, "{name}");
        assert_rising(name, &packets, &[0, 1200]);
        let encoded = Encoded { packets, stream: encoder.stream().unwrap().clone() };
        let widths: Vec<u32> = encoded.decode().iter().map(|f| f.width()).collect();
        // FFmpeg's decoder of MPEG-2 holds a picture, and forgets it at another size.
        let held = usize::from(name == "mpeg2video");
        let (before, behind) = (widths[29 - held], widths[30 - held]);
        assert_eq!((widths.len(), before, behind), (60 - held, 320, 160), "{name}");
    }
}

#[test]
fn every_encoder_goes_on_at_another_rate() {
    for name in available(&["libx264", "libx265", "libsvtav1", "libvpx-vp9"]) {
        let (slow, fast) = (Clip::constant(40, 50, 1), Clip::constant(160, 120, 1));
        let config = VideoEncode { frame_rate: Some(rate_of(&slow)), ..config(name, r#"{"bitrate":"1M"}"#) };
        let mut encoder = VideoEncoder::new(config).unwrap();
        let mut packets = Vec::new();
        slow.frames().for_each(|frame| encoder.push(frame, &mut packets).unwrap());
        encoder.control(&Control::FrameRate(Rational::new(120, 1))).unwrap();
        // From 0.8 s on.
        (96..160).for_each(|n| encoder.push(fast.frame(n), &mut packets).unwrap());
        encoder.finish(&mut packets).unwrap();
        assert_eq!(packets.len(), 40 + 64, "{name}");
        assert_rising(name, &packets, &[0, 800]);
        let mut shown: Vec<f64> = packets.iter().map(|p| p.presentation().unwrap().seconds()).collect();
        shown.sort_by(f64::total_cmp);
        let wanted = (0..40).map(|n| n as f64 / 50.0).chain((96..160).map(|n| n as f64 / 120.0));
        assert!(shown.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{name}: {shown:?}");
    }
    let e =
        with_change("mpeg4", r#"{"bitrate":"1M"}"#, Control::FrameRate(Rational::new(50, 1))).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported, "{e}");
}

#[test]
fn hdr_metadata_is_read_back_from_the_stream() {
    let hdr = crate::frame::HdrMetadata {
        mastering: Some(crate::frame::MasteringDisplay {
            primaries: [[0.68, 0.32], [0.265, 0.69], [0.15, 0.06]],
            white: [0.3127, 0.329],
            min_luminance: 0.005,
            max_luminance: 1000.0,
        }),
        content_light: Some(crate::frame::ContentLight { max_content: 987, max_average: 321 }),
        ..Default::default()
    };
    for name in available(&["libx265", "libsvtav1"]) {
        let mut clip = Clip::constant(6, 25, 1).format("yuv420p10le");
        clip.colour = Colour {
            primaries: 9,
            transfer: 16,
            matrix: 9,
            range: crate::frame::ColourRange::Limited,
            chroma: crate::frame::ChromaLocation::TopLeft,
        };
        let config = VideoEncode { hdr, frame_rate: Some(rate_of(&clip)), ..config(name, "{}") };
        let mut encoded = run(&clip, config);
        assert_eq!(encoded.stream.video.as_ref().unwrap().hdr.content_light, hdr.content_light, "{name}");
        // Without the container's own copy, so that only the coded stream can tell.
        encoded.stream.native.as_mut().unwrap().set_hdr(&Default::default());
        let probed = encoded.probe(&["-show_frames", "-read_intervals", "%+#1"]);
        let frame = &probed["frames"][0];
        for (key, value) in
            [("color_primaries", "bt2020"), ("color_transfer", "smpte2084"), ("color_space", "bt2020nc")]
        {
            assert_eq!(frame[key], value, "{name}");
        }
        let side = frame["side_data_list"].as_array().cloned().unwrap_or_default();
        let of = |kind: &str| {
            side.iter().find(|s| s["side_data_type"] == kind).unwrap_or_else(|| panic!("{name}: {frame}"))
        };
        assert_eq!(of("Content light level metadata")["max_content"], 987, "{name}");
        let number = |text: &serde_json::Value| {
            let (n, d) = text.as_str().unwrap().split_once('/').unwrap();
            n.parse::<f64>().unwrap() / d.parse::<f64>().unwrap()
        };
        let display = of("Mastering display metadata");
        assert!((number(&display["max_luminance"]) - 1000.0).abs() < 1.0, "{name}");
        assert!((number(&display["red_x"]) - 0.68).abs() < 0.001, "{name}");
    }
}

#[test]
fn colour_is_written_by_every_codec_that_has_a_place_for_it() {
    for name in available(&["libx264", "libx265", "libsvtav1", "libaom-av1", "libvpx-vp9"]) {
        let mut clip = Clip::constant(3, 25, 1);
        clip.colour = Colour::BT601;
        let decoded = encode(&clip, name, "{}").decode();
        let colour = decoded[0].colour();
        assert_eq!(colour.matrix, 6, "{name}");
        if name != "libvpx-vp9" {
            assert_eq!((colour.primaries, colour.transfer), (6, 6), "{name}");
        }
    }
}

#[test]
fn what_an_encoder_does_not_take_is_refused_by_name() {
    let refused = |encoder: &str, json: &str| {
        let clip = Clip::constant(1, 25, 1);
        let result =
            VideoEncoder::new(config(encoder, json)).and_then(|mut e| e.push(clip.frame(0), &mut Vec::new()));
        result.unwrap_err().message().to_string()
    };
    assert!(refused("libx264", r#"{"options":{"crff":"3"}}"#).starts_with("video.options.crff: "));
    assert!(refused("libsvtav1", r#"{"lossless":true}"#).starts_with("video.lossless: libsvtav1 cannot"));
    assert!(refused("libx264", r#"{"codec":"hevc"}"#).starts_with("video.encoder: "));
    let mut unknown = config("libx264", "{}");
    unknown.spec.encoder = Some("libnope".into());
    assert!(VideoEncoder::new(unknown).err().unwrap().message().starts_with("video.encoder: "));
    let mut wrong = VideoEncoder::new(config("libx264", "{}")).unwrap();
    wrong.push(Clip::constant(1, 25, 1).frame(0), &mut Vec::new()).unwrap();
    let mut other = Clip::constant(2, 25, 1);
    other.width = 640;
    let e = wrong.push(other.frame(1), &mut Vec::new()).unwrap_err();
    assert!(e.message().contains("mid-stream"), "{e}");
}

#[test]
fn an_encoder_that_got_nothing_ends_quietly() {
    let mut encoder = VideoEncoder::new(config("libx264", "{}")).unwrap();
    let mut packets = Vec::new();
    encoder.finish(&mut packets).unwrap();
    assert!(packets.is_empty() && encoder.stream().is_none());
}
