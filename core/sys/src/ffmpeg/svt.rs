//! SVT-AV1's encoders of one process, which do not leave each other alone: opening one clears tables that all share and fills
//! them again (`svt_av1_init_wedge_masks` of `svt_av1_enc_init`; 1.4.1 ends the process where another one looks something up
//! meanwhile). So nobody feeds or drains one while another is opened, and that waits until what they have is worked off.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

/// Held for writing while an encoder is opened, for reading while one is given something to do.
static GATE: RwLock<()> = RwLock::new(());
/// The threads of all that are open.
static WORKERS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// How often threads are looked at, and for how long none of them may have run to count as idle.
const QUIET: Duration = Duration::from_millis(3);
/// How long an opening waits for them at most: what is inside of slow presets takes seconds, and a thread that only looks like
/// theirs may never sleep.
const PATIENCE: Duration = Duration::from_secs(30);

/// The threads of an open encoder.
pub(super) struct Workers(Vec<u32>);

impl Drop for Workers {
    fn drop(&mut self) {
        workers().retain(|thread| !self.0.contains(thread));
    }
}

/// Opens an encoder while no other works.
pub(super) fn open<T>(open: impl FnOnce() -> T) -> (T, Workers) {
    let _alone = GATE.write().unwrap_or_else(PoisonError::into_inner);
    // Nothing is given to any now, so that none is opened or closed but by this thread.
    let others = workers().clone();
    settle(&others, PATIENCE);
    let before = threads();
    let opened = open();
    // New threads have the name of the one that made them.
    let name = name_of(current());
    let new = threads().into_iter().filter(|thread| !before.contains(thread));
    let made: Vec<u32> = new.filter(|thread| name.is_some() && name_of(*thread) == name).collect();
    workers().extend(&made);
    (opened, Workers(made))
}

/// Held while an encoder is fed or drained.
pub(super) fn busy() -> RwLockReadGuard<'static, ()> {
    GATE.read().unwrap_or_else(PoisonError::into_inner)
}

fn workers() -> MutexGuard<'static, Vec<u32>> {
    WORKERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until none of `threads` runs or is about to; `false` when they still did after `patience`.
fn settle(threads: &[u32], patience: Duration) -> bool {
    let until = Instant::now() + patience;
    let mut before: Option<Vec<Option<u64>>> = None;
    loop {
        // A thread that sleeps and was not switched to since the last look did nothing in between.
        let now: Option<Vec<Option<u64>>> = threads.iter().map(|thread| switches(*thread)).collect();
        if threads.is_empty() || now.is_some() && now == before {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        before = now;
        std::thread::sleep(QUIET);
    }
}

/// How often a thread began to run, if it sleeps; `None` where it runs, `Some(None)` where there is no such thread.
fn switches(thread: u32) -> Option<Option<u64>> {
    let Ok(status) = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")) else {
        return Some(None);
    };
    let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let count = |key: &str| value(key).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    let sleeps = value("State:").is_some_and(|state| state.starts_with('S'));
    sleeps.then(|| Some(count("voluntary_ctxt_switches:") + count("nonvoluntary_ctxt_switches:")))
}

/// The threads of this process; none where the system has no such list.
fn threads() -> Vec<u32> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The thread that asks.
fn current() -> u32 {
    let link = std::fs::read_link("/proc/thread-self").ok();
    link.and_then(|path| path.file_name()?.to_str()?.parse().ok()).unwrap_or(0)
}

fn name_of(thread: u32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/self/task/{thread}/comm")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn what_works_is_waited_for() {
        let (tell, told) = channel();
        let (go, wait) = channel::<()>();
        let worker = std::thread::spawn(move || {
            tell.send(current()).unwrap();
            let end = Instant::now() + Duration::from_millis(300);
            while Instant::now() < end {
                std::hint::black_box(0);
            }
            let _over = wait.recv();
        });
        let thread = told.recv().unwrap();
        let begin = Instant::now();
        assert!(!settle(&[thread], Duration::from_millis(50)), "it works");
        assert!(settle(&[thread], PATIENCE));
        assert!(begin.elapsed() >= Duration::from_millis(290), "{:?}", begin.elapsed());
        drop(go);
        worker.join().unwrap();
        assert!(settle(&[thread], Duration::ZERO) || settle(&[thread], PATIENCE), "it is gone");
    }
}
