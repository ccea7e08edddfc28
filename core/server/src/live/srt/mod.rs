//! SRT: publishers and readers of one listener, told apart by their stream ids. Inside is an MPEG transport stream both ways.
//! libsrt speaks the protocol; it is loaded when the listener starts.

mod door;
mod publish;
mod read;
pub mod stream_id;
pub mod transport;

use super::hooks::{Act, Asked};
use super::keys::Keys;
use super::registry::Live;
use crate::config::Secret;
use crate::locks::lock;
use door::Door;
use ghoststream::srt::{self, Listener, Options, Socket, Stats};
use ghoststream::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use stream_id::Wanted;
use tokio::runtime::Handle;

/// What publishers by SRT are called.
const PROTOCOL: &str = "srt";
/// How long one wait for callers may take.
const LOOK: Duration = Duration::from_millis(100);
/// How long connections may take to end.
const ENDING: Duration = Duration::from_secs(5);

/// How an SRT listener behaves.
#[derive(Clone, Debug)]
pub struct SrtOptions {
    /// Where it listens; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Connections at once.
    pub connections: usize,
    /// How long a publisher may say nothing.
    pub silence: Duration,
    /// Time for repairing losses; a peer that asks for more gets more.
    pub latency: Duration,
    /// Encrypts all connections, and who does not have it is refused: 10 to 79 bytes.
    pub passphrase: Option<Secret>,
    /// Who may publish and read. Hooks that decide are asked when the connection is there, for a handshake cannot wait: who
    /// may not is cut off.
    pub keys: Keys,
}

impl SrtOptions {
    /// At `bind`, for everybody.
    pub fn new(bind: SocketAddr) -> SrtOptions {
        SrtOptions {
            bind,
            connections: 1000,
            silence: Duration::from_secs(15),
            latency: Duration::from_millis(120),
            passphrase: None,
            keys: Keys::default(),
        }
    }
}

/// A connection, as it is now.
#[derive(Clone, Debug)]
pub struct SrtConnection {
    /// The stream.
    pub stream: String,
    /// Whether it publishes, not reads.
    pub publishes: bool,
    /// From where.
    pub peer: SocketAddr,
    /// Since when.
    pub since: SystemTime,
    /// Packets of the stream that a reader was too slow for.
    pub dropped: u64,
    /// libsrt's counts.
    pub stats: Stats,
}

/// Why a connection is over.
enum End {
    /// The peer is gone, or the server ends.
    Gone,
    /// What it did wrong.
    Peer(String),
    /// Something here, or the network.
    Lost(String),
}

#[derive(Debug)]
struct Connection {
    stream: String,
    publishes: bool,
    peer: SocketAddr,
    since: SystemTime,
    socket: Socket,
    dropped: AtomicU64,
}

/// A running SRT listener. Cheap to clone; all methods may be called from any thread.
#[derive(Clone, Debug)]
pub struct Srt(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    live: Live,
    options: SrtOptions,
    door: Arc<Door>,
    listener: Listener,
    address: SocketAddr,
    stop: AtomicBool,
    next: AtomicU64,
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
    /// Where hooks are asked.
    runtime: Option<Handle>,
    /// Told when a connection is over.
    over: Condvar,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Srt {
    /// Listens, on threads of its own, until [`Srt::close`]. Where hooks decide it must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] without libsrt; [`ErrorKind::Invalid`] for a passphrase that cannot be one;
    /// [`ErrorKind::Io`] for a port that cannot be listened on.
    pub fn start(live: Live, options: SrtOptions) -> Result<Srt> {
        let told = |e: srt::Error| {
            let kind = match e.kind {
                srt::Kind::Unsupported => ErrorKind::Unsupported,
                srt::Kind::Invalid => ErrorKind::Invalid,
                _ => ErrorKind::Io,
            };
            Error::new(kind, format!("SRT at {}: {e}", options.bind))
        };
        let door = Arc::new(Door::new(
            live.clone(),
            options.keys.clone(),
            options.connections,
            options.passphrase.is_some(),
        ));
        let settings = Options {
            latency: options.latency,
            passphrase: options.passphrase.as_ref().map(|p| p.reveal().to_string()),
            exclusive: true,
            ..Options::default()
        };
        let decides = door.clone();
        let listener =
            Listener::bind(options.bind, &settings, move |caller| decides.decide(caller)).map_err(told)?;
        let address = listener.local().unwrap_or(options.bind);
        let srt = Srt(Arc::new(Inner {
            live,
            options,
            door,
            listener,
            address,
            stop: AtomicBool::new(false),
            next: AtomicU64::new(0),
            connections: Mutex::default(),
            runtime: Handle::try_current().ok(),
            over: Condvar::new(),
            thread: Mutex::default(),
        }));
        let accepts = srt.clone();
        let thread = std::thread::Builder::new()
            .name("gs-srt".into())
            .spawn(move || accepts.accept())
            .map_err(|e| Error::with_source(ErrorKind::Memory, "cannot start a thread", e))?;
        *lock(&srt.0.thread) = Some(thread);
        Ok(srt)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// All connections.
    pub fn connections(&self) -> Vec<SrtConnection> {
        let all: Vec<Arc<Connection>> = lock(&self.0.connections).values().cloned().collect();
        all.iter()
            .filter_map(|c| {
                Some(SrtConnection {
                    stream: c.stream.clone(),
                    publishes: c.publishes,
                    peer: c.peer,
                    since: c.since,
                    dropped: c.dropped.load(Ordering::Relaxed),
                    // One that is just over has none.
                    stats: c.socket.stats().ok()?,
                })
            })
            .collect()
    }

    /// Ends it: no new callers, and connections end, within seconds. Blocks for as long.
    pub fn close(&self) {
        self.0.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = lock(&self.0.thread).take() {
            // A thread that panicked has said so.
            let _said = thread.join();
        }
        self.0.listener.close();
        let connections = lock(&self.0.connections);
        connections.values().for_each(|c| c.socket.close());
        let _late = self
            .0
            .over
            .wait_timeout_while(connections, ENDING, |left| !left.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
    }

    fn accept(self) {
        while !self.0.stop.load(Ordering::SeqCst) {
            self.0.door.sweep();
            match self.0.listener.accept(LOOK) {
                Ok(Some(socket)) => self.serve(socket),
                Ok(None) => {}
                Err(e) => {
                    tracing::warn!("SRT accept: {e}");
                    std::thread::sleep(LOOK);
                }
            }
        }
    }

    /// Gives a connection its thread.
    fn serve(&self, socket: Socket) {
        // One that is gone already has no address.
        let Some(peer) = socket.peer() else { return };
        self.0.door.came(peer);
        // The door has understood it.
        let wanted = Wanted::parse(&socket.stream_id()).ok();
        let Some(Wanted { publishes, name, query, .. }) = wanted else { return self.0.door.left() };
        let connection = Arc::new(Connection {
            stream: name,
            publishes,
            peer,
            since: SystemTime::now(),
            socket,
            dropped: AtomicU64::new(0),
        });
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.0.connections).insert(id, connection.clone());
        let guard = Guard { inner: self.0.clone(), id };
        let work = move || {
            let guard = guard;
            let Inner { live, options, stop, .. } = &*guard.inner;
            let end = match (guard.inner.allowed(&connection, query), connection.publishes) {
                (Err(why), _) => End::Peer(why),
                (Ok(()), true) => publish::run(&connection, live, options, stop),
                (Ok(()), false) => read::run(&connection, live, stop),
            };
            connection.socket.close();
            let (stream, publishes) = (connection.stream.as_str(), connection.publishes);
            match end {
                End::Gone => tracing::debug!(%peer, stream, publishes, "SRT connection ended"),
                End::Peer(why) => tracing::warn!(%peer, stream, publishes, "SRT connection closed: {why}"),
                End::Lost(why) => tracing::info!(%peer, stream, publishes, "SRT connection lost: {why}"),
            }
        };
        if let Err(e) = std::thread::Builder::new().name("gs-srt-peer".into()).spawn(work) {
            tracing::error!(%peer, "SRT connection closed: cannot start a thread: {e}");
        }
    }
}

impl Inner {
    /// Whether hooks let it, where they decide. Waits for their answer, on the connection's own thread.
    fn allowed(&self, connection: &Connection, query: String) -> std::result::Result<(), String> {
        if !self.options.keys.hooks.decide() {
            return Ok(());
        }
        let act = if connection.publishes { Act::Publish } else { Act::Read };
        let (stream, peer) = (connection.stream.clone(), Some(connection.peer));
        let asked = Asked { act, stream, protocol: PROTOCOL, peer, query };
        match &self.runtime {
            Some(runtime) => runtime.block_on(self.options.keys.allow(&asked)),
            None => Err("hooks decide here, and there is nothing to ask them with".into()),
        }
    }
}

/// Takes a connection out of the list whatever becomes of its thread.
struct Guard {
    inner: Arc<Inner>,
    id: u64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        lock(&self.inner.connections).remove(&self.id);
        self.inner.door.left();
        self.inner.over.notify_all();
    }
}
