//! Producers and consumers, whether a broker is there, and what is counted.

use crate::config::KafkaConfig;
use ghoststream::{Error, ErrorKind, Result};
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::TopicPartitionList;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A topic: its name, partitions, and settings.
pub(super) type Topic<'a> = (&'a str, i32, &'a [(&'a str, &'a str)]);

/// How long no broker is nothing to speak of.
const FIRST: Duration = Duration::from_secs(4);

/// What every part of Kafka shares.
#[derive(Debug)]
pub(super) struct Shared {
    /// The settings.
    pub settings: KafkaConfig,
    /// This node's name.
    pub node: String,
    /// Whether a broker is there; unknown at first.
    connected: Mutex<Option<bool>>,
    began: Instant,
    /// How often a broker was found after there was none.
    pub connections: AtomicU64,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// By topic.
    consumed: BTreeMap<String, u64>,
    /// By topic.
    produced: BTreeMap<String, u64>,
    /// By operation and topic.
    errors: BTreeMap<(&'static str, String), u64>,
    /// By the topic that the letter came by.
    dead: BTreeMap<String, u64>,
}

impl Shared {
    pub fn new(settings: &KafkaConfig) -> Shared {
        let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let machine = if machine.trim().is_empty() { "ghoststream" } else { machine.trim() };
        let node = settings.node.clone().unwrap_or_else(|| format!("{machine}-{}", std::process::id()));
        Shared {
            settings: settings.clone(),
            node,
            connected: Mutex::default(),
            began: Instant::now(),
            connections: AtomicU64::new(0),
            counts: Mutex::default(),
        }
    }

    fn count(&self, with: impl FnOnce(&mut Counts)) {
        with(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The group that shares the parts of films.
    pub fn tasks_group(&self) -> String {
        format!("{}-tasks", self.settings.group)
    }

    /// Whether a broker is there.
    pub fn is_connected(&self) -> bool {
        *self.connected.lock().unwrap_or_else(PoisonError::into_inner) == Some(true)
    }

    /// A message came.
    pub fn consumed(&self, topic: &str) {
        self.count(|c| *c.consumed.entry(topic.into()).or_default() += 1);
    }

    /// A letter is dead.
    pub fn dead(&self, topic: &str) {
        self.count(|c| *c.dead.entry(topic.into()).or_default() += 1);
    }

    /// Something failed: `operation` is `consume`, `produce`, `commit`, `connect` or `process`.
    pub fn failed(&self, operation: &'static str, topic: &str) {
        self.count(|c| *c.errors.entry((operation, topic.into())).or_default() += 1);
    }

    /// Told of a broker that is there, or of none.
    fn reached(&self, there: bool) {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        // The first connection takes its time.
        if *connected == Some(there) || (connected.is_none() && !there && self.began.elapsed() < FIRST) {
            return;
        }
        *connected = Some(there);
        drop(connected);
        let brokers = self.settings.brokers.join(", ");
        if there {
            self.connections.fetch_add(1, Ordering::SeqCst);
            tracing::info!(node = self.node, "Kafka is there: {brokers}");
        } else {
            tracing::warn!(
                node = self.node,
                "Kafka is away ({brokers}): going on without it, and trying again"
            );
        }
    }

    /// The figures for Prometheus.
    pub fn metrics(&self) -> String {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut page = String::with_capacity(1024);
        let mut family = |name: &str, kind: &str, help: &str, lines: Vec<(String, u64)>| {
            // Writing to a string does not fail.
            let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in lines {
                let _ = writeln!(page, "{name}{labels} {value}");
            }
        };
        let group = label(&self.settings.group);
        family(
            "media_processor_kafka_messages_consumed_total",
            "counter",
            "Messages that came.",
            counts
                .consumed
                .iter()
                .map(|(t, n)| (format!("{{topic=\"{t}\",consumer_group=\"{group}\"}}"), *n))
                .collect(),
        );
        family(
            "media_processor_kafka_messages_produced_total",
            "counter",
            "Messages that a broker has taken.",
            counts.produced.iter().map(|(t, n)| (format!("{{topic=\"{t}\"}}"), *n)).collect(),
        );
        family(
            "media_processor_kafka_errors_total",
            "counter",
            "What failed.",
            counts
                .errors
                .iter()
                .map(|((o, t), n)| (format!("{{operation=\"{o}\",topic=\"{t}\"}}"), *n))
                .collect(),
        );
        family(
            "media_processor_dlq_messages_sent_total",
            "counter",
            "Commands that could not be carried out.",
            counts.dead.iter().map(|(t, n)| (format!("{{original_topic=\"{t}\"}}"), *n)).collect(),
        );
        let there = u64::from(self.is_connected());
        family(
            "ghoststream_kafka_connected",
            "gauge",
            "Whether a broker is there.",
            vec![(String::new(), there)],
        );
        page
    }

    /// What producers and consumers have in common.
    pub fn client(&self) -> ClientConfig {
        let security = &self.settings.security;
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.settings.brokers.join(","))
            .set("client.id", &self.node)
            .set("security.protocol", security.protocol.name())
            .set("reconnect.backoff.ms", "200")
            .set("reconnect.backoff.max.ms", "2000")
            .set("socket.keepalive.enable", "true")
            // A topic that was made meanwhile is found soon.
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set("log.connection.close", "false");
        let mut set = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                config.set(key, value);
            }
        };
        if let Some(name) = &security.username {
            set("sasl.mechanism", Some(security.mechanism.clone()));
            set("sasl.username", Some(name.clone()));
            set("sasl.password", security.password.as_ref().map(|p| p.reveal().into()));
        }
        let path = |path: &Option<PathBuf>| path.as_ref().map(|p| p.display().to_string());
        set("ssl.ca.location", path(&security.ca_file));
        set("ssl.certificate.location", path(&security.certificate_file));
        set("ssl.key.location", path(&security.key_file));
        set("ssl.key.password", security.key_password.as_ref().map(|p| p.reveal().into()));
        config
    }

    /// A consumer of `group` that commits when it is told to.
    pub fn consumer(self: &Arc<Self>, group: &str, watches: bool) -> Result<BaseConsumer<Context>> {
        let mut config = self.client();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            // A command that was sent before this group was first here is one too.
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "1500")
            .set("partition.assignment.strategy", "cooperative-sticky");
        if watches {
            config.set("statistics.interval.ms", "500");
        }
        config.create_with_context(Context { shared: Arc::clone(self) }).map_err(|e| wrong(&e))
    }

    /// Makes topics (name, partitions, settings) that are missing; with brokers that refuse, somebody else has to.
    pub fn make_topics(self: &Arc<Self>, runtime: &tokio::runtime::Handle, topics: &[Topic<'_>]) {
        let admin: AdminClient<Context> =
            match self.client().create_with_context(Context { shared: Arc::clone(self) }) {
                Ok(admin) => admin,
                Err(e) => return tracing::warn!("Kafka's topics: {e}"),
            };
        // Replicated as the brokers' own settings say.
        let topics: Vec<NewTopic<'_>> = topics
            .iter()
            .map(|(name, partitions, settings)| {
                let topic = NewTopic::new(name, *partitions, TopicReplication::Fixed(-1));
                settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
            })
            .collect();
        let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(10)));
        match runtime.block_on(admin.create_topics(&topics, &options)) {
            Ok(each) => {
                for (topic, code) in each.into_iter().filter_map(std::result::Result::err) {
                    if code != RDKafkaErrorCode::TopicAlreadyExists {
                        tracing::warn!("Kafka's topic {topic} could not be made: {code}");
                    }
                }
            }
            Err(e) => tracing::warn!("Kafka's topics could not be made: {e}"),
        }
    }
}

fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A client that cannot be made: its settings make no sense to librdkafka.
fn wrong(e: &KafkaError) -> Error {
    Error::new(ErrorKind::Invalid, format!("kafka: {e}"))
}

/// What librdkafka calls, from its own threads and from polls.
#[derive(Clone, Debug)]
pub(super) struct Context {
    shared: Arc<Shared>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        // What is wrong with brokers is told once, by `reached`.
        tracing::debug!(?level, "librdkafka: {facility}: {text}");
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let value: serde_json::Value = serde_json::from_slice(statistics).unwrap_or_default();
        let brokers = value.get("brokers").and_then(serde_json::Value::as_object);
        let up = |b: &serde_json::Value| b.get("state").and_then(serde_json::Value::as_str) == Some("UP");
        self.shared.reached(brokers.is_some_and(|all| all.values().any(up)));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.shared.failed("connect", "");
        tracing::debug!("Kafka: {error}: {reason}");
    }
}

impl ConsumerContext for Context {
    fn post_rebalance(&self, rebalance: &Rebalance<'_>) {
        tracing::debug!(node = self.shared.node, "Kafka's partitions: {rebalance:?}");
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        match result {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Err(e) => {
                let topic = offsets.elements().first().map(|e| e.topic().to_string()).unwrap_or_default();
                self.shared.failed("commit", &topic);
                tracing::debug!("Kafka's offsets: {e}");
            }
        }
    }
}

/// What is kept of a message until a broker has taken it.
pub(super) struct Ticket {
    topic: String,
    waits: Option<SyncSender<bool>>,
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        match result {
            Ok(_) => self.shared.count(|c| *c.produced.entry(ticket.topic.clone()).or_default() += 1),
            Err((e, _)) => {
                self.shared.failed("produce", &ticket.topic);
                tracing::debug!("Kafka: to {}: {e}", ticket.topic);
            }
        }
        if let Some(waits) = &ticket.waits {
            // Who waited may have given up.
            let _ = waits.try_send(result.is_ok());
        }
    }
}

/// Sends messages. Any thread.
pub(super) struct Sender {
    shared: Arc<Shared>,
    producer: ThreadedProducer<Context>,
}

impl Sender {
    pub fn new(shared: &Arc<Shared>) -> Result<Sender> {
        let mut config = shared.client();
        config
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            // What is told while no broker is there is old soon; all states are told again then.
            .set("message.timeout.ms", "30000")
            .set("queue.buffering.max.messages", "20000");
        let producer =
            config.create_with_context(Context { shared: Arc::clone(shared) }).map_err(|e| wrong(&e))?;
        Ok(Sender { shared: Arc::clone(shared), producer })
    }

    fn put(
        &self,
        topic: &str,
        key: &[u8],
        body: Option<&[u8]>,
        partition: Option<i32>,
        waits: Option<SyncSender<bool>>,
    ) -> bool {
        let ticket = Box::new(Ticket { topic: topic.into(), waits });
        let mut record = BaseRecord::with_opaque_to(topic, ticket).key(key);
        if let Some(body) = body {
            record = record.payload(body);
        }
        if let Some(partition) = partition {
            record = record.partition(partition);
        }
        match self.producer.send(record) {
            Ok(()) => true,
            Err((e, _)) => {
                self.shared.failed("produce", topic);
                tracing::debug!("Kafka: to {topic}: {e}");
                false
            }
        }
    }

    /// Sends it some time, or counts that it could not.
    pub fn send(&self, topic: &str, key: &[u8], body: &[u8]) {
        self.put(topic, key, Some(body), None, None);
    }

    /// As [`Sender::send`], to the first partition, which is all that some readers read.
    pub fn send_first(&self, topic: &str, key: &[u8], body: &[u8]) {
        self.put(topic, key, Some(body), Some(0), None);
    }

    /// Sends it, to a partition of its own choice if one is named, and waits until a broker has it; `false` when none has taken
    /// it in `patience`.
    pub fn deliver(
        &self,
        topic: &str,
        key: &[u8],
        body: Option<&[u8]>,
        partition: Option<i32>,
        patience: Duration,
    ) -> bool {
        let (tell, told) = sync_channel(1);
        self.put(topic, key, body, partition, Some(tell)) && told.recv_timeout(patience).unwrap_or(false)
    }

    /// Sends it until a broker has it; `false` when `ending` came first.
    pub fn insist(
        &self,
        topic: &str,
        key: &[u8],
        body: Option<&[u8]>,
        patience: Duration,
        ending: &watch::Receiver<bool>,
    ) -> bool {
        while !self.deliver(topic, key, body, None, patience) {
            if *ending.borrow() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        true
    }

    /// How many partitions a topic has.
    ///
    /// # Errors
    /// No broker says so in `patience`.
    pub fn partitions(&self, topic: &str, patience: Duration) -> std::result::Result<i32, String> {
        let found = self.producer.client().fetch_metadata(Some(topic), patience);
        let found = found.map_err(|e| format!("the topic {topic}: {e}"))?;
        let count = found.topics().first().map_or(0, |t| t.partitions().len());
        i32::try_from(count).ok().filter(|n| *n > 0).ok_or_else(|| format!("there is no topic {topic}"))
    }

    /// Waits until everything is sent, but not longer than `patience`.
    pub fn flush(&self, patience: Duration) {
        if let Err(e) = self.producer.flush(patience) {
            tracing::debug!("Kafka: {e}: some messages were not sent");
        }
    }
}
