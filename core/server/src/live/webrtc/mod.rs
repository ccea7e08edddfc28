//! WebRTC: publishing by WHIP (RFC 9725) and watching by WHEP.
//!
//! The protocol itself is str0m's, which knows no sockets and no time. Here is what surrounds it: one UDP socket for all
//! clients (`wire`), a task for each client (`session`), what makes packets of what a publisher sends (`intake`) and
//! frames of what a stream has (`play`), and the HTTP side (`http`). The server is ICE-lite: it answers, and its
//! addresses are in the answer.
//!
//! A viewer costs a task and the packets that are sealed for it; nothing is shared between viewers but the stream's packets
//! and the socket (and smaller renditions, made while the way to a viewer is too narrow for the stream: `rungs`), and no lock is held while anything is sent. A viewer that loses packets asks for them again and then for
//! a key frame; nobody else notices.

mod clock;
mod connects;
mod fit;
mod format;
mod handshake;
mod http;
mod intake;
mod negotiate;
mod offer;
mod play;
mod probe;
mod rungs;
mod session;
mod stats;
mod stun;
mod wire;

pub use connects::{BOUNDS as CONNECT_BOUNDS, Connects};
pub use stats::SessionStats;

use crate::live::Live;
use crate::live::keys::Keys;
use crate::live::stream::Stream;
use ghoststream::Result;
use serde::Serialize;
use session::Command;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use str0m::media::Mid;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use uuid::Uuid;
use wire::Wire;

/// Gives a stream fit for WebRTC of the stream that has the name: one without B-frames and with Opus. It may be called
/// from any thread and must not wait; the stream need not have tracks yet.
pub type FitStream = Arc<dyn Fn(&str) -> Option<Arc<Stream>> + Send + Sync>;

/// How it is set up.
#[derive(Clone)]
pub struct WebRtcOptions {
    /// Where the UDP socket is bound. An unspecified address means all interfaces.
    pub bind: SocketAddr,
    /// Addresses that clients are told to reach it at (with the socket's port): those of a router or a cloud that translates
    /// them. None means those of the interfaces.
    pub addresses: Vec<IpAddr>,
    /// The most sessions at once.
    pub sessions: usize,
    /// A publisher is asked for a key frame when the last one is this old.
    pub key_frames: Duration,
    /// How long a viewer waits for the tracks of a stream that nobody publishes yet.
    pub wait: Duration,
    /// What publishers and viewers have to show: `Authorization: Bearer KEY`, or `key=KEY` in the query.
    pub keys: Keys,
    /// Called for a stream that WebRTC clients cannot play as it is; again and again while one of its viewers gets a smaller
    /// rendition, and may come back to it.
    pub fit: Option<FitStream>,
    /// Called, again and again for as long as it goes on, while the way to a viewer of a stream is too narrow: gives smaller
    /// renditions of it, H.264 without B-frames and with Opus, the largest first.
    pub smaller: Option<FitStream>,
}

impl Default for WebRtcOptions {
    fn default() -> WebRtcOptions {
        WebRtcOptions {
            bind: (std::net::Ipv4Addr::UNSPECIFIED, 8189).into(),
            addresses: Vec::new(),
            sessions: 1000,
            key_frames: Duration::from_secs(2),
            wait: Duration::from_secs(5),
            keys: Keys::default(),
            fit: None,
            smaller: None,
        }
    }
}

impl fmt::Debug for WebRtcOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebRtcOptions")
            .field("bind", &self.bind)
            .field("addresses", &self.addresses)
            .field("sessions", &self.sessions)
            .field("key_frames", &self.key_frames)
            .field("wait", &self.wait)
            .field("keys", &self.keys)
            .field("fit", &self.fit.is_some())
            .field("smaller", &self.smaller.is_some())
            .finish()
    }
}

/// What all sessions together have seen.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct WebRtcStats {
    /// Who publishes.
    pub publishers: usize,
    /// Who watches.
    pub viewers: usize,
    /// Datagrams that belonged to nobody, or came faster than their session took them.
    pub strays: u64,
    /// Datagrams that could not be sent.
    pub unsent: u64,
}

/// WebRTC while it runs. Cheap to clone; all methods may be called from any thread. It ends with [`WebRtc::shutdown`].
#[derive(Clone, Debug)]
pub struct WebRtc {
    live: Live,
    hub: Arc<Hub>,
}

/// What all sessions share.
struct Hub {
    options: WebRtcOptions,
    wire: Arc<Wire>,
    /// Of all sessions: the certificate is made once.
    config: str0m::RtcConfig,
    sessions: Mutex<HashMap<Uuid, Entry>>,
    connects: Mutex<Connects>,
    reader: AbortHandle,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("options", &self.options).finish_non_exhaustive()
    }
}

struct Entry {
    handle: Arc<Handle>,
    commands: mpsc::Sender<Command>,
    /// Of a publisher: tells it that a key frame is wanted.
    wanted: Option<Arc<Notify>>,
}

/// What is known of a session outside of its task.
struct Handle {
    id: Uuid,
    /// The name that the client asked for.
    stream: String,
    protocol: &'static str,
    /// The ICE user name, which is the session's entity tag too.
    user: String,
    /// The line of pictures.
    video: Option<Mid>,
    /// The stream's time 0.
    epoch: Instant,
    stats: Mutex<SessionStats>,
}

impl Handle {
    fn stats(&self) -> MutexGuard<'_, SessionStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WebRtc {
    /// Binds the socket and serves it. Call it within a tokio runtime with time and I/O.
    ///
    /// # Errors
    /// [`ghoststream::ErrorKind::Busy`] for a port that is taken, [`ghoststream::ErrorKind::Io`] for an address that cannot be
    /// bound, [`ghoststream::ErrorKind::Internal`] when no certificate can be made.
    pub fn start(live: Live, options: WebRtcOptions) -> Result<WebRtc> {
        let wire = Arc::new(Wire::bind(options.bind, &options.addresses)?);
        let config = negotiate::config()?;
        let reader = tokio::spawn({
            let wire = wire.clone();
            async move { wire.receive().await }
        });
        let addresses: Vec<String> = wire.candidates().map(|a| a.to_string()).collect();
        tracing::info!("WebRTC on udp {}", addresses.join(", "));
        let reader = reader.abort_handle();
        let hub =
            Hub { options, wire, config, sessions: Mutex::default(), connects: Mutex::default(), reader };
        Ok(WebRtc { live, hub: Arc::new(hub) })
    }

    /// `POST /whip/{name}`, `POST /whep/{name}`, `PATCH` and `DELETE` of their sessions, `OPTIONS`; with CORS headers.
    pub fn router(&self) -> axum::Router {
        http::router(self.clone())
    }

    /// The addresses that clients are told.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.hub.wire.candidates().collect()
    }

    /// All sessions, as they are now.
    pub fn sessions(&self) -> Vec<SessionStats> {
        self.hub.lock().values().map(|e| e.handle.stats().clone()).collect()
    }

    /// All sessions together.
    pub fn stats(&self) -> WebRtcStats {
        let (strays, unsent) = self.hub.wire.losses();
        let sessions = self.hub.lock();
        let viewers = sessions.values().filter(|e| e.wanted.is_none()).count();
        WebRtcStats { publishers: sessions.len() - viewers, viewers, strays, unsent }
    }

    /// How long it took until media could flow.
    pub fn connects(&self) -> Connects {
        *self.hub.connects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a session by its id. Gives whether there was one.
    pub fn end(&self, id: &str) -> bool {
        let Ok(id) = id.parse::<Uuid>() else { return false };
        self.hub.command(id, Command::Close)
    }

    /// Ends all sessions, with a word to their clients, and gives the socket back. Takes less than a second.
    pub async fn shutdown(&self) {
        let all: Vec<Uuid> = self.hub.lock().keys().copied().collect();
        all.iter().for_each(|id| {
            self.hub.command(*id, Command::Close);
        });
        for _ in 0..40 {
            if self.hub.lock().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.hub.reader.abort();
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Entry>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Media can flow, so long after the offer.
    fn connected(&self, took: Duration) {
        self.connects.lock().unwrap_or_else(PoisonError::into_inner).add(took);
    }

    fn remove(&self, id: Uuid) {
        self.lock().remove(&id);
    }

    /// Gives whether there is such a session.
    fn command(&self, id: Uuid, command: Command) -> bool {
        let to = self.lock().get(&id).map(|e| e.commands.clone());
        // A session that has eight commands waiting is at its end.
        to.is_some_and(|to| to.try_send(command).is_ok())
    }

    /// Asks the WHIP publisher of a stream for a key frame. Gives whether there is one.
    fn want_key(&self, stream: &str) -> bool {
        let sessions = self.lock();
        let mut publishers =
            sessions.values().filter(|e| e.handle.stream == stream).filter_map(|e| e.wanted.as_ref());
        let mut any = false;
        publishers.by_ref().for_each(|wanted| {
            wanted.notify_one();
            any = true;
        });
        any
    }
}
