//! Where a source may lead: what a playlist, a manifest or a redirect inside it names is the word of whoever made it, not
//! of the user. It must not reach this machine's files or the network behind it.

use super::target::Target;
use crate::spec::{HostRules, SourceSpec};
use ghoststream_sys::ffmpeg::Opening;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};

/// Protocols that stay on this machine.
const OF_THIS_MACHINE: &[&str] =
    &["async", "cache", "concat", "concatf", "crypto", "data", "fd", "file", "pipe", "subfile", "unix"];

/// What may be opened from inside one source.
pub(crate) struct Reach {
    /// Protocols that the user allows, without `file` for a source from the network.
    protocols: Vec<String>,
    /// The host that the user named; `None` for a source of this machine.
    host: Option<String>,
    /// Where the user lets it lead.
    hosts: HostRules,
    label: String,
}

impl Reach {
    /// From inside `target`, which `spec` names.
    pub fn new(spec: &SourceSpec, target: &Target) -> Reach {
        let network = match target {
            Target::Url { protocol } => !OF_THIS_MACHINE.contains(&protocol.as_str()),
            _ => false,
        };
        let mut protocols = spec.protocols.clone();
        if network {
            protocols.retain(|p| !OF_THIS_MACHINE.contains(&p.to_ascii_lowercase().as_str()));
        }
        let host = spec.url.as_deref().filter(|_| network).map(host_of).map(str::to_ascii_lowercase);
        Reach { protocols, host, hosts: spec.hosts.clone(), label: spec.label() }
    }

    /// The protocols that are left.
    pub fn protocols(&self) -> &[String] {
        &self.protocols
    }

    /// Whether FFmpeg may open what it asks for, or why not.
    pub fn permits(&self, opening: Opening<'_>) -> Result<(), String> {
        match opening {
            // Checked by the target already; its host is the user's choice.
            Opening::Source(_) => Ok(()),
            Opening::Inside(url) => self.leads_to(url, "it refers to"),
            Opening::Redirect(url) => self.leads_to(url, "it redirects to"),
        }
    }

    fn leads_to(&self, url: &str, how: &str) -> Result<(), String> {
        // HLS puts its cipher in front of what it deciphers.
        let url = url.strip_prefix("crypto+").or(url.strip_prefix("crypto:")).unwrap_or(url);
        let protocol = match url.split_once(':') {
            Some((scheme, _)) if scheme.len() > 1 && scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                scheme.to_ascii_lowercase()
            }
            _ => "file".into(),
        };
        if protocol == "data" {
            return Ok(());
        }
        let shown = crate::spec::masked(url);
        if !self.protocols.iter().any(|p| p.eq_ignore_ascii_case(&protocol)) {
            let why = if OF_THIS_MACHINE.contains(&protocol.as_str()) && self.host.is_some() {
                "a source from the network may not open what is on this machine".into()
            } else {
                format!("source.protocols has no {protocol:?}")
            };
            return Err(format!("{how} {shown}, which is not allowed: {why}"));
        }
        if OF_THIS_MACHINE.contains(&protocol.as_str()) {
            return Ok(());
        }
        let host = host_of(url).to_ascii_lowercase();
        let same = self.host.as_deref() == Some(host.as_str());
        if !same && !self.hosts.is_empty() {
            let refused = |why| format!("{how} {shown}, which is not allowed: {host} {why}");
            self.hosts.check(host.trim_end_matches('.'), &addresses(&host)).map_err(refused)?;
        }
        if !same && is_local(&host) && !self.host.as_deref().is_some_and(is_local) {
            return Err(format!(
                "{how} {shown}, which is not allowed: {host} is on a local network, and {} is not",
                self.label
            ));
        }
        // Where clouds keep their machines' credentials; no media server sends anybody there.
        if !same && is_link_local(&host) && !self.host.as_deref().is_some_and(is_link_local) {
            return Err(format!("{how} {shown}, which is not allowed: {host} is a link-local address"));
        }
        Ok(())
    }
}

/// The host in a URL, without user, port and brackets; empty when there is none.
fn host_of(url: &str) -> &str {
    let Some((_, rest)) = url.split_once("://") else { return "" };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let host = authority.rsplit_once('@').map_or(authority, |(_, h)| h);
    match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => host.rsplit_once(':').map_or(host, |(h, _)| h),
    }
}

/// Whether a host is this machine or on a network that is not the Internet.
fn is_local(host: &str) -> bool {
    host.is_empty() || has_address(host, is_local_address)
}

/// Whether a host is known on its own network segment only.
fn is_link_local(host: &str) -> bool {
    has_address(host, |address| match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.is_link_local(),
            None => v6.segments()[0] & 0xffc0 == 0xfe80,
        },
    })
}

/// Whether one of a host's addresses is such. Names are looked up; what cannot be found cannot be reached either.
fn has_address(host: &str, such: fn(IpAddr) -> bool) -> bool {
    addresses(host).into_iter().any(such)
}

/// The addresses of a host; none when it is not found.
fn addresses(host: &str) -> Vec<IpAddr> {
    let host = host.split('%').next().unwrap_or(host);
    match host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => (host, 0u16).to_socket_addrs().map(|all| all.map(|a| a.ip()).collect()).unwrap_or_default(),
    }
}

fn is_local_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_local_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_local_v4(v4),
            None => is_local_v6(v6),
        },
    }
}

fn is_local_v4(v4: Ipv4Addr) -> bool {
    let [a, b, ..] = v4.octets();
    let carrier = a == 100 && (64..128).contains(&b);
    a == 0 || v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_broadcast() || carrier
}

fn is_local_v6(v6: Ipv6Addr) -> bool {
    let head = v6.segments()[0];
    // Unique local (fc00::/7), link-local and the old site-local (fe80::/9).
    v6.is_loopback() || v6.is_unspecified() || head & 0xfe00 == 0xfc00 || head & 0xff80 == 0xfe80
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::HostPattern;

    fn reach(url: &str) -> Reach {
        let spec = SourceSpec::url(url);
        Reach::new(&spec, &Target::of(url, None))
    }

    fn inside(source: &str, url: &str) -> Result<(), String> {
        reach(source).permits(Opening::Inside(url))
    }

    #[test]
    fn a_source_from_the_network_stays_out_of_this_machine() {
        let far = "https://203.0.113.9/a/list.m3u8";
        for url in
            ["file:///etc/passwd", "/etc/passwd", "file:x.ts", "pipe:0", "crypto+file:///x", "subfile:x"]
        {
            let why = inside(far, url).unwrap_err();
            assert!(why.contains("not allowed"), "{url}: {why}");
        }
        for url in [
            "http://127.0.0.1/x",
            "http://10.1.2.3:80/x",
            "http://192.168.1.1/x",
            "http://169.254.169.254/latest",
            "http://[::1]:8080/x",
            "http://[fd00::1]/x",
            "http://[::ffff:127.0.0.1]/x",
            "http://localhost/x",
            "http://0/x",
            "https://u:p@172.16.0.1/x",
            "crypto+http://127.0.0.1/key",
        ] {
            let why = inside(far, url).unwrap_err();
            assert!(why.contains("local network") && !why.contains("u:p"), "{url}: {why}");
            assert!(reach(far).permits(Opening::Redirect(url)).is_err());
        }
        for url in [
            "https://203.0.113.9/b.ts",
            "http://198.51.100.7/b.ts",
            "data:,x",
            "crypto+https://203.0.113.9/k",
        ] {
            inside(far, url).unwrap();
        }
        assert!(inside(far, "rtmp://198.51.100.7/x/y").unwrap_err().contains("source.protocols"));
    }

    #[test]
    fn the_users_rules_hold_for_what_a_source_leads_to() {
        let url = "https://media.example/list.m3u8";
        let hosts = |allowed: &str, denied: &str| {
            let parse = |t: &str| t.split_whitespace().map(|h| HostPattern::parse(h).unwrap()).collect();
            let rules = HostRules { allowed: parse(allowed), denied: parse(denied) };
            Reach::new(&SourceSpec { hosts: rules, ..SourceSpec::url(url) }, &Target::of(url, None))
        };
        let to = |reach: &Reach, url: &str| reach.permits(Opening::Redirect(url));
        let only = hosts("cdn.example 203.0.113.0/24", "");
        assert!(to(&only, "https://203.0.113.9/a.ts").is_ok() && to(&only, url).is_ok());
        let why = to(&only, "https://u:p@198.51.100.7/a.ts").unwrap_err();
        assert!(why.contains("198.51.100.7 is not among the allowed hosts") && !why.contains("u:p"), "{why}");
        let but = hosts("", "198.51.100.0/24");
        assert!(to(&but, "https://198.51.100.7/a.ts").unwrap_err().contains("denied host"));
        assert!(to(&but, "https://203.0.113.9/a.ts").is_ok());
        // What the user named is the user's choice.
        assert!(only.permits(Opening::Source("https://198.51.100.7/x")).is_ok());
    }

    #[test]
    fn who_names_a_local_host_may_go_on_there() {
        for source in ["http://192.168.1.20/list.m3u8", "http://localhost:8096/a"] {
            inside(source, "http://192.168.1.21/x.ts").unwrap();
            inside(source, "http://127.0.0.1/x.ts").unwrap();
            assert!(inside(source, "file:///etc/passwd").is_err());
            for url in
                ["http://169.254.169.254/latest", "http://[fe80::1]/x", "http://[::ffff:169.254.1.1]/x"]
            {
                assert!(inside(source, url).unwrap_err().contains("link-local"), "{url}");
            }
        }
        inside("http://169.254.7.7/list.m3u8", "http://169.254.7.8/x.ts").unwrap();
    }

    #[test]
    fn a_file_leads_to_files_and_the_internet() {
        inside("list.m3u8", "file:/tmp/x.ts").unwrap();
        inside("list.m3u8", "x.ts").unwrap();
        inside("list.m3u8", "https://203.0.113.9/x.ts").unwrap();
        assert!(inside("list.m3u8", "http://127.0.0.1/x.ts").is_err());
    }
}
