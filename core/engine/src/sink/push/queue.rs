//! The queue between an output's thread and the thread that sends: what is too much is dropped (live), or the sender of
//! packets waits (files).

use super::buffer::{Buffer, Item, Limits};
use crate::error::{Error, Result};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What waits now, and what went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waiting {
    pub packets: usize,
    pub bytes: usize,
    pub time: Duration,
    /// Pictures dropped so far.
    pub dropped: u64,
    /// Packets that went in.
    pub passed: u64,
    /// The most that waited.
    pub peak: usize,
}

/// What is next to be sent.
pub(super) enum Next {
    Packet(Box<Item>),
    /// Nothing came in time.
    Nothing,
    /// All is sent, and there will be no more.
    End,
    /// It was closed.
    Closed,
}

struct State {
    buffer: Buffer,
    ended: bool,
    closed: bool,
    failed: Option<Error>,
    passed: u64,
    peak: usize,
}

/// Bounded by time and by bytes.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    limits: Limits,
    /// Drops rather than waits.
    live: bool,
}

impl Queue {
    pub fn new(has_video: bool, limits: Limits, live: bool) -> Queue {
        let state = State {
            buffer: Buffer::new(has_video),
            ended: false,
            closed: false,
            failed: None,
            passed: 0,
            peak: 0,
        };
        Queue { state: Mutex::new(state), changed: Condvar::new(), limits, live }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a packet. `true` when pictures go on only with a key frame, which should be made.
    ///
    /// # Errors
    /// What the sending side failed with; `Cancelled` when it was closed.
    pub fn push(&self, item: Item) -> Result<bool> {
        let mut state = self.lock();
        while !self.live && !state.closed && state.failed.is_none() && state.buffer.is_over(self.limits) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(e) = &state.failed {
            return Err(e.clone());
        }
        if state.closed {
            return Err(Error::cancelled());
        }
        state.buffer.push(item);
        state.passed += 1;
        let wanted = self.live && state.buffer.trim(self.limits);
        state.peak = state.peak.max(state.buffer.len());
        drop(state);
        self.changed.notify_all();
        Ok(wanted)
    }

    /// The next packet, waiting at most `timeout`.
    pub fn next(&self, timeout: Duration) -> Next {
        let mut state = self.lock();
        if state.buffer.is_empty() && !state.ended && !state.closed {
            state = self.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.closed {
            return Next::Closed;
        }
        match state.buffer.pop() {
            Some(item) => {
                drop(state);
                self.changed.notify_all();
                Next::Packet(Box::new(item))
            }
            None if state.ended => Next::End,
            None => Next::Nothing,
        }
    }

    /// Waits for `time`, or until it is closed. `true` when it was closed.
    pub fn pause(&self, time: Duration) -> bool {
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, time, |s| !s.closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    /// A connection begins: what cannot be decoded from here is dropped. `again` = it is not the first. `true` when a
    /// key frame is wanted.
    pub fn begin(&self, again: bool) -> bool {
        let wanted = self.lock().buffer.begin(again && self.live);
        self.changed.notify_all();
        wanted
    }

    /// There will be no more packets.
    pub fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Whether there will be no more packets.
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Ends waiting on both sides.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// The sending side has failed for good.
    pub fn fail(&self, e: Error) {
        self.lock().failed.get_or_insert(e);
        self.changed.notify_all();
    }

    pub fn waiting(&self) -> Waiting {
        let state = self.lock();
        Waiting {
            packets: state.buffer.len(),
            bytes: state.buffer.bytes(),
            time: Duration::from_micros(state.buffer.span().max(0) as u64),
            dropped: state.buffer.dropped,
            passed: state.passed,
            peak: state.peak,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::packet::Packet;
    use crate::time::MICROSECONDS;
    use bytes::Bytes;
    use std::sync::Arc;

    fn item(at: i64, key: bool) -> Item {
        let packet = Packet { key, ..Packet::new(Bytes::from_static(b"x"), at, 1, MICROSECONDS) };
        Item::new(0, packet, true, false)
    }

    const LIMITS: Limits = Limits { time: 1000, bytes: 1000 };

    #[test]
    fn a_file_waits_for_the_network_and_a_live_source_does_not() {
        let queue = Arc::new(Queue::new(true, LIMITS, false));
        let sender = {
            let queue = queue.clone();
            std::thread::spawn(move || {
                (0..100).for_each(|i| assert!(!queue.push(item(i * 100, i % 10 == 0)).unwrap()));
                queue.end();
            })
        };
        let mut got = 0;
        loop {
            match queue.next(Duration::from_secs(5)) {
                Next::Packet(p) => {
                    assert_eq!(p.time, got * 100);
                    got += 1;
                }
                Next::End => break,
                Next::Nothing | Next::Closed => panic!("it stalled"),
            }
        }
        sender.join().unwrap();
        assert_eq!((got, queue.waiting().dropped), (100, 0));

        let live = Queue::new(true, LIMITS, true);
        let wanted = (0..100).filter(|i| live.push(item(i * 100, *i == 0)).unwrap()).count();
        assert!(wanted == 1 && live.waiting().dropped == 100);
    }

    #[test]
    fn closing_and_failing_reach_whoever_waits() {
        let queue = Arc::new(Queue::new(true, LIMITS, false));
        let full = queue.clone();
        let blocked = std::thread::spawn(move || (0..).find_map(|i| full.push(item(i * 100, true)).err()));
        std::thread::sleep(Duration::from_millis(30));
        queue.fail(Error::new(ErrorKind::Io, "gone"));
        assert_eq!(blocked.join().unwrap().unwrap().kind(), ErrorKind::Io);
        let waiting = queue.clone();
        let paused = std::thread::spawn(move || waiting.pause(Duration::from_secs(60)));
        queue.close();
        assert!(paused.join().unwrap() && matches!(queue.next(Duration::ZERO), Next::Closed));
    }
}
