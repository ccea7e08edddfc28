//! Sinks of outputs, and what they must know.

use super::resolve::{Offer, Output, Resolved, Track};
use super::steer;
use crate::error::{Error, Result};
use crate::event::{Event, PushState};
use crate::job::shared::{Shared, lock};
use crate::job::{PacketPort, Segment};
use crate::link::{Overflow, Receiver, link};
use crate::packet::MediaKind;
use crate::sink::push::{Hooks, PushSink, Status};
use crate::sink::{
    CameraSink, Facts, FileSink, OutputSink, PacketSink, RecordSink, ReplaySink, SegmentSink, StillSink,
    Y4mSink, is_muxed, manifests, segment_directory,
};
use crate::spec::{Container, OutputSpec, PipelineSpec, PlaylistMode, SegmentNames};
use crate::time::{Rounding, rescale};
use crate::timecode::is_timecode;
use ghoststream_sys::ffmpeg::Chapter;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

/// A sink and the application's ends of it.
pub(super) type Opened = (Box<dyn OutputSink>, Option<Arc<PacketPort>>, Option<Receiver<Segment>>);

/// Packets that wait for the application unless it says otherwise.
const PACKETS: usize = 64;
/// Segments that wait for the application.
const SEGMENTS: usize = 16;

/// The sink of `outputs[index]`.
pub(super) fn sink(spec: &PipelineSpec, index: usize, shared: &Arc<Shared>) -> Result<Opened> {
    let output = &spec.outputs[index];
    if let Some(camera) = &output.camera {
        let (clock, interrupt) = (shared.running_clock(), shared.output_interrupt.clone());
        let job = shared.clone();
        let sink = CameraSink::new(camera, clock, interrupt, Box::new(move || job.is_stopping()));
        return Ok((Box::new(sink), None, None));
    }
    if let Some(packets) = &output.packets {
        let overflow = if packets.live { Overflow::DropOldest } else { Overflow::Wait };
        let capacity = if packets.queue == 0 { PACKETS } else { packets.queue as usize };
        let (tx, rx) = link(capacity, overflow);
        shared.close_on_cancel(tx.monitor());
        shared.meter(format!("{} to application", output.label())).watch(tx.monitor());
        let port = Arc::new(PacketPort { receiver: rx, streams: Mutex::default(), known: Condvar::new() });
        let sink = PacketSink::new(packets.format, tx, Arc::downgrade(&port));
        return Ok((Box::new(sink), Some(port), None));
    }
    let container = output.container();
    let container = container.ok_or_else(|| Error::invalid("format", "is not known"))?;
    if container.is_segmented() {
        let (sender, receiver) = if output.segments {
            let (tx, rx) = link(SEGMENTS, Overflow::Wait);
            shared.close_on_cancel(tx.monitor());
            (Some(tx), Some(rx))
        } else {
            (None, None)
        };
        return Ok((Box::new(SegmentSink::new(output, container, sender)), None, receiver));
    }
    if let Some(url) = output.pushed_to() {
        steer::recommend(shared, spec, index, &url);
        let live = spec.source.is_live();
        let sink = PushSink::new(output, url, container, live, hooks(index, output, shared));
        let handle = sink.handle();
        let end = handle.clone();
        shared.on_cancel(move || end.cancel());
        shared.meter(format!("push {index}")).watch_with(move || handle.link_stats());
        return Ok((Box::new(sink), None, None));
    }
    let path = output.path.as_deref().ok_or_else(|| Error::invalid("path", "is needed"))?;
    if container == Container::Y4m {
        return Ok((Box::new(Y4mSink::new(path, output.overwrite)), None, None));
    }
    if container == Container::Image {
        return Ok((Box::new(StillSink::new(path, output.overwrite, output.tiles.clone())), None, None));
    }
    if let Some(replay) = &output.replay {
        return Ok((Box::new(ReplaySink::new(output, replay, path, container)), None, None));
    }
    if output.is_template() {
        return Ok((Box::new(RecordSink::new(output, path, container)), None, None));
    }
    Ok((Box::new(FileSink::new(output, path, container, shared.output_interrupt.clone())), None, None))
}

/// Refuses outputs of which one would write into another, however their paths are spelt.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] naming the second one's path.
pub(super) fn apart(spec: &PipelineSpec, resolved: &Resolved) -> Result<()> {
    let mut places: Vec<(usize, PathBuf, BTreeSet<String>)> = Vec::new();
    // Jobs that make parts of one set share its directory, and so may its outputs.
    for (i, output) in spec.outputs.iter().enumerate().filter(|_| spec.window().is_none()) {
        let Some(path) = output.path.as_deref().filter(|path| !path.contains("://")) else { continue };
        let container = output.container();
        let (place, names) = match (container.filter(|c| c.is_segmented()), resolved.outputs.get(i)) {
            (Some(container), Some(made)) => {
                let (root, master) = segment_directory(path);
                (root, names(made, container, &master))
            }
            _ if output.pushed_to().is_some() || output.is_template() => continue,
            _ => (PathBuf::from(path), BTreeSet::new()),
        };
        let place = real(&place);
        for (first, _, others) in places.iter().filter(|(_, other, _)| *other == place) {
            let what = match names.intersection(others).next() {
                Some(name) => format!("has {name} in the directory of outputs[{first}], which has one too"),
                None if names.is_empty() => format!("is the file of outputs[{first}]"),
                None if others.is_empty() => format!("segments go to where outputs[{first}] is a file"),
                None => continue,
            };
            return Err(Error::invalid(format!("outputs[{i}].path"), format!("{path} {what}")));
        }
        places.push((i, place, names));
    }
    for (i, o) in spec.outputs.iter().enumerate() {
        let Some(index) = o.tiles.as_ref().and_then(|t| t.index.as_deref()) else { continue };
        let place = real(Path::new(index));
        if let Some((first, ..)) = places.iter().find(|(_, other, _)| *other == place) {
            let message = format!("{index} is written by outputs[{first}] too");
            return Err(Error::invalid(format!("outputs[{i}].tiles.index"), message));
        }
        places.push((i, place, BTreeSet::new()));
    }
    Ok(())
}

/// What a segmented output writes into its directory: playlists, and a folder for each rendition, or what stands for one.
fn names(output: &Output, container: Container, master: &str) -> BTreeSet<String> {
    let (hls, dash) = (container != Container::Dash, container != Container::Hls);
    let grows = output.segment.playlist == PlaylistMode::Event;
    let mut names = BTreeSet::from_iter(manifests(container, master, grows));
    let flat = output.segment.names == SegmentNames::Flat;
    if flat {
        // Whether there is a single rendition is known when all have begun.
        names.insert("segment_".into());
    }
    for (position, track) in renditions(output) {
        let name = if flat { format!("stream_{position}") } else { track.name.clone() };
        let words = track.kind() == MediaKind::Subtitle;
        if hls {
            names.extend([format!("{name}.m3u8"), format!("{name}-iframes.m3u8")]);
        }
        if words && dash {
            names.insert(format!("{name}.vtt"));
        }
        if hls || !words {
            names.insert(name);
        }
    }
    names
}

/// The tracks of a segmented output that renditions are named after, and where they are among all.
fn renditions(output: &Output) -> impl Iterator<Item = (usize, &Track)> {
    let count = |kind| output.tracks.iter().filter(|t| t.kind() == kind).count();
    let muxed = is_muxed(&output.segment, count(MediaKind::Video), count(MediaKind::Audio));
    let tracks = output.tracks.iter().enumerate();
    tracks.filter(move |(_, track)| !muxed || track.kind() != MediaKind::Audio)
}

/// `path` without links and detours, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    std::fs::canonicalize(path).unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        _ => path.to_owned(),
    })
}

/// What a pushed output has of its job.
fn hooks(output: usize, spec: &OutputSpec, shared: &Arc<Shared>) -> Hooks {
    let status = Status::new(output, spec.label());
    lock(&shared.pushes).push(status.clone());
    // The job holds the sink's handle: neither may keep the other.
    let (events, controls) = (Arc::downgrade(shared), Arc::downgrade(shared));
    Hooks {
        job: shared.id,
        output,
        clock: shared.clock.clone(),
        event: Box::new(move |event| {
            let Some(shared) = events.upgrade() else { return };
            if matches!(event, Event::Push { state: PushState::Failed | PushState::Ended, .. }) {
                steer::leave(&shared, output);
            }
            shared.events.push(event);
        }),
        control: Box::new(move |control| {
            if let Some(shared) = controls.upgrade() {
                steer::steer(&shared, output, control);
            }
        }),
        status,
    }
}

/// What the sink of `output` must know.
pub(super) fn facts(spec: &PipelineSpec, index: usize, output: &Output, offer: &Offer) -> Facts {
    let document = &spec.outputs[index];
    let mut metadata = if document.copy_metadata { offer.metadata.clone() } else { Vec::new() };
    // The container's own words about how it was made would be lies in the copy; the time code is the pictures'.
    metadata.retain(|(k, _)| {
        !["encoder", "major_brand", "minor_version", "compatible_brands"].contains(&k.as_str())
            && !is_timecode(k)
    });
    for (key, value) in &document.metadata {
        metadata.retain(|(k, _)| k != key);
        if !value.is_empty() {
            metadata.push((key.clone(), value.clone()));
        }
    }
    Facts {
        inputs: spec.source.url.iter().map(|u| u.strip_prefix("file:").unwrap_or(u).to_string()).collect(),
        metadata,
        chapters: if document.chapters { chapters(spec, offer) } else { Vec::new() },
        attachments: if document.attachments { offer.attachments.clone() } else { Vec::new() },
        segment: output.segment.clone(),
        folders: match output.segment.names {
            SegmentNames::Folders => renditions(output).map(|(_, track)| track.name.clone()).collect(),
            SegmentNames::Flat => Vec::new(),
        },
        boundaries: output.boundaries.clone(),
        window: spec.window().map(|w| (w.spec.first, w.end())),
        live: spec.source.is_live(),
        ..Facts::default()
    }
}

/// Why the pictures of `output` keep their size, if they do. `packets`: they go to the application, which sees each.
pub(super) fn fixed_size(output: &Output, packets: bool) -> Option<String> {
    match output.container {
        _ if packets => None,
        Some(Container::Ts | Container::Raw) => None,
        Some(container) => Some(format!(
            "{} says the size of its pictures once: it can change in ts, raw and packets only",
            container.name()
        )),
        None => Some("a camera keeps the size of its pictures".into()),
    }
}

/// The source's chapters on the output's timeline.
fn chapters(spec: &PipelineSpec, offer: &Offer) -> Vec<Chapter> {
    if spec.source.loops != 0 {
        return Vec::new();
    }
    let start = spec.source.start.map_or(0.0, |s| s.0);
    let end = spec.source.duration.map_or(f64::INFINITY, |d| d.0);
    let origin_us = ((offer.start.map_or(0.0, |t| t.seconds()) + start) * 1e6).round() as i64;
    offer
        .chapters
        .iter()
        .filter_map(|chapter| {
            let (num, den) = chapter.time_base;
            let base = crate::time::Rational::new(num, den);
            let micros = |t: i64| rescale(t, base, crate::time::MICROSECONDS, Rounding::Nearest) - origin_us;
            let (from, to) = (micros(chapter.start).max(0), micros(chapter.end));
            let last = (end * 1e6).min(1e18) as i64;
            (to > 0 && from < last).then(|| Chapter {
                start: from,
                end: to.min(last),
                time_base: (1, 1_000_000),
                ..chapter.clone()
            })
        })
        .collect()
}
