//! Tracks of sound.

use super::{below, carries};
use crate::encode::{
    self,
    select::{self},
};
use crate::error::{Error, Result};
use crate::packet::{Codec, MediaKind, StreamInfo};
use crate::pipeline::resolve::{Make, Offer, Track};
use crate::spec::{AudioChoice, AudioSpec, Container, OutputSpec, PipelineSpec};

/// An encoded audio track.
pub(crate) struct AudioTrack {
    pub spec: AudioSpec,
    pub encoder: String,
}

/// Names audio tracks by language, and by number where that repeats.
pub(crate) fn name_audio(tracks: &mut [Track]) {
    let mut seen: Vec<String> = Vec::new();
    for track in tracks.iter_mut().filter(|t| t.kind() == MediaKind::Audio) {
        let language = match &track.make {
            Make::Copy(s) => s.language.clone(),
            Make::Audio(a) => a.spec.language.clone(),
            _ => None,
        };
        if !track.name.is_empty() {
            continue;
        }
        let base = match language.filter(|l| l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')) {
            Some(language) => format!("audio-{language}"),
            None => "audio".into(),
        };
        let count = seen.iter().filter(|n| **n == base).count();
        seen.push(base.clone());
        track.name = if count == 0 { base } else { format!("{base}-{}", count + 1) };
    }
}

pub(crate) fn audio(
    output: &OutputSpec,
    container: Option<Container>,
    wanted: &AudioSpec,
    stream: &StreamInfo,
    offer: &Offer,
    spec: &PipelineSpec,
) -> Result<Track> {
    let unasked = wanted.codec.is_none()
        && wanted.encoder.is_none()
        && wanted.bitrate.is_none()
        && wanted.channels.is_none()
        && wanted.sample_rate.is_none()
        && wanted.gain.is_none()
        && wanted.loudness.is_none()
        && wanted.options.is_empty();
    if wanted.is_copy() {
        if offer.raw {
            return Err(Error::invalid("codec", "raw frames cannot be copied"));
        }
        carries(output, container, &stream.codec)?;
        return Ok(copy_audio(wanted, stream, "asked for"));
    }
    let takes = output.packets.as_ref().is_some_and(|p| p.copy.contains(&stream.codec));
    let asks = wanted.encoder.is_some()
        || wanted.channels.is_some()
        || wanted.sample_rate.is_some()
        || wanted.gain.is_some()
        || wanted.loudness.is_some()
        || wanted.codec.as_ref().is_some_and(|c| *c != stream.codec);
    if takes && !asks && !offer.raw {
        return Ok(copy_audio(wanted, stream, "the application takes its codec as it is"));
    }
    let exact = spec.source.start.is_none_or(|s| s.0 == 0.0);
    let mut reason = match &output.audio {
        AudioChoice::Tracks(_) => "asked for".to_string(),
        _ => "the source's sound".into(),
    };
    let late = begins_late(stream, offer);
    if unasked && !offer.raw && output.copy_conforming && output.packets.is_none() {
        match container {
            Some(c) if !exact => reason = format!("not copied into {}: the start is cut exactly", c.name()),
            Some(c) if spec.source.loops != 0 => {
                reason = format!("not copied into {}: it is looped", c.name())
            }
            Some(c) if c.is_segmented() && late.is_some() => {
                let late = late.unwrap_or_default();
                reason =
                    format!("not copied: it begins {late:.1} s late, and players of segments wait for sound");
            }
            // Who takes what is pushed gives it on to others, which do not all take what is broadcast.
            Some(c)
                if select::is_native_audio(c, stream)
                    && (output.pushed_to().is_none() || matches!(stream.codec, Codec::Aac | Codec::Mp3)) =>
            {
                return Ok(copy_audio(wanted, stream, "the source conforms"));
            }
            Some(c) => {
                reason = format!("not copied: {} is not what {} plays everywhere", stream.codec, c.name())
            }
            None => {}
        }
    }
    let made = || wanted.encoder.as_deref().and_then(select::audio_codec_of);
    let usual = || container.map_or(Codec::Aac, select::default_audio_codec);
    let codec = wanted.codec.clone().or_else(made).unwrap_or_else(usual);
    carries(output, container, &codec)?;
    let encoder = select::choose_audio(&codec, wanted.encoder.as_deref())?;
    let mut wanted = wanted.clone();
    wanted.codec = Some(codec);
    wanted.encoder = Some(encoder.clone());
    wanted.language = stream.language.clone();
    if let Some(sound) = stream.audio.as_ref().filter(|sound| sound.sample_rate > 0) {
        // What the encoder does not take is said now, not when places are claimed.
        encode::audio::wanted(&encoder, &wanted, sound).map_err(|e| below("audio.", e))?;
    }
    Ok(Track {
        name: wanted.name.clone().unwrap_or_default(),
        stream: Some(stream.index),
        make: Make::Audio(Box::new(AudioTrack { spec: wanted, encoder })),
        reason,
    })
}

/// How many seconds after the source a stream begins, where that is more than players pass over.
fn begins_late(stream: &StreamInfo, offer: &Offer) -> Option<f64> {
    let late = stream.start?.seconds() - offer.start?.seconds();
    (late > 0.5).then_some(late)
}

fn copy_audio(wanted: &AudioSpec, stream: &StreamInfo, reason: &str) -> Track {
    Track {
        name: wanted.name.clone().unwrap_or_default(),
        stream: Some(stream.index),
        make: Make::Copy(Box::new(stream.clone())),
        reason: reason.into(),
    }
}

impl AudioTrack {
    pub fn codec(&self) -> &str {
        self.spec.codec.as_ref().map_or("", Codec::name)
    }

    pub fn describe(&self) -> String {
        let mut words = Vec::new();
        if let Some(b) = self.spec.bitrate {
            words.push(format!("{b}bit/s"));
        }
        if let Some(c) = self.spec.channels {
            words.push(format!("{c} channels"));
        }
        if let Some(r) = self.spec.sample_rate {
            words.push(format!("{r} Hz"));
        }
        words.join(" ")
    }

    pub fn stages(&self) -> Vec<String> {
        let mut stages = vec![if self.spec.sync { "resample, sync" } else { "resample" }.to_string()];
        if let Some(g) = self.spec.gain {
            stages.push(format!("gain {g} dB"));
        }
        if let Some(l) = self.spec.loudness {
            stages.push(format!("loudness {} LUFS", l.integrated));
        }
        stages
    }
}
