//! Settings of Kafka: commands that come by it, and what is told by it.

use super::Secret;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Commands from a topic, states to a topic. Without brokers there is no Kafka.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KafkaConfig {
    /// `host:port` of some brokers; empty: no Kafka.
    pub brokers: Vec<String>,
    /// The consumer group: nodes of one group share the commands.
    pub group: String,
    /// The name of this node in what it tells; null: the machine's name and the process's number.
    pub node: Option<String>,
    /// Where commands come from.
    pub control_topic: String,
    /// Where states, errors and figures go.
    pub status_topic: String,
    /// Where commands go that cannot be carried out.
    pub dead_letter_topic: String,
    /// Where the parts of films go that the nodes of the group make together.
    pub tasks_topic: String,
    /// How long a part of a film is about, in seconds.
    pub task_seconds: f64,
    /// Whether streams that commands started go on at another node of the group when theirs is gone, and at this one when it is
    /// started again. Commands then need the stream's name as their key.
    pub take_over: bool,
    /// With `take_over`: where it is kept what is to run.
    pub streams_topic: String,
    /// Where the nodes of a group tell each other how they do: a full one hands its streams on.
    pub nodes_topic: String,
    /// How often the figures of running streams are told, in seconds; 0: never.
    pub metrics_interval: f64,
    /// Partitions of topics that are made because they are missing.
    pub partitions: u16,
    /// How brokers are spoken to.
    pub security: KafkaSecurity,
}

/// How brokers are spoken to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KafkaSecurity {
    /// Encryption and authentication.
    pub protocol: KafkaProtocol,
    /// With SASL: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// With SASL: who.
    pub username: Option<String>,
    /// With SASL: the password.
    pub password: Option<Secret>,
    /// With TLS: certificates that are trusted; null: the system's.
    pub ca_file: Option<PathBuf>,
    /// With TLS: this client's certificate.
    pub certificate_file: Option<PathBuf>,
    /// With TLS: this client's key.
    pub key_file: Option<PathBuf>,
    /// With TLS: the key's password.
    pub key_password: Option<Secret>,
}

/// Encryption and authentication of connections to brokers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KafkaProtocol {
    /// Neither.
    #[default]
    Plaintext,
    /// TLS.
    Ssl,
    /// A name and a password.
    SaslPlaintext,
    /// Both.
    SaslSsl,
}

impl KafkaProtocol {
    /// As Kafka spells it.
    pub fn name(self) -> &'static str {
        match self {
            KafkaProtocol::Plaintext => "plaintext",
            KafkaProtocol::Ssl => "ssl",
            KafkaProtocol::SaslPlaintext => "sasl_plaintext",
            KafkaProtocol::SaslSsl => "sasl_ssl",
        }
    }

    fn sasl(self) -> bool {
        matches!(self, KafkaProtocol::SaslPlaintext | KafkaProtocol::SaslSsl)
    }

    fn tls(self) -> bool {
        matches!(self, KafkaProtocol::Ssl | KafkaProtocol::SaslSsl)
    }
}

impl KafkaConfig {
    /// Takes over the GStreamer service's variables; `variable` gives the environment.
    pub fn apply(&mut self, variable: impl Fn(&str) -> Option<String>) {
        let given = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
        if let Some(text) = given("KAFKA_BOOTSTRAP_SERVERS") {
            self.brokers = text.split(',').map(|s| s.trim().to_string()).collect();
        }
        for (name, topic) in [
            ("KAFKA_TOPIC_STREAM_CONTROL", &mut self.control_topic),
            ("KAFKA_TOPIC_STREAM_STATUS", &mut self.status_topic),
            ("KAFKA_TOPIC_STREAM_CONTROL_DLQ", &mut self.dead_letter_topic),
        ] {
            if let Some(text) = given(name) {
                *topic = text;
            }
        }
        if given("USE_KAFKA").is_some_and(|text| !text.trim().eq_ignore_ascii_case("true")) {
            self.brokers.clear();
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.brokers.is_empty() {
            return Ok(());
        }
        if cfg!(not(feature = "kafka")) {
            return Err(
                "kafka.brokers: this program was built without Kafka (Cargo's feature `kafka`)".into()
            );
        }
        for broker in &self.brokers {
            let port = broker.rsplit_once(':').and_then(|(host, port)| {
                port.parse::<u16>().ok().filter(|_| !host.is_empty() && !broker.contains(['/', ' ', ',']))
            });
            if port.is_none() {
                return Err(format!("kafka.brokers: {broker:?} is not host:port"));
            }
        }
        let topics = [
            ("control_topic", &self.control_topic),
            ("status_topic", &self.status_topic),
            ("dead_letter_topic", &self.dead_letter_topic),
            ("tasks_topic", &self.tasks_topic),
            ("streams_topic", &self.streams_topic),
            ("nodes_topic", &self.nodes_topic),
        ];
        for (key, topic) in topics {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            if topic.is_empty() || topic.len() > 249 || !topic.bytes().all(plain) {
                return Err(format!("kafka.{key}: {topic:?} is not a topic: 1 to 249 of A-Z a-z 0-9 . _ -"));
            }
            if topics.iter().filter(|(_, t)| *t == topic).count() > 1 {
                return Err(format!("kafka.{key}: {topic:?} is another topic's name too"));
            }
        }
        if self.group.is_empty() || self.node.as_ref().is_some_and(String::is_empty) {
            return Err("kafka.group and kafka.node: they cannot be empty".into());
        }
        let security = &self.security;
        let mechanisms = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
        if !mechanisms.contains(&security.mechanism.as_str()) {
            let all = mechanisms.join(", ");
            return Err(format!("kafka.security.mechanism: {:?} is none of {all}", security.mechanism));
        }
        let sasl = [("username", security.username.is_some()), ("password", security.password.is_some())];
        let tls = [
            ("ca_file", security.ca_file.is_some()),
            ("certificate_file", security.certificate_file.is_some()),
            ("key_file", security.key_file.is_some()),
            ("key_password", security.key_password.is_some()),
        ];
        for (key, given) in sasl {
            match (security.protocol.sasl(), given) {
                (true, false) => return Err(format!("kafka.security.{key}: SASL needs it")),
                (false, true) => {
                    return Err(format!(
                        "kafka.security.{key}: the protocol {} has none",
                        security.protocol.name()
                    ));
                }
                _ => {}
            }
        }
        if let Some((key, _)) = tls.iter().find(|(_, given)| *given && !security.protocol.tls()) {
            return Err(format!("kafka.security.{key}: the protocol {} has none", security.protocol.name()));
        }
        Ok(())
    }
}

impl Default for KafkaConfig {
    fn default() -> Self {
        KafkaConfig {
            brokers: Vec::new(),
            group: "ghoststream".into(),
            node: None,
            control_topic: "stream_control_events".into(),
            status_topic: "stream_status_events".into(),
            dead_letter_topic: "stream_control_events_dlq".into(),
            tasks_topic: "ghoststream_tasks".into(),
            task_seconds: 20.0,
            take_over: false,
            streams_topic: "ghoststream_streams".into(),
            nodes_topic: "ghoststream_nodes".into(),
            metrics_interval: 10.0,
            partitions: 12,
            security: KafkaSecurity::default(),
        }
    }
}

impl Default for KafkaSecurity {
    fn default() -> Self {
        KafkaSecurity {
            protocol: KafkaProtocol::Plaintext,
            mechanism: "PLAIN".into(),
            username: None,
            password: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
            key_password: None,
        }
    }
}

#[cfg(all(test, feature = "kafka"))]
mod tests {
    use super::*;

    #[test]
    fn mistakes_name_their_key() {
        type Change = fn(&mut KafkaConfig);
        let good = KafkaConfig { brokers: vec!["kafka:9092".into()], ..KafkaConfig::default() };
        good.check().unwrap();
        let cases: [(Change, &str); 7] = [
            (|c| c.brokers.push("kafka".into()), "kafka.brokers: \"kafka\" is not host:port"),
            (|c| c.status_topic = "a b".into(), "kafka.status_topic"),
            (|c| c.status_topic.clone_from(&c.control_topic), "another topic's name"),
            (|c| c.security.mechanism = "GSSAPI".into(), "kafka.security.mechanism"),
            (|c| c.security.username = Some("u".into()), "kafka.security.username: the protocol plaintext"),
            (|c| c.security.protocol = KafkaProtocol::SaslSsl, "kafka.security.username: SASL needs it"),
            (|c| c.security.ca_file = Some("ca".into()), "kafka.security.ca_file"),
        ];
        for (change, said) in cases {
            let mut config = good.clone();
            change(&mut config);
            let why = config.check().unwrap_err();
            assert!(why.contains(said), "{why}");
        }
    }

    #[test]
    fn the_service_s_variables_are_taken_over() {
        let mut config = KafkaConfig::default();
        config.apply(|name| match name {
            "KAFKA_BOOTSTRAP_SERVERS" => Some("a:1, b:2".into()),
            "KAFKA_TOPIC_STREAM_STATUS" => Some("told".into()),
            _ => None,
        });
        assert_eq!(
            (config.brokers.as_slice(), config.status_topic.as_str()),
            (&["a:1".into(), "b:2".into()][..], "told")
        );
        config.apply(|name| (name == "USE_KAFKA").then(|| "false".into()));
        assert!(config.brokers.is_empty());
    }
}
