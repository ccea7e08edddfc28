//! What stands before every route: origins, the API key, rates; and behind it: CORS headers, error shapes, counting.

use super::answer::Fail;
use super::{App, query};
use crate::config::SecurityConfig;
use crate::proxies::{ForMany, Peer};
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;
use subtle::ConstantTimeEq;

/// Routes that answer without the key: health for monitors, and the pages, which have nothing secret and ask for the key.
/// The WebSocket has never needed it.
const OPEN: [&str; 6] = ["/api/health", "/health", "/ws/progress", "/", "/live", "/page/{name}"];

/// The middleware around all routes.
pub async fn gate(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let settings = app.settings();
    let security = &settings.config.security;
    let method = request.method().clone();
    let origin = request.headers().get(header::ORIGIN).cloned();
    let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let route = request.extensions().get::<MatchedPath>().map(|p| p.as_str().to_string());
    let allowed = origin_allowed(security, request.headers());
    let preflight = method == Method::OPTIONS
        && origin.is_some()
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight {
        let (status, text) = match allowed {
            true => (StatusCode::OK, "OK"),
            false => (StatusCode::BAD_REQUEST, "Disallowed CORS origin"),
        };
        (status, text).into_response()
    } else {
        match admitted(&app, security, &request, route.as_deref(), allowed) {
            Err(fail) => fail.into_response(),
            Ok(()) => next.run(request).await,
        }
    };
    response = worded(response);
    cross_origin(security, response.headers_mut(), origin.filter(|_| allowed), asked.filter(|_| preflight));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let took = begun.elapsed();
    app.metrics.answered(&method, route.as_deref().unwrap_or("other"), response.status(), took);
    if method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    response
}

/// What stands before requests for live streams, on whichever listener: which pages may send them, and the API key. Their
/// rate is not limited: heartbeats come for every stream. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Side(Arc<RwLock<Arc<SecurityConfig>>>);

impl Side {
    /// As `security` says.
    pub fn new(security: &SecurityConfig) -> Side {
        Side(Arc::new(RwLock::new(Arc::new(security.clone()))))
    }

    /// Other settings from now on.
    pub fn replace(&self, security: &SecurityConfig) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(security.clone());
    }

    /// Whether there is an API key.
    pub fn has_key(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).api_key.is_some()
    }

    /// Whether a request shows the API key, or there is none to show.
    pub fn knows(&self, request: &Request) -> bool {
        shows_key(&self.0.read().unwrap_or_else(PoisonError::into_inner), request)
    }

    /// Lets a request through, or says why not. Where `keyed`, the API key is needed, if there is one.
    pub async fn pass(&self, keyed: bool, request: Request, next: Next) -> Response {
        let security = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        let origin = request.headers().get(header::ORIGIN).cloned();
        let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let route = request.extensions().get::<MatchedPath>().map(|p| p.as_str().to_string());
        let allowed = origin_allowed(&security, request.headers());
        let preflight = request.method() == Method::OPTIONS
            && origin.is_some()
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let mut response = if preflight {
            match allowed {
                true => (StatusCode::OK, "OK").into_response(),
                false => (StatusCode::BAD_REQUEST, "Disallowed CORS origin").into_response(),
            }
        } else if !allowed && changes(&request) {
            foreign().into_response()
        } else {
            let shown = match keyed {
                true => known(&security, &request, route.as_deref(), allowed),
                false => Ok(()),
            };
            match shown {
                Err(fail) => fail.into_response(),
                Ok(()) => worded(next.run(request).await),
            }
        };
        let (origin, asked) = (origin.filter(|_| allowed), asked.filter(|_| preflight));
        cross_origin(&security, response.headers_mut(), origin, asked);
        response
    }
}

/// What a page is told that may not use this server.
fn foreign() -> Fail {
    Fail::new(StatusCode::FORBIDDEN, "Origin is not allowed")
}

/// What the router itself refuses has no body yet.
fn worded(response: Response) -> Response {
    if response.status() != StatusCode::METHOD_NOT_ALLOWED
        || response.headers().contains_key(header::CONTENT_TYPE)
    {
        return response;
    }
    let allow = response.headers().get(header::ALLOW).cloned();
    let mut worded = Fail::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed").into_response();
    worded.headers_mut().extend(allow.map(|a| (header::ALLOW, a)));
    worded
}

fn changes(request: &Request) -> bool {
    matches!(*request.method(), Method::POST | Method::DELETE | Method::PUT | Method::PATCH)
}

fn admitted(
    app: &App,
    security: &SecurityConfig,
    request: &Request,
    route: Option<&str>,
    origin_allowed: bool,
) -> Result<(), Fail> {
    let peer = request.extensions().get::<Peer>().map(|p| p.0.ip());
    if let Some(ip) = peer {
        app.presence.note(ip, request.headers());
    }
    known(security, request, route, origin_allowed)?;
    // Who stands for many is let through: what each of them starts is counted where it is known who it is.
    let many = request.extensions().get::<ForMany>().is_some();
    match peer.filter(|_| changes(request) && !many) {
        Some(ip) => limited(app, ip, None),
        None => Ok(()),
    }
}

/// Counts a request of a client, or of one of those for whom it asks.
pub fn limited(app: &App, client: IpAddr, session: Option<&str>) -> Result<(), Fail> {
    let most = app.settings().config.security.rate_limit_per_minute;
    app.rates
        .take(client, session, most, Instant::now())
        .map_err(|wait| Fail::new(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded").retry_after(wait))
}

/// Whether the request comes from a page that may send it, and shows the API key.
fn known(
    security: &SecurityConfig,
    request: &Request,
    route: Option<&str>,
    origin_allowed: bool,
) -> Result<(), Fail> {
    // CORS alone only keeps a foreign page from reading the answer, not from acting.
    if !origin_allowed && (changes(request) || route == Some("/ws/progress")) {
        return Err(foreign());
    }
    if !OPEN.contains(&route.unwrap_or_default()) && !shows_key(security, request) {
        return Err(Fail::new(StatusCode::UNAUTHORIZED, "Invalid or missing API key"));
    }
    Ok(())
}

/// Whether the request shows the API key, where there is one.
fn shows_key(security: &SecurityConfig, request: &Request) -> bool {
    let Some(key) = &security.api_key else { return true };
    let sent = request.headers().get("x-api-key").and_then(|v| v.to_str().ok()).map(String::from);
    let sent = sent.or_else(|| query::get(request.uri().query(), "api_key")).unwrap_or_default();
    key.reveal().as_bytes().ct_eq(sent.as_bytes()).into()
}

/// Whether the page that sent the request may use this server: all, those that are configured, and our own.
fn origin_allowed(security: &SecurityConfig, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let list = &security.allowed_origins;
    if list.is_empty() || list.iter().any(|o| o == "*" || o.as_bytes() == origin.as_bytes()) {
        return true;
    }
    let bare = origin.to_str().ok().and_then(|o| o.split_once("://")).map(|(_, host)| host.as_bytes());
    bare.is_some() && bare == headers.get(header::HOST).map(HeaderValue::as_bytes)
}

fn cross_origin(
    security: &SecurityConfig,
    headers: &mut HeaderMap,
    origin: Option<HeaderValue>,
    preflight: Option<HeaderValue>,
) {
    let open = security.allowed_origins.is_empty() || security.allowed_origins.iter().any(|o| o == "*");
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    if open || origin.is_some() {
        set(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        set(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        set(header::ACCESS_CONTROL_MAX_AGE, "600");
        set(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "Content-Length, Content-Range, Content-Disposition, Date, ETag, Location, Link, Accept-Patch, Retry-After, X-Playlist-Stale, X-Staleness-Seconds",
        );
        // Named ones are echoed: a star means nothing beside credentials.
        let named = preflight.unwrap_or(HeaderValue::from_static("*"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, named);
    }
    match origin {
        Some(origin) => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        None if open => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        None => {}
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}
