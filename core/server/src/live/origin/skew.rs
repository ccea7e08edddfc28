//! What time it is by the object store's clock, which says when a file was put there: nodes' own clocks may be minutes from it and from
//! each other.

use crate::store::Store;
use bytes::Bytes;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Mutex;

/// What is put there to be told the time, beside the streams.
const KEY: &str = "streams/.clock";
/// How long the answer counts.
const KEPT: Duration = Duration::from_secs(600);
/// How long it is waited for: those who want to know are players.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long it is not asked again when it did not answer.
const RETRY: Duration = Duration::from_secs(60);

/// How far the store's clock is from this node's.
#[derive(Debug, Default)]
pub(super) struct Skew(Mutex<Option<Known>>);

#[derive(Clone, Copy, Debug)]
struct Known {
    ahead: Ahead,
    /// When it was learnt, and for how long it counts.
    at: Instant,
    counts: Duration,
}

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
        if let Some(known) = *known
            && known.at.elapsed() < known.counts
        {
            return known.ahead;
        }
        // Who asks may leave before the store has answered; who comes next is not to wait as long again.
        let before_now = known.map_or(Ahead::By(Duration::ZERO), |known| known.ahead);
        *known = Some(Known { ahead: before_now, at: Instant::now(), counts: RETRY });
        let (before, begun) = (SystemTime::now(), Instant::now());
        let asked = async {
            store.put(KEY, Bytes::new(), "text/plain", "no-store").await?;
            store.fetch(KEY, 1).await
        };
        let failed = |why: &dyn std::fmt::Display| {
            tracing::warn!("the object store does not say what time it is: {why}");
            before_now
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok((_, modified))) => {
                let put = before + begun.elapsed() / 2;
                let ahead = match modified.duration_since(put) {
                    Ok(ahead) => Ahead::By(ahead),
                    Err(behind) => Ahead::Behind(behind.duration()),
                };
                *known = Some(Known { ahead, at: Instant::now(), counts: KEPT });
                ahead
            }
            Ok(Err(e)) => failed(&e),
            Err(late) => failed(&late),
        }
    }
}
