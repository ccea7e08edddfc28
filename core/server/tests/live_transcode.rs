//! Transcodes of live streams.

mod live_feed;

use ghoststream::Codec;
use ghoststream::spec::{Device, Preset};
use ghoststream_server::live::transcode::{Phase, Rung};
use ghoststream_server::live::{Live, Publisher, Start, Transcode, TranscodeSpec};
use live_feed::*;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn rung(lines: u32, bitrate: u64) -> Rung {
    Rung { name: format!("{lines}p"), lines, bitrate, sound: 96_000, profile: "main".into() }
}

/// Two rungs, key frames every second, fast.
fn two_rungs() -> TranscodeSpec {
    TranscodeSpec {
        rungs: vec![rung(180, 2_000_000), rung(90, 100_000)],
        segment: 1.0,
        device: Device::Software,
        preset: Preset::P1,
        ..TranscodeSpec::ladder(&["240p"]).unwrap()
    }
}

struct Stage {
    live: Live,
    dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Stage {
        Stage { live: Live::new(true, 10), dir: tempfile::tempdir().unwrap() }
    }

    fn clip(&self, size: &str, seconds: u32, video: &str) -> PathBuf {
        let path = self.dir.path().join("clip.mp4");
        clip(&path, size, seconds, video);
        path
    }

    fn publish(&self) -> ghoststream_server::live::Publication {
        self.live.publish("cam", Publisher::new("test", None)).unwrap()
    }
}

const QUIET: Duration = Duration::from_secs(2);

#[test]
fn a_ladder_keeps_the_streams_time_and_its_rungs_together() {
    let stage = Stage::new();
    let (streams, packets) = read(&stage.clip("320x180", 4, "-bf 2"));
    let publication = stage.publish();
    let source = publication.stream().clone();
    let spec = TranscodeSpec { copy: false, ..two_rungs() };
    let transcode = Transcode::start(&source, &spec).unwrap();
    let reader = transcode.stream().subscribe(Start::Group);
    let heard = source.subscribe(Start::Group);
    play(&publication, &streams, &packets);
    let stats = transcode.stats();
    assert_eq!(stats.state, Phase::Running, "{stats:?}");
    assert_eq!(
        stats.tracks.iter().map(|t| t.encoder.as_str()).collect::<Vec<_>>(),
        ["libx264", "libx264", "copy"]
    );
    assert!(stats.delay.unwrap() < 1.0, "{stats:?}");
    assert_eq!(stats.dropped, 0);
    drop(publication);
    let seen = Seen::until_quiet(reader, QUIET);
    let source_seen = Seen::until_quiet(heard, Duration::ZERO);
    let (tracks, made) = &seen.rounds[0];
    let what: Vec<(String, Option<u32>)> =
        tracks.streams.iter().map(|s| (s.codec.name().into(), s.video.as_ref().map(|v| v.height))).collect();
    assert_eq!(what, [("h264".into(), Some(180)), ("h264".into(), Some(90)), ("aac".into(), None)]);
    assert_eq!(tracks.streams[0].title.as_deref(), Some("180p"));
    assert_eq!(tracks.streams[0].extradata.first(), Some(&1), "avcC");
    let pushed = &source_seen.rounds[0].1;
    assert_eq!(shown(made, 0), shown(pushed, 0), "each picture has the time that it came with");
    assert_eq!(shown(made, 1), shown(pushed, 0));
    assert_eq!(shown(made, 2), shown(pushed, 1));
    let times = keys(made, 0);
    assert_eq!(times, keys(made, 1));
    // The first picture, and then the first behind each whole second of the stream.
    assert!(times.len() >= 4, "{times:?}");
    assert!(times[1..].iter().all(|t| t % 1_000_000 < 40_000), "{times:?}");
    assert!(made.iter().all(|p| p.pts == p.dts), "nothing is reordered");
    assert_eq!(seen.away, 1, "the publisher left");
    assert_eq!(transcode.stream().readers(), 0);
}

#[test]
fn what_conforms_is_copied_and_the_others_follow_its_key_frames() {
    let stage = Stage::new();
    let (streams, packets) = read(&stage.clip("320x180", 3, "-bf 0"));
    let publication = stage.publish();
    let transcode = Transcode::start(publication.stream(), &two_rungs()).unwrap();
    let reader = transcode.stream().subscribe(Start::Group);
    let heard = publication.stream().subscribe(Start::Group);
    play(&publication, &streams, &packets);
    let names: Vec<(String, String)> =
        transcode.stats().tracks.into_iter().map(|t| (t.name, t.encoder)).collect();
    let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
    assert_eq!(names, [pair("180p", "copy"), pair("90p", "libx264"), pair("audio", "copy")]);
    drop(publication);
    let (seen, pushed) = (Seen::until_quiet(reader, QUIET), Seen::until_quiet(heard, Duration::ZERO));
    let (made, pushed) = (&seen.rounds[0].1, &pushed.rounds[0].1);
    assert_eq!(shown(made, 0), shown(pushed, 0));
    assert_eq!(keys(made, 0), keys(pushed, 0));
    assert_eq!(keys(made, 1), keys(pushed, 0), "one can switch from the copy to what is encoded");
    let bytes = |packets: &[ghoststream::packet::Packet]| -> Vec<bytes::Bytes> {
        packets.iter().filter(|p| p.stream == 0).map(|p| p.data.clone()).collect()
    };
    assert_eq!(bytes(made), bytes(pushed));
}

#[test]
fn browsers_get_no_reordered_pictures_and_opus() {
    for (video, encoder) in [("-bf 2", "libx264"), ("-bf 0", "copy")] {
        let stage = Stage::new();
        let (streams, packets) = read(&stage.clip("320x180", 2, video));
        let publication = stage.publish();
        let spec = TranscodeSpec { device: Device::Software, preset: Preset::P1, ..TranscodeSpec::webrtc() };
        let transcode = Transcode::start(publication.stream(), &spec).unwrap();
        let reader = transcode.stream().subscribe(Start::Group);
        let heard = publication.stream().subscribe(Start::Group);
        play(&publication, &streams, &packets);
        assert_eq!(transcode.stats().tracks[0].encoder, encoder);
        drop(publication);
        let (seen, pushed) = (Seen::until_quiet(reader, QUIET), Seen::until_quiet(heard, Duration::ZERO));
        let (tracks, made) = &seen.rounds[0];
        assert_eq!(tracks.streams[1].codec, Codec::Opus);
        assert!(tracks.streams[1].extradata.starts_with(b"OpusHead"));
        if encoder != "copy" {
            // Constrained baseline: profile_idc 66 and constraint_set1.
            assert_eq!(tracks.streams[0].extradata[1], 66);
            assert_eq!(tracks.streams[0].extradata[2] & 0x40, 0x40);
        }
        assert!(made.iter().filter(|p| p.stream == 0).all(|p| p.pts == p.dts));
        let pushed = &pushed.rounds[0].1;
        assert_eq!(shown(made, 0), shown(pushed, 0));
        // Sound begins with its own time, less what the encoder puts before it.
        let (first, from) = (shown(made, 1)[0], shown(pushed, 1)[0]);
        assert!((first - from).abs() < 40_000, "{first} {from}");
    }
}

#[test]
fn publishers_leave_come_back_and_change_their_size() {
    let stage = Stage::new();
    stage.live.keep("cam").unwrap();
    let (streams, packets) = read(&stage.clip("320x180", 2, "-bf 0"));
    let publication = stage.publish();
    let source = publication.stream().clone();
    let transcode = Transcode::start(&source, &TranscodeSpec { copy: false, ..two_rungs() }).unwrap();
    let reader = transcode.stream().subscribe(Start::Group);
    play(&publication, &streams, &packets);
    drop(publication);
    std::thread::sleep(Duration::from_millis(300));
    let (other, larger) = read(&stage.clip("640x360", 2, "-bf 0"));
    let publication = stage.publish();
    play(&publication, &other, &larger);
    // Without having left.
    play(&publication, &streams, &packets);
    drop(publication);
    let seen = Seen::until_quiet(reader, QUIET);
    let heights: Vec<u32> =
        seen.rounds.iter().map(|(t, _)| t.streams[0].video.as_ref().unwrap().height).collect();
    assert_eq!(heights, [180, 180, 180], "no rung is wanted larger");
    assert_eq!(seen.away, 2);
    let mut last = 0;
    for (_, packets) in &seen.rounds {
        let times = shown(packets, 0);
        assert!(times.len() > 40, "{}", times.len());
        assert!(times[0] >= last, "time does not go back: {} {last}", times[0]);
        last = *times.last().unwrap();
    }
    assert_eq!(transcode.stats().state, Phase::Waiting);
    stage.live.forget("cam");
    let mut end = transcode.stream().subscribe(Start::Group);
    let began = Instant::now();
    while !matches!(end.next_blocking(Duration::from_secs(1)), Some(ghoststream_server::live::Item::End)) {
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn rare_key_frames_end_a_copy() {
    let stage = Stage::new();
    let (streams, packets) = read(&stage.clip("320x180", 5, "-bf 0 -g 250 -keyint_min 250"));
    let publication = stage.publish();
    let transcode = Transcode::start(publication.stream(), &two_rungs()).unwrap();
    let reader = transcode.stream().subscribe(Start::Group);
    play(&publication, &streams, &packets);
    let stats = transcode.stats();
    assert_eq!((stats.tracks[0].encoder.as_str(), stats.runs), ("libx264", 2), "{stats:?}");
    drop(publication);
    let seen = Seen::until_quiet(reader, QUIET);
    assert_eq!(seen.rounds.len(), 2);
    let made = &seen.rounds[1].1;
    assert!(keys(made, 0).len() >= 2, "{:?}", keys(made, 0));
    assert_eq!(keys(made, 0), keys(made, 1));
}

#[test]
fn dropping_it_stops_at_once() {
    let stage = Stage::new();
    let (streams, packets) = read(&stage.clip("320x180", 2, "-bf 0"));
    let publication = stage.publish();
    let transcode = Transcode::start(publication.stream(), &two_rungs()).unwrap();
    let mut reader = transcode.stream().subscribe(Start::Group);
    play(&publication, &streams, &packets);
    let began = Instant::now();
    drop(transcode);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let items: Vec<_> = std::iter::from_fn(|| reader.try_next()).collect();
    assert!(matches!(items.last(), Some(ghoststream_server::live::Item::End)));
    assert_eq!(publication.stream().readers(), 0, "it reads no more");
}

#[test]
fn what_cannot_be_decoded_is_told_and_tried_again() {
    let stage = Stage::new();
    let (mut streams, packets) = read(&stage.clip("320x180", 2, "-bf 0"));
    let good = streams.clone();
    streams[0].codec = Codec::from_name("nosuch");
    let publication = stage.publish();
    let transcode =
        Transcode::start(publication.stream(), &TranscodeSpec { copy: false, ..two_rungs() }).unwrap();
    let reader = transcode.stream().subscribe(Start::Group);
    play(&publication, &streams, &packets[..60]);
    let stats = transcode.stats();
    assert_eq!(stats.state, Phase::Failed, "{stats:?}");
    assert!(stats.error.unwrap().contains("stream 0"));
    play(&publication, &good, &packets);
    assert_eq!(transcode.stats().state, Phase::Running);
    assert_eq!(transcode.stats().error, None);
    drop(publication);
    assert_eq!(Seen::until_quiet(reader, QUIET).rounds.len(), 1);
    assert!(
        Transcode::start(&stage.publish().stream().clone(), &TranscodeSpec { segment: 0.0, ..two_rungs() })
            .is_err()
    );
}
