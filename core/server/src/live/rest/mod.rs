//! Two ways to ask for streams over HTTP, on the same [`Streams`](super::streams::Streams): those of the services that this
//! server replaces. Where they disagree, the listener's port decides.

pub mod gstreamer;
pub mod hls_dash;
pub mod paths;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// `{"detail": …}`.
fn detail(status: StatusCode, text: impl Into<String>) -> Response {
    (status, Json(json!({ "detail": text.into() }))).into_response()
}

/// What cannot be read as a request: 422 with what is wrong.
fn unreadable(e: &axum::extract::rejection::JsonRejection) -> Response {
    detail(StatusCode::UNPROCESSABLE_ENTITY, e.body_text())
}

/// Runs what waits for threads where it may wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Response> {
    tokio::task::spawn_blocking(work).await.map_err(|_| {
        detail(StatusCode::INTERNAL_SERVER_ERROR, "the server could not do it; its log says why")
    })
}
