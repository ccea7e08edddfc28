//! What waits for the store: bounded, and what is too much is lost from its old end.

use crate::live::origin::Copied;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    some: Notify,
    /// The most bytes.
    bytes: u64,
    /// The most time between the oldest and the newest, in microseconds.
    length: i64,
}

#[derive(Debug, Default)]
struct Waiting {
    segments: VecDeque<Copied>,
    over: bool,
    lost: u64,
}

/// What a queue gives.
#[derive(Debug)]
pub(super) enum Taken {
    /// All that there is of one number: a segment of each rendition.
    Segments(Vec<Copied>),
    /// Nothing has come in time.
    Nothing,
    /// Nothing comes any more.
    Over,
}

impl Queue {
    pub fn new(bytes: u64, length: i64) -> Queue {
        Queue { waiting: Mutex::default(), some: Notify::new(), bytes, length }
    }

    /// Puts segments at its end. Gives how many were lost for it.
    pub fn push(&self, segments: Vec<Copied>) -> u64 {
        let mut waiting = self.lock();
        waiting.segments.extend(segments);
        let lost = self.trim(&mut waiting);
        self.some.notify_one();
        lost
    }

    /// Puts segments that were taken at its front again. Gives how many were lost for it.
    pub fn give_back(&self, segments: Vec<Copied>) -> u64 {
        let mut waiting = self.lock();
        for segment in segments.into_iter().rev() {
            waiting.segments.push_front(segment);
        }
        self.trim(&mut waiting)
    }

    /// Says that nothing comes any more.
    pub fn end(&self) {
        self.lock().over = true;
        self.some.notify_one();
    }

    /// Takes the oldest number; waits for one for as long as `patience`.
    pub async fn take(&self, patience: Duration) -> Taken {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            {
                let mut waiting = self.lock();
                if let Some(first) = waiting.segments.front().map(Copied::sequence) {
                    let count = waiting.segments.iter().take_while(|s| s.sequence() == first).count();
                    return Taken::Segments(waiting.segments.drain(..count).collect());
                }
                if waiting.over {
                    return Taken::Over;
                }
            }
            if tokio::time::timeout_at(deadline, self.some.notified()).await.is_err() {
                return Taken::Nothing;
            }
        }
    }

    /// Segments and bytes that wait, and segments that were lost so far.
    pub fn state(&self) -> (usize, u64, u64) {
        let waiting = self.lock();
        let there = waiting.segments.iter().filter(|s| !s.is_gap());
        (there.clone().count(), there.map(Copied::size).sum(), waiting.lost)
    }

    fn trim(&self, waiting: &mut Waiting) -> u64 {
        let mut bytes: u64 = waiting.segments.iter().map(Copied::size).sum();
        let newest = waiting.segments.iter().map(Copied::start).max().unwrap_or(0);
        let mut lost = 0;
        for segment in &mut waiting.segments {
            let old = newest - segment.start() > self.length;
            if !old && bytes <= self.bytes {
                break;
            }
            if !segment.is_gap() {
                bytes -= segment.size();
                segment.lose();
                lost += 1;
            }
        }
        // Of what no playlist will tell any more, not even the gaps are kept.
        while waiting.segments.front().is_some_and(|s| s.is_gap() && newest - s.start() > self.length) {
            waiting.segments.pop_front();
        }
        waiting.lost += lost;
        lost
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
