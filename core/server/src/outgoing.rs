//! Requests that the server itself makes for a client: they go where the policy was held against, and nowhere else.

use crate::policy::SourcePolicy;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// Looks names up, holds what they mean against the policy, and gives the connector just those addresses: a name that means
/// something else a moment later changes nothing (DNS rebinding).
#[derive(Debug)]
struct Checked(Arc<SourcePolicy>);

impl Resolver for Checked {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or_else(|| ureq::Error::BadUri("it has no host".into()))?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let addresses = self.0.resolve(host).map_err(|e| ureq::Error::Other(Box::new(Denied(e.0))))?;
        let mut found = self.empty();
        // It holds that many.
        addresses.into_iter().take(16).for_each(|address| found.push(SocketAddr::new(address, port)));
        Ok(found)
    }
}

#[derive(Debug)]
struct Denied(String);

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Denied {}

/// Makes requests within `policy`, each in `patience` at most. Redirects are the caller's affair; a proxy of the environment
/// is not used, for nobody could say where it connects to.
pub fn agent(policy: &Arc<SourcePolicy>, patience: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(patience))
        .max_redirects(0)
        .http_status_as_error(false)
        .proxy(None)
        .user_agent(concat!("GhostStream/", env!("CARGO_PKG_VERSION")))
        .build();
    ureq::Agent::with_parts(config, DefaultConnector::default(), Checked(policy.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SourcesConfig;
    use std::io::{Read, Write};

    fn policy(change: impl FnOnce(&mut SourcesConfig)) -> Arc<SourcePolicy> {
        let mut rules = SourcesConfig::default();
        change(&mut rules);
        Arc::new(SourcePolicy::new(&rules))
    }

    #[test]
    fn only_addresses_that_were_checked_are_connected_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").unwrap();
        });
        let url = format!("http://localhost:{port}/x");
        let patience = Duration::from_secs(5);
        // The check at connecting is its own: nobody asked the policy about this URL before.
        let why = agent(&policy(|r| r.loopback = false), patience).get(&url).call().unwrap_err();
        assert!(why.to_string().contains("this machine"), "{why}");
        let why = agent(&policy(|r| r.denied_hosts = vec!["localhost".into()]), patience).get(&url).call();
        assert!(why.unwrap_err().to_string().contains("denied"));
        let mut answer = agent(&policy(|_| ()), patience).get(&url).call().unwrap();
        assert_eq!(answer.body_mut().read_to_string().unwrap(), "ok");
        served.join().unwrap();
    }
}
