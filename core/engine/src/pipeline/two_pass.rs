//! Two-pass jobs: the source is read twice; the first run only gathers the encoders' statistics.

use super::build::run_once;
use super::input::{Input, Inputs};
use super::resolve::{Make, Resolved, resolve};
use crate::encode::{Pass, PassLog};
use crate::error::{Error, Result};
use crate::job::shared::{Shared, lock};
use crate::packet::Packet;
use crate::sink::{Facts, Fate, OutputSink, TrackHeader};
use crate::spec::PipelineSpec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The statistics of every two-pass track, and which pass is being made.
pub(super) struct Passes {
    logs: BTreeMap<(usize, String), PassLog>,
    pub second: bool,
}

impl Passes {
    /// The pass of a track, by output and name; `None` when it is made in one.
    pub fn of(&self, output: usize, name: &str) -> Option<Pass> {
        let log = self.logs.get(&(output, name.to_string()))?.clone();
        Some(if self.second { Pass::Second(log) } else { Pass::First(log) })
    }
}

/// Runs both passes.
pub(super) fn run(
    shared: &Arc<Shared>,
    spec: &PipelineSpec,
    input: Input,
    resolved: &Resolved,
    sinks: Vec<Box<dyn OutputSink>>,
) -> Result<Vec<String>> {
    if input.is_fed() {
        return Err(Error::invalid("video.two_pass", "needs a source that can be read twice"));
    }
    let mut first = resolve(spec, &input.offer)?;
    let mut passes = Passes { logs: BTreeMap::new(), second: false };
    for (index, output) in first.outputs.iter_mut().enumerate() {
        output.tracks.retain(|t| matches!(&t.make, Make::Video(v) if v.spec.two_pass));
        for track in &output.tracks {
            passes.logs.insert((index, track.name.clone()), PassLog::new()?);
        }
    }
    let needed: Vec<usize> = first.outputs.iter().flat_map(|o| &o.tracks).filter_map(|t| t.stream).collect();
    first.decoders.retain(|d| needed.contains(&d.stream));
    let nowhere = spec.outputs.iter().map(|_| Box::new(Nowhere) as Box<dyn OutputSink>).collect();
    shared.warn("two_pass", "pass 1 of 2: gathering statistics");
    run_once(shared, spec, input, &first, nowhere, Some(&passes))?;
    if let Some(e) = shared.failure() {
        return Err(e);
    }
    if shared.is_cancelled() || shared.is_stopping() {
        return Ok(Vec::new());
    }
    lock(&shared.tracks).clear();
    lock(&shared.meters).clear();
    passes.second = true;
    let again = Input::open(spec, &mut Inputs::detached(&[]), shared.running_clock(), &shared.interrupt)?;
    run_once(shared, spec, again, resolved, sinks, Some(&passes))
}

/// A sink that forgets.
struct Nowhere;

impl OutputSink for Nowhere {
    fn prepare(&mut self, _: &Facts) -> Result<()> {
        Ok(())
    }

    fn begin(&mut self, _: &[TrackHeader]) -> Result<()> {
        Ok(())
    }

    fn write(&mut self, _: usize, _: Packet) -> Result<Fate> {
        Ok(Fate::Written)
    }

    fn finish(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn abort(&mut self, _: bool) {}
}
