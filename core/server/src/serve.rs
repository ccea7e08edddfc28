//! Connections: accepted up to a limit, with time limits for request heads, and ended in order.

use crate::http::query;
use crate::priority::{Order, Priority};
use crate::proxies::Proxies;
use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use axum::http::{HeaderValue, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use serde_json::json;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// How long connections may take to end when the server does.
const FAREWELL: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD: usize = 64 << 10;
/// Bytes of a response that may wait in HTTP/2's queue, where nothing overtakes them.
const QUEUE: usize = 128 << 10;

/// Waits for the server's end.
pub async fn ended(ending: &mut watch::Receiver<bool>) {
    // An error means that the server is gone, which is an end too.
    drop(ending.wait_for(|e| *e).await);
}

/// Limits of connections.
#[derive(Clone)]
pub struct Limits {
    /// For a request's head.
    pub head_timeout: Duration,
    /// Open at once, over all listeners.
    pub connections: Arc<Semaphore>,
    /// Who is believed to ask for others.
    pub proxies: Proxies,
}

/// Serves until `ending` says so, then lets connections finish for some seconds. With `tls` connections are HTTPS.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: Limits,
    mut ending: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        // Those that are done make room.
        while connections.try_join_next().is_some() {}
        let permit = tokio::select! {
            permit = Arc::clone(&limits.connections).acquire_owned() => permit,
            () = ended(&mut ending) => break,
        };
        // The semaphore is never closed.
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ended(&mut ending) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Playlists are small and waited for.
                let _only_slower = stream.set_nodelay(true);
                let (router, timeout, ending) = (router.clone(), limits.head_timeout, ending.clone());
                let who = Who { peer, proxies: limits.proxies.clone() };
                let tls = tls.clone();
                connections.spawn(async move {
                    match tls {
                        None => one(stream, false, who, router, timeout, ending).await,
                        Some(tls) => match tokio::time::timeout(timeout, tls.accept(stream)).await {
                            Ok(Ok(stream)) => one(stream, true, who, router, timeout, ending).await,
                            Ok(Err(e)) => tracing::debug!(%peer, "TLS: {e}"),
                            Err(_) => tracing::debug!(%peer, "TLS: the handshake took too long"),
                        },
                    }
                    drop(permit);
                });
            }
            Err(e) => {
                // Out of files, or the client was gone: neither ends the server.
                tracing::warn!("accept: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(FAREWELL, all).await.is_err() {
        tracing::info!("{} connections did not end in time", connections.len());
    }
}

/// Who is connected, and whom he may speak for.
struct Who {
    peer: SocketAddr,
    proxies: Proxies,
}

async fn one(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    secure: bool,
    who: Who,
    router: Router,
    head_timeout: Duration,
    mut ending: watch::Receiver<bool>,
) {
    let Who { peer, proxies } = who;
    let order = Order::default();
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let ordered = request.version() == Version::HTTP_2;
        let place = ordered.then(|| order.enter(Priority::of(request.headers())));
        let mut request = request.map(Body::new);
        let (asker, many) = proxies.asker(peer, request.headers());
        request.extensions_mut().insert(asker);
        if let Some(many) = many {
            request.extensions_mut().insert(many);
        }
        // HTTP/2 has the host in the address only.
        let host = request.uri().authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
        if let (false, Some(host)) = (request.headers().contains_key(HOST), host) {
            request.headers_mut().insert(HOST, host);
        }
        if secure {
            request.headers_mut().insert("x-forwarded-proto", HeaderValue::from_static("https"));
        }
        // Its escapes may mean bytes that are no text.
        let readable = query::decoded(request.uri().path()).is_some();
        let answered = router.clone().oneshot(request);
        async move {
            let answer = answered.await?;
            let answer = if readable { answer } else { worded(answer) };
            Ok::<_, Infallible>(match place {
                Some(place) => answer.map(|body| place.send(body)),
                None => answer,
            })
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head_timeout).max_buf_size(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD as u32)
        .max_concurrent_streams(128)
        .max_send_buf_size(QUEUE)
        .keep_alive_interval(Some(Duration::from_secs(30)));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = ended(&mut ending) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = outcome {
        tracing::debug!(%peer, "connection: {e}");
    }
}

/// What the router says to a path that no handler can read, in the shape of all other errors.
fn worded(answer: Response) -> Response {
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if answer.status() != StatusCode::BAD_REQUEST || kind.starts_with("application/json") {
        return answer;
    }
    let mut worded = (StatusCode::BAD_REQUEST, Json(json!({ "detail": "Invalid path" }))).into_response();
    for (name, value) in answer.headers() {
        if *name != CONTENT_TYPE && *name != CONTENT_LENGTH {
            worded.headers_mut().append(name, value.clone());
        }
    }
    worded
}
