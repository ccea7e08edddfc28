//! What the name of a file says of what is in it, where the document does not: `.hevc` is no H.264, and `.aac` no film.

use super::resolve::Track;
use crate::encode::presets;
use crate::error::{Error, Result};
use crate::packet::{Codec, MediaKind, StreamInfo};
use crate::spec::{AudioChoice, AudioSpec, Container, OutputSpec, PipelineSpec, VideoChoice, VideoSpec};

/// The ending of the output's name, where that is what decides its format.
fn ending(output: &OutputSpec) -> Option<String> {
    if output.format.is_some() {
        return None;
    }
    let (_, ending) = output.path.as_deref()?.rsplit('/').next()?.rsplit_once('.')?;
    Some(ending.to_ascii_lowercase())
}

/// The codecs that a file of this name may hold, the usual one first; `None` where its name does not say.
fn codecs(output: &OutputSpec) -> Option<&'static [Codec]> {
    Some(match ending(output)?.as_str() {
        "h264" | "264" => &[Codec::H264],
        "hevc" | "h265" | "265" => &[Codec::Hevc],
        "obu" => &[Codec::Av1],
        "ivf" => &[Codec::Vp9, Codec::Vp8, Codec::Av1],
        "aac" => &[Codec::Aac],
        "ac3" => &[Codec::Ac3],
        "eac3" => &[Codec::Eac3],
        "opus" => &[Codec::Opus],
        "jpg" | "jpeg" => &[Codec::Mjpeg],
        "png" => &[Codec::Png],
        "webp" => &[Codec::WebP],
        _ => return None,
    })
}

/// Whether the name says that there is sound only.
pub(super) fn is_sound(output: &OutputSpec) -> bool {
    let names = |codec: &Codec| codec.kind() == Some(MediaKind::Audio);
    codecs(output).is_some_and(|codecs| codecs.iter().all(names))
        || ending(output).is_some_and(|ending| matches!(ending.as_str(), "m4a" | "m4b" | "mka" | "oga"))
}

/// Whether there are subtitles only: it is a text file, or Matroska that is named so or has pictures and sound switched off.
pub(super) fn is_words(output: &OutputSpec) -> bool {
    let named = || ending(output).is_some_and(|ending| ending == "mks");
    match output.container() {
        Some(Container::Mkv) => {
            let video = matches!(output.video, VideoChoice::Default) && named();
            let audio = matches!(output.audio, AudioChoice::Default) && named();
            (video || matches!(output.video, VideoChoice::None))
                && (audio || matches!(output.audio, AudioChoice::None))
        }
        container => container.is_some_and(Container::is_words),
    }
}

/// `output` with the codec that its name says, where it says none itself; nothing where the name says nothing. `sound` is the
/// source's, which is copied where it is what is wanted.
pub(super) fn output(
    spec: &PipelineSpec,
    output: &OutputSpec,
    sound: Option<&StreamInfo>,
) -> Option<OutputSpec> {
    let codecs = codecs(output)?;
    let codec = codecs.first()?;
    let mut output = output.clone();
    if codec.kind() == Some(MediaKind::Video) {
        let mut track = match output.video {
            VideoChoice::Default => VideoSpec::new(),
            VideoChoice::Track(ref track) => (**track).clone(),
            VideoChoice::None => return None,
        };
        if track.codec.is_some() {
            return None;
        }
        let made = track.encoder.as_deref().and_then(presets::codec_of);
        track.codec = made.filter(|made| codecs.contains(made)).or(Some(codec.clone()));
        output.video = VideoChoice::Track(Box::new(track));
        return Some(output);
    }
    let mut tracks = match output.audio {
        AudioChoice::Default => {
            let whole = spec.source.start.is_none_or(|s| s.0 == 0.0) && spec.source.loops == 0;
            let copied = output.copy_conforming && whole && sound.is_some_and(|s| s.codec == *codec);
            vec![if copied { AudioSpec::copy() } else { AudioSpec::new() }]
        }
        AudioChoice::Tracks(ref tracks) => tracks.clone(),
        AudioChoice::None => return None,
    };
    for track in tracks.iter_mut().filter(|t| t.codec.is_none() && t.encoder.is_none()) {
        track.codec = Some(codec.clone());
    }
    output.audio = AudioChoice::Tracks(tracks);
    Some(output)
}

/// Refuses tracks that a file of this name does not hold.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] (`path: …`).
pub(super) fn check(output: &OutputSpec, tracks: &[Track]) -> Result<()> {
    let Some(codecs) = codecs(output) else { return Ok(()) };
    let known = |track: &&Track| !codecs.iter().any(|codec| codec.name() == track.codec());
    match tracks.iter().find(known) {
        Some(track) => {
            let names: Vec<_> = codecs.iter().map(Codec::name).collect();
            let (path, codec) = (output.label(), track.codec());
            let message = format!(
                "{path} is a name for {}, not for {codec}; with format it can have any",
                names.join(" or ")
            );
            Err(Error::invalid("path", message))
        }
        None => Ok(()),
    }
}
