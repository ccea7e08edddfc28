//! Hosts by name, by domain and by network: where a source from the network may lead.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// Hosts as people write them: `media.example`, `*.example` or a network such as `192.168.1.0/24`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum HostPattern {
    /// This name.
    Exact(String),
    /// Every name that ends in this, with its dot.
    Below(String),
    /// Every address with these first bits; a single address has all of them.
    Network(IpAddr, u8),
}

/// Where playlists and redirects inside a source from the network may lead. The source's own host is always allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostRules {
    /// Only there; empty = anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<HostPattern>,
    /// Not there, even if `allowed` has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<HostPattern>,
}

impl HostRules {
    /// Whether they forbid nothing.
    pub fn is_empty(&self) -> bool {
        self.allowed.is_empty() && self.denied.is_empty()
    }

    /// Whether `host` (lower case), which has `addresses`, may be reached.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the host.
    pub fn check(&self, host: &str, addresses: &[IpAddr]) -> Result<(), &'static str> {
        if self.denied.iter().any(|p| p.matches(host, addresses)) {
            return Err("is a denied host");
        }
        if !self.allowed.is_empty() && !self.allowed.iter().any(|p| p.matches(host, addresses)) {
            return Err("is not among the allowed hosts");
        }
        Ok(())
    }
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

    /// Whether `host` (lower case), which has `addresses`, is one of them.
    pub fn matches(&self, host: &str, addresses: &[IpAddr]) -> bool {
        match self {
            HostPattern::Exact(name) => host == name,
            HostPattern::Below(tail) => host.ends_with(tail.as_str()),
            HostPattern::Network(network, bits) => {
                addresses.iter().any(|a| within(plain(*a), *network, *bits))
            }
        }
    }
}

impl TryFrom<String> for HostPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        HostPattern::parse(&text)
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> String {
        pattern.to_string()
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(name) => f.write_str(name),
            HostPattern::Below(tail) => write!(f, "*{tail}"),
            HostPattern::Network(address, bits) => write!(f, "{address}/{bits}"),
        }
    }
}

/// An IPv4 address that an IPv6 one means (mapped, or NAT64's well-known prefix) as itself.
pub fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match (v6.to_ipv4_mapped(), v6.segments()) {
        (Some(v4), _) => IpAddr::V4(v4),
        (None, [0x64, 0xff9b, 0, 0, 0, 0, high, low]) => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            IpAddr::V4(std::net::Ipv4Addr::new(a, b, c, d))
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

    #[test]
    fn patterns_are_read_written_and_matched() {
        for text in ["media.example", "*.example", "192.168.1.0/24", "fd00::/8"] {
            assert_eq!(HostPattern::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "*.", "a b", "1.2.3.4/33", "x/8", "http://a"] {
            assert!(HostPattern::parse(bad).is_err(), "{bad}");
        }
        let rules = |allowed: &[&str], denied: &[&str]| {
            let list = |all: &[&str]| all.iter().map(|t| HostPattern::parse(t).unwrap()).collect();
            HostRules { allowed: list(allowed), denied: list(denied) }
        };
        let at = |text: &str| [text.parse().unwrap()];
        let only = rules(&["*.good.example", "10.0.0.0/8"], &["bad.good.example"]);
        assert!(only.check("a.good.example", &[]).is_ok() && only.check("x", &at("10.1.1.1")).is_ok());
        assert!(only.check("x", &at("::ffff:10.1.1.1")).is_ok() && only.check("x", &at("11.1.1.1")).is_err());
        assert!(only.check("bad.good.example", &[]).is_err() && only.check("good.example", &[]).is_err());
        assert!(HostRules::default().check("any", &[]).is_ok() && HostRules::default().is_empty());
    }
}
