//! What a probe says, against clips whose properties are known because `ffmpeg` was told to make them so.

mod clips;

use clips::text;
use ghoststream::ErrorKind;
use ghoststream::probe::{DurationFrom, Probe, ProbeOptions, probe};
use ghoststream::spec::SourceSpec;
use std::path::Path;

const X264: [&str; 8] = ["-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "10"];

fn look(path: &Path) -> Probe {
    probe(&SourceSpec::url(text(path)), &ProbeOptions::default()).unwrap()
}

fn keys(path: &Path) -> Probe {
    probe(&SourceSpec::url(text(path)), &ProbeOptions { keyframes: true }).unwrap()
}

#[test]
fn a_plain_clip_is_described() {
    let dir = tempfile::tempdir().unwrap();
    let args = [
        &["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=2"][..],
        &X264,
        &["-sc_threshold", "0", "-c:a", "aac", "-ac", "2", "-t", "2"],
        &["-metadata:s:a", "language=deu", "-metadata:s:a", "title=Ton", "-metadata", "title=Probe"],
        &["-disposition:a", "default+comment"],
    ]
    .concat();
    let path = clips::numbered(dir.path(), "plain.mkv", 50, &args);
    let p = keys(&path);
    assert_eq!((p.format.as_str(), p.seekable), ("matroska,webm", true));
    assert_eq!(p.size, Some(std::fs::metadata(&path).unwrap().len()));
    assert!((p.duration.unwrap() - 2.0).abs() < 0.03, "{:?}", p.duration);
    assert_eq!(p.metadata.get("title").map(String::as_str), Some("Probe"));
    let v = p.video().unwrap();
    let video = v.video.as_ref().unwrap();
    assert_eq!((v.codec.name(), v.profile.as_deref(), v.frames), ("h264", Some("High"), Some(50)));
    assert_eq!((video.width, video.height, video.display_width), (320, 180, 320));
    assert_eq!((video.pixel_format.as_deref(), video.bit_depth), (Some("yuv420p"), Some(8)));
    assert_eq!((video.frame_rate.unwrap().as_f64(), video.constant_rate), (25.0, Some(true)));
    assert_eq!((video.colour.matrix.as_str(), video.colour.range), ("bt709", "limited"));
    assert_eq!((video.hdr.format, video.rotation, video.reorder), ("sdr", 0.0, 2));
    let keyframes: Vec<f64> = v.keyframes.as_ref().unwrap().iter().map(|k| k.time).collect();
    // Matroska moves the picture by the sound's priming, so that nothing begins before zero.
    let start = v.start.unwrap().seconds();
    let relative: Vec<f64> = keyframes.iter().map(|t| ((t - start) * 1e3).round()).collect();
    assert_eq!(relative, [0.0, 400.0, 800.0, 1200.0, 1600.0]);
    assert!(v.keyframes.as_ref().unwrap().iter().all(|k| k.position.is_some()));
    let a = p.audio().unwrap();
    let audio = a.audio.as_ref().unwrap();
    assert_eq!((a.codec.name(), audio.sample_rate, audio.layout.as_str()), ("aac", 48000, "stereo"));
    assert_eq!((a.language.as_deref(), a.title.as_deref()), (Some("deu"), Some("Ton")));
    assert!(a.disposition.comment && a.disposition.default);
    let json = serde_json::to_value(&p).unwrap();
    assert_eq!(json["streams"][0]["video"]["frame_rate"], "25/1");
    let ticks = v.keyframes.as_ref().unwrap()[1].pts;
    assert_eq!(json["streams"][0]["keyframes"][1]["pts"], ticks);
}

#[test]
fn durations_are_exact_where_the_container_only_estimates() {
    let dir = tempfile::tempdir().unwrap();
    for (name, more) in
        [("a.ts", &[][..]), ("a.h264", &[]), ("frag.mp4", &["-movflags", "frag_keyframe+empty_moov"])]
    {
        let path = clips::numbered(dir.path(), name, 63, &[&X264[..], more].concat());
        let p = look(&path);
        assert!((p.duration.unwrap() - 2.52).abs() < 1e-3, "{name}: {:?}", p.duration);
        assert_eq!((p.duration_from, p.video().unwrap().frames), (DurationFrom::Packets, Some(63)), "{name}");
    }
    let path = clips::numbered(dir.path(), "a.mp4", 300, &X264);
    let p = look(&path);
    assert_eq!((p.duration, p.duration_from), (Some(12.0), DurationFrom::Container));
    let sine = ["-f", "lavfi", "-i", "sine=sample_rate=44100:duration=3", "-write_xing", "0", "-b:a", "64k"];
    let p = look(&clips::ffmpeg(dir.path(), "a.mp3", &sine));
    assert!((p.duration.unwrap() - 3.0).abs() < 0.06, "{:?}", p.duration);
}

#[test]
fn a_variable_rate_shows() {
    let dir = tempfile::tempdir().unwrap();
    let vfr = [&["-vf", "select='lt(mod(n,5),3)'", "-fps_mode", "vfr"][..], &X264].concat();
    for (name, args, constant) in [("vfr.mp4", &vfr[..], false), ("cfr.mp4", &X264[..], true)] {
        let p = look(&clips::numbered(dir.path(), name, 60, args));
        assert_eq!(p.video().unwrap().video.as_ref().unwrap().constant_rate, Some(constant), "{name}");
    }
}

#[test]
fn shape_and_rotation_give_the_size_shown() {
    let dir = tempfile::tempdir().unwrap();
    let plain = clips::numbered(dir.path(), "plain.mp4", 5, &X264);
    // The matrix of a telephone held upright, a quarter turn clockwise; FFmpeg's own ways to say it changed with 6.
    let mut data = std::fs::read(&plain).unwrap();
    let matrix = data.windows(4).position(|w| w == b"tkhd").unwrap() + 44;
    for (i, value) in [0, 0x10000, 0, -0x10000, 0, 0, 180 << 16, 0, 0x4000_0000i32].iter().enumerate() {
        data[matrix + i * 4..][..4].copy_from_slice(&value.to_be_bytes());
    }
    let rotated = dir.path().join("r.mp4");
    std::fs::write(&rotated, &data).unwrap();
    let video = look(&rotated).video().unwrap().video.clone().unwrap();
    assert_eq!((video.rotation, video.mirrored), (90.0, false));
    assert_eq!((video.width, video.height), (320, 180));
    assert_eq!((video.display_width, video.display_height), (180, 320));
    // Upside down, but not turned: a mirror.
    for (i, value) in [0x10000, 0, 0, 0, -0x10000, 0, 0, 180 << 16, 0x4000_0000i32].iter().enumerate() {
        data[matrix + i * 4..][..4].copy_from_slice(&value.to_be_bytes());
    }
    std::fs::write(&rotated, &data).unwrap();
    let video = look(&rotated).video().unwrap().video.clone().unwrap();
    assert_eq!((video.rotation, video.mirrored), (180.0, true));
    assert_eq!((video.display_width, video.display_height), (320, 180));
    let anamorphic = clips::numbered(dir.path(), "sar.mkv", 5, &[&X264[..], &["-vf", "setsar=4/3"]].concat());
    let video = look(&anamorphic).video().unwrap().video.clone().unwrap();
    assert_eq!((video.display_width, video.display_height), (427, 180));
    let fields = ["-vf", "setfield=tff", "-flags", "+ildct+ilme", "-c:v", "mpeg2video"];
    let interlaced = clips::numbered(dir.path(), "i.ts", 5, &fields);
    let video = look(&interlaced).video().unwrap().video.clone().unwrap();
    assert_eq!(video.field_order, "top_first");
}

#[test]
fn hdr10_and_hlg_are_recognised_with_their_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let master = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)";
    let hdr = format!(
        "log-level=none:hdr10=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:master-display={master}:max-cll=1000,400"
    );
    // Newer FFmpegs write the frames' colour over the encoder's own options.
    let args = ["-vf", "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc"];
    let x265 = ["-pix_fmt", "yuv420p10le", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", &hdr];
    let args = [&args[..], &x265].concat();
    for name in ["hdr10.mp4", "hdr10.mkv", "hdr10.ts"] {
        let p = look(&clips::numbered(dir.path(), name, 5, &args));
        let video = p.video().unwrap().video.as_ref().unwrap();
        assert_eq!((video.hdr.format, video.bit_depth), ("hdr10", Some(10)), "{name}");
        assert_eq!(video.colour.transfer, "smpte2084");
        let m = video.hdr.metadata.mastering_display.unwrap();
        assert!((m.max_luminance - 1000.0).abs() < 0.01 && (m.red[0] - 0.68).abs() < 1e-4, "{m:?}");
        assert_eq!(video.hdr.metadata.max_cll, Some(1000));
    }
    let hlg = "log-level=none:colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc";
    let args = ["-vf", "setparams=color_primaries=bt2020:color_trc=arib-std-b67:colorspace=bt2020nc"];
    let x265 = ["-pix_fmt", "yuv420p10le", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", hlg];
    let args = [&args[..], &x265].concat();
    let p = look(&clips::numbered(dir.path(), "hlg.mp4", 5, &args));
    assert_eq!(p.video().unwrap().video.as_ref().unwrap().hdr.format, "hlg");
}

#[test]
fn chapters_languages_and_attachments_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let meta = dir.path().join("meta.txt");
    std::fs::write(
        &meta,
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=Eins\n\
         [CHAPTER]\nTIMEBASE=1/1000\nSTART=500\nEND=1000\ntitle=Zwei\n",
    )
    .unwrap();
    let font = dir.path().join("font.ttf");
    std::fs::write(&font, [0u8, 1, 0, 0, 9]).unwrap();
    let srt = dir.path().join("a.srt");
    std::fs::write(&srt, "1\n00:00:00,100 --> 00:00:00,900\nHallo\n").unwrap();
    let args = [
        &["-i", text(&meta), "-f", "lavfi", "-i", "sine=d=1", "-i", text(&srt)][..],
        &["-map", "0:v", "-map", "2:a", "-map", "3:s", "-map_chapters", "1", "-attach", text(&font)],
        &["-metadata:s:t", "mimetype=application/x-truetype-font", "-metadata:s:s", "language=fra"],
        &["-disposition:s", "forced", "-c:a", "flac", "-c:s", "srt"],
        &X264,
    ]
    .concat();
    let p = look(&clips::numbered(dir.path(), "full.mkv", 25, &args));
    let chapters: Vec<_> = p.chapters.iter().map(|c| (c.start, c.end, c.title.as_deref())).collect();
    assert_eq!(chapters, [(0.0, 0.5, Some("Eins")), (0.5, 1.0, Some("Zwei"))]);
    let kinds: Vec<_> = p.streams.iter().map(|s| (s.kind, s.codec.name())).collect();
    assert_eq!(kinds[..3], [("video", "h264"), ("audio", "flac"), ("subtitle", "subrip")]);
    assert_eq!(p.streams[1].audio.as_ref().unwrap().bit_depth, Some(16));
    assert_eq!((p.streams[2].language.as_deref(), p.streams[2].disposition.forced), (Some("fra"), true));
    assert_eq!(p.attachments[0].name.as_deref(), Some("font.ttf"));
    assert_eq!(p.attachments[0].mime.as_deref(), Some("application/x-truetype-font"));
    assert_eq!(p.attachments[0].size, Some(5));
}

#[test]
fn bad_files_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let whole = clips::numbered(dir.path(), "whole.mp4", 25, &X264);
    let bytes = std::fs::read(&whole).unwrap();
    let write = |name: &str, data: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, data).unwrap();
        path
    };
    let key = ["-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "76a6c65c5ea762046bd749a2e632ccbb"];
    let args = [
        &["-i", text(&whole), "-c", "copy"][..],
        &key,
        &["-encryption_kid", "a7e61c373e219033c21091fa607bf3b8"],
    ]
    .concat();
    let noise: Vec<u8> = (0..50_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (path, kind, says) in [
        (dir.path().join("missing.mp4"), ErrorKind::NotFound, "no such file"),
        (dir.path().to_path_buf(), ErrorKind::Invalid, "is a directory"),
        (write("empty.mp4", b""), ErrorKind::Format, "is empty"),
        (write("text.mp4", "not a film\n".repeat(500).as_bytes()), ErrorKind::Format, "it is text"),
        (write("noise.mp4", &noise), ErrorKind::Format, "is not a media file"),
        (write("zeros.mp4", &[0; 9999]), ErrorKind::Format, "zeros"),
        (write("cut.mp4", &bytes[..bytes.len() / 2]), ErrorKind::Format, "truncated"),
        (clips::ffmpeg(dir.path(), "secret.mp4", &args), ErrorKind::Format, "encrypted"),
    ] {
        let e = probe(&SourceSpec::url(text(&path)), &ProbeOptions::default()).expect_err(text(&path));
        assert_eq!(e.kind(), kind, "{e}");
        assert!(e.message().starts_with(text(&path)) && e.message().contains(says), "{e}");
    }
}

#[test]
fn policies_and_options_are_refused_by_field() {
    let refused = |spec: SourceSpec| {
        let e = probe(&spec, &ProbeOptions::default()).unwrap_err();
        (e.kind(), e.message().to_string())
    };
    let (kind, message) = refused(SourceSpec::url("rtsp://user:secret@127.0.0.1/cam"));
    assert_eq!(kind, ErrorKind::Denied);
    assert!(message.starts_with("source.protocols: ") && !message.contains("secret"), "{message}");

    let dir = tempfile::tempdir().unwrap();
    let path = clips::numbered(dir.path(), "a.mp4", 5, &X264);
    let mut spec = SourceSpec::url(text(&path));
    spec.options.insert("frobnicate".into(), "1".into());
    let (kind, message) = refused(spec);
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(message.starts_with("source.options.frobnicate: "), "{message}");
    let spec = SourceSpec { format: Some("nosuch".into()), ..SourceSpec::url(text(&path)) };
    let (kind, message) = refused(spec);
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(message.starts_with("source.format: "), "{message}");
    // A playlist may not open what the list does not have.
    let list = dir.path().join("a.m3u8");
    let body = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n";
    std::fs::write(&list, body).unwrap();
    let spec = SourceSpec { protocols: vec!["file".into()], ..SourceSpec::url(text(&list)) };
    assert!(probe(&spec, &ProbeOptions::default()).is_err());
}

#[test]
fn a_silent_server_times_out_and_a_closed_port_is_refused() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let spec = SourceSpec { timeout: 0.6, ..SourceSpec::url(format!("http://{address}/a.mp4")) };
    let start = std::time::Instant::now();
    let e = probe(&spec, &ProbeOptions::default()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Io, "{e}");
    assert!(start.elapsed().as_secs_f64() < 5.0);
    assert!(e.message().contains(&address.to_string()), "{e}");
    drop(listener);
    let e = probe(&spec, &ProbeOptions::default()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Io, "{e}");
}

#[test]
fn a_pattern_is_probed_without_rendering() {
    let p = probe(&SourceSpec::pattern(clips::pattern(50)), &ProbeOptions::default()).unwrap();
    assert_eq!((p.duration, p.video().unwrap().frames), (Some(2.0), Some(50)));
}
