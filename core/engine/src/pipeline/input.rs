//! The source, opened: a supply of packets or of frames, and what it offers.

use super::resolve::Offer;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{ChannelLayout, Colour, Frame, PixelFormat, SampleFormat};
use crate::job::shared::Shared;
use crate::link::{Overflow, Receiver, Sender, link};
use crate::packet::{AudioInfo, Codec, FieldOrder, MediaKind, Packet, SideData, StreamInfo, VideoInfo};
use crate::sink::Attachment;
use crate::source::{
    frames::{self, FrameFeed},
    keys::Keys,
    open,
    packets::{self, FedPackets, PacketFeed, PacketSource},
    pattern::Pattern,
    screen::{Counts, Screen},
    seek::Seeker,
    sound::{self, Leading, Origin, Sound},
};
use crate::spec::{
    Device, FramesSpec, PipelineSpec, RawAudioSpec, RawMemory, RawVideoSpec, ScreenSpec, VideoChoice,
};
use crate::stage::{Note, Source};
use crate::time::{Clock, MICROSECONDS, Rational, Timestamp};
use bytes::Bytes;
use ghoststream_sys::ffmpeg as av;
use std::io::Read;
use std::sync::Arc;

/// The engine's ends of fed sources; taken once.
pub(super) struct Inputs {
    bytes: Option<Receiver<Bytes>>,
    frames: Option<Receiver<Frame>>,
    packets: Option<FedPackets>,
    /// What fed packets are.
    streams: Vec<StreamInfo>,
}

/// The application's ends of fed sources.
#[derive(Default)]
pub(super) struct Fed {
    pub bytes: Option<Sender<Bytes>>,
    pub frames: Option<Arc<FrameFeed>>,
    pub packets: Option<Arc<PacketFeed>>,
}

impl Inputs {
    /// Links for what the source wants to be fed.
    pub fn new(spec: &PipelineSpec, streams: &[StreamInfo], shared: &Shared) -> (Inputs, Fed) {
        let mut inputs = Inputs::detached(streams);
        let mut fed = Fed::default();
        if let Some(bytes) = &spec.source.bytes {
            let pieces = (bytes.buffer as usize / crate::job::BYTES_PIECE).max(1);
            let (tx, rx) = link(pieces, Overflow::Wait);
            shared.close_on_cancel(tx.monitor());
            (fed.bytes, inputs.bytes) = (Some(tx), Some(rx));
        }
        if let Some(frames) = &spec.source.frames {
            let (feed, rx) = frames::feed(frames.queue, frames.live);
            shared.close_on_cancel(feed.monitor());
            shared.meter("application frames").watch(feed.monitor());
            (fed.frames, inputs.frames) = (Some(Arc::new(feed)), Some(rx));
        }
        if let Some(wanted) = &spec.source.packets {
            let (feed, packets) = packets::feed(streams, wanted.queue, wanted.live);
            shared.close_on_cancel(feed.monitor());
            shared.meter("application packets").watch_with(feed.stats());
            (fed.packets, inputs.packets) = (Some(Arc::new(feed)), Some(packets));
        }
        (inputs, fed)
    }

    /// For planning: nothing is fed.
    pub fn detached(streams: &[StreamInfo]) -> Inputs {
        Inputs { bytes: None, frames: None, packets: None, streams: streams.to_vec() }
    }
}

/// An opened source.
pub(super) struct Input {
    pub packets: Option<PacketSource>,
    pub frames: Option<Box<dyn Source<Frame>>>,
    /// Captured sound by the index of its stream; each has its own pace.
    pub sounds: Vec<(usize, Sound)>,
    pub fed: bool,
    /// What becomes of a screen's pictures.
    pub counts: Option<Arc<Counts>>,
    pub offer: Offer,
    /// Source time that becomes 0.
    pub origin: Timestamp,
    /// What a user should know of how it was opened.
    pub note: Option<String>,
    /// Source time of the key frame at which decoding of pictures begins, where that is behind the place that was gone to.
    pub key: Option<Timestamp>,
}

/// How much earlier than its first picture a part of the whole is read, for its sound: decoders and encoders begin with
/// what cannot be used.
pub(super) const LEAD_IN: Timestamp = Timestamp::new(600_000, MICROSECONDS);

impl Input {
    /// Opens what the document says.
    pub fn open(
        spec: &PipelineSpec,
        inputs: &mut Inputs,
        clock: Arc<dyn Clock>,
        interrupt: &av::Interrupt,
    ) -> Result<Input> {
        let source = &spec.source;
        if let Some(wanted) = &source.screen {
            let input = screen(spec, wanted, clock.clone(), interrupt)?;
            return if source.sound.is_empty() {
                Ok(input)
            } else {
                with_sound(spec, input, clock, interrupt)
            };
        }
        if !source.sound.is_empty() {
            return with_sound(spec, nothing(spec), clock, interrupt);
        }
        if let Some(frames) = &source.frames {
            return fed_frames(spec, frames, inputs.frames.take());
        }
        if source.packets.is_some() {
            return fed_packets(spec, inputs);
        }
        if source.pattern.is_some() {
            return pattern(spec);
        }
        let (demuxer, note) = match &source.bytes {
            Some(_) => {
                let receiver = inputs.bytes.take().ok_or_else(|| {
                    Error::new(
                        ErrorKind::State,
                        "source.bytes: what will be fed is not known before it is fed",
                    )
                })?;
                let fed = av::Input::Stream(Box::new(FedBytes { receiver, rest: Bytes::new() }));
                (open::open_bytes(source, fed, interrupt)?, None)
            }
            None => open::open_noting(source, interrupt)?,
        };
        Ok(Input { note, ..demuxed(spec, demuxer, interrupt)? })
    }

    /// Whether the application feeds it.
    pub fn is_fed(&self) -> bool {
        self.fed
    }
}

/// What `stream` is, if it is a file or a cover inside the container.
fn attachment(stream: &StreamInfo, demuxer: &av::Demuxer) -> Option<Attachment> {
    let tag = |key: &str| {
        let found = stream.metadata.iter().find(|(k, _)| k.eq_ignore_ascii_case(key));
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let (codec, name, mime) = (stream.codec.name().to_string(), tag("filename"), tag("mimetype"));
    if stream.kind == MediaKind::Attachment && !stream.extradata.is_empty() {
        return Some(Attachment {
            codec,
            name,
            mime,
            data: stream.extradata.clone(),
            picture: None,
            tags: Vec::new(),
        });
    }
    let picture = stream.video.as_ref().filter(|_| stream.disposition.attached_picture)?;
    let kind = if stream.codec == Codec::Mjpeg { "jpeg" } else { stream.codec.name() };
    // Players look for a cover by this name (Matroska's specification, "Cover Art").
    let name = if name.is_empty() { format!("cover.{}", kind.replace("jpeg", "jpg")) } else { name };
    let mime = if mime.is_empty() { format!("image/{kind}") } else { mime };
    let data = demuxer.attached_picture(stream.index)?;
    let title = stream.title.clone().map(|title| ("title".to_string(), title));
    let which = Some(("comment".to_string(), tag("comment"))).filter(|(_, which)| !which.is_empty());
    let tags = title.into_iter().chain(which).collect();
    Some(Attachment { codec, name, mime, data, picture: Some((picture.width, picture.height)), tags })
}

fn demuxed(spec: &PipelineSpec, mut demuxer: av::Demuxer, interrupt: &av::Interrupt) -> Result<Input> {
    let label = spec.source.label();
    let mut streams: Vec<StreamInfo> = demuxer.streams()?.iter().map(StreamInfo::from_av).collect();
    crate::source::exif::turn(&spec.source, &mut streams);
    let media = streams.iter().any(|s| matches!(s.kind, MediaKind::Video | MediaKind::Audio));
    let words = streams.iter().any(|s| s.kind == MediaKind::Subtitle)
        && spec.outputs.iter().all(super::named::is_words);
    if !media && !words {
        return Err(Error::new(ErrorKind::Format, format!("{label}: no video and no audio in it")));
    }
    // The first words of a file of words do not begin it.
    let begin = demuxer.start_time().filter(|_| media).unwrap_or(0);
    let begin = Timestamp::new(begin, MICROSECONDS);
    let mut origin = begin;
    let duration = length(&demuxer, &streams, begin);
    let attachments = streams.iter().filter_map(|s| attachment(s, &demuxer)).collect();
    let mut offer = Offer {
        chapters: demuxer.chapters(),
        metadata: demuxer.metadata(),
        attachments,
        start: Some(begin),
        first_key: None,
        streams,
        duration,
        raw: false,
        device: None,
        keys: None,
        label: label.clone(),
    };
    if can_list_keys(spec) {
        offer.keys = Some(Keys::new(&spec.source, interrupt, begin));
    }
    if let Some(start) = spec.source.start.filter(|s| s.0 > 0.0) {
        if let Some(duration) = duration
            && start.0 >= duration.seconds()
        {
            return Err(Error::invalid(
                "source.start",
                format!("{} s is not before the end of {label} at {:.3} s", start.0, duration.seconds()),
            ));
        }
        origin = Timestamp::new(begin.ticks + (start.0 * 1e6).round() as i64, MICROSECONDS);
        // Words alone are few, and in no place that a decoder must begin at.
        if media && !is_read_on(&demuxer, &offer.streams) && spec.window().is_none_or(|w| w.spec.first == 0) {
            let key = Seeker::of(&offer.streams, begin)
                .before(&mut demuxer, origin)
                .map_err(|e| no_place(e).context(format!("{label}: source.start")))?;
            offer.first_key =
                Some(key.map_or(0.0, |key| (key.micros() - begin.micros()).max(0) as f64 / 1e6));
        }
    }
    if spec.window().is_some() {
        note_priming(&mut demuxer, &mut offer.streams, origin)?;
        demuxer.rewind()?;
    }
    // The first segment is made from the beginning, also where that is left out.
    let key = match spec.window().filter(|w| w.spec.first > 0).and_then(|w| w.start(w.spec.first)) {
        Some(first) if first.micros() > 0 => go_to(&mut demuxer, &offer, origin, begin, first)
            .map_err(|e| e.context(format!("{label}: cannot seek in it")))?,
        _ => None,
    };
    Ok(Input {
        packets: Some(PacketSource::Container(demuxer)),
        frames: None,
        sounds: Vec::new(),
        fed: spec.source.bytes.is_some(),
        counts: None,
        offer,
        origin,
        note: None,
        key,
    })
}

/// Whether what lies before the start must be read too: of what comes only once, and of HLS in fragmented MP4, which FFmpeg
/// loses its place in (its command too).
fn is_read_on(demuxer: &av::Demuxer, streams: &[StreamInfo]) -> bool {
    let boxes = |s: &StreamInfo| match s.codec {
        Codec::H264 | Codec::Hevc => s.extradata.first() == Some(&1),
        Codec::Aac => !s.extradata.is_empty(),
        Codec::Av1 | Codec::Vp9 | Codec::Opus | Codec::Flac => true,
        _ => false,
    };
    // Playlists are gone about in by their segments, whatever their own transport can do.
    match demuxer.format_name().as_str() {
        name if name.starts_with("hls") => streams.iter().any(boxes),
        "dash" => false,
        _ => demuxer.is_streamed(),
    }
}

/// What a demuxer says that has neither an index nor times in its packets, in words for its user.
fn no_place(e: Error) -> Error {
    match e.kind() {
        ErrorKind::Cancelled
        | ErrorKind::Io
        | ErrorKind::Memory
        | ErrorKind::Format
        | ErrorKind::NotFound
        | ErrorKind::State => e,
        _ => Error::with_source(
            ErrorKind::Unsupported,
            "nothing in it says what is shown when; copy it into a container first, and cut that",
            e,
        ),
    }
}

/// Packets among which the first of every sound is looked for.
const BEGINNING: usize = 400;

/// How much of each sound lies before time 0: only its first packet says so, which a job that begins later does not see,
/// but must know to number samples as the others do.
fn note_priming(demuxer: &mut av::Demuxer, streams: &mut [StreamInfo], origin: Timestamp) -> Result<()> {
    let mut sounds: Vec<usize> =
        streams.iter().filter(|s| s.kind == MediaKind::Audio).map(|s| s.index).collect();
    for _ in 0..BEGINNING {
        if sounds.is_empty() {
            break;
        }
        let Some(packet) = demuxer.read()? else { break };
        let Some(at) = sounds.iter().position(|index| *index == packet.stream_index()) else { continue };
        let index = sounds.swap_remove(at);
        let Some(stream) = streams.get_mut(index) else { continue };
        let packet = Packet::from_av(&packet, stream.time_base);
        let Some(audio) = &mut stream.audio else { continue };
        let base = Rational::new(1, i32::try_from(audio.sample_rate).unwrap_or(i32::MAX).max(1));
        let before = packet.presentation().map_or(0, |t| (origin.to(base).ticks - t.to(base).ticks).max(0));
        let skipped = packet.side_data.iter().map(|side| match side {
            SideData::SkipSamples { start, .. } => *start,
            _ => 0,
        });
        let most = skipped.chain([u32::try_from(before).unwrap_or(0)]).max().unwrap_or(0);
        if most <= audio.sample_rate {
            audio.initial_padding = audio.initial_padding.max(most);
        }
    }
    Ok(())
}

/// Goes to where a part of the whole that begins at `first` of the output is read from: where the pictures can be decoded
/// and the sound has its lead-in. Gives the time of the key frame for the pictures, when there are others before it.
fn go_to(
    demuxer: &mut av::Demuxer,
    offer: &Offer,
    origin: Timestamp,
    begin: Timestamp,
    first: Timestamp,
) -> Result<Option<Timestamp>> {
    let seeker = Seeker::of(&offer.streams, begin);
    let at = Timestamp::new(origin.micros() + first.micros(), MICROSECONDS);
    let sound = Timestamp::new((at.micros() - LEAD_IN.ticks).max(begin.micros()), MICROSECONDS);
    let key = seeker.before(demuxer, at)?;
    if !offer.streams.iter().any(|s| s.kind == MediaKind::Audio) {
        return Ok(key);
    }
    if key.is_none_or(|key| key > sound) {
        seeker.before(demuxer, sound)?;
    }
    Ok(key)
}

/// How long the source is. Some containers write when it ends instead, counted from 0: Matroska and NUT always, MP4 where
/// an empty edit comes first, which its tracks' own lengths tell.
fn length(demuxer: &av::Demuxer, streams: &[StreamInfo], begin: Timestamp) -> Option<Timestamp> {
    let said = demuxer.duration()?;
    let late = said - begin.ticks.max(0);
    let name = demuxer.format_name();
    let longest = streams.iter().filter_map(|s| s.duration).max().map(|d| d.micros());
    let is_end = match longest {
        _ if name.starts_with("matroska") || name.starts_with("nut") => true,
        Some(longest) if name.starts_with("mov") => longest.abs_diff(late) < longest.abs_diff(said),
        _ => false,
    };
    Some(Timestamp::new(if is_end { late.max(0) } else { said }, MICROSECONDS))
}

/// How long something is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    pub time: Timestamp,
    /// It is not that of the whole, of which the longest stream may be one that is not wanted.
    pub certain: bool,
}

/// How long what is `wanted` of a source is, as far as its container says: one may say it of all streams only. Those of a
/// `playlist` are equally long.
pub(super) fn expected(
    offer: &Offer,
    begin: Timestamp,
    wanted: &[StreamInfo],
    playlist: bool,
) -> Option<Length> {
    let whole = offer.duration?;
    // Words may end behind everything else, and the container's length is theirs then.
    let words = offer.streams.iter().any(|s| s.kind == MediaKind::Subtitle);
    if playlist || !words && has_all(offer, wanted) {
        return Some(Length { time: whole, certain: true });
    }
    let end = |s: &StreamInfo| {
        let start = s.start.map_or(0, |start| start.micros() - begin.micros());
        Some(start.max(0) + s.duration?.micros())
    };
    let ends: Option<Vec<i64>> = wanted.iter().filter(|s| lasts(s)).map(end).collect();
    Some(match ends {
        Some(ends) => {
            let longest = ends.into_iter().max()?.min(whole.micros());
            Length { time: Timestamp::new(longest, MICROSECONDS), certain: true }
        }
        None => Length { time: whole, certain: false },
    })
}

fn lasts(stream: &StreamInfo) -> bool {
    matches!(stream.kind, MediaKind::Video | MediaKind::Audio) && !stream.disposition.attached_picture
}

/// Whether everything of a source that lasts is `wanted`.
pub(super) fn has_all(offer: &Offer, wanted: &[StreamInfo]) -> bool {
    let count = |streams: &[StreamInfo]| streams.iter().filter(|s| lasts(s)).count();
    count(wanted) == count(&offer.streams)
}

/// Whether key frames can be looked up: in a file of this machine, which is played once from its beginning.
fn can_list_keys(spec: &PipelineSpec) -> bool {
    let source = &spec.source;
    open::local_path(source).is_some() && source.start.is_none_or(|s| s.0 == 0.0) && source.loops == 0
}

fn screen(
    spec: &PipelineSpec,
    wanted: &ScreenSpec,
    clock: Arc<dyn Clock>,
    interrupt: &av::Interrupt,
) -> Result<Input> {
    let screen = Screen::open(wanted, spec.source.duration, clock, interrupt.clone(), for_nvenc(spec))?;
    let (stream, device) = (screen.stream(), screen.device());
    Ok(Input {
        packets: None,
        counts: Some(screen.counts()),
        frames: Some(Box::new(screen)),
        sounds: Vec::new(),
        fed: false,
        offer: Offer { device, ..raw_offer(spec, vec![stream]) },
        origin: Timestamp::new(0, MICROSECONDS),
        note: None,
        key: None,
    })
}

/// Whether all pictures are for NVENC, by the document's own words, as it takes them from CUDA memory: 8-bit 4:2:0.
fn for_nvenc(spec: &PipelineSpec) -> bool {
    let mut tracks = spec.outputs.iter().filter_map(|output| match &output.video {
        VideoChoice::Track(video) => {
            let nvenc = match video.encoder.as_deref() {
                Some("auto") | None => video.device == Device::Cuda,
                Some(name) => name == "nvenc" || name.ends_with("_nvenc"),
            };
            // They come as 8-bit 4:2:0; who asks for more gets it from the screen's own RGB.
            let plain = matches!(video.pixel_format.as_deref(), None | Some("nv12" | "yuv420p"))
                && video.bit_depth.is_none_or(|bits| bits == 8)
                && video.colour.is_none();
            Some(nvenc && plain)
        }
        VideoChoice::Default => Some(false),
        VideoChoice::None => None,
    });
    tracks.next().is_some_and(|first| first && tracks.all(|other| other))
}

/// A source without pictures, for sound.
fn nothing(spec: &PipelineSpec) -> Input {
    Input {
        packets: None,
        frames: None,
        sounds: Vec::new(),
        fed: false,
        counts: None,
        offer: raw_offer(spec, Vec::new()),
        origin: Timestamp::new(0, MICROSECONDS),
        note: None,
        key: None,
    }
}

/// `input` and the captured sound beside it, which begins and ends with its pictures if it has some.
fn with_sound(
    spec: &PipelineSpec,
    mut input: Input,
    clock: Arc<dyn Clock>,
    interrupt: &av::Interrupt,
) -> Result<Input> {
    let origin = Arc::new(Origin::default());
    let follows = input.frames.is_some();
    for sounds in sound::tracks(&spec.source.sound) {
        let common = sound::Common {
            clock: clock.clone(),
            interrupt: interrupt.clone(),
            origin: origin.clone(),
            follows,
            duration: spec.source.duration,
        };
        let mut stream = sound::stream(input.offer.streams.len(), &sounds);
        stream.disposition.default = input.sounds.is_empty();
        input.sounds.push((stream.index, Sound::new(sound::listening(&sounds)?, common)));
        input.offer.streams.push(stream);
    }
    input.frames =
        input.frames.map(|source| Box::new(Leading { source, origin, clock }) as Box<dyn Source<Frame>>);
    Ok(input)
}

fn pattern(spec: &PipelineSpec) -> Result<Input> {
    let source = &spec.source;
    let wanted = source.pattern.as_ref().ok_or_else(|| Error::invalid("source.pattern", "is needed here"))?;
    let pattern = Pattern::new(wanted, source.start, source.duration)?;
    let streams = pattern.streams();
    let duration = streams.first().and_then(|s| s.duration);
    Ok(Input {
        packets: None,
        frames: Some(Box::new(pattern)),
        sounds: Vec::new(),
        fed: false,
        counts: None,
        offer: Offer { duration, ..raw_offer(spec, streams) },
        origin: Timestamp::new(0, MICROSECONDS),
        note: None,
        key: None,
    })
}

fn fed_frames(spec: &PipelineSpec, frames: &FramesSpec, receiver: Option<Receiver<Frame>>) -> Result<Input> {
    let mut streams = Vec::new();
    if let Some(video) = &frames.video {
        streams.push(raw_video(video, streams.len())?);
    }
    if let Some(audio) = &frames.audio {
        streams.push(raw_audio(audio, streams.len())?);
    }
    let source: Option<Box<dyn Source<Frame>>> = match receiver {
        Some(receiver) => Some(Box::new(FedFrames {
            receiver,
            colour: declared_colour(&streams),
            size: frames.video.as_ref().map(|video| (video.width, video.height)),
            strict: !spec.fallback,
            last: None,
            told: false,
            notes: Vec::new(),
        })),
        None => None,
    };
    Ok(Input {
        packets: None,
        frames: source,
        sounds: Vec::new(),
        fed: true,
        counts: None,
        offer: raw_offer(spec, streams),
        origin: Timestamp::new(0, MICROSECONDS),
        note: None,
        key: None,
    })
}

/// Packets that the application pushes, of the streams that it has described. Time 0 stays where it is.
fn fed_packets(spec: &PipelineSpec, inputs: &mut Inputs) -> Result<Input> {
    let mut streams = std::mem::take(&mut inputs.streams);
    if !streams.iter().any(|s| matches!(s.kind, MediaKind::Video | MediaKind::Audio)) {
        return Err(Error::new(
            ErrorKind::State,
            "source.packets: whoever makes the job describes the streams (from Rust: Pipeline::with_streams), with video or audio among them",
        ));
    }
    for (index, stream) in streams.iter_mut().enumerate() {
        stream.index = index;
        if !stream.time_base.is_positive() {
            return Err(Error::invalid("source.packets", format!("stream {index} has no time base")));
        }
        if stream.native.is_none() {
            let native = stream.to_av().map_err(|e| e.context(format!("source.packets: stream {index}")))?;
            stream.native = Some(native);
        }
    }
    Ok(Input {
        packets: inputs.packets.take().map(PacketSource::Application),
        frames: None,
        sounds: Vec::new(),
        fed: true,
        counts: None,
        offer: Offer { raw: false, start: Some(Timestamp::new(0, MICROSECONDS)), ..raw_offer(spec, streams) },
        origin: Timestamp::new(0, MICROSECONDS),
        note: None,
        key: None,
    })
}

fn raw_offer(spec: &PipelineSpec, streams: Vec<StreamInfo>) -> Offer {
    Offer {
        streams,
        duration: None,
        raw: true,
        device: match spec.source.frames.as_ref().and_then(|f| f.video.as_ref()).map(|v| v.memory) {
            Some(RawMemory::Cuda) => Some("cuda"),
            _ => None,
        },
        keys: None,
        label: spec.source.label(),
        chapters: Vec::new(),
        metadata: Vec::new(),
        attachments: Vec::new(),
        start: None,
        first_key: None,
    }
}

fn raw_video(spec: &RawVideoSpec, index: usize) -> Result<StreamInfo> {
    let field = "source.frames.video";
    let format = PixelFormat::from_name(&spec.format).ok_or_else(|| {
        Error::invalid(format!("{field}.format"), format!("{:?} is no pixel format", spec.format))
    })?;
    let colour = match &spec.colour {
        Some(c) => crate::filter::colour::from_spec(c).map_err(|e| e.context(field))?,
        None => Colour::default(),
    };
    let mut stream = StreamInfo::new(MediaKind::Video, Codec::RawVideo, MICROSECONDS);
    stream.index = index;
    stream.video = Some(VideoInfo {
        width: spec.width,
        height: spec.height,
        format: Some(format),
        frame_rate: Some(spec.frame_rate.0),
        constant_rate: None,
        sample_aspect: Rational::new(1, 1),
        colour,
        hdr: spec.hdr.map(|h| h.over(Default::default())).unwrap_or_default(),
        rotation: 0.0,
        mirrored: false,
        field_order: FieldOrder::Progressive,
        reorder: 0,
    });
    Ok(stream)
}

fn raw_audio(spec: &RawAudioSpec, index: usize) -> Result<StreamInfo> {
    let format = SampleFormat::from_name(&spec.format).ok_or_else(|| {
        Error::invalid("source.frames.audio.format", format!("{:?} is no sample format", spec.format))
    })?;
    let mut stream =
        StreamInfo::new(MediaKind::Audio, Codec::PcmS16, Rational::new(1, spec.sample_rate as i32));
    stream.index = index;
    stream.audio = Some(AudioInfo {
        sample_rate: spec.sample_rate,
        layout: ChannelLayout::from_channels(spec.channels),
        format: Some(format),
        frame_size: 0,
        initial_padding: 0,
    });
    Ok(stream)
}

/// Frames that the application pushes.
struct FedFrames {
    receiver: Receiver<Frame>,
    /// What the document says of pictures that say nothing themselves.
    colour: Option<Colour>,
    /// The size that the document says, until another was told.
    size: Option<(u32, u32)>,
    /// Times that do not rise are errors, since nothing may be done about them.
    strict: bool,
    /// The latest time of a picture.
    last: Option<Timestamp>,
    told: bool,
    notes: Vec<Note>,
}

impl FedFrames {
    /// Pictures are taken in the order in which they come, whatever their times say. That is told once.
    fn check_time(&mut self, frame: &Frame) -> Result<()> {
        let Some(time) = frame.presentation().filter(|_| frame.is_video()) else { return Ok(()) };
        let Some(last) = self.last.filter(|last| time <= *last) else {
            self.last = Some(time);
            return Ok(());
        };
        let what = format!(
            "{:.6} s does not come after {:.6} s, where a picture was",
            time.seconds(),
            last.seconds()
        );
        if self.strict {
            return Err(Error::invalid("frame.pts", what));
        }
        if !std::mem::replace(&mut self.told, true) {
            let message =
                format!("frame.pts: {what}; it and others like it are moved behind the ones before them");
            self.notes.push(Note { code: "source", message });
        }
        Ok(())
    }

    /// Pictures of another size than was said may be a window's new one, or a mistake. That is told once.
    fn check_size(&mut self, frame: &Frame) {
        let Some((width, height)) = self.size.filter(|_| frame.is_video()) else { return };
        let now = frame.video();
        if (now.width, now.height) != (width, height) {
            let message = format!(
                "frame: {}x{} after {width}x{height}; what is made keeps its size, and it and others like it are fitted \
                 into that",
                now.width, now.height
            );
            self.notes.push(Note { code: "source", message });
            self.size = None;
        }
    }
}

fn declared_colour(streams: &[StreamInfo]) -> Option<Colour> {
    let colour = streams.iter().find_map(|s| s.video.as_ref()).map(|v| v.colour);
    colour.filter(|c| *c != Colour::default())
}

impl Source<Frame> for FedFrames {
    fn next(&mut self) -> Result<Option<Frame>> {
        let Some(frame) = self.receiver.recv() else { return Ok(None) };
        self.check_time(&frame)?;
        self.check_size(&frame);
        match self.colour {
            Some(colour) if frame.is_video() && frame.video().colour == Colour::default() => {
                let mut media = frame.to_media()?;
                media.set_colour(colour);
                let mut named = Frame::new(media, frame.base);
                named.force_key = frame.force_key;
                Ok(Some(named))
            }
            _ => Ok(Some(frame)),
        }
    }

    fn notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }
}

/// Bytes that the application writes, as FFmpeg reads them.
struct FedBytes {
    receiver: Receiver<Bytes>,
    rest: Bytes,
}

impl Read for FedBytes {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.recv() {
                Some(bytes) => self.rest = bytes,
                None => return Ok(0),
            }
        }
        let n = self.rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.rest.split_to(n));
        Ok(n)
    }
}
