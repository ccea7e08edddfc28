//! Who runs documents for a session: worker processes, or this process (tests, embedders that want no processes).

use crate::jobs::Cooldowns;
use crate::locks::lock;
use crate::worker::{Control, Failure, Pool, Report, Sandbox, Worker};
use ghoststream::event::Next;
use ghoststream::job::Change;
use ghoststream::probe::{ProbeOptions, probe};
use ghoststream::spec::{Bitrate, SourceSpec};
use ghoststream::{Error, Job, Pipeline, PipelineSpec};
use serde_json::Value;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

/// The answer to a probe.
pub type Probed = Pin<Box<dyn Future<Output = Result<Value, Failure>> + Send>>;

/// Runs documents. Its methods are called inside a tokio runtime.
pub trait Runner: Send + Sync + 'static {
    /// Starts `spec`; failures arrive as reports, the last of which is `Done` or `Lost`.
    fn start(&self, spec: PipelineSpec) -> Started;

    /// What is in `source`, with the key frames of its pictures.
    fn probe(&self, source: SourceSpec) -> Probed;

    /// Where failures of hardware are counted, and which of it is off.
    fn cooldowns(&self) -> Cooldowns {
        Cooldowns::default()
    }

    /// Whether runs wait for others to end: those that are halted should.
    fn is_crowded(&self) -> bool {
        false
    }
}

/// How many runs all sessions together may have. Clones share it.
#[derive(Clone, Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    room: Arc<Mutex<Room>>,
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Room {
    /// How many places there shall be.
    wanted: usize,
    /// How many there are: more than wanted as long as runs of before hold them.
    there: usize,
}

impl Places {
    /// Room for `count` runs, at least one.
    pub fn new(count: usize) -> Self {
        let count = count.max(1);
        Places {
            free: Arc::new(Semaphore::new(count)),
            room: Arc::new(Mutex::new(Room { wanted: count, there: count })),
            waiting: Arc::default(),
        }
    }

    /// Room for `count` runs from now on, at least one. Those that run go on; what is too much goes when they end.
    pub fn resize(&self, count: usize) {
        let mut room = lock(&self.room);
        room.wanted = count.max(1);
        if room.wanted > room.there {
            self.free.add_permits(room.wanted - room.there);
            room.there = room.wanted;
        } else {
            room.there -= self.free.forget_permits(room.there - room.wanted);
        }
    }

    async fn take(&self) -> Option<Place> {
        let _counted = Counted::new(&self.waiting);
        let permit = self.free.clone().acquire_owned().await.ok()?;
        Some(Place { permit: Some(permit), room: self.room.clone() })
    }
}

/// A place that is taken.
struct Place {
    permit: Option<OwnedSemaphorePermit>,
    room: Arc<Mutex<Room>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut room = lock(&self.room);
        if let Some(permit) = self.permit.take()
            && room.there > room.wanted
        {
            permit.forget();
            room.there -= 1;
        }
    }
}

/// One who waits, also if the wait is given up.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A run.
pub struct Started {
    /// What it has to say.
    pub reports: mpsc::UnboundedReceiver<Report>,
    /// Its wheel.
    pub wheel: Arc<dyn Wheel>,
}

/// What can be done to a run. Orders that come too early or too late are ignored.
pub trait Wheel: Send + Sync {
    /// Halts it.
    fn pause(&self);
    /// Goes on.
    fn resume(&self);
    /// Gives the encoder of video track `rung` another rate, bits per second.
    fn rate(&self, rung: usize, bits: u64);
    /// Ends it at once.
    fn cancel(&self);
}

fn rated(rung: usize, bits: u64) -> Change {
    Change { rung: Some(rung), bitrate: Some(Bitrate(bits)), ..Change::default() }
}

/// Runs in worker processes. One of them is kept for the next run.
#[derive(Clone)]
pub struct Workers {
    pool: Pool,
    sandbox: Sandbox,
    places: Places,
    cooldowns: Cooldowns,
    spare: Arc<Mutex<Option<Spare>>>,
}

/// A worker that waits for the next run.
struct Spare {
    worker: Worker,
    /// Tells it from the one that waited before it.
    number: u64,
}

/// How long a worker is kept for the next run. Sessions stay when their viewers are gone, and would keep a process each.
const KEPT: Duration = Duration::from_secs(60);

impl Workers {
    /// Workers of `pool`, which may reach what `sandbox` says, as many as there are `places`; hardware that fails counts in
    /// `cooldowns`.
    pub fn new(pool: Pool, sandbox: Sandbox, places: Places, cooldowns: Cooldowns) -> Self {
        Workers { pool, sandbox, places, cooldowns, spare: Arc::default() }
    }

    /// Keeps `worker` for the next run; it may reach what the others may.
    pub fn keep(&self, worker: Worker) {
        self.give_back(worker);
    }

    async fn take(&self) -> Result<Worker, Failure> {
        let spare = lock(&self.spare).take().map(|s| s.worker).filter(Worker::is_alive);
        if let Some(worker) = spare {
            return Ok(worker);
        }
        let worker = self.pool.take().await?;
        worker.confine(self.sandbox.clone()).await?;
        Ok(worker)
    }

    fn give_back(&self, worker: Worker) {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let mut spare = lock(&self.spare);
        // A second one ends here.
        if !worker.is_alive() || spare.is_some() {
            return;
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        *spare = Some(Spare { worker, number });
        let kept = Arc::downgrade(&self.spare);
        tokio::spawn(async move {
            tokio::time::sleep(KEPT).await;
            let Some(spare) = kept.upgrade() else { return };
            let _ends_here = lock(&spare).take_if(|s| s.number == number);
        });
    }
}

/// The wheel of a run whose worker may not be there yet.
#[derive(Default)]
struct Ahead {
    orders: Mutex<Orders>,
    /// Rung when it is cancelled.
    gone: Notify,
}

#[derive(Default)]
struct Orders {
    control: Option<Control>,
    cancelled: bool,
}

impl Wheel for Ahead {
    fn pause(&self) {
        if let Some(control) = &lock(&self.orders).control {
            control.pause();
        }
    }

    fn resume(&self) {
        if let Some(control) = &lock(&self.orders).control {
            control.resume();
        }
    }

    fn rate(&self, rung: usize, bits: u64) {
        if let Some(control) = &lock(&self.orders).control {
            control.set(rated(rung, bits));
        }
    }

    fn cancel(&self) {
        let mut orders = lock(&self.orders);
        orders.cancelled = true;
        self.gone.notify_one();
        if let Some(control) = &orders.control {
            control.cancel();
        }
    }
}

impl Runner for Workers {
    fn start(&self, spec: PipelineSpec) -> Started {
        let (sender, reports) = mpsc::unbounded_channel();
        let wheel = Arc::new(Ahead::default());
        let (workers, orders) = (self.clone(), wheel.clone());
        tokio::spawn(async move {
            let _place = tokio::select! {
                place = workers.places.take() => place,
                () = orders.gone.notified() => return,
            };
            if lock(&orders.orders).cancelled {
                return;
            }
            let worker = match workers.take().await {
                Ok(worker) => worker,
                Err(e) => {
                    let _session_may_be_gone = sender.send(Report::Lost(e.message));
                    return;
                }
            };
            let mut run = {
                let mut orders = lock(&orders.orders);
                if orders.cancelled {
                    workers.give_back(worker);
                    return;
                }
                let run = worker.run(spec);
                orders.control = Some(run.control());
                run
            };
            let mut over = false;
            while let Some(report) = run.next().await {
                over |= matches!(report, Report::Done(_));
                let _session_may_be_gone = sender.send(report);
            }
            if over {
                workers.give_back(worker);
            }
        });
        Started { reports, wheel }
    }

    fn cooldowns(&self) -> Cooldowns {
        self.cooldowns.clone()
    }

    fn is_crowded(&self) -> bool {
        self.places.waiting.load(Ordering::Relaxed) > 0
    }

    fn probe(&self, source: SourceSpec) -> Probed {
        let workers = self.clone();
        Box::pin(async move {
            let worker = workers.take().await?;
            let found = worker.probe(&source, true).await;
            workers.give_back(worker);
            found
        })
    }
}

/// Runs on threads of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct InProcess;

struct Local(Arc<Job>);

impl Wheel for Local {
    fn pause(&self) {
        // Not running (yet, or any more): the session says it again.
        let _ = self.0.pause();
    }

    fn resume(&self) {
        let _ = self.0.resume();
    }

    fn rate(&self, rung: usize, bits: u64) {
        // An encoder that cannot, or a run that is over, goes on as it is.
        let _ = self.0.set(&rated(rung, bits));
    }

    fn cancel(&self) {
        self.0.cancel();
    }
}

struct Nothing;

impl Wheel for Nothing {
    fn pause(&self) {}
    fn resume(&self) {}
    fn rate(&self, _: usize, _: u64) {}
    fn cancel(&self) {}
}

impl Runner for InProcess {
    fn start(&self, spec: PipelineSpec) -> Started {
        let (sender, reports) = mpsc::unbounded_channel();
        let started = Pipeline::from_spec(spec).and_then(|p| p.start().job()).map(Arc::new).and_then(|job| {
            let (told, sender) = (job.clone(), sender.clone());
            std::thread::Builder::new()
                .name("reports".into())
                .spawn(move || tell(&told, &sender))
                .map_err(Error::from)?;
            Ok(job)
        });
        match started {
            Ok(job) => Started { reports, wheel: Arc::new(Local(job)) },
            Err(e) => {
                let _heard = sender.send(Report::Lost(e.message().to_string()));
                Started { reports, wheel: Arc::new(Nothing) }
            }
        }
    }

    fn probe(&self, source: SourceSpec) -> Probed {
        Box::pin(async move {
            let found = tokio::task::spawn_blocking(move || {
                let found = probe(&source, &ProbeOptions { keyframes: true })?;
                serde_json::to_value(found)
                    .map_err(|e| Error::new(ghoststream::ErrorKind::Internal, e.to_string()))
            });
            match found.await {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(e)) => Err(Failure { kind: Some(e.kind()), message: e.message().to_string() }),
                Err(_) => Err(Failure::lost("the probe did not end")),
            }
        })
    }
}

fn tell(job: &Job, sender: &mpsc::UnboundedSender<Report>) {
    loop {
        let event = match job.next_event(None) {
            Next::Event(event) => event,
            Next::Timeout => continue,
            Next::End => return,
        };
        let Some(report) = Report::of(event) else { continue };
        let last = matches!(report, Report::Done(_));
        if sender.send(report).is_err() || last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_follow_a_limit_that_changes() {
        let places = Places::new(3);
        let at_once = || async {
            let mut held = Vec::new();
            while let Ok(Some(place)) = tokio::time::timeout(Duration::from_millis(20), places.take()).await {
                held.push(place);
            }
            held
        };
        let mut three = at_once().await;
        assert_eq!(three.len(), 3);
        places.resize(1);
        three.pop();
        assert!(at_once().await.is_empty(), "two still run");
        three.clear();
        assert_eq!(at_once().await.len(), 1);
        places.resize(4);
        assert_eq!(at_once().await.len(), 4);
        let four = at_once().await;
        // Down and up again while they run: nothing is lost and nothing comes twice.
        places.resize(2);
        places.resize(4);
        drop(four);
        assert_eq!(at_once().await.len(), 4);
        places.resize(0);
        assert_eq!(at_once().await.len(), 1, "never none");
    }
}
