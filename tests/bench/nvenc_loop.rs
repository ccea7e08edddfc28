//! What a picture costs in GhostStream's NVENC encoder outside the driver: submitting and retrieving, on all threads. Pictures
//! are in device memory before it begins. `nvenc_wrapper.c` does the same with FFmpeg's wrapper; `nvenc.py` runs both on the
//! stand-in driver, which tells what it took itself.
//!
//!     GS_STANDIN_SPENT=1 GS_STANDIN_CODING=skip LD_LIBRARY_PATH=target/standin nvenc_loop h264 2000 0

#![allow(clippy::print_stdout, reason = "what it says is what it is for")]

use ghoststream::encode::nvenc::{Hooks, NvencEncoder};
use ghoststream::encode::{Encoder, VideoEncode};
use ghoststream::frame::{CudaPool, Frame, PixelFormat};
use ghoststream::packet::Packet;
use ghoststream::stage::Stage;
use ghoststream::time::Rational;
use serde_json::json;
use std::ffi::{CStr, c_char, c_int, c_long, c_void};

const WARM: i64 = 200;
const BASE: Rational = Rational::new(1, 25);

unsafe extern "C" {
    fn clock_gettime(clock: c_int, out: *mut [c_long; 2]) -> c_int;
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// Processor time of the whole process, in nanoseconds.
fn process_ns() -> u64 {
    const PROCESS: c_int = 2;
    let mut now = [0; 2];
    // SAFETY: fills two numbers.
    assert_eq!(unsafe { clock_gettime(PROCESS, &mut now) }, 0);
    now[0] as u64 * 1_000_000_000 + now[1] as u64
}

type Spent = unsafe extern "C" fn(*mut u64) -> u64;

/// The stand-in's count of its own time.
fn standin() -> Spent {
    const NOW: c_int = 2;
    let find = |name: &CStr| {
        // SAFETY: terminated names; the library is loaded already, or stays loaded.
        unsafe { dlsym(dlopen(c"libcuda.so.1".as_ptr(), NOW), name.as_ptr()) }
    };
    let found = find(c"standin_spent");
    assert!(!found.is_null(), "the driver in LD_LIBRARY_PATH is not the stand-in");
    // SAFETY: the function's signature in tests/standin/cuda/device.h.
    unsafe { std::mem::transmute::<*mut c_void, Spent>(found) }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, codec, frames, b_frames] = &args[..] else { panic!("nvenc_loop CODEC FRAMES B_FRAMES") };
    let (frames, b_frames): (i64, u32) = (frames.parse().unwrap(), b_frames.parse().unwrap());
    let spec = json!({"codec": codec, "encoder": format!("{codec}_nvenc"), "preset": "p1", "bitrate": "2M", "gop": 60_000,
        "b_frames": b_frames});
    let config = VideoEncode::new(serde_json::from_value(spec).unwrap());
    let mut encoder = NvencEncoder::new(config, Hooks::default()).unwrap();
    let pool = CudaPool::of(0, PixelFormat::nv12(), 320, 180).unwrap();
    let pictures: Vec<Frame> = (0..24).map(|_| Frame::new(pool.frames().frame().unwrap(), BASE)).collect();
    let spent = standin();
    let mut packets: Vec<Packet> = Vec::with_capacity(64);
    let (mut out, mut begin, mut driver, mut calls) = (0, 0, 0, 0);
    let mut count = 0;
    for n in 0..WARM + frames {
        if n == WARM {
            // SAFETY: fills one number.
            (begin, driver) = (process_ns(), unsafe { spent(&mut calls) });
        }
        let mut frame = pictures[n as usize % pictures.len()].clone();
        (frame.pts, frame.duration) = (Some(n), 1);
        encoder.push(frame, &mut packets).unwrap();
        out += packets.len();
        packets.clear();
    }
    encoder.finish(&mut packets).unwrap();
    let all = process_ns() - begin;
    // SAFETY: as above.
    let inside = unsafe { spent(&mut count) } - driver;
    assert_eq!(out + packets.len(), (WARM + frames) as usize);
    assert!(encoder.stream().is_some());
    assert!(count > calls, "the stand-in does not count (GS_STANDIN_SPENT=1)");
    let per = |ns: u64| ns as f64 / frames as f64 / 1e3;
    let calls = (count - calls) as f64 / frames as f64;
    println!(
        "{}",
        json!({"outside": per(all.saturating_sub(inside)), "inside": per(inside), "calls": calls})
    );
}
