//! One connection: what is asked for and what is answered.

use super::credentials::Credentials;
use super::message::{self, Input, Request};
use super::play::{Over, Play, Way, control};
use super::publish::{Ingest, Lane};
use super::udp::Pair;
use super::{PROTOCOL, RtspOptions, sdp};
use crate::http::query::encoded;
use crate::live::connections::Listed;
use crate::live::hooks::{Act, Asked};
use crate::live::keys::shown;
use crate::live::registry::{Live, Publisher, Refused};
use crate::live::stream::Item;
use bytes::BytesMut;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take to be sent.
const SENDING: Duration = Duration::from_secs(10);
/// What may be asked for.
const METHODS: &str =
    "OPTIONS, ANNOUNCE, DESCRIBE, SETUP, RECORD, PLAY, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER";

/// Why a connection is over.
enum End {
    Gone,
    /// What the peer did wrong.
    Peer(String),
}

/// What a connection has come to.
enum State {
    New,
    Announced { asked: Asked, lanes: Vec<Lane> },
    Recording(Box<Ingest>),
    Reading(Box<Play>),
}

/// What a connection waited for.
enum Woken {
    Read(std::io::Result<usize>),
    Item(Item),
    /// More datagrams may go out.
    Due,
    Late,
}

struct Session<'a> {
    peer: SocketAddr,
    /// The address that it came to.
    local: SocketAddr,
    live: Live,
    options: &'a RtspOptions,
    id: String,
    state: State,
    over: bool,
    /// Bytes that came and went in the connection.
    moved: (u64, u64),
    /// In the list of those who publish and read, since it does.
    listed: Option<Listed>,
}

/// An answer: status, headers, and a text that says why where it is none.
type Answer = (u16, Vec<(&'static str, String)>, String);

fn refused(status: u16, why: impl Into<String>) -> Answer {
    (status, Vec::new(), why.into())
}

/// Lets in who shows a key that `may`: in the address, or as the password (cameras and recorders know no other way). Gives the
/// query with what is shown, for who else decides.
///
/// # Errors
/// The answer: who shows nothing, or the wrong password, is asked for one.
fn admitted(request: &Request, why: &str, may: impl Fn(Option<&str>) -> bool) -> Result<String, Answer> {
    let (_, query) = request.target();
    let inside = shown(query);
    let key = request.header("authorization").and_then(Credentials::read).map(Credentials::key);
    if may(inside) || key.as_deref().is_some_and(|key| may(Some(key))) {
        return Ok(match key.filter(|_| inside.is_none()) {
            Some(key) if query.is_empty() => format!("key={}", encoded(&key)),
            Some(key) => format!("{query}&key={}", encoded(&key)),
            None => query.into(),
        });
    }
    if inside.is_some() && key.is_none() {
        return Err(refused(403, why));
    }
    Err((401, vec![("WWW-Authenticate", "Basic realm=\"GhostStream\"".into())], why.into()))
}

/// Serves a connection to its end.
pub(super) async fn run(socket: TcpStream, peer: SocketAddr, live: Live, options: &RtspOptions) {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let local = socket.local_addr().unwrap_or_else(|_| (std::net::Ipv4Addr::UNSPECIFIED, 0).into());
    let (state, moved) = (State::New, (0, 0));
    let mut session = Session { peer, local, live, options, id, state, over: false, moved, listed: None };
    let end = session.serve(socket).await;
    // What moved since it was last told.
    session.note();
    let stream = match &session.state {
        State::Recording(ingest) => ingest.name().to_string(),
        State::Reading(play) => play.name().to_string(),
        State::Announced { asked, .. } => asked.stream.clone(),
        State::New => String::new(),
    };
    let lost = match &session.state {
        State::Recording(ingest) => ingest.lost(),
        State::Reading(play) => play.dropped(),
        _ => 0,
    };
    match end {
        End::Gone => {
            tracing::debug!(%peer, stream, lost, teardown = session.over, "RTSP connection ended");
        }
        End::Peer(why) => {
            tracing::warn!(%peer, stream, lost, teardown = session.over, "RTSP connection closed: {why}");
        }
    }
}

impl Session<'_> {
    async fn serve(&mut self, mut socket: TcpStream) -> End {
        let mut have = BytesMut::with_capacity(64 << 10);
        let mut heard = Instant::now();
        loop {
            loop {
                let input = match message::next(&mut have) {
                    Ok(Some(input)) => input,
                    Ok(None) => break,
                    Err(message::Garbage(why)) => return End::Peer(why.into()),
                };
                match input {
                    Input::Request(request) => {
                        let text = self.answer(&request).await;
                        let sent = tokio::time::timeout(SENDING, socket.write_all(text.as_bytes())).await;
                        if !matches!(sent, Ok(Ok(()))) {
                            return End::Gone;
                        }
                        self.moved.1 += text.len() as u64;
                        if self.over {
                            return End::Gone;
                        }
                    }
                    // Nothing was asked.
                    Input::Answer(_) => {}
                    Input::Media { channel, data } => match &mut self.state {
                        State::Recording(ingest) => {
                            if let Err(why) = ingest.take(channel, &data, Instant::now()) {
                                return End::Peer(why);
                            }
                        }
                        State::Reading(play) => play.hear(channel, &data, Instant::now()),
                        State::New | State::Announced { .. } => {}
                    },
                }
            }
            self.note();
            let silence = self.options.silence;
            let forsaken = self.reading().and_then(Play::until);
            // A reader that takes what is sent in the connection need not say anything.
            let silent = match self.reading() {
                Some(play) if !play.by_datagrams() => None,
                _ => Some(heard + silence),
            };
            let late = [forsaken, silent].into_iter().flatten().min();
            let due = self.reading().and_then(Play::due);
            let woken = tokio::select! {
                read = socket.read_buf(&mut have) => Woken::Read(read),
                item = next_item(&mut self.state) => Woken::Item(item),
                () = until(due) => Woken::Due,
                () = until(late) => Woken::Late,
            };
            match woken {
                Woken::Read(Ok(0) | Err(_)) => return End::Gone,
                Woken::Read(Ok(read)) => {
                    self.moved.0 += read as u64;
                    heard = Instant::now();
                }
                Woken::Item(item) => {
                    let State::Reading(play) = &mut self.state else { continue };
                    let bytes = match play.take(item) {
                        Ok(bytes) => bytes,
                        Err(Over::Ended) => return End::Gone,
                        Err(Over::Changed(why)) => return End::Peer(why),
                    };
                    match tokio::time::timeout(SENDING, socket.write_all(&bytes)).await {
                        Ok(Ok(())) => self.moved.1 += bytes.len() as u64,
                        Ok(Err(_)) => return End::Gone,
                        Err(_) => return End::Peer(format!("takes nothing for {} s", SENDING.as_secs())),
                    }
                }
                Woken::Due => {
                    if let State::Reading(play) = &mut self.state {
                        play.send();
                    }
                }
                Woken::Late if forsaken.is_some_and(|at| at <= Instant::now()) => {
                    return End::Peer("nobody publishes the stream any more".into());
                }
                // Reports of a reader say that it is there too (RFC 2326, section 10.5).
                Woken::Late if self.reported() => heard = Instant::now(),
                Woken::Late => return End::Peer(format!("nothing for {} s", silence.as_secs())),
            }
        }
    }

    /// Says how the connection is to who asks for the list.
    fn note(&mut self) {
        let Some(listed) = &self.listed else { return };
        let (mut moved, mut way, mut flows) = (self.moved, Default::default(), true);
        let dropped = match &mut self.state {
            State::Recording(ingest) => ingest.lost(),
            State::Reading(play) => {
                play.look(Instant::now());
                let datagrams = play.moved();
                moved = (moved.0 + datagrams.0, moved.1 + datagrams.1);
                (way, flows) = (play.way(), play.plays());
                play.dropped()
            }
            State::New | State::Announced { .. } => 0,
        };
        listed.note(|c| {
            ((c.bytes_in, c.bytes_out), c.dropped, c.way, c.flows) = (moved, dropped, way, flows);
        });
    }

    /// Whether a reader that plays has reported anything by UDP.
    fn reported(&mut self) -> bool {
        match &mut self.state {
            State::Reading(play) => play.plays() && play.reports(),
            _ => false,
        }
    }

    /// The reader, while it plays.
    fn reading(&self) -> Option<&Play> {
        match &self.state {
            State::Reading(play) if play.plays() => Some(play),
            _ => None,
        }
    }

    async fn answer(&mut self, request: &Request) -> String {
        let (status, headers, why) = self.respond(request).await;
        // Who knows a name and a password shows them when they are asked for.
        if status == 401 && request.header("authorization").is_none() {
            tracing::debug!(peer = %self.peer, method = request.method, "RTSP asks who it is: {why}");
        } else if status >= 400 {
            tracing::warn!(peer = %self.peer, method = request.method, status, "RTSP refused: {why}");
        }
        let reason = match status {
            200 => "OK",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            415 => "Unsupported Media Type",
            453 => "Not Enough Bandwidth",
            455 => "Method Not Valid in This State",
            461 => "Unsupported Transport",
            _ => "Not Implemented",
        };
        let mut text = format!("RTSP/1.0 {status} {reason}\r\n");
        let plain = |v: &&str| v.len() < 64 && v.bytes().all(|b| b.is_ascii_graphic());
        let mut add = |name: &str, value: &str| text.push_str(&format!("{name}: {value}\r\n"));
        if let Some(number) = request.header("cseq").filter(plain) {
            add("CSeq", number);
        }
        for (name, value) in &headers {
            add(name, value);
        }
        if !why.is_empty() && status != 200 {
            add("Content-Type", "text/plain");
        }
        add("Content-Length", &why.len().to_string());
        text + "\r\n" + &why
    }

    async fn respond(&mut self, request: &Request) -> Answer {
        let named = format!("{};timeout={}", self.id, self.options.silence.as_secs());
        let session = || ("Session", named.clone());
        match request.method.as_str() {
            "OPTIONS" => (200, vec![("Public", METHODS.into())], String::new()),
            "GET_PARAMETER" | "SET_PARAMETER" => (200, vec![session()], String::new()),
            "TEARDOWN" => {
                self.over = true;
                (200, vec![session()], String::new())
            }
            "ANNOUNCE" => match self.announce(request).await {
                Ok(()) => (200, vec![session()], String::new()),
                Err(answer) => answer,
            },
            "SETUP" => match self.set_up(request) {
                Ok(transport) => (200, vec![("Transport", transport), session()], String::new()),
                Err(answer) => answer,
            },
            "RECORD" => {
                let headers = vec![session()];
                match self.record() {
                    Ok(()) => (200, headers, String::new()),
                    Err(answer) => answer,
                }
            }
            "DESCRIBE" => match self.describe(request).await {
                Ok(text) => {
                    let base = format!("{}/", request.url.trim_end_matches('/'));
                    let headers = vec![("Content-Base", base), ("Content-Type", "application/sdp".into())];
                    (200, headers, text)
                }
                Err(answer) => answer,
            },
            "PLAY" => match &mut self.state {
                State::Reading(play) if play.lanes.iter().any(|l| l.way.is_some()) => {
                    play.begin();
                    let enter = || self.options.list.enter(PROTOCOL, play.name(), false, self.peer);
                    self.listed.get_or_insert_with(enter);
                    // It is live: there is no other place in it.
                    (200, vec![("Range", "npt=now-".into()), session()], String::new())
                }
                _ => refused(455, "no track is set up"),
            },
            "PAUSE" => match &mut self.state {
                State::Reading(play) => {
                    play.pause();
                    (200, vec![session()], String::new())
                }
                _ => refused(455, "nothing is played"),
            },
            _ => refused(501, "there is no such method"),
        }
    }

    async fn announce(&mut self, request: &Request) -> Result<(), Answer> {
        if !matches!(self.state, State::New) {
            return Err(refused(455, "something is announced already"));
        }
        let (name, _) = request.target();
        let may = |key: Option<&str>| self.options.keys.may_publish(name, key);
        let query = admitted(request, "a key is needed to publish", may)?;
        let peer = Some(self.peer);
        let asked = Asked { act: Act::Publish, stream: name.into(), protocol: PROTOCOL, peer, query };
        self.live.may_publish(name, PROTOCOL).map_err(no)?;
        self.options.keys.allow(&asked).await.map_err(|why| refused(403, why))?;
        let text = std::str::from_utf8(&request.body).map_err(|_| refused(400, "SDP: no text"))?;
        let tracks = sdp::read(text).map_err(|why| refused(400, format!("SDP: {why}")))?;
        let unknown: Vec<&str> =
            tracks.iter().filter(|t| t.format.is_none()).map(|t| t.name.as_str()).collect();
        if unknown.len() == tracks.len() {
            let why = format!(
                "{}: H264, H265, VP8, VP9, AV1, AAC (mpeg4-generic) or Opus is needed",
                unknown.join(", ")
            );
            return Err(refused(415, why));
        }
        if !unknown.is_empty() {
            tracing::warn!(stream = name, "tracks that are left out: {}", unknown.join(", "));
        }
        let lanes = tracks.into_iter().map(Lane::new).collect();
        self.state = State::Announced { asked, lanes };
        Ok(())
    }

    /// What there is to be read, as SDP.
    async fn describe(&mut self, request: &Request) -> Result<String, Answer> {
        let idle = match &self.state {
            State::New => true,
            State::Reading(play) => !play.plays(),
            _ => false,
        };
        if !idle {
            return Err(refused(455, "the connection is in use"));
        }
        let (name, _) = request.target();
        let may = |key: Option<&str>| self.options.keys.may_read(name, key);
        let query = admitted(request, "a key is needed to play", may)?;
        let peer = Some(self.peer);
        let asked = Asked { act: Act::Read, stream: name.into(), protocol: PROTOCOL, peer, query };
        self.options.keys.allow(&asked).await.map_err(|why| refused(403, why))?;
        let stream = self.live.get(name).ok_or_else(|| refused(404, "there is no such stream"))?;
        let play = Play::of(&self.live, asked, stream).await;
        let play = play.map_err(|(status, why)| refused(status, why))?;
        if self.listed.take().is_some() {
            // What was moved for the stream before is counted there.
            self.moved = (0, 0);
        }
        let text = play.describe();
        self.state = State::Reading(Box::new(play));
        Ok(text)
    }

    fn set_up(&mut self, request: &Request) -> Result<String, Answer> {
        if let State::Reading(play) = &mut self.state {
            return set_up_reading(play, request, self.local, self.peer);
        }
        let State::Announced { lanes, .. } = &mut self.state else {
            return Err(refused(455, "nothing is announced or described"));
        };
        let used: Vec<u8> = lanes.iter().filter_map(|l| l.channel).collect();
        let Some(Wanted::Channel(wanted)) = wanted(request, false) else {
            return Err(refused(461, "only RTP/AVP/TCP: RTP in this connection (rtsp_transport tcp)"));
        };
        let channel = channel(wanted, &used)?;
        let url = request.url.trim_end_matches('/');
        let named = |l: &&mut Lane| !l.control().is_empty() && url.ends_with(l.control());
        let known = lanes.iter().any(|l| !l.control().is_empty() && url.ends_with(l.control()));
        let lane = match known {
            true => lanes.iter_mut().find(named),
            false => lanes.iter_mut().find(|l| l.channel.is_none()),
        };
        let lane = lane.filter(|l| l.channel.is_none());
        let lane = lane.ok_or_else(|| refused(400, "there is no such track, or it is set up"))?;
        lane.channel = Some(channel);
        Ok(format!("RTP/AVP/TCP;unicast;interleaved={channel}-{};mode=record", channel + 1))
    }

    fn record(&mut self) -> Result<(), Answer> {
        let State::Announced { asked, lanes } = &mut self.state else {
            return Err(refused(455, "nothing is announced, or it is recorded already"));
        };
        if lanes.iter().all(|l| l.channel.is_none()) {
            return Err(refused(455, "no track is set up"));
        }
        let publication =
            self.live.publish(&asked.stream, Publisher::new(PROTOCOL, Some(self.peer))).map_err(no)?;
        self.listed = Some(self.options.list.enter(PROTOCOL, &asked.stream, true, self.peer));
        let lanes = std::mem::take(lanes);
        self.state = State::Recording(Box::new(Ingest::new(publication, lanes)));
        Ok(())
    }
}

/// A transport that a client offers.
enum Wanted {
    /// In the connection, on this channel.
    Channel(Option<String>),
    /// By UDP, to this port and the next.
    Port(u16),
}

/// The first transport of a request that there is here. Of several the client takes what is answered.
fn wanted(request: &Request, datagrams: bool) -> Option<Wanted> {
    let all = request.header("transport").unwrap_or_default().split(',').map(str::trim);
    all.filter(|one| !one.contains("multicast")).find_map(|one| {
        let mut words = one.split(';').map(str::trim);
        let profile = words.next()?.to_ascii_uppercase();
        let first = |name: &str| {
            let value = one.split(';').find_map(|word| word.trim().strip_prefix(name)?.strip_prefix('='));
            value.map(|pair| pair.split('-').next().unwrap_or_default().to_string())
        };
        match profile.as_str() {
            "RTP/AVP/TCP" => Some(Wanted::Channel(first("interleaved"))),
            "RTP/AVP" | "RTP/AVP/UDP" if datagrams => Some(Wanted::Port(first("client_port")?.parse().ok()?)),
            _ => None,
        }
    })
}

/// The channel that a client asks for, or one that is free beside those `used`.
fn channel(wanted: Option<String>, used: &[u8]) -> Result<u8, Answer> {
    let taken = |c: u8| used.iter().any(|u| u.abs_diff(c) < 2);
    let channel: Option<u8> = match wanted {
        Some(first) => first.parse().ok(),
        None => (0..=254).step_by(2).find(|c| !taken(*c)),
    };
    let channel = channel.filter(|c| *c < 255 && !taken(*c));
    channel.ok_or_else(|| refused(400, "Transport: interleaved: these channels are in use, or none"))
}

fn set_up_reading(
    play: &mut Play,
    request: &Request,
    local: SocketAddr,
    peer: SocketAddr,
) -> Result<String, Answer> {
    if play.plays() {
        return Err(refused(455, "it plays already"));
    }
    let used = play.channels();
    let url = request.url.trim_end_matches('/');
    let mut lanes = play.lanes.iter_mut().enumerate();
    let lane = lanes.find(|(n, lane)| lane.way.is_none() && url.ends_with(&format!("/{}", control(*n))));
    let (_, lane) = lane.ok_or_else(|| refused(404, "there is no such track, or it is set up"))?;
    let source = lane.source();
    match wanted(request, true) {
        Some(Wanted::Channel(wanted)) => {
            let channel = channel(wanted, &used)?;
            lane.way = Some(Way::Connection(channel));
            let last = channel + 1;
            Ok(format!("RTP/AVP/TCP;unicast;interleaved={channel}-{last};ssrc={source:08X};mode=play"))
        }
        Some(Wanted::Port(to)) => {
            let no = |e: std::io::Error| refused(461, format!("Transport: client_port: {e}"));
            let pair = Pair::open(local, peer, to).map_err(no)?;
            let (first, last) = pair.ports().map_err(no)?;
            lane.way = Some(Way::Datagrams(Box::new(pair)));
            let next = to.saturating_add(1);
            Ok(format!(
                "RTP/AVP;unicast;client_port={to}-{next};server_port={first}-{last};ssrc={source:08X};mode=play"
            ))
        }
        None => Err(refused(461, "RTP/AVP/TCP, or RTP/AVP with client_port")),
    }
}

/// The next thing that a reader gets; none comes for others.
async fn next_item(state: &mut State) -> Item {
    match state {
        State::Reading(play) => play.next().await,
        _ => std::future::pending().await,
    }
}

/// Waits until `at`; for ever without a time.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn no(why: Refused) -> Answer {
    let status = match why {
        Refused::Name(_) => 400,
        Refused::Taken => 403,
        Refused::Full(_) => 453,
    };
    refused(status, why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::live::keys::Keys;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use tokio::net::TcpListener;

    const TRACK: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
        m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n";

    /// Asks in `socket`, with these credentials. Status and head.
    async fn ask(socket: &mut TcpStream, method: &str, target: &str, who: Option<&str>) -> (u16, String) {
        let body = if method == "ANNOUNCE" { TRACK } else { "" };
        let who = who.map(|who| format!("Authorization: Basic {}\r\n", STANDARD.encode(who)));
        let text = format!(
            "{method} rtsp://host/{target} RTSP/1.0\r\nCSeq: 1\r\n{}Content-Length: {}\r\n\r\n{body}",
            who.unwrap_or_default(),
            body.len()
        );
        socket.write_all(text.as_bytes()).await.unwrap();
        let mut have = BytesMut::new();
        loop {
            let text = String::from_utf8_lossy(&have).into_owned();
            if let Input::Answer(answer) = message::next(&mut have)
                .unwrap()
                .unwrap_or(Input::Media { channel: 0, data: Default::default() })
            {
                return (answer.status, text);
            }
            assert_ne!(socket.read_buf(&mut have).await.unwrap(), 0, "{method} {target}");
        }
    }

    #[tokio::test]
    async fn a_key_is_shown_as_a_password_too() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let keys = Keys {
            publish: Some(Secret::new("to/write+")),
            read: Some(Secret::new("to read")),
            ..Keys::default()
        };
        let options = RtspOptions { keys, ..RtspOptions::default() };
        let (_end, ending) = tokio::sync::watch::channel(false);
        let server = tokio::spawn(super::super::serve(listener, Live::new(true, 10), options, ending));
        let challenge = "WWW-Authenticate: Basic realm=\"GhostStream\"";
        // Without a key it is asked for one, and goes on in the same connection. 404: it may, and there is no such stream.
        for (method, good, other, through) in
            [("ANNOUNCE", "to/write+", "to read", 200), ("DESCRIBE", "to read", "to/write+", 404)]
        {
            let mut socket = TcpStream::connect(at).await.unwrap();
            let (status, head) = ask(&mut socket, method, "cam", None).await;
            assert!(status == 401 && head.contains(challenge), "{head}");
            for wrong in [other, "", "user:", ":"] {
                let who = format!("user:{wrong}");
                let (status, head) = ask(&mut socket, method, "cam", Some(&who)).await;
                assert!(status == 401 && head.contains(challenge), "{wrong}: {head}");
            }
            let escaped = encoded(good);
            for (target, who, wanted) in [
                ("cam?key=wrong".to_string(), None, 403),
                (format!("cam?key={escaped}"), None, through),
                ("cam".into(), Some(format!("user:{good}")), through),
                ("cam".into(), Some(format!("{good}:")), through),
                ("cam?x=1".into(), Some(format!("user:{escaped}")), through),
            ] {
                let mut socket = TcpStream::connect(at).await.unwrap();
                let (status, head) = ask(&mut socket, method, &target, who.as_deref()).await;
                assert_eq!(status, wanted, "{method} {target} {who:?}: {head}");
            }
            let (status, head) = ask(&mut socket, method, "cam", Some(&format!("user:{good}"))).await;
            assert_eq!(status, through, "{head}");
        }
        server.abort();
    }

    #[test]
    fn who_else_decides_is_told_of_the_password() {
        let request = |target: &str, who: &str| Request {
            method: "DESCRIBE".into(),
            url: format!("rtsp://host/{target}"),
            headers: vec![("authorization".into(), format!("Basic {}", STANDARD.encode(who)))],
            body: Default::default(),
        };
        let told = |target: &str, who: &str| admitted(&request(target, who), "", |_| true).unwrap();
        assert_eq!(told("cam", "user:a/b"), "key=a%2Fb");
        assert_eq!(told("cam?x=1", "user:a"), "x=1&key=a");
        assert_eq!(told("cam?key=b", "user:a"), "key=b");
    }
}
