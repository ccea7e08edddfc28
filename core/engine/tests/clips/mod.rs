//! Clips for tests: the engine's own pattern, with the frame number in every picture, coded by the `ffmpeg` program.
#![allow(dead_code)]

use ghoststream::frame::Frame;
use ghoststream::source::pattern::Pattern;
use ghoststream::spec::{FrameRate, PatternKind, PatternSpec};
use ghoststream::stage::Source;
use ghoststream::time::Rational;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub const WIDTH: u32 = 320;
pub const HEIGHT: u32 = 180;

/// A numbered pattern of `frames` frames at 25 fps.
pub fn pattern(frames: u64) -> PatternSpec {
    PatternSpec {
        kind: PatternKind::Gradient,
        width: WIDTH,
        height: HEIGHT,
        frame_rate: FrameRate(Rational::new(25, 1)),
        frames: Some(frames),
        tone: false,
        burn_in: true,
    }
}

/// Codes `frames` numbered pictures with `args` (options and further inputs, then encoder options) into `dir/name`.
pub fn numbered(dir: &Path, name: &str, frames: u64, args: &[&str]) -> PathBuf {
    let out = dir.join(name);
    let size = format!("{WIDTH}x{HEIGHT}");
    let mut child = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", &size])
        .args(["-r", "25", "-color_range", "tv", "-colorspace", "bt709", "-i", "pipe:0"])
        .args(args)
        .arg(&out)
        .stdin(Stdio::piped())
        .spawn()
        .expect("the ffmpeg program is needed for tests");
    let mut stdin = child.stdin.take().unwrap();
    let mut source = Pattern::new(&pattern(frames), None, None).unwrap();
    while let Some(frame) = source.next().unwrap() {
        stdin.write_all(&packed(&frame)).unwrap();
    }
    drop(stdin);
    assert!(child.wait().unwrap().success(), "ffmpeg could not make {name}");
    out
}

/// Runs the `ffmpeg` program with `args` and `dir/name` as its output.
pub fn ffmpeg(dir: &Path, name: &str, args: &[&str]) -> PathBuf {
    let out = dir.join(name);
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(args)
        .arg(&out)
        .status()
        .expect("the ffmpeg program is needed for tests");
    assert!(status.success(), "ffmpeg could not make {name}");
    out
}

/// The picture without padding.
pub fn packed(frame: &Frame) -> Vec<u8> {
    let mut out = vec![0; frame.media().packed_size().unwrap()];
    frame.media().copy_to_packed(&mut out).unwrap();
    out
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
