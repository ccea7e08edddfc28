use super::super::{Crop, Deinterlace, FrameRate, Interpolate, Pad, Rotate, Sharpen, ToneMap, Trim, Turn};
use super::*;
use crate::frame::{ColourRange, ContentLight, HdrMetadata};
use crate::spec::{
    CropSpec, Deinterlace as Mode, FrameRate as Rate, InterpolateSpec, PadSpec, SharpenSpec, ToneMapCurve,
    ToneMapSpec,
};
use crate::time::Timestamp;

/// Luma tells x and y, chroma is neutral.
fn numbered(width: u32, height: u32) -> Frame {
    picture("yuv420p", width, height, Colour::BT709, |p, x, y| if p == 0 { (x + 10 * y) as u16 } else { 128 })
}

#[test]
fn crop_takes_the_rectangle_and_refuses_what_is_not_there() {
    let crop = |x, y, width, height| Crop::new(CropSpec { x, y, width, height });
    let out = one(&mut crop(4, 2, 8, 6), numbered(16, 12));
    assert_eq!((out.video().width, out.video().height), (8, 6));
    assert_eq!((sample(&out, 0, 0, 0), sample(&out, 0, 7, 5)), (24, 81));
    for (mut stage, field) in [
        (crop(10, 0, 8, 6), "width"),
        (crop(0, 8, 8, 6), "height"),
        (crop(3, 0, 8, 6), "x"),
        (crop(0, 1, 8, 6), "y"),
        (crop(u32::MAX, 0, 8, 6), "width"),
    ] {
        let e = run(&mut stage, [numbered(16, 12)]).unwrap_err();
        assert!(e.message().starts_with(&format!("crop: {field}: ")), "{e}");
    }
}

#[test]
fn pad_centres_and_paints_exactly() {
    let spec =
        |width, height, x, y, colour: &str| PadSpec { width, height, x, y, colour: Some(colour.into()) };
    let out = one(&mut Pad::new(spec(32, 24, None, None, "#ff0000")).unwrap(), numbered(16, 12));
    assert_eq!((out.video().width, out.video().height), (32, 24));
    // BT.709 red, limited range.
    assert_eq!([0, 1, 2].map(|p| sample(&out, p, 1, 1)), [63, 102, 240]);
    assert_eq!((sample(&out, 0, 8, 6), sample(&out, 0, 23, 17)), (0, 125));
    assert_eq!((sample(&out, 0, 7, 6), sample(&out, 0, 24, 17)), (63, 63));
    let full = Colour { range: ColourRange::Full, ..Colour::BT601 };
    let frame = picture("yuv420p10le", 16, 12, full, |_, _, _| 512);
    let out = one(&mut Pad::new(spec(20, 12, Some(4), None, "white")).unwrap(), frame);
    assert_eq!([0, 1, 2].map(|p| sample(&out, p, 1, 1)), [1023, 512, 512]);
    assert_eq!(sample(&out, 0, 4, 0), 512);
    let packed = picture("rgb24", 16, 12, Colour::default(), |_, _, _| 9);
    let out = one(&mut Pad::new(spec(20, 12, None, None, "blue")).unwrap(), packed);
    assert_eq!([0, 1, 2].map(|p| sample(&out, p, 0, 0)), [0, 255, 0]);
    for (bad, field) in
        [(spec(8, 24, None, None, "black"), "width"), (spec(32, 24, Some(20), None, "black"), "x")]
    {
        let e = run(&mut Pad::new(bad).unwrap(), [numbered(16, 12)]).unwrap_err();
        assert!(e.message().starts_with(&format!("pad: {field}: ")), "{e}");
    }
    assert!(Pad::new(spec(32, 24, None, None, "reddish")).is_err());
}

#[test]
fn rotation_turns_clockwise() {
    // The top left corner goes to the top right, bottom right and bottom left; once mirrored, it is at the top right.
    for (mirrored, degrees, width, (x, y)) in [
        (false, 90, 12, (11, 0)),
        (false, 180, 16, (15, 11)),
        (false, 270, 12, (0, 15)),
        (false, 0, 16, (0, 0)),
        (true, 0, 16, (15, 0)),
        (true, 90, 12, (11, 15)),
        (true, 180, 16, (0, 11)),
        (true, 270, 12, (0, 0)),
    ] {
        let turn = Turn::shown(f64::from(degrees), mirrored);
        assert!(mirrored || turn == Turn::clockwise(degrees).unwrap());
        for mut stage in [Rotate::new(turn), Rotate::by_metadata(turn)] {
            let frame =
                picture("yuv420p", 16, 12, Colour::BT709, |_, x, y| if x + y == 0 { 200 } else { 50 });
            let mut media = frame.to_media().unwrap();
            media.set_sample_aspect((4, 3));
            let out = one(&mut stage, Frame::new(media, FPS));
            assert_eq!(out.video().width, width);
            assert_eq!(sample(&out, 0, x, y), 200, "{mirrored} {degrees}");
            let turned = if degrees % 180 == 90 { Rational::new(3, 4) } else { Rational::new(4, 3) };
            assert_eq!(out.video().sample_aspect, turned);
        }
    }
    assert!(Turn::clockwise(45).is_err());
}

/// A bright edge that moves four pixels a field, so that the fields disagree beside it.
fn combed(pts: i64, interlaced: bool) -> Frame {
    let edge = move |y: usize| 8 * pts as usize + 4 * (y % 2);
    let frame = picture("yuv420p", 64, 48, Colour::BT601, |p, x, y| match p {
        0 if x < edge(y) => 200,
        0 => 50,
        _ => 128,
    });
    let mut media = frame.to_media().unwrap();
    media.set_interlaced(interlaced, true);
    at(Frame::new(media, FPS), pts)
}

#[test]
fn deinterlacing_takes_flagged_frames_and_can_double_the_rate() {
    let comb = |f: &Frame| sample(f, 0, 26, 24).abs_diff(sample(f, 0, 26, 25));
    let frames = |interlaced| (0..6).map(move |i| combed(i, interlaced));
    let out = run(&mut Deinterlace::new(Mode::Auto), frames(true)).unwrap();
    assert_eq!(out.iter().map(|f| f.pts.unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    assert!(comb(&out[3]) < 20, "{}", comb(&out[3]));
    assert!(!out[3].media().is_interlaced());
    let out = run(&mut Deinterlace::new(Mode::Auto), frames(false)).unwrap();
    assert_eq!((out.len(), comb(&out[3])), (6, 150));
    let out = run(&mut Deinterlace::new(Mode::All), frames(false)).unwrap();
    assert!(comb(&out[3]) < 20);
    let out = run(&mut Deinterlace::new(Mode::DoubleRate), frames(true)).unwrap();
    assert_eq!(out.len(), 12);
    for (i, f) in out.iter().enumerate() {
        assert_eq!(f.presentation(), Some(Timestamp::new(i as i64, Rational::new(1, 50))));
        assert_eq!(Timestamp::new(f.duration, f.base), Timestamp::new(1, Rational::new(1, 50)));
    }
}

#[test]
fn sharpening_steepens_an_edge() {
    for format in ["yuv420p", "nv12", "yuv420p10le"] {
        let k = if format.contains("10") { 4 } else { 1 };
        let edge = |p: usize, x: usize, _: usize| match p {
            0 if x < 16 => 80 * k,
            0 => 160 * k,
            _ => 128 * k,
        };
        let frame = picture(format, 32, 32, Colour::BT709, edge);
        let mut stage = Sharpen::new(SharpenSpec { amount: 1.0, size: None });
        let out = one(&mut stage, frame);
        assert_eq!(out.video().format.name(), format);
        let (dark, bright) = (sample(&out, 0, 15, 16), sample(&out, 0, 16, 16));
        assert!(dark < 80 * k && bright > 160 * k, "{format}: {dark} {bright}");
        assert_eq!((sample(&out, 0, 2, 16), sample(&out, 1, 4, 8)), (80 * k, 128 * k));
    }
}

#[test]
fn interpolation_reaches_the_rate() {
    for blend in [true, false] {
        let frames = (0..15).map(|i| {
            at(
                picture("yuv420p", 64, 48, Colour::BT709, |p, x, _| {
                    if p == 0 { (x as u16 + i as u16 * 2) % 200 } else { 128 }
                }),
                i,
            )
        });
        let rate = Rate(Rational::new(50, 1));
        let out = run(&mut Interpolate::new(InterpolateSpec { frame_rate: rate, blend }), frames).unwrap();
        // To the end of the last picture, which lasts two of the new ones.
        assert_eq!((out.len(), out.last().unwrap().pts), (30, Some(29)), "blend {blend}");
        // A new picture is like neither of its neighbours.
        let changed = |a: usize, b: usize| {
            (8..56).filter(|x| sample(&out[a], 0, *x, 20) != sample(&out[b], 0, *x, 20)).count()
        };
        assert!(changed(10, 11) > 20 && changed(11, 12) > 20, "blend {blend}");
        for pair in out.windows(2) {
            assert_eq!(pair[0].base, Rational::new(1, 50));
            assert_eq!((pair[1].pts.unwrap() - pair[0].pts.unwrap(), pair[0].duration), (1, 1));
        }
    }
}

#[test]
fn one_picture_alone_is_interpolated_too() {
    for blend in [true, false] {
        let rate = Rate(Rational::new(50, 1));
        let mut stage = Interpolate::new(InterpolateSpec { frame_rate: rate, blend });
        let out = run(&mut stage, [at(numbered(64, 48), 0)]).unwrap();
        assert!(!out.is_empty(), "blend {blend}");
    }
}

#[test]
fn frame_rate_stage_repeats_frames_on_its_grid() {
    let mut stage = FrameRate::new(Rational::new(50, 1)).unwrap();
    let mut frames: Vec<_> = (0..5).map(|i| at(numbered(16, 12), i)).collect();
    frames[2].force_key = true;
    let out = run(&mut stage, frames).unwrap();
    assert_eq!(out.iter().map(|f| f.pts.unwrap()).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    assert_eq!(out.iter().filter(|f| f.force_key).map(|f| f.pts.unwrap()).collect::<Vec<_>>(), [4]);
    assert_eq!((stage.counters().repeated(), stage.counters().dropped()), (5, 0));
}

#[test]
fn trimming_keeps_the_frame_shown_at_the_start() {
    let time = |micros| Timestamp::new(micros, crate::time::MICROSECONDS);
    // 25 fps; 0.1 s is in the middle of frame 2.
    let frames = || (0..10).map(|i| at(picture("yuv420p", 16, 16, Colour::BT709, |_, _, _| i as u16), i));
    let mut trim = Trim::new(Some(time(100_000)), Some(time(210_000)), time(100_000)).unwrap();
    let out = run(&mut trim, frames()).unwrap();
    let got: Vec<_> = out
        .iter()
        .map(|f| {
            let length = Timestamp::new(f.duration, f.base);
            (sample(f, 0, 0, 0), f.presentation().unwrap().micros(), length.micros())
        })
        .collect();
    assert_eq!(got, [(2, 0, 20_000), (3, 20_000, 40_000), (4, 60_000, 40_000), (5, 100_000, 10_000)]);
    assert!(trim.is_done());
    // A start on a frame, no end, and an origin elsewhere.
    let out = run(&mut Trim::new(Some(time(80_000)), None, time(40_000)).unwrap(), frames()).unwrap();
    assert_eq!((out.len(), sample(&out[0], 0, 0, 0), out[0].presentation()), (8, 2, Some(time(40_000))));
    assert_eq!(out[0].base, FPS);
    // A start after the end: nothing is shown there.
    assert!(run(&mut Trim::new(Some(time(900_000)), None, time(0)).unwrap(), frames()).unwrap().is_empty());
    assert!(Trim::new(Some(time(5)), Some(time(5)), time(0)).is_err());
}

#[test]
fn films_are_cut_between_pictures_and_keep_their_rate() {
    let film = TimeBase::new(1001, 24000);
    let time = |seconds: f64| Timestamp::from_seconds(seconds);
    let cut = |start: f64, end: f64| {
        let frames = (0..80).map(|i| {
            let mut frame = at(picture("yuv420p", 16, 16, Colour::BT709, |_, _, _| i as u16), i);
            frame.base = film;
            frame
        });
        let trim = Trim::new(Some(time(start)), Some(time(end)), time(start)).unwrap();
        let out = run(&mut trim.by_pictures(true), frames).unwrap();
        let tick = film.as_f64();
        for (i, f) in out.iter().enumerate() {
            let (at, long) =
                (f.presentation().unwrap().seconds(), Timestamp::new(f.duration, f.base).seconds());
            assert!((at - i as f64 * tick).abs() < 1e-5, "{start}: picture {i} at {at}");
            assert!((long - tick).abs() < 1e-5, "{start}: picture {i} for {long} s");
        }
        (sample(&out[0], 0, 0, 0), out.len())
    };
    // Pictures 23 and 24 begin at 0.9593 and 1.0010 s: the second is nearer to 1.0, the first to 0.97.
    assert_eq!(cut(1.0, 2.0), (24, 24));
    assert_eq!(cut(0.97, 1.97), (23, 24));
    // 7.19 pictures are 8, 7.05 are 7; of less than one there is one.
    assert_eq!((cut(1.0, 1.3).1, cut(1.0, 1.294).1, cut(1.0, 1.003).1), (8, 7, 1));
}

#[test]
fn pictures_that_stand_still_are_cut_to_the_moment() {
    let second = |n: i64| {
        let mut frame = at(picture("yuv420p", 16, 16, Colour::BT709, |_, _, _| n as u16), n);
        frame.base = TimeBase::new(1, 1);
        frame
    };
    let time = |seconds: f64| Timestamp::from_seconds(seconds);
    let trim = Trim::new(Some(time(1.75)), Some(time(3.25)), time(1.75)).unwrap().by_pictures(true);
    let mut trim = trim;
    let out = run(&mut trim, (0..5).map(second)).unwrap();
    let got: Vec<_> = out
        .iter()
        .map(|f| (f.presentation().unwrap().seconds(), Timestamp::new(f.duration, f.base).seconds()))
        .collect();
    assert_eq!(got, [(0.0, 0.25), (0.25, 1.0), (1.25, 0.25)]);
}

fn pq_code(light: f64) -> f64 {
    let y = (light / 10_000.0).powf(0.1593017578125);
    ((0.8359375 + 18.8515625 * y) / (1.0 + 18.6875 * y)).powf(78.84375)
}

/// The curves in floats, from the papers (1 = 100 cd/m²).
fn reference(curve: ToneMapCurve, x: f64, peak: f64) -> f64 {
    match curve {
        ToneMapCurve::Hable => {
            let h = |v: f64| {
                (v * (v * 0.15 + 0.05) + 0.004) / (v * (v * 0.15 + 0.5) + 0.06) - 0.2 / 3.0 * 0.0 - 0.02 / 0.3
            };
            h(x) / h(peak)
        }
        // FFmpeg's parameter for Reinhard is 0.5: (1 - p) / p = 1.
        ToneMapCurve::Reinhard => x / (x + 1.0) * (peak + 1.0) / peak,
        ToneMapCurve::Mobius => {
            let j: f64 = 0.3;
            if x <= j {
                return x;
            }
            let a = -j * j * (peak - 1.0) / (j * j - 2.0 * j + peak);
            let b = (j * j - 2.0 * j * peak + peak) / (peak - 1.0).max(1e-6);
            (b * b + 2.0 * b * j + j * j) / (b - a) * (x + a) / (x + b)
        }
        ToneMapCurve::Bt2390 => {
            let inverse = |c: f64| {
                let p = c.powf(1.0 / 78.84375);
                10_000.0 * ((p - 0.8359375).max(0.0) / (18.8515625 - 18.6875 * p)).powf(1.0 / 0.1593017578125)
            };
            let top = pq_code(peak * 100.0);
            let (e, max) = (pq_code(x * 100.0) / top, pq_code(100.0) / top);
            let ks = 1.5 * max - 0.5;
            if e < ks {
                return x;
            }
            let t = (e - ks) / (1.0 - ks);
            let p = (2.0 * t.powi(3) - 3.0 * t.powi(2) + 1.0) * ks
                + (t.powi(3) - 2.0 * t.powi(2) + t) * (1.0 - ks)
                + (-2.0 * t.powi(3) + 3.0 * t.powi(2)) * max;
            inverse(p * top) / 100.0
        }
    }
}

const PQ: Colour =
    Colour { primaries: 9, transfer: 16, matrix: 9, range: ColourRange::Limited, ..Colour::BT709 };

fn grey(colour: Colour, code: f64) -> Frame {
    let luma = (64.0 + 876.0 * code).round() as u16;
    picture("yuv420p10le", 32, 32, colour, |p, _, _| if p == 0 { luma } else { 512 })
}

/// Within two codes of 219: the 10-bit source's rounding and the dither are a part of that.
#[test]
fn tone_mapping_follows_its_curve() {
    for curve in [ToneMapCurve::Hable, ToneMapCurve::Mobius, ToneMapCurve::Reinhard, ToneMapCurve::Bt2390] {
        for light in [1.0, 10.0, 50.0, 100.0, 203.0, 500.0, 1000.0] {
            let spec = ToneMapSpec { curve, peak: Some(1000.0), desaturate: None };
            let frame = grey(PQ, pq_code(light));
            let out = one(&mut ToneMap::new(spec, HdrMetadata::default()), frame);
            let v = out.video();
            assert_eq!((v.format.name(), v.colour.transfer, v.colour.primaries), ("yuv420p", 1, 1));
            let wanted = 16.0 + 219.0 * reference(curve, light / 100.0, 10.0).clamp(0.0, 1.0).powf(1.0 / 2.4);
            let got = f64::from(sample(&out, 0, 16, 16));
            assert!((got - wanted).abs() <= 2.0, "{curve:?} at {light}: {got}, wanted {wanted:.1}");
            assert!(sample(&out, 1, 8, 8).abs_diff(128) <= 1);
        }
    }
}

#[test]
fn tone_mapping_takes_its_peak_from_the_metadata_and_leaves_sdr_alone() {
    let light = |max| HdrMetadata {
        content_light: Some(ContentLight { max_content: max, max_average: 0 }),
        ..HdrMetadata::default()
    };
    let spec = ToneMapSpec::default();
    let map = |frame, stream| sample(&one(&mut ToneMap::new(spec, stream), frame), 0, 16, 16);
    let frame = || grey(PQ, pq_code(300.0));
    let default = map(frame(), HdrMetadata::default());
    assert_eq!(map(frame(), light(1000)), default);
    assert!(map(frame(), light(4000)) < default);
    // The frame's own word is stronger than the stream's, and is gone afterwards.
    let mut media = frame().to_media().unwrap();
    media.set_hdr(&light(400)).unwrap();
    let out = one(&mut ToneMap::new(spec, light(4000)), Frame::new(media, FPS));
    assert!(sample(&out, 0, 16, 16) > default);
    assert_eq!(out.media().hdr(), HdrMetadata::default());
    // SDR between HDR passes untouched.
    let sdr = numbered(32, 32);
    let out = run(&mut ToneMap::new(spec, HdrMetadata::default()), [frame(), sdr.clone(), frame()]).unwrap();
    assert_eq!(out.len(), 3);
    assert_eq!(out[1].media().data_ptr(0), sdr.media().data_ptr(0));
    assert_eq!(sample(&out[0], 0, 16, 16), sample(&out[2], 0, 16, 16));
    // HLG: 75 % grey is 203 cd/m² on a 1000 cd/m² display (BT.2408), white its peak.
    let hlg = Colour { transfer: 18, ..PQ };
    let spec = ToneMapSpec { curve: ToneMapCurve::Reinhard, ..spec };
    for (code, nits) in [(0.75, 203.0), (1.0, 1000.0)] {
        let got = f64::from(sample(&one(&mut ToneMap::new(spec, light(5)), grey(hlg, code)), 0, 16, 16));
        let wanted = 16.0 + 219.0 * reference(ToneMapCurve::Reinhard, nits / 100.0, 10.0).powf(1.0 / 2.4);
        assert!((got - wanted).abs() <= 3.0, "{nits}: {got}, wanted {wanted:.1}");
    }
}
