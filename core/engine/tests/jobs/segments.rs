//! HLS and DASH: aligned ladders, exact playlists, copies next to encodes.

use crate::support::*;
use serde_json::json;
use std::collections::BTreeSet;

fn ladder(dir: &Dir, input: &str, more: serde_json::Value) -> String {
    let root = dir.path("lad");
    let mut output = json!({"path": format!("{root}/"), "format": "hls+dash", "segment": {"duration": 1},
        "video": {"preset": "p1"}, "ladder": [{"height": 180, "bitrate": "400k"}, {"height": 90, "bitrate": "100k"}]});
    for (key, value) in more.as_object().unwrap() {
        output[key] = value.clone();
    }
    complete(json!({"source": {"url": input}, "outputs": [output]}));
    root
}

#[test]
fn a_ladder_is_aligned_and_every_playlist_decodes() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    let root = ladder(&dir, &input, json!({}));
    let keys = |name: &str| -> BTreeSet<i64> {
        packets(&format!("{root}/{name}.m3u8"))
            .iter()
            .filter(|(_, key)| *key)
            .map(|(t, _)| (t * 1000.0).round() as i64)
            .collect()
    };
    assert_eq!(keys("180p"), keys("90p"), "the same key frames on every rung");
    assert!(keys("180p").len() >= 4);
    for list in ["180p.m3u8", "90p.m3u8"] {
        let streams = probe(&format!("{root}/{list}"));
        assert_eq!(frames(video(&streams)), 100, "{list}");
    }
    assert_eq!(video(&probe(&format!("{root}/90p.m3u8")))["width"], 160);
    let master = std::fs::read_to_string(format!("{root}/master.m3u8")).unwrap();
    for word in [
        "CODECS=\"avc1.",
        "RESOLUTION=320x180",
        "RESOLUTION=160x90",
        "FRAME-RATE=25.000",
        "AVERAGE-BANDWIDTH=",
        "EXT-X-I-FRAME-STREAM-INF",
        "TYPE=AUDIO",
    ] {
        assert!(master.contains(word), "{word} in {master}");
    }
    let dash = probe(&format!("{root}/manifest.mpd"));
    assert_eq!(dash.iter().filter(|s| s["codec_type"] == "video").count(), 2);
    assert!(dash.iter().all(|s| s["codec_type"] != "video" || frames(s) == 100));
    // Every segment but the last is one second, exactly.
    let list = std::fs::read_to_string(format!("{root}/180p.m3u8")).unwrap();
    let durations: Vec<&str> = list.lines().filter_map(|l| l.strip_prefix("#EXTINF:")).collect();
    assert_eq!(durations, ["1.000000,"; 4], "{list}");
}

#[test]
fn an_automatic_ladder_begins_with_what_the_track_says() {
    let rungs = |video: serde_json::Value| {
        let spec = json!({"source": {"pattern": {"width": 1920, "height": 1080, "frames": 30}}, "outputs": [
            {"path": "/nowhere/", "format": "hls", "ladder": "auto", "video": video}]});
        let plan = ghoststream::Pipeline::from_json(&spec.to_string())?.plan()?;
        let detail = |t: &ghoststream::plan::TrackPlan| {
            let (size, rest) = t.detail.split_once(' ').unwrap();
            let rate =
                rest.split(", ").find(|w| w.contains("bit/s") || w.contains("qp") || w.contains("loss"));
            (size.to_string(), rate.unwrap_or_default().to_string())
        };
        Ok::<_, ghoststream::Error>(plan.outputs[0].tracks.iter().map(detail).collect::<Vec<_>>())
    };
    let top = |video: serde_json::Value| {
        let all = rungs(video).unwrap();
        (all[0].clone(), all[1].0.clone())
    };
    let is = |size: &str, rate: &str, next: &str| ((size.to_string(), rate.to_string()), next.to_string());
    assert_eq!(top(json!({})), is("1920x1080", "average 5M bit/s", "1280x720"));
    assert_eq!(top(json!({"height": 720})), is("1280x720", "average 2.8M bit/s", "854x480"));
    assert_eq!(top(json!({"bitrate": "1M"})), is("1920x1080", "average 1M bit/s", "1280x720"));
    assert_eq!(top(json!({"qp": 30})), is("1920x1080", "qp 30", "1280x720"));
    assert_eq!(top(json!({"lossless": true})), is("1920x1080", "lossless", "1280x720"));
    // Nothing is enlarged or distorted that filters have made smaller or turned.
    let crop = json!({"filters": [{"crop": {"x": 0, "y": 0, "width": 1280, "height": 720}}]});
    assert_eq!(top(crop), is("1280x720", "average 2.8M bit/s", "854x480"));
    assert_eq!(top(json!({"filters": [{"rotate": 90}]})), is("1080x1920", "average 5M bit/s", "720x1280"));
    // Nor what the source has not.
    for video in [json!({"height": 1440}), json!({"width": 4000})] {
        assert_eq!(top(video), is("1920x1080", "average 5M bit/s", "1280x720"));
    }
}

#[test]
fn a_rung_is_checked_with_what_it_takes_over() {
    let spec = json!({"source": {"pattern": {"frames": 30}}, "outputs": [{"path": "/nowhere/", "format": "hls",
        "video": {"bitrate": "1M", "cbr": true}, "ladder": [{"height": 360}, {"height": 180, "crf": 30}]}]});
    let e = ghoststream::Pipeline::from_json(&spec.to_string()).unwrap().plan().unwrap_err();
    assert!(e.message().starts_with("outputs[0].ladder[1].cbr: needs bitrate"), "{e}");
}

#[test]
fn sound_that_is_left_out_before_late_pictures_is_told() {
    let dir = Dir::new();
    let (early, late, quiet) = (clip(&dir, "early.mkv"), dir.path("late.mkv"), dir.path("quiet.mkv"));
    ffmpeg(&format!("-itsoffset 1.5 -i {early} -i {early} -map 0:v -map 1:a -c copy {late}"));
    ffmpeg(&format!("-itsoffset 1.5 -i {early} -i {early} -map 0:a -map 1:v -c copy {quiet}"));
    let one = json!({"segment": {"duration": 1}, "video": {"preset": "p1"}});
    let several = json!({"segment": {"duration": 1}, "video": {"preset": "p1"}, "copy_conforming": false,
        "ladder": [{"height": 180}, {"height": 90}]});
    for (n, (input, more, told)) in
        [(&early, &one, 0), (&late, &one, 1), (&late, &several, 1), (&early, &several, 0), (&quiet, &one, 0)]
            .into_iter()
            .enumerate()
    {
        let mut output = json!({"path": dir.path(&n.to_string()), "format": "hls"});
        output.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let job = start(json!({"source": {"url": input}, "outputs": [output]}));
        let said: Vec<String> = events(&job)
            .into_iter()
            .filter_map(|e| match e {
                ghoststream::event::Event::Warning { message, .. } => Some(message),
                _ => None,
            })
            .collect();
        let words = said.iter().filter(|s| s.contains("s of sound before them are left out")).count();
        assert_eq!(words, told, "{n}: {said:?}");
    }
}

#[test]
fn a_conforming_source_is_copied_as_the_top_rung() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4");
    let root = ladder(&dir, &input, json!({"ladder": [{"height": 180}, {"height": 90, "bitrate": "100k"}]}));
    assert_eq!(
        psnr(&format!("{root}/180p.m3u8"), &input),
        f64::INFINITY,
        "the top rung is the source itself"
    );
    let keys = |name: &str| -> Vec<i64> {
        packets(&format!("{root}/{name}.m3u8"))
            .iter()
            .filter(|(_, k)| *k)
            .map(|(t, _)| (t * 1000.0).round() as i64)
            .collect()
    };
    assert_eq!(keys("180p"), keys("90p"), "encoded rungs have the copy's key frames");
}

#[test]
fn transport_stream_segments_hold_picture_and_sound() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    let output = dir.path("hls/");
    complete(
        json!({"source": {"url": input}, "outputs": [{"path": output, "format": "hls", "video": {"preset": "p1"}, "segment": {"duration": 1, "container": "ts"}}]}),
    );
    let streams = probe(&dir.path("hls/master.m3u8"));
    assert_eq!(frames(video(&streams)), 100);
    assert_eq!(audio(&streams)["codec_name"], "aac");
}

/// Cues of a WebVTT text as (start, end, text).
fn cues(text: &str) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for block in text.split("\n\n").filter(|b| b.contains("-->")) {
        let (times, words) = block.split_once('\n').unwrap();
        let (from, to) = times.split_once(" --> ").unwrap();
        all.push((from.to_string(), to.to_string(), words.to_string()));
    }
    all
}

#[test]
fn text_subtitles_become_webvtt_segments_on_the_grid() {
    let dir = Dir::new();
    let (clip, srt, input) = (clip(&dir, "v.mkv"), dir.path("s.srt"), dir.path("in.mkv"));
    std::fs::write(
        &srt,
        "1\n00:00:00,500 --> 00:00:01,500\nFish & <i>chips</i>\n\n2\n00:00:03,100 --> 00:00:03,900\n1 < 2\n",
    )
    .unwrap();
    ffmpeg(&format!("-i {clip} -i {srt} -map 0 -map 1 -c copy -metadata:s:s:0 language=eng {input}"));
    let first = ("00:00:00.500", "00:00:01.500", "Fish &amp; <i>chips</i>");
    let second = ("00:00:03.100", "00:00:03.900", "1 &lt; 2");
    for (container, mpegts, more) in
        [("fmp4", "0", json!({})), ("ts", "126000", json!({"format": "hls", "audio": false}))]
    {
        let mut more = more;
        more["segment"] = json!({"duration": 1, "container": container});
        more["overwrite"] = json!(true);
        let root = ladder(&dir, &input, more);
        let master = std::fs::read_to_string(format!("{root}/master.m3u8")).unwrap();
        assert!(master.contains("TYPE=SUBTITLES") && master.contains("LANGUAGE=\"en"), "{master}");
        let uri = master.lines().find(|l| l.contains("SUBTITLES,")).unwrap();
        let uri = uri.split("URI=\"").nth(1).unwrap().split('"').next().unwrap();
        let list = std::fs::read_to_string(format!("{root}/{uri}")).unwrap();
        let lengths = |list: &str| -> Vec<String> {
            list.lines().filter_map(|l| l.strip_prefix("#EXTINF:")).map(String::from).collect()
        };
        let pictures = std::fs::read_to_string(format!("{root}/180p.m3u8")).unwrap();
        assert_eq!(lengths(&list), lengths(&pictures), "{container}: one grid for all");
        let texts: Vec<String> = list
            .lines()
            .filter(|l| !l.starts_with('#') && !l.is_empty())
            .map(|name| std::fs::read_to_string(format!("{root}/{name}")).unwrap())
            .collect();
        let head = format!("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{mpegts},LOCAL:00:00:00.000\n");
        assert!(texts.iter().all(|t| t.starts_with(&head)), "{container}: {texts:?}");
        let found: Vec<_> = texts.iter().map(|t| cues(t)).collect();
        let owned = |c: (&str, &str, &str)| (c.0.to_string(), c.1.to_string(), c.2.to_string());
        let expected = [vec![owned(first)], vec![owned(first)], vec![], vec![owned(second)]];
        assert_eq!(found, expected, "{container}: a cue is in every segment in which it is shown");
    }
    // DASH has it in one file.
    let root = ladder(&dir, &input, json!({"format": "dash", "overwrite": true}));
    let manifest = std::fs::read_to_string(format!("{root}/manifest.mpd")).unwrap();
    let name = manifest.split("<BaseURL>").nth(1).unwrap().split('<').next().unwrap();
    assert_eq!(cues(&std::fs::read_to_string(format!("{root}/{name}")).unwrap()).len(), 2);
}

#[test]
fn segments_can_go_to_the_application() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv");
    let job = start(
        json!({"source": {"url": input}, "outputs": [{"segments": true, "format": "hls+dash", "segment": {"duration": 1}, "video": {"preset": "p1"}}]}),
    );
    let mut names = Vec::new();
    while let ghoststream::job::Taken::Item(s) = job.next_segment(0, None).unwrap() {
        assert!(!s.data.is_empty());
        names.push(s.name);
    }
    assert!(
        names.iter().any(|n| n == "master.m3u8") && names.iter().any(|n| n == "manifest.mpd"),
        "{names:?}"
    );
    assert_eq!(names.iter().filter(|n| n.starts_with("180p/0")).count(), 4, "{names:?}");
    let done = job.wait(None).unwrap().unwrap();
    assert!(done.into_result().is_ok());
}

#[test]
fn a_head_start_leaves_no_seam() {
    let dir = Dir::new();
    let input = dir.path("in.mp4");
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=30000/1001:d=8 -f lavfi -i sine=d=8 -c:v libx264 -preset veryfast -bf 2 -c:a aac {input}"
    ));
    let total = packets(&input).len();
    let root = dir.path("lad");
    let job = start(
        json!({"source": {"url": input}, "outputs": [{"path": format!("{root}/"), "format": "hls+dash", "segment": {"duration": 2},
        "video": {"preset": "p2"}, "ladder": [{"height": 180, "bitrate": "400k"}, {"height": 90, "bitrate": "100k"}]}]}),
    );
    events(&job);
    let stats = job.stats();
    let lead = stats.stages.iter().find(|s| s.name == "head start").expect("a head start");
    assert!(lead.items_out >= 60, "the first segment is made ahead: {lead:?}");
    for rung in ["180p", "90p"] {
        let list = format!("{root}/{rung}.m3u8");
        let mut times: Vec<f64> = packets(&list).iter().map(|(t, _)| *t).collect();
        times.sort_by(f64::total_cmp);
        assert_eq!(times.len(), total, "{rung}");
        assert!(
            times.windows(2).all(|w| (w[1] - w[0] - 1001.0 / 30000.0).abs() < 0.002),
            "{rung}: {times:?}"
        );
    }
    let keys = |name: &str| -> Vec<i64> {
        packets(&format!("{root}/{name}.m3u8"))
            .iter()
            .filter(|(_, k)| *k)
            .map(|(t, _)| (t * 1000.0).round() as i64)
            .collect()
    };
    assert_eq!(keys("180p"), keys("90p"));
    let master = std::fs::read_to_string(format!("{root}/master.m3u8")).unwrap();
    assert!(
        master.find("180p.m3u8").unwrap() < master.find("90p.m3u8").unwrap(),
        "the document's order: {master}"
    );
}

#[test]
fn a_head_start_in_transport_streams_leaves_the_sound_apart() {
    let dir = Dir::new();
    let input = dir.path("in.mp4");
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=8 -f lavfi -i sine=d=8 -c:v libx264 -preset veryfast -c:a aac {input}"
    ));
    let root = ladder(
        &dir,
        &input,
        json!({"format": "hls", "segment": {"duration": 2, "container": "ts"},
        "ladder": [{"height": 180, "bitrate": "400k"}, {"height": 90, "bitrate": "100k"}]}),
    );
    let master = std::fs::read_to_string(format!("{root}/master.m3u8")).unwrap();
    let variants: Vec<&str> = master.lines().filter(|l| l.starts_with("#EXT-X-STREAM-INF")).collect();
    assert_eq!(variants.len(), 2, "{master}");
    for variant in variants {
        assert!(
            variant.contains("avc1.") && variant.contains("mp4a.") && variant.contains("AUDIO="),
            "{variant}"
        );
    }
    for rung in ["180p", "90p"] {
        let streams = probe(&format!("{root}/{rung}.m3u8"));
        assert_eq!((streams.len(), frames(video(&streams))), (1, 200), "{rung}");
    }
}

/// Encoders get threads by their pixels; one that says how many it wants keeps to it.
#[test]
fn the_rungs_of_a_ladder_share_the_cores() {
    let threads = |cores: u32, top: u32| -> Vec<String> {
        let rung = |w: u32, h: u32, t: u32| json!({"codec": "h264", "encoder": "libx264", "width": w, "height": h, "bitrate": "1M", "threads": t});
        let spec = json!({
            "threads": cores,
            "source": {"pattern": {"kind": "smpte", "width": 1920, "height": 1080, "frames": 30}},
            "outputs": [{"path": "never-written/", "format": "hls", "audio": false, "ladder":
                [rung(1920, 1080, top), rung(1280, 720, 0), rung(854, 480, 0), rung(640, 360, 0)]}],
        });
        let plan = ghoststream::Pipeline::from_json(&spec.to_string()).unwrap().plan().unwrap();
        let said =
            |detail: &str| detail.split(", ").find(|w| w.contains("thread")).unwrap_or_default().to_string();
        plan.outputs[0].tracks.iter().map(|t| said(&t.detail)).collect()
    };
    assert_eq!(threads(2, 0), ["2 threads", "1 thread", "1 thread", "1 thread"]);
    assert_eq!(threads(8, 0), ["5 threads", "3 threads", "1 thread", "1 thread"]);
    assert_eq!(threads(8, 2)[0], "2 threads");
}

/// One encoder by itself fills the machine, and keeps to what the job was told.
#[test]
fn x264_alone_gets_half_as_many_threads_again() {
    let threads = |cores: u32| -> String {
        let spec = json!({
            "threads": cores,
            "source": {"pattern": {"kind": "smpte", "width": 1280, "height": 720, "frames": 30}},
            "outputs": [{"path": "never-written.mp4", "audio": false, "video": {"codec": "h264", "encoder": "libx264"}}],
        });
        let plan = ghoststream::Pipeline::from_json(&spec.to_string()).unwrap().plan().unwrap();
        plan.outputs[0].tracks[0].detail.clone()
    };
    let cores = std::thread::available_parallelism().unwrap().get();
    let said = threads(0);
    assert!(said.contains(&format!("{} threads", (cores + cores / 2).clamp(2, 16))), "{said}");
    assert!(threads(4).contains("4 threads"), "{}", threads(4));
}

#[test]
fn a_variant_tells_every_codec_of_its_sounds() {
    let dir = Dir::new();
    let input = dir.path("in.mkv");
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=2 -f lavfi -i sine=d=2 -map 0:v -map 1:a -map 1:a -c:v libx264 \
         -c:a pcm_s16le -metadata:s:a:0 language=eng -metadata:s:a:1 language=fra {input}"
    ));
    let master = |name: &str, audio: serde_json::Value| {
        let root = dir.path(name);
        complete(json!({"source": {"url": input}, "outputs": [{"path": format!("{root}/"), "format": "hls",
            "video": {"preset": "p1"}, "segment": {"duration": 1, "iframes": false}, "audio": audio}]}));
        std::fs::read_to_string(format!("{root}/master.m3u8")).unwrap()
    };
    let of = |master: &str, tag: &str, words: &[&str]| {
        let has = |l: &&str| l.starts_with(tag) && words.iter().all(|w| l.contains(w));
        master.lines().filter(has).count()
    };
    let sound = |codec: &str, stream: u32| json!({"codec": codec, "stream": stream});
    // Every language in both: who lacks AC-3 has the other group, whole.
    let both = master("both", json!([sound("aac", 1), sound("aac", 2), sound("ac3", 1), sound("ac3", 2)]));
    for (group, there, lacking) in [("\"audio-aac\"", "mp4a.40.2", "ac-3"), ("\"audio-ac3\"", "ac-3", "mp4a")]
    {
        let id = format!("AUDIO={group}");
        assert_eq!(of(&both, "#EXT-X-STREAM-INF", &[&id, there]), 1, "{both}");
        assert_eq!(of(&both, "#EXT-X-STREAM-INF", &[&id, lacking]), 0, "{both}");
        let id = format!("GROUP-ID={group}");
        for language in ["en", "fr"] {
            assert_eq!(of(&both, "#EXT-X-MEDIA", &[&id, &format!("LANGUAGE=\"{language}\"")]), 1, "{both}");
        }
        assert_eq!(of(&both, "#EXT-X-MEDIA", &[&id, "DEFAULT=YES"]), 1, "{both}");
    }
    // A language in AC-3 alone: with everything to choose from, and without AC-3.
    let one = master("one", json!([sound("aac", 1), sound("ac3", 2)]));
    assert_eq!(of(&one, "#EXT-X-STREAM-INF", &["AUDIO=\"audio\"", "mp4a.40.2", "ac-3"]), 1, "{one}");
    assert_eq!(of(&one, "#EXT-X-MEDIA", &["GROUP-ID=\"audio\""]), 2, "{one}");
    assert_eq!(of(&one, "#EXT-X-STREAM-INF", &["AUDIO=\"audio-aac\"", "mp4a.40.2"]), 1, "{one}");
    assert_eq!(of(&one, "#EXT-X-MEDIA", &["GROUP-ID=\"audio-aac\"", "LANGUAGE=\"en\""]), 1, "{one}");
    // One codec: one group, as ever.
    let same = master("same", json!([sound("aac", 1), sound("aac", 2)]));
    assert_eq!(of(&same, "#EXT-X-STREAM-INF", &["AUDIO=\"audio\""]), 1, "{same}");
    assert_eq!(of(&same, "#EXT-X-STREAM-INF", &[]), 1, "{same}");
}

#[test]
fn sound_that_goes_on_behind_the_pictures_is_cut_on() {
    let dir = Dir::new();
    let input = dir.path("long.mp4");
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=3 -f lavfi -i sine=d=9.6 -c:v libx264 -preset veryfast -g 25 \
         -pix_fmt yuv420p -c:a aac {input}"
    ));
    let lengths = |list: &str| -> Vec<f64> {
        list.lines().filter_map(|l| l.strip_prefix("#EXTINF:")?.strip_suffix(',')?.parse().ok()).collect()
    };
    let ladder = json!([{"height": 180}, {"height": 90}]);
    for (n, more) in [
        json!({"format": "hls+dash"}),
        json!({"format": "hls+dash", "ladder": ladder, "segment": {"duration": 2, "playlist": "event"}}),
        json!({"format": "hls", "segment": {"duration": 2, "container": "ts"}}),
        json!({"format": "hls", "audio": {"codec": "opus"}, "video": {"preset": "p1"}}),
    ]
    .into_iter()
    .enumerate()
    {
        let root = dir.path(&n.to_string());
        let mut output = json!({"path": format!("{root}/"), "segment": {"duration": 2}});
        output.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        complete(json!({"source": {"url": input}, "outputs": [output]}));
        let ts = more["segment"]["container"] == "ts";
        let names = std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let names: Vec<String> = names.collect();
        let name = if ts { "180p.m3u8" } else { "audio.m3u8" };
        let list =
            std::fs::read_to_string(format!("{root}/{name}")).unwrap_or_else(|e| panic!("{e}: {names:?}"));
        let told = lengths(&list);
        assert_eq!(told.len(), 5, "{more}: {list}");
        for (length, wanted) in told.iter().zip([2.0, 2.0, 2.0, 2.0, 1.6]) {
            assert!((length - wanted).abs() < 0.06, "{more}: {list}");
        }
        assert!(list.contains("#EXT-X-TARGETDURATION:2\n"), "{list}");
        let streams = probe(&format!("{root}/{name}"));
        let played = times(&format!("{root}/{name}"), "a:0");
        assert!(!streams.is_empty() && played.last().unwrap() - played[0] > 9.5, "{more}: {}", played.len());
        if more["format"] == "hls+dash" {
            let manifest = std::fs::read_to_string(format!("{root}/manifest.mpd")).unwrap();
            let word = |name: &str| -> f64 {
                let value =
                    manifest.split(&format!("{name}=\"PT")).nth(1).unwrap().split('S').next().unwrap();
                value.parse().unwrap()
            };
            assert!((word("mediaPresentationDuration") - 9.6).abs() < 0.06, "{manifest}");
            assert!(word("maxSegmentDuration") < 2.06, "{manifest}");
            assert_eq!(audio(&probe(&format!("{root}/manifest.mpd")))["codec_type"], "audio");
        }
    }
}
