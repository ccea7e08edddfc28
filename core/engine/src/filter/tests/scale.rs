use super::super::paint::{Layout, Rgb};
use super::super::{Cascade, Scale, ScaleTarget};
use super::*;
use crate::frame::ColourRange;
use crate::spec::Scaler;

const BARS: [(f64, f64, f64); 8] = [
    (0.75, 0.75, 0.75),
    (0.75, 0.75, 0.0),
    (0.0, 0.75, 0.75),
    (0.0, 0.75, 0.0),
    (0.75, 0.0, 0.75),
    (0.75, 0.0, 0.0),
    (0.0, 0.0, 0.75),
    (1.0, 1.0, 1.0),
];

fn layout(format: &str) -> Layout {
    Layout::of(PixelFormat::from_name(format).unwrap()).unwrap()
}

/// Vertical colour bars, 32 pixels wide each, exact to rounding.
fn bars(format: &str, colour: Colour) -> Frame {
    let l = layout(format);
    picture(format, 256, 64, colour, |p, x, _| {
        let (sx, _) = l.shift(p);
        let (r, g, b) = BARS[(x << sx) / 32];
        l.code(&colour, Rgb(r, g, b))[p].round() as u16
    })
}

fn convert(frame: Frame, format: &str, colour: Colour) -> Frame {
    let (w, h) = (frame.video().width, frame.video().height);
    let format = PixelFormat::from_name(format);
    one(&mut Scale::new(ScaleTarget { format, colour: Some(colour), ..ScaleTarget::size(w, h) }), frame)
}

/// The middle of each bar against the float reference.
fn check(frame: &Frame, format: &str, colour: Colour, tolerance: f64) {
    let l = layout(format);
    assert_eq!(frame.video().format.name(), format);
    for (i, (r, g, b)) in BARS.into_iter().enumerate() {
        let wanted = l.code(&colour, Rgb(r, g, b));
        for (p, wanted) in wanted.into_iter().enumerate().take(3) {
            let (sx, sy) = l.shift(p);
            let got = f64::from(sample(frame, p, (i * 32 + 16) >> sx, 32 >> sy));
            assert!((got - wanted).abs() <= tolerance, "bar {i} plane {p}: {got}, wanted {wanted}");
        }
    }
}

fn with(colour: Colour, matrix: u8, range: ColourRange) -> Colour {
    Colour { matrix, range, ..colour }
}

#[test]
fn colour_bars_stay_exact_through_matrix_range_and_rgb() {
    use ColourRange::{Full, Limited};
    let c709 = Colour::BT709;
    // Only the matrix changes: same primaries and transfer.
    for (from, from_colour, to, to_colour) in [
        ("yuv420p", c709, "yuv420p", with(c709, 6, Limited)),
        ("yuv420p", with(c709, 6, Limited), "yuv420p", c709),
        ("yuv444p", c709, "yuv444p", with(c709, 1, Full)),
        ("yuv420p", with(c709, 1, Full), "yuv420p", c709),
        ("yuv420p10le", c709, "yuv420p", c709),
        ("yuv420p", c709, "yuv420p10le", with(c709, 6, Full)),
        ("gbrp", with(c709, 0, Full), "yuv420p", c709),
        ("yuv420p", c709, "gbrp", with(c709, 0, Full)),
        ("yuv422p", with(c709, 9, Limited), "yuv420p", c709),
    ] {
        let out = convert(bars(from, from_colour), to, to_colour);
        // Two codes of eight bits, which the source's own rounding takes a part of.
        check(&out, to, to_colour, if to.contains("10") { 8.0 } else { 2.0 });
        let got = out.video().colour;
        assert_eq!(
            (got.matrix, got.range, got.transfer),
            (to_colour.matrix, to_colour.range, to_colour.transfer)
        );
    }
    // Packed formats go through their planes: rgb24 and nv12 come back as they were.
    let full = with(c709, 0, Full);
    let rgb = convert(bars("yuv420p", c709), "rgb24", full);
    for (i, (r, g, b)) in BARS.into_iter().enumerate() {
        for (c, wanted) in [r, g, b].into_iter().enumerate() {
            let got = f64::from(sample(&rgb, 0, (i * 32 + 16) * 3 + c, 32));
            assert!((got - wanted * 255.0).abs() <= 2.0, "bar {i} {c}: {got}");
        }
    }
    check(&convert(rgb, "yuv420p", c709), "yuv420p", c709, 2.0);
    let nv12 = convert(bars("yuv420p", c709), "nv12", c709);
    check(&convert(nv12, "yuv420p", c709), "yuv420p", c709, 0.5);
}

#[test]
fn sd_to_hd_converts_primaries_too() {
    // White and grey are the same in any primaries; a saturated green is not.
    let sd = bars("yuv444p", Colour::BT601);
    let out = convert(sd, "yuv444p", Colour::BT709);
    let l = layout("yuv444p");
    let white = l.code(&Colour::BT709, Rgb(1.0, 1.0, 1.0));
    for (p, wanted) in white.into_iter().take(3).enumerate() {
        assert!((f64::from(sample(&out, p, 7 * 32 + 16, 32)) - wanted).abs() <= 1.0);
    }
    let same_primaries = l.code(&Colour::BT709, Rgb(0.0, 0.75, 0.0));
    assert!((f64::from(sample(&out, 2, 3 * 32 + 16, 32)) - same_primaries[2]).abs() > 2.0);
    assert_eq!(out.video().colour.primaries, 1);
}

#[test]
fn what_is_right_already_is_not_touched() {
    let frame = bars("yuv420p", Colour::BT709);
    let before = frame.media().data_ptr(0);
    let out = one(&mut Scale::new(ScaleTarget::size(256, 64)), frame.clone());
    assert_eq!(out.media().data_ptr(0), before);
    // Naming the colour of an untagged picture shares the pixels as well.
    let untagged = picture("yuv420p", 1280, 720, Colour::default(), |_, _, _| 100);
    let before = untagged.media().data_ptr(0);
    let target = ScaleTarget { colour: Some(Colour::BT709), ..ScaleTarget::size(1280, 720) };
    let out = one(&mut Scale::new(target), untagged);
    assert_eq!(out.media().data_ptr(0), before);
    assert_eq!((out.video().colour.matrix, out.video().colour.range), (1, ColourRange::Limited));
}

#[test]
fn untagged_pictures_keep_their_meaning_when_scaled() {
    let hd = picture("yuv420p", 1280, 720, Colour::default(), |_, _, _| 100);
    let out = one(&mut Scale::new(ScaleTarget::size(640, 360)), hd);
    assert_eq!(out.video().colour.matrix, 1);
    let sd = picture("yuv420p", 720, 480, Colour::default(), |_, _, _| 100);
    let out = one(&mut Scale::new(ScaleTarget::size(1280, 720)), sd);
    assert_eq!(out.video().colour.matrix, 6);
}

#[test]
fn sizes_follow_the_display_aspect() {
    // Square pixels when the size came from the display aspect; else the aspect is kept.
    let anamorphic = |w, h| {
        let frame = picture("yuv420p", 720, 576, Colour::BT601, |_, _, _| 50);
        let mut media = frame.to_media().unwrap();
        media.set_sample_aspect((64, 45));
        one(&mut Scale::new(ScaleTarget::size(w, h)), Frame::new(media, FPS)).video().sample_aspect
    };
    assert_eq!(anamorphic(1024, 576), Rational::new(1, 1));
    assert_eq!(anamorphic(360, 288), Rational::new(64, 45));
    assert_eq!(anamorphic(854, 480), Rational::new(1, 1));
}

#[test]
fn odd_tiny_and_strange_sizes_and_formats_scale() {
    for (format, w, h, to_w, to_h) in [
        ("yuv420p", 853, 481, 852, 480),
        ("yuv420p", 853, 481, 427, 241),
        ("yuv420p", 1, 1, 16, 16),
        ("yuv420p10le", 35, 33, 64, 64),
        ("yuv422p", 33, 64, 64, 32),
        ("nv12", 64, 64, 32, 32),
        ("p010le", 64, 64, 32, 32),
        ("yuyv422", 64, 64, 32, 32),
        ("rgb24", 63, 61, 32, 32),
        ("bgra", 64, 64, 32, 32),
        ("gray", 64, 64, 32, 32),
        ("gbrp10le", 64, 64, 32, 32),
        ("yuva420p", 64, 64, 32, 32),
        ("yuvj420p", 64, 64, 32, 32),
    ] {
        let value = if format == "p010le" { 120 << 6 } else { 120 };
        let frame = picture(format, w, h, Colour::default(), |_, _, _| value);
        let out = one(&mut Scale::new(ScaleTarget::size(to_w, to_h)), frame);
        assert_eq!((out.video().width, out.video().height), (to_w, to_h), "{format}");
        assert_eq!(out.video().format.name(), format);
        let (x, y) = (to_w as usize / 3, to_h as usize / 3);
        assert!(sample(&out, 0, x, y).abs_diff(value) <= value / 100, "{format}: {}", sample(&out, 0, x, y));
    }
}

#[test]
fn an_odd_last_column_or_row_is_cut_off_not_scaled_away() {
    let value = |p: usize, x: usize, y: usize| ((x * 37 + y * 91 + p * 53) % 220 + 16) as u16;
    for format in ["yuv420p", "yuv444p", "gbrp", "gray"] {
        for (w, h) in [(33, 17), (33, 16), (32, 17)] {
            let frame = picture(format, w, h, Colour::default(), value);
            let cut = one(&mut Scale::new(ScaleTarget::size(32, 16)), frame.clone());
            assert_eq!((cut.video().width, cut.video().height), (32, 16));
            for p in 0..cut.media().plane_count() {
                for y in 0..cut.media().plane_height(p) {
                    for x in 0..cut.media().row_bytes(p) {
                        let (a, b) = (sample(&cut, p, x, y), sample(&frame, p, x, y));
                        assert_eq!(a, b, "{format} {w}x{h}: plane {p} at {x},{y}");
                    }
                }
            }
        }
    }
    // What else is wanted is done to what stays.
    let rgb = Colour { primaries: 1, transfer: 13, matrix: 0, range: ColourRange::Full, ..Colour::default() };
    let white = picture("rgb24", 33, 17, rgb, |_, _, _| 255);
    let colour = with(rgb, 1, ColourRange::Limited);
    let format = PixelFormat::from_name("yuv420p");
    let made = one(
        &mut Scale::new(ScaleTarget { format, colour: Some(colour), ..ScaleTarget::size(32, 16) }),
        white,
    );
    assert_eq!((made.video().width, made.video().height, made.video().colour.matrix), (32, 16, 1));
    assert!((0..16).all(|y| sample(&made, 0, 2 * y, y) == 235 && sample(&made, 1, y, y / 2) == 128));
}

#[test]
fn it_follows_changes_in_mid_stream() {
    let a = |i| at(picture("yuv420p", 320, 180, Colour::BT709, |p, _, _| if p == 0 { 60 } else { 128 }), i);
    let b =
        |i| at(picture("yuv422p10le", 640, 480, Colour::BT601, |p, _, _| if p == 0 { 240 } else { 512 }), i);
    let format = PixelFormat::from_name("yuv420p");
    let mut scale =
        Scale::new(ScaleTarget { format, colour: Some(Colour::BT709), ..ScaleTarget::size(160, 90) });
    let mut forced = b(2);
    forced.force_key = true;
    let out = run(&mut scale, [a(0), a(1), forced, b(3), a(4)]).unwrap();
    assert_eq!(out.iter().map(|f| f.pts.unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(out.iter().map(|f| f.force_key).collect::<Vec<_>>(), [false, false, true, false, false]);
    for f in &out {
        assert_eq!((f.video().width, f.video().height, f.video().format.name()), (160, 90, "yuv420p"));
        assert_eq!((f.base, f.duration), (FPS, 1));
        assert!(sample(f, 0, 80, 45).abs_diff(60) <= 1);
    }
}

#[test]
fn a_cascade_shares_and_orders_its_rungs() {
    let frame = picture("yuv420p", 1920, 1080, Colour::BT709, |_, x, y| ((x / 8 + y / 8) % 200) as u16);
    let sizes = [(640, 360), (1920, 1080), (854, 480), (640, 360), (2560, 1440)];
    let targets = sizes.map(|(w, h)| ScaleTarget::size(w, h)).to_vec();
    let mut parents = Vec::new();
    let mut cascade = Cascade::new(targets.clone(), |i, from| {
        parents.push((i, from));
        Box::new(Scale::new(targets[i].clone()))
    })
    .unwrap();
    assert_eq!(parents, [(4, None), (1, Some(4)), (2, Some(1)), (0, Some(2))]);
    assert_eq!(cascade.rungs(), 4);
    let out = run(&mut cascade, [frame.clone()]).unwrap();
    assert_eq!(out.iter().map(|o| o.0).collect::<Vec<_>>(), [4, 1, 2, 0, 3]);
    for (i, f) in &out {
        assert_eq!((f.video().width, f.video().height), sizes[*i]);
    }
    assert_eq!(out[1].1.media().data_ptr(0), frame.media().data_ptr(0), "the top rung is the source's frame");
    assert_eq!(out[3].1.media().data_ptr(0), out[4].1.media().data_ptr(0));
}

/// What is scaled a second time keeps more of its edges.
#[test]
fn scaling_again_is_sharper() {
    let wave = |p: usize, x: usize| if p == 0 { 128.0 + 60.0 * (x as f64 * 1.2).sin() } else { 128.0 };
    let fine = picture("yuv420p", 640, 360, Colour::BT709, |p, x, _| wave(p, x) as u16);
    let contrast = |again: bool| {
        let target = ScaleTarget { again, ..ScaleTarget::size(320, 180) };
        let out = one(&mut Scale::new(target), fine.clone());
        let row: Vec<u16> = (100..200).map(|x| sample(&out, 0, x, 90)).collect();
        i32::from(*row.iter().max().unwrap()) - i32::from(*row.iter().min().unwrap())
    };
    assert!(contrast(true) > contrast(false), "{} {}", contrast(true), contrast(false));
}

/// Mean squared error of the luma of two pictures as PSNR.
fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / sum.max(1e-9)).log10()
}

/// The same kernel in the FFmpeg command gives the same picture.
#[test]
fn kernels_agree_with_the_ffmpeg_command() {
    let (w, h) = (320usize, 180usize);
    let value = |p: usize, x: usize, y: usize| {
        let (x, y) = (x as f64, y as f64);
        (128.0 + 90.0 * (x * 0.13 * (p + 1) as f64).sin() * (y * 0.07).cos()) as u16
    };
    let frame = picture("yuv420p", w as u32, h as u32, Colour::BT709, value);
    let mut raw = vec![0; frame.media().packed_size().unwrap()];
    frame.media().copy_to_packed(&mut raw).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in.yuv"), dir.path().join("out.yuv"));
    std::fs::write(&input, &raw).unwrap();
    for (scaler, filter, floor) in [
        (Scaler::Bicubic, "scale=200:112:flags=bicubic+accurate_rnd:param0=0:param1=0.6", 45.0),
        (Scaler::Bilinear, "scale=200:112:flags=bilinear+accurate_rnd", 42.0),
        (Scaler::Lanczos, "scale=200:112:flags=lanczos+accurate_rnd", 42.0),
    ] {
        let status = std::process::Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", "320x180", "-i"])
            .arg(&input)
            .args(["-vf", filter, "-f", "rawvideo"])
            .arg(&output)
            .status()
            .unwrap();
        assert!(status.success());
        let theirs = std::fs::read(&output).unwrap();
        let ours = one(&mut Scale::new(ScaleTarget { scaler, ..ScaleTarget::size(200, 112) }), frame.clone());
        let mut packed = vec![0; ours.media().packed_size().unwrap()];
        ours.media().copy_to_packed(&mut packed).unwrap();
        // Luma: where chroma sits between rows is a choice that the two make differently.
        let got = psnr(&packed[..200 * 112], &theirs[..200 * 112]);
        assert!(got > floor, "{scaler:?}: {got:.1} dB");
    }
}

#[test]
fn a_picture_that_a_source_gives_again_is_converted_once() {
    let rgb = Colour { primaries: 1, transfer: 13, matrix: 0, range: ColourRange::Full, ..Colour::default() };
    let (grey, white) =
        (picture("bgr0", 64, 64, rgb, |_, _, _| 128), picture("bgr0", 64, 64, rgb, |_, _, _| 255));
    let format = PixelFormat::from_name("yuv420p");
    let mut scale = Scale::new(ScaleTarget {
        format,
        colour: Some(with(rgb, 1, ColourRange::Limited)),
        ..ScaleTarget::size(64, 64)
    });
    let mut made = |frame: Frame| {
        let mut out = Vec::new();
        scale.push(frame, &mut out).unwrap();
        out.pop().unwrap()
    };
    let first = made(at(grey.clone().numbered(1), 5));
    let again = made(at(grey.clone().numbered(1), 6));
    assert_eq!(again.media().data_ptr(0), first.media().data_ptr(0));
    assert_eq!((first.pts, again.pts), (Some(5), Some(6)));
    let other = made(at(white.clone().numbered(2), 7));
    assert!(sample(&other, 0, 9, 9) > sample(&first, 0, 9, 9) + 50);
    // Frames without a number may be anything.
    let anew = made(at(grey.clone(), 8));
    let white = made(at(white, 9));
    assert_eq!(
        (sample(&anew, 0, 9, 9), sample(&white, 0, 9, 9)),
        (sample(&first, 0, 9, 9), sample(&other, 0, 9, 9))
    );
    // What changes a picture takes its number away.
    assert_eq!(grey.numbered(3).with_media(first.media().clone()).number(), None);
}

#[test]
fn packed_rgb_in_another_order_is_the_same_to_the_bit() {
    let rgb = Colour { primaries: 1, transfer: 13, matrix: 0, range: ColourRange::Full, ..Colour::default() };
    let orders =
        [("rgba", [0usize, 1, 2, 3]), ("bgra", [2, 1, 0, 3]), ("argb", [3, 0, 1, 2]), ("abgr", [3, 2, 1, 0])];
    for (from, source) in orders {
        // Every value in every channel.
        let made = picture(from, 256, 8, rgb, |_, x, y| ((x / 4 + 64 * source[x % 4] + 31 * y) % 256) as u16);
        for (to, order) in orders.into_iter().filter(|(to, _)| *to != from) {
            let got = convert(made.clone(), to, rgb);
            for y in 0..8 {
                for x in 0..1024 {
                    let at = source.iter().position(|c| *c == order[x % 4]).unwrap();
                    let (a, b) = (sample(&got, 0, x, y), sample(&made, 0, x / 4 * 4 + at, y));
                    assert_eq!(a, b, "{from} to {to}: pixel {},{y}, channel {}", x / 4, order[x % 4]);
                }
            }
        }
        // Without alpha, and with one that is opaque.
        let plain = convert(made.clone(), "rgb24", rgb);
        let red = source.iter().position(|c| *c == 0).unwrap();
        assert!(
            (0..256).all(|x| sample(&plain, 0, 3 * x, 0) == sample(&made, 0, 4 * x + red, 0)),
            "{from} to rgb24"
        );
        let opaque = convert(plain, "rgba", rgb);
        assert!((0..256).all(|x| sample(&opaque, 0, 4 * x + 3, 0) == 255), "{from} to rgb24 to rgba");
    }
}

/// Our own loop from packed RGB against zimg, which gets the same pixels in planes.
#[test]
fn packed_rgb_becomes_420_as_zimg_makes_it() {
    // Edges, noise and slopes: what filters and rounding can go wrong on.
    let value = |c: usize, x: usize, y: usize| match (x / 16 + y / 16) % 3 {
        0 => (((x * 7919 + y * 104_729 + c * 31) * 2_654_435_761) >> 13) as u16 % 256,
        1 => (((x + 3 * y) * (c + 1)) % 256) as u16,
        _ => 255 * ((x + y + c) % 2) as u16,
    };
    let rgb = Colour { primaries: 1, transfer: 13, matrix: 0, range: ColourRange::Full, ..Colour::default() };
    for (w, h) in [(16u32, 16u32), (98, 34), (320, 180)] {
        let planes = picture("gbrp", w, h, rgb, |p, x, y| value([1, 2, 0][p], x, y));
        for (format, order) in [
            ("rgb24", &[0usize, 1, 2][..]),
            ("bgr24", &[2, 1, 0]),
            ("rgba", &[0, 1, 2, 3]),
            ("bgra", &[2, 1, 0, 3]),
            ("argb", &[3, 0, 1, 2]),
            ("0bgr", &[3, 2, 1, 0]),
        ] {
            let packed =
                picture(format, w, h, rgb, |_, x, y| value(order[x % order.len()], x / order.len(), y));
            for (matrix, range, to) in [
                (1, ColourRange::Limited, "yuv420p"),
                (6, ColourRange::Full, "yuv420p"),
                (9, ColourRange::Limited, "nv12"),
                (7, ColourRange::Limited, "nv12"),
            ] {
                let colour = with(rgb, matrix, range);
                let (ours, theirs) =
                    (convert(packed.clone(), to, colour), convert(planes.clone(), to, colour));
                assert_eq!(ours.video(), theirs.video(), "{format} to {to}");
                assert_eq!((ours.pts, ours.duration), (theirs.pts, theirs.duration));
                for p in 0..ours.media().plane_count() {
                    for y in 0..ours.media().plane_height(p) {
                        for x in 0..ours.media().row_bytes(p) {
                            let (a, b) = (sample(&ours, p, x, y), sample(&theirs, p, x, y));
                            let at =
                                format!("{w}x{h} {format} to {to}, matrix {matrix}, plane {p} at {x},{y}");
                            assert!(a.abs_diff(b) <= 1, "{at}: {a}, by zimg {b}");
                        }
                    }
                }
            }
        }
    }
}
