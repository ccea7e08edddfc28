//! The installed driver, where there is one.

use super::{cuda, encode};
use ghoststream_sys::cuda::is_present;
use ghoststream_sys::nvenc::{Codec, Kind, Library, Session};
use ghoststream_sys::nvidia::gpus;
use ghoststream_sys::nvml;
use std::time::Duration;

/// Whether to go on; skips aloud without a driver.
fn there() -> bool {
    if is_present() {
        return true;
    }
    assert!(std::env::var("GS_REQUIRE_GPU").as_deref() != Ok("1"), "there is no CUDA driver here");
    eprintln!("skipped: there is no CUDA driver here");
    false
}

#[test]
fn the_installed_driver_copies_and_shares_memory() {
    if there() {
        cuda::copies();
        cuda::frames();
        cuda::foreign();
    }
}

#[test]
fn the_installed_driver_lists_its_devices() {
    if !there() {
        return;
    }
    let list = gpus(Duration::from_secs(60)).unwrap();
    for gpu in list {
        eprintln!("{gpu:#?}");
        let index = gpu.nvml_index.expect("NVML knows the device by its UUID");
        assert!(nvml::usage(index).memory_used.is_some());
        match &gpu.encoder {
            Ok(encoder) => {
                let h264 = encoder.ability(Codec::H264).expect("every encoder has H.264");
                assert!(h264.capabilities.engines > 0 && h264.capabilities.width_max >= 4096);
            }
            // An A100, H100 or H200 says so; it must not look like a fault.
            Err(none) => assert!(matches!(none.kind, Kind::NoEncoder | Kind::Absent), "{none:?}"),
        }
    }
}

#[test]
fn the_installed_driver_encodes_without_loss() {
    if !there() {
        return;
    }
    let context = ghoststream_sys::cuda::Context::primary(0).unwrap();
    match Library::load().and_then(|library| Session::open(library, &context)) {
        Ok(session) => {
            let able = |codec| session.capabilities(codec).is_ok_and(|c| c.lossless != 0);
            if able(Codec::H264) && able(Codec::Hevc) {
                drop(session);
                encode::without_loss();
            } else {
                eprintln!("skipped: this device does not code without loss");
            }
        }
        Err(e) => {
            assert!(matches!(e.kind(), Kind::NoEncoder | Kind::Absent), "{e}");
            eprintln!("skipped: {e}");
        }
    }
}
