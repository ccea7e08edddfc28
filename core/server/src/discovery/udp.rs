//! The UDP responder: `GHOSTSTREAM_DISCOVER` is answered with `GHOSTSTREAM_ANNOUNCE:{port}:{version}:{accelerators}`.

use super::{Advertisement, PROTOCOL_VERSION};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::watch;

const QUESTION: &[u8] = b"GHOSTSTREAM_DISCOVER";
/// Answers a second at most: a forged sender address must not turn this into a tool against others.
const ANSWERS_A_SECOND: u32 = 50;

pub(super) struct Responder {
    socket: Arc<UdpSocket>,
    /// What answers.
    speaker: Arc<UdpSocket>,
    answer: String,
}

impl Responder {
    /// Hears at `address`, and answers from there or by `speaker`.
    pub async fn bind(
        address: SocketAddr,
        speaker: Option<Arc<UdpSocket>>,
        ad: &Advertisement,
    ) -> io::Result<Responder> {
        let socket = Arc::new(UdpSocket::bind(address).await?);
        let speaker = speaker.unwrap_or_else(|| Arc::clone(&socket));
        let accelerators = ad.hw_accels.join(",");
        let answer = format!("GHOSTSTREAM_ANNOUNCE:{}:{PROTOCOL_VERSION}:{accelerators}", ad.port);
        Ok(Responder { socket, speaker, answer })
    }

    /// Where it hears.
    pub fn socket(&self) -> Arc<UdpSocket> {
        Arc::clone(&self.socket)
    }

    pub fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    /// Answers until told to stop.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut datagram = [0; 64];
        let (mut second, mut answered) = (Instant::now(), 0);
        loop {
            let received = tokio::select! {
                received = self.socket.recv_from(&mut datagram) => received,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            // An error here belongs to a datagram (a refused answer), not to the socket.
            let Ok((length, sender)) = received else { continue };
            if datagram[..length].trim_ascii() != QUESTION {
                continue;
            }
            if second.elapsed() >= Duration::from_secs(1) {
                (second, answered) = (Instant::now(), 0);
            }
            answered += 1;
            if answered <= ANSWERS_A_SECOND
                && let Err(e) = self.speaker.send_to(self.answer.as_bytes(), sender).await
            {
                tracing::debug!("UDP discovery: {sender}: {e}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Reach;
    use super::*;

    async fn client() -> (UdpSocket, SocketAddr, watch::Sender<bool>) {
        let ad = Advertisement {
            port: 8765,
            hw_accels: vec!["nvenc".into(), "software".into()],
            ..Advertisement::default()
        };
        let responder = Responder::bind(([127, 0, 0, 1], 0).into(), None, &ad).await.expect("bound");
        let address = responder.address().expect("an address");
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(responder.run(stopped));
        (UdpSocket::bind("127.0.0.1:0").await.expect("bound"), address, stop)
    }

    async fn answer(socket: &UdpSocket) -> Option<String> {
        let mut datagram = [0; 256];
        let received =
            tokio::time::timeout(Duration::from_millis(500), socket.recv_from(&mut datagram)).await;
        let (length, _) = received.ok()?.ok()?;
        Some(String::from_utf8_lossy(&datagram[..length]).into_owned())
    }

    #[tokio::test]
    async fn the_question_is_answered_and_nothing_else() {
        let (socket, address, _stop) = client().await;
        for noise in [&b"HELLO"[..], b"", b"GHOSTSTREAM_DISCOVERY", &[b'x'; 200]] {
            socket.send_to(noise, address).await.expect("sent");
        }
        socket.send_to(QUESTION, address).await.expect("sent");
        assert_eq!(answer(&socket).await.as_deref(), Some("GHOSTSTREAM_ANNOUNCE:8765:1.0.0:nvenc,software"));
        assert_eq!(answer(&socket).await, None);
    }

    #[tokio::test]
    async fn a_server_of_both_families_answers_both() {
        let (address, _) = Reach::Both.ears(0)[0];
        let Ok(responder) = Responder::bind(address, None, &Advertisement::default()).await else {
            assert!(std::net::UdpSocket::bind("[::1]:0").is_err(), "this machine has IPv6");
            return;
        };
        let port = responder.address().expect("an address").port();
        let (_stop, stopped) = watch::channel(false);
        tokio::spawn(responder.run(stopped));
        for (own, host) in [("[::1]:0", "::1"), ("127.0.0.1:0", "127.0.0.1")] {
            let socket = UdpSocket::bind(own).await.expect("bound");
            socket.send_to(QUESTION, (host, port)).await.expect("sent");
            assert!(answer(&socket).await.is_some_and(|a| a.starts_with("GHOSTSTREAM_ANNOUNCE:")), "{host}");
        }
    }

    #[tokio::test]
    async fn who_asks_everybody_is_answered_from_where_the_server_is() {
        let ad = Advertisement { port: 8765, ..Advertisement::default() };
        let own = Responder::bind(([127, 0, 0, 2], 0).into(), None, &ad).await.expect("bound");
        let at = own.address().expect("an address");
        let ear = Responder::bind(([127, 0, 0, 1], 0).into(), Some(own.socket()), &ad).await.expect("bound");
        let asked = ear.address().expect("an address");
        let (_stop, stopped) = watch::channel(false);
        tokio::spawn(own.run(stopped.clone()));
        tokio::spawn(ear.run(stopped));
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
        for address in [asked, at] {
            socket.send_to(QUESTION, address).await.expect("sent");
            let mut datagram = [0; 64];
            let received = tokio::time::timeout(Duration::from_secs(5), socket.recv_from(&mut datagram));
            let (_, from) = received.await.expect("an answer").expect("received");
            assert_eq!(from, at);
        }
    }

    #[tokio::test]
    async fn a_flood_gets_a_bounded_number_of_answers() {
        let (socket, address, _stop) = client().await;
        for _ in 0..200 {
            socket.send_to(QUESTION, address).await.expect("sent");
        }
        let mut answers = 0;
        while answer(&socket).await.is_some() {
            answers += 1;
        }
        assert!((1..=2 * ANSWERS_A_SECOND).contains(&answers), "{answers}");
    }
}
