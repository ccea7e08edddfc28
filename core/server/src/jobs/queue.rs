//! Which job is next: by priority, then so that no client crowds out the others. Pure: time is a number of seconds.

use crate::contract::values::Priority;
use std::collections::BTreeMap;

/// A job that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// The job.
    pub id: String,
    /// Whose it is.
    pub client: String,
    /// How urgent.
    pub priority: Priority,
    /// Not before this time (a new try after a failure).
    pub not_before: f64,
}

/// The queue is at its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Jobs that wait, and those that run.
#[derive(Debug)]
pub struct Queue {
    waiting: Vec<Waiting>,
    /// Running jobs with client and priority.
    running: BTreeMap<String, (String, Priority)>,
    /// When each client last got a turn, as a count of turns.
    turns: BTreeMap<String, u64>,
    turn: u64,
    limit: usize,
    capacity: usize,
}

fn rank(priority: Priority) -> u8 {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}

impl Queue {
    /// A queue that runs `limit` jobs at once and lets `capacity` wait.
    pub fn new(limit: usize, capacity: usize) -> Queue {
        Queue {
            waiting: Vec::new(),
            running: BTreeMap::new(),
            turns: BTreeMap::new(),
            turn: 0,
            limit,
            capacity,
        }
    }

    /// How many may wait from now on; those that do stay.
    pub fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    /// How many may run at once from now on. Running ones go on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// How many may run at once.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many may wait.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Adds a new job.
    ///
    /// # Errors
    /// [`Full`].
    pub fn push(&mut self, job: Waiting) -> Result<(), Full> {
        if self.waiting.len() >= self.capacity {
            return Err(Full);
        }
        self.waiting.push(job);
        Ok(())
    }

    /// Puts a job back that was promised already: a new try, or one of before a restart.
    pub fn put_back(&mut self, job: Waiting) {
        self.running.remove(&job.id);
        self.waiting.push(job);
    }

    /// Takes the next job that may run now, and counts it as running.
    pub fn next(&mut self, now: f64) -> Option<Waiting> {
        if self.running.len() >= self.limit {
            return None;
        }
        let at = self.first(now)?;
        let job = self.waiting.remove(at);
        self.turn += 1;
        self.turns.insert(job.client.clone(), self.turn);
        // Clients that have nothing here need no memory.
        let here = |client: &String| {
            self.waiting.iter().any(|w| w.client == *client) || self.running.values().any(|r| r.0 == *client)
        };
        let gone: Vec<String> =
            self.turns.keys().filter(|c| **c != job.client && !here(c)).cloned().collect();
        for client in gone {
            self.turns.remove(&client);
        }
        self.running.insert(job.id.clone(), (job.client.clone(), job.priority));
        Some(job)
    }

    /// The position of the job whose turn it is: the most urgent; among those, of the client with the fewest running jobs;
    /// among those, of the client that has waited longest for a turn; among those, the oldest.
    fn first(&self, now: f64) -> Option<usize> {
        let busy = |client: &str| self.running.values().filter(|r| r.0 == client).count();
        let waiting = self.waiting.iter().enumerate().filter(|(_, w)| w.not_before <= now);
        waiting
            .min_by_key(|(at, w)| {
                (rank(w.priority), busy(&w.client), self.turns.get(&w.client).copied().unwrap_or(0), *at)
            })
            .map(|(at, _)| at)
    }

    /// A running job that should make room: something more urgent waits, there is no room, and this is the least urgent.
    /// Only low priority makes room, and only for high.
    pub fn preempt(&self, now: f64) -> Option<&str> {
        let urgent = self.waiting.iter().any(|w| w.priority == Priority::High && w.not_before <= now);
        if !urgent || self.running.len() < self.limit {
            return None;
        }
        self.running.iter().find(|(_, (_, p))| *p == Priority::Low).map(|(id, _)| id.as_str())
    }

    /// When the next job that waits for its time may run; `None` when none does.
    pub fn next_time(&self, now: f64) -> Option<f64> {
        self.waiting.iter().map(|w| w.not_before).filter(|t| *t > now).min_by(f64::total_cmp)
    }

    /// Says that a job runs no more.
    pub fn done(&mut self, id: &str) {
        self.running.remove(id);
    }

    /// Takes a waiting job out.
    pub fn remove(&mut self, id: &str) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|w| w.id != id);
        before != self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str, client: &str, priority: Priority) -> Waiting {
        Waiting { id: id.into(), client: client.into(), priority, not_before: 0.0 }
    }

    fn order(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| {
            let job = queue.next(1.0)?;
            queue.done(&job.id);
            Some(job.id)
        })
        .collect()
    }

    #[test]
    fn one_client_cannot_crowd_out_another() {
        let mut q = Queue::new(1, 100);
        for n in 0..4 {
            q.push(job(&format!("a{n}"), "a", Priority::Normal)).unwrap();
        }
        q.push(job("b0", "b", Priority::Normal)).unwrap();
        q.push(job("b1", "b", Priority::Normal)).unwrap();
        assert_eq!(order(&mut q), ["a0", "b0", "a1", "b1", "a2", "a3"]);
    }

    #[test]
    fn priority_comes_first_and_running_jobs_count() {
        let mut q = Queue::new(2, 100);
        q.push(job("low", "a", Priority::Low)).unwrap();
        q.push(job("a1", "a", Priority::Normal)).unwrap();
        q.push(job("a2", "a", Priority::Normal)).unwrap();
        q.push(job("b1", "b", Priority::Normal)).unwrap();
        q.push(job("high", "a", Priority::High)).unwrap();
        assert_eq!(q.next(0.0).unwrap().id, "high");
        assert_eq!(q.next(0.0).unwrap().id, "b1", "a runs one already");
        assert_eq!(q.next(0.0), None, "two run");
        q.done("high");
        assert_eq!(q.next(0.0).unwrap().id, "a1");
    }

    #[test]
    fn the_limit_moves_and_running_jobs_go_on() {
        let mut q = Queue::new(2, 3);
        for n in 0..3 {
            q.push(job(&n.to_string(), "a", Priority::Normal)).unwrap();
        }
        assert_eq!(q.push(job("x", "a", Priority::Normal)), Err(Full));
        assert!(q.next(0.0).is_some() && q.next(0.0).is_some() && q.next(0.0).is_none());
        q.set_limit(1);
        q.done("0");
        assert_eq!(q.next(0.0), None, "one still runs");
        q.set_limit(2);
        assert!(q.next(0.0).is_some());
    }

    #[test]
    fn a_new_try_waits_for_its_time_and_ignores_the_capacity() {
        let mut q = Queue::new(1, 0);
        q.put_back(Waiting { not_before: 5.0, ..job("r", "a", Priority::Normal) });
        assert_eq!((q.next(4.0), q.next_time(4.0)), (None, Some(5.0)));
        assert_eq!(q.next(5.0).unwrap().id, "r");
        assert!(!q.remove("r") && q.len() == 0 && q.running() == 1);
    }

    #[test]
    fn only_low_makes_room_and_only_for_high() {
        let mut q = Queue::new(1, 9);
        q.push(job("l", "a", Priority::Low)).unwrap();
        q.next(0.0).unwrap();
        q.push(job("n", "a", Priority::Normal)).unwrap();
        assert_eq!(q.preempt(0.0), None);
        q.push(job("h", "b", Priority::High)).unwrap();
        assert_eq!(q.preempt(0.0), Some("l"));
    }
}
