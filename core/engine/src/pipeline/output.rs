//! Sinks of outputs, and what they must know.

use super::resolve::{Offer, Output};
use super::steer;
use crate::error::{Error, Result};
use crate::event::{Event, PushState};
use crate::job::shared::{Shared, lock};
use crate::job::{PacketPort, Segment};
use crate::link::{Overflow, Receiver, link};
use crate::sink::push::{Hooks, PushSink, Status};
use crate::sink::{
    CameraSink, Facts, FileSink, OutputSink, PacketSink, RecordSink, ReplaySink, SegmentSink, Y4mSink,
    segment_directory,
};
use crate::spec::{Container, OutputSpec, PipelineSpec};
use crate::time::{Rounding, rescale};
use ghoststream_sys::ffmpeg::Chapter;
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
    let container = output.format.or_else(|| output.path.as_deref().and_then(Container::from_path));
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
pub(super) fn apart(spec: &PipelineSpec) -> Result<()> {
    let mut places: Vec<(usize, PathBuf)> = Vec::new();
    // Jobs that make parts of one set share its directory, and so may its outputs.
    for (i, output) in spec.outputs.iter().enumerate().filter(|_| spec.window().is_none()) {
        let Some(path) = output.path.as_deref().filter(|path| !path.contains("://")) else { continue };
        let container = output.format.or_else(|| Container::from_path(path));
        let place = match container.is_some_and(Container::is_segmented) {
            // Playlists have names of their own, segments have not.
            true => segment_directory(path).0,
            false if output.pushed_to().is_some() || output.is_template() => continue,
            false => PathBuf::from(path),
        };
        let place = real(&place);
        if let Some((first, _)) = places.iter().find(|(_, other)| *other == place) {
            let what = match container.is_some_and(Container::is_segmented) {
                true => "segments go into the directory of",
                false => "is the file of",
            };
            return Err(Error::invalid(
                format!("outputs[{i}].path"),
                format!("{path} {what} outputs[{first}]"),
            ));
        }
        places.push((i, place));
    }
    Ok(())
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
    // The container's own words about how it was made would be lies in the copy.
    metadata.retain(|(k, _)| {
        !["encoder", "major_brand", "minor_version", "compatible_brands"].contains(&k.as_str())
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
