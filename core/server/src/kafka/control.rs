//! The commands' topic. One thread carries them out, one after the other.

use super::client::{Context, Sender, Shared};
use super::message::{Command, DeadLetter, Status, Task, VERSION, Verb};
use super::owned::{Record, Records};
use super::service::Kept;
use crate::contract::request::TranscodeRequest;
use crate::jobs::Jobs;
use crate::live::LiveService;
use crate::live::streams::{StreamState, StreamView};
use crate::store::Store;
use ghoststream::ErrorKind;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// How long one look at the topic takes.
const LOOK: Duration = Duration::from_millis(100);
/// How long a broker may take for a dead letter before it is offered again.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long after a partition is gone its streams go on here.
const GRACE: Duration = Duration::from_secs(5);
/// How many names of commands are remembered.
const REMEMBERED: usize = 10_000;

/// What carries out commands.
pub(super) struct Control {
    pub shared: Arc<Shared>,
    pub sender: Arc<Sender>,
    pub live: Option<LiveService>,
    /// What films are made with, where there is an object store.
    pub films: Option<(Jobs, Store)>,
    pub runtime: Handle,
    pub kept: Kept,
    pub ending: watch::Receiver<bool>,
    pub done: Remembered,
    /// What is to run in the group, when streams outlive their node.
    pub records: Option<Records>,
    /// Partitions of this node.
    pub mine: BTreeSet<i32>,
    /// Partitions that it had, and since when it has not.
    pub lost: BTreeMap<i32, Instant>,
}

/// The names of the last commands.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    names: HashSet<String>,
    order: VecDeque<String>,
}

impl Remembered {
    /// Remembers a name; `false` when it is known.
    fn insert(&mut self, name: &str) -> bool {
        if !self.names.insert(name.into()) {
            return false;
        }
        self.order.push_back(name.into());
        if self.order.len() > REMEMBERED
            && let Some(old) = self.order.pop_front()
        {
            self.names.remove(&old);
        }
        true
    }
}

impl Control {
    /// Until the end; `prepare` is called whenever a broker is found. Blocks.
    pub fn run(mut self, consumer: &BaseConsumer<Context>, prepare: impl Fn()) {
        let topic = self.shared.settings.control_topic.clone();
        if let Err(e) = consumer.subscribe(&[&topic]) {
            return tracing::error!("Kafka's topic {topic}: {e}");
        }
        let mut connections = 0;
        while !*self.ending.borrow() {
            let now = self.shared.connections.load(Ordering::SeqCst);
            if now != std::mem::replace(&mut connections, now) {
                prepare();
            }
            let message = consumer.poll(LOOK);
            // Before the first command of a partition: what is to run there.
            self.share(consumer);
            match message {
                None => {}
                Some(Ok(message)) => {
                    self.shared.consumed(&topic);
                    if self.settle(&message)
                        && let Err(e) = consumer.commit_message(&message, CommitMode::Async)
                    {
                        self.shared.failed("commit", &topic);
                        tracing::debug!("Kafka's offsets: {e}");
                    }
                }
                Some(Err(e)) => {
                    // A topic that is not there yet is looked for again; so is a broker, with pauses of librdkafka's.
                    if !matches!(e, KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition))
                    {
                        self.shared.failed("consume", &topic);
                    }
                    tracing::debug!("Kafka's topic {topic}: {e}");
                    std::thread::sleep(LOOK);
                }
            }
        }
        match consumer.commit_consumer_state(CommitMode::Sync) {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Err(e) => tracing::debug!("Kafka's last offsets: {e}"),
        }
    }

    /// Carries a command out or puts it to the dead letters; `false` when the end came before either was done.
    fn settle(&mut self, message: &BorrowedMessage<'_>) -> bool {
        let body = message.payload().unwrap_or_default();
        let Err(why) = self.carry_out(body, message.partition()) else { return true };
        self.shared.failed("process", message.topic());
        tracing::warn!(
            partition = message.partition(),
            offset = message.offset(),
            "a command from Kafka: {why}"
        );
        let letter = DeadLetter {
            original_topic: message.topic().into(),
            partition: message.partition(),
            offset: message.offset(),
            error: why,
            service_id: self.shared.node.clone(),
            consumer_group: self.shared.settings.group.clone(),
            timestamp: Status::new("", "", "", "").timestamp,
            value: String::from_utf8_lossy(body).into_owned(),
            version: VERSION,
        };
        let letter = serde_json::to_vec(&letter).unwrap_or_default();
        let (topic, key) = (&self.shared.settings.dead_letter_topic, message.key().unwrap_or_default());
        // A refused command whose letter is lost would be a lost command.
        if !self.sender.insist(topic, key, Some(&letter), PATIENCE, &self.ending) {
            return false;
        }
        self.shared.dead(message.topic());
        true
    }

    fn carry_out(&mut self, body: &[u8], partition: i32) -> Result<(), String> {
        let command = Command::parse(body)?;
        let known = command.command_id.as_ref().is_some_and(|id| self.done.names.contains(id));
        let outcome = match (command.command, known) {
            // What is there already is not made again, so a film may be asked for as often as one likes.
            (Verb::Transcode, _) => return self.film(&command),
            // Its effect is there; the answer may have been lost.
            (_, true) | (Verb::QueryStatus, _) => Ok(()),
            (Verb::Start, false) => self.start(&command, partition).and_then(|()| match &self.records {
                Some(records) => records.keep(partition, &command),
                None => Ok(()),
            }),
            (Verb::Stop, false) => self.stop(&command),
        };
        if let Err(why) = &outcome {
            self.answer(&command, Some(("error", why.clone())));
        } else {
            // What failed may be asked for again under its name.
            if let Some(id) = &command.command_id {
                self.done.insert(id);
            }
            self.answer(&command, None);
        }
        outcome
    }

    fn start(&self, command: &Command, partition: i32) -> Result<(), String> {
        let live = self.live.as_ref().ok_or("this server runs no live origin (live.enabled)")?;
        let request = command.request(live.recordings())?;
        let (streams, id) = (live.managed(), request.id.clone());
        let made = match streams.get(&id) {
            // A second START changes nothing.
            Some(view) if view.state != StreamState::Stopped => return Ok(()),
            Some(_) => streams.configure(request),
            None => streams.create(request),
        };
        made.and_then(|()| {
            streams.start(&id).inspect_err(|_| {
                streams.remove(&id);
            })
        })
        .map_err(|e| match e.kind() {
            ErrorKind::Invalid => e.message().to_string(),
            _ => format!("stream_id {id}: {}", e.message()),
        })?;
        self.kept.insert(&id, partition);
        tracing::info!(stream = id, "started by Kafka");
        Ok(())
    }

    fn stop(&self, command: &Command) -> Result<(), String> {
        let live = self.live.as_ref().ok_or("this server runs no live origin (live.enabled)")?;
        self.kept.remove(&command.stream_id);
        if let Some(records) = &self.records {
            records.forget(&command.stream_id)?;
        }
        if live.managed().stop(&command.stream_id) {
            tracing::info!(stream = command.stream_id, "stopped by Kafka");
        }
        Ok(())
    }

    /// Takes over the streams of partitions that are new here, and gives up those of partitions that others have.
    fn share(&mut self, consumer: &BaseConsumer<Context>) {
        let (Some(records), Ok(list)) = (self.records.clone(), consumer.assignment()) else { return };
        let now: BTreeSet<i32> = list.elements().iter().map(TopicPartitionListElem::partition).collect();
        for partition in self.mine.difference(&now) {
            self.lost.insert(*partition, Instant::now());
        }
        self.lost.retain(|partition, _| !now.contains(partition));
        let gained: Vec<i32> = now.difference(&self.mine).copied().collect();
        self.mine.retain(|partition| now.contains(partition));
        if !gained.is_empty() {
            match records.read() {
                Ok(all) => {
                    self.take_over(all.into_values().filter(|record| gained.contains(&record.partition)));
                    self.mine.extend(gained);
                }
                // Looked at again.
                Err(why) => {
                    self.shared.failed("consume", &self.shared.settings.streams_topic);
                    tracing::debug!("{why}");
                }
            }
        }
        // A broker that was away takes all partitions and gives them back: nothing stops for that.
        let others = self.shared.is_connected() && !self.mine.is_empty();
        let over: Vec<i32> = self
            .lost
            .iter()
            .filter(|(_, since)| others && since.elapsed() > GRACE)
            .map(|(p, _)| *p)
            .collect();
        for partition in over {
            self.lost.remove(&partition);
            for id in self.kept.give_up(partition) {
                tracing::info!(stream = id, "another node has it now");
                if let Some(live) = &self.live {
                    live.managed().remove(&id);
                }
            }
        }
    }

    fn take_over(&self, all: impl Iterator<Item = Record>) {
        for Record { partition, command, .. } in all {
            let id = &command.stream_id;
            let running = |live: &LiveService| {
                live.managed().get(id).is_some_and(|view| view.state != StreamState::Stopped)
            };
            if self.live.as_ref().is_some_and(running) {
                continue;
            }
            match self.start(&command, partition) {
                Ok(()) => tracing::info!(stream = id, "taken over"),
                Err(why) => {
                    tracing::warn!(stream = id, "it cannot be taken over: {why}");
                    let status =
                        Status::new(&self.shared.node, id, "error", "state").with("error", Some(why));
                    super::status::send(&self.shared, &self.sender, &status);
                }
            }
        }
    }

    /// Plans a film and hands its parts out.
    fn film(&self, command: &Command) -> Result<(), String> {
        let tell = |state: &str, more: &[(&str, String)]| {
            let mut status = Status::new(&self.shared.node, &command.stream_id, state, "answer");
            status.metadata.extend(command.told_again());
            status.metadata.extend(more.iter().map(|(k, v)| (k.to_string(), v.clone())));
            super::status::send(&self.shared, &self.sender, &status);
        };
        self.hand_out(command, tell).inspect_err(|why| tell("error", &[("error", why.clone())]))
    }

    fn hand_out(&self, command: &Command, tell: impl Fn(&str, &[(&str, String)])) -> Result<(), String> {
        let (jobs, store) = self.films.as_ref().ok_or("this server has no object store (store.url)")?;
        crate::live::registry::check_name(&command.stream_id).map_err(|why| format!("stream_id: {why}"))?;
        let output = command.output.clone().unwrap_or_else(|| format!("films/{}", command.stream_id));
        crate::store::check_key(&output).map_err(|e| format!("output: {}", e.message()))?;
        let body = command.request.as_ref().ok_or("request: TRANSCODE needs it")?;
        let understood = TranscodeRequest::read(body).map_err(|all| {
            let word = |v: &serde_json::Value| v.as_str().map_or_else(|| v.to_string(), String::from);
            let path = |loc: &[serde_json::Value]| loc.iter().skip(1).map(word).collect::<Vec<_>>().join(".");
            let all: Vec<String> = all.iter().map(|e| format!("{}: {}", path(&e.loc), e.msg)).collect();
            format!("request: {}", all.join("; "))
        })?;
        if let Some(unknown) = understood.ignored.first() {
            return Err(format!("request.{unknown}: there is no such field"));
        }
        let plan = self.runtime.block_on(jobs.plan_film(understood.request)).map_err(|e| e.message)?;
        let film = plan.film(Path::new("/"))?;
        self.runtime.block_on(super::tasks::keep_plan(store, &output, &plan))?;
        let parts = super::tasks::parts(&film, self.shared.settings.task_seconds);
        let topic = &self.shared.settings.tasks_topic;
        let partitions = self.sender.partitions(topic, PATIENCE)?;
        let count = parts.len();
        // Told before the first part is done.
        tell("starting", &[("parts", count.to_string()), ("duration", format!("{:.3}", film.duration()))]);
        self.sender.flush(PATIENCE);
        for (part, (first, end)) in (0..).zip(parts) {
            let task = Task {
                film: command.stream_id.clone(),
                output: output.clone(),
                part,
                parts: count as u64,
                first,
                end,
                version: VERSION,
            };
            let body = serde_json::to_vec(&task).map_err(|e| e.to_string())?;
            // In turn, so that all nodes have as much to do.
            let partition = i32::try_from(part % u64::from(partitions.unsigned_abs())).ok();
            let key = format!("{output}/{part}");
            if !self.sender.deliver(topic, key.as_bytes(), Some(&body), partition, PATIENCE * 6) {
                return Err(format!("the topic {topic}: no broker took part {part}"));
            }
        }
        tracing::info!(film = command.stream_id, output, parts = count, "handed out");
        Ok(())
    }

    /// Tells how the stream is doing after the command.
    fn answer(&self, command: &Command, failed: Option<(&str, String)>) {
        let view = self.live.as_ref().and_then(|live| live.managed().get(&command.stream_id));
        let (state, error) = match (failed, &view) {
            (Some((state, why)), _) => (state, Some(why)),
            (None, Some(view)) => (super::status::word(view.state), view.error.clone()),
            (None, None) => ("not_found", None),
        };
        let mut status =
            Status::new(&self.shared.node, &command.stream_id, state, "answer").with("error", error);
        status.metadata.extend(command.told_again());
        let status = status.with("uptime", view.as_ref().and_then(uptime));
        super::status::send(&self.shared, &self.sender, &status);
    }
}

fn uptime(view: &StreamView) -> Option<String> {
    view.uptime.map(|u| format!("{:.3}", u.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_s_name_is_known_the_second_time_and_forgotten_some_day() {
        let mut all = Remembered::default();
        assert!(all.insert("a") && !all.insert("a"));
        for n in 0..REMEMBERED {
            all.insert(&n.to_string());
        }
        assert!(all.insert("a") && all.names.len() == REMEMBERED);
    }
}
