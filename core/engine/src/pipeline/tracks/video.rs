//! Tracks of pictures: copied, or encoded with what becomes of them on the way.

use super::{below, carries};
use crate::encode::{
    self, KeyGrid,
    select::{self, Chosen},
};
use crate::error::{Error, ErrorKind, Result};
use crate::filter::Turn;
use crate::filter::size::Shown;
use crate::frame::{Colour, PixelFormat};
use crate::packet::{Codec, FieldOrder, StreamInfo, VideoInfo};
use crate::pipeline::copy::{asks_to_encode, copy_obstacle};
use crate::pipeline::placement::{Machine, Placement};
use crate::pipeline::resolve::{Make, Offer, Track};
use crate::spec::{
    AudioChoice, CameraSpec, ColourSpec, Container, Deinterlace, FilterSpec, FrameRate, OutputSpec,
    PipelineSpec, Seconds, Service, SubtitleChoice, TilesSpec, ToneMapSpec, VideoChoice, VideoSpec,
};
use crate::time::{Rational, Timestamp};

/// An encoded video track.
pub(crate) struct VideoTrack {
    /// Codec, size and rate control, all decided.
    pub spec: VideoSpec,
    pub encoder: Chosen,
    pub width: u32,
    pub height: u32,
    /// How it is turned before everything else, if it is.
    pub turn: Option<Turn>,
    /// The rate that the encoder may count on.
    pub frame_rate: Option<Rational>,
    pub threads: u32,
    /// Key frames every so many seconds, exactly.
    pub grid: Option<Seconds>,
    /// Whether the source's pictures have another size than the track's.
    pub scaled: bool,
    /// Rate control in words.
    pub rate: String,
    /// What the encoder only approximates.
    pub notes: Vec<String>,
    /// Where its frames are; decided with the decoder.
    pub placement: Placement,
    /// Its pictures are previews, so many of which are put on each sheet that is encoded.
    pub tiles: Option<TilesSpec>,
}

/// Seconds between key frames where an output keeps a replay, unless the document says otherwise.
const REPLAY_INTERVAL: f64 = 2.0;

pub(crate) fn default_video_codec(container: Option<Container>) -> Codec {
    container.map_or(Codec::H264, select::default_video_codec)
}

/// The stream that an output's video is to be of.
pub(crate) fn wanted_stream(output: &OutputSpec) -> Option<usize> {
    match &output.video {
        VideoChoice::Track(video) => video.stream,
        _ => None,
    }
}

/// What a camera needs: raw pictures of its format at a constant rate, and no sound. `source` is what it shows.
pub(crate) fn camera_output(
    output: &OutputSpec,
    camera: &CameraSpec,
    source: Option<&StreamInfo>,
) -> OutputSpec {
    let mut video = match &output.video {
        VideoChoice::Track(video) => (**video).clone(),
        _ => VideoSpec::new(),
    };
    let info = source.and_then(|s| s.video.as_ref());
    video.codec = Some(Codec::RawVideo);
    video.pixel_format = Some(camera.format.pixel_format().into());
    let usual = FrameRate(Rational::new(30, 1));
    let rate = info.and_then(|v| v.frame_rate).filter(|r| r.is_positive()).map(FrameRate);
    video.frame_rate = video.frame_rate.or(rate).or(Some(usual));
    let height = video.height.or(info.map(|v| Shown::of(v, video.auto_rotate).height)).unwrap_or(0);
    let name = |name: &str| Some(name.to_owned());
    video.colour = Some(ColourSpec {
        primaries: name("bt709"),
        transfer: name("bt709"),
        matrix: name(if CameraSpec::is_hd(height) { "bt709" } else { "smpte170m" }),
        range: name("limited"),
    });
    if let Some(info) = info
        && video.filters.is_empty()
        && video.width.is_none()
        && video.height.is_none()
    {
        // Cameras have even sides.
        let shown = Shown::of(info, video.auto_rotate);
        if shown.width % 2 == 1 || shown.height % 2 == 1 {
            (video.width, video.height) = (Some((shown.width & !1).max(2)), Some((shown.height & !1).max(2)));
        }
    }
    OutputSpec {
        video: VideoChoice::Track(Box::new(video)),
        audio: AudioChoice::None,
        subtitles: SubtitleChoice::None,
        ..output.clone()
    }
}

/// A rung with what it leaves out taken from the output's video.
pub(crate) fn inherit(rung: &VideoSpec, base: &VideoSpec) -> VideoSpec {
    let value = |v: &VideoSpec| match serde_json::to_value(v) {
        Ok(serde_json::Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let (mut merged, untouched) = (value(base), value(&VideoSpec::new()));
    // Ways to say the same thing exclude each other: a rung that says one drops the base's other.
    let rate = rung.crf.is_some() || rung.qp.is_some() || rung.lossless || rung.bitrate.is_some();
    let mut drop = |says: bool, keys: &[&str]| merged.retain(|key, _| !says || !keys.contains(&key.as_str()));
    drop(rate, &["crf", "qp", "lossless", "bitrate", "max_bitrate", "buffer"]);
    // The other side follows the aspect ratio.
    drop(rung.width.is_some() || rung.height.is_some(), &["width", "height"]);
    drop(rung.gop.is_some() || rung.keyframe_interval.is_some(), &["gop", "keyframe_interval"]);
    drop(rung.bit_depth.is_some() || rung.pixel_format.is_some(), &["bit_depth", "pixel_format"]);
    for (key, v) in value(rung) {
        if untouched.get(&key) != Some(&v) {
            merged.insert(key, v);
        }
    }
    serde_json::from_value(serde_json::Value::Object(merged)).unwrap_or_else(|_| rung.clone())
}

/// The codec of a track: what it says, else what its encoder makes, else what the container's pictures usually are.
pub(crate) fn video_codec(wanted: &VideoSpec, container: Option<Container>) -> Codec {
    let made = || wanted.encoder.as_deref().and_then(encode::presets::codec_of);
    wanted.codec.clone().or_else(made).unwrap_or_else(|| default_video_codec(container))
}

#[allow(clippy::too_many_arguments)]
pub(crate) fn video(
    spec: &PipelineSpec,
    output: &OutputSpec,
    container: Option<Container>,
    wanted: &VideoSpec,
    stream: &StreamInfo,
    offer: &Offer,
    grid_fits: bool,
    machine: &dyn Machine,
    fallbacks: &mut Vec<String>,
) -> Result<Track> {
    let name = wanted.name.clone().unwrap_or_default();
    if wanted.is_copy() {
        if offer.raw {
            return Err(Error::invalid("codec", "raw frames cannot be copied"));
        }
        carries(output, container, &stream.codec)?;
        return Ok(Track {
            name,
            stream: Some(stream.index),
            make: Make::Copy(Box::new(stream.clone())),
            reason: "asked for".into(),
        });
    }
    if output.packets.as_ref().is_some_and(|p| p.copy.contains(&stream.codec))
        && output.ladder.is_none()
        && !offer.raw
        && !asks_to_encode(wanted, stream)
    {
        return Ok(Track {
            name,
            stream: Some(stream.index),
            make: Make::Copy(Box::new(stream.clone())),
            reason: "the application takes its codec as it is".into(),
        });
    }
    let mut reason = "asked for".to_string();
    if output.ladder.is_some() && output.copy_conforming && !offer.raw {
        let obstacle = copy_obstacle(wanted, stream, container)
            .or_else(|| (!grid_fits).then(|| "the source's key frames do not fit the segments".into()));
        match obstacle {
            None => {
                return Ok(Track {
                    name,
                    stream: Some(stream.index),
                    make: Make::Copy(Box::new(stream.clone())),
                    reason: "the source conforms to the rung".into(),
                });
            }
            Some(obstacle) => reason = format!("not copied: {obstacle}"),
        }
    }

    let video = stream.video.as_ref().ok_or_else(|| {
        Error::new(ErrorKind::Format, format!("stream {} has no picture size", stream.index))
    })?;
    let mut wanted = wanted.clone();
    let codec = video_codec(&wanted, container);
    carries(output, container, &codec)?;
    let fits = |name: &str| {
        if encode::presets::direct(name).is_none() {
            return Ok(());
        }
        let shown = filtered_size(&wanted, Shown::of(video, wanted.auto_rotate));
        let size = shown.fit(wanted.width, wanted.height);
        let (spec, format, rate) =
            (&wanted, video.format, wanted.frame_rate.map(|r| r.0).or(video.frame_rate));
        let asked = encode::nvenc::Wanted { codec: &codec, encoder: name, spec, format, size, rate };
        encode::nvenc::fits(&asked, &machine.nvidia())
    };
    let works = |name: &str| machine.encodes(name).and_then(|()| fits(name));
    let encoder = select::choose(&codec, wanted.encoder.as_deref(), wanted.device, spec.fallback, &works)?;
    fallbacks.extend(encoder.fallback.clone());
    wanted.codec = Some(codec.clone());
    wanted.encoder = Some(encoder.name.clone());
    if container == Some(Container::Y4m) && wanted.pixel_format.is_none() && wanted.bit_depth.is_none() {
        wanted.pixel_format = Some(crate::sink::y4m::nearest(video.format).into());
    }
    if keeps_alpha_beside(container, &encoder.name, &wanted) && video.format.is_some_and(has_alpha) {
        wanted.pixel_format = Some("yuva420p".into());
    }
    if wanted.profile.is_none() && wanted.pixel_format.is_none() && !wanted.options.contains_key("profile") {
        wanted.profile =
            encode::presets::usual_profile(&encoder.name, video.format, wanted.bit_depth).map(Into::into);
    }
    if let Some(colour) = &wanted.colour {
        // Whoever converts to it reads it again, and does not know the track's name.
        crate::filter::colour::from_spec(colour)?;
    }
    conform_colour(&mut wanted, &codec, video.colour, &mut reason);
    // Raw frames may say what they are themselves; the encoder looks at the first.
    if wanted.hdr.is_some() && !(offer.raw && video.colour == Colour::default()) {
        hdr_has_a_place(&wanted, video.colour)?;
    }
    let segmented = container.is_some_and(Container::is_segmented);
    let shown = filtered_size(&wanted, Shown::of(video, wanted.auto_rotate));
    let shared = paired(&encoder.name, &codec, &wanted, video.format);
    let pairs = match container {
        // Nothing of a preview may lie in a sample of its neighbour's.
        _ if output.tiles.is_some() => (true, true),
        // JPEG and WebP leave out what is beyond an odd side.
        Some(Container::Image) => (false, false),
        _ => shared,
    };
    let (width, height) = shown.fit_pairs(wanted.width, wanted.height, pairs);
    if let Some(why) = mixes_fields(&wanted, video, &encoder.name, &codec, (height, shown.height), segmented)
    {
        wanted.filters.insert(0, FilterSpec::Deinterlace(Deinterlace::Auto));
        reason.push_str("; the source is interlaced, and ");
        reason.push_str(why);
    }
    let needs_even =
        output.tiles.is_some() || matches!(codec, Codec::H264 | Codec::Hevc | Codec::Av1 | Codec::Vp9);
    let odd = (shared.0 && width % 2 == 1, shared.1 && height % 2 == 1);
    if needs_even && (odd.0 || odd.1) {
        return Err(Error::invalid(
            if odd.0 { "width" } else { "height" },
            format!("{width}x{height}: pictures whose columns or rows share their chroma have even sides"),
        ));
    }
    let frame_rate = wanted.frame_rate.map(|r| r.0).or(video.frame_rate);
    if let Some(level) = wanted.level.as_deref() {
        let check = |rate| encode::level::check(&codec, level, (width, height), rate);
        let promised = promised_rate(&wanted, video);
        check(promised)?;
        if let Some(mean) = mean_rate(stream).filter(|_| promised.is_none()) {
            // A hundredth is a clock's, or the last picture's length.
            let at = |share: f64| check(Some(Rational::new((mean * share * 1000.0) as i32, 1000)));
            at(0.99).or_else(|_| at(1.0))?;
        }
    }
    let grid = match (segmented, wanted.keyframe_interval) {
        (true, _) => Some(output.segment.clone().unwrap_or_default().duration),
        // What is saved of a replay begins at a key frame; none may be far away.
        (false, None) if wanted.gop.is_none() && spec.outputs.iter().any(|o| o.replay.is_some()) => {
            Some(Seconds(REPLAY_INTERVAL))
        }
        (false, None) if wanted.gop.is_none() => {
            let service = output.pushed_to().and_then(|url| Service::of_url(&url));
            service.map(|s| s.keyframe_interval)
        }
        (false, interval) => interval,
    };
    let interval = grid
        .and_then(|every| KeyGrid::every(Timestamp::from_seconds(every.0)))
        .zip(frame_rate)
        .and_then(|(grid, rate)| grid.frames(rate));
    let mut settings = encode::video::settings(&encoder.name, &wanted, grid.is_some(), interval)
        .map_err(|e| below("video.", e))?;
    settings.notes.extend(loses_alpha(&wanted, &encoder.name, video));
    if (wanted.width, wanted.height) == (None, None) && (width, height) != (shown.width, shown.height) {
        settings.notes.push(format!(
            "{}x{} becomes {width}x{height}: columns and rows that share their chroma come in pairs",
            shown.width, shown.height
        ));
    }
    let turn = Some(Turn::shown(video.rotation, video.mirrored))
        .filter(|turn| wanted.auto_rotate && *turn != Turn::default());
    Ok(Track {
        name,
        stream: Some(stream.index),
        reason: format!("{reason}; {}", encoder.reason),
        make: Make::Video(Box::new(VideoTrack {
            scaled: (width, height) != (video.width, video.height),
            encoder,
            width,
            height,
            turn,
            frame_rate,
            threads: wanted.threads,
            spec: wanted,
            grid,
            rate: settings.summary,
            notes: settings.notes,
            placement: Placement::default(),
            tiles: output.tiles.clone(),
        })),
    })
}

fn has_alpha(format: PixelFormat) -> bool {
    format.descriptor().is_some_and(|d| d.has_alpha)
}

/// Whether the container holds what the codec's own pictures cannot say of transparency: WebM's alpha is a second picture of
/// VP9 in each block's additions, of 8 bits.
fn keeps_alpha_beside(container: Option<Container>, encoder: &str, wanted: &VideoSpec) -> bool {
    encoder == "libvpx-vp9"
        && matches!(container, Some(Container::WebM | Container::Mkv))
        && wanted.pixel_format.is_none()
        && wanted.bit_depth.is_none()
        && wanted.profile.is_none()
        && !wanted.options.contains_key("profile")
}

/// What is said where the source's pictures are transparent in places and the encoder's are not.
fn loses_alpha(wanted: &VideoSpec, encoder: &str, video: &VideoInfo) -> Option<String> {
    let made = encode::format::input_format(encoder, wanted, video.format).ok()?;
    (video.format.is_some_and(has_alpha) && !has_alpha(made))
        .then(|| format!("the source's transparency is lost: {encoder} gets {}", made.name()))
}

/// Whether the columns and the rows of what is encoded come in pairs: those that share their chroma do, unless the codec
/// keeps whatever there is.
fn paired(encoder: &str, codec: &Codec, wanted: &VideoSpec, source: Option<PixelFormat>) -> (bool, bool) {
    let format = encode::format::input_format(encoder, wanted, source).ok().and_then(|f| f.descriptor());
    match format {
        _ if encode::presets::direct(encoder).is_some() => (true, true),
        _ if codec.name() == "ffv1" => (false, false),
        Some(d) => (d.log2_chroma_w > 0, d.log2_chroma_h > 0),
        None => (true, true),
    }
}

/// Why fields would not stay fields, where nobody says what becomes of them. `heights`: of the output, and before scaling.
fn mixes_fields(
    wanted: &VideoSpec,
    video: &VideoInfo,
    encoder: &str,
    codec: &Codec,
    heights: (u32, u32),
    segmented: bool,
) -> Option<&'static str> {
    let interlaced = matches!(video.field_order, FieldOrder::TopFirst | FieldOrder::BottomFirst);
    if !interlaced || wanted.filters.iter().any(|f| matches!(f, FilterSpec::Deinterlace(_))) {
        return None;
    }
    let turned = wanted.auto_rotate && video.rotation != 0.0
        || wanted.filters.iter().any(|f| matches!(f, FilterSpec::Rotate(_) | FilterSpec::Interpolate(_)));
    let tells = encoder == "libx264" || !matches!(codec, Codec::H264 | Codec::Hevc | Codec::Av1 | Codec::Vp9);
    if segmented {
        Some("streaming players do not deinterlace")
    } else if heights.0 != heights.1 || turned {
        Some("its fields would be mixed")
    } else if wanted.frame_rate.is_some_and(|rate| video.frame_rate != Some(rate.0)) {
        Some("another rate would repeat or drop its fields")
    } else {
        (!tells).then_some("players would not be told")
    }
}

/// How many pictures a second are certain: those that are asked for or made, or those of a source that has no others.
fn promised_rate(wanted: &VideoSpec, source: &VideoInfo) -> Option<Rational> {
    let made = wanted.filters.iter().rev().find_map(|f| match f {
        FilterSpec::Interpolate(between) => Some(between.frame_rate.0),
        _ => None,
    });
    let own = source.frame_rate.filter(|_| source.constant_rate == Some(true));
    wanted.frame_rate.map(|r| r.0).or(made).or(own)
}

/// How many pictures a second a file has from its beginning to its end, where its container has counted them: what FFmpeg
/// says of others may be guessed from the first ones. Of fields nobody knows whether they were counted.
fn mean_rate(stream: &StreamInfo) -> Option<f64> {
    let video = stream.video.as_ref().filter(|v| v.constant_rate.is_none())?;
    let fields = matches!(video.field_order, FieldOrder::TopFirst | FieldOrder::BottomFirst);
    let seconds = stream.duration?.seconds();
    if fields || seconds <= 0.0 {
        return None;
    }
    // What an edit list cuts off the length is still counted; the demuxer's own average knows.
    let mean = (stream.frames? as f64 / seconds).min(video.frame_rate?.as_f64());
    (mean < 10_000.0).then_some(mean)
}

/// The size after the filters that change it.
pub(crate) fn filtered_size(wanted: &VideoSpec, mut shown: Shown) -> Shown {
    for filter in &wanted.filters {
        match filter {
            FilterSpec::Crop(c) => (shown.width, shown.height) = (c.width, c.height),
            FilterSpec::Pad(p) => (shown.width, shown.height) = (p.width, p.height),
            FilterSpec::Rotate(90 | 270) => {
                (shown.width, shown.height) = (shown.height, shown.width);
                shown.sample_aspect = shown.sample_aspect.inverse();
            }
            _ => {}
        }
    }
    shown
}

/// HDR that ends in 8 bits would be a grey picture on most screens: it is tone-mapped unless the document says how.
fn conform_colour(wanted: &mut VideoSpec, codec: &Codec, colour: Colour, reason: &mut String) {
    let maps = wanted.filters.iter().any(|f| matches!(f, FilterSpec::ToneMap(_)));
    let eight_bit =
        *codec == Codec::H264 && wanted.bit_depth.is_none_or(|d| d == 8) && wanted.pixel_format.is_none();
    if colour.is_hdr() && !maps && eight_bit && wanted.colour.is_none() {
        wanted.filters.insert(0, FilterSpec::ToneMap(ToneMapSpec::default()));
        reason.push_str("; HDR is tone-mapped for 8-bit H.264");
    }
}

/// HDR metadata beside a picture that is not HDR would be ignored.
fn hdr_has_a_place(wanted: &VideoSpec, source: Colour) -> Result<()> {
    if wanted.filters.iter().any(|f| matches!(f, FilterSpec::ToneMap(_))) {
        return Err(Error::invalid("hdr", "the picture is tone-mapped to SDR"));
    }
    let mut colour = source;
    if let Some(asked) = &wanted.colour {
        let asked = crate::filter::colour::from_spec(asked)?;
        colour = crate::filter::colour::complete(Some(asked), source, PixelFormat::nv12(), 0);
    }
    if colour.is_hdr() { Ok(()) } else { Err(Error::invalid("hdr", encode::video::NOT_HDR)) }
}

impl VideoTrack {
    pub fn codec(&self) -> &str {
        self.spec.codec.as_ref().map_or("", Codec::name)
    }

    /// Refuses sheets that are too large for a picture of its codec.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] (`tiles: …`).
    pub fn fits_its_sheet(&self) -> Result<()> {
        let Some(tiles) = &self.tiles else { return Ok(()) };
        tiles.sheet(self.width, self.height, self.codec()).map(drop)
    }

    /// Notes what of `length` seconds is on none of its sheets, where the name of `output` is for one alone.
    pub fn note_rest(&mut self, output: &OutputSpec, length: Option<f64>) {
        let Some((tiles, rate)) = self.tiles.as_ref().zip(self.frame_rate) else { return };
        let wanted = length.map_or(0.0, |length| (length * rate.as_f64()).round());
        if !output.is_numbered() && wanted > f64::from(tiles.count()) {
            self.notes.push(format!(
                "one sheet has {} of {wanted} previews: with a number in the name (%03d) there are more",
                tiles.count()
            ));
        }
    }

    /// How many pictures a second its encoder gets.
    pub fn coded_rate(&self) -> Option<Rational> {
        let tiles = self.tiles.as_ref();
        self.frame_rate.map(|rate| tiles.map_or(rate, |tiles| crate::filter::sheet_rate(rate, tiles.count())))
    }

    pub fn describe(&self) -> String {
        let mut words = format!("{}x{}", self.width, self.height);
        match (&self.tiles, self.frame_rate) {
            (Some(TilesSpec { columns, rows, .. }), Some(rate)) => {
                // To the millisecond, and no digits that say nothing.
                let every = (rate.inverse().as_f64() * 1000.0).round() / 1000.0;
                words = format!("sheets of {columns}x{rows} previews of {words}, one every {every} s");
            }
            (_, Some(rate)) => words.push_str(&format!(" {:.3} fps", rate.as_f64())),
            (_, None) => {}
        }
        if !self.rate.is_empty() {
            words.push_str(&format!(", {}", self.rate));
        }
        if let Some(grid) = self.grid {
            words.push_str(&format!(", key frames every {} s", grid.0));
        }
        match self.threads {
            // Whoever makes it says how many.
            0 => {}
            1 => words.push_str(", 1 thread"),
            n => words.push_str(&format!(", {n} threads")),
        }
        words
    }

    /// What happens to its frames, in order, and where, if not on the host.
    pub fn stages(&self) -> Vec<String> {
        let at = &self.placement;
        let mut stages = Vec::new();
        stages.extend(self.turn.map(|turn| turn.to_string()));
        stages.extend(self.spec.filters.iter().map(crate::filter::describe));
        if let Some(rate) = self.spec.frame_rate {
            stages.push(format!("frame_rate {}", rate.0));
        }
        for (stage, filter) in stages.iter_mut().zip(&at.first) {
            if let Some(filter) = filter {
                let what = stage.trim_end_matches(" (bwdif)");
                *stage = format!("{what} on {} ({})", filter.kind(), filter.name());
            }
        }
        let down =
            at.from.zip(at.download.as_ref()).map(|(kind, why)| format!("download from {kind}: {why}"));
        if let Some(down) = down.as_ref().filter(|_| !at.late) {
            stages.insert(at.first.len(), down.clone());
        }
        match &at.scale {
            Some(f) => {
                stages.push(format!("scale {}x{} on {} ({})", self.width, self.height, f.kind(), f.name()));
            }
            None if self.scaled => stages.push(format!("scale {}x{}", self.width, self.height)),
            None => {}
        }
        stages.extend(down.filter(|_| at.late));
        if let Some(tiles) = &self.tiles {
            stages.push(format!("sheet {}x{}", tiles.columns * self.width, tiles.rows * self.height));
        }
        if let Some((kind, why)) = &at.upload {
            stages.push(format!("upload to {kind}: {why}"));
        }
        stages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Bitrate, Preset};

    #[test]
    fn a_rung_inherits_what_it_leaves_out() {
        let base = VideoSpec { crf: Some(20.0), preset: Some(Preset::P2), cbr: false, ..VideoSpec::new() };
        let rung = VideoSpec { height: Some(480), ..VideoSpec::new() };
        let merged = inherit(&rung, &base);
        assert_eq!((merged.crf, merged.preset, merged.height), (Some(20.0), Some(Preset::P2), Some(480)));
        let own = VideoSpec { qp: Some(30), ..VideoSpec::new() };
        let merged = inherit(&own, &base);
        assert_eq!((merged.crf, merged.qp), (None, Some(30)), "its own rate control replaces the base's");
        let capped = VideoSpec { max_bitrate: Some(Bitrate(1)), ..VideoSpec::new() };
        assert_eq!(inherit(&capped, &base).crf, Some(20.0), "a cap goes with the base's quality");
        let base = VideoSpec {
            width: Some(640),
            gop: Some(50),
            pixel_format: Some("yuv420p".into()),
            ..VideoSpec::new()
        };
        let rung = VideoSpec {
            height: Some(360),
            keyframe_interval: Some(Seconds(2.0)),
            bit_depth: Some(10),
            ..VideoSpec::new()
        };
        let merged = inherit(&rung, &base);
        assert_eq!((merged.width, merged.gop, merged.pixel_format), (None, None, None));
    }
}
