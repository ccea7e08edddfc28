//! How often one client may change something: a bucket of as many requests as a minute allows, refilled steadily.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Clients that are remembered; a full bucket says nothing and is forgotten first.
const MOST: usize = 10_000;

#[derive(Default)]
pub struct Rates {
    buckets: Mutex<HashMap<Whose, Bucket>>,
}

/// A network, and one of those for whom it asks. Names are hashed, so that long ones take no more memory.
type Whose = (IpAddr, Option<u64>);

struct Bucket {
    left: f64,
    at: Instant,
}

impl Rates {
    /// Takes one request of `per_minute` from the bucket of `client`, or of `session` of it; 0 allows everything.
    ///
    /// # Errors
    /// The bucket is empty; when there is one request in it again.
    pub fn take(
        &self,
        client: IpAddr,
        session: Option<&str>,
        per_minute: u32,
        now: Instant,
    ) -> Result<(), Duration> {
        if per_minute == 0 {
            return Ok(());
        }
        let (most, per_second) = (f64::from(per_minute), f64::from(per_minute) / 60.0);
        let filled =
            |b: &Bucket| (b.left + now.saturating_duration_since(b.at).as_secs_f64() * per_second).min(most);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST {
            buckets.retain(|_, b| filled(b) < most);
        }
        let whose = (network(client), session.map(hashed));
        let left = buckets.get(&whose).map_or(most, filled);
        if left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - left) / per_second));
        }
        buckets.insert(whose, Bucket { left: left - 1.0, at: now });
        Ok(())
    }
}

fn hashed(session: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    session.hash(&mut hasher);
    hasher.finish()
}

/// One subscriber of IPv6 has a whole /64.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_none() => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)))
        }
        other => other.to_canonical(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_s_worth_at_once_then_one_by_one() {
        let rates = Rates::default();
        let client: IpAddr = "10.0.0.1".parse().unwrap();
        let begin = Instant::now();
        for _ in 0..60 {
            rates.take(client, None, 60, begin).unwrap();
        }
        let wait = rates.take(client, None, 60, begin).unwrap_err();
        assert!(wait <= Duration::from_secs(1) && wait > Duration::from_millis(900));
        rates.take("10.0.0.2".parse().unwrap(), None, 60, begin).unwrap();
        rates.take(client, None, 60, begin + Duration::from_secs(1)).unwrap();
        assert!(rates.take(client, None, 60, begin + Duration::from_secs(1)).is_err());
        rates.take(client, None, 0, begin).unwrap();
    }

    #[test]
    fn those_for_whom_one_asks_are_counted_apart() {
        let (rates, now) = (Rates::default(), Instant::now());
        let hub: IpAddr = "10.0.0.1".parse().unwrap();
        for session in [None, Some("a"), Some("b")] {
            rates.take(hub, session, 1, now).unwrap();
            assert!(rates.take(hub, session, 1, now).is_err(), "{session:?}");
        }
    }

    #[test]
    fn a_subscriber_s_addresses_count_as_one() {
        let rates = Rates::default();
        let now = Instant::now();
        rates.take("2001:db8::1".parse().unwrap(), None, 1, now).unwrap();
        assert!(rates.take("2001:db8::2".parse().unwrap(), None, 1, now).is_err());
        rates.take("::ffff:10.0.0.1".parse().unwrap(), None, 1, now).unwrap();
        assert!(rates.take("10.0.0.1".parse().unwrap(), None, 1, now).is_err());
        rates.take("::ffff:10.0.0.2".parse().unwrap(), None, 1, now).unwrap();
    }
}
