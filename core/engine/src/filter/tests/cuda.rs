//! Filters on CUDA frames against the same filters on the host. They run on a GPU, or on the stand-in driver of
//! tests/standin (`tests/run standin`); elsewhere they are skipped, said aloud, unless GS_REQUIRE_GPU is set.

use super::*;
use crate::error::ErrorKind;
use crate::filter::cuda;
use crate::filter::{
    Cascade, Crop, Download, Pad, Rotate, Scale, ScaleTarget, Sharpen, ToneMap, Turn, Upload,
};
use crate::frame::{ChromaLocation, ColourRange, ContentLight, HdrMetadata, Memory};
use crate::spec::{CropSpec, PadSpec, Scaler, SharpenSpec, ToneMapCurve, ToneMapSpec};
use crate::stage::Control;
use std::sync::Arc;

pub(super) fn device() -> Option<Arc<av::HwDevice>> {
    match cuda::available(0) {
        Ok(()) => Some(Arc::new(av::HwDevice::create("cuda", None, &[]).unwrap())),
        Err(why) if std::env::var_os("GS_REQUIRE_GPU").is_some() => panic!("no CUDA: {why}"),
        Err(why) => {
            eprintln!("SKIPPED: no CUDA device: {why}");
            None
        }
    }
}

pub(super) fn stays(stage: &mut dyn Stage<Frame, Frame>, device: &Arc<av::HwDevice>, frame: Frame) -> Frame {
    let mut frame = one(&mut Upload::new(device.clone()), frame);
    frame.force_key = true;
    let made = one(stage, frame);
    assert_eq!((made.memory(), made.pts, made.base, made.force_key), (Memory::Cuda, Some(0), FPS, true));
    one(&mut Download, made)
}

/// Waves, and noise in a corner, in codes of the format.
pub(super) fn scene(format: &str, width: u32, height: u32, colour: Colour) -> Frame {
    let top = 1u32 << PixelFormat::from_name(format).unwrap().descriptor().unwrap().depth;
    let shift = if format.starts_with("p01") { 16 - top.trailing_zeros() } else { 0 };
    let seed = std::cell::Cell::new(7u32);
    let noise = move || {
        seed.set(seed.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        f64::from(seed.get() >> 8) / f64::from(1 << 24)
    };
    picture(format, width, height, colour, |p, x, y| {
        let (fx, fy) = (x as f64, y as f64);
        let wave = (fx / 9.0 + p as f64).sin() * 0.2 + (fy / 7.0 - fx / 31.0).cos() * 0.15;
        let v = if x < 24 && y < 24 { noise() * 0.8 + 0.1 } else { 0.5 + wave };
        // HDR as it is: darker, and within the gamut.
        let (dim, pale) = if colour.is_hdr() { (0.7, 0.15) } else { (1.0, 0.4) };
        let v = if p == 0 { v * dim } else { 0.5 + (v - 0.5) * pale };
        ((v * f64::from(top)) as u16) << shift
    })
}

fn codes(frame: &Frame) -> Vec<i32> {
    let mut bytes = vec![0; frame.media().packed_size().unwrap()];
    frame.media().copy_to_packed(&mut bytes).unwrap();
    let d = frame.media().format().descriptor().unwrap();
    if d.depth <= 8 {
        return bytes.into_iter().map(i32::from).collect();
    }
    let shift = if frame.media().format().name().starts_with("p01") { 16 - d.depth } else { 0 };
    bytes.chunks_exact(2).map(|b| i32::from(u16::from_le_bytes([b[0], b[1]]) >> shift)).collect()
}

/// The largest difference and the mean square of all.
fn apart(a: &Frame, b: &Frame) -> (i32, f64) {
    assert_eq!(a.video(), b.video());
    let (a, b) = (codes(a), codes(b));
    let differences = || a.iter().zip(&b).map(|(a, b)| a - b);
    let square = differences().map(|d| f64::from(d * d)).sum::<f64>() / a.len() as f64;
    (differences().map(i32::abs).max().unwrap_or(0), square)
}

pub(super) const SDR: Colour = Colour { chroma: ChromaLocation::Left, ..Colour::BT709 };

#[test]
fn sizes_and_formats_are_those_of_the_host() {
    let Some(device) = device() else { return };
    // Not the nearest sample: halfway between two, zimg takes the other.
    for scaler in [Scaler::Bilinear, Scaler::Bicubic, Scaler::Lanczos] {
        for (format, to, size) in [
            ("nv12", "nv12", (160, 90)),
            ("nv12", "nv12", (480, 272)),
            ("p010le", "p010le", (214, 120)),
            ("nv12", "p010le", (160, 90)),
            ("p010le", "nv12", (160, 90)),
            ("yuv444p", "nv12", (320, 180)),
        ] {
            let target = ScaleTarget {
                scaler,
                format: PixelFormat::from_name(to),
                ..ScaleTarget::size(size.0, size.1)
            };
            let frame = scene(format, 320, 180, SDR);
            let here = one(&mut Scale::new(target.clone()), frame.clone());
            let there = stays(&mut cuda::Scale::new(target), &device, frame);
            let (most, square) = apart(&there, &here);
            // Each dithers its own way.
            let allowed = if format == "p010le" && to == "nv12" { 2 } else { 1 };
            assert!(most <= allowed && square < 0.5, "{format} to {to} {size:?} {scaler:?}: {most} {square}");
        }
    }
}

#[test]
fn matrix_and_range_are_those_of_the_host() {
    let Some(device) = device() else { return };
    let bt601 = Colour { matrix: 6, ..SDR };
    let full = Colour { range: ColourRange::Full, ..SDR };
    for (format, from, to, wanted) in [
        ("nv12", SDR, "nv12", full),
        ("nv12", full, "p010le", SDR),
        ("nv12", SDR, "nv12", bt601),
        ("p010le", bt601, "p010le", SDR),
        ("yuv444p", SDR, "nv12", bt601),
    ] {
        let target = ScaleTarget {
            format: PixelFormat::from_name(to),
            colour: Some(wanted),
            ..ScaleTarget::size(320, 180)
        };
        let frame = scene(format, 320, 180, from);
        let here = one(&mut Scale::new(target.clone()), frame.clone());
        let there = stays(&mut cuda::Scale::new(target), &device, frame);
        let (most, square) = apart(&there, &here);
        assert!(most <= 1 && square < 0.5, "{format} {from:?} to {to} {wanted:?}: {most} {square}");
    }
    let pq = Colour { transfer: 16, primaries: 9, ..SDR };
    let target = ScaleTarget { colour: Some(pq), ..ScaleTarget::size(320, 180) };
    let mut out = Vec::new();
    let frame = one(&mut Upload::new(device), scene("nv12", 320, 180, SDR));
    let e = cuda::Scale::new(target).push(frame, &mut out).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported);
    let e =
        cuda::Scale::new(ScaleTarget::size(2, 2)).push(scene("nv12", 320, 180, SDR), &mut out).unwrap_err();
    assert!(e.message().contains("upload them first"), "{e}");
}

#[test]
fn rgb_becomes_yuv_and_comes_back() {
    let Some(device) = device() else { return };
    // What this FFmpeg can have in CUDA frames.
    let rgb = Colour { matrix: 0, range: ColourRange::Full, ..Colour::BT709 };
    let target = |format: &str, width, height| ScaleTarget {
        format: PixelFormat::from_name(format),
        ..ScaleTarget::size(width, height)
    };
    for format in ["rgb0", "bgr0"] {
        for (to, size) in [("nv12", (320, 180)), ("p010le", (320, 180)), ("nv12", (160, 90))] {
            let frame = scene(format, 320, 180, rgb);
            let here = one(&mut Scale::new(target(to, size.0, size.1)), frame.clone());
            let there = stays(&mut cuda::Scale::new(target(to, size.0, size.1)), &device, frame);
            let (most, square) = apart(&there, &here);
            let allowed = if to == "p010le" { 3 } else { 1 };
            assert!(most <= allowed && square < 0.6, "{format} to {to} {size:?}: {most} {square}");
        }
    }
    // There and back in 4:4:4 is exact to a code.
    let frame = scene("rgb0", 320, 180, rgb);
    let yuv = one(&mut cuda::Scale::new(target("yuv444p16le", 320, 180)), {
        one(&mut Upload::new(device), frame.clone())
    });
    let back = one(&mut Download, one(&mut cuda::Scale::new(target("rgb0", 320, 180)), yuv));
    for (i, (a, b)) in codes(&frame).iter().zip(codes(&back)).enumerate() {
        assert!(i % 4 == 3 || (a - b).abs() <= 1, "byte {i}: {a} {b}");
    }
}

#[test]
fn a_cascade_on_the_device_is_the_hosts() {
    let Some(device) = device() else { return };
    let sizes = [(240, 136), (160, 90), (80, 46)];
    let targets: Vec<ScaleTarget> = sizes.iter().map(|(w, h)| ScaleTarget::size(*w, *h)).collect();
    let again = |i: usize, from: Option<usize>| ScaleTarget { again: from.is_some(), ..targets[i].clone() };
    let mut here = Cascade::new(targets.clone(), |i, from| Box::new(Scale::new(again(i, from)))).unwrap();
    let mut there =
        Cascade::new(targets.clone(), |i, from| Box::new(cuda::Scale::new(again(i, from)))).unwrap();
    for i in 0..3 {
        let frame = at(scene("nv12", 320, 180, SDR), i);
        let up = one(&mut Upload::new(device.clone()), frame.clone());
        let (mut a, mut b) = (Vec::new(), Vec::new());
        here.push(frame, &mut a).unwrap();
        there.push(up, &mut b).unwrap();
        assert_eq!((a.len(), b.len()), (3, 3));
        for ((i, a), (j, b)) in a.into_iter().zip(b) {
            assert_eq!((i, a.pts, b.memory()), (j, b.pts, Memory::Cuda));
            // A difference of one code at the top may be two below.
            let (most, square) = apart(&one(&mut Download, b), &a);
            assert!(most <= 2 && square < 0.5, "rung {i}: {most} {square}");
        }
    }
}

#[test]
fn a_ladder_in_one_pass_is_what_the_host_makes_of_the_source() {
    let Some(device) = device() else { return };
    // More than one launch takes, one of them twice, one that the source is already, one of another matrix.
    let mut targets: Vec<ScaleTarget> =
        [(160, 90), (240, 136), (80, 46), (160, 90), (320, 180), (200, 112), (106, 60)]
            .map(|(w, h)| ScaleTarget::size(w, h))
            .into();
    targets.push(ScaleTarget {
        colour: Some(Colour { matrix: 6, ..Colour::default() }),
        ..ScaleTarget::size(120, 68)
    });
    for format in ["nv12", "p010le"] {
        let mut ladder = cuda::Ladder::new(targets.clone());
        for i in 0..2 {
            let frame = at(scene(format, 320, 180, SDR), i);
            let up = one(&mut Upload::new(device.clone()), frame.clone());
            let mut out = Vec::new();
            ladder.push(up, &mut out).unwrap();
            let order: Vec<usize> = out.iter().map(|(i, _)| *i).collect();
            assert_eq!(order, [4, 1, 5, 0, 3, 7, 6, 2]);
            for (i, made) in out {
                assert_eq!((made.pts, made.memory()), (frame.pts, Memory::Cuda));
                let here = one(&mut Scale::new(targets[i].clone()), frame.clone());
                let (most, square) = apart(&one(&mut Download, made), &here);
                assert!(most <= 1 && square < 0.5, "{format} {:?}: {most} {square}", targets[i]);
            }
        }
    }
}

#[test]
fn what_is_right_already_is_not_touched() {
    let Some(device) = device() else { return };
    let up = one(&mut Upload::new(device), scene("nv12", 320, 180, Colour::default()));
    let address = up.media().data_ptr(0);
    let same = one(&mut cuda::Scale::new(ScaleTarget::size(320, 180)), up.clone());
    assert_eq!(same.media().data_ptr(0), address);
    let named = ScaleTarget {
        colour: Some(Colour { matrix: 6, ..Colour::default() }),
        ..ScaleTarget::size(320, 180)
    };
    let named = one(&mut cuda::Scale::new(named), up.clone());
    assert_eq!((named.media().data_ptr(0), named.video().colour.matrix), (address, 6));
    // An untagged picture keeps its meaning when it is scaled.
    let small = one(&mut cuda::Scale::new(ScaleTarget::size(160, 90)), up);
    assert_eq!((small.video().colour.matrix, small.video().colour.range), (6, ColourRange::Limited));
}

#[test]
fn a_scaler_follows_a_new_size_and_other_frames() {
    let Some(device) = device() else { return };
    let mut scale = cuda::Scale::new(ScaleTarget::size(160, 90));
    let mut out = Vec::new();
    for (from, to) in [((320, 180), None), ((640, 360), None), ((640, 360), Some((320, 180)))] {
        if let Some((width, height)) = to {
            scale.control(&Control::Size { width, height }).unwrap();
        }
        let frame = one(&mut Upload::new(device.clone()), scene("nv12", from.0, from.1, SDR));
        scale.push(frame, &mut out).unwrap();
        let v = out.last().unwrap().video();
        assert_eq!((v.width, v.height), to.unwrap_or((160, 90)));
    }
    assert_eq!(scale.control(&Control::ForceKeyFrame).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn crop_copies_the_rectangle() {
    let Some(device) = device() else { return };
    for format in ["nv12", "p010le", "yuv444p"] {
        let spec = CropSpec { x: 34, y: 18, width: 100, height: 62 };
        let frame = scene(format, 320, 180, SDR);
        let here = one(&mut Crop::new(spec), frame.clone());
        let there = stays(&mut cuda::Place::crop(spec), &device, frame);
        assert_eq!(apart(&there, &here).0, 0, "{format}");
    }
    let outside = CropSpec { x: 300, y: 0, width: 100, height: 62 };
    let frame = one(&mut Upload::new(device), scene("nv12", 320, 180, SDR));
    let e = cuda::Place::crop(outside).push(frame, &mut Vec::new()).unwrap_err();
    assert!(e.message().contains("width: 300 + 100"), "{e}");
}

#[test]
fn canvas_and_turns_are_the_hosts() {
    let Some(device) = device() else { return };
    for format in ["nv12", "p010le", "yuv444p"] {
        let frame = scene(format, 320, 180, SDR);
        let planar = ScaleTarget { format: PixelFormat::from_name(format), ..ScaleTarget::size(400, 240) };
        let spec = PadSpec { width: 400, height: 240, x: Some(40), y: None, colour: Some("#c04020".into()) };
        // The host's leaves in planes.
        let here = one(&mut Pad::new(spec.clone()).unwrap(), frame.clone());
        let here = one(&mut Scale::new(planar), here);
        let there = stays(&mut cuda::Place::pad(spec).unwrap(), &device, frame.clone());
        assert_eq!(apart(&there, &here).0, 0, "{format}");
        for (degrees, mirrored) in [(90, false), (180, false), (270, false)]
            .into_iter()
            .chain([0, 90, 180, 270].map(|degrees| (degrees, true)))
        {
            let turn = Turn::shown(f64::from(degrees), mirrored);
            let here = one(&mut Rotate::new(turn), frame.clone());
            let there = stays(&mut cuda::Place::turn(turn), &device, frame.clone());
            assert_eq!(apart(&there, &here).0, 0, "{format}: {turn}");
        }
    }
}

#[test]
fn sharpening_is_the_hosts() {
    let Some(device) = device() else { return };
    for (format, amount, size) in [("nv12", 1.2, None), ("p010le", -0.7, Some(9)), ("yuv444p", 0.5, Some(3))]
    {
        let spec = SharpenSpec { amount, size };
        let frame = scene(format, 320, 180, SDR);
        let here = one(&mut Sharpen::new(spec), frame.clone());
        let there = stays(&mut cuda::Sharpen::new(spec), &device, frame);
        assert!(apart(&there, &here).0 <= 1, "{format}");
    }
}

#[test]
fn tone_mapping_is_the_hosts() {
    let Some(device) = device() else { return };
    let pq = Colour { primaries: 9, transfer: 16, matrix: 9, ..SDR };
    let hlg = Colour { transfer: 18, ..pq };
    for colour in [pq, hlg] {
        for curve in [ToneMapCurve::Hable, ToneMapCurve::Mobius, ToneMapCurve::Reinhard, ToneMapCurve::Bt2390]
        {
            for desaturate in [None, Some(1.0)] {
                let spec = ToneMapSpec { curve, peak: None, desaturate };
                let stream = HdrMetadata {
                    content_light: Some(ContentLight { max_content: 1400, max_average: 300 }),
                    ..HdrMetadata::default()
                };
                let frame = scene("p010le", 320, 180, colour);
                let here = one(&mut ToneMap::new(spec, stream), frame.clone());
                // The host's leaves in planes.
                let planar =
                    ScaleTarget { format: PixelFormat::from_name("nv12"), ..ScaleTarget::size(320, 180) };
                let here = one(&mut Scale::new(planar), here);
                let there = stays(&mut cuda::ToneMap::new(spec, stream), &device, frame);
                let (most, square) = apart(&there, &here);
                // Both dither, each its own way, and the curves are steep.
                assert!(most <= 6 && square < 0.7, "{colour:?} {curve:?} {desaturate:?}: {most} {square}");
                assert!(there.media().hdr() == HdrMetadata::default());
            }
        }
    }
    // SDR passes.
    let up = one(&mut Upload::new(device), scene("nv12", 320, 180, SDR));
    let same = one(&mut cuda::ToneMap::new(ToneMapSpec::default(), HdrMetadata::default()), up.clone());
    assert_eq!(same.media().data_ptr(0), up.media().data_ptr(0));
}
