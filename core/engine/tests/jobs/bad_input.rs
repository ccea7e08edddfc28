//! Bad input: a clear error that names the file or the field, and nothing left behind.

use crate::support::*;
use ghoststream::event::Event;
use serde_json::json;

#[test]
fn broken_files_are_named_and_leave_nothing() {
    let dir = Dir::new();
    let good = clip(&dir, "good.mp4");
    let bytes = std::fs::read(&good).unwrap();
    std::fs::write(dir.path("empty.mp4"), b"").unwrap();
    std::fs::write(dir.path("text.mp4"), b"this is not a film\n".repeat(100)).unwrap();
    std::fs::write(dir.path("truncated.mp4"), &bytes[..bytes.len() / 2]).unwrap();
    std::fs::create_dir(dir.path("folder.mp4")).unwrap();
    let before = dir.names();
    for name in ["missing.mp4", "empty.mp4", "text.mp4", "truncated.mp4", "folder.mp4"] {
        let message = failure(simple(&dir.path(name), &dir.path("out.mp4")));
        assert!(message.contains(name), "{name}: {message}");
        assert_eq!(dir.names(), before, "{name}");
    }
}

#[test]
fn a_file_cut_in_the_middle_is_an_error_or_kept_with_a_warning() {
    let dir = Dir::new();
    let long = dir.path("long.mp4");
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=160x90:r=25:d=20 -c:v libx264 -preset ultrafast -g 25 -movflags +faststart {long}"
    ));
    let bytes = std::fs::read(&long).unwrap();
    let cut = dir.path("cut.mp4");
    std::fs::write(&cut, &bytes[..bytes.len() * 6 / 10]).unwrap();
    let message = failure(simple(&cut, &dir.path("out.mkv")));
    assert!(message.contains("cut.mp4"), "{message}");
    assert!(!exists(&dir.path("out.mkv")));
    let mut spec = simple(&cut, &dir.path("kept.mkv"));
    spec["source"]["salvage"] = json!(true);
    complete(spec);
    assert!(frames(video(&probe(&dir.path("kept.mkv")))) > 250);
}

#[test]
fn other_containers_that_are_cut_are_errors_too() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4");
    for (name, options) in
        [("a.mkv", "-c copy"), ("a.webm", "-c:v libvpx -c:a libopus"), ("a.avi", "-c copy"), ("a.wav", "-vn")]
    {
        let (whole, cut, output) = (dir.path(name), dir.path(&format!("cut-{name}")), dir.path("o.mkv"));
        ffmpeg(&format!("-i {input} {options} {whole}"));
        let bytes = std::fs::read(&whole).unwrap();
        std::fs::write(&cut, &bytes[..bytes.len() - 1000]).unwrap();
        let message = failure(simple(&cut, &output));
        assert!(message.contains(&format!("cut-{name}: is truncated: ")), "{message}");
        assert!(!exists(&output), "{name}");
        let mut spec = simple(&cut, &output);
        spec["source"]["salvage"] = json!(true);
        complete(spec);
        std::fs::remove_file(&output).unwrap();
        complete(simple(&whole, &output));
        std::fs::remove_file(&output).unwrap();
    }
}

#[test]
fn the_shorter_of_two_streams_alone_is_not_truncated() {
    let dir = Dir::new();
    for name in ["a.mp4", "a.mkv", "a.ts"] {
        let (input, output) = (dir.path(name), dir.path("o.mkv"));
        ffmpeg(&format!(
            "-f lavfi -i testsrc2=s=160x90:r=25:d=2 -f lavfi -i sine=d=12 -c:v libx264 -preset ultrafast -c:a aac {input}"
        ));
        complete(
            json!({"source": {"url": input}, "outputs": [{"path": output, "overwrite": true, "audio": false}]}),
        );
        assert_eq!(frames(video(&probe(&output))), 50, "{name}");
    }
}

#[test]
fn the_length_of_fragments_is_that_of_the_longest_stream() {
    let dir = Dir::new();
    let (plain, input, output) = (dir.path("plain.mp4"), dir.path("in.mp4"), dir.path("o.mkv"));
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=160x90:r=25:d=2 -f lavfi -i sine=d=12 -c:v libx264 -preset ultrafast -g 25 -c:a aac \
         -movflags frag_keyframe+empty_moov+default_base_moof {plain}"
    ));
    // With the length of all fragments in its head, which FFmpeg does not write.
    let mut bytes = std::fs::read(plain).unwrap();
    let place = |bytes: &[u8], name: &[u8]| bytes.windows(4).position(|w| w == name).unwrap() - 4;
    let (moov, mvex) = (place(&bytes, b"moov"), place(&bytes, b"mvex"));
    for at in [moov, mvex] {
        let size = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) + 16;
        bytes[at..at + 4].copy_from_slice(&size.to_be_bytes());
    }
    let mehd = [&16u32.to_be_bytes()[..], b"mehd", &[0; 4], &12_000u32.to_be_bytes()].concat();
    bytes.splice(mvex + 8..mvex + 8, mehd);
    std::fs::write(&input, &bytes).unwrap();
    let spec = |audio| json!({"source": {"url": input}, "outputs": [{"path": output, "overwrite": true, "video": {"preset": "p1"}, "audio": audio}]});
    complete(spec(json!({})));
    complete(spec(json!(false)));
    assert_eq!(frames(video(&probe(&output))), 50);
    // It is what tells that whole fragments are missing.
    let last = bytes.windows(4).rposition(|w| w == b"moof").unwrap() - 4;
    std::fs::write(&input, &bytes[..last]).unwrap();
    let message = failure(spec(json!({})));
    assert!(message.contains("truncated"), "{message}");
}

#[test]
fn a_part_of_what_is_cut_short_is_told_too() {
    let dir = Dir::new();
    let clip = clip(&dir, "in.mp4");
    // All renditions of a playlist are as long as it is.
    for (name, streams) in [("v", "-map 0:v"), ("a", "-map 0:a")] {
        ffmpeg(&format!(
            "-stream_loop 2 -i {clip} {streams} -c copy -f hls -hls_time 1 -hls_playlist_type vod {}",
            dir.path(&format!("{name}.m3u8"))
        ));
    }
    let master = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"s\",NAME=\"s\",DEFAULT=YES,URI=\"a.m3u8\"\n\
                  #EXT-X-STREAM-INF:BANDWIDTH=500000,AUDIO=\"s\"\nv.m3u8\n";
    std::fs::write(dir.path("m.m3u8"), master).unwrap();
    let one = json!({"path": dir.path("o.mkv"), "overwrite": true, "audio": false});
    let spec = |input: &str| json!({"source": {"url": dir.path(input)}, "outputs": [one.clone()]});
    complete(spec("m.m3u8"));
    for number in 7..12 {
        std::fs::remove_file(dir.path(&format!("v{number}.ts"))).unwrap();
    }
    let message = failure(spec("m.m3u8"));
    assert!(message.contains("truncated"), "{message}");
    // A file that only says how long all of it is: what is not taken may be what lasts.
    let whole = dir.path("whole.flv");
    ffmpeg(&format!("-i {clip} -c:v libx264 -preset ultrafast -c:a aac {whole}"));
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::write(dir.path("cut.flv"), &bytes[..bytes.len() / 4]).unwrap();
    let warned = |input: &str| {
        let job = start(spec(input));
        events(&job)
            .iter()
            .any(|e| matches!(e, Event::Warning { code: "source", message } if message.contains("truncated")))
    };
    assert!(warned("cut.flv") && !warned("whole.flv"));
}

#[test]
fn a_recording_that_broke_off_is_an_error_or_taken_to_its_end() {
    let dir = Dir::new();
    let (input, whole, cut) = (clip(&dir, "in.mp4"), dir.path("whole.mp4"), dir.path("cut.mp4"));
    for flags in ["frag_keyframe+empty_moov", "frag_keyframe", "frag_keyframe+empty_moov+dash+global_sidx"] {
        ffmpeg(&format!("-i {input} -c copy -movflags {flags} {whole}"));
        let output = dir.path("o.mp4");
        let spec = |source: &str, salvage: bool| {
            json!({"source": {"url": source, "salvage": salvage}, "outputs": [
                {"path": output, "overwrite": true, "video": {"preset": "p1"}, "audio": {"codec": "aac"}}]})
        };
        let warned = |spec| {
            let job = start(spec);
            let events = events(&job);
            assert!(
                matches!(events.last(), Some(Event::Done(done)) if done.message.is_none()),
                "{flags}: {events:?}"
            );
            events.iter().any(|e| {
                matches!(e, Event::Warning { code: "source", message } if message.contains("cut.mp4: is truncated: "))
            })
        };
        assert!(!warned(spec(&whole, false)), "{flags}");
        assert_eq!(frames(video(&probe(&output))), 100, "{flags}");
        std::fs::remove_file(&output).unwrap();
        let bytes = std::fs::read(&whole).unwrap();
        let boxes: Vec<usize> =
            bytes.windows(4).enumerate().filter(|(_, w)| *w == b"moof").map(|(at, _)| at - 4).collect();
        let (third, indexed) = (boxes[boxes.len() - 2], flags.contains("sidx"));
        // Within what a fragment has, within its head, within the first bytes of a box, between two.
        for end in [bytes.len() * 3 / 8, third + 30, third + 3, third] {
            std::fs::write(&cut, &bytes[..end]).unwrap();
            if end == third && !indexed {
                // Nothing says that there was more.
                assert!(!warned(spec(&cut, false)), "{flags}");
                continue;
            }
            let message = failure(spec(&cut, false));
            assert!(
                message.contains("cut.mp4: is truncated: ") && message.contains("salvage"),
                "{flags}: {message}"
            );
            assert!(!exists(&output), "{flags}");
            // What is asked for is there.
            let mut early = spec(&cut, false);
            early["source"]["duration"] = json!(0.5);
            assert!(!warned(early), "{flags}");
            assert!(warned(spec(&cut, true)), "{flags} {end}");
            let count = frames(video(&probe(&output)));
            assert!((25..75).contains(&count), "{flags} {end}: {count}");
            std::fs::remove_file(&output).unwrap();
        }
    }
}

#[test]
fn a_recording_in_many_fragments_that_broke_off_leaves_nothing() {
    let dir = Dir::new();
    let (input, whole, cut) = (clip(&dir, "in.mp4"), dir.path("whole.mp4"), dir.path("cut.mp4"));
    // More boxes than are looked at before anything is read.
    ffmpeg(&format!("-stream_loop 39 -i {input} -c copy -movflags frag_every_frame+empty_moov {whole}"));
    let bytes = std::fs::read(&whole).unwrap();
    let boxes = bytes.windows(4).filter(|w| *w == b"moof").count();
    assert!(boxes > 4000, "{boxes}");
    // What is behind the fragments is FFmpeg's list of them.
    let last = bytes.windows(4).rposition(|w| w == b"mdat").unwrap();
    std::fs::write(&cut, &bytes[..last + 10]).unwrap();
    let message = failure(json!({"source": {"url": cut}, "outputs": [{"path": dir.path("o.mkv")}]}));
    assert!(message.contains("cut.mp4: is truncated: "), "{message}");
    assert_eq!(dir.names(), ["cut.mp4", "in.mp4", "whole.mp4"]);
}

#[test]
fn outputs_are_refused_by_name() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    let taken = dir.path("taken.mp4");
    std::fs::write(&taken, b"precious").unwrap();
    for (output, word) in [
        (json!({"path": input}), "path"),
        (json!({"path": input, "overwrite": true}), "input"),
        (json!({"path": taken}), "exists"),
        (json!({"path": dir.path("no/such/dir/o.mp4")}), "no such directory"),
        (json!({"path": dir.path("o.webm"), "video": {"codec": "h264"}}), "webm"),
        (json!({"path": dir.path("o.mp4"), "video": {"codec": "nonsense"}}), "nonsense"),
        (json!({"path": dir.path("o.mp4"), "video": {"encoder": "libnope"}}), "libnope"),
        (json!({"path": dir.path("o.mp4"), "video": {"options": {"no_such_option": "1"}}}), "no_such_option"),
        (json!({"path": dir.path("o.mp4"), "options": {"no_such_flag": "1"}}), "no_such_flag"),
        (json!({"path": dir.path("o.mp4"), "video": {"stream": 9}}), "stream 9"),
        (json!({"path": dir.path("o.mp4"), "video": {"stream": 1}}), "stream 1"),
        (json!({"path": dir.path("o.mp4"), "video": {"width": 101, "height": 90}}), "width"),
        (json!({"path": dir.path("o.mp4"), "video": {"colour": {"range": "wide"}}}), "video.colour.range: "),
        (json!({"path": dir.path("o.mp4"), "video": {"level": "1.1", "width": 640}}), "video.level: "),
        (
            json!({"path": dir.path("o.mp4"), "video": {"encoder": "libx264", "device": "cuda"}}),
            "video.device: ",
        ),
        (
            json!({"path": dir.path("o.mp4"), "audio": {"options": {"no_such": "1"}}}),
            "audio[0].options.no_such: ",
        ),
        (
            json!({"path": dir.path("o.mkv"), "audio": {"codec": "opus", "bitrate": "2M"}}),
            "audio[0].bitrate: ",
        ),
    ] {
        let done = run(json!({"source": {"url": input}, "outputs": [output]}));
        let message = done.message.unwrap_or_else(|| panic!("{output} is accepted"));
        assert!(
            message.contains("outputs[0]") || message.contains("o.mp4") || message.contains("o.webm"),
            "{message}"
        );
        assert!(message.contains(word), "{word}: {message}");
    }
    assert_eq!(std::fs::read(&taken).unwrap(), b"precious");
    assert_eq!(dir.names(), ["in.mkv", "taken.mp4"]);
}

#[test]
fn outputs_do_not_write_into_each_other_or_into_the_source() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    let root = dir.path("set");
    let hls =
        |path: String| json!({"path": path, "format": "hls", "video": {"codec": "copy"}, "overwrite": true});
    for (one, other) in [
        (json!({"path": dir.path("o.mkv")}), json!({"path": dir.path("./o.mkv")})),
        (json!({"path": dir.path("o.mkv")}), json!({"path": dir.path("set/../o.mkv")})),
        (hls(root.clone()), hls(format!("{root}/"))),
        (hls(format!("{root}/a.m3u8")), json!({"path": format!("{root}/a.mpd"), "video": {"codec": "copy"}})),
    ] {
        std::fs::create_dir_all(&root).unwrap();
        let spec = json!({"source": {"url": input}, "outputs": [one, other]});
        let message = failure(spec.clone());
        assert!(message.starts_with("outputs[1].path: "), "{message}");
        let plan = ghoststream::Pipeline::from_json(&spec.to_string()).unwrap().plan();
        assert!(plan.is_err(), "a plan says so too");
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
    }
    std::fs::remove_dir(&root).unwrap();
    complete(json!({"source": {"url": input}, "outputs": [hls(root.clone())]}));
    let made = |name: &str| std::fs::read(format!("{root}/{name}")).unwrap();
    let before = (made("master.m3u8"), made("180p/00000.m4s"));
    for list in ["master.m3u8", "180p.m3u8"] {
        let message =
            failure(json!({"source": {"url": format!("{root}/{list}")}, "outputs": [hls(root.clone())]}));
        assert!(message.contains("is the input"), "{message}");
    }
    assert!(before == (made("master.m3u8"), made("180p/00000.m4s")), "nothing of it has changed");
    // A film may lie beside the segments that are made of it.
    complete(json!({"source": {"url": input}, "outputs": [hls(dir.path("."))]}));
    // So may a playlist in a folder that nothing is written into.
    let list = json!({"url": format!("{root}/master.m3u8")});
    complete(json!({"source": list, "outputs": [hls(dir.path("out.m3u8"))]}));
    let mut into = hls(dir.path("out.m3u8"));
    into["video"]["name"] = json!("set");
    let message = failure(json!({"source": list, "outputs": [into]}));
    assert!(message.contains("is the input"), "{message}");
    assert!(before == (made("master.m3u8"), made("180p/00000.m4s")), "nothing of it has changed");
}

#[test]
fn a_manifest_that_is_there_is_not_replaced_unasked() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    for name in ["b.mpd", "manifest.mpd"] {
        let path = dir.path(name);
        std::fs::write(&path, "somebody's").unwrap();
        let spec = |overwrite| {
            json!({"source": {"url": input}, "outputs": [
            {"path": path, "overwrite": overwrite, "video": {"codec": "copy"}, "audio": false}]})
        };
        let message = failure(spec(false));
        assert!(message.contains(&format!("{name} exists")), "{message}");
        assert_eq!(std::fs::read(&path).unwrap(), b"somebody's");
        complete(spec(true));
        assert!(std::fs::read_to_string(&path).unwrap().contains("<MPD"), "{name}");
        std::fs::remove_file(&path).unwrap();
    }
    // What it does not write is nothing to it.
    let spec = |path: &str| {
        json!({"source": {"url": input}, "outputs": [
            {"path": dir.path(path), "format": "dash", "video": {"codec": "copy"}, "audio": false}]})
    };
    for (other, path) in [("d/master.mpd", "d/"), ("e/manifest.mpd", "e/b.mpd")] {
        std::fs::create_dir_all(std::path::Path::new(&dir.path(other)).parent().unwrap()).unwrap();
        std::fs::write(dir.path(other), b"somebody's").unwrap();
        complete(spec(path));
        assert_eq!(std::fs::read(dir.path(other)).unwrap(), b"somebody's", "{path}");
    }
}

#[test]
fn segments_of_two_outputs_share_a_folder_where_no_name_is_the_same() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    let output = |path: &str, video: &str, audio: &str| {
        json!({
            "path": dir.path(path),
            "video": {"codec": "copy", "name": video},
            "audio": [{"name": audio}],
            "subtitles": false,
        })
    };
    let spec = |one, other| json!({"source": {"url": input}, "outputs": [one, other]});
    std::fs::create_dir(dir.path("same")).unwrap();
    for (one, other, name) in [
        (output("same/a.m3u8", "va", "aa"), output("same/b.mpd", "vb", "aa"), "aa"),
        (output("same/a.m3u8", "va", "aa"), output("same/../same/a.m3u8", "vb", "ab"), "a.m3u8"),
        (output("same/a.m3u8", "va", "b"), output("same/b.m3u8", "vb", "ab"), "b.m3u8"),
    ] {
        let message = failure(spec(one, other));
        assert!(
            message.starts_with("outputs[1].path: ") && message.contains(&format!("has {name} in")),
            "{message}"
        );
    }
    complete(spec(output("same/a.m3u8", "va", "aa"), output("same/b.mpd", "vb", "ab")));
    for name in ["a.m3u8", "va.m3u8", "va/00000.m4s", "b.mpd", "vb/00000.m4s", "ab/00000.m4s"] {
        assert!(exists(&dir.path(&format!("same/{name}"))), "{name}");
    }
}

#[test]
fn a_level_holds_the_rate_of_a_file() {
    let dir = Dir::new();
    let (fast, varies) = (dir.path("fast.mp4"), dir.path("varies.mp4"));
    let clip = "-f lavfi -i testsrc2=s=352x288:r=60:d=2";
    let encoded = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p";
    ffmpeg(&format!("{clip} {encoded} {fast}"));
    // 60 pictures in the first second, 15 in each of the following four.
    ffmpeg(&format!(
        "{clip} -vf setpts=if(lt(N\\,60)\\,N\\,60+(N-60)*4)/(60*TB) -vsync vfr {encoded} {varies}"
    ));
    let spec = |input: &str, video| json!({"source": {"url": input}, "outputs": [{"path": dir.path("o.mp4"), "overwrite": true, "video": video}]});
    let h264 = |more: serde_json::Value| {
        let mut video = json!({"codec": "h264", "level": "2", "preset": "p1"});
        video.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        video
    };
    let message = failure(spec(&fast, h264(json!({}))));
    assert!(message.starts_with("outputs[0].video.level: "), "{message}");
    complete(spec(&fast, h264(json!({"frame_rate": 30}))));
    complete(spec(&varies, h264(json!({}))));
    let between = json!({"filters": [{"interpolate": {"frame_rate": 50, "blend": true}}]});
    let message = failure(spec(&varies, h264(between)));
    assert!(message.starts_with("outputs[0].video.level: "), "{message}");
}

#[test]
fn a_ladder_is_no_larger_than_its_source() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    let spec = json!({"source": {"url": input}, "outputs": [
        {"path": dir.path("set"), "format": "hls", "ladder": "auto", "video": {"codec": "h264", "height": 720}},
    ]});
    let plan = ghoststream::Pipeline::from_json(&spec.to_string()).unwrap().plan().unwrap();
    let track = &plan.outputs[0].tracks[0];
    assert_eq!(track.name, "180p");
    let said = format!("{} {}", track.notes.join(" "), track.reason);
    assert!(said.contains("320x180, not 1280x720"), "{said}");
}

#[test]
fn a_source_with_the_name_of_a_part_is_read_and_kept() {
    let dir = Dir::new();
    let clip = clip(&dir, "in.mkv");
    let (input, output) = (dir.path("film.mkv.part"), dir.path("film.mkv"));
    std::fs::rename(&clip, &input).unwrap();
    let before = std::fs::read(&input).unwrap();
    complete(json!({"source": {"url": input}, "outputs": [{"path": output, "video": {"codec": "copy"}}]}));
    assert!(std::fs::read(&input).unwrap() == before, "the source is as it was");
    assert_eq!(dir.names(), ["film.mkv", "film.mkv.part"]);
    assert_eq!(frames(video(&probe(&output))), 100);
}

#[test]
fn sources_without_what_is_asked_for() {
    let dir = Dir::new();
    let (sound, picture) = (dir.path("a.wav"), dir.path("v.mkv"));
    ffmpeg(&format!("-f lavfi -i sine=d=1 {sound}"));
    ffmpeg(&format!("-f lavfi -i testsrc2=s=160x90:d=1 -c:v ffv1 {picture}"));
    // Without a wish each is taken as it is.
    complete(simple(&sound, &dir.path("a.mp4")));
    assert_eq!(probe(&dir.path("a.mp4")).len(), 1);
    complete(simple(&picture, &dir.path("v.mp4")));
    let message = failure(
        json!({"source": {"url": sound}, "outputs": [{"path": dir.path("x.mp4"), "video": {"codec": "h264"}}]}),
    );
    assert!(message.contains("no video stream"), "{message}");
    let message = failure(
        json!({"source": {"url": picture}, "outputs": [{"path": dir.path("x.mp4"), "audio": {"codec": "aac"}}]}),
    );
    assert!(message.contains("no such audio stream"), "{message}");
    for (kind, stream) in [("video", 7), ("audio", 7), ("video", 1), ("audio", 0)] {
        let mut spec = json!({"source": {"url": picture}, "outputs": [{"path": dir.path("x.mp4")}]});
        spec["outputs"][0][kind] = json!({"stream": stream});
        let message = failure(spec);
        let field =
            if kind == "video" { "outputs[0].video.stream: " } else { "outputs[0].audio[0].stream: " };
        assert!(message.starts_with(field), "{message}");
    }
    let message =
        failure(json!({"source": {"url": picture, "start": 100}, "outputs": [{"path": dir.path("x.mp4")}]}));
    assert!(message.contains("source.start"), "{message}");
}

#[test]
fn changes_in_mid_stream_are_taken_in_stride() {
    let dir = Dir::new();
    let (a, b, joined) = (dir.path("a.ts"), dir.path("b.ts"), dir.path("joined.ts"));
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=1 -f lavfi -i sine=sample_rate=48000:d=1 -c:v libx264 -bf 0 -pix_fmt yuv420p -c:a aac -ac 2 {a}"
    ));
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=640x360:r=25:d=1 -f lavfi -i sine=sample_rate=44100:d=1 -c:v libx264 -bf 0 -pix_fmt yuv422p -c:a aac -ac 1 -output_ts_offset 1 {b}"
    ));
    let mut bytes = std::fs::read(&a).unwrap();
    bytes.extend(std::fs::read(&b).unwrap());
    std::fs::write(&joined, bytes).unwrap();
    let output = dir.path("o.mp4");
    complete(
        json!({"source": {"url": joined}, "outputs": [{"path": output, "video": {"preset": "p1"}, "audio": {"codec": "aac"}}]}),
    );
    let streams = probe(&output);
    assert_eq!((video(&streams)["width"].as_u64(), frames(video(&streams))), (Some(320), 50));
    assert!((number(&audio(&streams)["duration"]) - 2.0).abs() < 0.1, "{}", audio(&streams)["duration"]);
    // What is copied can not change where its readers are told once what it is.
    for name in ["c.mp4", "c.mkv", "hls"] {
        let output = dir.path(name);
        let mut spec =
            json!({"source": {"url": joined}, "outputs": [{"path": output, "video": {"preset": "p1"}}]});
        if name == "hls" {
            spec["outputs"][0]["format"] = json!("hls");
        }
        spec["outputs"][0]["audio"] = json!({"codec": "copy"});
        let message = failure(spec.clone());
        assert!(message.contains("44100 Hz, 1 channels") && message.contains("copy_conforming"), "{message}");
        assert!(!exists(&output), "{name}");
        spec["outputs"][0]["copy_conforming"] = json!(false);
        spec["outputs"][0].as_object_mut().unwrap().remove("audio");
        complete(spec.clone());
        assert!(exists(&output), "{name}");
        // Where it was our choice it is copied as far as it goes, and encoded from there on as it was.
        spec["outputs"][0]["copy_conforming"] = json!(true);
        spec["outputs"][0]["overwrite"] = json!(true);
        let told = events(&start(spec)).iter().any(|e| matches!(e, Event::Warning { code: "fallback", message } if message.contains("44100 Hz, 1 channels at ")));
        assert!(told, "{name}");
        let input = if name == "hls" { format!("{output}/master.m3u8") } else { output };
        ffmpeg(&format!("-xerror -i {input} -f null -"));
        let streams = probe(&input);
        assert_eq!(
            (audio(&streams)["channels"].as_u64(), &audio(&streams)["sample_rate"]),
            (Some(2), &json!("48000"))
        );
        // It is heard to the end, without a hole: a tone throughout.
        let pcm = dir.path("sound.f32");
        ffmpeg(&format!("-i {input} -map a -ac 1 -f f32le {pcm}"));
        let samples: Vec<f32> = std::fs::read(&pcm)
            .unwrap()
            .chunks_exact(4)
            .map(|s| f32::from_le_bytes(s.try_into().unwrap()))
            .collect();
        assert!((samples.len() as f64 / 48000.0 - 2.0).abs() < 0.1, "{name}: {}", samples.len());
        let quiet = samples[4800..samples.len() - 9600]
            .chunks(480)
            .filter(|c| c.iter().all(|s| s.abs() < 0.02))
            .count();
        assert!(quiet <= 3, "{name}: {quiet}");
    }
    // In a transport stream every packet says it.
    let output = dir.path("c.ts");
    complete(json!({"source": {"url": joined}, "outputs": [{"path": output, "video": {"preset": "p1"}}]}));
    ffmpeg(&format!("-xerror -i {output} -f null -"));
}

#[test]
fn a_full_disk_is_an_error() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    let message = failure(
        json!({"source": {"url": input}, "outputs": [{"path": "/dev/full", "format": "ts", "overwrite": true, "video": {"preset": "p1"}}]}),
    );
    assert!(message.contains("/dev/full") && message.contains("space"), "{message}");
}

#[test]
fn numbers_that_are_none_or_too_large_are_refused_by_field() {
    for value in ["NaN", "Infinity", "-Infinity", "1e999", "1e308", "-1"] {
        for (field, document) in [
            ("source.timeout", r#"{"source": {"url": "a", "timeout": @}, "outputs": [{"path": "b.mp4"}]}"#),
            (
                "stall_timeout",
                r#"{"source": {"url": "a"}, "stall_timeout": @, "outputs": [{"path": "b.mp4"}]}"#,
            ),
            (
                "outputs[0].video.crf",
                r#"{"source": {"url": "a"}, "outputs": [{"path": "b.mp4", "video": {"crf": @}}]}"#,
            ),
            (
                "outputs[0].segment.duration",
                r#"{"source": {"url": "a"}, "outputs": [{"path": "b/", "format": "hls", "segment": {"duration": @}}]}"#,
            ),
        ] {
            let e = ghoststream::Pipeline::from_json(&document.replace('@', value)).err().expect(field);
            assert_eq!(e.kind(), ghoststream::ErrorKind::Invalid, "{value}: {e}");
            assert!(e.message().starts_with(field), "{value}: {e}");
        }
    }
}
