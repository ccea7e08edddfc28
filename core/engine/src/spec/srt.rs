//! An SRT address with everything that is said about it, in its query or in the document.

use super::push::{SrtMode, SrtSpec};
use crate::error::{Error, Result};
use std::time::Duration;

/// Where and how an SRT connection is made.
#[derive(Clone)]
pub(crate) struct SrtAddress {
    /// Empty for a listener on all addresses.
    pub host: String,
    pub port: u16,
    pub mode: SrtMode,
    pub passphrase: Option<String>,
    pub key_length: u8,
    pub stream_id: Option<String>,
    pub latency: Duration,
    /// Bytes per second.
    pub max_bandwidth: Option<u64>,
    /// The port on this side, in rendezvous mode.
    pub local_port: Option<u16>,
}

/// Where a value comes from, for errors.
fn field(said_in_document: bool, name: &str, query: &str) -> String {
    if said_in_document { format!("push.srt.{name}") } else { format!("path: {query}") }
}

/// The text after `srt://` with `%XX` resolved.
fn decoded(text: &str) -> Option<String> {
    let (bytes, mut out, mut i) = (text.as_bytes(), Vec::new(), 0);
    while i < bytes.len() {
        if bytes[i] == b'%' {
            let hex = text.get(i + 1..i + 3)?;
            out.push(u8::from_str_radix(hex, 16).ok()?);
            i += 3;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    String::from_utf8(out).ok()
}

/// A query field and the document's; both is one too many.
fn one<T>(name: &str, query: &str, url: Option<T>, document: Option<T>) -> Result<Option<T>> {
    match (url, document) {
        (Some(_), Some(_)) => {
            Err(Error::invalid(format!("push.srt.{name}"), format!("is in the address too ({query})")))
        }
        (a, b) => Ok(a.or(b)),
    }
}

impl SrtAddress {
    /// Reads `url` and `spec` together.
    ///
    /// # Errors
    /// `Invalid` with the field.
    pub fn parse(url: &str, spec: Option<&SrtSpec>) -> Result<SrtAddress> {
        let none = SrtSpec::default();
        let spec = spec.unwrap_or(&none);
        let bad = |what: &str| Error::invalid("path", what.to_string());
        let rest = url.get(..6).filter(|s| s.eq_ignore_ascii_case("srt://")).and(url.get(6..));
        let rest = rest.ok_or_else(|| bad("does not begin with srt://"))?;
        let (target, query) = rest.split_once('?').unwrap_or((rest, ""));
        let target = target.trim_end_matches('/');
        let (host, port) = target.rsplit_once(':').ok_or_else(|| bad("has no port"))?;
        let port: u16 = port.parse().map_err(|_| bad("has no port"))?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.contains(['/', '@', ' ']) {
            return Err(bad("is not srt://HOST:PORT"));
        }
        let (mut mode, mut passphrase, mut key_length, mut stream_id) = (None, None, None, None);
        let (mut latency, mut max, mut local_port) = (None, None, None);
        for part in query.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let text = decoded(value).ok_or_else(|| bad(&format!("{name} is not well written")))?;
            let number = || text.parse::<u64>().map_err(|_| bad(&format!("{name} is not a number")));
            match name {
                "mode" => {
                    mode = Some(match text.as_str() {
                        "caller" => SrtMode::Caller,
                        "listener" => SrtMode::Listener,
                        "rendezvous" => SrtMode::Rendezvous,
                        _ => return Err(bad("mode is none of caller, listener and rendezvous")),
                    });
                }
                "passphrase" => passphrase = Some(text),
                "pbkeylen" => key_length = Some(u8::try_from(number()?).unwrap_or(u8::MAX)),
                "streamid" | "srt_streamid" => stream_id = Some(text),
                // FFmpeg's addresses count microseconds.
                "latency" => latency = Some(u32::try_from(number()?.div_ceil(1000)).unwrap_or(u32::MAX)),
                "maxbw" => max = Some(number()?),
                "localport" => local_port = Some(u16::try_from(number()?).map_err(|_| bad("localport"))?),
                other => return Err(bad(&format!("{other} is not a field of SRT addresses known here"))),
            }
        }
        let said = |of: bool, name, query| field(of, name, query);
        let document_max = spec.max_bandwidth.map(|b| b.0.div_ceil(8));
        let address = SrtAddress {
            host: host.to_string(),
            port,
            mode: one("mode", "mode", mode, spec.mode)?.unwrap_or_default(),
            passphrase: one("passphrase", "passphrase", passphrase, spec.passphrase.clone())?,
            key_length: one("key_length", "pbkeylen", key_length, spec.key_length)?.unwrap_or(0),
            stream_id: one("stream_id", "streamid", stream_id, spec.stream_id.clone())?,
            latency: Duration::from_millis(u64::from(
                one("latency", "latency", latency, spec.latency)?.unwrap_or(120),
            )),
            max_bandwidth: one("max_bandwidth", "maxbw", max, document_max)?.filter(|b| *b > 0),
            local_port,
        };
        let check = |good: bool, of: bool, name, query, what: &str| match good {
            true => Ok(()),
            false => Err(Error::invalid(said(of, name, query), what)),
        };
        let secret = address.passphrase.as_ref().is_none_or(|p| (10..=79).contains(&p.len()));
        check(secret, spec.passphrase.is_some(), "passphrase", "passphrase", "has 10 to 79 bytes")?;
        let key = matches!(address.key_length, 0 | 16 | 24 | 32);
        check(key, spec.key_length.is_some(), "key_length", "pbkeylen", "is 16, 24 or 32")?;
        let id = address.stream_id.as_ref().is_none_or(|id| id.len() <= 512);
        check(id, spec.stream_id.is_some(), "stream_id", "streamid", "has at most 512 bytes")?;
        let latency = (20..=8000).contains(&address.latency.as_millis());
        check(latency, spec.latency.is_some(), "latency", "latency", "is not within 20 to 8000 ms")?;
        if address.host.is_empty() && address.mode != SrtMode::Listener {
            return Err(bad("has no host, which only a listener can do without"));
        }
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Bitrate;

    #[test]
    fn query_and_document_say_the_same_things_and_not_both() {
        let a = SrtAddress::parse(
            "SRT://[::1]:9000/?mode=listener&passphrase=abc%26defghij&pbkeylen=32&latency=200000&streamid=%23!::r=x",
            None,
        )
        .unwrap();
        assert_eq!((a.host.as_str(), a.port, a.mode, a.key_length), ("::1", 9000, SrtMode::Listener, 32));
        assert_eq!(a.passphrase.as_deref(), Some("abc&defghij"));
        assert_eq!((a.stream_id.as_deref(), a.latency.as_millis()), (Some("#!::r=x"), 200));
        let spec = SrtSpec { max_bandwidth: Some(Bitrate(8_000_000)), ..SrtSpec::default() };
        let b = SrtAddress::parse("srt://h:9", Some(&spec)).unwrap();
        assert_eq!((b.mode, b.max_bandwidth, b.latency.as_millis()), (SrtMode::Caller, Some(1_000_000), 120));
        assert!(SrtAddress::parse("srt://:9?mode=listener", None).is_ok());
    }

    #[test]
    fn what_cannot_be_is_refused_by_field_and_without_the_secret() {
        let spec = |f: fn(&mut SrtSpec)| {
            let mut spec = SrtSpec::default();
            f(&mut spec);
            spec
        };
        for (url, spec, begins) in [
            ("srt://h", SrtSpec::default(), "path: has no port"),
            ("srt://:9", SrtSpec::default(), "path: has no host"),
            ("srt://h:9?mode=x", SrtSpec::default(), "path: mode"),
            ("srt://h:9?latncy=1", SrtSpec::default(), "path: latncy"),
            ("srt://h:9?latency=1000", SrtSpec::default(), "path: latency: is not within"),
            ("srt://h:9?passphrase=hush", SrtSpec::default(), "path: passphrase: has 10 to 79"),
            ("srt://h:9", spec(|s| s.passphrase = Some("hush".into())), "push.srt.passphrase: has"),
            (
                "srt://h:9?latency=120000",
                spec(|s| s.latency = Some(120)),
                "push.srt.latency: is in the address",
            ),
            ("srt://h:9", spec(|s| s.key_length = Some(17)), "push.srt.key_length: "),
            ("srt://h:9", spec(|s| s.latency = Some(19)), "push.srt.latency: "),
        ] {
            let e = SrtAddress::parse(url, Some(&spec)).err().unwrap();
            assert!(e.message().starts_with(begins) && !e.message().contains("hush"), "{url}: {e}");
        }
    }
}
