//! What the process uses, and what has been asked of its WebRTC: figures that the replaced services gave.

use axum::http::{Method, StatusCode};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The kernel's ticks of CPU time in a second: what it tells programs is always in hundredths.
const TICKS: f64 = 100.0;
/// The shortest time that CPU is measured over.
const SHORTEST: Duration = Duration::from_millis(500);
/// Streams that signals are counted of; those of more are counted together.
const MOST: usize = 1000;

/// CPU of this process, and signals. Cheap to clone; any thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    measured: Option<(Instant, u64)>,
    cpu: f64,
    signals: BTreeMap<Signal, u64>,
}

/// The stream (empty: one of too many), `offer`, `answer`, `ice` or `bye`, and `incoming` or `outgoing`.
pub(super) type Signal = (String, &'static str, &'static str);

impl Usage {
    /// CPU since it was last asked for, in percent of one core; 0 where it cannot be known.
    pub fn cpu(&self) -> f64 {
        let mut inner = self.lock();
        let now = Instant::now();
        let Some(ticks) = ticks() else { return 0.0 };
        match inner.measured {
            Some((at, _)) if now.duration_since(at) < SHORTEST => {}
            Some((at, before)) => {
                let seconds = now.duration_since(at).as_secs_f64();
                inner.cpu = ticks.saturating_sub(before) as f64 / TICKS / seconds * 100.0;
                inner.measured = Some((now, ticks));
            }
            None => inner.measured = Some((now, ticks)),
        }
        inner.cpu
    }

    /// A request for WebRTC at `path` was answered with `status`.
    pub fn signalled(&self, method: &Method, path: &str, status: StatusCode) {
        if !status.is_success() {
            return;
        }
        let path = path.trim_start_matches("/whip/").trim_start_matches("/whep/");
        let session = || path.rsplit_once('/').map_or(path, |(name, _)| name);
        let (stream, kinds): (&str, &[(&str, &str)]) = match *method {
            Method::POST => (path, &[("offer", "incoming"), ("answer", "outgoing")]),
            Method::PATCH => (session(), &[("ice", "incoming")]),
            Method::DELETE => (session(), &[("bye", "incoming")]),
            _ => return,
        };
        let mut inner = self.lock();
        let known = inner.signals.keys().any(|(name, ..)| name == stream);
        let stream = if known || inner.signals.len() < MOST { stream } else { "" };
        for (kind, direction) in kinds {
            *inner.signals.entry((stream.into(), kind, direction)).or_default() += 1;
        }
    }

    /// All signals so far.
    pub fn signals(&self) -> Vec<(Signal, u64)> {
        self.lock().signals.iter().map(|(signal, n)| (signal.clone(), *n)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// User and system time of this process, in ticks.
fn ticks() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name may contain anything; what is behind it does not.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// Resident memory in bytes; 0 where it cannot be known.
pub(super) fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).map_or(0, |kb| kb * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seen() {
        let usage = Usage::default();
        assert!(usage.cpu() <= 0.0);
        let begun = Instant::now();
        let mut n = 0u64;
        while begun.elapsed() < SHORTEST * 2 {
            n = std::hint::black_box(n.wrapping_mul(31).wrapping_add(1));
        }
        assert!(usage.cpu() > 1.0);
        assert!(memory() > 1 << 20);
    }

    #[test]
    fn signals_are_counted_by_stream_and_refused_ones_are_not() {
        let usage = Usage::default();
        usage.signalled(&Method::POST, "/whip/live/a", StatusCode::CREATED);
        usage.signalled(&Method::POST, "/whep/live/a", StatusCode::NOT_FOUND);
        usage.signalled(&Method::DELETE, "/whip/live/a/0d4c", StatusCode::OK);
        let name = || "live/a".to_string();
        assert_eq!(
            usage.signals(),
            [
                ((name(), "answer", "outgoing"), 1),
                ((name(), "bye", "incoming"), 1),
                ((name(), "offer", "incoming"), 1)
            ]
        );
    }
}
