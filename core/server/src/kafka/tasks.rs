//! Films that several nodes make together: a film is cut into parts, each part is a task on a topic, and each node of the
//! group takes tasks one after the other.
//!
//! A node puts the segments of its part into the object store and then commits the task. One that dies has not committed:
//! another gets the task, and what is there already is not made again. Whoever finds that all segments are there writes the
//! playlists; if two do, they write the same.

use super::client::{Context, Sender, Shared};
use super::message::{DeadLetter, Status, Task, VERSION};
use super::status;
use crate::jobs::{FilmPlan, Jobs};
use crate::playback::Film;
use crate::store::{FOR_EVER, Store};
use bytes::Bytes;
use ghoststream::ErrorKind;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long one look at the topic takes.
const LOOK: Duration = Duration::from_millis(100);
/// How long a broker may take for a dead letter before it is offered again.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a part is tried.
const TRIES: u32 = 3;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a playlist of a finished film may be kept: it may be made anew with other settings.
pub(super) const SOME_TIME: &str = "max-age=60";

/// What makes parts.
#[derive(Clone)]
pub(super) struct Tasks {
    pub shared: Arc<Shared>,
    pub sender: Arc<Sender>,
    pub jobs: Jobs,
    pub store: Store,
    pub runtime: Handle,
    pub ending: watch::Receiver<bool>,
}

impl Tasks {
    /// Until the end. Blocks.
    pub fn run(self, consumer: &BaseConsumer<Context>) {
        let topic = self.shared.settings.tasks_topic.clone();
        if let Err(e) = consumer.subscribe(&[&topic]) {
            return tracing::error!("Kafka's topic {topic}: {e}");
        }
        let mut waiting: VecDeque<OwnedMessage> = VecDeque::new();
        let mut at: Option<(OwnedMessage, JoinHandle<Result<(), String>>)> = None;
        let mut halted = BTreeSet::new();
        while !*self.ending.borrow() {
            if at.as_ref().is_some_and(|(_, work)| work.is_finished())
                && let Some((message, work)) = at.take()
            {
                let outcome = self.runtime.block_on(work).unwrap_or_else(|e| Err(e.to_string()));
                if self.settle(&message, outcome) {
                    self.commit(consumer, &message);
                }
            }
            if at.is_none()
                && let Some(message) = waiting.pop_front()
            {
                let (this, body) = (self.clone(), message.payload().unwrap_or_default().to_vec());
                at = Some((message, self.runtime.spawn(async move { this.carry_out(&body).await })));
            }
            // The group is spoken to all the time, but nothing more is taken while there is work.
            halt(consumer, &mut halted, at.is_some());
            match consumer.poll(LOOK) {
                None => {}
                Some(Ok(message)) => {
                    self.shared.consumed(&topic);
                    waiting.push_back(message.detach());
                }
                Some(Err(e)) => {
                    if !matches!(e, KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition))
                    {
                        self.shared.failed("consume", &topic);
                    }
                    tracing::debug!("Kafka's topic {topic}: {e}");
                    std::thread::sleep(LOOK);
                }
            }
        }
        // What is not done goes to another node.
        if let Some((_, work)) = at {
            work.abort();
        }
    }

    fn commit(&self, consumer: &BaseConsumer<Context>, message: &OwnedMessage) {
        let mut list = TopicPartitionList::new();
        let done = list
            .add_partition_offset(message.topic(), message.partition(), Offset::Offset(message.offset() + 1))
            .and_then(|()| consumer.commit(&list, CommitMode::Async));
        if let Err(e) = done {
            self.shared.failed("commit", message.topic());
            tracing::debug!("Kafka's offsets: {e}");
        }
    }

    /// Puts a part that failed to the dead letters; `false` when the end came first.
    fn settle(&self, message: &OwnedMessage, outcome: Result<(), String>) -> bool {
        let Err(why) = outcome else { return true };
        let body = message.payload().unwrap_or_default();
        self.shared.failed("process", message.topic());
        tracing::warn!(partition = message.partition(), offset = message.offset(), "a part of a film: {why}");
        if let Ok(task) = Task::parse(body) {
            let told = Status::new(&self.shared.node, &task.film, "error", "progress")
                .with("part", Some(task.part))
                .with("error", Some(&why));
            status::send(&self.shared, &self.sender, &told);
        }
        let letter = DeadLetter {
            original_topic: message.topic().into(),
            partition: message.partition(),
            offset: message.offset(),
            error: why,
            service_id: self.shared.node.clone(),
            consumer_group: self.shared.tasks_group(),
            timestamp: Status::new("", "", "", "").timestamp,
            value: String::from_utf8_lossy(body).into_owned(),
            version: VERSION,
        };
        let delivered = self.sender.insist(
            &self.shared.settings.dead_letter_topic,
            message.key().unwrap_or_default(),
            Some(&serde_json::to_vec(&letter).unwrap_or_default()),
            PATIENCE,
            &self.ending,
        );
        if delivered {
            self.shared.dead(message.topic());
        }
        delivered
    }

    async fn carry_out(&self, body: &[u8]) -> Result<(), String> {
        let task = Task::parse(body)?;
        let plan = read_plan(&self.store, &task.output).await.map_err(|e| e.to_string())?;
        let plan = plan.ok_or_else(|| format!("{}: the film's plan is gone", task.output))?;
        let film = plan.film(Path::new("/"))?;
        if task.end > film.count() || task.first >= task.end {
            return Err(format!("segments {} to {}: the film has {}", task.first, task.end, film.count()));
        }
        for left in (0..TRIES).rev() {
            match self.part(&task, &plan, &film).await {
                Ok(()) => break,
                Err((why, true)) if left > 0 => {
                    tracing::info!(film = task.film, part = task.part, "tried again: {why}");
                    tokio::time::sleep(PAUSE).await;
                }
                Err((why, _)) => return Err(why),
            }
        }
        Ok(())
    }

    /// Makes a part, unless it is there. An error says whether another try may help.
    async fn part(&self, task: &Task, plan: &FilmPlan, film: &Film) -> Result<(), (String, bool)> {
        let failed = |e: ghoststream::Error| (e.message().to_string(), e.kind() == ErrorKind::Io);
        let before = there(&self.store, &task.output).await.map_err(failed)?;
        let mine = film.segments(task.first, task.end);
        if before.contains("stopped") {
            return Ok(());
        }
        if !mine.iter().chain(&film.inits()).all(|name| before.contains(name)) {
            let files = self.jobs.make_film(plan, task.first, task.end).await.map_err(|e| {
                (e.message.clone(), matches!(e.kind, None | Some(ErrorKind::Io | ErrorKind::Busy)))
            })?;
            for file in files {
                let key = format!("{}/{}", task.output, file.name);
                let data = Bytes::from(file.data);
                if !file.name.ends_with("/init.mp4") {
                    self.store.put(&key, data, file.content_type, FOR_EVER).await.map_err(failed)?;
                } else if !self
                    .store
                    .create(&key, data.clone(), file.content_type, FOR_EVER)
                    .await
                    .map_err(failed)?
                    && self.store.get(&key).await.map_err(failed)? != data
                {
                    // Players have one init segment for all.
                    return Err((format!("{key}: another node's encoder makes another stream"), false));
                }
            }
            tracing::info!(film = task.film, part = task.part, of = task.parts, "made");
        }
        let there = there(&self.store, &task.output).await.map_err(failed)?;
        let whole = film.segments(0, film.count());
        let made = whole.iter().filter(|name| there.contains(*name)).count();
        if made == whole.len() {
            return self.finish(task, film).await.map_err(failed);
        }
        let told = Status::new(&self.shared.node, &task.film, "running", "progress")
            .with("part", Some(task.part))
            .with("parts", Some(task.parts))
            .with("percent", Some(made * 100 / whole.len().max(1)));
        status::send(&self.shared, &self.sender, &told);
        Ok(())
    }

    /// All segments are there: the playlists, and the word that it is complete.
    async fn finish(&self, task: &Task, film: &Film) -> ghoststream::Result<()> {
        let mut inits = Vec::new();
        for name in film.inits() {
            inits.push(self.store.get(&format!("{}/{name}", task.output)).await?.to_vec());
        }
        for file in film.playlists(&inits) {
            let key = format!("{}/{}", task.output, file.name);
            self.store.put(&key, file.data.into(), file.content_type, SOME_TIME).await?;
        }
        let playlist = format!("{}/master.m3u8", task.output);
        tracing::info!(film = task.film, playlist, "complete");
        let told = Status::new(&self.shared.node, &task.film, "completed", "progress")
            .with("parts", Some(task.parts))
            .with("percent", Some(100))
            .with("duration", Some(format!("{:.3}", film.duration())))
            .with("playlist", Some(playlist));
        status::send(&self.shared, &self.sender, &told);
        Ok(())
    }
}

/// What there is of a film that was stopped.
pub(super) fn stopped_key(output: &str) -> String {
    format!("{output}/stopped")
}

/// The names of a film's files in the store.
pub(super) async fn there(store: &Store, output: &str) -> ghoststream::Result<BTreeSet<String>> {
    let all = store.list(output).await?;
    Ok(all
        .into_iter()
        .filter_map(|s| s.key.strip_prefix(output)?.strip_prefix('/').map(String::from))
        .collect())
}

/// Where a film's plan is.
fn plan_key(output: &str) -> String {
    format!("{output}/plan.json")
}

pub(super) async fn read_plan(store: &Store, output: &str) -> ghoststream::Result<Option<FilmPlan>> {
    match store.get(&plan_key(output)).await {
        Ok(bytes) => {
            let plan = serde_json::from_slice(&bytes).map_err(|e| {
                ghoststream::Error::new(ErrorKind::Format, format!("{}: {e}", plan_key(output)))
            })?;
            Ok(Some(plan))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Puts a film's plan into the store. The same plan may be there already; then its parts are handed out again.
///
/// # Errors
/// In words; above all that another film is there.
pub(super) async fn keep_plan(store: &Store, output: &str, plan: &FilmPlan) -> Result<(), String> {
    let bytes = serde_json::to_vec(plan).map_err(|e| e.to_string())?;
    let key = plan_key(output);
    let created = store.create(&key, bytes.into(), "application/json", SOME_TIME).await;
    if created.map_err(|e| e.message().to_string())? {
        return Ok(());
    }
    let before = read_plan(store, output).await.map_err(|e| e.message().to_string())?;
    let same = |p: &FilmPlan| serde_json::to_value(p).ok() == serde_json::to_value(plan).ok();
    match before {
        Some(before) if same(&before) => Ok(()),
        _ => Err(format!("output: {output} has another film, or this one with other settings")),
    }
}

/// The parts of a film: segments of about `seconds` together.
pub(super) fn parts(film: &Film, seconds: f64) -> Vec<(u64, u64)> {
    let count = film.count();
    let each = film.duration() / count.max(1) as f64;
    let step = ((seconds / each.max(0.1)).round() as u64).max(1);
    (0..count)
        .step_by(usize::try_from(step).unwrap_or(usize::MAX))
        .map(|n| (n, (n + step).min(count)))
        .collect()
}

/// Halts or continues all partitions of this node.
fn halt(consumer: &BaseConsumer<Context>, halted: &mut BTreeSet<i32>, busy: bool) {
    let Ok(all) = consumer.assignment() else { return };
    let now: BTreeSet<i32> =
        all.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect();
    // What another node had meanwhile is not halted any more.
    halted.retain(|p| now.contains(p));
    let (change, halts): (Vec<i32>, bool) = match busy {
        true => (now.difference(halted).copied().collect(), true),
        false => (halted.iter().copied().collect(), false),
    };
    if change.is_empty() {
        return;
    }
    let mut list = TopicPartitionList::new();
    for element in all.elements().iter().filter(|e| change.contains(&e.partition())) {
        list.add_partition(element.topic(), element.partition());
    }
    let done = if halts { consumer.pause(&list) } else { consumer.resume(&list) };
    match done {
        Ok(()) if halts => halted.extend(change),
        Ok(()) => halted.clear(),
        Err(e) => tracing::debug!("Kafka's partitions: {e}"),
    }
}
