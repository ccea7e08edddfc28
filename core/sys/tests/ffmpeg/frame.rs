//! Frames: ownership, sharing, memory of others.

use bytes::Bytes;
use ghoststream_sys::ffmpeg::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn clones_share_pixels_until_one_is_made_writable() {
    let mut a = Frame::alloc_video(PixelFormat::nv12(), 64, 36, 0).unwrap();
    assert_eq!(a.plane_count(), 2);
    assert_eq!((a.plane_height(0), a.plane_height(1), a.row_bytes(1)), (36, 18, 64));
    a.plane_mut(0).unwrap().fill(9);
    let mut b = a.clone();
    assert_eq!(a.plane(0).as_ptr(), b.plane(0).as_ptr());
    assert!(!a.is_writable() && a.plane_mut(0).is_none());
    b.make_writable().unwrap();
    b.plane_mut(0).unwrap()[0] = 1;
    assert_eq!((a.plane(0)[0], b.plane(0)[0], b.plane(0)[1]), (9, 1, 9));
    assert!(a.is_writable());
    assert!(a.plane(2).is_empty() && a.plane_mut(7).is_none());
}

#[test]
fn properties_survive_a_clone() {
    let mut f = Frame::alloc_video(PixelFormat::yuv420p(), 64, 36, 0).unwrap();
    f.set_pts(Some(5));
    f.set_duration(2);
    f.set_time_base((1, 50));
    f.set_sample_aspect((4, 3));
    f.set_interlaced(true, true);
    f.set_colour(Colour::BT601);
    f.set_captions(&[0xfc, 1, 2]).unwrap();
    let light = HdrMetadata {
        content_light: Some(ContentLight { max_content: 1, max_average: 2 }),
        ..Default::default()
    };
    f.set_hdr(&light).unwrap();
    let g = f.clone();
    assert_eq!((g.pts(), g.duration(), g.time_base()), (Some(5), 2, Some((1, 50))));
    assert_eq!((g.sample_aspect(), g.is_interlaced(), g.top_field_first()), ((4, 3), true, true));
    assert_eq!((g.colour(), g.hdr()), (Colour::BT601, light));
    assert_eq!(g.captions().as_deref(), Some(&[0xfc, 1, 2][..]));
    let mut h = Frame::alloc_video(PixelFormat::yuv420p(), 64, 36, 0).unwrap();
    h.copy_props(&g).unwrap();
    assert_eq!((h.pts(), h.hdr()), (Some(5), light));
    h.clear_hdr();
    h.set_pts(None);
    assert_eq!((h.pts(), h.hdr()), (None, HdrMetadata::default()));
}

#[test]
fn wrapped_bytes_are_not_copied_and_not_written() {
    let data = Bytes::from(vec![5u8; 100 * 40]);
    let frame = Frame::wrap_bytes(PixelFormat::gray8(), 64, 36, vec![(data.clone(), 100)]).unwrap();
    assert_eq!(frame.plane(0).as_ptr(), data.as_ptr());
    assert_eq!((frame.stride(0), frame.plane(0).len()), (100, 100 * 35 + 64));
    assert!(!frame.is_writable());
    let mut own = frame.clone();
    own.make_writable().unwrap();
    own.plane_mut(0).unwrap()[0] = 6;
    assert_eq!((data[0], own.plane(0)[0]), (5, 6));
    let mut packed = vec![0; frame.packed_size().unwrap()];
    assert_eq!(frame.copy_to_packed(&mut packed).unwrap(), 64 * 36);
    assert!(packed.iter().all(|b| *b == 5));
    assert!(frame.copy_to_packed(&mut packed[..10]).is_err());

    for (w, h, stride, len) in
        [(64, 36, 63, 4000), (64, 36, 100, 3563), (0, 36, 100, 4000), (64, 36, usize::MAX, 4000)]
    {
        let plane = (Bytes::from(vec![0; len]), stride);
        let refused = Frame::wrap_bytes(PixelFormat::gray8(), w, h, vec![plane]);
        assert_eq!(refused.unwrap_err().kind(), Kind::Invalid, "{w}x{h} {stride} {len}");
    }
    assert!(Frame::wrap_bytes(PixelFormat::gray8(), 64, 36, vec![]).is_err());
    assert!(Frame::wrap_bytes(PixelFormat::cuda(), 64, 36, vec![]).is_err());
    assert!(Frame::alloc_video(PixelFormat::cuda(), 64, 36, 0).is_err());
    assert!(Frame::alloc_video(PixelFormat::rgb24(), u32::MAX, 1, 0).is_err());
}

#[test]
fn the_caller_hears_once_when_its_memory_is_free() {
    let mut memory = vec![3u8; 64 * 36 * 3 / 2];
    let released = Arc::new(AtomicUsize::new(0));
    let count = released.clone();
    let (luma, chroma) = memory.split_at_mut(64 * 36);
    let planes = [(luma.as_mut_ptr(), 64, luma.len()), (chroma.as_mut_ptr(), 64, chroma.len())];
    let release = move || {
        count.fetch_add(1, Ordering::SeqCst);
    };
    // SAFETY: `memory` outlives every frame below and is not touched meanwhile.
    let mut frame =
        unsafe { Frame::wrap_raw(PixelFormat::nv12(), 64, 36, &planes, true, Box::new(release)) }.unwrap();
    frame.plane_mut(0).unwrap()[0] = 8;
    let clone = frame.clone();
    drop(frame);
    assert_eq!(released.load(Ordering::SeqCst), 0);
    drop(clone);
    assert_eq!(released.load(Ordering::SeqCst), 1);
    assert_eq!(memory[0], 8);

    let count = released.clone();
    let release = move || {
        count.fetch_add(1, Ordering::SeqCst);
    };
    // SAFETY: refused before anything is read.
    let refused = unsafe { Frame::wrap_raw(PixelFormat::nv12(), 64, 36, &[], true, Box::new(release)) };
    assert!(refused.is_err());
    assert_eq!(released.load(Ordering::SeqCst), 2);
}

#[test]
fn audio_planes_follow_the_sample_format() {
    let layout = ChannelLayout::from_name("5.1").unwrap();
    let mut planar = Frame::alloc_audio(SampleFormat::F32P, 48_000, &layout, 100).unwrap();
    assert_eq!((planar.plane_count(), planar.plane(5).len(), planar.plane(6).len()), (6, 400, 0));
    planar.truncate_samples(60).unwrap();
    assert_eq!((planar.samples(), planar.plane(0).len()), (60, 240));
    assert!(planar.truncate_samples(61).is_err());
    let many = ChannelLayout::from_channels(12);
    let wide = Frame::alloc_audio(SampleFormat::S16P, 48_000, &many, 10).unwrap();
    assert_eq!((wide.plane_count(), wide.plane(11).len()), (12, 20));
    let interleaved = Frame::alloc_audio(SampleFormat::S16, 48_000, &layout, 100).unwrap();
    assert_eq!((interleaved.plane_count(), interleaved.plane(0).len()), (1, 1200));
    assert_eq!(interleaved.channel_layout(), layout);
    assert!(Frame::alloc_audio(SampleFormat::NONE, 48_000, &layout, 100).is_err());
}

#[test]
fn a_device_type_that_does_not_exist_is_unsupported() {
    assert_eq!(HwDevice::create("warp", None, &[]).unwrap_err().kind(), Kind::Unsupported);
    assert!(HwDevice::create("vaapi", Some("/nonexistent"), &[]).is_err());
    assert_eq!(HwDevice::format_of("vaapi").name(), "vaapi");
    assert_eq!(device_decoder("h264", "warp"), None);
    // Debian's FFmpeg is built with VA-API; its first decoder of AV1, dav1d, knows of no device.
    if hw_device_types().iter().any(|t| t == "vaapi") {
        assert_eq!(device_decoder("h264", "vaapi").as_deref(), Some("h264"));
        assert_eq!(device_decoder("av1", "vaapi").as_deref(), Some("av1"));
        assert_eq!(device_decoder("aac", "vaapi"), None);
    }
    let host = Frame::alloc_video(PixelFormat::nv12(), 64, 36, 0).unwrap();
    assert_eq!(host.pool_id(), 0);
    assert!(!host.is_hardware() && host.hw_frames().is_none());
    assert_eq!(host.transfer_to_host().unwrap_err().kind(), Kind::Invalid);
}

/// Shared memory as a compositor hands it out, with `bytes` in it, that cannot be cut off if `sealed`.
#[cfg(target_os = "linux")]
fn shared(bytes: &[u8], sealed: bool) -> std::os::fd::OwnedFd {
    use std::os::fd::{AsRawFd, FromRawFd};
    // SAFETY: a name; the descriptor is ours.
    let fd = unsafe {
        std::os::fd::OwnedFd::from_raw_fd(libc::memfd_create(c"dmabuf".as_ptr(), libc::MFD_ALLOW_SEALING))
    };
    let mut file = std::fs::File::from(fd);
    std::io::Write::write_all(&mut file, bytes).unwrap();
    if sealed {
        // SAFETY: an open descriptor.
        assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SHRINK) }, 0);
    }
    file.into()
}

#[test]
#[cfg(target_os = "linux")]
fn shared_memory_is_kept_and_read_where_it_lies_row_by_row() {
    const PITCH: usize = 400;
    let bytes: Vec<u8> = (0..64 + PITCH * 40).map(|i| (i * 7 % 251) as u8).collect();
    let released = Arc::new(AtomicUsize::new(0));
    let wrap = |modifier, crop, sealed| {
        let released = released.clone();
        let picture = DmaBuf {
            fourcc: fourcc_of(PixelFormat::bgr0()).unwrap(),
            modifier,
            width: 96,
            height: 40,
            crop,
            planes: vec![DmaBufPlane { fd: shared(&bytes, sealed), offset: 64, pitch: PITCH as u32 }],
        };
        Frame::wrap_dmabuf(
            picture,
            Box::new(move || {
                released.fetch_add(1, Ordering::SeqCst);
            }),
        )
    };
    let frame = wrap(0, [8, 4, 64, 36], true).unwrap();
    assert_eq!((frame.format().name(), frame.width(), frame.height()), ("drm_prime", 64, 36));
    assert!(frame.is_hardware() && frame.plane_count() == 0 && frame.plane(0).is_empty());
    assert!(frame.transfer_to_host().is_err(), "no driver is behind it");
    let mut other = frame.clone();
    other.set_pts(Some(9));
    drop(frame);
    assert_eq!(released.load(Ordering::SeqCst), 0);
    let about = other.dmabuf().unwrap();
    assert_eq!((about.width, about.height, about.crop, about.modifier), (96, 40, [8, 4, 64, 36], 0));
    assert_eq!((about.planes.len(), about.planes[0].1, about.planes[0].2), (1, 64, PITCH as u32));
    let read = other.read_dmabuf().unwrap();
    assert_eq!((read.format(), read.width(), read.pts()), (PixelFormat::bgr0(), 64, Some(9)));
    for row in [0, 17, 35] {
        let from = 64 + (row + 4) * PITCH + 8 * 4;
        assert_eq!(&read.plane(0)[row * read.stride(0)..][..256], &bytes[from..from + 256], "row {row}");
    }
    drop(other);
    assert_eq!(released.load(Ordering::SeqCst), 1);

    let e = wrap(0x0300_0000_0060_6010, [0, 0, 96, 40], true).unwrap().read_dmabuf().unwrap_err();
    assert_eq!(e.kind(), Kind::Unsupported, "{e}");
    let e = wrap(0, [0, 0, 96, 40], false).unwrap().read_dmabuf().unwrap_err();
    assert!(e.kind() == Kind::Unsupported && e.to_string().contains("cut off"), "{e}");
    assert_eq!(wrap(0, [40, 0, 64, 40], true).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(released.load(Ordering::SeqCst), 4, "also where it fails");
    assert!(Frame::alloc_video(PixelFormat::nv12(), 64, 36, 0).unwrap().dmabuf().is_none());
}
