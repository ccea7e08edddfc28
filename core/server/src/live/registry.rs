//! Streams by name, and who publishes them.

use super::stream::{LinkStats, Stream};
use ghoststream::packet::{Packet, StreamInfo};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::broadcast;

/// The longest name of a stream, in bytes.
const NAME: usize = 128;

/// The protocol of a publisher that stands in for one that is away: everyone may replace it, and it replaces nobody.
pub const SLATE: &str = "slate";

/// All streams of a server. Cheap to clone; all methods may be called from any thread.
#[derive(Clone, Debug)]
pub struct Live(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    streams: Mutex<BTreeMap<String, Entry>>,
    events: broadcast::Sender<LiveEvent>,
    visits: broadcast::Sender<Visit>,
    /// Who watches: by stream and protocol.
    viewers: Mutex<BTreeMap<String, BTreeMap<&'static str, u64>>>,
    takeover: bool,
    most: usize,
}

#[derive(Debug)]
struct Entry {
    stream: Arc<Stream>,
    /// Counts publications: one that has been taken over has an old number.
    number: u64,
    publisher: Option<Publisher>,
    /// Stays when nobody publishes it, because it was configured.
    kept: bool,
}

/// Who publishes.
#[derive(Clone, Debug, Serialize)]
pub struct Publisher {
    /// `rtmp`, `srt`, `whip`, `pull` …
    pub protocol: &'static str,
    /// From where; `None` for what this server fetches or makes itself.
    pub peer: Option<SocketAddr>,
    /// Since when.
    pub since: SystemTime,
}

impl Publisher {
    /// One that begins now.
    pub fn new(protocol: &'static str, peer: Option<SocketAddr>) -> Publisher {
        Publisher { protocol, peer, since: SystemTime::now() }
    }
}

/// Something happened to a stream.
#[derive(Clone, Debug)]
pub enum LiveEvent {
    /// Somebody publishes it, and its tracks are known.
    Published {
        /// Its name.
        stream: String,
        /// Who.
        publisher: Publisher,
    },
    /// Its publisher is gone.
    Unpublished {
        /// Its name.
        stream: String,
        /// Who it was.
        publisher: Publisher,
    },
}

/// Somebody begins or ceases to watch a stream.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The stream's name.
    pub stream: String,
    /// `rtmp`, `whep` …
    pub protocol: &'static str,
    /// From where.
    pub peer: Option<SocketAddr>,
    /// Where this server sends the stream by itself, without keys; `None` for who came to watch it.
    pub target: Option<String>,
    /// How long it was watched; `None` at the begin.
    pub watched: Option<Duration>,
}

/// Somebody watches a stream, until it is dropped.
#[derive(Debug)]
pub struct Watching {
    live: Live,
    stream: String,
    protocol: &'static str,
    peer: Option<SocketAddr>,
    target: Option<String>,
    since: Instant,
}

impl Drop for Watching {
    fn drop(&mut self) {
        if self.target.is_some() {
            return self.live.visited(self, Some(self.since.elapsed()));
        }
        let mut all = self.live.0.viewers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of) = all.get_mut(&self.stream) {
            if let Some(count) = of.get_mut(self.protocol) {
                *count = count.saturating_sub(1);
            }
            of.retain(|_, count| *count > 0);
            if of.is_empty() {
                all.remove(&self.stream);
            }
        }
        drop(all);
        self.live.visited(self, Some(self.since.elapsed()));
    }
}

/// Why nobody may publish now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The name cannot be one: why.
    Name(String),
    /// Somebody else publishes it, and may not be replaced.
    Taken,
    /// There are as many streams as there may be.
    Full(usize),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Name(why) => write!(f, "{why}"),
            Refused::Taken => f.write_str("somebody publishes this stream already"),
            Refused::Full(most) => write!(f, "there are {most} streams already"),
        }
    }
}

impl Live {
    /// No streams yet; at most `most` at once. With `takeover` a new publisher replaces the one that is there.
    pub fn new(takeover: bool, most: usize) -> Live {
        let (events, _) = broadcast::channel(1024);
        let (visits, _) = broadcast::channel(4096);
        let (streams, viewers) = (Mutex::default(), Mutex::default());
        Live(Arc::new(Inner { streams, events, visits, viewers, takeover, most }))
    }

    /// Begins to publish `name`. A stream that readers wait for already is that one.
    ///
    /// # Errors
    /// [`Refused`], with its reason.
    pub fn publish(&self, name: &str, publisher: Publisher) -> Result<Publication, Refused> {
        check_name(name).map_err(Refused::Name)?;
        let mut streams = self.lock();
        let known = streams.len();
        if !streams.contains_key(name) && known >= self.0.most {
            return Err(Refused::Full(self.0.most));
        }
        let entry = streams.entry(name.into()).or_insert_with(|| Entry::new(name, false));
        let replaced = entry.publisher.is_some();
        if !entry.may_replace(publisher.protocol, self.0.takeover) {
            return Err(Refused::Taken);
        }
        if replaced {
            entry.stream.leave();
        }
        entry.number += 1;
        entry.publisher = Some(publisher);
        let (stream, number) = (entry.stream.clone(), entry.number);
        drop(streams);
        if replaced {
            tracing::info!(stream = name, "a new publisher takes the stream over");
        }
        Ok(Publication { live: self.clone(), stream, number })
    }

    /// Whether [`Live::publish`] would let `protocol` publish `name` now, for who must answer before there is a connection.
    ///
    /// # Errors
    /// As there.
    pub fn may_publish(&self, name: &str, protocol: &str) -> Result<(), Refused> {
        check_name(name).map_err(Refused::Name)?;
        let streams = self.lock();
        match streams.get(name) {
            None if streams.len() >= self.0.most => Err(Refused::Full(self.0.most)),
            Some(entry) if !entry.may_replace(protocol, self.0.takeover) => Err(Refused::Taken),
            _ => Ok(()),
        }
    }

    /// A stream by its name: one that is published, or kept.
    pub fn get(&self, name: &str) -> Option<Arc<Stream>> {
        self.lock().get(name).map(|e| e.stream.clone())
    }

    /// A stream that stays whether somebody publishes it or not, until [`Live::forget`].
    ///
    /// # Errors
    /// [`Refused`] for a name that cannot be one, or too many streams.
    pub fn keep(&self, name: &str) -> Result<Arc<Stream>, Refused> {
        check_name(name).map_err(Refused::Name)?;
        let mut streams = self.lock();
        if !streams.contains_key(name) && streams.len() >= self.0.most {
            return Err(Refused::Full(self.0.most));
        }
        let entry = streams.entry(name.into()).or_insert_with(|| Entry::new(name, true));
        entry.kept = true;
        Ok(entry.stream.clone())
    }

    /// Ends a stream for its readers and its publisher.
    pub fn forget(&self, name: &str) {
        if let Some(entry) = self.lock().remove(name) {
            entry.stream.end();
        }
    }

    /// Who publishes `name` now.
    pub fn publisher(&self, name: &str) -> Option<Publisher> {
        self.lock().get(name)?.publisher.clone()
    }

    /// All streams, by name.
    pub fn list(&self) -> Vec<Arc<Stream>> {
        self.lock().values().map(|e| e.stream.clone()).collect()
    }

    /// How many streams more there may be.
    pub fn room(&self) -> usize {
        self.0.most.saturating_sub(self.lock().len())
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<LiveEvent> {
        self.0.events.subscribe()
    }

    /// Says that somebody watches stream `name` from now on. For readers from outside, not for what is made of a stream.
    pub fn watching(&self, name: &str, protocol: &'static str, peer: Option<SocketAddr>) -> Watching {
        let mut all = self.0.viewers.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry(name.into()).or_default().entry(protocol).or_default() += 1;
        drop(all);
        self.begun(name, protocol, peer, None)
    }

    /// Says that this server sends stream `name` to `target` from now on. Nobody's viewer.
    pub fn sending(&self, name: &str, protocol: &'static str, target: String) -> Watching {
        self.begun(name, protocol, None, Some(target))
    }

    fn begun(
        &self,
        name: &str,
        protocol: &'static str,
        peer: Option<SocketAddr>,
        target: Option<String>,
    ) -> Watching {
        let since = Instant::now();
        let watching = Watching { live: self.clone(), stream: name.into(), protocol, peer, target, since };
        self.visited(&watching, None);
        watching
    }

    /// How many watch stream `name` now, by protocol. Who fetches files (HLS, DASH) is not among them: see
    /// [`OriginStats`](super::OriginStats).
    pub fn viewers(&self, name: &str) -> Vec<(&'static str, u64)> {
        let all = self.0.viewers.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(name).map(|of| of.iter().map(|(p, n)| (*p, *n)).collect()).unwrap_or_default()
    }

    /// Who comes to watch and goes from now on.
    pub fn visits(&self) -> broadcast::Receiver<Visit> {
        self.0.visits.subscribe()
    }

    fn visited(&self, by: &Watching, watched: Option<Duration>) {
        let (stream, target) = (by.stream.clone(), by.target.clone());
        let visit = Visit { stream, protocol: by.protocol, peer: by.peer, target, watched };
        // Nobody need listen.
        let _nobody = self.0.visits.send(visit);
    }

    fn is_current(&self, name: &str, number: u64) -> bool {
        self.lock().get(name).is_some_and(|e| e.number == number)
    }

    fn tell(&self, event: LiveEvent) {
        // Nobody need listen.
        let _nobody = self.0.events.send(event);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.0.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(name: &str, kept: bool) -> Entry {
        Entry { stream: Stream::new(name), number: 0, publisher: None, kept }
    }

    /// Whether a publisher by `protocol` may take the place of whoever is there.
    fn may_replace(&self, protocol: &str, takeover: bool) -> bool {
        match &self.publisher {
            None => true,
            Some(there) => protocol != SLATE && (there.protocol == SLATE || takeover),
        }
    }
}

/// A name is a path of plain words: it becomes part of URLs and directories.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    if name.is_empty() || name.len() > NAME {
        return Err(format!("the name of a stream has 1 to {NAME} bytes"));
    }
    for word in name.split('/') {
        if word.is_empty() || word.starts_with('.') || !word.bytes().all(plain) {
            return Err(format!(
                "{name:?} cannot be the name of a stream: it is made of letters, digits, - _ . ~, and / between words"
            ));
        }
    }
    Ok(())
}

/// The right to publish one stream, until it is dropped.
#[derive(Debug)]
pub struct Publication {
    live: Live,
    stream: Arc<Stream>,
    number: u64,
}

/// Another publisher has taken the stream over, or it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superseded;

impl fmt::Display for Superseded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another publisher has taken the stream over, or it was removed")
    }
}

impl Publication {
    /// What the packets from now on are; comes before the first, and again when it changes.
    ///
    /// # Errors
    /// [`Superseded`].
    pub fn announce(&self, streams: Vec<StreamInfo>) -> Result<(), Superseded> {
        self.check()?;
        let first = self.stream.tracks().is_none();
        self.stream.announce(streams);
        let name = self.stream.name();
        if first && let Some(publisher) = self.live.publisher(name) {
            tracing::info!(stream = name, protocol = publisher.protocol, "published");
            self.live.tell(LiveEvent::Published { stream: name.into(), publisher });
        }
        Ok(())
    }

    /// A packet, in the publisher's own times; they are brought onto the stream's.
    ///
    /// # Errors
    /// [`Superseded`].
    pub fn push(&self, packet: Packet) -> Result<(), Superseded> {
        self.push_aged(packet, Duration::ZERO)
    }

    /// As [`Publication::push`], for a packet that came `age` ago and had to wait: the first one says when the publisher's
    /// time is.
    ///
    /// # Errors
    /// [`Superseded`].
    pub fn push_aged(&self, packet: Packet, age: Duration) -> Result<(), Superseded> {
        self.check()?;
        self.stream.push(packet, age);
        Ok(())
    }

    /// Says how the publisher's connection is, for those who look at the stream.
    ///
    /// # Errors
    /// [`Superseded`].
    pub fn link(&self, link: LinkStats) -> Result<(), Superseded> {
        self.check()?;
        self.stream.note_link(link);
        Ok(())
    }

    /// The stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Whether it may still publish.
    ///
    /// # Errors
    /// [`Superseded`].
    pub fn check(&self) -> Result<(), Superseded> {
        if self.live.is_current(self.stream.name(), self.number) { Ok(()) } else { Err(Superseded) }
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        let name = self.stream.name();
        let mut streams = self.live.lock();
        let Some(entry) = streams.get_mut(name).filter(|e| e.number == self.number) else { return };
        let publisher = entry.publisher.take();
        let announced = self.stream.tracks().is_some();
        self.stream.leave();
        if !entry.kept {
            streams.remove(name);
            self.stream.end();
        }
        drop(streams);
        if announced && let Some(publisher) = publisher {
            let seconds = publisher.since.elapsed().unwrap_or(Duration::ZERO).as_secs_f64();
            tracing::info!(stream = name, protocol = publisher.protocol, seconds, "unpublished");
            self.live.tell(LiveEvent::Unpublished { stream: name.into(), publisher });
        }
    }
}
