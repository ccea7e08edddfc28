//! How clients find this server: mDNS, a UDP responder, and registration with a GhostHub. Each works without the others;
//! one that cannot run says so in the log and takes nothing else down.

mod ghosthub;
mod mdns;
mod udp;

pub use ghosthub::{Hub, Identity};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The version that clients are told; the field has been frozen at this since the first release, and they compare it.
const PROTOCOL_VERSION: &str = "1.0.0";

/// What this server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertisement {
    /// The service's name for people.
    pub name: String,
    /// The HTTP port.
    pub port: u16,
    /// Kinds of encoders that work here, best first (`nvenc` … `software`).
    pub hw_accels: Vec<String>,
    /// Video codecs that can be made (`h264`, `h265`, `vp9`, `av1`).
    pub video_codecs: Vec<String>,
    /// Audio codecs that can be made.
    pub audio_codecs: Vec<String>,
    /// Jobs at once.
    pub max_jobs: u32,
    /// Operating system and its version.
    pub platform: String,
}

/// Which addresses the server listens on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Families {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// Both.
    #[default]
    Both,
}

impl Families {
    /// Those of `host`, the address that a server binds: `::` takes both on Linux, and a name may have both.
    pub fn of(host: &str) -> Families {
        match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => Families::V4,
            Ok(IpAddr::V6(ip)) if !ip.is_unspecified() => Families::V6,
            _ => Families::Both,
        }
    }

    /// Where a responder listens at `port` for all of them.
    pub fn anywhere(self, port: u16) -> SocketAddr {
        match self {
            Families::V4 => (Ipv4Addr::UNSPECIFIED, port).into(),
            // IPv4 arrives there too.
            Families::V6 | Families::Both => (Ipv6Addr::UNSPECIFIED, port).into(),
        }
    }
}

/// What is to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which addresses are announced.
    pub families: Families,
    /// Announce over mDNS.
    pub mdns: bool,
    /// Where the UDP responder listens; none without an address.
    pub udp: Vec<SocketAddr>,
    /// Register with this GhostHub.
    pub hub: Option<Hub>,
}

/// The port of the UDP responder that clients ask.
pub const UDP_PORT: u16 = 8766;

/// Discovery while it runs.
pub struct Discovery {
    mdns: Option<mdns::Announcement>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    udp: Vec<SocketAddr>,
}

impl Discovery {
    /// Starts what `settings` name. Must be called within a tokio runtime. What does not start is logged and left out.
    pub async fn start(advertisement: Advertisement, settings: Settings) -> Discovery {
        let (stop, stopped) = watch::channel(false);
        let mut discovery = Discovery { mdns: None, stop, tasks: Vec::new(), udp: Vec::new() };
        if settings.mdns {
            match mdns::Announcement::new(&advertisement, settings.families) {
                Ok(announcement) => discovery.mdns = Some(announcement),
                Err(e) => tracing::warn!("mDNS: {e}; clients on the network have to be given the address"),
            }
        }
        for address in settings.udp {
            match udp::Responder::bind(address, &advertisement).await {
                Ok(responder) => {
                    discovery.udp.extend(responder.address());
                    discovery.tasks.push(tokio::spawn(responder.run(stopped.clone())));
                }
                Err(e) => tracing::warn!("UDP discovery on {address}: {e}"),
            }
        }
        if let Some(hub) = settings.hub {
            let registration = ghosthub::Registration::new(hub, advertisement);
            discovery.tasks.push(tokio::spawn(registration.run(stopped)));
        }
        discovery
    }

    /// The addresses that the UDP responder really listens on.
    pub fn udp(&self) -> &[SocketAddr] {
        &self.udp
    }

    /// Says good-bye to the network and to the GhostHub; takes a few seconds at most.
    pub async fn shutdown(mut self) {
        let _nobody_listens_when_all_tasks_ended = self.stop.send(true);
        if let Some(mdns) = self.mdns.take() {
            mdns.withdraw().await;
        }
        for task in self.tasks.drain(..) {
            if let Err(e) = task.await {
                tracing::warn!("discovery: {e}");
            }
        }
    }
}
