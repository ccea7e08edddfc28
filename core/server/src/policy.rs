//! Which sources may be read: schemes, hosts, networks and directories. A request's URLs are checked before a job exists;
//! where a source leads from there (redirects, playlists) is checked by the engine.

use crate::config::SourcesConfig;
use ghoststream::spec::{HostPattern, HostRules, plain_address};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::path::{Component, Path, PathBuf};

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
    hosts: HostRules,
    roots: Vec<PathBuf>,
}

impl SourcePolicy {
    /// From checked settings. Roots that do not exist allow nothing.
    pub fn new(rules: &SourcesConfig) -> SourcePolicy {
        let parsed =
            |list: &[String]| list.iter().filter_map(|h| HostPattern::parse(h).ok()).collect::<Vec<_>>();
        SourcePolicy {
            hosts: HostRules { allowed: parsed(&rules.allowed_hosts), denied: parsed(&rules.denied_hosts) },
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

    /// Where a source may lead by redirects and playlists: the same hosts and networks, for the engine to watch over.
    pub fn leads(&self) -> HostRules {
        let mut rules = self.hosts.clone();
        let closed = [
            (self.rules.private_networks, PRIVATE),
            (self.rules.loopback, LOOPBACK),
            (self.rules.link_local, LINK_LOCAL),
        ];
        let networks = closed.into_iter().filter(|(open, _)| !open).flat_map(|(_, networks)| networks);
        rules.denied.extend(networks.filter_map(|n| HostPattern::parse(n).ok()));
        rules
    }

    /// The addresses of `host` that may be connected to, looked up now: who connects to one of them goes where the rules were
    /// held against, whatever the name means a moment later.
    ///
    /// # Errors
    /// The rule that forbids it, or that it has no address.
    pub fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Refused> {
        let bare = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        let addresses = addresses(&bare);
        if addresses.is_empty() {
            return Err(Refused(format!("{bare} has no address")));
        }
        self.reachable(&bare, &addresses)?;
        Ok(addresses)
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
        self.reachable(&host, &addresses(&host))
    }

    fn reachable(&self, host: &str, addresses: &[IpAddr]) -> Result<(), Refused> {
        let refused = |why: &str| Err(Refused(format!("{host} {why}")));
        if let Err(why) = self.hosts.check(host, addresses) {
            return refused(why);
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

/// The networks of [`Reach`]'s kinds.
const PRIVATE: &[&str] =
    &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10"];
const LOOPBACK: &[&str] = &["127.0.0.0/8", "0.0.0.0/8", "::1/128", "::/128"];
const LINK_LOCAL: &[&str] = &["169.254.0.0/16", "fe80::/10"];

/// What a host's name means now; nothing when it is not found.
fn addresses(host: &str) -> Vec<IpAddr> {
    let bare = host.split('%').next().unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => (bare, 0).to_socket_addrs().map(|all| all.map(|a| a.ip()).collect()).unwrap_or_default(),
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

/// Text without the escapes of a URL.
pub(crate) fn decoded(path: &str) -> String {
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
        match plain_address(address) {
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
    fn what_a_source_leads_to_is_under_the_same_rules() {
        assert_eq!(
            policy(|r| (r.private_networks, r.link_local) = (true, true)).leads(),
            HostRules::default(),
            "nothing is forbidden"
        );
        let rules = policy(|r| {
            r.loopback = false;
            r.allowed_hosts = vec!["media.example".into()];
        });
        let rules = rules.leads();
        let at = |text: &str| [text.parse::<IpAddr>().unwrap()];
        assert!(rules.check("media.example", &at("203.0.113.1")).is_ok());
        assert!(rules.check("media.example", &at("127.0.0.1")).is_err());
        assert!(rules.check("media.example", &at("::1")).is_err());
        assert!(rules.check("media.example", &at("169.254.169.254")).is_err(), "as always");
        assert!(rules.check("other.example", &at("203.0.113.1")).is_err());
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
