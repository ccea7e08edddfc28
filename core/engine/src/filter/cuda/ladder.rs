//! A ladder's sizes in one pass over each picture.

use super::layout::Surface;
use super::scale::Made;
use super::{Following, Kernels};
use crate::error::{Error, Result};
use crate::filter::scale::ScaleTarget;
use crate::frame::{Frame, VideoParams};
use crate::stage::{Outlet, Stage};

/// Rungs of one launch, as the kernel has them.
const RUNGS: usize = 4;

/// One CUDA frame in, one for each target out, all made from it: those that [`super::Scale`] makes in one step, four in
/// one launch that reads the picture once; the others as there.
///
/// Targets are given in any order; what is emitted is `(index of the target, frame)`, the largest first. Equal targets
/// share a frame.
///
/// Output base: the input's.
pub struct Ladder {
    targets: Vec<ScaleTarget>,
    following: Following<Vec<One>>,
}

/// A target.
struct One {
    made: Made,
    /// Indices of the targets that it is.
    indices: Vec<usize>,
}

impl Ladder {
    /// A stage that makes all of `targets`.
    pub fn new(targets: Vec<ScaleTarget>) -> Self {
        Ladder { targets, following: Following::new() }
    }
}

fn plan(kernels: &Kernels, source: &VideoParams, targets: &[ScaleTarget]) -> Result<Vec<One>> {
    let mut order: Vec<usize> = (0..targets.len()).collect();
    let area = |i: &usize| u64::from(targets[*i].width) * u64::from(targets[*i].height);
    order.sort_by_key(|i| std::cmp::Reverse(area(i)));
    let mut all: Vec<One> = Vec::new();
    for i in order {
        match all.iter_mut().find(|one| one.indices.iter().any(|j| targets[*j] == targets[i])) {
            Some(one) => one.indices.push(i),
            None => all.push(One { made: Made::new(kernels, source, &targets[i])?, indices: vec![i] }),
        }
    }
    Ok(all)
}

/// All of them, in their order.
fn run(kernels: &Kernels, all: &mut [One], frame: &Frame) -> Result<Vec<Frame>> {
    let mut frames: Vec<Option<Frame>> = all.iter().map(|_| None).collect();
    let mut together = Vec::new();
    for (i, one) in all.iter_mut().enumerate() {
        match one.made.single() {
            Some(run) => together.push((i, run.pool.frame()?)),
            None => frames[i] = Some(one.made.run(kernels, frame)?),
        }
    }
    for part in together.chunks_mut(RUNGS) {
        let mut rungs = Vec::with_capacity(part.len());
        let mut from = None;
        for (i, media) in part.iter_mut() {
            let Some(run) = all[*i].made.single() else { continue };
            if from.is_none() {
                from = Some(Surface::read(frame.media(), run.source)?);
            }
            rungs.push(run.rung(Surface::write(media, run.target)?)?);
        }
        if let Some(from) = &from {
            kernels.ladder(from, &rungs)?;
        }
    }
    for (i, media) in together {
        if let Some(run) = all[i].made.single() {
            frames[i] = Some(run.named(media, frame)?);
        }
    }
    let whole = || Error::new(crate::ErrorKind::Internal, "a rung without a picture");
    frames.into_iter().map(|f| f.ok_or_else(whole)).collect()
}

impl Stage<Frame, (usize, Frame)> for Ladder {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<(usize, Frame)>) -> Result<()> {
        let Ladder { targets, following } = self;
        let (kernels, _, all) = following.get(&frame, |k, source| plan(k, source, targets))?;
        let frames = run(kernels, all, &frame).map_err(|e| e.context("scale"))?;
        for (one, frame) in all.iter().zip(frames) {
            for i in &one.indices {
                out.emit((*i, frame.clone()))?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut dyn Outlet<(usize, Frame)>) -> Result<()> {
        Ok(())
    }
}
