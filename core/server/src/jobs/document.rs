//! A request and what is known of its source become the engine's document. Pure.

use super::ladder::{self, Bounds, Size};
use super::media::Media;
use super::tracks;
use crate::config::Config;
use crate::contract::request::TranscodeRequest;
use crate::contract::values::{AudioCodec, Format, HwAccel, Mode, VideoCodec, Word};
use ghoststream::Codec;
use ghoststream::spec::{
    Bitrate, BurnInSpec, ColourSpec, Container, Device, FilterSpec, LadderSpec, OutputSpec, PipelineSpec,
    PlaylistMode, Preset, Seconds, SegmentContainer, SegmentNames, SegmentSpec, SourceSpec, ToneMapCurve,
    ToneMapSpec, VideoChoice, VideoSpec,
};
use std::path::{Path, PathBuf};

/// The first segment of a stream that somebody waits for, in seconds.
const FIRST: f64 = 1.0;
/// Bits per second of a ladder's sound.
pub(super) const LADDER_AUDIO: u64 = 128_000;

/// What a document is made of besides the request.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// The settings.
    pub config: &'a Config,
    /// What is opened: the URL, or the real path.
    pub source: &'a str,
    /// FFmpeg protocols that a source from the network may use.
    pub protocols: &'a [String],
    /// What the source is.
    pub media: &'a Media,
    /// Subtitle files by the request's order; `None` for one that could not be had.
    pub subtitles: &'a [Option<PathBuf>],
    /// Where it writes.
    pub directory: &'a Path,
    /// What the machine allows.
    pub bounds: Bounds,
    /// Whether it must do without hardware.
    pub software: bool,
}

/// A field of the request that its source does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Its path.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

fn unfit(field: &str, message: impl Into<String>) -> Unfit {
    Unfit { field: field.into(), message: message.into() }
}

/// How a source is opened.
pub fn source(request: &TranscodeRequest, opened: &str, protocols: &[String], live: bool) -> SourceSpec {
    let mut spec = SourceSpec::url(opened);
    if opened.contains("://") {
        // Playlists from the network lead to the network only, by the protocols that the settings allow.
        spec.protocols = protocols.to_vec();
        spec.headers.insert("User-Agent".into(), format!("GhostStream/{}", ghoststream::VERSION));
        spec.timeout = 60.0;
        if !opened.starts_with("http") {
            spec.headers.clear();
        }
    } else {
        spec.protocols = vec!["file".into()];
        // A file that is cut short is played as far as it goes, as a player would; the job is warned of it.
        spec.salvage = true;
    }
    if request.start_time > 0.0 && !live {
        spec.start = Some(Seconds(request.start_time));
    }
    spec
}

/// The document of `request`.
///
/// # Errors
/// [`Unfit`]: the source does not allow what was asked.
pub fn document(request: &TranscodeRequest, context: &Context<'_>) -> Result<PipelineSpec, Unfit> {
    let media = context.media;
    if let Some(duration) = media.duration
        && request.start_time >= duration
    {
        return Err(unfit("start_time", format!("is beyond the end of the source ({duration:.1} s)")));
    }
    if request.start_time > 0.0 && !media.seekable {
        return Err(unfit("start_time", "the source cannot be read from another place than its beginning"));
    }
    if media.video.is_none() && media.audio.is_empty() {
        return Err(unfit("source", "has neither video nor audio"));
    }
    let live = !media.is_recorded();
    let mut spec = PipelineSpec::new(
        source(request, context.source, context.protocols, live && request.start_time == 0.0),
        vec![output(request, context)?],
    );
    let settings = &context.config.transcoding;
    spec.fallback = context.config.hardware.fallback_to_software || context.software;
    spec.stall_timeout =
        settings.stall_timeout + settings.stall_timeout_per_segment * settings.segment_duration;
    Ok(spec)
}

fn output(request: &TranscodeRequest, context: &Context<'_>) -> Result<OutputSpec, Unfit> {
    let wanted = &request.output;
    let codec = video_codec(request, context);
    let container = container(request);
    let path = match container {
        Container::Hls | Container::HlsDash => context.directory.join("master.m3u8"),
        Container::Dash => context.directory.join("manifest.mpd"),
        file => context.directory.join(format!("output.{}", file.name())),
    };
    let mut output = OutputSpec::path(path.to_string_lossy());
    output.format = Some(container);
    // A new try begins over what the last one left.
    output.overwrite = true;
    output.copy_conforming = false;
    output.copy_metadata = !container.is_segmented();
    output.chapters = !container.is_segmented();
    output.attachments = container == Container::Mkv;
    output.video = match &context.media.video {
        None => VideoChoice::Default,
        Some(_) => VideoChoice::Track(Box::new(video(request, context, &codec)?)),
    };
    let ladder = request.mode == Mode::Abr && codec != "copy" && context.config.transcoding.enable_abr;
    if let (true, Some(video)) = (ladder, &context.media.video) {
        output.ladder = Some(rungs((video.width, video.height), video.frame_rate, request, context, &codec));
        if let VideoChoice::Track(base) = &mut output.video {
            // Each rung has its own.
            (base.width, base.height, base.bitrate, base.max_bitrate, base.buffer) = Default::default();
            base.two_pass = false;
        }
        if wanted.two_pass
            && let Some(LadderSpec::Rungs(rungs)) = &mut output.ladder
        {
            rungs.iter_mut().for_each(|r| r.two_pass = true);
        }
    }
    output.audio = tracks::audio(request, context, container, ladder);
    output.subtitles = tracks::subtitles(request, context, container);
    if container.is_segmented() {
        output.segment = Some(segment(request, context, container, &codec));
    }
    Ok(output)
}

/// The engine's name of the codec that is made, or `copy`.
fn video_codec(request: &TranscodeRequest, context: &Context<'_>) -> String {
    let default = match request.output.format {
        Format::Webm => VideoCodec::Vp9,
        _ => context.config.transcoding.default_video_codec,
    };
    // Where nothing is asked for, what the client plays.
    let plays = request.profile.iter().flat_map(|p| &p.video_codecs).filter_map(|name| match name.as_str() {
        "h264" => Some(VideoCodec::H264),
        "hevc" | "h265" => Some(VideoCodec::H265),
        "vp9" => Some(VideoCodec::Vp9),
        "av1" => Some(VideoCodec::Av1),
        _ => None,
    });
    let webm = request.output.format == Format::Webm;
    let plays = plays.filter(|codec| !webm || matches!(codec, VideoCodec::Vp9 | VideoCodec::Av1));
    match request.output.video_codec.unwrap_or_else(|| chosen(default, plays)) {
        VideoCodec::H265 => "hevc".into(),
        other => other.name().into(),
    }
}

/// `default` if it is among `plays` or nothing is, else the first of them.
fn chosen<T: PartialEq + Copy>(default: T, plays: impl Iterator<Item = T>) -> T {
    let plays: Vec<T> = plays.collect();
    match plays.first() {
        Some(first) if !plays.contains(&default) => *first,
        _ => default,
    }
}

pub(super) fn audio_codec(request: &TranscodeRequest, context: &Context<'_>) -> AudioCodec {
    let default = match request.output.format {
        Format::Webm => AudioCodec::Opus,
        _ => context.config.transcoding.default_audio_codec,
    };
    let plays = request.profile.iter().flat_map(|p| &p.audio_codecs).filter_map(|name| match name.as_str() {
        "aac" => Some(AudioCodec::Aac),
        "opus" => Some(AudioCodec::Opus),
        "mp3" => Some(AudioCodec::Mp3),
        "flac" => Some(AudioCodec::Flac),
        "ac3" => Some(AudioCodec::Ac3),
        _ => None,
    });
    let webm = request.output.format == Format::Webm;
    let plays = plays.filter(|codec| !webm || *codec == AudioCodec::Opus);
    request.output.audio_codec.unwrap_or_else(|| chosen(default, plays))
}

fn container(request: &TranscodeRequest) -> Container {
    match (request.mode, request.output.format) {
        (Mode::Batch, Format::Mp4) => Container::Mp4,
        (Mode::Batch, Format::Webm) => Container::WebM,
        (Mode::Batch, Format::Mkv) => Container::Mkv,
        (Mode::Batch, Format::Dash) => Container::Dash,
        (_, Format::Dash) => Container::HlsDash,
        _ => Container::Hls,
    }
}

fn device(accel: HwAccel) -> Device {
    match accel {
        HwAccel::Auto => Device::Auto,
        HwAccel::Nvenc => Device::Cuda,
        HwAccel::Qsv => Device::Qsv,
        HwAccel::Vaapi => Device::Vaapi,
        HwAccel::Videotoolbox => Device::VideoToolbox,
        HwAccel::Amf => Device::Amf,
        HwAccel::Software => Device::Software,
    }
}

/// Where the request's video is encoded.
pub fn placed(request: &TranscodeRequest, config: &Config, software: bool) -> Device {
    match request.output.hw_accel {
        _ if software => Device::Software,
        HwAccel::Auto if !config.hardware.prefer_hw_accel => Device::Software,
        accel => device(accel),
    }
}

fn video(request: &TranscodeRequest, context: &Context<'_>, codec: &str) -> Result<VideoSpec, Unfit> {
    let Some(source) = &context.media.video else { return Err(unfit("source", "has no video")) };
    let wanted = &request.output;
    if codec == "copy" {
        if request.mode == Mode::Abr {
            return Err(unfit("output.video_codec", "copy makes one quality; mode abr needs an encoder"));
        }
        if wanted.two_pass {
            return Err(unfit("output.two_pass", "makes no sense with copied video"));
        }
        if burns(request) {
            return Err(unfit("subtitles", "cannot be drawn into copied video"));
        }
        return Ok(VideoSpec::copy());
    }
    let mut spec = VideoSpec { codec: Some(Codec::from_name(codec)), ..VideoSpec::new() };
    spec.device = placed(request, context.config, context.software);
    let size = (source.width, source.height);
    let area = area(request, context);
    let made = ladder::fit(size, area);
    if made != size {
        (spec.width, spec.height) = (Some(made.0), Some(made.1));
    }
    let asked = wanted.bitrate.bits();
    let rate = asked.unwrap_or_else(|| ladder::auto_rate(made, source.frame_rate, codec, source.bit_rate));
    let rate = ladder::bounded(rate.min(carried(request).unwrap_or(u64::MAX)), &limits(context));
    let software = spec.device == Device::Software;
    rates(&mut spec, rate, rate, software, codec);
    spec.preset = Some(context.bounds.load.preset(preset(request, context, spec.device)));
    if codec == "h264" {
        // What players are told before the first picture holds whatever preset the machine's state asks for.
        spec.profile = Some("high".into());
    }
    spec.two_pass = wanted.two_pass;
    if wanted.two_pass && !context.media.is_recorded() {
        return Err(unfit("output.two_pass", "the source cannot be read twice"));
    }
    tone(&mut spec, request, context, codec);
    for (track, file) in request.subtitles.iter().flatten().zip(context.subtitles) {
        if let (true, Some(file)) = (track.burn_in, file) {
            let path = Some(file.to_string_lossy().into_owned());
            spec.filters.push(FilterSpec::BurnIn(BurnInSpec { path, ..BurnInSpec::default() }));
        }
    }
    Ok(spec)
}

/// What of the request is not made as it was asked for, each in a sentence.
pub(super) fn notes(request: &TranscodeRequest, context: &Context<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if request.mode != Mode::Batch
        && container(request) == Container::Hls
        && request.output.format != Format::Hls
    {
        let asked = request.output.format.name();
        notes.push(format!("output.format: {asked} is a file, for mode batch; what is streamed is HLS"));
    }
    notes.extend(tracks::notes(request, context, container(request)));
    let config = &context.config.limits;
    let most = config.max_bitrate.bits();
    if let Some((asked, most)) = request.output.bitrate.bits().zip(most).filter(|(a, m)| a > m) {
        let (asked, most) = (asked / 1000, most / 1000);
        notes.push(format!("output.bitrate: {asked} kbit/s, limits.max_bitrate allows {most} kbit/s"));
    }
    let larger = |(a, b): &(Size, Size)| a.0.max(a.1) > b.0.max(b.1) || a.0.min(a.1) > b.0.min(b.1);
    let sizes = request.output.resolution.size().zip(config.max_resolution.size());
    if let Some((asked, most)) = sizes.filter(larger) {
        notes.push(format!(
            "output.resolution: {}x{}, limits.max_resolution allows {}x{}",
            asked.0, asked.1, most.0, most.1
        ));
    }
    notes
}

pub(super) fn burns(request: &TranscodeRequest) -> bool {
    request.subtitles.iter().flatten().any(|s| s.burn_in)
}

/// The share of a carrier's rate that containers take, and the sound beside the picture, bits per second.
const OVERHEAD: f64 = 0.07;
const SOUND: u64 = 128_000;

/// Bits per second that the client's line leaves for the picture.
fn carried(request: &TranscodeRequest) -> Option<u64> {
    let most = request.profile.as_ref()?.max_bitrate?.bits()?;
    Some(((most as f64 * (1.0 - OVERHEAD)) as u64).saturating_sub(SOUND).max(most / 4))
}

/// The box of the picture: the request's, the settings' and the client's.
fn area(request: &TranscodeRequest, context: &Context<'_>) -> Option<Size> {
    let profile = request
        .profile
        .as_ref()
        .map(|p| (p.max_width.unwrap_or(u32::MAX).min(32_768), p.max_height.unwrap_or(u32::MAX).min(32_768)));
    let asked = ladder::smaller(request.output.resolution.size(), profile);
    ladder::smaller(asked, limits(context).size)
}

/// What the settings and the machine allow together.
fn limits(context: &Context<'_>) -> Bounds {
    let config = &context.config.limits;
    Bounds {
        size: ladder::smaller(config.max_resolution.size(), context.bounds.size),
        bitrate: [config.max_bitrate.bits(), context.bounds.bitrate].into_iter().flatten().min(),
        rungs: context.bounds.rungs.min(context.config.transcoding.abr_max_variants.max(1)),
        ..context.bounds
    }
}

/// The buffer is that of the contract: 1.5 seconds in software, 2 in hardware. SVT-AV1 has none, and may have to go on where
/// hardware fails.
fn rates(spec: &mut VideoSpec, average: u64, peak: u64, software: bool, codec: &str) {
    spec.bitrate = Some(Bitrate(average));
    spec.max_bitrate = Some(Bitrate(peak));
    let share = if software { 15 } else { 20 };
    spec.buffer = (codec != "av1").then_some(Bitrate(peak * share / 10));
}

/// The preset of the encoders on a machine at its best.
pub(super) fn usual_preset(request: &TranscodeRequest, context: &Context<'_>) -> Preset {
    preset(request, context, placed(request, context.config, context.software))
}

/// Somebody waits for a stream; a file may take its time.
fn preset(request: &TranscodeRequest, context: &Context<'_>, device: Device) -> Preset {
    let word = |name: &str, words: &[(&str, Preset)]| {
        words.iter().find(|(word, _)| *word == name).map_or(Preset::P4, |(_, preset)| *preset)
    };
    let hardware = &context.config.hardware;
    match device {
        Device::Cuda => word(
            &hardware.nvenc_preset,
            &[
                ("p1", Preset::P1),
                ("p2", Preset::P2),
                ("p3", Preset::P3),
                ("p4", Preset::P4),
                ("p5", Preset::P5),
                ("p6", Preset::P6),
                ("p7", Preset::P7),
            ],
        ),
        Device::Qsv => word(
            &hardware.qsv_preset,
            &[
                ("veryfast", Preset::P1),
                ("faster", Preset::P2),
                ("fast", Preset::P3),
                ("medium", Preset::P4),
                ("slow", Preset::P5),
                ("slower", Preset::P6),
                ("veryslow", Preset::P7),
            ],
        ),
        Device::VideoToolbox => word(
            &hardware.videotoolbox_preset,
            &[("fast", Preset::P2), ("medium", Preset::P4), ("slow", Preset::P6)],
        ),
        Device::Vaapi | Device::Amf | Device::Vulkan => Preset::P4,
        _ if request.mode == Mode::Batch => Preset::P4,
        _ => Preset::P3,
    }
}

/// HDR to SDR, unless it stays.
fn tone(spec: &mut VideoSpec, request: &TranscodeRequest, context: &Context<'_>, codec: &str) {
    let Some(video) = context.media.video.as_ref().filter(|v| v.hdr) else { return };
    let wanted = request.output.tone_map.unwrap_or(context.config.transcoding.tone_map_hdr);
    let shows = request.profile.as_ref().map(|p| p.hdr);
    // HEVC keeps it, unless the client says that it does not show it.
    if wanted && shows != Some(true) && (codec != "hevc" || shows == Some(false)) {
        let map = ToneMapSpec { curve: ToneMapCurve::Mobius, ..ToneMapSpec::default() };
        spec.filters.push(FilterSpec::ToneMap(map));
    } else if codec == "h264" {
        // Said on purpose: the picture stays as it is, in the eight bits that players of H.264 take.
        let [primaries, transfer, matrix] = video.colour.clone().map(|c| Some(c).filter(|c| !c.is_empty()));
        spec.colour = Some(ColourSpec { primaries, transfer, matrix, range: None });
    } else {
        spec.bit_depth = Some(10);
    }
}

fn rungs(
    size: Size,
    frame_rate: f64,
    request: &TranscodeRequest,
    context: &Context<'_>,
    codec: &str,
) -> LadderSpec {
    let bounds = limits(context);
    let asked = request.output.bitrate.bits();
    // What the machine is good for is what it offers; who asks for a size gets it.
    let offer = bounds.offer.filter(|_| request.output.resolution.size().is_none());
    let most =
        [bounds.bitrate, asked, offer.map(|o| o.bitrate), carried(request)].into_iter().flatten().min();
    let area = ladder::smaller(area(request, context), offer.map(|o| o.size));
    let list = ladder::rungs(size, frame_rate, codec, area, &Bounds { bitrate: most, ..bounds });
    let software = placed(request, context.config, context.software) == Device::Software;
    let list = list.into_iter().map(|rung| {
        let mut spec = VideoSpec { width: Some(rung.size.0), height: Some(rung.size.1), ..VideoSpec::new() };
        rates(&mut spec, rung.bitrate, rung.bitrate + rung.bitrate / 10, software, codec);
        spec
    });
    LadderSpec::Rungs(list.collect())
}

fn segment(
    request: &TranscodeRequest,
    context: &Context<'_>,
    container: Container,
    codec: &str,
) -> SegmentSpec {
    let batch = request.mode == Mode::Batch;
    SegmentSpec {
        window: None,
        duration: Seconds(context.config.transcoding.segment_duration),
        container: segments(request, context, container, codec),
        iframes: batch,
        playlist: if batch { PlaylistMode::Vod } else { PlaylistMode::Event },
        names: SegmentNames::Flat,
        first: (!batch && codec != "copy")
            .then_some(Seconds(FIRST.min(context.config.transcoding.segment_duration))),
    }
}

/// MPEG-TS for what every old player takes, else fMP4.
fn segments(
    request: &TranscodeRequest,
    context: &Context<'_>,
    container: Container,
    codec: &str,
) -> SegmentContainer {
    let source = context.media.video.as_ref();
    let copied = codec == "copy";
    let codec = if copied { source.map_or("h264", |v| v.codec.as_str()) } else { codec };
    let audio = match audio_codec(request, context) {
        AudioCodec::Copy => context.media.audio.first().map_or("aac", |a| a.codec.as_str()),
        other => other.name(),
    };
    let old = request.output.format == Format::Hls
        && container == Container::Hls
        && codec == "h264"
        // It cannot say that a picture is to be turned.
        && !(copied && source.is_some_and(|v| v.rotated))
        && ["aac", "mp3", "ac3"].contains(&audio);
    if old { SegmentContainer::Ts } else { SegmentContainer::Fmp4 }
}

#[cfg(test)]
mod tests {
    use super::super::ladder::Offer;
    use super::super::media::{Audio, Text, Video};
    use super::*;
    use serde_json::{Value, json};

    fn media(hdr: bool) -> Media {
        Media {
            duration: Some(60.0),
            seekable: true,
            video: Some(Video {
                codec: "h264".into(),
                width: 1280,
                height: 720,
                frame_rate: 25.0,
                bit_depth: if hdr { 10 } else { 8 },
                hdr,
                rotated: false,
                bit_rate: None,
                colour: ["bt2020".into(), "smpte2084".into(), "bt2020nc".into()],
            }),
            audio: vec![Audio { stream: 1, codec: "ac3".into(), channels: 6 }],
            texts: vec![Text { stream: 2, language: Some("fre".into()), title: None, default: false }],
        }
    }

    /// The document of a request, as JSON; it must be one that the engine takes.
    fn made(body: Value, media: &Media, change: impl FnOnce(&mut Context<'_>)) -> Result<Value, Unfit> {
        let mut body = body;
        body["source"] = json!("/films/in.mkv");
        let request = TranscodeRequest::read(&body).unwrap().request;
        let config = Config::default();
        let mut context = Context {
            config: &config,
            source: "/films/in.mkv",
            protocols: &[],
            media,
            subtitles: &[Some("/tmp/s.srt".into())],
            directory: Path::new("/jobs/1"),
            bounds: Bounds::default(),
            software: false,
        };
        change(&mut context);
        let spec = document(&request, &context)?;
        let value = serde_json::to_value(&spec).unwrap();
        PipelineSpec::from_json(&value.to_string()).unwrap();
        Ok(value)
    }

    fn output(body: Value) -> Value {
        made(body, &media(false), |_| {}).unwrap()["outputs"][0].clone()
    }

    #[test]
    fn a_file_that_is_cut_short_is_played_and_a_fetch_that_breaks_off_is_an_error() {
        let file = |opened: &str| {
            let body = json!({"source": opened});
            let request = TranscodeRequest::read(&body).unwrap().request;
            source(&request, opened, &["https".into()], false).salvage
        };
        assert!(file("/films/in.mkv") && !file("https://host/in.mkv"));
    }

    #[test]
    fn a_plain_stream_is_the_old_contract() {
        let o = output(json!({}));
        assert_eq!((&o["path"], &o["format"]), (&json!("/jobs/1/master.m3u8"), &json!("hls")));
        let s = &o["segment"];
        assert_eq!(
            (&s["container"], &s["names"], &s["playlist"]),
            (&json!("ts"), &json!("flat"), &json!("event"))
        );
        assert_eq!((&s["duration"], &s["first"]), (&json!(4.0), &json!(1.0)));
        assert_eq!((&o["video"]["codec"], &o["video"]["bitrate"]), (&json!("h264"), &json!(4_000_000)));
        assert_eq!((&o["audio"][0]["codec"], &o["audio"][0]["channels"]), (&json!("aac"), &json!(2)));
        assert_eq!(o["subtitles"], json!(false));
    }

    #[test]
    fn a_copy_that_is_turned_when_it_is_shown_stays_so() {
        let container = |turned: bool, codec: &str| {
            let mut media = media(false);
            media.video.as_mut().unwrap().rotated = turned;
            let spec = made(json!({"output": {"video_codec": codec}}), &media, |_| {}).unwrap();
            spec["outputs"][0]["segment"]["container"].clone()
        };
        assert_eq!((container(false, "copy"), container(true, "h264")), (json!("ts"), json!("ts")));
        assert_eq!(container(true, "copy"), json!("fmp4"));
    }

    #[test]
    fn every_field_has_its_place() {
        let o = output(
            json!({"mode": "batch", "start_time": 5, "output": {"format": "mp4", "video_codec": "h265",
            "audio_codec": "opus", "resolution": "480p", "bitrate": "3000k", "hw_accel": "nvenc", "two_pass": true,
            "max_audio_channels": 8}}),
        );
        let v = &o["video"];
        assert_eq!(
            (&v["codec"], &v["device"], &v["two_pass"]),
            (&json!("hevc"), &json!("cuda"), &json!(true))
        );
        assert_eq!((&v["width"], &v["height"], &v["bitrate"]), (&json!(854), &json!(480), &json!(3_000_000)));
        assert_eq!((&v["max_bitrate"], &v["buffer"]), (&json!(3_000_000), &json!(6_000_000)));
        assert_eq!((&o["audio"][0]["codec"], &o["audio"][0]["channels"]), (&json!("opus"), &Value::Null));
        let spec = made(json!({"start_time": 5}), &media(false), |_| {}).unwrap();
        assert_eq!(spec["source"]["start"], json!(5.0));
    }

    #[test]
    fn a_profile_says_what_is_made_where_nothing_is_asked_for() {
        let made_for = |profile: Value, output: Value| {
            let body = json!({"mode": "batch", "profile": profile, "output": output});
            made(body, &media(true), |_| {}).unwrap()["outputs"][0].clone()
        };
        let o = made_for(
            json!({"video_codecs": ["vp9", "av1"], "audio_codecs": ["opus"]}),
            json!({"format": "mkv"}),
        );
        assert_eq!((&o["video"]["codec"], &o["audio"][0]["codec"]), (&json!("vp9"), &json!("opus")));
        let o = made_for(json!({"video_codecs": ["vp9", "h264"]}), json!({"format": "mkv"}));
        assert_eq!(o["video"]["codec"], "h264", "the default, if it is among them");
        let o = made_for(json!({"video_codecs": ["vp9"]}), json!({"format": "mkv", "video_codec": "h265"}));
        assert_eq!(o["video"]["codec"], "hevc", "what is asked for");
        assert!(o["video"]["filters"][0]["tone_map"].is_object(), "the client shows no HDR: {o}");
        let o = made_for(json!({"hdr": true}), json!({"format": "mkv", "video_codec": "h265"}));
        assert_eq!((&o["video"]["filters"], &o["video"]["bit_depth"]), (&Value::Null, &json!(10)));
        let o = made_for(json!({"max_bitrate": "1M"}), json!({"format": "mkv", "bitrate": "3M"}));
        assert_eq!(o["video"]["bitrate"], 802_000, "picture, sound and container within the megabit");
    }

    #[test]
    fn what_limits_take_away_is_said() {
        let noted = |body: Value| {
            let mut said = Vec::new();
            let request = TranscodeRequest::read(&body).unwrap().request;
            made(body, &media(false), |context| said = notes(&request, context)).unwrap();
            said
        };
        assert!(noted(json!({"source": "x", "output": {"bitrate": "50M", "resolution": "4k"}})).is_empty());
        assert_eq!(
            noted(json!({"source": "x", "output": {"bitrate": "200M"}})),
            ["output.bitrate: 200000 kbit/s, limits.max_bitrate allows 50000 kbit/s"]
        );
    }

    #[test]
    fn a_ladder_offers_every_soundtrack_and_a_single_quality_the_first() {
        let two = || {
            let mut media = media(false);
            media.audio.push(Audio { stream: 3, codec: "aac".into(), channels: 2 });
            media
        };
        let tracks =
            |mode: &str| made(json!({"mode": mode}), &two(), |_| {}).unwrap()["outputs"][0]["audio"].clone();
        let abr = tracks("abr");
        assert_eq!((&abr[0]["stream"], &abr[1]["stream"]), (&json!(1), &json!(3)), "{abr}");
        assert_eq!(
            (&abr[0]["channels"], &abr[1]["channels"]),
            (&json!(2), &Value::Null),
            "5.1 is mixed down"
        );
        assert_eq!(tracks("stream").as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn a_file_keeps_every_soundtrack_and_text() {
        let mut three = media(false);
        for (stream, codec) in [(3, "aac"), (4, "truehd")] {
            three.audio.push(Audio { stream, codec: codec.into(), channels: 2 });
        }
        three.audio[0].codec = "aac".into();
        let file = |format: &str, audio: &str, more: Value| {
            let mut body = json!({"mode": "batch", "output": {"format": format, "audio_codec": audio}});
            body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
            made(body, &three, |_| {}).unwrap()["outputs"][0].clone()
        };
        let codecs = |o: &Value| -> Vec<String> {
            let tracks = o["audio"].as_array().unwrap().iter();
            tracks.map(|t| format!("{} {}", t["stream"], t["codec"].as_str().unwrap())).collect()
        };
        for format in ["mkv", "mp4"] {
            let o = file(format, "opus", json!({}));
            assert_eq!(codecs(&o), ["1 opus", "3 opus", "4 opus"], "{format}");
            assert_eq!(o["subtitles"], json!(true), "{format}: all that it can hold");
        }
        assert_eq!(codecs(&file("mkv", "copy", json!({}))), ["1 copy", "3 copy", "4 copy"]);
        // What MP4 may not hold is no reason to fail for more than the first. A ladder's are copied or an error.
        let abr = made(json!({"mode": "abr", "output": {"audio_codec": "copy"}}), &three, |_| {}).unwrap();
        assert_eq!(codecs(&abr["outputs"][0]), ["1 copy", "3 copy", "4 copy"]);
        assert_eq!(codecs(&file("mp4", "copy", json!({}))), ["1 copy", "3 copy", "4 aac"]);
        let own = json!({"subtitles": [{"url": "s.srt", "language": "de"}]});
        let o = file("mp4", "aac", own);
        assert_eq!((&o["subtitles"][0]["language"], &o["subtitles"][1]["stream"]), (&json!("de"), &json!(2)));
        // Not twice over the picture.
        let burnt = json!({"subtitles": [{"url": "s.srt", "burn_in": true}]});
        assert_eq!(file("mp4", "aac", burnt)["subtitles"], json!(false));
        // One client's line carries one of them.
        assert_eq!(codecs(&file("mp4", "aac", json!({"profile": {"max_bitrate": "1M"}}))), ["null aac"]);
    }

    #[test]
    fn a_buffer_only_where_every_encoder_of_the_codec_has_one() {
        for (codec, buffer) in [("h264", true), ("h265", true), ("vp9", true), ("av1", false)] {
            let wanted = json!({"format": "mkv", "video_codec": codec});
            let o = output(json!({"mode": "batch", "output": wanted}));
            assert_eq!(!o["video"]["buffer"].is_null(), buffer, "{codec}");
        }
    }

    #[test]
    fn software_keeps_everything_but_the_device() {
        let body = json!({"mode": "abr", "start_time": 7, "output": {"hw_accel": "nvenc", "bitrate": "2M"},
            "subtitles": [{"url": "s.srt", "language": "de"}]});
        let hard = made(body.clone(), &media(false), |_| {}).unwrap();
        let mut soft = made(body, &media(false), |c| c.software = true).unwrap();
        let buffers = |v: &mut Value| {
            for rung in v["outputs"][0]["ladder"].as_array_mut().unwrap() {
                rung["buffer"] = Value::Null;
            }
        };
        assert_eq!(soft["outputs"][0]["video"]["device"], "software");
        soft["outputs"][0]["video"]["device"] = json!("cuda");
        let mut hard = hard;
        // Only the buffer follows the device, as the contract has it.
        buffers(&mut hard);
        buffers(&mut soft);
        hard["outputs"][0]["video"]["preset"] = soft["outputs"][0]["video"]["preset"].clone();
        assert_eq!(hard, soft);
    }

    #[test]
    fn hdr_is_mapped_kept_or_said() {
        let filters = |body: Value| made(body, &media(true), |_| {}).unwrap()["outputs"][0]["video"].clone();
        assert!(filters(json!({}))["filters"][0]["tone_map"].is_object());
        assert_eq!(filters(json!({"output": {"video_codec": "h265"}}))["bit_depth"], 10);
        let kept = filters(json!({"output": {"tone_map": false}}));
        assert_eq!((&kept["filters"], &kept["colour"]["transfer"]), (&Value::Null, &json!("smpte2084")));
        let o = made(json!({"output": {"video_codec": "h265"}}), &media(true), |_| {}).unwrap();
        assert_eq!(o["outputs"][0]["segment"]["container"], "fmp4");
    }

    #[test]
    fn subtitles_go_beside_the_picture_or_into_it() {
        let o = output(
            json!({"subtitles": [{"url": "s.srt", "label": "Deutsch", "language": "de", "default": true}]}),
        );
        let expected = json!({"path": "/tmp/s.srt", "language": "de", "title": "Deutsch", "default": true});
        assert_eq!(o["subtitles"][0], expected);
        assert_eq!(o["subtitles"][1], json!({"stream": 2, "language": "fre", "default": false}));
        assert_eq!(output(json!({"mode": "abr"}))["subtitles"][0]["stream"], 2, "those of the source");
        let o = output(json!({"subtitles": [{"url": "s.srt", "burn_in": true}]}));
        assert_eq!(o["video"]["filters"][0]["burn_in"]["path"], "/tmp/s.srt");
        assert_eq!(o["subtitles"], json!(false));
    }

    #[test]
    fn bounds_and_profiles_limit_the_picture() {
        let small =
            Bounds { size: Some((854, 480)), bitrate: Some(1_000_000), rungs: 1, ..Bounds::default() };
        let o = made(json!({"output": {"bitrate": "9M"}}), &media(false), |c| c.bounds = small).unwrap();
        let v = &o["outputs"][0]["video"];
        assert_eq!((&v["height"], &v["bitrate"]), (&json!(480), &json!(1_000_000)));
        let o = made(json!({"mode": "abr"}), &media(false), |c| c.bounds = small).unwrap();
        assert_eq!(o["outputs"][0]["ladder"].as_array().unwrap().len(), 1);
        let offer = Some(Offer { size: (854, 480), bitrate: 2_000_000 });
        let ladder = |body: Value| {
            let o = made(body, &media(false), |c| c.bounds = Bounds { offer, ..Bounds::default() }).unwrap();
            o["outputs"][0]["ladder"][0].clone()
        };
        assert_eq!(ladder(json!({"mode": "abr"}))["height"], 480, "what the machine offers by itself");
        let asked = ladder(json!({"mode": "abr", "output": {"resolution": "720p"}}));
        assert_eq!(asked["height"], 720, "what somebody asks for");
        let o = output(json!({"profile": {"max_height": 360}}));
        assert_eq!(o["video"]["height"], 360);
    }

    #[test]
    fn what_a_source_does_not_allow_names_its_field() {
        let live = Media { duration: None, seekable: false, ..media(false) };
        let field = |body: Value, media: &Media| made(body, media, |_| {}).unwrap_err().field;
        assert_eq!(field(json!({"start_time": 99}), &media(false)), "start_time");
        assert_eq!(field(json!({"start_time": 9}), &live), "start_time");
        assert_eq!(field(json!({"mode": "batch", "output": {"two_pass": true}}), &live), "output.two_pass");
        let o = made(json!({"output": {"format": "dash"}}), &live, |_| {}).unwrap();
        assert_eq!(
            (&o["outputs"][0]["format"], &o["outputs"][0]["segment"]["playlist"]),
            (&json!("hls+dash"), &json!("event"))
        );
        let copied = json!({"subtitles": [{"url": "s", "burn_in": true}], "output": {"video_codec": "copy"}});
        assert_eq!(field(copied, &media(false)), "subtitles");
        assert_eq!(field(json!({}), &Media::default()), "source");
    }
}
