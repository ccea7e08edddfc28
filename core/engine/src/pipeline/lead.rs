//! The head start of a ladder's smallest rung.
//!
//! Encoders that share the cores finish their first segments together, late. What a waiting player needs is one rung,
//! soon: so the smallest rung's first segment is decoded and encoded alone, by a demuxer and a decoder of its own, and
//! only then does the rest of the job begin. The rung's encoder goes on with the job's frames where the head start
//! ended; a few dozen frames are decoded twice.

use super::worker::{Chain, push_through};
use crate::decode::{AvDecoder, DecodeOptions};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::job::shared::{Meter, Shared, lock};
use crate::link::Sender;
use crate::packet::{Packet, StreamInfo};
use crate::source::{continuity::Continuity, open, seek::Seeker};
use crate::spec::SourceSpec;
use crate::stage::{OutletFn, Stage};
use crate::time::{MICROSECONDS, Timestamp};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What the head start, the sink and the source agree by.
#[derive(Default)]
pub(crate) struct Gate {
    /// The sink has the first segment.
    closed: Arc<AtomicBool>,
    over: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    /// The flag that the sink raises.
    pub fn first_segment(&self) -> Arc<AtomicBool> {
        self.closed.clone()
    }

    /// Lets the job's source begin.
    fn release(&self) {
        *lock(&self.over) = true;
        self.changed.notify_all();
    }

    /// Waits for the end of the head start, or of the job.
    pub fn wait(&self, shared: &Shared) {
        let mut over = lock(&self.over);
        while !*over && !shared.is_stopping() && !shared.is_cancelled() {
            let (guard, _) = self
                .changed
                .wait_timeout(over, Duration::from_millis(50))
                .unwrap_or_else(PoisonError::into_inner);
            over = guard;
        }
    }
}

/// A head start, ready to run in its thread.
pub(crate) struct Lead {
    pub source: SourceSpec,
    pub stream: StreamInfo,
    pub origin: Timestamp,
    /// The rung's filters and scaler.
    pub chain: Chain,
    pub out: Sender<Frame>,
    pub gate: Arc<Gate>,
    /// Where it ends even if the segment has not closed (an encoder that looks very far ahead).
    pub limit: Timestamp,
    pub threads: u32,
}

impl Lead {
    /// Runs it. A failure here is not the job's: the rung then gets all of its frames from the job's own decoder.
    pub fn run(mut self, shared: &Shared, meter: &Meter) {
        let gate = self.gate.clone();
        if let Err(e) = self.decode(shared, meter)
            && !shared.is_stopping()
            && !shared.is_cancelled()
        {
            shared.warn("source", format!("no head start for the first segment: {e}"));
        }
        drop(self);
        gate.release();
    }

    fn decode(&mut self, shared: &Shared, meter: &Meter) -> Result<()> {
        let mut demuxer = open::open(&self.source, &shared.interrupt)?;
        for index in 0..demuxer.stream_count() {
            demuxer.set_discard(index, index != self.stream.index)?;
        }
        if self.source.start.is_some_and(|s| s.0 > 0.0) {
            let begin = Timestamp::new(demuxer.start_time().unwrap_or(0), MICROSECONDS);
            Seeker::by(&self.stream, begin).before(&mut demuxer, self.origin)?;
        }
        let options = DecodeOptions { threads: self.threads, ..DecodeOptions::default() };
        let mut decoder = AvDecoder::new(&self.stream, &options)?;
        let base = self.stream.time_base;
        let shift = self.origin.to(base).ticks;
        let mut frames = Vec::new();
        let mut continuity =
            demuxer.times_may_jump().then(|| Continuity::of(std::slice::from_ref(&self.stream)));
        while let Some(packet) = demuxer.read()? {
            if packet.stream_index() != self.stream.index {
                continue;
            }
            meter.count_in();
            let mut packet = Packet::from_av(&packet, base);
            if continuity.as_mut().is_some_and(|c| c.join(&mut packet).jump.is_some()) {
                // Where the job puts what follows depends on its other streams too.
                return Ok(());
            }
            packet.pts = packet.pts.map(|t| t - shift);
            packet.dts = packet.dts.map(|t| t - shift);
            let chain = &mut self.chain;
            decoder.push(packet, &mut OutletFn(|f| push_through(chain, f, &mut frames)))?;
            for frame in frames.drain(..) {
                let past = frame.presentation().is_some_and(|t| t > self.limit);
                if past || self.gate.closed.load(Ordering::Acquire) || shared.is_stopping() {
                    return Ok(());
                }
                meter.count_out(1);
                self.out.send(frame).map_err(|_| Error::cancelled())?;
            }
        }
        Ok(())
    }
}
