use super::super::{BurnIn, FilterContext, Watermark, build};
use super::*;
use crate::error::ErrorKind;
use crate::spec::{BurnInSpec, FilterSpec, SourceSpec, WatermarkSpec};
use crate::time::Timestamp;
use std::path::Path;

const LUMA: u16 = 60;

/// The times of a source that begins at 0 and is not trimmed.
const BEGIN: (Timestamp, Timestamp) = (Timestamp::new(0, FPS), Timestamp::new(0, FPS));

/// 25 fps, grey.
fn frames(format: &'static str, from: i64, to: i64) -> impl Iterator<Item = Frame> {
    let k = if format.contains("10") { 4 } else { 1 };
    (from..to).map(move |i| {
        at(picture(format, 320, 180, Colour::BT709, |p, _, _| if p == 0 { LUMA * k } else { 128 * k }), i)
    })
}

fn changed(f: &Frame) -> usize {
    let (w, h) = (f.video().width as usize, f.video().height as usize);
    let first = sample(f, 0, 0, 0);
    (0..h).map(|y| (0..w).filter(|x| sample(f, 0, *x, y) != first).count()).sum()
}

fn ffmpeg(args: &[&str], output: &Path) {
    let status = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(args)
        .arg(output)
        .status()
        .unwrap();
    assert!(status.success());
}

fn watermark(path: &Path, x: i32, y: i32, opacity: Option<f64>) -> WatermarkSpec {
    WatermarkSpec { path: path.to_str().unwrap().into(), x, y, opacity }
}

#[test]
fn a_watermark_is_blended_exactly_where_it_belongs() {
    let dir = tempfile::tempdir().unwrap();
    // Opaque red on the left half, nothing on the right, in a name that must not be taken for a pattern.
    let png = dir.path().join("logo%04d, it's [odd].png");
    ffmpeg(
        &[
            "-f",
            "lavfi",
            "-i",
            "color=red:s=16x8,format=rgba,geq=r=255:g=0:b=0:a='if(lt(X,8),255,0)'",
            "-frames:v",
            "1",
            "-update",
            "1",
            "-f",
            "image2",
        ],
        &png,
    );
    for (format, k) in [("yuv420p", 1), ("yuv420p10le", 4)] {
        let out =
            run(&mut Watermark::new(watermark(&png, 20, 10, None)).unwrap(), frames(format, 0, 2)).unwrap();
        for f in &out {
            assert_eq!(changed(f), 64);
            // BT.709 red.
            let got =
                [0, 1, 2].map(|p| sample(f, p, if p == 0 { 21 } else { 11 }, if p == 0 { 11 } else { 6 }));
            let wanted = if k == 1 { [63, 102, 240] } else { [250, 409, 960] };
            assert!(got.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) <= k), "{got:?}");
            assert_eq!((sample(f, 0, 28, 11), sample(f, 1, 14, 6)), (LUMA * k, 128 * k));
        }
    }
    // From the right and bottom, half visible, and packed pixels.
    let out = run(&mut Watermark::new(watermark(&png, -4, -2, Some(0.5))).unwrap(), frames("yuv420p", 0, 1))
        .unwrap();
    assert!(sample(&out[0], 2, 150, 85).abs_diff(184) <= 1);
    assert_eq!((sample(&out[0], 2, 149, 85), sample(&out[0], 2, 154, 85)), (128, 128));
    let rgb = picture("rgb24", 64, 64, Colour::default(), |_, _, _| 10);
    let out = one(&mut Watermark::new(watermark(&png, 0, 0, None)).unwrap(), rgb);
    assert_eq!([0, 1, 2].map(|p| sample(&out, p, 2, 2)), [0, 0, 255]);
    // An opaque image without alpha, partly outside.
    let jpg = dir.path().join("logo.jpg");
    ffmpeg(&["-f", "lavfi", "-i", "color=white:s=32x32", "-frames:v", "1", "-update", "1"], &jpg);
    let out =
        run(&mut Watermark::new(watermark(&jpg, 304, 0, None)).unwrap(), frames("yuv420p", 0, 1)).unwrap();
    assert_eq!(changed(&out[0]), 16 * 32);
    assert!(sample(&out[0], 0, 319, 5).abs_diff(235) <= 1);
    // White in an HDR picture is not the display's peak.
    let pq = Colour { primaries: 9, transfer: 16, matrix: 9, ..Colour::BT709 };
    let hdr = picture("yuv420p10le", 64, 64, pq, |p, _, _| if p == 0 { 100 } else { 512 });
    let out = one(&mut Watermark::new(watermark(&jpg, 0, 0, None)).unwrap(), hdr);
    assert!(sample(&out, 0, 4, 4).abs_diff(64 + (0.5807 * 876.0) as u16) <= 4, "{}", sample(&out, 0, 4, 4));

    let e = run(&mut Watermark::new(watermark(&jpg, 400, 0, None)).unwrap(), frames("yuv420p", 0, 1))
        .unwrap_err();
    assert!(e.message().starts_with("watermark: x: "), "{e}");
    let missing = Watermark::new(watermark(&dir.path().join("no.png"), 0, 0, None)).err().unwrap();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let text = dir.path().join("text.png");
    std::fs::write(&text, "hello").unwrap();
    assert_eq!(Watermark::new(watermark(&text, 0, 0, None)).err().unwrap().kind(), ErrorKind::Format);
}

#[test]
fn text_is_burnt_in_at_its_time_only() {
    let dir = tempfile::tempdir().unwrap();
    let srt = dir.path().join("it's, [a]: file.srt");
    std::fs::write(&srt, "1\n00:00:01,000 --> 00:00:01,400\n<font size=\"80\">GHOST</font>\n").unwrap();
    let spec = BurnInSpec { path: Some(srt.to_str().unwrap().into()), ..BurnInSpec::default() };
    // Trimmed, and of a source whose own times begin at 40 s.
    for (origin, zero) in [(0, 0), (0, 10), (1000, 10)] {
        let context = FilterContext {
            origin: Timestamp::new(origin, FPS),
            zero: Timestamp::new(origin + zero, FPS),
            ..FilterContext::default()
        };
        let mut stage = build(&FilterSpec::BurnIn(spec.clone()), &context).unwrap();
        let out = run(&mut *stage, frames("yuv420p", 20 - zero, 40 - zero)).unwrap();
        assert_eq!(out.len(), 20);
        for (i, f) in out.iter().enumerate() {
            let i = i as i64 + 20;
            assert_eq!((f.pts, f.base), (Some(i - zero), FPS));
            assert_eq!(changed(f) > 100, (25..35).contains(&i), "frame {i}: {} pixels", changed(f));
        }
    }
    // In HDR white text is SDR white, not the display's peak; black outlines stay black.
    let pq = Colour { primaries: 9, transfer: 16, matrix: 9, ..Colour::BT709 };
    let hdr = (24..36)
        .map(|i| at(picture("yuv420p10le", 320, 180, pq, |p, _, _| if p == 0 { 300 } else { 512 }), i));
    let mut stage = BurnIn::new(&spec, None, BEGIN, &Default::default()).unwrap();
    let out = run(&mut stage, hdr).unwrap();
    for (f, i) in out.iter().zip(24..) {
        let luma: Vec<u16> = (0..180).flat_map(|y| (0..320).map(move |x| sample(f, 0, x, y))).collect();
        let (low, high) = (*luma.iter().min().unwrap(), *luma.iter().max().unwrap());
        if (25..35).contains(&i) {
            assert!(high.abs_diff(64 + (0.5807 * 876.0) as u16) <= 4, "white is {high}");
            assert!(low < 80, "black is {low}");
        } else {
            assert_eq!((low, high), (300, 300));
        }
    }
    // A stream of a source, by its index in the file.
    let mkv = dir.path().join("film.mkv");
    ffmpeg(
        &[
            "-f",
            "lavfi",
            "-i",
            "testsrc=s=64x64:d=2",
            "-i",
            srt.to_str().unwrap(),
            "-c:v",
            "ffv1",
            "-c:s",
            "srt",
        ],
        &mkv,
    );
    let source = SourceSpec::url(mkv.to_str().unwrap());
    let burn = |stream| {
        BurnIn::new(
            &BurnInSpec { stream: Some(stream), ..BurnInSpec::default() },
            Some(&source),
            BEGIN,
            &Default::default(),
        )
    };
    let out = run(&mut burn(1).unwrap(), frames("yuv420p", 20, 40)).unwrap();
    assert_eq!(out.iter().filter(|f| changed(f) > 100).count(), 10);
    let e = burn(0).err().unwrap();
    assert!(e.kind() == ErrorKind::Invalid && e.message().starts_with("burn_in.stream: "), "{e}");
    for (name, content, kind) in
        [("none.srt", None, ErrorKind::NotFound), ("a.srt", Some("not a subtitle"), ErrorKind::Format)]
    {
        let path = dir.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let spec = BurnInSpec { path: Some(path.to_str().unwrap().into()), ..BurnInSpec::default() };
        let e = BurnIn::new(&spec, None, BEGIN, &Default::default()).err().unwrap();
        assert_eq!(e.kind(), kind, "{e}");
    }
}

/// A PGS stream: a white square of 40x20 at (100, 50) on a canvas of `size`, from 1.0 s to 1.4 s.
fn pgs(size: (u16, u16)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut segment = |pts: u32, kind: u8, body: &[u8]| {
        out.extend(b"PG");
        out.extend(pts.to_be_bytes());
        out.extend(0u32.to_be_bytes());
        out.push(kind);
        out.extend((body.len() as u16).to_be_bytes());
        out.extend(body);
    };
    let words = |values: &[u16]| values.iter().flat_map(|v| v.to_be_bytes()).collect::<Vec<_>>();
    let head = |number: u8, objects: u8| {
        [words(&[size.0, size.1]), vec![0x10, 0, number, 0x80, 0, 0, objects]].concat()
    };
    segment(90_000, 0x16, &[head(1, 1), vec![0, 0, 0, 0], words(&[100, 50])].concat());
    segment(90_000, 0x17, &[vec![1, 0], words(&[100, 50, 40, 20])].concat());
    segment(90_000, 0x14, &[0, 0, 1, 235, 128, 128, 255]);
    let line = [0, 0x80 | 40, 1, 0, 0];
    let data: Vec<u8> = (0..20).flat_map(|_| line).collect();
    let object =
        [vec![0, 0, 0, 0xc0], (data.len() as u32 + 4).to_be_bytes()[1..].to_vec(), words(&[40, 20]), data];
    segment(90_000, 0x15, &object.concat());
    segment(90_000, 0x80, &[]);
    segment(126_000, 0x16, &head(2, 0));
    segment(126_000, 0x80, &[]);
    out
}

#[test]
fn bitmaps_are_burnt_in_at_their_time_and_place() {
    let dir = tempfile::tempdir().unwrap();
    let sup = dir.path().join("film.sup");
    for (canvas, zero) in [((320, 180), 0), ((320, 180), 5), ((640, 360), 0)] {
        std::fs::write(&sup, pgs(canvas)).unwrap();
        let source = SourceSpec::url(sup.to_str().unwrap());
        let spec = BurnInSpec { stream: Some(0), ..BurnInSpec::default() };
        let mut stage =
            BurnIn::new(&spec, Some(&source), (BEGIN.0, Timestamp::new(zero, FPS)), &Default::default())
                .unwrap();
        let out = run(&mut stage, frames("yuv420p", 20 - zero, 40 - zero)).unwrap();
        for (i, f) in out.iter().enumerate() {
            let i = i as i64 + 20;
            let shown = (25..35).contains(&i);
            let (size, (x, y)) = if canvas.0 == 320 { (800, (101, 51)) } else { (200, (55, 28)) };
            assert_eq!(changed(f), if shown { size } else { 0 }, "frame {i} on {canvas:?}");
            assert!(!shown || sample(f, 0, x, y).abs_diff(235) <= 1, "{}", sample(f, 0, x, y));
        }
    }
}
