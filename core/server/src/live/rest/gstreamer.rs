//! The GStreamer service's interface (`contracts.md`, part 4).

use super::{blocking, detail, unreadable};
use crate::config::Secret;
use crate::live::pull::PullSource;
use crate::live::push::PushTarget;
use crate::live::recordings::RecordingRules;
use crate::live::service::LiveService;
use crate::live::sessions::LiveSession;
use crate::live::streams::{StreamRequest, StreamView};
use crate::live::transcode::{Rung, TranscodeSpec};
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use ghoststream::ErrorKind;
use ghoststream::spec::{Container, Plain};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use subtle::ConstantTimeEq;

/// A request for a stream.
#[derive(Debug, Deserialize)]
struct Body {
    stream_id: String,
    source_type: SourceType,
    #[serde(default)]
    source_url: Option<String>,
    output_type: OutputType,
    output_url: String,
    #[serde(default = "width")]
    width: u32,
    #[serde(default = "height")]
    height: u32,
    #[serde(default)]
    framerate: Option<u32>,
    #[serde(default)]
    bitrate: Option<u64>,
    #[serde(default = "yes")]
    audio_enabled: bool,
    #[serde(default = "audio_bitrate")]
    audio_bitrate: u64,
    #[serde(default)]
    is_recording: bool,
    #[serde(default)]
    recording_path: Option<String>,
    #[serde(default)]
    extra_params: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SourceType {
    Test,
    Rtmp,
    Rtsp,
    File,
    Webrtc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OutputType {
    Rtmp,
    Rtsp,
    File,
    Webrtc,
}

fn width() -> u32 {
    640
}
fn height() -> u32 {
    480
}
fn audio_bitrate() -> u64 {
    128_000
}
fn yes() -> bool {
    true
}

/// The rate that the original's test picture had when nobody said another.
const FRAME_RATE: u32 = 30;

/// The bits that the original gave pictures when nobody said how many.
const BITRATE: u64 = 2_000_000;

impl Body {
    fn request(self, recordings: Option<&RecordingRules>) -> Result<StreamRequest, (StatusCode, String)> {
        let bad = |text: &str| Err((StatusCode::BAD_REQUEST, text.to_string()));
        let url = self.source_url.filter(|u| !u.is_empty());
        let source = match (self.source_type, url) {
            (SourceType::Test, _) => {
                let frame_rate = self.framerate.unwrap_or(FRAME_RATE);
                PullSource::Pattern { width: self.width, height: self.height, frame_rate }
            }
            (_, None) => return bad("source_url is required for non-test sources"),
            (SourceType::Rtmp, Some(key)) if !key.contains("://") => PullSource::url(local(&key)),
            (SourceType::Rtmp | SourceType::Rtsp, Some(url)) => PullSource::url(url),
            (SourceType::File, Some(path)) => PullSource::File {
                path,
                repeat: self.extra_params.get("loop").and_then(Value::as_bool) == Some(true),
            },
            (SourceType::Webrtc, Some(_)) => {
                return bad(
                    "source_type webrtc: publish to /whip/{stream_id} instead; nothing has to be created for it",
                );
            }
        };
        if let Some(unknown) = self.extra_params.keys().find(|k| *k != "loop") {
            return bad(&format!("extra_params.{unknown}: there is only loop"));
        }
        let mut targets = Vec::new();
        match self.output_type {
            OutputType::Rtmp if !self.output_url.contains("://") => {
                targets.push(PushTarget::Url(local(&self.output_url)));
            }
            OutputType::Rtmp => targets.push(PushTarget::Url(self.output_url)),
            OutputType::File => targets.push(files(&below(&self.output_url, recordings), recordings)?),
            // Played from here: nothing is sent.
            OutputType::Webrtc => {}
            OutputType::Rtsp if self.output_url.to_ascii_lowercase().starts_with("rtsp://") => {
                targets.push(PushTarget::Url(self.output_url));
            }
            OutputType::Rtsp => return bad("output_type rtsp: output_url: an rtsp:// address is needed"),
        }
        match (self.is_recording, self.recording_path.filter(|p| !p.is_empty())) {
            (true, Some(path)) => targets.push(files(&path, recordings)?),
            // The service's own example names no path; its files are found by the stream's name.
            (true, None) if recordings.is_some() => targets.push(files(&self.stream_id, recordings)?),
            (true, None) => {
                return bad("Invalid stream configuration: is_recording: nothing is recorded here");
            }
            (false, _) => {}
        }
        // A file goes as it is, unless something else is asked for.
        let encoded = self.source_type != SourceType::File || self.framerate.is_some();
        let bitrate = self.bitrate.or(encoded.then_some(BITRATE));
        let picture = match bitrate {
            Some(bitrate) => {
                let mut spec = TranscodeSpec::ladder(&["720p"])
                    .map_err(|e| (StatusCode::BAD_REQUEST, e.message().into()))?;
                let lines = self.height.min(self.width);
                let rung = Rung {
                    name: format!("{lines}p"),
                    lines,
                    bitrate,
                    sound: self.audio_bitrate,
                    profile: "high".into(),
                };
                spec.rungs = vec![rung];
                spec.sound_bitrate = Some(self.audio_bitrate);
                spec.frame_rate = self.framerate;
                Some(spec)
            }
            None => None,
        };
        Ok(StreamRequest {
            picture,
            targets,
            sound: self.audio_enabled,
            ..StreamRequest::new(self.stream_id, source)
        })
    }
}

/// A stream of this server by its key; the service's own example has `live/` in front of it.
fn local(key: &str) -> String {
    format!("rtmp://localhost:1935/live/{}", key.strip_prefix("live/").unwrap_or(key))
}

/// The service wrote files wherever a client said, and its own runner says `/tmp/…`: of a path that leads elsewhere the name is
/// taken, below the recordings.
fn below(path: &str, rules: Option<&RecordingRules>) -> String {
    let bare = PathBuf::from(path.strip_prefix("file://").unwrap_or(path));
    let plain = bare.components().all(|c| !matches!(c, std::path::Component::ParentDir));
    let elsewhere = bare.is_absolute() && rules.is_some_and(|rules| !bare.starts_with(rules.root()));
    match bare.file_name().and_then(|name| name.to_str()).filter(|_| plain && elsewhere) {
        Some(name) => name.into(),
        None => path.into(),
    }
}

/// A recording into the directory of `path`, in the form that its name says.
pub(crate) fn files(path: &str, rules: Option<&RecordingRules>) -> Result<PushTarget, (StatusCode, String)> {
    let path = PathBuf::from(path.strip_prefix("file://").unwrap_or(path));
    let bad = |why: &str| Err((StatusCode::BAD_REQUEST, format!("{}: {why}", path.display())));
    let Some(rules) = rules else {
        return bad("nothing is recorded here: live.recordings names no directory");
    };
    let root = rules.root();
    let plain = path.components().all(|c| !matches!(c, std::path::Component::ParentDir));
    if !plain || (path.is_absolute() && !path.starts_with(root)) {
        return bad(&format!("recordings are made below {}", root.display()));
    }
    let path = root.join(path);
    let container = match path.extension().and_then(|e| e.to_str()) {
        Some("mkv") => Container::Mkv,
        Some("ts") => Container::Ts,
        Some("mp4") | None => Container::Mp4,
        Some(other) => {
            return Err((
                StatusCode::BAD_REQUEST,
                format!("{}: {other} is none of mp4, mkv, ts", path.display()),
            ));
        }
    };
    let directory = if path.extension().is_some() { path.with_extension("") } else { path };
    Ok(PushTarget::Files(rules.recording(directory, container)))
}

/// All routes of the service.
pub fn router(service: LiveService, token: Option<Secret>) -> Router {
    let guard = middleware::from_fn(move |request: Request, next: Next| {
        let token = token.clone();
        async move { guarded(token.as_ref(), request, next).await }
    });
    Router::new()
        .route("/streams", post(create).get(list))
        .route("/streams/{id}", axum::routing::delete(remove))
        .route("/streams/{id}/start", post(start))
        .route("/streams/{id}/stop", post(stop))
        .route("/streams/{id}/restart", post(restart))
        .route("/streams/{id}/config", put(config))
        .route("/streams/{id}/status", get(status))
        .layer(guard)
        .route(
            "/",
            get(async || Json(json!({ "service": "GhostStream", "status": "running", "version": "1.0.0" }))),
        )
        .route("/health", get(health))
        .with_state(service)
}

/// `Authorization: Bearer`, when the service has a token.
async fn guarded(token: Option<&Secret>, request: Request, next: Next) -> Response {
    let shown = request.headers().get("authorization").and_then(|v| v.to_str().ok());
    let shown = shown.and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default();
    match token {
        Some(token) if !bool::from(shown.as_bytes().ct_eq(token.reveal().as_bytes())) => {
            detail(StatusCode::UNAUTHORIZED, "Unauthorized")
        }
        _ => next.run(request).await,
    }
}

async fn health() -> Response {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (date, time) = ((now / 86_400) as i64, now % 86_400);
    let (year, month, day) = civil(date);
    let text =
        format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", time / 3600, time / 60 % 60, time % 60);
    Json(json!({ "status": "healthy", "timestamp": text })).into_response()
}

/// The date of a day since 1970 (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

fn failure(e: &ghoststream::Error, what: &str) -> Response {
    match e.kind() {
        ErrorKind::NotFound => detail(StatusCode::NOT_FOUND, "Stream not found"),
        ErrorKind::Invalid => {
            detail(StatusCode::BAD_REQUEST, format!("Invalid stream configuration: {}", e.message()))
        }
        _ => detail(StatusCode::INTERNAL_SERVER_ERROR, format!("{what}: {}", e.message())),
    }
}

fn said(id: &str, status: &str, message: &str) -> Value {
    json!({ "stream_id": id, "status": status, "message": message })
}

async fn create(
    State(service): State<LiveService>,
    body: Result<Json<Plain<Body>>, JsonRejection>,
) -> Response {
    let request = match body {
        Ok(Json(Plain(body))) => match body.request(service.recordings()) {
            Ok(request) => request,
            Err((status, text)) => return detail(status, text),
        },
        Err(e) => return unreadable(&e),
    };
    let id = request.id.clone();
    let streams = service.managed().clone();
    let files = request.targets.iter().find(|target| matches!(target, PushTarget::Files(_)));
    let files = files.map(|target| format!("; its files are in {}", target.label())).unwrap_or_default();
    match blocking(move || streams.create(request)).await {
        Ok(Ok(())) => {
            let message = format!("Stream {id} created successfully{files}");
            // The service's own runner makes its next request without having read this answer: Python does that on a new
            // connection, and only if this one is closed.
            let close = [(axum::http::header::CONNECTION, "close")];
            (StatusCode::CREATED, close, Json(said(&id, "created", &message))).into_response()
        }
        Ok(Err(e)) => failure(&e, "Failed to create pipeline"),
        Err(response) => response,
    }
}

async fn start(State(service): State<LiveService>, Path(id): Path<String>) -> Response {
    let (streams, name) = (service.managed().clone(), id.clone());
    match blocking(move || streams.start(&name)).await {
        Ok(Ok(())) => Json(said(&id, "starting", &format!("Stream {id} is starting"))).into_response(),
        Ok(Err(e)) if e.kind() == ErrorKind::NotFound => failure(&e, ""),
        Ok(Err(e)) => {
            detail(StatusCode::INTERNAL_SERVER_ERROR, format!("Failed to start stream: {}", e.message()))
        }
        Err(response) => response,
    }
}

async fn stop(State(service): State<LiveService>, Path(id): Path<String>) -> Response {
    let (streams, name) = (service.managed().clone(), id.clone());
    match blocking(move || streams.stop(&name)).await {
        // An unknown one is stopped already.
        Ok(_) => Json(said(&id, "stopping", &format!("Stream {id} is stopping"))).into_response(),
        Err(response) => response,
    }
}

async fn restart(State(service): State<LiveService>, Path(id): Path<String>) -> Response {
    let (streams, name) = (service.managed().clone(), id.clone());
    let work = move || {
        streams.stop(&name);
        streams.start(&name)
    };
    match blocking(work).await {
        Ok(Ok(())) => Json(said(&id, "restarting", &format!("Stream {id} is restarting"))).into_response(),
        Ok(Err(e)) => failure(&e, "Failed to restart stream"),
        Err(response) => response,
    }
}

async fn remove(State(service): State<LiveService>, Path(id): Path<String>) -> Response {
    let (streams, name) = (service.managed().clone(), id.clone());
    match blocking(move || streams.remove(&name)).await {
        Ok(_) => Json(said(&id, "deleted", &format!("Stream {id} deleted"))).into_response(),
        Err(response) => response,
    }
}

async fn config(
    State(service): State<LiveService>,
    Path(id): Path<String>,
    body: Result<Json<Plain<Body>>, JsonRejection>,
) -> Response {
    let request = match body {
        Ok(Json(Plain(body))) if body.stream_id != id => {
            return detail(StatusCode::BAD_REQUEST, "Stream ID in path does not match config");
        }
        Ok(Json(Plain(body))) => match body.request(service.recordings()) {
            Ok(request) => request,
            Err((status, text)) => return detail(status, text),
        },
        Err(e) => return unreadable(&e),
    };
    let streams = service.managed().clone();
    match blocking(move || streams.configure(request)).await {
        Ok(Ok(())) => Json(said(&id, "updated", &format!("Stream {id} updated"))).into_response(),
        Ok(Err(e)) => failure(&e, "Failed to update stream"),
        Err(response) => response,
    }
}

async fn status(State(service): State<LiveService>, Path(id): Path<String>, request: Request) -> Response {
    match service.managed().get(&id) {
        Some(view) => {
            let mut sessions = service.sessions(|stream| stream == id);
            // The service's token alone does not tell where they are.
            service.hide_peers(&request, &mut sessions);
            Json(told(&service, &view, sessions)).into_response()
        }
        None => detail(StatusCode::NOT_FOUND, "Stream not found"),
    }
}

async fn list(State(service): State<LiveService>, request: Request) -> Response {
    // Each session is looked at once, not once for each stream.
    let mut sessions = service.sessions_by_stream();
    sessions.values_mut().for_each(|its| service.hide_peers(&request, its));
    let views = service.managed().list();
    let all = views.iter().map(|view| {
        let its = sessions.remove(&view.request.id).unwrap_or_default();
        told(&service, view, its)
    });
    Json(json!({ "streams": all.collect::<Vec<_>>() })).into_response()
}

fn told(service: &LiveService, view: &StreamView, sessions: Vec<LiveSession>) -> Value {
    let stats = service.streams().get(&view.request.id).map(|s| s.stats());
    let mut stats = stats.map_or(json!({}), |s| json!(s));
    // Beyond the contract: who publishes and watches.
    stats["sessions"] = json!(sessions);
    json!({
        "stream_id": view.request.id,
        "state": view.state,
        "error_message": view.error,
        "stats": stats,
        "uptime": view.uptime.map_or(0.0, |u| u.as_secs_f64()),
    })
}
