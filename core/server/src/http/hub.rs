//! From job events to WebSocket clients: every message is written once, and each client has a short queue of its own, so
//! that a slow one holds up nobody.

use crate::contract::event::{AdaptationData, ProgressData, job_adaptation, progress, status_change};
use crate::contract::service::ClientLine;
use crate::jobs::JobEvent;
use crate::serve::ended;
use axum::extract::ws::Utf8Bytes;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, watch};

/// Messages that wait for one client.
const QUEUE: usize = 100;
/// Clients at once.
const MOST: usize = 1000;

/// All WebSocket clients. Any thread.
#[derive(Default)]
pub struct Hub {
    clients: Mutex<HashMap<u64, Arc<Client>>>,
    next: AtomicU64,
    dropped: AtomicU64,
}

/// One WebSocket client.
pub struct Client {
    id: u64,
    name: Mutex<String>,
    follows: Mutex<Follows>,
    queue: Mutex<VecDeque<Waiting>>,
    wake: Notify,
}

/// Which jobs a client hears of.
pub enum Follows {
    /// All of them.
    All,
    /// These.
    Jobs(HashSet<String>),
}

struct Waiting {
    job: String,
    progress: bool,
    text: Utf8Bytes,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// A new client, unless there are too many.
    pub fn join(&self, name: Option<String>, follows: Follows) -> Option<Arc<Client>> {
        let mut clients = locked(&self.clients);
        if clients.len() >= MOST {
            return None;
        }
        let client = Arc::new(Client {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            name: Mutex::new(name.unwrap_or_else(|| "unknown".into())),
            follows: Mutex::new(follows),
            queue: Mutex::default(),
            wake: Notify::new(),
        });
        clients.insert(client.id, Arc::clone(&client));
        Some(client)
    }

    /// It is gone.
    pub fn leave(&self, client: &Client) {
        locked(&self.clients).remove(&client.id);
    }

    /// Who is connected.
    pub fn clients(&self) -> Vec<ClientLine> {
        let clients = locked(&self.clients);
        let mut lines: Vec<(u64, ClientLine)> = clients
            .values()
            .map(|c| {
                let client = locked(&c.name).clone();
                (c.id, ClientLine { id: format!("ws-{}", c.id), client, transport: "ws".into() })
            })
            .collect();
        lines.sort_by_key(|(id, _)| *id);
        lines.into_iter().map(|(_, line)| line).collect()
    }

    /// How many there are, and how many messages slow ones missed.
    pub fn counts(&self) -> (usize, u64) {
        (locked(&self.clients).len(), self.dropped.load(Ordering::Relaxed))
    }

    /// Hands events on until there are no more or the server ends.
    pub async fn run(&self, mut events: Receiver<JobEvent>, mut ending: watch::Receiver<bool>) {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = ended(&mut ending) => return,
            };
            match event {
                Ok(event) => self.tell(&event),
                Err(RecvError::Lagged(missed)) => {
                    self.dropped.fetch_add(missed, Ordering::Relaxed);
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn tell(&self, event: &JobEvent) {
        let (job, is_progress, text) = match event {
            JobEvent::Progress { job, progress: percent, frame, fps, time, speed } => {
                let data =
                    ProgressData { progress: *percent, frame: *frame, fps: *fps, time: *time, speed: *speed };
                (job, true, progress(job, &data))
            }
            JobEvent::Status { job, status } => (job, false, status_change(job, *status)),
            JobEvent::Adapted { job, load } => {
                let data = AdaptationData {
                    quality_factor: load.quality,
                    faster: load.faster,
                    drop_top: load.drop_top,
                };
                (job, false, job_adaptation(job, &data))
            }
        };
        self.send(Some(job), is_progress, text);
    }

    /// Tells everybody who follows all jobs something that is about none of them.
    pub fn announce(&self, text: String) {
        self.send(None, false, text);
    }

    fn send(&self, job: Option<&String>, progress: bool, text: String) {
        let text = Utf8Bytes::from(text);
        let clients: Vec<Arc<Client>> =
            locked(&self.clients).values().filter(|c| c.hears_of(job)).cloned().collect();
        for client in clients {
            let job = job.cloned().unwrap_or_default();
            if client.push(Waiting { job, progress, text: text.clone() }) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Client {
    /// Its name from now on.
    pub fn rename(&self, name: String) {
        *locked(&self.name) = name;
    }

    /// Changes what it hears of.
    pub fn follow(&self, change: impl FnOnce(&mut Follows)) {
        change(&mut locked(&self.follows));
    }

    /// `None`: of what is about no job.
    fn hears_of(&self, job: Option<&String>) -> bool {
        match &*locked(&self.follows) {
            Follows::All => true,
            Follows::Jobs(jobs) => job.is_some_and(|job| jobs.contains(job)),
        }
    }

    /// Queues a message; true when another had to go.
    fn push(&self, waiting: Waiting) -> bool {
        let mut queue = locked(&self.queue);
        // Only the newest progress of a job is worth sending.
        if waiting.progress
            && let Some(old) = queue.iter_mut().find(|w| w.progress && w.job == waiting.job)
        {
            old.text = waiting.text;
            return true;
        }
        let full = queue.len() >= QUEUE;
        if full {
            // The oldest goes, but a change of status only when there is nothing else.
            let oldest = queue.iter().position(|w| w.progress).unwrap_or(0);
            queue.remove(oldest);
        }
        queue.push_back(waiting);
        drop(queue);
        self.wake.notify_one();
        full
    }

    /// Waits until there is something, and takes all of it.
    pub async fn take(&self) -> Vec<Utf8Bytes> {
        loop {
            let ready: Vec<Utf8Bytes> = locked(&self.queue).drain(..).map(|w| w.text).collect();
            if !ready.is_empty() {
                return ready;
            }
            self.wake.notified().await;
        }
    }
}

impl Follows {
    /// Follows these too, and no longer all.
    pub fn add(&mut self, jobs: impl IntoIterator<Item = String>) {
        match self {
            Follows::Jobs(all) => all.extend(jobs),
            Follows::All => *self = Follows::Jobs(jobs.into_iter().collect()),
        }
        // A client cannot make us remember without end.
        if let Follows::Jobs(all) = self
            && all.len() > 10_000
        {
            *self = Follows::Jobs(HashSet::new());
        }
    }

    /// Follows these no more.
    pub fn remove(&mut self, jobs: &[String]) {
        if let Follows::Jobs(all) = self {
            all.retain(|job| !jobs.contains(job));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::event::adaptation;
    use crate::contract::service::JobsStatus;
    use crate::jobs::Status;
    use crate::playback::Load;

    fn progress_of(job: &str, percent: f64) -> JobEvent {
        JobEvent::Progress { job: job.into(), progress: percent, frame: 1, fps: 1.0, time: 1.0, speed: 1.0 }
    }

    fn queued(client: &Client) -> Vec<String> {
        locked(&client.queue).iter().map(|w| w.text.to_string()).collect()
    }

    #[test]
    fn clients_hear_of_what_they_follow() {
        let hub = Hub::default();
        let all = hub.join(None, Follows::All).unwrap();
        let one = hub.join(Some("x".into()), Follows::All).unwrap();
        one.follow(|f| f.add(["a".into()]));
        hub.tell(&progress_of("a", 1.0));
        hub.tell(&progress_of("b", 2.0));
        assert_eq!((queued(&all).len(), queued(&one).len()), (2, 1));
        one.follow(|f| f.remove(&["a".into()]));
        hub.tell(&JobEvent::Status { job: "a".into(), status: Status::Ready });
        assert_eq!((queued(&all).len(), queued(&one).len()), (3, 1));
        hub.announce("the machine is hot".into());
        let load = Load { quality: 0.6, faster: 2, drop_top: true };
        hub.tell(&JobEvent::Adapted { job: "b".into(), load });
        assert_eq!((queued(&all).len(), queued(&one).len()), (5, 1));
        let data = r#""data":{"drop_top":true,"faster":2,"quality_factor":0.6},"job_id":"b""#;
        let told = &queued(&all)[4];
        assert!(told.contains(data) && told.contains(r#""type":"adaptation""#), "{told}");
        let jobs = JobsStatus { pressure: 2, reasons: vec!["83 °C".into()], ..JobsStatus::default() };
        let told: serde_json::Value = serde_json::from_str(&adaptation(&jobs)).unwrap();
        assert_eq!((&told["type"], &told["data"]["pressure"]), (&"adaptation".into(), &2.into()));
        assert_eq!(told["data"]["reasons"][0], "83 °C");
        hub.leave(&all);
        assert_eq!(hub.clients().len(), 1);
        assert_eq!(hub.clients()[0].client, "x");
    }

    #[test]
    fn a_slow_client_misses_the_oldest_and_no_change_of_status() {
        let hub = Hub::default();
        let slow = hub.join(None, Follows::All).unwrap();
        hub.tell(&JobEvent::Status { job: "first".into(), status: Status::Ready });
        for job in 0..300 {
            hub.tell(&progress_of(&job.to_string(), 1.0));
            hub.tell(&progress_of(&job.to_string(), 2.0));
        }
        let waiting = queued(&slow);
        assert_eq!(waiting.len(), QUEUE);
        assert!(waiting[0].contains("first"), "{}", waiting[0]);
        assert!(waiting[QUEUE - 1].contains("\"299\"") && waiting[QUEUE - 1].contains("2.0"));
        assert!(hub.counts().1 > 300);
    }

    #[test]
    fn there_is_an_end_to_clients() {
        let hub = Hub::default();
        let all: Vec<_> = (0..MOST).map(|_| hub.join(None, Follows::All).unwrap()).collect();
        assert!(hub.join(None, Follows::All).is_none());
        hub.leave(&all[0]);
        assert!(hub.join(None, Follows::All).is_some());
    }
}
