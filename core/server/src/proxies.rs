//! Proxies that are believed when they say for whom they ask.

use axum::http::HeaderMap;
use ghoststream::spec::HostPattern;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

/// Who is at the other end of the connection, or behind the proxy that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// A trusted proxy that does not say for whom it asks: it stands for many. An extension of such requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForMany;

/// The proxies that are trusted. Clones share them.
#[derive(Clone, Debug)]
pub struct Proxies(Arc<RwLock<Arc<[HostPattern]>>>);

impl Proxies {
    /// Those of `server.trusted_proxies`, which was checked.
    pub fn new(list: &[String]) -> Proxies {
        Proxies(Arc::new(RwLock::new(parsed(list))))
    }

    /// Others from now on.
    pub fn replace(&self, list: &[String]) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = parsed(list);
    }

    /// Who asks, given who is connected; and whether that one stands for many.
    pub fn asker(&self, peer: SocketAddr, headers: &HeaderMap) -> (Peer, Option<ForMany>) {
        let trusted = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        let known = |ip: IpAddr| trusted.iter().any(|p| p.matches("", &[ip]));
        if !known(peer.ip().to_canonical()) {
            return (Peer(peer), None);
        }
        let mut asker = peer;
        let said = headers.contains_key("x-forwarded-for");
        // A proxy adds to what its client wrote, which may be anything: what is no text is one word that is no address.
        let lines: Vec<_> = headers
            .get_all("x-forwarded-for")
            .iter()
            .map(|v| String::from_utf8_lossy(v.as_bytes()))
            .collect();
        // Each proxy adds whom it heard at the end: the first from there that is no proxy of ours is whom we serve. What
        // stands before is that one's word.
        for word in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            let Some(ip) = address(word) else { break };
            asker = SocketAddr::new(ip, 0);
            if !known(ip) {
                break;
            }
        }
        (Peer(asker), (!said).then_some(ForMany))
    }
}

fn parsed(list: &[String]) -> Arc<[HostPattern]> {
    list.iter().filter_map(|text| network(text).ok()).collect()
}

/// An address or a network: a name could be anybody's.
///
/// # Errors
/// What is wrong with it.
pub fn network(text: &str) -> Result<HostPattern, String> {
    match HostPattern::parse(text)? {
        network @ HostPattern::Network(..) => Ok(network),
        _ => Err(format!("{text:?} is not an address or a network (192.168.1.0/24)")),
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(word: &str) -> Option<IpAddr> {
    let word = word.trim().trim_matches('"');
    let ip = word.parse().ok().or_else(|| Some(word.parse::<SocketAddr>().ok()?.ip()));
    let ip: Option<IpAddr> = ip.or_else(|| word.strip_prefix('[')?.strip_suffix(']')?.parse().ok());
    ip.map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(trusted: &[&str], peer: &str, lines: &[&str]) -> (String, bool) {
        let list: Vec<String> = trusted.iter().map(|t| t.to_string()).collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", axum::http::HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let (Peer(asker), many) =
            Proxies::new(&list).asker(SocketAddr::new(peer.parse().unwrap(), 1), &headers);
        (asker.ip().to_string(), many.is_some())
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let all = ["10.0.0.0/8", "::1"];
        let is = |text: &str| (text.to_string(), false);
        assert_eq!(asked(&[], "10.0.0.1", &["192.0.2.7"]), is("10.0.0.1"));
        assert_eq!(asked(&all, "172.16.0.1", &["192.0.2.7"]), is("172.16.0.1"));
        assert_eq!(asked(&all, "10.0.0.1", &["192.0.2.7"]), is("192.0.2.7"));
        assert_eq!(asked(&all, "::ffff:10.0.0.1", &["192.0.2.7"]), is("192.0.2.7"));
        assert_eq!(asked(&all, "::1", &["2001:db8::1, 10.2.2.2"]), is("2001:db8::1"));
    }

    #[test]
    fn what_a_client_writes_itself_counts_for_nothing() {
        let all = ["10.0.0.0/8"];
        let is = |text: &str| (text.to_string(), false);
        assert_eq!(asked(&all, "10.0.0.1", &["1.1.1.1, 192.0.2.7"]), is("192.0.2.7"));
        assert_eq!(asked(&all, "10.0.0.1", &["1.1.1.1", "192.0.2.7, 10.0.0.9"]), is("192.0.2.7"));
        assert_eq!(asked(&all, "10.0.0.1", &["192.0.2.7, unknown"]), is("10.0.0.1"));
        assert_eq!(asked(&all, "10.0.0.1", &["10.0.0.5"]), is("10.0.0.5"), "it has asked for itself");
        // What is no text takes nothing from what a proxy wrote behind it.
        assert_eq!(asked(&all, "10.0.0.1", &["\u{ff}, 192.0.2.7"]), is("192.0.2.7"));
        assert_eq!(asked(&all, "10.0.0.1", &["\u{ff}"]), is("10.0.0.1"));
    }

    #[test]
    fn every_spelling_of_an_address() {
        for (word, ip) in [
            ("192.0.2.7:4711", "192.0.2.7"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            (" [2001:db8::1]", "2001:db8::1"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(asked(&["10.0.0.1"], "10.0.0.1", &[word]), (ip.to_string(), false));
        }
        assert_eq!(asked(&["10.0.0.1"], "10.0.0.1", &[]), ("10.0.0.1".into(), true));
        assert!(network("proxy.example").is_err() && network("10.0.0.0/33").is_err());
        assert!(network("10.0.0.0/8").is_ok() && network("2001:db8::1").is_ok());
    }
}
