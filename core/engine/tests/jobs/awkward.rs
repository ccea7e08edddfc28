//! Sources that are in order and still unlike most: words that outlast the film, edit lists, fields, full range.

use crate::support::*;
use ghoststream::Pipeline;
use serde_json::json;
use std::process::Command;

/// The brightest and the darkest luma of the first pictures.
fn luma(path: &str) -> (u32, u32) {
    let out = Command::new("ffprobe")
        .args(["-v", "error", "-f", "lavfi", "-of", "csv=p=0"])
        .args(["-show_entries", "frame_tags=lavfi.signalstats.YMIN,lavfi.signalstats.YMAX"])
        .args(["-i", &format!("movie={path},signalstats")])
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let line: Vec<u32> = text.lines().next().unwrap().split(',').map(|n| n.parse().unwrap()).collect();
    (line[0], line[1])
}

#[test]
fn words_that_end_behind_the_film_do_not_make_it_truncated() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4");
    let words = dir.path("words.srt");
    std::fs::write(
        &words,
        "1\n00:00:01,000 --> 00:00:02,000\nHello\n\n2\n00:00:03,000 --> 00:00:30,000\nThanks\n",
    )
    .unwrap();
    for (name, codec) in [("late.mkv", "srt"), ("late.mp4", "mov_text"), ("late.webm", "webvtt")] {
        let (late, output) = (dir.path(name), dir.path(&format!("out-{name}.mkv")));
        let media = if name.ends_with("webm") { "-c:v libvpx -c:a libopus" } else { "-c copy" };
        ffmpeg(&format!("-i {input} -i {words} -map 0 -map 1 {media} -c:s {codec} {late}"));
        complete(json!({"source": {"url": late}, "outputs": [{"path": output, "video": {"codec": "copy"}}]}));
        assert_eq!(frames(video(&probe(&output))), 100, "{name}");
        std::fs::remove_file(&output).unwrap();
        complete(json!({"source": {"url": late}, "outputs": [{"path": output, "video": {"preset": "p1"},
            "subtitles": false}]}));
    }
}

#[test]
fn a_job_reads_its_source_no_further_than_its_end() {
    let dir = Dir::new();
    let (input, output) = (dir.path("long.mkv"), dir.path("short.mkv"));
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=160x90:r=25:d=60 -f lavfi -i sine=d=60 -c:v libx264 -preset ultrafast -bf 2 -g 50 {input}"
    ));
    let job = start(json!({"source": {"url": input, "start": 2, "duration": 1}, "outputs": [{"path": output,
        "video": {"preset": "p1"}, "audio": {"codec": "aac"}}]}));
    events(&job);
    let stats = job.stats();
    let read = stats.stages.iter().find(|s| s.name == "source").expect("a source").items_out;
    // Of some 1500 pictures and 2600 packets of sound.
    assert!(read < 1000, "{read} packets were read");
    let streams = probe(&output);
    // The picture that is shown at the start may have begun before.
    assert!((25..=26).contains(&frames(video(&streams))));
    let sound = times(&output, "a");
    assert!((sound.last().unwrap() - 1.0).abs() < 0.05, "{sound:?}");
}

#[test]
fn sound_that_an_edit_list_cuts_away_is_not_copied() {
    let dir = Dir::new();
    let (long, cut) = (dir.path("long.mp4"), dir.path("cut.mp4"));
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=160x90:r=25:d=12 -f lavfi -i sine=d=12 -c:v libx264 -preset ultrafast -g 100 -c:a aac {long}"
    ));
    // The key frame at 4 s is kept for the pictures from 6.5 s on, and the sound beside it.
    ffmpeg(&format!("-ss 6.5 -i {long} -t 4 -c copy {cut}"));
    for name in ["out.mkv", "out.ts"] {
        let output = dir.path(name);
        complete(json!({"source": {"url": cut}, "outputs": [{"path": output, "video": {"preset": "p1"},
            "audio": {"codec": "copy"}}]}));
        let (pictures, sound) = (times(&output, "v"), times(&output, "a"));
        assert!((pictures[0] - sound[0]).abs() < 0.15, "{name}: {} and {}", pictures[0], sound[0]);
    }
}

#[test]
fn codecs_without_a_word_for_full_range_get_limited_pictures() {
    let dir = Dir::new();
    let input = dir.path("full.mkv");
    ffmpeg(&format!(
        "-f lavfi -i smptehdbars=s=320x180:r=25:d=1 -vf scale=out_range=full,format=yuv420p -color_range pc -c:v ffv1 {input}"
    ));
    assert!(luma(&input).1 > 250, "{:?}", luma(&input));
    for (name, codec) in [("p.mov", "prores"), ("m.mkv", "mpeg2video")] {
        let output = dir.path(name);
        complete(json!({"source": {"url": input}, "outputs": [{"path": output, "video": {"codec": codec}}]}));
        let bits = if codec == "prores" { 4 } else { 1 };
        let (low, high) = luma(&output);
        // Coding overshoots a little; unconverted they are 0 and 255.
        assert!(low >= 5 * bits && high <= 247 * bits, "{codec}: {low} to {high}");
        assert_ne!(video(&probe(&output))["color_range"], "pc", "{codec}");
    }
}

#[test]
fn fields_that_are_scaled_become_frames_first() {
    let dir = Dir::new();
    let input = dir.path("fields.mkv");
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=720x576:r=50:d=1 -vf interlace=lowpass=0 -c:v libx264 -preset ultrafast -flags +ildct+ilme -x264opts tff=1 {input}"
    ));
    let field_order = |output: &str| video(&probe(output))["field_order"].as_str().map(str::to_string);
    let plan = |picture: serde_json::Value| {
        let output = dir.path("out.mp4");
        let spec = json!({"source": {"url": input}, "outputs": [{"path": output, "overwrite": true, "video": picture}]});
        complete(spec.clone());
        let plan = Pipeline::from_json(&spec.to_string()).unwrap().plan().unwrap();
        (field_order(&output), plan.outputs[0].tracks[0].reason.clone())
    };
    let (order, why) = plan(json!({"preset": "p1"}));
    assert_eq!(order.as_deref(), Some("tt"), "as it is, it stays what it is");
    assert!(!why.contains("interlaced"), "{why}");
    for (picture, said) in [
        (json!({"preset": "p1", "height": 288}), "mixed"),
        (json!({"preset": "p1", "filters": [{"rotate": 90}]}), "mixed"),
        (json!({"preset": "p1", "frame_rate": 50}), "repeat"),
        (json!({"preset": "p1", "encoder": "libx265"}), "told"),
    ] {
        let (order, why) = plan(picture.clone());
        assert!(matches!(order.as_deref(), None | Some("progressive" | "unknown")), "{picture}: {order:?}");
        assert!(why.contains(said), "{picture}: {why}");
    }
    let (order, _) = plan(json!({"preset": "p1", "width": 360, "height": 576}));
    assert_eq!(order.as_deref(), Some("tt"), "lines that stay lines stay fields");
}

#[test]
fn theora_has_every_picture() {
    let dir = Dir::new();
    let (input, output) = (clip(&dir, "in.mp4"), dir.path("out.mkv"));
    complete(json!({"source": {"url": input}, "outputs": [{"path": output, "video": {"codec": "theora"}}]}));
    assert_eq!(frames(video(&probe(&output))), 100);
}

#[test]
fn what_a_source_marks_as_its_default_sound_is_that_of_the_set() {
    let dir = Dir::new();
    let (input, output) = (dir.path("two.mkv"), dir.path("set"));
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=160x90:r=25:d=2 -f lavfi -i sine=d=2 -f lavfi -i sine=d=2 -map 0 -map 1 -map 2 -c:v libx264 \
         -preset ultrafast -c:a aac -metadata:s:a:0 language=eng -metadata:s:a:1 language=ger -disposition:a:0 0 \
         -disposition:a:1 default {input}"
    ));
    let sounds = json!([{"language": "en"}, {"language": "deu"}]);
    complete(json!({"source": {"url": input}, "outputs": [{"path": output, "format": "hls+dash",
        "video": {"preset": "p1"}, "audio": sounds}]}));
    let master = std::fs::read_to_string(dir.path("set/master.m3u8")).unwrap();
    let of =
        |tag: &str| master.lines().find(|l| l.contains(tag)).unwrap_or_else(|| panic!("{tag}: {master}"));
    assert!(of("LANGUAGE=\"de\"").contains("DEFAULT=YES"), "{master}");
    assert!(of("LANGUAGE=\"en\"").contains("DEFAULT=NO"), "{master}");
    let manifest = std::fs::read_to_string(dir.path("set/manifest.mpd")).unwrap();
    let german = manifest.split("<AdaptationSet").find(|set| set.contains("lang=\"de\"")).unwrap();
    assert!(german.contains("value=\"main\""), "{manifest}");
}

#[test]
fn transparency_depth_and_sizes_of_tape_are_kept_or_told() {
    let dir = Dir::new();
    let of = |format: &str, size: &str| {
        let path = dir.path(&format!("{format}-{size}.mkv"));
        ffmpeg(&format!(
            "-f lavfi -i color=red@0.5:s={size}:r=25:d=0.2,format={format} -c:v ffv1 -strict -2 {path}"
        ));
        path
    };
    let (clear, deep, opaque) =
        (of("bgra", "320x240"), of("yuv444p16le", "320x240"), of("yuv420p", "720x576"));
    for (input, output, encoder, format) in [
        (&clear, "o.mov", "prores_ks", "yuva444p12le"),
        (&clear, "o.mkv", "ffv1", "bgra"),
        (&clear, "png.mov", "png", "rgba"),
        (&clear, "q.mov", "qtrle", "argb"),
        (&deep, "d.mkv", "ffv1", "yuv444p16le"),
        (&deep, "png.mkv", "png", "rgb48be"),
        (&opaque, "dv.mov", "dvvideo", "yuv420p"),
        (&opaque, "dn.mov", "dnxhd", "yuv422p"),
        (&deep, "dn10.mov", "dnxhd", "yuv422p10le"),
    ] {
        let output = dir.path(output);
        complete(
            json!({"source": {"url": input}, "outputs": [{"path": output, "video": {"encoder": encoder}}]}),
        );
        let streams = probe(&output);
        assert_eq!(
            (video(&streams)["pix_fmt"].as_str(), frames(video(&streams))),
            (Some(format), 5),
            "{output}"
        );
    }
    for (name, more, format) in [
        ("hqx.mov", json!({"profile": "dnxhr_hqx"}), "yuv422p10le"),
        ("444.mov", json!({"profile": "dnxhr_444"}), "yuv444p10le"),
        ("ten.mov", json!({"bit_depth": 10}), "yuv422p10le"),
    ] {
        let mut video_spec = json!({"codec": "dnxhd"});
        video_spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let output = dir.path(name);
        complete(json!({"source": {"url": opaque}, "outputs": [{"path": output, "video": video_spec}]}));
        assert_eq!(video(&probe(&output))["pix_fmt"], format, "{name}");
    }
    // FFmpeg's own decoder of VP9 does not look at the second picture.
    let output = dir.path("o.webm");
    complete(json!({"source": {"url": clear}, "outputs": [{"path": output}]}));
    assert_eq!(video(&probe(&output))["tags"]["alpha_mode"], "1");
    let first = dir.path("first.rgba");
    ffmpeg(&format!("-c:v libvpx-vp9 -i {output} -frames:v 1 -pix_fmt rgba -f rawvideo {first}"));
    let pixel = std::fs::read(first).unwrap()[..4].to_vec();
    for (is, was) in pixel.iter().zip([255, 0, 0, 128]) {
        assert!(is.abs_diff(was) < 8, "{pixel:?}");
    }
    let spec = json!({"source": {"url": clear}, "outputs": [{"path": dir.path("o.mp4")}]});
    let plan = Pipeline::from_json(&spec.to_string()).unwrap().plan().unwrap();
    assert!(plan.outputs[0].tracks[0].notes.iter().any(|n| n.contains("transparency")), "{plan:?}");
}

#[test]
fn sound_that_is_encoded_beside_copied_pictures_begins_with_them() {
    let dir = Dir::new();
    let input = dir.path("in.mkv");
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=12 -f lavfi -i sine=d=12 -c:v libx264 -g 75 -pix_fmt yuv420p -c:a ac3 {input}"
    ));
    // The key frame before 4 s is at 3 s.
    for name in ["set", "o.mp4"] {
        let output = dir.path(name);
        let mut document = json!({"path": output, "video": {"codec": "copy"}, "audio": {"codec": "aac"}});
        if name == "set" {
            document["format"] = json!("hls");
        }
        complete(json!({"source": {"url": input, "start": 4}, "outputs": [document]}));
        let input = if name == "set" { format!("{output}/master.m3u8") } else { output };
        let (pictures, sound) = (times(&input, "v"), times(&input, "a"));
        assert_eq!(pictures.len(), 225, "{name}");
        assert!((pictures[0] - sound[0]).abs() < 0.05, "{name}: {} {}", pictures[0], sound[0]);
    }
}

#[test]
fn odd_sizes_stay_where_no_chroma_is_shared() {
    let dir = Dir::new();
    for (name, format, video_spec, expected) in [
        ("full.mkv", "yuv444p", json!({"codec": "ffv1"}), (321, 181)),
        // Lossless is all that there is.
        ("lossless.mkv", "yuv420p", json!({"codec": "ffv1"}), (321, 181)),
        ("png.mkv", "rgb24", json!({"encoder": "png"}), (321, 181)),
        (
            "high.mkv",
            "yuv444p",
            json!({"codec": "h264", "pixel_format": "yuv444p", "preset": "p1"}),
            (321, 181),
        ),
        (
            "hevc.mkv",
            "yuv444p",
            json!({"encoder": "libx265", "pixel_format": "yuv444p", "preset": "p1"}),
            (321, 181),
        ),
        ("wide.mov", "yuv422p10le", json!({"codec": "prores"}), (320, 181)),
        ("usual.mkv", "yuv444p", json!({"codec": "h264", "preset": "p1"}), (320, 180)),
    ] {
        let (input, output) = (dir.path(&format!("in-{format}.mkv")), dir.path(name));
        ffmpeg(&format!(
            "-f lavfi -i testsrc=s=321x181:r=25:d=0.4 -vf format={format} -pix_fmt {format} -c:v ffv1 {input}"
        ));
        complete(json!({"source": {"url": input}, "outputs": [{"path": output, "video": video_spec}]}));
        let streams = probe(&output);
        let v = video(&streams);
        assert_eq!((v["width"].as_u64().unwrap(), v["height"].as_u64().unwrap()), expected, "{name}");
        if expected == (321, 181) && name != "high.mkv" && name != "hevc.mkv" {
            assert_eq!(psnr(&output, &input), f64::INFINITY, "{name}");
        }
    }
    let input = dir.path("in-yuv420p.mkv");
    let refused = failure(json!({"source": {"url": input}, "outputs": [{"path": dir.path("no.mkv"),
        "video": {"codec": "h264", "width": 101, "height": 80}}]}));
    assert!(refused.contains("video.width") || refused.contains("width: 101x80"), "{refused}");
}

#[test]
fn what_says_file_is_a_file() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    let film = |path: &str| json!({"source": {"url": input, "duration": 1}, "outputs": [{"path": path, "video": {"codec": "copy"}, "audio": false}]});
    for (name, prefix) in [("i.mp4", "file:"), ("j.mp4", "file://")] {
        let output = dir.path(name);
        assert_eq!(complete(film(&format!("{prefix}{output}"))), std::slice::from_ref(&output));
        assert!(failure(film(&format!("{prefix}{output}"))).contains("exists"), "{prefix}");
    }
    let left: Vec<String> = dir.names().into_iter().filter(|n| n.contains(".part")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_plain_name_that_exists_is_named_as_it_is() {
    // Relative to where tests run: nothing is written there.
    let name = "Cargo.toml";
    assert!(exists(name));
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    let refused = failure(json!({"source": {"url": input}, "outputs": [{"path": name, "format": "mkv"}]}));
    assert_eq!(refused, "outputs[0].path: Cargo.toml: exists; say overwrite to replace it");
}
