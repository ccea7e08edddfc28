//! The half of an encoder that coded pictures come out of.

use super::error::Result;
use super::layout::{LockBitstream, Plain};
use super::library::Structure;
use super::picture::PictureKind;
use super::session::{call, status};
use super::shared::{Job, Shared};
use super::values::{ERR_ENCODER_BUSY, ERR_LOCK_BUSY};
use crate::cuda::Current;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Takes coded pictures out, in the order of the stream. `Send`; used by one thread at a time, which may be another than
/// the submitter's.
pub struct Retriever {
    shared: Arc<Shared>,
    lock: Box<LockBitstream>,
}

// SAFETY: the struct's pointers are the driver's, and are followed only while `Coded` borrows the retriever.
unsafe impl Send for Retriever {}

/// What [`Retriever::next`] found.
#[derive(Debug)]
pub enum Next<'a> {
    /// A coded picture.
    Coded(Coded<'a>),
    /// None yet.
    Later,
    /// None is left: the stream was ended, or the submitter is gone.
    End,
}

/// A coded picture, in the encoder's own memory. Dropping it gives the output back. It stays in the thread that has it.
pub struct Coded<'a> {
    shared: &'a Shared,
    /// The output is given back in it.
    _current: Current<'a>,
    job: Job,
    lock: &'a LockBitstream,
    number: Option<u64>,
    /// Presentation time as it was submitted.
    pub pts: i64,
    /// Length as it was submitted.
    pub duration: u64,
    /// What was submitted with it.
    pub tag: u64,
    /// How it was coded.
    pub kind: PictureKind,
    /// The quantiser on average.
    pub average_qp: u32,
    /// How long the device had it: from mark to mark in the streams that the encoder follows, divided among the pictures
    /// that were coded at once. It counts what else the device did in between; `None` where the device does not say.
    pub gpu_time: Option<Duration>,
    /// Where it is in the order of display, as the encoder counts.
    pub display_index: u32,
    /// Its temporal layer.
    pub temporal_id: u32,
}

impl Retriever {
    pub(super) fn new(shared: Arc<Shared>) -> Retriever {
        Retriever { shared, lock: Box::new(LockBitstream::zeroed()) }
    }

    /// The next coded picture. Waits for `timeout` at most until there is one; the encoder itself may then still take as
    /// long as a picture takes.
    ///
    /// # Errors
    /// `Lost` and what else the driver says; also the submitter's failure, once all that was coded before it is out.
    pub fn next(&mut self, timeout: Duration) -> Result<Next<'_>> {
        // Most pictures are there, and the clock is asked for nothing.
        let mut deadline = None;
        let mut left = || {
            let now = Instant::now();
            deadline.get_or_insert(now + timeout).saturating_duration_since(now)
        };
        let Some(job) = self.wait(&mut left)? else { return Ok(Next::Later) };
        let Some(job) = job else { return Ok(Next::End) };
        let current = self.shared.encoder.context().enter()?;
        loop {
            *self.lock = LockBitstream::zeroed();
            self.lock.version = self.shared.encoder.api().of(Structure::LockBitstream);
            self.lock.outputBitstream = job.output.0;
            match status!(self.shared.encoder, nvEncLockBitstream(&mut *self.lock))? {
                0 => return Ok(Next::Coded(coded(&self.shared, current, &self.lock, job))),
                // Some drivers say so instead of waiting.
                ERR_ENCODER_BUSY | ERR_LOCK_BUSY => {
                    if left().is_zero() {
                        self.shared.state().ready.push_front(job);
                        return Ok(Next::Later);
                    }
                    std::thread::sleep(Duration::from_micros(200));
                }
                code => {
                    let e = self.shared.encoder.error(code, "read a coded picture");
                    self.shared.state().ready.push_front(job);
                    self.shared.fail(&e);
                    return Err(e);
                }
            }
        }
    }

    /// `None` for later, `Some(None)` for the end.
    #[allow(clippy::option_option)]
    fn wait(&self, left: &mut dyn FnMut() -> Duration) -> Result<Option<Option<Job>>> {
        let mut state = self.shared.state();
        loop {
            if let Some(job) = state.ready.pop_front() {
                return Ok(Some(Some(job)));
            }
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            if state.closed || (state.ended && state.waiting.is_empty()) {
                return Ok(Some(None));
            }
            let left = left();
            if left.is_zero() {
                return Ok(None);
            }
            state.retriever_waits = true;
            let woken = self.shared.wake_retriever.wait_timeout(state, left);
            state = woken.unwrap_or_else(|e| e.into_inner()).0;
            state.retriever_waits = false;
        }
    }

    /// Pictures that are submitted and not retrieved.
    pub fn pending(&self) -> usize {
        let state = self.shared.state();
        state.ready.len() + state.waiting.len()
    }
}

/// What was locked.
fn coded<'a>(shared: &'a Shared, current: Current<'a>, lock: &'a LockBitstream, job: Job) -> Coded<'a> {
    let number = lock.outputTimeStamp;
    let meta = {
        let mut state = shared.state();
        let at = state.pictures.iter().position(|m| m.number == number);
        at.and_then(|at| state.pictures.remove(at))
    };
    Coded {
        shared,
        _current: current,
        job,
        number: meta.map(|m| m.number),
        pts: meta.map_or(0, |m| m.pts),
        duration: meta.map_or(0, |m| m.duration),
        tag: meta.map_or(0, |m| m.tag),
        kind: PictureKind::of(lock.pictureType),
        average_qp: lock.frameAvgQP,
        gpu_time: shared.time(job.share),
        display_index: lock.frameIdxDisplay,
        temporal_id: lock.temporalId,
        lock,
    }
}

impl std::fmt::Debug for Retriever {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Retriever({} pending)", self.pending())
    }
}

impl Coded<'_> {
    /// The stream's bytes: NAL units with start codes, or the OBUs of a temporal unit.
    pub fn bytes(&self) -> &[u8] {
        let start = self.lock.bitstreamBufferPtr.cast_const().cast::<u8>();
        if start.is_null() || self.lock.bitstreamSizeInBytes == 0 {
            return &[];
        }
        // SAFETY: the driver's promise, until the output is unlocked in drop.
        unsafe { std::slice::from_raw_parts(start, self.lock.bitstreamSizeInBytes as usize) }
    }

    /// Whether the driver gave back a time that was never submitted, so that [`Coded::pts`] is not known.
    pub fn is_stray(&self) -> bool {
        self.number.is_none()
    }
}

impl Drop for Coded<'_> {
    fn drop(&mut self) {
        match call!(self.shared.encoder, nvEncUnlockBitstream(self.job.output.0), "give an output back") {
            Ok(()) => self.shared.retired(self.job, self.number),
            Err(e) => self.shared.fail(&e),
        }
    }
}

impl std::fmt::Debug for Coded<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coded")
            .field("kind", &self.kind)
            .field("pts", &self.pts)
            .field("bytes", &self.lock.bitstreamSizeInBytes)
            .finish()
    }
}
