//! `GET /live/sessions`: how well it goes between this server and those who publish and watch by protocols that tell of it.

use super::connections::Connection;
use super::keys::shown;
use super::service::LiveService;
use super::srt::SrtConnection;
use super::webrtc::SessionStats;
use crate::http::query;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// Sessions.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LiveSessions {
    /// The oldest first.
    pub sessions: Vec<LiveSession>,
}

/// One who publishes or watches, by RTMP, RTSP, SRT, WHIP or WHEP. Counts are since it began; rates and losses are of the last second.
/// What a protocol does not tell is null.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LiveSession {
    /// Of WHIP and WHEP: the beginning of the last word of the session's URL. All of it is what ends the session, and nobody
    /// else's business.
    pub id: Option<String>,
    /// The stream's name.
    pub stream: String,
    /// `rtmp`, `rtsp`, `srt`, `whip` or `whep`.
    pub protocol: String,
    /// Whether it publishes, not watches.
    pub publishes: bool,
    /// Where it is: address and port. Where there is an API key, only who shows it is told; where there is none and a
    /// key or a hook decides who reads, nobody.
    pub peer: Option<String>,
    /// Whether media can flow; readers by RTSP may halt it.
    pub connected: bool,
    /// Seconds since it began.
    pub uptime: f64,
    /// Round trip, in milliseconds; null until it is known. Of RTSP what readers' reports (RTCP) make of it; RTMP has none.
    pub rtt_ms: Option<f64>,
    /// Part of the packets that were lost on the way, 0 to 1: of the last second, with SRT since the session began, of a reader by RTSP
    /// in its last report. Null until it is known.
    pub loss: Option<f64>,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
    /// Frames (with SRT and RTSP, packets) that the client was too slow for, or that came and could not be used.
    pub dropped: u64,
    /// Bits a second that the way to a viewer bears, as far as is known.
    pub estimate: Option<u64>,
    /// Of WHEP: which rendition the viewer gets. 0 is the stream as it is, the next ones are smaller.
    pub rung: Option<usize>,
    /// Of WHEP: how many there are now; smaller ones are made while somebody needs them.
    pub rungs: Option<usize>,
    /// Of WHEP: how often the viewer was given another one.
    pub switches: Option<u64>,
}

fn uptime(since: SystemTime) -> f64 {
    since.elapsed().map_or(0.0, |d| d.as_secs_f64())
}

impl From<SessionStats> for LiveSession {
    fn from(s: SessionStats) -> LiveSession {
        let publishes = s.protocol == "whip";
        LiveSession {
            id: s.id.split('-').next().map(String::from),
            protocol: s.protocol.into(),
            publishes,
            peer: s.peer.map(|peer| peer.to_string()),
            connected: s.connected,
            uptime: uptime(s.since),
            rtt_ms: s.rtt_ms,
            loss: s.loss.map(f64::from),
            bytes_in: s.bytes_in,
            bytes_out: s.bytes_out,
            dropped: s.dropped,
            estimate: s.estimate,
            rung: (!publishes).then_some(s.rung),
            rungs: (!publishes).then_some(s.rungs),
            switches: (!publishes).then_some(s.switches),
            stream: s.stream,
        }
    }
}

impl From<SrtConnection> for LiveSession {
    fn from(c: SrtConnection) -> LiveSession {
        let s = &c.stats;
        let (packets, lost) = match c.publishes {
            true => (s.packets_received, s.receive_lost),
            false => (s.packets_sent, s.send_lost),
        };
        LiveSession {
            id: None,
            protocol: "srt".into(),
            publishes: c.publishes,
            peer: Some(c.peer.to_string()),
            connected: true,
            uptime: uptime(c.since),
            rtt_ms: Some(s.rtt.as_secs_f64() * 1e3),
            loss: (packets > 0).then(|| (lost as f64 / packets as f64).min(1.0)),
            bytes_in: s.bytes_received,
            bytes_out: s.bytes_sent,
            dropped: c.dropped + if c.publishes { s.receive_dropped } else { s.send_dropped },
            estimate: None,
            rung: None,
            rungs: None,
            switches: None,
            stream: c.stream,
        }
    }
}

impl From<Connection> for LiveSession {
    fn from(c: Connection) -> LiveSession {
        LiveSession {
            id: None,
            protocol: c.protocol.into(),
            publishes: c.publishes,
            peer: Some(c.peer.to_string()),
            connected: c.flows,
            uptime: uptime(c.since),
            rtt_ms: c.way.rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
            loss: c.way.loss,
            bytes_in: c.bytes_in,
            bytes_out: c.bytes_out,
            dropped: c.dropped,
            estimate: None,
            rung: None,
            rungs: None,
            switches: None,
            stream: c.stream,
        }
    }
}

impl LiveService {
    /// All sessions as they are now, the oldest first, of streams that are `of` interest.
    pub fn sessions(&self, of: impl Fn(&str) -> bool) -> Vec<LiveSession> {
        let webrtc = self.webrtc().map(|w| w.sessions()).unwrap_or_default();
        let srt = self.srt().map(|s| s.connections()).unwrap_or_default();
        let webrtc = webrtc.into_iter().filter(|s| of(&s.stream)).map(LiveSession::from);
        let srt = srt.into_iter().filter(|c| of(&c.stream)).map(LiveSession::from);
        let others = self.connections().list().into_iter().filter(|c| of(&c.stream)).map(LiveSession::from);
        let mut all: Vec<LiveSession> = webrtc.chain(srt).chain(others).collect();
        all.sort_by(|a, b| b.uptime.total_cmp(&a.uptime));
        all
    }

    /// All sessions by their streams: who tells of all streams looks at each session once.
    pub fn sessions_by_stream(&self) -> BTreeMap<String, Vec<LiveSession>> {
        let mut all: BTreeMap<String, Vec<LiveSession>> = BTreeMap::new();
        for session in self.sessions(|_| true) {
            all.entry(session.stream.clone()).or_default().push(session);
        }
        all
    }

    /// Takes out where clients are, unless the operator asks, by the API key. Where there is none all are told, but nobody where
    /// a key or a hook decides who reads: then not everybody who asks is the operator.
    pub fn hide_peers(&self, request: &Request, sessions: &mut [LiveSession]) {
        let told = match self.side().has_key() {
            true => self.side().knows(request),
            false => !self.keys().decides_who_reads(),
        };
        if !told {
            sessions.iter_mut().for_each(|session| session.peer = None);
        }
    }
}

/// The list's own route: of all streams that who asks may read, or of `stream`; all sessions, or the one that is shown as `id`.
pub fn router(service: LiveService) -> Router {
    async fn list(State(service): State<LiveService>, request: Request) -> Response {
        let asked = request.uri().query().unwrap_or_default();
        let (key, stream) = (shown(asked), query::get(Some(asked), "stream"));
        let keys = service.keys();
        let may = match &stream {
            Some(stream) => keys.may_read(stream, key),
            None => keys.may_list(key),
        };
        if !may {
            let why = serde_json::json!({ "detail": "a key is needed to read" });
            return (StatusCode::FORBIDDEN, Json(why)).into_response();
        }
        let of = |name: &str| stream.as_ref().is_none_or(|s| s == name) && keys.may_read(name, key);
        let mut sessions = LiveSessions { sessions: service.sessions(of) };
        if let Some(id) = query::get(Some(asked), "id") {
            sessions.sessions.retain(|s| s.id.as_ref() == Some(&id));
        }
        service.hide_peers(&request, &mut sessions.sessions);
        ([(header::CACHE_CONTROL, "no-store")], Json(sessions)).into_response()
    }
    Router::new().route("/live/sessions", get(list)).with_state(service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_told_of_and_cannot_be_ended_by_who_reads_that() {
        let id = "0123abcd-0000-4000-8000-00000000ffff".to_string();
        let mut stats = SessionStats::new(id, "cam".into(), "whep");
        (stats.rung, stats.rungs, stats.estimate, stats.loss) = (1, 3, Some(900_000), Some(0.25));
        let told = serde_json::to_value(LiveSession::from(stats.clone())).unwrap();
        assert_eq!(told["id"], "0123abcd");
        assert!(!told.to_string().contains("ffff"));
        let rung = (&told["rung"], &told["rungs"], &told["estimate"], &told["loss"], &told["publishes"]);
        assert_eq!(format!("{rung:?}"), "(Number(1), Number(3), Number(900000), Number(0.25), Bool(false))");
        stats.protocol = "whip";
        let whip = LiveSession::from(stats);
        assert_eq!((whip.publishes, whip.rung, whip.switches), (true, None, None));
    }
}
