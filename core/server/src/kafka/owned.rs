//! Streams that outlive their node: what is to run is kept on a compacted topic, and who has a stream's partition of the
//! commands' topic runs it.
//!
//! The broker's group protocol is the heartbeat: a node that dies loses its partitions to others, and they start its streams
//! from the topic. Commands have the stream's name as their key, so the one that runs a stream also gets its STOP.

use super::client::{Sender, Shared};
use super::message::{Command, VERSION};
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long a broker may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long reading all of it may take.
const READING: Duration = Duration::from_secs(30);

/// What is kept of a stream; nothing once it was stopped.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// The partition of the commands' topic that it belongs to.
    pub partition: i32,
    /// The command that started it.
    pub command: Command,
    /// Who runs it, if not the node that has its partition.
    #[serde(default)]
    pub node: Option<String>,
    /// 1.
    pub version: u32,
}

/// The topic of streams that are to run.
#[derive(Clone)]
pub(super) struct Records {
    pub shared: Arc<Shared>,
    pub sender: Arc<Sender>,
    pub ending: watch::Receiver<bool>,
}

impl Records {
    /// A stream is to run: at `node`, if that is not the one that has its partition.
    ///
    /// # Errors
    /// The end came before a broker had it.
    pub fn keep(&self, partition: i32, command: &Command, node: Option<String>) -> Result<(), String> {
        let record = Record { partition, command: command.clone(), node, version: VERSION };
        let body = serde_json::to_vec(&record).map_err(|e| e.to_string())?;
        self.put(&command.stream_id, Some(&body))
    }

    /// A stream is not to run any more.
    ///
    /// # Errors
    /// The end came before a broker had it.
    pub fn forget(&self, id: &str) -> Result<(), String> {
        self.put(id, None)
    }

    fn put(&self, id: &str, body: Option<&[u8]>) -> Result<(), String> {
        let topic = &self.shared.settings.streams_topic;
        match self.sender.insist(topic, id.as_bytes(), body, PATIENCE, &self.ending) {
            true => Ok(()),
            false => Err("the server ends".into()),
        }
    }

    /// All that are to run, by name.
    ///
    /// # Errors
    /// In words: no broker gives them.
    pub fn read(&self) -> Result<BTreeMap<String, Record>, String> {
        let topic = &self.shared.settings.streams_topic;
        let said = |e: KafkaError| format!("the topic {topic}: {e}");
        // It reads by itself and commits nothing; the group is only a name.
        let consumer: BaseConsumer = self
            .shared
            .client()
            .set("group.id", format!("{}-streams", self.shared.settings.group))
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("enable.partition.eof", "true")
            .create()
            .map_err(said)?;
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).map_err(said)?;
        let mut list = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions) {
            list.add_partition_offset(topic, partition.id(), Offset::Beginning).map_err(said)?;
        }
        if list.count() == 0 {
            return Err(format!("there is no topic {topic}"));
        }
        consumer.assign(&list).map_err(said)?;
        let (mut left, begun) = (list.count(), Instant::now());
        let mut all = BTreeMap::new();
        while left > 0 {
            if *self.ending.borrow() || begun.elapsed() > READING {
                return Err(format!("the topic {topic} could not be read to its end"));
            }
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let id = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
                    match message.payload().map(serde_json::from_slice::<Record>) {
                        None => {
                            all.remove(&id);
                        }
                        Some(Ok(record)) if record.version == VERSION => {
                            all.insert(id, record);
                        }
                        Some(_) => tracing::warn!(stream = id, "a record of {topic} is not understood"),
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => left -= 1,
                Some(Err(e)) => tracing::debug!("Kafka's topic {topic}: {e}"),
                None => {}
            }
        }
        Ok(all)
    }
}
