//! Every mode, format and field does what it says.

use crate::support::*;
use ghoststream::Container;
use ghoststream_server::jobs::{Bounds, Cache, Status};
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_playable_while_it_is_made() {
    let place = Place::new();
    let source = place.clip("in.mp4", 20);
    let jobs = place.open();
    let mut events = jobs.events();
    let begin = Instant::now();
    let view = jobs.start(request(&source, json!({"playback": "growing"})), client("a")).await.unwrap();
    assert_eq!((view.status, view.viewers, view.stream_path), (Status::Queued, 1, Some("master.m3u8")));
    // The request is held until the playlist is there.
    let list = text(&jobs.file(&view.id, "master.m3u8", Duration::from_secs(30)).await.unwrap());
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert!(list.contains("EXT-X-PLAYLIST-TYPE:EVENT") && list.contains("segment_00000.ts"), "{list}");
    let segment = jobs.file(&view.id, "segment_00000.ts", Duration::ZERO).await.unwrap();
    assert_eq!((segment.content_type, segment.cache), ("video/mp2t", Cache::Immutable));
    let done = ready(&jobs, &view.id).await;
    assert_eq!(done.hw_accel_used.as_deref(), Some("software"));
    assert!((done.duration - 20.0).abs() < 0.2 && done.progress == 100.0, "{done:?}");
    let list = text(&jobs.file(&view.id, "master.m3u8", Duration::ZERO).await.unwrap());
    assert!(list.ends_with("#EXT-X-ENDLIST\n"), "{list}");
    let found = probe(&place.job_dir(&view.id).join("master.m3u8"));
    assert_eq!(video(&found)["nb_read_frames"], "500");
    let mut words = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let ghoststream_server::jobs::JobEvent::Status { status, .. } = event {
            words.push(status.name());
        }
    }
    assert_eq!(words, ["processing", "ready"]);
    jobs.close().await;
}

/// Starts a growing stream (or a batch) over a clip and waits for its end.
async fn made(
    place: &Place,
    source: &str,
    body: serde_json::Value,
) -> (ghoststream_server::jobs::Jobs, String) {
    let jobs = place.open();
    let mut body = body;
    if body["mode"] != "batch" {
        body["playback"] = json!("growing");
    }
    let view = jobs.start(request(source, body), client("a")).await.unwrap();
    ready(&jobs, &view.id).await;
    (jobs, view.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adaptive_stream_has_a_ladder_and_subtitles() {
    let place = Place::new();
    let source = place.path("in.mkv").to_string_lossy().into_owned();
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=854x480:r=25:d=3 -f lavfi -i sine=d=3 -c:v libx264 -preset ultrafast {source}"
    ));
    std::fs::write(place.path("de.srt"), "1\n00:00:00,500 --> 00:00:02,000\nHallo\n").unwrap();
    let subtitles = json!([{"url": place.path("de.srt"), "label": "Deutsch", "language": "de", "default": true},
        {"url": place.path("missing.srt"), "language": "en"}]);
    let (jobs, id) = made(&place, &source, json!({"mode": "abr", "subtitles": subtitles})).await;
    let dir = place.job_dir(&id);
    let master = std::fs::read_to_string(dir.join("master.m3u8")).unwrap();
    assert!(master.matches("EXT-X-STREAM-INF").count() >= 2, "{master}");
    for word in
        ["RESOLUTION=854x480", "RESOLUTION=426x240", "NAME=\"Deutsch\"", "LANGUAGE=\"de\"", "stream_0.m3u8"]
    {
        assert!(master.contains(word), "{word}: {master}");
    }
    assert!(dir.join("stream_0_00000.ts").exists());
    let served = jobs.file(&id, "stream_0_00000.ts", Duration::ZERO).await.unwrap();
    assert!(served.etag.is_some());
    let lists: Vec<&str> = master.split('"').filter(|w| w.ends_with(".m3u8")).collect();
    let cues: String = lists.iter().map(|l| std::fs::read_to_string(dir.join(l)).unwrap()).collect();
    assert!(cues.contains(".vtt"), "{cues}");
    let warnings = jobs.get(&id).unwrap().warnings;
    assert!(warnings.iter().any(|w| w.starts_with("subtitles.1: left out")), "{warnings:?}");
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_have_their_size_codec_and_start() {
    let place = Place::new();
    let source = place.path("in.mkv").to_string_lossy().into_owned();
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=1280x720:r=25:d=4 -f lavfi -i sine=d=4 -c:v libx264 -preset ultrafast {source}"
    ));
    let body = json!({"mode": "batch", "start_time": 2.5,
        "output": {"format": "mp4", "resolution": "480p", "bitrate": "600k", "two_pass": true}});
    let (jobs, id) = made(&place, &source, body).await;
    let view = jobs.get(&id).unwrap();
    assert!((view.duration - 1.5).abs() < 0.1 && (view.current_time - 1.5).abs() < 0.1, "{view:?}");
    assert_eq!((view.download_name.as_deref(), view.viewers), (Some("output.mp4"), 0));
    let served = jobs.download(&id).unwrap();
    assert_eq!(served.cache, Cache::Attachment("output.mp4".into()));
    let found = probe(&place.job_dir(&id).join("output.mp4"));
    assert_eq!((&video(&found)["width"], &video(&found)["height"]), (&json!(854), &json!(480)));
    let length: f64 = found["format"]["duration"].as_str().unwrap().parse().unwrap();
    assert!((length - 1.5).abs() < 0.1, "{length}");
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_other_codecs_and_other_containers() {
    let place = Place::new();
    let source = place.clip("in.mkv", 2);
    for (output, name, codec) in [
        (json!({"format": "mkv", "video_codec": "copy", "audio_codec": "copy"}), "output.mkv", "h264"),
        (json!({"format": "mkv", "video_codec": "h265", "audio_codec": "flac"}), "output.mkv", "hevc"),
        (json!({"format": "webm"}), "output.webm", "vp9"),
    ] {
        let (jobs, id) = made(&place, &source, json!({"mode": "batch", "output": output})).await;
        let found = probe(&place.job_dir(&id).join(name));
        assert_eq!(video(&found)["codec_name"], codec);
        jobs.close().await;
    }
}

/// An edit list hides the key frame that the first pictures need: a copy in segments would show what it hides.
#[tokio::test(flavor = "multi_thread")]
async fn a_film_that_hides_its_first_pictures_is_encoded() {
    let place = Place::new();
    let (whole, cut) = (place.clip("whole.mp4", 6), place.path("cut.mp4").to_string_lossy().into_owned());
    ffmpeg(&format!("-ss 1.4 -i {whole} -c copy {cut}"));
    let profile = json!({"video_codecs": ["h264"], "audio_codecs": ["aac"], "containers": ["mp4"]});
    for (source, method) in [(whole, "remux"), (cut, "transcode")] {
        let (jobs, id) =
            made(&place, &source, json!({"profile": profile, "output": {"video_codec": "h264"}})).await;
        let view = jobs.get(&id).unwrap();
        let decision = view.decision.unwrap();
        assert_eq!(decision.method, method, "{source}: {}", decision.reason);
        assert_eq!(decision.reason.contains("edit list"), method == "transcode", "{}", decision.reason);
        jobs.close().await;
    }
}

/// A file takes the place of its source: everything goes into it that has a place there, and the rest is told.
#[tokio::test(flavor = "multi_thread")]
async fn files_keep_every_sound_and_text() {
    let place = Place::new();
    std::fs::write(place.path("w.srt"), "1\n00:00:00,500 --> 00:00:01,500\nWords\n").unwrap();
    let words = place.path("w.srt").to_string_lossy().into_owned();
    let source = place.path("in.mkv").to_string_lossy().into_owned();
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=2 -f lavfi -i sine=d=2 -f lavfi -i sine=f=880:d=2 -i {words} -map 0 -map 1 -map 2 -map 3 \
         -c:v libx264 -preset ultrafast -c:a:0 ac3 -c:a:1 flac -c:s srt -metadata:s:a:1 language=fre {source}"
    ));
    for (output, codecs) in [
        (json!({"format": "mkv"}), "h264 aac aac subrip"),
        (json!({"format": "mp4"}), "h264 aac aac mov_text"),
        (json!({"format": "mkv", "audio_codec": "copy"}), "h264 ac3 flac subrip"),
        (json!({"format": "mp4", "audio_codec": "copy"}), "h264 ac3 flac mov_text"),
        (json!({"format": "webm"}), "vp9 opus opus webvtt"),
    ] {
        let (jobs, id) = made(&place, &source, json!({"mode": "batch", "output": output})).await;
        let view = jobs.get(&id).unwrap();
        let found = probe(&place.job_dir(&id).join(view.download_name.as_deref().unwrap()));
        let streams = found["streams"].as_array().unwrap();
        let made: Vec<&str> = streams.iter().map(|s| s["codec_name"].as_str().unwrap()).collect();
        assert_eq!(made.join(" "), codecs, "{output}");
        assert_eq!(streams[2]["tags"]["language"], "fre", "{output}");
        assert!(!view.warnings.iter().any(|w| w.starts_with("left out")), "{view:?}");
        jobs.close().await;
    }
    // For one client's line there is one sound.
    let one = json!({"mode": "batch", "output": {"format": "mkv"}, "profile": {"max_bitrate": "2M"}});
    let (jobs, id) = made(&place, &source, one).await;
    let warnings = jobs.get(&id).unwrap().warnings;
    assert!(warnings.iter().any(|w| w == "left out: stream 2: flac audio, fre"), "{warnings:?}");
    jobs.close().await;
}

/// What a client says it plays is copied into growing streams and files too, and the status says why or why not.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_plays_is_copied_into_streams_and_files() {
    let place = Place::new();
    let source = place.clip("in.mkv", 6);
    let profile = json!({"video_codecs": ["h264"], "audio_codecs": ["aac"], "containers": ["mp4"]});
    let mp4 = |codec: &str| json!({"format": "mp4", "video_codec": codec});
    for (body, method, words, codec, file) in [
        (json!({"profile": profile}), "remux", "", "h264", "segment_00000.ts"),
        (json!({}), "transcode", "did not say", "h264", "segment_00000.ts"),
        (json!({"profile": profile, "mode": "abr"}), "transcode", "several qualities", "h264", "master.m3u8"),
        (
            json!({"profile": profile, "mode": "batch", "output": mp4("h264")}),
            "remux",
            "",
            "h264",
            "output.mp4",
        ),
        (
            json!({"profile": profile, "mode": "batch", "output": mp4("h265")}),
            "transcode",
            "h265 was asked for",
            "hevc",
            "output.mp4",
        ),
        (
            json!({"profile": profile, "mode": "batch", "output": {"format": "webm"}}),
            "transcode",
            "WebM",
            "vp9",
            "output.webm",
        ),
        (json!({"mode": "batch", "output": mp4("copy")}), "remux", "asked for", "h264", "output.mp4"),
    ] {
        let (jobs, id) = made(&place, &source, body.clone()).await;
        let view = jobs.get(&id).unwrap();
        let decision = view.decision.clone().unwrap_or_else(|| panic!("{body}: no decision"));
        assert_eq!(decision.method, method, "{body}: {decision:?}");
        assert!(decision.reason.contains(words), "{body}: {decision:?}");
        let copied = view.hw_accel_used.is_none();
        assert_eq!(copied, method == "remux", "{body}: {view:?}");
        let told = &view.variants.as_ref().unwrap()[0];
        assert!(told["width"].as_u64().is_some() && told["bitrate"].as_u64().is_some(), "{body}: {told}");
        let path = place.job_dir(&id).join(file);
        let path = if file.ends_with("ts") { place.job_dir(&id).join("master.m3u8") } else { path };
        let found = probe(&path);
        assert_eq!(video(&found)["codec_name"], codec, "{body}");
        if file != "master.m3u8" {
            assert_eq!(video(&found)["nb_read_frames"], "150", "{body}");
        }
        jobs.close().await;
    }
    // Key frames that are too far apart for segments.
    let rare = place.path("rare.mp4").to_string_lossy().into_owned();
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=30 -c:v libx264 -preset ultrafast -g 1000 -sc_threshold 0 -pix_fmt yuv420p {rare}"
    ));
    let (jobs, id) = made(&place, &rare, json!({"profile": profile})).await;
    let decision = jobs.get(&id).unwrap().decision.unwrap();
    assert_eq!(decision.method, "transcode");
    assert!(decision.reason.contains("key frames"), "{decision:?}");
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_begins_late_grows() {
    let place = Place::new();
    let source = place.clip("in.mp4", 6);
    let jobs = place.open();
    let body = json!({"start_time": 2, "output": {"video_codec": "copy"}});
    let view = jobs.start(request(&source, body), client("a")).await.unwrap();
    let view = ready(&jobs, &view.id).await;
    let why = "not on demand: a copy cannot begin between key frames";
    assert!(view.warnings.iter().any(|w| w == why), "{view:?}");
    assert_eq!(view.decision.map(|d| d.method).as_deref(), Some("remux"));
    let found = probe(&place.job_dir(&view.id).join("master.m3u8"));
    assert_eq!(
        (&video(&found)["codec_name"], &video(&found)["nb_read_frames"]),
        (&json!("h264"), &json!("100"))
    );
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_says_where_it_really_begins() {
    let place = Place::new();
    // A key frame every second.
    let source = place.clip("in.mp4", 6);
    for (body, starts, seconds, frames) in [
        (json!({"output": {"video_codec": "copy"}}), 2.0, 4.0, "100"),
        (
            json!({"mode": "batch", "output": {"video_codec": "copy", "audio_codec": "copy", "format": "mkv"}}),
            2.0,
            4.0,
            "100",
        ),
        // Its players hide what lies before.
        (
            json!({"mode": "batch", "output": {"video_codec": "copy", "audio_codec": "copy", "format": "mp4"}}),
            2.5,
            3.5,
            "87",
        ),
        (json!({"playback": "growing"}), 2.5, 3.5, "87"),
    ] {
        let mut body = body;
        body["start_time"] = json!(2.5);
        let jobs = place.open();
        let view = jobs.start(request(&source, body.clone()), client("a")).await.unwrap();
        assert_eq!(view.start_time, 2.5, "that is not known yet");
        let view = ready(&jobs, &view.id).await;
        assert_eq!(view.start_time, starts, "{body}: {view:?}");
        assert!((view.duration - seconds).abs() < 0.1, "{body}: {view:?}");
        assert!((view.current_time - view.duration).abs() < 0.1, "{body}: {view:?}");
        let told = view.warnings.iter().any(|w| w.contains("begins with its key frame at 2.000 s"));
        assert_eq!(told, starts == 2.0, "{body}: {view:?}");
        let file = view.download_name.as_deref().unwrap_or("master.m3u8");
        let found = probe(&place.job_dir(&view.id).join(file));
        let count: i64 = video(&found)["nb_read_frames"].as_str().unwrap().parse().unwrap();
        assert!((count - frames.parse::<i64>().unwrap()).abs() <= 1, "{body}: {count} frames");
        if file == "output.mp4" {
            let length: f64 = found["format"]["duration"].as_str().unwrap().parse().unwrap();
            assert!((length - seconds).abs() < 0.1, "{body}: {length} s");
        }
        jobs.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_rotated_film_is_shown_as_it_was() {
    let place = Place::new();
    let plain = place.clip("plain.mp4", 4);
    let turned = place.path("turned.mp4").to_string_lossy().into_owned();
    ffmpeg(&format!("-i {plain} -c copy -metadata:s:v:0 rotate=90 {turned}"));
    let angle = |path: &std::path::Path| {
        let found = probe(path);
        let side = video(&found)["side_data_list"].as_array().cloned().unwrap_or_default();
        side.iter().find_map(|s| s["rotation"].as_f64()).unwrap_or(0.0)
    };
    let source = angle(std::path::Path::new(&turned));
    assert_eq!(source.abs(), 90.0, "FFmpeg turned it");
    for body in [
        json!({"output": {"video_codec": "copy"}}),
        json!({"playback": "growing", "output": {"video_codec": "copy"}}),
    ] {
        let jobs = place.open();
        let view = jobs.start(request(&turned, body.clone()), client("a")).await.unwrap();
        let view = ready(&jobs, &view.id).await;
        let decision = view.decision.clone().unwrap();
        assert_eq!(decision.method, "remux");
        assert!(decision.reason.contains("the picture is rotated by "), "{body}: {decision:?}");
        let out = place.path(&format!("copy-{}", view.id));
        std::fs::create_dir(&out).unwrap();
        let list = text(&jobs.file(&view.id, "master.m3u8", Duration::from_secs(30)).await.unwrap());
        let mut names = vec!["master.m3u8".to_string()];
        let mut at = 0;
        while let Some(name) = names.get(at).cloned() {
            at += 1;
            let served = jobs.file(&view.id, &name, Duration::from_secs(30)).await.unwrap();
            let bytes = match &served.body {
                ghoststream_server::jobs::Body::Memory(bytes) => bytes.to_vec(),
                ghoststream_server::jobs::Body::File(path) => std::fs::read(path).unwrap(),
            };
            let path = out.join(&name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &bytes).unwrap();
            if name.ends_with(".m3u8") {
                let text = String::from_utf8(bytes).unwrap();
                let base = name.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
                let quoted = text.split("URI=\"").skip(1).filter_map(|t| t.split('"').next());
                let plain = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
                names.extend(quoted.chain(plain).map(|n| format!("{base}{n}")));
            }
        }
        assert!(!list.contains(".ts"), "{body}: {list}");
        assert_eq!(angle(&out.join("master.m3u8")), source, "{body}");
        jobs.close().await;
    }
}

/// Matroska of early FFmpegs does not say that a picture is turned: the film is not shown lying on its side all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_rotated_film_is_shown_as_it_was() {
    let place = Place::new();
    let plain = place.clip("plain.mp4", 2);
    let turned = place.path("turned.mp4").to_string_lossy().into_owned();
    ffmpeg(&format!("-i {plain} -c copy -metadata:s:v:0 rotate=90 {turned}"));
    // Width and height as a player shows them.
    let shown = |path: &std::path::Path| {
        let found = probe(path);
        let video = video(&found);
        let side = video["side_data_list"].as_array().cloned().unwrap_or_default();
        let angle = side.iter().find_map(|s| s["rotation"].as_f64()).unwrap_or(0.0);
        let (w, h) = (video["width"].as_u64().unwrap(), video["height"].as_u64().unwrap());
        if (angle / 90.0).round() as i64 % 2 == 0 { (w, h) } else { (h, w) }
    };
    assert_eq!(shown(std::path::Path::new(&turned)), (180, 320), "FFmpeg turned it");
    let jobs = place.open();
    for (format, container) in [("mp4", Container::Mp4), ("mkv", Container::Mkv)] {
        let body = json!({"mode": "batch", "output": {"format": format, "video_codec": "copy"}});
        let view = jobs.start(request(&turned, body), client("a")).await.unwrap();
        let view = ready(&jobs, &view.id).await;
        assert_eq!(shown(&place.job_dir(&view.id).join(format!("output.{format}"))), (180, 320), "{format}");
        let decision = view.decision.unwrap();
        let (method, reason) = match container.keeps_rotation() {
            true => ("remux", "copying was asked for"),
            false => ("transcode", "copying was asked for, but the picture is rotated by "),
        };
        assert!(decision.method == method && decision.reason.starts_with(reason), "{format}: {decision:?}");
        assert!(!view.warnings.iter().any(|w| w.contains("rotated")), "{:?}", view.warnings);
    }
    assert!(Container::Mp4.keeps_rotation() && !Container::Ts.keeps_rotation());
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hls_and_dash_files_come_as_archives() {
    let place = Place::new();
    let source = place.clip("in.mp4", 2);
    for (format, list) in [("hls", "master.m3u8"), ("dash", "manifest.mpd")] {
        let (jobs, id) = made(&place, &source, json!({"mode": "batch", "output": {"format": format}})).await;
        let served = jobs.download(&id).unwrap();
        let ghoststream_server::jobs::Body::File(path) = served.body else { panic!() };
        let out = place.path(format);
        std::fs::create_dir(&out).unwrap();
        let tar =
            std::process::Command::new("tar").arg("-xf").arg(&path).arg("-C").arg(&out).status().unwrap();
        assert!(tar.success());
        assert_eq!(video(&probe(&out.join(list)))["nb_read_frames"], "50", "{format}");
        assert!(jobs.file(&id, list, Duration::ZERO).await.is_ok(), "it can be streamed too");
        jobs.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hevc_streams_are_fmp4_and_dash_streams_have_a_manifest() {
    let place = Place::new();
    let source = place.clip("in.mp4", 2);
    let (jobs, id) = made(&place, &source, json!({"output": {"video_codec": "h265"}})).await;
    assert!(place.job_dir(&id).join("stream_0_00000.m4s").exists());
    jobs.close().await;
    let (jobs, id) = made(&place, &source, json!({"output": {"format": "dash"}})).await;
    assert_eq!(jobs.get(&id).unwrap().stream_path, Some("manifest.mpd"));
    let served = jobs.file(&id, "manifest.mpd", Duration::ZERO).await.unwrap();
    assert_eq!((served.content_type, text(&served).contains("<MPD")), ("application/dash+xml", true));
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn burnt_in_subtitles_are_in_the_picture() {
    let place = Place::new();
    let source = place.path("black.mkv").to_string_lossy().into_owned();
    ffmpeg(&format!("-f lavfi -i color=black:s=320x180:r=25:d=1 -c:v libx264 -preset ultrafast {source}"));
    std::fs::write(place.path("s.srt"), "1\n00:00:00,000 --> 00:00:02,000\nHELLO HELLO HELLO\n").unwrap();
    let body = json!({"mode": "batch", "output": {"format": "mp4"},
        "subtitles": [{"url": place.path("s.srt"), "burn_in": true}]});
    let (jobs, id) = made(&place, &source, body).await;
    let out = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(place.job_dir(&id).join("output.mp4"))
        .args(["-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo", "-"])
        .output()
        .unwrap();
    let white = out.stdout.iter().filter(|p| **p > 150).count();
    assert!(white > 100, "{white} white pixels");
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_said_clearly() {
    let place = Place::new();
    let source = place.clip("in.mp4", 2);
    let jobs = place.open();
    let missing = place.path("missing.mkv").to_string_lossy().into_owned();
    for (source, body, words) in [
        (missing.as_str(), json!({}), "Failed to get media info from:"),
        (source.as_str(), json!({"start_time": 60}), "start_time: is beyond the end"),
        (source.as_str(), json!({"mode": "abr", "output": {"video_codec": "copy"}}), "output.video_codec:"),
    ] {
        let view = jobs.start(request(source, body), client("a")).await.unwrap();
        let view = over(&jobs, &view.id).await;
        assert_eq!(view.status, Status::Error);
        assert!(view.error.as_deref().unwrap().starts_with(words), "{view:?}");
        assert_eq!(view.attempts, 1, "such mistakes are not tried again");
    }
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_source_is_complete_at_once_and_made_on_demand() {
    let place = Place::new();
    let source = place.path("long.mp4").to_string_lossy().into_owned();
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=120 -f lavfi -i sine=d=120 -c:v libx264 -preset ultrafast -g 250 {source}"
    ));
    let jobs = place.open();
    let view =
        jobs.start(request(&source, json!({"output": {"bitrate": "300k"}})), client("a")).await.unwrap();
    let view = ready(&jobs, &view.id).await;
    assert!((view.duration - 120.0).abs() < 0.5 && view.progress == 100.0, "{view:?}");
    let decision = view.decision.clone().expect("a decision with its reason");
    assert!(!decision.reason.is_empty());
    let list = text(&jobs.file(&view.id, "master.m3u8", Duration::ZERO).await.unwrap());
    assert!(list.ends_with("#EXT-X-ENDLIST\n"), "{list}");
    let last = list.lines().rfind(|l| !l.starts_with('#')).unwrap().to_string();
    let made = || std::fs::read_dir(place.job_dir(&view.id)).unwrap().count();
    let before = made();
    let segment = jobs.file(&view.id, &last, Duration::from_secs(30)).await.unwrap();
    let ghoststream_server::jobs::Body::File(path) = segment.body else { panic!("{segment:?}") };
    assert!(std::fs::metadata(path).unwrap().len() > 1000);
    assert!(before < 30, "nothing but the beginning was made: {before}");
    jobs.close().await;
    drop(jobs);
    // After a restart a viewer goes on where he was.
    let jobs = place.open();
    assert_eq!(jobs.get(&view.id).unwrap().status, Status::Ready);
    jobs.file(&view.id, &last, Duration::from_secs(30)).await.unwrap();
    jobs.cancel(&view.id).await.unwrap();
    assert_eq!(jobs.get(&view.id).unwrap().status, Status::Cancelled);
    assert!(jobs.file(&view.id, &last, Duration::ZERO).await.is_err());
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_source_grows_until_it_is_cancelled() {
    use std::io::{Read, Write};
    let place = Place::new();
    let clip = place.path("live.ts");
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=60 -f lavfi -i sine=d=60 -c:v libx264 -preset ultrafast -g 25 \
         -pix_fmt yuv420p -c:a aac {}",
        clip.display()
    ));
    let data = std::fs::read(&clip).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Every client gets the clip at four times its speed, without a length.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), data) = (stream, data.clone()) else { return };
            std::thread::spawn(move || {
                let _head = stream.read(&mut [0; 4096]);
                let head = "HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n";
                let mut sent = stream.write_all(head.as_bytes());
                for piece in data.chunks(data.len() / 600) {
                    sent = sent.and_then(|()| stream.write_all(piece));
                    std::thread::sleep(Duration::from_millis(25));
                }
            });
        }
    });
    let jobs = place.open();
    let source = format!("http://{address}/live.ts");
    let view = jobs.start(request(&source, json!({})), client("a")).await.unwrap();
    let list = text(&jobs.file(&view.id, "master.m3u8", Duration::from_secs(60)).await.unwrap());
    assert!(list.contains("EXT-X-PLAYLIST-TYPE:EVENT") && !list.contains("ENDLIST"), "{list}");
    let later = until(&jobs, &view.id, "time", |v| v.current_time > 4.0).await;
    assert_eq!((later.status, later.duration), (Status::Processing, 0.0), "{later:?}");
    jobs.cancel(&view.id).await.unwrap();
    let dash =
        jobs.start(request(&source, json!({"output": {"format": "dash"}})), client("a")).await.unwrap();
    let dash = dash.id;
    let manifest = text(&jobs.file(&dash, "manifest.mpd", Duration::from_secs(60)).await.unwrap());
    assert!(manifest.contains("type=\"dynamic\""), "{manifest}");
    until(&jobs, &dash, "more of it", |v| v.current_time > 9.0).await;
    let later = text(&jobs.file(&dash, "manifest.mpd", Duration::ZERO).await.unwrap());
    let start = |text: &str| text.split("availabilityStartTime=\"").nth(1).map(|t| t[..24].to_string());
    assert_eq!(start(&manifest), start(&later), "it stays when it was");
    let timeline = |text: &str| text.split("<SegmentTimeline>").nth(1).map(String::from);
    assert!(timeline(&manifest) != timeline(&later) && later.contains("type=\"dynamic\""), "{later}");
    jobs.cancel(&dash).await.unwrap();
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_more_urgent_job_takes_the_place_of_a_patient_one() {
    let mut place = Place::new();
    place.config.transcoding.max_concurrent_jobs = 1;
    place.config.transcoding.enable_preemption = true;
    let (long, short) = (crate::failures::slow(&place, "long.mp4"), place.clip("short.mp4", 1));
    let jobs = place.open();
    let body = |priority: &str| json!({"mode": "batch", "output": {"format": "mp4"}, "priority": priority});
    let patient = jobs.start(request(&long, body("low")), client("a")).await.unwrap();
    until(&jobs, &patient.id, "frames", |v| v.frame > 0).await;
    let urgent = jobs.start(request(&short, body("high")), client("b")).await.unwrap();
    ready(&jobs, &urgent.id).await;
    assert_eq!(ready(&jobs, &patient.id).await.attempts, 1, "what it had made is not lost");
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_halts_a_file_and_without_preemption_says_what_it_waits_for() {
    let mut place = Place::new();
    place.config.transcoding.max_concurrent_jobs = 1;
    let long = crate::failures::slow(&place, "long.mp4");
    let short = place.clip("short.mp4", 8);
    let batch = json!({"mode": "batch", "output": {"format": "mp4"}});
    let growing = json!({"playback": "growing"});

    let jobs = place.open();
    let file = jobs.start(request(&long, batch.clone()), client("a")).await.unwrap();
    until(&jobs, &file.id, "frames", |v| v.frame > 0).await;
    assert_eq!(jobs.get(&file.id).unwrap().waiting_for, None);
    let stream = jobs.start(request(&short, growing), client("b")).await.unwrap();
    let said = jobs.get(&stream.id).unwrap().waiting_for.unwrap();
    assert_eq!(said, "a place: 1 running job (1 of them making a file), where 1 may run at once");
    let last = jobs.start(request(&short, batch.clone()), client("b")).await.unwrap();
    let said = jobs.get(&last.id).unwrap().waiting_for.unwrap();
    assert!(said.ends_with("; 1 of those that wait go before it"), "{said}");
    jobs.cancel(&last.id).await.unwrap();
    jobs.cancel(&file.id).await.unwrap();
    let done = ready(&jobs, &stream.id).await;
    assert_eq!(done.waiting_for, None);
    jobs.close().await;
    drop(jobs);

    place.config.transcoding.enable_preemption = true;
    let jobs = place.open();
    let file = jobs.start(request(&long, batch), client("a")).await.unwrap();
    until(&jobs, &file.id, "frames", |v| v.frame > 0).await;
    // Not the one that is there from before.
    let other = json!({"playback": "growing", "start_time": 1});
    let stream = jobs.start(request(&short, other), client("b")).await.unwrap();
    let halted = until(&jobs, &file.id, "a halt", |v| v.waiting_for.is_some()).await;
    assert_eq!(halted.status, Status::Processing);
    assert_eq!(halted.waiting_for.as_deref(), Some("1 more urgent job: it is halted until then"));
    assert_eq!((jobs.stats().active, jobs.stats().queued), (1, 1), "it waits too");
    // What was under way is written; then it stands still.
    tokio::time::sleep(Duration::from_millis(800)).await;
    let before = jobs.get(&file.id).unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let after = jobs.get(&file.id).unwrap();
    if jobs.get(&stream.id).unwrap().status == Status::Processing {
        assert!(after.frame <= before.frame + 1, "{} then {} frames", before.frame, after.frame);
    }
    ready(&jobs, &stream.id).await;
    let done = ready(&jobs, &file.id).await;
    assert_eq!((done.attempts, done.waiting_for), (1, None), "it went on where it was");
    assert_eq!(video(&probe(&place.job_dir(&file.id).join("output.mp4")))["nb_read_frames"], "1000");
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halted_job_is_cancelled_like_any_other() {
    let mut place = Place::new();
    place.config.transcoding.max_concurrent_jobs = 1;
    place.config.transcoding.enable_preemption = true;
    let long = crate::failures::slow(&place, "long.mp4");
    let jobs = place.open();
    let batch = |format: &str| request(&long, json!({"mode": "batch", "output": {"format": format}}));
    let file = jobs.start(batch("mp4"), client("a")).await.unwrap();
    until(&jobs, &file.id, "frames", |v| v.frame > 0).await;
    let stream = jobs.start(request(&long, json!({"playback": "growing"})), client("b")).await.unwrap();
    until(&jobs, &file.id, "a halt", |v| v.waiting_for.is_some()).await;
    jobs.cancel(&file.id).await.unwrap();
    let other = jobs.start(batch("mkv"), client("a")).await.unwrap();
    jobs.cancel(&stream.id).await.unwrap();
    until(&jobs, &other.id, "its turn", |v| v.frame > 0).await;
    assert_eq!((jobs.stats().active, jobs.stats().queued), (1, 0));
    jobs.cancel(&other.id).await.unwrap();
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_waits_to_see_comes_before_files() {
    let mut place = Place::new();
    place.config.transcoding.max_concurrent_jobs = 1;
    let (long, short) = (crate::failures::slow(&place, "long.mp4"), place.clip("short.mp4", 1));
    let jobs = place.open();
    let batch = json!({"mode": "batch", "output": {"format": "mp4"}});
    let first = jobs.start(request(&long, batch.clone()), client("a")).await.unwrap();
    until(&jobs, &first.id, "frames", |v| v.frame > 0).await;
    let second = jobs
        .start(request(&long, json!({"mode": "batch", "output": {"format": "mkv"}})), client("a"))
        .await
        .unwrap();
    let stream = jobs.start(request(&short, json!({})), client("a")).await.unwrap();
    ready(&jobs, &stream.id).await;
    assert_ne!(jobs.get(&second.id).unwrap().status, Status::Ready, "it came before, and waits");
    jobs.cancel(&second.id).await.unwrap();
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_render_node_of_the_settings_is_the_one_that_is_opened() {
    let mut place = Place::new();
    place.config.hardware.vaapi_device = "/nowhere/renderD9".into();
    let source = place.clip("in.mp4", 1);
    let jobs = place.open();
    let body = json!({"mode": "batch", "output": {"format": "mp4", "hw_accel": "vaapi"}});
    let view = jobs.start(request(&source, body), client("a")).await.unwrap();
    let told = ready(&jobs, &view.id).await.warnings;
    assert!(told.iter().any(|w| w.contains("open vaapi device /nowhere/renderD9")), "{told:?}");
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_encoders_follow_the_machines_quality() {
    let place = Place::new();
    let source = place.path("in.mp4").to_string_lossy().into_owned();
    // Noise takes every bit that it can get.
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=640x360:r=25:d=80,noise=alls=60:allf=t -c:v libx264 -preset ultrafast -crf 24 -pix_fmt yuv420p {source}"
    ));
    let jobs = place.open();
    let body = json!({"playback": "growing", "output": {"bitrate": "500k"}});
    let view = jobs.start(request(&source, body), client("a")).await.unwrap();
    until(&jobs, &view.id, "some segments", |v| v.current_time > 12.0 || v.status.is_over()).await;
    let mut events = jobs.events();
    jobs.set_bounds(Bounds { quality: 0.4, ..Bounds::default() });
    let told = std::iter::from_fn(|| events.try_recv().ok()).find_map(|e| match e {
        ghoststream_server::jobs::JobEvent::Adapted { job, load } => Some((job, load.quality)),
        _ => None,
    });
    assert_eq!(told, Some((view.id.clone(), 0.4)), "whoever listens hears of it");
    let changed = jobs.get(&view.id).unwrap().current_time;
    let done = ready(&jobs, &view.id).await;
    assert!(changed < 50.0, "it was over too soon: {changed}");
    let told = done.variants.unwrap();
    assert_eq!(
        (&told[0]["bitrate"], done.media_info.unwrap()["height"].clone()),
        (&json!(500_000), json!(360))
    );
    let size = |n: u32| {
        let path = place.job_dir(&view.id).join(format!("segment_{n:05}.ts"));
        std::fs::metadata(path).unwrap().len() as f64
    };
    // The first ones are short, and fill the buffer; the last ones were begun long after the change.
    let (before, after) = ((size(2) + size(3)) / 2.0, (size(18) + size(19)) / 2.0);
    assert!(after < before * 0.6 && after > before * 0.25, "{before} then {after} bytes");
    jobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dash_stream_grows_until_it_is_whole() {
    let place = Place::new();
    let source = place.clip("in.mp4", 40);
    let jobs = place.open();
    let body = json!({"playback": "growing", "output": {"format": "dash"}});
    let view = jobs.start(request(&source, body), client("a")).await.unwrap();
    assert_eq!(view.stream_path, Some("manifest.mpd"));
    let manifest = text(&jobs.file(&view.id, "manifest.mpd", Duration::from_secs(60)).await.unwrap());
    assert!(manifest.contains("type=\"dynamic\"") && manifest.contains("minimumUpdatePeriod"), "{manifest}");
    assert!(manifest.contains("availabilityStartTime=\"20"), "{manifest}");
    let done = ready(&jobs, &view.id).await;
    assert!((done.duration - 40.0).abs() < 0.2, "{done:?}");
    let manifest = text(&jobs.file(&view.id, "manifest.mpd", Duration::ZERO).await.unwrap());
    assert!(manifest.contains("type=\"static\"") && !manifest.contains("minimumUpdatePeriod"), "{manifest}");
    let found = probe(&place.job_dir(&view.id).join("manifest.mpd"));
    assert_eq!(video(&found)["nb_read_frames"], "1000");
    jobs.close().await;
}
