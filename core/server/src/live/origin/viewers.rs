//! Viewers, counted by their requests.

use axum::http::{HeaderMap, HeaderValue};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// Who has asked for nothing this long is gone: longer than a blocked request.
pub(in crate::live) const GONE: Duration = Duration::from_secs(15);
/// More are not told apart.
pub(in crate::live) const MOST: usize = 100_000;

/// What tells viewers apart beside their address: behind a proxy, who it asks for; and players of one place by what they
/// say they are.
pub(in crate::live) fn who(headers: &HeaderMap) -> [Option<&HeaderValue>; 4] {
    ["x-forwarded-for", "x-real-ip", "x-playback-session-id", "user-agent"].map(|name| headers.get(name))
}

/// Who has asked for something lately.
#[derive(Debug, Default)]
pub(super) struct Viewers {
    seen: HashMap<u64, Instant>,
    swept: Option<Instant>,
}

impl Viewers {
    /// Somebody asks at `now`.
    pub fn saw(&mut self, who: impl Hash, now: Instant) {
        let mut hasher = DefaultHasher::new();
        who.hash(&mut hasher);
        if self.swept.is_none_or(|swept| now.duration_since(swept) > GONE) {
            self.sweep(now);
        }
        if self.seen.len() < MOST {
            self.seen.insert(hasher.finish(), now);
        }
    }

    /// How many there are at `now`.
    pub fn count(&mut self, now: Instant) -> usize {
        self.sweep(now);
        self.seen.len()
    }

    fn sweep(&mut self, now: Instant) {
        self.swept = Some(now);
        self.seen.retain(|_, seen| now.duration_since(*seen) <= GONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn viewers_are_told_apart_and_go() {
        let (mut viewers, start) = (Viewers::default(), Instant::now());
        for who in ["a", "b", "a"] {
            viewers.saw(who, start);
        }
        viewers.saw("c", start + GONE);
        assert_eq!(viewers.count(start + GONE), 3);
        assert_eq!(viewers.count(start + GONE + Duration::from_secs(1)), 1);
    }
}
