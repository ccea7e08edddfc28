//! Where the segmenter cuts: ladders, audio alone, tracks of different lengths, copies with uneven key frames.

use crate::media::{decode_strictly, make, packets_of, read, run};
use crate::remux::{MS, grid, segment, segments, write_files};
use ghoststream::ErrorKind;
use ghoststream::package::{Container, Event, Lengths, Options, Plan, Segmenter, TrackSpec};
use ghoststream::packet::{Packet, StreamInfo};
use ghoststream::time::Timestamp;
use std::path::Path;

fn clip(dir: &Path, name: &str, args: &str) -> (Vec<StreamInfo>, Vec<Packet>) {
    let path = dir.join(name);
    make(&path, args);
    read(&path)
}

const VIDEO: &str =
    "-f lavfi -i testsrc2=s=160x90:r=25:d=4 -c:v libx264 -pix_fmt yuv420p -bf 2 -preset veryfast";

#[test]
fn a_ladder_is_cut_in_step_whatever_the_interleaving() {
    let dir = tempfile::tempdir().unwrap();
    let (mut streams, mut packets) = clip(dir.path(), "a.mp4", &format!("{VIDEO} -g 25"));
    let (small, more) = clip(
        dir.path(),
        "b.mp4",
        &format!("-f lavfi -i sine=d=4 {VIDEO} -g 25 -vf scale=80:44 -map 1 -map 0"),
    );
    let shifted = |p: &Packet| Packet { stream: p.stream + 1, ..p.clone() };
    streams.extend(small);
    // The worst interleaving: all of one after the other, the small ones first.
    let mut late: Vec<Packet> = more.iter().map(shifted).collect();
    late.append(&mut packets.clone());
    packets.extend(more.iter().map(shifted));
    let mut options = Options::new(grid(1000), Container::Cmaf);
    options.key_chunk = true;
    let (one, two) = (segment(&streams, &packets, options.clone()), segment(&streams, &late, options));
    for group in 0..streams.len() {
        let (a, b) = (segments(&one, group), segments(&two, group));
        assert_eq!(a.len(), 4);
        assert!(a.iter().zip(&b).all(|(a, b)| a.bytes() == b.bytes() && a.sequence == b.sequence));
        for (i, s) in a.iter().enumerate() {
            assert_eq!(s.sequence, i as u64);
            assert!((s.start.seconds() - i as f64).abs() < 0.024, "{group}: {}", s.start);
        }
    }
}

#[test]
fn audio_alone_is_cut_nearest_to_the_grid() {
    let dir = tempfile::tempdir().unwrap();
    let (streams, packets) = clip(dir.path(), "a.mp4", "-f lavfi -i sine=r=44100:d=5 -c:a aac");
    for container in [Container::Cmaf, Container::Ts] {
        // AAC runs a part of a frame beyond the five seconds; that is no sixth segment.
        let plan = grid(1000).ending(Timestamp::new(5000, MS), None);
        let events = segment(&streams, &packets, Options::new(plan, container));
        let cut = segments(&events, 0);
        assert_eq!(cut.len(), 5);
        for (i, s) in cut.iter().enumerate().skip(1) {
            assert!((s.start.seconds() - i as f64).abs() <= 512.0 / 44100.0 + 1e-9, "{}", s.start);
        }
        let extension = if container == Container::Ts { "ts" } else { "mp4" };
        let file = &write_files(dir.path(), &events, extension)[&0];
        decode_strictly(file);
        assert_eq!(packets_of(file)[0].len(), packets.len());
    }
}

#[test]
fn live_sound_begins_no_earlier_than_the_pictures() {
    let dir = tempfile::tempdir().unwrap();
    // Times in milliseconds, to which a frame of 23.2 is rounded up and down.
    let video = VIDEO.replace("d=4", "d=40");
    let args = format!("-f lavfi -i sine=r=44100:d=40 {video} -map 1 -map 0 -c:a aac -g 5");
    let (streams, packets) = clip(dir.path(), "a.flv", &args);
    let lengths = Lengths { least: Timestamp::new(190, MS), most: Timestamp::new(1450, MS) };
    let options =
        Options { count_from: Some(0), lengths: Some(lengths), ..Options::new(grid(1000), Container::Cmaf) };
    let events = segment(&streams, &packets, options);
    let (pictures, sound) = (segments(&events, 0), segments(&events, 1));
    assert!(pictures.len() > 190 && sound.len().abs_diff(pictures.len()) <= 1);
    let late: Vec<f64> =
        sound.iter().zip(&pictures).map(|(s, p)| s.start.seconds() - p.start.seconds()).collect();
    assert!(late.iter().all(|seconds| (-1e-6..1024.0 / 44100.0 + 0.002).contains(seconds)), "{late:?}");
    assert!(late.iter().any(|seconds| *seconds > 0.012), "{late:?}");
}

#[test]
fn nobody_waits_for_a_track_that_ended() {
    let dir = tempfile::tempdir().unwrap();
    let args = format!("-f lavfi -i sine=d=1.2 {VIDEO} -g 25 -map 1 -map 0 -c:a aac");
    let (streams, packets) = clip(dir.path(), "a.mp4", &args);
    assert_eq!(streams.len(), 2);
    let specs = streams.iter().map(|s| TrackSpec { info: s.clone(), group: 0 }).collect();
    let mut segmenter = Segmenter::new(specs, Options::new(grid(1000), Container::Ts)).unwrap();
    let mut seen = 0;
    let mut count = |events: Vec<Event>| {
        seen += events.iter().filter(|e| matches!(e, Event::Segment(_))).count();
        seen
    };
    for packet in packets.iter().filter(|p| p.stream == 1) {
        count(segmenter.push(1, packet).unwrap());
    }
    count(segmenter.end_track(1).unwrap());
    for packet in packets.iter().filter(|p| p.stream == 0) {
        count(segmenter.push(0, packet).unwrap());
    }
    // All but the last are out before the end.
    assert_eq!(count(vec![]), 3);
    assert!(!segmenter.is_done());
    assert_eq!(count(segmenter.finish().unwrap()), 4);
    assert!(segmenter.is_done() && segmenter.finish().unwrap().is_empty());
}

#[test]
fn copies_follow_their_key_frames() {
    let dir = tempfile::tempdir().unwrap();
    let forced = "-g 250 -force_key_frames 0,0.4,1.6,1.8,3.2";
    let (streams, packets) = clip(dir.path(), "a.mp4", &format!("{VIDEO} {forced}"));
    let keys: Vec<Timestamp> = packets.iter().filter(|p| p.key).map(|p| p.presentation().unwrap()).collect();
    assert_eq!(keys.len(), 5);
    let plan = Plan::from_key_frames(&keys, Timestamp::new(1000, MS)).unwrap();
    let planned = plan.segments(Timestamp::new(4000, MS), None);
    let events = segment(&streams, &packets, Options::new(plan, Container::Cmaf));
    let made: Vec<_> =
        segments(&events, 0).iter().map(|s| (s.sequence, s.start.micros(), s.duration.micros())).collect();
    let promised: Vec<_> =
        planned.iter().map(|s| (s.sequence, s.start.micros(), s.duration.micros())).collect();
    assert_eq!(made, promised);
    assert_eq!(made, [(0, 0, 1_600_000), (1, 1_600_000, 1_600_000), (2, 3_200_000, 800_000)]);
    // On the bare grid the same cuts have gaps in their numbers, unless they are counted.
    let numbers = |count_from| {
        let mut options = Options::new(grid(1000), Container::Cmaf);
        options.count_from = count_from;
        let events = segment(&streams, &packets, options);
        segments(&events, 0).iter().map(|s| s.sequence).collect::<Vec<_>>()
    };
    assert_eq!((numbers(None), numbers(Some(7))), (vec![0, 1, 3], vec![7, 8, 9]));
}

#[test]
fn a_run_with_an_end_stops_there() {
    let dir = tempfile::tempdir().unwrap();
    let (streams, packets) = clip(dir.path(), "a.mp4", &format!("{VIDEO} -g 25"));
    let mut options = Options::new(grid(1000), Container::Cmaf);
    (options.first, options.end) = (1, Some(3));
    let spec = TrackSpec { info: streams[0].clone(), group: 0 };
    let mut segmenter = Segmenter::new(vec![spec], options).unwrap();
    let mut numbers = Vec::new();
    let mut used = 0;
    for packet in &packets {
        let events = segmenter.push(0, packet).unwrap();
        numbers.extend(segments(&events, 0).iter().map(|s| s.sequence));
        used += 1;
        if segmenter.is_done() {
            break;
        }
    }
    assert_eq!((numbers, used), (vec![1, 2], 76));
}

#[test]
fn refusals_name_the_field() {
    let dir = tempfile::tempdir().unwrap();
    let (streams, _) = clip(dir.path(), "a.mp4", &format!("{VIDEO} -g 25"));
    let spec = || TrackSpec { info: streams[0].clone(), group: 0 };
    let refused = |specs, options| {
        let error = Segmenter::new(specs, options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.message().to_owned()
    };
    let options = |container| Options::new(grid(1000), container);
    assert!(refused(vec![], options(Container::Ts)).starts_with("tracks: "));
    assert!(refused(vec![spec(), spec()], options(Container::Cmaf)).starts_with("tracks[1]: "));
    let mut parts = options(Container::Ts);
    parts.part = Some(Timestamp::new(200, MS));
    assert!(refused(vec![spec()], parts).starts_with("part: "));
}

/// The loudest sample between two times, in dBFS.
fn peak(path: &str, from: f64, to: f64) -> f64 {
    let filter = format!(
        "atrim={from}:{to},asetnsamples=480000,astats=metadata=1,ametadata=print:key=lavfi.astats.Overall.Peak_level:file=-"
    );
    let text = run("ffmpeg", &["-v", "error", "-i", path, "-af", &filter, "-f", "null", "-"]);
    let value = text.lines().find_map(|l| l.strip_prefix("lavfi.astats.Overall.Peak_level=")).unwrap();
    if value == "-inf" { f64::NEG_INFINITY } else { value.parse().unwrap() }
}

#[test]
fn holes_in_sound_become_silence() {
    let dir = tempfile::tempdir().unwrap();
    let sounds = [
        ("mono", "-f lavfi -i sine=d=4:r=48000 -c:a aac", 1024.0),
        ("stereo", "-f lavfi -i sine=d=4:r=48000 -ac 2 -c:a aac", 1024.0),
        ("5.1", "-f lavfi -i sine=d=4:r=48000 -ac 6 -c:a aac", 1024.0),
        ("opus", "-f lavfi -i sine=d=4:r=48000 -ac 2 -c:a libopus", 960.0),
    ];
    for (name, args, samples) in sounds {
        let (streams, packets) = clip(dir.path(), "a.mp4", args);
        let frame = samples / 48000.0;
        let missing = |p: &&Packet| (1.5..2.1).contains(&p.presentation().unwrap().seconds());
        let broken: Vec<Packet> = packets.iter().filter(|p| !missing(p)).cloned().collect();
        for (container, extension) in [(Container::Cmaf, "mp4"), (Container::Ts, "ts")] {
            let of = |fill: bool| {
                let options = Options { fill, ..Options::new(grid(1000), container) };
                let events = segment(&streams, &broken, options);
                write_files(dir.path(), &events, &format!("{fill}.{extension}"))[&0].clone()
            };
            let steps = |path: &str| {
                let times = packets_of(path).remove(0);
                times.windows(2).map(|w| w[1].0 - w[0].0).fold(0.0, f64::max)
            };
            let (filled, holed) = (of(true), of(false));
            assert!(steps(&filled) < frame + 0.002, "{name} {extension}: {}", steps(&filled));
            assert!(steps(&holed) > 0.5, "{name} {extension}: {}", steps(&holed));
            decode_strictly(&filled);
            assert!(peak(&filled, 0.5, 1.4) > -30.0, "{name} {extension}");
            let quiet = peak(&filled, 1.62, 2.0);
            assert!(quiet < -80.0, "{name} {extension}: {quiet}");
        }
    }
}

#[test]
fn sound_of_joined_pieces_stays_with_the_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let (streams, packets) = clip(dir.path(), "a.mp4", "-f lavfi -i sine=d=8:r=48000 -c:a aac");
    // Pieces of 40 frames, each with one of priming that lies on the end of the piece before.
    let joined = packets.iter().enumerate().map(|(n, packet)| {
        let back = 1024 * (n as i64 / 40);
        Packet { pts: packet.pts.map(|t| t - back), dts: packet.dts.map(|t| t - back), ..packet.clone() }
    });
    let joined: Vec<Packet> = joined.collect();
    let at = |n: usize| joined[n].presentation().unwrap().seconds();
    for (container, extension) in [(Container::Cmaf, "mp4"), (Container::Ts, "ts")] {
        for fill in [false, true] {
            let options = Options { fill, ..Options::new(grid(2000), container) };
            let events = segment(&streams, &joined, options);
            let file = &write_files(dir.path(), &events, extension)[&0];
            decode_strictly(file);
            let times = packets_of(file).remove(0);
            let (first, last) = (times[0].0, times[times.len() - 1].0);
            let late = (last - first) - (at(joined.len() - 1) - at(0));
            assert!(late.abs() < 0.001, "{extension} {fill}: {late}");
            assert_eq!(times.len(), joined.len() - (joined.len() - 1) / 40, "{extension} {fill}");
            let steps = times.windows(2).map(|w| w[1].0 - w[0].0);
            assert!(steps.fold(0.0, f64::max) < 0.0225, "{extension} {fill}");
        }
    }
}

#[test]
fn sound_that_goes_on_behind_the_pictures_is_cut_on() {
    let dir = tempfile::tempdir().unwrap();
    let args = format!("-f lavfi -i sine=d=10.1 {VIDEO} -g 25 -map 1 -map 0 -c:a aac");
    let (streams, packets) = clip(dir.path(), "a.mp4", &args);
    // The pictures end at a cut, and between two; 0.1 s behind a cut is no segment.
    for (length, starts) in [(2000, vec![0.0, 2.0, 4.0, 6.0, 8.0]), (3000, vec![0.0, 3.0, 6.0, 9.0])] {
        for (container, extension) in [(Container::Cmaf, "mp4"), (Container::Ts, "ts")] {
            for early in [false, true] {
                let options = Options { beyond: Some(grid(length)), ..Options::new(grid(length), container) };
                let ts = container == Container::Ts;
                let group = |i: usize| if ts { 0 } else { i };
                let specs =
                    streams.iter().enumerate().map(|(i, s)| TrackSpec { info: s.clone(), group: group(i) });
                let mut segmenter = Segmenter::new(specs.collect(), options).unwrap();
                let mut events = Vec::new();
                let mut left = packets.iter().filter(|p| p.stream == 0).count();
                for packet in &packets {
                    events.extend(segmenter.push(packet.stream, packet).unwrap());
                    left -= usize::from(packet.stream == 0);
                    if early && packet.stream == 0 && left == 0 {
                        events.extend(segmenter.end_track(0).unwrap());
                    }
                }
                let known = segments(&events, group(1)).len();
                events.extend(segmenter.finish().unwrap());
                let cut = segments(&events, group(1));
                // Nobody waits for the end who knows that the pictures have ended.
                assert!(!early || known + 1 == starts.len(), "{length} {extension}: {known}");
                let name = format!("{length} {extension}");
                assert_eq!(cut.len(), starts.len(), "{name}");
                for (i, (s, start)) in cut.iter().zip(&starts).enumerate() {
                    assert_eq!(s.sequence, i as u64, "{name}");
                    assert!((s.start.seconds() - start).abs() < 0.024, "{name} {i}: {}", s.start);
                    let end = starts.get(i + 1).copied().unwrap_or(10.1);
                    let length = s.duration.seconds();
                    assert!((length - (end - start)).abs() < 0.06, "{name} {i}: {length}");
                    // Each has a clock, also those that have no pictures.
                    let bytes = s.bytes();
                    let clock = |p: &[u8]| {
                        (p[1] & 31, p[2]) == (1, 0) && p[3] & 32 != 0 && p[4] > 0 && p[5] & 16 != 0
                    };
                    let clocks = bytes.chunks(188).filter(|p| ts && clock(p)).count();
                    assert!(!ts || clocks > 9, "{name} {i}: {clocks}");
                }
                let file = &write_files(dir.path(), &events, extension)[&group(1)];
                decode_strictly(file);
                let sound = packets_of(file).pop().unwrap();
                assert_eq!(sound.len(), packets.iter().filter(|p| p.stream == 1).count(), "{name}");
            }
        }
    }
}

/// A packet of the second track, but for the priming in front of time 0, which live streams do not have.
fn is_sound(packet: &Packet) -> bool {
    packet.stream == 1 && packet.presentation().unwrap().ticks >= 0
}

#[test]
fn live_sound_goes_on_while_the_pictures_are_away() {
    let dir = tempfile::tempdir().unwrap();
    let video = VIDEO.replace("d=4", "d=30");
    let args = format!("-f lavfi -i sine=r=48000:d=30 {video} -map 1 -map 0 -c:a aac -g 50");
    let (streams, packets) = clip(dir.path(), "a.mp4", &args);
    // The camera freezes at 5.3 s, in the middle of a segment; it sends again from 15.1 s on, in the middle of a group.
    let away = |p: &&Packet| p.stream == 0 && (5.3..15.1).contains(&p.presentation().unwrap().seconds());
    let sent: Vec<Packet> = packets.iter().filter(|p| !away(p)).cloned().collect();
    let lengths = Lengths { least: Timestamp::new(1900, MS), most: Timestamp::new(2450, MS) };
    for (container, part) in [(Container::Cmaf, Some(Timestamp::new(202, MS))), (Container::Ts, None)] {
        let options = Options {
            count_from: Some(0),
            lengths: Some(lengths),
            silence: Some(Timestamp::new(3000, MS)),
            part,
            ..Options::new(grid(2000), container)
        };
        let ts = container == Container::Ts;
        let specs = streams
            .iter()
            .enumerate()
            .map(|(i, s)| TrackSpec { info: s.clone(), group: if ts { 0 } else { i } });
        let mut segmenter = Segmenter::new(specs.collect(), options).unwrap();
        let sound = usize::from(!ts);
        let (mut events, mut alone, mut published) = (Vec::new(), false, 0.0_f64);
        for packet in &sent {
            events.extend(segmenter.push(packet.stream, packet).unwrap());
            alone |= segmenter.goes_on_alone();
            let ends = events.iter().rev().find_map(|e| match e {
                Event::Part(part) if part.group == sound => {
                    Some(part.start.seconds() + part.duration.seconds())
                }
                Event::Segment(s) if s.group == sound => Some(s.start.seconds() + s.duration.seconds()),
                _ => None,
            });
            published = published.max(ends.unwrap_or(0.0));
            let now = packet.decode().unwrap().seconds();
            // Never further behind than the silence, a segment in MPEG-TS, and what waits for a part.
            let most = if ts { 5.6 } else { 3.6 };
            assert!(now - published < most, "{container:?}: at {now} only {published} is there");
        }
        assert!(alone && !segmenter.goes_on_alone(), "{container:?}");
        events.extend(segmenter.finish().unwrap());
        let of = |group| -> Vec<(u64, f64, f64)> {
            let made = segments(&events, group);
            made.iter().map(|s| (s.sequence, s.start.seconds(), s.duration.seconds())).collect()
        };
        let heard = of(sound);
        for (i, pair) in heard.windows(2).enumerate() {
            assert_eq!(pair[0].0, i as u64, "{container:?} {heard:?}");
            let step = pair[1].1 - pair[0].1;
            assert!((step - pair[0].2).abs() < 0.05 && step < 2.46, "{container:?} {heard:?}");
        }
        if !ts {
            let seen = of(0);
            let numbers: Vec<u64> = seen.iter().map(|s| s.0).collect();
            assert_eq!(numbers, [0, 1, 2, 8, 9, 10, 11, 12, 13, 14], "{seen:?}");
            for (n, start, _) in &seen {
                let beside = heard.iter().find(|s| s.0 == *n).unwrap().1;
                assert!((0.0..0.03).contains(&(beside - start)), "{n}: {start}, {beside}");
                assert!((start - (*n * 2) as f64).abs() < 1e-6, "{n}: {start}");
            }
            assert!(segments(&events, 0).iter().all(|s| s.independent));
        }
        let files = write_files(dir.path(), &events, if ts { "ts" } else { "mp4" });
        files.values().for_each(|file| decode_strictly(file));
        let all = packets_of(&files[&sound]).pop().unwrap();
        assert_eq!(all.len(), packets.iter().filter(|p| is_sound(p)).count(), "{container:?}");
        // What is seen is what was sent, but for what came back in front of a key frame; at its own time.
        let shown = packets_of(&files[&0]).remove(0);
        let zero = shown[0].0;
        assert!(shown.iter().map(|p| p.0 - zero).all(|at| !(5.31..15.9).contains(&at)), "{container:?}");
        assert_eq!(shown.len(), 133 + 350, "{container:?}");
    }
}

#[test]
fn live_groups_that_reach_back_keep_their_times() {
    let dir = tempfile::tempdir().unwrap();
    // Open groups: pictures that are decoded behind a key frame are shown before it.
    let args = "-f lavfi -i sine=r=48000:d=9 -f lavfi -i testsrc2=s=160x90:r=25:d=9 -map 1 -map 0 -c:a aac -c:v libx265 \
        -preset ultrafast -tag:v hvc1 -pix_fmt yuv420p \
        -x265-params log-level=error:keyint=50:min-keyint=50:scenecut=0:open-gop=1:bframes=4:b-adapt=0:b-pyramid=1:rc-lookahead=20";
    let (streams, packets) = clip(dir.path(), "a.mp4", args);
    let times = |p: &Packet| (p.decode().unwrap().seconds(), p.presentation().unwrap().seconds());
    let key = packets.iter().filter(|p| p.stream == 0 && p.key).map(times).nth(1).unwrap();
    let reaches = |p: &&Packet| p.stream == 0 && times(p).0 > key.0 && times(p).1 < key.1;
    assert!(packets.iter().filter(reaches).count() > 1, "they are open");
    let lengths = Lengths { least: Timestamp::new(1900, MS), most: Timestamp::new(2450, MS) };
    for part in [None, Some(Timestamp::new(202, MS))] {
        let options = Options {
            count_from: Some(0),
            lengths: Some(lengths),
            part,
            ..Options::new(grid(2000), Container::Cmaf)
        };
        let events = segment(&streams, &packets, options);
        let file = &write_files(dir.path(), &events, "mp4")[&0];
        let shown: Vec<f64> = packets_of(file).remove(0).iter().map(|p| p.0).collect();
        assert_eq!(shown.len(), 225);
        let uneven: Vec<_> =
            shown.windows(2).filter(|w| (w[1] - w[0] - 0.04).abs() > 0.001).map(|w| (w[0], w[1])).collect();
        assert!(uneven.is_empty(), "{uneven:?}");
        for s in segments(&events, 0) {
            let parts: f64 = events
                .iter()
                .filter_map(|e| match e {
                    Event::Part(p) if (p.group, p.sequence) == (0, s.sequence) => Some(p.duration.seconds()),
                    _ => None,
                })
                .sum();
            // Parts are as long as they take to decode: the first segment ends where the next one's key frame is decoded, and the
            // last one begins there.
            let reach = if [0, 4].contains(&s.sequence) { key.1 - key.0 } else { 0.0 };
            assert!(
                part.is_none() || (parts - s.duration.seconds()).abs() < 0.09 + reach,
                "{parts} {}",
                s.duration
            );
        }
    }
}

#[test]
fn pictures_that_come_back_late_find_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let video = VIDEO.replace("d=4", "d=40");
    let args = format!("-f lavfi -i sine=r=48000:d=40 {video} -map 1 -map 0 -c:a aac -g 25");
    let (streams, packets) = clip(dir.path(), "a.mp4", &args);
    let lengths = Lengths { least: Timestamp::new(1900, MS), most: Timestamp::new(2450, MS) };
    // The pictures come back at this time of theirs, and come so much later than the sound from then on.
    for (back, late) in [(12.7, 0.4), (13.0, 2.5), (12.3, 7.0)] {
        let mut sent: Vec<(f64, Packet)> = Vec::new();
        for packet in &packets {
            let at = packet.decode().unwrap().seconds();
            match (packet.stream, at) {
                (0, 6.0..) if at < back => {}
                (0, 6.0..) => sent.push((at + late, packet.clone())),
                _ => sent.push((at, packet.clone())),
            }
        }
        sent.sort_by(|a, b| a.0.total_cmp(&b.0));
        let sent: Vec<Packet> = sent.into_iter().map(|(_, packet)| packet).collect();
        let options = Options {
            count_from: Some(0),
            lengths: Some(lengths),
            silence: Some(Timestamp::new(3000, MS)),
            ..Options::new(grid(2000), Container::Cmaf)
        };
        let events = segment(&streams, &sent, options);
        let (seen, heard) = (segments(&events, 0), segments(&events, 1));
        let name = format!("from {back}, {late} late");
        assert!(heard.iter().enumerate().all(|(i, s)| s.sequence == i as u64), "{name}");
        let after: Vec<_> = seen.iter().filter(|s| s.start.seconds() > 7.0).collect();
        assert!(after.len() > 8, "{name}: {}", after.len());
        for s in &after {
            let beside = heard.iter().find(|h| h.sequence == s.sequence).unwrap().start.seconds();
            assert!((-0.26..0.03).contains(&(beside - s.start.seconds())), "{name}: {beside}, {}", s.start);
        }
        let first = after[0].start.seconds();
        assert!(first < back + 1.5 + (late - 2.0).max(0.0) * 2.0, "{name}: {first}");
        let files = write_files(dir.path(), &events, "mp4");
        files.values().for_each(|file| decode_strictly(file));
        let all = packets_of(&files[&1]).pop().unwrap();
        assert_eq!(all.len(), packets.iter().filter(|p| is_sound(p)).count(), "{name}");
    }
}
