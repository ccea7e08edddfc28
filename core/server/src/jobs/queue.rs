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
    /// It makes a file, which nobody watches meanwhile.
    pub file: bool,
    /// Not before this time (a new try after a failure).
    pub not_before: f64,
}

/// The queue is at its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A job that has begun.
#[derive(Clone, Debug)]
struct Begun {
    client: String,
    priority: Priority,
    file: bool,
    /// Which turn it got.
    turn: u64,
}

/// Jobs that wait, those that run, and those that are halted for more urgent ones.
#[derive(Debug)]
pub struct Queue {
    waiting: Vec<Waiting>,
    running: BTreeMap<String, Begun>,
    halted: BTreeMap<String, Begun>,
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
            halted: BTreeMap::new(),
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

    /// How many of those that run make files.
    pub fn running_files(&self) -> usize {
        self.running.values().filter(|r| r.file).count()
    }

    /// How many are halted.
    pub fn halted(&self) -> usize {
        self.halted.len()
    }

    /// Whether a job is halted.
    pub fn is_halted(&self, id: &str) -> bool {
        self.halted.contains_key(id)
    }

    /// How many run or wait that are more urgent than `priority`.
    pub fn more_urgent(&self, priority: Priority) -> usize {
        let running = self.running.values().map(|r| r.priority);
        let all = running.chain(self.waiting.iter().map(|w| w.priority));
        all.filter(|p| rank(*p) < rank(priority)).count()
    }

    /// How many of those that wait go before a job that does, and when it may run at the earliest; `None`: it does not wait.
    pub fn standing(&self, id: &str, now: f64) -> Option<(usize, f64)> {
        let (at, own) = self.waiting.iter().enumerate().find(|(_, w)| w.id == id)?;
        let key = self.order(at, own);
        let others = self.waiting.iter().enumerate().filter(|(_, w)| w.not_before <= now);
        Some((others.filter(|(at, w)| self.order(*at, w) < key).count(), own.not_before))
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
        self.done(&job.id);
        self.waiting.push(job);
    }

    /// Takes a halted job that may go on now, and counts it as running again. What waits and is more urgent goes before it.
    pub fn resume(&mut self, now: f64) -> Option<String> {
        if self.running.len() >= self.limit {
            return None;
        }
        let id =
            self.halted.iter().min_by_key(|(_, h)| (rank(h.priority), h.turn)).map(|(id, _)| id.clone())?;
        let own = rank(self.halted.get(&id)?.priority);
        if self.first(now).and_then(|at| self.waiting.get(at)).is_some_and(|w| rank(w.priority) < own) {
            return None;
        }
        let begun = self.halted.remove(&id)?;
        self.running.insert(id.clone(), begun);
        Some(id)
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
            self.waiting.iter().any(|w| w.client == *client)
                || self.running.values().chain(self.halted.values()).any(|r| r.client == *client)
        };
        let gone: Vec<String> =
            self.turns.keys().filter(|c| **c != job.client && !here(c)).cloned().collect();
        for client in gone {
            self.turns.remove(&client);
        }
        let begun =
            Begun { client: job.client.clone(), priority: job.priority, file: job.file, turn: self.turn };
        self.running.insert(job.id.clone(), begun);
        Some(job)
    }

    /// The position of the job whose turn it is: the most urgent; among those, of the client with the fewest running jobs;
    /// among those, of the client that has waited longest for a turn; among those, the oldest.
    fn first(&self, now: f64) -> Option<usize> {
        let waiting = self.waiting.iter().enumerate().filter(|(_, w)| w.not_before <= now);
        waiting.min_by_key(|(at, w)| self.order(*at, w)).map(|(at, _)| at)
    }

    fn order(&self, at: usize, job: &Waiting) -> (u8, usize, u64, usize) {
        let busy = self.running.values().filter(|r| r.client == job.client).count();
        (rank(job.priority), busy, self.turns.get(&job.client).copied().unwrap_or(0), at)
    }

    /// A running job that should make room, of those that `may`: something of high priority waits, there is no room, and this
    /// is the least urgent, and of those the one that began last. Jobs of low priority make room, and those of normal priority
    /// that make files: nobody waits for these.
    pub fn displaced(&self, now: f64, may: impl Fn(&str) -> bool) -> Option<&str> {
        let urgent = self.waiting.iter().any(|w| w.priority == Priority::High && w.not_before <= now);
        if !urgent || self.running.len() < self.limit {
            return None;
        }
        let yields = |r: &Begun| r.priority == Priority::Low || (r.priority == Priority::Normal && r.file);
        let running = self.running.iter().filter(|(id, r)| yields(r) && may(id));
        running.max_by_key(|(_, r)| (rank(r.priority), r.turn)).map(|(id, _)| id.as_str())
    }

    /// Halts a running job, which keeps what it has: its place is free.
    pub fn halt(&mut self, id: &str) {
        if let Some(begun) = self.running.remove(id) {
            self.halted.insert(id.into(), begun);
        }
    }

    /// When the next job that waits for its time may run; `None` when none does.
    pub fn next_time(&self, now: f64) -> Option<f64> {
        self.waiting.iter().map(|w| w.not_before).filter(|t| *t > now).min_by(f64::total_cmp)
    }

    /// Says that a job runs no more.
    pub fn done(&mut self, id: &str) {
        self.running.remove(id);
        self.halted.remove(id);
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
        Waiting { id: id.into(), client: client.into(), priority, file: false, not_before: 0.0 }
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
    fn low_and_files_make_room_and_only_for_high() {
        let mut q = Queue::new(1, 9);
        let all = |_: &str| true;
        q.push(job("l", "a", Priority::Low)).unwrap();
        q.next(0.0).unwrap();
        q.push(job("n", "a", Priority::Normal)).unwrap();
        assert_eq!(q.displaced(0.0, all), None);
        q.push(job("h", "b", Priority::High)).unwrap();
        assert_eq!(q.displaced(0.0, all), Some("l"));
        assert_eq!(q.displaced(0.0, |_| false), None);
        q.done("l");
        assert_eq!(q.next(0.0).unwrap().id, "h");
        q.push(job("h2", "b", Priority::High)).unwrap();
        assert_eq!(q.displaced(0.0, all), None, "what somebody watches stays");
        // Of two, the less urgent one; of equals, the one that has done less.
        let mut q = Queue::new(3, 9);
        let file = |id, priority| Waiting { file: true, ..job(id, "a", priority) };
        for (id, priority) in [("f1", Priority::Normal), ("f2", Priority::Normal), ("hf", Priority::High)] {
            q.push(file(id, priority)).unwrap();
            q.next(0.0).unwrap();
        }
        q.push(job("h", "b", Priority::High)).unwrap();
        assert_eq!(q.displaced(0.0, all), Some("f2"), "who asks for urgency gets it");
        assert_eq!(q.displaced(0.0, |id| id != "f2"), Some("f1"));
    }

    #[test]
    fn what_is_halted_goes_on_when_nothing_more_urgent_waits() {
        let mut q = Queue::new(1, 9);
        let file = |id| Waiting { file: true, ..job(id, "a", Priority::Normal) };
        q.push(file("f")).unwrap();
        q.next(0.0).unwrap();
        q.push(file("g")).unwrap();
        q.push(job("h", "b", Priority::High)).unwrap();
        q.halt("f");
        assert!(q.is_halted("f") && (q.halted(), q.running(), q.len()) == (1, 0, 2));
        assert_eq!(q.resume(0.0), None, "the place is for the urgent one");
        assert_eq!(q.next(0.0).unwrap().id, "h");
        assert_eq!((q.resume(0.0), q.more_urgent(Priority::Normal)), (None, 1));
        q.done("h");
        assert_eq!(q.resume(0.0).as_deref(), Some("f"), "it has begun, and goes before its like");
        assert_eq!(q.next(0.0), None);
        // One that ends while it is halted leaves nothing.
        q.halt("f");
        q.done("f");
        assert_eq!((q.halted(), q.next(0.0).unwrap().id.as_str()), (0, "g"));
    }

    #[test]
    fn everybody_knows_his_place() {
        let mut q = Queue::new(1, 9);
        q.push(job("a0", "a", Priority::Normal)).unwrap();
        q.next(0.0).unwrap();
        q.push(job("a1", "a", Priority::Normal)).unwrap();
        q.push(job("b0", "b", Priority::Normal)).unwrap();
        q.push(Waiting { not_before: 9.0, ..job("h", "b", Priority::High) }).unwrap();
        assert_eq!(q.standing("b0", 0.0), Some((0, 0.0)), "a has a running one");
        assert_eq!(q.standing("a1", 0.0), Some((1, 0.0)));
        assert_eq!(q.standing("a1", 9.0), Some((2, 0.0)));
        assert_eq!((q.standing("h", 0.0), q.standing("a0", 0.0)), (Some((0, 9.0)), None));
    }
}
