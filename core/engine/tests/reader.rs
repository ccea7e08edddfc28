//! Decoding by hand: exactness of seeks, conversion, damaged and odd input.

mod clips;

use clips::text;
use ghoststream::ErrorKind;
use ghoststream::frame::Frame;
use ghoststream::reader::{Reader, ReaderOptions};
use ghoststream::source::pattern::read_burn_in;
use ghoststream::source::{Content, Interrupt, ReadAt};
use ghoststream::spec::{Seconds, SourceSpec};
use std::path::Path;

fn open(path: &Path) -> Reader {
    Reader::open(&SourceSpec::url(text(path)), ReaderOptions { audio: false, ..ReaderOptions::default() })
        .unwrap()
}

fn numbers(reader: &mut Reader) -> Vec<u32> {
    std::iter::from_fn(|| reader.next().unwrap()).map(|f| number(&f)).collect()
}

fn number(frame: &Frame) -> u32 {
    read_burn_in(frame).unwrap_or_else(|| panic!("no number in the frame at {:?}", frame.pts))
}

/// Every frame by index and by time, forwards, backwards and in leaps.
fn seeks_are_exact(path: &Path, frames: u32) {
    let mut reader = open(path);
    assert_eq!(numbers(&mut reader), (0..frames).collect::<Vec<_>>(), "{path:?} from beginning to end");
    assert_eq!(reader.len().unwrap(), u64::from(frames));
    let leaps = (0..frames).map(|n| n * 37 % frames);
    let mut times = vec![0.0; frames as usize];
    for n in (0..frames).chain((0..frames).rev()).chain(leaps) {
        reader.seek_frame(n.into()).unwrap();
        let frame = reader.next().unwrap().unwrap_or_else(|| panic!("{path:?}: nothing at frame {n}"));
        assert_eq!(number(&frame), n, "{path:?}: seek to frame {n}");
        times[n as usize] = frame.presentation().unwrap().seconds();
        if n + 1 < frames {
            assert_eq!(number(&reader.next().unwrap().unwrap()), n + 1, "{path:?}: the frame after {n}");
        }
    }
    // A new reader, so that the times are found without the index.
    let mut reader = open(path);
    for n in (0..frames).rev().chain((0..frames).map(|n| n * 53 % frames)) {
        for inside in [0.0, 0.013] {
            reader.seek(Seconds(times[n as usize] + inside)).unwrap();
            let frame =
                reader.next().unwrap().unwrap_or_else(|| panic!("{path:?}: nothing at {n} + {inside}"));
            assert_eq!(number(&frame), n, "{path:?}: seek to {} + {inside}", times[n as usize]);
        }
    }
}

#[test]
fn every_frame_of_a_b_frame_clip_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let x264 = ["-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "20", "-crf", "20"];
    for (name, more) in [
        ("closed.mp4", &["-x264-params", "b-pyramid=normal:b-adapt=0:scenecut=0"][..]),
        ("open.mp4", &["-x264-params", "open-gop=1:b-adapt=0:scenecut=0"]),
        ("b.mkv", &["-x264-params", "b-adapt=0:open-gop=1"]),
        ("b.ts", &["-x264-params", "b-adapt=0"]),
    ] {
        let path = clips::numbered(dir.path(), name, 75, &[&x264[..], more].concat());
        seeks_are_exact(&path, 75);
    }
}

#[test]
fn every_frame_is_found_in_other_codecs() {
    let dir = tempfile::tempdir().unwrap();
    for (name, args) in [
        (
            "open.hevc.mp4",
            &[
                "-c:v",
                "libx265",
                "-preset",
                "ultrafast",
                "-x265-params",
                "log-level=none:keyint=15:bframes=4:b-adapt=0",
            ][..],
        ),
        ("vp9.webm", &["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "15"]),
        ("mpeg2.ts", &["-c:v", "mpeg2video", "-bf", "2", "-g", "12", "-q:v", "3"]),
        ("mpeg4.avi", &["-c:v", "mpeg4", "-bf", "2", "-g", "12", "-q:v", "3"]),
        ("intra.mov", &["-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-q:v", "3"]),
        ("raw.h264", &["-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "12", "-f", "h264"]),
    ] {
        let path = clips::numbered(dir.path(), name, 40, args);
        seeks_are_exact(&path, 40);
    }
}

#[test]
fn a_variable_rate_is_kept_and_a_time_finds_the_frame_shown_then() {
    let dir = tempfile::tempdir().unwrap();
    // Frames 3, 4, 8, 9 … are left out: their neighbours last longer.
    let select = "select='lt(mod(n,5),3)'";
    let args =
        ["-vf", select, "-fps_mode", "vfr", "-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "12"];
    let path = clips::numbered(dir.path(), "vfr.mp4", 60, &args);
    let shown: Vec<u32> = (0..60).filter(|n| n % 5 < 3).collect();
    let mut reader = open(&path);
    assert_eq!(numbers(&mut reader), shown);
    assert_eq!(reader.len().unwrap(), shown.len() as u64);
    for n in 0..58u32 {
        reader.seek(Seconds(f64::from(n) / 25.0 + 0.001)).unwrap();
        let expect = shown.iter().rev().find(|s| **s <= n).unwrap();
        assert_eq!(number(&reader.next().unwrap().unwrap()), *expect, "at frame time {n}");
    }
    reader.seek(Seconds(30.0)).unwrap();
    assert!(reader.next().unwrap().is_none(), "after the end");
    assert!(reader.seek_frame(shown.len() as u64).is_err());
}

#[test]
fn rgb_has_the_colours_of_the_bars_in_bt709_and_bt601() {
    let dir = tempfile::tempdir().unwrap();
    let bars =
        [[191, 191, 191], [191, 191, 0], [0, 191, 191], [0, 191, 0], [191, 0, 191], [191, 0, 0], [0, 0, 191]];
    for (name, matrix, tag) in [("709.mkv", "bt709", "bt709"), ("601.mkv", "smpte170m", "smpte170m")] {
        // RGB bars by FFmpeg, to YUV by zimg: neither our pattern nor swscale takes part. Only the matrix differs.
        let filter = format!(
            "zscale=m={tag}:r=limited:p=bt709:t=bt709:pin=bt709:tin=bt709:min=gbr:rin=full,format=yuv444p"
        );
        let args = [
            "-f",
            "lavfi",
            "-i",
            "color=black:s=700x90:r=25:d=0.2,format=gbrp",
            "-vf",
            &format!(
                "geq=g='191*(lt(X,400))':b='191*lt(mod(X,200),100)':r='191*lt(mod(X,400),200)',{filter}"
            ),
            "-c:v",
            "ffv1",
            "-colorspace",
            matrix,
            "-color_range",
            "tv",
        ];
        let path = clips::ffmpeg(dir.path(), name, &args);
        let options =
            ReaderOptions { audio: false, pixel_format: Some("rgb24".into()), ..Default::default() };
        let mut reader = Reader::open(&SourceSpec::url(text(&path)), options).unwrap();
        let frame = reader.next().unwrap().unwrap();
        assert_eq!(frame.video().format.name(), "rgb24");
        let rgb = clips::packed(&frame);
        for (i, bar) in bars.iter().enumerate() {
            let at = (45 * 700 + i * 100 + 50) * 3;
            for c in 0..3 {
                let (got, want) = (i32::from(rgb[at + c]), bar[c]);
                assert!((got - want).abs() <= 2, "{name} bar {i} component {c}: {got}, not {want}");
            }
        }
    }
}

#[test]
fn grey_and_pictures_of_another_size_keep_their_brightness_and_colour() {
    let dir = tempfile::tempdir().unwrap();
    // A slope of luma from 0 to 255, with the codes beyond the limited range at its ends, and one colour.
    // The samples are named before the encoder's options name them: from FFmpeg 7 on it converts what is named otherwise.
    let slope = "color=black:s=512x64:r=25:d=0.2,format=yuv420p,geq=lum='X/2':cb=90:cr=160,setparams=range=tv:colorspace=bt709";
    let args = ["-f", "lavfi", "-i", slope, "-c:v", "ffv1", "-colorspace", "bt709", "-color_range", "tv"];
    let path = clips::ffmpeg(dir.path(), "slope.mkv", &args);
    let read = |format: &str, width: Option<u32>| {
        let options = ReaderOptions {
            audio: false,
            pixel_format: Some(format.into()),
            width,
            ..ReaderOptions::default()
        };
        Reader::open(&SourceSpec::url(text(&path)), options).unwrap().next().unwrap().unwrap()
    };
    let grey = clips::packed(&read("gray", None));
    for x in 0..512 {
        let want = ((x as f64 / 2.0).floor() - 16.0) * 255.0 / 219.0;
        let got = f64::from(grey[32 * 512 + x]);
        assert!((got - want.clamp(0.0, 255.0)).abs() <= 0.5, "grey at {x}: {got}, not {want}");
    }
    for width in [256u32, 512, 1024] {
        let frame = read("rgb24", Some(width));
        assert_eq!((frame.video().width, frame.video().height), (width, width / 8));
        let rgb = clips::packed(&frame);
        let middle = width as usize * (width as usize / 16);
        for x in (20..width as usize - 20).step_by(9) {
            // The luma between two samples of the slope, half a code off at most; BT.709 by its definition.
            let y = ((x as f64 + 0.5) * 512.0 / f64::from(width) / 2.0 - 0.25 - 16.0) / 219.0;
            let (u, v) = ((90.0 - 128.0) / 224.0, (160.0 - 128.0) / 224.0);
            let want = [y + 1.5748 * v, y - 0.1873 * u - 0.4681 * v, y + 1.8556 * u];
            for c in 0..3 {
                let got = f64::from(rgb[(middle + x) * 3 + c]);
                let want = (want[c] * 255.0).clamp(0.0, 255.0);
                assert!((got - want).abs() <= 3.0, "{width} wide, component {c} at {x}: {got}, not {want}");
            }
        }
    }
}

#[test]
fn sizes_and_formats_are_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = clips::numbered(dir.path(), "a.mp4", 10, &["-c:v", "libx264", "-preset", "veryfast"]);
    let options = ReaderOptions {
        audio: false,
        pixel_format: Some("gray".into()),
        width: Some(512),
        height: Some(256),
        ..Default::default()
    };
    let mut reader = Reader::open(&SourceSpec::url(text(&path)), options).unwrap();
    for n in 0..10 {
        let frame = reader.next().unwrap().unwrap();
        let v = frame.video();
        assert_eq!((v.width, v.height, v.format.name()), (512, 256, "gray"));
        assert_eq!(read_burn_in(&frame), Some(n));
    }
    assert!(reader.next().unwrap().is_none());
    let options = ReaderOptions { pixel_format: Some("rgb25".into()), ..Default::default() };
    let e = Reader::open(&SourceSpec::url(text(&path)), options).err().unwrap();
    assert_eq!(e.kind(), ErrorKind::Invalid);
    assert!(e.message().contains("rgb25"), "{e}");
}

#[test]
fn picture_and_sound_come_interleaved_and_seek_together() {
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=1000:sample_rate=48000:duration=3",
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-bf",
        "2",
        "-g",
        "25",
        "-c:a",
        "aac",
        "-shortest",
    ];
    for name in ["av.mp4", "av.mkv", "av.ts"] {
        let path = clips::numbered(dir.path(), name, 75, &args);
        let mut reader = Reader::open(&SourceSpec::url(text(&path)), ReaderOptions::default()).unwrap();
        let (mut video, mut samples, mut apart) = (Vec::new(), 0, 0f64);
        let (mut v, mut a) = (None::<f64>, None::<f64>);
        while let Some(f) = reader.next().unwrap() {
            let at = f.presentation().unwrap().seconds();
            if f.is_video() {
                video.push(number(&f));
                v = Some(at);
            } else {
                samples += f.samples();
                a = Some(at);
            }
            if let (Some(v), Some(a)) = (v, a) {
                apart = apart.max((v - a).abs());
            }
        }
        assert_eq!(video, (0..75).collect::<Vec<_>>(), "{name}");
        assert!((3.0 * 48000.0 - samples as f64).abs() <= 2048.0, "{name}: {samples} samples");
        assert!(apart < 0.15, "{name}: {apart} s apart");

        let start = reader.info().start.unwrap_or(0.0);
        let at = start + 1.5;
        reader.seek(Seconds(at)).unwrap();
        let (mut v, mut a) = (None, None);
        while v.is_none() || a.is_none() {
            let f = reader.next().unwrap().unwrap();
            let (from, to) = (f.presentation().unwrap().seconds(), f.end().unwrap().seconds());
            let slot = if f.is_video() { &mut v } else { &mut a };
            slot.get_or_insert((from, to));
        }
        for (from, to) in [v.unwrap(), a.unwrap()] {
            assert!(from <= at + 1e-6 && at < to + 1e-6, "{name}: {from} to {to} is not shown at {at}");
        }
    }
}

#[test]
fn sound_alone_and_pictures_alone() {
    let dir = tempfile::tempdir().unwrap();
    let sine = ["-f", "lavfi", "-i", "sine=frequency=1000:sample_rate=44100:duration=2"];
    let wav = clips::ffmpeg(dir.path(), "a.wav", &sine);
    let mut reader = Reader::open(&SourceSpec::url(text(&wav)), ReaderOptions::default()).unwrap();
    let total: usize = std::iter::from_fn(|| reader.next().unwrap()).map(|f| f.samples() as usize).sum();
    assert_eq!(total, 88200);
    reader.seek(Seconds(1.0)).unwrap();
    let f = reader.next().unwrap().unwrap();
    assert!(f.presentation().unwrap().seconds() <= 1.0 && f.end().unwrap().seconds() > 1.0);
    let e = Reader::open(&SourceSpec::url(text(&wav)), ReaderOptions { audio: false, ..Default::default() })
        .err()
        .unwrap();
    assert_eq!(e.kind(), ErrorKind::NotFound);
    let video = clips::numbered(dir.path(), "v.mp4", 5, &["-c:v", "libx264"]);
    let e =
        Reader::open(&SourceSpec::url(text(&video)), ReaderOptions { video: false, ..Default::default() })
            .err()
            .unwrap();
    assert_eq!(e.kind(), ErrorKind::NotFound);
}

#[test]
fn a_change_of_size_midway_is_passed_on_or_scaled() {
    let dir = tempfile::tempdir().unwrap();
    let code = ["-c:v", "libx264", "-preset", "veryfast", "-f", "h264"];
    let a = std::fs::read(clips::numbered(dir.path(), "a.h264", 10, &code)).unwrap();
    let small = [&["-vf", "scale=256:144"][..], &code].concat();
    let b = std::fs::read(clips::numbered(dir.path(), "b.h264", 10, &small)).unwrap();
    let both = dir.path().join("both.h264");
    std::fs::write(&both, [a, b].concat()).unwrap();
    let mut reader = open(&both);
    let widths: Vec<u32> = std::iter::from_fn(|| reader.next().unwrap()).map(|f| f.video().width).collect();
    assert_eq!(widths, [vec![320; 10], vec![256; 10]].concat());
    let options = ReaderOptions { audio: false, pixel_format: Some("rgb24".into()), ..Default::default() };
    let mut reader = Reader::open(&SourceSpec::url(text(&both)), options).unwrap();
    let frames: Vec<_> = std::iter::from_fn(|| reader.next().unwrap()).collect();
    assert_eq!(frames.len(), 20);
    assert!(frames.iter().all(|f| (f.video().width, f.video().height) == (320, 180)));
}

#[test]
fn the_pattern_reads_like_a_file() {
    let source = SourceSpec::pattern(clips::pattern(50));
    let options = ReaderOptions { audio: false, pixel_format: Some("gray".into()), ..Default::default() };
    let mut reader = Reader::open(&source, options).unwrap();
    assert_eq!(reader.len().unwrap(), 50);
    assert_eq!(reader.info().video().unwrap().video.as_ref().unwrap().width, 320);
    reader.seek_frame(40).unwrap();
    assert_eq!(number(&reader.next().unwrap().unwrap()), 40);
    reader.seek(Seconds(0.39)).unwrap();
    assert_eq!(numbers(&mut reader), (9..50).collect::<Vec<_>>());
}

#[test]
fn a_part_is_counted_from_its_first_picture() {
    let dir = tempfile::tempdir().unwrap();
    let path = clips::numbered(dir.path(), "part.mkv", 50, &["-c:v", "libx264", "-g", "10", "-bf", "2"]);
    for source in [SourceSpec::url(text(&path)), SourceSpec::pattern(clips::pattern(50))] {
        for (start, duration, first, last) in [
            (None, None, 0, 50),
            (Some(0.4), None, 10, 50),
            (Some(0.4), Some(0.4), 10, 20),
            (None, Some(0.4), 0, 10),
            (Some(1.8), Some(10.0), 45, 50),
        ] {
            let spec =
                SourceSpec { start: start.map(Seconds), duration: duration.map(Seconds), ..source.clone() };
            let options = ReaderOptions { audio: false, ..ReaderOptions::default() };
            let mut reader = Reader::open(&spec, options).unwrap();
            let part: Vec<u32> = (first..last).collect();
            assert_eq!(numbers(&mut reader), part, "{start:?} {duration:?}");
            assert_eq!(reader.len().unwrap(), part.len() as u64, "{start:?} {duration:?}");
            for n in [0, part.len() - 1, part.len() / 2] {
                reader.seek_frame(n as u64).unwrap();
                assert_eq!(numbers(&mut reader), part[n..], "{start:?} {duration:?} from {n}");
            }
            let beyond = reader.seek_frame(part.len() as u64).unwrap_err();
            assert_eq!(beyond.kind(), ErrorKind::Invalid);
        }
    }
    let mut reader = open(&path);
    for early in [-1.0, -1e30, f64::NEG_INFINITY] {
        reader.seek(Seconds(early)).unwrap();
        assert_eq!(number(&reader.next().unwrap().unwrap()), 0);
    }
}

#[test]
fn a_damaged_clip_is_read_as_far_as_it_goes_and_cancelling_stops() {
    let dir = tempfile::tempdir().unwrap();
    let path = clips::numbered(dir.path(), "whole.mkv", 50, &["-c:v", "libx264", "-g", "10"]);
    let mut bytes = std::fs::read(&path).unwrap();
    let len = bytes.len();
    for b in &mut bytes[len / 2..len / 2 + 2000] {
        *b ^= 0x5a;
    }
    let broken = dir.path().join("broken.mkv");
    std::fs::write(&broken, &bytes).unwrap();
    let mut reader = open(&broken);
    let mut count = 0;
    while let Ok(Some(_)) = reader.next() {
        count += 1;
    }
    assert!((15..=50).contains(&count), "{count} frames");
    let mut reader = open(&path);
    reader.next().unwrap().unwrap();
    reader.interrupt().cancel();
    let e = std::iter::from_fn(|| reader.next().transpose()).find_map(Result::err).expect("cancelled");
    assert_eq!(e.kind(), ErrorKind::Cancelled);
}

/// Decoders have their own ways to say that a packet is damaged: "error in an external library" is what PNG's says, which
/// the fuzzer found.
#[test]
fn a_damaged_picture_is_skipped_whatever_its_decoder_calls_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = clips::numbered(dir.path(), "whole.mkv", 9, &["-c:v", "png"]);
    let mut bytes = std::fs::read(&path).unwrap();
    let marks: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, w)| w == b"IDAT").map(|(i, _)| i).collect();
    // The header of the deflate stream in the middle.
    bytes[marks[marks.len() / 2] + 4..][..2].copy_from_slice(&[0xff; 2]);
    std::fs::write(&path, &bytes).unwrap();
    let got = numbers(&mut open(&path));
    assert!((5..9).contains(&got.len()) && got.contains(&0) && got.contains(&8), "{got:?}");
}

/// A reader counts the pictures that it gives, and finds each of them by its number and by its time, all as the first
/// reading gave them.
fn counts_what_it_gives(path: &Path, frames: usize, gaps: bool) {
    let mut reader = open(path);
    let all: Vec<(f64, Vec<u8>)> = std::iter::from_fn(|| reader.next().unwrap())
        .map(|f| (f.presentation().unwrap().seconds(), clips::packed(&f)))
        .collect();
    assert_eq!(all.len(), frames, "{path:?}");
    // What is left out of the middle leaves a gap.
    let step = |w: &[(f64, Vec<u8>)]| w[1].0 - w[0].0;
    let good = |step: f64| (step - 0.04).abs() < 1e-3 || gaps && step > 0.04;
    assert!(
        all.windows(2).all(|w| good(step(w))),
        "{path:?}: {:?}",
        all.iter().map(|f| f.0).collect::<Vec<_>>()
    );
    let mut reader = open(path);
    assert_eq!(reader.len().unwrap(), frames as u64, "{path:?}");
    let mut by_time = open(path);
    for n in (0..frames).chain((0..frames).map(|n| n * 37 % frames)) {
        reader.seek_frame(n as u64).unwrap();
        by_time.seek(Seconds(all[n].0 + 0.01)).unwrap();
        for (reader, way) in [(&mut reader, "number"), (&mut by_time, "time")] {
            let frame = reader.next().unwrap().unwrap_or_else(|| panic!("{path:?}: nothing at {n} by {way}"));
            assert_eq!(frame.presentation().unwrap().seconds(), all[n].0, "{path:?}: {n} by {way}");
            assert!(clips::packed(&frame) == all[n].1, "{path:?}: another picture at {n} by {way}");
        }
    }
    assert_eq!(reader.seek_frame(frames as u64).unwrap_err().kind(), ErrorKind::Invalid);
}

/// The second half of a transport stream, from somewhere within a group of pictures.
fn halved(path: &Path) -> std::path::PathBuf {
    let data = std::fs::read(path).unwrap();
    let half = path.with_extension("half.ts");
    std::fs::write(&half, &data[data.len() / 188 * 2 / 5 * 188..]).unwrap();
    half
}

#[test]
fn what_was_cut_off_is_not_counted() {
    let dir = tempfile::tempdir().unwrap();
    let open_gop = "open-gop=1:keyint=25:min-keyint=25:scenecut=0:bframes=4:b-adapt=0";
    let hevc = ["-c:v", "libx265", "-preset", "fast", "-x265-params", &format!("{open_gop}:log-level=0")];
    let h264 = ["-c:v", "libx264", "-preset", "fast", "-x264-params", open_gop];
    let mpeg2 = ["-c:v", "mpeg2video", "-bf", "2", "-g", "15"];
    let refreshed = ["-c:v", "libx264", "-x264-params", "intra-refresh=1:keyint=25:bframes=0"];
    for (name, args, cut) in [("h265", &hevc[..], 75), ("h264", &h264, 75)] {
        let whole = clips::numbered(dir.path(), &format!("{name}.mkv"), 100, args);
        counts_what_it_gives(&whole, 100, false);
        let cut_to =
            |name: &str| clips::ffmpeg(dir.path(), name, &["-ss", "1.5", "-i", text(&whole), "-c", "copy"]);
        counts_what_it_gives(&cut_to(&format!("{name}.cut.mkv")), cut, false);
        if name == "h265" {
            counts_what_it_gives(&cut_to("h265.cut.ts"), cut, false);
        }
    }
    for (name, args) in [("h265", &hevc[..]), ("h264", &h264), ("mpeg2", &mpeg2), ("refreshed", &refreshed)] {
        let whole = clips::numbered(dir.path(), &format!("{name}.ts"), 100, args);
        counts_what_it_gives(&whole, 100, false);
        let half = halved(&whole);
        let mut reader = open(&half);
        let given = std::iter::from_fn(|| reader.next().unwrap()).count();
        assert!((20..100).contains(&given), "{name}: {given}");
        counts_what_it_gives(&half, given, true);
    }
}

#[test]
fn pictures_without_times_between_those_with_times_get_theirs() {
    let dir = tempfile::tempdir().unwrap();
    // A rate so low that several pictures share a pack, of which one has a time.
    let args = ["-bf", "2", "-g", "15", "-b:v", "200k"];
    for (name, more) in [
        ("a.mpg", &["-c:v", "mpeg2video", "-f", "mpeg"][..]),
        ("b.vob", &["-c:v", "mpeg2video", "-f", "vob"]),
        ("c.mpg", &["-c:v", "mpeg1video", "-f", "mpeg"]),
    ] {
        let path = clips::numbered(dir.path(), name, 150, &[&args[..], more].concat());
        counts_what_it_gives(&path, 150, false);
    }
}

/// Every picture and its time, then some again by index and by time.
fn pictures(mut reader: Reader) -> Vec<(Option<i64>, Vec<u8>)> {
    let mut all = Vec::new();
    let add = |all: &mut Vec<_>, frame: Frame| all.push((frame.pts, clips::packed(&frame)));
    while let Some(frame) = reader.next().unwrap() {
        add(&mut all, frame);
    }
    let len = reader.len().unwrap();
    assert_eq!(len, all.len() as u64);
    for n in (0..len).map(|n| n * 37 % len) {
        reader.seek_frame(n).unwrap();
        let frame = reader.next().unwrap().unwrap();
        reader.seek(Seconds(frame.presentation().unwrap().seconds() + 0.01)).unwrap();
        let again = reader.next().unwrap().unwrap();
        assert_eq!(again.pts, frame.pts);
        add(&mut all, frame);
    }
    all
}

fn content(path: &Path) -> Content {
    Content::in_memory(std::fs::read(path).unwrap())
}

fn read(content: Content) -> ghoststream::Result<Reader> {
    let spec = SourceSpec { url: None, ..SourceSpec::url("") };
    Reader::open_content(
        content,
        &spec,
        ReaderOptions { audio: false, ..ReaderOptions::default() },
        Interrupt::new(),
    )
}

#[test]
fn bytes_give_what_the_file_gives() {
    let dir = tempfile::tempdir().unwrap();
    let x264 = ["-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "20"];
    for name in ["end.mp4", "b.mkv", "b.ts"] {
        let path = clips::numbered(dir.path(), name, 50, &x264);
        let truth = pictures(open(&path));
        assert_eq!(truth.len(), 100);
        assert!(truth == pictures(read(content(&path)).unwrap()), "{name} in memory");
        let file = Content::seekable(std::fs::File::open(&path).unwrap()).unwrap();
        assert!(truth == pictures(read(file).unwrap()), "{name} behind an object");
    }
}

/// Bytes of which nothing after a place can be read.
struct Broken(Vec<u8>, u64);

impl ReadAt for Broken {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        if offset >= self.1 {
            return Err(std::io::Error::other("the disk is on fire"));
        }
        let from = offset as usize;
        let len = buffer.len().min(self.0.len() - from).min(4096);
        buffer[..len].copy_from_slice(&self.0[from..from + len]);
        Ok(len)
    }
}

#[test]
fn a_failing_object_is_no_end_of_the_film() {
    let dir = tempfile::tempdir().unwrap();
    let x264 = ["-c:v", "libx264", "-preset", "veryfast", "-g", "20", "-crf", "5"];
    for name in ["b.mp4", "b.mkv", "b.ts"] {
        let faststart = ["-movflags", "+faststart"];
        let more = if name == "b.mp4" { &faststart[..] } else { &[] };
        let path = clips::numbered(dir.path(), name, 75, &[&x264[..], more].concat());
        let data = std::fs::read(&path).unwrap();
        for place in [0, data.len() as u64 / 2] {
            let told = |e: ghoststream::Error| {
                assert_eq!(e.kind(), ErrorKind::Io, "{name}: {e}");
                assert!(e.message().contains("the disk is on fire"), "{name}: {e}");
            };
            // Some formats look at their end first.
            let mut reader = match read(Content::new(Broken(data.clone(), place))) {
                Ok(reader) => reader,
                Err(e) => {
                    told(e);
                    continue;
                }
            };
            assert!(place > 0, "{name}: opened without a byte");
            told(reader.len().unwrap_err());
            let end = loop {
                match reader.next() {
                    Ok(Some(_)) => {}
                    other => break other,
                }
            };
            told(end.expect_err("half a film is no whole one"));
        }
    }
}

#[test]
fn bytes_are_the_only_source() {
    let content = Content::in_memory(b"not media at all, but long enough to be looked at".repeat(100));
    let e = Reader::open_content(
        content.clone(),
        &SourceSpec::url("a.mp4"),
        ReaderOptions::default(),
        Interrupt::new(),
    )
    .err()
    .unwrap();
    assert!(e.kind() == ErrorKind::Invalid && e.message().starts_with("source.url: "), "{e}");
    let e = read(content).err().unwrap();
    assert!(
        e.kind() == ErrorKind::Format && e.message().starts_with("application bytes: is not a media file"),
        "{e}"
    );
}
