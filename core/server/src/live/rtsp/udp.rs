//! RTP by UDP to a reader: a pair of ports for a track, one for its packets and the next one for its reports.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// How often a pair of ports is looked for.
const TRIES: usize = 50;
/// The first port that a reader may have: those below are the system's.
const LEAST: u16 = 1024;

/// Two sockets and where they send to: always the address that the connection is from.
#[derive(Debug)]
pub(super) struct Pair {
    packets: (UdpSocket, SocketAddr),
    reports: (UdpSocket, SocketAddr),
}

impl Pair {
    /// From address `local` to ports `to` and the one behind it at `peer`.
    ///
    /// # Errors
    /// The system's; a port that no reader has.
    pub fn open(local: IpAddr, peer: IpAddr, to: u16) -> io::Result<Pair> {
        let next = to.checked_add(1).filter(|_| to >= LEAST).ok_or(io::ErrorKind::InvalidInput)?;
        let (packets, reports) = pair(local)?;
        packets.set_nonblocking(true)?;
        reports.set_nonblocking(true)?;
        Ok(Pair { packets: (packets, (peer, to).into()), reports: (reports, (peer, next).into()) })
    }

    /// The ports that it sends from.
    pub fn ports(&self) -> io::Result<(u16, u16)> {
        Ok((self.packets.0.local_addr()?.port(), self.reports.0.local_addr()?.port()))
    }

    /// Takes what the peer has reported; whether that is anything.
    pub fn has_reports(&self) -> bool {
        let (socket, peer) = &self.reports;
        let mut data = [0; 2048];
        let mut some = false;
        // No more than a socket holds: what a flood adds meanwhile is not waited for.
        for _ in 0..1024 {
            match socket.recv_from(&mut data) {
                Ok((_, from)) => some |= from.ip() == peer.ip(),
                Err(_) => break,
            }
        }
        some
    }

    /// Sends packets that are framed for a connection: those of even channels are packets, the others reports. Nobody waits:
    /// what the system does not take is lost, as what is lost on the way.
    pub fn send(&self, mut framed: &[u8]) {
        while let [b'$', channel, high, low, rest @ ..] = framed {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let Some((data, behind)) = rest.split_at_checked(length) else { return };
            let (socket, to) = if channel % 2 == 0 { &self.packets } else { &self.reports };
            let _lost = socket.send_to(data, to);
            framed = behind;
        }
    }
}

/// An even port and the one behind it.
fn pair(local: IpAddr) -> io::Result<(UdpSocket, UdpSocket)> {
    for _ in 0..TRIES {
        let first = UdpSocket::bind((local, 0))?;
        let port = first.local_addr()?.port();
        if port % 2 == 0
            && let Ok(second) = UdpSocket::bind((local, port + 1))
        {
            return Ok((first, second));
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn packets_and_reports_go_to_their_ports() {
        let local: IpAddr = [127, 0, 0, 1].into();
        let (packets, reports) = pair(local).unwrap();
        let to = packets.local_addr().unwrap().port();
        assert_eq!(reports.local_addr().unwrap().port(), to + 1);
        let sender = Pair::open(local, local, to).unwrap();
        let (first, second) = sender.ports().unwrap();
        assert!(first % 2 == 0 && second == first + 1);
        // The last one is cut.
        sender.send(b"$\x00\x00\x02ab$\x01\x00\x01c$\x00\x00\x09x");
        let mut data = [0; 10];
        for (socket, wanted) in [(&packets, &b"ab"[..]), (&reports, b"c")] {
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let length = socket.recv(&mut data).unwrap();
            assert_eq!(&data[..length], wanted);
        }
        for port in [0, 554, u16::MAX] {
            assert!(Pair::open(local, local, port).is_err(), "{port}");
        }
    }
}
