//! RTMP and Enhanced RTMP: publishers and readers of one listener. Handshake, messages and what is answered are the
//! protocol crate's (`rtmp-rs`); its server is not used, because it keeps streams and readers of its own.

mod amf;
mod chunk;
mod publish;
mod session;
mod tag;

use super::connections::Connections;
use super::keys::Keys;
use super::registry::Live;
use crate::serve::ended;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// How an RTMP listener behaves.
#[derive(Clone, Debug)]
pub struct RtmpOptions {
    /// Connections at once.
    pub connections: usize,
    /// How long a connection may say nothing before it publishes or plays, and a publisher afterwards.
    pub silence: Duration,
    /// Who may publish and read.
    pub keys: Keys,
    /// Where those who publish and read are told of.
    pub list: Connections,
}

impl Default for RtmpOptions {
    fn default() -> Self {
        RtmpOptions {
            connections: 1000,
            silence: Duration::from_secs(15),
            keys: Keys::default(),
            list: Connections::default(),
        }
    }
}

/// Serves RTMP on `listener` until `ending`. Streams are called `app/name`, as in `rtmp://host/app/name`.
pub async fn serve(
    listener: TcpListener,
    live: Live,
    options: RtmpOptions,
    mut ending: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(options.connections));
    let options = Arc::new(options);
    let refused = AtomicU64::new(0);
    let mut sessions = JoinSet::new();
    loop {
        while sessions.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ended(&mut ending) => break,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                tracing::warn!("RTMP accept: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            let times = refused.fetch_add(1, Ordering::Relaxed) + 1;
            if times.is_power_of_two() {
                tracing::warn!(%peer, times, "RTMP: refused, there are {} connections", options.connections);
            }
            continue;
        };
        let (live, options, ending) = (live.clone(), Arc::clone(&options), ending.clone());
        sessions.spawn(async move {
            session::run(socket, peer, live, &options, ending).await;
            drop(permit);
        });
    }
    sessions.shutdown().await;
}
