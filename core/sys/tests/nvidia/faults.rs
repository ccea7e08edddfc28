//! What cannot be done is refused by name, and whatever fails leaves nothing behind.

use super::encode::{SIZE, encode, open, picture};
use super::standin::on_standin;
use ghoststream_sys::cuda::Context;
use ghoststream_sys::ffmpeg::{HwDevice, PixelFormat};
use ghoststream_sys::nvenc::*;
use std::time::Duration;

fn plain(codec: Codec) -> EncodeConfig {
    let rate = RateControl::ConstQp { i: 20, p: 22, b: 24 };
    let mut config = EncodeConfig::new(codec, SIZE.0, SIZE.1, (25, 1), rate);
    // Presets may choose B pictures, which come out later.
    config.b_frames = Some(0);
    config
}

#[test]
fn sessions_beyond_the_limit_are_one_kind_of_failure() {
    const NAME: &str = "faults::sessions_beyond_the_limit_are_one_kind_of_failure";
    for code in ["10", "21"] {
        on_standin(NAME, &[("PROFILE", "rtx4090"), ("SESSIONS", "2"), ("SESSION_CODE", code)], || {
            let context = Context::primary(0).unwrap();
            let library = Library::load().unwrap();
            let first = Session::open(library, &context).unwrap();
            let _second = Session::open(library, &context).unwrap();
            let e = Session::open(library, &context).unwrap_err();
            assert_eq!((e.kind(), e.code().map(|c| c.to_string()).as_deref()), (Kind::Sessions, Some(code)));
            drop(first);
            assert!(Session::open(library, &context).is_ok());
        });
    }
}

#[test]
fn what_a_device_lacks_is_refused_by_name() {
    const NAME: &str = "faults::what_a_device_lacks_is_refused_by_name";
    on_standin(NAME, &[("PROFILE", "gtx1650")], || {
        let context = Context::primary(0).unwrap();
        let refused = |config: &EncodeConfig| {
            let session = Session::open(Library::load().unwrap(), &context).unwrap();
            session.initialize(config).map(drop).unwrap_err().to_string()
        };
        assert!(refused(&plain(Codec::Av1)).contains("no av1 encoder"));
        let with = |change: &dyn Fn(&mut EncodeConfig)| {
            let mut config = plain(Codec::Hevc);
            change(&mut config);
            refused(&config)
        };
        // A TU117's HEVC has no B pictures.
        assert!(with(&|c| c.b_frames = Some(2)).starts_with("b_frames:"));
        assert!(with(&|c| c.surface = Surface::Nv16).starts_with("surface: 4:2:2 needs API 13.0"));
        assert!(with(&|c| c.width = 100_000).starts_with("width:"));
        assert!(with(&|c| c.preset = 8).starts_with("preset:"));
        assert!(with(&|c| c.profile = Profile::High).starts_with("profile:"));
        assert!(with(&|c| c.split = Split::Engines(2)).starts_with("split:"));
        assert!(with(&|c| c.rate = RateControl::ConstQp { i: 60, p: 1, b: 1 }).starts_with("rate:"));
        let mut ten = plain(Codec::H264);
        ten.surface = Surface::P010;
        assert!(refused(&ten).contains("10-bit"));
    });
    on_standin(NAME, &[("PROFILE", "h200")], || {
        let context = Context::primary(0).unwrap();
        let e = Session::open(Library::load().unwrap(), &context).unwrap_err();
        assert_eq!(e.kind(), Kind::NoEncoder);
        assert!(e.to_string().contains("H200"), "{e}");
    });
    on_standin(NAME, &[("API", "12.1")], || {
        assert_eq!(Library::load().unwrap_err().kind(), Kind::TooOld);
    });
}

#[test]
fn frames_that_do_not_fit_are_refused_before_anything_is_done() {
    let log = on_standin(
        "faults::frames_that_do_not_fit_are_refused_before_anything_is_done",
        &[("PROFILE", "dual")],
        || {
            let (context, mut submitter, _retriever) = open(&plain(Codec::H264));
            let device = HwDevice::cuda(&context).unwrap();
            let other = HwDevice::cuda(&Context::primary(1).unwrap()).unwrap();
            for (pool, why) in [
                (device.frames(PixelFormat::nv12(), 322, 180, 0).unwrap(), "322x180"),
                (device.frames(PixelFormat::from_name("p010le").unwrap(), 320, 180, 0).unwrap(), "p010le"),
                (other.frames(PixelFormat::nv12(), 320, 180, 0).unwrap(), "context"),
            ] {
                let e =
                    submitter.submit(Input::Frame(pool.frame().unwrap()), &Picture::default()).unwrap_err();
                assert_eq!(e.kind(), Kind::Invalid);
                assert!(e.to_string().contains(why), "{e}");
            }
            let e = submitter
                .submit(Input::Frame(picture(Surface::Nv12, 0, SIZE)), &Picture::default())
                .unwrap_err();
            assert_eq!(e.kind(), Kind::Invalid);
            let mut buffer = submitter.buffer().unwrap();
            assert!(buffer.fill(&picture(Surface::Yuv420p, 0, SIZE)).is_err());
            let map = Picture { qp_map: Some(&[0; 4]), ..Picture::default() };
            assert!(submitter.submit(Input::Buffer(buffer), &map).is_err());
            assert!(submitter.invalidate(7).is_err());
        },
    );
    if let Some(log) = log {
        assert_eq!((log.calls("NvEncEncodePicture"), log.calls("NvEncRegisterResource")), (0, 0));
    }
}

#[test]
fn whatever_is_left_behind_is_released() {
    on_standin("faults::whatever_is_left_behind_is_released", &[("FRAME_US", "2000")], || {
        let context = Context::primary(0).unwrap();
        let device = HwDevice::cuda(&context).unwrap();
        let pool = device.frames(PixelFormat::nv12(), SIZE.0, SIZE.1, 0).unwrap();
        for submitter_first in [true, false] {
            for b_frames in [0, 3] {
                let mut config = plain(Codec::H264);
                config.b_frames = Some(b_frames);
                let (_, mut submitter, mut retriever) = open(&config);
                let spare = submitter.buffer().unwrap();
                for n in 0..4 {
                    let frame = picture(Surface::Nv12, n, SIZE).transfer_to_device(&pool).unwrap();
                    submitter.submit(Input::Frame(frame), &Picture::default()).unwrap();
                }
                if submitter_first {
                    drop(submitter);
                    // What was coded may still be read; then comes the end.
                    while !matches!(retriever.next(Duration::from_secs(5)).unwrap(), Next::End) {}
                    drop(retriever);
                } else {
                    drop(retriever);
                    drop(submitter);
                }
                drop(spare);
            }
        }
    });
}

#[test]
fn faults_of_the_driver_are_told_and_leave_nothing() {
    const NAME: &str = "faults::faults_of_the_driver_are_told_and_leave_nothing";
    for (fault, kind) in [
        ("NvEncEncodePicture:3=20", "Other"),
        ("NvEncEncodePicture:3+=5", "Lost"),
        ("NvEncMapInputResource:3=16", "Other"),
        ("NvEncRegisterResource:1=23", "Other"),
        ("NvEncInitializeEncoder:1=10", "Memory"),
        ("NvEncCreateBitstreamBuffer:2=10", "Memory"),
    ] {
        on_standin(NAME, &[("FAULT", fault)], || {
            let context = Context::primary(0).unwrap();
            let pool =
                HwDevice::cuda(&context).unwrap().frames(PixelFormat::nv12(), SIZE.0, SIZE.1, 0).unwrap();
            let session = Session::open(Library::load().unwrap(), &context).unwrap();
            let failed =
                session.initialize(&plain(Codec::Hevc)).and_then(|(mut submitter, mut retriever)| {
                    for n in 0..4 {
                        let frame = picture(Surface::Nv12, n, SIZE).transfer_to_device(&pool).unwrap();
                        submitter
                            .submit(Input::Frame(frame), &Picture { pts: n as i64, ..Picture::default() })?;
                        match retriever.next(Duration::from_secs(5))? {
                            Next::Coded(coded) => assert_eq!(coded.pts, n as i64),
                            other => panic!("{other:?}"),
                        }
                    }
                    Ok(())
                });
            let e = failed.unwrap_err();
            assert_eq!(format!("{:?}", e.kind()), kind, "{e}");
        });
    }
    // A busy encoder is asked again.
    on_standin(NAME, &[("FAULT", "NvEncEncodePicture:2=18,NvEncLockBitstream:2=13")], || {
        let (_context, mut submitter, mut retriever) = open(&plain(Codec::H264));
        let out = encode(&mut submitter, &mut retriever, 5, |submitter, n| {
            let mut buffer = submitter.buffer().unwrap();
            buffer.fill(&picture(Surface::Nv12, n, SIZE)).unwrap();
            Input::Buffer(buffer)
        });
        assert_eq!(out.len(), 5);
    });
}
