//! Frames on a device. Vulkan on lavapipe (Mesa's software driver) stands for all of them: it is the one that runs
//! without hardware.

use super::*;
use crate::error::ErrorKind;
use crate::filter::device::{deinterlacer, scaler};
use crate::filter::{DeviceScale, Download, Scale, ScaleTarget, Upload};
use crate::frame::Memory;
use crate::spec::{Deinterlace, Scaler};
use std::sync::Arc;

/// A Vulkan device; `None`, said aloud, where there is no driver.
fn vulkan() -> Option<Arc<av::HwDevice>> {
    match av::HwDevice::create("vulkan", None, &[]) {
        Ok(device) => Some(Arc::new(device)),
        Err(e) if std::env::var_os("GS_REQUIRE_PEERS").is_some() => panic!("vulkan: {e}"),
        Err(e) => {
            eprintln!("SKIPPED: no Vulkan driver (Debian's mesa-vulkan-drivers has one in software): {e}");
            None
        }
    }
}

/// Waves of a few pixels and more, as a lens would leave them.
fn waves(format: &str, width: u32, height: u32, phase: f64) -> Frame {
    picture(format, width, height, Colour::BT709, |p, x, y| {
        let (x, y) = (x as f64, y as f64);
        let v = (x / 9.0 + phase).sin() * 50.0 + (y / 7.0).cos() * 40.0;
        if p == 0 { (125.0 + v) as u16 } else { (128.0 + v / 4.0) as u16 }
    })
}

fn packed(frame: &Frame) -> Vec<u8> {
    let mut bytes = vec![0; frame.media().packed_size().unwrap()];
    frame.media().copy_to_packed(&mut bytes).unwrap();
    bytes
}

fn psnr(a: &Frame, b: &Frame) -> f64 {
    assert_eq!(a.video(), b.video());
    let (a, b) = (packed(a), packed(b));
    let sum: f64 = a.iter().zip(&b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / sum.max(1e-9)).log10()
}

#[test]
fn frames_go_to_the_device_are_scaled_there_and_come_back() {
    let Some(device) = vulkan() else { return };
    let mut up = Upload::new(device);
    let filter = scaler("vulkan", Scaler::Bilinear, &av::has_filter).unwrap();
    assert_eq!(filter.name, "scale_vulkan");
    let target = ScaleTarget { scaler: Scaler::Bilinear, ..ScaleTarget::size(160, 90) };
    let mut there = DeviceScale::new(target.clone(), filter);
    let mut here = Scale::new(target);
    for i in 0..4 {
        let mut frame = at(waves("nv12", 320, 180, f64::from(i)), i.into());
        frame.force_key = i == 2;
        let on_device = one(&mut up, frame.clone());
        assert_eq!((on_device.memory(), on_device.pts), (Memory::Device, Some(i.into())));
        let mut small = Vec::new();
        there.push(on_device, &mut small).unwrap();
        assert_eq!(small.len(), 1, "one in, one out of the same call");
        let small = small.remove(0);
        assert_eq!(small.memory(), Memory::Device, "it stays there");
        let got = one(&mut Download, small);
        assert_eq!((got.memory(), got.pts, got.duration, got.base), (Memory::Host, Some(i.into()), 1, FPS));
        assert_eq!(got.force_key, i == 2);
        let mut expected = Vec::new();
        here.push(frame, &mut expected).unwrap();
        // Kernels differ in support and rounding, not in what is seen.
        let quality = psnr(&got, &expected[0]);
        assert!(quality > 34.0, "{quality}");
    }
}

#[test]
fn a_transfer_there_and_back_changes_nothing() {
    let Some(device) = vulkan() else { return };
    let mut up = Upload::new(device);
    for (format, w, h) in [("nv12", 320, 180), ("nv12", 64, 64), ("p010le", 320, 180), ("yuv420p", 322, 182)]
    {
        let frame = waves(format, w, h, 0.5);
        let on_device = one(&mut up, frame.clone());
        let again = one(&mut up, on_device.clone());
        assert_eq!(again.media().data_ptr(0), on_device.media().data_ptr(0), "it is there already");
        let back = one(&mut Download, on_device);
        assert_eq!(packed(&back), packed(&frame), "{format}");
        let untouched = one(&mut Download, frame.clone());
        assert_eq!(untouched.media().data_ptr(0), frame.media().data_ptr(0));
    }
}

#[test]
fn a_device_scaler_follows_changes_and_passes_what_is_right() {
    let Some(device) = vulkan() else { return };
    let mut up = Upload::new(device);
    let filter = scaler("vulkan", Scaler::default(), &av::has_filter).unwrap();
    let mut scale = DeviceScale::new(ScaleTarget::size(160, 90), filter.clone());
    let mut out = Vec::new();
    for (i, (w, h)) in [(320, 180), (160, 90), (640, 360)].into_iter().enumerate() {
        let frame = one(&mut up, at(waves("nv12", w, h, 0.0), i as i64));
        let before = frame.media().data_ptr(0);
        scale.push(frame, &mut out).unwrap();
        let last = out.last().unwrap();
        assert_eq!((last.video().width, last.video().height, last.pts), (160, 90, Some(i as i64)));
        assert_eq!(last.media().data_ptr(0) == before, (w, h) == (160, 90));
    }
    // Where frames are is never guessed.
    let e = scale.push(waves("nv12", 320, 180, 0.0), &mut out).unwrap_err();
    assert!(e.message().contains("upload them first"), "{e}");
    let host =
        Scale::new(ScaleTarget::size(160, 90)).push(one(&mut up, waves("nv12", 320, 180, 0.0)), &mut out);
    assert!(host.unwrap_err().message().contains("download them first"));
    let ten = PixelFormat::from_name("p010le");
    let mut wrong = DeviceScale::new(ScaleTarget { format: ten, ..ScaleTarget::size(160, 90) }, filter);
    let e = wrong.push(one(&mut up, waves("nv12", 320, 180, 0.0)), &mut out).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported);
    let e = up.push(waves("pal8", 32, 32, 0.0), &mut out).unwrap_err();
    assert!(e.message().starts_with("upload: vulkan takes "), "{e}");
}

#[test]
fn what_a_device_cannot_do_has_a_reason() {
    let all = |_: &str| true;
    assert_eq!(
        scaler("cuda", Scaler::Lanczos, &all).unwrap().text("w=2"),
        "scale_cuda=w=2:interp_algo=lanczos"
    );
    let vaapi = scaler("vaapi", Scaler::default(), &all).unwrap();
    assert_eq!(
        vaapi.text("w=2:h=2:format=nv12"),
        "scale_vaapi=w=2:h=2:format=nv12:mode=hq:extra_hw_frames=32"
    );
    assert_eq!(
        scaler("vulkan", Scaler::Lanczos, &all).unwrap_err(),
        "vulkan does not scale with the kernel asked for"
    );
    assert_eq!(scaler("cuda", Scaler::Bicubic, &|_| false).unwrap_err(), "this FFmpeg has no scale_cuda");
    let old = |name: &str| name != "bwdif_cuda";
    assert_eq!(deinterlacer("cuda", Deinterlace::Auto, &all).unwrap().name, "bwdif_cuda");
    assert_eq!(deinterlacer("cuda", Deinterlace::Auto, &old).unwrap().name, "yadif_cuda");
    let field = deinterlacer("vaapi", Deinterlace::DoubleRate, &all).unwrap();
    assert_eq!(field.text(""), "deinterlace_vaapi=rate=field:auto=1:extra_hw_frames=32");
    assert!(deinterlacer("qsv", Deinterlace::Auto, &all).is_err());
}
