//! Decides one track: copy or encode, with which encoder, size, rate and stages.

mod audio;
mod still;
mod subtitle;
mod video;

pub(crate) use audio::{AudioTrack, audio, name_audio};
pub(crate) use still::still_output;
pub(crate) use subtitle::{SubtitleTrack, default_subtitles, subtitle};
pub(crate) use video::{
    VideoTrack, camera_output, filtered_size, inherit, video, video_codec, wanted_stream,
};

use super::resolve::{Make, Track};
use crate::encode::select::{self};
use crate::error::{Context, Error, Result};
use crate::packet::{Codec, StreamInfo};
use crate::spec::{Container, OutputSpec, PipelineSpec};
use std::collections::BTreeSet;

/// Cores that the job may use.
pub(crate) fn cores(spec: &PipelineSpec) -> u32 {
    match spec.threads {
        0 => std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
        n => n,
    }
}

/// An encoder's refusal names its field from the output on; here it is one of a track, which has a name of its own.
fn below(prefix: &str, e: Error) -> Error {
    match e.message().strip_prefix(prefix).map(str::to_string) {
        Some(message) => Error::with_source(e.kind(), message, e),
        None => e,
    }
}

/// Gives the video encoders that were not told how many threads to use as many as the cores' worth of work they have,
/// by pixels a second: one less makes the top rung of a ladder the last to finish, one more costs x264 25 MB at 1080p
/// (measured on two cores). x264 alone, where it may `fill` the machine, gets half as many again, which is its own default
/// (`x264_encoder_open`): its threads wait for each other, and 2 % of the time was lost. Each costs a picture of delay.
pub(crate) fn share_cores<'a>(tracks: impl Iterator<Item = &'a mut Track>, cores: u32, fill: bool) {
    let mut encoders: Vec<_> = tracks
        .filter_map(|t| match &mut t.make {
            Make::Video(v) => Some(v),
            _ => None,
        })
        .collect();
    let work = |v: &VideoTrack| {
        f64::from(v.width) * f64::from(v.height) * v.frame_rate.map_or(30.0, |rate| rate.as_f64())
    };
    if let [v] = &mut encoders[..]
        && (fill, v.encoder.name.as_str(), v.threads) == (true, "libx264", 0)
    {
        v.threads = (cores + cores / 2).clamp(1, 16);
        return;
    }
    let all: f64 = encoders.iter().map(|v| work(v)).sum();
    for v in encoders.iter_mut().filter(|v| v.threads == 0) {
        let share = if all > 0.0 { work(v) / all } else { 1.0 };
        v.threads = ((share * f64::from(cores)).ceil() as u32).clamp(1, 16);
    }
}

fn carries(output: &OutputSpec, container: Option<Container>, codec: &Codec) -> Result<()> {
    match container {
        Some(container) if output.pushed_to().is_some() => {
            select::check_pushed(container, codec).context(|| "codec")
        }
        Some(container) => select::check_container(container, codec).context(|| "codec"),
        None => Ok(()),
    }
}

/// Names rungs by their height, and by rate where heights repeat.
pub(crate) fn name_rungs(tracks: &mut [Track]) {
    let labels: Vec<String> = tracks
        .iter()
        .map(|t| match &t.make {
            Make::Video(v) => format!("{}p", v.height.min(v.width)),
            Make::Copy(s) => {
                s.video.as_ref().map_or("video".into(), |v| format!("{}p", v.height.min(v.width)))
            }
            _ => "video".into(),
        })
        .collect();
    let mut seen = BTreeSet::new();
    for (i, track) in tracks.iter_mut().enumerate() {
        let same = labels.iter().filter(|l| **l == labels[i]).count();
        let named = !track.name.is_empty();
        track.name = match &track.make {
            _ if named => std::mem::take(&mut track.name),
            Make::Video(v) if same > 1 => match v.spec.bitrate {
                Some(b) => format!("{}-{}k", labels[i], b.0 / 1000),
                None => format!("{}-{i}", labels[i]),
            },
            _ if same > 1 => format!("{}-{i}", labels[i]),
            _ => labels[i].clone(),
        };
        // Rungs may also be of one size and rate, and differ in what is not in a name.
        if !seen.insert(track.name.clone()) && !named {
            track.name = format!("{}-{i}", track.name);
        }
    }
}

/// A stream in a few words.
pub(crate) fn describe_stream(stream: &StreamInfo) -> String {
    let rate = stream.bit_rate.map_or(String::new(), |b| format!(" {} kbit/s", b / 1000));
    match (&stream.video, &stream.audio) {
        (Some(v), _) => format!("{}x{}{rate}", v.width, v.height),
        (_, Some(a)) => format!("{} Hz {}{rate}", a.sample_rate, a.layout.name),
        _ => String::new(),
    }
}
