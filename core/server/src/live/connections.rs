//! Connections by which streams are published and read, where the server has them itself: RTMP and RTSP. Those of SRT are libsrt's, those
//! of WebRTC have sessions.

use crate::locks::lock;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// A connection that publishes or reads, as it is now.
#[derive(Clone, Debug)]
pub struct Connection {
    /// `rtmp` or `rtsp`.
    pub protocol: &'static str,
    /// The stream.
    pub stream: String,
    /// Whether it publishes, not reads.
    pub publishes: bool,
    /// From where.
    pub peer: SocketAddr,
    /// Since when.
    pub since: SystemTime,
    /// Whether media may flow: readers by RTSP may halt it.
    pub flows: bool,
    /// Bytes from the client since it connected, by datagrams too.
    pub bytes_in: u64,
    /// Bytes to the client, likewise.
    pub bytes_out: u64,
    /// Packets of the stream that a reader was too slow for; what came of a publisher and could not be used.
    pub dropped: u64,
    /// What a reader reports of the way to it.
    pub way: Way,
}

/// The way to a client, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Way {
    /// There and back.
    pub rtt: Option<Duration>,
    /// Which part of the packets did not come, 0 to 1, in the last report.
    pub loss: Option<f64>,
}

impl Way {
    /// The worse of both.
    pub fn worse(self, other: Way) -> Way {
        let loss = [self.loss, other.loss].into_iter().flatten().reduce(f64::max);
        Way { rtt: self.rtt.max(other.rtt), loss }
    }
}

/// Bytes that connections have moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// From clients.
    pub bytes_in: u64,
    /// To clients.
    pub bytes_out: u64,
}

impl Moved {
    fn add(&mut self, connection: &Connection) {
        self.bytes_in += connection.bytes_in;
        self.bytes_out += connection.bytes_out;
    }
}

/// All such connections of a server. Cheap to clone; all methods may be called from any thread.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Mutex<All>>);

#[derive(Debug, Default)]
struct All {
    next: u64,
    open: BTreeMap<u64, Arc<Mutex<Connection>>>,
    /// What those that are over have moved, by protocol.
    over: BTreeMap<&'static str, Moved>,
}

impl Connections {
    /// All that there are, the oldest first.
    pub fn list(&self) -> Vec<Connection> {
        let all: Vec<_> = lock(&self.0).open.values().cloned().collect();
        all.iter().map(|connection| lock(connection).clone()).collect()
    }

    /// What those of `protocol` have moved, with those that are over.
    pub fn moved(&self, protocol: &str) -> Moved {
        let all = lock(&self.0);
        let mut moved = all.over.get(protocol).copied().unwrap_or_default();
        let open = all.open.values().map(|connection| lock(connection));
        open.filter(|c| c.protocol == protocol).for_each(|c| moved.add(&c));
        moved
    }

    /// A connection begins to publish or to read.
    pub(super) fn enter(
        &self,
        protocol: &'static str,
        stream: &str,
        publishes: bool,
        peer: SocketAddr,
    ) -> Listed {
        let connection = Arc::new(Mutex::new(Connection {
            protocol,
            stream: stream.into(),
            publishes,
            peer,
            since: SystemTime::now(),
            flows: true,
            bytes_in: 0,
            bytes_out: 0,
            dropped: 0,
            way: Way::default(),
        }));
        let mut all = lock(&self.0);
        let number = all.next;
        all.next += 1;
        all.open.insert(number, connection.clone());
        Listed { all: self.clone(), number, connection }
    }
}

/// A connection in the list, until it is dropped.
#[derive(Debug)]
pub(super) struct Listed {
    all: Connections,
    number: u64,
    connection: Arc<Mutex<Connection>>,
}

impl Listed {
    /// Says how it is now.
    pub fn note(&self, change: impl FnOnce(&mut Connection)) {
        change(&mut lock(&self.connection));
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        // Under one lock: whoever adds them up finds each of them once.
        let mut all = lock(&self.all.0);
        if let Some(connection) = all.open.remove(&self.number) {
            let connection = lock(&connection);
            all.over.entry(connection.protocol).or_default().add(&connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_and_what_they_moved_stays() {
        let all = Connections::default();
        let peer = ([127, 0, 0, 1], 9).into();
        let publisher = all.enter("rtmp", "cam", true, peer);
        let reader = all.enter("rtsp", "cam", false, peer);
        publisher.note(|c| (c.bytes_in, c.bytes_out) = (100, 10));
        reader.note(|c| (c.bytes_in, c.bytes_out, c.flows) = (5, 90, false));
        let told: Vec<_> = all.list().into_iter().map(|c| (c.protocol, c.publishes, c.flows)).collect();
        assert_eq!(told, [("rtmp", true, true), ("rtsp", false, false)]);
        drop(publisher);
        assert_eq!(all.list().len(), 1);
        let again = all.enter("rtmp", "cam", true, peer);
        again.note(|c| c.bytes_in = 11);
        assert_eq!(all.moved("rtmp"), Moved { bytes_in: 111, bytes_out: 10 });
        assert_eq!(all.moved("rtsp"), Moved { bytes_in: 5, bytes_out: 90 });
        drop((again, reader));
        assert_eq!(all.moved("rtmp"), Moved { bytes_in: 111, bytes_out: 10 });
        let (one, other) = (
            Way { rtt: Some(Duration::from_millis(20)), loss: Some(0.5) },
            Way { rtt: None, loss: Some(0.75) },
        );
        assert_eq!(one.worse(other), Way { rtt: one.rtt, loss: other.loss });
        assert!(all.list().is_empty() && all.moved("srt") == Moved::default());
    }
}
