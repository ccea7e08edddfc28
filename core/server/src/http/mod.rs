//! The HTTP surface: routes of both wire generations, in front of [`Jobs`].

mod access;
mod answer;
mod docs;
mod files;
mod held;
mod hub;
mod jobs;
mod metrics;
mod page;
pub(crate) mod playlist;
mod presence;
pub(crate) mod query;
pub(crate) mod range;
mod rates;
mod service;
mod ws;

pub(crate) use access::Side;
pub use docs::openapi;
pub(crate) use held::Held;
use hub::Hub;
pub(crate) use service::{available as accelerators, codecs, platform};

use crate::config::Config;
use crate::contract::service::Status;
use crate::jobs::{JobView, Jobs};
use crate::kafka::Kafka;
use crate::live::LiveService;
use crate::policy::SourcePolicy;
use crate::token::{Denied, Scope, Tokens};
use answer::{Answer, Fail};
use axum::Router;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware;
use axum::routing::{any, delete, get, post};
use ghoststream::device::Devices;
use metrics::Metrics;
use presence::Presence;
use rates::Rates;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;
use tokio::sync::watch;

/// Settings and what is made of them once.
pub(crate) struct Settings {
    pub config: Config,
    pub policy: SourcePolicy,
}

impl Settings {
    pub fn new(config: Config) -> Arc<Settings> {
        Arc::new(Settings { policy: SourcePolicy::new(&config.security.sources), config })
    }
}

/// What all requests share.
pub(crate) struct App {
    pub jobs: Jobs,
    pub tokens: Tokens,
    pub hub: Hub,
    pub metrics: Metrics,
    pub presence: Presence,
    /// Segments in memory.
    held: Held,
    rates: Rates,
    settings: RwLock<Arc<Settings>>,
    /// What the machine can do; `None` until it was found out.
    pub devices: watch::Receiver<Option<Arc<Devices>>>,
    /// How the machine is doing.
    pub machine: watch::Receiver<Status>,
    /// True when the server ends.
    pub ending: watch::Receiver<bool>,
    pub started: Instant,
    address: SocketAddr,
    /// The live origin, when it runs.
    pub live: Option<LiveService>,
    /// Kafka, when there are brokers in the settings.
    pub kafka: Option<Kafka>,
}

impl App {
    #[expect(clippy::too_many_arguments, reason = "called once; each is one of the server's parts")]
    pub fn new(
        jobs: Jobs,
        tokens: Tokens,
        settings: Arc<Settings>,
        devices: watch::Receiver<Option<Arc<Devices>>>,
        machine: watch::Receiver<Status>,
        ending: watch::Receiver<bool>,
        address: SocketAddr,
        live: Option<LiveService>,
        kafka: Option<Kafka>,
    ) -> Arc<App> {
        Arc::new(App {
            jobs,
            tokens,
            hub: Hub::default(),
            metrics: Metrics::default(),
            presence: Presence::default(),
            held: Held::default(),
            rates: Rates::default(),
            settings: RwLock::new(settings),
            devices,
            machine,
            ending,
            started: Instant::now(),
            address,
            live,
            kafka,
        })
    }

    /// The settings of this moment.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other settings from now on.
    pub fn replace(&self, settings: Arc<Settings>) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Whether the request carries a token for `scope` on the job, if tokens are required.
    fn allow(&self, job: &str, scope: Scope, headers: &HeaderMap, uri: &Uri) -> Answer<()> {
        if !self.settings().config.security.require_job_tokens {
            return Ok(());
        }
        let header = |name| headers.get(name).and_then(|v| v.to_str().ok()).map(String::from);
        let token = match scope {
            Scope::Control => header("x-ghoststream-control-token"),
            Scope::Stream => query::get(uri.query(), "gst")
                .or_else(|| header("x-ghoststream-stream-token"))
                .or_else(|| header("x-ghoststream-control-token")),
        };
        let denied = |why: Denied| Fail::new(StatusCode::FORBIDDEN, why.to_string());
        self.tokens.check(token.as_deref(), job, scope).map_err(denied)?;
        // A token was only ever given for a job that was there.
        if self.jobs.get(job).is_none() { Err(denied(Denied::Revoked)) } else { Ok(()) }
    }

    /// `http://host:port` (`https` over TLS, here or at a proxy that says so) as the client reaches this server.
    fn base(&self, headers: &HeaderMap) -> String {
        if let Some(url) = &self.settings().config.server.advertised_url {
            return url.trim_end_matches('/').into();
        }
        let host = headers.get("host").and_then(|v| v.to_str().ok());
        let plain = |h: &&str| {
            !h.is_empty() && h.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]%".contains(&b))
        };
        let scheme = match headers.get("x-forwarded-proto").is_some_and(|p| p == "https") {
            true => "https",
            false => "http",
        };
        match host.filter(plain) {
            Some(host) => format!("{scheme}://{host}"),
            None => format!("http://{}", self.reachable()),
        }
    }

    /// An address that other machines can use: a server that listens everywhere has none of its own.
    fn reachable(&self) -> SocketAddr {
        if !self.address.ip().is_unspecified() {
            return self.address;
        }
        // Asks the routing table; nothing is sent.
        let probe = || -> std::io::Result<SocketAddr> {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
            socket.local_addr()
        };
        let ip = probe().map_or(Ipv4Addr::LOCALHOST.into(), |a| a.ip());
        (ip, self.address.port()).into()
    }

    /// A job as a callback is told: the answer to its start.
    pub fn described(&self, job: &JobView) -> serde_json::Value {
        serde_json::to_value(jobs::response(self, job, &self.base(&HeaderMap::new()))).unwrap_or_default()
    }
}

/// What the metrics port has: figures at both paths where they were, and health. No key is needed.
pub(crate) fn metrics_router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(metrics::show))
        .route("/metrics", get(metrics::show))
        .route("/health", get(service::health))
        .fallback(async || Fail::not_found("Not Found"))
        .with_state(app)
}

/// All routes, with what stands before and behind them.
pub(crate) fn router(app: Arc<App>) -> Router {
    let live = app.live.as_ref().map(LiveService::router).unwrap_or_default();
    let control = app.live.as_ref().map(LiveService::control).unwrap_or_default();
    Router::new()
        .route("/", get(page::index))
        .route("/live", get(page::live))
        .route("/page/{name}", get(page::asset))
        .route("/health", get(service::health))
        .route("/api/health", get(service::health))
        .route("/api/health/detailed", get(service::detailed))
        .route("/api/ready", get(service::ready))
        .route("/api/live", get(service::live))
        .route("/capabilities", get(service::capabilities))
        .route("/api/capabilities", get(service::capabilities))
        .route("/api/stats", get(service::stats))
        .route("/api/status", get(service::status))
        .route("/api/clients", get(service::clients))
        .route("/api/logs", get(service::logs))
        .route("/api/cleanup/stats", get(service::cleanup_stats))
        .route("/api/cleanup/run", post(service::cleanup_run))
        .route("/api/streams/shared", get(service::shared))
        .route("/transcode", post(jobs::start))
        .route("/api/transcode/start", post(jobs::start))
        .route("/api/transcode/jobs", get(jobs::list))
        .route("/transcode/{id}", get(jobs::status).delete(jobs::cancel))
        .route("/api/transcode/{id}", delete(jobs::remove))
        .route("/api/transcode/{id}/status", get(jobs::status))
        .route("/api/transcode/{id}/cancel", post(jobs::cancel))
        .route("/api/transcode/{id}/stream", get(jobs::stream))
        .route("/api/transcode/{id}/leave", post(jobs::leave))
        .route("/stream/{id}/{*path}", get(files::stream))
        .route("/download/{id}", get(files::download))
        .route("/ws/progress", any(ws::progress))
        .route("/metrics", get(metrics::show))
        .route("/openapi.json", get(docs::document))
        .route("/docs", get(docs::page))
        .route("/redoc", get(docs::page))
        .fallback(async || Fail::not_found("Not Found"))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), access::gate))
        .with_state(app)
        .merge(control)
        // Players of live streams show the live origin's keys.
        .merge(live)
}
