//! Equal tracks are encoded once: a track whose settings are those of an earlier one gets that one's packets.

use super::resolve::{Make, Output, Shared, Track};
use super::tracks::{AudioTrack, VideoTrack};
use serde_json::Value;

/// Lets every track that would be encoded as an earlier one, of whichever output, share its encoder. Outputs whose networks
/// steer their encoders (`adapts`) share video with each other only: what is recorded keeps its rate.
pub(crate) fn share(outputs: &mut [Output], adapts: &dyn Fn(usize) -> bool) {
    for output in 0..outputs.len() {
        for position in 0..outputs[output].tracks.len() {
            let kept = |other: usize, make: &Make| {
                !matches!(make, Make::Video(_)) || adapts(other) == adapts(output)
            };
            let Some(with) = earlier(outputs, output, position, &kept) else {
                if let Some(with) = earlier(outputs, output, position, &|_, _| true) {
                    let which = if adapts(output) { "this one" } else { "that one" };
                    let said =
                        format!("; on its own beside outputs[{}], as {which} follows its network", with.0);
                    outputs[output].tracks[position].reason += &said;
                }
                continue;
            };
            let maker = &outputs[with.0].tracks[with.1];
            let said = format!("the same as {} of outputs[{}], encoded once", maker.name, with.0);
            let tracks = &mut outputs[output].tracks;
            let Track { name, stream, make, .. } = tracks.remove(position);
            let make = Make::Shared(Box::new(Shared { with, make }));
            tracks.insert(position, Track { name, stream, make, reason: said });
        }
    }
}

/// The first track before `outputs[output].tracks[position]` that is encoded like it, of the outputs that `may` share it.
fn earlier(
    outputs: &[Output],
    output: usize,
    position: usize,
    may: &dyn Fn(usize, &Make) -> bool,
) -> Option<(usize, usize)> {
    let wanted = outputs.get(output)?;
    let track = wanted.tracks.get(position)?;
    for (i, other) in outputs.iter().enumerate().take(output + 1).filter(|(i, _)| may(*i, &track.make)) {
        let end = if i == output { position } else { other.tracks.len() };
        let same = |t: &Track| {
            t.stream == track.stream
                && match (&t.make, &track.make) {
                    (Make::Video(a), Make::Video(b)) => {
                        same_video(a, b) && other.boundaries == wanted.boundaries
                    }
                    (Make::Audio(a), Make::Audio(b)) => same_audio(a, b),
                    _ => false,
                }
        };
        if let Some(at) = other.tracks[..end].iter().position(same) {
            return Some((i, at));
        }
    }
    None
}

fn same_video(a: &VideoTrack, b: &VideoTrack) -> bool {
    // The index of an output tells of the sheets that were put together for it.
    if a.tiles.is_some() || b.tiles.is_some() {
        return false;
    }
    let decided = |t: &VideoTrack| {
        (t.encoder.name.clone(), t.width, t.height, t.turn, t.frame_rate, t.threads, t.grid.map(|g| g.0))
    };
    // What these fields say is decided by now, and may have been said in other words.
    let said = [
        "name",
        "codec",
        "encoder",
        "device",
        "stream",
        "width",
        "height",
        "auto_rotate",
        "keyframe_interval",
    ];
    decided(a) == decided(b) && rest(&a.spec, &said) == rest(&b.spec, &said)
}

fn same_audio(a: &AudioTrack, b: &AudioTrack) -> bool {
    let said = ["name", "codec", "encoder", "stream", "language"];
    a.encoder == b.encoder && rest(&a.spec, &said) == rest(&b.spec, &said)
}

/// The document's words without those that say what is `decided`.
fn rest(spec: &impl serde::Serialize, decided: &[&str]) -> Value {
    let mut value = serde_json::to_value(spec).unwrap_or(Value::Null);
    if let Value::Object(fields) = &mut value {
        fields.retain(|name, _| !decided.contains(&name.as_str()));
    }
    value
}
