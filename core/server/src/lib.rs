//! The GhostStream server: the transcoding server's HTTP and WebSocket contract over the engine's jobs. It contains no
//! media logic: a request becomes an engine document, and the engine does the work.
#![forbid(unsafe_code)]

pub mod adapt;
mod blocking;
pub mod config;
pub mod contract;
pub mod discovery;
mod http;
pub mod jobs;
pub mod kafka;
pub mod live;
mod locks;
pub mod logs;
mod machine;
mod outgoing;
pub mod playback;
pub mod policy;
mod priority;
mod proxies;
mod serve;
mod server;
pub mod store;
mod tls;
pub mod token;
pub mod worker;

pub use blocking::Blocking;
pub use http::openapi;
pub use server::Server;
