//! Which outputs' networks may steer an encoder's bit rate, and to what.

use super::resolve::{Make, Resolved};
use crate::encode::presets::{self, Live};
use crate::error::{Error, Result};
use crate::job::shared::{Shared, lock};
use crate::spec::{AdaptChoice, AudioChoice, PipelineSpec, Service, VideoChoice};
use crate::stage::Control;

/// Output and position of the track whose encoder makes the video of an output.
type Maker = (usize, usize);

fn maker(resolved: &Resolved, output: usize) -> Option<Maker> {
    let tracks = &resolved.outputs.get(output)?.tracks;
    tracks.iter().enumerate().find_map(|(position, track)| match &track.make {
        Make::Video(_) => Some((output, position)),
        Make::Shared(shared) => matches!(shared.make, Make::Video(_)).then_some(shared.with),
        _ => None,
    })
}

/// Whether the network of `output` is to steer its encoder.
pub(super) fn adapts(spec: &PipelineSpec, output: usize) -> bool {
    let push = spec.outputs.get(output).and_then(|o| o.push.as_ref());
    push.is_some_and(|p| matches!(p.adapt, AdaptChoice::Yes(_)))
}

/// Whether the network of `output` steers its encoder. Those that share the encode adapt too ([`super::share`]).
///
/// # Errors
/// `Unsupported` for an encoder that cannot change its rate while it runs, and for video that is copied.
pub(super) fn may(shared: &Shared, spec: &PipelineSpec, resolved: &Resolved, output: usize) -> Result<bool> {
    if !adapts(spec, output) {
        return Ok(false);
    }
    let at = maker(resolved, output)
        .ok_or_else(|| Error::unsupported("push.adapt: the output's video is not encoded"))?;
    if let Make::Video(video) = &resolved.outputs[at.0].tracks[at.1].make {
        let name = &video.encoder.name;
        if presets::table(name).is_none_or(|t| t.live == Live::No) {
            let message = format!("push.adapt: {name} cannot change its bit rate while it runs");
            return Err(Error::unsupported(message));
        }
    }
    let sharers: Vec<usize> =
        (0..resolved.outputs.len()).filter(|o| maker(resolved, *o) == Some(at)).collect();
    let mut groups = lock(&shared.rates);
    if !groups.iter().any(|g| g.contains_key(&output)) {
        groups.push(sharers.into_iter().map(|o| (o, u64::MAX)).collect());
    }
    Ok(true)
}

/// Sends `control` to the encoder of the output's video. Of outputs that share it, the lowest bit rate wins.
pub(super) fn steer(shared: &Shared, output: usize, control: Control) {
    let control = match control {
        Control::Bitrate { target, max } => {
            let mut groups = lock(&shared.rates);
            let target = match groups.iter_mut().find(|g| g.contains_key(&output)) {
                Some(group) => {
                    group.insert(output, target);
                    group.values().copied().min().unwrap_or(target)
                }
                None => target,
            };
            Control::Bitrate { target, max }
        }
        other => other,
    };
    let tracks = lock(&shared.tracks);
    for track in tracks.iter().filter(|t| t.output == output && t.video && t.controllable) {
        track.control(control.clone());
    }
}

/// The output is over: the rate of those that go on is theirs alone.
pub(super) fn leave(shared: &Shared, output: usize) {
    let next = {
        let mut groups = lock(&shared.rates);
        let Some(group) = groups.iter_mut().find(|g| g.contains_key(&output)) else { return };
        let before = group.values().copied().min();
        group.remove(&output);
        let now = group.iter().min_by_key(|(_, rate)| **rate).map(|(o, rate)| (*o, *rate));
        now.filter(|(_, rate)| Some(*rate) != before && *rate != u64::MAX)
    };
    if let Some((other, rate)) = next {
        steer(shared, other, Control::Bitrate { target: rate, max: None });
    }
}

/// Warns of rates that the service at `url` does not recommend.
pub(super) fn recommend(shared: &Shared, spec: &PipelineSpec, output: usize, url: &str) {
    let Some(service) = Service::of_url(url) else { return };
    if let AudioChoice::Tracks(tracks) = &spec.outputs[output].audio
        && let Some(rate) = tracks.iter().filter_map(|a| a.bitrate).find(|r| *r > service.max_audio_bitrate)
    {
        let most = service.max_audio_bitrate;
        let message = format!("outputs[{output}]: {} recommends at most {most}", service.name);
        shared.warn("network", format!("{message} of sound, and it has {rate}"));
    }
    let VideoChoice::Track(video) = &spec.outputs[output].video else { return };
    let Some(rate) = video.max_bitrate.max(video.bitrate) else { return };
    if rate > service.max_bitrate {
        let message =
            format!("outputs[{output}]: {} recommends at most {}", service.name, service.max_bitrate);
        shared.warn("network", format!("{message}, and the video may have {rate}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Next};
    use crate::time::SystemClock;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn what_a_service_does_not_recommend_is_told_of_pictures_and_of_sound() {
        let told = |video: &str, audio: &str| -> Vec<String> {
            let shared = Shared::new(1, "j".into(), true, Arc::new(SystemClock::default()));
            let spec = format!(
                r#"{{"source": {{"pattern": {{"tone": true}}}}, "outputs": [{{"path": "twitch:k",
                    "video": {{"bitrate": "{video}"}}, "audio": [{{"codec": "aac", "bitrate": "{audio}"}}]}}]}}"#
            );
            let spec = PipelineSpec::from_json(&spec).unwrap();
            recommend(&shared, &spec, 0, &spec.outputs[0].pushed_to().unwrap());
            std::iter::from_fn(|| match shared.events.next(Some(Duration::ZERO)) {
                Next::Event(Event::Warning { message, .. }) => Some(message),
                _ => None,
            })
            .collect()
        };
        assert_eq!(told("6M", "160k"), [] as [String; 0]);
        let both = told("9M", "512k");
        assert!(both.len() == 2 && both[0].contains("of sound") && both[1].contains("twitch"), "{both:?}");
    }
}
