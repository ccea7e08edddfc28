//! `GET /live/streams`: what there is to watch, for the player page and whoever wants to know.

use super::keys::shown;
use super::registry::{Live, SLATE};
use super::service::LiveService;
use super::stream::Stream;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use ghoststream::packet::StreamInfo;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// All streams.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LiveOverview {
    /// The server's clock: seconds since 1970. With it a page can tell how late a picture is.
    pub now: f64,
    /// By name.
    pub streams: Vec<LiveLine>,
    /// Whether `POST /whip/{name}` is there.
    pub whip: bool,
    /// Whether publishers need a key.
    pub publish_key: bool,
}

/// A stream.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LiveLine {
    /// Its name.
    pub name: String,
    /// How it comes: `rtmp`, `whip`, `pull` …; null while nobody publishes it.
    pub protocol: Option<String>,
    /// Seconds since its publisher came.
    pub uptime: Option<f64>,
    /// What it carries; empty while nobody publishes it.
    pub tracks: Vec<LiveTrack>,
    /// Bits per second that come in.
    pub bitrate: f64,
    /// Who watches, by protocol: `http` for HLS and DASH.
    pub viewers: BTreeMap<String, u64>,
    /// Its HLS playlist, when it can be played or is fetched on demand.
    pub hls: Option<String>,
    /// Its DASH manifest, likewise.
    pub dash: Option<String>,
    /// Where a WHEP offer is posted.
    pub whep: Option<String>,
    /// Its newest key frame as a JPEG, where there are pictures.
    pub thumbnail: Option<String>,
}

/// A track of a stream.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LiveTrack {
    /// `video` or `audio`.
    pub kind: String,
    /// FFmpeg's name of the codec.
    pub codec: String,
    /// Pixels across.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Samples per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<u32>,
    /// Channels of sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<u32>,
    /// Packets (of video, frames) in the last second.
    pub rate: f64,
    /// Bits in the last second.
    pub bitrate: f64,
}

impl LiveTrack {
    fn new(info: &StreamInfo, (rate, bitrate): (f64, f64)) -> LiveTrack {
        LiveTrack {
            kind: info.kind.name().into(),
            codec: info.codec.name().into(),
            width: info.video.as_ref().map(|v| v.width),
            height: info.video.as_ref().map(|v| v.height),
            sample_rate: info.audio.as_ref().map(|a| a.sample_rate),
            channels: info.audio.as_ref().map(|a| a.layout.channels),
            rate,
            bitrate,
        }
    }
}

impl LiveService {
    /// All streams that who shows `key` may read, as they are now.
    pub fn overview(&self, key: Option<&str>) -> LiveOverview {
        let mut streams = self.streams().list();
        streams.retain(|stream| self.keys().may_read(stream.name(), key));
        LiveOverview {
            now: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64()),
            streams: streams.iter().map(|stream| self.line(self.streams(), stream)).collect(),
            whip: self.webrtc().is_some(),
            publish_key: self.keys().guards_publishing(),
        }
    }

    fn line(&self, live: &Live, stream: &Stream) -> LiveLine {
        let name = stream.name();
        let (stats, tracks) = (stream.stats(), stream.tracks());
        let publisher = live.publisher(name);
        let asked = self.managed().get(name).map(|view| view.request);
        let origin = self.origins().get(name).map(|o| o.stats()).filter(|s| s.ready && !s.ended);
        // Asking for one on demand is what starts it.
        let there = origin.is_some() || asked.as_ref().is_some_and(|r| r.on_demand.is_some());
        let (hls, dash) = asked.map_or((true, true), |r| (r.hls, r.dash));
        let dash = dash && self.origins().options().dash;
        let at = |there: bool, file: &str| there.then(|| format!("/streams/{name}/{file}"));
        let infos = tracks.as_ref().map(|t| t.streams.as_slice()).unwrap_or_default();
        let rates = stats.tracks.iter().map(|t| (t.rate, t.bitrate));
        let mut viewers: BTreeMap<String, u64> =
            live.viewers(name).into_iter().map(|(protocol, n)| (protocol.to_string(), n)).collect();
        if let Some(watching) = origin.as_ref().map(|o| o.viewers).filter(|n| *n > 0) {
            viewers.insert("http".into(), watching as u64);
        }
        LiveLine {
            uptime: publisher.as_ref().and_then(|p| p.since.elapsed().ok()).map(|d| d.as_secs_f64()),
            protocol: publisher.map(|p| if p.protocol == SLATE { "slate" } else { p.protocol }.to_string()),
            bitrate: stats.tracks.iter().map(|t| t.bitrate).sum(),
            viewers,
            hls: at(hls && there, "playlist.m3u8"),
            dash: at(dash && there, "manifest.mpd"),
            whep: (self.webrtc().is_some() && !infos.is_empty()).then(|| format!("/whep/{name}")),
            thumbnail: at(infos.iter().any(|i| i.video.is_some()), super::thumbnail::FILE),
            tracks: infos.iter().zip(rates).map(|(info, rate)| LiveTrack::new(info, rate)).collect(),
            name: name.into(),
        }
    }
}

/// The list's own route; who asks shows the reader's key where there is one.
pub fn router(service: LiveService) -> Router {
    async fn list(State(service): State<LiveService>, request: Request) -> Response {
        let key = shown(request.uri().query().unwrap_or_default());
        if !service.keys().may_list(key) {
            let why = serde_json::json!({ "detail": "a key is needed to read" });
            return (StatusCode::FORBIDDEN, Json(why)).into_response();
        }
        ([(header::CACHE_CONTROL, "no-store")], Json(service.overview(key))).into_response()
    }
    Router::new().route("/live/streams", get(list)).with_state(service)
}
