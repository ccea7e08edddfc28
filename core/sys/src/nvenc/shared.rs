//! What the two halves of an encoder share: its buffers, and which of them are where.

use super::error::{Error, Kind, Result};
use super::layout::{CreateBitstream, LockBitstream, PicParams, Plain};
use super::library::Structure;
use super::session::{Encoder, call};
use super::values::PIC_FLAG_EOS;
use crate::cuda::{Event, Stream};
use crate::ffmpeg::{Frame, HwFrames};
use cudarc::driver::sys::CUstream;
use std::collections::VecDeque;
use std::ffi::c_void;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// A handle of the driver's, which only the driver follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle(pub *mut c_void);

// SAFETY: an opaque number to this crate.
unsafe impl Send for Handle {}

/// A picture that was given to the encoder, with the output that was given with it.
#[derive(Clone, Copy)]
pub(super) struct Job {
    pub output: Handle,
    pub number: u64,
    /// Its part of the device's time.
    pub share: Option<Share>,
}

/// Pictures that one call had coded share the time between two marks.
#[derive(Clone, Copy)]
pub(super) struct Share {
    slot: usize,
    pictures: u32,
}

impl Share {
    pub fn of(slot: Option<usize>, pictures: usize) -> Option<Share> {
        Some(Share { slot: slot?, pictures: u32::try_from(pictures).ok().filter(|n| *n > 0)? })
    }
}

/// Marks in the encoder's streams, in front of what a call queued and behind it.
struct Marks {
    begin: Event,
    end: Event,
}

/// What comes back with the coded picture.
#[derive(Clone, Copy)]
pub(super) struct Meta {
    pub number: u64,
    pub pts: i64,
    pub duration: u64,
    pub tag: u64,
}

/// A frame that is the encoder's alone, or also somebody else's.
pub(super) enum Pixels {
    Own(Frame),
    Shared(Arc<Frame>),
}

impl Deref for Pixels {
    type Target = Frame;

    fn deref(&self) -> &Frame {
        match self {
            Pixels::Own(frame) => frame,
            Pixels::Shared(frame) => frame,
        }
    }
}

/// Memory that the encoder may still read.
pub(super) enum Holding {
    /// A mapped registration, and the frame over its memory. It keeps the pixels from being written again.
    Frame {
        mapped: Handle,
        registered: Handle,
        #[allow(dead_code)]
        frame: Pixels,
    },
    /// One of the encoder's own buffers.
    Buffer(Handle),
}

/// An input in use. The encoder gives outputs back in coded order: an input is free when its own picture has come out
/// and the output that was submitted with it was read, so that either way of counting finds it unused.
pub(super) struct Held {
    pub number: u64,
    pub holding: Holding,
    pub output_read: bool,
    pub coded: bool,
}

#[derive(Default)]
pub(super) struct State {
    pub free_outputs: Vec<Handle>,
    /// Given, but the encoder wants more input before it codes.
    pub waiting: VecDeque<Job>,
    /// Coded or being coded.
    pub ready: VecDeque<Job>,
    pub held: Vec<Held>,
    /// Inputs to unmap or use again, by the submitting thread.
    pub finished: Vec<Holding>,
    pub free_buffers: Vec<Handle>,
    pub pictures: VecDeque<Meta>,
    /// A picture was given since the last end of stream.
    pub open: bool,
    /// The submitter said that no further picture comes.
    pub ended: bool,
    /// The submitter is gone.
    pub closed: bool,
    pub failed: Option<Error>,
    /// The retriever sleeps: nothing is ready.
    pub retriever_waits: bool,
    /// The submitter sleeps: no output is free.
    pub submitter_waits: bool,
}

/// Address, pitch, width, rows and format of device memory.
pub(super) type Key = (u64, usize, u32, u32, u32);

/// Device memory that the encoder was told of.
pub(super) struct Registration {
    pub key: Key,
    pub registered: Handle,
    pub uses: u32,
    pub last: u64,
    /// The pool owns the memory; `None` for memory of other libraries, which is forgotten after each use.
    pub pool: Option<HwFrames>,
}

pub(super) struct Shared {
    pub encoder: Encoder,
    pub state: Mutex<State>,
    /// Something is ready, or nothing more will be.
    pub wake_retriever: Condvar,
    /// An output is free.
    pub wake_submitter: Condvar,
    pub registrations: Mutex<Vec<Registration>>,
    /// All of the encoder's own buffers.
    pub outputs: Vec<Handle>,
    /// Outputs that are free before a submitter that had none is woken: with one it would go to sleep again behind each
    /// picture. The encoder has work meanwhile; where nothing is ready any more, one is enough.
    at_once: usize,
    pub buffers: Mutex<Vec<Handle>>,
    /// The streams that the encoder was given, and where it reads their handles.
    pub streams: Mutex<Option<Streams>>,
    /// The stream that it follows when it was given none.
    default: Arc<Stream>,
    /// One for each output, which is not given again before all that were coded with it are read; then one for the end of
    /// the stream.
    marks: Vec<Marks>,
}

pub(super) struct Streams {
    pub handles: Box<[CUstream; 2]>,
    /// Of input and output.
    pub owners: [Arc<Stream>; 2],
}

// SAFETY: handles that only the driver follows.
unsafe impl Send for Streams {}

// SAFETY: handles are numbers to this crate, and everything else is behind locks.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

impl Shared {
    /// `held`: outputs of pictures that the encoder looks ahead over.
    pub fn new(encoder: Encoder, outputs: u32, held: u32) -> Result<Shared> {
        let mut shared = Shared {
            state: Mutex::new(State::default()),
            wake_retriever: Condvar::new(),
            wake_submitter: Condvar::new(),
            registrations: Mutex::new(Vec::new()),
            outputs: Vec::with_capacity(outputs as usize),
            at_once: (outputs.saturating_sub(held) as usize).div_ceil(2),
            buffers: Mutex::new(Vec::new()),
            streams: Mutex::new(None),
            default: Stream::default_of(encoder.context()),
            marks: Vec::with_capacity(outputs as usize + 1),
            encoder,
        };
        let context = shared.encoder.context().clone();
        let _current = context.enter()?;
        for _ in 0..outputs {
            let mut create = CreateBitstream::zeroed();
            create.version = shared.encoder.api().of(Structure::CreateBitstream);
            call!(shared.encoder, nvEncCreateBitstreamBuffer(&mut create), "make an output buffer")?;
            shared.outputs.push(Handle(create.bitstreamBuffer));
        }
        for _ in 0..=outputs {
            shared.marks.push(Marks { begin: Event::timed(&context)?, end: Event::timed(&context)? });
        }
        shared.state().free_outputs = shared.outputs.clone();
        Ok(shared)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Tells the encoder that no further picture comes for now; what waits is coded.
    pub fn end_of_stream(&self) -> Result<()> {
        let _current = self.encoder.context().enter()?;
        let mut params = PicParams::zeroed();
        params.version = self.encoder.api().of(Structure::PicParams);
        params.encodePicFlags = PIC_FLAG_EOS;
        // Of the last end's pictures, those that are not read yet lose their marks.
        let ends = self.outputs.len();
        for job in self.state().ready.iter_mut() {
            job.share = job.share.filter(|share| share.slot != ends);
        }
        let slot = Some(ends).filter(|slot| self.begin(Some(*slot)));
        call!(self.encoder, nvEncEncodePicture(&mut params), "end the stream")?;
        let slot = slot.filter(|slot| self.end(Some(*slot)));
        let mut state = self.state();
        let state = &mut *state;
        let share = Share::of(slot, state.waiting.len());
        state.ready.extend(state.waiting.drain(..).map(|job| Job { share, ..job }));
        state.open = false;
        self.wake_retriever(state);
        Ok(())
    }

    /// Wakes the retriever, if it sleeps: waking nobody is a call of the system's too, for each picture.
    pub fn wake_retriever(&self, state: &mut State) {
        if std::mem::take(&mut state.retriever_waits) {
            self.wake_retriever.notify_all();
        }
    }

    /// Which marks go with `output`.
    pub fn slot(&self, output: Handle) -> Option<usize> {
        self.outputs.iter().position(|o| *o == output)
    }

    /// Marks the input's stream; what is queued now comes behind it. Whether that worked. The context must be current.
    pub fn begin(&self, slot: Option<usize>) -> bool {
        self.mark(slot, 0, |marks| &marks.begin)
    }

    /// Marks the output's stream, behind what was queued.
    pub fn end(&self, slot: Option<usize>) -> bool {
        self.mark(slot, 1, |marks| &marks.end)
    }

    fn mark(&self, slot: Option<usize>, side: usize, which: impl Fn(&Marks) -> &Event) -> bool {
        let Some(marks) = slot.and_then(|slot| self.marks.get(slot)) else { return false };
        let streams = lock(&self.streams);
        let stream = streams.as_ref().map_or(&self.default, |streams| &streams.owners[side]);
        which(marks).record_here(stream).is_ok()
    }

    /// How long the device had a picture; `None` where it does not say. The context must be current.
    pub fn time(&self, share: Option<Share>) -> Option<Duration> {
        let share = share?;
        let marks = self.marks.get(share.slot)?;
        // Where the end is not reached although the picture is there, the marks say nothing of it.
        let milliseconds = marks.end.elapsed_here(&marks.begin)?;
        Duration::try_from_secs_f32(milliseconds / 1e3).ok().map(|time| time / share.pictures)
    }

    /// Unmaps a registration; forgets those of foreign memory.
    pub fn release(&self, holding: Holding) {
        match holding {
            Holding::Buffer(buffer) => self.state().free_buffers.push(buffer),
            Holding::Frame { mapped, registered, frame } => {
                let _ = call!(self.encoder, nvEncUnmapInputResource(mapped.0), "unmap a surface");
                let mut registrations = lock(&self.registrations);
                if let Some(at) = registrations.iter().position(|r| r.registered == registered) {
                    registrations[at].uses -= 1;
                    if registrations[at].pool.is_none() && registrations[at].uses == 0 {
                        registrations.swap_remove(at);
                        self.unregister(registered);
                    }
                }
                drop(frame);
            }
        }
    }

    pub fn unregister(&self, registered: Handle) {
        let _ = call!(self.encoder, nvEncUnregisterResource(registered.0), "unregister a surface");
    }

    /// Notes that output `job` was read and held the picture `coded`.
    pub fn retired(&self, job: Job, coded: Option<u64>) {
        let mut guard = self.state();
        let state = &mut *guard;
        state.free_outputs.push(job.output);
        let mut at = 0;
        while let Some(held) = state.held.get_mut(at) {
            held.output_read |= held.number == job.number;
            held.coded |= Some(held.number) == coded;
            if held.output_read && held.coded {
                let held = state.held.remove(at);
                state.finished.push(held.holding);
            } else {
                at += 1;
            }
        }
        if state.ready.is_empty()
            && state.waiting.is_empty()
            && state.free_outputs.len() == self.outputs.len()
        {
            // Everything came out: nothing can still be read, whatever the driver said of times.
            state.finished.extend(state.held.drain(..).map(|h| h.holding));
        }
        let enough = state.free_outputs.len() >= self.at_once || state.ready.is_empty();
        let wake = enough && std::mem::take(&mut state.submitter_waits);
        drop(guard);
        // Whoever wakes wants the state.
        if wake {
            self.wake_submitter.notify_all();
        }
    }

    /// The first failure stays, for the other half.
    pub fn fail(&self, error: &Error) {
        let mut state = self.state();
        state.failed.get_or_insert_with(|| error.clone());
        self.wake_retriever(&mut state);
        if std::mem::take(&mut state.submitter_waits) {
            self.wake_submitter.notify_all();
        }
    }

    /// Reads what is still in work, so that its inputs may be unmapped.
    fn drain(&self) {
        let (broken, open) = {
            let state = self.state();
            (state.failed.as_ref().is_some_and(|e| e.kind() == Kind::Lost), state.open)
        };
        // On a lost device a lock may never return.
        if broken {
            return;
        }
        if open {
            // Where it fails, what waits is never coded; what is coded already is read all the same.
            let _ = self.end_of_stream();
        }
        while let Some(job) = { self.state().ready.pop_front() } {
            let mut lock = LockBitstream::zeroed();
            lock.version = self.encoder.api().of(Structure::LockBitstream);
            lock.outputBitstream = job.output.0;
            if call!(self.encoder, nvEncLockBitstream(&mut lock), "read an output").is_err() {
                return;
            }
            let _ = call!(self.encoder, nvEncUnlockBitstream(job.output.0), "give an output back");
        }
    }
}

impl Drop for Shared {
    /// The order that the interface wants: flush, unmap, unregister, buffers; the session follows.
    fn drop(&mut self) {
        let context = self.encoder.context().clone();
        let Ok(_current) = context.enter() else { return };
        self.drain();
        let holdings: Vec<Holding> = {
            let mut state = self.state();
            let state = &mut *state;
            state.held.drain(..).map(|h| h.holding).chain(state.finished.drain(..)).collect()
        };
        for holding in holdings {
            self.release(holding);
        }
        let registrations = std::mem::take(&mut *lock(&self.registrations));
        for registration in &registrations {
            self.unregister(registration.registered);
        }
        for buffer in std::mem::take(&mut *lock(&self.buffers)) {
            let _ = call!(self.encoder, nvEncDestroyInputBuffer(buffer.0), "destroy an input buffer");
        }
        for output in std::mem::take(&mut self.outputs) {
            let _ = call!(self.encoder, nvEncDestroyBitstreamBuffer(output.0), "destroy an output buffer");
        }
    }
}

/// Whatever a panicking thread left is still whole: each change is one assignment.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
