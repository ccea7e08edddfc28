//! The built-in pages, for jobs and for live streams: everything they need is in the binary.

use super::App;
use super::answer::{Answer, Fail};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{Html, IntoResponse};
use std::sync::Arc;

/// Scripts and styles come from here only; hls.js makes blobs for the video and its worker.
const POLICY: &str = "default-src 'self'; media-src 'self' blob: http: https:; connect-src 'self' http: https: ws: wss:; \
    worker-src 'self' blob:; img-src 'self' data:; style-src 'self'; script-src 'self'; frame-ancestors 'none'";

/// The way from the page of jobs to that of live streams, where there are any.
const LIVE: &str =
    r#"<nav aria-label="Pages"><a href="/" aria-current="page">Jobs</a> <a href="/live">Live</a></nav>"#;

/// `GET /`.
pub async fn index(State(app): State<Arc<App>>) -> impl IntoResponse {
    let live = if app.live.is_some() { LIVE } else { "" };
    (
        [(header::CONTENT_SECURITY_POLICY, POLICY)],
        Html(include_str!("index.html").replace("<!--pages-->", live)),
    )
}

/// `GET /live`, when the live origin runs.
pub async fn live(State(app): State<Arc<App>>) -> Answer<impl IntoResponse> {
    if app.live.is_none() {
        return Err(Fail::not_found("The live origin does not run: start it with serve --live"));
    }
    Ok(([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(include_str!("live.html"))))
}

/// `GET /page/{name}`.
pub async fn asset(Path(name): Path<String>) -> Answer<impl IntoResponse> {
    let (kind, text) = match name.as_str() {
        "page.js" => ("text/javascript; charset=utf-8", include_str!("page.js")),
        "live.js" => ("text/javascript; charset=utf-8", include_str!("live.js")),
        "publish.js" => ("text/javascript; charset=utf-8", include_str!("publish.js")),
        "page.css" => ("text/css; charset=utf-8", include_str!("page.css")),
        "hls.min.js" => ("text/javascript; charset=utf-8", include_str!("hls.min.js")),
        "hls.LICENSE" => ("text/plain; charset=utf-8", include_str!("hls.LICENSE")),
        "dash.min.js" => ("text/javascript; charset=utf-8", include_str!("dash.min.js")),
        "dash.LICENSE" => ("text/plain; charset=utf-8", include_str!("dash.LICENSE")),
        _ => return Err(Fail::not_found("Not Found")),
    };
    // The names stay when the program changes.
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text))
}
