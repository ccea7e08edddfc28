//! Sources whose times begin anew or leap in the middle: recordings in pieces, broadcasts, playlists with discontinuities.

use crate::support::*;
use ghoststream::event::{Event, Outcome};
use serde_json::{Value, json};

/// Pictures (25 a second, with B-frames) and a tone of `seconds`, their first time moved by `shift`.
fn piece(dir: &Dir, name: &str, seconds: u32, shift: f64) -> String {
    let path = dir.path(name);
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=160x90:r=25:d={seconds} -f lavfi -i sine=frequency=440:sample_rate=48000:d={seconds} \
         -c:v libx264 -preset veryfast -g 25 -bf 2 -pix_fmt yuv420p -c:a aac -b:a 96k -output_ts_offset {shift} {path}"
    ));
    path
}

fn joined(dir: &Dir, name: &str, pieces: &[&str]) -> String {
    let path = dir.path(name);
    let bytes: Vec<u8> = pieces.iter().flat_map(|piece| std::fs::read(piece).unwrap()).collect();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Runs a job that must complete; gives what it said of its source.
fn warned(spec: Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for event in events(&start(spec)) {
        match event {
            Event::Warning { code: "source", message } => warnings.push(message),
            Event::Done(done) => assert_eq!(done.outcome, Outcome::Completed, "{:?}", done.message),
            _ => {}
        }
    }
    warnings
}

/// `path` has `seconds` of pictures, each within `within` of its time, and as much sound in step with them.
fn check(path: &str, seconds: f64, within: f64) {
    assert_eq!(frames(video(&probe(path))), (seconds * 25.0).round() as u32, "{path}");
    let mut shown = times(path, "v:0");
    shown.sort_by(f64::total_cmp);
    for (n, time) in shown.iter().enumerate() {
        let due = shown[0] + n as f64 * 0.04;
        assert!((time - due).abs() <= within, "{path}: picture {n} at {time}, not {due}");
    }
    let heard = times(path, "a:0");
    for pair in heard.windows(2) {
        let step = pair[1] - pair[0];
        assert!(step > 0.0 && step < 0.06, "{path}: sound at {} and {}", pair[0], pair[1]);
    }
    let ends = (shown.last().unwrap() + 0.04, heard.last().unwrap() + 0.0213);
    assert!((heard[0] - shown[0]).abs() < 0.1, "{path}: begins at {} and {}", shown[0], heard[0]);
    assert!((ends.0 - ends.1).abs() < 0.12, "{path}: ends at {ends:?}");
    assert!((ends.0 - shown[0] - seconds).abs() < 0.05, "{path}: from {} to {}", shown[0], ends.0);
}

/// Encodes and copies `input` into files and HLS, and checks each; gives the warnings of each job.
fn everywhere(dir: &Dir, input: &str, seconds: f64) -> Vec<Vec<String>> {
    let encode = json!({"video": {"codec": "h264", "preset": "p1"}, "audio": {"codec": "aac"}});
    let copy = json!({"video": {"codec": "copy"}, "audio": {"codec": "copy"}});
    let to = |how: &Value, path: &str, format: Option<&str>| {
        let mut output = how.clone();
        output["path"] = json!(dir.path(path));
        if let Some(format) = format {
            output["format"] = json!(format);
            output["segment"] = json!({"duration": 2});
        }
        output
    };
    let mut said = Vec::new();
    let stem = std::path::Path::new(input).file_stem().unwrap().to_string_lossy();
    for (how, kind) in [(&encode, "encoded"), (&copy, "copied")] {
        let name = format!("{stem}-{kind}");
        let (mp4, ts, hls) = (format!("{name}.mp4"), format!("{name}.ts"), format!("{name}/"));
        said.push(warned(json!({"source": {"url": input},
            "outputs": [to(how, &mp4, None), to(how, &ts, None), to(how, &hls, Some("hls"))]})));
        for path in [mp4, ts, format!("{hls}master.m3u8")] {
            check(&dir.path(&path), seconds, 0.002);
        }
    }
    said
}

fn told_once(said: &[Vec<String>]) {
    for warnings in said {
        let jumps = warnings.iter().filter(|w| w.contains("time jumps from ")).count();
        // The packet that the first piece had begun is not there.
        let others = warnings.iter().filter(|w| !w.contains("came incomplete")).count();
        assert_eq!((jumps, others), (1, 1), "{warnings:?}");
    }
}

#[test]
fn pieces_that_each_begin_at_their_own_time_follow_one_another() {
    let dir = Dir::new();
    let (first, second) = (piece(&dir, "p1.ts", 8, 0.0), piece(&dir, "p4.ts", 8, 0.0));
    let input = joined(&dir, "j4.ts", &[&first, &second]);
    let said = everywhere(&dir, &input, 16.0);
    told_once(&said);
    assert!(said[0][0].contains("j4.ts") && said[0][0].contains(" at 7.9"), "{said:?}");
}

#[test]
fn a_longer_piece_behind_a_shorter_one_and_before_it() {
    let dir = Dir::new();
    let (short, long) = (piece(&dir, "short.ts", 8, 0.0), piece(&dir, "long.ts", 14, 0.0));
    told_once(&everywhere(&dir, &joined(&dir, "a.ts", &[&short, &long]), 22.0));
    told_once(&everywhere(&dir, &joined(&dir, "b.ts", &[&long, &short]), 22.0));
}

#[test]
fn a_leap_forward_is_closed_and_a_gap_stays() {
    let dir = Dir::new();
    let (first, far, near) =
        (piece(&dir, "first.ts", 8, 0.0), piece(&dir, "far.ts", 8, 100.0), piece(&dir, "near.ts", 8, 11.0));
    told_once(&everywhere(&dir, &joined(&dir, "far-j.ts", &[&first, &far]), 16.0));
    // FFmpeg's demuxer takes that for the wrap of 33 bits.
    told_once(&everywhere(&dir, &joined(&dir, "back.ts", &[&far, &first]), 16.0));
    let output = dir.path("gap.mp4");
    let input = joined(&dir, "gap.ts", &[&first, &near]);
    let said = warned(json!({"source": {"url": input},
        "outputs": [{"path": output, "video": {"codec": "copy"}, "audio": {"codec": "copy"}}]}));
    assert!(!said.iter().any(|w| w.contains("time jumps")), "{said:?}");
    let last = times(&output, "v:0").into_iter().fold(0.0, f64::max);
    assert!((last - 18.96).abs() < 0.1, "3 s of nothing: {last}");
}

#[test]
fn an_ordinary_file_and_the_wrap_of_33_bits_are_as_they_were() {
    let dir = Dir::new();
    // 33 bits of 90 kHz are over after 95443.7 s.
    let (plain, wrapped) = (piece(&dir, "plain.ts", 8, 0.0), piece(&dir, "wrapped.ts", 8, 95_439.7));
    for input in [&plain, &wrapped] {
        let said = everywhere(&dir, input, 8.0);
        assert!(said.iter().all(Vec::is_empty), "{input}: {said:?}");
    }
    told_once(&everywhere(&dir, &joined(&dir, "both.ts", &[&wrapped, &plain]), 16.0));
}

#[test]
fn playlists_with_discontinuities_and_repetitions() {
    let dir = Dir::new();
    let (first, second) = (piece(&dir, "p1.ts", 8, 0.0), piece(&dir, "p2.ts", 8, 0.0));
    let list = dir.path("list.m3u8");
    let text = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:8\n#EXTINF:8,\np1.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:8,\np2.ts\n";
    std::fs::write(&list, format!("{text}#EXT-X-ENDLIST\n")).unwrap();
    told_once(&everywhere(&dir, &list, 16.0));
    let (input, output) = (joined(&dir, "j.ts", &[&first, &second]), dir.path("twice.mp4"));
    let said = warned(json!({"source": {"url": input, "loop": 1},
        "outputs": [{"path": output, "video": {"codec": "h264", "preset": "p1"}, "audio": {"codec": "aac"}}]}));
    told_once(&[said]);
    check(&output, 32.0, 0.03);
}

#[test]
fn lists_of_files_that_do_not_fit_are_refused() {
    let dir = Dir::new();
    let one = piece(&dir, "one.mp4", 1, 0.0);
    ffmpeg(&format!("-i {one} -c copy {}", dir.path("two.mp4")));
    ffmpeg(&format!("-i {one} -c:v copy -c:a aac -ar 44100 {}", dir.path("slow.mp4")));
    ffmpeg(&format!("-i {one} -c:v mpeg4 -c:a copy {}", dir.path("old.mp4")));
    ffmpeg(&format!("-i {one} -c copy {}", dir.path("one.mkv")));
    std::fs::rename(dir.path("two.mp4"), dir.path("it s two.mp4")).unwrap();
    let list = |lines: &str| {
        let path = dir.path("list.txt");
        std::fs::write(&path, lines).unwrap();
        path
    };
    let output = dir.path("o.mp4");
    for (other, why) in [
        ("slow.mp4", "stream 1 has 1 channel at 44100 Hz, not 1 channel at 48000 Hz as in one.mp4"),
        ("old.mp4", "stream 0 is mpeg4, not h264 as in one.mp4"),
        ("missing.mp4", "no such file"),
    ] {
        let input = list(&format!("ffconcat version 1.0\nfile one.mp4\nfile {other}\n"));
        let message = failure(simple(&input, &output));
        assert!(message.contains("list.txt: ") && message.contains(other), "{message}");
        assert!(message.contains(why), "{message}");
        assert!(!std::path::Path::new(&output).exists());
    }
    let input = list("file one.mp4\n");
    let message = failure(simple(&input, &output));
    assert!(message.contains("ffconcat version 1.0"), "{message}");
    let input = list("ffconcat version 1.0\nfile 'one.mp4'\nfile 'it s two.mp4'\nfile one.mkv\n");
    let message = failure(simple(&input, &output));
    assert!(message.contains("source.options.safe=0"), "{message}");
    let source = json!({"url": input, "options": {"safe": "0"}});
    complete(json!({"source": source, "outputs": [{"path": output}]}));
    assert_eq!(frames(video(&probe(&output))), 75);
}
