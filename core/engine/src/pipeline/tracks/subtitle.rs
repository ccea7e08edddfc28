//! Tracks of words.

use crate::error::{Error, Result};
use crate::packet::{Codec, MediaKind, StreamInfo};
use crate::pipeline::resolve::{Make, Offer, Track, by_index};
use crate::spec::{Container, SubtitleSpec};
use crate::subtitle::subtitle_file_header;
use crate::time::Rational;

/// A subtitle track that is converted to the container's text format.
pub(crate) struct SubtitleTrack {
    /// What it becomes.
    pub codec: Codec,
    /// A file instead of a stream.
    pub path: Option<String>,
    /// What the file's text is in.
    pub charset: Option<String>,
    pub info: StreamInfo,
}

/// What the text subtitles of a container are.
fn text_codec(container: Option<Container>) -> Option<Codec> {
    match container? {
        Container::Mp4 | Container::Mov => Some(Codec::MovText),
        Container::Mkv | Container::SubRip => Some(Codec::SubRip),
        Container::Ass => Some(Codec::Ass),
        Container::WebM | Container::WebVtt | Container::Hls | Container::Dash | Container::HlsDash => {
            Some(Codec::WebVtt)
        }
        _ => None,
    }
}

pub(crate) fn default_subtitles(
    container: Option<Container>,
    offer: &Offer,
    picture: Option<&StreamInfo>,
) -> Vec<Track> {
    let texts = |s: &&StreamInfo| s.kind == MediaKind::Subtitle && s.belongs_to(picture);
    let subtitles = offer.streams.iter().filter(texts);
    subtitles.filter_map(|s| subtitle_track(container, s, "the container can carry it")).collect()
}

fn subtitle_track(container: Option<Container>, stream: &StreamInfo, reason: &str) -> Option<Track> {
    let name = format!("subtitles-{}", stream.index);
    let kept = match container {
        Some(Container::Mkv) => !matches!(stream.codec, Codec::MovText),
        Some(Container::Ts) => matches!(stream.codec.name(), "dvb_subtitle" | "dvb_teletext"),
        _ => false,
    };
    if kept {
        return Some(Track {
            name,
            stream: Some(stream.index),
            make: Make::Copy(Box::new(stream.clone())),
            reason: reason.into(),
        });
    }
    let codec = text_codec(container).filter(|_| stream.codec.is_text_subtitle())?;
    Some(Track {
        name,
        stream: Some(stream.index),
        make: Make::Subtitle(Box::new(SubtitleTrack {
            codec,
            path: None,
            charset: None,
            info: stream.clone(),
        })),
        reason: reason.into(),
    })
}

/// `chosen`: the document says of some track that it is shown unasked, so that what the source says does not count.
pub(crate) fn subtitle(
    container: Option<Container>,
    wanted: &SubtitleSpec,
    offer: &Offer,
    chosen: bool,
) -> Result<Track> {
    let mut track = match (&wanted.stream, &wanted.path) {
        (Some(index), _) => {
            let stream = by_index(offer, *index, MediaKind::Subtitle)?;
            subtitle_track(container, stream, "asked for").ok_or_else(|| {
                Error::unsupported(format!(
                    "stream {index}: {} subtitles cannot be carried there; burn them in instead",
                    stream.codec
                ))
            })?
        }
        (None, Some(path)) => {
            let codec = text_codec(container).ok_or_else(|| {
                Error::unsupported("the container carries no text subtitles; burn them in instead")
            })?;
            let mut info = StreamInfo::new(MediaKind::Subtitle, codec.clone(), Rational::new(1, 1000));
            info.title = wanted.title.clone();
            if codec == Codec::Ass {
                info.extradata = subtitle_file_header(path, wanted.charset.as_deref())?;
            }
            Track {
                name: "subtitles-file".into(),
                stream: None,
                make: Make::Subtitle(Box::new(SubtitleTrack {
                    codec,
                    path: Some(path.clone()),
                    charset: wanted.charset.clone(),
                    info,
                })),
                reason: "asked for".into(),
            }
        }
        (None, None) => return Err(Error::invalid("stream", "exactly one of stream and path is needed")),
    };
    let info = match &mut track.make {
        Make::Copy(info) => info,
        Make::Subtitle(s) => &mut s.info,
        _ => return Ok(track),
    };
    info.language = wanted.language.clone().or(info.language.take());
    info.title = wanted.title.clone().or(info.title.take());
    info.disposition.default = wanted.default || (info.disposition.default && !chosen);
    Ok(track)
}
