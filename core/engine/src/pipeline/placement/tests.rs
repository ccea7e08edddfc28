//! What is decided for machines that a test describes: no device is opened here.

use super::*;
use crate::filter::{FilterContext, Upload};
use crate::frame::Memory;
use crate::link::{Overflow, link};
use crate::packet::{Codec, MediaKind};
use crate::pipeline::chain::{self, Devices};
use crate::pipeline::resolve::{Make, Offer, Output, Resolved, resolve_on};
use crate::pipeline::worker::{Branch, Tee, finish_through, push_through};
use crate::plan::Plan;
use crate::time::{Rational, Timestamp};
use serde_json::json;

/// A machine that has what is named; everything else it has not.
#[derive(Default)]
struct Described {
    encoders: Vec<&'static str>,
    /// Devices and the codecs that they decode.
    devices: Vec<(&'static str, Vec<&'static str>)>,
    filters: Vec<&'static str>,
    /// Whether our kernels run on CUDA.
    kernels: bool,
}

impl Machine for Described {
    fn encodes(&self, encoder: &str) -> Result<()> {
        let software = !encoder.contains('_');
        if software || self.encoders.contains(&encoder) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Device, "no such device"))
    }

    fn opens(&self, kind: &str) -> std::result::Result<(), String> {
        self.devices.iter().any(|(k, _)| *k == kind).then_some(()).ok_or_else(|| "no driver".into())
    }

    fn decodes(&self, codec: &str, kind: &str) -> bool {
        self.devices.iter().any(|(k, codecs)| *k == kind && codecs.contains(&codec))
    }

    fn has_filter(&self, name: &str) -> bool {
        self.filters.contains(&name)
    }

    fn kernels(&self, kind: &str) -> std::result::Result<(), String> {
        if self.kernels && kind == "cuda" { Ok(()) } else { Err("none were built".into()) }
    }
}

fn nvidia() -> Described {
    Described {
        encoders: vec!["h264_nvenc", "hevc_nvenc"],
        devices: vec![("cuda", vec!["h264", "hevc"])],
        filters: vec!["scale_cuda", "yadif_cuda"],
        kernels: true,
    }
}

fn intel() -> Described {
    Described {
        encoders: vec!["h264_vaapi", "hevc_vaapi"],
        devices: vec![("vaapi", vec!["h264"])],
        filters: vec!["scale_vaapi", "deinterlace_vaapi"],
        kernels: false,
    }
}

fn offer(codec: Codec, format: &str) -> Offer {
    let mut stream = StreamInfo::new(MediaKind::Video, codec, Rational::new(1, 25));
    stream.video = Some(VideoInfo {
        width: 640,
        height: 360,
        format: PixelFormat::from_name(format),
        frame_rate: Some(Rational::new(25, 1)),
        constant_rate: Some(true),
        sample_aspect: Rational::new(1, 1),
        colour: Colour::BT709,
        hdr: Default::default(),
        rotation: 0.0,
        mirrored: false,
        field_order: crate::packet::FieldOrder::Progressive,
        reorder: 0,
    });
    Offer {
        streams: vec![stream],
        duration: Some(Timestamp::from_seconds(2.0)),
        raw: false,
        device: None,
        keys: None,
        label: "clip".into(),
        chapters: Vec::new(),
        metadata: Vec::new(),
        attachments: Vec::new(),
        start: None,
        first_key: None,
    }
}

fn decide_from(
    offer: &Offer,
    machine: &Described,
    decode: serde_json::Value,
    output: serde_json::Value,
) -> Result<(Resolved, Plan)> {
    let document = json!({"source": {"url": "clip.mp4", "decode": decode}, "outputs": [output]});
    let mut spec = PipelineSpec::from_json(&document.to_string()).unwrap();
    spec.fallback = document["source"]["decode"]["device"] != "qsv";
    let resolved = resolve_on(&spec, offer, machine)?;
    let plan = resolved.plan(&spec, offer);
    Ok((resolved, plan))
}

fn decide(machine: &Described, video: serde_json::Value) -> (Resolved, Plan) {
    let output = json!({"path": "out.mp4", "video": video, "audio": false});
    decide_from(&offer(Codec::H264, "yuv420p"), machine, json!({}), output).unwrap()
}

fn placement(output: &Output, track: usize) -> &Placement {
    match &output.tracks[track].make {
        Make::Video(v) => &v.placement,
        _ => panic!("not encoded"),
    }
}

#[test]
fn frames_stay_on_the_device_of_decoder_and_encoder() {
    let (resolved, plan) = decide(&nvidia(), json!({"device": "cuda", "height": 180}));
    assert_eq!(plan.decoders[0].device, "cuda");
    assert_eq!(plan.decoders[0].reason, "on the encoder's device, where frames stay");
    assert_eq!(plan.decoders[0].threads, 1);
    let track = &plan.outputs[0].tracks[0];
    assert_eq!(track.encoder.as_deref(), Some("nvenc"));
    assert_eq!(track.stages, ["scale 320x180 on cuda (kernels)"]);
    assert!(placement(&resolved.outputs[0], 0).stays());
    assert!(resolved.transfers.is_empty() && resolved.fallbacks.is_empty());

    let filters = json!([{"deinterlace": "auto"}]);
    let (_, plan) = decide(&intel(), json!({"height": 180, "filters": filters, "frame_rate": 50}));
    assert_eq!(
        plan.outputs[0].tracks[0].stages,
        [
            "deinterlace what is flagged on vaapi (deinterlace_vaapi)",
            "frame_rate 50/1",
            "scale 320x180 on vaapi (scale_vaapi)"
        ]
    );
    // Ten bits into an eight-bit encoder: the format is changed there too.
    let output = json!({"path": "out.mp4", "video": {"codec": "h264"}, "audio": false});
    let ten = offer(Codec::Hevc, "yuv420p10le");
    let (resolved, _) = decide_from(&ten, &nvidia(), json!({}), output).unwrap();
    let placed = placement(&resolved.outputs[0], 0);
    assert_eq!(
        (placed.scale.as_ref().unwrap().name(), placed.format),
        ("kernels", Some(PixelFormat::nv12()))
    );
    // Nothing to do is nothing done.
    let (resolved, plan) = decide(&nvidia(), json!({}));
    assert!(
        plan.outputs[0].tracks[0].stages.is_empty() && placement(&resolved.outputs[0], 0).scale.is_none()
    );
}

#[test]
fn what_the_device_cannot_do_goes_to_the_host_once_with_the_reason() {
    let crop = json!({"crop": {"x": 0, "y": 0, "width": 320, "height": 180}});
    let (resolved, plan) = decide(&intel(), json!({"filters": [crop], "height": 90}));
    assert_eq!(plan.decoders[0].device, "vaapi");
    assert_eq!(
        plan.outputs[0].tracks[0].stages,
        [
            "download from vaapi: crop runs on the host, not on vaapi",
            "crop 320x180 at 0,0",
            "scale 160x90",
            "upload to vaapi: h264_vaapi takes frames there only"
        ]
    );
    assert_eq!(
        resolved.transfers,
        [
            "outputs[0] 90p: frames are downloaded from vaapi: crop runs on the host, not on vaapi",
            "outputs[0] 90p: frames are uploaded to vaapi: h264_vaapi takes frames there only"
        ]
    );
    assert!(placement(&resolved.outputs[0], 0).begins_on_host());
    // NVENC takes frames from the host by itself, and what came before the crop stays on the device.
    let mark = json!({"watermark": {"path": "logo.png"}});
    let (resolved, plan) = decide(&nvidia(), json!({"filters": [{"deinterlace": "all"}, crop, mark]}));
    assert_eq!(
        plan.outputs[0].tracks[0].stages[..3],
        [
            "deinterlace all on cuda (yadif_cuda)",
            "crop 320x180 at 0,0 on cuda (kernels)",
            "download from cuda: watermark runs on the host, not on cuda"
        ]
    );
    assert!(!placement(&resolved.outputs[0], 0).begins_on_host());
    assert_eq!(resolved.transfers.len(), 1);
    // A kernel that is asked for is taken at its word; colour is the host's.
    for (video, why) in [
        (json!({"height": 180, "scaler": "lanczos"}), "vaapi does not scale with the kernel asked for"),
        (json!({"colour": {"matrix": "bt601"}}), "colour is converted on the host, not on vaapi"),
    ] {
        let (resolved, _) = decide(&intel(), video);
        assert_eq!(placement(&resolved.outputs[0], 0).download.as_deref(), Some(why));
    }
    // Without our kernels FFmpeg's filter scales; without either the host does.
    let other = Described { kernels: false, ..nvidia() };
    let (_, plan) = decide(&other, json!({"height": 180}));
    assert_eq!(plan.outputs[0].tracks[0].stages, ["scale 320x180 on cuda (scale_cuda)"]);
    let bare = Described { filters: vec![], kernels: false, ..nvidia() };
    let (resolved, _) = decide(&bare, json!({"height": 180}));
    assert_eq!(
        placement(&resolved.outputs[0], 0).download.as_deref(),
        Some("this FFmpeg has no scale_cuda, and our kernels do not run: none were built")
    );
}

#[test]
fn kernels_convert_colour_and_tone_map_on_the_device() {
    let mut hdr = offer(Codec::Hevc, "yuv420p10le");
    if let Some(video) = &mut hdr.streams[0].video {
        video.colour = Colour { primaries: 9, transfer: 16, matrix: 9, ..Colour::BT709 };
    }
    let filters = json!([{"tone_map": {"curve": "bt2390"}}, {"sharpen": {"amount": 0.5}},
        {"pad": {"width": 640, "height": 480}}]);
    let video = json!({"codec": "hevc", "device": "cuda", "height": 180, "filters": filters,
        "colour": {"matrix": "bt601"}});
    let output = json!({"path": "out.mp4", "video": video, "audio": false});
    let (resolved, plan) = decide_from(&hdr, &nvidia(), json!({}), output).unwrap();
    assert_eq!(
        plan.outputs[0].tracks[0].stages,
        [
            "tone-map HDR to BT.709 (bt2390) on cuda (kernels)",
            "sharpen by 0.5 on cuda (kernels)",
            "pad to 640x480 on cuda (kernels)",
            "scale 240x180 on cuda (kernels)"
        ]
    );
    assert!(placement(&resolved.outputs[0], 0).stays() && resolved.transfers.is_empty());
    // Chroma at full size, where the encoder takes it.
    let (resolved, _) = decide(&nvidia(), json!({"codec": "hevc", "pixel_format": "yuv444p"}));
    let placed = placement(&resolved.outputs[0], 0);
    assert_eq!((placed.format, placed.scale.is_some()), (PixelFormat::from_name("yuv444p"), true));
    // Other primaries are the host's.
    let (resolved, _) = decide(&nvidia(), json!({"height": 180, "colour": {"primaries": "bt2020"}}));
    assert_eq!(
        placement(&resolved.outputs[0], 0).download.as_deref(),
        Some("primaries and transfer are converted on the host, not on cuda")
    );
}

#[test]
fn software_on_either_side_says_why() {
    // The decoder follows the encoders, or says why not.
    for (machine, codec, format, reason) in [
        (nvidia(), Codec::Vp9, "yuv420p", "this FFmpeg does not decode vp9 on cuda, the encoder's device"),
        (nvidia(), Codec::H264, "yuv422p", "cuda, the encoder's device, does not decode to yuv422p"),
        (Described::default(), Codec::H264, "yuv420p", "the encoder works on frames in host memory"),
    ] {
        let output = json!({"path": "out.mp4", "audio": false});
        let (_, plan) = decide_from(&offer(codec, format), &machine, json!({}), output).unwrap();
        assert_eq!(
            (plan.decoders[0].device.as_str(), plan.decoders[0].reason.as_str()),
            ("software", reason)
        );
    }
    let closed = Described { encoders: vec!["h264_nvenc"], ..Described::default() };
    let closed = Described { devices: vec![("warp", vec![])], ..closed };
    let (_, plan) = decide(&closed, json!({}));
    assert!(plan.decoders[0].reason.contains("does not decode h264 on cuda"), "{}", plan.decoders[0].reason);

    // Software pictures into VA-API: one upload, last.
    let output = json!({"path": "out.mp4", "video": {"height": 180}, "audio": false});
    let (resolved, plan) =
        decide_from(&offer(Codec::H264, "yuv420p"), &intel(), json!({"device": "software"}), output).unwrap();
    assert_eq!(plan.decoders[0].device, "software");
    assert_eq!(
        plan.outputs[0].tracks[0].stages,
        ["scale 320x180", "upload to vaapi: h264_vaapi takes frames there only"]
    );
    assert_eq!(resolved.transfers.len(), 1);

    // A decoder that was asked for, with encoders elsewhere: downloaded before anything else.
    let output = json!({"path": "out.mp4", "video": {"device": "software"}, "audio": false});
    let (resolved, plan) =
        decide_from(&offer(Codec::H264, "yuv420p"), &nvidia(), json!({"device": "cuda"}), output).unwrap();
    assert_eq!((plan.decoders[0].device.as_str(), plan.decoders[0].reason.as_str()), ("cuda", "asked for"));
    let placed = placement(&resolved.outputs[0], 0);
    assert_eq!(placed.download.as_deref(), Some("libx264 takes frames in host memory"));
    assert!(placed.begins_on_host());
}

#[test]
fn software_encoders_get_what_the_gpu_scaled() {
    let with = |machine: &Described, video: serde_json::Value| {
        let output = json!({"path": "out.mp4", "video": video, "audio": false});
        let source = offer(Codec::H264, "yuv420p");
        decide_from(&source, machine, json!({"device": "cuda"}), output).unwrap()
    };
    let down = "download from cuda: libx264 takes frames in host memory";
    let (resolved, plan) = with(&nvidia(), json!({"device": "software", "height": 180}));
    assert_eq!(plan.outputs[0].tracks[0].stages, ["scale 320x180 on cuda (kernels)", down]);
    let placed = placement(&resolved.outputs[0], 0);
    assert!(placed.late && placed.scales_there() && !placed.begins_on_host() && !placed.stays());
    let told = "outputs[0] 180p: frames are downloaded from cuda: libx264 takes frames in host memory";
    assert_eq!(resolved.transfers, [told]);
    let filters = json!([{"sharpen": {"amount": 0.5}}]);
    let (_, plan) = with(&nvidia(), json!({"device": "software", "filters": filters}));
    assert!(plan.outputs[0].tracks[0].stages[0].ends_with("on cuda (kernels)"), "{:?}", plan.outputs[0]);
    assert_eq!(plan.outputs[0].tracks[0].stages[1], down);
    // Without kernels the host does it all.
    let (resolved, plan) =
        with(&Described { kernels: false, ..nvidia() }, json!({"device": "software", "height": 180}));
    assert!(placement(&resolved.outputs[0], 0).begins_on_host());
    assert_eq!(plan.outputs[0].tracks[0].stages, [down, "scale 320x180"]);
}

#[test]
fn a_track_on_another_gpu_gets_its_frames_by_way_of_the_host() {
    let ladder = json!([{"height": 180}, {"height": 90, "options": {"gpu": "1"}}, {"height": 60, "options": {"gpu": "0"}}]);
    let output = json!({"path": "out", "format": "hls", "audio": false, "ladder": ladder,
        "video": {"device": "cuda"}, "copy_conforming": false});
    let (resolved, _) = decide_from(&offer(Codec::H264, "yuv420p"), &nvidia(), json!({}), output).unwrap();
    let at = |i| placement(&resolved.outputs[0], i);
    assert!(at(0).stays() && at(1).stays());
    assert_eq!(at(2).download.as_deref(), Some("its encoder is on GPU 0, and frames are on GPU 1"));
}

#[test]
fn a_device_that_was_asked_for_is_there_or_the_answer_says_so() {
    let output = json!({"path": "out.mp4", "audio": false});
    let vp9 = offer(Codec::Vp9, "yuv420p");
    let (resolved, plan) = decide_from(&vp9, &nvidia(), json!({"device": "cuda"}), output.clone()).unwrap();
    assert_eq!(plan.decoders[0].device, "software");
    assert!(
        resolved.fallbacks[0].contains("cuda cannot decode here (this FFmpeg does not decode vp9 on cuda)")
    );
    // `decide_from` allows no fallback for qsv.
    let e = decide_from(&vp9, &nvidia(), json!({"device": "qsv"}), output).err().unwrap();
    assert_eq!((e.kind(), e.message()), (ErrorKind::Device, "source.decode.device: qsv: no driver"));
    let amf = r#"{"source":{"url":"a","decode":{"device":"amf"}},"outputs":[{"path":"o.mp4"}]}"#;
    let e = PipelineSpec::from_json(amf).unwrap_err();
    assert_eq!(e.message(), "source.decode.device: amf only encodes");
}

#[test]
fn a_ladder_shares_what_its_rungs_have_in_common() {
    let ladder = json!([{"height": 360}, {"height": 180}, {"height": 90, "scaler": "lanczos"}]);
    let output = json!({"path": "out", "format": "hls", "audio": false, "ladder": ladder,
        "video": {"device": "vaapi"}, "copy_conforming": false});
    let (resolved, _) = decide_from(&offer(Codec::H264, "yuv420p"), &intel(), json!({}), output).unwrap();
    let at = |i| placement(&resolved.outputs[0], i);
    assert!(at(0).shares(at(1)) && !at(0).shares(at(2)));
    assert!(at(0).stays() && at(0).scale.is_none() && at(1).scale.is_some());
    assert!(at(2).upload.is_some());
    assert!(resolved.outputs[0].lead.is_none(), "a head start decodes in software");
}

#[test]
fn frames_are_downloaded_once_for_all_who_want_them_on_the_host() {
    let Some(device) = vulkan() else { return };
    let mut media = av::Frame::alloc_video(PixelFormat::nv12(), 64, 64, 0).unwrap();
    (0..2).for_each(|p| media.plane_mut(p).unwrap().fill(70));
    let frame = crate::frame::Frame::new(media, Rational::new(1, 25));
    let mut uploaded = Vec::new();
    push_through(&mut [Box::new(Upload::new(device))], frame, &mut uploaded).unwrap();
    let (mut branches, mut ends) = (Vec::new(), Vec::new());
    for host in [true, false, true] {
        let (to, from) = link(2, Overflow::Wait);
        branches.push(Branch { to, host });
        ends.push(from);
    }
    let mut tee = Tee::new(branches);
    tee.send(uploaded[0].clone()).unwrap();
    let got: Vec<crate::frame::Frame> = ends.iter().map(|end| end.recv().unwrap()).collect();
    assert_eq!(
        got.iter().map(|f| f.memory()).collect::<Vec<_>>(),
        [Memory::Host, Memory::Device, Memory::Host]
    );
    assert_eq!(got[0].media().data_ptr(0), got[2].media().data_ptr(0), "one copy for both");
    assert_eq!(got[0].media().plane(1)[0], 70);
    drop(ends);
    assert_eq!(tee.send(uploaded[0].clone()).unwrap_err().kind(), ErrorKind::Cancelled);
}

/// The Vulkan device that is here; `None`, said aloud, where there is none.
fn vulkan() -> Option<std::sync::Arc<av::HwDevice>> {
    let device = av::HwDevice::create("vulkan", None, &[]).ok();
    if device.is_none() {
        assert!(std::env::var_os("GS_REQUIRE_PEERS").is_none(), "a Vulkan driver is required");
        eprintln!("SKIPPED: no Vulkan driver");
    }
    device.map(std::sync::Arc::new)
}

/// Placements as they are decided for other devices, run on the Vulkan that is here. The encoder's place is taken by
/// looking at what it would get: no FFmpeg before 7.1 encodes on Vulkan.
#[test]
fn the_stages_of_a_placement_run() {
    if vulkan().is_none() {
        return;
    }
    let offer = offer(Codec::H264, "yuv420p");
    let from = Some("vulkan");
    let there = device::scaler("vulkan", Default::default(), &av::has_filter).unwrap();
    let why = || "a test".to_string();
    let stays = Placement {
        from,
        scale: Some(OnDevice::Filter(there)),
        format: Some(PixelFormat::nv12()),
        ..Placement::default()
    };
    let rate_first = Placement {
        from,
        first: vec![None],
        download: Some(why()),
        upload: Some(("vulkan", why())),
        ..Placement::default()
    };
    let host = Placement { upload: Some(("vulkan", why())), ..Placement::default() };
    for (placement, before_upload) in
        [(stays, Memory::Device), (rate_first, Memory::Host), (host, Memory::Host)]
    {
        let video = json!({"height": 90, "frame_rate": 25, "device": "software", "pixel_format": "nv12"});
        let (mut resolved, _) = decide(&Described::default(), video);
        let Make::Video(track) = &mut resolved.outputs[0].tracks[0].make else { panic!("not encoded") };
        track.placement = placement;
        let mut devices = Devices::default();
        let mut stages = chain::before_scale(track, &FilterContext::default(), &mut devices).unwrap();
        let target = chain::scale_target(track, &offer.streams[0]).unwrap();
        stages.push(chain::scaler(track, target, &devices));
        let mut upload =
            chain::after_scale(track, &offer.streams[0], &mut devices, false, Box::new(|_| {})).unwrap();
        let (mut scaled, mut out) = (Vec::new(), Vec::new());
        for i in 0..3 {
            // As from a decoder that went on in software: planar, in host memory.
            let format = PixelFormat::from_name("yuv420p").unwrap();
            let mut media = av::Frame::alloc_video(format, 640, 360, 0).unwrap();
            (0..3).for_each(|p| media.plane_mut(p).unwrap().fill(if p == 0 { 90 } else { 128 }));
            media.set_pts(Some(i));
            media.set_duration(1);
            let frame = crate::frame::Frame::new(media, Rational::new(1, 25));
            push_through(&mut stages, frame, &mut scaled).unwrap();
        }
        finish_through(&mut stages, &mut scaled).unwrap();
        for frame in scaled {
            assert_eq!(frame.memory(), before_upload, "{:?}", track.placement);
            push_through(&mut upload, frame, &mut out).unwrap();
        }
        assert_eq!(out.iter().map(|f| f.pts.unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
        for frame in out {
            assert_eq!(
                (frame.memory(), frame.video().width, frame.video().height),
                (Memory::Device, 160, 90)
            );
            let back = crate::filter::Download::one(frame).unwrap();
            assert_eq!((back.media().format(), back.media().plane(0)[80]), (PixelFormat::nv12(), 90));
        }
    }
}
