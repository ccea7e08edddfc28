//! Capture, encoder, output, run for real and checked by ffprobe and ffmpeg.

mod clips;

use ghoststream::event::{Event, Next, Outcome};
use ghoststream::spec::{PatternSpec, SourceSpec};
use ghoststream::{
    CaptureBackend, CaptureConfig, Codec, EncoderBackend, EncoderConfig, EncoderPreset, ErrorKind, Output,
    Pipeline, PipelineBuilder, PipelineSpec, Preset, RtmpService,
};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// The smallest executor there is: the API must need no more.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn ffprobe(path: &Path, entries: &str) -> Vec<String> {
    let out = Command::new("ffprobe")
        .args(["-v", "error", "-count_packets", "-show_entries", entries, "-of", "csv=p=0"])
        .arg(path)
        .output()
        .expect("the ffprobe program is needed for tests");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).lines().map(str::to_string).collect()
}

fn decodes(path: &Path) {
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-xerror", "-nostdin", "-i", clips::text(path), "-f", "null", "-"])
        .status();
    assert!(status.expect("the ffmpeg program is needed for tests").success(), "{}", path.display());
}

/// A clip of `frames`, coded quickly.
fn small(frames: u64) -> PipelineBuilder {
    PipelineBuilder::new().capture(CaptureConfig::pattern(clips::pattern(frames))).encoder(quick())
}

fn quick() -> EncoderConfig {
    EncoderConfig::default()
        .with_preset(EncoderPreset::Fastest)
        .with_bitrate_kbps(400)
        .with_backend(EncoderBackend::Software)
}

#[test]
fn a_built_pipeline_makes_the_file_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mkv");
    let pipeline = small(50)
        .preset(Preset::Discord720p)
        .resolution(160, 90)
        .fps(25)
        .with_audio()
        .output(Output::file(&path))
        .build()
        .unwrap();
    let done = pipeline.start().job().unwrap().wait(None).unwrap().unwrap().into_result().unwrap();
    assert_eq!((done.outcome, done.outputs), (Outcome::Completed, vec![clips::text(&path).to_string()]));
    assert!(pipeline.job().is_none() && !pipeline.is_running(), "`job()` hands it out");
    let streams =
        ffprobe(&path, "stream=codec_name,width,height,has_b_frames,r_frame_rate,channels,nb_read_packets");
    assert_eq!(streams[0], "h264,160,90,0,25/1,50");
    assert!(streams[1].starts_with("aac,2,"), "{streams:?}");
    decodes(&path);
}

#[test]
fn a_started_pipeline_keeps_its_job_until_it_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("live.mkv");
    let endless = PatternSpec { frames: None, tone: true, ..clips::pattern(1) };
    let pipeline = Pipeline::new(CaptureConfig::pattern(endless), quick(), Output::file(&path)).unwrap();
    block_on(async {
        assert_eq!(pipeline.stats().await.unwrap_err().kind(), ErrorKind::State);
        assert_eq!(pipeline.stop().await.unwrap_err().kind(), ErrorKind::State);
        pipeline.start().await?;
        assert!(pipeline.is_running());
        assert_eq!(pipeline.start().await.err().unwrap().kind(), ErrorKind::State, "it runs already");
        let began = Instant::now();
        while pipeline.stats().await?.tracks.iter().all(|t| t.time < 0.8) {
            assert!(began.elapsed() < Duration::from_secs(30), "nothing is recorded");
            std::thread::sleep(Duration::from_millis(20));
        }
        // The clock's speed: the picture cannot be much ahead of it.
        assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
        pipeline.reconfigure_encoder(&quick().with_bitrate_kbps(200))?;
        let e = pipeline.reconfigure_encoder(&quick().with_codec(Codec::HEVC)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported);
        let e = pipeline.reconfigure_encoder(&quick().with_resolution(64, 36)).unwrap_err();
        assert!(e.kind() == ErrorKind::Unsupported && e.message().contains("says the size"), "{e}");
        pipeline.reconfigure_encoder(&quick().with_bitrate_kbps(200).with_fps(5))?;
        let e = pipeline.switch_capture(&CaptureConfig::monitor("DP-1")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NotFound, "{e}");
        let e = pipeline.switch_capture(&CaptureConfig::url("a.mkv")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported, "{e}");
        let e = pipeline.set_audio_source("mic").unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NotFound, "{e}");
        let done = pipeline.stop().await?;
        assert_eq!(done.outcome, Outcome::Stopped);
        assert!(!pipeline.is_running());
        // Again, and by the other way of waiting.
        assert_eq!(pipeline.stop().done()?.outcome, Outcome::Stopped);
        Ok::<(), ghoststream::Error>(())
    })
    .unwrap();
    let seconds: f64 = ffprobe(&path, "format=duration")[0].parse().unwrap();
    assert!((0.7..20.0).contains(&seconds), "{seconds}");
    decodes(&path);
}

#[test]
fn each_output_is_compared_with_what_it_was_changed_to() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["fast.mkv", "slow.mkv"].map(|name| dir.path().join(name));
    let video = |rate: u32| {
        let made = small(1).output(Output::file(&paths[0])).build().unwrap();
        let mut video = serde_json::to_value(&*made.spec()).unwrap()["outputs"][0]["video"].take();
        video["frame_rate"] = rate.into();
        video
    };
    let spec = serde_json::json!({
        "source": {"pattern": {"width": 160, "height": 90, "frame_rate": 25}, "realtime": true},
        "outputs": [{"path": paths[0], "video": video(25)}, {"path": paths[1], "video": video(10)}],
    });
    let pipeline = Pipeline::from_json(&spec.to_string()).unwrap();
    let until = |seconds: f64| {
        let began = Instant::now();
        let behind = |tracks: &[ghoststream::job::TrackStats]| {
            tracks.len() < 2 || tracks.iter().any(|t| t.time < seconds)
        };
        while behind(&block_on(pipeline.stats()).unwrap().tracks) {
            assert!(began.elapsed() < Duration::from_secs(60), "nothing is recorded");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    block_on(async { pipeline.start().await }).unwrap();
    until(0.8);
    pipeline.reconfigure_encoder(&quick().with_bitrate_kbps(200)).unwrap();
    until(1.6);
    // The second has this rate already.
    pipeline.reconfigure_encoder(&quick().with_bitrate_kbps(200).with_fps(10)).unwrap();
    until(4.5);
    assert_eq!(pipeline.stop().done().unwrap().outcome, Outcome::Stopped);
    for path in &paths {
        let times = ffprobe(path, "packet=pts_time");
        let mut times: Vec<f64> = times.iter().filter_map(|t| t.trim_end_matches(',').parse().ok()).collect();
        times.sort_by(f64::total_cmp);
        let late = &times[times.len() - 8..];
        assert!(late.windows(2).all(|t| (t[1] - t[0] - 0.1).abs() < 0.002), "{}: {late:?}", path.display());
    }
}

#[test]
fn sound_can_be_given_before_the_start() {
    let files = || Output::file("a.mkv").and(Output::virtual_camera("c"));
    let pipeline = Pipeline::new(CaptureConfig::default(), quick(), files()).unwrap();
    let clone = pipeline.clone();
    pipeline.set_audio_source(42).unwrap();
    let made = serde_json::to_value(&*clone.spec()).unwrap();
    assert_eq!(made["source"]["sound"], serde_json::json!([{"source": "node", "name": "42"}]));
    assert_eq!(made["outputs"][0]["audio"], true, "{made}");
    // Another one takes its place, and what an output was told to have stays.
    pipeline.set_audio_source("mic").unwrap();
    let names: Vec<_> = pipeline.spec().source.sound.iter().map(|s| s.name.clone()).collect();
    assert_eq!(names, [Some("mic".to_owned())]);
    let told = Pipeline::builder().capture(CaptureConfig::camera("")).output(files()).audio_bitrate(96);
    let told = told.build().unwrap();
    told.set_audio_source("mic").unwrap();
    assert_eq!(serde_json::to_value(&*told.spec()).unwrap()["outputs"][0]["audio"][0]["bitrate"], 96_000);
    for (capture, output, said) in [
        (CaptureConfig::url("a.mkv"), Output::file("b.mkv"), "beside a screen"),
        (CaptureConfig::default(), Output::virtual_camera("c"), "pictures only"),
    ] {
        let e = Pipeline::new(capture, quick(), output).unwrap().set_audio_source(1).unwrap_err();
        assert!(e.kind() == ErrorKind::Unsupported && e.message().contains(said), "{e}");
    }
}

#[test]
fn a_capture_can_be_a_part_of_the_screen_or_a_camera() {
    use ghoststream::spec::{RegionSpec, ScreenBackend};
    let screen = |capture: CaptureConfig| {
        let pipeline = Pipeline::new(capture, quick(), Output::Null)?;
        Ok::<_, ghoststream::Error>(pipeline.spec().source.screen.clone().unwrap())
    };
    assert_eq!(screen(CaptureConfig::monitor("DP-1")).unwrap().monitor.as_deref(), Some("DP-1"));
    let region = RegionSpec { x: 1, y: 2, width: 30, height: 40 };
    assert_eq!(screen(CaptureConfig::region(region)).unwrap().region, Some(region));
    let window = screen(CaptureConfig::window(7).with_backend(CaptureBackend::X11).with_fps(30)).unwrap();
    assert_eq!((window.window, window.backend), (Some(7), ScreenBackend::X11));
    let camera = screen(CaptureConfig::camera("/dev/video1")).unwrap();
    assert_eq!(camera.camera.unwrap().device, "/dev/video1");
    let e = screen(CaptureConfig::camera("").with_monitor("DP-1")).unwrap_err();
    assert!(e.message().starts_with("capture.monitor: "), "{e}");
}

#[test]
fn dropping_the_pipeline_and_the_handle_cancels_the_job() {
    let dir = tempfile::tempdir().unwrap();
    let endless = PatternSpec { frames: None, ..clips::pattern(1) };
    let capture = CaptureConfig::pattern(endless);
    let pipeline = Pipeline::new(capture, quick(), Output::file(dir.path().join("a.mkv"))).unwrap();
    let job = block_on(pipeline.start().into_future()).unwrap();
    let clone = pipeline.clone();
    drop(pipeline);
    assert!(clone.is_running() && clone.job().is_some_and(|kept| kept.id() == job.id()));
    while job.state() == ghoststream::event::State::Starting {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(clone);
    assert!(job.wait(Some(Duration::ZERO)).unwrap().is_none(), "the handle is one owner");
    drop(job);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing half-written stays");
}

#[test]
fn several_outputs_come_from_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let (mkv, mp4) = (dir.path().join("a.mkv"), dir.path().join("b.mp4"));
    let outputs = Output::file(&mkv).and(Output::file(&mp4)).and(Output::Null);
    let pipeline = small(25).output(outputs.clone()).build().unwrap();
    assert_eq!(pipeline.spec().outputs.len(), 3);
    block_on(async {
        let job = pipeline.start().await?;
        job.wait(None)?.unwrap().into_result()
    })
    .unwrap();
    for path in [&mkv, &mp4] {
        assert_eq!(ffprobe(path, "stream=codec_name,nb_read_packets"), ["h264,25"], "{}", path.display());
        decodes(path);
    }
    // A file that is there stays, unless it is said that it may go.
    let again = |overwrite: bool| {
        let job =
            small(10).output(outputs.clone()).overwrite(overwrite).build().unwrap().start().job().unwrap();
        job.wait(None).unwrap().unwrap().into_result()
    };
    assert_eq!(again(false).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(ffprobe(&mkv, "stream=nb_read_packets"), ["25"]);
    again(true).unwrap();
    assert_eq!(ffprobe(&mkv, "stream=nb_read_packets"), ["10"]);
}

#[test]
fn a_file_stands_in_for_the_screen() {
    let dir = tempfile::tempdir().unwrap();
    let source = clips::numbered(dir.path(), "in.mkv", 25, &["-c:v", "mpeg4"]);
    let path = dir.path().join("out.mp4");
    let capture = CaptureConfig::url(clips::text(&source)).with_fps(50);
    let pipeline = Pipeline::new(capture, quick(), Output::file(&path)).unwrap();
    pipeline.start().job().unwrap().wait(None).unwrap().unwrap().into_result().unwrap();
    assert_eq!(ffprobe(&path, "stream=codec_name,r_frame_rate,nb_read_packets"), ["h264,50/1,50"]);
}

#[test]
fn hdr_is_written_as_hdr() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hdr.mkv");
    let encoder = EncoderConfig { preset: EncoderPreset::Fastest, ..Preset::Hdr10_1440p60.encoder() }
        .with_resolution(320, 180)
        .with_backend(EncoderBackend::Software);
    let pipeline =
        Pipeline::new(CaptureConfig::pattern(clips::pattern(10)), encoder, Output::file(&path)).unwrap();
    pipeline.start().job().unwrap().wait(None).unwrap().unwrap().into_result().unwrap();
    let seen = ffprobe(&path, "stream=codec_name,profile,pix_fmt,color_space,color_transfer,color_primaries");
    assert_eq!(seen, ["hevc,Main 10,yuv420p10le,bt2020nc,smpte2084,bt2020"]);
}

#[test]
fn an_encoder_info_agrees_with_itself() {
    let info = ghoststream::get_encoder_info();
    assert_eq!(info.nvenc_available, ghoststream::is_nvenc_available());
    assert!(info.software_codecs.contains(&Codec::H264), "{info:?}");
    assert_eq!(ghoststream::VERSION.split('.').count(), 3);
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Kills the peer when a test fails.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Peer {
    /// The `ffmpeg` program waiting for a stream, to keep it as it comes.
    fn listen(args: &[&str], url: &str, keep: &Path) -> Peer {
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-y"])
            .args(args)
            .args(["-i", url, "-c", "copy", clips::text(keep)])
            .stdout(Stdio::null())
            .spawn()
            .expect("the ffmpeg program is needed for tests");
        Peer(child)
    }

    fn ended_well(&mut self) {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            if let Some(status) = self.0.try_wait().unwrap() {
                assert!(status.success());
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the peer still waits");
    }
}

/// Pushes until the peer listens.
fn push(output: Output) {
    let began = Instant::now();
    loop {
        let job = small(40).with_audio().output(output.clone()).build().unwrap().start().job().unwrap();
        match job.wait(None).unwrap().unwrap().into_result() {
            Ok(done) => {
                assert!(done.outputs.iter().all(|o| !o.contains("s3cret")), "{:?}", done.outputs);
                return;
            }
            Err(e) => assert!(began.elapsed() < Duration::from_secs(15), "{e}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn rtmp_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept.mkv");
    let url = format!("rtmp://127.0.0.1:{}/live/s3cret", free_port());
    let mut peer = Peer::listen(&["-f", "flv", "-listen", "1"], &url, &kept);
    push(Output::rtmp(&url));
    peer.ended_well();
    let mut streams = ffprobe(&kept, "stream=codec_name,nb_read_packets");
    streams.sort();
    assert!(streams[0].starts_with("aac,") && streams[1] == "h264,40", "{streams:?}");
    decodes(&kept);
}

#[test]
fn srt_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept.mkv");
    let port = free_port();
    let key = "passphrase=s3cret-s3cret";
    let mut peer = Peer::listen(&[], &format!("srt://127.0.0.1:{port}?mode=listener&{key}"), &kept);
    push(Output::srt(format!("srt://127.0.0.1:{port}?{key}"), 120));
    peer.ended_well();
    let streams = ffprobe(&kept, "stream=codec_name,nb_read_packets");
    // Newer FFmpegs take the connection's end for an error, and lose the frame whose length only the next one tells.
    assert!(
        streams.iter().any(|s| ["h264,39", "h264,40"].contains(&s.as_str()))
            && streams.iter().any(|s| s.starts_with("aac,")),
        "{streams:?}"
    );
    decodes(&kept);
}

#[test]
fn nothing_that_a_failed_push_says_has_the_key() {
    let output = Output::rtmp("rtmp://127.0.0.1:1/app/s3cret");
    let pipeline = small(5).output(output).build().unwrap();
    assert!(!serde_json::to_string(&pipeline.plan().unwrap()).unwrap().contains("s3cret"));
    let job = pipeline.start().job().unwrap();
    let mut said = Vec::new();
    while let Next::Event(event) = job.next_event(None) {
        if let Event::Done(done) = &event {
            assert_eq!(done.outcome, Outcome::Failed);
            said.push(format!("{:?}", done.clone().into_result()));
        }
        said.push(serde_json::to_string(&event).unwrap());
    }
    said.push(serde_json::to_string(&job.stats()).unwrap());
    let said = said.join("\n");
    assert!(said.contains("rtmp://127.0.0.1:1/app/***") && !said.contains("s3cret"), "{said}");
}

/// The short way and the long way are one: the same document, whichever way it is written.
#[test]
fn a_builder_and_its_json_are_one_pipeline() {
    let output = RtmpService::YouTube.output("k-k-k").unwrap().and(Output::srt("srt://h:1", 200));
    let made = small(5).with_audio().output(output).build().unwrap();
    let json = serde_json::to_string(&*made.spec()).unwrap();
    let again = PipelineSpec::from_json(&json).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), json);
    assert!(made.spec().source.realtime);
    let plain = PipelineSpec::new(SourceSpec::url("a"), vec![]);
    assert_eq!(Pipeline::from_spec(plain).err().unwrap().kind(), ErrorKind::Invalid);
}
