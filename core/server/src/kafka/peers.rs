//! Nodes of a group that know how each other does, so that a full one hands its work on.
//!
//! Every node says on a topic of its own how much room it has and what it runs. Who has a stream's partition of the commands'
//! topic is the stream's home: commands for it come there. A home without room asks another node to run the stream, and
//! passes later commands on to it; when nobody has room, the stream waits. What a home knows is in memory; with
//! `kafka.take_over` the record of a stream says who runs it, and its next home goes on from there.

use super::client::{Context, Sender, Shared};
use super::message::{Command, VERSION};
use super::service::Kept;
use crate::live::LiveService;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a node says how it does.
const SAY: Duration = Duration::from_secs(1);
/// A node that has said nothing for so long is gone. A session of the broker's group protocol takes as long.
const GONE: Duration = Duration::from_secs(6);
/// How long a node may take for a stream that it was asked to run.
const ANSWER: Duration = Duration::from_secs(10);
/// Words that are looked at before commands have their turn again.
const AT_ONCE: usize = 200;

/// What nodes say to each other.
#[derive(Debug, Serialize, Deserialize)]
struct Letter {
    /// Who says it.
    node: String,
    /// When that node began, in milliseconds since 1970: one that was started again has lost what it ran.
    began: u64,
    /// The consumer group: others are none of our business.
    group: String,
    /// What.
    word: Word,
    /// 1.
    version: u32,
}

/// What a node says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Word {
    /// How it does, to all.
    Here {
        /// How many streams more it can run.
        room: usize,
        /// What commands made it run.
        runs: BTreeMap<String, Run>,
    },
    /// A command for a stream that `to` runs or is to run. Who carries it out answers.
    Do {
        to: String,
        /// The stream's partition.
        partition: i32,
        command: Box<Command>,
    },
    /// There was no room for the stream.
    Full { to: String, command: Box<Command>, partition: i32 },
    /// The stream cannot be run, by nobody.
    Failed { to: String, command: Box<Command>, partition: i32, why: String },
    /// Another node runs the stream by now.
    Drop { to: String, stream_id: String },
}

/// A stream that a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// The partition of the commands' topic that it belongs to.
    pub partition: i32,
    /// Whether that partition is another node's.
    pub guest: bool,
}

/// Another node, as last heard.
#[derive(Debug)]
struct Node {
    heard: Instant,
    began: u64,
    room: usize,
    runs: BTreeMap<String, Run>,
}

/// A stream of this home that another node runs, or was asked to.
#[derive(Clone, Debug)]
struct Away {
    node: String,
    /// When that node began, once it has said that it runs it.
    confirmed: Option<u64>,
    partition: i32,
    command: Command,
    asked: Instant,
}

/// What a node knows as the home of streams.
pub(super) struct Home<'a> {
    /// What commands made it run.
    pub kept: &'a Kept,
    /// Its partitions of the commands' topic.
    pub mine: &'a BTreeSet<i32>,
    /// Streams without a place.
    pub waiting: &'a [(Command, i32)],
    /// Whether it knows all streams of its partitions.
    pub known: bool,
}

/// What is to be done about what was heard, in order.
#[derive(Debug)]
pub(super) enum Turn {
    /// Carry out a command for `home`, whose partition it belongs to.
    Guest { home: String, partition: i32, command: Command },
    /// Find a place for a stream.
    Place { partition: i32, command: Command },
    /// A stream cannot be run, and never will.
    Failed { partition: i32, command: Command, why: String },
    /// Another node has this stream.
    Drop { stream: String },
}

/// The other nodes, and what this home knows of streams elsewhere.
pub(super) struct Peers {
    shared: Arc<Shared>,
    sender: Arc<Sender>,
    consumer: BaseConsumer<Context>,
    began: u64,
    nodes: BTreeMap<String, Node>,
    away: BTreeMap<String, Away>,
    said: Option<Instant>,
    /// Since when a broker has been there without a break.
    steady: Option<Instant>,
}

impl Peers {
    /// Listens from now on.
    ///
    /// # Errors
    /// Settings that librdkafka refuses.
    pub fn new(shared: &Arc<Shared>, sender: &Arc<Sender>) -> ghoststream::Result<Peers> {
        // It reads by itself and commits nothing; the group is only a name.
        let consumer = shared.consumer(&format!("{}-{}", shared.settings.group, shared.node), false)?;
        let mut list = TopicPartitionList::new();
        let listens = list
            .add_partition_offset(&shared.settings.nodes_topic, 0, Offset::End)
            .and_then(|()| consumer.assign(&list));
        listens.map_err(|e| ghoststream::Error::new(ghoststream::ErrorKind::Io, format!("kafka: {e}")))?;
        let began = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(Peers {
            shared: Arc::clone(shared),
            sender: Arc::clone(sender),
            consumer,
            began: u64::try_from(began.as_millis()).unwrap_or(u64::MAX),
            nodes: BTreeMap::new(),
            away: BTreeMap::new(),
            said: None,
            steady: None,
        })
    }

    /// Says and hears what there is.
    pub fn turn(&mut self, live: &LiveService, home: &Home<'_>) -> Vec<Turn> {
        match self.shared.is_connected() {
            true => self.steady = self.steady.or_else(|| Some(Instant::now())),
            false => self.steady = None,
        }
        let mut turns = Vec::new();
        for _ in 0..AT_ONCE {
            let Some(Ok(message)) = self.consumer.poll(Duration::ZERO) else { break };
            let Ok(letter) = serde_json::from_slice::<Letter>(message.payload().unwrap_or_default()) else {
                tracing::warn!("a word of another node is not understood");
                continue;
            };
            let mine_too = letter.node == self.shared.node && letter.began == self.began;
            if letter.version == VERSION && letter.group == self.shared.settings.group && !mine_too {
                turns.extend(self.heard(letter, home));
            }
        }
        if self.said.is_none_or(|at| at.elapsed() >= SAY) {
            self.here(live, home.kept, home.mine);
        }
        turns.extend(self.lost());
        turns
    }

    /// Says how this node does, at once.
    pub fn here(&mut self, live: &LiveService, kept: &Kept, mine: &BTreeSet<i32>) {
        self.said = Some(Instant::now());
        let run = |(id, partition): (String, i32)| (id, Run { partition, guest: !mine.contains(&partition) });
        self.say(Word::Here { room: live.room(), runs: kept.all().into_iter().map(run).collect() });
    }

    fn say(&self, word: Word) {
        let letter = Letter {
            node: self.shared.node.clone(),
            began: self.began,
            group: self.shared.settings.group.clone(),
            word,
            version: VERSION,
        };
        let body = serde_json::to_vec(&letter).unwrap_or_default();
        self.sender.send_first(&self.shared.settings.nodes_topic, self.shared.node.as_bytes(), &body);
    }

    fn heard(&mut self, letter: Letter, home: &Home<'_>) -> Vec<Turn> {
        let me = self.shared.node.clone();
        match letter.word {
            Word::Here { room, runs } => self.heard_of(letter.node, letter.began, room, runs, home),
            Word::Do { to, partition, command } if to == me => {
                vec![Turn::Guest { home: letter.node, partition, command: *command }]
            }
            Word::Full { to, command, partition } if to == me => {
                if let Some(node) = self.nodes.get_mut(&letter.node) {
                    node.room = 0;
                }
                match self.away.get(&command.stream_id).is_some_and(|away| away.node == letter.node) {
                    true => {
                        self.away.remove(&command.stream_id);
                        vec![Turn::Place { partition, command: *command }]
                    }
                    false => Vec::new(),
                }
            }
            Word::Failed { to, command, partition, why } if to == me => {
                self.away.remove(&command.stream_id);
                vec![Turn::Failed { partition, command: *command, why }]
            }
            Word::Drop { to, stream_id } if to == me => vec![Turn::Drop { stream: stream_id }],
            Word::Do { .. } | Word::Full { .. } | Word::Failed { .. } | Word::Drop { .. } => Vec::new(),
        }
    }

    fn heard_of(
        &mut self,
        name: String,
        began: u64,
        room: usize,
        runs: BTreeMap<String, Run>,
        home: &Home<'_>,
    ) -> Vec<Turn> {
        let mut turns = Vec::new();
        let restarted = self.nodes.get(&name).is_some_and(|node| node.began != began);
        for (id, away) in self.away.iter_mut().filter(|(_, away)| away.node == name) {
            if runs.contains_key(id) {
                away.confirmed = Some(began);
            }
        }
        // What ran there and does not any more: that node began anew, or somebody ended the stream there.
        let ended = |(id, away): &(&String, &Away)| {
            away.node == name && away.confirmed.is_some() && !runs.contains_key(*id)
        };
        let ended: Vec<String> = self.away.iter().filter(ended).map(|(id, _)| id.clone()).collect();
        for id in ended {
            let Some(away) = self.away.remove(&id) else { continue };
            if home.known || restarted || away.confirmed != Some(began) {
                turns.push(Turn::Place { partition: away.partition, command: away.command });
            }
        }
        for (id, _) in runs.iter().filter(|(_, run)| run.guest && home.mine.contains(&run.partition)) {
            let here = home.kept.has(id);
            let elsewhere =
                self.away.get(id).is_some_and(|away| away.node != name && away.confirmed.is_some());
            let waits = home.waiting.iter().any(|(command, _)| command.stream_id == *id);
            let forgotten = home.known && !waits && !self.away.contains_key(id);
            if here || elsewhere || forgotten {
                self.say(Word::Drop { to: name.clone(), stream_id: id.clone() });
            }
        }
        self.nodes.insert(name, Node { heard: Instant::now(), began, room, runs });
        turns
    }

    /// Streams whose node is gone, or did not answer.
    fn lost(&mut self) -> Vec<Turn> {
        // A broker that was away carried no words.
        if self.steady.is_none_or(|since| since.elapsed() < GONE * 2) {
            return Vec::new();
        }
        self.nodes.retain(|_, node| node.heard.elapsed() < GONE);
        let nodes = &self.nodes;
        let lost = |away: &Away| match away.confirmed {
            Some(_) => !nodes.contains_key(&away.node),
            None => away.asked.elapsed() > ANSWER,
        };
        let lost: Vec<String> =
            self.away.iter().filter(|(_, away)| lost(away)).map(|(id, _)| id.clone()).collect();
        lost.into_iter()
            .filter_map(|id| {
                let away = self.away.remove(&id)?;
                tracing::info!(stream = id, node = away.node, "that node has it no more");
                Some(Turn::Place { partition: away.partition, command: away.command })
            })
            .collect()
    }

    /// Asks the node with the most room to run a stream; its name, `None` when none has any.
    pub fn hand_on(&mut self, command: &Command, partition: i32) -> Option<String> {
        let there = self.nodes.iter_mut().filter(|(_, node)| node.heard.elapsed() < GONE && node.room > 0);
        let (name, node) = there.max_by_key(|(_, node)| node.room)?;
        node.room -= 1;
        let name = name.clone();
        self.say(Word::Do { to: name.clone(), partition, command: Box::new(command.clone()) });
        self.expect(name.clone(), command.clone(), partition);
        Some(name)
    }

    /// `node` runs the stream, or should.
    pub fn expect(&mut self, node: String, command: Command, partition: i32) {
        let away = Away { node, confirmed: None, partition, command, asked: Instant::now() };
        self.away.insert(away.command.stream_id.clone(), away);
    }

    /// Passes a command on to who runs its stream; its name, `None` when nobody else does.
    pub fn pass_on(&mut self, command: &Command, partition: i32) -> Option<String> {
        let id = &command.stream_id;
        let name = match self.away.get(id) {
            Some(away) => away.node.clone(),
            None => self.runner(id)?,
        };
        self.say(Word::Do { to: name.clone(), partition, command: Box::new(command.clone()) });
        Some(name)
    }

    /// Who says that it runs a stream.
    pub fn runner(&self, id: &str) -> Option<String> {
        let runs = |(_, node): &(&String, &Node)| node.heard.elapsed() < GONE && node.runs.contains_key(id);
        self.nodes.iter().find(runs).map(|(name, _)| name.clone())
    }

    /// Whether any other node has been heard of.
    pub fn any(&self) -> bool {
        !self.nodes.is_empty()
    }

    /// Whether another node runs a stream, or was asked to.
    pub fn knows(&self, id: &str) -> bool {
        self.away.contains_key(id) || self.runner(id).is_some()
    }

    /// A stream is not to run any more.
    pub fn forget(&mut self, id: &str) {
        self.away.remove(id);
    }

    /// Forgets streams of partitions that are another node's now: it is their home.
    pub fn leave(&mut self, mine: &BTreeSet<i32>) {
        self.away.retain(|_, away| mine.contains(&away.partition));
    }

    /// Tells a stream's home that there is no room for it.
    pub fn full(&self, home: String, command: Command, partition: i32) {
        self.say(Word::Full { to: home, command: Box::new(command), partition });
    }

    /// Tells a stream's home that it cannot be run.
    pub fn failed(&self, home: String, command: Command, partition: i32, why: String) {
        self.say(Word::Failed { to: home, command: Box::new(command), partition, why });
    }
}
