//! Routes about jobs.

use super::access::limited;
use super::answer::{Answer, Fail};
use super::{App, query};
use crate::contract::fields::{Errors, FieldError, Fields};
use crate::contract::job::{
    Ended, JobLine, JobList, JobStatusResponse, Leave, StreamInfo, TranscodeResponse, iso_time,
};
use crate::contract::request::{TranscodeRequest, Understood};
use crate::jobs::{Client, JobView, StartError, Status};
use crate::proxies::{ForMany, Peer};
use crate::token::Scope;
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::{Extension, Json};
use bytes::Bytes;
use ghoststream::spec::Plain;
use serde_json::{Value, json};
use serde_path_to_error::Segment;
use std::sync::Arc;
use std::time::Duration;

/// `POST /api/transcode/start`.
pub async fn start(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    many: Option<Extension<ForMany>>,
    request: Request,
) -> Answer<Json<TranscodeResponse>> {
    let (parts, body) = request.into_parts();
    let body = read(&app, body).await?;
    let body = parsed(&body)?.ok_or_else(|| {
        let missing = FieldError {
            kind: "missing",
            loc: vec![json!("body")],
            msg: "Field required".into(),
            input: Value::Null,
            ctx: None,
        };
        Fail::fields(&[missing])
    })?;
    let Understood { request, ignored } = TranscodeRequest::read(&body).map_err(|e| Fail::fields(&e))?;
    if request.source.trim().is_empty() {
        return Err(Fail::bad_request("Source URL is required"));
    }
    let address = peer.ip().to_canonical();
    // A hub that asks for all of its viewers says who each of them is.
    let one = request.session_id.as_deref().filter(|_| many.is_some());
    if many.is_some() {
        limited(&app, address, one)?;
    }
    let id = one.map_or(address.to_string(), |session| format!("{address}/{session}"));
    let request = permitted(&app, request).await?;
    let client = Client { id, session: request.session_id.clone() };
    let mut job = app.jobs.start(request, client).await.map_err(|e| refused(e, &body))?;
    if !ignored.is_empty() {
        tracing::info!(job = %job.id, "ignored fields of the request: {}", ignored.join(", "));
        let said: Vec<String> =
            ignored.iter().map(|field| format!("{field}: no such field; it is ignored")).collect();
        app.jobs.warn(&job.id, said.clone());
        job.warnings.extend(said);
    }
    Ok(Json(response(&app, &job, &app.base(&parts.headers))))
}

/// The request with its sources as they are to be opened, if the policy allows them all.
async fn permitted(app: &App, mut request: TranscodeRequest) -> Answer<TranscodeRequest> {
    let settings = app.settings();
    let task = tokio::task::spawn_blocking(move || {
        let policy = &settings.policy;
        let named = |field: &str, why: crate::policy::Refused| format!("{field}: {why}");
        request.source = policy.check(request.source.trim()).map_err(|why| named("source", why))?;
        for (i, track) in request.subtitles.iter_mut().flatten().enumerate() {
            track.url = policy.check(&track.url).map_err(|why| named(&format!("subtitles.{i}.url"), why))?;
        }
        if let Some(url) = &request.callback_url {
            policy.check_callback(url).map_err(|why| named("callback_url", why))?;
        }
        Ok::<_, String>(request)
    });
    match task.await {
        Ok(Ok(request)) => Ok(request),
        Ok(Err(why)) => Err(Fail::new(StatusCode::FORBIDDEN, format!("Source is not allowed: {why}"))),
        Err(e) => Err(Fail::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string())),
    }
}

fn refused(error: StartError, body: &Value) -> Fail {
    match error {
        StartError::Invalid { field, message } => {
            let input = field.split('.').try_fold(body, |at, key| match key.parse::<usize>() {
                Ok(index) => at.get(index),
                Err(_) => at.get(key),
            });
            Fail::fields(&[FieldError::value(&field, &message, input.cloned().unwrap_or_default())])
        }
        StartError::QueueFull { retry_after } => {
            Fail::new(StatusCode::SERVICE_UNAVAILABLE, "Queue full").retry_after(retry_after)
        }
        StartError::Denied(why) => Fail::new(StatusCode::FORBIDDEN, why),
        StartError::Internal(why) => Fail::new(StatusCode::INTERNAL_SERVER_ERROR, why),
    }
}

/// `GET /api/transcode/jobs`.
pub async fn list(State(app): State<Arc<App>>, headers: HeaderMap) -> Json<JobList> {
    let base = app.base(&headers);
    // Who may list the jobs is not thereby allowed to play them.
    let bare = app.settings().config.security.require_job_tokens;
    let mut jobs = app.jobs.list();
    jobs.sort_by_key(|job| std::cmp::Reverse(job.created_at));
    let line = |job: JobView| {
        let (stream_url, download_url) = match bare {
            true => (None, None),
            false => (stream_url(&app, &job, &base), download_url(&app, &job, &base)),
        };
        JobLine {
            stream_url,
            download_url,
            job_id: job.id,
            status: job.status,
            progress: job.progress,
            mode: job.mode.into(),
            source: job.source,
            created_at: Some(iso_time(job.created_at)),
            hw_accel_used: job.hw_accel_used,
            viewer_count: job.viewers,
            error_message: job.error,
            waiting_for: job.waiting_for,
        }
    };
    Json(JobList { jobs: jobs.into_iter().map(line).collect() })
}

/// `GET /api/transcode/{id}/status`.
pub async fn status(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<Json<JobStatusResponse>> {
    let job = found(&app, &id, &headers, &uri)?;
    let base = app.base(&headers);
    Ok(Json(JobStatusResponse {
        stream_url: stream_url(&app, &job, &base),
        download_url: download_url(&app, &job, &base),
        control_token: app.tokens.mint(&job.id, Scope::Control),
        job_id: job.id,
        status: job.status,
        progress: job.progress,
        current_time: job.current_time,
        duration: job.duration,
        eta_seconds: job.eta_seconds.and_then(|s| i64::try_from(s).ok()),
        hw_accel_used: job.hw_accel_used,
        error_message: job.error,
        created_at: Some(iso_time(job.created_at)),
        started_at: job.started_at.map(iso_time),
        completed_at: job.completed_at.map(iso_time),
        start_time: job.start_time,
        is_shared: job.shared,
        viewer_count: job.viewers,
        mode: job.mode.into(),
        warnings: job.warnings,
        waiting_for: job.waiting_for,
        playback: job.decision,
        store: job.stored,
        variants: job.variants,
        media_info: job.media_info,
    }))
}

/// `POST /api/transcode/{id}/cancel` and the older `DELETE /transcode/{id}`.
pub async fn cancel(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<Json<Ended>> {
    app.allow(&id, Scope::Control, &headers, &uri)?;
    match app.jobs.cancel(&id).await {
        Ok(()) => Ok(Json(Ended { status: "cancelled".into(), job_id: id })),
        Err(_) => Err(Fail::bad_request("Job cannot be cancelled")),
    }
}

/// `DELETE /api/transcode/{id}`.
pub async fn remove(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<Json<Ended>> {
    app.allow(&id, Scope::Control, &headers, &uri)?;
    match app.jobs.delete(&id).await {
        true => Ok(Json(Ended { status: "deleted".into(), job_id: id })),
        false => Err(Fail::not_found("Job not found")),
    }
}

/// `GET /api/transcode/{id}/stream`.
pub async fn stream(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<Json<StreamInfo>> {
    let job = found(&app, &id, &headers, &uri)?;
    if !matches!(job.status, Status::Ready | Status::Processing) {
        return Err(Fail::bad_request(format!("Job is not ready for streaming: {}", job.status)));
    }
    let url = stream_url(&app, &job, &app.base(&headers));
    Ok(Json(StreamInfo { stream_url: url, status: job.status, job_id: job.id }))
}

/// `POST /api/transcode/{id}/leave`; the first generation names the session in the query, the second in the body.
pub async fn leave(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Json<Leave>> {
    let (parts, body) = request.into_parts();
    app.allow(&id, Scope::Control, &parts.headers, &parts.uri)?;
    let mut errors = Errors::default();
    let mut named = None;
    if let Some(body) = parsed(&read(&app, body).await?)?
        && let Some(mut fields) = Fields::of(&body, vec![json!("body")], &mut errors)
    {
        named = fields.optional_text("session_id", &mut errors);
    }
    if !errors.list.is_empty() {
        return Err(Fail::fields(&errors.list));
    }
    let session = query::get(parts.uri.query(), "session_id").or(named);
    let left = app.jobs.leave(&id, session.as_deref()).ok_or_else(|| Fail::not_found("Job not found"))?;
    Ok(Json(Leave { job_id: id, viewers_remaining: left.viewers_remaining, is_shared: left.is_shared }))
}

fn found(app: &App, id: &str, headers: &HeaderMap, uri: &Uri) -> Answer<JobView> {
    app.allow(id, Scope::Control, headers, uri)?;
    app.jobs.get(id).ok_or_else(|| Fail::not_found("Job not found"))
}

/// The answer to a start.
pub fn response(app: &App, job: &JobView, base: &str) -> TranscodeResponse {
    TranscodeResponse {
        job_id: job.id.clone(),
        status: job.status,
        progress: job.progress,
        stream_url: stream_url(app, job, base),
        download_url: download_url(app, job, base),
        duration: job.duration,
        eta_seconds: job.eta_seconds.and_then(|s| i64::try_from(s).ok()),
        hw_accel_used: job.hw_accel_used.clone(),
        error_message: job.error.clone(),
        variants: job.variants.clone(),
        media_info: job.media_info.clone(),
        start_time: job.start_time,
        is_shared: job.shared,
        viewer_count: job.viewers,
        control_token: app.tokens.mint(&job.id, Scope::Control),
        warnings: job.warnings.clone(),
        waiting_for: job.waiting_for.clone(),
        playback: job.decision.clone(),
        store: job.stored.clone(),
    }
}

fn stream_url(app: &App, job: &JobView, base: &str) -> Option<String> {
    let path = job.stream_path?;
    let token = app.tokens.mint(&job.id, Scope::Stream);
    Some(format!("{base}/stream/{}/{path}?gst={token}", job.id))
}

fn download_url(app: &App, job: &JobView, base: &str) -> Option<String> {
    job.download_name.as_ref()?;
    Some(format!("{base}/download/{}?gst={}", job.id, app.tokens.mint(&job.id, Scope::Stream)))
}

/// The whole body, if it is not too large and comes in time.
async fn read(app: &App, body: Body) -> Answer<Bytes> {
    let server = &app.settings().config.server;
    let limit = usize::try_from(server.max_body_kb * 1024).unwrap_or(usize::MAX);
    let time = Duration::from_secs(server.request_timeout_seconds);
    // What says beforehand that it is too large need not be sent.
    if body.size_hint().lower() > limit as u64 {
        return Err(Fail::new(StatusCode::PAYLOAD_TOO_LARGE, "Request body is too large"));
    }
    match tokio::time::timeout(time, to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        // Axum wraps it; a connection that broke needs no answer.
        Ok(Err(_)) => Err(Fail::new(StatusCode::PAYLOAD_TOO_LARGE, "Request body is too large")),
        Err(_) => Err(Fail::new(StatusCode::REQUEST_TIMEOUT, "Request body did not come in time")),
    }
}

/// The JSON of a body; `None` for an empty one.
fn parsed(body: &[u8]) -> Answer<Option<Value>> {
    if body.is_empty() {
        return Ok(None);
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let syntax = |e: &serde_json::Error| {
        // The place as a number of bytes, as Python's decoder counts.
        let before = body.split_inclusive(|b| *b == b'\n').take(e.line().saturating_sub(1));
        let at = before.map(<[u8]>::len).sum::<usize>() + e.column().saturating_sub(1);
        Fail::fields(&[FieldError {
            kind: "json_invalid",
            loc: vec![json!("body"), json!(at)],
            msg: "JSON decode error".into(),
            input: json!({}),
            ctx: Some(json!({ "error": e.to_string() })),
        }])
    };
    let Plain(value) =
        serde_path_to_error::deserialize(&mut reader).map_err(|e| match e.inner().is_data() {
            false => syntax(e.inner()),
            // A key that is there twice.
            true => {
                let place = e.path().iter().map(|part| match part {
                    Segment::Seq { index } => json!(index),
                    part => json!(part.to_string()),
                });
                let mut error = FieldError::value("", &e.inner().to_string(), json!({}));
                error.loc.extend(place);
                Fail::fields(&[error])
            }
        })?;
    reader.end().map_err(|e| syntax(&e))?;
    Ok(Some(value))
}
