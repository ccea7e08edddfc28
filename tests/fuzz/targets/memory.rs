//! A limit on memory that names the input which broke it. libFuzzer's own looks once a second and blames the input of then.

/// Kilobytes that no input may bring the process to.
const LIMIT: u64 = 500 << 10;

/// Panics when the process has ever held more than the limit.
pub fn check() {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return };
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    assert!(peak < LIMIT, "{peak} kB of memory");
}
