//! Segments, playlists and downloads: ranges, validators and types.

use super::answer::{Answer, Fail};
use super::{App, held, playlist, query, range};
use crate::contract::job::civil;
use crate::jobs::{Body, Cache, DownloadError, FileError, Served};
use crate::serve::ended;
use crate::token::Scope;
use axum::body::Body as HttpBody;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a file that is being made is waited for.
const HOLD: Duration = Duration::from_secs(30);
/// Read from a file at once; most segments are smaller and go out in one piece.
const CHUNK: usize = 1 << 20;

/// `GET /stream/{id}/{path}`.
pub async fn stream(
    State(app): State<Arc<App>>,
    Path((id, path)): Path<(String, String)>,
    request: Request,
) -> Answer<Response> {
    let (headers, uri) = (request.headers(), request.uri());
    if path.contains("..") || path.starts_with('/') || path.contains(['\\', '\0']) {
        return Err(Fail::bad_request("Invalid filename"));
    }
    app.allow(&id, Scope::Stream, headers, uri)?;
    let mut ending = app.ending.clone();
    let file = tokio::select! {
        file = app.jobs.file(&id, &path, HOLD) => file,
        // Whoever waits for a playlist should not hold up the server's end.
        () = ended(&mut ending) => {
            let fail = Fail::new(StatusCode::SERVICE_UNAVAILABLE, "The server is shutting down");
            return Err(fail.retry_after(Duration::from_secs(5)));
        }
    };
    let served = file.map_err(|e| match e {
        FileError::BadName => Fail::bad_request("Invalid filename"),
        FileError::NotFound => Fail::not_found("Stream file not found"),
        FileError::Failed(why) => {
            tracing::info!(job = %id, file = %path, "not served: {why}");
            Fail::not_found("Stream file not found").because(why)
        }
    })?;
    let query = carried(&app, &id, headers, uri);
    let served = if query.is_empty() { served } else { rewritten(served, &query).await? };
    send(&app, headers, served).await
}

/// `GET /download/{id}`.
pub async fn download(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Response> {
    let (headers, uri) = (request.headers(), request.uri());
    app.allow(&id, Scope::Stream, headers, uri)?;
    let served = app.jobs.download(&id).map_err(|e| match e {
        DownloadError::NotFound => Fail::not_found("Job not found"),
        DownloadError::NotReady(_) => Fail::bad_request("Job is not ready for download"),
        DownloadError::Gone => Fail::not_found("Output file not found"),
    })?;
    send(&app, headers, served).await
}

/// The query that a playlist's URIs need so that the player may fetch them: what let this request in.
fn carried(app: &App, id: &str, headers: &HeaderMap, uri: &Uri) -> String {
    let mut parts = Vec::new();
    if app.settings().config.security.require_job_tokens {
        let sent = query::get(uri.query(), "gst");
        // A player that sends a header for the playlist may not do so for segments.
        let token = sent.or_else(|| headers.get("x-ghoststream-stream-token")?.to_str().ok().map(Into::into));
        let token = token.unwrap_or_else(|| app.tokens.mint(id, Scope::Stream));
        parts.push(format!("gst={}", query::encoded(&token)));
    }
    if app.settings().config.security.api_key.is_some()
        && let Some(key) = query::get(uri.query(), "api_key")
    {
        parts.push(format!("api_key={}", query::encoded(&key)));
    }
    parts.join("&")
}

async fn rewritten(served: Served, query: &str) -> Answer<Served> {
    let change: fn(&str, &str) -> String = match served.content_type {
        "application/vnd.apple.mpegurl" => playlist::hls,
        "application/dash+xml" => playlist::dash,
        _ => return Ok(served),
    };
    let bytes = match served.body {
        Body::Memory(bytes) => bytes,
        Body::File(path) => blocking(move || std::fs::read(path)).await?.into(),
    };
    let text = String::from_utf8_lossy(&bytes);
    // Its validator was for other bytes.
    Ok(Served { body: Body::Memory(change(&text, query).into()), etag: None, ..served })
}

/// What a file is, and its first bytes.
struct Opened {
    size: u64,
    modified: Option<SystemTime>,
    rest: Option<File>,
    head: Bytes,
}

async fn send(app: &App, headers: &HeaderMap, served: Served) -> Answer<Response> {
    let opened = match served.body {
        Body::Memory(bytes) => Opened { size: bytes.len() as u64, modified: None, rest: None, head: bytes },
        Body::File(path) if matches!(served.cache, Cache::Immutable) => shared(app, path).await?,
        Body::File(path) => blocking(move || open(&path)).await?,
    };
    let modified = opened.modified.map(http_date);
    let etag = served.etag.or_else(|| Some(file_tag(opened.size, opened.modified?)));
    let (etag, modified) = (etag.as_deref(), modified.as_deref());
    let content_type = match &served.cache {
        Cache::Attachment(_) => "application/octet-stream",
        _ => served.content_type,
    };
    let mut response =
        Response::builder().header(header::CONTENT_TYPE, content_type).header(header::ACCEPT_RANGES, "bytes");
    response = match &served.cache {
        Cache::NoCache => response.header(header::CACHE_CONTROL, "no-cache"),
        // The original's names. It began such a job anew under another id; here it goes on, or is tried again, under its own.
        Cache::Stale(seconds) => response
            .header(header::CACHE_CONTROL, "no-cache")
            .header("x-playlist-stale", "true")
            .header("x-staleness-seconds", *seconds),
        Cache::Immutable => response.header(header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        Cache::Attachment(name) => response
            .header(header::CONTENT_DISPOSITION, attachment(name))
            .header(header::CACHE_CONTROL, "no-cache"),
    };
    for (name, value) in [(header::ETAG, etag), (header::LAST_MODIFIED, modified)] {
        if let Some(value) = value {
            response = response.header(name, value);
        }
    }
    if range::has_it(headers, etag, modified) {
        return built(response.status(StatusCode::NOT_MODIFIED).body(HttpBody::empty()));
    }
    let size = opened.size;
    let part = match range::wanted(headers, size, etag, modified) {
        range::Wanted::All => 0..size,
        range::Wanted::Part(part) => {
            let value = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            response = response.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, value);
            part
        }
        range::Wanted::Beyond => {
            let value = format!("bytes */{size}");
            let body = HttpBody::from(r#"{"detail":"Range not satisfiable"}"#);
            let response = Response::builder()
                .status(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(header::CONTENT_RANGE, value)
                .header(header::CONTENT_TYPE, "application/json");
            return built(response.body(body));
        }
    };
    let length = part.end - part.start;
    app.metrics.sent(length);
    response = response.header(header::CONTENT_LENGTH, length);
    let head = opened.head.len() as u64;
    let body = match opened.rest {
        _ if part.end <= head => HttpBody::from(opened.head.slice(part.start as usize..part.end as usize)),
        Some(file) => HttpBody::from_stream(chunks(file, part.start, part.end)),
        // A file without rest is in its head.
        None => HttpBody::empty(),
    };
    built(response.body(body))
}

fn built(response: Result<Response, axum::http::Error>) -> Answer<Response> {
    response.map_err(|e| Fail::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))
}

/// A segment, from memory where several ask for it.
async fn shared(app: &App, path: PathBuf) -> Answer<Opened> {
    // Asked of the kernel's cache: sooner done than handed to another thread.
    let meta = std::fs::metadata(&path).ok().filter(|m| m.is_file() && m.len() <= held::LARGEST);
    let version = meta.and_then(|m| Some((m.modified().ok()?, m.len())));
    let Some(version) = version else { return blocking(move || open(&path)).await };
    let opened = |head: Bytes| Opened { size: version.1, modified: Some(version.0), rest: None, head };
    if let Some(bytes) = app.held.get(&path, version) {
        return Ok(opened(bytes));
    }
    let from = path.clone();
    let bytes = Bytes::from(blocking(move || std::fs::read(from)).await?);
    // A file that changed while it was read is nobody's version.
    if bytes.len() as u64 != version.1 {
        return blocking(move || open(&path)).await;
    }
    app.held.offer(&path, version, &bytes);
    Ok(opened(bytes))
}

/// Opens a file and reads its beginning in one go.
fn open(path: &std::path::Path) -> io::Result<Opened> {
    let mut file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let size = meta.len();
    let mut head = Vec::with_capacity(size.min(CHUNK as u64) as usize);
    file.by_ref().take(CHUNK as u64).read_to_end(&mut head)?;
    let whole = head.len() as u64 >= size;
    // A file that was cut meanwhile is as long as what is there.
    let size = if head.len() < CHUNK { head.len() as u64 } else { size };
    Ok(Opened { size, modified: meta.modified().ok(), rest: (!whole).then_some(file), head: head.into() })
}

/// The bytes `at..end` of a file, read piece by piece off the runtime's threads.
fn chunks(file: File, at: u64, end: u64) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send {
    futures_util::stream::try_unfold((Some(file), at), move |(file, at)| async move {
        let Some(mut file) = file.filter(|_| at < end) else { return Ok(None) };
        let task = tokio::task::spawn_blocking(move || {
            file.seek(SeekFrom::Start(at))?;
            let mut piece = vec![0; (end - at).min(CHUNK as u64) as usize];
            file.read_exact(&mut piece)?;
            Ok::<_, io::Error>((file, piece))
        });
        let (file, piece) = task.await.map_err(io::Error::other)??;
        let next = at + piece.len() as u64;
        Ok(Some((Bytes::from(piece), (Some(file), next))))
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Answer<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(e)) if e.kind() == io::ErrorKind::NotFound => Err(Fail::not_found("Stream file not found")),
        Ok(Err(e)) => Err(Fail::new(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot read the file: {e}"))),
        Err(e) => Err(Fail::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string())),
    }
}

fn attachment(name: &str) -> HeaderValue {
    let plain: String = name.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\')).collect();
    HeaderValue::from_str(&format!("attachment; filename=\"{plain}\""))
        .unwrap_or(HeaderValue::from_static("attachment"))
}

fn file_tag(size: u64, modified: SystemTime) -> String {
    let nanos = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("\"{nanos:x}-{size:x}\"")
}

/// `Fri, 20 Nov 2026 23:38:16 GMT`.
fn http_date(time: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let days = seconds / 86_400;
    let (year, month, day) = civil(days);
    let weekday = DAYS.get((days % 7) as usize).unwrap_or(&"Thu");
    let month = MONTHS.get(month as usize - 1).unwrap_or(&"Jan");
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{weekday}, {day:02} {month} {year} {h:02}:{m:02}:{s:02} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_as_http_writes_them() {
        let at = |s| http_date(UNIX_EPOCH + Duration::from_secs(s));
        assert_eq!(at(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(at(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn a_file_name_cannot_break_the_header() {
        assert_eq!(attachment("output.mp4"), "attachment; filename=\"output.mp4\"");
        assert_eq!(attachment("a\"; x\r\n.mp4"), "attachment; filename=\"a;x.mp4\"");
    }
}
