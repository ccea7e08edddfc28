//! Arguments beside the documents that they mean.

use super::*;
use crate::exit::USAGE;
use clap::{CommandFactory, FromArgMatches};
use serde_json::{Value, json};

fn document(args: &[&str]) -> Result<PipelineSpec, Failure> {
    of_command("transcode", args)
}

fn of_command(name: &str, args: &[&str]) -> Result<PipelineSpec, Failure> {
    let all = ["ghoststream", name].into_iter().chain(args.iter().copied());
    let matches = Cli::command()
        .try_get_matches_from(all)
        .map_err(|e| Failure { code: e.exit_code(), message: e.to_string() })?;
    let cli = Cli::from_arg_matches(&matches).expect("matches of this command");
    let matches = matches.subcommand().expect("a subcommand").1;
    match cli.command {
        Command::Transcode(args) => args.document(matches),
        Command::Encode(args) => args.document(matches),
        Command::Record(args) => args.document(),
        Command::Replay(args) => args.document(),
        Command::Stream(args) => args.document(),
        Command::Camera(args) => args.document(),
        Command::Capture(args) => args.document(|_| "25".parse().map_err(Failure::usage)),
        other => panic!("{other:?} makes no document"),
    }
}

fn assert_means(args: &[&str], expected: Value) {
    assert_command_means("transcode", args, expected);
}

/// Both documents with every default filled in.
fn assert_command_means(name: &str, args: &[&str], expected: Value) {
    let made = of_command(name, args).unwrap_or_else(|e| panic!("{args:?}: {}", e.message));
    let expected = PipelineSpec::from_json(&expected.to_string()).unwrap_or_else(|e| panic!("{args:?}: {e}"));
    let [made, expected] = [made, expected].map(|s| serde_json::to_value(s).expect("a document"));
    assert_eq!(made, expected, "{args:?}");
}

fn one(output: Value) -> Value {
    json!({"source": {"url": "in.mkv"}, "outputs": [output]})
}

#[test]
fn the_definitions_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn video() {
    assert_means(&["in.mkv", "out.mp4"], one(json!({"path": "out.mp4"})));
    assert_means(
        &["in.mkv", "out.mp4", "--video", "hevc", "--crf", "23", "--audio", "opus:128k"],
        one(json!({"path": "out.mp4", "video": {"codec": "hevc", "crf": 23},
                   "audio": [{"codec": "opus", "bitrate": "128k"}]})),
    );
    assert_means(
        &["in.mkv", "o.mkv", "--video", "copy"],
        one(json!({"path": "o.mkv", "video": {"codec": "copy"}})),
    );
    assert_means(&["in.mkv", "o.mka", "--video", "none"], one(json!({"path": "o.mka", "video": false})));
    assert_means(
        &[
            "in.mkv",
            "o.mp4",
            "--encoder",
            "libx264",
            "--device",
            "software",
            "--video-stream",
            "2",
            "--bitrate",
            "5M",
            "--max-bitrate",
            "6M",
            "--buffer",
            "10M",
            "--two-pass",
            "--preset",
            "p6",
            "--tune",
            "ll",
            "--gop",
            "250",
            "--b-frames",
            "2",
            "--lookahead",
            "40",
            "--profile",
            "high",
            "--level",
            "4.1",
            "--bit-depth",
            "8",
            "--option",
            "x264-params=aq-mode=3",
            "--option",
            "threads=2",
        ],
        one(json!({"path": "o.mp4", "video": {
            "encoder": "libx264", "device": "software", "stream": 2, "bitrate": 5000000, "max_bitrate": 6000000,
            "buffer": 10000000, "two_pass": true, "preset": "p6", "tune": "ll", "gop": 250, "b_frames": 2,
            "lookahead": 40, "profile": "high", "level": "4.1", "bit_depth": 8,
            "options": {"x264-params": "aq-mode=3", "threads": "2"}}})),
    );
    assert_means(
        &[
            "in.mkv",
            "o.mp4",
            "--cbr",
            "--bitrate",
            "2.5M",
            "--keyframe-interval",
            "2",
            "--pixel-format",
            "nv12",
        ],
        one(json!({"path": "o.mp4", "video": {"cbr": true, "bitrate": 2500000, "keyframe_interval": 2,
                   "pixel_format": "nv12"}})),
    );
    assert_means(
        &[
            "in.mkv",
            "o.mp4",
            "--mastering-display",
            "p3:0.0001:1000",
            "--max-cll",
            "900",
            "--max-fall",
            "300",
        ],
        one(
            json!({"path": "o.mp4", "video": {"hdr": {"max_cll": 900, "max_fall": 300, "mastering_display": {
            "red": [0.68, 0.32], "green": [0.265, 0.69], "blue": [0.15, 0.06], "white": [0.3127, 0.329],
            "min_luminance": 0.0001, "max_luminance": 1000.0}}}}),
        ),
    );
    assert_means(&["in.mkv", "o.mkv", "--qp", "20"], one(json!({"path": "o.mkv", "video": {"qp": 20}})));
    assert_means(
        &["in.mkv", "o.mkv", "--lossless"],
        one(json!({"path": "o.mkv", "video": {"lossless": true}})),
    );
}

#[test]
fn the_picture_and_its_filters_in_the_order_given() {
    assert_means(
        &[
            "in.mkv",
            "o.mp4",
            "--size",
            "1280x720",
            "--fps",
            "29.97",
            "--scaler",
            "lanczos",
            "--no-auto-rotate",
        ],
        one(json!({"path": "o.mp4", "video": {"width": 1280, "height": 720, "frame_rate": "30000/1001",
                   "scaler": "lanczos", "auto_rotate": false}})),
    );
    assert_means(
        &["in.mkv", "o.mp4", "--height", "480"],
        one(json!({"path": "o.mp4", "video": {"height": 480}})),
    );
    assert_means(
        &[
            "in.mkv",
            "o.mp4",
            "--sharpen",
            "-0.5:7",
            "--deinterlace",
            "--crop",
            "640x360+0+10",
            "--rotate",
            "90",
            "--tone-map=bt2390",
            "--pad",
            "1920x1080+1+2:#102030",
            "--burn-in",
            "3",
            "--rotate",
            "180",
            "--burn-in",
            "a.srt",
            "--watermark",
            "logo.png@-20,20",
            "--interpolate",
            "60:blend",
            "--deinterlace=double-rate",
        ],
        one(json!({"path": "o.mp4", "video": {"filters": [
            {"sharpen": {"amount": -0.5, "size": 7}},
            {"deinterlace": "auto"},
            {"crop": {"x": 0, "y": 10, "width": 640, "height": 360}},
            {"rotate": 90},
            {"tone_map": {"curve": "bt2390"}},
            {"pad": {"width": 1920, "height": 1080, "x": 1, "y": 2, "colour": "#102030"}},
            {"burn_in": {"stream": 3}},
            {"rotate": 180},
            {"burn_in": {"path": "a.srt"}},
            {"watermark": {"path": "logo.png", "x": -20, "y": 20}},
            {"interpolate": {"frame_rate": 60, "blend": true}},
            {"deinterlace": "double_rate"},
        ]}})),
    );
}

#[test]
fn audio_and_subtitles() {
    assert_means(&["in.mkv", "o.mp4", "--audio", "none"], one(json!({"path": "o.mp4", "audio": false})));
    assert_means(
        &[
            "in.mkv",
            "o.mkv",
            "--audio",
            "copy",
            "--audio",
            "aac:96k",
            "--audio-stream",
            "1",
            "--audio-stream",
            "2",
        ],
        one(json!({"path": "o.mkv", "audio": [{"codec": "copy", "stream": 1},
                   {"codec": "aac", "bitrate": 96000, "stream": 2}]})),
    );
    assert_means(
        &[
            "in.mkv",
            "o.mp4",
            "--audio-language",
            "eng",
            "--channels",
            "2",
            "--sample-rate",
            "48000",
            "--gain",
            "-3",
            "--loudness",
            "--no-audio-sync",
            "--audio-option",
            "aac_coder=fast",
            "--audio-encoder",
            "aac",
        ],
        one(
            json!({"path": "o.mp4", "audio": [{"language": "eng", "channels": 2, "sample_rate": 48000, "gain": -3,
                   "loudness": {}, "sync": false, "options": {"aac_coder": "fast"}, "encoder": "aac"}]}),
        ),
    );
    assert_means(
        &["in.mkv", "o.mkv", "--all-audio", "--audio", "opus:96k", "--audio-language", "eng"],
        one(
            json!({"path": "o.mkv", "audio": [{"all": true, "codec": "opus", "bitrate": 96000, "language": "eng"}]}),
        ),
    );
    assert_means(
        &["in.mkv", "o.mp4", "--loudness=-16"],
        one(json!({"path": "o.mp4", "audio": [{"loudness": {"integrated": -16}}]})),
    );
    assert_means(
        &["in.mkv", "o.mp4", "--subtitles", "none"],
        one(json!({"path": "o.mp4", "subtitles": false})),
    );
    assert_means(
        &["in.mkv", "o.mp4", "--subtitles", "2", "--subtitles", "de.srt"],
        one(json!({"path": "o.mp4", "subtitles": [{"stream": 2}, {"path": "de.srt"}]})),
    );
    assert_means(
        &[
            "in.mkv",
            "o.mkv",
            "--subtitles",
            "2",
            "--subtitles",
            "de.srt",
            "--subtitle-language",
            "eng",
            "--subtitle-language",
            "deu",
            "--subtitle-title",
            "Full",
            "--default-subtitle",
            "2",
        ],
        one(json!({"path": "o.mkv", "subtitles": [{"stream": 2, "language": "eng", "title": "Full"},
                   {"path": "de.srt", "language": "deu", "default": true}]})),
    );
    for (arguments, says) in [
        (&["--subtitles", "2", "--default-subtitle", "2"][..], "--default-subtitle: there are 1"),
        (&["--subtitles", "2", "--default-subtitle", "0"], "counted from 1"),
        (&["--subtitles", "none", "--subtitle-title", "a"], "--subtitle-title: there are 0"),
    ] {
        let e = document(&[&["in.mkv", "o.mkv"], arguments].concat()).expect_err(says);
        assert!(e.message.contains(says), "{}", e.message);
    }
}

#[test]
fn colours_and_peaks() {
    let video = |video: Value| one(json!({"path": "o.mp4", "video": video}));
    let pq = json!({"primaries": "bt2020", "transfer": "smpte2084", "matrix": "bt2020nc"});
    assert_means(&["in.mkv", "o.mp4", "--colour", "pq"], video(json!({"colour": pq})));
    assert_means(
        &["in.mkv", "o.mp4", "--colour", "bt709,full,transfer=iec61966-2-1"],
        video(
            json!({"colour": {"primaries": "bt709", "transfer": "iec61966-2-1", "matrix": "bt709", "range": "full"}}),
        ),
    );
    assert_means(
        &["in.mkv", "o.mp4", "--tone-map=mobius:600"],
        video(json!({"filters": [{"tone_map": {"curve": "mobius", "peak": 600}}]})),
    );
    for wrong in ["--colour=bt708", "--colour=range=half", "--tone-map=hable:bright", "--tone-map=filmic"] {
        assert_eq!(document(&["in.mkv", "o.mp4", wrong]).expect_err(wrong).code, USAGE);
    }
}

#[test]
fn sources() {
    let with = |source: Value| json!({"source": source, "outputs": [{"path": "o.mp4"}]});
    assert_means(
        &["http://h/a", "o.mp4", "--start", "1:02.5", "--to", "1:10", "--loop", "forever", "--realtime"],
        with(json!({"url": "http://h/a", "start": 62.5, "duration": 7.5, "loop": -1, "realtime": true})),
    );
    assert_means(&["in.mkv", "o.mp4", "--salvage"], with(json!({"url": "in.mkv", "salvage": true})));
    assert_means(
        &[
            "rtsp://h/a",
            "o.mp4",
            "--protocols",
            "rtsp,rtp,tcp",
            "--header",
            "X-Key: 1",
            "--timeout",
            "5",
            "--no-reconnect",
            "--input-format",
            "rtsp",
            "--input-option",
            "rtsp_transport=tcp",
            "--decoder-device",
            "software",
            "--duration",
            "3",
        ],
        with(json!({"url": "rtsp://h/a", "protocols": ["rtsp", "rtp", "tcp"], "headers": {"X-Key": "1"},
                    "timeout": 5, "reconnect": false, "format": "rtsp", "options": {"rtsp_transport": "tcp"},
                    "decode": {"device": "software"}, "duration": 3})),
    );
    assert_means(
        &["pattern:gradient?size=320x180&fps=25&frames=50&tone", "o.mp4"],
        with(
            json!({"pattern": {"kind": "gradient", "width": 320, "height": 180, "frame_rate": 25, "frames": 50,
                    "tone": true}}),
        ),
    );
    assert_means(
        &["-", "o.mp4", "--input-format", "matroska"],
        with(json!({"bytes": {"buffer": 4194304}, "format": "matroska"})),
    );
}

#[test]
fn a_poster_beside_a_film() {
    assert_means(
        &[
            "in.mkv",
            "o.mp4",
            "p.jpg",
            "--video",
            "hevc",
            "--crf",
            "30",
            "--audio",
            "opus",
            "--subtitles",
            "s.srt",
            "--width",
            "320",
        ],
        json!({"source": {"url": "in.mkv"}, "outputs": [
            {"path": "o.mp4", "video": {"codec": "hevc", "crf": 30, "width": 320}, "audio": [{"codec": "opus"}],
             "subtitles": [{"path": "s.srt"}]},
            {"path": "p.jpg", "video": {"width": 320}, "audio": false, "subtitles": false},
        ]}),
    );
    assert_means(&["in.mkv", "p.jpg", "--crf", "5"], one(json!({"path": "p.jpg", "video": {"crf": 5}})));
    assert_means(
        &["in.mkv", "-", "--format", "image", "--crf", "5"],
        one(json!({"path": "/dev/stdout", "format": "image", "video": {"crf": 5}})),
    );
    assert_command_means(
        "capture",
        &["in.mkv", "p-%02d.png", "--start", "1", "--size", "64x48"],
        json!({"source": {"url": "in.mkv", "start": 1}, "outputs": [
            {"path": "p-%02d.png", "video": {"width": 64, "height": 48}, "audio": false, "subtitles": false}
        ]}),
    );
    let e = document(&["in.mkv", "p.jpg", "--audio", "aac"]).unwrap_err();
    assert!(e.code == USAGE && e.message.contains("a picture has no sound"), "{}", e.message);
    let e = of_command("record", &["pattern:smpte", "p.jpg"]).unwrap_err();
    assert!(e.code == USAGE && e.message.contains("capture and transcode make pictures"), "{}", e.message);
}

#[test]
fn sheets_of_previews() {
    let sheets = |path: &str, index: Value| {
        let mut tiles = json!({"columns": 10, "rows": 5});
        if !index.is_null() {
            tiles["index"] = index;
        }
        json!({"path": path, "tiles": tiles})
    };
    assert_means(&["in.mkv", "s.jpg", "--tiles", "10x5"], one(sheets("s.jpg", Value::Null)));
    let index = ["--tiles", "10x5", "--tiles-index", "p.vtt"];
    assert_means(
        &[&["in.mkv", "s-%d.jpg", "--key-frames-only"][..], &index].concat(),
        json!({"source": {"url": "in.mkv", "decode": {"key_frames_only": true}},
               "outputs": [sheets("s-%d.jpg", json!("p.vtt"))]}),
    );
    // Beside them, a film stays a film and a poster a poster.
    assert_means(
        &[&["in.mkv", "o.mp4", "s-%d.webp", "p.jpg"][..], &index].concat(),
        json!({"source": {"url": "in.mkv"}, "outputs": [
            {"path": "o.mp4"}, {"audio": false, "subtitles": false, "path": "s-%d.webp",
             "tiles": {"columns": 10, "rows": 5, "index": "p.vtt"}},
            {"path": "p.jpg", "audio": false, "subtitles": false}]}),
    );
    for (args, said) in [
        (&["in.mkv", "o.mp4", "--tiles", "2x2"][..], "--tiles: sheets are pictures"),
        (&["in.mkv", "o.mp4", "p.jpg", "--tiles", "2x2"], "--tiles: none of the outputs"),
        (&["in.mkv", "p.jpg", "--tiles", "0x2"], "--tiles: 0 is not within 1 to 100"),
        (&["in.mkv", "p.jpg", "--tiles", "2"], "--tiles"),
        (&["in.mkv", "p.jpg", "--tiles-index", "p.vtt"], "--tiles"),
        (&["in.mkv", "p.jpg", "--tiles", "2x2", "--tiles-index", "-"], "--tiles-index: is a file of its own"),
        (
            &["in.mkv", "o/", "--format", "hls", "--key-frames-only"],
            "--key-frames-only: ladders and segments",
        ),
        (&["in.mkv", "o.mkv", "--video", "copy", "--key-frames-only"], "--key-frames-only: no output has"),
    ] {
        let e = document(args).unwrap_err();
        assert!(e.code == USAGE && e.message.contains(said), "{args:?}: {}", e.message);
    }
}

#[test]
fn outputs() {
    assert_means(
        &["in.mkv", "out/", "--ladder", "auto", "--format", "hls+dash"],
        one(json!({"path": "out/", "ladder": "auto", "format": "hls+dash"})),
    );
    assert_means(
        &[
            "in.mkv",
            "out/",
            "--ladder",
            "copy,1280x720@2.8M,480p@1M/1.5M",
            "--format",
            "hls",
            "--segment",
            "ts",
            "--segment-duration",
            "6",
            "--no-iframes",
            "--no-copy-conforming",
        ],
        one(json!({"path": "out/", "format": "hls", "copy_conforming": false,
                   "segment": {"duration": 6, "container": "ts", "iframes": false},
                   "ladder": [{"codec": "copy"}, {"width": 1280, "height": 720, "bitrate": 2800000},
                              {"height": 480, "bitrate": 1000000, "max_bitrate": 1500000}]})),
    );
    assert_means(
        &[
            "in.mkv",
            "o.mp4",
            "--fragmented",
            "--no-faststart",
            "--format-option",
            "brand=iso6",
            "--metadata",
            "title=A=B",
            "--metadata",
            "artist=",
            "--no-metadata",
            "--no-chapters",
            "--no-attachments",
            "-y",
        ],
        one(json!({"path": "o.mp4", "fragmented": true, "faststart": false, "options": {"brand": "iso6"},
                   "metadata": {"title": "A=B", "artist": ""}, "copy_metadata": false, "chapters": false,
                   "attachments": false, "overwrite": true})),
    );
    assert_means(
        &["in.mkv", "o.mp4", "--threads", "3", "--no-fallback", "--keep-partial", "--stall-timeout", "0"],
        json!({"source": {"url": "in.mkv"}, "outputs": [{"path": "o.mp4"}], "threads": 3, "fallback": false,
               "keep_partial": true, "stall_timeout": 0}),
    );
    // Several outputs: what is about one kind of container goes to that kind.
    assert_means(
        &[
            "in.mkv",
            "a.mp4",
            "l/",
            "b.mkv",
            "--format",
            "hls",
            "--ladder",
            "auto",
            "--fragmented",
            "--crf",
            "20",
        ],
        json!({"source": {"url": "in.mkv"}, "outputs": [
            {"path": "a.mp4", "fragmented": true, "video": {"crf": 20}},
            {"path": "l/", "format": "hls", "ladder": "auto", "video": {"crf": 20}},
            {"path": "b.mkv", "video": {"crf": 20}},
        ]}),
    );
}

#[test]
fn raw_frames() {
    let silent = |source: Value, path: &str, video: Value| json!({"source": source, "outputs": [{"path": path, "audio": false, "subtitles": false, "video": video}]});
    assert_command_means(
        "capture",
        &["pattern:smpte", "o.y4m", "--frames", "60"],
        silent(json!({"pattern": {"frames": 60}}), "o.y4m", json!({"codec": "rawvideo"})),
    );
    assert_command_means(
        "capture",
        &["in.mkv", "o.y4m", "--frames", "10", "--size", "64x48", "--start", "1"],
        silent(
            json!({"url": "in.mkv", "start": 1, "duration": 0.38}),
            "o.y4m",
            json!({"codec": "rawvideo", "width": 64, "height": 48, "frame_rate": 25}),
        ),
    );
    let mut bare =
        silent(json!({"url": "in.mkv"}), "o.rgb", json!({"codec": "rawvideo", "pixel_format": "rgb24"}));
    bare["outputs"][0]["format"] = "raw".into();
    assert_command_means("capture", &["in.mkv", "o.rgb"], bare);
    assert_command_means(
        "encode",
        &[
            "a.yuv",
            "o.mp4",
            "--encoder",
            "libx264",
            "--input-size",
            "64x48",
            "--input-fps",
            "25",
            "--crf",
            "20",
        ],
        silent(
            json!({"url": "a.yuv", "format": "rawvideo",
                   "options": {"video_size": "64x48", "pixel_format": "yuv420p", "framerate": "25/1"}}),
            "o.mp4",
            json!({"encoder": "libx264", "crf": 20}),
        ),
    );
    for (name, args, named) in [
        ("encode", &["a.yuv", "o.mp4"][..], "--encoder: "),
        ("encode", &["a.yuv", "o.mp4", "--encoder", "libx264", "--input-fps", "25"], "--input-size"),
        ("capture", &["in.mkv", "o.y4m", "--frames", "0"], "--frames"),
        ("capture", &["in.mkv", "-"], "OUT: "),
    ] {
        let e = of_command(name, args).expect_err(&format!("{args:?}"));
        assert!(e.code == USAGE && e.message.contains(named), "{args:?}: {}", e.message);
    }
}

#[test]
fn a_mistake_names_its_argument() {
    for (args, named) in [
        (&["in.mkv"][..], "<OUT>"),
        (&["in.mkv", "o.mp4", "--crf", "x"], "--crf"),
        (&["in.mkv", "o.mp4", "--crf", "300"], "--crf: 300"),
        (&["in.mkv", "o.mp4", "--crf", "NaN"], "--crf: NaN"),
        (&["in.mkv", "o.mp4", "--crf", "20", "--qp", "20"], "--qp: excludes crf"),
        (&["in.mkv", "o.mp4", "--bitrate", "fast"], "--bitrate"),
        (&["in.mkv", "o.mp4", "--bitrate", "2M", "--max-bitrate", "1M"], "--max-bitrate: "),
        (&["in.mkv", "o.mp4", "--preset", "medium"], "possible values: p1"),
        (&["in.mkv", "o.mp4", "--size", "0x2"], "--width: "),
        (&["in.mkv", "o.mp4", "--size", "1x2", "--width", "3"], "--size"),
        (&["in.mkv", "o.mp4", "--video", "none", "--crf", "20"], "--crf: "),
        (&["in.mkv", "o.mp4", "--video", "copy", "--fps", "20"], "--fps: "),
        (&["in.mkv", "o.mp4", "--video", "aac"], "--video: aac"),
        (&["in.mkv", "o.mp4", "--rotate", "45"], "--rotate: "),
        (&["in.mkv", "o.mp4", "--audio", "aac:x"], "--audio: aac:x"),
        (&["in.mkv", "o.mp4", "--audio", "none", "--audio", "aac"], "--audio: "),
        (&["in.mkv", "o.mp4", "--audio", "none", "--gain", "3"], "--gain: "),
        (&["in.mkv", "o.mp4", "--channels", "0"], "--channels: "),
        (
            &[
                "in.mkv", "o.mp4", "--audio", "a", "--audio", "b", "--audio", "c", "--gain", "1", "--gain",
                "2",
            ],
            "--gain: given 2 times",
        ),
        (&["in.mkv", "o.xyz"], "--format: "),
        (&["in.mkv", "o.mp4", "--ladder", "auto"], "--ladder: "),
        (&["in.mkv", "o/", "--format", "hls", "--ladder", "auto,480p"], "--ladder: \"auto\""),
        (&["in.mkv", "o/", "--format", "dash", "--segment", "ts"], "--segment: "),
        (&["in.mkv", "a.mkv", "b.mkv", "--fragmented"], "--fragmented: "),
        (&["in.mkv", "a.mp4", "a.mp4"], "OUT: "),
        (&["in.mkv", "-"], "OUT: "),
        (&["in.mkv", "-", "--format", "hls"], "OUT: "),
        (&["in.mkv", "-", "-", "--format", "ts"], "OUT: "),
        (&["in.mkv", "o.mp4", "--duration", "0"], "--duration: "),
        (&["in.mkv", "o.mp4", "--start", "5", "--to", "5"], "--to: "),
        (&["in.mkv", "o.mp4", "--header", "x"], "--header"),
        (&["pattern:smpte?frames=0", "o.mp4"], "IN: "),
        (&["pattern:bars", "o.mp4"], "pattern:bars"),
        (&["pattern:smpte", "o.mp4", "--header", "a: b"], "--header: "),
        (&["--spec", "x.json", "in.mkv"], "--spec"),
        (&["--spec", "x.json", "--crf", "3"], "--crf"),
        (&["--spec", "x.json", "--threads", "3"], "--threads"),
        (&["in.mkv", "o.mp4", "--frobnicate"], "--frobnicate"),
    ] {
        let e = document(args).expect_err(&format!("{args:?}"));
        assert_eq!(e.code, USAGE, "{args:?}: {}", e.message);
        assert!(e.message.contains(named), "{args:?}: {}", e.message);
    }
}

#[test]
fn streams_say_how_they_are_pushed() {
    let spec = |args: &[&str]| {
        let spec = of_command("stream", args).map_err(|e| e.message)?;
        Ok::<_, String>(serde_json::to_value(spec).expect("JSON"))
    };
    let made = spec(&[
        "pattern:smpte",
        "rtmp://h/a/k",
        "-b",
        "4M",
        "--adapt",
        "--min-bitrate",
        "1M",
        "--reconnects",
        "forever",
        "--first-delay",
        "0.5",
        "--push-timeout",
        "3",
        "--max-delay",
        "1",
        "--retry-start",
        "--record",
        "a.mkv",
    ])
    .expect("understood");
    let (video, push) = (&made["outputs"][0]["video"], &made["outputs"][0]["push"]);
    assert_eq!((&video["bitrate"], &video["max_bitrate"]), (&json!(4_000_000), &json!(4_000_000)));
    assert_eq!(video, &made["outputs"][1]["video"], "one encode");
    assert_eq!((&push["adapt"]["min_bitrate"], &push["reconnects"]), (&json!(1_000_000), &json!(-1)));
    assert_eq!(
        (&push["first_delay"], &push["timeout"], &push["retry_start"]),
        (&json!(0.5), &json!(3.0), &json!(true))
    );
    assert!(made["outputs"][1]["push"].is_null());
    let cbr = spec(&["pattern:smpte", "rtmp://h/a/k", "-b", "4M", "--cbr", "--adapt"]).expect("understood");
    assert_eq!(cbr["outputs"][0]["video"]["cbr"], true);
    assert!(cbr["outputs"][0]["video"]["max_bitrate"].is_null());
    let peak = spec(&["pattern:smpte", "srt://h:9", "-b", "4M", "--max-bitrate", "5M"]).expect("understood");
    assert_eq!(peak["outputs"][0]["video"]["max_bitrate"], 5_000_000);
    let open = spec(&["pattern:smpte", "rtmps://h/a/k", "--no-tls-verify"]).expect("understood");
    assert_eq!(open["outputs"][0]["push"]["tls_verify"], false);
    let trusted =
        spec(&["pattern:smpte", "rtmps://h/a/k", "--ca-file", "ca.pem", "--stream", "rtmp://o/a/k"])
            .expect("understood");
    assert_eq!(trusted["outputs"][0]["push"]["ca_file"], "ca.pem");
    assert!(trusted["outputs"][1]["push"]["ca_file"].is_null());
    for (args, said) in [
        (&["pattern:smpte", "rtmp://h/a/k", "--adapt"][..], "--adapt: "),
        (&["pattern:smpte", "rtmp://h/a/k", "--cbr"], "--cbr: "),
        (&["pattern:smpte", "rtmp://h/a/{env:GS_NOT_THERE}"], "GS_NOT_THERE"),
        (&["pattern:smpte", "rtmp://h/a/k", "--reconnects", "often"], "--reconnects"),
    ] {
        let e = spec(args).expect_err(said);
        assert!(e.contains(said), "{e}");
    }
    let e =
        of_command("record", &["pattern:smpte", "a.mkv", "--retry-start"]).expect_err("nothing is streamed");
    assert!(e.message.starts_with("--retry-start: "), "{}", e.message);
}

#[test]
fn recordings() {
    let video = json!({"preset": "p3", "keyframe_interval": 2});
    let screen = |more: Value| {
        let mut screen = json!({"frame_rate": 60});
        screen.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "screen": screen })
    };
    let job = |source: Value, outputs: Value| json!({"source": source, "outputs": outputs, "name": "ghoststream", "keep_partial": true});
    assert_command_means(
        "record",
        &["out.mkv"],
        job(screen(json!({})), json!([{"path": "out.mkv", "video": video}])),
    );
    // The engine refuses a monitor and a region of all of them.
    let e = of_command("record", &["screen:DP-1", "out.mkv", "-g", "10,20 640x480"]).unwrap_err();
    assert!(e.message.contains("only one of monitor, region and window"), "{}", e.message);
    assert_command_means(
        "record",
        &["-o", "out-{n}.mp4", "-g", "10,20 640x480", "-f", "30", "--no-cursor", "--split", "1:00"],
        job(
            json!({"screen": {"region": {"x": 10, "y": 20, "width": 640, "height": 480}, "frame_rate": 30,
                "cursor": false}}),
            json!([{"path": "out-{n}.mp4", "split": {"duration": 60}, "video": video}]),
        ),
    );
    assert_command_means(
        "record",
        &["screen:?backend=portal&draw_cursor", "out.mkv", "--no-dmabuf"],
        job(
            screen(json!({"backend": "portal", "draw_cursor": true, "dmabuf": false})),
            json!([{"path": "out.mkv", "video": video}]),
        ),
    );
    let pattern = json!({"pattern": {"kind": "smpte"}, "realtime": true});
    assert_command_means(
        "replay",
        &["pattern:smpte", "r-{n}.mkv", "-t", "15", "--spool", "/tmp", "-b", "8M", "-c", "hevc"],
        job(
            pattern.clone(),
            json!([{"path": "r-{n}.mkv", "replay": {"seconds": 15, "bytes": "2G", "store": "disk", "spool": "/tmp"},
                "video": {"preset": "p3", "keyframe_interval": 2, "bitrate": "8M", "codec": "hevc"}}]),
        ),
    );
    let low = json!({"codec": "h264", "bitrate": "8M", "preset": "p4", "tune": "ull", "b_frames": 0,
        "keyframe_interval": 2});
    assert_command_means(
        "stream",
        &[
            "pattern:smpte",
            "srt://host:9000",
            "-p",
            "lowlatency",
            "--record",
            "a.mkv",
            "--replay",
            "30",
            "--replay-path",
            "{n}.mkv",
        ],
        job(
            pattern,
            json!([{"path": "srt://host:9000", "video": low}, {"path": "a.mkv", "video": low},
                {"path": "{n}.mkv", "video": low, "replay": {"seconds": 30, "bytes": "2G"}}]),
        ),
    );
    // Sound beside it: each is a track, and what is mixed is one.
    let heard = of_command(
        "record",
        &["a.mkv", "-a", "desktop", "--audio", "mic+app:x", "--audio-codec", "opus:96k"],
    );
    let heard = heard.unwrap_or_else(|e| panic!("{}", e.message));
    assert_eq!(heard.source.sound.iter().map(|s| s.track).collect::<Vec<_>>(), [None, Some(0), Some(0)]);
    let AudioChoice::Tracks(tracks) = &heard.outputs[0].audio else { panic!("{:?}", heard.outputs[0].audio) };
    assert_eq!(tracks.iter().map(|t| t.stream).collect::<Vec<_>>(), [Some(1), Some(2)]);
    let shown =
        json!([{"camera": {"name": "cam", "format": "nv12"}, "video": {"width": 320, "height": 180}}]);
    let part = json!({"region": {"x": 10, "y": 20, "width": 640, "height": 480}, "frame_rate": 60});
    assert_command_means(
        "camera",
        &["-g", "10,20 640x480", "cam?format=nv12", "-s", "320x180"],
        json!({"source": {"screen": part}, "outputs": shown, "name": "ghoststream"}),
    );
    for (name, args, said) in [
        ("record", &["pattern:smpte", "a.mkv", "--monitor", "DP-1"][..], "--monitor"),
        ("record", &["camera:/dev/video0", "a.mkv", "--no-cursor"], "--no-cursor"),
        ("record", &["pattern:smpte", "a.mkv", "--no-dmabuf"], "--no-dmabuf"),
        ("record", &["camera:x?size=64x64", "a.mkv"], "V4L2"),
        ("camera", &["cam", "--audio", "mic"], "--sound"),
        ("camera", &[], "NAME"),
        ("record", &[], "OUT: say where to"),
        ("record", &["a.mkv", "b.mkv", "-o", "c.mkv"], "--output"),
        ("record", &["a.mkv", "--spool", "/tmp"], "--spool"),
        ("record", &["a.mkv", "-p", "best"], "best"),
        ("record", &["a.mkv", "--split", "1:00"], "OUT"),
        ("replay", &["a.mkv"], "OUT"),
        ("stream", &["a.mkv"], "URL"),
    ] {
        let e = of_command(name, args).expect_err("a mistake");
        assert!(e.message.contains(said), "{name} {args:?}: {}", e.message);
    }
}
