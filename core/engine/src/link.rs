//! A bounded queue between two threads. It waits when full (files) or drops the oldest and counts (live).
//!
//! Any number of senders, one receiver. A link ends when all senders are gone (the receiver drains what is left) and
//! breaks when either side closes it: waiting calls on both sides return at once, which is how a job is cancelled.

use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a full link does with one more item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The sender waits: nothing is lost.
    Wait,
    /// The oldest item goes, and is counted.
    DropOldest,
}

/// What a link has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LinkStats {
    /// Items waiting now.
    pub depth: usize,
    /// The most that ever waited.
    pub peak: usize,
    /// Items it can hold.
    pub capacity: usize,
    /// Items that went in.
    pub passed: u64,
    /// Items dropped because it was full.
    pub dropped: u64,
}

/// Why an item could not be sent: the receiver is gone or the link was closed. Gives the item back.
#[derive(Debug)]
pub struct Closed<T>(pub T);

/// Outcome of waiting for an item.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// An item.
    Item(T),
    /// All senders are gone and the link is drained.
    End,
    /// Nothing came in time.
    Timeout,
    /// The link was closed.
    Closed,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    readable: Condvar,
    writable: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    /// Items that the receiver is done with, for a sender to drop.
    spent: Vec<T>,
    overflow: Overflow,
    senders: usize,
    closed: bool,
    /// The receiver is to look up from an empty queue.
    poked: bool,
    /// Somebody sleeps and has not been woken yet: nobody pays the system call of a wake-up that wakes no one.
    reader_sleeps: bool,
    writers_sleep: bool,
    stats: LinkStats,
}

impl<T> State<T> {
    /// Whether the sleeping senders are to be woken now: at half full rather than at the first gap, so that two threads
    /// of unequal speed do not switch for every item.
    fn wakes_writers(&mut self) -> bool {
        self.items.len() <= self.stats.capacity / 2 && std::mem::take(&mut self.writers_sleep)
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A panic elsewhere must not hide the queue from the thread that cleans up.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let dropped = {
            let mut state = self.lock();
            state.closed = true;
            (std::mem::take(&mut state.items), std::mem::take(&mut state.spent))
        };
        drop(dropped);
        self.readable.notify_all();
        self.writable.notify_all();
    }
}

/// What is left until `deadline`; `None` = there is none.
fn remaining(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|d| d.saturating_duration_since(Instant::now()))
}

fn wait<'a, T>(on: &Condvar, state: MutexGuard<'a, T>, left: Option<Duration>) -> MutexGuard<'a, T> {
    match left {
        None => on.wait(state).unwrap_or_else(PoisonError::into_inner),
        Some(left) => on.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
    }
}

/// The sending end.
pub struct Sender<T>(Arc<Shared<T>>);

/// The receiving end.
pub struct Receiver<T>(Arc<Shared<T>>);

/// Watches and closes a link from outside (statistics, cancellation) without keeping it open.
pub struct Monitor<T>(Arc<Shared<T>>);

/// A new link for `capacity` items (at least 1).
pub fn link<T>(capacity: usize, overflow: Overflow) -> (Sender<T>, Receiver<T>) {
    let capacity = capacity.max(1);
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            items: VecDeque::with_capacity(capacity.min(1024)),
            spent: Vec::new(),
            overflow,
            senders: 1,
            closed: false,
            poked: false,
            reader_sleeps: false,
            writers_sleep: false,
            stats: LinkStats { capacity, ..LinkStats::default() },
        }),
        readable: Condvar::new(),
        writable: Condvar::new(),
    });
    (Sender(shared.clone()), Receiver(shared))
}

impl<T> Sender<T> {
    /// Puts `item` in, waiting or dropping as the link was made.
    ///
    /// # Errors
    /// [`Closed`] with the item when nobody will ever take it.
    pub fn send(&self, item: T) -> Result<(), Closed<T>> {
        self.send_deadline(item, None)
    }

    /// As [`Sender::send`], waiting at most `timeout` (`None` = without limit).
    ///
    /// # Errors
    /// [`Closed`] with the item when the link is closed, or when there was no room in time; [`Sender::is_closed`] tells
    /// which.
    pub fn send_deadline(&self, item: T, timeout: Option<Duration>) -> Result<(), Closed<T>> {
        // A time beyond what the clock can say is no limit.
        let deadline = timeout.and_then(|t| Instant::now().checked_add(t));
        let mut state = self.0.lock();
        let mut oldest = None;
        while !state.closed && state.items.len() >= state.stats.capacity {
            match state.overflow {
                Overflow::DropOldest => {
                    oldest = state.items.pop_front();
                    state.stats.dropped += 1;
                }
                Overflow::Wait => {
                    let left = remaining(deadline);
                    if left.is_some_and(|left| left.is_zero()) {
                        return Err(Closed(item));
                    }
                    state.writers_sleep = true;
                    state = wait(&self.0.writable, state, left);
                }
            }
        }
        if state.closed {
            return Err(Closed(item));
        }
        self.put(state, item);
        drop(oldest);
        Ok(())
    }

    fn put(&self, mut state: MutexGuard<'_, State<T>>, item: T) {
        state.items.push_back(item);
        state.stats.passed += 1;
        state.stats.peak = state.stats.peak.max(state.items.len());
        let wake = std::mem::take(&mut state.reader_sleeps);
        let spent = std::mem::take(&mut state.spent);
        drop(state);
        drop(spent);
        if wake {
            self.0.readable.notify_one();
        }
    }

    /// Puts `item` in without waiting, in a link whose items are of several kinds: the oldest of its kind go, and are
    /// counted, until those left and it weigh at most `most` together. `weigh` gives nothing for items of other kinds. Returns
    /// whether any went.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub fn send_shedding(
        &self,
        item: T,
        most: u64,
        weigh: impl Fn(&T) -> Option<u64>,
    ) -> Result<bool, Closed<T>> {
        let mut state = self.0.lock();
        if state.closed {
            return Err(Closed(item));
        }
        let mut weight: u64 = state.items.iter().chain([&item]).filter_map(&weigh).sum();
        let (mut at, mut shed) = (0, Vec::new());
        while weight > most
            && let Some(waiting) = state.items.get(at)
        {
            match weigh(waiting) {
                Some(its) => {
                    weight -= its;
                    shed.extend(state.items.remove(at));
                }
                None => at += 1,
            }
        }
        state.stats.dropped += shed.len() as u64;
        self.put(state, item);
        Ok(!shed.is_empty())
    }

    /// Puts `item` in if there is room now; gives it back otherwise (also when closed).
    ///
    /// # Errors
    /// [`Closed`] with the item when the link is full or closed.
    pub fn try_send(&self, item: T) -> Result<(), Closed<T>> {
        self.send_deadline(item, Some(Duration::ZERO))
    }

    /// A watcher of this link.
    pub fn monitor(&self) -> Monitor<T> {
        Monitor(self.0.clone())
    }

    /// Whether nobody will take what is sent.
    pub fn is_closed(&self) -> bool {
        self.0.lock().closed
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Sender(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let last = {
            let mut state = self.0.lock();
            state.senders -= 1;
            state.senders == 0
        };
        if last {
            self.0.readable.notify_all();
        }
    }
}

impl<T> Receiver<T> {
    /// The next item; `None` at the end or once closed.
    pub fn recv(&self) -> Option<T> {
        match self.recv_deadline(None) {
            Received::Item(item) => Some(item),
            _ => None,
        }
    }

    /// The next item, waiting at most `timeout` (`None` = without limit).
    pub fn recv_deadline(&self, timeout: Option<Duration>) -> Received<T> {
        self.next(timeout, false).unwrap_or(Received::Timeout)
    }

    /// The next item or the end, without limit; `None` when there is no item and the link was poked since the last time
    /// ([`Monitor::poke`]).
    pub fn recv_or_poke(&self) -> Option<Received<T>> {
        self.next(None, true)
    }

    fn next(&self, timeout: Option<Duration>, pokes: bool) -> Option<Received<T>> {
        // A time beyond what the clock can say is no limit.
        let deadline = timeout.and_then(|t| Instant::now().checked_add(t));
        let mut state = self.0.lock();
        loop {
            if state.closed {
                return Some(Received::Closed);
            }
            if let Some(item) = state.items.pop_front() {
                let wake = state.wakes_writers();
                drop(state);
                if wake {
                    self.0.writable.notify_all();
                }
                return Some(Received::Item(item));
            }
            if state.senders == 0 {
                return Some(Received::End);
            }
            if pokes && std::mem::take(&mut state.poked) {
                return None;
            }
            let left = remaining(deadline);
            if left.is_some_and(|left| left.is_zero()) {
                return Some(Received::Timeout);
            }
            state.reader_sleeps = true;
            state = wait(&self.0.readable, state, left);
        }
    }

    /// Everything that waits now, oldest first, after waiting for the first item; `None` at the end or once closed, and
    /// nothing when the link was poked ([`Monitor::poke`]).
    ///
    /// One lock for many items: for receivers that keep up anyway and whose items are small. What is in `spent` goes
    /// back and is dropped by the next sender: memory that is freed by the thread that allocated it costs no fight for
    /// the allocator's locks (measured on a remux: a third of its time).
    pub fn recv_all(&self, spent: &mut Vec<T>) -> Option<VecDeque<T>> {
        let mut state = self.0.lock();
        loop {
            if state.closed {
                return None;
            }
            if !state.items.is_empty() {
                let room = VecDeque::with_capacity(state.items.len());
                let items = std::mem::replace(&mut state.items, room);
                state.spent.append(spent);
                let wake = state.wakes_writers();
                drop(state);
                if wake {
                    self.0.writable.notify_all();
                }
                return Some(items);
            }
            if state.senders == 0 {
                return None;
            }
            if std::mem::take(&mut state.poked) {
                return Some(VecDeque::new());
            }
            state.reader_sleeps = true;
            state = wait(&self.0.readable, state, None);
        }
    }

    /// A watcher of this link.
    pub fn monitor(&self) -> Monitor<T> {
        Monitor(self.0.clone())
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<T> Monitor<T> {
    /// What the link has seen so far.
    pub fn stats(&self) -> LinkStats {
        let state = self.0.lock();
        LinkStats { depth: state.items.len(), ..state.stats }
    }

    /// Has the receiver look up from an empty queue, if it waits in [`Receiver::recv_or_poke`] or [`Receiver::recv_all`], or
    /// when it next does.
    pub fn poke(&self) {
        let wake = {
            let mut state = self.0.lock();
            state.poked = true;
            std::mem::take(&mut state.reader_sleeps)
        };
        if wake {
            self.0.readable.notify_one();
        }
    }

    /// Breaks the link: both sides stop waiting and what is queued is dropped.
    pub fn close(&self) {
        self.0.close();
    }
}

impl<T> Clone for Monitor<T> {
    fn clone(&self) -> Self {
        Monitor(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn order_is_kept_and_the_end_is_seen_after_draining() {
        let (tx, rx) = link(2, Overflow::Wait);
        let sender = thread::spawn(move || (0..100).for_each(|i| tx.send(i).unwrap()));
        let got: Vec<i32> = std::iter::from_fn(|| rx.recv()).collect();
        sender.join().unwrap();
        assert_eq!(got, (0..100).collect::<Vec<_>>());
        assert_eq!(rx.recv_deadline(None), Received::End);
        let stats = rx.monitor().stats();
        assert_eq!((stats.passed, stats.dropped, stats.peak <= 2), (100, 0, true));
    }

    #[test]
    fn all_that_waits_is_taken_at_once_and_senders_go_on() {
        let (tx, rx) = link(4, Overflow::Wait);
        let sender = thread::spawn(move || (0..1000).for_each(|i| tx.send(i).unwrap()));
        let mut got: Vec<i32> = Vec::new();
        let mut spent = Vec::new();
        while let Some(items) = rx.recv_all(&mut spent) {
            assert!(!items.is_empty() && items.len() <= 4);
            got.extend(&items);
            spent.extend(items);
        }
        sender.join().unwrap();
        assert_eq!(got, (0..1000).collect::<Vec<_>>());
        let (tx, rx) = link::<i32>(4, Overflow::Wait);
        tx.monitor().poke();
        assert_eq!(rx.recv_all(&mut spent), Some(VecDeque::new()));
        rx.monitor().close();
        assert!(rx.recv_all(&mut spent).is_none());
    }

    #[test]
    fn what_is_spent_is_dropped_by_the_next_sender() {
        struct Told(std::sync::mpsc::Sender<thread::ThreadId>);
        impl Drop for Told {
            fn drop(&mut self) {
                let _ = self.0.send(thread::current().id());
            }
        }
        let (told, dropped) = std::sync::mpsc::channel();
        let (tx, rx) = link(2, Overflow::Wait);
        tx.send(Told(told.clone())).ok().unwrap();
        let mut spent: Vec<_> = rx.recv_all(&mut Vec::new()).unwrap().into();
        tx.send(Told(told.clone())).ok().unwrap();
        let kept = rx.recv_all(&mut spent).unwrap();
        assert!(spent.is_empty() && dropped.try_recv().is_err());
        let sender = thread::spawn(move || {
            tx.send(Told(told)).ok().unwrap();
            thread::current().id()
        });
        assert_eq!(sender.join().unwrap(), dropped.recv().unwrap());
        drop(kept);
    }

    #[test]
    fn several_waiting_senders_all_go_on() {
        let (tx, rx) = link(2, Overflow::Wait);
        let senders: Vec<_> = (0..4)
            .map(|s| {
                let tx = tx.clone();
                thread::spawn(move || (0..500).for_each(|i| tx.send(s * 500 + i).unwrap()))
            })
            .collect();
        drop(tx);
        let mut got: Vec<i32> = std::iter::from_fn(|| rx.recv()).collect();
        senders.into_iter().for_each(|s| s.join().unwrap());
        got.sort_unstable();
        assert_eq!(got, (0..2000).collect::<Vec<_>>());
    }

    #[test]
    fn a_live_link_drops_the_oldest_and_counts() {
        let (tx, rx) = link(2, Overflow::DropOldest);
        (0..5).for_each(|i| tx.send(i).unwrap());
        assert_eq!(rx.monitor().stats().dropped, 3);
        assert_eq!((rx.recv(), rx.recv()), (Some(3), Some(4)));
        assert_eq!(rx.recv_deadline(Some(Duration::from_millis(1))), Received::Timeout);
    }

    #[test]
    fn kinds_have_their_own_room_in_a_link() {
        let (tx, rx) = link(8, Overflow::Wait);
        let of = |sign: i32| move |i: &i32| (i.signum() == sign).then_some(u64::from(i.unsigned_abs()));
        let send = |i: i32| tx.send_shedding(i, 4, of(i.signum())).unwrap();
        assert_eq!([1, -1, 1, -1, 2].map(send), [false; 5]);
        assert!(send(1), "the oldest 1 goes");
        assert!(send(-9), "what is too heavy alone is there alone");
        assert_eq!((tx.monitor().stats().dropped, tx.monitor().stats().depth), (3, 4));
        drop(tx);
        assert_eq!(std::iter::from_fn(|| rx.recv()).collect::<Vec<_>>(), [1, 2, 1, -9]);
    }

    #[test]
    fn a_full_link_gives_the_item_back_in_time() {
        let (tx, rx) = link(1, Overflow::Wait);
        tx.send_deadline(1, Some(Duration::MAX)).unwrap();
        assert_eq!(tx.send_deadline(2, Some(Duration::from_millis(5))).unwrap_err().0, 2);
        assert_eq!(tx.try_send(3).unwrap_err().0, 3);
        assert!(!tx.is_closed());
        assert_eq!(rx.recv_deadline(Some(Duration::MAX)), Received::Item(1));
    }

    #[test]
    fn a_poke_wakes_a_waiting_receiver_and_is_not_lost_on_a_busy_one() {
        let (tx, rx) = link(2, Overflow::Wait);
        let monitor = tx.monitor();
        tx.send(1).unwrap();
        monitor.poke();
        assert_eq!(rx.recv_or_poke(), Some(Received::Item(1)), "items go first");
        assert_eq!(rx.recv_or_poke(), None);
        let waiting = thread::spawn(move || (rx.recv_or_poke(), rx.recv_or_poke()));
        thread::sleep(Duration::from_millis(20));
        monitor.poke();
        thread::sleep(Duration::from_millis(20));
        drop(tx);
        assert_eq!(waiting.join().unwrap(), (None, Some(Received::End)));
    }

    #[test]
    fn closing_wakes_both_sides() {
        let (tx, rx) = link(1, Overflow::Wait);
        tx.send(1).unwrap();
        let monitor = tx.monitor();
        let blocked = thread::spawn(move || tx.send(2).is_err());
        thread::sleep(Duration::from_millis(20));
        monitor.close();
        assert!(blocked.join().unwrap());
        assert_eq!(rx.recv_deadline(None), Received::Closed);
    }
}
