//! What television brings: several programs, pictures that change their shape, subtitles that are pictures, sound that begins late or
//! overlaps where recordings are joined.

use crate::support::*;
use ghoststream::Pipeline;
use serde_json::{Value, json};

/// The files of `names` behind one another, as `cat` does it.
fn cat(dir: &Dir, name: &str, names: &[&str]) -> String {
    let bytes = names.iter().flat_map(|name| std::fs::read(dir.path(name)).unwrap()).collect::<Vec<_>>();
    let path = dir.path(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Grey levels of picture `n` in `columns` × `rows` places.
fn grey(path: &str, n: usize, columns: usize, rows: usize) -> Vec<Vec<u8>> {
    let graph = format!("select=eq(n\\,{n}),scale={columns}:{rows}:flags=area,format=gray");
    let out = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-i", path, "-vf", &graph, "-frames:v", "1", "-f", "rawvideo", "-"])
        .output()
        .unwrap();
    out.stdout.chunks(columns).map(<[u8]>::to_vec).collect()
}

fn plan(spec: &Value) -> Value {
    let plan = Pipeline::from_json(&spec.to_string()).unwrap().plan().unwrap();
    serde_json::to_value(plan).unwrap()
}

#[test]
fn pictures_of_another_shape_get_bars() {
    let dir = Dir::new();
    for (name, size, aspect) in
        [("a.ts", "720x576", "16/15"), ("b.ts", "720x576", "64/45"), ("c.ts", "544x576", "32/17")]
    {
        ffmpeg(&format!(
            "-f lavfi -i color=white:s={size}:r=25:d=1,setsar={aspect} -c:v mpeg2video -q:v 4 {}",
            dir.path(name)
        ));
    }
    for (second, output) in [("b.ts", json!({})), ("c.ts", json!({})), ("b.ts", json!({"height": 288}))] {
        let joined = cat(&dir, "joined.ts", &["a.ts", second]);
        let path = dir.path("out.mp4");
        let video = json!({"codec": "h264", "preset": "p1", "width": output.get("width"), "height": output.get("height")});
        let video: serde_json::Map<_, _> =
            video.as_object().unwrap().clone().into_iter().filter(|(_, v)| !v.is_null()).collect();
        complete(
            json!({"source": {"url": joined}, "outputs": [{"path": path, "overwrite": true, "video": video}]}),
        );
        let streams = probe(&path);
        assert!(frames(super::support::video(&streams)) >= 48);
        // Before: white all over. Then 16:9 within 4:3: an eighth of the height is black above and below.
        let (before, after) = (grey(&path, 10, 9, 16), grey(&path, 40, 9, 16));
        assert!(before.iter().flatten().all(|g| *g > 220), "{second}: {before:?}");
        for (row, levels) in after.iter().enumerate() {
            let white = (2..14).contains(&row);
            assert!(
                levels.iter().all(|g| if white { *g > 220 } else { *g < 35 }),
                "{second}: {row}: {after:?}"
            );
        }
    }
}

#[test]
fn sound_is_of_the_pictures_program() {
    let dir = Dir::new();
    let path = dir.path("two.ts");
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=2 -f lavfi -i sine=440:d=2 -f lavfi -i testsrc2=s=160x90:r=25:d=2 \
         -f lavfi -i sine=880:d=2 -map 0 -map 1 -map 2 -map 3 -c:v mpeg2video -c:a mp2 -program title=One:st=0:st=1 \
         -program title=Two:st=2:st=3 {path}"
    ));
    let mp4 = dir.path("out.mp4");
    let of = |video: Value| {
        let plan = plan(&json!({"source": {"url": path}, "outputs": [{"path": mp4, "video": video}]}));
        let tracks = plan["outputs"][0]["tracks"].as_array().unwrap().clone();
        tracks.iter().map(|t| t["stream"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(of(json!({"codec": "h264"})), [0, 1]);
    assert_eq!(of(json!({"codec": "h264", "stream": 2})), [2, 3]);
    let ladder = json!([{"height": 90, "bitrate": "200k"}]);
    let hls = json!({"source": {"url": path}, "outputs": [{"path": dir.path("l/"), "format": "hls", "ladder": ladder}]});
    let plan = plan(&hls);
    let streams: Vec<_> =
        plan["outputs"][0]["tracks"].as_array().unwrap().iter().map(|t| t["stream"].clone()).collect();
    assert_eq!(streams, [json!(0), json!(1)]);
    let source = serde_json::from_value(json!({"url": path})).unwrap();
    let probe = ghoststream::probe::probe(&source, &Default::default()).unwrap();
    let programs: Vec<_> =
        probe.programs.iter().map(|p| (p.name.as_deref().unwrap_or_default(), p.streams.clone())).collect();
    assert_eq!(programs, [("One", vec![0, 1]), ("Two", vec![2, 3])]);
}

#[test]
fn what_is_broadcast_stays_in_transport_streams() {
    let dir = Dir::new();
    let path = dir.path("dvb.ts");
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=3 -f lavfi -i sine=440:d=3 -c:v mpeg2video -c:a ac3 -ac 2 {path}"
    ));
    let copy = dir.path("copy.ts");
    complete(
        json!({"source": {"url": path}, "outputs": [{"path": copy, "video": {"codec": "h264", "preset": "p1"}}]}),
    );
    assert_eq!(audio(&probe(&copy))["codec_name"], "ac3");
    let mp4 = dir.path("out.mp4");
    complete(json!({"source": {"url": path}, "outputs": [{"path": mp4, "video": {"preset": "p1"}}]}));
    assert_eq!(audio(&probe(&mp4))["codec_name"], "aac");
}

#[test]
fn late_sound_of_segments_begins_with_silence() {
    let dir = Dir::new();
    let path = dir.path("late.ts");
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=10 -itsoffset 5 -f lavfi -i sine=440:d=5 -c:v libx264 -preset veryfast \
         -g 50 -c:a aac {path}"
    ));
    let out = dir.path("out/");
    let rungs = json!([{"height": 90, "bitrate": "200k"}]);
    complete(json!({"source": {"url": path}, "outputs": [
        {"path": out, "format": "hls", "ladder": rungs, "segment": {"duration": 2}}
    ]}));
    let text = |name: &str| std::fs::read_to_string(dir.path(&format!("out/{name}"))).unwrap();
    let master = text("master.m3u8");
    let list = master.split("URI=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let list = text(list);
    let lengths: Vec<f64> =
        list.lines().filter_map(|l| l.strip_prefix("#EXTINF:")?.split(',').next()?.parse().ok()).collect();
    assert!(lengths.len() == 5 && (lengths.iter().sum::<f64>() - 10.0).abs() < 0.1, "{list}");
}

#[test]
fn sound_that_overlaps_or_lacks_some_at_a_join_stays_in_sync() {
    let dir = Dir::new();
    // Each piece has a beep from 1.0 to 1.1 s; sound that is longer than the pictures overlaps the next piece's, and that of e.ts
    // leaves a hole.
    for (name, length) in [("a.ts", 2.037), ("b.ts", 2.045), ("c.ts", 2.02), ("d.ts", 2.0), ("e.ts", 1.96)] {
        ffmpeg(&format!(
            "-f lavfi -i color=gray:s=160x90:r=25:d=2 -f lavfi -i \
             aevalsrc='sin(2*PI*1000*t)*between(t,1,1.1)':s=48000:d={length} -c:v mpeg2video -q:v 5 -c:a mp2 -b:a 128k {}",
            dir.path(name)
        ));
    }
    let joined = cat(&dir, "joined.ts", &["e.ts", "a.ts", "b.ts", "c.ts", "a.ts", "b.ts", "d.ts"]);
    let path = dir.path("out.mkv");
    complete(json!({"source": {"url": joined}, "outputs": [
        {"path": path, "video": {"preset": "p1"}, "audio": {"codec": "flac"}}
    ]}));
    let beeps = |path: &str| {
        let out = std::process::Command::new("ffmpeg")
            .args(["-v", "error", "-i", path, "-map", "0:a", "-ac", "1", "-ar", "48000", "-f", "f32le", "-"])
            .output()
            .unwrap();
        let samples: Vec<f32> =
            out.stdout.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        let mut found: Vec<f64> = Vec::new();
        for (n, s) in samples.iter().enumerate() {
            let at = n as f64 / 48000.0;
            if s.abs() > 0.3 && found.last().is_none_or(|last| at - last > 0.5) {
                found.push(at);
            }
        }
        found
    };
    let found = beeps(&path);
    assert_eq!(found.len(), 7, "{found:?}");
    let pictures = times(&path, "v:0");
    for (n, at) in found.iter().enumerate() {
        let expected = pictures.get(n * 50).copied().unwrap_or(n as f64 * 2.0) + 1.0;
        assert!(
            (at - expected).abs() < 0.025,
            "beep {n} at {at:.3}, its pictures say {expected:.3}: {found:?}"
        );
    }
}

#[test]
fn pictures_without_a_time_of_their_own_are_copied() {
    let dir = Dir::new();
    let (path, copy) = (dir.path("program.vob"), dir.path("copy.mkv"));
    ffmpeg(&format!("-f lavfi -i testsrc2=s=320x180:r=25:d=4 -c:v mpeg2video -bf 2 -b:v 300k -f vob {path}"));
    complete(json!({"source": {"url": path}, "outputs": [{"path": copy, "video": {"codec": "copy"}}]}));
    let times = times(&copy, "v:0");
    assert_eq!(times.len(), 100);
    let mut shown = times.clone();
    shown.sort_by(f64::total_cmp);
    assert!(shown.windows(2).all(|pair| (pair[1] - pair[0] - 0.04).abs() < 0.002), "{times:?}");
}

/// Subtitles that are pictures, as Blu-ray has them: a box at one second for two, and another at four seconds.
fn boxes(path: &str) {
    let mut out: Vec<u8> = Vec::new();
    let mut segment = |seconds: u32, kind: u8, data: &[u8]| {
        out.extend(b"PG");
        out.extend((seconds * 90_000).to_be_bytes());
        out.extend([0, 0, 0, 0, kind]);
        out.extend((data.len() as u16).to_be_bytes());
        out.extend(data);
    };
    for (n, (seconds, shown)) in [(1, true), (3, false), (4, true), (6, false)].into_iter().enumerate() {
        let (state, objects) = if shown { (0x80, 1) } else { (0, 0) };
        // 352x288; one object at 100, 200.
        let mut composition = vec![1, 96, 1, 32, 0x10, 0, n as u8, state, 0, 0, objects];
        if shown {
            composition.extend([0, 0, 0, 0, 0, 100, 0, 200]);
        }
        segment(seconds, 0x16, &composition);
        segment(seconds, 0x17, &[1, 0, 0, 100, 0, 200, 0, 40, 0, 20]);
        if shown {
            segment(seconds, 0x14, &[0, 0, 1, 180, 128, 128, 255]);
            let rows = [0, 0x80 | 40, 1, 0, 0].repeat(20);
            let mut object = vec![0, 0, 0, 0xc0, 0, 0, rows.len() as u8 + 4, 0, 40, 0, 20];
            object.extend(rows);
            segment(seconds, 0x15, &object);
        }
        segment(seconds, 0x80, &[]);
    }
    std::fs::write(path, out).unwrap();
}

#[test]
fn subtitles_that_are_pictures_stay_in_ts() {
    let dir = Dir::new();
    let (sup, path) = (dir.path("boxes.sup"), dir.path("dvb.ts"));
    boxes(&sup);
    ffmpeg(&format!(
        "-f lavfi -i color=gray:s=352x288:r=25:d=7 -fix_sub_duration -itsoffset 1 -i {sup} -map 0 -map 1 -c:v mpeg2video -c:s dvbsub -metadata:s:s:0 \
         language=deu {path}"
    ));
    let (copy, mp4) = (dir.path("out.ts"), dir.path("out.mp4"));
    complete(json!({"source": {"url": path}, "outputs": [
        {"path": copy, "video": {"codec": "h264", "preset": "p1"}}, {"path": mp4, "video": {"preset": "p1"}}
    ]}));
    let streams = probe(&copy);
    let words = streams.iter().find(|s| s["codec_type"] == "subtitle").unwrap();
    assert_eq!((&words["codec_name"], &words["tags"]["language"]), (&json!("dvb_subtitle"), &json!("deu")));
    // They stay where they were beside the pictures.
    let shown = |path: &str| times(path, "s:0").iter().map(|t| t - times(path, "v:0")[0]).collect::<Vec<_>>();
    let (before, after) = (shown(&path), shown(&copy));
    assert!(after.len() == 4 && after.len() == before.len(), "{before:?} {after:?}");
    assert!(before.iter().zip(&after).all(|(b, a)| (b - a).abs() < 0.005), "{before:?} {after:?}");
    assert!(probe(&mp4).iter().all(|s| s["codec_type"] != "subtitle"));
    for name in ["o.vtt", "o.srt", "o.ass"] {
        let words = json!({"path": dir.path(name), "subtitles": [{"stream": 1}]});
        let why = failure(json!({"source": {"url": path}, "outputs": [words]}));
        assert!(
            why.contains("stream 1: dvb_subtitle subtitles cannot be carried there; burn them in"),
            "{why}"
        );
    }
    let left_out =
        &plan(&json!({"source": {"url": path}, "outputs": [{"path": mp4}]}))["outputs"][0]["left_out"];
    assert!(left_out.to_string().contains("dvb_subtitle"), "{left_out}");
}
