//! What time it is by the object store's clock, which says when a file was put there: nodes' own clocks may be minutes from it and from
//! each other.

use crate::store::Store;
use bytes::Bytes;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Mutex;

/// What is put there to be told the time.
const KEY: &str = "clock";
/// How long the answer counts.
const KEPT: Duration = Duration::from_secs(600);

/// How far the store's clock is from this node's.
#[derive(Debug, Default)]
pub(super) struct Skew(Mutex<Option<(Instant, Ahead)>>);

/// By how much the store's clock is ahead.
#[derive(Clone, Copy, Debug)]
enum Ahead {
    By(Duration),
    Behind(Duration),
}

impl Skew {
    /// How old what was put into `store` at `modified` is. Where the store cannot be asked, as nothing may be put there, this node's own
    /// clock decides.
    pub async fn age(&self, store: &Store, modified: SystemTime) -> Duration {
        let now = match self.ahead(store).await {
            Ahead::By(ahead) => SystemTime::now() + ahead,
            Ahead::Behind(behind) => SystemTime::now() - behind,
        };
        // Less than nothing is what clocks have moved by since.
        now.duration_since(modified).unwrap_or_default()
    }

    /// Asks once for all who want to know, and not again for a while.
    async fn ahead(&self, store: &Store) -> Ahead {
        let mut known = self.0.lock().await;
        if let Some((at, ahead)) = *known
            && at.elapsed() < KEPT
        {
            return ahead;
        }
        let (before, begun) = (SystemTime::now(), Instant::now());
        let asked = async {
            store.put(KEY, Bytes::new(), "text/plain", "no-store").await?;
            store.fetch(KEY, 1).await
        };
        let ahead = match asked.await {
            Ok((_, modified)) => {
                let put = before + begun.elapsed() / 2;
                match modified.duration_since(put) {
                    Ok(ahead) => Ahead::By(ahead),
                    Err(behind) => Ahead::Behind(behind.duration()),
                }
            }
            Err(e) => {
                tracing::warn!("the object store does not say what time it is: {e}");
                Ahead::By(Duration::ZERO)
            }
        };
        *known = Some((Instant::now(), ahead));
        ahead
    }
}
