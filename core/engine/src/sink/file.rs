//! Files and push URLs, written by FFmpeg's muxers.

use super::{Facts, Fate, OutputSink, Place, TrackHeader};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::frame::DolbyVision;
use crate::packet::{Codec, Disposition, MediaKind, Packet, StreamInfo};
use crate::spec::{Container, OutputSpec};
use crate::time::{Rational, Rounding, TimeBase, rescale};
use ghoststream_sys::ffmpeg as av;
use std::path::Path;

/// A file (or a URL that FFmpeg writes to).
pub(crate) struct FileSink {
    spec: OutputSpec,
    path: String,
    container: Container,
    interrupt: av::Interrupt,
    place: Option<Place>,
    facts: Facts,
    muxer: Option<av::Muxer>,
    tracks: Vec<Written>,
}

/// A track as it is written.
struct Written {
    base: TimeBase,
    copied: bool,
    last_dts: Option<i64>,
}

impl FileSink {
    pub fn new(spec: &OutputSpec, path: &str, container: Container, interrupt: av::Interrupt) -> Self {
        FileSink {
            spec: spec.clone(),
            path: path.into(),
            container,
            interrupt,
            place: None,
            facts: Facts::default(),
            muxer: None,
            tracks: Vec::new(),
        }
    }

    fn is_url(&self) -> bool {
        self.path.contains("://")
    }

    fn create(&self, tracks: &[TrackHeader]) -> Result<av::Muxer> {
        let url = match &self.place {
            Some(place) => place.working().to_string_lossy().into_owned(),
            None => self.path.clone(),
        };
        av::Muxer::create(av::MuxerOptions {
            format: Some(muxer_name(self.container, tracks)?),
            url,
            // Cancelling must not keep a local file from being completed (`keep_partial`).
            interrupt: if self.is_url() { self.interrupt.clone() } else { av::Interrupt::new() },
            io_options: protocol_options(&self.path),
            ..av::MuxerOptions::default()
        })
        .map_err(|e| match self.is_url() {
            // FFmpeg's own text has the whole address, stream key included.
            true => Error::new(Error::from(e.clone()).kind(), format!("cannot be opened: {}", e.message())),
            false => e.into(),
        })
    }

    /// The muxer's options: ours, then the document's.
    fn options(&self, tracks: &[TrackHeader]) -> Vec<(String, String)> {
        let mut options: Vec<(String, String)> = Vec::new();
        let mut set = |key: &str, value: &str| options.push((key.into(), value.into()));
        match self.container {
            Container::Mp4 | Container::Mov if self.spec.fragmented => {
                set("movflags", "+frag_keyframe+delay_moov+default_base_moof");
            }
            Container::Mp4 | Container::Mov if self.spec.faststart && self.place.is_some() => {
                set("movflags", "+faststart")
            }
            Container::Flv => set("flvflags", "+no_duration_filesize"),
            _ => {}
        }
        if tracks.iter().any(|t| dolby_vision(t).is_some()) {
            // FFmpeg writes Dolby Vision's configuration only then.
            options.push(("strict".into(), "unofficial".into()));
        }
        for (key, value) in &self.spec.options {
            options.retain(|(k, _)| k != key);
            options.push((key.clone(), value.clone()));
        }
        options
    }

    fn open(&mut self, tracks: &[TrackHeader]) -> Result<()> {
        let mut muxer = self.create(tracks)?;
        for track in tracks {
            let (parameters, options) = self.stream_options(track)?;
            muxer.add_stream(&parameters, &options).map_err(Error::from).context(|| track.name.clone())?;
        }
        if matches!(self.container, Container::Mkv) {
            for a in &self.facts.attachments {
                muxer.add_attachment(&a.codec, &a.name, &a.mime, a.data.clone())?;
            }
        }
        muxer.set_metadata(&self.facts.metadata)?;
        for chapter in &self.facts.chapters {
            muxer.add_chapter(chapter)?;
        }
        let unused =
            muxer.write_header(&self.options(tracks)).map_err(|e| header_error(e, tracks, self.container))?;
        if let Some((key, _)) = unused.iter().find(|(key, _)| self.spec.options.contains_key(key)) {
            return Err(Error::invalid(
                format!("options.{key}"),
                format!("{} takes no such option", muxer.format_name()),
            ));
        }
        self.tracks = tracks
            .iter()
            .enumerate()
            .map(|(i, track)| {
                let (num, den) = muxer.stream_time_base(i)?;
                Ok(Written { base: Rational::new(num, den), copied: track.copied, last_dts: None })
            })
            .collect::<Result<_>>()?;
        self.muxer = Some(muxer);
        Ok(())
    }

    fn stream_options(&self, track: &TrackHeader) -> Result<(av::CodecParameters, av::StreamOptions)> {
        let stream = &track.stream;
        let mut parameters = match &stream.native {
            Some(native) => native.try_clone()?,
            None => plain_parameters(stream)?,
        };
        // Apple's players want parameter sets out of band, which is what hvc1 promises.
        if stream.codec == Codec::Hevc && matches!(self.container, Container::Mp4 | Container::Mov) {
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
            keep_codec_tag: stream.codec == Codec::Hevc
                && matches!(self.container, Container::Mp4 | Container::Mov),
            ..av::StreamOptions::default()
        };
        Ok((parameters, options))
    }
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

/// FFmpeg's muxer for a container.
fn muxer_name(container: Container, tracks: &[TrackHeader]) -> Result<String> {
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
                Codec::Mpeg2 => "mpeg2video",
                Codec::Mpeg4 => "m4v",
                Codec::Mjpeg => "mjpeg",
                Codec::RawVideo => "rawvideo",
                Codec::PcmS16 => "s16le",
                Codec::PcmF32 => "f32le",
                other => return Err(Error::unsupported(format!("{other} has no bare form"))),
            }
        }
        Container::Y4m | Container::Hls | Container::Dash | Container::HlsDash => {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("{} is not written by FFmpeg", container.name()),
            ));
        }
    };
    Ok(name.into())
}

/// Parameters of a stream that no demuxer and no encoder of FFmpeg made (converted subtitles).
fn plain_parameters(stream: &StreamInfo) -> Result<av::CodecParameters> {
    let kind = match stream.kind {
        MediaKind::Video => av::MediaType::Video,
        MediaKind::Audio => av::MediaType::Audio,
        MediaKind::Subtitle => av::MediaType::Subtitle,
        MediaKind::Data => av::MediaType::Data,
        MediaKind::Attachment => av::MediaType::Attachment,
    };
    Ok(av::CodecParameters::new(&av::ParameterValues {
        kind,
        codec: stream.codec.name().into(),
        extradata: stream.extradata.clone(),
        ..av::ParameterValues::default()
    })?)
}

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

/// Claims `path`, unless it is one of `inputs`; see [`Place::claim`].
pub(super) fn claim(path: &str, inputs: &[String], overwrite: bool, direct: bool) -> Result<Place> {
    if is_input(Path::new(path), inputs) {
        return Err(Error::invalid("path", format!("{path} is the input too")));
    }
    Place::claim(Path::new(path), overwrite, direct).map_err(|e| Error::at(e, "path"))
}

/// Whether `path` is the same file as one of `inputs`.
fn is_input(path: &Path, inputs: &[String]) -> bool {
    let Ok(target) = std::fs::canonicalize(path) else { return false };
    inputs.iter().any(|input| std::fs::canonicalize(input).is_ok_and(|input| input == target))
}

impl OutputSink for FileSink {
    fn prepare(&mut self, facts: &Facts) -> Result<()> {
        self.facts = facts.clone();
        if self.is_url() {
            return Ok(());
        }
        // Fragmented files are whole at every moment, so they may grow under their own name.
        self.place = Some(claim(&self.path, &facts.inputs, self.spec.overwrite, self.spec.fragmented)?);
        Ok(())
    }

    fn begin(&mut self, tracks: &[TrackHeader]) -> Result<()> {
        self.open(tracks)
    }

    fn write(&mut self, track: usize, packet: Packet) -> Result<Fate> {
        let (Some(muxer), Some(written)) = (&mut self.muxer, self.tracks.get_mut(track)) else {
            return Err(Error::new(ErrorKind::Internal, "a packet before the header"));
        };
        let mut packet = Packet { stream: track, ..packet };
        let to = |t: i64| rescale(t, packet.base, written.base, Rounding::Nearest);
        let mut dts = packet.dts.map(to);
        let mut pts = packet.pts.map(to);
        // Rounding to the container's base can make two times equal; muxers want rising ones.
        if let (Some(now), Some(last)) = (dts, written.last_dts)
            && now <= last
        {
            dts = Some(last + 1);
            pts = pts.map(|p| p.max(last + 1));
        }
        written.last_dts = dts.or(written.last_dts);
        packet.duration = to(packet.duration);
        (packet.pts, packet.dts, packet.base) = (pts, dts, written.base);
        match muxer.write(packet.to_av(false)?) {
            Ok(()) => Ok(Fate::Written),
            // What brings packets into the container's form (ADTS to MP4) did not understand this one.
            Err(e) if written.copied && e.kind() == av::Kind::InvalidData => Ok(Fate::LeftOut(e.into())),
            Err(e) => Err(e.into()),
        }
    }

    fn finish(&mut self) -> Result<Vec<String>> {
        let Some(mut muxer) = self.muxer.take() else {
            return Err(Error::new(ErrorKind::Internal, "an output that was never begun"));
        };
        let result = muxer.write_trailer().and_then(|()| muxer.close());
        match (result, &self.place) {
            (Ok(()), Some(place)) => Ok(vec![place.commit()?]),
            (Ok(()), None) => Ok(vec![self.spec.label()]),
            (Err(e), _) => Err(e.into()),
        }
    }

    fn abort(&mut self, keep: bool) {
        let muxer = self.muxer.take();
        let Some(place) = &self.place else { return };
        match muxer {
            Some(mut muxer) if keep => {
                // Whatever can be completed is; what cannot stays under its working name.
                if muxer.write_trailer().and_then(|()| muxer.close()).is_ok() {
                    let _ = place.commit();
                }
            }
            muxer => {
                drop(muxer);
                place.discard();
            }
        }
    }
}
