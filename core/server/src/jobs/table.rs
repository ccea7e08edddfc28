//! The jobs in memory. No I/O: what is to be stored or told is given back.

use super::ladder::Bounds;
use super::queue::Queue;
use super::record::{Live, Record, accel_of, now};
use super::steering::Steering;
use super::store::{ACCELS, Counters};
use super::view::{JobEvent, JobView, SharedStream, SharedStreams, Stats, Status};
use crate::playback::Session;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// A job in memory.
pub(super) struct Entry {
    pub record: Record,
    pub live: Live,
    /// Rung for every new file and status.
    pub changed: Arc<Notify>,
    /// Set while a worker is at it.
    pub run: Option<RunHandle>,
    /// Set while its encoders can be changed.
    pub steering: Option<Steering>,
    /// Nothing is lost when its run is ended now: it has not begun to make anything.
    pub preparing: bool,
    /// Its hardware failed, and another encoder went on within the run.
    pub failed_over: bool,
    /// The device that decodes for it, until that fails.
    pub decodes_on: Option<String>,
    /// What makes the segments of a job on demand.
    pub session: Option<Session>,
    /// The machine's quality when the session was opened.
    pub quality: f64,
    /// Held by who opens the session.
    pub opening: Arc<tokio::sync::Mutex<()>>,
}

impl Entry {
    pub fn new(record: Record) -> Entry {
        Entry {
            record,
            live: Live::default(),
            changed: Arc::default(),
            run: None,
            steering: None,
            preparing: false,
            failed_over: false,
            decodes_on: None,
            session: None,
            quality: 1.0,
            opening: Arc::default(),
        }
    }
}

/// Why a run is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It is not.
    No,
    Cancelled,
    /// The server shuts down: the job is queued again.
    Closing,
    /// A more urgent job needs the place: the job is queued again.
    Preempted,
    /// The disk quota is used up.
    Quota,
}

/// A run as others see it.
#[derive(Clone)]
pub(super) struct RunHandle {
    why: Arc<watch::Sender<Why>>,
    over: watch::Receiver<bool>,
}

/// A run's own side of its handle.
pub(super) struct RunSide {
    pub why: watch::Receiver<Why>,
    pub over: watch::Sender<bool>,
}

impl RunHandle {
    pub fn new() -> (RunHandle, RunSide) {
        let (why, asked) = watch::channel(Why::No);
        let (done, over) = watch::channel(false);
        (RunHandle { why: Arc::new(why), over }, RunSide { why: asked, over: done })
    }

    /// Ends the run. The first reason counts.
    pub fn end(&self, why: Why) {
        self.why.send_if_modified(|now| {
            let first = *now == Why::No;
            if first {
                *now = why;
            }
            first
        });
    }

    /// Waits until the run is over.
    pub async fn ended(mut self) {
        // A dropped sender is over too.
        let _over = self.over.wait_for(|over| *over).await;
    }
}

pub(super) struct Table {
    pub jobs: HashMap<String, Entry>,
    pub queue: Queue,
    /// Job by what others must ask for to join it.
    shares: HashMap<String, String>,
    pub counters: Counters,
    pub bounds: Bounds,
}

impl Table {
    pub fn new(limit: usize, capacity: usize, counters: Counters) -> Table {
        Table {
            jobs: HashMap::new(),
            queue: Queue::new(limit, capacity),
            shares: HashMap::new(),
            counters,
            bounds: Bounds::default(),
        }
    }

    pub fn view(&self, id: &str) -> Option<JobView> {
        let entry = self.jobs.get(id)?;
        let mut view = entry.record.view(&entry.live);
        view.waiting_for = self.waiting_for(&entry.record);
        view.encoding &= !self.queue.is_halted(id);
        if let Some(session) = &entry.session {
            let now = session.view();
            view.hw_accel_used = view.hw_accel_used.or(now.encoder.as_deref().map(|e| accel_of(e).into()));
            view.current_time = now.position;
            view.encoding |= session.is_making();
            view.speed = session.speed().unwrap_or(view.speed);
            // The record has those that came before its first segment.
            let new: Vec<String> = now.warnings.into_iter().filter(|w| !view.warnings.contains(w)).collect();
            view.warnings.extend(new);
        }
        Some(view)
    }

    /// What has to happen before a job goes on; `None` for one that is under way, or over.
    fn waiting_for(&self, record: &Record) -> Option<String> {
        let queue = &self.queue;
        if queue.is_halted(&record.id) {
            let urgent = queue.more_urgent(record.priority());
            return Some(format!("{}: it is halted until then", counted(urgent, "more urgent job")));
        }
        if record.status != Status::Queued {
            return None;
        }
        let (before, not_before) = queue.standing(&record.id, now())?;
        if not_before > now() {
            return Some(format!("its next try, in {:.0} s", (not_before - now()).ceil()));
        }
        let (limit, files) = (queue.limit(), queue.running_files());
        let running = match (queue.running(), files) {
            (all, 0) => counted(all, "running job"),
            (all, files) => format!("{} ({files} of them making a file)", counted(all, "running job")),
        };
        let before = match before {
            0 => String::new(),
            n => format!("; {n} of those that wait go before it"),
        };
        Some(format!("a place: {running}, where {limit} may run at once{before}"))
    }

    pub fn insert(&mut self, entry: Entry) {
        let record = &entry.record;
        let open = matches!(record.status, Status::Queued | Status::Processing | Status::Ready);
        if !record.share.is_empty() && open && !record.cleaned {
            self.shares.insert(record.share.clone(), record.id.clone());
        }
        self.jobs.insert(record.id.clone(), entry);
    }

    /// A job of before a restart.
    pub fn restore(&mut self, record: Record) {
        self.insert(Entry::new(record));
    }

    /// Queues jobs that were waiting or running, in the order in which they came.
    pub fn requeue(&mut self) -> Vec<Record> {
        let mut open: Vec<&mut Entry> =
            self.jobs.values_mut().filter(|e| !e.record.status.is_over()).collect();
        open.sort_by(|a, b| a.record.created.total_cmp(&b.record.created));
        let mut changed = Vec::new();
        for entry in open {
            let record = &mut entry.record;
            if record.status == Status::Processing {
                record.status = Status::Queued;
                record.warn("interrupted by the end of the server, and begun again".into());
                changed.push(record.clone());
            }
            self.queue.put_back(record.waiting(0.0));
        }
        changed
    }

    pub fn steer(&mut self, id: &str, steering: Option<Steering>) {
        if let Some(entry) = self.jobs.get_mut(id) {
            entry.steering = steering;
        }
    }

    /// Takes new bounds over; running encoders and sessions follow them. What to tell of it.
    pub fn set_bounds(&mut self, bounds: Bounds) -> Vec<JobEvent> {
        let before = std::mem::replace(&mut self.bounds, bounds);
        if before == bounds {
            return Vec::new();
        }
        let mut events = Vec::new();
        for (id, entry) in &mut self.jobs {
            let load = bounds.of_session(entry.quality);
            let mut changed = entry.session.as_ref().is_some_and(|s| s.adapt(load));
            changed |= entry.steering.as_mut().is_some_and(|s| s.adapt(id, &before, &bounds));
            if changed {
                events.push(JobEvent::Adapted { job: id.clone(), load });
            }
        }
        events
    }

    pub fn forget(&mut self, id: &str) {
        self.queue.remove(id);
        if let Some(entry) = self.jobs.remove(id) {
            self.unshare(&entry.record.share, id);
            entry.changed.notify_waiters();
        }
    }

    pub fn unshare(&mut self, share: &str, id: &str) {
        if self.shares.get(share).is_some_and(|job| job == id) {
            self.shares.remove(share);
        }
    }

    /// Joins the job that makes `share`, if there is one.
    pub fn join(&mut self, share: &str, session: Option<&str>, callback: Option<&str>) -> Option<Record> {
        if share.is_empty() {
            return None;
        }
        let id = self.shares.get(share)?;
        let entry = self.jobs.get_mut(id)?;
        let record = &mut entry.record;
        if record.cleaned || !matches!(record.status, Status::Queued | Status::Processing | Status::Ready) {
            return None;
        }
        let known = session.is_some_and(|s| !record.sessions.insert(s.into()));
        if !known {
            record.viewers += 1;
        }
        if let Some(url) = callback.filter(|_| !record.status.is_over()) {
            record.callbacks.insert(url.into());
        }
        record.accessed = now();
        Some(record.clone())
    }

    /// Counts a job that is over.
    pub fn finished(&mut self, record: &Record) {
        self.counters.processed += 1;
        match record.status {
            Status::Ready => {
                self.counters.successful += 1;
                let took = record.completed.zip(record.started).map_or(0.0, |(end, begin)| end - begin);
                self.counters.seconds += took.max(0.0);
                self.counters.bytes += record.bytes;
                let used = record.accel().and_then(|accel| ACCELS.iter().position(|word| *word == accel));
                if let Some(count) = used.and_then(|at| self.counters.accels.get_mut(at)) {
                    *count += 1;
                }
            }
            Status::Cancelled => self.counters.cancelled += 1,
            _ => self.counters.failed += 1,
        }
        if record.status != Status::Ready {
            let share = record.share.clone();
            self.unshare(&share, &record.id);
        }
    }

    /// When a client that found the queue full should come again: when a place has probably become free.
    pub fn patience(&self) -> Duration {
        let c = &self.counters;
        let mean = if c.successful > 0 { c.seconds / c.successful as f64 } else { 30.0 };
        Duration::from_secs_f64((mean / self.queue.limit().max(1) as f64).clamp(1.0, 300.0))
    }

    /// Successful jobs by who encoded.
    pub fn usage(&self) -> BTreeMap<String, u64> {
        let counted = ACCELS.iter().zip(self.counters.accels).filter(|(_, count)| *count > 0);
        counted.map(|(accel, count)| (accel.to_string(), count)).collect()
    }

    pub fn stats(&self) -> Stats {
        let c = &self.counters;
        Stats {
            processed: c.processed,
            successful: c.successful,
            failed: c.failed,
            cancelled: c.cancelled,
            queued: self.queue.len() + self.queue.halted(),
            active: self.queue.running() + self.sessions_making(),
            average_seconds: if c.successful > 0 { c.seconds / c.successful as f64 } else { 0.0 },
            bytes: c.bytes,
            limit: self.queue.limit(),
            queue_limit: self.queue.capacity(),
        }
    }

    /// Playback sessions that make segments just now.
    fn sessions_making(&self) -> usize {
        let sessions = self.jobs.values().filter_map(|e| e.session.as_ref());
        sessions.filter(|s| s.is_making()).count()
    }

    pub fn shared(&self) -> SharedStreams {
        let entries = self.shares.values().filter_map(|id| self.jobs.get(id));
        let watched: Vec<&Entry> = entries.filter(|e| e.record.viewers > 0 && !e.record.cleaned).collect();
        SharedStreams {
            sessions: watched.iter().map(|e| e.record.sessions.len()).sum(),
            streams: watched
                .iter()
                .map(|e| SharedStream {
                    job: e.record.id.clone(),
                    source: crate::policy::masked(&e.record.source),
                    viewers: e.record.viewers,
                    status: e.record.status,
                    progress: e.record.progress(),
                })
                .collect(),
        }
    }
}

/// `1 running job`, `3 running jobs`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
