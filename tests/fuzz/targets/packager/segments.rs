//! The segmenter, with streams and packets out of the input, and the playlists and manifests of what it makes.
//! `corpus.py` writes inputs in the same layout from real streams.

use crate::input::{CODECS, Input};
use bytes::Bytes;
use ghoststream::frame::{ChannelLayout, Colour, HdrMetadata};
use ghoststream::package::dash::{self, AdaptationSet, Content, Manifest, Period, Presentation};
use ghoststream::package::hls::{MediaPart, MediaPlaylist, MediaSegment};
use ghoststream::package::{Container, Event, Options, Plan, Segmenter, Track, TrackSpec};
use ghoststream::packet::{AudioInfo, FieldOrder, MediaKind, Packet, SideData, StreamInfo, VideoInfo};
use ghoststream::time::{Rational, Timestamp};
use std::collections::BTreeMap;

const MILLISECONDS: Rational = Rational::new(1, 1000);
/// More packets than this only take time.
const PACKETS: usize = 400;

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let Some(options) = options(&mut input) else { return };
    let shared = options.container == Container::Ts;
    let count = usize::from(input.u8() % 4);
    let tracks: Vec<TrackSpec> = (0..count)
        .map(|i| TrackSpec { info: stream(&mut input), group: if shared { 0 } else { i } })
        .collect();
    let bases: Vec<Rational> = tracks.iter().map(|t| t.info.time_base).collect();
    let parts = options.part.is_some();
    let Ok(mut segmenter) = Segmenter::new(tracks, options) else { return };
    let mut made = Made { parts, ..Made::default() };
    for _ in 0..PACKETS {
        if input.is_empty() {
            break;
        }
        let (track, packet) = packet(&mut input, &bases);
        match segmenter.push(track, &packet) {
            Ok(events) => made.take(events),
            Err(_) => return made.write(),
        }
    }
    if let Ok(events) = segmenter.finish() {
        made.take(events);
        assert!(segmenter.is_done());
    }
    made.write();
}

fn options(input: &mut Input) -> Option<Options> {
    let flags = input.u8();
    let is = |bit: u8| flags & 1 << bit != 0;
    let target = Timestamp::new(i64::from(input.u16()), MILLISECONDS);
    let plan = Plan::grid(target).ok()?;
    let container = if is(0) { Container::Ts } else { Container::Cmaf };
    let mut options = Options::new(plan, container);
    options.origin = Timestamp::new(input.i64(), MILLISECONDS);
    let (first, second) = (u64::from(input.u8()), u64::from(input.u8()));
    options.first = first;
    options.part = is(1).then_some(Timestamp::new(second as i64, MILLISECONDS));
    options.eager = is(2);
    options.index = is(3);
    options.key_chunk = is(4);
    options.end = is(5).then_some(second);
    options.count_from = is(6).then_some(second);
    Some(options)
}

fn stream(input: &mut Input) -> StreamInfo {
    let codec = CODECS[usize::from(input.u8()) % CODECS.len()].clone();
    let base = Rational::new(input.i32(), input.i32());
    let kind = codec.kind().unwrap_or(MediaKind::Data);
    let mut info = StreamInfo::new(kind, codec, base);
    let (a, b, rate) =
        (u32::from(input.u16()), u32::from(input.u16()), Rational::new(input.i32(), input.i32()));
    match kind {
        MediaKind::Video => {
            info.video = Some(VideoInfo {
                width: a,
                height: b,
                format: None,
                frame_rate: (rate.num != 0).then_some(rate),
                constant_rate: None,
                sample_aspect: Rational::new(1, 1),
                colour: Colour::default(),
                hdr: HdrMetadata::default(),
                rotation: 0.0,
                mirrored: false,
                field_order: FieldOrder::Unknown,
                reorder: 0,
            });
        }
        _ => {
            info.audio = Some(AudioInfo {
                sample_rate: rate.num.unsigned_abs(),
                layout: ChannelLayout { channels: b, name: String::new() },
                format: None,
                frame_size: a,
                initial_padding: rate.den.unsigned_abs(),
            });
        }
    }
    let length = usize::from(input.u16());
    info.extradata = Bytes::copy_from_slice(input.slice(length));
    info
}

fn packet(input: &mut Input, bases: &[Rational]) -> (usize, Packet) {
    let flags = input.u8();
    let is = |bit: u8| flags & 1 << bit != 0;
    // One past the last track too, which must be refused.
    let track = usize::from(flags & 3);
    let base = bases.get(track).copied().unwrap_or(MILLISECONDS);
    let (pts, dts, duration) = (input.i64(), input.i64(), i64::from(input.i32()));
    let length = usize::from(input.u16());
    let mut packet = Packet::new(Bytes::copy_from_slice(input.slice(length)), pts, duration, base);
    packet.key = is(2);
    packet.pts = is(3).then_some(pts);
    packet.dts = is(4).then_some(dts);
    if is(5) {
        packet.side_data.push(SideData::NewExtradata(packet.data.clone()));
    }
    (track, packet)
}

/// What came out, by group.
#[derive(Default)]
struct Made {
    parts: bool,
    groups: BTreeMap<usize, Group>,
}

#[derive(Default)]
struct Group {
    tracks: Vec<Track>,
    segments: Vec<MediaSegment>,
    frames: Vec<MediaSegment>,
    waiting: Vec<MediaPart>,
    timeline: Vec<dash::TimelineEntry>,
    last: Option<u64>,
}

impl Made {
    fn take(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Init { group, tracks, bytes } => {
                    assert!(bytes.is_none_or(|b| !b.is_empty()));
                    self.groups.entry(group).or_default().tracks = tracks;
                }
                Event::Part(part) => {
                    assert!(self.parts && !part.bytes.is_empty());
                    let group = self.groups.entry(part.group).or_default();
                    group.waiting.push(MediaPart::new("part", &part));
                }
                Event::Segment(segment) => {
                    let group = self.groups.get_mut(&segment.group).expect("an init comes before a segment");
                    assert!(group.last.is_none_or(|last| segment.sequence > last), "segments count up");
                    assert_eq!(segment.bytes().len() as u64, segment.len());
                    assert!(
                        segment.key_range.as_ref().is_none_or(|r| r.start <= r.end && r.end <= segment.len())
                    );
                    group.last = Some(segment.sequence);
                    let scale = group.tracks.first().map_or(1000, |t| t.timescale);
                    group.timeline.push(dash::TimelineEntry::of(&segment, scale));
                    group.frames.extend(MediaSegment::i_frame("frames", &segment, None));
                    let mut entry = MediaSegment::new("segment", segment.duration);
                    entry.parts = std::mem::take(&mut group.waiting);
                    group.segments.push(entry);
                }
            }
        }
    }

    fn write(self) {
        let mut sets = Vec::new();
        for group in self.groups.into_values() {
            let _ = MediaPlaylist::vod(group.segments).to_string();
            let _ = MediaPlaylist { i_frames_only: true, ..MediaPlaylist::vod(group.frames) }.to_string();
            let Some(track) = group.tracks.first() else { continue };
            let template = dash::SegmentTemplate {
                timescale: track.timescale,
                initialization: "init.mp4".into(),
                media: "$Number$.m4s".into(),
                start_number: 0,
                end_number: None,
                presentation_time_offset: 0,
                timeline: group.timeline,
                availability_time_offset: None,
            };
            let mut set = AdaptationSet::new(Content::Video);
            set.representations.push(dash::Representation::of(
                "r",
                track,
                1,
                dash::Source::Template(template),
            ));
            sets.push(set);
        }
        let second = Timestamp::new(1, Rational::new(1, 1));
        let period = Period { id: "0".into(), start: second, duration: None, adaptation_sets: sets };
        let manifest = Manifest {
            presentation: Presentation::Static { duration: second },
            min_buffer: second,
            max_segment: None,
            periods: vec![period],
        };
        let _ = manifest.to_string();
    }
}
