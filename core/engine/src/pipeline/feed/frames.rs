//! The thread of a source that gives frames, not packets.

use super::pacer::Pacer;
use crate::error::Result;
use crate::frame::Frame;
use crate::job::shared::{Meter, Shared};
use crate::pipeline::worker::{Chain, Tee, finish_through, push_through};
use crate::stage::{OutletFn, Source};

/// The body of a frame source's thread (pattern, application): frames out to the video and audio branches.
pub(crate) fn run_frames(
    shared: &Shared,
    meter: &Meter,
    mut source: Box<dyn Source<Frame>>,
    video: &mut Branches,
    audio: &mut Branches,
    realtime: bool,
) -> Result<()> {
    let mut pacer = Pacer::new(realtime);
    loop {
        shared.pass_gate();
        if shared.is_cancelled() {
            return Ok(());
        }
        // Frames that the application has already pushed are still used after a stop; generated ones would never end.
        if shared.is_stopping() && !source_is_fed(video, audio) {
            break;
        }
        let frame = source.next();
        for note in source.notes() {
            shared.warn(note.code, note.message);
        }
        let Some(frame) = frame? else { break };
        meter.count_in();
        if let Some(time) = frame.presentation() {
            pacer.wait(shared, time);
        }
        meter.count_out(1);
        let branch = if frame.is_video() { &mut *video } else { &mut *audio };
        branch.push(frame);
        if !video.is_wanted() && !audio.is_wanted() {
            return Ok(());
        }
    }
    video.finish();
    audio.finish();
    Ok(())
}

fn source_is_fed(video: &Branches, audio: &Branches) -> bool {
    video.fed || audio.fed
}

/// The branches of one kind of frame, behind the stages they share.
pub(crate) struct Branches {
    pub chain: Chain,
    pub tee: Option<Tee>,
    pub fed: bool,
}

impl Branches {
    fn is_wanted(&self) -> bool {
        self.tee.is_some()
    }

    fn push(&mut self, frame: Frame) {
        let Some(tee) = &mut self.tee else { return };
        if push_through(&mut self.chain, frame, &mut OutletFn(|f| tee.send(f))).is_err() {
            self.tee = None;
        }
    }

    fn finish(&mut self) {
        if let Some(tee) = &mut self.tee {
            // Nobody left to hear is the only way this can fail.
            let _ = finish_through(&mut self.chain, &mut OutletFn(|f| tee.send(f)));
        }
        self.tee = None;
    }
}
