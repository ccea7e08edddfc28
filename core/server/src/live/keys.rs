//! Who may publish and read: keys that a client shows in its address.

use super::hooks::{Asked, Hooks};
use crate::config::Secret;
use crate::http::query;
use subtle::ConstantTimeEq;

pub use super::shown_key::shown;

/// The keys of a server; without one, everybody may.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// For publishers.
    pub publish: Option<Secret>,
    /// For readers.
    pub read: Option<Secret>,
    /// Services of the operator, which may decide too.
    pub hooks: Hooks,
}

impl Keys {
    /// Whether who shows `key` may publish.
    pub fn may_publish(&self, key: Option<&str>) -> bool {
        fits(&self.publish, key)
    }

    /// Whether the operator's services let it, where they decide. Called when the key fits.
    ///
    /// # Errors
    /// Why not, for who asked.
    pub async fn allow(&self, asked: &Asked) -> Result<(), String> {
        self.hooks.allow(asked).await
    }

    /// Whether who shows `key` may read.
    pub fn may_read(&self, key: Option<&str>) -> bool {
        fits(&self.read, key)
    }
}

/// In a time that says nothing about the key. A query may have it with escapes, a header does not.
fn fits(wanted: &Option<Secret>, given: Option<&str>) -> bool {
    let Some(wanted) = wanted else { return true };
    let same = |given: &[u8]| bool::from(given.ct_eq(wanted.reveal().as_bytes()));
    given.is_some_and(|g| same(g.as_bytes()) | query::decoded(g).is_some_and(|plain| same(plain.as_bytes())))
}
