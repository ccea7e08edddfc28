//! The one UDP socket of all sessions: who a datagram is for, and bursts of them on their way out.
//!
//! A session is found by the name that its answer gave it (the ICE user name in the first datagrams of a client), later by
//! the address that the session said is its client's. What belongs to nobody is counted and dropped.

use super::stun::ice_name;
use bytes::Bytes;
use ghoststream::{Error, ErrorKind, Result};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Datagrams that wait for one session; more are dropped, as the network would.
const WAITING: usize = 1024;
/// What the kernel is asked to buffer, each way; it may give less.
const KERNEL: usize = 4 << 20;
/// Room for what the kernel joins to one read.
const READ: usize = 64 << 10;
/// The most bytes that go out with one call.
const BURST: usize = 60_000;

/// Datagrams of one session that wait for the kernel.
const KEPT: usize = 4000;

/// A datagram for a session.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// When it came.
    pub at: Instant,
    /// From whom.
    pub source: SocketAddr,
    /// The local candidate that it came to.
    pub destination: SocketAddr,
    /// What it is.
    pub data: Bytes,
}

/// A datagram on its way out.
#[derive(Debug)]
pub struct Parcel {
    /// The local candidate that it goes from.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// What it is.
    pub data: Vec<u8>,
}

/// One of our addresses.
#[derive(Clone, Copy, Debug)]
struct Local {
    /// As clients are told.
    told: SocketAddr,
    /// That of an interface; `None` when something before this machine translates it.
    own: Option<IpAddr>,
}

/// The socket. All methods may be called from any thread of the runtime.
#[derive(Debug)]
pub struct Wire {
    socket: UdpSocket,
    state: UdpSocketState,
    /// IPv4 clients come as IPv6 ones.
    mapped: bool,
    locals: Vec<Local>,
    routes: Mutex<Routes>,
    strays: AtomicU64,
    unsent: AtomicU64,
}

#[derive(Debug, Default)]
struct Routes {
    by_name: HashMap<String, Route>,
    by_address: HashMap<SocketAddr, Route>,
}

#[derive(Clone, Debug)]
struct Route {
    session: Uuid,
    to: mpsc::Sender<Datagram>,
}

impl Wire {
    /// Binds `address`. Clients are told `addresses`, or those of the interfaces when there are none.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] for a port that is taken, [`ErrorKind::Io`] for the rest.
    pub fn bind(address: SocketAddr, addresses: &[IpAddr]) -> Result<Wire> {
        let failed = |e: io::Error| {
            let kind = match e.kind() {
                io::ErrorKind::AddrInUse => ErrorKind::Busy,
                io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                _ => ErrorKind::Io,
            };
            Error::new(kind, format!("WebRTC: UDP {address}: {e}"))
        };
        let socket = std::net::UdpSocket::bind(address).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let bound = socket.local_addr().map_err(failed)?;
        let socket = UdpSocket::from_std(socket).map_err(failed)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).map_err(failed)?;
        for result in [
            state.set_send_buffer_size(UdpSockRef::from(&socket), KERNEL),
            state.set_recv_buffer_size(UdpSockRef::from(&socket), KERNEL),
        ] {
            if let Err(e) = result {
                tracing::debug!("WebRTC: the kernel's buffer stays as it is: {e}");
            }
        }
        let locals = locals(bound, addresses).map_err(failed)?;
        if locals.is_empty() {
            return Err(Error::new(
                ErrorKind::Io,
                format!("WebRTC: no address that clients reach {bound} at"),
            ));
        }
        let routes = Mutex::default();
        let (strays, unsent) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Wire { socket, state, mapped: bound.is_ipv6(), locals, routes, strays, unsent })
    }

    /// The addresses that clients are told.
    pub fn candidates(&self) -> impl Iterator<Item = SocketAddr> {
        self.locals.iter().map(|l| l.told)
    }

    /// Datagrams that belonged to nobody, and those that could not be sent.
    pub fn losses(&self) -> (u64, u64) {
        (self.strays.load(Ordering::Relaxed), self.unsent.load(Ordering::Relaxed))
    }

    /// What is for the ICE user `name` goes to `session` from now on.
    pub fn open(&self, session: Uuid, name: &str) -> mpsc::Receiver<Datagram> {
        let (to, datagrams) = mpsc::channel(WAITING);
        self.routes().by_name.insert(name.into(), Route { session, to });
        datagrams
    }

    /// The session `name` has seen that `address` is its client's.
    pub fn learn(&self, name: &str, address: SocketAddr) {
        let mut routes = self.routes();
        if let Some(route) = routes.by_name.get(name).cloned() {
            routes.by_address.insert(address, route);
        }
    }

    /// The session is over.
    pub fn close(&self, session: Uuid, name: &str) {
        let mut routes = self.routes();
        routes.by_name.remove(name);
        routes.by_address.retain(|_, route| route.session != session);
    }

    /// Reads and hands out until the socket breaks, which it does not by anything that a client sends.
    pub async fn receive(&self) {
        let mut memory = vec![0u8; READ * BATCH_SIZE.min(16)];
        loop {
            let read = self.socket.async_io(Interest::READABLE, || {
                let mut buffers: Vec<IoSliceMut<'_>> = memory.chunks_mut(READ).map(IoSliceMut::new).collect();
                let mut metas = vec![RecvMeta::default(); buffers.len()];
                let count = self.state.recv(UdpSockRef::from(&self.socket), &mut buffers, &mut metas)?;
                metas.truncate(count);
                Ok(metas)
            });
            match read.await {
                Ok(metas) => {
                    let now = Instant::now();
                    for (meta, memory) in metas.iter().zip(memory.chunks(READ)) {
                        let joined = memory.get(..meta.len).unwrap_or_default();
                        for data in joined.chunks(meta.stride.max(1)) {
                            self.hand_out(now, meta, data);
                        }
                    }
                }
                Err(e) => {
                    // An ICMP error of some client's network, or no memory: neither ends the others' sessions.
                    tracing::debug!("WebRTC: UDP: {e}");
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            }
        }
    }

    fn hand_out(&self, at: Instant, meta: &RecvMeta, data: &[u8]) {
        let source = plain(meta.addr);
        let route = {
            let routes = self.routes();
            match ice_name(data) {
                Some(name) => routes.by_name.get(name).cloned(),
                None => routes.by_address.get(&source).cloned(),
            }
        };
        let Some((route, destination)) = route.zip(self.came_to(meta)) else {
            self.strays.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let datagram = Datagram { at, source, destination, data: Bytes::copy_from_slice(data) };
        if route.to.try_send(datagram).is_err() {
            self.strays.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The candidate that a datagram came to.
    fn came_to(&self, meta: &RecvMeta) -> Option<SocketAddr> {
        let ip = meta.dst_ip.map(|ip| ip.to_canonical());
        let exact = self.locals.iter().find(|l| l.own.is_some() && l.own == ip);
        let v4 = plain(meta.addr).is_ipv4();
        exact.or_else(|| self.locals.iter().find(|l| l.told.is_ipv4() == v4)).map(|l| l.told)
    }

    /// Sends, in as few calls as the kernel allows. What it has no room for stays in `parcels`: [`Wire::writable`] tells when
    /// it has. What cannot be sent at all is lost, and counted.
    pub fn send(&self, parcels: &mut Vec<Parcel>) {
        let segments = self.state.max_gso_segments().max(1);
        let mut sent = 0;
        let mut burst = Vec::new();
        while let Some(first) = parcels.get(sent) {
            // Datagrams of one length to one client, of which the last may be shorter.
            let size = first.data.len();
            let mut count = 1;
            let mut bytes = size;
            while let Some(next) = parcels.get(sent + count) {
                let same = next.destination == first.destination && next.source == first.source;
                let fits = count < segments && bytes + next.data.len() <= BURST && next.data.len() <= size;
                if !same || !fits {
                    break;
                }
                count += 1;
                bytes += next.data.len();
                if next.data.len() < size {
                    break;
                }
            }
            burst.clear();
            parcels.iter().skip(sent).take(count).for_each(|p| burst.extend_from_slice(&p.data));
            match self.put(first, &burst, size, count) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => {
                    self.unsent.fetch_add(count as u64, Ordering::Relaxed);
                    tracing::trace!(to = %first.destination, "WebRTC: UDP: {e}");
                }
            }
            sent += count;
        }
        parcels.drain(..sent);
        // Old packets are of no use to anybody.
        if parcels.len() > KEPT {
            let lost = parcels.len() - KEPT;
            self.unsent.fetch_add(lost as u64, Ordering::Relaxed);
            parcels.drain(..lost);
        }
    }

    /// When the kernel has room again.
    pub async fn writable(&self) {
        if let Err(e) = self.socket.writable().await {
            tracing::debug!("WebRTC: UDP: {e}");
        }
    }

    fn put(&self, first: &Parcel, contents: &[u8], size: usize, count: usize) -> io::Result<()> {
        let own = self.locals.iter().find(|l| l.told == first.source).and_then(|l| l.own);
        let transmit = Transmit {
            destination: self.towards(first.destination),
            ecn: None,
            contents,
            segment_size: (count > 1).then_some(size),
            src_ip: own.map(|ip| self.towards((ip, 0).into()).ip()),
        };
        self.socket
            .try_io(Interest::WRITABLE, || self.state.try_send(UdpSockRef::from(&self.socket), &transmit))
    }

    fn towards(&self, address: SocketAddr) -> SocketAddr {
        match address.ip() {
            IpAddr::V4(ip) if self.mapped => (ip.to_ipv6_mapped(), address.port()).into(),
            _ => address,
        }
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An IPv4 address that came as an IPv6 one, as the IPv4 one that it is.
fn plain(address: SocketAddr) -> SocketAddr {
    (address.ip().to_canonical(), address.port()).into()
}

fn locals(bound: SocketAddr, addresses: &[IpAddr]) -> io::Result<Vec<Local>> {
    let port = bound.port();
    let own: Vec<IpAddr> = match bound.ip().is_unspecified() {
        false => vec![bound.ip()],
        true => if_addrs::get_if_addrs()?
            .into_iter()
            .map(|i| i.ip())
            .filter(|ip| ip.is_ipv4() || bound.is_ipv6())
            .filter(|ip| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()))
            .collect(),
    };
    let mut locals: Vec<Local> = addresses
        .iter()
        .map(|ip| Local { told: (*ip, port).into(), own: own.contains(ip).then_some(*ip) })
        .collect();
    if locals.is_empty() {
        locals.extend(own.into_iter().map(|ip| Local { told: (ip, port).into(), own: Some(ip) }));
    }
    // The first is what an address that is not ours is taken for.
    locals.sort_by_key(|l| l.told.ip().is_loopback());
    Ok(locals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn datagrams_reach_the_session_that_they_name_and_strays_are_counted() {
        let wire = std::sync::Arc::new(Wire::bind("127.0.0.1:0".parse().unwrap(), &[]).unwrap());
        let address = wire.candidates().next().unwrap();
        let mut inbox = wire.open(Uuid::new_v4(), "ab");
        let reader = tokio::spawn({
            let wire = wire.clone();
            async move { wire.receive().await }
        });
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut request = vec![0, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42];
        request.extend([7; 12]);
        request.extend([0, 6, 0, 5, b'a', b'b', b':', b'c', b'd', 0, 0, 0]);
        client.send_to(&[0x80, 1, 2], address).await.unwrap();
        client.send_to(&request, address).await.unwrap();
        let got = inbox.recv().await.unwrap();
        assert_eq!((got.destination, &got.data[..]), (address, &request[..]));
        assert_eq!(wire.losses().0, 1, "nobody's address");
        wire.learn("ab", got.source);
        client.send_to(&[0x80, 1, 2], address).await.unwrap();
        assert_eq!(&inbox.recv().await.unwrap().data[..], [0x80, 1, 2]);

        // A burst comes as the datagrams that it was made of.
        let piece = |n: u8, len: usize| Parcel {
            source: address,
            destination: client.local_addr().unwrap(),
            data: vec![n; len],
        };
        let mut burst: Vec<Parcel> = (0..70).map(|n| piece(n, 1200)).collect();
        burst.extend([piece(70, 30), piece(71, 500)]);
        while !burst.is_empty() {
            wire.send(&mut burst);
            wire.writable().await;
        }
        let mut buffer = [0; 2000];
        for n in 0..72u8 {
            let length = client.recv(&mut buffer).await.unwrap();
            let expected = match n {
                70 => 30,
                71 => 500,
                _ => 1200,
            };
            assert_eq!((buffer[0], length), (n, expected));
        }
        reader.abort();
    }
}
