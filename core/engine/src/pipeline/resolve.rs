//! Decides what will be done: which streams are decoded, what every track is made of and how, and why. Everything that
//! `--plan` shows is decided here, and nothing is decided later.

use super::copy;
use super::ladder;
use super::named;
use super::placement::{self, Machine, Placement, ThisMachine};
use super::tracks::{self, AudioTrack, SubtitleTrack, VideoTrack};
use crate::encode::nvenc;
use crate::error::{Error, ErrorKind, Result};
use crate::filter::size::Shown;
use crate::package::language;
use crate::packet::{Codec, MediaKind, StreamInfo};
use crate::plan::{DecoderPlan, OutputPlan, Plan, TrackPlan};
use crate::sink::Attachment;
use crate::source::keys::Keys;
use crate::spec::{
    AudioChoice, AudioSpec, Container, LadderSpec, OutputSpec, PipelineSpec, SegmentSpec, SubtitleChoice,
    VideoChoice, VideoSpec, Window,
};
use crate::time::Timestamp;
use crate::timecode::is_timecode;
use ghoststream_sys::ffmpeg::Chapter;

/// What the source offers.
pub(crate) struct Offer {
    pub streams: Vec<StreamInfo>,
    /// Container length.
    pub duration: Option<Timestamp>,
    /// Frames come raw: nothing can be copied, nothing is decoded.
    pub raw: bool,
    /// The device that raw frames are on; `None` = host memory.
    pub device: Option<&'static str>,
    /// Where its key frames are, if that can be looked up.
    pub keys: Option<Keys>,
    pub label: String,
    pub chapters: Vec<Chapter>,
    pub metadata: Vec<(String, String)>,
    pub attachments: Vec<Attachment>,
    /// The source's own first timestamp.
    pub start: Option<Timestamp>,
    /// Where the first key frame is from `source.start` on back, in seconds from the beginning.
    pub first_key: Option<f64>,
}

/// A decided job.
pub(crate) struct Resolved {
    pub decoders: Vec<Decoder>,
    pub outputs: Vec<Output>,
    pub fallbacks: Vec<String>,
    /// Ways of frames to a device and back, in words.
    pub transfers: Vec<String>,
    pub duration: Option<f64>,
    pub label: String,
}

/// A stream that is decoded.
pub(crate) struct Decoder {
    pub stream: usize,
    pub device: Option<&'static str>,
    pub threads: u32,
    pub reason: String,
}

/// A decided output.
pub(crate) struct Output {
    pub container: Option<Container>,
    pub segment: SegmentSpec,
    /// Where the segments begin, when the source's key frames decide it.
    pub boundaries: Option<Vec<Timestamp>>,
    pub tracks: Vec<Track>,
    /// The track that gets a head start, by name.
    pub lead: Option<String>,
}

/// A decided track.
pub(crate) struct Track {
    pub name: String,
    pub stream: Option<usize>,
    pub make: Make,
    pub reason: String,
}

/// How a track is made.
pub(crate) enum Make {
    Copy(Box<StreamInfo>),
    Video(Box<VideoTrack>),
    Audio(Box<AudioTrack>),
    Subtitle(Box<SubtitleTrack>),
    /// By the encoder of an earlier track.
    Shared(Box<Shared>),
}

/// A track that another one makes too.
pub(crate) struct Shared {
    /// Output and position of the track whose encoder makes it.
    pub with: (usize, usize),
    /// What it would have made itself.
    pub make: Make,
}

impl Make {
    /// The video that is encoded here.
    pub(super) fn video(&self) -> Option<&VideoTrack> {
        match self {
            Make::Video(v) => Some(v),
            _ => None,
        }
    }

    fn kind(&self) -> MediaKind {
        match self {
            Make::Copy(s) => s.kind,
            Make::Video(_) => MediaKind::Video,
            Make::Audio(_) => MediaKind::Audio,
            Make::Subtitle(_) => MediaKind::Subtitle,
            Make::Shared(s) => s.make.kind(),
        }
    }
}

impl Track {
    pub fn kind(&self) -> MediaKind {
        self.make.kind()
    }
}

/// Decides `spec` for `offer`.
pub(crate) fn resolve(spec: &PipelineSpec, offer: &Offer) -> Result<Resolved> {
    resolve_on(spec, offer, &ThisMachine)
}

/// As [`resolve`], for a machine that can do what `machine` says.
pub(crate) fn resolve_on(spec: &PipelineSpec, offer: &Offer, machine: &dyn Machine) -> Result<Resolved> {
    let mut fallbacks = Vec::new();
    let mut outputs = Vec::new();
    for (i, output) in spec.outputs.iter().enumerate() {
        outputs.push(
            output_tracks(spec, output, offer, machine, &mut fallbacks)
                .map_err(|e| e.at(format!("outputs[{i}]")))?,
        );
    }
    let adapts = |output: usize| super::steer::adapts(spec, output);
    super::share::share(&mut outputs, &adapts);
    // Nobody waits for the pictures of what has an end.
    let fill = spec.threads == 0 && offer.duration.is_some();
    tracks::share_cores(outputs.iter_mut().flat_map(|o| &mut o.tracks), tracks::cores(spec), fill);
    let decoders = decoders(spec, offer, &outputs, machine, &mut fallbacks)?;
    let transfers = place_frames(offer, &decoders, &mut outputs, machine)?;
    // One head start at a time: two would share the cores again.
    if let Some(output) = outputs.iter_mut().find(|o| deserves_lead(spec, offer, &decoders, o)) {
        output.lead = smallest_rung(output);
    }
    let start = spec.source.start.map_or(0.0, |s| s.0);
    let length = offer.duration.map(|d| (d.seconds() - start).max(0.0));
    let duration = match (length, spec.source.duration) {
        (Some(l), Some(d)) if spec.source.loops == 0 => Some(l.min(d.0)),
        (_, Some(d)) => Some(d.0),
        (Some(l), None) if spec.source.loops >= 0 => Some(l * f64::from(spec.source.loops + 1)),
        _ => None,
    };
    for (output, spec) in outputs.iter_mut().zip(&spec.outputs) {
        for track in &mut output.tracks {
            if let Make::Video(v) = &mut track.make {
                v.note_rest(spec, duration);
            }
        }
    }
    Ok(Resolved { decoders, outputs, fallbacks, transfers, duration, label: offer.label.clone() })
}

fn output_tracks(
    spec: &PipelineSpec,
    output: &OutputSpec,
    offer: &Offer,
    machine: &dyn Machine,
    fallbacks: &mut Vec<String>,
) -> Result<Output> {
    let shown;
    let output = match &output.camera {
        Some(camera) => {
            let pictures = pick_video(offer, tracks::wanted_stream(output)).map_err(|e| e.at("video"))?;
            shown = tracks::camera_output(output, camera, pictures);
            &shown
        }
        None if output.container() == Some(Container::Image) => {
            let pictures = pick_video(offer, tracks::wanted_stream(output)).map_err(|e| e.at("video"))?;
            // The only picture of an audio file is its cover.
            let cover = || offer.streams.iter().find(|s| s.kind == MediaKind::Video);
            shown = tracks::still_output(output, pictures.or_else(cover));
            &shown
        }
        None => output,
    };
    let picture = match output.video {
        VideoChoice::None => None,
        // Whether there is such a stream is said below.
        _ => pick_video(offer, tracks::wanted_stream(output)).ok().flatten(),
    };
    let best = pick_audio(offer, &AudioSpec::new(), picture)?.filter(|_| !offer.raw);
    let named = named::output(spec, output, best);
    let output = named.as_ref().unwrap_or(output);
    let container = output.container();
    let segmented = container.is_some_and(Container::is_segmented);
    let segment = output.segment.clone().unwrap_or_default();
    let mut tracks = Vec::new();
    let window = spec.window();
    let mut boundaries = window.as_ref().and_then(Window::starts);

    if let Some((choice, ladder)) = wanted_video(output, container) {
        let base = match choice {
            VideoChoice::Track(v) => (**v).clone(),
            _ => VideoSpec::new(),
        };
        match pick_video(offer, base.stream).map_err(|e| e.at("video"))? {
            Some(stream) => {
                let (rungs, mut smaller) = match ladder {
                    None => (vec![base], None),
                    Some(LadderSpec::Auto) => auto_ladder(&base, stream, container),
                    Some(LadderSpec::Rungs(rungs)) => {
                        (rungs.iter().map(|r| tracks::inherit(r, &base)).collect(), None)
                    }
                };
                for (r, rung) in
                    rungs.iter().enumerate().filter(|(_, rung)| ladder.is_some() && !rung.is_copy())
                {
                    // Each may be right by itself, and not with what it takes over.
                    rung.check(&format!("ladder[{r}]"))?;
                }
                let copy_grid = |target| copy::copy_grid(spec, output, stream, offer, target);
                // Key frames are looked up for a rung that nothing else keeps from being a copy.
                let copies = rungs.iter().any(|r| copy::may_copy(r, stream, container));
                // A part of a set is told where the whole has its segments, and what is copied.
                let grid = if segmented && ladder.is_some() && copies && window.is_none() {
                    copy_grid(segment.duration.0)?
                } else {
                    None
                };
                for (r, rung) in rungs.iter().enumerate() {
                    let path = if ladder.is_some() { format!("ladder[{r}]") } else { "video".into() };
                    let mut track = tracks::video(
                        spec,
                        output,
                        container,
                        rung,
                        stream,
                        offer,
                        grid.is_some(),
                        machine,
                        fallbacks,
                    )
                    .map_err(|e| e.at(&path))?;
                    match (&mut track.make, smaller.take()) {
                        (Make::Video(v), Some(note)) => v.notes.push(note),
                        (_, Some(note)) => track.reason += &format!("; {note}"),
                        (_, None) => {}
                    }
                    if matches!(track.make, Make::Copy(_)) && segmented && window.is_none() {
                        boundaries = grid.clone();
                    }
                    tracks.push(track);
                }
                tracks::name_rungs(&mut tracks);
                for v in tracks.iter().filter_map(|t| t.make.video()) {
                    v.fits_its_sheet()?;
                }
            }
            None if (matches!(choice, VideoChoice::Track(_)) || ladder.is_some())
                && !takes_what_is_there(output) =>
            {
                return Err(Error::new(ErrorKind::NotFound, format!("{} has no video stream", offer.label))
                    .context("video"));
            }
            None => {}
        }
    }

    for (a, wanted) in wanted_audio(output, container, offer, picture).into_iter().enumerate() {
        match pick_audio(offer, &wanted, picture).map_err(|e| e.at(format!("audio[{a}]")))? {
            Some(stream) => tracks.push(
                tracks::audio(output, container, &wanted, stream, offer, spec)
                    .map_err(|e| e.at(format!("audio[{a}]")))?,
            ),
            None if matches!(output.audio, AudioChoice::Tracks(_)) && !takes_what_is_there(output) => {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format!("{} has no such audio stream", offer.label),
                )
                .context(format!("audio[{a}]")));
            }
            None => {}
        }
    }
    tracks::name_audio(&mut tracks);

    // An application that takes text gets it in one format, whatever the source's is.
    let written = if takes_all(output) { Some(Container::WebVtt) } else { container };
    match &output.subtitles {
        SubtitleChoice::None => {}
        SubtitleChoice::Default if window.is_some() || named::is_sound(output) => {}
        SubtitleChoice::Default if spec.source.start.is_some() && offer.raw => {}
        SubtitleChoice::Default => tracks.extend(tracks::default_subtitles(written, offer, picture)),
        SubtitleChoice::Tracks(wanted) => {
            let chosen = wanted.iter().any(|w| w.default);
            for (s, wanted) in wanted.iter().enumerate() {
                let track = tracks::subtitle(written, wanted, offer, chosen);
                tracks.push(track.map_err(|e| e.at(format!("subtitles[{s}]")))?);
            }
        }
    }
    let media = tracks.iter().any(|t| matches!(t.kind(), MediaKind::Video | MediaKind::Audio));
    match container {
        Some(container) if container.is_words() && tracks.len() != 1 => {
            let name = container.name();
            return Err(Error::invalid(
                "format",
                format!("{name} holds exactly one track of subtitles; say which in subtitles"),
            ));
        }
        Some(container) if container.is_words() => {}
        Some(container) if !media && !tracks.is_empty() && container != Container::Mkv => {
            let name = container.name();
            return Err(Error::invalid(
                "format",
                format!("{name} is not made of subtitles alone; mkv, srt, ass and vtt are"),
            ));
        }
        _ if !media && (tracks.is_empty() || container.is_none()) => {
            return Err(Error::new(ErrorKind::Invalid, format!("nothing of {} is left for it", offer.label)));
        }
        _ => {}
    }
    named::check(output, &tracks)?;
    if container == Some(Container::Raw) && tracks.len() != 1 {
        return Err(Error::invalid("format", "raw holds exactly one track; switch the others off"));
    }
    if let Some(container) = container.filter(|_| output.pushed_to().is_some()) {
        let codecs: Vec<_> = tracks.iter().map(|t| (t.kind(), t.codec())).collect();
        crate::encode::select::check_pushed_together(container, &codecs)?;
    }
    Ok(Output { container, segment, boundaries, tracks, lead: None })
}

/// Whether a kind of track that the source does not have is left out.
fn takes_what_is_there(output: &OutputSpec) -> bool {
    output.packets.as_ref().is_some_and(|p| !p.copy.is_empty())
}

/// Whether a waiting player gains from a head start: several rungs are encoded from a source that can be opened twice
/// and is long enough for it to matter.
fn deserves_lead(spec: &PipelineSpec, offer: &Offer, decoders: &[Decoder], output: &Output) -> bool {
    let source = &spec.source;
    let rungs: Vec<_> = output.tracks.iter().filter_map(|t| Some((t.stream?, encoded_size(t)?))).collect();
    let shares = output.tracks.iter().any(|t| matches!(t.make, Make::Shared(_)));
    let local = source.url.as_deref().is_some_and(|u| !u.contains("://"));
    let length = source.duration.map(|d| d.0).or(offer.duration.map(|d| d.seconds())).unwrap_or(0.0);
    output.container.is_some_and(Container::is_segmented)
        && rungs.len() > 1
        && spec.window().is_none()
        // What another output's encoder makes cannot wait for this one's head start.
        && !shares
        && rungs.iter().all(|(stream, _)| *stream == rungs[0].0)
        && local
        && !source.realtime
        && source.loops == 0
        && length > 3.0 * output.segment.duration.0
        && decoders.iter().all(|d| d.device.is_none())
}

fn encoded_size(track: &Track) -> Option<u64> {
    match &track.make {
        Make::Video(v) if !v.spec.two_pass => Some(u64::from(v.width) * u64::from(v.height)),
        _ => None,
    }
}

fn smallest_rung(output: &Output) -> Option<String> {
    let rungs = output.tracks.iter().filter_map(|t| Some((encoded_size(t)?, &t.name)));
    rungs.min_by_key(|(size, _)| *size).map(|(_, name)| name.clone())
}

/// The choice and ladder of an output that may have video.
fn wanted_video(
    output: &OutputSpec,
    container: Option<Container>,
) -> Option<(&VideoChoice, Option<&LadderSpec>)> {
    let audio_only =
        matches!(container, Some(Container::Wav | Container::Mp3 | Container::Flac | Container::Ogg))
            || named::is_sound(output);
    match &output.video {
        VideoChoice::None => None,
        VideoChoice::Default if (audio_only || named::is_words(output)) && output.ladder.is_none() => None,
        choice => Some((choice, output.ladder.as_ref())),
    }
}

fn wanted_audio(
    output: &OutputSpec,
    container: Option<Container>,
    offer: &Offer,
    picture: Option<&StreamInfo>,
) -> Vec<AudioSpec> {
    let sounds = || offer.streams.iter().filter(|s| s.kind == MediaKind::Audio && s.belongs_to(picture));
    match &output.audio {
        AudioChoice::None => Vec::new(),
        AudioChoice::Tracks(tracks) => {
            let each = |t: &AudioSpec| match t.all {
                true => sounds()
                    .filter(|s| speaks(s, t.language.as_deref()))
                    .map(|s| AudioSpec { stream: Some(s.index), language: None, all: false, ..t.clone() })
                    .collect(),
                false => vec![t.clone()],
            };
            tracks.iter().flat_map(each).collect()
        }
        AudioChoice::Default if container == Some(Container::Y4m) || named::is_words(output) => Vec::new(),
        // A raw file has one track; its name says which, and video wins.
        AudioChoice::Default
            if container == Some(Container::Raw) && !matches!(output.video, VideoChoice::None) =>
        {
            Vec::new()
        }
        AudioChoice::Default
            if container.is_some_and(Container::is_segmented) || captures_several(container, offer) =>
        {
            sounds().map(|s| AudioSpec { stream: Some(s.index), ..AudioSpec::new() }).collect()
        }
        // A track that was declared and has sent nothing is nobody's wish.
        AudioChoice::Default if takes_all(output) => {
            let sounds = sounds().filter(|s| s.audio.as_ref().is_some_and(|a| a.sample_rate > 0));
            let all: Vec<AudioSpec> =
                sounds.map(|s| AudioSpec { stream: Some(s.index), ..AudioSpec::new() }).collect();
            if all.len() > 1 { all } else { vec![AudioSpec::new()] }
        }
        AudioChoice::Default => vec![AudioSpec::new()],
    }
}

/// Whether the application wants all sounds, and text.
fn takes_all(output: &OutputSpec) -> bool {
    output.packets.as_ref().is_some_and(|p| p.all_tracks)
}

/// Whether there are several captured tracks, which were asked for one by one, and the container can hold them.
fn captures_several(container: Option<Container>, offer: &Offer) -> bool {
    let files = [Container::Mp4, Container::Mov, Container::Mkv, Container::WebM, Container::Ts];
    let sounds = offer.streams.iter().filter(|s| s.kind == MediaKind::Audio).count();
    offer.raw && sounds > 1 && container.is_some_and(|c| files.contains(&c))
}

fn pick_video(offer: &Offer, index: Option<usize>) -> Result<Option<&StreamInfo>> {
    if let Some(index) = index {
        return by_index(offer, index, MediaKind::Video).map(Some);
    }
    let pictures =
        offer.streams.iter().filter(|s| s.kind == MediaKind::Video && !s.disposition.attached_picture);
    Ok(pictures.max_by_key(|s| {
        let pixels = s.video.as_ref().map_or(0, |v| u64::from(v.width) * u64::from(v.height));
        (s.disposition.default, pixels, std::cmp::Reverse(s.index))
    }))
}

/// Whether `stream` is of `language`, if one is wanted.
fn speaks(stream: &StreamInfo, language: Option<&str>) -> bool {
    // `ger`, `deu` and `de` are one language.
    let same = |a: &str, b: &str| a == b || language::tag(a) == language::tag(b);
    language.is_none_or(|l| stream.language.as_deref().is_some_and(|own| same(own, l)))
}

/// The sound that `wanted` means, of the program of `picture` where it can be.
fn pick_audio<'a>(
    offer: &'a Offer,
    wanted: &AudioSpec,
    picture: Option<&StreamInfo>,
) -> Result<Option<&'a StreamInfo>> {
    if let Some(index) = wanted.stream {
        return by_index(offer, index, MediaKind::Audio).map(Some);
    }
    let sound =
        offer.streams.iter().filter(|s| s.kind == MediaKind::Audio && speaks(s, wanted.language.as_deref()));
    Ok(sound.max_by_key(|s| {
        let channels = s.audio.as_ref().map_or(0, |a| a.layout.channels);
        let of_it = s.belongs_to(picture);
        (of_it, s.disposition.default, !s.disposition.comment, channels, std::cmp::Reverse(s.index))
    }))
}

pub(super) fn by_index(offer: &Offer, index: usize, kind: MediaKind) -> Result<&StreamInfo> {
    match offer.streams.iter().find(|s| s.index == index) {
        Some(s) if s.kind == kind => Ok(s),
        Some(s) => {
            Err(Error::invalid("stream", format!("stream {index} is {}, not {}", s.kind.name(), kind.name())))
        }
        None => Err(Error::new(
            ErrorKind::NotFound,
            format!("stream: {} has {} streams, no stream {index}", offer.label, offer.streams.len()),
        )),
    }
}

/// The rungs that the source deserves after the filters of `base`. What `base` says of size and rate is the top rung's; those
/// below have their shares of it. With what is to be told of its top, if it is not what was asked for.
fn auto_ladder(
    base: &VideoSpec,
    stream: &StreamInfo,
    container: Option<Container>,
) -> (Vec<VideoSpec>, Option<String>) {
    let Some(video) = &stream.video else { return (vec![base.clone()], None) };
    let source = tracks::filtered_size(base, Shown::of(video, base.auto_rotate));
    let (shown, note) = ladder::top(source, base.width, base.height);
    let rate = base.frame_rate.map(|r| r.0).or(video.frame_rate).map_or(30.0, |r| r.as_f64());
    let codec = tracks::video_codec(base, container);
    let source_rate = stream
        .bit_rate
        .filter(|_| matches!(stream.codec, Codec::H264 | Codec::Hevc | Codec::Av1 | Codec::Vp9));
    let mut rungs = ladder::auto(shown, rate, &codec, source_rate.filter(|_| base.bitrate.is_none()));
    ladder::rates(&mut rungs, base);
    (rungs.iter().map(|rung| tracks::inherit(rung, base)).collect(), note)
}

/// One decoder for every stream that some track is encoded from.
fn decoders(
    spec: &PipelineSpec,
    offer: &Offer,
    outputs: &[Output],
    machine: &dyn Machine,
    fallbacks: &mut Vec<String>,
) -> Result<Vec<Decoder>> {
    if offer.raw {
        return Ok(Vec::new());
    }
    let mut wanted: Vec<usize> = outputs
        .iter()
        .flat_map(|o| &o.tracks)
        .filter(|t| matches!(t.make, Make::Video(_) | Make::Audio(_)))
        .filter_map(|t| t.stream)
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    let encoders =
        outputs.iter().flat_map(|o| &o.tracks).filter(|t| matches!(t.make, Make::Video(_))).count();
    let cores = tracks::cores(spec);
    wanted
        .into_iter()
        .map(|index| {
            let stream = offer.streams.iter().find(|s| s.index == index);
            let video = stream.is_some_and(|s| s.kind == MediaKind::Video);
            let tracks = outputs.iter().flat_map(|o| &o.tracks).filter(|t| t.stream == Some(index));
            let tracks: Vec<&VideoTrack> = tracks.filter_map(|t| t.make.video()).collect();
            let (device, reason) = match stream.filter(|_| video) {
                Some(stream) => placement::decoder(spec, stream, &tracks, machine, fallbacks)?,
                None => (None, "sound is decoded in software".to_string()),
            };
            // Where several encoders share the cores, decoder threads only add context switches (measured, ffmpeg.md).
            let threads = match spec.source.decode.threads {
                0 if !video || device.is_some() => 1,
                0 if encoders > 1 => (cores / 4).max(1),
                0 => cores.min(16),
                n => n,
            };
            Ok(Decoder { stream: index, device, threads, reason })
        })
        .collect()
}

/// Decides where the frames of every encoded picture are, and tells the transfers.
fn place_frames(
    offer: &Offer,
    decoders: &[Decoder],
    outputs: &mut [Output],
    machine: &dyn Machine,
) -> Result<Vec<String>> {
    let mut transfers = Vec::new();
    // Frames are on one GPU: the first that a track names, if one does.
    let mut named = None;
    for (i, output) in outputs.iter_mut().enumerate() {
        for track in &mut output.tracks {
            let stream = track.stream;
            let decoder = decoders.iter().find(|d| Some(d.stream) == stream);
            let from = decoder.map_or(offer.device, |d| d.device);
            let source =
                offer.streams.iter().find(|s| Some(s.index) == stream).and_then(|s| s.video.as_ref());
            if let (Make::Video(video), Some(source)) = (&mut track.make, source) {
                video.placement = placement::place(video, source, from, machine)
                    .map_err(|e| e.at(format!("outputs[{i}]")))?;
                if let Some(gpu) = nvenc::named_gpu(&video.spec).filter(|_| video.placement.stays()) {
                    let home = *named.get_or_insert(gpu);
                    if gpu != home {
                        video.placement = Placement::on_another(from, gpu, home);
                    }
                }
                let name = &track.name;
                transfers.extend(video.placement.transfers().map(|t| format!("outputs[{i}] {name}: {t}")));
            }
        }
    }
    Ok(transfers)
}

/// What of the source `output` does not have, in words.
fn left_out(output: &Output, spec: &OutputSpec, offer: &Offer) -> Vec<String> {
    if offer.raw {
        return Vec::new();
    }
    let used = |index: usize| output.tracks.iter().any(|t| t.stream == Some(index));
    // What was switched off is nobody's loss, and a picture has a place for nothing else.
    let wanted = |kind: MediaKind| match kind {
        MediaKind::Video => !matches!(spec.video, VideoChoice::None),
        MediaKind::Audio => {
            !matches!(spec.audio, AudioChoice::None) && output.container != Some(Container::Image)
        }
        MediaKind::Subtitle => {
            !matches!(spec.subtitles, SubtitleChoice::None) && output.container != Some(Container::Image)
        }
        MediaKind::Data => true,
        MediaKind::Attachment => false,
    };
    // A track of time codes is made anew of those that the pictures carry.
    let counts = |s: &StreamInfo| s.metadata.iter().any(|(key, _)| is_timecode(key));
    let kept = matches!(output.container, Some(Container::Mp4 | Container::Mov | Container::Mkv));
    let goes_on = |s: &StreamInfo| {
        let with = |t: &StreamInfo| t.kind == MediaKind::Video && used(t.index) && counts(t);
        s.kind == MediaKind::Data && kept && counts(s) && offer.streams.iter().any(with)
    };
    let media = |s: &&StreamInfo| wanted(s.kind) && !s.disposition.attached_picture && !goes_on(s);
    let streams = offer.streams.iter().filter(media).filter(|s| !used(s.index)).map(|s| {
        let language = s.language.as_ref().map(|l| format!(", {l}")).unwrap_or_default();
        // What no decoder is known for (time codes) has no codec's name.
        let codec = Some(s.codec.name()).filter(|name| *name != "none");
        let what = codec.into_iter().chain([s.kind.name()]).collect::<Vec<_>>().join(" ");
        format!("stream {}: {what}{language}", s.index)
    });
    let files =
        offer.attachments.iter().filter(|a| !spec.attachments || !crate::sink::carries(output.container, a));
    streams.chain(files.map(|a| format!("attachment {}", a.name))).collect()
}

impl Resolved {
    /// The decision in words.
    pub fn plan(&self, spec: &PipelineSpec, offer: &Offer) -> Plan {
        let codec = |index: usize| {
            offer
                .streams
                .iter()
                .find(|s| s.index == index)
                .map_or(String::new(), |s| s.codec.name().to_string())
        };
        Plan {
            source: self.label.clone(),
            duration: self.duration,
            copy_start: offer.first_key.filter(|_| self.copies_pictures()),
            decoders: self
                .decoders
                .iter()
                .map(|d| DecoderPlan {
                    stream: d.stream,
                    codec: codec(d.stream),
                    device: d.device.unwrap_or("software").into(),
                    threads: d.threads,
                    reason: d.reason.clone(),
                })
                .collect(),
            outputs: self
                .outputs
                .iter()
                .zip(&spec.outputs)
                .map(|(o, s)| OutputPlan {
                    label: s.label(),
                    format: o.container.map_or("packets", Container::name).into(),
                    tracks: o.tracks.iter().map(Track::plan).collect(),
                    left_out: left_out(o, s, offer),
                })
                .collect(),
        }
    }

    pub(super) fn copies_pictures(&self) -> bool {
        let copied = |t: &Track| matches!(&t.make, Make::Copy(s) if s.kind == MediaKind::Video);
        self.outputs.iter().flat_map(|o| &o.tracks).any(copied)
    }
}

impl Track {
    fn plan(&self) -> TrackPlan {
        let detail = match self.made() {
            Make::Copy(s) => tracks::describe_stream(s),
            Make::Video(v) => v.describe(),
            Make::Audio(a) => a.describe(),
            Make::Subtitle(_) | Make::Shared(_) => String::new(),
        };
        let (action, stages) = match &self.make {
            Make::Copy(_) => ("copy", Vec::new()),
            Make::Video(v) => ("encode", v.stages()),
            Make::Audio(a) => ("encode", a.stages()),
            Make::Subtitle(_) => ("convert", Vec::new()),
            Make::Shared(_) => ("share", Vec::new()),
        };
        TrackPlan {
            kind: self.kind().name(),
            name: self.name.clone(),
            stream: self.stream,
            action,
            codec: self.codec().into(),
            encoder: match self.made() {
                Make::Video(v) => Some(crate::encode::presets::shown(&v.encoder.name).into()),
                Make::Audio(a) => Some(a.encoder.clone()),
                _ => None,
            },
            detail,
            stages,
            reason: self.reason.clone(),
            notes: match &self.make {
                Make::Video(v) => v.notes.clone(),
                _ => Vec::new(),
            },
        }
    }

    /// The name of what it is coded in.
    pub fn codec(&self) -> &str {
        match self.made() {
            Make::Copy(s) => s.codec.name(),
            Make::Video(v) => v.codec(),
            Make::Audio(a) => a.codec(),
            Make::Subtitle(s) => s.codec.name(),
            Make::Shared(_) => "",
        }
    }

    /// How the track is made, by whomever.
    pub(super) fn made(&self) -> &Make {
        match &self.make {
            Make::Shared(shared) => &shared.make,
            own => own,
        }
    }
}
