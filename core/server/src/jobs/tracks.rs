//! Which of a source's sounds and texts go into an output. Pure.

use super::document::{Context, LADDER_AUDIO, audio_codec, burns};
use super::media::Audio;
use crate::contract::request::TranscodeRequest;
use crate::contract::values::{AudioCodec, Mode, Word};
use ghoststream::Codec;
use ghoststream::encode::select::can_carry;
use ghoststream::packet::MediaKind;
use ghoststream::spec::{AudioChoice, AudioSpec, Bitrate, Container, SubtitleChoice, SubtitleSpec};

/// Soundtracks of a ladder or a file at most.
const SOUNDTRACKS: usize = 16;

/// The sounds of `container`, which has a ladder or one quality.
pub(super) fn audio(
    request: &TranscodeRequest,
    context: &Context<'_>,
    container: Container,
    ladder: bool,
) -> AudioChoice {
    // One quality is one media playlist, which old clients count on, and has no place for a second soundtrack. A file that one
    // client's line must carry has as much as that client hears.
    let carried = request.profile.as_ref().is_some_and(|p| p.max_bitrate.is_some());
    let all = ladder || (!container.is_segmented() && !carried);
    let sources = &context.media.audio;
    if sources.is_empty() {
        return AudioChoice::None;
    }
    let asked = audio_codec(request, context);
    let tracks = sources.iter().take(if all { SOUNDTRACKS } else { 1 }).enumerate().map(|(n, source)| {
        let stream = (all && sources.len() > 1).then_some(source.stream);
        // What the container does not carry of the first is an error; the others must not fail a job that has always been done.
        let codec = match asked {
            AudioCodec::Copy if n == 0 => asked,
            AudioCodec::Copy => instead(container, source).unwrap_or(asked),
            _ => asked,
        };
        if codec == AudioCodec::Copy {
            return AudioSpec { stream, ..AudioSpec::copy() };
        }
        let most = request.output.max_audio_channels.max(1);
        let mut spec = AudioSpec { stream, codec: Some(Codec::from_name(codec.name())), ..AudioSpec::new() };
        spec.channels = (source.channels > most).then_some(most);
        if ladder && codec != AudioCodec::Flac {
            spec.bitrate = Some(Bitrate(LADDER_AUDIO));
        }
        spec
    });
    AudioChoice::Tracks(tracks.collect())
}

/// What `source` becomes in a file of `container` that does not carry it as it is.
fn instead(container: Container, source: &Audio) -> Option<AudioCodec> {
    let codec = Codec::from_name(&source.codec);
    if container.is_segmented() || can_carry(container, MediaKind::Audio, &codec) {
        return None;
    }
    Some(if container == Container::WebM { AudioCodec::Opus } else { AudioCodec::Aac })
}

/// Which sounds that were to be copied are not, and what they become.
pub(super) fn notes(request: &TranscodeRequest, context: &Context<'_>, container: Container) -> Vec<String> {
    if request.output.audio_codec != Some(AudioCodec::Copy) || container.is_segmented() {
        return Vec::new();
    }
    let others = context.media.audio.iter().skip(1).take(SOUNDTRACKS - 1);
    let told = others.filter_map(|source| {
        let (name, codec) = (container.name(), instead(container, source)?.name());
        Some(format!(
            "output.audio_codec: {name} carries no {}; stream {} becomes {codec}",
            source.codec, source.stream
        ))
    });
    told.collect()
}

/// The texts of `container`: the request's files, and those of the source.
pub(super) fn subtitles(
    request: &TranscodeRequest,
    context: &Context<'_>,
    container: Container,
) -> SubtitleChoice {
    let tracks = request.subtitles.iter().flatten().zip(context.subtitles);
    let mut list: Vec<SubtitleSpec> = tracks
        .filter_map(|(track, file)| {
            let path = file.as_ref().filter(|_| !track.burn_in)?;
            Some(SubtitleSpec {
                path: Some(path.to_string_lossy().into_owned()),
                language: Some(track.language.clone()).filter(|l| l != "und"),
                title: track.label.clone(),
                default: track.default,
                ..SubtitleSpec::default()
            })
        })
        .collect();
    // A plain stream is one media playlist, which old clients count on, and has no place for more.
    if !list.is_empty() || (container.is_segmented() && request.mode == Mode::Abr) {
        list.extend(context.media.texts.iter().map(|text| SubtitleSpec {
            stream: Some(text.stream),
            language: text.language.clone(),
            title: text.title.clone(),
            default: text.default,
            ..SubtitleSpec::default()
        }));
    }
    // What is drawn into the picture need not be shown over it.
    let whole = container == Container::Mkv || !(container.is_segmented() || burns(request));
    match list.is_empty() {
        false => SubtitleChoice::Tracks(list),
        true if whole => SubtitleChoice::Default,
        true => SubtitleChoice::None,
    }
}
