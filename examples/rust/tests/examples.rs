//! The examples are run as a user would, and what they make is checked by ffprobe.

use std::path::Path;
use std::process::Command;

fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A 2 s clip of 50 numbered-by-content pictures with a tone.
fn clip(dir: &Path) -> String {
    let path = dir.join("in.mkv");
    let video = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=2", "-f", "lavfi", "-i", "sine=d=2"];
    let args =
        [&["-v", "error", "-y"], &video[..], &["-c:v", "libx264", "-g", "25", "-c:a", "aac", text(&path)]];
    run("ffmpeg", &args.concat());
    text(&path).into()
}

fn streams(path: &str) -> Vec<serde_json::Value> {
    let json = run("ffprobe", &["-v", "error", "-count_packets", "-show_streams", "-of", "json", path]);
    let mut json: serde_json::Value = serde_json::from_str(&json).unwrap();
    json["streams"].take().as_array().unwrap().clone()
}

fn refuses(program: &str, args: &[&str], code: i32, word: &str) {
    let out = Command::new(program).args(args).output().unwrap();
    assert_eq!(out.status.code(), Some(code), "{program} {args:?}");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains(word), "{program} {args:?}: {said}");
}

#[test]
fn transcode() {
    let dir = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_transcode");
    let out = dir.path().join("out.mp4");
    let said = run(program, &[&clip(dir.path()), text(&out)]);
    assert!(said.contains("100.0 %"), "{said}");
    let made = streams(text(&out));
    assert_eq!((&made[0]["codec_name"], &made[0]["nb_read_packets"]), (&"h264".into(), &"50".into()));
    assert_eq!(made[1]["codec_name"], "aac");
    refuses(program, &[], 2, "usage");
    refuses(program, &["no-such-file.mkv", text(&out)], 1, "no-such-file.mkv");
}

#[test]
fn ladder() {
    let dir = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_ladder");
    let out = dir.path().join("hls");
    let said = run(program, &[&clip(dir.path()), text(&out), "180", "90"]);
    let playlist = said.lines().last().unwrap();
    assert!(said.contains("180p") && playlist.ends_with(".m3u8"), "{said}");
    let heights: Vec<u64> = streams(playlist).iter().filter_map(|s| s["height"].as_u64()).collect();
    assert!(heights.contains(&180) && heights.contains(&90), "{heights:?}");
    run("ffmpeg", &["-v", "error", "-xerror", "-i", playlist, "-f", "null", "-"]);
    refuses(program, &["a", "b", "tall"], 2, "number");
}

#[test]
fn encode_frames() {
    let dir = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_encode_frames");
    let out = dir.path().join("out.h264");
    assert_eq!(run(program, &[text(&out), "30"]).trim(), "30 frames, 30 packets");
    let made = streams(text(&out));
    assert_eq!((&made[0]["width"], &made[0]["nb_read_packets"]), (&320.into(), &"30".into()));
    run("ffmpeg", &["-v", "error", "-xerror", "-i", text(&out), "-f", "null", "-"]);
    refuses(program, &[text(&out), "0"], 2, "usage");
}

#[test]
fn record_pattern() {
    let dir = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_record_pattern");
    let out = dir.path().join("out.mkv");
    assert_eq!(run(program, &[text(&out), "1"]).trim(), text(&out));
    let made = streams(text(&out));
    assert_eq!((&made[0]["codec_name"], &made[1]["codec_name"]), (&"h264".into(), &"aac".into()));
    let frames: u64 = made[0]["nb_read_packets"].as_str().unwrap().parse().unwrap();
    assert!((25..300).contains(&frames), "{frames}");
    run("ffmpeg", &["-v", "error", "-xerror", "-i", text(&out), "-f", "null", "-"]);
    refuses(program, &[], 2, "usage");
}

#[test]
fn read_frames() {
    let dir = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_read_frames");
    let clip = clip(dir.path());
    let all = run(program, &[&clip]);
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!((lines.len(), lines[50]), (51, "50 frames"));
    let grey: f64 = lines[0].split_whitespace().last().unwrap().parse().unwrap();
    assert!((60.0..200.0).contains(&grey), "{}", lines[0]);
    // The frame that is shown at a time between two frames, between two key frames.
    let time = |line: &str| line.split_whitespace().next().and_then(|t| t.parse::<f64>().ok()).unwrap();
    let shown = lines[..50].iter().rfind(|line| time(line) <= 0.70).unwrap();
    assert!(time(shown) > 0.60, "{shown}");
    assert_eq!(run(program, &[&clip, "0.70"]).trim_end(), *shown);
    refuses(program, &[&clip, "soon"], 2, "time");
}
