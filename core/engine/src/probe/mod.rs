//! What is in a source: [`probe`] opens it, looks, and closes it again.

mod model;
mod names;

pub use model::{
    Attachment, Audio, Chapter, ColourNames, Dolby, DurationFrom, Hdr, KeyFrame, Probe, Program, Stream,
    Video,
};

use crate::error::{Error, Result};
use crate::frame::{Colour, HdrMetadata};
use crate::packet::{Codec, MediaKind, StreamInfo};
use crate::source::Content;
use crate::source::exif;
use crate::source::index::constant_rate;
use crate::source::open::{local_path, open_content};
use crate::source::pattern::Pattern;
use crate::source::scan::{Extent, Scan, scan};
use crate::source::screen::Screen;
use crate::spec::{HdrSpec, SourceSpec};
use crate::time::Rational;
use ghoststream_sys::ffmpeg as av;
use std::collections::BTreeMap;

/// What to look for.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProbeOptions {
    /// Read all packets: lists the key frames of every video stream, and makes durations, frame counts and the
    /// constant-rate verdict exact. Costs one reading of the source, no decoding.
    pub keyframes: bool,
}

/// Packets of a video stream that tell whether its rate is constant.
const RATE_PACKETS: usize = 200;
/// Packets after which a decoder that has shown no picture is given up.
const HDR_PACKETS: u32 = 64;

/// Opens a file, URL or pattern and says what is in it. Blocks for as long as that takes (`source.timeout` per read).
///
/// # Errors
/// Those of opening ([`crate::ErrorKind::NotFound`], `Format`, `Denied`, `Io`), naming the source;
/// [`crate::ErrorKind::Invalid`] for sources that the application feeds.
pub fn probe(spec: &SourceSpec, options: &ProbeOptions) -> Result<Probe> {
    probe_with(spec, options, &av::Interrupt::new())
}

/// As [`probe`], ended early from another thread through `interrupt`.
///
/// # Errors
/// As [`probe`]; [`crate::ErrorKind::Cancelled`].
pub fn probe_with(spec: &SourceSpec, options: &ProbeOptions, interrupt: &av::Interrupt) -> Result<Probe> {
    if let Some(pattern) = &spec.pattern {
        return Ok(of_pattern(spec, &Pattern::new(pattern, spec.start, spec.duration)?));
    }
    if spec.url.is_none() {
        return Err(Error::invalid("source", "only files, URLs and patterns can be probed"));
    }
    probe_any(spec, None, options, interrupt)
}

/// As [`probe`], of bytes that the application has; `spec` names no source, as for
/// [`Reader::open_content`](crate::reader::Reader::open_content).
///
/// # Errors
/// As [`probe_with`]; [`crate::ErrorKind::Io`] with the text of the object's own failure.
pub fn probe_content(
    content: &Content,
    spec: &SourceSpec,
    options: &ProbeOptions,
    interrupt: &av::Interrupt,
) -> Result<Probe> {
    probe_any(&crate::reader::of_content(spec)?, Some(content), options, interrupt)
}

fn probe_any(
    spec: &SourceSpec,
    content: Option<&Content>,
    options: &ProbeOptions,
    interrupt: &av::Interrupt,
) -> Result<Probe> {
    let mut demuxer = open_content(spec, content, interrupt)?;
    let mut streams = infos(&demuxer)?;
    exif::turn(spec, &mut streams);
    let mut probe = of_demuxer(spec, content, &demuxer, &streams);
    let cheap = demuxer.is_seekable() && (content.is_some() || local_path(spec).is_some());
    let extent = if options.keyframes || cheap && !is_exact(&demuxer, &streams) {
        Extent::All
    } else {
        Extent::Beginning(RATE_PACKETS)
    };
    // A live source gives its packets in their own time: only what was asked for is worth waiting for.
    if options.keyframes || demuxer.is_seekable() {
        let mut looks = DynamicRange::of(&streams);
        let seen = scan(&mut demuxer, &streams, extent, |packet| {
            looks.feed(packet);
            Ok(())
        })?;
        looks.finish(&mut streams);
        for (stream, info) in probe.streams.iter_mut().zip(&streams) {
            if let (Some(video), Some(v)) = (&mut stream.video, &info.video) {
                video.hdr = hdr(&v.hdr, &v.colour);
            }
        }
        add_scan(&mut probe, &streams, &seen, options.keyframes);
    }
    Ok(probe)
}

/// The streams of an opened container.
pub(crate) fn infos(demuxer: &av::Demuxer) -> Result<Vec<StreamInfo>> {
    Ok(demuxer.streams()?.iter().map(StreamInfo::from_av).collect())
}

/// What the headers say, without reading on.
pub(crate) fn of_demuxer(
    spec: &SourceSpec,
    content: Option<&Content>,
    demuxer: &av::Demuxer,
    streams: &[StreamInfo],
) -> Probe {
    let duration = demuxer.duration().filter(|d| *d > 0);
    let size = local_path(spec).and_then(|p| std::fs::metadata(p).ok()).filter(|m| m.is_file());
    let describe = demuxer.streams().unwrap_or_default();
    Probe {
        source: spec.label(),
        format: demuxer.format_name(),
        format_name: demuxer.format_long_name(),
        start: demuxer.start_time().map(|t| t as f64 / 1e6),
        duration: duration.map(|d| d as f64 / 1e6),
        duration_from: match duration {
            None => DurationFrom::Unknown,
            Some(_) if is_exact(demuxer, streams) => DurationFrom::Container,
            Some(_) => DurationFrom::Estimate,
        },
        bit_rate: demuxer.bit_rate(),
        size: content.map(Content::size).or(size.map(|m| m.len())),
        seekable: demuxer.is_seekable(),
        streams: streams.iter().map(|s| stream(s, describe.get(s.index))).collect(),
        chapters: demuxer.chapters().into_iter().filter_map(chapter).collect(),
        programs: demuxer.programs().into_iter().map(program).collect(),
        attachments: streams.iter().filter_map(attachment).collect(),
        metadata: demuxer.metadata().into_iter().collect(),
    }
}

/// What a pattern delivers.
pub(crate) fn of_pattern(spec: &SourceSpec, pattern: &Pattern) -> Probe {
    let streams = pattern.streams();
    let duration = streams.iter().filter_map(|s| s.duration).max().map(|d| d.seconds());
    Probe {
        source: spec.label(),
        format: "pattern".into(),
        format_name: "GhostStream test pattern".into(),
        start: Some(0.0),
        duration,
        duration_from: if duration.is_some() { DurationFrom::Container } else { DurationFrom::Unknown },
        bit_rate: None,
        size: None,
        seekable: true,
        streams: streams.iter().map(|s| stream(s, None)).collect(),
        chapters: Vec::new(),
        programs: Vec::new(),
        attachments: Vec::new(),
        metadata: BTreeMap::new(),
    }
}

/// What a screen or a camera delivers.
pub(crate) fn of_screen(spec: &SourceSpec, screen: &Screen) -> Probe {
    Probe {
        source: spec.label(),
        format: "screen".into(),
        format_name: format!("captured by {}", screen.counts().backend()),
        start: Some(0.0),
        duration: spec.duration.map(|d| d.0),
        duration_from: DurationFrom::Unknown,
        bit_rate: None,
        size: None,
        seekable: false,
        streams: vec![stream(&screen.stream(), None)],
        chapters: Vec::new(),
        programs: Vec::new(),
        attachments: Vec::new(),
        metadata: BTreeMap::new(),
    }
}

/// Whether the container writes its duration down exactly, rather than FFmpeg working one out from bit rates or from
/// the last packets.
fn is_exact(demuxer: &av::Demuxer, streams: &[StreamInfo]) -> bool {
    const EXACT: &[&str] = &[
        "mov", "matroska", "avi", "ogg", "wav", "w64", "flac", "aiff", "caf", "asf", "mxf", "nut", "ivf",
        "gif",
    ];
    let format = demuxer.format_name();
    let name = format.split(',').next().unwrap_or_default();
    // A fragmented file has its index in pieces, which the header knows nothing of.
    let fragmented = name == "mov"
        && streams
            .iter()
            .any(|s| matches!(s.kind, MediaKind::Video | MediaKind::Audio) && s.frames.is_none());
    EXACT.contains(&name) && !fragmented && demuxer.duration().is_some_and(|d| d > 0)
}

fn stream(info: &StreamInfo, described: Option<&av::StreamDesc>) -> Stream {
    let values = info.native.as_ref().map(av::CodecParameters::values);
    Stream {
        index: info.index,
        id: info.id,
        kind: info.kind.name(),
        codec: info.codec.clone(),
        profile: info.profile.map(|p| names::profile(&info.codec, p)),
        level: info.level,
        time_base: info.time_base,
        start: info.start,
        duration: info.duration,
        frames: info.frames,
        bit_rate: info.bit_rate,
        language: info.language.clone(),
        title: info.title.clone(),
        disposition: info.disposition,
        video: info.video.as_ref().map(|v| {
            let wide = f64::from(v.width) * v.sample_aspect.as_f64();
            let (w, h) = (wide.round().max(1.0) as u32, v.height);
            let lying = (v.rotation / 90.0).round() as i64 % 2 != 0;
            let real = described.map(|d| Rational::new(d.r_frame_rate.0, d.r_frame_rate.1));
            Video {
                width: v.width,
                height: v.height,
                display_width: if lying { h } else { w },
                display_height: if lying { w } else { h },
                pixel_format: v.format.map(|f| f.name().into()),
                bit_depth: v.format.and_then(|f| f.descriptor()).map(|d| d.depth),
                frame_rate: v.frame_rate,
                real_frame_rate: real.filter(|r| r.is_positive()),
                constant_rate: v.constant_rate,
                sample_aspect: v.sample_aspect,
                field_order: names::field_order(v.field_order),
                rotation: v.rotation,
                mirrored: v.mirrored,
                reorder: v.reorder,
                colour: names::colour(&v.colour),
                hdr: hdr(&v.hdr, &v.colour),
            }
        }),
        audio: info.audio.as_ref().map(|a| Audio {
            sample_rate: a.sample_rate,
            channels: a.layout.channels,
            layout: a.layout.name.clone(),
            sample_format: a.format.map(|f| f.name().into()),
            bit_depth: audio_depth(info, values.as_ref().map_or(0, |v| v.bits_per_coded_sample)),
            frame_size: a.frame_size,
            initial_padding: a.initial_padding,
        }),
        metadata: info.metadata.iter().cloned().collect(),
        keyframes: None,
    }
}

/// Bits per sample of lossless codecs.
fn audio_depth(info: &StreamInfo, coded: u32) -> Option<u32> {
    match &info.codec {
        // STREAMINFO: five bits, one less than the depth, after 20 bits of sample rate and 3 of channels at byte 10.
        Codec::Flac => {
            let b = info.extradata.get(12..14)?;
            Some(((u32::from(b[0]) & 1) << 4 | u32::from(b[1]) >> 4) + 1)
        }
        Codec::PcmS16 | Codec::PcmF32 | Codec::Alac => Some(coded).filter(|b| *b > 0),
        Codec::Other(name) if name.starts_with("pcm_") || &**name == "truehd" => {
            Some(coded).filter(|b| *b > 0)
        }
        _ => None,
    }
}

fn hdr(h: &HdrMetadata, colour: &Colour) -> Hdr {
    let format = match () {
        () if h.dolby_vision.is_some() => "dolby_vision",
        () if h.hdr10_plus => "hdr10+",
        () if colour.is_pq() => "hdr10",
        () if colour.is_hlg() => "hlg",
        () => "sdr",
    };
    Hdr {
        format,
        metadata: HdrSpec::of(h),
        hdr10_plus: h.hdr10_plus,
        dolby_vision: h.dolby_vision.map(|d| Dolby {
            profile: d.profile,
            level: d.level,
            rpu: d.rpu,
            enhancement_layer: d.enhancement_layer,
            base_layer: d.base_layer,
            compatibility: d.compatibility,
        }),
    }
}

fn chapter(c: av::Chapter) -> Option<Chapter> {
    let base = Rational::new(c.time_base.0, c.time_base.1);
    base.is_positive().then(|| Chapter {
        id: c.id,
        start: c.start as f64 * base.as_f64(),
        end: c.end as f64 * base.as_f64(),
        title: c.metadata.into_iter().find(|(k, _)| k == "title").map(|(_, v)| v),
    })
}

fn program(p: av::Program) -> Program {
    let name = p.metadata.into_iter().find(|(k, _)| k == "service_name").map(|(_, name)| name);
    Program { id: i64::from(p.id), name, streams: p.streams }
}

fn attachment(s: &StreamInfo) -> Option<Attachment> {
    let tag =
        |name: &str| s.metadata.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone());
    let picture = s.disposition.attached_picture;
    if s.kind != MediaKind::Attachment && !picture {
        return None;
    }
    let mime = match (&s.codec, picture) {
        (Codec::Mjpeg, true) => Some("image/jpeg".into()),
        (codec, true) => Some(format!("image/{codec}")),
        _ => None,
    };
    Some(Attachment {
        index: s.index,
        name: tag("filename"),
        mime: tag("mimetype").or(mime),
        size: Some(s.extradata.len()).filter(|n| *n > 0 && !picture),
    })
}

/// Puts what the packets said over what the headers said.
fn add_scan(probe: &mut Probe, infos: &[StreamInfo], seen: &Scan, keyframes: bool) {
    for ((stream, info), s) in probe.streams.iter_mut().zip(infos).zip(&seen.streams) {
        if let Some(video) = &mut stream.video
            && !info.disposition.attached_picture
        {
            video.constant_rate = constant_rate(&s.packets, seen.complete).or(video.constant_rate);
            if keyframes {
                let mut keys: Vec<KeyFrame> = s
                    .packets
                    .iter()
                    .filter(|p| p.key && p.shown)
                    .filter_map(|p| {
                        let pts = p.pts.or(p.dts)?;
                        Some(KeyFrame {
                            time: pts as f64 * info.time_base.as_f64(),
                            pts,
                            position: p.position,
                        })
                    })
                    .collect();
                keys.sort_by_key(|k| k.pts);
                stream.keyframes = Some(keys);
            }
            if seen.complete {
                stream.frames = Some(s.packets.iter().filter(|p| p.shown).count() as u64);
            }
        }
        if let (true, Some((start, end))) = (seen.complete, s.span(info))
            && end > start
        {
            let length = crate::time::Timestamp::new(end - start, info.time_base);
            if stream.bit_rate.is_none() {
                stream.bit_rate = Some((s.bytes as f64 * 8.0 / length.seconds()).round() as u64);
            }
            stream.start = Some(crate::time::Timestamp::new(start, info.time_base));
            stream.duration = Some(length);
        }
    }
    if let (true, Some((start, end))) = (seen.complete, seen.span(infos)) {
        let length = end.seconds() - start.seconds();
        probe.start = Some(start.seconds());
        probe.duration = Some(length);
        probe.duration_from = DurationFrom::Packets;
        if let Some(size) = probe.size.filter(|_| length > 0.0) {
            probe.bit_rate = Some((size as f64 * 8.0 / length).round() as u64);
        }
    }
}

/// Decodes the first frame of streams that look like HDR: mastering data and HDR10+ may be in frames alone.
struct DynamicRange(Vec<Option<Looking>>);

struct Looking {
    decoder: av::Decoder,
    left: u32,
    found: Option<HdrMetadata>,
}

impl DynamicRange {
    fn of(streams: &[StreamInfo]) -> Self {
        let looking = |s: &StreamInfo| {
            let v = s.video.as_ref()?;
            if !v.colour.is_hdr() && v.colour.primaries != 9 && v.hdr == HdrMetadata::default() {
                return None;
            }
            let options = av::DecoderOptions {
                threads: 1,
                time_base: (s.time_base.num, s.time_base.den),
                ..Default::default()
            };
            let decoder = av::Decoder::new(s.native.as_ref()?, &options).ok()?;
            Some(Looking { decoder, left: HDR_PACKETS, found: None })
        };
        DynamicRange(streams.iter().map(looking).collect())
    }

    fn feed(&mut self, packet: &av::Packet) {
        let Some(Some(look)) = self.0.get_mut(packet.stream_index()) else { return };
        if look.left == 0 || look.found.is_some() {
            return;
        }
        look.left -= 1;
        // A damaged packet is no reason to fail: the next one may do.
        let _ = look.decoder.send(Some(packet));
        look.receive();
    }

    fn finish(&mut self, streams: &mut [StreamInfo]) {
        for (info, look) in streams.iter_mut().zip(&mut self.0) {
            let (Some(video), Some(look)) = (&mut info.video, look) else { continue };
            if look.found.is_none() {
                let _ = look.decoder.send(None);
                look.receive();
            }
            if let Some(found) = look.found {
                video.hdr.mastering = video.hdr.mastering.or(found.mastering);
                video.hdr.content_light = video.hdr.content_light.or(found.content_light);
                video.hdr.dolby_vision = video.hdr.dolby_vision.or(found.dolby_vision);
                video.hdr.hdr10_plus |= found.hdr10_plus;
            }
        }
    }
}

impl Looking {
    fn receive(&mut self) {
        if let Ok(Some(frame)) = self.decoder.receive() {
            self.found = Some(frame.hdr());
        }
    }
}
