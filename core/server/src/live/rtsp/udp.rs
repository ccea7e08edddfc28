//! RTP by UDP to a reader: a pair of ports for a track, one for its packets and the next one for its reports. Packets of a large
//! picture do not go out at once: the buffers of neither side, nor of what lies between, hold so many.

use bytes::{Buf, BytesMut};
use quinn_udp::{UdpSockRef, UdpSocketState};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How often a pair of ports is looked for.
const TRIES: usize = 50;
/// The first port that a reader may have: those below are the system's.
const LEAST: u16 = 1024;
/// What the kernel is asked to buffer on the way out; it may give less.
const KERNEL: usize = 1 << 20;
/// The most packets that go out at once, where not many wait: a receiver's socket holds some ninety as the system makes it.
const BURST: u32 = 32;
/// The time for as many packets more: they make some 180 Mbit/s.
const PAUSE: Duration = Duration::from_millis(2);
/// However much waits, a part of it goes out with each pause.
const PAUSES: usize = 10;
/// A packet of a picture, framed.
const PACKET: usize = 1400;
/// The most bytes that wait.
const WAITING: usize = 4 << 20;

/// Two sockets and where they send to: always the address that the connection is from.
#[derive(Debug)]
pub(super) struct Pair {
    packets: (UdpSocket, SocketAddr),
    reports: (UdpSocket, SocketAddr),
    /// What has not gone out yet, framed as for a connection.
    waiting: BytesMut,
    /// Packets that may go out now, and since when that is so.
    credit: (u32, Option<Instant>),
    lost: u64,
    /// Bytes of reports that came, and of all that went out.
    moved: (u64, u64),
}

impl Pair {
    /// From the address of `local` to ports `to` and the one behind it at that of `peer`; link-local ones have their interface
    /// with them.
    ///
    /// # Errors
    /// The system's; a port that no reader has.
    pub fn open(local: SocketAddr, peer: SocketAddr, to: u16) -> io::Result<Pair> {
        let next = to.checked_add(1).filter(|_| to >= LEAST).ok_or(io::ErrorKind::InvalidInput)?;
        let (packets, reports) = pair(local)?;
        packets.set_nonblocking(true)?;
        reports.set_nonblocking(true)?;
        let state = UdpSocketState::new(UdpSockRef::from(&packets))?;
        if let Err(e) = state.set_send_buffer_size(UdpSockRef::from(&packets), KERNEL) {
            tracing::debug!("RTSP: the kernel's buffer stays as it is: {e}");
        }
        let at = |port| at_port(peer, port);
        Ok(Pair {
            packets: (packets, at(to)),
            reports: (reports, at(next)),
            waiting: BytesMut::new(),
            credit: (BURST, None),
            lost: 0,
            moved: (0, 0),
        })
    }

    /// The ports that it sends from.
    pub fn ports(&self) -> io::Result<(u16, u16)> {
        Ok((self.packets.0.local_addr()?.port(), self.reports.0.local_addr()?.port()))
    }

    /// Takes what the peer has reported.
    pub fn reports(&mut self) -> Vec<Vec<u8>> {
        let (socket, peer) = &self.reports;
        let mut data = [0; 2048];
        let mut all = Vec::new();
        // No more than a socket holds: what a flood adds meanwhile is not waited for.
        for _ in 0..1024 {
            match socket.recv_from(&mut data) {
                Ok((length, from)) if from.ip() == peer.ip() => {
                    self.moved.0 += length as u64;
                    all.extend(data.get(..length).map(<[u8]>::to_vec));
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        all
    }

    /// Takes packets that are framed for a connection: those of even channels are packets, the others reports. Nobody waits:
    /// what there is no room for is lost, as what is lost on the way. Gives how many are.
    pub fn push(&mut self, framed: &[u8]) -> u64 {
        if self.waiting.len() + framed.len() > WAITING {
            return packets(framed);
        }
        self.waiting.extend_from_slice(framed);
        0
    }

    /// Sends what may go out `now`.
    pub fn send(&mut self, now: Instant) {
        let burst = u32::try_from(self.waiting.len() / (PAUSES * PACKET)).unwrap_or(BURST).max(BURST);
        let (credit, since) = &mut self.credit;
        let more = since.map_or(burst, |since| {
            let times =
                now.saturating_duration_since(since).as_micros() * u128::from(burst) / PAUSE.as_micros();
            u32::try_from(times).unwrap_or(burst).min(burst)
        });
        // Less than a packet's time is kept for later.
        if more > 0 {
            (*credit, *since) = ((*credit + more).min(burst), Some(now));
        }
        while self.credit.0 > 0
            && let Some((channel, length)) = front(&self.waiting)
        {
            let (socket, to) = if channel % 2 == 0 { &self.packets } else { &self.reports };
            match socket.send_to(&self.waiting[4..4 + length], to) {
                // Later, then.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.lost += 1,
                Ok(sent) => self.moved.1 += sent as u64,
            }
            self.waiting.advance(4 + length);
            self.credit.0 -= 1;
        }
        if front(&self.waiting).is_none() {
            self.waiting.clear();
        }
    }

    /// When more of what waits may go out; `None` while nothing does.
    pub fn due(&self) -> Option<Instant> {
        let (_, since) = self.credit;
        since.filter(|_| !self.waiting.is_empty()).map(|since| since + PAUSE)
    }

    /// Bytes that came and went.
    pub fn moved(&self) -> (u64, u64) {
        self.moved
    }

    /// Packets that the system refused.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

/// The channel and the length of the first packet, when it is whole.
fn front(framed: &[u8]) -> Option<(u8, usize)> {
    let [b'$', channel, high, low, rest @ ..] = framed else { return None };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    (rest.len() >= length).then_some((*channel, length))
}

/// How many packets there are.
fn packets(mut framed: &[u8]) -> u64 {
    let mut count = 0;
    while let Some((_, length)) = front(framed) {
        framed = &framed[4 + length..];
        count += 1;
    }
    count
}

fn at_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

/// An even port and the one behind it.
fn pair(local: SocketAddr) -> io::Result<(UdpSocket, UdpSocket)> {
    for _ in 0..TRIES {
        let first = UdpSocket::bind(at_port(local, 0))?;
        let port = first.local_addr()?.port();
        if port % 2 == 0
            && let Ok(second) = UdpSocket::bind(at_port(local, port + 1))
        {
            return Ok((first, second));
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, SocketAddrV6};

    fn here() -> SocketAddr {
        ([127, 0, 0, 1], 0).into()
    }

    #[test]
    fn packets_and_reports_go_to_their_ports() {
        let (packets, reports) = pair(here()).unwrap();
        let to = packets.local_addr().unwrap().port();
        assert_eq!(reports.local_addr().unwrap().port(), to + 1);
        let mut sender = Pair::open(here(), here(), to).unwrap();
        let (first, second) = sender.ports().unwrap();
        assert!(first % 2 == 0 && second == first + 1);
        // The last one is cut.
        assert_eq!(sender.push(b"$\x00\x00\x02ab$\x01\x00\x01c$\x00\x00\x09x"), 0);
        sender.send(Instant::now());
        let mut data = [0; 10];
        for (socket, wanted) in [(&packets, &b"ab"[..]), (&reports, b"c")] {
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let length = socket.recv(&mut data).unwrap();
            assert_eq!(&data[..length], wanted);
        }
        assert!(sender.due().is_none() && sender.lost() == 0);
        // What others send to the port is not the reader's.
        let other = UdpSocket::bind("127.0.0.2:0").unwrap();
        other.send_to(b"other", at_port(here(), second)).unwrap();
        reports.send_to(b"said", at_port(here(), second)).unwrap();
        assert_eq!((sender.reports(), sender.moved()), (vec![b"said".to_vec()], (4, 3)));
        assert!(sender.reports().is_empty());
        for port in [0, 554, u16::MAX] {
            assert!(Pair::open(here(), here(), port).is_err(), "{port}");
        }
    }

    #[test]
    fn a_large_picture_does_not_go_out_at_once() {
        let (packets, _reports) = pair(here()).unwrap();
        packets.set_nonblocking(true).unwrap();
        let mut sender = Pair::open(here(), here(), packets.local_addr().unwrap().port()).unwrap();
        let picture: Vec<u8> = (0..100u8).flat_map(|n| [b'$', 0, 0, 1, n]).collect();
        sender.push(&picture);
        let (mut now, mut got, mut steps) = (Instant::now(), Vec::new(), Vec::new());
        loop {
            sender.send(now);
            // Asked again at once, it gives no more.
            sender.send(now);
            let mut data = [0; 10];
            let before = got.len();
            while packets.recv(&mut data).is_ok() {
                got.push(data[0]);
            }
            steps.push(got.len() - before);
            let Some(due) = sender.due() else { break };
            assert!(due > now && due <= now + PAUSE);
            now = due;
        }
        assert_eq!((got, steps), ((0..100).collect(), vec![32, 32, 32, 4]));
        // A stream of more than that goes out all the same: a tenth of what waits at a time.
        let packet = [&[b'$', 0, 5, 120][..], &[9; 1400]].concat();
        sender.push(&packet.repeat(1000));
        let mut rounds = 0;
        while rounds == 0 || sender.due().is_some() {
            now += PAUSE;
            sender.send(now);
            rounds += 1;
            let mut data = [0; 2000];
            while packets.recv(&mut data).is_ok() {}
        }
        assert!((10..30).contains(&rounds), "{rounds}");
        // What nobody takes is bounded, and counted.
        let large = [&[b'$', 0, 0xff, 0xff][..], &[0; 0xffff]].concat();
        assert_eq!((0..100).map(|_| sender.push(&large)).sum::<u64>(), 100 - (WAITING / large.len()) as u64);
    }

    #[test]
    fn link_local_addresses_have_their_interface() {
        let all = if_addrs::get_if_addrs().unwrap();
        let link_local = |ip: &Ipv6Addr| ip.segments()[0] & 0xffc0 == 0xfe80;
        // An address of that kind without its interface is none that one can send from.
        let alone = SocketAddrV6::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), 0, 0, 7);
        let SocketAddr::V6(kept) = at_port(alone.into(), 9) else { panic!() };
        assert_eq!((kept.port(), kept.scope_id()), (9, 7));
        for interface in all {
            let std::net::IpAddr::V6(ip) = interface.ip() else { continue };
            let Some(index) = interface.index.filter(|_| link_local(&ip)) else { continue };
            let address = SocketAddr::from(SocketAddrV6::new(ip, 0, 0, index));
            Pair::open(address, address, 40_000).unwrap();
        }
    }
}
