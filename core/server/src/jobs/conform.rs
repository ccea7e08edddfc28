//! Jobs that are made from the beginning to the end: whether their source is copied or encoded, and why.

use super::Inner;
use super::document::{Context, document, usual_preset};
use super::record::Record;
use super::run::Prepared;
use super::view::Decision;
use crate::contract::request::TranscodeRequest;
use crate::contract::values::{AudioCodec, Format, Mode, VideoCodec, Word};
use crate::playback::decide::{LONGEST_COPY, copied, copies, decide, hidden, picture_turned};
use crate::playback::timeline::Timeline;
use crate::playback::{Method, Verdict};
use ghoststream::spec::OutputSpec;
use std::sync::Arc;

/// What WebM holds.
const WEBM: [&str; 3] = ["vp8", "vp9", "av1"];

/// Decides, and has `prepared` copy what the client plays as it is.
pub(super) async fn conform(inner: &Arc<Inner>, record: &Record, prepared: &mut Prepared) -> Decision {
    let told = |v: &Verdict| Decision { method: v.method.name().into(), reason: v.reason.clone() };
    if copies(&prepared.spec) {
        if let Some(why) = lying(prepared) {
            let mut request = record.request.clone();
            request.output.video_codec = None;
            return match rewritten(inner, record, &request, prepared) {
                Ok(()) => told(&encoded(why)),
                // The copy stands.
                Err(unfit) => {
                    let reason = format!("copying was asked for; the picture stays rotated: {unfit}");
                    Decision { method: Method::Remux.name().into(), reason }
                }
            };
        }
        let segmented = prepared.spec.outputs.first().is_some_and(|o| o.segment.is_some());
        let reason = if segmented { copied(&prepared.probe) } else { "copying was asked for".into() };
        return Decision { method: Method::Remux.name().into(), reason };
    }
    let verdict = verdict(record, prepared).await;
    if verdict.method == Method::Transcode {
        return told(&verdict);
    }
    let mut request = record.request.clone();
    request.output.video_codec = Some(VideoCodec::Copy);
    if verdict.keep_audio {
        request.output.audio_codec = Some(AudioCodec::Copy);
    }
    match rewritten(inner, record, &request, prepared) {
        Ok(()) => told(&verdict),
        Err(unfit) => told(&encoded(unfit)),
    }
}

/// Has `prepared` make what `request` asks for instead; says why where that cannot be, and it stays as it was.
fn rewritten(
    inner: &Arc<Inner>,
    record: &Record,
    request: &TranscodeRequest,
    prepared: &mut Prepared,
) -> Result<(), String> {
    let settings = inner.settings();
    let context = Context {
        config: &settings.config,
        source: &record.source,
        protocols: settings.policy.protocols(),
        media: &prepared.media,
        subtitles: &prepared.subtitles,
        directory: &prepared.directory,
        bounds: prepared.bounds,
        software: record.software,
    };
    let (written, preset) = (document(request, &context), usual_preset(request, &context));
    match written {
        Ok(mut spec) => {
            spec.source.hosts = prepared.spec.source.hosts.clone();
            (prepared.spec, prepared.preset) = (spec, preset);
            Ok(())
        }
        Err(unfit) => Err(format!("{}: {}", unfit.field, unfit.message)),
    }
}

/// Why a copy that was asked for is encoded all the same: its file would lose how the picture is turned.
fn lying(prepared: &Prepared) -> Option<String> {
    let container = prepared.spec.outputs.first()?.format?;
    let how = picture_turned(&prepared.probe).filter(|_| !container.keeps_rotation())?;
    Some(format!(
        "copying was asked for, but the picture is {how}, which {} files of this machine's FFmpeg cannot say: it is turned and encoded",
        container.name()
    ))
}

fn encoded(reason: impl Into<String>) -> Verdict {
    Verdict { method: Method::Transcode, keep_audio: false, reason: reason.into() }
}

/// As for a playback session, but nothing can be given as it is where a new file or segments are asked for.
async fn verdict(record: &Record, prepared: &Prepared) -> Verdict {
    let request = &record.request;
    let wanted = &request.output;
    let batch = request.mode == Mode::Batch;
    let found = decide(&prepared.probe, &prepared.spec, request.profile.as_ref());
    let codec = prepared.media.video.as_ref().map_or("", |v| v.codec.as_str());
    let refused = match found.method {
        Method::Transcode => return found,
        _ if !prepared.media.is_recorded() => Some("the key frames of a live source are not known".into()),
        _ if request.mode == Mode::Abr => Some("several qualities were asked for".into()),
        _ if wanted.two_pass => Some("two passes were asked for".into()),
        // Who asks for a file says what is to be in it.
        _ if batch && wanted.video_codec.is_some_and(|asked| !same(asked.name(), codec)) => {
            wanted.video_codec.map(|asked| format!("{} was asked for, the source is {codec}", asked.name()))
        }
        _ if wanted.format == Format::Webm && !WEBM.contains(&codec) => {
            Some(format!("WebM does not hold {codec}"))
        }
        _ => None,
    };
    if let Some(why) = refused {
        return encoded(why);
    }
    if let Some(segment) = prepared.spec.outputs.first().and_then(|o: &OutputSpec| o.segment.as_ref()) {
        let target = segment.duration.0;
        match prepared.worker.probe(&prepared.spec.source, true).await {
            Ok(probe) if Timeline::copied(&probe, target, LONGEST_COPY.max(target * 1.5)).is_some() => {
                if let Some(why) = hidden(&probe) {
                    return encoded(why);
                }
            }
            Ok(_) => return encoded(format!("its key frames are more than {LONGEST_COPY:.0} s apart")),
            Err(e) => return encoded(format!("its key frames cannot be read: {}", e.message)),
        }
    }
    let sound = prepared.media.audio.first().map_or("", |a| a.codec.as_str());
    let other = batch && wanted.audio_codec.is_some_and(|asked| asked.name() != sound);
    let keep_audio = found.keep_audio && !other && (wanted.format != Format::Webm || sound == "opus");
    let reason = match found.method {
        Method::Direct if batch => "a file was asked for".into(),
        Method::Direct => "segments were asked for".into(),
        _ => found.reason,
    };
    Verdict { method: Method::Remux, keep_audio, reason }
}

fn same(asked: &str, codec: &str) -> bool {
    asked == codec || (asked == "h265" && codec == "hevc")
}
