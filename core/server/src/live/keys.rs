//! Who may publish and read: keys that a client shows in its address.

use crate::config::Secret;
use subtle::ConstantTimeEq;

/// The keys of a server; without one, everybody may.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// For publishers.
    pub publish: Option<Secret>,
    /// For readers.
    pub read: Option<Secret>,
}

/// What a client shows: `key=…` (or `token=…`, `pass=…`) of a query.
pub fn shown(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        ["key", "token", "pass"].contains(&name).then_some(value)
    })
}

impl Keys {
    /// Whether who shows `key` may publish.
    pub fn may_publish(&self, key: Option<&str>) -> bool {
        fits(&self.publish, key)
    }

    /// Whether who shows `key` may read.
    pub fn may_read(&self, key: Option<&str>) -> bool {
        fits(&self.read, key)
    }
}

/// In a time that says nothing about the key.
fn fits(wanted: &Option<Secret>, given: Option<&str>) -> bool {
    match wanted {
        None => true,
        Some(wanted) => given.is_some_and(|g| bool::from(g.as_bytes().ct_eq(wanted.reveal().as_bytes()))),
    }
}
