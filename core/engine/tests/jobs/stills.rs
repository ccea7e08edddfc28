//! Pictures that are a file each: one of a film, all of it, some of it; as viewers of such files show them.

use crate::support::*;
use ghoststream::Pipeline;
use serde_json::{Value, json};
use std::process::Command;

/// Red, green and blue in the middle of a picture, as the FFmpeg command reads it.
fn middle(path: &str) -> [u8; 3] {
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-i", path, "-vf", "crop=2:2,format=gbrp,format=rgb24", "-frames:v", "1"])
        .args(["-f", "rawvideo", "-"])
        .output()
        .unwrap();
    out.stdout[..3].try_into().unwrap()
}

fn size(path: &str) -> (u64, u64) {
    let streams = probe(path);
    let video = video(&streams);
    assert_eq!(video["sample_aspect_ratio"].as_str().unwrap_or("1:1"), "1:1", "{path}");
    (video["width"].as_u64().unwrap(), video["height"].as_u64().unwrap())
}

/// The spec of `output` made of `source`, beginning at `start`.
fn still(source: &str, start: f64, output: Value) -> Value {
    json!({"source": {"url": source, "start": start}, "outputs": [output]})
}

#[test]
fn the_picture_at_a_time() {
    let dir = Dir::new();
    let film = clip(&dir, "film.mp4");
    let there = dir.names();
    let frame = dir.path("frame.y4m");
    ffmpeg(&format!("-i {film} -vf select=eq(n\\,55) -frames:v 1 -pix_fmt yuv420p {frame}"));
    for (name, codec, least) in [
        ("a.jpg", "mjpeg", 32.0),
        ("a.JPEG", "mjpeg", 32.0),
        ("a.png", "png", 33.0),
        ("a.webp", "webp", 28.0),
    ] {
        let path = dir.path(name);
        assert_eq!(complete(still(&film, 2.2, json!({"path": path}))), [path.as_str()]);
        let streams = probe(&path);
        assert_eq!((streams.len(), video(&streams)["codec_name"].as_str()), (1, Some(codec)), "{name}");
        assert_eq!(size(&path), (320, 180), "{name}");
        // Of the neighbours it is far away: their moving parts and their numbers are others.
        let psnr = psnr_as_yuv(&path, &frame);
        assert!(psnr > least, "{name}: {psnr} dB");
        std::fs::remove_file(&path).unwrap();
    }
    std::fs::remove_file(&frame).unwrap();
    assert_eq!(dir.names(), there, "nothing else is left");
}

/// As [`psnr`], with what is compared turned into the levels of `reference` first.
fn psnr_as_yuv(path: &str, reference: &str) -> f64 {
    let graph = "[0:v]scale=out_color_matrix=bt601:out_range=limited,format=yuv420p[a];[a][1:v]psnr";
    psnr_by(&["-i", path, "-i", reference], graph)
}

#[test]
fn one_file_for_each() {
    let dir = Dir::new();
    let film = clip(&dir, "film.mp4");
    let (all, some, whole) = (dir.path("all-%03d.png"), dir.path("some-%d.jpg"), dir.path("whole.mp4"));
    let outputs = json!([
        {"path": whole, "video": {"codec": "h264", "preset": "p1"}},
        {"path": all},
        {"path": some, "video": {"frame_rate": "1", "width": 160}},
        {"path": dir.path("first.jpg"), "video": {"width": 160}},
    ]);
    let made = complete(json!({"source": {"url": film}, "outputs": outputs}));
    assert_eq!(made.len(), 1 + 100 + 4 + 1, "{made:?}");
    assert_eq!(frames(video(&probe(&whole))), 100, "pictures that are done leave the film alone");
    let sequence = dir.path("all.mkv");
    ffmpeg(&format!("-framerate 25 -i {all} -c:v ffv1 {sequence}"));
    assert_eq!(frames(video(&probe(&sequence))), 100);
    assert!(psnr_as_yuv(&sequence, &film) > 35.0);
    assert_eq!(size(&dir.path("some-4.jpg")), (160, 90));
    // Somebody's pictures are not replaced, and none is made beside them.
    let taken = failure(still(&film, 0.0, json!({"path": dir.path("all-%02d.png")})));
    assert!(!exists(&dir.path("all-01.png")) && taken.contains("exists"), "{taken}");
    for name in ["some-1.jpg", "some-2.jpg", "some-3.jpg"] {
        std::fs::remove_file(dir.path(name)).unwrap();
    }
    let message = failure(still(&film, 0.0, json!({"path": some})));
    assert!(message.contains("some-4.jpg: exists") && !exists(&dir.path("some-1.jpg")), "{message}");
    let anew = json!({"path": some, "overwrite": true, "video": {"frame_rate": "1"}});
    complete(still(&film, 0.0, anew));
    assert_eq!(size(&dir.path("some-4.jpg")), (320, 180));
    // Motion JPEG is such pictures already.
    let jpegs = dir.path("jpegs.avi");
    ffmpeg(&format!("-i {film} -frames:v 5 -an -c:v mjpeg -q:v 3 {jpegs}"));
    let copies = dir.path("copy-%d.jpg");
    let made = complete(still(&jpegs, 0.0, json!({"path": copies, "video": {"codec": "copy"}})));
    assert_eq!(made.len(), 5);
    assert_eq!(size(&made[4]), (320, 180));
}

#[test]
fn what_is_cancelled_keeps_whole_pictures() {
    let dir = Dir::new();
    let path = dir.path("p-%04d.png");
    let source = json!({"pattern": {"width": 64, "height": 64, "frame_rate": "25"}, "realtime": true});
    let job = start(json!({"source": source, "outputs": [{"path": path}]}));
    let begun = std::time::Instant::now();
    while dir.names().len() < 5 {
        assert!(begun.elapsed().as_secs() < 60, "{:?}", dir.names());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    job.cancel();
    events(&job);
    let names = dir.names();
    for (n, name) in names.iter().enumerate() {
        assert_eq!(*name, format!("p-{:04}.png", n + 1), "{names:?}");
        assert_eq!(size(&dir.path(name)), (64, 64));
    }
}

#[test]
fn colours_are_those_of_the_format() {
    let dir = Dir::new();
    let film = dir.path("red.mkv");
    let tags = "-colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv";
    let red = "color=red:s=1280x720:r=25:d=0.2,format=gbrp,scale=out_color_matrix=bt709:out_range=limited";
    ffmpeg(&format!("-f lavfi -i {red},format=yuv444p -c:v ffv1 {tags} {film}"));
    for name in ["red.jpg", "red.png", "red.webp"] {
        let path = dir.path(name);
        complete(still(&film, 0.0, json!({"path": path})));
        let [r, g, b] = middle(&path);
        assert!(r > 250 && g < 5 && b < 5, "{name}: {r} {g} {b}");
    }
    // Browsers correct a picture by what it says of its curve.
    let png = std::fs::read(dir.path("red.png")).unwrap();
    let has = |kind: &[u8]| png.windows(4).take(200).any(|four| four == kind);
    assert!(has(b"sRGB") && !has(b"gAMA") && !has(b"cHRM"));
}

#[test]
fn what_loses_nothing_and_what_is_asked_for() {
    let dir = Dir::new();
    let deep = dir.path("deep.mkv");
    ffmpeg(&format!("-f lavfi -i testsrc2=s=320x180:r=25:d=0.2,format=yuv420p10le -c:v ffv1 {deep}"));
    let format = |path: &str| video(&probe(path))["pix_fmt"].as_str().unwrap_or_default().to_owned();
    let (png, png16, lossless, low, high) = (
        dir.path("a.png"),
        dir.path("b.png"),
        dir.path("a.webp"),
        dir.path("low.webp"),
        dir.path("high.webp"),
    );
    complete(json!({"source": {"url": deep}, "outputs": [
        {"path": png, "video": {"lossless": true}},
        {"path": png16, "video": {"pixel_format": "rgb48be"}},
        {"path": lossless, "video": {"lossless": true}},
        {"path": low, "video": {"crf": 5}},
        {"path": high, "video": {"crf": 98}},
    ]}));
    assert_eq!((format(&png).as_str(), format(&png16).as_str()), ("rgb24", "rgb48be"));
    let bytes = |path: &str| std::fs::read(path).unwrap();
    assert!(bytes(&low).len() * 2 < bytes(&high).len());
    // RFC 9649: a simple file without loss has a chunk of this name.
    assert_eq!((&bytes(&lossless)[12..16], &bytes(&high)[12..16]), (&b"VP8L"[..], &b"VP8 "[..]));
}

#[test]
fn viewers_need_to_know_nothing_of_the_source() {
    let dir = Dir::new();
    let wide = dir.path("wide.ts");
    let fields = "-flags +ilme+ildct -top 1";
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=720x576:r=50:d=1,interlace=scan=tff,setsar=64/45 -c:v mpeg2video {fields} -q:v 3 {wide}"
    ));
    let (jpg, png, narrow) = (dir.path("a.jpg"), dir.path("a.png"), dir.path("narrow.jpg"));
    let outputs = json!([{"path": jpg}, {"path": png}, {"path": narrow, "video": {"width": 360}}]);
    let spec = json!({"source": {"url": wide}, "outputs": outputs});
    let plan = Pipeline::from_json(&spec.to_string()).unwrap().plan().unwrap();
    let plan = serde_json::to_string(&plan).unwrap();
    assert_eq!(plan.matches("deinterlace").count(), 3, "{plan}");
    complete(spec);
    assert_eq!((size(&jpg), size(&png), size(&narrow)), ((1024, 576), (1024, 576), (360, 203)));

    let hdr = dir.path("hdr.mkv");
    let tags = "-colorspace bt2020nc -color_primaries bt2020 -color_trc smpte2084 -color_range tv";
    // PQ's code for 203 cd/m2, the white of a page (ITU-R BT.2408): 0.58 of the way.
    let grey = "color=black:s=64x64:r=25:d=0.2,format=yuv420p10le,geq=lum=573:cb=512:cr=512";
    ffmpeg(&format!("-f lavfi -i {grey} -c:v ffv1 {tags} {hdr}"));
    let path = dir.path("hdr.png");
    complete(still(&hdr, 0.0, json!({"path": path})));
    let streams = probe(&path);
    assert_eq!(video(&streams)["pix_fmt"], "rgb24");
    let [r, g, b] = middle(&path);
    assert!(r > 165 && r.abs_diff(g) < 4 && r.abs_diff(b) < 4, "{r} {g} {b}");
}

#[test]
fn levels_and_sizes_are_kept() {
    let dir = Dir::new();
    let source = dir.path("full.jpg");
    let bars = "smptehdbars=s=853x481,scale=out_range=full:out_color_matrix=bt601,format=yuvj420p";
    ffmpeg(&format!("-f lavfi -i {bars} -frames:v 1 -q:v 2 {source}"));
    let [r, g, b] = middle(&source);
    for name in ["a.jpg", "a.png", "a.webp"] {
        let path = dir.path(name);
        complete(json!({"source": {"url": source}, "outputs": [{"path": path}]}));
        assert_eq!(size(&path), (853, 481), "{name}");
        let made = middle(&path);
        assert!(
            made.iter().zip([r, g, b]).all(|(a, b)| a.abs_diff(b) < 4),
            "{name}: {made:?}, not {r} {g} {b}"
        );
    }
}

#[test]
fn a_poster_does_not_hold_back_what_is_told_of_the_film() {
    let dir = Dir::new();
    let film = clip(&dir, "film.mp4");
    let job = start(json!({"source": {"url": film}, "outputs": [
        {"path": dir.path("whole.mp4"), "video": {"preset": "p1"}, "audio": false}, {"path": dir.path("a.jpg")}
    ]}));
    let told = events(&job);
    let last = told.iter().rev().find_map(|e| match e {
        ghoststream::event::Event::Progress(p) => Some(p.clone()),
        _ => None,
    });
    let last = last.expect("progress");
    assert!((last.time - 4.0).abs() < 0.05 && last.frames == 100, "{last:?}");
}

#[test]
fn photographs_are_upright() {
    let dir = Dir::new();
    let plain = dir.path("plain.jpg");
    ffmpeg(&format!("-f lavfi -i testsrc2=s=320x180 -frames:v 1 -q:v 2 {plain}"));
    let bytes = std::fs::read(&plain).unwrap();
    for orientation in 1..=8u8 {
        let exif = [
            &b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..],
            &[orientation, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let segment = [&[0xff, 0xe1, 0, exif.len() as u8 + 2][..], &exif].concat();
        let held = dir.path("held.jpg");
        std::fs::write(&held, [&bytes[..2], &segment, &bytes[2..]].concat()).unwrap();
        let (made, told) = (dir.path("made.png"), dir.path("told.png"));
        complete(json!({"source": {"url": held}, "outputs": [{"path": made, "overwrite": true}]}));
        // FFmpeg's command turns pictures by what its decoder says of them.
        ffmpeg(&format!("-y -i {held} {told}"));
        let wide = orientation < 5;
        assert_eq!(size(&made), if wide { (320, 180) } else { (180, 320) }, "{orientation}");
        let psnr = psnr_as_yuv(&made, &told);
        assert!(psnr > 25.0, "{orientation}: {psnr} dB");
    }
}

#[test]
fn the_cover_of_a_sound() {
    let dir = Dir::new();
    let (cover, sound) = (dir.path("cover.png"), dir.path("sound.mp3"));
    ffmpeg(&format!("-f lavfi -i testsrc2=s=300x300 -frames:v 1 {cover}"));
    ffmpeg(&format!(
        "-f lavfi -i sine=d=1 -i {cover} -map 0 -map 1 -c:v copy -disposition:v attached_pic {sound}"
    ));
    let (jpg, png) = (dir.path("a.jpg"), dir.path("a.png"));
    let outputs = json!([{"path": jpg}, {"path": png, "video": {"codec": "copy"}}]);
    complete(json!({"source": {"url": sound}, "outputs": outputs}));
    assert_eq!((size(&jpg), size(&png)), ((300, 300), (300, 300)));
}

#[test]
fn what_makes_no_picture_is_refused() {
    let dir = Dir::new();
    let film = clip(&dir, "film.mp4");
    let there = dir.names();
    for (output, said) in [
        (json!({"path": "a-%3d.jpg"}), "outputs[0].path: %3d: numbers are %d"),
        (json!({"path": "%d-%d.png"}), "outputs[0].path: has two numbers"),
        (json!({"path": "http://127.0.0.1:1/a.jpg"}), "outputs[0].path: pictures are written to files"),
        (json!({"path": "a.jpg", "ladder": "auto"}), "outputs[0].ladder"),
        (json!({"path": "a.jpg", "template": true}), "outputs[0].template"),
        (json!({"path": "a.jpg", "options": {"update": "1"}}), "outputs[0].options"),
        (json!({"path": "a.jpg", "metadata": {"title": "t"}}), "outputs[0].metadata"),
        (json!({"path": "a.mp4", "format": "image"}), "outputs[0].format: a.mp4 ends as mp4 does"),
        (json!({"path": "a.jpg", "audio": {"codec": "aac"}}), "outputs[0].audio: a picture has no sound"),
        (json!({"path": "a.jpg", "subtitles": [{"stream": 2}]}), "outputs[0].subtitles"),
        (json!({"path": "a.jpg", "video": {"keyframe_interval": 2}}), "outputs[0].video.keyframe_interval"),
        (json!({"path": "a.png", "video": {"colour": {"transfer": "smpte2084"}}}), "outputs[0].video.colour"),
    ] {
        let spec = still(&film, 0.0, output);
        let e = Pipeline::from_json(&spec.to_string()).map(drop).unwrap_err();
        assert!(e.message().contains(said), "{said}: {}", e.message());
    }
    let both = json!({"source": {"url": film}, "outputs": [{"path": "d-2.jpg"}, {"path": "d-%d.jpg"}]});
    let e = Pipeline::from_json(&both.to_string()).map(drop).unwrap_err();
    assert!(
        e.message().contains("outputs[1].path: one of its pictures is outputs[0].path too"),
        "{}",
        e.message()
    );
    let sound = dir.path("sound.m4a");
    ffmpeg(&format!("-i {film} -vn -c copy {sound}"));
    let there = [there, vec!["sound.m4a".into()]].concat();
    for (source, output, said) in [
        (&film, json!({"path": dir.path("a.png"), "video": {"codec": "h264"}}), "image cannot carry h264"),
        (&film, json!({"path": dir.path("a.png"), "video": {"codec": "mjpeg"}}), "a name for png"),
        (&film, json!({"path": dir.path("a.jpg"), "video": {"codec": "copy"}}), "image cannot carry h264"),
        (&film, json!({"path": dir.path("a.jpg"), "video": false}), "nothing of"),
        (&film, json!({"path": dir.path("none/a.jpg")}), "no such directory"),
        (&sound, json!({"path": dir.path("a.jpg")}), "no video stream"),
    ] {
        let spec = still(source, 0.0, output);
        let started = Pipeline::from_json(&spec.to_string()).unwrap().start().job();
        let message = match started {
            Ok(_) => failure(spec),
            Err(e) => e.message().to_owned(),
        };
        assert!(message.contains(said), "{said}: {message}");
        assert_eq!(dir.names(), there, "{said}");
    }
}
