//! Coded packets pushed by the application: whatever a document makes of a live source can be made of them.

use crate::support::*;
use ghoststream::job::Taken;
use ghoststream::packet::{MediaKind, Packet, SideData, StreamInfo};
use ghoststream::time::{MICROSECONDS, Timestamp};
use ghoststream::{ErrorKind, Job, Pipeline};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The packets of a file as an ingest has them: length-prefixed, and without FFmpeg's own description.
fn read(path: &str) -> (Vec<StreamInfo>, Vec<Packet>) {
    let job = start(
        json!({"source": {"url": path}, "outputs": [{"packets": {"format": "length_prefixed", "copy": ["h264", "hevc", "aac"]}}]}),
    );
    let mut streams = job.streams(0, None).unwrap().unwrap();
    streams.iter_mut().for_each(|s| s.native = None);
    let packets = std::iter::from_fn(|| match job.next_packet(0, None).unwrap() {
        Taken::Item(packet) => Some(packet),
        _ => None,
    });
    (streams, packets.collect())
}

fn fed(source: Value, outputs: Value, streams: &[StreamInfo]) -> Job {
    let document = json!({"source": source, "outputs": outputs});
    Pipeline::from_json(&document.to_string()).unwrap().with_streams(streams.to_vec()).start().job().unwrap()
}

/// Feeds `packets` from another thread and gives what comes out of output 0, by stream.
fn through(job: Job, packets: Vec<Packet>) -> (Vec<StreamInfo>, BTreeMap<usize, Vec<Packet>>) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            packets.into_iter().for_each(|p| job.push_packet(p).unwrap());
            job.finish_input();
        });
        let streams = job.streams(0, None).unwrap().unwrap();
        let mut out: BTreeMap<usize, Vec<Packet>> = BTreeMap::new();
        while let Taken::Item(packet) = job.next_packet(0, None).unwrap() {
            out.entry(packet.stream).or_default().push(packet);
        }
        job.wait(None).unwrap().unwrap().into_result().unwrap();
        (streams, out)
    })
}

fn later(packets: &[Packet], by: f64) -> Vec<Packet> {
    let move_on = |p: &Packet| {
        let ticks = Timestamp::from_seconds(by).to(p.base).ticks;
        Packet { pts: p.pts.map(|t| t + ticks), dts: p.dts.map(|t| t + ticks), ..p.clone() }
    };
    packets.iter().map(move_on).collect()
}

fn key_times(packets: &[Packet]) -> Vec<i64> {
    packets.iter().filter(|p| p.key).map(|p| p.presentation().unwrap().micros()).collect()
}

fn shown(packets: &[Packet]) -> Vec<i64> {
    let mut times: Vec<i64> = packets.iter().map(|p| p.presentation().unwrap().micros()).collect();
    times.sort();
    times
}

#[test]
fn a_ladder_has_aligned_key_frames_at_the_times_of_what_was_pushed() {
    let dir = Dir::new();
    let (streams, packets) = read(&clip(&dir, "in.mp4"));
    // In the middle of a long stream, off the grid of whole seconds.
    let packets = later(&packets, 1000.2);
    let pushed: Vec<Packet> = packets.iter().filter(|p| p.stream == 0).cloned().collect();
    let job = fed(
        json!({"packets": {}, "decode": {"threads": 1}}),
        json!([{"packets": {"format": "length_prefixed", "interleave": false},
            "video": {"preset": "p1", "tune": "ull", "keyframe_interval": 1},
            "ladder": [{"height": 180, "bitrate": "300k"}, {"height": 90, "bitrate": "100k"}],
            "audio": {"codec": "opus"}}]),
        &streams,
    );
    let (made, out) = through(job, packets.clone());
    let what: Vec<(&str, Option<u32>)> =
        made.iter().map(|s| (s.codec.name(), s.video.as_ref().map(|v| v.height))).collect();
    assert_eq!(what, [("h264", Some(180)), ("h264", Some(90)), ("opus", None)]);
    assert_eq!(shown(&out[&0]), shown(&pushed), "each picture keeps its time");
    assert_eq!(shown(&out[&1]), shown(&pushed));
    let keys = key_times(&out[&0]);
    assert_eq!(keys, key_times(&out[&1]), "rungs are switched at the same pictures");
    assert_eq!(
        keys[1..].iter().map(|t| t % 1_000_000).max(),
        Some(0),
        "on the grid of the stream's time: {keys:?}"
    );
    assert_eq!(keys.len(), 5, "the first picture, and each whole second: {keys:?}");
    assert!(out[&0].iter().all(|p| p.pts == p.dts), "nothing is reordered");
    let sound = packets.iter().find(|p| p.stream == 1).unwrap().presentation().unwrap().micros();
    let first = out[&2][0].presentation().unwrap().micros();
    assert!((first - sound).abs() < 30_000, "{first} {sound}");
}

#[test]
fn a_copy_is_what_was_pushed() {
    let dir = Dir::new();
    let (streams, packets) = read(&clip(&dir, "in.mp4"));
    let packets = later(&packets, 5.0);
    let copy = json!([{"packets": {"format": "length_prefixed", "copy": ["h264", "aac"]}}]);
    let (made, out) = through(fed(json!({"packets": {}}), copy, &streams), packets.clone());
    assert_eq!(made[0].extradata, streams[0].extradata);
    for (index, came) in &out {
        let pushed: Vec<&Packet> = packets.iter().filter(|p| p.stream == *index).collect();
        assert_eq!(came.len(), pushed.len());
        for (a, b) in came.iter().zip(pushed) {
            assert_eq!((&a.data, a.presentation(), a.key), (&b.data, b.presentation(), b.key));
        }
    }
    // And into a file, beside what is encoded.
    let path = dir.path("o.mkv");
    let job = fed(
        json!({"packets": {}}),
        json!([{"path": path, "video": {"codec": "copy"}, "audio": {"codec": "copy"}}]),
        &streams,
    );
    packets.into_iter().for_each(|p| job.push_packet(p).unwrap());
    job.finish_input();
    job.wait(None).unwrap().unwrap().into_result().unwrap();
    let probed = probe(&path);
    assert_eq!(frames(video(&probed)), 100);
    assert_eq!(audio(&probed)["codec_name"], "aac");
}

#[test]
fn what_is_encoded_beside_a_copy_can_be_switched_to() {
    let dir = Dir::new();
    let (streams, packets) = read(&clip(&dir, "in.mp4"));
    let job = fed(
        json!({"packets": {}, "decode": {"keys": true}}),
        json!([{"packets": {"format": "length_prefixed", "interleave": false}, "audio": false,
            "video": {"preset": "p1", "tune": "ull", "keyframe_interval": 3600},
            "ladder": [{"codec": "copy"}, {"height": 90, "bitrate": "100k"}]}]),
        &streams,
    );
    let (_, out) = through(job, packets);
    assert_eq!(key_times(&out[&0]).len(), 4);
    assert_eq!(key_times(&out[&0]), key_times(&out[&1]));
}

#[test]
fn an_end_in_the_middle_loses_nothing_that_was_pushed() {
    let dir = Dir::new();
    let (streams, packets) = read(&clip(&dir, "in.mp4"));
    let half: Vec<Packet> = packets.into_iter().filter(|p| p.stream == 0).take(37).collect();
    let outputs = json!([{"packets": {}, "video": {"preset": "p1"}, "audio": false}]);
    let (_, out) = through(fed(json!({"packets": {}}), outputs.clone(), &streams[..1]), half.clone());
    assert_eq!(out[&0].len(), 37);
    // A stop is an end too.
    let job = fed(json!({"packets": {}}), outputs, &streams[..1]);
    half.iter().for_each(|p| job.push_packet(p.clone()).unwrap());
    job.stop();
    assert_eq!(job.push_packet(half[0].clone()).unwrap_err().kind(), ErrorKind::State);
    let mut count = 0;
    while let Taken::Item(_) = job.next_packet(0, None).unwrap() {
        count += 1;
    }
    assert_eq!(count, 37);
}

#[test]
fn new_parameters_end_a_copy_and_not_a_transcode() {
    let dir = Dir::new();
    let (streams, mut packets) = read(&clip(&dir, "in.mp4"));
    packets.retain(|p| p.stream == 0);
    let mut other = streams[0].extradata.to_vec();
    let last = other.len() - 1;
    other[last] ^= 1;
    let key = packets.iter().rposition(|p| p.key).unwrap();
    packets[key].side_data.push(SideData::NewExtradata(streams[0].extradata.clone()));
    let same =
        fed(json!({"packets": {}}), json!([{"packets": {}, "video": {"codec": "copy"}}]), &streams[..1]);
    assert_eq!(through(same, packets.clone()).1[&0].len(), 100, "the same again changes nothing");
    packets[key].side_data = vec![SideData::NewExtradata(other.into())];
    let job =
        fed(json!({"packets": {}}), json!([{"packets": {}, "video": {"codec": "copy"}}]), &streams[..1]);
    for packet in packets {
        // It may have ended meanwhile.
        let _ = job.push_packet_within(packet, Some(Duration::from_millis(100)));
    }
    let failed = job.wait(Some(Duration::from_secs(20))).unwrap().unwrap().into_result().unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unsupported);
    assert!(failed.to_string().contains("parameters change in mid-stream"), "{failed}");
}

#[test]
fn a_live_source_never_waits_and_counts_what_it_drops() {
    let dir = Dir::new();
    let (streams, packets) = read(&clip(&dir, "in.mp4"));
    // Nobody takes what comes out, so that everything fills up.
    let job = fed(
        json!({"packets": {"live": true, "queue": 8}}),
        json!([{"packets": {"queue": 1}, "video": {"preset": "p1"}, "audio": false}]),
        &streams,
    );
    let begin = Instant::now();
    for round in 0..20 {
        later(&packets, f64::from(round) * 4.0).into_iter().for_each(|p| job.push_packet(p).unwrap());
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let stats = job.stats();
    let stage = stats.stages.iter().find(|s| s.name == "application packets").unwrap();
    assert!(stage.queue.unwrap().dropped > 100, "{stage:?}");
}

#[test]
fn silent_sound_holds_up_no_pictures() {
    let dir = Dir::new();
    let (streams, packets) = read(&clip(&dir, "in.mp4"));
    let job = fed(
        json!({"packets": {}}),
        json!([{"packets": {"interleave": false}, "video": {"preset": "p1", "tune": "ull"}, "audio": {"codec": "opus"}}]),
        &streams,
    );
    packets.into_iter().filter(|p| p.stream == 0).for_each(|p| job.push_packet(p).unwrap());
    let came = job.next_packet(0, Some(Duration::from_secs(20))).unwrap();
    assert!(matches!(came, Taken::Item(_)), "{came:?}");
}

#[test]
fn all_tracks_are_handed_out_where_that_is_asked_for() {
    let dir = Dir::new();
    let (clip, srt, input) = (clip(&dir, "v.mkv"), dir.path("s.srt"), dir.path("in.mkv"));
    std::fs::write(&srt, "1\n00:00:00,500 --> 00:00:01,500\nHello\n").unwrap();
    ffmpeg(&format!("-i {clip} -i {srt} -map 0 -map 0:a -map 1 -c copy {input}"));
    for (all, wanted) in [(false, vec!["h264", "aac"]), (true, vec!["h264", "aac", "aac", "webvtt"])] {
        let job = start(
            json!({"source": {"url": input}, "outputs": [{"packets": {"copy": ["h264", "aac"], "all_tracks": all}}]}),
        );
        let streams = job.streams(0, None).unwrap().unwrap();
        let codecs: Vec<&str> = streams.iter().map(|s| s.codec.name()).collect();
        assert_eq!(codecs, wanted);
        let mut seen = vec![0; wanted.len()];
        while let Taken::Item(packet) = job.next_packet(0, None).unwrap() {
            seen[packet.stream] += 1;
        }
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    }
}

#[test]
fn what_is_pushed_must_have_been_described() {
    let document = json!({"source": {"packets": {}}, "outputs": [{"packets": {}}]});
    let job = start(document.clone());
    let failed = job.wait(None).unwrap().unwrap().into_result().unwrap_err();
    assert!(failed.to_string().starts_with("source.packets: "), "{failed}");
    let message = Pipeline::from_json(&document.to_string()).unwrap().plan().unwrap_err().to_string();
    assert!(message.starts_with("source.packets: "), "{message}");
    let mut none = StreamInfo::new(MediaKind::Video, ghoststream::Codec::from_name("nosuch"), MICROSECONDS);
    none.index = 0;
    let job = fed(json!({"packets": {}}), json!([{"packets": {}, "video": {"codec": "copy"}}]), &[none]);
    let failed = job.wait(None).unwrap().unwrap().into_result().unwrap_err();
    assert!(failed.to_string().contains("source.packets: stream 0"), "{failed}");
    for (more, field) in [
        (json!({"start": 1}), "source.start"),
        (json!({"loop": 1}), "source.loop"),
        (json!({"url": "a.mp4"}), "source: "),
    ] {
        let mut source = json!({"packets": {}});
        source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let refused =
            Pipeline::from_json(&json!({"source": source, "outputs": [{"packets": {}}]}).to_string());
        let message = refused.err().unwrap().to_string();
        assert!(message.starts_with(field), "{message}");
    }
}

#[test]
fn sound_of_a_transport_stream_loses_its_headers() {
    let dir = Dir::new();
    let (streams, packets) = read(&clip(&dir, "in.ts"));
    let sound = streams.iter().find(|s| s.kind == MediaKind::Audio).unwrap();
    let values = [0x11, 0x88];
    assert_eq!(&sound.extradata[..2], &values, "AAC-LC, 48 kHz, one channel");
    let of_sound: Vec<&Packet> = packets.iter().filter(|p| p.stream == sound.index).collect();
    assert!(of_sound.len() > 150);
    assert!(of_sound.iter().all(|p| !p.data.starts_with(&[0xff, 0xf1])), "no ADTS");
    // They can be decoded.
    let job = fed(json!({"packets": {}}), json!([{"packets": {}, "audio": {"codec": "opus"}}]), &streams);
    let (_, out) = through(job, packets);
    assert!(out[&1].len() > 150);
}

#[test]
fn a_day_of_packets_goes_by_and_its_last_seconds_are_saved() {
    let dir = Dir::new();
    let clip = dir.path("slow.mp4");
    ffmpeg(&format!("-f lavfi -i testsrc2=s=64x36:r=1:d=4 -c:v libx264 -preset ultrafast -g 2 -bf 0 {clip}"));
    let (streams, packets) = read(&clip);
    assert_eq!(packets.len(), 4);
    let job = fed(
        json!({"packets": {}}),
        json!([{"path": dir.path("last-{n}.mkv"), "replay": {"seconds": 60, "bytes": "10M"}, "video": {"codec": "copy"},
            "audio": false}]),
        &streams,
    );
    let day = 24 * 3600;
    for begin in (0..day).step_by(4) {
        later(&packets, f64::from(begin)).into_iter().for_each(|p| job.push_packet(p).unwrap());
        if begin + 4 != day / 2 && begin + 4 != day {
            continue;
        }
        // What was pushed is through.
        while job.stats().tracks[0].time < f64::from(begin + 3) {
            std::thread::sleep(Duration::from_millis(5));
        }
        job.save(0, Some(10.0)).unwrap();
        let (path, length) = loop {
            match job.next_event(Some(Duration::from_secs(30))) {
                ghoststream::event::Next::Event(ghoststream::event::Event::Saved {
                    path, duration, ..
                }) => {
                    break (path, duration);
                }
                ghoststream::event::Next::Event(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert!((10.0..=12.0).contains(&length), "{length}");
        let found = probe(&path);
        assert!((10..=12).contains(&frames(video(&found))), "{found:?}");
    }
    job.finish_input();
    job.wait(None).unwrap().unwrap().into_result().unwrap();
}
