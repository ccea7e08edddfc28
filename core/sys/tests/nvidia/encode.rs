//! Encoding: pictures in, a stream out that FFmpeg decodes to the pictures.

use super::standin::on_standin;
use ghoststream_sys::cuda::{Context, DeviceBuffer, Stream};
use ghoststream_sys::ffmpeg::{
    CodecParameters, ContentLight, Decoder, DecoderOptions, ForeignPlane, Frame, HwDevice, HwFrames,
    MasteringDisplay, MediaType, Packet, ParameterValues, PixelFormat,
};
use ghoststream_sys::nvenc::*;
use std::sync::Arc;
use std::time::Duration;

pub const SIZE: (u32, u32) = (320, 180);
const SOON: Duration = Duration::from_secs(20);

/// A coded picture, copied.
pub struct Out {
    pub bytes: Vec<u8>,
    pub pts: i64,
    pub kind: PictureKind,
}

/// A picture with stripes that wander, each plane of its own.
pub fn picture(surface: Surface, n: usize, (w, h): (u32, u32)) -> Frame {
    let mut frame = Frame::alloc_video(surface.pixel_format(), w, h, 0).unwrap();
    let wide = surface.depth() > 8;
    for plane in 0..frame.plane_count() {
        let stride = frame.stride(plane);
        for (y, row) in frame.plane_mut(plane).unwrap().chunks_mut(stride).enumerate() {
            for (x, byte) in row.iter_mut().enumerate() {
                let value = 40 + ((x / if wide { 2 } else { 1 } + y * 2 + n * 5 + plane * 60) % 160) as u8;
                // Ten bits: the low byte has the two lowest ones at its top.
                *byte = if wide && x % 2 == 0 { value << 6 } else { value };
            }
        }
    }
    frame
}

pub fn open(config: &EncodeConfig) -> (Arc<Context>, Submitter, Retriever) {
    let context = Context::primary(0).unwrap();
    let session = Session::open(Library::load().unwrap(), &context).unwrap();
    let (submitter, retriever) = session.initialize(config).unwrap();
    (context, submitter, retriever)
}

/// What is ready, without waiting long.
fn take(retriever: &mut Retriever, out: &mut Vec<Out>, wait: Duration) -> bool {
    loop {
        match retriever.next(wait).unwrap() {
            Next::Coded(c) => {
                assert!(!c.is_stray());
                out.push(Out { bytes: c.bytes().to_vec(), pts: c.pts, kind: c.kind });
            }
            Next::Later => return false,
            Next::End => return true,
        }
    }
}

/// Encodes `count` pictures that `input` makes, on one thread.
pub fn encode(
    submitter: &mut Submitter,
    retriever: &mut Retriever,
    count: usize,
    mut input: impl FnMut(&mut Submitter, usize) -> Input,
) -> Vec<Out> {
    let mut out = Vec::new();
    for n in 0..count {
        let given = input(submitter, n);
        while !submitter.wait(Duration::ZERO).unwrap() {
            assert!(!take(retriever, &mut out, Duration::from_millis(1)));
        }
        submitter
            .submit(given, &Picture { pts: n as i64 * 10, duration: 10, tag: n as u64, ..Picture::default() })
            .unwrap();
        take(retriever, &mut out, Duration::ZERO);
    }
    submitter.finish().unwrap();
    assert!(take(retriever, &mut out, SOON));
    out
}

fn host(submitter: &mut Submitter, frame: &Frame) -> Input {
    let mut buffer = submitter.buffer().unwrap();
    buffer.fill(frame).unwrap();
    Input::Buffer(buffer)
}

fn on_device(pool: &HwFrames, frame: &Frame) -> Input {
    Input::Frame(frame.transfer_to_device(pool).unwrap())
}

pub fn decode(codec: Codec, out: &[Out]) -> Vec<Frame> {
    let values =
        ParameterValues { kind: MediaType::Video, codec: codec.name().into(), ..ParameterValues::default() };
    let params = CodecParameters::new(&values).unwrap();
    let mut decoder =
        Decoder::new(&params, &DecoderOptions { threads: 1, ..DecoderOptions::default() }).unwrap();
    let mut frames = Vec::new();
    for coded in out {
        let mut packet = Packet::from_bytes_padded(&coded.bytes).unwrap();
        packet.set_pts(Some(coded.pts));
        decoder.send(Some(&packet)).unwrap();
        while let Ok(Some(frame)) = decoder.receive() {
            frames.push(frame);
        }
    }
    decoder.send(None).unwrap();
    while let Ok(Some(frame)) = decoder.receive() {
        frames.push(frame);
    }
    frames
}

/// The largest difference of luma samples between pictures, and how many pictures were compared.
fn worst(surface: Surface, decoded: &[Frame], size: (u32, u32)) -> u32 {
    let mut worst = 0;
    for (n, frame) in decoded.iter().enumerate() {
        let from = picture(surface, n, size);
        assert_eq!((frame.width(), frame.height()), size);
        for y in 0..size.1 as usize {
            for x in 0..size.0 as usize {
                let sample = |f: &Frame, shift: u32| {
                    let row = &f.plane(0)[y * f.stride(0)..];
                    if surface.depth() > 8 {
                        u32::from(u16::from_le_bytes([row[2 * x], row[2 * x + 1]]) >> shift)
                    } else {
                        u32::from(row[x])
                    }
                };
                worst = worst.max(sample(&from, 6).abs_diff(sample(frame, 0)));
            }
        }
    }
    worst
}

fn lossless(codec: Codec) -> EncodeConfig {
    let mut config = EncodeConfig::new(codec, SIZE.0, SIZE.1, (25, 1), RateControl::Lossless);
    config.tuning = Tuning::Lossless;
    config.gop = Some(8);
    config
}

#[test]
fn host_and_device_pictures_come_out_as_they_went_in() {
    const NAME: &str = "encode::host_and_device_pictures_come_out_as_they_went_in";
    for (profile, api) in [("gtx1650", "12.2"), ("rtx4090", "13.0"), ("rtx5090", "13.1")] {
        on_standin(NAME, &[("PROFILE", profile), ("API", api)], || {
            assert_eq!(Library::load().unwrap().version().to_string(), api);
            without_loss();
        });
    }
}

/// H.264 and HEVC without loss, from host memory and from the device.
pub fn without_loss() {
    for codec in [Codec::H264, Codec::Hevc] {
        for device in [false, true] {
            let config = lossless(codec);
            let (context, mut submitter, mut retriever) = open(&config);
            let pool = HwDevice::cuda(&context).unwrap();
            let pool = pool.frames(PixelFormat::nv12(), SIZE.0, SIZE.1, 0).unwrap();
            let out = encode(&mut submitter, &mut retriever, 20, |submitter, n| {
                let frame = picture(Surface::Nv12, n, SIZE);
                if device { on_device(&pool, &frame) } else { host(submitter, &frame) }
            });
            assert_eq!(out.len(), 20);
            let keys: Vec<usize> =
                out.iter().enumerate().filter(|(_, o)| o.kind.is_key()).map(|(n, _)| n).collect();
            assert_eq!(keys, [0, 8, 16]);
            let decoded = decode(codec, &out);
            assert_eq!(decoded.len(), 20, "{codec:?}");
            assert_eq!(worst(Surface::Nv12, &decoded, SIZE), 0, "{codec:?} device {device}");
            assert!(!submitter.headers().unwrap().is_empty());
        }
    }
}

#[test]
fn surfaces_of_all_kinds_are_laid_out_right() {
    on_standin("encode::surfaces_of_all_kinds_are_laid_out_right", &[("PROFILE", "rtx5090")], || {
        let size = (322, 182);
        for (codec, surface) in [
            (Codec::H264, Surface::Yuv420p),
            (Codec::H264, Surface::Yuv444p),
            (Codec::Hevc, Surface::P010),
            (Codec::Hevc, Surface::Yuv420p),
            (Codec::Hevc, Surface::Yuv444p),
            (Codec::Hevc, Surface::Yuv444p16),
        ] {
            for device in [false, true] {
                let mut config = lossless(codec);
                (config.surface, config.width, config.height) = (surface, size.0, size.1);
                let (context, mut submitter, mut retriever) = open(&config);
                let pool = HwDevice::cuda(&context).unwrap();
                let pool = pool.frames(surface.pixel_format(), size.0, size.1, 0).unwrap();
                let out = encode(&mut submitter, &mut retriever, 3, |submitter, n| {
                    let frame = picture(surface, n, size);
                    if device { on_device(&pool, &frame) } else { host(submitter, &frame) }
                });
                let decoded = decode(codec, &out);
                assert_eq!(decoded.len(), 3);
                assert_eq!(worst(surface, &decoded, size), 0, "{codec:?} {surface:?} device {device}");
                if surface == Surface::Yuv420p {
                    let (got, from) = (&decoded[1], picture(surface, 1, size));
                    for plane in [1, 2] {
                        let (g, f) = (
                            got.plane(plane)[got.stride(plane) * 7 + 9],
                            from.plane(plane)[from.stride(plane) * 7 + 9],
                        );
                        assert_eq!(g, f, "chroma plane {plane} device {device}");
                    }
                }
            }
        }
    });
}

#[test]
fn b_pictures_and_lookahead_on_two_threads_lose_nothing() {
    let log = on_standin(
        "encode::b_pictures_and_lookahead_on_two_threads_lose_nothing",
        &[("FRAME_US", "300")],
        || {
            for codec in Codec::ALL {
                let rate =
                    RateControl::Vbr { bitrate: 2_000_000, max_bitrate: Some(4_000_000), quality: None };
                let mut config = EncodeConfig::new(codec, SIZE.0, SIZE.1, (25, 1), rate);
                (config.b_frames, config.b_ref, config.gop) = (Some(3), Some(BRef::Middle), Some(30));
                config.lookahead =
                    Some(Lookahead { depth: 6, level: None, scene_cut: true, adaptive_b: true });
                let (context, mut submitter, mut retriever) = open(&config);
                assert_eq!((submitter.b_frames(), submitter.lookahead()), (3, 6));
                assert!(submitter.depth() >= 10);
                let device = HwDevice::cuda(&context).unwrap();
                let pool = device.frames(PixelFormat::nv12(), SIZE.0, SIZE.1, 0).unwrap();
                let stream = Stream::new(&context).unwrap();
                submitter.set_streams(&stream, &stream).unwrap();
                let taker = std::thread::spawn(move || {
                    let mut out = Vec::new();
                    while !take(&mut retriever, &mut out, SOON) {}
                    out
                });
                for n in 0..50 {
                    let input = on_device(&pool, &picture(Surface::Nv12, n, SIZE));
                    assert!(submitter.wait(SOON).unwrap());
                    submitter.submit(input, &Picture { pts: n as i64, ..Picture::default() }).unwrap();
                }
                submitter.finish().unwrap();
                let out = taker.join().unwrap();
                let mut times: Vec<i64> = out.iter().map(|o| o.pts).collect();
                times.sort_unstable();
                assert_eq!(times, (0..50).collect::<Vec<_>>(), "{codec:?}");
                assert_eq!(decode(codec, &out).len(), 50, "{codec:?}");
            }
        },
    );
    if let Some(log) = log {
        // FFmpeg's uploads only; the pool's surfaces are registered once.
        assert_eq!(log.copied("DtoH"), 0);
        assert!(log.calls("NvEncRegisterResource") < 60, "{}", log.calls("NvEncRegisterResource"));
        assert_eq!(log.calls("NvEncMapInputResource"), 150);
    }
}

#[test]
fn foreign_memory_is_registered_for_one_picture() {
    let log = on_standin("encode::foreign_memory_is_registered_for_one_picture", &[], || {
        let (context, mut submitter, mut retriever) = open(&lossless(Codec::Hevc));
        let pool = HwDevice::cuda(&context).unwrap();
        let pool = pool.frames(PixelFormat::nv12(), SIZE.0, SIZE.1, 0).unwrap();
        let out = encode(&mut submitter, &mut retriever, 6, |_, n| {
            let (pitch, rows) = (SIZE.0 as usize, SIZE.1 as usize);
            let mut buffer = DeviceBuffer::linear(&context, pitch * rows * 3 / 2).unwrap();
            let frame = picture(Surface::Nv12, n, SIZE);
            for (i, offset) in [(0, 0), (1, pitch * rows)] {
                let mut plane =
                    buffer.view_mut(offset, pitch, frame.row_bytes(i), frame.plane_height(i)).unwrap();
                let host = ghoststream_sys::cuda::Host { bytes: frame.plane(i), pitch: frame.stride(i) };
                context.upload(host, &mut plane).unwrap();
            }
            let start = buffer.plane().address();
            let planes = [
                ForeignPlane { address: start, pitch },
                ForeignPlane { address: start + (pitch * rows) as u64, pitch },
            ];
            // SAFETY: the buffer is dropped by the release.
            Input::Frame(
                unsafe { pool.wrap_cuda(&context, &planes, false, Box::new(move || drop(buffer))) }.unwrap(),
            )
        });
        let decoded = decode(Codec::Hevc, &out);
        assert_eq!((decoded.len(), worst(Surface::Nv12, &decoded, SIZE)), (6, 0));
    });
    if let Some(log) = log {
        assert_eq!((log.calls("NvEncRegisterResource"), log.calls("NvEncUnregisterResource")), (6, 6));
    }
}

#[test]
fn changes_take_hold_without_a_lost_picture() {
    let log = on_standin("encode::changes_take_hold_without_a_lost_picture", &[], || {
        let rate = RateControl::Cbr { bitrate: 2_000_000, filler: false };
        let mut config = EncodeConfig::new(Codec::H264, SIZE.0, SIZE.1, (25, 1), rate);
        (config.gop, config.max_size, config.b_frames) = (None, Some((640, 360)), Some(2));
        config.repeat_headers = true;
        let (_context, mut submitter, mut retriever) = open(&config);
        let mut out = Vec::new();
        for n in 0..30 {
            match n {
                5 => submitter
                    .reconfigure(&Changes { bitrate: Some(1_000_000), ..Changes::default() })
                    .unwrap(),
                10 => submitter.reconfigure(&Changes { force_idr: true, ..Changes::default() }).unwrap(),
                20 => {
                    submitter.reconfigure(&Changes { size: Some((640, 360)), ..Changes::default() }).unwrap()
                }
                _ => {}
            }
            let size = (submitter.config().width, submitter.config().height);
            let input = host(&mut submitter, &picture(Surface::Nv12, n, size));
            let force = if n == 15 { Force::Idr } else { Force::None };
            while !submitter.wait(Duration::ZERO).unwrap() {
                take(&mut retriever, &mut out, Duration::from_millis(1));
            }
            submitter.submit(input, &Picture { pts: n as i64, force, ..Picture::default() }).unwrap();
        }
        let e = submitter.reconfigure(&Changes { size: Some((642, 360)), ..Changes::default() }).unwrap_err();
        assert_eq!(e.kind(), Kind::Invalid);
        submitter.finish().unwrap();
        assert!(take(&mut retriever, &mut out, SOON));
        let keys: Vec<i64> = out.iter().filter(|o| o.kind.is_key()).map(|o| o.pts).collect();
        assert_eq!((keys, out.len()), (vec![0, 10, 15, 20], 30));
        let decoded = decode(Codec::H264, &out);
        assert_eq!(decoded.len(), 30);
        assert_eq!((decoded[19].width(), decoded[20].width()), (320, 640));
    });
    if let Some(log) = log {
        assert_eq!(log.calls("NvEncReconfigureEncoder"), 3);
    }
}

#[test]
fn metadata_is_in_the_stream() {
    const NAME: &str = "encode::metadata_is_in_the_stream";
    for api in ["12.2", "13.0"] {
        on_standin(NAME, &[("PROFILE", "rtx4090"), ("API", api)], || {
            let display = MasteringDisplay {
                primaries: [[0.708, 0.292], [0.170, 0.797], [0.131, 0.046]],
                white: [0.3127, 0.3290],
                max_luminance: 1000.0,
                min_luminance: 0.005,
            };
            let light = ContentLight { max_content: 1000, max_average: 400 };
            for codec in [Codec::Hevc, Codec::Av1] {
                let rate = RateControl::Cq { quality: 20.0, max_bitrate: None };
                let mut config = EncodeConfig::new(codec, SIZE.0, SIZE.1, (25, 1), rate);
                (config.surface, config.hdr_metadata) = (Surface::P010, true);
                config.vui = Some(Vui {
                    primaries: 9,
                    transfer: 16,
                    matrix: 9,
                    full_range: false,
                    chroma_location: Some(2),
                });
                let (_context, mut submitter, mut retriever) = open(&config);
                let text = [b"GhostStream test".as_slice(), b"hello"].concat();
                let note = [Payload { kind: 5, bytes: &text }];
                for n in 0..4 {
                    let input = host(&mut submitter, &picture(Surface::P010, n, SIZE));
                    let first = n == 0;
                    let p = Picture {
                        pts: n as i64,
                        mastering: first.then_some(&display),
                        light: first.then_some(light),
                        payloads: if codec == Codec::Hevc { &note } else { &[] },
                        ..Picture::default()
                    };
                    submitter.submit(input, &p).unwrap();
                }
                submitter.finish().unwrap();
                let mut out = Vec::new();
                assert!(take(&mut retriever, &mut out, SOON));
                let frames = decode(codec, &out);
                let (hdr, colour) = (frames[0].hdr(), frames[0].colour());
                let told = hdr.mastering.unwrap_or_else(|| panic!("{codec:?} has no mastering display"));
                assert!(
                    (told.primaries[1][1] - 0.797).abs() < 1e-3 && (told.max_luminance - 1000.0).abs() < 1.0
                );
                assert!((told.min_luminance - 0.005).abs() < 1e-3, "{told:?}");
                assert_eq!(hdr.content_light, Some(light), "{codec:?}");
                assert!(colour.is_pq(), "{colour:?}");
                if codec == Codec::Hevc {
                    assert!(out.iter().all(|o| o.bytes.windows(5).any(|w| w == b"hello")));
                }
            }
            let mut plain = lossless(Codec::Hevc);
            plain.gop = None;
            let (_context, mut submitter, _retriever) = open(&plain);
            let input = host(&mut submitter, &picture(Surface::Nv12, 0, SIZE));
            let p = Picture { light: Some(light), ..Picture::default() };
            assert_eq!(submitter.submit(input, &p).unwrap_err().kind(), Kind::Invalid);
        });
    }
}

#[test]
fn every_preset_and_tuning_is_taken() {
    const NAME: &str = "encode::every_preset_and_tuning_is_taken";
    for profile in ["gtx1650", "gtx1660", "rtx2060", "rtx3060", "rtx4090", "rtx5090", "l4"] {
        on_standin(NAME, &[("PROFILE", profile)], || {
            let context = Context::primary(0).unwrap();
            let library = Library::load().unwrap();
            let codecs = Session::open(library, &context).unwrap().codecs().unwrap();
            let mut taken = 0;
            for codec in codecs {
                for preset in 1..=7 {
                    for (tuning, rate) in [
                        (
                            Tuning::HighQuality,
                            RateControl::Cq { quality: 21.5, max_bitrate: Some(3_000_000) },
                        ),
                        (Tuning::LowLatency, RateControl::Cbr { bitrate: 1_000_000, filler: true }),
                        (
                            Tuning::UltraLowLatency,
                            RateControl::Vbr { bitrate: 1_000_000, max_bitrate: None, quality: Some(30.0) },
                        ),
                        (Tuning::Lossless, RateControl::Lossless),
                        (Tuning::UltraHighQuality, RateControl::ConstQp { i: 20, p: 22, b: 25 }),
                    ] {
                        let mut config = EncodeConfig::new(codec, SIZE.0, SIZE.1, (30_000, 1001), rate);
                        (config.preset, config.tuning) = (preset, tuning);
                        config.multipass = Some(MultiPass::Quarter);
                        config.spatial_aq = Some(8);
                        let session = Session::open(library, &context).unwrap();
                        let able = session.capabilities(codec).unwrap().check(&config, session.version());
                        let opened = session.initialize(&config);
                        match able {
                            Ok(()) => {
                                let (mut submitter, mut retriever) = opened.unwrap();
                                let input = host(&mut submitter, &picture(Surface::Nv12, 0, SIZE));
                                submitter.submit(input, &Picture { pts: 7, ..Picture::default() }).unwrap();
                                submitter.finish().unwrap();
                                let mut out = Vec::new();
                                assert!(take(&mut retriever, &mut out, SOON));
                                assert_eq!((out.len(), out[0].pts, out[0].kind), (1, 7, PictureKind::Idr));
                                taken += 1;
                            }
                            Err(refusal) => {
                                assert!(opened.unwrap_err().to_string().starts_with(refusal.field));
                            }
                        }
                    }
                }
            }
            assert!(taken >= 2 * 7 * 3, "only {taken} were taken");
        });
    }
}

#[test]
fn lost_pictures_waves_and_maps_reach_the_encoder() {
    let log = on_standin("encode::lost_pictures_waves_and_maps_reach_the_encoder", &[], || {
        for codec in [Codec::H264, Codec::Hevc] {
            let rate = RateControl::Cbr { bitrate: 2_000_000, filler: false };
            let mut config = EncodeConfig::new(codec, SIZE.0, SIZE.1, (60, 1), rate);
            (config.tuning, config.b_frames, config.gop) = (Tuning::UltraLowLatency, Some(0), None);
            config.intra_refresh = Some(IntraRefresh { period: 20, count: 8, single_slice: false });
            (config.qp_map, config.slices, config.delimiters) = (true, Some(Slices::Count(2)), true);
            (config.max_references, config.zero_reorder, config.strict_gop) = (Some(4), true, true);
            (config.vbv_size, config.vbv_initial) = (Some(100_000), Some(50_000));
            (config.min_qp, config.max_qp) = (Some([10; 3]), Some([40; 3]));
            let (_context, mut submitter, mut retriever) = open(&config);
            let block = codec.qp_block();
            let map = vec![-3i8; (SIZE.0.div_ceil(block) * SIZE.1.div_ceil(block)) as usize];
            let mut out = Vec::new();
            for n in 0..12i64 {
                if n == 6 {
                    submitter.invalidate(4 * 100).unwrap();
                    assert_eq!(submitter.invalidate(6 * 100).unwrap_err().kind(), Kind::Invalid);
                }
                let input = host(&mut submitter, &picture(Surface::Nv12, n as usize, SIZE));
                let p = Picture {
                    pts: n * 100,
                    qp_map: Some(&map),
                    intra_refresh: if n == 8 { 4 } else { 0 },
                    headers: n == 9,
                    ..Picture::default()
                };
                submitter.submit(input, &p).unwrap();
                match retriever.next(SOON).unwrap() {
                    Next::Coded(c) => {
                        assert_eq!((c.pts, c.average_qp > 0), (n * 100, true));
                        out.push(Out { bytes: c.bytes().to_vec(), pts: c.pts, kind: c.kind });
                    }
                    other => panic!("low latency means one out for one in: {other:?}"),
                }
            }
            assert_eq!(decode(codec, &out).len(), 12, "{codec:?}");
        }
    });
    if let Some(log) = log {
        assert_eq!(log.calls("NvEncInvalidateRefFrames"), 2);
    }
}
