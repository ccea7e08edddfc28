//! The direct NVENC encoder on the stand-in driver, where its owner changes it while it runs. Ignored unless asked for:
//! `tests/standin/run engine` runs these with the driver in LD_LIBRARY_PATH.

use ghoststream::encode::nvenc::{self, Hooks, NvencEncoder};
use ghoststream::encode::{Encoder, VideoEncode};
use ghoststream::event::{Event, Next, Outcome};
use ghoststream::frame::{CudaPool, Frame, PixelFormat};
use ghoststream::job::{Change, Message, Taken};
use ghoststream::packet::{Packet, PictureType};
use ghoststream::spec::{Bitrate, FrameRate, Preset};
use ghoststream::stage::{Control, Stage};
use ghoststream::time::Rational;
use ghoststream::{Job, Pipeline};
use serde_json::{Value, json};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const BASE: Rational = Rational::new(1, 25);
const SOON: Option<Duration> = Some(Duration::from_secs(20));

/// Luma and chroma of picture `n`.
fn pixels(n: i64, width: u32, height: u32) -> (Vec<u8>, Vec<u8>) {
    let luma = (0..width * height).map(|i| (16 + (i + n as u32 * 5) % 200) as u8).collect();
    (luma, vec![100 + (n % 50) as u8; (width * height / 2) as usize])
}

fn frame(n: i64, width: u32, height: u32) -> Frame {
    let (luma, chroma) = pixels(n, width, height);
    let planes = vec![(luma.into(), width as usize), (chroma.into(), width as usize)];
    let mut frame = Frame::wrap(PixelFormat::nv12(), width, height, planes, BASE).unwrap();
    (frame.pts, frame.duration) = (Some(n), 1);
    frame
}

fn encoder(video: Value) -> Job {
    encoder_with(video, false)
}

fn encoder_with(video: Value, fallback: bool) -> Job {
    assert!(std::env::var_os("GS_STANDIN").is_some(), "run by tests/standin/run engine");
    let mut track = json!({"encoder": "nvenc", "codec": "h264", "preset": "p1"});
    for (key, value) in video.as_object().unwrap() {
        track[key] = value.clone();
    }
    let spec = json!({
        "source": {"frames": {"video": {"width": 640, "height": 360, "format": "nv12", "frame_rate": 25}}},
        "fallback": fallback, "stall_timeout": 0,
        "outputs": [{"packets": {"format": "annex_b", "queue": 1000}, "video": track, "audio": false}],
    });
    Pipeline::from_json(&spec.to_string()).unwrap().start().job().unwrap()
}

/// What is still to come, to the end.
fn rest(job: &Job) -> Vec<Packet> {
    job.finish_input();
    let packets = std::iter::from_fn(|| match job.next_packet(0, SOON).unwrap() {
        Taken::Item(packet) => Some(packet),
        Taken::End => None,
        Taken::Timeout => panic!("no packet, no end: {:?}", job.stats()),
    })
    .collect();
    let done = job.wait(SOON).unwrap().unwrap();
    assert_eq!(done.outcome, Outcome::Completed, "{:?}", done.message);
    packets
}

fn one(job: &Job) -> Packet {
    match job.next_packet(0, SOON).unwrap() {
        Taken::Item(packet) => packet,
        other => panic!("{other:?}: {:?}", job.stats()),
    }
}

fn warnings(job: &Job) -> Vec<String> {
    std::iter::from_fn(|| match job.next_event(Some(Duration::ZERO)) {
        Next::Event(Event::Warning { message, .. }) => Some(message),
        Next::Event(_) => Some(String::new()),
        _ => None,
    })
    .filter(|m| !m.is_empty())
    .collect()
}

#[test]
#[ignore = "needs the stand-in driver: tests/standin/run engine"]
fn a_packet_does_not_wait_for_the_next_frame() {
    let job = encoder(json!({"tune": "ull", "bitrate": "2M"}));
    for n in 0..20 {
        job.push_frame(frame(n, 640, 360)).unwrap();
        // Nothing else is pushed before this one is out.
        let packet = one(&job);
        assert_eq!((packet.pts, packet.key), (Some(n), n == 0));
        assert!(packet.dts <= packet.pts);
    }
    assert!(rest(&job).is_empty());
}

#[test]
#[ignore = "needs the stand-in driver: tests/standin/run engine"]
fn rates_key_frames_and_sizes_change_without_a_lost_frame() {
    for video in [
        json!({"bitrate": "2M", "b_frames": 0, "gop": 1000}),
        json!({"bitrate": "2M", "b_frames": 3, "gop": 1000}),
    ] {
        let told = logged("standin.config").len();
        let job = encoder(video.clone());
        let push =
            |range: std::ops::Range<i64>| range.for_each(|n| job.push_frame(frame(n, 640, 360)).unwrap());
        push(0..10);
        let first = one(&job);
        assert!(first.key);
        job.set(&Change { bitrate: Some(Bitrate(500_000)), ..Change::default() }).unwrap();
        job.set(&Change { frame_rate: Some(FrameRate(Rational::new(50, 1))), ..Change::default() }).unwrap();
        push(10..20);
        job.set(&Change { key_frame: true, ..Change::default() }).unwrap();
        push(20..30);
        // Down and up again, within what it began with.
        job.set(&Change { width: Some(320), height: Some(180), ..Change::default() }).unwrap();
        push(30..45);
        job.set(&Change { width: Some(640), height: Some(360), ..Change::default() }).unwrap();
        push(45..60);
        let packets: Vec<Packet> = std::iter::once(first).chain(rest(&job)).collect();
        assert_eq!(warnings(&job), [] as [String; 0], "{video}");
        // What the driver was told, one after the other.
        let told: Vec<[i64; 4]> = logged("standin.config")[told..]
            .iter()
            .map(|c| ["average", "fps_num", "width", "height"].map(|name| c[name].as_i64().unwrap()))
            .collect();
        assert_eq!(
            told,
            [
                [2_000_000, 25, 640, 360],
                [500_000, 25, 640, 360],
                [500_000, 50, 640, 360],
                [500_000, 50, 320, 180],
                [500_000, 50, 640, 360],
            ],
            "{video}"
        );
        let mut shown: Vec<i64> = packets.iter().filter_map(|p| p.pts).collect();
        shown.sort_unstable();
        assert_eq!(shown, (0..60).collect::<Vec<_>>(), "{video}");
        assert!(
            packets.windows(2).all(|w| w[0].dts < w[1].dts) && packets.iter().all(|p| p.dts <= p.pts),
            "{video}"
        );
        let keys = packets.iter().filter(|p| p.key).count();
        assert_eq!(keys, 4, "the first, the forced one, and one for each size: {video}");
        // The size is in the parameter sets in front of the key frames, behind the level, which follows the frame rate.
        let sets = packets.iter().filter(|p| p.key).map(|p| p.data.slice(8..24)).collect::<Vec<_>>();
        assert_eq!(sets[0], sets[1], "{video}");
        assert_ne!(sets[1], sets[2], "{video}");
        assert_eq!(sets[0], sets[3], "{video}");
    }
}

/// Frames of a source that is paced may come faster than they came at first.
#[test]
#[ignore = "needs the stand-in driver: tests/standin/run engine"]
fn the_rate_of_a_running_job_goes_up_and_down() {
    for (fallback, output) in
        [(false, json!({"packets": {"queue": 10_000}})), (true, json!({"packets": {"queue": 10_000}}))]
    {
        let mut output = output;
        output["video"] =
            json!({"encoder": "nvenc", "codec": "h264", "preset": "p1", "bitrate": "1M", "b_frames": 0});
        output["audio"] = json!(false);
        let spec = json!({
            "source": {"pattern": {"width": 320, "height": 180, "frame_rate": 25}, "realtime": true},
            "fallback": fallback, "outputs": [output],
        });
        let job = Pipeline::from_json(&spec.to_string()).unwrap().start().job().unwrap();
        let mut packets = vec![one(&job)];
        let mut take = |more: f64| {
            let until = packets.last().unwrap().presentation().unwrap().seconds() + more;
            while packets.last().unwrap().presentation().unwrap().seconds() < until {
                packets.push(one(&job));
            }
            packets.len()
        };
        let mut marks = vec![take(1.0)];
        for rate in [50, 10] {
            job.set(&Change { frame_rate: Some(FrameRate(Rational::new(rate, 1))), ..Change::default() })
                .unwrap();
            marks.push(take(2.0));
        }
        job.stop();
        let told = warnings(&job);
        assert!(!told.iter().any(|m| m.contains("at most")), "{told:?}");
        let steps = |end: usize| -> Vec<f64> {
            let times: Vec<f64> =
                packets[end - 9..end].iter().map(|p| p.presentation().unwrap().seconds()).collect();
            times.windows(2).map(|t| t[1] - t[0]).collect()
        };
        for (end, step) in marks.into_iter().zip([0.04, 0.02, 0.1]) {
            let steps = steps(end);
            assert!(steps.iter().all(|s| (s - step).abs() < 0.001), "{fallback} {step}: {steps:?}");
        }
        job.wait(SOON).unwrap();
    }
}

#[test]
#[ignore = "needs the stand-in driver: tests/standin/run engine"]
fn what_cannot_change_is_told_and_nothing_breaks() {
    let job = encoder(json!({"crf": 20, "b_frames": 0}));
    (0..5).for_each(|n| job.push_frame(frame(n, 640, 360)).unwrap());
    one(&job);
    job.set(&Change { bitrate: Some(Bitrate(500_000)), ..Change::default() }).unwrap();
    job.set(&Change { width: Some(1280), height: Some(720), ..Change::default() }).unwrap();
    (5..15).for_each(|n| job.push_frame(frame(n, 640, 360)).unwrap());
    assert_eq!(rest(&job).len(), 14);
    let told = warnings(&job);
    assert!(told.iter().any(|m| m.contains("constant quality")), "{told:?}");
    assert!(told.iter().any(|m| m.contains("above 640x360")), "{told:?}");
    assert!(job.set(&Change { width: Some(320), ..Change::default() }).is_err());
}

#[test]
#[ignore = "needs the stand-in driver: tests/standin/run engine"]
fn messages_are_written_beside_the_next_picture() {
    // Unregistered user data is a UUID and anything; AV1's is metadata of a type that is left to users.
    let text = b"0123456789abcdefseen in the stream";
    let payload: String = text.iter().map(|b| format!("{b:02x}")).collect();
    for (codec, kind) in [("h264", 5), ("hevc", 5), ("av1", 10)] {
        let job = encoder(
            json!({"codec": codec, "encoder": format!("{codec}_nvenc"), "bitrate": "2M", "b_frames": 0}),
        );
        let mut packets = Vec::new();
        for n in 0..10 {
            if n == 4 {
                let message = Some(Message { kind, payload: payload.clone() });
                job.set(&Change { message, ..Change::default() }).unwrap();
            }
            job.push_frame(frame(n, 640, 360)).unwrap();
            packets.push(one(&job));
        }
        packets.extend(rest(&job));
        let with: Vec<i64> = packets
            .iter()
            .filter(|p| p.data.windows(text.len()).any(|w| w == text))
            .filter_map(|p| p.pts)
            .collect();
        assert_eq!((with, packets.len()), (vec![4], 10), "{codec}");
        assert_eq!(warnings(&job), [] as [String; 0], "{codec}");
    }
    let job = encoder(json!({"bitrate": "2M"}));
    for payload in ["", "0", "xx", "+1", &"00".repeat(70_000)] {
        let message = Some(Message { kind: 5, payload: payload.into() });
        let e = job.set(&Change { message, ..Change::default() }).unwrap_err();
        assert!(e.message().starts_with("message.payload: "), "{e}");
    }
    job.push_frame(frame(0, 640, 360)).unwrap();
    assert_eq!(rest(&job).len(), 1);
}

/// NAL units behind start codes.
fn behind_start_codes(data: &[u8]) -> Vec<Vec<u8>> {
    assert!(data.starts_with(&[0, 0, 1]) || data.starts_with(&[0, 0, 0, 1]), "no start code");
    let starts: Vec<usize> = (0..data.len() - 2).filter(|at| data[*at..*at + 3] == [0, 0, 1]).collect();
    let ends = starts.iter().skip(1).copied().chain([data.len()]);
    let unit = |(from, to): (&usize, usize)| {
        let unit = &data[from + 3..to];
        // The first of a start code's four bytes.
        unit[..unit.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1)].to_vec()
    };
    starts.iter().zip(ends).map(unit).collect()
}

/// NAL units behind lengths of four bytes, to the last byte.
fn behind_lengths(mut data: &[u8]) -> Vec<Vec<u8>> {
    let mut units = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk() {
        let (unit, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        units.push(unit.to_vec());
        data = rest;
    }
    assert!(data.is_empty());
    units
}

#[test]
#[ignore = "needs the stand-in driver: tests/standin/run engine"]
fn packets_are_framed_as_the_document_says() {
    let coded = |codec: &str, format: &str| {
        let spec = json!({
            "source": {"frames": {"video": {"width": 640, "height": 360, "format": "nv12", "frame_rate": 25}}},
            "fallback": false,
            "outputs": [{
                "packets": {"format": format, "queue": 100}, "audio": false,
                "video": {"encoder": "nvenc", "codec": codec, "preset": "p1", "lossless": codec != "av1", "gop": 4,
                    "bitrate": (codec == "av1").then_some("2M")},
            }],
        });
        let job = Pipeline::from_json(&spec.to_string()).unwrap().start().job().unwrap();
        (0..10).for_each(|n| job.push_frame(frame(n, 640, 360)).unwrap());
        let packets = rest(&job);
        assert_eq!(packets.len(), 10, "{codec}, {format}");
        let extradata = job.streams(0, SOON).unwrap().unwrap()[0].extradata.clone();
        (packets, extradata)
    };
    // What decoders are given beside the pictures: parameter sets and delimiters.
    let is_set = |codec: &str, unit: &[u8]| match codec {
        "h264" => matches!(unit[0] & 31, 7..=9),
        _ => matches!(unit[0] >> 1 & 63, 32..=35),
    };
    for codec in ["h264", "hevc"] {
        let (plain, _) = coded(codec, "annex_b");
        let (framed, extradata) = coded(codec, "length_prefixed");
        assert_eq!(extradata[0], 1, "{codec}: an avcC or hvcC record");
        for (plain, framed) in plain.iter().zip(&framed) {
            let (sets, pictures): (Vec<_>, Vec<_>) =
                behind_start_codes(&plain.data).into_iter().partition(|unit| is_set(codec, unit));
            assert_eq!(!sets.is_empty(), plain.key, "{codec}: sets come with key pictures");
            let units = behind_lengths(&framed.data);
            assert!(units.iter().all(|unit| !is_set(codec, unit)), "{codec}: sets are in the extradata");
            assert!(units == pictures && plain.key == framed.key, "{codec}: the same pictures");
        }
    }
    // OBUs: a temporal delimiter begins each unit of the one kind, and none of the other's.
    let (plain, _) = coded("av1", "annex_b");
    let (framed, extradata) = coded("av1", "length_prefixed");
    assert_eq!(extradata[0], 0x0a, "a sequence header");
    for (plain, framed) in plain.iter().zip(&framed) {
        assert_eq!(plain.data[..2], [0x12, 0], "a temporal delimiter");
        assert_eq!(plain.data[2..], framed.data[..], "the same OBUs");
    }
}

#[test]
#[ignore = "needs the stand-in driver: tests/standin/run engine"]
fn what_a_receiver_lost_is_told_to_the_encoder() {
    let job = encoder(json!({"bitrate": "2M", "tune": "ull", "options": {"dpb_size": "4"}}));
    let mut times = Vec::new();
    for n in 0..12 {
        if n == 8 {
            job.set(&Change { lost: Some(times[6]), ..Change::default() }).unwrap();
        }
        if n == 10 {
            job.set(&Change { lost: Some(1_000_000), ..Change::default() }).unwrap();
        }
        job.push_frame(frame(n, 640, 360)).unwrap();
        times.extend(one(&job).pts);
    }
    assert!(rest(&job).is_empty());
    let told = warnings(&job);
    assert!(told.len() == 1 && told[0].contains("no recent picture has the time 1000000"), "{told:?}");

    // What cannot do it says so.
    let spec = json!({
        "source": {"frames": {"video": {"width": 640, "height": 360, "format": "nv12", "frame_rate": 25}}},
        "outputs": [{"packets": {"queue": 1000}, "video": {"encoder": "libx264"}, "audio": false}],
    });
    let job = Pipeline::from_json(&spec.to_string()).unwrap().start().job().unwrap();
    (0..30).for_each(|n| job.push_frame(frame(n, 640, 360)).unwrap());
    while !matches!(job.state(), ghoststream::event::State::Running) {
        std::thread::sleep(Duration::from_millis(5));
    }
    job.set(&Change { lost: Some(3), ..Change::default() }).unwrap();
    job.push_frame(frame(30, 640, 360)).unwrap();
    rest(&job);
    let told = warnings(&job);
    assert!(told.iter().any(|m| m.contains("libx264 cannot do without a picture that was lost")), "{told:?}");
}

/// Lines of the stand-in's log of what it calls `call`.
fn logged(call: &str) -> Vec<Value> {
    let log = std::fs::read_to_string(std::env::var("GS_STANDIN_LOG").unwrap()).unwrap_or_default();
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["call"] == call)
        .collect()
}

/// What the stand-in's log has of its presets, in order: the number, and by which call.
fn presets_told() -> Vec<(i64, String)> {
    logged("standin.preset")
        .iter()
        .map(|line| (line["preset"].as_i64().unwrap(), line["by"].as_str().unwrap().to_owned()))
        .collect()
}

/// Pictures of an elementary stream, in the order in which they are shown.
fn decoded(packets: &[Packet], form: &str, size: usize) -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stream");
    let bytes: Vec<u8> = packets.iter().flat_map(|p| p.data.to_vec()).collect();
    std::fs::write(&path, bytes).unwrap();
    let out = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-f", form, "-i"])
        .arg(&path)
        .args(["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "nv12", "-"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stderr), "", "{form}");
    out.stdout.chunks(size).map(<[u8]>::to_vec).collect()
}

#[test]
#[ignore = "needs the stand-in driver: tests/standin/run engine"]
fn a_preset_changes_at_the_next_key_picture_and_no_picture_is_lost() {
    let by = |preset: i64, call: &str| (preset, call.to_owned());
    // The stand-in's presets have two B pictures from P3 (H.264) and P2 (HEVC, AV1) on.
    for (codec, form) in [("h264", "h264"), ("hevc", "hevc"), ("av1", "obu")] {
        for (first, then, last, extra, wanted) in [
            // The order of pictures stays: the running session takes it.
            (
                "p5",
                "p4",
                "p7",
                json!({}),
                vec![by(5, "initialize"), by(4, "reconfigure"), by(7, "reconfigure")],
            ),
            (
                "p4",
                "p1",
                "p4",
                json!({"b_frames": 0}),
                vec![by(4, "initialize"), by(1, "reconfigure"), by(4, "reconfigure")],
            ),
            // The stream was described without B pictures; a slower preset brings none.
            (
                "p1",
                "p6",
                "p2",
                json!({"tune": "ull"}),
                vec![by(1, "initialize"), by(6, "reconfigure"), by(2, "reconfigure")],
            ),
            (
                "p1",
                "p4",
                "p1",
                json!({}),
                vec![by(1, "initialize"), by(4, "reconfigure"), by(1, "reconfigure")],
            ),
            // It does not, and sessions follow each other.
            (
                "p4",
                "p1",
                "p5",
                json!({}),
                vec![by(4, "initialize"), by(1, "initialize"), by(5, "initialize")],
            ),
        ] {
            let name = format!("{codec} {first} {then} {last} {extra}");
            let told = presets_told().len();
            let mut video = json!({
                "codec": codec, "encoder": format!("{codec}_nvenc"), "preset": first, "bitrate": "2M", "gop": 20,
            });
            for (key, value) in extra.as_object().unwrap() {
                video[key] = value.clone();
            }
            let job = encoder(video);
            let push =
                |range: std::ops::Range<i64>| range.for_each(|n| job.push_frame(frame(n, 640, 360)).unwrap());
            let set = |preset: &str| {
                let change: Change = serde_json::from_value(json!({"preset": preset})).unwrap();
                job.set(&change).unwrap();
            };
            push(0..5);
            let opened = one(&job);
            set(then);
            // Its own key pictures, then one that is asked for.
            push(5..25);
            // Commands are taken between frames: the next one when this key picture is in.
            let mut packets = vec![opened];
            while packets.last().unwrap().pts != Some(20) {
                packets.push(one(&job));
            }
            set(last);
            push(25..32);
            job.set(&Change { key_frame: true, ..Change::default() }).unwrap();
            push(32..40);
            packets.extend(rest(&job));
            assert_eq!(warnings(&job), [] as [String; 0], "{name}");
            let mut shown: Vec<i64> = packets.iter().filter_map(|p| p.pts).collect();
            shown.sort_unstable();
            assert_eq!(shown, (0..40).collect::<Vec<_>>(), "{name}");
            let times: Vec<_> = packets.iter().map(|p| (p.dts, p.pts)).collect();
            assert!(times.windows(2).all(|w| w[0].0 < w[1].0), "{name}: {times:?}");
            assert!(times.iter().all(|(dts, pts)| dts <= pts), "{name}: {times:?}");
            let keys: Vec<i64> = packets.iter().filter(|p| p.key).filter_map(|p| p.pts).collect();
            assert_eq!((keys[0], keys[1], keys.len()), (0, 20, 3), "{name}: {keys:?}");
            assert!((21..=32).contains(&keys[2]), "{name}: {keys:?}");
            assert_eq!(presets_told()[told..], wanted, "{name}");
            // Without loss, whatever the sessions: the stand-in's are.
            let pictures = decoded(&packets, form, 640 * 360 * 3 / 2);
            assert_eq!(pictures.len(), 40, "{name}");
            for (n, picture) in pictures.iter().enumerate() {
                let (luma, chroma) = pixels(n as i64, 640, 360);
                assert!(*picture == [luma, chroma].concat(), "{name}: picture {n}");
            }
        }
    }
}

#[test]
#[ignore = "needs the stand-in driver: tests/standin/run engine"]
fn a_preset_that_cannot_be_had_changes_nothing() {
    let told = presets_told().len();
    let job = encoder(json!({"bitrate": "2M", "gop": 1000, "options": {"preset": "p3"}}));
    (0..5).for_each(|n| job.push_frame(frame(n, 640, 360)).unwrap());
    one(&job);
    job.set(&serde_json::from_value(json!({"preset": "p1", "key_frame": true})).unwrap()).unwrap();
    (5..15).for_each(|n| job.push_frame(frame(n, 640, 360)).unwrap());
    assert_eq!(rest(&job).len(), 14);
    let said = warnings(&job);
    assert!(said.len() == 1 && said[0].contains("video.options.preset: keeps the preset at p3"), "{said:?}");
    assert_eq!(presets_told()[told..], [(3, "initialize".to_owned())]);
}

/// Run by itself, with a driver that refuses the second configuration or all from it on.
#[test]
#[ignore = "needs the stand-in driver: tests/standin/run engine"]
fn a_session_that_does_not_open_again_ends_no_job() {
    let fault = std::env::var("GS_STANDIN_FAULT").expect("run by tests/standin/run engine");
    let job = encoder_with(json!({"preset": "p4", "bitrate": "2M", "gop": 1000}), true);
    (0..10).for_each(|n| job.push_frame(frame(n, 640, 360)).unwrap());
    let mut packets = vec![one(&job)];
    let faster: Change = serde_json::from_value(json!({"preset": "p1", "key_frame": true})).unwrap();
    job.set(&faster).unwrap();
    (10..30).for_each(|n| job.push_frame(frame(n, 640, 360)).unwrap());
    packets.extend(rest(&job));
    let mut shown: Vec<i64> = packets.iter().filter_map(|p| p.pts).collect();
    shown.sort_unstable();
    assert_eq!(shown, (0..30).collect::<Vec<_>>(), "{fault}");
    assert_eq!(decoded(&packets, "h264", 640 * 360 * 3 / 2).len(), 30, "{fault}");
    let told = warnings(&job);
    assert!(told.iter().any(|m| m.contains("the preset stays as it was")), "{told:?}");
    let followed = told.iter().any(|m| m.contains("does not open again") && m.contains("libx264 goes on"));
    assert_eq!(followed, fault.contains('+'), "{told:?}");
}

/// What a job has claimed of a GPU is used up once, however often a session of it is opened again.
#[test]
#[ignore = "needs the stand-in driver: tests/standin/run engine"]
fn a_session_that_opens_again_uses_no_more_of_a_claim() {
    let video =
        json!({"encoder": "h264_nvenc", "codec": "h264", "preset": "p4", "bitrate": "2M", "gop": 1000});
    let spec: ghoststream::spec::VideoSpec = serde_json::from_value(video).unwrap();
    let wanted = nvenc::Wanted {
        codec: &ghoststream::Codec::H264,
        encoder: "h264_nvenc",
        spec: &spec,
        format: Some(PixelFormat::nv12()),
        size: (640, 360),
        rate: Some(Rational::new(25, 1)),
    };
    let claim = nvenc::claim(&[wanted, wanted], false).unwrap();
    let index = claim.index();
    let part = f64::from(640 * 360 * 25);
    assert_eq!(nvenc::load(index), nvenc::Load { claimed: 2.0 * part, ..nvenc::Load::default() });
    let config = VideoEncode { frame_rate: Some(Rational::new(25, 1)), ..VideoEncode::new(spec.clone()) };
    let hooks = Hooks { claim: Some(claim.clone()), ..Hooks::default() };
    let mut encoder = NvencEncoder::new(config, hooks).unwrap();
    let mut packets: Vec<Packet> = Vec::new();
    (0..5).for_each(|n| encoder.push(frame(n, 640, 360), &mut packets).unwrap());
    let opened = nvenc::load(index);
    assert_eq!(opened, nvenc::Load { sessions: 1, work: part, claimed: part });
    encoder.control(&Control::Preset(Preset::P1)).unwrap();
    encoder.control(&Control::ForceKeyFrame).unwrap();
    let before = presets_told().len();
    (5..10).for_each(|n| encoder.push(frame(n, 640, 360), &mut packets).unwrap());
    assert_eq!(presets_told()[before..], [(1, "initialize".to_owned())], "it was opened again");
    assert_eq!(nvenc::load(index), opened);
    encoder.finish(&mut packets).unwrap();
    assert_eq!(packets.len(), 10);
    drop((encoder, claim));
    assert_eq!(nvenc::load(index), nvenc::Load::default());
}

#[test]
#[ignore = "needs the stand-in driver: tests/standin/run engine"]
fn each_packet_says_how_its_picture_was_coded() {
    for codec in ["h264", "hevc", "av1"] {
        let job = encoder(json!({
            "codec": codec, "encoder": format!("{codec}_nvenc"), "qp": 20, "b_frames": 2, "lookahead": 3, "gop": 9,
        }));
        (0..20).for_each(|n| job.push_frame(frame(n, 640, 360)).unwrap());
        let packets = rest(&job);
        let coded: Vec<_> = packets.iter().map(|p| p.coding.unwrap()).collect();
        assert!(coded.iter().all(|c| c.qp == Some(20.0)), "{codec}: {coded:?}");
        // The stand-in codes while the call lasts, so that there is something between the marks.
        assert!(coded.iter().all(|c| c.gpu_time.is_some_and(|t| !t.is_zero())), "{codec}: {coded:?}");
        let kinds = |kind| coded.iter().filter(|c| c.kind == kind).count() as u64;
        assert!(packets.iter().zip(&coded).all(|(p, c)| !p.key || c.kind == PictureType::I), "{codec}");
        let stats = job.stats().tracks[0].coding.unwrap();
        assert_eq!(
            (stats.i, stats.p, stats.b, stats.qp),
            (kinds(PictureType::I), kinds(PictureType::P), kinds(PictureType::B), Some(20.0)),
            "{codec}"
        );
        assert!(
            stats.i == 3 && stats.p + stats.b == 17 && stats.gpu_time.unwrap() > 0.0,
            "{codec}: {stats:?}"
        );
    }
}

/// Counts what the whole process takes from Rust's allocator.
struct Counting;

static TAKEN: AtomicU64 = AtomicU64::new(0);

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as it was asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        TAKEN.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(start, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Lines of the stand-in's log so far, of calls that take memory or tell the driver of some.
fn taken_on_the_device() -> Vec<String> {
    const TAKING: [&str; 10] = [
        "cuMemAlloc",
        "cuMemHostAlloc",
        "cuMemHostRegister",
        "cuEventCreate",
        "cuStreamCreate",
        "cuArray",
        "NvEncCreate",
        "NvEncRegisterResource",
        "NvEncInitialize",
        "NvEncOpen",
    ];
    let log = std::fs::read_to_string(std::env::var("GS_STANDIN_LOG").unwrap()).unwrap();
    log.lines()
        .filter(|l| TAKING.iter().any(|name| l.contains(&format!("\"call\":\"{name}"))))
        .map(str::to_owned)
        .collect()
}

/// Run by itself, with an encoder that is slower than its owner and makes small pictures.
#[test]
#[ignore = "needs the stand-in driver: tests/standin/run engine"]
fn nothing_is_allocated_for_a_picture_once_it_runs() {
    const WARM: i64 = 80;
    const MEASURED: i64 = 120;
    for (name, video, format) in [
        ("h264", json!({"b_frames": 0}), "nv12"),
        ("h264", json!({"b_frames": 3, "lookahead": 8}), "yuv420p"),
        ("hevc", json!({"b_frames": 2, "cbr": true}), "p010le"),
        // FFmpeg has no device frames of this: the encoder's own buffers take it.
        ("hevc", json!({"b_frames": 0}), "nv16"),
        ("h264", json!({"b_frames": 0}), "cuda"),
        ("hevc", json!({"b_frames": 3}), "cuda"),
    ] {
        let mut spec =
            json!({"codec": name, "encoder": format!("{name}_nvenc"), "bitrate": "2M", "gop": 60_000});
        for (key, value) in video.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let name = format!("{spec} {format}");
        let config = VideoEncode::new(serde_json::from_value(spec).unwrap());
        let mut encoder = NvencEncoder::new(config, Hooks::default()).unwrap();
        let pool = (format == "cuda").then(|| CudaPool::of(0, PixelFormat::nv12(), 320, 180).unwrap());
        let frames: Vec<Frame> = (0..24)
            .map(|_| match &pool {
                Some(pool) => Frame::new(pool.frames().frame().unwrap(), BASE),
                None => {
                    let format = PixelFormat::from_name(format).unwrap();
                    let planes = (0..format.descriptor().unwrap().planes)
                        .map(|i| {
                            let (rows, bytes) = format.plane_layout(320, 180, i).unwrap();
                            (vec![96; rows * bytes].into(), bytes)
                        })
                        .collect();
                    Frame::wrap(format, 320, 180, planes, BASE).unwrap()
                }
            })
            .collect();
        let mut packets: Vec<Packet> = Vec::with_capacity(256);
        let mut out = 0;
        let mut push = |encoder: &mut NvencEncoder, range: std::ops::Range<i64>| {
            for n in range {
                let mut frame = frames[n as usize % frames.len()].clone();
                (frame.pts, frame.duration) = (Some(n), 1);
                encoder.push(frame, &mut packets).unwrap();
                out += packets.len();
                packets.clear();
            }
        };
        push(&mut encoder, 0..WARM);
        let (device, host) = (taken_on_the_device(), TAKEN.load(Ordering::Relaxed));
        push(&mut encoder, WARM..WARM + MEASURED);
        let host = TAKEN.load(Ordering::Relaxed) - host;
        assert_eq!(taken_on_the_device()[device.len()..], [] as [String; 0], "{name}");
        // Coded pictures are cut from pieces of a MiB, each of which takes two.
        assert!(host <= 4, "{name}: {host} allocations for {MEASURED} pictures");
        let mut rest: Vec<Packet> = Vec::new();
        encoder.finish(&mut rest).unwrap();
        assert_eq!(out + rest.len(), (WARM + MEASURED) as usize, "{name}");
        assert!(encoder.stream().is_some(), "{name}");
    }
}
