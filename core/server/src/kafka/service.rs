//! Kafka as a whole: its threads from start to end.

use super::client::{Sender, Shared, Topic};
use super::control::{Control, Remembered};
use super::owned::Records;
use super::peers::Peers;
use super::status::Teller;
use super::tasks::Tasks;
use crate::config::Config;
use crate::jobs::Jobs;
use crate::live::{LiveService, Streams};
use crate::store::Store;
use ghoststream::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Kafka beside a running server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Kafka {
    shared: Arc<Shared>,
}

/// Streams that commands started: nobody sends heartbeats for them, they run until a command stops them.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<Mutex<Cared>>);

#[derive(Debug, Default)]
struct Cared {
    /// By name: the partition that its command came by.
    streams: BTreeMap<String, i32>,
    /// Those that another node has now.
    moved: BTreeSet<String>,
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Cared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn insert(&self, id: &str, partition: i32) {
        let mut cared = self.lock();
        cared.moved.remove(id);
        cared.streams.insert(id.into(), partition);
    }

    /// All of them, with their partitions.
    pub fn all(&self) -> Vec<(String, i32)> {
        self.lock().streams.iter().map(|(id, partition)| (id.clone(), *partition)).collect()
    }

    /// Whether commands started it here.
    pub fn has(&self, id: &str) -> bool {
        self.lock().streams.contains_key(id)
    }

    /// Takes one out that another node has now; whether it was there.
    pub fn hand_over(&self, id: &str) -> bool {
        let mut cared = self.lock();
        let there = cared.streams.remove(id).is_some();
        if there {
            cared.moved.insert(id.into());
        }
        there
    }

    pub fn remove(&self, id: &str) {
        self.lock().streams.remove(id);
    }

    /// Takes out those of a partition that another node has now.
    pub fn give_up(&self, partition: i32) -> Vec<String> {
        let mut cared = self.lock();
        let gone: Vec<String> =
            cared.streams.iter().filter(|(_, p)| **p == partition).map(|(id, _)| id.clone()).collect();
        for id in &gone {
            cared.streams.remove(id);
            cared.moved.insert(id.clone());
        }
        gone
    }

    /// Whether another node has it now, which is told once.
    pub fn has_moved(&self, id: &str) -> bool {
        self.lock().moved.remove(id)
    }

    /// Lets them live on; those that somebody else removed are forgotten.
    pub fn care(&self, streams: &Streams) {
        self.lock().streams.retain(|id, _| streams.heartbeat(id));
    }
}

impl Kafka {
    /// Begins to carry out commands and to tell states; where there is an object store, also to make parts of films, until `ending`; `None` without brokers in the settings. Brokers that
    /// are away are no error. Call it within a tokio runtime; the tasks end soon after `ending`.
    ///
    /// # Errors
    /// [`ghoststream::ErrorKind::Invalid`] for settings that librdkafka refuses.
    pub fn start(
        config: &Config,
        live: Option<&LiveService>,
        jobs: &Jobs,
        ending: &watch::Receiver<bool>,
    ) -> Result<Option<(Kafka, Vec<JoinHandle<()>>)>> {
        if config.kafka.brokers.is_empty() {
            return Ok(None);
        }
        let shared = Arc::new(Shared::new(&config.kafka));
        let sender = Arc::new(Sender::new(&shared)?);
        let consumer = shared.consumer(&config.kafka.group, true)?;
        let kept = Kept::default();
        let runtime = tokio::runtime::Handle::current();
        let films = match &config.store.url {
            Some(_) => Some((jobs.clone(), Store::open(&config.store)?)),
            None => None,
        };
        let mut tasks = Vec::new();
        if let Some((jobs, store)) = &films {
            let parts = Tasks {
                shared: Arc::clone(&shared),
                sender: Arc::clone(&sender),
                jobs: jobs.clone(),
                store: store.clone(),
                runtime: runtime.clone(),
                ending: ending.clone(),
            };
            let consumer = shared.consumer(&shared.tasks_group(), false)?;
            tasks.push(tokio::task::spawn_blocking(move || parts.run(&consumer)));
        }
        let (makes, shares) = (films.is_some(), live.is_some());
        let records = config.kafka.take_over.then(|| Records {
            shared: Arc::clone(&shared),
            sender: Arc::clone(&sender),
            ending: ending.clone(),
        });
        let peers = match live {
            Some(_) => Some(Peers::new(&shared, &sender)?),
            None => None,
        };
        let control = Control {
            records: records.filter(|_| live.is_some()),
            shared: Arc::clone(&shared),
            sender: Arc::clone(&sender),
            live: live.cloned(),
            films,
            runtime: runtime.clone(),
            kept: kept.clone(),
            ending: ending.clone(),
            done: Remembered::default(),
            peers,
            waiting: Vec::new(),
            looked: Instant::now(),
            mine: BTreeSet::new(),
            lost: BTreeMap::new(),
        };
        let making = Arc::clone(&shared);
        tasks.push(tokio::task::spawn_blocking(move || {
            let settings = making.settings.clone();
            let partitions = i32::from(settings.partitions);
            let mut topics: Vec<Topic<'_>> = vec![
                (settings.control_topic.as_str(), partitions, &[]),
                (settings.status_topic.as_str(), partitions, &[]),
                (settings.dead_letter_topic.as_str(), 1, &[]),
                (settings.streams_topic.as_str(), 1, &[("cleanup.policy", "compact")]),
                (settings.tasks_topic.as_str(), partitions, &[]),
                // Of no interest a minute later.
                (settings.nodes_topic.as_str(), 1, &[("retention.ms", "3600000")]),
            ];
            // Only what is used is made.
            topics.retain(|(name, ..)| {
                let unused = (*name == settings.tasks_topic && !makes)
                    || (*name == settings.streams_topic && !settings.take_over)
                    || (*name == settings.nodes_topic && !shares);
                !unused
            });
            control.run(&consumer, || making.make_topics(&runtime, &topics));
        }));
        if let Some(live) = live {
            let teller = Teller {
                shared: Arc::clone(&shared),
                sender,
                live: live.clone(),
                kept,
                ending: ending.clone(),
            };
            tasks.push(tokio::task::spawn_blocking(move || teller.run()));
        }
        Ok(Some((Kafka { shared }, tasks)))
    }

    /// A page of figures for Prometheus, with the names of the service that it replaces.
    pub fn metrics(&self) -> String {
        self.shared.metrics()
    }
}
