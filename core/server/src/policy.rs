//! Which sources may be read: schemes, hosts, networks and directories. A request's URLs are checked before a job exists;
//! where a source leads from there (redirects, playlists) is checked by the engine.

use crate::config::SourcesConfig;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::path::{Component, Path, PathBuf};

/// Hosts as settings name them: `media.example`, `*.example` or a network such as `192.168.1.0/24`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This name or address.
    Exact(String),
    /// Every name that ends in this, with its dot.
    Below(String),
    /// Every address with these first bits.
    Network(IpAddr, u8),
}

impl HostPattern {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<HostPattern, String> {
        let bad = || format!("{text:?} is not a host name, *.name, address or network (192.168.1.0/24)");
        let lower = text.trim().to_ascii_lowercase();
        if let Some((address, bits)) = lower.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| bad())?;
            let bits: u8 = bits.parse().map_err(|_| bad())?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            return if bits <= most { Ok(HostPattern::Network(address, bits)) } else { Err(bad()) };
        }
        if let Ok(address) = lower.trim_matches(['[', ']']).parse::<IpAddr>() {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            return Ok(HostPattern::Network(address, bits));
        }
        let (name, below) = match lower.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (lower.as_str(), false),
        };
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if name.is_empty() || !name.chars().all(word) {
            return Err(bad());
        }
        Ok(if below { HostPattern::Below(format!(".{name}")) } else { HostPattern::Exact(name.into()) })
    }

    fn matches(&self, host: &str, addresses: &[IpAddr]) -> bool {
        match self {
            HostPattern::Exact(name) => host == name,
            HostPattern::Below(tail) => host.ends_with(tail.as_str()),
            HostPattern::Network(network, bits) => {
                addresses.iter().any(|a| within(plain(*a), *network, *bits))
            }
        }
    }
}

/// Why a source may not be read, without anything secret in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The rules, ready to be applied. Any thread.
#[derive(Clone, Debug)]
pub struct SourcePolicy {
    rules: SourcesConfig,
    allowed: Vec<HostPattern>,
    denied: Vec<HostPattern>,
    roots: Vec<PathBuf>,
}

impl SourcePolicy {
    /// From checked settings. Roots that do not exist allow nothing.
    pub fn new(rules: &SourcesConfig) -> SourcePolicy {
        let parsed =
            |list: &[String]| list.iter().filter_map(|h| HostPattern::parse(h).ok()).collect::<Vec<_>>();
        SourcePolicy {
            allowed: parsed(&rules.allowed_hosts),
            denied: parsed(&rules.denied_hosts),
            roots: rules.local_roots.iter().filter_map(|r| r.canonicalize().ok()).collect(),
            rules: rules.clone(),
        }
    }

    /// The protocols that a job may use for a source of the network.
    pub fn protocols(&self) -> &[String] {
        self.rules.schemes.list()
    }

    /// What is to be opened for `source`: the URL as it is, or the real path of a local file. Looks names up, so it
    /// blocks; a name that is not found is allowed, because it cannot be reached either.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn check(&self, source: &str) -> Result<String, Refused> {
        match scheme_of(source) {
            Some(scheme) if scheme == "file" => {
                let rest = &source["file:".len()..];
                let path = match rest.strip_prefix("//") {
                    Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
                    None => rest,
                };
                self.file(Path::new(&decoded(path)))
            }
            Some(scheme) => {
                self.url(&scheme, source)?;
                Ok(source.into())
            }
            None => self.file(Path::new(source)),
        }
    }

    /// Whether an HTTP callback may be sent to `url`; blocks as [`SourcePolicy::check`] does.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn check_callback(&self, url: &str) -> Result<(), Refused> {
        match scheme_of(url).as_deref() {
            Some("http" | "https") => self.host(url),
            _ => Err(Refused("a callback needs http:// or https://".into())),
        }
    }

    fn url(&self, scheme: &str, url: &str) -> Result<(), Refused> {
        if !self.rules.schemes.allows(scheme) {
            return Err(Refused(format!("{scheme}: URLs are not among the allowed schemes")));
        }
        self.host(url)
    }

    fn host(&self, url: &str) -> Result<(), Refused> {
        let Some(host) = host_of(url) else { return Err(Refused("the URL has no host".into())) };
        let bare = host.split('%').next().unwrap_or(&host);
        let addresses: Vec<IpAddr> = match bare.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => {
                (bare, 0).to_socket_addrs().map(|all| all.map(|a| a.ip()).collect()).unwrap_or_default()
            }
        };
        self.reachable(&host, &addresses)
    }

    fn reachable(&self, host: &str, addresses: &[IpAddr]) -> Result<(), Refused> {
        let refused = |why: &str| Err(Refused(format!("{host} {why}")));
        if self.denied.iter().any(|p| p.matches(host, addresses)) {
            return refused("is a denied host");
        }
        if !self.allowed.is_empty() && !self.allowed.iter().any(|p| p.matches(host, addresses)) {
            return refused("is not among the allowed hosts");
        }
        for address in addresses {
            match Reach::of(*address) {
                Reach::Internet => {}
                Reach::Private if self.rules.private_networks => {}
                Reach::Private => return refused("is on a private network"),
                Reach::Loopback if self.rules.loopback => {}
                Reach::Loopback => return refused("is this machine"),
                Reach::LinkLocal if self.rules.link_local => {}
                Reach::LinkLocal => return refused("is a link-local address"),
                Reach::Nowhere => return refused("is not the address of a host"),
            }
        }
        Ok(())
    }

    fn file(&self, path: &Path) -> Result<String, Refused> {
        // The same words for every path outside, so that nobody learns which files exist.
        let outside = || Refused("local files are read below the configured local_roots only".into());
        if !path.is_absolute() || path.components().any(|c| matches!(c, Component::ParentDir)) {
            return Err(outside());
        }
        // What does not exist (yet) is judged by the nearest folder that does.
        let mut real = None;
        let mut rest: Vec<&std::ffi::OsStr> = Vec::new();
        let mut at = path;
        while real.is_none() {
            match at.canonicalize() {
                Ok(found) => real = Some(found),
                // A link into nowhere could come to lead anywhere.
                Err(_) if at.is_symlink() => return Err(outside()),
                Err(_) => match (at.parent(), at.file_name()) {
                    (Some(parent), Some(name)) => {
                        rest.push(name);
                        at = parent;
                    }
                    _ => return Err(outside()),
                },
            }
        }
        let mut real = real.unwrap_or_default();
        real.extend(rest.into_iter().rev());
        if !self.roots.iter().any(|root| real.starts_with(root)) {
            return Err(outside());
        }
        real.into_os_string().into_string().map_err(|_| Refused("its name is not UTF-8".into()))
    }
}

/// The scheme of a URL in lower case; `None` for a path. FFmpeg takes one before any colon, so that counts here too.
fn scheme_of(source: &str) -> Option<String> {
    let (scheme, _) = source.split_once(':')?;
    let word = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-' | ','));
    word.then(|| scheme.to_ascii_lowercase())
}

/// The host of a URL in lower case, without user, port and brackets.
fn host_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = &rest[..rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len())];
    let host = authority.rsplit_once('@').map_or(authority, |(_, h)| h);
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => host.rsplit_once(':').map_or(host, |(h, _)| h),
    };
    (!host.is_empty()).then(|| host.trim_end_matches('.').to_ascii_lowercase())
}

fn decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while let Some(&byte) = bytes.get(i) {
        let hex = path.get(i + 1..i + 3).and_then(|h| u8::from_str_radix(h, 16).ok());
        match (byte, hex) {
            (b'%', Some(value)) => {
                out.push(value);
                i += 3;
            }
            _ => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| path.into())
}

/// Parts of a query's names whose values are nobody else's business.
const SECRET: [&str; 9] = ["key", "token", "pass", "secret", "sig", "auth", "credential", "session", "gst"];

/// `source` without user, password and keys in its query, for logs and lists.
pub fn masked(source: &str) -> String {
    let Some((scheme, rest)) = source.split_once("://") else { return source.into() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or_else(|| authority.into(), |(_, host)| format!("***@{host}"));
    let Some((path, query)) = tail.split_once('?') else { return format!("{scheme}://{host}{tail}") };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if SECRET.iter().any(|word| name.to_ascii_lowercase().contains(word)) => {
            format!("{name}=***")
        }
        _ => pair.into(),
    });
    format!("{scheme}://{host}{path}?{}", pairs.collect::<Vec<String>>().join("&"))
}

#[derive(Debug, PartialEq)]
enum Reach {
    Internet,
    Private,
    Loopback,
    LinkLocal,
    Nowhere,
}

impl Reach {
    fn of(address: IpAddr) -> Reach {
        match plain(address) {
            IpAddr::V4(v4) => Reach::of_v4(v4),
            IpAddr::V6(v6) => Reach::of_v6(v6),
        }
    }

    fn of_v4(v4: Ipv4Addr) -> Reach {
        let [a, b, ..] = v4.octets();
        match () {
            () if v4.is_loopback() || v4.is_unspecified() => Reach::Loopback,
            () if v4.is_link_local() => Reach::LinkLocal,
            () if v4.is_private() || (a == 100 && (64..128).contains(&b)) => Reach::Private,
            () if a == 0 || v4.is_broadcast() => Reach::Nowhere,
            () => Reach::Internet,
        }
    }

    fn of_v6(v6: Ipv6Addr) -> Reach {
        let head = v6.segments()[0];
        match () {
            () if v6.is_loopback() || v6.is_unspecified() => Reach::Loopback,
            () if head & 0xffc0 == 0xfe80 => Reach::LinkLocal,
            // Unique local and the old site-local.
            () if head & 0xfe00 == 0xfc00 || head & 0xffc0 == 0xfec0 => Reach::Private,
            () => Reach::Internet,
        }
    }
}

/// An IPv4 address that an IPv6 one means (mapped, or NAT64's well-known prefix) as itself.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match (v6.to_ipv4_mapped(), v6.segments()) {
        (Some(v4), _) => IpAddr::V4(v4),
        (None, [0x64, 0xff9b, 0, 0, 0, 0, high, low]) => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        _ => address,
    }
}

fn within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let (a, n, width) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (u128::from(a.to_bits()), u128::from(n.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits(), n.to_bits(), 128),
        _ => return false,
    };
    let shift = u32::from(width - bits.min(width));
    a.checked_shr(shift).unwrap_or(0) == n.checked_shr(shift).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Schemes;

    fn policy(change: impl FnOnce(&mut SourcesConfig)) -> SourcePolicy {
        let mut rules = SourcesConfig::default();
        change(&mut rules);
        SourcePolicy::new(&rules)
    }

    #[test]
    fn the_defaults_let_a_lan_media_server_work_and_nothing_worse() {
        let p = policy(|_| ());
        for good in [
            "http://192.168.4.1:5000/media/a%20b.mkv",
            "https://8.8.8.8/x.mp4",
            "http://127.0.0.1:8000/x",
            "http://[fd00::1]:80/x",
            "HTTP://user:pw@10.0.0.1/x",
            "rtsp://10.1.1.1/cam",
        ] {
            assert_eq!(p.check(good).as_deref(), Ok(good));
        }
        for (bad, why) in [
            ("http://169.254.169.254/latest/meta-data", "link-local"),
            ("http://[::ffff:169.254.169.254]/x", "link-local"),
            ("http://[64:ff9b::a9fe:a9fe]/x", "link-local"),
            ("http://[fe80::1%25eth0]/x", "link-local"),
            ("http://2852039166/x", "link-local"),
            ("http://a@b@169.254.169.254/x", "link-local"),
            ("http://255.255.255.255/x", "not the address"),
            ("http:///x", "no host"),
            ("http:x", "no host"),
            ("ftp://8.8.8.8/x", "allowed schemes"),
            ("concat:/etc/passwd", "allowed schemes"),
            ("crypto+http://8.8.8.8/x", "allowed schemes"),
            ("subfile,,start,0,end,9,,:/etc/passwd", "allowed schemes"),
            ("pipe:0", "allowed schemes"),
            ("data:text/plain,x", "allowed schemes"),
            ("/etc/passwd", "local_roots"),
            ("etc/passwd", "local_roots"),
            ("file:///etc/passwd", "local_roots"),
            ("file:/etc/passwd", "local_roots"),
            ("", "local_roots"),
        ] {
            let said = p.check(bad).unwrap_err();
            assert!(said.0.contains(why), "{bad}: {said}");
        }
    }

    #[test]
    fn hosts_by_name_and_network() {
        let p = policy(|r| {
            r.allowed_hosts = vec!["192.168.1.0/24".into(), "*.example".into(), "nas.local".into()];
            r.denied_hosts = vec!["192.168.1.13".into(), "bad.example".into()];
        });
        let ok = |host: &str, address: &str| p.reachable(host, &[address.parse().unwrap()]).is_ok();
        assert!(
            ok("192.168.1.7", "192.168.1.7") && ok("a.example", "8.8.8.8") && ok("nas.local", "192.168.9.9")
        );
        assert!(
            !ok("192.168.2.7", "192.168.2.7") && !ok("example", "8.8.8.8") && !ok("badexample", "8.8.8.8")
        );
        assert!(!ok("x", "192.168.1.13") && !ok("bad.example", "8.8.8.8"));
        let strict = policy(|r| {
            r.private_networks = false;
            r.loopback = false;
        });
        for host in
            ["http://10.0.0.1/", "http://100.64.1.1/", "http://[fd00::1]/", "http://localhost/", "http://0/"]
        {
            assert!(strict.check(host).is_err(), "{host}");
        }
    }

    #[test]
    fn schemes_as_configured() {
        let schemes: Schemes = serde_json::from_str(r#"["https"]"#).unwrap();
        let p = policy(|r| r.schemes = schemes);
        assert!(p.check("http://8.8.8.8/x").is_err() && p.check("https://8.8.8.8/x").is_ok());
    }

    #[test]
    fn local_files_stay_below_their_roots() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("media");
        std::fs::create_dir_all(root.join("a")).unwrap();
        std::fs::write(root.join("a/x y.mkv"), b"x").unwrap();
        std::fs::write(folder.path().join("secret"), b"x").unwrap();
        std::fs::create_dir(folder.path().join("media2")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("secret"), root.join("link")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("later"), root.join("dangling")).unwrap();
        let p = policy(|r| r.local_roots = vec![root.clone()]);
        let real = root.canonicalize().unwrap();
        let inside = real.join("a/x y.mkv").display().to_string();
        let at = |tail: &str| format!("{}/{tail}", root.display());
        assert_eq!(p.check(&at("a/x y.mkv")).as_deref(), Ok(inside.as_str()));
        assert_eq!(p.check(&format!("file://{}", at("a/x%20y.mkv"))).as_deref(), Ok(inside.as_str()));
        // It may be missing: the job says so, as for a URL.
        assert!(p.check(&at("a/none.mkv")).is_ok());
        for bad in ["../secret", "a/../../secret", "link", "dangling", "link/x", "../media2/x"] {
            assert!(p.check(&at(bad)).is_err(), "{bad}");
        }
        assert!(p.check(&format!("file://{}", at("%2e%2e/secret"))).is_err());
    }

    #[test]
    fn passwords_are_not_listed() {
        assert_eq!(masked("http://u:p@h/x@y"), "http://***@h/x@y");
        assert_eq!(masked("/a/b"), "/a/b");
        assert_eq!(
            masked("http://h/x?id=5&api_key=s3&X-Amz-Signature=q"),
            "http://h/x?id=5&api_key=***&X-Amz-Signature=***"
        );
        assert_eq!(masked("rtmp://u:p@h:1/app"), "rtmp://***@h:1/app");
    }
}
