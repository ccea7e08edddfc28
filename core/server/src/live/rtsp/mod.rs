//! RTSP: publishers by ANNOUNCE and RECORD, with RTP in the connection itself (RFC 2326, 10.12: interleaved), which goes through
//! firewalls; readers by DESCRIBE and PLAY, with RTP there or by UDP; other servers, to which streams are sent as publishers do.
//! What there is to be pulled is pulled by the engine. H.264, H.265, VP8, VP9, AV1, AAC and Opus.

mod credentials;
pub mod depacketize;
pub mod message;
pub mod packetize;
mod parameters;
pub mod pictures;
mod play;
mod publish;
pub mod reports;
pub mod sdp;
mod send;
mod session;
mod udp;

pub(super) use send::{Failed, Sending};

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

/// What publishers and readers by RTSP are called.
const PROTOCOL: &str = "rtsp";

/// How an RTSP listener behaves.
#[derive(Clone, Debug)]
pub struct RtspOptions {
    /// Connections at once.
    pub connections: usize,
    /// How long a connection may say nothing.
    pub silence: Duration,
    /// Who may publish and read.
    pub keys: Keys,
    /// Where those who publish and read are told of.
    pub list: Connections,
}

impl Default for RtspOptions {
    fn default() -> Self {
        RtspOptions {
            connections: 1000,
            silence: Duration::from_secs(15),
            keys: Keys::default(),
            list: Connections::default(),
        }
    }
}

/// Serves RTSP on `listener` until `ending`. Streams are called as the path of `rtsp://host/path`.
pub async fn serve(
    listener: TcpListener,
    live: Live,
    options: RtspOptions,
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
                tracing::warn!("RTSP accept: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            let times = refused.fetch_add(1, Ordering::Relaxed) + 1;
            if times.is_power_of_two() {
                tracing::warn!(%peer, times, "RTSP: refused, there are {} connections", options.connections);
            }
            continue;
        };
        let (live, options) = (live.clone(), Arc::clone(&options));
        sessions.spawn(async move {
            session::run(socket, peer, live, &options).await;
            drop(permit);
        });
    }
    sessions.shutdown().await;
}
