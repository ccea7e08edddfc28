//! Devices, memory, streams, and FFmpeg's frames over the same context.

use super::standin::on_standin;
use ghoststream_sys::cuda::*;
use ghoststream_sys::ffmpeg::{self, ForeignPlane, Frame, HwDevice, PixelFormat};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn without_a_driver_everything_says_so() {
    if is_present() {
        eprintln!("skipped: there is a CUDA driver here");
        return;
    }
    assert_eq!(devices().unwrap_err().kind(), Kind::Absent);
    assert_eq!(Context::primary(0).unwrap_err().kind(), Kind::Absent);
    let e = HwDevice::create("cuda", None, &[]).unwrap_err();
    assert_eq!(e.kind(), ffmpeg::Kind::NotFound);
    assert!(e.to_string().contains("libcuda.so.1"), "{e}");
    assert!(ghoststream_sys::nvml::devices().is_empty());
    let e = ghoststream_sys::nvenc::Library::load().unwrap_err();
    assert_eq!(e.kind(), ghoststream_sys::nvenc::Kind::Absent);
}

#[test]
fn devices_describe_themselves() {
    on_standin("cuda::devices_describe_themselves", &[("PROFILE", "dual")], || {
        let devices = devices().unwrap();
        assert_eq!(devices.len(), 2);
        assert!(devices[0].name.contains("4090") && devices[1].name.contains("3060"));
        assert_eq!((devices[0].compute, devices[0].ordinal), ((8, 9), 0));
        assert!(devices[0].memory > 1 << 34 && devices[0].multiprocessors == 128);
        assert_ne!(devices[0].uuid, devices[1].uuid);
        assert_eq!(device(2).unwrap_err().kind(), Kind::NoDevice);
        let context = Context::primary(1).unwrap();
        assert_eq!(context.device(), &devices[1]);
        let (free, total) = context.memory().unwrap();
        assert!(free <= total && total > 0);
    });
}

#[test]
fn bytes_go_to_the_device_and_come_back() {
    let name = "cuda::bytes_go_to_the_device_and_come_back";
    if let Some(log) = on_standin(name, &[("ASYNC", "2000")], copies) {
        assert_eq!(log.copied("DtoD"), 37_000);
    }
}

pub fn copies() {
    let context = Context::primary(0).unwrap();
    let stream = Stream::new(&context).unwrap();
    let (row, rows) = (1000, 37);
    let mut first = DeviceBuffer::pitched(&context, row, rows).unwrap();
    let mut second = DeviceBuffer::linear(&context, row * rows).unwrap();
    assert!(first.pitch() >= row && first.len() >= row * rows);
    let mut pinned = PinnedBuffer::new(&context, 16 + row * rows).unwrap();
    for (i, byte) in pinned.bytes_mut().iter_mut().enumerate() {
        *byte = (i * 7 % 251) as u8;
    }
    let sent = pinned.bytes()[16..].to_vec();
    let from = Layout { offset: 16, pitch: row };
    let up = stream.upload(pinned, [(from, first.plane_mut())]).unwrap();
    let mut packed = second.view_mut(0, row, row, rows).unwrap();
    stream.copy(&first.plane(), &mut packed).unwrap();
    let mark = Event::timed(&context).unwrap();
    mark.record(&stream).unwrap();
    let pinned = up.wait().unwrap();
    let down = stream
        .download(&[(Layout { offset: 0, pitch: row }, second.view(0, row, row, rows).unwrap())], pinned);
    let pinned = down.unwrap().wait().unwrap();
    assert_eq!(&pinned.bytes()[..row * rows], sent);
    assert!(mark.is_done().unwrap());
    stream.fill(9, &mut first.plane_mut().part(10, 1, 5, 2).unwrap()).unwrap();
    stream.synchronize().unwrap();
    assert!(stream.is_idle().unwrap());
    let mut back = vec![0; row * rows];
    context.download(&first.plane(), HostMut { bytes: &mut back, pitch: row }).unwrap();
    assert_eq!(back[row + 9..row + 16], [sent[row + 9], 9, 9, 9, 9, 9, sent[row + 15]]);
    assert_eq!(back[3 * row..], sent[3 * row..]);
    // A buffer that nobody waits for is not given back before the copy is done.
    let pinned = PinnedBuffer::new(&context, row * rows).unwrap();
    drop(stream.upload(pinned, [(Layout { offset: 0, pitch: row }, first.plane_mut())]).unwrap());
    let small = PinnedBuffer::new(&context, row * rows - 1).unwrap();
    let e = stream.upload(small, [(Layout { offset: 0, pitch: row }, first.plane_mut())]).unwrap_err();
    assert_eq!(e.kind(), Kind::Invalid);
    assert!(second.view(1, row, row, rows).is_err() && second.view(0, row - 1, row, 2).is_err());
    let e = DeviceBuffer::linear(&context, 1 << 50).unwrap_err();
    assert_eq!(e.kind(), Kind::Memory);
    assert!(e.to_string().contains("CUDA_ERROR_OUT_OF_MEMORY"), "{e}");
}

#[test]
fn ffmpegs_frames_lie_in_the_same_context() {
    on_standin("cuda::ffmpegs_frames_lie_in_the_same_context", &[], frames);
}

pub fn frames() {
    let context = Context::primary(0).unwrap();
    for device in [HwDevice::cuda(&context).unwrap(), HwDevice::create("cuda", Some("0"), &[]).unwrap()] {
        assert!(device.is_on_cuda(&context));
        let pool = device.frames(PixelFormat::nv12(), 322, 180, 0).unwrap();
        let mut frame = pool.frame().unwrap();
        assert!(frame.is_in_cuda(&context));
        for (i, plane) in frame.device_planes_mut().unwrap().iter_mut().enumerate() {
            assert_eq!((plane.row_bytes(), plane.rows()), (322, [180, 90][i]));
            let bytes: Vec<u8> = (0..plane.rows() * 322).map(|n| (n * (i + 3)) as u8).collect();
            context.upload(Host { bytes: &bytes, pitch: 322 }, plane).unwrap();
        }
        let host = frame.transfer_to_host().unwrap();
        assert_eq!(host.plane(0)[host.stride(0) * 2 + 5], ((2 * 322 + 5) * 3) as u8);
        assert_eq!(host.plane(1)[host.stride(1) * 89 + 321], ((89 * 322 + 321) * 4) as u8);
        let other = frame.clone();
        assert!(frame.device_planes_mut().is_err(), "two hold it");
        drop(other);
        assert!(frame.device_planes_mut().is_ok());
        assert!(host.device_planes().is_err());
    }
    assert!(HwDevice::create("cuda", Some("first"), &[]).is_err());
    assert!(HwDevice::create("cuda", Some("9"), &[]).is_err());
}

#[test]
fn a_frames_context_is_found_without_opening_others() {
    let name = "cuda::a_frames_context_is_found_without_opening_others";
    let log = on_standin(name, &[("PROFILE", "dual")], || {
        let context = Context::primary(1).unwrap();
        let pool = HwDevice::cuda(&context).unwrap().frames(PixelFormat::nv12(), 64, 36, 0).unwrap();
        let frame = pool.frame().unwrap();
        let first = frame.cuda_home().unwrap().unwrap();
        assert!(frame.is_in_cuda(&first) && first.device().ordinal == 1);
        let again = pool.frame().unwrap().cuda_home().unwrap().unwrap();
        assert!(Arc::ptr_eq(&first, &again), "it is remembered");
        let host = Frame::alloc_video(PixelFormat::nv12(), 64, 36, 0).unwrap();
        assert!(host.cuda_home().unwrap().is_none());
    });
    if let Some(log) = log {
        assert_eq!(log.calls("cuDevicePrimaryCtxRetain"), 1, "the test's own");
        assert_eq!(log.calls("cuDevicePrimaryCtxRelease_v2"), 1);
    }
}

#[test]
fn a_copy_that_fails_is_no_picture() {
    let name = "cuda::a_copy_that_fails_is_no_picture";
    on_standin(name, &[("FAULT", "DtoH:3=700,HtoD:2=700")], || {
        let context = Context::primary(0).unwrap();
        let pool = HwDevice::cuda(&context).unwrap().frames(PixelFormat::nv12(), 64, 36, 0).unwrap();
        let host = Frame::alloc_video(PixelFormat::nv12(), 64, 36, 0).unwrap();
        assert!(host.transfer_to_device(&pool).is_err(), "its second plane");
        let frame = host.transfer_to_device(&pool).unwrap();
        frame.transfer_to_host().unwrap();
        assert!(frame.transfer_to_host().is_err(), "the first plane of the second copy");
    });
}

#[test]
fn foreign_device_memory_becomes_a_frame_without_a_copy() {
    let name = "cuda::foreign_device_memory_becomes_a_frame_without_a_copy";
    if let Some(log) = on_standin(name, &[], foreign) {
        assert_eq!(log.copied("HtoD") + log.copied("DtoH") + log.copied("DtoD"), 0);
    }
}

pub fn foreign() {
    let context = Context::primary(0).unwrap();
    let device = HwDevice::cuda(&context).unwrap();
    let pool = device.frames(PixelFormat::nv12(), 64, 36, 0).unwrap();
    let buffer = Arc::new(DeviceBuffer::linear(&context, 80 * 54).unwrap());
    let start = buffer.plane().address();
    let planes =
        [ForeignPlane { address: start, pitch: 80 }, ForeignPlane { address: start + 80 * 36, pitch: 80 }];
    let released = Arc::new(AtomicUsize::new(0));
    let wrap = |planes: &[ForeignPlane]| {
        let (keep, count) = (buffer.clone(), released.clone());
        let release = Box::new(move || {
            drop(keep);
            count.fetch_add(1, Ordering::SeqCst);
        });
        // SAFETY: the buffer lives until the release.
        unsafe { pool.wrap_cuda(&context, planes, true, release) }
    };
    let mut frame = wrap(&planes).unwrap();
    assert_eq!(frame.device_planes().unwrap()[1].address(), planes[1].address);
    assert_eq!(frame.device_planes_mut().unwrap().len(), 2);
    let second: Frame = frame.clone();
    drop(frame);
    assert_eq!(released.load(Ordering::SeqCst), 0);
    drop(second);
    assert_eq!(released.load(Ordering::SeqCst), 1);
    let short = [planes[0], ForeignPlane { address: start + 80 * 53, pitch: 80 }];
    let host = [planes[0], ForeignPlane { address: buffer.as_ref() as *const _ as u64, pitch: 80 }];
    let narrow = [planes[0], ForeignPlane { address: planes[1].address, pitch: 63 }];
    for (wrong, why) in
        [(&short[..], "run past"), (&narrow[..], "pitch"), (&planes[..1], "2 planes"), (&host[..], "")]
    {
        let before = released.load(Ordering::SeqCst);
        let e = wrap(wrong).unwrap_err();
        assert!(e.to_string().contains(why), "{e}");
        assert_eq!(released.load(Ordering::SeqCst), before + 1, "released also on failure");
    }
}
