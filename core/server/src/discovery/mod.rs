//! How clients find this server: mDNS, a UDP responder, and registration with a GhostHub. Each works without the others;
//! one that cannot run says so in the log and takes nothing else down.

mod ghosthub;
mod mdns;
mod udp;

pub use ghosthub::{Hub, Identity, Signer};

use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::UdpSocket;
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

/// Where the server listens, and so where it is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// On every IPv4 address.
    V4,
    /// On every address.
    Both,
    /// On these alone.
    Only(Vec<IpAddr>),
}

impl Reach {
    /// Of a server that is bound to `addresses`: `::` takes both families on Linux.
    pub fn of(addresses: &[SocketAddr]) -> Reach {
        let everywhere = |v6: bool| addresses.iter().any(|a| a.ip().is_unspecified() && a.is_ipv6() == v6);
        match (everywhere(false), everywhere(true)) {
            (_, true) => Reach::Both,
            (true, false) => Reach::V4,
            (false, false) => Reach::Only(addresses.iter().map(SocketAddr::ip).collect()),
        }
    }

    /// Where a responder hears at `port`, and for each of them the address of the one that speaks for it, if it is another:
    /// who asks everybody is answered from where the server is.
    fn ears(&self, port: u16) -> Vec<(SocketAddr, Option<SocketAddr>)> {
        match self {
            Reach::V4 => vec![((Ipv4Addr::UNSPECIFIED, port).into(), None)],
            // IPv4 arrives there too.
            Reach::Both => vec![((Ipv6Addr::UNSPECIFIED, port).into(), None)],
            Reach::Only(all) => {
                let own = all.iter().map(|ip| ((*ip, port).into(), None));
                let first = all.iter().find(|ip| ip.is_ipv4() && !ip.is_loopback());
                let everybody =
                    first.map(|ip| ((Ipv4Addr::BROADCAST, port).into(), Some((*ip, port).into())));
                own.chain(everybody).collect()
            }
        }
    }
}

/// What is to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which addresses are announced, and answer.
    pub reach: Reach,
    /// Announce over mDNS.
    pub mdns: bool,
    /// The port of the UDP responder, if it is to run.
    pub udp: Option<u16>,
    /// Register with this GhostHub.
    pub hub: Option<Hub>,
}

/// The port of the UDP responder that clients ask.
pub const UDP_PORT: u16 = 8766;

/// By what others find this server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// It is announced over mDNS.
    pub mdns: bool,
    /// Where the UDP responder really listens.
    pub udp: Vec<SocketAddr>,
    /// What was asked for and is not, or not quite, as it should be, in words.
    pub problems: Vec<String>,
}

impl Found {
    fn problem(&mut self, what: String) {
        tracing::warn!("{what}");
        self.problems.push(what);
    }
}

/// Discovery while it runs.
pub struct Discovery {
    mdns: Option<mdns::Announcement>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    found: Found,
}

impl Discovery {
    /// Starts what `settings` name. Must be called within a tokio runtime. What does not start is logged and left out.
    pub async fn start(advertisement: Advertisement, settings: Settings) -> Discovery {
        let (stop, stopped) = watch::channel(false);
        let mut discovery = Discovery { mdns: None, stop, tasks: Vec::new(), found: Found::default() };
        if settings.mdns {
            match mdns::Announcement::new(&advertisement, &settings.reach) {
                Ok(announcement) => {
                    discovery.mdns = Some(announcement);
                    discovery.found.mdns = true;
                }
                Err(e) => discovery
                    .found
                    .problem(format!("mDNS: {e}; clients on the network have to be given the address")),
            }
        }
        let ears = settings.udp.map(|port| settings.reach.ears(port)).unwrap_or_default();
        for responder in hear(ears, &advertisement, &mut discovery.found).await {
            discovery.tasks.push(tokio::spawn(responder.run(stopped.clone())));
        }
        if let Some(hub) = settings.hub {
            let registration = ghosthub::Registration::new(hub, advertisement);
            discovery.tasks.push(tokio::spawn(registration.run(stopped)));
        }
        discovery
    }

    /// By what others find this server.
    pub fn found(&self) -> &Found {
        &self.found
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

/// Responders that hear at `ears`. One whose speaker has lost its port to another program speaks from another port of the same
/// address: clients look at the address alone.
async fn hear(
    ears: Vec<(SocketAddr, Option<SocketAddr>)>,
    ad: &Advertisement,
    found: &mut Found,
) -> Vec<udp::Responder> {
    let mut bound: Vec<udp::Responder> = Vec::new();
    for (address, from) in ears {
        let own = bound.iter().find(|r| from.is_some() && r.address() == from).map(udp::Responder::socket);
        let speaker = match (own, from) {
            (None, Some(from)) => match UdpSocket::bind((from.ip(), 0)).await {
                Ok(other) => Some(Arc::new(other)),
                Err(e) => {
                    found.problem(format!(
                        "UDP discovery on {address}: nobody answers there: {}: {e}",
                        from.ip()
                    ));
                    continue;
                }
            },
            (own, _) => own,
        };
        let speaks = speaker.as_ref().and_then(|s| s.local_addr().ok());
        match udp::Responder::bind(address, speaker, ad).await {
            Ok(responder) => {
                if let (Some(wanted), Some(speaks)) = (from, speaks.filter(|s| Some(*s) != from)) {
                    found.problem(format!(
                        "UDP discovery on {address}: answers come from {speaks}, not {wanted}"
                    ));
                }
                found.udp.extend(responder.address());
                bound.push(responder);
            }
            Err(e) => found.problem(format!("UDP discovery on {address}: {e}")),
        }
    }
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_told_and_the_rest_goes_on() {
        use std::time::Duration;
        let other = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
        let own = other.local_addr().unwrap();
        let ear: SocketAddr = ([127, 0, 0, 1], own.port()).into();
        let ad = Advertisement { port: 8765, ..Advertisement::default() };
        let mut found = Found::default();
        let mut bound = hear(vec![(own, None), (ear, Some(own))], &ad, &mut found).await;
        assert_eq!(found.udp, [ear]);
        let [taken, elsewhere] = &found.problems[..] else { panic!("{found:?}") };
        assert!(taken.starts_with(&format!("UDP discovery on {own}: ")), "{taken}");
        assert!(elsewhere.ends_with(&format!(", not {own}")), "{elsewhere}");
        let (_stop, stopped) = watch::channel(false);
        tokio::spawn(bound.remove(0).run(stopped));
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(b"GHOSTSTREAM_DISCOVER", ear).await.unwrap();
        let mut datagram = [0; 64];
        let received = tokio::time::timeout(Duration::from_secs(5), client.recv_from(&mut datagram)).await;
        let (length, from) = received.unwrap().unwrap();
        assert!(datagram[..length].starts_with(b"GHOSTSTREAM_ANNOUNCE:8765:"));
        assert_eq!(from.ip(), own.ip(), "it is where the server is");
        // An address that this machine does not have: nobody could answer from it.
        let elsewhere: SocketAddr = "203.0.113.9:1".parse().unwrap();
        let mut found = Found::default();
        let none = hear(vec![(([127, 0, 0, 1], 0).into(), Some(elsewhere))], &ad, &mut found).await;
        assert!(none.is_empty() && found.udp.is_empty());
        assert!(found.problems[0].contains("nobody answers there: 203.0.113.9: "), "{found:?}");
    }

    #[test]
    fn only_where_it_listens_is_it_announced() {
        let of = |all: &[&str]| Reach::of(&all.iter().map(|a| a.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!((of(&["0.0.0.0:8765"]), of(&["[::]:8765"])), (Reach::V4, Reach::Both));
        assert_eq!(of(&["0.0.0.0:1", "[::]:1"]), Reach::Both);
        let one = of(&["192.168.4.2:8765"]);
        assert_eq!(one, Reach::Only(vec!["192.168.4.2".parse().unwrap()]));
        let own: SocketAddr = "192.168.4.2:8766".parse().unwrap();
        let all: SocketAddr = "255.255.255.255:8766".parse().unwrap();
        assert_eq!(one.ears(8766), [(own, None), (all, Some(own))]);
        let here = of(&["127.0.0.1:1", "[::1]:1"]).ears(8766);
        assert_eq!(here.len(), 2, "nobody else reaches it: {here:?}");
        assert!(here.iter().all(|(address, _)| address.ip().is_loopback()));
    }
}
