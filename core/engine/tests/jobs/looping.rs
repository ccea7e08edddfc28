//! Playing a source again: nothing is lost or doubled at the seam, whatever the container knows of its own times.

use crate::support::*;
use serde_json::json;

/// The clip of 100 frames, with B-frames, in three containers.
fn sources(dir: &Dir) -> Vec<String> {
    let mp4 = clip(dir, "in.mp4");
    let others = ["in.mkv", "in.ts"].map(|name| {
        let path = dir.path(name);
        ffmpeg(&format!("-i {mp4} -c copy {path}"));
        path
    });
    [vec![mp4], others.to_vec()].concat()
}

/// Presentation times of a stream's packets, in the order of presentation.
fn shown(path: &str, stream: &str) -> Vec<f64> {
    let mut all = times(path, stream);
    all.sort_by(f64::total_cmp);
    all
}

/// Frames of 40 ms and packets of sound of 21.3 ms, without a gap and none twice.
fn continuous(name: &str, output: &str, wanted: std::ops::RangeInclusive<usize>) {
    let video = shown(output, "v:0");
    assert!(wanted.contains(&video.len()), "{name}: {} frames", video.len());
    // A frame that has begun before the start is shown in the first round, for what is left of it.
    for w in video.windows(2).skip(usize::from(wanted.start() < wanted.end())) {
        let step = w[1] - w[0];
        assert!((step - 0.04).abs() < 0.003, "{name}: from {} to {}", w[0], w[1]);
    }
    let audio = shown(output, "a:0");
    for w in audio.windows(2) {
        let step = w[1] - w[0];
        assert!((step - 1024.0 / 48000.0).abs() < 0.003, "{name}: sound from {} to {}", w[0], w[1]);
    }
    let (picture, sound) = (video[video.len() - 1] + 0.04, audio[audio.len() - 1] + 0.0213);
    assert!((picture - sound).abs() < 0.06, "{name}: pictures end at {picture}, sound at {sound}");
}

#[test]
fn a_looped_source_has_no_seam() {
    let dir = Dir::new();
    for input in sources(&dir) {
        for (kind, video, audio) in [
            ("encoded", json!({"preset": "p1"}), json!({"codec": "aac"})),
            ("copied", json!({"codec": "copy"}), json!({"codec": "copy"})),
        ] {
            let output = dir.path("o.mkv");
            complete(json!({"source": {"url": input, "loop": 2},
                "outputs": [{"path": output, "overwrite": true, "video": video, "audio": audio}]}));
            continuous(&format!("{kind} {input}"), &output, 300..=300);
        }
    }
}

#[test]
fn a_loop_begins_again_at_the_start_that_was_asked_for() {
    let dir = Dir::new();
    for input in sources(&dir) {
        let output = dir.path("o.mkv");
        // 1.52 s lies between two key frames: 62 frames are left.
        complete(json!({"source": {"url": input, "start": 1.52, "loop": 2},
            "outputs": [{"path": output, "overwrite": true, "video": {"preset": "p1"}, "audio": {"codec": "aac"}}]}));
        // Where a frame has begun before the start, the first round shows it.
        continuous(&input, &output, 3 * 62..=3 * 62 + 1);
    }
}

#[test]
fn a_repetition_is_as_long_as_the_pictures_and_its_sound_goes_on() {
    let dir = Dir::new();
    // In Matroska the encoder's priming moves everything by its length, and its padding is behind the pictures: the container is longer
    // than what is to be seen. What repeats must not be.
    let (whole, short) = (dir.path("whole.mkv"), dir.path("short.mkv"));
    let video = "-f lavfi -i testsrc2=s=320x180:r=25:d=2 -c:v libx264 -preset ultrafast -g 25 -c:a aac";
    ffmpeg(&format!("-f lavfi -i sine=440:sample_rate=48000:d=2 {video} {whole}"));
    ffmpeg(&format!("-f lavfi -i sine=440:sample_rate=48000:d=1.7 {video} {short}"));
    for (input, hole) in [(whole, 0.0), (short, 0.3)] {
        let output = dir.path("o.mkv");
        complete(json!({"source": {"url": input, "loop": 5},
            "outputs": [{"path": output, "overwrite": true, "video": {"codec": "copy"}, "audio": {"codec": "copy"}}]}));
        let video = shown(&output, "v:0");
        assert_eq!(video.len(), 300, "{input}");
        assert!((video[299] - video[0] - 299.0 * 0.04).abs() < 0.002, "{input}: {}", video[299] - video[0]);
        let audio = shown(&output, "a:0");
        let frame = 1024.0 / 48000.0;
        let steps = audio.windows(2).map(|w| w[1] - w[0]);
        let holes: Vec<f64> = steps.clone().filter(|step| (step - frame).abs() > 0.003).collect();
        assert_eq!(holes.len(), if hole > 0.0 { 5 } else { 0 }, "{input}: {holes:?}");
        assert!(holes.iter().all(|h| (h - hole - frame).abs() < 1.5 * frame), "{input}: {holes:?}");
        // Wherever the round, the sound is where its pictures are.
        let rounds = audio.iter().filter(|t| **t > 10.0).count() as f64 * frame;
        assert!((rounds - (2.0 - hole)).abs() < 2.5 * frame, "{input}: {rounds}");
    }
}

#[test]
fn words_of_a_file_are_there_in_every_round() {
    let dir = Dir::new();
    let (input, words) = (clip(&dir, "in.mp4"), dir.path("s.srt"));
    // The last is behind the pictures: only the last round comes to it.
    let cues = [
        "1\n00:00:00,500 --> 00:00:01,500\nHello",
        "2\n00:00:02,000 --> 00:00:03,000\nWorld",
        "3\n00:00:03,500 --> 00:00:05,000\nAcross",
        "4\n00:00:05,000 --> 00:00:06,000\nAfter",
    ];
    std::fs::write(&words, cues.join("\n\n")).unwrap();
    for (format, name) in [("dash", "o"), ("hls", "o"), ("mkv", "o.mkv")] {
        for (end, wanted) in [
            (None, vec![0.5, 2.0, 3.5, 4.5, 6.0, 7.5, 8.5, 10.0, 11.5, 13.0]),
            (Some(9.0), vec![0.5, 2.0, 3.5, 4.5, 6.0, 7.5, 8.5]),
        ] {
            let output = dir.path(name);
            let _ = std::fs::remove_dir_all(&output);
            complete(
                json!({"source": {"url": input, "loop": 2, "duration": end}, "outputs": [{"path": output,
                "format": format, "overwrite": true, "video": {"preset": "p1"}, "audio": false, "subtitles": {"path": words}}]}),
            );
            let mut shown: Vec<(f64, f64)> = Vec::new();
            let mut read = |text: &str| {
                let seconds = |clock: &str| {
                    clock.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap())
                };
                for line in text.lines().filter(|line| line.contains("-->")) {
                    let (from, to) = line.split_once(" --> ").unwrap();
                    shown.push((seconds(from), seconds(to)));
                }
            };
            match format {
                "mkv" => {
                    let vtt = dir.path("o.vtt");
                    ffmpeg(&format!("-i {output} -map 0:s {vtt}"));
                    // Without hours where there are none.
                    read(&std::fs::read_to_string(vtt).unwrap());
                }
                "dash" => read(&std::fs::read_to_string(format!("{output}/subtitles-file.vtt")).unwrap()),
                _ => {
                    let folder = std::fs::read_dir(format!("{output}/subtitles-file")).unwrap();
                    for segment in folder {
                        read(&std::fs::read_to_string(segment.unwrap().path()).unwrap());
                    }
                }
            }
            shown.sort_by(|a, b| a.0.total_cmp(&b.0));
            shown.dedup();
            let begins: Vec<f64> = shown.iter().map(|(from, _)| (from * 100.0).round() / 100.0).collect();
            assert_eq!(begins, wanted, "{format} {end:?}: {shown:?}");
            // What the pictures end under ends with them, but in the last round.
            for (from, to) in &shown {
                let wanted = [(3.5, 4.0), (7.5, 8.0), (11.5, 13.0)]
                    .into_iter()
                    .find(|(begin, _)| (from - begin).abs() < 0.01);
                assert!(wanted.is_none_or(|(_, end)| (to - end).abs() < 0.05), "{format}: {shown:?}");
            }
            let last = shown.last().unwrap();
            assert!((last.1 - end.unwrap_or(14.0)).abs() < 0.01, "{format}: {shown:?}");
        }
    }
}

#[test]
fn words_of_a_dash_film_are_there_in_every_round() {
    let dir = Dir::new();
    let (input, words, film) = (clip(&dir, "in.mp4"), dir.path("s.srt"), dir.path("film"));
    std::fs::write(
        &words,
        "1\n00:00:00,500 --> 00:00:01,500\nHello\n\n2\n00:00:02,000 --> 00:00:03,000\nWorld\n",
    )
    .unwrap();
    complete(
        json!({"source": {"url": input}, "outputs": [{"path": film, "format": "dash", "video": {"preset": "p1"},
        "segment": {"duration": 1}, "subtitles": {"path": words}}]}),
    );
    for format in ["dash", "hls"] {
        let output = dir.path(format);
        complete(
            json!({"source": {"url": format!("{film}/manifest.mpd"), "loop": 3}, "outputs": [{"path": output,
            "format": format, "segment": {"duration": 1}, "video": {"preset": "p1"}}]}),
        );
        let mut shown: Vec<String> = Vec::new();
        let mut folders = vec![std::path::PathBuf::from(&output)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == "vtt") {
                    let text = std::fs::read_to_string(path).unwrap();
                    shown.extend(text.lines().filter(|l| l.contains("-->")).map(String::from));
                }
            }
        }
        shown.sort();
        shown.dedup();
        assert_eq!(shown.len(), 8, "{format}: {shown:?}");
        for (round, pair) in shown.chunks(2).enumerate() {
            assert!(pair[0].starts_with(&format!("00:00:{:02}.5", 4 * round)), "{format}: {shown:?}");
            assert!(pair[1].starts_with(&format!("00:00:{:02}.0", 4 * round + 2)), "{format}: {shown:?}");
        }
    }
}

#[test]
fn a_source_that_cannot_be_played_again_says_so() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4");
    let list = dir.path("hls/master.m3u8");
    // FFmpeg's demuxer gives nothing of HLS in fMP4 any more when it has come to its end.
    ffmpeg_in(
        &dir,
        &format!("-i {input} -c copy -f hls -hls_time 10 -hls_segment_type fmp4 -hls_playlist_type vod"),
        &list,
    );
    let output = dir.path("o.mkv");
    let done = run(
        json!({"source": {"url": list, "loop": 2}, "outputs": [{"path": output, "video": {"codec": "copy"}}]}),
    );
    match done.message {
        Some(message) => {
            assert!(message.contains("master.m3u8: cannot be played again"), "{message}");
            assert!(!exists(&output));
        }
        // An FFmpeg that can.
        None => assert_eq!(frames(video(&probe(&output))), 300),
    }
}

/// Runs FFmpeg with an output in a folder that is made for it.
fn ffmpeg_in(dir: &Dir, args: &str, output: &str) {
    std::fs::create_dir_all(dir.path("hls")).unwrap();
    ffmpeg(&format!("{args} {output}"));
}

/// The samples of a file's sound, one channel.
fn sound(path: &str) -> Vec<f32> {
    let out = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-i", path, "-vn", "-ac", "1", "-f", "f32le", "-"])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// The loudest sample within `far` of `around`.
fn loudest(samples: &[f32], around: usize, far: usize) -> usize {
    let near = around - far..around + far;
    near.max_by(|a, b| samples[*a].abs().total_cmp(&samples[*b].abs())).unwrap()
}

#[test]
fn decoded_sound_is_repeated_to_the_sample() {
    const ROUNDS: usize = 10;
    let dir = Dir::new();
    // Shorter than the pictures, longer, and in packets that do not divide them.
    for (name, codec, rate, seconds) in [
        ("short.mov", "pcm_s16le", 48_000, "1.99"),
        ("long.mov", "pcm_s16le", 48_000, "2.05"),
        ("pcm.mkv", "pcm_s16le", 44_100, "2"),
        ("aac.mp4", "aac", 48_000, "2"),
        ("aac.mkv", "aac", 44_100, "2"),
        ("aac.ts", "aac", 48_000, "2"),
        ("opus.mkv", "libopus", 48_000, "2"),
        ("mp3.mp4", "libmp3lame", 48_000, "2"),
    ] {
        let (input, output) = (dir.path(name), dir.path("o.mkv"));
        ffmpeg(&format!(
            "-f lavfi -i testsrc2=s=160x90:r=25:d=2 -f lavfi -i aevalsrc=0.9*eq(mod(n\\,{0})\\,{1}):s={rate}:d={seconds} \
             -c:v libx264 -preset ultrafast -g 25 -c:a {codec} {input}",
            rate / 2,
            rate / 4,
        ));
        complete(
            json!({"source": {"url": input, "loop": ROUNDS - 1}, "outputs": [{"path": output, "overwrite": true,
            "video": {"preset": "p1"}, "audio": {"codec": "flac"}}]}),
        );
        let all = sound(&output);
        let round = 2 * rate;
        assert!(all.len() + rate / 20 >= ROUNDS * round, "{name}: {} samples", all.len());
        // What a container or codec moves, it moves in the first round too.
        let first: Vec<usize> = (0..4).map(|n| loudest(&all, rate / 4 + n * rate / 2, rate / 8)).collect();
        for n in 1..ROUNDS {
            for at in &first {
                let found = loudest(&all, at + n * round, rate / 20);
                assert_eq!(found, at + n * round, "{name}: round {n}");
                assert!(all[found].abs() > 0.1, "{name}: round {n}: {}", all[found]);
            }
            if codec == "pcm_s16le" && n + 1 < ROUNDS {
                assert!(all[n * round..(n + 1) * round] == all[..round], "{name}: round {n}");
            }
        }
    }
}
