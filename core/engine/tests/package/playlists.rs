//! Whole presentations, opened by FFmpeg as a player would: playlist, init segments, segments.

use crate::media::{decode_strictly, make, packets_of, read, run};
use crate::remux::{MS, grid, segment, segments};
use ghoststream::package::bandwidth::Bandwidth;
use ghoststream::package::hls::{
    Map, MediaPlaylist, MediaSegment, Multivariant, Rendition, RenditionKind, Variant, VideoRange,
};
use ghoststream::package::{Container, Event, Options, Track, cmaf, dash, webvtt};
use ghoststream::packet::{Codec, MediaKind, StreamInfo};
use ghoststream::time::Timestamp;
use std::path::Path;

const CLIP: &str = "-f lavfi -i testsrc2=s=320x180:r=25:d=3 -f lavfi -i sine=r=48000:d=3 -c:v libx264 \
    -pix_fmt yuv420p -g 25 -bf 2 -preset veryfast -c:a aac -b:a 64k -metadata:s:a:0 language=eng";

fn tracks(events: &[Event], wanted: usize) -> &[Track] {
    let of = |e| match e {
        &Event::Init { group, ref tracks, .. } if group == wanted => Some(&tracks[..]),
        _ => None,
    };
    events.iter().find_map(of).unwrap()
}

/// Writes a group's segments and its media playlist; its bandwidth.
fn write_playlist(dir: &Path, events: &[Event], group: usize, ts: bool) -> Bandwidth {
    let extension = if ts { "ts" } else { "m4s" };
    let mut entries = Vec::new();
    let mut sizes = Vec::new();
    let mut map = None;
    for event in events {
        if let Event::Init { group: g, bytes: Some(bytes), .. } = event
            && *g == group
        {
            std::fs::write(dir.join(format!("{group}-init.mp4")), bytes).unwrap();
            map = Some(Map { uri: format!("{group}-init.mp4"), range: None });
        }
    }
    for s in segments(events, group) {
        let name = format!("{group}-{}.{extension}", s.sequence);
        std::fs::write(dir.join(&name), s.bytes()).unwrap();
        let mut entry = MediaSegment::new(&name, s.duration);
        entry.map = map.clone();
        sizes.push((s.len(), s.duration));
        entries.push(entry);
    }
    std::fs::write(dir.join(format!("{group}.m3u8")), MediaPlaylist::vod(entries).to_string()).unwrap();
    let i_frames = segments(events, group)
        .into_iter()
        .filter_map(|s| MediaSegment::i_frame(format!("{group}-{}.{extension}", s.sequence), s, map.clone()));
    let mut i_frames = MediaPlaylist::vod(i_frames.collect());
    (i_frames.i_frames_only, i_frames.independent_segments) = (true, false);
    std::fs::write(dir.join(format!("{group}-i.m3u8")), i_frames.to_string()).unwrap();
    Bandwidth::measure(&sizes, Timestamp::new(1000, MS))
}

#[test]
fn hls_with_an_audio_group() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("a.mp4");
    make(&source, CLIP);
    let (streams, packets) = read(&source);
    let mut options = Options::new(grid(1000), Container::Cmaf);
    options.key_chunk = true;
    let events = segment(&streams, &packets, options);
    let (video, audio) =
        (write_playlist(dir.path(), &events, 0, false), write_playlist(dir.path(), &events, 1, false));
    let (v, a) = (&tracks(&events, 0)[0], &tracks(&events, 1)[0]);
    let mut rendition = Rendition::new(RenditionKind::Audio, "aac", "English");
    (rendition.uri, rendition.default, rendition.channels) = (Some("1.m3u8".into()), true, Some(a.channels));
    let both = video + audio;
    let playlist = Multivariant {
        renditions: vec![rendition],
        variants: vec![Variant {
            uri: "0.m3u8".into(),
            bandwidth: both.peak,
            average_bandwidth: Some(both.average),
            codecs: vec![v.codecs(), a.codecs()],
            supplemental_codecs: v.supplemental_codecs(),
            resolution: Some((v.width, v.height)),
            frame_rate: v.frame_rate(),
            video_range: Some(VideoRange::of(v.colour)),
            audio: Some("aac".into()),
            subtitles: None,
        }],
        i_frames: vec![],
        independent_segments: true,
    };
    assert!(
        playlist
            .to_string()
            .contains("CODECS=\"avc1.64000c,mp4a.40.2\",RESOLUTION=320x180,FRAME-RATE=25.000")
    );
    let path = dir.path().join("main.m3u8");
    std::fs::write(&path, playlist.to_string()).unwrap();
    // FFmpeg lists renditions before variants.
    let got = packets_of(path.to_str().unwrap());
    let counts: Vec<usize> = got.iter().map(Vec::len).collect();
    assert_eq!(counts, [packets.iter().filter(|p| p.stream == 1).count(), 75]);
    assert!(got[1][0].0.abs() < 1e-3, "video starts at {}", got[1][0].0);
    decode_hls(&path);
    // One picture per segment.
    let i_frames = packets_of(dir.path().join("0-i.m3u8").to_str().unwrap());
    assert_eq!(i_frames[0].len(), 3);
    assert!(i_frames[0].iter().all(|p| p.1));
}

fn decode_hls(path: &Path) {
    let args = ["-v", "warning", "-xerror", "-allowed_extensions", "ALL", "-i", path.to_str().unwrap()];
    run("ffmpeg", &[&args[..], &["-f", "null", "-"]].concat());
}

#[test]
fn hls_in_ts() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("a.mp4");
    make(&source, CLIP);
    let (streams, packets) = read(&source);
    let events = segment(&streams, &packets, Options::new(grid(1000), Container::Ts));
    write_playlist(dir.path(), &events, 0, true);
    let path = dir.path().join("0.m3u8");
    let got = packets_of(path.to_str().unwrap());
    assert_eq!(got[0].len(), 75);
    decode_hls(&path);
    assert_eq!(packets_of(dir.path().join("0-i.m3u8").to_str().unwrap())[0].len(), 3);
    let languages = ["-v", "error", "-show_entries", "stream_tags=language", "-of", "csv=p=0"];
    let segment = dir.path().join("0-1.ts");
    assert_eq!(run("ffprobe", &[&languages[..], &[segment.to_str().unwrap()]].concat()).trim(), "eng");
}

#[test]
fn dash_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("a.mp4");
    make(&source, CLIP);
    let (streams, packets) = read(&source);
    let events = segment(&streams, &packets, Options::new(grid(1000), Container::Cmaf));
    let mut sets = Vec::new();
    for (group, content) in [(0, dash::Content::Video), (1, dash::Content::Audio)] {
        let bandwidth = write_playlist(dir.path(), &events, group, false);
        let track = &tracks(&events, group)[0];
        let timeline =
            segments(&events, group).iter().map(|s| dash::TimelineEntry::of(s, track.timescale)).collect();
        let template = dash::SegmentTemplate {
            timescale: track.timescale,
            initialization: format!("{group}-init.mp4"),
            media: format!("{group}-$Number$.m4s"),
            start_number: 0,
            end_number: None,
            presentation_time_offset: 0,
            timeline,
            availability_time_offset: None,
        };
        let mut set = dash::AdaptationSet::new(content);
        set.language = track.info.language.clone();
        let source = dash::Source::Template(template);
        set.representations.push(dash::Representation::of(group.to_string(), track, bandwidth.peak, source));
        sets.push(set);
    }
    let manifest = dash::Manifest {
        presentation: dash::Presentation::Static { duration: Timestamp::new(3000, MS) },
        min_buffer: Timestamp::new(1000, MS),
        max_segment: Some(Timestamp::new(1100, MS)),
        periods: vec![dash::Period {
            id: "0".into(),
            start: Timestamp::new(0, MS),
            duration: None,
            adaptation_sets: sets,
        }],
    };
    let path = dir.path().join("manifest.mpd");
    std::fs::write(&path, manifest.to_string()).unwrap();
    let got = packets_of(path.to_str().unwrap());
    let audio = packets.iter().filter(|p| p.stream == 1).count();
    // FFmpeg 5.1's DASH demuxer loses the last audio packet of its own manifests, too.
    assert!(got[0].len() == 75 && (audio - 1..=audio).contains(&got[1].len()), "{}", got[1].len());
    assert!(got[0][0].0.abs() < 1e-3, "video starts at {}", got[0][0].0);
    decode_strictly(path.to_str().unwrap());
}

#[test]
fn subtitles_in_fragments() {
    let dir = tempfile::tempdir().unwrap();
    let info = StreamInfo::new(MediaKind::Subtitle, Codec::WebVtt, MS);
    let track = Track::new(&info, None).unwrap();
    let cues =
        [webvtt::Cue::new(200_000, 1_500_000, "one"), webvtt::Cue::new(1_200_000, 1_800_000, "<i>two</i>")];
    let mut bytes = cmaf::init_segment(&track).unwrap().to_vec();
    for start in [0, 1_000_000] {
        let samples = webvtt::samples(&cues, start, start + 1_000_000, track.timescale);
        let length: u32 = samples.iter().map(|s| s.duration).sum();
        assert_eq!(length, track.timescale);
        let options = cmaf::ChunkOptions { sequence: 1, segment_start: true, ..Default::default() };
        bytes.extend_from_slice(&cmaf::write_chunk(&track, &samples, &options).unwrap().bytes);
    }
    let path = dir.path().join("s.mp4");
    std::fs::write(&path, bytes).unwrap();
    // FFmpeg has no wvtt decoder, but its demuxer sees every sample: empty, 1, 1, 1+2, 2, empty.
    assert_eq!(packets_of(path.to_str().unwrap())[0].len(), 6);
    let vtt = dir.path().join("s.vtt");
    std::fs::write(&vtt, webvtt::segment(&cues, 0, 2_000_000, 0)).unwrap();
    let srt = run("ffmpeg", &["-v", "warning", "-i", vtt.to_str().unwrap(), "-f", "srt", "-"]);
    assert!(srt.contains("00:00:00,200 --> 00:00:01,500\none") && srt.contains("<i>two</i>"), "{srt}");
}
