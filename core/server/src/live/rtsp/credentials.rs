//! Who we are for a server that asks (RFC 7616 and 7617, as RTSP has them): Basic, and Digest with MD5 or SHA-256.

use super::parameters::parameters;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// Those of an `Authorization` header in the clear (Basic); `None` for other ways, and for what is none.
    pub fn read(header: &str) -> Option<Credentials> {
        let (scheme, rest) = header.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Credentials { user: user.into(), password: password.into() })
    }

    /// The key that is shown: the password, and the name where there is none.
    pub fn key(self) -> String {
        if self.password.is_empty() { self.user } else { self.password }
    }
}

/// A challenge that can be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    digest: bool,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Option<String>,
    /// Whether `auth` is among its qualities of protection.
    counted: bool,
    count: u32,
}

impl Challenge {
    /// The best of what a server offers in `WWW-Authenticate`.
    pub fn of<'a>(offered: impl Iterator<Item = &'a str>) -> Option<Challenge> {
        offered.filter_map(Challenge::read).max_by_key(|c| c.digest)
    }

    fn read(text: &str) -> Option<Challenge> {
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        let digest = scheme.eq_ignore_ascii_case("digest");
        if !digest && !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let all = parameters(rest);
        let get = |name: &str| all.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        let algorithm = get("algorithm");
        let known = |a: &String| ["MD5", "SHA-256"].iter().any(|k| a.eq_ignore_ascii_case(k));
        let qop = get("qop");
        let counted = qop.as_ref().is_some_and(|q| q.split(',').any(|w| w.trim() == "auth"));
        if digest && (!algorithm.as_ref().is_none_or(known) || (qop.is_some() && !counted)) {
            return None;
        }
        let nonce = if digest { get("nonce")? } else { String::new() };
        let realm = get("realm").unwrap_or_default();
        Some(Challenge { digest, realm, nonce, opaque: get("opaque"), algorithm, counted, count: 0 })
    }

    /// `Authorization` for a request.
    pub fn meet(&mut self, who: &Credentials, method: &str, url: &str) -> String {
        let Credentials { user, password } = who;
        if !self.digest {
            return format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        }
        self.count += 1;
        let own = uuid::Uuid::new_v4().simple().to_string();
        self.answer(who, method, url, &own)
    }

    fn answer(&self, who: &Credentials, method: &str, url: &str, own: &str) -> String {
        let Credentials { user, password } = who;
        let Challenge { realm, nonce, count, .. } = self;
        let secure = self.algorithm.as_ref().is_some_and(|a| a.eq_ignore_ascii_case("SHA-256"));
        let hash = |text: String| match secure {
            true => hex(&Sha256::digest(text)),
            false => hex(&Md5::digest(text)),
        };
        let (first, second) = (hash(format!("{user}:{realm}:{password}")), hash(format!("{method}:{url}")));
        let response = match self.counted {
            true => hash(format!("{first}:{nonce}:{count:08x}:{own}:auth:{second}")),
            false => hash(format!("{first}:{nonce}:{second}")),
        };
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut said = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{url}\", response=\"{response}\"",
            quoted(user),
            quoted(realm),
            quoted(nonce)
        );
        if let Some(algorithm) = &self.algorithm {
            said += &format!(", algorithm={algorithm}");
        }
        if self.counted {
            said += &format!(", qop=auth, nc={count:08x}, cnonce=\"{own}\"");
        }
        if let Some(opaque) = &self.opaque {
            said += &format!(", opaque=\"{}\"", quoted(opaque));
        }
        said
    }
}

fn hex(data: &[u8]) -> String {
    data.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mufasa() -> Credentials {
        Credentials { user: "Mufasa".into(), password: "Circle of Life".into() }
    }

    #[test]
    fn examples_of_the_documents_are_met() {
        let basic = ["Basic realm=\"WallyWorld\""];
        let mut challenge = Challenge::of(basic.into_iter()).unwrap();
        let aladdin = Credentials { user: "Aladdin".into(), password: "open sesame".into() };
        assert_eq!(challenge.meet(&aladdin, "OPTIONS", "*"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        // RFC 7616, 3.9.1.
        let own = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let text = format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            let mut challenge = Challenge::of([basic[0], &text].into_iter()).unwrap();
            challenge.count = 1;
            let who = Credentials { password: "Circle of Life".into(), ..mufasa() };
            let said = challenge.answer(&who, "GET", "/dir/index.html", own);
            assert!(said.contains(&format!("response=\"{response}\"")), "{said}");
            assert!(said.contains("nc=00000001") && said.contains("opaque=\"FQhe"), "{said}");
        }
        // RFC 2069's, without a quality of protection.
        let old = "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
        let who = Credentials { user: "Mufasa".into(), password: "CircleOfLife".into() };
        let said = Challenge::read(old).unwrap().answer(&who, "GET", "/dir/index.html", own);
        assert!(
            said.contains("response=\"1949323746fe6a43ef61f9606e7febea\"") && !said.contains("qop"),
            "{said}"
        );
    }

    #[test]
    fn what_cannot_be_met_is_left_out() {
        for text in [
            "",
            "Negotiate",
            "Digest realm=\"a\"",
            "Digest realm=\"a\", nonce=\"b\", algorithm=MD5-sess",
            "Digest realm=\"a\", nonce=\"b\", qop=\"auth-int\"",
        ] {
            assert_eq!(Challenge::read(text), None, "{text}");
        }
        let read = Challenge::read("digest realm=\"a \\\"b\\\", c\",nonce=x , stale").unwrap();
        assert_eq!((read.realm.as_str(), read.nonce.as_str(), read.counted), ("a \"b\", c", "x", false));
    }

    #[test]
    fn what_a_client_says_in_the_clear_is_read() {
        for (header, key) in [
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some("open sesame")),
            ("basic  b25seTo=", Some("only")),
            ("Basic YTpiOmM=", Some("b:c")),
            ("Basic bm9uZQ==", None),
            ("Basic !", None),
            ("Basic", None),
            ("Digest username=\"a\"", None),
        ] {
            assert_eq!(Credentials::read(header).map(Credentials::key).as_deref(), key, "{header}");
        }
    }
}
