//! Complete playlists and manifests of what is not made yet, and names of codecs before an encoder has said them. Pure.

use super::document::{Rendition, Shape};
use super::subtitles::Subtitle;
use ghoststream::package::bitstream::{av1, hevc};
use ghoststream::package::hls::{
    IFrameVariant, Map, MediaPlaylist, MediaSegment, Multivariant, Rendition as HlsRendition, RenditionKind,
    Variant, VideoRange,
};
use ghoststream::package::{codecs, dash, language};
use ghoststream::time::{Rational, Timestamp};
use serde_json::Value;

/// The URI of a segment, seen from the playlists.
pub(super) fn segment_uri(shape: &Shape, rendition: usize, number: u64) -> String {
    match shape.muxed {
        // What clients of the original know.
        true => format!("segment_{number:05}.ts"),
        false => shape.path(rendition, number),
    }
}

/// The media playlist of a rendition.
pub(super) fn media(shape: &Shape, rendition: usize) -> String {
    let name = shape.renditions.get(rendition).map_or("", |r| &r.name);
    let map = (!shape.ts).then(|| Map { uri: format!("{name}/init.mp4"), range: None });
    let segments = shape.timeline.segments.iter().zip(0..).map(|((_, length), n)| MediaSegment {
        map: map.clone(),
        ..MediaSegment::new(segment_uri(shape, rendition, n), Timestamp::from_seconds(*length))
    });
    MediaPlaylist::vod(segments.collect()).to_string()
}

/// The I-frame playlist of a rendition. Where in a segment its key frame ends is not known before it is made, so each has a
/// name of its own instead of a byte range.
pub(super) fn key_frames(shape: &Shape, rendition: usize) -> String {
    let name = shape.renditions.get(rendition).map_or("", |r| &r.name);
    let map = (!shape.ts).then(|| Map { uri: format!("{name}/init.mp4"), range: None });
    let extension = shape.extension();
    let segments = shape.timeline.segments.iter().enumerate().map(|(n, (_, length))| MediaSegment {
        map: map.clone(),
        ..MediaSegment::new(format!("{name}/key-{n:05}.{extension}"), Timestamp::from_seconds(*length))
    });
    MediaPlaylist { i_frames_only: true, ..MediaPlaylist::vod(segments.collect()) }.to_string()
}

/// The playlist of a subtitle track.
pub(super) fn subtitle(shape: &Shape, index: usize) -> String {
    let segments = shape.timeline.segments.iter().enumerate().map(|(n, (_, length))| {
        MediaSegment::new(format!("subtitles-{index}/{n:05}.vtt"), Timestamp::from_seconds(*length))
    });
    MediaPlaylist { independent_segments: false, ..MediaPlaylist::vod(segments.collect()) }.to_string()
}

fn frame_rate(shape: &Shape) -> Option<Rational> {
    let (n, d) = shape.timeline.frame_rate?;
    Some(Rational::new(i32::try_from(n).ok()?, i32::try_from(d).ok()?))
}

fn unique(taken: &mut Vec<String>, name: String) -> String {
    let count = taken.iter().filter(|n| **n == name).count();
    taken.push(name.clone());
    if count == 0 { name } else { format!("{name} ({})", count + 1) }
}

/// The multivariant playlist; `known` has the codecs that encoders have said, `drop_top` leaves the largest of several
/// pictures out.
pub(super) fn multivariant(
    shape: &Shape,
    subtitles: &[Subtitle],
    known: &[Option<String>],
    drop_top: bool,
) -> String {
    let said = |n: usize| -> Vec<String> {
        let rendition = shape.renditions.get(n);
        let text = known.get(n).cloned().flatten().or_else(|| rendition.map(|r| r.codecs.clone()));
        text.unwrap_or_default().split(',').filter(|c| !c.is_empty()).map(String::from).collect()
    };
    let of = |video: bool| -> Vec<(usize, &Rendition)> {
        shape.renditions.iter().enumerate().filter(|(_, r)| r.is_video() == video).collect()
    };
    let (mut pictures, sounds) = (of(true), of(false));
    if drop_top
        && pictures.len() > 1
        && let Some(top) = (0..pictures.len()).max_by_key(|n| pictures[*n].1.average)
    {
        pictures.remove(top);
    }
    let mut list = Multivariant { independent_segments: true, ..Multivariant::default() };
    let mut names = Vec::new();
    if !pictures.is_empty() {
        for (i, (_, r)) in sounds.iter().enumerate() {
            let tag = r.language.as_deref().map(language::tag);
            let name = r.title.clone().or_else(|| tag.clone()).unwrap_or_else(|| format!("Audio {}", i + 1));
            let mut rendition = HlsRendition::new(RenditionKind::Audio, "audio", unique(&mut names, name));
            rendition.uri = Some(format!("{}.m3u8", r.name));
            (rendition.language, rendition.default, rendition.autoselect) = (tag, i == 0, true);
            rendition.channels = Some(r.channels);
            list.renditions.push(rendition);
        }
    }
    let mut names = Vec::new();
    for (i, s) in subtitles.iter().enumerate() {
        let tag = s.language.as_deref().map(language::tag);
        let name = s.title.clone().or_else(|| tag.clone()).unwrap_or_else(|| "Subtitles".into());
        let mut rendition = HlsRendition::new(RenditionKind::Subtitles, "subs", unique(&mut names, name));
        rendition.uri = Some(format!("subtitles-{i}.m3u8"));
        (rendition.language, rendition.default, rendition.autoselect) = (tag, s.default, true);
        list.renditions.push(rendition);
    }
    let heaviest = |f: &dyn Fn(&Rendition) -> u64| sounds.iter().map(|(_, r)| f(r)).max().unwrap_or(0);
    let alone = pictures.is_empty();
    for (n, r) in if alone { &sounds } else { &pictures } {
        let mut codecs = said(*n);
        if let (false, Some((sound, _))) = (alone, sounds.first()) {
            codecs.extend(said(*sound));
        }
        let with = |own: u64, sound: u64| own + if alone { 0 } else { sound };
        list.variants.push(Variant {
            uri: format!("{}.m3u8", r.name),
            bandwidth: with(r.peak, heaviest(&|r| r.peak)),
            average_bandwidth: Some(with(r.average, heaviest(&|r| r.average))),
            codecs,
            supplemental_codecs: None,
            resolution: r.is_video().then_some((r.width, r.height)),
            frame_rate: r.is_video().then(|| frame_rate(shape)).flatten(),
            video_range: r.is_video().then(|| VideoRange::of(r.colour)),
            audio: (!alone && !sounds.is_empty()).then(|| "audio".into()),
            subtitles: (!subtitles.is_empty()).then(|| "subs".into()),
        });
    }
    if let Some((n, r)) = shape.scrubbed().and_then(|n| Some((n, shape.renditions.get(n)?))) {
        // Key frames are about a fifth of what an encoder spends.
        let share = |bits: u64| (bits / 5).max(1);
        list.i_frames.push(IFrameVariant {
            uri: format!("{}-iframes.m3u8", r.name),
            bandwidth: share(r.peak),
            average_bandwidth: Some(share(r.average)),
            codecs: said(n).into_iter().take(1).collect(),
            resolution: Some((r.width, r.height)),
            video_range: Some(VideoRange::of(r.colour)),
        });
    }
    list.to_string()
}

/// The DASH manifest.
pub(super) fn manifest(shape: &Shape, subtitles: &[Subtitle], known: &[Option<String>]) -> String {
    let rate = frame_rate(shape);
    // Exact for the rate, as the segments' own time scale is.
    let timescale = match shape.timeline.frame_rate {
        Some((n, d)) if 90_000 * d % n != 0 && n < 1_000_000 => (n * 10_000_u64.div_ceil(n)) as u32,
        _ => 90_000,
    };
    let timeline: Vec<dash::TimelineEntry> = shape
        .timeline
        .segments
        .iter()
        .map(|(start, length)| {
            let ticks = |t: f64| (t * f64::from(timescale)).round().max(0.0) as u64;
            dash::TimelineEntry { start: ticks(*start), duration: ticks(start + length) - ticks(*start) }
        })
        .collect();
    let representation = |n: usize, r: &Rendition| {
        let template = dash::SegmentTemplate {
            timescale,
            initialization: format!("{}/init.mp4", r.name),
            media: format!("{}/$Number%05d$.m4s", r.name),
            start_number: 0,
            end_number: None,
            presentation_time_offset: 0,
            timeline: timeline.clone(),
            availability_time_offset: None,
        };
        let mut made = dash::Representation::new(&r.name, r.peak, dash::Source::Template(template));
        made.codecs = Some(known.get(n).cloned().flatten().unwrap_or_else(|| r.codecs.clone()));
        made.colour = r.colour;
        // The timeline is made of the source's key frames, and an encoder makes its own there.
        made.independent = true;
        if r.is_video() {
            (made.width, made.height, made.frame_rate) = (Some(r.width), Some(r.height), rate);
        } else {
            (made.sampling_rate, made.channels) = (Some(r.sample_rate), Some(r.channels));
        }
        made
    };
    let all = || shape.renditions.iter().enumerate();
    let ladder = all().filter(|(_, r)| r.is_video()).map(|(n, r)| representation(n, r));
    let mut sets = dash::AdaptationSet::ladder(ladder);
    for (i, (n, r)) in all().filter(|(_, r)| !r.is_video()).enumerate() {
        let mut set = dash::AdaptationSet::new(dash::Content::Audio);
        (set.language, set.label) = (r.language.as_deref().map(language::tag), r.title.clone());
        set.roles = vec![if i == 0 { "main" } else { "alternate" }.into()];
        set.representations.push(representation(n, r));
        sets.push(set);
    }
    for (i, s) in subtitles.iter().enumerate() {
        let mut set = dash::AdaptationSet::new(dash::Content::Text);
        (set.language, set.label) = (s.language.as_deref().map(language::tag), s.title.clone());
        set.roles = vec!["subtitle".into()];
        let file = dash::Source::File(format!("subtitles-{i}.vtt"));
        set.representations.push(dash::Representation::new(format!("subtitles-{i}"), 1000, file));
        sets.push(set);
    }
    dash::Manifest {
        presentation: dash::Presentation::Static {
            duration: Timestamp::from_seconds(shape.timeline.duration()),
        },
        min_buffer: Timestamp::from_seconds(shape.timeline.longest()),
        max_segment: Some(Timestamp::from_seconds(shape.timeline.longest())),
        periods: vec![dash::Period {
            id: "0".into(),
            start: Timestamp::from_seconds(0.0),
            duration: None,
            adaptation_sets: sets,
        }],
    }
    .to_string()
}

/// H.264: level, macroblocks a second, macroblocks a picture, bits per second (High).
const H264: [(u32, f64, f64, u64); 15] = [
    (10, 1_485.0, 99.0, 80_000),
    (11, 3_000.0, 396.0, 240_000),
    (12, 6_000.0, 396.0, 480_000),
    (13, 11_880.0, 396.0, 960_000),
    (20, 11_880.0, 396.0, 2_500_000),
    (21, 19_800.0, 792.0, 5_000_000),
    (22, 20_250.0, 1_620.0, 5_000_000),
    (30, 40_500.0, 1_620.0, 12_500_000),
    (31, 108_000.0, 3_600.0, 17_500_000),
    (32, 216_000.0, 5_120.0, 25_000_000),
    (40, 245_760.0, 8_192.0, 25_000_000),
    (42, 522_240.0, 8_704.0, 62_500_000),
    (50, 589_824.0, 22_080.0, 168_750_000),
    (51, 983_040.0, 36_864.0, 300_000_000),
    (52, 2_073_600.0, 36_864.0, 300_000_000),
];
/// Level and luma samples a second.
const HEVC: [(u32, f64); 9] = [
    (60, 3.7e6),
    (63, 7.4e6),
    (90, 16.6e6),
    (93, 33.2e6),
    (120, 66.9e6),
    (123, 133.7e6),
    (150, 267.4e6),
    (153, 534.8e6),
    (156, 1069.6e6),
];
const AV1: [(u32, f64); 8] =
    [(0, 4.5e6), (1, 8.4e6), (4, 20e6), (5, 32e6), (8, 70.8e6), (9, 141.6e6), (12, 267.4e6), (13, 534.8e6)];
const VP9: [(u32, f64); 8] = [
    (20, 4.7e6),
    (21, 9.3e6),
    (30, 20.8e6),
    (31, 36.9e6),
    (40, 83.6e6),
    (41, 160.5e6),
    (50, 312e6),
    (51, 588.3e6),
];

/// What an encoder of `codec` will say of its stream, as far as that can be known: the lowest level that fits.
pub(super) fn video_codecs(codec: &str, size: (u32, u32), rate: f64, bits: u64, depth: u8) -> String {
    let samples = f64::from(size.0) * f64::from(size.1) * rate;
    let level = |table: &[(u32, f64)]| {
        table.iter().find(|(_, most)| samples <= *most).or(table.last()).map_or(0, |(level, _)| *level)
    };
    let deep = depth > 8;
    match codec {
        "hevc" if deep => format!("hvc1.2.4.L{}.B0", level(&HEVC)),
        "hevc" => format!("hvc1.1.6.L{}.B0", level(&HEVC)),
        "av1" => format!("av01.0.{:02}M.{}", level(&AV1), if deep { "10" } else { "08" }),
        "vp9" => format!("vp09.0{}.{}.{}", u8::from(deep) * 2, level(&VP9), if deep { "10" } else { "08" }),
        _ => {
            let blocks = f64::from(size.0.div_ceil(16)) * f64::from(size.1.div_ceil(16));
            let fits = |(_, second, picture, most): &&(u32, f64, f64, u64)| {
                blocks * rate <= *second && blocks <= *picture && bits <= *most
            };
            let level = H264.iter().find(fits).or(H264.last()).map_or(40, |l| l.0);
            format!("avc1.6400{level:02x}")
        }
    }
}

/// The codec string of copied pictures, where the probe says enough.
pub(super) fn codecs_of_copy(stream: &Value) -> Option<String> {
    let (profile, level) = (stream["profile"].as_str()?, stream["level"].as_u64()?);
    match stream["codec"].as_str()? {
        "h264" => {
            let profile = match profile {
                "Constrained Baseline" => "42c0",
                "Baseline" => "4200",
                "Main" => "4d40",
                "High 10" => "6e00",
                "High 4:2:2" => "7a00",
                p if p.starts_with("High 4:4:4") => "f400",
                _ => "6400",
            };
            Some(format!("avc1.{profile}{level:02x}"))
        }
        "hevc" if profile == "Main 10" => Some(format!("hvc1.2.4.L{level}.B0")),
        "hevc" => Some(format!("hvc1.1.6.L{level}.B0")),
        _ => None,
    }
}

/// The codec string of sound.
pub(super) fn audio_codecs(codec: &str) -> &'static str {
    match codec {
        "opus" => "opus",
        "flac" => "fLaC",
        "ac3" => "ac-3",
        "eac3" => "ec-3",
        "mp3" => "mp4a.40.34",
        _ => "mp4a.40.2",
    }
}

/// The codec string in an init segment, or in the beginning of an MPEG-TS segment with H.264.
pub(super) fn read_codecs(bytes: &[u8], ts: bool) -> Option<String> {
    let find = |name: &[u8]| bytes.windows(name.len()).position(|w| w == name);
    let avc = |b: &[u8]| Some(format!("avc1.{:02x}{:02x}{:02x}", b.first()?, b.get(1)?, b.get(2)?));
    if ts {
        let at = bytes.windows(4).position(|w| w[..3] == [0, 0, 1] && w[3] & 0x1f == 7)?;
        return avc(bytes.get(at + 4..at + 7)?);
    }
    // A box's size stands before its name.
    let payload = |name: &[u8; 4]| {
        let at = find(name)?;
        let size = u32::from_be_bytes(bytes.get(at.checked_sub(4)?..at)?.try_into().ok()?);
        bytes.get(at + 4..at - 4 + size as usize)
    };
    if let Some(record) = payload(b"avcC") {
        return avc(record.get(1..)?);
    }
    if let Some(record) = payload(b"hvcC") {
        return hevc::Config::parse(record).ok().map(|c| codecs::hevc(&c.info.ptl));
    }
    let record = payload(b"av1C")?;
    let config = av1::Config::parse(record).ok()?;
    Some(codecs::av1(&config.info, Default::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_the_lowest_that_fit() {
        let of = |w, h, fps, bits| video_codecs("h264", (w, h), fps, bits, 8);
        assert_eq!(of(1920, 1080, 30.0, 5_000_000), "avc1.640028");
        assert_eq!(of(1920, 1080, 60.0, 5_000_000), "avc1.64002a");
        assert_eq!(of(1280, 720, 30.0, 2_800_000), "avc1.64001f");
        assert_eq!(of(640, 360, 30.0, 800_000), "avc1.64001e");
        assert_eq!(video_codecs("hevc", (3840, 2160), 60.0, 1, 10), "hvc1.2.4.L153.B0");
        assert_eq!(video_codecs("av1", (1920, 1080), 30.0, 1, 8), "av01.0.08M.08");
    }
}
