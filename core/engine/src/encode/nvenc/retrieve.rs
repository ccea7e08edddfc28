//! The thread that takes coded pictures out of the encoder while the next ones go in.

use crate::error::{Error, ErrorKind, Result};
use bytes::{Bytes, BytesMut};
use ghoststream_sys::nvenc::{Next, PictureKind, Retriever};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long one look for the next picture may take before the thread looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);
/// How long a closed encoder is waited for; a driver that never answers keeps its thread.
const CLOSING: Duration = Duration::from_secs(5);
/// Coded pictures are cut from pieces of memory of this size, so that few allocations are made.
const PIECE: usize = 1 << 20;

/// Called when there is something to take.
pub(super) type Wake = Arc<dyn Fn() + Send + Sync>;

/// A coded picture.
#[derive(Debug)]
pub(super) struct Coded {
    pub data: Bytes,
    pub pts: i64,
    pub kind: PictureKind,
    /// The quantiser on average.
    pub qp: u32,
    /// How long the device had it, where it says.
    pub gpu_time: Option<Duration>,
    /// The driver gave back a time that it was never given.
    pub stray: bool,
}

#[derive(Default)]
struct State {
    coded: VecDeque<Coded>,
    failure: Option<Error>,
    /// The stream was ended: what is inside is the last.
    ending: bool,
    /// Something was put in since the thread last found nothing inside.
    nudged: bool,
    /// Nobody wants more.
    closing: bool,
    over: bool,
    wake: Option<Wake>,
    /// Somebody sleeps until something has come out: waking nobody costs a call of the system's.
    awaited: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread and what it has taken out.
pub(super) struct Retrieval {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Retrieval {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Memory`] when the system gives no thread.
    pub fn start(retriever: Retriever, wake: Option<Wake>) -> Result<Retrieval> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { wake, ..State::default() }),
            changed: Condvar::new(),
        });
        let theirs = shared.clone();
        let thread = std::thread::Builder::new()
            .name("gs-nvenc".into())
            .spawn(move || run(&theirs, retriever))
            .map_err(|e| Error::with_source(ErrorKind::Memory, format!("cannot start a thread: {e}"), e))?;
        Ok(Retrieval { shared, thread: Some(thread) })
    }

    /// Who is told that there is something.
    pub fn set_wake(&self, wake: Wake) {
        self.shared.state().wake = Some(wake);
    }

    /// Something was put in: the thread may have gone to sleep for want of it.
    pub fn nudge(&self) {
        let mut state = self.shared.state();
        if !state.nudged {
            state.nudged = true;
            self.shared.changed.notify_all();
        }
    }

    /// What has come out, oldest first, then the failure that ended it.
    pub fn take(&self, into: &mut VecDeque<Coded>) -> Option<Error> {
        let mut state = self.shared.state();
        into.append(&mut state.coded);
        state.failure.clone()
    }

    /// Waits until something is there to take, at most `timeout`. Whether anything still can be.
    pub fn wait(&self, timeout: Duration) -> bool {
        let mut state = self.shared.state();
        state.awaited = true;
        let idle = |s: &mut State| s.coded.is_empty() && s.failure.is_none() && !s.over;
        let (mut state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, timeout, idle)
            .unwrap_or_else(PoisonError::into_inner);
        state.awaited = false;
        !state.over || !state.coded.is_empty()
    }

    /// The stream was ended.
    pub fn end(&self) {
        self.shared.state().ending = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for Retrieval {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closing = true;
        state.wake = None;
        self.shared.changed.notify_all();
        let (state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, CLOSING, |s| !s.over)
            .unwrap_or_else(PoisonError::into_inner);
        let over = state.over;
        drop(state);
        match self.thread.take() {
            Some(thread) if over => {
                // A panic of the thread was told as a failure.
                let _ = thread.join();
            }
            _ => tracing::error!("the NVENC driver does not give a picture back; its session stays open"),
        }
    }
}

/// Says that the thread is over, however it ends.
struct Over<'a>(&'a Shared);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.over = true;
        if std::thread::panicking() {
            let why = Error::new(ErrorKind::Internal, "the thread that reads from NVENC panicked");
            state.failure.get_or_insert(why);
        }
        let wake = state.wake.clone();
        drop(state);
        self.0.changed.notify_all();
        if let Some(wake) = wake {
            wake();
        }
    }
}

fn run(shared: &Shared, mut retriever: Retriever) {
    let over = Over(shared);
    let mut memory = BytesMut::new();
    loop {
        let found = match retriever.next(LOOK) {
            Ok(Next::Coded(coded)) => {
                let bytes = coded.bytes();
                if memory.capacity() < bytes.len() {
                    memory.reserve(bytes.len().max(PIECE));
                }
                memory.extend_from_slice(bytes);
                Some(Coded {
                    data: memory.split().freeze(),
                    pts: coded.pts,
                    kind: coded.kind,
                    qp: coded.average_qp,
                    gpu_time: coded.gpu_time,
                    stray: coded.is_stray(),
                })
            }
            Ok(Next::Later) => None,
            Ok(Next::End) => {
                let mut state = shared.state();
                if std::mem::take(&mut state.nudged) {
                    continue;
                }
                if state.ending || state.closing {
                    break;
                }
                // Nothing is inside; something may be put in.
                drop(shared.changed.wait_timeout(state, LOOK));
                continue;
            }
            Err(e) => {
                shared.state().failure.get_or_insert(super::failed(e));
                break;
            }
        };
        let (wake, awaited) = {
            let mut state = shared.state();
            if state.closing {
                break;
            }
            let some = found.is_some();
            state.coded.extend(found);
            (state.wake.clone().filter(|_| some), state.awaited)
        };
        if awaited {
            shared.changed.notify_all();
        }
        if let Some(wake) = wake {
            wake();
        }
    }
    // The session's other half is told before this one is said to be over.
    drop(retriever);
    drop(over);
}
