//! Files of subtitles alone, held against what the FFmpeg command makes of the same film.

use crate::support::*;
use ghoststream::package::webvtt::{Cue, parse_srt};
use serde_json::{Value, json};
use std::fs::read_to_string;

const ASS: &str = "[Script Info]\n; Somebody's\nScriptType: v4.00+\nPlayResX: 640\nPlayResY: 360\n\n[V4+ Styles]\n\
    Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
    StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\n\
    Style: Default,Arial,20,&H00FFFFFF,&H000000FF,&H00000000,&H00000000,0,0,0,0,100,100,0,0,1,2,2,2,10,10,10,1\n\
    Style: Sign,Arial,28,&H0000FFFF,&H000000FF,&H00000000,&H00000000,0,-1,0,0,100,100,0,0,1,2,2,8,10,10,10,1\n\n[Events]\n\
    Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n\
    Dialogue: 0,0:00:00.50,0:00:01.00,Default,,0,0,0,,{\\i1}First{\\i0}, line\\Nand second\n\
    Dialogue: 1,0:00:00.50,0:00:01.37,Default,Bob,0,0,0,,{\\an8\\b1}Top{\\b0}\n\
    Dialogue: 0,0:00:01.80,0:00:02.60,Sign,,0,0,0,,{\\pos(10,20)}Sign, here\n\
    Dialogue: 0,0:00:03.20,0:00:03.93,Default,,0,0,0,,Last\n";

const SRT: &str = "1\n00:00:00,500 --> 00:00:01,010\nÜber <i>you</i> & me\n\n\
    2\n00:00:01,500 --> 00:00:02,500\n{\\an8}<font color=\"#ff0000\">At</font> the top\n\n\
    3\n00:00:03,200 --> 00:00:03,900\n<b>Last</b>\n";

/// Four seconds of pictures from one key frame on, with ASS (stream 1) and SubRip (stream 2).
fn film(dir: &Dir) -> String {
    let (ass, srt, film) = (dir.path("in.ass"), dir.path("in.srt"), dir.path("film.mkv"));
    std::fs::write(&ass, ASS).unwrap();
    std::fs::write(&srt, SRT).unwrap();
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=4 -i {ass} -i {srt} -map 0 -map 1 -map 2 -c:v libx264 -preset ultrafast \
         -g 250 -c:s copy {film}"
    ));
    film
}

/// The file that stream `stream` of `source` becomes.
fn words(source: Value, stream: u32, path: &str) -> String {
    complete(json!({"source": source, "outputs": [{"path": path, "subtitles": [{"stream": stream}]}]}));
    read_to_string(path).unwrap()
}

/// The lines of an ASS file that are shown.
fn shown(ass: &str) -> Vec<&str> {
    ass.lines().filter(|line| line.starts_with("Dialogue:")).collect()
}

#[test]
fn subtitles_become_subrip_as_ffmpeg_makes_it() {
    let dir = Dir::new();
    let film = film(&dir);
    for stream in [1, 2] {
        let (ours, theirs) = (dir.path(&format!("{stream}.srt")), dir.path(&format!("{stream}-ffmpeg.srt")));
        let made = words(json!({"url": film}), stream, &ours);
        ffmpeg(&format!("-i {film} -map 0:{stream} {theirs}"));
        let theirs: Vec<Cue> = parse_srt(&read_to_string(&theirs).unwrap());
        assert_eq!(parse_srt(&made), theirs, "{made}");
        assert!(!made.contains("font"), "{made}");
    }
    assert_eq!(
        read_to_string(dir.path("1.srt")).unwrap(),
        "1\n00:00:00,500 --> 00:00:01,000\n<i>First</i>, line\nand second\n\n\
         2\n00:00:00,500 --> 00:00:01,370\n{\\an8}<b>Top</b>\n\n\
         3\n00:00:01,800 --> 00:00:02,600\n{\\an8}<i>Sign, here</i>\n\n\
         4\n00:00:03,200 --> 00:00:03,930\nLast\n\n"
    );
    let made = read_to_string(dir.path("2.srt")).unwrap();
    assert!(
        made.contains("\nÜber <i>you</i> & me\n\n2\n") && made.contains("\n{\\an8}At the top\n"),
        "{made}"
    );
}

#[test]
fn timed_text_and_webvtt_become_subrip_and_ass_with_their_looks() {
    let dir = Dir::new();
    let (film, mp4, vtt) = (film(&dir), dir.path("film.mp4"), dir.path("in.vtt"));
    ffmpeg(&format!("-i {film} -map 0:v -map 0:2 -c:v copy -c:s mov_text {mp4}"));
    let made = words(json!({"url": mp4}), 1, &dir.path("timed.srt"));
    assert!(made.contains("Über <i>you</i> & me\n") && made.contains("\n<b>Last</b>\n"), "{made}");
    let made = words(json!({"url": mp4}), 1, &dir.path("timed.ass"));
    assert!(made.contains("0:00:00.50,0:00:01.01,Default,,0,0,0,,Über {\\i1}you{"), "{made}");
    std::fs::write(
        &vtt,
        "WEBVTT\n\n00:00.500 --> 00:01.500 line:10%\n<v Ann><u>Up</u> &lt;here&gt;\n\n00:02.000 --> 00:03.000 line:-1\nDown\n",
    )
    .unwrap();
    complete(
        json!({"source": {"url": vtt}, "outputs": [{"path": dir.path("o.srt")}, {"path": dir.path("o.ass")}]}),
    );
    let made = read_to_string(dir.path("o.srt")).unwrap();
    assert_eq!(
        made,
        "1\n00:00:00,500 --> 00:00:01,500\n{\\an8}<u>Up</u> <here>\n\n2\n00:00:02,000 --> 00:00:03,000\nDown\n\n"
    );
    let made = read_to_string(dir.path("o.ass")).unwrap();
    assert!(made.contains(",,{\\an8}{\\u1}Up{\\u0} <here>") && made.contains(",,Down"), "{made}");
}

#[test]
fn ass_stays_as_it_is() {
    let dir = Dir::new();
    let film = film(&dir);
    let (ours, theirs) = (dir.path("words.ass"), dir.path("ffmpeg.ass"));
    let made = words(json!({"url": film}), 1, &ours);
    ffmpeg(&format!("-i {film} -map 0:1 -c copy {theirs}"));
    assert_eq!(made, read_to_string(&theirs).unwrap());
    assert_eq!(shown(&made), shown(ASS));
    assert_eq!(probe(&ours)[0]["codec_name"], "ass");
    // A file beside the film is as good as a track, with its own styles.
    let beside = dir.path("beside.ass");
    complete(
        json!({"source": {"url": film}, "outputs": [{"path": beside, "subtitles": [{"path": dir.path("in.ass")}]}]}),
    );
    assert_eq!(read_to_string(&beside).unwrap(), made);
    let (ours, theirs) = (dir.path("other.ass"), dir.path("other-ffmpeg.ass"));
    let made = words(json!({"url": film}), 2, &ours);
    ffmpeg(&format!("-i {film} -map 0:2 {theirs}"));
    assert_eq!(shown(&made), shown(&read_to_string(&theirs).unwrap()));
    assert!(made.starts_with("[Script Info]") && made.contains("\nStyle: Default,"), "{made}");
}

#[test]
fn cuts_of_subtitles_begin_at_nought() {
    let dir = Dir::new();
    let cut = json!({"url": film(&dir), "start": 2, "duration": 1.5});
    let made = words(cut.clone(), 1, &dir.path("cut.srt"));
    assert_eq!(
        made,
        "1\n00:00:00,000 --> 00:00:00,600\n{\\an8}<i>Sign, here</i>\n\n2\n00:00:01,200 --> 00:00:01,500\nLast\n\n"
    );
    let made = words(cut, 1, &dir.path("cut.ass"));
    assert_eq!(
        shown(&made),
        [
            "Dialogue: 0,0:00:00.00,0:00:00.60,Sign,,0,0,0,,{\\pos(10,20)}Sign, here",
            "Dialogue: 0,0:00:01.20,0:00:01.50,Default,,0,0,0,,Last",
        ]
    );
}

#[test]
fn matroska_holds_subtitles_alone() {
    let dir = Dir::new();
    let film = film(&dir);
    let output =
        |path: &str| json!({"path": path, "video": false, "audio": false, "subtitles": [{"stream": 1}]});
    let (one, all, alone) = (dir.path("one.mkv"), dir.path("all.mks"), dir.path("alone.mks"));
    complete(json!({"source": {"url": film}, "outputs": [output(&one), {"path": all}]}));
    complete(json!({"source": {"url": dir.path("in.srt")}, "outputs": [{"path": alone}]}));
    let codecs = |path: &str| -> Vec<String> {
        probe(path).iter().map(|s| s["codec_name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(codecs(&one), ["ass"]);
    assert_eq!(codecs(&all), ["ass", "subrip"]);
    assert_eq!(codecs(&alone), ["subrip"]);
    // Two lines that come at one moment still do.
    assert_eq!(times(&one, "s:0"), [0.5, 0.5, 1.8, 3.2]);
    let why = failure(json!({"source": {"url": film}, "outputs": [output(&dir.path("o.mp4"))]}));
    assert!(why.contains("mp4 is not made of subtitles alone; mkv, srt, ass and vtt are"), "{why}");
    let none = json!({"path": dir.path("none.mkv"), "video": false, "audio": false, "subtitles": false});
    let why = failure(json!({"source": {"url": film}, "outputs": [none]}));
    assert!(why.contains("is left for it"), "{why}");
    for name in ["o.srt", "o.ass"] {
        let why = failure(json!({"source": {"url": film}, "outputs": [{"path": dir.path(name)}]}));
        assert!(why.contains("exactly one track of subtitles"), "{why}");
    }
}
