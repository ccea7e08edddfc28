//! The HLS and DASH service's interface (`contracts.md`, part 5).

use super::{blocking, detail, unreadable};
use crate::live::pull::PullSource;
use crate::live::service::LiveService;
use crate::live::streams::{StreamRequest, StreamState, StreamView};
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use ghoststream::spec::Plain;
use ghoststream::{Error, ErrorKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A request for a stream.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "LiveStreamRequest")]
pub(crate) struct Body {
    /// Its name: letters, digits, `-`, `_`, `.`, `~`, and `/` between words.
    stream_id: String,
    /// Where it is fetched.
    source_url: String,
    #[serde(default = "qualities")]
    qualities: Vec<String>,
    #[serde(default = "yes")]
    enable_hls: bool,
    /// Beyond the contract: HLS in MPEG-TS segments too, at `/streams/{id}/ts.m3u8`; the server's `live.hls_ts` without it.
    #[serde(default)]
    enable_hls_ts: Option<bool>,
    #[serde(default = "yes")]
    enable_dash: bool,
    #[serde(default = "yes")]
    low_latency: bool,
}

fn qualities() -> Vec<String> {
    ["720p", "480p", "360p"].map(String::from).to_vec()
}

fn yes() -> bool {
    true
}

/// What is told of a stream.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LiveStream")]
pub(crate) struct StreamInfo {
    stream_id: String,
    status: &'static str,
    hls_url: Option<String>,
    dash_url: Option<String>,
    qualities: Vec<String>,
    created_at: f64,
    last_update: f64,
    /// Beyond the contract: why it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What has been done.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LiveSaid")]
pub(crate) struct Said {
    status: &'static str,
}

impl StreamInfo {
    fn new(view: StreamView) -> StreamInfo {
        let request = view.request;
        StreamInfo {
            status: match view.state {
                StreamState::Running => "active",
                StreamState::Starting => "starting",
                StreamState::Reconnecting => "reconnecting",
                StreamState::Error => "error",
                StreamState::Stopped => "stopped",
            },
            hls_url: request.hls.then(|| format!("/streams/{}/playlist.m3u8", request.id)),
            dash_url: request.dash.then(|| format!("/streams/{}/manifest.mpd", request.id)),
            stream_id: request.id,
            qualities: request.qualities,
            created_at: view.created,
            last_update: view.updated,
            error: view.error,
        }
    }
}

/// The routes that are about streams, without files.
pub fn router(service: LiveService) -> Router {
    Router::new()
        .route("/streams", post(create).get(list))
        .route("/streams/{id}", get(one).delete(remove))
        .route("/streams/{id}/heartbeat", post(heartbeat))
        .with_state(service)
}

/// What the service's own port has besides: `/health` and `/metrics`.
pub fn extras(service: LiveService) -> Router {
    Router::new().route("/health", get(health)).route("/metrics", get(metrics)).with_state(service)
}

/// A URL, or the absolute path of a file of this machine, which the rules for sources may allow.
fn source_of(url: String) -> PullSource {
    if url.starts_with('/') { PullSource::File { path: url, repeat: false } } else { PullSource::url(url) }
}

async fn create(
    State(service): State<LiveService>,
    body: Result<Json<Plain<Body>>, JsonRejection>,
) -> Response {
    let body = match body {
        Ok(Json(Plain(body))) => body,
        Err(e) => return unreadable(&e),
    };
    let request = StreamRequest {
        qualities: body.qualities,
        hls: body.enable_hls,
        hls_ts: body.enable_hls_ts,
        dash: body.enable_dash,
        low_latency: body.low_latency,
        ..StreamRequest::new(body.stream_id, source_of(body.source_url))
    };
    let id = request.id.clone();
    let streams = service.managed().clone();
    let work = move || {
        let missing = match &request.source {
            PullSource::File { path, .. } => !std::path::Path::new(path).is_file(),
            _ => false,
        };
        streams.create(request)?;
        // Only of what may be read at all it is said whether it is there.
        if missing {
            streams.remove(&id);
            return Err(Error::invalid("source_url", "there is no such file"));
        }
        streams.start(&id).inspect_err(|_| {
            streams.remove(&id);
        })?;
        Ok::<_, Error>(streams.get(&id))
    };
    match blocking(work).await {
        Ok(Ok(Some(view))) => Json(StreamInfo::new(view)).into_response(),
        Ok(Ok(None)) => detail(StatusCode::NOT_FOUND, "Stream not found"),
        Ok(Err(e)) if matches!(e.kind(), ErrorKind::Invalid | ErrorKind::Busy | ErrorKind::Denied) => {
            let text = match e.message() {
                text if text.starts_with("source_url") => format!("Invalid source URL: {text}"),
                text => text.into(),
            };
            detail(StatusCode::BAD_REQUEST, text)
        }
        Ok(Err(e)) => detail(StatusCode::INTERNAL_SERVER_ERROR, e.message()),
        Err(response) => response,
    }
}

async fn list(State(service): State<LiveService>) -> Json<Vec<StreamInfo>> {
    Json(service.managed().list().into_iter().map(StreamInfo::new).collect())
}

async fn one(State(service): State<LiveService>, Path(id): Path<String>) -> Response {
    match service.managed().get(&id) {
        Some(view) => Json(StreamInfo::new(view)).into_response(),
        None => detail(StatusCode::NOT_FOUND, "Stream not found"),
    }
}

async fn remove(State(service): State<LiveService>, Path(id): Path<String>) -> Response {
    let streams = service.managed().clone();
    match blocking(move || streams.remove(&id)).await {
        Ok(true) => Json(Said { status: "stopped" }).into_response(),
        Ok(false) => detail(StatusCode::NOT_FOUND, "Stream not found"),
        Err(response) => response,
    }
}

async fn heartbeat(State(service): State<LiveService>, Path(id): Path<String>) -> Response {
    // Unknown ones are answered alike: clients of the original rely on it.
    service.managed().heartbeat(&id);
    Json(Said { status: "ok" }).into_response()
}

async fn health(State(service): State<LiveService>) -> Response {
    Json(json!({ "status": "healthy", "streams": service.managed().list().len() })).into_response()
}

async fn metrics(State(service): State<LiveService>) -> Response {
    ([("content-type", "text/plain; version=0.0.4; charset=utf-8")], service.metrics()).into_response()
}
