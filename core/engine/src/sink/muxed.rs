//! One file (or URL) being written by FFmpeg's muxers.

use super::{Attachment, Facts, Fate, TrackHeader, ogg};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::frame::DolbyVision;
use crate::packet::{Codec, Disposition, MediaKind, Packet};
use crate::spec::{Container, OutputSpec, STANDARD_OUTPUT};
use crate::time::{Rational, Rounding, TimeBase, rescale};
use ghoststream_sys::ffmpeg as av;

/// How a file is written; the same for all files of an output.
#[derive(Clone)]
pub(super) struct Form {
    pub spec: OutputSpec,
    pub container: Container,
    pub facts: Facts,
    /// What was written can be played although the rest never comes.
    pub safe: bool,
}

/// Where a file is written.
pub(super) enum Target<'a> {
    /// A file of this machine.
    File(&'a str),
    /// An address that FFmpeg writes to.
    Url(&'a str, av::Interrupt),
    /// Nowhere: what would be written is only tried.
    Nowhere,
}

/// What is written out at least, of a file that may be cut off: fragments and clusters of one second.
const SAFE_US: &str = "1000000";
const SAFE_MS: &str = "1000";

/// A file that is open.
pub(super) struct Muxed {
    muxer: av::Muxer,
    tracks: Vec<Written>,
}

/// A track as it is written.
struct Written {
    base: TimeBase,
    copied: bool,
    /// Cues of a format that can have several from one moment on.
    words: bool,
    last_dts: Option<i64>,
    /// What packets become first: without ADTS headers, which FFmpeg does itself, but not where it writes a file's index late;
    /// or with the parameter sets that nothing else in a bare stream has.
    filter: Option<av::Bsf>,
}

impl Muxed {
    /// Opens `target` and writes the header.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a codec that the container cannot carry; [`ErrorKind::Invalid`] for an option that
    /// the muxer does not take; I/O errors.
    pub fn open(form: &Form, target: Target<'_>, tracks: &[TrackHeader]) -> Result<Muxed> {
        let mut muxer = create(form, &target, tracks)?;
        for track in tracks {
            let (parameters, options) = track_options(form.container, track)?;
            muxer.add_stream(&parameters, &options).map_err(Error::from).context(|| track.name.clone())?;
        }
        let (mut covers, mut metadata) = (Vec::new(), form.facts.metadata.clone());
        for a in form.facts.attachments.iter().filter(|a| carries(Some(form.container), a)) {
            match a.picture.filter(|_| form.container != Container::Mkv) {
                Some(_) if form.container == Container::Ogg => metadata.extend(ogg::cover(a)),
                Some(size) => {
                    let (parameters, options) = cover(&a.codec, size, &a.tags)?;
                    covers.push((muxer.add_stream(&parameters, &options)?, a));
                }
                None => drop(muxer.add_attachment(&a.codec, &a.name, &a.mime, a.data.clone())?),
            }
        }
        muxer.set_metadata(&metadata)?;
        for chapter in &form.facts.chapters {
            muxer.add_chapter(chapter)?;
        }
        let is_file = matches!(target, Target::File(_));
        let unused = muxer
            .write_header(&form.options(tracks, is_file))
            .map_err(|e| header_error(e, tracks, form.container))?;
        if let Some((key, _)) = unused.iter().find(|(key, _)| form.spec.options.contains_key(key)) {
            return Err(Error::invalid(
                format!("options.{key}"),
                format!("{} takes no such option", muxer.format_name()),
            ));
        }
        for (stream, picture) in covers {
            let (num, den) = muxer.stream_time_base(stream)?;
            let packet =
                Packet { stream, ..Packet::new(picture.data.clone(), 0, 0, Rational::new(num, den)) };
            muxer.write(packet.to_av(false)?)?;
        }
        let tracks = tracks
            .iter()
            .enumerate()
            .map(|(i, track)| {
                let (num, den) = muxer.stream_time_base(i)?;
                let stream = &track.stream;
                let headers = stream.codec == Codec::Aac && stream.extradata.is_empty() && form.is_boxes();
                // Copied H.264 and HEVC have them in band, or are brought into this form by FFmpeg, as for MPEG-TS.
                let sets = match (form.container, &stream.codec) {
                    (Container::Raw, Codec::H264 | Codec::Hevc) => !track.copied,
                    (Container::Raw | Container::Ts, Codec::Mpeg4) => !stream.extradata.is_empty(),
                    _ => false,
                };
                let name = match (headers, sets) {
                    (true, _) => Some("aac_adtstoasc"),
                    (_, true) => Some("dump_extra"),
                    _ => None,
                };
                let filter = name
                    .map(|name| {
                        let (parameters, _) = track_options(form.container, track)?;
                        av::Bsf::new(name, &parameters, (num, den)).map_err(Error::from)
                    })
                    .transpose()?;
                let words = stream.kind == MediaKind::Subtitle
                    && (form.container.is_words() || form.container == Container::Mkv);
                let base = Rational::new(num, den);
                Ok(Written { base, copied: track.copied, words, last_dts: None, filter })
            })
            .collect::<Result<_>>()?;
        Ok(Muxed { muxer, tracks })
    }

    /// Whether the container can carry the tracks, which only its muxer knows.
    ///
    /// # Errors
    /// As [`Muxed::open`].
    pub fn check(form: &Form, tracks: &[TrackHeader]) -> Result<()> {
        Muxed::open(form, Target::Nowhere, tracks).map(drop)
    }

    /// Writes a packet of track `track`.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&mut self, track: usize, packet: Packet) -> Result<Fate> {
        let Some(written) = self.tracks.get_mut(track) else {
            return Err(Error::new(ErrorKind::Internal, "a packet of no track"));
        };
        let mut packet = Packet { stream: track, ..packet };
        let to = |t: i64| rescale(t, packet.base, written.base, Rounding::Nearest);
        let mut dts = packet.dts.map(to);
        let mut pts = packet.pts.map(to);
        // Rounding to the container's base can make two times equal; muxers want rising ones, of words none that fall.
        let least = written.last_dts.map(|last| last + i64::from(!written.words));
        if let (Some(now), Some(least)) = (dts, least)
            && now < least
        {
            dts = Some(least);
            pts = pts.map(|p| p.max(least));
        }
        written.last_dts = dts.or(written.last_dts);
        packet.duration = match packet.pts.filter(|_| written.words) {
            // A cue goes when the next one comes, also where both are rounded.
            Some(shown) => to(shown.saturating_add(packet.duration)) - to(shown),
            None => to(packet.duration),
        };
        (packet.pts, packet.dts, packet.base) = (pts, dts, written.base);
        // Muxers of text read it up to a zero behind it.
        let packet = packet.to_av(written.words)?;
        let filtered = match &mut written.filter {
            Some(filter) => filter.send(Some(packet)).and_then(|()| filter.receive()),
            None => Ok(Some(packet)),
        };
        match filtered.and_then(|packet| packet.map_or(Ok(()), |packet| self.muxer.write(packet))) {
            Ok(()) => Ok(Fate::Written),
            // What brings packets into the container's form (ADTS to MP4) did not understand this one.
            Err(e) if written.copied && e.kind() == av::Kind::InvalidData => Ok(Fate::LeftOut(e.into())),
            Err(e) => Err(e.into()),
        }
    }

    /// Bytes written so far.
    pub fn position(&self) -> u64 {
        self.muxer.position().unwrap_or(0)
    }

    /// Writes what ends the file.
    ///
    /// # Errors
    /// I/O errors.
    pub fn finish(mut self) -> Result<()> {
        Ok(self.muxer.write_trailer().and_then(|()| self.muxer.close())?)
    }
}

/// Whether files of `container` hold `attachment`: Matroska all, some others pictures as their cover, as FFmpeg writes them.
pub(crate) fn carries(container: Option<Container>, attachment: &Attachment) -> bool {
    let picture = |codecs: &[&str]| attachment.picture.is_some() && codecs.contains(&&*attachment.codec);
    match container {
        Some(Container::Mkv) => true,
        Some(Container::Mp4) => picture(&["mjpeg", "png", "bmp"]),
        Some(Container::Ogg) => picture(&["mjpeg", "png"]),
        Some(Container::Mp3 | Container::Flac) => picture(&["mjpeg", "png", "bmp", "gif"]),
        _ => false,
    }
}

/// The stream of a cover.
fn cover(
    codec: &str,
    (width, height): (u32, u32),
    tags: &[(String, String)],
) -> Result<(av::CodecParameters, av::StreamOptions)> {
    let parameters = av::CodecParameters::new(&av::ParameterValues {
        kind: av::MediaType::Video,
        codec: codec.into(),
        width,
        height,
        ..Default::default()
    })?;
    let disposition = av::Disposition::default().with(av::Disposition::ATTACHED_PICTURE);
    let metadata = tags.to_vec();
    Ok((
        parameters,
        av::StreamOptions { time_base: (1, 90_000), disposition, metadata, ..Default::default() },
    ))
}

fn create(form: &Form, target: &Target<'_>, tracks: &[TrackHeader]) -> Result<av::Muxer> {
    let (url, interrupt) = match target {
        // Cancelling must not keep a local file from being completed (`keep_partial`).
        Target::File(path) => (address(path), av::Interrupt::new()),
        Target::Url(url, interrupt) => ((*url).into(), interrupt.clone()),
        Target::Nowhere => ("nowhere".into(), av::Interrupt::new()),
    };
    let io = matches!(target, Target::Nowhere)
        .then(|| av::Output::Seekable(Box::new(std::io::Cursor::new(Vec::new()))));
    let ivf = form.container == Container::Raw
        && tracks.first().is_some_and(|t| is_ivf(form.spec.path.as_deref(), &t.stream.codec));
    av::Muxer::create(av::MuxerOptions {
        format: Some(if ivf { "ivf".into() } else { muxer_name(form.container, tracks)? }),
        io_options: protocol_options(&url),
        url,
        io,
        interrupt,
    })
    .map_err(|e| match target {
        // FFmpeg's own text has the whole address, stream key included.
        Target::Url(..) => {
            Error::new(Error::from(e.clone()).kind(), format!("cannot be opened: {}", e.message()))
        }
        Target::File(_) | Target::Nowhere => e.into(),
    })
}

impl Form {
    /// Whether files are MP4 or MOV.
    fn is_boxes(&self) -> bool {
        matches!(self.container, Container::Mp4 | Container::Mov)
    }

    /// Whether fragments are given an ordinary index when the file is finished.
    pub fn is_hybrid(&self) -> bool {
        self.is_boxes() && self.safe && !self.spec.fragmented && !self.spec.options.contains_key("movflags")
    }

    /// The muxer's options: ours, then the document's.
    fn options(&self, tracks: &[TrackHeader], is_file: bool) -> Vec<(String, String)> {
        let mut options: Vec<(String, String)> = Vec::new();
        let mut set = |key: &str, value: &str| options.push((key.into(), value.into()));
        match self.container {
            Container::Mp4 | Container::Mov if self.spec.fragmented || self.safe => {
                set("movflags", "+frag_keyframe+delay_moov+default_base_moof");
            }
            Container::Mp4 | Container::Mov if self.spec.faststart && is_file => {
                set("movflags", "+faststart")
            }
            Container::Flv => set("flvflags", "+no_duration_filesize"),
            _ => {}
        }
        if self.safe {
            set("flush_packets", "1");
            match self.container {
                Container::Mp4 | Container::Mov => set("frag_duration", SAFE_US),
                Container::Mkv | Container::WebM => set("cluster_time_limit", SAFE_MS),
                _ => {}
            }
        }
        if self.is_boxes() && tracks.iter().any(|t| t.stream.codec == Codec::Flac) {
            // FFmpeg 5.1 takes FLAC in MP4 for an experiment. This covers what is below.
            options.push(("strict".into(), "experimental".into()));
        } else if tracks.iter().any(|t| dolby_vision(t).is_some()) {
            // FFmpeg writes Dolby Vision's configuration only then.
            options.push(("strict".into(), "unofficial".into()));
        }
        for (key, value) in &self.spec.options {
            options.retain(|(k, _)| k != key);
            options.push((key.clone(), value.clone()));
        }
        options
    }
}

/// A track as a muxer of `container` is told of it.
pub(super) fn track_options(
    container: Container,
    track: &TrackHeader,
) -> Result<(av::CodecParameters, av::StreamOptions)> {
    let stream = &track.stream;
    let mut parameters = match &stream.native {
        Some(native) => native.try_clone()?,
        None => stream.to_av()?,
    };
    // An encoder knows nothing of how its pictures are turned to be shown.
    let now = (parameters.rotation(), parameters.mirrored());
    if let Some(video) = stream.video.as_ref().filter(|v| (v.rotation, v.mirrored) != now) {
        parameters.set_rotation(video.rotation, video.mirrored);
    }
    // Apple's players want parameter sets out of band, which is what hvc1 promises.
    if stream.codec == Codec::Hevc && matches!(container, Container::Mp4 | Container::Mov) {
        let mut values = parameters.values();
        values.codec_tag = u32::from_le_bytes(*b"hvc1");
        parameters.set(&values)?;
    }
    let mut metadata = stream.metadata.clone();
    for (key, value) in [("language", &stream.language), ("title", &stream.title)] {
        metadata.retain(|(k, _)| k != key);
        if let Some(value) = value {
            metadata.push((key.into(), value.clone()));
        }
    }
    let pair = |r: Rational| (r.num, r.den);
    let options = av::StreamOptions {
        time_base: pair(stream.time_base),
        frame_rate: stream.video.as_ref().and_then(|v| v.frame_rate).map(pair),
        sample_aspect: stream.video.as_ref().map(|v| pair(v.sample_aspect)),
        disposition: disposition(stream.disposition),
        metadata,
        keep_codec_tag: stream.codec == Codec::Hevc && matches!(container, Container::Mp4 | Container::Mov),
        ..av::StreamOptions::default()
    };
    Ok((parameters, options))
}

/// The Dolby Vision configuration of a track.
fn dolby_vision(track: &TrackHeader) -> Option<DolbyVision> {
    track.stream.video.as_ref().and_then(|v| v.hdr.dolby_vision)
}

/// What the protocol of a URL is told, unless its query says otherwise.
fn protocol_options(url: &str) -> Vec<(String, String)> {
    // A live SRT socket forgets on closing what it has not sent yet: the end of the stream.
    if url.starts_with("srt://") { vec![("linger".into(), "5".into())] } else { Vec::new() }
}

/// A header is refused for what it describes: the message should say what that was.
fn header_error(e: av::Error, tracks: &[TrackHeader], container: Container) -> Error {
    let codecs: Vec<_> = tracks.iter().map(|t| t.stream.codec.name().to_string()).collect();
    Error::from(e).context(format!("{} of {}", container.name(), codecs.join(" + ")))
}

/// Whether a bare stream of `codec` at `path` is IVF, which has times: there is nothing barer for VP8 and VP9.
pub(crate) fn is_ivf(path: Option<&str>, codec: &Codec) -> bool {
    matches!(codec, Codec::Vp8 | Codec::Vp9) || path.is_some_and(|p| p.to_ascii_lowercase().ends_with(".ivf"))
}

/// FFmpeg's muxer for a container.
pub(super) fn muxer_name(container: Container, tracks: &[TrackHeader]) -> Result<String> {
    let name = match container {
        Container::Mp4 => "mp4",
        Container::Mov => "mov",
        Container::Mkv => "matroska",
        Container::WebM => "webm",
        Container::Ts => "mpegts",
        Container::Flv => "flv",
        Container::Ogg => "ogg",
        Container::Wav => "wav",
        Container::Mp3 => "mp3",
        Container::Flac => "flac",
        Container::WebVtt => "webvtt",
        Container::SubRip => "srt",
        Container::Ass => "ass",
        Container::Raw => {
            let codec = tracks.first().map_or(&Codec::RawVideo, |t| &t.stream.codec);
            match codec {
                Codec::H264 => "h264",
                Codec::Hevc => "hevc",
                Codec::Av1 => "obu",
                Codec::Vp8 | Codec::Vp9 => "ivf",
                Codec::Aac => "adts",
                Codec::Ac3 => "ac3",
                Codec::Eac3 => "eac3",
                Codec::Mp3 => "mp3",
                Codec::Flac => "flac",
                Codec::Mpeg2 => "mpeg2video",
                Codec::Mpeg4 => "m4v",
                Codec::Mjpeg => "mjpeg",
                Codec::RawVideo => "rawvideo",
                Codec::PcmS16 => "s16le",
                Codec::PcmF32 => "f32le",
                other => return Err(Error::unsupported(format!("{other} has no bare form"))),
            }
        }
        Container::Y4m | Container::Image | Container::Hls | Container::Dash | Container::HlsDash => {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("{} is not written by FFmpeg", container.name()),
            ));
        }
    };
    Ok(name.into())
}

/// Parameters of a stream that no demuxer and no encoder of FFmpeg made (converted subtitles).
fn disposition(d: Disposition) -> av::Disposition {
    let flags = [
        (d.default, av::Disposition::DEFAULT),
        (d.forced, av::Disposition::FORCED),
        (d.original, av::Disposition::ORIGINAL),
        (d.comment, av::Disposition::COMMENT),
        (d.hearing_impaired, av::Disposition::HEARING_IMPAIRED),
        (d.visual_impaired, av::Disposition::VISUAL_IMPAIRED),
        (d.attached_picture, av::Disposition::ATTACHED_PICTURE),
    ];
    flags
        .into_iter()
        .filter(|(set, _)| *set)
        .fold(av::Disposition::default(), |all, (_, flag)| all.with(flag))
}

/// FFmpeg's address of a file.
fn address(path: &str) -> String {
    match path {
        STANDARD_OUTPUT => "pipe:1".into(),
        // `file:` keeps it from reading a protocol into a name with a colon.
        path => format!("file:{path}"),
    }
}
