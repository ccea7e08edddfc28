//! Real media through the whole chain: encode, mux, demux, decode, filter.

use crate::media::*;
use bytes::Bytes;
use ghoststream_sys::ffmpeg::*;

fn luma(frame: &Frame) -> u8 {
    frame.plane(0)[frame.stride(0) * 90 + 160]
}

#[test]
fn what_is_encoded_and_muxed_comes_back_in_order() {
    let mut demuxer = open(mp4(50)).unwrap();
    assert!(demuxer.format_name().contains("mp4"));
    assert!(demuxer.is_seekable());
    assert_eq!(demuxer.duration(), Some(2_000_000));
    let title = demuxer.metadata().into_iter().find(|(k, _)| k == "title");
    assert_eq!(title.map(|(_, v)| v).as_deref(), Some("counting"));
    assert_eq!(demuxer.chapters()[0].metadata, pairs(&[("title", "first")]));
    let streams = demuxer.streams().unwrap();
    let s = &streams[0];
    assert_eq!(s.frames, 50);
    assert_eq!(s.avg_frame_rate, (25, 1));
    assert!(s.disposition.contains(Disposition::DEFAULT));
    assert!(s.metadata.contains(&("language".into(), "deu".into())), "{:?}", s.metadata);
    let v = s.params.values();
    assert_eq!((v.kind, v.codec.as_str(), v.width, v.height), (MediaType::Video, "h264", 320, 180));
    assert_eq!(v.pixel_format, Some(PixelFormat::yuv420p()));
    assert_eq!((v.colour.primaries, v.colour.range), (1, ColourRange::Limited));
    assert_eq!(v.extradata.first(), Some(&1), "avcC");

    let frames = decode(&mut demuxer, &DecoderOptions::default());
    assert_eq!(frames.len(), 50);
    for (n, frame) in frames.iter().enumerate() {
        let (want, got) = (16 + (n * 4 % 200) as i32, i32::from(luma(frame)));
        assert!((want - got).abs() < 6, "frame {n}: {got}, not {want}");
    }
    assert!(frames.windows(2).all(|w| w[0].pts() < w[1].pts()));
    assert_eq!(frames[0].pts(), Some(0));
    assert_eq!(frames[0].picture_type(), PictureType::I);
}

#[test]
fn a_forced_key_frame_is_one_and_seeking_lands_on_it() {
    let mut demuxer = open(mp4(50)).unwrap();
    let base = demuxer.stream(0).unwrap().time_base;
    let ticks = |frame: i64| frame * i64::from(base.1) / i64::from(base.0) / 25;
    let mut keys = Vec::new();
    while let Some(p) = demuxer.read().unwrap() {
        if p.is_key() {
            keys.push(p.pts().unwrap());
        }
    }
    assert_eq!(keys, [0, ticks(7), ticks(32)]);
    demuxer.seek(Some(0), ticks(20), true).unwrap();
    let packet = demuxer.read().unwrap().unwrap();
    assert!(packet.is_key());
    assert_eq!(packet.pts(), Some(ticks(7)));
    assert!(demuxer.seek(Some(9), 0, true).is_err());
}

#[test]
fn packets_share_their_payload_and_outlive_everything() {
    let mut demuxer = open(mp4(3)).unwrap();
    let packet = demuxer.read().unwrap().unwrap();
    let (bytes, start) = (packet.bytes(), packet.data().as_ptr());
    assert_eq!(bytes.as_ptr(), start, "copied");
    let copy = packet.data().to_vec();
    drop(packet);
    drop(demuxer);
    assert_eq!(bytes, copy);

    let wrapped = Packet::from_bytes(bytes.clone()).unwrap();
    assert_eq!(wrapped.data().as_ptr(), start, "copied");
    let padded = Packet::from_bytes_padded(&bytes).unwrap();
    assert_ne!(padded.data().as_ptr(), start);
    assert_eq!(padded.data(), copy);
    assert_eq!(wrapped.try_clone().unwrap().bytes(), copy);

    let mut p = Packet::new().unwrap();
    assert_eq!((p.pts(), p.data().len()), (None, 0));
    p.set_pts(Some(90));
    p.set_key(true);
    p.add_side_data(SideDataKind::SkipSamples.number(), &[1; 10]).unwrap();
    p.rescale((1, 90), (1, 1000));
    assert_eq!((p.pts(), p.is_key()), (Some(1000), true));
    assert_eq!(p.side_data(), [(SideDataKind::SkipSamples.number(), Bytes::from_static(&[1; 10]))]);
}

#[test]
fn unknown_options_come_back_by_name() {
    let mut options = x264();
    options.options.push(("no_such_option".into(), "1".into()));
    assert_eq!(Encoder::open(&options).unwrap().unused_options(), pairs(&[("no_such_option", "1")]));
    let demuxer = Demuxer::open(DemuxerOptions {
        url: "testsrc=size=320x180:duration=0.2".into(),
        format: Some("lavfi".into()),
        options: pairs(&[("also_unknown", "x")]),
        ..Default::default()
    })
    .unwrap();
    assert_eq!(demuxer.unused_options(), pairs(&[("also_unknown", "x")]));
    let stream = demuxer.stream(0).unwrap();
    let decoder = Decoder::new(
        &stream.params,
        &DecoderOptions { options: pairs(&[("what", "1")]), ..Default::default() },
    )
    .unwrap();
    assert_eq!(decoder.unused_options(), pairs(&[("what", "1")]));
}

#[test]
fn failures_have_kinds() {
    let kind = |e: Error| e.kind();
    let missing = EncoderOptions { name: "nope".into(), ..x264() };
    assert_eq!(Encoder::open(&missing).map_err(kind).unwrap_err(), Kind::Unsupported);
    let bad = EncoderOptions { pixel_format: PixelFormat::rgb24(), ..x264() };
    assert_eq!(Encoder::open(&bad).map_err(kind).unwrap_err(), Kind::Invalid);
    let url = "/nonexistent/clip.mp4".to_owned();
    let e = Demuxer::open(DemuxerOptions { url, ..Default::default() }).unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound);
    assert_eq!(e.to_string(), "open /nonexistent/clip.mp4: No such file or directory");
    assert_eq!(open(vec![7; 5000]).map_err(kind).unwrap_err(), Kind::InvalidData);
    let allowed = DemuxerOptions {
        url: "testsrc".into(),
        format: Some("lavfi".into()),
        format_whitelist: Some(vec!["mov".into()]),
        ..Default::default()
    };
    assert!(Demuxer::open(allowed).is_err());
    let file = DemuxerOptions {
        url: "file:Cargo.toml".into(),
        protocol_whitelist: Some(vec!["http".into()]),
        ..Default::default()
    };
    assert!(Demuxer::open(file).is_err());
}

#[test]
fn live_rate_change_takes_effect() {
    let options = EncoderOptions {
        bit_rate: Some(2_000_000),
        max_rate: Some(2_000_000),
        buffer: Some(400_000),
        options: pairs(&[("preset", "ultrafast"), ("tune", "zerolatency")]),
        ..x264()
    };
    let mut encoder = Encoder::open(&options).unwrap();
    let mut noise = 1u32;
    let mut halves = [0, 0];
    for n in 0..100usize {
        if n == 50 {
            encoder.set_rates(Some(100_000), Some(100_000), Some(20_000));
        }
        let mut frame = picture(n);
        for byte in frame.plane_mut(0).unwrap() {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (noise >> 24) as u8;
        }
        encoder.send(Some(&frame), false).unwrap();
        while let Some(p) = encoder.receive().unwrap() {
            halves[n / 50] += p.data().len();
        }
    }
    assert!(halves[1] * 3 < halves[0], "{halves:?}");
}

/// SVT-AV1 1.4.1 ends the process when an encoder is opened while another looks up what opening clears.
#[test]
fn encoders_of_svt_av1_are_opened_while_others_work() {
    if encoder_info("libsvtav1").is_none() {
        eprintln!("skipped: this FFmpeg has no libsvtav1");
        return;
    }
    let options = || EncoderOptions {
        name: "libsvtav1".into(),
        gop: Some(60),
        options: pairs(&[("preset", "4")]),
        ..x264()
    };
    std::thread::scope(|scope| {
        let works = scope.spawn(|| {
            let mut encoder = Encoder::open(&options()).unwrap();
            let (count, mut packets) = (50, 0);
            for n in 0..=count {
                let frame = (n < count).then(|| {
                    let mut frame = picture(n);
                    let stride = frame.stride(0);
                    for (i, sample) in frame.plane_mut(0).unwrap().iter_mut().enumerate() {
                        let (x, y) = (i % stride + n, i / stride);
                        *sample = ((x * 3 + y * 5) ^ (x * y / 16)) as u8;
                    }
                    frame
                });
                encoder.send(frame.as_ref(), false).unwrap();
                while encoder.receive().unwrap().is_some() {
                    packets += 1;
                }
            }
            assert_eq!(packets, count);
        });
        for _ in 0..20 {
            let mut other = Encoder::open(&options()).unwrap();
            // One that got nothing never closes.
            other.send(Some(&picture(0)), false).unwrap();
            other.send(None, false).unwrap();
            while other.receive().unwrap().is_some() {}
        }
        works.join().unwrap();
    });
}

#[test]
fn two_passes_share_their_statistics() {
    let first = EncoderOptions {
        name: "mpeg4".into(),
        bit_rate: Some(200_000),
        pass: Pass::First,
        options: Vec::new(),
        ..x264()
    };
    let mut encoder = Encoder::open(&first).unwrap();
    assert_eq!(encode(&mut encoder, 10).len(), 10);
    let stats = encoder.stats().to_owned();
    assert!(stats.lines().count() >= 10, "{stats}");
    let mut second = Encoder::open(&EncoderOptions { pass: Pass::Second(stats), ..first }).unwrap();
    assert_eq!(encode(&mut second, 10).len(), 10);
}

#[test]
fn audio_goes_through_an_encoder_of_fixed_frame_size() {
    let layout = ChannelLayout::from_channels(2);
    let options = EncoderOptions {
        name: "aac".into(),
        time_base: (1, 48_000),
        sample_rate: 48_000,
        layout: Some(layout.clone()),
        sample_format: SampleFormat::F32P,
        bit_rate: Some(128_000),
        global_header: true,
        ..Default::default()
    };
    let mut encoder = Encoder::open(&options).unwrap();
    assert_eq!(encoder.frame_size(), 1024);
    assert!(encoder.initial_padding() > 0);
    assert!(encoder.extradata().unwrap().len() >= 2);
    let mut graph = FilterGraph::new(
        "[in]aresample=48000,aformat=sample_fmts=fltp[out]",
        &[FilterInput::Audio {
            name: "in".into(),
            format: SampleFormat::S16,
            sample_rate: 44_100,
            layout: layout.clone(),
            time_base: (1, 44_100),
        }],
        &[FilterOutput { name: "out".into(), audio: true }],
        1,
        None,
    )
    .unwrap();
    graph.set_frame_size(0, encoder.frame_size()).unwrap();
    let params = graph.output(0).unwrap();
    assert!(matches!(params, OutputParams::Audio { sample_rate: 48_000, .. }), "{params:?}");
    let mut packets = 0;
    let mut samples = 0;
    for n in 0..=10 {
        let frame = (n < 10).then(|| {
            let mut f = Frame::alloc_audio(SampleFormat::S16, 44_100, &layout, 4_410).unwrap();
            f.set_pts(Some(n * 4_410));
            f
        });
        graph.push(0, frame.as_ref()).unwrap();
        while let Some(f) = graph.pull(0).unwrap() {
            assert_eq!((f.sample_format(), f.channel_layout()), (SampleFormat::F32P, layout.clone()));
            assert_eq!(f.plane_count(), 2);
            samples += f.samples();
            encoder.send(Some(&f), false).unwrap();
            while encoder.receive().unwrap().is_some() {
                packets += 1;
            }
        }
    }
    encoder.send(None, false).unwrap();
    while encoder.receive().unwrap().is_some() {
        packets += 1;
    }
    assert!((47_990..=48_010).contains(&samples), "{samples}");
    assert_eq!(packets, 48, "47 frames and the priming");
    assert_eq!(graph.pull_or_end(0).unwrap_err().kind(), Kind::Eof);
}

fn video_input(name: &str) -> FilterInput<'static> {
    FilterInput::Video {
        name: name.into(),
        format: PixelFormat::yuv420p(),
        width: 320,
        height: 180,
        time_base: (1, 25),
        frame_rate: Some((25, 1)),
        sample_aspect: (1, 1),
        colour: Colour::BT709,
        hw_frames: None,
    }
}

fn video_output(name: &str) -> FilterOutput {
    FilterOutput { name: name.into(), audio: false }
}

#[test]
fn a_graph_splits_scales_and_keeps_colour() {
    let mut graph = FilterGraph::new(
        "[in]split[a][b];[a]scale@top=160:90[small];[b]vflip,format=nv12[flipped]",
        &[video_input("in")],
        &[video_output("small"), video_output("flipped")],
        1,
        None,
    )
    .unwrap();
    let mut frame = picture(1);
    let stride = frame.stride(0);
    frame.plane_mut(0).unwrap()[..stride * 90].fill(200);
    graph.push(0, Some(&frame)).unwrap();
    let small = graph.pull(0).unwrap().unwrap();
    assert_eq!((small.width(), small.height(), small.colour().matrix), (160, 90, 1));
    let flipped = graph.pull(1).unwrap().unwrap();
    assert_eq!(flipped.format(), PixelFormat::nv12());
    assert!(flipped.stride(0) >= 320);
    assert_eq!((flipped.plane(0)[0], flipped.plane(0)[flipped.stride(0) * 179]), (20, 200));
    assert_eq!(graph.pull(0).unwrap().map(|f| f.pts()), None);
    graph.send_command("scale@top", "width", "80").unwrap();
    assert!(graph.send_command("nobody", "width", "80").is_err());
    graph.push(0, None).unwrap();
    assert_eq!(graph.pull_or_end(0).unwrap_err().kind(), Kind::Eof);
    assert!(FilterGraph::new("nosuchfilter", &[video_input("in")], &[video_output("out")], 1, None).is_err());
    assert!(FilterGraph::new("[in]null[x]", &[video_input("in")], &[video_output("out")], 1, None).is_err());
}

#[test]
fn an_upside_down_picture_gets_a_positive_stride() {
    let mut graph = FilterGraph::new("vflip", &[video_input("in")], &[video_output("out")], 1, None).unwrap();
    let mut frame = picture(1);
    let stride = frame.stride(0);
    frame.plane_mut(0).unwrap()[..stride].fill(99);
    graph.push(0, Some(&frame)).unwrap();
    let out = graph.pull(0).unwrap().unwrap();
    assert_eq!((out.plane(0)[0], out.plane(0)[out.stride(0) * 179]), (20, 99));
    assert_eq!(out.pts(), Some(1));
}

#[test]
fn the_input_to_feed_next_is_known() {
    let mut graph = FilterGraph::new(
        "[a][b]overlay[out]",
        &[video_input("a"), video_input("b")],
        &[video_output("out")],
        1,
        None,
    )
    .unwrap();
    graph.push(0, Some(&picture(0))).unwrap();
    graph.push(0, Some(&picture(1))).unwrap();
    assert!(graph.pull(0).unwrap().is_none());
    assert_eq!(graph.wanted_input(), Some(1));
    assert!(graph.push(2, None).is_err());
}

#[test]
fn bitstream_filters_change_packets_and_parameters() {
    let mut demuxer = open(mp4(3)).unwrap();
    let stream = demuxer.stream(0).unwrap();
    let mut bsf = Bsf::new("h264_mp4toannexb", &stream.params, stream.time_base).unwrap();
    let mut count = 0;
    while let Some(packet) = demuxer.read().unwrap() {
        bsf.send(Some(packet)).unwrap();
        while let Some(packet) = bsf.receive().unwrap() {
            assert!(packet.data().starts_with(&[0, 0, 0, 1]));
            count += 1;
        }
    }
    assert_eq!(count, 3);
    let (params, base) = bsf.output().unwrap();
    assert!(params.extradata().starts_with(&[0, 0, 0, 1]));
    assert_eq!(base, stream.time_base);
    assert_eq!(Bsf::new("nope", &stream.params, (1, 25)).err().unwrap().kind(), Kind::Unsupported);
}

#[test]
fn text_subtitles_decode_to_events() {
    let srt = b"1\n00:00:01,000 --> 00:00:02,500\n<i>Hello</i>\nworld\n\n".to_vec();
    let mut demuxer = Demuxer::open(DemuxerOptions {
        url: "x.srt".into(),
        io: Some(Input::Seekable(Box::new(std::io::Cursor::new(srt)))),
        ..Default::default()
    })
    .unwrap();
    let stream = demuxer.stream(0).unwrap();
    let mut decoder = SubtitleDecoder::new(&stream.params, stream.time_base).unwrap();
    assert!(decoder.header().starts_with("[Script Info]"));
    let packet = demuxer.read().unwrap().unwrap();
    let event = decoder.decode(&packet).unwrap().unwrap();
    assert_eq!((event.start, event.end), (1_000_000, Some(2_500_000)));
    assert_eq!(event.rects[0].plain_text().as_deref(), Some("Hello\nworld"));
}

#[test]
fn frame_threads_and_key_frames_only() {
    let options = DecoderOptions {
        threads: 2,
        thread_type: ThreadType::Frame,
        skip: Skip::NonKey,
        ..Default::default()
    };
    let frames = decode(&mut open(mp4(50)).unwrap(), &options);
    assert_eq!(frames.len(), 3);
    assert!(frames.iter().all(Frame::is_key));
}

#[test]
fn hdr_metadata_reaches_the_container() {
    let hdr = HdrMetadata {
        mastering: Some(MasteringDisplay {
            primaries: [[0.708, 0.292], [0.17, 0.797], [0.131, 0.046]],
            white: [0.3127, 0.329],
            min_luminance: 0.01,
            max_luminance: 1000.0,
        }),
        content_light: Some(ContentLight { max_content: 900, max_average: 300 }),
        ..Default::default()
    };
    let colour = Colour { primaries: 9, transfer: 16, matrix: 9, ..Colour::BT709 };
    let options = EncoderOptions {
        name: "libx265".into(),
        pixel_format: PixelFormat::yuv420p10(),
        hdr,
        colour,
        options: pairs(&[("preset", "ultrafast"), ("x265-params", "log-level=none:pools=1")]),
        ..x264()
    };
    let mut encoder = Encoder::open(&options).unwrap();
    assert_eq!(encoder.unused_options(), []);
    assert_eq!(encoder.parameters().unwrap().hdr(), hdr);
    let mut frame = Frame::alloc_video(PixelFormat::yuv420p10(), 320, 180, 0).unwrap();
    frame.set_pts(Some(0));
    encoder.send(Some(&frame), false).unwrap();
    encoder.send(None, false).unwrap();
    let packet = encoder.receive().unwrap().unwrap();
    let mut decoder = Decoder::new(&encoder.parameters().unwrap(), &DecoderOptions::default()).unwrap();
    let padded = Packet::from_bytes_padded(packet.data()).unwrap();
    decoder.send(Some(&padded)).unwrap();
    decoder.send(None).unwrap();
    let out = decoder.receive().unwrap().unwrap();
    assert_eq!(out.hdr(), hdr, "in the bitstream");
    assert!(out.colour().is_pq());
}

#[test]
fn lines_of_an_object_carry_the_scope_it_was_opened_in() {
    use std::sync::{Arc, Mutex};
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    set_log_callback(LogLevel::Info, move |r| sink.lock().unwrap().push((r.component, r.scope, r.message)));
    let mut encoder = {
        let _scope = log_scope(4711);
        Encoder::open(&x264()).unwrap()
    };
    std::thread::spawn(move || encode(&mut encoder, 2).len()).join().unwrap();
    let seen = seen.lock().unwrap();
    let of_mine: Vec<_> = seen.iter().filter(|(_, scope, _)| *scope == Some(4711)).collect();
    assert!(of_mine.iter().all(|(component, _, _)| component == "libx264"), "{of_mine:?}");
    // Said while opening, and while closing on the other thread.
    assert!(of_mine.iter().any(|(_, _, m)| m.starts_with("profile ")), "{of_mine:?}");
    assert!(of_mine.iter().any(|(_, _, m)| m.starts_with("frame I:")), "{of_mine:?}");
}
