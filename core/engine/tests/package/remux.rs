//! Remuxing real streams: nothing is lost, nothing moves, nothing is complained about.

use crate::media::{decode_strictly, make, packets_of, read};
use ghoststream::package::{Container, Event, Options, Plan, Segment, Segmenter, TrackSpec};
use ghoststream::packet::{MediaKind, Packet, StreamInfo};
use ghoststream::time::{Rational, Timestamp};
use std::collections::BTreeMap;
use std::path::Path;

pub const MS: Rational = Rational::new(1, 1000);

pub fn grid(ms: i64) -> Plan {
    Plan::grid(Timestamp::new(ms, MS)).unwrap()
}

/// Segments all packets; every track in a group of its own in CMAF, all in one in MPEG-TS.
pub fn segment(streams: &[StreamInfo], packets: &[Packet], options: Options) -> Vec<Event> {
    let ts = options.container == Container::Ts;
    let group = |i: usize| if ts { 0 } else { i };
    let specs = streams.iter().enumerate().map(|(i, s)| TrackSpec { info: s.clone(), group: group(i) });
    let mut segmenter = Segmenter::new(specs.collect(), options).unwrap();
    let mut events = Vec::new();
    for packet in packets {
        events.extend(segmenter.push(packet.stream, packet).unwrap());
    }
    events.extend(segmenter.finish().unwrap());
    events
}

/// The segments of a group.
pub fn segments<'a>(events: &'a [Event], group: usize) -> Vec<&'a Segment> {
    let of = |e: &'a Event| match e {
        Event::Segment(s) if s.group == group => Some(s),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

/// The init segments and segments of each group, concatenated, as files in `dir`.
pub fn write_files(dir: &Path, events: &[Event], extension: &str) -> BTreeMap<usize, String> {
    let mut files: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for event in events {
        match event {
            Event::Init { group, bytes: Some(bytes), .. } => {
                files.entry(*group).or_default().extend_from_slice(bytes)
            }
            Event::Segment(s) => files.entry(s.group).or_default().extend_from_slice(&s.bytes()),
            _ => {}
        }
    }
    let name = |group| dir.join(format!("out{group}.{extension}")).to_str().unwrap().to_owned();
    files
        .into_iter()
        .map(|(group, bytes)| {
            std::fs::write(name(group), bytes).unwrap();
            (group, name(group))
        })
        .collect()
}

/// Compares presentation times and key flags with the source's, `offset` seconds later, to within `slack`.
fn assert_same_times(name: &str, source: &[(f64, bool)], out: &[(f64, bool)], offset: f64, slack: f64) {
    assert_eq!(source.len(), out.len(), "{name}: packet count");
    for (i, (a, b)) in source.iter().zip(out).enumerate() {
        assert!((a.0 + offset - b.0).abs() <= slack, "{name}: packet {i} at {} became {}", a.0, b.0);
        assert_eq!(a.1, b.1, "{name}: key flag of packet {i}");
    }
}

fn cmaf_round_trip(clip: &str, args: &str, slack: f64) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join(clip);
    make(&source, args);
    let (streams, packets) = read(&source);
    let mut options = Options::new(grid(1000), Container::Cmaf);
    let video = packets.iter().find(|p| p.stream == 0).unwrap();
    options.origin = video.presentation().unwrap();
    let start = options.origin.seconds();
    let events = segment(&streams, &packets, options);
    let wanted = packets_of(source.to_str().unwrap());
    let files = write_files(dir.path(), &events, "mp4");
    assert_eq!(files.len(), streams.len());
    for (group, file) in &files {
        decode_strictly(file);
        let got = packets_of(file);
        assert_same_times(
            &format!("{clip} {}", streams[*group].codec),
            &wanted[*group],
            &got[0],
            -start,
            slack,
        );
        let cut = segments(&events, *group);
        assert!(cut.len() >= 2, "{clip}: {} segments", cut.len());
        assert!(cut.iter().all(|s| s.independent));
        // Each begins where the one before it ended.
        for pair in cut.windows(2) {
            let end = pair[0].start.seconds() + pair[0].duration.seconds();
            assert!((end - pair[1].start.seconds()).abs() < 2e-3, "{clip}: {end} {}", pair[1].start);
        }
    }
    let codecs = events.iter().filter_map(|e| match e {
        Event::Init { tracks, .. } => Some(tracks[0].codecs()),
        _ => None,
    });
    codecs.collect()
}

const H264: &str = "-f lavfi -i testsrc2=s=320x180:r=30000/1001:d=3 -f lavfi -i sine=r=48000:d=3 \
    -c:v libx264 -profile:v high -level 3.1 -pix_fmt yuv420p -g 30 -bf 2 -preset veryfast -c:a aac -b:a 64k";

#[test]
fn h264_and_aac_through_cmaf() {
    let codecs = cmaf_round_trip("a.mp4", H264, 1e-6);
    assert_eq!(codecs, ["avc1.64001f", "mp4a.40.2"]);
    // Millisecond time stamps and AnnexB-free framing of Matroska: times stay within their rounding.
    cmaf_round_trip("a.mkv", H264, 1.1e-3);
    // AnnexB and ADTS without extradata.
    cmaf_round_trip("a.ts", H264, 2e-5);
}

#[test]
fn hevc_and_opus_through_cmaf() {
    let args = "-f lavfi -i testsrc2=s=320x180:r=25:d=2 -f lavfi -i sine=r=48000:d=2 -c:v libx265 \
        -x265-params keyint=25:min-keyint=25:open-gop=0:log-level=none -preset ultrafast -pix_fmt yuv420p10le \
        -c:a libopus";
    let codecs = cmaf_round_trip("b.mkv", args, 1.1e-3);
    assert_eq!(codecs, ["hvc1.2.4.L60.90", "opus"]);
}

#[test]
fn av1_and_flac_through_cmaf() {
    let args = "-f lavfi -i testsrc2=s=320x180:r=24:d=2 -f lavfi -i sine=r=44100:d=2 -c:v libsvtav1 -preset 12 -g 24 \
        -pix_fmt yuv420p -c:a flac -strict -2";
    let codecs = cmaf_round_trip("c.mp4", args, 1e-5);
    assert_eq!(codecs, ["av01.0.00M.08", "fLaC"]);
}

#[test]
fn vp9_and_mp3_through_cmaf() {
    let args = "-f lavfi -i testsrc2=s=320x180:r=30:d=2 -f lavfi -i sine=r=44100:d=2 -c:v libvpx-vp9 -g 30 \
        -deadline realtime -cpu-used 8 -pix_fmt yuv420p -c:a libmp3lame";
    let codecs = cmaf_round_trip("d.mkv", args, 2e-3);
    assert_eq!(codecs, ["vp09.00.11.08", "mp4a.6B"]);
}

#[test]
fn dolby_through_cmaf() {
    let video = "-f lavfi -i testsrc2=s=320x180:r=30:d=2 -f lavfi -i anoisesrc=r=48000:d=2 -c:v libx264 -g 30 \
        -pix_fmt yuv420p -preset veryfast";
    let codecs = cmaf_round_trip("e.mp4", &format!("{video} -ac 6 -c:a ac3"), 1e-4);
    assert_eq!(codecs[1], "ac-3");
    let codecs = cmaf_round_trip("f.mp4", &format!("{video} -ac 2 -c:a eac3"), 1e-4);
    assert_eq!(codecs[1], "ec-3");
}

fn ts_round_trip(clip: &str, args: &str, slack: f64) {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join(clip);
    make(&source, args);
    let (streams, packets) = read(&source);
    let events = segment(&streams, &packets, Options::new(grid(1000), Container::Ts));
    let files = write_files(dir.path(), &events, "ts");
    decode_strictly(&files[&0]);
    let (wanted, got) = (packets_of(source.to_str().unwrap()), packets_of(&files[&0]));
    assert_eq!(wanted.len(), got.len());
    for (i, stream) in streams.iter().enumerate() {
        let name = format!("{clip} {}", stream.codec);
        assert_same_times(&name, &wanted[i], &got[i], 1.4, slack);
    }
    // Each segment stands alone: tables first, decodable by itself.
    for (i, s) in segments(&events, 0).iter().enumerate() {
        let bytes = s.bytes();
        assert_eq!((bytes.len() % 188, bytes[0], &bytes[1..3]), (0, 0x47, &[0x40, 0][..]));
        let alone = dir.path().join(format!("{i}.ts"));
        std::fs::write(&alone, &bytes).unwrap();
        decode_strictly(alone.to_str().unwrap());
        // The I-frame range is one whole picture.
        let range = s.key_range.clone().unwrap();
        let key = dir.path().join(format!("{i}.key.ts"));
        std::fs::write(&key, &bytes[range.start as usize..range.end as usize]).unwrap();
        assert_eq!(packets_of(key.to_str().unwrap())[0].len(), 1);
    }
}

#[test]
fn h264_and_aac_through_ts() {
    ts_round_trip("a.mp4", H264, 2e-5);
    ts_round_trip("a.ts", &format!("{H264} -muxdelay 0 -muxpreload 0"), 2e-5);
}

#[test]
fn hevc_and_dolby_through_ts() {
    let video = "-f lavfi -i testsrc2=s=320x180:r=25:d=2 -f lavfi -i anoisesrc=r=48000:d=2 -c:v libx265 \
        -x265-params keyint=25:min-keyint=25:open-gop=0:log-level=none -preset ultrafast -pix_fmt yuv420p";
    for audio in ["ac3", "eac3", "libmp3lame", "libopus"] {
        ts_round_trip("g.mkv", &format!("{video} -c:a {audio}"), 1.6e-3);
    }
}

#[test]
fn any_run_makes_the_same_segments() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("a.mp4");
    make(&source, H264);
    let (mut streams, packets) = read(&source);
    streams[1].audio.as_mut().unwrap().initial_padding = 1024;
    let all = segment(&streams, &packets, Options::new(grid(1000), Container::Cmaf));
    let mut options = Options::new(grid(1000), Container::Cmaf);
    (options.first, options.end) = (1, Some(2));
    // A run that began a little before the second segment.
    let late: Vec<Packet> =
        packets.iter().filter(|p| p.presentation().unwrap() > Timestamp::new(900, MS)).cloned().collect();
    let part = segment(&streams, &late, options);
    for group in 0..2 {
        let (whole, part) = (segments(&all, group), segments(&part, group));
        assert_eq!(part.len(), 1);
        assert_eq!((part[0].sequence, part[0].start, part[0].duration), {
            let s = whole.iter().find(|s| s.sequence == 1).unwrap();
            (1, s.start, s.duration)
        });
        assert!(part[0].bytes() == whole[1].bytes(), "group {group} differs");
    }
}

#[test]
fn parts_keep_the_rule() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("a.mp4");
    make(&source, H264);
    let (streams, packets) = read(&source);
    for eager in [false, true] {
        let mut options = Options::new(grid(1000), Container::Cmaf);
        (options.part, options.eager) = (Some(Timestamp::new(250, MS)), eager);
        let events = segment(&streams, &packets, options);
        for (group, stream) in streams.iter().enumerate() {
            let of = |e: &Event| match e {
                Event::Part(p) if p.group == group => Some(p.clone()),
                _ => None,
            };
            let parts: Vec<_> = events.iter().filter_map(of).collect();
            let cut = segments(&events, group);
            for (i, part) in parts.iter().enumerate() {
                let last = parts.get(i + 1).is_none_or(|next| next.sequence != part.sequence);
                let length = part.duration.seconds();
                assert!(length <= 0.25 && (last || length >= 0.2125), "{} part {i}: {length}", stream.codec);
            }
            for s in &cut {
                let own: Vec<_> = parts.iter().filter(|p| p.sequence == s.sequence).collect();
                assert_eq!(own.len(), s.chunks.len());
                assert!(own.iter().zip(&s.chunks).all(|(p, c)| p.bytes == *c));
                let sum: f64 = own.iter().map(|p| p.duration.seconds()).sum();
                assert!((sum - s.duration.seconds()).abs() < 1e-4, "{sum} {}", s.duration);
            }
            assert!(parts[0].independent);
        }
        for file in write_files(dir.path(), &events, "mp4").values() {
            decode_strictly(file);
        }
        assert!(streams.iter().any(|s| s.kind == MediaKind::Audio));
    }
}
