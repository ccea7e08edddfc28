//! Segments that several viewers ask for, in memory: the second viewer of a film costs no reading.

use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Bytes that are held at most.
const BUDGET: usize = 64 << 20;
/// Larger files are read anew each time.
pub(super) const LARGEST: u64 = 4 << 20;
/// Names of files that were asked for once, kept so that the second request is known for one.
const ONCE: usize = 1024;

/// When a file was changed last, and its size: what tells it from another one of its name.
pub(super) type Version = (SystemTime, u64);

/// Files in memory, those that nobody asked for longest given up first. Any thread.
pub(crate) struct Held {
    state: Mutex<State>,
    budget: usize,
}

#[derive(Default)]
struct State {
    files: HashMap<PathBuf, HeldFile>,
    bytes: usize,
    /// Counts requests.
    clock: u64,
    once: VecDeque<(PathBuf, Version)>,
}

struct HeldFile {
    version: Version,
    bytes: Bytes,
    asked: u64,
}

impl Default for Held {
    fn default() -> Self {
        Held { state: Mutex::default(), budget: BUDGET }
    }
}

impl Held {
    /// The file's bytes, if this version of it is held.
    pub fn get(&self, path: &Path, version: Version) -> Option<Bytes> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let now = state.clock;
        let file = state.files.get_mut(path).filter(|f| f.version == version)?;
        file.asked = now;
        Some(file.bytes.clone())
    }

    /// Offers a file that was read whole. It is held from the second time on: what one viewer plays through would only push
    /// out what many share.
    pub fn offer(&self, path: &Path, version: Version, bytes: &Bytes) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let Some(known) = state.once.iter().position(|(p, v)| p == path && *v == version) else {
            state.once.push_back((path.into(), version));
            state.once.drain(..state.once.len().saturating_sub(ONCE));
            return;
        };
        if bytes.len() > self.budget {
            return;
        }
        state.once.remove(known);
        let file = HeldFile { version, bytes: bytes.clone(), asked: state.clock };
        state.bytes += bytes.len();
        if let Some(before) = state.files.insert(path.into(), file) {
            state.bytes -= before.bytes.len();
        }
        while state.bytes > self.budget {
            let oldest = state.files.iter().min_by_key(|(_, f)| f.asked).map(|(p, _)| p.clone());
            let Some(gone) = oldest.and_then(|p| state.files.remove(&p)) else { break };
            state.bytes -= gone.bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(n: u64) -> Version {
        (SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n), n)
    }

    fn file(size: usize) -> Bytes {
        Bytes::from(vec![7; size])
    }

    #[test]
    fn what_is_asked_for_twice_is_held_and_another_version_is_another_file() {
        let held = Held::default();
        let path = Path::new("a.ts");
        held.offer(path, version(1), &file(10));
        assert!(held.get(path, version(1)).is_none(), "once is not enough");
        held.offer(path, version(1), &file(10));
        assert_eq!(held.get(path, version(1)), Some(file(10)));
        assert!(held.get(path, version(2)).is_none());
        held.offer(path, version(2), &file(20));
        held.offer(path, version(2), &file(20));
        assert_eq!(held.get(path, version(2)), Some(file(20)));
        assert_eq!(held.state.lock().unwrap().bytes, 20);
    }

    #[test]
    fn the_budget_is_kept_and_the_least_wanted_goes_first() {
        let held = Held { budget: 100, ..Held::default() };
        let name = |n: u64| PathBuf::from(format!("{n}.ts"));
        for n in 0..3 {
            held.offer(&name(n), version(1), &file(40));
            held.offer(&name(n), version(1), &file(40));
            if n == 1 {
                assert!(held.get(&name(0), version(1)).is_some());
            }
        }
        let there: Vec<bool> = (0..3).map(|n| held.get(&name(n), version(1)).is_some()).collect();
        assert_eq!(there, [true, false, true]);
        held.offer(&name(9), version(1), &file(101));
        held.offer(&name(9), version(1), &file(101));
        assert!(held.get(&name(9), version(1)).is_none());
        assert!(held.state.lock().unwrap().bytes <= 100);
    }

    #[test]
    fn names_of_what_was_asked_for_once_are_not_kept_for_ever() {
        let held = Held::default();
        for n in 0..2 * ONCE as u64 {
            held.offer(&PathBuf::from(format!("{n}")), version(1), &file(1));
        }
        assert_eq!(held.state.lock().unwrap().once.len(), ONCE);
    }
}
