//! Who may publish and read: keys that a client shows in its address, of the server or of one stream, and tokens that are
//! good for one stream and some time.

use super::hooks::{Act, Asked, Hooks};
use crate::config::{LiveConfig, Secret, StreamKey};
use crate::http::query;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::time::{SystemTime, UNIX_EPOCH};
use subtle::ConstantTimeEq;

pub use super::shown_key::shown;

/// The keys of a server; without one, everybody may.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// For publishers.
    pub publish: Option<Secret>,
    /// For readers.
    pub read: Option<Secret>,
    /// Of single streams: the first that fits a stream's name counts. The server's own keys open them too.
    pub streams: Vec<StreamKey>,
    /// Signs tokens, which are as good as a key.
    pub tokens: Option<Secret>,
    /// Services of the operator, which may decide too.
    pub hooks: Hooks,
}

impl Keys {
    /// Those of `config`.
    pub fn new(config: &LiveConfig, hooks: Hooks) -> Keys {
        Keys {
            publish: config.publish_key.clone(),
            read: config.read_key.clone(),
            streams: config.keys.clone(),
            tokens: config.token_secret.clone(),
            hooks,
        }
    }

    /// Whether who shows `key` may publish `stream`.
    pub fn may_publish(&self, stream: &str, key: Option<&str>) -> bool {
        self.may(Act::Publish, stream, key)
    }

    /// Whether who shows `key` may read `stream`.
    pub fn may_read(&self, stream: &str, key: Option<&str>) -> bool {
        self.may(Act::Read, stream, key)
    }

    /// Whether reading `stream` needs a key of its own.
    pub fn names(&self, stream: &str) -> bool {
        self.streams.iter().find(|one| one.is_for(stream)).is_some_and(|one| one.read.is_some())
    }

    /// Whether who shows `key` may know which streams there are.
    pub fn may_list(&self, key: Option<&str>) -> bool {
        self.read.as_ref().is_none_or(|read| fits(read, key))
    }

    /// Whether publishing needs a key, of some streams at least.
    pub fn guards_publishing(&self) -> bool {
        self.publish.is_some() || self.streams.iter().any(|one| one.publish.is_some())
    }

    /// Whether reading needs a key, of some streams at least.
    pub fn guards_reading(&self) -> bool {
        self.read.is_some() || self.streams.iter().any(|one| one.read.is_some())
    }

    /// Whether somebody decides who reads: a key, or the operator's services.
    pub fn decides_who_reads(&self) -> bool {
        self.guards_reading() || self.hooks.decide()
    }

    fn may(&self, act: Act, stream: &str, key: Option<&str>) -> bool {
        let of = |one: &StreamKey| match act {
            Act::Publish => one.publish.clone(),
            Act::Read => one.read.clone(),
        };
        let server = match act {
            Act::Publish => &self.publish,
            Act::Read => &self.read,
        };
        let own = self.streams.iter().find(|one| one.is_for(stream)).and_then(of);
        let wanted: Vec<&Secret> = own.iter().chain(server).collect();
        wanted.is_empty()
            || wanted.iter().any(|secret| fits(secret, key))
            || key.is_some_and(|token| self.signed(act, stream, token))
    }

    /// Whether it is a token that is good now: `SECONDS-HEX`, the end of its time in seconds since 1970, and the HMAC-SHA256 of
    /// the act, the stream and that time, with a line feed after the first two.
    fn signed(&self, act: Act, stream: &str, token: &str) -> bool {
        let Some(secret) = &self.tokens else { return false };
        let Some((until, shown)) = token.split_once('-') else { return false };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if until.parse::<u64>().map_or(true, |until| until < now) {
            return false;
        }
        let Some(right) = signature(secret, act, stream, until) else { return false };
        shown.as_bytes().ct_eq(right.as_bytes()).into()
    }

    /// Whether the operator's services let it, where they decide. Called when the key fits.
    ///
    /// # Errors
    /// Why not, for who asked.
    pub async fn allow(&self, asked: &Asked) -> Result<(), String> {
        self.hooks.allow(asked).await
    }
}

fn signature(secret: &Secret, act: Act, stream: &str, until: &str) -> Option<String> {
    let act = match act {
        Act::Publish => "publish",
        Act::Read => "read",
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).ok()?;
    mac.update(format!("{act}\n{stream}\n{until}").as_bytes());
    Some(mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect())
}

/// In a time that says nothing about the key. A query may have it with escapes, a header does not.
fn fits(wanted: &Secret, given: Option<&str>) -> bool {
    let same = |given: &[u8]| bool::from(given.ct_eq(wanted.reveal().as_bytes()));
    given.is_some_and(|g| same(g.as_bytes()) | query::decoded(g).is_some_and(|plain| same(plain.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HooksConfig;

    fn key(stream: &str, publish: Option<&str>, read: Option<&str>) -> StreamKey {
        StreamKey { stream: stream.into(), publish: publish.map(Secret::new), read: read.map(Secret::new) }
    }

    #[test]
    fn without_keys_everybody_may() {
        let keys = Keys::default();
        assert!(keys.may_publish("a", None) && keys.may_read("a", Some("x")) && keys.may_list(None));
    }

    #[test]
    fn keys_and_hooks_decide_who_reads() {
        let hooks = |authorize| {
            let config =
                HooksConfig { urls: vec!["http://host/".into()], authorize, ..HooksConfig::default() };
            Keys { hooks: Hooks::new(&config, None), ..Keys::default() }.decides_who_reads()
        };
        assert!(hooks(true) && !hooks(false) && !Keys::default().decides_who_reads());
        assert!(Keys { read: Some(Secret::new("r")), ..Keys::default() }.decides_who_reads());
    }

    #[test]
    fn a_stream_s_own_key_opens_it_and_no_other() {
        let keys = Keys {
            publish: Some(Secret::new("all")),
            streams: vec![key("live/a", Some("pa"), Some("ra")), key("team/*", Some("pt"), None)],
            ..Keys::default()
        };
        for (stream, shown, may) in [
            ("live/a", "pa", true),
            ("live/a", "all", true),
            ("live/a", "pt", false),
            ("live/a/b", "pa", false),
            ("team/x", "pt", true),
            ("team/x/y", "pt", true),
            ("teams", "pt", false),
            ("other", "pa", false),
            ("other", "all", true),
        ] {
            assert_eq!(keys.may_publish(stream, Some(shown)), may, "{stream} {shown}");
            assert!(!keys.may_publish(stream, None));
        }
        assert!(keys.may_read("live/a", Some("ra")) && !keys.may_read("live/a", None));
        assert!(keys.may_read("team/x", None) && keys.may_read("other", None) && keys.may_list(None));
    }

    #[test]
    fn a_token_is_for_one_act_one_stream_and_some_time() {
        let secret = Secret::new("s");
        let keys = Keys {
            publish: Some(Secret::new("k")),
            read: Some(Secret::new("k")),
            tokens: Some(secret.clone()),
            ..Keys::default()
        };
        let token = |act, stream: &str, until: &str| {
            format!("{until}-{}", signature(&secret, act, stream, until).unwrap())
        };
        let good = token(Act::Publish, "live/a", "99999999999");
        assert!(keys.may_publish("live/a", Some(&good)));
        assert!(!keys.may_publish("live/b", Some(&good)) && !keys.may_read("live/a", Some(&good)));
        assert!(!keys.may_publish("live/a", Some(&token(Act::Publish, "live/a", "1"))));
        assert!(!keys.may_publish("live/a", Some(&good.replace("99999999999", "99999999998"))));
        assert!(!Keys { tokens: None, ..keys }.may_publish("live/a", Some(&good)));
        // printf 'publish\nlive/a\n99999999999' | openssl dgst -sha256 -hmac s
        assert!(good.len() == 11 + 1 + 64, "{good}");
    }
}
