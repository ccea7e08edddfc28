//! Playback sessions on real clips: what players are given is read by FFmpeg's own tools.

use ghoststream::PipelineSpec;
use ghoststream::probe::{ProbeOptions, probe};
use ghoststream::spec::{Seconds, SourceSpec};
use ghoststream_server::contract::request::ClientProfile;
use ghoststream_server::jobs::{Body, Cooldowns, FileError, Served};
use ghoststream_server::playback::{InProcess, Limits, Load, Probed, Runner, Session, Setup, Started, Wheel};
use ghoststream_server::worker::Report;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const HOLD: Duration = Duration::from_secs(60);

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Dir {
        Dir(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn ffmpeg(args: &str) {
    let out =
        Command::new("ffmpeg").args(["-v", "error", "-y"]).args(args.split_whitespace()).output().unwrap();
    assert!(out.status.success(), "ffmpeg {args}: {}", String::from_utf8_lossy(&out.stderr));
}

/// `seconds` of 320x180 at 25 fps and a tone, with a key frame every `gop` frames.
fn clip(dir: &Dir, name: &str, seconds: u32, gop: u32) -> String {
    let path = dir.path(name).to_string_lossy().into_owned();
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d={seconds} -f lavfi -i sine=frequency=440:sample_rate=48000:d={seconds} \
         -c:v libx264 -preset veryfast -g {gop} -keyint_min {gop} -sc_threshold 0 -bf 2 -pix_fmt yuv420p -c:a aac {path}"
    ));
    path
}

fn setup(dir: &Dir, input: &str, output: Value) -> Setup {
    let mut document = json!({"path": "unused/master.m3u8", "format": "hls", "subtitles": false,
        "video": {"codec": "h264", "device": "software", "preset": "p1", "bitrate": "300k"},
        "audio": {"codec": "aac"}, "segment": {"duration": 2, "container": "ts"}});
    for (key, value) in output.as_object().unwrap() {
        document[key] = value.clone();
    }
    let spec = json!({"source": {"url": input}, "outputs": [document]});
    let spec = PipelineSpec::from_json(&spec.to_string()).unwrap();
    let found = probe(&spec.source, &ProbeOptions::default()).unwrap();
    let directory = dir.path("segments");
    std::fs::create_dir_all(&directory).unwrap();
    Setup {
        probe: serde_json::to_value(found).unwrap(),
        spec,
        profile: None,
        directory,
        limits: Limits::default(),
    }
}

async fn open(setup: Setup) -> Session {
    Session::open(setup, Arc::new(InProcess)).await.unwrap()
}

fn bytes(served: &Served) -> Vec<u8> {
    match &served.body {
        Body::Memory(bytes) => bytes.to_vec(),
        Body::File(path) => std::fs::read(path).unwrap(),
    }
}

async fn get(session: &Session, path: &str) -> Vec<u8> {
    bytes(&session.file(path, HOLD).await.unwrap_or_else(|e| panic!("{path}: {e:?}")))
}

async fn text(session: &Session, path: &str) -> String {
    String::from_utf8(get(session, path).await).unwrap()
}

/// What a playlist names: segments, and the init segment.
fn uris(playlist: &str) -> Vec<String> {
    let map = playlist.split("#EXT-X-MAP:URI=\"").nth(1).and_then(|t| t.split('"').next());
    let lines = playlist.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    map.into_iter().chain(lines).map(String::from).collect()
}

/// Puts everything that `playlist` names into a folder, in another order than a player would.
async fn fetch(session: &Session, playlist: &str, to: &Path) -> PathBuf {
    let list = text(session, playlist).await;
    let mut names = uris(&list);
    let (mut at, mut order) = (0, Vec::new());
    while !names.is_empty() {
        at = (at * 7 + 5) % names.len();
        order.push(names.remove(at));
    }
    for name in order {
        let data = get(session, &name).await;
        let path = to.join(&name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, data).unwrap();
    }
    let path = to.join(playlist);
    std::fs::write(&path, list).unwrap();
    path
}

/// Decoded video frames and seconds of sound of a playlist; what FFmpeg complains of fails the test.
fn decoded(path: &Path) -> (u64, f64) {
    let run = |args: &[&str]| {
        let out = Command::new("ffprobe").args(["-v", "warning"]).args(args).arg(path).output().unwrap();
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success() && errors.is_empty(), "{}: {errors}", path.display());
        String::from_utf8(out.stdout).unwrap()
    };
    let frames = run(&[
        "-select_streams",
        "v:0",
        "-count_frames",
        "-show_entries",
        "stream=nb_read_frames",
        "-of",
        "csv=p=0",
    ]);
    let samples = run(&["-select_streams", "a:0", "-show_entries", "frame=nb_samples", "-of", "csv=p=0"]);
    let samples: u64 = samples.lines().filter_map(|l| l.trim_end_matches(',').parse::<u64>().ok()).sum();
    let frames = frames.lines().next().and_then(|l| l.trim_end_matches(',').parse().ok()).unwrap_or(0);
    (frames, samples as f64 / 48000.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_listed_at_once_and_made_in_any_order() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4", 13, 130);
    let session = open(setup(&dir, &input, json!({}))).await;
    let began = Instant::now();
    let list = text(&session, "master.m3u8").await;
    assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
    assert!(list.contains("#EXT-X-PLAYLIST-TYPE:VOD") && list.contains("#EXT-X-ENDLIST"), "{list}");
    assert_eq!(uris(&list).len(), 7, "{list}");
    assert_eq!(session.view().started, 0, "nothing is made before it is asked for");
    let playlist = fetch(&session, "master.m3u8", &dir.path("player")).await;
    let (frames, sound) = decoded(&playlist);
    assert_eq!(frames, 13 * 25);
    assert!((sound - 13.0).abs() < 0.05, "{sound} s of sound");
    let view = session.view();
    assert_eq!((view.segments, view.decision.method.as_str()), ((7, 7), "transcode"));
    assert_eq!(view.encoder.as_deref(), Some("libx264"));
}

/// Where the pictures of a segment begin, seconds.
fn begins(dir: &Dir, data: &[u8]) -> f64 {
    let path = dir.path("one.ts");
    std::fs::write(&path, data).unwrap();
    let args =
        ["-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts_time", "-of", "csv=p=0"];
    let out = Command::new("ffprobe").args(args).arg(&path).output().unwrap();
    let times = String::from_utf8(out.stdout).unwrap();
    times.lines().filter_map(|l| l.trim_end_matches(',').parse::<f64>().ok()).fold(f64::MAX, f64::min)
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_begin_where_the_playlist_says_at_any_rate() {
    // Rates at which half a picture is no whole number of microseconds, and a start that is not on a picture.
    for (rate, start) in
        [("30", 5.5), ("12", 1.3), ("48", 0.7), ("20250000/675779", 0.4), ("30000/1001", 2.2)]
    {
        let dir = Dir::new();
        let input = dir.path("in.mp4").to_string_lossy().into_owned();
        ffmpeg(&format!(
            "-f lavfi -i testsrc2=s=160x90:r={rate}:d=17 -f lavfi -i sine=440:sample_rate=48000:d=17 \
             -c:v libx264 -preset ultrafast -g 250 -bf 2 -pix_fmt yuv420p -c:a aac {input}"
        ));
        let mut setup = setup(&dir, &input, json!({}));
        setup.spec.source.start = Some(Seconds(start));
        let session = open(setup).await;
        let list = text(&session, "master.m3u8").await;
        let lengths =
            list.lines().filter_map(|l| l.strip_prefix("#EXTINF:")?.split(',').next()?.parse::<f64>().ok());
        let lengths: Vec<f64> = lengths.collect();
        let names = uris(&list);
        assert!(names.len() >= 6 && names.len() == lengths.len(), "{rate}: {list}");
        let mut first = None;
        let mut expected = 0.0;
        for (name, length) in names.iter().zip(&lengths) {
            let at = begins(&dir, &get(&session, name).await);
            let zero = *first.get_or_insert(at);
            assert!(
                (at - zero - expected).abs() < 0.02,
                "{rate} from {start}: {name} at {}, not {expected}",
                at - zero
            );
            expected += length;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ladder_with_sound_apart_and_subtitles() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mkv", 9, 130);
    let srt = dir.path("words.srt");
    std::fs::write(
        &srt,
        "1\n00:00:00,500 --> 00:00:02,500\nFirst\n\n2\n00:00:05,000 --> 00:00:06,000\nSecond\n",
    )
    .unwrap();
    let session = open(setup(
        &dir,
        &input,
        json!({"format": "hls+dash", "segment": {"duration": 2, "container": "fmp4"},
        "ladder": [{"width": 320, "height": 180, "bitrate": "300k"}, {"width": 160, "height": 90, "bitrate": "100k"}],
        "subtitles": [{"path": srt, "language": "eng", "title": "Words"}]}),
    ))
    .await;
    session.first().await.unwrap();
    let master = text(&session, "master.m3u8").await;
    for word in [
        "RESOLUTION=320x180",
        "RESOLUTION=160x90",
        "TYPE=AUDIO",
        "TYPE=SUBTITLES",
        "CODECS=\"avc1.",
        "mp4a.40.2",
    ] {
        assert!(master.contains(word), "{word}: {master}");
    }
    let player = dir.path("player");
    for list in ["180p.m3u8", "90p.m3u8", "audio.m3u8", "subtitles-0.m3u8"] {
        fetch(&session, list, &player).await;
    }
    std::fs::write(player.join("master.m3u8"), text(&session, "master.m3u8").await).unwrap();
    assert_eq!(decoded(&player.join("180p.m3u8")).0, 225);
    assert_eq!(decoded(&player.join("90p.m3u8")).0, 225);
    let sound = decoded(&player.join("audio.m3u8")).1;
    assert!((sound - 9.0).abs() < 0.05, "{sound}");
    let words = text(&session, "subtitles-0/00001.vtt").await;
    assert!(words.contains("First") && !words.contains("Second"), "{words}");
    // Key frames by themselves, of the smallest picture.
    assert!(
        master.contains("#EXT-X-I-FRAME-STREAM-INF:") && master.contains("URI=\"90p-iframes.m3u8\""),
        "{master}"
    );
    let list = fetch(&session, "90p-iframes.m3u8", &player).await;
    let said = std::fs::read_to_string(&list).unwrap();
    assert!(said.contains("#EXT-X-I-FRAMES-ONLY") && said.contains("90p/key-00003.m4s"), "{said}");
    assert_eq!(decoded(&list).0, 5, "one picture a segment");
    assert!(session.file("180p-iframes.m3u8", HOLD).await.is_err(), "nobody was told of it");
    // The manifest is over the same segments. FFmpeg opens no WebVTT in it.
    let manifest = text(&session, "manifest.mpd").await;
    let text_set = manifest.rfind("<AdaptationSet").unwrap();
    let end = "</AdaptationSet>";
    let behind = text_set + manifest[text_set..].find(end).unwrap() + end.len();
    assert!(manifest[text_set..behind].contains("text/vtt"), "{manifest}");
    let media = format!("{}{}", &manifest[..text_set], &manifest[behind..]);
    std::fs::write(player.join("manifest.mpd"), media).unwrap();
    assert_eq!(decoded(&player.join("manifest.mpd")).0, 225);
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_share_runs() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4", 20, 50);
    let session = open(setup(&dir, &input, json!({}))).await;
    let mut viewers = Vec::new();
    for viewer in 0..12u64 {
        let session = session.clone();
        viewers.push(tokio::spawn(async move {
            for n in 0..10 {
                tokio::time::sleep(Duration::from_millis(viewer * 3)).await;
                assert!(!get(&session, &format!("segment_{n:05}.ts")).await.is_empty());
            }
        }));
    }
    for viewer in viewers {
        viewer.await.unwrap();
    }
    let view = session.view();
    assert_eq!(view.started, 1, "{view:?}");
    assert_eq!(view.made, 10);
    // Two that are far apart, and a third that waits for one of their runs.
    let session = open(setup(&dir, &clip(&dir, "long.mp4", 60, 50), json!({}))).await;
    let ask = |n: u64| {
        let session = session.clone();
        tokio::spawn(async move { get(&session, &format!("segment_{n:05}.ts")).await.len() })
    };
    for wait in [ask(2), ask(14), ask(26)] {
        assert!(wait.await.unwrap() > 0);
    }
    assert!(session.view().runs.0 <= 2, "{:?}", session.view());
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_wait_for_viewers_and_end_without_them() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4", 100, 50);
    let mut setup = setup(&dir, &input, json!({}));
    setup.limits.ahead = 10.0;
    setup.limits.idle = Duration::from_secs(4);
    let session = open(setup).await;
    get(&session, "segment_00003.ts").await;
    let mut last = 0;
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        last = session.view().made;
        if session.view().runs == (1, 1) && last > 3 {
            break;
        }
    }
    let halted = session.view();
    assert_eq!(halted.runs, (1, 1), "it is far enough ahead: {halted:?}");
    tokio::time::sleep(Duration::from_millis(900)).await;
    let later = session.view().made;
    assert!(later < 35, "{last} then {later} of 50 segments");
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(session.view().runs.0, 0, "nobody follows it: {:?}", session.view());
    // And goes on where it is wanted.
    get(&session, "segment_00045.ts").await;
}

/// Makes nothing, and notes for each run whether it was told to halt.
#[derive(Default)]
struct Noted {
    runs: Mutex<Vec<Arc<Halted>>>,
    reports: Mutex<Vec<tokio::sync::mpsc::UnboundedSender<Report>>>,
}

#[derive(Default)]
struct Halted(AtomicBool);

impl Wheel for Halted {
    fn pause(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
    fn resume(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
    fn rate(&self, _: usize, _: u64) {}
    fn cancel(&self) {}
}

impl Runner for Noted {
    fn start(&self, _: PipelineSpec) -> Started {
        let (sender, reports) = tokio::sync::mpsc::unbounded_channel();
        self.reports.lock().unwrap().push(sender);
        let wheel = Arc::new(Halted::default());
        self.runs.lock().unwrap().push(wheel.clone());
        Started { reports, wheel }
    }

    fn probe(&self, source: SourceSpec) -> Probed {
        InProcess.probe(source)
    }
}

/// Its first runs are lost.
struct Shaky(Mutex<u32>);

impl Runner for Shaky {
    fn start(&self, spec: PipelineSpec) -> Started {
        let mut left = self.0.lock().unwrap();
        if *left == 0 {
            return InProcess.start(spec);
        }
        *left -= 1;
        let (sender, reports) = tokio::sync::mpsc::unbounded_channel();
        sender.send(Report::Lost("it was lost".into())).unwrap();
        Started { reports, wheel: Arc::new(Halted::default()) }
    }

    fn probe(&self, source: SourceSpec) -> Probed {
        InProcess.probe(source)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_by_itself_is_tried_again_while_somebody_waits() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4", 6, 50);
    let shaky = Arc::new(Shaky(Mutex::new(3)));
    let session = Session::open(setup(&dir, &input, json!({})), shaky).await.unwrap();
    assert!(get(&session, "segment_00001.ts").await.len() > 1000);
    assert_eq!(session.view().warnings, ["it was lost; tried again"], "no device was asked for");
    session.close().await;
    std::fs::remove_dir_all(dir.path("segments")).unwrap();
    let shaky = Arc::new(Shaky(Mutex::new(3)));
    let session = Session::open(setup(&dir, &input, on("auto")), shaky).await.unwrap();
    assert!(get(&session, "segment_00001.ts").await.len() > 1000);
    let told = session.view().warnings;
    assert_eq!(told, ["it was lost; going on in software", "it was lost; tried again"]);
    session.close().await;
    std::fs::remove_dir_all(dir.path("segments")).unwrap();
    let never = Arc::new(Shaky(Mutex::new(u32::MAX)));
    let session = Session::open(setup(&dir, &input, json!({})), never).await.unwrap();
    let answer = session.file("segment_00001.ts", HOLD).await;
    assert!(matches!(&answer, Err(FileError::Failed(why)) if why == "it was lost"), "{answer:?}");
}

/// Pictures that are encoded on `device`.
fn on(device: &str) -> Value {
    json!({"video": {"codec": "h264", "device": device, "preset": "p1", "bitrate": "300k"}})
}

/// A machine whose NVENC crashes whoever uses it.
#[derive(Default)]
struct Crashing {
    cooldowns: Cooldowns,
    tried: Mutex<u32>,
}

impl Runner for Crashing {
    fn start(&self, spec: PipelineSpec) -> Started {
        let document = serde_json::to_value(&spec).unwrap();
        if !document["outputs"][0].to_string().contains("\"device\":\"cuda\"") {
            return InProcess.start(spec);
        }
        *self.tried.lock().unwrap() += 1;
        let (sender, reports) = tokio::sync::mpsc::unbounded_channel();
        sender.send(Report::Lost("the driver crashed".into())).unwrap();
        Started { reports, wheel: Arc::new(Halted::default()) }
    }

    fn probe(&self, source: SourceSpec) -> Probed {
        InProcess.probe(source)
    }

    fn cooldowns(&self) -> Cooldowns {
        self.cooldowns.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hardware_that_keeps_failing_is_left_alone_by_all_sessions() {
    let input = Dir::new();
    let clip = clip(&input, "in.mp4", 4, 50);
    let machine = Arc::new(Crashing::default());
    let cooldowns = machine.cooldowns();
    let watched = async |device: &str| {
        let dir = Dir::new();
        let session = Session::open(setup(&dir, &clip, on(device)), machine.clone()).await.unwrap();
        assert!(get(&session, "segment_00000.ts").await.len() > 1000);
        let told = session.view().warnings;
        session.close().await;
        (told, *machine.tried.lock().unwrap())
    };
    let fallen = "the driver crashed; going on in software";
    assert_eq!(watched("cuda").await, (vec![fallen.to_string()], 1));
    assert_eq!(watched("cuda").await, (vec![fallen.to_string()], 2));
    let off = "nvenc keeps failing and is off for 5 minutes".to_string();
    assert_eq!(watched("cuda").await, (vec![off, fallen.to_string()], 3));
    // From now on it is not even tried, and whoever watches is told.
    let left = "nvenc keeps failing and is off for another 5 minutes; going on in software".to_string();
    assert_eq!(watched("cuda").await, (vec![left.clone()], 3));
    assert_eq!(watched("auto").await, (vec![left], 3));
    assert_eq!(watched("software").await, (vec![], 3));
    assert_eq!(cooldowns.off().keys().collect::<Vec<_>>(), ["nvenc"]);
    // Who wants no other encoder gets none.
    let dir = Dir::new();
    let mut strict = setup(&dir, &clip, on("cuda"));
    strict.spec.fallback = false;
    let session = Session::open(strict, machine.clone()).await.unwrap();
    let answer = session.file("segment_00000.ts", HOLD).await;
    assert!(matches!(&answer, Err(FileError::Failed(why)) if why == "the driver crashed"), "{answer:?}");
    session.close().await;
}

/// A machine whose NVENC fails under every rung of a run, which goes on in software.
#[derive(Default)]
struct Failing {
    cooldowns: Cooldowns,
    runs: Mutex<u32>,
}

impl Runner for Failing {
    fn start(&self, spec: PipelineSpec) -> Started {
        *self.runs.lock().unwrap() += 1;
        let Started { reports: mut rest, wheel } = InProcess.start(spec);
        let (sender, reports) = tokio::sync::mpsc::unbounded_channel();
        for rung in 0..4 {
            let message = format!("outputs[0].ladder[{rung}]: nvenc failed (device lost); libx264 goes on");
            sender.send(Report::Warning { code: "fallback", message }).unwrap();
        }
        tokio::spawn(async move {
            while let Some(report) = rest.recv().await {
                // The session may have gone.
                let _ = sender.send(report);
            }
        });
        Started { reports, wheel }
    }

    fn probe(&self, source: SourceSpec) -> Probed {
        InProcess.probe(source)
    }

    fn cooldowns(&self) -> Cooldowns {
        self.cooldowns.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hardware_that_fails_under_a_whole_ladder_has_failed_once() {
    let input = Dir::new();
    let clip = clip(&input, "in.mp4", 4, 50);
    let machine = Arc::new(Failing::default());
    for run in 1..=3 {
        let dir = Dir::new();
        let session = Session::open(setup(&dir, &clip, on("software")), machine.clone()).await.unwrap();
        assert!(get(&session, "segment_00000.ts").await.len() > 1000);
        session.close().await;
        assert_eq!(*machine.runs.lock().unwrap(), run);
        assert_eq!(machine.cooldowns().off().contains_key("nvenc"), run == 3, "after {run} runs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_closed_begins_nothing_for_those_who_waited() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4", 60, 50);
    let runner = Arc::new(Noted::default());
    let session = Session::open(setup(&dir, &input, json!({})), runner.clone()).await.unwrap();
    let waits = {
        let session = session.clone();
        tokio::spawn(async move { session.file("segment_00020.ts", HOLD).await })
    };
    let began = Instant::now();
    while session.view().started == 0 {
        assert!(began.elapsed() < HOLD, "nothing is begun");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Its runs end when they are told to.
    let closing = tokio::spawn({
        let session = session.clone();
        async move { session.close().await }
    });
    assert!(matches!(waits.await.unwrap(), Err(FileError::NotFound)));
    runner.reports.lock().unwrap().clear();
    closing.await.unwrap();
    assert!(matches!(session.file("segment_00003.ts", HOLD).await, Err(FileError::NotFound)));
    assert_eq!((session.view().started, session.view().runs), (1, (0, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_after_a_seek_has_the_machine_alone() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4", 60, 50);
    let runner = Arc::new(Noted::default());
    let session = Session::open(setup(&dir, &input, json!({})), runner.clone()).await.unwrap();
    let ask = |n: u64| {
        let session = session.clone();
        tokio::spawn(async move { get(&session, &format!("segment_{n:05}.ts")).await })
    };
    let soon = async |what: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !what() {
            assert!(began.elapsed() < HOLD, "it does not happen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let begun = async |count: usize| soon(&|| runner.runs.lock().unwrap().len() >= count).await;
    let halted =
        || -> Vec<bool> { runner.runs.lock().unwrap().iter().map(|r| r.0.load(Ordering::SeqCst)).collect() };
    let first = ask(2);
    begun(1).await;
    assert_eq!(halted(), [false]);
    // The player seeks: it no longer waits for the one, but for another far behind it, which the first run would make too.
    first.abort();
    let _aborted = first.await;
    let second = ask(20);
    begun(2).await;
    assert_eq!(halted(), [true, false]);
    // And that stays so when runs are looked after.
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(halted(), [true, false]);
    // A second viewer at the first place: both are waited for.
    let third = ask(2);
    soon(&|| halted() == [false, false]).await;
    second.abort();
    third.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn old_segments_go_and_come_again() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4", 60, 50);
    let mut setup = setup(&dir, &input, json!({}));
    (setup.limits.bytes, setup.limits.ahead) = (200_000, 4.0);
    let session = open(setup).await;
    let first = get(&session, "segment_00000.ts").await;
    for n in 1..30 {
        get(&session, &format!("segment_{n:05}.ts")).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let view = session.view();
    assert!(view.bytes < 1_200_000 && view.segments.1 < 20, "{view:?}");
    assert!(!dir.path("segments/video/00000.ts").exists());
    let again = get(&session, "segment_00000.ts").await;
    assert!(!first.is_empty() && !again.is_empty());
    assert!(session.view().made > 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_to_those_who_wait() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4", 12, 50);
    let session = open(setup(&dir, &input, json!({}))).await;
    std::fs::remove_file(&input).unwrap();
    match session.file("segment_00001.ts", HOLD).await {
        Err(FileError::Failed(why)) => assert!(why.contains("in.mp4"), "{why}"),
        other => panic!("{other:?}"),
    }
    for name in [
        "segment_00006.ts",
        "segment_1.ts",
        "segment_00001.m4s",
        "../in.mp4",
        "video/../x",
        "audio.m3u8",
        "",
        "original.mp4",
    ] {
        assert!(matches!(session.file(name, HOLD).await, Err(FileError::NotFound)), "{name}");
    }
    let mut other = setup(&dir, &clip(&dir, "b.mp4", 2, 50), json!({}));
    other.probe = json!({"seekable": false, "streams": []});
    assert!(Session::open(other, Arc::new(InProcess)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_plays_is_not_encoded() {
    let dir = Dir::new();
    let input = clip(&dir, "in.mp4", 12, 45);
    let client = ClientProfile {
        containers: vec!["mp4".into()],
        video_codecs: vec!["h264".into()],
        audio_codecs: vec!["aac".into()],
        ..ClientProfile::default()
    };
    let mut direct = setup(&dir, &input, json!({}));
    direct.profile = Some(client.clone());
    let session = open(direct).await;
    assert_eq!((session.entry(), session.view().decision.method.as_str()), ("original.mp4", "direct"));
    assert_eq!(get(&session, "original.mp4").await, std::fs::read(&input).unwrap());

    let mut remux = setup(&dir, &input, json!({}));
    remux.profile = Some(ClientProfile { containers: vec![], ..client });
    let session = open(remux).await;
    assert_eq!(session.view().decision.method, "remux", "{:?}", session.view());
    let list = fetch(&session, "master.m3u8", &dir.path("player")).await;
    assert_eq!(decoded(&list).0, 300);
    assert_eq!(session.view().encoder, None);
    let durations = std::fs::read_to_string(&list).unwrap();
    assert!(durations.contains("#EXTINF:1.800000,"), "cut at its own key frames: {durations}");
}

#[tokio::test(flavor = "multi_thread")]
async fn key_frames_of_transport_streams() {
    let dir = Dir::new();
    let session = open(setup(&dir, &clip(&dir, "in.mp4", 30, 130), json!({}))).await;
    let key = get(&session, "video/key-00009.ts").await;
    let view = session.view();
    assert_eq!((view.made, view.position), (1, 0.0), "that one only, and nobody is there: {view:?}");
    let whole = get(&session, "segment_00009.ts").await;
    assert!(key.len() < whole.len() && whole.starts_with(&key), "{} of {}", key.len(), whole.len());
    let path = dir.path("key.ts");
    std::fs::write(&path, &key).unwrap();
    assert_eq!(decoded(&path).0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn subtitles_of_the_source_are_read_when_somebody_asks() {
    let dir = Dir::new();
    let plain = clip(&dir, "plain.mkv", 9, 50);
    let (srt, ass) = (dir.path("a.srt"), dir.path("b.ass"));
    std::fs::write(
        &srt,
        "1\n00:00:00,500 --> 00:00:02,500\nFirst\n\n2\n00:00:05,000 --> 00:00:06,000\n<i>Second</i>\n",
    )
    .unwrap();
    ffmpeg(&format!("-i {} {}", srt.display(), ass.display()));
    let input = dir.path("in.mkv").to_string_lossy().into_owned();
    ffmpeg(&format!(
        "-i {plain} -i {} -i {} -map 0 -map 1 -map 2 -c copy {input}",
        srt.display(),
        ass.display()
    ));
    let session = open(setup(
        &dir,
        &input,
        json!({"subtitles": [{"stream": 2, "language": "eng"}, {"stream": 3, "language": "ger"}]}),
    ))
    .await;
    let master = text(&session, "master.m3u8").await;
    assert!(master.contains("LANGUAGE=\"en\"") && master.contains("LANGUAGE=\"de\""), "{master}");
    assert_eq!(session.view().started, 0, "nothing is read before somebody asks");
    for track in 0..2 {
        let list = text(&session, &format!("subtitles-{track}.m3u8")).await;
        assert_eq!(uris(&list).len(), 5, "{list}");
        let words = text(&session, &format!("subtitles-{track}/00001.vtt")).await;
        assert!(words.contains("First") && !words.contains("Second"), "{words}");
        let words = text(&session, &format!("subtitles-{track}/00002.vtt")).await;
        assert!(words.contains("Second") && !words.contains("First"), "{words}");
        let none = text(&session, &format!("subtitles-{track}/00004.vtt")).await;
        assert!(none.starts_with("WEBVTT") && !none.contains("-->"), "{none}");
        let whole = text(&session, &format!("subtitles-{track}.vtt")).await;
        assert_eq!(whole.matches("-->").count(), 2, "{whole}");
        assert!(whole.contains("00:00:05.000 --> 00:00:06.000"), "{whole}");
    }
    session.close().await;
}

/// What ffprobe calls the profile of the pictures.
fn profile_of(dir: &Dir, segment: &[u8]) -> String {
    let path = dir.path("profile.ts");
    std::fs::write(&path, segment).unwrap();
    let out = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v", "-show_entries", "stream=profile", "-of", "csv=p=0"])
        .arg(&path)
        .output()
        .unwrap();
    String::from_utf8_lossy(&out.stdout).lines().next().unwrap_or_default().trim_end_matches(',').to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_quality_of_a_ladder_is_still_a_ladder() {
    let dir = Dir::new();
    let plain = clip(&dir, "plain.mp4", 6, 50);
    let input = dir.path("in.mkv").to_string_lossy().into_owned();
    ffmpeg(&format!(
        "-i {plain} -f lavfi -i sine=frequency=880:d=6 -map 0:v -map 0:a -map 1:a -c:v copy -c:a aac \
         -metadata:s:a:0 language=eng -metadata:s:a:1 language=fre {input}"
    ));
    let rung = json!([{"width": 320, "height": 180, "bitrate": "300k"}]);
    let session = open(setup(&dir, &input, json!({"ladder": rung}))).await;
    let master = text(&session, "master.m3u8").await;
    assert_eq!(master.matches("#EXT-X-STREAM-INF").count(), 1, "{master}");
    let list = uris(&master).into_iter().next().unwrap();
    let whole = fetch(&session, &list, &dir.path("one")).await;
    assert_eq!(decoded(&whole).0, 150);
    session.close().await;
    std::fs::remove_dir_all(dir.path("segments")).unwrap();
    let sounds =
        json!({"ladder": rung, "audio": [{"codec": "aac", "stream": 1}, {"codec": "aac", "stream": 2}]});
    let session = open(setup(&dir, &input, sounds)).await;
    let master = text(&session, "master.m3u8").await;
    for word in ["LANGUAGE=\"en\"", "LANGUAGE=\"fr\"", "URI=\"audio-2.m3u8\"", "AUDIO=\"audio\""] {
        assert!(master.contains(word), "{word}: {master}");
    }
    let second = text(&session, "audio-2.m3u8").await;
    let sound = get(&session, &uris(&second)[0]).await;
    assert!(sound.len() > 1000);
    session.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_under_load_gets_less_to_do() {
    let dir = Dir::new();
    let input = dir.path("in.mp4").to_string_lossy().into_owned();
    // Noise takes every bit that it can get.
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=60,noise=alls=50:allf=t -c:v libx264 -preset ultrafast -crf 20 -pix_fmt yuv420p {input}"
    ));
    let ladder = json!({"ladder": [{"width": 320, "height": 180, "bitrate": "800k"}, {"width": 160, "height": 90, "bitrate": "200k"}],
        "video": {"codec": "h264", "device": "software", "preset": "p3", "profile": "high"}});
    let session = open(setup(&dir, &input, ladder)).await;
    let size = |name: &'static str| {
        let session = session.clone();
        async move { get(&session, name).await.len() as f64 }
    };
    let full = size("180p/00001.ts").await;
    let master = text(&session, "master.m3u8").await;
    assert!(master.contains("RESOLUTION=320x180"));
    let codecs = master.contains("avc1.6400");
    session.adapt(Load { quality: 0.4, faster: 2, drop_top: true });
    // Runs that begin now. The run that was there may be in front of it, so this is far away.
    let saved = size("180p/00025.ts").await;
    assert!(saved < full * 0.7, "{saved} after {full} bytes");
    // x264's fastest preset writes Constrained Baseline where no profile is asked for, and players were told High.
    let segment = get(&session, "180p/00025.ts").await;
    let profile = profile_of(&dir, &segment);
    assert_eq!((profile.as_str(), codecs), ("High", true));
    let master = text(&session, "master.m3u8").await;
    assert!(!master.contains("RESOLUTION=320x180") && master.contains("RESOLUTION=160x90"), "{master}");
    session.adapt(Load::default());
    assert!(text(&session, "master.m3u8").await.contains("RESOLUTION=320x180"));
    assert!(size("180p/00015.ts").await > saved * 1.3, "and back");
}

/// First and last moment of each kind of media in a file, seconds: `(pictures, sound)`.
fn spans(path: &Path) -> [Option<(f64, f64)>; 2] {
    ["v:0", "a:0"].map(|which| {
        let entries = "packet=pts_time,duration_time";
        let args = ["-v", "error", "-select_streams", which, "-show_entries", entries, "-of", "json"];
        let out = Command::new("ffprobe").args(args).arg(path).output().unwrap();
        let json: Value = serde_json::from_slice(&out.stdout).unwrap();
        let number = |p: &Value, name: &str| p[name].as_str().and_then(|t| t.parse::<f64>().ok());
        let spans: Vec<(f64, f64)> = json["packets"]
            .as_array()?
            .iter()
            .filter_map(|p| {
                let at = number(p, "pts_time")?;
                Some((at, at + number(p, "duration_time").unwrap_or(0.0)))
            })
            .collect();
        let first = spans.iter().map(|s| s.0).reduce(f64::min)?;
        Some((first, spans.iter().map(|s| s.1).reduce(f64::max)?))
    })
}

/// Films that begin inside a group of pictures, such as a recording of a broadcast, are copied from their first key frame on.
#[tokio::test(flavor = "multi_thread")]
async fn copies_of_what_begins_inside_a_group_are_what_the_playlist_says() {
    let dir = Dir::new();
    let (whole, input) = (dir.path("whole.ts"), dir.path("cut.ts").to_string_lossy().into_owned());
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=16 -f lavfi -i sine=frequency=440:sample_rate=48000:d=16 -c:v libx264 \
         -preset ultrafast -bf 2 -g 75 -keyint_min 75 -sc_threshold 0 -pix_fmt yuv420p -c:a aac {}",
        whole.display()
    ));
    // The middle of the first group, and of the second.
    let bytes = std::fs::read(&whole).unwrap();
    let packets = bytes.len() / 188;
    for cut in [packets / 16, packets / 4] {
        std::fs::write(&input, &bytes[cut * 188..]).unwrap();
        for container in ["ts", "fmp4"] {
            let name = format!("{container}, packet {cut}");
            let dir = Dir::new();
            let output = json!({"video": {"codec": "copy"}, "audio": {"codec": "copy"},
                "segment": {"duration": 2, "container": container}});
            let session = open(setup(&dir, &input, output)).await;
            assert_eq!(session.view().decision.method, "remux", "{:?}", session.view());
            let lists = match container {
                "ts" => vec!["master.m3u8"],
                _ => vec!["source.m3u8", "audio.m3u8"],
            };
            let mut begin = None;
            for list in lists {
                let path = fetch(&session, list, &dir.path("player")).await;
                let text = std::fs::read_to_string(&path).unwrap();
                let lengths: Vec<f64> = text
                    .lines()
                    .filter_map(|l| l.strip_prefix("#EXTINF:")?.split(',').next()?.parse().ok())
                    .collect();
                let init = text.split("#EXT-X-MAP:URI=\"").nth(1).and_then(|t| t.split('"').next());
                let init = init
                    .map(|name| std::fs::read(dir.path("player").join(name)).unwrap())
                    .unwrap_or_default();
                let mut at: Option<f64> = None;
                let names: Vec<&str> =
                    text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
                assert_eq!(names.len(), lengths.len(), "{name}: {text}");
                for (uri, length) in names.iter().zip(&lengths) {
                    let one = dir.path(&format!("one.{container}"));
                    let media = std::fs::read(dir.path("player").join(uri)).unwrap();
                    std::fs::write(&one, [&init[..], &media].concat()).unwrap();
                    let [pictures, sound] = spans(&one);
                    eprintln!("{name} {list} {uri} EXTINF {length}: {pictures:?} {sound:?}");
                    let (first, end) = pictures.or(sound).unwrap();
                    let expected = *at.get_or_insert(first);
                    let zero = *begin.get_or_insert(first);
                    let slack = if pictures.is_some() { 0.003 } else { 0.03 };
                    assert!(
                        (first - expected).abs() < slack,
                        "{name} {list} {uri}: {first}, not {expected}\n{text}"
                    );
                    assert!(
                        (end - first - length).abs() < 0.05,
                        "{name} {list} {uri}: {first} to {end}\n{text}"
                    );
                    // Sound is that of the pictures.
                    if let Some((heard, over)) = sound {
                        assert!(
                            (heard - first).abs() < 0.05 && (over - end).abs() < 0.05,
                            "{name} {uri}: {sound:?} {pictures:?}"
                        );
                    }
                    at = Some(expected + length);
                    let _ = zero;
                }
                let (frames, heard) = decoded(&path);
                let total: f64 = lengths.iter().sum();
                if list != "audio.m3u8" {
                    assert!(
                        (frames as f64 / 25.0 - total).abs() < 0.05,
                        "{name}: {frames} in {total}\n{text}"
                    );
                }
                if list != "source.m3u8" {
                    assert!((heard - total).abs() < 0.1, "{name}: {heard} s of sound in {total}\n{text}");
                }
            }
        }
    }
}
