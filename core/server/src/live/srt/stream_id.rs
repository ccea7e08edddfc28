//! What callers write into the stream id: which stream, and what they want with it. Sans-IO.
//!
//! - `#!::r=live/cam,m=publish,key=…`: SRT's access control. `m` is `publish` or `request` (to read; so it is without `m`),
//!   `t` only `stream`, the key is `key`, `token`, `pass` or else `s`; `u` and `h` are not looked at: there are neither users
//!   nor virtual hosts;
//! - `publish:live/cam` and `read:live/cam`, with `:key` or `:user:key` behind it;
//! - `publish/live/cam` and `read/live/cam`;
//! - `live/cam`: to read.
//!
//! The stream may have a query behind it as it has with RTMP: `live/cam?key=…`.

use crate::live::keys::shown;
use std::fmt;

/// The longest stream id of SRT, in bytes.
pub const LONGEST: usize = 512;

/// What a caller wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whether to publish, not to read.
    pub publishes: bool,
    /// The stream. Whether it can be the name of one is not checked here.
    pub name: String,
    /// The key that it shows.
    pub key: Option<String>,
    /// The query behind the stream, for who decides by it; empty without one.
    pub query: String,
}

/// Why a stream id is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misunderstood {
    /// What is wrong with it. It says nothing of keys.
    Id(String),
    /// It asks for something that is not done here.
    Mode(String),
}

impl fmt::Display for Misunderstood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misunderstood::Id(why) | Misunderstood::Mode(why) => f.write_str(why),
        }
    }
}

fn wrong(why: impl Into<String>) -> Misunderstood {
    Misunderstood::Id(why.into())
}

impl Wanted {
    /// Reads a stream id.
    ///
    /// # Errors
    /// [`Misunderstood`].
    pub fn parse(id: &str) -> Result<Wanted, Misunderstood> {
        if id.len() > LONGEST {
            return Err(wrong(format!("a stream id of more than {LONGEST} bytes")));
        }
        if id.is_empty() {
            return Err(wrong("no stream id; publish:NAME or read:NAME is needed"));
        }
        if let Some(rest) = id.strip_prefix("#!") {
            let Some(pairs) = rest.strip_prefix("::") else {
                return Err(wrong("of the stream ids that begin with #! only those with #!:: are known"));
            };
            return access_control(pairs);
        }
        for (mode, publishes) in [("publish", true), ("read", false)] {
            let Some(rest) = id.strip_prefix(mode) else { continue };
            if let Some(rest) = rest.strip_prefix(':') {
                let mut parts = rest.splitn(3, ':');
                let name = parts.next().unwrap_or_default();
                // The last one: before it may stand a user.
                return Wanted::of(publishes, name, parts.last());
            }
            if let Some(name) = rest.strip_prefix('/') {
                return Wanted::of(publishes, name, None);
            }
        }
        Wanted::of(false, id, None)
    }

    fn of(publishes: bool, name: &str, key: Option<&str>) -> Result<Wanted, Misunderstood> {
        let (name, query) = name.split_once('?').unwrap_or((name, ""));
        let key = key.filter(|k| !k.is_empty()).or_else(|| shown(query)).map(String::from);
        let name = name.trim_matches('/');
        if name.is_empty() {
            return Err(wrong("the stream id names no stream"));
        }
        Ok(Wanted { publishes, name: name.into(), key, query: query.into() })
    }
}

fn access_control(pairs: &str) -> Result<Wanted, Misunderstood> {
    let (mut resource, mut mode, mut kind) = (None, None, None);
    let (mut key, mut session) = (None, None);
    for pair in pairs.split(',').filter(|p| !p.is_empty()) {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| wrong("the stream id has a word without ="))?;
        let place = match name {
            "r" => &mut resource,
            "m" => &mut mode,
            "t" => &mut kind,
            "s" => &mut session,
            "key" | "token" | "pass" => &mut key,
            "u" | "h" => continue,
            // What stands there may be a misspelt key's value.
            _ => {
                return Err(wrong(
                    "the stream id has a field that is none of r, m, t, u, h, s, key, token, pass",
                ));
            }
        };
        if place.replace(value).is_some() {
            return Err(wrong(format!("the stream id says {name} twice")));
        }
    }
    if let Some(other) = kind.filter(|t| *t != "stream") {
        return Err(Misunderstood::Mode(format!("t={other:?}: only streams are taken")));
    }
    let publishes = match mode {
        None | Some("request") => false,
        Some("publish") => true,
        Some(other) => {
            return Err(Misunderstood::Mode(format!("m={other:?} is neither publish nor request")));
        }
    };
    Wanted::of(publishes, resource.unwrap_or_default(), key.or(session))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(id: &str) -> (bool, String, Option<String>) {
        let w = Wanted::parse(id).unwrap();
        (w.publishes, w.name, w.key)
    }

    #[test]
    fn every_spelling_is_understood() {
        for (id, publishes, name, key) in [
            ("#!::r=live/cam,m=publish", true, "live/cam", None),
            ("#!::m=publish,r=/live/cam,u=me,h=host,t=stream,key=abc", true, "live/cam", Some("abc")),
            ("#!::r=cam,m=publish,s=abc", true, "cam", Some("abc")),
            ("#!::r=cam?token=x,m=request", false, "cam", Some("x")),
            ("#!::r=cam,key=a=b,s=other", false, "cam", Some("a=b")),
            ("publish:live/cam", true, "live/cam", None),
            ("publish:cam:abc", true, "cam", Some("abc")),
            ("publish:cam:me:a:b", true, "cam", Some("a:b")),
            ("publish:cam?key=abc", true, "cam", Some("abc")),
            ("publish/live/cam", true, "live/cam", None),
            ("read:cam:abc", false, "cam", Some("abc")),
            ("read/cam", false, "cam", None),
            ("live/cam", false, "live/cam", None),
            ("publisher", false, "publisher", None),
        ] {
            assert_eq!(wanted(id), (publishes, name.into(), key.map(String::from)), "{id}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_without_showing_keys() {
        let long = "x".repeat(LONGEST + 1);
        for id in [
            "",
            "#!",
            "#!:{r=x}",
            "#!::",
            "#!::m=publish",
            "#!::r=a,r=b",
            "#!::r=a,hush",
            "#!::r=a,kye=hush",
            "publish:",
            "publish:/:hush",
            "read/",
            "/",
            &long,
        ] {
            let Err(Misunderstood::Id(why)) = Wanted::parse(id) else { panic!("{id}") };
            assert!(!why.contains("hush"), "{why}");
        }
        for id in ["#!::r=a,m=bidirectional", "#!::r=a,t=file,m=publish"] {
            assert!(matches!(Wanted::parse(id), Err(Misunderstood::Mode(_))), "{id}");
        }
    }
}
