//! The live origin as a whole: its listeners, and what follows when somebody publishes.

use super::keys::{Keys, shown};
use super::origin::{OriginOptions, Origins};
use super::registry::{Live, LiveEvent};
use super::rtmp::{self, RtmpOptions};
use super::webrtc::{WebRtc, WebRtcOptions};
use crate::config::{Config, LiveConfig};
use crate::serve::ended;
use crate::server::bind;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use ghoststream::Result;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A running live origin. Cheap to clone; it lives in the tokio runtime in which it was started.
#[derive(Clone, Debug)]
pub struct LiveService {
    live: Live,
    keys: Keys,
    rtmp: Vec<SocketAddr>,
    origins: Origins,
    webrtc: Option<WebRtc>,
}

impl LiveService {
    /// Binds the listeners of `config.live` and serves until `ending`. The tasks end soon after it.
    ///
    /// # Errors
    /// A port that cannot be listened on.
    pub async fn start(
        config: &Config,
        ending: &watch::Receiver<bool>,
    ) -> Result<(LiveService, Vec<JoinHandle<()>>)> {
        let settings = &config.live;
        let live = Live::new(settings.takeover, settings.max_streams);
        let keys = Keys { publish: settings.publish_key.clone(), read: settings.read_key.clone() };
        let mut tasks = Vec::new();
        let mut addresses = Vec::new();
        if let Some(port) = settings.rtmp_port {
            let options = RtmpOptions {
                connections: settings.max_connections,
                keys: keys.clone(),
                ..RtmpOptions::default()
            };
            for listener in bind(&config.server.host, port).await? {
                if let Ok(address) = listener.local_addr() {
                    tracing::info!("listening on rtmp://{address}");
                    addresses.push(address);
                }
                tasks.push(tokio::spawn(rtmp::serve(
                    listener,
                    live.clone(),
                    options.clone(),
                    ending.clone(),
                )));
            }
        }
        let webrtc = match settings.webrtc_port {
            Some(port) => {
                let options = WebRtcOptions {
                    bind: (address(&config.server.host), port).into(),
                    addresses: settings.webrtc_addresses.clone(),
                    sessions: settings.max_connections,
                    keys: keys.clone(),
                    ..WebRtcOptions::default()
                };
                let webrtc = WebRtc::start(live.clone(), options)?;
                tracing::info!("WebRTC at UDP {:?}", webrtc.addresses());
                Some(webrtc)
            }
            None => None,
        };
        let origins = Origins::new(options(settings));
        let service = LiveService { live, keys, rtmp: addresses, origins, webrtc };
        tasks.push(tokio::spawn(service.clone().package(ending.clone())));
        Ok((service, tasks))
    }

    /// Makes HLS and DASH of every stream that is published.
    async fn package(self, mut ending: watch::Receiver<bool>) {
        let mut events = self.live.events();
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = ended(&mut ending) => break,
            };
            match event {
                Ok(LiveEvent::Published { stream, .. }) => {
                    if let Some(stream) = self.live.get(&stream) {
                        self.origins.open(stream);
                    }
                }
                // What becomes of a stream without a publisher, its origin hears from the stream.
                Ok(LiveEvent::Unpublished { .. }) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    for stream in self.live.list().into_iter().filter(|s| s.tracks().is_some()) {
                        self.origins.open(stream);
                    }
                }
                Err(broadcast::error::RecvError::Closed) => break,
            }
        }
        for origin in self.origins.list() {
            self.origins.close(origin.name());
        }
        // Sessions end with their streams.
        for stream in self.live.list() {
            self.live.forget(stream.name());
        }
    }

    /// `/streams/…` (HLS, DASH), `/whip/…`, `/whep/…`.
    pub fn router(&self) -> Router {
        let keys = self.keys.clone();
        let guard = middleware::from_fn(move |request: Request, next: Next| {
            let keys = keys.clone();
            async move { guarded(&keys, request, next).await }
        });
        let router = self.origins.router().layer(guard);
        match &self.webrtc {
            Some(webrtc) => router.merge(webrtc.router()),
            None => router,
        }
    }

    /// HLS and DASH.
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// WebRTC, when it runs.
    pub fn webrtc(&self) -> Option<&WebRtc> {
        self.webrtc.as_ref()
    }

    /// All streams.
    pub fn streams(&self) -> &Live {
        &self.live
    }

    /// Who may publish and read.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Where RTMP is listened for.
    pub fn rtmp(&self) -> &[SocketAddr] {
        &self.rtmp
    }
}

/// The cookie that carries a reader's key from a playlist to the files that it names.
const COOKIE: &str = "gs_live_key=";

/// Lets through who shows the reader's key: in the address, or in the cookie that its first answer set.
async fn guarded(keys: &Keys, request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let asked = shown(query).map(String::from);
    let cookie = request
        .headers()
        .get_all("cookie")
        .iter()
        .filter_map(|v| v.to_str().ok())
        .find_map(|all| all.split(';').find_map(|one| one.trim().strip_prefix(COOKIE)).map(String::from));
    if !keys.may_read(asked.as_deref().or(cookie.as_deref())) {
        return (StatusCode::FORBIDDEN, axum::Json(json!({ "detail": "a key is needed to read" })))
            .into_response();
    }
    let mut response = next.run(request).await;
    let plain = |key: &&String| key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    if keys.read.is_some()
        && let Some(key) = asked.as_ref().filter(plain)
        && let Ok(value) = format!("{COOKIE}{key}; Path=/streams; HttpOnly; SameSite=Lax").parse()
    {
        response.headers_mut().append("set-cookie", value);
    }
    response
}

fn options(settings: &LiveConfig) -> OriginOptions {
    OriginOptions {
        segment: Duration::from_secs_f64(settings.segment_duration),
        part: Duration::from_secs_f64(settings.part_duration),
        playlist_size: settings.playlist_size,
        dvr: Duration::from_secs_f64(settings.dvr_seconds),
        low_latency: settings.low_latency,
        dash: settings.dash,
        ..OriginOptions::default()
    }
}

/// The address that `host` names, or all.
fn address(host: &str) -> IpAddr {
    match host.trim_matches(['[', ']']) {
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        host => host.parse().unwrap_or(if host.contains(':') {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        }),
    }
}
