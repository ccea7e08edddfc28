//! The application as source and as sink.

use crate::support::*;
use ghoststream::ErrorKind;
use ghoststream::event::{Event, Outcome};
use ghoststream::frame::{ChannelLayout, Frame, PixelFormat, SampleFormat};
use ghoststream::job::Taken;
use ghoststream::time::Rational;
use serde_json::json;

fn picture(n: i64) -> Frame {
    picture_of(n, 160, 90)
}

fn picture_of(n: i64, width: u32, height: u32) -> Frame {
    let mut media =
        ghoststream_sys::ffmpeg::Frame::alloc_video(PixelFormat::nv12(), width, height, 32).unwrap();
    let value = (n * 2) as u8;
    for plane in 0..2 {
        media.plane_mut(plane).unwrap().fill(if plane == 0 { value } else { 128 });
    }
    media.set_pts(Some(n));
    media.set_duration(1);
    Frame::new(media, Rational::new(1, 25))
}

fn sound(samples: usize) -> Frame {
    let layout = ChannelLayout::from_channels(2);
    let format = SampleFormat::from_name("s16").unwrap();
    let media = ghoststream_sys::ffmpeg::Frame::alloc_audio(format, 48000, &layout, samples).unwrap();
    Frame::new(media, Rational::new(1, 48000))
}

fn frames_source() -> serde_json::Value {
    json!({"frames": {"video": {"width": 160, "height": 90, "format": "nv12", "frame_rate": 25}}})
}

#[test]
fn frames_in_packets_out() {
    for (format, annex_b) in [("annex_b", true), ("length_prefixed", false)] {
        let job = start(
            json!({"source": frames_source(), "outputs": [{"packets": {"format": format}, "video": {"preset": "p1", "b_frames": 2, "gop": 10}}]}),
        );
        let job = std::sync::Arc::new(job);
        let feeder = {
            let job = job.clone();
            std::thread::spawn(move || {
                (0..50).for_each(|n| job.push_frame(picture(n)).unwrap());
                job.finish_input();
            })
        };
        let streams = job.streams(0, None).unwrap().unwrap();
        assert_eq!(streams[0].codec.name(), "h264");
        assert_eq!(streams[0].extradata.starts_with(&[0, 0, 0, 1]), annex_b);
        assert_eq!(streams[0].extradata.first() == Some(&1), !annex_b, "avcC begins with its version");
        let mut count = 0;
        let mut elementary = Vec::new();
        while let Taken::Item(p) = job.next_packet(0, None).unwrap() {
            assert_eq!(p.data.starts_with(&[0, 0, 0, 1]) || p.data.starts_with(&[0, 0, 1]), annex_b);
            if count == 0 {
                assert!(p.key);
                let has_sps = p.data.windows(5).any(|w| w[..4] == [0, 0, 0, 1] && w[4] & 31 == 7);
                assert_eq!(has_sps, annex_b, "parameter sets are in band where there is no record");
            }
            elementary.extend_from_slice(&p.data);
            count += 1;
        }
        feeder.join().unwrap();
        assert_eq!(count, 50, "every frame comes out");
        assert!(job.wait(None).unwrap().unwrap().into_result().is_ok());
        if annex_b {
            let dir = Dir::new();
            let path = dir.path("e.h264");
            std::fs::write(&path, &elementary).unwrap();
            assert_eq!(frames(video(&probe(&path))), 50);
        }
    }
}

#[test]
fn frames_are_encoded_without_copying_pixels() {
    // The encoder's input format is the frames' own: nothing is converted, and the buffer that arrives is the one that
    // was pushed. Identity is shown by wrapping memory that counts its own release.
    use bytes::Bytes;
    let job = start(
        json!({"source": frames_source(), "outputs": [{"packets": {}, "video": {"codec": "rawvideo", "pixel_format": "nv12"}}]}),
    );
    let luma = Bytes::from(vec![7u8; 160 * 90]);
    let chroma = Bytes::from(vec![128u8; 160 * 46]);
    let mut media = ghoststream_sys::ffmpeg::Frame::wrap_bytes(
        PixelFormat::nv12(),
        160,
        90,
        vec![(luma.clone(), 160), (chroma, 160)],
    )
    .unwrap();
    media.set_pts(Some(0));
    assert_eq!(media.data_ptr(0), luma.as_ptr() as usize);
    job.push_frame(Frame::new(media, Rational::new(1, 25))).unwrap();
    job.finish_input();
    let Taken::Item(packet) = job.next_packet(0, None).unwrap() else { panic!("a packet") };
    assert!(packet.data[..160 * 90].iter().all(|b| *b == 7));
}

#[test]
fn bytes_in() {
    let dir = Dir::new();
    let (input, output) = (clip(&dir, "in.mkv"), dir.path("o.mp4"));
    let job = start(
        json!({"source": {"bytes": {"buffer": 65536}}, "outputs": [{"path": output, "video": {"preset": "p1"}}]}),
    );
    for piece in std::fs::read(&input).unwrap().chunks(10_000) {
        job.write(piece).unwrap();
    }
    job.finish_input();
    assert!(job.write(b"more").is_err());
    let done = job.wait(None).unwrap().unwrap().into_result().unwrap();
    assert_eq!(done.outputs, std::slice::from_ref(&output));
    assert_eq!(frames(video(&probe(&output))), 100);
}

#[test]
fn a_live_packet_output_drops_and_counts() {
    let job = start(
        json!({"source": frames_source(), "outputs": [{"packets": {"live": true, "queue": 4}, "video": {"preset": "p1", "tune": "ull"}}]}),
    );
    (0..60).for_each(|n| job.push_frame(picture(n)).unwrap());
    job.finish_input();
    job.wait(None).unwrap();
    let mut left = 0;
    while let Taken::Item(_) = job.next_packet(0, None).unwrap() {
        left += 1;
    }
    let dropped: u64 = job.stats().stages.iter().filter_map(|s| s.queue).map(|q| q.dropped).sum();
    assert_eq!((left, left as u64 + dropped), (4, 60), "nothing is lost without being counted");
}

#[test]
fn a_live_source_says_once_of_each_kind_that_it_drops() {
    let mut source = frames_source();
    source["frames"]["live"] = json!(true);
    source["frames"]["audio"] = json!({"sample_rate": 48000, "channels": 2, "format": "s16"});
    let dir = Dir::new();
    let job = start(
        json!({"source": source, "outputs": [{"path": dir.path("o.mkv"), "video": {"preset": "p1"}, "audio": {"codec": "aac"}}]}),
    );
    // More at once than any encoder takes.
    for n in 0..1000 {
        job.push_frame(picture(n)).unwrap();
        let mut piece = sound(480);
        piece.pts = Some(n * 480);
        job.push_frame(piece).unwrap();
    }
    job.finish_input();
    let warnings = events(&job).into_iter().filter_map(|e| match e {
        Event::Warning { code: "dropped", message } => Some(message),
        _ => None,
    });
    let mut warnings: Vec<_> = warnings.collect();
    warnings.sort_unstable();
    let begins = ["source.frames: some of its audio ", "source.frames: some of its video "];
    assert!(
        warnings.len() == 2 && warnings.iter().zip(begins).all(|(w, begin)| w.starts_with(begin)),
        "{warnings:?}"
    );
}

#[test]
fn the_colour_of_pushed_frames_is_what_the_document_says() {
    let mut source = frames_source();
    source["frames"]["video"]["colour"] =
        json!({"primaries": "bt709", "transfer": "bt709", "matrix": "bt709", "range": "limited"});
    let dir = Dir::new();
    let output = dir.path("o.mp4");
    let job = start(json!({"source": source, "outputs": [{"path": output, "video": {"preset": "p1"}}]}));
    (0..5).for_each(|n| job.push_frame(picture(n)).unwrap());
    job.finish_input();
    assert!(job.wait(None).unwrap().unwrap().into_result().is_ok());
    let streams = probe(&output);
    assert_eq!(
        (video(&streams)["color_space"].as_str(), video(&streams)["color_range"].as_str()),
        (Some("bt709"), Some("tv"))
    );
}

#[test]
fn times_that_go_back_are_told_or_refused() {
    let order = [0, 1, 2, 3, 2, 1, 4, 5, 5, 6];
    for fallback in [true, false] {
        let job = start(
            json!({"source": frames_source(), "fallback": fallback, "outputs": [{"packets": {"queue": 64}, "video": {"preset": "p1"}}]}),
        );
        for n in order {
            if job.push_frame(picture(n)).is_err() {
                assert!(!fallback);
                break;
            }
        }
        job.finish_input();
        let (mut warnings, mut done) = (Vec::new(), None);
        for event in events(&job) {
            match event {
                Event::Warning { code, message } => warnings.push((code, message)),
                Event::Done(d) => done = Some(d),
                _ => {}
            }
        }
        let done = done.unwrap();
        let what = "frame.pts: 0.080000 s does not come after 0.120000 s";
        if fallback {
            assert_eq!(done.outcome, Outcome::Completed, "{done:?}");
            assert_eq!(warnings.len(), 1, "once: {warnings:?}");
            assert!(warnings[0].0 == "source" && warnings[0].1.starts_with(what), "{warnings:?}");
        } else {
            assert!(done.message.as_ref().is_some_and(|m| m.contains(what)), "{done:?}");
            assert_eq!(done.error, Some(ErrorKind::Invalid));
        }
    }
}

#[test]
fn pictures_of_another_size_are_told_once() {
    let dir = Dir::new();
    let path = dir.path("o.mp4");
    let job =
        start(json!({"source": frames_source(), "outputs": [{"path": path, "video": {"preset": "p1"}}]}));
    for n in 0..12 {
        let side = if n % 4 == 3 { 120 } else { 90 };
        job.push_frame(picture_of(n, 160, side)).unwrap();
    }
    job.finish_input();
    let warnings: Vec<_> = events(&job)
        .into_iter()
        .filter_map(|e| match e {
            Event::Warning { code, message } => Some((code.to_string(), message)),
            _ => None,
        })
        .collect();
    let [(code, message)] = &warnings[..] else { panic!("once: {warnings:?}") };
    assert!(code == "source" && message.starts_with("frame: 160x120 after 160x90;"), "{warnings:?}");
    let made = probe(&path);
    assert_eq!((frames(video(&made)), video(&made)["height"].as_u64()), (12, Some(90)));
}

#[test]
fn a_frame_of_a_kind_that_the_source_has_not_is_refused() {
    let sound = || sound(1024);
    let outputs = json!([{"packets": {}}]);
    let job = start(json!({"source": frames_source(), "outputs": outputs}));
    let e = job.push_frame(sound()).unwrap_err();
    assert_eq!((e.kind(), e.message()), (ErrorKind::Invalid, "frame: sound, but source.frames has no audio"));
    job.cancel();
    let audio = json!({"frames": {"audio": {"sample_rate": 48000, "channels": 2, "format": "s16"}}});
    let job = start(
        json!({"source": audio, "outputs": [{"packets": {}, "video": false, "audio": {"codec": "aac"}}]}),
    );
    job.push_frame(sound()).unwrap();
    let e = job.push_frame(picture(0)).unwrap_err();
    assert_eq!(
        (e.kind(), e.message()),
        (ErrorKind::Invalid, "frame: a picture, but source.frames has no video")
    );
    job.cancel();
}
