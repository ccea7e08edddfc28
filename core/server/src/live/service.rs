//! The live origin as a whole: its listeners, and what follows when somebody publishes.

use super::keys::Keys;
use super::registry::Live;
use super::rtmp::{self, RtmpOptions};
use crate::config::Config;
use crate::server::bind;
use ghoststream::Result;
use std::net::SocketAddr;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A running live origin. Cheap to clone; it lives in the tokio runtime in which it was started.
#[derive(Clone, Debug)]
pub struct LiveService {
    live: Live,
    keys: Keys,
    rtmp: Vec<SocketAddr>,
}

impl LiveService {
    /// Binds the listeners of `config.live` and serves until `ending`. The tasks end soon after it.
    ///
    /// # Errors
    /// A port that cannot be listened on.
    pub async fn start(
        config: &Config,
        ending: &watch::Receiver<bool>,
    ) -> Result<(LiveService, Vec<JoinHandle<()>>)> {
        let settings = &config.live;
        let live = Live::new(settings.takeover, settings.max_streams);
        let keys = Keys { publish: settings.publish_key.clone(), read: settings.read_key.clone() };
        let mut tasks = Vec::new();
        let mut addresses = Vec::new();
        if let Some(port) = settings.rtmp_port {
            let options = RtmpOptions {
                connections: settings.max_connections,
                keys: keys.clone(),
                ..RtmpOptions::default()
            };
            for listener in bind(&config.server.host, port).await? {
                if let Ok(address) = listener.local_addr() {
                    tracing::info!("listening on rtmp://{address}");
                    addresses.push(address);
                }
                tasks.push(tokio::spawn(rtmp::serve(
                    listener,
                    live.clone(),
                    options.clone(),
                    ending.clone(),
                )));
            }
        }
        Ok((LiveService { live, keys, rtmp: addresses }, tasks))
    }

    /// All streams.
    pub fn streams(&self) -> &Live {
        &self.live
    }

    /// Who may publish and read.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Where RTMP is listened for.
    pub fn rtmp(&self) -> &[SocketAddr] {
        &self.rtmp
    }
}
