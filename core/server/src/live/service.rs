//! The live origin as a whole: its listeners, and what follows when somebody publishes.

use self::fits::{Fits, For};
use super::connections::Connections;
use super::guard;
use super::hooks::Hooks;
use super::keys::Keys;
use super::origin::{OriginOptions, Origins, Shelf, answer, prepare};
use super::overview;
use super::pull::{PullEncode, PullSource, Slate, SlateSpec};
use super::push::{Push, PushTarget};
use super::recordings::RecordingRules;
use super::registry::{Live, LiveEvent};
use super::rest::{gstreamer, hls_dash, paths};
use super::rtmp::{self, RtmpOptions};
use super::rtsp::{self, RtspOptions};
use super::sessions;
use super::srt::{Srt, SrtOptions};
use super::stream::Stream;
use super::streams::{StreamRequest, Streams};
use super::thumbnail::{self, Thumbnails};
use super::transcode::{Transcode, TranscodeSpec, TranscodeStats};
use super::upload::{UploadOptions, Uploads};
use super::usage::Usage;
use super::webrtc::{WebRtc, WebRtcOptions};
use crate::config::{Config, LiveConfig, LiveSlate, LiveSource};
use crate::http::Side;
use crate::policy::SourcePolicy;
use crate::serve::{Limits, ended, serve};
use crate::server::bind;
use crate::store::Store;
use axum::Router;
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use ghoststream::{Error, Result};
use serde_json::json;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

mod fits;

/// How often it is looked for streams that are over.
const SWEEP: Duration = Duration::from_secs(1);
/// How often old recordings are looked for, at least.
const REMOVE: Duration = Duration::from_secs(30);
/// How long who asks for a stream that is fetched on demand waits for it.
const FETCH: Duration = Duration::from_secs(10);
/// How long the end of the server waits for what has to go to the object store.
const FINISH: Duration = Duration::from_secs(10);

/// A running live origin. Cheap to clone; it lives in the tokio runtime in which it was started.
#[derive(Clone, Debug)]
pub struct LiveService {
    live: Live,
    keys: Keys,
    rtmp: Vec<SocketAddr>,
    rtsp: Vec<SocketAddr>,
    others: Vec<(&'static str, SocketAddr)>,
    /// By RTMP and RTSP.
    connections: Connections,
    origins: Origins,
    uploads: Option<Uploads>,
    /// What is in the object store.
    shelf: Option<Shelf>,
    srt: Option<Srt>,
    webrtc: Option<WebRtc>,
    managed: Streams,
    thumbnails: Thumbnails,
    made: Arc<Mutex<HashMap<String, Made>>>,
    fits: Fits,
    ladder: Option<TranscodeSpec>,
    side: Side,
    usage: Usage,
    recordings: Option<RecordingRules>,
    /// Recordings of what is published.
    recorded: Arc<Mutex<HashMap<String, Recorder>>>,
    opened: Arc<watch::Sender<()>>,
}

/// What is made of a stream for its HLS and DASH.
#[derive(Debug)]
struct Made {
    of: Weak<Stream>,
    transcode: Transcode,
}

/// A recording of a stream that is published.
#[derive(Debug)]
struct Recorder {
    of: Weak<Stream>,
    /// Ends with it.
    _push: Push,
}

impl LiveService {
    /// Binds the listeners of `config.live` and serves until `ending`. The tasks end soon after it.
    ///
    /// # Errors
    /// A port that cannot be listened on; a ladder that makes no sense; a store that cannot be opened.
    pub async fn start(
        config: &Config,
        limits: &Limits,
        ending: &watch::Receiver<bool>,
    ) -> Result<(LiveService, Vec<JoinHandle<()>>)> {
        let settings = &config.live;
        let live = Live::new(settings.takeover, settings.max_streams);
        let security = &config.security;
        let secret = security.registration_secret.as_ref().or(security.api_key.as_ref());
        let keys = Keys::new(settings, Hooks::new(&settings.hooks, secret));
        let policy = SourcePolicy::new(&config.security.sources);
        let ladder = match settings.ladder.is_empty() {
            true => None,
            false => {
                let spec = TranscodeSpec::ladder(&settings.ladder)?;
                Some(TranscodeSpec { segment: settings.segment_duration, ..spec })
            }
        };
        if let Some(spill) = &settings.spill {
            prepare(spill).map_err(|e| Error::from(e).context(format!("live.spill: {}", spill.display())))?;
        }
        let kept = &config.store;
        let store = kept.url.is_some().then(|| Store::open(kept)).transpose()?;
        let shelf = store.clone().map(|store| Shelf::new(store, kept.live));
        let mut service = LiveService {
            managed: Streams::new(live.clone(), policy),
            thumbnails: Thumbnails::new(live.clone()),
            origins: Origins::over(options(settings), shelf.clone()),
            shelf,
            uploads: None,
            keys,
            rtmp: Vec::new(),
            rtsp: Vec::new(),
            others: Vec::new(),
            connections: Connections::default(),
            srt: None,
            webrtc: None,
            made: Arc::default(),
            fits: Fits::default(),
            ladder,
            side: Side::new(&config.security),
            usage: Usage::default(),
            recordings: settings
                .recordings
                .clone()
                .map(|root| RecordingRules::new(root, settings.record.clone())),
            recorded: Arc::default(),
            opened: Arc::default(),
            live,
        };
        if let Some(store) = store.filter(|_| kept.live) {
            tracing::info!("live streams go to {} too", store.label());
            service.uploads = Some(Uploads::new(store, UploadOptions::of(kept)));
        }
        let mut tasks = service.keys.hooks.start(&service.live, ending);
        if let Some(rules) = service.recordings.clone() {
            let mut ending = ending.clone();
            tasks.push(tokio::spawn(async move {
                ended(&mut ending).await;
                rules.close();
            }));
        }
        if let Some(port) = settings.rtmp_port {
            let options = RtmpOptions {
                connections: settings.max_connections,
                keys: service.keys.clone(),
                list: service.connections.clone(),
                ..RtmpOptions::default()
            };
            for listener in bind(&config.server.host, port).await? {
                if let Ok(address) = listener.local_addr() {
                    tracing::info!("listening on rtmp://{address}");
                    service.rtmp.push(address);
                }
                let live = service.live.clone();
                tasks.push(tokio::spawn(rtmp::serve(listener, live, options.clone(), ending.clone())));
            }
        }
        if let Some(port) = settings.rtsp_port {
            let options = RtspOptions {
                connections: settings.max_connections,
                keys: service.keys.clone(),
                list: service.connections.clone(),
                ..RtspOptions::default()
            };
            for listener in bind(&config.server.host, port).await? {
                if let Ok(address) = listener.local_addr() {
                    tracing::info!("listening on rtsp://{address}");
                    service.rtsp.push(address);
                }
                let live = service.live.clone();
                tasks.push(tokio::spawn(rtsp::serve(listener, live, options.clone(), ending.clone())));
            }
        }
        if let Some(port) = settings.srt_port {
            let options = SrtOptions {
                connections: settings.max_connections,
                latency: Duration::from_millis(settings.srt_latency_ms.into()),
                passphrase: settings.srt_passphrase.clone(),
                keys: service.keys.clone(),
                ..SrtOptions::new((address(&config.server.host), port).into())
            };
            let srt = Srt::start(service.live.clone(), options).map_err(|e| e.context("live.srt_port"))?;
            tracing::info!("listening on srt://{}", srt.address());
            service.srt = Some(srt.clone());
            let mut ending = ending.clone();
            tasks.push(tokio::spawn(async move {
                ended(&mut ending).await;
                // A thread that panicked has said so.
                let _said = tokio::task::spawn_blocking(move || srt.close()).await;
            }));
        }
        if let Some(port) = settings.webrtc_port {
            let (fitting, smaller) = (service.clone(), service.clone());
            let options = WebRtcOptions {
                bind: (address(&config.server.host), port).into(),
                addresses: settings.webrtc_addresses.clone(),
                sessions: settings.max_connections,
                keys: service.keys.clone(),
                fit: Some(Arc::new(move |name| fitting.fit(name, For::Browsers))),
                smaller: settings
                    .webrtc_adapt
                    .then(|| Arc::new(move |name: &str| smaller.fit(name, For::Narrow)) as _),
                ..WebRtcOptions::default()
            };
            let webrtc = WebRtc::start(service.live.clone(), options)?;
            tracing::info!("WebRTC at UDP {:?}", webrtc.addresses());
            service.webrtc = Some(webrtc);
        }
        let wanted = [
            ("hls_dash", settings.hls_dash_port),
            ("cdn", settings.cdn_port),
            ("gstreamer", settings.gstreamer_port),
        ];
        for (name, port) in wanted {
            let Some(port) = port else { continue };
            let router = match name {
                "hls_dash" => paths::service(
                    service
                        .files()
                        .merge(service.beside(hls_dash::router(service.clone()), true))
                        .merge(service.beside(hls_dash::extras(service.clone()), true)),
                ),
                "cdn" => {
                    let films = service.shelf.clone().map(|shelf| service.films(shelf));
                    let with_films = films.is_some();
                    let files = service.files().merge(films.unwrap_or_default());
                    paths::cdn(files.layer(middleware::map_response(cached)), with_films)
                }
                // Who shows its token needs no key.
                _ => service.beside(
                    gstreamer::router(service.clone(), settings.service_token.clone()),
                    settings.service_token.is_none(),
                ),
            };
            for listener in bind(&config.server.host, port).await? {
                if let Ok(address) = listener.local_addr() {
                    tracing::info!("{name}: listening on http://{address}");
                    service.others.push((name, address));
                }
                tasks.push(tokio::spawn(serve(
                    listener,
                    None,
                    router.clone(),
                    limits.clone(),
                    ending.clone(),
                )));
            }
        }
        let stale = Duration::from_secs_f64(settings.stale_threshold);
        let interval = Duration::from_secs_f64(settings.cleanup_interval);
        let events = service.live.events();
        tasks.push(tokio::spawn(service.clone().package(events, ending.clone())));
        tasks.push(tokio::spawn(service.clone().sweep(stale, interval, ending.clone())));
        for source in &settings.sources {
            service.fetch(source, 3.0 * settings.segment_duration)?;
        }
        let slates: Vec<Slate> =
            settings.slates.iter().map(|slate| service.stand_in(slate, settings)).collect::<Result<_>>()?;
        let mut over = ending.clone();
        tasks.push(tokio::spawn(async move {
            ended(&mut over).await;
            // Each waits for its thread.
            let _gone = tokio::task::spawn_blocking(move || drop(slates)).await;
        }));
        Ok((service, tasks))
    }

    /// Begins with a stream that the settings name. One on demand stays `least` seconds: players ask once a segment.
    fn fetch(&self, source: &LiveSource, least: f64) -> Result<()> {
        let wrong = |what: &str, why: String| {
            Error::invalid("live.sources", format!("{}: {what}: {why}", source.name))
        };
        let parsed =
            |what: &str, text: &str| PullSource::parse(text, source.repeat).map_err(|why| wrong(what, why));
        let request = StreamRequest {
            slate: source.slate.as_deref().map(|text| parsed("slate", text)).transpose()?,
            on_demand: source.on_demand.then(|| Duration::from_secs_f64(source.idle_timeout.max(least))),
            qualities: source.qualities.clone(),
            trusted: true,
            ..StreamRequest::new(&source.name, parsed("url", &source.url)?)
        };
        self.managed.create(request).map_err(|e| wrong("source", e.message().into()))?;
        self.managed.start(&source.name)
    }

    /// Shows something on a stream while who publishes it is away.
    fn stand_in(&self, slate: &LiveSlate, settings: &LiveConfig) -> Result<Slate> {
        let wrong = |why: &str| Error::invalid("live.slates", format!("{}: {why}", slate.stream));
        let spec = SlateSpec {
            source: PullSource::parse(&slate.url, true).map_err(|why| wrong(&format!("url: {why}")))?,
            after: Duration::from_secs_f64(slate.after),
            at_once: slate.at_once,
            // The operator's sources are not bound by the policy.
            policy: None,
            encode: PullEncode { segment: settings.segment_duration, ..PullEncode::default() },
        };
        Slate::start(&self.live, &slate.stream, spec).map_err(|e| wrong(e.message()))
    }

    /// Makes HLS and DASH of every stream that is published.
    async fn package(self, mut events: broadcast::Receiver<LiveEvent>, mut ending: watch::Receiver<bool>) {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = ended(&mut ending) => break,
            };
            match event {
                Ok(LiveEvent::Published { stream, .. }) => {
                    if let Some(stream) = self.live.get(&stream) {
                        self.record(&stream);
                        self.open(stream);
                    }
                }
                // What becomes of a stream without a publisher, its origin hears from the stream.
                Ok(LiveEvent::Unpublished { .. }) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    for stream in self.live.list().into_iter().filter(|s| s.tracks().is_some()) {
                        self.record(&stream);
                        self.open(stream);
                    }
                }
                Err(broadcast::error::RecvError::Closed) => break,
            }
        }
        for origin in self.origins.list() {
            self.origins.close(origin.name());
        }
        if let Some(uploads) = &self.uploads {
            uploads.finish(FINISH).await;
        }
        // Sessions end with their streams; dropping what is pulled waits for its threads.
        let all = tokio::task::spawn_blocking(move || {
            for view in self.managed.list() {
                self.managed.remove(&view.request.id);
            }
            for stream in self.live.list() {
                self.live.forget(stream.name());
            }
            let recorded = std::mem::take(&mut *lock(&self.recorded));
            drop(recorded);
            lock(&self.made).clear();
            self.fits.clear();
        });
        // A thread that panicked has said so.
        let _said = all.await;
    }

    /// Begins to record a stream, where everything is recorded.
    fn record(&self, stream: &Arc<Stream>) {
        let Some(recording) = self.recordings.as_ref().and_then(|rules| rules.of(stream.name())) else {
            return;
        };
        // A request may have asked for the same already.
        let same = |target: &PushTarget| matches!(target, PushTarget::Files(files) if files.directory == recording.directory);
        if self.managed.get(stream.name()).is_some_and(|view| view.request.targets.iter().any(same)) {
            return;
        }
        let mut recorded = lock(&self.recorded);
        if recorded.get(stream.name()).is_some_and(|r| std::ptr::eq(r.of.as_ptr(), Arc::as_ptr(stream))) {
            return;
        }
        match Push::record(stream, recording) {
            Ok(push) => {
                let recorder = Recorder { of: Arc::downgrade(stream), _push: push };
                let before = recorded.insert(stream.name().into(), recorder);
                drop(recorded);
                // Its thread is waited for.
                tokio::task::spawn_blocking(move || drop(before));
            }
            Err(e) => tracing::error!(stream = stream.name(), "cannot be recorded: {}", e.message()),
        }
    }

    /// The recordings of streams that are over.
    fn unrecorded(&self) -> Vec<Recorder> {
        let mut recorded = lock(&self.recorded);
        let gone = |(name, r): &(&String, &Recorder)| {
            self.live.get(name).is_none_or(|now| !std::ptr::eq(r.of.as_ptr(), Arc::as_ptr(&now)))
        };
        let names: Vec<String> = recorded.iter().filter(gone).map(|(name, _)| name.clone()).collect();
        names.iter().filter_map(|name| recorded.remove(name)).collect()
    }

    /// Begins to package a stream, transcoded if somebody wants it so.
    fn open(&self, stream: Arc<Stream>) {
        let name = stream.name().to_string();
        let asked = self.managed.get(&name).map(|view| view.request);
        let mut how = self.origins.options().clone();
        let spec = match &asked {
            Some(request) => {
                (how.low_latency, how.dash) =
                    (how.low_latency && request.low_latency, how.dash && request.dash);
                (how.hls, how.ts) = (request.hls, request.hls_ts.unwrap_or(how.ts));
                let segment = how.segment.as_secs_f64();
                request.transcode().ok().flatten().map(|spec| TranscodeSpec { segment, ..spec })
            }
            None => self.ladder.clone(),
        };
        let Some(spec) = spec else {
            self.packaged(stream, how);
            return;
        };
        let mut made = lock(&self.made);
        if made.get(&name).is_some_and(|m| std::ptr::eq(m.of.as_ptr(), Arc::as_ptr(&stream))) {
            return;
        }
        match Transcode::start(&stream, &spec) {
            Ok(transcode) => {
                self.packaged(transcode.stream().clone(), how);
                let before = made.insert(name, Made { of: Arc::downgrade(&stream), transcode });
                drop(made);
                // Its thread is waited for.
                tokio::task::spawn_blocking(move || drop(before));
            }
            Err(e) => tracing::error!(stream = name, "cannot be transcoded: {}", e.message()),
        }
    }

    fn packaged(&self, stream: Arc<Stream>, how: OriginOptions) {
        let origin = self.origins.open_with(stream, how);
        if let Some(uploads) = &self.uploads {
            uploads.open(&origin);
        }
        self.opened.send_replace(());
    }

    /// The stream `name` as WebRTC takes it, made from now on until nobody watches.
    fn fit(&self, name: &str, whom: For) -> Option<Arc<Stream>> {
        let stream = self.live.get(name)?;
        self.fits.of(&stream, whom, || match whom {
            For::Browsers => TranscodeSpec::webrtc(),
            For::Narrow => TranscodeSpec::smaller(self.ladder.as_ref().map_or(&[], |l| &l.rungs)),
        })
    }

    /// Asks for stream `name`, which is fetched on demand, and waits until it is packaged, or for [`FETCH`].
    async fn awaken(&self, name: &str) {
        let Some(stream) = self.live.get(name) else { return };
        let mut opened = self.opened.subscribe();
        let wait = async {
            while !self.origins.is_open(name) {
                // Else it could be let go before it has come.
                stream.ask();
                if let Ok(Err(_)) = tokio::time::timeout(SWEEP, opened.changed()).await {
                    return;
                }
            }
        };
        // Who has waited for nothing is told that there is nothing.
        let _late = tokio::time::timeout(FETCH, wait).await;
    }

    /// Lets go of what is made of streams that nobody wants now: who comes next finds them from their beginning.
    fn rest(&self) -> Vec<Transcode> {
        let waiting = self.managed.waiting();
        let mut made = lock(&self.made);
        let over = waiting.iter().filter_map(|name| made.remove(name)).map(|m| m.transcode).collect();
        drop(made);
        for name in waiting {
            self.origins.close(&name);
        }
        over
    }

    /// Takes out what is made of streams that are over, or for nobody.
    fn over(&self) -> Vec<Transcode> {
        let gone = |of: &Weak<Stream>, name: &str| {
            self.live.get(name).is_none_or(|now| !std::ptr::eq(of.as_ptr(), Arc::as_ptr(&now)))
        };
        let mut over: Vec<Transcode> = Vec::new();
        let mut made = lock(&self.made);
        let names: Vec<String> =
            made.iter().filter(|(n, m)| gone(&m.of, n)).map(|(n, _)| n.clone()).collect();
        over.extend(names.iter().filter_map(|n| made.remove(n)).map(|m| m.transcode));
        drop(made);
        over.extend(self.fits.over(gone));
        over
    }

    /// Ends what is made of streams that are over, and streams that nobody cares for.
    async fn sweep(self, stale: Duration, interval: Duration, mut ending: watch::Receiver<bool>) {
        let (mut looked, mut removed) = (Instant::now(), Instant::now());
        loop {
            tokio::select! {
                () = tokio::time::sleep(SWEEP.min(interval)) => {}
                () = ended(&mut ending) => return,
            }
            self.managed.observe();
            let mut over = self.over();
            over.extend(self.rest());
            let unrecorded = self.unrecorded();
            let clean = !stale.is_zero() && looked.elapsed() >= interval;
            if clean {
                looked = Instant::now();
            }
            let managed = self.managed.clone();
            let rules = self.recordings.clone().filter(|_| removed.elapsed() >= REMOVE.min(interval));
            if rules.is_some() {
                removed = Instant::now();
            }
            let work = tokio::task::spawn_blocking(move || {
                drop((over, unrecorded));
                if let Some(rules) = rules {
                    rules.sweep();
                }
                if clean {
                    for id in managed.sweep(stale) {
                        tracing::info!(stream = id, "stopped: no heartbeat for {} s", stale.as_secs());
                    }
                }
            });
            // A thread that panicked has said so.
            let _said = work.await;
        }
    }

    /// What players and publishers use, who show the live origin's keys: `/streams/…` (HLS, DASH, thumbnails),
    /// `/live/streams`, `/live/sessions`, `/recordings/…`, `/whip/…`, `/whep/…`.
    pub fn router(&self) -> Router {
        let mut router =
            self.files().merge(overview::router(self.clone())).merge(sessions::router(self.clone()));
        if let Some(shelf) = &self.shelf {
            router = router.merge(self.films(shelf.clone()));
        }
        if let Some(rules) = &self.recordings {
            let recordings = rules.played().router();
            router = router.merge(guard::keyed(recordings, &self.keys, guard::RECORDINGS));
        }
        match &self.webrtc {
            Some(webrtc) => router.merge(self.counted(webrtc.router())),
            None => router,
        }
    }

    /// The films of the object store, for who shows the reader's key.
    fn films(&self, shelf: Shelf) -> Router {
        let file = move |Path(path): Path<String>, headers: HeaderMap| async move {
            shelf.film(&path, &headers).await
        };
        let file = axum::routing::get(file).options(async || answer::preflight());
        guard::keyed(Router::new().route("/films/{*path}", file), &self.keys, guard::FILMS)
    }

    /// WebRTC's routes, whose requests are counted.
    fn counted(&self, router: Router) -> Router {
        let usage = self.usage.clone();
        router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let usage = usage.clone();
            async move {
                let (method, path) = (request.method().clone(), request.uri().path().to_string());
                let response = next.run(request).await;
                usage.signalled(&method, &path, response.status());
                response
            }
        }))
    }

    /// Routes of another listener than the main one, with what stands before them.
    fn beside(&self, router: Router, keyed: bool) -> Router {
        let side = self.side.clone();
        router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let side = side.clone();
            async move { side.pass(keyed, request, next).await }
        }))
    }

    /// What stands before the other listeners.
    pub(crate) fn side(&self) -> &Side {
        &self.side
    }

    /// What the process uses.
    pub(super) fn usage(&self) -> &Usage {
        &self.usage
    }

    /// `/streams`: the way to ask for streams.
    pub fn control(&self) -> Router {
        self.beside(hls_dash::router(self.clone()), true)
    }

    /// HLS and DASH, for who shows the reader's key.
    fn files(&self) -> Router {
        let service = self.clone();
        let guard = middleware::from_fn(move |request: Request, next: Next| {
            let service = service.clone();
            async move { service.guarded(request, next).await }
        });
        let thumbnails = self.thumbnails.clone();
        let pictures = middleware::from_fn(move |request: Request, next: Next| {
            let thumbnails = thumbnails.clone();
            async move { pictured(&thumbnails, request, next).await }
        });
        self.origins.router().layer(pictures).layer(guard)
    }

    /// Lets through who shows the reader's key: in the address, or in the cookie that its first answer set. Every file of every
    /// viewer comes by here.
    async fn guarded(&self, request: Request, next: Next) -> Response {
        let path = request.uri().path().trim_start_matches("/streams/").to_string();
        if let Some((name, file)) = path.rsplit_once('/')
            && guard::allowed(&self.keys, guard::STREAMS, &request)
        {
            let (hls, dash) = (file.ends_with(".m3u8"), file.ends_with(".mpd"));
            let asked = (hls || dash).then(|| self.managed.get(name)).flatten();
            if hls && asked.as_ref().is_some_and(|view| !view.request.hls) {
                let why = json!({ "detail": "Stream not found", "reason": "this stream was asked for without HLS" });
                return (StatusCode::NOT_FOUND, axum::Json(why)).into_response();
            }
            // What other nodes wrote into the store is asked for as well.
            if self.keys.hooks.any()
                && (self.live.get(name).is_some() || self.shelf.is_some())
                && let Err(refused) = guard::visit(&self.keys.hooks, &self.live, name, &request).await
            {
                return refused;
            }
            if asked.is_some_and(|view| view.request.on_demand.is_some()) {
                self.awaken(name).await;
            }
        }
        guard::let_in(&self.keys, guard::STREAMS, request, next).await
    }

    /// All streams.
    pub fn streams(&self) -> &Live {
        &self.live
    }

    /// How many streams more there may be.
    pub fn room(&self) -> usize {
        self.live.room()
    }

    /// Those that clients asked for.
    pub fn managed(&self) -> &Streams {
        &self.managed
    }

    /// Who may publish and read.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// HLS and DASH.
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// What goes to the object store, when there is one.
    pub fn uploads(&self) -> Option<&Uploads> {
        self.uploads.as_ref()
    }

    /// Connections by RTMP and RTSP.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// SRT, when it runs.
    pub fn srt(&self) -> Option<&Srt> {
        self.srt.as_ref()
    }

    /// WebRTC, when it runs.
    pub fn webrtc(&self) -> Option<&WebRtc> {
        self.webrtc.as_ref()
    }

    /// Where RTMP is listened for.
    pub fn rtmp(&self) -> &[SocketAddr] {
        &self.rtmp
    }

    /// Where RTSP is listened for.
    pub fn rtsp(&self) -> &[SocketAddr] {
        &self.rtsp
    }

    /// The other listeners by what they are for: `hls_dash`, `cdn`, `gstreamer`.
    pub fn others(&self) -> &[(&'static str, SocketAddr)] {
        &self.others
    }

    /// Where streams may be recorded.
    pub fn recordings(&self) -> Option<&RecordingRules> {
        self.recordings.as_ref()
    }

    /// Encoders by stream.
    pub fn transcodes(&self) -> Vec<(String, TranscodeStats)> {
        let made = lock(&self.made);
        made.iter().map(|(name, made)| (name.clone(), made.transcode.stats())).collect()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a cache in front of the CDN's port may keep: files are never changed, playlists are asked for every second.
async fn cached(mut response: Response) -> Response {
    let headers = response.headers();
    let kind = headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
    // What waited for the next part says itself how long it is good for.
    let waited =
        headers.get("cache-control").is_some_and(|v| v.as_bytes().starts_with(b"max-age=1") && v.len() > 9);
    let text = match response.status().is_success() {
        true if kind.contains("mpegurl") || kind.contains("dash+xml") => (!waited).then_some("max-age=1"),
        // A thumbnail changes under its name.
        true if kind == "image/jpeg" => Some("max-age=4"),
        true => Some("public, max-age=31536000, immutable"),
        false => None,
    };
    if let Some(text) = text {
        response.headers_mut().insert("cache-control", axum::http::HeaderValue::from_static(text));
    }
    response
}

/// A stream's thumbnail lies beside its files.
async fn pictured(thumbnails: &Thumbnails, request: Request, next: Next) -> Response {
    let stream = request.uri().path().strip_prefix("/streams/").and_then(|path| path.rsplit_once('/'));
    let gets = matches!(*request.method(), Method::GET | Method::HEAD);
    match stream {
        Some((name, thumbnail::FILE)) if gets => thumbnails.answer(name, request.headers()).await,
        _ => next.run(request).await,
    }
}

fn options(settings: &LiveConfig) -> OriginOptions {
    OriginOptions {
        segment: Duration::from_secs_f64(settings.segment_duration),
        part: Duration::from_secs_f64(settings.part_duration),
        playlist_size: settings.playlist_size,
        dvr: Duration::from_secs_f64(settings.dvr_seconds),
        low_latency: settings.low_latency,
        dash: settings.dash,
        ts: settings.hls_ts,
        spill: settings.spill.clone(),
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
