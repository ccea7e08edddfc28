//! The ladder's scaler.

use super::scale::ScaleTarget;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::stage::{Outlet, OutletFn, Stage};

/// One input, N outputs, each made from the next larger one, so that every rung reads few pixels (measured on 1080p to
/// 720, 480 and 360 lines: two thirds of the CPU time of scaling each from the source, at equal or better VMAF).
///
/// Targets are given in any order; what is emitted is `(index of the target, frame)`, the largest first, which is also
/// the order in which encoders can begin. Equal targets share one scaler and the same frame. A target that the source
/// already is costs nothing. A rung is made from another only if both ask for the same format, colour and kernel, so that
/// colour is converted once, at the largest; and never from one that is larger than the source.
///
/// Output base: the input's.
pub struct Cascade {
    rungs: Vec<Rung>,
}

struct Rung {
    scale: Box<dyn Stage<Frame, Frame>>,
    /// Indices of the targets that this serves.
    targets: Vec<usize>,
    /// Which rung before this one it is made from; `None` = the source.
    parent: Option<usize>,
    /// What it produced for the frame in hand.
    made: Vec<Frame>,
}

impl Cascade {
    /// A scaler for these targets. `make` makes that of the target with this index, given the index of the target that it
    /// is made from, if any; it must emit each frame in the call that it came in.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when there are no targets.
    pub fn new(
        targets: Vec<ScaleTarget>,
        mut make: impl FnMut(usize, Option<usize>) -> Box<dyn Stage<Frame, Frame>>,
    ) -> Result<Self> {
        if targets.is_empty() {
            return Err(Error::invalid("ladder", "is empty"));
        }
        let mut order: Vec<usize> = (0..targets.len()).collect();
        let area = |i: &usize| u64::from(targets[*i].width) * u64::from(targets[*i].height);
        order.sort_by_key(|i| std::cmp::Reverse(area(i)));
        let mut rungs: Vec<(ScaleTarget, Rung)> = Vec::new();
        for i in order {
            match rungs.iter_mut().find(|(t, _)| *t == targets[i]) {
                Some((_, rung)) => rung.targets.push(i),
                None => {
                    let target = targets[i].clone();
                    let alike = |t: &ScaleTarget| {
                        ScaleTarget { width: t.width, height: t.height, ..target.clone() } == *t
                            && t.width >= target.width
                            && t.height >= target.height
                    };
                    let parent = rungs.iter().rposition(|(t, _)| alike(t));
                    let scale = make(i, parent.and_then(|p| rungs[p].1.targets.first().copied()));
                    rungs.push((target, Rung { scale, targets: vec![i], parent, made: Vec::new() }));
                }
            }
        }
        Ok(Cascade { rungs: rungs.into_iter().map(|(_, rung)| rung).collect() })
    }

    /// How many scalers there are; equal targets share one.
    pub fn rungs(&self) -> usize {
        self.rungs.len()
    }
}

impl Stage<Frame, (usize, Frame)> for Cascade {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<(usize, Frame)>) -> Result<()> {
        let size = |f: &Frame| u64::from(f.media().width()) * u64::from(f.media().height());
        for i in 0..self.rungs.len() {
            let (before, rest) = self.rungs.split_at_mut(i);
            let Some(rung) = rest.first_mut() else { break };
            // A scaler keeps nothing back: each frame comes out of the call that it went into.
            let parent = rung.parent.and_then(|p| before.get(p)).and_then(|p| p.made.last());
            let from = parent.filter(|f| size(f) <= size(&frame)).unwrap_or(&frame).clone();
            rung.made.clear();
            rung.scale.push(from, &mut rung.made)?;
            for made in &rung.made {
                for target in &rung.targets {
                    out.emit((*target, made.clone()))?;
                }
            }
        }
        for rung in &mut self.rungs {
            rung.made.clear();
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Outlet<(usize, Frame)>) -> Result<()> {
        for Rung { scale, targets, .. } in &mut self.rungs {
            scale.finish(&mut OutletFn(|f: Frame| {
                targets.iter().try_for_each(|target| out.emit((*target, f.clone())))
            }))?;
        }
        Ok(())
    }
}
