//! What the types of the document cannot say.

use super::numbered::Numbered;
use super::*;
use crate::packet::{Codec, MediaKind};

type Checked = Result<()>;

fn refuse(path: impl std::fmt::Display, message: impl std::fmt::Display) -> Checked {
    Err(Error::invalid(path, message))
}

pub(super) fn pipeline(spec: &PipelineSpec) -> Checked {
    source(&spec.source)?;
    if spec.outputs.is_empty() {
        return refuse("outputs", "at least one output is needed");
    }
    spec.source.decode.check(&spec.outputs)?;
    timeout("stall_timeout", spec.stall_timeout)?;
    if spec.threads > 1024 {
        return refuse("threads", "at most 1024");
    }
    let window =
        |o: &OutputSpec| o.segment.as_ref().and_then(|s| s.window.clone().map(|w| (w, s.duration.0)));
    for (i, o) in spec.outputs.iter().enumerate() {
        output(&format!("outputs[{i}]"), o)?;
        if window(o) != window(&spec.outputs[0]) {
            return refuse(format!("outputs[{i}].segment.window"), "must be that of outputs[0]");
        }
        if window(o).is_some() && (spec.source.url.is_none() || spec.source.loops != 0) {
            return refuse(format!("outputs[{i}].segment.window"), "needs a source.url that is played once");
        }
        if spec.outputs[..i].iter().any(|other| o.path.is_some() && other.path == o.path) {
            return refuse(format!("outputs[{i}].path"), "is the path of another output too");
        }
        let pictures = o.path.as_deref().filter(|_| o.container() == Some(Container::Image));
        let numbered = pictures.and_then(|path| Numbered::of(path).ok().flatten());
        let mut others = spec.outputs.iter().enumerate().filter(|(other, _)| *other != i);
        if let Some((other, _)) = numbered
            .and_then(|n| others.find(|(_, other)| other.path.as_deref().is_some_and(|path| n.has(path))))
        {
            return refuse(
                format!("outputs[{i}].path"),
                format!("one of its pictures is outputs[{other}].path too"),
            );
        }
    }
    tiles::apart(spec)
}

/// Whether a text can be an application's id and a part of a file name; nothing at all is one.
fn is_name(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    text.len() <= 128 && text.chars().all(known) && !text.starts_with('.')
}

/// Thirty years is for ever, and as much as clocks can count.
fn timeout(field: &str, seconds: f64) -> Checked {
    if (0.0..=1e9).contains(&seconds) { Ok(()) } else { refuse(field, "seconds, 0 to 1000000000") }
}

pub(super) fn source(s: &SourceSpec) -> Checked {
    let fed = [s.bytes.is_some(), s.packets.is_some(), s.frames.is_some()];
    let kinds = [s.url.is_some(), s.screen.is_some(), s.pattern.is_some()];
    match kinds.iter().chain(&fed).filter(|k| **k).count() {
        1 => {}
        0 if !s.sound.is_empty() => {}
        0 => {
            return refuse(
                "source",
                "one of url, screen, pattern, bytes, packets and frames is needed, or sound",
            );
        }
        _ => {
            return refuse(
                "source",
                "only one of url, screen, pattern, bytes, packets and frames can be given",
            );
        }
    }
    if let Some(url) = &s.url {
        if url.is_empty() || url.contains('\0') {
            return refuse("source.url", "is empty or contains a NUL");
        }
    } else {
        if s.format.is_some() && s.bytes.is_none() {
            return refuse("source.format", "needs source.url or source.bytes");
        }
        if !s.options.is_empty() && s.bytes.is_none() {
            return refuse("source.options", "needs source.url or source.bytes");
        }
        if !s.headers.is_empty() {
            return refuse("source.headers", "needs source.url");
        }
        if s.loops != 0 && s.pattern.is_none() {
            return refuse("source.loop", "needs a source that can be read again");
        }
        if !s.hosts.is_empty() {
            return refuse("source.hosts", "needs source.url: nothing else leads anywhere");
        }
        if s.bytes.is_none() && s.salvage {
            return refuse("source.salvage", "needs source.url or source.bytes: nothing else is cut short");
        }
        if !s.protocols.is_empty() && s.protocols != SourceSpec::url("").protocols {
            return refuse("source.protocols", "needs source.url: nothing else opens any");
        }
        if s.bytes.is_none() && s.packets.is_none() {
            undecoded(&s.decode)?;
        }
    }
    if s.loops < -1 {
        return refuse("source.loop", "-1 (for ever), 0 or a count");
    }
    for (name, value) in &s.headers {
        if name.is_empty() || name.contains([':', '\r', '\n']) || value.contains(['\r', '\n']) {
            return refuse(format!("source.headers.{name:?}"), "not an HTTP header");
        }
    }
    timeout("source.timeout", s.timeout)?;
    if s.duration.is_some_and(|d| d.0 <= 0.0) {
        return refuse("source.duration", "must be above 0");
    }
    if s.decode.device == Device::Amf {
        return refuse("source.decode.device", "amf only encodes");
    }
    for p in &s.protocols {
        if p.is_empty() || p.contains(',') {
            return refuse("source.protocols", format!("{p:?} is not a protocol name"));
        }
    }
    if let Some(screen) = &s.screen {
        let parts = [screen.monitor.is_some(), screen.region.is_some(), screen.window.is_some()];
        if parts.iter().filter(|p| **p).count() > 1 {
            return refuse("source.screen", "only one of monitor, region and window can be given");
        }
        if screen.region.is_some_and(|r| r.width == 0 || r.height == 0) {
            return refuse("source.screen.region", "width and height must be above 0");
        }
        let backend = screen.backend;
        let from_node = matches!(backend, ScreenBackend::Portal | ScreenBackend::PipeWire);
        if from_node && (screen.monitor.is_some() || screen.window.is_some() || screen.display.is_some()) {
            return refuse("source.screen", "monitor, window and display are for backends x11 and wayland");
        }
        if from_node && screen.region.is_some_and(|r| r.x < 0 || r.y < 0) {
            return refuse("source.screen.region", "counts from the upper left corner of the picture here");
        }
        if screen.node.is_some() != (backend == ScreenBackend::PipeWire) {
            return refuse("source.screen.node", "is needed for backend pipewire, and only there");
        }
        if backend != ScreenBackend::Portal && (screen.pick.is_some() || screen.application.is_some()) {
            return refuse("source.screen", "pick and application are for backend portal only");
        }
        if screen.draw_cursor && (backend != ScreenBackend::Portal || !screen.cursor) {
            return refuse("source.screen.draw_cursor", "is for backend portal, with cursor");
        }
        if !screen.dmabuf && !from_node && backend != ScreenBackend::Auto {
            return refuse("source.screen.dmabuf", "only the portal and nodes of PipeWire give DMA-BUFs");
        }
        if screen.application.as_deref().is_some_and(|a| !is_name(a)) {
            return refuse(
                "source.screen.application",
                "may have letters, digits, '.', '-' and '_', 128 at most",
            );
        }
        if let Some(camera) = &screen.camera {
            webcam(screen, camera)?;
        }
        let rate = screen.frame_rate.0;
        if !rate.is_positive() || rate.as_f64() > 240.0 {
            return refuse("source.screen.frame_rate", "must be above 0 and at most 240");
        }
        if s.start.is_some() {
            return refuse("source.start", "a screen begins now");
        }
        if s.realtime {
            return refuse("source.realtime", "a screen has no other speed");
        }
    }
    sounds(s)?;
    if let Some(p) = &s.pattern {
        size("source.pattern", Some(p.width), Some(p.height))?;
        if p.frames == Some(0) {
            return refuse("source.pattern.frames", "must be above 0");
        }
    }
    if s.packets.is_some() && (s.start.is_some() || s.duration.is_some()) {
        return refuse("source.start", "pushed packets cannot be trimmed; push what is wanted");
    }
    if let Some(f) = &s.frames {
        if f.video.is_none() && f.audio.is_none() {
            return refuse("source.frames", "video, audio or both are needed");
        }
        if s.start.is_some() || s.duration.is_some() {
            return refuse("source.start", "pushed frames cannot be trimmed; push what is wanted");
        }
        if let Some(v) = &f.video {
            size("source.frames.video", Some(v.width), Some(v.height))?;
            if let Some(h) = &v.hdr {
                hdr("source.frames.video.hdr", h)?;
                let transfer = v.colour.as_ref().and_then(|c| c.transfer.as_deref());
                if !transfer.is_some_and(is_hdr) {
                    return refuse(
                        "source.frames.video.hdr",
                        "needs colour.transfer smpte2084 or arib-std-b67",
                    );
                }
            }
        }
        if let Some(a) = &f.audio {
            rate("source.frames.audio.sample_rate", a.sample_rate)?;
            channels("source.frames.audio.channels", a.channels)?;
        }
    }
    Ok(())
}

/// Whether a transfer function is one of those of HDR, by any of its names.
fn is_hdr(transfer: &str) -> bool {
    matches!(transfer, "smpte2084" | "pq" | "arib-std-b67" | "hlg")
}

/// An output of pictures that are a file each.
fn picture(path: &str, o: &OutputSpec) -> Result<()> {
    let name = o.path.as_deref().unwrap_or_default();
    if let Err(e) = Numbered::of(name) {
        return refuse(format!("{path}.path"), e);
    }
    if name.contains("://") {
        return refuse(format!("{path}.path"), "pictures are written to files");
    }
    if let Some(other) = Container::from_path(name).filter(|c| *c != Container::Image) {
        return refuse(
            format!("{path}.format"),
            format!("{name} ends as {} does, and a picture as .jpg, .png or .webp", other.name()),
        );
    }
    if !o.options.is_empty() {
        return refuse(format!("{path}.options"), "an image has no muxer");
    }
    if matches!(o.audio, AudioChoice::Tracks(_)) {
        return refuse(format!("{path}.audio"), "a picture has no sound");
    }
    if matches!(o.subtitles, SubtitleChoice::Tracks(_)) {
        return refuse(format!("{path}.subtitles"), "a picture carries none; burn_in draws them into it");
    }
    let VideoChoice::Track(v) = &o.video else { return Ok(()) };
    let colour = v.colour.as_ref();
    if colour.and_then(|c| c.transfer.as_deref()).is_some_and(is_hdr)
        || colour.and_then(|c| c.primaries.as_deref()).is_some_and(|p| p.starts_with("bt2020"))
    {
        return refuse(format!("{path}.video.colour"), "viewers show every picture as sRGB; leave it out");
    }
    if v.keyframe_interval.is_some() {
        return refuse(format!("{path}.video.keyframe_interval"), "every picture is one by itself");
    }
    Ok(())
}

/// Refuses what says how to decode, of a source whose pictures and sound come raw.
fn undecoded(decode: &DecodeSpec) -> Checked {
    let set = [
        ("keys", decode.keys),
        ("key_frames_only", decode.key_frames_only),
        // In software is where nothing is decoded, too.
        ("device", !matches!(decode.device, Device::Auto | Device::Software)),
        ("threads", decode.threads != 0),
    ];
    match set.iter().find(|(_, is_set)| *is_set) {
        Some((name, _)) => refuse(format!("source.decode.{name}"), "there is nothing to decode"),
        None => Ok(()),
    }
}

fn webcam(screen: &ScreenSpec, camera: &WebcamSpec) -> Checked {
    let path = "source.screen.camera";
    let other = screen.monitor.is_some() || screen.region.is_some() || screen.window.is_some();
    if other || screen.display.is_some() || screen.backend != ScreenBackend::Auto {
        return refuse(path, "goes with none of backend, display, monitor, region and window");
    }
    if camera.device.contains('\0') || camera.format.as_deref().is_some_and(|f| f.contains('\0')) {
        return refuse(path, "contains a NUL");
    }
    if camera.width.is_some() != camera.height.is_some() {
        return refuse(path, "width and height go together");
    }
    if !camera.is_v4l2() && (camera.width.is_some() || camera.format.is_some()) {
        return refuse(path, "width, height and format are for V4L2 devices (/dev/video0)");
    }
    size(path, camera.width, camera.height)
}

fn sounds(s: &SourceSpec) -> Checked {
    if s.sound.is_empty() {
        return Ok(());
    }
    if s.url.is_some()
        || s.pattern.is_some()
        || s.bytes.is_some()
        || s.packets.is_some()
        || s.frames.is_some()
    {
        return refuse("source.sound", "goes beside a screen, or alone");
    }
    if s.sound.len() > 32 {
        return refuse("source.sound", "at most 32");
    }
    if s.start.is_some() {
        return refuse("source.start", "captured sound begins now");
    }
    if s.realtime {
        return refuse("source.realtime", "captured sound has no other speed");
    }
    for (i, sound) in s.sound.iter().enumerate() {
        sound.check(&format!("source.sound[{i}]"))?;
    }
    Ok(())
}

/// The largest picture side that any codec here takes.
const MAX_SIDE: u32 = 16384;

fn size(path: &str, width: Option<u32>, height: Option<u32>) -> Checked {
    for (name, side) in [("width", width), ("height", height)] {
        if let Some(side) = side
            && (side == 0 || side > MAX_SIDE)
        {
            return refuse(format!("{path}.{name}"), format!("{side} is not within 1 to {MAX_SIDE}"));
        }
    }
    Ok(())
}

fn rate(path: &str, rate: u32) -> Checked {
    if !(1000..=768_000).contains(&rate) {
        return refuse(path, format!("{rate} Hz is not within 1000 to 768000"));
    }
    Ok(())
}

fn channels(path: &str, count: u32) -> Checked {
    if !(1..=64).contains(&count) {
        return refuse(path, format!("{count} is not within 1 to 64"));
    }
    Ok(())
}

fn output(path: &str, o: &OutputSpec) -> Checked {
    match [o.path.is_some(), o.packets.is_some(), o.segments, o.camera.is_some()]
        .iter()
        .filter(|k| **k)
        .count()
    {
        1 => {}
        0 => return refuse(path, "one of path, packets, segments and camera is needed"),
        _ => return refuse(path, "only one of path, packets, segments and camera can be given"),
    }
    camera::check(path, o)?;
    let container = container(path, o)?;
    let segmented = container.is_some_and(Container::is_segmented);
    if o.packets.is_some() && container.is_some() {
        return refuse(format!("{path}.format"), "packets have no container");
    }
    if o.segments && !segmented {
        return refuse(format!("{path}.format"), "segments need hls, dash or hls+dash");
    }
    if o.ladder.is_some() && !segmented && o.packets.is_none() {
        return refuse(format!("{path}.ladder"), "needs packets, or format hls, dash or hls+dash");
    }
    if o.segment.is_some() && !segmented {
        return refuse(format!("{path}.segment"), "needs format hls, dash or hls+dash");
    }
    if segmented && !o.options.is_empty() {
        return refuse(
            format!("{path}.options"),
            "segmented formats are written by GhostStream and take no muxer options",
        );
    }
    if let Some(s) = &o.segment {
        if !(0.5..=60.0).contains(&s.duration.0) {
            return refuse(format!("{path}.segment.duration"), "must be within 0.5 to 60 seconds");
        }
        if s.first.is_some_and(|f| !(0.25..=s.duration.0).contains(&f.0)) {
            return refuse(
                format!("{path}.segment.first"),
                "must be within 0.25 seconds and segment.duration",
            );
        }
        if let Some(w) = &s.window {
            window(&format!("{path}.segment.window"), w, o)?;
        }
        if s.container == SegmentContainer::Ts && container != Some(Container::Hls) {
            return refuse(format!("{path}.segment.container"), "ts is possible with format hls only");
        }
    }
    if container == Some(Container::Y4m) && !o.options.is_empty() {
        return refuse(format!("{path}.options"), "y4m is written by GhostStream and takes no muxer options");
    }
    if container == Some(Container::Image) {
        picture(path, o)?;
    }
    if o.packets.is_some() && !o.options.is_empty() {
        return refuse(format!("{path}.options"), "packets have no muxer");
    }
    let bare = matches!(container, Some(Container::Y4m | Container::Image));
    if !o.metadata.is_empty() && (segmented || o.packets.is_some() || bare) {
        return refuse(
            format!("{path}.metadata"),
            "has no place there: only files of other formats carry tags",
        );
    }
    if o.fragmented && !matches!(container, Some(Container::Mp4 | Container::Mov)) {
        return refuse(format!("{path}.fragmented"), "needs format mp4 or mov");
    }
    record::check(path, o, container)?;
    if let VideoChoice::Track(v) = &o.video {
        video(&format!("{path}.video"), v)?;
    }
    if let Some(LadderSpec::Rungs(rungs)) = &o.ladder {
        if rungs.is_empty() {
            return refuse(format!("{path}.ladder"), "is empty");
        }
        for (i, r) in rungs.iter().enumerate() {
            video(&format!("{path}.ladder[{i}]"), r)?;
        }
    }
    if let (Some(LadderSpec::Auto), VideoChoice::Track(v)) = (&o.ladder, &o.video)
        && v.is_copy()
    {
        let why = "copy makes no rungs; say which in ladder, where each may be one (\"codec\": \"copy\")";
        return refuse(format!("{path}.video.codec"), why);
    }
    if o.ladder.is_some() && matches!(o.video, VideoChoice::None) {
        return refuse(format!("{path}.video"), "is false, but there is a ladder");
    }
    names(path, o, segmented)?;
    push::check(path, o)?;
    tiles::check(path, o)?;
    if let AudioChoice::Tracks(tracks) = &o.audio {
        for (i, a) in tracks.iter().enumerate() {
            audio(&format!("{path}.audio[{i}]"), a)?;
        }
    }
    if let SubtitleChoice::Tracks(tracks) = &o.subtitles {
        for (i, s) in tracks.iter().enumerate() {
            if s.stream.is_some() == s.path.is_some() {
                return refuse(format!("{path}.subtitles[{i}]"), "exactly one of stream and path is needed");
            }
            charset(&format!("{path}.subtitles[{i}]"), s.charset.as_deref(), s.path.is_some())?;
        }
    }
    Ok(())
}

fn window(path: &str, w: &WindowSpec, o: &OutputSpec) -> Checked {
    let starts = &w.starts;
    let rise = starts.windows(2).all(|pair| pair[0].0 < pair[1].0);
    let rungs = match &o.ladder {
        Some(LadderSpec::Rungs(rungs)) => &rungs[..],
        _ => &[],
    };
    let own = match &o.video {
        VideoChoice::Track(v) => Some(&**v),
        _ => None,
    };
    // Copied video may have nothing that it can begin with at 0.
    let encodes = rungs.iter().chain(own).any(|v| !v.is_copy())
        || (rungs.is_empty() && matches!(o.video, VideoChoice::Default));
    let wrong = |s: &Seconds| s.0 < 0.0 || (encodes && s.0 > 0.0);
    if starts.first().is_some_and(wrong) || !rise || starts.iter().any(|s| !s.0.is_finite()) {
        return refuse(
            format!("{path}.starts"),
            "must rise from 0, or from the first key frame of copied video",
        );
    }
    if !starts.is_empty() && w.first >= starts.len() as u64 {
        return refuse(format!("{path}.first"), format!("there are {} segments", starts.len()));
    }
    // Times are counted in microseconds.
    if w.first > 1 << 32 || w.count.is_some_and(|n| n == 0 || n > 1 << 32) {
        return refuse(format!("{path}.count"), "must be at least 1, and numbers below 2^32");
    }
    let segment = o.segment.clone().unwrap_or_default();
    if segment.playlist != PlaylistMode::Vod
        || segment.names != SegmentNames::Folders
        || segment.first.is_some()
    {
        return refuse(path, "goes with neither playlist event nor names flat nor first");
    }
    if !matches!(&o.subtitles, SubtitleChoice::None | SubtitleChoice::Default) {
        return refuse(path, "subtitles are not made in parts");
    }
    for v in rungs.iter().chain(own) {
        if v.two_pass {
            return refuse(path, "two_pass needs the whole at once");
        }
        if v.is_copy() && starts.is_empty() {
            return refuse(
                format!("{path}.starts"),
                "are needed to copy video: its key frames are where they are",
            );
        }
    }
    if let AudioChoice::Tracks(tracks) = &o.audio
        && tracks.iter().any(|a| a.loudness.is_some())
    {
        return refuse(path, "loudness depends on what came before, so it cannot be made in parts");
    }
    Ok(())
}

/// Renditions that are named have names of their own.
fn names(path: &str, o: &OutputSpec, segmented: bool) -> Checked {
    let mut names: Vec<(String, &String)> = Vec::new();
    if let VideoChoice::Track(v) = &o.video
        && let Some(name) = &v.name
    {
        if o.ladder.is_some() {
            return refuse(format!("{path}.video.name"), "the rungs of the ladder have the names");
        }
        names.push((format!("{path}.video"), name));
    }
    if let Some(LadderSpec::Rungs(rungs)) = &o.ladder {
        let named = rungs.iter().enumerate().filter_map(|(i, r)| Some((i, r.name.as_ref()?)));
        names.extend(named.map(|(i, name)| (format!("{path}.ladder[{i}]"), name)));
    }
    if let AudioChoice::Tracks(tracks) = &o.audio {
        let named = tracks.iter().enumerate().filter_map(|(i, a)| Some((i, a.name.as_ref()?)));
        names.extend(named.map(|(i, name)| (format!("{path}.audio[{i}]"), name)));
    }
    for (i, (path, name)) in names.iter().enumerate() {
        if !segmented && o.packets.is_none() {
            return refuse(format!("{path}.name"), "needs packets, or format hls, dash or hls+dash");
        }
        if names[..i].iter().any(|(_, other)| other == name) {
            return refuse(format!("{path}.name"), "is the name of another rendition too");
        }
    }
    Ok(())
}

/// A rendition's name is a part of paths and URLs.
fn rendition(path: &str, name: Option<&String>) -> Checked {
    let fits = |n: &String| {
        !n.is_empty() && n.len() <= 64 && n.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    };
    match name {
        Some(n) if !fits(n) => refuse(format!("{path}.name"), "1 to 64 letters, digits, - and _"),
        _ => Ok(()),
    }
}

fn container(path: &str, o: &OutputSpec) -> Result<Option<Container>> {
    if let Some(f) = o.format {
        return Ok(Some(f));
    }
    let Some(file) = &o.path else { return Ok(None) };
    if file.is_empty() || file.contains('\0') {
        return Err(Error::invalid(format!("{path}.path"), "is empty or contains a NUL"));
    }
    match Container::from_path(file) {
        Some(c) => Ok(Some(c)),
        None if file.ends_with('/') => Err(Error::invalid(
            format!("{path}.format"),
            format!("{file} is a directory: say hls, dash or hls+dash"),
        )),
        None => Err(Error::invalid(
            format!("{path}.format"),
            format!("cannot be guessed from the name {file:?}; say mp4, mkv, hls, image …"),
        )),
    }
}

fn finite(path: String, value: Option<f64>, low: f64, high: f64) -> Checked {
    match value {
        Some(v) if !(low..=high).contains(&v) => refuse(path, format!("{v} is not within {low} to {high}")),
        _ => Ok(()),
    }
}

impl VideoSpec {
    /// Checks what types alone cannot say of a track at `path`.
    pub(crate) fn check(&self, path: &str) -> Checked {
        video(path, self)
    }
}

fn video(path: &str, v: &VideoSpec) -> Checked {
    rendition(path, v.name.as_ref())?;
    if let Some(c) = &v.codec
        && c.kind().is_some_and(|k| k != MediaKind::Video)
    {
        return refuse(format!("{path}.codec"), format!("{c} is not a video codec"));
    }
    if v.is_copy() {
        let set = [
            ("encoder", v.encoder.is_some()),
            ("device", v.device != Device::Auto),
            ("threads", v.threads != 0),
            ("scaler", v.scaler != Scaler::default()),
            ("crf", v.crf.is_some()),
            ("bitrate", v.bitrate.is_some()),
            ("max_bitrate", v.max_bitrate.is_some()),
            ("buffer", v.buffer.is_some()),
            ("cbr", v.cbr),
            ("qp", v.qp.is_some()),
            ("lossless", v.lossless),
            ("two_pass", v.two_pass),
            ("preset", v.preset.is_some()),
            ("tune", v.tune.is_some()),
            ("gop", v.gop.is_some()),
            ("keyframe_interval", v.keyframe_interval.is_some()),
            ("b_frames", v.b_frames.is_some()),
            ("lookahead", v.lookahead.is_some()),
            ("profile", v.profile.is_some()),
            ("level", v.level.is_some()),
            ("bit_depth", v.bit_depth.is_some()),
            ("pixel_format", v.pixel_format.is_some()),
            ("options", !v.options.is_empty()),
            ("width", v.width.is_some()),
            ("height", v.height.is_some()),
            ("frame_rate", v.frame_rate.is_some()),
            ("colour", v.colour.is_some()),
            ("hdr", v.hdr.is_some()),
            ("filters", !v.filters.is_empty()),
        ];
        return match set.iter().find(|(_, is_set)| *is_set) {
            Some((name, _)) => refuse(format!("{path}.{name}"), "makes no sense with codec copy"),
            None => Ok(()),
        };
    }
    size(path, v.width, v.height)?;
    finite(format!("{path}.crf"), v.crf, 0.0, 255.0)?;
    let modes = [("crf", v.crf.is_some()), ("qp", v.qp.is_some()), ("lossless", v.lossless)];
    let mut chosen = modes.iter().filter(|(_, set)| *set).map(|(name, _)| *name);
    if let (Some(a), Some(b)) = (chosen.next(), chosen.next()) {
        return refuse(format!("{path}.{b}"), format!("excludes {a}"));
    }
    if (v.crf.is_some() || v.qp.is_some() || v.lossless) && v.bitrate.is_some() {
        return refuse(format!("{path}.bitrate"), "excludes crf, qp and lossless (max_bitrate caps a crf)");
    }
    if v.cbr && v.bitrate.is_none() {
        return refuse(format!("{path}.cbr"), "needs bitrate");
    }
    if v.two_pass && v.bitrate.is_none() {
        return refuse(format!("{path}.two_pass"), "needs bitrate");
    }
    if let (Some(max), Some(avg)) = (v.max_bitrate, v.bitrate)
        && max < avg
    {
        return refuse(format!("{path}.max_bitrate"), "is below bitrate");
    }
    if v.buffer.is_some() && v.max_bitrate.is_none() && v.bitrate.is_none() {
        return refuse(format!("{path}.buffer"), "needs max_bitrate or bitrate");
    }
    if v.gop.is_some() && v.keyframe_interval.is_some() {
        return refuse(format!("{path}.gop"), "excludes keyframe_interval");
    }
    if v.gop == Some(0) {
        return refuse(format!("{path}.gop"), "must be above 0");
    }
    if v.keyframe_interval.is_some_and(|k| k.0 <= 0.0) {
        return refuse(format!("{path}.keyframe_interval"), "must be above 0");
    }
    if v.bit_depth.is_some_and(|d| !matches!(d, 8 | 10 | 12)) {
        return refuse(format!("{path}.bit_depth"), "8, 10 or 12");
    }
    if v.bit_depth.is_some() && v.pixel_format.is_some() {
        return refuse(format!("{path}.bit_depth"), "excludes pixel_format");
    }
    if v.b_frames.is_some_and(|b| b > 16) {
        return refuse(format!("{path}.b_frames"), "at most 16");
    }
    if v.lookahead.is_some_and(|l| l > 250) {
        return refuse(format!("{path}.lookahead"), "at most 250");
    }
    if let Some(h) = &v.hdr {
        hdr(&format!("{path}.hdr"), h)?;
    }
    for (i, f) in v.filters.iter().enumerate() {
        filter(&format!("{path}.filters[{i}]"), f)?;
    }
    Ok(())
}

fn hdr(path: &str, h: &HdrSpec) -> Checked {
    if *h == HdrSpec::default() {
        return refuse(path, "says nothing; mastering_display, max_cll and max_fall are what there is");
    }
    if let Some(m) = &h.mastering_display {
        let path = format!("{path}.mastering_display");
        for (name, [x, y]) in [("red", m.red), ("green", m.green), ("blue", m.blue), ("white", m.white)] {
            // CIE 1931: x + y + z = 1, and no colour has y = 0.
            if !((0.0..=1.0).contains(&x) && y > 0.0 && x + y <= 1.0) {
                return refuse(format!("{path}.{name}"), format!("[{x}, {y}] is no chromaticity"));
            }
        }
        // What ST 2086 can write: steps of 0.0001 in 32 bits, of which PQ reaches 10000.
        finite(format!("{path}.max_luminance"), Some(m.max_luminance), 0.0001, 10_000.0)?;
        finite(format!("{path}.min_luminance"), Some(m.min_luminance), 0.0, 10_000.0)?;
        if m.min_luminance >= m.max_luminance {
            return refuse(format!("{path}.min_luminance"), "is not below max_luminance");
        }
    }
    for (name, value) in [("max_cll", h.max_cll), ("max_fall", h.max_fall)] {
        if let Some(v) = value.filter(|v| *v > 65_535) {
            return refuse(format!("{path}.{name}"), format!("{v} is above 65535"));
        }
    }
    match (h.max_cll, h.max_fall) {
        (Some(cll @ 1..), Some(fall)) if fall > cll => refuse(format!("{path}.max_fall"), "is above max_cll"),
        _ => Ok(()),
    }
}

fn filter(path: &str, f: &FilterSpec) -> Checked {
    match f {
        FilterSpec::Crop(c) => size(&format!("{path}.crop"), Some(c.width), Some(c.height)),
        FilterSpec::Pad(p) => size(&format!("{path}.pad"), Some(p.width), Some(p.height)),
        FilterSpec::Rotate(angle) if angle % 90 != 0 || *angle >= 360 => {
            refuse(format!("{path}.rotate"), "0, 90, 180 or 270")
        }
        FilterSpec::Sharpen(s) => {
            finite(format!("{path}.sharpen.amount"), Some(s.amount), -1.5, 1.5)?;
            match s.size {
                Some(n) if n % 2 == 0 || !(3..=23).contains(&n) => {
                    refuse(format!("{path}.sharpen.size"), "odd, 3 to 23")
                }
                _ => Ok(()),
            }
        }
        FilterSpec::ToneMap(t) => {
            finite(format!("{path}.tone_map.peak"), t.peak, 1.0, 10_000.0)?;
            finite(format!("{path}.tone_map.desaturate"), t.desaturate, 0.0, 10.0)
        }
        FilterSpec::BurnIn(b) if b.stream.is_some() == b.path.is_some() => {
            refuse(format!("{path}.burn_in"), "exactly one of stream and path is needed")
        }
        FilterSpec::BurnIn(b) => charset(&format!("{path}.burn_in"), b.charset.as_deref(), b.path.is_some()),
        FilterSpec::Watermark(w) => finite(format!("{path}.watermark.opacity"), w.opacity, 0.0, 1.0),
        FilterSpec::Rotate(_) | FilterSpec::Deinterlace(_) | FilterSpec::Interpolate(_) => Ok(()),
    }
}

/// The character set that a file of subtitles is said to be in.
fn charset(path: &str, name: Option<&str>, file: bool) -> Checked {
    match name {
        Some(_) if !file => refuse(format!("{path}.charset"), "is for a file (path)"),
        Some(name) if !crate::charset::is_known(name) => {
            refuse(format!("{path}.charset"), format!("{name:?} is not known"))
        }
        _ => Ok(()),
    }
}

fn audio(path: &str, a: &AudioSpec) -> Checked {
    rendition(path, a.name.as_ref())?;
    if let Some(c) = &a.codec
        && c.kind().is_some_and(|k| k != MediaKind::Audio)
    {
        return refuse(format!("{path}.codec"), format!("{c} is not an audio codec"));
    }
    if a.stream.is_some() && a.language.is_some() {
        return refuse(format!("{path}.language"), "excludes stream");
    }
    if a.all && (a.stream.is_some() || a.name.is_some()) {
        return refuse(format!("{path}.all"), "excludes stream and name, which are those of one track");
    }
    if a.codec == Some(Codec::from_name("copy")) {
        let set = [
            ("encoder", a.encoder.is_some()),
            ("bitrate", a.bitrate.is_some()),
            ("channels", a.channels.is_some()),
            ("sample_rate", a.sample_rate.is_some()),
            ("gain", a.gain.is_some()),
            ("loudness", a.loudness.is_some()),
            ("options", !a.options.is_empty()),
        ];
        return match set.iter().find(|(_, is_set)| *is_set) {
            Some((name, _)) => refuse(format!("{path}.{name}"), "makes no sense with codec copy"),
            None => Ok(()),
        };
    }
    if let Some(c) = a.channels {
        channels(&format!("{path}.channels"), c)?;
    }
    if let Some(r) = a.sample_rate {
        rate(&format!("{path}.sample_rate"), r)?;
    }
    finite(format!("{path}.gain"), a.gain, -60.0, 60.0)?;
    if let Some(l) = &a.loudness {
        finite(format!("{path}.loudness.integrated"), Some(l.integrated), -70.0, -5.0)?;
        finite(format!("{path}.loudness.range"), Some(l.range), 1.0, 50.0)?;
        finite(format!("{path}.loudness.true_peak"), Some(l.true_peak), -9.0, 0.0)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
