//! The built-in page: everything it needs is in the binary.

use super::answer::{Answer, Fail};
use axum::extract::Path;
use axum::http::header;
use axum::response::{Html, IntoResponse};

/// Scripts and styles come from here only; hls.js makes blobs for the video and its worker.
const POLICY: &str = "default-src 'self'; media-src 'self' blob: http: https:; connect-src 'self' http: https: ws: wss:; \
    worker-src 'self' blob:; img-src 'self' data:; style-src 'self'; script-src 'self'; frame-ancestors 'none'";

/// `GET /`.
pub async fn index() -> impl IntoResponse {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(include_str!("index.html")))
}

/// `GET /page/{name}`.
pub async fn asset(Path(name): Path<String>) -> Answer<impl IntoResponse> {
    let (kind, text) = match name.as_str() {
        "page.js" => ("text/javascript; charset=utf-8", include_str!("page.js")),
        "page.css" => ("text/css; charset=utf-8", include_str!("page.css")),
        "hls.min.js" => ("text/javascript; charset=utf-8", include_str!("hls.min.js")),
        "hls.LICENSE" => ("text/plain; charset=utf-8", include_str!("hls.LICENSE")),
        _ => return Err(Fail::not_found("Not Found")),
    };
    // The names stay when the program changes.
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text))
}
