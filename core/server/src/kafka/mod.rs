//! Kafka: commands that start and stop streams, and what becomes of them.
//!
//! - [`message`]: the JSON bodies of the topics;
//! - `client`: producers and consumers, whether a broker is there, and what is counted;
//! - `control`: the commands' topic: each is carried out, then its offset is committed, so none is lost and some come twice;
//!   the second time changes nothing. What cannot be carried out goes to the dead letters' topic with the reason;
//! - `status`: states of streams as they change, and their figures from time to time.
//! - `owned`: streams that outlive their node (`kafka.take_over`): others of the group go on with them;
//! - `peers`: what nodes of a group know of each other: a full one hands its streams on;
//! - `films` and `tasks`: films that all nodes of the group make together, each some of the segments.
//!
//! The server goes on without a broker: commands then come by HTTP alone, and when one is there again every state is told
//! anew. Everything that needs librdkafka is behind Cargo's feature `kafka`.

#[cfg(not(feature = "kafka"))]
mod absent;
#[cfg(feature = "kafka")]
mod client;
#[cfg(feature = "kafka")]
mod control;
#[cfg(feature = "kafka")]
mod films;
pub mod message;
#[cfg(feature = "kafka")]
mod owned;
#[cfg(feature = "kafka")]
mod peers;
#[cfg(feature = "kafka")]
mod service;
#[cfg(feature = "kafka")]
mod status;
#[cfg(feature = "kafka")]
mod tasks;

#[cfg(not(feature = "kafka"))]
pub use absent::Kafka;
#[cfg(feature = "kafka")]
pub use service::Kafka;
