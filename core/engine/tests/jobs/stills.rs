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

/// PSNR of the part of `sheet` at `x`,`y` against the whole of `picture`.
fn psnr_of_tile(sheet: &str, [x, y, width, height]: [u32; 4], picture: &str) -> f64 {
    let yuv = "scale=out_color_matrix=bt601:out_range=full,format=yuv444p";
    let cut = format!("crop={width}:{height}:{x}:{y},format=yuv420p");
    let graph = format!("[0:v]{yuv},{cut}[a];[1:v]{yuv},format=yuv420p[b];[a][b]psnr");
    psnr_by(&["-i", sheet, "-i", picture], &graph)
}

/// The cues of an index: when each begins and ends, and its text.
fn cues(path: &str) -> Vec<(f64, f64, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    let seconds =
        |clock: &str| clock.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap());
    let blocks = text.strip_prefix("WEBVTT\n\n").expect(&text).split_terminator("\n\n");
    let cue = |block: &str| {
        let (times, text) = block.split_once('\n').unwrap();
        let (start, end) = times.split_once(" --> ").unwrap();
        (seconds(start), seconds(end), text.to_owned())
    };
    blocks.map(cue).collect()
}

#[test]
fn sheets_of_previews() {
    let dir = Dir::new();
    let film = clip(&dir, "film.mp4");
    let (jpg, png, index) = (dir.path("a 1-%02d.jpg"), dir.path("b-%d.png"), dir.path("p.vtt"));
    let video = json!({"frame_rate": "2", "width": 160});
    let spec = json!({"source": {"url": film}, "outputs": [
        {"path": jpg, "video": {"frame_rate": "2", "width": 160, "crf": 1}, "tiles": {"columns": 3, "rows": 2, "index": index}},
        {"path": png, "video": video, "tiles": {"columns": 3, "rows": 2}},
        {"path": dir.path("plain-%d.png"), "video": video},
    ]});
    let plan = Pipeline::from_json(&spec.to_string()).unwrap().plan().unwrap();
    let detail = &plan.outputs[0].tracks[0].detail;
    assert!(detail.starts_with("sheets of 3x2 previews of 160x90, one every 0.5 s"), "{detail}");
    let made = complete(spec);
    let sheets = ["a 1-01.jpg", "a 1-02.jpg", "p.vtt", "b-1.png", "b-2.png"].map(|name| dir.path(name));
    assert_eq!(made[..5], sheets);
    assert_eq!(made.len(), 5 + 8, "{made:?}");
    let cues = cues(&index);
    assert_eq!(cues.len(), 8);
    for (n, (start, end, text)) in cues.iter().enumerate() {
        let (sheet, tile) = (n / 6 + 1, n as u32 % 6);
        let [x, y] = [tile % 3 * 160, tile / 3 * 90];
        assert_eq!(*text, format!("a%201-{sheet:02}.jpg#xywh={x},{y},160,90"));
        let last = if n == 7 { 0.1 } else { 0.001 };
        assert!((start - n as f64 * 0.5).abs() < 0.001 && (end - start - 0.5).abs() < last, "{start} {end}");
        let at = [x, y, 160, 90];
        for (path, least) in
            [(dir.path(&format!("a 1-0{sheet}.jpg")), 30.0), (dir.path(&format!("b-{sheet}.png")), 60.0)]
        {
            assert_eq!(size(&path), (480, 180), "{path}: the last is as large as the others");
            let psnr = |other: usize| psnr_of_tile(&path, at, &dir.path(&format!("plain-{other}.png")));
            assert!(psnr(n + 1) > least, "{path} {n}: {} dB", psnr(n + 1));
            assert!(psnr((n + 4) % 8 + 1) < 25.0, "{path} {n}: others look like it");
        }
    }
    // Where there is no preview it is black.
    let black = dir.path("black.png");
    ffmpeg(&format!("-f lavfi -i color=black:s=160x90 -frames:v 1 {black}"));
    for sheet in [dir.path("a 1-02.jpg"), dir.path("b-2.png")] {
        for at in [[320, 0, 160, 90], [0, 90, 160, 90], [320, 90, 160, 90]] {
            let psnr = psnr_of_tile(&sheet, at, &black);
            assert!(psnr > 40.0, "{sheet} {at:?}: {psnr} dB");
        }
    }
}

#[test]
fn previews_have_their_usual_size_and_rate() {
    let dir = Dir::new();
    let (tall, index) = (dir.path("tall.mkv"), dir.path("p.vtt"));
    ffmpeg(&format!("-f lavfi -i testsrc2=s=90x162:r=1:d=33 -c:v ffv1 {tall}"));
    let tiles = json!({"columns": 2, "rows": 1, "index": index});
    let (all, first) = (dir.path("all-%d.webp"), dir.path("first.jpg"));
    let outputs = json!([{"path": all, "tiles": tiles}, {"path": first, "tiles": {"columns": 2, "rows": 1}}]);
    let spec = json!({"source": {"url": tall}, "outputs": outputs});
    let plan = Pipeline::from_json(&spec.to_string()).unwrap().plan().unwrap();
    let notes = |output: usize| plan.outputs[output].tracks[0].notes.join("; ");
    assert!(notes(0).is_empty() && notes(1).contains("one sheet has 2 of 3 previews"), "{}", notes(1));
    let job = start(spec);
    let told = events(&job);
    let warned = |e: &&ghoststream::event::Event| format!("{e:?}").contains("there are more sheets");
    assert_eq!(told.iter().filter(warned).count(), 1, "{told:?}");
    for name in ["all-1.webp", "all-2.webp", "first.jpg"] {
        assert_eq!(size(&dir.path(name)), (640, 576), "{name}");
    }
    let times: Vec<_> = cues(&index).iter().map(|(start, end, _)| (*start, *end)).collect();
    assert_eq!(times, [(0.0, 10.0), (10.0, 20.0), (20.0, 33.0)], "the last is until the end of the film");
}

#[test]
fn an_index_is_there_when_all_sheets_are() {
    let dir = Dir::new();
    let source = json!({"pattern": {"width": 64, "height": 64, "frame_rate": "25"}, "realtime": true});
    let tiles = json!({"columns": 2, "rows": 2, "index": dir.path("p.vtt")});
    let video = json!({"width": 32, "frame_rate": "25"});
    let output = json!({"path": dir.path("s-%d.png"), "video": video, "tiles": tiles});
    let spec = json!({"source": source, "outputs": [output]});
    for stops in [false, true] {
        let job = start(spec.clone());
        let begun = std::time::Instant::now();
        while !exists(&dir.path("s-2.png")) {
            assert!(begun.elapsed().as_secs() < 60, "{:?}", dir.names());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(!exists(&dir.path("p.vtt")), "it is not written before");
        if stops {
            job.stop()
        } else {
            job.cancel()
        }
        events(&job);
        let names = dir.names();
        assert_eq!(exists(&dir.path("p.vtt")), stops, "{names:?}");
        assert!(!names.iter().any(|name| name.contains(".part")), "{names:?}");
        if stops {
            let cues = cues(&dir.path("p.vtt"));
            let sheets = names.len() - 1;
            assert!((sheets - 1) * 4 < cues.len() && cues.len() <= sheets * 4, "{} {names:?}", cues.len());
        }
        names.iter().filter(|_| !stops).for_each(|name| std::fs::remove_file(dir.path(name)).unwrap());
    }
    // What is there stays, and nothing is made beside it.
    let there = dir.names();
    let taken = json!({"columns": 2, "rows": 2, "index": dir.path("p.vtt")});
    let message = failure(json!({"source": {"pattern": {"frames": 5}}, "outputs": [
        {"path": dir.path("t-%d.png"), "tiles": taken}]}));
    assert!(message.contains("tiles.index") && message.contains("p.vtt: exists"), "{message}");
    assert_eq!(dir.names(), there);
}

#[test]
fn sheets_that_cannot_be_are_refused() {
    let dir = Dir::new();
    let film = clip(&dir, "film.mp4");
    for (output, said) in [
        (
            json!({"path": "s.webp", "tiles": {"columns": 60, "rows": 1}}),
            "outputs[0].tiles: 60x1 previews of 320x180",
        ),
        (
            json!({"path": "s.jpg", "video": {"width": 101}, "tiles": {"columns": 2, "rows": 1}}),
            "outputs[0].video.width: 101x",
        ),
    ] {
        let spec = still(&film, 0.0, output);
        let e = Pipeline::from_json(&spec.to_string()).unwrap().plan().map(drop).unwrap_err();
        assert!(e.message().contains(said), "{said}: {}", e.message());
    }
    let far = dir.path("far.vtt");
    let link = dir.path("link.vtt");
    std::os::unix::fs::symlink(&far, &link).unwrap();
    std::fs::write(&far, "").unwrap();
    let output = |name: &str, index: &str| json!({"path": dir.path(name), "overwrite": true, "tiles": {"columns": 2, "rows": 1, "index": index}});
    let spec = json!({"source": {"url": film}, "outputs": [output("a.jpg", &far), output("b.jpg", &link)]});
    let e = Pipeline::from_json(&spec.to_string()).unwrap().plan().map(drop).unwrap_err();
    assert!(
        e.message().contains("outputs[1].tiles.index: ") && e.message().contains("outputs[0] too"),
        "{e}"
    );
}

#[test]
fn key_frames_alone() {
    let dir = Dir::new();
    let film = clip(&dir, "film.mp4");
    let keys = dir.path("key-%d.png");
    let index = dir.path("p.vtt");
    let sheets = json!({"path": dir.path("s-%d.png"), "video": {"frame_rate": "2", "width": 160},
        "tiles": {"columns": 4, "rows": 1, "index": index}});
    let copy = json!({"path": dir.path("copy.mkv"), "video": {"codec": "copy"}});
    let source = json!({"url": film, "decode": {"key_frames_only": true}});
    let job = start(json!({"source": source, "outputs": [{"path": keys}, sheets, copy]}));
    events(&job);
    let stats = job.stats();
    let decoder = stats.stages.iter().find(|s| s.name == "decode 0").expect("a decoder");
    assert_eq!(decoder.items_out, 4, "{stats:?}");
    assert_eq!(frames(video(&probe(&dir.path("copy.mkv")))), 100, "what is copied has all");
    assert!(!exists(&dir.path("key-5.png")));
    for n in 0..4 {
        let frame = dir.path("frame.png");
        ffmpeg(&format!("-i {film} -vf select=eq(n\\,{}) -frames:v 1 {frame}", n * 25));
        let psnr = psnr_as_yuv(&dir.path(&format!("key-{}.png", n + 1)), &frame);
        assert!(psnr > 35.0, "{n}: {psnr} dB");
    }
    // Each is shown until the next, and the last to the end of the film.
    let cues = cues(&index);
    assert_eq!(cues.len(), 8, "{cues:?}");
    for (n, at) in [(0, "s-1"), (3, "s-1"), (6, "s-2"), (7, "s-2")] {
        let (x, key) = (n % 4 * 160, dir.path(&format!("key-{}.png", n / 2 + 1)));
        let small = dir.path("small.png");
        ffmpeg(&format!("-i {key} -vf scale=160:90:flags=bicubic {small}"));
        let psnr = psnr_of_tile(&dir.path(&format!("{at}.png")), [x, 0, 160, 90], &small);
        assert!(psnr > 28.0, "{n}: {psnr} dB");
    }
}
