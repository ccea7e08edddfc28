//! How answers look: cache lifetimes, validators, ranges, CORS, errors as JSON.

use super::state::Rendered;
use crate::http::{playlist, range};
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use std::convert::Infallible;
use std::ops::Range;

pub(in crate::live) const HLS: &str = "application/vnd.apple.mpegurl";
pub(in crate::live) const DASH: &str = "application/dash+xml";

/// How long an answer may be kept, in terms of the target duration (RFC 8216bis, appendix B.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::live) enum Cache {
    /// What was waited for: six target durations.
    Blocking,
    /// What was waited for in vain: four.
    BlockingError,
    /// A playlist as it is now: half a one.
    Now,
    /// An error: one.
    Error,
    /// The same for ever: no URI is used again.
    Forever,
    /// Not at all.
    Never,
}

impl Cache {
    fn value(self, target: u32) -> String {
        match self {
            Cache::Blocking => format!("public, max-age={}", 6 * target),
            Cache::BlockingError => format!("public, max-age={}", 4 * target),
            Cache::Now => format!("public, max-age={}", target / 2),
            Cache::Error => format!("public, max-age={target}"),
            Cache::Forever => "public, max-age=31536000, immutable".into(),
            Cache::Never => "no-store".into(),
        }
    }
}

fn headers(response: &mut Response) {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Content-Length, Content-Range, Range, Date, ETag"),
        (header::HeaderName::from_static("timing-allow-origin"), "*"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
}

fn finished(built: Result<Response, axum::http::Error>) -> Response {
    // Every header that is put in is plain ASCII.
    let mut response = built.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response());
    headers(&mut response);
    response
}

/// The answer to OPTIONS.
pub(in crate::live) fn preflight() -> Response {
    finished(
        Response::builder()
            .status(StatusCode::NO_CONTENT)
            .header(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS")
            .header(header::ACCESS_CONTROL_ALLOW_HEADERS, "*")
            .header(header::ACCESS_CONTROL_MAX_AGE, "86400")
            .header(header::ALLOW, "GET, HEAD, OPTIONS")
            .body(Body::empty()),
    )
}

/// The longest playlist that is changed for one who asks.
const LONGEST: usize = 64 << 20;

/// `response`, whose playlist or manifest names others with `query` behind their names. It is what was asked for with no more than
/// the name; `request` says what of it is wanted.
pub(in crate::live) async fn with_query(response: Response, request: &HeaderMap, query: &str) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    let (kind, change): (_, fn(&str, &str) -> String) = match kind {
        kind if kind == HLS.as_bytes() => (HLS, playlist::hls),
        kind if kind == DASH.as_bytes() => (DASH, playlist::dash),
        _ => return response,
    };
    if response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, LONGEST).await else {
        return failure(500, "The playlist cannot be read", None);
    };
    let made = change(&String::from_utf8_lossy(&bytes), query);
    let made = Rendered::with(made, takes_gzip(request));
    let (of, body) = text(request, kind, &made, Cache::Never, 0).0.into_parts();
    // How long it is good for is as it was.
    for name in [header::ETAG, header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::VARY] {
        match of.headers.get(&name) {
            Some(value) => drop(parts.headers.insert(name, value.clone())),
            None => drop(parts.headers.remove(name)),
        }
    }
    parts.status = of.status;
    Response::from_parts(parts, body)
}

/// An error: `{"detail": …}`. `cache` with the target duration; without it the answer is not kept.
pub(in crate::live) fn failure(status: u16, detail: &str, cache: Option<(Cache, u32)>) -> Response {
    let cache = cache.map_or_else(|| Cache::Never.value(0), |(cache, target)| cache.value(target));
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CACHE_CONTROL, cache);
    if status == 503 {
        response = response.header(header::RETRY_AFTER, "1");
    }
    finished(response.body(Body::from(serde_json::json!({ "detail": detail }).to_string())))
}

/// A text, compressed for who takes it. Gives its length too.
pub(super) fn text(
    request: &HeaderMap,
    kind: &'static str,
    text: &Rendered,
    cache: Cache,
    target: u32,
) -> (Response, u64) {
    let gzip = text.gzip.as_ref().filter(|_| takes_gzip(request));
    let tag = match gzip {
        Some(_) => format!("\"{}-gzip\"", text.tag),
        None => format!("\"{}\"", text.tag),
    };
    let mut response = Response::builder()
        .header(header::CACHE_CONTROL, cache.value(target))
        .header(header::VARY, "Accept-Encoding")
        .header(header::ETAG, &tag);
    if range::has_it(request, Some(&tag), None) {
        return (finished(response.status(StatusCode::NOT_MODIFIED).body(Body::empty())), 0);
    }
    if gzip.is_some() {
        response = response.header(header::CONTENT_ENCODING, "gzip");
    }
    let body = gzip.unwrap_or(&text.plain).clone();
    let length = body.len() as u64;
    response = response.header(header::CONTENT_TYPE, kind).header(header::CONTENT_LENGTH, length);
    (finished(response.body(Body::from(body))), length)
}

fn takes_gzip(request: &HeaderMap) -> bool {
    let codings = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    codings.flat_map(|v| v.split(',')).any(|coding| {
        let mut words = coding.split(';').map(str::trim);
        let named = words.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
        let refused = words
            .any(|word| word.strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0)));
        named && !refused
    })
}

/// A short text that nobody keeps.
pub(super) fn fresh(text: String) -> Response {
    finished(
        Response::builder()
            .header(header::CONTENT_TYPE, "text/plain")
            .header(header::CACHE_CONTROL, Cache::Never.value(0))
            .body(Body::from(text)),
    )
}

/// Media that is whole, or the range of it that is wanted. Its name is its validator. Gives the length sent too.
pub(in crate::live) fn media(
    request: &HeaderMap,
    name: &str,
    kind: &'static str,
    chunks: Vec<Bytes>,
    cache: Cache,
    target: u32,
) -> (Response, u64) {
    let size: u64 = chunks.iter().map(|c| c.len() as u64).sum();
    ranged(request, name, kind, size, (cache, target), |wanted| {
        let mut at = 0;
        let mut pieces = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let length = chunk.len() as u64;
            let from = wanted.start.saturating_sub(at).min(length);
            let to = wanted.end.saturating_sub(at).min(length);
            if from < to {
                pieces.push(chunk.slice(from as usize..to as usize));
            }
            at += length;
        }
        match &pieces[..] {
            [one] => Body::from(one.clone()),
            _ => Body::from_stream(futures_util::stream::iter(pieces.into_iter().map(Ok::<_, Infallible>))),
        }
    })
}

/// As [`media`], of `size` bytes that `body` gives the wanted ones of.
pub(super) fn ranged(
    request: &HeaderMap,
    name: &str,
    kind: &'static str,
    size: u64,
    (cache, target): (Cache, u32),
    body: impl FnOnce(Range<u64>) -> Body,
) -> (Response, u64) {
    let tag = format!("\"{name}\"");
    let mut response = Response::builder()
        .header(header::CONTENT_TYPE, kind)
        .header(header::CACHE_CONTROL, cache.value(target))
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::ETAG, &tag);
    if range::has_it(request, Some(&tag), None) {
        return (finished(response.status(StatusCode::NOT_MODIFIED).body(Body::empty())), 0);
    }
    let wanted = match range::wanted(request, size, Some(&tag), None) {
        range::Wanted::All => 0..size,
        range::Wanted::Part(wanted) => {
            let value = format!("bytes {}-{}/{size}", wanted.start, wanted.end - 1);
            response = response.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, value);
            wanted
        }
        range::Wanted::Beyond => {
            let mut failed = failure(416, "Range not satisfiable", Some((Cache::Error, target)));
            if let Ok(value) = header::HeaderValue::from_str(&format!("bytes */{size}")) {
                failed.headers_mut().insert(header::CONTENT_RANGE, value);
            }
            return (failed, 0);
        }
    };
    let length = wanted.end - wanted.start;
    response = response.header(header::CONTENT_LENGTH, length);
    (finished(response.body(body(wanted))), length)
}

/// Media that is being made: chunks go out as they come.
pub(super) fn growing(name: &str, kind: &'static str, body: Body) -> Response {
    finished(
        Response::builder()
            .header(header::CONTENT_TYPE, kind)
            .header(header::CACHE_CONTROL, Cache::Forever.value(0))
            .header(header::ETAG, format!("\"{name}\""))
            .body(body),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_who_takes_it() {
        let takes = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
            takes_gzip(&headers)
        };
        assert!(takes("gzip") && takes("br, GZIP;q=0.5") && takes("*"));
        assert!(!takes("br") && !takes("gzip;q=0") && !takes("identity"));
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn lifetimes_are_those_of_the_draft() {
        let of = |cache: Cache| cache.value(2);
        assert_eq!(of(Cache::Blocking), "public, max-age=12");
        assert_eq!(of(Cache::BlockingError), "public, max-age=8");
        assert_eq!(of(Cache::Now), "public, max-age=1");
        assert_eq!(of(Cache::Error), "public, max-age=2");
    }
}
