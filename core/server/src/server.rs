//! A server from its start to its end.

use crate::config::Config;
use crate::contract::service::Status;
use crate::discovery::{Advertisement, Discovery, Found, Hub, Reach, Settings as DiscoverySettings};
use crate::http::{self, App, Settings};
use crate::jobs::Jobs;
use crate::kafka::Kafka;
use crate::live::LiveService;
use crate::machine;
use crate::proxies::Proxies;
use crate::serve::{Limits, ended, serve};
use crate::tls::Tls;
use crate::token::Tokens;
use ghoststream::device::Devices;
use ghoststream::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// A running server. It lives in the tokio runtime in which it was started; end it with [`Server::shutdown`].
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    tls: Option<Tls>,
    proxies: Proxies,
    addresses: Vec<SocketAddr>,
    /// Where HTTPS is.
    secure: Vec<SocketAddr>,
    metrics: Vec<SocketAddr>,
    found: Arc<OnceLock<Found>>,
    end: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl Server {
    /// Binds, opens the jobs of earlier runs and serves. Call it within a tokio runtime with time and I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for settings that make no sense, [`ErrorKind::Busy`] when the port is taken,
    /// [`ErrorKind::Io`] and [`ErrorKind::Denied`] for addresses and directories that cannot be used.
    pub async fn start(config: Config) -> Result<Server> {
        config.check().map_err(|why| Error::new(ErrorKind::Invalid, why))?;
        let tls = Tls::open(&config.server)?;
        if config.hardware.vaapi_device != "auto" {
            // For what is told of this machine; workers are told by themselves.
            ghoststream::device::prefer_vaapi(Some(&config.hardware.vaapi_device));
        }
        let listeners = bind(&config.server.host, config.server.port).await?;
        let secure = match config.server.tls_port {
            Some(port) => bind(&config.server.host, port).await?,
            None => Vec::new(),
        };
        let figures = match config.server.metrics_port {
            Some(port) => bind(&config.server.host, port).await?,
            None => Vec::new(),
        };
        let addresses: Vec<SocketAddr> = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
        let state = config.state_directory();
        let ttl = config.security.job_token_ttl_seconds;
        let tokens = Tokens::open(&state, ttl).map_err(|e| system(&e, "security.state_directory"))?;
        let jobs = Jobs::open(&config).map_err(|why| Error::new(ErrorKind::Io, why))?;
        let (end, ending) = watch::channel(false);
        let (listed, devices) = watch::channel(None);
        let (told, status) = watch::channel(Status::default());
        let first = addresses.first().copied().unwrap_or((Ipv4Addr::LOCALHOST, config.server.port).into());
        let settings = Settings::new(config.clone());
        let limits = Limits {
            head_timeout: Duration::from_secs(config.server.request_timeout_seconds),
            connections: Arc::new(Semaphore::new(config.server.max_connections)),
            proxies: Proxies::new(&config.server.trusted_proxies),
        };
        let mut tasks = Vec::new();
        let live = match config.live.enabled {
            true => {
                let (live, its) = LiveService::start(&config, &limits, &ending).await?;
                tasks.extend(its);
                Some(live)
            }
            false => None,
        };
        let kafka = Kafka::start(&config, live.as_ref(), &jobs, &ending)?.map(|(kafka, its)| {
            tasks.extend(its);
            kafka
        });
        let app = App::new(
            jobs.clone(),
            tokens,
            settings,
            devices.clone(),
            status,
            ending.clone(),
            first,
            live,
            kafka,
        );

        let weak = Arc::downgrade(&app);
        jobs.describe_with(move |job| weak.upgrade().map(|app| app.described(job)).unwrap_or_default());
        let router = http::router(Arc::clone(&app));
        for listener in listeners {
            tasks.push(tokio::spawn(serve(listener, None, router.clone(), limits.clone(), ending.clone())));
        }
        let https: Vec<SocketAddr> = secure.iter().filter_map(|l| l.local_addr().ok()).collect();
        for address in &https {
            tracing::info!("listening on https://{address}");
        }
        for (listener, tls) in secure.into_iter().zip(std::iter::repeat(&tls).flatten()) {
            let acceptor = Some(tls.acceptor()?);
            tasks.push(tokio::spawn(serve(
                listener,
                acceptor,
                router.clone(),
                limits.clone(),
                ending.clone(),
            )));
        }
        let metrics: Vec<SocketAddr> = figures.iter().filter_map(|l| l.local_addr().ok()).collect();
        for listener in figures {
            let router = http::metrics_router(Arc::clone(&app));
            tasks.push(tokio::spawn(serve(listener, None, router, limits.clone(), ending.clone())));
        }
        for address in &metrics {
            tracing::info!("metrics: listening on http://{address}");
        }
        let hub = Arc::clone(&app);
        let events = jobs.events();
        let stop = ending.clone();
        tasks.push(tokio::spawn(async move { hub.hub.run(events, stop).await }));
        tokio::task::spawn_blocking(move || listed.send_replace(Some(Arc::new(ghoststream::device::list()))));
        tasks.push(tokio::spawn(machine::watch(Arc::clone(&app), told)));
        tasks.push(tokio::spawn(rotate(Arc::clone(&app))));
        let found = Arc::new(OnceLock::new());
        let by = Arc::clone(&found);
        tasks.push(tokio::spawn(discover(config, Arc::clone(&app), addresses.clone(), devices, ending, by)));
        for address in &addresses {
            tracing::info!("listening on http://{address}");
        }
        Ok(Server { app, tls, proxies: limits.proxies, addresses, secure: https, metrics, found, end, tasks })
    }

    /// The addresses that it listens on for HTTP, with the port that was chosen.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Takes over the settings that can change while it runs and says which keys of `config` need a restart. From now on tokens
    /// are signed with a new secret; those that are out stay valid for their time.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for settings that make no sense and a certificate that cannot be used; all of the old ones stay.
    /// A new secret that cannot be kept is no error: a warning says so, and the old one goes on signing.
    pub fn reload(&self, config: Config) -> Result<Vec<&'static str>> {
        config.check().map_err(|why| Error::new(ErrorKind::Invalid, why))?;
        // Settings that name no port for it any more need a restart; until then the certificate stays.
        let tls = self.tls.as_ref().filter(|_| config.server.tls_port.is_some());
        let certificate = tls.map(|tls| tls.read(&config.server)).transpose()?;
        // From here on nothing is refused.
        if let (Some(tls), Some(certificate)) = (tls, certificate) {
            tls.renew(certificate);
        }
        if let Err(e) = self.app.tokens.rotate() {
            tracing::warn!("{}; tokens are signed as before", system(&e, "security.state_directory"));
        }
        let old = self.app.settings();
        let (mut next, mut stuck) = (config, Vec::new());
        let mut keep = |name: &'static str, same: bool| {
            if !same {
                stuck.push(name);
            }
        };
        let (o, n) = (&old.config, &mut next);
        keep("server.host", o.server.host == n.server.host);
        keep("server.port", o.server.port == n.server.port);
        keep("server.tls_port", o.server.tls_port == n.server.tls_port);
        keep("server.metrics_port", o.server.metrics_port == n.server.metrics_port);
        keep("server.max_connections", o.server.max_connections == n.server.max_connections);
        let (was, is) = (&o.transcoding, &n.transcoding);
        keep("transcoding.temp_directory", was.temp_directory == is.temp_directory);
        keep("transcoding.worker_command", was.worker_command == is.worker_command);
        keep("transcoding.idle_workers", was.idle_workers == is.idle_workers);
        keep("hardware.vaapi_device", o.hardware.vaapi_device == n.hardware.vaapi_device);
        keep("live", o.live == n.live);
        keep("store", o.store == n.store);
        keep("mdns", o.mdns == n.mdns);
        keep("ghosthub", o.ghosthub == n.ghosthub);
        keep("security.state_directory", o.security.state_directory == n.security.state_directory);
        keep(
            "security.job_token_ttl_seconds",
            o.security.job_token_ttl_seconds == n.security.job_token_ttl_seconds,
        );
        keep("kafka", o.kafka == n.kafka);
        keep("logging.format", o.logging.format == n.logging.format);
        keep("logging.file", o.logging.file == n.logging.file);
        self.proxies.replace(&n.server.trusted_proxies);
        if let Some(live) = &self.app.live {
            live.side().replace(&n.security);
        }
        self.app.jobs.reload(n);
        self.app.replace(Settings::new(next));
        Ok(stuck)
    }

    /// Where it listens and what it does, as JSON.
    pub fn status(&self) -> Value {
        let stats = self.app.jobs.stats();
        let plain = self.addresses.iter().map(|a| format!("http://{a}"));
        let urls: Vec<String> = plain.chain(self.secure.iter().map(|a| format!("https://{a}"))).collect();
        json!({
            "addresses": self.addresses,
            "tls": self.secure,
            "urls": urls,
            "metrics": self.metrics,
            // Null until it is known what the machine can do, which is what others are told.
            "discovery": self.found.get(),
            "live": self.app.live.as_ref().map(|l| l.others().iter().copied().collect::<std::collections::BTreeMap<_, _>>()),
            "rtmp": self.app.live.as_ref().map(|l| l.rtmp().to_vec()).unwrap_or_default(),
            "rtsp": self.app.live.as_ref().map(|l| l.rtsp().to_vec()).unwrap_or_default(),
            "srt": self.app.live.as_ref().and_then(|l| l.srt()).map(|s| s.address()),
            "uptime_seconds": self.app.started.elapsed().as_secs_f64(),
            "active_jobs": stats.active,
            "queued_jobs": stats.queued,
            "version": ghoststream::VERSION,
        })
    }

    /// Ends it: no new connections, WebSockets are told, jobs are stopped so that the next start resumes them. Takes some
    /// seconds at most.
    pub async fn shutdown(self) {
        self.end.send_replace(true);
        for task in self.tasks {
            // A task that panicked has said so.
            let _said = task.await;
        }
        self.app.jobs.close().await;
    }
}

/// Listens on every address that `host` means.
pub(crate) async fn bind(host: &str, port: u16) -> Result<Vec<TcpListener>> {
    let bare = host.trim_matches(['[', ']']);
    let named = |e: &std::io::Error| system(e, &format!("listen on {host}:{port}"));
    let found = tokio::net::lookup_host((bare, port)).await.map_err(|e| named(&e))?;
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut chosen = port;
    let mut failed = None;
    for mut address in found {
        address.set_port(chosen);
        match listen(address) {
            Ok(listener) => {
                chosen = listener.local_addr().map_or(chosen, |a| a.port());
                listeners.push(listener);
            }
            // localhost is two addresses, and a machine may have only one of them.
            Err(e) => failed = Some(named(&e)),
        }
    }
    match (listeners.is_empty(), failed) {
        (false, _) => Ok(listeners),
        (true, Some(e)) => Err(e),
        (true, None) => Err(Error::new(ErrorKind::NotFound, format!("{host}: it has no address"))),
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address.ip() {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart does not wait for the connections of the run before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

fn system(e: &std::io::Error, what: &str) -> Error {
    let kind = match e.kind() {
        std::io::ErrorKind::AddrInUse => ErrorKind::Busy,
        std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Io,
    };
    Error::new(kind, format!("{what}: {e}"))
}

/// Replaces the secret that signs tokens when its time has come.
async fn rotate(app: Arc<App>) {
    let mut ending = app.ending.clone();
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(3600)) => {}
            () = ended(&mut ending) => return,
        }
        if let Err(e) = app.tokens.rotate_in_time() {
            tracing::warn!("the secret that signs tokens cannot be replaced: {e}");
        }
    }
}

/// Announces the server once it is known what it can do, until the end.
async fn discover(
    config: Config,
    app: Arc<App>,
    addresses: Vec<SocketAddr>,
    mut devices: watch::Receiver<Option<Arc<Devices>>>,
    mut ending: watch::Receiver<bool>,
    found: Arc<OnceLock<Found>>,
) {
    let known = tokio::select! {
        known = devices.wait_for(Option::is_some) => known.ok().and_then(|d| d.clone()),
        () = ended(&mut ending) => return,
    };
    let Some(devices) = known else { return };
    let secret = config.security.registration_secret.as_ref().map(|s| s.reveal().to_string());
    let signer = Arc::clone(&app);
    let hub = config.ghosthub.url.clone().filter(|_| config.ghosthub.auto_register).map(|url| Hub {
        url,
        interval: Duration::from_secs(config.ghosthub.register_interval_seconds),
        advertised_url: config.server.advertised_url.clone(),
        identity: Some(Arc::new(move || signer.tokens.node())),
        shared_secret: secret,
    });
    let (video_codecs, audio_codecs) = http::codecs(&devices);
    let advertisement = Advertisement {
        name: config.mdns.service_name.clone(),
        port: addresses.first().map_or(config.server.port, SocketAddr::port),
        hw_accels: http::accelerators(&devices),
        video_codecs,
        audio_codecs,
        max_jobs: u32::try_from(config.transcoding.max_concurrent_jobs).unwrap_or(u32::MAX),
        platform: http::platform(),
    };
    let settings = DiscoverySettings {
        reach: Reach::of(&addresses),
        mdns: config.mdns.enabled,
        udp: config.mdns.udp_enabled.then_some(config.mdns.udp_port),
        hub,
    };
    let discovery = Discovery::start(advertisement, settings).await;
    // It starts once.
    let _first = found.set(discovery.found().clone());
    ended(&mut ending).await;
    discovery.shutdown().await;
}
