//! Pictures in DMA-BUFs on their way into CUDA: EGL and OpenGL draw in software, and the stand-in imports and shares.

use super::encode::{decode, encode, open};
use super::standin::{Log, on_standin};
use ghoststream_sys::cuda::{Context, Stream};
use ghoststream_sys::egl::{Conversion, Importer, Kind};
use ghoststream_sys::ffmpeg::{DmaBuf, DmaBufPlane, Frame, HwDevice, PixelFormat, fourcc_of};
use ghoststream_sys::nvenc::{Codec, EncodeConfig, Input, RateControl, Tuning};
use std::os::fd::OwnedFd;

/// As [`on_standin`], where the machine has an EGL for the stand-in to lie over.
fn on_egl(name: &str, knobs: &[(&str, &str)], body: impl FnOnce()) -> Option<Log> {
    // SAFETY: a terminated name; the library stays.
    let there = unsafe { libc::dlopen(c"libEGL.so.1".as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if there.is_null() {
        assert!(std::env::var("GS_REQUIRE_PEERS").as_deref() != Ok("1"), "libEGL.so.1 is missing");
        eprintln!("skipped: libEGL.so.1 is missing (Debian: libegl1, libegl-mesa0)");
        return None;
    }
    on_standin(name, knobs, body)
}

/// The arrangement that the stand-in's GPU reads: rows in pairs, the second first.
const PAIRS: u64 = 0x0300_0000_0060_6014;
const WHOLE: (u32, u32) = (176, 120);
const CROP: [u32; 4] = [8, 6, 160, 110];
const PITCH: usize = 176 * 4 + 64;
const OFFSET: usize = 256;

/// BT.709, limited range, of `depth` bits.
fn bt709(depth: u32) -> Conversion {
    let (kr, kb, one) = (0.2126f32, 0.0722f32, (1u32 << (depth - 8)) as f32);
    let kg = 1.0 - kr - kb;
    let (y, c) = (219.0 * one, 224.0 * one);
    let (b, r) = (c / (2.0 * (1.0 - kb)), c / (2.0 * (1.0 - kr)));
    Conversion {
        luma: [kr * y, kg * y, kb * y, 16.0 * one],
        chroma: [
            [-kr * b, -kg * b, (1.0 - kb) * b, 128.0 * one],
            [(1.0 - kr) * r, -kg * r, -kb * r, 128.0 * one],
        ],
    }
}

/// Red, green and blue of a pixel of picture `n`: waves, and noise in a corner.
fn rgb(n: u32, x: u32, y: u32) -> [u8; 3] {
    if x < 40 && y < 40 {
        let h = (x * 7919 + y * 104_729 + n * 31).wrapping_mul(2_654_435_761);
        return [(h >> 24) as u8, (h >> 16) as u8, (h >> 8) as u8];
    }
    let wave = |a: u32| (128.0 + 127.0 * ((a as f32 + n as f32 * 3.0) / 19.0).sin()) as u8;
    [wave(x), wave(y + 20), wave(x + y)]
}

fn shared(n: u32, format: PixelFormat, modifier: u64) -> Frame {
    let (width, height) = WHOLE;
    let mut bytes = vec![0xEE; OFFSET + PITCH * height as usize];
    for y in 0..height {
        let row = if modifier == PAIRS { y ^ 1 } else { y };
        for x in 0..width {
            let [r, g, b] = rgb(n, x, y);
            let at = OFFSET + row as usize * PITCH + x as usize * 4;
            let pixel = if format == PixelFormat::bgr0() { [b, g, r, 9] } else { [r, g, b, 9] };
            bytes[at..at + 4].copy_from_slice(&pixel);
        }
    }
    let fd: OwnedFd = {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        file.into()
    };
    let picture = DmaBuf {
        fourcc: fourcc_of(format).unwrap(),
        modifier,
        width,
        height,
        crop: CROP,
        planes: vec![DmaBufPlane { fd, offset: OFFSET as u32, pitch: PITCH as u32 }],
    };
    Frame::wrap_dmabuf(picture, Box::new(|| ())).unwrap()
}

/// Codes of luma and chroma of picture `n`, unrounded.
fn reference(n: u32, how: &Conversion) -> (Vec<f32>, Vec<f32>) {
    let [left, top, width, height] = CROP;
    let at = |x: i32, y: i32| {
        let (x, y) = (x.clamp(0, width as i32 - 1) as u32, y.clamp(0, height as i32 - 1) as u32);
        rgb(n, left + x, top + y).map(|v| f32::from(v) / 255.0)
    };
    let code = |row: &[f32; 4], [r, g, b]: [f32; 3]| row[0] * r + row[1] * g + row[2] * b + row[3];
    let (w, h) = (width as i32, height as i32);
    let luma = (0..h).flat_map(|y| (0..w).map(move |x| (x, y))).map(|(x, y)| code(&how.luma, at(x, y)));
    let chroma = (0..h / 2).flat_map(|y| (0..w / 2).map(move |x| (2 * x, 2 * y))).flat_map(|(x, y)| {
        let mut sum = [0.0; 3];
        for (dx, weight) in [(-1, 0.125), (0, 0.25), (1, 0.125)] {
            for dy in 0..2 {
                for (s, v) in sum.iter_mut().zip(at(x + dx, y + dy)) {
                    *s += weight * v;
                }
            }
        }
        how.chroma.map(|row| code(&row, sum))
    });
    (luma.collect(), chroma.collect())
}

/// The largest difference in codes.
fn worst(frame: &Frame, n: u32, how: &Conversion, deep: bool) -> f32 {
    let (luma, chroma) = reference(n, how);
    let mut worst = 0.0f32;
    for (plane, wanted) in [luma, chroma].iter().enumerate() {
        let row = frame.row_bytes(plane) / if deep { 2 } else { 1 };
        for (i, wanted) in wanted.iter().enumerate() {
            let at = i / row * frame.stride(plane);
            let bytes = frame.plane(plane);
            let got = match deep {
                true => {
                    let at = at + i % row * 2;
                    let word = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
                    assert_eq!(word & 63, 0, "ten bits lie at the top of sixteen");
                    word >> 6
                }
                false => bytes[at + i % row].into(),
            };
            worst = worst.max((f32::from(got) - wanted).abs());
        }
    }
    worst
}

fn size() -> (u32, u32) {
    (CROP[2], CROP[3])
}

#[test]
fn the_shader_agrees_with_a_float_reference() {
    const NAME: &str = "dmabuf::the_shader_agrees_with_a_float_reference";
    let log = on_egl(NAME, &[("PROFILE", "rtx4090")], || {
        let context = Context::primary(0).unwrap();
        let stream = Stream::new(&context).unwrap();
        let device = HwDevice::cuda(&context).unwrap();
        let mut importer = Importer::on_cuda(&context).unwrap_or_else(|e| panic!("{e}"));
        let offers = importer.formats();
        assert!(offers.contains(&(fourcc_of(PixelFormat::bgr0()).unwrap(), vec![PAIRS])), "{offers:x?}");
        assert!(!offers.iter().any(|(code, _)| *code == fourcc_of(PixelFormat::nv12()).unwrap()));
        for (to, depth) in [(PixelFormat::nv12(), 8), (PixelFormat::p010(), 10)] {
            let pool = device.frames(to, size().0, size().1, 0).unwrap();
            let how = bt709(depth);
            for format in [PixelFormat::bgr0(), PixelFormat::rgba()] {
                for n in 0..3 {
                    let mut made = pool.frame().unwrap();
                    importer.to_cuda(&shared(n, format, PAIRS), &mut made, &stream, &how).unwrap();
                    let got = made.transfer_to_host().unwrap();
                    let off = worst(&got, n, &how, depth == 10);
                    assert!(off <= 1.0, "{format} to {to}: {off} codes");
                    let mut host = Frame::alloc_video(to, size().0, size().1, 0).unwrap();
                    importer.to_host(&shared(n, format, PAIRS), &mut host, &how).unwrap();
                    let rows = |f: &Frame, p: usize| -> Vec<u8> {
                        let rows = f.plane(p).chunks(f.stride(p));
                        rows.flat_map(|r| r[..f.row_bytes(p)].to_vec()).collect()
                    };
                    for plane in 0..2 {
                        assert_eq!(rows(&got, plane), rows(&host, plane), "{format} to {to}");
                    }
                }
            }
        }
        let pool = device.frames(PixelFormat::nv12(), size().0, size().1, 0).unwrap();
        let mut made = pool.frame().unwrap();
        let linear = shared(0, PixelFormat::bgr0(), 0);
        let e = importer.to_cuda(&linear, &mut made, &stream, &bt709(8)).unwrap_err();
        assert!(e.kind() == Kind::Unsupported && e.to_string().contains("does not import"), "{e}");
        // It goes on after that.
        importer.to_cuda(&shared(1, PixelFormat::bgr0(), PAIRS), &mut made, &stream, &bt709(8)).unwrap();
    });
    if let Some(log) = log {
        // Three sizes of textures: eight bits, ten, eight again; host targets share them.
        assert_eq!(log.calls("cuGraphicsGLRegisterImage"), log.calls("cuGraphicsUnregisterResource"));
        assert_eq!(log.calls("cuGraphicsMapResources"), 13);
        assert_eq!(log.copied("HtoD"), 0);
    }
}

#[test]
fn a_desktop_is_encoded_without_the_host_touching_a_pixel() {
    const NAME: &str = "dmabuf::a_desktop_is_encoded_without_the_host_touching_a_pixel";
    let log: Option<Log> = on_egl(NAME, &[("ASYNC", "200")], || {
        let mut config = EncodeConfig::new(Codec::Hevc, size().0, size().1, (60, 1), RateControl::Lossless);
        config.tuning = Tuning::Lossless;
        let (context, mut submitter, mut retriever) = open(&config);
        let pool = HwDevice::cuda(&context).unwrap();
        let pool = pool.frames(PixelFormat::nv12(), size().0, size().1, 0).unwrap();
        let stream = Stream::new(&context).unwrap();
        // Made here, used on another thread.
        let mut importer = Importer::on_cuda(&context).unwrap_or_else(|e| panic!("{e}"));
        let frames: Vec<Frame> = std::thread::spawn(move || {
            let import = |n| {
                let mut made = pool.frame().unwrap();
                importer
                    .to_cuda(&shared(n, PixelFormat::bgr0(), PAIRS), &mut made, &stream, &bt709(8))
                    .unwrap();
                made
            };
            (0..8).map(import).collect()
        })
        .join()
        .unwrap();
        let out = encode(&mut submitter, &mut retriever, 8, |_, n| Input::Frame(frames[n].clone()));
        let decoded = decode(Codec::Hevc, &out);
        assert_eq!(decoded.len(), 8);
        for (n, frame) in decoded.iter().enumerate() {
            let (luma, _) = reference(n as u32, &bt709(8));
            for (i, wanted) in luma.iter().enumerate() {
                let (x, y) = (i % size().0 as usize, i / size().0 as usize);
                let got = f32::from(frame.plane(0)[y * frame.stride(0) + x]);
                assert!((got - wanted).abs() <= 1.0, "picture {n} at {x},{y}: {got} for {wanted}");
            }
        }
    });
    if let Some(log) = log {
        assert_eq!((log.copied("HtoD"), log.copied("DtoH"), log.copied("HtoH")), (0, 0, 0));
        assert_eq!(log.calls("cuGraphicsGLRegisterImage"), 2, "once, not for each picture");
    }
}

#[test]
fn without_such_a_gpu_it_says_so() {
    const NAME: &str = "dmabuf::without_such_a_gpu_it_says_so";
    on_egl(NAME, &[("PROFILE", "dual")], || {
        // The second card is not EGL's.
        let e = Importer::on_cuda(&Context::primary(1).unwrap()).unwrap_err();
        assert_eq!(e.kind(), Kind::Absent, "{e}");
        assert!(e.to_string().contains("number 1"), "{e}");
    });
}
