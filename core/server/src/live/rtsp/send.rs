//! A stream sent to another server as publishers by RTSP do: ANNOUNCE, SETUP with RTP in the connection, RECORD. Blocks; it has a
//! thread of its own, and another one that listens to what the server says.

use super::credentials::{Challenge, Credentials};
use super::message::{self, Answer, Input};
use super::play::{Lane, NOTHING, Way, control, lanes};
use crate::live::stream::Tracks;
use crate::policy::decoded;
use bytes::BytesMut;
use ghoststream::packet::Packet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

/// The port where an address names none.
const PORT: u16 = 554;
/// How long a connection, an answer, and what is sent may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);
/// How long a session lasts where the server does not say.
const TIMEOUT: u64 = 60;

/// Why a stream is not sent.
#[derive(Debug)]
pub(in crate::live) enum Failed {
    /// It will not be, as it is.
    Never(String),
    /// It may be later.
    Now(String),
}

/// Where a stream is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    /// As requests name it: without who we are.
    url: String,
    host: String,
    port: u16,
    who: Option<Credentials>,
}

impl Target {
    fn read(url: &str) -> Option<Target> {
        let (scheme, rest) = url.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (who, at) = match authority.rsplit_once('@') {
            Some((who, at)) => (Some(who), at),
            None => (None, authority),
        };
        let (host, port) = match at.strip_prefix('[') {
            Some(v6) => {
                let (host, behind) = v6.split_once(']')?;
                (host, behind.strip_prefix(':'))
            }
            None => at.rsplit_once(':').map_or((at, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Some(PORT), |p| p.parse().ok())?;
        let sane = url.bytes().all(|b| b.is_ascii_graphic());
        if !scheme.eq_ignore_ascii_case("rtsp") || host.is_empty() || !sane {
            return None;
        }
        let who = who.map(|who| {
            let (user, password) = who.split_once(':').unwrap_or((who, ""));
            Credentials { user: decoded(user), password: decoded(password) }
        });
        Some(Target { url: format!("rtsp://{at}{path}"), host: host.into(), port, who })
    }
}

/// A connection to a server that records. Dropping it closes it.
#[derive(Debug)]
pub(in crate::live) struct Sending {
    socket: TcpStream,
    target: Target,
    answers: Receiver<Answer>,
    challenge: Option<Challenge>,
    session: Option<String>,
    number: u32,
    lanes: Vec<Lane>,
    epoch: SystemTime,
    /// How often something has to be said, and when it was last.
    keep: (Duration, Instant),
}

impl Sending {
    /// Whether `url` is one that can be sent to.
    pub fn understands(url: &str) -> bool {
        Target::read(url).is_some()
    }

    /// Connects to `url` and says what is to come: `tracks`, as far as RTP carries them. `epoch` is the wall clock at the
    /// stream's time 0.
    pub fn open(name: &str, url: &str, tracks: &Tracks, epoch: SystemTime) -> Result<Sending, Failed> {
        let target = Target::read(url).ok_or_else(|| Failed::Never("this is no address".into()))?;
        let mut lanes = lanes(tracks);
        if lanes.is_empty() {
            return Err(Failed::Never(NOTHING.into()));
        }
        let socket = connect(&target).map_err(Failed::Now)?;
        let listening = socket.try_clone().map_err(|e| Failed::Now(e.to_string()))?;
        let (said, answers) = sync_channel(16);
        std::thread::Builder::new()
            .name("gs-rtsp".into())
            .spawn(move || listen(listening, &said))
            .map_err(|e| Failed::Now(e.to_string()))?;
        let mut text = format!("v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns={name}\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n");
        text.extend(lanes.iter().enumerate().map(|(n, lane)| lane.describe(&control(n))));
        for (n, lane) in lanes.iter_mut().enumerate() {
            lane.way = Some(Way::Connection(u8::try_from(2 * n).unwrap_or(254)));
        }
        let mut sending = Sending {
            socket,
            target,
            answers,
            challenge: None,
            session: None,
            number: 0,
            lanes,
            epoch,
            keep: (Duration::from_secs(TIMEOUT / 2), Instant::now()),
        };
        let url = sending.target.url.clone();
        sending.ask("OPTIONS", &url, &[], "")?;
        sending.ask("ANNOUNCE", &url, &[("Content-Type", "application/sdp".into())], &text)?;
        for n in 0..sending.lanes.len() {
            let transport = format!("RTP/AVP/TCP;unicast;interleaved={}-{};mode=record", 2 * n, 2 * n + 1);
            let track = format!("{}/{}", url.trim_end_matches('/'), control(n));
            let answer = sending.ask("SETUP", &track, &[("Transport", transport)], "")?;
            sending.is_set_up(n, &answer)?;
        }
        sending.ask("RECORD", &url, &[("Range", "npt=now-".into())], "")?;
        Ok(sending)
    }

    /// Takes what a server says of the way of a track.
    fn is_set_up(&mut self, lane: usize, answer: &Answer) -> Result<(), Failed> {
        let said = answer.header("transport").unwrap_or_default();
        let channel = said.split(';').find_map(|word| word.trim().strip_prefix("interleaved="));
        let channel = channel.and_then(|pair| pair.split('-').next()?.parse::<u8>().ok());
        let Some(channel) = channel.filter(|c| *c < u8::MAX) else {
            return Err(Failed::Never(format!("SETUP: no RTP in the connection, but {said:?}")));
        };
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.way = Some(Way::Connection(channel));
        }
        Ok(())
    }

    /// Sends a packet of the stream.
    pub fn push(&mut self, packet: &Packet) -> Result<(), String> {
        let mut out = Vec::new();
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.place == packet.stream) {
            lane.write(packet, self.epoch, &mut out);
        }
        self.socket.write_all(&out).map_err(|e| told(&e))
    }

    /// Says now and then that it is there; whether the server still is.
    pub fn look(&mut self) -> Result<(), String> {
        let (every, last) = self.keep;
        if last.elapsed() >= every {
            self.keep.1 = Instant::now();
            let url = self.target.url.clone();
            self.request("OPTIONS", &url, &[], "").map_err(|e| told(&e))?;
        }
        loop {
            match self.answers.try_recv() {
                // To what was asked last; who does not know OPTIONS any more has heard us all the same.
                Ok(_) => {}
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err("the server has closed the connection".into()),
            }
        }
    }

    /// Ends it in order.
    pub fn finish(mut self) {
        let url = self.target.url.clone();
        if self.request("TEARDOWN", &url, &[], "").is_ok() {
            let number = self.number.to_string();
            let until = Instant::now() + GOODBYE;
            while let Ok(answer) = self.answers.recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                if answer.header("cseq") == Some(&number) {
                    break;
                }
            }
        }
    }

    /// Makes a request, who we are included if that is wanted, and waits for its answer.
    fn ask(
        &mut self,
        method: &str,
        url: &str,
        headers: &[(&str, String)],
        body: &str,
    ) -> Result<Answer, Failed> {
        let mut answer = self.once(method, url, headers, body)?;
        if answer.status == 401 && self.target.who.is_some() {
            // A nonce that is too old is one more reason.
            self.challenge = Challenge::of(answer.all("www-authenticate"));
            if self.challenge.is_some() {
                answer = self.once(method, url, headers, body)?;
            }
        }
        if answer.status != 200 {
            let why = format!("{method}: {} {}", answer.status, answer.reason);
            // Another one may publish there now, or the server be starting: that passes.
            return Err(Failed::Now(why));
        }
        if let Some(session) = answer.header("session") {
            let mut words = session.split(';').map(str::trim);
            self.session =
                words.next().filter(|id| id.bytes().all(|b| b.is_ascii_graphic())).map(String::from);
            let timeout = words.find_map(|w| w.strip_prefix("timeout=")?.parse().ok()).unwrap_or(TIMEOUT);
            self.keep.0 = Duration::from_secs(timeout.clamp(2, 600)) / 2;
        }
        Ok(answer)
    }

    fn once(
        &mut self,
        method: &str,
        url: &str,
        headers: &[(&str, String)],
        body: &str,
    ) -> Result<Answer, Failed> {
        self.request(method, url, headers, body)
            .map_err(|e| Failed::Now(format!("{method}: {}", told(&e))))?;
        let number = self.number.to_string();
        let until = Instant::now() + PATIENCE;
        loop {
            match self.answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(answer) if answer.header("cseq").is_none_or(|n| n == number) => return Ok(answer),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Failed::Now(format!("{method}: no answer for {} s", PATIENCE.as_secs())));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failed::Now(format!("{method}: the server has closed the connection")));
                }
            }
        }
    }

    fn request(
        &mut self,
        method: &str,
        url: &str,
        headers: &[(&str, String)],
        body: &str,
    ) -> std::io::Result<()> {
        self.number = self.number.wrapping_add(1);
        let mut text = format!("{method} {url} RTSP/1.0\r\nCSeq: {}\r\n", self.number);
        let mut add = |name: &str, value: &str| text.push_str(&format!("{name}: {value}\r\n"));
        add("User-Agent", concat!("GhostStream/", env!("CARGO_PKG_VERSION")));
        if let Some(session) = &self.session {
            add("Session", session);
        }
        if let (Some(challenge), Some(who)) = (&mut self.challenge, &self.target.who) {
            add("Authorization", &challenge.meet(who, method, url));
        }
        headers.iter().for_each(|(name, value)| add(name, value));
        if !body.is_empty() {
            add("Content-Length", &body.len().to_string());
        }
        text += "\r\n";
        text += body;
        self.socket.write_all(text.as_bytes())
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        // Ends the thread that listens; one that is closed already is what is wanted.
        let _closed = self.socket.shutdown(Shutdown::Both);
    }
}

fn connect(target: &Target) -> Result<TcpStream, String> {
    let found = (target.host.as_str(), target.port).to_socket_addrs();
    let addresses: Vec<_> = found.map_err(|e| format!("{}: {e}", target.host))?.take(4).collect();
    let mut why = "it has no address".to_string();
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(socket) => {
                let set = socket.set_nodelay(true).and_then(|()| socket.set_write_timeout(Some(PATIENCE)));
                return set.map(|()| socket).map_err(|e| e.to_string());
            }
            Err(e) => why = told(&e),
        }
    }
    Err(format!("{}:{}: {why}", target.host, target.port))
}

/// Passes answers on; everything else that a server sends is read and dropped, so that it never waits for us.
fn listen(mut socket: TcpStream, to: &SyncSender<Answer>) {
    let mut have = BytesMut::new();
    let mut piece = vec![0; 16 << 10];
    while let Ok(length @ 1..) = socket.read(&mut piece) {
        have.extend_from_slice(&piece[..length]);
        loop {
            match message::next(&mut have) {
                Ok(Some(Input::Answer(answer))) => {
                    if to.send(answer).is_err() {
                        return;
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(message::Garbage(why)) => {
                    tracing::debug!("RTSP: what the server says: {why}");
                    return;
                }
            }
        }
    }
}

fn told(e: &std::io::Error) -> String {
    match e.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            format!("takes nothing for {} s", PATIENCE.as_secs())
        }
        _ => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let read = |url: &str| Target::read(url).unwrap();
        let all = read("rtsp://us%40er:p%3Aw@host:8554/live/cam?key=x");
        assert_eq!((all.host.as_str(), all.port), ("host", 8554));
        assert_eq!(all.url, "rtsp://host:8554/live/cam?key=x");
        assert_eq!(all.who, Some(Credentials { user: "us@er".into(), password: "p:w".into() }));
        let v6 = read("RTSP://[fe80::1%eth0]/cam");
        assert_eq!((v6.host.as_str(), v6.port, v6.who), ("fe80::1%eth0", 554, None));
        for url in [
            "http://host/",
            "rtsp:///x",
            "rtsp://host:x/",
            "rtsp://host:99999/",
            "rtsp://[::1/x",
            "rtsp://h/a b",
            "rtsp://h/\r\nx",
        ] {
            assert_eq!(Target::read(url), None, "{url}");
        }
    }
}
