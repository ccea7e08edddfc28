//! Files: transcodes, copies, cuts, several outputs, two passes.

use crate::support::*;
use ghoststream::event::Event;
use serde_json::json;

#[test]
fn a_transcode_keeps_every_frame_its_time_and_its_look() {
    let dir = Dir::new();
    let (input, output) = (clip(&dir, "in.mkv"), dir.path("out.mp4"));
    let spec = json!({"source": {"url": input}, "outputs": [{"path": output, "video": {"crf": 18, "preset": "p3"}, "audio": {"codec": "aac", "bitrate": "96k"}}]});
    assert_eq!(complete(spec), std::slice::from_ref(&output));
    let streams = probe(&output);
    assert_eq!((video(&streams)["codec_name"].as_str(), frames(video(&streams))), (Some("h264"), 100));
    assert_eq!(video(&streams)["avg_frame_rate"], "25/1");
    assert!((number(&audio(&streams)["duration"]) - 4.0).abs() < 0.05, "{}", audio(&streams)["duration"]);
    let (v, a) = (number(&video(&streams)["start_time"]), number(&audio(&streams)["start_time"]));
    assert!((v - a).abs() < 0.025, "video begins at {v}, sound at {a}");
    assert!(psnr(&output, &input) > 38.0, "{}", psnr(&output, &input));
    assert_eq!(dir.names(), ["in.mkv", "out.mp4"], "nothing else is left behind");
}

#[test]
fn every_codec_and_container_that_is_promised() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    for (name, video_codec, audio_codec, v, a) in [
        ("a.mp4", "hevc", "aac", "hevc", "aac"),
        ("b.mkv", "av1", "opus", "av1", "opus"),
        ("c.webm", "vp9", "opus", "vp9", "opus"),
        ("d.mov", "h264", "aac", "h264", "aac"),
        ("e.ts", "h264", "ac3", "h264", "ac3"),
        ("f.flv", "h264", "mp3", "h264", "mp3"),
        ("g.mkv", "ffv1", "flac", "ffv1", "flac"),
        ("g.mp4", "h264", "flac", "h264", "flac"),
        // An encoder says what it makes.
        ("h.mkv", "", "", "hevc", "mp3"),
    ] {
        let output = dir.path(name);
        let (picture, sound) = match v {
            _ if video_codec.is_empty() => {
                (json!({"encoder": "libx265", "preset": "p1"}), json!({"encoder": "libmp3lame"}))
            }
            "ffv1" => (json!({"codec": v}), json!({"codec": audio_codec})),
            _ => (json!({"codec": video_codec, "preset": "p1"}), json!({"codec": audio_codec})),
        };
        complete(json!({"source": {"url": input, "duration": 1}, "outputs": [{"path": output,
            "video": picture, "audio": sound}]}));
        let streams = probe(&output);
        assert_eq!(
            (video(&streams)["codec_name"].as_str(), audio(&streams)["codec_name"].as_str()),
            (Some(v), Some(a)),
            "{name}"
        );
        assert_eq!(frames(video(&streams)), 25, "{name}");
    }
}

#[test]
fn bare_streams_decode_and_hold_what_their_names_say() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    let small = json!({"preset": "p1"});
    for (name, codec, more) in [
        ("a.h264", "h264", json!({"video": small})),
        ("b.264", "h264", json!({})),
        ("c.hevc", "hevc", json!({"video": small})),
        ("d.265", "hevc", json!({"video": {"preset": "p1", "keyframe_interval": 0.2}})),
        ("e.obu", "av1", json!({"video": small})),
        ("f.ivf", "vp9", json!({"video": small})),
        ("g.ivf", "av1", json!({"video": {"codec": "av1", "preset": "p1"}})),
        ("h.m4v", "mpeg4", json!({"format": "raw", "video": {"codec": "mpeg4"}})),
        ("h.ts", "mpeg4", json!({"video": {"codec": "mpeg4"}, "audio": false})),
        ("i.ts", "mpeg1video", json!({"video": {"codec": "mpeg1video"}, "audio": false})),
        ("i.m2v", "mpeg2video", json!({"format": "raw", "video": {"codec": "mpeg2video"}})),
        ("i.265", "hevc", json!({"video": {"encoder": "libx265", "preset": "p1"}})),
        ("i.ivf", "vp8", json!({"video": {"encoder": "libvpx", "preset": "p1"}})),
        ("j.mjpeg", "mjpeg", json!({"format": "raw", "video": {"codec": "mjpeg"}})),
        ("k.h264", "h264", json!({"video": {"codec": "copy"}})),
        ("l.aac", "aac", json!({})),
        ("m.aac", "aac", json!({"audio": {"bitrate": "64k"}})),
        ("n.ac3", "ac3", json!({})),
        ("o.eac3", "eac3", json!({})),
        ("p.opus", "opus", json!({})),
        ("q.mp3", "mp3", json!({"format": "raw", "video": false, "audio": {"codec": "mp3"}})),
        ("r.m4a", "aac", json!({})),
        ("s.mka", "aac", json!({})),
    ] {
        let output = dir.path(name);
        let mut document = json!({"path": output});
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        complete(json!({"source": {"url": input, "duration": 1}, "outputs": [document]}));
        let streams = probe(&output);
        assert_eq!((streams.len(), streams[0]["codec_name"].as_str()), (1, Some(codec)), "{name}");
        let count = frames(&streams[0]);
        // It says the rate of its pictures, not the base that their times had.
        if codec == "h264" {
            assert_eq!(streams[0]["r_frame_rate"], "25/1", "{name}");
        }
        match streams[0]["codec_type"] == "video" {
            // A copy ends where its pictures are complete.
            true => assert!(count == 25 || name == "k.h264" && count > 25, "{name}: {count}"),
            false => assert!(count > 20, "{name}: {count}"),
        }
    }
    for (name, more, word) in [
        ("x.hevc", json!({"video": {"codec": "h264"}}), "not for h264"),
        ("x.hevc", json!({"video": {"codec": "copy"}}), "not for h264"),
        ("x.aac", json!({"audio": {"codec": "ac3"}}), "not for ac3"),
        ("x.aac", json!({"video": {"codec": "h264"}}), "not for h264"),
    ] {
        let mut document = json!({"path": dir.path(name)});
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let message = failure(json!({"source": {"url": input}, "outputs": [document]}));
        assert!(
            message.starts_with("outputs[0].path: ") && message.contains(word),
            "{name} {more}: {message}"
        );
    }
    // Whoever says the format means it.
    let other = dir.path("y.hevc");
    complete(json!({"source": {"url": input, "duration": 1}, "outputs": [
        {"path": other, "format": "raw", "video": {"codec": "h264", "preset": "p1"}}]}));
    let out = std::process::Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-f",
            "h264",
            "-count_frames",
            "-show_entries",
            "stream=nb_read_frames",
            "-of",
            "csv=p=0",
        ])
        .arg(&other)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), "25");
}

#[test]
fn ivf_has_the_times_of_its_pictures() {
    let dir = Dir::new();
    let input = dir.path("varies.mkv");
    // 60 pictures in the first second, 15 in each of the following four.
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=160x90:r=60:d=2 -vf setpts=if(lt(N\\,60)\\,N\\,60+(N-60)*4)/(60*TB) -vsync vfr -c:v libx264 \
         -preset ultrafast {input}"
    ));
    for (name, video) in
        [("o.ivf", json!({"codec": "vp8"})), ("p.ivf", json!({"codec": "av1", "preset": "p1"}))]
    {
        let output = dir.path(name);
        complete(
            json!({"source": {"url": input}, "outputs": [{"path": output, "video": video, "audio": false}]}),
        );
        let mut times: Vec<f64> = packets(&output).iter().map(|(time, _)| *time).collect();
        times.sort_by(f64::total_cmp);
        assert_eq!(times.len(), 120, "{name}");
        assert!(
            (times[60] - times[0] - 1.0).abs() < 0.05 && (times[119] - times[0] - 4.93).abs() < 0.1,
            "{name}: {times:?}"
        );
    }
}

#[test]
fn a_remux_changes_no_byte_of_the_streams() {
    let dir = Dir::new();
    let (input, output) = (clip(&dir, "in.mkv"), dir.path("out.mp4"));
    complete(
        json!({"source": {"url": input}, "outputs": [{"path": output, "video": {"codec": "copy"}, "audio": {"codec": "copy"}}]}),
    );
    assert_eq!(psnr(&output, &input), f64::INFINITY);
    let (before, after) = (packets(&input), packets(&output));
    assert_eq!(before.len(), after.len());
    let shift = before[0].0 - after[0].0;
    for (b, a) in before.iter().zip(&after) {
        assert!((b.0 - shift - a.0).abs() < 0.0015 && b.1 == a.1, "{b:?} {a:?}");
    }
}

#[test]
fn a_copy_that_loses_its_rotation_says_so() {
    use ghoststream::Container;
    use ghoststream::event::Event;
    let dir = Dir::new();
    let (plain, turned) = (clip(&dir, "in.mp4"), dir.path("turned.mp4"));
    ffmpeg(&format!("-i {plain} -c copy -metadata:s:v:0 rotate=90 {turned}"));
    for container in [Container::Mp4, Container::Mov, Container::Mkv, Container::Ts] {
        let output = dir.path(&format!("out.{}", container.name()));
        let copy = json!({"path": output, "video": {"codec": "copy"}, "audio": false});
        let job = start(json!({"source": {"url": turned}, "outputs": [copy]}));
        let told = events(&job).into_iter().any(|event| {
            matches!(event, Event::Warning { code: "output", message } if message.contains("the picture is rotated by "))
        });
        let streams = probe(&output);
        let side = video(&streams)["side_data_list"].as_array().cloned().unwrap_or_default();
        let kept = side.iter().any(|s| s["rotation"].as_f64().is_some_and(|r| r.abs() == 90.0));
        assert_eq!(
            (kept, told),
            (container.keeps_rotation(), !container.keeps_rotation()),
            "{}",
            container.name()
        );
    }
    assert!(Container::Mp4.keeps_rotation() && !Container::Ts.keeps_rotation());
}

#[test]
fn rotation_that_is_not_carried_out_stays_in_the_metadata() {
    use ghoststream::Container;
    let dir = Dir::new();
    let (plain, turned) = (clip(&dir, "in.mp4"), dir.path("turned.mp4"));
    ffmpeg(&format!("-i {plain} -c copy -metadata:s:v:0 rotate=90 {turned}"));
    let angle = |path: &str| {
        let streams = probe(path);
        let side = video(&streams)["side_data_list"].as_array().cloned().unwrap_or_default();
        (video(&streams)["width"].as_u64(), side.iter().find_map(|s| s["rotation"].as_f64()))
    };
    let source = angle(&turned).1;
    assert!(source.is_some());
    let segments = dir.path("hls");
    let [mp4, mkv, shown] = ["o.mp4", "o.mkv", "shown.mp4"].map(|name| dir.path(name));
    let kept = json!({"codec": "h264", "preset": "p1", "auto_rotate": false});
    complete(json!({"source": {"url": turned}, "outputs": [
        {"path": mp4, "video": kept, "audio": false}, {"path": mkv, "video": kept, "audio": false},
        {"path": segments, "format": "hls", "video": kept, "audio": false},
        {"path": shown, "video": {"codec": "h264", "preset": "p1"}, "audio": false},
    ]}));
    assert_eq!(angle(&mp4), (Some(320), source));
    assert_eq!(angle(&mkv), (Some(320), source.filter(|_| Container::Mkv.keeps_rotation())));
    assert_eq!(angle(&format!("{segments}/180p/init.mp4")), (Some(320), source));
    assert_eq!(angle(&shown), (Some(180), None));
}

#[test]
fn words_and_copied_sound_are_cut_with_the_pictures() {
    let dir = Dir::new();
    let (clip, srt, input) = (clip(&dir, "v.mkv"), dir.path("s.srt"), dir.path("in.mkv"));
    let cues = [
        ("00:00:00,200", "00:00:00,800"),
        ("00:00:01,200", "00:00:02,000"),
        ("00:00:02,200", "00:00:03,500"),
    ];
    let cues = [&cues[..], &[("00:00:03,600", "00:00:03,900")]].concat();
    let text: Vec<String> =
        cues.iter().enumerate().map(|(n, (from, to))| format!("{n}\n{from} --> {to}\nWord {n}\n")).collect();
    std::fs::write(&srt, text.join("\n")).unwrap();
    ffmpeg(&format!("-i {clip} -i {srt} -map 0 -map 1 -c copy {input}"));
    let shown = |path: &str| {
        let back = dir.path("back.srt");
        ffmpeg(&format!("-copyts -i {path} -map 0:s:0 {back}"));
        let back = std::fs::read_to_string(back).unwrap();
        let times = back.lines().filter(|l| l.contains("-->")).map(str::to_string);
        times.collect::<Vec<_>>()
    };
    // Between 1.5 and 3.0 s, with the pictures encoded: sound and words begin with them.
    for name in ["o.mp4", "o.mkv", "o.webm", "file.mp4"] {
        let output = dir.path(name);
        let words = if name == "file.mp4" { json!([{"path": srt}]) } else { json!([{"stream": 2}]) };
        let codec = if name == "o.webm" { "vp9" } else { "h264" };
        let sound = if name == "o.mkv" { "copy" } else { "opus" };
        complete(json!({"source": {"url": input, "start": 1.5, "duration": 1.5}, "outputs": [
            {"path": output, "video": {"codec": codec, "preset": "p1"}, "audio": {"codec": sound}, "subtitles": words}]}));
        let lines = shown(&output);
        let seconds = |line: &str| -> (f64, f64) {
            let time = |s: &str| s[6..].replace(',', ".").parse::<f64>().unwrap();
            let (from, to) = line.split_once(" --> ").unwrap();
            (time(from), time(to))
        };
        let lines: Vec<_> = lines.iter().map(|l| seconds(l)).collect();
        let near = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0).abs() < 0.04 && (a.1 - b.1).abs() < 0.04;
        assert!(
            lines.len() == 2 && near(lines[0], (0.0, 0.5)) && near(lines[1], (0.7, 1.5)),
            "{name}: {lines:?}"
        );
        let pictures = times(&output, "v:0");
        assert!(
            (0.0..0.04).contains(&pictures[0]) && (38..40).contains(&pictures.len()),
            "{name}: {pictures:?}"
        );
        let sounds = times(&output, "a:0");
        assert!((sounds[0] - pictures[0]).abs() < 0.04, "{name}: {} {}", sounds[0], pictures[0]);
    }
    // With copied pictures all begins at their key frame, and stays together.
    let output = dir.path("copied.mkv");
    complete(json!({"source": {"url": input, "start": 1.5, "duration": 1.5}, "outputs": [
        {"path": output, "video": {"codec": "copy"}, "audio": {"codec": "copy"}}]}));
    let (pictures, sounds) = (times(&output, "v:0"), times(&output, "a:0"));
    assert!((pictures[0] - sounds[0]).abs() < 0.05, "{} {}", pictures[0], sounds[0]);
    // The key frame is at 1.0 s, behind the 21 ms that AAC begins earlier.
    let lines = shown(&output);
    assert!(lines.len() == 2 && lines[0].starts_with("00:00:00,179 --> 00:00:00,979"), "{lines:?}");
}

#[test]
fn what_comes_only_once_is_cut_too() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4");
    for (name, options) in [("a.mkv", ""), ("a.ts", "")] {
        let path = dir.path(name);
        ffmpeg(&format!("-i {input} -c copy {options} {path}"));
        let data = std::fs::read(&path).unwrap();
        for codec in ["ffv1", "copy"] {
            let output = dir.path("o.mkv");
            let job = start(json!({"source": {"bytes": {}, "start": 1.4, "duration": 1.2}, "outputs": [
                {"path": output, "overwrite": true, "video": {"codec": codec}, "audio": {"codec": "flac"}}]}));
            data.chunks(8000).for_each(|piece| drop(job.write(piece)));
            job.finish_input();
            job.wait(None).unwrap().unwrap().into_result().unwrap();
            let pictures = times(&output, "v:0");
            // What is copied begins with the first key frame from there on, which are a second apart.
            let expected = if codec == "copy" { (0.6, 15) } else { (0.0, 30) };
            assert!((pictures[0] - expected.0).abs() < 0.05, "{name} {codec}: {}", pictures[0]);
            assert!(pictures.len().abs_diff(expected.1) <= 2, "{name} {codec}: {}", pictures.len());
        }
    }
    // An index behind the media can not be read so, and times that are not there not be looked for.
    let job = start(json!({"source": {"bytes": {}}, "outputs": [{"path": dir.path("late.mkv")}]}));
    std::fs::read(&input).unwrap().chunks(8000).for_each(|piece| drop(job.write(piece)));
    job.finish_input();
    let message = job.wait(None).unwrap().unwrap().message.unwrap();
    assert!(message.contains("its index lies behind its media"), "{message}");
    let raw = dir.path("raw.h264");
    ffmpeg(&format!("-i {input} -c copy -map 0:v {raw}"));
    let spec = json!({"source": {"url": raw, "start": 1}, "outputs": [{"path": dir.path("raw.mkv")}]});
    let done = run(spec);
    let message = done.message.unwrap();
    assert_eq!(done.error, Some(ghoststream::ErrorKind::Unsupported), "{message}");
    assert!(message.contains("source.start") && !exists(&dir.path("raw.mkv")), "{message}");
}

#[test]
fn cuts_are_exact_to_the_frame() {
    let dir = Dir::new();
    let (input, output, all) = (clip(&dir, "in.mp4"), dir.path("cut.mkv"), dir.path("all.mkv"));
    let lossless = json!({"codec": "ffv1"});
    complete(
        json!({"source": {"url": input, "start": 1.4, "duration": 1.2}, "outputs": [{"path": output, "video": lossless, "audio": {"codec": "flac"}}]}),
    );
    complete(
        json!({"source": {"url": input}, "outputs": [{"path": all, "video": lossless, "audio": false}]}),
    );
    let streams = probe(&output);
    assert_eq!(frames(video(&streams)), 30);
    let times = packets(&output);
    assert!(times[0].0.abs() < 0.0015, "it begins at {}", times[0].0);
    // The 35th frame is the one shown at 1.4 s: pixel for pixel.
    let reference = dir.path("reference.mkv");
    ffmpeg(&format!("-i {all} -vf select=gte(n\\,35) -frames:v 30 -fps_mode vfr -c:v ffv1 {reference}"));
    assert_eq!(psnr(&output, &reference), f64::INFINITY);
    let sound = audio(&streams);
    assert_eq!(sound["codec_name"], "flac");
    let length = std::process::Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            "a",
            "-show_entries",
            "frame=nb_samples",
            "-of",
            "csv=p=0",
            &output,
        ])
        .output()
        .unwrap();
    let samples: u32 = String::from_utf8_lossy(&length.stdout)
        .lines()
        .filter_map(|l| l.trim_end_matches(',').parse::<u32>().ok())
        .sum();
    assert_eq!(samples, 57_600, "1.2 s at 48 kHz");
}

#[test]
fn sizes_follow_the_display_aspect_and_stay_even() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    for (size, expected) in [
        (json!({"height": 120}), (214, 120)),
        (json!({"width": 160}), (160, 90)),
        (json!({"width": 100, "height": 100}), (100, 100)),
    ] {
        let output = dir.path("o.mp4");
        let mut v = size.clone();
        v["preset"] = json!("p1");
        complete(
            json!({"source": {"url": input, "duration": 0.4}, "outputs": [{"path": output, "overwrite": true, "video": v, "audio": false}]}),
        );
        let streams = probe(&output);
        let v = video(&streams);
        assert_eq!((v["width"].as_u64().unwrap(), v["height"].as_u64().unwrap()), expected);
    }
}

#[test]
fn odd_sizes_are_cut_to_even_ones() {
    let dir = Dir::new();
    let (input, output) = (dir.path("odd.mkv"), dir.path("o.mp4"));
    ffmpeg(&format!("-f lavfi -i testsrc=s=853x481:r=25:d=1 -c:v ffv1 -pix_fmt yuv444p {input}"));
    let job = start(simple(&input, &output));
    let told = events(&job).into_iter().find_map(|e| match e {
        Event::Plan { plan } => Some(plan.outputs[0].tracks[0].notes.clone()),
        _ => None,
    });
    let told = told.unwrap();
    assert!(told.iter().any(|n| n.starts_with("853x481 becomes 852x480")), "{told:?}");
    let streams = probe(&output);
    assert_eq!(
        (video(&streams)["width"].as_u64(), video(&streams)["height"].as_u64()),
        (Some(852), Some(480))
    );
    assert_eq!(video(&streams)["pix_fmt"], "yuv420p");
}

#[test]
fn a_constant_rate_drops_and_repeats() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    for (rate, count) in [("12.5", 50), ("50", 200), ("30000/1001", 120)] {
        let output = dir.path("o.mp4");
        complete(
            json!({"source": {"url": input}, "outputs": [{"path": output, "overwrite": true, "audio": false, "video": {"frame_rate": rate, "preset": "p1"}}]}),
        );
        let n = frames(video(&probe(&output)));
        assert!((i64::from(n) - count).abs() <= 1, "{rate}: {n}");
    }
}

#[test]
fn one_source_makes_several_outputs() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    let (a, b, c) = (dir.path("a.mp4"), dir.path("b.mkv"), dir.path("c.wav"));
    let outputs = complete(json!({"source": {"url": input}, "outputs": [
        {"path": a, "video": {"height": 90, "preset": "p1"}},
        {"path": b, "video": {"codec": "copy"}, "audio": {"codec": "copy"}},
        {"path": c}]}));
    assert_eq!(outputs, [a.clone(), b.clone(), c.clone()]);
    assert_eq!(frames(video(&probe(&a))), 100);
    assert_eq!(frames(video(&probe(&b))), 100);
    let sound = probe(&c);
    assert_eq!((sound.len(), sound[0]["codec_name"].as_str()), (1, Some("pcm_s16le")));
}

#[test]
fn two_passes_hit_the_rate() {
    let dir = Dir::new();
    let (input, output) = (dir.path("in.mkv"), dir.path("o.mp4"));
    ffmpeg(&format!("-f lavfi -i testsrc2=s=320x180:r=25:d=8 -vf noise=alls=20:allf=t -c:v ffv1 {input}"));
    complete(
        json!({"source": {"url": input}, "outputs": [{"path": output, "video": {"bitrate": "400k", "two_pass": true, "preset": "p2"}}]}),
    );
    let streams = probe(&output);
    let rate = number(&video(&streams)["bit_rate"]);
    assert!((rate / 400_000.0 - 1.0).abs() < 0.1, "{rate}");
    assert_eq!(frames(video(&streams)), 200);
    // Times count in milliseconds here, of which a picture has forty: encoders that share out the bits by the lengths of
    // pictures must be told these.
    for (encoder, codec, seconds) in [
        ("libvpx-vp9", "vp9", 4.0),
        ("libvpx", "vp8", 4.0),
        ("libaom-av1", "av1", 2.0),
        ("libx265", "hevc", 4.0),
    ] {
        let output = dir.path(&format!("{encoder}.mkv"));
        complete(json!({"source": {"url": input, "duration": seconds}, "outputs": [{"path": output, "video":
            {"codec": codec, "encoder": encoder, "bitrate": "400k", "two_pass": true, "preset": "p1"}}]}));
        let rate = std::fs::metadata(&output).unwrap().len() as f64 * 8.0 / seconds;
        assert!((0.7..1.3).contains(&(rate / 400_000.0)), "{encoder}: {rate}");
    }
}

#[test]
fn what_makes_nothing_but_key_frames_has_them_on_any_grid() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    for codec in ["mjpeg", "mpeg1video", "ffv1", "mpeg2video"] {
        let output = dir.path(&format!("{codec}.mkv"));
        complete(
            json!({"source": {"url": input, "duration": 1}, "outputs": [{"path": output, "audio": false,
            "video": {"codec": codec, "keyframe_interval": 0.2}}]}),
        );
        let keys: Vec<f64> = packets(&output).iter().filter(|p| p.1).map(|p| p.0).collect();
        let near = |time: f64| keys.iter().any(|key| (key - keys[0] - time).abs() < 0.002);
        assert!((0..5).all(|n| near(f64::from(n) * 0.2)), "{codec}: {keys:?}");
    }
}

#[test]
fn two_passes_go_with_a_grid_and_with_outputs_of_one_pass() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    let (slow, quick) = (dir.path("slow.mkv"), dir.path("quick.mkv"));
    let twice = json!({"codec": "av1", "encoder": "libaom-av1", "preset": "p1", "bitrate": "100k", "two_pass": true,
        "width": 96, "keyframe_interval": 1});
    let spec = json!({"source": {"url": input, "duration": 2}, "outputs": [
        {"path": slow, "video": twice, "audio": false}, {"path": quick, "video": {"preset": "p1"}}]});
    let plan = ghoststream::Pipeline::from_json(&spec.to_string()).unwrap().plan().unwrap();
    // A second is a whole number of frames: the encoder makes these key frames by itself, and is opened once.
    assert!(plan.outputs[0].tracks[0].notes.is_empty(), "{:?}", plan.outputs[0].tracks);
    complete(spec);
    let keys: Vec<f64> = packets(&slow).iter().filter(|p| p.1).map(|p| p.0).collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert!((keys[1] - keys[0] - 1.0).abs() < 0.002, "{keys:?}");
    assert_eq!((frames(video(&probe(&slow))), frames(video(&probe(&quick)))), (50, 50));
}

#[test]
fn motion_jpeg_has_full_range_and_the_same_colours() {
    let dir = Dir::new();
    let (input, output) = (dir.path("bars.mkv"), dir.path("jpeg.mkv"));
    ffmpeg(&format!(
        "-f lavfi -i smptehdbars=s=320x180:r=25:d=1 -vf format=yuv420p,setparams=range=tv:colorspace=bt709 -color_range tv -colorspace bt709 -c:v ffv1 {input}"
    ));
    complete(
        json!({"source": {"url": input}, "outputs": [{"path": output, "video": {"codec": "mjpeg", "qp": 2}}]}),
    );
    let streams = probe(&output);
    assert_eq!(
        (video(&streams)["codec_name"].as_str(), video(&streams)["color_range"].as_str()),
        (Some("mjpeg"), Some("pc"))
    );
    // White is 255 by the samples themselves, whatever the tags say; in limited range it would be 235.
    let grey = dir.path("luma.raw");
    ffmpeg(&format!("-i {output} -frames:v 1 -vf extractplanes=y -f rawvideo {grey}"));
    let samples = std::fs::read(&grey).unwrap();
    let brightest = samples.iter().max().copied();
    assert!(brightest >= Some(250), "{brightest:?}");
    // Brought back to the source's range, the picture is the source's. FFmpeg's decoder says BT.601 of every JPEG, and from
    // 7 on its filters would convert the samples by it before they compare them.
    let limited = dir.path("limited.mkv");
    ffmpeg(&format!(
        "-i {output} -vf scale=out_range=tv,format=yuv420p,setparams=range=tv:colorspace=bt709 -color_range tv -colorspace bt709 -c:v ffv1 {limited}"
    ));
    assert!(psnr(&limited, &input) > 32.0, "{}", psnr(&limited, &input));
}

#[test]
fn equal_tracks_of_several_outputs_are_encoded_once() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    let path = |name: &str| dir.path(name);
    let quick = json!({"height": 90, "preset": "p1", "crf": 30});
    // The same size in other words, the same container or not; the last one differs in its quality.
    let worded = json!({"width": 160, "height": 90, "preset": "p1", "crf": 30, "codec": "h264"});
    let other = json!({"height": 90, "preset": "p1", "crf": 31});
    let sound = json!({"codec": "aac", "bitrate": "64k"});
    let spec = json!({"source": {"url": input}, "outputs": [
        {"path": path("a.mp4"), "video": quick, "audio": sound},
        {"path": path("b.mkv"), "video": worded, "audio": sound},
        {"path": path("c.ts"), "video": quick, "audio": false},
        {"path": path("d.mp4"), "video": other, "audio": sound},
    ]});
    let pipeline = ghoststream::Pipeline::from_json(&spec.to_string()).unwrap();
    let plan = pipeline.plan().unwrap();
    let actions: Vec<Vec<&str>> =
        plan.outputs.iter().map(|o| o.tracks.iter().map(|t| t.action).collect()).collect();
    assert_eq!(
        actions,
        [vec!["encode", "encode"], vec!["share", "share"], vec!["share"], vec!["encode", "share"]]
    );
    assert!(plan.outputs[1].tracks[0].reason.contains("90p of outputs[0], encoded once"));
    assert_eq!(plan.outputs[1].tracks[0].encoder.as_deref(), Some("libx264"));

    let job = pipeline.start().job().unwrap();
    let done = job.wait(None).unwrap().unwrap().into_result().unwrap();
    assert_eq!(done.outputs.len(), 4);
    let stats = job.stats();
    let mut encoders: Vec<&str> =
        stats.stages.iter().map(|s| s.name.as_str()).filter(|n| n.starts_with("encode ")).collect();
    encoders.sort_unstable();
    assert_eq!(encoders, ["encode 0:90p", "encode 0:audio", "encode 3:90p"], "{:?}", stats.stages);
    for name in ["a.mp4", "b.mkv", "c.ts", "d.mp4"] {
        assert_eq!(frames(video(&probe(&path(name)))), 100, "{name}");
    }
    assert_eq!(psnr(&path("a.mp4"), &path("b.mkv")), f64::INFINITY, "the very same pictures");
    assert_eq!(psnr(&path("a.mp4"), &path("c.ts")), f64::INFINITY);
    assert!(psnr(&path("a.mp4"), &path("d.mp4")).is_finite());
}

/// Who follows a network shares with nobody who does not; what cannot go over RTMP together is refused before it is tried.
#[test]
fn streams_that_adapt_are_encoded_apart_from_what_is_kept() {
    let video =
        json!({"codec": "h264", "encoder": "libx264", "bitrate": "500k", "cbr": true, "preset": "p1"});
    let adapts = |n: usize| json!({"path": format!("rtmp://127.0.0.1:9/live/{n}"), "push": {"adapt": true}, "video": video});
    let kept = |name: &str| json!({"path": format!("/nowhere/{name}"), "video": video});
    let plan = |outputs: serde_json::Value| {
        let source = json!({"pattern": {"width": 320, "height": 180, "tone": true}, "realtime": true});
        let spec = json!({"source": source, "outputs": outputs});
        ghoststream::Pipeline::from_json(&spec.to_string()).unwrap().plan()
    };
    let plan_of = |outputs| plan(outputs).unwrap().outputs;
    let made = plan_of(json!([adapts(1), kept("a.mkv"), adapts(2), kept("b.mkv")]));
    let actions: Vec<Vec<&str>> = made.iter().map(|o| o.tracks.iter().map(|t| t.action).collect()).collect();
    let (once, twice) = (vec!["encode", "encode"], vec!["share", "share"]);
    assert_eq!(actions, [once, vec!["encode", "share"], twice.clone(), twice]);
    let reason = &made[1].tracks[0].reason;
    assert!(reason.contains("on its own beside outputs[0], as that one follows its network"), "{reason}");
    assert!(made[2].tracks[0].reason.contains("outputs[0], encoded once"), "{}", made[2].tracks[0].reason);
    assert!(made[3].tracks[0].reason.contains("outputs[1], encoded once"), "{}", made[3].tracks[0].reason);

    let hevc = json!({"codec": "hevc", "encoder": "libx265", "preset": "p1"});
    let e = plan(json!([{"path": "rtmp://127.0.0.1:9/a/k", "video": hevc, "audio": {"codec": "speex"}}]))
        .unwrap_err();
    assert!(e.message().starts_with("outputs[0]: ") && e.message().contains("not beside speex"), "{e}");
}

#[test]
fn the_pattern_is_a_source_and_loops_go_on_in_time() {
    let dir = Dir::new();
    let output = dir.path("p.mkv");
    complete(
        json!({"source": {"pattern": {"width": 320, "height": 180, "frame_rate": 25, "frames": 30, "tone": true}}, "outputs": [{"path": output, "video": {"preset": "p1"}}]}),
    );
    let streams = probe(&output);
    assert_eq!(frames(video(&streams)), 30);
    assert_eq!(audio(&streams)["channels"], 2);

    let (input, looped) = (clip(&dir, "in.mp4"), dir.path("loop.mp4"));
    complete(
        json!({"source": {"url": input, "loop": 2}, "outputs": [{"path": looped, "video": {"preset": "p1"}}]}),
    );
    assert_eq!(frames(video(&probe(&looped))), 300);
    let times = packets(&looped);
    let mut shown: Vec<f64> = times.iter().map(|(t, _)| *t).collect();
    shown.sort_by(f64::total_cmp);
    assert!(shown.windows(2).all(|w| w[1] - w[0] < 0.07), "no gap at the seams");
}

#[test]
fn y4m_holds_the_pictures_as_they_are() {
    let dir = Dir::new();
    let output = dir.path("p.y4m");
    let spec = json!({"source": {"pattern": {"width": 322, "height": 182, "frame_rate": "30000/1001", "frames": 7}}, "outputs": [{"path": output}]});
    complete(spec);
    let streams = probe(&output);
    let v = video(&streams);
    assert_eq!(
        (v["codec_name"].as_str(), v["pix_fmt"].as_str(), frames(v)),
        (Some("rawvideo"), Some("yuv420p"), 7)
    );
    assert_eq!((v["width"].as_u64(), v["r_frame_rate"].as_str()), (Some(322), Some("30000/1001")));
    let rgb = dir.path("rgb.mkv");
    ffmpeg(&format!("-f lavfi -i testsrc2=s=64x36:r=5:d=1 -pix_fmt gbrp -c:v ffv1 {rgb}"));
    complete(simple(&rgb, &dir.path("rgb.y4m")));
    assert_eq!(frames(video(&probe(&dir.path("rgb.y4m")))), 5);
}

#[test]
fn a_file_of_words_becomes_webvtt_at_the_same_times() {
    let dir = Dir::new();
    let (words, out) = (dir.path("w.srt"), dir.path("o.vtt"));
    // Not UTF-8, and nothing at the beginning.
    let text = b"1\n00:00:05,000 --> 00:00:06,500\nC'est <i>d\xe9j\xe0</i> l'\xe9t\xe9\n\n2\n00:01:03,000 --> 00:01:04,000\nFin\n";
    std::fs::write(&words, text).unwrap();
    complete(json!({"source": {"url": words}, "outputs": [{"path": out}]}));
    let made = std::fs::read_to_string(&out).unwrap();
    assert!(made.contains("00:05.000 --> 00:06.500\nC'est <i>déjà</i> l'été\n"), "{made}");
    assert!(made.contains("01:03.000 --> 01:04.000\nFin"), "{made}");
    let cut = dir.path("cut.vtt");
    complete(json!({"source": {"url": words, "start": 3, "duration": 10}, "outputs": [{"path": cut}]}));
    let made = std::fs::read_to_string(&cut).unwrap();
    assert!(made.contains("00:02.000 --> 00:03.500\n") && !made.contains("Fin"), "{made}");
    let why = failure(json!({"source": {"url": words}, "outputs": [{"path": dir.path("o.mkv")}]}));
    assert!(why.contains("no video and no audio in it"), "{why}");
}

#[test]
fn subtitles_alone_become_webvtt_files() {
    let dir = Dir::new();
    let (words, input) = (dir.path("words.srt"), dir.path("in.mkv"));
    let srt = "1\n00:00:00,500 --> 00:00:01,000\nFirst\n\n2\n00:00:03,200 --> 00:00:03,900\nLast\n";
    std::fs::write(&words, srt).unwrap();
    ffmpeg(&format!(
        "-i {} -i {words} -i {words} -map 0 -map 1 -map 2 -c copy {input}",
        clip(&dir, "clip.mkv")
    ));
    let output = |n: u32, stream: u32| json!({"path": dir.path(&format!("{n}.vtt")), "subtitles": [{"stream": stream}]});
    complete(json!({"source": {"url": input}, "outputs": [output(0, 2), output(1, 3)]}));
    let read = |n: u32| std::fs::read_to_string(dir.path(&format!("{n}.vtt"))).unwrap();
    assert!(
        read(0).starts_with("WEBVTT") && read(0).contains("00:03.200 --> 00:03.900\nLast"),
        "{}",
        read(0)
    );
    assert!(read(0).contains("00:00.500 --> 00:01.000\nFirst"), "{}", read(0));
    assert_eq!(read(0), read(1));
    // From a later time on, its own clock begins there.
    complete(json!({"source": {"url": input, "start": 2}, "outputs": [output(2, 2)]}));
    assert!(read(2).contains("00:01.200 --> 00:01.900\nLast") && !read(2).contains("First"), "{}", read(2));
    let why = failure(json!({"source": {"url": input}, "outputs": [{"path": dir.path("b.vtt")}]}));
    assert!(why.contains("exactly one track of subtitles"), "{why}");
}
