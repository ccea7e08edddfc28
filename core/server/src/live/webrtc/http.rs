//! The HTTP side of WHIP and WHEP.
//!
//! A session is a resource below the stream's: `POST /whip/a/b` gives `Location: /whip/a/b/{id}`, which takes `PATCH` (more
//! candidates) and `DELETE`. Every refusal has a JSON body `{"detail": …}` that says what is wrong.

use super::fit::{Fit, fit, group};
use super::intake::Intake;
use super::negotiate::{Agreed, Codecs, Disagreed, accept};
use super::offer::{Fragment, Kind, Offer, Purpose};
use super::play::{Lane, Play};
use super::rungs::{Going, Rungs};
use super::session::{Command, Exit, Role, Session};
use super::stats::SessionStats;
use super::{Entry, Handle, WebRtc};
use crate::live::hooks::{Act, Asked};
use crate::live::keys;
use crate::live::registry::{Publisher, Refused, check_name};
use crate::live::stream::{Item, Start, Stream, Tracks};
use crate::live::webrtc::format::ToRtp;
use crate::proxies::Peer;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, OriginalUri, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use axum::{Extension, Json, Router};
use ghoststream::packet::{Codec, StreamInfo};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use str0m::Candidate;
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

/// The longest offer or fragment.
const BODY: usize = 64 << 10;
/// Commands that wait for a session.
const COMMANDS: usize = 8;
/// What the way to a viewer is taken to bear until that is known, in bits per second: enough for most streams, so that nobody who
/// has a good one waits for the first picture.
const GUESS: u64 = 10_000_000;
const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// Says why a part of the stream is not sent.
const NOTE: &str = "ghoststream-note";

/// A refusal.
struct No {
    status: StatusCode,
    detail: String,
}

impl No {
    fn new(status: StatusCode, detail: impl Into<String>) -> No {
        No { status, detail: detail.into() }
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({ "detail": self.detail }))).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The key that a request shows.
fn shown<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let bearer =
        bearer.and_then(|v| v.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
    bearer.map(|(_, key)| key.trim()).or_else(|| keys::shown(uri.query()?))
}

/// A key is wanted, and this is none of them.
fn denied(may: bool) -> Result<(), No> {
    if may { Ok(()) } else { Err(No::new(StatusCode::UNAUTHORIZED, "the key is missing or wrong")) }
}

impl From<Refused> for No {
    fn from(refused: Refused) -> No {
        let status = match refused {
            Refused::Name(_) => StatusCode::BAD_REQUEST,
            Refused::Taken => StatusCode::CONFLICT,
            Refused::Full(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        No::new(status, refused.to_string())
    }
}

impl From<Disagreed> for No {
    fn from(disagreed: Disagreed) -> No {
        match disagreed {
            Disagreed::Malformed(why) => No::new(StatusCode::BAD_REQUEST, format!("the offer: {why}")),
            Disagreed::Codecs(why) => No::new(StatusCode::NOT_ACCEPTABLE, why),
        }
    }
}

pub fn router(webrtc: WebRtc) -> Router {
    let sessions = |begin: MethodRouter<WebRtc>| begin.patch(patch).delete(delete).options(options);
    Router::new()
        .route("/whip/{*path}", sessions(post(whip)))
        .route("/whep/{*path}", sessions(post(whep)))
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn(cors))
        .with_state(webrtc)
}

/// Any page may use it; who may publish or watch is decided by keys.
async fn cors(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allow = response.headers().get(header::ALLOW).cloned();
        response = No::new(StatusCode::METHOD_NOT_ALLOWED, "POST an offer here").into_response();
        response.headers_mut().extend(allow.map(|a| (header::ALLOW, a)));
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST, PATCH, DELETE, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, If-Match"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Location, ETag, Link, Accept-Patch, ghoststream-note"),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn options() -> Response {
    let headers =
        [("accept-post", SDP), ("accept-patch", FRAGMENT), ("allow", "POST, PATCH, DELETE, OPTIONS")];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// The body as text, if it is of the type that it has to be.
fn text(headers: &HeaderMap, body: &Bytes, wanted: &str) -> Result<String, No> {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let sent = sent.split(';').next().unwrap_or_default().trim();
    if !sent.eq_ignore_ascii_case(wanted) {
        let why = format!("the content type is {sent:?}; it has to be {wanted}");
        return Err(No::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    String::from_utf8(body.to_vec()).map_err(|_| No::new(StatusCode::BAD_REQUEST, "the body is not UTF-8"))
}

async fn whip(
    State(webrtc): State<WebRtc>,
    Path(name): Path<String>,
    OriginalUri(uri): OriginalUri,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let answer = async {
        denied(webrtc.hub.options.keys.may_publish(&name, shown(&headers, &uri)))?;
        let text = text(&headers, &body.map_err(unread)?, SDP)?;
        allowed(&webrtc, Act::Publish, &name, &uri, &peer).await?;
        webrtc.publish(&name, &text, peer.map(|p| p.0.0)).await
    };
    answered(answer.await, uri.path())
}

async fn whep(
    State(webrtc): State<WebRtc>,
    Path(name): Path<String>,
    OriginalUri(uri): OriginalUri,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let answer = async {
        denied(webrtc.hub.options.keys.may_read(&name, shown(&headers, &uri)))?;
        let text = text(&headers, &body.map_err(unread)?, SDP)?;
        allowed(&webrtc, Act::Read, &name, &uri, &peer).await?;
        webrtc.play(&name, &text, peer.map(|p| p.0.0)).await
    };
    answered(answer.await, uri.path())
}

/// Whether the operator's services let it, where they decide.
async fn allowed(
    webrtc: &WebRtc,
    act: Act,
    name: &str,
    uri: &Uri,
    peer: &Option<Extension<Peer>>,
) -> Result<(), No> {
    let asked = Asked {
        act,
        stream: name.into(),
        protocol: if act == Act::Publish { "whip" } else { "whep" },
        peer: peer.as_ref().map(|p| p.0.0),
        query: uri.query().unwrap_or_default().into(),
    };
    webrtc.hub.options.keys.allow(&asked).await.map_err(|why| No::new(StatusCode::FORBIDDEN, why))
}

fn unread(why: axum::extract::rejection::BytesRejection) -> No {
    match why.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            No::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {BODY} bytes"))
        }
        status => No::new(status, why.body_text()),
    }
}

/// A session that was begun.
struct Begun {
    id: Uuid,
    user: String,
    answer: String,
    note: Option<String>,
}

fn answered(result: Result<Begun, No>, path: &str) -> Response {
    let begun = match result {
        Ok(begun) => begun,
        Err(no) => return no.into_response(),
    };
    let mut response = (StatusCode::CREATED, begun.answer).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    headers.insert("accept-patch", HeaderValue::from_static(FRAGMENT));
    let location = format!("{}/{}", path.trim_end_matches('/'), begun.id);
    for (name, value) in [
        (header::LOCATION, Some(location)),
        (header::ETAG, Some(format!("\"{}\"", begun.user))),
        (header::HeaderName::from_static(NOTE), begun.note),
    ] {
        if let Some(value) = value.and_then(|v| HeaderValue::try_from(v).ok()) {
            headers.insert(name, value);
        }
    }
    response
}

impl WebRtc {
    /// Whether there is room for another session.
    fn room(&self) -> Result<(), No> {
        let most = self.hub.options.sessions;
        if self.hub.lock().len() >= most {
            return Err(No::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("there are {most} sessions already"),
            ));
        }
        Ok(())
    }

    /// Negotiates in a task of its own, which an offer may break without breaking anything else.
    async fn agree(&self, offer: Offer, codecs: Codecs, estimate: Option<u64>) -> Result<Agreed, No> {
        let config = self.hub.config.clone();
        let candidates = self.addresses();
        let accept = async move { accept(&config, &offer, &codecs, &candidates, estimate, Instant::now()) };
        let task = tokio::spawn(accept);
        match task.await {
            Ok(result) => result.map_err(No::from),
            Err(_) => Err(No::new(StatusCode::BAD_REQUEST, "the offer cannot be negotiated")),
        }
    }

    async fn publish(&self, name: &str, text: &str, peer: Option<SocketAddr>) -> Result<Begun, No> {
        check_name(name).map_err(|why| No::new(StatusCode::BAD_REQUEST, why))?;
        self.room()?;
        let offer = Offer::read(text, Purpose::Publish).map_err(|e| No::from(Disagreed::Malformed(e)))?;
        let agreed = self.agree(offer, Codecs::all(), None).await?;
        // Only now: an offer that cannot be taken does not take the stream from the one who has it.
        let publication = self.live.publish(name, Publisher::new("whip", peer))?;
        let simulcast = agreed.video.as_ref().is_some_and(|v| v.simulcast);
        let interval = self.hub.options.key_frames;
        let intake = Intake::new(agreed.video.is_some(), agreed.audio.is_some(), simulcast, interval);
        let wanted = Arc::new(Notify::new());
        let role = Role::Publish { publication, intake: Box::new(intake), wanted: wanted.clone() };
        self.begin(name, "whip", agreed, role, Some(wanted), Instant::now())
    }

    async fn play(&self, name: &str, text: &str, peer: Option<SocketAddr>) -> Result<Begun, No> {
        check_name(name).map_err(|why| No::new(StatusCode::BAD_REQUEST, why))?;
        self.room()?;
        let mut offer = Offer::read(text, Purpose::Play).map_err(|e| No::from(Disagreed::Malformed(e)))?;
        let derived = || self.hub.options.fit.as_ref().and_then(|fit| fit(name));
        let stream = self.live.get(name).or_else(derived);
        let stream =
            stream.ok_or_else(|| No::new(StatusCode::NOT_FOUND, format!("there is no stream {name:?}")))?;
        let (mut stream, mut tracks) = (stream.clone(), self.tracks(&stream).await?);
        let mut found = fit(&tracks, &group(&stream), &offer);
        if !found.is_whole()
            && let Some(other) = derived()
        {
            tracks = self.tracks(&other).await?;
            found = fit(&tracks, &group(&other), &offer);
            stream = other;
        }
        let Fit { video, audio } = found;
        let video = video.map_err(|why| No::new(StatusCode::NOT_ACCEPTABLE, why))?;
        let note = audio.as_ref().err().map(|why| format!("no sound: {why}"));
        let audio = audio.ok().flatten();
        if video.is_none() && audio.is_none() {
            let why = note.unwrap_or_else(|| "the stream has nothing that the offer asks for".into());
            return Err(No::new(StatusCode::NOT_ACCEPTABLE, why));
        }
        for (kind, track) in [(Kind::Video, video), (Kind::Audio, audio)] {
            if track.is_none() {
                offer.leave_out(kind);
            }
        }
        // A line that is left out is answered too, with whatever codec.
        let codecs = match video {
            Some(track) => Codecs { video: vec![tracks.streams[track].codec.clone()] },
            None => Codecs::all(),
        };
        // Smaller pictures are in H.264.
        let adapts = self.hub.options.smaller.is_some()
            && video.is_some_and(|track| tracks.streams[track].codec == Codec::H264);
        let agreed = self.agree(offer, codecs, adapts.then_some(GUESS)).await?;
        let (mut lanes, mut exits) = (Vec::new(), Vec::new());
        for (track, media) in [(video, &agreed.video), (audio, &agreed.audio)] {
            let Some((track, media)) = track.zip(media.as_ref()) else { continue };
            let info = &tracks.streams[track];
            let to = ToRtp::new(info).map_err(|e| No::new(StatusCode::NOT_ACCEPTABLE, e.to_string()))?;
            let profile = match &to {
                ToRtp::H264 { profile, .. } => Some(*profile),
                ToRtp::Av1 { .. } | ToRtp::Same => None,
            };
            let pt = media.payload(&info.codec, profile).ok_or_else(|| {
                No::new(StatusCode::NOT_ACCEPTABLE, format!("the offer has no {} that fits", info.codec))
            })?;
            exits.push(Exit { mid: media.mid, pt, kind: info.kind });
            let same = |s: &&StreamInfo| (s.kind, &s.codec) == (info.kind, &info.codec);
            let nth = tracks.streams[..track].iter().filter(same).count();
            lanes.push(Lane { kind: info.kind, codec: info.codec.clone(), track, to, nth });
        }
        if let Some(note) = &note {
            tracing::info!(stream = name, "WHEP: {note}");
        }
        let now = Instant::now();
        let age = stream.epoch().elapsed().unwrap_or(Duration::ZERO);
        let epoch = now.checked_sub(age).unwrap_or(now);
        let direct = self.live.get(name).is_some_and(|live| Arc::ptr_eq(&live, &stream));
        let whole = Going { stream: stream.clone(), lanes: lanes.clone(), version: tracks.version, direct };
        let rungs = adapts.then(|| Box::new(Rungs::new(whole)));
        let play = Play::new(stream, lanes, tracks.version, now);
        let watching = self.live.watching(name, "whep", peer);
        let role = Role::Play { play: Box::new(play), exits, direct, rungs, _watching: watching };
        Ok(Begun { note, ..self.begin(name, "whep", agreed, role, None, epoch)? })
    }

    /// The tracks of a stream, waited for: reading is what starts a source on demand.
    async fn tracks(&self, stream: &Arc<Stream>) -> Result<Arc<Tracks>, No> {
        let mut reader = stream.subscribe(Start::Next);
        let wait = async {
            loop {
                match reader.next().await {
                    Item::Tracks(tracks) => return Some(tracks),
                    Item::End => return None,
                    Item::Packet(_) | Item::Away => {}
                }
            }
        };
        match tokio::time::timeout(self.hub.options.wait, wait).await {
            Ok(Some(tracks)) => Ok(tracks),
            Ok(None) => Err(No::new(StatusCode::NOT_FOUND, "the stream has ended")),
            Err(_) => Err(No::new(StatusCode::SERVICE_UNAVAILABLE, "nobody publishes the stream now")),
        }
    }

    fn begin(
        &self,
        name: &str,
        protocol: &'static str,
        agreed: Agreed,
        role: Role,
        wanted: Option<Arc<Notify>>,
        epoch: Instant,
    ) -> Result<Begun, No> {
        let id = Uuid::new_v4();
        let (to, commands) = mpsc::channel(COMMANDS);
        let handle = Arc::new(Handle {
            id,
            stream: name.into(),
            protocol,
            user: agreed.user.clone(),
            video: agreed.video.as_ref().map(|v| v.mid),
            epoch,
            stats: Mutex::new(SessionStats::new(id.to_string(), name.into(), protocol)),
        });
        {
            let mut sessions = self.hub.lock();
            // Others may have come while this one was negotiated.
            if sessions.len() >= self.hub.options.sessions {
                drop(sessions);
                return self.room().and(Err(No::new(StatusCode::SERVICE_UNAVAILABLE, "too many sessions")));
            }
            sessions.insert(id, Entry { handle: handle.clone(), commands: to, wanted });
        }
        let session = Session {
            id,
            name: agreed.user.clone(),
            rtc: agreed.rtc,
            wire: self.hub.wire.clone(),
            inbox: self.hub.wire.open(id, &agreed.user),
            commands,
            handle,
            hub: self.hub.clone(),
            role,
        };
        tracing::info!(stream = name, protocol, session = %id, "WebRTC session");
        tokio::spawn(session.run());
        Ok(Begun { id, user: agreed.user, answer: agreed.answer, note: None })
    }

    /// The session that a path ends with, if it is of this stream and protocol.
    fn session(&self, path: &str, method_path: &str) -> Result<(Uuid, Arc<Handle>), No> {
        let missing = || No::new(StatusCode::NOT_FOUND, "there is no such session");
        let (stream, id) = path.rsplit_once('/').ok_or_else(missing)?;
        let id = id.parse::<Uuid>().map_err(|_| missing())?;
        let handle = self.hub.lock().get(&id).map(|e| e.handle.clone()).ok_or_else(missing)?;
        let same = handle.stream == stream && method_path.contains(&format!("/{}/", handle.protocol));
        if same { Ok((id, handle)) } else { Err(missing()) }
    }
}

async fn delete(
    State(webrtc): State<WebRtc>,
    Path(path): Path<String>,
    OriginalUri(uri): OriginalUri,
) -> Response {
    match webrtc.session(&path, uri.path()) {
        Ok((id, _)) => {
            webrtc.hub.command(id, Command::Close);
            StatusCode::OK.into_response()
        }
        Err(no) => no.into_response(),
    }
}

async fn patch(
    State(webrtc): State<WebRtc>,
    Path(path): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let apply = || -> Result<(), No> {
        let (id, handle) = webrtc.session(&path, uri.path())?;
        let text = text(&headers, &body.map_err(unread)?, FRAGMENT)?;
        let expected = format!("\"{}\"", handle.user);
        match headers.get(header::IF_MATCH).map(HeaderValue::as_bytes) {
            None => {}
            Some(b"*") => {
                let why = "ICE restarts are not supported: begin another session";
                return Err(No::new(StatusCode::UNPROCESSABLE_ENTITY, why));
            }
            Some(tag) if tag == expected.as_bytes() => {}
            Some(_) => {
                return Err(No::new(StatusCode::PRECONDITION_FAILED, "the session has another ETag"));
            }
        }
        let fragment = Fragment::read(&text).map_err(|e| No::new(StatusCode::BAD_REQUEST, e))?;
        // Names of hosts, and what is not UDP, are of no use to a server that answers only.
        let candidates: Vec<Candidate> =
            fragment.candidates.iter().filter_map(|c| Candidate::from_sdp_string(c).ok()).collect();
        webrtc.hub.command(id, Command::Candidates(candidates));
        Ok(())
    };
    match apply() {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(no) => no.into_response(),
    }
}
