//! One connection: what is asked for and what is answered.

use super::message::{self, Input, Request};
use super::publish::{Ingest, Lane};
use super::{PROTOCOL, RtspOptions, sdp};
use crate::live::hooks::{Act, Asked};
use crate::live::keys::shown;
use crate::live::registry::{Live, Publisher, Refused};
use bytes::BytesMut;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take to be sent.
const SENDING: Duration = Duration::from_secs(10);
/// What may be asked for.
const METHODS: &str = "OPTIONS, ANNOUNCE, SETUP, RECORD, TEARDOWN, GET_PARAMETER, SET_PARAMETER";

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
}

struct Session<'a> {
    peer: SocketAddr,
    live: Live,
    options: &'a RtspOptions,
    id: String,
    state: State,
    over: bool,
}

/// An answer: status, headers, and a text that says why where it is none.
type Answer = (u16, Vec<(&'static str, String)>, String);

fn refused(status: u16, why: impl Into<String>) -> Answer {
    (status, Vec::new(), why.into())
}

/// Serves a connection to its end.
pub(super) async fn run(socket: TcpStream, peer: SocketAddr, live: Live, options: &RtspOptions) {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let mut session = Session { peer, live, options, id, state: State::New, over: false };
    let end = session.serve(socket).await;
    let stream = match &session.state {
        State::Recording(ingest) => ingest.name().to_string(),
        State::Announced { asked, .. } => asked.stream.clone(),
        State::New => String::new(),
    };
    let lost = if let State::Recording(ingest) = &session.state { ingest.lost() } else { 0 };
    match end {
        End::Gone => tracing::debug!(%peer, stream, lost, "RTSP connection ended"),
        End::Peer(why) => tracing::warn!(%peer, stream, lost, "RTSP connection closed: {why}"),
    }
}

impl Session<'_> {
    async fn serve(&mut self, mut socket: TcpStream) -> End {
        let mut have = BytesMut::with_capacity(64 << 10);
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
                        if !matches!(sent, Ok(Ok(()))) || self.over {
                            return End::Gone;
                        }
                    }
                    Input::Media { channel, data } => {
                        if let State::Recording(ingest) = &mut self.state
                            && let Err(why) = ingest.take(channel, &data, Instant::now())
                        {
                            return End::Peer(why);
                        }
                    }
                }
            }
            match tokio::time::timeout(self.options.silence, socket.read_buf(&mut have)).await {
                Ok(Ok(0) | Err(_)) => return End::Gone,
                Ok(Ok(_)) => {}
                Err(_) => return End::Peer(format!("nothing for {} s", self.options.silence.as_secs())),
            }
        }
    }

    async fn answer(&mut self, request: &Request) -> String {
        let (status, headers, why) = self.respond(request).await;
        if status >= 400 {
            tracing::warn!(peer = %self.peer, method = request.method, status, "RTSP refused: {why}");
        }
        let reason = match status {
            200 => "OK",
            400 => "Bad Request",
            403 => "Forbidden",
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
        if !why.is_empty() {
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
            "DESCRIBE" | "PLAY" | "PAUSE" => {
                let why = "streams are published by RTSP here, and read by SRT, RTMP, HLS, DASH or WHEP";
                (405, vec![("Allow", METHODS.into())], why.into())
            }
            _ => refused(501, "there is no such method"),
        }
    }

    async fn announce(&mut self, request: &Request) -> Result<(), Answer> {
        if !matches!(self.state, State::New) {
            return Err(refused(455, "something is announced already"));
        }
        let (name, query) = request.target();
        let asked = Asked {
            act: Act::Publish,
            stream: name.into(),
            protocol: PROTOCOL,
            peer: Some(self.peer),
            query: query.into(),
        };
        if !self.options.keys.may_publish(name, shown(query)) {
            return Err(refused(403, "a key is needed to publish"));
        }
        self.live.may_publish(name, PROTOCOL).map_err(no)?;
        self.options.keys.allow(&asked).await.map_err(|why| refused(403, why))?;
        let text = std::str::from_utf8(&request.body).map_err(|_| refused(400, "SDP: no text"))?;
        let tracks = sdp::read(text).map_err(|why| refused(400, format!("SDP: {why}")))?;
        let unknown: Vec<&str> =
            tracks.iter().filter(|t| t.format.is_none()).map(|t| t.name.as_str()).collect();
        if unknown.len() == tracks.len() {
            let why = format!("{}: H264, H265, AAC (mpeg4-generic) or Opus is needed", unknown.join(", "));
            return Err(refused(415, why));
        }
        if !unknown.is_empty() {
            tracing::warn!(stream = name, "tracks that are left out: {}", unknown.join(", "));
        }
        let lanes = tracks.into_iter().map(Lane::new).collect();
        self.state = State::Announced { asked, lanes };
        Ok(())
    }

    fn set_up(&mut self, request: &Request) -> Result<String, Answer> {
        let State::Announced { lanes, .. } = &mut self.state else {
            return Err(refused(455, "nothing is announced"));
        };
        let transport = request.header("transport").unwrap_or_default();
        // Of several the client takes what is answered.
        let ours =
            transport.split(',').map(str::trim).find(|t| t.to_ascii_uppercase().starts_with("RTP/AVP/TCP"));
        let Some(ours) = ours else {
            return Err(refused(461, "only RTP/AVP/TCP: RTP in this connection (rtsp_transport tcp)"));
        };
        let wanted = ours.split(';').find_map(|word| word.trim().strip_prefix("interleaved="));
        let free = || (0..=254).step_by(2).find(|c| lanes.iter().all(|l| l.channel != Some(*c)));
        let channel: Option<u8> = match wanted {
            Some(pair) => pair.split('-').next().and_then(|c| c.parse().ok()),
            None => free(),
        };
        let taken = |c: u8| lanes.iter().filter_map(|l| l.channel).any(|l| l.abs_diff(c) < 2);
        let channel = channel.filter(|c| *c < 255 && !taken(*c));
        let channel = channel
            .ok_or_else(|| refused(400, "Transport: interleaved: these channels are in use, or none"))?;
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
        let lanes = std::mem::take(lanes);
        self.state = State::Recording(Box::new(Ingest::new(publication, lanes)));
        Ok(())
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
