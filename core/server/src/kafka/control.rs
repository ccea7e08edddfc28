//! The commands' topic. One thread carries them out, one after the other.

use super::client::{Context, Sender, Shared};
use super::message::{Command, DeadLetter, Status, VERSION, Verb};
use super::owned::{Record, Records};
use super::peers::{Home, Peers, Turn};
use super::service::Kept;
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

/// How often a place is looked for, for what waits.
const AGAIN: Duration = Duration::from_secs(1);

/// Why a stream cannot be started here.
enum Cannot {
    /// There is no room now.
    Now(String),
    /// It makes no sense, here and anywhere.
    Never(String),
}

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
    /// The other nodes, where there is a live origin.
    pub peers: Option<Peers>,
    /// Streams that nobody has room for, with their partitions.
    pub waiting: Vec<(Command, i32)>,
    /// Partitions of this node.
    pub mine: BTreeSet<i32>,
    /// Partitions that it had, and since when it has not.
    pub lost: BTreeMap<i32, Instant>,
    /// When places were last looked for.
    pub looked: Instant,
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
            self.speak();
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
        let key = message.key().unwrap_or_default();
        self.bury(message.topic(), message.partition(), message.offset(), key, body, why)
    }

    /// Puts a command to the dead letters; `false` when the end came first.
    fn bury(&self, topic: &str, partition: i32, offset: i64, key: &[u8], body: &[u8], why: String) -> bool {
        let letter = DeadLetter {
            original_topic: topic.into(),
            partition,
            offset,
            error: why,
            service_id: self.shared.node.clone(),
            consumer_group: self.shared.settings.group.clone(),
            timestamp: Status::new("", "", "", "").timestamp,
            value: String::from_utf8_lossy(body).into_owned(),
            version: VERSION,
        };
        let letter = serde_json::to_vec(&letter).unwrap_or_default();
        let dead = &self.shared.settings.dead_letter_topic;
        // A refused command whose letter is lost would be a lost command.
        if !self.sender.insist(dead, key, Some(&letter), PATIENCE, &self.ending) {
            return false;
        }
        self.shared.dead(topic);
        true
    }

    fn carry_out(&mut self, body: &[u8], partition: i32) -> Result<(), String> {
        let command = Command::parse(body)?;
        let known = command.command_id.as_ref().is_some_and(|id| self.done.names.contains(id));
        let outcome = match (command.command, known) {
            // What is there already is not made again, so a film may be asked for as often as one likes.
            (Verb::Transcode, _) => return self.film(&command),
            // Its effect is there; the answer may have been lost.
            (Verb::QueryStatus | Verb::Stop, _) if self.is_film(&command)? => {
                self.remember(&command);
                return Ok(());
            }
            (Verb::QueryStatus, _) | (_, true) => {
                // Who runs it answers.
                if !self.kept.has(&command.stream_id) && self.passed_on(&command, partition) {
                    return Ok(());
                }
                Ok(())
            }
            (Verb::Start, false) => match self.place(&command, partition) {
                Ok(true) => Ok(()),
                Ok(false) => {
                    self.remember(&command);
                    return Ok(());
                }
                Err(why) => Err(why),
            },
            (Verb::Stop, false) => match self.stop(&command, partition) {
                Ok(true) => Ok(()),
                Ok(false) => {
                    self.remember(&command);
                    return Ok(());
                }
                Err(why) => Err(why),
            },
        };
        if let Err(why) = &outcome {
            self.answer(&command, Some(("error", why.clone())));
        } else {
            self.remember(&command);
            self.answer(&command, None);
        }
        outcome
    }

    /// Remembers a command that has its effect. What failed may be asked for again under its name.
    fn remember(&mut self, command: &Command) {
        if let Some(id) = &command.command_id {
            self.done.insert(id);
        }
    }

    /// Starts a stream here, or at another node of the group, or lets it wait; `false` when somebody else answers, or it waits.
    fn place(&mut self, command: &Command, partition: i32) -> Result<bool, String> {
        if !self.kept.has(&command.stream_id) && self.passed_on(command, partition) {
            return Ok(false);
        }
        self.waiting.retain(|(one, _)| one.stream_id != command.stream_id);
        match self.start(command, partition) {
            Ok(()) => {
                self.record(command, partition, None)?;
                Ok(true)
            }
            Err(Cannot::Never(why)) => Err(why),
            Err(Cannot::Now(why)) => {
                let node = self.peers.as_mut().and_then(|peers| peers.hand_on(command, partition));
                if let Some(node) = &node {
                    tracing::info!(stream = command.stream_id, node, "handed on: {why}");
                } else {
                    tracing::warn!(stream = command.stream_id, "it waits, no node has room: {why}");
                    self.waiting.push((command.clone(), partition));
                    self.waits(command);
                }
                self.record(command, partition, node)?;
                Ok(false)
            }
        }
    }

    /// What is to run, and where if not at its home.
    fn record(&self, command: &Command, partition: i32, node: Option<String>) -> Result<(), String> {
        match &self.records {
            Some(records) => records.keep(partition, command, node),
            None => Ok(()),
        }
    }

    /// Whether a command was for a film, and has been answered: no stream has its name.
    fn is_film(&self, command: &Command) -> Result<bool, String> {
        let id = &command.stream_id;
        let stream = self.live.as_ref().is_some_and(|live| live.managed().get(id).is_some())
            || self.waiting.iter().any(|(one, _)| one.stream_id == *id)
            || self.peers.as_ref().is_some_and(|peers| peers.knows(id));
        if stream { Ok(false) } else { self.of_film(command) }
    }

    /// Passes a command on to the node that runs its stream, if another one does.
    fn passed_on(&mut self, command: &Command, partition: i32) -> bool {
        self.peers.as_mut().is_some_and(|peers| peers.pass_on(command, partition).is_some())
    }

    /// Tells of a stream that waits.
    fn waits(&self, command: &Command) {
        let mut status = Status::new(&self.shared.node, &command.stream_id, "starting", "answer")
            .with("waiting", Some("no node has room"));
        status.metadata.extend(command.told_again());
        super::status::send(&self.shared, &self.sender, &status);
    }

    /// Hears what other nodes say, and looks for places for what waits.
    fn speak(&mut self) {
        let (Some(live), Some(mut peers)) = (self.live.clone(), self.peers.take()) else { return };
        let known = self.records.is_some();
        let home = Home { kept: &self.kept, mine: &self.mine, waiting: &self.waiting, known };
        let turns = peers.turn(&live, &home);
        let changed = !turns.is_empty();
        self.peers = Some(peers);
        for turn in turns {
            match turn {
                Turn::Guest { home, partition, command } => self.guest(home, partition, command),
                Turn::Place { partition, command } => self.waiting.push((command, partition)),
                Turn::Failed { partition, command, why } => self.give_up(&command, partition, why),
                Turn::Drop { stream } => {
                    if self.kept.hand_over(&stream) {
                        tracing::info!(stream, "another node has it now");
                        live.managed().remove(&stream);
                    }
                }
            }
        }
        if self.looked.elapsed() >= AGAIN || changed {
            self.looked = Instant::now();
            for (command, partition) in std::mem::take(&mut self.waiting) {
                self.seat(command, partition);
            }
        }
        if changed && let Some(peers) = &mut self.peers {
            peers.here(&live, &self.kept, &self.mine);
        }
    }

    /// Looks for a place for a stream that waits.
    fn seat(&mut self, command: Command, partition: i32) {
        if let Some(peers) = &mut self.peers
            && let Some(node) = peers.runner(&command.stream_id)
        {
            // Its last home had room for it, and has.
            peers.expect(node.clone(), command.clone(), partition);
            if let Err(why) = self.record(&command, partition, Some(node)) {
                tracing::debug!(stream = command.stream_id, "{why}");
            }
            return;
        }
        let node = match self.start(&command, partition) {
            Ok(()) => {
                tracing::info!(stream = command.stream_id, "there is room for it now");
                self.answer(&command, None);
                None
            }
            Err(Cannot::Never(why)) => return self.give_up(&command, partition, why),
            Err(Cannot::Now(_)) => match self.peers.as_mut().and_then(|p| p.hand_on(&command, partition)) {
                Some(node) => Some(node),
                None => return self.waiting.push((command, partition)),
            },
        };
        if let Err(why) = self.record(&command, partition, node) {
            tracing::debug!(stream = command.stream_id, "{why}");
        }
    }

    /// Carries out a command for another home.
    fn guest(&mut self, home: String, partition: i32, command: Command) {
        match command.command {
            Verb::Start => match self.start(&command, partition) {
                Ok(()) => self.answer(&command, None),
                Err(why) => {
                    let Some(peers) = &self.peers else { return };
                    match why {
                        Cannot::Now(_) => peers.full(home, command, partition),
                        Cannot::Never(why) => peers.failed(home, command, partition, why),
                    }
                }
            },
            Verb::Stop => {
                self.kept.remove(&command.stream_id);
                if let Some(live) = &self.live {
                    live.managed().stop(&command.stream_id);
                }
                self.answer(&command, None);
            }
            Verb::QueryStatus => self.answer(&command, None),
            Verb::Transcode => {}
        }
    }

    /// A stream that another node could not run either is a dead letter.
    fn give_up(&mut self, command: &Command, partition: i32, why: String) {
        if let Some(records) = &self.records
            && let Err(e) = records.forget(&command.stream_id)
        {
            tracing::debug!("{e}");
        }
        tracing::warn!(stream = command.stream_id, "a command from Kafka: {why}");
        self.answer(command, Some(("error", why.clone())));
        let body = serde_json::to_vec(command).unwrap_or_default();
        let topic = self.shared.settings.control_topic.clone();
        // The message itself is long behind.
        self.bury(&topic, partition, -1, command.stream_id.as_bytes(), &body, why);
    }

    fn start(&self, command: &Command, partition: i32) -> Result<(), Cannot> {
        let live = self.live.as_ref();
        let live =
            live.ok_or_else(|| Cannot::Never("this server runs no live origin (live.enabled)".into()))?;
        let request = command.request(live.recordings()).map_err(Cannot::Never)?;
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
            ErrorKind::Invalid => Cannot::Never(e.message().to_string()),
            // What is in the way is the number of streams, unless somebody publishes under this very name.
            ErrorKind::Busy if live.room() == 0 => Cannot::Now(e.message().to_string()),
            _ => Cannot::Never(format!("stream_id {id}: {}", e.message())),
        })?;
        self.kept.insert(&id, partition);
        tracing::info!(stream = id, "started by Kafka");
        Ok(())
    }

    /// Stops a stream; `false` when the node that runs it answers.
    fn stop(&mut self, command: &Command, partition: i32) -> Result<bool, String> {
        let live = self.live.as_ref().ok_or("this server runs no live origin (live.enabled)")?;
        let (live, here) = (live.clone(), self.kept.has(&command.stream_id));
        self.kept.remove(&command.stream_id);
        self.waiting.retain(|(one, _)| one.stream_id != command.stream_id);
        if let Some(records) = &self.records {
            records.forget(&command.stream_id)?;
        }
        let elsewhere = !here && self.passed_on(command, partition);
        if let Some(peers) = &mut self.peers {
            peers.forget(&command.stream_id);
        }
        if live.managed().stop(&command.stream_id) {
            tracing::info!(stream = command.stream_id, "stopped by Kafka");
        }
        Ok(!elsewhere)
    }

    /// Takes over the streams of partitions that are new here, and gives up those of partitions that others have.
    fn share(&mut self, consumer: &BaseConsumer<Context>) {
        let Ok(list) = consumer.assignment() else { return };
        let now: BTreeSet<i32> = list.elements().iter().map(TopicPartitionListElem::partition).collect();
        if let Some(peers) = &mut self.peers {
            peers.leave(&now);
        }
        let Some(records) = self.records.clone() else {
            self.mine = now;
            return;
        };
        // Their new home finds them on the topic.
        self.waiting.retain(|(_, partition)| now.contains(partition));
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
            // Its new home says which of them it has.
            if self.peers.as_ref().is_some_and(Peers::any) {
                continue;
            }
            for id in self.kept.give_up(partition) {
                tracing::info!(stream = id, "another node has it now");
                if let Some(live) = &self.live {
                    live.managed().remove(&id);
                }
            }
        }
    }

    fn take_over(&mut self, all: impl Iterator<Item = Record>) {
        for Record { partition, command, node, .. } in all {
            let id = &command.stream_id;
            let running = |live: &LiveService| {
                live.managed().get(id).is_some_and(|view| view.state != StreamState::Stopped)
            };
            if self.live.as_ref().is_some_and(running) {
                // It was a guest here.
                if node.is_some()
                    && let Err(why) = self.record(&command, partition, None)
                {
                    tracing::debug!(stream = id, "{why}");
                }
                continue;
            }
            if let (Some(node), Some(peers)) =
                (node.filter(|node| *node != self.shared.node), &mut self.peers)
            {
                // It says that it runs it, or it is gone.
                peers.expect(node, command.clone(), partition);
                continue;
            }
            match self.start(&command, partition) {
                Ok(()) => tracing::info!(stream = id, "taken over"),
                // Found a place for soon, or left where it runs.
                Err(Cannot::Now(_)) => self.waiting.push((command, partition)),
                Err(Cannot::Never(why)) => {
                    tracing::warn!(stream = id, "it cannot be taken over: {why}");
                    let status =
                        Status::new(&self.shared.node, id, "error", "state").with("error", Some(why));
                    super::status::send(&self.shared, &self.sender, &status);
                }
            }
        }
    }

    /// Tells how the stream is doing after the command.
    fn answer(&self, command: &Command, failed: Option<(&str, String)>) {
        let view = self.live.as_ref().and_then(|live| live.managed().get(&command.stream_id));
        let (state, error) = match (failed, &view) {
            (Some((state, why)), _) => (state, Some(why)),
            (None, Some(view)) => (super::status::word(view.state), view.error.clone()),
            (None, None) if self.waiting.iter().any(|(one, _)| one.stream_id == command.stream_id) => {
                return self.waits(command);
            }
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
