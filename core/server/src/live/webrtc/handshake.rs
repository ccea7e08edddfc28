//! DTLS that sends a flight of its handshake again when nothing answers it.
//!
//! str0m drives no timer of OpenSSL's, which then sends a lost flight again only when the other side asks for it, and not before its own
//! first second is over: where one of ten packets is lost, one of four connections took over two seconds, and one of nine does now.
//! (str0m's other DTLS, dimpl, has timers, but does not know RSA, which GStreamer's certificates are of.) What is sent again here are the
//! same datagrams, as a network may send them twice: a record that has arrived already is dropped by its number (RFC 6347, 4.1.2.6).

use std::collections::VecDeque;
use std::time::{Duration, Instant};
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
};
use str0m::crypto::{CryptoError, CryptoProvider, from_feature_flags};

/// After how long a flight is sent again, twice as long each time: longer than most ways there and back.
const FIRST: Duration = Duration::from_millis(200);
/// How often: to some six seconds, as what nobody answers for so long nobody waits for.
const TIMES: u32 = 5;

/// str0m's cryptography, with this DTLS.
pub fn provider() -> CryptoProvider {
    CryptoProvider { dtls_provider: &Resending, ..from_feature_flags() }
}

/// Makes [`Handshake`]s.
#[derive(Debug)]
struct Resending;

impl DtlsProvider for Resending {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        from_feature_flags().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let dtls = from_feature_flags().dtls_provider.new_dtls(cert, now, version, mtu)?;
        Ok(Box::new(Handshake::of(dtls)))
    }
}

/// One side of a connection.
#[derive(Debug)]
struct Handshake {
    dtls: Box<dyn DtlsInstance>,
    /// What went out last, up to its answer.
    flight: Vec<Vec<u8>>,
    /// Whether something came since: what goes out next is another flight.
    answered: bool,
    /// When the flight is sent again, how often still, and how long it is waited for an answer.
    due: Option<Instant>,
    left: u32,
    wait: Duration,
    again: VecDeque<Vec<u8>>,
    connected: bool,
}

impl Handshake {
    fn of(dtls: Box<dyn DtlsInstance>) -> Handshake {
        let (flight, again) = (Vec::new(), VecDeque::new());
        Handshake {
            dtls,
            flight,
            answered: true,
            due: None,
            left: TIMES,
            wait: FIRST,
            again,
            connected: false,
        }
    }
}

/// Whether a datagram is of a side's last flight, the only one with something encrypted (the epoch of a record, RFC 6347, 4.1). Who does
/// not have it asks again, and OpenSSL answers that; who has it may be done with handshakes: FFmpeg's WHIP waits for the rest of one that
/// comes a second time, and sends nothing meanwhile. Other flights reach nobody who is done: they are sent again before their answer,
/// and so arrive before what follows it.
fn is_last(datagram: &[u8]) -> bool {
    let mut rest = datagram;
    while let [_, _, _, epoch @ .., _, _, _, _, _, _, high, low] = rest.get(..13).unwrap_or_default() {
        if epoch != [0, 0] {
            return true;
        }
        rest = rest.get(13 + usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default();
    }
    false
}

impl DtlsInstance for Handshake {
    fn set_active(&mut self, active: bool) {
        self.dtls.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.answered = true;
        self.dtls.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        if self.again.front().is_some_and(|packet| packet.len() <= buf.len())
            && let Some(packet) = self.again.pop_front()
        {
            let out = &mut buf[..packet.len()];
            out.copy_from_slice(&packet);
            return DtlsOutput::Packet(out);
        }
        match self.dtls.poll_output(buf) {
            DtlsOutput::Packet(packet) if !self.connected => {
                if std::mem::take(&mut self.answered) {
                    self.flight.clear();
                    (self.left, self.wait) = (TIMES, FIRST);
                    self.due = Some(Instant::now() + FIRST);
                }
                if is_last(packet) {
                    self.due = None;
                }
                self.flight.push(packet.to_vec());
                DtlsOutput::Packet(packet)
            }
            DtlsOutput::Timeout(at) => DtlsOutput::Timeout(self.due.map_or(at, |due| due.min(at))),
            DtlsOutput::Connected => {
                (self.connected, self.due) = (true, None);
                self.flight.clear();
                self.again.clear();
                DtlsOutput::Connected
            }
            other => other,
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        if self.due.is_some_and(|due| due <= now) {
            self.again = self.flight.iter().cloned().collect();
            (self.left, self.wait) = (self.left - 1, self.wait * 2);
            self.due = (self.left > 0).then(|| now + self.wait);
        }
        self.dtls.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<(), DtlsImplError> {
        self.dtls.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.dtls.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.dtls.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.dtls.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.dtls.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.due = None;
        self.dtls.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(active: bool) -> Box<dyn DtlsInstance> {
        let provider = provider().dtls_provider;
        let cert = provider.generate_certificate().unwrap();
        let mut dtls = provider.new_dtls(&cert, Instant::now(), DtlsVersion::Dtls12, None).unwrap();
        dtls.set_active(active);
        dtls.handle_timeout(Instant::now()).unwrap();
        dtls
    }

    /// What a side sends now, whether it is connected, and when it wants to go on.
    fn out(dtls: &mut dyn DtlsInstance) -> (Vec<Vec<u8>>, bool, Instant) {
        let (mut packets, mut connected, mut idle, mut due) = (Vec::new(), false, 0, Instant::now());
        // What comes after a time that is told once is asked for again.
        while idle < 2 {
            let mut buf = [0; 2000];
            match dtls.poll_output(&mut buf) {
                DtlsOutput::Packet(packet) => packets.push(packet.to_vec()),
                DtlsOutput::Connected => connected = true,
                DtlsOutput::Timeout(at) => (idle, due) = (idle + 1, at),
                _ => {}
            }
        }
        (packets, connected, due)
    }

    #[test]
    fn each_flight_that_is_lost_comes_again_but_the_last() {
        let (mut client, mut server) = (side(true), side(false));
        client.handle_packet(&[]).unwrap();
        let mut connected = [false; 2];
        let (mut flights, mut again) = (0, 0);
        for round in 0..20 {
            let to_server = round % 2 == 0;
            let (from, to) = if to_server { (&mut client, &mut server) } else { (&mut server, &mut client) };
            let (lost, at_once, due) = out(&mut **from);
            connected[usize::from(!to_server)] |= at_once;
            if connected == [true, true] {
                break;
            }
            let packets = if lost.iter().any(|packet| is_last(packet)) {
                from.handle_timeout(Instant::now() + Duration::from_secs(60)).unwrap();
                assert!(out(&mut **from).0.is_empty(), "round {round}: who has it may be done");
                lost
            } else {
                assert!(!lost.is_empty(), "round {round}");
                from.handle_timeout(due - FIRST / 2).unwrap();
                assert!(out(&mut **from).0.is_empty(), "round {round}: so soon");
                from.handle_timeout(due).unwrap();
                let packets = out(&mut **from).0;
                assert!(packets == lost, "round {round}: {} datagrams of {}", packets.len(), lost.len());
                again += 1;
                packets
            };
            flights += 1;
            for packet in &packets {
                to.handle_packet(packet).unwrap();
                // One that comes twice is none.
                to.handle_packet(packet).unwrap();
            }
        }
        assert_eq!((connected, flights, again), ([true, true], 4, 2));
        // Nothing is sent for ever.
        for side in [&mut client, &mut server] {
            side.handle_timeout(Instant::now() + Duration::from_secs(60)).unwrap();
            assert!(out(&mut **side).0.is_empty());
        }
    }

    #[test]
    fn nobody_is_asked_for_ever() {
        let mut client = side(true);
        client.handle_packet(&[]).unwrap();
        assert_eq!(out(&mut *client).0.len(), 1);
        let mut times = 0;
        for second in 1..60 {
            client.handle_timeout(Instant::now() + Duration::from_secs(second * 10)).unwrap();
            times += out(&mut *client).0.len();
        }
        assert_eq!(times, TIMES as usize);
    }
}
