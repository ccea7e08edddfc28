//! HDR: what the probe says, what copies keep, and metadata that the document sets.

mod samples;

use super::support::*;
use ghoststream::frame::{Frame, PixelFormat};
use ghoststream::time::Rational;
use ghoststream_sys::ffmpeg as av;
use serde_json::{Value, json};
use std::process::Command;

/// The HDR part of the first stream in the probe's JSON.
fn hdr(path: &str) -> Value {
    let source = ghoststream::spec::SourceSpec::url(path);
    let probe = ghoststream::probe::probe(&source, &Default::default()).unwrap();
    serde_json::to_value(probe).unwrap()["streams"][0]["video"]["hdr"].clone()
}

/// Side data that ffprobe sees on the first frame, by name.
fn frame_side_data(path: &str, name: &str) -> Option<Value> {
    let out = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            "v:0",
            "-show_frames",
            "-read_intervals",
            "%+#1",
            "-of",
            "json",
        ])
        .arg(path)
        .output()
        .unwrap();
    let value: Value = serde_json::from_slice(&out.stdout).unwrap();
    let list = value["frames"][0]["side_data_list"].as_array().cloned().unwrap_or_default();
    list.into_iter().find(|s| s["side_data_type"].as_str().is_some_and(|t| t.contains(name)))
}

fn number(value: &Value) -> f64 {
    let (n, d) = value.as_str().unwrap().split_once('/').unwrap();
    n.parse::<f64>().unwrap() / d.parse::<f64>().unwrap()
}

fn copy(input: &str, output: &str) {
    complete(json!({"source": {"url": input}, "outputs": [{"path": output, "video": {"codec": "copy"}}]}));
}

fn p3(max: f64) -> Value {
    json!({"red": [0.68, 0.32], "green": [0.265, 0.69], "blue": [0.15, 0.06], "white": [0.3127, 0.329],
           "min_luminance": 0.0001, "max_luminance": max})
}

#[test]
fn static_metadata_is_probed_and_copied() {
    let dir = Dir::new();
    let input = samples::hdr10(&dir, "in.mkv", true);
    let check = |path: &str| {
        let found = hdr(path);
        assert_eq!((&found["format"], &found["hdr10_plus"]), (&json!("hdr10"), &json!(false)), "{path}");
        assert_eq!((&found["max_cll"], &found["max_fall"]), (&json!(1000), &json!(400)), "{path}");
        let mastering = &found["mastering_display"];
        for (name, value) in [("max_luminance", 1000.0), ("min_luminance", 0.0001)] {
            assert!((mastering[name].as_f64().unwrap() - value).abs() < 1e-5, "{path}: {mastering}");
        }
        assert!((mastering["red"][0].as_f64().unwrap() - 0.68).abs() < 1e-4, "{path}: {mastering}");
    };
    check(&input);
    for name in ["o.mp4", "o.mkv", "o.mov", "o.ts"] {
        let output = dir.path(name);
        copy(&input, &output);
        check(&output);
    }
    assert_eq!(hdr(&clip(&dir, "sdr.mp4"))["format"], "sdr");
    let bare = hdr(&samples::hdr10(&dir, "bare.mp4", false));
    assert_eq!((&bare["format"], &bare["mastering_display"]), (&json!("hdr10"), &Value::Null));
}

#[test]
fn hdr10_plus_is_probed_and_copied() {
    let dir = Dir::new();
    let input = samples::hdr10_plus(&dir, "plus.mkv");
    assert!(frame_side_data(&input, "HDR10+").is_some(), "the sample is what it should be");
    for name in ["plus.mkv", "o.mp4", "o.mkv"] {
        let path = dir.path(name);
        if path != input {
            copy(&input, &path);
        }
        let found = hdr(&path);
        assert_eq!((&found["format"], &found["hdr10_plus"]), (&json!("hdr10+"), &json!(true)), "{name}");
        assert_eq!(found["max_cll"], 1000, "{name}");
        assert_eq!(frames(video(&probe(&path))), 12);
        assert!(frame_side_data(&path, "HDR10+").is_some(), "{name}: copies keep what is in the stream");
    }
    // A new encode does not carry dynamic metadata, and does not claim to.
    let output = dir.path("again.mp4");
    complete(json!({"source": {"url": input}, "outputs": [{"path": output,
        "video": {"codec": "hevc", "encoder": "libx265", "preset": "p1"}}]}));
    let found = hdr(&output);
    assert_eq!((&found["format"], &found["hdr10_plus"]), (&json!("hdr10"), &json!(false)));
    assert_eq!(found["max_cll"], 1000);
}

#[test]
fn dolby_vision_is_probed_and_copied() {
    let dir = Dir::new();
    for (profile, compatibility) in [(8, 1), (5, 0)] {
        let input = samples::dolby_vision(&dir, &format!("dv{profile}.mp4"), profile, compatibility);
        for name in ["", "o.mp4", "o.mkv"] {
            let path = if name.is_empty() { input.clone() } else { dir.path(&format!("{profile}{name}")) };
            if path != input {
                copy(&input, &path);
            }
            let found = hdr(&path);
            assert_eq!(found["format"], "dolby_vision", "{path}: {found}");
            assert_eq!(
                found["dolby_vision"],
                json!({"profile": profile, "level": 3, "rpu": true, "enhancement_layer": false,
                       "base_layer": true, "compatibility": compatibility}),
                "{path}"
            );
            assert_eq!(found["mastering_display"]["max_luminance"], 1000.0, "{path}");
            assert_eq!(frames(video(&probe(&path))), 12);
        }
    }
}

#[test]
fn the_document_sets_static_metadata_in_place_of_the_sources() {
    let dir = Dir::new();
    let input = samples::hdr10(&dir, "in.mkv", true);
    for (encoder, codec, name) in
        [("libx265", "hevc", "o.mp4"), ("libx265", "hevc", "o.mkv"), ("libsvtav1", "av1", "a.mkv")]
    {
        let output = dir.path(name);
        let video = json!({"codec": codec, "encoder": encoder, "preset": "p1", "bit_depth": 10,
                           "hdr": {"mastering_display": p3(4000.0), "max_cll": 777}});
        complete(json!({"source": {"url": input}, "outputs": [{"path": output, "video": video}]}));
        let light = frame_side_data(&output, "Content light").expect(encoder);
        assert_eq!((&light["max_content"], &light["max_average"]), (&json!(777), &json!(400)), "{encoder}");
        let display = frame_side_data(&output, "Mastering display").expect(encoder);
        assert!((number(&display["max_luminance"]) - 4000.0).abs() < 1.0, "{encoder}: {display}");
        assert!((number(&display["green_y"]) - 0.69).abs() < 0.001, "{encoder}: {display}");
        let found = hdr(&output);
        assert_eq!((&found["max_cll"], &found["max_fall"]), (&json!(777), &json!(400)), "{name}");
    }
}

#[test]
fn pushed_frames_get_the_documents_metadata_in_the_bare_stream_too() {
    let dir = Dir::new();
    let colour =
        json!({"primaries": "bt2020", "transfer": "smpte2084", "matrix": "bt2020nc", "range": "limited"});
    let source = json!({"frames": {"video": {"width": 320, "height": 180, "format": "yuv420p10le",
        "frame_rate": 25, "colour": colour,
        "hdr": {"mastering_display": p3(1000.0), "max_cll": 900, "max_fall": 300}}}});
    for (encoder, codec, name) in [("libx265", "hevc", "o.hevc"), ("libsvtav1", "av1", "o.obu")] {
        let output = dir.path(name);
        let video = json!({"codec": codec, "encoder": encoder, "preset": "p1"});
        let job =
            start(json!({"source": source, "outputs": [{"path": output, "format": "raw", "video": video}]}));
        for i in 0..6 {
            let format = PixelFormat::from_name("yuv420p10le").unwrap();
            let mut media = av::Frame::alloc_video(format, 320, 180, 0).unwrap();
            for plane in 0..3 {
                media.plane_mut(plane).unwrap().chunks_exact_mut(2).for_each(|s| s.copy_from_slice(&[0, 2]));
            }
            media.set_pts(Some(i));
            media.set_duration(1);
            job.push_frame(Frame::new(media, Rational::new(1, 25))).unwrap();
        }
        job.finish_input();
        job.wait(None).unwrap().unwrap().into_result().unwrap();
        let light = frame_side_data(&output, "Content light").expect(encoder);
        assert_eq!((&light["max_content"], &light["max_average"]), (&json!(900), &json!(300)), "{encoder}");
        let display = frame_side_data(&output, "Mastering display").expect(encoder);
        assert!((number(&display["max_luminance"]) - 1000.0).abs() < 1.0, "{encoder}: {display}");
    }
}

#[test]
fn playlists_and_manifests_say_what_the_colours_are() {
    let dir = Dir::new();
    let (pq, sdr) = (samples::hdr10(&dir, "pq.mkv", true), clip(&dir, "sdr.mkv"));
    let said = |source: &str, more: Value| {
        let output = dir.path("o");
        let _ = std::fs::remove_dir_all(&output);
        let mut spec = json!({"source": {"url": source},
            "outputs": [{"path": output, "format": "hls+dash", "audio": false, "segment": {"duration": 1}}]});
        for (key, value) in more.as_object().unwrap() {
            spec["outputs"][0][key] = value.clone();
        }
        complete(spec);
        let read = |name: &str| std::fs::read_to_string(format!("{output}/{name}")).unwrap();
        (read("master.m3u8"), read("manifest.mpd"))
    };
    let property = |kind: &str, name: &str, value: u8| {
        format!("<{kind}Property schemeIdUri=\"urn:mpeg:mpegB:cicp:{name}\" value=\"{value}\"/>")
    };
    let (list, manifest) = said(&pq, json!({"video": {"codec": "copy"}}));
    assert!(list.contains("VIDEO-RANGE=PQ") && !list.contains("VIDEO-RANGE=SDR"), "{list}");
    for (name, value) in [("ColourPrimaries", 9), ("TransferCharacteristics", 16), ("MatrixCoefficients", 9)]
    {
        assert!(manifest.contains(&property("Supplemental", name, value)), "{manifest}");
    }
    let (list, manifest) = said(
        &sdr,
        json!({"video": {"preset": "p1", "colour": {"primaries": "bt709", "transfer": "bt709", "matrix": "bt709"}}}),
    );
    assert!(list.contains("VIDEO-RANGE=SDR") && !manifest.contains("TransferCharacteristics"), "{manifest}");
    // Two that cannot be switched between: players that know nothing of HDR have the other.
    let ladder = json!([{"height": 180, "codec": "hevc", "encoder": "libx265", "bit_depth": 10, "preset": "p1"},
        {"height": 90, "codec": "h264", "preset": "p1", "filters": [{"tone_map": {}}]}]);
    let (list, manifest) = said(&pq, json!({"ladder": ladder}));
    assert!(list.contains("VIDEO-RANGE=PQ") && list.contains("VIDEO-RANGE=SDR"), "{list}");
    assert_eq!(manifest.matches("contentType=\"video\"").count(), 2, "{manifest}");
    assert!(manifest.contains(&property("Essential", "TransferCharacteristics", 16)), "{manifest}");
}

#[test]
fn metadata_without_an_hdr_picture_is_refused() {
    let dir = Dir::new();
    let (sdr, pq) = (clip(&dir, "sdr.mkv"), samples::hdr10(&dir, "pq.mkv", false));
    let hdr = json!({"max_cll": 500});
    for (input, video) in [
        (&sdr, json!({"codec": "hevc", "hdr": hdr})),
        (&pq, json!({"codec": "h264", "hdr": hdr})),
        (&pq, json!({"codec": "hevc", "hdr": hdr, "colour": {"transfer": "bt709"}})),
    ] {
        let output = dir.path("o.mp4");
        let message =
            failure(json!({"source": {"url": input}, "outputs": [{"path": output, "video": video}]}));
        assert!(message.starts_with("outputs[0]") && message.contains("video.hdr: "), "{message}");
        assert!(!dir.names().contains(&"o.mp4".to_string()));
    }
}
