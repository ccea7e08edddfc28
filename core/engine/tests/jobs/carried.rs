//! What goes with the streams: metadata, chapters, attachments, words and their names.

use crate::support::*;
use ghoststream::Pipeline;
use ghoststream::event::Event;
use serde_json::json;

#[test]
fn metadata_chapters_and_subtitles_are_carried() {
    let dir = Dir::new();
    let (clip, srt, meta, input) =
        (clip(&dir, "v.mkv"), dir.path("s.srt"), dir.path("m.txt"), dir.path("in.mkv"));
    std::fs::write(
        &srt,
        "1\n00:00:00,500 --> 00:00:01,500\nHello\n\n2\n00:00:02,000 --> 00:00:03,000\nWorld\n",
    )
    .unwrap();
    std::fs::write(&meta, ";FFMETADATA1\ntitle=A film\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=2000\ntitle=One\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=2000\nEND=4000\ntitle=Two\n").unwrap();
    ffmpeg(&format!(
        "-i {clip} -i {srt} -i {meta} -map 0 -map 1 -map_metadata 2 -map_chapters 2 -c copy -metadata:s:a:0 language=deu -metadata:s:s:0 language=eng {input}"
    ));
    let output = dir.path("o.mp4");
    complete(
        json!({"source": {"url": input}, "outputs": [{"path": output, "video": {"codec": "copy"}, "metadata": {"comment": "made by a test"}}]}),
    );
    let all = told(&output);
    assert_eq!(all["format"]["tags"]["title"], "A film");
    assert_eq!(all["format"]["tags"]["comment"], "made by a test");
    let chapters = all["chapters"].as_array().unwrap();
    assert_eq!(chapters.len(), 2);
    assert_eq!(
        (chapters[1]["tags"]["title"].as_str(), number(&chapters[1]["start_time"])),
        (Some("Two"), 2.0)
    );
    let streams = all["streams"].as_array().unwrap();
    assert_eq!(audio(streams)["tags"]["language"], "deu");
    let text = streams.iter().find(|s| s["codec_type"] == "subtitle").expect("a subtitle stream");
    assert_eq!(
        (text["codec_name"].as_str(), text["tags"]["language"].as_str()),
        (Some("mov_text"), Some("eng"))
    );
    let back = dir.path("back.srt");
    ffmpeg(&format!("-i {output} -map 0:s:0 {back}"));
    let back = std::fs::read_to_string(back).unwrap();
    assert!(
        back.contains("00:00:00,500 --> 00:00:01,500") && back.contains("Hello") && back.contains("World"),
        "{back}"
    );
}

/// What ffprobe tells of a file besides its packets.
fn told(path: &str) -> serde_json::Value {
    let out = std::process::Command::new("ffprobe")
        .args(["-v", "error", "-show_chapters", "-show_format", "-show_streams", "-of", "json", path])
        .output()
        .unwrap();
    serde_json::from_slice(&out.stdout).unwrap()
}

/// The time code that a file's pictures have.
fn timecode(path: &str) -> Option<String> {
    let all = told(path);
    let tags = |s: &serde_json::Value| s["tags"].as_object().cloned().unwrap_or_default();
    let video = all["streams"].as_array().unwrap().iter().find(|s| s["codec_type"] == "video").map(tags)?;
    let own =
        video.into_iter().chain(tags(&all["format"])).find(|(key, _)| key.eq_ignore_ascii_case("timecode"));
    own.and_then(|(_, code)| code.as_str().map(String::from))
}

#[test]
fn time_codes_go_with_the_pictures_and_begin_where_they_do() {
    let dir = Dir::new();
    let input = dir.path("in.mov");
    ffmpeg(&format!(
        "-f lavfi -i testsrc=s=160x90:r=25:d=4 -c:v libx264 -g 25 -timecode 01:02:03:04 {input}"
    ));
    let made = |name: &str, source: serde_json::Value, video: serde_json::Value| {
        let output = dir.path(name);
        let mut from = json!({"url": input});
        from.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        let outputs = json!([{"path": output, "video": video}]);
        let spec = json!({"source": from, "outputs": outputs});
        let plan = Pipeline::from_json(&spec.to_string()).unwrap().plan().unwrap();
        assert!(plan.outputs[0].left_out.is_empty(), "{name}: {:?}", plan.outputs[0].left_out);
        complete(spec);
        timecode(&output)
    };
    let code = |text: &str| Some(text.to_string());
    let (copy, encode) = (json!({"codec": "copy"}), json!({"codec": "h264", "preset": "p1"}));
    assert_eq!(made("copy.mov", json!({}), copy.clone()), code("01:02:03:04"));
    assert_eq!(made("cut.mov", json!({"start": 1.0}), copy.clone()), code("01:02:04:04"));
    for name in ["e.mp4", "e.mov", "e.mkv"] {
        assert_eq!(made(name, json!({}), encode.clone()), code("01:02:03:04"), "{name}");
    }
    assert_eq!(made("later.mp4", json!({"start": 1.92}), encode.clone()), code("01:02:05:02"));
    let twice = json!({"codec": "h264", "preset": "p1", "frame_rate": 50});
    assert_eq!(made("twice.mp4", json!({}), twice), code("01:02:03:08"));
}

#[test]
fn all_sounds_are_asked_for_at_once() {
    let dir = Dir::new();
    let (clip, input) = (clip(&dir, "v.mkv"), dir.path("in.mkv"));
    ffmpeg(&format!(
        "-i {clip} -map 0:v -map 0:a -map 0:a -map 0:a -c copy -metadata:s:a:0 language=eng -metadata:s:a:1 language=ger -metadata:s:a:2 language=eng -metadata:s:a:2 title=Comments {input}"
    ));
    let made = |audio: serde_json::Value| -> Vec<(String, String)> {
        let output = dir.path("o.mkv");
        let document = json!({"path": output, "video": {"codec": "copy"}, "audio": audio, "overwrite": true});
        complete(json!({"source": {"url": input}, "outputs": [document]}));
        let all = told(&output);
        let sounds = all["streams"].as_array().unwrap().iter().filter(|s| s["codec_type"] == "audio");
        let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_string();
        sounds.map(|s| (text(&s["codec_name"]), text(&s["tags"]["language"]))).collect()
    };
    let opus = |language: &str| ("opus".to_string(), language.to_string());
    assert_eq!(made(json!({"all": true, "codec": "opus"})), [opus("eng"), opus("ger"), opus("eng")]);
    assert_eq!(made(json!({"all": true, "codec": "opus", "language": "en"})), [opus("eng"), opus("eng")]);
    assert_eq!(made(json!({"all": true, "codec": "opus", "language": "fr"})), []);
    assert_eq!(made(json!({"codec": "opus"})).len(), 1);
}

#[test]
fn what_is_switched_off_is_not_carried() {
    let dir = Dir::new();
    let (clip, meta, font, input) =
        (clip(&dir, "v.mkv"), dir.path("m.txt"), dir.path("f.ttf"), dir.path("in.mkv"));
    std::fs::write(&meta, ";FFMETADATA1\ntitle=A film\nartist=Somebody\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=4000\ntitle=One\n").unwrap();
    std::fs::write(&font, [7; 100]).unwrap();
    ffmpeg(&format!(
        "-i {clip} -i {meta} -map 0 -map_metadata 1 -map_chapters 1 -c copy -attach {font} -metadata:s:2 mimetype=font/ttf {input}"
    ));
    let made = |name: &str, more: serde_json::Value| {
        let output = dir.path(name);
        let mut document = json!({"path": output, "video": {"codec": "copy"}});
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        complete(json!({"source": {"url": input}, "outputs": [document]}));
        let all = told(&output);
        let tag = |name: &str| all["format"]["tags"][name].as_str().map(String::from);
        // Matroska writes names of tags in capitals.
        let artist = tag("artist").or(tag("ARTIST"));
        let attached = all["streams"].as_array().unwrap().iter().any(|s| s["codec_type"] == "attachment");
        (tag("title"), artist, all["chapters"].as_array().unwrap().len(), attached)
    };
    let some = |text: &str| Some(text.to_string());
    assert_eq!(made("all.mkv", json!({})), (some("A film"), some("Somebody"), 1, true));
    assert_eq!(made("tags.mkv", json!({"copy_metadata": false})), (None, None, 1, true));
    let own = json!({"copy_metadata": false, "metadata": {"artist": "Else"}});
    assert_eq!(made("own.mkv", own), (None, some("Else"), 1, true));
    assert_eq!(made("less.mkv", json!({"metadata": {"title": ""}})), (None, some("Somebody"), 1, true));
    assert_eq!(made("chapters.mkv", json!({"chapters": false})), (some("A film"), some("Somebody"), 0, true));
    assert_eq!(
        made("fonts.mkv", json!({"attachments": false})),
        (some("A film"), some("Somebody"), 1, false)
    );
}

#[test]
fn subtitles_have_the_names_that_they_are_given() {
    let dir = Dir::new();
    let (clip, srt, input) = (clip(&dir, "v.mkv"), dir.path("s.srt"), dir.path("in.mkv"));
    std::fs::write(&srt, "1\n00:00:00,500 --> 00:00:01,500\nHello\n").unwrap();
    ffmpeg(&format!(
        "-i {clip} -i {srt} -map 0 -map 1 -c copy -metadata:s:s:0 language=eng -disposition:s:0 default {input}"
    ));
    let tracks = json!([{"stream": 2, "language": "fre", "title": "Mots"}, {"path": srt, "language": "ger", "default": true}]);
    for (name, document) in [
        ("o.mkv", json!({"path": dir.path("o.mkv")})),
        ("o.mp4", json!({"path": dir.path("o.mp4")})),
        ("set", json!({"path": dir.path("set"), "format": "hls+dash"})),
    ] {
        let mut document = document;
        document["video"] = json!({"codec": "copy"});
        document["subtitles"] = tracks.clone();
        complete(json!({"source": {"url": input}, "outputs": [document]}));
        if name == "set" {
            let read = |list: &str| std::fs::read_to_string(dir.path(&format!("set/{list}"))).unwrap();
            let (master, manifest) = (read("master.m3u8"), read("manifest.mpd"));
            let line = |word: &str| master.lines().find(|l| l.contains(word)).unwrap_or_default().to_string();
            assert!(line("NAME=\"Mots\"").contains("LANGUAGE=\"fr\",DEFAULT=NO"), "{master}");
            assert!(line("TYPE=SUBTITLES,GROUP-ID=\"subs\",NAME=\"de\"").contains("DEFAULT=YES"), "{master}");
            assert!(
                manifest.contains("<Label>Mots</Label>") && manifest.contains("lang=\"de\""),
                "{manifest}"
            );
            // What is shown unasked is the main one.
            let set = manifest.split("<AdaptationSet").find(|set| set.contains("lang=\"de\"")).unwrap();
            assert!(set.contains("value=\"main\""), "{manifest}");
            let other = manifest.split("<AdaptationSet").find(|set| set.contains("lang=\"fr\"")).unwrap();
            assert!(!other.contains("value=\"main\""), "{manifest}");
            continue;
        }
        let all = told(&dir.path(name));
        let texts: Vec<_> =
            all["streams"].as_array().unwrap().iter().filter(|s| s["codec_type"] == "subtitle").collect();
        let of = |i: usize| {
            (texts[i]["tags"]["language"].as_str().unwrap(), texts[i]["disposition"]["default"] == 1)
        };
        assert_eq!((texts.len(), of(1)), (2, ("ger", true)), "{name}");
        // MP4 has a default among all of a kind, whoever asks for one.
        assert_eq!(of(0).0, "fre", "{name}");
        if name == "o.mkv" {
            assert_eq!((of(0).1, texts[0]["tags"]["title"].as_str()), (false, Some("Mots")));
        }
    }
}

#[test]
fn one_of_several_marked_subtitles_is_the_default_of_a_playlist() {
    let dir = Dir::new();
    let (clip, srt, input, root) =
        (clip(&dir, "v.mkv"), dir.path("s.srt"), dir.path("in.mkv"), dir.path("set"));
    std::fs::write(&srt, "1\n00:00:00,500 --> 00:00:01,500\nHello\n").unwrap();
    ffmpeg(&format!(
        "-i {clip} -i {srt} -map 0 -map 1 -map 1 -c copy -disposition:s:0 default -disposition:s:1 default {input}"
    ));
    complete(json!({"source": {"url": input}, "outputs": [
        {"path": root, "format": "hls+dash", "video": {"codec": "copy"}}]}));
    let master = std::fs::read_to_string(format!("{root}/master.m3u8")).unwrap();
    let texts: Vec<&str> = master.lines().filter(|l| l.contains("TYPE=SUBTITLES")).collect();
    assert_eq!(texts.len(), 2);
    assert!(texts[0].contains("DEFAULT=YES") && texts[1].contains("DEFAULT=NO"), "{master}");
}

#[test]
fn covers_are_carried_where_there_is_a_place_for_them() {
    let dir = Dir::new();
    let (clip, cover, mkv, mp4) =
        (clip(&dir, "v.mp4"), dir.path("c.jpg"), dir.path("in.mkv"), dir.path("in.mp4"));
    ffmpeg(&format!("-f lavfi -i testsrc=s=120x80 -frames:v 1 {cover}"));
    ffmpeg(&format!("-i {clip} -attach {cover} -metadata:s:t mimetype=image/jpeg -c copy {mkv}"));
    ffmpeg(&format!("-i {clip} -i {cover} -map 0 -map 1 -c copy -disposition:v:1 attached_pic {mp4}"));
    let bytes = std::fs::read(&cover).unwrap();
    for (i, input) in [mkv, mp4].iter().enumerate() {
        for extension in ["mkv", "mp4", "flac", "mp3", "opus", "webm"] {
            let output = dir.path(&format!("{i}.{extension}"));
            complete(json!({"source": {"url": input}, "outputs": [{"path": output}]}));
            let streams = probe(&output);
            let picture = streams.iter().position(|s| s["disposition"]["attached_pic"] == 1);
            assert_eq!(picture.is_some(), extension != "webm", "{output}");
            let films = streams.iter().filter(|s| s["codec_type"] == "video").count()
                - usize::from(picture.is_some());
            assert_eq!(films, usize::from(!matches!(extension, "flac" | "mp3" | "opus")), "{output}");
            if let Some(picture) = picture {
                let got = dir.path("got.jpg");
                ffmpeg(&format!("-i {output} -map 0:{picture} -c copy -f image2 -update 1 {got}"));
                assert_eq!(std::fs::read(got).unwrap(), bytes, "{output}");
            }
        }
        let without = dir.path(&format!("{i}-without.mp4"));
        complete(json!({"source": {"url": input}, "outputs": [{"path": without, "attachments": false}]}));
        assert!(probe(&without).iter().all(|s| s["disposition"]["attached_pic"] == 0));
    }
}

#[test]
fn a_cover_says_which_it_is() {
    let dir = Dir::new();
    let (cover, song) = (dir.path("c.jpg"), dir.path("song.mp3"));
    ffmpeg(&format!("-f lavfi -i testsrc=s=120x80 -frames:v 1 {cover}"));
    ffmpeg(&format!(
        "-f lavfi -i sine=d=1 -i {cover} -map 0 -map 1 -c:v copy -metadata:s:v title=Album -metadata:s:v comment=Cover_(front) {song}"
    ));
    for name in ["o.flac", "o.opus"] {
        let output = dir.path(name);
        complete(json!({"source": {"url": song}, "outputs": [{"path": output}]}));
        let streams = probe(&output);
        let (before, after) = (probe(&song), video(&streams));
        assert_eq!(after["tags"]["title"], "Album", "{name}");
        assert_eq!(after["tags"]["comment"], video(&before)["tags"]["comment"], "{name}");
    }
}

#[test]
fn the_plan_says_what_an_output_leaves_out() {
    let dir = Dir::new();
    let (clip, font, input) = (clip(&dir, "v.mp4"), dir.path("f.ttf"), dir.path("in.mkv"));
    std::fs::write(&font, [7; 100]).unwrap();
    ffmpeg(&format!(
        "-i {clip} -attach {font} -metadata:s:t mimetype=font/ttf -map 0 -map 0:a -c copy {input}"
    ));
    let spec = json!({"source": {"url": input}, "outputs": [{"path": dir.path("o.mp4")}, {"path": dir.path("o.mkv")}]});
    let plan = Pipeline::from_json(&spec.to_string()).unwrap().plan().unwrap();
    assert_eq!(plan.outputs[0].left_out, ["stream 2: aac audio", "attachment f.ttf"]);
    assert_eq!(plan.outputs[1].left_out, ["stream 2: aac audio"]);
}

#[test]
fn words_that_are_not_utf_8_are_read_as_what_they_are() {
    let dir = Dir::new();
    let (clip, srt, output) = (clip(&dir, "v.mp4"), dir.path("fr.srt"), dir.path("o.mkv"));
    let cue = "O\u{f9} \u{ea}tes-vous ? Pr\u{e8}s de la for\u{ea}t.";
    let coded: Vec<u8> = cue.chars().map(|c| c as u8).collect();
    std::fs::write(&srt, [b"1\n00:00:00,500 --> 00:00:01,500\n".as_slice(), &coded, b"\n"].concat()).unwrap();
    let words = |charset: Option<&str>| {
        let _ = std::fs::remove_file(&output);
        let mut track = json!({"path": srt});
        if let Some(charset) = charset {
            track["charset"] = json!(charset);
        }
        let spec = json!({"source": {"url": clip}, "outputs": [{"path": output, "video": {"codec": "copy"}, "subtitles": [track]}]});
        let warned = events(&start(spec))
            .iter()
            .any(|e| matches!(e, Event::Warning { message, .. } if message.contains("read as windows-1252")));
        let text = dir.path("got.srt");
        ffmpeg(&format!("-i {output} -map 0:s {text}"));
        (std::fs::read_to_string(text).unwrap().lines().nth(2).unwrap_or_default().to_string(), warned)
    };
    assert_eq!(words(None), (cue.to_string(), true));
    assert_eq!(words(Some("latin1")), (cue.to_string(), false));
    assert_eq!(
        words(Some("windows-1250")).0,
        cue.replace('\u{f9}', "\u{16f}").replace('\u{ea}', "\u{119}").replace('\u{e8}', "\u{10d}")
    );
    let unknown = json!({"source": {"url": clip}, "outputs": [{"path": output, "subtitles": [{"path": srt, "charset": "klingon"}]}]});
    let error = Pipeline::from_json(&unknown.to_string()).err().unwrap().to_string();
    assert!(error.contains("outputs[0].subtitles[0].charset"), "{error}");
}

#[test]
fn cues_are_shown_where_they_say() {
    let dir = Dir::new();
    let (clip, vtt) = (clip(&dir, "v.mp4"), dir.path("s.vtt"));
    std::fs::write(&vtt, "WEBVTT\n\n00:00.500 --> 00:01.500 line:10% align:start\nHello\n").unwrap();
    let spec = |path: &str, more: serde_json::Value| {
        let mut output = json!({"path": path, "video": {"codec": "copy"}, "subtitles": [{"path": vtt}]});
        output.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        complete(json!({"source": {"url": clip}, "outputs": [output]}));
    };
    let set = dir.path("set");
    spec(&set, json!({"format": "hls+dash"}));
    let texts: Vec<String> = walk(&set)
        .iter()
        .filter(|p| p.ends_with(".vtt"))
        .map(|p| std::fs::read_to_string(p).unwrap())
        .collect();
    assert!(
        !texts.is_empty() && texts.iter().all(|t| t.contains("00:00:01.500 line:10% align:start\nHello")),
        "{texts:?}"
    );
    // SubRip says it in its text.
    let (srt, placed) = (dir.path("s.srt"), dir.path("placed"));
    std::fs::write(&srt, "1\n00:00:00,500 --> 00:00:01,500\n{\\an8}Hello\n").unwrap();
    spec(&placed, json!({"format": "hls", "subtitles": [{"path": srt}]}));
    let texts: Vec<String> = walk(&placed)
        .iter()
        .filter(|p| p.ends_with(".vtt"))
        .map(|p| std::fs::read_to_string(p).unwrap())
        .collect();
    assert!(texts.iter().any(|t| t.contains("00:00:01.500 line:0\nHello")), "{texts:?}");
    let webm = dir.path("o.webm");
    spec(&webm, json!({"video": {"codec": "vp9", "preset": "p1"}}));
    let back = dir.path("back.vtt");
    ffmpeg(&format!("-i {webm} -map 0:s -c copy {back}"));
    assert!(std::fs::read_to_string(&back).unwrap().contains("line:10% align:start"));
}

/// The files below `root`.
fn walk(root: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path());
    entries
        .flat_map(
            |p| if p.is_dir() { walk(p.to_str().unwrap()) } else { vec![p.to_string_lossy().into_owned()] },
        )
        .collect()
}

#[test]
fn italics_and_bold_are_kept() {
    let dir = Dir::new();
    let (clip, srt) = (clip(&dir, "v.mp4"), dir.path("s.srt"));
    std::fs::write(&srt, "1\n00:00:00,500 --> 00:00:01,500\nGrüße: <i>one</i> & <b>two</b>\n").unwrap();
    for name in ["o.mp4", "o.mkv", "o.webm"] {
        let (output, back) = (dir.path(name), dir.path("back.srt"));
        let video =
            if name == "o.webm" { json!({"codec": "vp9", "preset": "p1"}) } else { json!({"codec": "copy"}) };
        complete(
            json!({"source": {"url": clip}, "outputs": [{"path": output, "video": video, "subtitles": [{"path": srt}]}]}),
        );
        ffmpeg(&format!("-i {output} -map 0:s -c:s srt {back}"));
        let text = std::fs::read_to_string(&back).unwrap();
        assert!(
            text.contains("Grüße: <i>one</i> & <b>two</b>")
                || text.contains("Grüße: <i>one</i> &amp; <b>two</b>"),
            "{name}: {text}"
        );
    }
}

#[test]
fn styles_and_regions_of_webvtt_take_no_cue_away() {
    let dir = Dir::new();
    let (clip, vtt, output) = (clip(&dir, "v.mp4"), dir.path("s.vtt"), dir.path("o.mkv"));
    std::fs::write(&vtt, "WEBVTT\n\nSTYLE\n::cue { color: lime }\n\n00:00.500 --> 00:01.500\nHello\n")
        .unwrap();
    complete(
        json!({"source": {"url": clip}, "outputs": [{"path": output, "video": {"codec": "copy"}, "subtitles": [{"path": vtt}]}]}),
    );
    let back = dir.path("back.srt");
    ffmpeg(&format!("-i {output} -map 0:s -c:s srt {back}"));
    assert!(std::fs::read_to_string(&back).unwrap().contains("Hello"));
}
